# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""JSON that PostgreSQL cannot read, as anybody can store over Open WebUI's API, stops nothing and protects nobody."""

from __future__ import annotations

import json
import secrets
from typing import Any

import pytest

from kit import openwebui, rows
from kit.bridge import install_bridge
from kit.drains import drain_all
from kit.pairs import Pair
from test_mapping import members
from test_reconcile import found

EVERY_OPEN_WEBUI = pytest.mark.schemas(openwebui="all")
OLD_OPEN_WEBUI = pytest.mark.schemas(openwebui="old")

# PostgreSQL's json takes them as Python does, jsonb only the first few.
VALUES = {
    "an array": "[1]",
    "a text": '"text"',
    "null": "null",
    "a key twice": '{"user_bridge": 1, "user_bridge": {"original_role": ["x"]}}',
    "deep": '{"x": ' + "[" * 3000 + "]" * 3000 + "}",
    "NUL": '{"x": "a\\u0000b"}',
    "NUL in a key": '{"a\\u0000b": 1}',
    "NUL in the bridge's part": '{"user_bridge": {"original_role": "\\u0000"}}',
    "a lone surrogate": '{"x": "\\ud800"}',
    "a number out of range": '{"x": 1e999999}',
    "long": json.dumps({"x": secrets.token_hex(200_000)}),
}
# A text up to Open WebUI 0.6.40.
TEXTS = {"empty": "", "no JSON": "{", "deeper": '{"x": ' + "[" * 100_000 + "]" * 100_000 + "}"}
UNREADABLE = ["NUL", "a lone surrogate", "a number out of range"]


def store(pair: Pair, table: str, column: str, row_id: str, value: str) -> None:
    assert pair.openwebui.run(f'UPDATE "{table}" SET "{column}" = %s WHERE id = %s', [value, row_id]) == 1


def bridges_part(pair: Pair, account_id: str) -> Any:
    return pair.openwebui.value("SELECT info::jsonb -> 'user_bridge' FROM \"user\" WHERE id = %s", [account_id])


def account(pair: Pair, account_id: str) -> tuple[str, bool] | None:
    """Role, and whether the sign-in is open."""
    seen = pair.openwebui.rows(
        'SELECT u.role, a.active FROM "user" u JOIN auth a USING (id) WHERE u.id = %s', [account_id]
    )
    return (seen[0]["role"], seen[0]["active"]) if seen else None


@EVERY_OPEN_WEBUI
@pytest.mark.parametrize("kind", VALUES)
def test_nobody_escapes_by_the_own_info(quick: Pair, kind: str) -> None:
    _try_to_escape(quick, VALUES[kind])


@OLD_OPEN_WEBUI
@pytest.mark.parametrize("kind", TEXTS)
def test_nobody_escapes_by_an_own_info_that_is_no_json(quick: Pair, kind: str) -> None:
    _try_to_escape(quick, TEXTS[kind])


@EVERY_OPEN_WEBUI
def test_an_info_that_takes_long_to_read_is_replaced_unread(quick: Pair) -> None:
    rows.add_user(quick.litellm, "eve", "eve@example.com", user_role="proxy_admin")
    store(quick, "user", "info", "usr_eve", VALUES["long"])
    rows.change_user(quick.litellm, "eve", user_role="internal_user")
    assert quick.openwebui.value("SELECT length(info::text) FROM \"user\" WHERE id = 'usr_eve'") < 100


def _try_to_escape(quick: Pair, value: str) -> None:
    rows.add_user(quick.litellm, "eve", "eve@example.com", user_role="proxy_admin")
    rows.add_user(quick.litellm, "bob", "bob@example.com")
    store(quick, "user", "info", "usr_eve", value)
    ((*seen, _stored, wanted),) = found(quick)
    assert (*seen, wanted) == ("user", "eve", "original_role", "proxy_admin")
    rows.change_user(quick.litellm, "eve", user_role="internal_user")
    assert account(quick, "usr_eve") == ("user", True)
    assert bridges_part(quick, "usr_eve") == {"original_role": "internal_user"}
    store(quick, "user", "info", "usr_eve", value)
    rows.change_user(quick.litellm, "eve", metadata={"scim_active": False})
    assert account(quick, "usr_eve") == ("pending", False)
    store(quick, "user", "info", "usr_eve", value)
    rows.delete_user(quick.litellm, "eve")
    assert account(quick, "usr_eve") is None
    assert account(quick, "usr_bob") == ("user", True)


