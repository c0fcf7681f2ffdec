# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The prefix of accounts' ids: without one, Open WebUI's id is LiteLLM's, and nobody gets an account by that; and an
installation that gets another one keeps every account."""

from __future__ import annotations

import time
from typing import Any

import pytest

from kit import openwebui, rows
from kit.bridge import change_settings
from kit.drains import drain_all
from kit.oracle import differences
from kit.pairs import Pair
from test_healing import look_out
from test_moves import linked, rekey
from test_reconcile import found

BOTH = pytest.mark.schemas(litellm="all", openwebui="all")
TEAM = [{"user_id": user, "role": "user"} for user in ("ann", "bob", "cat", "dan")]


def bare(pair: Pair, **settings: Any) -> Pair:
    """Accounts have LiteLLM's ids."""
    change_settings(pair, user_id_prefix="", **settings)
    return pair


def settled(pair: Pair) -> None:
    """Everything is delivered, nothing differs, and everything once more changes nothing."""
    drain_all(pair)
    before = everything(pair)
    assert (found(pair), look_out(pair), differences(pair)) == (set(), 0, [])
    pair.litellm_admin.run("SELECT user_bridge.enqueue_everything()")
    drain_all(pair)
    assert everything(pair) == before


def everything(pair: Pair) -> Any:
    columns = "u.id, u.email, u.name, u.role, a.password, a.active"
    accounts = pair.openwebui.rows(f'SELECT {columns} FROM "user" u LEFT JOIN auth a USING (id) ORDER BY 1')
    return accounts, openwebui.groups(pair), linked(pair, "user")


def ids(pair: Pair) -> dict[str, str]:
    """Account by email, without the first admin."""
    sql = 'SELECT id, email FROM "user" WHERE email <> %s'
    return {row["email"]: row["id"] for row in pair.openwebui.rows(sql, [pair.admin.email])}


def delete_here(pair: Pair, account: str) -> None:
    """As Open WebUI's page does."""
    for table in ("auth", '"user"'):
        pair.openwebui.run(f"DELETE FROM {table} WHERE id = %s", [account])


def add_many(pair: Pair, number: int) -> None:
    """More than are made one by one."""
    with pair.litellm.transaction():
        for each in range(number):
            rows.add_user(pair.litellm, f"n{each}", f"n{each}@example.com")
    drain_all(pair)


# Without a prefix


@BOTH
def test_without_a_prefix_the_id_is_litellms(quick: Pair) -> None:
    bare(quick)
    rows.add_team(quick.litellm, "t1", "Blue", members_with_roles=TEAM)
    rows.add_user(quick.litellm, "ann", "ann@example.com")
    add_many(quick, 25)
    assert ids(quick) == {"ann@example.com": "ann", **{f"n{n}@example.com": f"n{n}" for n in range(25)}}
    assert openwebui.groups(quick) == {"grp_team_t1": ("Blue", ["ann"])}
    settled(quick)


@BOTH
def test_an_account_that_only_has_the_id_is_never_taken(quick: Pair) -> None:
    """Some people make LiteLLM's users by the ids of Open WebUI's accounts; another one has the same by chance."""
    bare(quick)
    openwebui.add_account(quick, "ann", "else@example.com")
    openwebui.add_account(quick, "n3", "other@example.com")
    before = openwebui.account(quick, "else@example.com"), openwebui.account(quick, "other@example.com")
    rows.add_user(quick.litellm, "ann", "ann@example.com")
    add_many(quick, 25)
    assert linked(quick, "user") == {"ann": "ann_2", **{f"n{n}": "n3_2" if n == 3 else f"n{n}" for n in range(25)}}
    for user in ("ann", "n3"):
        rows.delete_user(quick.litellm, user)
    drain_all(quick)
    assert (openwebui.account(quick, "else@example.com"), openwebui.account(quick, "other@example.com")) == before
    assert not {"ann_2", "n3_2"} & set(ids(quick).values())


def test_an_account_with_id_and_email_is_adopted_and_never_the_bridges(quick: Pair) -> None:
    bare(quick)
    openwebui.add_account(quick, "ann", "ann@example.com")
    rows.add_user(quick.litellm, "ann", "ann@example.com")
    drain_all(quick)
    account = openwebui.account(quick, "ann@example.com")
    assert linked(quick, "user") == {"ann": "ann"} and account is not None
    # Of an account of the bridge's own LiteLLM's name would be written.
    assert (account["name"], account["password"]) == ("By Hand", "their own hash")
    settled_but_for_the_name(quick)
    quick.openwebui_admin.rows("SELECT * FROM user_bridge.remove_data()")
    assert ids(quick) == {"ann@example.com": "ann"}


