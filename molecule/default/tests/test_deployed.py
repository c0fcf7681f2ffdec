# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a full deployment leaves on machines that were bare before, one of each distribution."""

from __future__ import annotations

import contextlib
import json
import os
import time

import pytest
import testinfra
from testinfra.host import Host

from kit.hosts import PASSWORDS, Database, Refused

testinfra_hosts = ["docker://user-bridge-default", "docker://user-bridge-other"]
# What each distribution's package `postgresql` stands for.
OFFERED = {("debian", "12"): "15", ("debian", "13"): "17"}


def cluster(host: Host) -> str:
    """The cluster's major version, from its folder: there must be exactly one."""
    (version,) = host.file("/etc/postgresql").listdir()
    assert host.file(f"/etc/postgresql/{version}").listdir() == ["main"]
    return str(version)


# ---- the server ----------------------------------------------------------------------------------------------


def test_it_is_the_distributions_own_version(host: Host, litellm: Database) -> None:
    system = host.system_info
    if "USER_BRIDGE_MOLECULE_IMAGE" not in os.environ:
        assert cluster(host) == OFFERED[system.distribution, system.release.split(".")[0]]
    assert str(litellm.value("SELECT current_setting('server_version')")).startswith(cluster(host))


def test_the_hosts_are_of_different_distributions() -> None:
    releases = {testinfra.get_host(name).system_info.release.split(".")[0] for name in testinfra_hosts}
    assert len(releases) == 2 or "USER_BRIDGE_MOLECULE_IMAGE" in os.environ


def test_postgresql_runs_and_comes_back_after_a_reboot(host: Host) -> None:
    service = host.service(f"postgresql@{cluster(host)}-main")
    assert service.is_running
    assert host.service("postgresql").is_enabled
    assert host.check_output("systemctl list-units --failed --plain --no-legend '*postgres*' '*bridge*'") == ""


def test_nobody_outside_can_reach_the_server(host: Host) -> None:
    assert host.socket("unix:///var/run/postgresql/.s.PGSQL.5432").is_listening
    listening = host.check_output("ss -Hltn 'sport = :5432' | awk '{print $4}'").split()
    assert sorted(listening) in (["127.0.0.1:5432"], ["127.0.0.1:5432", "[::1]:5432"])


def test_logins_are_few_and_scram(host: Host, litellm: Database) -> None:
    rules = litellm.rows("SELECT type, database, user_name, address, auth_method, error FROM pg_hba_file_rules")
    assert [rule for rule in rules if rule["error"]] == []
    assert {rule["auth_method"] for rule in rules} == {"peer", "scram-sha-256"}
    over_tcp = [(rule["database"], rule["user_name"], rule["address"]) for rule in rules if rule["type"] != "local"]
    loopback = ("127.0.0.1", "::1")
    assert sorted(over_tcp) == sorted(
        ([database], [role], address)
        for role, database in (("litellm", "litellm"), ("openwebui", "openwebui"), ("sync_user", "openwebui"))
        for address in loopback
    )
    file = host.file(f"/etc/postgresql/{cluster(host)}/main/pg_hba.conf")
    assert (file.user, file.group, file.mode) == ("postgres", "postgres", 0o640)


def test_passwords_are_scram_verifiers(litellm: Database) -> None:
    found = litellm.rows("SELECT rolname, left(rolpassword, 14) AS kind FROM pg_authid WHERE rolpassword IS NOT NULL")
    assert {row["rolname"]: row["kind"] for row in found} == dict.fromkeys(PASSWORDS, "SCRAM-SHA-256$")
    for role in PASSWORDS:
        assert Database(litellm.host, "litellm" if role == "litellm" else "openwebui", role).value("SELECT 1") == 1


def test_every_program_sees_its_own_database_only(litellm: Database, openwebui: Database) -> None:
    for database, stranger in ((litellm, "openwebui"), (litellm, "sync_user"), (openwebui, "litellm")):
        with pytest.raises(Exception, match=r"no pg_hba.conf entry|permission denied for database"):
            database.as_role(stranger).value("SELECT 1")


# ---- roles and rights ----------------------------------------------------------------------------------------


def test_the_roles_have_no_attribute_that_they_do_not_need(litellm: Database) -> None:
    attributes = "rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls"
    roles = litellm.rows(
        f"SELECT rolname, rolcanlogin, {attributes} AS powerful FROM pg_roles"
        " WHERE rolname NOT LIKE 'pg\\_%' AND rolname <> 'postgres'"
    )
    assert {(role["rolname"], role["rolcanlogin"], role["powerful"]) for role in roles} == {
        ("litellm", True, False),
        ("openwebui", True, False),
        ("sync_user", True, False),
        # The drainer and the timer log in as the operating system users of their names.
        ("user_bridge_monitor", True, False),
        ("user_bridge_timer", True, False),
        ("user_bridge_owner", False, False),
        ("user_bridge_reader", False, False),
        ("user_bridge_writer", False, False),
    }
    memberships = litellm.rows(
        "SELECT member::regrole::text AS who FROM pg_auth_members WHERE member::regrole::text NOT LIKE 'pg\\_%'"
    )
    assert memberships == []


