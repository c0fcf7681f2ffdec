# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server in a container that the role made, with the play, the drainer and the programs outside of it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
import testinfra
from testinfra.host import Host

from kit.hosts import BRIEF, PASSWORDS, VARIABLES, Database, Logged, Refused, play, play_aliases

HOST = "user-bridge-container"
testinfra_hosts = [f"docker://{HOST}"]

ADDRESS, PORT = os.environ["USER_BRIDGE_GATEWAY"], VARIABLES["bridge_login_port"]
CONTAINER = testinfra.get_host("local://").docker(VARIABLES["bridge_postgres_container"])
UNIT = "user-bridge-litellm"
PASSFILE = "/etc/user-bridge/litellm.pgpass"


@pytest.fixture
def litellm(host: Host) -> Database:
    return Database(host, "litellm", server=ADDRESS, options=f"port={PORT}")


@pytest.fixture
def openwebui(host: Host) -> Database:
    return Database(host, "openwebui", server=ADDRESS, options=f"port={PORT}")


def container() -> dict[str, Any]:
    """What the engine says of it."""
    found: dict[str, Any] = CONTAINER.inspect()
    return found


def add(litellm: Database, user_id: str) -> None:
    litellm.as_role("litellm").run(
        f"INSERT INTO \"LiteLLM_UserTable\" (user_id, user_email) VALUES ('{user_id}', '{user_id}@example.com')"
    )


def users(openwebui: Database) -> list[str]:
    return [row["id"] for row in openwebui.rows("SELECT id FROM \"user\" WHERE id LIKE 'usr\\_%' ORDER BY id")]


# ---- the server ----------------------------------------------------------------------------------------------


def test_it_runs_is_healthy_and_comes_back_after_a_reboot() -> None:
    found = container()
    assert found["State"]["Running"] and found["State"]["Health"]["Status"] == "healthy"
    assert found["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"
    assert found["Config"]["Image"] == os.environ["USER_BRIDGE_POSTGRES_IMAGE"]
    assert found["Config"]["Healthcheck"]["Test"] == ["CMD", "pg_isready", "--quiet", "--host=127.0.0.1"]


def test_its_data_is_in_the_volume(litellm: Database) -> None:
    mounts = [(mount["Type"], mount["Name"], mount["Destination"]) for mount in container()["Mounts"]]
    assert ("volume", VARIABLES["bridge_postgres_volume"], "/var/lib/user_bridge") in mounts
    assert litellm.value("SELECT current_setting('data_directory')") == "/var/lib/user_bridge/data"


def test_it_is_published_on_one_address_only() -> None:
    ports = container()["NetworkSettings"]["Ports"]
    assert ports == {"5432/tcp": [{"HostIp": ADDRESS, "HostPort": str(PORT)}]}


def test_in_its_network_it_is_known_by_name(host: Host) -> None:
    assert list(container()["NetworkSettings"]["Networks"]) == [VARIABLES["bridge_postgres_network"]]
    inside = testinfra.get_host(f"docker://{VARIABLES['bridge_postgres_container']}")
    assert Database(inside, "litellm", "litellm", VARIABLES["bridge_postgres_container"]).value("SELECT 1") == 1


def test_it_is_made_as_the_bridge_needs_it(litellm: Database, openwebui: Database) -> None:
    assert litellm.value("SELECT current_setting('max_connections')") == "140"
    assert litellm.value("SELECT current_setting('data_checksums')") == "on"
    for database in (litellm, openwebui):
        kind = "SELECT pg_encoding_to_char(encoding) || ' ' || datcollate FROM pg_database WHERE datname = "
        assert litellm.value(f"{kind}'{database.name}'") == "UTF8 C.UTF-8"


def test_every_login_takes_a_password(host: Host, litellm: Database) -> None:
    rules = litellm.rows("SELECT type, database, user_name, address, auth_method, error FROM pg_hba_file_rules")
    assert {(rule["auth_method"], rule["error"]) for rule in rules} == {("scram-sha-256", None)}
    assert {"type": "host", "database": ["all"], "user_name": ["all"], "address": "all"}.items() <= rules[-1].items()
    found = litellm.rows("SELECT rolname, left(rolpassword, 14) AS kind FROM pg_authid WHERE rolpassword IS NOT NULL")
    assert {row["rolname"]: row["kind"] for row in found} == dict.fromkeys(
        [*PASSWORDS, "postgres", "user_bridge_timer"], "SCRAM-SHA-256$"
    )
    with pytest.raises(Refused, match="no password supplied"):
        Database(host, "litellm", server=ADDRESS, options=f"port={PORT} password=''").value("SELECT 1")


# ---- rights and rows -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("database", "role", "statement"),
    [
        ("openwebui", "sync_user", "SELECT password FROM auth"),
        ("openwebui", "sync_user", "SELECT * FROM user_bridge.entity"),
        ("openwebui", "sync_user", "SET ROLE user_bridge_owner"),
        ("litellm", "sync_user", 'SELECT * FROM "LiteLLM_UserTable"'),
        ("litellm", "sync_user", "SELECT user_bridge.tick()"),
        ("litellm", "litellm", "DELETE FROM user_bridge.sync_queue"),
        ("litellm", "litellm", "SELECT user_bridge.tick()"),
        ("litellm", "user_bridge_timer", 'SELECT * FROM "LiteLLM_UserTable"'),
        ("litellm", "user_bridge_timer", "SELECT * FROM user_bridge.sync_audit"),
        ("litellm", "user_bridge_timer", "SET ROLE user_bridge_owner"),
    ],
)
def test_what_the_roles_cannot_do(host: Host, database: str, role: str, statement: str) -> None:
    assert Database(host, database, role, ADDRESS, f"port={PORT}").refuses(statement)


