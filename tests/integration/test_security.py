# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What nobody can do or see, and what the SQL objects look like: own schema, secrets, least privilege."""

from __future__ import annotations

import json
import re
from typing import Any

import psycopg2
import psycopg2.errors
import pytest

from conftest import missing
from hard_support import replaced
from kit import model_rows, openwebui, rows
from kit.binaries import installed
from kit.bridge import Mutate, install_bridge
from kit.cluster import SUPERUSER, Cluster
from kit.common import pinned_versions
from kit.pairs import OWNER_ROLE, PASSWORDS, PROGRAM_ROLES, SIDES, SYNC_USER, Pair, Session, Side
from kit.pairs import pair as make_pair

DENIED = psycopg2.errors.InsufficientPrivilege
BRIDGE_TABLES = {
    "litellm": ["settings", "sync_queue", "sync_mapping", "sync_audit"],
    "openwebui": ["entity", "membership"],
}


ROW_TRIGGERS = [
    f"user_bridge.on_{name}_change()"
    for name in (
        *("organization", "organization_membership", "user", "team", "key", "team_membership", "budget", "team_alias"),
        *("proxy_model", "config", "access_group", "project"),
    )
]
# What stands where a plain name would find it, and whom it says it ran as.
_TRAPS = """
CREATE SCHEMA trap;
GRANT ALL ON SCHEMA trap TO PUBLIC;
CREATE TABLE trap.sprung (ran_as text DEFAULT current_user, what text);
GRANT ALL ON trap.sprung TO PUBLIC;
CREATE FUNCTION trap.texts(text, text) RETURNS boolean LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO trap.sprung (what) VALUES ('texts'); RETURN $1 OPERATOR(pg_catalog.=) $2; END $$;
CREATE FUNCTION trap.records(record, record) RETURNS boolean LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO trap.sprung (what) VALUES ('records'); RETURN false; END $$;
CREATE FUNCTION trap.field(jsonb, text) RETURNS jsonb LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO trap.sprung (what) VALUES ('field'); RETURN $1 OPERATOR(pg_catalog.->) $2; END $$;
CREATE FUNCTION trap.to_jsonb(anyelement) RETURNS jsonb LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO trap.sprung (what) VALUES ('to_jsonb'); RETURN pg_catalog.to_jsonb($1); END $$;
CREATE FUNCTION trap.lower(text) RETURNS text LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO trap.sprung (what) VALUES ('lower'); RETURN pg_catalog.lower($1); END $$;
CREATE OPERATOR trap.= (LEFTARG = text, RIGHTARG = text, FUNCTION = trap.texts);
CREATE OPERATOR trap.<> (LEFTARG = text, RIGHTARG = text, FUNCTION = trap.texts);
CREATE OPERATOR trap.*= (LEFTARG = record, RIGHTARG = record, FUNCTION = trap.records);
CREATE OPERATOR trap.*<> (LEFTARG = record, RIGHTARG = record, FUNCTION = trap.records);
CREATE OPERATOR trap.-> (LEFTARG = jsonb, RIGHTARG = text, FUNCTION = trap.field);
CREATE DOMAIN trap.record AS text;
"""


