# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""bridge_info against a real server, with the real bridge."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._info.drift import look_for_drift
from ansible_collections.llmops.user_bridge.plugins.module_utils._info.report import Report

from kit.bridge import REGISTRY, change_settings, drainer, install_bridge
from kit.drains import drain_on
from kit.model_rows import add_model
from kit.pairs import OWNER_ROLE, PASSWORDS, PROGRAM_ROLES, SIDES, SYNC_USER, Pair, ensure_login
from kit.rows import add_key, add_team, insert
from kit.symptoms import said
from modules_support import (
    DRIVERS,
    READ_ONLY,
    USUAL_DRIVER,
    ModuleFailed,
    ensure_roles,
    login_options,
    run_module,
    run_playbook,
    without_a_write,
)

EVERY_SCHEMA = pytest.mark.schemas(litellm="all", openwebui="all")


@pytest.fixture
def deployed(pair: Pair) -> Pair:
    """The real bridge with its bookkeeping."""
    install_bridge(pair, {"initial_password": "none", "backoff_seconds": 1})
    return pair


def info(
    pair: Pair, user: str = "postgres", check: bool = False, driver: str = DRIVERS[0], **more: Any
) -> dict[str, Any]:
    options = {**login_options(pair, "litellm", user), "openwebui_login_db": pair.openwebui_db, **more}
    result = run_module("bridge_info", options, check=check, driver=driver, env=READ_ONLY)
    assert result["changed"] is False
    for secret in PASSWORDS.values():
        assert json.dumps(secret)[1:-1] not in json.dumps(result)
    return result


def test_the_drainer(deployed: Pair) -> None:
    found = info(deployed)
    assert found["drainer"] == {"runs": None, "lives": False, "since": None} and found["health"]["status"] == "ok"
    for runs, where in (("systemd", "journalctl"), ("pg_cron", "cron.job_run_details")):
        found = info(deployed, maintenance=runs)
        assert found["health"]["status"] == "degraded"
        (reason,) = found["health"]["reasons"]
        assert said("no drainer lives, though bridge_maintenance is …", reason) and runs in reason and where in reason
    with drainer(deployed):
        found = info(deployed, maintenance="systemd")
        assert found["drainer"]["lives"] is True and "no drainer lives" not in " ".join(found["health"]["reasons"])
        assert found["drainer"]["since"].startswith("20")


def add_user(pair: Pair, user_id: str, email: str) -> None:
    pair.litellm.run('INSERT INTO "LiteLLM_UserTable" (user_id, user_email) VALUES (%s, %s)', [user_id, email])


@EVERY_SCHEMA
def test_healthy_bridge(deployed: Pair) -> None:
    add_user(deployed, "u1", "ann@example.com")
    found = without_a_write(deployed.litellm_admin, lambda: info(deployed, version="1.0.0"))
    assert found["health"] == {"status": "ok", "reasons": []}, found["health"]
    assert found["version"] == {"installed": "1.0.0", "expected": "1.0.0", "matches": True}
    assert found["connection"]["state"] == "ok" and found["connection"]["apply"] is True
    assert found["connection"]["user"] == SYNC_USER
    assert found["litellm"]["counts"] == {
        "organizations": 0,
        "teams": 0,
        "users": 1,
        "users_with_email": 1,
        "organization_members": 0,
        "team_members": 0,
        "api_keys": 0,
    }
    assert found["openwebui"]["counts"] == {"users": 2, "admins": 1, "pending": 0, "groups": 0, "group_members": 0}
    assert found["mapped"] == {"user": 1}
    assert found["queue"] == {"depth": 0, "failed": 0, "oldest_seconds": None, "by_type": {}}
    assert {item["state"] for side in ("litellm", "openwebui") for item in found[side]["objects"]} == {"ok"}
    assert any(item["kind"] == "trigger" for item in found["litellm"]["objects"])
    assert found["settings"]["initial_password"] == "none" and found["settings"]["paused"] is False
    assert found["trigger_faults"] == 0
    assert found["commits"]["delivered"] > 0 and found["commits"]["queued_share"] is not None
    assert (found["recent"]["entries"], found["recent"]["delivered"]) == (1, 1)
    assert found["recent"]["since"] == found["recent"]["last_success"] and found["recent"]["since"].startswith("20")
    assert found["last_comparison"] is None and found["upkeep_failing"] == []
    assert found["unseen"] == [] and found["causes"] == [] and found["skipped_users"] == []
    assert (
        found["removals"] == {**found["initial_passwords"], "by_kind": {}} == {"total": 0, "first": [], "by_kind": {}}
    )
    assert found["drift"] is None
    assert all(grant["granted"] for side in ("litellm", "openwebui") for grant in found[side]["grants"])
    features = found["openwebui"]["features"]
    new = deployed.openwebui_version != "0.6.30"
    assert features == {
        "group_members": new,
        "group_parents": new,
        "access_grants": new,
        "api_keys_in_user": not new,
        "api_keys": new,
        "session_stamps": new,
    }
    assert found["litellm"]["features"]["organization_memberships"] is True


