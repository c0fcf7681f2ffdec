# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the removal guard counts and for how long, what an approval is worth, and who survives remove_data()."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hard_support import threads, until
from kit import openwebui, rows
from kit.bridge import install_bridge, request
from kit.pairs import SYNC_USER, Pair, Session
from test_removals import delete_everybody, differences, drain_due, enabled, parked, populate

LIMIT = 5
MANY = 12
REQUEST = {
    "version": 9_000_000_000,
    "budget_ms": 10_000,
}


def names(first: int, last: int) -> list[str]:
    return [f"u{number}" for number in range(first, last)]


def people(pair: Pair, count: int = MANY, **settings: Any) -> None:
    """Users without any membership, of whom five may lose something within ten minutes."""
    chosen = {"initial_password": "none", "removal_accounts": LIMIT, "removal_percent": 0, **settings}
    install_bridge(pair, chosen)
    for name in names(0, count):
        rows.add_user(pair.litellm, name, f"{name}@example.com")


def delete(pair: Pair, users: list[str]) -> None:
    for user in users:
        rows.delete_user(pair.litellm, user)


def age_removals(pair: Pair, minutes: int) -> None:
    pair.openwebui_admin.run(
        "UPDATE user_bridge.removal SET removed_at = removed_at - %s * interval '1 minute'", [minutes]
    )


def test_a_commit_does_not_park_an_approved_removal_again(pair: Pair) -> None:
    populate(pair)
    delete_everybody(pair)
    drain_due(pair)
    assert pair.litellm_admin.value("SELECT user_bridge.approve_removals()") > 0
    # A commit takes some of the backlog along, but not with the approval.
    rows.add_user(pair.litellm, "new", "new@example.com")
    assert parked(pair) == []
    drain_due(pair)
    assert enabled(pair) == {"new@example.com"}
    assert parked(pair) == []


def test_the_upkeep_keeps_the_parked_removal_of_a_disabled_person(pair: Pair) -> None:
    people(pair)
    for name in names(0, MANY):
        rows.change_user(pair.litellm, name, metadata={"scim_active": False})
    waiting = {row["entity_id"] for row in parked(pair)}
    assert waiting == set(names(LIMIT, MANY))
    rows.change_user(pair.litellm, "u11", metadata={})
    pair.litellm_admin.rows("SELECT * FROM user_bridge.maintain()")
    # Only who is enabled again has nothing left to lose.
    assert {row["entity_id"] for row in parked(pair)} == waiting - {"u11"}
    pair.litellm_admin.value("SELECT user_bridge.approve_removals()")
    drain_due(pair)
    assert enabled(pair) == {"u11@example.com"}


def test_removals_of_the_last_nine_minutes_count(pair: Pair) -> None:
    people(pair)
    delete(pair, names(0, 4))
    age_removals(pair, 9)
    delete(pair, names(4, 8))
    assert enabled(pair) == {f"{name}@example.com" for name in names(LIMIT, MANY)}
    assert {row["entity_id"] for row in parked(pair)} == set(names(LIMIT, 8))


def test_removals_of_eleven_minutes_ago_do_not_count(pair: Pair) -> None:
    people(pair)
    delete(pair, names(0, 4))
    age_removals(pair, 11)
    delete(pair, names(4, 8))
    assert enabled(pair) == {f"{name}@example.com" for name in names(8, MANY)}
    assert parked(pair) == []


def test_two_calls_at_once_count_together(pair: Pair) -> None:
    people(pair)
    first, second = (pair.connect("openwebui", SYNC_USER, autocommit=False) for _ in range(2))
    outcomes: list[dict[str, Any]] = []
    waits = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"
    first_outcomes = _remove(pair, first, names(0, 4))
    with threads(lambda: outcomes.extend(_remove(pair, second, names(4, 8)))):
        until(lambda: outcomes or pair.openwebui_admin.value(waits, [second.pid]))
        first.commit()
    second.commit()
    assert {outcome["status"] for outcome in first_outcomes} == {"SUCCESS"}
    assert {outcome["status"] for outcome in outcomes} == {"PARKED"}
    assert enabled(pair) == {f"{name}@example.com" for name in names(4, MANY)}


