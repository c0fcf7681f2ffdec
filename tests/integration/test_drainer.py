# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The drainer: one session that delivers what commits left in the queue, whatever the surroundings."""

from __future__ import annotations

import contextlib
import threading
import time

import psycopg2
import psycopg2.errors
import pytest

from hard_support import threads, until
from kit import openwebui, rows
from kit.bridge import drainer, install_bridge
from kit.cluster import SUPERUSER
from kit.pairs import SYNC_USER, Pair, Session
from test_delivery import queue

DRAINER = "application_name = 'user_bridge drainer'"


@pytest.fixture
def bridged(pair: Pair) -> Pair:
    install_bridge(pair, {"initial_password": "none"})
    return pair


def lives(pair: Pair) -> bool:
    return bool(pair.litellm_admin.value("SELECT user_bridge.drainer_lives()"))


def leave_to_the_drainer(pair: Pair, *names: str) -> None:
    """Users whose COMMIT only queues, as above READ COMMITTED."""
    session = pair.connect("litellm")
    session.run("SET default_transaction_isolation = 'repeatable read'")
    with session.transaction():
        for name in names:
            rows.add_user(session, name, f"{name}@example.com")


def arrived(pair: Pair, name: str) -> bool:
    return f"{name}@example.com" in openwebui.accounts(pair)


def call_drainer(session: Session, seconds: int) -> None:
    with contextlib.suppress(psycopg2.Error):
        session.run(f"CALL user_bridge.drainer({seconds})")


def test_it_delivers_while_it_lives(bridged: Pair) -> None:
    leave_to_the_drainer(bridged, "u1")
    assert not lives(bridged) and not arrived(bridged, "u1")
    with drainer(bridged) as errors:
        assert lives(bridged)
        until(lambda: arrived(bridged, "u1"))
        leave_to_the_drainer(bridged, "u2")
        until(lambda: arrived(bridged, "u2"))
        # It commits after Open WebUI has.
        until(lambda: queue(bridged) == [])
    assert errors == []
    assert not lives(bridged)


def test_it_ends_when_its_time_is_over(bridged: Pair) -> None:
    leave_to_the_drainer(bridged, "u1")
    bridged.litellm_admin.run("CALL user_bridge.drainer(0)")
    assert arrived(bridged, "u1")
    assert not lives(bridged)


def test_a_second_one_waits(bridged: Pair) -> None:
    second = bridged.connect("litellm", SUPERUSER)
    with drainer(bridged):
        first = bridged.litellm_admin.value(f"SELECT pid FROM pg_stat_activity WHERE {DRAINER}")
        thread = threading.Thread(target=call_drainer, args=(second, 60), daemon=True)
        thread.start()
        # The first goes on.
        leave_to_the_drainer(bridged, "u1")
        until(lambda: arrived(bridged, "u1"))
        assert holds_the_lock(bridged, first) and not holds_the_lock(bridged, second.pid)
    until(lambda: holds_the_lock(bridged, second.pid))
    leave_to_the_drainer(bridged, "u2")
    until(lambda: arrived(bridged, "u2"))
    bridged.litellm_admin.run("SELECT pg_cancel_backend(%s)", [second.pid])
    thread.join(25)
    assert not thread.is_alive()


def test_only_one_delivers(bridged: Pair) -> None:
    assert bridged.litellm_admin.value("SELECT user_bridge.begin_drainer()") is True
    leave_to_the_drainer(bridged, "u1")
    other = bridged.connect("litellm", SUPERUSER)
    other.run("CALL user_bridge.drainer(0)")
    assert not arrived(bridged, "u1")
    bridged.litellm_admin.run("SELECT user_bridge.end_drainer()")
    other.run("CALL user_bridge.drainer(0)")
    assert arrived(bridged, "u1")


def holds_the_lock(pair: Pair, pid: int) -> bool:
    return bool(
        pair.litellm_admin.value(
            "SELECT count(*) FROM pg_locks WHERE pid = %s AND locktype = 'advisory' "
            "AND classid::bigint << 32 | objid::bigint = user_bridge.lock_key('drainer')",
            [pid],
        )
    )


@pytest.mark.parametrize("level", ["serializable", "repeatable read"])
def test_it_is_read_committed_whatever_the_default_is(bridged: Pair, level: str) -> None:
    bridged.cluster.execute(f"ALTER DATABASE \"{bridged.litellm_db}\" SET default_transaction_isolation = '{level}'")
    leave_to_the_drainer(bridged, "u1")
    session = bridged.connect("litellm", SUPERUSER)
    session.run("CALL user_bridge.drainer(0)")
    assert arrived(bridged, "u1")
    assert session.value("SHOW transaction_isolation") == level


