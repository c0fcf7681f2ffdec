# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the shipped playbooks and roles against pairs of databases, and looks at what they did to them.

A run costs what many tasks of a host more do, so cases are hosts of one inventory (`play_hosts`) where they can be.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from ansible.parsing.vault import VaultLib, VaultSecret

from kit import forks, recap
from kit.bridge import drop_bridged_templates, own
from kit.cluster import SUPERUSER, Cluster
from kit.common import REPO
from kit.pairs import MONITOR, OWN_ROLES, PASSWORDS, SYNC_USER, Pair, Session
from kit.recap import Run

DEPLOY = REPO / "deploy-bridge.yml"
READ_ONLY = {"PGOPTIONS": "-c default_transaction_read_only=on"}
Plays = list[dict[str, Any]]
# Group to host to the variables of the host.
Inventory = Mapping[str, Mapping[str, Mapping[str, Any]]]


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
    playbook: Path | Plays | str,
    values: Mapping[str, Any],
    tmp_path: Path,
    *arguments: str,
    env: Mapping[str, str] | None = None,
    real: bool = False,
) -> Run:
    """Run a playbook on localhost: a file, a name like llmops.user_bridge.deploy_bridge, or plays as data.

    `real`: as a process of its own, and so is each module.
    """
    given = tmp_path / "variables.json"
    interpreter = {} if real else {"ansible_python_interpreter": forks.interpreter()}
    given.write_text(json.dumps({**interpreter, **values}), encoding="utf-8")
    run = _run_process if real else _run
    return run(_file(playbook, tmp_path), tmp_path, env or {}, "-e", f"@{given}", *arguments)


def vaulted(tmp_path: Path, name: str, value: str) -> tuple[str, ...]:
    """Arguments of a run that give a variable as `ansible-vault encrypt_string` prints it."""
    secret = VaultSecret(b"of the vault")
    text = VaultLib([("default", secret)]).encrypt(value, secret).decode()
    given, password = tmp_path / "vaulted.yml", tmp_path / "vault_password"
    given.write_text(f"{name}: !vault |\n{textwrap.indent(text, '  ')}", encoding="utf-8")
    password.write_bytes(secret.bytes)
    return ("-e", f"@{given}", "--vault-password-file", str(password))


def follow(
    line: str, values: Mapping[str, Any], tmp_path: Path, *given: str, env: Mapping[str, str] | None = None
) -> Run:
    """Run a line of the documentation as people do, with these values in the file of variables that it names.

    `given`: more arguments.
    """
    program, playbook, *arguments = shlex.split(line)
    assert program == "ansible-playbook" and "@vars.yml" in arguments
    (tmp_path / "vars.yml").write_text(yaml.safe_dump(dict(values)), encoding="utf-8")
    return _run_process(playbook, tmp_path, env or {}, *arguments, *given)


