# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the bridge has done lately: its last deliveries, its last comparison, and upkeep that fails.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils._bridge import utc_seconds
from ansible_collections.llmops.user_bridge.plugins.module_utils._catalog.live import Live
from ansible_collections.llmops.user_bridge.plugins.module_utils._info.delivery import has_function
from ansible_collections.llmops.user_bridge.plugins.module_utils._info.report import Report
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import SCHEMA

# The newest rows of the audit: enough for a rate, and no more to read when the audit is long.
_RECENT = 1000

# Not what a person decided, nor what the upkeep noticed.
_DELIVERIES = f"{SCHEMA}.sync_audit AS a WHERE a.operation ~ '^(SYNC|DELETE|MIGRATE)_'"

_DELIVERED = f"""
SELECT count(*) AS entries, count(*) FILTER (WHERE r.sync_result <> 'FAILED') AS delivered,
       {utc_seconds("min(r.created_at)")} AS since,
       (SELECT {utc_seconds("a.created_at")} FROM {_DELIVERIES} AND a.sync_result IN ('SUCCESS', 'WARNING')
         ORDER BY a.id DESC LIMIT 1) AS last_success
  FROM (SELECT a.sync_result, a.created_at FROM {_DELIVERIES} ORDER BY a.id DESC LIMIT {_RECENT}) AS r"""

# When the drainer compares next, less its period; it says nothing where the last comparison failed.
_COMPARED = f"""
SELECT {utc_seconds("(u.next_at - t.period)")} AS at
  FROM {SCHEMA}.upkeep AS u JOIN {SCHEMA}.upkeep_tasks() AS t USING (task)
 WHERE u.task = 'lookout' AND u.failures = 0"""

# Whole hours, so a little more than a day. What was tried several times counts each time.
_DAY = f"""
SELECT coalesce(sum(h.value) FILTER (WHERE h.measure = 'deliveries'), 0)::bigint AS entries,
       coalesce(sum(h.value) FILTER (WHERE h.measure = 'deliveries' AND h.label !~ ' FAILED$'), 0)::bigint
           AS delivered,
       max(h.value) FILTER (WHERE h.measure = 'queue' AND h.label = 'waiting') AS most_waiting,
       max(h.value) FILTER (WHERE h.measure = 'queue' AND h.label = 'oldest_seconds') AS longest_seconds
  FROM {SCHEMA}.hourly AS h WHERE h.hour > clock_timestamp() - interval '25 hours'"""

# What the drainer delivers meanwhile has waited, too.
_HISTORY = f"""
SELECT {utc_seconds("h.hour")} AS hour,
       coalesce(sum(h.value) FILTER (WHERE d.result IN ('SUCCESS', 'WARNING')), 0)::bigint AS delivered,
       coalesce(sum(h.value) FILTER (WHERE d.result = 'SKIPPED'), 0)::bigint AS skipped,
       coalesce(sum(h.value) FILTER (WHERE d.result = 'FAILED'), 0)::bigint AS failed,
       max(CASE h.label WHEN 'oldest_seconds' THEN h.value * 1000 WHEN 'delay_ms' THEN h.value END)
           FILTER (WHERE h.measure = 'queue') AS delay_ms,
       coalesce(jsonb_object_agg(h.label, h.value) FILTER (WHERE h.measure = 'mapped'), '{{}}')::text AS mapped
  FROM {SCHEMA}.hourly AS h
 CROSS JOIN LATERAL (SELECT CASE h.measure WHEN 'deliveries' THEN split_part(h.label, ' ', 2) END AS result) AS d
 GROUP BY h.hour ORDER BY h.hour"""

_FAILING = f"""
SELECT u.task, u.failures, u.last_error AS message FROM {SCHEMA}.upkeep AS u WHERE u.failures > 0 ORDER BY 1"""


def look_at_activity(cur: Any, report: Report, live: dict[tuple[str, str], Live], with_history: bool) -> dict[str, Any]:
    """Each part null that could not be seen."""
    found: dict[str, Any] = dict.fromkeys(("recent", "day", "history", "last_comparison"))
    found["upkeep_failing"] = []
    if ("table", f"{SCHEMA}.sync_audit") in live:
        rows = report.look(cur, "recent deliveries", _DELIVERED)
        found["recent"] = rows[0] if rows else None
    if ("table", f"{SCHEMA}.hourly") in live:
        day = report.look(cur, "hourly counts", _DAY)
        found["day"] = day[0] if day else None
        if with_history:
            hours = report.look(cur, "counts of 30 days", _HISTORY)
            found["history"] = hours and [{**hour, "mapped": json.loads(hour["mapped"])} for hour in hours]
    if has_function(live, "upkeep_tasks"):
        compared = report.look(cur, "last comparison", _COMPARED)
        found["last_comparison"] = compared[0]["at"] if compared else None
        found["upkeep_failing"] = report.look(cur, "upkeep", _FAILING) or []
    return found
