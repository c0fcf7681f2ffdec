# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""deploy-bridge.yml and the roles against real databases: what they make, and that they make it once."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2.errors
import pytest
import yaml

import existing_users
from kit import litellm, pairs
from kit.cluster import Cluster
from kit.drains import drain_on
from kit.pages import blocks, commands
from kit.pairs import OWN_ROLES, OWNER_ROLE, PASSWORDS, PROGRAM_ROLES, SYNC_USER, Pair, Session
from kit.recap import Run
from playbooks_support import (
    READ_ONLY,
    deploy,
    described,
    follow,
    forget_roles,
    installed,
    play,
    play_hosts,
    role_play,
    snapshot,
    variables,
    vaulted,
)

# A hash for each of the existing users would be what the first run measures.
SETTINGS: dict[str, Any] = {
    "bridge_initial_password": "none",
    "bridge_migrate_batch_size": existing_users.BATCH,
}

READER, WRITER = PROGRAM_ROLES["litellm"], PROGRAM_ROLES["openwebui"]


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
    """Deployed once for the tests that only look, because a run of a playbook takes seconds: as README.md says, from an
    installed copy.
    """
    folder = tmp_path_factory.mktemp("deployed")
    _, install, checks, deploys = commands("README.md")[0]
    env = installed(install, folder)
    (variables_file,) = blocks("README.md", "yaml")
    with pairs.pair(server) as pair:
        # The password is given by the remedy that the roles name where it is missing.
        given = vaulted(folder, "bridge_sync_password", PASSWORDS[SYNC_USER])
        values = {**yaml.safe_load(variables_file), **variables(pair, **SETTINGS), "bridge_sync_password": None}
        forget_roles(pair)
        existing_users.write(pair)
        before = snapshot(pair)
        check = follow(checks, values, folder, *given, env=env)
        after_check = snapshot(pair)
        first = follow(deploys, values, folder, *given, env=env)
        # ansible-core 2.18 has native types as a choice, newer ones always.
        native = {"ANSIBLE_JINJA2_NATIVE": "1", "ANSIBLE_DEPRECATION_WARNINGS": "0"}
        second = follow(deploys, values, folder, *given, env={**env, **native, **READ_ONLY})
        for run in (check, first, second):
            assert run.failed == 0, run.output
        yield Deployed(pair, before, after_check, check, first, second)


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


def test_it_says_who_sees_every_model_for_want_of_a_list(deployed: Deployed) -> None:
    for words in ("Models: 0 in LiteLLM", "people see all of them only because no list says anything about them"):
        assert words in deployed.first.words, deployed.first.output


def test_the_second_run_changes_nothing(deployed: Deployed) -> None:
    assert deployed.second.changed == 0, deployed.second.output


# ---- who was there before ------------------------------------------------------------------------------------


def test_everybody_with_an_email_of_their_own_is_there_once(deployed: Deployed) -> None:
    accounts = deployed.pair.openwebui.rows(
        "SELECT id, a.email FROM \"user\" JOIN auth AS a USING (id, email) WHERE email LIKE 'person-%'"
    )
    expected = {existing_users.account_of(n): f"person-{n}@example.com" for n in existing_users.SYNCED}
    for n in existing_users.REPEATED & existing_users.SYNCED:
        expected[existing_users.account_of(n)] = f"person-{n - 20}@example.com"
    assert {account["id"]: account["email"] for account in accounts} == expected
    assert len(accounts) == len(expected)


def test_everybody_else_is_skipped_with_the_reason(deployed: Deployed) -> None:
    skipped = deployed.pair.litellm_admin.rows(
        "SELECT DISTINCT ON (record_id) record_id, error_message FROM user_bridge.sync_audit"
        " WHERE operation = 'SYNC_USER' AND sync_result = 'SKIPPED' ORDER BY record_id, id DESC"
    )
    reasons = {int(row["record_id"].removeprefix("person-")): row["error_message"] for row in skipped}
    assert set(reasons) == existing_users.WITHOUT_EMAIL | existing_users.DUPLICATES
    assert all(reasons.values())
    last = (
        "SELECT DISTINCT ON (operation, record_id) operation, record_id, sync_result, error_message"
        " FROM user_bridge.sync_audit ORDER BY operation, record_id, id DESC"
    )
    failed = f"SELECT * FROM ({last}) AS last WHERE sync_result = 'FAILED' LIMIT 5"
    assert deployed.pair.litellm_admin.rows(failed) == []


def test_an_account_that_was_there_keeps_what_is_its_own(deployed: Deployed) -> None:
    kept = deployed.pair.openwebui.rows(
        "SELECT u.id, u.settings ->> 'ui' IS NOT NULL AS settings, a.password = 'the hash of ' || a.email AS password,"
        " (SELECT count(*) FROM chat WHERE user_id = u.id) AS chats"
        " FROM \"user\" AS u JOIN auth AS a USING (id) WHERE u.id LIKE 'own-%'"
    )
    assert len(kept) == len(existing_users.ADOPTED)
    assert all(row["settings"] and row["password"] and row["chats"] == 1 for row in kept)


