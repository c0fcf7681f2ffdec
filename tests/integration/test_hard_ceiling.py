# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hard ceiling of a COMMIT, with every kind of target that neither answers nor hangs up (H1, H3)."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import psycopg2.errors
import pytest

from conftest import missing
from hard_support import QUICK, calls_ended, replaced, silent_target, threads, until, used_to_silence
from kit import binaries, openwebui, pairs, rows
from kit.bridge import Mutate, change_settings, hurried, install_bridge
from kit.cluster import Cluster, running
from kit.common import KitError
from kit.drains import drain_all
from kit.oracle import differences
from kit.pairs import SYNC_USER, Pair, Session
from test_delivery import unanswered

# Connecting has whole seconds only, two at least (libpq).
TIMEOUT_MS = 2000
CEILING = (TIMEOUT_MS + 100) / 1000
# What a busy machine with two cores may add before a thread that is ready runs.
SCHEDULING = 1.0


class Proxy:
    """A TCP proxy on loopback that can fall silent: connections stay open, new ones are accepted, nothing moves."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._moving = threading.Event()
        self._moving.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @contextmanager
    def silent(self) -> Iterator[None]:
        self._moving.clear()
        try:
            yield
        finally:
            self._moving.set()

    def close(self) -> None:
        self._moving.set()
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                ours, _ = self._listener.accept()
                theirs = socket.create_connection(("127.0.0.1", self._target))
                self._sockets += [ours, theirs]
                for ends in ((ours, theirs), (theirs, ours)):
                    threading.Thread(target=self._pump, args=ends, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self._moving.wait()
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


@pytest.fixture
def proxy(pair: Pair) -> Iterator[Proxy]:
    made = Proxy(pair.cluster.port)
    yield made
    made.close()


def _install(
    pair: Pair, proxy: Proxy, mutate: Mutate | None = None, timeout_ms: int = TIMEOUT_MS, backoff: int = 1
) -> None:
    install_bridge(pair, {**QUICK, "backoff_seconds": backoff}, mutate=mutate, server_options={"port": str(proxy.port)})
    rows.add_user(pair.litellm, "u1", "ann@example.com", user_alias="Ann")
    assert "ann@example.com" in openwebui.accounts(pair)
    change_settings(pair, target_timeout_ms=timeout_ms)


@contextmanager
def _half_open(_: Pair, proxy: Proxy) -> Iterator[None]:
    with proxy.silent():
        yield


@contextmanager
def _frozen_backend(pair: Pair, _: Proxy) -> Iterator[None]:
    with silent_target(pair):
        yield


@contextmanager
def _frozen_postmaster(pair: Pair, _: Proxy) -> Iterator[None]:
    assert pair.cluster.process is not None
    with pair.cluster.frozen(pair.cluster.process.pid):
        yield


Fault = Callable[[Pair, Proxy], AbstractContextManager[None]]
KEPT: list[Fault] = [_half_open, _frozen_backend]
CONNECTING: list[Fault] = [_half_open, _frozen_postmaster]


def _seconds(write: Callable[[], object]) -> float:
    started = time.monotonic()
    write()
    return time.monotonic() - started


def _during(pair: Pair, proxy: Proxy, fault: Fault, session: Session) -> list[float]:
    """How long each of three COMMITs takes while the target is out of order, and what both sides are afterwards."""
    with fault(pair, proxy):
        taken = [
            _seconds(lambda: rows.change_user(session, "u1", user_alias="Anna")),
            _seconds(lambda: rows.add_user(session, "u2", "bob@example.com")),
            _seconds(lambda: rows.add_team(session, "t1", "T", members_with_roles=[{"role": "user", "user_id": "u1"}])),
        ]
        # Then the breaker is open: one waits, and not each.
        assert (unanswered(pair) or {}).get("attempts") == 1
    drain_all(pair)
    assert differences(pair) == []
    return taken


@pytest.mark.parametrize("fault", KEPT)
def test_no_commit_is_held_longer_than_the_ceiling(pair: Pair, proxy: Proxy, fault: Fault) -> None:
    _install(pair, proxy, timeout_ms=500, backoff=60)
    assert max(_during(pair, proxy, fault, pair.litellm)) < 0.6 + SCHEDULING


@contextmanager
def server_of(usual: Cluster, usable: bool, major: int) -> Iterator[Cluster]:
    """The usual server where it will do, else one of this major version."""
    if usable:
        yield usual
        return
    try:
        programs = binaries.find(major)
    except KitError as error:
        missing(str(error))
    with running(programs) as made:
        yield made


@pytest.fixture(params=CONNECTING)
def connecting(request: pytest.FixtureRequest) -> Fault:
    fault: Fault = request.param
    return fault


@pytest.fixture(scope="module")
def server_before_16(server: Cluster) -> Iterator[Cluster]:
    with server_of(server, server.major < 16, 13) as usable:
        yield usable


@pytest.fixture(scope="module")
def server_from_16(server: Cluster) -> Iterator[Cluster]:
    with server_of(server, server.major >= 16, 18) as usable:
        yield usable


@pytest.fixture
def before_16(server_before_16: Cluster) -> Iterator[Pair]:
    """dblink_connect() heeds connect_timeout up to PostgreSQL 15."""
    with pairs.pair(server_before_16) as made:
        yield made


@pytest.fixture
def from_16(server_from_16: Cluster) -> Iterator[Pair]:
    """dblink_connect() of PostgreSQL 16 and newer ignores connect_timeout."""
    with pairs.pair(server_from_16) as made:
        yield made


def test_connecting_is_bounded_too(before_16: Pair, connecting: Fault) -> None:
    with contextlib.closing(Proxy(before_16.cluster.port)) as proxy:
        _install(before_16, proxy, backoff=60)
        fresh = before_16.connect("litellm")
        assert max(_during(before_16, proxy, connecting, fresh)) < CEILING + SCHEDULING


def test_from_16_on_one_backend_waits_while_connecting_and_can_be_cancelled(from_16: Pair, connecting: Fault) -> None:
    """Nothing bounds the one that connects; the others must not wait behind it for longer than the ceiling."""
    pair = from_16
    connects = (
        "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid = %s "
        "AND classid::bigint << 32 | objid::bigint = user_bridge.lock_key('connect')"
    )
    with contextlib.closing(Proxy(pair.cluster.port)) as proxy:
        _install(pair, proxy, timeout_ms=500)
        stuck, other, looker = pair.connect("litellm"), pair.connect("litellm"), pair.litellm_admin
        ended = threading.Event()

        def write() -> None:
            with pytest.raises(psycopg2.errors.QueryCanceled):
                rows.add_user(stuck, "u2", "bob@example.com")
            ended.set()

        with connecting(pair, proxy), threads(write):
            until(lambda: looker.value(connects, [stuck.pid]))
            assert _seconds(lambda: rows.add_user(other, "u3", "cem@example.com")) < 0.6 + SCHEDULING
            assert not ended.is_set()
            looker.run("SELECT pg_cancel_backend(%s)", [stuck.pid])
            assert ended.wait(25)
            assert looker.rows(connects, [stuck.pid]) == []
        assert pair.litellm.value('SELECT count(*) FROM "LiteLLM_UserTable"') == 2
        drain_all(pair)
        assert differences(pair) == []


@pytest.fixture
def from_17(server_from_16: Cluster) -> Iterator[Pair]:
    """transaction_timeout came with PostgreSQL 17."""
    with server_of(server_from_16, server_from_16.major >= 17, 18) as usable, pairs.pair(usable) as made:
        yield made


def _under_a_transaction_timeout(pair: Pair, mutate: Mutate | None = None) -> None:
    """A write while the target is silent, where PostgreSQL ends LiteLLM's session before the bridge would give up."""
    install_bridge(pair, {**QUICK, "target_timeout_ms": 20_000}, mutate=mutate)
    rows.add_user(pair.litellm, "u1", "ann@example.com")
    session = pair.connect("litellm")
    # The bridge gives up 200 ms before it.
    used_to_silence(pair, session, "u1")
    session.run("SET transaction_timeout = '1s'")
    with silent_target(pair):
        rows.change_user(session, "u1", user_alias="Ann")
    drain_all(pair)
    assert differences(pair) == []


