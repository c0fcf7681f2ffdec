# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Questions to the installed bridge that more than one module asks.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import SCHEMA
from ansible_collections.llmops.user_bridge.plugins.module_utils._session import Session

# Most entries of a list in a result; counts are always complete.
MAX_LISTED = 1000

# A sequence keeps its count when the transaction rolls back. Before the first call its last_value is 1, too.
TRIGGER_FAULTS = f"SELECT CASE WHEN is_called THEN last_value ELSE 0 END AS n FROM {SCHEMA}.trigger_faults"


def utc_seconds(expression: str) -> str:
    """SQL for a time as ISO 8601 in UTC, in whole seconds, as a person reads it."""
    return f"to_char({expression} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"


# As is_paused() says, which an older bridge lacks, and the columns, too.
PAUSED = f"""
SELECT {utc_seconds("(to_jsonb(s) ->> 'paused_at')::timestamptz")} AS since,
       {utc_seconds("(to_jsonb(s) ->> 'paused_until')::timestamptz")} AS until
  FROM {SCHEMA}.settings AS s
 WHERE s.paused AND ((to_jsonb(s) ->> 'paused_until')::timestamptz > clock_timestamp()) IS NOT FALSE"""


def program_roles_spec() -> dict[str, Any]:
    """The options of the doc fragment _program_roles."""
    return {name: {"type": "str", "default": f"user_bridge_{name}"} for name in ("reader", "writer")}


def is_paused(session: Session) -> bool:
    """Whether nothing is delivered, because somebody has paused it."""
    with session.transaction():
        return bool(_pg.rows(session.cur, PAUSED))


def breaker_is_open(session: Session) -> bool:
    """Whether a failed delivery keeps the next ones from being tried."""
    with session.transaction():
        return bool(_pg.value(session.cur, f"SELECT {SCHEMA}.breaker_is_open()"))


def entity_types(cur: Any) -> list[dict[str, Any]]:
    """The types of entities that the installed bridge knows: entity_type, compared and stands_alone of each."""
    return _pg.rows(cur, f"SELECT entity_type, compared, stands_alone FROM {SCHEMA}.entity_types()")
