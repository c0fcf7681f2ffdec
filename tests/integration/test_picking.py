# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which rows of the queue are next: each is taken once, whenever its transaction commits, and no others are read."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from kit import rows
from kit.bridge import change_settings, install_bridge
from kit.pairs import Pair, Session

INSERT = (
    "INSERT INTO user_bridge.sync_queue (entity_type, entity_id) SELECT 'user', %s || n FROM generate_series(1, %s) n"
)


def paused(pair: Pair) -> Pair:
    install_bridge(pair, {"initial_password": "none"})
    pair.litellm_admin.run("SELECT user_bridge.pause()")
    return pair


@pytest.fixture
def bridged(pair: Pair) -> Pair:
    return paused(pair)


def writer(pair: Pair) -> Session:
    return pair.connect("litellm", "postgres", autocommit=False)


def pick(
    pair: Pair, place: dict[str, Any], limit: int = 100, until: str = "clock_timestamp()"
) -> tuple[Any, list[str]]:
    (found,) = pair.litellm_admin.rows(
        f"SELECT p.place, p.ids FROM user_bridge.pick(%s, %s, {until}) AS p", [json.dumps(place), limit]
    )
    return found["place"], found["ids"] or []


def test_each_row_is_taken_once(bridged: Pair) -> None:
    for name in ("a", "b"):
        bridged.litellm_admin.run(INSERT, [name, 25])
    place: dict[str, Any] = {}
    taken: list[str] = []
    for _ in range(6):
        place, ids = pick(bridged, place, 10)
        assert len(ids) == 10 if len(taken) < 50 else ids == []
        taken += ids
    assert sorted(taken) == sorted(f"{name}{number}" for name in "ab" for number in range(1, 26))


@pytest.mark.parametrize("limit", [100, 2])
def test_a_transaction_that_commits_late_is_not_passed_over(bridged: Pair, limit: int) -> None:
    late, other = writer(bridged), writer(bridged)
    late.run(INSERT, ["late", 3])
    other.run(INSERT, ["other", 2])
    other.commit()
    place, ids = pick(bridged, {}, limit)
    assert sorted(ids) == ["other1", "other2"]
    place, ids = pick(bridged, place, limit)
    assert ids == []
    late.commit()
    taken: list[str] = []
    for _ in range(2):
        place, ids = pick(bridged, place, limit)
        taken += ids
        bridged.litellm_admin.run("DELETE FROM user_bridge.sync_queue WHERE entity_id = ANY (%s)", [ids])
    assert sorted(taken) == ["late1", "late2", "late3"]
    assert pick(bridged, place, limit)[1] == []


def test_what_a_delivery_queues_itself_is_not_passed_over(bridged: Pair) -> None:
    drains = writer(bridged)
    drains.run(INSERT, ["first", 1])
    # Younger, and ended before.
    bridged.litellm_admin.run(INSERT, ["other", 1])
    place = drains.value("SELECT p.place FROM user_bridge.pick('{}', 100, now()) AS p")
    drains.run(INSERT, ["follower", 1])
    drains.commit()
    assert set(pick(bridged, place)[1]) >= {"follower1"}


def test_what_has_failed_is_due_after_its_pause(bridged: Pair) -> None:
    bridged.litellm_admin.run(INSERT, ["u", 3])
    bridged.litellm_admin.run("UPDATE user_bridge.sync_queue SET next_attempt_at = now() + interval '1 hour'")
    place, ids = pick(bridged, {})
    assert ids == []
    bridged.litellm_admin.run(
        "UPDATE user_bridge.sync_queue SET next_attempt_at = clock_timestamp() WHERE entity_id = 'u2'"
    )
    place, ids = pick(bridged, place)
    assert ids == ["u2"]
    assert sorted(pick(bridged, {}, until="'infinity'")[1]) == ["u1", "u2", "u3"]


HELD = """INSERT INTO user_bridge.sync_queue (entity_type, entity_id, parked_at, held)
VALUES ('team_member', '["t1", "u1"]', now(), '[{"id": 7}]')"""
FAILED = """INSERT INTO user_bridge.sync_queue (entity_type, entity_id, attempts, next_attempt_at)
VALUES ('user', 'u1', 9, now() + interval '1 hour')"""
MADE_DUE = {
    "approved": (HELD, "SELECT user_bridge.approve('{7}')"),
    "group is gone": (HELD, "SELECT user_bridge.release_orphaned('{team}', '{t1}')"),
    "open webui was migrated": (FAILED, "SELECT user_bridge.retry_on_new_schema('another')"),
}