def settled_but_for_the_name(pair: Pair) -> None:
    """The oracle knows nothing of an account that was made by hand."""
    assert (found(pair), look_out(pair)) == (set(), 0)


@pytest.mark.parametrize("role", ["user", "pending"])
def test_who_signed_up_with_id_and_email_loses_the_password(quick: Pair, role: str) -> None:
    bare(quick)
    openwebui.add_account(quick, "ann", "ann@example.com", role=role)
    quick.openwebui.run("UPDATE \"user\" SET created_at = %s WHERE id = 'ann'", [int(time.time()) + 1])
    rows.add_user(quick.litellm, "ann", "ann@example.com")
    drain_all(quick)
    account = openwebui.account(quick, "ann@example.com")
    assert account is not None and (account["role"], account["password"]) == ("user", "")
    rows.delete_user(quick.litellm, "ann")
    drain_all(quick)
    account = openwebui.account(quick, "ann@example.com")
    assert account is not None and (account["role"], account["active"]) == ("pending", False)


def test_an_admin_with_id_and_email_is_not_touched(quick: Pair) -> None:
    bare(quick)
    openwebui.add_account(quick, "ann", "ann@example.com", role="admin")
    before = openwebui.account(quick, "ann@example.com")
    rows.add_user(quick.litellm, "ann", "ann@example.com")
    drain_all(quick)
    assert linked(quick, "user") == {} and openwebui.account(quick, "ann@example.com") == before


@pytest.mark.parametrize("user", ["*", "shared-0f2a7c1e-8a53-4a3f-9d3a-1b8c1a2b3c4d", "%n%"])
@pytest.mark.parametrize("others", [0, 25], ids=["one", "many"])
def test_no_account_has_an_id_that_means_something_else(quick: Pair, user: str, others: int) -> None:
    """A grant to "*" is one to everybody; where groups are looked up by LIKE, "%" is in all of them."""
    bare(quick)
    with quick.litellm.transaction():
        rows.add_user(quick.litellm, user, "star@example.com")
        for each in range(others):
            rows.add_user(quick.litellm, f"n{each}", f"n{each}@example.com")
    drain_all(quick)
    assert ids(quick)["star@example.com"] == f"{user.replace('%', '-')}_2"


def test_nor_one_that_belongs_to_nobody(quick: Pair) -> None:
    """Groups and models of the bridge's have an empty owner, who may do everything with them."""
    bare(quick)
    rows.add_user(quick.litellm, "", "nobody@example.com")
    drain_all(quick)
    assert ids(quick) == {"nobody@example.com": "_2"}


@BOTH
@pytest.mark.parametrize("others", [0, 25], ids=["one", "many"])
@pytest.mark.parametrize("sign_in", [False, True])
def test_what_was_left_to_an_account_of_this_id_is_nobodys(quick: Pair, others: int, sign_in: bool) -> None:
    """Somebody deleted it in Open WebUI, whose grants to people have no foreign keys."""
    bare(quick)
    rows.add_team(quick.litellm, "t1", "Blue")
    drain_all(quick)
    leave_something(quick, "ann")
    if sign_in:
        quick.openwebui.run("INSERT INTO auth VALUES ('ann', 'left@example.com', 'their own hash', true)")
    with quick.litellm.transaction():
        rows.add_user(quick.litellm, "ann", "ann@example.com")
        for each in range(others):
            rows.add_user(quick.litellm, f"n{each}", f"n{each}@example.com")
    drain_all(quick)
    assert ids(quick)["ann@example.com"] == "ann" and left(quick, "ann") == []
    account = openwebui.account(quick, "ann@example.com")
    assert account is not None and account["password"] != "their own hash"


def leave_something(pair: Pair, account: str) -> None:
    """A grant and, where no foreign key forbids it, a membership."""
    model = {"id": "m1", "user_id": "", "name": "m1", "params": "{}", "meta": "{}", "created_at": 1, "updated_at": 1}
    if openwebui.has_member_table(pair):
        rows.insert(pair.openwebui, "model", model)
        pair.openwebui.run("INSERT INTO access_grant VALUES ('g', 'model', 'm1', 'user', %s, 'read', 1)", [account])
    else:
        access = f'{{"read": {{"group_ids": [], "user_ids": ["{account}"]}}, "write": {{}}}}'
        rows.insert(pair.openwebui, "model", {**model, "access_control": access})
        openwebui.add_member(pair, "grp_team_t1", account)
    assert left(pair, account) != []