@pytest.mark.parametrize("driver", USUAL_DRIVER)
def test_check_mode_is_the_same(deployed: Pair, driver: str) -> None:
    assert info(deployed, driver=driver) == info(deployed, check=True)


@pytest.mark.parametrize(
    ("damage", "status", "reason"),
    [
        (
            'ALTER TABLE "LiteLLM_UserTable" DISABLE TRIGGER user_bridge_enqueue',
            "broken",
            'trigger user_bridge_enqueue on public."LiteLLM_UserTable" (litellm): trigger is disabled; run the',
        ),
        ("DROP FUNCTION user_bridge.version()", "broken", "function user_bridge.version() (litellm): missing"),
        ("GRANT SELECT ON user_bridge.sync_audit TO PUBLIC", "broken", "table user_bridge.sync_audit (litellm): priv"),
        ("SELECT user_bridge.pause()", "degraded", ", and nothing ends that: run the playbook"),
        ("SELECT user_bridge.pause_until('2100-01-01Z')", "degraded", " until 2100-01-01T00:00:00Z: run the playbook"),
        ("UPDATE user_bridge.settings SET paused = true", "degraded", "the bridge is paused, and nothing ends that"),
        ("DROP SERVER user_bridge_target CASCADE", "broken", "there is no server user_bridge_target"),
        ("DROP SCHEMA user_bridge CASCADE", "broken", "has no bridge: run the playbook"),
        (
            "UPDATE user_bridge.installed_object SET server_major = '9', fingerprint = '' WHERE kind = 'view'",
            "degraded",
            "recorded on PostgreSQL 9",
        ),
        (
            'CREATE TRIGGER user_bridge_mine AFTER INSERT ON "LiteLLM_TeamTable" '
            "FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
            "degraded",
            "not installed by this bridge",
        ),
    ],
)
def test_what_is_wrong_is_said(deployed: Pair, damage: str, status: str, reason: str) -> None:
    deployed.litellm_admin.run(damage)
    health = info(deployed)["health"]
    assert health["status"] == status
    assert any(reason in line for line in health["reasons"]), health


def test_what_somebody_has_changed_is_said(deployed: Pair) -> None:
    deployed.litellm_admin.run("DROP FUNCTION user_bridge.version(); SELECT user_bridge.pause()")
    deployed.openwebui_admin.run("DROP SCHEMA user_bridge CASCADE")
    reasons = info(deployed)["health"]["reasons"]
    assert said("… (…): …; run the playbook llmops.user_bridge.deploy_bridge", reasons)
    assert said("…'s database … has no bridge", reasons)
    assert said("the bridge is paused", reasons)


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        ("UPDATE user_bridge.identity SET database_oid = 1", "this database is a copy"),
        ("DELETE FROM user_bridge.identity", "has no identity yet"),
        ("UPDATE user_bridge.identity SET id = gen_random_uuid()", "is owned by another installation"),
        ("SELECT user_bridge.renew_identity(true)", "Open WebUI's side refuses this installation"),
    ],
)
def test_a_database_that_is_not_the_installation(deployed: Pair, damage: str, problem: str) -> None:
    before = info(deployed)["installation"]
    assert before["id"] == before["owner_id"] and before["problem"] is None
    deployed.litellm_admin.run(damage)
    found = info(deployed, drift=True)
    assert problem in found["installation"]["problem"]
    assert found["health"]["status"] == "broken" and found["installation"]["problem"] in found["health"]["reasons"]


def test_a_copy_says_whose_it_is(deployed: Pair) -> None:
    deployed.litellm_admin.run("UPDATE user_bridge.identity SET database_oid = 1")
    reasons = info(deployed)["health"]["reasons"]
    assert said("this database is a copy of the one that the bridge was installed in …", reasons)


