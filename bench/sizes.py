# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A new user among few and among very many, on the oldest and the newest LiteLLM; a drain and a lookout of so many."""

from __future__ import annotations

import time
from dataclasses import replace

from bench import cpu
from bench.latency import CPU, by_turns, create_users
from bench.place import SETTINGS, Place, settle
from bench.table import Figure, median
from kit.bridge import drainer, install_bridge
from kit.pairs import Pair, pair

_ALONE = """INSERT INTO "LiteLLM_UserTable" (user_id, user_email, user_alias, user_role)
SELECT 'u' || n, 'u' || n || '@example.com', 'User ' || n, 'internal_user' FROM generate_series(1, %s) AS n"""
FEW = 1000


def sizes(where: Place) -> list[Figure]:
    figures: list[Figure] = []
    first: float | None = None
    for litellm in ("new", "old"):
        for users in (FEW, where.size.many):
            with pair(where.cluster, litellm) as bare, pair(where.cluster, litellm) as bridged:
                place = replace(where, bare=bare, bridged=bridged)
                drained = _fill(place, users)
                with drainer(bridged):
                    taken = by_turns(place, create_users()[1], where.size.rounds // 3)
                if users == where.size.many and litellm == "new":
                    note = f"drain(1000), password none, {drained:.1f} s"
                    figures.append(Figure(f"drain of {users:,} users", users / drained, "users/s", 5000, ">=", note))
                    figures.append(Figure(f"lookout over {users:,} users: CPU", _looked_out(place), "s", 1, note=CPU))
            added = median(taken.bridged) - median(taken.bare)
            first = added if first is None else first
            title = f"user created, LiteLLM {bridged.litellm_version}, {users:,} users before"
            figures.append(Figure(f"{title}: added, median", added, "ms", note=f"{taken.cpu_added:.0f} us CPU"))
            figures.append(Figure(f"{title}: as against {FEW:,} on the newest", added / first, "", 1.2))
    return figures


def _looked_out(place: Place) -> float:
    """Seconds on a core, of a session that has done it before, as the drainer's has."""
    session = place.bridged.litellm_admin
    before = 0.0
    for _ in range(2):
        # The first time everything is due, the second time nothing else.
        session.run("UPDATE user_bridge.upkeep SET next_at = now() WHERE task = 'lookout'")
        before = cpu.of_write(place, session)
        session.run("SELECT user_bridge.upkeep()")
    return (cpu.of_write(place, session) - before) / 1e6


def _fill(place: Place, users: int) -> float:
    """Seconds that their drain took."""
    each: Pair
    for each in (place.bare, place.bridged):
        each.litellm.run(_ALONE, [users])
    install_bridge(place.bridged, SETTINGS)
    place.bridged.litellm_admin.run("SELECT user_bridge.enqueue_everything()")
    started = time.perf_counter()
    place.drain()
    taken = time.perf_counter() - started
    settle(place)
    return taken