def installed(line: str, tmp_path: Path) -> dict[str, str]:
    """Install the collection by a line of README.md; what a run needs in its environment to find only that one."""
    program, *arguments = shlex.split(line)
    own = {"ANSIBLE_HOME": str(tmp_path / "ansible"), "ANSIBLE_CONFIG": str(tmp_path / "none.cfg")}
    env = {name: value for name, value in os.environ.items() if name != "ANSIBLE_COLLECTIONS_PATH"} | own
    # Nobody is there: whoever wants the network fails at once.
    env |= dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:1")
    command = [str(Path(sys.executable).parent / program), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPO, env=env, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return {"ANSIBLE_COLLECTIONS_PATH": str(tmp_path / "ansible" / "collections")}


def play_hosts(
    plays: Plays, inventory: Inventory, tmp_path: Path, *arguments: str, env: Mapping[str, str] | None = None
) -> Run:
    """Run plays on hosts that all are this machine; each has variables of its own, as from an inventory.

    Ansible ends the run with a play in which every host fails, and leaves a host that failed out of later plays.
    """
    path = tmp_path / "inventory.json"
    local = {"ansible_connection": "local", "ansible_python_interpreter": forks.interpreter()}
    groups = {
        group: {"hosts": {name: {**local, **host} for name, host in hosts.items()}}
        for group, hosts in inventory.items()
    }
    path.write_text(json.dumps(groups), encoding="utf-8")
    return _run(_file(plays, tmp_path), tmp_path, env or {}, "-i", str(path), *arguments)


def _file(playbook: Path | Plays | str, tmp_path: Path) -> str:
    if not isinstance(playbook, list):
        return str(playbook)
    path = tmp_path / "play.yml"
    path.write_text(yaml.safe_dump(playbook, sort_keys=False), encoding="utf-8")
    return str(path)


def _run(playbook: str, tmp_path: Path, env: Mapping[str, str], *arguments: str) -> Run:
    """One run of ansible-playbook."""
    done = forks.playbook([playbook, *arguments], tmp_path, environment(forks.home(), env))
    return replace(recap.read(done.stdout), code=done.returncode)


def _run_process(playbook: str, tmp_path: Path, env: Mapping[str, str], *arguments: str) -> Run:
    """The same as people have it."""
    done = subprocess.run(
        [str(Path(sys.executable).parent / "ansible-playbook"), playbook, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1800,
        cwd=tmp_path,
        env=environment(tmp_path, env),
    )
    return replace(recap.read(done.stdout), code=done.returncode)


def environment(home: Path, env: Mapping[str, str]) -> dict[str, str]:
    """Of a run that reads nothing of the user's own; Ansible writes below `home`."""
    return {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(REPO / ".collections"),
        "ANSIBLE_HOME": str(home / "ansible"),
        "ANSIBLE_CONFIG": str(home / "none.cfg"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_PIPELINING": "1",
        "ANSIBLE_LOCALHOST_WARNING": "0",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "0",
        "PYTHONPATH": forks.ONLY_PSYCOPG2,
        **env,
    }


def on(group: str, playbook: Path | str) -> dict[str, Any]:
    """A shipped playbook on one group of the inventory."""
    return {"ansible.builtin.import_playbook": str(playbook), "vars": {"bridge_hosts": group}}


def shipped(playbook: str, group: str, **keywords: Any) -> Plays:
    """The plays of a shipped playbook on one group, with keywords that import_playbook does not take.

    `environment` reaches no session: the roles read PGOPTIONS where Ansible runs.
    """
    plays: Plays = yaml.safe_load((REPO / "playbooks" / f"{playbook}.yml").read_text(encoding="utf-8"))
    return [{**each, "hosts": group, **keywords} for each in plays]


def deploy(
    pair: Pair,
    tmp_path: Path,
    *arguments: str,
    env: Mapping[str, str] | None = None,
    real: bool = False,
    **overrides: Any,
) -> Run:
    """The playbook that everybody runs; it must succeed."""
    run = play(DEPLOY, variables(pair, **overrides), tmp_path, *arguments, env=env, real=real)
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
    # A backend that has had a temporary table keeps its schema.
    "(SELECT * FROM pg_namespace WHERE nspname !~ '^pg_(toast_)?temp_')",
    "(SELECT oid, relname, relnamespace, relowner,"
    f" {_acl('relacl', 'r', 'relowner')} FROM pg_class WHERE relkind <> 't')",
    "pg_proc",
    "pg_trigger",
    "pg_extension",
    "pg_default_acl",
    "pg_foreign_server",
    "pg_user_mapping",
)


def described(pair: Pair) -> dict[str, list[str]]:
    """Objects, owners and privileges by name, without the oids that a copy or a repair does not keep."""
    return {
        side: [row["described"] for row in session.rows(_DESCRIBED)]
        for side, session in (("litellm", pair.litellm_admin), ("openwebui", pair.openwebui_admin))
    }


_DESCRIBED = f"""
SELECT described FROM (
    SELECT format('function %s %s %s %s', p.oid::regprocedure, proowner::regrole,
                  {_acl("proacl", "f", "proowner")}, md5(pg_get_functiondef(p.oid))) AS described
      FROM pg_proc AS p WHERE pronamespace = to_regnamespace('user_bridge') AND prokind <> 'a'
    UNION ALL
    SELECT format('relation %s %s %s %s', c.oid::regclass, relkind, relowner::regrole,
                  {_acl("relacl", "r", "relowner")})
      FROM pg_class AS c
     WHERE relnamespace IN (to_regnamespace('user_bridge'), 'public'::regnamespace) AND relkind <> 'i'
    UNION ALL
    SELECT format('trigger %s %s %s', tgrelid::regclass, tgenabled, pg_get_triggerdef(oid))
      FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL
    SELECT format('schema %s %s %s', nspname, nspowner::regrole, {_acl("nspacl", "n", "nspowner")})
      FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%'
    UNION ALL
    SELECT format('default %s %s %s', defaclrole::regrole, defaclobjtype, defaclacl) FROM pg_default_acl
    UNION ALL
    SELECT format('extension %s %s', extname, extnamespace::regnamespace) FROM pg_extension
    UNION ALL
    SELECT format('server %s %s', srvname,
                  ARRAY(SELECT o FROM unnest(srvoptions) AS o WHERE o NOT LIKE 'dbname=%' ORDER BY 1))
      FROM pg_foreign_server
) AS every ORDER BY described
"""


@contextmanager
def clone(pair: Pair) -> Iterator[Pair]:
    """The pair with its bridge once more, as if it had been deployed there; dropped afterwards."""
    names = (pair.litellm_db, pair.openwebui_db)
    pair.close()
    wait_until(lambda: not _sessions(pair.cluster, names))
    made = Pair(pair.cluster, None, None, pair.litellm_version, pair.openwebui_version, pair.admin)
    made.make(dict(pair.databases))
    try:
        # Rights on the database itself are not copied.
        made.openwebui_admin.run(f'GRANT CONNECT ON DATABASE "{made.openwebui_db}" TO "{SYNC_USER}"')
        made.litellm_admin.run(f"ALTER SERVER user_bridge_target OPTIONS (SET dbname '{made.openwebui_db}')")
        if made.litellm_admin.value("SELECT to_regclass('user_bridge.identity')"):
            own(made)
            # As a deployment leaves it: a new identity alone makes a backfill due.
            made.litellm_admin.run(
                "DELETE FROM user_bridge.backfill;"
                "INSERT INTO user_bridge.backfill (rules) VALUES (user_bridge.rules_in_force())"
            )
        yield made
    finally:
        made.drop()


def _sessions(cluster: Cluster, names: tuple[str, ...]) -> int:
    """The bridge's connection ends a moment after the session that it belongs to."""
    with closing(cluster.connect()) as connection:
        return int(
            Session(connection).value("SELECT count(*) FROM pg_stat_activity WHERE datname = ANY (%s)", [list(names)])
        )


def wait_until(condition: Callable[[], Any], seconds: float = 60) -> None:
    """Until the condition holds; an error when it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it has not come about"
        time.sleep(0.05)


def one_waits_for_the_other(pair: Pair, statements: str, one: Session, other: Session) -> None:
    """Both execute this, each in a transaction of its own, of which the second goes on when the first has committed."""
    one.run(statements)
    with ThreadPoolExecutor(1) as pool:
        beside = pool.submit(other.run, statements)
        wait_until(lambda: pair.litellm_admin.value("SELECT count(*) FROM pg_locks WHERE NOT granted"))
        one.raw.commit()
        beside.result()
    other.raw.commit()


def forget_roles(pair: Pair) -> None:
    """Roles belong to the whole server: take the bridge's away, as on a server that never had a bridge."""
    drop_bridged_templates(pair.cluster)
    pair.cluster.execute(*(f'DROP ROLE IF EXISTS "{role}"' for role in (*OWN_ROLES, SYNC_USER, MONITOR)))


def role_play(*roles: str, **keywords: Any) -> Plays:
    """A play of somebody else's that uses the collection's roles."""
    names = [f"llmops.user_bridge.{role}" for role in roles]
    return [{"hosts": "localhost", "gather_facts": False, "roles": names, **keywords}]
