# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What somebody deleted or edited in Open WebUI, or a restore took back, becomes again what LiteLLM says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kit import openwebui, rows
from kit.bridge import change_settings, copy_prepared, install_bridge
from kit.drains import drain_on
from kit.oracle import differences
from kit.pairs import Pair
from test_reconcile import found

EVERY_OPEN_WEBUI = pytest.mark.schemas(openwebui="all", older="weekly")


def listed(*user_ids: str) -> list[dict[str, str]]:
    return [{"user_id": each, "role": "user"} for each in user_ids]


def look_out(pair: Pair) -> int:
    """One lookout and its repairs; returns how many it queued."""
    queued = pair.litellm_admin.value("SELECT user_bridge.look_out(s) FROM user_bridge.settings AS s")
    drain_on(pair)
    assert isinstance(queued, int)
    return queued


def people(pair: Pair) -> Pair:
    install_bridge(pair, {"initial_password": "none", "api_keys": "mirror", "backoff_seconds": 1})
    rows.add_organization(pair.litellm, "o1", "Research")
    for number in range(4):
        rows.add_user(pair.litellm, f"u{number}", f"u{number}@example.com")
    rows.add_team(pair.litellm, "t1", "One", organization_id="o1", members_with_roles=listed("u0", "u1"))
    rows.add_team(pair.litellm, "t2", "Two", organization_id="o1", members_with_roles=listed("u0"))
    rows.join_organization(pair.litellm, "o1", "u0")
    rows.join_organization(pair.litellm, "o1", "u2")
    rows.add_key(pair.litellm, "hash-of-a-key", "u0")
    drain_on(pair)
    assert (found(pair), differences(pair)) == (set(), [])
    return pair


@pytest.fixture
def peopled(pair: Pair) -> Pair:
    copy_prepared(pair, people)
    # The lookout alone opens no connection.
    pair.litellm_admin.run("SELECT user_bridge.drain(1, true)")
    return pair


def delete_account(pair: Pair, account_id: str) -> None:
    """As Open WebUI does it, which left deleted ids in user_ids up to 0.6.36."""
    pair.openwebui.run("DELETE FROM auth WHERE id = %s", [account_id])
    assert pair.openwebui.run('DELETE FROM "user" WHERE id = %s', [account_id]) == 1


def delete_group(pair: Pair, group_id: str) -> None:
    assert pair.openwebui.run('DELETE FROM "group" WHERE id = %s', [group_id]) == 1


def _whole(pair: Pair) -> None:
    """Nothing is missing, nothing waits, nothing failed, and nothing is found any more."""
    drain_on(pair)
    assert pair.litellm_admin.rows("SELECT * FROM user_bridge.sync_queue") == []
    assert (differences(pair), found(pair), look_out(pair)) == ([], set(), 0)
    failed = "SELECT * FROM user_bridge.sync_audit WHERE sync_result = 'FAILED'"
    assert pair.litellm_admin.rows(failed) == []


def _audited(pair: Pair, operation: str, record_id: str) -> list[dict[str, Any]]:
    return pair.litellm_admin.rows(
        "SELECT sync_result, old_data, error_message FROM user_bridge.sync_audit "
        "WHERE operation = %s AND record_id = %s ORDER BY id DESC",
        [operation, record_id],
    )


def rename_the_team(pair: Pair) -> None:
    rows.change_team(pair.litellm, "t1", team_alias="Renamed")


def join_the_team(pair: Pair) -> None:
    rows.change_team(pair.litellm, "t1", members_with_roles=listed("u0", "u1", "u2"))


def change_the_organization(pair: Pair) -> None:
    rows.rename_organization(pair.litellm, "o1", "Renamed")


def join_the_organization(pair: Pair) -> None:
    rows.join_organization(pair.litellm, "o1", "u1")


def add_a_team_below(pair: Pair) -> None:
    rows.add_team(pair.litellm, "t3", "Three", organization_id="o1", members_with_roles=listed("u1"))


