# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes the two sides agree on whose Open WebUI's database is.

The key is made by LiteLLM's server and passes through this process by COPY: no statement, which servers log and keep in
pg_stat_statements, and no parameter of one ever holds it. On Open WebUI's side it goes through a temporary table and a
setting of the session into a materialized view, so that it is in no table that is dumped or published.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Callable, TypeVar

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._lock import deploying, explained, retry
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import SCHEMA, Subject
from ansible_collections.llmops.user_bridge.plugins.module_utils._ownership.decide import Decision, decide
from ansible_collections.llmops.user_bridge.plugins.module_utils._ownership.state import (
    COLUMNS,
    IDENTITY,
    IDENTITY_KEY,
    OWNED_BY,
    OWNER_KEY,
    Identity,
    Source,
    Target,
    read_source,
    read_target,
)
from ansible_collections.llmops.user_bridge.plugins.module_utils._session import (
    NO_SUCH_ROLE,
    another_version,
    cannot_act,
    lacks_objects,
    not_installed,
)

_Side = TypeVar("_Side", Source, Target)
_BROUGHT = f"pg_temp.{SCHEMA}_key"
# What delivers reads the key, so LiteLLM waits behind the lock for a new one.
_KEYS = Subject("materialized view", SCHEMA, "identity_key")
_LOCK_TIMEOUT_MS = 500


@dataclass(frozen=True)
class Wanted:
    """What a run asks for."""

    owner: str
    take: bool
    check_mode: bool


@dataclass(frozen=True)
class Result:
    """What was found and decided. id is the installation's after the run, None where only a run would make one."""

    source: Source
    target: Target
    decision: Decision
    id: str | None


def make_owner(litellm: Any, openwebui: Any, wanted: Wanted) -> Result:
    """Make LiteLLM's side the owner of Open WebUI's, unless another one is. Without a difference nothing is written."""
    cur, other = _pg.cursor(litellm), _pg.cursor(openwebui)
    with _pg.transaction(cur, read_only=True), _pg.transaction(other, read_only=True):
        result = _look(cur, other, wanted)
    if wanted.check_mode or not result.decision.changed:
        return result
    return retry(cur, lambda: _apply(cur, other, wanted))


def _apply(cur: Any, other: Any, wanted: Wanted) -> Result:
    # LiteLLM's side commits first: of an Open WebUI that is still without this owner, the next run makes it the owner.
    with deploying(other, _LOCK_TIMEOUT_MS), deploying(cur, _LOCK_TIMEOUT_MS):
        # Another run may have finished while this one waited.
        result = _look(cur, other, wanted)
        if not result.decision.changed:
            return result
        with explained(_KEYS, "the key could not be renewed"):
            return replace(result, id=_hand_over(cur, other, result, wanted.owner))


def _look(cur: Any, other: Any, wanted: Wanted) -> Result:
    source = _read(cur, read_source, wanted.owner)
    target = _read(other, read_target, wanted.owner)
    for side, option in ((source, "login_db"), (target, "openwebui_login_db")):
        if not side.installed and not wanted.check_mode:
            raise BridgeError(
                f"{not_installed(side.name, option)}, or set owner to the role that has it, not {wanted.owner}"
            )
    decision = decide(source, target, wanted.take)
    if decision.action == "refused":
        raise BridgeError(f"{decision.reason}; nothing was changed")
    return Result(source, target, decision, _id_after(source.identity, decision))


def _read(cur: Any, read: Callable[[Any, str], _Side], owner: str) -> _Side:
    """One side, with errors that say what to do."""
    (row,) = _pg.rows(cur, "SELECT current_database()::text AS database, current_user::text AS login")
    try:
        with _pg.savepoint(cur):
            return read(cur, owner)
    except _pg.PgError as error:
        if lacks_objects(error):
            raise BridgeError(another_version(row["database"], error)) from None
        if _pg.sqlstate(error) in (NO_SUCH_ROLE, _pg.INSUFFICIENT_PRIVILEGE):
            raise BridgeError(cannot_act(row["login"], owner, row["database"], error)) from None
        raise


def _id_after(identity: Identity | None, decision: Decision) -> str | None:
    return identity.id if identity and decision.keeps_id else None


def _hand_over(cur: Any, other: Any, result: Result, owner: str) -> str:
    """Give both sides the same new key; returns the installation's id."""
    _pg.set_role(cur, owner)
    new_id = _pg.value(cur, f"SELECT {SCHEMA}.renew_identity(%(keep)s)::text", {"keep": result.decision.keeps_id})
    row = _pg.copy_out(cur, f"COPY {IDENTITY} ({COLUMNS}) TO STDOUT")
    key = _pg.copy_out(cur, f"COPY (SELECT key FROM {IDENTITY_KEY}) TO STDOUT")
    # Nobody else can keep the server from reading the key into a new table: it would log it.
    other.execute(f"CREATE TEMPORARY TABLE {_BROUGHT} (key bytea) ON COMMIT DROP")
    _pg.copy_in(other, f"COPY {_BROUGHT} FROM STDIN", key)
    other.execute(f"SELECT count(set_config('{OWNER_KEY}', encode(b.key, 'hex'), true)) FROM {_BROUGHT} AS b")
    _pg.set_role(other, owner)
    other.execute(f"REFRESH MATERIALIZED VIEW {OWNER_KEY}")
    other.execute(f"SELECT set_config('{OWNER_KEY}', '', true)")
    other.execute(f"DELETE FROM {OWNED_BY}")
    _pg.copy_in(other, f"COPY {OWNED_BY} ({COLUMNS}) FROM STDIN", row)
    return str(new_id)
