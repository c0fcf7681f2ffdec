# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Molecule's tests can fail: faults, planted into a copy of the checkout, that a named test of `default` must catch.

Usage: python3 -m kit.faulty [FAULT...]    (all of them by default)

USER_BRIDGE_FAULT="role map ignored" make molecule SCENARIO=default runs a scenario against one of them.
tests/integration/test_faults.py does the same for many more faults in the SQL alone.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from kit import scenarios
from kit.common import REPO, KitError, as_program, cache_dir, say


@dataclass(frozen=True)
class Fault:
    """`old` becomes `new` in one file; `caught_by` is a test of the scenario."""

    path: str
    old: str
    new: str
    caught_by: str


SCENARIO = "default"
# Of faults in the SQL, what must not fail besides: SQL that no longer runs would be caught by anything.
HEALTHY = "test_the_bridge_finds_itself_healthy"
_TEMPLATES = "roles/triggers/templates"
FAULTS = {
    "dropped trigger": Fault(
        f"{_TEMPLATES}/engine/litellm/triggers.sql.j2",
        "registry.sides.litellm.tables.items() %}",
        "registry.sides.litellm.tables.items() if table != 'LiteLLM_TeamTable' %}",
        "test_every_trigger_is_there_and_on",
    ),
    "auth row not written": Fault(
        f"{_TEMPLATES}/entities/user/openwebui/sign_in.sql.j2",
        "INSERT INTO public.auth AS a (id, email, password, active)\n"
        "    VALUES (p_want ->> 'openwebui_id', p_want ->> 'email',\n"
        "            CASE WHEN c_now THEN user_bridge.initial_password(p_want, p_options) ELSE '' END,\n"
        "            NOT (p_want ->> 'disabled')::boolean)\n"
        "    RETURNING CASE WHEN a.password <> '' THEN user_bridge.secret_mark(a.password) END INTO v_mark;",
        "NULL;",
        "test_a_synced_user_can_sign_in",
    ),
    "memberships swapped": Fault(
        f"{_TEMPLATES}/entities/membership/openwebui/apply.sql.j2",
        "p_id::jsonb ->> 0, p_id::jsonb ->> 1, false",
        "p_id::jsonb ->> 1, p_id::jsonb ->> 0, false",
        "test_a_write_of_litellms_is_there_at_its_commit",
    ),
    "role map ignored": Fault(
        f"{_TEMPLATES}/entities/user/litellm/desired.sql.j2",
        "coalesce(s.role_map ->> u.user_role, s.default_role)",
        "s.default_role",
        "test_a_write_of_litellms_is_there_at_its_commit",
    ),
    "rights too wide": Fault(
        "plugins/module_utils/_role.py",
        "CREATE ROLE {role} LOGIN;",
        "CREATE ROLE {role} LOGIN SUPERUSER;",
        "test_what_the_sync_user_cannot_do",
    ),
    "secret in a task's output": Fault(
        "roles/sync_user/tasks/main.yml",
        "- name: Log in to both databases\n",
        "- name: Said aloud\n  ansible.builtin.debug:\n    var: sync_user_password\n\n"
        "- name: Log in to both databases\n",
        "test_no_run_leaves_a_password_anywhere",
    ),
}


def plant(name: str) -> Path:
    """A copy of the checkout that has the fault, and nothing else that the checkout does not have."""
    fault = FAULTS.get(name)
    if fault is None:
        raise KitError(f"there is no fault {name!r}: there are {', '.join(FAULTS)}")
    copy = cache_dir() / "faulty"
    shutil.rmtree(copy, ignore_errors=True)
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for path in subprocess.run(listed, cwd=REPO, capture_output=True, text=True, check=True).stdout.split("\0"):
        if path and (REPO / path).is_file():
            (copy / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPO / path, copy / path)
    link = copy / ".collections" / "ansible_collections" / "llmops" / "user_bridge"
    link.parent.mkdir(parents=True)
    link.symlink_to(Path("..", "..", ".."))
    file = copy / fault.path
    text = file.read_text(encoding="utf-8")
    if text.count(fault.old) != 1:
        raise KitError(f"{fault.path} has changed: plant the fault {name!r} anew in {Path(__file__).name}")
    file.write_text(text.replace(fault.old, fault.new), encoding="utf-8")
    return copy


def environment(copy: Path) -> dict[str, str]:
    """Everything from the copy, but for downloads and images."""
    return {
        **scenarios.environment(),
        "USER_BRIDGE_CACHE": str(cache_dir()),
        "PYTHONPATH": str(copy / "tests"),
        # With Molecule's arguments pytest takes the checkout for its root, and the tests would play the roles there.
        "PYTEST_ADDOPTS": f"--config-file={copy / 'pyproject.toml'}",
        "ANSIBLE_COLLECTIONS_PATH": str(copy / ".collections"),
        "NO_COLOR": "1",
    }


def catches(name: str) -> bool:
    """Whether the named test fails once the faulty copy has been deployed."""
    fault = FAULTS[name]
    copy = plant(name)
    log = cache_dir() / f"faulty-{re.sub('[^a-z]+', '-', name)}.log"
    with log.open("w", encoding="utf-8") as sink:

        def step(command: str) -> int:
            return scenarios.molecule(command, SCENARIO, environment(copy), copy, sink)

        step("destroy")
        prepared = step("converge")
        verified = step("verify") if prepared == 0 else 0
        step("destroy")
    if prepared:
        raise KitError(f"{name}: the faulty copy could not be deployed, so nothing was proved; see {log}")
    caught = re.findall(r"^FAILED \S+::(\w+)", log.read_text(encoding="utf-8"), re.MULTILINE)
    still_runs = HEALTHY not in caught or not fault.path.startswith(_TEMPLATES)
    return verified != 0 and fault.caught_by in caught and still_runs


def run(names: list[str]) -> None:
    if not scenarios.has_engine():
        return
    missed = []
    for name in names or FAULTS:
        started = time.monotonic()
        caught = catches(name)
        where = f"{FAULTS[name].caught_by}"
        say(f"==> {name}: {'caught' if caught else 'MISSED'} by {where} ({time.monotonic() - started:.0f} s)")
        if not caught:
            missed.append(name)
    if missed:
        raise KitError(f"faults that no test caught: {', '.join(missed)}")


if __name__ == "__main__":
    as_program(run)
