# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When and how a change reaches Open WebUI, and what LiteLLM's writes see of it."""

from __future__ import annotations

import time
from typing import Any

import psycopg2
import psycopg2.errors
import pytest

from hard_support import calls_ended, silent_target, threads, until, used_to_silence
from kit import openwebui, rows
from kit.bridge import hurried, install_bridge, request
from kit.cluster import SUPERUSER
from kit.drains import drain_on
from kit.oracle import differences
from kit.pairs import PASSWORDS, SYNC_USER, Pair, Session

TIMEOUT_MS = 2000
# The ceiling, and some time to get the processor: without it these would wait for minutes.
EVERY_SCHEMA = pytest.mark.schemas(litellm="all", openwebui="all")


def queue(pair: Pair) -> list[dict[str, Any]]:
    return pair.litellm_admin.rows(
        "SELECT entity_type, entity_id, attempts, last_sqlstate, last_error FROM user_bridge.sync_queue "
        "WHERE entity_type <> ALL (user_bridge.fan_out_types()) ORDER BY 1, 2"
    )


def unanswered(pair: Pair) -> dict[str, Any] | None:
    """Why the target does not answer."""
    found = pair.litellm_admin.rows("SELECT * FROM user_bridge.outage()")
    assert len(found) <= 1
    return found[0] if found else None


def drain(pair: Pair, limit: int = 100) -> list[dict[str, Any]]:
    return pair.litellm_admin.rows("SELECT * FROM user_bridge.drain(%s)", [limit])


def results(outcomes: list[dict[str, Any]]) -> set[str]:
    return {outcome["result"] for outcome in outcomes}


@pytest.fixture
def quick(pair: Pair) -> Pair:
    """A bridge without password hashing, which would dominate every time that is looked at."""
    install_bridge(pair, {"initial_password": "none", "backoff_seconds": 1})
    return pair


@EVERY_SCHEMA
def test_a_committed_write_is_visible_when_commit_returns(quick: Pair) -> None:
    writer = quick.connect("litellm", autocommit=False)
    rows.add_organization(writer, "o1", "Research")
    rows.add_user(writer, "u1", "Ann@Example.com", user_alias="Ann")
    rows.join_organization(writer, "o1", "u1")
    assert openwebui.accounts(quick) == {}
    writer.commit()
    assert openwebui.accounts(quick) == {"ann@example.com": ("Ann", "user")}
    assert openwebui.groups(quick) == {"grp_o1": ("Research", ["usr_u1"])}
    assert queue(quick) == []


@EVERY_SCHEMA
def test_update_and_delete_follow(quick: Pair) -> None:
    rows.add_organization(quick.litellm, "o1", "Research")
    rows.add_user(quick.litellm, "u1", "ann@example.com", user_alias="Ann")
    rows.join_organization(quick.litellm, "o1", "u1")

    rows.rename_organization(quick.litellm, "o1", "Science")
    rows.change_user(quick.litellm, "u1", user_alias="Anna", user_role="proxy_admin")
    assert openwebui.groups(quick) == {"grp_o1": ("Science", ["usr_u1"])}
    assert openwebui.accounts(quick) == {"ann@example.com": ("Anna", "admin")}

    rows.leave_organization(quick.litellm, "o1", "u1")
    assert openwebui.groups(quick) == {"grp_o1": ("Science", [])}
    rows.delete_user(quick.litellm, "u1")
    assert openwebui.accounts(quick) == {}
    assert quick.openwebui.value("SELECT count(*) FROM auth WHERE id = 'usr_u1'") == 0
    rows.delete_organization(quick.litellm, "o1")
    assert openwebui.groups(quick) == {}


def test_a_rolled_back_transaction_leaves_no_trace(quick: Pair) -> None:
    writer = quick.connect("litellm", autocommit=False)
    rows.add_user(writer, "u1", "ann@example.com")
    writer.rollback()
    assert openwebui.accounts(quick) == {}
    assert queue(quick) == []
    assert quick.openwebui_admin.value("SELECT count(*) FROM user_bridge.entity") == 0


def test_a_rolled_back_savepoint_leaves_no_trace_and_the_rest_is_delivered(quick: Pair) -> None:
    writer = quick.connect("litellm", autocommit=False)
    writer.run("SAVEPOINT s")
    rows.add_user(writer, "u1", "ann@example.com")
    writer.run("ROLLBACK TO SAVEPOINT s")
    rows.add_user(writer, "u2", "bob@example.com")
    writer.commit()
    assert set(openwebui.accounts(quick)) == {"bob@example.com"}
    assert queue(quick) == []


def test_changes_after_set_constraints_immediate_are_delivered_too(quick: Pair) -> None:
    writer = quick.connect("litellm", autocommit=False)
    rows.add_user(writer, "u1", "ann@example.com")
    writer.run("SET CONSTRAINTS ALL IMMEDIATE")
    rows.add_user(writer, "u2", "bob@example.com")
    rows.add_user(writer, "u3", "cem@example.com")
    writer.commit()
    assert set(openwebui.accounts(quick)) == {"ann@example.com", "bob@example.com", "cem@example.com"}


