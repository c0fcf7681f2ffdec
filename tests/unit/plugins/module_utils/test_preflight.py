# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.llmops.user_bridge.plugins.module_utils._preflight.connections import Pools, budget
from ansible_collections.llmops.user_bridge.plugins.module_utils._preflight.facts import Asked
from ansible_collections.llmops.user_bridge.plugins.module_utils._preflight.grants import (
    lacking_rights,
    revocations,
    statements,
    sync_user_fits,
)
from ansible_collections.llmops.user_bridge.plugins.module_utils._preflight.look import writes_secrets
from ansible_collections.llmops.user_bridge.plugins.module_utils._preflight.maintenance import Cron, Host, choose
from ansible_collections.llmops.user_bridge.plugins.module_utils._preflight.problems import (
    Checks,
    Unreached,
    Variables,
    notices,
    problems,
)
from ansible_collections.llmops.user_bridge.plugins.module_utils._remedies import connection_remedy

PRIVILEGES = {"litellm": ("SELECT",), "openwebui": ("SELECT", "INSERT")}
TABLES: dict[str, dict[str, dict[str, str]]] = {
    "litellm": {"LiteLLM_UserTable": {}},
    "openwebui": {"user": {}, "group_member": {"since": "0.6.37"}},
}


def asked(side: str, **changes: Any) -> Asked:
    values: dict[str, Any] = {
        "side": side,
        "db": f"{side}_db",
        "program_owner": side,
        "owner_role": "own",
        "program_role": "prog",
        "sync_user": "sync",
        "timer_user": "timer" if side == "litellm" else "",
        "tables": TABLES[side],
        "privileges": PRIVILEGES[side],
    }
    return Asked(**{**values, **changes})


def role(**changes: bool) -> dict[str, bool]:
    names = ("can_login", "is_superuser", "has_attributes", "is_member", "login_is_member", "login_may_become")
    return {**dict.fromkeys((*names, "uses_schema", "connects"), False), **changes}


def facts(side: str, **changes: Any) -> dict[str, Any]:
    """Of a side on which nothing is missing, seen by a superuser."""
    values: dict[str, Any] = {
        "version_num": 150000,
        "version": "15.0",
        "is_standby": False,
        "cron_database": None,
        "max_connections": 100,
        "reserved_connections": 3,
        "database_limit": -1,
        "database": f"{side}_db",
        "login": "postgres",
        "is_superuser": True,
        "may_create_roles": True,
        "may_create_databases": True,
        "may_create_schemas": True,
        "may_create_temporary": True,
        "schema_public_is_open": False,
        "shows_secrets": [],
        "database_exists": True,
        "program_owner_exists": True,
        "schema_owner": "own",
        "restored_by": None,
        "foreign_objects": [],
        "extension_schema": "user_bridge",
        "extension_schema_stranger": None,
        "extension_is_available": True,
        "extension_is_trusted": False,
        "extension_is_public": False,
        "extension_users": [],
        "extension_is_granted": True,
        "roles": {
            "own": role(login_is_member=True, login_may_become=True),
            "prog": role(login_is_member=True, login_may_become=True),
            "sync": role(can_login=True, uses_schema=True, connects=True),
            "timer": role(can_login=True, uses_schema=True),
        },
        "tables": {name: {"owner": side, "is_mine": True, "held": list(PRIVILEGES[side])} for name in TABLES[side]},
        "unused_schemas": [],
        "default_privileges": {"prog": ["SELECT", "INSERT"]},
        "held_by_owner": [],
        "enforcement": None,
        "wrapper": {"used": True, "may_grant": True} if side == "litellm" else None,
        "admins": 1,
    }
    return {**values, **changes}


@pytest.mark.parametrize("side", ["litellm", "openwebui"])
def test_nothing_missing_is_no_statement(side: str) -> None:
    assert statements(asked(side), facts(side)) == []
    assert lacking_rights(asked(side), facts(side, is_superuser=False)) == []


