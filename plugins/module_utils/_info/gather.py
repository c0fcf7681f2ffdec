# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looks at the bridge without touching it: what is installed, whether it is as it was left, and how it is doing.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._catalog.compare import drift
from ansible_collections.llmops.user_bridge.plugins.module_utils._catalog.live import Live, live_objects
from ansible_collections.llmops.user_bridge.plugins.module_utils._catalog.records import Record, read_records
from ansible_collections.llmops.user_bridge.plugins.module_utils._causes import DEPLOY as _DEPLOY
from ansible_collections.llmops.user_bridge.plugins.module_utils._causes import cause, grouped
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import SCHEMA
from ansible_collections.llmops.user_bridge.plugins.module_utils._settings.declared import SPEC
from ansible_collections.llmops.user_bridge.plugins.module_utils._settings.stored import read_settings
from ansible_collections.llmops.user_bridge.plugins.module_utils._sync.run import ENTITY_TYPES, TRIGGER_FAULTS
from ansible_collections.llmops.user_bridge.plugins.module_utils._target import connection as _connection
from ansible_collections.llmops.user_bridge.plugins.module_utils._target import state as _target

# The timer drains every minute; what waits for longer than a few of its runs is stuck.
QUEUE_MAX_AGE_SECONDS = 300
_INVISIBLE = (_pg.INSUFFICIENT_PRIVILEGE, _pg.UNDEFINED_TABLE, "42703", "42883", "3F000")
# Raised by the bridge when Open WebUI's server does not answer; the connection test says why.
_TARGET_AWAY = ("UB001", "UB002")

_LITELLM_COUNTS = """
SELECT (SELECT count(*) FROM public."LiteLLM_OrganizationTable") AS organizations,
       (SELECT count(*) FROM public."LiteLLM_TeamTable") AS teams,
       (SELECT count(*) FROM public."LiteLLM_UserTable") AS users,
       (SELECT count(*) FROM public."LiteLLM_UserTable" WHERE btrim(user_email) <> '') AS users_with_email,
       (SELECT count(*) FROM public."LiteLLM_OrganizationMembership") AS organization_members,
       (SELECT coalesce(sum(CASE jsonb_typeof(members_with_roles)
                            WHEN 'array' THEN jsonb_array_length(members_with_roles) END), 0)
          FROM public."LiteLLM_TeamTable")::bigint AS team_members,
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
SELECT count(*) AS depth, count(*) FILTER (WHERE attempts > 0 AND parked_at IS NULL) AS failed,
       extract(epoch FROM clock_timestamp() - min(enqueued_at) FILTER (WHERE parked_at IS NULL))::bigint
           AS oldest_seconds
  FROM {SCHEMA}.sync_queue"""

_ERRORS = f"""
SELECT last_sqlstate AS sqlstate, last_error AS message, count(DISTINCT (entity_type, entity_id)) AS entities,
       max(attempts) AS attempts, extract(epoch FROM clock_timestamp() - min(enqueued_at))::bigint AS oldest_seconds
  FROM {SCHEMA}.sync_queue WHERE last_error IS NOT NULL AND parked_at IS NULL
 GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2 LIMIT 1000"""

_LAST_ERRORS = f"""
SELECT operation, record_id, error_message AS message,
       to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS at
  FROM {SCHEMA}.sync_audit WHERE sync_result = 'FAILED' ORDER BY id DESC LIMIT %(limit)s"""

# Only those without an account are asked about; grouped without the id that some reasons end with.
_SKIPPED = f"""
SELECT regexp_replace(d.skipped, '^(the email belongs to the older user) .*', '\\1') AS reason, count(*) AS users
  FROM {SCHEMA}.desired_users(array(
           SELECT u.user_id FROM public."LiteLLM_UserTable" AS u
            WHERE NOT EXISTS (SELECT FROM {SCHEMA}.sync_mapping AS m
                               WHERE m.litellm_type = 'user' AND m.litellm_id = u.user_id))) AS d
 WHERE d.skipped IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1"""

_REMOVALS = f"""
SELECT r.entity_type, r.entity_id, r.openwebui_id, r.reason, count(*) OVER () AS total
  FROM {SCHEMA}.pending_removals() AS r ORDER BY 1, 2 LIMIT greatest(1, %(limit)s)"""

_DRIFT = f"""
WITH r AS MATERIALIZED (SELECT * FROM {SCHEMA}.reconcile(false, %(types)s::text[]))
SELECT r.entity_type, count(DISTINCT r.entity_id) AS entities, count(*) AS fields FROM r GROUP BY 1 ORDER BY 1"""

# A digest tells whether a stored password is still the one that the bridge gave; neither leaves the server.
_INITIAL_PASSWORDS = f"""
SELECT e.entity_id AS user_id, count(*) OVER () AS total,
       extract(epoch FROM clock_timestamp() - e.initial_password_at)::bigint AS seconds
  FROM {SCHEMA}.entity AS e JOIN public.auth AS a ON a.id = e.openwebui_id
 WHERE e.initial_password_at IS NOT NULL
   AND encode(sha256(convert_to(a.password, 'UTF8')), 'hex') = e.initial_password_mark
 ORDER BY e.initial_password_at, 1 LIMIT greatest(1, %(limit)s)"""

