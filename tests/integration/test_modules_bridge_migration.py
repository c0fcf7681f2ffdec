# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""bridge_migration against a real server: what existed before the bridge, brought by the real bridge."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from kit import openwebui
from kit.bridge import before_the_bridge, copy_prepared, install_bridge
from kit.cluster import SUPERUSER
from kit.common import REPO
from kit.drains import drain_on
from kit.pairs import OWNER_ROLE, PASSWORDS, SYNC_USER, Pair
from kit.rows import add_key, add_organization, add_team, add_user, change_user, delete_user, join_organization
from modules_support import DRIVERS, READ_ONLY, ModuleFailed, login_options, run_module, run_playbook, without_a_write

EVERY_SCHEMA = pytest.mark.schemas(litellm="all", openwebui="all")
SETTINGS = {"initial_password": "none", "backoff_seconds": 1}


def migrate(
    pair: Pair,
    *,
    check: bool = False,
    diff: bool = False,
    driver: str = DRIVERS[0],
    env: Mapping[str, str] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """One call of the module, which is enough for what takes less than chunk_seconds."""
    login = login_options(pair, "litellm", options.pop("user", "postgres"))
    options = {"chunk_seconds": 600, **options}
    result = run_module("bridge_migration", {**login, **options}, check=check, diff=diff, driver=driver, env=env)
    for secret in (*PASSWORDS.values(), "hash-of-a-token"):
        assert json.dumps(secret)[1:-1] not in json.dumps(result)
    return result


def populate(pair: Pair) -> None:
    """LiteLLM as it may be when the bridge comes."""
    add_organization(pair.litellm, "o1", "Acme")
    add_organization(pair.litellm, "o2", "Other")
    members = [{"user_id": "u2", "role": "user"}, {"user_id": "u3", "role": "user"}]
    add_team(pair.litellm, "t1", "Blue", organization_id="o1", members_with_roles=members)
    add_user(pair.litellm, "u1", "Ann@example.com")
    add_user(pair.litellm, "u2", "bob@example.com", user_alias="Bob", teams=["t1"])
    add_user(pair.litellm, "u3")
    add_user(pair.litellm, "u4", "under_score@other.example")
    add_user(pair.litellm, "u5", "underXscore@other.example")
    for user_id in ("u1", "u2"):
        join_organization(pair.litellm, "o1", user_id)
    join_organization(pair.litellm, "o2", "u4")
    add_key(pair.litellm, "hash-of-a-token", "u1", key_alias="laptop")


def bridge_afterwards(pair: Pair, write: Callable[[Pair], object], **settings: Any) -> Pair:
    install_bridge(pair, {**SETTINGS, **settings})
    with before_the_bridge(pair):
        write(pair)
    return pair


def populated(pair: Pair) -> None:
    bridge_afterwards(pair, populate)


@pytest.fixture
def old(pair: Pair) -> Pair:
    copy_prepared(pair, populated)
    return pair


def by_user(result: Mapping[str, Any], *fields: str) -> dict[str, Any]:
    wanted = fields or ("result",)
    rows = {user["user_id"]: tuple(user[name] for name in wanted) for user in result["users"]}
    return {user: values[0] if len(values) == 1 else values for user, values in rows.items()}


def accounts(pair: Pair) -> list[str]:
    return [row["id"] for row in pair.openwebui.rows("SELECT id FROM \"user\" WHERE id LIKE 'usr%' ORDER BY 1")]


@EVERY_SCHEMA
def test_everything_is_brought_once(old: Pair) -> None:
    done = migrate(old)
    assert done["changed"] is True and done["next"] is None
    assert by_user(done) == {"u1": "SUCCESS", "u2": "SUCCESS", "u3": "SKIPPED", "u4": "SUCCESS", "u5": "SUCCESS"}
    assert by_user(done, "email", "reason")["u3"] == (None, "no email")
    assert by_user(done, "email", "reason")["u1"] == ("Ann@example.com", None)
    assert done["by_type"] == {
        "api_key": {"SUCCESS": 1},
        "organization": {"SUCCESS": 2},
        "organization_member": {"SUCCESS": 3},
        "team": {"SUCCESS": 1},
        "team_member": {"SUCCESS": 2},
        "user": {"SKIPPED": 1, "SUCCESS": 4},
        "user_key": {"SUCCESS": 1},
    }
    assert done["counts"] == {
        "total": 5,
        "with_email": 4,
        "without_email": 1,
        "already_synced": 4,
        "in_openwebui": 4,
    }
    assert done["progress"] == {"done": 15, "total": 15, "users_done": 5, "users_total": 5}
    assert accounts(old) == ["usr_u1", "usr_u2", "usr_u4", "usr_u5"]
    assert old.openwebui.value("SELECT name FROM \"user\" WHERE id = 'usr_u2'") == "Blue-Bob"
    assert old.litellm_admin.rows("SELECT * FROM user_bridge.reconcile()") == []
    assert old.litellm_admin.value("SELECT count(*) FROM user_bridge.sync_queue") == 0
    assert old.litellm_admin.value("SELECT count(*) FROM user_bridge.sync_audit WHERE operation LIKE 'MIGRATE%'") == 7

    again = without_a_write(old.openwebui_admin, lambda: migrate(old, env=READ_ONLY))
    assert again["changed"] is False and by_user(again) == {"u3": "SKIPPED"}
    assert again["by_type"]["user"] == {"SKIPPED": 1, "UNCHANGED": 4}
    assert again["counts"] == done["counts"] and again["progress"] == done["progress"]


@pytest.mark.parametrize("driver", DRIVERS)
def test_check_mode_says_what_would_happen_to_whom(old: Pair, driver: str) -> None:
    for account, name in (("mine", "Ann"), ("his", "Bob")):
        email = f"{name.lower()}@example.com"
        old.openwebui.run("INSERT INTO auth (id, email, password, active) VALUES (%s, %s, 'x', true)", [account, email])
        old.openwebui.run(
            'INSERT INTO "user" (id, name, email, role, profile_image_url, created_at, updated_at, last_active_at)'
            " VALUES (%s, %s, %s, 'user', '', 1, 1, 1)",
            [account, name, email],
        )
    expected = migrate(old, check=True, diff=True, driver=driver, env=READ_ONLY)
    assert expected["changed"] is True and accounts(old) == []
    assert old.openwebui_admin.value("SELECT count(*) FROM user_bridge.entity") == 0
    assert old.litellm_admin.value("SELECT count(*) FROM user_bridge.sync_audit") == 0
    assert by_user(expected, "result", "action") == {
        # LiteLLM has no name for u1, so that the account keeps its own.
        "u1": ("SUCCESS", "link"),
        "u2": ("SUCCESS", "update"),
        "u3": ("SKIPPED", "none"),
        "u4": ("SUCCESS", "create"),
        "u5": ("SUCCESS", "create"),
    }
    assert 'user u2 name: "Bob"\n' in expected["diff"]["before"]
    assert 'user u2 name: "Blue-Bob"\n' in expected["diff"]["after"]
    assert "user u1 name: " not in expected["diff"]["before"]
    assert "organization o1 exists: true\n" in expected["diff"]["after"]
    done = migrate(old, driver=driver)
    assert by_user(done) == by_user(expected)
    assert migrate(old, check=True, driver=driver, env=READ_ONLY)["changed"] is False


# What is chosen, its users and its groups.
FILTERS: list[tuple[dict[str, Any], set[str], dict[str, int]]] = [
    ({"organizations": ["o1"]}, {"u1", "u2", "u3"}, {"organization": 1, "team": 1}),
    ({"organizations": ["Acme"]}, {"u1", "u2", "u3"}, {"organization": 1, "team": 1}),
    ({"teams": ["Blue"]}, {"u2", "u3"}, {"team": 1}),
    ({"teams": ["t1"], "organizations": ["o2"]}, {"u2", "u3", "u4"}, {"organization": 1, "team": 1}),
    ({"email_pattern": "*@EXAMPLE.com"}, {"u1", "u2"}, {"organization": 1, "team": 1}),
    ({"email_pattern": "under_score@*"}, {"u4"}, {"organization": 1}),
    ({"email_pattern": "under?score@*"}, {"u4", "u5"}, {"organization": 1}),
    ({"email_pattern": "ann*", "teams": ["t1"]}, set(), {}),
    ({"email_pattern": "ann*", "organizations": ["o1"]}, {"u1"}, {"organization": 1}),
]


def chooses(done: Mapping[str, Any], users: set[str], groups: Mapping[str, int]) -> None:
    assert set(by_user(done)) == users
    assert {kind: sum(done["by_type"].get(kind, {}).values()) for kind in groups} == groups
    assert {kind for kind in done["by_type"] if kind in ("organization", "team")} == set(groups)


def test_what_each_filter_chooses(old: Pair) -> None:
    """In check mode, in which all of them meet the same rows."""
    for scope, users, groups in FILTERS:
        chooses(migrate(old, check=True, **scope), users, groups)


# On every push, those that choose by both kinds.
@pytest.mark.parametrize(
    ("scope", "users", "groups"),
    [pytest.param(*each, marks=[] if len(each[0]) > 1 and each[1] else pytest.mark.weekly) for each in FILTERS],
)
def test_filters(old: Pair, scope: dict[str, Any], users: set[str], groups: dict[str, int]) -> None:
    chooses(migrate(old, **scope), users, groups)
    assert accounts(old) == sorted(f"usr_{user}" for user in users - {"u3"})
    assert migrate(old, env=READ_ONLY, **scope)["changed"] is False
    assert migrate(old)["counts"]["already_synced"] == 4


def test_return_users(old: Pair) -> None:
    assert migrate(old, check=True, return_users="none")["users"] == []
    assert by_user(migrate(old, check=True, return_users="problems")) == {"u3": "SKIPPED"}


def test_it_can_be_gone_on_with_at_any_point(old: Pair) -> None:
    """Chunks of one batch of one entity, a user who comes meanwhile and one who goes."""
    resume, calls, users = None, 0, {}
    while True:
        one = migrate(old, batch_size=1, chunk_seconds=0, resume_from=resume)
        users.update(by_user(one))
        calls += 1
        if one["next"] is None:
            break
        resume = one["next"]
        if calls == 1:
            delete_user(old.litellm, "u5")
            add_user(old.litellm, "u6", "six@example.com")
    assert accounts(old) == ["usr_u1", "usr_u2", "usr_u4", "usr_u6"]
    assert old.litellm_admin.rows("SELECT * FROM user_bridge.reconcile()") == []
    assert migrate(old, env=READ_ONLY)["changed"] is False


def crowd_with_shared_emails(pair: Pair) -> None:
    """80 users in 8 teams of 2 organizations, each email twice, both of a pair far from each other in the order."""
    for organization in ("o1", "o2"):
        add_organization(pair.litellm, organization, organization)
    for team in range(8):
        members = [{"user_id": f"u{number:02}", "role": "user"} for number in range(80) if number % 8 == team]
        add_team(pair.litellm, f"t{team}", f"T{team}", organization_id=f"o{1 + team % 2}", members_with_roles=members)
    pair.litellm.run(
        """INSERT INTO "LiteLLM_UserTable" (user_id, user_email, user_alias, teams)
           SELECT 'u' || to_char(n, 'FM00'), 'person' || n % 40 || '@example.com', 'U' || n, ARRAY['t' || n % 8]
             FROM generate_series(0, 79) AS n"""
    )
    pair.litellm.run(
        """INSERT INTO "LiteLLM_OrganizationMembership" (user_id, organization_id)
           SELECT 'u' || to_char(n, 'FM00'), 'o' || 1 + n % 2 FROM generate_series(0, 79) AS n"""
    )


@EVERY_SCHEMA
def test_side_by_side_it_is_the_same(pair: Pair) -> None:
    bridge_afterwards(pair, crowd_with_shared_emails)
    done = migrate(pair, parallel=4, batch_size=7)
    assert done["by_type"] == {
        "organization": {"SUCCESS": 2},
        "organization_member": {"SUCCESS": 80},
        "team": {"SUCCESS": 8},
        "team_member": {"SUCCESS": 80},
        "user": {"SKIPPED": 40, "SUCCESS": 40},
    }
    assert done["progress"] == {"done": 250, "total": 250, "users_done": 80, "users_total": 80}
    assert by_user(done) == {f"u{n:02}": "SUCCESS" if n < 40 else "SKIPPED" for n in range(80)}
    assert pair.litellm_admin.rows("SELECT * FROM user_bridge.reconcile()") == []
    assert pair.litellm_admin.value("SELECT count(*) FROM user_bridge.sync_queue") == 0
    notes = "SELECT count(*) FROM user_bridge.sync_audit WHERE operation IN ('MIGRATE_START', 'MIGRATE_COMPLETE')"
    assert pair.litellm_admin.value(notes) == 2
    again = without_a_write(pair.openwebui_admin, lambda: migrate(pair, parallel=4, batch_size=7, env=READ_ONLY))
    assert again["changed"] is False and again["by_type"]["team_member"] == {"UNCHANGED": 80}


@pytest.mark.parametrize("parallel", [1, 2])
def test_so_many_batches_run_at_a_time(pair: Pair, parallel: int) -> None:
    """Each delivery stays until it meets another one, or for a moment where there should be none."""
    crowd = bridge_afterwards(pair, lambda pair: many(pair, 60), target_timeout_ms=60_000)
    steps = 10 if parallel == 1 else 1000
    crowd.openwebui_admin.run(
        "CREATE TABLE public.at_work (together integer);"
        "CREATE FUNCTION public.meet() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN "
        "PERFORM pg_advisory_xact_lock_shared(42);"
        f"FOR i IN 1..{steps} LOOP"
        " INSERT INTO public.at_work SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 42;"
        " EXIT WHEN (SELECT max(together) FROM public.at_work) > 1;"
        " PERFORM pg_sleep(0.05); END LOOP; RETURN NULL; END $$;"
        'CREATE TRIGGER meet AFTER INSERT ON public."user" FOR EACH STATEMENT EXECUTE FUNCTION public.meet()'
    )
    assert migrate(crowd, parallel=parallel, batch_size=30)["by_type"]["user"] == {"SUCCESS": 60}
    assert crowd.openwebui_admin.value("SELECT max(together) FROM public.at_work") == parallel


def test_an_interrupted_run_is_gone_on_with_from_the_start(old: Pair) -> None:
    old.litellm_admin.run(
        "CREATE FUNCTION public.die() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN "
        "PERFORM pg_terminate_backend(pg_backend_pid()) WHERE (SELECT count(*) FROM user_bridge.sync_mapping) > 4; "
        "RETURN NULL; END $$;"
        "CREATE TRIGGER die AFTER INSERT ON user_bridge.sync_audit EXECUTE FUNCTION public.die()"
    )
    with pytest.raises(ModuleFailed, match="terminating connection|no answer from the server"):
        migrate(old, batch_size=1)
    old.litellm_admin.run("DROP FUNCTION public.die() CASCADE")
    assert 0 < len(accounts(old)) < 4
    rest = migrate(old, parallel=1)
    assert rest["by_type"]["organization"] == {"UNCHANGED": 2} and 0 < rest["by_type"]["user"]["SUCCESS"] < 4
    assert len(accounts(old)) == 4 and old.litellm_admin.rows("SELECT * FROM user_bridge.reconcile()") == []


def test_one_that_fails_holds_up_nobody(old: Pair) -> None:
    old.openwebui_admin.run(
        "ALTER TABLE public.\"user\" ADD CONSTRAINT no_ann CHECK (email <> 'ann@example.com') NOT VALID"
    )
    for attempt in range(2):
        done = migrate(old, diff=True)
        assert by_user(done)["u1"] == "FAILED" and "no_ann" in by_user(done, "reason")["u1"]
        assert done["changed"] is (attempt == 0) and done["counts"]["in_openwebui"] == 3
    old.openwebui_admin.run('ALTER TABLE public."user" DROP CONSTRAINT no_ann')
    done = migrate(old)
    assert done["changed"] is True and by_user(done) == {"u1": "SUCCESS", "u3": "SKIPPED"}


def test_what_open_webui_refuses_is_no_change_the_second_time(pair: Pair) -> None:
    """An admin's account is not linked to somebody who is none."""
    bridge_afterwards(pair, lambda pair: add_user(pair.litellm, "u1", pair.admin.email))
    first = migrate(pair)
    result, reason = by_user(first, "result", "reason")["u1"]
    assert result == "SKIPPED" and "is an admin, and the user is none in LiteLLM" in reason
    second = migrate(pair, env=READ_ONLY)
    assert second["changed"] is False and by_user(second) == {"u1": "SKIPPED"}


def test_an_account_that_may_not_be_adopted(pair: Pair) -> None:
    bridge_afterwards(pair, lambda pair: add_user(pair.litellm, "u1", pair.admin.email), adopt_existing=False)
    assert by_user(migrate(pair, check=True)) == by_user(migrate(pair)) == {"u1": "SKIPPED"}
    again = migrate(pair, env=READ_ONLY)
    assert again["changed"] is False and by_user(again) == {"u1": "SKIPPED"}
    assert "bridge_adopt_existing is false" in by_user(again, "reason")["u1"]


def test_open_webui_away(old: Pair) -> None:
    old.litellm_admin.run("ALTER SERVER user_bridge_target OPTIONS (SET port '1')")
    with pytest.raises(ModuleFailed, match="does not answer: .*bridge_target_host.*run again to go on"):
        migrate(old)
    old.litellm_admin.run(f"ALTER SERVER user_bridge_target OPTIONS (SET port '{old.cluster.port}')")
    assert len(by_user(migrate(old))) == 5


def test_two_migrations_at_once(old: Pair) -> None:
    other = old.connect("litellm", "postgres")
    other.run("SELECT pg_advisory_lock(user_bridge.lock_key('migration'))")
    with pytest.raises(ModuleFailed, match=rf"another migration runs in database .*process {other.pid}.*wait_seconds"):
        migrate(old, wait_seconds=0)
    assert accounts(old) == []
    assert migrate(old, check=True, wait_seconds=0)["changed"] is True
    login = {**login_options(old, "litellm"), "wait_seconds": 60}
    arguments = json.dumps({"ANSIBLE_MODULE_ARGS": login})
    command = [sys.executable, str(REPO / "plugins" / "modules" / "bridge_migration.py"), arguments]
    environment = {**os.environ, "PYTHONPATH": str(REPO / ".collections")}
    waiting = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _each in range(2)
    ]
    other.close()
    results = [json.loads(process.communicate(timeout=60)[0]) for process in waiting]
    assert sorted(result["changed"] for result in results) == [False, True]
    assert old.litellm_admin.value("SELECT count(*) FROM user_bridge.sync_audit WHERE operation = 'SYNC_USER'") == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"organizations": ["o1", "o9"]}, "organizations: LiteLLM has none with this id or alias: o9"),
        ({"teams": ["t9"]}, "teams: LiteLLM has none with this id or alias: t9"),
        ({"organizations": []}, "organizations is empty, so nothing would be migrated"),
        ({"email_pattern": ""}, "email_pattern is empty"),
        ({"batch_size": 0}, "batch_size must be between 1 and 2000"),
        ({"parallel": 0}, "parallel must be between 1 and 16"),
        ({"chunk_seconds": -1}, "chunk_seconds must not be negative"),
        ({"wait_seconds": -1}, "wait_seconds must not be negative"),
        ({"resume_from": "nonsense"}, "resume_from is not what a run has returned"),
        ({"owner": "nobody"}, "cannot act as nobody"),
        ({"user": SYNC_USER}, f"login_user {SYNC_USER} cannot act as"),
        ({"login_port": 1}, "cannot connect to"),
    ],
)
def test_bad_input_and_missing_rights(old: Pair, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ModuleFailed, match=message):
        migrate(old, **options)
    assert accounts(old) == []


