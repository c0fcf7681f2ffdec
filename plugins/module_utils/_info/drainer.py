# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a drainer lives, the session that delivers what commits have left.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import time
from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._bridge import utc_seconds
from ansible_collections.llmops.user_bridge.plugins.module_utils._catalog.live import Live
from ansible_collections.llmops.user_bridge.plugins.module_utils._info.report import INVISIBLE, Report
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import SCHEMA

# How long one that should be there is waited for: a service that has just been started, or the next run of a job.
_PATIENCE_SECONDS = 3.0

_LIVES = f"SELECT {SCHEMA}.drainer_lives() AS lives"

# Null for a login that may not see other sessions.
_SINCE = f"""
SELECT {utc_seconds("max(a.backend_start)")}
  FROM pg_locks AS l JOIN pg_stat_activity AS a ON a.pid = l.pid
 WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND l.mode = 'ExclusiveLock'
   AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
   AND l.classid::bigint << 32 | l.objid::bigint = {SCHEMA}.lock_key('drainer')"""


def look_at_drainer(
    cur: Any, report: Report, live: dict[tuple[str, str], Live], runs: str | None
) -> dict[str, Any] | None:
    """What runs it, whether it lives, and since when; None where the bridge has no drainer yet."""
    if not any(kind == "function" and name.startswith(f"{SCHEMA}.drainer_lives(") for kind, name in live):
        return None
    lives = _lives(cur, report)
    end = time.monotonic() + (_PATIENCE_SECONDS if runs not in (None, "none") else 0)
    while lives is False and time.monotonic() < end:
        time.sleep(0.2)
        lives = _lives(cur, report)
    return {"runs": runs, "lives": lives, "since": _since(cur) if lives else None}


def _lives(cur: Any, report: Report) -> bool | None:
    rows = report.look(cur, "drainer", _LIVES)
    return bool(rows[0]["lives"]) if rows else None


def _since(cur: Any) -> str | None:
    try:
        with _pg.savepoint(cur):
            found: str | None = _pg.value(cur, _SINCE)
            return found
    except _pg.PgError as error:
        if _pg.sqlstate(error) not in INVISIBLE:
            raise
        return None
