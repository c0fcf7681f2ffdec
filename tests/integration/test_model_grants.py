# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rights on models in Open WebUI: requests as LiteLLM's side sends them, and who may read what afterwards.

Both ways in which Open WebUI stores it: model.access_control (0.6.30) and access_grant (the newest version).
"""

from __future__ import annotations

import contextlib
import itertools
import json
import uuid
from typing import Any

import psycopg2.errors
import pytest

from kit import openwebui, rows
from kit.background import Background
from kit.bridge import change_settings, install_bridge, request
from kit.model_rows import add_model, add_scope, drain
from kit.model_rows import members as litellm_members
from kit.pairs import Pair, Session
from kit.schemas import migrate_openwebui

pytestmark = pytest.mark.schemas(openwebui="all")
NEWEST = pytest.mark.schemas(openwebui="new")
OLDEST = pytest.mark.schemas(openwebui="old")
Item = dict[str, Any]
Readers = set[tuple[str, str]]
PUBLIC = ("user", "*")
ALICE, BOB, CARL = ("user", "usr_alice"), ("user", "usr_bob"), ("user", "usr_carl")
BLUE = ("group", "grp_team_blue")
SET = ("group", "grp_models_s1")
_VERSIONS = itertools.count(1)


# Requests


def send(pair: Pair, *items: Item, **more: Any) -> list[dict[str, Any]]:
    """What LiteLLM's side delivers in one request; returns the outcomes."""
    version = 1_000_000_000_000_000 + next(_VERSIONS)
    payload = {"version": version, "txid": "1", "now_ms": 0, "budget_ms": 60_000, "items": list(items), **more}
    reply = pair.sync_user.value("SELECT user_bridge.apply(%s)", [request(pair, payload)])
    assert [outcome["status"] for outcome in reply["items"] if outcome["status"] == "FAILED"] == [], reply
    outcomes: list[dict[str, Any]] = reply["items"]
    return outcomes


def ask(pair: Pair, **question: Any) -> Any:
    payload = {"budget_ms": 60_000, **question}
    return pair.sync_user.value("SELECT user_bridge.apply(%s)", [request(pair, payload)])


def user(name: str, *, gone: bool = False) -> Item:
    desired = {
        "openwebui_id": f"usr_{name}",
        "email": f"{name}@example.com",
        "name": name,
        "role": "user",
        "disabled": False,
        "original_role": None,
    }
    return {"type": "user", "id": name, "desired": None if gone else desired, "heir": None}


def team(name: str, *, gone: bool = False) -> Item:
    desired = {"openwebui_id": f"grp_team_{name}", "name": name, "organization_id": None}
    return {"type": "team", "id": name, "desired": None if gone else desired}


def model(name: str, *, gone: bool = False, prefix: str = "") -> Item:
    own = prefix + name
    return {"type": "model", "id": name, "desired": None if gone else {"openwebui_id": own, "name": own}}


def models(*names: str) -> list[Item]:
    return [model(name) for name in names]


def model_set(name: str, *names: str, gone: bool = False) -> Item:
    desired = {"openwebui_id": f"grp_models_{name}", "name": f"LiteLLM models: {name}", "models": sorted(names)}
    return {"type": "model_set", "id": name, "desired": None if gone else desired}


def scope(name: str, members: list[str], *names: str) -> dict[str, Any]:
    return {"group": f"grp_scope_{name}", "name": f"scope {name}", "members": sorted(members), "models": sorted(names)}


def team_models(name: str, *names: str, scopes: tuple[dict[str, Any], ...] = (), gone: bool = False) -> Item:
    holders = [*scopes, {"group": None, "models": sorted(names)}]
    return {"type": "team_models", "id": name, "desired": None if gone else {"holders": holders}}


def user_models(name: str, *names: str, sets: tuple[str, ...] = (), gone: bool = False) -> Item:
    desired = {"sets": sorted(sets), "models": sorted(names)}
    return {"type": "user_models", "id": name, "desired": None if gone else desired}


# What Open WebUI has


def has_grants(pair: Pair) -> bool:
    """Open WebUI 0.8.0 and newer."""
    return pair.openwebui.value("SELECT to_regclass('public.access_grant') IS NOT NULL") is True


def access(pair: Pair, model_id: str) -> Any:
    return pair.openwebui.value("SELECT access_control FROM model WHERE id = %s", [model_id])


def readers(pair: Pair, model_id: str) -> Readers:
    """Who may read a model."""
    if has_grants(pair):
        found = pair.openwebui.rows(
            "SELECT principal_type, principal_id FROM access_grant "
            "WHERE resource_type = 'model' AND resource_id = %s AND permission = 'read'",
            [model_id],
        )
        return {(row["principal_type"], row["principal_id"]) for row in found}
    lists = access(pair, model_id)
    if lists is None:
        exists = pair.openwebui.value("SELECT count(*) FROM model WHERE id = %s", [model_id])
        return {PUBLIC} if exists else set()
    return _listed(lists)


def rows_of(pair: Pair) -> set[str]:
    return {row["id"] for row in pair.openwebui.rows("SELECT id FROM model")}


def members(pair: Pair, group_id: str) -> list[str]:
    return openwebui.groups(pair)[group_id][1]


# What people do in Open WebUI


def save_access(pair: Pair, model_id: str, saved: Readers) -> None:
    """An administrator's page writes who may read a model: what it had loaded, with ids of its own."""
    if not has_grants(pair):
        lists = {f"{kind}_ids": sorted(name for each, name in saved if each == kind) for kind in ("group", "user")}
        value = None if PUBLIC in saved else json.dumps({"read": lists, "write": {"group_ids": [], "user_ids": []}})
        pair.openwebui.run("UPDATE model SET access_control = %s WHERE id = %s", [value, model_id])
        return
    pair.openwebui.run("DELETE FROM access_grant WHERE resource_type = 'model' AND resource_id = %s", [model_id])
    for kind, name in sorted(saved):
        pair.openwebui.run(
            "INSERT INTO access_grant (id, resource_type, resource_id, principal_type, principal_id, permission, "
            "created_at) VALUES (gen_random_uuid()::text, 'model', %s, %s, %s, 'read', 1)",
            [model_id, kind, name],
        )


def add_row(pair: Pair, model_id: str, saved: Readers, **columns: Any) -> None:
    """A row that an administrator made."""
    values = {
        "id": model_id,
        "user_id": pair.openwebui.value('SELECT id FROM "user" WHERE email = %s', [pair.admin.email]),
        "name": "By Hand",
        "params": '{"temperature": 1}',
        "meta": '{"description": "fine"}',
        "created_at": 1,
        "updated_at": 1,
        "is_active": True,
        **columns,
    }
    pair.openwebui.run(
        f"INSERT INTO model ({', '.join(values)}) VALUES ({', '.join(['%s'] * len(values))})", list(values.values())
    )
    save_access(pair, model_id, saved)


def row(pair: Pair, model_id: str) -> dict[str, Any]:
    (found,) = pair.openwebui.rows("SELECT * FROM model WHERE id = %s", [model_id])
    return {key: value for key, value in found.items() if key != "access_control"}


def returned(pair: Pair) -> set[tuple[str, str]]:
    """What the lookout would deliver again."""
    return {(kind, name) for kind, name in ask(pair, returned=True)["returned"]}


def removed(pair: Pair) -> dict[str, tuple[int, int]]:
    found = pair.openwebui_admin.rows("SELECT * FROM user_bridge.remove_data()")
    return {each["kind"]: (each["removed"], each["kept"]) for each in found}


def report(pair: Pair) -> dict[str, Any]:
    found = pair.openwebui_admin.value("SELECT user_bridge.model_report()")
    assert isinstance(found, dict)
    return found


def peopled(pair: Pair) -> Pair:
    """Alice, Bob and Carl have accounts, the team Blue a group."""
    change_settings(pair, model_access=True)
    send(pair, *(user(name) for name in ("alice", "bob", "carl")), team("blue"))
    return pair


prepare = peopled


@pytest.fixture
def people(prepared: Pair) -> Pair:
    return prepared


# Rows


def test_a_model_gets_a_row_that_nobody_may_read(people: Pair) -> None:
    (outcome,) = send(people, model("fake-a"))
    assert outcome["status"] == "SUCCESS" and outcome["openwebui_id"] == "fake-a"
    assert readers(people, "fake-a") == set()
    found = row(people, "fake-a")
    assert (found["name"], found["user_id"], found["params"], found["meta"]) == ("fake-a", "", "{}", "{}")
    assert found["base_model_id"] is None and found["is_active"]


