# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Corners of delivery: what a lock, a budget, a second fault or a failing entity may do to everything around it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

from hard_support import threads, until
from kit import openwebui, rows
from kit.bridge import install_bridge, request
from kit.cluster import SUPERUSER
from kit.drains import drain_on
from kit.oracle import differences
from kit.pairs import Pair
from test_delivery import ApplyGone, drain, queue, results, unanswered
from test_reconcile import found, sync

QUICK = {"initial_password": "none", "backoff_seconds": 1}
# A COMMIT that finds the target away leaves it alone for a minute.
LONG_PAUSE = {"initial_password": "none", "backoff_seconds": 60}


def test_what_an_unknown_transaction_delivered_is_sent_again(pair: Pair) -> None:
    """LiteLLM's server was restored to a time before it: neither committed nor aborted, as far as it knows."""
    install_bridge(pair, QUICK)
    rows.add_user(pair.litellm, "u1", "ann@example.com", user_alias="Ann")
    drain(pair)
    pair.openwebui.run("UPDATE \"user\" SET name = 'of a lost future' WHERE id = 'usr_u1'")
    pair.openwebui_admin.run("UPDATE user_bridge.entity SET source_txid = '900000000000' WHERE entity_id = 'u1'")
    drain(pair)
    assert openwebui.accounts(pair) == {"ann@example.com": ("Ann", "user")}
    assert pair.openwebui_admin.value("SELECT count(*) FROM user_bridge.entity WHERE source_txid IS NOT NULL") == 0


def test_a_call_without_time_left_applies_nothing(pair: Pair) -> None:
    install_bridge(pair, QUICK)
    wanted = {"openwebui_id": "usr_u1", "email": "ann@example.com", "name": "Ann", "role": "user", "disabled": False}
    payload = {
        "version": 1,
        "budget_ms": 0,
        "items": [{"type": "user", "id": "u1", "desired": wanted, "skipped": None}],
    }
    apply = "SELECT user_bridge.apply(%s)"
    assert pair.sync_user.value(apply, [request(pair, payload)])["items"] == [{"status": "DEFERRED"}]
    assert openwebui.accounts(pair) == {}
    payload["budget_ms"] = 10_000
    (outcome,) = pair.sync_user.value(apply, [request(pair, payload)])["items"]
    assert outcome["status"] == "SUCCESS"
    assert openwebui.accounts(pair) == {"ann@example.com": ("Ann", "user")}


def test_what_there_is_no_time_for_stays_queued_and_is_no_failure(pair: Pair) -> None:
    install_bridge(pair, {**QUICK, "target_timeout_ms": 6000})
    # The first account takes more than the three quarters of the time that the target may use.
    pair.openwebui_admin.run(
        "CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN PERFORM pg_sleep(4.6); RETURN NULL; END$$"
    )
    pair.openwebui_admin.run(
        "CREATE TRIGGER slow AFTER INSERT ON \"user\" FOR EACH ROW WHEN (NEW.id = 'usr_u0') "
        "EXECUTE FUNCTION public.slow()"
    )
    names = [f"u{number}" for number in range(4)]
    writer = pair.connect("litellm", autocommit=False)
    for name in names:
        rows.add_user(writer, name, f"{name}@example.com")
    writer.commit()
    assert set(openwebui.accounts(pair)) == {"u0@example.com"}
    waiting = {row["entity_id"]: (row["attempts"], row["last_error"]) for row in queue(pair)}
    assert waiting == {"u1": (0, None), "u2": (0, None), "u3": (0, None)}
    assert results(drain(pair)) == {"SUCCESS"}
    assert len(openwebui.accounts(pair)) == len(names)
    assert queue(pair) == []


