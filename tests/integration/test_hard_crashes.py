# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers and sessions that die at the worst moment: after a drain, both sides are equal again."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg2
import pytest

from hard_support import QUICK, replaced, threads, until
from kit import binaries, cluster, openwebui, pairs, rows
from kit.bridge import Mutate, drainer, install_bridge
from kit.cluster import SUPERUSER
from kit.drains import drain_all
from kit.oracle import differences
from kit.pairs import Pair, Session

KILLS = 4
WRITERS = 3
DEAD = (psycopg2.OperationalError, psycopg2.InterfaceError)


@pytest.fixture
def own_server(pg_major: int) -> Iterator[Pair]:
    """A server that nobody else uses."""
    settings = {"max_prepared_transactions": "2"}
    with cluster.running(binaries.find(pg_major), settings=settings) as made, pairs.pair(made) as pair:
        yield pair


def _forget_sessions(pair: Pair) -> None:
    """Those to a dead server are closed, and made anew at the next use."""
    for session in pair.opened:
        session.close()
    pair.opened.clear()
    pair.sessions.clear()


def _write_anything(session: Session, writer: int, rng: random.Random) -> None:
    """One transaction of one to three writes to rows that no other writer has."""
    user, team = f"w{writer}u{rng.randint(1, 12)}", f"w{writer}t{rng.randint(1, 3)}"
    session.run("BEGIN ISOLATION LEVEL " + rng.choice(["READ COMMITTED", "READ COMMITTED", "REPEATABLE READ"]))
    for _ in range(rng.randint(1, 3)):
        match rng.choice(["user", "user", "gone", "team", "disbanded", "organization"]):
            case "user":
                session.run(
                    'INSERT INTO "LiteLLM_UserTable" (user_id, user_email, user_alias, teams) VALUES (%s, %s, %s, %s) '
                    "ON CONFLICT (user_id) DO UPDATE SET user_alias = excluded.user_alias, teams = excluded.teams",
                    [user, f"{user}@example.com", f"Alias {rng.random()}", [team]],
                )
            case "gone":
                rows.delete_user(session, user)
            case "team":
                session.run(
                    'INSERT INTO "LiteLLM_TeamTable" (team_id, team_alias, members_with_roles) VALUES (%s, %s, '
                    "jsonb_build_array(jsonb_build_object('role', 'user', 'user_id', %s::text))) ON CONFLICT (team_id) "
                    "DO UPDATE SET team_alias = excluded.team_alias, members_with_roles = excluded.members_with_roles",
                    [team, f"Team {rng.random()}", user],
                )
            case "disbanded":
                rows.delete_team(session, team)
            case "organization":
                rows.change_user(session, user, organization_id=rng.choice(["o1", None]))
    session.run("COMMIT")


def _kill_amid_writes(pair: Pair, kills: int) -> None:
    rows.add_organization(pair.litellm, "o1", "One")
    rng = random.Random(2026)
    for number in range(kills):
        stop = threading.Event()

        def write_on(session: Session, writer: int, seed: float, stop: threading.Event = stop) -> None:
            mine = random.Random(seed)
            with contextlib.suppress(*DEAD):
                while not stop.is_set():
                    _write_anything(session, writer, mine)
            assert stop.is_set() or session.raw.closed

        writers = [(pair.connect("litellm"), writer, rng.random()) for writer in range(WRITERS)]
        with threads(*(lambda each=each: write_on(*each) for each in writers)):
            time.sleep(rng.uniform(0.2, 0.6))
            # Only queued, and committed: nothing but the queue knows of it when the server is back.
            pair.litellm.run("BEGIN ISOLATION LEVEL REPEATABLE READ")
            rows.add_user(pair.litellm, f"last{number}", f"last{number}@example.com")
            pair.litellm.run("COMMIT")
            pair.cluster.kill()
            stop.set()
        _forget_sessions(pair)
        pair.cluster.start()


def test_a_server_killed_amid_writes_loses_nothing(own_server: Pair) -> None:
    install_bridge(own_server, QUICK)
    _kill_amid_writes(own_server, KILLS)
    drain_all(own_server)
    assert own_server.litellm.value('SELECT count(*) FROM "LiteLLM_UserTable"') > KILLS
    assert differences(own_server) == []


