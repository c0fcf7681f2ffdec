# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Databases and hosts that are set up in ways the bridge was not made on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psycopg2.errors
import pytest

from kit import openwebui, rows
from kit.binaries import pg_dump_for
from kit.bridge import Mutate, change_settings, install_bridge, write_settings
from kit.cluster import Cluster
from kit.common import pick_version
from kit.drains import drain_all, drain_on
from kit.pairs import SIDES, Pair, Side, ensure_login
from kit.schemas import Admin, apply_litellm, apply_openwebui
from test_delivery import drain, queue, unanswered

QUICK = {"initial_password": "none"}
# As libpq connects where it is not told to look for the primary.
ANY = {"target_session_attrs": "any"}


def _published(pair: Pair, mutate: Mutate | None = None) -> None:
    """Everything that a deploy and the bridge itself write, where both databases publish all tables."""
    install_bridge(pair, QUICK, mutate=mutate)
    for session in (pair.litellm_admin, pair.openwebui_admin):
        session.run("CREATE PUBLICATION everything FOR ALL TABLES")
    rows.add_user(pair.litellm, "u1", "ann@example.com")
    pair.litellm_admin.run("SELECT user_bridge.backfill(); UPDATE user_bridge.settings SET default_role = 'pending'")
    pair.litellm_admin.run("SELECT user_bridge.backfill(); SELECT user_bridge.pause(); SELECT user_bridge.resume()")
    rows.delete_user(pair.litellm, "u1")
    drain_on(pair)
    pair.litellm_admin.run("SELECT FROM user_bridge.migrate_existing_users(); SELECT FROM user_bridge.maintain()")
    drain_on(pair)


def test_all_tables_are_published(pair: Pair) -> None:
    _published(pair)
    assert openwebui.accounts(pair) == {} and queue(pair) == []


def test_a_published_table_without_a_key_is_noticed(pair: Pair) -> None:
    def keyless(path: str, text: str) -> str:
        return text.replace("singleton boolean PRIMARY KEY", "singleton boolean") if "/backfill." in path else text

    with pytest.raises(psycopg2.errors.ObjectNotInPrerequisiteState):
        _published(pair, keyless)


def test_every_table_has_a_key(quick: Pair) -> None:
    """Else nothing in it can be changed where all tables are published; what is unlogged is not."""
    keyless = (
        "SELECT relname FROM pg_class AS c WHERE relnamespace = 'user_bridge'::regnamespace AND relkind IN ('r', 'p') "
        "AND relpersistence = 'p' "
        "AND NOT EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = c.oid AND i.indisprimary)"
    )
    assert [quick.superuser(side).rows(keyless) for side in SIDES] == [[], []]


_IDENTITIES = (
    "SELECT attrelid::regclass::text AS name, pg_get_serial_sequence(attrelid::regclass::text, attname) AS sequence "
    "FROM pg_attribute WHERE attidentity <> '' "
    "AND attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'user_bridge'::regnamespace) ORDER BY 1"
)


def fall_behind(pair: Pair) -> None:
    """The rows came with a move by logical replication, and the sequences of their ids begin anew."""
    for side in SIDES:
        for found in pair.superuser(side).rows(_IDENTITIES):
            pair.superuser(side).run("SELECT setval(%s, 1, false)", [found["sequence"]])


def test_sequences_that_are_behind_are_moved_on_by_the_drain(quick: Pair) -> None:
    for number in range(3):
        rows.add_user(quick.litellm, f"u{number}", f"u{number}@example.com")
    fall_behind(quick)
    # Else the commit would move them on.
    change_settings(quick, delivery="queued")
    rows.add_user(quick.litellm, "new", "new@example.com")
    assert [row["entity_id"] for row in queue(quick)] == ["new"]
    drain(quick)
    assert queue(quick) == [] and "new@example.com" in openwebui.accounts(quick)
    before = quick.litellm_admin.value("SELECT nextval('user_bridge.sync_audit_id_seq')")
    drain(quick)
    assert quick.litellm_admin.value("SELECT nextval('user_bridge.sync_audit_id_seq')") == before + 1


