# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the collection's modules the way Ansible does, without the second that a whole playbook takes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml

from kit import forks
from kit.bridge import REGISTRY, ensure_own_roles, install_bridge, render_sql
from kit.common import REPO
from kit.pairs import PASSWORDS, PROGRAM_ROLES, SYNC_USER, Pair, Session, Side, ensure_login
from playbooks_support import environment

# Some work on the controller only; others ask a program, and no database.
WITHOUT_LOGIN = {"bridge_report", "bridge_variables_info", "bridge_models_info", "bridge_access_info"}
MODULES = sorted({path.stem for path in (REPO / "plugins" / "modules").glob("[!_]*.py")} - WITHOUT_LOGIN)
DRIVERS = [name for name in ("psycopg2", "psycopg") if find_spec(name)]
# Where a module's own way of working is meant: test_modules_login puts every module through both drivers.
USUAL_DRIVER = [DRIVERS[0], *(pytest.param(name, marks=pytest.mark.weekly) for name in DRIVERS[1:])]
_Result = TypeVar("_Result")
READ_ONLY = {"PGOPTIONS": "-c default_transaction_read_only=on"}
# psycopg 3 wins where both are installed; a None in sys.modules hides one of them from the import.
_START = "import runpy, sys; sys.modules[sys.argv.pop()] = None; runpy.run_path(sys.argv.pop(), run_name='__main__')"


# Where modules get the collection from while a fault is planted in it.
_plugins: list[Mapping[str, str]] = [{}]


@contextmanager
def planted_in_plugins(path: str, old: str, new: str, folder: Path) -> Iterator[None]:
    """Modules import from a copy of the collection, in this folder, in which one file of module_utils is another."""
    copy = folder / "ansible_collections" / "llmops" / "user_bridge" / "plugins"
    shutil.copytree(REPO / "plugins", copy)
    file = copy / "module_utils" / path
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{path} has changed: plant this fault anew"
    file.write_text(text.replace(old, new), encoding="utf-8")
    _plugins.append({"PYTHONPATH": str(folder)})
    try:
        yield
    finally:
        _plugins.pop()


class ModuleFailed(AssertionError):
    """The module ended with C(fail_json); the text is its message."""

    def __init__(self, result: dict[str, Any]) -> None:
        super().__init__(result["msg"])
        self.result = result


def module_command(name: str, driver: str = DRIVERS[0]) -> list[str]:
    """What runs a module that gets its arguments on standard input."""
    hidden = "psycopg" if driver == "psycopg2" else "psycopg2"
    return [sys.executable, "-c", _START, str(REPO / "plugins" / "modules" / f"{name}.py"), hidden]


def run_module(
    name: str,
    options: Mapping[str, Any],
    *,
    check: bool = False,
    diff: bool = False,
    driver: str = DRIVERS[0],
    env: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The result of one module call. Raises ModuleFailed with the module's message."""
    env = {**_plugins[-1], **(env or {})}
    arguments = json.dumps({"ANSIBLE_MODULE_ARGS": {**options, "_ansible_check_mode": check, "_ansible_diff": diff}})
    environment = {**os.environ, "PYTHONPATH": str(REPO / ".collections"), **env}
    # A fork has its drivers already; where they are looked for elsewhere, or what runs is counted, it takes a process.
    if "PYTHONPATH" in env or any(name.startswith("COVERAGE_PROCESS") for name in os.environ):
        done = subprocess.run(
            module_command(name, driver), input=arguments, capture_output=True, text=True, timeout=120, env=environment
        )
    else:
        *_, module, hidden = module_command(name, driver)
        done = forks.module(Path(module), hidden, arguments, environment)
    assert done.stdout, done.stderr
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if result.get("failed"):
        raise ModuleFailed(result)
    return result


def run_playbook(
    tasks: list[dict[str, Any]], tmp_path: Path, *arguments: str, env: Mapping[str, str] | None = None, **play: Any
) -> subprocess.CompletedProcess[str]:
    """Run tasks through ansible-playbook itself."""
    variables = play.pop("vars", {})
    whole = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks, **play}
    return run_plays([whole], tmp_path, *arguments, variables=variables, env=env)


