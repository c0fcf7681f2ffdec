# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the two databases hold, for a person to compare at a glance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kit.pairs import Session

NOTHING = "-"


@dataclass(frozen=True)
class Mirror:
    """Open WebUI's people and groups, by id."""

    users: dict[str, dict[str, Any]]
    groups: dict[str, dict[str, Any]]


def read_openwebui(session: Session) -> Mirror:
    """As Open WebUI's own role reads them."""
    users = session.rows(
        'SELECT u.id, u.name, u.email, u.role, coalesce(a.active, false) AS can_sign_in FROM "user" u '
        "LEFT JOIN auth a USING (id) ORDER BY u.created_at, u.id"
    )
    groups = session.rows(
        'SELECT g.id, g.name, array_remove(array_agg(u.name ORDER BY u.name), NULL) AS members FROM "group" g '
        'LEFT JOIN group_member m ON m.group_id = g.id LEFT JOIN "user" u ON u.id = m.user_id GROUP BY g.id, g.name '
        "ORDER BY g.id"
    )
    return Mirror({row["id"]: row for row in users}, {row["id"]: row for row in groups})


def changes(before: Mirror, after: Mirror) -> list[str]:
    """What is new, different or gone in Open WebUI, in words."""
    told = []
    for kind, old, new in (("user", before.users, after.users), ("group", before.groups, after.groups)):
        for key in sorted(old.keys() | new.keys()):
            if key not in new:
                told.append(f"{kind} {old[key]['name']} is gone")
            elif key not in old:
                told.append(f"new {kind} {_describe(new[key])}")
            elif old[key] != new[key]:
                told.append(f"{kind} {_describe(new[key])}")
    return told


def side_by_side(litellm: Session, mirror: Mirror) -> list[tuple[str, str, str]]:
    """Kind, LiteLLM's side, Open WebUI's side: one row for each organization, team, user and foreign account.

    Which row stands for which is the bridge's own mapping; why there is none is its own audit.
    """
    mapped = {
        (row["litellm_type"], row["litellm_id"]): row["openwebui_id"]
        for row in litellm.rows("SELECT litellm_type, litellm_id, openwebui_id FROM user_bridge.sync_mapping")
    }
    skipped = {
        row["record_id"]: row["error_message"]
        for row in litellm.rows(
            "SELECT record_id, error_message FROM user_bridge.sync_audit WHERE sync_result = 'SKIPPED' ORDER BY id"
        )
    }
    everything = {**mirror.users, **mirror.groups}
    table = []
    for row in litellm.rows(_LITELLM):
        target = everything.pop(mapped.get((row["kind"], row["id"]), ""), None)
        reason = skipped.get(row["id"])
        there = _describe(target) if target else f"{NOTHING} ({reason})" if reason else NOTHING
        table.append((row["kind"], row["text"], there))
    foreign = [
        ("user" if row["id"] in mirror.users else "group", NOTHING, _describe(row)) for row in everything.values()
    ]
    return table + foreign


def who_sees_what(litellm: Session, openwebui: Session) -> list[tuple[str, str, str]]:
    """A person, why LiteLLM lets the person use which models, and what Open WebUI's model menu offers."""
    offered = {row["email"]: row["models"] for row in openwebui.rows(_OFFERED)}
    return [(row["name"], row["text"], offered.get(row["email"], NOTHING)) for row in litellm.rows(_RIGHTS)]


def _describe(row: dict[str, Any]) -> str:
    if "members" in row:
        return f"{row['name']} {{{', '.join(row['members'])}}}"
    return f"{row['name']} <{row['email']}> {row['role']}{'' if row['can_sign_in'] else ', cannot sign in'}"


_RIGHTS = """
SELECT u.user_alias AS name, lower(u.user_email) AS email,
       CASE WHEN u.user_role = 'proxy_admin' THEN 'proxy_admin: everything'
            ELSE coalesce(nullif(concat_ws('; ', 'own list: ' || nullif(array_to_string(u.models, ', '), ''),
                (SELECT string_agg(format('team %s: %s', t.team_alias, array_to_string(t.models, ', ')), '; ')
                   FROM public."LiteLLM_TeamTable" AS t WHERE t.team_id = ANY (u.teams))), ''), 'no list: everything')
       END AS text
  FROM public."LiteLLM_UserTable" AS u WHERE u.user_email IS NOT NULL ORDER BY u.user_id
"""
# As Open WebUI decides: administrators see every model, others what is granted to them or to a group of theirs.
_OFFERED = """
SELECT u.email, string_agg(m.id, ', ' ORDER BY m.id) AS models
  FROM "user" AS u
  JOIN model AS m ON u.role = 'admin' OR EXISTS (
       SELECT FROM access_grant AS g
        WHERE g.resource_type = 'model' AND g.resource_id = m.id AND g.permission = 'read'
          AND (g.principal_type = 'user' AND g.principal_id = u.id
               OR g.principal_type = 'group'
                  AND g.principal_id IN (SELECT group_id FROM group_member WHERE user_id = u.id)))
 GROUP BY u.email
"""
_LITELLM = """
SELECT 'organization' AS kind, o.organization_id AS id,
       format('%s {%s}', o.organization_alias, string_agg(u.user_alias, ', ' ORDER BY u.user_alias)) AS text
  FROM public."LiteLLM_OrganizationTable" o
  LEFT JOIN public."LiteLLM_OrganizationMembership" m USING (organization_id)
  LEFT JOIN public."LiteLLM_UserTable" u ON u.user_id = m.user_id
 GROUP BY o.organization_id
UNION ALL
SELECT 'team', t.team_id, format('%s {%s}', t.team_alias, string_agg(u.user_alias, ', ' ORDER BY u.user_alias))
  FROM public."LiteLLM_TeamTable" t
  LEFT JOIN public."LiteLLM_UserTable" u ON t.team_id = ANY (u.teams)
 GROUP BY t.team_id
UNION ALL
SELECT 'user', u.user_id, format('%s <%s> %s', u.user_alias, coalesce(u.user_email, 'no email'), u.user_role)
  FROM public."LiteLLM_UserTable" u
 ORDER BY kind, id
"""
