# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection's own installer: owners and privileges of the bridge's objects are as the product leaves them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import yaml

from kit import forks
from kit.cluster import SUPERUSER
from kit.common import REPO, KitError
from kit.pairs import PROGRAM_ROLES, Pair, Side


def version() -> str:
    """The collection's version, which the installer records."""
    return str(yaml.safe_load((REPO / "galaxy.yml").read_text(encoding="utf-8"))["version"])


def install(pair: Pair, texts: Mapping[Side, Mapping[str, str]]) -> None:
    """Run bridge_install for both sides at once. `texts` holds the rendered SQL of each file, by side and path."""
    with ThreadPoolExecutor(len(texts)) as pool:
        problems = [each for each in pool.map(lambda side: _install(pair, side, texts[side]), texts) if each]
    if problems:
        raise KitError("\n".join(problems))


def own(pair: Pair) -> None:
    """Run bridge_ownership."""
    problem = _problem(pair, "bridge_ownership", "litellm", openwebui_login_db=pair.openwebui_db)
    if problem:
        raise KitError(problem)


def _install(pair: Pair, side: Side, files: Mapping[str, str]) -> str:
    definitions = [{"name": path, "sql": text} for path, text in files.items()]
    return _problem(
        pair,
        "bridge_install",
        side,
        side=side,
        program_role=PROGRAM_ROLES[side],
        program_owner=side,
        version=version(),
        definitions=definitions,
    )


def _problem(pair: Pair, module: str, login_side: Side, **own_options: Any) -> str:
    """What a module says when it fails; empty when it does not."""
    login = pair.login(login_side, SUPERUSER)
    options = {
        "login_host": login.host,
        "login_port": login.port,
        "login_user": login.user,
        "login_password": login.password,
        "login_db": login.database,
        **own_options,
    }
    arguments = json.dumps({"ANSIBLE_MODULE_ARGS": options})
    environment = {**os.environ, "PYTHONPATH": str(REPO / ".collections")}
    done = forks.module(REPO / "plugins" / "modules" / f"{module}.py", "psycopg", arguments, environment)
    call = f"{module}, {login_side}"
    try:
        result = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        return f"{call}: {done.stdout}{done.stderr}"
    return f"{call}: {result['msg']}" if result.get("failed") else ""
