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
from ansible_collections.llmops.user_bridge.plugins.module_utils._info.activity import look_at_activity
from ansible_collections.llmops.user_bridge.plugins.module_utils._info.attribution import look_at_attribution
from ansible_collections.llmops.user_bridge.plugins.module_utils._info.connection import check_connection
from ansible_collections.llmops.user_bridge.plugins.module_utils._info.delivery import (
    look_at_delivery,
    look_at_settings,
)
from ansible_collections.llmops.user_bridge.plugins.module_utils._info.drainer import look_at_drainer
from ansible_collections.llmops.user_bridge.plugins.module_utils._info.drift import look_for_drift
from ansible_collections.llmops.user_bridge.plugins.module_utils._info.health import health
from ansible_collections.llmops.user_bridge.plugins.module_utils._info.installation import (
    identity_problem,
    installation,
    seen,
)
from ansible_collections.llmops.user_bridge.plugins.module_utils._info.models import (
    explain,
    look_at_enforcement,
    look_at_models,
    with_extra,
)
from ansible_collections.llmops.user_bridge.plugins.module_utils._info.report import Report, listed
from ansible_collections.llmops.user_bridge.plugins.module_utils._info.sides import COUNTED, look_at_side
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import SCHEMA, Roles
from ansible_collections.llmops.user_bridge.plugins.module_utils._ownership.state import (
    Source,
    Target,
    read_source,
    read_target,
)
from ansible_collections.llmops.user_bridge.plugins.module_utils._plain.prove import reading
from ansible_collections.llmops.user_bridge.plugins.module_utils._settings.declared import OPENWEBUI

# Digests are compared on the server, so that no password hash leaves it.
_INITIAL_PASSWORDS = f"""
SELECT e.entity_id AS user_id, count(*) OVER () AS total,
       extract(epoch FROM clock_timestamp() - e.initial_password_at)::bigint AS seconds
  FROM {SCHEMA}.entity AS e JOIN public.auth AS a ON a.id = e.openwebui_id
 WHERE e.initial_password_at IS NOT NULL
   AND encode(sha256(convert_to(a.password, 'UTF8')), 'hex') = e.initial_password_mark
 ORDER BY e.initial_password_at, 1 LIMIT greatest(1, %(limit)s)"""

_NOT_LINKED = f"""
SELECT e.entity_id AS user_id, e.not_linked AS reason, count(*) OVER () AS total
  FROM {SCHEMA}.entity AS e WHERE e.not_linked IS NOT NULL AND e.entity_type = 'user'
 ORDER BY 1 LIMIT greatest(1, %(limit)s)"""

_NO_SIGN_IN = f"""
SELECT s.user_id, s.openwebui_id, s.email, s.total
  FROM {SCHEMA}.accounts_without_sign_in(greatest(1, %(limit)s)) AS s"""

_LINKED = f"SELECT l.entity_type AS type, l.linked, l.missing FROM {SCHEMA}.count_links() AS l ORDER BY 1"

# Lists of accounts on Open WebUI's side, by the name under which they are reported, with the tables that each reads.
_LISTS: dict[str, tuple[str, frozenset[str]]] = {
    "initial_passwords": (_INITIAL_PASSWORDS, frozenset({"auth"})),
    "not_linked": (_NOT_LINKED, frozenset()),
    "no_sign_in": (_NO_SIGN_IN, frozenset({"auth", "user"})),
}


