# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""bridge_role: attributes of a login. test_secrets_in_statements.py has its password."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg2
import pytest

from kit.pairs import Pair
from modules_support import READ_ONLY, ModuleFailed, login_options, run_module
from playbooks_support import wait_until

NAME = "some_login"


def test_the_connection_limit(pair: Pair) -> None:
    options: dict[str, Any] = {**login_options(pair, "openwebui"), "name": NAME, "connection_limit": 7}
    limit = f"SELECT rolconnlimit FROM pg_roles WHERE rolname = '{NAME}'"
    try:
        assert run_module("bridge_role", options)["role"] == "created"
        assert pair.openwebui_admin.value(limit) == 7
        assert run_module("bridge_role", options, env=READ_ONLY)["role"] == "unchanged"
        assert run_module("bridge_role", {**options, "connection_limit": 9}, check=True)["role"] == "updated"
        # A lower limit ends what is too many and does nothing.
        pair.cluster.execute(f"ALTER ROLE {NAME} PASSWORD '{NAME}'")
        sessions = [pair.cluster.connect(pair.openwebui_db, NAME, NAME) for _ in range(3)]
        assert run_module("bridge_role", {**options, "connection_limit": 2})["role"] == "updated"
        for session in sessions:
            with pytest.raises(psycopg2.OperationalError):
                session.cursor().execute("SELECT 1")
        run_module("bridge_role", options)
        assert pair.openwebui_admin.value(limit) == 7
        del options["connection_limit"]
        assert run_module("bridge_role", options, env=READ_ONLY)["role"] == "unchanged"
        assert run_module("bridge_role", {**options, "connection_limit": -1})["role"] == "updated"
        assert pair.openwebui_admin.value(limit) == -1
    finally:
        pair.cluster.execute(f"DROP ROLE IF EXISTS {NAME}")


def test_statements_come_once_the_role_is_there(pair: Pair) -> None:
    lets = f'GRANT SELECT ON public."user" TO {NAME}'
    options: dict[str, Any] = {**login_options(pair, "openwebui"), "name": NAME, "statements": [lets]}
    may = f"SELECT has_table_privilege('{NAME}', '\"user\"', 'SELECT')"
    try:
        assert run_module("bridge_role", options, check=True, env=READ_ONLY)["changed"]
        with pytest.raises(ModuleFailed, match="^statements: GRANT nothing: .*; none was executed$"):
            run_module("bridge_role", {**options, "statements": [lets, "GRANT nothing"]})
        assert pair.openwebui_admin.value(may) is False
        done = run_module("bridge_role", options)
        assert (done["role"], done["changed"]) == ("unchanged", True) and pair.openwebui_admin.value(may) is True
    finally:
        pair.openwebui_admin.run(f"DROP OWNED BY {NAME}; DROP ROLE {NAME}")


@pytest.mark.parametrize(
    ("given", "meanwhile"),
    [
        ({"connection_limit": 5}, "ALTER ROLE {} CONNECTION LIMIT 4"),
        ({"password": "new"}, "ALTER ROLE {} CONNECTION LIMIT 4"),
        ({"state": "absent"}, "DROP ROLE {}"),
    ],
    ids=["limit", "password", "absent"],
)
def test_another_host_is_at_the_same_role(pair: Pair, given: dict[str, Any], meanwhile: str) -> None:
    """As for another bridge on the server: PostgreSQL refuses the second of them, and only once."""
    cluster, login = pair.cluster, login_options(pair, "openwebui")
    cluster.execute(f"DROP ROLE IF EXISTS {NAME}", f"CREATE ROLE {NAME} LOGIN")
    # Of what has a password the wait is a short one, with a pause after it.
    is_stopped = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'llmops.user_bridge' AND (wait_event_type ="
        " 'Lock' OR query = 'ROLLBACK' AND state = 'idle' AND state_change < clock_timestamp() - interval '20 ms')"
    )
    other = cluster.connect(pair.litellm_db)
    try:
        other.autocommit = False
        other.cursor().execute(meanwhile.format(NAME))
        with ThreadPoolExecutor(1) as pool:
            beside = pool.submit(run_module, "bridge_role", {**login, "name": NAME, **given})
            wait_until(lambda: pair.openwebui_admin.value(is_stopped))
            other.commit()
            done = beside.result()
    finally:
        other.close()
        cluster.execute(f"DROP ROLE IF EXISTS {NAME}")
    assert done["role"] == ("unchanged" if "state" in given else "updated")
    assert done["password"] == ("changed" if "password" in given else "unchanged")