def test_a_role_that_may_not_have_so_many_connections(old: Pair) -> None:
    """One for the run itself, and one for each batch at a time."""
    login: dict[str, Any] = {"login_user": "mover", "login_password": "mover's"}
    old.litellm_admin.run(f"CREATE ROLE mover LOGIN PASSWORD 'mover''s' CONNECTION LIMIT 2 IN ROLE \"{OWNER_ROLE}\"")
    try:
        with pytest.raises(ModuleFailed, match="too many connections.*connection limit of the role login_user"):
            migrate(old, parallel=2, **login)
        assert accounts(old) == []
        assert migrate(old, parallel=1, **login)["changed"]
    finally:
        old.litellm_admin.run("DROP ROLE mover")


def test_a_paused_bridge_is_said(old: Pair) -> None:
    old.litellm_admin.run("SELECT user_bridge.pause()")
    with pytest.raises(ModuleFailed, match="is paused, so nothing would be migrated.*resume_bridge"):
        migrate(old)


def test_without_a_bridge_and_with_an_older_one(pair: Pair) -> None:
    with pytest.raises(ModuleFailed, match="the bridge is not installed in database"):
        migrate(pair)
    populate(pair)
    install_bridge(pair, SETTINGS)
    pair.litellm_admin.run("DROP FUNCTION user_bridge.migrate_entities(text[], text[])")
    with pytest.raises(ModuleFailed, match="of another version than this collection, or damaged.*deploy_bridge"):
        migrate(pair)


