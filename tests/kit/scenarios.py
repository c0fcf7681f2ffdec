# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs Molecule's scenarios one after the other, with the images and schemas that they need.

Usage: python3 -m kit.scenarios [SCENARIO...]    (all of them by default)
       python3 -m kit.scenarios --environment    (for a shell that calls Molecule itself)

USER_BRIDGE_MOLECULE_DISTRIBUTION is debian12 (the default) or debian13; `default` runs on both.
USER_BRIDGE_MOLECULE_IMAGE names an image of your own instead, with systemd and python3;
USER_BRIDGE_MOLECULE_POSTGRES_IMAGE one of PostgreSQL, like the official one.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

from kit import dumps, engine
from kit.common import REPO, KitError, as_program, cache_dir, say

# What takes longest comes first.
SCENARIOS = ("default", "container", "distributed", "example")
JOBS = 2
TAIL = 150
# The one that a user copies; it is a project of its own.
EXAMPLE = "examples/molecule"
NO_ENGINE = (
    "Molecule needs a Docker engine, and none answers{where}. Nothing was tested. `make docker` installs Docker from "
    "Debian's packages and starts it (as root or with sudo); an engine elsewhere is named with DOCKER_HOST."
)


def environment() -> dict[str, str]:
    """What the playbooks under molecule/ read, for whatever runs them."""
    schemas = cache_dir() / "schemas"
    dumps.write(schemas)
    own = os.environ.get("USER_BRIDGE_MOLECULE_IMAGE")
    if own:
        bare = server = other = own
        postgres = "postgres:17"
    else:
        bare, server, postgres = engine.ensure_images(distribution())
        (other,) = engine.ensure_images(next(name for name in engine.SUITES if name != distribution()), 1)
    # make names a folder of this machine for it.
    inherited = {name: value for name, value in os.environ.items() if name != "ANSIBLE_REMOTE_TEMP"}
    return {
        **inherited,
        "USER_BRIDGE_BARE_IMAGE": bare,
        "USER_BRIDGE_OTHER_BARE_IMAGE": other,
        "USER_BRIDGE_SERVER_IMAGE": server,
        "USER_BRIDGE_POSTGRES_IMAGE": os.environ.get("USER_BRIDGE_MOLECULE_POSTGRES_IMAGE") or postgres,
        "USER_BRIDGE_DOCKER_SOCKET": engine.socket(),
        "USER_BRIDGE_GATEWAY": engine.ensure_network(),
        "USER_BRIDGE_SCHEMAS": str(schemas),
        # The example's own names for the same.
        "BRIDGE_IMAGE": server,
        "BRIDGE_SCHEMAS": str(schemas / "new"),
        # Molecule tells its frames from Ansible's output in a terminal only.
        "MOLECULE_COMMAND_BORDERS": "false",
    }


def distribution() -> str:
    return os.environ.get("USER_BRIDGE_MOLECULE_DISTRIBUTION") or "debian12"


def available(project: Path = REPO) -> list[str]:
    """The scenarios that are there, in the order in which they run."""
    there = {path.parent.name for path in (project / "molecule").glob("*/molecule.yml")} | {"example"}
    unknown = there - set(SCENARIOS)
    if unknown:
        raise KitError(f"kit.scenarios.SCENARIOS lacks {', '.join(sorted(unknown))}")
    return [name for name in SCENARIOS if name in there]


def molecule(
    command: str, scenario: str, env: Mapping[str, str], project: Path = REPO, output: IO[str] | None = None
) -> int:
    """Run one Molecule command for a scenario of a project; its exit code."""
    home, name = (project / EXAMPLE, "bridge") if scenario == "example" else (project, scenario)
    base = home / ".config" / "molecule" / "config.yml"
    arguments = ["molecule", "--base-config", str(base), command, "--scenario-name", name]
    done = subprocess.run(arguments, cwd=home, env=dict(env), stdout=output, stderr=output, check=False)
    return done.returncode


def has_engine() -> bool:
    """Whether there is an engine; says what is missing when there is none, and in CI that is an error."""
    if engine.is_ready():
        return True
    host = os.environ.get("DOCKER_HOST")
    message = NO_ENGINE.format(where=f" at DOCKER_HOST={host}" if host else "")
    if os.environ.get("CI"):
        raise KitError(message)
    say(f"SKIPPED: {message}")
    return False


def run(names: list[str]) -> None:
    wanted = names or available()
    unknown = set(wanted) - set(available())
    if unknown:
        raise KitError(f"there is no scenario {', '.join(sorted(unknown))}: there are {', '.join(available())}")
    if not has_engine():
        return
    project, env = REPO, environment()
    if os.environ.get("USER_BRIDGE_FAULT"):
        from kit import faulty

        project = faulty.plant(os.environ["USER_BRIDGE_FAULT"])
        env = faulty.environment(project)
    with tempfile.TemporaryDirectory(prefix="user-bridge-kept-") as kept:
        failed = _failing(wanted, {**env, **_keeping(kept)}, project)
    if failed:
        raise KitError(f"Molecule failed: {', '.join(failed)}. Look again with: make molecule SCENARIO={failed[0]}")


def _keeping(folder: str) -> dict[str, str]:
    """Runs of ansible-playbook share what they compile, as long as the code is the same."""
    return {
        "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).with_name("callbacks")),
        "ANSIBLE_CALLBACKS_ENABLED": "kept",
        "USER_BRIDGE_KEPT": folder,
    }


def _failing(wanted: list[str], env: Mapping[str, str], project: Path) -> list[str]:
    if len(wanted) == 1:
        return [name for name in wanted if not _passes(name, env, project)]
    # Two at a time: each waits as much as it works.
    with ThreadPoolExecutor(JOBS) as pool:
        passed = pool.map(lambda name: _passes(name, env, project, cache_dir() / f"molecule-{name}.log"), wanted)
        return [name for name, fine in zip(wanted, passed, strict=True) if not fine]


def _passes(name: str, env: Mapping[str, str], project: Path, log: Path | None = None) -> bool:
    """Test one scenario; with a log, what it printed is shown only when it fails."""
    say(f"==> molecule: {name} ({distribution()})")
    started = time.monotonic()
    if log is None:
        code = molecule("test", name, env, project)
    else:
        with log.open("w", encoding="utf-8") as sink:
            code = molecule("test", name, {**env, "NO_COLOR": "1"}, project, sink)
        if code:
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
            say("\n".join([*lines[-TAIL:], f"All of it is in {log}"]))
    say(f"==> molecule: {name} {'FAILED' if code else 'passed'} in {time.monotonic() - started:.0f} s")
    return code == 0


def main(arguments: list[str]) -> None:
    if arguments != ["--environment"]:
        run(arguments)
        return
    for name, value in sorted(environment().items()):
        if name == "PATH" or name.startswith(("ANSIBLE_", "BRIDGE_", "MOLECULE_", "USER_BRIDGE_")):
            print(f"export {name}={shlex.quote(value)}")


if __name__ == "__main__":
    as_program(main)
