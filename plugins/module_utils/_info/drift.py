# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What differs between both sides, counted by type.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._bridge import entity_types
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._info.report import INVISIBLE, Report
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import SCHEMA
from ansible_collections.llmops.user_bridge.plugins.module_utils._session import (
    NO_SUCH_ROLE,
    NOT_THE_INSTALLATION,
    TARGET_AWAY,
)

_DRIFT = f"""
WITH r AS MATERIALIZED (SELECT * FROM {SCHEMA}.reconcile(false, %(types)s::text[]))
SELECT r.entity_type, count(DISTINCT r.entity_id) AS entities, count(*) AS fields FROM r GROUP BY 1 ORDER BY 1"""


def look_for_drift(params: dict[str, Any], report: Report) -> dict[str, Any] | None:
    """Compare everything, over two connections side by side; None where the login may not."""
    try:
        with ThreadPoolExecutor(2) as pool:
            # Two halves of about the same size: a user has a membership or two.
            compared = [pool.submit(_differing, params, rosters) for rosters in (False, True)]
        rows = [row for each in compared for row in each.result()]
        # Each half skips what the other has locked for a preview, so differences are counted in one session.
        rows = rows and _differing(params)
    except BridgeError as error:
        # The first connection was accepted, so these two exceed a connection limit.
        report.unseen.append({"what": "drift", "reason": str(error)})
        return None
    except _pg.PgError as error:
        # Why Open WebUI's server does not answer, or may not be asked, is reported elsewhere.
        if _pg.sqlstate(error) not in (*INVISIBLE, *TARGET_AWAY, NOT_THE_INSTALLATION, NO_SUCH_ROLE):
            raise
        report.unseen.append({"what": "drift", "reason": _pg.describe(error)})
        return None
    return {
        "entities": sum(row["entities"] for row in rows),
        "fields": sum(row["fields"] for row in rows),
        "by_type": {row["entity_type"]: row["entities"] for row in sorted(rows, key=lambda row: row["entity_type"])},
    }


def _differing(params: dict[str, Any], rosters: bool | None = None) -> list[dict[str, Any]]:
    """Compare those types that are compared by rosters, or all but those, or without a choice all."""
    cur = _pg.cursor(_pg.connect(params))
    with _pg.transaction(cur, read_only=True):
        _pg.set_role(cur, params["owner"])
        types = [row["entity_type"] for row in entity_types(cur) if rosters in (None, row["compared"] == "rosters")]
        return _pg.rows(cur, _DRIFT, {"types": types})
