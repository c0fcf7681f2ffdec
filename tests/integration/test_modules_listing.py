# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""bridge_audit_info and bridge_mapping_info against a real server, with rows that the real bridge wrote."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from kit.bridge import install_bridge
from kit.pairs import OWNER_ROLE, SYNC_USER, Pair
from kit.rows import add_key, add_organization, add_team, add_user, change_user, delete_user, join_organization
from modules_support import DRIVERS, READ_ONLY, ModuleFailed, login_options, run_module

ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z\Z")


@pytest.fixture
def lived_in(pair: Pair) -> Pair:
    """A bridge that has seen something of everything."""
    install_bridge(pair, {"initial_password": "none"})
    add_organization(pair.litellm, "o1", "Acme")
    add_team(pair.litellm, "t1", "Blue", organization_id="o1")
    add_user(pair.litellm, "u1", "Ann@example.com")
    add_user(pair.litellm, "u2")
    add_user(pair.litellm, "100%_\\", "percent@example.com")
    join_organization(pair.litellm, "o1", "u1")
    add_key(pair.litellm, "hash-of-a-token", "u1", key_alias="laptop")
    change_user(pair.litellm, "u1", user_alias="Ann")
    delete_user(pair.litellm, "u2")
    return pair


def listed(pair: Pair, module: str, driver: str = DRIVERS[0], check: bool = False, **options: Any) -> dict[str, Any]:
    login = login_options(pair, "litellm", options.pop("user", "postgres"))
    result = run_module(module, {**login, **options}, driver=driver, check=check, env=READ_ONLY)
    assert result["changed"] is False and "hash-of-a-token" not in json.dumps(result)
    return result


def audit(pair: Pair, **options: Any) -> list[tuple[str, str, str]]:
    entries = listed(pair, "bridge_audit_info", **options)["entries"]
    return [(entry["operation"], entry["entity_id"], entry["result"]) for entry in entries]


def mapping(pair: Pair, **options: Any) -> list[tuple[str, str]]:
    entries = listed(pair, "bridge_mapping_info", **options)["entries"]
    return [(entry["litellm_type"], entry["openwebui_id"]) for entry in entries]


@pytest.mark.parametrize("driver", DRIVERS)
def test_audit_entry(lived_in: Pair, driver: str) -> None:
    found = listed(lived_in, "bridge_audit_info", driver, entity_ids=["u1"], operations=["SYNC_USER"], limit=1)
    (entry,) = found["entries"]
    assert found["total"] == 2 and found["next_after_id"] == entry["id"]
    assert entry["after"]["email"] == "ann@example.com" and entry["after"]["name"] == "Ann"
    assert entry["before"] == {"name": "ann"} and entry["message"] is None and entry["result"] == "SUCCESS"
    assert ISO.match(entry["at"])
    assert found == listed(
        lived_in, "bridge_audit_info", driver, True, entity_ids=["u1"], operations=["SYNC_USER"], limit=1
    )


def test_who_decided(lived_in: Pair) -> None:
    lived_in.litellm_admin.run("SELECT user_bridge.note_decision('APPROVE_CHANGES', '{1,2}')")
    (entry,) = listed(lived_in, "bridge_audit_info", operations=["APPROVE_CHANGES"])["entries"]
    assert (entry["by"], entry["after"]) == ("postgres", {"ids": [1, 2]})
    others = listed(lived_in, "bridge_audit_info", entity_types=["user"])["entries"]
    assert others and {entry["by"] for entry in others} == {None}


@pytest.mark.parametrize("driver", DRIVERS)
def test_mapping_entry(lived_in: Pair, driver: str) -> None:
    found = listed(lived_in, "bridge_mapping_info", driver, litellm_types=["user"], litellm_ids=["u1"])
    (entry,) = found["entries"]
    assert found["total"] == 1 and found["next_after_id"] is None
    assert entry["openwebui_type"] == "user" and entry["openwebui_id"] == "usr_u1"
    assert entry["data"]["email"] == "ann@example.com"
    assert ISO.match(entry["created_at"]) and entry["created_at"] < entry["updated_at"]


def test_audit_filters(lived_in: Pair) -> None:
    skipped = [("SYNC_USER", "u2", "SKIPPED")]
    assert audit(lived_in, results=["SKIPPED"]) == skipped
    assert audit(lived_in, text="NO EMAIL", operations=["SYNC_USER"]) == skipped
    assert audit(lived_in, text="%") == audit(lived_in, text="100%_\\") == [("SYNC_USER", "100%_\\", "SUCCESS")]
    assert audit(lived_in, entity_types=["organization", "team"], order="oldest") == [
        ("SYNC_ORG", "o1", "SUCCESS"),
        ("SYNC_TEAM", "t1", "SUCCESS"),
    ]
    assert [each[0] for each in audit(lived_in, entity_types=["user"], entity_ids=["u2"])] == [
        "DELETE_USER",
        "SYNC_USER",
    ]
    assert audit(lived_in, entity_types=["team_member"]) == [("SYNC_MEMBER", '["o1", "u1"]', "SUCCESS")]
    assert [each[0] for each in audit(lived_in, entity_types=["api_key"])] == ["SYNC_API_KEY"]
    assert audit(lived_in, entity_ids=[]) == audit(lived_in, results=["FAILED"]) == []
    assert audit(lived_in, entity_ids=["'; DROP TABLE user_bridge.sync_audit; --"]) == []