def gather(params: dict[str, Any]) -> dict[str, Any]:
    """Both sides, one beside the other: half of the time is the servers'."""
    with ThreadPoolExecutor(1) as pool:
        beside = pool.submit(_look_at_openwebui, params) if params["openwebui_login_db"] else None
        report, delivery, tested, source, problem = _look_at_litellm(params)
        other, lists, own_settings, target = (
            beside.result() if beside else (Report(), dict.fromkeys([*_LISTS, "linked", "models"]), None, None)
        )
    report.unseen += other.unseen
    drift_found = look_for_drift(params, report) if params["drift"] and report.found["installed"] else None
    explanation = explain(params, report) if params["explain"] and report.found["installed"] else None
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
        "installation": installation(source, target, problem),
        "connection": tested,
        **delivery,
        "drift": drift_found,
        **lists,
        "models": {"litellm": with_extra(delivery["models"], delivery["settings"]), "openwebui": lists["models"]},
        "explanation": explanation,
        "settings_differ": _differing(delivery["settings"], own_settings),
        "unseen": report.unseen,
    }
    return {"changed": False, "health": health(info), **info}


def _same_version(litellm: dict[str, Any], openwebui: dict[str, Any], expected: str) -> bool:
    return all(side["version"] in (None, expected) for side in (litellm, openwebui) if side)


def _differing(litellm: dict[str, Any] | None, openwebui: dict[str, Any] | None) -> list[str] | None:
    """The settings that both sides store and that differ; None where one side could not be seen."""
    if litellm is None or openwebui is None:
        return None
    return sorted(name for name in OPENWEBUI if litellm.get(name) != openwebui.get(name))


def _look_at_litellm(
    params: dict[str, Any],
) -> tuple[Report, dict[str, Any], dict[str, Any] | None, Source | None, str | None]:
    connection = _pg.connect(params)
    cur, version = _pg.cursor(connection), _pg.server_version(connection)
    with reading(cur, COUNTED["litellm"]) as proved:
        report, live = look_at_side(cur, "litellm", Roles(params["owner"], params["reader"]), version, proved)
        delivery = look_at_delivery(cur, report, live, proved, params["limit"])
        delivery.update(look_at_activity(cur, report, live, params["history"]))
        delivery["drainer"] = look_at_drainer(cur, report, live, params["maintenance"])
        delivery["models"] = look_at_models(cur, report, live, "litellm")
        delivery["enforcement"] = look_at_enforcement(cur, report, live)
        delivery["attribution"] = look_at_attribution(cur, report, live, delivery["settings"])
        tested = check_connection(cur, report, params["owner"]) if params["check_connection"] else None
        source = seen(cur, report, "installation", read_source, params["owner"])
        problem = identity_problem(cur, source)
    return report, delivery, tested, source, problem


def _look_at_openwebui(
    params: dict[str, Any],
) -> tuple[Report, dict[str, Any], dict[str, Any] | None, Target | None]:
    """Nothing is found where it cannot be reached."""
    nothing: dict[str, Any] = dict.fromkeys([*_LISTS, "linked", "models"])
    try:
        connection = _pg.connect(_pg.second_login(params, "openwebui_"), "openwebui_")
    except BridgeError as error:
        return Report(unseen=[{"what": "openwebui", "reason": str(error)}]), nothing, None, None
    cur = _pg.cursor(connection)
    with reading(cur, COUNTED["openwebui"]) as proved:
        roles = Roles(params["owner"], params["writer"])
        report, live = look_at_side(cur, "openwebui", roles, _pg.server_version(connection), proved)
        if ("table", f"{SCHEMA}.entity") not in live:
            return report, nothing, None, None
        limit = params["limit"]
        lists: dict[str, Any] = {
            name: listed(
                report.look_at_tables(cur, name.replace("_", " "), query, (tables, proved), {"limit": limit}), limit
            )
            for name, (query, tables) in _LISTS.items()
        }
        linked = report.look_at_tables(cur, "accounts and groups", _LINKED, (frozenset({"group", "user"}), proved))
        lists["linked"] = None if linked is None else {row.pop("type"): row for row in linked}
        lists["models"] = look_at_models(cur, report, live, "openwebui")
        own_settings = look_at_settings(cur, report, live, "openwebui: settings")
        target = seen(cur, report, "owner of Open WebUI's side", read_target, params["owner"])
        return report, lists, own_settings, target
