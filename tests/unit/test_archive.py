# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The archive has what people need, and nothing that refers to what it has not; it installs without a network."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from kit import galaxy, pages
from kit.common import REPO, required_lines

CONTENT = {
    *(
        ".ansible-lint",
        ".ansible-lint-ignore",
        "CHANGELOG.rst",
        "CONTRIBUTING.md",
        "FILES.json",
        "LICENSE",
        "MANIFEST.json",
        "README.md",
    ),
    *("bindep.txt", "changelogs", "deploy-bridge.yml", "docs", "examples", "meta", "playbooks", "plugins"),
    *("requirements.txt", "roles", "SECURITY.md"),
}


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return galaxy.archive(tmp_path_factory.mktemp("packed"))


@pytest.fixture(scope="module")
def home(packed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return galaxy.extract(packed, tmp_path_factory.mktemp("extracted"))


def test_it_has_no_file_for_developers(home: Path) -> None:
    assert {path.name for path in home.iterdir()} == CONTENT
    assert not [path for path in home.rglob("*") if path.is_symlink() or path.suffix == ".pyc"]


def test_its_pages_refer_to_nothing_that_is_left_out(home: Path) -> None:
    for page in home.rglob("*.md"):
        for link in pages.links(page):
            assert (page.parent / link.partition("#")[0]).exists(), (page.relative_to(home), link)


def test_an_execution_environment_gets_what_the_modules_import(home: Path) -> None:
    said = yaml.safe_load((home / "meta" / "execution-environment.yml").read_text(encoding="utf-8"))
    assert said["dependencies"] == galaxy.NEEDS
    assert [line.partition(">=")[0] for line in galaxy.declared(home)["python"]] == ["psycopg2-binary"]
    assert "psycopg2-binary" in required_lines("dev.txt")


def test_every_role_says_what_it_is_for(home: Path) -> None:
    """As its argument spec does, which ansible-doc shows; Galaxy shows this."""
    runtime = yaml.safe_load((home / "meta" / "runtime.yml").read_text(encoding="utf-8"))
    for role in (home / "roles").iterdir():
        info = yaml.safe_load((role / "meta" / "main.yml").read_text(encoding="utf-8"))["galaxy_info"]
        spec = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]
        assert info["description"] == spec["main"]["short_description"], role.name
        assert f">={info['min_ansible_version']}.0" == runtime["requires_ansible"]


def test_it_installs_without_a_network(packed: Path, tmp_path: Path) -> None:
    """Its playbooks are found by their names then; that they run is proved by README's own commands."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    env |= {"ANSIBLE_HOME": str(tmp_path / "ansible"), "ANSIBLE_LOCALHOST_WARNING": "0"}
    env |= dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:1")
    programs = Path(sys.executable).parent
    names = [f"llmops.user_bridge.{path.stem}" for path in (REPO / "playbooks").glob("*.yml")]
    for command in (
        ["ansible-galaxy", "collection", "install", str(packed)],
        ["ansible-playbook", "--syntax-check", *names],
    ):
        done = subprocess.run(
            [str(programs / command[0]), *command[1:]],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=env,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("playbook: ") == len(names)