def _remove(pair: Pair, session: Session, users: list[str]) -> list[dict[str, Any]]:
    """What a drain sends, in a transaction that stays open."""
    items = [{"type": "user", "id": user, "desired": None, "skipped": None} for user in users]
    reply = session.value("SELECT user_bridge.apply(%s)", [request(pair, {**REQUEST, "items": items})])
    found: list[dict[str, Any]] = reply["items"]
    return found


def test_accounts_that_nobody_can_use_yet_may_go_in_any_number(pair: Pair) -> None:
    people(pair, default_role="pending")
    assert enabled(pair) == set()
    delete(pair, names(0, MANY))
    assert openwebui.accounts(pair) == {}
    assert parked(pair) == []


def leave(pair: Pair) -> None:
    rows.change_team(pair.litellm, "t1", members_with_roles={})


def dissolve(pair: Pair) -> None:
    rows.delete_team(pair.litellm, "t1")


@pytest.mark.parametrize("lose", [leave, dissolve])
def test_memberships_that_an_admin_made_by_hand_are_not_counted(pair: Pair, lose: Callable[[Pair], None]) -> None:
    people(pair)
    rows.add_team(pair.litellm, "t1", "Blue")
    for name in names(0, MANY):
        openwebui.add_member(pair, "grp_team_t1", f"usr_{name}")
    listed = [{"user_id": name, "role": "user"} for name in names(0, MANY)]
    rows.change_team(pair.litellm, "t1", members_with_roles=listed)
    drain_due(pair)
    lose(pair)
    drain_due(pair)
    assert parked(pair) == []
    assert differences(pair) == []
    by_hand = sorted(f"usr_{name}" for name in names(0, MANY))
    assert openwebui.groups(pair) == ({} if lose is dissolve else {"grp_team_t1": ("Blue", by_hand)})


def test_a_few_memberships_of_the_bridge_go_at_once_and_many_wait(pair: Pair) -> None:
    """The counterpart: what the bridge gave is counted, account by account and not membership by membership."""
    people(pair)
    for team in ("t1", "t2"):
        listed = [{"user_id": name, "role": "user"} for name in names(0, LIMIT)]
        rows.add_team(pair.litellm, team, team, members_with_roles=listed)
    listed = [{"user_id": name, "role": "user"} for name in names(0, LIMIT + 1)]
    rows.add_team(pair.litellm, "t3", "t3", members_with_roles=listed)
    # The same five lose both in one delivery.
    with pair.litellm.transaction():
        for team in ("t1", "t2"):
            rows.delete_team(pair.litellm, team)
    assert set(openwebui.groups(pair)) == {"grp_team_t3"}
    rows.delete_team(pair.litellm, "t3")
    assert set(openwebui.groups(pair)) == {"grp_team_t3"}
    assert ("team", "t3") in {(row["entity_type"], row["entity_id"]) for row in parked(pair)}


def test_remove_data_keeps_the_last_admin_although_the_bridge_made_it(pair: Pair) -> None:
    _with_an_admin(pair)
    pair.openwebui.run("UPDATE \"user\" SET role = 'user' WHERE email = %s", [pair.admin.email])
    assert _remove_data(pair) == {"accounts": (1, 1), "groups": (0, 0), "models": (0, 0)}
    assert openwebui.accounts(pair) == {"boss@example.com": ("boss", "admin")}
    assert pair.openwebui.value("SELECT active FROM auth WHERE email = 'boss@example.com'") is True


def test_remove_data_takes_an_admin_who_is_not_the_last(pair: Pair) -> None:
    _with_an_admin(pair)
    assert _remove_data(pair) == {"accounts": (2, 0), "groups": (0, 0), "models": (0, 0)}
    assert openwebui.accounts(pair) == {}


def _with_an_admin(pair: Pair) -> None:
    people(pair, 1)
    rows.add_user(pair.litellm, "boss", "boss@example.com", user_role="proxy_admin")


def _remove_data(pair: Pair) -> dict[str, tuple[int, int]]:
    found = pair.openwebui_admin.rows("SELECT * FROM user_bridge.remove_data()")
    return {row["kind"]: (row["removed"], row["kept"]) for row in found}
