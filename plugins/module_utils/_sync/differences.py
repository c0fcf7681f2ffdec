# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What differs between LiteLLM and Open WebUI.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._bridge import MAX_LISTED, TRIGGER_FAULTS
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import SCHEMA
from ansible_collections.llmops.user_bridge.plugins.module_utils._session import TARGET_AWAY, Session

# Counted by the server, because the list is cut: a source that was restored empty differs in everything.
_DIFFERENCES = f"""
WITH r AS MATERIALIZED (SELECT * FROM {SCHEMA}.reconcile(%(repair)s::boolean, %(types)s::text[]))
SELECT r.entity_type, r.entity_id, r.field, r.openwebui AS before, r.litellm AS after,
       (SELECT count(*) FROM r) AS total
  FROM r ORDER BY 1, 2, 3 LIMIT {MAX_LISTED}"""

# What waits for a decision stays where it is.
_WAITING = f"""
SELECT p.entity_type, p.entity_id, p.field, p.openwebui AS before, p.litellm AS after
  FROM (SELECT array_agg(q.entity_type) AS types, array_agg(q.entity_id) AS ids
          FROM (SELECT DISTINCT w.entity_type, w.entity_id FROM {SCHEMA}.sync_queue AS w
                 WHERE w.parked_at IS NULL ORDER BY 1, 2 LIMIT {MAX_LISTED}) AS q) AS waiting
 CROSS JOIN LATERAL {SCHEMA}.preview(waiting.types, waiting.ids) AS p
 WHERE p.field IS NOT NULL ORDER BY 1, 2, 3 LIMIT {MAX_LISTED}"""


def preview_waiting(session: Session) -> list[dict[str, Any]]:
    """What delivering the queue would change now; nothing where Open WebUI's server does not answer."""
    with session.transaction():
        try:
            with _pg.savepoint(session.cur):
                return _pg.rows(session.cur, _WAITING)
        except _pg.PgError as error:
            if _pg.sqlstate(error) not in TARGET_AWAY:
                raise
            return []


def compare(session: Session, types: list[str] | None, repair: bool) -> tuple[list[dict[str, Any]], int]:
    """The first differences, and how many there are. With repair the entities are queued for the next drain."""
    with session.transaction(read_only=not repair):
        found = _pg.rows(session.cur, _DIFFERENCES, {"repair": repair, "types": types})
    total = found[0]["total"] if found else 0
    for row in found:
        del row["total"]
    return found, total


def trigger_faults(session: Session) -> int:
    """How often triggers could not compare their columns since the last repair of everything."""
    with session.transaction():
        return int(_pg.value(session.cur, TRIGGER_FAULTS))


def difference_lines(differences: Iterable[dict[str, Any]], side: str) -> str:
    """One line for each field that differs; a field that one side lacks has no line there."""
    return "".join(
        f"{row['entity_type']} {row['entity_id']} {row['field']}: {json.dumps(row[side], sort_keys=True)}\n"
        for row in differences
        if row[side] is not None
    )
