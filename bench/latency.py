# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One client: what a single write takes with and without the bridge, by turns."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.place import Place, settle
from bench.table import Figure, median, quantile
from kit.pairs import Session

Write = Callable[[Session, int], None]
_SPEND = 'UPDATE "LiteLLM_UserTable" SET spend = spend + %s, updated_at = now() WHERE user_id = %s'
_USER = 'INSERT INTO "LiteLLM_UserTable" (user_id, user_email, user_alias, user_role) VALUES (%s, %s, %s, %s)'
_TEAM = """INSERT INTO "LiteLLM_TeamTable" (team_id, team_alias, members_with_roles)
SELECT 'everybody', 'Everybody', jsonb_agg(jsonb_build_object('role', 'user', 'user_id', 'u' || n, 'user_email', null))
  FROM generate_series(2, %s) AS n"""
_JOIN = """UPDATE "LiteLLM_TeamTable" SET members_with_roles = members_with_roles
 || '[{"role": "user", "user_id": "u1", "user_email": null}]' WHERE team_id = 'everybody'"""
_LEAVE = """UPDATE "LiteLLM_TeamTable" SET members_with_roles = members_with_roles
 - (jsonb_array_length(members_with_roles) - 1) WHERE team_id = 'everybody'"""
FLUSH = 100
WARM_UP = 50
DRAIN_EVERY = 500
CPU = "of both backends, whatever else the machine does"


def spend(where: Place) -> list[Figure]:
    """LiteLLM's spend update, alone and in a flush of its shape."""
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

    figures: list[Figure] = []
    for name, write, rounds in (
        ("spend update", one, where.size.rounds),
        (f"spend flush, {FLUSH} users", flush, max(20, where.size.rounds // 10)),
    ):
        taken = by_turns(where, write, rounds)
        for share, word, bound in ((0.5, "median", 1.03), (0.99, "p99", None)):
            bare, bridged = quantile(taken.bare, share), quantile(taken.bridged, share)
            note = f"{bare:.3f} ms -> {bridged:.3f} ms"
            figures.append(Figure(f"{name}: with / without, {word}", bridged / bare, "", bound, note=note))
        figures.append(Figure(f"{name}: added CPU time", taken.cpu_added, "ms", note=CPU))
    return figures


def user(where: Place) -> list[Figure]:
    """A new user, in LiteLLM when the statement returns and in Open WebUI as well."""

    def create(session: Session, number: int) -> None:
        session.run(_USER, [f"new{number}", f"new{number}@example.com", f"New {number}", "internal_user"])

    taken = by_turns(where, create, where.size.rounds)
    figures = [
        Figure("bare insert of a user, median", median(taken.bare), "ms", note="the bounds assume about 0.35 ms"),
    ]
    for share, word, bound in ((0.5, "median", 0.8), (0.99, "p99", 5)):
        bare, bridged = quantile(taken.bare, share), quantile(taken.bridged, share)
        note = f"{bare:.3f} ms -> {bridged:.3f} ms"
        figures.append(Figure(f"user created: added, {word}", bridged - bare, "ms", bound, note=note))
    return [*figures, Figure("user created: added CPU time", taken.cpu_added, "ms", note=CPU)]


def member(where: Place) -> list[Figure]:
    """Somebody joins or leaves a large team, of whose members LiteLLM writes the whole list."""
    for pair in (where.bare, where.bridged):
        pair.litellm.run(_TEAM, [where.size.users])
    where.drain()
    settle(where)

    def change(session: Session, number: int) -> None:
        session.run(_LEAVE if number % 2 else _JOIN)

    taken = by_turns(where, change, where.size.rounds // 10)
    bare, bridged = median(taken.bare), median(taken.bridged)
    what = f"member of a team of {where.size.users:,} comes or goes"
    return [
        Figure(f"{what}: added, median", bridged - bare, "ms", 5, note=f"{bare:.1f} ms -> {bridged:.1f} ms"),
        Figure(f"{what}: added CPU time", taken.cpu_added, "ms", note=CPU),
    ]


@dataclass(frozen=True)
class Taken:
    """Milliseconds of each write without and with the bridge, and those that the backends computed more with it."""

    bare: list[float]
    bridged: list[float]
    cpu_added: float


def by_turns(where: Place, write: Write, rounds: int) -> Taken:
    """Each write once without and once with the bridge: whatever disturbs the machine disturbs both."""
    sessions = {"bare": where.bare.connect("litellm"), "bridged": where.bridged.connect("litellm")}
    taken: dict[str, list[float]] = {"bare": [], "bridged": []}
    cpu = {"bare": 0.0, "bridged": 0.0}
    for number in range(-WARM_UP, rounds):
        if number == 0:
            cpu = {name: -_computed(where, session) for name, session in sessions.items()}
        for name in ("bare", "bridged") if number % 2 else ("bridged", "bare"):
            started = time.perf_counter()
            write(sessions[name], number)
            if number >= 0:
                taken[name].append((time.perf_counter() - started) * 1000)
        if number % DRAIN_EVERY == DRAIN_EVERY - 1:
            # The drain's own backend in Open WebUI's database is not to be counted.
            cpu["bridged"] += _computed(where, sessions["bridged"])
            where.drain()
            cpu["bridged"] -= _computed(where, sessions["bridged"])
    for name, session in sessions.items():
        cpu[name] += _computed(where, session)
        session.close()
    return Taken(taken["bare"], taken["bridged"], (cpu["bridged"] - cpu["bare"]) / rounds)


def _computed(where: Place, session: Session) -> float:
    """Milliseconds on a core of a session's backend, and of those that deliver if it has the bridge."""
    pids = [session.pid, *(where.delivering if session.raw.info.dbname == where.bridged.litellm_db else [])]
    return sum(int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[0]) for pid in pids) / 1e6
