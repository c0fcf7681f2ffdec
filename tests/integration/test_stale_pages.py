# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What LiteLLM took away stays away, whoever saves a page of Open WebUI that was opened before."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from kit import openwebui, rows
from kit.bridge import change_settings, copy_prepared, install_bridge
from kit.drains import drain_on
from kit.pairs import Pair
from test_delivery import drain
from test_healing import delete_account, delete_group
from test_reconcile import found

EVERY_OPEN_WEBUI = pytest.mark.schemas(openwebui="all", older="weekly")
GROUP = "grp_team_t1"
# No removal may pass the guard twice.
SETTINGS = {"initial_password": "none", "backoff_seconds": 1, "removal_accounts": 2, "removal_percent": 0}
BACK = ("team_member", '["t1", "u1"]', "exists", True, False)
LOST = ("team_member", '["t1", "u1"]', "exists", False, True)


def staff(pair: Pair, *user_ids: str) -> None:
    rows.change_team(pair.litellm, "t1", members_with_roles=[{"user_id": each, "role": "user"} for each in user_ids])


def members(pair: Pair) -> list[str]:
    return openwebui.groups(pair)[GROUP][1]


def save_page(pair: Pair, *account_ids: str) -> None:
    """The members as a page or an OAuth group sync saves them: all of the list up to 0.6.36, rows later."""
    if openwebui.has_member_table(pair):
        before = set(members(pair))
        pair.openwebui.run(
            "DELETE FROM group_member WHERE group_id = %s AND user_id <> ALL (%s)", [GROUP, list(account_ids)]
        )
        for account_id in account_ids:
            if account_id not in before:
                openwebui.add_member(pair, GROUP, account_id)
        return
    pair.openwebui.run('UPDATE "group" SET user_ids = %s WHERE id = %s', [json.dumps(account_ids), GROUP])


def remembered(pair: Pair) -> set[tuple[str, str, str]]:
    found = pair.openwebui_admin.rows("SELECT kind, object_id, holder_id FROM user_bridge.withdrawn")
    return {(row["kind"], row["object_id"], row["holder_id"]) for row in found}


def upkeep(pair: Pair) -> dict[str, int]:
    return {row["task"]: row["done"] for row in pair.litellm_admin.rows("SELECT * FROM user_bridge.maintain()")}


def look_out(pair: Pair) -> int:
    """One lookout and its repairs; returns how many it queued."""
    count = upkeep(pair)["changes in Open WebUI queued for repair"]
    drain_on(pair)
    return count


def repair(pair: Pair) -> None:
    assert found(pair, repair=True) != set()
    drain_on(pair)


def tick(pair: Pair) -> None:
    """The timer's steps: one looks out, the next delivers."""
    pair.litellm_admin.run("UPDATE user_bridge.upkeep SET next_at = now()")
    for _step in range(2):
        pair.litellm_admin.rows("SELECT user_bridge.tick()")


def next_delivery_of_the_group(pair: Pair) -> None:
    rows.change_team(pair.litellm, "t1", team_alias="Red")


def next_delivery_of_the_user(pair: Pair) -> None:
    rows.change_user(pair.litellm, "u1", user_alias="Anna")


def next_delivery_of_the_membership(pair: Pair) -> None:
    pair.litellm_admin.run(
        "SELECT user_bridge.enqueue_entities(ARRAY['team_member'], ARRAY[user_bridge.pair_id('t1', 'u1')])"
    )
    drain(pair)


def team(pair: Pair) -> Pair:
    install_bridge(pair, SETTINGS)
    openwebui.add_account(pair, "by-hand", "guest@example.com")
    for number in (1, 2, 3):
        rows.add_user(pair.litellm, f"u{number}", f"u{number}@example.com")
    rows.add_team(pair.litellm, "t1", "Blue")
    staff(pair, "u1", "u2")
    openwebui.add_member(pair, GROUP, "by-hand")
    assert members(pair) == ["by-hand", "usr_u1", "usr_u2"]
    return pair


@pytest.fixture
def teamed(pair: Pair) -> Pair:
    copy_prepared(pair, team)
    return pair


HEALERS = [
    repair,
    look_out,
    tick,
    next_delivery_of_the_group,
    next_delivery_of_the_user,
    next_delivery_of_the_membership,
]


