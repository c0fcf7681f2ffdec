# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""bridge_sync against a real server, with the real bridge."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from kit.bridge import install_bridge
from kit.pairs import OWNER_ROLE, PASSWORDS, PROGRAM_ROLES, SYNC_USER, Pair
from kit.rows import add_organization, add_user, change_user, join_organization
from modules_support import DRIVERS, READ_ONLY, ModuleFailed, login_options, run_module, run_playbook

QUEUED = {"initial_password": "none", "delivery": "queued", "backoff_seconds": 1}


def sync(
    pair: Pair,
    *,
    check: bool = False,
    diff: bool = False,
    driver: str = DRIVERS[0],
    env: Mapping[str, str] | None = None,
    **options: Any,
) -> dict[str, Any]:
    login = login_options(pair, "litellm", options.pop("user", "postgres"))
    result = run_module("bridge_sync", {**login, **options}, check=check, diff=diff, driver=driver, env=env)
    for secret in PASSWORDS.values():
        assert json.dumps(secret)[1:-1] not in json.dumps(result)
    return result


@pytest.fixture
def queued(pair: Pair) -> Pair:
    return queues(pair)


def queues(pair: Pair) -> Pair:
    """A bridge that only queues, with an organization, a member of it and a user without email in the queue."""
    install_bridge(pair, QUEUED)
    add_organization(pair.litellm, "o1", "Acme")
    add_user(pair.litellm, "u1", "ann@example.com")
    add_user(pair.litellm, "u2")
    join_organization(pair.litellm, "o1", "u1")
    return pair


@pytest.fixture
def synced(pair: Pair) -> Pair:
    install_bridge(pair, {"initial_password": "none", "backoff_seconds": 1})
    add_organization(pair.litellm, "o1", "Acme")
    add_user(pair.litellm, "u1", "ann@example.com", user_alias="Ann")
    join_organization(pair.litellm, "o1", "u1")
    return pair


def emails(pair: Pair) -> list[str]:
    return [row["email"] for row in pair.openwebui.rows("SELECT email FROM \"user\" WHERE role <> 'admin' ORDER BY 1")]


def test_a_report_is_what_bridge_info_says(synced: Pair) -> None:
    asks: dict[str, Any] = {"report": True, "openwebui_login_db": synced.openwebui_db}
    assert "report" not in sync(synced, check=True, **asks)
    found = sync(synced, **asks)["report"]
    asked = {**login_options(synced, "litellm"), "openwebui_login_db": synced.openwebui_db}
    info = run_module("bridge_info", asked)
    assert found == {name: info[name] for name in found} and found["models"]["openwebui"] is not None
    named = sync(synced, **asks, owner=OWNER_ROLE, reader=PROGRAM_ROLES["litellm"], writer=PROGRAM_ROLES["openwebui"])
    assert named["report"] == found
    assert sync(synced, report=True)["report"]["models"]["openwebui"] is None


@pytest.mark.parametrize("driver", DRIVERS)
def test_drain(queued: Pair, driver: str) -> None:
    before = sync(queued, check=True, diff=True, driver=driver, env=READ_ONLY)
    assert before["changed"] is True and before["drained"]["delivered"] == 0
    assert before["queue"]["by_type"] == {"organization": 1, "organization_member": 1, "user": 2}
    shown = before["diff"]
    assert "user u1 exists: false\n" in shown["before"] and "user u1 exists: true\n" in shown["after"]
    assert "u2" not in shown["before"] + shown["after"] and before["differences"] == []
    assert emails(queued) == []

    done = sync(queued, driver=driver)
    assert done["changed"] is True and done["database"] == queued.litellm_db
    assert done["drained"] == {
        "delivered": 4,
        "results": {"SKIPPED": 1, "SUCCESS": 3},
        "by_type": {
            "organization": {"SUCCESS": 1},
            "organization_member": {"SUCCESS": 1},
            "user": {"SKIPPED": 1, "SUCCESS": 1},
        },
    }
    assert done["queue"] == {"entities": 0, "failing": 0, "parked": 0, "by_type": {}}
    assert done["failures"] == done["differences"] == done["removals"] == []
    assert emails(queued) == ["ann@example.com"]

    for check in (False, True):
        assert sync(queued, check=check, driver=driver, env=READ_ONLY)["changed"] is False
    assert sync(queued, driver=driver)["changed"] is False


