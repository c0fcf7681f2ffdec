# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What it takes that LiteLLM itself refuses: a table that is new enough, and rights that nothing else needs.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import SCHEMA, quote

# An entry such as INSERT (column, ...) is one on columns.
_RIGHTS = """
SELECT t.name AS "table", t.privilege,
       EXISTS (SELECT FROM (SELECT * FROM aclexplode(c.relacl)
                             UNION ALL
                            SELECT a.* FROM pg_attribute AS n, aclexplode(n.attacl) AS a WHERE n.attrelid = c.oid) AS x
                WHERE pg_get_userbyid(x.grantee) = %(role)s AND x.privilege_type = split_part(t.privilege, ' ', 1))
         AS granted
  FROM unnest(%(tables)s::text[], %(privileges)s::text[]) AS t(name, privilege)
  JOIN pg_class AS c ON c.oid = to_regclass('public.' || quote_ident(t.name))"""

_IS_NEW = """
SELECT EXISTS (SELECT FROM pg_attribute AS a
                WHERE a.attrelid = to_regclass('public."LiteLLM_EndUserTable"') AND a.attname = 'models'
                  AND NOT a.attisdropped)"""

_HAS_ROWS = f"SELECT EXISTS (SELECT FROM {SCHEMA}.end_user) OR EXISTS (SELECT FROM {SCHEMA}.enforced)"


def is_wanted(settings: dict[str, Any] | None) -> bool | None:
    """What the settings say; None where they do not."""
    value = (settings or {}).get("enforce_models")
    return None if value is None else bool(boolean(value, strict=False))


def read_enforcement(cur: Any, role: str, enforced: dict[str, list[str]]) -> dict[str, Any] | None:
    """None of a side where there is nothing to enforce."""
    if not enforced:
        return None
    pairs = [(table, privilege) for table, privileges in enforced.items() for privilege in privileges]
    tables, privileges = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    return {
        "is_supported": bool(_pg.value(cur, _IS_NEW)),
        "rights": _pg.rows(cur, _RIGHTS, {"role": role, "tables": tables, "privileges": privileges}),
        "has_rows": _has_rows(cur),
    }


def _has_rows(cur: Any) -> bool:
    """Whether rows are still to be given back; yes where that cannot be seen."""
    try:
        with _pg.savepoint(cur):
            return bool(_pg.value(cur, _HAS_ROWS))
    except _pg.PgError:
        return True


def granting(wanted: bool | None, role: str, found: dict[str, Any] | None) -> list[str]:
    """The statements that give the reader what it lacks."""
    if not wanted or not found or not found["is_supported"]:
        return []
    return [
        f"GRANT {', '.join(privileges)} ON TABLE public.{quote(table)} TO {quote(role)}"
        for table, privileges in _by_table(found, granted=False).items()
    ]


def revoking(wanted: bool | None, role: str, found: dict[str, Any] | None) -> list[str]:
    """The statements that take it back, when the drainer has given all rows back."""
    if wanted is not False or not found or found["has_rows"]:
        return []
    return [
        f"REVOKE {', '.join(privileges)} ON TABLE public.{quote(table)} FROM {quote(role)}"
        for table, privileges in _by_table(found, granted=True).items()
    ]


def _by_table(found: dict[str, Any], *, granted: bool) -> dict[str, list[str]]:
    tables: dict[str, list[str]] = {}
    for row in found["rights"]:
        if row["granted"] is granted:
            tables.setdefault(row["table"], []).append(row["privilege"])
    return tables


def refusal(wanted: bool | None, where: str, found: dict[str, Any] | None) -> list[str]:
    """Why it cannot be enforced."""
    if not wanted or not found or found["is_supported"]:
        return []
    return [
        f"bridge_enforce_models is true, but {where} is of a LiteLLM older than 1.106, which refuses nothing by an end "
        "user's models: its LiteLLM_EndUserTable has no column models. Upgrade LiteLLM to 1.106 or newer and start it "
        "once, or set bridge_enforce_models to false."
    ]
