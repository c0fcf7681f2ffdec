# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The drainer as a job of pg_cron, on a server that has it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import missing
from hard_support import until
from kit import binaries, litellm, pairs, sentinel
from kit.cluster import Cluster, running
from kit.pairs import PROGRAM_ROLES, SIDES, SYNC_USER, Pair
from kit.recap import Run
from modules_support import a_call, run_module
from playbooks_support import READ_ONLY, deploy, play, role_play, variables

READER, WRITER = PROGRAM_ROLES["litellm"], PROGRAM_ROLES["openwebui"]
CRON: dict[str, Any] = {"bridge_maintenance": "pg_cron"}
SETTINGS = {"shared_preload_libraries": "pg_cron", "cron.use_background_workers": "on"}


@pytest.fixture(scope="module")
def with_cron() -> Iterator[Cluster]:
    programs = binaries.find(binaries.default_major())
    if not Path(f"/usr/share/postgresql/{programs.major}/extension/pg_cron.control").exists() or programs.from_npm:
        missing(f"pg_cron is missing: apt-get install postgresql-{programs.major}-cron")
    with running(programs, settings=SETTINGS) as cluster:
        yield cluster


def jobs(cluster: Cluster) -> list[dict[str, Any]]:
    session = pairs.Session(cluster.connect())
    try:
        return session.rows(
            "SELECT jobname, schedule, command, database, username, active FROM cron.job ORDER BY jobid"
        )
    finally:
        session.close()


def test_from_nothing_to_a_job_and_back(with_cron: Cluster, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    at_length = pytestconfig.getoption("--weekly")
    with pairs.pair(with_cron) as pair:
        # What is chosen where nothing is asked for.
        if at_length:
            # On every push without pg_cron, in test_playbooks_deploy.
            check = deploy(pair, tmp_path, "--check", "--diff")
            assert check.changed > 0
            assert pair.litellm_admin.value("SELECT count(*) FROM pg_roles WHERE rolname = 'user_bridge_owner'") == 0
        first = deploy(pair, tmp_path)
        assert "bridge_maintenance is auto: pg_cron, because LiteLLM's server has loaded it" in first.words
        job = {
            "jobname": f"user_bridge {pair.litellm_db}",
            # Debian 12's version knows no seconds.
            "schedule": jobs(with_cron)[0]["schedule"],
            "command": "CALL user_bridge.drainer(59)",
            "database": pair.litellm_db,
            "username": "user_bridge_timer",
            "active": True,
        }
        assert job["schedule"] in ("* * * * *", "5 seconds")
        assert jobs(with_cron) == [job]
        assert deploy(pair, tmp_path, env=READ_ONLY).changed == 0

        # Any of them alone must be seen.
        drifts = ("active = false", "schedule = '0 0 1 1 *'", "command = 'SELECT 1'")
        for drift in drifts if at_length else drifts[:1]:
            with_cron.execute(f"UPDATE cron.job SET {drift}")
            repaired = alone(pair, tmp_path)
            assert (repaired.changed, repaired.failed) == (1, 0), repaired.output
            assert jobs(with_cron) == [job], drift
        # As an earlier version scheduled it: another command, as the maintenance login.
        with_cron.execute("UPDATE cron.job SET username = 'postgres', command = 'SELECT user_bridge.tick(5000)'")
        assert alone(pair, tmp_path).failed == 0
        assert jobs(with_cron) == [job]

        # The job itself: pg_cron runs it, at the next minute.
        alive = "SELECT user_bridge.drainer_lives()"
        until(lambda: pair.litellm_admin.value(alive), seconds=120)
        pair.litellm_admin.run("UPDATE user_bridge.settings SET delivery = 'queued'")
        litellm.new_user(pair.litellm, "queued", "queued@example.com")
        arrived = "SELECT count(*) = 1 FROM \"user\" WHERE email = 'queued@example.com'"
        until(lambda: pair.openwebui.value(arrived), seconds=50)
        assert as_whom(pair) == {
            (READER, "user_bridge_timer"),
            (WRITER, SYNC_USER),
            (SYNC_USER, SYNC_USER),
            # PostgreSQL checks the foreign keys of group_member as the table's owner.
            ("openwebui", SYNC_USER),
        }
        status = play("llmops.user_bridge.bridge_status", variables(pair), tmp_path)
        assert "Drainer: lives since 20" in status.words and "run by a job of pg_cron" in status.words

        off = alone(pair, tmp_path, bridge_maintenance="none")
        assert (off.changed, jobs(with_cron)) == (1, []), off.output
        assert "bridge_maintenance is none" in off.words
        # Not only at the end of its minute.
        until(lambda: not pair.litellm_admin.value(alive), seconds=30)
        if at_length:
            assert alone(pair, tmp_path, env=READ_ONLY, bridge_maintenance="none").changed == 0

        alone(pair, tmp_path)
        removed = play("llmops.user_bridge.remove_bridge", variables(pair, **CRON), tmp_path)
        assert (removed.failed, jobs(with_cron)) == (0, []), removed.output


def test_a_login_that_cannot_schedule_jobs(with_cron: Cluster) -> None:
    """To one that may not read all settings, those of pg_cron are hidden, too."""
    with pairs.pair(with_cron) as pair:
        options = {**a_call(pair, "bridge_preflight_info"), "maintenance": "auto"}
        options.update(login_user="plain", login_password="plain")
        with_cron.execute("CREATE ROLE plain LOGIN PASSWORD 'plain'")
        try:
            for grant, reason in (
                ("SELECT", "has not loaded pg_cron"),
                ("GRANT pg_read_all_settings TO plain", "may not schedule jobs of pg_cron"),
            ):
                with_cron.execute(grant)
                found = run_module("bridge_preflight_info", options)["maintenance"]
                assert found["method"] == "none" and reason in found["reason"]
        finally:
            with_cron.execute("DROP ROLE plain")


def as_whom(pair: Pair) -> set[tuple[str, str]]:
    """As whom, and in whose sessions, code of both programs' runs that is in their tables while the job delivers."""
    sentinel.plant(pair, "litellm", "partial index", "child")
    sentinel.plant(pair, "openwebui", "partial index", "trigger")

    def deliver() -> None:
        litellm.new_user(pair.litellm, "watched", "watched@example.com")
        arrived = "SELECT count(*) = 1 FROM \"user\" WHERE email = 'watched@example.com'"
        until(lambda: pair.openwebui.value(arrived), seconds=120)

    try:
        ran = sentinel.sprung(pair, deliver)
    finally:
        for session in (pair.litellm, pair.openwebui):
            session.run("DROP SCHEMA sentinel CASCADE")
    # Without what this test's own sessions ran, which are the programs'.
    return {(each["role"], each["user"]) for each in ran if each["user"] not in SIDES}


def alone(pair: Pair, tmp_path: Path, env: dict[str, str] | None = None, **overrides: Any) -> Run:
    return play(role_play("maintenance"), variables(pair, **{**CRON, **overrides}), tmp_path, env=env)
