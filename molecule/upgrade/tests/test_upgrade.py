# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An older bridge and the upstream scripts, after one run of the playbook."""

from __future__ import annotations

import pytest
import testinfra

from kit.hosts import PASSWORDS, Database

UPGRADE, TAKEOVER = (testinfra.get_host(f"docker://user-bridge-{name}") for name in ("upgrade", "takeover"))
_TRIGGERS = (
    "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgrelid = '\"LiteLLM_OrganizationTable\"'::regclass"
)


@pytest.mark.parametrize("host", [UPGRADE, TAKEOVER], ids=["upgrade", "takeover"])
def test_this_version_is_there_and_works(host: testinfra.host.Host) -> None:
    litellm, openwebui = Database(host, "litellm"), Database(host, "openwebui")
    assert litellm.value("SELECT user_bridge.version()") == "1.0.0"
    litellm.as_role("litellm").run(
        "INSERT INTO \"LiteLLM_UserTable\" (user_id, user_email) VALUES ('new', 'new@example.com')"
    )
    assert openwebui.value("SELECT count(*) FROM \"user\" WHERE id = 'usr_new'") == 1


def test_what_was_otherwise_is_as_in_this_version() -> None:
    litellm = Database(UPGRADE, "litellm")
    assert litellm.value("SELECT to_regprocedure('user_bridge.of_version_0_9()')::text") is None
    assert litellm.value("SELECT to_regprocedure('user_bridge.check_sync_status()')::text") is not None
    assert litellm.rows(_TRIGGERS) != []


def test_what_waited_under_the_older_version_arrives() -> None:
    litellm, openwebui = Database(UPGRADE, "litellm"), Database(UPGRADE, "openwebui")
    litellm.run("SELECT user_bridge.drain()")
    assert openwebui.value("SELECT email FROM \"user\" WHERE id = 'usr_waiting'") == "waiting@example.com"
    assert litellm.value("SELECT count(*) FROM user_bridge.sync_queue") == 0


def test_nothing_of_the_scripts_runs_any_more() -> None:
    litellm = Database(TAKEOVER, "litellm")
    bodies = litellm.rows("SELECT oid::regprocedure::text AS name, prosrc FROM pg_proc WHERE pronamespace > 16383")
    assert PASSWORDS["openwebui"] not in str(bodies)
    triggers = litellm.rows(
        "SELECT tgname FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid"
        " WHERE NOT t.tgisinternal AND p.pronamespace = 'public'::regnamespace"
        " AND p.proname ~ '^(sync|handle)_'"
    )
    assert triggers == []


def test_whom_the_scripts_brought_is_kept_and_changes_with_litellm() -> None:
    litellm, openwebui = Database(TAKEOVER, "litellm"), Database(TAKEOVER, "openwebui")
    assert openwebui.value("SELECT count(*) FROM \"user\" WHERE email = 'ann@example.com'") == 1
    litellm.as_role("litellm").run("UPDATE \"LiteLLM_UserTable\" SET user_alias = 'Anna' WHERE user_id = 'ann'")
    assert openwebui.value("SELECT name FROM \"user\" WHERE email = 'ann@example.com'") == "Anna"
    litellm.as_role("litellm").run(
        "UPDATE \"LiteLLM_OrganizationTable\" SET organization_alias = 'Labs' WHERE organization_id = 'o1'"
    )
    assert openwebui.value("SELECT name FROM \"group\" WHERE id = 'grp_o1'") == "Labs"