def sprung_by_the_bridge(pair: Pair, mutate: Mutate | None = None) -> list[str]:
    """Which traps of a writer's search_path the bridge walks into with its own rights."""
    install_bridge(pair, {"initial_password": "none", "model_access": True}, mutate=mutate)
    pair.litellm_admin.run(_TRAPS)
    writer = pair.connect("litellm")
    writer.run("SET search_path = trap, pg_catalog, public")
    rows.add_organization(writer, "o1", "Org")
    rows.add_team(writer, "t1", "Team", members_with_roles=[{"role": "user", "user_id": "u1"}])
    rows.add_user(writer, "u1", "ann@example.com")
    rows.join_organization(writer, "o1", "u1")
    rows.add_key(writer, "k1", "u1")
    model_rows.add_model(writer, "m")
    model_rows.add_budget(writer, "b")
    model_rows.add_membership(writer, "t1", "u1", "b")
    model_rows.add_access_group(writer, "ag", ["m"])
    model_rows.add_project(writer, "p", ["m"])
    model_rows.set_aliases(writer, 7, {"a": "m"})
    model_rows.configure(writer, "router_settings", {"model_group_alias": {"a": "m"}})
    model_rows.change_budget(writer, "b", allowed_models=["m"])
    model_rows.change_model(writer, "m", model_info={})
    for table in ("Organization", "OrganizationMembership", "User", "Team"):
        writer.run(f'UPDATE public."LiteLLM_{table}{"" if table.endswith("ship") else "Table"}" SET spend = 1')
    rows.change_user(writer, "u1", user_email="Anna@example.com")
    # A column that the triggers compare is gone: their way out is taken.
    pair.litellm_admin.run('ALTER TABLE public."LiteLLM_UserTable" RENAME user_alias TO renamed')
    writer.run("UPDATE public.\"LiteLLM_UserTable\" SET renamed = 'x'")
    return [
        row["what"]
        for row in pair.litellm_admin.rows(
            "SELECT DISTINCT what FROM trap.sprung WHERE ran_as LIKE 'user_bridge_%' ORDER BY 1"
        )
    ]


def test_a_writers_search_path_leads_nowhere(pair: Pair) -> None:
    assert sprung_by_the_bridge(pair) == []


WOKEN = "pg_current_xact_id()::text"


def arrives_at_once(pair: Pair, mutate: Mutate | None = None) -> bool:
    """Whether what a role, a database or a session can set makes a difference."""
    install_bridge(pair, {"initial_password": "none"}, mutate=mutate)
    for name in ("user_bridge.woken", "user_bridge.anything"):
        pair.litellm_admin.run(f"ALTER DATABASE {pair.litellm_db} SET {name} = 'yes'")
    for name, value in (
        ("standard_conforming_strings", "off"),
        ("backslash_quote", "on"),
        ("transform_null_equals", "on"),
        ("bytea_output", "escape"),
        ("DateStyle", "SQL, DMY"),
        ("IntervalStyle", "sql_standard"),
        ("TimeZone", "Pacific/Kiritimati"),
        ("extra_float_digits", "-15"),
        ("default_transaction_read_only", "off"),
        ("quote_all_identifiers", "on"),
        ("row_security", "off"),
        ("plan_cache_mode", "force_custom_plan"),
    ):
        for admin, database in ((pair.litellm_admin, pair.litellm_db), (pair.openwebui_admin, pair.openwebui_db)):
            admin.run(f"ALTER DATABASE {database} SET {name} = '{value}'")
    writer = pair.connect("litellm")
    rows.add_user(writer, "s1", "sissi@sisters.example.com")
    rows.add_organization(writer, "o1", "Org")
    rows.join_organization(writer, "o1", "s1")
    writer.run("SET user_bridge.woken = 'yes'")
    rows.add_user(writer, "s2", "sassi@sisters.example.com")
    account = openwebui.accounts(pair).get("sissi@sisters.example.com")
    return bool(account) and pair.litellm_admin.value("SELECT count(*) FROM user_bridge.sync_queue") == 0


def test_nothing_that_can_be_set_keeps_a_change_from_arriving(pair: Pair) -> None:
    assert arrives_at_once(pair)


def test_a_mark_that_can_be_forged_is_noticed(pair: Pair) -> None:
    assert not arrives_at_once(pair, replaced("entities/user/litellm/enqueue.sql.j2", WOKEN, "'yes'"))


