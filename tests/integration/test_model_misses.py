# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rights on models where something is odd in LiteLLM's database: rows that cannot be read as a whole are in nobody's
way, and what a trigger cannot follow is found by comparing both sides.
"""

from __future__ import annotations

import json
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
from test_model_rule import ALL, entangle, stock

prepare = stock


@pytest.fixture
def models(prepared: Pair) -> Pair:
    return prepared


# The deepest JSON that PostgreSQL stores is too deep for it as a part of JSON


def delivered(pair: Pair, team_id: str) -> set[str]:
    query = (
        "SELECT g.model FROM user_bridge.model_grant AS g "
        "LEFT JOIN user_bridge.model_group AS m ON g.holder_type = 'group' AND m.group_id = g.holder_id "
        "WHERE (g.holder_type, g.holder_id) = ('team', %(team)s) "
        "OR (m.entity_type, m.entity_id) = ('team_models', %(team)s)"
    )
    return {row["model"] for row in pair.openwebui_admin.rows(query, {"team": team_id})}


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


# JSON and names as nobody expects them

ODD_LISTS: list[Any] = [None, {"grp": 1}, "grp", 7, True, [["grp"]], [{"grp": 1}]]
ODD_LISTS += [[None, 7, "GRP", "gr\u00fcp", "x" * 5000]]


@pytest.mark.schemas(litellm="all")
def test_odd_json_opens_nothing_and_is_in_nobodys_way(models: Pair) -> None:
    session = models.litellm
    rows.add_user(session, "u", "u@example.com", models=["grp"])
    for odd in ODD_LISTS:
        for info in ({"access_groups": odd}, json.dumps({"access_groups": odd}), odd, '{"access_groups": ["\\u0000"]}'):
            session.run(
                "UPDATE \"LiteLLM_ProxyModelTable\" SET model_info = %s WHERE model_id = 'solo'", [json.dumps(info)]
            )
            drain(models)
            assert queued(models) == set() and own_models(models, "u") == {"fake-a", "fake-b"}, info
    add_model(session, "mine")
    for odd in ODD_LISTS:
        set_aliases(session, 7, {"mine": odd, "own": "solo"} if odd != 7 else odd)
        configure(session, "router_settings", {"model_group_alias": {"short": odd, "fine": "solo"}})
        rows.delete_team(session, "t")
        rows.add_team(session, "t", models=["mine", "own", "fine"], model_id=7, members_with_roles=members("u"))
        drain(models)
        # An alias of nothing is nothing, and those beside it are what they are.
        assert desired(models, "model", "short") is None or odd == "grp", odd
        assert delivered(models, "t") == ({"mine", "own", "fine"} if odd == 7 else {"fine", "solo"}), odd
    assert models.litellm_admin.value("SELECT is_called FROM user_bridge.trigger_faults") is False


def test_a_model_may_be_called_like_anything_else(models: Pair) -> None:
    session = models.litellm
    names = ["t", "u", "grp_team_t", "usr_u", "grp_models_x", "everyone", "user:*", "SOLO", "team_models"]
    for name in names:
        add_model(session, name)
    rows.add_user(session, "u", "u@example.com", models=["usr_u", "t"])
    rows.add_user(session, "usr_u", "other@example.com", models=["u", "SOLO"])
    rows.add_team(session, "t", models=["grp_team_t", "everyone"], members_with_roles=members("u"))
    rows.add_team(session, "grp_team_t", models=["user:*", "team_models"], members_with_roles=members("usr_u"))
    drain(models)
    assert own_models(models, "u") == {"usr_u", "t"} and own_models(models, "usr_u") == {"u", "SOLO"}
    assert delivered(models, "t") == {"grp_team_t", "everyone"}
    assert "grp_team_t" not in delivered(models, "grp_team_t") and "team_models" in delivered(models, "grp_team_t")
    public = "SELECT count(*) FROM access_grant WHERE principal_id = '*'"
    assert models.openwebui.value(public) == 0


@pytest.mark.parametrize("policy", ["assigned", "effective", "teams", "user", "keys"])
def test_an_administrator_who_is_none_any_more_has_what_he_had(models: Pair, policy: str) -> None:
    change_settings(models, model_policy=policy)
    rows.add_user(models.litellm, "u", "u@example.com", models=["solo"])
    rows.add_key(models.litellm, "k", "u", models=["solo", "fake-a"])
    rows.add_team(models.litellm, "t", models=["fake-b"], members_with_roles=members("u"))
    drain(models)
    before = (own_models(models, "u"), delivered(models, "t"))
    rows.change_user(models.litellm, "u", user_role="proxy_admin")
    drain(models)
    assert own_models(models, "u") == ALL
    rows.change_user(models.litellm, "u", user_role="internal_user")
    assert queued(models) == set() and (own_models(models, "u"), delivered(models, "t")) == before
