# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people get wrong on a host of their own: refused with variable and remedy, and nothing has changed.

tests/integration/test_playbooks_bad_input.py has what needs no package, no systemd and no login at the socket.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import testinfra

from kit.hosts import Logged, play_aliases

HOST = "user-bridge-other"
# It writes into the databases.
DRAINER = "user-bridge-litellm.service"
# A server of somebody else's: package mode would take a wrong name for a wish.
_SOCKET: dict[str, Any] = {
    "bridge_postgres_mode": "external",
    "bridge_login_unix_socket": "/var/run/postgresql",
    "bridge_login_become_user": "postgres",
}
_OTHER_CLUSTER: dict[str, Any] = {"bridge_postgres_cluster": "other", "bridge_login_port": 5499}

CASES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "no_such_database_at_the_socket": (
        {**_SOCKET, "bridge_litellm_db": "litelm"},
        ['database "litelm" does not exist', "set bridge_litellm_db to the database that LiteLLM uses"],
    ),
    "nobody_to_become_at_the_socket": (
        {**_SOCKET, "bridge_login_become_user": "nobody-there"},
        ['bridge_login_become_user is "nobody-there"', "no such operating system user"],
    ),
    "nobody_to_become": (
        {"bridge_login_become_user": "nobody-there"},
        ['bridge_login_become_user is "nobody-there"', "no such operating system user"],
    ),
    "no_such_database": (
        {"bridge_create_databases": False, "bridge_litellm_db": "litelm", "bridge_postgres_clients": ["192.0.2.1/32"]},
        ['database "litelm" does not exist', "set bridge_litellm_db to the database that LiteLLM uses"],
    ),
    "new_cluster_without_databases": (
        {"bridge_create_databases": False, **_OTHER_CLUSTER},
        ["bridge_create_databases is false", "Leave it at true"],
    ),
    "version_that_apt_does_not_offer": (
        {"bridge_postgres_version": "99", **_OTHER_CLUSTER},
        ["bridge_postgres_version: apt on this host does not offer PostgreSQL 99", "Choose one of these"],
    ),
}


def state(host: testinfra.host.Host) -> str:
    """Everything that a deployment could have changed."""
    return str(
        host.check_output(
            "runuser -u postgres -- pg_dumpall | grep -v '^.restrict\\|^.unrestrict' | sha256sum;"
            " find /etc/postgresql* /etc/systemd/system -type f -exec sha256sum {} + | sort;"
            " dpkg-query --show | sha256sum; systemctl show --property=MainPID 'postgresql@*.service'"
        )
    )


@dataclass(frozen=True)
class Refusals:
    """One run of the playbook on all mistakes, and the host before and after it."""

    run: Logged
    before: str
    after: str


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> Refusals:
    host = testinfra.get_host(f"docker://{HOST}")
    cases = {name: variables for name, (variables, _) in CASES.items()}
    host.check_output(f"systemctl stop {DRAINER}")
    try:
        before = state(host)
        run = play_aliases("deploy_bridge", HOST, "default", cases, tmp_path_factory.mktemp("refusals"))
        return Refusals(run, before, state(host))
    finally:
        host.check_output(f"systemctl start {DRAINER}")


@pytest.mark.parametrize("case", CASES)
def test_a_mistake_is_refused(refusals: Refusals, case: str) -> None:
    refusal = refusals.run.hosts[case]
    assert (refusal.changed, refusal.failed) == (0, 1), refusals.run.output
    for words in CASES[case][1]:
        assert words in refusal.words, refusal.output


def test_a_refusal_changes_nothing(refusals: Refusals) -> None:
    assert refusals.after == refusals.before
