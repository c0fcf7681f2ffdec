# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The timer as a job of pg_cron, on a server that has it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import missing
from kit import binaries, litellm, pairs
from kit.cluster import Cluster, running
from kit.pairs import Pair
from kit.recap import Run
from playbooks_support import READ_ONLY, deploy, play, role_play, variables

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


def test_from_nothing_to_a_job_and_back(with_cron: Cluster, tmp_path: Path) -> None:
    with pairs.pair(with_cron) as pair:
        check = deploy(pair, tmp_path, "--check", "--diff", **CRON)
        assert check.changed > 0
        assert pair.litellm_admin.value("SELECT count(*) FROM pg_roles WHERE rolname = 'user_bridge_owner'") == 0
        deploy(pair, tmp_path, **CRON)
        job = {
            "jobname": f"user_bridge {pair.litellm_db}",
            # Debian 12's version knows no seconds.
            "schedule": jobs(with_cron)[0]["schedule"],
            "command": "SELECT user_bridge.tick(5000)",
            "database": pair.litellm_db,
            "username": "user_bridge_timer",
            "active": True,
        }
        assert job["schedule"] in ("* * * * *", "30 seconds")
        assert jobs(with_cron) == [job]
        assert deploy(pair, tmp_path, env=READ_ONLY, **CRON).changed == 0

        # What it runs, as it runs it.
        pair.litellm_admin.run("SELECT user_bridge.pause()")
        litellm.new_user(pair.litellm, "queued", "queued@example.com")
        pair.litellm_admin.run("UPDATE user_bridge.settings SET paused = false")
        pair.litellm_admin.run("SET SESSION AUTHORIZATION user_bridge_timer")
        pair.litellm_admin.run(job["command"])
        pair.litellm_admin.run("RESET SESSION AUTHORIZATION")
        assert pair.openwebui.value("SELECT count(*) FROM \"user\" WHERE email = 'queued@example.com'") == 1

        for drift in ("active = false", "schedule = '0 0 1 1 *'", "command = 'SELECT 1'"):
            with_cron.execute(f"UPDATE cron.job SET {drift}")
            repaired = alone(pair, tmp_path)
            assert (repaired.changed, repaired.failed) == (1, 0), repaired.output
            assert jobs(with_cron) == [job], drift
        # As an earlier version scheduled it: as the maintenance login.
        with_cron.execute("UPDATE cron.job SET username = 'postgres'")
        assert alone(pair, tmp_path).failed == 0
        assert jobs(with_cron) == [job]
        hourly = alone(pair, tmp_path, bridge_maintenance_interval_seconds=1800)
        assert (hourly.changed, jobs(with_cron)[0]["schedule"]) == (1, "*/30 * * * *"), hourly.output

        off = alone(pair, tmp_path, bridge_maintenance="none")
        assert (off.changed, jobs(with_cron)) == (1, []), off.output
        assert "bridge_maintenance is none" in off.words
        assert alone(pair, tmp_path, env=READ_ONLY, bridge_maintenance="none").changed == 0

        alone(pair, tmp_path)
        removed = play("llmops.user_bridge.remove_bridge", variables(pair, **CRON), tmp_path)
        assert (removed.failed, jobs(with_cron)) == (0, []), removed.output


def alone(pair: Pair, tmp_path: Path, env: dict[str, str] | None = None, **overrides: Any) -> Run:
    return play(role_play("maintenance"), variables(pair, **{**CRON, **overrides}), tmp_path, env=env)