def test_a_read_only_session_with_work_to_do_says_so(queued: Pair) -> None:
    with pytest.raises(ModuleFailed, match="there is something to change, but the session is read-only"):
        sync(queued, env=READ_ONLY)


def test_more_than_one_batch(queued: Pair) -> None:
    queued.litellm.run(
        'INSERT INTO "LiteLLM_UserTable" (user_id, user_email) '
        "SELECT 'many' || i, 'many' || i || '@example.com' FROM generate_series(1, 450) AS i"
    )
    limited = sync(queued, limit=210)
    assert limited["drained"]["delivered"] == 210 and limited["queue"]["entities"] == 244
    assert sync(queued, max_seconds=60)["drained"]["delivered"] == 244
    assert len(emails(queued)) == 451


def test_one_that_fails_is_listed_with_a_remedy_and_holds_up_nobody(queued: Pair) -> None:
    queued.openwebui_admin.run(
        "ALTER TABLE public.\"user\" ADD CONSTRAINT no_ann CHECK (email <> 'ann@example.com') NOT VALID"
    )
    done = sync(queued)
    assert done["changed"] is True and done["drained"]["by_type"]["user"] == {"FAILED": 1, "SKIPPED": 1}
    (failure,) = done["failures"]
    assert (failure["entity_type"], failure["entity_id"], failure["attempts"]) == ("user", "u1", 1)
    assert 'violates check constraint "no_ann"' in failure["message"] and failure["next_attempt_at"].endswith("Z")
    assert failure["cause"] == "other" and "retried" in failure["remedy"]
    assert done["queue"] == {"entities": 1, "failing": 1, "parked": 0, "by_type": {"user": 1}}
    again = sync(queued)
    assert again["changed"] is False and again["failures"][0]["attempts"] == 2
    queued.openwebui_admin.run('ALTER TABLE public."user" DROP CONSTRAINT no_ann')
    assert sync(queued)["changed"] is True and emails(queued) == ["ann@example.com"]


def test_open_webui_away(queued: Pair) -> None:
    queued.litellm_admin.run("ALTER SERVER user_bridge_target OPTIONS (SET port '1')")
    done = sync(queued, diff=True)
    assert done["diff"]["before"] == done["diff"]["after"] == ""
    assert done["changed"] is False and done["drained"]["results"] == {"FAILED": 4}
    assert {failure["cause"] for failure in done["failures"]} == {"unreachable"}
    assert "bridge_target_host" in done["failures"][0]["remedy"]
    queued.litellm_admin.run(f"ALTER SERVER user_bridge_target OPTIONS (SET port '{queued.cluster.port}')")
    assert sync(queued)["drained"]["delivered"] == 4


def test_a_refused_part_is_not_tried_for_ever(pair: Pair) -> None:
    """The last admin is never demoted: that waits for a decision, however often somebody drains."""
    install_bridge(pair, QUEUED)
    add_user(pair.litellm, "u1", pair.admin.email, user_role="proxy_admin")
    sync(pair)
    change_user(pair.litellm, "u1", user_role="internal_user")
    done = sync(pair)
    assert done["drained"]["results"] == {"WARNING": 1} and done["queue"]["parked"] == 1
    assert [each["kind"] for each in done["removals"]] == ["last_admin"]
    assert sync(pair)["drained"]["results"] == {}


def test_no_differences(synced: Pair) -> None:
    for repair in (False, True):
        for check in (False, True):
            found = sync(synced, action="reconcile", repair=repair, check=check, diff=True, env=READ_ONLY)
            assert found["changed"] is False and found["differences"] == [] and found["differences_total"] == 0
            assert found["diff"]["before"] == found["diff"]["after"] == ""