def test_queue_and_errors(deployed: Pair) -> None:
    deployed.openwebui_admin.run(f"REVOKE EXECUTE ON FUNCTION user_bridge.apply(jsonb) FROM {SYNC_USER}")
    add_user(deployed, "u1", "ann@example.com")
    add_user(deployed, "u2", "bob@example.com")
    deployed.litellm_admin.rows("SELECT * FROM user_bridge.drain()")
    deployed.litellm_admin.run("UPDATE user_bridge.sync_queue SET enqueued_at = now() - interval '1 hour'")
    found = info(deployed, limit=1)
    assert found["queue"]["failed"] >= 1 and found["queue"]["by_type"]["user"] == 2
    assert found["queue"]["oldest_seconds"] >= 3600
    assert len(found["errors"]) == 1 and "permission denied" in found["errors"][0]["message"]
    assert found["errors"][0]["cause"] == found["causes"][0]["cause"] == "permission"
    assert "deploy_bridge" in found["causes"][0]["remedy"] and found["causes"][0]["entities"] >= 1
    assert found["health"]["status"] == "broken"
    reasons = found["health"]["reasons"]
    assert said("… cannot execute user_bridge.apply in database …", reasons)
    assert said("… of … could not be delivered so far", reasons)
    assert said("… entities: …: …", reasons)
    assert said("the oldest queued change has waited for … s", reasons)


def test_what_the_drainer_did(deployed: Pair) -> None:
    add_user(deployed, "u1", "ann@example.com")
    add_user(deployed, "u2", "ann@example.com")
    deployed.litellm_admin.run(
        "INSERT INTO user_bridge.sync_audit (operation, record_id, sync_result, error_message, created_at) VALUES"
        " ('SYNC_USER', 'u3', 'FAILED', 'no', '2100-01-01Z'), ('SETTLE_JOURNAL', 'journal', 'WARNING', 'no', now())"
    )
    deployed.litellm_admin.run("SELECT user_bridge.maintain()")
    deployed.litellm_admin.run("SELECT user_bridge.note_upkeep('journal', '1 hour', 'no right to')")
    found = info(deployed)
    assert (found["recent"]["entries"], found["recent"]["delivered"]) == (3, 2)
    assert found["day"] == {"entries": 3, "delivered": 2, "most_waiting": 0, "longest_seconds": 0}
    assert found["history"] is None
    hours = info(deployed, history=True)["history"]
    # The failure is in an hour of its own.
    assert [(hour["delivered"], hour["skipped"], hour["failed"]) for hour in hours] == [(1, 1, 0), (0, 0, 1)]
    assert (hours[0]["delay_ms"], hours[0]["mapped"]) == (0, {"user": 1}) and hours[1]["hour"] == "2100-01-01T00:00:00Z"
    assert (hours[1]["delay_ms"], hours[1]["mapped"]) == (None, {})
    assert found["recent"]["since"] == found["recent"]["last_success"] < "2100"
    assert found["recent"]["since"] <= found["last_comparison"] < "2100"
    assert found["upkeep_failing"] == [{"task": "journal", "failures": 1, "message": "no right to"}]
    assert "the upkeep fails at journal (1 time): no right to" in found["health"]["reasons"]
    assert said("the upkeep fails at … (…): …", found["health"]["reasons"])
    deployed.litellm_admin.run("SELECT user_bridge.note_upkeep('lookout', '10 minutes', 'away')")
    assert info(deployed)["last_comparison"] is None


def test_where_the_triggers_are_off(deployed: Pair) -> None:
    assert info(deployed)["triggers_off"] == []
    database = deployed.litellm_db
    deployed.litellm_admin.run(f"ALTER ROLE litellm IN DATABASE {database} SET session_replication_role = replica")
    found = info(deployed)
    assert found["triggers_off"] == [f"role litellm database {database}"] and found["health"]["status"] == "broken"
    assert "llmops.user_bridge.reconcile_bridge" in " ".join(found["health"]["reasons"])
    assert said("session_replication_role is replica for …", found["health"]["reasons"])
    deployed.litellm_admin.run(f"ALTER ROLE litellm IN DATABASE {database} RESET session_replication_role")


