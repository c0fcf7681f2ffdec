# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the shipped playbooks and roles against a pair of databases, and looks at what they did to them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from kit.bridge import drop_bridged_templates
from kit.cluster import SUPERUSER
from kit.common import REPO
from kit.pairs import OWNER_ROLE, PASSWORDS, SYNC_USER, Pair

DEPLOY = REPO / "deploy-bridge.yml"
READ_ONLY = {"PGOPTIONS": "-c default_transaction_read_only=on"}
_RECAP = re.compile(r"^\S+\s*: ok=\d+\s+changed=(\d+)\s+unreachable=0\s+failed=(\d+)", re.MULTILINE)


@dataclass(frozen=True)
class Run:
    """What a playbook run printed and how it ended."""

    output: str
    changed: int
    failed: int

    @property
    def words(self) -> str:
        """Without Ansible's line breaks and JSON's backslashes, so that a message can be looked for."""
        return " ".join(self.output.replace('\\"', '"').replace("\\n", " ").split())


def variables(pair: Pair, **overrides: Any) -> dict[str, Any]:
    """What a user would set for this pair. None takes a variable out."""
    values = {
        "bridge_login_host": pair.cluster.host,
        "bridge_login_port": pair.cluster.port,
        "bridge_login_password": PASSWORDS[SUPERUSER],
        "bridge_litellm_db": pair.litellm_db,
        "bridge_openwebui_db": pair.openwebui_db,
        "bridge_sync_password": PASSWORDS[SYNC_USER],
        **overrides,
    }
    return {name: value for name, value in values.items() if value is not None}


def play(
    playbook: Path | list[dict[str, Any]] | str,
    values: Mapping[str, Any],
    tmp_path: Path,
    *arguments: str,
    env: Mapping[str, str] | None = None,
) -> Run:
    """Run a playbook: a file, a name like llmops.user_bridge.deploy_bridge, or plays as data."""
    if isinstance(playbook, list):
        path = tmp_path / "play.yml"
        path.write_text(yaml.safe_dump(playbook, sort_keys=False), encoding="utf-8")
        playbook = path
    given = tmp_path / "variables.json"
    given.write_text(json.dumps(values), encoding="utf-8")
    done = subprocess.run(
        [str(Path(sys.executable).parent / "ansible-playbook"), str(playbook), "-e", f"@{given}", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        cwd=tmp_path,
        env={
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(REPO / ".collections"),
            "ANSIBLE_HOME": str(tmp_path / "ansible"),
            "ANSIBLE_CONFIG": str(tmp_path / "none.cfg"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_LOCALHOST_WARNING": "0",
            "ANSIBLE_INVENTORY_UNPARSED_WARNING": "0",
            **(env or {}),
        },
    )
    recap = _RECAP.findall(done.stdout)
    assert recap, done.stdout
    return Run(done.stdout, sum(int(changed) for changed, _ in recap), sum(int(failed) for _, failed in recap))


def deploy(pair: Pair, tmp_path: Path, *arguments: str, env: Mapping[str, str] | None = None, **overrides: Any) -> Run:
    """The playbook that everybody runs; it must succeed."""
    run = play(DEPLOY, variables(pair, **overrides), tmp_path, *arguments, env=env)
    assert run.failed == 0, run.output
    return run


def refused(pair: Pair, tmp_path: Path, **overrides: Any) -> Run:
    """The same, but it must stop, and must not have changed anything before."""
    with unchanged(pair):
        run = play(DEPLOY, variables(pair, **overrides), tmp_path)
    assert (run.changed, run.failed) == (0, 1), run.output
    return run


@contextmanager
def unchanged(pair: Pair) -> Iterator[None]:
    """The block leaves every row of the catalogs that people can change, on both sides, as it was."""
    before = snapshot(pair)
    yield
    assert snapshot(pair) == before


def snapshot(pair: Pair) -> dict[str, Any]:
    """The shared and the two databases' catalogs, but for what the server counts by itself."""
    found: dict[str, Any] = {}
    for side, session in (("litellm", pair.litellm_admin), ("openwebui", pair.openwebui_admin)):
        for catalog in _CATALOGS:
            rows = session.rows(f"SELECT md5(each::text) AS row FROM {catalog} AS each ORDER BY 1")
            found[f"{side}.{catalog}"] = [row["row"] for row in rows]
    return found


def _acl(column: str, kind: str, owner: str) -> str:
    """Privileges, sorted; a GRANT that was taken back leaves the default spelled out where nothing was."""
    entries = f"unnest(coalesce({column}, acldefault('{kind}', {owner})))"
    return f"ARRAY(SELECT entry::text FROM {entries} AS entry ORDER BY 1)"


# pg_class and pg_database hold statistics and transaction horizons besides what people change.
_CATALOGS = (
    "pg_authid",
    "pg_auth_members",
    "pg_db_role_setting",
    f"(SELECT datname, datdba, {_acl('datacl', 'd', 'datdba')} FROM pg_database)",
    "pg_namespace",
    "(SELECT oid, relname, relnamespace, relowner,"
    f" {_acl('relacl', 'r', 'relowner')} FROM pg_class WHERE relkind <> 't')",
    "pg_proc",
    "pg_trigger",
    "pg_extension",
    "pg_default_acl",
    "pg_foreign_server",
    "pg_user_mapping",
)


def forget_roles(pair: Pair) -> None:
    """Roles belong to the whole server: take the bridge's away, as on a server that never had a bridge."""
    drop_bridged_templates(pair.cluster)
    pair.cluster.execute(f'DROP ROLE IF EXISTS "{OWNER_ROLE}"', f'DROP ROLE IF EXISTS "{SYNC_USER}"')


def role_play(*roles: str, **keywords: Any) -> list[dict[str, Any]]:
    """A play of somebody else's that uses the collection's roles."""
    names = [f"llmops.user_bridge.{role}" for role in roles]
    return [{"hosts": "localhost", "gather_facts": False, "roles": names, **keywords}]