@EVERY_OPEN_WEBUI
@pytest.mark.parametrize("kind", UNREADABLE)
def test_others_are_still_compared_and_repaired(quick: Pair, kind: str) -> None:
    for name in ("ann", "bob", "eve"):
        rows.add_user(quick.litellm, name, f"{name}@example.com", user_role="internal_user")
    for name in ("bob", "eve"):
        store(quick, "user", "info", f"usr_{name}", VALUES[kind])
    quick.openwebui.run("UPDATE \"user\" SET name = 'x' WHERE id IN ('usr_ann', 'usr_eve')")
    expected = {
        ("user", "ann", "name", "x", "ann"),
        ("user", "bob", "original_role", None, "internal_user"),
        ("user", "eve", "original_role", None, "internal_user"),
        ("user", "eve", "name", "x", "eve"),
    }
    assert found(quick, repair=True) == expected
    drain_all(quick)
    assert found(quick) == set()
    assert openwebui.accounts(quick)["ann@example.com"] == ("ann", "user")


def _columns(pair: Pair, table: str, *wanted: str) -> list[str]:
    """Those that this version has."""
    found = pair.openwebui.rows("SELECT attname AS name FROM pg_attribute WHERE attrelid = %s::regclass", [table])
    return [row["name"] for row in found if row["name"] in wanted]


@EVERY_OPEN_WEBUI
@pytest.mark.parametrize("kind", UNREADABLE)
def test_what_belongs_to_the_person_is_not_read(quick: Pair, kind: str) -> None:
    columns = _columns(quick, '"user"', "settings", "oauth", "scim", "variables", "bio", "status_message")
    assert "settings" in columns
    rows.add_user(quick.litellm, "eve", "eve@example.com", user_role="proxy_admin")
    for column in columns:
        store(quick, "user", column, "usr_eve", VALUES[kind])
    rows.change_user(quick.litellm, "eve", user_role="internal_user", metadata={"scim_active": False})
    assert account(quick, "usr_eve") == ("pending", False)
    assert found(quick) == set()
    for column in columns:
        kept = quick.openwebui.value(f"SELECT {column}::text FROM \"user\" WHERE id = 'usr_eve'")
        assert kept == VALUES[kind], column
    rows.delete_user(quick.litellm, "eve")
    assert account(quick, "usr_eve") is None


@EVERY_OPEN_WEBUI
@pytest.mark.parametrize("kind", UNREADABLE)
def test_a_group_that_cannot_be_read_stops_nothing(quick: Pair, kind: str) -> None:
    quick.openwebui.run("INSERT INTO \"group\" (id, user_id, name, description) VALUES ('hand', '', 'By hand', '')")
    rows.add_organization(quick.litellm, "o1", "Research")
    rows.add_team(quick.litellm, "t1", "Blue", organization_id="o1", members_with_roles=members("ann", "bob"))
    for name in ("ann", "bob"):
        rows.add_user(quick.litellm, name, f"{name}@example.com")
    for group in ("hand", "grp_team_t1"):
        for column in ("meta", "data", "permissions"):
            store(quick, "group", column, group, VALUES[kind])
    assert found(quick) == set()
    rows.delete_user(quick.litellm, "ann")
    assert account(quick, "usr_ann") is None
    rows.change_team(quick.litellm, "t1", team_alias="Red", members_with_roles=members("bob"))
    assert openwebui.groups(quick)["grp_team_t1"] == ("Red", ["usr_bob"])
    quick.openwebui.run("UPDATE \"group\" SET name = 'x' WHERE id = 'grp_team_t1'")
    assert found(quick) == {("team", "t1", "name", "x", "Red")}
    rows.delete_team(quick.litellm, "t1")
    assert "grp_team_t1" not in openwebui.groups(quick)
    assert quick.openwebui.value("SELECT meta::text FROM \"group\" WHERE id = 'hand'") == VALUES[kind]


LISTS = {
    "NUL": '["usr_bob", "a\\u0000b"]',
    "a lone surrogate": '["usr_bob", "\\ud800"]',
    "a number out of range": '["usr_bob", 1e999999]',
    "not only texts": '["usr_bob", null, 1, {"usr_ann": 1}]',
    "an object": '{"usr_bob": 1}',
    "null": "null",
    "deep": '["usr_bob", ' + "[" * 3000 + "]" * 3000 + "]",
}


@OLD_OPEN_WEBUI
@pytest.mark.parametrize("kind", LISTS)
def test_a_list_of_members_that_cannot_be_read_is_replaced(quick: Pair, kind: str) -> None:
    for team in ("t1", "t2"):
        rows.add_team(quick.litellm, team, team, members_with_roles=members("bob"))
    for name in ("ann", "bob"):
        rows.add_user(quick.litellm, name, f"{name}@example.com")
    store(quick, "group", "user_ids", "grp_team_t1", LISTS[kind])
    rows.change_team(quick.litellm, "t1", members_with_roles=members("ann", "bob"))
    stored = quick.openwebui.value("SELECT user_ids FROM \"group\" WHERE id = 'grp_team_t1'")
    assert "usr_ann" in stored
    assert {type(each) for each in stored} == {str}
    found(quick, repair=True)
    drain_all(quick)
    store(quick, "group", "user_ids", "grp_team_t1", LISTS[kind])
    rows.change_team(quick.litellm, "t1", members_with_roles=members("ann"))
    found(quick, repair=True)
    drain_all(quick)
    assert found(quick) == set()
    assert openwebui.groups(quick) == {"grp_team_t1": ("t1", ["usr_ann"]), "grp_team_t2": ("t2", ["usr_bob"])}