# What the bridge goes by at run time, by the name under which it is reported.
_FEATURES = {
    "litellm": {
        "organization_memberships": ("LiteLLM_OrganizationMembership", None),
        "end_users": ("LiteLLM_EndUserTable", None),
        "object_permissions": ("LiteLLM_ObjectPermissionTable", None),
        "user_teams": ("LiteLLM_UserTable", "teams"),
    },
    "openwebui": {
        "group_members": ("group_member", None),
        "group_parents": ("group", "parent_group_id"),
        "access_grants": ("access_grant", None),
        "api_keys_in_user": ("user", "api_key"),
        "api_keys": ("api_key", None),
        "session_stamps": ("auth", "session_stamp"),
    },
}
_FEATURE = """
SELECT EXISTS (SELECT FROM pg_class AS c WHERE c.relnamespace = 'public'::regnamespace AND c.relname = %(table)s
                  AND c.relkind IN ('r', 'p')
                  AND (%(column)s::text IS NULL
                       OR EXISTS (SELECT FROM pg_attribute AS a
                                   WHERE a.attrelid = c.oid AND a.attname = %(column)s AND NOT a.attisdropped)))"""

# What the owner role must be able to do, as far as the tables are there.
_NEEDED = {
    "litellm": (
        "SELECT",
        (
            "LiteLLM_OrganizationTable",
            "LiteLLM_OrganizationMembership",
            "LiteLLM_TeamTable",
            "LiteLLM_UserTable",
            "LiteLLM_VerificationToken",
        ),
    ),
    "openwebui": ("SELECT, INSERT, UPDATE, DELETE", ("user", "auth", "group", "group_member")),
}
_GRANTS = """
SELECT c.relname::text AS "table", r.rolname::text AS role, p.name AS privilege,
       has_table_privilege(r.oid, c.oid, p.name) AS granted
  FROM pg_class AS c
 CROSS JOIN pg_roles AS r
 CROSS JOIN unnest(string_to_array(%(privileges)s, ', ')) AS p(name)
 WHERE c.relnamespace = 'public'::regnamespace AND c.relname = ANY (%(tables)s::text[]) AND c.relkind IN ('r', 'p')
   AND r.rolname = %(owner)s ORDER BY 1, 3"""


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
        "features": _features(cur, side),
        "grants": _grants(cur, side, owner),
    }
    return report, live


def _features(cur: Any, side: str) -> dict[str, bool]:
    return {
        name: bool(_pg.value(cur, _FEATURE, {"table": table, "column": column}))
        for name, (table, column) in _FEATURES[side].items()
    }


def _grants(cur: Any, side: str, owner: str) -> list[dict[str, Any]]:
    """What the owner role may do with the program's tables; empty when there is no such role."""
    privileges, tables = _NEEDED[side]
    return _pg.rows(cur, _GRANTS, {"privileges": privileges, "tables": list(tables), "owner": owner})


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
    found: dict[str, Any] = {
        "queue": None,
        "errors": [],
        "causes": [],
        "last_errors": [],
        "mapped": None,
        "skipped_users": None,
        "trigger_faults": None,
        "removals": None,
        "settings": None,
    }
    if ("table", f"{SCHEMA}.sync_queue") not in live:
        return found
    queue = report.look(cur, "queue", _QUEUE)
    if queue:
        types = f"SELECT entity_type AS type, count(*) AS n FROM {SCHEMA}.sync_queue GROUP BY 1 ORDER BY 1"
        found["queue"] = {**queue[0], "by_type": {row["type"]: row["n"] for row in _pg.rows(cur, types)}}
        # All of them make the causes, however few are listed.
        errors = report.look(cur, "errors", _ERRORS) or []
        found["causes"] = grouped(errors)
        found["errors"] = [{**row, **cause(row["sqlstate"], row["message"])._asdict()} for row in errors[:limit]]
        for row in found["errors"]:
            row["cause"] = row.pop("name")
    found["last_errors"] = report.look(cur, "audit", _LAST_ERRORS, {"limit": limit}) or []
    mapped = report.look(
        cur, "mapping", f"SELECT litellm_type AS type, count(*) AS n FROM {SCHEMA}.sync_mapping GROUP BY 1 ORDER BY 1"
    )
    if mapped is not None:
        found["mapped"] = {row["type"]: row["n"] for row in mapped}
        found["skipped_users"] = report.look(cur, "skipped users", _SKIPPED)
    faults = report.look(cur, "trigger faults", TRIGGER_FAULTS)
    found["trigger_faults"] = faults[0]["n"] if faults else None
    found["removals"] = _listed(report.look(cur, "removals", _REMOVALS, {"limit": limit}), limit)
    try:
        with _pg.savepoint(cur):
            settings = read_settings(cur, live) or {}
        found["settings"] = {name: value for name, value in settings.items() if name in (*SPEC, "paused")}
    except _pg.PgError as error:
        if _pg.sqlstate(error) not in _INVISIBLE:
            raise
        report.unseen.append({"what": "settings", "reason": _pg.describe(error)})
    return found


