# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing that a role, a database or a session can set changes what the bridge decides."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import psycopg2.errors
import pytest
from psycopg2 import sql

from kit import openwebui, rows
from kit.bridge import install_bridge
from kit.cluster import Cluster
from kit.pairs import SYNC_USER, Pair, Session, Side
from kit.pairs import pair as new_pair
from modules_support import MODULES, USUAL_DRIVER, ModuleFailed, a_call, run_module
from test_reconcile import found

EVERY_OPEN_WEBUI = pytest.mark.schemas(openwebui="all", older="weekly")
SETTINGS = {"initial_password": "email", "password_cost": 4, "backoff_seconds": 1}
ROLES: Mapping[Side, tuple[str, ...]] = {"litellm": ("litellm", "postgres"), "openwebui": ("openwebui", SYNC_USER)}
PLANTED = "planted, pg_catalog, public"

# What could change something if the SQL depended on it; not what can only delay or end a session.
VALUES = {
    "search_path": PLANTED,
    "standard_conforming_strings": "off",
    "backslash_quote": "off",
    "escape_string_warning": "on",
    "TimeZone": "Pacific/Kiritimati",
    "timezone_abbreviations": "Australia",
    "DateStyle": "SQL, DMY",
    "IntervalStyle": "sql_standard",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "xmlbinary": "hex",
    "xmloption": "document",
    "lc_monetary": "C",
    "lc_numeric": "C",
    "lc_time": "C",
    "client_encoding": "LATIN1",
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "row_security": "off",
    "transform_null_equals": "on",
    "array_nulls": "off",
    "quote_all_identifiers": "on",
    "plpgsql.extra_errors": "all",
    "plpgsql.extra_warnings": "all",
    "plpgsql.check_asserts": "off",
    "plpgsql.print_strict_params": "on",
    "check_function_bodies": "off",
    "default_text_search_config": "simple",
    "default_toast_compression": "pglz",
    "gin_fuzzy_search_limit": "1",
    "constraint_exclusion": "on",
    "plan_cache_mode": "force_generic_plan",
    "work_mem": "64kB",
    "hash_mem_multiplier": "1",
    "temp_buffers": "800kB",
    "from_collapse_limit": "1",
    "join_collapse_limit": "1",
    "geqo_threshold": "2",
    "jit_above_cost": "0",
    "parallel_setup_cost": "0",
    "parallel_tuple_cost": "0",
    "min_parallel_table_scan_size": "0",
    "min_parallel_index_scan_size": "0",
    "force_parallel_mode": "on",
    "debug_parallel_query": "on",
    "restrict_nonsystem_relation_kind": "view, foreign-table",
    "synchronous_commit": "off",
    "client_min_messages": "debug1",
    "user_bridge.woken": "yes",
    "user_bridge.anything": "yes",
    **{
        f"enable_{plan}": "off"
        for plan in (
            "bitmapscan",
            "hashagg",
            "hashjoin",
            "indexonlyscan",
            "indexscan",
            "material",
            "memoize",
            "mergejoin",
            "nestloop",
            "seqscan",
            "sort",
        )
    },
}
# To compile each statement takes many times as long as to run it.
TOGETHER = {name: value for name, value in VALUES.items() if name != "jit_above_cost"}
# In a schema that comes before pg_catalog: whatever is looked up by name, with the same types, is found there.
TRAPS = """
SET search_path = pg_catalog;
CREATE SCHEMA planted;
CREATE DOMAIN planted.jsonb AS text;
CREATE FUNCTION planted.no(text, text) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT false';
CREATE OPERATOR planted.= (LEFTARG = text, RIGHTARG = text, FUNCTION = planted.no);
CREATE FUNCTION planted.yes(text, text) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT true';
CREATE OPERATOR planted.<> (LEFTARG = text, RIGHTARG = text, FUNCTION = planted.yes);
CREATE FUNCTION planted.no_text(pg_catalog.jsonb, text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT NULL::text';
CREATE OPERATOR planted.->> (LEFTARG = pg_catalog.jsonb, RIGHTARG = text, FUNCTION = planted.no_text);
CREATE FUNCTION planted.no_field(pg_catalog.jsonb, text) RETURNS pg_catalog.jsonb LANGUAGE sql IMMUTABLE AS
    'SELECT NULL::pg_catalog.jsonb';
CREATE OPERATOR planted.-> (LEFTARG = pg_catalog.jsonb, RIGHTARG = text, FUNCTION = planted.no_field);
CREATE FUNCTION planted.same(record, record) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN true; END';
CREATE OPERATOR planted.*= (LEFTARG = record, RIGHTARG = record, FUNCTION = planted.same);
CREATE FUNCTION planted.lower(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT ''x''::text';
CREATE FUNCTION planted.btrim(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT ''x''::text';
CREATE FUNCTION planted.current_setting(text, bool) RETURNS text LANGUAGE sql AS 'SELECT ''yes''::text';
CREATE FUNCTION planted.to_jsonb(anyelement) RETURNS pg_catalog.jsonb LANGUAGE sql IMMUTABLE AS
    'SELECT NULL::pg_catalog.jsonb';
CREATE FUNCTION planted.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS 'SELECT ''infinity''::timestamptz';
CREATE FUNCTION planted.jsonb_array_elements(pg_catalog.jsonb) RETURNS SETOF pg_catalog.jsonb LANGUAGE sql AS
    'SELECT NULL::pg_catalog.jsonb WHERE false';
CREATE FUNCTION planted.unnest(anyarray) RETURNS SETOF anyelement LANGUAGE sql AS 'SELECT $1[1] WHERE false';
GRANT USAGE ON SCHEMA planted TO PUBLIC;
RESET search_path;
"""


