# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two transactions decide at the same time who sees a model, and neither sees what the other has written.

Each pair is played in each order of writing, delivering and committing. What people see afterwards is what the rule
says of both, and nobody had to compare the two sides for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from hard_support import QUICK, threads, until
from kit import openwebui, rows
from kit.bridge import change_settings
from kit.drains import drain_on
from kit.model_rows import (
    add_access_group,
    add_budget,
    add_model,
    add_scope,
    change_access_group,
    change_budget,
    change_membership,
    members,
)
from kit.pairs import Pair, Session

Write = Callable[[Session, str], object]
# Who sees which model, by what their names begin with.
Seen = dict[str, set[str]]
ASLEEP = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event = 'PgSleep'"


@dataclass(frozen=True)
class Race:
    """`before` is committed first. Names of all that a race makes end with the name that each write is given."""

    before: Write
    one: Write
    other: Write
    seen: Seen


def prepare(pair: Pair) -> None:
    """Models that everybody shares; whoever has said so waits for a lock until it is free."""
    change_settings(pair, **QUICK, model_access=True, model_unassigned="none", target_timeout_ms=20_000)
    patience = pair.litellm_admin.value("SELECT pg_get_functiondef('user_bridge.patience(timestamptz)'::regprocedure)")
    short = "RETURN CASE WHEN"
    assert patience.count(short) == 1
    pair.litellm_admin.run(
        patience.replace(short, f"{short} current_setting('test.waits', true) = 'on' THEN p_deadline WHEN")
    )
    for name in ("m1", "m2", "m3"):
        add_model(pair.litellm, name)
    drain_on(pair)


def _people(session: Session, name: str, *team: str, models: list[str]) -> None:
    """A team, and accounts for its members and for `own`, who is in none."""
    for each in ("own", *team):
        rows.add_user(session, f"{each}-{name}", f"{each}-{name}@example.com")
    rows.add_team(session, f"t-{name}", models=models, members_with_roles=members(*(f"{each}-{name}" for each in team)))


def _lists(*models: str) -> Write:
    return lambda session, name: rows.change_team(session, f"t-{name}", models=list(models))


def _team_of(*team: str) -> Write:
    return lambda session, name: _people(session, name, *team, models=["m1"])


def _key(session: Session, name: str, **columns: object) -> None:
    rows.add_key(session, f"k-{name}", f"own-{name}", team_id=f"t-{name}", models=["m1", "m2"], **columns)


def _has_role(role: str) -> Write:
    return lambda session, name: rows.change_user(session, f"own-{name}", user_role=role)


def _all(*writes: Write) -> Write:
    def write(session: Session, name: str) -> None:
        for each in writes:
            each(session, name)

    return write


def _scoped(session: Session, name: str) -> None:
    _people(session, name, "u", "v", models=["m1", "m2"])
    add_scope(session, f"t-{name}", f"u-{name}", ["m1"])


def _two_scopes(session: Session, name: str) -> None:
    _scoped(session, name)
    add_budget(session, f"b-{name}", allowed_models=["m2"])


def _scoped_and_blocked(session: Session, name: str) -> None:
    _scoped(session, name)
    rows.change_team(session, f"t-{name}", blocked=True)


def _scope(session: Session, name: str) -> None:
    change_budget(session, f"budget of u-{name} in t-{name}", allowed_models=["m2"])


def _blocks(blocked: bool) -> Write:
    return lambda session, name: rows.change_team(session, f"t-{name}", blocked=blocked)


def _with_group(session: Session, name: str) -> None:
    _people(session, name, "u", models=["m3"])
    add_access_group(session, f"ag-{name}", ["m1"], assigned_team_ids=[f"t-{name}"])