def test_a_write_of_litellms_is_there_at_its_commit(litellm: Database, openwebui: Database) -> None:
    add(litellm, "ann")
    assert users(openwebui) == ["usr_ann"]
    assert openwebui.value("SELECT count(*) FROM auth WHERE id = 'usr_ann' AND active") == 1


def test_the_bridge_finds_itself_healthy(litellm: Database) -> None:
    # The rights on models of somebody new follow with the drainer's next batch.
    for _ in range(125):
        if litellm.value("SELECT count(*) FROM user_bridge.sync_queue") == 0:
            break
        time.sleep(0.2)
    assert litellm.value("SELECT count(*) FROM user_bridge.sync_queue") == 0
    assert litellm.value("SELECT count(*) FROM user_bridge.sync_audit WHERE sync_result = 'FAILED'") == 0


# ---- the drainer, which logs in with a password of its own ---------------------------------------------------


def test_the_drainer_has_a_login_of_its_own(host: Host) -> None:
    service = host.service(f"{UNIT}.service")
    assert service.is_running and service.is_enabled
    assert host.check_output(f"systemctl show --property=User --value {UNIT}") == "user-bridge"
    user = host.user("user-bridge")
    assert (user.shell, user.home) == ("/usr/sbin/nologin", "/nonexistent")
    file = host.file(PASSFILE)
    assert (file.user, file.group, file.mode) == ("user-bridge", "root", 0o600)
    unit = host.file(f"/etc/systemd/system/{UNIT}.service")
    assert (unit.user, unit.mode) == ("root", 0o644)


def test_the_drainer_delivers_what_waits(host: Host, litellm: Database, openwebui: Database) -> None:
    litellm.run("UPDATE user_bridge.settings SET delivery = 'queued'")
    add(litellm, "later")
    litellm.run("UPDATE user_bridge.settings SET delivery = 'commit'")
    end = time.monotonic() + 25
    while "usr_later" not in users(openwebui):
        assert time.monotonic() < end
        time.sleep(0.2)


