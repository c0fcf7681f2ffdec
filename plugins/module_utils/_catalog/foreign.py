# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Objects of others in the bridge's schema, where they would run with the rights of the role that calls them.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._catalog.live import Live, live_objects
from ansible_collections.llmops.user_bridge.plugins.module_utils._catalog.records import (
    BOOKKEEPING_NAME,
    Record,
    read_records,
)
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import SCHEMA, Roles

Key = tuple[str, str]

# Roles whose code is trusted: they have, or could take, the login's rights.
_ADMINISTRATORS = "SELECT rolname::text AS name FROM pg_roles WHERE rolsuper OR rolname = current_user"

_READS_BOOKKEEPING = f"SELECT has_table_privilege('{BOOKKEEPING_NAME}', 'SELECT')"

# Of kinds that the bridge never has, or that no fingerprint shows. Extensions have their own privileges.
_NEVER_OURS = f"""
WITH found AS (
  SELECT d.classid, d.objid FROM pg_depend AS d
   WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = to_regnamespace('{SCHEMA}')
     AND d.classid <> 'pg_extension'::regclass
     -- A publication of all tables in the schema belongs to a superuser and only reads. PostgreSQL 14 has none.
     AND d.classid::regclass::text <> 'pg_publication_namespace'
     AND NOT EXISTS (SELECT FROM pg_class AS c WHERE d.classid = 'pg_class'::regclass AND c.oid = d.objid
                        AND c.relkind IN ('r', 'p', 'S', 'v', 'm', 'i', 'I'))
     AND NOT EXISTS (SELECT FROM pg_proc AS p WHERE d.classid = 'pg_proc'::regclass AND p.oid = d.objid
                        AND p.prokind IN ('f', 'p'))
   UNION ALL
  SELECT 'pg_rewrite'::regclass, r.oid FROM pg_rewrite AS r JOIN pg_class AS c ON c.oid = r.ev_class
   WHERE c.relnamespace = to_regnamespace('{SCHEMA}') AND NOT (r.rulename = '_RETURN' AND c.relkind IN ('v', 'm'))
   UNION ALL
  SELECT 'pg_trigger'::regclass, t.oid FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
   WHERE c.relnamespace = to_regnamespace('{SCHEMA}') AND NOT t.tgisinternal
     AND NOT starts_with(t.tgname, '{SCHEMA}_')
   UNION ALL
  SELECT 'pg_policy'::regclass, p.oid FROM pg_policy AS p JOIN pg_class AS c ON c.oid = p.polrelid
   WHERE c.relnamespace = to_regnamespace('{SCHEMA}')
)
SELECT pg_describe_object(f.classid, f.objid, 0) AS name FROM found AS f
 WHERE NOT EXISTS (SELECT FROM pg_depend AS e
                    WHERE e.classid = f.classid AND e.objid = f.objid AND e.deptype = 'e')
 ORDER BY 1"""


def foreign_kinds(cur: Any) -> list[str]:
    """What is in the schema, and cannot be the bridge's, whatever is installed."""
    return [row["name"] for row in _pg.rows(cur, _NEVER_OURS)]


def trusted_owners(cur: Any, roles: Roles) -> frozenset[str]:
    """Whose objects in the schema may be the bridge's: its own roles, the login and superusers."""
    return frozenset({roles.owner, roles.program, *(row["name"] for row in _pg.rows(cur, _ADMINISTRATORS))})


def bookkeeping_is_ours(live: dict[Key, Live], trusted: Container[str]) -> bool:
    """Whether what is recorded can be believed."""
    found = [live.get(("schema", SCHEMA)), live.get(("table", BOOKKEEPING_NAME))]
    return all(each is not None and each.owner in trusted for each in found)


def foreign_to_an_installation(cur: Any, roles: Roles) -> list[str]:
    """What is in the schema and cannot be the bridge's, where it is not known what is wanted."""
    found = foreign_kinds(cur)
    live, trusted = live_objects(cur, roles), trusted_owners(cur, roles)
    readable = not found and bookkeeping_is_ours(live, trusted) and _pg.value(cur, _READS_BOOKKEEPING)
    return found + foreign_objects(live, read_records(cur, live) if readable else {}, None, roles, trusted)


def foreign_objects(
    live: dict[Key, Live],
    recorded: dict[Key, Record],
    wanted: Container[Key] | None,
    roles: Roles,
    trusted: Container[str],
) -> list[str]:
    """What is neither recorded nor the bridge's by its owner, and, where it is known what is wanted, is not wanted."""
    found = []
    for key, each in sorted(live.items()):
        kind, name = key
        is_own = each.subject.schema == SCHEMA or kind == "schema"
        # An index is its table's owner's, as a trigger is, and an unknown one is none of the bridge's.
        unexpected = wanted is not None and key not in wanted and each.owner in (roles.owner, roles.program)
        if is_own and key not in recorded and kind != "index" and (each.owner not in trusted or unexpected):
            found.append(f"{kind} {name} of {each.owner}")
    return found
