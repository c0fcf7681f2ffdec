# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""bridge_preflight_info against real databases: what it sees and refuses, and that its plan is all there is to do."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kit import binaries, cluster, rows, upstream
from kit.bridge import REGISTRY, own, render_sql
from kit.cluster import Cluster, running
from kit.pairs import (
    OWN_ROLES,
    OWNER_ROLE,
    PASSWORDS,
    PROGRAM_ROLES,
    SIDES,
    SYNC_USER,
    Pair,
    Session,
    Side,
    empty_database,
)
from kit.pairs import pair as new_pair
from kit.schemas import Admin
from kit.symptoms import said
from modules_support import (
    DRIVERS,
    READ_ONLY,
    ModuleFailed,
    a_call,
    admin,
    ensure_roles,
    install,
    login_options,
    run_module,
    warnings,
    without_a_write,
)
from playbooks_support import forget_roles, one_waits_for_the_other

MODULE = "bridge_preflight_info"
both_drivers = pytest.mark.parametrize("driver", DRIVERS)


def look(pair: Pair, *, driver: str = DRIVERS[0], env: dict[str, str] | None = None, **changes: Any) -> dict[str, Any]:
    """One look at both sides; it never fails and never changes anything."""
    found = run_module(MODULE, {**a_call(pair, MODULE), **changes}, driver=driver, env={**READ_ONLY, **(env or {})})
    assert found["changed"] is False
    return found


def problem(pair: Pair, **changes: Any) -> str:
    """The only problem that a look finds."""
    (found,) = look(pair, **changes)["problems"]
    for secret in (*PASSWORDS.values(), "wrong one"):
        assert secret not in found
    return str(found)


@pytest.fixture(scope="module")
def installed(server: Cluster) -> Iterator[Pair]:
    """A bridge for the tests that only look."""
    with new_pair(server) as made:
        install(made)
        yield made


def carry_out(pair: Pair, plan: dict[str, Any]) -> None:
    """Do what the plan says about roles, schemas, extensions and grants, as the role sync_user does."""
    ensure_roles(pair)
    for role in OWN_ROLES:
        pair.litellm_admin.run(f'DROP ROLE IF EXISTS "{role}"')
    for side, session in (("litellm", pair.litellm_admin), ("openwebui", pair.openwebui_admin)):
        if plan["statements"][side]:
            session.run("BEGIN; " + "; ".join(plan["statements"][side]) + "; COMMIT")


def test_a_bare_pair_and_what_its_plan_makes_of_it(pair: Pair) -> None:
    forget_roles(pair)
    found = look(pair)
    assert found["problems"] == [] and found["one_server"] is True
    assert {name: found["plan"][name] for name in ("sync_user", "connection", "backfill")} == dict.fromkeys(
        ("sync_user", "connection", "backfill"), True
    )
    assert found["plan"]["takeover"] is False and found["plan"]["timer"] is False
    carry_out(pair, found["plan"])
    after = look(pair)["plan"]
    assert after["statements"] == {"litellm": [], "openwebui": []} and after["sync_user"] is False
    assert after["connection"] is True


def test_two_hosts_join_the_roles_at_once(pair: Pair) -> None:
    """With a login that is no superuser, each for the bridge of another database; up to 15 the server refuses one."""
    ensure_roles(pair)
    pair.cluster.execute("DROP ROLE IF EXISTS joiner", "CREATE ROLE joiner CREATEROLE LOGIN PASSWORD 'of a joiner'")
    found = look(pair, login_user="joiner", login_password="of a joiner")["plan"]["statements"]["litellm"]
    joins = [statement for statement in found if "joiner" in statement]
    one, other = (pair.connect(side, "postgres", autocommit=False) for side in SIDES)
    one_waits_for_the_other(pair, "; ".join(joins), one, other)
    member = "SELECT count(*) FROM pg_auth_members WHERE member = 'joiner'::regrole AND roleid = ANY (%s::regrole[])"
    roles = [OWNER_ROLE, PROGRAM_ROLES["litellm"]]
    assert pair.litellm_admin.value(member, [roles]) == len(joins) == 2
    pair.cluster.execute("DROP ROLE joiner")


