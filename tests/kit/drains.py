# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drains with an end: a queue that never gets empty is a failure, not a test that hangs."""

from __future__ import annotations

import time
from typing import Any

from kit.pairs import Pair

# Seconds until a queue counts as one that never gets empty. Where a planted fault sees to that, less will do.
PATIENCE = {"seconds": 60.0}


def drain_on(
    pair: Pair, limit: int = 100, *, due_only: bool = False, seconds: float | None = None
) -> list[dict[str, Any]]:
    """Drain until a drain finds nothing to do; returns all outcomes. What waits for a person, or for a pause, stays."""
    give_up = time.monotonic() + (seconds or PATIENCE["seconds"])
    outcomes: list[dict[str, Any]] = []
    while found := pair.litellm_admin.rows("SELECT * FROM user_bridge.drain(%s, %s)", [limit, due_only]):
        assert time.monotonic() < give_up, f"the queue does not get empty: {found[:5]}"
        outcomes += found
    return outcomes


def drain_all(pair: Pair, limit: int = 500, seconds: float | None = None) -> None:
    """Drain until nothing is left; whatever cannot be delivered is an error."""
    drain_on(pair, limit, seconds=seconds)
    left = pair.litellm_admin.rows("SELECT entity_type, entity_id, last_error FROM user_bridge.sync_queue LIMIT 5")
    assert left == [], left