@pytest.mark.parametrize(
    ("old", "new", "trap"),
    [
        ("TG_OP OPERATOR(pg_catalog.<>) 'INSERT'", "TG_OP <> 'INSERT'", "texts"),
        ("::pg_catalog.record OPERATOR(pg_catalog.*=)", "::pg_catalog.record *=", "records"),
        ("NEW.metadata OPERATOR(pg_catalog.->)", "NEW.metadata ->", "field"),
        ("pg_catalog.to_jsonb(NEW)", "to_jsonb(NEW)", "to_jsonb"),
        ("SECURITY DEFINER SET search_path = pg_catalog, pg_temp", "SECURITY DEFINER", "texts"),
    ],
)
def test_an_unqualified_name_is_noticed(pair: Pair, old: str, new: str, trap: str) -> None:
    assert trap in sprung_by_the_bridge(pair, replaced("entities/user/litellm/enqueue.sql.j2", old, new))


def denied(session: Session, sql: str) -> None:
    with pytest.raises(DENIED):
        session.run(sql)


@pytest.mark.parametrize("user", ["litellm", "openwebui", SYNC_USER])
def test_nobody_reads_the_password(bridged: Pair, user: str) -> None:
    with pytest.raises(psycopg2.Error):
        bridged.connect("litellm", user).run("SELECT * FROM pg_user_mapping")
    session = bridged.connect("litellm", user)
    assert session.rows("SELECT umoptions FROM pg_user_mappings") == [{"umoptions": None}]
    secret = PASSWORDS[SYNC_USER]
    for catalog in ("pg_proc", "pg_foreign_server", "pg_description", "pg_trigger"):
        found = session.value(f"SELECT count(*) FROM {catalog} AS c WHERE position(%s IN c::text) > 0", [secret])
        assert found == 0, catalog


def test_litellms_role_may_only_read_the_bridges_tables(bridged: Pair) -> None:
    rows.add_user(bridged.litellm, "u1", "ann@example.com")
    for table in BRIDGE_TABLES["litellm"]:
        # Read, as pg_dump does, and no more.
        bridged.litellm.rows(f"SELECT * FROM user_bridge.{table}")
        denied(bridged.litellm, f"DELETE FROM user_bridge.{table}")
    denied(bridged.litellm, "SELECT user_bridge.drain()")
    denied(bridged.litellm, "SELECT user_bridge.pause()")
    denied(bridged.litellm, "SELECT setval('user_bridge.breaker_until', 1)")
    denied(bridged.litellm, "SELECT user_bridge.enqueue('user', ARRAY['u1'])")
    # The kept connection is its own backend's, and it still cannot be used past the bridge.
    denied(bridged.litellm, "SELECT * FROM user_bridge.dblink('user_bridge_target', 'SELECT 1') AS x(i int)")
    denied(bridged.litellm, "SELECT user_bridge.dblink_get_connections()")
    denied(bridged.litellm, "CREATE USER MAPPING FOR litellm SERVER user_bridge_target OPTIONS (user 'x')")


def test_the_sync_user_can_only_apply(bridged: Pair) -> None:
    tables = bridged.openwebui.rows(
        "SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN ('public', 'user_bridge')"
    )
    assert len(tables) > 30
    for table in tables:
        for verb in ("SELECT * FROM {}", "DELETE FROM {}", "TRUNCATE {}"):
            denied(bridged.sync_user, verb.format(f'"{table["schemaname"]}"."{table["tablename"]}"'))
    functions = bridged.openwebui_admin.rows(
        "SELECT p.oid::regprocedure::text AS name FROM pg_proc p WHERE p.pronamespace = 'user_bridge'::regnamespace "
        "AND has_function_privilege(%s, p.oid, 'EXECUTE')",
        [SYNC_USER],
    )
    assert functions == [{"name": "user_bridge.apply(jsonb)"}]
    denied(bridged.sync_user, "CREATE TABLE user_bridge.mine (i int)")
    roles = bridged.openwebui_admin.rows(
        "SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls, "
        "(SELECT count(*) FROM pg_auth_members m WHERE m.member = r.oid) AS memberships "
        "FROM pg_roles r WHERE rolname = %s",
        [SYNC_USER],
    )
    assert not any(roles[0].values())