def test_rights_on_models(deployed: Pair) -> None:
    found = info(deployed)
    assert found["explanation"] is None and found["models"]["litellm"]["models"] == 0
    change_settings(deployed, model_access=True)
    add_model(deployed.litellm, "gpt")
    add_user(deployed, "u1", "ann@example.com")
    drain_on(deployed)
    found = info(deployed, explain={"user": "ann@example.com", "model": "gpt"})
    assert found["models"]["litellm"] == {
        **{"models": 1, "extra": 0, "blocked": 0, "of_teams": 0, "sets": 1, "unassigned": 1, "unseen": []},
    }
    assert found["models"]["openwebui"]["models"] == 1 and found["models"]["openwebui"]["grants"] == 1
    explained = found["explanation"]
    assert explained["granted"] and explained["openwebui"]["sees"] and explained["user"] == "u1"
    assert explained["ways"] == [{"way": "personal list", "opens": True, "reason": "the list is everything"}]
    password = PASSWORDS[SYNC_USER]
    refused = info(deployed, SYNC_USER, openwebui_login_password=password, explain={"user": "u1", "model": "gpt"})
    assert refused["explanation"] is None and "explanation" in [each["what"] for each in refused["unseen"]]


def test_attribution(deployed: Pair) -> None:
    nothing = {"missed": 0, "missed_users": [], "hints": [], "litellm_snippet": "", "openwebui_snippet": ""}
    assert info(deployed)["attribution"] == {
        **{"declared": "none", "accounts": 0, "by_user_id": 0, "by_email": 0},
        **nothing,
    }
    add_user(deployed, "u1", "ann@example.com")
    add_user(deployed, "bob@example.com", "bob@example.com")
    change_settings(deployed, user_id_prefix="", attribution="user_id")
    add_user(deployed, "u2", "cat@example.com")
    drain_on(deployed)
    found = info(deployed)["attribution"]
    assert {**{"accounts": 3, "by_user_id": 1, "by_email": 1, "missed": 2}, **found} == found
    assert found["missed_users"] == ["bob@example.com", "u1"] and "made with a prefix, and keep it" in found["hints"][0]
    mapping = "general_settings:\n  user_header_mappings:\n"
    by_id = "    - header_name: X-OpenWebUI-User-Id\n      litellm_user_role: internal_user\n"
    assert found["litellm_snippet"] == mapping + by_id
    assert found["openwebui_snippet"] == "ENABLE_FORWARD_USER_INFO_HEADERS=true\n"
    change_settings(deployed, user_id_prefix="usr_")
    assert "with bridge_user_id_prefix: '' (it is 'usr_')" in info(deployed)["attribution"]["hints"][0]
    change_settings(deployed, attribution="email", model_access=True, enforce_models=True)
    found = info(deployed)["attribution"]
    assert (found["missed"], found["missed_users"]) == (2, ["u1", "u2"]) and "as user_id" in found["hints"][0]
    one, other = yaml.safe_load(found["litellm_snippet"])["general_settings"]["user_header_mappings"]
    assert one == {"header_name": "X-OpenWebUI-User-Email", "litellm_user_role": "customer"}
    assert other == {"header_name": "X-OpenWebUI-User-Email", "litellm_user_role": "internal_user"}
    change_settings(deployed, attribution="none", enforce_key="id")
    found = info(deployed)["attribution"]
    assert (found["missed"], found["hints"]) == (0, []) and found["litellm_snippet"].count("X-OpenWebUI-User-Id") == 1