def test_no_password_is_left_on_the_host_but_the_drainers(host: Host) -> None:
    folders = "/etc /var/log /tmp /var/tmp /root /home /run"
    assert host.run(f"grep -rIl 'canary-of' {folders} 2>/dev/null").stdout.split() == [PASSFILE]
    assert host.file(PASSFILE).content_string.count("canary-of") == 1
    assert host.run("journalctl --no-pager | grep -c 'canary-of'").stdout.strip() == "0"


# ---- another run ---------------------------------------------------------------------------------------------

REFUSED: dict[str, tuple[dict[str, Any], list[str]]] = {
    "no_password": ({"bridge_login_password": ""}, ["bridge_login_password is empty", "from a vault"]),
    "another_password_than_the_volumes": (
        {"bridge_login_password": "canary-of-a-mistake"},
        ["bridge_login_password is not the password of postgres", "A volume that has data keeps its password"],
    ),
    "name_to_publish_on": (
        {"bridge_login_host": "localhost"},
        ['bridge_login_host is "localhost"', "set it to an address of the play's host"],
    ),
    "image_that_nobody_has": (
        {"bridge_postgres_image": "127.0.0.1:1/none:none"},
        ["Docker does not run user-bridge-molecule", "bridge_postgres_image", "127.0.0.1:1/none", "refused"],
    ),
    "no_password_of_the_timer": ({"bridge_maintenance_password": ""}, ["set bridge_maintenance_password"]),
}


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> Logged:
    """One run of the playbook on all of them."""
    before = container()
    cases = {name: variables for name, (variables, _) in REFUSED.items()}
    scratch = tmp_path_factory.mktemp("refusals")
    run = play_aliases("deploy_bridge", HOST, "container", cases, scratch, "-vvv")
    assert "canary-of" not in run.output
    after = container()
    assert (after["Id"], after["State"]["StartedAt"]) == (before["Id"], before["State"]["StartedAt"])
    return run


@pytest.mark.parametrize("case", REFUSED)
def test_a_mistake_is_refused_and_changes_nothing(refusals: Logged, case: str) -> None:
    refusal = refusals.hosts[case]
    assert (refusal.changed, refusal.failed) == (0, 1), refusals.output
    for words in REFUSED[case][1]:
        assert words in refusal.words, refusal.output


def test_a_restart_loses_nothing(litellm: Database, openwebui: Database) -> None:
    before = users(openwebui)
    testinfra.get_host("local://").check_output("docker restart %s", VARIABLES["bridge_postgres_container"])
    wait_until_healthy()
    add(litellm, "restarted")
    assert users(openwebui) == sorted([*before, "usr_restarted"])


def test_a_changed_setting_makes_the_container_anew_and_loses_nothing(
    tmp_path: Path, litellm: Database, openwebui: Database
) -> None:
    before, people = container()["Id"], users(openwebui)
    assert len(people) > 1
    changed: dict[str, Any] = {"bridge_postgres_litellm_connections": 50}
    run = play("deploy_bridge", "container", tmp_path, "-vvv", "--diff", **changed)
    # The container; and what the sync user's limit is computed from: the limit, its setting, and so the service.
    assert (run.changed, run.failed) == (4, 0), run.output
    assert "canary-of" not in run.output + run.log
    assert container()["Id"] != before
    assert litellm.value("SELECT current_setting('max_connections')") == "160"
    assert users(openwebui) == people
    add(litellm, "anew")
    assert users(openwebui) == sorted([*people, "usr_anew"])
    # On every push Molecule's `idempotence` says it of the first container.
    if not BRIEF:
        again = play("deploy_bridge", "container", tmp_path, **changed)
        assert (again.changed, again.failed) == (0, 0), again.output


def wait_until_healthy() -> None:
    testinfra.get_host("local://").check_output(
        "timeout 60 sh -c %s",
        "until [ \"$(docker inspect --format '{{.State.Health.Status}}' "
        f'{VARIABLES["bridge_postgres_container"]})" = healthy ]; do sleep 0.5; done',
    )
