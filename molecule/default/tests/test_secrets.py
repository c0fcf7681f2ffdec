# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No password is in what Ansible prints at -vvv, in its log, in the server's log or anywhere else on the host.

tests/integration/test_playbooks_secrets.py makes each task with a secret fail; here are the tasks of package mode, a
login at the socket, and all that a host keeps.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

from kit.hosts import BRIEF, PASSWORDS, READ_ONLY, Database, Logged, play

HOST = "user-bridge-other"
testinfra_hosts = [f"docker://{HOST}"]

# Every password of the inventory, and those that the tests set, have it in them.
CANARY = "canary-of"
_PLACES = "/etc /var/log /tmp /var/tmp /root /home /run /var/lib/postgresql --exclude-dir=data --exclude-dir=main"
_EVERYTHING = (
    "log_statement = 'all'",
    "log_min_duration_statement = 0",
    "log_min_error_statement = 'debug5'",
    "log_parameter_max_length_on_error = -1",
)


def verbose(tmp_path: Path, env: dict[str, str] | None = None, **variables: Any) -> Logged:
    run = play("deploy_bridge", HOST, tmp_path, "-vvv", "--diff", env=env, **variables)
    for text in (run.output, run.log):
        # The file of variables is named on the command line, which holds no more than its path.
        assert CANARY not in text, [line for line in text.splitlines() if CANARY in line]
    return run


def server_log(host: Host) -> str:
    return str(host.check_output("cat /var/log/postgresql/*.log"))


@pytest.fixture(autouse=True)
def logging_everything(litellm: Database) -> Iterator[None]:
    """The server logs every statement of everybody in the meantime."""
    for setting in _EVERYTHING:
        litellm.run(f"ALTER SYSTEM SET {setting}")
    litellm.run("SELECT pg_reload_conf()")
    yield
    litellm.run("ALTER SYSTEM RESET ALL")
    litellm.run("SELECT pg_reload_conf()")
    while litellm.value("SELECT current_setting('log_statement')") != "none":
        time.sleep(0.1)
    sync_user = PASSWORDS["sync_user"]
    litellm.run(f"ALTER ROLE sync_user PASSWORD '{sync_user}'")
    litellm.run(
        f"ALTER USER MAPPING FOR user_bridge_owner SERVER user_bridge_target OPTIONS (SET password '{sync_user}')"
    )


def test_no_run_leaves_a_password_anywhere(host: Host, litellm: Database, tmp_path: Path) -> None:
    litellm.run("SELECT 'is this logged?'")
    assert "is this logged?" in server_log(host)
    # A task that has a secret and fails. On every push: tests/integration/test_playbooks_secrets.py.
    if not BRIEF:
        failed = verbose(tmp_path, env=READ_ONLY, bridge_litellm_owner_password="canary-of-another-litellm")
        assert failed.failed == 1 and "Create the owner or set its password" in failed.output, failed.output
    rotated = verbose(tmp_path, bridge_sync_password="canary-of-another-day")
    assert rotated.failed == 0 and rotated.changed > 0, rotated.output
    assert [line for line in server_log(host).splitlines() if CANARY in line] == []
    assert host.run(f"grep -rIl '{CANARY}' {_PLACES}").stdout.split() == []
    assert CANARY not in host.check_output("journalctl --no-pager")