def test_enforcement_by_litellm(deployed: Pair) -> None:
    assert info(deployed)["enforcement"] == {
        **{"enabled": False, "supported": True, "key": "email", "unknown": "deny", "rows": 0, "made": 0, "denied": 0},
        **{"due": 0, "busy": 0, "foreign_rows": 0, "foreign": [], "denying_keys": 0, "missing": []},
        **{"unlinked": "deny", "unlinked_accounts": 0, "unlinked_rows": 0},
    }
    change_settings(deployed, model_access=True, enforce_models=True)
    insert(deployed.litellm, "LiteLLM_EndUserTable", {"user_id": "bob@example.com", "alias": "Bob"})
    add_user(deployed, "u1", "ann@example.com")
    add_user(deployed, "bob@example.com", "bob@example.com")
    drain_on(deployed)
    without_a_write(deployed.litellm_admin, lambda: info(deployed))
    assert info(deployed)["enforcement"]["due"] > 0
    for _turn in range(3):
        deployed.litellm_admin.run("SELECT user_bridge.enforce_rights(s) FROM user_bridge.settings AS s")
    found = info(deployed)
    assert found["enforcement"]["rows"] == found["enforcement"]["made"] == 1 and found["enforcement"]["due"] == 0
    assert found["enforcement"]["foreign"] == ["bob@example.com"]
    (missing,) = found["enforcement"]["missing"]
    assert '"end_user_budget_id": "user_bridge_unknown"' in missing
    assert found["health"]["status"] == "degraded" and missing in found["health"]["reasons"]
    assert said("… of LiteLLM_EndUserTable that somebody else has made", found["health"]["reasons"])
    # As LiteLLM's /key/update writes it.
    add_key(deployed.litellm, "shared", None, metadata={"end_user_budget_id": "user_bridge_unknown"})
    found = info(deployed, drift=True)
    assert found["enforcement"]["denying_keys"] == 1 and found["enforcement"]["missing"] == []
    assert found["drift"]["entities"] == 0
    grants = [grant for grant in found["litellm"]["grants"] if grant["table"] == "LiteLLM_EndUserTable"]
    assert len(grants) == 4 and all(grant["needed"] and grant["granted"] for grant in grants)
    deployed.litellm_admin.run(
        f'REVOKE UPDATE (models, budget_id) ON "LiteLLM_EndUserTable" FROM "{PROGRAM_ROLES["litellm"]}"'
    )
    found = info(deployed)
    assert "lacks UPDATE (models, budget_id) on table LiteLLM_EndUserTable" in " ".join(found["health"]["reasons"])


def test_drift_on_request(deployed: Pair) -> None:
    add_user(deployed, "u1", "ann@example.com")
    add_team(deployed.litellm, "t1", "Blue", members_with_roles=[{"user_id": "u1", "role": "user"}])
    found = info(deployed, drift=True)
    assert found["drift"] == {"entities": 0, "fields": 0, "by_type": {}} and found["health"]["status"] == "ok"
    # The default of the other team's column is an object.
    add_team(deployed.litellm, "t2", "Red")
    assert info(deployed)["litellm"]["counts"]["team_members"] == 1
    deployed.litellm_admin.run("SET session_replication_role = replica")
    deployed.litellm_admin.run("UPDATE \"LiteLLM_TeamTable\" SET members_with_roles = '[]' WHERE team_id = 't1'")
    deployed.openwebui.run("UPDATE \"user\" SET name = 'Mallory', role = 'pending' WHERE id = 'usr_u1'")
    found = info(deployed, drift=True)
    assert found["drift"] == {"entities": 2, "fields": 3, "by_type": {"team_member": 1, "user": 1}}
    assert found["health"]["status"] == "degraded" and "bridge.reconcile_bridge" in found["health"]["reasons"][0]
    assert said("… not alike in LiteLLM and Open WebUI", found["health"]["reasons"])
    assert info(deployed)["drift"] is None
    deployed.litellm_admin.run("ALTER SERVER user_bridge_target OPTIONS (SET port '1')")
    away = info(deployed, drift=True)
    assert away["drift"] is None and away["health"]["status"] == "broken"
    assert said("LiteLLM's server cannot reach Open WebUI's: …", away["health"]["reasons"])
    assert [item["what"] for item in away["unseen"]] == ["drift"]


def test_a_comparison_that_gets_no_connections_is_unseen(deployed: Pair) -> None:
    deployed.litellm_admin.run(f"CREATE ROLE looker LOGIN PASSWORD 'look' CONNECTION LIMIT 1 IN ROLE \"{OWNER_ROLE}\"")
    login = {"login_user": "looker", "login_password": "look", "owner": OWNER_ROLE}
    params = login_options(deployed, "litellm") | login
    report = Report()
    try:
        # Its first connection, which stays, as the module's does beside a comparison's.
        with closing(_pg.connect(params)):
            assert look_for_drift(params, report) is None
    finally:
        deployed.litellm_admin.run("DROP ROLE looker")
    (drift,) = report.unseen
    assert drift["what"] == "drift" and "too many connections" in drift["reason"]


def test_skipped_users_by_reason(deployed: Pair) -> None:
    for number, email in enumerate(["", "same@example.com", "Same@example.com", "SAME@example.com", "no address"]):
        add_user(deployed, f"u{number}", email)
    assert info(deployed)["skipped_users"] == [
        {"reason": "the email belongs to the older user", "users": 2},
        {"reason": "no email", "users": 1},
        {"reason": "the email is not an address", "users": 1},
    ]


