# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every EXAMPLES block of every module runs as it stands, but for where the databases are."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from kit import access, bridge
from kit.answers import KEY, Reply, answering, deployment, deployments, listing
from kit.bridge import install_bridge
from kit.cluster import SUPERUSER, Cluster
from kit.common import REPO
from kit.pairs import OWNER_ROLE, PASSWORDS, PROGRAM_ROLES, SYNC_USER, Pair, Side
from kit.pairs import pair as make_pair
from kit.rows import add_organization, add_team, add_user, join_organization
from modules_support import login_options, run_plays

COLLECTION = "llmops.user_bridge."
MODULES = sorted(path.stem for path in (REPO / "plugins" / "modules").glob("[!_]*.py"))
# What answers in LiteLLM's place.
LITELLM = {
    "/v1/models": listing("gpt-4o"),
    "/model/info": deployments(deployment("gpt-4o")),
    "/public/litellm_model_cost_map": Reply({}),
    **access.litellm("ann@example.com", ["gpt-4o"]),
}
OPENWEBUI = access.openwebui("ann@example.com", "usr_ann", ["gpt-4o"])
# Where the examples' databases are. Everything else stays as it is written.
LOGIN = ("login_host", "login_port", "login_user", "login_password", "login_unix_socket", "login_db")


def examples(module: str) -> list[dict[str, Any]]:
    source = (REPO / "plugins" / "modules" / f"{module}.py").read_text(encoding="utf-8")
    tasks: list[dict[str, Any]] = yaml.safe_load(source.split('EXAMPLES = r"""\n', 1)[1].split('\n"""', 1)[0])
    return tasks


def placed(pair: Pair, programs: Mapping[str, str], task: dict[str, Any]) -> dict[str, Any]:
    """The task with the login of this pair, or these addresses of programs, in the place of the example's."""
    name = next((key for key in task if key.startswith(COLLECTION)), None)
    if name is None or not {*LOGIN, *programs} & set(task[name] or {}):
        return task
    options = {key: value for key, value in task[name].items() if key not in LOGIN}
    if programs.keys() & options.keys():
        return {**task, name: {**options, **{key: url for key, url in programs.items() if key in options}}}
    side: Side = "openwebui" if task[name].get("login_db") == "openwebui" else "litellm"
    options.update(login_options(pair, side))
    if "openwebui_login_db" in options:
        options["openwebui_login_db"] = pair.openwebui_db
    if "target_host" in options:
        options.update(target_host=pair.cluster.host, target_port=pair.cluster.port, target_db=pair.openwebui_db)
    return {**task, name: options}


def lived_in(pair: Pair) -> None:
    """A bridge, rows that it has not seen, and, for the modules that only look, something queued."""
    install_bridge(pair, {"initial_password": "none"})
    writer = pair.connect("litellm", SUPERUSER)
    writer.run("SET session_replication_role = replica")
    add_organization(writer, "o1", "Acme")
    add_team(writer, "t1", "Blue", organization_id="o1")
    add_user(writer, "u1", "ann@example.com")
    join_organization(writer, "o1", "u1")


def play(module: str, pair: Pair, programs: Mapping[str, str]) -> dict[str, Any]:
    """A play of one module's examples, against a bridge of its own."""
    lived_in(pair)
    if module.endswith("_info"):
        # The others show what there is to do.
        pair.litellm_admin.rows("SELECT * FROM user_bridge.migrate_existing_users()")
    tasks = [placed(pair, programs, task) for task in examples(module)]
    assert any(f"{COLLECTION}{module}" in task for task in tasks)
    return {"name": module, "hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}


def test_examples(server: Cluster, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    # Where an example's template lookup finds the role's templates.
    (tmp_path / "templates").symlink_to(REPO / "roles" / "triggers" / "templates")
    variables = {
        "bridge_login_password": "not used",
        "bridge_litellm_key": KEY,
        "bridge_openwebui_password": access.PASSWORD,
        "bridge_sync_password": PASSWORDS[SYNC_USER],
        "declared": {
            "registry": bridge.REGISTRY,
            "settings": bridge.SETTINGS,
            "owner_role": OWNER_ROLE,
            "reader_role": PROGRAM_ROLES["litellm"],
            "writer_role": PROGRAM_ROLES["openwebui"],
        },
    }
    with ExitStack() as stack:
        programs = {
            "litellm_url": stack.enter_context(answering(LITELLM)).url,
            "openwebui_url": stack.enter_context(answering(OPENWEBUI, None)).url,
        }
        plays = [play(module, stack.enter_context(make_pair(server)), programs) for module in MODULES]
        # Check mode of each module, on every push: its own tests.
        for extra in [["--check", "--diff"]] * pytestconfig.getoption("--weekly") + [["--diff"]]:
            done = run_plays(plays, tmp_path, "-v", *extra, variables=variables)
            assert done.returncode == 0 and "failed=0" in done.stdout, done.stdout + done.stderr
            assert re.findall(r"PLAY \[(\w+)\]", done.stdout) == MODULES
            for secret in (*PASSWORDS.values(), KEY, access.PASSWORD):
                assert secret not in done.stdout and json.dumps(secret)[1:-1] not in done.stdout
