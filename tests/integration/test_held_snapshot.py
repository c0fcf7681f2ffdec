# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""While somebody holds a snapshot, no deleted row can be cleared away: writes and deliveries must not get slower.

USER_BRIDGE_HELD_SECONDS says for how long.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from itertools import pairwise

import pytest

from hard_support import QUICK, until
from kit import model_rows, rows
from kit.bridge import SCHEMA, drainer, install_bridge
from kit.cpu import microseconds
from kit.oracle import differences
from kit.pairs import SIDES, Pair

SECONDS = int(os.environ.get("USER_BRIDGE_HELD_SECONDS", "60"))
USERS = 200
# Changes in a second: moderate for a LiteLLM, whose users change far less often.
RATE = 50
PARTS = 6
# Of all that is deleted and written again at a change, on both sides.
BYTES_A_CHANGE = {"accounts": 4096, "rights": 16384}
MODELS = [f"m{number}" for number in range(5)]


def _size(pair: Pair) -> int:
    total = f"SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relnamespace = '{SCHEMA}'::regnamespace"
    return sum(int(pair.superuser(side).value(f"{total} AND relkind = 'r'")) for side in SIDES)


def _cpu_seconds(pair: Pair) -> float:
    """Of all sessions in both databases: unlike time it is not longer while the machine has other things to do."""
    sessions = "SELECT pid FROM pg_stat_activity WHERE datname IN (%s, %s)"
    found = pair.superuser("litellm").rows(sessions, [pair.litellm_db, pair.openwebui_db])
    return microseconds(row["pid"] for row in found) / 1e6


def _people(pair: Pair, kind: str) -> None:
    for number in range(USERS):
        rows.add_user(pair.litellm, f"u{number}", f"u{number}@example.com")
    if kind == "rights":
        for model in MODELS:
            model_rows.add_model(pair.litellm, model)
        for team in range(USERS // 20):
            members = [{"role": "user", "user_id": f"u{team * 20 + number}"} for number in range(20)]
            rows.add_team(pair.litellm, f"t{team}", f"Team {team}", members_with_roles=members, models=MODELS[:1])


def _change(pair: Pair, kind: str, number: int) -> None:
    if kind == "accounts":
        rows.change_user(pair.litellm, f"u{number % USERS}", user_alias=f"Alias {number}")
        return
    models = [MODELS[number % len(MODELS)], MODELS[number * 7 // USERS % len(MODELS)]]
    # One of a team's twenty members and one in twenty a team: each changes the grants of what it names.
    if number % 20 < 18:
        rows.change_user(pair.litellm, f"u{number % USERS}", models=sorted(set(models)))
    else:
        rows.change_team(pair.litellm, f"t{number // 20 % (USERS // 20)}", models=sorted(set(models)))


def _milliseconds(work: Callable[..., object], *arguments: object) -> float:
    start = time.perf_counter()
    work(*arguments)
    return (time.perf_counter() - start) * 1000


def _write_for(pair: Pair, kind: str, seconds: float, first: int) -> float:
    """Changes at an even pace; returns how long the delivered ones took, the median in milliseconds."""
    took: list[float] = []
    begun = time.monotonic()
    for number in range(int(seconds * RATE)):
        time.sleep(max(0.0, begun + number / RATE - time.monotonic()))
        # By turns one that the COMMIT delivers, and one that is left to the drainer.
        if number % 2 == 0:
            took.append(_milliseconds(_in_transaction, pair, kind, first + number, "READ COMMITTED"))
        else:
            _in_transaction(pair, kind, first + number, "REPEATABLE READ")
    return statistics.median(took)


def _in_transaction(pair: Pair, kind: str, number: int, level: str) -> None:
    pair.litellm.run(f"BEGIN ISOLATION LEVEL {level}")
    _change(pair, kind, number)
    pair.litellm.run("COMMIT")


@pytest.mark.weekly
@pytest.mark.parametrize("kind", BYTES_A_CHANGE)
def test_a_held_snapshot_slows_nothing_down(pair: Pair, kind: str) -> None:
    install_bridge(pair, {**QUICK, "model_access": kind == "rights"})
    _people(pair, kind)
    delay = "SELECT delay_ms FROM user_bridge.commits()"
    with drainer(pair):
        _write_for(pair, kind, 2, 0)
        holders = [pair.connect(side, autocommit=False) for side in SIDES]
        for holder in holders:
            holder.run("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT txid_current()")
        sizes, cpu, medians, delays = [_size(pair)], [_cpu_seconds(pair)], [], []
        for part in range(PARTS):
            medians.append(_write_for(pair, kind, SECONDS / PARTS, part * SECONDS * RATE // PARTS))
            sizes.append(_size(pair))
            cpu.append(_cpu_seconds(pair))
            delays.append(pair.litellm_admin.value(delay))
        until(lambda: not pair.litellm_admin.value("SELECT count(*) FROM user_bridge.sync_queue"))
    changes = SECONDS * RATE
    spent = [(after - before) * PARTS * 1000 / changes for before, after in pairwise(cpu)]
    print(
        f"{changes} changes in {SECONDS} s: a COMMIT {[round(m, 1) for m in medians]} ms, "
        f"{[round(each, 1) for each in spent]} ms of CPU a change, drained after {delays} ms, "
        f"{(sizes[-1] - sizes[0]) / changes:.0f} bytes a change, sizes {sizes}"
    )
    assert differences(pair) == []
    assert pair.litellm_admin.rows("SELECT * FROM user_bridge.reconcile()") == []
    assert statistics.median(spent[-2:]) <= 1.3 * statistics.median(spent[:2])
    assert statistics.median(delays[-2:]) <= 1.5 * statistics.median(delays[:2]) + 50
    assert sizes[-1] - sizes[0] <= BYTES_A_CHANGE[kind] * changes
