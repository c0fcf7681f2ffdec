# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""bridge_target against a real server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kit.cluster import Cluster
from kit.pairs import OWNER_ROLE, PASSWORDS, SYNC_USER, Pair
from kit.pairs import pair as new_pair
from modules_support import (
    DRIVERS,
    READ_ONLY,
    ModuleFailed,
    ensure_roles,
    login_options,
    run_module,
    run_playbook,
    without_a_write,
)

SECRET = PASSWORDS[SYNC_USER]
STORED = """SELECT o.option_value FROM pg_user_mappings m, pg_options_to_table(m.umoptions) o
            WHERE m.srvname = 'user_bridge_target' AND o.option_name = 'password'"""


@pytest.fixture
def options(pair: Pair) -> dict[str, Any]:
    return prepared(pair)


@pytest.fixture(scope="module")
def shared(server: Cluster) -> Iterator[Pair]:
    """One pair for the tests that leave it as they found it."""
    with new_pair(server) as made:
        yield made


@pytest.fixture(scope="module")
def untouched(shared: Pair) -> dict[str, Any]:
    return prepared(shared)


def prepared(pair: Pair) -> dict[str, Any]:
    ensure_roles(pair)
    pair.litellm_admin.run(f"CREATE SCHEMA user_bridge AUTHORIZATION {OWNER_ROLE}; CREATE EXTENSION dblink")
    pair.openwebui_admin.run(f'GRANT CONNECT ON DATABASE "{pair.openwebui_db}" TO {SYNC_USER}')
    return {
        **login_options(pair, "litellm"),
        "target_host": pair.cluster.host,
        "target_port": pair.cluster.port,
        "target_db": pair.openwebui_db,
        "synchronous_commit_off": True,
        "sync_user": SYNC_USER,
        "sync_password": SECRET,
    }


def target(options: dict[str, Any], **arguments: Any) -> dict[str, Any]:
    result = run_module("bridge_target", options, **arguments)
    assert SECRET not in json.dumps(result) and "secret two" not in json.dumps(result)
    return result


@pytest.mark.parametrize("driver", DRIVERS)
def test_present_twice(pair: Pair, options: dict[str, Any], driver: str) -> None:
    predicted = target(options, check=True, diff=True, driver=driver, env=READ_ONLY)
    done = target(options, diff=True, driver=driver)
    assert predicted == done
    assert (done["server"], done["user_mapping"], done["password"]) == ("created", "created", "changed")
    assert "password: (not shown, a new one)" in done["diff"]["after"]
    again = without_a_write(pair.litellm_admin, lambda: target(options, diff=True, driver=driver))
    assert not again["changed"] and again["diff"]["before"] == again["diff"]["after"]
    assert again == target(options, diff=True, driver=driver, env=READ_ONLY)
    assert pair.litellm_admin.value(STORED) == SECRET
    assert done["options"]["options"].startswith("-c statement_timeout=2000 -c lock_timeout=2000")
    assert done["options"]["options"].endswith("-c synchronous_commit=off")


def test_statements_come_first_and_stay_when_the_connection_fails(pair: Pair, options: dict[str, Any]) -> None:
    """Without them the next attempt would have to begin with them."""
    options["statements"] = [f'GRANT SELECT ON public."LiteLLM_UserTable" TO {OWNER_ROLE}']
    may = f"SELECT has_table_privilege('{OWNER_ROLE}', '\"LiteLLM_UserTable\"', 'SELECT')"
    assert target(options, check=True, env=READ_ONLY)["changed"]
    assert pair.litellm_admin.value(may) is False
    with pytest.raises(ModuleFailed):
        target({**options, "sync_password": "another", "verify": "connection"})
    assert pair.litellm_admin.value(may) is True
    target({**options, "statements": []})
    assert target(options)["changed"] and not target({**options, "statements": []})["changed"]