def test_nothing_to_do(installed: Pair) -> None:
    installed.litellm_admin.run("SELECT user_bridge.backfill(); DELETE FROM user_bridge.sync_queue")
    found = without_a_write(installed.litellm_admin, lambda: look(installed))
    assert found["problems"] == []
    assert found["sides"]["litellm"]["schema_owner"] == OWNER_ROLE
    assert found["plan"] == {
        "statements": {"litellm": [], "openwebui": []},
        "revocations": {"litellm": [], "openwebui": []},
        "sync_user": False,
        "timer_user": False,
        "connection": False,
        "ownership": False,
        "takeover": False,
        "backfill": False,
        "timer": False,
        "installed": {"litellm": "", "openwebui": ""},
    }


SOURCES = "5eed"
# By name: the side, what somebody does there, and what undoes it. Nothing of it may pass for what was installed.
UNLIKE: dict[str, tuple[Side, str, str]] = {
    "a function is gone": (
        "litellm",
        "ALTER FUNCTION user_bridge.version() RENAME TO formerly",
        "ALTER FUNCTION user_bridge.formerly() RENAME TO version",
    ),
    "a function and its record are gone": (
        "litellm",
        "ALTER FUNCTION user_bridge.version() SET SCHEMA public;"
        " CREATE TABLE kept AS SELECT * FROM {} WHERE name = 'V'; DELETE FROM {} WHERE name = 'V'",
        "ALTER FUNCTION public.version() SET SCHEMA user_bridge; INSERT INTO {} SELECT * FROM kept; DROP TABLE kept",
    ),
    "a record is gone": (
        "litellm",
        "CREATE TABLE kept AS SELECT * FROM {} WHERE name = 'V'; DELETE FROM {} WHERE name = 'V'",
        "INSERT INTO {} SELECT * FROM kept; DROP TABLE kept",
    ),
    "a trigger is disabled": (
        "litellm",
        'ALTER TABLE public."LiteLLM_UserTable" DISABLE TRIGGER USER',
        'ALTER TABLE public."LiteLLM_UserTable" ENABLE TRIGGER USER',
    ),
    "a grant is lost": (
        "openwebui",
        "REVOKE ALL ON user_bridge.entity FROM user_bridge_writer",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON user_bridge.entity TO user_bridge_writer",
    ),
    "something was added": (
        "openwebui",
        "CREATE INDEX mine ON user_bridge.entity (openwebui_id, entity_type)",
        "DROP INDEX user_bridge.mine",
    ),
    "a setting is another": (
        "litellm",
        "UPDATE user_bridge.settings SET backoff_seconds = backoff_seconds + 1",
        "UPDATE user_bridge.settings SET backoff_seconds = backoff_seconds - 1",
    ),
    "the program has another table": (
        "openwebui",
        "ALTER TABLE public.api_key RENAME TO formerly",
        "ALTER TABLE public.formerly RENAME TO api_key",
    ),
    "another version says so": (
        "litellm",
        "UPDATE {} SET version = '9.0.0' WHERE kind = 'bridge'",
        "UPDATE {} SET version = '1.0.0' WHERE kind = 'bridge'",
    ),
    "the server was upgraded": (
        "openwebui",
        "UPDATE {} SET server_major = '9', fingerprint = fingerprint || ' ' WHERE kind = 'view'",
        "UPDATE {} SET server_major = (SELECT server_major FROM {} WHERE kind = 'table' LIMIT 1),"
        " fingerprint = rtrim(fingerprint) WHERE kind = 'view'",
    ),
}