@pytest.mark.parametrize("driver", DRIVERS)
def test_reconcile_shows_and_repairs(synced: Pair, driver: str) -> None:
    synced.openwebui.run("UPDATE \"user\" SET name = 'Mallory', role = 'pending' WHERE id = 'usr_u1'")
    synced.openwebui.run("DELETE FROM group_member WHERE user_id = 'usr_u1'")
    for options in ({}, {"repair": True, "check": True}):
        found = sync(synced, action="reconcile", diff=True, driver=driver, env=READ_ONLY, **options)
        assert found["changed"] is bool(options)
        assert found["differences_total"] == len(found["differences"]) == 3
        assert {
            "entity_type": "user",
            "entity_id": "u1",
            "field": "name",
            "before": "Mallory",
            "after": "Ann",
        } in found["differences"]
        assert 'user u1 role: "pending"\n' in found["diff"]["before"]
        assert 'user u1 role: "user"\n' in found["diff"]["after"]
        assert 'organization_member ["o1", "u1"] exists: true\n' in found["diff"]["after"]
    scoped = sync(synced, action="reconcile", repair=True, entity_types=["organization_member"], driver=driver)
    assert scoped["changed"] is True and scoped["differences_total"] == 1
    assert synced.openwebui.value("SELECT count(*) FROM group_member WHERE user_id = 'usr_u1'") == 1
    assert synced.openwebui.value("SELECT name FROM \"user\" WHERE id = 'usr_u1'") == "Mallory"
    repaired = sync(synced, action="reconcile", repair=True, driver=driver)
    assert repaired["changed"] is True and repaired["drained"]["results"] == {"SUCCESS": 1}
    assert synced.openwebui.value("SELECT name || ' ' || role FROM \"user\" WHERE id = 'usr_u1'") == "Ann user"
    assert sync(synced, action="reconcile", repair=True, env=READ_ONLY)["changed"] is False


@pytest.fixture
def parked(pair: Pair) -> Pair:
    """More removals than bridge_removal_limit lets through."""
    install_bridge(pair, {"initial_password": "none", "removal_accounts": 1, "removal_percent": 0})
    for number in range(4):
        add_user(pair.litellm, f"u{number}", f"u{number}@example.com")
    pair.litellm.run("DELETE FROM \"LiteLLM_UserTable\" WHERE user_id <> 'u3'")
    assert len(emails(pair)) == 4
    return pair


@pytest.mark.parametrize(("action", "left"), [("approve_removals", 1), ("reject_removals", 4)])
def test_removals(parked: Pair, action: str, left: int) -> None:
    preview = sync(parked, action=action, check=True, diff=True, env=READ_ONLY)
    assert preview["changed"] is True and preview["queue"]["parked"] == 3
    assert [removal["openwebui_id"] for removal in preview["removals"]] == ["usr_u0", "usr_u1", "usr_u2"]
    first = preview["removals"][0]
    assert (first["kind"], first["accounts"]) == (
        "deletion",
        [{"id": "usr_u0", "email": "u0@example.com", "name": "u0"}],
    )
    assert preview["diff"]["before"].startswith(f"{first['id']} deletion user u0 (usr_u0): too many accounts deleted")
    assert preview["diff"]["after"] == "" and preview["decided"] == preview["removals"]
    assert len(emails(parked)) == 4
    waiting = sync(parked)
    assert waiting["changed"] is False and len(waiting["removals"]) == 3 and waiting["failures"] == []
    done = sync(parked, action=action)
    assert done["changed"] is True and done["removals"] == preview["removals"]
    assert done["queue"]["parked"] == 0 and len(emails(parked)) == left
    again = sync(parked, action=action, env=READ_ONLY)
    assert again["changed"] is False and again["removals"] == []


@pytest.mark.parametrize(("action", "left"), [("approve_removals", 2), ("reject_removals", 4)])
def test_what_is_decided_is_named(parked: Pair, action: str, left: int) -> None:
    shown = {row["openwebui_id"]: row for row in sync(parked)["removals"]}
    assert len({row["incident"] for row in shown.values()}) == 1
    ids = [shown["usr_u0"]["id"], shown["usr_u2"]["id"]]
    other = {"approve_removals": "reject_removals", "reject_removals": "approve_removals"}[action]
    preview = sync(parked, action=action, ids=ids, check=True, diff=True, env=READ_ONLY)
    assert preview["changed"] is True and [row["id"] for row in preview["decided"]] == sorted(ids)
    assert preview["diff"]["after"].startswith(f"{shown['usr_u1']['id']} deletion user u1 ")
    for check in (True, False):
        with pytest.raises(ModuleFailed, match=r"no held change has the id 4711, 4712: .*nothing was changed"):
            sync(parked, action=action, ids=[*ids, 4711, 4712], check=check)
    assert sync(parked, check=True)["queue"]["parked"] == 3
    done = sync(parked, action=action, ids=ids)
    assert done["changed"] is True and done["queue"]["parked"] == 1 and len(emails(parked)) == left
    # What was decided so before is done; the contrary of it is not possible any more.
    again = sync(parked, action=action, ids=ids, env=READ_ONLY)
    assert again["changed"] is False and again["decided"] == []
    with pytest.raises(ModuleFailed, match=f"no held change has the id {min(ids)}, {max(ids)}: "):
        sync(parked, action=other, ids=ids)
    assert sync(parked, action=action, ids=[], env=READ_ONLY)["changed"] is False


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ids": [1]}, "ids goes with action=approve_removals or reject_removals only; leave it out for drain"),
        ({"ids": ["one"], "action": "approve_removals"}, "ids.*int"),
        ({"repair": True}, "repair goes with action=reconcile only; leave it out for drain"),
        ({"entity_types": ["user"], "action": "reject_removals"}, "entity_types goes with action=reconcile only"),
        ({"limit": 0}, "limit must be at least 1"),
        ({"max_seconds": -1}, "max_seconds must be at least 1"),
        ({"action": "everything"}, "value of action must be one of"),
        ({"login_password": "wrong one"}, "password authentication failed.*check login_user and login_password"),
        ({"owner": "nobody"}, "cannot act as nobody"),
    ],
)
def test_bad_input(queued: Pair, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ModuleFailed, match=message) as failure:
        sync(queued, **options)
    assert "wrong one" not in str(failure.value)


