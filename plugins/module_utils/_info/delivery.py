# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Queue, errors, mapping, held changes and settings, all on LiteLLM's side.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._bridge import PAUSED, TRIGGER_FAULTS, utc_seconds
from ansible_collections.llmops.user_bridge.plugins.module_utils._catalog.live import Live
from ansible_collections.llmops.user_bridge.plugins.module_utils._causes import cause, grouped
from ansible_collections.llmops.user_bridge.plugins.module_utils._info.report import INVISIBLE, Report, listed
from ansible_collections.llmops.user_bridge.plugins.module_utils._info.sides import COUNTED
from ansible_collections.llmops.user_bridge.plugins.module_utils._listing import utc
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import SCHEMA
from ansible_collections.llmops.user_bridge.plugins.module_utils._settings.declared import SPEC
from ansible_collections.llmops.user_bridge.plugins.module_utils._settings.stored import read_settings

_QUEUE = f"""
SELECT count(*) AS depth, count(*) FILTER (WHERE attempts > 0 AND parked_at IS NULL) AS failed,
       extract(epoch FROM clock_timestamp() - min(enqueued_at) FILTER (WHERE parked_at IS NULL))::bigint
           AS oldest_seconds
  FROM {SCHEMA}.sync_queue"""

_ERRORS = f"""
SELECT last_sqlstate AS sqlstate, last_error AS message, count(DISTINCT (entity_type, entity_id)) AS entities,
       max(attempts) AS attempts, extract(epoch FROM clock_timestamp() - min(enqueued_at))::bigint AS oldest_seconds
  FROM {SCHEMA}.sync_queue WHERE last_error IS NOT NULL AND parked_at IS NULL
 GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2 LIMIT 1000"""

# One error for all that waits for a target that does not answer.
_OUTAGE = f"""
SELECT o.sqlstate, o.error AS message, o.waiting AS entities, o.attempts,
       extract(epoch FROM clock_timestamp() - o.since)::bigint AS oldest_seconds
  FROM {SCHEMA}.outage() AS o WHERE o.waiting > 0"""

_COMMITS = f"""
SELECT c.delivered, c.queued, round(c.queued::numeric / nullif(c.delivered + c.queued, 0), 3)::float8 AS queued_share,
       c.delay_ms
  FROM {SCHEMA}.commits() AS c"""

_LAST_ERRORS = f"""
SELECT operation, record_id, error_message AS message, {utc_seconds("created_at")} AS at
  FROM {SCHEMA}.sync_audit WHERE sync_result = 'FAILED' ORDER BY id DESC LIMIT %(limit)s"""

# Only users without a mapping. Some reasons end with an id, which is cut off to group them.
_SKIPPED = f"""
SELECT regexp_replace(d.skipped, '^(the email belongs to the older user) .*', '\\1') AS reason, count(*) AS users
  FROM {SCHEMA}.desired_user(array(
           SELECT u.user_id FROM public."LiteLLM_UserTable" AS u
            WHERE NOT EXISTS (SELECT FROM {SCHEMA}.sync_mapping AS m
                               WHERE m.litellm_type = 'user' AND m.litellm_id = u.user_id))) AS d
 WHERE d.skipped IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1"""

# Where the bridge's triggers do not fire: SELECT ... FROM pg_settings would only show this session's value.
_TRIGGERS_OFF = """
SELECT concat_ws(' ', 'role ' || quote_ident(r.rolname), 'database ' || quote_ident(d.datname)) AS name
  FROM pg_db_role_setting AS s
  LEFT JOIN pg_roles AS r ON r.oid = s.setrole
  LEFT JOIN pg_database AS d ON d.oid = s.setdatabase
 WHERE s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
   AND 'session_replication_role=replica' = ANY (s.setconfig)
 ORDER BY 1"""

_HELD = f"""
SELECT h.id, h.incident, h.kind, h.entity_type, h.entity_id, h.openwebui_id, h.accounts, h.reason,
       {utc("h.held_at")} AS parked_at, count(*) OVER () AS total
  FROM {SCHEMA}.held_changes() AS h ORDER BY h.id LIMIT greatest(1, %(limit)s)"""

