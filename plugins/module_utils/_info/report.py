# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What could be seen with the rights of a login, and what could not.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import quote
from ansible_collections.llmops.user_bridge.plugins.module_utils._session import LACKS_OBJECTS

INVISIBLE = (_pg.INSUFFICIENT_PRIVILEGE, *LACKS_OBJECTS)


@dataclass
class Report:
    """What could be seen of one side, and what could not."""

    found: dict[str, Any] = field(default_factory=dict)
    unseen: list[dict[str, str]] = field(default_factory=list)

    def look(
        self, cur: Any, what: str, query: str, params: dict[str, Any] | None = None
    ) -> list[dict[str, Any]] | None:
        """Rows, or None with a note where the login may not look."""
        try:
            with _pg.savepoint(cur):
                return _pg.rows(cur, query, params)
        except _pg.PgError as error:
            if _pg.sqlstate(error) not in INVISIBLE:
                raise
            self.unseen.append({"what": what, "reason": _pg.describe(error)})
            return None

    def look_at_tables(
        self,
        cur: Any,
        what: str,
        query: str,
        tables: tuple[frozenset[str], frozenset[str]],
        params: dict[str, Any] | None = None,
    ) -> list[dict[str, Any]] | None:
        """The same for a query that reads a program's tables: those that it needs, and those that are proved plain."""
        needed, proved = tables
        if needed <= proved:
            return self.look(cur, what, query, params)
        lacking = ", ".join(f"public.{quote(name)}" for name in sorted(needed - proved))
        self.unseen.append({"what": what, "reason": f"{lacking} is not there, or the login may not read it"})
        return None


def listed(rows: list[dict[str, Any]] | None, limit: int) -> dict[str, Any] | None:
    """How many there are in all, and the first of them."""
    if rows is None:
        return None
    total = rows[0]["total"] if rows else 0
    return {"total": total, "first": [{k: v for k, v in row.items() if k != "total"} for row in rows[:limit]]}
