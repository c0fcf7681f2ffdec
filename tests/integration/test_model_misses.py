# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rights on models where something is odd in LiteLLM's database: rows that cannot be read as a whole are in nobody's
way, and what a trigger cannot follow is found by comparing both sides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from kit import rows
from kit.bridge import change_settings
from kit.model_rows import (
    add_model,
    add_scope,
    change_model,
    configure,
    desired,
    drain,
    members,
    own_models,
    queued,
    set_aliases,
    team_models,
)
from kit.pairs import Pair, Session
from test_model_rule import delivered, entangle, stock

prepare = stock


@pytest.fixture
def models(prepared: Pair) -> Pair:
    return prepared


# The deepest JSON that PostgreSQL stores is too deep for it as a part of JSON


def deepen(pair: Pair, table: str, column: str, key: str, value: str) -> None:
    depth = rows.deepest(pair.litellm) - 40
    pair.litellm.run(f'UPDATE "LiteLLM_{table}" SET {column} = %s WHERE {key} = %s', ["[" * depth + "]" * depth, value])


def test_a_deep_budget_is_in_nobodys_way(models: Pair) -> None:
    rows.add_team(models.litellm, "t", models=["fake-a", "solo", "new"], members_with_roles=members("u", "v"))
    add_scope(models.litellm, "t", "u", ["solo", "new"])
    deepen(models, "BudgetTable", "model_max_budget", "budget_id", "budget of u in t")
    add_model(models.litellm, "new")
    drain(models)
    assert queued(models) == set()
    assert team_models(models, "t", "u") == {"solo", "new"}
    rows.update(models.litellm, "LiteLLM_BudgetTable", {"budget_id": "budget of u in t"}, {"allowed_models": ["solo"]})
    drain(models)
    assert team_models(models, "t", "u") == {"solo"}
    assert delivered(models, "t") == {"fake-a", "solo", "new"}


@contextmanager
def shallow(session: Session) -> Iterator[None]:
    """A session that may not go as deep."""
    session.run("SET max_stack_depth = '512kB'")
    yield
    session.run("RESET max_stack_depth")


@pytest.mark.schemas(litellm="all")
def test_a_deep_key_is_in_nobody_elses_way(models: Pair) -> None:
    rows.add_user(models.litellm, "u", "u@example.com")
    rows.add_key(models.litellm, "deep", "u", models=["solo"])
    deepen(models, "VerificationToken", "metadata", "token", "deep")
    models.litellm_admin.run("DELETE FROM user_bridge.known_key")
    with shallow(models.litellm_admin):
        assert models.litellm_admin.value("SELECT user_bridge.refresh_api_key()") == 1
    assert own_models(models, "u") == {"solo"}


def test_a_deep_deployment_is_followed(models: Pair) -> None:
    deepen(models, "ProxyModelTable", "model_info", "model_id", "solo")
    drain(models)
    with shallow(models.litellm_admin):
        change_model(models.litellm_admin, "solo", blocked=True)
    assert ("model", "solo") not in queued(models) and desired(models, "model", "solo") is None
    assert models.litellm_admin.value("SELECT is_called FROM user_bridge.trigger_faults") is False


# Triggers that fail


@dataclass(frozen=True)
class Miss:
    """A column that has another name while a row is written, and what is right afterwards."""

    table: str
    column: str
    write: Callable[[Pair], Any]
    is_right: Callable[[Pair], bool]


# Each from what those before it have left.
MISSES = {
    "a project": Miss(
        "ProjectTable",
        "models",
        lambda pair: pair.litellm.run("UPDATE \"LiteLLM_ProjectTable\" SET missed = '{solo}'"),
        lambda pair: own_models(pair, "v") == set(),
    ),
    "a scope": Miss(
        "BudgetTable",
        "allowed_models",
        lambda pair: pair.litellm.run("UPDATE \"LiteLLM_BudgetTable\" SET missed = '{fake-b}'"),
        lambda pair: team_models(pair, "t", "u") == {"fake-b"} and delivered(pair, "t") == {"fake-a", "fake-b"},
    ),
    "whose scope": Miss(
        "TeamMembership",
        "budget_id",
        lambda pair: pair.litellm.run("UPDATE \"LiteLLM_TeamMembership\" SET missed = 'b' WHERE user_id = 'v'"),
        lambda pair: team_models(pair, "t", "v") == {"fake-b"} == delivered(pair, "t"),
    ),
    "a model": Miss(
        "ProxyModelTable",
        "model_info",
        lambda pair: pair.litellm.run(
            "UPDATE \"LiteLLM_ProxyModelTable\" SET blocked = true WHERE model_id = 'fake-b'"
        ),
        lambda pair: desired(pair, "model", "fake-b") is None and delivered(pair, "t") == set(),
    ),
    "an access group": Miss(
        "AccessGroupTable",
        "assigned_team_ids",
        lambda pair: pair.litellm.run("UPDATE \"LiteLLM_AccessGroupTable\" SET access_model_names = '{fake.c}'"),
        lambda pair: own_models(pair, "w") == {"fake.c"},
    ),
    "a team's aliases": Miss(
        "ModelTable",
        "aliases",
        lambda pair: pair.litellm.run('UPDATE "LiteLLM_ModelTable" SET missed = \'{"fake-b": "solo"}\''),
        lambda pair: delivered(pair, "t") == {"solo"},
    ),
    "an alias": Miss(
        "Config",
        "param_value",
        lambda pair: pair.litellm.run(
            'UPDATE "LiteLLM_Config" SET missed = \'{"model_group_alias": {"short": "solo"}}\''
        ),
        lambda pair: desired(pair, "model", "short") is not None,
    ),
}


