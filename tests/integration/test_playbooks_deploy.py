# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""deploy-bridge.yml and the roles against real databases: what they make, and that they make it once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2.errors
import pytest

from kit import litellm, pairs
from kit.cluster import Cluster
from kit.pairs import OWNER_ROLE, PASSWORDS, SYNC_USER, Pair, Session
from playbooks_support import READ_ONLY, Run, deploy, forget_roles, play, role_play, snapshot, variables


def user_arrives(pair: Pair, user_id: str) -> bool:
    """A user whom LiteLLM creates is in Open WebUI when COMMIT returns."""
    litellm.new_user(pair.litellm, user_id, f"{user_id}@example.com")
    found = pair.openwebui.value('SELECT count(*) FROM "user" WHERE email = %s', [f"{user_id}@example.com"])
    return bool(found == 1)


def is_refused(session: Session, statement: str) -> bool:
    try:
        session.run(statement)
    except psycopg2.errors.InsufficientPrivilege:
        return True
    return False


@dataclass(frozen=True)
class Deployed:
    """A pair with the bridge, and how it came to it."""

    pair: Pair
    before: dict[str, Any]
    after_check: dict[str, Any]
    check: Run
    first: Run
    second: Run


@pytest.fixture(scope="module")
def deployed(server: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """Deployed once for the tests that only look, because a run of a playbook takes seconds."""
    folder = tmp_path_factory.mktemp("deployed")
    with pairs.pair(server) as pair:
        forget_roles(pair)
        before = snapshot(pair)
        check = deploy(pair, folder, "--check", "--diff")
        after_check = snapshot(pair)
        first = deploy(pair, folder)
        yield Deployed(pair, before, after_check, check, first, deploy(pair, folder, env=READ_ONLY))


def test_check_mode_shows_what_it_would_make_and_makes_nothing(deployed: Deployed) -> None:
    assert deployed.after_check == deployed.before
    assert deployed.check.changed > 0
    for expected in (
        "+CREATE OR REPLACE FUNCTION user_bridge.apply(",
        "+CREATE TABLE",
        "user_bridge_enqueue",
        "+dbname:",
    ):
        assert expected in deployed.check.output


def test_a_user_arrives(deployed: Deployed) -> None:
    assert deployed.first.changed > 0
    assert user_arrives(deployed.pair, "first")


def test_the_second_run_changes_nothing(deployed: Deployed) -> None:
    assert deployed.second.changed == 0, deployed.second.output


def test_drift_is_repaired(deployed: Deployed, tmp_path: Path) -> None:
    pair = deployed.pair
    pair.litellm_admin.run('DROP TRIGGER user_bridge_enqueue ON "LiteLLM_UserTable"')
    pair.litellm_admin.run(f'REVOKE SELECT ON "LiteLLM_TeamTable" FROM "{OWNER_ROLE}"')
    pair.litellm_admin.run("ALTER SERVER user_bridge_target OPTIONS (SET port '1')")
    pair.openwebui_admin.run(f'REVOKE INSERT ON "user" FROM "{OWNER_ROLE}"')
    pair.openwebui_admin.run(f'REVOKE USAGE ON SCHEMA user_bridge FROM "{SYNC_USER}"')
    pair.openwebui_admin.run(f"ALTER ROLE \"{SYNC_USER}\" PASSWORD 'somebody else''s' CREATEDB")
    pair.openwebui_admin.run(
        f'ALTER DEFAULT PRIVILEGES FOR ROLE openwebui IN SCHEMA public REVOKE INSERT ON TABLES FROM "{OWNER_ROLE}"'
    )
    shown = deploy(pair, tmp_path, "--check", "--diff")
    repaired = deploy(pair, tmp_path)
    assert repaired.changed == shown.changed > 0
    assert user_arrives(pair, "after-the-repair")
    assert not pair.openwebui_admin.value("SELECT rolcreatedb FROM pg_roles WHERE rolname = %s", [SYNC_USER])
    assert deploy(pair, tmp_path, env=READ_ONLY).changed == 0


def test_the_report_is_for_people(deployed: Deployed, tmp_path: Path) -> None:
    pair = deployed.pair
    # debug puts each line of the report into quotes, and so does a person's screen.
    healthy = play("llmops.user_bridge.bridge_status", variables(pair), tmp_path, env=READ_ONLY)
    assert healthy.failed == 0, healthy.output
    for line in (
        "Health: OK",
        f"LiteLLM: {pair.litellm_db} (PostgreSQL {pair.cluster.major}",
        f"Open WebUI: {pair.openwebui_db} (PostgreSQL {pair.cluster.major}",
        "all as installed",
        f"Connection: ok, as {SYNC_USER}",
        "Delivery: at commit",
        "Queue: 0 waiting, 0 of them failing",
    ):
        assert line in healthy.words, healthy.output
    pair.openwebui_admin.run(f'REVOKE EXECUTE ON FUNCTION user_bridge.apply(jsonb) FROM "{SYNC_USER}"')
    litellm.new_user(pair.litellm, "waits", "waits@example.com")
    broken = play("llmops.user_bridge.bridge_status", variables(pair), tmp_path, env=READ_ONLY)
    assert broken.failed == 1, broken.output
    for words in ("Health: BROKEN", "Queue: 1 waiting", "The bridge is broken: ", "apply"):
        assert words in broken.words, broken.output
    deploy(pair, tmp_path)
    pair.litellm_admin.run("SELECT user_bridge.drain(10)")
    assert pair.litellm_admin.value("SELECT count(*) FROM user_bridge.sync_queue") == 0


def test_what_the_roles_may_not_do(deployed: Deployed) -> None:
    pair = deployed.pair
    # LiteLLM's own role: the bridge works for it, and shows it nothing.
    assert user_arrives(pair, "someone")
    for statement in (
        "SELECT * FROM user_bridge.sync_queue",
        "SELECT * FROM user_bridge.settings",
        "SELECT user_bridge.drain(1)",
        "SELECT user_bridge.dblink_connect('user_bridge_target')",
        "ALTER SERVER user_bridge_target OPTIONS (SET host 'evil')",
        f'SET ROLE "{OWNER_ROLE}"',
        "CREATE TABLE user_bridge.mine ()",
    ):
        assert is_refused(pair.litellm, statement), statement
    assert pair.litellm.rows("SELECT usename, umoptions FROM pg_user_mappings") == [
        {"usename": OWNER_ROLE, "umoptions": None}
    ]
    assert PASSWORDS[SYNC_USER] not in str(pair.litellm.rows("SELECT prosrc FROM pg_proc WHERE pronamespace > 16384"))
    # The sync user: nothing but the one function.
    for statement in (
        'SELECT * FROM "user"',
        "SELECT * FROM auth",
        'UPDATE "group" SET name = name',
        "CREATE TABLE public.mine ()",
        "CREATE SCHEMA mine",
        f'SET ROLE "{OWNER_ROLE}"',
        "SET ROLE openwebui",
        "SELECT rolpassword FROM pg_authid",
    ):
        assert is_refused(pair.sync_user, statement), statement
    tables = pair.sync_user.rows(
        "SELECT relname FROM pg_class WHERE relkind IN ('r', 'v', 'm', 'p', 'S') AND relnamespace IN"
        " ('public'::regnamespace, 'user_bridge'::regnamespace) AND (CASE relkind WHEN 'S' THEN"
        " has_sequence_privilege(oid, 'USAGE') ELSE has_table_privilege(oid, 'SELECT,INSERT,UPDATE,DELETE') END)"
    )
    assert tables == []
    functions = pair.sync_user.rows(
        "SELECT proname FROM pg_proc WHERE pronamespace = 'user_bridge'::regnamespace"
        " AND has_function_privilege(oid, 'EXECUTE') AND NOT EXISTS"
        " (SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e')"
    )
    assert functions == [{"proname": "apply"}]
    # The owner role cannot be logged in as, and the programs' schemas hold nothing of ours.
    assert not pair.litellm_admin.value("SELECT rolcanlogin FROM pg_roles WHERE rolname = %s", [OWNER_ROLE])
    for admin in (pair.litellm_admin, pair.openwebui_admin):
        owned = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relowner = %s::regrole"
        assert admin.value(owned, [f'"{OWNER_ROLE}"']) == 0
        # LiteLLM has a function of its own there since its migration of 2026-09-23.
        made = "SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND proowner = %s::regrole"
        assert admin.value(made, [f'"{OWNER_ROLE}"']) == 0


def test_tables_that_an_upgrade_makes_later_are_within_reach(deployed: Deployed) -> None:
    deployed.pair.openwebui.run("CREATE TABLE a_later_one (id text)")
    right = "SELECT has_table_privilege(%s, 'a_later_one', 'INSERT')"
    assert deployed.pair.openwebui_admin.value(right, [OWNER_ROLE]) is True


@pytest.mark.schemas(litellm="old", openwebui="old")
def test_the_oldest_programs_and_extensions_that_are_somewhere_else(pair: Pair, tmp_path: Path) -> None:
    for session, extension in ((pair.litellm_admin, "dblink"), (pair.openwebui_admin, "pgcrypto")):
        session.run("CREATE SCHEMA extensions")
        session.run(f"CREATE EXTENSION {extension} SCHEMA extensions")
    deploy(pair, tmp_path)
    assert user_arrives(pair, "first")
    assert deploy(pair, tmp_path, env=READ_ONLY).changed == 0


def test_roles_alone_in_somebody_elses_play(pair: Pair, tmp_path: Path) -> None:
    """Each role by itself, facts not injected, every host for itself, and names of roles of the user's own."""
    free = {"ANSIBLE_INJECT_FACT_VARS": "false", "ANSIBLE_STRATEGY": "free"}
    values = variables(pair, bridge_owner_role="My Bridge", bridge_sync_user="my.sync")
    plays = {role: role_play(role) for role in ("postgres", "sync_user", "triggers")}
    for role, one in plays.items():
        run = play(one, values, tmp_path, env=free)
        assert run.failed == 0, run.output
        assert (run.changed > 0) == (role != "postgres"), run.output
    values.pop("bridge_sync_password")
    again = play([*plays["triggers"], *plays["postgres"]], values, tmp_path, env={**free, **READ_ONLY})
    assert (again.changed, again.failed) == (0, 0), again.output
    assert user_arrives(pair, "first")
    pair.litellm_admin.run("DROP SCHEMA user_bridge CASCADE")
    for session in (pair.litellm_admin, pair.openwebui_admin):
        session.run('DROP OWNED BY "My Bridge", "my.sync" CASCADE')
    pair.cluster.execute('DROP ROLE "My Bridge"', 'DROP ROLE "my.sync"')


def test_two_bridges_in_one_play(pair: Pair, server: Cluster, tmp_path: Path) -> None:
    with pairs.pair(server) as other:
        tasks = [
            {
                "name": f"Bridge {number}",
                "ansible.builtin.include_role": {"name": "llmops.user_bridge.bridge"},
                "vars": {"bridge_litellm_db": each.litellm_db, "bridge_openwebui_db": each.openwebui_db},
            }
            for number, each in enumerate((pair, other))
        ]
        values = variables(pair, bridge_litellm_db=None, bridge_openwebui_db=None)
        playbook = [{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]
        assert play(playbook, values, tmp_path).failed == 0
        assert user_arrives(pair, "here") and user_arrives(other, "there")
        assert pair.openwebui.value('SELECT count(*) FROM "user" WHERE email LIKE %s', ["there@%"]) == 0
        again = play(playbook, values, tmp_path, env=READ_ONLY)
        assert (again.changed, again.failed) == (0, 0), again.output


def test_absent_removes_the_objects_and_leaves_the_rows(deployed: Deployed, tmp_path: Path) -> None:
    """The last test of the bridge that all have looked at."""
    pair = deployed.pair
    rows = pair.openwebui.value('SELECT count(*) FROM "user"')
    absent: dict[str, Any] = {"bridge_state": "absent", "bridge_sync_password": None}
    assert deploy(pair, tmp_path, **absent).changed > 0
    for admin in (pair.litellm_admin, pair.openwebui_admin):
        assert admin.value("SELECT to_regnamespace('user_bridge')") is None
    assert pair.openwebui.value('SELECT count(*) FROM "user"') == rows
    assert not user_arrives(pair, "unbridged")
    assert deploy(pair, tmp_path, env=READ_ONLY, **absent).changed == 0