@pytest.mark.parametrize("why", MADE_DUE)
def test_what_is_made_due_is_not_passed_over(bridged: Pair, why: str) -> None:
    """A place is behind its row. Only by a time is it found before everything is read again."""
    row, make_due = MADE_DUE[why]
    bridged.litellm_admin.run(row)
    bridged.litellm_admin.run("SELECT user_bridge.retry_on_new_schema('one')")
    place, ids = pick(bridged, {})
    assert ids == []
    bridged.litellm_admin.run(make_due)
    assert len(pick(bridged, place)[1]) == 1


def test_neither_what_is_new_nor_what_fails_starves_the_other(bridged: Pair) -> None:
    bridged.litellm_admin.run(INSERT, ["failing", 50])
    bridged.litellm_admin.run("UPDATE user_bridge.sync_queue SET next_attempt_at = now() - interval '1 second'")
    bridged.litellm_admin.run(INSERT, ["new", 50])
    assert {name[:3] for name in pick(bridged, {"due_first": False}, 10)[1]} == {"new"}
    assert {name[:3] for name in pick(bridged, {"due_first": True}, 10)[1]} == {"fai"}


def test_an_entity_goes_with_its_rows_that_have_failed(bridged: Pair) -> None:
    bridged.litellm_admin.run(INSERT, ["u", 1])
    bridged.litellm_admin.run("UPDATE user_bridge.sync_queue SET next_attempt_at = now() + interval '1 hour'")
    bridged.litellm_admin.run(INSERT, ["u", 1])
    (found,) = bridged.litellm_admin.rows("SELECT * FROM user_bridge.pick('{}', 10, clock_timestamp())")
    assert found["ids"] == ["u1"]
    assert bridged.litellm_admin.value("SELECT cardinality(txids) FROM user_bridge.pick('{}', 10, now())") == 2


def entries_read(pair: Pair, place: dict[str, Any]) -> int:
    """Index entries of the queue that one look reads."""
    return read_by(pair, "SELECT * FROM user_bridge.pick(%s, 10, clock_timestamp())", [json.dumps(place)])


def read_by(pair: Pair, query: str, parameters: list[Any], table: str = "sync_queue") -> int:
    """Index entries of a table of the bridge's that a query reads."""
    session = pair.connect("litellm", "postgres", autocommit=False)
    count = (
        "SELECT coalesce(sum(pg_stat_get_xact_tuples_returned(i.indexrelid)), 0)::bigint FROM pg_index AS i "
        f"WHERE i.indrelid = 'user_bridge.{table}'::regclass"
    )
    before = session.value(count)
    session.run(query, parameters)
    read = int(session.value(count) - before)
    session.rollback()
    return read