def test_a_row_has_the_prefix_of_the_connection_and_moves_with_it(people: Pair) -> None:
    send(people, model("fake-a"), user_models("alice", "fake-a"))
    change_settings(people, openwebui_model_prefix="litellm.")
    (outcome,) = send(people, model("fake-a", prefix="wrong."))
    assert outcome["openwebui_id"] == "litellm.fake-a"
    assert rows_of(people) == {"litellm.fake-a"} and readers(people, "litellm.fake-a") == {ALICE}
    assert readers(people, "fake-a") == set()


def test_a_row_by_hand_is_adopted_and_only_gets_grants(people: Pair) -> None:
    add_row(people, "fake-a", {CARL}, is_active=False)
    before = row(people, "fake-a")
    send(people, model("fake-a"), user_models("alice", "fake-a"))
    send(people, model("fake-a"))
    assert row(people, "fake-a") == before and readers(people, "fake-a") == {ALICE, CARL}
    send(people, model("fake-a", gone=True))
    assert row(people, "fake-a") == before and readers(people, "fake-a") == {CARL}


def test_a_preset_with_a_models_id_is_not_the_model(people: Pair) -> None:
    """Whoever may use it reaches the model below, which is another right."""
    add_row(people, "fake-a", {CARL}, base_model_id="secret")
    before = row(people, "fake-a")
    (outcome, _rights) = send(people, model("fake-a"), user_models("alice", "fake-a"))
    assert outcome["status"] == "SKIPPED" and "secret" in outcome["message"] and "openwebui_id" not in outcome
    assert row(people, "fake-a") == before and readers(people, "fake-a") == {CARL}
    assert report(people)["presets"] == [{"model_id": "fake-a", "base": "secret"}] and returned(people) == set()
    explained = ask(people, explain_model={"user": "alice", "model": "fake-a"})["explain"]
    assert "preset" in " ".join(explained["reasons"]) and not explained["sees"]
    people.openwebui.run("UPDATE model SET base_model_id = NULL WHERE id = 'fake-a'")
    assert returned(people) == {("model", "fake-a")}
    send(people, model("fake-a"))
    assert readers(people, "fake-a") == {ALICE, CARL} and returned(people) == set()
    assert report(people)["presets"] == []


@pytest.mark.parametrize("base", ["''", "'fake-a'"])
def test_a_row_that_is_built_on_itself_is_the_model(people: Pair, base: str) -> None:
    send(people, model("fake-a"), user_models("alice", "fake-a"))
    people.openwebui.run(f"UPDATE model SET base_model_id = {base} WHERE id = 'fake-a'")
    assert returned(people) == set()
    send(people, model("fake-a"))
    assert readers(people, "fake-a") == {ALICE}


def test_a_row_that_becomes_a_preset_loses_the_grants(people: Pair) -> None:
    """By an import of models, or by hand; and what a page brings back afterwards is taken again."""
    send(people, model("fake-a"), user_models("alice", "fake-a"), team_models("blue", "fake-a"))
    people.openwebui.run("UPDATE model SET base_model_id = 'secret' WHERE id = 'fake-a'")
    assert returned(people) == {("model", "fake-a")}
    assert send(people, model("fake-a"))[0]["status"] == "SKIPPED"
    assert readers(people, "fake-a") == set() and returned(people) == set()
    save_access(people, "fake-a", {ALICE, CARL})
    send(people, user_models("alice", "fake-a"))
    assert readers(people, "fake-a") == {CARL}
    removed(people)
    assert rows_of(people) == {"fake-a"}


def test_a_row_by_hand_stays_though_it_looks_like_the_bridges(people: Pair) -> None:
    plain = {"name": "fake-a", "params": "{}", "meta": "{}", "user_id": ""}
    add_row(people, "fake-a", set(), **plain)
    send(people, model("fake-a"), user_models("alice", "fake-a"))
    send(people, model("fake-a", gone=True))
    assert rows_of(people) == {"fake-a"} and readers(people, "fake-a") == set()


def test_what_an_administrator_edits_is_never_written_again(people: Pair) -> None:
    send(people, model("fake-a"))
    people.openwebui.run("UPDATE model SET name = 'Fine', meta = '{\"x\": 1}', is_active = false WHERE id = 'fake-a'")
    before = row(people, "fake-a")
    send(people, model("fake-a"), user_models("alice", "fake-a"))
    assert row(people, "fake-a") == before


@pytest.mark.parametrize("touch", ["name = 'Fine'", "meta = '{\"x\": 1}'", "is_active = false", "base_model_id = 'b'"])
def test_a_row_goes_with_its_model_unless_somebody_touched_it(people: Pair, touch: str) -> None:
    send(people, *models("fake-a", "fake-b"), user_models("alice", "fake-a", "fake-b"))
    people.openwebui.run(f"UPDATE model SET {touch} WHERE id = 'fake-b'")
    (one, two) = send(people, model("fake-a", gone=True), model("fake-b", gone=True))
    assert one.get("openwebui_id") is None and two.get("openwebui_id") is None
    assert rows_of(people) == {"fake-b"} and readers(people, "fake-b") == set()


def test_a_row_with_a_grant_by_hand_stays(people: Pair) -> None:
    send(people, model("fake-a"), user_models("alice", "fake-a"))
    save_access(people, "fake-a", {ALICE, CARL})
    send(people, model("fake-a", gone=True))
    assert readers(people, "fake-a") == {CARL} and rows_of(people) == {"fake-a"}


def test_a_row_that_somebody_deleted_comes_back_with_its_grants(people: Pair) -> None:
    send(people, model("fake-a"), user_models("alice", "fake-a"), team_models("blue", "fake-a"))
    save_access(people, "fake-a", set())
    people.openwebui.run("DELETE FROM model WHERE id = 'fake-a'")
    (outcome,) = send(people, model("fake-a"))
    assert outcome["before"] == {"exists": False} and readers(people, "fake-a") == {ALICE, BLUE}
    send(people, user_models("alice"))
    assert readers(people, "fake-a") == {BLUE}


@NEWEST
def test_a_new_row_is_private_though_grants_outlived_an_older_one(people: Pair) -> None:
    add_row(people, "fake-a", {PUBLIC, CARL})
    people.openwebui.run("DELETE FROM model WHERE id = 'fake-a'")
    send(people, model("fake-a"))
    assert readers(people, "fake-a") == {CARL}


# Who holds what


def test_a_team_holds_what_it_lists(people: Pair) -> None:
    send(people, *models("fake-a", "fake-b", "fake-c"), team_models("blue", "fake-a", "fake-b"))
    assert [readers(people, f"fake-{each}") for each in "abc"] == [{BLUE}, {BLUE}, set()]
    send(people, team_models("blue", "fake-b", "fake-c"))
    assert [readers(people, f"fake-{each}") for each in "abc"] == [set(), {BLUE}, {BLUE}]
    send(people, team_models("blue"))
    assert [readers(people, f"fake-{each}") for each in "abc"] == [set(), set(), set()]


def test_a_scoped_team_gives_its_own_group_nothing(people: Pair) -> None:
    send(people, *models("fake-a", "fake-b"), team_models("blue", "fake-a", "fake-b"))
    narrow = scope("1", ["alice"], "fake-a")
    wide = scope("2", ["bob", "carl"], "fake-a", "fake-b")
    send(people, team_models("blue", scopes=(narrow, wide)))
    assert readers(people, "fake-a") == {("group", "grp_scope_1"), ("group", "grp_scope_2")}
    assert readers(people, "fake-b") == {("group", "grp_scope_2")}
    assert members(people, "grp_scope_1") == ["usr_alice"] and members(people, "grp_scope_2") == ["usr_bob", "usr_carl"]
    send(people, team_models("blue", scopes=(scope("1", ["alice", "bob"], "fake-a"), scope("3", ["carl"], "fake-b"))))
    assert readers(people, "fake-a") == {("group", "grp_scope_1")}
    assert readers(people, "fake-b") == {("group", "grp_scope_3")}
    assert members(people, "grp_scope_1") == ["usr_alice", "usr_bob"] and "grp_scope_2" not in openwebui.groups(people)
    send(people, team_models("blue", "fake-a"))
    assert readers(people, "fake-a") == {BLUE} and readers(people, "fake-b") == set()
    assert not [each for each in openwebui.groups(people) if each.startswith("grp_scope")]


