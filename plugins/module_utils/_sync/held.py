# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Changes that are held until a person decides.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._listing import utc
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import SCHEMA
from ansible_collections.llmops.user_bridge.plugins.module_utils._session import Session

_HELD = f"""
SELECT h.id, h.incident, h.kind, h.entity_type, h.entity_id, h.openwebui_id, h.accounts, h.reason,
       {utc("h.held_at")} AS parked_at
  FROM {SCHEMA}.held_changes() AS h ORDER BY h.id"""

_DECIDED = f"""
SELECT DISTINCT i.id::bigint AS id
  FROM {SCHEMA}.sync_audit AS a CROSS JOIN LATERAL jsonb_array_elements_text(a.new_data -> 'ids') AS i(id)
 WHERE a.operation = %(operation)s AND i.id::bigint = ANY (%(ids)s::bigint[])"""

# By action: the function that does it, and how it is audited.
_DECISIONS = {"approve_removals": ("approve", "APPROVE_CHANGES"), "reject_removals": ("reject", "REJECT_CHANGES")}
DECIDING = tuple(_DECISIONS)


def held_changes(session: Session) -> list[dict[str, Any]]:
    """All that is held. It is not cut: who decides about everything decides about what was listed, no more."""
    with session.transaction():
        return _pg.rows(session.cur, _HELD)


def to_decide(session: Session, action: str, held: Iterable[dict[str, Any]], ids: list[int] | None) -> list[int]:
    """Which held changes an action is about: these, or all; without those that were decided so before."""
    there = {row["id"] for row in held}
    if ids is None:
        return sorted(there)
    unknown = sorted(set(ids) - there)
    if unknown:
        with session.transaction():
            decided = _pg.rows(session.cur, _DECIDED, {"operation": _DECISIONS[action][1], "ids": unknown})
        unknown = sorted(set(unknown) - {row["id"] for row in decided})
    if unknown:
        raise BridgeError(
            f"no held change has the id {', '.join(map(str, unknown))}: "
            "the playbook llmops.user_bridge.review_changes without ids lists what is held; nothing was changed"
        )
    return sorted(set(ids) & there)


def decide(session: Session, action: str, ids: list[int]) -> None:
    """Approve or reject these held changes."""
    with session.transaction(read_only=False):
        _pg.rows(session.cur, f"SELECT {SCHEMA}.{_DECISIONS[action][0]}(%(ids)s::bigint[])", {"ids": ids})


def held_lines(held: Iterable[dict[str, Any]]) -> str:
    """One line for each held change, with every account that it concerns."""
    return "".join(
        f"{row['id']} {row['kind']} {row['entity_type']} {row['entity_id']} ({row['openwebui_id']}): {row['reason']}: "
        f"{', '.join(account['email'] or account['id'] for account in row['accounts'])}\n"
        for row in held
    )
