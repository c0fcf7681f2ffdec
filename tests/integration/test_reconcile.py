# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""reconcile() and preview(): every difference by entity and field, no false alarm, repair of the bridge's own."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any

import psycopg2
import pytest

from hard_support import threads
from kit import model_rows, openwebui, rows
from kit.bridge import copy_prepared, install_bridge
from kit.drains import drain_all, drain_on
from kit.oracle import differences as oracle_differences
from kit.pairs import Pair
from kit.story import tell
from test_delivery import drain

EVERY_OPEN_WEBUI = pytest.mark.schemas(openwebui="all", older="weekly")
Difference = tuple[str, str, str, Any, Any]


def found(pair: Pair, repair: bool = False) -> set[Difference]:
    query = "SELECT * FROM user_bridge.reconcile(%s)"
    return {_plain(row) for row in pair.litellm_admin.rows(query, [repair])}


def _plain(row: dict[str, Any]) -> Difference:
    values = [str(value) if isinstance(value, (dict, list)) else value for value in (row["openwebui"], row["litellm"])]
    return (row["entity_type"], row["entity_id"], row["field"], values[0], values[1])


def sync(pair: Pair) -> Pair:
    install_bridge(pair, {"initial_password": "none"})
    rows.add_organization(pair.litellm, "o1", "Research")
    rows.add_team(
        pair.litellm, "t1", "Blue", organization_id="o1", members_with_roles=[{"user_id": "u1", "role": "user"}]
    )
    rows.add_user(pair.litellm, "u1", "ann@example.com", user_alias="Ann", team_id="t1")
    rows.add_user(pair.litellm, "u2", "bob@example.com", user_role="proxy_admin")
    rows.add_user(pair.litellm, "u3", None)
    rows.join_organization(pair.litellm, "o1", "u2")
    rows.add_key(pair.litellm, "hash-of-a-key", "u1", models=["gpt-4"])
    drain(pair)
    assert found(pair) == set()
    return pair


@pytest.fixture
def synced(pair: Pair) -> Pair:
    copy_prepared(pair, sync)
    # A comparison that is called by itself opens no connection.
    pair.litellm_admin.run("SELECT user_bridge.drain(1, true)")
    return pair


def _by_hand(pair: Pair, statement: str) -> None:
    assert pair.openwebui.run(statement) == 1, statement


def _by_hand_twice(pair: Pair, statement: str) -> None:
    assert pair.openwebui.run(statement) == 2, statement


def _unnoticed(pair: Pair, statement: str) -> None:
    """LiteLLM's rows as a restore or a disabled trigger leaves them."""
    pair.litellm_admin.run("SET session_replication_role = replica")
    assert pair.litellm_admin.run(statement) == 1, statement
    pair.litellm_admin.run("RESET session_replication_role")


def _in_the_bridge(pair: Pair, statement: str) -> None:
    assert pair.litellm_admin.run(statement) == 1, statement


