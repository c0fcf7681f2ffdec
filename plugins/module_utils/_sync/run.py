# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Drains the queue, compares both sides and settles parked removals, all with the bridge's own functions.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Callable

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._causes import cause
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._listing import utc
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import SCHEMA
from ansible_collections.llmops.user_bridge.plugins.module_utils._session import Session

# Few enough for one round trip to end long before bridge_target_timeout_ms, many enough to make it worth its while.
BATCH = 200
# Most entries of a list in a result; counts are always complete.
MAX_LISTED = 1000
# What reconcile() compares, which is all that something can stand for in Open WebUI.
ENTITY_TYPES = ["api_key", "organization", "organization_member", "team", "team_member", "user", "user_key"]
# Results of what is still in the queue afterwards.
_STAYS = ("FAILED", "DEFERRED", "PARKED")

_QUEUE = f"""
SELECT q.entity_type AS type, count(DISTINCT q.entity_id) AS entities,
       count(DISTINCT q.entity_id) FILTER (WHERE q.last_error IS NOT NULL AND q.parked_at IS NULL) AS failing,
       count(DISTINCT q.entity_id) FILTER (WHERE q.parked_at IS NOT NULL) AS parked
  FROM {SCHEMA}.sync_queue AS q GROUP BY 1 ORDER BY 1"""

_FAILURES = f"""
SELECT q.entity_type, q.entity_id, max(q.attempts) AS attempts, {utc('max(q.next_attempt_at)')} AS next_attempt_at,
       (array_agg(q.last_sqlstate ORDER BY q.attempts DESC))[1] AS sqlstate,
       (array_agg(q.last_error ORDER BY q.attempts DESC))[1] AS message
  FROM {SCHEMA}.sync_queue AS q WHERE q.last_error IS NOT NULL AND q.parked_at IS NULL
 GROUP BY 1, 2 ORDER BY 1, 2 LIMIT {MAX_LISTED}"""

_REMOVALS = f"""
SELECT r.entity_type, r.entity_id, r.openwebui_id, r.reason, {utc('r.parked_at')} AS parked_at
  FROM {SCHEMA}.pending_removals() AS r ORDER BY 1, 2 LIMIT {MAX_LISTED}"""

# A sequence, so that the count survives the transaction that was counted. It shows 1 before its first call, too.
TRIGGER_FAULTS = f"SELECT CASE WHEN is_called THEN last_value ELSE 0 END AS n FROM {SCHEMA}.trigger_faults"

# Counted by the server: a source that was restored empty differs in everything.
_DIFFERENCES = f"""
WITH r AS MATERIALIZED (SELECT * FROM {SCHEMA}.reconcile(%(repair)s::boolean, %(types)s::text[]))
SELECT r.entity_type, r.entity_id, r.field, r.openwebui AS before, r.litellm AS after,
       (SELECT count(*) FROM r) AS total
  FROM r ORDER BY 1, 2, 3 LIMIT {MAX_LISTED}"""


@dataclass
class Drained:
    """What a row of drains did."""

    done: Counter[tuple[str, str]] = field(default_factory=Counter)
    # An entity that cannot be delivered comes back in later batches, and may get through after all.
    stays: dict[tuple[str, str], str] = field(default_factory=dict)
    warned: set[tuple[str, str]] = field(default_factory=set)

    def add(self, batch: Iterable[dict[str, Any]]) -> bool:
        """Count a batch; returns whether it moved anything, or tried anything that had not been tried before."""
        moved = False
        for row in batch:
            entity, result = (row["entity_type"], row["entity_id"]), row["result"]
            if result in _STAYS:
                moved = moved or entity not in self.stays
                self.stays[entity] = result
            elif entity in self.warned:
                continue  # A part of it was refused before, and is again: it comes back for as long as somebody drains.
            else:
                moved = True
                self.stays.pop(entity, None)
                self.done[row["entity_type"], result] += 1
                if result == "WARNING":
                    self.warned.add(entity)
        return moved

    @property
    def delivered(self) -> int:
        return sum(self.done.values())

    @property
    def tried(self) -> int:
        return self.delivered + len(self.stays)

    def summary(self) -> dict[str, Any]:
        counts = self.done + Counter((entity[0], result) for entity, result in self.stays.items())
        by_type: dict[str, dict[str, int]] = {}
        results: Counter[str] = Counter()
        for (kind, result), number in sorted(counts.items()):
            by_type.setdefault(kind, {})[result] = number
            results[result] += number
        return {"delivered": self.delivered, "results": dict(sorted(results.items())), "by_type": by_type}


