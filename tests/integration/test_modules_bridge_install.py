# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""bridge_install against a real server."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._catalog.live import live_objects
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import Roles
from ansible_collections.llmops.user_bridge.plugins.module_utils._settings import declared

from kit import bridge
from kit.bridge import render_sql
from kit.cluster import Cluster
from kit.pairs import OWN_ROLES, OWNER_ROLE, PASSWORDS, PROGRAM_ROLES, SIDES, SYNC_USER, Pair, Side
from kit.pairs import pair as new_pair
from modules_support import (
    DRIVERS,
    READ_ONLY,
    ModuleFailed,
    actions,
    admin,
    ensure_roles,
    login_options,
    run_module,
    run_playbook,
    warnings,
    without_a_write,
)

SQL = """
-- one row
CREATE TABLE IF NOT EXISTS user_bridge.settings (
  singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
  delivery text NOT NULL DEFAULT 'commit',
  role_map jsonb NOT NULL DEFAULT '{"proxy_admin": "admin"}',
  removal_percent numeric NOT NULL DEFAULT 5,
  paused boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE user_bridge.settings IS 'it''s one row; 100% so';
CREATE TABLE IF NOT EXISTS user_bridge.queue (id text PRIMARY KEY, at timestamptz NOT NULL DEFAULT now());
REVOKE ALL ON user_bridge.queue FROM PUBLIC;
CREATE INDEX IF NOT EXISTS queue_at ON user_bridge.queue (at);
CREATE SEQUENCE IF NOT EXISTS user_bridge.epoch MAXVALUE 7;
CREATE OR REPLACE FUNCTION user_bridge.later() RETURNS text LANGUAGE sql AS $$ SELECT user_bridge.sooner(1) $$;
COMMENT ON FUNCTION user_bridge.later() IS 'uses what comes after it';
CREATE OR REPLACE FUNCTION user_bridge.sooner(n int DEFAULT 1) RETURNS text LANGUAGE sql AS $$ SELECT 'x%'::text $$;
COMMENT ON FUNCTION user_bridge.sooner(int) IS 'in another spelling than the catalog''s';
GRANT EXECUTE ON FUNCTION user_bridge.sooner(int) TO sync_user;
CREATE OR REPLACE FUNCTION user_bridge.enqueue() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
  INSERT INTO user_bridge.queue (id) VALUES (NEW.user_id) ON CONFLICT DO NOTHING; -- 100%
  RETURN NULL;
END
$body$;
COMMENT ON FUNCTION user_bridge.enqueue() IS 'on each new user';
REVOKE ALL ON FUNCTION user_bridge.enqueue() FROM PUBLIC;
CREATE OR REPLACE VIEW user_bridge.waiting AS SELECT id FROM user_bridge.queue;
CREATE TRIGGER user_bridge_enqueue AFTER INSERT ON public."LiteLLM_UserTable"
  FOR EACH ROW EXECUTE FUNCTION user_bridge.enqueue();
"""
TRIGGER = 'trigger user_bridge_enqueue on public."LiteLLM_UserTable"'


@pytest.fixture
def options(pair: Pair) -> dict[str, Any]:
    ensure_roles(pair)
    return litellm_options(pair)


@pytest.fixture(scope="module")
def shared(server: Cluster) -> Iterator[Pair]:
    """One pair for the tests that leave it as they found it."""
    with new_pair(server) as made:
        ensure_roles(made)
        yield made


@pytest.fixture(scope="module")
def repaired(shared: Pair) -> dict[str, Any]:
    """Options of an installation that every test has repaired."""
    options = litellm_options(shared)
    install(options)
    return options


def litellm_options(pair: Pair, sql: str = SQL) -> dict[str, Any]:
    return {
        **login_options(pair, "litellm"),
        "side": "litellm",
        "version": "1.0.0",
        "definitions": [{"name": "10_all.sql", "sql": sql}],
        "settings": {"delivery": "queued", "removal_percent": 7},
    }


def install(options: dict[str, Any], **arguments: Any) -> dict[str, Any]:
    return run_module("bridge_install", options, **arguments)


def test_check_mode_on_a_pristine_database_predicts_and_changes_nothing(pair: Pair, options: dict[str, Any]) -> None:
    predicted = without_a_write(pair.litellm_admin, lambda: install(options, check=True, diff=True))
    assert predicted == install(options, check=True, diff=True, env=READ_ONLY)
    done = install(options, diff=True)
    assert predicted == done
    assert done["changed"] and done["version"] == {"before": None, "after": "1.0.0"}
    assert set(actions(done).values()) == {"created"}
    assert done["settings"] == ["delivery", "removal_percent"]
    shown = {part["after_header"]: part for part in done["diff"]}
    assert "SELECT 'x%'::text" in shown[f"function user_bridge.sooner(integer) ({pair.litellm_db})"]["after"]
    assert pair.litellm_admin.value("SELECT delivery FROM user_bridge.settings") == "queued"
    pair.litellm.run("""INSERT INTO "LiteLLM_UserTable" (user_id) VALUES ('u1')""")
    assert pair.litellm_admin.value("SELECT id FROM user_bridge.waiting") == "u1"
    owners = """SELECT DISTINCT r.rolname FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner
                WHERE c.relnamespace = 'user_bridge'::regnamespace"""
    assert [row["rolname"] for row in pair.litellm_admin.rows(owners)] == [OWNER_ROLE]


@pytest.mark.parametrize("driver", DRIVERS)
def test_second_run_writes_nothing(pair: Pair, options: dict[str, Any], driver: str) -> None:
    install(options, driver=driver)
    again = without_a_write(pair.litellm_admin, lambda: install(options, diff=True, driver=driver))
    assert not again["changed"] and again["diff"] == [] and actions(again) == {} and again["settings"] == []
    assert again == install(options, diff=True, driver=driver, env=READ_ONLY)