def test_removals_that_wait_for_approval(deployed: Pair) -> None:
    change_settings(deployed, removal_accounts=1, removal_percent=0)
    for number in range(4):
        add_user(deployed, f"u{number}", f"u{number}@example.com")
    deployed.litellm.run("DELETE FROM \"LiteLLM_UserTable\" WHERE user_id <> 'u3'")
    found = info(deployed, limit=2)
    assert found["removals"]["total"] == 3 and len(found["removals"]["first"]) == 2
    assert found["removals"]["first"][0]["openwebui_id"] == "usr_u0"
    assert found["errors"] == [] and found["queue"]["failed"] == 0
    assert found["removals"]["first"][0]["accounts"] == [{"id": "usr_u0", "email": "u0@example.com", "name": "u0"}]
    assert found["removals"]["by_kind"] == {"deletion": 3}
    assert found["health"]["status"] == "degraded"
    assert found["health"]["reasons"][0].startswith("3 changes held until somebody decides (3 deletion): ")
    assert said("… held until somebody decides (…)", found["health"]["reasons"])


def test_accounts_with_their_initial_password(deployed: Pair) -> None:
    change_settings(deployed, initial_password="email", password_cost=4)
    for name in ("ann", "bob"):
        add_user(deployed, name, f"{name}@example.com")
    found = info(deployed)["initial_passwords"]
    assert found["total"] == 2 and [user["user_id"] for user in found["first"]] == ["ann", "bob"]
    deployed.openwebui.run("UPDATE auth SET password = 'changed by the person' WHERE id = 'usr_ann'")
    found = info(deployed, limit=0)
    assert found["initial_passwords"] == {"total": 1, "first": []} and found["health"]["status"] == "ok"
    deployed.openwebui_admin.run("UPDATE user_bridge.entity SET initial_password_at = now() - interval '80 hours'")
    assert said("initial passwords are older than initial_password_ttl_hours", info(deployed)["health"]["reasons"])


def test_users_without_an_account_and_accounts_that_nothing_opens(deployed: Pair) -> None:
    change_settings(deployed, initial_password="none")
    add_user(deployed, "mal", deployed.admin.email)
    for name in ("ann", "bob"):
        add_user(deployed, name, f"{name}@example.com")
    deployed.openwebui.run("UPDATE auth SET password = 'their own' WHERE id = 'usr_bob'")
    found = info(deployed)
    assert found["not_linked"]["total"] == 1
    (user,) = found["not_linked"]["first"]
    assert user["user_id"] == "mal" and "make the user proxy_admin" in user["reason"]
    (account,) = found["no_sign_in"]["first"]
    assert account == {"user_id": "ann", "openwebui_id": "usr_ann", "email": "ann@example.com"}
    (reason,) = found["health"]["reasons"]
    assert said("… of LiteLLM without an account because of one that Open WebUI has", reason)
    found = info(deployed, limit=0)
    assert found["no_sign_in"] == {"total": 1, "first": []} and found["not_linked"] == {"total": 1, "first": []}


def test_accounts_that_vanished(deployed: Pair) -> None:
    change_settings(deployed, initial_password="none")
    for number in range(3):
        add_user(deployed, f"u{number}", f"u{number}@example.com")
    assert info(deployed)["linked"]["user"] == {"linked": 3, "missing": 0}
    deployed.openwebui.run("DELETE FROM \"user\" WHERE id IN ('usr_u0', 'usr_u1')")
    found = info(deployed)
    assert found["linked"]["user"] == {"linked": 3, "missing": 2}
    assert found["health"]["status"] == "degraded"
    assert found["health"]["reasons"][0].startswith("Open WebUI lacks 2 users ")
    assert said("Open WebUI lacks … that the bridge made there", found["health"]["reasons"])
    # As after a restore: nobody there knows of them.
    deployed.openwebui_admin.run("DELETE FROM user_bridge.entity")
    assert info(deployed)["health"]["reasons"][0].startswith("Open WebUI lacks 3 users ")


def test_settings_that_only_one_side_has(deployed: Pair) -> None:
    """As after half a deploy: each side acts by its own."""
    assert info(deployed)["settings_differ"] == []
    deployed.openwebui_admin.run("UPDATE user_bridge.settings SET default_role = 'pending', on_user_delete = 'keep'")
    found = info(deployed)
    assert found["settings_differ"] == ["default_role", "on_user_delete"]
    (reason,) = found["health"]["reasons"]
    assert "default_role, on_user_delete" in reason and "deploy_bridge" in reason
    assert said("the two sides have different settings (…)", reason)


