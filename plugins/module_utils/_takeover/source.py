# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the upstream SQL scripts (github.com/pkusnail/open-webui-litellm-user-bridge) have put into LiteLLM's database.

Their function bodies hold a password: everything about a body is asked of the server, and no body leaves it.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._lock import (
    LOCK_ERRORS,
    begin_deploy,
    lock_tables,
    locked,
)
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import SCHEMA, Subject, quote

# Name, argument types, result type, and words of the body: people have functions of these names that are their own.
_FUNCTIONS = (
    ("sync_organization_to_group", "", "trigger", ("dblink_exec", "sync_mapping", 'into "group"')),
    ("sync_user_to_openwebui", "", "trigger", ("dblink_exec", "sync_mapping", 'into "user"')),
    ("handle_organization_deletion", "", "trigger", ("dblink_exec", "sync_mapping", 'from "group"')),
    ("handle_user_deletion", "", "trigger", ("dblink_exec", "sync_mapping", 'from "user"')),
    ("sync_api_key_to_webui", "", "trigger", ("dblink_exec", "sync_mapping", "api_key")),
    ("sync_api_key_delete_to_webui", "", "trigger", ("dblink_exec", "sync_mapping", "api_key")),
    ("check_sync_status", "", "record", ("sync_mapping", "sync_audit", "litellm organizations")),
    ("check_real_sync_status", "", "record", ("sync_mapping", "sync_audit")),
    ("get_recent_sync_activities", "integer", "record", ("sync_audit", "limit_count")),
    ("check_api_key_sync_status", "", "record", ("dblink", "sync_audit")),
    ("get_api_key_sync_audit_log", "integer", "record", ("sync_audit", "sync_api_key")),
    ("test_api_key_sync_installation", "", "text", ("trigger_sync_api_key_to_webui",)),
    ("migrate_existing_users_to_openwebui", "", "record", ("dblink_exec", "sync_mapping", "migrate_user")),
    ("check_migration_status", "", "record", ("dblink", "sync_mapping", "sync_audit")),
    ("get_migration_audit_log", "integer", "record", ("sync_audit", "migrate_")),
)
_TRIGGERS = (
    "organization_sync_trigger",
    "organization_delete_trigger",
    "user_sync_trigger",
    "user_delete_trigger",
    "trigger_sync_api_key_to_webui",
    "trigger_sync_api_key_delete_to_webui",
)
_TABLES = {
    "sync_audit": (
        "id",
        "operation",
        "record_id",
        "sync_result",
        "old_data",
        "new_data",
        "error_message",
        "created_at",
    ),
    "sync_mapping": (
        "id",
        "litellm_type",
        "litellm_id",
        "openwebui_type",
        "openwebui_id",
        "sync_data",
        "created_at",
        "updated_at",
    ),
}

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

# Whatever name a trigger has now: it is theirs if it calls a function of theirs.
_FIND_TRIGGERS = """
SELECT t.tgname::text AS name, n.nspname::text AS schema, c.relname::text AS table_name,
       pg_get_userbyid(c.relowner)::text AS owner, pg_has_role(c.relowner, 'USAGE') AS mine,
       t.tgfoid::bigint = ANY (%(oids)s::bigint[]) AS theirs
  FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE NOT t.tgisinternal AND (t.tgfoid::bigint = ANY (%(oids)s::bigint[]) OR t.tgname = ANY (%(names)s::text[]))
 ORDER BY 3, 1"""

