# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Takes over from the upstream SQL scripts (github.com/pkusnail/open-webui-litellm-user-bridge).

The bridge's own triggers are there before theirs go, so no write is missed; what both have delivered is the same. In
three steps, each a transaction or more, and each one that a run which was cut off repeats:

1. their triggers go, and with them the last that writes to Open WebUI in their way;
2. Open WebUI's rows are repaired and become the bridge's, some at a time;
3. mapping and history are imported, their functions and (if wanted) tables go, and everything is queued.

Until the third step has committed, what is left of theirs shows that there is something to take over.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Callable

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._lock import retry
from ansible_collections.llmops.user_bridge.plugins.module_utils._plain.prove import looking, prove, reading
from ansible_collections.llmops.user_bridge.plugins.module_utils._takeover.find import look
from ansible_collections.llmops.user_bridge.plugins.module_utils._takeover.history import count
from ansible_collections.llmops.user_bridge.plugins.module_utils._takeover.repair import (
    REPAIRED,
    Plan,
    apply,
    check,
    decide,
)
from ansible_collections.llmops.user_bridge.plugins.module_utils._takeover.report import Result
from ansible_collections.llmops.user_bridge.plugins.module_utils._takeover.source import (
    SOURCES,
    drop_triggers,
    entities,
    finish,
    is_installed,
)
from ansible_collections.llmops.user_bridge.plugins.module_utils._takeover.survey import Survey, survey

# Entities a transaction, for which their rows in Open WebUI are locked.
_BATCH = 500


@dataclass(frozen=True)
class Wanted:
    """What a run asks for."""

    owner: str
    drop_tables: bool
    lock_timeout_ms: int
    check_mode: bool


def take_over(
    litellm: Any, connect_openwebui: Callable[[], Any], deliver: Callable[[], dict[str, int]] | None, wanted: Wanted
) -> Result:
    """Find what there is of theirs and take it over. Without any, nothing is written and nobody else connected to."""
    cur = _pg.cursor(litellm)
    with looking(cur):
        found = look(cur, wanted.drop_tables)
        result = Result(found, wanted.drop_tables)
        if not result.changed:
            return result
        installed = is_installed(cur)
        if not installed and not wanted.check_mode:
            raise BridgeError(
                f"database {found.database} (login_db, bridge_litellm_db) lacks LiteLLM's side of the bridge: "
                "run the role llmops.user_bridge.triggers first; nothing was changed"
            )
        mappings, audit = count(cur, found, installed)
        result = replace(result, found=replace(found, mappings=mappings, audit=audit))
    if not found.is_live:
        if not wanted.check_mode:
            retry(cur, lambda: finish(cur, wanted.owner, wanted.lock_timeout_ms, wanted.drop_tables))
        return result
    result = _take_over_all(cur, _pg.cursor(connect_openwebui()), result, wanted)
    return replace(result, delivered=deliver()) if deliver and result.queued else result


def _take_over_all(cur: Any, other: Any, result: Result, wanted: Wanted) -> Result:
    found, timeout, drop = result.found, wanted.lock_timeout_ms, wanted.drop_tables
    with _pg.transaction(other, read_only=True):
        check(other, wanted.check_mode)
    if found.triggers and not wanted.check_mode:
        retry(cur, lambda: drop_triggers(cur, timeout, drop))
    with nullcontext() if wanted.check_mode else _under_way():
        # After the triggers are gone nothing adds to these tables any more.
        with looking(cur):
            prove(cur, SOURCES)
            found_entities = entities(cur, look(cur, drop))
        with reading(other, REPAIRED):
            seen = survey(other, found_entities, found.logins)
            plan = decide(other, seen, found_entities) if wanted.check_mode else Plan()
        result = replace(result, survey=seen, plan=plan)
        if wanted.check_mode:
            return result
        for start in range(0, len(found_entities), _BATCH):
            plan.add(_repair_batch(other, seen, found_entities[start : start + _BATCH], timeout))
        taken, queued = retry(cur, lambda: finish(cur, wanted.owner, timeout, drop))
    return replace(result, found=replace(found, mappings=taken.mappings, audit=taken.audit), queued=queued)


def _repair_batch(other: Any, seen: Survey, batch: list[dict[str, Any]], lock_timeout_ms: int) -> Plan:
    return retry(other, lambda: apply(other, seen, batch, lock_timeout_ms))


@contextmanager
def _under_way() -> Iterator[None]:
    """Say that a failure after the first step leaves the takeover to the next run."""
    try:
        yield
    except BridgeError as error:
        raise BridgeError(
            f"{str(error).removesuffix('; nothing was changed')}; the takeover is under way: the bridge delivers what "
            "LiteLLM writes, and the next run completes the rest"
        ) from None