def test_without_a_drain_the_next_commit_gets_through(quick: Pair) -> None:
    for number in range(3):
        rows.add_user(quick.litellm, f"u{number}", f"u{number}@example.com")
    fall_behind(quick)
    for name in ("first", "second"):
        rows.add_user(quick.litellm, name, f"{name}@example.com")
    assert queue(quick) == [] and {"first@example.com", "second@example.com"} <= set(openwebui.accounts(quick))


CALLS = [
    "SELECT user_bridge.note_migration('MIGRATE_START', '{}')",
    "SELECT FROM user_bridge.migrate_entities('{user}', '{u1}')",
    "SELECT user_bridge.reject(ARRAY(SELECT id FROM user_bridge.held_changes()))",
]


@pytest.mark.parametrize("call", CALLS)
def test_nothing_else_fails_by_it(quick: Pair, call: str) -> None:
    write_settings(quick, {**QUICK, "removal_accounts": 1, "removal_percent": 0})
    for number in range(4):
        rows.add_user(quick.litellm, f"u{number}", f"u{number}@example.com")
    for number in (2, 3):
        rows.delete_user(quick.litellm, f"u{number}")
    fall_behind(quick)
    quick.litellm_admin.run(call)


def test_what_is_held_has_ids_of_its_own(quick: Pair) -> None:
    write_settings(quick, {**QUICK, "removal_accounts": 1, "removal_percent": 0})
    for number in range(8):
        rows.add_user(quick.litellm, f"u{number}", f"u{number}@example.com")
    for number in range(5):
        rows.delete_user(quick.litellm, f"u{number}")
    fall_behind(quick)
    drain(quick)
    for number in range(5, 7):
        rows.delete_user(quick.litellm, f"u{number}")
    assert {row["last_sqlstate"] for row in queue(quick)} == {None}
    held = quick.litellm_admin.rows("SELECT id FROM user_bridge.held_changes()")
    assert len({row["id"] for row in held}) == 6 and len(openwebui.accounts(quick)) == 7


def test_every_sequence_is_moved_on(quick: Pair) -> None:
    for side in SIDES:
        session = quick.superuser(side)
        source = session.value("SELECT prosrc FROM pg_proc WHERE oid = 'user_bridge.advance_sequences()'::regprocedure")
        found = session.rows(_IDENTITIES)
        assert found and all(row["name"] in source and row["sequence"] in source for row in found)


def test_a_read_only_server_is_one_outage_and_over_when_it_can_be_written_to(pair: Pair) -> None:
    """As a connection that has ended on a standby while the server's name led there."""
    install_bridge(pair, QUICK, server_options={"options": "-c search_path=pg_catalog", **ANY})
    backend = pair.connect("litellm")
    read_only = f'ALTER DATABASE "{pair.openwebui_db}" SET default_transaction_read_only = on'
    pair.cluster.execute(read_only)
    rows.add_user(backend, "u1", "ann@example.com")
    waits = unanswered(pair)
    assert waits is not None and waits["sqlstate"] == "UB001" and waits["waiting"] == 1
    assert waits["error"] == "the target refused (25006): Open WebUI's database is read-only"
    assert {row["result"] for row in drain(pair)} == {"FAILED"}
    pair.cluster.execute(read_only.replace("SET", "RESET").replace(" = on", ""))
    pair.litellm_admin.run("SELECT setval('user_bridge.breaker_until', 1), setval('user_bridge.backlog', 2)")
    rows.add_user(backend, "u2", "bob@example.com")
    assert sorted(openwebui.accounts(pair)) == ["ann@example.com", "bob@example.com"] and queue(pair) == []