# The comment on a table says up to which row it has been taken over: rows that come later are imported later.
_MARK = "taken over by llmops.user_bridge up to id "
_FIND_TABLES = f"""
SELECT c.oid::bigint AS oid, c.relname::text AS name, pg_get_userbyid(c.relowner)::text AS owner,
       pg_has_role(c.relowner, 'USAGE') AS mine,
       ARRAY(SELECT a.attname::text FROM pg_attribute AS a
              WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns,
       coalesce(substring(obj_description(c.oid, 'pg_class') FROM '{_MARK}([0-9]+)')::bigint, 0) AS done
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

# Whoever could connect to LiteLLM's database could read the password behind it.
_LOGINS = r"""
SELECT DISTINCT m.found[1] AS name
  FROM pg_proc AS p,
       regexp_matches(p.prosrc, '(?:\muser\s*=\s*|postgres(?:ql)?://)([A-Za-z0-9_.$-]+)', 'g') AS m(found)
 WHERE p.oid::bigint = ANY (%(oids)s::bigint[])
 ORDER BY 1"""

_NO_MAPPING = """
SELECT ''::text AS litellm_type, ''::text AS litellm_id, ''::text AS openwebui_id, NULL::timestamp AS created_at
 WHERE false"""

# What may be theirs in Open WebUI: what they have mapped, and what they would have called it. Their times are those
# of the sessions that wrote them, without a zone.
_ENTITIES = """
WITH mapped AS ({mapping})
SELECT 'user' AS type, coalesce(m.litellm_id, u.user_id) AS id,
       coalesce(m.openwebui_id, 'usr_' || u.user_id) AS account, m.litellm_id IS NOT NULL AS mapped,
       u.sso_user_id AS subject, extract(epoch FROM m.created_at AT TIME ZONE z.name)::bigint AS made_at
  FROM (SELECT * FROM mapped WHERE litellm_type = 'user') AS m
  FULL JOIN public."LiteLLM_UserTable" AS u ON u.user_id = m.litellm_id
 CROSS JOIN (SELECT reset_val AS name FROM pg_settings WHERE name = 'TimeZone') AS z
 UNION ALL
SELECT 'organization', coalesce(m.litellm_id, o.organization_id),
       coalesce(m.openwebui_id, 'grp_' || o.organization_id), m.litellm_id IS NOT NULL, NULL, NULL
  FROM (SELECT * FROM mapped WHERE litellm_type = 'organization') AS m
  FULL JOIN public."LiteLLM_OrganizationTable" AS o ON o.organization_id = m.litellm_id
 ORDER BY 1, 2"""

_KNOWN_MAPPINGS = "('user', 'user'), ('organization', 'group'), ('api_key', 'user_api_key')"
_COUNT_MAPPINGS = f"""
SELECT count(*) AS n FROM public.sync_mapping AS m
 WHERE m.id > %(done)s AND (m.litellm_type, m.openwebui_type) IN ({_KNOWN_MAPPINGS})"""

# They name a key by LiteLLM's token, which stays behind; of the data only what is known to be harmless is taken.
_IMPORT_MAPPINGS = f"""
INSERT INTO {SCHEMA}.sync_mapping
       (litellm_type, litellm_id, openwebui_type, openwebui_id, sync_data, created_at, updated_at)
SELECT m.litellm_type,
       CASE m.litellm_type WHEN 'api_key' THEN {SCHEMA}.key_id(substr(m.openwebui_id, 5), m.litellm_id)
                           ELSE m.litellm_id END,
       m.openwebui_type, m.openwebui_id,
       coalesce((SELECT jsonb_object_agg(e.key, e.value)
                   FROM jsonb_each(CASE jsonb_typeof(m.sync_data) WHEN 'object' THEN m.sync_data ELSE '{{}}' END) AS e
                  WHERE e.key = ANY (%(fields)s::text[]) AND jsonb_typeof(e.value) <> 'object'), '{{}}'),
       coalesce(m.created_at AT TIME ZONE z.name, now()), coalesce(m.updated_at AT TIME ZONE z.name, now())
  FROM public.sync_mapping AS m
 CROSS JOIN (SELECT reset_val AS name FROM pg_settings WHERE name = 'TimeZone') AS z
 WHERE m.id > %(done)s AND (m.litellm_type, m.openwebui_type) IN ({_KNOWN_MAPPINGS})
