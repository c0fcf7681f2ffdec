# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation as people will read it: pages of every module and role, made without network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
MODULES = {f"{path.stem}_module" for path in (REPO / "plugins" / "modules").glob("[!_]*.py")}
ROLES = {f"{path.parent.parent.name}_role" for path in (REPO / "roles").glob("*/meta/argument_specs.yml")}


def run(tmp_path: Path, program: str, *arguments: str) -> str:
    """What it says, which is nothing when all is well."""
    env = {
        **os.environ,
        # For ansible-doc, which antsibull-docs asks: in `make matrix` that of another ansible-core.
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "ANSIBLE_COLLECTIONS_PATH": str(REPO / ".collections"),
        "ANSIBLE_HOME": str(tmp_path / "ansible"),
        # Nobody is there: whoever wants the network fails at once.
        **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:1"),
    }
    command = [str(REPO / ".venv" / "bin" / program), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("pages")
    # antsibull-docs refuses a folder that others may write to, or that it may not.
    where.chmod(0o755)
    how = ("--use-current", "--squash-hierarchy", "--fail-on-error", "--dest-dir", str(where))
    run(where, "antsibull-docs", "collection", *how, "llmops.user_bridge")
    return where


def test_every_module_and_role_has_a_page(pages: Path) -> None:
    found = {path.stem for path in pages.glob("*.rst")}
    assert {name for name in found if name.endswith(("_module", "_role"))} == MODULES | ROLES


def test_they_render_and_their_links_lead_somewhere(pages: Path) -> None:
    (pages / "conf.py").write_text("extensions = ['sphinx_antsibull_ext']\n", encoding="utf-8")
    said = run(pages, "sphinx-build", "--no-color", "-q", "-b", "html", str(pages), str(pages / "html"))
    # Pages of Ansible itself and of other collections are elsewhere.
    warnings = re.sub(r".*WARNING: undefined label: '(?!ansible_collections\.llmops)[\w.]+' \[ref\.ref\]\n", "", said)
    assert warnings == ""
    for name in MODULES | ROLES:
        assert f"llmops.user_bridge.{name.rpartition('_')[0]}" in (pages / "html" / f"{name}.html").read_text("utf-8")
