# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No password is in what Ansible prints at -vvv, nor in the server log, not even when the task that has it fails."""

from __future__ import annotations

import json
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import forced_failures
from forced_failures import Task
from kit import litellm
from kit.cluster import SUPERUSER
from kit.pairs import OWNER_ROLE, PASSWORDS, SYNC_USER, Pair
from kit.recap import Run
from playbooks_support import DEPLOY, READ_ONLY, forget_roles, play, variables

NAME = "llmops.user_bridge.deploy_bridge"
PLAYBOOKS = (
    "deploy_bridge",
    "bridge_status",
    "migrate_users",
    "rotate_sync_password",
    "pause_bridge",
    "resume_bridge",
    "review_changes",
    "drain_bridge",
    "reconcile_bridge",
    "bridge_audit",
    "verify_access",
    "remove_bridge",
)
# The kit's own passwords contain what is awkward to quote; these what is easy to find.
SECRETS = {
    "bridge_sync_password": "canary-of-the-sync-user",
    "bridge_litellm_owner_password": "canary-of-litellm",
    "bridge_openwebui_owner_password": "canary-of-open-webui",
    "bridge_monitoring_password": "canary-of-the-monitor",
    "bridge_litellm_key": "canary-of-the-shared-key",
    "bridge_openwebui_password": "canary-of-the-person",
}


def leaks(text: str) -> list[str]:
    """Secrets as they are, as JSON has them, and the part of them that no quoting changes."""
    wanted = [*SECRETS.values(), PASSWORDS[SUPERUSER], json.dumps(PASSWORDS[SUPERUSER])[1:-1], "superuser's", "canary-"]
    return [secret for secret in wanted if secret in text]


def verbose(
    pair: Pair,
    tmp_path: Path,
    *arguments: str,
    env: Mapping[str, str] | None = None,
    playbook: Path | str = DEPLOY,
    **overrides: Any,
) -> Run:
    """A run with everything that Ansible can say; it must not say a secret."""
    values = variables(pair, **{**SECRETS, "bridge_create_databases": True, **overrides})
    log = tmp_path / "ansible.log"
    run = play(
        playbook, values, tmp_path, "-vvv", "--diff", *arguments, env={"ANSIBLE_LOG_PATH": str(log), **(env or {})}
    )
    assert not leaks(run.output)
    assert not leaks(log.read_text(encoding="utf-8"))
    return run


@pytest.fixture(autouse=True)
def roles(pair: Pair) -> Iterator[None]:
    """No role of the bridge's before a test; passwords belong to the whole server, and so to other tests."""
    forget_roles(pair)
    yield
    for role in ("litellm", "openwebui", SYNC_USER):
        if pair.openwebui_admin.value("SELECT to_regrole(%s)", [role]):
            pair.openwebui_admin.run(f'ALTER ROLE "{role}" PASSWORD %s', [PASSWORDS[role]])


@contextmanager
def logging_everything(pair: Pair) -> Iterator[None]:
    """The server logs every statement of everybody in the meantime."""
    settings = ("log_statement = 'all'", "log_min_duration_statement = 0", "log_min_error_statement = 'debug5'")
    pair.cluster.execute(*(f"ALTER SYSTEM SET {setting}" for setting in settings), "SELECT pg_reload_conf()")
    already = pair.cluster.log.stat().st_size
    try:
        yield
    finally:
        pair.cluster.execute("ALTER SYSTEM RESET ALL", "SELECT pg_reload_conf()")
    written = pair.cluster.log.read_bytes()[already:].decode("utf-8", errors="replace")
    assert "user_bridge" in written
    assert not leaks(written)


# The next test makes the same tasks fail, among all; what the server shows is for test_secrets_in_statements.
@pytest.mark.weekly
def test_every_task_with_a_secret_made_to_fail(pair: Pair, tmp_path: Path) -> None:
    # The look: the maintenance password is wrong.
    assert verbose(pair, tmp_path, bridge_login_password="canary-of-nobody").failed == 1
    # Owners: they cannot be written.
    run = verbose(pair, tmp_path, env=READ_ONLY)
    assert run.failed == 1 and "Create the owner or set its password" in run.output
    no_owners: dict[str, Any] = {"bridge_litellm_owner_password": None, "bridge_openwebui_owner_password": None}
    # The sync user: it cannot be made.
    pair.cluster.execute(f'CREATE ROLE "{OWNER_ROLE}"')
    with logging_everything(pair):
        run = verbose(pair, tmp_path, env=READ_ONLY, **no_owners)
        assert run.failed == 1 and "Create or alter the sync user" in run.output
    # The connection: it leads nowhere, it is written to nowhere.
    with logging_everything(pair):
        run = verbose(pair, tmp_path, bridge_target_port=1, **no_owners)
        assert run.failed == 1 and "Provide or drop the connection" in run.output
        run = verbose(pair, tmp_path, env=READ_ONLY, **no_owners)
        assert run.failed == 1 and "there is something to change" in run.words