ON CONFLICT (litellm_type, litellm_id) DO NOTHING"""
_MAPPING_FIELDS = (
    "display_name",
    "key_alias",
    "migrated_at",
    "migration_type",
    "models",
    "organization_alias",
    "original_role",
)

# What is older than the retention would be deleted by the next maintain().
_NEW_AUDIT = """
  FROM public.sync_audit AS a
 CROSS JOIN (SELECT reset_val AS name FROM pg_settings WHERE name = 'TimeZone') AS z
 WHERE a.id > %(done)s AND a.created_at AT TIME ZONE z.name >= now() - make_interval(days => %(days)s)"""
_COUNT_AUDIT = "SELECT count(*) AS n" + _NEW_AUDIT
_RETENTION = f"SELECT audit_retention_days AS days FROM {SCHEMA}.settings"
_DEFAULT_RETENTION_DAYS = 90


def _data(column: str) -> str:
    return f"""
       (SELECT jsonb_object_agg(e.key, e.value)
          FROM jsonb_each(CASE jsonb_typeof(a.{column}) WHEN 'object' THEN a.{column} ELSE '{{}}' END) AS e
         WHERE e.key = ANY (%(fields)s::text[]) AND jsonb_typeof(e.value) <> 'object')"""


# Numbers below all there are, because the newest rows are found by their number. A key is named as the bridge does it.
_IMPORT_AUDIT = f"""
INSERT INTO {SCHEMA}.sync_audit
       (id, operation, record_id, sync_result, old_data, new_data, error_message, created_at)
OVERRIDING SYSTEM VALUE
SELECT (SELECT least(min(o.id), 1) FROM {SCHEMA}.sync_audit AS o) - row_number() OVER (ORDER BY a.id DESC),
       a.operation,
       CASE WHEN a.operation IN ('SYNC_API_KEY', 'DELETE_API_KEY')
            THEN {SCHEMA}.key_id(a.record_id, coalesce(a.new_data, a.old_data) ->> 'token') ELSE a.record_id END,
       CASE WHEN a.sync_result IN ('SUCCESS', 'FAILED', 'SKIPPED') THEN a.sync_result ELSE 'WARNING' END,
       {_data("old_data")}, {_data("new_data")},
       CASE WHEN a.error_message ~* %(secretive)s THEN 'not imported: it could name a secret' ELSE a.error_message END,
       a.created_at AT TIME ZONE z.name
{_NEW_AUDIT}"""
_AUDIT_FIELDS = (
    *_MAPPING_FIELDS,
    "completed_at",
    "created_at",
    "error_count",
    "installed_at",
    "mapped_id",
    "migrated_count",
    "organization_id",
    "skipped_count",
    "started_at",
    "team_id",
    "teams",
    "total_users",
    "type",
    "updated_at",
    "user_alias",
    "user_email",
    "user_id",
    "user_role",
    "version",
)
# A connection string that libpq could not parse is quoted in its message; a hash is at least 32 digits long.
_SECRETIVE = r"password|passwd|connection info|token|secret|sk-|[0-9a-f]{32}|\$2[aby]\$|://"


@dataclass(frozen=True)
class Table:
    """A table of theirs, up to which of its rows it has been taken over, and how many there are beyond."""

    name: str
    done: int
    last: int

    @property
    def is_new(self) -> bool:
        return self.last > self.done

    @property
    def identity(self) -> str:
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
        return next((table for table in self.tables if table.name == name), None)


def look(cur: Any, drop_tables: bool) -> Found:
    """Find what is theirs inside a transaction of C(_pg.transaction), and what would stop its removal."""
    database = str(_pg.value(cur, "SELECT current_database()::text"))
    known = [{"name": n, "arguments": a, "result": r, "words": w} for n, a, r, w in _FUNCTIONS]
    functions = _pg.rows(cur, _FIND_FUNCTIONS, {"functions": json.dumps(known)})
    oids = [row["oid"] for row in functions if row["theirs"]]
    triggers = _pg.rows(cur, _FIND_TRIGGERS, {"oids": oids, "names": list(_TRIGGERS)})
    tables = _pg.rows(cur, _FIND_TABLES, {"names": list(_TABLES)})
    for row in tables:
        row["theirs"] = set(_TABLES[row["name"]]) <= set(row["columns"])
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
        # Names that nobody has to think about as long as nothing of theirs is there.
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


def count(cur: Any, found: Found, is_installed: bool) -> tuple[int, int]:
    """How many mappings and how much history there is to import."""
    mapping, audit = found.table("sync_mapping"), found.table("sync_audit")
    mappings = _pg.value(cur, _COUNT_MAPPINGS, {"done": mapping.done}) if mapping else 0
    days = _retention(cur, is_installed)
    history = _pg.value(cur, _COUNT_AUDIT, {"done": audit.done, "days": days}) if audit else 0
    return int(mappings), int(history)


def is_installed(cur: Any) -> bool:
    """Whether the bridge's own tables are there."""
    return bool(_pg.value(cur, f"SELECT to_regclass('{SCHEMA}.sync_mapping') IS NOT NULL AS found"))