DRIFT: dict[str, tuple[Callable[[Pair, str], None], str, set[Difference]]] = {
    "account renamed": (
        _by_hand,
        "UPDATE \"user\" SET name = 'x' WHERE id = 'usr_u1'",
        {("user", "u1", "name", "x", "Blue-Ann")},
    ),
    "account promoted": (
        _by_hand,
        "UPDATE \"user\" SET role = 'admin' WHERE id = 'usr_u1'",
        {("user", "u1", "role", "admin", "user")},
    ),
    "email changed": (
        _by_hand,
        "UPDATE \"user\" SET email = 'x@example.com' WHERE id = 'usr_u1'",
        {("user", "u1", "email", "x@example.com", "ann@example.com")},
    ),
    "sign-in closed": (
        _by_hand,
        "UPDATE auth SET active = false WHERE id = 'usr_u1'",
        {("user", "u1", "active", False, True)},
    ),
    "sign-in gone": (
        _by_hand,
        "DELETE FROM auth WHERE id = 'usr_u1'",
        {("user", "u1", "active", None, True), ("user", "u1", "sign_in_email", None, "ann@example.com")},
    ),
    "account gone": (
        _by_hand,
        "DELETE FROM \"user\" WHERE id = 'usr_u2'",
        {("user", "u2", "exists", False, True)},
    ),
    "group renamed": (
        _by_hand,
        "UPDATE \"group\" SET name = 'x' WHERE id = 'grp_team_t1'",
        {("team", "t1", "name", "x", "Blue")},
    ),
    "user unknown to the bridge": (
        _unnoticed,
        "INSERT INTO \"LiteLLM_UserTable\" (user_id, user_email) VALUES ('u9', 'new@example.com')",
        {("user", "u9", "exists", False, True), ("user", "u9", "mapping", None, "usr_u9")},
    ),
    "user gone from LiteLLM": (
        _unnoticed,
        "DELETE FROM \"LiteLLM_UserTable\" WHERE user_id = 'u2'",
        {("user", "u2", "exists", True, False), ("user", "u2", "mapping", "usr_u2", None)},
    ),
    "membership gone from LiteLLM": (
        _unnoticed,
        "DELETE FROM \"LiteLLM_OrganizationMembership\" WHERE user_id = 'u2'",
        {("organization_member", '["o1", "u2"]', "exists", True, False)},
    ),
    "team moved": (
        _unnoticed,
        "UPDATE \"LiteLLM_TeamTable\" SET team_alias = 'Red' WHERE team_id = 't1'",
        {("team", "t1", "name", "Blue", "Red"), ("user", "u1", "name", "Blue-Ann", "Red-Ann")},
    ),
    "names exchanged": (
        _by_hand_twice,
        "UPDATE \"user\" SET name = CASE id WHEN 'usr_u1' THEN 'bob' ELSE 'Blue-Ann' END"
        " WHERE id IN ('usr_u1', 'usr_u2')",
        {("user", "u1", "name", "bob", "Blue-Ann"), ("user", "u2", "name", "Blue-Ann", "bob")},
    ),
    "mapping to somebody else": (
        _in_the_bridge,
        "UPDATE user_bridge.sync_mapping SET openwebui_id = 'usr_u2' WHERE litellm_type = 'user' AND litellm_id = 'u1'",
        {("user", "u1", "mapping", "usr_u2", "usr_u1")},
    ),
    "mapping lost": (
        _in_the_bridge,
        "DELETE FROM user_bridge.sync_mapping WHERE litellm_type = 'user' AND litellm_id = 'u1'",
        {("user", "u1", "mapping", None, "usr_u1")},
    ),
}


@EVERY_OPEN_WEBUI
@pytest.mark.parametrize("drift", DRIFT)
def test_each_difference_is_found_named_and_repaired(synced: Pair, drift: str) -> None:
    make, statement, expected = DRIFT[drift]
    make(synced, statement)
    seen = found(synced)
    assert expected <= seen
    # What an account takes with it comes with it: its memberships, its keys.
    related = {("organization_member", '["o1", "u2"]'), ("api_key",)}
    assert {each for each in seen - expected if each[:2] not in related and each[:1] not in related} == set()
    assert found(synced, repair=True) == seen
    drain_on(synced)
    assert found(synced) == set()
    assert oracle_differences(synced) == []


@EVERY_OPEN_WEBUI
def test_a_lost_membership_is_found_and_put_back(synced: Pair) -> None:
    if openwebui.has_member_table(synced):
        _by_hand(synced, "DELETE FROM group_member WHERE user_id = 'usr_u1'")
    else:
        _by_hand(synced, "UPDATE \"group\" SET user_ids = '[]' WHERE id = 'grp_team_t1'")
    assert found(synced, repair=True) == {("team_member", '["t1", "u1"]', "exists", False, True)}
    drain(synced)
    assert openwebui.groups(synced)["grp_team_t1"] == ("Blue", ["usr_u1"])


@EVERY_OPEN_WEBUI
def test_what_people_made_is_no_difference_and_stays(synced: Pair) -> None:
    openwebui.add_account(synced, "by-hand", "guest@example.com")
    openwebui.add_member(synced, "grp_o1", "by-hand")
    openwebui.add_member(synced, "grp_o1", "usr_u1")
    _by_hand(synced, "UPDATE \"user\" SET settings = '{\"ui\": 1}' WHERE id = 'usr_u1'")
    assert found(synced, repair=True) == set()
    drain(synced)
    assert openwebui.groups(synced)["grp_o1"][1] == ["by-hand", "usr_u1", "usr_u2"]
    assert "guest@example.com" in openwebui.accounts(synced)


def test_only_the_wanted_types_are_compared(synced: Pair) -> None:
    _by_hand(synced, "UPDATE \"user\" SET name = 'x' WHERE id = 'usr_u1'")
    _by_hand(synced, "UPDATE \"group\" SET name = 'x' WHERE id = 'grp_o1'")
    query = "SELECT * FROM user_bridge.reconcile(false, ARRAY['organization'])"
    assert {_plain(row) for row in synced.litellm_admin.rows(query)} == {
        ("organization", "o1", "name", "x", "Research")
    }


