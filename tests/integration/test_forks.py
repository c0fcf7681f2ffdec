# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A playbook in a fork does what ansible-playbook does, and a module in a fork what a Python of its own does."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from kit import forks
from kit.cluster import free_port
from playbooks_support import READ_ONLY, environment, play

# What it prints shows environment and working directory, of Ansible itself and of a module.
SEEN = [
    "{{ ran.stdout_lines }}",
    "{{ lookup('ansible.builtin.env', 'PGOPTIONS') }}",
    "{{ lookup('ansible.builtin.pipe', 'pwd; umask') }}",
    "{{ ansible_check_mode }} {{ ansible_forks }} {{ ansible_run_tags }}",
]
TASKS: list[dict[str, Any]] = [
    {
        "name": "Run a program",
        "ansible.builtin.command": {"argv": ["sh", "-c", "pwd; umask; cat; echo $PGOPTIONS $SECRET"], "stdin": "x"},
        "environment": {"SECRET": "of the task"},
        "register": "ran",
        "changed_when": False,
        "check_mode": False,
        "tags": "shown",
    },
    {"name": "Show", "ansible.builtin.debug": {"msg": SEEN}, "tags": "shown"},
    {"name": "Leave out", "ansible.builtin.debug": {"msg": "{{ nothing }}"}, "tags": "hidden"},
    {"name": "Write", "ansible.builtin.copy": {"dest": "{{ playbook_dir }}/copy", "content": "new\n", "mode": "0600"}},
    {"name": "Call a module of the collection", "llmops.user_bridge.bridge_mapping_info": {"login_port": free_port()}},
]
PLAYS = [{"hosts": "localhost", "gather_facts": False, "tasks": TASKS}]


@pytest.mark.parametrize(
    ("words", "env"),
    [
        ([], READ_ONLY),
        (["--check", "--diff", "-t", "shown"], {}),
        ([], {"ANSIBLE_FORKS": "1", "ANSIBLE_STRATEGY": "free", "ANSIBLE_DISPLAY_OK_HOSTS": "false"}),
        (["--extra-vars", "@nowhere"], {}),
        (["--no-such-option"], {}),
    ],
    ids=" ".join,
)
def test_a_playbook_in_a_fork(tmp_path: Path, words: list[str], env: Mapping[str, str]) -> None:
    (tmp_path / "play.yml").write_text(yaml.safe_dump(PLAYS), encoding="utf-8")
    program = str(Path(sys.executable).with_name("ansible-playbook"))
    arguments = ["play.yml", *words]
    settings = environment(forks.home(), env)
    real = subprocess.run(
        [program, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=tmp_path,
        env=settings,
    )
    (tmp_path / "copy").unlink(missing_ok=True)
    # Twice: a run leaves nothing to the next one.
    for _run in range(2):
        forked = forks.playbook(arguments, tmp_path, settings)
        assert (forked.returncode, forked.stdout) == (real.returncode, real.stdout)
        (tmp_path / "copy").unlink(missing_ok=True)
    assert real.returncode != 0 or "shown" in words


# A module that says in what it runs.
MODULE = """
import os, sys
from ansible.module_utils.basic import AnsibleModule
def main():
    module = AnsibleModule({}, supports_check_mode=True)
    try:
        import psycopg
        driver = "both"
    except ImportError:
        driver = "psycopg2"
    forked = "forks.py" in open("/proc/%d/cmdline" % os.getpid()).read()
    module.exit_json(forked=forked, driver=driver, version=list(sys.version_info[:3]), program=sys.executable,
                     user=os.getuid(), cwd=os.getcwd(), seen=os.environ.get("SEEN"))
if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize(
    ("keywords", "expected"),
    [
        ({}, {"forked": True, "driver": "psycopg2"}),
        # Another library path than that of all tests.
        ({"environment": {"PYTHONPATH": "/nowhere"}}, {"forked": False}),
        # Without pipelining it is a file.
        ({"vars": {"ansible_pipelining": False}}, {"forked": False, "driver": "psycopg2"}),
        ({"environment": {"SEEN": "this"}}, {"forked": True, "seen": "this"}),
    ],
)
def test_a_module_in_a_fork(tmp_path: Path, keywords: dict[str, Any], expected: dict[str, Any]) -> None:
    modules = tmp_path / "ansible_collections" / "some" / "thing" / "plugins" / "modules"
    modules.mkdir(parents=True)
    (modules / "where.py").write_text(MODULE, encoding="utf-8")
    expected = {**expected, "version": list(sys.version_info[:3]), "program": sys.executable, "user": os.getuid()}
    tasks: list[dict[str, Any]] = [
        {"some.thing.where": {}, "register": "found", **keywords},
        {"ansible.builtin.assert": {"that": [f"found.{name} == {value!r}" for name, value in expected.items()]}},
    ]
    plays = [{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]
    done = play(plays, {}, tmp_path, env={"ANSIBLE_COLLECTIONS_PATH": str(tmp_path)})
    assert done.failed == 0, done.output


def test_nobody_else_gets_a_fork() -> None:
    interpreter = Path(forks.interpreter())
    assert stat.S_IMODE((interpreter.parent / "door").stat().st_mode) == 0o600
    assert stat.S_IMODE(interpreter.parent.stat().st_mode) == 0o711
    code = "import sys; print(sys.argv[1:], sys.flags.isolated)"
    done = subprocess.run([interpreter, "-c", code, "an argument"], capture_output=True, text=True, check=True)
    assert done.stdout == "['an argument'] 0\n"