def known(pair: Pair, wanted: Mapping[str, str]) -> dict[str, str]:
    """Those that this server has."""
    there = {row["name"].lower() for row in pair.litellm_admin.rows("SELECT name FROM pg_settings")}
    return {name: value for name, value in wanted.items() if name.lower() in there or "." in name}


def plant(pair: Pair) -> None:
    for session in (pair.litellm, pair.openwebui):
        owner = session.value("SELECT current_user")
        admin = pair.litellm_admin if session is pair.litellm else pair.openwebui_admin
        admin.run(f'GRANT CREATE ON DATABASE "{admin.value("SELECT current_database()")}" TO "{owner}"')
        session.run(TRAPS)


def _value(name: str, value: str) -> sql.Composable:
    if name == "search_path":
        return sql.SQL(", ").join(map(sql.Identifier, value.split(", ")))
    return sql.Literal(value)


def _set(session: Session, head: sql.Composable, wanted: Mapping[str, str]) -> None:
    for name, value in wanted.items():
        if name == "client_encoding" and head == sql.SQL(""):
            # So that the driver knows, too.
            session.raw.set_client_encoding(value)
            continue
        statement = sql.SQL("{} SET {} TO {}").format(head, sql.SQL(name), _value(name, value))
        session.raw.cursor().execute(statement)


def set_for_databases(pair: Pair, wanted: Mapping[str, str]) -> None:
    for side, session in (("litellm", pair.litellm_admin), ("openwebui", pair.openwebui_admin)):
        database = sql.Identifier(pair.litellm_db if side == "litellm" else pair.openwebui_db)
        _set(session, sql.SQL("ALTER DATABASE {}").format(database), wanted)


def set_for_roles(pair: Pair, wanted: Mapping[str, str]) -> None:
    for side, session in (("litellm", pair.litellm_admin), ("openwebui", pair.openwebui_admin)):
        database = sql.Identifier(pair.litellm_db if side == "litellm" else pair.openwebui_db)
        for role in ROLES["litellm" if side == "litellm" else "openwebui"]:
            head = sql.SQL("ALTER ROLE {} IN DATABASE {}").format(sql.Identifier(role), database)
            _set(session, head, wanted)