def test_without_repair_nothing_is_written_on_either_side(synced: Pair) -> None:
    _by_hand(synced, "UPDATE \"user\" SET name = 'x' WHERE id = 'usr_u1'")
    looker = synced.connect("litellm", "postgres", options="-c default_transaction_read_only=on")
    before = synced.openwebui_admin.rows("SELECT * FROM user_bridge.entity ORDER BY 1, 2")
    assert [_plain(row) for row in looker.rows("SELECT * FROM user_bridge.reconcile()")] == [
        ("user", "u1", "name", "x", "Blue-Ann")
    ]
    looker.rows("SELECT * FROM user_bridge.preview(ARRAY['user'], ARRAY['u1'])")
    assert synced.openwebui_admin.rows("SELECT * FROM user_bridge.entity ORDER BY 1, 2") == before
    assert openwebui.accounts(synced)["ann@example.com"] == ("x", "user")


def test_what_is_queued_is_on_its_way_and_no_difference(synced: Pair) -> None:
    synced.litellm_admin.run("SELECT user_bridge.pause()")
    rows.change_user(synced.litellm, "u1", user_alias="Anna")
    assert found(synced) == set()
    (row,) = synced.litellm_admin.rows("SELECT * FROM user_bridge.preview(ARRAY['user'], ARRAY['u1'])")
    assert _plain(row) == ("user", "u1", "name", "Blue-Ann", "Blue-Anna")


@EVERY_OPEN_WEBUI
def test_a_preview_says_what_would_happen_to_whom(synced: Pair) -> None:
    _unnoticed(synced, "INSERT INTO \"LiteLLM_UserTable\" (user_id, user_email) VALUES ('u8', 'ann@example.com')")
    _unnoticed(synced, "INSERT INTO \"LiteLLM_UserTable\" (user_id, user_email) VALUES ('u9', 'new@example.com')")
    previews = synced.litellm_admin.rows(
        "SELECT * FROM user_bridge.preview(ARRAY['user', 'user', 'user', 'user'], ARRAY['u1', 'u3', 'u8', 'u9'])"
    )
    assert {(row["entity_id"], row["field"], row["result"], row["message"]) for row in previews} == {
        ("u1", None, "SUCCESS", None),
        ("u3", None, "SKIPPED", "no email"),
        ("u8", None, "SKIPPED", "the email belongs to the older user u1"),
        ("u9", "exists", "SUCCESS", None),
        ("u9", "mapping", "SUCCESS", None),
    }


@EVERY_OPEN_WEBUI
def test_no_false_alarm_while_litellm_writes(pair: Pair) -> None:
    # A comparison that a busy machine keeps from ending is no alarm.
    install_bridge(pair, {"initial_password": "none", "removal_accounts": 1000000, "target_timeout_ms": 20_000})
    done = threading.Event()
    compared: list[set[Difference]] = []

    def compare() -> None:
        looker = pair.connect("litellm", "postgres")
        while not done.is_set():
            try:
                compared.append({_plain(row) for row in looker.rows("SELECT * FROM user_bridge.reconcile()")})
            except psycopg2.DatabaseError as error:
                # Stories break the target, too, by taking its one function away.
                if error.pgcode != "UB001" or "user_bridge.apply" not in str(error):
                    raise

    with threads(compare):
        try:
            tell(pair, 15, shorten=False)
        finally:
            done.set()
    assert len(compared) > 3
    assert [seen for seen in compared if seen] == []


@EVERY_OPEN_WEBUI
def test_disabled_accounts_are_compared_one_by_one(synced: Pair) -> None:
    """What role a disabled account has when it comes back is not to be seen in Open WebUI."""
    rows.change_user(synced.litellm, "u1", metadata={"scim_active": False})
    drain(synced)
    assert found(synced) == set()
    _by_hand(synced, "UPDATE auth SET active = true WHERE id = 'usr_u1'")
    assert found(synced) == {("user", "u1", "active", True, False)}
    _by_hand(synced, "UPDATE auth SET active = false WHERE id = 'usr_u1'")
    _by_hand(synced, "UPDATE \"user\" SET role = 'admin' WHERE id = 'usr_u1'")
    assert found(synced) == {("user", "u1", "role", "admin", "pending")}
    _by_hand(synced, "UPDATE \"user\" SET role = 'pending' WHERE id = 'usr_u1'")
    assert found(synced) == set()
    # A restored LiteLLM may never have heard of somebody whose account is disabled.
    _unnoticed(synced, "DELETE FROM \"LiteLLM_UserTable\" WHERE user_id = 'u1'")
    _unnoticed(synced, "UPDATE \"LiteLLM_TeamTable\" SET members_with_roles = '[]'")
    synced.litellm_admin.run("DELETE FROM user_bridge.sync_mapping WHERE litellm_id LIKE '%u1%'")
    assert found(synced) == {
        ("user", "u1", "exists", True, False),
        ("team_member", '["t1", "u1"]', "exists", True, False),
    }