def test_the_old_function_queues_everything(old: Pair) -> None:
    session = old.connect("litellm", SUPERUSER, autocommit=False)
    rows = session.rows("SELECT user_id, sync_status FROM user_bridge.migrate_existing_users() ORDER BY 1")
    assert {row["user_id"]: row["sync_status"] for row in rows} == {f"u{number}": "QUEUED" for number in range(1, 6)}
    # None of an entity: only that of the catalogue of models.
    assert session.value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()") == 1
    session.commit()
    drain_on(old, 500, due_only=True)
    assert len(openwebui.accounts(old)) == 4


def many(pair: Pair, count: int) -> None:
    pair.litellm.run(
        'INSERT INTO "LiteLLM_UserTable" (user_id, user_email) '
        "SELECT 'many' || i, 'many' || i || '@example.com' FROM generate_series(1, %s) AS i",
        [count],
    )


def play(pair: Pair, **options: Any) -> list[dict[str, Any]]:
    login = {**login_options(pair, "litellm"), "chunk_seconds": 0, "batch_size": 20, **options}
    return [
        {"llmops.user_bridge.bridge_migration": login, "register": "migrated"},
        {
            "ansible.builtin.assert": {
                "that": [
                    "migrated.users | length == expected",
                    "migrated.by_type.user.SUCCESS == expected",
                    "migrated.next is none",
                    "migrated.counts.already_synced == expected",
                ]
            },
            "vars": {"expected": 60},
            "when": "not ansible_check_mode and migrated is changed",
        },
    ]