def test_triggers_that_fell_back_to_whole_rows(deployed: Pair) -> None:
    """LiteLLM has changed a column under them. A repair finds what they missed, and starts the count anew."""
    add_user(deployed, "u1", "ann@example.com")
    deployed.litellm.run('ALTER TABLE "LiteLLM_UserTable" RENAME COLUMN user_alias TO alias')
    for alias in ("Ann", "Anna"):
        deployed.litellm.run("UPDATE \"LiteLLM_UserTable\" SET alias = %s WHERE user_id = 'u1'", [alias])
    found = info(deployed)
    assert found["trigger_faults"] == 2 and found["health"]["status"] == "degraded"
    assert any("could not compare their columns 2 times" in line for line in found["health"]["reasons"])
    assert said("triggers could not compare their columns …", found["health"]["reasons"])
    deployed.litellm.run('ALTER TABLE "LiteLLM_UserTable" RENAME COLUMN alias TO user_alias')
    repair = {**login_options(deployed, "litellm"), "action": "reconcile", "repair": True}
    run_module("bridge_sync", {**repair, "entity_types": ["user"]})
    assert info(deployed)["trigger_faults"] == 2
    assert run_module("bridge_sync", repair, check=True, env=READ_ONLY)["changed"] is True
    assert info(deployed)["trigger_faults"] == 2
    assert run_module("bridge_sync", repair)["changed"] is True
    found = info(deployed)
    assert found["trigger_faults"] == 0 and found["health"] == {"status": "ok", "reasons": []}
    assert run_module("bridge_sync", repair, env=READ_ONLY)["changed"] is False


def test_a_grant_that_is_missing_on_any_table(deployed: Pair) -> None:
    lost = {}
    for side in SIDES:
        session = deployed.superuser(side)
        tables, privileges = REGISTRY["sides"][side]["tables"], REGISTRY["sides"][side]["privileges"]
        there = [name for name in tables if session.value("SELECT to_regclass(%s)", [f'public."{name}"'])]
        lost[side] = {(name, privilege) for name in there for privilege in privileges}
        for name in there:
            session.run(f'REVOKE ALL ON public."{name}" FROM "{PROGRAM_ROLES[side]}"')
    found = info(deployed)
    for side in lost:
        assert {(g["table"], g["privilege"]) for g in found[side]["grants"] if not g["granted"]} == lost[side]
        assert all(g["needed"] and g["role"] == PROGRAM_ROLES[side] for g in found[side]["grants"])
    assert {"access_grant", "api_key"} <= {name for name, _privilege in lost["openwebui"]}
    assert found["health"]["status"] == "broken"
    reason = "user_bridge_writer lacks UPDATE on table access_grant (openwebui): run the playbook"
    assert any(reason in line for line in found["health"]["reasons"])
    assert said("… lacks … on table …", found["health"]["reasons"])


def test_a_right_that_the_owner_role_must_not_have(deployed: Pair) -> None:
    assert info(deployed)["health"]["status"] == "ok"
    deployed.openwebui_admin.run(f'GRANT UPDATE (password) ON public.auth TO "{OWNER_ROLE}"')
    deployed.litellm_admin.run(f'GRANT SELECT ON public."LiteLLM_Config" TO "{OWNER_ROLE}"')
    try:
        reasons = info(deployed)["health"]["reasons"]
        assert [line.split(":")[0] for line in reasons] == [
            "user_bridge_owner must not have SELECT on table LiteLLM_Config (litellm)",
            "user_bridge_owner must not have UPDATE on table auth (openwebui)",
        ]
        assert said("must not have", reasons)
    finally:
        deployed.openwebui_admin.run(f'REVOKE UPDATE (password) ON public.auth FROM "{OWNER_ROLE}"')
        deployed.litellm_admin.run(f'REVOKE SELECT ON public."LiteLLM_Config" FROM "{OWNER_ROLE}"')


def test_roles_by_other_names(deployed: Pair) -> None:
    """They own nothing and need no grant: every function is as it was left, but belongs to a stranger."""
    found = info(deployed, reader="someone", writer="somebody")
    reasons = {item["reason"] for side in SIDES for item in found[side]["objects"] if item["state"] != "ok"}
    assert reasons == {"owner differs, privileges differ", "privileges differ"}
    assert [found[side]["grants"] for side in SIDES] == [[], []]