def test_the_owner_role_cannot_log_in(bridged: Pair) -> None:
    for admin in (bridged.litellm_admin, bridged.openwebui_admin):
        assert admin.rows("SELECT rolcanlogin, rolsuper FROM pg_roles WHERE rolname = 'user_bridge_owner'") == [
            {"rolcanlogin": False, "rolsuper": False}
        ]


@pytest.mark.parametrize("side", ["litellm", "openwebui"])
class TestObjects:
    def functions(self, pair: Pair, side: Side) -> list[dict[str, Any]]:
        return pair.connect(side, SUPERUSER).rows(
            "SELECT p.oid::regprocedure::text AS name, p.prosecdef AS definer, p.proconfig AS config, "
            "obj_description(p.oid) AS comment, pg_get_userbyid(p.proowner) AS owner "
            "FROM pg_proc p WHERE p.pronamespace = 'user_bridge'::regnamespace "
            "AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')"
        )

    def test_definers_pin_their_search_path(self, bridged: Pair, side: Side) -> None:
        definers = [function for function in self.functions(bridged, side) if function["definer"]]
        assert len(definers) >= (10 if side == "litellm" else 1)
        for function in definers:
            # The row triggers qualify every name instead: see test_a_writers_search_path_leads_nowhere.
            if function["name"] not in ROW_TRIGGERS:
                assert "search_path=pg_catalog, pg_temp" in (function["config"] or []), function["name"]

    def test_definers_depend_on_no_setting_of_a_session(self, bridged: Pair, side: Side) -> None:
        for function in self.functions(bridged, side):
            if function["definer"] and function["name"] not in ROW_TRIGGERS:
                assert {"row_security=off", "standard_conforming_strings=on"} <= set(function["config"]), function[
                    "name"
                ]

    def test_what_avoids_reading_all_of_a_table_compiles_nothing(self, bridged: Pair, side: Side) -> None:
        """To read all of a table all the same seems so dear to PostgreSQL up to 17 that it compiles it each time."""
        for function in self.functions(bridged, side):
            config = function["config"] or []
            assert "jit=off" in config or "enable_seqscan=off" not in config, function["name"]

    def test_every_function_is_documented_and_owned_by_a_role_of_the_bridge(self, bridged: Pair, side: Side) -> None:
        for function in self.functions(bridged, side):
            assert function["comment"], function["name"]
            assert function["owner"] in (OWNER_ROLE, PROGRAM_ROLES[side]), function["name"]

    def test_what_others_call_of_the_program_role_runs_as_no_caller(self, bridged: Pair, side: Side) -> None:
        """Its owner, as whom a program's code may run, can make it SECURITY INVOKER: then it refuses."""
        owner, role = OWNER_ROLE, PROGRAM_ROLES[side]
        session = bridged.connect(side, SUPERUSER)
        gates = session.rows(
            "SELECT p.oid::regprocedure::text AS name, p.prosecdef, p.prosrc, l.lanname FROM pg_proc p "
            "JOIN pg_language l ON l.oid = p.prolang WHERE p.pronamespace = 'user_bridge'::regnamespace "
            "AND pg_get_userbyid(p.proowner) = %s AND has_function_privilege(%s, p.oid, 'EXECUTE')",
            [role, owner],
        )
        assert len(gates) >= (10 if side == "litellm" else 3)
        for gate in gates:
            assert gate["prosecdef"] and gate["lanname"] == "plpgsql", gate["name"]
            head = gate["prosrc"].split("BEGIN\n", 1)
            assert head[1].lstrip().startswith(f"IF current_user OPERATOR(pg_catalog.<>) '{role}'::"), gate["name"]
            # Evaluated before it, on whatever search_path the owner of the function has given it.
            assert ":=" not in head[0] and "DEFAULT" not in head[0], gate["name"]

    def test_a_gate_that_was_made_to_run_as_its_caller_refuses(self, bridged: Pair, side: Side) -> None:
        session = bridged.connect(side, SUPERUSER)
        gates = session.rows(
            "SELECT p.oid::regprocedure::text AS name, p.oid::regprocedure::text || ' SECURITY INVOKER' AS changed, "
            "format('user_bridge.%%I(%%s)', p.proname, (SELECT string_agg('NULL::' || format_type(a.type, NULL), ', ' "
            "ORDER BY a.place) FROM unnest(p.proargtypes) WITH ORDINALITY AS a(type, place))) AS call "
            "FROM pg_proc p WHERE p.pronamespace = 'user_bridge'::regnamespace "
            "AND pg_get_userbyid(p.proowner) = %s AND has_function_privilege(%s, p.oid, 'EXECUTE')",
            [PROGRAM_ROLES[side], OWNER_ROLE],
        )
        assert len(gates) >= 3
        for gate in gates:
            with pytest.raises(psycopg2.Error, match="made to run as its caller") as refused, session.transaction():
                session.run(f"SET LOCAL ROLE {PROGRAM_ROLES[side]}; ALTER FUNCTION {gate['changed']}; RESET ROLE")
                session.run(f"SET LOCAL ROLE {OWNER_ROLE}; SELECT * FROM {gate['call']}")
            assert refused.value.pgcode == "UB008", gate["name"]

    def public(self, pair: Pair, side: Side) -> list[dict[str, object]]:
        return pair.connect(side, SUPERUSER).rows(
            "SELECT 'class' AS kind, relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace "
            "UNION ALL SELECT 'function', proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace "
            "UNION ALL SELECT 'type', typname FROM pg_type WHERE typnamespace = 'public'::regnamespace "
            "UNION ALL SELECT 'column', attrelid::regclass::text || '.' || attname FROM pg_attribute a "
            "JOIN pg_class c ON c.oid = a.attrelid WHERE relnamespace = 'public'::regnamespace ORDER BY 1, 2"
        )

    def test_nothing_of_ours_is_in_public(self, bridged: Pair, side: Side) -> None:
        rows.add_user(bridged.litellm, "u1", "ann@example.com")
        with make_pair(bridged.cluster, bridged.litellm_version, bridged.openwebui_version) as bare:
            assert self.public(bridged, side) == self.public(bare, side)


