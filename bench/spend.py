# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""LiteLLM's spend update, alone and in a flush of its shape.

Warm: one database and one backend, whose trigger is switched off and on. Cold: two backends by turns, each of which
drives the other's code and data from the processor's caches; what a busy LiteLLM sees is between the two.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from bench.latency import CPU, by_turns
from bench.place import Place
from bench.table import Figure, ends, median
from kit.cpu import microseconds
from kit.pairs import Session

_SPEND = 'UPDATE "LiteLLM_UserTable" SET spend = spend + %s, updated_at = now() WHERE user_id = %s'
FLUSH = 100
TURNS = 9
_SWITCH = 'ALTER TABLE "LiteLLM_UserTable" {} TRIGGER user_bridge_enqueue'
_COLD = "two backends by turns; the first of each pair of figures is warm"


def spend(where: Place) -> list[Figure]:
    rng = random.Random(1)

    def one(session: Session, _: int) -> None:
        session.run(_SPEND, [0.01, f"u{rng.randint(1, where.size.users)}"])

    def flush(session: Session, _: int) -> None:
        users = sorted(f"u{n}" for n in rng.sample(range(1, where.size.users + 1), min(FLUSH, where.size.users)))
        session.run("BEGIN")
        session.run("SELECT set_config('lock_timeout', '5000ms', true)")
        for user in users:
            session.run(_SPEND, [0.01, user])
        session.run("COMMIT")

    few = max(20, where.size.rounds // 10)
    return [
        *_warm(where, "spend update", one, where.size.rounds // 3, 1, 25, 1.08),
        *_warm(where, f"spend flush of {FLUSH}", flush, few // 3, FLUSH, 12, None),
        *_cold(where, "spend update", one, where.size.rounds, 1),
        *_cold(where, f"spend flush of {FLUSH}", flush, few, FLUSH),
    ]


def _warm(
    where: Place,
    what: str,
    write: Callable[[Session, int], None],
    rounds: int,
    rows: int,
    bound: float,
    ratio: float | None,
) -> list[Figure]:
    session = where.bridged.connect("litellm")
    computed: dict[str, list[float]] = {"DISABLE": [], "ENABLE": []}
    taken: dict[str, list[float]] = {"DISABLE": [], "ENABLE": []}
    for turn in range(TURNS):
        for state in sorted(computed, reverse=turn % 2 == 0):
            where.bridged.litellm_admin.run(_SWITCH.format(state))
            for _ in range(max(2, rounds // 10)):
                write(session, 0)
            before, times = microseconds([session.pid]), []
            for _ in range(rounds):
                started = time.perf_counter()
                write(session, 0)
                times.append((time.perf_counter() - started) * 1000)
            computed[state].append((microseconds([session.pid]) - before) / rounds / rows)
            taken[state].append(median(times))
    session.close()
    where.bridged.litellm_admin.run(_SWITCH.format("ENABLE"))
    off, on = median(computed["DISABLE"]), median(computed["ENABLE"])
    parts = [b - a for a, b in zip(computed["DISABLE"], computed["ENABLE"], strict=True)]
    bare, bridged = median(taken["DISABLE"]), median(taken["ENABLE"])
    ratios = ends([b / a for a, b in zip(taken["DISABLE"], taken["ENABLE"], strict=True)])
    return [
        Figure(f"{what}, warm: added CPU a row", on - off, "us", bound, note="trigger off and on", spread=ends(parts)),
        Figure(
            f"{what}, warm: with / without",
            bridged / bare,
            "",
            ratio,
            note=f"{bare:.3f} ms -> {bridged:.3f} ms",
            spread=ratios,
        ),
    ]


def _cold(where: Place, what: str, write: Callable[[Session, int], None], rounds: int, rows: int) -> list[Figure]:
    taken = by_turns(where, write, rounds)
    bare, bridged = median(taken.bare), median(taken.bridged)
    return [
        Figure(f"{what}, cold: with / without", bridged / bare, "", note=f"{bare:.3f} ms -> {bridged:.3f} ms; {_COLD}"),
        Figure(f"{what}, cold: added CPU a row", taken.cpu_added / rows, "us", note=CPU),
    ]
