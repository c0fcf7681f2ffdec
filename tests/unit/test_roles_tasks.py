# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tasks of the roles must not do, because surroundings that people have would break it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kit.common import REPO

FILES = [*REPO.glob("roles/*/tasks/*.yml"), *REPO.glob("roles/*/handlers/*.yml"), *REPO.glob("playbooks/*.yml")]
SPECS = [*REPO.glob("roles/*/meta/argument_specs.yml")]
every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(REPO)))


def tasks(path: Path) -> Iterator[dict[str, Any]]:
    """Plays, blocks and tasks of a file."""
    waiting = list(yaml.safe_load(path.read_text(encoding="utf-8")))
    while waiting:
        task = waiting.pop()
        yield task
        for part in ("block", "rescue", "always", "tasks"):
            waiting += task.get(part, [])


@every_file
def test_a_loop_has_a_variable_of_its_own(path: Path) -> None:
    """A role that somebody includes in a loop gets its variables by item, which a loop inside would replace."""
    for task in tasks(path):
        if "loop" in task:
            assert task["loop_control"]["loop_var"].startswith("__"), task["name"]


@every_file
def test_becoming_somebody_is_said_by_variables(path: Path) -> None:
    """Variables of an inventory win over keywords, and variables of a task over those."""
    for task in tasks(path):
        assert not {"become", "become_user", "become_method"} & set(task), task["name"]
        variables = set(task.get("vars", {}))
        assert "ansible_become_user" in variables or variables.isdisjoint({"ansible_become_method"}), task["name"]


@every_file
def test_nothing_is_decided_by_a_variable_that_users_set(path: Path) -> None:
    """Extra variables win over those that a task hands to a role."""
    for task in tasks(path):
        assert not [name for name in task.get("vars", {}) if name.startswith("bridge_")], task.get("name")


@every_file
def test_no_answer_of_a_server_is_read_where_ansible_can_mask_it(path: Path) -> None:
    """bridge_query_info returns it as it is; what is deleted is only shown."""
    for task in tasks(path):
        if "community.postgresql.postgresql_query" in task:
            assert task.get("register") in (None, "__bridge_removed"), task["name"]


def test_check_mode_can_be_a_keyword() -> None:
    """ansible_check_mode says only whether the run has --check."""
    for path in [*REPO.glob("roles/*/*/*.yml"), *REPO.glob("roles/*/templates/*")]:
        if path.is_file():
            assert "ansible_check_mode" not in path.read_text(encoding="utf-8"), path


def test_every_playbook_leaves_the_check_of_variables_to_the_role() -> None:
    """Ansible's own validation says one problem at a time, with the whole specification in the line."""
    for path in REPO.glob("playbooks/*.yml"):
        for task in tasks(path):
            role = task.get("ansible.builtin.import_role")
            if role:
                assert role["rolespec_validate"] is False, path


