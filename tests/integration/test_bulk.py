# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A large request ends as its items would one by one, whichever of them are new."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from hard_support import replaced
from kit.bridge import install_bridge
from kit.drains import drain_on
from kit.pairs import Pair
from kit.rows import add_organization, add_team, add_user, change_user, delete_user, join_organization

EVERY_SCHEMA = pytest.mark.schemas(litellm="all", openwebui="all")
QUEUED = {"initial_password": "none", "delivery": "queued", "backoff_seconds": 1}
COUNT = 60


# The bridge without apply_bulk().
ONE_BY_ONE = replaced(
    "engine/openwebui/door.sql.j2",
    "jsonb_array_length(p_request -> 'items') < 2",
    "jsonb_array_length(p_request -> 'items') > 0",
)


def populate(pair: Pair) -> None:
    """What exists already, is refused or changes, among many that are new."""
    add_organization(pair.litellm, "o1", "Acme")
    for number in range(COUNT):
        add_user(pair.litellm, f"u{number:02}", f"u{number:02}@example.com", user_alias=f"U {number}")
        join_organization(pair.litellm, "o1", f"u{number:02}")
    members = [{"user_id": f"u{number:02}", "role": "user"} for number in range(0, COUNT, 2)]
    add_team(pair.litellm, "t1", "Blue", organization_id="o1", members_with_roles=members)
    add_user(pair.litellm, "none")
    add_user(pair.litellm, "same", "U01@example.com")
    add_user(pair.litellm, "admin", pair.admin.email)
    # Comes before the one who is demoted either way; otherwise he would be the last admin until the next attempt.
    add_user(pair.litellm, "aboss", "boss@example.com", user_role="proxy_admin")
    change_user(pair.litellm, "u02", metadata={"scim_active": False})
    change_user(pair.litellm, "u03", user_alias="x" * 300)
    change_user(pair.litellm, "u04", teams=["t1"])
    for account, email in (("mine", "U05@example.com"), ("usr_u06", "left@example.com")):
        sign_in = "INSERT INTO auth (id, email, password, active) VALUES (%s, %s, 'x', true)"
        pair.openwebui.run(sign_in, [account, email])
        pair.openwebui.run(
            'INSERT INTO "user" (id, name, email, role, profile_image_url, created_at, updated_at, last_active_at)'
            " VALUES (%s, 'Old', %s, 'user', '', 1, 1, 1)",
            [account, email],
        )


def drain(pair: Pair, limit: int = 500) -> list[dict[str, Any]]:
    """Until only what fails for good is left."""
    return drain_on(pair, limit, due_only=True)


def everything(pair: Pair) -> Iterator[list[dict[str, Any]]]:
    """What is in both databases, without times and random ids."""
    for query in (
        "SELECT to_jsonb(u) - '{created_at,updated_at,last_active_at}'::text[] AS row FROM \"user\" AS u ORDER BY id",
        "SELECT to_jsonb(a) - '{password,session_stamp}'::text[] AS row FROM auth AS a ORDER BY id",
        # Up to 0.6.36 a group lists its members, in any order.
        "SELECT to_jsonb(g) - '{created_at,updated_at,user_ids}'::text[] AS row,"
        " (SELECT jsonb_agg(u ORDER BY u) FROM jsonb_array_elements(to_jsonb(g) -> 'user_ids') AS u) AS user_ids"
        ' FROM "group" AS g ORDER BY id',
    ):
        yield pair.openwebui_admin.rows(query)
    if pair.openwebui_admin.value("SELECT to_regclass('public.group_member')"):
        yield pair.openwebui_admin.rows("SELECT group_id, user_id FROM group_member ORDER BY 1, 2")
    yield pair.openwebui_admin.rows(
        "SELECT to_jsonb(e) - '{version,applied_at,source_txid,initial_password_at}'::text[] AS row"
        " FROM user_bridge.entity AS e ORDER BY entity_type, entity_id"
    )
    yield pair.openwebui_admin.rows("SELECT * FROM user_bridge.membership ORDER BY 1, 2, 3")
    yield pair.litellm_admin.rows(
        "SELECT litellm_type, litellm_id, openwebui_id, sync_data FROM user_bridge.sync_mapping ORDER BY 1, 2"
    )


@EVERY_SCHEMA
def test_the_same_as_one_by_one(pair: Pair) -> None:
    """The same story with and without apply_bulk()."""
    install_bridge(pair, QUEUED, mutate=ONE_BY_ONE)
    populate(pair)
    expected_results = drain(pair)
    expected = list(everything(pair))
    # As if the bridge had never been: only what was made by hand stays.
    pair.openwebui_admin.run("DELETE FROM \"user\" WHERE id LIKE 'usr\\_%' OR id = 'mine'")
    pair.openwebui_admin.run("DELETE FROM auth WHERE id LIKE 'usr\\_%' OR id = 'mine'")
    pair.openwebui_admin.run('DELETE FROM "group"')
    pair.openwebui_admin.run('UPDATE "user" SET name = %s', [pair.admin.name])
    pair.openwebui_admin.run("TRUNCATE user_bridge.entity, user_bridge.membership")
    pair.litellm_admin.run("TRUNCATE user_bridge.sync_mapping, user_bridge.sync_queue, user_bridge.sync_audit")
    for table in ("OrganizationMembership", "UserTable", "TeamTable", "OrganizationTable", "BudgetTable"):
        pair.litellm_admin.run(f'DELETE FROM "LiteLLM_{table}"')
    pair.litellm_admin.run("TRUNCATE user_bridge.sync_queue")
    install_bridge(pair, QUEUED)
    populate(pair)
    results = drain(pair)
    found = list(everything(pair))

    def key(row: dict[str, Any]) -> tuple[Any, ...]:
        return row["entity_type"], row["entity_id"], row["result"], row["error_message"]

    assert sorted(map(str, map(key, results))) == sorted(map(str, map(key, expected_results)))
    for one, other in zip(found, expected, strict=True):
        assert one == other
    assert len(found[0]) >= COUNT


