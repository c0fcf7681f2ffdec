# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a platform team runs beside deployments: to deliver, to compare, to read the audit and the state."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kit import pairs, rows
from kit.bridge import install_bridge
from kit.cluster import Cluster
from kit.pairs import Pair
from playbooks_support import READ_ONLY, Run, on, play_hosts, shipped, variables

# Cases are hosts; the same pair in different states takes different processes.
REFUSED = "cannot sign up here"


@pytest.fixture(scope="module")
def lagging(server: Cluster) -> Iterator[Pair]:
    """One account that somebody renamed in Open WebUI, one user that waits, and one that Open WebUI refuses."""
    with pairs.pair(server) as pair:
        install_bridge(pair, {"initial_password": "none"})
        rows.add_organization(pair.litellm, "o1", "Acme")
        rows.add_user(pair.litellm, "u1", "ann@example.com", user_alias="Ann")
        pair.openwebui.run("UPDATE \"user\" SET name = 'Mallory' WHERE id = 'usr_u1'")
        pair.litellm_admin.run("UPDATE user_bridge.settings SET delivery = 'queued'")
        rows.add_user(pair.litellm, "u2", "bob@example.com")
        rows.add_user(pair.litellm, "u3", "eve@example.com")
        pair.openwebui_admin.run(
            f'ALTER TABLE "user" ADD CONSTRAINT "{REFUSED}" CHECK (email <> \'eve@example.com\') NOT VALID'
        )
        yield pair


def plays(*playbooks: tuple[str, str]) -> list[dict[str, Any]]:
    return [each for playbook, group in playbooks for each in shipped(playbook, group)]


@pytest.fixture(scope="module")
def previewed(lagging: Pair, tmp_path_factory: pytest.TempPathFactory) -> Run:
    own, folder = variables(lagging), tmp_path_factory.mktemp("preview")
    given = {
        "drains": {"drains": own},
        "compares": {
            "everything": own,
            "groups": {**own, "bridge_reconcile_types": "organization,team"},
        },
        "audits": {"audits": {**own, "bridge_audit_path": str(folder / "audit.json")}},
    }
    steps = plays(("drain_bridge", "drains"), ("reconcile_bridge", "compares"), ("bridge_audit", "audits"))
    run = play_hosts(steps, given, folder, "--check", "--diff", env=READ_ONLY)
    assert not (folder / "audit.json").exists()
    return run


def test_check_mode_shows_what_would_change(previewed: Run) -> None:
    ended = {name: (host.changed, host.failed) for name, host in previewed.hosts.items()}
    assert ended == {"drains": (1, 0), "everything": (1, 0), "groups": (0, 0), "audits": (1, 0)}, previewed.output
    for line in (
        '+        "entity_id": "u1",',
        "+user u2 exists: true",
        '-user u1 name: "Mallory"',
        '+user u1 name: "Ann"',
    ):
        assert line in previewed.output, previewed.output
    assert "- user: entities: 1, fields: 1 (name)" in previewed.words and "Fields that differed: 0" in previewed.words