@EVERY_OPEN_WEBUI
def test_what_is_equal_costs_no_preview(synced: Pair) -> None:
    """Both sides make the same digests, and a disabled account, which has none, is equal by its fields."""

    def named(function: str, types: list[str] | None) -> set[tuple[str, str]]:
        query = f"SELECT f.* FROM user_bridge.settings AS s CROSS JOIN LATERAL user_bridge.{function}(%s, s) AS f"
        return {(row["entity_type"], row["entity_id"]) for row in synced.litellm_admin.rows(query, [types])}

    assert named("suspects_by_digest", ["organization", "team", "user"]) == set()
    assert named("suspects_by_roster", ["organization_member", "team_member"]) == set()
    rows.change_user(synced.litellm, "u1", metadata={"scim_active": False})
    drain(synced)
    assert named("suspects_by_digest", ["organization", "team", "user"]) == {("user", "u1")}
    assert named("find_suspects", None) == set()


@pytest.mark.schemas(litellm="new", openwebui="new")
def test_what_takes_too_long_at_once_is_compared_in_parts(quick: Pair) -> None:
    many = 600
    quick.litellm_admin.run("UPDATE user_bridge.settings SET target_timeout_ms = 1500")
    quick.litellm.run(
        'INSERT INTO "LiteLLM_UserTable" (user_id, user_email) '
        "SELECT 'u' || n, 'u' || n || '@example.com' FROM generate_series(1, %s) AS n",
        [many],
    )
    drain_all(quick)
    web = quick.openwebui_admin
    slow = "BEGIN PERFORM pg_sleep(5) WHERE jsonb_array_length(p_request -> 'suspects') > 400;"
    definition = web.value("SELECT pg_get_functiondef('user_bridge.unequal_items(jsonb)'::regprocedure)")
    web.run(definition.replace("BEGIN", slow, 1))
    assert web.run("UPDATE \"user\" SET name = 'x' WHERE id LIKE 'usr_u%'") == many
    assert len(found(quick)) == many
    # Where not even few are answered nothing is.
    web.run(definition.replace("BEGIN", slow.replace("> 400", "> 0"), 1))
    with pytest.raises(psycopg2.Error, match="did not answer in time"):
        found(quick)


@EVERY_OPEN_WEBUI
def test_everything_is_compared_however_small_the_portions(pair: Pair) -> None:
    changed: list[str] = []

    def in_portions(_path: str, sql: str) -> str:
        for pattern, small in (
            (r"c_portion CONSTANT integer := \d+", "c_portion CONSTANT integer := 2"),
            (r"SELECT CASE WHEN p_portion IS NULL [^;$]* END::integer\n", "SELECT 2\n"),
        ):
            sql, found = re.subn(pattern, small, sql)
            changed.extend([pattern] * found)
        return sql

    install_bridge(pair, {"initial_password": "none"}, mutate=in_portions)
    assert len(changed) == 2
    for team in range(3):
        rows.add_organization(pair.litellm, f"o{team}", f"O{team}")
        members = [{"user_id": f"u{number}", "role": "user"} for number in range(team, 7)]
        rows.add_team(pair.litellm, f"t{team}", f"T{team}", organization_id=f"o{team}", members_with_roles=members)
    for number in range(7):
        rows.add_user(pair.litellm, f"u{number}", f"u{number}@example.com")
        rows.join_organization(pair.litellm, f"o{number % 3}", f"u{number}")
    rows.add_user(pair.litellm, "u7", None)
    drain(pair)
    assert found(pair) == set()
    for number in range(7):
        _by_hand(pair, f"UPDATE \"user\" SET name = 'x' WHERE id = 'usr_u{number}'")
    _unnoticed(pair, "DELETE FROM \"LiteLLM_OrganizationMembership\" WHERE user_id = 'u4'")
    _unnoticed(pair, "UPDATE \"LiteLLM_TeamTable\" SET members_with_roles = '[]' WHERE team_id = 't0'")
    _unnoticed(pair, "UPDATE \"LiteLLM_OrganizationTable\" SET organization_alias = 'x' WHERE organization_id = 'o2'")
    assert found(pair) == {
        *(("user", f"u{number}", "name", "x", f"u{number}") for number in range(7)),
        ("organization_member", '["o1", "u4"]', "exists", True, False),
        *(("team_member", f'["t0", "u{number}"]', "exists", True, False) for number in range(7)),
        ("organization", "o2", "name", "O2", "x"),
    }