def test_a_restored_schema_is_the_owner_roles_before_anything_is_created_in_it() -> None:
    seen = facts("litellm", schema_owner="litellm", restored_by="litellm", extension_schema=None)
    made = statements(asked("litellm"), seen)
    assert made[:2] == ['ALTER SCHEMA user_bridge OWNER TO "own"', "CREATE EXTENSION dblink SCHEMA user_bridge"]


BARE: dict[str, Any] = {
    "schema_owner": None,
    "restored_by": None,
    "extension_schema": None,
    "roles": {},
    "default_privileges": {},
    "extension_is_granted": None,
    "wrapper": None,
}


def bare(side: str, **changes: Any) -> dict[str, Any]:
    tables = {name: {"owner": side, "is_mine": True, "held": []} for name in TABLES[side]}
    return facts(side, **{**BARE, "unused_schemas": [("public", "prog")], "tables": tables, **changes})


def test_a_bare_side_in_the_order_of_one_transaction() -> None:
    made = statements(asked("openwebui"), bare("openwebui"))
    assert [" ".join(statement.split()[:2]) for statement in made] == [
        "DO 'BEGIN",
        "DO 'BEGIN",
        "CREATE SCHEMA",
        "CREATE EXTENSION",
        "GRANT USAGE",
        "GRANT SELECT,",
        "ALTER DEFAULT",
        "DO 'DECLARE",
        "GRANT CONNECT",
        "GRANT USAGE",
    ]
    assert 'GRANT SELECT, INSERT ON TABLE public."group_member", public."user" TO "prog"' in made
    assert 'FOR ROLE "openwebui" IN SCHEMA public' in made[6]


def test_what_the_first_version_granted_is_taken_away() -> None:
    seen = facts("openwebui", held_by_owner=["auth", "user"], default_privileges={"own": ["SELECT"]})
    assert revocations(asked("openwebui"), seen) == [
        'REVOKE ALL ON TABLE public."auth", public."user" FROM "own" CASCADE',
        'ALTER DEFAULT PRIVILEGES FOR ROLE "openwebui" IN SCHEMA public REVOKE ALL ON TABLES FROM "own"',
    ]
    assert revocations(asked("openwebui"), facts("openwebui")) == []


@pytest.mark.parametrize(
    ("side", "changes", "statement"),
    [
        ("litellm", {"unused_schemas": [("ext", "own")]}, 'GRANT USAGE ON SCHEMA "ext" TO "own"'),
        ("litellm", {"roles": {**facts("litellm")["roles"], "timer": role()}}, 'SCHEMA user_bridge TO "timer"'),
        ("openwebui", {"default_privileges": {"prog": ["SELECT"]}}, "ALTER DEFAULT PRIVILEGES"),
        ("openwebui", {"extension_is_public": True}, "FROM PUBLIC"),
        ("openwebui", {"extension_is_granted": False}, "quote_ident(''prog'')"),
        ("litellm", {"extension_is_granted": False}, "quote_ident(''own'')"),
        ("openwebui", {"roles": {**facts("openwebui")["roles"], "sync": role(uses_schema=True)}}, "GRANT CONNECT"),
        (
            "litellm",
            {"is_superuser": False, "wrapper": {"used": False, "may_grant": True}},
            "GRANT USAGE ON FOREIGN DATA WRAPPER dblink_fdw",
        ),
        (
            "litellm",
            {"is_superuser": False, "roles": {**facts("litellm")["roles"], "own": role(login_is_member=True)}},
            'GRANT "own" TO "postgres"',
        ),
    ],
)
def test_one_thing_missing_is_one_statement(side: str, changes: dict[str, Any], statement: str) -> None:
    made = statements(asked(side), facts(side, **changes))
    assert statement in made[-1] and len(made) == 1


