# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An id that LiteLLM rewrites is the same person, team or organization: account or group stay what they were."""

from __future__ import annotations

import json

import pytest

from kit import openwebui, rows
from kit.bridge import change_settings
from kit.drains import drain_all
from kit.oracle import differences
from kit.pairs import Pair
from test_delivery import drain
from test_healing import listed, look_out
from test_reconcile import found

BOTH = pytest.mark.schemas(litellm="all", openwebui="all")


def rekey(pair: Pair, old: str, new: str) -> None:
    sql = 'UPDATE "LiteLLM_UserTable" SET user_id = %s WHERE user_id = %s'
    assert pair.litellm.run(sql, [new, old]) == 1


def queue_only(pair: Pair) -> None:
    """Every change waits for the drain."""
    change_settings(pair, initial_password="none", delivery="queued")


def add_people(pair: Pair, *user_ids: str) -> None:
    """Each with an own password, which shows whose account it is."""
    for each in user_ids:
        rows.add_user(pair.litellm, each, f"{each}@example.com", user_alias=each)
    drain_all(pair)
    for each in user_ids:
        pair.openwebui.run("UPDATE auth SET password = %s WHERE email = %s", [f"of {each}", f"{each}@example.com"])


def passwords(pair: Pair) -> dict[str, tuple[str, str]]:
    """Email to account id and password."""
    sql = "SELECT id, email, password FROM auth WHERE email <> %s"
    return {row["email"]: (row["id"], row["password"]) for row in pair.openwebui.rows(sql, [pair.admin.email])}


def linked(pair: Pair, entity_type: str) -> dict[str, str]:
    sql = "SELECT litellm_id, openwebui_id FROM user_bridge.sync_mapping WHERE litellm_type = %s"
    return {row["litellm_id"]: row["openwebui_id"] for row in pair.litellm_admin.rows(sql, [entity_type])}


def settled(pair: Pair) -> None:
    drain_all(pair)
    assert pair.litellm_admin.rows("SELECT * FROM user_bridge.sync_queue") == []
    assert pair.litellm_admin.rows("SELECT * FROM user_bridge.moved") == []
    assert (found(pair), look_out(pair)) == (set(), 0)


@BOTH
@pytest.mark.parametrize("queued", [False, True])
def test_a_user_who_moves_keeps_the_account(quick: Pair, queued: bool) -> None:
    add_people(quick, "ann")
    if queued:
        queue_only(quick)
    quick.litellm.run(
        "UPDATE \"LiteLLM_UserTable\" SET user_id = 'ann2', user_email = 'new@example.com' WHERE user_id = 'ann'"
    )
    settled(quick)
    assert passwords(quick) == {"new@example.com": ("usr_ann", "of ann")}
    assert (linked(quick, "user"), differences(quick)) == ({"ann2": "usr_ann"}, [])


def test_moves_in_a_row_and_in_a_circle(quick: Pair) -> None:
    add_people(quick, "ann", "bob", "cat")
    queue_only(quick)
    for old, new in (("cat", "c1"), ("c1", "c2"), ("ann", "tmp"), ("bob", "ann"), ("tmp", "bob")):
        rekey(quick, old, new)
    # One by one: each request must follow all moves that lead to its entity.
    for _step in range(20):
        drain(quick, 1)
    settled(quick)
    assert linked(quick, "user") == {"ann": "usr_bob", "bob": "usr_ann", "c2": "usr_cat"}
    assert {key: value[1] for key, value in passwords(quick).items()} == {
        "ann@example.com": "of ann",
        "bob@example.com": "of bob",
        "cat@example.com": "of cat",
    }


def test_who_gets_an_id_that_was_left_gets_an_account_of_his_own(quick: Pair) -> None:
    add_people(quick, "ann")
    queue_only(quick)
    rekey(quick, "ann", "ann2")
    rows.add_user(quick.litellm, "ann", "other@example.com")
    settled(quick)
    assert passwords(quick)["ann@example.com"] == ("usr_ann", "of ann")
    assert linked(quick, "user") == {"ann2": "usr_ann", "ann": "usr_ann_2"}


def test_a_move_that_is_rolled_back_is_none(quick: Pair) -> None:
    add_people(quick, "ann")
    quick.litellm.run("BEGIN")
    rekey(quick, "ann", "ann2")
    quick.litellm.run("ROLLBACK")
    settled(quick)
    assert linked(quick, "user") == {"ann": "usr_ann"}


def test_a_move_is_followed_once(quick: Pair) -> None:
    """A source that dies after its request sends it again."""
    add_people(quick, "ann", "bob")
    queue_only(quick)
    for old, new in (("ann", "tmp"), ("bob", "ann"), ("tmp", "bob")):
        rekey(quick, old, new)
    quick.litellm_admin.run("BEGIN")
    drain(quick)
    quick.litellm_admin.run("ROLLBACK")
    settled(quick)
    assert linked(quick, "user") == {"ann": "usr_bob", "bob": "usr_ann"}


