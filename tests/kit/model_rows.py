# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows of LiteLLM's tables that decide about models, and what the bridge makes of them."""

from __future__ import annotations

import json
from typing import Any

from kit.drains import drain_on
from kit.pairs import Pair, Session
from kit.rows import Columns, delete, insert, update

_BY = {"created_by": "admin", "updated_by": "admin"}


def add_model(session: Session, name: str, model_id: str | None = None, **columns: Any) -> None:
    values: Columns = {
        "model_id": model_id or name,
        "model_name": name,
        "litellm_params": {"model": name},
        **_BY,
        **columns,
    }
    insert(session, "LiteLLM_ProxyModelTable", values)


def change_model(session: Session, model_id: str, **columns: Any) -> int:
    return update(session, "LiteLLM_ProxyModelTable", {"model_id": model_id}, columns)


def delete_model(session: Session, model_id: str) -> int:
    return delete(session, "LiteLLM_ProxyModelTable", {"model_id": model_id})


def add_budget(session: Session, budget_id: str, **columns: Any) -> None:
    insert(session, "LiteLLM_BudgetTable", {"budget_id": budget_id, **_BY, **columns})


def change_budget(session: Session, budget_id: str, **columns: Any) -> int:
    return update(session, "LiteLLM_BudgetTable", {"budget_id": budget_id}, columns)


def add_membership(session: Session, team_id: str, user_id: str, budget_id: str | None = None) -> None:
    insert(session, "LiteLLM_TeamMembership", {"team_id": team_id, "user_id": user_id, "budget_id": budget_id})


def change_membership(session: Session, team_id: str, user_id: str, **columns: Any) -> int:
    return update(session, "LiteLLM_TeamMembership", {"team_id": team_id, "user_id": user_id}, columns)


def add_scope(session: Session, team_id: str, user_id: str, models: list[str]) -> None:
    """A member's own budget, in which LiteLLM keeps what he may call of his team's models."""
    budget_id = f"budget of {user_id} in {team_id}"
    add_budget(session, budget_id, allowed_models=models)
    add_membership(session, team_id, user_id, budget_id)


def add_access_group(session: Session, group_id: str, models: list[str], **columns: Any) -> None:
    values = {"access_group_id": group_id, "access_group_name": group_id, "access_model_names": models, **columns}
    insert(session, "LiteLLM_AccessGroupTable", {**values, "updated_at": "2026-01-01"})


def change_access_group(session: Session, group_id: str, **columns: Any) -> int:
    return update(session, "LiteLLM_AccessGroupTable", {"access_group_id": group_id}, columns)


def add_project(session: Session, project_id: str, models: list[str], **columns: Any) -> None:
    insert(session, "LiteLLM_ProjectTable", {"project_id": project_id, "models": models, **_BY, **columns})


def change_project(session: Session, project_id: str, **columns: Any) -> int:
    return update(session, "LiteLLM_ProjectTable", {"project_id": project_id}, columns)


def set_aliases(session: Session, number: int, aliases: dict[str, str]) -> None:
    """The row to which a team's model_id points."""
    session.run(
        'INSERT INTO "LiteLLM_ModelTable" (id, aliases, created_by, updated_by) VALUES (%s, %s, %s, %s) '
        "ON CONFLICT (id) DO UPDATE SET aliases = excluded.aliases",
        [number, json.dumps(aliases), "admin", "admin"],
    )


def configure(session: Session, param: str, value: dict[str, Any]) -> None:
    session.run(
        'INSERT INTO "LiteLLM_Config" (param_name, param_value) VALUES (%s, %s) '
        "ON CONFLICT (param_name) DO UPDATE SET param_value = excluded.param_value",
        [param, json.dumps(value)],
    )


def members(*user_ids: str) -> list[dict[str, str]]:
    """As members_with_roles has them."""
    return [{"user_id": user_id, "role": "user"} for user_id in user_ids]


# What the bridge makes of them


def desired(pair: Pair, entity_type: str, entity_id: str) -> Any:
    query = "SELECT desired FROM user_bridge.desired_states(ARRAY[%s], ARRAY[%s])"
    return pair.litellm_admin.value(query, [entity_type, entity_id])


def own_models(pair: Pair, user_id: str) -> set[str] | None:
    """What somebody may see beside the teams' groups: by sets and by grants of his own; None for nobody."""
    wanted = desired(pair, "user_models", user_id)
    if wanted is None:
        return None
    sets = [desired(pair, "model_set", each) for each in wanted["sets"]]
    assert None not in sets
    return set(wanted["models"]).union(*(each["models"] for each in sets))


def team_models(pair: Pair, team_id: str, user_id: str) -> set[str]:
    """What a member may see by a team."""
    seen: set[str] = set()
    for holder in desired(pair, "team_models", team_id)["holders"]:
        if holder["group"] is None or user_id in holder["members"]:
            seen |= set(holder["models"])
    return seen


def queued(pair: Pair) -> set[tuple[str, str]]:
    rows = pair.litellm_admin.rows("SELECT entity_type, entity_id FROM user_bridge.sync_queue")
    return {(row["entity_type"], row["entity_id"]) for row in rows}


def drain(pair: Pair) -> None:
    """Everything that is queued, and what comes of it."""
    drain_on(pair, 1000, due_only=True)