@pytest.mark.parametrize(
    "statement",
    [
        'SELECT * FROM "user"',
        "SELECT password FROM auth",
        'UPDATE "user" SET role = $$admin$$',
        'DELETE FROM "group"',
        "TRUNCATE auth",
        "CREATE TABLE public.mine ()",
        "CREATE SCHEMA mine",
        "SELECT * FROM user_bridge.entity",
        "CREATE TABLE user_bridge.mine ()",
        "SET ROLE user_bridge_owner",
        "SET ROLE openwebui",
        "SELECT rolpassword FROM pg_authid",
        "SELECT pg_read_file('/etc/passwd')",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "ALTER ROLE openwebui PASSWORD 'mine'",
    ],
)
def test_what_the_sync_user_cannot_do(openwebui: Database, statement: str) -> None:
    assert openwebui.as_role("sync_user").refuses(statement)


def test_the_sync_user_can_execute_one_function(openwebui: Database) -> None:
    functions = openwebui.rows(
        "SELECT proname FROM pg_proc WHERE pronamespace = 'user_bridge'::regnamespace"
        " AND has_function_privilege('sync_user', oid, 'EXECUTE')"
    )
    assert functions == [{"proname": "apply"}]


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM user_bridge.sync_queue",
        "SELECT user_bridge.drain(1)",
        "SELECT user_bridge.pause()",
        "ALTER SERVER user_bridge_target OPTIONS (SET host 'evil')",
        "DROP TABLE user_bridge.sync_audit",
        "SET ROLE user_bridge_owner",
    ],
)
def test_what_litellms_role_cannot_do(litellm: Database, statement: str) -> None:
    assert litellm.as_role("litellm").refuses(statement)


def test_litellm_cannot_see_the_sync_users_password(litellm: Database) -> None:
    seen = litellm.as_role("litellm").rows(
        "SELECT umoptions::text AS found FROM pg_user_mappings UNION ALL SELECT srvoptions::text FROM pg_foreign_server"
        " UNION ALL SELECT prosrc FROM pg_proc WHERE pronamespace = 'user_bridge'::regnamespace"
    )
    assert len(seen) > 2
    assert PASSWORDS["sync_user"] not in str(seen)


# ---- triggers and rows ---------------------------------------------------------------------------------------


def test_every_trigger_is_there_and_on(litellm: Database) -> None:
    triggers = litellm.rows(
        "SELECT tgrelid::regclass::text AS tab, tgenabled FROM pg_trigger WHERE NOT tgisinternal"
        " AND tgfoid IN (SELECT oid FROM pg_proc WHERE pronamespace = 'user_bridge'::regnamespace)"
    )
    assert {trigger["tgenabled"] for trigger in triggers} <= {"O", "A"}
    assert {trigger["tab"].strip('"') for trigger in triggers} >= {
        "LiteLLM_OrganizationTable",
        "LiteLLM_OrganizationMembership",
        "LiteLLM_TeamTable",
        "LiteLLM_UserTable",
        "LiteLLM_VerificationToken",
        "LiteLLM_TeamMembership",
        "LiteLLM_BudgetTable",
        "LiteLLM_ModelTable",
        "LiteLLM_ProxyModelTable",
        "LiteLLM_Config",
        "LiteLLM_AccessGroupTable",
        "LiteLLM_ProjectTable",
        "user_bridge.sync_queue",
    }


NEW_ORGANIZATION = """
INSERT INTO "LiteLLM_BudgetTable" (budget_id, created_by, updated_by) VALUES ('{id}', 'test', 'test');
INSERT INTO "LiteLLM_OrganizationTable" (organization_id, organization_alias, budget_id, created_by, updated_by)
VALUES ('{id}', '{alias}', '{id}', 'test', 'test')
"""


def members(*user_ids: str) -> str:
    return json.dumps([{"role": "user", "user_id": user_id, "user_email": None} for user_id in user_ids])


