# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the shipped playbook as a user would, and read what it says it changed."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import yaml

from demo.place import HOME
from kit.binaries import installed
from kit.common import REPO, KitError

VARIABLES = HOME / "variables.yml"
PLAYBOOK = REPO / "deploy-bridge.yml"
_RECAP = re.compile(r"^localhost\s*: ok=\d+\s+changed=(\d+)\s", re.MULTILINE)
_QUIET = {
    "ANSIBLE_DISPLAY_OK_HOSTS": "false",
    "ANSIBLE_DISPLAY_SKIPPED_HOSTS": "false",
    "ANSIBLE_LOCALHOST_WARNING": "false",
    "ANSIBLE_PIPELINING": "true",
    "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false",
    "ANSIBLE_DEPRECATION_WARNINGS": "false",
    "PYTHONUNBUFFERED": "1",
}


def write_variables(cluster: Path) -> dict[str, str]:
    """What a user would put into group_vars, with passwords of this run."""
    values = {
        "bridge_postgres_mode": "embedded",
        "bridge_postgres_dir": str(cluster),
        "bridge_litellm_owner_password": secrets.token_urlsafe(24),
        "bridge_openwebui_owner_password": secrets.token_urlsafe(24),
        "bridge_sync_password": secrets.token_urlsafe(24),
    }
    VARIABLES.touch(mode=0o600)
    VARIABLES.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return values


def run(*arguments: str, playbook: str = str(PLAYBOOK), environment: Mapping[str, str] | None = None) -> int:
    """Run deploy-bridge.yml, or another, its changes shown as they happen. Returns how many there were."""
    command = [str(Path(sys.executable).with_name("ansible-playbook")), playbook, "-e", f"@{VARIABLES}"]
    command += [*arguments, *_become_options()]
    process = subprocess.Popen(
        command,
        cwd=REPO,
        env={**os.environ, **_QUIET, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    lines = []
    heading = ""
    for line in process.stdout:
        lines.append(line)
        # A heading is worth a line only with something below it; "included" is not.
        if line.startswith(("PLAY", "TASK")):
            heading = line.rstrip("* \n")
        elif line.strip() and not line.startswith("included: "):
            print("".join(f"    {each}\n" for each in (heading, f"  {line.rstrip()}") if each), end="", flush=True)
            heading = ""
    recap = _RECAP.search("".join(lines))
    if process.wait() or recap is None:
        raise KitError(f"ansible-playbook failed with exit code {process.returncode}; what it says is above")
    return int(recap[1])


def _become_options() -> list[str]:
    """The postgres role installs PostgreSQL through sudo when it is missing; ask for its password if it wants one."""
    if os.geteuid() == 0 or installed() or not shutil.which("sudo"):
        return []
    return ["--ask-become-pass"] if subprocess.run(["sudo", "-n", "true"], check=False).returncode else []
