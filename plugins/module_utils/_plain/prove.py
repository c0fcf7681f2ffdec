# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Proof that a program's tables are plain ones, before the maintenance login reads them.

The program's role owns its tables. What it puts in their place or into them (a view, a policy, an index with a
function that claims to be immutable) runs with the rights of whoever reads there, and the maintenance login is a
superuser. So the tables are locked against any such change and then asked about in the catalog, in the transaction that
reads them.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import quote
from ansible_collections.llmops.user_bridge.plugins.module_utils._plain.query import NOT_PLAIN

# Long enough for what LiteLLM does to its tables, too short for a VACUUM of a large one.
_LOCK_TIMEOUT_MS = 5000

# Those that are there and that the login may read; whether it may take any lock on them.
_THERE = """
SELECT t.name, has_table_privilege(c.oid, 'UPDATE') AS any_lock
  FROM unnest(%(tables)s::text[]) AS t(name)
  JOIN pg_class AS c ON c.oid = to_regclass('public.' || quote_ident(t.name))
 WHERE has_table_privilege(c.oid, 'SELECT')
 ORDER BY 1"""


class NotPlain(BridgeError):
    """A program's table has, or is, something that would run its owner's code."""


@contextmanager
def looking(cur: Any) -> Iterator[None]:
    """A transaction that keeps nothing, in which prove() gets the lock that it needs."""
    is_standby = bool(_pg.value(cur, "SELECT pg_catalog.pg_is_in_recovery()"))
    with _pg.transaction(cur, read_only=is_standby, keep=False):
        if not is_standby:
            # The lock that keeps out CREATE STATISTICS is refused in a read-only transaction, which may be the default.
            cur.execute("SET TRANSACTION READ WRITE")
        yield


@contextmanager
def reading(cur: Any, tables: Iterable[str]) -> Iterator[frozenset[str]]:
    """The same, read-only from the proof of these tables on; gives those that the login may read.

    Of the others nothing is known: a table that is not there may be a view in a moment.
    """
    with looking(cur):
        proved = prove(cur, tables)
        cur.execute("SET LOCAL transaction_read_only = on")
        yield proved


def prove(cur: Any, tables: Iterable[str]) -> frozenset[str]:
    """Lock those of these tables of schema public that the login may read, and refuse what is not plain among them."""
    asked = sorted(tables)
    refuse(cur, asked)
    there = _pg.rows(cur, _THERE, {"tables": asked})
    if there:
        _lock(cur, there)
        # What came in between; from here on nothing comes.
        refuse(cur, asked)
    return frozenset(row["name"] for row in there)


def refuse(cur: Any, tables: Iterable[str]) -> None:
    """Raise NotPlain with the name of everything that reading these tables could run."""
    names = [f"public.{quote(name)}" for name in tables]
    found = [next(iter(row.values())) for row in _pg.rows(cur, NOT_PLAIN, {"tables": names, "writes": False})]
    if found:
        (at,) = _pg.rows(cur, "SELECT current_database()::text AS database, session_user::text AS login")
        raise NotPlain(
            f"the tables of database {at['database']} hold code of their owner's, which would run with the rights of "
            f"login_user {at['login']}: {'; '.join(found)}; drop it and run again; nothing was changed"
        )


def _lock(cur: Any, there: list[dict[str, Any]]) -> None:
    names = ", ".join(f"ONLY public.{quote(row['name'])}" for row in there)
    mode = "ACCESS SHARE"
    if all(row["any_lock"] for row in there):
        is_read_only = _pg.value(cur, "SELECT current_setting('transaction_read_only')") == "on"
        mode = "ROW EXCLUSIVE" if is_read_only else "SHARE UPDATE EXCLUSIVE"
    try:
        with _pg.with_timeout(cur, "lock_timeout", _LOCK_TIMEOUT_MS):
            cur.execute(f"LOCK TABLE {names} IN {mode} MODE")
    except _pg.PgError as error:
        if _pg.sqlstate(error) != _pg.LOCK_NOT_AVAILABLE:
            raise
        raise BridgeError(
            f"could not lock {names.replace('ONLY ', '')} within {_LOCK_TIMEOUT_MS // 1000} seconds, because another "
            "session changes, vacuums or analyzes one of them; run again at a quieter time; nothing was changed"
        ) from None
