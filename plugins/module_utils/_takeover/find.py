# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the upstream SQL scripts have put into LiteLLM's database.

Their function bodies hold a password: everything about a body is asked of the server, and no body leaves it.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import Subject
from ansible_collections.llmops.user_bridge.plugins.module_utils._plain.prove import prove
from ansible_collections.llmops.user_bridge.plugins.module_utils._takeover.upstream import FUNCTIONS, TABLES, TRIGGERS

_FIND_FUNCTIONS = """
SELECT p.oid::bigint AS oid, p.oid::regprocedure::text AS identity, pg_get_userbyid(p.proowner)::text AS owner,
       pg_has_role(p.proowner, 'USAGE') AS mine,
       l.lanname IN ('plpgsql', 'sql') AND oidvectortypes(p.proargtypes) = k.arguments
           AND p.prorettype::regtype::text = k.result
           AND (SELECT bool_and(position(w.word IN lower(p.prosrc)) > 0)
                  FROM jsonb_array_elements_text(k.words) AS w(word)) AS theirs
  FROM jsonb_to_recordset(%(functions)s::jsonb) AS k(name text, arguments text, result text, words jsonb)
  JOIN pg_proc AS p ON p.proname = k.name AND p.pronamespace = 'public'::regnamespace AND p.prokind = 'f'
  JOIN pg_language AS l ON l.oid = p.prolang
 ORDER BY 2"""

# A trigger is theirs if it calls a function of theirs, whatever its name.
_FIND_TRIGGERS = """
SELECT t.tgname::text AS name, n.nspname::text AS schema, c.relname::text AS table_name,
       pg_get_userbyid(c.relowner)::text AS owner, pg_has_role(c.relowner, 'USAGE') AS mine,
       t.tgfoid::bigint = ANY (%(oids)s::bigint[]) AS theirs
  FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE NOT t.tgisinternal AND (t.tgfoid::bigint = ANY (%(oids)s::bigint[]) OR t.tgname = ANY (%(names)s::text[]))
 ORDER BY 3, 1"""

# The comment on a table says up to which id it was taken over; later rows are imported by a later run.
MARK = "taken over by llmops.user_bridge up to id "
_FIND_TABLES = f"""
SELECT c.oid::bigint AS oid, c.relname::text AS name, pg_get_userbyid(c.relowner)::text AS owner,
       pg_has_role(c.relowner, 'USAGE') AS mine,
       ARRAY(SELECT a.attname::text FROM pg_attribute AS a
              WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns,
       coalesce(substring(obj_description(c.oid, 'pg_class') FROM '{MARK}([0-9]+)')::bigint, 0) AS done
  FROM pg_class AS c
 WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.relname = ANY (%(names)s::text[])
 ORDER BY 2"""

_DEPENDENTS = """
SELECT DISTINCT pg_describe_object(d.classid, d.objid, d.objsubid) AS object
  FROM pg_depend AS d
 WHERE d.deptype = 'n' AND d.classid <> 'pg_trigger'::regclass
   AND (d.refclassid = 'pg_proc'::regclass AND d.refobjid::bigint = ANY (%(functions)s::bigint[])
        OR d.refclassid = 'pg_class'::regclass AND d.refobjid::bigint = ANY (%(tables)s::bigint[]))
   AND NOT (d.classid = 'pg_proc'::regclass AND d.objid::bigint = ANY (%(functions)s::bigint[]))
 ORDER BY 1"""

# Roles whose password stands in a function body, which everybody who connects to LiteLLM's database can read.
_LOGINS = r"""
SELECT DISTINCT m.found[1] AS name
  FROM pg_proc AS p,
       regexp_matches(p.prosrc, '(?:\muser\s*=\s*|postgres(?:ql)?://)([A-Za-z0-9_.$-]+)', 'g') AS m(found)
 WHERE p.oid::bigint = ANY (%(oids)s::bigint[])
 ORDER BY 1"""


