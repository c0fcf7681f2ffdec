# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Big transactions: their time and memory must grow with the change, and no faster."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.place import Place, settle
from bench.table import Figure, quantile
from kit.pairs import Pair, Session

STEPS = 4
# Four times the change, four times the time, with as much leeway as single measurements need.
LEEWAY = 1.5
# What a backend's own memory may grow by when the change is four times as big.
MEMORY_MB = 16
REPEATS = 3
Change = Callable[[Session, str, int], None]
_USERS = """INSERT INTO "LiteLLM_UserTable" (user_id, user_email, user_alias, user_role, teams)
SELECT %(team)s || '-' || n, %(team)s || '-' || n || '@example.com', 'Bulk ' || n, 'internal_user', ARRAY[%(team)s]
  FROM generate_series(1, %(users)s) AS n"""
_TEAM = """INSERT INTO "LiteLLM_TeamTable" (team_id, team_alias, members_with_roles)
SELECT %(team)s, %(team)s, jsonb_agg(jsonb_build_object('role', 'user', 'user_id', u.user_id))
  FROM "LiteLLM_UserTable" AS u WHERE u.teams = ARRAY[%(team)s]"""
_RENAME = "UPDATE \"LiteLLM_TeamTable\" SET team_alias = team_alias || '!' WHERE team_id = %s"


def users(where: Place) -> list[Figure]:
    """Thousands of users in one transaction, and what is left of them for the drain."""

    def create(session: Session, name: str, count: int) -> None:
        session.run(_USERS, {"team": name, "users": count})

    return _compare(where, "{} users in one transaction", create, lambda bare: 1.1 * bare)


def rename(where: Place) -> list[Figure]:
    """A new name for a team: each member is called after it."""
    for pair in (where.bare, where.bridged):
        for count in _counts(where):
            pair.litellm.run(_USERS, {"team": f"rename{count}", "users": count})
            pair.litellm.run(_TEAM, {"team": f"rename{count}"})
    where.drain()
    settle(where)

    def change(session: Session, _: str, count: int) -> None:
        session.run(_RENAME, [f"rename{count}"])

    return _compare(where, "rename of a team of {}", change, lambda _: 50)


def _counts(where: Place) -> tuple[int, int]:
    return max(1, where.size.bulk // STEPS), where.size.bulk


def _compare(where: Place, what: str, change: Change, limit: Callable[[float], float]) -> list[Figure]:
    """limit: milliseconds for the larger change, by those that it takes without the bridge."""
    few, many = _counts(where)
    seconds: dict[tuple[str, int], float] = {}
    grown: dict[int, float] = {}
    drained: list[float] = []
    for count in (few, many):
        for name, pair in (("bare", where.bare), ("bridged", where.bridged)):
            runs = [_run(pair, change, f"{what[:3]}{count}-{turn}", count) for turn in range(REPEATS)]
            seconds[name, count] = quantile([run[0] for run in runs], 0.5)
            grown[count] = max(run[1] for run in runs)
            if name == "bridged":
                started = time.perf_counter()
                where.drain()
                drained.append(REPEATS * count / (time.perf_counter() - started))
    factor = seconds["bridged", many] / seconds["bridged", few]
    bare = seconds["bare", many] * 1000
    title = what.format(f"{many:,}")
    return [
        Figure(
            f"{title}: COMMIT returns after",
            seconds["bridged", many] * 1000,
            "ms",
            limit(bare),
            note=f"without: {bare:.0f} ms",
        ),
        Figure(f"{title}: time as against {few:,}", factor, "", STEPS * LEEWAY, note="proportional: 4"),
        Figure(
            f"{title}: more memory than {few:,}",
            grown[many] - grown[few],
            "MB",
            MEMORY_MB,
            note=f"the backend grew by {grown[many]:.1f} MB",
        ),
        Figure(f"{title}: drained afterwards", drained[-1], "users/s", note="drain(1000), password none"),
    ]


def _run(pair: Pair, change: Change, name: str, count: int) -> tuple[float, float]:
    """Seconds, and the megabytes of its own that a new backend took."""
    session = pair.connect("litellm")
    session.run('SELECT count(*) FROM "LiteLLM_UserTable"')
    with _growth(session.pid) as growth:
        started = time.perf_counter()
        change(session, name, count)
        taken = time.perf_counter() - started
    session.close()
    return taken, max(growth)


@contextmanager
def _growth(pid: int) -> Iterator[list[float]]:
    """Samples of a process's private memory, as the difference to now in MB."""
    before, done = private(pid), threading.Event()
    samples = [0.0]

    def watch() -> None:
        while not done.wait(0.002):
            samples.append(private(pid) - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield samples
    finally:
        done.set()
        watcher.join()


def private(pid: int) -> float:
    """Without shared buffers, of which every backend seems to use whatever it has touched."""
    found = re.search(r"^RssAnon:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(encoding="ascii"), re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0
