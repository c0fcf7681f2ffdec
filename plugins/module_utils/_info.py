# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looks at the bridge without touching it: what is installed, whether it is as it was left, and how it is doing.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg, _target
from ansible_collections.llmops.user_bridge.plugins.module_utils._catalog import Live, live_objects
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._install import read_records, read_settings
from ansible_collections.llmops.user_bridge.plugins.module_utils._plan import Record, drift
from ansible_collections.llmops.user_bridge.plugins.module_utils._settings import SPEC
from ansible_collections.llmops.user_bridge.plugins.module_utils._sql_split import SCHEMA

# The timer drains every minute; what waits for longer than a few of its runs is stuck.
QUEUE_MAX_AGE_SECONDS = 300
_INVISIBLE = (_pg.INSUFFICIENT_PRIVILEGE, _pg.UNDEFINED_TABLE, "42703", "42883")

_LITELLM_COUNTS = """
SELECT (SELECT count(*) FROM public."LiteLLM_OrganizationTable") AS organizations,
       (SELECT count(*) FROM public."LiteLLM_TeamTable") AS teams,
       (SELECT count(*) FROM public."LiteLLM_UserTable") AS users,
       (SELECT count(*) FROM public."LiteLLM_UserTable" WHERE btrim(user_email) <> '') AS users_with_email,
       (SELECT count(*) FROM public."LiteLLM_OrganizationMembership") AS organization_members,
       (SELECT count(*) FROM public."LiteLLM_VerificationToken") AS api_keys"""

_OPENWEBUI_COUNTS = """
SELECT (SELECT count(*) FROM public."group") AS groups, count(*) AS users,
       count(*) FILTER (WHERE role = 'admin') AS admins, count(*) FILTER (WHERE role = 'pending') AS pending
  FROM public."user" """

_MEMBERS = "SELECT count(*) AS n FROM public.group_member"
_MEMBERS_BEFORE_0_6_37 = """
SELECT coalesce(sum(CASE json_typeof(user_ids) WHEN 'array' THEN json_array_length(user_ids) END), 0)::bigint AS n
  FROM public."group" """

_QUEUE = f"""
SELECT count(*) AS depth, count(*) FILTER (WHERE attempts > 0) AS failed,
       extract(epoch FROM clock_timestamp() - min(enqueued_at))::bigint AS oldest_seconds
  FROM {SCHEMA}.sync_queue"""

_ERRORS = f"""
SELECT last_sqlstate AS sqlstate, last_error AS message, count(DISTINCT (entity_type, entity_id)) AS entities,
       max(attempts) AS attempts, extract(epoch FROM clock_timestamp() - min(enqueued_at))::bigint AS oldest_seconds
  FROM {SCHEMA}.sync_queue WHERE last_error IS NOT NULL
 GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2 LIMIT %(limit)s"""

_LAST_ERRORS = f"""
SELECT operation, record_id, error_message AS message,
       to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS at
  FROM {SCHEMA}.sync_audit WHERE sync_result = 'FAILED' ORDER BY id DESC LIMIT %(limit)s"""


@dataclass
class Report:
    """What could be seen of one side, and what could not."""

    found: dict[str, Any] = field(default_factory=dict)
    unseen: list[dict[str, str]] = field(default_factory=list)

    def look(
        self, cur: Any, what: str, query: str, params: dict[str, Any] | None = None
    ) -> list[dict[str, Any]] | None:
        """Rows, or None with a note where the login may not look."""
        try:
            with _pg.savepoint(cur):
                return _pg.rows(cur, query, params)
        except _pg.PgError as error:
            if _pg.sqlstate(error) not in _INVISIBLE:
                raise
            self.unseen.append({"what": what, "reason": _pg.describe(error)})
            return None


