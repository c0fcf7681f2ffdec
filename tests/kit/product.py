# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection's own installer: owners and privileges of the bridge's objects are as the product leaves them."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import yaml

from kit.cluster import SUPERUSER
from kit.common import REPO, KitError
from kit.pairs import PROGRAM_ROLES, Pair, Side

_MODULES = REPO / "plugins" / "modules"
SECONDS = 120


def version() -> str:
    """The collection's version, which the installer records."""
    return str(yaml.safe_load((REPO / "galaxy.yml").read_text(encoding="utf-8"))["version"])


@functools.cache
def _registry() -> Any:
    path = REPO / "roles" / "triggers" / "templates" / "entities" / "registry.yml"
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def install(pair: Pair, texts: Mapping[Side, Mapping[str, str]]) -> None:
    """Run bridge_install for both sides at once. `texts` holds the rendered SQL of each file, by side and path."""
    calls = {side: _install(pair, side, files) for side, files in texts.items()}
    problems = [problem for side, call in calls.items() if (problem := _problem(f"bridge_install, {side}", call))]
    if problems:
        raise KitError("\n".join(problems))


def own(pair: Pair) -> None:
    """Run bridge_ownership."""
    problem = _problem(
        "bridge_ownership", _start(pair, "bridge_ownership", "litellm", openwebui_login_db=pair.openwebui_db)
    )
    if problem:
        raise KitError(problem)


def _install(pair: Pair, side: Side, files: Mapping[str, str]) -> subprocess.Popen[str]:
    definitions = [{"name": path, "sql": text} for path, text in files.items()]
    return _start(
        pair,
        "bridge_install",
        side,
        side=side,
        program_role=PROGRAM_ROLES[side],
        program_owner=side,
        version=version(),
        definitions=definitions,
        optional_tables=[name for name, table in _registry()["sides"][side]["tables"].items() if "since" in table],
    )


def _start(pair: Pair, module: str, login_side: Side, **own_options: Any) -> subprocess.Popen[str]:
    login = pair.login(login_side, SUPERUSER)
    options = {
        "login_host": login.host,
        "login_port": login.port,
        "login_user": login.user,
        "login_password": login.password,
        "login_db": login.database,
        **own_options,
    }
    process = subprocess.Popen(
        [sys.executable, _MODULES / f"{module}.py"],
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


def _problem(call: str, process: subprocess.Popen[str]) -> str:
    """What the module says when it fails; empty when it does not."""
    output, _ = process.communicate(timeout=SECONDS)
    try:
        result = json.loads(output.splitlines()[-1])
    except (IndexError, ValueError):
        return f"{call}: {output}"
    return f"{call}: {result['msg']}" if result.get("failed") else ""