def left(pair: Pair, account: str) -> list[str]:
    if openwebui.has_member_table(pair):
        return [
            str(row) for row in pair.openwebui.rows("SELECT * FROM access_grant WHERE principal_id = %s", [account])
        ]
    lists = [row["access_control"] for row in pair.openwebui.rows("SELECT access_control FROM model")]
    return [str(each) for each in (*lists, openwebui.groups(pair)) if account in str(each)]


# Another prefix


@BOTH
@pytest.mark.parametrize(("before", "after"), [("usr_", ""), ("", "usr_")])
def test_with_another_prefix_everybody_keeps_the_account(quick: Pair, before: str, after: str) -> None:
    pair = quick
    change_settings(pair, user_id_prefix=before)
    rows.add_team(pair.litellm, "t1", "Blue", members_with_roles=TEAM)
    openwebui.add_account(pair, "theirs", "adopted@example.com", name="adopted")
    for user in ("ann", "bob", "cat", "adopted"):
        rows.add_user(pair.litellm, user, f"{user}@example.com")
    drain_all(pair)
    rows.delete_user(pair.litellm, "cat")
    drain_all(pair)
    kept = everything(pair)
    change_settings(pair, user_id_prefix=after)
    settled(pair)
    assert everything(pair) == kept
    # A new one, one whose chats are under the id that he had, and one who gets another id in LiteLLM.
    rows.add_user(pair.litellm, "dan", "dan@example.com")
    rows.add_user(pair.litellm, "cat", "cat@example.com")
    rekey(pair, "bob", "bob2")
    settled(pair)
    assert linked(pair, "user") == {
        "ann": f"{before}ann",
        "bob2": f"{before}bob",
        "cat": f"{before}cat",
        "dan": f"{after}dan",
        "adopted": "theirs",
    }
    members = sorted([f"{before}ann", f"{before}cat", f"{after}dan"])
    assert openwebui.groups(pair)["grp_team_t1"] == ("Blue", members)
    # Somebody deletes one in Open WebUI, and it comes back as it was.
    delete_here(pair, f"{before}ann")
    look_out(pair)
    settled(pair)
    assert linked(pair, "user")["ann"] == f"{before}ann"
    pair.openwebui_admin.rows("SELECT * FROM user_bridge.remove_data()")
    assert ids(pair) == {"adopted@example.com": "theirs"}


@pytest.mark.parametrize("rule", ["delete", "disable", "keep"])
def test_who_returns_has_the_account_again(quick: Pair, rule: str) -> None:
    change_settings(quick, on_user_delete=rule)
    rows.add_user(quick.litellm, "ann", "ann@example.com")
    rows.delete_user(quick.litellm, "ann")
    drain_all(quick)
    for prefix in ("", "x_", "usr_"):
        change_settings(quick, user_id_prefix=prefix)
        rows.add_user(quick.litellm, "ann", "ann@example.com")
        drain_all(quick)
        assert linked(quick, "user") == {"ann": "usr_ann"}
        rows.delete_user(quick.litellm, "ann")
        drain_all(quick)


@pytest.mark.parametrize("others", [0, 25], ids=["one", "many"])
def test_nobody_else_gets_the_chats_of_who_is_gone(quick: Pair, others: int) -> None:
    """Without a prefix LiteLLM may have a user whose id is what another one's account had."""
    rows.add_user(quick.litellm, "ann", "ann@example.com")
    drain_all(quick)
    rows.delete_user(quick.litellm, "ann")
    drain_all(quick)
    bare(quick)
    with quick.litellm.transaction():
        rows.add_user(quick.litellm, "usr_ann", "mal@example.com")
        for each in range(others):
            rows.add_user(quick.litellm, f"n{each}", f"n{each}@example.com")
    drain_all(quick)
    rows.add_user(quick.litellm, "ann", "ann@example.com")
    drain_all(quick)
    assert ids(quick)["mal@example.com"] == "usr_ann_2" and ids(quick)["ann@example.com"] == "usr_ann"


def test_nobody_else_gets_an_account_that_is_there(quick: Pair) -> None:
    rows.add_user(quick.litellm, "ann", "ann@example.com")
    drain_all(quick)
    bare(quick)
    rows.add_user(quick.litellm, "usr_ann", "mal@example.com")
    settled(quick)
    assert linked(quick, "user") == {"ann": "usr_ann", "usr_ann": "usr_ann_2"}


def test_a_longer_prefix_closes_no_account(quick: Pair) -> None:
    user = "u" * 250
    bare(quick)
    rows.add_user(quick.litellm, user, "ann@example.com")
    drain_all(quick)
    change_settings(quick, user_id_prefix="longer_")
    settled(quick)
    assert linked(quick, "user") == {user: user}
    rows.add_user(quick.litellm, "v" * 250, "new@example.com")
    drain_all(quick)
    assert set(ids(quick)) == {"ann@example.com"}