@EVERY_OPEN_WEBUI
@pytest.mark.parametrize("heal", HEALERS)
def test_a_membership_that_a_page_brings_back_is_taken_again(teamed: Pair, heal: Callable[[Pair], Any]) -> None:
    staff(teamed, "u2")
    assert members(teamed) == ["by-hand", "usr_u2"]
    assert remembered(teamed) == {("membership", GROUP, "usr_u1")}
    # Again and again: what was taken once counts as no further removal.
    for _page in range(4):
        save_page(teamed, "by-hand", "usr_u1", "usr_u2")
        assert found(teamed) == {BACK}
        heal(teamed)
        if heal in (next_delivery_of_the_group, next_delivery_of_the_user):
            # What the page brought back goes with any change of the two.
            teamed.litellm.run("UPDATE \"LiteLLM_TeamTable\" SET team_alias = 'Blue' WHERE team_alias = 'Red'")
            rows.change_user(teamed.litellm, "u1", user_alias=None)
        assert members(teamed) == ["by-hand", "usr_u2"]
        assert found(teamed) == set()
    assert look_out(teamed) == 0
    assert teamed.litellm_admin.value("SELECT count(*) FROM user_bridge.sync_queue") == 0


@EVERY_OPEN_WEBUI
@pytest.mark.parametrize("heal", [repair, look_out, tick, next_delivery_of_the_membership])
def test_a_membership_that_a_page_takes_out_is_written_again(teamed: Pair, heal: Callable[[Pair], Any]) -> None:
    save_page(teamed, "by-hand", "usr_u2")
    assert found(teamed) == {LOST}
    heal(teamed)
    assert members(teamed) == ["by-hand", "usr_u1", "usr_u2"]
    assert (found(teamed), remembered(teamed), look_out(teamed)) == (set(), set(), 0)


@EVERY_OPEN_WEBUI
def test_what_was_made_by_hand_stays(teamed: Pair) -> None:
    openwebui.add_member(teamed, GROUP, "usr_u3")
    assert (found(teamed), look_out(teamed)) == (set(), 0)
    # Nor is it the bridge's when LiteLLM wants it for a while.
    staff(teamed, "u1", "u2", "u3")
    staff(teamed, "u1", "u2")
    next_delivery_of_the_group(teamed)
    assert members(teamed) == ["by-hand", "usr_u1", "usr_u2", "usr_u3"]
    assert (found(teamed), remembered(teamed), look_out(teamed)) == (set(), set(), 0)


@EVERY_OPEN_WEBUI
@pytest.mark.parametrize("page_first", [False, True])
@pytest.mark.parametrize("in_bulk", [False, True])
def test_what_litellm_wants_again_is_no_longer_remembered(teamed: Pair, page_first: bool, in_bulk: bool) -> None:
    staff(teamed, "u2")
    if page_first:
        save_page(teamed, "by-hand", "usr_u1", "usr_u2")
    if in_bulk:
        # As if never delivered, among many: another user can have been given the account.
        teamed.openwebui_admin.run("DELETE FROM user_bridge.entity WHERE entity_type = 'team_member'")
        for number in range(30):
            rows.add_user(teamed.litellm, f"n{number}", f"n{number}@example.com")
    new = [f"n{number}" for number in range(30)] if in_bulk else []
    staff(teamed, "u1", "u2", *new)
    drain_on(teamed)
    assert {"by-hand", "usr_u1", "usr_u2"} <= set(members(teamed))
    assert (remembered(teamed), found(teamed), look_out(teamed)) == (set(), set(), 0)
    # It is the bridge's, whoever wrote it.
    staff(teamed, "u2", *new)
    assert "usr_u1" not in members(teamed)
    assert remembered(teamed) == {("membership", GROUP, "usr_u1")}


@EVERY_OPEN_WEBUI
def test_an_account_that_was_deleted_and_comes_back_is_in_no_group_of_before(teamed: Pair) -> None:
    rows.delete_user(teamed.litellm, "u1")
    staff(teamed, "u2")
    assert remembered(teamed) == {("membership", GROUP, "usr_u1")}
    rows.add_user(teamed.litellm, "u1", "u1@example.com")
    save_page(teamed, "by-hand", "usr_u1", "usr_u2")
    assert found(teamed) == {BACK}
    assert look_out(teamed) == 1
    assert members(teamed) == ["by-hand", "usr_u2"]
    staff(teamed, "u1", "u2")
    assert members(teamed) == ["by-hand", "usr_u1", "usr_u2"]
    assert remembered(teamed) == set()


