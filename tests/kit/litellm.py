# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What LiteLLM itself writes: its endpoints' statements, as the newest supported proxy sends them through Prisma.

Each function is one API call. The session is an autocommit one with LiteLLM's own role; where the proxy opens a
transaction, so does the function.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from psycopg2.extras import Json

from kit.pairs import Session

_BY = "default_user_id"


def new_organization(session: Session, organization_id: str, alias: str) -> None:
    """/organization/new: a budget of its own first, then the organization."""
    session.run(
        'INSERT INTO public."LiteLLM_BudgetTable" (budget_id, created_by, updated_at, updated_by) '
        "VALUES (%s, %s, CURRENT_TIMESTAMP, %s)",
        [f"budget-{organization_id}", _BY, _BY],
    )
    session.run(
        'INSERT INTO public."LiteLLM_OrganizationTable" '
        "(organization_id, organization_alias, budget_id, metadata, models, created_by, updated_at, updated_by) "
        "VALUES (%s, %s, %s, '{}', '{}', %s, CURRENT_TIMESTAMP, %s)",
        [organization_id, alias, f"budget-{organization_id}", _BY, _BY],
    )


def update_organization(session: Session, organization_id: str, alias: str) -> None:
    """/organization/update"""
    session.run(
        'UPDATE public."LiteLLM_OrganizationTable" SET organization_alias = %s, updated_at = CURRENT_TIMESTAMP, '
        "updated_by = %s WHERE organization_id = %s",
        [alias, _BY, organization_id],
    )


def delete_organization(session: Session, organization_id: str) -> None:
    """/organization/delete: one statement after the other, without a transaction."""
    for table in ("LiteLLM_TeamTable", "LiteLLM_OrganizationMembership", "LiteLLM_VerificationToken"):
        session.run(f'DELETE FROM public."{table}" WHERE organization_id = %s', [organization_id])
    session.run('DELETE FROM public."LiteLLM_OrganizationTable" WHERE organization_id = %s', [organization_id])


def new_team(session: Session, team_id: str, alias: str | None, organization_id: str | None = None) -> None:
    """/team/new: whoever holds the master key becomes its first admin."""
    session.run(
        'INSERT INTO public."LiteLLM_TeamTable" (team_id, team_alias, organization_id, admins, members, '
        "members_with_roles, metadata, models, updated_at) "
        "VALUES (%s, %s, %s, '{}', '{}', %s, '{}', '{}', CURRENT_TIMESTAMP)",
        [team_id, alias, organization_id, Json([{"role": "admin", "user_id": _BY, "user_email": None}])],
    )


def update_team(session: Session, team_id: str, **columns: Any) -> None:
    """/team/update: the columns that were sent, and updated_at."""
    _update(session, "LiteLLM_TeamTable", "team_id", team_id, columns)


