# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""After SET CONSTRAINTS ... IMMEDIATE each statement delivers, and a savepoint can take the statement back."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hard_support import QUICK
from kit import openwebui, rows
from kit.bridge import change_settings, install_bridge
from kit.drains import drain_all
from kit.model_rows import add_model, change_model, members
from kit.oracle import differences
from kit.pairs import Pair, Session


def peopled(pair: Pair) -> Pair:
    """Two people in a team that may call a model."""
    change_settings(pair, model_access=True)
    for name in ("m1", "m2"):
        add_model(pair.litellm, name)
    for name in ("ann", "bob"):
        rows.add_user(pair.litellm, name, f"{name}@example.com", models=["m1"])
    rows.add_team(pair.litellm, "t1", "Blue", models=["m1"], members_with_roles=members("ann"))
    drain_all(pair)
    return pair


prepare = peopled


@pytest.fixture
def people(prepared: Pair) -> Pair:
    return prepared


def _moved(session: Session) -> None:
    session.run("UPDATE \"LiteLLM_UserTable\" SET user_id = 'eve' WHERE user_id = 'ann'")


TAKEN_BACK: dict[str, Callable[[Session], object]] = {
    "a new user": lambda session: rows.add_user(session, "eve", "eve@example.com"),
    "a promotion": lambda session: rows.change_user(session, "ann", user_role="proxy_admin"),
    "a deletion": lambda session: rows.delete_user(session, "bob"),
    "a member's deletion": lambda session: rows.delete_user(session, "ann"),
    "another id": _moved,
    "a member": lambda session: rows.change_team(session, "t1", members_with_roles=members("ann", "bob")),
    "a new name for a team": lambda session: rows.change_team(session, "t1", team_alias="Red"),
    "a team's deletion": lambda session: rows.delete_team(session, "t1"),
    "a team's models": lambda session: rows.change_team(session, "t1", models=["m2"]),
    "somebody's models": lambda session: rows.change_user(session, "ann", models=["m2"]),
    "a key's models": lambda session: rows.add_key(session, "k1", "ann", models=["m2"]),
    "a model": lambda session: change_model(session, "m1", model_name="m3"),
}


def _differences(pair: Pair) -> list[object]:
    # Which account stands for whom is compared by ids.
    return [*differences(pair), *pair.litellm_admin.rows("SELECT * FROM user_bridge.reconcile(false)")]


@pytest.mark.parametrize("change", TAKEN_BACK.values(), ids=TAKEN_BACK)
@pytest.mark.parametrize("is_nested", [False, True])
def test_what_a_savepoint_takes_back_does_not_stay(
    people: Pair, change: Callable[[Session], object], is_nested: bool
) -> None:
    before = openwebui.groups(people), openwebui.accounts(people)
    with people.litellm.transaction():
        # What came before stays, and its delivery is not the one that is taken back.
        rows.change_user(people.litellm, "bob", user_alias="Robert")
        people.litellm.run("SET CONSTRAINTS ALL IMMEDIATE")
        people.litellm.run("SAVEPOINT outer_one")
        if is_nested:
            people.litellm.run("SAVEPOINT inner_one")
        change(people.litellm)
        if is_nested:
            people.litellm.run("RELEASE SAVEPOINT inner_one")
        people.litellm.run("ROLLBACK TO SAVEPOINT outer_one")
    drain_all(people)
    assert _differences(people) == []
    accounts = {**before[1], "bob@example.com": ("Robert", "user")}
    assert (openwebui.groups(people), openwebui.accounts(people)) == (before[0], accounts)
    assert people.openwebui_admin.value("SELECT count(*) FROM user_bridge.entity WHERE source_txid IS NOT NULL") == 0


