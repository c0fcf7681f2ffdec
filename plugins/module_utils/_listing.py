# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filtered, ordered, paged rows of one of the bridge's tables.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._moments import instant
from ansible_collections.llmops.user_bridge.plugins.module_utils._session import Session

SPEC: dict[str, Any] = {
    "since": {"type": "str"},
    "until": {"type": "str"},
    "text": {"type": "str"},
    "order": {"type": "str", "choices": ["newest", "oldest"], "default": "newest"},
    "limit": {"type": "int", "default": 100},
    "after_id": {"type": "int"},
}
MAX_LIMIT = 10000
_BEFORE_AND_AFTER = {"newest": ("<", "DESC"), "oldest": (">", "ASC")}


@dataclass(frozen=True)
class Listing:
    """A table, what is shown of it, and what an option that is given asks of a row. All of it is fixed SQL text."""

    table: str
    columns: str
    conditions: dict[str, str]


def utc(column: str) -> str:
    """SQL for a time as ISO 8601 in UTC."""
    return f"to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"


def moment(option: str) -> str:
    """SQL for the time that an option names; see C(moments)."""
    return f"coalesce(%({option}_at)s::timestamptz, clock_timestamp() - %({option}_age)s::interval)"


def contains(*expressions: str) -> str:
    """SQL for: the text occurs in one of these, in upper or lower case."""
    return " OR ".join(f"strpos(lower({expression}), lower(%(text)s::text)) > 0" for expression in expressions)


def parameters(params: dict[str, Any]) -> dict[str, Any]:
    """The options as parameters of the query."""
    found = dict(params)
    for option in ("since", "until"):
        found[f"{option}_at"], found[f"{option}_age"] = instant(option, params[option])
    return found


def check(params: dict[str, Any]) -> None:
    """Refuse pages that would be too large for a result."""
    if not 1 <= params["limit"] <= MAX_LIMIT:
        raise BridgeError(f"limit must be between 1 and {MAX_LIMIT}: ask for the next page with after_id")


def where(listing: Listing, params: dict[str, Any]) -> str:
    """The conditions of the options that are given; an empty list asks for nothing, so it finds nothing."""
    wanted = [sql for option, sql in listing.conditions.items() if params[option] is not None]
    return " AND ".join(f"({sql})" for sql in wanted) or "true"


def fetch(listing: Listing, params: dict[str, Any]) -> dict[str, Any]:
    """One page of rows, how many there are in all, and where the next page begins."""
    check(params)
    given = parameters(params)
    session = Session(params)
    condition = where(listing, params)
    compare, direction = _BEFORE_AND_AFTER[params["order"]]
    page = condition if params["after_id"] is None else f"{condition} AND r.id {compare} %(after_id)s::bigint"
    with session.transaction():
        total = _pg.value(session.cur, f"SELECT count(*) FROM {listing.table} AS r WHERE {condition}", given)
        # One row more than the limit tells whether there is a next page.
        found = _pg.rows(
            session.cur,
            f"SELECT {listing.columns} FROM {listing.table} AS r WHERE {page}"
            f" ORDER BY r.id {direction} LIMIT %(limit)s::integer + 1",
            given,
        )
    kept = found[: params["limit"]]
    return {"entries": kept, "total": total, "next_after_id": kept[-1]["id"] if len(found) > len(kept) else None}
