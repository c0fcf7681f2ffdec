# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Ansible itself makes of the playbooks, modules and roles; `make matrix` asks each supported ansible-core."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import yaml

REPO = Path(__file__).resolve().parents[2]
COLLECTION = "llmops.user_bridge"
PLAYBOOKS = sorted(path.stem for path in (REPO / "playbooks").glob("*.yml"))
ROLES = sorted(path.name for path in (REPO / "roles").iterdir())
MODULES = sorted(path.stem for path in (REPO / "plugins" / "modules").glob("*.py"))


def ansible(program: str, *arguments: str, collections: Path = REPO / ".collections") -> str:
    """What one of Ansible's programs prints; it must succeed, and have nothing to warn about."""
    done = subprocess.run(
        [str(Path(sys.executable).parent / program), *arguments],
        capture_output=True,
        text=True,
        cwd=REPO,
        env={
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(collections),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_LOCALHOST_WARNING": "0",
            "ANSIBLE_INVENTORY_UNPARSED_WARNING": "0",
            "ANSIBLE_DEVEL_WARNING": "0",
            "COLUMNS": "1000",
        },
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # ansible-core 2.20 warns of a collection of its own.
    warnings = [line for line in done.stderr.splitlines() if "WARNING" in line and "_protomatter" not in line]
    assert not warnings, done.stderr
    return done.stdout


def test_every_playbook_is_sound() -> None:
    names = [*(f"{COLLECTION}.{name}" for name in PLAYBOOKS), "deploy-bridge.yml", "examples/site.yml"]
    checked = ansible("ansible-playbook", "--syntax-check", "--inventory", "examples/inventory.yml", *names)
    assert checked.count("playbook: ") == len(names)


def test_a_limit_that_leaves_no_host_is_an_error() -> None:
    """Without bridge_hosts the play is for localhost, whatever the limit names."""
    command = ["ansible-playbook", "--list-hosts", "--inventory", "examples/inventory.yml", "--limit", "bridges"]
    done = subprocess.run(
        [str(Path(sys.executable).parent / command[0]), *command[1:], f"{COLLECTION}.deploy_bridge"],
        capture_output=True,
        text=True,
        cwd=REPO,
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(REPO / ".collections"), "ANSIBLE_NOCOLOR": "1"},
    )
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode != 0 and "No host that --limit bridges leaves matches" in said, said


def test_a_clone_is_deployed_from_without_an_installation(tmp_path: Path) -> None:
    """The folder collections/ beside the playbook leads to the clone itself."""
    checked = ansible("ansible-playbook", "--syntax-check", "deploy-bridge.yml", collections=tmp_path)
    assert "playbook: deploy-bridge.yml" in checked


def test_every_module_has_a_page() -> None:
    pages = json.loads(ansible("ansible-doc", "--json", *(f"{COLLECTION}.{name}" for name in MODULES)))
    assert sorted(pages) == [f"{COLLECTION}.{name}" for name in MODULES]
    for name, page in pages.items():
        assert page["examples"] and page["return"], name
        assert page["doc"]["options"] or name == f"{COLLECTION}.bridge_variables_info"


def test_every_role_has_a_page() -> None:
    names = [f"{COLLECTION}.{name}" for name in ROLES]
    pages = json.loads(ansible("ansible-doc", "--json", "--type", "role", *names))
    assert sorted(pages) == names
    for role in ROLES:
        spec = yaml.safe_load((REPO / "roles" / role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))
        found = pages[f"{COLLECTION}.{role}"]["entry_points"]
        assert {point: set(page.get("options", {})) for point, page in found.items()} == {
            point: set(page.get("options", {})) for point, page in spec["argument_specs"].items()
        }
