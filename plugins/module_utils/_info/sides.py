# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What both sides have in common: server, installed version, state of every object, counts, features, grants.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._catalog.compare import drift
from ansible_collections.llmops.user_bridge.plugins.module_utils._catalog.live import Live, live_objects
from ansible_collections.llmops.user_bridge.plugins.module_utils._catalog.records import Record, read_records
from ansible_collections.llmops.user_bridge.plugins.module_utils._catalog.restored import restored_by
from ansible_collections.llmops.user_bridge.plugins.module_utils._info.report import INVISIBLE, Report
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import SCHEMA, Roles

# What is counted in, and looked at beyond that, as far as it is there.
COUNTED = {
    "litellm": frozenset(
        {
            "LiteLLM_OrganizationMembership",
            "LiteLLM_OrganizationTable",
            "LiteLLM_TeamTable",
            "LiteLLM_UserTable",
            "LiteLLM_VerificationToken",
        }
    ),
    "openwebui": frozenset({"auth", "group", "group_member", "user"}),
}
_LITELLM_COUNTS = """
SELECT (SELECT count(*) FROM public."LiteLLM_OrganizationTable") AS organizations, t.teams, u.users,
       u.users_with_email,
       (SELECT count(*) FROM public."LiteLLM_OrganizationMembership") AS organization_members, t.team_members,
       (SELECT count(*) FROM public."LiteLLM_VerificationToken") AS api_keys
  FROM (SELECT count(*) AS users, count(*) FILTER (WHERE btrim(user_email) <> '') AS users_with_email
          FROM public."LiteLLM_UserTable") AS u,
       (SELECT count(*) AS teams,
               coalesce(sum(CASE jsonb_typeof(members_with_roles)
                            WHEN 'array' THEN jsonb_array_length(members_with_roles) END), 0)::bigint AS team_members
          FROM public."LiteLLM_TeamTable") AS t"""

_OPENWEBUI_COUNTS = """
SELECT (SELECT count(*) FROM public."group") AS groups, count(*) AS users,
       count(*) FILTER (WHERE role = 'admin') AS admins, count(*) FILTER (WHERE role = 'pending') AS pending
  FROM public."user" """

_MEMBERS = "SELECT count(*) AS n FROM public.group_member"
_MEMBERS_BEFORE_0_6_37 = """
SELECT coalesce(sum(CASE json_typeof(user_ids) WHEN 'array' THEN json_array_length(user_ids) END), 0)::bigint AS n
  FROM public."group" """

# Tables and columns that not every version of the programs has, by the name under which they are reported.
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

_RESTORED = (
    "restored from a dump, and all of it belongs to {}, so nothing is delivered; LiteLLM's and Open WebUI's own writes "
    "are not held up"
)

# What the program role must be able to do, as far as the tables are there, and what the owner role was granted.
_GRANTS = f"""
SELECT c.relname::text AS "table", r.rolname::text AS role, e.privilege, true AS needed,
       CASE WHEN strpos(e.privilege, '(') > 0
            THEN has_any_column_privilege(r.oid, c.oid, split_part(e.privilege, ' ', 1))
            ELSE has_table_privilege(r.oid, c.oid, e.privilege) END AS granted
  FROM {SCHEMA}.expected_grants() AS e
  JOIN pg_class AS c ON c.relname = e.table_name AND c.relnamespace = 'public'::regnamespace
   AND c.relkind IN ('r', 'p')
  JOIN pg_roles AS r ON r.rolname = %(program)s
 UNION
SELECT c.relname::text, r.rolname::text, a.privilege_type, false, true
  FROM pg_class AS c
  LEFT JOIN pg_attribute AS t ON t.attrelid = c.oid AND t.attacl IS NOT NULL
 CROSS JOIN LATERAL (SELECT * FROM aclexplode(c.relacl) UNION ALL SELECT * FROM aclexplode(t.attacl)) AS a
  JOIN pg_roles AS r ON r.oid = a.grantee AND r.rolname = %(owner)s
 WHERE c.relnamespace = 'public'::regnamespace
 ORDER BY 1, 2, 3"""


def look_at_side(
    cur: Any, side: str, roles: Roles, server_version: int, proved: frozenset[str]
) -> tuple[Report, dict[tuple[str, str], Live]]:
    """Look at a side (litellm or openwebui); returns what was seen, and the bridge's objects by kind and label.

    Proved are the tables of COUNTED that can be read.
    """
    report = Report()
    (server,) = _pg.rows(
        cur, "SELECT current_database()::text AS database, current_setting('server_version') AS server_version"
    )
    live = live_objects(cur, roles)
    restorer = restored_by(cur, roles)
    if restorer:
        # Nothing in it is read or called: it could be anybody's.
        state = {"kind": "schema", "name": SCHEMA, "state": "changed", "reason": _RESTORED.format(restorer)}
        objects = {"installed": True, "version": None, "objects": [state], "grants": []}
        counts = {"counts": _counts(cur, report, side, proved), "features": _features(cur, side)}
        report.found = {**server, **objects, **counts}
        return report, {}
    recorded = _records(cur, report, side, live)
    version = recorded.get(("bridge", side)) if recorded else None
    installed = any(kind in ("table", "function") for kind, _name in live)
    report.found = {
        **server,
        "installed": installed,
        "version": version.version if version else None,
        "objects": [] if recorded is None else drift(live, recorded, roles.owner, _pg.major_of(server_version)),
        "counts": _counts(cur, report, side, proved),
        "features": _features(cur, side),
        "grants": report.look(cur, f"{side}: grants", _GRANTS, asdict(roles)) or [] if installed else [],
    }
    return report, live


def _features(cur: Any, side: str) -> dict[str, bool]:
    return {
        name: bool(_pg.value(cur, _FEATURE, {"table": table, "column": column}))
        for name, (table, column) in _FEATURES[side].items()
    }


def _records(
    cur: Any, report: Report, side: str, live: dict[tuple[str, str], Live]
) -> dict[tuple[str, str], Record] | None:
    try:
        with _pg.savepoint(cur):
            return read_records(cur, live)
    except _pg.PgError as error:
        if _pg.sqlstate(error) not in INVISIBLE:
            raise
        report.unseen.append({"what": f"{side}: state of the objects", "reason": _pg.describe(error)})
        return None


def _counts(cur: Any, report: Report, side: str, proved: frozenset[str]) -> dict[str, Any] | None:
    if side == "litellm":
        rows = report.look_at_tables(cur, "litellm: counts", _LITELLM_COUNTS, (COUNTED[side], proved))
        return rows[0] if rows else None
    needed = frozenset({"group", "user"})
    rows = report.look_at_tables(cur, "openwebui: counts", _OPENWEBUI_COUNTS, (needed, proved))
    if not rows:
        return None
    # Before Open WebUI 0.6.37 a group has its members in a column.
    table = _pg.value(cur, "SELECT true FROM pg_class WHERE oid = to_regclass('public.group_member')")
    query, needed = (_MEMBERS, frozenset({"group_member"})) if table else (_MEMBERS_BEFORE_0_6_37, needed)
    members = report.look_at_tables(cur, "openwebui: counts of members", query, (needed, proved))
    return {**rows[0], "group_members": members[0]["n"] if members else None}