def test_a_portion_takes_half_of_the_time_allowed(pair: Pair) -> None:
    install_bridge(pair, {"target_timeout_ms": 2000})

    def portion(before: int | None, seconds: float) -> int:
        query = (
            "SELECT user_bridge.next_portion(%s, clock_timestamp() - %s * interval '1 second', s) "
            "FROM user_bridge.settings AS s"
        )
        return int(pair.litellm_admin.value(query, [before, seconds]))

    assert portion(None, 0) == 10_000
    assert portion(10_000, 0) == 100_001
    # The server's own time comes on top.
    assert 12_000 < portion(10_000, 0.5) <= 20_000
    assert 2_000 < portion(10_000, 4) <= 2_501
    assert portion(1, 60) == 1


def _count_calls(pair: Pair) -> None:
    """From now on a sequence counts the calls of Open WebUI's side; a sequence, as a preview is rolled back."""
    pair.openwebui_admin.run("CREATE SEQUENCE public.calls")
    pair.openwebui_admin.run("ALTER FUNCTION user_bridge.apply(jsonb) RENAME TO counted")
    pair.openwebui_admin.run(
        "CREATE FUNCTION user_bridge.apply(jsonb) RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER AS "
        "$$BEGIN PERFORM nextval('public.calls'); RETURN user_bridge.counted($1); END$$"
    )


def _round_trips(pair: Pair, expected: set[Difference]) -> int:
    pair.openwebui_admin.run("SELECT setval('public.calls', 1, false)")
    assert found(pair) == expected
    return int(pair.openwebui_admin.value("SELECT last_value FROM public.calls"))


def test_the_round_trips_of_a_comparison_do_not_grow_with_the_installation(pair: Pair) -> None:
    install_bridge(pair, {"initial_password": "none", "inline_limit": 10000})
    seen: list[tuple[int, int]] = []
    for first, last in ((1, 30), (31, 3000)):
        pair.litellm.run(
            'INSERT INTO "LiteLLM_UserTable" (user_id, user_email) '
            "SELECT 'u' || n, 'u' || n || '@example.com' FROM generate_series(%s, %s) AS n",
            [first, last],
        )
        drain_on(pair, 1000)
        if not seen:
            _count_calls(pair)
        equal = _round_trips(pair, set())
        _by_hand(pair, f"UPDATE \"user\" SET name = 'x' WHERE id = 'usr_u{last}'")
        one_differs = _round_trips(pair, {("user", f"u{last}", "name", "x", f"u{last}")})
        _by_hand(pair, f"UPDATE \"user\" SET name = 'u{last}' WHERE id = 'usr_u{last}'")
        seen.append((equal, one_differs))
    (few_equal, few_differ), (many_equal, many_differ) = seen
    assert (many_equal, many_differ) == (few_equal, few_differ)
    # The bucket's entities, which of them differ, and the one that does.
    assert many_differ <= many_equal + 3


def test_rights_of_who_is_skipped_are_no_difference(pair: Pair) -> None:
    """Nobody can have them before he has an account; then they are delivered behind it."""
    install_bridge(pair, {"initial_password": "none", "model_access": True, "models_for_everyone": ["m1"]})
    model_rows.add_model(pair.litellm, "m1")
    rows.add_user(pair.litellm, "u1", "ann@example.com")
    rows.add_user(pair.litellm, "skipped", None)
    drain_on(pair)
    # What everybody may use is new, and differs.
    assert "skipped" not in {row[1] for row in found(pair, repair=True)}
    drain_on(pair)
    assert found(pair) == set()
    # Of somebody with an account they are one.
    pair.openwebui_admin.run("DELETE FROM user_bridge.entity WHERE (entity_type, entity_id) = ('user_models', 'u1')")
    pair.openwebui_admin.run("DELETE FROM user_bridge.model_member WHERE user_id = 'u1'")
    assert ("user_models", "u1") in {row[:2] for row in found(pair)}
    rows.change_user(pair.litellm, "skipped", user_email="bob@example.com")
    drain_on(pair)
    assert "skipped" not in {row[1] for row in found(pair)}
