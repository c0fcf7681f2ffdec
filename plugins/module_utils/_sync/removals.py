# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Removals that are held back because they are too many at once.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._bridge import MAX_LISTED
from ansible_collections.llmops.user_bridge.plugins.module_utils._listing import utc
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import SCHEMA
from ansible_collections.llmops.user_bridge.plugins.module_utils._session import Session

_REMOVALS = f"""
SELECT r.entity_type, r.entity_id, r.openwebui_id, r.reason, {utc("r.parked_at")} AS parked_at
  FROM {SCHEMA}.pending_removals() AS r ORDER BY 1, 2 LIMIT {MAX_LISTED}"""


def removals(session: Session) -> list[dict[str, Any]]:
    """The first removals that wait for approval."""
    with session.transaction():
        return _pg.rows(session.cur, _REMOVALS)


def settle_removals(session: Session, approve: bool) -> int:
    """Approve or reject all that wait; returns how many."""
    function = "approve_removals" if approve else "reject_removals"
    with session.transaction(read_only=False):
        return int(_pg.value(session.cur, f"SELECT {SCHEMA}.{function}()"))


def removal_lines(found: Iterable[dict[str, Any]]) -> str:
    """One line for each removal."""
    lines = (f"{row['entity_type']} {row['entity_id']} ({row['openwebui_id']}): {row['reason']}\n" for row in found)
    return "".join(lines)