def _listed(rows: list[dict[str, Any]] | None, limit: int) -> dict[str, Any] | None:
    """How many there are in all, and the first of them."""
    if rows is None:
        return None
    total = rows[0]["total"] if rows else 0
    return {"total": total, "first": [{k: v for k, v in row.items() if k != "total"} for row in rows[:limit]]}


def look_for_drift(params: dict[str, Any], report: Report) -> dict[str, Any] | None:
    """What differs between both sides, by type. It takes a comparison of everything, of one half beside the other."""
    # Of about the same size: a user has a membership or two.
    halves = [[kind for kind in ENTITY_TYPES if kind.endswith("_member") is half] for half in (False, True)]
    with ThreadPoolExecutor(len(halves)) as pool:
        compared = [pool.submit(_differing, params, types) for types in halves]
    try:
        rows = [row for each in compared for row in each.result()]
    except BridgeError as error:
        # There was a connection for everything else; these two may be too many.
        report.unseen.append({"what": "drift", "reason": str(error)})
        return None
    except _pg.PgError as error:
        if _pg.sqlstate(error) not in (*_INVISIBLE, *_TARGET_AWAY, "22023"):
            raise
        report.unseen.append({"what": "drift", "reason": _pg.describe(error)})
        return None
    return {
        "entities": sum(row["entities"] for row in rows),
        "fields": sum(row["fields"] for row in rows),
        "by_type": {row["entity_type"]: row["entities"] for row in sorted(rows, key=lambda row: row["entity_type"])},
    }


def _differing(params: dict[str, Any], types: list[str]) -> list[dict[str, Any]]:
    cur = _pg.cursor(_pg.connect(params))
    with _pg.transaction(cur, read_only=True):
        _pg.set_role(cur, params["owner"])
        return _pg.rows(cur, _DRIFT, {"types": types})


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
            found = _connection.ask_target(cur, state.extension_schema or SCHEMA)
    except _pg.PgError as error:
        options = state.server_options
        user = (state.mapping_options or {}).get("user", "the sync user")
        reason, remedy = _connection.connection_problem(error, options, user)
        return {"state": "failed", "error": reason, "remedy": remedy, **nothing}
    finally:
        _pg.set_role(cur, None)
    return {"state": "ok", "error": None, "remedy": None, **found}


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
        for grant in found["grants"]:
            if not grant["granted"]:
                table, privilege = grant["table"], grant["privilege"]
                broken.append(f"{grant['role']} lacks {privilege} on table {table} ({side}): {_DEPLOY}")
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
        degraded += [f"{each['entities']} entities: {each['cause']}: {each['remedy']}" for each in info["causes"]]
    if info["trigger_faults"]:
        degraded.append(
            f"triggers could not compare their columns {info['trigger_faults']} times, because LiteLLM has changed one "
            f"that they know: upgrade the collection and {_DEPLOY}, then run bridge_sync with action reconcile and "
            "repair true, which finds what they may have missed and starts the count anew"
        )
    if info["removals"] and info["removals"]["total"]:
        degraded.append(
            f"{info['removals']['total']} removals are held back because they are too many at once: look at removals, "
            "then run bridge_sync with action approve_removals or reject_removals"
        )
    if info["drift"] and info["drift"]["entities"]:
        degraded.append(
            f"{info['drift']['entities']} entities differ between LiteLLM and Open WebUI: "
            "run bridge_sync with action reconcile and repair true"
        )
    passwords, hours = info["initial_passwords"], (info["settings"] or {}).get("initial_password_ttl_hours")
    if passwords and passwords["first"] and hours and passwords["first"][0]["seconds"] > (hours + 1) * 3600:
        degraded.append(
            f"initial passwords are older than initial_password_ttl_hours ({hours}): does the timer run maintain()?"
        )
    if queue and (queue["oldest_seconds"] or 0) > QUEUE_MAX_AGE_SECONDS:
        degraded.append(f"the oldest queued change waits since {queue['oldest_seconds']} seconds: does anything drain?")
    degraded += [f"could not see {item['what']}: {item['reason']}" for item in info["unseen"]]
    return {"status": "broken" if broken else "degraded" if degraded else "ok", "reasons": broken + degraded}


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
        report, live = look_at_side(cur, "litellm", params["owner"], version)
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
        report, live = look_at_side(cur, "openwebui", params["owner"], _pg.server_version(connection))
        if ("table", f"{SCHEMA}.entity") not in live:
            return report, None
        limit = params["limit"]
        return report, _listed(report.look(cur, "initial passwords", _INITIAL_PASSWORDS, {"limit": limit}), limit)
