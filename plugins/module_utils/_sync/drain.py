# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Drains the queue, batch by batch.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Callable

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._bridge import breaker_is_open
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import SCHEMA
from ansible_collections.llmops.user_bridge.plugins.module_utils._session import Session
from ansible_collections.llmops.user_bridge.plugins.module_utils._sync.queue import deliverable
from ansible_collections.llmops.user_bridge.plugins.module_utils._sync.results import STAYS

# Few enough for a round trip to end well within bridge_target_timeout_ms, many enough to amortize it.
BATCH = 200


@dataclass
class Drained:
    """What consecutive drains did."""

    done: Counter[tuple[str, str]] = field(default_factory=Counter)
    # Entities that could not be delivered; a later batch may deliver them after all.
    stays: dict[tuple[str, str], str] = field(default_factory=dict)
    warned: set[tuple[str, str]] = field(default_factory=set)
    # Whether time was over before everything had been tried.
    more: bool = False

    def add(self, batch: Iterable[dict[str, Any]]) -> bool:
        """Count a batch; returns whether it moved anything, or tried anything that had not been tried before."""
        moved = False
        for row in batch:
            entity, result = (row["entity_type"], row["entity_id"]), row["result"]
            if result in STAYS:
                moved = moved or entity not in self.stays
                self.stays[entity] = result
            elif entity in self.warned:
                continue  # Partly refused again: it returns in every batch for as long as somebody drains.
            else:
                moved = True
                self.stays.pop(entity, None)
                self.done[row["entity_type"], result] += 1
                if result == "WARNING":
                    self.warned.add(entity)
        return moved

    @property
    def delivered(self) -> int:
        """Entities that are done."""
        return sum(self.done.values())

    @property
    def tried(self) -> int:
        """Entities that were looked at, done or not."""
        return self.delivered + len(self.stays)

    def summary(self) -> dict[str, Any]:
        """Numbers of entities by result, and by type and result."""
        counts = self.done + Counter((entity[0], result) for entity, result in self.stays.items())
        by_type: dict[str, dict[str, int]] = {}
        results: Counter[str] = Counter()
        for (kind, result), number in sorted(counts.items()):
            by_type.setdefault(kind, {})[result] = number
            results[result] += number
        return {"delivered": self.delivered, "results": dict(sorted(results.items())), "by_type": by_type}


@dataclass(frozen=True)
class Limits:
    """When to stop early: after so many entities or seconds, None for no limit."""

    entities: int | None = None
    seconds: int | None = None


def drain(session: Session, limits: Limits, clock: Callable[[], float] = time.monotonic) -> Drained:
    """Deliver until nothing moves any more, with a COMMIT after each batch that frees the entities' locks."""
    drained = Drained()
    waiting = deliverable(session)
    stop = None if limits.seconds is None else clock() + limits.seconds
    while True:
        if stop is not None and clock() >= stop:
            drained.more = True
            break
        # First everything that waits, once; then only what is due, so that failures are not repeated at once.
        first = waiting - drained.tried
        size = min(BATCH, first if first > 0 else BATCH)
        if limits.entities is not None:
            size = min(size, limits.entities - drained.tried)
        if size < 1 or not drained.add(_batch(session, size, due_only=first <= 0)):
            break
        if not drained.delivered and breaker_is_open(session):
            break  # Open WebUI's server does not answer: each further batch would only wait for its timeout.
    return drained


def _batch(session: Session, size: int, due_only: bool) -> list[dict[str, Any]]:
    """One transaction with at most so many entities."""
    with session.transaction(read_only=False):
        return _pg.rows(
            session.cur,
            f"SELECT * FROM {SCHEMA}.drain(%(size)s::integer, %(due_only)s::boolean)",
            {"size": size, "due_only": due_only},
        )