def test_mapping_filters(lived_in: Pair) -> None:
    assert mapping(lived_in, openwebui_types=["group"], order="oldest") == [
        ("organization", "grp_o1"),
        ("team", "grp_team_t1"),
    ]
    assert mapping(lived_in, openwebui_ids=["usr_u1"], litellm_types=["user"]) == [("user", "usr_u1")]
    assert mapping(lived_in, text="LAPTOP") == [("api_key", "usr_u1")]
    assert mapping(lived_in, litellm_ids=["u2"]) == mapping(lived_in, litellm_types=[]) == []


@pytest.mark.parametrize("module", ["bridge_audit_info", "bridge_mapping_info"])
def test_time_range(lived_in: Pair, module: str) -> None:
    everything = listed(lived_in, module)["total"]
    table = {"bridge_audit_info": "sync_audit", "bridge_mapping_info": "sync_mapping"}[module]
    column = {"bridge_audit_info": "created_at", "bridge_mapping_info": "updated_at"}[module]
    lived_in.litellm_admin.run(
        f"UPDATE user_bridge.{table} SET {column} = '2020-01-02 03:04:05.5+00'"
        f" WHERE id = (SELECT min(id) FROM user_bridge.{table})"
    )
    for old in ("2020-01-02T03:04:05.5Z", "2020-01-02T04:04:05.500+01:00", "2020-01-03", "1d"):
        assert listed(lived_in, module, until=old)["total"] == 1, old
    for new in ("2020-01-02T03:04:05.5001Z", "1h"):
        assert listed(lived_in, module, since=new)["total"] == everything - 1, new
    assert listed(lived_in, module, since="2020-01-02T03:04:05.5Z")["total"] == everything
    assert listed(lived_in, module, since="1h", until="2h")["total"] == 0


@pytest.mark.parametrize("module", ["bridge_audit_info", "bridge_mapping_info"])
@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_pages_hold_every_entry_once_in_order(lived_in: Pair, module: str, order: str) -> None:
    whole = listed(lived_in, module, order=order)
    ids = [entry["id"] for entry in whole["entries"]]
    assert ids == sorted(ids, reverse=order == "newest") and len(ids) == whole["total"] > 4
    pages: list[int] = []
    after = None
    while True:
        page = listed(lived_in, module, order=order, limit=2, after_id=after)
        assert page["total"] == whole["total"]
        pages += [entry["id"] for entry in page["entries"]]
        after = page["next_after_id"]
        if after is None:
            break
    assert pages == ids


@pytest.mark.parametrize("module", ["bridge_audit_info", "bridge_mapping_info"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limit": 0}, "limit must be between 1 and 10000"),
        ({"since": "yesterday"}, "since: 'yesterday' is neither a time"),
        ({"login_port": 1}, "cannot connect to"),
        ({"user": SYNC_USER}, f"login_user {SYNC_USER} may not look into the bridge .*permission denied"),
    ],
)
def test_bad_input_and_missing_rights(lived_in: Pair, module: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ModuleFailed, match=message):
        listed(lived_in, module, **options)


def test_a_login_with_select_alone_may_read(lived_in: Pair) -> None:
    admin = lived_in.litellm_admin
    admin.run(f"GRANT USAGE ON SCHEMA user_bridge TO {SYNC_USER}")
    admin.run(f"GRANT SELECT ON user_bridge.sync_audit, user_bridge.sync_mapping TO {SYNC_USER}")
    assert audit(lived_in, user=SYNC_USER) == audit(lived_in)
    assert mapping(lived_in, user=SYNC_USER) == mapping(lived_in)
    with pytest.raises(ModuleFailed, match="permission denied for function operation"):
        audit(lived_in, user=SYNC_USER, entity_types=["user"])
    admin.run(f"GRANT {OWNER_ROLE} TO {SYNC_USER}")
    try:
        assert audit(lived_in, user=SYNC_USER, entity_types=["user"])
    finally:
        admin.run(f"REVOKE {OWNER_ROLE} FROM {SYNC_USER}")


@pytest.mark.parametrize("module", ["bridge_audit_info", "bridge_mapping_info"])
def test_without_a_bridge(pair: Pair, module: str) -> None:
    with pytest.raises(ModuleFailed, match=r"the bridge is not installed in database .*: run the playbook"):
        listed(pair, module)


@pytest.mark.parametrize("module", ["bridge_audit_info", "bridge_mapping_info"])
def test_a_bridge_of_another_shape(lived_in: Pair, module: str) -> None:
    lived_in.litellm_admin.run("ALTER TABLE user_bridge.sync_audit RENAME sync_result TO outcome")
    lived_in.litellm_admin.run("ALTER TABLE user_bridge.sync_mapping RENAME sync_data TO data")
    with pytest.raises(ModuleFailed, match="is of another version than this collection, or damaged: .*; run the pl"):
        listed(lived_in, module)
