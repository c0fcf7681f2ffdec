# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looks at the bridge without touching it: what is installed, whether it is as it was left, and how it is doing.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._info.connection import check_connection
from ansible_collections.llmops.user_bridge.plugins.module_utils._info.delivery import look_at_delivery
from ansible_collections.llmops.user_bridge.plugins.module_utils._info.drift import look_for_drift
from ansible_collections.llmops.user_bridge.plugins.module_utils._info.health import health
from ansible_collections.llmops.user_bridge.plugins.module_utils._info.report import Report, listed
from ansible_collections.llmops.user_bridge.plugins.module_utils._info.sides import look_at_side
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import SCHEMA, Roles

# Digests are compared on the server, so that no password hash leaves it.
_INITIAL_PASSWORDS = f"""
SELECT e.entity_id AS user_id, count(*) OVER () AS total,
       extract(epoch FROM clock_timestamp() - e.initial_password_at)::bigint AS seconds
  FROM {SCHEMA}.entity AS e JOIN public.auth AS a ON a.id = e.openwebui_id
 WHERE e.initial_password_at IS NOT NULL
   AND encode(sha256(convert_to(a.password, 'UTF8')), 'hex') = e.initial_password_mark
 ORDER BY e.initial_password_at, 1 LIMIT greatest(1, %(limit)s)"""


def gather(params: dict[str, Any]) -> dict[str, Any]:
    """Both sides, one beside the other: half of the time is the servers'."""
    with ThreadPoolExecutor(1) as pool:
        beside = pool.submit(_look_at_openwebui, params) if params["openwebui_login_db"] else None
        report, delivery, tested = _look_at_litellm(params)
        other, passwords = beside.result() if beside else (Report(), None)
    report.unseen += other.unseen
    drift_found = look_for_drift(params, report) if params["drift"] and report.found["installed"] else None
    version_found, expected = report.found["version"], params["version"]
    compared = expected is not None and version_found is not None
    info = {
        "litellm": report.found,
        "openwebui": other.found or None,
        "version": {
            "installed": version_found,
            "expected": expected,
            "matches": _same_version(report.found, other.found, expected) if compared else None,
        },
        "connection": tested,
        **delivery,
        "drift": drift_found,
        "initial_passwords": passwords,
        "unseen": report.unseen,
    }
    return {"changed": False, "health": health(info), **info}


def _same_version(litellm: dict[str, Any], openwebui: dict[str, Any], expected: str) -> bool:
    return all(side["version"] in (None, expected) for side in (litellm, openwebui) if side)


def _look_at_litellm(params: dict[str, Any]) -> tuple[Report, dict[str, Any], dict[str, Any] | None]:
    connection = _pg.connect(params)
    cur, version = _pg.cursor(connection), _pg.server_version(connection)
    with _pg.transaction(cur, read_only=True):
        report, live = look_at_side(cur, "litellm", Roles(params["owner"], params["reader"]), version)
        delivery = look_at_delivery(cur, report, live, params["limit"])
        tested = check_connection(cur, report, params["owner"]) if params["check_connection"] else None
    return report, delivery, tested


def _look_at_openwebui(params: dict[str, Any]) -> tuple[Report, dict[str, Any] | None]:
    """Nothing is found where it cannot be reached."""
    try:
        connection = _pg.connect(_pg.second_login(params, "openwebui_"), "openwebui_")
    except BridgeError as error:
        return Report(unseen=[{"what": "openwebui", "reason": str(error)}]), None
    cur = _pg.cursor(connection)
    with _pg.transaction(cur, read_only=True):
        roles = Roles(params["owner"], params["writer"])
        report, live = look_at_side(cur, "openwebui", roles, _pg.server_version(connection))
        if ("table", f"{SCHEMA}.entity") not in live:
            return report, None
        limit = params["limit"]
        return report, listed(report.look(cur, "initial passwords", _INITIAL_PASSWORDS, {"limit": limit}), limit)