def test_a_paused_bridge_is_said_before_anything_is_done(queued: Pair) -> None:
    queued.litellm_admin.run("SELECT user_bridge.pause()")
    for options in ({}, {"action": "approve_removals"}, {"action": "reconcile", "repair": True}):
        with pytest.raises(ModuleFailed, match="is paused.*resume_bridge first; nothing was changed"):
            sync(queued, **options)
    assert sync(queued, action="reconcile")["changed"] is False


def test_rights(queued: Pair) -> None:
    with pytest.raises(ModuleFailed, match=rf"login_user {SYNC_USER} cannot act as {OWNER_ROLE}.*GRANT"):
        sync(queued, user=SYNC_USER)
    queued.litellm_admin.run(f"GRANT {OWNER_ROLE} TO {SYNC_USER}")
    try:
        assert sync(queued, user=SYNC_USER)["drained"]["delivered"] == 4
    finally:
        queued.litellm_admin.run(f"REVOKE {OWNER_ROLE} FROM {SYNC_USER}")


def test_without_a_bridge(pair: Pair) -> None:
    with pytest.raises(ModuleFailed, match="the bridge is not installed in database .*deploy_bridge"):
        sync(pair)


@pytest.mark.parametrize("lacking", ["FUNCTION user_bridge.held_changes()", "FUNCTION user_bridge.drain"])
def test_an_older_bridge(queued: Pair, lacking: str) -> None:
    queued.litellm_admin.run(f"DROP {lacking}")
    with pytest.raises(ModuleFailed, match="of another version than this collection, or damaged.*deploy_bridge"):
        sync(queued)


def test_the_server_goes_away_in_the_middle(queued: Pair) -> None:
    """The backend of the module dies in its second batch: a clear error, and nothing of the first batch is lost."""
    queued.litellm.run(
        'INSERT INTO "LiteLLM_UserTable" (user_id, user_email) '
        "SELECT 'many' || i, 'many' || i || '@example.com' FROM generate_series(1, 300) AS i"
    )
    queued.litellm_admin.run(
        "CREATE FUNCTION public.die() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN "
        "PERFORM pg_terminate_backend(pg_backend_pid()) WHERE (SELECT count(*) FROM user_bridge.sync_mapping) > 250; "
        "RETURN NULL; END $$;"
        "CREATE TRIGGER die AFTER INSERT ON user_bridge.sync_audit EXECUTE FUNCTION public.die()"
    )
    with pytest.raises(ModuleFailed, match="terminating connection|no answer from the server"):
        sync(queued)
    queued.litellm_admin.run("DROP FUNCTION public.die() CASCADE")
    rest = sync(queued)
    assert 0 < rest["drained"]["delivered"] < 304 and rest["queue"]["entities"] == 0
    assert len(emails(queued)) == 301
    assert sync(queued, env=READ_ONLY)["changed"] is False