def look_at_side(cur: Any, side: str, owner: str, server_version: int) -> tuple[Report, dict[tuple[str, str], Live]]:
    """What both sides have in common: server, installed version, state of every object, counts."""
    report = Report()
    (server,) = _pg.rows(
        cur, "SELECT current_database()::text AS database, current_setting('server_version') AS server_version"
    )
    live = live_objects(cur, owner)
    recorded = _records(cur, report, side, live)
    version = recorded.get(("bridge", side)) if recorded else None
    report.found = {
        **server,
        "installed": any(kind in ("table", "function") for kind, _name in live),
        "version": version.version if version else None,
        "objects": [] if recorded is None else drift(live, recorded, owner, _pg.major_of(server_version)),
        "counts": _counts(cur, report, side),
    }
    return report, live


def _records(
    cur: Any, report: Report, side: str, live: dict[tuple[str, str], Live]
) -> dict[tuple[str, str], Record] | None:
    try:
        with _pg.savepoint(cur):
            return read_records(cur, live)
    except _pg.PgError as error:
        if _pg.sqlstate(error) not in _INVISIBLE:
            raise
        report.unseen.append({"what": f"{side}: state of the objects", "reason": _pg.describe(error)})
        return None


def _counts(cur: Any, report: Report, side: str) -> dict[str, Any] | None:
    if side == "litellm":
        rows = report.look(cur, "litellm: counts", _LITELLM_COUNTS)
        return rows[0] if rows else None
    rows = report.look(cur, "openwebui: counts", _OPENWEBUI_COUNTS)
    if not rows:
        return None
    # Before Open WebUI 0.6.37 a group holds its members itself.
    table = _pg.value(cur, "SELECT true FROM pg_class WHERE oid = to_regclass('public.group_member')")
    members = report.look(cur, "openwebui: counts of members", _MEMBERS if table else _MEMBERS_BEFORE_0_6_37)
    return {**rows[0], "group_members": members[0]["n"] if members else None}


def look_at_delivery(cur: Any, report: Report, live: dict[tuple[str, str], Live], limit: int) -> dict[str, Any]:
    """Queue, errors, mapping and settings, all on LiteLLM's side."""
    found: dict[str, Any] = {"queue": None, "errors": [], "last_errors": [], "mapped": None, "settings": None}
    if ("table", f"{SCHEMA}.sync_queue") not in live:
        return found
    queue = report.look(cur, "queue", _QUEUE)
    if queue:
        types = f"SELECT entity_type AS type, count(*) AS n FROM {SCHEMA}.sync_queue GROUP BY 1 ORDER BY 1"
        found["queue"] = {**queue[0], "by_type": {row["type"]: row["n"] for row in _pg.rows(cur, types)}}
        found["errors"] = report.look(cur, "errors", _ERRORS, {"limit": limit}) or []
    found["last_errors"] = report.look(cur, "audit", _LAST_ERRORS, {"limit": limit}) or []
    mapped = report.look(
        cur, "mapping", f"SELECT litellm_type AS type, count(*) AS n FROM {SCHEMA}.sync_mapping GROUP BY 1 ORDER BY 1"
    )
    if mapped is not None:
        found["mapped"] = {row["type"]: row["n"] for row in mapped}
    try:
        with _pg.savepoint(cur):
            settings = read_settings(cur, live) or {}
        found["settings"] = {name: value for name, value in settings.items() if name in (*SPEC, "paused")}
    except _pg.PgError as error:
        if _pg.sqlstate(error) not in _INVISIBLE:
            raise
        report.unseen.append({"what": "settings", "reason": _pg.describe(error)})
    return found


def check_connection(cur: Any, report: Report, owner: str) -> dict[str, Any]:
    """Connect to Open WebUI's database as the bridge does."""
    nothing = {"user": None, "database": None, "server_version": None, "apply": None}
    state = _target.read_state(cur, owner)
    if state.server_owner is None:
        return {"state": "missing", "error": f"there is no server {_target.SERVER}", "remedy": _DEPLOY, **nothing}
    try:
        with _pg.savepoint(cur):
            _pg.set_role(cur, owner)
    except _pg.PgError as error:
        report.unseen.append({"what": "connection test", "reason": _pg.describe(error)})
        return {"state": "not tested", "error": None, "remedy": None, **nothing}
    try:
        with _pg.savepoint(cur):
            found = _target.ask_target(cur, state.extension_schema or SCHEMA)
    except _pg.PgError as error:
        options = state.server_options
        user = (state.mapping_options or {}).get("user", "the sync user")
        reason, remedy = _target.connection_problem(error, options, user)
        return {"state": "failed", "error": reason, "remedy": remedy, **nothing}
    finally:
        _pg.set_role(cur, None)
    return {"state": "ok", "error": None, "remedy": None, **found}


