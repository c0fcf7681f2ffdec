# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What waits in the queue.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._bridge import MAX_LISTED
from ansible_collections.llmops.user_bridge.plugins.module_utils._causes import cause
from ansible_collections.llmops.user_bridge.plugins.module_utils._listing import utc
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import SCHEMA
from ansible_collections.llmops.user_bridge.plugins.module_utils._session import Session

_QUEUE = f"""
SELECT q.entity_type AS type, count(DISTINCT q.entity_id) AS entities,
       count(DISTINCT q.entity_id) FILTER (WHERE q.parked_at IS NULL AND coalesce(q.last_error, o.error) > '')
           AS failing,
       count(DISTINCT q.entity_id) FILTER (WHERE q.parked_at IS NOT NULL) AS parked
  FROM {SCHEMA}.sync_queue AS q LEFT JOIN {SCHEMA}.outage() AS o ON true GROUP BY 1 ORDER BY 1"""

# While the target does not answer, its error is that of all that waits for it.
_FAILURES = f"""
SELECT q.entity_type, q.entity_id, max(greatest(q.attempts, o.attempts)) AS attempts,
       {utc("max(coalesce(q.next_attempt_at, o.next_try_at))")} AS next_attempt_at,
       coalesce((array_agg(q.last_sqlstate ORDER BY q.attempts DESC))[1], min(o.sqlstate)) AS sqlstate,
       coalesce((array_agg(q.last_error ORDER BY q.attempts DESC))[1], min(o.error)) AS message
  FROM {SCHEMA}.sync_queue AS q LEFT JOIN {SCHEMA}.outage() AS o ON true
 WHERE coalesce(q.last_error, o.error) <> '' AND q.parked_at IS NULL
 GROUP BY 1, 2 ORDER BY 1, 2 LIMIT {MAX_LISTED}"""


def deliverable(session: Session) -> int:
    """Entities that a drain would try: all but what waits for a decision."""
    waiting = queue(session)
    return int(waiting["entities"] - waiting["parked"])


def queue(session: Session) -> dict[str, Any]:
    """What waits, by type: entities in all, those that have failed and those that wait for a decision."""
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
