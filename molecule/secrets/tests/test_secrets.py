# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No password is in what Ansible prints at -vvv, in its log, in the server's log or anywhere else on the host."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

from kit.hosts import READ_ONLY, Database, Run, play

testinfra_hosts = ["docker://user-bridge-secrets"]
# Without it pytest would take the tests that ask nothing of the host last, and they are in the order of what happens.
pytestmark = pytest.mark.usefixtures("host")

# Every password of the inventory, and those that the tests set, have it in them.
CANARY = "canary-of"
_PLACES = "/etc /var/log /tmp /var/tmp /root /home /run /var/lib/postgresql --exclude-dir=data --exclude-dir=main"


def verbose(tmp_path: Path, *arguments: str, env: dict[str, str] | None = None, **variables: Any) -> Run:
    run = play("deploy_bridge", "secrets", tmp_path, "-vvv", "--diff", *arguments, env=env, **variables)
    for text in (run.output, run.log):
        # The file of variables is named on the command line, which holds no more than its path.
        assert CANARY not in text, [line for line in text.splitlines() if CANARY in line]
    return run


def server_log(host: Host) -> str:
    return str(host.check_output("cat /var/log/postgresql/*.log"))


def test_the_server_logs_statements(host: Host, litellm: Database) -> None:
    """Otherwise the other tests would prove nothing."""
    litellm.run("SELECT 'is this logged?'")
    assert "is this logged?" in server_log(host)


def test_tasks_with_secrets_that_fail(tmp_path: Path, litellm: Database) -> None:
    # The look: the maintenance password is wrong.
    tcp: dict[str, Any] = {
        "bridge_postgres_mode": "external",
        "bridge_login_host": "127.0.0.1",
        "bridge_login_user": "litellm",
    }
    run = verbose(tmp_path, bridge_login_password="canary-of-nobody", bridge_login_become_user="", **tcp)
    assert run.failed == 1 and "password authentication failed" in run.words
    # Nothing can be written: the owner's new password, then the sync user's.
    run = verbose(tmp_path, env=READ_ONLY, bridge_litellm_owner_password="canary-of-another-litellm")
    assert run.failed == 1 and "postgres : Owner" in run.output, run.output
    litellm.run("CREATE ROLE user_bridge_owner")
    run = verbose(tmp_path, env=READ_ONLY)
    assert run.failed == 1 and "Sync user with its password" in run.output, run.output
    # The connection between the databases leads nowhere.
    run = verbose(tmp_path, bridge_target_port=1)
    assert run.failed == 1 and "Connection from LiteLLM's database" in run.output, run.output


def test_a_deployment_and_a_new_password(tmp_path: Path) -> None:
    assert verbose(tmp_path, "--check").failed == 0
    first = verbose(tmp_path)
    assert first.failed == 0 and first.changed > 0, first.output
    second = verbose(tmp_path, env=READ_ONLY)
    assert (second.changed, second.failed) == (0, 0), second.output
    rotated = verbose(tmp_path, bridge_sync_password="canary-of-another-day")
    assert rotated.failed == 0 and rotated.changed > 0, rotated.output


def test_writes_of_litellm_leave_none_in_the_audit(litellm: Database) -> None:
    proxy = litellm.as_role("litellm")
    proxy.run("INSERT INTO \"LiteLLM_UserTable\" (user_id, user_email) VALUES ('ann', 'ann@example.com')")
    proxy.run("INSERT INTO \"LiteLLM_VerificationToken\" (token, user_id) VALUES ('canary-of-a-token-hash', 'ann')")
    for table in ("sync_audit", "sync_mapping", "sync_queue"):
        assert CANARY not in str(litellm.rows(f"SELECT * FROM user_bridge.{table}")), table


def test_nothing_is_left_on_the_host(host: Host) -> None:
    log = [line for line in server_log(host).splitlines() if CANARY in line]
    # What psql and LiteLLM's own statements said is theirs: only the token of the test above.
    assert [line for line in log if "canary-of-a-token-hash" not in line] == []
    assert host.run(f"grep -rIl '{CANARY}' {_PLACES} --exclude='postgresql-*.log'").stdout.split() == []
    assert CANARY not in host.check_output("journalctl --no-pager")
