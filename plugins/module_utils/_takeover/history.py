# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Imports the mapping and the history of the upstream SQL scripts.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import SCHEMA
from ansible_collections.llmops.user_bridge.plugins.module_utils._takeover.find import Found
from ansible_collections.llmops.user_bridge.plugins.module_utils._takeover.upstream import (
    AUDIT_FIELDS,
    KNOWN_MAPPINGS,
    MAPPING_FIELDS,
    SECRETIVE,
    USER_ID_PREFIX,
)

_COUNT_MAPPINGS = f"""
SELECT count(*) AS n FROM public.sync_mapping AS m
 WHERE m.id > %(done)s AND (m.litellm_type, m.openwebui_type) IN ({KNOWN_MAPPINGS})"""

# Keys are named by LiteLLM's token, which is not imported; of the data only the fields that are known to be harmless.
_IMPORT_MAPPINGS = f"""
INSERT INTO {SCHEMA}.sync_mapping
       (litellm_type, litellm_id, openwebui_type, openwebui_id, sync_data, created_at, updated_at)
SELECT m.litellm_type,
       CASE m.litellm_type
           WHEN 'api_key' THEN {SCHEMA}.key_id(substr(m.openwebui_id, {len(USER_ID_PREFIX) + 1}), m.litellm_id)
           ELSE m.litellm_id END,
       m.openwebui_type, m.openwebui_id,
       coalesce((SELECT jsonb_object_agg(e.key, e.value)
                   FROM jsonb_each(CASE jsonb_typeof(m.sync_data) WHEN 'object' THEN m.sync_data ELSE '{{}}' END) AS e
                  WHERE e.key = ANY (%(fields)s::text[]) AND jsonb_typeof(e.value) <> 'object'), '{{}}'),
       coalesce(m.created_at AT TIME ZONE z.name, now()), coalesce(m.updated_at AT TIME ZONE z.name, now())
  FROM public.sync_mapping AS m
 CROSS JOIN (SELECT reset_val AS name FROM pg_settings WHERE name = 'TimeZone') AS z
 WHERE m.id > %(done)s AND (m.litellm_type, m.openwebui_type) IN ({KNOWN_MAPPINGS})
ON CONFLICT (litellm_type, litellm_id) DO NOTHING"""

# Rows beyond the retention would be deleted by the next maintain().
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


# Ids below all existing ones, because the newest rows are found by their id. Keys get the bridge's own ids.
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


def count(cur: Any, found: Found, is_installed: bool) -> tuple[int, int]:
    """How many mappings and how much history there is to import."""
    mapping, audit = found.table("sync_mapping"), found.table("sync_audit")
    mappings = _pg.value(cur, _COUNT_MAPPINGS, {"done": mapping.done}) if mapping else 0
    days = _retention(cur, is_installed)
    history = _pg.value(cur, _COUNT_AUDIT, {"done": audit.done, "days": days}) if audit else 0
    return int(mappings), int(history)


def _retention(cur: Any, is_installed: bool) -> int:
    days = _pg.value(cur, _RETENTION) if is_installed else None
    return int(days or _DEFAULT_RETENTION_DAYS)


def import_history(cur: Any, found: Found) -> Found:
    """Copy what is new into the bridge's own tables; returns what was found with the numbers of rows."""
    mapping, audit = found.table("sync_mapping"), found.table("sync_audit")
    mappings = history = 0
    if mapping and mapping.is_new:
        cur.execute(_IMPORT_MAPPINGS, {"done": mapping.done, "fields": list(MAPPING_FIELDS)})
        mappings = cur.rowcount
    if audit and audit.is_new:
        cur.execute(
            _IMPORT_AUDIT,
            {
                "done": audit.done,
                "days": _retention(cur, True),
                "fields": list(AUDIT_FIELDS),
                "secretive": SECRETIVE,
            },
        )
        history = cur.rowcount
    return replace(found, mappings=mappings, audit=history)