def test_a_scopes_group_has_the_name_that_litellms_side_gives_it(people: Pair) -> None:
    named = scope("1", ["alice"], "fake-a")
    send(people, model("fake-a"), team_models("blue", scopes=(named,)))
    send(people, team_models("blue", scopes=({**named, "name": "Blue, all"},)))
    assert openwebui.groups(people)["grp_scope_1"] == ("Blue, all", ["usr_alice"])


def test_no_request_reaches_a_group_that_is_not_the_bridges(people: Pair) -> None:
    send(people, model("fake-a"))
    with pytest.raises(AssertionError, match="not the id of a scope's group"):
        send(people, team_models("blue", scopes=({**scope("1", ["alice"], "fake-a"), "group": "grp_team_blue"},)))
    send(people, team("red"), team_models("blue", scopes=(scope("1", ["alice"], "fake-a"),)))
    send(people, team_models("red", scopes=(scope("1", ["bob"], "fake-a"),)))
    assert members(people, "grp_scope_1") == ["usr_alice"] and members(people, "grp_scope_1_2") == ["usr_bob"]


def test_a_group_of_an_organization_with_the_id_of_a_set_is_another(people: Pair) -> None:
    named = {"openwebui_id": "grp_models_s1", "name": "Odd"}
    send(people, {"type": "organization", "id": "models_s1", "desired": named})
    send(people, model("fake-a"), model_set("s1", "fake-a"), user_models("alice", sets=("s1",)))
    assert openwebui.groups(people)["grp_models_s1"] == ("Odd", [])
    assert readers(people, "fake-a") == {("group", "grp_models_s1_2")} and members(people, "grp_models_s1_2") == [
        "usr_alice"
    ]


def test_an_organization_never_gets_the_group_of_a_set(people: Pair) -> None:
    send(people, model("fake-a"), model_set("s1", "fake-a"), team_models("blue", scopes=(scope("1", [], "fake-a"),)))
    for name in ("models_s1", "scope_1"):
        named = {"openwebui_id": f"grp_{name}", "name": "Odd"}
        (outcome,) = send(people, {"type": "organization", "id": name, "desired": named})
        assert outcome["openwebui_id"] == f"grp_{name}_2"


def test_what_an_older_installation_left_in_a_group_goes(people: Pair) -> None:
    send(people, model("fake-a"), model("fake-b"))
    people.openwebui_admin.run("SELECT user_bridge.write_group('grp_models_s1', 'Old')")
    openwebui.add_member(people, "grp_models_s1", "usr_carl")
    save_access(people, "fake-b", {SET})
    send(people, model_set("s1", "fake-a"))
    assert (
        members(people, "grp_models_s1") == []
        and readers(people, "fake-b") == set()
        and readers(people, "fake-a") == {SET}
    )


def test_a_short_list_is_the_persons_and_a_wide_one_a_groups(people: Pair) -> None:
    send(people, *models("fake-a", "fake-b"), model_set("s1", "fake-a", "fake-b"))
    send(people, user_models("alice", "fake-a", sets=("s1",)), user_models("bob", sets=("s1",)))
    assert readers(people, "fake-a") == {ALICE, SET} and readers(people, "fake-b") == {SET}
    assert openwebui.groups(people)["grp_models_s1"] == ("LiteLLM models: s1", ["usr_alice", "usr_bob"])
    send(people, user_models("alice", "fake-b"), model_set("s1", "fake-a"))
    assert readers(people, "fake-a") == {SET} and readers(people, "fake-b") == {ALICE}
    assert members(people, "grp_models_s1") == ["usr_bob"]
    send(people, user_models("bob"), model_set("s1", gone=True), user_models("alice", gone=True))
    assert readers(people, "fake-a") == set() and readers(people, "fake-b") == set()
    assert "grp_models_s1" not in openwebui.groups(people)


def test_a_set_that_comes_after_its_holders_finds_them(people: Pair) -> None:
    send(people, user_models("alice", sets=("s1",)), model("fake-a"))
    send(people, model_set("s1", "fake-a"))
    assert openwebui.groups(people)["grp_models_s1"] == ("LiteLLM models: s1", ["usr_alice"])
    assert readers(people, "fake-a") == {SET}


@OLDEST
def test_a_large_set_has_several_groups(people: Pair) -> None:
    names = [f"m{number:04}" for number in range(1010)]
    send(people, *models("fake-a", "fake-b"), model_set("s1", "fake-a"))
    send(people, *(user(name) for name in names))
    send(people, *(user_models(name, sets=("s1",)) for name in names))
    shards = ["grp_models_s1", "grp_models_s1_2"]
    assert set(shards) <= set(openwebui.groups(people))
    assert [len(members(people, group)) for group in shards] == [1000, 10]
    send(people, user_models("alice", sets=("s1",)), model_set("s1", "fake-b"))
    assert len(members(people, "grp_models_s1_2")) == 11
    assert readers(people, "fake-b") == {("group", each) for each in shards} and readers(people, "fake-a") == set()
    assert openwebui.groups(people)["grp_models_s1_2"][0] == "LiteLLM models: s1"
    send(people, model_set("s1", gone=True))
    assert not [each for each in openwebui.groups(people) if each.startswith("grp_models")]


def test_nobody_is_granted_to_everybody(people: Pair) -> None:
    """Not by user:*, nor by a NULL: accounts made by hand would see it."""
    names = [f"fake-{number}" for number in range(30)]
    send(
        people,
        *models(*names),
        model_set("everyone", *names),
        *(user_models(name, sets=("everyone",)) for name in ("alice", "bob")),
    )
    assert all(readers(people, name) == {("group", "grp_models_everyone")} for name in names)


@NEWEST
def test_no_group_for_rights_has_a_parent(people: Pair) -> None:
    send(people, {"type": "organization", "id": "o1", "desired": {"openwebui_id": "grp_o1", "name": "Acme"}})
    send(people, model("fake-a"), model_set("s1", "fake-a"), team_models("blue", scopes=(scope("1", [], "fake-a"),)))
    blue = team("blue")
    blue["desired"]["organization_id"] = "o1"
    send(people, blue)
    found = people.openwebui.rows('SELECT id, parent_group_id AS parent FROM "group"')
    parents = {each["id"]: each["parent"] for each in found}
    assert parents == {"grp_o1": None, "grp_team_blue": "grp_o1", "grp_models_s1": None, "grp_scope_1": None}


# A model that comes and goes


def test_a_blocked_model_is_taken_from_all_and_given_back(people: Pair) -> None:
    send(
        people,
        *models("fake-a", "fake-b"),
        model_set("s1", "fake-a", "fake-b"),
        team_models("blue", "fake-a", "fake-b"),
        user_models("alice", "fake-a", "fake-b"),
    )
    everybody = {ALICE, BLUE, SET}
    assert readers(people, "fake-a") == everybody
    send(people, model("fake-a", gone=True))
    assert readers(people, "fake-a") == set() and readers(people, "fake-b") == everybody
    # Lists that name it meanwhile neither fail nor open it.
    send(people, team_models("blue", "fake-a"), user_models("bob", "fake-a"), user_models("alice"))
    assert readers(people, "fake-a") == set()
    send(people, model("fake-a"))
    assert readers(people, "fake-a") == {BOB, BLUE, SET}


def test_a_grant_waits_for_its_model(people: Pair) -> None:
    send(people, team_models("blue", "fake-a"), user_models("alice", "fake-a"))
    assert returned(people) == set()
    send(people, model("fake-a"))
    assert readers(people, "fake-a") == {ALICE, BLUE}
    send(people, user_models("alice"))
    assert readers(people, "fake-a") == {BLUE}


# Accounts and groups that come and go


def test_grants_follow_an_account_and_a_group_that_come_later(quick: Pair) -> None:
    change_settings(quick, model_access=True)
    scoped = scope("1", ["alice", "bob"], "fake-b")
    send(quick, *models("fake-a", "fake-b"), model_set("s1", "fake-b"), user_models("alice", "fake-a", sets=("s1",)))
    send(quick, team_models("blue", "fake-a"), team_models("red", scopes=(scoped,)))
    assert readers(quick, "fake-a") == set() and members(quick, "grp_models_s1") == [] == members(quick, "grp_scope_1")
    send(quick, user("alice"), team("blue"))
    assert readers(quick, "fake-a") == {ALICE, BLUE}
    assert members(quick, "grp_models_s1") == ["usr_alice"] == members(quick, "grp_scope_1")