def test_what_a_playbook_runs_is_shown_by_ansible_doc() -> None:
    specs = {path.parts[-3]: yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"] for path in SPECS}
    for path in REPO.glob("playbooks/*.yml"):
        (role,) = [task["ansible.builtin.import_role"] for task in tasks(path) if "ansible.builtin.import_role" in task]
        found = specs[role["name"].rpartition(".")[2]].get(role.get("tasks_from", "main"))
        assert found and found["short_description"] and found["description"], path


# What delivers or compares for as long as there is something.
TAKES_LONG = ("llmops.user_bridge.bridge_sync", "llmops.user_bridge.bridge_migration")


def takes_long(task: dict[str, Any]) -> bool:
    given = next((task[module] for module in TAKES_LONG if module in task), None)
    return given is not None and given.get("action") not in ("pause", "reject_removals") and not task.get("check_mode")


def test_what_takes_long_ends_with_a_line_of_what_it_did() -> None:
    """Besides what bridge_sync and bridge_migration show meanwhile."""
    found = 0
    for path in REPO.glob("roles/*/tasks/*.yml"):
        every = list(tasks(path))
        said = {yaml.safe_dump(task) for task in every if "ansible.builtin.debug" in task} | {
            "__bridge_delivered_text"
            for task in every
            if "delivered.yml" in str(task.get("ansible.builtin.include_tasks"))
        }
        for task in filter(takes_long, every):
            found += 1
            text = "__bridge_delivered_text" if task["register"] == "__bridge_delivered" else task["register"] + "."
            assert any(text in each for each in said), (path, task["name"])
    assert found > 6


def test_nothing_is_decided_by_the_words_of_a_server() -> None:
    """They are in its language: bridge_query_info and others return the cause."""
    words = re.compile(r"\bin \(?\w+\.(conn_err_)?msg\b|\.(conn_err_)?msg\b[^}]*\bis (search|match|regex)\b|\bsaid\b")
    for path in [*FILES, *REPO.glob("roles/*/vars/*.yml")]:
        text = path.read_text(encoding="utf-8")
        for expression in expressions(yaml.safe_load(text)):
            assert not words.search(expression), (path, expression)


def test_no_role_reads_the_specification_of_all_variables_to_check_none() -> None:
    """The role bridge checks its variables itself; Ansible would read and copy the file for each import."""
    for path in FILES:
        for task in tasks(path):
            role = task.get("ansible.builtin.import_role") or task.get("ansible.builtin.include_role") or {}
            if role.get("name") == "llmops.user_bridge.bridge":
                assert role["rolespec_validate"] is False, (path, task["name"])


def expressions(data: Any, key: str = "") -> Iterator[str]:
    """Conditions, and what stands between braces; not a value that is handed on as it is."""
    if isinstance(data, dict):
        for name, value in data.items():
            yield from expressions(value, name)
    elif isinstance(data, list):
        for value in data:
            yield from expressions(value, key)
    elif isinstance(data, str):
        if key in ("when", "that", "changed_when", "failed_when", "until"):
            yield data
        elif not re.fullmatch(r"\{\{ \w+ \}\}", data):
            yield from re.findall(r"\{\{(.*?)\}\}", data, re.DOTALL)


def test_every_boolean_may_be_text() -> None:
    """In a condition or an expression; a module's option takes text as it is."""
    specs = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in SPECS]
    options = {name: each for spec in specs for name, each in spec["argument_specs"]["main"]["options"].items()}
    booleans = [name for name, option in options.items() if option["type"] == "bool"]
    # In quotes it is a tag.
    bare = re.compile(rf"(?<!')\b({'|'.join(booleans)})\b(?! \| bool)")
    for path in [*FILES, *REPO.glob("roles/*/vars/*.yml"), *REPO.glob("roles/*/defaults/*.yml")]:
        for expression in expressions(yaml.safe_load(path.read_text(encoding="utf-8"))):
            assert not bare.search(expression), (path, expression)
    for path in REPO.glob("roles/*/templates/*.j2"):
        for expression in re.findall(r"\{%.*?%\}", path.read_text(encoding="utf-8"), re.DOTALL):
            assert not bare.search(expression), (path, expression)


def test_a_comment_of_several_lines_stays_a_comment() -> None:
    for path in REPO.glob("roles/*/templates/**/*.j2"):
        for use in re.findall(r"\{\{ ansible_managed[^}]*\}\}", path.read_text(encoding="utf-8")):
            assert use == "{{ ansible_managed | comment }}", path


def test_the_drainer_is_there_before_who_exists_is_brought() -> None:
    """Else the backfill, and LiteLLM's COMMITs meanwhile, hash everybody's initial password."""
    main = yaml.safe_load((REPO / "roles/bridge/tasks/main.yml").read_text(encoding="utf-8"))
    roles = [task.get("ansible.builtin.include_role", {}).get("name", "").rpartition(".")[2] for task in main]
    assert roles.index("maintenance") < roles.index("migration")


@every_file
def test_whom_tasks_become_stands_once_in_a_file(path: Path) -> None:
    """In the block around them, or by an anchor."""
    lines = path.read_text(encoding="utf-8").splitlines()
    becomes = [line.strip() for line in lines if line.strip().startswith("ansible_become:")]
    assert len(becomes) == len(set(becomes))
