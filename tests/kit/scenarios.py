# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs Molecule's scenarios one after the other, with the images and schemas that they need.

Usage: python3 -m kit.scenarios [SCENARIO...]    (all of them by default)

USER_BRIDGE_MOLECULE_DISTRIBUTION is debian12 (the default) or debian13; USER_BRIDGE_MOLECULE_IMAGE names an image of
your own instead, with systemd and python3.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from kit import dumps, engine
from kit.common import REPO, KitError, cache_dir, say

# In this order: what most changes break comes first.
SCENARIOS = (
    *("default", "bad_input", "remove", "secrets", "existing_users"),
    *("distributed", "upgrade", "container"),
)
NO_ENGINE = (
    "Molecule needs a Docker engine, and none answers{where}. Nothing was tested. `make docker` installs Docker from "
    "Debian's packages and starts it (as root or with sudo); an engine elsewhere is named with DOCKER_HOST."
)


def environment() -> dict[str, str]:
    """What the playbooks under molecule/ read, for whatever runs them."""
    schemas = cache_dir() / "schemas"
    dumps.write(schemas)
    own = os.environ.get("USER_BRIDGE_MOLECULE_IMAGE")
    bare, server = (own, own) if own else engine.ensure_images(distribution())
    return {
        **os.environ,
        "USER_BRIDGE_BARE_IMAGE": bare,
        "USER_BRIDGE_SERVER_IMAGE": server,
        "USER_BRIDGE_SCHEMAS": str(schemas),
        # Molecule tells its frames from Ansible's output in a terminal only.
        "MOLECULE_COMMAND_BORDERS": "false",
    }


def distribution() -> str:
    return os.environ.get("USER_BRIDGE_MOLECULE_DISTRIBUTION") or "debian12"


def available(project: Path = REPO) -> list[str]:
    """The scenarios that are there, in the order in which they run."""
    there = {path.parent.name for path in (project / "molecule").glob("*/molecule.yml")}
    unknown = there - set(SCENARIOS)
    if unknown:
        raise KitError(f"kit.scenarios.SCENARIOS lacks {', '.join(sorted(unknown))}")
    return [name for name in SCENARIOS if name in there]


def molecule(command: str, scenario: str, env: Mapping[str, str], project: Path = REPO) -> int:
    """Run one Molecule command for a scenario of a project; its exit code."""
    base = project / ".config" / "molecule" / "config.yml"
    arguments = ["molecule", "--base-config", str(base), command, "--scenario-name", scenario]
    return subprocess.run(arguments, cwd=project, env=dict(env), check=False).returncode


def run(names: list[str]) -> None:
    wanted = names or available()
    unknown = set(wanted) - set(available())
    if unknown:
        raise KitError(f"there is no scenario {', '.join(sorted(unknown))}: there are {', '.join(available())}")
    if not engine.is_ready():
        host = os.environ.get("DOCKER_HOST")
        message = NO_ENGINE.format(where=f" at DOCKER_HOST={host}" if host else "")
        if os.environ.get("CI"):
            raise KitError(message)
        say(f"SKIPPED: {message}")
        return
    env = environment()
    failed = []
    for name in wanted:
        say(f"\n==> molecule: {name} ({distribution()})")
        started = time.monotonic()
        code = molecule("test", name, env)
        say(f"==> molecule: {name} {'FAILED' if code else 'passed'} in {time.monotonic() - started:.0f} s")
        if code:
            failed.append(name)
    if failed:
        raise KitError(f"Molecule failed: {', '.join(failed)}. Look again with: make molecule SCENARIO={failed[0]}")


if __name__ == "__main__":
    try:
        run(sys.argv[1:])
    except KitError as error:
        sys.exit(str(error))