def _retention(cur: Any, is_installed: bool) -> int:
    days = _pg.value(cur, _RETENTION) if is_installed else None
    return int(days or _DEFAULT_RETENTION_DAYS)


def entities(cur: Any, found: Found) -> list[dict[str, Any]]:
    """The users and organizations whose counterparts in Open WebUI may be theirs."""
    mapping = found.table("sync_mapping")
    return _pg.rows(
        cur,
        _ENTITIES.format(
            mapping="SELECT litellm_type, litellm_id, openwebui_id, created_at FROM public.sync_mapping"
            if mapping
            else _NO_MAPPING
        ),
    )


def drop_triggers(cur: Any, lock_timeout_ms: int, drop_tables: bool) -> None:
    """In a transaction as short as can be: LiteLLM waits for it. What they do is done by the bridge's own by then."""
    with _pg.transaction(cur, read_only=False):
        begin_deploy(cur)
        cur.execute(f"SET LOCAL lock_timeout = {lock_timeout_ms}")
        triggers = look(cur, drop_tables).triggers
        lock_tables(cur, list(triggers), "ACCESS EXCLUSIVE", lock_timeout_ms)
        for trigger in triggers:
            _execute(cur, f"DROP TRIGGER {trigger.identity}", trigger)


def finish(cur: Any, owner: str, lock_timeout_ms: int, drop_tables: bool) -> tuple[Found, int]:
    """Import, remove the rest, and queue everything, in one transaction; returns what was found and how much queued."""
    with _pg.transaction(cur, read_only=False):
        begin_deploy(cur)
        cur.execute(f"SET LOCAL lock_timeout = {lock_timeout_ms}")
        found = look(cur, drop_tables)
        is_live = found.is_live
        for table in found.tables:
            subject = Subject("table", "public", table.name)
            _execute(cur, f"LOCK TABLE ONLY {table.identity} IN SHARE ROW EXCLUSIVE MODE", subject)
        if is_live:
            found = _import(cur, found)
        for function in found.functions:
            _execute(cur, f"DROP FUNCTION {function}", Subject("function", "public", function))
        for table in found.tables:
            if drop_tables:
                _execute(cur, f"DROP TABLE {table.identity}", Subject("table", "public", table.name))
            elif table.is_new:
                cur.execute(
                    f"COMMENT ON TABLE {table.identity} IS 'Written by the upstream SQL scripts, {_MARK}{table.last}: "
                    f"the rows are in {SCHEMA}.{table.name}. Nobody reads them here any more.'"
                )
        if not is_live:
            return found, 0
        _pg.set_role(cur, owner)
        cur.execute(
            f"INSERT INTO {SCHEMA}.sync_audit (operation, record_id, sync_result, new_data)"
            " VALUES ('TAKEOVER', 'upstream', 'SUCCESS', %(data)s::jsonb)",
            {"data": json.dumps({"mappings": found.mappings, "audit": found.audit})},
        )
        queued = int(_pg.value(cur, f"SELECT {SCHEMA}.enqueue_everything() AS n"))
    return found, queued


def _import(cur: Any, found: Found) -> Found:
    mapping, audit = found.table("sync_mapping"), found.table("sync_audit")
    mappings = history = 0
    if mapping and mapping.is_new:
        cur.execute(_IMPORT_MAPPINGS, {"done": mapping.done, "fields": list(_MAPPING_FIELDS)})
        mappings = cur.rowcount
    if audit and audit.is_new:
        cur.execute(
            _IMPORT_AUDIT,
            {
                "done": audit.done,
                "days": _retention(cur, True),
                "fields": list(_AUDIT_FIELDS),
                "secretive": _SECRETIVE,
            },
        )
        history = cur.rowcount
    return replace(found, mappings=mappings, audit=history)


def _execute(cur: Any, statement: str, subject: Subject) -> None:
    try:
        cur.execute(statement)
    except _pg.PgError as error:
        if _pg.sqlstate(error) in LOCK_ERRORS:
            raise locked(subject) from None
        raise BridgeError(
            f"{subject.kind} {quote(subject.name)} of the upstream SQL scripts could not be removed: "
            f"{_pg.describe(error)}; run again after setting that right"
        ) from None