_HELD_KINDS = f"SELECT h.kind, count(*) AS n FROM {SCHEMA}.held_changes() AS h GROUP BY 1 ORDER BY 1"


def look_at_delivery(
    cur: Any, report: Report, live: dict[tuple[str, str], Live], proved: frozenset[str], limit: int
) -> dict[str, Any]:
    """What there is to report, each part null that could not be seen; limit is the length of lists."""
    found: dict[str, Any] = {
        "queue": None,
        "commits": None,
        "errors": [],
        "causes": [],
        "last_errors": [],
        "mapped": None,
        "skipped_users": None,
        "trigger_faults": None,
        "triggers_off": [],
        "removals": None,
        "settings": None,
        "pause": None,
    }
    if ("table", f"{SCHEMA}.sync_queue") not in live:
        return found
    queue = report.look(cur, "queue", _QUEUE)
    if queue:
        types = f"SELECT entity_type AS type, count(*) AS n FROM {SCHEMA}.sync_queue GROUP BY 1 ORDER BY 1"
        found["queue"] = {**queue[0], "by_type": {row["type"]: row["n"] for row in _pg.rows(cur, types)}}
        # Causes count all errors, not just those that are listed.
        outage = report.look(cur, "outage", _OUTAGE) if has_function(live, "outage") else None
        found["queue"]["failed"] += sum(row["entities"] for row in outage or [])
        errors = (outage or []) + (report.look(cur, "errors", _ERRORS) or [])
        found["causes"] = grouped(errors)
        found["errors"] = [{**row, **cause(row["sqlstate"], row["message"])._asdict()} for row in errors[:limit]]
        for row in found["errors"]:
            row["cause"] = row.pop("name")
    commits = report.look(cur, "commits", _COMMITS) if has_function(live, "commits") else None
    found["commits"] = commits[0] if commits else None
    found["last_errors"] = report.look(cur, "audit", _LAST_ERRORS, {"limit": limit}) or []
    mapped = report.look(
        cur, "mapping", f"SELECT litellm_type AS type, count(*) AS n FROM {SCHEMA}.sync_mapping GROUP BY 1 ORDER BY 1"
    )
    if mapped is not None:
        found["mapped"] = {row["type"]: row["n"] for row in mapped}
        found["skipped_users"] = report.look_at_tables(cur, "skipped users", _SKIPPED, (COUNTED["litellm"], proved))
    faults = report.look(cur, "trigger faults", TRIGGER_FAULTS)
    found["trigger_faults"] = faults[0]["n"] if faults else None
    found["triggers_off"] = [row["name"] for row in _pg.rows(cur, _TRIGGERS_OFF)]
    held = listed(report.look(cur, "removals", _HELD, {"limit": limit}), limit)
    if held is not None:
        found["removals"] = {**held, "by_kind": {row["kind"]: row["n"] for row in _pg.rows(cur, _HELD_KINDS)}}
    found["settings"] = look_at_settings(cur, report, live, "settings")
    paused = report.look(cur, "pause", PAUSED) if found["settings"] else None
    if paused is not None:
        # Without a drainer nobody notes that the time of a pause is over.
        found["settings"]["paused"] = bool(paused)
        found["pause"] = paused[0] if paused else None
    return found


def has_function(live: dict[tuple[str, str], Live], name: str) -> bool:
    """Whether the installed version of the bridge has a function."""
    return any(kind == "function" and full.startswith(f"{SCHEMA}.{name}(") for kind, full in live)


def look_at_settings(cur: Any, report: Report, live: dict[tuple[str, str], Live], what: str) -> dict[str, Any] | None:
    """The stored settings, empty while there are none; None where the login may not look."""
    try:
        with _pg.savepoint(cur):
            settings = read_settings(cur, live) or {}
    except _pg.PgError as error:
        if _pg.sqlstate(error) not in INVISIBLE:
            raise
        report.unseen.append({"what": what, "reason": _pg.describe(error)})
        return None
    return {name: value for name, value in settings.items() if name in (*SPEC, "paused")}