@pytest.fixture
def crowd(pair: Pair) -> Pair:
    """60 users, who come in three chunks: enough for progress to show."""
    return bridge_afterwards(pair, lambda pair: many(pair, 60))


def test_progress_and_one_result_of_all_chunks(crowd: Pair, tmp_path: Path) -> None:
    done = run_playbook(play(crowd, progress="always"), tmp_path, "--diff")
    assert done.returncode == 0 and "changed=1" in done.stdout, done.stdout + done.stderr
    lines = [line for line in done.stdout.splitlines() if " users, " in line]
    assert lines and all(line.startswith("localhost: ") for line in lines)
    assert " of 60 users, " in lines[0] and "/s, " in lines[0] and lines[0].endswith(" left")
    assert "+user: 60 delivered" in done.stdout
    again = run_playbook(play(crowd), tmp_path, env=READ_ONLY)
    assert again.returncode == 0 and "changed=0" in again.stdout, again.stdout
    # Nobody watches, but a log shows soon that it goes on; the next line comes half a minute later.
    assert again.stdout.count(" of 60 users, ") == 1


@pytest.mark.parametrize(
    ("options", "env"),
    [
        ({"progress": "never"}, {}),
        ({}, {"ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"}),
    ],
)
def test_no_progress_where_nobody_wants_it(
    crowd: Pair, tmp_path: Path, options: dict[str, Any], env: dict[str, str]
) -> None:
    done = run_playbook(play(crowd, **options), tmp_path, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " users, " not in done.stdout + done.stderr
    if env:
        assert json.loads(done.stdout)["stats"]["localhost"]["changed"] == 1


def test_progress_on_a_terminal(crowd: Pair, tmp_path: Path) -> None:
    playbook = tmp_path / "play.yml"
    variables = {"ansible_python_interpreter": sys.executable}
    document = {"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": variables}
    playbook.write_text(yaml.safe_dump([{**document, "tasks": play(crowd)}]), encoding="utf-8")
    shown: list[bytes] = []

    def read(descriptor: int) -> bytes:
        shown.append(os.read(descriptor, 4096))
        return shown[-1]

    environment = {
        "ANSIBLE_COLLECTIONS_PATH": str(REPO / ".collections"),
        "ANSIBLE_HOME": str(tmp_path / "ansible"),
        "ANSIBLE_CONFIG": str(tmp_path / "none.cfg"),
        "ANSIBLE_NOCOLOR": "1",
    }
    program = str(Path(sys.executable).parent / "ansible-playbook")
    words = [f"{name}={value}" for name, value in environment.items()]
    assert pty.spawn(["env", *words, program, "-i", "localhost,", str(playbook)], read) == 0
    text = b"".join(shown).decode()
    assert " of 60 users, " in text and "changed=1" in text, text


def test_what_the_chunks_before_a_failure_did_is_kept(crowd: Pair, tmp_path: Path) -> None:
    """Open WebUI's server goes away in the middle."""
    crowd.openwebui_admin.run(
        "CREATE FUNCTION public.die() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN "
        'PERFORM pg_terminate_backend(pg_backend_pid()) WHERE (SELECT count(*) FROM public."user") > 40; '
        "RETURN NULL; END $$;"
        'CREATE TRIGGER die AFTER INSERT ON public."user" EXECUTE FUNCTION public.die()'
    )
    tasks: list[dict[str, Any]] = [
        {**play(crowd)[0], "failed_when": "'does not answer' not in migrated.msg"},
        {
            "ansible.builtin.assert": {
                "that": [
                    "migrated.changed",
                    "0 < migrated.users | length < 60",
                    "migrated.by_type.user.SUCCESS == migrated.users | length",
                    "'run again to go on' in migrated.msg",
                ]
            }
        },
    ]
    done = run_playbook(tasks, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_user_who_is_in_sync_but_changed_by_hand_is_put_right(old: Pair) -> None:
    migrate(old)
    old.openwebui.run("UPDATE \"user\" SET name = 'Mallory' WHERE id = 'usr_u1'")
    change_user(old.litellm, "u3", user_email="late@example.com")
    found = migrate(old, check=True, env=READ_ONLY)
    assert by_user(found, "result", "action") == {"u1": ("SUCCESS", "update")}
    assert by_user(migrate(old)) == {"u1": "SUCCESS"}
    assert old.openwebui.value("SELECT name FROM \"user\" WHERE id = 'usr_u1'") == "ann"


def test_async_is_refused_in_words(crowd: Pair, tmp_path: Path) -> None:
    """It would hide the progress, and a run that takes long needs it no more than a short one: each call is short."""
    done = run_playbook([{**play(crowd)[0], "async": 600, "poll": 5}], tmp_path)
    assert done.returncode == 2 and "does not support async" in done.stdout + done.stderr
    assert accounts(crowd) == []
