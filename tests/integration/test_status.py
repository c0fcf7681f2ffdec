# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people see and call at a psql prompt, and the steps of the timer."""

from __future__ import annotations

from typing import Any

import pytest

from kit import openwebui, rows
from kit.bridge import drainer, install_bridge
from kit.pairs import SYNC_USER, Pair
from test_delivery import ApplyGone

MIRROR = {"initial_password": "none", "api_keys": "mirror", "backoff_seconds": 60}
TOKENS = ("1a" * 32, "2b" * 32)


def call(pair: Pair, function: str, *arguments: Any) -> list[dict[str, Any]]:
    marks = ", ".join(["%s"] * len(arguments))
    return pair.litellm_admin.rows(f"SELECT * FROM user_bridge.{function}({marks})", arguments)


def value(pair: Pair, function: str) -> Any:
    return pair.litellm_admin.value(f"SELECT user_bridge.{function}")


def metrics(pair: Pair, function: str) -> dict[str, Any]:
    return {row["metric"]: row.get("value", row.get("count")) for row in call(pair, function)}


def test_whether_a_drainer_lives(pair: Pair) -> None:
    install_bridge(pair, MIRROR)
    assert metrics(pair, "check_sync_status")["Drainer"] == "none lives"
    with drainer(pair):
        assert metrics(pair, "check_sync_status")["Drainer"] == "lives"


@pytest.fixture
def populated(pair: Pair) -> Pair:
    install_bridge(pair, MIRROR)
    rows.add_organization(pair.litellm, "o1", "Research")
    rows.add_team(pair.litellm, "t1", "Blue")
    rows.add_team(pair.litellm, "t2", "Green")
    for name in ("u1", "u2", "u3"):
        rows.add_user(pair.litellm, name, f"{name}@example.com")
    rows.add_user(pair.litellm, "u4", None)
    return pair


@pytest.mark.parametrize("function", ["check_sync_status", "check_real_sync_status"])
def test_the_state_at_a_glance(populated: Pair, function: str) -> None:
    seen = metrics(populated, function)
    assert {name: seen[name] for name in ("LiteLLM Organizations", "LiteLLM Teams", "LiteLLM Users")} == {
        "LiteLLM Organizations": "1",
        "LiteLLM Teams": "2",
        "LiteLLM Users": "4",
    }
    assert (seen["Sync Mappings"], seen["Total Audit Records"], seen["Success Rate"]) == ("6", "7", "100.00%")
    assert (seen["Queued"], seen["Failing"], seen["Oldest Queued"], seen["Paused"]) == ("0", "0", None, "false")
    assert seen["Missing in Open WebUI"] == "0"
    populated.openwebui_admin.run("ALTER TABLE \"user\" ADD CONSTRAINT nobody CHECK (name <> 'nobody')")
    rows.change_user(populated.litellm, "u1", user_alias="nobody")
    call(populated, "pause")
    rows.change_user(populated.litellm, "u2", user_alias="waits")
    seen = metrics(populated, function)
    assert (seen["Total Audit Records"], seen["Success Rate"]) == ("9", "87.50%")
    assert (seen["Queued"], seen["Failing"], seen["Paused"]) == ("2", "1", "true")
    oldest = populated.litellm_admin.value("SELECT min(enqueued_at)::text FROM user_bridge.sync_queue")
    assert seen["Oldest Queued"] == oldest
    call(populated, "resume")
    assert metrics(populated, function)["Paused"] == "false"


def test_what_somebody_has_deleted_in_open_webui_is_counted(populated: Pair) -> None:
    populated.openwebui.run("DELETE FROM \"user\" WHERE id IN ('usr_u1', 'usr_u2')")
    populated.openwebui.run("DELETE FROM \"group\" WHERE id = 'grp_team_t1'")
    assert metrics(populated, "check_sync_status")["Missing in Open WebUI"] == "3"
    populated.cluster.execute(f'REVOKE CONNECT ON DATABASE "{populated.openwebui_db}" FROM {SYNC_USER}, PUBLIC')
    populated.litellm_admin.run("SELECT user_bridge.disconnect()")
    assert "permission denied" in metrics(populated, "check_sync_status")["Missing in Open WebUI"]


def test_the_state_of_a_bridge_that_has_done_nothing_yet(pair: Pair) -> None:
    install_bridge(pair)
    seen = metrics(pair, "check_sync_status")
    assert (seen["Total Audit Records"], seen["Success Rate"], seen["Oldest Queued"]) == ("0", "n/a", None)


def test_the_newest_activities_come_first(populated: Pair) -> None:
    newest = call(populated, "get_recent_sync_activities", 3)
    assert [(row["operation"], row["record_id"], row["result"]) for row in newest] == [
        ("SYNC_USER", "u4", "SKIPPED"),
        ("SYNC_USER", "u3", "SUCCESS"),
        ("SYNC_USER", "u2", "SUCCESS"),
    ]
    assert len(call(populated, "get_recent_sync_activities")) == 7
    for name in ("u1", "u2", "u3", "u4"):
        rows.delete_user(populated.litellm, name)
    assert len(call(populated, "get_recent_sync_activities")) == 10