def write(pair: Pair, wanted: Mapping[str, str]) -> Session:
    """What LiteLLM writes, in a session of its own; returns that of the drainer."""
    session = pair.connect("litellm", "litellm")
    drains = pair.connect("litellm", "postgres")
    for each in (session, drains):
        _set(each, sql.SQL(""), wanted)
    drains.run("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE")
    rows.add_organization(session, "o1", "Research \\ 'Development'")
    rows.add_team(session, "t1", "Blue", organization_id="o1")
    rows.add_user(session, "u1", "Susan.Stone@example.com", user_alias="Susan \\ O'Stone", team_id="t1")
    rows.add_user(session, "u2", "boss@example.com", user_role="proxy_admin")
    rows.add_user(session, "u3", "gone@example.com", teams=["t1"])
    rows.add_user(session, "NULL", "null@example.com")
    rows.add_user(session, "u5", "no address")
    rows.add_user(session, "u6", "boss@example.com")
    rows.add_user(session, "u7", "ümlaut@example.com", user_alias="Ülk")
    members = [{"user_id": each, "role": "user"} for each in ("u1", "u3", "NULL", "u7")]
    rows.change_team(session, "t1", members_with_roles=members)
    rows.join_organization(session, "o1", "u1")
    rows.join_organization(session, "o1", "u2")
    rows.add_key(session, "5f" * 32, "u1", key_alias="usable", expires="2999-12-11 10:09:08.123")
    rows.add_key(session, "6a" * 32, "u1", key_alias="over", expires="2020-12-11 10:09:08.123")
    rows.change_user(session, "u7", metadata={"scim_active": False})
    rows.change_user(session, "NULL", user_alias="Nil", spend=12345.678901234567)
    rows.change_team(session, "t1", team_alias="Red", members_with_roles=members[1:])
    rows.leave_organization(session, "o1", "u2")
    rows.delete_user(session, "u3")
    for _round in range(20):
        drains.rows("SELECT * FROM user_bridge.drain(100)")
    drains.rows("SELECT * FROM user_bridge.maintain()")
    return drains


def outcome(pair: Pair) -> dict[str, Any]:
    """What stands in Open WebUI and what the bridge says about it, without times."""
    accounts = pair.openwebui_admin.rows(
        "SELECT u.id, u.name, u.email, u.role, u.info::jsonb #>> '{user_bridge,original_role}' AS original_role, "
        "a.email AS sign_in, a.active, CASE WHEN starts_with(a.password, '$2a$') "
        "THEN user_bridge.crypt(a.email, a.password) = a.password END AS opens "
        'FROM "user" u LEFT JOIN auth a USING (id) WHERE u.email <> %s ORDER BY u.id COLLATE "C"',
        [pair.admin.email],
    )
    mapped = pair.litellm_admin.rows(
        "SELECT litellm_type, litellm_id, openwebui_type, openwebui_id, sync_data::text FROM user_bridge.sync_mapping "
        'ORDER BY litellm_type COLLATE "C", litellm_id COLLATE "C"'
    )
    skipped = pair.litellm_admin.rows(
        "SELECT DISTINCT operation, record_id, error_message FROM user_bridge.sync_audit "
        "WHERE sync_result = 'SKIPPED' AND operation = 'SYNC_USER' ORDER BY 1, 2, 3"
    )
    queued = pair.litellm_admin.rows("SELECT entity_type, entity_id, last_error FROM user_bridge.sync_queue")
    return {
        "accounts": [dict(each) for each in accounts],
        "groups": openwebui.groups(pair),
        "mapped": [{**each, "sync_data": json.loads(each["sync_data"])} for each in mapped],
        "skipped": [dict(each) for each in skipped],
        "queued": [dict(each) for each in queued],
    }


_plain: dict[str, dict[str, Any]] = {}


def without_settings(server: Cluster, like: Pair) -> dict[str, Any]:
    if like.openwebui_version not in _plain:
        with new_pair(server, like.litellm_version, like.openwebui_version) as pair:
            install_bridge(pair, SETTINGS)
            write(pair, {})
            assert (found(pair), outcome(pair)["queued"]) == (set(), [])
            _plain[like.openwebui_version] = outcome(pair)
    return _plain[like.openwebui_version]


def with_settings(pair: Pair, wanted: Mapping[str, str], ways: Iterable[str]) -> dict[str, Any]:
    install_bridge(pair, SETTINGS)
    # As servers have it, but for those of tests.
    set_for_databases(pair, {"jit": "on"})
    if "search_path" in wanted:
        plant(pair)
    if "database" in ways:
        set_for_databases(pair, wanted)
    if "role" in ways:
        set_for_roles(pair, wanted)
    drains = write(pair, wanted if "session" in ways else {})
    assert drains.rows("SELECT * FROM user_bridge.reconcile()") == []
    return outcome(pair)


def compare(with_them: dict[str, Any], without: dict[str, Any]) -> None:
    for part, expected in without.items():
        assert with_them[part] == expected, part