@pytest.mark.parametrize(
    ("damage", "damaged", "reason"),
    [
        ('DROP TRIGGER user_bridge_enqueue ON "LiteLLM_UserTable"', TRIGGER, "missing"),
        ('ALTER TABLE "LiteLLM_UserTable" DISABLE TRIGGER user_bridge_enqueue', TRIGGER, "trigger is disabled"),
        (
            'DROP TRIGGER user_bridge_enqueue ON "LiteLLM_UserTable"; CREATE TRIGGER user_bridge_enqueue '
            'AFTER INSERT OR DELETE ON "LiteLLM_UserTable" FOR EACH ROW EXECUTE FUNCTION user_bridge.enqueue()',
            TRIGGER,
            "definition was edited",
        ),
        (
            "CREATE OR REPLACE FUNCTION user_bridge.sooner(n int DEFAULT 1) RETURNS text LANGUAGE sql AS 'SELECT null'",
            "function user_bridge.sooner(integer)",
            "definition was edited",
        ),
        (
            "ALTER FUNCTION user_bridge.enqueue() SECURITY INVOKER",
            "function user_bridge.enqueue()",
            "definition was edited",
        ),
        (
            f"REVOKE EXECUTE ON FUNCTION user_bridge.sooner(int) FROM {SYNC_USER}",
            "function user_bridge.sooner(integer)",
            "privileges differ",
        ),
        (f"GRANT SELECT ON user_bridge.queue TO {SYNC_USER}", "table user_bridge.queue", "privileges differ"),
        (f"GRANT UPDATE (delivery) ON user_bridge.settings TO {SYNC_USER}", "table user_bridge.settings", ""),
        ("ALTER TABLE user_bridge.queue OWNER TO litellm", "table user_bridge.queue", "owner differs"),
        ("ALTER FUNCTION user_bridge.later() OWNER TO postgres", "function user_bridge.later()", "owner differs"),
        ("COMMENT ON TABLE user_bridge.settings IS NULL", "table user_bridge.settings", "comment differs"),
        ("COMMENT ON VIEW user_bridge.waiting IS 'mine'", "view user_bridge.waiting", "comment differs"),
        ("DROP VIEW user_bridge.waiting", "view user_bridge.waiting", "missing"),
        ("DROP INDEX user_bridge.queue_at", "index user_bridge.queue_at", "missing"),
        (
            "DROP INDEX user_bridge.queue_at; CREATE INDEX queue_at ON user_bridge.queue (at DESC)",
            "index user_bridge.queue_at",
            "definition was edited",
        ),
        ("DROP SEQUENCE user_bridge.epoch", "sequence user_bridge.epoch", "missing"),
        ("ALTER SCHEMA user_bridge OWNER TO postgres", "schema user_bridge", "owned by postgres"),
    ],
)
def test_drift_is_found_and_repaired(
    shared: Pair, repaired: dict[str, Any], damage: str, damaged: str, reason: str
) -> None:
    shared.litellm_admin.run(damage)
    predicted = install(repaired, check=True, diff=True, env=READ_ONLY)
    done = install(repaired, diff=True)
    assert predicted == done
    assert actions(done) == {damaged: "repaired"}
    assert reason in next(o["reason"] for o in done["objects"] if o["action"] == "repaired")
    assert len(done["diff"]) == 1 and done["diff"][0]["before"] != done["diff"][0]["after"]
    assert not install(repaired, env=READ_ONLY)["changed"]


def test_dropped_table_comes_back_with_all_that_hung_on_it(pair: Pair, options: dict[str, Any]) -> None:
    install(options)
    pair.litellm_admin.run("DROP TABLE user_bridge.queue CASCADE")
    done = install(options)
    assert actions(done) == dict.fromkeys(
        ["table user_bridge.queue", "index user_bridge.queue_at", "view user_bridge.waiting"], "repaired"
    )
    assert not install(options, env=READ_ONLY)["changed"]


def test_lost_bookkeeping_is_written_again(pair: Pair, options: dict[str, Any]) -> None:
    install(options)
    pair.litellm_admin.run("DROP TABLE user_bridge.installed_object CASCADE")
    done = install(options)
    assert {o["reason"] for o in done["objects"]} >= {"exists, but is not recorded"}
    assert not install(options, env=READ_ONLY)["changed"]


@pytest.mark.parametrize(
    ("planted", "named"),
    [
        ("CREATE FUNCTION user_bridge.evil() RETURNS int LANGUAGE sql AS 'SELECT 1'", "function user_bridge.evil()"),
        ("CREATE FUNCTION user_bridge.later() RETURNS int LANGUAGE sql AS 'SELECT 1'", "function user_bridge.later()"),
        ("CREATE TABLE user_bridge.installed_object (kind text)", "table user_bridge.installed_object"),
        ("CREATE VIEW user_bridge.installed_object AS SELECT 1 AS kind", "view user_bridge.installed_object"),
        ("CREATE TABLE user_bridge.settings (x int DEFAULT 1 / 0)", "table user_bridge.settings"),
        ("CREATE TYPE user_bridge.settings AS (x int)", "type user_bridge.settings"),
        ("CREATE DOMAIN user_bridge.jsonb AS text", "type user_bridge.jsonb"),
        (
            "CREATE OPERATOR user_bridge.= (LEFTARG = text, RIGHTARG = text, FUNCTION = texteq)",
            "operator user_bridge.=",
        ),
        ("ALTER DEFAULT PRIVILEGES IN SCHEMA user_bridge GRANT ALL ON TABLES TO PUBLIC", "default privileges on new"),
        ("CREATE MATERIALIZED VIEW user_bridge.queue AS SELECT 1 AS id", "materialized view user_bridge.queue"),
    ],
)
def test_a_planted_schema_is_refused_by_name(pair: Pair, options: dict[str, Any], planted: str, named: str) -> None:
    """The database's owner can make the schema before the bridge comes, and hand it on or let the owner role use it."""
    pair.litellm_admin.run("CREATE SCHEMA user_bridge AUTHORIZATION litellm")
    pair.litellm.run(planted)
    before = pair.litellm_admin.value("SELECT count(*) FROM pg_depend")
    for owner in ("litellm", OWNER_ROLE):
        pair.litellm_admin.run(f"ALTER SCHEMA user_bridge OWNER TO {owner}")
        for check in (True, False):
            with pytest.raises(ModuleFailed, match="what the bridge has not made") as failure:
                install(options, check=check)
            assert named in str(failure.value) and "nothing was changed" in str(failure.value)
            assert ("schema user_bridge of litellm" in str(failure.value)) is (owner == "litellm")
    assert pair.litellm_admin.value("SELECT count(*) FROM pg_depend") == before