def trespasses(pair: Pair, side: Side) -> set[str]:
    """What the roles of the bridge have that could bring a program's code to the owner role, or data to the others."""
    session = pair.connect(side, SUPERUSER)
    roles = {"owner": OWNER_ROLE, "program": PROGRAM_ROLES[side]}
    found: set[str] = set()
    for row in session.rows(
        "SELECT p.proname, p.prosrc FROM pg_proc p WHERE p.pronamespace = 'user_bridge'::regnamespace "
        "AND pg_get_userbyid(p.proowner) = %(owner)s",
        roles,
    ):
        # Without the comments. A name in a string, as in to_regclass('public.x'), reads no row.
        code = re.sub(r"""--.*|'public\."\w+"'""", "", row["prosrc"])
        if re.search(r"""(?<!')\bpublic\.|(?<!')"LiteLLM_""", code):
            found.add(f"{row['proname']} names a table")
    for row in session.rows(
        "SELECT r.rolname, c.relname, p.name FROM pg_class c, pg_roles r, "
        "unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) AS p(name) "
        "WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f') "
        "AND r.rolname = %(owner)s AND (has_table_privilege(r.oid, c.oid, p.name) OR p.name IN "
        "('SELECT', 'INSERT', 'UPDATE', 'REFERENCES') AND has_any_column_privilege(r.oid, c.oid, p.name))",
        roles,
    ):
        found.add(f"{row['rolname']} has {row['name']} on {row['relname']}")
    for row in session.rows(
        "SELECT r.rolname, 'owns ' || c.relname AS what FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner "
        "WHERE r.rolname = %(program)s "
        "UNION ALL SELECT r.rolname, 'has a user mapping' FROM pg_user_mapping u JOIN pg_roles r ON r.oid = u.umuser "
        "WHERE r.rolname = %(program)s "
        "UNION ALL SELECT r.rolname, 'is a member of ' || pg_get_userbyid(m.roleid) FROM pg_auth_members m "
        "JOIN pg_roles r ON r.oid = m.member WHERE r.rolname IN (%(program)s, %(owner)s) "
        "UNION ALL SELECT r.rolname, 'has attributes' FROM pg_roles r WHERE r.rolname IN (%(program)s, %(owner)s) "
        "AND (rolcanlogin OR rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls) "
        "UNION ALL SELECT r.rolname, 'creates in ' || n.nspname FROM pg_namespace n, pg_roles r "
        "WHERE r.rolname = %(program)s AND n.nspname = 'user_bridge' AND has_schema_privilege(r.oid, n.oid, 'CREATE')",
        roles,
    ):
        found.add(f"{row['rolname']} {row['what']}")
    return found