RACES = {
    "a new model, and a team's pattern": Race(
        _team_of("u"),
        lambda session, name: add_model(session, f"new-{name}"),
        lambda session, name: rows.change_team(session, f"t-{name}", models=[f"new-{name}*"]),
        {"u": {"new"}},
    ),
    "a new key, and its team's list": Race(_team_of("u"), _key, _lists("m2", "m3"), {"own": {"m2"}, "u": {"m2", "m3"}}),
    "a scope, and a member whose it becomes": Race(
        _two_scopes,
        lambda session, name: change_budget(session, f"b-{name}", allowed_models=["m1"]),
        lambda session, name: change_membership(session, f"t-{name}", f"u-{name}", budget_id=f"b-{name}"),
        {"u": {"m1"}, "v": {"m1", "m2"}},
    ),
    "a scope, and its team that is blocked": Race(_scoped, _scope, _blocks(True), {}),
    "a scope, and its team that is no longer blocked": Race(
        _scoped_and_blocked, _scope, _blocks(False), {"u": {"m2"}, "v": {"m1", "m2"}}
    ),
    "an administrator, and his team's list": Race(
        _all(_team_of("u", "v"), _key),
        _has_role("proxy_admin"),
        _lists("m2"),
        {"own": {"m1", "m2", "m3"}, "u": {"m2"}, "v": {"m2"}},
    ),
    "nobody's administrator any more, and his team's list": Race(
        _all(_team_of("u"), _key, _has_role("proxy_admin")),
        _has_role("internal_user"),
        _lists("m2", "m3"),
        {"own": {"m2"}, "u": {"m2", "m3"}},
    ),
    "a new key, and its access group": Race(
        _with_group,
        lambda session, name: _key(session, name, access_group_ids=[f"ag-{name}"]),
        lambda session, name: change_access_group(session, f"ag-{name}", access_model_names=["m2"]),
        {"own": {"m2"}, "u": {"m3"}},
    ),
}
# Both concern somebody or something whose lock is in the way.
OF_ONE = (
    "a scope, and its team that is no longer blocked",
    "nobody's administrator any more, and his team's list",
)
# When the second of the two delivers and commits; the first delivers as soon as both have written.
MEETINGS = ("at its COMMIT, once the first has committed", "first of all", "while the first is open")


def test_neither_misses_the_other(prepared: Pair) -> None:
    look(prepared, *RACES)


def look_at(pair: Pair, race: str) -> None:
    prepare(pair)
    look(pair, race)


def look(pair: Pair, *names: str) -> None:
    """Play some of the races, and compare what people see with what they should."""
    ways = [(race, swapped, meeting) for race in names for swapped in (False, True) for meeting in MEETINGS]
    with pair.litellm.transaction():
        for number, (race, _swapped, _meeting) in enumerate(ways):
            RACES[race].before(pair.litellm, f"n{number}")
    drain_on(pair)
    sessions = pair.connect("litellm"), pair.connect("litellm")
    for number, (race, swapped, meeting) in enumerate(ways):
        play(RACES[race], swapped, meeting, f"n{number}", pair, *sessions)
    drain_on(pair)
    differences = pair.litellm_admin.rows("SELECT * FROM user_bridge.reconcile(false)")
    seen = {way: people(pair, f"n{number}") for number, way in enumerate(ways)}
    assert seen == {way: RACES[way[0]].seen for way in ways}
    assert differences == []


def play(race: Race, swapped: bool, meeting: str, name: str, pair: Pair, one: Session, other: Session) -> None:
    """Both have written before either commits."""
    first, second = (race.other, race.one) if swapped else (race.one, race.other)
    for session, write in ((one, first), (other, second)):
        session.run("BEGIN")
        write(session, name)
    if meeting != "first of all":
        one.run("SET CONSTRAINTS ALL IMMEDIATE")
    if meeting == "at its COMMIT, once the first has committed":
        with _waiting(pair, other):
            one.run("COMMIT")
        return
    # What the first has locked the second does not get, and leaves it to the drain, which does not get it either.
    other.run("COMMIT")
    drain_on(pair)
    one.run("COMMIT")


@contextmanager
def _waiting(pair: Pair, session: Session) -> Iterator[None]:
    """Its COMMIT has got as far as what the other one holds, and goes on after the block."""
    session.run("SET LOCAL test.waits = 'on'")
    committed = threading.Event()

    def commit() -> None:
        session.run("COMMIT")
        committed.set()

    with threads(commit):
        # What is left to the drain waits for nothing.
        until(lambda: committed.is_set() or pair.openwebui_admin.value(ASLEEP, [pair.litellm_db]))
        yield


def people(pair: Pair, name: str) -> Seen:
    """What those of one race see in Open WebUI, of whom some see anything; without the other races' models."""
    return {
        account.removeprefix("usr_").removesuffix(f"-{name}"): {
            model.removesuffix(f"-{name}") for model in models if "-" not in model or model.endswith(f"-{name}")
        }
        for account, models in openwebui.visible_models(pair).items()
        if account.endswith(f"-{name}") and models
    }