@pytest.mark.parametrize(
    ("planted", "named"),
    [
        ("CREATE FUNCTION user_bridge.evil() RETURNS int LANGUAGE sql AS 'SELECT 1'", "function user_bridge.evil()"),
        ("CREATE RULE evil AS ON INSERT TO user_bridge.queue DO ALSO NOTIFY evil", "rule evil on"),
        (
            "CREATE TRIGGER evil AFTER INSERT ON user_bridge.queue EXECUTE FUNCTION user_bridge.enqueue()",
            "trigger evil on",
        ),
        ("CREATE POLICY evil ON user_bridge.installed_object USING (true)", "policy evil on"),
        ("ALTER DEFAULT PRIVILEGES IN SCHEMA user_bridge GRANT ALL ON TABLES TO PUBLIC", "default privileges on new"),
    ],
)
def test_what_was_added_to_an_installed_bridge_is_refused_by_name(
    pair: Pair, options: dict[str, Any], planted: str, named: str
) -> None:
    """As whoever became the owner role of an earlier version could have done."""
    install(options)
    pair.litellm_admin.run(f"SET ROLE {OWNER_ROLE}; {planted}; RESET ROLE")
    with pytest.raises(ModuleFailed, match="what the bridge has not made") as failure:
        install(options)
    assert named in str(failure.value)


def test_a_publication_of_the_whole_schema_only_reads(pair: Pair, options: dict[str, Any]) -> None:
    """For change data capture; PostgreSQL has it a superuser's."""
    if pair.cluster.major < 15:
        pytest.skip(f"PostgreSQL {pair.cluster.major} publishes no schemas")
    install(options)
    pair.litellm_admin.run("CREATE PUBLICATION everything FOR TABLES IN SCHEMA public, user_bridge")
    assert not install(options)["changed"]


GIVEN_AWAY = """
DO $$ DECLARE o record; BEGIN
  FOR o IN SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END AS kind,
                  c.oid::regclass::text AS name
             FROM pg_class AS c WHERE c.relnamespace = 'user_bridge'::regnamespace AND c.relkind IN ('r', 'S', 'v')
            UNION ALL SELECT 'FUNCTION', p.oid::regprocedure::text FROM pg_proc AS p
             WHERE p.pronamespace = 'user_bridge'::regnamespace
            UNION ALL SELECT 'SCHEMA', 'user_bridge'
  LOOP EXECUTE format('ALTER %s %s OWNER TO litellm', o.kind, o.name); END LOOP;
END $$"""
OWNERS = """SELECT pg_get_userbyid(relowner) AS name FROM pg_class WHERE relnamespace = 'user_bridge'::regnamespace
            UNION SELECT pg_get_userbyid(proowner) FROM pg_proc WHERE pronamespace = 'user_bridge'::regnamespace
            UNION SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = 'user_bridge'"""


def owners(pair: Pair) -> list[str]:
    return [row["name"] for row in pair.litellm_admin.rows(OWNERS)]


def test_a_bridge_restored_without_owners_is_given_back_with_its_rows_only(pair: Pair, options: dict[str, Any]) -> None:
    """As by LiteLLM's role, which may have changed anything in it, and what was recorded, too."""
    options = {**options, "program_owner": "litellm"}
    install(options)
    pair.litellm_admin.run("UPDATE user_bridge.settings SET paused = true; INSERT INTO user_bridge.queue VALUES ('u1')")
    pair.litellm_admin.run(GIVEN_AWAY)
    pair.litellm.run(
        "CREATE OR REPLACE FUNCTION user_bridge.later() RETURNS text LANGUAGE sql AS $$ SELECT 'planted' $$;"
        "CREATE FUNCTION user_bridge.evil() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'ran'; END$$;"
        "CREATE TRIGGER user_bridge_evil BEFORE UPDATE ON user_bridge.settings EXECUTE FUNCTION user_bridge.evil();"
        "CREATE TRIGGER user_bridge_evil BEFORE UPDATE ON user_bridge.installed_object "
        "EXECUTE FUNCTION user_bridge.evil(); GRANT ALL ON user_bridge.queue TO PUBLIC;"
        "CREATE FUNCTION public.mine() RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS "
        "$$BEGIN IF current_user <> 'litellm' THEN RAISE EXCEPTION 'ran'; END IF; RETURN true; END$$;"
        "CREATE INDEX evil ON user_bridge.installed_object (public.mine());"
        "ALTER TABLE user_bridge.installed_object DISABLE TRIGGER USER;"
        "INSERT INTO user_bridge.installed_object VALUES ('function', 'user_bridge.evil()', '', '', '', '1.0.0')"
    )
    connection = _pg.connect(login_options(pair, "litellm"))
    with closing(connection):
        found = live_objects(_pg.cursor(connection), Roles(OWNER_ROLE, "user_bridge_reader"))
    for (kind, name), each in found.items():
        forged = each.fingerprint.replace("owner: litellm", "owner: <owner>")
        pair.litellm.run(
            "UPDATE user_bridge.installed_object SET fingerprint = %s WHERE (kind, name) = (%s, %s)",
            [forged, kind, name],
        )
    pair.litellm.run("ALTER TABLE user_bridge.installed_object ENABLE TRIGGER USER")
    assert install(options, check=True, env=READ_ONLY)["changed"] and owners(pair) == ["litellm"]
    done = install(options)
    assert done["changed"] and done["version"]["before"] == "1.0.0"
    assert owners(pair) == [OWNER_ROLE]
    assert pair.litellm_admin.value("SELECT user_bridge.later()") == "x%"
    gone = "SELECT coalesce(to_regproc('user_bridge.evil')::oid, to_regclass('user_bridge.evil')::oid)"
    assert pair.litellm_admin.value(gone) is None
    assert pair.litellm_admin.rows("SELECT id FROM user_bridge.queue") == [{"id": "u1"}]
    assert pair.litellm_admin.value("SELECT paused AND delivery = 'queued' FROM user_bridge.settings")
    privileges = "SELECT has_table_privilege(%s, 'user_bridge.queue', %s)"
    assert pair.litellm_admin.value(privileges, ["litellm", "SELECT"])
    assert not pair.litellm_admin.value(privileges, [SYNC_USER, "INSERT"])
    assert not install(options, env=READ_ONLY)["changed"]