@EVERY_OPEN_WEBUI
@pytest.mark.parametrize("on_user_delete", ["disable", "keep"])
def test_an_account_that_stands_for_nobody_any_more_comes_back_into_no_group(pair: Pair, on_user_delete: str) -> None:
    team(pair)
    install_bridge(pair, {**SETTINGS, "on_user_delete": on_user_delete})
    rows.delete_user(pair.litellm, "u1")
    for _page in range(2):
        save_page(pair, "by-hand", "usr_u1", "usr_u2")
        # Whether LiteLLM still lists the member or not.
        assert found(pair) == {BACK}
        assert look_out(pair) == 1
        assert members(pair) == ["by-hand", "usr_u2"]
        staff(pair, "u2")


@EVERY_OPEN_WEBUI
def test_a_group_that_is_made_again_keeps_nobody_of_before(teamed: Pair) -> None:
    staff(teamed, "u2")
    rows.delete_team(teamed.litellm, "t1")
    assert GROUP not in openwebui.groups(teamed)
    rows.add_team(teamed.litellm, "t1", "Blue")
    staff(teamed, "u2")
    save_page(teamed, "usr_u1", "usr_u2")
    assert look_out(teamed) == 1
    assert members(teamed) == ["usr_u2"]


@EVERY_OPEN_WEBUI
def test_nor_whoever_was_in_it_to_the_end(teamed: Pair) -> None:
    rows.delete_team(teamed.litellm, "t1")
    rows.add_team(teamed.litellm, "t1", "Blue")
    staff(teamed, "u2")
    for _page in range(2):
        save_page(teamed, "by-hand", "usr_u1", "usr_u2")
        assert look_out(teamed) == 1
        assert members(teamed) == ["by-hand", "usr_u2"]
    staff(teamed, "u1", "u2")
    assert members(teamed) == ["by-hand", "usr_u1", "usr_u2"] and remembered(teamed) == set()


def delete_the_group(pair: Pair) -> None:
    delete_group(pair, GROUP)
    _deliver(pair, "team_member", '["t1", "u1"]')
    staff(pair, "u2")


def delete_the_account(pair: Pair) -> None:
    delete_account(pair, "usr_u1")
    _deliver(pair, "team_member", '["t1", "u1"]')
    staff(pair, "u2")


def delete_account_and_group(pair: Pair) -> None:
    delete_group(pair, GROUP)
    delete_account(pair, "usr_u1")
    _deliver(pair, "user", "u1")
    staff(pair, "u2")


def delete_the_account_of_who_goes(pair: Pair) -> None:
    delete_account(pair, "usr_u1")
    rows.delete_user(pair.litellm, "u1")
    staff(pair, "u2")
    drain_on(pair)
    rows.add_user(pair.litellm, "u1", "u1@example.com")


def make_the_group_without_the_account(pair: Pair) -> None:
    delete_group(pair, GROUP)
    delete_account(pair, "usr_u1")
    _deliver(pair, "team", "t1")
    staff(pair, "u2")


def _deliver(pair: Pair, kind: str, key: str) -> None:
    """This alone: what it finds out about others waits."""
    pair.litellm_admin.run("SELECT user_bridge.enqueue_entities(ARRAY[%s], ARRAY[%s])", [kind, key])
    assert len(pair.litellm_admin.rows("SELECT * FROM user_bridge.drain(1)")) == 1


@EVERY_OPEN_WEBUI
@pytest.mark.parametrize(
    "lose",
    [
        delete_the_group,
        delete_the_account,
        delete_account_and_group,
        delete_the_account_of_who_goes,
        make_the_group_without_the_account,
    ],
)
def test_who_leaves_while_account_or_group_is_not_there_is_in_it_no_more(
    teamed: Pair, lose: Callable[[Pair], None]
) -> None:
    """Somebody has deleted it in Open WebUI, and both are made again with the same ids, which a page names."""
    change_settings(teamed, delivery="queued")
    lose(teamed)
    drain_on(teamed)
    look_out(teamed)
    assert "u1@example.com" in openwebui.accounts(teamed) and "usr_u1" not in members(teamed)
    save_page(teamed, "by-hand", "usr_u1", "usr_u2")
    assert look_out(teamed) == 1
    assert members(teamed) == ["by-hand", "usr_u2"] and found(teamed) == set()


@EVERY_OPEN_WEBUI
def test_what_was_taken_away_is_forgotten_after_a_month(teamed: Pair) -> None:
    staff(teamed)
    for days, account in ((29, "usr_u1"), (31, "usr_u2")):
        teamed.openwebui_admin.run(
            "UPDATE user_bridge.withdrawn SET since = now() - %s * interval '1 day' WHERE holder_id = %s",
            [days, account],
        )
    assert upkeep(teamed)["withdrawals forgotten"] == 1
    assert remembered(teamed) == {("membership", GROUP, "usr_u1")}
    save_page(teamed, "by-hand", "usr_u1", "usr_u2")
    assert look_out(teamed) == 1
    assert members(teamed) == ["by-hand", "usr_u2"]