def test_deleted_and_failing_rows_are_not_read_again(bridged: Pair) -> None:
    holder = bridged.connect("litellm", "postgres", autocommit=False)
    holder.run("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    holder.run("SELECT txid_current(), count(*) FROM user_bridge.sync_queue")
    bridged.litellm_admin.run(INSERT, ["gone", 500])
    bridged.litellm_admin.run(INSERT, ["failing", 500])
    bridged.litellm_admin.run(
        "UPDATE user_bridge.sync_queue SET next_attempt_at = now() + interval '1 hour' WHERE entity_id LIKE 'failing%'"
    )
    bridged.litellm_admin.run("DELETE FROM user_bridge.sync_queue WHERE entity_id LIKE 'gone%'")
    place, ids = pick(bridged, {})
    assert ids == []
    assert entries_read(bridged, {}) > 500
    assert entries_read(bridged, place) < 10
    # Nor is a large queue when only a little of it is taken.
    bridged.litellm_admin.run(INSERT, ["more", 5000])
    assert entries_read(bridged, place) < 50
    holder.rollback()


@pytest.mark.parametrize("few", [True, False], ids=["one transaction", "many transactions"])
def test_rows_of_a_batch_are_found_without_all_that_its_transaction_queued(bridged: Pair, few: bool) -> None:
    bridged.litellm_admin.run(INSERT, ["u", 3000 if few else 1])
    for number in range(0 if few else 20):
        bridged.litellm_admin.run(INSERT, [f"v{number}-", 1])
    txids = bridged.litellm_admin.value("SELECT array_agg(DISTINCT txid)::text FROM user_bridge.sync_queue")
    ask = "SELECT entity_id FROM user_bridge.rows_of_transactions('{user,user,team}', '{u1,no,u1}', %s)"
    assert bridged.litellm_admin.rows(ask, [txids]) == [{"entity_id": "u1"}]
    assert read_by(bridged, ask, [txids]) < 50


def hold_a_snapshot(pair: Pair) -> Session:
    """Somebody who only reads, as pg_dump does: what is deleted from now on stays in the tables and their indexes."""
    holder = pair.connect("litellm", "postgres", autocommit=False)
    holder.run("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM user_bridge.sync_queue")
    return holder


def has_beyond(pair: Pair, place: dict[str, Any]) -> bool:
    return bool(pair.litellm_admin.value("SELECT user_bridge.has_beyond(%s)", [json.dumps(place)]))


LEFT = {
    "waits for a pause": (FAILED, False),
    "has come since": (INSERT % ("'new'", 1), True),
    "commits late": (INSERT % ("'late'", 1), False),
}


@pytest.mark.parametrize("why", LEFT)
def test_what_is_left_is_known(bridged: Pair, why: str) -> None:
    statement, after = LEFT[why]
    session = writer(bridged)
    if not after:
        session.run(statement)
    if why != "commits late":
        session.commit()
    # Younger than the session's, and ended before.
    bridged.litellm_admin.run("SELECT pg_current_xact_id()")
    place, ids = pick(bridged, {})
    assert ids == []
    if after:
        assert not has_beyond(bridged, place)
        session.run(statement)
    session.commit()
    assert has_beyond(bridged, place) and has_beyond(bridged, {})


def test_what_was_not_free_is_known(bridged: Pair) -> None:
    """It is behind the place, has no pause, and is picked again from the beginning."""
    admin = bridged.litellm_admin
    admin.run("SELECT user_bridge.resume()")
    change_settings(bridged, delivery="queued")
    rows.add_user(bridged.litellm, "u1", "u1@example.com")
    state = admin.value("SELECT user_bridge.drainer_round('{}')")
    rows.change_user(bridged.litellm, "u1", user_alias="Ann")
    # There is no time left to send it.
    admin.run("ALTER TABLE user_bridge.settings DROP CONSTRAINT settings_target_timeout_ms_check")
    admin.run("UPDATE user_bridge.settings SET target_timeout_ms = 0")
    state = admin.value("SELECT user_bridge.drainer_round(%s)", [json.dumps(state)])
    assert admin.value("SELECT count(*) FROM user_bridge.sync_queue") == 1
    assert has_beyond(bridged, state["place"])


def test_a_drainer_with_nothing_to_do_reads_nothing(pair: Pair) -> None:
    install_bridge(pair, {"initial_password": "none"})
    holder = hold_a_snapshot(pair)
    pair.litellm_admin.rows("SELECT * FROM user_bridge.maintain()")
    pair.litellm_admin.run(INSERT, ["gone", 500])
    state = pair.litellm_admin.value("SELECT user_bridge.drainer_round('{}')")
    pair.litellm_admin.run("DELETE FROM user_bridge.sync_queue; SELECT setval('user_bridge.backlog', 1)")
    state = pair.litellm_admin.value("SELECT user_bridge.drainer_round(%s)", [json.dumps(state)])
    pair.litellm_admin.run("SELECT setval('user_bridge.backlog', 2)")
    state["beat"] = time.time()
    read = read_by(pair, "SELECT user_bridge.drainer_round(%s)", [json.dumps(state)])
    holder.rollback()
    assert read < 10
    assert pair.litellm_admin.value("SELECT last_value FROM user_bridge.backlog") == 1


def test_what_is_done_is_deleted_without_what_was_deleted(bridged: Pair) -> None:
    """By a plan that was made for an empty queue, as that of a session is that has just begun."""
    holder = hold_a_snapshot(bridged)
    bridged.litellm_admin.run("VACUUM ANALYZE user_bridge.sync_queue")
    bridged.litellm_admin.run(INSERT, ["gone", 500])
    bridged.litellm_admin.run("DELETE FROM user_bridge.sync_queue")
    bridged.litellm_admin.run(INSERT, ["u", 1])
    txids = bridged.litellm_admin.value("SELECT array_agg(txid)::text FROM user_bridge.sync_queue")
    done = json.dumps([{"type": "user", "id": "u1", "status": "SUCCESS"}])
    read = read_by(bridged, "SELECT user_bridge.delete_done(%s, %s)", [done, txids])
    holder.rollback()
    assert read < 10


def test_sequences_are_compared_without_what_was_deleted(bridged: Pair) -> None:
    holder = hold_a_snapshot(bridged)
    bridged.litellm_admin.run(
        "INSERT INTO user_bridge.sync_mapping (litellm_type, litellm_id, openwebui_type, openwebui_id) "
        "SELECT 'user', n, 'user', n FROM generate_series(1, 500) AS n; DELETE FROM user_bridge.sync_mapping"
    )
    read = read_by(bridged, "SELECT user_bridge.advance_sequences()", [], "sync_mapping")
    holder.rollback()
    assert read < 10


def delays(pair: Pair) -> int:
    return int(pair.litellm_admin.value("SELECT coalesce(sum(entities), 0) FROM user_bridge.delays"))


def test_delays_are_stored_now_and_then(pair: Pair) -> None:
    """Not with each batch: all versions of a row are read to find its last one while somebody holds a snapshot."""
    install_bridge(pair, {"initial_password": "none", "delivery": "queued"})
    admin = pair.litellm_admin
    state = admin.value("SELECT user_bridge.drainer_round('{}')")
    for number in range(3):
        rows.add_user(pair.litellm, f"u{number}", f"u{number}@example.com")
        state = admin.value("SELECT user_bridge.drainer_round(%s)", [json.dumps({**state, "counted": time.time()})])
    counted = sum(entities for entities, _ in state.get("delays", {}).values())
    assert (delays(pair), counted) == (0, 3)
    admin.run("SELECT user_bridge.drainer_round(%s)", [json.dumps({**state, "counted": time.time() - 2})])
    assert delays(pair) == 3


def test_delays_are_stored_when_it_ends(pair: Pair) -> None:
    install_bridge(pair, {"initial_password": "none", "delivery": "queued"})
    rows.add_user(pair.litellm, "u1", "u1@example.com")
    pair.litellm_admin.run("CALL user_bridge.drainer(0)")
    assert delays(pair) == 1


def queue_fifty_changes_of_each_of_twenty(pair: Pair) -> None:
    install_bridge(pair, {"initial_password": "none"})
    for number in range(20):
        rows.add_user(pair.litellm, f"u{number}", f"u{number}@example.com")
    pair.litellm_admin.run(
        "INSERT INTO user_bridge.sync_queue (txid, entity_type, entity_id) "
        "SELECT (n / 5 + 100)::text::xid8, 'user', 'u' || n % 20 FROM generate_series(0, 999) AS n"
    )


def test_what_few_have_changed_again_and_again_is_drained_without_a_pause(pair: Pair) -> None:
    """A batch of a hundred rows names twenty entities then, and is full all the same."""
    queue_fifty_changes_of_each_of_twenty(pair)
    state = pair.litellm_admin.value("SELECT user_bridge.drainer_round('{}')")
    assert state["pause"] == 0
    assert pair.litellm_admin.value("SELECT EXISTS (SELECT FROM user_bridge.sync_queue)")


def test_one_delivery_settles_what_an_entity_has_further_ahead(pair: Pair) -> None:
    """The first batch reads 400 rows of twenty entities, the next four times as many for as many entities."""
    queue_fifty_changes_of_each_of_twenty(pair)
    state: dict[str, Any] = {}
    left: list[int] = []
    while not left or left[-1]:
        state = pair.litellm_admin.value("SELECT user_bridge.drainer_round(%s)", [json.dumps(state)])
        left.append(pair.litellm_admin.value("SELECT count(*) FROM user_bridge.sync_queue"))
    assert left == [600, 0]


def test_what_comes_after_one_entity_too_many_is_not_passed_over(bridged: Pair) -> None:
    bridged.litellm_admin.run(
        "INSERT INTO user_bridge.sync_queue (txid, entity_type, entity_id) "
        "SELECT (n + 100)::text::xid8, 'user', (ARRAY['a', 'b', 'c', 'a', 'd', 'b'])[n] FROM generate_series(1, 6) AS n"
    )
    (found,) = bridged.litellm_admin.rows("SELECT * FROM user_bridge.pick('{}', 2, 'infinity')")
    assert found["ids"] == ["a", "b"]
    assert sorted(found["txids"].strip("{}").split(",")) == ["101", "102", "104", "106"]
    assert pick(bridged, found["place"], 2)[1] == ["c", "a"]


def test_waiting_removals_are_counted_for_those_of_accounts_only(bridged: Pair) -> None:
    """The count reads the whole queue."""
    rows.add_user(bridged.litellm, "stays", "stays@example.com")
    facts = "SELECT user_bridge.removal_facts(%s, NULL)"
    membership = {"type": "team_member", "id": '["t", "u"]', "desired": None}
    deletion, disabling = ({"type": "user", "id": "u", "desired": each} for each in (None, {"disabled": True}))
    counted = [
        {kind for kind, count in bridged.litellm_admin.value(facts, [json.dumps(items)]).items() if count is not None}
        for items in ([membership], [membership, deletion], [disabling])
    ]
    known = {"source_is_empty"}
    assert counted == [known, known | {"removals_pending"}, known | {"disablings_pending"}]
    bridged.litellm.run('DELETE FROM "LiteLLM_UserTable"')
    assert bridged.litellm_admin.value(facts, [json.dumps([membership])])["removals_pending"] is not None