def test_memberships_and_roles_of_everybody(deployed: Deployed) -> None:
    synced = existing_users.SYNCED
    counts = deployed.pair.openwebui.rows(
        "SELECT group_id, count(*) FROM group_member WHERE group_id NOT LIKE 'grp_models_%' GROUP BY 1"
    )
    expected = {f"grp_org-{o}": sum(n % 10 == o for n in synced) for o in existing_users.ORGANIZATIONS}
    expected["grp_team_team-1"] = len(synced.intersection(existing_users.TEAM))
    assert {row["group_id"]: row["count"] for row in counts} == expected
    admins = "SELECT id FROM \"user\" WHERE role = 'admin' AND email LIKE 'person-%'"
    assert deployed.pair.openwebui.rows(admins) == [{"id": "usr_person-1"}]


# ---- drift ---------------------------------------------------------------------------------------------------


def test_drift_is_reported_and_repaired(deployed: Deployed, tmp_path: Path) -> None:
    pair, status = deployed.pair, "llmops.user_bridge.bridge_status"
    # debug puts each line of the report into quotes, and so does a person's screen.
    asked = {"explain_user": "person-1@example.com", "explain_model": "gpt-x"}
    drain_on(pair)
    healthy = play(status, variables(pair, **asked), tmp_path, env=READ_ONLY)
    assert healthy.failed == 0, healthy.output
    for line in (
        "Health: OK",
        f"LiteLLM: {pair.litellm_db} (PostgreSQL {pair.cluster.major}",
        f"Open WebUI: {pair.openwebui_db} (PostgreSQL {pair.cluster.major}",
        "all as installed",
        f"Connection: ok, as {SYNC_USER}",
        "Delivery: at commit",
        "Queue: 0 waiting, 0 of them failing",
        "Explained: person-1 is not granted gpt-x by LiteLLM: LiteLLM's database has no deployment of this name",
        "Open WebUI: no row: only administrators see it",
    ):
        assert line in healthy.words, healthy.output

    sound = described(pair)
    pair.openwebui_admin.run(f'REVOKE EXECUTE ON FUNCTION user_bridge.apply(jsonb) FROM "{SYNC_USER}"')
    litellm.new_user(pair.litellm, "waits", "waits@example.com")
    pair.litellm_admin.run('DROP TRIGGER user_bridge_enqueue ON "LiteLLM_UserTable"')
    pair.litellm_admin.run(f'REVOKE SELECT ON "LiteLLM_TeamTable" FROM "{READER}"')
    pair.litellm_admin.run("ALTER SERVER user_bridge_target OPTIONS (SET port '1')")
    pair.openwebui_admin.run(f'REVOKE INSERT ON "user" FROM "{WRITER}"')
    pair.openwebui_admin.run(f'REVOKE USAGE ON SCHEMA user_bridge FROM "{SYNC_USER}"')
    pair.openwebui_admin.run(f"ALTER ROLE \"{SYNC_USER}\" PASSWORD 'somebody else''s' CREATEDB")
    pair.openwebui_admin.run(
        f'ALTER DEFAULT PRIVILEGES FOR ROLE openwebui IN SCHEMA public REVOKE INSERT ON TABLES FROM "{WRITER}"'
    )
    broken = play(status, variables(pair), tmp_path, env=READ_ONLY)
    assert broken.failed == 1, broken.output
    for words in ("Health: BROKEN", "Queue: 1 waiting", "The bridge is broken: ", "apply"):
        assert words in broken.words, broken.output

    shown = deploy(pair, tmp_path, "--check", "--diff", **SETTINGS)
    assert described(pair) != sound
    repaired = deploy(pair, tmp_path, **SETTINGS)
    assert repaired.changed >= shown.changed > 0
    assert described(pair) == sound
    assert not pair.openwebui_admin.value("SELECT rolcreatedb FROM pg_roles WHERE rolname = %s", [SYNC_USER])
    assert user_arrives(pair, "after-the-repair")
    assert pair.openwebui.value("SELECT count(*) FROM \"user\" WHERE email = 'waits@example.com'") == 1