def test_privileges_that_only_some_tables_lack() -> None:
    tables = {
        "user": {"owner": "openwebui", "is_mine": True, "held": ["SELECT"]},
        "group_member": {"owner": "openwebui", "is_mine": True, "held": []},
    }
    assert statements(asked("openwebui"), facts("openwebui", tables=tables)) == [
        'GRANT INSERT ON TABLE public."user" TO "prog"',
        'GRANT SELECT, INSERT ON TABLE public."group_member" TO "prog"',
    ]


def test_names_are_quoted() -> None:
    made = statements(asked("litellm", owner_role='My "own"'), bare("litellm"))
    assert 'CREATE ROLE "My ""own""" NOLOGIN' in made[0]


def test_rights_of_a_login_without_any() -> None:
    nobody = {
        "is_superuser": False,
        "may_create_roles": False,
        "may_create_schemas": False,
        "tables": {"LiteLLM_UserTable": {"owner": "litellm", "is_mine": False, "held": []}},
    }
    assert lacking_rights(asked("litellm"), bare("litellm", **nobody)) == [
        "CREATEROLE, to create the role own",
        "CREATEROLE, to create the role prog",
        "CREATEROLE, to create the role timer",
        "CREATE on the database litellm_db",
        "superuser, to create the extension dblink (or have an administrator create it)",
        "membership in litellm, which owns the tables",
    ]
    there = facts("litellm", **nobody, wrapper={"used": False, "may_grant": False})
    there["roles"].update(own=role(), prog=role())
    assert lacking_rights(asked("litellm"), there) == [
        "membership in litellm, which owns the tables",
        "USAGE on the foreign data wrapper dblink_fdw WITH GRANT OPTION",
        "membership in own, which exists",
        "membership in prog, which exists",
    ]


def test_a_trusted_extension_needs_no_superuser() -> None:
    seen = facts("openwebui", is_superuser=False, extension_schema=None, extension_is_trusted=True)
    assert lacking_rights(asked("openwebui"), seen) == []


@pytest.mark.parametrize(
    ("attributes", "fits"),
    [({"can_login": True}, True), ({}, False), ({"can_login": True, "has_attributes": True}, False)],
)
def test_sync_user_fits(attributes: dict[str, bool], fits: bool) -> None:
    assert sync_user_fits({"roles": {"sync": role(**attributes)}}, "sync") is fits
    assert sync_user_fits({"roles": {}}, "sync") is False


CHECKS = Checks(depth="bridge", maintenance="none", maintenance_db="", allow_no_admin=False)


def variables(side: str, prefix: str = "bridge_login_", **changes: Any) -> Variables:
    return Variables(side, prefix, "db.example.com", 5433, "deployer", asked(side, **changes))


SIDES = {side: variables(side) for side in ("litellm", "openwebui")}


def found(seen: dict[str, Any], checks: Checks = CHECKS, unreached: dict[str, Any] | None = None) -> list[str]:
    return problems(SIDES, seen, unreached or {}, checks)


def test_a_planted_object_is_a_problem_and_an_open_dblink_a_notice() -> None:
    seen = {side: facts(side) for side in SIDES}
    assert notices(SIDES, seen) == [] and notices(SIDES, {}) == []
    seen["litellm"]["extension_users"] = ["litellm", "prog"]
    assert 'where "litellm" and "prog" may execute' in notices(SIDES, seen)[0] and found(seen) == []
    seen["openwebui"]["foreign_objects"] = ["function user_bridge.evil() of openwebui"]
    (problem,) = found(seen)
    assert "function user_bridge.evil() of openwebui" in problem and "bridge_openwebui_db" in problem


def test_a_schema_that_every_login_may_write_to_is_a_notice() -> None:
    seen = {side: facts(side, schema_public_is_open=True) for side in SIDES}
    ends = ['GRANT CREATE ON SCHEMA public TO "litellm".', 'GRANT CREATE ON SCHEMA public TO "openwebui".']
    told = notices(SIDES, seen)
    assert [notice.partition("FROM PUBLIC; ")[2] for notice in told] == ends and found(seen) == []
    seen["openwebui"]["database_exists"] = False
    assert len(notices(SIDES, seen)) == 1