def join_in_bulk(pair: Pair) -> None:
    ids = [f"n{number}" for number in range(30)]
    for each in ids:
        rows.add_user(pair.litellm, each, f"{each}@example.com")
    rows.change_team(pair.litellm, "t1", members_with_roles=listed("u0", "u1", *ids))


CHANGES_OF_A_GROUP = [
    ("grp_team_t1", rename_the_team),
    ("grp_team_t1", join_the_team),
    ("grp_team_t1", join_in_bulk),
    ("grp_o1", change_the_organization),
    ("grp_o1", join_the_organization),
    ("grp_o1", add_a_team_below),
]


@EVERY_OPEN_WEBUI
@pytest.mark.parametrize(("group", "change"), CHANGES_OF_A_GROUP)
def test_a_deleted_group_comes_back_with_the_next_change(
    peopled: Pair, group: str, change: Callable[[Pair], None]
) -> None:
    delete_group(peopled, group)
    change(peopled)
    _whole(peopled)
    what, record_id = ("TEAM", "t1") if group == "grp_team_t1" else ("ORG", "o1")
    assert _audited(peopled, f"SYNC_{what}", record_id)[0]["old_data"] == {"exists": False}


def join_one_more_team(pair: Pair) -> None:
    rows.change_team(pair.litellm, "t2", members_with_roles=[])
    rows.change_team(pair.litellm, "t2", members_with_roles=listed("u0"))


def change_the_user(pair: Pair) -> None:
    rows.change_user(pair.litellm, "u0", user_alias="Ann")


def change_the_key(pair: Pair) -> None:
    pair.litellm.run("DELETE FROM \"LiteLLM_VerificationToken\" WHERE token = 'hash-of-a-key'")
    rows.add_key(pair.litellm, "another-hash", "u0")


@EVERY_OPEN_WEBUI
@pytest.mark.parametrize("change", [join_one_more_team, join_in_bulk, change_the_user, change_the_key])
def test_a_deleted_account_comes_back_with_the_next_change(peopled: Pair, change: Callable[[Pair], None]) -> None:
    delete_account(peopled, "usr_u0")
    if change is join_in_bulk:
        rows.change_team(peopled.litellm, "t1", members_with_roles=listed("u1"))
    change(peopled)
    _whole(peopled)
    assert _audited(peopled, "SYNC_USER", "u0")[0]["old_data"] == {"exists": False}
    # The mirrored key follows the account.
    assert peopled.litellm_admin.value(
        "SELECT openwebui_id FROM user_bridge.sync_mapping WHERE litellm_type = 'user_key' AND litellm_id = 'u0'"
    )


@EVERY_OPEN_WEBUI
def test_who_needs_what_was_deleted_is_no_success(peopled: Pair) -> None:
    delete_group(peopled, "grp_team_t1")
    join_the_team(peopled)
    (audit,) = _audited(peopled, "SYNC_MEMBER", '["t1", "u2"]')
    assert audit["sync_result"] == "WARNING"
    assert "the group of the team t1" in audit["error_message"]


@EVERY_OPEN_WEBUI
def test_a_user_whose_group_was_deleted_too_comes_back_with_it(peopled: Pair) -> None:
    delete_account(peopled, "usr_u0")
    delete_group(peopled, "grp_team_t1")
    delete_group(peopled, "grp_o1")
    change_the_user(peopled)
    _whole(peopled)


def accounts_vanished(pair: Pair) -> None:
    for number in range(3):
        delete_account(pair, f"usr_u{number}")


def groups_vanished(pair: Pair) -> None:
    pair.openwebui.run('DELETE FROM "group"')


def everything_vanished(pair: Pair) -> None:
    accounts_vanished(pair)
    groups_vanished(pair)


def _edit(statement: str) -> Callable[[Pair], None]:
    def edit(pair: Pair) -> None:
        assert pair.openwebui.run(statement) == 1, statement

    return edit


