# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bridged pair for many tests: rows and sequences are put back between them, which is cheaper than a copy."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from psycopg2 import extensions, sql
from psycopg2.extras import Json

from kit.bridge import SCHEMA, install_bridge
from kit.cluster import STOP_SECONDS
from kit.pairs import SIDES, Pair, Session, Side

Table = tuple[str, str]
# Only tables with pages can hold a row.
_USED = f"""
SELECT n.nspname AS schema, c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname IN ('public', '{SCHEMA}') AND c.relkind = 'r' AND pg_relation_size(c.oid) > 0
"""
# What a test could leave behind besides rows. A catalog's row that was changed has another xmin.
_DEFINITIONS = f"""
WITH spaces AS (SELECT oid FROM pg_namespace WHERE nspname IN ('public', '{SCHEMA}')),
     tables AS (SELECT * FROM pg_class WHERE relkind = 'r' AND relnamespace IN (SELECT oid FROM spaces))
SELECT jsonb_build_array(
    (SELECT md5(string_agg(concat_ws(' ', oid, relname, relacl, relrowsecurity), ',' ORDER BY oid)) FROM tables),
    (SELECT jsonb_build_array(count(*), sum(xmin::text::bigint)) FROM pg_attribute
      WHERE attrelid IN (SELECT oid FROM tables)),
    (SELECT jsonb_build_array(count(*), sum(xmin::text::bigint)) FROM pg_proc
      WHERE pronamespace IN (SELECT oid FROM spaces)),
    (SELECT jsonb_build_array(count(*), sum(xmin::text::bigint)) FROM pg_trigger),
    (SELECT jsonb_build_array(count(*), sum(xmin::text::bigint)) FROM pg_constraint),
    (SELECT jsonb_build_array(count(*), sum(xmin::text::bigint)) FROM pg_foreign_server))
"""
_AT_WORK = """
SELECT 1 FROM pg_stat_activity
 WHERE datname = ANY (%s) AND pid <> ALL (%s) AND pid <> pg_backend_pid() AND backend_type = 'client backend'
   AND state <> 'idle' LIMIT 1
"""
_SEQUENCES = f"""
SELECT c.relname AS name FROM pg_class AS c WHERE c.relkind = 'S' AND c.relnamespace = '{SCHEMA}'::regnamespace
"""


@dataclass
class Contents:
    """What one side held when the bridge was new, and by what to know the tables that have changed since."""

    rows: dict[Table, list[Any]]
    sequences: dict[Table, tuple[int, bool]]
    marks: dict[Table, Any]
    definitions: Any


@dataclass
class Clearable:
    """A bridged pair that can be made new again, as `prepare` has left it."""

    pair: Pair
    settings: Mapping[str, Any]
    prepare: Callable[[Pair], object] | None = None
    contents: dict[Side, Contents] = field(default_factory=dict)

    def __post_init__(self) -> None:
        install_bridge(self.pair, self.settings)
        if self.prepare:
            self.prepare(self.pair)
        for side in SIDES:
            session = self.pair.superuser(side)
            tables = _used(session)
            self.contents[side] = Contents(
                _rows(session, tables), _sequences(session), _marks(session, tables), session.value(_DEFINITIONS)
            )

    def clear(self) -> bool:
        """False where somebody has changed more than rows: then it is of no use any more."""
        self._end_sessions()
        return all([_clear(self.pair.superuser(side), self.contents[side]) for side in SIDES])

    def _end_sessions(self) -> None:
        """All but the pair's own, which are put back to their defaults."""
        kept = list(self.pair.sessions.values())
        for session in self.pair.opened:
            if session not in kept or session.raw.info.transaction_status != extensions.TRANSACTION_STATUS_IDLE:
                session.close()
        self.pair.opened = [session for session in kept if not session.raw.closed]
        for session in self.pair.opened:
            session.run("RESET ALL")
            session.run("SELECT pg_advisory_unlock_all()")
        self._await_the_others()

    def _await_the_others(self) -> None:
        """A call outlives the session that it was made for, and would write into what is new again."""
        kept = [session.pid for session in self.pair.opened]
        names = list(self.pair.databases.values())
        give_up = time.monotonic() + STOP_SECONDS
        while self.pair.litellm_admin.value(_AT_WORK, [names, kept]) and time.monotonic() < give_up:
            time.sleep(0.01)


def _clear(session: Session, contents: Contents) -> bool:
    if session.value(_DEFINITIONS) != contents.definitions:
        return False
    used = _used(session)
    marks = _marks(session, used)
    changed = [table for table in used if marks[table] != contents.marks.get(table, [0, None])]
    with session.transaction():
        # No trigger of the programs' or of the bridge's takes part, and no foreign key.
        session.run("SET LOCAL session_replication_role = replica")
        for table in changed:
            session.run(_about("DELETE FROM {0}", table, session))
            if contents.rows.get(table):
                insert = "INSERT INTO {0} OVERRIDING SYSTEM VALUE SELECT * FROM jsonb_populate_recordset(NULL::{0}, %s)"
                session.run(_about(insert, table, session), [Json(contents.rows[table])])
        for sequence, (last, is_called) in contents.sequences.items():
            session.run(_about("SELECT setval('{0}', %s, %s)", sequence, session), [last, is_called])
    contents.marks.update(_marks(session, changed))
    return True


def _used(session: Session) -> list[Table]:
    return [(row["schema"], row["name"]) for row in session.rows(_USED)]


def _rows(session: Session, tables: Iterable[Table]) -> dict[Table, list[Any]]:
    return {table: session.value(_about("SELECT jsonb_agg(t) FROM {0} AS t", table, session)) for table in tables}


def _sequences(session: Session) -> dict[Table, tuple[int, bool]]:
    found = {}
    for each in session.rows(_SEQUENCES):
        sequence = (SCHEMA, each["name"])
        (row,) = session.rows(_about("SELECT last_value, is_called FROM {0}", sequence, session))
        found[sequence] = (row["last_value"], row["is_called"])
    return found


def _marks(session: Session, tables: Iterable[Table]) -> dict[Table, Any]:
    """Number of rows, and the sum of the transactions that wrote them."""
    ordered = list(tables)
    if not ordered:
        return {}
    each = "SELECT jsonb_build_array(count(*), sum(xmin::text::bigint)) AS mark FROM {0}"
    found = session.rows(" UNION ALL ".join(_about(each, table, session) for table in ordered))
    return dict(zip(ordered, (row["mark"] for row in found), strict=True))


def _about(statement: str, table: Table, session: Session) -> str:
    return sql.SQL(statement).format(sql.Identifier(*table)).as_string(session.raw)