def test_a_limit_for_transactions_is_for_others(bridged: Pair) -> None:
    """One that is too short for any batch, and that PostgreSQL 17 ends a session for."""
    if bridged.cluster.major < 17:
        pytest.skip(f"PostgreSQL {bridged.cluster.major} has no transaction_timeout")
    leave_to_the_drainer(bridged, "u1")
    session = bridged.connect("litellm", SUPERUSER)
    session.run("SET transaction_timeout = '250ms'")
    holder = bridged.connect("openwebui", autocommit=False)
    holder.run('LOCK TABLE "user" IN ACCESS EXCLUSIVE MODE')

    def give_back() -> None:
        time.sleep(0.6)
        holder.rollback()

    with threads(give_back):
        session.run("CALL user_bridge.drainer(0)")
    assert arrived(bridged, "u1")
    assert session.value("SHOW transaction_timeout") == "250ms"


def test_it_waits_where_nothing_may_be_written(bridged: Pair) -> None:
    leave_to_the_drainer(bridged, "u1")
    session = bridged.connect("litellm", SUPERUSER)
    session.run("SET default_transaction_read_only = on")
    session.run("CALL user_bridge.drainer(0)")
    assert not arrived(bridged, "u1")
    session.run("RESET default_transaction_read_only")
    session.run("CALL user_bridge.drainer(0)")
    assert arrived(bridged, "u1")


def _connected(pair: Pair) -> str:
    """The bridge's sessions of now: a drainer has another one at once."""
    found = pair.openwebui_admin.rows("SELECT pid FROM pg_stat_activity WHERE usename = %s", [SYNC_USER])
    return ", ".join(str(row["pid"]) for row in found)


def test_it_connects_again_when_its_connection_has_ended(bridged: Pair) -> None:
    with drainer(bridged) as errors:
        leave_to_the_drainer(bridged, "u1")
        until(lambda: arrived(bridged, "u1"))
        bridged.cluster.end_sessions(f"pid IN ({_connected(bridged)})")
        leave_to_the_drainer(bridged, "u2")
        until(lambda: arrived(bridged, "u2"))
        assert errors == []


def test_an_error_ends_a_round_and_not_the_drainer(bridged: Pair) -> None:
    """It is stored, and the drainer goes on after a pause."""
    pick = "user_bridge.pick(jsonb, integer, timestamptz)"
    shipped = bridged.litellm_admin.value(f"SELECT pg_get_functiondef('{pick}'::regprocedure)")
    with drainer(bridged) as errors:
        bridged.litellm_admin.run(shipped.replace("BEGIN", "BEGIN RAISE 'broken';", 1))
        leave_to_the_drainer(bridged, "u1")
        stored = "SELECT last_error FROM user_bridge.upkeep WHERE task = 'drainer' AND failures > 0"
        until(lambda: bridged.litellm_admin.value(stored) == "broken")
        bridged.litellm_admin.run(shipped)
        until(lambda: arrived(bridged, "u1"))
        until(lambda: bridged.litellm_admin.value(stored) is None)
        assert errors == []


def test_one_that_is_cancelled_lets_another_be_it(bridged: Pair) -> None:
    """Also when its session goes on."""
    session = bridged.connect("litellm", SUPERUSER)
    thread = threading.Thread(target=call_drainer, args=(session, 60), daemon=True)
    thread.start()
    until(lambda: holds_the_lock(bridged, session.pid))
    bridged.litellm_admin.run("SELECT pg_cancel_backend(%s)", [session.pid])
    thread.join(25)
    assert not thread.is_alive() and session.value("SELECT 1") == 1
    assert not lives(bridged)
    leave_to_the_drainer(bridged, "u1")
    bridged.litellm_admin.run("CALL user_bridge.drainer(0)")
    assert arrived(bridged, "u1")


def test_who_may_not_be_the_drainer(bridged: Pair) -> None:
    """LiteLLM's own role may not: its triggers would be delivered by what it can stop."""
    for call in ("CALL user_bridge.drainer(0)", "SELECT user_bridge.drainer_round('{}')"):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            bridged.litellm.run(call)


def test_a_foreign_lock_or_an_old_beat_is_no_drainer(bridged: Pair) -> None:
    with drainer(bridged):
        assert lives(bridged)
    # Its beat is young, and somebody who has seen the key of its lock holds it: no commit must wait for a drainer.
    intruder = bridged.connect("litellm")
    intruder.run("SELECT pg_advisory_lock(%s)", [bridged.litellm_admin.value("SELECT user_bridge.lock_key('drainer')")])
    bridged.litellm_admin.run(
        "SELECT setval('user_bridge.drainer_beat', ((extract(epoch FROM clock_timestamp()) - 16) * 1000)::bigint)"
    )
    assert not lives(bridged)
    intruder.run("SELECT pg_advisory_unlock_all()")
    bridged.litellm_admin.run(
        "SELECT setval('user_bridge.drainer_beat', (extract(epoch FROM clock_timestamp()) * 1000)::bigint)"
    )
    assert not lives(bridged)
