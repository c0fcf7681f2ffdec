# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Gives a bridge that was restored without its owners back to the owner role.

Whoever restored it could have changed anything in it. So of what is there only the rows stay, in tables of which the
catalog says that nothing of anybody's runs in whoever writes to them; everything else is installed anew.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._catalog.live import Live, live_objects
from ansible_collections.llmops.user_bridge.plugins.module_utils._catalog.records import BOOKKEEPING_NAME
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._lock import explained
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import ROUTINES, SCHEMA, Roles, Subject, quote
from ansible_collections.llmops.user_bridge.plugins.module_utils._plain.query import NOT_PLAIN


def give_back(cur: Any, roles: Roles) -> None:
    """Inside the transaction that installs the bridge anew, and before anything is planned or written."""
    found = [each for each in live_objects(cur, roles).values() if each.subject.schema == SCHEMA]
    _pg.set_role(cur, None)
    _alter(cur, Subject("schema", "", SCHEMA), f"SCHEMA {SCHEMA} OWNER TO {quote(roles.owner)}")
    for each in _of(found, "table", "sequence", *ROUTINES):
        subject = each.subject
        _alter(cur, subject, f"{subject.kind} {subject.identity} OWNER TO {quote(roles.owner)}")
    # An index may call a function, which the restoring role may have changed.
    for each in _of(found, "trigger", "index"):
        _drop(cur, [each])
    for kind in ("view", "materialized view"):
        # At once, for one may read another.
        _drop(cur, _of(found, kind))
    _refuse([each.subject.identity for each in _of(found, "table")], cur)
    # What was recorded may be made up to hide a difference. As if it were of another version of the server, all is
    # applied again.
    _pg.set_role(cur, roles.owner)
    cur.execute(f"UPDATE {BOOKKEEPING_NAME} SET server_major = ''")
    _pg.set_role(cur, None)


def _of(found: list[Live], *kinds: str) -> list[Live]:
    return sorted((each for each in found if each.subject.kind in kinds), key=lambda each: each.subject.label)


def _alter(cur: Any, subject: Subject, what: str) -> None:
    with explained(subject, f"{subject.kind} {subject.label} could not be given back to its owner"):
        cur.execute(f"ALTER {what}")


def _drop(cur: Any, found: list[Live]) -> None:
    """Objects of one kind."""
    if not found:
        return
    subject = found[0].subject
    with explained(subject, f"{', '.join(each.subject.label for each in found)} could not be dropped"):
        cur.execute(f"DROP {subject.kind} {', '.join(each.subject.identity for each in found)}")


def _refuse(tables: list[str], cur: Any) -> None:
    """The tables are locked since their owner was changed."""
    found = [next(iter(row.values())) for row in _pg.rows(cur, NOT_PLAIN, {"tables": tables, "writes": True})]
    if found:
        raise BridgeError(
            f"the tables in schema {SCHEMA}, which were restored without their owner, hold code of somebody else's: "
            f"{'; '.join(found)}; drop it and run again; nothing was changed"
        )
