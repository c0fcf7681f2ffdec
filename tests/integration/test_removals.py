# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An empty, restored or unreadable LiteLLM removes nobody from Open WebUI; a person approves what goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg2
import pytest

from kit import openwebui, rows
from kit.bridge import install_bridge
from kit.drains import drain_on
from kit.pairs import PROGRAM_ROLES, Pair
from test_delivery import drain, results

EVERY_OPEN_WEBUI = pytest.mark.schemas(openwebui="all", older="weekly")
USERS = 30


def populate(pair: Pair, users: int = USERS, **settings: Any) -> None:
    """One organization and one team with all users in both, of whom five may go within ten minutes."""
    install_bridge(pair, {"initial_password": "none", "removal_accounts": 5, "removal_percent": 1, **settings})
    writer = pair.connect("litellm", autocommit=False)
    names = [f"u{number}" for number in range(users)]
    rows.add_organization(writer, "o1", "Research")
    rows.add_team(writer, "t1", "Blue", members_with_roles=[{"user_id": name, "role": "user"} for name in names])
    for name in names:
        rows.add_user(writer, name, f"{name}@example.com")
        rows.join_organization(writer, "o1", name)
    writer.commit()
    drain_due(pair)
    assert enabled(pair) == {f"{name}@example.com" for name in names}
    assert differences(pair) == []


def enabled(pair: Pair) -> set[str]:
    return {email for email, (_name, role) in openwebui.accounts(pair).items() if role != "pending"}


def members(pair: Pair, group: str) -> int:
    return len(openwebui.groups(pair)[group][1])


def drain_due(pair: Pair) -> set[str]:
    """Drain in small portions until nothing moves any more."""
    return results(drain_on(pair, 7, due_only=True))


def parked(pair: Pair) -> list[dict[str, Any]]:
    return pair.litellm_admin.rows("SELECT * FROM user_bridge.pending_removals()")


def differences(pair: Pair) -> list[dict[str, Any]]:
    return pair.litellm_admin.rows("SELECT * FROM user_bridge.reconcile()")


def _truncate(pair: Pair) -> None:
    # No row trigger sees it: a reconcile does.
    pair.litellm_admin.run('TRUNCATE "LiteLLM_UserTable", "LiteLLM_OrganizationMembership" CASCADE')
    pair.litellm_admin.rows("SELECT * FROM user_bridge.reconcile(true)")


def delete_everybody(pair: Pair) -> None:
    writer = pair.connect("litellm", autocommit=False)
    writer.run('DELETE FROM "LiteLLM_OrganizationMembership"')
    writer.run('DELETE FROM "LiteLLM_UserTable"')
    writer.commit()


def _restored_without_users(pair: Pair) -> None:
    """A backup restored with --disable-triggers, which held no users and nothing of the bridge's state."""
    pair.litellm_admin.run("SET session_replication_role = replica")
    _delete_everybody_quietly(pair)
    pair.litellm_admin.run("TRUNCATE user_bridge.sync_mapping, user_bridge.sync_queue, user_bridge.sync_audit")
    pair.litellm_admin.run("RESET session_replication_role")
    pair.litellm_admin.rows("SELECT * FROM user_bridge.reconcile(true)")


def _delete_everybody_quietly(pair: Pair) -> None:
    for table in ("LiteLLM_OrganizationMembership", "LiteLLM_UserTable", "LiteLLM_TeamTable"):
        pair.litellm_admin.run(f'DELETE FROM "{table}"')


@EVERY_OPEN_WEBUI
@pytest.mark.parametrize("disaster", [_truncate, delete_everybody, _restored_without_users])
def test_nobody_is_removed_without_approval(pair: Pair, disaster: Callable[[Pair], None]) -> None:
    populate(pair)
    everybody = enabled(pair)
    disaster(pair)
    drain_due(pair)
    assert enabled(pair) == everybody
    waiting = {(row["entity_type"], row["entity_id"]) for row in parked(pair)}
    assert {("user", f"u{number}") for number in range(USERS)} <= waiting
    assert all("approve_removals" in row["reason"] for row in parked(pair))

    # Everything else flows meanwhile, and what comes back is simply there.
    rows.add_organization(pair.litellm, "o2", "Sales")
    rows.add_user(pair.litellm, "new", "new@example.com")
    rows.add_user(pair.litellm, "u1", "u1@example.com", user_alias="Back")
    assert openwebui.groups(pair)["grp_o2"] == ("Sales", [])
    assert enabled(pair) == everybody | {"new@example.com"}
    assert openwebui.accounts(pair)["u1@example.com"] == ("Back", "user")
    pair.litellm_admin.rows("SELECT * FROM user_bridge.maintain()")
    assert ("user", "u1") not in {(row["entity_type"], row["entity_id"]) for row in parked(pair)}

    assert pair.litellm_admin.value("SELECT user_bridge.approve_removals()") >= USERS - 1
    drain_due(pair)
    assert enabled(pair) == {"new@example.com", "u1@example.com"}
    assert parked(pair) == []
    assert differences(pair) == []