@pytest.fixture(scope="module")
def done(lagging: Pair, previewed: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    own = variables(lagging)
    given = {"groups": {"groups": {**own, "bridge_reconcile_types": ["organization"]}}, "drains": {"drains": own}}
    steps = plays(("reconcile_bridge", "groups"), ("drain_bridge", "drains"))
    return play_hosts(steps, given, tmp_path_factory.mktemp("done"))


def test_what_waits_is_delivered_and_what_does_not_arrive_is_said(done: Run, lagging: Pair) -> None:
    drained = done.hosts["drains"]
    assert (drained.changed, drained.failed) == (1, 1), done.output
    assert "Not delivered so far, and tried again later: 1 of 1 queued" in drained.words
    assert f'user u3: new row for relation "user" violates check constraint "{REFUSED}"' in drained.words
    accounts = lagging.openwebui.rows("SELECT id, name FROM \"user\" WHERE id LIKE 'usr_%' ORDER BY id")
    assert accounts == [{"id": "usr_u1", "name": "Mallory"}, {"id": "usr_u2", "name": "bob"}]
    groups = done.hosts["groups"]
    assert (groups.changed, groups.failed) == (0, 0), done.output


@pytest.fixture(scope="module")
def compared(lagging: Pair, done: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    lagging.openwebui_admin.run(f'ALTER TABLE "user" DROP CONSTRAINT "{REFUSED}"')
    given = {"compares": {"compares": variables(lagging, bridge_reconcile_types="user")}}
    return play_hosts(plays(("reconcile_bridge", "compares")), given, tmp_path_factory.mktemp("compared"))


def test_a_comparison_repairs_the_types_that_were_asked_for(compared: Run, lagging: Pair) -> None:
    assert (compared.changed, compared.failed) == (1, 0), compared.output
    accounts = lagging.openwebui.rows("SELECT name FROM \"user\" WHERE id LIKE 'usr_%' ORDER BY id")
    assert [row["name"] for row in accounts] == ["Ann", "bob", "eve"]


def test_a_second_run_changes_nothing(compared: Run, lagging: Pair, tmp_path: Path) -> None:
    own, path = variables(lagging), tmp_path / "audit.json"
    filtered = {
        **own,
        "bridge_audit_types": "user",
        "bridge_audit_ids": "u2,u3",
        "bridge_audit_results": "SUCCESS,FAILED",
        "bridge_audit_operations": ["SYNC_USER"],
        "bridge_audit_text": "EXAMPLE.com",
        "bridge_audit_since": "1h",
        "bridge_audit_until": "2100-01-01",
        "bridge_audit_order": "oldest",
        "bridge_audit_limit": "2",
        "bridge_audit_path": str(path),
    }
    given = {
        "drains": {"drains": own},
        "compares": {"compares": own},
        "audits": {"audits": filtered},
        "again": {"again": filtered},
        "status": {"status": {**own, "bridge_maintenance": "none", "bridge_status_exit": "nagios"}},
    }
    steps = plays(
        ("drain_bridge", "drains"),
        ("reconcile_bridge", "compares"),
        ("bridge_audit", "audits"),
        ("bridge_audit", "again"),
        ("bridge_status", "status"),
    )
    run = play_hosts(steps, given, tmp_path, env=READ_ONLY)
    changed = {name: host.changed for name, host in run.hosts.items()}
    assert changed == {"drains": 0, "compares": 0, "audits": 1, "again": 0, "status": 0}, run.output
    assert (run.failed, run.code) == (0, 0), run.output
    entries = json.loads(path.read_text(encoding="utf-8"))
    assert [(entry["entity_id"], entry["result"]) for entry in entries][0] == ("u2", "SUCCESS")
    assert len(entries) == 2 and entries[1]["entity_id"] == "u3" and entries[1]["by"] is None
    assert path.stat().st_mode & 0o777 == 0o600
    assert "Entries: " in run.words and ", of which these are the oldest 2" in run.words
    for line in ("Health: OK", "Counts:", "users 3 3 4", "organizations 1 1 -", "Held: 0", "No sign-in: 3 accounts"):
        assert line in run.words, run.output


def status(group: str) -> list[dict[str, Any]]:
    """Ansible loads the callback with the playbook, so a copy of its plays will not do."""
    return [on(group, "llmops.user_bridge.bridge_status")]


def test_the_exit_codes_of_a_monitoring_plugin(compared: Run, lagging: Pair, tmp_path: Path) -> None:
    own = {**variables(lagging), "bridge_maintenance": "none", "bridge_status_exit": "nagios"}
    lagging.litellm_admin.run("SELECT user_bridge.pause()")
    hosts = {"paused": own, "bare": {**own, "bridge_openwebui_db": "postgres"}, "away": {**own, "bridge_login_port": 1}}
    env = {"ANSIBLE_SHOW_CUSTOM_STATS": "1"}
    misplaced = {"misplaced": {**own, "bridge_audit_path": str(tmp_path / "nowhere" / "audit.json")}}
    audits = plays(("bridge_audit", "audits"))
    run = play_hosts([*status("sites"), *audits], {"sites": hosts, "audits": misplaced}, tmp_path, env=env)
    assert "give a file in a directory that there is" in run.hosts["misplaced"].words, run.output
    assert [run.hosts[host].failed for host in ("paused", "bare", "away")] == [0, 0, 1], run.output
    assert "the bridge is paused" in run.words
    told = run.words.rpartition("CUSTOM STATS")[2].replace(" ", "").replace('"', "")
    for host, code in {"paused": 1, "bare": 2, "away": 3}.items():
        assert f"{host}:{{__bridge_exit_code:{code}}}" in told, run.output
    assert run.code == 2
