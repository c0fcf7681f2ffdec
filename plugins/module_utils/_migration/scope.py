# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which entities a migration is about, and where in them it is.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import SCHEMA
from ansible_collections.llmops.user_bridge.plugins.module_utils._session import Session

_SCOPE = f"{SCHEMA}.migration_scope(%(organizations)s::text[], %(teams)s::text[], %(email_pattern)s::text)"
# The order of a migration: groups and accounts before what depends on them.
_PLACE = f'{SCHEMA}.entity_order({{type}}), {{id}} COLLATE "C"'


@dataclass
class Position:
    """Where a run is: everything up to this entity, in the order of the phases, has been dealt with."""

    entity_type: str | None = None
    entity_id: str = ""
    total: int = 0
    users_total: int = 0
    done: int = 0
    users_done: int = 0
    delivered: int = 0

    @classmethod
    def parse(cls, text: str | None) -> Position:
        """Read what an earlier chunk has returned; the beginning without one."""
        if text is None:
            return cls()
        try:
            return cls(**json.loads(text))
        except (TypeError, ValueError):
            raise BridgeError("resume_from is not what a run has returned as next; leave it out") from None

    def text(self) -> str:
        """What the next chunk gets as resume_from."""
        return json.dumps(asdict(self))


def like_pattern(glob: str | None) -> str | None:
    """A shell pattern (* and ?) as a pattern for LIKE on a lower-cased text."""
    if glob is None:
        return None
    translated = {"*": "%", "?": "_", "%": r"\%", "_": r"\_", "\\": r"\\"}
    return "".join(translated.get(character, character) for character in glob.lower())


def wanted_scope(params: dict[str, Any]) -> dict[str, Any]:
    """The parameters of the scope's queries; refuses limits that nothing could meet."""
    for option in ("organizations", "teams"):
        if params[option] == []:
            raise BridgeError(f"{option} is empty, so nothing would be migrated; leave it out for no such limit")
    if params["email_pattern"] == "":
        raise BridgeError("email_pattern is empty; leave it out for no such limit, or give one like *@example.com")
    return {
        "organizations": params["organizations"],
        "teams": params["teams"],
        "email_pattern": like_pattern(params["email_pattern"]),
    }


def refuse_unknown(session: Session, scope: dict[str, Any]) -> None:
    """Refuse organizations and teams that LiteLLM does not have."""
    with session.transaction():
        for option in ("organizations", "teams"):
            query = f"SELECT {SCHEMA}.unknown_{option}(%(names)s::text[]) AS name"
            unknown = _pg.rows(session.cur, query, {"names": scope[option] or []})
            if unknown:
                names = ", ".join(row["name"] for row in unknown)
                raise BridgeError(f"{option}: LiteLLM has none with this id or alias: {names}; nothing was changed")


def count(session: Session, scope: dict[str, Any]) -> tuple[int, int]:
    """How many entities there are, and how many of them are users."""
    with session.transaction():
        (row,) = _pg.rows(
            session.cur,
            f"SELECT count(*) AS total, count(*) FILTER (WHERE entity_type = 'user') AS users FROM {_SCOPE}",
            scope,
        )
    return row["total"], row["users"]


def batches(session: Session, scope: dict[str, Any], position: Position, size: int) -> Iterator[list[tuple[str, str]]]:
    """What comes after a position, in portions of one type; the server keeps the rest in a cursor."""
    after = ""
    if position.entity_type is not None:
        given = _PLACE.format(type="%(entity_type)s::text", id="%(entity_id)s::text")
        after = f" WHERE ({_PLACE.format(type='entity_type', id='entity_id')}) > ({given})"
    with session.transaction():
        session.cur.execute("SET LOCAL jit = off")
        session.cur.execute(
            f"DECLARE scope NO SCROLL CURSOR WITH HOLD FOR SELECT entity_type, entity_id FROM {_SCOPE}{after}"
            f" ORDER BY {_PLACE.format(type='entity_type', id='entity_id')}",
            {**scope, "entity_type": position.entity_type, "entity_id": position.entity_id},
        )
    while True:
        with session.transaction():
            rows = _pg.rows(session.cur, f"FETCH {size} FROM scope")
        if not rows:
            return
        # One type a batch: keys need the mappings of their users, which are delivered before.
        for kind, group in groupby(rows, key=lambda row: str(row["entity_type"])):
            yield [(kind, row["entity_id"]) for row in group]