def test_a_write_of_litellms_is_there_at_its_commit(litellm: Database, openwebui: Database) -> None:
    proxy = litellm.as_role("litellm")
    proxy.run(
        NEW_ORGANIZATION.format(id="o1", alias="Research") + ";" + NEW_ORGANIZATION.format(id="o2", alias="Sales")
    )
    proxy.run(
        'INSERT INTO "LiteLLM_UserTable" (user_id, user_alias, user_email, user_role) VALUES'
        " ('ann', 'Ann', 'Ann@Example.com', 'proxy_admin'), ('bob', 'Bob', 'bob@example.com', 'internal_user')"
    )
    proxy.run(
        "INSERT INTO \"LiteLLM_OrganizationMembership\" (user_id, organization_id) VALUES ('ann', 'o1'), ('bob', 'o2')"
    )
    proxy.run(
        'INSERT INTO "LiteLLM_TeamTable" (team_id, team_alias, members_with_roles)'
        f" VALUES ('t1', 'Crew', '{members('bob')}')"
    )
    people = "SELECT id, email, role FROM \"user\" WHERE id IN ('usr_ann', 'usr_bob') ORDER BY id"
    assert openwebui.rows(people) == [
        {"id": "usr_ann", "email": "ann@example.com", "role": "admin"},
        {"id": "usr_bob", "email": "bob@example.com", "role": "user"},
    ]
    # Whoever is in no team is in a group for models, too, as soon as the drainer has been there.
    memberships = (
        "SELECT group_id, user_id FROM group_member WHERE group_id NOT LIKE 'grp_models_%' ORDER BY group_id, user_id"
    )
    assert openwebui.rows(memberships) == [
        {"group_id": "grp_o1", "user_id": "usr_ann"},
        {"group_id": "grp_o2", "user_id": "usr_bob"},
        {"group_id": "grp_team_t1", "user_id": "usr_bob"},
    ]
    names = "SELECT string_agg(name, ' ' ORDER BY name) FROM \"group\" WHERE id NOT LIKE 'grp_models_%'"
    assert openwebui.value(names) == "Crew Research Sales"
    assert proxy.refuses("SELECT user_bridge.drain(1)")


def test_a_synced_user_can_sign_in(openwebui: Database) -> None:
    """The sign-in row's hash is that of the email; an admin's is none that any password fits."""
    assert comes_true(openwebui, "SELECT password <> '' FROM auth WHERE id = 'usr_bob'", 5)
    schema = openwebui.value("SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'pgcrypto'")
    found = openwebui.rows("SELECT id, active, left(password, 4) AS kind FROM auth WHERE id LIKE 'usr\\_%' ORDER BY id")
    assert [(row["id"], row["active"]) for row in found] == [("usr_ann", True), ("usr_bob", True)]
    assert [row["kind"] in ("$2a$", "$2b$") for row in found] == [False, True]
    assert openwebui.value(f"SELECT {schema}.crypt(email, password) = password FROM auth WHERE id = 'usr_bob'") is True


def test_changes_and_deletions_follow(litellm: Database, openwebui: Database) -> None:
    proxy = litellm.as_role("litellm")
    proxy.run("UPDATE \"LiteLLM_OrganizationTable\" SET organization_alias = 'Labs' WHERE organization_id = 'o1'")
    proxy.run("UPDATE \"LiteLLM_UserTable\" SET user_role = 'internal_user' WHERE user_id = 'ann'")
    proxy.run(
        "DELETE FROM \"LiteLLM_OrganizationMembership\" WHERE user_id = 'bob';"
        " DELETE FROM \"LiteLLM_UserTable\" WHERE user_id = 'bob'"
    )
    assert openwebui.value("SELECT name FROM \"group\" WHERE id = 'grp_o1'") == "Labs"
    assert openwebui.value("SELECT role FROM \"user\" WHERE id = 'usr_ann'") == "user"
    for table, column in (('"user"', "id"), ("auth", "id"), ("group_member", "user_id")):
        assert openwebui.value(f"SELECT count(*) FROM {table} WHERE {column} = 'usr_bob'") == 0, table


def test_what_is_rolled_back_never_arrives(litellm: Database, openwebui: Database) -> None:
    add = "INSERT INTO \"LiteLLM_UserTable\" (user_id, user_email) VALUES ('ghost', 'ghost@example.com')"
    litellm.as_role("litellm").run(f"BEGIN; {add}; ROLLBACK")
    assert openwebui.value("SELECT count(*) FROM \"user\" WHERE email = 'ghost@example.com'") == 0


def test_the_bridge_finds_itself_healthy(litellm: Database) -> None:
    # The rights on models of somebody new follow with the drainer's next batch.
    assert comes_true(litellm, "SELECT count(*) = 0 FROM user_bridge.sync_queue", 10)
    assert litellm.value("SELECT count(*) FROM user_bridge.sync_audit WHERE sync_result = 'FAILED'") == 0
    assert litellm.value("SELECT user_bridge.version()") == "1.0.0"


# ---- the drainer ---------------------------------------------------------------------------------------------

UNIT = "user-bridge-litellm.service"
SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'user_bridge_timer'"