def test_what_was_installed_is_known_again(pair: Pair) -> None:
    """Only then is bridge_install not asked."""
    install(pair)
    wanted = {"delivery": "queued", "backoff_seconds": "30"}
    for side in SIDES:
        tables = REGISTRY["sides"][side]["tables"]
        definitions = [{"name": path, "sql": sql} for path, sql in render_sql(side).items()]
        options = {"side": side, "version": "1.0.0", "definitions": definitions, "settings": wanted}
        optional = [name for name, table in tables.items() if "since" in table]
        made = {**login_options(pair, side), **options, "optional_tables": optional, "sources": SOURCES}
        assert run_module("bridge_install", made)["changed"]

    def known() -> dict[str, str]:
        return dict(look(pair, settings=wanted)["plan"]["installed"])

    assert known() == dict.fromkeys(SIDES, SOURCES)
    assert look(pair)["plan"]["installed"] == dict.fromkeys(SIDES, "")
    for name, (side, done, undone) in UNLIKE.items():
        names = ("user_bridge.installed_object", "user_bridge.version()")
        for statements, expected in ((done, ""), (undone, SOURCES)):
            text = statements.replace("{}", names[0]).replace("'V'", f"'{names[1]}'")
            admin(pair, side).run(text)
            assert known()[side] == expected, (name, text)
    assert known() == dict.fromkeys(SIDES, SOURCES)


def test_a_server_without_contrib(tmp_path: Path) -> None:
    """As a distribution leaves it that has PostgreSQL's contrib modules in a package of their own."""
    major = next(each for each in binaries.SUPPORTED_MAJORS if each not in binaries.installed())
    copy = tmp_path / "native"
    shutil.copytree(binaries.find(major).root, copy, symlinks=True)
    (copy / "share" / "postgresql" / "extension" / "dblink.control").unlink()
    with running(binaries.Binaries(major, copy / "bin")) as bare:
        litellm, openwebui = (empty_database(bare, side) for side in SIDES)
        pair = Pair(bare, litellm, openwebui, "", "", Admin())
        refusals = look(pair)["problems"]
        pair.close()
    assert said("does not have the extension …", refusals)


