# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Entities that always fail, changed schemas and very large transactions: they hold up nobody."""

from __future__ import annotations

import time

import pytest

from hard_support import QUICK, replaced
from kit import openwebui, rows
from kit.bridge import Mutate, install_bridge
from kit.drains import drain_all
from kit.oracle import differences
from kit.pairs import Pair, Session, Side
from modules_support import login_options, run_module

USERS = 2000
PORTION = 100
POISONED = "u77"
# A poison in Open WebUI's database, and one in LiteLLM's.
REFUSED_THERE = "ALTER TABLE \"user\" ADD CONSTRAINT poison CHECK (email <> 'u77@example.com')"
_EMAIL = "'email', user_bridge.fold_email(u.user_email),"
FAILING_HERE = replaced(
    "entities/user/litellm/desired.sql.j2", _EMAIL, _EMAIL + f" 'poison', 1 / (u.user_id <> '{POISONED}')::integer,"
)


def _many_users(session: Session, count: int, with_email: int) -> None:
    session.run(
        'INSERT INTO "LiteLLM_UserTable" (user_id, user_email) '
        "SELECT 'u' || n, CASE WHEN n <= %s THEN 'u' || n || '@example.com' END FROM generate_series(1, %s) AS n",
        [with_email, count],
    )


def _portions(pair: Pair, users: int = USERS) -> int:
    """Due portions drained until none is left, but for those that ran out of time on a busy machine."""
    count = 0
    for _ in range(users // PORTION * 3):
        outcomes = pair.litellm_admin.rows("SELECT * FROM user_bridge.drain(%s, true)", [PORTION])
        if not outcomes:
            return count
        count += all(outcome["result"] != "DEFERRED" for outcome in outcomes)
    raise AssertionError("the poisoned entity holds up others")


def _poison(pair: Pair, *, there: bool, mutate: Mutate | None = None, users: int = USERS) -> None:
    """Thousands of queued users, of whom one fails at each attempt."""
    install_bridge(pair, QUICK, mutate=mutate if there else FAILING_HERE)
    if there:
        pair.openwebui.run(REFUSED_THERE)
    if mutate and not there:
        install_bridge(pair, QUICK, mutate=lambda path, text: mutate(path, FAILING_HERE(path, text)))
    _many_users(pair.litellm, users, users)


@pytest.mark.parametrize("there", [True, False], ids=["in Open WebUI", "in LiteLLM"])
def test_a_poisoned_entity_holds_up_nobody_and_is_named(pair: Pair, there: bool) -> None:
    _poison(pair, there=there)
    assert _portions(pair) <= USERS // PORTION + 1
    assert len(openwebui.accounts(pair)) == USERS - 1
    (left,) = pair.litellm_admin.rows("SELECT * FROM user_bridge.sync_queue")
    sqlstate, words = ("23514", "poison") if there else ("22012", "division by zero")
    assert (left["entity_type"], left["entity_id"], left["last_sqlstate"]) == ("user", POISONED, sqlstate)
    assert words in left["last_error"]
    status = {
        row["metric"]: row["value"] for row in pair.litellm_admin.rows("SELECT * FROM user_bridge.check_sync_status()")
    }
    assert (status["Queued"], status["Failing"]) == ("1", "1")
    audit = "SELECT error_message FROM user_bridge.sync_audit WHERE sync_result = 'FAILED' AND record_id = %s"
    assert words in pair.litellm_admin.value(audit, [POISONED])
    _cause_gone(pair, there)


def _cause_gone(pair: Pair, there: bool) -> None:
    """The next commit of somebody else delivers what could not be delivered before."""
    if there:
        pair.openwebui.run('ALTER TABLE "user" DROP CONSTRAINT poison')
    else:
        install_bridge(pair, QUICK)
    pair.litellm_admin.run("UPDATE user_bridge.sync_queue SET next_attempt_at = now()")
    give_up = time.monotonic() + 25
    while f"{POISONED}@example.com" not in openwebui.accounts(pair):
        assert time.monotonic() < give_up
        rows.change_user(pair.litellm, "u1", user_alias=f"{time.monotonic()}")
    drain_all(pair)
    assert differences(pair) == []


@pytest.mark.parametrize(
    ("there", "mutate"),
    [
        pytest.param(
            False,
            replaced("engine/litellm/drain.sql.j2", "ELSIF cardinality(p_ids) > 1 THEN", "ELSIF false THEN"),
            id="not one by one",
        ),
    ],
)
def test_without_the_mechanism_the_poison_holds_up_others(pair: Pair, there: bool, mutate: Mutate) -> None:
    few = 3 * PORTION
    _poison(pair, there=there, mutate=mutate, users=few)
    with pytest.raises(AssertionError):
        _portions(pair, few)
        assert len(openwebui.accounts(pair)) == few - 1


def _pauses(pair: Pair, mutate: Mutate | None = None) -> list[float]:
    """Seconds until the next attempt, after each of five that failed."""
    install_bridge(pair, QUICK, mutate=mutate)
    pair.openwebui.run(REFUSED_THERE)
    rows.add_user(pair.litellm, POISONED, f"{POISONED}@example.com")
    pauses: list[float] = []
    for _ in range(5):
        pair.litellm_admin.run("UPDATE user_bridge.sync_queue SET next_attempt_at = now()")
        assert pair.litellm_admin.rows("SELECT * FROM user_bridge.drain(10, true)")
        left = "SELECT extract(epoch FROM next_attempt_at - clock_timestamp())::float8 FROM user_bridge.sync_queue"
        pauses.append(pair.litellm_admin.value(left))
        # Until then it is left alone.
        assert pair.litellm_admin.rows("SELECT * FROM user_bridge.drain(10, true)") == []
    return pauses


def _grow(pauses: list[float]) -> bool:
    return all(later > 1.7 * earlier for earlier, later in zip(pauses, pauses[1:], strict=False))


def test_the_pause_grows(pair: Pair) -> None:
    assert _grow(_pauses(pair))


def test_a_pause_that_does_not_grow_is_noticed(pair: Pair) -> None:
    constant = replaced(
        "engine/litellm/outcome.sql.j2", "p_backoff_seconds * 2.0 ^ least(p_attempts, 12)", "p_backoff_seconds"
    )
    assert not _grow(_pauses(pair, constant))


BIG = 10_000
# The others have no email: skipped, which is as much work here and less there.
WITH_EMAIL = 2_000


def _big_transaction(pair: Pair, mutate: Mutate | None = None) -> tuple[int, int]:
    """Of very many users in one transaction: how many its COMMIT delivered, and how many it noted a failure for."""
    install_bridge(pair, QUICK, mutate=mutate)
    writer = pair.connect("litellm", autocommit=False)
    _many_users(writer, BIG, WITH_EMAIL)
    writer.commit()
    queued = pair.litellm_admin.value("SELECT count(*) FROM user_bridge.sync_queue")
    failed = pair.litellm_admin.value("SELECT count(*) FROM user_bridge.sync_queue WHERE last_error IS NOT NULL")
    return BIG - queued, failed


def test_a_big_transaction_is_left_to_the_drain(pair: Pair) -> None:
    assert _big_transaction(pair) == (0, 0)
    drain_all(pair, 2000, 150)
    assert pair.openwebui.value('SELECT count(*) FROM "user"') == WITH_EMAIL + 1
    assert differences(pair) == []


def _world(pair: Pair) -> None:
    install_bridge(pair, QUICK)
    rows.add_organization(pair.litellm, "o0", "O")
    rows.add_user(pair.litellm, "u0", "u0@example.com")
    rows.add_team(pair.litellm, "t0", "T", members_with_roles=[])


@pytest.mark.parametrize(
    ("side", "broken", "mended", "named"),
    [
        pytest.param(
            "openwebui",
            "ALTER TABLE auth RENAME COLUMN active TO is_active",
            "ALTER TABLE auth RENAME COLUMN is_active TO active",
            "active",
            id="a column that Open WebUI lacks",
        ),
        pytest.param(
            "litellm",
            'ALTER TABLE "LiteLLM_UserTable" RENAME COLUMN user_alias TO alias',
            'ALTER TABLE "LiteLLM_UserTable" RENAME COLUMN alias TO user_alias',
            "user_alias",
            id="a column that LiteLLM renamed",
        ),
    ],
)
def test_a_changed_schema_is_a_named_problem_in_bridge_info(
    pair: Pair, side: Side, broken: str, mended: str, named: str
) -> None:
    _world(pair)
    owner = pair.litellm if side == "litellm" else pair.openwebui
    owner.run(broken)
    rows.add_user(pair.litellm, "u1", "u1@example.com")
    rows.flush_spend(pair.litellm, ["u0", "u1"], 0.25)
    found = run_module("bridge_info", {**login_options(pair, "litellm"), "openwebui_login_db": pair.openwebui_db})
    assert found["health"]["status"] != "ok"
    assert any(named in error["message"] for error in found["errors"]), found["errors"]
    owner.run(mended)
    drain_all(pair)
    assert differences(pair) == []
    assert pair.litellm.value('SELECT sum(spend) FROM "LiteLLM_UserTable"') == 0.5