EDITS: dict[str, Callable[[Pair], None]] = {
    "accounts vanished": accounts_vanished,
    "groups vanished": groups_vanished,
    "everything vanished": everything_vanished,
    "role": _edit("UPDATE \"user\" SET role = 'admin' WHERE id = 'usr_u1'"),
    "pending": _edit("UPDATE \"user\" SET role = 'pending' WHERE id = 'usr_u1'"),
    "name": _edit("UPDATE \"user\" SET name = 'Somebody' WHERE id = 'usr_u1'"),
    "email": _edit("UPDATE \"user\" SET email = 'other@example.com' WHERE id = 'usr_u1'"),
    "email of the sign-in": _edit("UPDATE auth SET email = 'other@example.com' WHERE id = 'usr_u1'"),
    "closed": _edit("UPDATE auth SET active = false WHERE id = 'usr_u1'"),
    "no sign-in": _edit("DELETE FROM auth WHERE id = 'usr_u1'"),
    "name of a group": _edit("UPDATE \"group\" SET name = 'Other' WHERE id = 'grp_team_t1'"),
    "enabled": _edit("UPDATE \"user\" SET role = 'user' WHERE id = 'usr_u3'"),
    "opened": _edit("UPDATE auth SET active = true WHERE id = 'usr_u3'"),
}


@EVERY_OPEN_WEBUI
@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_the_lookout_finds_what_somebody_did(peopled: Pair, edit: Callable[[Pair], None]) -> None:
    rows.change_user(peopled.litellm, "u3", metadata={"scim_active": False})
    assert look_out(peopled) == 0
    edit(peopled)
    assert look_out(peopled) > 0
    _whole(peopled)


@pytest.mark.schemas(openwebui="new")
def test_a_group_that_lost_its_parent_gets_it_back(peopled: Pair) -> None:
    peopled.openwebui.run("UPDATE \"group\" SET parent_group_id = NULL WHERE id = 'grp_team_t1'")
    assert look_out(peopled) == 1
    _whole(peopled)


def test_a_repair_is_audited_with_what_was_there(peopled: Pair) -> None:
    _edit("UPDATE \"user\" SET role = 'admin', name = 'Root' WHERE id = 'usr_u1'")(peopled)
    _edit("UPDATE \"group\" SET name = 'Other' WHERE id = 'grp_team_t1'")(peopled)
    assert look_out(peopled) == 2
    assert _audited(peopled, "SYNC_USER", "u1")[0]["old_data"] == {"role": "admin", "name": "Root"}
    assert _audited(peopled, "SYNC_TEAM", "t1")[0]["old_data"] == {"name": "Other"}


# Tables of a side that a restore to an older state takes back together.
OUR_TABLES = {
    "litellm": (
        "sync_mapping",
        "address",
        *('public."LiteLLM_UserTable"', 'public."LiteLLM_TeamTable"', 'public."LiteLLM_OrganizationMembership"'),
    ),
    "openwebui": ("entity", "membership", "withdrawn", 'public."user"', "public.auth", 'public."group"'),
}


def _tables(pair: Pair, side: str) -> list[str]:
    names = [name if name.startswith("public.") else f"user_bridge.{name}" for name in OUR_TABLES[side]]
    return [*names, "public.group_member"] if side == "openwebui" and openwebui.has_member_table(pair) else names


def _keep(pair: Pair, side: str) -> Callable[[], None]:
    """Take a backup of a side; returns what restores it, without any trigger."""
    session = pair.superuser("litellm" if side == "litellm" else "openwebui")
    session.run("CREATE SCHEMA backup")
    tables = _tables(pair, side)
    for number, table in enumerate(tables):
        session.run(f"CREATE TABLE backup.t{number} AS TABLE {table}")

    def restore() -> None:
        session.run("SET session_replication_role = replica")
        for number, table in enumerate(tables):
            session.run(f"DELETE FROM {table}")
            overriding = "OVERRIDING SYSTEM VALUE" if table.endswith("sync_mapping") else ""
            session.run(f"INSERT INTO {table} {overriding} TABLE backup.t{number}")
        session.run("RESET session_replication_role")

    return restore