@contextlib.contextmanager
def _encoded(server: Cluster, litellm: str, target: str) -> Iterator[Pair]:
    """Databases in these encodings, whose sessions speak UTF-8 as the programs' do."""
    names: dict[Side, str] = {}
    versions = {"litellm": pick_version("litellm", "new"), "openwebui": pick_version("open-webui", "new")}
    encodings: dict[Side, str] = {"litellm": litellm, "openwebui": target}
    for side, encoding in encodings.items():
        ensure_login(server, side)
        names[side] = server.fresh_name(side)
        server.execute(
            f'CREATE DATABASE "{names[side]}" OWNER "{side}" TEMPLATE template0 '
            f"ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'",
            f'ALTER DATABASE "{names[side]}" SET client_encoding = UTF8',
        )
    made = Pair(server, names["litellm"], names["openwebui"], versions["litellm"], versions["openwebui"], Admin())
    try:
        for side in SIDES:
            made.superuser(side).raw.set_client_encoding("UTF8")
            made.connect(side).close()
        session = made.connect("litellm", client_encoding="UTF8")
        apply_litellm(session.raw, versions["litellm"])
        session = made.connect("openwebui", client_encoding="UTF8")
        apply_openwebui(
            session.raw, made.login("openwebui"), versions["openwebui"], made.admin, pg_dump_for(server.major)
        )
        install_bridge(made, {**QUICK, "backoff_seconds": 1})
        yield made
    finally:
        made.drop()


def test_a_name_that_the_target_cannot_hold_fails_alone(server: Cluster) -> None:
    with _encoded(server, "UTF8", "LATIN1") as pair:
        backend = pair.connect("litellm", client_encoding="UTF8")
        rows.add_user(backend, "latin", "latin@example.com", user_alias="J\u00fcrgen")
        with backend.transaction():
            rows.add_user(backend, "other", "other@example.com", user_alias="\u4e2d")
            rows.add_user(backend, "plain", "plain@example.com")
        rows.add_user(backend, "after", "after@example.com")
        results_of = {row["entity_id"]: row["result"] for row in drain(pair)}
        assert results_of == {"other": "FAILED", "plain": "SUCCESS"}
        (left,) = queue(pair)
        assert (left["entity_id"], left["last_sqlstate"]) == ("other", "22P05")
        assert "Open WebUI's database has an encoding that lacks a character of this" in left["last_error"]
        assert len(openwebui.accounts(pair)) == 3
        # Nor does it keep anybody from comparing, or from asking what a delivery would do.
        users = ["latin", "other", "plain"]
        asked = pair.litellm_admin.rows(
            "SELECT * FROM user_bridge.preview(array_fill('user'::text, '{3}'), %s)", [users]
        )
        assert {row["entity_id"]: row["result"] for row in asked} == {
            "latin": "SUCCESS",
            "other": "FAILED",
            "plain": "SUCCESS",
        }
        pair.litellm_admin.run("DELETE FROM user_bridge.sync_queue")
        pair.openwebui.run("UPDATE \"user\" SET name = 'by hand' WHERE id = 'usr_plain'")
        found = pair.litellm_admin.rows("SELECT * FROM user_bridge.reconcile(false)")
        assert {(row["entity_id"], row["field"]) for row in found} == {("other", "error"), ("plain", "name")}
        rows.change_user(backend, "other", user_alias="Z")
        assert len(openwebui.accounts(pair)) == 4


