# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Molecule's tests ask of a host's databases, through psql on the host: nothing else may reach them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import testinfra
import testinfra.host
import yaml

from kit import recap
from kit.cluster import SUPERUSER
from kit.common import REPO
from kit.recap import Run

# As molecule/shared/vars/brief.yml reads it.
BRIEF = bool(os.environ.get("USER_BRIDGE_BRIEF"))
_GROUP_VARS = REPO / "molecule" / "inventory" / "group_vars"
VARIABLES: dict[str, Any] = {}
for _group in ("distributed", "container", "molecule"):
    VARIABLES.update(yaml.safe_load((_GROUP_VARS / f"{_group}.yml").read_text(encoding="utf-8")))
PASSWORDS = {
    "litellm": VARIABLES["bridge_litellm_owner_password"],
    "openwebui": VARIABLES["bridge_openwebui_owner_password"],
    "sync_user": VARIABLES["bridge_sync_password"],
}


_ALL_PASSWORDS = {
    **PASSWORDS,
    SUPERUSER: VARIABLES["bridge_login_password"],
    "user_bridge_timer": VARIABLES["bridge_maintenance_password"],
}


class Refused(Exception):
    """The server, or psql, said no."""


@dataclass(frozen=True)
class Database:
    """One database, as one role: over TCP with a password, but for the superuser of the host's own server."""

    host: testinfra.host.Host
    name: str
    user: str = SUPERUSER
    server: str = ""
    options: str = ""

    def as_role(self, user: str) -> Database:
        return Database(self.host, self.name, user, self.server, self.options)

    def run(self, sql: str) -> str:
        """What psql prints, unaligned; several statements are one transaction."""
        psql = ["psql", "-XqAt", "-v", "ON_ERROR_STOP=1"]
        if self.user == SUPERUSER and not self.server:
            words = ["runuser", "-u", "postgres", "--", *psql, "-d", self.name, "-c", sql]
        else:
            address = f"host={self.server or '127.0.0.1'} user={self.user} dbname={self.name} {self.options}".strip()
            words = ["env", f"PGPASSWORD={_ALL_PASSWORDS[self.user]}", *psql, "-d", address, "-c", sql]
        done = self.host.run(" ".join(["%s"] * len(words)), *words)
        if done.rc:
            raise Refused(done.stderr.strip())
        return str(done.stdout).strip()

    def rows(self, query: str) -> list[dict[str, Any]]:
        """The rows of one query, with JSON's types."""
        found: list[dict[str, Any]] = json.loads(
            self.run(f"SELECT coalesce(json_agg(each), '[]') FROM ({query}) AS each")
        )
        return found

    def value(self, query: str) -> Any:
        """The one column of the one row; None when there is no row."""
        found = self.rows(query)
        return next(iter(found[0].values())) if found else None

    def refuses(self, sql: str) -> bool:
        """Whether this role lacks the right; any other error is the test's own mistake."""
        try:
            self.run(sql)
        except Refused as error:
            if "permission denied" in str(error) or "must be owner" in str(error) or "must be superuser" in str(error):
                return True
            raise
        return False


@dataclass(frozen=True)
class Logged(Run):
    """`log` is what Ansible wrote into its log file."""

    log: str = ""


def play(
    playbook: str, hosts: str, scratch: Path, *arguments: str, env: Mapping[str, str] | None = None, **variables: Any
) -> Logged:
    """Run a playbook of the collection on a group of the scenarios' inventory, as a user would from a shell."""
    given, log = scratch / "variables.json", scratch / "ansible.log"
    given.write_text(json.dumps({"bridge_hosts": hosts, **variables}), encoding="utf-8")
    log.unlink(missing_ok=True)
    inventory = ["--inventory", str(REPO / "molecule" / "inventory")]
    done = subprocess.run(
        ["ansible-playbook", *inventory, f"llmops.user_bridge.{playbook}", "-e", f"@{given}", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        cwd=scratch,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
            "ANSIBLE_COLLECTIONS_PATH": str(REPO / ".collections"),
            "ANSIBLE_HOME": str(scratch / "ansible"),
            "ANSIBLE_LOG_PATH": str(log),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_PIPELINING": "1",
            **(env or {}),
        },
    )
    ended = recap.read(done.stdout)
    written = log.read_text(encoding="utf-8")
    return Logged(ended.output, ended.changed, ended.failed, ended.hosts, done.returncode, written)


def play_aliases(
    playbook: str, host: str, group: str, cases: Mapping[str, Mapping[str, Any]], scratch: Path, *arguments: str
) -> Logged:
    """Run a playbook once for many cases: each is another name for one host of a group, with variables of its own."""
    path = scratch / "aliases.json"
    aliases = {name: {**variables, "ansible_host": host} for name, variables in cases.items()}
    path.write_text(
        json.dumps({"aliases": {"hosts": aliases}, group: {"hosts": dict.fromkeys(cases, {})}}), encoding="utf-8"
    )
    # It is one machine, which has one lock of apt's.
    return play(playbook, "aliases", scratch, "--inventory", str(path), *arguments, env={"ANSIBLE_FORKS": "1"})


READ_ONLY = {"PGOPTIONS": "-c default_transaction_read_only=on"}