_DEPLOY = "run the playbook llmops.user_bridge.deploy_bridge"


def health(info: dict[str, Any]) -> dict[str, Any]:
    """One word and the reasons for it, worst first."""
    broken: list[str] = []
    degraded: list[str] = []
    for side in ("litellm", "openwebui"):
        found = info[side]
        if found is None:
            continue
        if not found["installed"]:
            broken.append(f"the bridge is not installed in database {found['database']} ({side}): {_DEPLOY}")
            continue
        for item in found["objects"]:
            if item["state"] != "ok":
                reasons = degraded if item["state"] == "unknown" else broken
                reasons.append(f"{item['kind']} {item['name']} ({side}): {item['reason']}; {_DEPLOY}")
    connection = info["connection"]
    if connection and connection["state"] in ("failed", "missing"):
        broken.append(f"LiteLLM's server cannot reach Open WebUI's: {connection['error']}; {connection['remedy']}")
    if connection and connection["state"] == "ok" and not connection["apply"]:
        who, where = connection["user"], connection["database"]
        broken.append(f"{who} cannot execute {SCHEMA}.apply in database {where}: {_DEPLOY}")
    version = info["version"]
    if version["matches"] is False:
        degraded.append(f"version {version['installed']} is installed, not {version['expected']}: {_DEPLOY}")
    if (info["settings"] or {}).get("paused"):
        degraded.append("the bridge is paused: run the playbook llmops.user_bridge.resume_bridge")
    queue = info["queue"]
    if queue and queue["failed"]:
        degraded.append(f"{queue['failed']} of {queue['depth']} queued changes have failed so far: see errors")
    if queue and (queue["oldest_seconds"] or 0) > QUEUE_MAX_AGE_SECONDS:
        degraded.append(f"the oldest queued change waits since {queue['oldest_seconds']} seconds: does anything drain?")
    degraded += [f"could not see {item['what']}: {item['reason']}" for item in info["unseen"]]
    return {"status": "broken" if broken else "degraded" if degraded else "ok", "reasons": broken + degraded}


def gather(params: dict[str, Any]) -> dict[str, Any]:
    connection = _pg.connect(params)
    cur, version = _pg.cursor(connection), _pg.server_version(connection)
    with _pg.transaction(cur, read_only=True):
        report, live = look_at_side(cur, "litellm", params["owner"], version)
        delivery = look_at_delivery(cur, report, live, params["limit"])
        tested = check_connection(cur, report, params["owner"]) if params["check_connection"] else None
    other = _look_at_openwebui(params, report) if params["openwebui_login_db"] else None
    installed, expected = report.found["version"], params["version"]
    info = {
        "litellm": report.found,
        "openwebui": other,
        "version": {
            "installed": installed,
            "expected": expected,
            "matches": None if expected is None or installed is None else _same_version(report.found, other, expected),
        },
        "connection": tested,
        **delivery,
        "unseen": report.unseen,
    }
    return {"changed": False, "health": health(info), **info}


def _same_version(litellm: dict[str, Any], openwebui: dict[str, Any] | None, expected: str) -> bool:
    return all(side["version"] in (None, expected) for side in (litellm, openwebui) if side)


def _look_at_openwebui(params: dict[str, Any], report: Report) -> dict[str, Any] | None:
    try:
        connection = _pg.connect(_pg.second_login(params, "openwebui_"), "openwebui_")
    except BridgeError as error:
        report.unseen.append({"what": "openwebui", "reason": str(error)})
        return None
    cur = _pg.cursor(connection)
    with _pg.transaction(cur, read_only=True):
        other, _live = look_at_side(cur, "openwebui", params["owner"], _pg.server_version(connection))
    report.unseen += other.unseen
    return other.found
