# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Single rows of LiteLLM's tables, with whatever columns a test is about; kit.litellm has its whole API calls."""

from __future__ import annotations

from typing import Any

from psycopg2.errors import StatementTooComplex
from psycopg2.extras import Json

from kit.pairs import Session

Columns = dict[str, Any]


def insert(session: Session, table: str, columns: Columns) -> None:
    names = ", ".join(f'"{name}"' for name in columns)
    marks = ", ".join(["%s"] * len(columns))
    session.run(f'INSERT INTO "{table}" ({names}) VALUES ({marks})', [_value(value) for value in columns.values()])


# = by its full name: a test may plant another one.
def update(session: Session, table: str, key: Columns, columns: Columns) -> int:
    assignments = ", ".join(f'"{name}" = %s' for name in columns)
    conditions = " AND ".join(f'"{name}" OPERATOR(pg_catalog.=) %s' for name in key)
    values = [_value(value) for value in (*columns.values(), *key.values())]
    return session.run(f'UPDATE "{table}" SET {assignments} WHERE {conditions}', values)


def delete(session: Session, table: str, key: Columns) -> int:
    conditions = " AND ".join(f'"{name}" OPERATOR(pg_catalog.=) %s' for name in key)
    return session.run(f'DELETE FROM "{table}" WHERE {conditions}', list(key.values()))


def _value(value: Any) -> Any:
    """Objects and lists of objects are jsonb columns; a list of anything else is a PostgreSQL array."""
    is_json = isinstance(value, dict) or (isinstance(value, list) and any(isinstance(each, dict) for each in value))
    return Json(value) if is_json else value


def add_user(session: Session, user_id: str, email: str | None = None, **columns: Any) -> None:
    insert(session, "LiteLLM_UserTable", {"user_id": user_id, "user_email": email, **columns})


def change_user(session: Session, user_id: str, **columns: Any) -> int:
    return update(session, "LiteLLM_UserTable", {"user_id": user_id}, columns)


def delete_user(session: Session, user_id: str) -> int:
    delete(session, "LiteLLM_OrganizationMembership", {"user_id": user_id})
    return delete(session, "LiteLLM_UserTable", {"user_id": user_id})


def add_organization(session: Session, organization_id: str, alias: str) -> None:
    budget = f"budget of {organization_id}"
    by = {"created_by": "admin", "updated_by": "admin"}
    insert(session, "LiteLLM_BudgetTable", {"budget_id": budget, **by})
    organization = {"organization_id": organization_id, "organization_alias": alias, "budget_id": budget}
    insert(session, "LiteLLM_OrganizationTable", {**organization, **by})


def rename_organization(session: Session, organization_id: str, alias: str) -> int:
    key = {"organization_id": organization_id}
    return update(session, "LiteLLM_OrganizationTable", key, {"organization_alias": alias})


def delete_organization(session: Session, organization_id: str) -> int:
    key = {"organization_id": organization_id}
    delete(session, "LiteLLM_OrganizationMembership", key)
    return delete(session, "LiteLLM_OrganizationTable", key)


def join_organization(session: Session, organization_id: str, user_id: str) -> None:
    insert(session, "LiteLLM_OrganizationMembership", {"user_id": user_id, "organization_id": organization_id})


def leave_organization(session: Session, organization_id: str, user_id: str) -> int:
    return delete(session, "LiteLLM_OrganizationMembership", {"user_id": user_id, "organization_id": organization_id})


def add_team(session: Session, team_id: str, alias: str | None = None, **columns: Any) -> None:
    insert(session, "LiteLLM_TeamTable", {"team_id": team_id, "team_alias": alias, **columns})


def change_team(session: Session, team_id: str, **columns: Any) -> int:
    return update(session, "LiteLLM_TeamTable", {"team_id": team_id}, columns)


def delete_team(session: Session, team_id: str) -> int:
    return delete(session, "LiteLLM_TeamTable", {"team_id": team_id})


def add_key(session: Session, token: str, user_id: str | None, **columns: Any) -> None:
    insert(session, "LiteLLM_VerificationToken", {"token": token, "user_id": user_id, **columns})


def flush_spend(session: Session, user_ids: list[str], amount: float) -> None:
    """The statement of LiteLLM's spend flush (db_spend_update_writer), once for each user."""
    for user_id in user_ids:
        session.run(
            'UPDATE "LiteLLM_UserTable" SET spend = spend + %s, updated_at = now() WHERE user_id = %s',
            [amount, user_id],
        )


def deepest(session: Session) -> int:
    """How deep an array may be that PostgreSQL stores, about."""
    fits, fails = 1000, 100_000
    while fails - fits > 20:
        depth = (fits + fails) // 2
        try:
            session.value("SELECT %s::jsonb IS NULL", ["[" * depth + "]" * depth])
            fits = depth
        except StatementTooComplex:
            fails = depth
    return fits