def test_a_transaction_timeout_of_litellms_is_not_reached(from_17: Pair) -> None:
    _under_a_transaction_timeout(from_17)
    assert from_17.litellm.value("SELECT user_alias FROM \"LiteLLM_UserTable\" WHERE user_id = 'u1'") == "Ann"


def test_a_transaction_timeout_that_is_reached_loses_the_write(from_17: Pair) -> None:
    deaf = replaced("engine/litellm/commit.sql.j2", "'transaction_timeout'", "'idle_in_transaction_session_timeout'")
    with pytest.raises(psycopg2.OperationalError):
        _under_a_transaction_timeout(from_17, deaf)


def test_without_the_deadline_the_ceiling_is_broken(pair: Pair, proxy: Proxy) -> None:
    late = replaced("engine/litellm/target.sql.j2", "v_now >= p_deadline THEN", "v_now >= p_deadline + '2 s' THEN")
    _install(pair, proxy, late, timeout_ms=500, backoff=60)
    assert max(_during(pair, proxy, _half_open, pair.litellm)) > 0.6 + SCHEDULING


def _settled(pair: Pair) -> None:
    """Both sides are equal, once a request that was still on its way has arrived and ended."""
    give_up = time.monotonic() + 20
    while True:
        calls_ended(pair)
        drain_all(pair)
        if differences(pair) == []:
            return
        assert time.monotonic() < give_up, differences(pair)