def test_rejected_removals_leave_open_webui_alone(pair: Pair) -> None:
    populate(pair)
    everybody = enabled(pair)
    delete_everybody(pair)
    # What its COMMIT had no time for.
    drain_due(pair)
    assert pair.litellm_admin.value("SELECT user_bridge.reject_removals()") > 0
    drain_due(pair)
    assert (enabled(pair), parked(pair)) == (everybody, [])
    # For as long as LiteLLM does not have them back, they are a difference, and still nothing that just goes.
    assert {row["entity_id"] for row in differences(pair) if row["entity_type"] == "user"} == {
        f"u{number}" for number in range(USERS)
    }
    pair.litellm_admin.rows("SELECT * FROM user_bridge.reconcile(true)")
    drain_due(pair)
    assert enabled(pair) == everybody
    assert len(parked(pair)) >= USERS


def revoke(pair: Pair) -> Callable[[], object]:
    pair.litellm_admin.run(f'REVOKE SELECT ON "LiteLLM_UserTable" FROM {PROGRAM_ROLES["litellm"]}')
    return lambda: pair.litellm_admin.run(f'GRANT SELECT ON "LiteLLM_UserTable" TO {PROGRAM_ROLES["litellm"]}')


def hide_rows(pair: Pair) -> Callable[[], object]:
    pair.litellm_admin.run('ALTER TABLE "LiteLLM_UserTable" ENABLE ROW LEVEL SECURITY')
    return lambda: pair.litellm_admin.run('ALTER TABLE "LiteLLM_UserTable" DISABLE ROW LEVEL SECURITY')


@pytest.mark.parametrize("hide", [revoke, hide_rows])
def test_an_unreadable_source_is_an_error_and_no_empty_source(
    pair: Pair, hide: Callable[[Pair], Callable[[], object]]
) -> None:
    # Without a limit that would stop it.
    populate(pair, users=3, removal_accounts=1000)
    undo = hide(pair)
    rows.change_user(pair.litellm, "u1", user_alias="Ann")
    pair.litellm_admin.rows("SELECT user_bridge.enqueue_entities(ARRAY['user', 'user'], ARRAY['u0', 'u2'])")
    try:
        assert results(drain(pair)) <= {"FAILED"}
    except psycopg2.Error as error:
        # A superuser's session does not read where a policy's code could run.
        assert "row-level security" in str(error)
    assert len(enabled(pair)) == 3
    undo()
    assert results(drain(pair)) == {"SUCCESS"}
    assert openwebui.accounts(pair)["u1@example.com"] == ("Ann", "user")
    assert len(enabled(pair)) == 3


def _one_by_one(pair: Pair, names: list[str]) -> None:
    for name in names:
        rows.delete_user(pair.litellm, name)


def _disabled(pair: Pair, names: list[str]) -> None:
    for name in names:
        rows.change_user(pair.litellm, name, metadata={"scim_active": False})


def _without_email(pair: Pair, names: list[str]) -> None:
    for name in names:
        rows.change_user(pair.litellm, name, user_email=None)


@EVERY_OPEN_WEBUI
@pytest.mark.parametrize("lose", [_one_by_one, _disabled, _without_email])
def test_a_few_go_at_once_and_the_rest_waits(pair: Pair, lose: Callable[[Pair, list[str]], None]) -> None:
    populate(pair)
    names = [f"u{number}" for number in range(12)]
    lose(pair, names)
    drain_due(pair)
    assert enabled(pair) == {f"u{number}@example.com" for number in range(5, USERS)}
    # Ten minutes later the next five may go.
    pair.openwebui_admin.run("UPDATE user_bridge.removal SET removed_at = removed_at - interval '11 minutes'")
    _one_by_one(pair, [f"u{number}" for number in range(20, 23)])
    assert len(enabled(pair)) == USERS - 5 - 3


def test_what_a_drain_takes_in_portions_counts_as_a_whole(pair: Pair) -> None:
    populate(pair)
    everybody = enabled(pair)
    pair.litellm_admin.run("SELECT user_bridge.pause()")
    _one_by_one(pair, [f"u{number}" for number in range(12)])
    pair.litellm_admin.run("SELECT user_bridge.resume()")
    drain_on(pair, 2, due_only=True)
    assert enabled(pair) == everybody
    assert len([row for row in parked(pair) if row["entity_type"] == "user"]) == 12


