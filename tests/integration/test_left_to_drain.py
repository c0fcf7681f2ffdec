# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a COMMIT leaves to the drain because of what it means in Open WebUI, as LiteLLM's side cannot know: a group with
thousands of members goes, or comes again because somebody has deleted it there."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from kit import model_rows, openwebui, rows
from kit.bridge import change_settings
from kit.drains import drain_all, drain_on
from kit.oracle import differences
from kit.pairs import Pair

PEOPLE = ["ann", "bob", "cat"]
MANY = "CREATE OR REPLACE FUNCTION user_bridge.most_in_commit() RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 2'"
Change = Callable[[Pair], object]


def prepare(pair: Pair) -> None:
    """Rights on models, a team and an organization of three, and a bridge that takes three for thousands."""
    change_settings(pair, model_access=True, removal_accounts=1000)
    for name in ("m1", "m2"):
        model_rows.add_model(pair.litellm, name)
    rows.add_organization(pair.litellm, "o1", "Org")
    for name in PEOPLE:
        rows.add_user(pair.litellm, name, f"{name}@example.com", models=["m1"])
        rows.join_organization(pair.litellm, "o1", name)
    for team, listed in (("t1", PEOPLE), ("few", PEOPLE[:2])):
        rows.add_team(pair.litellm, team, team, models=["m1"], members_with_roles=model_rows.members(*listed))
    rows.add_team(pair.litellm, "wide", "Wide", models=["m1", "m2", "x"])
    drain_all(pair)
    pair.openwebui_admin.run(MANY)


def begin_drainer(pair: Pair) -> None:
    """One that lives and does nothing."""
    assert pair.litellm_admin.value("SELECT user_bridge.begin_drainer()")


def end_drainer(pair: Pair) -> None:
    pair.litellm_admin.run("SELECT user_bridge.end_drainer()")


@pytest.fixture(autouse=True)
def _drainer(prepared: Pair) -> Iterator[None]:
    begin_drainer(prepared)
    yield
    end_drainer(prepared)


def waiting(pair: Pair) -> set[tuple[str, str]]:
    found = pair.litellm_admin.rows("SELECT entity_type, entity_id FROM user_bridge.sync_queue")
    return {(row["entity_type"], row["entity_id"]) for row in found}


def equal(pair: Pair) -> bool:
    return pair.litellm_admin.rows("SELECT * FROM user_bridge.reconcile(false)") == []


def delete_group(pair: Pair, group_id: str) -> None:
    assert pair.openwebui_admin.run('DELETE FROM "group" WHERE id = %s', [group_id]) == 1


def _rename(pair: Pair) -> None:
    delete_group(pair, "grp_team_t1")
    rows.change_team(pair.litellm, "t1", team_alias="Other")


def _rename_organization(pair: Pair) -> None:
    delete_group(pair, "grp_o1")
    rows.rename_organization(pair.litellm, "o1", "Other")


def _lose_scope(pair: Pair, team: str) -> None:
    model_rows.add_scope(pair.litellm, team, "ann", ["m1"])
    drain_all(pair)
    rows.delete(pair.litellm, "LiteLLM_TeamMembership", {"team_id": team})


# Each with what it leaves in the queue.
CASES: dict[str, tuple[Change, set[tuple[str, str]]]] = {
    "again": (_rename, {("team", "t1")}),
    "organization again": (_rename_organization, {("organization", "o1")}),
    "gone": (lambda pair: rows.delete_team(pair.litellm, "t1"), {("team", "t1")}),
    "few gone": (lambda pair: rows.delete_team(pair.litellm, "few"), set()),
    "scope": (lambda pair: _lose_scope(pair, "t1"), {("team_models", "t1")}),
    "few's scope": (lambda pair: _lose_scope(pair, "few"), set()),
    "list": (lambda pair: rows.change_team(pair.litellm, "wide", models=["m1"]), {("team_models", "wide")}),
    "model": (lambda pair: model_rows.delete_model(pair.litellm, "m1"), {("model", "m1")}),
    "few's model": (lambda pair: model_rows.delete_model(pair.litellm, "m2"), set()),
}