def test_a_failure_counts_for_the_transactions_that_were_delivered_only(pair: Pair) -> None:
    """A row that another transaction has queued meanwhile was not tried, so it is due at once."""
    install_bridge(pair, QUICK)
    pair.litellm_admin.run(
        "INSERT INTO user_bridge.sync_queue (txid, entity_type, entity_id) "
        "VALUES ('1', 'user', 'u1'), ('2', 'user', 'u1')"
    )
    failed = [{"type": "user", "id": "u1", "status": "FAILED", "sqlstate": "23514", "message": "no"}]
    pair.litellm_admin.run(
        "SELECT user_bridge.settle(%s, ARRAY['1']::xid8[], s) FROM user_bridge.settings AS s", [json.dumps(failed)]
    )
    tried = pair.litellm_admin.rows("SELECT txid::text, attempts FROM user_bridge.sync_queue")
    assert {row["txid"]: row["attempts"] for row in tried} == {"1": 1, "2": 0}


def test_a_fault_in_the_handling_of_a_fault_fails_no_write(pair: Pair) -> None:
    install_bridge(pair, LONG_PAUSE)
    pair.litellm_admin.run(
        "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'no failure is noted'; END$$"
    )
    pair.litellm_admin.run(
        "CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON user_bridge.target FOR EACH ROW "
        "EXECUTE FUNCTION public.refuse()"
    )
    outage = ApplyGone(pair)
    outage.begin()
    rows.add_user(pair.litellm, "u1", "ann@example.com")
    assert pair.litellm.value('SELECT count(*) FROM "LiteLLM_UserTable"') == 1
    assert [(row["entity_id"], row["attempts"]) for row in queue(pair)] == [("u1", 0)]
    outage.end()
    pair.litellm_admin.run("DROP TRIGGER refuse ON user_bridge.target")
    assert results(drain(pair)) == {"SUCCESS"}
    assert openwebui.accounts(pair) == {"ann@example.com": ("ann", "user")}


@pytest.mark.parametrize("broken", ["sync_queue", "is_only_spend"])
def test_what_could_not_even_be_queued_is_found_by_a_comparison(pair: Pair, broken: str) -> None:
    """Nor where what looks at the row before fails as well."""
    install_bridge(pair, QUICK)
    rows.add_user(pair.litellm, "u1", "ann@example.com")
    drain(pair)
    pair.litellm_admin.run("ALTER TABLE user_bridge.sync_queue RENAME TO away")
    if broken == "is_only_spend":
        pair.litellm_admin.run("ALTER FUNCTION user_bridge.is_only_spend RENAME TO is_away")
    rows.change_user(pair.litellm, "u1", user_alias="Anna")
    rows.add_user(pair.litellm, "u2", "bob@example.com")
    rows.add_team(pair.litellm, "t1", "One", members_with_roles=[{"role": "user", "user_id": "u2"}])
    pair.litellm_admin.run("ALTER TABLE user_bridge.away RENAME TO sync_queue")
    if broken == "is_only_spend":
        pair.litellm_admin.run("ALTER FUNCTION user_bridge.is_away RENAME TO is_only_spend")
    for _ in range(2):
        drain(pair)
    assert differences(pair) == []


def test_a_target_that_refuses_is_left_alone_for_the_pause(pair: Pair) -> None:
    install_bridge(pair, LONG_PAUSE)
    outage = ApplyGone(pair)
    outage.begin()
    rows.add_user(pair.litellm, "u1", "ann@example.com")
    assert (unanswered(pair) or {}).get("sqlstate") == "UB001"
    outage.end()
    rows.add_user(pair.litellm, "u2", "bob@example.com")
    assert openwebui.accounts(pair) == {}
    assert {row["entity_id"] for row in queue(pair)} == {"u1", "u2"}
    drain(pair)
    rows.add_user(pair.litellm, "u3", "cem@example.com")
    assert set(openwebui.accounts(pair)) == {"ann@example.com", "bob@example.com", "cem@example.com"}