def test_an_empty_source_removes_nobody_whatever_the_limit(pair: Pair) -> None:
    populate(pair, users=3, removal_accounts=1000)
    _truncate(pair)
    drain_due(pair)
    assert len(enabled(pair)) == 3


def test_the_larger_of_number_and_percentage_counts(pair: Pair) -> None:
    populate(pair, removal_percent=30)
    _one_by_one(pair, [f"u{number}" for number in range(12)])
    # 30 % of those who are left: 9 of 30, 8.7 of 29, ...
    assert USERS - 9 <= len(enabled(pair)) <= USERS - 7


@EVERY_OPEN_WEBUI
def test_lost_memberships_count_too(pair: Pair) -> None:
    populate(pair)
    rows.delete_team(pair.litellm, "t1")
    rows.add_team(pair.litellm, "t2", "Green", members_with_roles=[{"user_id": "u1", "role": "user"}])
    pair.litellm.run('DELETE FROM "LiteLLM_OrganizationMembership"')
    drain_due(pair)
    assert members(pair, "grp_team_t1") == members(pair, "grp_o1") == USERS
    assert openwebui.groups(pair)["grp_team_t2"] == ("Green", ["usr_u1"])
    pair.litellm_admin.value("SELECT user_bridge.approve_removals()")
    drain_due(pair)
    assert "grp_team_t1" not in openwebui.groups(pair)
    assert members(pair, "grp_o1") == 0


def test_a_failing_guard_stops_removals_and_nothing_else(pair: Pair) -> None:
    populate(pair)
    pair.openwebui_admin.run("ALTER TABLE user_bridge.removal RENAME TO gone")
    rows.delete_user(pair.litellm, "u1")
    rows.add_user(pair.litellm, "new", "new@example.com")
    assert enabled(pair) >= {"u1@example.com", "new@example.com"}
    (problem,) = pair.litellm_admin.rows(
        "SELECT last_sqlstate, last_error FROM user_bridge.sync_queue WHERE entity_type = 'user'"
    )
    assert problem["last_sqlstate"] == "42P01"
    assert "the removal guard failed" in problem["last_error"] and "user_bridge.removal" in problem["last_error"]
    pair.openwebui_admin.run("ALTER TABLE user_bridge.gone RENAME TO removal")
    assert "SUCCESS" in results(drain(pair))
    assert "u1@example.com" not in enabled(pair)


@pytest.mark.parametrize("gone", ["membership", "group"])
def test_the_membership_of_an_account_that_is_gone_is_nobodys_loss(pair: Pair, gone: str) -> None:
    """Those who do lose something by the same change are all that is counted."""
    populate(pair, removal_accounts=1 if gone == "membership" else USERS - 1, removal_percent=0)
    # As an Open WebUI admin does it.
    pair.openwebui_admin.run("DELETE FROM \"user\" WHERE id = 'usr_u1'")
    if gone == "membership":
        rows.delete_user(pair.litellm, "u1")
        assert "u1@example.com" not in enabled(pair)
        others = [{"user_id": f"u{number}", "role": "user"} for number in range(USERS) if number not in (1, 2)]
        rows.change_team(pair.litellm, "t1", members_with_roles=others)
    else:
        rows.delete_team(pair.litellm, "t1")
    drain_due(pair)
    assert pair.litellm_admin.rows("SELECT entity_id, last_error FROM user_bridge.sync_queue") == []
    if gone == "group":
        rows.delete_user(pair.litellm, "u1")
    assert differences(pair) == []


def test_what_the_approval_says_is_audited(pair: Pair) -> None:
    populate(pair)
    delete_everybody(pair)
    shown = [row["id"] for row in pair.litellm_admin.rows("SELECT id FROM user_bridge.held_changes() ORDER BY 1")]
    assert len(shown) >= USERS
    pair.litellm_admin.value("SELECT user_bridge.approve(%s)", [shown[1:]])
    pair.litellm_admin.value("SELECT user_bridge.reject(%s)", [shown[:1]])
    decisions = pair.litellm_admin.rows(
        "SELECT operation, record_id, sync_result, new_data FROM user_bridge.sync_audit"
        " WHERE operation IN ('APPROVE_CHANGES', 'REJECT_CHANGES') ORDER BY id"
    )
    assert decisions == [
        {"operation": operation, "record_id": "postgres", "sync_result": "SUCCESS", "new_data": {"ids": ids}}
        for operation, ids in (("APPROVE_CHANGES", shown[1:]), ("REJECT_CHANGES", shown[:1]))
    ]
