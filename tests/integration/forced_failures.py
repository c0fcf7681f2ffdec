# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A copy of the collection in which every task that is given a secret fails, in the two ways in which a task can.

First a module that talks to PostgreSQL fails by itself, whether its conditions would let it run or not, with all that
it was given for the connection in the error. Then the task is run for real, so that the play can go on, and counted as
failed for all that.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.llmops.user_bridge.plugins.plugin_utils._variables import is_secret

from kit import role_readmes as readmes
from kit.common import REPO
from kit.forks import ONLY_PSYCOPG2

_PARTS = ("galaxy.yml", "meta", "playbooks", "plugins", "roles")
_NO_MODULE = re.compile(r"ansible\.builtin\.(import|include)_|ansible\.builtin\.meta$")
_DATABASE = ("community.postgresql.", "llmops.user_bridge.")
# pg_hba.conf is a file.
_FILES = "community.postgresql.postgresql_pg_hba"
# What a task does with its result, or with a failure, is not for the failure that is planted.
_AFTERWARDS = ("register", "failed_when", "changed_when", "until", "retries", "delay", "notify")
_RIG = """
import psycopg2

def refuse(error):
    def connect(*args, **kwargs):
        raise error("rigged: " + " ".join(map(str, (*args, *kwargs.values()))))
    return connect

psycopg2.connect = refuse(psycopg2.OperationalError)
"""
_HEADING = re.compile(r"^(?:TASK|RUNNING HANDLER) \[llmops\.user_bridge\.(\w+) : (.+)\] \*+$")


@dataclass(frozen=True, order=True)
class Task:
    role: str
    name: str


@dataclass(frozen=True)
class Planting:
    """What rewriting one file needs: whose it is, what is secret, where the rig is, and which tasks have failed."""

    role: str
    handlers: bool
    secret: set[str]
    rig: Path
    done: Collection[Task]


def secret_variables() -> set[str]:
    """What the argument specs call secret, and every default and variable that is made of it."""
    roles = [path.name for path in (REPO / "roles").iterdir()]
    secret = {name for role in roles for name in readmes.options(role) if is_secret(name)}
    # What tells the cluster's own password.
    secret |= {"__bridge_embedded", "superuser_password"}
    made = {
        name: json.dumps(value)
        for role in roles
        for part in ("defaults", "vars")
        if (REPO / "roles" / role / part / "main.yml").exists()
        for name, value in readmes.load(role, part).items()
    }
    # An embedded cluster says its port together with its password; that is none.
    made = {name: text for name, text in made.items() if not name.endswith("_port")}
    while more := {name for name, text in made.items() if name not in secret and words(text) & secret}:
        secret |= more
    return secret


def copy(tmp_path: Path) -> Path:
    """Make the copy, in which nothing fails yet. Returns where collections are then."""
    home = _home(tmp_path)
    for part in _PARTS:
        make = shutil.copy2 if (REPO / part).is_file() else shutil.copytree
        home.mkdir(parents=True, exist_ok=True)
        make(REPO / part, home / part)
    rig = _rig(tmp_path)
    rig.mkdir()
    (rig / "sitecustomize.py").write_text(_RIG, encoding="utf-8")
    return tmp_path / "failing"


def plant(tmp_path: Path, done: Collection[Task] = ()) -> set[Task]:
    """Let the tasks of the copy fail, but for those that have. Returns all that are given a secret."""
    secret = secret_variables()
    given: set[Task] = set()
    for path in [*REPO.glob("roles/*/tasks/*.yml"), *REPO.glob("roles/*/handlers/*.yml")]:
        tasks = yaml.safe_load(path.read_text(encoding="utf-8"))
        file = Planting(
            path.relative_to(REPO / "roles").parts[0], "handlers" in path.parts, secret, _rig(tmp_path), done
        )
        rewritten = yaml.safe_dump(list(_rewrite(tasks, file, False, given)), sort_keys=False, width=1000)
        (_home(tmp_path) / path.relative_to(REPO)).write_text(rewritten, encoding="utf-8")
    return given


def _home(tmp_path: Path) -> Path:
    return tmp_path / "failing" / "ansible_collections" / "llmops" / "user_bridge"


def _rig(tmp_path: Path) -> Path:
    return tmp_path / "rig"


def failed(output: str) -> set[Task]:
    """The tasks that a run reports as failed."""
    found: set[Task] = set()
    task = None
    for line in output.splitlines():
        if heading := _HEADING.match(line):
            task = Task(heading[1], heading[2])
        elif task and line.startswith(("fatal: ", "failed: ")):
            found.add(task)
    return found


def _rewrite(tasks: list[dict[str, Any]], file: Planting, inherits: bool, given: set[Task]) -> Iterator[dict[str, Any]]:
    for task in tasks:
        if "block" in task:
            around = {key: value for key, value in task.items() if key != "block"}
            inside = inherits or bool(words(json.dumps(around)) & file.secret)
            yield {**around, "block": list(_rewrite(task["block"], file, inside, given))}
            continue
        (module,) = (key for key in task if "." in key)
        if _NO_MODULE.match(module) or not (inherits or words(json.dumps(task)) & file.secret):
            yield task
            continue
        named = Task(file.role, task["name"])
        given.add(named)
        if named in file.done:
            yield task
            continue
        # The play goes on after a failure, and so does a loop.
        task = {**task, "loop_control": {**task["loop_control"]}} if "loop_control" in task else task
        task.get("loop_control", {}).pop("break_when", None)
        # A handler is found by its name, so there can be one only.
        if module.startswith(_DATABASE) and module != _FILES and not file.handlers:
            first = {key: value for key, value in task.items() if key not in (*_AFTERWARDS, "when")}
            path = f"{file.rig}:{ONLY_PSYCOPG2}"
            yield {**first, "environment": {"PYTHONPATH": path}, "ignore_errors": True}
        yield {
            **{key: value for key, value in task.items() if key != "until"},
            "failed_when": True,
            "ignore_errors": True,
        }


def words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text))
