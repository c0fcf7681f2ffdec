# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role monitoring: a login that reads the metrics and can do nothing else, and what exporters make of it."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.errors
import pytest
import yaml

from kit import litellm
from kit.bridge import install_bridge
from kit.cluster import free_port
from kit.common import REPO
from kit.pairs import MONITOR, Pair, Session
from kit.prepare import apt_install
from kit.recap import Run
from playbooks_support import READ_ONLY, deploy, forget_roles, one_waits_for_the_other, play, unchanged, variables

FILES = REPO / "roles" / "monitoring" / "files"
FOLDERS = ("collector", "rules", "dashboard")
PASSWORD = "look, don't touch"
REMOVE = "llmops.user_bridge.remove_bridge"


@pytest.fixture
def alone(pair: Pair) -> Pair:
    """Nothing of a bridge's on the server."""
    forget_roles(pair)
    return pair


def wanted(tmp_path: Path) -> dict[str, Any]:
    """Everything but the timer, which needs systemd."""
    found: dict[str, Any] = {"bridge_monitoring": True, "bridge_monitoring_password": PASSWORD}
    for name in FOLDERS:
        (tmp_path / name).mkdir(exist_ok=True)
        found[f"bridge_monitoring_{name}_dir"] = str(tmp_path / name)
    return found


def monitor(pair: Pair) -> Session:
    return Session(pair.cluster.connect(pair.litellm_db, MONITOR, PASSWORD))


def role(
    pair: Pair, tmp_path: Path, *arguments: str, changed: int, env: Mapping[str, str] | None = None, **options: Any
) -> Run:
    """The role alone, as a site's playbook has it."""
    plays = [{"hosts": "localhost", "gather_facts": False, "roles": ["llmops.user_bridge.monitoring"]}]
    run = play(plays, variables(pair, **options), tmp_path, *arguments, env=env)
    assert (run.failed, run.changed) == (0, changed), run.output
    assert PASSWORD not in run.output
    return run


def test_its_whole_life(pair: Pair, tmp_path: Path) -> None:
    options = wanted(tmp_path)
    # A first deployment with it is in test_playbooks_survey.
    install_bridge(pair)
    run = deploy(pair, tmp_path, **options)
    assert PASSWORD not in run.output and is_there(pair, tmp_path)
    litellm.new_user(pair.litellm, "u1", "ann@example.com")
    with closing(monitor(pair)) as session:
        reads_only_the_metrics(pair, session)
        exporters_read_it(pair, session, tmp_path)
    is_alone_with_it(pair)

    # So does a deployment with it, in test_playbooks_states.
    with unchanged(pair):
        role(pair, tmp_path, changed=0, env=READ_ONLY, **options)
    # Somebody took something away.
    pair.litellm_admin.run(f"REVOKE SELECT ON user_bridge.metrics FROM {MONITOR}; ALTER ROLE {MONITOR} CREATEDB")
    (tmp_path / "rules" / "user_bridge.rules.yml").write_text("groups: []\n", encoding="utf-8")
    with unchanged(pair):
        planned = role(pair, tmp_path, "--check", "--diff", changed=3, **options)
    assert f"GRANT SELECT ON user_bridge.metrics TO {MONITOR}" in planned.output
    role(pair, tmp_path, changed=3, **options)
    with closing(monitor(pair)) as session:
        assert session.value("SELECT value FROM user_bridge.metrics WHERE name = 'user_bridge_paused'") == 0

    assert deploy(pair, tmp_path, **{**options, "bridge_monitoring": False}).changed > 0
    assert not is_there(pair, tmp_path)
    role(pair, tmp_path, changed=3, **options)
    assert is_there(pair, tmp_path)
    removed = play(REMOVE, variables(pair, **options), tmp_path)
    assert (removed.failed, removed.changed > 0) == (0, True), removed.output
    assert not is_there(pair, tmp_path)


def test_two_hosts_set_what_belongs_to_the_server(alone: Pair) -> None:
    """At once, each for the bridge of another database."""
    alone.cluster.execute(f"CREATE ROLE {MONITOR}")
    role_vars = yaml.safe_load((REPO / "roles" / "monitoring" / "vars" / "main.yml").read_text(encoding="utf-8"))
    lacking = role_vars["__monitoring_lacking"]
    one, other = (alone.connect(side, "postgres", autocommit=False) for side in ("litellm", "openwebui"))
    found = [[row["statement"] for row in each.rows(lacking, {"name": MONITOR})] for each in (one, other)]
    of_role = [statement for statement in found[0] if f" ROLE {MONITOR} " in statement]
    assert of_role and set(of_role) <= set(found[1])
    one_waits_for_the_other(alone, "; ".join(of_role), one, other)
    assert not [row for row in one.rows(lacking, {"name": MONITOR}) if f" ROLE {MONITOR} " in row["statement"]]