@pytest.mark.weekly
def test_a_source_that_holds_bytes_of_any_encoding(server: Cluster) -> None:
    with _encoded(server, "SQL_ASCII", "UTF8") as pair:
        backend = pair.connect("litellm", client_encoding="SQL_ASCII")
        user = 'INSERT INTO "LiteLLM_UserTable" (user_id, user_email, user_alias, teams, models) VALUES (%s)'
        for values in (
            "'utf8', 'utf8@example.com', 'J\u00fcrgen', '{}', '{}'".encode(),
            b"'latin1', 'latin1@example.com', 'J\xfcrgen', '{}', '{}'",
            # The sign of the Kelvin becomes a k when Open WebUI folds it.
            "'kelvin', '\u212a@example.com', 'K', '{}', '{}'".encode(),
        ):
            backend.run(user.encode() % values)  # type: ignore[arg-type]
        drain(pair)
        assert [(row["entity_id"], row["last_sqlstate"]) for row in queue(pair)] == [("latin1", "22021")]
        assert list(openwebui.accounts(pair)) == ["utf8@example.com"]
        assert openwebui.accounts(pair)["utf8@example.com"][0] == "J\u00fcrgen"
        pair.litellm_admin.run("DELETE FROM user_bridge.sync_queue")
        found = pair.litellm_admin.rows("SELECT * FROM user_bridge.reconcile(false)")
        assert [(row["entity_id"], row["field"]) for row in found] == [("latin1", "error")]


def _ids(pair: Pair) -> dict[str, str]:
    """Account by email, without the first admin."""
    found = pair.openwebui.rows('SELECT id, email FROM "user" WHERE email <> %s', [pair.admin.email])
    return {row["email"]: row["id"] for row in found}


def test_an_id_that_returns_after_its_account_was_taken_over(quick: Pair) -> None:
    """The heir's account was deleted in Open WebUI, so its id looks free."""
    for user in ("u1", "u2"):
        rows.add_user(quick.litellm, user, "ann@example.com")
    rows.delete_user(quick.litellm, "u1")
    drain(quick)
    quick.openwebui.run("DELETE FROM auth WHERE id = 'usr_u1'; DELETE FROM \"user\" WHERE id = 'usr_u1'")
    rows.add_user(quick.litellm, "u1", "bob@example.com")
    assert queue(quick) == []
    rows.change_user(quick.litellm, "u2", user_alias="Ann")
    drain(quick)
    assert _ids(quick) == {"ann@example.com": "usr_u2", "bob@example.com": "usr_u1_2"}


def test_many_such_ids_at_once(quick: Pair) -> None:
    users = range(25)
    with quick.litellm.transaction():
        for number in users:
            rows.add_user(quick.litellm, f"u{number}", f"u{number}@example.com")
    quick.openwebui_admin.run(
        "UPDATE user_bridge.entity SET entity_id = 'heir of ' || entity_id WHERE entity_type = 'user'"
    )
    quick.openwebui.run("DELETE FROM auth WHERE id LIKE 'usr%'; DELETE FROM \"user\" WHERE id LIKE 'usr%'")
    with quick.litellm.transaction():
        for number in users:
            rows.change_user(quick.litellm, f"u{number}", user_email=f"new{number}@example.com")
    assert queue(quick) == []
    assert set(_ids(quick).values()) == {f"usr_u{number}_2" for number in users}


def test_an_adopted_account_keeps_its_name_while_litellm_has_none(quick: Pair) -> None:
    openwebui.add_account(quick, "theirs", "ann@example.com", name="Dr. Ann")
    rows.add_user(quick.litellm, "u1", "ann@example.com")
    assert openwebui.accounts(quick)["ann@example.com"][0] == "Dr. Ann"
    rows.change_user(quick.litellm, "u1", user_role="internal_user_viewer")
    assert openwebui.accounts(quick)["ann@example.com"][0] == "Dr. Ann"
    assert quick.litellm_admin.rows("SELECT * FROM user_bridge.reconcile(false)") == []
    states = "SELECT state FROM user_bridge.migration_states(ARRAY['user'], ARRAY['u1'])"
    assert quick.litellm_admin.value(states) == "done"
    rows.change_user(quick.litellm, "u1", user_alias="Anna")
    assert openwebui.accounts(quick)["ann@example.com"][0] == "Anna"
    rows.change_user(quick.litellm, "u1", user_alias=None)
    assert openwebui.accounts(quick)["ann@example.com"][0] == "Anna"
    # Of its own accounts the bridge makes the name.
    rows.add_user(quick.litellm, "u2", "bob@example.com", user_alias="Bobby")
    rows.change_user(quick.litellm, "u2", user_alias=None)
    assert openwebui.accounts(quick)["bob@example.com"][0] == "bob"