def test_grants_follow_many_accounts_that_come_later(quick: Pair) -> None:
    change_settings(quick, model_access=True)
    names = [f"u{number}" for number in range(30)]
    send(quick, model("fake-a"), model_set("s1"), *(user_models(name, "fake-a", sets=("s1",)) for name in names))
    send(quick, *(user(name) for name in names))
    accounts = sorted(f"usr_{name}" for name in names)
    assert readers(quick, "fake-a") == {("user", each) for each in accounts}
    assert members(quick, "grp_models_s1") == accounts


@pytest.mark.parametrize("on_user_delete", ["delete", "disable", "keep"])
def test_a_user_who_is_gone_leaves_no_grant(people: Pair, on_user_delete: str) -> None:
    change_settings(people, on_user_delete=on_user_delete)
    send(people, model("fake-a"), model_set("s1", "fake-a"), user_models("alice", "fake-a", sets=("s1",)))
    send(people, team_models("blue", scopes=(scope("1", ["alice"], "fake-a"),)))
    send(people, user("alice", gone=True))
    assert ALICE not in readers(people, "fake-a")
    assert members(people, "grp_models_s1") == [] == members(people, "grp_scope_1")
    # What LiteLLM still lists waits, should he return.
    send(people, user("alice"))
    assert ALICE in readers(people, "fake-a") and members(people, "grp_models_s1") == ["usr_alice"]


def test_a_team_that_is_gone_leaves_nothing(people: Pair) -> None:
    send(people, *models("fake-a", "fake-b"), team_models("blue", "fake-a", scopes=(scope("1", ["alice"], "fake-b"),)))
    send(people, team("blue", gone=True))
    assert readers(people, "fake-a") == set()
    send(people, team_models("blue", gone=True))
    assert readers(people, "fake-b") == set() and list(openwebui.groups(people)) == []


def test_grants_follow_a_team_and_a_user_to_other_ids(people: Pair) -> None:
    scoped = scope("1", ["alice"], "fake-b")
    send(
        people,
        *models("fake-a", "fake-b"),
        team_models("blue", "fake-a", scopes=(scoped,)),
        user_models("alice", "fake-b"),
    )
    renamed = [("team", "blue", "navy"), ("user", "alice", "ann")]
    moves = [
        {"id": str(uuid.uuid4()), "ord": place, "entity_type": kind, "old_id": old, "new_id": new}
        for place, (kind, old, new) in enumerate(renamed)
    ]
    send(people, {**team("navy"), "desired": {**team("navy")["desired"], "name": "blue"}}, moves=moves)
    assert readers(people, "fake-a") == {BLUE} and readers(people, "fake-b") == {("group", "grp_scope_1")}
    send(people, user_models("alice", gone=True), team_models("blue", gone=True))
    send(people, team_models("navy", scopes=(scope("9", ["ann"], "fake-a"),)), user_models("ann", "fake-b"))
    assert readers(people, "fake-a") == {("group", "grp_scope_9")} and readers(people, "fake-b") == {ALICE}
    assert members(people, "grp_scope_9") == ["usr_alice"] and "grp_scope_1" not in openwebui.groups(people)


def test_a_deleted_account_gets_its_grants_back(people: Pair) -> None:
    send(people, model("fake-a"), model_set("s1", "fake-a"), user_models("alice", "fake-a", sets=("s1",)))
    if openwebui.has_member_table(people):
        people.openwebui.run("DELETE FROM group_member WHERE user_id = 'usr_alice'")
    people.openwebui.run("DELETE FROM auth WHERE id = 'usr_alice'")
    people.openwebui.run("DELETE FROM \"user\" WHERE id = 'usr_alice'")
    (outcome,) = send(people, user_models("alice", "fake-a"))
    assert outcome["due"] == [["user", "alice"]] and outcome["status"] == "WARNING"
    send(people, user("alice"))
    assert ALICE in readers(people, "fake-a")
    send(people, user_models("alice"))
    assert readers(people, "fake-a") == {SET}


def test_a_deleted_group_of_a_team_gets_its_grants_back(people: Pair) -> None:
    send(people, model("fake-a"), team_models("blue", "fake-a"))
    save_access(people, "fake-a", set())
    people.openwebui.run("DELETE FROM \"group\" WHERE id = 'grp_team_blue'")
    (outcome,) = send(people, team_models("blue", "fake-a"))
    assert outcome["due"] == [["team", "blue"]]
    send(people, team("blue"))
    assert readers(people, "fake-a") == {BLUE}
    # As Open WebUI's page deletes it, with its grants; and the group comes first.
    save_access(people, "fake-a", set())
    people.openwebui.run("DELETE FROM \"group\" WHERE id = 'grp_team_blue'")
    send(people, team("blue"))
    assert readers(people, "fake-a") == {BLUE}
    send(people, team_models("blue"))
    assert readers(people, "fake-a") == set()


def test_a_deleted_group_of_a_set_or_a_scope_comes_back_whole(people: Pair) -> None:
    scoped = team_models("blue", scopes=(scope("1", ["bob"], "fake-a"),))
    send(people, model("fake-a"), model_set("s1", "fake-a"), user_models("alice", sets=("s1",)), scoped)
    save_access(people, "fake-a", {CARL})
    people.openwebui.run("DELETE FROM \"group\" WHERE id IN ('grp_models_s1', 'grp_scope_1')")
    (outcome, _other) = send(people, model_set("s1", "fake-a"), scoped)
    assert outcome["before"] == {"exists": False}
    assert readers(people, "fake-a") == {CARL, SET, ("group", "grp_scope_1")}
    assert members(people, "grp_models_s1") == ["usr_alice"] and members(people, "grp_scope_1") == ["usr_bob"]


def test_who_needs_a_deleted_group_of_a_set_says_so(people: Pair) -> None:
    send(people, model("fake-a"), model_set("s1", "fake-a"), user_models("alice", sets=("s1",)))
    people.openwebui.run("DELETE FROM \"group\" WHERE id = 'grp_models_s1'")
    (one, two) = send(people, user_models("alice", sets=("s1",)), user_models("bob", sets=("s1",)))
    assert one["due"] == [["model_set", "s1"]] == two["due"]
    send(people, model_set("s1", "fake-a"))
    assert members(people, "grp_models_s1") == ["usr_alice", "usr_bob"] and readers(people, "fake-a") == {SET}


def delete_row(pair: Pair, model_id: str) -> None:
    """As the page of administrators does it: from 0.8.0 on the grants, which were in the row before, go with it."""
    save_access(pair, model_id, set())
    pair.openwebui.run("DELETE FROM model WHERE id = %s", [model_id])


def test_who_needs_a_row_that_somebody_deleted_says_so(people: Pair) -> None:
    scoped = team_models("red", scopes=(scope("1", ["carl"], "fake-a"),))
    wanted = (team_models("blue", "fake-a"), model_set("s1", "fake-a"), scoped)
    send(people, *models("fake-a", "fake-b"), *wanted, user_models("alice", "fake-a"))
    before = readers(people, "fake-a")
    delete_row(people, "fake-a")
    outcomes = send(
        people,
        user_models("alice", "fake-a", "fake-b"),
        team_models("blue", "fake-a", "fake-b"),
        user_models("bob", "fake-a"),
        model_set("s1", "fake-a"),
        scoped,
    )
    assert [outcome.get("due") for outcome in outcomes] == [[["model", "fake-a"]]] * 5
    assert {outcome["status"] for outcome in outcomes} == {"WARNING"}
    assert "the row of the model fake-a" in outcomes[0]["message"]
    send(people, model("fake-a"))
    assert readers(people, "fake-a") == before | {BOB} and readers(people, "fake-b") == {ALICE, BLUE}
    (outcome,) = send(people, user_models("alice", "fake-a"))
    assert outcome == {"status": "SUCCESS"} and returned(people) == set()


def test_many_new_ones_who_need_a_row_that_somebody_deleted_say_so(people: Pair) -> None:
    names = [f"u{number:02}" for number in range(24)]
    send(people, *models("fake-a", "fake-b"), *(user(name) for name in names))
    delete_row(people, "fake-a")
    wanted = [user_models(name, "fake-a" if name < "u03" else "fake-b") for name in names]
    outcomes = send(people, *wanted, team_models("blue", "fake-a"), model_set("s1", "fake-a"))
    due = [name for name, outcome in zip([*names, "blue", "s1"], outcomes, strict=True) if "due" in outcome]
    assert due == ["u00", "u01", "u02", "blue", "s1"]
    send(people, model("fake-a"))
    assert readers(people, "fake-a") == {BLUE, SET, *(("user", f"usr_{name}") for name in names[:3])}