@EVERY_OPEN_WEBUI
@pytest.mark.parametrize("side", ["litellm", "openwebui"])
def test_the_lookout_finds_what_a_restore_took_back(peopled: Pair, side: str) -> None:
    restore = _keep(peopled, side)
    rows.change_user(peopled.litellm, "u1", user_alias="Ann", user_role="proxy_admin")
    rows.change_team(peopled.litellm, "t1", team_alias="Renamed", members_with_roles=listed("u1", "u3"))
    rows.delete_user(peopled.litellm, "u2")
    rows.add_user(peopled.litellm, "u8", "u8@example.com")  # In no group: no membership gives the account away.
    rows.add_user(peopled.litellm, "u9", "u9@example.com")
    rows.add_team(peopled.litellm, "t9", "Nine", members_with_roles=listed("u9"))
    drain_on(peopled)
    assert look_out(peopled) == 0
    restore()
    assert look_out(peopled) > 0
    _whole(peopled)


def test_accounts_that_vanished_in_mass_come_back(peopled: Pair) -> None:
    change_settings(peopled, removal_accounts=2, removal_percent=0)
    peopled.litellm.run(
        'INSERT INTO "LiteLLM_UserTable" (user_id, user_email) '
        "SELECT 'm' || n, 'm' || n || '@example.com' FROM generate_series(1, 400) AS n"
    )
    drain_on(peopled)
    peopled.openwebui.run("DELETE FROM auth WHERE id LIKE 'usr_m%' AND id <> 'usr_m1'")
    assert peopled.openwebui.run("DELETE FROM \"user\" WHERE id LIKE 'usr_m%' AND id <> 'usr_m1'") == 399
    assert look_out(peopled) == 399
    _whole(peopled)


def test_what_cannot_be_as_wanted_is_not_delivered_again_and_again(peopled: Pair) -> None:
    """A person has rejected the move of an email: the lookout leaves it alone, and still sees everything else."""
    openwebui.add_account(peopled, "guest", "guest@example.com")
    rows.add_user(peopled.litellm, "g", "guest@example.com")
    rows.change_user(peopled.litellm, "g", user_email="moved@example.com")
    ids = [row["id"] for row in peopled.litellm_admin.rows("SELECT id FROM user_bridge.held_changes()")]
    assert len(ids) == 1
    peopled.litellm_admin.run("SELECT user_bridge.reject(%s)", [ids])
    assert look_out(peopled) == 0
    _edit("UPDATE \"user\" SET role = 'admin' WHERE id = 'guest'")(peopled)
    assert look_out(peopled) == 1
    assert openwebui.accounts(peopled)["guest@example.com"][1] == "user"


@EVERY_OPEN_WEBUI
def test_the_lookout_leaves_rejected_removals_alone(peopled: Pair) -> None:
    change_settings(peopled, removal_accounts=0, removal_percent=0)
    rows.change_team(peopled.litellm, "t1", members_with_roles=[])
    drain_on(peopled)
    before = openwebui.groups(peopled)["grp_team_t1"]
    peopled.litellm_admin.run("SELECT user_bridge.reject_removals()")
    assert look_out(peopled) == 0
    assert openwebui.groups(peopled)["grp_team_t1"] == before
    # Until LiteLLM says something new about them.
    join_the_team(peopled)
    drain_on(peopled)
    assert peopled.litellm_admin.value("SELECT count(*) FROM user_bridge.rejected") == 0


def test_what_is_missing_is_counted(peopled: Pair) -> None:
    everything_vanished(peopled)
    counted = peopled.openwebui_admin.rows("SELECT * FROM user_bridge.count_links() ORDER BY 1")
    assert {row.pop("entity_type"): tuple(row.values()) for row in counted} == {
        "model": (0, 0),
        "model_set": (0, 0),
        "organization": (1, 1),
        "team": (2, 2),
        "user": (4, 3),
    }
