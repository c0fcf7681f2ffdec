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

import pytest

from hard_support import QUICK, until
from kit import rows
from kit.bridge import SCHEMA, drainer, install_bridge
from kit.oracle import differences
from kit.pairs import SIDES, Pair

SECONDS = int(os.environ.get("USER_BRIDGE_HELD_SECONDS", "60"))
USERS = 200
# Changes in a second: moderate for a LiteLLM, whose users change far less often.
RATE = 50
PARTS = 6
# Of all that is deleted and written again at a change, on both sides.
BYTES_A_CHANGE = 4096


def _size(pair: Pair) -> int:
    total = f"SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relnamespace = '{SCHEMA}'::regnamespace"
    return sum(int(pair.superuser(side).value(f"{total} AND relkind = 'r'")) for side in SIDES)


def _write_for(pair: Pair, seconds: float, first: int) -> list[float]:
    """Changes at an even pace; returns how long those took that were delivered with it, in milliseconds."""
    took, begun = [], time.monotonic()
    for number in range(int(seconds * RATE)):
        time.sleep(max(0.0, begun + number / RATE - time.monotonic()))
        start, is_left = time.perf_counter(), number % 2 == 1
        # By turns one that the COMMIT delivers, and one that is left to the drainer.
        pair.litellm.run(f"BEGIN ISOLATION LEVEL {'REPEATABLE READ' if is_left else 'READ COMMITTED'}")
        rows.change_user(pair.litellm, f"u{(first + number) % USERS}", user_alias=f"Alias {first + number}")
        pair.litellm.run("COMMIT")
        if not is_left:
            took.append((time.perf_counter() - start) * 1000)
    return took


@pytest.mark.weekly
def test_a_held_snapshot_slows_nothing_down(pair: Pair) -> None:
    install_bridge(pair, QUICK)
    for number in range(USERS):
        rows.add_user(pair.litellm, f"u{number}", f"u{number}@example.com")
    delay = "SELECT delay_ms FROM user_bridge.commits()"
    with drainer(pair):
        _write_for(pair, 2, 0)
        holders = [pair.connect(side, autocommit=False) for side in SIDES]
        for holder in holders:
            holder.run("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT txid_current()")
        sizes, medians, delays = [_size(pair)], [], []
        for part in range(PARTS):
            took = _write_for(pair, SECONDS / PARTS, part * SECONDS * RATE // PARTS)
            medians.append(statistics.median(took))
            sizes.append(_size(pair))
            delays.append(pair.litellm_admin.value(delay))
        until(lambda: not pair.litellm_admin.value("SELECT count(*) FROM user_bridge.sync_queue"))
    changes = SECONDS * RATE
    print(
        f"{changes} changes in {SECONDS} s: a COMMIT {[round(m, 1) for m in medians]} ms, drained after {delays} ms, "
        f"{(sizes[-1] - sizes[0]) / changes:.0f} bytes a change, sizes {sizes}"
    )
    assert differences(pair) == []
    assert statistics.median(medians[-2:]) <= 1.3 * statistics.median(medians[:2]) + 0.5
    assert statistics.median(delays[-2:]) <= 1.5 * statistics.median(delays[:2]) + 50
    assert sizes[-1] - sizes[0] <= BYTES_A_CHANGE * changes
