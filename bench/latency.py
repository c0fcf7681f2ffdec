# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One client: what a single write takes with and without the bridge, by turns."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass

from bench import cpu
from bench.place import Place, settle
from bench.table import Figure, ends, median, quantile
from kit.bridge import change_settings, drainer
from kit.pairs import Session

Write = Callable[[Session, int], None]
_USER = 'INSERT INTO "LiteLLM_UserTable" (user_id, user_email, user_alias, user_role) VALUES (%s, %s, %s, %s)'
_MEMBER = 'INSERT INTO "LiteLLM_OrganizationMembership" (organization_id, user_id) VALUES (%s, %s)'
_KEY = 'INSERT INTO "LiteLLM_VerificationToken" (token, user_id, key_alias, models) VALUES (%s, %s, %s, %s)'
_TEAM = """INSERT INTO "LiteLLM_TeamTable" (team_id, team_alias, members_with_roles)
SELECT 'everybody', 'Everybody', jsonb_agg(jsonb_build_object('role', 'user', 'user_id', 'u' || n, 'user_email', null))
  FROM generate_series(2, %s) AS n"""
_JOIN = """UPDATE "LiteLLM_TeamTable" SET members_with_roles = members_with_roles
 || '[{"role": "user", "user_id": "u1", "user_email": null}]' WHERE team_id = 'everybody'"""
_LEAVE = """UPDATE "LiteLLM_TeamTable" SET members_with_roles = members_with_roles
 - (jsonb_array_length(members_with_roles) - 1) WHERE team_id = 'everybody'"""
WARM_UP = 50
PARTS = 5
CPU = "of both backends, whatever else the machine does"
# Each measurement makes rows of its own.
_series = itertools.count()


def writes(where: Place) -> list[Figure]:
    """A user comes, changes, joins an organization and leaves it, has a key and goes; with the drainer alive."""
    with drainer(where.bridged):
        return [figure for name, write in _one_life() for figure in added(where, name, write)]


def passwords(where: Place) -> list[Figure]:
    """The same new user with an initial password: hashing must not hold the COMMIT."""
    figures: list[Figure] = []
    change_settings(where.bridged, initial_password="email")
    try:
        with drainer(where.bridged):
            figures += added(where, "user created, initial password email", create_users()[1], rounds=100)
        figures += added(where, "the same without a drainer", create_users()[1], rounds=30, bounded=False)
    finally:
        change_settings(where.bridged, initial_password="none")
    return figures


def create_users() -> tuple[Callable[[int], str], Write]:
    """The ids by number, and the write that creates such a user."""
    series = next(_series)

    def name(number: int) -> str:
        return f"new{series}-{number}"

    def create(session: Session, number: int) -> None:
        session.run(_USER, [name(number), f"{name(number)}@example.com", f"New {number}", "internal_user"])

    return name, create


def _one_life() -> list[tuple[str, Write]]:
    """In this order: each works on the users of the first."""
    series = next(_series)

    def name(number: int) -> str:
        return f"life{series}-{number}"

    def run(sql: str, values: Callable[[int], list[object]]) -> Write:
        def write(session: Session, number: int) -> None:
            session.run(sql, values(number))

        return write

    users = '"LiteLLM_UserTable"'
    return [
        ("user created", run(_USER, lambda n: [name(n), f"{name(n)}@example.com", f"Life {n}", "internal_user"])),
        ("user changed", run(f"UPDATE {users} SET user_alias = 'Other' WHERE user_id = %s", lambda n: [name(n)])),
        ("organization joined", run(_MEMBER, lambda n: ["o1", name(n)])),
        ("key created", run(_KEY, lambda n: [f"token {name(n)}", name(n), f"Key {n}", []])),
        ("key deleted", run('DELETE FROM "LiteLLM_VerificationToken" WHERE user_id = %s', lambda n: [name(n)])),
        (
            "organization left",
            run('DELETE FROM "LiteLLM_OrganizationMembership" WHERE user_id = %s', lambda n: [name(n)]),
        ),
        ("user deleted", run(f"DELETE FROM {users} WHERE user_id = %s", lambda n: [name(n)])),
    ]


def added(where: Place, what: str, write: Write, rounds: int | None = None, bounded: bool = True) -> list[Figure]:
    """What the bridge adds to a write: median with the spread of its parts, p99 and CPU."""
    taken = by_turns(where, write, rounds or where.size.rounds // 3)
    bounds = (0.7, 5.0) if bounded and what.startswith("user created") else (None, None)
    figures = []
    for share, word, bound in ((0.5, "median", bounds[0]), (0.99, "p99", bounds[1])):
        bare, bridged = quantile(taken.bare, share), quantile(taken.bridged, share)
        note = f"{bare:.3f} ms -> {bridged:.3f} ms"
        spread = taken.added_by_part() if word == "median" else None
        figures.append(Figure(f"{what}: added, {word}", bridged - bare, "ms", bound, note=note, spread=spread))
    return [*figures, Figure(f"{what}: added CPU", taken.cpu_added, "us", note=CPU)]


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
        Figure(f"{what}: added CPU", taken.cpu_added, "us", note=CPU),
    ]


@dataclass(frozen=True)
class Taken:
    """Milliseconds of each write without and with the bridge; microseconds that the backends computed more with it."""

    bare: list[float]
    bridged: list[float]
    cpu_added: float

    def added_by_part(self) -> tuple[float, float]:
        size = max(1, len(self.bare) // PARTS)
        firsts = range(0, len(self.bare) - size + 1, size)
        return ends([median(self.bridged[n : n + size]) - median(self.bare[n : n + size]) for n in firsts])


def by_turns(where: Place, write: Write, rounds: int) -> Taken:
    """Each write once without and once with the bridge: whatever disturbs the machine disturbs both."""
    sessions = {"bare": where.bare.connect("litellm"), "bridged": where.bridged.connect("litellm")}
    taken: dict[str, list[float]] = {"bare": [], "bridged": []}
    computed = dict.fromkeys(sessions, 0.0)
    for number in range(-WARM_UP, rounds):
        if number == 0:
            computed = {name: -cpu.of_write(where, session) for name, session in sessions.items()}
        for name in ("bare", "bridged") if number % 2 else ("bridged", "bare"):
            started = time.perf_counter()
            write(sessions[name], number)
            if number >= 0:
                taken[name].append((time.perf_counter() - started) * 1000)
    for name, session in sessions.items():
        computed[name] += cpu.of_write(where, session)
        session.close()
    where.drain()
    return Taken(taken["bare"], taken["bridged"], (computed["bridged"] - computed["bare"]) / rounds)