def test_sound_servers_have_no_problems() -> None:
    assert found({side: facts(side) for side in SIDES}) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"is_standby": True}, "is a read-only standby. Name the primary server"),
        ({"version_num": 120022, "version": "12.22"}, "is PostgreSQL 12.22; the bridge needs PostgreSQL 13 or newer"),
        (
            {"extension_is_available": False, "extension_schema": None},
            "does not have the extension pgcrypto. Install PostgreSQL's contrib modules",
        ),
    ],
)
def test_servers_that_no_test_machine_has(changes: dict[str, Any], said: str) -> None:
    (problem,) = found({"litellm": facts("litellm"), "openwebui": facts("openwebui", **changes)})
    assert said in problem and 'Open WebUI\'s database "openwebui_db"' in problem and "bridge_login_host" in problem


def test_depths() -> None:
    lacking = {"extension_is_available": False, "extension_schema": None, "schema_owner": "stranger"}
    seen = {"litellm": facts("litellm", **lacking)}
    said = {depth: found(seen, Checks(depth, "none", "", True)) for depth in ("reach", "server", "bridge")}
    assert [len(said[depth]) for depth in ("reach", "server", "bridge")] == [0, 1, 2]


def test_the_database_that_may_not_be_created() -> None:
    lacking = {"database_exists": False, "may_create_databases": False}
    checks = Checks("server", "none", "postgres", True)
    (problem,) = found({"litellm": facts("litellm", **lacking)}, checks)
    assert '"deployer" (bridge_login_user) may not create it' in problem
    assert found({"litellm": facts("litellm", database_exists=False)}, checks) == []


def test_pg_cron_that_is_not_loaded() -> None:
    checks = Checks("reach", "pg_cron", "", True)
    assert "shared_preload_libraries" in found({"litellm": facts("litellm")}, checks)[0]
    assert found({"litellm": facts("litellm", cron_database="postgres")}, checks) == []


def test_the_tables_and_their_owner() -> None:
    (problem,) = found({"litellm": facts("litellm", tables={})}, CHECKS)
    assert 'no table "LiteLLM_UserTable" in schema public. Start LiteLLM once on this database' in problem
    others = {"LiteLLM_UserTable": {"owner": "someone", "is_mine": True, "held": ["SELECT"]}}
    (problem,) = found({"litellm": facts("litellm", tables=others)}, CHECKS)
    assert 'bridge_litellm_owner is "litellm", but the tables' in problem and 'belong to "someone"' in problem


def test_a_table_of_a_newer_version_may_be_missing() -> None:
    tables = {"user": {"owner": "openwebui", "is_mine": True, "held": ["SELECT", "INSERT"]}}
    assert found({"openwebui": facts("openwebui", tables=tables)}) == []


def test_roles_that_are_not_the_bridges() -> None:
    roles = {"own": role(can_login=True), "prog": role(is_member=True), "sync": role(can_login=True, is_member=True)}
    said = found({"openwebui": facts("openwebui", roles=roles)})
    assert [problem.split(" exists")[0] for problem in said] == [
        'bridge_writer_role: "prog"', 'bridge_owner_role: "own"', 'bridge_sync_user: "sync"'
    ]  # fmt: skip
    # On LiteLLM's server nobody logs in as the sync user.
    said = found({"litellm": facts("litellm", roles=roles)})
    assert [problem.split(":")[0] for problem in said] == ["bridge_reader_role", "bridge_owner_role"]


@pytest.mark.parametrize("more", ["is_superuser", "is_member"])
def test_a_timer_that_is_more_than_a_timer(more: str) -> None:
    roles = {**facts("litellm")["roles"], "timer": role(can_login=True, **{more: True})}
    (problem,) = found({"litellm": facts("litellm", roles=roles)})
    assert problem.startswith('bridge_maintenance_user: "timer" exists and is a superuser or a member of other roles')


