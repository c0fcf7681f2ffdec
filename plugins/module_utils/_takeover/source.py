# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Takes what the upstream SQL scripts have left out of LiteLLM's database.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._lock import deploying, explained, lock_tables
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import SCHEMA, Subject, quote
from ansible_collections.llmops.user_bridge.plugins.module_utils._takeover.find import MARK, Found, look
from ansible_collections.llmops.user_bridge.plugins.module_utils._takeover.history import import_history
from ansible_collections.llmops.user_bridge.plugins.module_utils._takeover.upstream import (
    GROUP_ID_PREFIX,
    USER_ID_PREFIX,
)

# Of LiteLLM's tables those that the query below reads.
SOURCES = ("LiteLLM_OrganizationTable", "LiteLLM_UserTable")

_NO_MAPPING = """
SELECT ''::text AS litellm_type, ''::text AS litellm_id, ''::text AS openwebui_id, NULL::timestamp AS created_at
 WHERE false"""

# Candidates in Open WebUI: what the scripts have mapped, and the ids that they give to what has no mapping. Their
# timestamps have no zone: they are in that of the sessions that wrote them.
_ENTITIES = f"""
WITH mapped AS ({{mapping}})
SELECT 'user' AS type, coalesce(m.litellm_id, u.user_id) AS id,
       coalesce(m.openwebui_id, '{USER_ID_PREFIX}' || u.user_id) AS account, m.litellm_id IS NOT NULL AS mapped,
       u.sso_user_id AS subject, extract(epoch FROM m.created_at AT TIME ZONE z.name)::bigint AS made_at
  FROM (SELECT * FROM mapped WHERE litellm_type = 'user') AS m
  FULL JOIN public."LiteLLM_UserTable" AS u ON u.user_id = m.litellm_id
 CROSS JOIN (SELECT reset_val AS name FROM pg_settings WHERE name = 'TimeZone') AS z
 UNION ALL
SELECT 'organization', coalesce(m.litellm_id, o.organization_id),
       coalesce(m.openwebui_id, '{GROUP_ID_PREFIX}' || o.organization_id), m.litellm_id IS NOT NULL, NULL, NULL
  FROM (SELECT * FROM mapped WHERE litellm_type = 'organization') AS m
  FULL JOIN public."LiteLLM_OrganizationTable" AS o ON o.organization_id = m.litellm_id
 ORDER BY 1, 2"""


def is_installed(cur: Any) -> bool:
    """Whether the bridge's own tables are there."""
    return bool(_pg.value(cur, f"SELECT to_regclass('{SCHEMA}.sync_mapping') IS NOT NULL AS found"))


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
    with deploying(cur, lock_timeout_ms):
        triggers = look(cur, drop_tables).triggers
        lock_tables(cur, list(triggers), "ACCESS EXCLUSIVE", lock_timeout_ms)
        for trigger in triggers:
            _execute(cur, f"DROP TRIGGER {trigger.identity}", trigger)


def finish(cur: Any, owner: str, lock_timeout_ms: int, drop_tables: bool) -> tuple[Found, int]:
    """Import, remove the rest, and queue everything, in one transaction; returns what was found and how much queued."""
    with deploying(cur, lock_timeout_ms):
        found = look(cur, drop_tables)
        is_live = found.is_live
        for table in found.tables:
            subject = Subject("table", "public", table.name)
            _execute(cur, f"LOCK TABLE ONLY {table.identity} IN SHARE ROW EXCLUSIVE MODE", subject)
        if is_live:
            found = import_history(cur, found)
        for function in found.functions:
            _execute(cur, f"DROP FUNCTION {function}", Subject("function", "public", function))
        for table in found.tables:
            if drop_tables:
                _execute(cur, f"DROP TABLE {table.identity}", Subject("table", "public", table.name))
            elif table.is_new:
                cur.execute(
                    f"COMMENT ON TABLE {table.identity} IS 'Written by the upstream SQL scripts, {MARK}{table.last}: "
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


def _execute(cur: Any, statement: str, subject: Subject) -> None:
    problem = f"{subject.kind} {quote(subject.name)} of the upstream SQL scripts could not be removed"
    with explained(subject, problem, "run again after setting that right"):
        cur.execute(statement)
