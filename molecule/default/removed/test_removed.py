# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is left after remove.yml."""

from __future__ import annotations

from testinfra.host import Host

from kit.hosts import BRIEF, Database

_OTHER = [] if BRIEF else ["docker://user-bridge-other"]
testinfra_hosts = ["docker://user-bridge-default", *_OTHER]


def test_nothing_of_the_bridge_is_in_the_databases(litellm: Database, openwebui: Database) -> None:
    for database in (litellm, openwebui):
        assert database.value("SELECT to_regnamespace('user_bridge')::text") is None
        assert (
            database.rows("SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgname LIKE '%user_bridge%'") == []
        )
        assert database.rows("SELECT srvname FROM pg_foreign_server") == []
        assert database.rows("SELECT usename FROM pg_user_mappings") == []


def test_the_bridges_roles_are_gone_and_the_programs_are_not(litellm: Database) -> None:
    roles = litellm.rows("SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY 1")
    assert [role["rolname"] for role in roles] == ["litellm", "openwebui", "postgres"]


def test_no_drainer_runs(host: Host) -> None:
    assert host.run("systemctl list-unit-files --plain --no-legend '*bridge*'").stdout == ""
    assert host.check_output("find /etc/systemd/system -name '*bridge*'") == ""
    assert host.file("/srv").listdir() == []


def test_what_was_synced_stays(openwebui: Database) -> None:
    assert openwebui.value("SELECT count(*) FROM \"user\" WHERE email = 'kept@example.com'") == 1
    assert openwebui.value("SELECT count(*) FROM auth WHERE email = 'kept@example.com'") == 1


def test_litellm_goes_on_alone(litellm: Database, openwebui: Database) -> None:
    proxy = litellm.as_role("litellm")
    proxy.run("INSERT INTO \"LiteLLM_UserTable\" (user_id, user_email) VALUES ('alone', 'alone@example.com')")
    proxy.run("UPDATE \"LiteLLM_UserTable\" SET user_alias = 'Alone' WHERE user_id = 'alone'")
    proxy.run("DELETE FROM \"LiteLLM_UserTable\" WHERE user_id = 'alone'")
    assert openwebui.value("SELECT count(*) FROM \"user\" WHERE email = 'alone@example.com'") == 0