@pytest.mark.weekly
def test_a_server_without_a_bridge(alone: Pair, tmp_path: Path) -> None:
    pair, options = alone, wanted(tmp_path)
    with unchanged(pair):
        deploy(pair, tmp_path, "--check", "--diff", **options)
        role(pair, tmp_path, "--check", "--diff", changed=2, **options)
        run = play(REPO / "deploy-bridge.yml", variables(pair, **options), tmp_path, "--tags", "bridge_monitoring")
    assert (run.failed, run.changed) == (1, 0) and "has no bridge" in run.words, run.output
    assert not is_there(pair, tmp_path)
    # A login that is somebody else's.
    pair.cluster.execute(f"CREATE ROLE {MONITOR} LOGIN SUPERUSER")
    run = play(REPO / "deploy-bridge.yml", variables(pair, **options), tmp_path)
    assert (run.failed, run.changed) == (1, 0), run.output
    assert "bridge_monitoring_user" in run.words and "is a superuser or a member of other roles" in run.words
    # What is missing on the host.
    pair.cluster.execute(f"DROP ROLE {MONITOR}")
    nowhere = {"bridge_monitoring_rules_dir": "/nowhere/rules", "bridge_monitoring_textfile_dir": str(tmp_path)}
    run = play(REPO / "deploy-bridge.yml", variables(pair, **{**options, **nowhere}), tmp_path)
    assert (run.failed, run.changed) == (1, 0) and "bridge_monitoring_rules_dir" in run.words, run.output
    here = {**options, "bridge_monitoring_textfile_dir": str(tmp_path)}
    run = play(REPO / "deploy-bridge.yml", variables(pair, **here), tmp_path)
    assert (run.failed, run.changed) == (1, 0) and "this host has no systemd for the timer" in run.words, run.output


def is_there(pair: Pair, tmp_path: Path) -> bool:
    """The login and every file; or nothing of it."""
    files = sorted(path.name for name in FOLDERS for path in (tmp_path / name).iterdir())
    login = pair.litellm_admin.value("SELECT to_regrole(%s) IS NOT NULL", [MONITOR])
    assert files == (["user_bridge.collector.yml", "user_bridge.json", "user_bridge.rules.yml"] if login else [])
    return bool(login)


def reads_only_the_metrics(pair: Pair, session: Session) -> None:
    assert session.value("SELECT count(*) FROM user_bridge.metrics") > 20
    for setting, value in (
        ("statement_timeout", "5s"),
        ("lock_timeout", "1s"),
        ("default_transaction_read_only", "on"),
    ):
        assert session.value(f"SHOW {setting}") == value
    (role,) = session.rows("SELECT * FROM pg_roles WHERE rolname = current_user")
    rights = ("rolsuper", "rolcreaterole", "rolcreatedb", "rolreplication", "rolbypassrls")
    assert [name for name in rights if role[name]] == [] and role["rolconnlimit"] == 5
    assert session.value("SELECT count(*) FROM pg_auth_members WHERE member = current_user::regrole") == 0
    # Whatever it sets for itself.
    session.run("SET default_transaction_read_only = off; SET search_path = user_bridge")
    denied = psycopg2.errors.InsufficientPrivilege
    relations = session.rows(
        "SELECT c.oid::regclass::text AS name FROM pg_class AS c"
        " WHERE c.relnamespace IN (to_regnamespace('user_bridge'), 'public'::regnamespace)"
        " AND c.relkind IN ('r', 'v', 'm', 'S') AND c.relname <> 'metrics'"
    )
    assert len(relations) > 60
    for row in relations:
        with pytest.raises(denied):
            session.run(f"SELECT * FROM {row['name']}")
    for statement in (
        "INSERT INTO metrics (name) VALUES ('x')",
        "SELECT drain()",
        "SELECT pause()",
        "SELECT approve('{1}')",
        "SELECT nextval('delivery_version')",
        "CREATE TABLE user_bridge.mine ()",
        "CREATE VIEW user_bridge.mine AS SELECT 1",
        "CREATE SCHEMA mine",
        "CREATE ROLE mine",
        "SET ROLE user_bridge_owner",
        "SELECT pg_read_file('/etc/passwd')",
    ):
        with pytest.raises((denied, psycopg2.errors.ObjectNotInPrerequisiteState)):
            session.run(statement)
    callable_ones = session.rows(
        "SELECT p.oid::regprocedure::text AS name FROM pg_proc AS p"
        " WHERE p.pronamespace = to_regnamespace('user_bridge') AND has_function_privilege(p.oid, 'EXECUTE')"
    )
    assert callable_ones == []
    # A view cannot be made to show more by a function of the reader's.
    session.run("SET search_path = pg_catalog")
    session.run(
        "CREATE FUNCTION pg_temp.tell(text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS"
        " $$ BEGIN RAISE NOTICE 'row %', $1; RETURN true; END $$"
    )
    shown = {str(row["labels"]) for row in session.rows("SELECT labels::text AS labels FROM user_bridge.metrics")}
    session.rows("SELECT * FROM user_bridge.metrics WHERE pg_temp.tell(labels::text)")
    assert {each.strip().partition("row ")[2] for each in session.raw.notices} <= shown


