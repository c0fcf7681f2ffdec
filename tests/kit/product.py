# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection's own installer: owners and privileges of the bridge's objects are as the product leaves them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping

import yaml

from kit.cluster import SUPERUSER
from kit.common import REPO, KitError
from kit.pairs import PROGRAM_ROLES, Pair, Side

_MODULE = REPO / "plugins" / "modules" / "bridge_install.py"
SECONDS = 120


def version() -> str:
    """The collection's version, which the installer records."""
    return str(yaml.safe_load((REPO / "galaxy.yml").read_text(encoding="utf-8"))["version"])


def install(pair: Pair, texts: Mapping[Side, Mapping[str, str]]) -> None:
    """Run bridge_install for both sides at once. `texts` holds the rendered SQL of each file, by side and path."""
    calls = {side: _start(pair, side, files) for side, files in texts.items()}
    problems = [problem for side, call in calls.items() if (problem := _problem(side, call))]
    if problems:
        raise KitError("\n".join(problems))


def _start(pair: Pair, side: Side, files: Mapping[str, str]) -> subprocess.Popen[str]:
    login = pair.login(side, SUPERUSER)
    options = {
        "login_host": login.host,
        "login_port": login.port,
        "login_user": login.user,
        "login_password": login.password,
        "login_db": login.database,
        "side": side,
        "program_role": PROGRAM_ROLES[side],
        "version": version(),
        "definitions": [{"name": path, "sql": text} for path, text in files.items()],
    }
    process = subprocess.Popen(
        [sys.executable, _MODULE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPO / ".collections")},
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": options}))
    process.stdin.close()
    process.stdin = None
    return process


def _problem(side: Side, process: subprocess.Popen[str]) -> str:
    """What the module says when it fails; empty when it does not."""
    output, _ = process.communicate(timeout=SECONDS)
    try:
        result = json.loads(output.splitlines()[-1])
    except (IndexError, ValueError):
        return f"bridge_install, {side}: {output}"
    return f"bridge_install, {side}: {result['msg']}" if result.get("failed") else ""