# Which role's tasks no run of this file reaches, by the start of their names, and what does.
ELSEWHERE = {
    ("postgres", "Configure | "): "package mode: molecule/default/tests/test_secrets.py",
    ("postgres", "Find out whether a setting waits for a restart"): "package mode, too",
    ("postgres", "Container | "): "container mode: molecule/container",
    ("maintenance", "Pg_cron | "): "test_playbooks_pg_cron",
    ("sync_user", "Set the password of the sync user"): "test_playbooks_managed; the same module as for a superuser",
    ("sync_user", "Connect with it"): "test_playbooks_managed; the same module as for a superuser",
    ("bridge", "Access | Refuse an operating system user"): "its message names the variable only",
    ("sync_user", "Show the statements"): "check mode: test_secrets_in_statements",
    ("migration", "Existing | Say that a paused bridge"): "it names a number only",
    ("triggers", "Take back what nobody needs"): "an upgrade, or no enforcement; the login is its neighbours'",
    ("monitoring", "Timer | "): "with systemd only: its password file: tests/unit/test_role_secrets.py",
    ("monitoring", "Login | Show the statements"): "check mode: test_playbooks_monitoring",
    ("maintenance", "Systemd_host | Refuse a"): "with systemd only; the messages name variables only",
    (
        "maintenance",
        "Service | ",
    ): "with systemd only: molecule/default, its password file: tests/unit/test_role_secrets.py",
}


def test_every_task_that_is_given_a_secret_fails(pair: Pair, tmp_path: Path) -> None:
    """The tasks are found by what they are given, so that none can be forgotten."""
    env = {"ANSIBLE_COLLECTIONS_PATH": str(forced_failures.copy(tmp_path))}
    tasks = forced_failures.plant(tmp_path)
    seen: set[Task] = set()
    litellm.new_user(pair.litellm, "ann", "ann@example.com")
    for playbook in PLAYBOOKS:
        options: dict[str, Any] = {"bridge_remove_data": True, "bridge_monitoring": True}
        if playbook == "rotate_sync_password":
            options["bridge_sync_password"] = "canary-of-another-day"
        if playbook == "verify_access":
            # Nobody is there.
            options |= dict.fromkeys(("bridge_openwebui_url", "bridge_litellm_url"), "http://127.0.0.1:1")
            options["bridge_openwebui_email"] = "ann@example.com"
        run = verbose(pair, tmp_path, playbook=f"llmops.user_bridge.{playbook}", env=env, **options)
        assert "rigged: " in run.output
        seen |= forced_failures.failed(run.output)
        # Once each: most playbooks begin with the same ones.
        forced_failures.plant(tmp_path, seen)
    seen |= embedded(pair, tmp_path, env)
    left = {task: _start(task) for task in tasks - seen}
    assert [task for task, elsewhere in left.items() if elsewhere is None] == []
    assert set(left.values()) == set(ELSEWHERE)


def _start(task: Task) -> tuple[str, str] | None:
    """The entry of ELSEWHERE for a task."""
    return next((each for each in ELSEWHERE if each[0] == task.role and task.name.startswith(each[1])), None)


def embedded(pair: Pair, tmp_path: Path, env: Mapping[str, str]) -> set[Task]:
    """The tasks that fail where the role makes a server of its own, which makes up a password."""
    # Not under tmp_path, which PostgreSQL's own user cannot enter.
    with tempfile.TemporaryDirectory(prefix="user-bridge-embedded-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        home = Path(folder) / "cluster"
        values: dict[str, Any] = {
            "bridge_postgres_mode": "embedded",
            "bridge_postgres_dir": str(home),
            "bridge_postgres_bin_dir": str(pair.cluster.binaries.bindir),
            "bridge_login_host": None,
            "bridge_login_port": None,
            "bridge_login_password": None,
        }
        run = verbose(pair, tmp_path, "--tags", "bridge_postgres", env=env, playbook=NAME, **values)
        try:
            password = (home / "superuser_password").read_text(encoding="utf-8")
            assert len(password) == 32 and password not in run.output
            assert {stat.S_IMODE(path.stat().st_mode) for path in (home, home / "data")} == {0o700}
            assert stat.S_IMODE((home / "superuser_password").stat().st_mode) == 0o600
            owners = {path.owner() for path in (home, home / "data", home / "superuser_password")}
            assert len(owners) == 1 and "root" not in owners
        finally:
            verbose(pair, tmp_path, "--tags", "bridge_postgres", bridge_postgres_state="stopped", **values)
    return forced_failures.failed(run.output)