@pytest.mark.parametrize(
    ("in_openwebui", "in_litellm", "stops"), [(0, 0, True), (0, None, True), (0, 1, False), (1, 0, False)]
)
def test_an_open_webui_without_an_admin(in_openwebui: int, in_litellm: int | None, stops: bool) -> None:
    seen = {"litellm": facts("litellm", admins=in_litellm), "openwebui": facts("openwebui", admins=in_openwebui)}
    assert [problem for problem in found(seen) if "has no admin yet" in problem] == found(seen)
    assert bool(found(seen)) is stops
    assert found(seen, Checks("bridge", "none", "", True)) == []


def test_a_side_that_is_not_reached() -> None:
    reason = 'database "litellm_db" does not exist'
    unreached = {"litellm": Unreached(reason, connection_remedy("", reason))}
    (problem,) = found({"openwebui": facts("openwebui")}, unreached=unreached)
    assert problem == (
        'Cannot look into LiteLLM\'s database "litellm_db" (bridge_litellm_db) at db.example.com, port 5433, as '
        '"deployer": database "litellm_db" does not exist; set bridge_litellm_db to the database that LiteLLM uses, or '
        "bridge_create_databases to true to have it made."
    )


def test_the_login_of_the_other_server_has_variables_of_its_own() -> None:
    sides = {"openwebui": variables("openwebui", "bridge_openwebui_login_")}
    unreached = {"openwebui": Unreached("refused", connection_remedy("", "refused"))}
    (problem,) = problems(sides, {}, unreached, CHECKS)
    assert "check bridge_openwebui_login_host and bridge_openwebui_login_port" in problem


def test_a_server_that_would_show_a_password() -> None:
    shown = {"litellm": facts("litellm", shows_secrets=["pgaudit.log = all"])}
    (problem,) = found(shown, Checks("bridge", "none", "", True, frozenset({"litellm"})))
    assert problem.startswith("bridge_login_user: the server would show passwords to whoever reads its log")
    assert problem.endswith(
        'because of pgaudit.log = all, which "deployer" may not change for its own session; have a superuser run '
        'ALTER ROLE "deployer" SET pgaudit.log = none; or GRANT SET ON PARAMETER pgaudit.log TO "deployer".'
    )
    # Where no password is set, nothing is shown.
    assert found(shown, Checks("bridge", "none", "", True, frozenset({"openwebui"}))) == []


def test_a_login_that_may_make_no_temporary_table() -> None:
    checks = Checks("bridge", "none", "", True, frozenset({"openwebui"}))
    (problem,) = found({"openwebui": facts("openwebui", may_create_temporary=False)}, checks)
    assert 'lacks TEMPORARY on the database "openwebui_db"' in problem


@pytest.mark.parametrize(
    ("plan", "reads", "expected"),
    [
        ({}, True, set()),
        ({"sync_user": True}, True, {"openwebui"}),
        ({"timer_user": True}, True, {"litellm"}),
        ({"connection": True}, True, {"litellm"}),
        ({"connection": True}, False, {"litellm", "openwebui"}),
    ],
)
def test_where_a_password_may_have_to_be_set(plan: dict[str, Any], reads: bool, expected: set[str]) -> None:
    assert writes_secrets(plan, {"openwebui": {"reads_passwords": reads}}) == expected


# ---- what runs the drainer -----------------------------------------------------------------------------------

HOST = Host(runs_systemd=True, has_psql=True, logs_in=True)
NO_HOST = Host(runs_systemd=False, has_psql=True, logs_in=True)
CRON = Cron(usable=True, workers=True)