def test_a_transaction_is_one_round_trip(quick: Pair) -> None:
    quick.openwebui_admin.run("CREATE TABLE public.calls (at timestamptz)")
    quick.openwebui_admin.run(
        "CREATE FUNCTION public.count_call() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN INSERT INTO public.calls VALUES (transaction_timestamp()); RETURN NULL; END$$"
    )
    quick.openwebui_admin.run(
        'CREATE TRIGGER count_call AFTER INSERT ON "user" FOR EACH ROW EXECUTE FUNCTION public.count_call()'
    )
    quick.openwebui_admin.run("GRANT INSERT ON public.calls TO PUBLIC")
    writer = quick.connect("litellm", autocommit=False)
    for number in range(20):
        rows.add_user(writer, f"u{number}", f"u{number}@example.com")
    writer.commit()
    assert quick.openwebui_admin.value("SELECT count(*) FROM public.calls") == 20
    assert quick.openwebui_admin.value("SELECT count(DISTINCT at) FROM public.calls") == 1


def test_the_connection_is_kept_and_replaced_when_it_dies(quick: Pair) -> None:
    backends = "SELECT pid FROM pg_stat_activity WHERE usename = %s"
    rows.add_user(quick.litellm, "u1", "ann@example.com")
    first = quick.openwebui_admin.value(backends, [SYNC_USER])
    rows.add_user(quick.litellm, "u2", "bob@example.com")
    assert quick.openwebui_admin.value(backends, [SYNC_USER]) == first
    quick.cluster.end_sessions(f"pid = {first}")
    rows.add_user(quick.litellm, "u3", "cem@example.com")
    assert set(openwebui.accounts(quick)) == {"ann@example.com", "bob@example.com", "cem@example.com"}
    assert queue(quick) == []


def test_a_changed_foreign_server_is_used_at_once(quick: Pair) -> None:
    rows.add_user(quick.litellm, "u1", "ann@example.com")
    quick.litellm_admin.run("ALTER SERVER user_bridge_target OPTIONS (SET dbname 'no_such_database')")
    rows.add_user(quick.litellm, "u2", "bob@example.com")
    assert set(openwebui.accounts(quick)) == {"ann@example.com"}
    assert [row["entity_id"] for row in queue(quick)] == ["u2"]


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_above_read_committed_a_transaction_only_queues(quick: Pair, level: str) -> None:
    writer = quick.connect("litellm", autocommit=False)
    writer.run(f"SET TRANSACTION ISOLATION LEVEL {level}")
    rows.add_user(writer, "u1", "ann@example.com")
    writer.commit()
    assert openwebui.accounts(quick) == {}
    assert [row["entity_id"] for row in queue(quick)] == ["u1"]
    assert results(drain(quick)) == {"SUCCESS"}
    assert set(openwebui.accounts(quick)) == {"ann@example.com"}