def test_through_ansible_playbook(synced: Pair, tmp_path: Path) -> None:
    change_user(synced.litellm, "u1", user_alias="Anna")
    synced.openwebui.run("UPDATE \"user\" SET name = 'Mallory' WHERE id = 'usr_u1'")
    options = {**login_options(synced, "litellm"), "action": "reconcile", "repair": True}
    tasks: list[dict[str, Any]] = [{"llmops.user_bridge.bridge_sync": options}]
    shown = run_playbook(tasks, tmp_path, "--check", "--diff")
    assert '-user u1 name: "Mallory"\n+user u1 name: "Anna"\n' in shown.stdout and "changed=1" in shown.stdout
    done = run_playbook(tasks, tmp_path, "-vvv")
    assert done.returncode == 0 and "changed=1" in done.stdout, done.stdout + done.stderr
    for secret in PASSWORDS.values():
        assert secret not in done.stdout and json.dumps(secret)[1:-1] not in done.stdout
    assert "changed=0" in run_playbook(tasks, tmp_path, env=READ_ONLY).stdout


def test_a_backfill(queued: Pair) -> None:
    """Once for each set of rules."""
    admin = queued.litellm_admin
    admin.run("DELETE FROM user_bridge.backfill; DELETE FROM user_bridge.sync_queue")
    assert sync(queued, backfill=True, check=True, env=READ_ONLY)["changed"] is True
    done = sync(queued, backfill=True)
    assert done["changed"] is True and done["drained"]["delivered"] == done["queued"] > 0
    assert "ann@example.com" in emails(queued)
    again = sync(queued, backfill=True)
    assert (again["changed"], again["queued"]) == (False, 0)
    with pytest.raises(ModuleFailed, match="backfill goes with action=drain only"):
        sync(queued, backfill=True, action="reconcile")


@pytest.mark.parametrize("options", [{"backfill": True}, {"action": "reconcile", "repair": True}])
def test_a_paused_bridge_only_queues_if_asked_to(queued: Pair, options: dict[str, Any]) -> None:
    admin = queued.litellm_admin
    admin.run("DELETE FROM user_bridge.backfill; DELETE FROM user_bridge.sync_queue; SELECT user_bridge.pause()")
    assert sync(queued, **options, while_paused="queue", check=True, env=READ_ONLY)["changed"] is True
    done = sync(queued, **options, while_paused="queue")
    assert (done["changed"], done["paused"], done["drained"]["delivered"]) == (True, True, 0)
    assert done["queue"]["entities"] > 0 and emails(queued) == []
    assert sync(queued, while_paused="queue", env=READ_ONLY)["changed"] is False
    admin.run("SELECT user_bridge.resume()")
    assert sync(queued)["paused"] is False and "ann@example.com" in emails(queued)


def test_pause_and_resume(queued: Pair) -> None:
    env = READ_ONLY
    planned = sync(queued, action="pause", until="2h", check=True, diff=True, env=env)
    assert (planned["changed"], planned["paused"]) == (True, True)
    assert planned["diff"] == {"before": "delivers\n", "after": "paused until 2h\n"}
    paused = sync(queued, action="pause")
    assert (paused["changed"], paused["paused"], paused["paused_until"]) == (True, True, None)
    assert sync(queued, action="pause", env=env)["changed"] is False
    moved = sync(queued, action="pause", until="2h", diff=True)
    assert moved["changed"] is True and moved["paused_until"].endswith("Z")
    assert moved["diff"]["before"] == "paused until somebody resumes it\n"
    # Minutes later it would be another end; what is paused already stays so without one.
    for end in ({"until": "2h"}, {"until": moved["paused_until"]}, {}):
        same = sync(queued, action="pause", env=env, **end)
        assert (same["changed"], same["paused_until"]) == (False, moved["paused_until"])
    assert sync(queued, action="pause", until="3h", check=True, env=env)["changed"] is True
    with pytest.raises(ModuleFailed, match="is over: name a time to come"):
        sync(queued, action="pause", until="2020-01-01", env=env)

    planned = sync(queued, action="resume", check=True, diff=True, env=env)
    assert (planned["changed"], planned["paused"], planned["diff"]["after"]) == (True, False, "delivers\n")
    resumed = sync(queued, action="resume")
    assert (resumed["changed"], resumed["paused"], resumed["drained"]["delivered"]) == (True, False, 4)
    assert sync(queued, action="resume", env=env)["changed"] is False
    audited = queued.litellm_admin.rows(
        "SELECT operation, record_id FROM user_bridge.sync_audit WHERE operation IN ('PAUSE', 'RESUME') ORDER BY id"
    )
    assert [(row["operation"], row["record_id"]) for row in audited] == [
        ("PAUSE", "postgres"),
        ("PAUSE", "postgres"),
        ("RESUME", "postgres"),
    ]