def test_version_that_is_not_the_expected_one(deployed: Pair) -> None:
    found = info(deployed, version="2.0.0")
    assert found["version"]["matches"] is False
    assert found["health"]["reasons"] == [
        "version 1.0.0 is installed, not 2.0.0: run the playbook llmops.user_bridge.deploy_bridge"
    ]
    assert said("version … is installed, not …", found["health"]["reasons"])


def test_wrong_password_of_the_sync_user(deployed: Pair) -> None:
    # The role is the server's: the other databases' bridges log in as it, too.
    deployed.openwebui_admin.run(f"ALTER ROLE {SYNC_USER} PASSWORD 'another one'")
    try:
        found = info(deployed)
    finally:
        ensure_login(deployed.cluster, SYNC_USER)
    assert found["connection"]["state"] == "failed" and "password authentication" in found["connection"]["error"]
    assert "bridge_sync_password" in found["health"]["reasons"][0]


def test_limited_login_is_told_what_it_could_not_see(deployed: Pair) -> None:
    found = info(deployed, SYNC_USER, openwebui_login_password=PASSWORDS[SYNC_USER], drift=True)
    assert found["removals"] is found["initial_passwords"] is found["skipped_users"] is found["drift"] is None
    assert found["litellm"]["installed"] and found["litellm"]["version"] is None
    assert found["connection"]["state"] == "not tested" and found["queue"] is None and found["settings"] is None
    assert {item["what"] for item in found["unseen"]} >= {
        "litellm: state of the objects",
        "litellm: counts",
        "queue",
        "audit",
        "mapping",
        "trigger faults",
        "removals",
        "drift",
        "initial passwords",
        "settings",
        "connection test",
        "openwebui: counts",
        "litellm: grants",
        "openwebui: grants",
    }
    assert found["litellm"]["grants"] == [] and found["health"]["status"] == "degraded"
    assert any("could not see queue: permission denied" in line for line in found["health"]["reasons"])
    assert said("could not see …", found["health"]["reasons"])


def test_a_bridge_of_another_shape_is_reported_not_a_crash(deployed: Pair) -> None:
    deployed.litellm_admin.run("ALTER TABLE user_bridge.sync_queue RENAME last_error TO error")
    deployed.litellm_admin.run("ALTER TABLE user_bridge.sync_audit RENAME error_message TO message")
    found = info(deployed)
    assert {item["what"] for item in found["unseen"]} == {"errors", "audit", "outage"}
    assert found["health"]["status"] == "broken" and found["queue"]["depth"] == 0


def test_open_webui_unreachable_or_not_asked_for(deployed: Pair) -> None:
    found = info(deployed, openwebui_login_port=1)
    assert found["openwebui"] is None and found["connection"]["state"] == "ok"
    assert "check openwebui_login_host and openwebui_login_port" in found["unseen"][0]["reason"]
    found = info(deployed, openwebui_login_db=None, check_connection=False)
    assert found["openwebui"] is None and found["connection"] is None and found["health"]["status"] == "ok"


def test_nothing_installed(pair: Pair) -> None:
    ensure_roles(pair)
    found = info(pair, version="1.0.0")
    assert found["litellm"]["installed"] is False and found["version"]["matches"] is None
    assert found["health"]["status"] == "broken" and len(found["health"]["reasons"]) == 3
    assert found["litellm"]["counts"]["users"] == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"login_password": "wrong one"}, "password authentication failed"),
        ({"version": "x"}, "version: 'x' is not a version number"),
        ({"limit": -1}, "limit must not be negative"),
    ],
)
def test_bad_input(pair: Pair, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ModuleFailed, match=message) as failure:
        info(pair, **options)
    assert "wrong one" not in str(failure.value)


def test_through_ansible_playbook(deployed: Pair, tmp_path: Path) -> None:
    options = {**login_options(deployed, "litellm"), "openwebui_login_db": deployed.openwebui_db}
    tasks: list[dict[str, Any]] = [
        {"llmops.user_bridge.bridge_info": options, "register": "bridge"},
        {"ansible.builtin.assert": {"that": "bridge.health.status == 'ok'"}},
    ]
    for extra in ([], ["--check", "--diff"]):
        done = run_playbook(tasks, tmp_path, "-vvv", *extra)
        assert done.returncode == 0 and "changed=0" in done.stdout, done.stdout + done.stderr
        for secret in PASSWORDS.values():
            assert secret not in done.stdout and json.dumps(secret)[1:-1] not in done.stdout