def test_a_planted_function_is_named(pair: Pair) -> None:
    install(pair)
    pair.litellm_admin.run("GRANT CREATE, USAGE ON SCHEMA user_bridge TO litellm")
    pair.litellm.run("CREATE FUNCTION user_bridge.evil() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    (problem,) = look(pair)["problems"]
    assert "function user_bridge.evil() of litellm" in problem


def test_dblink_that_others_may_use_is_told(pair: Pair) -> None:
    install(pair)
    pair.litellm_admin.run(
        "CREATE SCHEMA extensions; GRANT USAGE ON SCHEMA extensions TO PUBLIC;"
        " ALTER EXTENSION dblink SET SCHEMA extensions;"
        " GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA extensions TO PUBLIC"
    )
    found = look(pair)
    assert found["problems"] == [] and "ALTER EXTENSION dblink SET SCHEMA user_bridge" in warnings(found)
    assert found["sides"]["litellm"]["extension_users"] == ["litellm", PROGRAM_ROLES["litellm"]]
    pair.litellm_admin.run("ALTER EXTENSION dblink SET SCHEMA user_bridge")
    # Its functions are the owner role's alone in the bridge's schema.
    for statement in look(pair)["plan"]["statements"]["litellm"]:
        pair.litellm_admin.run(statement)
    assert warnings(look(pair)) == ""


def test_a_schema_that_every_login_may_write_to_is_told(pair: Pair) -> None:
    """What the sync user puts there Open WebUI calls, before PostgreSQL 15 without anybody's doing."""
    install(pair)
    pair.openwebui_admin.run("GRANT CREATE ON SCHEMA public TO PUBLIC")
    thief = pair.connect("openwebui", SYNC_USER)
    thief.run("CREATE FUNCTION public.lower(varchar) RETURNS text LANGUAGE sql AS $$SELECT session_user::text$$")
    assert pair.openwebui.value("SELECT lower('X'::varchar)") == "openwebui"
    found = look(pair)
    assert found["problems"] == [] and 'GRANT CREATE ON SCHEMA public TO "openwebui"' in warnings(found)
    pair.openwebui_admin.run("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    assert warnings(look(pair)) == ""


def test_dblink_in_a_schema_that_litellm_owns_is_refused(pair: Pair) -> None:
    """It can rename the schema and make another one, whose functions the bridge and the login would call."""
    install(pair)
    pair.litellm_admin.run("CREATE SCHEMA theirs AUTHORIZATION litellm; ALTER EXTENSION dblink SET SCHEMA theirs")
    refusal = problem(pair)
    assert 'ALTER SCHEMA "theirs" OWNER TO CURRENT_USER' in refusal
    assert said("has the extension dblink in schema …, which belongs to …", refusal)
    assert look(pair)["sides"]["litellm"]["extension_schema_stranger"] == "litellm"
    pair.litellm_admin.run('ALTER SCHEMA "theirs" OWNER TO CURRENT_USER')
    assert look(pair)["problems"] == []
    # From PostgreSQL 15 on, public is the database owner's.
    pair.litellm_admin.run("ALTER EXTENSION dblink SET SCHEMA public")
    assert bool(look(pair)["problems"]) is (pair.cluster.major >= 15)


def test_a_lost_grant_on_each_table(installed: Pair) -> None:
    sessions: dict[Side, Session] = {"litellm": installed.litellm_admin, "openwebui": installed.openwebui_admin}
    for side, session in sessions.items():
        for table in REGISTRY["sides"][side]["tables"]:
            session.run(f'REVOKE SELECT ON "{table}" FROM "{PROGRAM_ROLES[side]}"')
    plan = look(installed)["plan"]["statements"]
    for side, session in sessions.items():
        tables = ", ".join(f'public."{table}"' for table in sorted(REGISTRY["sides"][side]["tables"]))
        assert plan[side] == [f'GRANT SELECT ON TABLE {tables} TO "{PROGRAM_ROLES[side]}"']
        session.run(plan[side][0])


def test_what_makes_each_part_necessary(pair: Pair) -> None:
    install(pair)
    pair.litellm_admin.run("SELECT user_bridge.backfill(); DELETE FROM user_bridge.sync_queue")
    pair.litellm_admin.run("UPDATE user_bridge.settings SET group_id_prefix = 'other_'")
    assert look(pair)["plan"]["backfill"] is True
    pair.litellm_admin.run("ALTER SERVER user_bridge_target OPTIONS (SET port '1')")
    assert look(pair)["plan"]["connection"] is True
    pair.cluster.execute(f"ALTER ROLE \"{SYNC_USER}\" PASSWORD 'another'")
    assert look(pair)["plan"]["sync_user"] is True
    password = PASSWORDS[SYNC_USER].replace("'", "''")
    pair.cluster.execute(f"ALTER ROLE \"{SYNC_USER}\" PASSWORD '{password}' CREATEDB")
    assert look(pair)["plan"]["sync_user"] is True
    pair.cluster.execute(f'ALTER ROLE "{SYNC_USER}" NOCREATEDB')
    assert look(pair)["plan"]["sync_user"] is False


def test_an_open_webui_without_an_owner_or_with_another_one(pair: Pair) -> None:
    install(pair)
    pair.openwebui_admin.run("DELETE FROM user_bridge.owned_by")
    found = look(pair)
    assert found["problems"] == [] and found["plan"]["ownership"] is True
    own(pair)
    pair.openwebui_admin.run("UPDATE user_bridge.owned_by SET id = gen_random_uuid()")
    found = look(pair)
    (problem,) = found["problems"]
    assert "is owned by another installation" in problem and "bridge_take_ownership" in problem
    # Of what only pauses or reports, it stops nothing.
    found = look(pair, depth="reach")
    assert found["problems"] == [] and found["owner_problem"] == problem
    found = look(pair, take_ownership=True)
    assert found["problems"] == [] and found["owner_problem"] is None and found["plan"]["ownership"] is True


def test_the_timers_login_and_files(installed: Pair, tmp_path: Path) -> None:
    file = tmp_path / "user-bridge.timer"
    options: dict[str, Any] = {"timer_user": "timer_login", "timer_password": "tick", "timer_files": [str(file)]}
    plan = look(installed, **options)["plan"]
    assert plan["timer_user"] is True and plan["timer"] is False
    file.touch()
    installed.cluster.execute("CREATE ROLE timer_login LOGIN PASSWORD 'tick'")
    try:
        plan = look(installed, **options)["plan"]
        assert plan["timer_user"] is False and plan["timer"] is True
        assert plan["statements"]["litellm"] == ['GRANT USAGE ON SCHEMA user_bridge TO "timer_login"']
    finally:
        installed.cluster.execute("DROP ROLE timer_login")


def test_the_login_that_reads_the_metrics(installed: Pair) -> None:
    assert "monitor_login" not in look(installed, monitor_user="monitor_login")["sides"]["litellm"]["roles"]
    installed.cluster.execute("CREATE ROLE monitor_login LOGIN")
    try:
        installed.litellm_admin.run("GRANT USAGE ON SCHEMA user_bridge TO monitor_login")
        found = look(installed, monitor_user="monitor_login")
        assert found["problems"] == [] and found["sides"]["litellm"]["roles"]["monitor_login"]["uses_schema"] is True
    finally:
        installed.litellm_admin.run("DROP OWNED BY monitor_login")
        installed.cluster.execute("DROP ROLE monitor_login")


def test_what_runs_the_drainer(installed: Pair) -> None:
    """Neither pg_cron nor systemd is here; the unit tests have the other cases."""
    login: dict[str, Any] = {"timer_user": "nobody_yet", "timer_peer": True}
    found = look(installed, maintenance="auto", **login)
    assert found["maintenance"]["method"] == "none" and "has not loaded pg_cron" in found["maintenance"]["reason"]
    # Nothing logs in, so no login is made.
    assert found["plan"]["timer_user"] is False and found["plan"]["statements"]["litellm"] == []
    found = look(installed, maintenance="systemd", **login)
    assert found["maintenance"]["method"] == "systemd" and found["plan"]["timer_user"] is True


def test_the_connection_limit(installed: Pair) -> None:
    pools: dict[str, Any] = {"litellm_connections": 20, "openwebui_connections": 30, "sync_connection_limit": 0}
    plan = look(installed, **pools)["plan"]
    assert (plan["connection_limit"], plan["sync_user"]) == (24, True)
    installed.cluster.execute(f'ALTER ROLE "{SYNC_USER}" CONNECTION LIMIT 24')
    try:
        assert look(installed, **pools)["plan"]["sync_user"] is False
        plan = look(installed, **{**pools, "sync_connection_limit": 9})["plan"]
        assert (plan["connection_limit"], plan["sync_user"]) == (9, True)
    finally:
        installed.cluster.execute(f'ALTER ROLE "{SYNC_USER}" CONNECTION LIMIT -1')
    # The kit's servers have 200 connections.
    pools["openwebui_connections"] = 170
    assert said("max_connections of the server of …", problem(installed, **pools))
    assert look(installed, **pools, planned_max_connections=240)["problems"] == []
    installed.cluster.execute(f'ALTER DATABASE "{installed.litellm_db}" CONNECTION LIMIT 20')
    try:
        pools["openwebui_connections"] = 30
        assert f'The database "{installed.litellm_db}" of LiteLLM has CONNECTION LIMIT 20' in problem(
            installed, **pools
        )
    finally:
        installed.cluster.execute(f'ALTER DATABASE "{installed.litellm_db}" CONNECTION LIMIT -1')


def test_what_the_upstream_scripts_have_left(pair: Pair) -> None:
    upstream.install(pair)
    assert look(pair)["plan"]["takeover"] is True
    assert look(pair, takeover=False)["plan"]["takeover"] is False
    assert look(pair, takeover_drop_tables=True)["plan"]["takeover"] is True


UNREACHED: list[tuple[dict[str, Any], str]] = [
    ({"login_port": 1}, "port 1, .*check bridge_login_host and bridge_login_port"),
    ({"login_host": "nowhere.invalid"}, "check bridge_login_host and bridge_login_port"),
    (
        {"login_password": "wrong one"},
        "password authentication failed .*check bridge_login_user and bridge_login_password",
    ),
    ({"ssl_mode": "require"}, "check bridge_login_ssl_mode and bridge_login_ca_cert"),
]


@both_drivers
@pytest.mark.parametrize(("changes", "wanted"), UNREACHED)
def test_servers_that_cannot_be_reached(installed: Pair, driver: str, changes: dict[str, Any], wanted: str) -> None:
    found = look(installed, driver=driver, **changes)
    assert found["sides"] == {} and found["one_server"] is False and len(found["problems"]) == 2
    for program, message in zip(("LiteLLM", "Open WebUI"), found["problems"], strict=True):
        assert message.startswith(f"Cannot look into {program}'s database")
        assert re.search(wanted, message), message


@pytest.mark.parametrize("side", ["litellm", "openwebui"])
def test_a_database_that_does_not_exist(installed: Pair, side: str) -> None:
    name = "login_db" if side == "litellm" else "openwebui_login_db"
    message = problem(installed, **{name: "nowhere"})
    assert f"set bridge_{side}_db to the database that" in message and "bridge_create_databases" in message


def test_the_second_login(installed: Pair) -> None:
    for changes, wanted in (
        ({"openwebui_login_port": 1}, "check bridge_openwebui_login_host and bridge_openwebui_login_port"),
        (
            {"openwebui_login_password": "wrong one"},
            "check bridge_openwebui_login_user and",
        ),
    ):
        assert wanted in problem(installed, **changes)


@pytest.fixture
def german(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    """A server with German messages, where this machine has PostgreSQL's translation and can make the locale."""
    found = binaries.find(max(binaries.installed()))
    translation = Path("/usr/share/locale/de/LC_MESSAGES") / f"postgres-{found.major}.mo"
    if not (translation.exists() and Path("/usr/share/i18n/locales/de_DE").exists() and shutil.which("localedef")):
        pytest.skip("no German translation of PostgreSQL or no definition of the locale on this machine")
    spawn = cluster.spawn
    with tempfile.TemporaryDirectory(dir="/tmp") as locales:
        Path(locales).chmod(0o755)
        subprocess.run(["localedef", "-i", "de_DE", "-f", "UTF-8", f"{locales}/de_DE.UTF-8"], check=True)
        monkeypatch.setattr(
            cluster, "spawn", lambda command, *rest: spawn(["/usr/bin/env", f"LOCPATH={locales}", *command], *rest)
        )
        with running(found, settings={"lc_messages": "de_DE.UTF-8"}) as server, new_pair(server) as pair:
            yield pair


def test_a_server_that_answers_in_another_language(german: Pair) -> None:
    """The words do not fit then, and libpq hides the SQLSTATE: the names that the message quotes tell the cause."""
    refused: list[tuple[dict[str, Any], str, str]] = [
        ({"login_password": "wrong one"}, "fehlgeschlagen", "check bridge_login_user and bridge_login_password"),
        ({"login_user": "nobody"}, "fehlgeschlagen", "check bridge_login_user and bridge_login_password"),
        ({"login_db": "nowhere"}, "existiert nicht", "set bridge_litellm_db to the database that LiteLLM uses"),
    ]
    for driver in DRIVERS:
        for changes, word, wanted in refused:
            message = look(german, driver=driver, **changes)["problems"][0]
            assert word in message and wanted in message
    # The same between the two servers.
    install(german)
    options = a_call(german, "bridge_target")
    for changes, wanted, cause in (
        ({"sync_password": "wrong one"}, "fehlgeschlagen; check bridge_sync_user and bridge_sync_password", "login"),
        ({"target_db": "nowhere"}, "existiert nicht; check bridge_openwebui_db", "database"),
    ):
        with pytest.raises(ModuleFailed, match=wanted) as failed:
            run_module("bridge_target", {**options, **changes})
        # By which the role sync_user decides whether to set the password.
        assert failed.value.result["cause"] == cause


@both_drivers
def test_pgoptions_of_the_target_are_honoured(installed: Pair, driver: str) -> None:
    found = look(installed, driver=driver, env={"PGOPTIONS": "-c no_such.thing"})
    assert all("no_such.thing" in message for message in found["problems"]) and found["sides"] == {}


def test_without_a_driver(installed: Pair, tmp_path: Path) -> None:
    """Also in check mode on a host that has none yet: the roles decide whether that matters."""
    for name in ("psycopg", "psycopg2"):
        (tmp_path / f"{name}.py").write_text("raise ImportError", encoding="utf-8")
    path = f"{tmp_path}:{Path(__file__).resolve().parents[2] / '.collections'}"
    found = run_module(MODULE, a_call(installed, MODULE), env={"PYTHONPATH": path})
    assert len(found["problems"]) == 2 and "install the Python library psycopg2" in found["problems"][0]


def test_databases_that_are_not_there_yet(installed: Pair) -> None:
    found = look(
        installed, depth="server", maintenance_db="postgres", login_db="not_yet", openwebui_login_db="nor_this"
    )
    assert found["problems"] == [] and "statements" not in found["plan"]
    assert [side["database_exists"] for side in found["sides"].values()] == [False, False]


def test_values_that_later_modules_would_refuse(installed: Pair) -> None:
    assert "bridge_backoff_seconds) must be from" in problem(installed, settings={"backoff_seconds": "-3"})
    assert "settings: " in problem(installed, settings={"backoff_seconds": "soon"})
    assert "target_port (bridge_target_port) must be from" in problem(installed, target_port=0)
    assert "target_timeout_ms" in problem(installed, target_timeout_ms=1)
    assert "target_host (bridge_target_host) is empty" in problem(installed, target_host="")


def test_owners_and_roles_that_are_not_the_bridges(installed: Pair) -> None:
    refusal = problem(installed, litellm_owner="someone")
    assert 'bridge_litellm_owner is "someone"' in refusal and said("but the tables in … belong to …", refusal)
    assert 'bridge_openwebui_owner is "someone"' in problem(installed, openwebui_owner="someone")
    refusals = look(installed, owner=SYNC_USER)["problems"]
    assert any("bridge_owner_role" in message and "may log in" in message for message in refusals)
    assert "bridge_sync_user" in problem(installed, sync_user="postgres")


def test_other_checks(pair: Pair) -> None:
    assert "bridge_maintenance is pg_cron" in problem(pair, maintenance="pg_cron")
    pair.openwebui_admin.run("UPDATE \"user\" SET role = 'user'")
    # None of them will be one either.
    for number, email in enumerate((None, " ", "boss", "boss@")):
        rows.add_user(pair.litellm, f"u{number}", email, user_role="proxy_admin")
    rows.add_user(
        pair.litellm, "away", "away@example.com", user_role="proxy_admin", metadata={"scim_active": False, "x": 1}
    )
    assert said("has no admin yet, and no LiteLLM proxy_admin with an email would become one", problem(pair))
    assert look(pair, allow_no_admin=True)["problems"] == []


def test_other_options_of_the_connection_are_compared(installed: Pair) -> None:
    others: list[dict[str, Any]] = [{"target_sslmode": "require"}, {"target_sslrootcert": "/ca"}, {"sync_password": ""}]
    for changes in others:
        assert look(installed, **changes)["plan"]["connection"] is True
