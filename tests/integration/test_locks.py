# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who holds a lock delays what needs it and nothing else; the bridge takes no more locks than the server can spare."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable

import psycopg2.errors
import pytest

from hard_support import lock_waits, log_lock_waits, until
from kit import openwebui, rows
from kit.bridge import REGISTRY, hurried, install_bridge
from kit.cluster import SUPERUSER
from kit.drains import drain_on
from kit.oracle import differences
from kit.pairs import Pair, Session
from test_delivery import drain, queue, results

QUICK = {"initial_password": "none", "backoff_seconds": 60, "target_timeout_ms": 5000}
# Below the request's timeout, far above what a busy machine needs.
SOON = 3
OPEN = "SELECT user_bridge.breaker_is_open()"


def seconds(call: Callable[[], object]) -> float:
    started = time.monotonic()
    call()
    return time.monotonic() - started


def with_users(pair: Pair, count: int) -> None:
    install_bridge(pair, QUICK)
    log_lock_waits(pair, "openwebui")
    for number in range(count):
        rows.add_user(pair.litellm, f"u{number}", f"u{number}@example.com")
    drain(pair)


def lock_accounts(pair: Pair, numbers: range) -> Session:
    """Somebody left a transaction open that has changed these accounts."""
    holder = pair.connect("openwebui", autocommit=False)
    holder.run('UPDATE "user" SET last_active_at = 1 WHERE id = ANY (%s)', [[f"usr_u{number}" for number in numbers]])
    return holder


def rename(session: Session, numbers: range, name: str) -> None:
    """One transaction."""
    session.run(
        'UPDATE "LiteLLM_UserTable" SET user_alias = %s WHERE user_id = ANY (%s)', [name, [f"u{n}" for n in numbers]]
    )


def named(pair: Pair, name: str) -> int:
    return sum(account[0] == name for account in openwebui.accounts(pair).values())


class TestALockedRow:
    @pytest.mark.schemas(openwebui="all")
    def test_fails_its_item_alone(self, pair: Pair) -> None:
        with_users(pair, 4)
        holder = lock_accounts(pair, range(1))
        assert seconds(lambda: rename(pair.litellm, range(4), "New")) < SOON
        assert named(pair, "New") == 3
        ((entity, attempts, state),) = [(r["entity_id"], r["attempts"], r["last_sqlstate"]) for r in queue(pair)]
        assert (entity, attempts, state) == ("u0", 1, "55P03")
        assert not pair.litellm_admin.value(OPEN)
        # Its pause is over long before that of a target that does not answer.
        left = "SELECT next_attempt_at < clock_timestamp() + interval '5 seconds' FROM user_bridge.sync_queue"
        assert pair.litellm_admin.value(left)
        assert pair.litellm_admin.rows("SELECT * FROM user_bridge.drain(10, true)") == []
        holder.rollback()
        drain(pair)
        assert named(pair, "New") == 4 and differences(pair) == []

    def test_many_of_them_cost_hardly_more_than_one(self, pair: Pair) -> None:
        with_users(pair, 40)
        holder, before = lock_accounts(pair, range(38)), lock_waits(pair, "openwebui")
        rename(pair.litellm, range(40), "New")
        assert 0 < lock_waits(pair, "openwebui") - before < 10
        assert named(pair, "New") == 2
        holder.rollback()
        pair.litellm_admin.run("UPDATE user_bridge.sync_queue SET next_attempt_at = clock_timestamp()")
        drain(pair)
        assert named(pair, "New") == 40

    def test_does_not_keep_the_others_of_a_drain(self, pair: Pair) -> None:
        with_users(pair, 30)
        pair.litellm_admin.run("SELECT user_bridge.pause()")
        rename(pair.litellm, range(30), "New")
        pair.litellm_admin.run("SELECT user_bridge.resume()")
        holder = lock_accounts(pair, range(1))
        assert seconds(lambda: drain(pair)) < SOON
        assert named(pair, "New") == 29
        holder.rollback()

    def test_that_is_being_made_does_not_keep_many_new_ones(self, pair: Pair) -> None:
        with_users(pair, 0)
        holder = pair.connect("openwebui", autocommit=False)
        openwebui.add_account(pair, "usr_gone", "gone@example.com")
        holder.run("UPDATE \"user\" SET id = 'usr_u3' WHERE id = 'usr_gone'")
        writer = pair.connect("litellm", autocommit=False)
        for number in range(25):
            rows.add_user(writer, f"u{number}", f"u{number}@example.com")
        assert seconds(writer.commit) < SOON
        assert len(openwebui.accounts(pair)) == 25
        holder.rollback()
        pair.litellm_admin.run("UPDATE user_bridge.sync_queue SET next_attempt_at = clock_timestamp()")
        drain(pair)
        assert {"u3@example.com", "u24@example.com"} <= set(openwebui.accounts(pair))

    def test_of_the_journal_is_confirmed_later(self, pair: Pair) -> None:
        with_users(pair, 0)
        rows.add_user(pair.litellm, "u1", "u1@example.com")
        rows.add_user(pair.litellm, "u2", "u2@example.com")
        holder = pair.connect("openwebui", SUPERUSER, autocommit=False)
        holder.run("SELECT FROM user_bridge.entity WHERE entity_id = 'u1' FOR UPDATE")
        drain(pair)
        unconfirmed = "SELECT array_agg(entity_id) FROM user_bridge.entity WHERE source_txid IS NOT NULL"
        assert pair.openwebui_admin.value(unconfirmed) == ["u1"]
        holder.rollback()
        drain(pair)
        assert pair.openwebui_admin.value(unconfirmed) is None

    @pytest.mark.schemas(openwebui="all")
    def test_does_not_keep_the_passwords_of_others_from_expiring(self, pair: Pair) -> None:
        install_bridge(pair, {**QUICK, "initial_password": "random", "password_cost": 4})
        for number in range(3):
            rows.add_user(pair.litellm, f"u{number}", f"u{number}@example.com")
        drain(pair)
        pair.openwebui_admin.run("UPDATE user_bridge.entity SET initial_password_at = now() - interval '80 hours'")
        holder = pair.connect("openwebui", autocommit=False)
        holder.run("UPDATE auth SET active = active WHERE id = 'usr_u0'")
        usable = "SELECT array_agg(id ORDER BY id) FROM auth WHERE id LIKE 'usr%%' AND password <> ''"
        assert pair.openwebui.value(usable) == ["usr_u0", "usr_u1", "usr_u2"]
        pair.litellm_admin.rows("SELECT * FROM user_bridge.maintain()")
        assert pair.openwebui.value(usable) == ["usr_u0"]
        holder.rollback()
        pair.litellm_admin.rows("SELECT * FROM user_bridge.maintain()")
        assert pair.openwebui.value(usable) is None