def test_two_runs_at_once_do_the_work_once(options: dict[str, Any]) -> None:
    results: list[dict[str, Any]] = []
    threads = [threading.Thread(target=lambda: results.append(target(options))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(result["changed"] for result in results) == [False, False, True]


def test_nobody_else_can_read_the_password(pair: Pair, options: dict[str, Any]) -> None:
    target(options)
    assert pair.litellm.value(STORED) is None
    assert pair.connect("litellm", SYNC_USER).value(STORED) is None


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"sync_password": "secret two %s"}, ("unchanged", "updated", "changed")),
        ({"sync_user": "other"}, ("unchanged", "updated", "unchanged")),
        ({"target_timeout_ms": 500}, ("updated", "unchanged", "unchanged")),
        ({"target_sslmode": "verify-full", "target_sslrootcert": "/a 'b'\\c"}, ("updated", "unchanged", "unchanged")),
        ({"synchronous_commit_off": False, "target_host": "db.example"}, ("updated", "unchanged", "unchanged")),
    ],
)
def test_each_change_is_made_and_named(
    pair: Pair, options: dict[str, Any], change: dict[str, Any], expected: tuple[str, ...]
) -> None:
    target({**options, "target_sslrootcert": "/old"})
    target(options)
    new = {**options, **change}
    predicted = target(new, check=True, diff=True, env=READ_ONLY)
    done = target(new, diff=True)
    assert predicted == done
    assert (done["server"], done["user_mapping"], done["password"]) == expected
    assert not target(new, env=READ_ONLY)["changed"]
    assert pair.litellm_admin.value(STORED) == new["sync_password"]


@pytest.mark.parametrize(
    "damage",
    [
        "ALTER SERVER user_bridge_target OPTIONS (SET host 'elsewhere', ADD keepalives '1', DROP sslmode)",
        "ALTER SERVER user_bridge_target OWNER TO postgres",
        f"ALTER USER MAPPING FOR {OWNER_ROLE} SERVER user_bridge_target OPTIONS (DROP password)",
        f"ALTER USER MAPPING FOR {OWNER_ROLE} SERVER user_bridge_target OPTIONS (DROP user, ADD sslpassword 'x')",
        f"DROP USER MAPPING FOR {OWNER_ROLE} SERVER user_bridge_target",
        "DROP SERVER user_bridge_target CASCADE",
    ],
)
def test_drift_is_repaired(pair: Pair, options: dict[str, Any], damage: str) -> None:
    target(options)
    pair.litellm_admin.run(damage)
    assert target(options, check=True, env=READ_ONLY)["changed"]
    assert target({**options, "verify": "connection"})["verified"]["user"] == SYNC_USER
    assert not target(options, env=READ_ONLY)["changed"]


def test_verify_connects_as_the_bridge_does(pair: Pair, options: dict[str, Any]) -> None:
    verified = target({**options, "verify": "connection"})["verified"]
    assert verified["user"] == SYNC_USER and verified["database"] == pair.openwebui_db and verified["apply"] is False
    with pytest.raises(ModuleFailed, match="sync_user cannot execute user_bridge.apply in database openwebui"):
        target({**options, "verify": "apply"})
    pair.openwebui_admin.run(
        "CREATE SCHEMA user_bridge; CREATE FUNCTION user_bridge.apply(jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT $1';"
        f"GRANT USAGE ON SCHEMA user_bridge TO {SYNC_USER}"
    )
    for check in (True, False):
        assert target({**options, "verify": "apply"}, check=check, env=READ_ONLY)["verified"]["apply"] is True


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sync_password": "secret two"}, "password authentication failed.*set bridge_sync_password"),
        ({"sync_user": "nobody"}, "bridge_sync_password|bridge_sync_user"),
        ({"target_db": "nowhere"}, "nowhere.* does not exist; check bridge_openwebui_db"),
        ({"target_port": 1}, "127.0.0.1:1/.*check bridge_target_host and bridge_target_port"),
        ({"target_host": "nowhere.invalid"}, "nowhere.invalid.*check bridge_target_host and bridge_target_port"),
        ({"target_sslmode": "require"}, "SSL.*check bridge_target_sslmode"),
    ],
)
def test_verify_names_the_cause_and_keeps_nothing(
    shared: Pair, untouched: dict[str, Any], change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ModuleFailed, match=message) as failure:
        target({**untouched, **change, "verify": "connection"})
    assert SECRET not in str(failure.value) and "secret two" not in str(failure.value)
    assert shared.litellm_admin.value("SELECT count(*) FROM pg_foreign_server") == 0