@dataclass(frozen=True)
class Limits:
    entities: int | None = None
    seconds: int | None = None


def begin(session: Session) -> None:
    """Refuse before anything is changed what the bridge would not do anyway."""
    with session.transaction():
        if _pg.value(session.cur, f"SELECT paused FROM {SCHEMA}.settings"):
            raise BridgeError(
                f"the bridge in database {session.database} is paused, so nothing would be delivered: "
                "run the playbook llmops.user_bridge.resume_bridge first; nothing was changed"
            )


def is_read_only(session: Session) -> bool:
    with session.transaction():
        return str(_pg.value(session.cur, "SELECT current_setting('default_transaction_read_only')")) == "on"


def drain(session: Session, limits: Limits, clock: Callable[[], float] = time.monotonic) -> Drained:
    """Deliver until nothing moves any more, with a COMMIT after each batch that frees the entities' locks."""
    drained = Drained()
    waiting = deliverable(session)
    stop = None if limits.seconds is None else clock() + limits.seconds
    while stop is None or clock() < stop:
        # First everything that waits, once, then only what is due: not again at once what has just failed.
        first = waiting - drained.tried
        size = min(BATCH, first if first > 0 else BATCH)
        if limits.entities is not None:
            size = min(size, limits.entities - drained.tried)
        if size < 1 or not drained.add(batch(session, size, due_only=first <= 0)):
            break
        if not drained.delivered and breaker_is_open(session):
            break  # Open WebUI's server is away: each further batch would only wait for its own timeout.
    return drained


def batch(session: Session, size: int, due_only: bool) -> list[dict[str, Any]]:
    with session.transaction(read_only=False):
        return _pg.rows(
            session.cur,
            f"SELECT * FROM {SCHEMA}.drain(%(size)s::integer, %(due_only)s::boolean)",
            {"size": size, "due_only": due_only},
        )


def breaker_is_open(session: Session) -> bool:
    with session.transaction():
        return bool(_pg.value(session.cur, f"SELECT {SCHEMA}.breaker_is_open()"))


def deliverable(session: Session) -> int:
    waiting = queue(session)
    return int(waiting["entities"] - waiting["parked"])


def queue(session: Session) -> dict[str, Any]:
    """What waits, by type: entities in all, those that have failed and those that wait for approval."""
    with session.transaction():
        found = _pg.rows(session.cur, _QUEUE)
    total = {name: sum(row[name] for row in found) for name in ("entities", "failing", "parked")}
    return {**total, "by_type": {row["type"]: row["entities"] for row in found}}


def failures(session: Session) -> list[dict[str, Any]]:
    """What could not be delivered so far, with what to do about it."""
    with session.transaction():
        found = _pg.rows(session.cur, _FAILURES)
    for row in found:
        row["cause"], row["remedy"] = cause(row.pop("sqlstate"), row["message"])
    return found


def removals(session: Session) -> list[dict[str, Any]]:
    with session.transaction():
        return _pg.rows(session.cur, _REMOVALS)


def settle_removals(session: Session, approve: bool) -> int:
    function = "approve_removals" if approve else "reject_removals"
    with session.transaction(read_only=False):
        return int(_pg.value(session.cur, f"SELECT {SCHEMA}.{function}()"))


def compare(session: Session, types: list[str] | None, repair: bool) -> tuple[list[dict[str, Any]], int]:
    """The first differences, and how many there are. With repair the entities are queued for the next drain."""
    with session.transaction(read_only=not repair):
        found = _pg.rows(session.cur, _DIFFERENCES, {"repair": repair, "types": types})
    total = found[0]["total"] if found else 0
    for row in found:
        del row["total"]
    return found, total


def trigger_faults(session: Session) -> int:
    with session.transaction():
        return int(_pg.value(session.cur, TRIGGER_FAULTS))


def difference_lines(differences: list[dict[str, Any]], side: str) -> str:
    """One line for each field that differs; a field that one side lacks has no line there."""
    return "".join(
        f"{row['entity_type']} {row['entity_id']} {row['field']}: {json.dumps(row[side], sort_keys=True)}\n"
        for row in differences
        if row[side] is not None
    )


def removal_lines(found: list[dict[str, Any]]) -> str:
    lines = (f"{row['entity_type']} {row['entity_id']} ({row['openwebui_id']}): {row['reason']}\n" for row in found)
    return "".join(lines)