def is_alone_with_it(pair: Pair) -> None:
    """Not more than its share of connections."""
    with contextlib.ExitStack() as stack, pytest.raises(psycopg2.OperationalError, match="too many connections"):
        for _number in range(6):
            stack.enter_context(closing(monitor(pair)))


def exporters_read_it(pair: Pair, session: Session, tmp_path: Path) -> None:
    text = text_file(pair)
    apt_install("prometheus", "prometheus-node-exporter")
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, ""), checked.stderr
    scraped = scrape(text, tmp_path)
    assert "node_textfile_scrape_error 0" in scraped
    assert 'user_bridge_info{bridge="a",version="1.0.0"} 1' in scraped
    assert 'user_bridge_mapped_entities{bridge="a",type="user"}' not in scraped
    assert 'user_bridge_drain_delay_seconds_bucket{bridge="a",le="+Inf"} 0' in scraped
    assert "# TYPE user_bridge_drain_delay_seconds histogram" in scraped
    # As sql_exporter runs them: one row a series, with text for each key and a number.
    collector = yaml.safe_load((FILES / "user_bridge.collector.yml").read_text(encoding="utf-8"))
    found = set()
    for metric in collector["metrics"]:
        for row in session.rows(metric["query"]):
            assert list(row) == [*metric.get("key_labels", []), *metric["values"]]
            assert isinstance(row["value"], float) and all(
                isinstance(row[key], str) for key in metric.get("key_labels", [])
            )
            found.add((metric["metric_name"], *(row[key] for key in metric.get("key_labels", []))))
    expected = {
        (row["name"], *row["labels"].values()) for row in session.rows("SELECT name, labels FROM user_bridge.metrics")
    }
    assert {(name, *sorted(labels)) for name, *labels in found} == {
        (name, *sorted(labels)) for name, *labels in expected
    }


def text_file(pair: Pair) -> str:
    """As the timer makes it."""
    service = (REPO / "roles" / "monitoring" / "templates" / "service.j2").read_text(encoding="utf-8")
    (line,) = (each for each in service.splitlines() if each.startswith("ExecStart="))
    _program, *words = re.sub(r"\{\{.*?\}\}", "PLACE", line).split()
    arguments = [word for word in words if "PLACE" not in word]
    assert len(words) == len(arguments) + 3
    environment = {
        **os.environ,
        **{"PGHOST": pair.cluster.host, "PGPORT": str(pair.cluster.port), "PGDATABASE": pair.litellm_db},
        **{"PGUSER": MONITOR, "PGPASSWORD": PASSWORD},
    }
    command = [shutil.which("psql") or "psql", *arguments, "--set=bridge=a", f"--file={FILES / 'metrics.sql'}"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def scrape(text: str, tmp_path: Path) -> str:
    """What node_exporter hands to Prometheus of that file."""
    folder = tmp_path / "textfiles"
    folder.mkdir(exist_ok=True)
    (folder / "user_bridge_a.prom").write_text(text, encoding="utf-8")
    port = free_port()
    url = f"http://127.0.0.1:{port}/metrics"
    command = [
        *("prometheus-node-exporter", f"--web.listen-address=127.0.0.1:{port}", "--collector.disable-defaults"),
        *("--collector.textfile", f"--collector.textfile.directory={folder}"),
    ]
    exporter = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 60
        while True:
            with contextlib.suppress(urllib.error.URLError), urllib.request.urlopen(url, timeout=10) as answer:
                return str(answer.read().decode())
            assert time.monotonic() < end
            time.sleep(0.05)
    finally:
        exporter.send_signal(signal.SIGTERM)
        exporter.wait(60)