@pytest.mark.parametrize(
    ("asked_for", "cron", "host", "method", "reason"),
    [
        ("auto", CRON, HOST, "pg_cron", "has loaded it"),
        ("auto", CRON, NO_HOST, "pg_cron", "has loaded it"),
        ("auto", None, HOST, "systemd", "has not loaded pg_cron"),
        ("auto", None, NO_HOST, "none", "does not run systemd"),
        ("auto", None, Host(True, False, True), "none", "no psql"),
        ("auto", None, Host(True, True, False), "none", "bridge_maintenance_password"),
        # Its jobs would have to log in, which only somebody can know who has set it up.
        ("auto", Cron(True, False), HOST, "systemd", "cron.use_background_workers is off"),
        ("auto", Cron(True, False), NO_HOST, "pg_cron", "has loaded it"),
        ("auto", Cron(False, True), HOST, "systemd", "may not schedule"),
        ("auto", Cron(False, True), NO_HOST, "none", "may not schedule"),
        ("none", CRON, HOST, "none", "asked for"),
        ("systemd", CRON, NO_HOST, "systemd", "asked for"),
        ("pg_cron", None, HOST, "pg_cron", "asked for"),
    ],
)
def test_what_runs_the_drainer(asked_for: str, cron: Cron | None, host: Host, method: str, reason: str) -> None:
    choice = choose(asked_for, cron, host)
    assert choice.method == method and reason in choice.reason


# ---- connections ---------------------------------------------------------------------------------------------

POOLS = Pools(litellm=40, openwebui=40, limit=0)


def connections(one_server: bool = True, pools: Pools = POOLS, **changes: Any) -> tuple[int, str]:
    """Of two sides; changes by side."""
    seen = {side: facts(side, **changes.get(side, {})) for side in ("litellm", "openwebui")}
    found = budget(seen, one_server, pools)
    return found.limit, " ".join(found.problems)


def test_the_sync_user_gets_what_the_pools_leave() -> None:
    assert connections() == (12, "")
    assert connections(litellm={"max_connections": 95}, openwebui={"max_connections": 95}) == (7, "")
    # Each backend of LiteLLM has one connection at most, and four are for others.
    assert connections(litellm={"max_connections": 500}, openwebui={"max_connections": 500}) == (44, "")
    assert connections(one_server=False) == (44, "")
    assert connections(one_server=False, openwebui={"max_connections": 60}) == (12, "")
    assert connections(openwebui={"database_limit": 48}) == (8, "")
    assert connections(pools=Pools(40, 40, 12)) == (12, "")
    assert connections(pools=Pools(10, 15, 0)) == (14, "")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (
            {"litellm": {"max_connections": 60}, "openwebui": {"max_connections": 60}},
            'server of LiteLLM\'s database "litellm_db" and Open WebUI\'s database "openwebui_db" is 60, but '
            "bridge_postgres_litellm_connections (40), bridge_postgres_openwebui_connections (40), "
            "bridge_sync_connection_limit (3), 3 reserved ones and 5 for the drainer, administration and backups need "
            "91: a program would be refused. Raise max_connections to 91",
        ),
        ({"pools": Pools(40, 40, 13)}, "lower bridge_sync_connection_limit."),
        ({"pools": Pools(10, 10, 2)}, "needs 3 connections"),
        (
            {"one_server": False, "litellm": {"max_connections": 47}},
            'LiteLLM\'s database "litellm_db" is 47, but bridge_postgres_litellm_connections (40), 3 reserved',
        ),
        ({"one_server": False, "openwebui": {"max_connections": 50}}, 'Open WebUI\'s database "openwebui_db" is 50'),
        ({"litellm": {"database_limit": 40}}, '"litellm_db" of LiteLLM has CONNECTION LIMIT 40'),
        ({"openwebui": {"database_limit": 40}}, '"openwebui_db" of Open WebUI has CONNECTION LIMIT 40'),
    ],
)
def test_connections_that_do_not_fit(wrong: dict[str, Any], words: str) -> None:
    assert words in connections(**wrong)[1]