# What each statement inserts.
_STATEMENTS = (
    "CREATE TABLE public.statements (n bigint); GRANT INSERT ON public.statements TO PUBLIC;"
    "CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
    "INSERT INTO public.statements SELECT count(*) FROM inserted; RETURN NULL; END $$;"
    'CREATE TRIGGER note AFTER INSERT ON public."user" REFERENCING NEW TABLE AS inserted'
    " FOR EACH STATEMENT EXECUTE FUNCTION public.note()"
)
_SPLITS = "SELECT sync_result, error_message FROM user_bridge.sync_audit WHERE operation = 'SPLIT_REQUEST'"


def test_one_bad_item_fails_alone(pair: Pair) -> None:
    """And one by one are written only those of its half; the audit says why that took longer."""
    install_bridge(pair, QUEUED)
    for number in range(COUNT):
        add_user(pair.litellm, f"u{number}", f"u{number}@example.com")
    pair.openwebui_admin.run(
        "ALTER TABLE public.\"user\" ADD CONSTRAINT no_u7 CHECK (email <> 'u7@example.com') NOT VALID"
    )
    pair.openwebui_admin.run(_STATEMENTS)
    results = {row["entity_id"]: row["result"] for row in drain(pair)}
    assert results.pop("u7") == "FAILED" and set(results.values()) == {"SUCCESS"} and len(results) == COUNT - 1
    assert pair.openwebui.value("SELECT count(*) FROM \"user\" WHERE id LIKE 'usr%'") == COUNT - 1
    assert pair.openwebui_admin.value("SELECT max(n) FROM public.statements") == COUNT // 2
    said = pair.litellm_admin.rows(_SPLITS)
    assert [row["sync_result"] for row in said] == ["WARNING"] and "no_u7" in said[0]["error_message"]
    assert pair.litellm_admin.value("SELECT last_value FROM user_bridge.split_requests") == 1


def test_nobody_is_compared_with_everybody(pair: Pair) -> None:
    """Also not by the plan that was taken when statistics knew memberships, and no users."""
    install_bridge(pair, QUEUED)
    there = (
        "INSERT INTO user_bridge.entity (entity_type, entity_id, version)"
        " SELECT %s, 'there' || n, 1 FROM generate_series(1, %s) AS n"
    )
    pair.openwebui_admin.run(there, ["team_member", 1000])
    pair.openwebui_admin.run("ANALYZE user_bridge.entity")
    pair.openwebui_admin.run(there, ["user", 80000])
    for method in ("hashjoin", "mergejoin"):
        pair.openwebui_admin.run(f'ALTER DATABASE "{pair.openwebui_db}" SET enable_{method} = off')
    pair.litellm.run(
        'INSERT INTO "LiteLLM_UserTable" (user_id, user_email, models)'
        " SELECT 'u' || n, 'u' || n || '@example.com', '{}' FROM generate_series(1, 1000) AS n"
    )
    assert {row["result"] for row in drain(pair, 1000)} == {"SUCCESS"}
    assert pair.litellm_admin.rows(_SPLITS) == []


def test_accounts_are_inserted_in_one_statement(pair: Pair) -> None:
    """Or apply_bulk() could be dead code."""
    install_bridge(pair, QUEUED)
    pair.openwebui_admin.run(_STATEMENTS)
    for number in range(COUNT):
        add_user(pair.litellm, f"u{number}", f"u{number}@example.com")
    drain(pair)
    assert pair.openwebui_admin.value("SELECT max(n) FROM public.statements") == COUNT
    delete_user(pair.litellm, "u1")
    add_user(pair.litellm, "u1", "u1@example.com")
    assert {row["result"] for row in drain(pair)} == {"SUCCESS"}


def test_passwords_are_hashed_one_by_one(pair: Pair) -> None:
    """A statement that hashes several could not stop at the deadline."""
    install_bridge(pair, {**QUEUED, "initial_password": "email", "password_cost": 4})
    for number in range(COUNT):
        add_user(pair.litellm, f"u{number}", f"u{number}@example.com")
    drain(pair)
    hashes = pair.openwebui_admin.rows("SELECT password FROM auth WHERE id LIKE 'usr%'")
    assert len(hashes) == COUNT and all(re.match(r"\$2[aby]\$04\$", row["password"]) for row in hashes)