def test_a_drain_takes_what_never_failed_first_and_of_that_the_oldest(pair: Pair) -> None:
    install_bridge(pair, QUICK)
    pair.openwebui_admin.run("ALTER TABLE \"user\" ADD CONSTRAINT nobody_is_ann CHECK (email <> 'ann@example.com')")
    rows.add_user(pair.litellm, "u1", "ann@example.com")
    pair.litellm_admin.run("SELECT user_bridge.pause()")
    for name in ("u4", "u3", "u2"):
        rows.add_user(pair.litellm, name, f"{name}@example.com")
    pair.litellm_admin.run("SELECT user_bridge.resume()")
    assert [drained["entity_id"] for _ in range(4) for drained in drain(pair, 1)] == ["u4", "u3", "u2", "u1"]


def test_the_pause_after_a_failure_is_an_hour_at_most(pair: Pair) -> None:
    install_bridge(pair, {**QUICK, "backoff_seconds": 3600})
    pair.openwebui_admin.run("ALTER TABLE \"user\" ADD CONSTRAINT nobody_is_ann CHECK (email <> 'ann@example.com')")
    rows.add_user(pair.litellm, "u1", "ann@example.com")
    pair.litellm_admin.run("UPDATE user_bridge.sync_queue SET attempts = 100")
    assert results(drain(pair)) == {"FAILED"}
    left = "SELECT extract(epoch FROM next_attempt_at - clock_timestamp())::float8 FROM user_bridge.sync_queue"
    assert 3500 < pair.litellm_admin.value(left) <= 3600


def test_what_a_delivery_finds_out_is_left_to_the_next_commit(pair: Pair) -> None:
    """A key is mapped once its user has an account; no drain is needed for it."""
    install_bridge(pair, QUICK)
    rows.add_user(pair.litellm, "u1", None)
    rows.add_key(pair.litellm, "5f" * 32, "u1")
    drain(pair)
    rows.change_user(pair.litellm, "u1", user_email="ann@example.com")
    mapped = "SELECT count(*) FROM user_bridge.sync_mapping WHERE litellm_type = 'api_key'"
    assert pair.litellm_admin.value(mapped) == 0
    # One commit in 200 ms looks at what others left.
    time.sleep(0.25)
    rows.add_user(pair.litellm, "u2", "bob@example.com")
    assert pair.litellm_admin.value(mapped) == 1
    assert queue(pair) == []


def test_many_new_accounts_and_memberships_are_a_few_statements(pair: Pair) -> None:
    """What is done at once goes item by item when it fails: only a count tells that it does not fail each time."""
    install_bridge(pair, QUICK)
    pair.openwebui_admin.run(
        "CREATE SEQUENCE public.statements; GRANT USAGE ON public.statements TO PUBLIC;"
        "CREATE FUNCTION public.counted() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN PERFORM nextval('public.statements'); RETURN NULL; END$$"
    )
    for table in ('"user"', "auth", "group_member"):
        pair.openwebui_admin.run(
            f"CREATE TRIGGER counted AFTER INSERT ON {table} FOR EACH STATEMENT EXECUTE FUNCTION public.counted()"
        )
    rows.add_organization(pair.litellm, "o1", "Research")
    pair.openwebui_admin.run("SELECT setval('public.statements', 1, false)")
    writer = pair.connect("litellm", autocommit=False)
    for number in range(40):
        rows.add_user(writer, f"u{number}", f"u{number}@example.com")
        rows.join_organization(writer, "o1", f"u{number}")
    # A membership that waits for its account does not stop the others.
    rows.add_user(writer, "nobody", None)
    rows.join_organization(writer, "o1", "nobody")
    writer.commit()
    assert len(openwebui.groups(pair)["grp_o1"][1]) == 40
    assert pair.openwebui_admin.value("SELECT last_value FROM public.statements") <= 4


def queue_the_group(pair: Pair) -> None:
    rows.change_team(pair.litellm, "t1", organization_id=None)


def queue_the_user(pair: Pair) -> None:
    rows.change_user(pair.litellm, "u1", user_role="internal_user")