# Administrators who save a page


def test_a_grant_by_hand_is_the_administrators(people: Pair) -> None:
    send(people, model("fake-a"))
    save_access(people, "fake-a", {ALICE, BLUE, CARL})
    wanted = (team_models("blue", "fake-a"), user_models("alice", "fake-a"))
    send(people, *wanted)
    assert returned(people) == set()
    send(people, team_models("blue"), user_models("alice"), model("fake-a", gone=True))
    assert readers(people, "fake-a") == {ALICE, BLUE, CARL} and returned(people) == set()


def test_what_a_stale_page_brings_back_is_taken_again(people: Pair) -> None:
    send(
        people,
        *models("fake-a", "fake-b"),
        team_models("blue", "fake-a", "fake-b"),
        user_models("alice", "fake-a", "fake-b"),
    )
    loaded = readers(people, "fake-a")
    send(people, team_models("blue", "fake-b"), user_models("alice", "fake-b"))
    save_access(people, "fake-a", loaded | {CARL})
    assert returned(people) == {("team_models", "blue"), ("user_models", "alice")}
    again = send(people, team_models("blue", "fake-b"), user_models("alice", "fake-b"))
    assert [outcome["status"] for outcome in again] == ["WARNING", "WARNING"]
    assert all("brought back" in outcome["message"] and "fake-a" in outcome["message"] for outcome in again)
    assert readers(people, "fake-a") == {CARL} and returned(people) == set()


def test_what_a_stale_page_brings_back_of_a_blocked_model_is_taken_again(people: Pair) -> None:
    send(people, model("fake-a"), user_models("alice", "fake-a"))
    people.openwebui.run("UPDATE model SET name = 'Fine' WHERE id = 'fake-a'")
    send(people, model("fake-a", gone=True))
    save_access(people, "fake-a", {ALICE})
    assert returned(people) == {("user_models", "alice")}
    (outcome,) = send(people, user_models("alice", "fake-a"))
    assert outcome["status"] == "WARNING" and readers(people, "fake-a") == set()


def test_a_grant_that_litellm_gives_again_was_never_made_by_hand(people: Pair) -> None:
    send(people, model("fake-a"), user_models("alice", "fake-a"))
    send(people, user_models("alice"))
    save_access(people, "fake-a", {ALICE})
    send(people, user_models("alice", "fake-a"))
    assert readers(people, "fake-a") == {ALICE} and returned(people) == set()
    send(people, user_models("alice"))
    assert readers(people, "fake-a") == set()


def test_what_a_page_drops_is_written_again(people: Pair) -> None:
    scoped = team_models("red", scopes=(scope("1", ["bob"], "fake-a"), scope("2", [], "fake-a")))
    wanted = (team_models("blue", "fake-a"), user_models("alice", "fake-a"), model_set("s1", "fake-a"), scoped)
    send(people, model("fake-a"), *wanted)
    before = readers(people, "fake-a")
    save_access(people, "fake-a", {CARL})
    assert returned(people) == {(item["type"], item["id"]) for item in wanted}
    again = send(people, *wanted)
    assert [outcome["status"] for outcome in again] == ["SUCCESS"] * 4
    assert all("written again: fake-a" in outcome["message"] for outcome in again)
    assert readers(people, "fake-a") == before | {CARL} and returned(people) == set()
    send(people, user_models("alice"))
    assert ALICE not in readers(people, "fake-a")


@pytest.mark.parametrize("by", ["holder", "model"])
def test_what_a_page_drops_or_brings_back_is_put_right_by_any_change(people: Pair, by: str) -> None:
    """Also by one that has to do with something else; of a holder only where that does not read all lists."""
    scoped = team_models("red", scopes=(scope("1", ["bob"], "fake-a"),))
    wanted = (team_models("blue", "fake-a"), user_models("alice", "fake-a"), model_set("s1", "fake-a"), scoped)
    send(people, *models("fake-a", "fake-b"), *wanted, user_models("carl", "fake-a"))
    kept = readers(people, "fake-a") - {CARL}
    send(people, user_models("carl"))
    save_access(people, "fake-a", {CARL, BOB})
    if by == "model":
        (outcome,) = send(people, model("fake-a"))
        assert outcome["status"] == "WARNING" and "written again" in outcome["message"]
        assert "brought back" in outcome["message"]
    else:
        more = ["fake-b"] if has_grants(people) else []
        changed = (team_models("blue", "fake-a", *more), user_models("alice", "fake-a", *more))
        scoped = team_models("red", scopes=(scope("1", ["bob"], "fake-a", *more),))
        outcomes = send(people, *changed, model_set("s1", "fake-a", *more), scoped, user_models("carl", *more))
        assert [outcome["status"] for outcome in outcomes] == ["SUCCESS"] * 4 + ["WARNING"]
        assert all("written again: fake-a" in outcome["message"] for outcome in outcomes[:4])
    assert readers(people, "fake-a") == kept | {BOB} and returned(people) == set()
    # All of it is the bridge's again, but for what was made by hand.
    send(people, team_models("blue"), user_models("alice"), model_set("s1"), team_models("red"))
    assert readers(people, "fake-a") == {BOB}


def test_a_membership_that_somebody_drops_or_brings_back_is_put_right(people: Pair) -> None:
    scoped = team_models("blue", scopes=(scope("1", ["bob"], "fake-a"),))
    send(people, model("fake-a"), model_set("s1", "fake-a"), user_models("alice", sets=("s1",)), scoped)
    for group in ("grp_models_s1", "grp_scope_1"):
        _remove_members(people, group)
    assert returned(people) == {("user_models", "alice"), ("team_models", "blue")}
    send(people, user_models("alice", sets=("s1",)), scoped)
    assert members(people, "grp_models_s1") == ["usr_alice"] and members(people, "grp_scope_1") == ["usr_bob"]
    send(people, user_models("alice"), team_models("blue", scopes=(scope("1", [], "fake-a"),)))
    openwebui.add_member(people, "grp_models_s1", "usr_alice")
    openwebui.add_member(people, "grp_scope_1", "usr_bob")
    openwebui.add_member(people, "grp_models_s1", "usr_carl")
    assert returned(people) == {("user_models", "alice"), ("team_models", "blue")}
    send(people, user_models("alice"), team_models("blue", scopes=(scope("1", [], "fake-a"),)))
    assert members(people, "grp_models_s1") == ["usr_carl"] and members(people, "grp_scope_1") == []


def _remove_members(pair: Pair, group: str) -> None:
    if openwebui.has_member_table(pair):
        pair.openwebui.run("DELETE FROM group_member WHERE group_id = %s", [group])
    else:
        pair.openwebui.run("UPDATE \"group\" SET user_ids = '[]' WHERE id = %s", [group])


@OLDEST
def test_other_keys_and_lists_of_access_control_stay(people: Pair) -> None:
    kept = {"write": {"group_ids": ["g"], "user_ids": ["u"]}, "more": 1}
    given = {"read": {"group_ids": ["h"], "user_ids": [], "also": 2}, **kept}
    add_row(people, "fake-a", set())
    people.openwebui.run("UPDATE model SET access_control = %s", [json.dumps(given)])
    send(people, model("fake-a"), user_models("alice", "fake-a"), team_models("blue", "fake-a"))
    both = {"group_ids": ["h", "grp_team_blue"], "user_ids": ["usr_alice"], "also": 2}
    assert access(people, "fake-a") == {"read": both, **kept}
    send(people, user_models("alice"), team_models("blue"))
    assert access(people, "fake-a") == given


@OLDEST
@pytest.mark.parametrize("value", ["{}", '{"read": null}', '{"read": {"group_ids": null}}', '{"write": {}}', "[]", "3"])
def test_an_odd_access_control_is_filled_or_left_alone_and_never_opened(people: Pair, value: str) -> None:
    add_row(people, "fake-a", set())
    people.openwebui.run("UPDATE model SET access_control = %s", [value])
    send(people, model("fake-a"), user_models("alice", "fake-a"))
    now = access(people, "fake-a")
    if isinstance(json.loads(value), dict):
        assert now["read"]["user_ids"] == ["usr_alice"] and now["read"]["group_ids"] == []
    else:
        assert now == json.loads(value)
    send(people, user_models("alice"))
    assert access(people, "fake-a") not in (None, "null")


