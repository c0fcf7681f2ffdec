# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The view metrics: what it says in each state of the bridge, and what whoever may read it cannot do."""

from __future__ import annotations

import time
from typing import Any

import pytest

from kit import rows
from kit.bridge import drainer, install_bridge
from kit.cluster import SUPERUSER
from kit.pairs import Pair, Session
from test_delivery import ApplyGone

NO_LABELS: tuple[tuple[str, str], ...] = ()


def metrics(session: Session) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Values by name and labels."""
    return {
        (row["name"].removeprefix("user_bridge_"), tuple(sorted(row["labels"].items()))): row["value"]
        for row in session.rows("SELECT name, labels, value FROM user_bridge.metrics")
    }


def seen(pair: Pair) -> dict[Any, float]:
    """The same, those without labels by their names."""
    return {
        name if not labels else (name, *(value for _label, value in labels)): value
        for (name, labels), value in metrics(pair.litellm_admin).items()
    }


@pytest.fixture
def pair_at_work(pair: Pair) -> Pair:
    install_bridge(pair, {"initial_password": "none"})
    return pair


def queue(figures: dict[Any, float]) -> tuple[float, float, float]:
    waiting, failing, held = (figures["queue_entities", state] for state in ("waiting", "failing", "held"))
    return waiting, failing, held


def test_a_bridge_that_has_done_nothing_yet(pair_at_work: Pair) -> None:
    found = seen(pair_at_work)
    assert (found["paused"], found["target_up"], found["breaker_open"], found["drainer_up"]) == (0, 1, 0, 0)
    assert queue(found) == (0, 0, 0) and found["queue_oldest_seconds"] == 0
    assert (found["commits_total", "inline"], found["commits_total", "queued"]) == (0, 0)
    assert found["drain_delay_seconds_count"] == found["drain_delay_seconds_bucket", "+Inf"] == 0
    assert abs(found["collected_timestamp_seconds"] - time.time()) < 60
    version = pair_at_work.litellm_admin.value("SELECT user_bridge.version()")
    assert found["info", version] == 1
    assert "last_success_timestamp_seconds" not in found


def test_a_healthy_bridge(pair_at_work: Pair) -> None:
    rows.add_user(pair_at_work.litellm, "u1", "ann@example.com")
    rows.add_user(pair_at_work.litellm, "u2")
    pair_at_work.litellm_admin.run("UPDATE user_bridge.settings SET delivery = 'queued'")
    rows.add_user(pair_at_work.litellm, "u3", "bob@example.com")
    with drainer(pair_at_work):
        _await(pair_at_work, lambda found: queue(found) == (0, 0, 0) and found["drainer_up"] == 1)
        _await(pair_at_work, lambda found: found["drain_delay_seconds_count"] == 1)
    pair_at_work.litellm_admin.run("SELECT user_bridge.count_the_hour()")
    found = seen(pair_at_work)
    assert (found["commits_total", "inline"], found["commits_total", "queued"]) == (2, 1)
    # By action, result and type.
    assert found["deliveries_total", "sync", "success", "user"] == 2
    assert found["deliveries_total", "sync", "skipped", "user"] == 1
    assert found["mapped_entities", "user"] == 2
    assert found["drain_delay_seconds_count"] == found["drain_delay_seconds_bucket", "21600.0"] == 1
    assert 0 < found["drain_delay_seconds_sum"] < 60
    assert abs(found["last_success_timestamp_seconds"] - time.time()) < 60


def _await(pair: Pair, holds: Any) -> None:
    end = time.monotonic() + 25
    while not holds(seen(pair)):
        assert time.monotonic() < end, seen(pair)
        time.sleep(0.05)


def test_an_outage(pair_at_work: Pair) -> None:
    outage = ApplyGone(pair_at_work)
    outage.begin()
    rows.add_user(pair_at_work.litellm, "u1", "ann@example.com")
    pair_at_work.litellm_admin.run(
        "UPDATE user_bridge.sync_queue SET enqueued_at = enqueued_at - interval '100 seconds'"
    )
    found = seen(pair_at_work)
    assert (found["target_up"], found["breaker_open"]) == (0, 1)
    assert sum(queue(found)) == 1 and 100 <= found["queue_oldest_seconds"] < 200
    outage.end()
    pair_at_work.litellm_admin.run("SELECT user_bridge.drain()")
    found = seen(pair_at_work)
    assert (found["target_up"], found["breaker_open"]) == (1, 0) and queue(found) == (0, 0, 0)


def test_a_pause_and_what_is_held_and_fails(pair_at_work: Pair) -> None:
    admin = pair_at_work.litellm_admin
    admin.run("SELECT user_bridge.pause()")
    for name in ("u1", "u2", "u3"):
        rows.add_user(pair_at_work.litellm, name, f"{name}@example.com")
    # As settle() leaves them.
    admin.run("UPDATE user_bridge.sync_queue SET parked_at = now(), held = '[]' WHERE entity_id = 'u1'")
    admin.run("UPDATE user_bridge.sync_queue SET last_error = 'refused', attempts = 1 WHERE entity_id = 'u2'")
    admin.run("UPDATE user_bridge.sync_queue SET enqueued_at = now() - interval '1 day' WHERE entity_id = 'u1'")
    found = seen(pair_at_work)
    assert found["paused"] == 1 and queue(found) == (1, 1, 1)
    # What waits for a person is not late.
    assert found["queue_oldest_seconds"] < 3600
    admin.run("SELECT user_bridge.pause_until(clock_timestamp() + interval '1 hour')")
    assert seen(pair_at_work)["paused"] == 1
    admin.run("UPDATE user_bridge.settings SET paused_until = clock_timestamp()")
    assert seen(pair_at_work)["paused"] == 0


def deliveries(pair: Pair) -> dict[str, float]:
    found = metrics(pair.litellm_admin).items()
    return {dict(labels)["result"]: value for (name, labels), value in found if name == "deliveries_total"}


def test_counters_never_fall(pair_at_work: Pair) -> None:
    admin = pair_at_work.litellm_admin
    rows.add_user(pair_at_work.litellm, "u1", "ann@example.com")
    admin.run("SELECT user_bridge.count_the_hour()")
    admin.run("SELECT user_bridge.count_the_hour()")
    assert deliveries(pair_at_work) == {"success": 1}
    # Counts of hours long ago are cut, and so is the audit.
    admin.run("UPDATE user_bridge.hourly SET hour = hour - interval '40 days'; DELETE FROM user_bridge.sync_audit")
    admin.run("SELECT user_bridge.count_the_hour()")
    assert admin.value("SELECT count(*) FROM user_bridge.hourly WHERE measure = 'deliveries'") == 0
    assert deliveries(pair_at_work) == {"success": 1}
    # Somebody empties the audit within the hour.
    for number in range(2, 5):
        rows.add_user(pair_at_work.litellm, f"u{number}", f"u{number}@example.com")
    admin.run("SELECT user_bridge.count_the_hour(); DELETE FROM user_bridge.sync_audit WHERE record_id <> 'u4'")
    admin.run("SELECT user_bridge.count_the_hour()")
    assert deliveries(pair_at_work) == {"success": 4}
    rows.add_user(pair_at_work.litellm, "u5", "u5@example.com")
    admin.run("SELECT user_bridge.count_the_hour()")
    assert deliveries(pair_at_work) == {"success": 5}


def test_what_was_delivered_while_nobody_counted_is_counted(pair_at_work: Pair) -> None:
    """Commits deliver without a drainer."""
    admin = pair_at_work.litellm_admin
    admin.run("SELECT user_bridge.count_the_hour(); UPDATE user_bridge.hourly SET hour = hour - interval '9 hours'")
    rows.add_user(pair_at_work.litellm, "u1", "ann@example.com")
    admin.run("UPDATE user_bridge.sync_audit SET created_at = created_at - interval '5 hours'")
    admin.run("SELECT user_bridge.count_the_hour()")
    assert deliveries(pair_at_work) == {"success": 1}


def test_counting_goes_on_in_a_pause(pair_at_work: Pair) -> None:
    admin = pair_at_work.litellm_admin
    rows.add_user(pair_at_work.litellm, "u1", "ann@example.com")
    admin.run("SELECT user_bridge.pause()")
    admin.run("SELECT user_bridge.upkeep()")
    assert deliveries(pair_at_work) == {"success": 1}
    assert {row["task"] for row in admin.rows("SELECT task FROM user_bridge.upkeep")} == {"audit", "hourly counts"}


def count_delay(queued_at: str, entities: int) -> str:
    return f"SELECT user_bridge.store_delays(user_bridge.with_delay(NULL, {queued_at}, {entities}))"


def test_delays_are_a_histogram(pair_at_work: Pair) -> None:
    admin = pair_at_work.litellm_admin
    for seconds, entities in ((0.02, 1), (2, 5), (90000, 1), (0.02, 3)):
        admin.run(count_delay(f"clock_timestamp() - interval '{seconds} seconds'", entities))
    # At once, as a drainer counts several batches.
    admin.run(
        "SELECT user_bridge.store_delays(user_bridge.with_delay(user_bridge.with_delay(user_bridge.with_delay(NULL, "
        "clock_timestamp() + interval '1 hour', 1), NULL, 1), clock_timestamp(), 2))"
    )
    found = seen(pair_at_work)
    ends = {labels[0]: value for (name, *labels), value in _labelled(found) if name == "drain_delay_seconds_bucket"}
    assert (ends["0.05"], ends["1.0"], ends["2.5"], ends["21600.0"], ends["+Inf"]) == (7, 7, 12, 12, 13)
    assert list(ends.values()) == sorted(ends.values())
    assert found["drain_delay_seconds_count"] == 13
    assert 90010 <= found["drain_delay_seconds_sum"] < 90060


def _labelled(found: dict[Any, float]) -> list[tuple[Any, float]]:
    return [(name, value) for name, value in found.items() if isinstance(name, tuple)]


def test_a_locked_delay_holds_up_no_delivery(pair_at_work: Pair) -> None:
    pair_at_work.litellm_admin.run(count_delay("clock_timestamp()", 1))
    other = pair_at_work.connect("litellm", SUPERUSER)
    with other.transaction():
        other.run("SELECT FROM user_bridge.delays FOR UPDATE")
        pair_at_work.litellm_admin.run("SET statement_timeout = '30s'")
        pair_at_work.litellm_admin.run(count_delay("clock_timestamp()", 1))
    assert seen(pair_at_work)["drain_delay_seconds_count"] == 1


def test_what_is_counted_in_open_webui(pair: Pair) -> None:
    install_bridge(pair, {"initial_password": "email"})
    for name in ("u1", "u2", "u3"):
        rows.add_user(pair.litellm, name, f"{name}@example.com")
    found = seen(pair)
    assert not {"initial_passwords", "accounts_without_sign_in", "lookout_differences"} & set(found)
    pair.openwebui.run("UPDATE auth SET password = 'of her own' WHERE id = 'usr_u1'")
    pair.openwebui.run("UPDATE auth SET password = '' WHERE id = 'usr_u2'")
    pair.openwebui.run("UPDATE \"user\" SET name = 'by hand' WHERE id = 'usr_u3'")
    pair.litellm_admin.run("SELECT * FROM user_bridge.maintain()")
    found = seen(pair)
    assert (found["initial_passwords"], found["accounts_without_sign_in"]) == (1, 1)
    assert found["lookout_differences"] == 1
    assert abs(found["lookout_timestamp_seconds"] - time.time()) < 60
    assert found["upkeep_failures", "lookout"] == 0


def test_counting_that_takes_too_long_is_no_outage(pair_at_work: Pair) -> None:
    # What else is done has been compiled: no other task takes so long.
    pair_at_work.litellm_admin.run("SELECT user_bridge.upkeep(); UPDATE user_bridge.upkeep SET next_at = now()")
    pair_at_work.openwebui_admin.run(
        "CREATE OR REPLACE FUNCTION user_bridge.count_sign_in() RETURNS jsonb LANGUAGE sql AS"
        " $$ SELECT to_jsonb(pg_sleep(30)) $$"
    )
    pair_at_work.litellm_admin.run("UPDATE user_bridge.settings SET target_timeout_ms = 1000")
    pair_at_work.litellm_admin.run("SELECT user_bridge.upkeep()")
    found = seen(pair_at_work)
    assert found["upkeep_failures", "sign-in counts"] == 1 and found["target_up"] == 1