def test_a_drainer_delivers_on_after_a_server_was_killed(own_server: Pair) -> None:
    """Its session ends with the server; the next one finds what was left, nothing of which is lost."""
    install_bridge(own_server, QUICK)
    with drainer(own_server):
        _kill_amid_writes(own_server, 2)
        until(lambda: own_server.litellm_admin.value("SELECT count(*) FROM user_bridge.sync_queue") == 0, seconds=60)
        assert differences(own_server) == []


def _uncompared(mutate: Mutate) -> Mutate:
    """The same mutant, of a bridge that does not compare both sides after a crash, which repairs what this loses."""
    call = "user_bridge.find_losses(concat_ws(' ', v_reply ->> 'place', user_bridge.source_place()), s)"
    blind = replaced("engine/litellm/drain.sql.j2", call, "NULL")
    return lambda path, text: blind(path, mutate(path, text))


def test_a_queue_that_does_not_survive_a_crash_is_noticed(own_server: Pair) -> None:
    start = "CREATE TABLE IF NOT EXISTS user_bridge.sync_queue"
    mutate = _uncompared(replaced("engine/litellm/state.sql.j2", start, start.replace("TABLE", "UNLOGGED TABLE")))
    install_bridge(own_server, {**QUICK, "delivery": "queued"}, mutate=mutate)
    _kill_amid_writes(own_server, 1)
    drain_all(own_server)
    assert differences(own_server) != []


# A source that dies between the remote apply and its own commit (H2).

_HOLD = """
CREATE FUNCTION public.hold() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('test.hold', true) = 'on' THEN PERFORM pg_sleep(60); END IF;
    RETURN NULL;
END $$;
-- Deferred, and queued by the delivery itself: it runs when everything has been applied over there.
CREATE CONSTRAINT TRIGGER hold AFTER INSERT ON user_bridge.sync_audit DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION public.hold()"""


def _cancel(pair: Pair, pid: int) -> None:
    pair.cluster.execute(f"SELECT pg_cancel_backend({pid})")


def _terminate(pair: Pair, pid: int) -> None:
    pair.cluster.execute(f"SELECT pg_terminate_backend({pid})")


def _kill(pair: Pair, pid: int) -> None:
    """kill -9 of one backend, upon which the server ends all others and recovers."""
    os.kill(pid, signal.SIGKILL)

    def is_forgotten() -> bool:
        # The server lists the dead, and lets others in, until it has noticed; then nobody, until it has recovered.
        with (
            contextlib.suppress(*DEAD),
            contextlib.closing(pair.cluster.connect()) as session,
            session.cursor() as cursor,
        ):
            cursor.execute("SELECT FROM pg_stat_activity WHERE pid = %s", [pid])
            return cursor.rowcount == 0
        return False

    until(is_forgotten, seconds=60)
    _forget_sessions(pair)


@contextmanager
def _applied_but_not_committed(pair: Pair) -> Iterator[Session]:
    """A COMMIT that is held up after its delivery; the block ends it."""
    for user in ("ann", "bob"):
        rows.add_user(pair.litellm, user, f"{user}@example.com", user_alias="Before")
    rows.add_team(pair.litellm, "t1", "Team", members_with_roles=[{"role": "user", "user_id": "ann"}])
    pair.litellm_admin.run(_HOLD)
    writer = pair.connect("litellm")
    writer.run("SET test.hold = 'on'")

    def commit() -> None:
        with contextlib.suppress(psycopg2.errors.QueryCanceled, *DEAD), writer.transaction():
            rows.add_user(writer, "eve", "eve@example.com")
            rows.change_user(writer, "ann", user_alias="After")
            rows.delete_user(writer, "bob")
            rows.change_team(writer, "t1", team_alias="Renamed", members_with_roles=[])

    with threads(commit):
        until(lambda: set(openwebui.accounts(pair)) == {"ann@example.com", "eve@example.com"})
        yield writer
    assert pair.litellm.value("""SELECT count(*) FROM "LiteLLM_UserTable" WHERE user_id = 'eve'""") == 0


def _phantoms(pair: Pair, end: Callable[[Pair, int], None], mutate: Mutate | None = None) -> list[str]:
    install_bridge(pair, QUICK, mutate=mutate)
    with _applied_but_not_committed(pair) as writer:
        end(pair, writer.pid)
    drain_all(pair)
    return differences(pair)


@pytest.mark.parametrize("end", [_cancel, _terminate])
def test_a_source_that_dies_after_its_delivery_leaves_no_phantom(pair: Pair, end: Callable[[Pair, int], None]) -> None:
    assert _phantoms(pair, end) == []