def run_plays(
    plays: list[dict[str, Any]],
    tmp_path: Path,
    *arguments: str,
    variables: Mapping[str, Any],
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run whole plays, all with the same variables."""
    playbook = tmp_path / "play.yml"
    common = {"ansible_python_interpreter": forks.interpreter(), **variables}
    playbook.write_text(yaml.safe_dump([{**play, "vars": common} for play in plays]), encoding="utf-8")
    words = ["-i", "localhost,", str(playbook), *arguments]
    return forks.playbook(words, tmp_path, environment(forks.home(), env or {}), one_output=False)


def login_options(pair: Pair, side: Side, user: str = "postgres") -> dict[str, Any]:
    login = pair.login(side, user)
    return {
        "login_host": login.host,
        "login_port": login.port,
        "login_user": login.user,
        "login_password": login.password,
        "login_db": login.database,
    }


def a_call(pair: Pair, module: str) -> dict[str, Any]:
    """One call of each module that has something to look at on both sides, as far as the module looks there."""
    definitions = [{"name": path, "sql": sql} for path, sql in render_sql("litellm").items()]
    target = {"target_host": pair.cluster.host, "target_port": pair.cluster.port, "target_db": pair.openwebui_db}
    credentials = {"sync_user": SYNC_USER, "sync_password": PASSWORDS[SYNC_USER]}
    own: dict[str, dict[str, Any]] = {
        "bridge_audit_info": {},
        "bridge_info": {"openwebui_login_db": pair.openwebui_db},
        "bridge_install": {"side": "litellm", "version": "1.0.0", "definitions": definitions},
        "bridge_mapping_info": {},
        "bridge_migration": {"chunk_seconds": 600},
        "bridge_ownership": {"openwebui_login_db": pair.openwebui_db},
        "bridge_preflight_info": {
            "registry": REGISTRY["sides"],
            "reader": PROGRAM_ROLES["litellm"],
            "writer": PROGRAM_ROLES["openwebui"],
            "openwebui_login_db": pair.openwebui_db,
            **target,
            **credentials,
        },
        "bridge_query_info": {"query": "SELECT %(number)s::integer AS number", "named_args": {"number": 1}},
        "bridge_role": {"name": SYNC_USER, "password": PASSWORDS[SYNC_USER], "restricted": True},
        "bridge_sync": {},
        "bridge_takeover": {"openwebui_login_db": pair.openwebui_db},
        "bridge_target": {**target, **credentials, "verify": "connection"},
    }
    return {**login_options(pair, "litellm"), **own[module]}


def install(pair: Pair) -> None:
    """The bridge, and a queue that waits."""
    install_bridge(pair, {"initial_password": "none", "delivery": "queued"})


def admin(pair: Pair, side: Side) -> Session:
    return pair.litellm_admin if side == "litellm" else pair.openwebui_admin


def ensure_roles(pair: Pair) -> None:
    """The bridge's roles and the sync user, which the role sync_user makes before any module runs."""
    ensure_own_roles(pair.litellm_admin)
    ensure_login(pair.cluster, SYNC_USER)


def actions(result: Mapping[str, Any]) -> dict[str, str]:
    """What was done to each object that was not left alone."""
    return {f"{o['kind']} {o['name']}": o["action"] for o in result["objects"] if o["action"] != "unchanged"}


def warnings(result: Mapping[str, Any]) -> str:
    """All warnings, whose form depends on ansible-core."""
    return str(result.get("warnings", ""))


def without_a_write(session: Session, call: Callable[[], _Result]) -> _Result:
    """Prove that a call takes no transaction id. Autovacuum takes one now and then, so one clean attempt is enough."""
    for _attempt in range(5):
        before = session.value("SELECT pg_snapshot_xmax(pg_current_snapshot())::text")
        result = call()
        if session.value("SELECT pg_snapshot_xmax(pg_current_snapshot())::text") == before:
            return result
    raise AssertionError("the call has taken a transaction id, so it wrote something")