@pytest.mark.parametrize(("change", "left"), CASES.values(), ids=CASES)
@pytest.mark.schemas(openwebui="all", older="weekly")
def test_what_concerns_many(prepared: Pair, change: Change, left: set[tuple[str, str]]) -> None:
    change(prepared)
    # What a team or a model means for people is the drain's anyway.
    assert {found for found in waiting(prepared) if found[0] not in ("team_people", "model_holders")} == left
    # Nor does another COMMIT take it over, where no drainer lives.
    end_drainer(prepared)
    prepared.litellm_admin.run("SELECT setval('user_bridge.backlog', 2)")
    rows.add_user(prepared.litellm, "eve", "eve@example.com")
    assert left <= waiting(prepared)
    assert openwebui.account(prepared, "eve@example.com")
    drain_all(prepared)
    assert differences(prepared) == [] and equal(prepared)


def test_without_a_drainer_a_commit_does_it_itself(prepared: Pair) -> None:
    end_drainer(prepared)
    rows.delete_team(prepared.litellm, "t1")
    assert "grp_team_t1" not in openwebui.groups(prepared)


def test_a_group_of_few_is_made_again_at_once(prepared: Pair) -> None:
    delete_group(prepared, "grp_team_few")
    rows.change_team(prepared.litellm, "few", team_alias="Other")
    assert openwebui.groups(prepared)["grp_team_few"] == ("Other", ["usr_ann", "usr_bob"])


def test_the_rest_of_its_transaction_is_delivered(prepared: Pair) -> None:
    with prepared.litellm.transaction():
        rows.change_user(prepared.litellm, "cat", metadata={"scim_active": False})
        rows.delete_team(prepared.litellm, "t1")
        rows.change_team(prepared.litellm, "few", team_alias="Other")
    assert "grp_team_t1" in openwebui.groups(prepared)
    assert {found for found in waiting(prepared) if found[0] in ("user", "team")} == {("team", "t1")}
    assert openwebui.accounts(prepared)["cat@example.com"][1] == "pending"
    assert openwebui.groups(prepared)["grp_team_few"][0] == "Other"
    drain_all(prepared)
    assert "grp_team_t1" not in openwebui.groups(prepared)


def test_a_group_that_moves_keeps_its_members(prepared: Pair) -> None:
    """Nobody takes the move for done, nor the old id for a team that is gone."""
    rows.update(prepared.litellm, "LiteLLM_TeamTable", {"team_id": "t1"}, {"team_id": "t9"})
    assert ("team", "t9") in waiting(prepared)
    assert prepared.litellm_admin.value("SELECT count(*) FROM user_bridge.moved") == 1
    drain_all(prepared)
    assert openwebui.groups(prepared)["grp_team_t1"] == ("t1", [f"usr_{name}" for name in PEOPLE])
    assert equal(prepared)


def test_who_was_in_a_team_of_the_same_id_is_asked_by_the_drain(prepared: Pair) -> None:
    prepared.litellm_admin.run("SELECT user_bridge.pause()")
    rows.delete_team(prepared.litellm, "t1")
    prepared.litellm_admin.run("SELECT user_bridge.resume(), setval('user_bridge.backlog', 1)")
    rows.add_team(prepared.litellm, "t1", "Anew", members_with_roles=model_rows.members("ann"))
    assert ("team_roster", "t1") in waiting(prepared)
    drain_on(prepared)
    assert openwebui.groups(prepared)["grp_team_t1"] == ("Anew", ["usr_ann"])


@pytest.mark.schemas(litellm="new", openwebui="new")
def test_a_group_of_a_wide_list_that_somebody_has_deleted(prepared: Pair) -> None:
    for name in PEOPLE:
        rows.change_user(prepared.litellm, name, models=["m*"])
    drain_all(prepared)
    delete_group(prepared, prepared.openwebui_admin.value("SELECT group_id FROM user_bridge.model_member LIMIT 1"))
    rows.add_user(prepared.litellm, "dan", "dan@example.com")
    rows.change_user(prepared.litellm, "dan", models=["m*"])
    due = {found for found in waiting(prepared) if found[0] == "model_set"}
    assert len(due) == 1
    end_drainer(prepared)
    prepared.litellm_admin.run("SELECT setval('user_bridge.backlog', 2)")
    rows.add_user(prepared.litellm, "eve", "eve@example.com")
    assert due <= waiting(prepared)
    drain_all(prepared)
    assert equal(prepared)
