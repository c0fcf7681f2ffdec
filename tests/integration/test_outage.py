# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""While Open WebUI is away: one stored error, pauses that grow, and a queue that nobody rewrites."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2.errors
import pytest

from hard_support import until
from kit import openwebui, rows
from kit.bridge import change_settings, drainer, install_bridge
from kit.pairs import SYNC_USER, Pair
from test_delivery import drain, queue, unanswered

ROUND = "CALL user_bridge.drainer(0)"
PAUSE_IS_OVER = "UPDATE user_bridge.target SET next_try_at = clock_timestamp() - interval '1 second'"


def outaged(pair: Pair) -> Pair:
    # The breaker keeps commits from trying, so that only the drainer does.
    install_bridge(pair, {"initial_password": "none", "backoff_seconds": 3600})
    rows.add_user(pair.litellm, "u0", "u0@example.com")
    return pair


@pytest.fixture
def bridged(pair: Pair) -> Pair:
    return outaged(pair)


@contextmanager
def away(pair: Pair) -> Iterator[None]:
    pair.openwebui_admin.run(f"ALTER ROLE {SYNC_USER} NOLOGIN")
    pair.cluster.end_sessions(f"usename = '{SYNC_USER}'")
    try:
        yield
    finally:
        pair.openwebui_admin.run(f"ALTER ROLE {SYNC_USER} LOGIN")


def refused(pair: Pair) -> int:
    return pair.cluster.log.read_text(encoding="utf-8", errors="replace").count("is not permitted to log in")


def queue_rows(pair: Pair) -> list[dict[str, Any]]:
    """With what tells a row that was written again."""
    return pair.litellm_admin.rows("SELECT ctid::text, xmin::text, * FROM user_bridge.sync_queue ORDER BY 1")


def test_one_error_an_outage_and_no_row_is_rewritten(bridged: Pair) -> None:
    with away(bridged):
        for name in ("u1", "u2", "u3"):
            rows.add_user(bridged.litellm, name, f"{name}@example.com")
        before = queue_rows(bridged)
        assert {(row["attempts"], row["last_error"]) for row in before} == {(0, None)}
        found = unanswered(bridged)
        assert found is not None
        assert (found["sqlstate"], found["attempts"], found["waiting"]) == ("UB001", 1, 3)
        assert "not permitted to log in" in found["error"]
        for attempts in (2, 3):
            bridged.litellm_admin.run(PAUSE_IS_OVER)
            bridged.litellm_admin.run(ROUND)
            again = unanswered(bridged)
            assert again is not None and (again["since"], again["attempts"]) == (found["since"], attempts)
        assert queue_rows(bridged) == before
        (status,) = bridged.litellm_admin.rows(
            "SELECT value FROM user_bridge.check_sync_status() WHERE metric = 'Open WebUI'"
        )
        assert "has not answered since" in status["value"] and "not permitted to log in" in status["value"]
    # Within the pause it is left alone, and afterwards it is over.
    bridged.litellm_admin.run(ROUND)
    assert queue_rows(bridged) == before
    bridged.litellm_admin.run(PAUSE_IS_OVER)
    bridged.litellm_admin.run(ROUND)
    assert queue(bridged) == [] and unanswered(bridged) is None
    assert len(openwebui.accounts(bridged)) == 4


def waiting(pair: Pair) -> bool:
    return bool(pair.litellm_admin.value("SELECT EXISTS (SELECT FROM user_bridge.sync_queue)"))


@pytest.mark.parametrize("queued", [2000, pytest.param(100_000, marks=pytest.mark.weekly)])
def test_an_hours_outage_costs_next_to_nothing(bridged: Pair, queued: int) -> None:
    with away(bridged):
        bridged.litellm.run(
            'INSERT INTO "LiteLLM_UserTable" (user_id, user_email) '
            "SELECT 'b' || n, 'b' || n || '@example.com' FROM generate_series(1, %s) AS n",
            [queued],
        )
        size, position = "SELECT pg_total_relation_size('user_bridge.sync_queue')", "SELECT pg_current_wal_insert_lsn()"
        before, start, logins = (
            bridged.litellm_admin.value(size),
            bridged.litellm_admin.value(position),
            refused(bridged),
        )
        attempts = bridged.litellm_admin.value(
            "SELECT min(n) FROM (SELECT n, sum(user_bridge.outage_pause(n)) OVER (ORDER BY n) AS passed "
            "FROM generate_series(1, 500) AS n) AS t WHERE passed >= interval '1 hour'"
        )
        assert attempts is not None and attempts < 360
        for _ in range(attempts):
            bridged.litellm_admin.run(PAUSE_IS_OVER)
            # The second round is one of those that only wait.
            bridged.litellm_admin.run(ROUND)
            bridged.litellm_admin.run(ROUND)
        grown = bridged.litellm_admin.value(size) / before
        wal = bridged.litellm_admin.value("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), %s)", [start])
        print(f"queue {before} bytes, {grown:.2f} times; WAL {wal} bytes; {refused(bridged) - logins} logins refused")
        assert refused(bridged) - logins <= attempts and grown <= 1.2 and wal < 2e6
    with drainer(bridged):
        bridged.litellm_admin.run(PAUSE_IS_OVER)
        begun = time.monotonic()
        until(lambda: not waiting(bridged), seconds=25 + queued / 200)
        print(f"caught up in {time.monotonic() - begun:.1f} s")
    assert len(openwebui.accounts(bridged)) == queued + 1


def test_pauses_grow_to_a_minute(bridged: Pair) -> None:
    found = bridged.litellm_admin.rows(
        "SELECT extract(epoch FROM user_bridge.outage_pause(n))::float8 AS s FROM generate_series(1, 10) AS n"
    )
    assert [row["s"] for row in found] == [0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60]