class TestAnAdvisoryLock:
    def test_of_an_open_drain_leaves_the_others_free(self, pair: Pair) -> None:
        with_users(pair, 6)
        pair.litellm_admin.run("SELECT user_bridge.pause()")
        for number in range(6):
            rename(pair.litellm, range(number, number + 1), "New")
        pair.litellm_admin.run("SELECT user_bridge.resume()")
        holder = pair.connect("litellm", SUPERUSER, autocommit=False)
        assert len(holder.rows("SELECT * FROM user_bridge.drain(4)")) == 4
        # Two at a time: the four that somebody keeps come first, and are not free.
        taken = [outcome["entity_id"] for _round in range(3) for outcome in drain(pair, 2)]
        assert sorted(taken) == ["u4", "u5"]
        assert seconds(lambda: rename(pair.litellm, range(6), "Newer")) < SOON
        assert named(pair, "Newer") == 2
        holder.rollback()
        drain(pair)
        assert named(pair, "Newer") == 6 and queue(pair) == []

    def test_is_waited_for_once_and_not_by_each_write(self, pair: Pair) -> None:
        with_users(pair, 1)
        holder = pair.connect("litellm", SUPERUSER, autocommit=False)
        holder.run("SELECT user_bridge.lock_entities(ARRAY['user'], ARRAY['u0'], now() + interval '1 minute')")
        waited = set()
        started = time.monotonic()
        for number in range(20):
            assert seconds(functools.partial(rename, pair.litellm, range(1), f"New {number}")) < SOON
            waited.add(pair.litellm_admin.value("SELECT pg_sequence_last_value('user_bridge.impatient_until')"))
        # Whoever waited in vain keeps the others from it for five seconds.
        assert None not in waited and len(waited) <= 1 + (time.monotonic() - started) // 5
        holder.rollback()
        drain(pair)
        assert named(pair, "New 19") == 1

    def test_is_held_by_whom_the_queue_says(self, pair: Pair) -> None:
        """Whoever may log in can hold a key that is once seen in pg_locks; an operator can end that session."""
        with_users(pair, 2)
        rows.add_team(pair.litellm, "t1", "T", members_with_roles=[{"role": "user", "user_id": "u0"}])
        keys = "SELECT key FROM user_bridge.lock_keys(ARRAY[%s], ARRAY[%s]) WHERE NOT shared"
        holder = pair.connect("litellm")
        for entity in (("user", "u0"), ("team", "t1")):
            holder.run("SELECT pg_advisory_lock(%s)", [pair.litellm_admin.value(keys, [*entity])])
        rename(pair.litellm, range(2), "New")
        rows.change_team(pair.litellm, "t1", team_alias="New")
        drain(pair)
        said = f'another session is delivering it: process {holder.pid} of role "litellm"'
        assert {(row["entity_id"], row["last_error"]) for row in queue(pair)} == {("u0", said), ("t1", said)}
        holder.close()
        drain(pair)
        assert queue(pair) == [] and named(pair, "New") == 2

    def test_is_not_taken_for_what_has_changed_while_it_was_waited_for(self, pair: Pair) -> None:
        """With another email it is another lock, which this one does not have."""
        with_users(pair, 2)
        pair.litellm_admin.run("SELECT user_bridge.pause()")
        lock = (
            "SELECT busy FROM user_bridge.lock_entities(ARRAY['user'], ARRAY[%s], clock_timestamp() + interval '10 s')"
        )
        holder, waiter = (pair.connect("litellm", SUPERUSER, autocommit=False) for _number in range(2))
        assert waiter.value(lock, ["u1"]) == []
        holder.run(lock, ["u0"])
        busy: list[object] = []
        waiting = threading.Thread(target=lambda: busy.append(waiter.value(lock, ["u0"])))
        waiting.start()
        waits = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND wait_event = 'PgSleep'"
        until(lambda: pair.litellm_admin.value(waits, [waiter.pid]))
        pair.litellm.run("UPDATE \"LiteLLM_UserTable\" SET user_email = 'other@example.com' WHERE user_id = 'u0'")
        holder.rollback()
        waiting.join()
        assert busy == [[1]]

    def test_cannot_be_computed_by_others(self, pair: Pair) -> None:
        """The same names have other keys in another installation, on either side."""
        with_users(pair, 1)
        keys = "SELECT array_agg(key) FROM user_bridge.lock_keys(ARRAY['user', 'team'], ARRAY['u0', 't1'])"
        before = pair.litellm_admin.value(keys)
        sides = [(pair.litellm_admin, "identity_key"), (pair.openwebui_admin, "owner_key")]
        single = "SELECT user_bridge.lock_key('connect')"
        singles = [session.value(single) for session, _table in sides]
        for session, table in sides:
            # Open WebUI's side reads what it is given, here nothing; LiteLLM's makes another.
            session.run(f"REFRESH MATERIALIZED VIEW user_bridge.{table}")
        assert not set(before) & set(pair.litellm_admin.value(keys))
        assert all(session.value(single) != key for (session, _table), key in zip(sides, singles, strict=True))
        for session in (pair.litellm, pair.openwebui):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                session.value(single)

    def test_of_the_removal_guard_fails_removals_alone(self, pair: Pair) -> None:
        with_users(pair, 2)
        holder = pair.connect("openwebui", SUPERUSER, autocommit=False)
        holder.run("SELECT pg_advisory_xact_lock(user_bridge.lock_key('removals'))")
        writer = pair.connect("litellm", autocommit=False)
        rows.delete_user(writer, "u0")
        rename(writer, range(1, 2), "New")
        assert seconds(writer.commit) < SOON
        assert named(pair, "New") == 1 and len(openwebui.accounts(pair)) == 2
        assert not pair.litellm_admin.value(OPEN)
        holder.rollback()
        drain(pair)
        assert len(openwebui.accounts(pair)) == 1