def test_a_recorded_request_moves_nobody_again(quick: Pair) -> None:
    """Also after a month, when somebody else has the id."""
    add_people(quick, "ann")
    rekey(quick, "ann", "ann2")
    settled(quick)
    (move,) = quick.openwebui_admin.rows("SELECT id::text FROM user_bridge.moved")
    quick.openwebui_admin.run("UPDATE user_bridge.moved SET moved_at = moved_at - interval '31 days'")
    rows.delete_user(quick.litellm, "ann2")
    add_people(quick, "ann", "bob")
    rekey(quick, "bob", "bob2")
    settled(quick)
    recorded = {"id": move["id"], "ord": 1, "entity_type": "user", "old_id": "ann", "new_id": "ann2"}
    request = {"version": 1, "txid": "1", "budget_ms": 10_000, "items": [], "moves": [recorded]}
    quick.openwebui_admin.value("SELECT user_bridge.serve(%s)", [json.dumps(request)])
    assert (found(quick), look_out(quick)) == (set(), 0)
    # The chats of the account that is gone are not the new one's.
    assert linked(quick, "user") == {"ann": "usr_ann_2", "bob2": "usr_bob"}


@pytest.mark.parametrize("queued", [False, True])
def test_who_moves_is_no_removal(quick: Pair, queued: bool) -> None:
    add_people(quick, *(f"u{number}" for number in range(5)))
    rows.add_organization(quick.litellm, "o1", "Research")
    for number in range(5):
        rows.join_organization(quick.litellm, "o1", f"u{number}")
    drain_all(quick)
    change_settings(quick, initial_password="none", removal_accounts=2, removal_percent=0)
    if queued:
        queue_only(quick)
    quick.litellm.run("UPDATE \"LiteLLM_UserTable\" SET user_id = 'new-' || user_id WHERE user_id LIKE 'u_'")
    settled(quick)
    assert quick.litellm_admin.rows("SELECT * FROM user_bridge.held_changes()") == []
    assert differences(quick) == []
    assert linked(quick, "user") == {f"new-u{number}": f"usr_u{number}" for number in range(5)}


@BOTH
@pytest.mark.parametrize("queued", [False, True])
def test_a_team_that_moves_keeps_the_group(quick: Pair, queued: bool) -> None:
    add_people(quick, "ann", "bob")
    openwebui.add_account(quick, "by-hand", "guest@example.com")
    rows.add_team(quick.litellm, "t1", "Blue", members_with_roles=listed("ann", "bob"))
    drain_all(quick)
    openwebui.add_member(quick, "grp_team_t1", "by-hand")
    change_settings(quick, removal_accounts=0, removal_percent=0)
    if queued:
        queue_only(quick)
    quick.litellm.run("UPDATE \"LiteLLM_TeamTable\" SET team_id = 't2', team_alias = 'Red' WHERE team_id = 't1'")
    settled(quick)
    assert openwebui.groups(quick) == {"grp_team_t1": ("Red", ["by-hand", "usr_ann", "usr_bob"])}
    # What it may take out again it still knows.
    change_settings(quick, removal_accounts=25)
    rows.change_team(quick.litellm, "t2", members_with_roles=listed("ann"))
    drain_all(quick)
    assert openwebui.groups(quick) == {"grp_team_t1": ("Red", ["by-hand", "usr_ann"])}
    rows.add_team(quick.litellm, "t1", "Blue", members_with_roles=listed("bob"))
    settled(quick)
    assert openwebui.groups(quick)["grp_team_t1_2"] == ("Blue", ["usr_bob"])


@BOTH
def test_an_organization_that_moves_keeps_group_and_children(quick: Pair) -> None:
    add_people(quick, "ann")
    rows.add_organization(quick.litellm, "o1", "Research")
    rows.add_team(quick.litellm, "t1", "Blue", organization_id="o1")
    rows.join_organization(quick.litellm, "o1", "ann")
    drain_all(quick)
    quick.litellm.run("UPDATE \"LiteLLM_OrganizationTable\" SET organization_id = 'o2' WHERE organization_id = 'o1'")
    settled(quick)
    assert openwebui.groups(quick)["grp_o1"] == ("Research", ["usr_ann"])
    assert linked(quick, "organization") == {"o2": "grp_o1"}


def test_a_mirrored_key_follows_its_user(quick: Pair) -> None:
    change_settings(quick, initial_password="none", api_keys="mirror")
    add_people(quick, "ann")
    rows.add_key(quick.litellm, "hash-of-a-key", "ann")
    drain_all(quick)
    assert quick.openwebui.value("SELECT user_id FROM api_key") == "usr_ann"
    rekey(quick, "ann", "ann2")
    settled(quick)
    quick.litellm.run("DELETE FROM \"LiteLLM_VerificationToken\" WHERE token = 'hash-of-a-key'")
    settled(quick)
    assert quick.openwebui.value("SELECT count(*) FROM api_key") == 0


def test_who_is_deleted_and_added_with_the_same_email_at_once_hands_on_the_account(quick: Pair) -> None:
    add_people(quick, "ann")
    quick.litellm.run("BEGIN")
    rows.delete_user(quick.litellm, "ann")
    rows.add_user(quick.litellm, "ann2", "ann@example.com", user_alias="ann")
    quick.litellm.run("COMMIT")
    settled(quick)
    assert linked(quick, "user") == {"ann2": "usr_ann"}


def test_a_move_that_waits_is_in_nobody_elses_way(quick: Pair) -> None:
    quick.litellm_admin.run("INSERT INTO user_bridge.moved (entity_type, old_id, new_id) VALUES ('user', 'x', 'y')")
    rows.add_user(quick.litellm, "ann", "ann@example.com")
    assert "ann@example.com" in openwebui.accounts(quick)