def new_user(
    session: Session,
    user_id: str,
    email: str | None = None,
    alias: str | None = None,
    role: str | None = "internal_user",
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """/user/new with auto_create_key=false. The email is stored as it was typed."""
    session.run(
        'INSERT INTO public."LiteLLM_UserTable" '
        "(user_id, user_alias, user_email, user_role, teams, models, metadata, created_at, updated_at) "
        "VALUES (%s, %s, %s, %s, '{}', '{}', %s, CURRENT_TIMESTAMP, CURRENT_TIMESTAMP)",
        [user_id, alias, email, role, Json(dict(metadata or {}))],
    )


def update_user(session: Session, user_id: str, **columns: Any) -> None:
    """/user/update: the columns that were sent, and updated_at."""
    _update(session, "LiteLLM_UserTable", "user_id", user_id, columns)


def delete_user(session: Session, user_id: str) -> None:
    """/user/delete: out of the teams first, then one transaction."""
    teams = session.value('SELECT teams FROM public."LiteLLM_UserTable" WHERE user_id = %s', [user_id])
    for team_id in teams or []:
        _set_members(session, team_id, [m for m in _members(session, team_id) if m.get("user_id") != user_id])
    session.run('DELETE FROM public."LiteLLM_VerificationToken" WHERE user_id = %s', [user_id])
    with session.transaction():
        session.run('DELETE FROM public."LiteLLM_InvitationLink" WHERE user_id = %s', [user_id])
        session.run('DELETE FROM public."LiteLLM_OrganizationMembership" WHERE user_id = %s', [user_id])
        session.run('DELETE FROM public."LiteLLM_TeamMembership" WHERE user_id = %s', [user_id])
        session.run('DELETE FROM public."LiteLLM_UserTable" WHERE user_id = %s', [user_id])


def add_organization_member(session: Session, organization_id: str, user_id: str, role: str = "internal_user") -> None:
    """/organization/member_add; it leaves the user's own row alone."""
    session.run(
        'INSERT INTO public."LiteLLM_OrganizationMembership" (user_id, organization_id, user_role, updated_at) '
        "VALUES (%s, %s, %s, CURRENT_TIMESTAMP)",
        [user_id, organization_id, role],
    )


def delete_organization_member(session: Session, organization_id: str, user_id: str) -> None:
    """/organization/member_delete"""
    session.run(
        'DELETE FROM public."LiteLLM_OrganizationMembership" WHERE user_id = %s AND organization_id = %s',
        [user_id, organization_id],
    )


def add_team_member(session: Session, team_id: str, user_id: str, role: str = "user") -> None:
    """/team/member_add: a no-op write to the user, the mirror in its row, then the list that counts."""
    with session.transaction():
        session.run("SELECT pg_advisory_xact_lock(hashtext(%s))", [team_id])
        session.run(
            'UPDATE public."LiteLLM_UserTable" SET updated_at = CURRENT_TIMESTAMP WHERE user_id = %s', [user_id]
        )
        session.run(
            'UPDATE public."LiteLLM_UserTable" SET teams = array_append(teams, %s) WHERE user_id = %s',
            [team_id, user_id],
        )
        session.run(
            'INSERT INTO public."LiteLLM_TeamMembership" (user_id, team_id) VALUES (%s, %s)', [user_id, team_id]
        )
        member = {"role": role, "user_id": user_id, "user_email": None}
        _set_members(session, team_id, [*_members(session, team_id), member])


def delete_team_member(session: Session, team_id: str, user_id: str) -> None:
    """/team/member_delete: the list that counts, then its mirrors."""
    with session.transaction():
        session.run("SELECT pg_advisory_xact_lock(hashtext(%s))", [team_id])
        _set_members(session, team_id, [m for m in _members(session, team_id) if m.get("user_id") != user_id])
        session.run(
            'UPDATE public."LiteLLM_UserTable" SET teams = array_remove(teams, %s) WHERE user_id = %s',
            [team_id, user_id],
        )
        session.run(
            'DELETE FROM public."LiteLLM_TeamMembership" WHERE team_id = %s AND user_id = %s', [team_id, user_id]
        )


def flush_spend(session: Session, spend: Mapping[str, float]) -> None:
    """The spend flush, every ten seconds: one transaction, one UPDATE for each active user, sorted by id."""
    with session.transaction():
        session.run("SELECT set_config('lock_timeout', '5000ms', true)")
        for user_id, amount in sorted(spend.items()):
            session.run(
                'UPDATE public."LiteLLM_UserTable" SET spend = spend + %s, updated_at = CURRENT_TIMESTAMP '
                "WHERE user_id = %s",
                [amount, user_id],
            )


def _update(session: Session, table: str, key: str, value: str, columns: Mapping[str, Any]) -> None:
    assignments = "".join(f'"{name}" = %({name})s, ' for name in columns)
    values = {name: Json(each) if isinstance(each, dict) else each for name, each in columns.items()}
    session.run(
        f'UPDATE public."{table}" SET {assignments}updated_at = CURRENT_TIMESTAMP WHERE {key} = %(the_key)s',
        {**values, "the_key": value},
    )


def _members(session: Session, team_id: str) -> list[dict[str, Any]]:
    """The authoritative list; a team without members has an object there."""
    members = session.value('SELECT members_with_roles FROM public."LiteLLM_TeamTable" WHERE team_id = %s', [team_id])
    return members if isinstance(members, list) else []


def _set_members(session: Session, team_id: str, members: list[dict[str, Any]]) -> None:
    session.run(
        'UPDATE public."LiteLLM_TeamTable" SET members_with_roles = %s, updated_at = CURRENT_TIMESTAMP '
        "WHERE team_id = %s",
        [Json(members), team_id],
    )