@pytest.mark.parametrize(
    ("planted", "named"),
    [
        ("ALTER TABLE user_bridge.queue ALTER at SET DEFAULT public.evil()", "default of column at of"),
        ("ALTER TABLE user_bridge.queue ADD CHECK (public.evil() IS NOT NULL)", "which calls public.evil()"),
        ("CREATE POLICY evil ON user_bridge.settings USING (true)", "policy evil on"),
        ("CREATE RULE evil AS ON UPDATE TO user_bridge.settings DO ALSO NOTIFY evil", "rule evil on"),
        (
            "CREATE TRIGGER evil AFTER INSERT ON user_bridge.queue EXECUTE FUNCTION user_bridge.enqueue()",
            "trigger evil on",
        ),
        ("CREATE FUNCTION user_bridge.evil() RETURNS int LANGUAGE sql AS 'SELECT 1'", "function user_bridge.evil()"),
    ],
)
def test_code_in_a_restored_bridge_is_refused_by_name(
    pair: Pair, options: dict[str, Any], planted: str, named: str
) -> None:
    install(options)
    pair.litellm_admin.run(GIVEN_AWAY)
    pair.litellm.run(
        "CREATE FUNCTION public.evil() RETURNS timestamptz IMMUTABLE LANGUAGE plpgsql AS "
        "$$BEGIN IF current_user <> 'litellm' THEN RAISE EXCEPTION 'ran'; END IF; RETURN '2020-01-01'; END$$"
    )
    pair.litellm.run(planted)
    with pytest.raises(ModuleFailed, match="nothing was changed") as failure:
        install(options)
    assert named in str(failure.value) and "'ran'" not in str(failure.value)
    assert owners(pair) == ["litellm"]