def test_verify_explains_trust(shared: Pair, untouched: dict[str, Any]) -> None:
    local = {**untouched, "target_host": str(shared.cluster.socket_dir), "verify": "connection"}
    with pytest.raises(ModuleFailed, match="without asking for a password, which dblink refuses; put a line"):
        target(local)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sync_password": ""}, r"sync_password \(bridge_sync_password\) is empty"),
        ({"sync_password": None}, "sync_password"),
        ({"sync_user": ""}, r"sync_user \(bridge_sync_user\) is empty"),
        ({"target_host": ""}, r"target_host \(bridge_target_host\) is empty"),
        ({"target_port": 70000}, r"target_port \(bridge_target_port\) must be from 1 to 65535"),
        ({"target_timeout_ms": 1}, r"target_timeout_ms \(bridge_target_timeout_ms\) must be from 100"),
        ({"target_sslmode": "no"}, "value of target_sslmode must be one of"),
        ({"owner": "nobody_there"}, r"role nobody_there \(owner, bridge_owner_role\) does not exist"),
    ],
)
def test_bad_input(shared: Pair, untouched: dict[str, Any], change: dict[str, Any], message: str) -> None:
    with pytest.raises(ModuleFailed, match=message) as failure:
        target({**untouched, **change})
    assert SECRET not in str(failure.value)
    assert shared.litellm_admin.value("SELECT count(*) FROM pg_foreign_server") == 0


def test_pristine_database(pair: Pair, options: dict[str, Any]) -> None:
    pair.litellm_admin.run("DROP EXTENSION dblink")
    with pytest.raises(ModuleFailed, match="lacks the extension dblink: run the role llmops.user_bridge.sync_user"):
        target(options)
    # In check mode the role has not created what comes before.
    assert target(options, check=True, env=READ_ONLY)["changed"]
    assert target({**options, "owner": "nobody_there"}, check=True, env=READ_ONLY)["server"] == "created"


def test_absent_twice(pair: Pair, options: dict[str, Any]) -> None:
    target(options)
    pair.litellm_admin.run("CREATE USER MAPPING FOR PUBLIC SERVER user_bridge_target OPTIONS (user 'x')")
    absent = {**login_options(pair, "litellm"), "state": "absent"}
    predicted = target(absent, check=True, diff=True, env=READ_ONLY)
    done = target(absent, diff=True)
    assert predicted == done and done["server"] == "dropped" and done["user_mapping"] == "dropped"
    assert not target(absent, env=READ_ONLY)["changed"]
    assert pair.litellm_admin.value("SELECT count(*) FROM pg_foreign_server") == 0


def test_foreign_server_of_others_is_left_alone(pair: Pair, options: dict[str, Any]) -> None:
    pair.litellm_admin.run("CREATE FOREIGN DATA WRAPPER theirs")
    pair.litellm_admin.run("CREATE SERVER user_bridge_target FOREIGN DATA WRAPPER theirs")
    for arguments in (options, {**login_options(pair, "litellm"), "state": "absent"}):
        with pytest.raises(ModuleFailed, match="is of the foreign data wrapper theirs, so it is not the bridge's"):
            target(arguments)


def test_login_that_is_no_superuser(pair: Pair, options: dict[str, Any]) -> None:
    pair.litellm_admin.run("DROP ROLE IF EXISTS deployer")
    pair.litellm_admin.run("CREATE ROLE deployer LOGIN PASSWORD 'deployer pw'")
    poor = {**options, "login_user": "deployer", "login_password": "deployer pw"}
    try:
        with pytest.raises(ModuleFailed, match=f"deployer needs .*membership in role {OWNER_ROLE}.*GRANT USAGE ON"):
            target(poor)
        pair.litellm_admin.run(
            f"GRANT {OWNER_ROLE} TO deployer; GRANT USAGE ON FOREIGN DATA WRAPPER dblink_fdw TO {OWNER_ROLE}"
        )
        assert target(poor)["server"] == "created"
        assert not target(poor, env=READ_ONLY)["changed"]
        assert not target(options, env=READ_ONLY)["changed"]
        assert target({**poor, "sync_password": "secret two"})["password"] == "changed"
        assert target({**poor, "state": "absent"})["server"] == "dropped"
    finally:
        pair.litellm_admin.run("DROP OWNED BY deployer; DROP ROLE deployer")