def test_a_fence_that_nobody_can_count_to_is_none(quick: Pair) -> None:
    """Somebody who could write there has left it behind: it must use up no numbers of LiteLLM's side."""
    rows.add_user(quick.litellm, "u1", "ann@example.com")
    for version in (2**63 - 1, 2**63 - 2):
        quick.openwebui_admin.run("UPDATE user_bridge.entity SET version = %s", [version])
        rows.change_user(quick.litellm, "u1", user_alias=str(version))
        drain_all(quick)
        assert openwebui.accounts(quick)["ann@example.com"][0] == str(version)
    # As an Open WebUI of the bridge's first version has it.
    shipped = quick.openwebui_admin.value("SELECT pg_get_functiondef('user_bridge.apply_items(jsonb)'::regprocedure)")
    quick.openwebui_admin.run(
        "CREATE OR REPLACE FUNCTION user_bridge.apply_items(p_request jsonb) RETURNS jsonb LANGUAGE sql AS $$"
        """SELECT '{"items": [{"status": "FAILED"}], "fence": 9223372036854775806}'::jsonb $$"""
    )
    rows.change_user(quick.litellm, "u1", user_alias="waits")
    quick.openwebui_admin.run(shipped)
    assert quick.litellm_admin.value("SELECT last_value FROM user_bridge.delivery_version") < 2**62


def test_a_nested_list_of_teams_keeps_nobody_in(quick: Pair) -> None:
    rows.add_user(quick.litellm, "u1", "ann@example.com", user_role="proxy_admin")
    quick.litellm.run("UPDATE \"LiteLLM_UserTable\" SET teams = '{{t1,t2}}' WHERE user_id = 'u1'")
    rows.change_user(quick.litellm, "u1", user_role="internal_user", team_id="t3")
    assert (queue(quick), openwebui.accounts(quick)) == ([], {"ann@example.com": ("ann", "user")})
    rows.delete_user(quick.litellm, "u1")
    assert openwebui.accounts(quick) == {}


def test_a_journal_that_cannot_be_settled_says_so_once(quick: Pair) -> None:
    rows.add_user(quick.litellm, "u1", "ann@example.com")
    quick.litellm_admin.run("ALTER FUNCTION user_bridge.settle_journal(jsonb, timestamptz) RENAME TO gone")
    try:
        for _ in range(3):
            drain(quick)
    finally:
        quick.litellm_admin.run("ALTER FUNCTION user_bridge.gone(jsonb, timestamptz) RENAME TO settle_journal")
    said = quick.litellm_admin.rows("SELECT * FROM user_bridge.sync_audit WHERE operation = 'SETTLE_JOURNAL'")
    assert [row["sync_result"] for row in said] == ["WARNING"] and "settle_journal" in said[0]["error_message"]
    drain(quick)
    assert quick.litellm_admin.value("SELECT journal_error FROM user_bridge.target") is None


@pytest.mark.parametrize("side", ["litellm", "openwebui"])
def test_nothing_uses_md5(pair: Pair, side: str) -> None:
    """PostgreSQL refuses it where the host is in FIPS mode, which no test host is."""
    install_bridge(pair, QUICK)
    session = pair.litellm_admin if side == "litellm" else pair.openwebui_admin
    found = session.rows(
        "SELECT oid::regprocedure::text AS name FROM pg_proc "
        "WHERE pronamespace = 'user_bridge'::regnamespace AND prosrc ~ '[^_]md5\\('"
    )
    assert found == []