def test_what_is_locked_does_not_depend_on_what_else_is(quick: Pair) -> None:
    """Those of one type are looked up in a shorter way."""
    rows.add_team(quick.litellm, "t1", "Red")
    rows.add_user(quick.litellm, "u1", "ann@example.com", teams=["t1"])
    rows.add_user(quick.litellm, "u2", "bob@example.com")
    names = "SELECT name, shared FROM user_bridge.lock_names(%s, %s) WHERE entity <= 2 ORDER BY name, shared"
    found = {}
    for kind in [*REGISTRY["entities"], *REGISTRY["fan_outs"]]:
        is_pair = REGISTRY["entities"].get(kind, {}).get("key") == "pair"
        ids = ['["t1", "u1"]', '["t1", "u2"]'] if is_pair else ["u1", "u2"]
        found[kind] = quick.litellm_admin.rows(names, [[kind] * 2, ids])
        among = quick.litellm_admin.rows(names, [[kind, kind, "toy" if kind == "team" else "team"], [*ids, "t9"]])
        assert found[kind] == among and {"name": f"{kind} {ids[0]}", "shared": False} in among, kind
    assert {"name": "email ann@example.com", "shared": False} in found["user"]
    assert {"name": "team_name t1", "shared": True} in found["user"]
    assert {"name": "user u2", "shared": True} in found["team_member"]