def test_an_administrators_own_objects_are_left_alone(pair: Pair, options: dict[str, Any]) -> None:
    install(options)
    pair.litellm_admin.run("CREATE FUNCTION user_bridge.report() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    assert not install(options, env=READ_ONLY)["changed"]


def test_lost_column_is_refused_and_a_foreign_one_is_reported(pair: Pair, options: dict[str, Any]) -> None:
    install(options)
    pair.litellm_admin.run("ALTER TABLE user_bridge.queue ADD COLUMN mine int")
    again = install(options, env=READ_ONLY)
    assert not again["changed"] and "additions of others: column mine integer" in warnings(again)
    pair.litellm_admin.run("ALTER TABLE user_bridge.queue DROP COLUMN at")
    for check in (True, False):
        with pytest.raises(ModuleFailed, match="has lost its column at.*not repaired automatically"):
            install(options, check=check)


def test_upgrade_updates_replaces_and_drops(pair: Pair, options: dict[str, Any]) -> None:
    install(options)
    new = (
        SQL.replace("SELECT 'x%'::text", "SELECT 'y'::text")
        # CREATE OR REPLACE refuses another result type.
        .replace("user_bridge.later() RETURNS text", "user_bridge.later() RETURNS varchar")
        .replace("CREATE OR REPLACE VIEW user_bridge.waiting AS SELECT id FROM user_bridge.queue;", "")
        .replace("CREATE SEQUENCE IF NOT EXISTS user_bridge.epoch MAXVALUE 7;", "")
        .replace("AFTER INSERT ON", "AFTER INSERT OR UPDATE ON")
        .replace("GRANT EXECUTE ON FUNCTION user_bridge.sooner(int) TO sync_user;", "")
    )
    upgrade = {**options, "version": "1.1.0-beta.2", "definitions": [{"name": "new.sql", "sql": new}]}
    predicted = install(upgrade, check=True, diff=True, env=READ_ONLY)
    done = install(upgrade, diff=True)
    assert predicted == done
    assert actions(done) == {
        "function user_bridge.sooner(integer)": "updated",
        "function user_bridge.later()": "updated",
        TRIGGER: "updated",
        "view user_bridge.waiting": "dropped",
        "sequence user_bridge.epoch": "dropped",
        "bridge litellm": "updated",
    }
    assert done["version"] == {"before": "1.0.0", "after": "1.1.0-beta.2"}
    granted = "SELECT has_function_privilege(%s, 'user_bridge.sooner(int)'::regprocedure, 'EXECUTE')"
    assert pair.litellm_admin.value("SELECT user_bridge.later()") == "y"
    assert not pair.litellm_admin.value(granted, [SYNC_USER])  # nor may PUBLIC
    assert not install(upgrade, env=READ_ONLY)["changed"]
    with pytest.raises(ModuleFailed, match=r"has version 1.1.0-beta.2 of the bridge, which is newer than 1.0.0"):
        install(options)


def test_only_a_new_version_is_a_change(options: dict[str, Any]) -> None:
    install(options)
    done = install({**options, "version": "1.0.1"})
    assert actions(done) == {"bridge litellm": "updated"}
    assert not install({**options, "version": "1.0.1"}, env=READ_ONLY)["changed"]


def test_default_privileges_leak_nothing(pair: Pair, options: dict[str, Any]) -> None:
    defaults = f"ALTER DEFAULT PRIVILEGES FOR ROLE {OWNER_ROLE}"
    pair.litellm_admin.run(f"{defaults} GRANT SELECT ON TABLES TO {SYNC_USER}")
    try:
        install(options)
        assert not pair.litellm_admin.value(f"SELECT has_table_privilege('{SYNC_USER}', 'user_bridge.queue', 'SELECT')")
        assert not install(options, env=READ_ONLY)["changed"]
    finally:
        pair.litellm_admin.run(f"{defaults} REVOKE SELECT ON TABLES FROM {SYNC_USER}")


def test_settings_change_one_by_one(pair: Pair, options: dict[str, Any]) -> None:
    install(options)
    pair.litellm_admin.run("UPDATE user_bridge.settings SET paused = true")
    new = {**options, "settings": {"delivery": "queued", "removal_percent": 2.5, "role_map": {"proxy_admin": "user"}}}
    predicted = install(new, check=True, diff=True, env=READ_ONLY)
    done = install(new, diff=True)
    assert predicted == done
    assert done["settings"] == ["removal_percent", "role_map"] and actions(done) == {}
    assert done["diff"][0]["before"] == 'removal_percent: 7\nrole_map: {"proxy_admin": "admin"}\n'
    assert done["diff"][0]["after"] == 'removal_percent: 2.5\nrole_map: {"proxy_admin": "user"}\n'
    assert not install(new, env=READ_ONLY)["changed"]
    row = pair.litellm_admin.rows("SELECT paused, delivery FROM user_bridge.settings")
    assert row == [{"paused": True, "delivery": "queued"}]
    pair.litellm_admin.run("DELETE FROM user_bridge.settings")
    assert install(new)["settings"] == ["delivery", "removal_percent", "role_map"]


def test_absent_leaves_no_trace_and_nothing_else_changes(pair: Pair, options: dict[str, Any]) -> None:
    dump = "SELECT relname, relkind::text FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1"
    before = pair.litellm_admin.rows(dump)
    install(options)
    pair.litellm_admin.run("CREATE EXTENSION dblink SCHEMA user_bridge")
    absent = {**login_options(pair, "litellm"), "side": "litellm", "state": "absent"}
    predicted = install(absent, check=True, diff=True, env=READ_ONLY)
    done = install(absent, diff=True)
    assert predicted == done
    assert actions(done)["extension dblink"] == "dropped" and actions(done)[TRIGGER] == "dropped"
    assert set(actions(done).values()) == {"dropped"} and done["version"] == {"before": "1.0.0", "after": None}
    assert pair.litellm_admin.value("SELECT to_regnamespace('user_bridge')") is None
    assert pair.litellm_admin.value("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'user_bridge%'") == 0
    assert pair.litellm_admin.rows(dump) == before
    again = install(absent, env=READ_ONLY)
    assert not again["changed"] and again["objects"] == []


@pytest.mark.parametrize(
    ("use", "named"),
    [
        ("CREATE VIEW public.theirs AS SELECT * FROM user_bridge.queue", "view public.theirs"),
        ("CREATE TABLE public.theirs (q user_bridge.queue)", "table public.theirs"),
        ("CREATE SERVER theirs FOREIGN DATA WRAPPER dblink_fdw", "server theirs"),
        (
            'CREATE TRIGGER theirs AFTER INSERT ON "LiteLLM_TeamTable" EXECUTE FUNCTION user_bridge.enqueue()',
            "trigger theirs",
        ),
    ],
)
def test_absent_refuses_while_others_use_it(pair: Pair, options: dict[str, Any], use: str, named: str) -> None:
    install(options)
    pair.litellm_admin.run("CREATE EXTENSION dblink SCHEMA user_bridge")
    pair.litellm_admin.run(use)
    for check in (True, False):
        with pytest.raises(ModuleFailed, match=f"others use it: .*{named}"):
            install({**login_options(pair, "litellm"), "side": "litellm", "state": "absent"}, check=check)
    assert not install(options, env=READ_ONLY)["changed"]


def test_a_trigger_on_an_optional_table_comes_with_the_table(pair: Pair, options: dict[str, Any]) -> None:
    pair.litellm.run('ALTER TABLE "LiteLLM_UserTable" RENAME TO "later"')
    optional = {**options, "optional_tables": ["LiteLLM_UserTable"]}
    done = install(optional)
    assert done["changed"] and TRIGGER not in actions(done)
    assert not install(optional)["changed"]
    pair.litellm.run('ALTER TABLE "later" RENAME TO "LiteLLM_UserTable"')
    assert {name: action for name, action in actions(install(optional)).items() if action != "unchanged"} == {
        TRIGGER: "created"
    }
    assert not install(optional)["changed"]


def test_both_sides_in_one_run(pair: Pair, options: dict[str, Any]) -> None:
    """Open WebUI's is there before LiteLLM's, and goes after it."""
    own = {
        "program_role": PROGRAM_ROLES["openwebui"],
        "program_owner": "openwebui",
        "definitions": [
            {"name": "own.sql", "sql": "CREATE TABLE IF NOT EXISTS user_bridge.own (id text PRIMARY KEY);"}
        ],
        "required_tables": ["user"],
        "optional_tables": ["no_such_table"],
    }
    broken = {**own, "definitions": [{"name": "own.sql", "sql": "CREATE VIEW user_bridge.v AS SELECT nothing"}]}
    # One that Open WebUI's side does not have.
    settings = {"delivery": "queued"}
    options |= {"openwebui_login_db": pair.openwebui_db, "openwebui": own, "settings": settings}
    with pytest.raises(ModuleFailed, match="openwebui goes with side=litellm only"):
        install({**options, "side": "openwebui"})
    with pytest.raises(ModuleFailed, match="user_bridge.v .*could not be installed"):
        install({**options, "openwebui": broken})
    exists = "SELECT to_regnamespace('user_bridge') IS NOT NULL"
    assert not pair.litellm_admin.value(exists) and not pair.openwebui_admin.value(exists)
    check = install(options, check=True, diff=True, env=READ_ONLY)
    done = install(options, diff=True)
    for found in (check, done):
        assert found["database"] == pair.litellm_db and found["openwebui"]["database"] == pair.openwebui_db
        shown = [part["after_header"].partition(" (")[0] for part in found["diff"]]
        assert shown.index("table user_bridge.own") < shown.index("table user_bridge.queue")
        assert found["changed"] and "changed" not in found["openwebui"]
    again = install(options, env=READ_ONLY)
    assert not again["changed"] and again["openwebui"]["version"] == {"before": "1.0.0", "after": "1.0.0"}
    pair.openwebui_admin.run("DROP TABLE user_bridge.own")
    assert install(options)["changed"]
    gone = install({**options, "state": "absent"})
    assert gone["changed"] and gone["openwebui"]["version"]["after"] is None
    assert not pair.litellm_admin.value(exists) and not pair.openwebui_admin.value(exists)


def test_each_side_wants_its_own_database(pair: Pair, options: dict[str, Any]) -> None:
    one = [{"name": "x", "sql": "CREATE TABLE user_bridge.x ()"}]
    other = {**options, "side": "openwebui", "settings": {}, "definitions": one, "required_tables": ["user", "auth"]}
    for check in (True, False):
        with pytest.raises(ModuleFailed, match=r'has no "user", "auth": start Open WebUI once'):
            install(other, check=check)
        # The table of a trigger need not be named.
        with pytest.raises(ModuleFailed, match=r'login_db, bridge_litellm_db\) has no "LiteLLM_UserTable"'):
            install({**options, "login_db": pair.openwebui_db}, check=check)
    pair.litellm_admin.run('CREATE TABLE "user" (); CREATE TABLE auth (); CREATE TABLE "group" ()')
    install(options)
    with pytest.raises(ModuleFailed, match="holds the litellm side of the bridge already; the two sides need two data"):
        install(other)
    with pytest.raises(ModuleFailed, match="holds the litellm side of the bridge, not openwebui"):
        install({**login_options(pair, "litellm"), "side": "openwebui", "state": "absent"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"settings": {"delivery": "soon"}}, "value of delivery must be one of: commit, queued, inline, got: soon"),
        ({"settings": {"delviery": "commit"}}, "Unsupported parameters.*settings.delviery"),
        ({"settings": {"target_timeout_ms": "long"}}, "target_timeout_ms"),
        ({"settings": {"target_timeout_ms": 5}}, r"target_timeout_ms \(bridge_target_timeout_ms\) must be from"),
        ({"settings": {"role_map": {"proxy_admin_viewer": "admin"}}}, "is read-only, so it cannot become admin"),
        ({"settings": {"role_map": {"boss": "admin"}}}, "'boss' is no LiteLLM role"),
        ({"settings": {"user_id_prefix": "a'b"}}, "bridge_user_id_prefix"),
        ({"version": None}, "version: '' is not a version number"),
        ({"version": "new"}, "version: 'new' is not a version number"),
        ({"lock_timeout_ms": 0}, "lock_timeout_ms must be at least 1"),
        ({"definitions": [{"name": "x.sql", "sql": "DROP TABLE a"}]}, "x.sql, line 1: a statement that starts with"),
        ({"definitions": [{"name": "x.sql", "sql": "SELECT 'a"}]}, "x.sql: line 1: the quote is never closed"),
        ({"definitions": [{"name": "x.sql", "sql": "CREATE TABLE public.x ()"}]}, "must be in schema user_bridge"),
        ({"owner": "nobody_there"}, r"role nobody_there \(owner, bridge_owner_role\) to exist"),
        ({"program_role": "nobody_there"}, r"role nobody_there \(program_role, bridge_reader_role\) to exist"),
        ({"login_password": "wrong one"}, "password authentication failed .*; check login_user and login_password"),
        ({"login_db": "nowhere"}, "as user postgres: .*nowhere.*set login_db"),
        ({"login_user": "nobody_there"}, "cannot connect to .* as user nobody_there"),
        ({"login_port": 1}, r"cannot connect to 127.0.0.1:1/.*check login_host and login_port"),
        ({"definitions": None}, "definitions is empty; give the SQL files, or use state=absent"),
        ({"definitions": []}, "definitions is empty"),
    ],
)
def test_bad_input_is_named_and_changes_nothing(repaired: dict[str, Any], change: dict[str, Any], message: str) -> None:
    for check in (True, False):
        if check and {"owner", "program_role"} & set(change):
            continue  # nobody has created it in check mode
        with pytest.raises(ModuleFailed, match=message) as failure:
            install({**repaired, **change}, check=check)
        assert "wrong one" not in str(failure.value) and PASSWORDS["postgres"] not in str(failure.value)
    assert not install(repaired, env=READ_ONLY)["changed"]