def test_drain_refuses_an_old_snapshot(quick: Pair) -> None:
    session = quick.connect("litellm", SUPERUSER, autocommit=False)
    session.run("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    with pytest.raises(psycopg2.errors.RaiseException, match="READ COMMITTED"):
        session.run("SELECT * FROM user_bridge.drain()")


def test_queued_mode_and_pause_leave_everything_to_the_drain(quick: Pair) -> None:
    install_bridge(quick, {"initial_password": "none", "delivery": "queued"})
    rows.add_user(quick.litellm, "u1", "ann@example.com")
    assert openwebui.accounts(quick) == {}
    assert results(drain(quick)) == {"SUCCESS"}
    assert set(openwebui.accounts(quick)) == {"ann@example.com"}


def test_what_fan_outs_stand_for_counts_against_the_inline_limit(pair: Pair) -> None:
    install_bridge(pair, {"initial_password": "none", "inline_limit": 2})
    rows.add_team(pair.litellm, "t1", "Old")
    rows.add_user(pair.litellm, "u1", "ann@example.com", user_alias="Ann", teams=["t1"])
    pair.litellm_admin.run("UPDATE user_bridge.settings SET inline_limit = 3")
    drain(pair)
    pair.litellm_admin.run("UPDATE user_bridge.settings SET inline_limit = 2")
    rows.change_team(pair.litellm, "t1", team_alias="New")
    # The team and its name are two rows; the user who is named after it is the third.
    assert {row["entity_type"] for row in queue(pair)} == {"team", "user"}


def test_a_transaction_above_the_inline_limit_is_left_to_the_drain(pair: Pair) -> None:
    install_bridge(pair, {"initial_password": "none", "inline_limit": 10})
    pair.litellm.run(
        'INSERT INTO "LiteLLM_UserTable" (user_id, user_email) '
        "SELECT 'u' || n, 'u' || n || '@example.com' FROM generate_series(1, 25) AS n"
    )
    assert openwebui.accounts(pair) == {}
    assert len(drain(pair, 20)) == 20
    assert len(drain(pair, 20)) == 5
    assert len(openwebui.accounts(pair)) == 25
    assert queue(pair) == []


@EVERY_SCHEMA
def test_spend_enqueues_nothing(quick: Pair) -> None:
    rows.add_user(quick.litellm, "u1", "ann@example.com")
    quick.litellm_admin.run("UPDATE user_bridge.settings SET delivery = 'queued'")
    rows.flush_spend(quick.litellm, ["u1"], 0.25)
    # What else LiteLLM rewrites all the time: budgets, their reset, no-op upserts.
    rows.change_user(quick.litellm, "u1", max_budget=5, budget_reset_at="2026-01-01", updated_at="2026-01-01")
    assert queue(quick) == []
    assert quick.litellm.value('SELECT spend FROM "LiteLLM_UserTable"') == 0.25
    rows.change_user(quick.litellm, "u1", user_alias="Ann")
    assert [row["entity_id"] for row in queue(quick)] == ["u1"]


class Outage:
    """A way for Open WebUI's database to be out of order, and the repair."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair

    def begin(self) -> None:
        raise NotImplementedError

    def end(self) -> None:
        raise NotImplementedError


class DatabaseGone(Outage):
    def begin(self) -> None:
        self._rename(self.pair.openwebui_db, self.pair.openwebui_db + "_away")

    def end(self) -> None:
        self._rename(self.pair.openwebui_db + "_away", self.pair.openwebui_db)

    def _rename(self, old: str, new: str) -> None:
        # Dropped, as far as the bridge can tell; kept, so that the state from before can be compared.
        self.pair.cluster.end_sessions(f"datname = '{old}'")
        self.pair.cluster.execute(f'ALTER DATABASE "{old}" RENAME TO "{new}"')


class WrongPassword(Outage):
    def begin(self) -> None:
        self.pair.cluster.execute(f"ALTER ROLE {SYNC_USER} PASSWORD 'changed elsewhere'")
        # The kept connection would not notice.
        self.pair.cluster.end_sessions(f"usename = '{SYNC_USER}'")

    def end(self) -> None:
        with self.pair.litellm_admin.raw.cursor() as cursor:
            cursor.execute(f"ALTER ROLE {SYNC_USER} PASSWORD %s", [PASSWORDS[SYNC_USER]])


class TableLocked(Outage):
    blocker: Session

    def begin(self) -> None:
        self.blocker = self.pair.connect("openwebui", autocommit=False)
        self.blocker.run('LOCK TABLE "user", auth, "group", group_member IN ACCESS EXCLUSIVE MODE')

    def end(self) -> None:
        self.blocker.rollback()


class SchemaBroken(Outage):
    def begin(self) -> None:
        self.pair.openwebui.run("ALTER TABLE auth RENAME COLUMN active TO is_active")

    def end(self) -> None:
        self.pair.openwebui.run("ALTER TABLE auth RENAME COLUMN is_active TO active")


class ApplyGone(Outage):
    def begin(self) -> None:
        self.pair.openwebui_admin.run("ALTER FUNCTION user_bridge.apply(jsonb) RENAME TO applied")

    def end(self) -> None:
        self.pair.openwebui_admin.run("ALTER FUNCTION user_bridge.applied(jsonb) RENAME TO apply")


@pytest.mark.parametrize("kind", [DatabaseGone, WrongPassword, TableLocked, SchemaBroken, ApplyGone])
def test_no_outage_fails_a_write_and_the_drain_makes_both_sides_equal(quick: Pair, kind: type[Outage]) -> None:
    rows.add_user(quick.litellm, "u1", "ann@example.com", user_alias="Ann")
    rows.add_user(quick.litellm, "u2", "bob@example.com")
    outage = kind(quick)
    outage.begin()

    rows.add_organization(quick.litellm, "o1", "Research")
    rows.change_user(quick.litellm, "u1", user_alias="Anna")
    rows.add_user(quick.litellm, "u3", "cem@example.com")
    rows.delete_user(quick.litellm, "u2")
    rows.join_organization(quick.litellm, "o1", "u3")
    assert quick.litellm.value('SELECT count(*) FROM "LiteLLM_UserTable"') == 2
    waiting = queue(quick)
    # What is broken there is all that is needed to write an account.
    everything = {"o1", "u1", "u2", "u3", '["o1", "u3"]'}
    assert {row["entity_id"] for row in waiting} == ({"u1", "u3"} if kind is SchemaBroken else everything)
    assert unanswered(quick) or any(row["last_error"] for row in waiting)

    outage.end()
    assert results(drain_on(quick)) == {"SUCCESS"}
    assert quick.litellm_admin.value("SELECT count(*) FROM user_bridge.sync_queue") == 0
    assert openwebui.accounts(quick) == {"ann@example.com": ("Anna", "user"), "cem@example.com": ("cem", "user")}
    assert openwebui.groups(quick) == {"grp_o1": ("Research", ["usr_u3"])}
    assert queue(quick) == []


def test_an_unreachable_target_costs_one_timeout_and_not_one_for_each_write(pair: Pair) -> None:
    install_bridge(pair, {"initial_password": "none", "backoff_seconds": 60})
    rows.add_user(pair.litellm, "u0", "u0@example.com")
    outage = TableLocked(pair)
    outage.begin()
    with hurried(pair, 500):
        for number in range(1, 11):
            rows.add_user(pair.litellm, f"u{number}", f"u{number}@example.com")
    assert [row["attempts"] for row in queue(pair)] == [0] * 10
    assert (unanswered(pair) or {}).get("attempts") == 1
    outage.end()
    # Open: still nothing but queueing, until the pause is over or a drain has found the target well.
    rows.add_user(pair.litellm, "u11", "u11@example.com")
    assert "u11@example.com" not in openwebui.accounts(pair)
    drain(pair)
    rows.add_user(pair.litellm, "u12", "u12@example.com")
    assert len(openwebui.accounts(pair)) == 13


def test_the_breaker_closes_by_itself(pair: Pair) -> None:
    install_bridge(pair, {"initial_password": "none", "backoff_seconds": 1})
    outage = TableLocked(pair)
    outage.begin()
    with hurried(pair, 300):
        rows.add_user(pair.litellm, "u1", "ann@example.com")
    assert unanswered(pair)
    outage.end()
    time.sleep(1.1)
    rows.add_user(pair.litellm, "u2", "bob@example.com")
    assert "bob@example.com" in openwebui.accounts(pair)


def test_a_frozen_target_backend_holds_a_commit_no_longer_than_the_ceiling(pair: Pair) -> None:
    install_bridge(pair, {"initial_password": "none"})
    rows.add_user(pair.litellm, "u1", "ann@example.com")
    backend = pair.openwebui_admin.value("SELECT pid FROM pg_stat_activity WHERE usename = %s", [SYNC_USER])
    with hurried(pair, 500), pair.cluster.frozen(backend):
        rows.change_user(pair.litellm, "u1", user_alias="Ann")
    assert (unanswered(pair) or {}).get("sqlstate") == "UB002"
    drain(pair)
    assert unanswered(pair) is None
    assert openwebui.accounts(pair) == {"ann@example.com": ("Ann", "user")}


def test_a_statement_timeout_of_litellms_is_not_reached(pair: Pair) -> None:
    """It does not count at COMMIT, but after SET CONSTRAINTS ... IMMEDIATE."""
    install_bridge(pair, {"initial_password": "none", "target_timeout_ms": 20000})
    rows.add_user(pair.litellm, "u1", "ann@example.com")
    writer = pair.connect("litellm")
    # The bridge gives up 200 ms before it.
    used_to_silence(pair, writer, "u1")
    writer.raw.autocommit = False
    writer.run("SET statement_timeout = '1s'; SET CONSTRAINTS ALL IMMEDIATE")
    with silent_target(pair):
        rows.change_user(writer, "u1", user_alias="Ann")
        writer.commit()
    assert pair.litellm.value("SELECT user_alias FROM \"LiteLLM_UserTable\" WHERE user_id = 'u1'") == "Ann"
    drain(pair)
    assert openwebui.accounts(pair) == {"ann@example.com": ("Ann", "user")}


def test_an_entity_that_somebody_keeps_locked_is_left_to_the_queue(pair: Pair) -> None:
    install_bridge(pair, {"initial_password": "none", "target_timeout_ms": 60000})
    rows.add_user(pair.litellm, "u1", "ann@example.com")
    holder = pair.connect("litellm", SUPERUSER, autocommit=False)
    holder.run("SELECT user_bridge.lock_entities(ARRAY['user'], ARRAY['u1'], now() + interval '1 minute')")
    started = time.monotonic()
    rows.change_user(pair.litellm, "u1", user_alias="Ann")
    assert time.monotonic() - started < 30
    assert [(row["attempts"], row["last_error"]) for row in queue(pair)] == [(0, None)]
    holder.rollback()
    drain(pair)
    assert openwebui.accounts(pair) == {"ann@example.com": ("Ann", "user")}


def test_immediate_constraints_of_one_writer_deadlock_no_other(quick: Pair) -> None:
    for user in ("u1", "u2"):
        rows.add_user(quick.litellm, user, f"{user}@example.com")
    rows.add_team(quick.litellm, "t1", "T")
    one, two = quick.connect("litellm", autocommit=False), quick.connect("litellm", autocommit=False)
    one.run("SET CONSTRAINTS ALL IMMEDIATE")
    rows.change_user(one, "u1", user_alias="First")
    rows.change_user(two, "u2", user_alias="Other")
    rows.change_team(two, "t1", members_with_roles=[{"role": "user", "user_id": "u1"}])

    def go_on() -> None:
        rows.change_user(one, "u2", user_alias="Second")
        one.commit()

    with threads(go_on):
        until(lambda: quick.litellm_admin.value("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"))
        two.commit()
    drain(quick)
    assert openwebui.accounts(quick) == {
        "u1@example.com": ("First", "user"),
        "u2@example.com": ("Second", "user"),
    }
    assert openwebui.groups(quick) == {"grp_team_t1": ("T", ["usr_u1"])}


def test_a_commit_that_waits_for_the_target_can_be_cancelled(pair: Pair) -> None:
    install_bridge(pair, {"initial_password": "none", "target_timeout_ms": 20000})
    writer = pair.connect("litellm")
    outage = TableLocked(pair)
    outage.begin()
    # It tries again and again, so that it is in no deadlock.
    waits = "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND usename = %s AND wait_event = 'PgSleep'"

    def cancel() -> None:
        until(lambda: pair.openwebui_admin.value(waits, [pair.openwebui_db, SYNC_USER]))
        pair.cluster.execute(f"SELECT pg_cancel_backend({writer.pid})")

    # Had it waited on, the target's timeout would have let the write succeed.
    with threads(cancel), pytest.raises(psycopg2.errors.QueryCanceled):
        rows.add_user(writer, "u1", "ann@example.com")
    outage.end()
    # The connection was left in the middle of a call: it is replaced.
    rows.add_user(writer, "u2", "bob@example.com")
    assert "bob@example.com" in openwebui.accounts(pair)
    # The cancelled call went on in the target, and left the account of a user who never came to be.
    calls_ended(pair)
    drain(pair)
    assert set(openwebui.accounts(pair)) == {"bob@example.com"}


def test_the_journal_is_emptied_by_the_drain(quick: Pair) -> None:
    unconfirmed = "SELECT count(*) FROM user_bridge.entity WHERE source_txid IS NOT NULL"
    rows.add_user(quick.litellm, "u1", "ann@example.com")
    assert quick.openwebui_admin.value(unconfirmed) == 1
    writer = quick.connect("litellm", autocommit=False)
    rows.add_user(writer, "u2", "bob@example.com")
    writer.run("SET CONSTRAINTS ALL IMMEDIATE")
    drain(quick)
    assert quick.openwebui_admin.value(unconfirmed) == 1
    writer.commit()
    drain(quick)
    assert quick.openwebui_admin.value(unconfirmed) == 0
    assert len(openwebui.accounts(quick)) == 2


def test_a_journal_of_thousands_is_emptied(quick: Pair) -> None:
    """Also by the plan that was taken when statistics suggested to compare each entry with each."""
    unconfirmed = "SELECT count(*) FROM user_bridge.entity WHERE source_txid IS NOT NULL"
    for method in ("hashjoin", "mergejoin"):
        quick.openwebui_admin.run(f'ALTER DATABASE "{quick.openwebui_db}" SET enable_{method} = off')
    quick.openwebui_admin.run(
        "INSERT INTO user_bridge.entity (entity_type, entity_id, version, source_txid)"
        " SELECT 'user', 'gone' || n, 1, %s FROM generate_series(1, 9000) AS n",
        [quick.litellm_admin.value("SELECT pg_current_xact_id()::text")],
    )
    drain(quick)
    assert quick.openwebui_admin.value(unconfirmed) == 0


def test_a_transaction_that_dies_after_its_delivery_leaves_no_phantom(quick: Pair) -> None:
    rows.add_user(quick.litellm, "u1", "ann@example.com", user_alias="Ann")
    writer = quick.connect("litellm", autocommit=False)
    rows.add_user(writer, "u2", "bob@example.com")
    rows.change_user(writer, "u1", user_alias="Anna")
    writer.run("SET CONSTRAINTS ALL IMMEDIATE")
    assert openwebui.accounts(quick)["ann@example.com"] == ("Anna", "user")
    writer.rollback()
    drain(quick)
    assert openwebui.accounts(quick) == {"ann@example.com": ("Ann", "user")}
    assert queue(quick) == []


def test_one_entity_that_cannot_be_written_holds_up_no_other(quick: Pair) -> None:
    quick.openwebui_admin.run("ALTER TABLE \"user\" ADD CONSTRAINT nobody_is_bob CHECK (email <> 'bob@example.com')")
    writer = quick.connect("litellm", autocommit=False)
    for name in ("ann", "bob", "cem"):
        rows.add_user(writer, name, f"{name}@example.com")
    writer.commit()
    assert set(openwebui.accounts(quick)) == {"ann@example.com", "cem@example.com"}
    (left,) = queue(quick)
    assert (left["entity_id"], left["attempts"], left["last_sqlstate"]) == ("bob", 1, "23514")
    assert "nobody_is_bob" in left["last_error"]
    # Due only after its pause; a drain by hand tries at once, and counts.
    assert quick.litellm_admin.rows("SELECT * FROM user_bridge.drain(10, true)") == []
    assert results(drain(quick)) == {"FAILED"}
    assert queue(quick)[0]["attempts"] == 2
    quick.openwebui_admin.run('ALTER TABLE "user" DROP CONSTRAINT nobody_is_bob')
    assert results(drain(quick)) == {"SUCCESS"}
    assert "bob@example.com" in openwebui.accounts(quick)


def test_a_late_delivery_changes_nothing(quick: Pair) -> None:
    rows.add_user(quick.litellm, "u1", "ann@example.com", user_alias="Ann")
    old = quick.openwebui_admin.value("SELECT version FROM user_bridge.entity WHERE entity_id = 'u1'") - 1
    gone = {"type": "user", "id": "u1", "desired": None}
    payload = {"version": old, "budget_ms": 1000, "items": [gone]}
    reply = quick.sync_user.value("SELECT user_bridge.apply(%s)", [request(quick, payload)])
    assert reply["items"][0]["status"] == "FAILED"
    assert openwebui.accounts(quick) == {"ann@example.com": ("Ann", "user")}


def test_a_source_whose_versions_ran_backwards_recovers_by_itself(quick: Pair) -> None:
    rows.add_user(quick.litellm, "u1", "ann@example.com", user_alias="Ann")
    rows.add_user(quick.litellm, "u2", "bob@example.com")
    quick.litellm_admin.run("SELECT setval('user_bridge.delivery_version', 1)")
    rows.change_user(quick.litellm, "u1", user_alias="Anna")
    rows.change_user(quick.litellm, "u2", user_alias="Bob")
    assert openwebui.accounts(quick) == {"ann@example.com": ("Anna", "user"), "bob@example.com": ("Bob", "user")}


@EVERY_SCHEMA
def test_a_column_that_litellm_renamed_fails_no_write_and_spend_queues_nothing(quick: Pair) -> None:
    rows.add_user(quick.litellm, "u1", "ann@example.com")
    quick.litellm.run('ALTER TABLE "LiteLLM_UserTable" RENAME COLUMN user_alias TO alias')
    rows.flush_spend(quick.litellm, ["u1"], 1)
    assert queue(quick) == []
    rows.change_user(quick.litellm, "u1", alias="Ann")
    rows.delete_user(quick.litellm, "u1")
    assert {row["entity_id"] for row in queue(quick)} == {"u1"}
    assert queue(quick)[0]["last_sqlstate"] == "42703"
    assert quick.litellm_admin.value("SELECT last_value FROM user_bridge.trigger_faults") > 1
    quick.litellm.run('ALTER TABLE "LiteLLM_UserTable" RENAME COLUMN alias TO user_alias')
    drain(quick)
    assert openwebui.accounts(quick) == {}


def test_who_left_while_a_column_was_renamed_is_out_when_it_is_back(quick: Pair) -> None:
    """What a row means to others is not known then: of a team its members, of a user the next one with that address."""
    for user in ("first", "next", "third"):
        rows.add_user(quick.litellm, user, "next@example.com" if user == "next" else "first@example.com")
    team = [{"role": "user", "user_id": user} for user in ("first", "next")]
    rows.add_team(quick.litellm, "t1", "Team", members_with_roles=team)
    drain(quick)
    quick.litellm.run('ALTER TABLE "LiteLLM_TeamTable" RENAME COLUMN blocked TO stopped')
    quick.litellm.run('ALTER TABLE "LiteLLM_UserTable" RENAME COLUMN user_alias TO alias')
    rows.change_team(quick.litellm, "t1", members_with_roles=team[1:])
    rows.change_user(quick.litellm, "first", user_email="moved@example.com")
    quick.litellm.run('ALTER TABLE "LiteLLM_TeamTable" RENAME COLUMN stopped TO blocked')
    quick.litellm.run('ALTER TABLE "LiteLLM_UserTable" RENAME COLUMN alias TO user_alias')
    for _ in range(2):
        drain(quick)
    assert differences(quick) == []


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("LiteLLM_UserTable", "user_alias"),
        ("LiteLLM_TeamTable", "team_alias"),
        ("LiteLLM_OrganizationTable", "organization_alias"),
        ("LiteLLM_VerificationToken", "key_alias"),
    ],
)
def test_a_row_that_cannot_become_json_fails_no_write_either(quick: Pair, table: str, column: str) -> None:
    """Where the fallback is needed, and the row is deeper than its session may go."""
    rows.add_user(quick.litellm, "row", "ann@example.com")
    rows.add_team(quick.litellm, "row")
    rows.add_organization(quick.litellm, "row", "Row")
    rows.add_key(quick.litellm, "row", "row")
    depth = rows.deepest(quick.litellm)
    quick.litellm.run(f'UPDATE "{table}" SET metadata = %s', ["[" * depth + "]" * depth])
    quick.litellm.run(f'ALTER TABLE "{table}" RENAME COLUMN {column} TO renamed')
    quick.litellm_admin.run("SET max_stack_depth = '512kB'")
    assert quick.litellm_admin.run(f'UPDATE "{table}" SET renamed = %s', ["new"]) == 1
    quick.litellm_admin.run("RESET max_stack_depth")
    assert quick.litellm_admin.value("SELECT pg_sequence_last_value('user_bridge.losses')") == 1
    quick.litellm.run(f'ALTER TABLE "{table}" RENAME COLUMN renamed TO {column}')


AWKWARD = [
    "O'Hara; DROP TABLE auth; --",
    'double " quote',
    "back \\ slash \\n \\' \\\\",
    "100 % sure %s %I %L %(x)s",
    "$$ $body$ $1",
    "{{ braces }} {0}",
    "emoji \N{FACE WITH TEARS OF JOY}\N{ZERO WIDTH JOINER}\N{PILE OF POO}, umlaut äöü, 日本語",
    "tab\tnewline\nreturn\r end",
    " leading and trailing ",
    "\x01\x1f control",
]


@pytest.mark.schemas(openwebui="all")
@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_names_are_stored_exactly(quick: Pair, name: str) -> None:
    rows.add_user(quick.litellm, "u1", "ann@example.com", user_alias=name)
    rows.add_organization(quick.litellm, "o1", name)
    assert openwebui.accounts(quick) == {"ann@example.com": (name, "user")}
    assert openwebui.groups(quick) == {"grp_o1": (name, [])}
    assert queue(quick) == []


@pytest.mark.parametrize("text", AWKWARD)
def test_awkward_ids_make_the_round_trip(quick: Pair, text: str) -> None:
    rows.add_user(quick.litellm, text, "ann@example.com")
    rows.add_organization(quick.litellm, text, "Research")
    rows.join_organization(quick.litellm, text, text)
    # To an older Open WebUI an account's % is a pattern.
    account = f"usr_{text.replace('%', '-')}_2" if "%" in text else f"usr_{text}"
    assert openwebui.groups(quick) == {f"grp_{text}": ("Research", [account])}
    rows.delete_user(quick.litellm, text)
    assert openwebui.groups(quick) == {f"grp_{text}": ("Research", [])}


@pytest.mark.schemas(openwebui="all")
def test_a_very_long_name_is_cut(quick: Pair) -> None:
    long = "n" * 10_000
    rows.add_organization(quick.litellm, "o1", long)
    rows.add_team(quick.litellm, "t1", long)
    rows.add_user(quick.litellm, "u1", "ann@example.com", user_alias=long)
    rows.add_user(quick.litellm, "u2", "bob@example.com", user_alias="Bob", teams=["t1"])
    rows.add_user(quick.litellm, "u3", "cem@example.com", user_alias=" " * 300 + "Cem")
    cut = "n" * 255
    assert openwebui.groups(quick) == {"grp_o1": (cut, []), "grp_team_t1": (cut, [])}
    assert openwebui.accounts(quick) == {
        "ann@example.com": (cut, "user"),
        "bob@example.com": (cut, "user"),
        "cem@example.com": ("cem", "user"),
    }
    assert queue(quick) == [] and differences(quick) == []


def _last_audit(pair: Pair, operation: str) -> tuple[str, str]:
    (row,) = pair.litellm_admin.rows(
        "SELECT sync_result, error_message FROM user_bridge.sync_audit WHERE operation = %s ORDER BY id DESC LIMIT 1",
        [operation],
    )
    return row["sync_result"], row["error_message"]


def test_commits_empty_the_queue_little_by_little(quick: Pair) -> None:
    quick.litellm_admin.run("SELECT user_bridge.pause()")
    for number in range(30):
        rows.add_user(quick.litellm, f"u{number}", f"u{number}@example.com")
    quick.litellm_admin.run("SELECT user_bridge.resume()")
    assert openwebui.accounts(quick) == {}
    before = quick.litellm_admin.value("SELECT user_bridge.now_ms()")
    rows.add_user(quick.litellm, "first", "first@example.com")
    assert len(openwebui.accounts(quick)) == 21
    # Not each commit pays for the others' work: one in 200 ms, which a busy machine needs for less.
    again = quick.litellm_admin.value("SELECT pg_sequence_last_value('user_bridge.backlog')")
    assert before <= again - 200 <= quick.litellm_admin.value("SELECT user_bridge.now_ms()")
    quick.litellm_admin.run("SELECT setval('user_bridge.backlog', user_bridge.now_ms() + 30000)")
    rows.add_user(quick.litellm, "second", "second@example.com")
    assert len(openwebui.accounts(quick)) == 22
    quick.litellm_admin.run("SELECT setval('user_bridge.backlog', user_bridge.now_ms())")
    rows.add_user(quick.litellm, "third", "third@example.com")
    assert len(openwebui.accounts(quick)) == 33
    assert queue(quick) == []


def test_a_commit_takes_over_nothing_that_stands_for_many(quick: Pair) -> None:
    quick.litellm.run(
        "INSERT INTO \"LiteLLM_UserTable\" (user_id, teams) SELECT 'u' || i, '{many}' FROM generate_series(1, 101) AS i"
    )
    rows.add_team(quick.litellm, "many", "Many")
    rows.add_team(quick.litellm, "few", "Few")
    drain(quick, 500)
    left = {("team_name", "many"), ("team_list", "many"), ("team_roster", "many"), ("model_holders", "*")}
    for kind, entity in {("team_name", "few"), *left}:
        quick.litellm_admin.run("SELECT user_bridge.enqueue_for_drain(%s, ARRAY[%s])", [kind, entity])
    rows.add_user(quick.litellm, "ann", "ann@example.com")
    assert set(openwebui.accounts(quick)) == {"ann@example.com"}
    queued = "SELECT entity_type, entity_id FROM user_bridge.sync_queue"
    assert {(row["entity_type"], row["entity_id"]) for row in quick.litellm_admin.rows(queued)} == left
    for _ in range(2):
        drain(quick, 500)
    assert quick.litellm_admin.rows(queued) == []


def test_a_commit_waits_for_nobody_who_holds_the_backlog(quick: Pair) -> None:
    quick.litellm_admin.run("SELECT user_bridge.pause()")
    rows.add_user(quick.litellm, "u1", "u1@example.com")
    rows.add_user(quick.litellm, "u2", "u2@example.com")
    quick.litellm_admin.run("SELECT user_bridge.resume()")
    holder = quick.connect("litellm", SUPERUSER, autocommit=False)
    holder.run("SELECT FROM user_bridge.sync_queue WHERE entity_id = 'u1' FOR UPDATE")
    holder.run("SELECT user_bridge.lock_entities(ARRAY['user'], ARRAY['u2'], now() + interval '1 minute')")
    # With this timeout a commit that waited would still be waiting.
    quick.litellm_admin.run("UPDATE user_bridge.settings SET target_timeout_ms = 60000")
    started = time.monotonic()
    rows.add_user(quick.litellm, "u3", "u3@example.com")
    assert time.monotonic() - started < 30
    assert set(openwebui.accounts(quick)) == {"u3@example.com"}
    # What it delivered is settled: nothing that it could not lock undid that.
    assert {row["entity_id"] for row in queue(quick)} == {"u1", "u2"}
    holder.rollback()
    drain(quick)
    assert len(openwebui.accounts(quick)) == 3


def test_a_backend_does_not_wait_for_another_that_cannot_connect(pair: Pair) -> None:
    install_bridge(pair, {"initial_password": "none"})
    stuck = pair.connect("litellm", SUPERUSER)
    stuck.run("SELECT pg_advisory_lock(user_bridge.lock_key('connect'))")
    rows.add_user(pair.litellm, "u1", "u1@example.com")
    # No failure of the target's, so the next commit tries it again.
    assert [(row["attempts"], row["last_sqlstate"]) for row in queue(pair)] == [(0, None)]
    assert not pair.litellm_admin.value("SELECT user_bridge.breaker_is_open()")
    stuck.close()
    drain(pair)
    assert set(openwebui.accounts(pair)) == {"u1@example.com"}


def test_an_entity_that_fails_on_litellms_side_holds_up_no_other(quick: Pair) -> None:
    quick.litellm_admin.run("SELECT user_bridge.pause()")
    rows.add_user(quick.litellm, "u1", "u1@example.com")
    rows.add_user(quick.litellm, "u2", "u2@example.com")
    quick.litellm_admin.run("SELECT user_bridge.resume()")
    quick.litellm_admin.rows("SELECT user_bridge.enqueue_entities(ARRAY['team_member'], ARRAY['no JSON'])")
    outcomes = {outcome["entity_id"]: outcome["result"] for outcome in drain(quick)}
    assert outcomes == {"u1": "SUCCESS", "u2": "SUCCESS", "no JSON": "FAILED"}
    (left,) = queue(quick)
    assert (left["entity_id"], left["attempts"], left["last_sqlstate"]) == ("no JSON", 1, "22P02")
    # Its pause has begun; nothing is tried again and again.
    assert quick.litellm_admin.rows("SELECT * FROM user_bridge.drain(10, true)") == []


def test_what_failed_is_due_again_when_open_webui_has_been_migrated(quick: Pair) -> None:
    rows.add_user(quick.litellm, "u0", "u0@example.com")
    drain(quick)
    quick.openwebui_admin.run('ALTER TABLE "user" RENAME COLUMN role TO rank')
    rows.add_user(quick.litellm, "u1", "u1@example.com")
    quick.litellm_admin.run("UPDATE user_bridge.sync_queue SET next_attempt_at = now() + interval '1 hour'")
    assert [row["result"] for row in quick.litellm_admin.rows("SELECT * FROM user_bridge.drain(10, true)")] in (
        [],
        ["FAILED"],
    )
    quick.litellm_admin.run("UPDATE user_bridge.sync_queue SET next_attempt_at = now() + interval '1 hour'")
    quick.openwebui_admin.run('ALTER TABLE "user" RENAME COLUMN rank TO role')
    assert [row["result"] for row in quick.litellm_admin.rows("SELECT * FROM user_bridge.drain(10, true)")] == [
        "SUCCESS"
    ]
