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
from ansible_collections.llmops.user_bridge.plugins.module_utils._session import Session

# Counted by the server, because the list is cut: a source that was restored empty differs in everything.
_DIFFERENCES = f"""
WITH r AS MATERIALIZED (SELECT * FROM {SCHEMA}.reconcile(%(repair)s::boolean, %(types)s::text[]))
SELECT r.entity_type, r.entity_id, r.field, r.openwebui AS before, r.litellm AS after,
       (SELECT count(*) FROM r) AS total
  FROM r ORDER BY 1, 2, 3 LIMIT {MAX_LISTED}"""


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