@pytest.mark.parametrize("driver", DRIVERS)
def test_failing_definition_is_named_and_everything_rolled_back(
    pair: Pair, options: dict[str, Any], driver: str
) -> None:
    for sql, message in (
        ("SELECT nothing_there", r"function user_bridge.sooner\(integer\) \(10_all.sql\) .*: column .*nothing_there"),
        ("SELECT 'secret'::int", r"function user_bridge.sooner\(integer\)"),
    ):
        bad = litellm_options(pair, SQL.replace("SELECT 'x%'::text", sql))
        with pytest.raises(ModuleFailed, match=message) as failure:
            install(bad, driver=driver)
        assert "SELECT" not in str(failure.value) and "nothing was changed" in str(failure.value)
    assert pair.litellm_admin.value("SELECT to_regnamespace('user_bridge')") is None


def test_types_of_arguments_are_read_by_the_server(pair: Pair, options: dict[str, Any]) -> None:
    functions = {
        "varchar(5), timestamptz[]": "character varying, timestamp with time zone[]",
        'public."user", int8': 'public."user", bigint',
        "user_bridge.made_here": "user_bridge.made_here",
    }
    sql = "CREATE TABLE user_bridge.made_here (id int);" + "".join(
        f"CREATE OR REPLACE FUNCTION user_bridge.f{number}({types}) RETURNS int LANGUAGE sql AS 'SELECT 1';"
        f"COMMENT ON FUNCTION user_bridge.f{number}({types}) IS 'f';"
        for number, types in enumerate(functions)
    )
    other = {**options, **login_options(pair, "openwebui"), "side": "openwebui", "settings": None}
    other["definitions"] = [{"name": "f.sql", "sql": sql.replace("TABLE ", "TABLE IF NOT EXISTS ")}]
    done = install(other)
    names = {f"function user_bridge.f{number}({types})" for number, types in enumerate(functions.values())}
    assert names <= actions(done).keys() and not install(other, env=READ_ONLY)["changed"]
    pair.openwebui_admin.run("DROP FUNCTION user_bridge.f0")
    assert actions(install(other)) == {min(names): "repaired"}
    for wrong in ("no_such_type", "n int"):
        bad = [{"name": "f.sql", "sql": sql.replace("f0(varchar(5), timestamptz[]) IS", f"f0({wrong}) IS")}]
        with pytest.raises(ModuleFailed, match="f.sql|COMMENT ON FUNCTION"):
            install({**other, "definitions": bad})


