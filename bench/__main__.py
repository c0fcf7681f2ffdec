# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Entry point of `make bench`. Measures and reports; a missed bound is no error, so the exit code is 0 unless it broke.

Environment: BENCH_ONLY (comma-separated names), BENCH_USERS, BENCH_ROUNDS, BENCH_SECONDS, BENCH_BULK,
BENCH_MANY, BENCH_PG, BENCH_JSON (where the figures go, too); see the Makefile.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from bench import bulk, floor, latency, memory, models, modules, outage, playbook, rate, sizes, spend
from bench.place import Place, Size, place
from bench.table import Figure, save, show
from kit import binaries
from kit.common import REPO, KitError, say

BENCHES: dict[str, Callable[[Place], list[Figure]]] = {
    "spend": spend.spend,
    "floor": floor.floor,
    "writes": latency.writes,
    "passwords": latency.passwords,
    "member": latency.member,
    "rate": rate.users,
    "outage": outage.outage,
    "memory": memory.memory,
    "sizes": sizes.sizes,
    "bulk": bulk.users,
    "rename": bulk.rename,
    "models": models.models,
    "drains": models.drains,
    "modules": modules.modules,
    "playbook": playbook.both_runs,
}


def number(name: str, default: int) -> int:
    given = os.environ.get(name) or str(default)
    if not given.isdecimal() or int(given) < 1:
        raise KitError(f"{name} must be a positive whole number, not {given!r}")
    return int(given)


def chosen() -> list[str]:
    names = [name for name in os.environ.get("BENCH_ONLY", "").split(",") if name] or list(BENCHES)
    unknown = sorted(set(names) - set(BENCHES))
    if unknown:
        raise KitError(f"BENCH_ONLY: there is no {', '.join(unknown)}; choose from {', '.join(BENCHES)}")
    return names


def main() -> None:
    names = chosen()
    size = Size(
        users=number("BENCH_USERS", 5000),
        rounds=number("BENCH_ROUNDS", 1500),
        seconds=number("BENCH_SECONDS", 10),
        bulk=number("BENCH_BULK", 10000),
        many=number("BENCH_MANY", 100000),
    )
    programs = binaries.find(number("BENCH_PG", binaries.default_major()))
    figures: list[Figure] = []
    path = Path(os.environ.get("BENCH_JSON") or REPO / ".cache" / "bench.json")
    with place(programs, size) as where:
        conditions = where.conditions
        say(conditions)
        try:
            for name in names:
                say(f"Measuring: {name}")
                figures += BENCHES[name](where)
        finally:
            # One that breaks does not take the figures of those before it with it.
            show(figures, conditions)
            save(figures, conditions, path)
    say(f"As JSON: {path}")


if __name__ == "__main__":
    try:
        main()
    except KitError as error:
        sys.exit(f"\n{error}")
