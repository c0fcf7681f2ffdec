# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""GitHub's workflows run what `make test` and `make test-all` run, and docs/ci.md names files that are there."""

from __future__ import annotations

import re
from typing import Any

import yaml

from kit.common import REPO

MAKEFILE = (REPO / "Makefile").read_text(encoding="utf-8")


def targets_of(workflow: str) -> set[str]:
    """Every target that a workflow calls, those of its matrix too."""
    jobs: dict[str, Any] = yaml.safe_load((REPO / ".github/workflows" / workflow).read_text(encoding="utf-8"))["jobs"]
    found: set[str] = set()
    for job in jobs.values():
        chosen = job.get("strategy", {}).get("matrix", {}).get("target", [])
        for step in job["steps"]:
            called = re.sub(r"\S*\$\{\{.*?\}\}", "", step.get("run", ""))
            if called.startswith("make "):
                found |= {*chosen, *(word for word in called.split()[1:] if "=" not in word)}
    return found


def test_workflows_run_what_make_runs() -> None:
    (listed,) = re.findall(r"^TARGETS \?= (.+)$", MAKEFILE, re.MULTILINE)
    (besides,) = re.findall(r"\$\(subst \$\(comma\)versions,,\$\(TARGETS\)\) ([^\"]+)\"", MAKEFILE)
    # Integration tests run on more versions there.
    wanted = set(re.split(r"[ +,]", listed)) - {"versions"}
    assert targets_of("ci.yml") == wanted
    assert targets_of("weekly.yml") == {*wanted, *besides.split()}


def test_every_target_of_a_workflow_is_there() -> None:
    there = set(re.findall(r"^([a-z0-9-]+):", MAKEFILE, re.MULTILINE))
    assert targets_of("ci.yml") | targets_of("weekly.yml") <= there


def test_the_page_names_files_that_are_there() -> None:
    named = re.findall(r"`((?:tests|molecule|examples)/[^`]*)`", (REPO / "docs/ci.md").read_text(encoding="utf-8"))
    assert len(named) > 30
    for path in named:
        assert list(REPO.glob(path)), path
