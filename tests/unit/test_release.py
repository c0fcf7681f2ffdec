# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release is made of what agrees: tag, version and changelog; and workflows run what is pinned."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from kit import release
from kit.common import REPO, KitError

WORKFLOWS = REPO / ".github" / "workflows"
ABOUT = yaml.safe_load((REPO / "galaxy.yml").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("tag", "released", "fragments", "says"),
    [
        ("v1.2.3", {"1.2.3"}, [], []),
        ("1.2.3", {"1.2.3"}, [], ["the tag is 1.2.3"]),
        ("v1.2.4", {"1.2.3"}, [], ["the tag is v1.2.4"]),
        ("v1.2.3", {"1.2.2"}, [], ["has no version 1.2.3"]),
        ("v1.2.3", {"1.2.3"}, ["9-new.yml"], ["in no release yet: 9-new.yml"]),
    ],
)
def test_what_a_tag_has_to_agree_with(tag: str, released: set[str], fragments: list[str], says: list[str]) -> None:
    found = release.problems(tag, "1.2.3", released, fragments)
    assert len(found) == len(says) and all(word in each for word, each in zip(says, found, strict=True))


def test_the_changelog_has_the_version_of_galaxy() -> None:
    """The first release mends nothing, for nothing was released before."""
    changelog = yaml.safe_load((REPO / "changelogs" / "changelog.yaml").read_text(encoding="utf-8"))
    first = changelog["releases"]["1.0.0"]["changes"]
    assert ABOUT["version"] in changelog["releases"] and not {"bugfixes", "breaking_changes"} & set(first)
    assert first["release_summary"] and len(first["major_changes"]) > 5


def test_a_tag_that_agrees_with_nothing_makes_no_files(tmp_path: Path) -> None:
    with pytest.raises(KitError, match=r"the tag is v0\.0\.0"):
        release.files("v0.0.0", tmp_path / "dist")
    assert not (tmp_path / "dist").exists()


def test_a_version_is_three_numbers() -> None:
    with pytest.raises(KitError, match="is no version"):
        release.prepare("1.0")


def test_the_list_of_needs_is_that_of_galaxy_and_of_the_modules() -> None:
    found = release.sbom(ABOUT, ["psycopg2-binary>=2.9"])
    assert found["metadata"]["component"]["version"] == ABOUT["version"]
    assert {each["name"] for each in found["components"]} == {*ABOUT["dependencies"], "psycopg2-binary"}
    assert found["components"][-1]["properties"] == [{"name": "python:version-range", "value": ">=2.9"}]
    assert found["dependencies"][0]["dependsOn"] == [each["bom-ref"] for each in found["components"]]


@pytest.mark.parametrize(
    "path", sorted((REPO / ".github" / "workflows").glob("*.yml")), ids=lambda path: str(path.name)
)
def test_actions_are_pinned(path: Path) -> None:
    used = re.findall(r"uses: (\S+)(.*)", path.read_text(encoding="utf-8"))
    assert used
    for action, comment in used:
        assert re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}", action) and re.fullmatch(r"  # v[\d.]+", comment), action