def make_scarce(pair: Pair) -> None:
    """A server that has room for 640 locks: a transaction of the bridge's gets 160 at most."""
    install_bridge(pair, QUICK)
    pair.litellm_admin.run(
        "CREATE OR REPLACE FUNCTION user_bridge.lock_places() RETURNS integer LANGUAGE sql STABLE AS 'SELECT 640'"
    )


@pytest.fixture
def scarce(pair: Pair) -> Pair:
    make_scarce(pair)
    return pair


HELD = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"


def add_many(session: Session, prefix: str, count: int) -> None:
    session.run(
        'INSERT INTO "LiteLLM_UserTable" (user_id, user_email, teams) '
        "SELECT %s || i, %s || i || '@example.com', array(SELECT %s || i || '-' || j FROM generate_series(1, 50) AS j) "
        "FROM generate_series(1, %s) AS i",
        [prefix, prefix, prefix, count],
    )


class TestLocksByBudget:
    def test_a_large_transaction_is_left_to_the_drain_in_batches(self, scarce: Pair) -> None:
        add_many(scarce.litellm, "u", 100)
        assert openwebui.accounts(scarce) == {} and len(queue(scarce)) == 100
        assert {row["attempts"] for row in queue(scarce)} == {0}
        drainer = scarce.connect("litellm", SUPERUSER, autocommit=False)
        held = []
        while results(drainer.rows("SELECT * FROM user_bridge.drain(500)")):
            held.append(drainer.value(HELD))
            drainer.commit()
            assert len(held) < 100
        assert len(held) > 1 and max(held) <= 160 + 32 + 16
        assert len(openwebui.accounts(scarce)) == 100 and queue(scarce) == []

    def test_a_transaction_that_drains_on_and_on_gets_no_more(self, scarce: Pair) -> None:
        add_many(scarce.litellm, "u", 100)
        drainer = scarce.connect("litellm", SUPERUSER, autocommit=False)
        for _round in range(10):
            drainer.run("SELECT FROM user_bridge.drain(500)")
        assert drainer.value(HELD) <= 160 + 32 + 16
        drainer.commit()
        assert 0 < len(queue(scarce)) < 100

    def test_deliveries_within_one_transaction_count_together(self, scarce: Pair) -> None:
        writer = scarce.connect("litellm", autocommit=False)
        writer.run("SET CONSTRAINTS ALL IMMEDIATE")
        for number in range(120):
            rows.add_user(writer, f"u{number}", f"u{number}@example.com")
        assert writer.value(HELD) <= 160 + 32 + 16
        writer.commit()
        drain_on(scarce, 500)
        assert len(openwebui.accounts(scarce)) == 120

    def test_a_lock_that_many_need_counts_once(self, scarce: Pair) -> None:
        scarce.litellm_admin.run("SELECT user_bridge.pause()")
        for team in range(8):
            rows.add_team(scarce.litellm, f"t{team}", f"T{team}")
        scarce.litellm_admin.run("DELETE FROM user_bridge.sync_queue")
        teams = [f"t{team}" for team in reversed(range(8))]
        for number in range(60):
            rows.add_user(scarce.litellm, f"u{number}", f"u{number}@example.com", teams=["none", *teams])
        drainer = scarce.connect("litellm", SUPERUSER, autocommit=False)
        ids = [f"u{number}" for number in range(60)]
        locked = drainer.rows(
            "SELECT * FROM user_bridge.lock_entities(array_fill('user'::text, ARRAY[60]), %s, clock_timestamp())", [ids]
        )
        # Two each, and two for all of them.
        assert locked == [{"busy": [], "last": 60}] and drainer.value(HELD) <= 122 + 16
        assert drainer.value("SELECT split_part(current_setting('user_bridge.locks'), ' ', 2)") == "122"
        drainer.rollback()

    def test_transactions_share_what_there_is(self, scarce: Pair) -> None:
        sessions = [scarce.connect("litellm", autocommit=False) for _each in range(6)]
        for number, session in enumerate(sessions):
            session.run("SET CONSTRAINTS ALL IMMEDIATE")
            for user in range(40):
                rows.add_user(session, f"s{number}-{user}", f"s{number}-{user}@example.com")
        every = (
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = "
            "(SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        # Half of the server's, its slots among them, and the few that each may take anyway.
        assert scarce.litellm_admin.value(every) <= 320 + 32 + 6 * (8 + 1)
        for session in sessions:
            session.commit()
        drain_on(scarce, 500)
        assert len(openwebui.accounts(scarce)) == 240


def slow_addresses(pair: Pair) -> None:
    """Whoever is delivered next takes half a second on LiteLLM's side."""
    pair.litellm_admin.run(
        "CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN PERFORM pg_sleep(0.5); RETURN NULL; END$$"
    )
    pair.litellm_admin.run(
        "CREATE TRIGGER slow AFTER INSERT OR UPDATE ON user_bridge.address FOR EACH ROW EXECUTE FUNCTION public.slow()"
    )
    pair.litellm_admin.run("DELETE FROM user_bridge.address")


class TestWhatTakesTooLong:
    def test_for_a_transaction_of_the_target_is_sent_in_parts(self, pair: Pair) -> None:
        """transaction_timeout of its database ends the session: for lack of time, and that is no outage."""
        install_bridge(pair, {**QUICK, "delivery": "queued"})
        assert pair.litellm_admin.value("SELECT user_bridge.refusal_code('25P04')") == "UB002"
        if pair.cluster.major >= 17:
            pair.openwebui_admin.run(f"ALTER DATABASE \"{pair.openwebui_db}\" SET transaction_timeout = '40ms'")
            rows.add_user(pair.litellm, "u", "u@example.com")
            pair.litellm.run(
                'INSERT INTO "LiteLLM_UserTable" (user_id, user_email) '
                "SELECT 'u' || n, 'u' || n || '@example.com' FROM generate_series(1, 300) AS n"
            )
            for _round in range(10):
                drain(pair)
            assert len(openwebui.accounts(pair)) == 301

    def test_is_told_from_a_target_that_does_not_answer(self, pair: Pair) -> None:
        install_bridge(pair, {**QUICK, "target_timeout_ms": 700, "delivery": "queued"})
        pair.openwebui_admin.run(
            "CREATE FUNCTION public.endless() RETURNS trigger LANGUAGE plpgsql AS "
            "$$BEGIN PERFORM pg_sleep(30); RETURN NULL; END$$"
        )
        pair.openwebui_admin.run(
            "CREATE TRIGGER endless AFTER INSERT ON \"user\" FOR EACH ROW WHEN (NEW.id = 'usr_u7') "
            "EXECUTE FUNCTION public.endless()"
        )
        for number in range(30):
            rows.add_user(pair.litellm, f"u{number}", f"u{number}@example.com")
        for _round in range(5):
            # A busy machine may not come to all of them at once.
            drain(pair)
            if [(row["entity_id"], row["last_sqlstate"]) for row in queue(pair)] == [("u7", "UB002")]:
                break
        assert len(openwebui.accounts(pair)) == 29
        assert [(row["entity_id"], row["last_sqlstate"]) for row in queue(pair)] == [("u7", "UB002")]
        assert not pair.litellm_admin.value(OPEN)
        assert pair.litellm_admin.rows("SELECT * FROM user_bridge.drain(10, true)") == []

    def test_gets_more_time_each_time_when_it_is_alone(self, pair: Pair) -> None:
        """As the rights of a team with tens of thousands of members need it. No COMMIT waits for a drain."""
        install_bridge(pair, {**QUICK, "target_timeout_ms": 500, "delivery": "queued"})
        slow = "BEGIN PERFORM pg_sleep(1); RETURN NULL; END"
        pair.openwebui_admin.run(f"CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql AS $${slow}$$")
        pair.openwebui_admin.run(
            'CREATE TRIGGER slow AFTER INSERT ON "user" FOR EACH ROW EXECUTE FUNCTION public.slow()'
        )
        rows.add_user(pair.litellm, "u1", "u1@example.com")
        for _round in range(4):
            drain(pair)
        assert len(openwebui.accounts(pair)) == 1
        # The next one gets no more time than before.
        shown = "user_bridge.dblink(user_bridge.connection_name(), 'SHOW statement_timeout') AS d(value text)"
        assert pair.litellm_admin.value(f"SELECT d.value FROM {shown}") == "500ms"

    def test_a_statement_timeout_of_a_drain_is_not_reached(self, pair: Pair) -> None:
        install_bridge(pair, {**QUICK, "target_timeout_ms": 20_000})
        holder = pair.connect("openwebui", autocommit=False)
        holder.run('LOCK TABLE "group" IN ACCESS EXCLUSIVE MODE')
        pair.litellm_admin.run("SELECT user_bridge.pause()")
        rows.add_user(pair.litellm, "u1", "u1@example.com")
        pair.litellm_admin.run("SELECT user_bridge.resume()")
        drainer = pair.connect("litellm", SUPERUSER)
        # The bridge gives up 200 ms before it.
        drainer.run("SET statement_timeout = '2s'")
        drainer.rows("SELECT * FROM user_bridge.drain(10)")
        holder.rollback()

    def test_nothing_is_sent_after_the_deadline(self, pair: Pair) -> None:
        """A local delay is no fault of the target's: the breaker stays closed."""
        install_bridge(pair, QUICK)
        rows.add_user(pair.litellm, "u1", "u1@example.com")
        slow_addresses(pair)
        with hurried(pair, 300):
            rename(pair.litellm, range(1, 2), "New")
        assert [(row["attempts"], row["last_error"]) for row in queue(pair)] == [(0, None)]
        assert not pair.litellm_admin.value(OPEN)
        pair.litellm_admin.run("DROP TRIGGER slow ON user_bridge.address")
        drain(pair)
        assert named(pair, "New") == 1

    def test_on_litellms_side_keeps_no_drain_from_delivering(self, pair: Pair) -> None:
        """It would take as long the next time: only what is sent has a deadline."""
        with_users(pair, 2)
        pair.litellm_admin.run("SELECT user_bridge.pause()")
        rename(pair.litellm, range(2), "New")
        pair.litellm_admin.run("SELECT user_bridge.resume()")
        slow_addresses(pair)
        with hurried(pair, 700):
            assert len(drain(pair)) == 2
        assert queue(pair) == [] and named(pair, "New") == 2


HUGE = 20_000_000


def without_indexes(pair: Pair) -> None:
    """The oldest LiteLLM has none on names, which keep the newest from taking texts as long as these."""
    pair.litellm_admin.run(
        "DO $$ DECLARE v_index text; BEGIN FOR v_index IN SELECT i.indexrelid::regclass FROM pg_index AS i "
        "WHERE i.indrelid::regclass::text LIKE '%LiteLLM%' AND NOT i.indisunique "
        "LOOP EXECUTE 'DROP INDEX ' || v_index; END LOOP; END $$"
    )


class TestHugeTexts:
    """Each is far over what fits into the time that a delivery has, if JSON is made of it."""

    @pytest.mark.parametrize(
        ("column", "value"),
        [
            ("user_alias", f"repeat('x', {HUGE})"),
            ("user_role", f"repeat('x', {HUGE})"),
            ("user_email", f"repeat('x', {HUGE}) || '@example.com'"),
            ("teams", f"array_fill(repeat('x', 10000), ARRAY[{HUGE // 10_000}])"),
            ("metadata", f"jsonb_build_object('x', repeat('x', {HUGE}))"),
        ],
    )
    def test_of_a_user_arrive_cut(self, pair: Pair, column: str, value: str) -> None:
        install_bridge(pair, {**QUICK, "target_timeout_ms": 2000})
        rows.add_user(pair.litellm, "u1", "u1@example.com")
        without_indexes(pair)
        write = f"UPDATE \"LiteLLM_UserTable\" SET {column} = {value} WHERE user_id = 'u1'"
        writer = pair.connect("litellm", autocommit=False)
        writer.run(write)
        assert seconds(writer.commit) < SOON
        assert queue(pair) == []
        sizes = "SELECT max(octet_length(to_jsonb(a)::text)) FROM user_bridge.sync_audit AS a"
        assert pair.litellm_admin.value(sizes) < 10_000
        assert differences(pair) == []

    @pytest.mark.parametrize("table", ["organization", "team"])
    def test_of_a_group_arrive_cut(self, pair: Pair, table: str) -> None:
        install_bridge(pair, {**QUICK, "target_timeout_ms": 2000})
        rows.add_organization(pair.litellm, "o1", "One")
        rows.add_team(pair.litellm, "t1", "One")
        rows.add_user(pair.litellm, "u1", "u1@example.com", user_alias="Ann", teams=["t1"])
        without_indexes(pair)
        name = table.capitalize()
        writer = pair.connect("litellm", autocommit=False)
        writer.run(f"UPDATE \"LiteLLM_{name}Table\" SET {table}_alias = repeat('x', {HUGE})")
        assert seconds(writer.commit) < SOON
        assert queue(pair) == [] and differences(pair) == []

    def test_of_members_keep_nobody_else_out(self, pair: Pair) -> None:
        install_bridge(pair, {**QUICK, "target_timeout_ms": 2000})
        rows.add_user(pair.litellm, "u1", "u1@example.com")
        rows.add_team(pair.litellm, "t1", "One")
        writer = pair.connect("litellm", autocommit=False)
        writer.run(
            'UPDATE "LiteLLM_TeamTable" SET members_with_roles = jsonb_build_array('
            "jsonb_build_object('user_id', 'u1', 'role', 'user'), jsonb_build_object('role', 'user', 'user_id', "
            "(SELECT string_agg(md5(i::text), '') FROM generate_series(1, 10000) AS i)))"
        )
        assert seconds(writer.commit) < SOON
        assert queue(pair) == [] and openwebui.groups(pair) == {"grp_team_t1": ("One", ["usr_u1"])}

    def test_of_a_key_are_mapped_cut(self, pair: Pair) -> None:
        install_bridge(pair, {**QUICK, "target_timeout_ms": 2000})
        rows.add_user(pair.litellm, "u1", "u1@example.com")
        rows.add_key(pair.litellm, "5f" * 32, "u1")
        writer = pair.connect("litellm", autocommit=False)
        writer.run(
            "UPDATE \"LiteLLM_VerificationToken\" SET key_alias = repeat('x', %s), models = ARRAY[repeat('x', %s)]",
            [HUGE, HUGE],
        )
        assert seconds(writer.commit) < SOON
        data = pair.litellm_admin.value("SELECT sync_data FROM user_bridge.sync_mapping WHERE litellm_type = 'api_key'")
        assert (data["key_alias"], data["models"]) == ("x" * 255, ["x" * 255])
        assert queue(pair) == []


# What the triggers write themselves; LiteLLM waits for these, as it does for its own tables.
KEPT_BY_TRIGGERS = "{sync_queue,address,user_team,listed_member,member_budget,moved,rights_due}"


def test_a_table_that_is_being_altered_fails_no_write(pair: Pair) -> None:
    """As while a deployment changes it: a new session of LiteLLM's meets the bridge's functions for the first time."""
    install_bridge(pair, QUICK)
    rows.add_user(pair.litellm, "u1", "u1@example.com")
    tables = pair.litellm_admin.value(
        "SELECT string_agg(oid::regclass::text, ', ') FROM pg_class WHERE relnamespace = 'user_bridge'::regnamespace "
        "AND relkind = 'r' AND relname <> ALL (%s)",
        [KEPT_BY_TRIGGERS],
    )
    deployment = pair.connect("litellm", SUPERUSER, autocommit=False)
    deployment.run(f"LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE")
    writer = pair.connect("litellm")
    assert seconds(lambda: rows.change_user(writer, "u1", user_alias="Ann")) < SOON
    deployment.rollback()
    assert [row["entity_id"] for row in queue(pair)] == ["u1"] and not pair.litellm_admin.value(OPEN)
    # Without a drainer the next COMMIT delivers it.
    rows.add_user(pair.litellm, "u2", "u2@example.com")
    assert queue(pair) == [] and openwebui.accounts(pair)["u1@example.com"][0] == "Ann"