def test_a_role_goes(pair: Pair) -> None:
    """From one database what it has there, and with the last one itself; other roles keep what they have."""
    here, there = login_options(pair, "litellm"), login_options(pair, "openwebui")
    absent: dict[str, Any] = {"name": NAME, "state": "absent"}
    pair.cluster.execute(f"DROP ROLE IF EXISTS {NAME}", f"CREATE ROLE {NAME} LOGIN")
    pair.litellm_admin.run(
        f'GRANT SELECT ON "LiteLLM_UserTable" TO {NAME}; CREATE TABLE of_his (); ALTER TABLE of_his OWNER TO {NAME}'
    )
    pair.openwebui_admin.run(f'GRANT SELECT ON "user" TO {NAME}')
    pair.openwebui_admin.run(
        f'GRANT CONNECT ON DATABASE "{pair.openwebui_db}" TO {NAME};'
        f' GRANT TEMPORARY ON DATABASE "{pair.openwebui_db}" TO {NAME} WITH GRANT OPTION'
    )
    granted = "SELECT acl::text FROM pg_database, unnest(datacl) AS acl WHERE datname = %s AND acl::text LIKE %s"
    rights = pair.openwebui_admin.rows(granted, [pair.openwebui_db, f"{NAME}=%"])
    assert [row["acl"] for row in rights] == [f"{NAME}=T*c/openwebui"]
    found = run_module("bridge_role", {**here, **absent}, check=True, diff=True, env=READ_ONLY)
    assert (found["changed"], found["role"], found["used_by"]) == (True, "kept", [pair.openwebui_db])
    assert found["diff"]["before"] == "what it owns and was granted here\n"
    assert run_module("bridge_role", {**here, **absent})["role"] == "kept"
    assert pair.litellm_admin.value("SELECT to_regclass('of_his')") is None
    assert pair.openwebui_admin.rows(granted, [pair.openwebui_db, f"{NAME}=%"]) == rights
    assert run_module("bridge_role", {**here, **absent}, env=READ_ONLY)["changed"] is False
    assert run_module("bridge_role", {**there, **absent})["role"] == "dropped"
    assert pair.openwebui_admin.value("SELECT to_regrole(%s)", [NAME]) is None
    assert run_module("bridge_role", {**there, **absent}, env=READ_ONLY)["role"] == "unchanged"


def test_two_hosts_remove_the_last_bridges_of_a_server(pair: Pair) -> None:
    """At once, each from its own database: the role goes with the later of them, and gets no right back."""
    pair.cluster.execute(
        f"DROP ROLE IF EXISTS {NAME}", f"CREATE ROLE {NAME} LOGIN", f"COMMENT ON ROLE {NAME} IS 'It''s'"
    )
    pair.litellm_admin.run(f"CREATE TABLE of_his (); ALTER TABLE of_his OWNER TO {NAME}")
    pair.openwebui_admin.run(f'GRANT CONNECT ON DATABASE "{pair.openwebui_db}" TO {NAME}')
    waiting = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE application_name = 'llmops.user_bridge' AND wait_event_type = 'Lock'"
    )
    holder = pair.connect("litellm", "postgres", autocommit=False)
    holder.run("LOCK TABLE of_his IN ACCESS SHARE MODE")
    with ThreadPoolExecutor(2) as pool:
        absent = {"name": NAME, "state": "absent"}
        first = pool.submit(run_module, "bridge_role", {**login_options(pair, "litellm"), **absent})
        wait_until(lambda: pair.litellm_admin.value(waiting) == 1)
        second = pool.submit(run_module, "bridge_role", {**login_options(pair, "openwebui"), **absent})
        wait_until(lambda: second.done() or pair.litellm_admin.value(waiting) == 2)
        holder.rollback()
        done = [each.result()["role"] for each in (first, second)]
    assert pair.litellm_admin.value("SELECT to_regrole(%s)", [NAME]) is None
    assert done == ["kept", "dropped"]