# Open WebUI reads them, PostgreSQL's jsonb does not.
UNREADABLE = {"a NUL": '"\\u0000"', "a lone surrogate": '"\\ud800"', "a number out of range": "1e999999"}


@OLDEST
@pytest.mark.parametrize("odd", UNREADABLE.values(), ids=UNREADABLE)
def test_an_access_control_that_cannot_be_read_keeps_nobody_in(people: Pair, odd: str) -> None:
    readable = '{"read": {"group_ids": ["grp_team_blue"], "user_ids": ["usr_alice", "usr_bob"]}, "more": %s}'

    def make_unreadable() -> None:
        people.openwebui.run("UPDATE model SET access_control = %s", [readable % odd])

    send(people, model("fake-a"), user_models("alice", "fake-a"), team_models("blue", "fake-a"))
    make_unreadable()
    send(people, user_models("alice"))
    assert readers(people, "fake-a") == set()
    make_unreadable()
    send(people, user_models("alice", "fake-a"), team_models("blue", "fake-a"))
    assert readers(people, "fake-a") == {ALICE, BLUE}
    make_unreadable()
    send(people, model("fake-a", gone=True))
    assert readers(people, "fake-a") == set()


@OLDEST
def test_a_row_that_cannot_be_read_stays_without_its_model(people: Pair) -> None:
    """Whom an administrator lets in there has it from him: the bridge had granted nothing."""
    send(people, model("fake-a"))
    kept = '{"read": {"group_ids": [], "user_ids": ["usr_bob"]}, "more": "\\u0000"}'
    people.openwebui.run("UPDATE model SET access_control = %s", [kept])
    send(people, model("fake-a", gone=True))
    assert people.openwebui.value("SELECT access_control::text FROM model WHERE id = 'fake-a'") == kept


@OLDEST
def test_a_taken_model_that_cannot_be_read_is_not_given_back(people: Pair) -> None:
    change_settings(people, model_takeover=True)
    add_row(people, "fake-a", {PUBLIC})
    send(people, model("fake-a"))
    people.openwebui.run("UPDATE model SET access_control = %s", ['{"more": "\\u0000"}'])
    people.openwebui_admin.rows("SELECT * FROM user_bridge.remove_data()")
    assert access(people, "fake-a") is not None


# Models that somebody made public


def test_a_public_model_stays_public_and_is_reported(people: Pair) -> None:
    add_row(people, "fake-a", {PUBLIC})
    (outcome,) = send(people, model("fake-a"))
    assert outcome["status"] == "SUCCESS" and "public" in outcome["message"]
    send(people, user_models("alice", "fake-a"), team_models("blue", "fake-a"))
    assert PUBLIC in readers(people, "fake-a") and report(people)["public"] == ["fake-a"] and returned(people) == set()
    send(people, user_models("alice"), model("fake-a", gone=True))
    assert readers(people, "fake-a") == {PUBLIC}


def test_a_public_model_that_somebody_makes_private_has_its_grants(people: Pair) -> None:
    add_row(people, "fake-a", {PUBLIC})
    send(people, model("fake-a"), user_models("alice", "fake-a"))
    save_access(people, "fake-a", set())
    assert returned(people) == {("user_models", "alice")}
    send(people, user_models("alice", "fake-a"))
    assert readers(people, "fake-a") == {ALICE}


@OLDEST
def test_a_json_null_is_public_too(people: Pair) -> None:
    add_row(people, "fake-a", {PUBLIC})
    people.openwebui.run("UPDATE model SET access_control = 'null'")
    send(people, model("fake-a"), user_models("alice", "fake-a"))
    assert report(people)["public"] == ["fake-a"]
    change_settings(people, model_takeover=True)
    send(people, model("fake-a"))
    assert readers(people, "fake-a") == {ALICE}


def test_a_takeover_takes_it_and_removal_gives_it_back(people: Pair) -> None:
    change_settings(people, model_takeover=True)
    add_row(people, "fake-a", {PUBLIC})
    before = row(people, "fake-a")
    (outcome,) = send(people, model("fake-a"))
    assert "taken over" in outcome["message"] and readers(people, "fake-a") == set()
    send(people, user_models("alice", "fake-a"))
    assert readers(people, "fake-a") == {ALICE} and report(people)["taken_over"] == ["fake-a"]
    # Blocking a model must not open it.
    send(people, model("fake-a", gone=True))
    assert readers(people, "fake-a") == set()
    send(people, model("fake-a"))
    assert removed(people)["models"] == (0, 1)
    assert readers(people, "fake-a") == {PUBLIC} and row(people, "fake-a") == before


def test_removal_gives_back_a_model_that_litellm_no_longer_serves(people: Pair) -> None:
    change_settings(people, model_takeover=True)
    add_row(people, "fake-a", {PUBLIC})
    send(people, model("fake-a"))
    send(people, model("fake-a", gone=True))
    removed(people)
    assert readers(people, "fake-a") == {PUBLIC}


def test_switching_the_feature_off_gives_back_what_a_takeover_took(people: Pair) -> None:
    change_settings(people, model_takeover=True)
    add_row(people, "fake-a", {PUBLIC})
    send(people, *models("fake-a", "fake-b"), user_models("alice", "fake-a"), model_set("s1", "fake-a"))
    change_settings(people, model_access=False)
    send(people, *(model(name, gone=True) for name in ("fake-a", "fake-b")), model_set("s1", gone=True))
    send(people, user_models("alice", gone=True))
    assert rows_of(people) == {"fake-a"} and readers(people, "fake-a") == {PUBLIC}
    for table in ("model_grant", "model_group", "model_member", "model_taken_over"):
        assert people.openwebui_admin.value(f"SELECT count(*) FROM user_bridge.{table}") == 0


def test_what_was_granted_by_hand_outlives_a_takeover_that_comes_again(people: Pair) -> None:
    wanted = (model("fake-a"), team_models("blue", "fake-a"), user_models("alice", "fake-a"))
    gone = (model("fake-a", gone=True), team_models("blue", gone=True), user_models("alice", gone=True))
    # Of what is public an older version keeps no list.
    by_hand = {ALICE, CARL} if has_grants(people) else set()
    add_row(people, "fake-a", {PUBLIC, *by_hand})
    for _ in range(2):
        change_settings(people, model_access=True, model_takeover=True)
        send(people, *wanted)
        assert readers(people, "fake-a") == by_hand | {BLUE, ALICE} and returned(people) == set()
        send(people, user_models("alice"))
        # An administrator's page, and then a stale one.
        loaded = readers(people, "fake-a")
        assert loaded == by_hand | {BLUE}
        by_hand |= {BOB}
        save_access(people, "fake-a", loaded | {BOB})
        send(people, team_models("blue"))
        save_access(people, "fake-a", loaded | {BOB})
        send(people, team_models("blue"))
        assert readers(people, "fake-a") == by_hand and returned(people) == set()
        change_settings(people, model_access=False)
        send(people, *gone)
        # Where a list says who may see it, it cannot be everybody's, too.
        assert readers(people, "fake-a") == by_hand | ({PUBLIC} if has_grants(people) else set())
        assert people.openwebui_admin.value("SELECT count(*) FROM user_bridge.model_taken_over") == 0


def test_a_taken_model_whose_row_is_gone_is_not_given_back(people: Pair) -> None:
    """An administrator has deleted it: nothing is left that everybody could see."""
    change_settings(people, model_takeover=True)
    add_row(people, "fake-a", {PUBLIC})
    send(people, model("fake-a"))
    people.openwebui.run("DELETE FROM model WHERE id = 'fake-a'")
    change_settings(people, model_access=False)
    (outcome,) = send(people, model("fake-a", gone=True))
    assert outcome["status"] == "SUCCESS"
    assert rows_of(people) == set() and report(people)["taken_over"] == []


def test_a_page_that_makes_a_taken_model_public_is_noticed(people: Pair) -> None:
    change_settings(people, model_takeover=True)
    add_row(people, "fake-a", {PUBLIC})
    send(people, model("fake-a"))
    marks = ask(people, marks_of="model", after=[], limit=10, buckets=list(range(1024)))["marks"]
    save_access(people, "fake-a", {PUBLIC})
    assert ask(people, marks_of="model", after=[], limit=10, buckets=list(range(1024)))["marks"] != marks
    send(people, model("fake-a"))
    assert readers(people, "fake-a") == set()
    assert ask(people, marks_of="model", after=[], limit=10, buckets=list(range(1024)))["marks"] == marks


