# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every EXAMPLES block of every module runs as it stands, but for where the databases are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from kit.bridge import install_bridge, render_sql
from kit.common import REPO
from kit.pairs import PASSWORDS, SYNC_USER, Pair, Side
from kit.rows import add_organization, add_team, add_user, join_organization
from modules_support import login_options, run_module, run_playbook

COLLECTION = "llmops.user_bridge."
MODULES = sorted(path.stem for path in (REPO / "plugins" / "modules").glob("[!_]*.py"))
# Where the examples' databases are. Everything else stays as it is written.
LOGIN = ("login_host", "login_port", "login_user", "login_password", "login_unix_socket", "login_db")


def examples(module: str) -> list[dict[str, Any]]:
    source = (REPO / "plugins" / "modules" / f"{module}.py").read_text(encoding="utf-8")
    tasks: list[dict[str, Any]] = yaml.safe_load(source.split('EXAMPLES = r"""\n', 1)[1].split('\n"""', 1)[0])
    return tasks


def placed(pair: Pair, task: dict[str, Any]) -> dict[str, Any]:
    """The task with the login of this pair in the place of the example's."""
    name = next((key for key in task if key.startswith(COLLECTION)), None)
    if name is None:
        return task
    options = {key: value for key, value in task[name].items() if key not in LOGIN}
    side: Side = "openwebui" if task[name].get("login_db") == "openwebui" else "litellm"
    options.update(login_options(pair, side))
    if "openwebui_login_db" in options:
        options["openwebui_login_db"] = pair.openwebui_db
    if "target_host" in options:
        options.update(target_host=pair.cluster.host, target_port=pair.cluster.port, target_db=pair.openwebui_db)
    return {**task, name: options}


@pytest.fixture
def lived_in(pair: Pair) -> Pair:
    add_organization(pair.litellm, "o1", "Acme")
    add_team(pair.litellm, "t1", "Blue", organization_id="o1")
    add_user(pair.litellm, "u1", "ann@example.com")
    join_organization(pair.litellm, "o1", "u1")
    install_bridge(pair, {"initial_password": "none"})
    sides: tuple[Side, ...] = ("openwebui", "litellm")
    for side in sides:
        definitions = [{"name": path, "sql": sql} for path, sql in render_sql(side).items()]
        options = {"side": side, "version": "1.0.0", "definitions": definitions}
        run_module("bridge_install", {**login_options(pair, side), **options})
    return pair


@pytest.mark.parametrize("module", MODULES)
def test_examples(lived_in: Pair, tmp_path: Path, module: str) -> None:
    if module.endswith("_info"):
        # The others show what there is to do.
        lived_in.litellm_admin.rows("SELECT * FROM user_bridge.migrate_existing_users()")
    tasks = [placed(lived_in, task) for task in examples(module)]
    assert any(f"{COLLECTION}{module}" in task for task in tasks)
    # Where an example's template lookup finds the role's templates.
    (tmp_path / "templates").symlink_to(REPO / "roles" / "triggers" / "templates")
    variables = {"bridge_login_password": "not used", "bridge_sync_password": PASSWORDS[SYNC_USER]}
    for extra in (["--check", "--diff"], ["--diff"]):
        done = run_playbook(tasks, tmp_path, "-v", *extra, vars=variables)
        assert done.returncode == 0 and "failed=0" in done.stdout, done.stdout + done.stderr
        for secret in PASSWORDS.values():
            assert secret not in done.stdout and json.dumps(secret)[1:-1] not in done.stdout