TRESPASSES: list[tuple[Side, str, str]] = [
    (
        "litellm",
        "CREATE FUNCTION user_bridge.x() RETURNS text LANGUAGE sql AS "
        '$$ SELECT max(user_id) FROM public."LiteLLM_UserTable" $$',
        "x names a table",
    ),
    ("litellm", 'GRANT SELECT ON "LiteLLM_UserTable" TO user_bridge_owner', "has SELECT on LiteLLM_UserTable"),
    ("openwebui", 'GRANT UPDATE (name) ON "user" TO user_bridge_owner', "has UPDATE on user"),
    ("openwebui", "ALTER TABLE user_bridge.entity OWNER TO user_bridge_writer", "owns entity"),
    ("litellm", "CREATE USER MAPPING FOR user_bridge_reader SERVER user_bridge_target", "has a user mapping"),
    ("openwebui", "GRANT CREATE ON SCHEMA user_bridge TO user_bridge_writer", "creates in user_bridge"),
]


@pytest.mark.parametrize("side", ["litellm", "openwebui"])
def test_the_owner_role_never_meets_a_programs_table(bridged: Pair, side: Side) -> None:
    assert trespasses(bridged, side) == set()


@pytest.mark.parametrize(("side", "planted", "named"), TRESPASSES)
def test_a_trespass_is_noticed(bridged: Pair, side: Side, planted: str, named: str) -> None:
    session = bridged.connect(side, SUPERUSER)
    role = "SET ROLE user_bridge_owner; " if planted.startswith("CREATE FUNCTION") else ""
    session.run(f"{role}{planted}; RESET ROLE")
    assert named in " ".join(trespasses(bridged, side))


def findings(pair: Pair, side: Side) -> set[tuple[str, ...]]:
    admin = pair.connect(side, SUPERUSER)
    if not admin.value("SELECT 1 FROM pg_available_extensions WHERE name = 'plpgsql_check'"):
        if pair.cluster.major in installed():
            missing(f"install postgresql-{pair.cluster.major}-plpgsql-check")
        pytest.skip(f"npm's PostgreSQL {pair.cluster.major} comes without plpgsql_check; Debian's has it")
    admin.run("CREATE EXTENSION plpgsql_check")
    found = admin.rows(
        "SELECT p.oid::regprocedure::text AS function, c.lineno, c.level, c.message, c.detail "
        "FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang AND l.lanname = 'plpgsql' "
        "LEFT JOIN LATERAL (SELECT tgrelid FROM pg_trigger t WHERE t.tgfoid = p.oid LIMIT 1) AS t ON true "
        "CROSS JOIN LATERAL plpgsql_check_function_tb(p.oid, coalesce(t.tgrelid, 0), "
        "performance_warnings => false, extra_warnings => true, security_warnings => true) AS c "
        # A trigger on a table that this version of LiteLLM does not have is not there.
        "WHERE p.pronamespace = 'user_bridge'::regnamespace "
        "AND (p.prorettype <> 'trigger'::regtype OR t.tgrelid IS NOT NULL)"
    )
    return {tuple(str(value) for value in row.values()) for row in found}