@OLD_OPEN_WEBUI
@pytest.mark.parametrize("named", ["usr_bob", "usr_böb"])
def test_no_list_keeps_a_deleted_account_that_would_stop_open_webuis_upgrade(pair: Pair, named: str) -> None:
    install_bridge(pair, {"initial_password": "none"})
    rows.add_user(pair.litellm, named.removeprefix("usr_"), "bob@example.com")
    for number, list_of_members in enumerate((json.dumps([named]), json.dumps([named, "\0"]), "[]", "null")):
        pair.openwebui.run(
            'INSERT INTO "group" (id, user_id, name, description, user_ids) VALUES (%s, %s, %s, %s, %s)',
            [f"hand{number}", "", "By hand", "", list_of_members],
        )
    rows.delete_user(pair.litellm, named.removeprefix("usr_"))
    lists = pair.openwebui.rows('SELECT user_ids::text AS list FROM "group"')
    assert {row["list"] for row in lists} == {"[]", "null"}


@EVERY_OPEN_WEBUI
def test_remove_data_goes_past_what_cannot_be_read(pair: Pair) -> None:
    install_bridge(pair, {"initial_password": "none"})
    rows.add_team(pair.litellm, "t1", "Blue", members_with_roles=members("ann", "bob"))
    for name in ("ann", "bob"):
        rows.add_user(pair.litellm, name, f"{name}@example.com")
    store(pair, "user", "info", "usr_ann", VALUES["NUL"])
    store(pair, "group", "meta", "grp_team_t1", VALUES["NUL"])
    pair.openwebui_admin.rows("SELECT * FROM user_bridge.remove_data()")
    assert (openwebui.accounts(pair), openwebui.groups(pair)) == ({}, {})


@EVERY_OPEN_WEBUI
def test_remove_data_goes_past_what_cannot_be_deleted(pair: Pair) -> None:
    install_bridge(pair, {"initial_password": "none"})
    for name in ("ann", "bob"):
        rows.add_user(pair.litellm, name, f"{name}@example.com")
    pair.openwebui.run('CREATE TABLE bookmark (user_id text REFERENCES "user" (id))')
    pair.openwebui.run("INSERT INTO bookmark VALUES ('usr_ann')")
    removed = pair.openwebui_admin.rows("SELECT * FROM user_bridge.remove_data()")
    assert {"kind": "accounts", "removed": 1, "kept": 1} in removed
    assert set(openwebui.accounts(pair)) == {"ann@example.com"}


def _make_unreadable(pair: Pair, account_id: str) -> None:
    """From now on PostgreSQL finds something wrong with this account."""
    function = pair.openwebui_admin.value(
        "SELECT pg_get_functiondef('user_bridge.state_of_user(user_bridge.entity[])'::regprocedure)"
    )
    read = "'name', u.name"
    assert function.count(read) == 1
    fails = f"'name', CASE u.id WHEN '{account_id}' THEN (1 / length(left(u.id, 0)))::text ELSE u.name END"
    pair.openwebui_admin.run(function.replace(read, fails))


@EVERY_OPEN_WEBUI
def test_an_entity_whose_state_cannot_be_read_is_a_difference_of_its_own(pair: Pair) -> None:
    install_bridge(pair, {"initial_password": "none"})
    _make_unreadable(pair, "usr_ann")
    names = ("ann", "bob", "cem", "dan", "eve")
    for name in names:
        rows.add_user(pair.litellm, name, f"{name}@example.com")
    unreadable = ("user", "ann", "error", "division by zero", None)
    assert found(pair) == {unreadable}
    pair.openwebui.run("UPDATE \"user\" SET name = 'x' WHERE id = 'usr_dan'")
    assert found(pair, repair=True) == {unreadable, ("user", "dan", "name", "x", "dan")}
    drain_all(pair)
    assert found(pair) == {unreadable}
    previews = pair.litellm_admin.rows(
        "SELECT * FROM user_bridge.preview(array_fill('user'::text, ARRAY[5]), %s)", [list(names)]
    )
    assert {row["entity_id"]: row["result"] for row in previews} == {
        **dict.fromkeys(names, "SUCCESS"),
        "ann": "FAILED",
    }