@dataclass(frozen=True)
class Table:
    """A table of theirs, up to which of its rows it has been taken over, and how many there are beyond."""

    name: str
    done: int
    last: int

    @property
    def is_new(self) -> bool:
        """Whether the scripts have written since the last takeover."""
        return self.last > self.done

    @property
    def identity(self) -> str:
        """The name with its schema."""
        return f"public.{self.name}"


@dataclass(frozen=True)
class Found:
    """What there is of theirs."""

    database: str
    triggers: tuple[Subject, ...]
    functions: tuple[str, ...]
    tables: tuple[Table, ...]
    kept: tuple[str, ...]
    logins: tuple[str, ...]
    mappings: int = 0
    audit: int = 0

    @property
    def is_live(self) -> bool:
        """Whether there is more to do than to drop tables."""
        return bool(self.triggers or self.functions or any(table.is_new for table in self.tables))

    def table(self, name: str) -> Table | None:
        """A table by its name."""
        return next((table for table in self.tables if table.name == name), None)


def look(cur: Any, drop_tables: bool) -> Found:
    """Find what is theirs inside a transaction of C(looking) or one that writes, and what would stop its removal."""
    database = str(_pg.value(cur, "SELECT current_database()::text"))
    known = [{"name": n, "arguments": a, "result": r, "words": w} for n, a, r, w in FUNCTIONS]
    functions = _pg.rows(cur, _FIND_FUNCTIONS, {"functions": json.dumps(known)})
    oids = [row["oid"] for row in functions if row["theirs"]]
    triggers = _pg.rows(cur, _FIND_TRIGGERS, {"oids": oids, "names": list(TRIGGERS)})
    tables = _pg.rows(cur, _FIND_TABLES, {"names": list(TABLES)})
    for row in tables:
        row["theirs"] = set(TABLES[row["name"]]) <= set(row["columns"])
    prove(cur, [row["name"] for row in tables if row["theirs"] and row["mine"]])
    theirs = [row for row in (*functions, *triggers, *tables) if row["theirs"]]
    kept = [f"function {row['identity']}" for row in functions if not row["theirs"]]
    kept += [f"trigger {row['name']} on {row['table_name']}" for row in triggers if not row["theirs"]]
    kept += [f"table public.{row['name']}" for row in tables if not row["theirs"]]
    found = Found(
        database,
        tuple(
            Subject("trigger", row["schema"], row["name"], table=row["table_name"]) for row in triggers if row["theirs"]
        ),
        tuple(row["identity"] for row in functions if row["theirs"]),
        tuple(_table(cur, row) for row in tables if row["theirs"] and row["mine"]),
        # Of interest only where something of theirs is there.
        tuple(kept) if theirs else (),
        tuple(row["name"] for row in _pg.rows(cur, _LOGINS, {"oids": oids})),
    )
    if found.is_live or (drop_tables and found.tables):
        _refuse(cur, theirs, oids, [row["oid"] for row in tables if row["theirs"] and drop_tables], database)
    return found


def _table(cur: Any, row: dict[str, Any]) -> Table:
    last = _pg.value(cur, f"SELECT max(t.id) AS last FROM public.{row['name']} AS t")
    return Table(row["name"], int(row["done"]), int(last or 0))


def _refuse(cur: Any, theirs: list[dict[str, Any]], functions: list[int], tables: list[int], database: str) -> None:
    missing = sorted({str(row["owner"]) for row in theirs if not row["mine"]})
    if missing:
        login = _pg.value(cur, "SELECT current_user::text")
        raise BridgeError(
            f"login_user {login} needs in database {database}: membership in role {', '.join(missing)}, which owns "
            "objects of the upstream SQL scripts; or use a superuser, or set bridge_takeover to false to leave them; "
            "nothing was changed"
        )
    users = [row["object"] for row in _pg.rows(cur, _DEPENDENTS, {"functions": functions, "tables": tables})]
    if users:
        raise BridgeError(
            f"what the upstream SQL scripts have left in database {database} cannot be removed, because others use it: "
            f"{', '.join(users[:10])}; drop these first, or leave the tables with bridge_takeover_drop_tables set to "
            "false, or everything with bridge_takeover set to false; nothing was changed"
        )