def test_a_change_in_a_read_only_session_says_so(options: dict[str, Any]) -> None:
    with pytest.raises(ModuleFailed, match="the session is read-only"):
        install(options, env=READ_ONLY)


def test_login_without_rights_is_told_what_it_needs(pair: Pair, options: dict[str, Any]) -> None:
    poor = {**options, **login_options(pair, "litellm", SYNC_USER)}
    with pytest.raises(ModuleFailed, match=f"login_user {SYNC_USER} needs .*membership in role {OWNER_ROLE}.*litellm"):
        install(poor)


def test_member_of_both_roles_needs_no_superuser(pair: Pair, options: dict[str, Any]) -> None:
    admin(pair, "litellm").run("DROP ROLE IF EXISTS deployer")
    admin(pair, "litellm").run(
        f"CREATE ROLE deployer LOGIN PASSWORD 'deployer pw' IN ROLE litellm, {', '.join(OWN_ROLES)}"
    )
    try:
        managed = {**options, "login_user": "deployer", "login_password": "deployer pw"}
        assert install(managed)["changed"]
        assert not install(managed, env=READ_ONLY)["changed"]
        # What one login made, another one finds unchanged.
        assert not install(options, env=READ_ONLY)["changed"]
        pair.litellm_admin.run('ALTER TABLE "LiteLLM_UserTable" DISABLE TRIGGER user_bridge_enqueue')
        assert actions(install(managed)) == {TRIGGER: "repaired"}
        absent = {**managed, "state": "absent", "definitions": None, "settings": None}
        assert install(absent)["changed"]
    finally:
        admin(pair, "litellm").run("DROP OWNED BY deployer; DROP ROLE deployer")


def test_waits_for_a_lock_without_blocking_litellm_for_long(pair: Pair, options: dict[str, Any]) -> None:
    holder = pair.connect("litellm", autocommit=False)
    holder.run("""INSERT INTO "LiteLLM_UserTable" (user_id) VALUES ('open')""")
    refused: list[psycopg2.Error] = []

    def release() -> None:
        until = time.monotonic() + 2
        number = 0
        with pair.connect("litellm").raw.cursor() as cursor:
            # What a busy machine takes besides is nobody's lock.
            cursor.execute("SET lock_timeout = '1200ms'")
            while time.monotonic() < until:
                number += 1
                try:
                    cursor.execute('INSERT INTO "LiteLLM_UserTable" (user_id) VALUES (%s)', [str(number)])
                except psycopg2.Error as error:
                    refused.append(error)
                time.sleep(0.01)
        holder.commit()

    thread = threading.Thread(target=release)
    thread.start()
    done = install({**options, "lock_timeout_ms": 200})
    thread.join()
    assert done["changed"]
    assert refused == []


def test_gives_up_on_a_lock_and_names_who_holds_it(pair: Pair, options: dict[str, Any]) -> None:
    holder = pair.connect("litellm", autocommit=False, application_name="the long one")
    holder.run("""INSERT INTO "LiteLLM_UserTable" (user_id) VALUES ('open')""")
    with pytest.raises(ModuleFailed, match=rf"could not lock .*process {holder.pid} of litellm \(the long one"):
        install({**options, "lock_timeout_ms": 50})
    assert pair.litellm_admin.value("SELECT to_regnamespace('user_bridge')") is None