@EVERY_OPEN_WEBUI
# Those of a database reach every session; the others repeat it for some.
@pytest.mark.parametrize(
    "way", ["database", *(pytest.param(way, marks=pytest.mark.weekly) for way in ("session", "role"))]
)
def test_all_of_them_together_change_nothing(pair: Pair, server: Cluster, way: str) -> None:
    compare(with_settings(pair, known(pair, TOGETHER), [way]), without_settings(server, pair))


@pytest.mark.weekly
@pytest.mark.parametrize("name", VALUES)
def test_each_of_them_alone_changes_nothing(pair: Pair, server: Cluster, name: str) -> None:
    wanted = known(pair, {name: VALUES[name]})
    if not wanted:
        pytest.skip(f"PostgreSQL {pair.cluster.major} has no setting {name}")
    compare(with_settings(pair, wanted, ["session", "role", "database"]), without_settings(server, pair))


@pytest.mark.parametrize("driver", USUAL_DRIVER)
def test_no_module_is_led_astray_by_what_a_database_sets(pair: Pair, driver: str) -> None:
    install_bridge(pair, SETTINGS)
    rows.add_user(pair.litellm, "u1", "ann@example.com", user_alias="Ann \\ O'Ann")
    plant(pair)
    set_for_databases(pair, known(pair, TOGETHER))
    for module in MODULES:
        run_module(module, a_call(pair, module), driver=driver)
    assert rows.change_user(pair.litellm, "u1", user_role="proxy_admin") == 1
    assert openwebui.accounts(pair) == {"ann@example.com": ("Ann \\ O'Ann", "admin")}


@pytest.mark.parametrize("driver", USUAL_DRIVER)
def test_a_role_that_a_database_gives_every_login_is_refused(pair: Pair, driver: str) -> None:
    """A program's role that owns its database can have whoever deploys act as itself."""
    install_bridge(pair, SETTINGS)
    pair.litellm.run(f"ALTER DATABASE \"{pair.litellm_db}\" SET role = 'litellm'")
    with pytest.raises(ModuleFailed, match=f'acts as litellm.*ALTER DATABASE "{pair.litellm_db}" RESET role'):
        run_module("bridge_info", a_call(pair, "bridge_info"), driver=driver)


def test_a_mark_of_the_bridge_that_a_role_has_set_delays_nothing(pair: Pair) -> None:
    install_bridge(pair, SETTINGS)
    set_for_roles(pair, {"user_bridge.woken": "yes"})
    rows.add_user(pair.connect("litellm", "litellm"), "u1", "ann@example.com")
    assert set(openwebui.accounts(pair)) == {"ann@example.com"}


def test_an_error_that_is_handled_ends_no_session(pair: Pair) -> None:
    """With exit_on_error, which every role may set, LiteLLM's write would be lost in each outage."""
    install_bridge(pair, {"initial_password": "none"})
    set_for_databases(pair, {"exit_on_error": "on"})
    pair.openwebui_admin.run("ALTER FUNCTION user_bridge.apply(jsonb) RENAME TO gone")
    writer = pair.connect("litellm", "litellm")
    rows.add_user(writer, "u1", "ann@example.com")
    assert writer.value('SELECT count(*) FROM "LiteLLM_UserTable"') == 1
    pair.openwebui_admin.run("ALTER FUNCTION user_bridge.gone(jsonb) RENAME TO apply")
    drains = pair.connect("litellm", "postgres")
    drains.rows("SELECT * FROM user_bridge.drain()")
    assert set(openwebui.accounts(pair)) == {"ann@example.com"}
    assert drains.rows("SELECT * FROM user_bridge.reconcile()") == []


def test_nothing_is_applied_in_a_snapshot_older_than_its_locks(pair: Pair) -> None:
    install_bridge(pair, SETTINGS)
    refused = None
    pair.openwebui_admin.run("BEGIN ISOLATION LEVEL REPEATABLE READ")
    try:
        pair.openwebui_admin.value('SELECT user_bridge.apply_items(\'{"budget_ms": 100, "items": []}\')')
    except psycopg2.errors.RaiseException as error:
        refused = str(error)
    pair.openwebui_admin.run("ROLLBACK")
    assert refused is not None and "READ COMMITTED" in refused