_WAITS = """SELECT count(*) FROM pg_stat_activity
 WHERE pid = %s AND state = 'active' AND query_start < clock_timestamp() - interval '0.3 s'"""


def _cancelled(pair: Pair, proxy: Proxy, fault: Fault) -> float:
    """Seconds from the wish to cancel a COMMIT until it has ended."""
    _install(pair, proxy, timeout_ms=15_000)
    writer, canceller = pair.connect("litellm"), pair.connect("litellm", "postgres")
    rows.change_user(writer, "u1", user_alias="Kept connection")
    asked: list[float] = []

    def cancel() -> None:
        # The write itself takes a few milliseconds.
        until(lambda: canceller.value(_WAITS, [writer.pid]))
        asked.append(time.monotonic())
        canceller.run("SELECT pg_cancel_backend(%s)", [writer.pid])

    with fault(pair, proxy), threads(cancel), pytest.raises(psycopg2.errors.QueryCanceled):
        rows.add_user(writer, "u2", "bob@example.com")
    ended = time.monotonic()
    assert pair.litellm.value("""SELECT count(*) FROM "LiteLLM_UserTable" WHERE user_id = 'u2'""") == 0
    _settled(pair)
    return ended - asked[0]


@pytest.mark.parametrize("fault", KEPT)
def test_a_waiting_commit_can_be_cancelled(pair: Pair, proxy: Proxy, fault: Fault) -> None:
    assert _cancelled(pair, proxy, fault) < 0.5 + SCHEDULING


@pytest.mark.parametrize("table", ["user", "access_grant"])
def test_a_table_locked_for_a_minute_costs_a_moment_each_backoff(pair: Pair, table: str) -> None:
    """A minute, at a tenth of its length: a writer goes on all the time, and hardly waits."""
    install_bridge(pair, {**QUICK, "backoff_seconds": 1, "target_timeout_ms": 4000})
    rows.add_user(pair.litellm, "u1", "ann@example.com")
    blocker = pair.connect("openwebui", autocommit=False)
    blocker.run(f'LOCK TABLE "{table}" IN ACCESS EXCLUSIVE MODE')
    opened = "SELECT pg_sequence_last_value('user_bridge.breaker_until')"
    taken: list[float] = []
    pauses = set()
    started = time.monotonic()
    while time.monotonic() - started < 6:
        taken.append(_seconds(lambda: rows.change_user(pair.litellm, "u1", user_alias=f"{len(taken)}")))
        pauses.add(pair.litellm_admin.value(opened))
        time.sleep(0.01)
    blocker.rollback()
    # The target would have tried for three seconds.
    assert max(taken) < 0.1 + SCHEDULING
    assert 2 <= len(pauses) <= 7
    drain_all(pair)
    assert differences(pair) == []


def _thawed(pair: Pair, mutate: Mutate | None = None) -> str:
    """The name after a call that was given up frozen has run at last, behind a newer delivery."""
    install_bridge(pair, QUICK, mutate=mutate)
    writer = pair.connect("litellm")
    rows.add_user(writer, "u1", "ann@example.com", user_alias="First")
    backend = pair.openwebui_admin.value("SELECT pid FROM pg_stat_activity WHERE usename = %s", [SYNC_USER])
    with pair.cluster.frozen(backend):
        with hurried(pair, 300):
            rows.change_user(writer, "u1", user_alias="Old")
        drain_all(pair)
        rows.change_user(writer, "u1", user_alias="New")
        assert openwebui.accounts(pair) == {"ann@example.com": ("New", "user")}
    until(lambda: not pair.openwebui_admin.value("SELECT 1 FROM pg_stat_activity WHERE pid = %s", [backend]))
    return openwebui.accounts(pair)["ann@example.com"][0]


def test_a_call_thawed_after_a_newer_delivery_changes_nothing(pair: Pair) -> None:
    assert _thawed(pair) == "New"


def test_without_the_fence_a_thawed_call_overwrites_what_is_newer(pair: Pair) -> None:
    no_fence = replaced("engine/openwebui/door.sql.j2", "WHERE e.version < excluded.version", "WHERE true")
    assert _thawed(pair, no_fence) == "Old"
