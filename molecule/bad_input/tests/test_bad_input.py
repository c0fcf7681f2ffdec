# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each mistake is refused in one message, which names the variable and the remedy, before anything is changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

from kit.hosts import play

testinfra_hosts = ["docker://user-bridge-bad-input"]

# Servers of somebody else's: package mode would take a wrong name for a wish.
_SOCKET: dict[str, Any] = {
    "bridge_postgres_mode": "external",
    "bridge_login_unix_socket": "/var/run/postgresql",
    "bridge_login_become_user": "postgres",
}
_TCP: dict[str, Any] = {"bridge_postgres_mode": "external", "bridge_login_host": "127.0.0.1"}

CASES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "a placeholder for a password": (
        {"bridge_sync_password": "ChangeMe"},
        ["bridge_sync_password is missing, empty or a placeholder", "ansible-vault encrypt_string"],
    ),
    "one name for two roles": (
        {"bridge_sync_user": "openwebui"},
        ['bridge_sync_user ("openwebui")', "must each name a role of their own"],
    ),
    "no such database": (
        {**_SOCKET, "bridge_litellm_db": "litelm"},
        ['database "litelm" does not exist', "set bridge_litellm_db to the database that LiteLLM uses"],
    ),
    "a database without the program's tables": (
        {**_SOCKET, "bridge_openwebui_db": "postgres"},
        ["has no table", "Start Open WebUI once", "bridge_openwebui_db"],
    ),
    "the wrong owner": (
        {**_SOCKET, "bridge_openwebui_owner": "litellm"},
        ['bridge_openwebui_owner is "litellm"', 'belong to "openwebui"', "Set bridge_openwebui_owner"],
    ),
    "an unknown choice": ({"bridge_delivery": "eventually"}, ["bridge_delivery", "must be one of", "queued"]),
    "text for a number": ({"bridge_target_timeout_ms": "soon"}, ["bridge_target_timeout_ms", "int"]),
    "a mode that is not there": ({"bridge_postgres_mode": "kubernetes"}, ["bridge_postgres_mode", "package"]),
    "nobody to become": (
        {**_SOCKET, "bridge_login_become_user": "nobody-there"},
        ['bridge_login_become_user is "nobody-there"', "no such operating system user"],
    ),
    "nobody to become on a server of the role's own": (
        {"bridge_login_become_user": "nobody-there"},
        ['bridge_login_become_user is "nobody-there"', "no such operating system user"],
    ),
    "no such database on a server of the role's own": (
        {"bridge_create_databases": False, "bridge_litellm_db": "litelm", "bridge_postgres_clients": ["192.0.2.1/32"]},
        ['database "litelm" does not exist', "set bridge_litellm_db to the database that LiteLLM uses"],
    ),
    "a new cluster without databases": (
        {"bridge_create_databases": False, "bridge_postgres_cluster": "other", "bridge_login_port": 5499},
        ["bridge_create_databases is false", "Leave it at true"],
    ),
    "nobody listens": (
        {**_TCP, "bridge_login_port": 1, "bridge_login_password": "any"},
        ["Cannot look into LiteLLM's database", "check bridge_login_host and bridge_login_port"],
    ),
    "a wrong password": (
        {**_TCP, "bridge_login_user": "litellm", "bridge_login_password": "wrong"},
        ["password authentication failed", "check bridge_login_user and bridge_login_password"],
    ),
    "a version that apt does not offer": (
        {"bridge_postgres_version": "99", "bridge_postgres_cluster": "other", "bridge_login_port": 5499},
        ["bridge_postgres_version: apt on this host does not offer PostgreSQL 99", "Choose one of these"],
    ),
}


def state(host: Host) -> str:
    """Everything that a deployment could have changed."""
    return str(
        host.check_output(
            "runuser -u postgres -- pg_dumpall | grep -v '^.restrict\\|^.unrestrict' | sha256sum;"
            " find /etc/postgresql* /etc/systemd/system -type f -exec sha256sum {} + | sort;"
            " dpkg-query --show | sha256sum; systemctl show --property=MainPID 'postgresql@*.service'"
        )
    )


@pytest.mark.parametrize("case", CASES)
def test_a_mistake_is_refused_and_changes_nothing(host: Host, tmp_path: Path, case: str) -> None:
    variables, expected = CASES[case]
    before = state(host)
    run = play("deploy_bridge", "bad_input", tmp_path, **variables)
    assert (run.changed, run.failed) == (0, 1), run.output
    for words in expected:
        assert words in run.words, run.output
    assert state(host) == before


def test_without_a_mistake_it_would_go_on(tmp_path: Path) -> None:
    """So it was the mistake that stopped the others."""
    run = play("deploy_bridge", "bad_input", tmp_path, "--check")
    assert run.failed == 0 and run.changed > 0, run.output
