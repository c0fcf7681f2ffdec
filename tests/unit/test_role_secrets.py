# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tasks that hand a secret to a module which does not hide it by itself hide it themselves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import yaml

from forced_failures import Task, secret_variables, words
from kit.common import REPO

# They show what they are given: to callbacks, in results, or as a difference.
MODULES = ("ansible.builtin.copy", "ansible.builtin.template", "community.docker.docker_container")


def handing_on(tasks: list[dict[str, Any]], secret: set[str]) -> Iterator[dict[str, Any]]:
    """The tasks that give one of MODULES a secret, those in blocks too."""
    for task in tasks:
        for part in ("block", "rescue", "always"):
            yield from handing_on(task.get(part, []), secret)
        given = [task[module] for module in MODULES if module in task]
        if words(json.dumps(given)) & secret:
            yield task


def test_a_secret_is_hidden_from_output_and_difference() -> None:
    secret, found = secret_variables(), {}
    for path in REPO.glob("roles/*/tasks/*.yml"):
        for task in handing_on(yaml.safe_load(path.read_text(encoding="utf-8")), secret):
            found[Task(path.parts[-3], task["name"])] = task
    assert {task.role for task in found} == {"maintenance", "monitoring", "postgres"}
    for name, task in found.items():
        assert task.get("no_log") is True, name
        assert task.get("diff") is False or "community.docker.docker_container" in task, name