def program_tables_of_the_owner(pair: Pair, side: Side) -> set[tuple[str, str]]:
    """What the owner role's functions read or write of the program, as plpgsql_check resolves their statements."""
    found = pair.connect(side, SUPERUSER).rows(
        "SELECT p.oid::regprocedure::text AS function, d.name "
        "FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang AND l.lanname = 'plpgsql' "
        "LEFT JOIN LATERAL (SELECT tgrelid FROM pg_trigger t WHERE t.tgfoid = p.oid LIMIT 1) AS t ON true "
        "CROSS JOIN LATERAL plpgsql_show_dependency_tb(p.oid, coalesce(t.tgrelid, 0)) AS d "
        "WHERE p.pronamespace = 'user_bridge'::regnamespace AND pg_get_userbyid(p.proowner) = %s "
        "AND d.type = 'RELATION' AND d.schema = 'public'",
        [OWNER_ROLE],
    )
    return {(row["function"], row["name"]) for row in found}


def test_plpgsql_check_reports_nothing(server: Cluster) -> None:
    """A statement for one version of a program names what the other lacks: each must be right on one of them."""
    versions = pinned_versions("open-webui")
    assert len(versions) == 2
    seen: dict[Side, list[set[tuple[str, ...]]]] = {side: [] for side in SIDES}
    for litellm, version in zip(pinned_versions("litellm"), versions, strict=True):
        with make_pair(server, litellm, version) as pair:
            install_bridge(pair)
            for side in SIDES:
                found = findings(pair, side)
                assert program_tables_of_the_owner(pair, side) == set()
                assert {row for row in found if not re.search("does not exist|has no field", row[3])} == set()
                seen[side].append({row[:2] for row in found})
    for first, second in seen.values():
        assert first & second == set()


@pytest.mark.schemas(openwebui="all")
def test_no_secret_is_written_down(pair: Pair) -> None:
    """Marked secrets everywhere LiteLLM can hold one; then every text of both schemas is searched for them."""
    install_bridge(pair, {"password_cost": 4, "api_keys": "mirror"})
    token = "5ec4e7" * 10 + "abcd"
    secrets = {
        "token": token,
        "user password": "MARKED-password-hash",
        "metadata": "MARKED-metadata-secret",
        "sync password": PASSWORDS[SYNC_USER],
    }
    rows.add_organization(pair.litellm, "o1", "Research")
    rows.add_user(
        pair.litellm, "u1", "ann@example.com", password="MARKED-password-hash", metadata={"k": "MARKED-metadata-secret"}
    )
    rows.add_key(pair.litellm, token, "u1", key_alias="laptop", metadata={"k": "MARKED-metadata-secret"})
    rows.change_user(pair.litellm, "u1", user_email="anna@example.com")
    pair.litellm_admin.run("UPDATE user_bridge.settings SET delivery = 'queued'")
    rows.update(pair.litellm, "LiteLLM_VerificationToken", {"token": token}, {"key_alias": "desktop"})
    pair.openwebui.run('ALTER TABLE "user" RENAME COLUMN role TO rolle')
    rows.change_user(pair.litellm, "u1", user_alias="Ann")
    pair.litellm_admin.rows("SELECT * FROM user_bridge.drain()")
    assert pair.litellm_admin.value("SELECT count(*) FROM user_bridge.sync_queue WHERE last_error IS NOT NULL") > 0
    assert openwebui.has_member_table(pair) is (pair.openwebui_version != "0.6.30")
    hashes = [row["password"] for row in pair.openwebui.rows("SELECT password FROM auth WHERE id = 'usr_u1'")]
    assert hashes[0].startswith("$2a$")
    for session, side in ((pair.litellm_admin, "litellm"), (pair.openwebui_admin, "openwebui")):
        for table in BRIDGE_TABLES[side]:
            written = json.dumps(session.rows(f"SELECT to_jsonb(t)::text AS t FROM user_bridge.{table} AS t"))
            for what, secret in (*secrets.items(), ("hash", hashes[0])):
                assert secret not in written, (side, table, what)