@pytest.mark.parametrize("by", ["a commit", "resume"])
def test_the_pause_ends_with_the_outage(bridged: Pair, by: str) -> None:
    with away(bridged):
        rows.add_user(bridged.litellm, "u1", "u1@example.com")
    bridged.litellm_admin.run("UPDATE user_bridge.target SET next_try_at = clock_timestamp() + interval '50 seconds'")
    bridged.litellm_admin.run(ROUND)
    assert len(queue(bridged)) == 1
    if by == "resume":
        bridged.litellm_admin.run("SELECT user_bridge.resume()")
    else:
        bridged.litellm_admin.run("SELECT setval('user_bridge.breaker_until', 1)")
        rows.add_user(bridged.litellm, "u2", "u2@example.com")
    assert unanswered(bridged) is None
    bridged.litellm_admin.run(ROUND)
    assert queue(bridged) == []


def test_by_hand_it_is_tried_at_once(bridged: Pair) -> None:
    with away(bridged):
        rows.add_user(bridged.litellm, "u1", "u1@example.com")
        assert drain(bridged)[0]["result"] == "FAILED"
    assert drain(bridged)[0]["result"] == "SUCCESS"
    assert unanswered(bridged) is None


def test_a_clock_that_was_set_back_prolongs_no_pause(bridged: Pair) -> None:
    with away(bridged):
        rows.add_user(bridged.litellm, "u1", "u1@example.com")
    bridged.litellm_admin.run("UPDATE user_bridge.target SET next_try_at = clock_timestamp() + interval '1 hour'")
    bridged.litellm_admin.run(ROUND)
    assert queue(bridged) == []


AHEAD = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint + 3600000"


@pytest.mark.parametrize("sequence", ["breaker_until", "backlog"])
def test_nor_does_it_keep_commits_from_delivering(bridged: Pair, sequence: str) -> None:
    """Without a drainer only they do."""
    change_settings(bridged, backoff_seconds=1, delivery="queued")
    rows.add_user(bridged.litellm, "u1", "u1@example.com")
    change_settings(bridged, delivery="commit")
    bridged.litellm_admin.run(f"SELECT setval('user_bridge.{sequence}', {AHEAD})")
    for name in ("u2", "u3"):
        rows.add_user(bridged.litellm, name, f"{name}@example.com")
    assert queue(bridged) == [] and len(openwebui.accounts(bridged)) == 4


def test_nor_does_what_has_failed_wait_for_longer(bridged: Pair) -> None:
    change_settings(bridged, delivery="queued")
    rows.add_user(bridged.litellm, "u1", "u1@example.com")
    bridged.litellm_admin.run("UPDATE user_bridge.sync_queue SET next_attempt_at = now() + interval '3 hours'")
    bridged.litellm_admin.run(
        "UPDATE user_bridge.upkeep SET next_at = clock_timestamp(); SELECT user_bridge.maintain()"
    )
    bridged.litellm_admin.rows("SELECT * FROM user_bridge.drain(100, true)")
    assert queue(bridged) == []


def test_an_empty_request_is_no_outage(bridged: Pair) -> None:
    """Whatever makes one: the target would take it for a request of somebody else."""
    with pytest.raises(psycopg2.errors.NullValueNotAllowed):
        bridged.litellm_admin.run("SELECT user_bridge.call_target(NULL, now() + interval '1 second')")
    assert unanswered(bridged) is None


def test_nobody_waits_for_a_commit_that_notes_it(bridged: Pair) -> None:
    """It keeps its lock for as long as its session likes."""
    with away(bridged):
        writer = bridged.connect("litellm", autocommit=False)
        rows.add_user(writer, "u1", "u1@example.com")
        writer.run("SET CONSTRAINTS ALL IMMEDIATE")
        bridged.litellm_admin.run("SELECT setval('user_bridge.breaker_until', 1)")
        bridged.litellm.run("SET lock_timeout = '2s'")
        rows.add_user(bridged.litellm, "u2", "u2@example.com")
        bridged.litellm_admin.run("SET lock_timeout = '2s'")
        bridged.litellm_admin.run(ROUND)
        writer.rollback()
    # What it had noted is gone with it; the next attempt notes it again.
    assert unanswered(bridged) is None or bridged.litellm_admin.value("SELECT user_bridge.in_outage()")


def test_without_its_extension_nothing_is_delivered_and_nothing_rewritten(bridged: Pair) -> None:
    """An administrator tidies up, and moves dblink to a schema of its own."""
    admin = bridged.litellm_admin
    schema = admin.value("SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'dblink'")
    admin.run("CREATE SCHEMA elsewhere; ALTER EXTENSION dblink SET SCHEMA elsewhere")
    for name in ("u1", "u2"):
        rows.add_user(bridged.litellm, name, f"{name}@example.com")
    before = queue_rows(bridged)
    found = unanswered(bridged)
    assert found is not None and "dblink_get_connections" in found["error"]
    assert {(row["attempts"], row["last_error"]) for row in before} == {(0, None)}
    admin.run(PAUSE_IS_OVER)
    admin.run(ROUND)
    again = unanswered(bridged)
    assert again is not None and again["attempts"] == 2 and queue_rows(bridged) == before
    admin.run(f"ALTER EXTENSION dblink SET SCHEMA {schema}")
    admin.run(PAUSE_IS_OVER)
    admin.run(ROUND)
    assert queue(bridged) == [] and unanswered(bridged) is None
    assert len(openwebui.accounts(bridged)) == 3
