# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counts by the hour: what was delivered, what is there and what waited, kept for 30 days."""

from __future__ import annotations

import pytest

from kit import rows
from kit.bridge import install_bridge
from kit.pairs import Pair

HOUR = "date_trunc('hour', clock_timestamp(), 'UTC')"


@pytest.fixture
def bridged(pair: Pair) -> Pair:
    install_bridge(pair, {"initial_password": "none"})
    return lived_in(pair)


def stay_within_the_hour(pair: Pair) -> None:
    """Where it is nearly over, begin with the next one: in the middle of a test it would change the counts."""
    pair.litellm_admin.run(
        f"SELECT pg_sleep(t.rest + 0.1) FROM (SELECT extract(epoch FROM {HOUR} + interval '1 hour' - clock_timestamp())"
        "::float8) AS t(rest) WHERE t.rest < 30"
    )


def lived_in(pair: Pair) -> Pair:
    """Two users, one of whom has no address, in the hour before; another waits."""
    stay_within_the_hour(pair)
    rows.add_user(pair.litellm, "u1", "ann@example.com")
    rows.add_user(pair.litellm, "u2")
    pair.litellm_admin.run(f"UPDATE user_bridge.sync_audit SET created_at = {HOUR} - interval '1 second'")
    pair.litellm_admin.run("UPDATE user_bridge.settings SET delivery = 'queued'")
    rows.add_user(pair.litellm, "u3", "bob@example.com")
    pair.litellm_admin.run("UPDATE user_bridge.sync_queue SET enqueued_at = enqueued_at - interval '100 seconds'")
    return pair


def counts(pair: Pair, measure: str, hours_ago: int = 0) -> dict[str, int]:
    found = pair.litellm_admin.rows(
        f"SELECT label, value FROM user_bridge.hourly WHERE measure = %s AND hour = {HOUR} - %s * interval '1 hour'",
        [measure, hours_ago],
    )
    return {row["label"]: row["value"] for row in found}


def count(pair: Pair) -> int:
    return int(pair.litellm_admin.value("SELECT user_bridge.count_the_hour()"))


def test_what_is_counted(bridged: Pair) -> None:
    count(bridged)
    assert counts(bridged, "deliveries", 1) == {"SYNC_USER SUCCESS": 1, "SYNC_USER SKIPPED": 1}
    assert counts(bridged, "deliveries") == {}
    assert counts(bridged, "mapped") == {"user": 1}
    queue = counts(bridged, "queue")
    assert (queue["waiting"], queue["failing"], queue["held"]) == (1, 0, 0) and 100 <= queue["oldest_seconds"] < 200
    assert queue.pop("delay_ms") == 0
    # Later in the same hour: deliveries are counted anew, and of what waited the most is kept.
    bridged.litellm_admin.run("SELECT user_bridge.drain()")
    for seconds in (100, 1):
        # As the drainer does after each batch.
        bridged.litellm_admin.run(f"SELECT user_bridge.note_delay(clock_timestamp() - {seconds} * interval '1 second')")
    bridged.litellm_admin.run(
        "INSERT INTO user_bridge.sync_audit (operation, record_id, sync_result) VALUES ('PAUSE', 'postgres', 'SUCCESS')"
    )
    count(bridged)
    assert counts(bridged, "deliveries") == {"SYNC_USER SUCCESS": 1}
    later = counts(bridged, "queue")
    assert 100_000 <= later.pop("delay_ms") < 200_000
    assert counts(bridged, "mapped") == {"user": 2} and later == queue
    assert bridged.litellm_admin.value("SELECT pg_sequence_last_value('user_bridge.longest_delay')") == 1
    assert counts(bridged, "deliveries", 1) == {"SYNC_USER SUCCESS": 1, "SYNC_USER SKIPPED": 1}


def test_it_is_kept_for_thirty_days(bridged: Pair) -> None:
    bridged.litellm_admin.run(
        "INSERT INTO user_bridge.hourly (hour, measure, label, value)"
        f" SELECT {HOUR} - d * interval '1 day', 'mapped', 'user', d FROM unnest(ARRAY[29, 30, 31]) AS d"
    )
    assert count(bridged) == 1
    kept = bridged.litellm_admin.rows("SELECT value FROM user_bridge.hourly WHERE measure = 'mapped' ORDER BY hour")
    assert [row["value"] for row in kept] == [30, 29, 1]


def test_the_upkeep_counts(bridged: Pair) -> None:
    assert {"task": "hourly counts removed", "done": 0} in bridged.litellm_admin.rows(
        "SELECT * FROM user_bridge.maintain()"
    )
    assert counts(bridged, "mapped") == {"user": 1}


def test_the_last_hours_are_found_by_an_index(bridged: Pair) -> None:
    """The audit of 90 days is not read every five minutes."""
    bridged.litellm_admin.run(
        "INSERT INTO user_bridge.sync_audit (operation, record_id, sync_result, created_at)"
        " SELECT 'SYNC_USER', 'u', 'SUCCESS', now() - interval '60 days' + n * interval '1 minute'"
        " FROM generate_series(1, 60000) AS n"
    )
    bridged.litellm_admin.run("ANALYZE user_bridge.sync_audit")
    plan = bridged.litellm_admin.rows("EXPLAIN SELECT * FROM user_bridge.hourly_deliveries(now() - interval '2 hours')")
    assert "sync_audit_created" in str(plan), plan
