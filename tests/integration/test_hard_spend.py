# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""LiteLLM's spend flush beside changes of the same users, teams and keys: never failed, never wrong."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from decimal import Decimal
from functools import partial

import psycopg2.errors
import pytest

from hard_support import QUICK, deadlocks, replaced, threads
from kit import rows
from kit.bridge import hurried, install_bridge
from kit.drains import drain_all
from kit.oracle import differences
from kit.pairs import SYNC_USER, Pair, Session

EVERY_LITELLM = pytest.mark.schemas(litellm="all", older="weekly")
ENTITIES = 20
FLUSHES = 12
AMOUNT = 0.07
# Table and key of what a flush books on, in LiteLLM's order.
BOOKED = (("LiteLLM_UserTable", "user_id"), ("LiteLLM_VerificationToken", "token"), ("LiteLLM_TeamTable", "team_id"))


def _flush(session: Session, rng: random.Random, *, is_new: bool, lock_timeout_ms: int = 5000) -> None:
    """One transaction for each table, one statement for each row: sorted from 1.10x on, unsorted in 1.77.3."""
    for table, key in BOOKED:
        ids = [f"{key[0]}{n}" for n in range(ENTITIES)]
        ids = sorted(ids) if is_new else rng.sample(ids, len(ids))
        with session.transaction():
            if is_new:
                session.run("SELECT set_config('lock_timeout', %s, true)", [f"{lock_timeout_ms}ms"])
            for each in ids:
                session.run(
                    f'UPDATE "{table}" SET spend = spend + %s, updated_at = now() WHERE {key} = %s', [AMOUNT, each]
                )


def _fill(pair: Pair) -> None:
    with pair.litellm.transaction():
        for n in range(ENTITIES):
            rows.add_user(pair.litellm, f"u{n}", f"u{n}@example.com", teams=[f"t{n}"])
            rows.add_team(pair.litellm, f"t{n}", f"T {n}", members_with_roles=[{"role": "user", "user_id": f"u{n}"}])
            rows.add_key(pair.litellm, f"t{n}", f"u{n}", key_alias=f"K {n}")


def _changes(pair: Pair, stop: threading.Event) -> list[Callable[[], object]]:
    """Writers who change users, teams and keys, in no order, until they are told to stop."""

    def change(session: Session, write: Callable[[Session, int, str], object], seed: int) -> None:
        rng = random.Random(seed)
        while not stop.is_set():
            write(session, rng.randrange(ENTITIES), f"{rng.random()}")

    writes: list[Callable[[Session, int, str], object]] = [
        lambda session, n, text: rows.change_user(session, f"u{n}", user_alias=text),
        lambda session, n, text: rows.change_team(session, f"t{n}", team_alias=text),
        lambda session, n, text: session.run(
            'UPDATE "LiteLLM_VerificationToken" SET key_alias = %s, blocked = NOT coalesce(blocked, false) '
            "WHERE token = %s",
            [text, f"t{n}"],
        ),
    ]
    made = [(pair.connect("litellm"), write, seed) for seed, write in enumerate(writes)]
    for session, write, _ in made:
        write(session, 0, "So that its connection to the target exists")
    return [partial(change, *each) for each in made]


@contextmanager
def _up(_: Pair) -> Iterator[None]:
    yield


@contextmanager
def _down(pair: Pair) -> Iterator[None]:
    """Nobody listens where Open WebUI's database was."""
    pair.litellm_admin.run("ALTER SERVER user_bridge_target OPTIONS (SET port '1')")
    yield
    pair.litellm_admin.run(f"ALTER SERVER user_bridge_target OPTIONS (SET port '{pair.cluster.port}')")


@contextmanager
def _hung(pair: Pair) -> Iterator[None]:
    """Every call to Open WebUI's database waits for a lock that nobody gives back."""
    blocker = pair.connect("openwebui", autocommit=False)
    blocker.run('LOCK TABLE "user" IN ACCESS EXCLUSIVE MODE')
    yield
    blocker.rollback()


@contextmanager
def _frozen(pair: Pair) -> Iterator[None]:
    """The backend that serves LiteLLM's busiest session stands still, with its connection alive."""
    pids = pair.openwebui_admin.rows("SELECT pid FROM pg_stat_activity WHERE usename = %s", [SYNC_USER])
    with pair.cluster.frozen(pids[-1]["pid"]):
        yield


@EVERY_LITELLM
@pytest.mark.parametrize("target", [_up, _down, _hung, _frozen])
def test_no_flush_fails_and_spend_is_exact(pair: Pair, target: Callable[[Pair], AbstractContextManager[None]]) -> None:
    install_bridge(pair, QUICK)
    _fill(pair)
    before, stop = deadlocks(pair), threading.Event()
    flusher, rng = pair.connect("litellm"), random.Random(1)
    is_new = pair.litellm_version != "1.77.3"
    writers = _changes(pair, stop)
    with hurried(pair, 400), target(pair), threads(*writers):
        try:
            for _ in range(FLUSHES):
                _flush(flusher, rng, is_new=is_new)
        finally:
            stop.set()
    for table, _ in BOOKED:
        spends = pair.litellm.rows(f'SELECT DISTINCT round(spend::numeric, 2) AS spend FROM "{table}"')
        assert [row["spend"] for row in spends] == [Decimal(str(AMOUNT)) * FLUSHES]
    assert deadlocks(pair) == before
    drain_all(pair)
    assert differences(pair) == []


def test_without_a_deadline_a_flush_beside_a_frozen_target_fails(pair: Pair) -> None:
    no_deadline = replaced("engine/litellm/target.sql.j2", "IF v_now >= p_deadline THEN", "IF false THEN")
    install_bridge(pair, QUICK, mutate=no_deadline)
    _fill(pair)
    changer = pair.connect("litellm")
    rows.change_user(changer, "u1", user_alias="Once")
    backend = pair.openwebui_admin.rows(
        "SELECT pid FROM pg_stat_activity WHERE usename = %s ORDER BY backend_start DESC", [SYNC_USER]
    )[0]["pid"]
    with ExitStack() as frozen:
        frozen.enter_context(pair.cluster.frozen(backend))
        # It is thawed before the change is waited for.
        with (
            threads(lambda: rows.change_user(changer, "u1", user_alias="Twice")),
            frozen.pop_all(),
            pytest.raises(psycopg2.errors.LockNotAvailable),
        ):
            for _ in range(1000):
                _flush(pair.litellm, random.Random(1), is_new=True, lock_timeout_ms=700)