def test_the_password_is_in_no_server_log(pair: Pair, options: dict[str, Any]) -> None:
    before = pair.cluster.log.stat().st_size
    settings = {
        "log_statement": "all",
        "log_min_duration_statement": "0",
        "log_error_verbosity": "verbose",
        "log_min_error_statement": "debug5",
    }
    try:
        for name, value in settings.items():
            pair.litellm_admin.run(f"ALTER DATABASE \"{pair.litellm_db}\" SET {name} = '{value}'")
        target(options)
        target({**options, "sync_password": "secret two"})
        with pytest.raises(ModuleFailed):
            target({**options, "sync_password": "secret three", "verify": "connection"})
    finally:
        pair.litellm_admin.run(f'ALTER DATABASE "{pair.litellm_db}" RESET ALL')
    log = pair.cluster.log.read_bytes()[before:].decode(errors="replace")
    assert "pg_foreign_server" in log  # the log was on
    for secret in (SECRET, SECRET.replace("'", "''"), "secret two", "secret three", "sync'"):
        assert secret not in log


def test_ddl_log_of_a_managed_server_does_not_have_it_either(pair: Pair, options: dict[str, Any]) -> None:
    pair.litellm_admin.run("DROP ROLE IF EXISTS deployer")
    pair.litellm_admin.run(
        f"CREATE ROLE deployer LOGIN PASSWORD 'deployer pw' IN ROLE {OWNER_ROLE};"
        f"GRANT USAGE ON FOREIGN DATA WRAPPER dblink_fdw TO {OWNER_ROLE}"
    )
    before = pair.cluster.log.stat().st_size
    try:
        pair.litellm_admin.run(f"ALTER DATABASE \"{pair.litellm_db}\" SET log_statement = 'ddl'")
        target({**options, "login_user": "deployer", "login_password": "deployer pw", "sync_password": "secret two"})
        log = pair.cluster.log.read_bytes()[before:].decode(errors="replace")
        assert "CREATE SERVER" in log and "secret two" not in log
    finally:
        pair.litellm_admin.run(f'ALTER DATABASE "{pair.litellm_db}" RESET ALL')
        pair.litellm_admin.run("DROP OWNED BY deployer CASCADE; DROP ROLE deployer")


@pytest.mark.parametrize("change", [{}, {"sync_password": "secret two"}, {"login_port": 1}, {"target_sslmode": "no"}])
def test_no_secret_on_the_terminal_even_when_it_fails(
    shared: Pair, untouched: dict[str, Any], change: dict[str, Any], tmp_path: Path
) -> None:
    shared.litellm_admin.run("DROP SERVER IF EXISTS user_bridge_target CASCADE")
    given = {**untouched, **change, "verify": "connection"}
    secrets = {"the_login_password": given.pop("login_password"), "the_sync_password": given.pop("sync_password")}
    task = {
        "llmops.user_bridge.bridge_target": {
            **given,
            "login_password": "{{ the_login_password }}",
            "sync_password": "{{ the_sync_password }}",
        }
    }
    variables = tmp_path / "vars.json"
    variables.write_text(json.dumps(secrets), encoding="utf-8")
    done = run_playbook([task], tmp_path, "--diff", "-vvv", "-e", f"@{variables}")
    assert (done.returncode == 0) == (not change), done.stdout + done.stderr
    for secret in secrets.values():
        assert secret not in done.stdout + done.stderr
        assert json.dumps(secret)[1:-1] not in done.stdout + done.stderr