def test_keys_user_by_user(populated: Pair) -> None:
    rows.add_key(populated.litellm, TOKENS[0], "u1", key_alias="laptop")
    rows.add_key(populated.litellm, TOKENS[1], "u1", key_alias="blocked", blocked=True)
    rows.add_key(populated.litellm, "3c" * 32, "u2", key_alias="gone")
    rows.delete(populated.litellm, "LiteLLM_VerificationToken", {"user_id": "u2"})
    seen = call(populated, "check_api_key_sync_status")
    # Who has no usable email is left out.
    assert [
        (row["user_email"], row["litellm_api_keys"], row["mapped_api_keys"], row["webui_has_api_key"]) for row in seen
    ] == [("u1@example.com", 2, 1, True), ("u2@example.com", 0, 0, False), ("u3@example.com", 0, 0, False)]
    assert [row["last_sync_status"] for row in seen] == ["SKIPPED", "SUCCESS", None]
    log = call(populated, "get_api_key_sync_audit_log")
    assert [(row["operation"], row["sync_result"]) for row in log] == [
        ("DELETE_API_KEY", "SUCCESS"),
        ("SYNC_API_KEY", "SUCCESS"),
        ("SYNC_API_KEY", "SKIPPED"),
        ("SYNC_API_KEY", "SUCCESS"),
    ]
    assert log[0]["sync_data"]["key_alias"] == log[1]["sync_data"]["key_alias"] == "gone"
    assert [row["id"] for row in call(populated, "get_api_key_sync_audit_log", 2)] == [row["id"] for row in log[:2]]


def test_whether_keys_are_followed(populated: Pair) -> None:
    followed = "\nAPI keys are followed."
    assert value(populated, "test_api_key_sync_installation()").startswith(
        "API key trigger: enabled\nbridge_api_keys: mirror\ndblink extension: installed"
    )
    assert value(populated, "test_api_key_sync_installation()").endswith(followed)
    populated.litellm_admin.run('ALTER TABLE "LiteLLM_VerificationToken" DISABLE TRIGGER user_bridge_enqueue')
    told = value(populated, "test_api_key_sync_installation()")
    assert told.startswith("API key trigger: disabled") and not told.endswith(followed)
    populated.litellm_admin.run('DROP TRIGGER user_bridge_enqueue ON "LiteLLM_VerificationToken"')
    told = value(populated, "test_api_key_sync_installation()")
    assert told.startswith("API key trigger: missing") and not told.endswith(followed)


def test_a_migration_in_one_call(pair: Pair) -> None:
    install_bridge(pair, {"initial_password": "none", "delivery": "queued"})
    pair.litellm_admin.run("SET session_replication_role = replica")
    for name in ("u1", "u2"):
        rows.add_user(pair.litellm_admin, name, f"{name}@example.com")
    rows.add_user(pair.litellm_admin, "u3", None)
    pair.litellm_admin.run("RESET session_replication_role")
    openwebui.add_account(pair, "by-hand", "guest@example.com")
    before = {
        "Total LiteLLM Users": 3,
        "Users with Email": 2,
        "Users without Email": 1,
        "Already Synced Users": 0,
        "Open WebUI Users of the Bridge": 0,
        "Migration Operations": 0,
    }
    assert metrics(pair, "check_migration_status") == before
    outcomes = {row["user_id"]: (row["user_email"], row["sync_status"]) for row in call(pair, "migrate_existing_users")}
    assert outcomes == {
        "u1": ("u1@example.com", "QUEUED"),
        "u2": ("u2@example.com", "QUEUED"),
        "u3": (None, "QUEUED"),
    }
    while value(pair, "tick()"):
        pass
    after = {"Already Synced Users": 2, "Open WebUI Users of the Bridge": 2, "Migration Operations": 1}
    assert metrics(pair, "check_migration_status") == {**before, **after}
    call(pair, "migrate_existing_users")
    log = call(pair, "get_migration_audit_log")
    assert [row["operation"] for row in log] == ["MIGRATE_START"] * 2
    assert call(pair, "get_migration_audit_log", 1) == log[:1]
    outage = ApplyGone(pair)
    outage.begin()
    assert metrics(pair, "check_migration_status")["Open WebUI Users of the Bridge"] is None
    outage.end()


def test_what_exists_is_queued_once_for_each_change_of_the_rules(populated: Pair) -> None:
    assert value(populated, "backfill_is_due()") is True
    everything = value(populated, "backfill()")
    # An organization, two teams and four users.
    assert everything == 7
    assert value(populated, "backfill()") == 0
    populated.litellm_admin.run("UPDATE user_bridge.settings SET removal_accounts = removal_accounts + 1")
    assert value(populated, "backfill()") == 0
    populated.litellm_admin.run("UPDATE user_bridge.settings SET default_role = 'pending'")
    assert value(populated, "backfill_is_due()") is True
    while value(populated, "tick()"):
        pass
    assert value(populated, "backfill()") == 7
    assert value(populated, "backfill_is_due()") is False
    assert value(populated, "backfill()") == 0


def test_a_tick_drains_what_is_due_and_does_the_upkeep_that_is_due(populated: Pair) -> None:
    populated.litellm_admin.run("UPDATE user_bridge.sync_audit SET created_at = created_at - interval '1 year'")
    call(populated, "pause")
    for name in ("u1", "u2", "u3"):
        rows.change_user(populated.litellm, name, user_alias="Anna")
    call(populated, "resume")
    populated.litellm_admin.run(
        "UPDATE user_bridge.sync_queue SET next_attempt_at = now() + interval '1 hour' WHERE entity_id = 'u3'"
    )
    old = "SELECT count(*) FROM user_bridge.sync_audit WHERE created_at < now() - interval '100 days'"
    assert populated.litellm_admin.value(old) == 7
    assert value(populated, "tick(1)") == 1
    assert populated.litellm_admin.value(old) == 0
    assert value(populated, "tick()") == 1
    assert value(populated, "tick()") == 0
    assert {name for name, _ in openwebui.accounts(populated).values()} == {"Anna", "u3"}