# The upgrade from access_control to access_grant


@OLDEST
def test_nobody_sees_more_while_open_webui_is_upgraded(pair: Pair) -> None:
    install_bridge(pair, {"initial_password": "none", "model_access": True})
    add_row(pair, "public", {PUBLIC})
    add_row(pair, "mine", {CARL})
    wanted = (team_models("blue", "fake-a"), model_set("s1", "fake-a", "fake-b"), user_models("bob", sets=("s1",)))
    send(peopled(pair), *models("fake-a", "fake-b", "public", "mine"), *wanted)
    allowed: dict[str, Readers] = {
        "public": {PUBLIC},
        "mine": {CARL},
        "fake-a": {ALICE, BLUE, SET},
        "fake-b": {ALICE, SET},
    }
    reader = pair.connect("openwebui")

    def deliver(step: int) -> None:
        reply = attempt(
            pair, model(f"new-{step}"), user_models("alice", "fake-a", *["fake-b"] * (step % 2), f"new-{step}")
        )
        # While a migration has the tables everything waits for it, and is delivered again.
        assert {each["status"] for each in reply["items"]} <= {"SUCCESS", "DEFERRED"}, reply

    def watch(_step: int) -> None:
        seen = seen_by(reader)
        unknown = {ALICE} if any(name.startswith("new-") for name in seen) else set()
        wider = {name: who - allowed.get(name, unknown) for name, who in seen.items()}
        assert not any(wider.values()), wider

    with Background(deliver) as deliveries, Background(watch) as watched:
        migrate_openwebui(pair.login("openwebui"), "new", revision="a1b2c3d4e5f6")
        deliveries.await_steps(10)
        watched.await_steps(10)
    assert has_grants(pair)
    send(pair, user_models("alice", "fake-b"))
    now = {name: readers(pair, name) for name in allowed}
    assert now == {"public": {PUBLIC}, "mine": {CARL}, "fake-a": {BLUE, SET}, "fake-b": {ALICE, SET}}
    assert returned(pair) == set()
    send(pair, team_models("blue"), model_set("s1", "fake-b"), model("fake-b", gone=True))
    assert readers(pair, "fake-a") == set() == readers(pair, "fake-b")


def attempt(pair: Pair, *items: Item) -> Any:
    """One request, or what the bridge makes of it when the tables are not free."""
    payload = {"version": 1_000_000_000_000_000 + next(_VERSIONS), "txid": "1", "budget_ms": 200, "items": list(items)}
    try:
        return pair.sync_user.value("SELECT user_bridge.apply(%s)", [request(pair, payload)])
    except psycopg2.errors.LockNotAvailable:
        return {"items": [{"status": "DEFERRED"} for _item in items]}


def seen_by(session: Session) -> dict[str, Readers]:
    """Who may read which model, by whichever of the two there is at this moment."""
    seen: dict[str, Readers] = {}
    try:
        found = session.rows(
            "SELECT resource_id, principal_type, principal_id FROM access_grant WHERE permission = 'read'"
        )
        for each in found:
            seen.setdefault(each["resource_id"], set()).add((each["principal_type"], each["principal_id"]))
    except psycopg2.errors.UndefinedTable:
        # It may go just now.
        with contextlib.suppress(psycopg2.errors.UndefinedColumn):
            for each in session.rows("SELECT id, access_control FROM model"):
                lists = each["access_control"]
                seen[each["id"]] = {PUBLIC} if lists is None else _listed(lists)
    return seen


def _listed(lists: Any) -> Readers:
    return {(kind, name) for kind in ("group", "user") for name in lists["read"][f"{kind}_ids"]}


# Removal


def test_removal_takes_all_that_the_bridge_made(people: Pair) -> None:
    openwebui.add_account(people, "by-hand", "hand@example.com")
    add_row(people, "mine", {("user", "by-hand")})
    send(
        people,
        *models("fake-a", "mine"),
        model_set("s1", "fake-a", "mine"),
        user_models("alice", "fake-a", "mine", sets=("s1",)),
        team_models("blue", "fake-a", scopes=(scope("1", ["bob"], "mine"),)),
    )
    assert removed(people) == {"models": (1, 1), "groups": (2, 0), "accounts": (3, 0)}
    assert rows_of(people) == {"mine"} and readers(people, "mine") == {("user", "by-hand")}
    assert openwebui.groups(people) == {}
    if has_grants(people):
        assert people.openwebui.value("SELECT count(*) FROM access_grant WHERE resource_id = 'fake-a'") == 0


# Late, repeated, many at once


def test_a_late_delivery_changes_nothing(people: Pair) -> None:
    send(people, model("fake-a"), team_models("blue", "fake-a"))
    payload = {"version": 1, "txid": "1", "budget_ms": 1000, "items": [team_models("blue")]}
    reply = people.sync_user.value("SELECT user_bridge.apply(%s)", [request(people, payload)])
    assert reply["items"][0]["status"] == "FAILED" and readers(people, "fake-a") == {BLUE}


def test_many_end_as_they_would_one_by_one(quick: Pair) -> None:
    change_settings(quick, model_access=True)
    names = [f"u{number:02}" for number in range(40)]
    people_first = [user(name) for name in names if name > "u10"]
    rights = [user_models(name, *(["fake-a", "nowhere"] if name < "u20" else []), sets=("s1",)) for name in names]
    send(quick, *models("fake-a"), model_set("s1", "fake-a"), user_models("u30"), *people_first)
    send(quick, *rights)
    send(quick, *(user(name) for name in names))
    assert readers(quick, "fake-a") == {SET, *(("user", f"usr_{name}") for name in names if name < "u20")}
    assert members(quick, "grp_models_s1") == [f"usr_{name}" for name in names]
    assert returned(quick) == set()
    send(quick, *(user_models(name) for name in names))
    assert readers(quick, "fake-a") == {SET} and members(quick, "grp_models_s1") == []


# What comparison sees


def test_states_are_what_litellms_side_wants(people: Pair) -> None:
    items = [
        *models("fake-a", "fake-b"),
        model_set("s1", "fake-a", "fake-b"),
        team_models("blue", "fake-b", "unknown"),
        team_models("red", scopes=(scope("2", ["bob", "nobody"], "fake-a"), scope("1", [], "fake-b"))),
        team_models("empty"),
        user_models("alice", "fake-a", "unknown", sets=("s1",)),
        user_models("bob"),
        user_models("nobody", "fake-a"),
    ]
    outcomes = send(people, *items)
    suspects = [{**item, "mapped": outcome.get("openwebui_id")} for item, outcome in zip(items, outcomes, strict=True)]
    assert ask(people, suspects=suspects)["suspects"] == []
    save_access(people, "fake-a", set())
    found = {items[place - 1]["id"] for place in ask(people, suspects=suspects)["suspects"]}
    assert found == {"s1", "red", "alice"}


def test_a_preview_says_what_would_change_and_changes_nothing(people: Pair) -> None:
    send(people, *models("fake-a", "fake-b"), team_models("blue", "fake-a"))
    items = [team_models("blue", "fake-b"), user_models("alice", "fake-b"), model("fake-c")]
    previews = ask(people, preview=items, version=9_223_372_036_854_775_807)["preview"]
    assert [each["before"] for each in previews] == [{"team": ["fake-a"]}, None, None]
    assert [each["after"] for each in previews[:2]] == [
        {"team": ["fake-b"]},
        {"models": ["fake-b"], "sets": [], "disturbed": False},
    ]
    assert previews[2]["after"]["exists"] is True
    assert readers(people, "fake-a") == {BLUE} and readers(people, "fake-b") == set() and len(rows_of(people)) == 2


# From LiteLLM's rows to grants and back