def test_a_source_killed_after_its_delivery_leaves_no_phantom(own_server: Pair) -> None:
    assert _phantoms(own_server, _kill) == []


def _phantoms_numbered_twice(pair: Pair, mutate: Mutate | None = None) -> list[str]:
    """What remains when the number of the transaction that died is given to another one, which commits."""
    install_bridge(pair, QUICK, mutate=mutate)
    drain_all(pair)
    with _applied_but_not_committed(pair) as writer:
        _terminate(pair, writer.pid)
    # Two servers of which LiteLLM's crashes do this; one server alone has the WAL of both sides.
    pair.litellm_admin.run("BEGIN")
    reused = pair.litellm_admin.value("SELECT pg_current_xact_id()::text")
    pair.litellm_admin.run("COMMIT")
    pair.openwebui_admin.run(
        "UPDATE user_bridge.entity SET source_txid = %s WHERE source_txid IS NOT NULL", [str(reused)]
    )
    pair.cluster.kill()
    _forget_sessions(pair)
    pair.cluster.start()
    drain_all(pair)
    return differences(pair)


def test_after_a_crash_the_numbers_of_the_journal_mean_nothing(own_server: Pair) -> None:
    assert _phantoms_numbered_twice(own_server) == []
    assert (
        own_server.openwebui_admin.value("SELECT count(*) FROM user_bridge.entity WHERE source_txid IS NOT NULL") == 0
    )
    assert own_server.litellm_admin.value("SELECT count(*) FROM user_bridge.crash_sentinel") == 1


def test_a_journal_that_trusts_numbers_from_before_a_crash_is_noticed(own_server: Pair) -> None:
    trusting = _uncompared(replaced("engine/litellm/state.sql.j2", "CREATE UNLOGGED TABLE", "CREATE TABLE"))
    assert _phantoms_numbered_twice(own_server, trusting) != []


def test_without_the_journal_there_are_phantoms(pair: Pair) -> None:
    old = "p_item ->> 'id', p_version, p_txid,"
    assert (
        _phantoms(pair, _terminate, replaced("engine/openwebui/door.sql.j2", old, old.replace("p_txid", "NULL"))) != []
    )


def test_a_phantom_is_settled_by_whoever_commits_next_or_by_the_drain_and_only_once(pair: Pair) -> None:
    assert _phantoms(pair, _terminate) == []
    left = "SELECT count(*) FROM user_bridge.entity WHERE source_txid IS NOT NULL"
    drain_all(pair)
    assert pair.openwebui_admin.value(left) == 0
    assert pair.connect("litellm", SUPERUSER).rows("SELECT * FROM user_bridge.drain()") == []


def _delivered_of_prepared(pair: Pair, mutate: Mutate | None = None) -> list[str]:
    """Whom Open WebUI has while two transactions are prepared, one of which commits later."""
    install_bridge(pair, QUICK, mutate=mutate)
    for user in ("comes", "does not"):
        pair.litellm.run("BEGIN")
        rows.add_user(pair.litellm, user, f"{user.replace(' ', '-')}@example.com")
        pair.litellm.run(f"PREPARE TRANSACTION '{user}'")
    return sorted(openwebui.accounts(pair))


def test_what_is_only_prepared_is_delivered_when_it_has_committed(own_server: Pair) -> None:
    assert _delivered_of_prepared(own_server) == []
    # Whatever it kept locked, it would keep until somebody decides.
    held = "SELECT count(*) FROM pg_locks WHERE pid IS NULL AND locktype = 'advisory'"
    assert own_server.litellm_admin.value(held) == 0
    own_server.cluster.kill()
    _forget_sessions(own_server)
    own_server.cluster.start()
    own_server.litellm.run("COMMIT PREPARED 'comes'")
    own_server.litellm.run("ROLLBACK PREPARED 'does not'")
    drain_all(own_server)
    assert sorted(openwebui.accounts(own_server)) == ["comes@example.com"]


@pytest.mark.weekly
def test_a_delivery_of_what_is_only_prepared_is_noticed(own_server: Pair) -> None:
    mutate = replaced("engine/litellm/commit.sql.j2", "OR user_bridge.is_only_prepared()", "")
    assert _delivered_of_prepared(own_server, mutate) != []
    for user in ("comes", "does not"):
        own_server.litellm.run(f"ROLLBACK PREPARED '{user}'")