@pytest.mark.parametrize("change", [queue_the_group, queue_the_user])
def test_a_membership_is_no_drift_while_what_it_depends_on_is_queued(
    pair: Pair, change: Callable[[Pair], None]
) -> None:
    sync(pair)
    pair.openwebui.run("DELETE FROM group_member WHERE user_id = 'usr_u1'")
    lost = {("team_member", '["t1", "u1"]', "exists", False, True)}
    assert found(pair) == lost
    pair.litellm_admin.run("SELECT user_bridge.pause()")
    change(pair)
    assert found(pair) == set()
    # Once it has been delivered, what is still missing is drift again.
    pair.litellm_admin.run("SELECT user_bridge.resume()")
    drain_on(pair)
    assert found(pair) == lost


def test_only_a_repair_of_everything_starts_the_count_of_faults_anew(pair: Pair) -> None:
    sync(pair)
    pair.litellm.run('ALTER TABLE "LiteLLM_UserTable" RENAME COLUMN user_alias TO alias')
    rows.flush_spend(pair.litellm, ["u1"], 1)
    pair.litellm.run('ALTER TABLE "LiteLLM_UserTable" RENAME COLUMN alias TO user_alias')
    faults = "SELECT coalesce(pg_sequence_last_value('user_bridge.trigger_faults'), 0)"
    assert pair.litellm_admin.value(faults) == 1
    for look in ("reconcile()", "reconcile(true, ARRAY['organization'])", "reconcile(false)"):
        pair.litellm_admin.rows(f"SELECT * FROM user_bridge.{look}")
        assert pair.litellm_admin.value(faults) == 1, look
    pair.litellm_admin.rows("SELECT * FROM user_bridge.reconcile(true)")
    assert pair.litellm_admin.value(faults) == 0


def test_a_fault_during_a_repair_counts_on(pair: Pair) -> None:
    """What the trigger missed after the comparison has read it is not among the differences."""
    sync(pair)
    looker = pair.connect("litellm", SUPERUSER, autocommit=False)
    pair.litellm_admin.run("SELECT nextval('user_bridge.trigger_faults')")
    # The comparison waits for the group, and the fault happens meanwhile.
    blocker = pair.connect("openwebui", autocommit=False)
    blocker.run('LOCK TABLE "group" IN ACCESS EXCLUSIVE MODE')
    waits = "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND usename = %s AND wait_event_type = 'Lock'"
    with threads(lambda: looker.rows("SELECT * FROM user_bridge.reconcile(true)")):
        until(lambda: pair.openwebui_admin.value(waits, [pair.openwebui_db, "sync_user"]))
        pair.litellm_admin.run("SELECT nextval('user_bridge.trigger_faults')")
        blocker.rollback()
    looker.commit()
    assert pair.litellm_admin.value("SELECT pg_sequence_last_value('user_bridge.trigger_faults')") == 2


def test_a_new_team_delivers_its_new_members_once(pair: Pair) -> None:
    """Their names depend on it, and they wait for a later batch of the same transaction."""
    install_bridge(pair, {**QUICK, "delivery": "queued"})
    writer = pair.connect("litellm", autocommit=False)
    rows.add_team(writer, "t1", "Blue")
    for number in range(30):
        rows.add_user(writer, f"u{number}", f"u{number}@example.com", user_alias="Ann", teams=["t1"])
    writer.commit()
    delivered: list[str] = []
    waiting = len(queue(pair))
    while outcomes := drain(pair, 10):
        # Nor does the team queue them once more: they wait in rows of the same transaction.
        assert len(queue(pair)) < waiting
        delivered += [row["entity_id"] for row in outcomes if row["entity_type"] == "user"]
    assert sorted(delivered) == sorted(f"u{number}" for number in range(30))
    assert {name for name, _role in openwebui.accounts(pair).values()} == {"Blue-Ann"}
    assert queue(pair) == []
