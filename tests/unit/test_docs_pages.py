# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation as a site, made without a network: every page of docs/, every module, role and playbook."""

from __future__ import annotations

from pathlib import Path

import pytest

from kit import pages, site
from kit.common import REPO

MODULES = {f"{path.stem}_module" for path in (REPO / "plugins" / "modules").glob("[!_]*.py")}
ROLES = {f"{path.parent.parent.name}_role" for path in (REPO / "roles").glob("*/meta/argument_specs.yml")}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("site")
    folder.chmod(0o755)
    return folder, site.build(folder)


def test_nothing_is_said_against_it(made: tuple[Path, str]) -> None:
    """No link that leads nowhere, no page that no other leads to."""
    assert made[1] == ""


def test_every_module_and_role_has_a_page(made: tuple[Path, str]) -> None:
    found = {path.stem for path in (made[0] / "source" / "collection").glob("*.rst")}
    assert {name for name in found if name.endswith(("_module", "_role"))} == MODULES | ROLES
    for name in MODULES | ROLES:
        html = (made[0] / "html" / "collection" / f"{name}.html").read_text("utf-8")
        assert f"llmops.user_bridge.{name.rpartition('_')[0]}" in html


def test_every_page_of_the_folder_is_on_it(made: tuple[Path, str]) -> None:
    for page in pages.pages():
        if page.startswith("docs/"):
            assert (made[0] / "html" / f"{Path(page).stem}.html").exists(), page


def test_every_playbook_is_on_it(made: tuple[Path, str]) -> None:
    html = (made[0] / "html" / "playbooks.html").read_text("utf-8")
    for path in (REPO / "playbooks").glob("*.yml"):
        assert f"llmops.user_bridge.{path.stem}" in html