def comes_true(database: Database, query: str, seconds: float) -> bool:
    """Whether a query says yes within some seconds; the server may be away meanwhile."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(Refused):
            if database.value(query):
                return True
        time.sleep(0.2)
    return False


def lives(litellm: Database, seconds: float = 40) -> bool:
    return comes_true(litellm, "SELECT user_bridge.drainer_lives()", seconds)


def test_the_drainer_runs_and_comes_back_after_a_reboot(host: Host, litellm: Database) -> None:
    service = host.service(UNIT)
    assert service.is_running and service.is_enabled
    assert lives(litellm)
    path = host.check_output(f"systemctl show --property=FragmentPath --value {UNIT}")
    assert (host.file(path).user, host.file(path).mode) == ("root", 0o644)
    assert host.run(f"systemd-analyze verify {UNIT}").stderr == ""


def test_nothing_is_left_of_an_earlier_versions_timer(host: Host) -> None:
    """prepare.yml has made one."""
    for kind in ("list-unit-files", "list-units --all"):
        found = host.run(f"systemctl {kind} --plain --no-legend '*bridge*.timer'").stdout.split("\n")
        assert [line.split()[0] for line in found if line] == ["user-bridge-litellm-metrics.timer"]
    left = host.check_output("find /etc/systemd /etc/user-bridge -name '*bridge*.timer' -o -name '*.sql'")
    assert [path for path in left.split() if "-metrics." not in path] == []


def test_the_drainer_does_not_run_as_root(host: Host, litellm: Database) -> None:
    assert host.check_output(f"systemctl show --property=User --value {UNIT}") == "user_bridge_timer"
    assert litellm.value(SESSIONS) == 1


def test_the_drainer_delivers_what_waits(litellm: Database, openwebui: Database) -> None:
    litellm.run("UPDATE user_bridge.settings SET delivery = 'queued'")
    litellm.as_role("litellm").run(
        "INSERT INTO \"LiteLLM_UserTable\" (user_id, user_email) VALUES ('later', 'later@example.com')"
    )
    litellm.run("UPDATE user_bridge.settings SET delivery = 'commit'")
    assert comes_true(openwebui, "SELECT count(*) = 1 FROM \"user\" WHERE id = 'usr_later'", 25)


def test_stopping_it_ends_its_work_at_once(host: Host, litellm: Database) -> None:
    started = time.monotonic()
    host.check_output(f"systemctl stop {UNIT}")
    try:
        # Else systemd would wait for a minute and a half.
        assert time.monotonic() - started < 30
        assert comes_true(litellm, f"SELECT ({SESSIONS}) = 0", 10)
        assert host.run(f"systemctl is-failed {UNIT}").stdout.strip() == "inactive"
    finally:
        host.check_output(f"systemctl start {UNIT}")
    assert lives(litellm)


def test_one_that_dies_is_replaced(host: Host, litellm: Database) -> None:
    """The server notices that psql is gone, so that the next one has not to wait for its predecessor."""
    session = litellm.value(SESSIONS.replace("count(*)", "max(pid)"))
    host.check_output(f"kill -KILL $(systemctl show --property=MainPID --value {UNIT})")
    replaced = f"SELECT ({SESSIONS}) = 1 AND ({SESSIONS} AND pid = {session}) = 0 AND user_bridge.drainer_lives()"
    assert comes_true(litellm, replaced, 40)
    assert host.service(UNIT).is_running


def test_it_survives_a_restart_of_the_server(host: Host, litellm: Database) -> None:
    host.check_output(f"systemctl restart postgresql@{cluster(host)}-main")
    assert lives(litellm)


# ---- monitoring ----------------------------------------------------------------------------------------------


def test_the_metrics_are_in_a_text_file(host: Host) -> None:
    timer = host.service("user-bridge-litellm-metrics.timer")
    assert timer.is_running and timer.is_enabled
    assert host.file("/srv").listdir() == ["user_bridge_litellm.prom"]
    written = host.file("/srv/user_bridge_litellm.prom")
    assert (written.user, written.mode) == ("root", 0o644)
    assert "\nuser_bridge_drainer_up{" in written.content_string
    # Written anew since, by the role that may read nothing else.
    user = host.check_output("systemctl show --property=User --value user-bridge-litellm-metrics")
    assert user == "user_bridge_monitor"
    age = int(host.check_output("date +%s")) - int(written.mtime.timestamp())
    assert -2 <= age < 60


# ---- secrets -------------------------------------------------------------------------------------------------


def test_no_password_is_left_on_the_host(host: Host) -> None:
    folders = "/etc /var/log /tmp /var/tmp /root /home /var/lib/postgresql/.ansible* /run"
    found = host.run(f"grep -rIl 'canary-of' {folders} 2>/dev/null")
    assert found.stdout.split() == []
    assert host.run("journalctl --no-pager | grep -c 'canary-of'").stdout.strip() == "0"