@pytest.mark.schemas(litellm="all", openwebui="all")
def test_the_lookout_puts_right_what_a_page_did_and_nothing_else(quick: Pair) -> None:
    change_settings(quick, model_access=True)
    for name in ("fake-a", "fake-b"):
        add_model(quick.litellm, name)
    rows.add_user(quick.litellm, "wide", "wide@example.com")
    for name in ("narrow", "other"):
        rows.add_user(quick.litellm, name, f"{name}@example.com", models=["fake-a", "fake-b"])
    rows.add_team(quick.litellm, "blue", models=["fake-a"], members_with_roles=litellm_members("narrow", "other"))
    if has_scopes(quick):
        add_scope(quick.litellm, "blue", "other", ["fake-b"])
    drain(quick)
    narrow, other = ("user", "usr_narrow"), ("user", "usr_other")
    loaded = readers(quick, "fake-b")
    assert {narrow, other} < loaded and len(loaded) == 3
    assert looked_out(quick) == 0 and differences(quick) == []
    rows.change_user(quick.litellm, "narrow", models=["fake-a"])
    kept = readers(quick, "fake-a")
    save_access(quick, "fake-b", loaded)
    save_access(quick, "fake-a", set())
    assert {each["entity_type"] for each in differences(quick)} == {"user_models", "team_models", "model_set"}
    assert looked_out(quick) == len(kept)
    assert readers(quick, "fake-a") == kept and readers(quick, "fake-b") == loaded - {narrow}
    audit = "SELECT error_message FROM user_bridge.sync_audit WHERE record_id = 'narrow' AND sync_result = 'WARNING'"
    (warning,) = quick.litellm_admin.rows(audit)
    assert "brought back" in warning["error_message"] and "written again" in warning["error_message"]
    assert looked_out(quick) == 0 and differences(quick) == []


@pytest.mark.schemas(openwebui="all")
def test_the_next_change_brings_a_deleted_row_back(quick: Pair) -> None:
    change_settings(quick, model_access=True)
    for name in ("fake-a", "fake-b"):
        add_model(quick.litellm, name)
    rows.add_user(quick.litellm, "alice", "alice@example.com", models=["fake-a"])
    rows.add_team(quick.litellm, "blue", models=["fake-a"], members_with_roles=litellm_members("alice"))
    drain(quick)
    for change in (
        lambda: rows.change_user(quick.litellm, "alice", models=["fake-a", "fake-b"]),
        lambda: rows.change_team(quick.litellm, "blue", models=["fake-a", "fake-b"]),
        lambda: rows.add_user(quick.litellm, "bob", "bob@example.com", models=["fake-a"]),
    ):
        delete_row(quick, "fake-a")
        change()
        drain(quick)
        assert {ALICE, BLUE} <= readers(quick, "fake-a")
    assert BOB in readers(quick, "fake-a") and looked_out(quick) == 0 and differences(quick) == []


def has_scopes(pair: Pair) -> bool:
    sql = "SELECT 1 FROM information_schema.columns WHERE column_name = 'allowed_models'"
    return pair.litellm.value(sql) == 1


def looked_out(pair: Pair) -> int:
    """How many entities a lookout found, which are delivered again."""
    done = pair.litellm_admin.rows("SELECT * FROM user_bridge.maintain()")
    drain(pair)
    return next(each["done"] for each in done if each["task"] == "changes in Open WebUI queued for repair")


def differences(pair: Pair) -> list[dict[str, Any]]:
    return pair.litellm_admin.rows("SELECT entity_type, entity_id, field FROM user_bridge.reconcile(false)")


# Reports


def test_who_was_put_into_a_group_for_rights_by_others_is_counted(people: Pair) -> None:
    """As Open WebUI's single sign-on does it, by the name of a group that a token brings."""
    send(people, model("fake-a"), model_set("s1", "fake-a"), user_models("alice", sets=("s1",)))
    send(people, team_models("blue", scopes=(scope("1", ["bob"], "fake-a"),)))
    # A team's own group is an ordinary one.
    openwebui.add_member(people, "grp_team_blue", "usr_carl")
    assert report(people)["added"] == []
    by_name = """SELECT id FROM "group" WHERE name = %s"""
    openwebui.add_member(people, people.openwebui.value(by_name, ["LiteLLM models: s1"]), "usr_carl")
    openwebui.add_member(people, "grp_scope_1", "usr_alice")
    openwebui.add_member(people, "grp_scope_1", "usr_carl")
    people.openwebui.run("""UPDATE "user" SET role = 'pending' WHERE id = 'usr_alice'""")
    names = {"LiteLLM models: s1": 1, "scope 1": 1}
    assert report(people)["added"] == [{"group_name": name, "people": number} for name, number in names.items()]
    # Who is in it by right as well is the bridge's.
    send(people, user_models("carl", sets=("s1",)))
    assert [each["group_name"] for each in report(people)["added"]] == ["scope 1"]


def test_the_report_counts_and_names(people: Pair) -> None:
    add_row(people, "fake-p", {PUBLIC})
    send(people, *models("fake-a", "fake-b", "fake-p"), model_set("s1", "fake-a"))
    send(people, user_models("alice", "fake-a", "unknown", sets=("s1",)))
    people.openwebui.run("UPDATE model SET is_active = false WHERE id = 'fake-b'")
    add_row(people, "preset", {CARL, ALICE}, base_model_id="fake-a")
    add_row(people, "fine", {ALICE}, base_model_id="fake-a")
    assert report(people) == {
        "models": 3,
        "made": 2,
        "grants": 2,
        "not_written": 1,
        "groups": 1,
        "members": 1,
        "public": ["fake-p"],
        "owned": [],
        "added": [],
        "taken_over": [],
        "presets": [],
        "switched_off": ["fake-b"],
        "wider_presets": [{"preset": "preset", "base": "fake-a", "people": 1}],
    }


def test_who_owns_the_row_of_a_model_and_is_no_administrator_is_named(people: Pair) -> None:
    """Whoever may make models can take a name before LiteLLM has it, and Open WebUI lets owners use what is theirs."""
    add_row(people, "mine", set(), user_id="usr_bob")
    (outcome,) = send(people, model("mine"))
    assert outcome.get("message") == "it belongs to the account usr_bob, who sees it without a grant"
    assert report(people)["owned"] == [{"model_id": "mine", "account": "usr_bob"}]
    found = explain(people, "bob", "mine")
    assert found["sees"] and found["ways"] == ["the model's row belongs to the person"]
    assert not explain(people, "alice", "mine")["sees"]
    add_row(people, "ours", set())
    (outcome,) = send(people, model("ours"))
    assert "message" not in outcome and len(report(people)["owned"]) == 1


def explain(pair: Pair, name: str, model_name: str) -> dict[str, Any]:
    found = ask(pair, explain_model={"user": name, "model": model_name})["explain"]
    assert isinstance(found, dict)
    return found


def test_an_explanation_says_what_opens_a_model_and_what_is_in_the_way(people: Pair) -> None:
    send(people, *models("fake-a", "fake-b"), user_models("alice", "fake-a"), team_models("blue", "fake-a"))
    openwebui.add_member(people, "grp_team_blue", "usr_alice")
    both = ['a grant to the group "blue"', "a grant to the person"]
    assert explain(people, "alice", "fake-a") == {
        "sees": True,
        "account": "usr_alice",
        "row": "fake-a",
        "ways": both,
        "reasons": [],
    }
    people.openwebui.run("UPDATE model SET is_active = false WHERE id = 'fake-a'")
    assert not explain(people, "alice", "fake-a")["sees"]
    assert explain(people, "alice", "fake-a")["reasons"] == ["hidden by an administrator's toggle"]
    assert explain(people, "alice", "fake-b")["reasons"] == ["no grant reaches the account"]
    assert explain(people, "alice", "gone")["reasons"] == [
        "no row: only administrators see it, and only if the connection lists it"
    ]
    assert explain(people, "nobody", "fake-b")["reasons"] == ["no account in Open WebUI stands for this person"]
    save_access(people, "fake-b", {PUBLIC})
    assert explain(people, "alice", "fake-b")["ways"] == ["public: somebody has let everybody see it"]


@NEWEST
def test_a_grant_to_a_parent_reaches_the_members_of_its_children(people: Pair) -> None:
    send(people, {"type": "organization", "id": "o1", "desired": {"openwebui_id": "grp_o1", "name": "Acme"}})
    blue = team("blue")
    blue["desired"]["organization_id"] = "o1"
    send(people, blue, model("fake-a"))
    openwebui.add_member(people, "grp_team_blue", "usr_alice")
    save_access(people, "fake-a", {("group", "grp_o1")})
    assert explain(people, "alice", "fake-a")["ways"] == ['a grant to the group "Acme"']
    assert not explain(people, "bob", "fake-a")["sees"]