def test_what_the_roles_may_not_do(deployed: Deployed) -> None:
    pair = deployed.pair
    # LiteLLM's own role: the bridge works for it, and shows it what a dump needs, which is not the key.
    assert user_arrives(pair, "someone")
    for statement in (
        "SELECT * FROM user_bridge.identity_key",
        "INSERT INTO user_bridge.sync_queue (entity_type, entity_id) VALUES ('user', 'someone')",
        "UPDATE user_bridge.settings SET paused = true",
        "DELETE FROM user_bridge.sync_mapping",
        "SELECT nextval('user_bridge.backlog')",
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
    assert not pair.litellm_admin.value(
        "SELECT bool_or(rolcanlogin) FROM pg_roles WHERE rolname = ANY (%s)", [[*OWN_ROLES]]
    )
    for role, admin in itertools.product(OWN_ROLES, (pair.litellm_admin, pair.openwebui_admin)):
        owned = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relowner = %s::regrole"
        assert admin.value(owned, [f'"{role}"']) == 0
        # LiteLLM has a function of its own there since its migration of 2026-09-23.
        made = "SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND proowner = %s::regrole"
        assert admin.value(made, [f'"{role}"']) == 0


def test_tables_that_an_upgrade_makes_later_are_within_reach(deployed: Deployed) -> None:
    deployed.pair.openwebui.run("CREATE TABLE a_later_one (id text)")
    right = "SELECT has_table_privilege(%s, 'a_later_one', 'INSERT')"
    assert deployed.pair.openwebui_admin.value(right, [WRITER]) is True
    assert deployed.pair.openwebui_admin.value(right, [OWNER_ROLE]) is False


@pytest.mark.schemas(litellm="old", openwebui="old")
def test_the_oldest_programs_and_extensions_that_are_somewhere_else(
    pair: Pair, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    for session, extension in ((pair.litellm_admin, "dblink"), (pair.openwebui_admin, "pgcrypto")):
        session.run("CREATE SCHEMA extensions")
        session.run(f"CREATE EXTENSION {extension} SCHEMA extensions")
    deploy(pair, tmp_path)
    assert user_arrives(pair, "first")
    if pytestconfig.getoption("--weekly"):
        # On every push with the newest; of the oldest's SQL in test_modules_bridge_install.
        # Of somebody new the rights on models follow, by the drainer that is not here.
        drain_on(pair)
        assert deploy(pair, tmp_path, env=READ_ONLY).changed == 0


def test_roles_alone_in_somebody_elses_play(pair: Pair, tmp_path: Path) -> None:
    """Each role by itself, facts not injected, every host for itself, and names of roles of the user's own."""
    values = variables(
        pair,
        bridge_owner_role="My Bridge",
        bridge_sync_user="my.sync",
        bridge_reader_role="My Reader",
        bridge_writer_role="My Writer",
    )
    roles = ("postgres", "sync_user", "triggers")
    plays = [play for role in roles for play in role_play(role, hosts=role)]
    env = {"ANSIBLE_INJECT_FACT_VARS": "false", "ANSIBLE_STRATEGY": "free"}
    first = play_hosts(plays, {role: {f"{role}_alone": values} for role in roles}, tmp_path, env=env)
    for role in roles:
        done = first.hosts[f"{role}_alone"]
        assert (done.changed > 0, done.failed) == (role != "postgres", 0), first.output
    # What is there needs no password any more.
    values.pop("bridge_sync_password")
    inventory = {role: {f"{role}_again": values} for role in ("triggers", "postgres")}
    again = play_hosts([plays[2], plays[0]], inventory, tmp_path, env={**env, **READ_ONLY})
    assert (again.changed, again.failed) == (0, 0), again.output
    assert user_arrives(pair, "first")
    pair.litellm_admin.run("DROP SCHEMA user_bridge CASCADE")
    for session in (pair.litellm_admin, pair.openwebui_admin):
        session.run('DROP OWNED BY "My Bridge", "my.sync" CASCADE')
    pair.cluster.execute('DROP ROLE "My Bridge"', 'DROP ROLE "my.sync"')


@pytest.mark.weekly
def test_two_bridges_in_one_play(pair: Pair, server: Cluster, tmp_path: Path) -> None:
    """In a plain loop, whose item the roles' own loops must leave alone; what one sets is not the other's."""
    with pairs.pair(server) as other:
        task = {
            "name": "Bridge each",
            "ansible.builtin.include_role": {"name": "llmops.user_bridge.bridge"},
            "vars": {
                "bridge_litellm_db": "{{ item.litellm }}",
                "bridge_openwebui_db": "{{ item.openwebui }}",
                "bridge_audit_retention_days": "{{ item.days | default(90) }}",
            },
            "loop": [
                {"litellm": pair.litellm_db, "openwebui": pair.openwebui_db, "days": 5},
                {"litellm": other.litellm_db, "openwebui": other.openwebui_db},
            ],
        }
        values = variables(pair, bridge_litellm_db=None, bridge_openwebui_db=None)
        playbook = [{"hosts": "localhost", "gather_facts": False, "tasks": [task]}]
        first = play(playbook, values, tmp_path)
        assert first.failed == 0, first.output
        assert user_arrives(pair, "here") and user_arrives(other, "there")
        assert pair.openwebui.value('SELECT count(*) FROM "user" WHERE email LIKE %s', ["there@%"]) == 0
        days = "SELECT audit_retention_days FROM user_bridge.settings"
        assert [each.litellm_admin.value(days) for each in (pair, other)] == [5, 90]
        for each in (pair, other):
            # No drainer lives, to which the rights of somebody new are left.
            drain_on(each)
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