def test_two_runs_at_once_do_the_work_once(options: dict[str, Any]) -> None:
    results: list[dict[str, Any]] = []
    threads = [threading.Thread(target=lambda: results.append(install(options))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(result["changed"] for result in results) == [False, False, True]


def real_options(pair: Pair, side: Side) -> dict[str, Any]:
    session, extension = admin(pair, side), "dblink" if side == "litellm" else "pgcrypto"
    session.run(f"CREATE SCHEMA IF NOT EXISTS user_bridge AUTHORIZATION {OWNER_ROLE}")
    session.run(f"CREATE EXTENSION IF NOT EXISTS {extension} SCHEMA user_bridge")
    return {
        **login_options(pair, side),
        "side": side,
        "version": "1.0.0",
        "definitions": [{"name": path, "sql": sql} for path, sql in render_sql(side).items()],
        "optional_tables": bridge.optional_tables(side),
        "settings": {"initial_password": "none"},
    }


@pytest.mark.schemas(litellm="all", openwebui="all")
def test_the_real_definitions_install_twice_and_go(pair: Pair) -> None:
    ensure_roles(pair)
    sides: tuple[Side, ...] = ("openwebui", "litellm")
    for side in sides:
        options = real_options(pair, side)
        assert install(options)["changed"]
        assert not install(options, env=READ_ONLY)["changed"]
        absent = {**login_options(pair, side), "side": side, "state": "absent"}
        extension = "dblink" if side == "litellm" else "pgcrypto"
        assert actions(install(absent))[f"extension {extension}"] == "dropped"


def test_the_real_definitions_need_no_superuser(pair: Pair) -> None:
    ensure_roles(pair)
    pair.litellm_admin.run("DROP ROLE IF EXISTS deployer")
    pair.litellm_admin.run(
        f"CREATE ROLE deployer LOGIN PASSWORD 'deployer pw' IN ROLE litellm, openwebui, {', '.join(OWN_ROLES)}"
    )
    sides: tuple[Side, ...] = ("openwebui", "litellm")
    try:
        for side in sides:
            options = {**real_options(pair, side), "login_user": "deployer", "login_password": "deployer pw"}
            assert install(options)["changed"]
            assert not install(options, env=READ_ONLY)["changed"]
        pair.litellm_admin.run("ALTER TABLE user_bridge.sync_queue DISABLE TRIGGER user_bridge_deliver")
        assert list(actions(install(options)).values()) == ["repaired"]
    finally:
        for side in sides:
            admin(pair, side).run("DROP OWNED BY deployer")
        pair.litellm_admin.run("DROP ROLE deployer")


def stored_on(side: Side) -> set[str]:
    return set(declared.SPEC if side == "litellm" else declared.OPENWEBUI)


@pytest.mark.parametrize("side", SIDES)
def test_limits_of_the_settings_are_those_of_the_table(pair: Pair, side: Side) -> None:
    ensure_roles(pair)
    options = real_options(pair, side)
    for place in (0, 1):
        limits = {name: limit[place] for name, limit in declared.RANGES.items()}
        assert set(install({**options, "settings": limits})["settings"]) == limits.keys() & stored_on(side)
    choices = {name: option["choices"] for name, option in declared.SPEC.items() if "choices" in option}
    for place in range(max(map(len, choices.values()))):
        install({**options, "settings": {name: each[place % len(each)] for name, each in choices.items()}})
    columns = admin(pair, side).rows(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'user_bridge.settings'::regclass AND attnum > 0"
    )
    own = {"singleton", "paused", "paused_at", "paused_until"} if side == "litellm" else {"singleton"}
    assert {row["attname"] for row in columns} == stored_on(side) | own


def _another(setting: Mapping[str, Any]) -> Any:
    """A value that the setting may have and that is not its default."""
    if "choices" in setting:
        return next(choice for choice in setting["choices"] if choice != setting["default"])
    if setting["type"] == "dict":
        return {}
    if setting["type"] == "list":
        return ["x"] if setting["elements"] == "str" else [{"name": "x", "access_groups": ["y"], "provider": "z"}]
    if setting["type"] == "bool":
        return not setting["default"]
    # A dot at its end: one setting needs it, and no other minds.
    return (
        f"x{setting['default']}" + ("" if setting["default"] else ".")
        if setting["type"] == "str"
        else setting["default"] + 1
    )


@pytest.mark.parametrize("side", SIDES)
def test_every_setting_arrives(pair: Pair, side: Side) -> None:
    ensure_roles(pair)
    every = {name: _another(setting) for name, setting in bridge.SETTINGS.items()}
    # These two contradict each other.
    for wanted in ({**every, "model_access": True}, {**every, "enforce_models": False}):
        install({**real_options(pair, side), "settings": wanted})
        (stored,) = admin(pair, side).rows("SELECT * FROM user_bridge.settings")
        assert {name: stored[name] for name in stored_on(side)} == {name: wanted[name] for name in stored_on(side)}


@pytest.mark.parametrize("side", SIDES)
def test_a_new_setting_gets_its_column_in_place(pair: Pair, side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in an upgrade to a version that has one more; CREATE TABLE IF NOT EXISTS does nothing then."""
    ensure_roles(pair)
    install({**real_options(pair, side), "settings": {"removal_accounts": 7}})
    new = {"type": "int", "minimum": 1, "default": 3, "openwebui": True, "version_added": "9.0.0"}
    monkeypatch.setattr(bridge, "SETTINGS", {**bridge.SETTINGS, "novelty": new})
    options, admin = real_options(pair, side), pair.superuser(side)
    assert "table user_bridge.settings" in actions(install(options))
    assert not install(options, env=READ_ONLY)["changed"]
    (stored,) = admin.rows("SELECT removal_accounts, novelty FROM user_bridge.settings")
    assert stored == {"removal_accounts": 7, "novelty": 3}
    # An ADD COLUMN that finds the column must not add its CHECK a second time.
    admin.run("COMMENT ON TABLE user_bridge.settings IS 'edited'")
    assert install(options)["changed"]
    table = "'user_bridge.settings'::regclass"
    checks = f"FROM pg_constraint WHERE conrelid = {table} AND contype = 'c' AND conname LIKE '%novelty%'"
    assert admin.value(f"SELECT count(*) {checks}") == 1


def test_through_ansible_playbook(pair: Pair, options: dict[str, Any], tmp_path: Path) -> None:
    login = {name: value for name, value in options.items() if name.startswith("login_")}
    task = {
        "llmops.user_bridge.bridge_install": {
            name: value for name, value in options.items() if name not in login and name != "version"
        }
        | {"version": "{{ bridge_version }}"}
    }
    defaults = {"group/llmops.user_bridge.all": login}
    play: dict[str, Any] = {"module_defaults": defaults, "vars": {"bridge_version": "1.0.0"}}
    first = run_playbook([task], tmp_path, "--diff", **play)
    assert first.returncode == 0 and "changed=1" in first.stdout, first.stdout + first.stderr
    assert "+CREATE OR REPLACE VIEW user_bridge.waiting" in first.stdout
    second = run_playbook([task], tmp_path, "--diff", "-vvv", env=READ_ONLY, **play)
    assert second.returncode == 0 and "changed=0" in second.stdout, second.stdout + second.stderr
    assert PASSWORDS["postgres"] not in first.stdout + second.stdout


def test_documentation_renders() -> None:
    doc = Path(sys.executable).parent / "ansible-doc"
    env = {"PATH": "", "ANSIBLE_COLLECTIONS_PATH": ".collections", "HOME": "/nonexistent"}
    done = subprocess.run(
        [str(doc), "llmops.user_bridge.bridge_install"], capture_output=True, text=True, env=env, timeout=60
    )
    assert done.returncode == 0 and "lock_timeout_ms" in done.stdout, done.stderr
