# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much one write of LiteLLM's reads, on both sides: rows and blocks, which do not depend on the machine.

From PostgreSQL's own counters, for which nobody else may be busy in the two databases. Needs PostgreSQL 15.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kit.pairs import SIDES, Pair, Session, Side

# Rows that scans of tables return and that indexes find, index entries that are looked at, and blocks of both.
_COUNTERS = """
SELECT t.oid::regclass::text AS name,
       coalesce(pg_stat_get_tuples_returned(t.oid), 0) + coalesce(pg_stat_get_tuples_fetched(t.oid), 0) AS rows,
       pg_stat_get_blocks_fetched(t.oid) AS blocks
  FROM pg_class AS t
 WHERE t.relkind IN ('r', 'i', 't')
   AND (t.relnamespace IN ('public'::regnamespace, 'user_bridge'::regnamespace)
        OR t.relnamespace = 'pg_toast'::regnamespace AND t.oid >= 16384)"""


@dataclass(frozen=True)
class Work:
    """Rows and blocks that were read of each table and index, as "litellm user_bridge.address"."""

    read: dict[str, tuple[int, int]]

    @property
    def rows(self) -> int:
        return sum(rows for rows, _ in self.read.values())

    @property
    def blocks(self) -> int:
        return sum(blocks for _, blocks in self.read.values())

    def without(self, is_exempt: Callable[[str], bool]) -> Work:
        return Work({name: found for name, found in self.read.items() if not is_exempt(name)})

    def beyond(self, other: Work) -> Work:
        """What is read more than in the other case."""
        none = (0, 0)
        return Work({name: _minus(found, other.read.get(name, none)) for name, found in self.read.items()})

    def __str__(self) -> str:
        most = sorted(self.read.items(), key=lambda each: -each[1][0])[:4]
        return f"{self.rows} rows, {self.blocks} blocks, of which " + ", ".join(
            f"{r} of {name}" for name, (r, _) in most
        )


def _minus(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    return one[0] - other[0], one[1] - other[1]


class Meter:
    """Counts on one connection, which keeps its plans and its connection to Open WebUI as LiteLLM's do."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        # The superuser may also reach what dblink keeps open; LiteLLM's own role writes.
        self.session = pair.connect("litellm", "postgres")
        self.counters: dict[Side, Session] = {side: pair.connect(side, "postgres") for side in SIDES}

    def measure(self, write: Callable[[Session], object]) -> Work:
        """One write, COMMIT included."""
        before = self._read()
        self.session.run("SET SESSION AUTHORIZATION litellm")
        try:
            write(self.session)
        finally:
            self.session.run("RESET SESSION AUTHORIZATION")
        return Work(self._read()).beyond(Work(before))

    def _read(self) -> dict[str, tuple[int, int]]:
        flush = "SELECT pg_catalog.pg_stat_force_next_flush()"
        self.session.run(flush)
        connections = "SELECT user_bridge.dblink_get_connections() @> ARRAY[user_bridge.connection_name()]"
        if self.session.value(connections):
            ask = "SELECT count(*) FROM user_bridge.dblink(user_bridge.connection_name(), %s) AS x(done text)"
            self.session.run(ask, [flush + "::text"])
            # The next statement's end is what flushes.
            self.session.run(ask, ["SELECT 'flushed'"])
        self.session.run("SELECT 1")
        found: dict[str, tuple[int, int]] = {}
        for side, session in self.counters.items():
            session.run("SELECT pg_stat_clear_snapshot()")
            for row in session.rows(_COUNTERS):
                found[f"{side} {row['name']}"] = (row["rows"], row["blocks"])
        return found