def test_an_id_that_is_taken_back_leaves_the_account_and_its_password(people: Pair) -> None:
    """Delivered as somebody who went and somebody who came, ann would have another account, or the same without it."""
    people.openwebui.run("UPDATE auth SET password = 'her own' WHERE id = 'usr_ann'")
    with people.litellm.transaction():
        people.litellm.run("SAVEPOINT here")
        _moved(people.litellm)
        people.litellm.run("SET CONSTRAINTS ALL IMMEDIATE")
        people.litellm.run("ROLLBACK TO SAVEPOINT here")
    drain_all(people)
    assert people.openwebui.value("SELECT password FROM auth WHERE id = 'usr_ann'") == "her own"
    # What a transaction that committed has moved stays, and is confirmed.
    with people.litellm.transaction():
        _moved(people.litellm)
    drain_all(people)
    assert people.openwebui.value("SELECT password FROM auth WHERE id = 'usr_ann'") == "her own"
    assert _differences(people) == []
    assert people.openwebui_admin.value("SELECT count(*) FROM user_bridge.moved WHERE source_txid IS NOT NULL") == 0


def test_what_was_queued_before_the_savepoint_is_delivered_once_more(people: Pair) -> None:
    with people.litellm.transaction():
        rows.change_user(people.litellm, "ann", user_alias="Ann")
        people.litellm.run("SAVEPOINT here")
        rows.change_user(people.litellm, "ann", user_role="proxy_admin")
        people.litellm.run("SET CONSTRAINTS ALL IMMEDIATE")
        assert openwebui.accounts(people)["ann@example.com"] == ("Ann", "admin")
        people.litellm.run("ROLLBACK TO SAVEPOINT here")
    assert openwebui.accounts(people)["ann@example.com"] == ("Ann", "user")


def test_a_statement_is_held_no_longer_than_a_commit(pair: Pair) -> None:
    """Each row that it queues is a delivery, and Open WebUI may take long for each."""
    install_bridge(pair, {**QUICK, "target_timeout_ms": 1000})
    users = [f"u{number}" for number in range(20)]
    for user in users:
        rows.add_user(pair.litellm, user, f"{user}@example.com")
    pair.openwebui_admin.run(
        "CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN PERFORM pg_sleep(0.2); RETURN NULL; END$$"
    )
    pair.openwebui_admin.run('CREATE TRIGGER slow AFTER UPDATE ON "user" FOR EACH ROW EXECUTE FUNCTION public.slow()')
    with pair.litellm.transaction():
        pair.litellm.run("SET CONSTRAINTS ALL IMMEDIATE")
        pair.litellm.run("UPDATE \"LiteLLM_UserTable\" SET user_alias = 'New'")
    # No more than five fit into the time of one COMMIT.
    assert pair.litellm_admin.value("SELECT count(*) FROM user_bridge.sync_queue") >= len(users) - 5
    pair.openwebui_admin.run('DROP TRIGGER slow ON "user"')
    pair.litellm_admin.run("UPDATE user_bridge.sync_queue SET next_attempt_at = clock_timestamp()")
    drain_all(pair)
    assert {name for name, _role in openwebui.accounts(pair).values()} == {"New"} and differences(pair) == []


@pytest.mark.parametrize(
    ("written", "transaction", "full"),
    [(7, 5, 7), (5, 5, 5), (3, 2**32 - 2, 2**32 + 3), (2**32 + 9 - 2**32, 2**32 + 4, 2**32 + 9)],
)
def test_the_number_of_a_subtransaction(quick: Pair, written: int, transaction: int, full: int) -> None:
    query = "SELECT user_bridge.full_xid(%s, %s)"
    assert quick.litellm_admin.value(query, [written, transaction]) == full


def own_models_of(pair: Pair, user_id: str) -> set[str]:
    """What somebody may read by grants of his own, in Open WebUI's tables."""
    found = pair.openwebui.rows(
        "SELECT resource_id FROM access_grant WHERE principal_type = 'user' AND principal_id = %s", [f"usr_{user_id}"]
    )
    return {row["resource_id"] for row in found}