def losses(pair: Pair) -> int:
    return int(pair.litellm_admin.value("SELECT coalesce(pg_sequence_last_value('user_bridge.losses'), 0)"))


def test_what_a_trigger_could_not_follow_is_found_at_once(models: Pair) -> None:
    entangle(models)
    models.litellm_admin.run("SELECT user_bridge.resume()")
    change_settings(models, model_policy="keys")
    set_aliases(models.litellm, 7, {})
    configure(models.litellm, "router_settings", {})
    rows.change_team(models.litellm, "t", model_id=7)
    rows.add_user(models.litellm, "w", "w@example.com")
    rows.add_key(models.litellm, "kw", "w", models=["no-default-models"], access_group_ids=["ag"])
    for kind, miss in MISSES.items():
        change_settings(models, model_policy="keys" if kind in ("a project", "an access group") else "assigned")
        drain(models)
        before = losses(models)
        models.litellm.run(f'ALTER TABLE "LiteLLM_{miss.table}" RENAME COLUMN {miss.column} TO missed')
        assert miss.write(models) > 0, kind
        assert losses(models) > before, kind
        models.litellm.run(f'ALTER TABLE "LiteLLM_{miss.table}" RENAME COLUMN missed TO {miss.column}')
        drain(models)
        assert miss.is_right(models) and queued(models) == set(), kind


def test_spend_is_no_reason_to_compare_nor_is_anything_where_rights_are_not_followed(models: Pair) -> None:
    entangle(models)
    models.litellm.run('ALTER TABLE "LiteLLM_TeamMembership" RENAME COLUMN budget_id TO missed')
    models.litellm.run('UPDATE "LiteLLM_TeamMembership" SET spend = spend + 1')
    change_settings(models, model_access=False)
    models.litellm.run("UPDATE \"LiteLLM_TeamMembership\" SET missed = 'b'")
    assert losses(models) == 0
    assert models.litellm_admin.value("SELECT last_value FROM user_bridge.trigger_faults") == 4
    models.litellm.run('ALTER TABLE "LiteLLM_TeamMembership" RENAME COLUMN missed TO budget_id')


def test_what_could_not_be_recorded_is_found_at_once(models: Pair) -> None:
    """As where a transaction that sees an older state meets what has been written since."""
    session = models.litellm
    for user in ("u", "v"):
        rows.add_user(session, user, f"{user}@example.com", models=["no-default-models"])
    rows.add_team(session, "t", models=["fake-a", "solo"], members_with_roles=members("u"))
    drain(models)
    for table in ("known_key", "listed_member", "member_budget"):
        models.litellm_admin.run(f"ALTER TABLE user_bridge.{table} ADD CONSTRAINT odd CHECK (false) NOT VALID")
    before = losses(models)
    rows.add_key(session, "k", "v", team_id="t", models=["solo"])
    assert losses(models) == before + 1
    rows.change_team(session, "t", members_with_roles=members("u", "v"))
    assert losses(models) == before + 2
    add_scope(session, "t", "v", ["fake-a"])
    assert losses(models) == before + 3
    for table in ("known_key", "listed_member", "member_budget"):
        models.litellm_admin.run(f"ALTER TABLE user_bridge.{table} DROP CONSTRAINT odd")
    drain(models)
    assert queued(models) == set() and delivered(models, "t") == {"fake-a", "solo"}
    assert team_models(models, "t", "v") == {"fake-a"}
    assert models.litellm_admin.rows("SELECT 1 FROM user_bridge.stale_user_models() AS s(id)") == []
    assert models.litellm_admin.rows("SELECT 1 FROM user_bridge.wrong_keys()") == []