@EVERY_OPEN_WEBUI
@pytest.mark.parametrize("heal", [repair, look_out, tick])
@pytest.mark.parametrize("columns", [{"metadata": {"scim_active": False}}, {"user_email": None}])
def test_a_disabled_account_that_a_page_enables_is_disabled_again(
    teamed: Pair, columns: dict[str, Any], heal: Callable[[Pair], Any]
) -> None:
    rows.change_user(teamed.litellm, "u1", **columns)
    for role in ("user", "admin"):
        teamed.openwebui.run("UPDATE \"user\" SET role = %s WHERE id = 'usr_u1'", [role])
        assert found(teamed) == {("user", "u1", "role", role, "pending")}
        heal(teamed)
        assert openwebui.accounts(teamed)["u1@example.com"][1] == "pending"
        assert (found(teamed), look_out(teamed)) == (set(), 0)


@EVERY_OPEN_WEBUI
@pytest.mark.parametrize("heal", [repair, look_out, tick])
@pytest.mark.parametrize("columns", [{"metadata": {"scim_active": False}}, {"user_alias": "Guest"}])
def test_what_waits_for_an_approval_keeps_nothing_else(
    teamed: Pair, columns: dict[str, Any], heal: Callable[[Pair], Any]
) -> None:
    """Whoever edits his own address in LiteLLM has something that waits, for as long as nobody decides."""
    rows.add_user(teamed.litellm, "guest", "guest@example.com")
    rows.change_user(teamed.litellm, "guest", user_email="else@example.com")
    rows.change_user(teamed.litellm, "guest", **columns)
    shown = teamed.litellm_admin.rows("SELECT id FROM user_bridge.held_changes()")
    right = openwebui.accounts(teamed)["guest@example.com"][1]
    for _page in range(2):
        teamed.openwebui.run("UPDATE \"user\" SET role = 'admin' WHERE id = 'by-hand'")
        assert found(teamed) == {("user", "guest", "role", "admin", right)}
        heal(teamed)
        assert openwebui.accounts(teamed)["guest@example.com"][1] == right
        assert (found(teamed), look_out(teamed)) == (set(), 0)
        assert teamed.litellm_admin.rows("SELECT id FROM user_bridge.held_changes()") == shown


@EVERY_OPEN_WEBUI
@pytest.mark.parametrize("heal", [look_out, tick])
def test_that_of_somebody_who_is_gone_too_unless_its_sign_in_is_made_active(
    teamed: Pair, heal: Callable[[Pair], Any]
) -> None:
    change_settings(teamed, on_user_delete="disable")
    rows.delete_user(teamed.litellm, "u1")
    for role in ("user", "admin"):
        teamed.openwebui.run("UPDATE \"user\" SET role = %s WHERE id = 'usr_u1'", [role])
        heal(teamed)
        assert openwebui.accounts(teamed)["u1@example.com"][1] == "pending"
        assert look_out(teamed) == 0
    teamed.openwebui.run("UPDATE \"user\" SET role = 'user' WHERE id = 'usr_u1'")
    teamed.openwebui.run("UPDATE auth SET active = true WHERE id = 'usr_u1'")
    assert look_out(teamed) == 0 and openwebui.accounts(teamed)["u1@example.com"][1] == "user"


@EVERY_OPEN_WEBUI
def test_the_lookout_takes_members_in_portions_and_leaves_alone_what_is_queued(teamed: Pair) -> None:
    teamed.litellm_admin.run("UPDATE user_bridge.settings SET inline_limit = 1")
    staff(teamed, "u1", "u2", "u3")
    drain(teamed)
    save_page(teamed, "by-hand")
    sums: dict[int, int] = {}
    reply: dict[str, Any] = {"next": []}
    portions = 0
    while reply["next"] is not None:
        request = json.dumps({"marks_of": "team_member", "after": reply["next"], "limit": 1})
        reply = teamed.openwebui_admin.value("SELECT user_bridge.dispatch_query(%s)", [request])
        for bucket, value in reply["sums"]:
            sums[bucket] = sums.get(bucket, 0) + value
        portions += 1
    # After the third there may be more, for all it knows.
    assert (portions, len(sums)) == (4, 3)
    assert upkeep(teamed)["changes in Open WebUI queued for repair"] == 3
    assert upkeep(teamed)["changes in Open WebUI queued for repair"] == 0
    drain_on(teamed)
    assert members(teamed) == ["by-hand", "usr_u1", "usr_u2", "usr_u3"]
