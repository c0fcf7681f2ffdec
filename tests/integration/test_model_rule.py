# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may see which model, by LiteLLM's rows: a table of examples for each clause of the rule, and its traps.

Whether the rule is LiteLLM's is compared with LiteLLM's own functions elsewhere; here is what each clause is for.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from psycopg2.extras import Json

from kit import openwebui, rows
from kit.bridge import change_settings
from kit.model_rows import (
    add_access_group,
    add_budget,
    add_membership,
    add_model,
    add_project,
    add_scope,
    change_access_group,
    change_budget,
    change_membership,
    change_model,
    change_project,
    configure,
    delete_model,
    desired,
    drain,
    members,
    own_models,
    queued,
    set_aliases,
    team_models,
)
from kit.pairs import Pair

OLD = pytest.mark.schemas(litellm="old")
ALL = {"fake-a", "fake-b", "fake.c", "openai/gpt-4o", "solo"}
PAST = datetime.datetime(2020, 1, 1)  # noqa: DTZ001 - as LiteLLM stores it


def stock(pair: Pair) -> Pair:
    """LiteLLM serves ALL; fake-a and fake-b are in an access group."""
    change_settings(pair, model_access=True)
    for name in sorted(ALL):
        info = {"access_groups": ["grp"]} if name in ("fake-a", "fake-b") else {}
        add_model(pair.litellm, name, model_info=info)
    drain(pair)
    return pair


prepare = stock


@pytest.fixture
def models(prepared: Pair) -> Pair:
    return prepared


def by_list(pair: Pair, lists: Mapping[str, Sequence[str | None]]) -> dict[str, set[str] | None]:
    """What each list opens as a personal one."""
    change_settings(pair, model_policy="effective")
    rows.add_user(pair.litellm, "u", "u@example.com")
    seen = {}
    for case, each in lists.items():
        rows.change_user(pair.litellm, "u", models=each)
        seen[case] = own_models(pair, "u")
    return seen


# One list, one model


def test_a_list_opens_what_its_entries_open(models: Pair) -> None:
    examples: dict[str, tuple[Sequence[str | None], set[str]]] = {
        "nothing said": ([], ALL),
        "a name": (["fake-a"], {"fake-a"}),
        "names": (["fake-a", "solo"], {"fake-a", "solo"}),
        "a name nobody serves": (["later"], {"later"}),
        "an access group": (["grp"], {"fake-a", "fake-b"}),
        "a group and a name": (["grp", "solo"], {"fake-a", "fake-b", "solo"}),
        "all": (["all-proxy-models"], ALL),
        "a star": (["*"], ALL),
        "a pattern": (["fake-*"], {"fake-a", "fake-b"}),
        "a pattern with a provider": (["openai/*"], {"openai/gpt-4o"}),
        "a star inside": (["*o"], {"openai/gpt-4o", "solo"}),
        "a dot is any character": (["fake.*"], {"fake-a", "fake-b", "fake.c"}),
        "letters in brackets": (["fake[-]*"], {"fake-a", "fake-b"}),
        "a plus repeats": (["o+p*"], {"openai/gpt-4o"}),
        "an alternative is bound at one end": (["sol|x*"], {"solo"}),
        "the last one at both": (["x*|sol"], set()),
        "per cent and underscore are letters": (["fake_%*"], set()),
        "a word for teams": (["all-team-models"], set()),
        "a word for teams and a name": (["all-team-models", "solo"], {"solo"}),
        "a word that only the bridge uses": (["\x01ggrp"], set()),
        "a text of any length": (["x" * 100_000], set()),
        "one longer than a name": (["x" * 256], set()),
        "no text": ([None], set()),
        "no text beside a name": (["solo", None], set()),
        "more than sixteen names": (
            [f"n{number}" for number in range(16)] + ["solo"],
            {f"n{n}" for n in range(16)} | {"solo"},
        ),
    }
    seen = by_list(models, {case: example[0] for case, example in examples.items()})
    assert seen == {case: example[1] for case, example in examples.items()}


def test_an_invalid_pattern_fails_the_request(models: Pair) -> None:
    """LiteLLM compares access groups first, then the patterns in their order: at the invalid one its request fails."""
    examples: dict[str, tuple[list[str], set[str]]] = {
        "alone": (["fake[*"], set()),
        "with a name": (["solo", "fake[*"], set()),
        "behind a valid one": (["fake-*", "(*"], {"fake-a", "fake-b"}),
        "before a valid one": (["(*", "fake-*"], set()),
        "with all": (["(*", "all-proxy-models"], set()),
        "with an access group": (["(*", "grp"], {"fake-a", "fake-b"}),
        "unbalanced, but balanced between other parentheses": (["solo)(*"], set()),
        "a letter that only PostgreSQL gives a meaning": ([r"solo\y*"], set()),
        "a class that only PostgreSQL has": (["[[:alpha:]]*"], set()),
        "in what is not such a class": (["[^][=s=]]*"], set()),
        "a repetition that only Python has": (["{,2}|*"], set()),
        "dots in brackets": (["fak[e]-[a]*", "fake[.]c*"], {"fake-a", "fake.c"}),
    }
    seen = by_list(models, {case: example[0] for case, example in examples.items()})
    assert seen == {case: example[1] for case, example in examples.items()}


def test_a_pattern_opens_nothing_that_python_does_not_match(models: Pair) -> None:
    names = ["mé", "é1", "m٣", "m1", "m\x1cx", "m\nx", "\nm", "m-x"]
    patterns = [r"m\W*", r"*\D", r"*\S", r"m[^\w]*", r"m(?!\w)*", r"m[^\d]*", r"*\d", "m*", "*m", "m.x*", "*x", "m?*"]
    rows_ = models.litellm_admin.rows(
        "SELECT p AS pattern, n AS name FROM unnest(%s) AS p, unnest(%s) AS n WHERE user_bridge.matches(n, p)",
        [patterns, names],
    )
    opened = {(row["pattern"], row["name"]) for row in rows_}
    right = {(p, n) for p in patterns for n in names if re.match(f"^{p.replace('*', '.*')}$", n)}
    assert opened - right == set()
    assert {(r"m\W*", "m-x"), (r"*\d", "m1"), ("m*", "mé"), ("m.x*", "m-x")} <= opened


def test_what_opens_nothing_is_no_access_group(models: Pair) -> None:
    change_model(models.litellm, "solo", model_info={"access_groups": ["no-default-models"]})
    add_model(models.litellm, "no-default-models")
    drain(models)
    assert by_list(models, {"too long": ["x" * 256], "no text": [None]}) == {"too long": set(), "no text": set()}
    rows.add_team(models.litellm, "t", models=["x" * 256], members_with_roles=members("u"))
    assert team_models(models, "t", "u") == set()
    rows.change_team(models.litellm, "t", models=["no-default-models"])
    assert team_models(models, "t", "u") == {"solo", "no-default-models"}


def test_a_model_without_a_name_is_none(models: Pair) -> None:
    add_model(models.litellm, "")
    drain(models)
    assert desired(models, "model", "") is None


# Each by PostgreSQL's own means takes seconds or minutes.
SLOW = [f"({'a?' * 20}){{1,99}}*", f"{'(' * 8}a{{1,99}}{')+' * 8}*", f"{'a{0,255}' * 25}*"]


@pytest.mark.parametrize("pattern", SLOW)
def test_a_pattern_holds_no_commit(models: Pair, pattern: str) -> None:
    admin = models.litellm_admin
    admin.run("SET statement_timeout = '5s'")
    assert admin.value("SELECT user_bridge.is_valid_pattern(%s)", [pattern]) is False
    admin.run("RESET statement_timeout")


def test_no_default_models_closes_the_personal_list(models: Pair) -> None:
    seen = by_list(models, {"alone": ["no-default-models"], "with a name": ["no-default-models", "solo"]})
    assert seen == {"alone": set(), "with a name": set()}


# The catalogue


def test_a_pattern_sees_the_provider_of_a_bare_name(models: Pair) -> None:
    extra = [{"name": "gpt-4o", "provider": "openai"}, {"name": "meta/llama", "provider": "together_ai"}]
    change_settings(models, extra_models=extra)
    models.litellm_admin.run("SELECT user_bridge.refresh_entities()")
    seen = by_list(models, {"openai": ["openai/*"], "with a namespace": ["together_ai/*"], "name": ["gpt-*"]})
    assert seen == {"openai": {"openai/gpt-4o", "gpt-4o"}, "with a namespace": set(), "name": {"gpt-4o"}}


def test_access_groups_come_from_the_most_specific_deployment(models: Pair) -> None:
    for name, group in (("anthropic/*", "wide"), ("anthropic/claude-*", "close"), ("anthropic/claude-3", "exact")):
        add_model(models.litellm, name, model_info={"access_groups": [group]})
    names = ["anthropic/haiku", "anthropic/claude-2", "anthropic/claude-3"]
    extra: list[dict[str, Any]] = [{"name": name} for name in names]
    change_settings(models, extra_models=[*extra, {"name": "anthropic/claude-4", "access_groups": ["own"]}])
    models.litellm_admin.run("SELECT user_bridge.refresh_entities()")
    seen = by_list(models, {group: [group] for group in ("wide", "close", "exact", "own")})
    assert seen == {
        "wide": {"anthropic/haiku"},
        "close": {"anthropic/claude-2"},
        "exact": {"anthropic/claude-3"},
        "own": {"anthropic/claude-4"},
    }


def test_a_route_is_compared_as_litellms_router_does(models: Pair) -> None:
    """From the beginning only; and the most specific is the longest regular expression, with its backslashes."""
    routes = {
        "route*b": "beginning",
        "route*": "rest",
        "a-b-*": "dashes",
        "*cdefg": "letters",
        "tie*": "tie",
        "ti*x": "x",
    }
    for name, group in routes.items():
        add_model(models.litellm, name, model_info={"access_groups": [group, f"all-{name[0]}"]})
    change_settings(models, extra_models=[{"name": name} for name in ("route-abc", "route-ac", "a-b-cdefg", "tiex")])
    models.litellm_admin.run("SELECT user_bridge.refresh_entities()")
    assert by_list(models, {group: [group] for group in (*routes.values(), "all-t")}) == {
        # What is no group's name is a model's, known or not.
        **{"beginning": {"route-abc"}, "rest": {"route-ac"}, "dashes": {"a-b-cdefg"}, "letters": {"letters"}},
        # Equally specific: only what both give is sure.
        **{"tie": {"tie"}, "x": {"x"}, "all-t": {"tiex"}},
    }


def test_the_database_counts_and_an_extra_of_the_same_name_adds_its_groups(models: Pair) -> None:
    change_settings(models, extra_models=[{"name": "fake-a", "access_groups": ["more"]}])
    models.litellm_admin.run("SELECT user_bridge.refresh_entities()")
    seen = by_list(models, {"more": ["more"], "grp": ["grp"]})
    assert seen == {"more": {"fake-a"}, "grp": {"fake-a", "fake-b"}}


def test_a_router_alias_is_opened_by_either_name(models: Pair) -> None:
    aliases: dict[str, Any] = {
        "short": "fake-a",
        "long": {"model": "openai/gpt-4o", "hidden": False},
        "hidden": {"model": "fake-b", "hidden": True},
        "dangling": "nothing",
    }
    configure(models.litellm, "router_settings", {"model_group_alias": aliases})
    configure(models.litellm, "litellm_settings", {"model_alias_map": {"mapped": "solo"}})
    drain(models)
    lists = {"alias": ["short"], "target": ["fake-a"], "group": ["grp"], "pattern": ["openai/*"], "mapped": ["solo"]}
    assert by_list(models, {**lists, "all": []}) == {
        "alias": {"short"},
        "target": {"fake-a", "short"},
        "group": {"fake-a", "fake-b", "short"},
        "pattern": {"openai/gpt-4o", "long"},
        "mapped": {"solo", "mapped"},
        "all": ALL | {"short", "long", "mapped"},
    }


def test_an_alias_has_the_access_groups_of_what_it_stands_for(models: Pair) -> None:
    add_model(models.litellm, "sho*", model_info={"access_groups": ["route"]})
    configure(models.litellm, "router_settings", {"model_group_alias": {"short": "fake-a", "shore": "shoal"}})
    drain(models)
    # A route of the alias's own counts only where that stands for no deployment.
    assert by_list(models, {"grp": ["grp"], "route": ["route"]}) == {
        "grp": {"fake-a", "fake-b", "short"},
        "route": {"shore"},
    }


def test_a_model_is_gone_when_all_its_deployments_are_blocked(models: Pair) -> None:
    add_model(models.litellm, "fake-a", "second")
    configure(models.litellm, "router_settings", {"model_group_alias": {"short": "fake-a"}})
    rows.add_user(models.litellm, "u", "u@example.com", models=["fake-a"])
    change_model(models.litellm, "second", blocked=True)
    drain(models)
    assert desired(models, "model", "fake-a") is not None and own_models(models, "u") == {"fake-a", "short"}
    # Where LiteLLM reads it from nothing but the column.
    for said in (True, "true", "True"):
        change_model(models.litellm, "fake-a", model_info={"access_groups": ["grp"], "blocked": said})
        drain(models)
        assert desired(models, "model", "fake-a") is not None
    change_model(models.litellm, "fake-a", blocked=True)
    drain(models)
    assert desired(models, "model", "fake-a") is None and own_models(models, "u") == set()
    assert desired(models, "model", "short") is None
    change_model(models.litellm, "second", blocked=False)
    drain(models)
    assert desired(models, "model", "fake-a") is not None and own_models(models, "u") == {"fake-a", "short"}


def test_a_teams_own_deployment_is_not_in_the_catalogue(models: Pair) -> None:
    info = {"team_id": "t1", "team_public_model_name": "own", "access_groups": ["grp"]}
    add_model(models.litellm, "model_name_t1_1", model_info=info)
    drain(models)
    assert desired(models, "model", "model_name_t1_1") is None and desired(models, "model", "own") is None
    assert by_list(models, {"all": [], "group": ["grp"]}) == {"all": ALL, "group": {"fake-a", "fake-b"}}


def test_json_that_is_kept_as_text_is_read(models: Pair) -> None:
    models.litellm.run(
        """UPDATE "LiteLLM_ProxyModelTable" SET model_info = '"{\\"access_groups\\": [\\"texts\\"]}"' """
        "WHERE model_id = 'solo'"
    )
    drain(models)
    assert by_list(models, {"texts": ["texts"]}) == {"texts": {"solo"}}


@pytest.mark.schemas(litellm="all")
def test_the_deepest_json_that_can_be_stored_is_in_nobody_elses_way(models: Pair) -> None:
    depth = rows.deepest(models.litellm) - 40
    models.litellm.run('UPDATE "LiteLLM_ProxyModelTable" SET model_info = %s', ["[" * depth + "]" * depth])
    rows.add_user(models.litellm, "u", "u@example.com", models=["new"])
    add_model(models.litellm, "new")
    drain(models)
    assert queued(models) == set() and own_models(models, "u") == {"new"}
    assert desired(models, "model", "new") is not None


@pytest.mark.schemas(litellm="all")
def test_a_text_that_cannot_be_read_as_json_is_in_nobody_elses_way(models: Pair) -> None:
    """As deep as PostgreSQL does not follow: nobody can store that as JSON, but anybody as a text."""
    deep = json.dumps("[" * 100_000)
    rows.add_user(models.litellm, "u", "u@example.com", models=["solo"])
    rows.add_user(models.litellm, "owner", "owner@example.com")
    set_aliases(models.litellm, 7, {"mine": "solo"})
    rows.add_team(models.litellm, "t", models=["solo"], model_id=7, members_with_roles=members("u"))
    models.litellm.run('UPDATE "LiteLLM_ProxyModelTable" SET model_info = %s WHERE model_id = %s', [deep, "fake-a"])
    models.litellm.run('UPDATE "LiteLLM_ModelTable" SET aliases = %s', [deep])
    rows.insert(models.litellm, "LiteLLM_Config", {"param_name": "router_settings", "param_value": deep})
    rows.insert(
        models.litellm,
        "LiteLLM_VerificationToken",
        {"token": "k", "user_id": "owner", "models": ["solo"], "aliases": deep},
    )
    add_model(models.litellm, "new")
    rows.change_user(models.litellm, "u", models=["solo", "new", "grp"])
    drain(models)
    assert own_models(models, "u") == {"solo", "new", "fake-b"}
    assert team_models(models, "t", "u") == {"solo"}
    # A key that is not recorded would make somebody of its owner who has nothing, and so everything.
    assert own_models(models, "owner") == {"solo"}


# Teams


def by_team(pair: Pair, **columns: Any) -> set[str]:
    rows.add_team(pair.litellm, "t", "Team", members_with_roles=members("u"), **columns)
    return team_models(pair, "t", "u")


def test_a_team_gives_what_its_list_opens(models: Pair) -> None:
    examples: dict[str, tuple[dict[str, Any], set[str]]] = {
        "nothing said": ({}, ALL),
        "names": ({"models": ["fake-a", "later"]}, {"fake-a", "later"}),
        "all of the team": ({"models": ["all-team-models"]}, ALL),
        "nothing": ({"models": ["no-default-models"]}, set()),
        "blocked": ({"models": ["fake-a"], "blocked": True}, set()),
        "unified group": ({"models": ["solo"], "access_group_ids": ["ag", "gone"]}, {"solo", "fake-a", "fake-b"}),
        "nothing said and a unified group": ({"access_group_ids": ["ag"]}, ALL),
    }
    add_access_group(models.litellm, "ag", ["grp"])
    seen = {}
    for case, (columns, _expected) in examples.items():
        seen[case] = by_team(models, **columns)
        rows.delete_team(models.litellm, "t")
    assert seen == {case: expected for case, (_columns, expected) in examples.items()}


@OLD
def test_an_old_version_takes_the_word_for_teams_for_a_name(quick: Pair) -> None:
    change_settings(quick, model_access=True)
    add_model(quick.litellm, "fake-a")
    drain(quick)
    assert by_team(quick, models=["all-team-models"]) == set()
    rows.change_team(quick.litellm, "t", models=["fake-a"])
    assert team_models(quick, "t", "u") == {"fake-a"}


def test_a_scope_cuts_what_the_team_gives(models: Pair) -> None:
    """Whoever has a scope keeps nothing of the team's own grants, and those without one lose nothing."""
    rows.add_team(models.litellm, "t", "Team", models=["fake-*", "solo"], members_with_roles=members("u", "v", "w"))
    add_scope(models.litellm, "t", "u", ["fake-a", "openai/gpt-4o"])
    add_budget(models.litellm, "without a scope", allowed_models=[])
    add_membership(models.litellm, "t", "v", "without a scope")
    holders = desired(models, "team_models", "t")["holders"]
    assert {"group": None, "models": []} in holders and len(holders) == 3
    whole = {"fake-a", "fake-b", "solo"}
    assert [team_models(models, "t", each) for each in ("u", "v", "w")] == [{"fake-a"}, whole, whole]
    # LiteLLM fails at it: it is no scope that limits nothing.
    change_budget(models.litellm, "without a scope", allowed_models=[None])
    assert [team_models(models, "t", each) for each in ("u", "v", "w")] == [{"fake-a"}, set(), whole]


def test_a_scope_that_many_have_is_read_once(models: Pair) -> None:
    """With all-team-models in it, that reads all deployments."""
    users = [f"u{number}" for number in range(20)]
    rows.add_team(models.litellm, "t", models=["grp"], members_with_roles=members(*users))
    for user in users:
        add_scope(models.litellm, "t", user, ["all-team-models"])
    admin = models.litellm_admin
    admin.run("SET track_functions = 'pl'; BEGIN")
    scopes = admin.rows("SELECT DISTINCT scope FROM user_bridge.member_scopes('{t}')")
    calls = "SELECT calls FROM pg_stat_xact_user_functions WHERE funcname = 'entries_of'"
    assert (len(scopes), admin.value(calls)) == (1, 1)
    admin.run("ROLLBACK; RESET track_functions")


def test_a_budget_that_two_teams_share_scopes_in_both_until_it_goes(models: Pair) -> None:
    """PostgreSQL takes a budget that is deleted out of the memberships, and LiteLLM finds no scope there then."""
    add_budget(models.litellm, "b", allowed_models=["fake-a"])
    for team in ("one", "two"):
        rows.add_team(models.litellm, team, models=["fake-a", "solo"], members_with_roles=members("u"))
        add_membership(models.litellm, team, "u", "b")
    for allowed in (["fake-a"], ["solo"]):
        change_budget(models.litellm, "b", allowed_models=allowed)
        assert [team_models(models, team, "u") for team in ("one", "two")] == [set(allowed)] * 2
    rows.delete(models.litellm, "LiteLLM_BudgetTable", {"budget_id": "b"})
    assert [team_models(models, team, "u") for team in ("one", "two")] == [{"fake-a", "solo"}] * 2
    add_budget(models.litellm, "b", allowed_models=["fake-a"])
    drain(models)
    assert [team_models(models, team, "u") for team in ("one", "two")] == [{"fake-a", "solo"}] * 2
    assert models.litellm_admin.rows("SELECT * FROM user_bridge.reconcile(false)") == []


def test_a_scope_of_somebody_who_left_leaves_the_teams_group_as_it_is(models: Pair) -> None:
    rows.add_team(models.litellm, "t", "Team", models=["solo"], members_with_roles=members("u"))
    add_scope(models.litellm, "t", "left", ["fake-a"])
    assert desired(models, "team_models", "t")["holders"] == [{"group": None, "models": ["solo"]}]


def test_a_teams_alias_gives_what_it_stands_for(models: Pair) -> None:
    """LiteLLM compares a scope with the alias; through Open WebUI's key the alias would be another model."""
    set_aliases(models.litellm, 7, {"solo": "fake-b", "nothing": "not served", "mine": "fake.c"})
    rows.add_team(models.litellm, "t", models=["solo", "fake-a"], model_id=7, members_with_roles=members("u", "v"))
    assert team_models(models, "t", "u") == {"fake-a", "fake-b", "fake.c"}
    add_scope(models.litellm, "t", "u", ["mi*"])
    assert team_models(models, "t", "u") == {"fake.c"} and team_models(models, "t", "v") == {
        "fake-a",
        "fake-b",
        "fake.c",
    }


def test_a_router_alias_of_a_teams_alias_is_the_teams_too(models: Pair) -> None:
    """It stands for what it stands for with every key."""
    configure(models.litellm, "router_settings", {"model_group_alias": {"short": "solo", "other": "fake.c"}})
    drain(models)
    set_aliases(models.litellm, 7, {"solo": "fake-b"})
    rows.add_team(models.litellm, "t", models=["fake-a"], model_id=7, members_with_roles=members("u", "v"))
    add_scope(models.litellm, "t", "u", ["fake-a", "solo"])
    add_scope(models.litellm, "t", "v", ["fake-a"])
    assert team_models(models, "t", "u") == {"fake-a", "fake-b", "short"}
    assert team_models(models, "t", "v") == {"fake-a"}
    # LiteLLM asks about the alias first, and where a list fails at it, about nothing else.
    person(models, models=["no-default-models"])
    key(models, team_id="t", models=["fake-(*"])
    rows.delete(models.litellm, "LiteLLM_TeamMembership", {"user_id": "u"})
    rows.change_team(models.litellm, "t", members_with_roles=members("v", "w"))
    assert own_models(models, "u") == {"fake-b"}
    rows.change_team(models.litellm, "t", models=["fake-a", "fake-(*"])
    assert team_models(models, "t", "w") == {"fake-b"}


def test_without_groups_of_teams_each_team_has_one_for_its_models(models: Pair) -> None:
    change_settings(models, team_groups=False)
    rows.add_team(models.litellm, "t", "Team", models=["solo"], members_with_roles=members("u"))
    (group, rest) = desired(models, "team_models", "t")["holders"]
    assert (group["members"], group["models"], rest["models"]) == (["u"], ["solo"], [])


def test_a_team_that_gives_nothing_any_more_has_an_empty_list_and_not_none(models: Pair) -> None:
    rows.add_team(models.litellm, "t", "Team", models=["solo"], blocked=True)
    assert desired(models, "team_models", "t") == {"holders": [{"group": None, "models": []}]}
    rows.delete_team(models.litellm, "t")
    assert desired(models, "team_models", "t") is None


# Policies


def person(pair: Pair, **columns: Any) -> None:
    """With an account, behind which the rights of somebody new follow."""
    rows.add_user(pair.litellm, "u", "u@example.com", **columns)
    drain(pair)


def by_policy(pair: Pair, user_id: str = "u") -> dict[str, set[str] | None]:
    seen = {}
    for policy in ("assigned", "effective", "teams", "user", "keys"):
        change_settings(pair, model_policy=policy)
        seen[policy] = own_models(pair, user_id)
    change_settings(pair, model_policy="assigned")
    return seen


def same(models: set[str], **others: set[str]) -> dict[str, set[str]]:
    return {**dict.fromkeys(("assigned", "effective", "user"), models), "teams": set(), "keys": set(), **others}


def test_somebody_without_anything_sees_everything_or_nothing(models: Pair) -> None:
    person(models)
    assert by_policy(models) == same(ALL)
    change_settings(models, model_unassigned="none")
    assert by_policy(models) == same(ALL, assigned=set())


def test_a_personal_list_is_its_own(models: Pair) -> None:
    person(models, models=["solo"])
    rows.add_team(models.litellm, "t", models=["fake-a"], members_with_roles=members("u"))
    assert by_policy(models) == same({"solo"})


def test_an_administrator_sees_everything(models: Pair) -> None:
    person(models, user_role="proxy_admin", models=["no-default-models"])
    assert by_policy(models) == dict.fromkeys(("assigned", "effective", "teams", "user", "keys"), ALL)


@pytest.mark.parametrize("role", ["proxy_admin_viewer", "internal_user_viewer", "org_admin", "customer", None])
def test_any_other_role_sees_what_the_lists_say(models: Pair, role: str | None) -> None:
    person(models, user_role="proxy_admin", models=["solo"])
    rows.change_user(models.litellm, "u", user_role=role)
    assert by_policy(models) == same({"solo"})


def test_an_account_that_two_users_share_has_the_rights_of_one(models: Pair) -> None:
    """Of whom it is, and of the other when that one goes; never of both, whatever the other becomes meanwhile."""
    person(models, models=["fake-a"])
    rows.add_user(models.litellm, "v", "u@example.com", models=["fake-b"])
    rows.add_team(models.litellm, "t", models=["solo"], members_with_roles=members("v"))
    rows.change_user(models.litellm, "v", user_role="proxy_admin")

    def shown() -> set[str]:
        drain(models)
        return openwebui.visible_models(models)["usr_u"]

    assert shown() == {"fake-a"}
    rows.change_user(models.litellm, "v", user_role="internal_user")
    assert shown() == {"fake-a"}
    rows.delete_user(models.litellm, "u")
    assert shown() == {"fake-b", "solo"}


def test_whoever_scim_has_disabled_sees_nothing(models: Pair) -> None:
    change_settings(models, models_for_everyone=["solo"])
    person(models, user_role="proxy_admin", metadata={"scim_active": False})
    assert desired(models, "user_models", "u") == {"sets": [], "models": []}
    rows.change_user(models.litellm, "u", metadata={"scim_active": True})
    assert own_models(models, "u") == ALL


@pytest.mark.parametrize("state", [{}, {"blocked": True}])
def test_blocking_somebodys_only_team_never_widens(models: Pair, state: dict[str, Any]) -> None:
    person(models)
    rows.add_team(models.litellm, "t", models=["fake-a"], members_with_roles=members("u"), **state)
    assert by_policy(models) == same(ALL, assigned=set())


@pytest.mark.parametrize("state", [{}, {"blocked": True}, {"expires": PAST}, {"allowed_routes": ["info_routes"]}])
def test_a_key_that_can_no_longer_be_used_never_widens(models: Pair, state: dict[str, Any]) -> None:
    person(models)
    rows.add_key(models.litellm, "k", "u", models=["solo"], **state)
    usable = set() if state else {"solo"}
    assert by_policy(models) == same(ALL, assigned=usable, keys=usable)


def test_somebody_named_by_a_team_but_not_by_his_own_row_is_in_it(models: Pair) -> None:
    person(models, teams=["gone"])
    assert own_models(models, "u") == ALL
    rows.add_team(models.litellm, "t", models=["fake-a"], members_with_roles=members("u"))
    assert own_models(models, "u") == set()
    rows.change_team(models.litellm, "t", members_with_roles=[])
    assert own_models(models, "u") == ALL


def test_a_team_that_is_renamed_keeps_its_members(models: Pair) -> None:
    person(models)
    rows.add_team(models.litellm, "t", "Team", models=["fake-a"], members_with_roles=members("u"))
    rows.change_team(models.litellm, "t", team_alias="Renamed")
    drain(models)
    # Somebody of no team would see everything.
    assert own_models(models, "u") == set()
    assert models.litellm_admin.rows("SELECT * FROM user_bridge.wrong_listed_members()") == []


def test_deleting_the_only_team_makes_somebody_unassigned_again(models: Pair) -> None:
    person(models)
    rows.add_team(models.litellm, "t", models=["fake-a"], members_with_roles=members("u"))
    drain(models)
    rows.delete_team(models.litellm, "t")
    assert ("team_people", "t") in queued(models)
    drain(models)
    assert own_models(models, "u") == ALL
    # One of the same id comes without him.
    rows.add_team(models.litellm, "t", models=["fake-a"], members_with_roles=members("v"))
    assert own_models(models, "u") == ALL


def test_personal_keys_that_follow_the_teams_add_nothing_to_them(models: Pair) -> None:
    configure(models.litellm, "litellm_settings", {"personal_key_model_access_from_teams": True})
    person(models, models=["solo", "fake-a"])
    rows.add_team(models.litellm, "t", models=["fake-*"], members_with_roles=members("u"))
    rows.add_key(models.litellm, "k", "u", models=["fake-a", "fake-b"])
    assert by_policy(models) == same(set(), user={"fake-a"}, keys={"fake-a"})
    assert team_models(models, "t", "u") == {"fake-a", "fake-b"}


# Keys


_KEY = ("LiteLLM_VerificationToken", {"token": "k"})


def key(pair: Pair, **columns: Any) -> None:
    rows.add_key(pair.litellm, "k", "u", **columns)


def test_a_key_without_a_team_lies_within_the_personal_list(models: Pair) -> None:
    person(models, models=["fake-*"])
    key(models, models=["fake-a", "solo"])
    assert by_policy(models) == same({"fake-a", "fake-b"}, keys={"fake-a"})


def test_a_key_with_a_team_lies_within_the_teams_list_and_scope(models: Pair) -> None:
    person(models, models=["solo"])
    rows.add_team(models.litellm, "t", models=["fake-*", "solo"])
    key(models, models=["fake-a", "fake-b", "openai/gpt-4o"], team_id="t")
    outside = {"fake-a", "fake-b", "solo"}
    assert by_policy(models) == same(outside, user={"solo"}, keys={"fake-a", "fake-b"})
    add_scope(models.litellm, "t", "u", ["fake-b", "solo"])
    assert by_policy(models) == same({"fake-b", "solo"}, user={"solo"}, keys={"fake-b"})
    # A member has the rest by the team.
    rows.change_team(models.litellm, "t", members_with_roles=members("u"))
    assert by_policy(models) == same({"solo"}, user={"solo"}, keys={"fake-b"})
    rows.change_team(models.litellm, "t", blocked=True)
    assert by_policy(models) == same({"solo"}, user={"solo"})


def test_a_team_key_without_a_list_adds_nothing_of_its_own(models: Pair) -> None:
    person(models, models=["solo"])
    rows.add_team(models.litellm, "t", models=["fake-a"])
    key(models, team_id="t")
    assert by_policy(models) == same({"solo"}, effective={"solo", "fake-a"}, keys={"fake-a"})


def test_the_word_for_teams_and_models_of_its_own_make_litellm_skip_a_keys_list(models: Pair) -> None:
    person(models, models=["no-default-models"])
    rows.add_team(models.litellm, "t", models=["fake-a"])
    for columns in ({"models": ["all-team-models", "solo"]}, {"models": ["solo"], "config": {"model_list": []}}):
        rows.delete(models.litellm, "LiteLLM_VerificationToken", {"token": "k"})
        key(models, team_id="t", **columns)
        assert by_policy(models) == same(set(), assigned={"fake-a"}, effective={"fake-a"}, keys={"fake-a"})
    # Without a team the word is skipped likewise, though it opens nothing there.
    rows.change_user(models.litellm, "u", models=["solo"])
    rows.delete(models.litellm, "LiteLLM_VerificationToken", {"token": "k"})
    key(models, models=["all-team-models"])
    assert by_policy(models)["keys"] == {"solo"}


@pytest.mark.parametrize(
    "routes",
    [
        ["llm_api_routes"],
        ["openai_routes"],
        ["/v1/chat/completions"],
        ["/embeddings", "/chat/completions"],
        ["/chat/*"],
        ["*"],
    ],
)
def test_a_key_that_may_chat_opens_models(models: Pair, routes: list[str]) -> None:
    person(models)
    key(models, models=["solo"], allowed_routes=routes)
    assert own_models(models, "u") == {"solo"}


@pytest.mark.parametrize("routes", [["management_routes"], ["info_routes"], ["/embeddings"], ["/key/*"]])
def test_a_key_that_may_not_chat_opens_nothing(models: Pair, routes: list[str]) -> None:
    person(models)
    key(models, models=["solo"], allowed_routes=routes)
    assert own_models(models, "u") == set()


def test_an_agents_key_and_a_session_of_litellms_pages_open_nothing(models: Pair) -> None:
    person(models)
    key(models, models=["solo"], agent_id="agent")
    rows.add_key(models.litellm, "session", "u", models=["fake-a"], team_id="litellm-dashboard")
    assert own_models(models, "u") == set()
    rows.delete(models.litellm, "LiteLLM_VerificationToken", {"token": "k"})
    # The session is no list that somebody has assigned.
    assert own_models(models, "u") == ALL


def test_a_keys_access_groups_are_a_list_beside_its_own(models: Pair) -> None:
    person(models)
    add_access_group(models.litellm, "ag", ["fake.c"])
    key(models, models=["solo"], access_group_ids=["ag"])
    assert own_models(models, "u") == {"solo", "fake.c"}


def test_an_access_group_assigned_to_the_team_or_the_key_passes_the_teams_list(models: Pair) -> None:
    person(models, models=["no-default-models"])
    rows.add_team(models.litellm, "t", models=["fake-a"], members_with_roles=members("u"))
    add_access_group(models.litellm, "ag", ["fake.c", "solo"])
    key(models, team_id="t", models=["fake.c"], access_group_ids=["ag"])
    assert own_models(models, "u") == set()
    for assigned in ({"assigned_team_ids": ["t"]}, {"assigned_team_ids": [], "assigned_key_ids": ["k"]}):
        change_access_group(models.litellm, "ag", **assigned)
        assert own_models(models, "u") == {"fake.c", "solo"}
    rows.change_team(models.litellm, "t", models=["fake-(*", "fake-a"])
    assert own_models(models, "u") == set()
    rows.change_team(models.litellm, "t", models=["fake-a"])
    add_scope(models.litellm, "t", "u", ["solo"])
    assert own_models(models, "u") == {"solo"}


def test_an_invalid_pattern_in_an_access_group_fails_the_request_by_chance(models: Pair) -> None:
    """LiteLLM compares what groups name in any order: what comes before the invalid one may come behind it, too."""
    add_access_group(models.litellm, "ag", ["grp", "so*", "(*", "fake.c"], assigned_team_ids=["t"])
    rows.add_team(models.litellm, "t", models=["openai/*"], access_group_ids=["ag"], members_with_roles=members("u"))
    assert team_models(models, "t", "u") == {"openai/gpt-4o", "fake-a", "fake-b"}
    person(models)
    key(models, models=["openai/*"], access_group_ids=["ag"])
    assert own_models(models, "u") == {"openai/gpt-4o", "fake-a", "fake-b"}
    # Where the team's groups fail, LiteLLM does not ask the key's.
    add_access_group(models.litellm, "other", ["solo"], assigned_team_ids=["t"])
    rows.update(models.litellm, *_KEY, {"team_id": "t", "models": ["solo"], "access_group_ids": ["other"]})
    assert own_models(models, "u") == set()
    change_access_group(models.litellm, "ag", access_model_names=["grp", "fake.c"])
    assert own_models(models, "u") == {"solo"}
    change_access_group(models.litellm, "other", access_model_names=["so*", "(*"])
    drain(models)
    assert own_models(models, "u") == set()


def test_the_word_for_teams_stands_for_the_names_of_deployments(models: Pair) -> None:
    """Each is an entry like others: one with a star may open less than the deployment serves, or fail the request."""
    change_settings(models, extra_models=[{"name": "route/x"}, {"name": "a/x"}, {"name": "b/x", "access_groups": []}])
    for route in ("route/*", "a*/"):
        add_model(models.litellm, route)
    models.litellm_admin.run("SELECT user_bridge.refresh_entities()")
    rows.add_team(models.litellm, "odd", models=["all-team-models"], members_with_roles=members("u"))
    assert team_models(models, "odd", "u") == ALL | {"route/x", "b/x"}
    # Of what only a star serves there is no deployment by which LiteLLM would find an alias.
    configure(models.litellm, "router_settings", {"model_group_alias": {"short": "solo", "far": "a-far"}})
    drain(models)
    assert team_models(models, "odd", "u") == ALL | {"route/x", "b/x", "short"}
    configure(models.litellm, "router_settings", {})
    for route in ("route/*", "a*/"):
        delete_model(models.litellm, route)
    change_settings(models, extra_models=[])
    models.litellm_admin.run("SELECT user_bridge.refresh_entities()")
    rows.add_team(models.litellm, "t", models=["fake-*", "all-team-models", "solo"], members_with_roles=members("u"))
    assert team_models(models, "t", "u") == ALL
    add_model(models.litellm, "solo(*")
    assert team_models(models, "t", "u") == {"fake-a", "fake-b"}


def test_the_word_for_teams_opens_no_name_that_is_only_a_teams(models: Pair) -> None:
    """Its alias is none of LiteLLM's names, which a scope with the word would have to list."""
    set_aliases(models.litellm, 7, {"public": "solo"})
    rows.add_team(models.litellm, "t", models=["later"], model_id=7, members_with_roles=members("u", "v"))
    add_scope(models.litellm, "t", "u", ["all-team-models"])
    add_scope(models.litellm, "t", "v", ["all-team-models", "public"])
    assert (team_models(models, "t", "u"), team_models(models, "t", "v")) == (set(), {"solo"})


def test_a_project_cuts_a_key(models: Pair) -> None:
    person(models)
    add_project(models.litellm, "p", [])
    key(models, models=["solo", "fake-a"], project_id="p")
    assert own_models(models, "u") == {"solo", "fake-a"}
    change_project(models.litellm, "p", models=["fake-*"])
    assert own_models(models, "u") == {"fake-a"}
    change_project(models.litellm, "p", blocked=True)
    assert own_models(models, "u") == set()


def test_a_project_cuts_the_aliases_of_the_keys_team(models: Pair) -> None:
    person(models)
    set_aliases(models.litellm, 7, {"mine": "fake-b", "yours": "solo"})
    rows.add_team(models.litellm, "t", models=["fake-a"], model_id=7)
    add_project(models.litellm, "p", ["mine"], team_id="t")
    key(models, models=["fake-a"], team_id="t", project_id="p")
    assert own_models(models, "u") == {"fake-b"}


def test_what_a_key_calls_by_an_alias_of_its_own_is_not_opened_by_it(models: Pair) -> None:
    """Through Open WebUI's key the name is another model. LiteLLM replaces a team's alias first, then a key's."""
    person(models)
    set_aliases(models.litellm, 7, {"mine": "fake.c", "yours": "fake-b"})
    rows.add_team(models.litellm, "t", models=["solo"], model_id=7)
    key(models, models=["fake-*", "solo"], aliases=json.dumps({"solo": "fake-b", "fake-a": "solo"}))
    assert own_models(models, "u") == {"fake-b"}
    rows.update(models.litellm, *_KEY, {"team_id": "t", "aliases": {"fake-b": "solo"}})
    assert own_models(models, "u") == {"fake.c", "solo"}
    rows.update(models.litellm, *_KEY, {"aliases": {}})
    assert own_models(models, "u") == {"fake-b", "fake.c", "solo"}
    rows.update(models.litellm, *_KEY, {"team_id": None, "models": ["short", "solo"], "aliases": {"solo": "fake-b"}})
    configure(models.litellm, "litellm_settings", {"model_alias_map": {"short": "solo"}})
    drain(models)
    assert own_models(models, "u") == set()


def test_a_teams_router_settings_send_names_elsewhere(models: Pair) -> None:
    """LiteLLM asks the lists about what a name is sent to, and answers with that; by Open WebUI's key it is itself."""
    person(models, models=["no-default-models"])
    rows.add_team(models.litellm, "t", models=["fake*", "solo"], members_with_roles=members("u"))

    def sent(settings: Any) -> set[str]:
        rows.change_team(models.litellm, "t", router_settings=Json(settings))
        return team_models(models, "t", "u")

    listed = ALL - {"openai/gpt-4o"}
    assert sent({"model_group_alias": {"solo": "openai/gpt-4o"}, "num_retries": 3}) == listed - {"solo"}
    # What is not listed is not opened by a listed name, nor by a name of its own.
    assert sent({"model_group_alias": {"openai/gpt-4o": "solo", "new": "fake-a"}}) == listed
    assert sent({"model_group_alias": {"solo": {"model": "fake-a", "hidden": True}}}) == listed - {"solo"}
    assert sent(json.dumps({"model_group_alias": {"solo": "fake-a"}})) == listed - {"solo"}
    # These send nothing anywhere.
    odd = {"solo": "solo", "fake-a": "", "fake-b": {"model": None}, "fake.c": ["fake-a"]}
    assert sent({"model_group_alias": odd}) == listed
    nothing: list[Any] = [None, {}, [], "", "[", {"model_group_alias": None}, {"model_group_alias": ["solo"]}]
    assert [sent(each) for each in nothing] == [listed] * len(nothing)
    # LiteLLM looks once more behind a team's alias, and behind one of all models.
    set_aliases(models.litellm, 7, {"fake-a": "solo", "fake.c": "fake-b"})
    rows.change_team(models.litellm, "t", model_id=7)
    assert sent({"model_group_alias": {"solo": "fake.c"}}) == {"fake-b"}
    rows.change_team(models.litellm, "t", model_id=None, models=["solo", "short"])
    configure(models.litellm, "litellm_settings", {"model_alias_map": {"short": "solo"}})
    drain(models)
    assert team_models(models, "t", "u") == set()
    add_scope(models.litellm, "t", "u", ["solo", "fake-a"])
    assert team_models(models, "t", "u") == set()
    assert sent({}) == {"short", "solo"}
    assert explained(models, "u", "solo")[0]
    sent({"model_group_alias": {"solo": "fake-a"}})
    assert explained(models, "u", "solo")[1]["team t"] == (
        False,
        "by that name the key or its team means another model",
    )


def test_a_keys_router_settings_are_instead_of_its_teams(models: Pair) -> None:
    change_settings(models, model_policy="effective")
    person(models, models=["no-default-models"])
    rows.add_team(models.litellm, "t", models=["fake*"], router_settings={"model_group_alias": {"fake-a": "solo"}})
    key(models, team_id="t", router_settings={})
    assert own_models(models, "u") == {"fake-b", "fake.c"}
    rows.update(models.litellm, *_KEY, {"router_settings": Json({"num_retries": 1})})
    assert own_models(models, "u") == {"fake-a", "fake-b", "fake.c"}
    rows.update(models.litellm, *_KEY, {"router_settings": Json({"model_group_alias": {"fake-b": "solo"}})})
    assert own_models(models, "u") == {"fake-a", "fake.c"}
    # What the team's group has not, a member's key may have.
    rows.change_team(models.litellm, "t", members_with_roles=members("u"))
    assert team_models(models, "t", "u") == {"fake-b", "fake.c"}
    drain(models)
    assert own_models(models, "u") == {"fake-a", "fake.c"}
    rows.change_user(models.litellm, "u", models=[])
    rows.update(models.litellm, *_KEY, {"team_id": None, "models": ["fake-b", "solo"]})
    change_settings(models, model_policy="keys")
    assert own_models(models, "u") == {"solo"}


# How it is held


def test_a_short_list_is_grants_and_a_wide_one_a_group(models: Pair) -> None:
    person(models, models=["solo", "fake-a"])
    assert desired(models, "user_models", "u") == {"sets": [], "models": ["fake-a", "solo"]}
    for wide in (["grp"], ["fake-*"], ["all-proxy-models"], [f"n{number}" for number in range(17)]):
        rows.change_user(models.litellm, "u", models=wide)
        wanted = desired(models, "user_models", "u")
        assert (len(wanted["sets"]), wanted["models"]) == (1, [])
    # Whatever their order and however many hold it, one group.
    rows.add_user(models.litellm, "v", "v@example.com", models=["grp", "fake-*"])
    rows.change_user(models.litellm, "u", models=["fake-*", "grp"])
    assert desired(models, "user_models", "u") == desired(models, "user_models", "v")


def test_a_model_that_comes_moves_nobody_from_one_holder_to_another(models: Pair) -> None:
    person(models, models=["later"])
    before = desired(models, "user_models", "u")
    add_model(models.litellm, "later")
    drain(models)
    assert desired(models, "user_models", "u") == before == {"sets": [], "models": ["later"]}


def test_models_for_everyone_are_a_set_that_everybody_is_in(models: Pair) -> None:
    change_settings(models, models_for_everyone=["solo"], model_policy="teams")
    person(models)
    assert desired(models, "user_models", "u") == {"sets": ["everyone"], "models": []}
    assert desired(models, "model_set", "everyone") == {
        **{"openwebui_id": "grp_models_everyone", "name": "LiteLLM models: everyone", "models": ["solo"]},
    }


def test_models_for_everyone_are_a_list_like_others(models: Pair) -> None:
    person(models)
    for entries, opened in ((["grp", "solo"], ["fake-a", "fake-b", "solo"]), (["solo", "(*"], [])):
        change_settings(models, models_for_everyone=entries)
        assert desired(models, "model_set", "everyone")["models"] == opened


def test_somebody_new_has_rights_when_the_drainer_has_seen_the_account(models: Pair) -> None:
    rows.add_user(models.litellm, "u", "u@example.com")
    assert queued(models) == {("user_models", "u")}
    drain(models)
    assert models.openwebui_admin.value("SELECT count(*) FROM user_bridge.model_member WHERE user_id = 'u'") == 1


def test_a_new_set_is_there_when_its_first_member_is(models: Pair) -> None:
    person(models, models=["solo"])
    drain(models)
    rows.change_user(models.litellm, "u", models=["grp"])
    (set_id,) = desired(models, "user_models", "u")["sets"]
    assert models.litellm_admin.value("SELECT count(*) FROM user_bridge.sync_queue") == 0
    assert models.openwebui_admin.rows('SELECT name FROM "group" WHERE id = %s', [f"grp_models_{set_id}"]) == [
        {"name": "LiteLLM models: grp"}
    ]


def test_a_set_that_nobody_has_goes_after_an_hour(models: Pair) -> None:
    person(models, models=["grp"])
    (set_id,) = desired(models, "user_models", "u")["sets"]
    rows.change_user(models.litellm, "u", models=["solo"])
    drain(models)
    models.litellm_admin.run("SELECT user_bridge.enqueue_expired()")
    assert desired(models, "model_set", set_id) is not None and queued(models) == set()
    models.litellm_admin.run("UPDATE user_bridge.model_set SET unused_since = unused_since - interval '2 hours'")
    models.litellm_admin.run("SELECT user_bridge.enqueue_expired()")
    assert queued(models) == {("model_set", set_id)}
    drain(models)
    assert models.openwebui_admin.rows('SELECT id FROM "group" WHERE id = %s', [f"grp_models_{set_id}"]) == []
    rows.change_user(models.litellm, "u", models=["grp"])
    assert desired(models, "model_set", set_id)["models"] == ["fake-a", "fake-b"]


# What changes whom


def changed(pair: Pair) -> set[tuple[str, str]]:
    """What waits, without what a drain would make of it; emptied."""
    found = queued(pair)
    pair.litellm_admin.run("DELETE FROM user_bridge.sync_queue")
    return found


def entangle(models: Pair) -> Pair:
    """Everybody depends on something; nothing is queued, and what is queued stays."""
    session = models.litellm
    rows.add_team(session, "t", models=["fake-*"], members_with_roles=members("u", "v"))
    rows.add_user(session, "u", "u@example.com", models=["solo"])
    rows.add_user(session, "v", "v@example.com")
    add_budget(session, "b", allowed_models=["fake-a"])
    add_membership(session, "t", "u", "b")
    add_membership(session, "t", "v")
    add_access_group(session, "ag", ["solo"])
    add_project(session, "p", [])
    rows.add_key(session, "k", "v", team_id="t", models=["fake-a"], project_id="p")
    drain(models)
    models.litellm_admin.run("SELECT user_bridge.pause()")
    assert queued(models) == set()
    return models


@pytest.fixture
def paused(models: Pair) -> Pair:
    return entangle(models)


def test_each_change_queues_whom_it_concerns(paused: Pair) -> None:
    session = paused.litellm
    key_id = paused.litellm_admin.value("SELECT user_bridge.key_id('v', 'k')")
    keys = {("api_key", key_id), ("user_key", "v"), ("user_models", "v")}
    of_team = {("team_models", "t"), ("team_key_owners", "t")}
    steps: list[tuple[str, Any, set[tuple[str, str]]]] = [
        ("a personal list", lambda: rows.change_user(session, "u", models=["fake-a"]), {("user_models", "u")}),
        (
            "a role",
            lambda: rows.change_user(session, "u", user_role="proxy_admin"),
            {("user", "u"), ("user_models", "u")},
        ),
        ("a name", lambda: rows.change_user(session, "u", user_alias="U"), {("user", "u")}),
        (
            "a team's name, which is in those of its scopes' groups",
            lambda: rows.change_team(session, "t", team_alias="T"),
            {("team", "t"), ("team_name", "t"), ("team_models", "t")},
        ),
        ("a team's list", lambda: rows.change_team(session, "t", models=["solo"]), of_team),
        ("a team's block", lambda: rows.change_team(session, "t", blocked=True), of_team),
        ("a team's groups", lambda: rows.change_team(session, "t", access_group_ids=["ag"]), of_team),
        ("a team's settings", lambda: rows.change_team(session, "t", router_settings=Json({"x": 1})), of_team),
        (
            "a member less",
            lambda: rows.change_team(session, "t", members_with_roles=members("u")),
            {("team_member", '["t", "v"]'), ("user_models", "v"), ("team_models", "t")},
        ),
        ("a scope's models", lambda: change_budget(session, "b", allowed_models=[]), {("budget_members", "b")}),
        ("a budget's limit", lambda: change_budget(session, "b", max_budget=3.0), set()),
        ("a member's spend", lambda: change_membership(session, "t", "u", spend=3.0), set()),
        (
            "no scope any more",
            lambda: change_membership(session, "t", "u", budget_id=None),
            {("team_models", "t"), ("user_models", "u")},
        ),
        (
            "an access group",
            lambda: change_access_group(session, "ag", access_model_names=["fake-b"]),
            {("access_group_holders", "ag")},
        ),
        ("its name", lambda: change_access_group(session, "ag", access_group_name="other"), set()),
        ("a project", lambda: change_project(session, "p", models=["solo"]), {("project_key_owners", "p")}),
        ("a project's spend", lambda: change_project(session, "p", spend=3.0), set()),
        ("a key's list", lambda: rows.update(session, *_KEY, {"models": ["solo"]}), keys),
        ("a key's routes", lambda: rows.update(session, *_KEY, {"allowed_routes": ["/x"]}), keys),
        ("a key's groups", lambda: rows.update(session, *_KEY, {"access_group_ids": ["ag"]}), keys),
        ("a key's aliases", lambda: rows.update(session, *_KEY, {"aliases": {"x": "solo"}}), keys),
        ("a key's settings", lambda: rows.update(session, *_KEY, {"router_settings": Json({"x": 1})}), keys),
        ("a key's agent", lambda: rows.update(session, *_KEY, {"agent_id": "a"}), keys),
        ("a key's spend", lambda: rows.update(session, *_KEY, {"spend": 3.0}), set()),
        ("a model", lambda: add_model(session, "new"), {("model", "new")}),
        ("its block", lambda: change_model(session, "new", blocked=True), {("model", "new")}),
        ("its parameters", lambda: change_model(session, "new", litellm_params={"model": "x"}), set()),
        ("no model any more", lambda: delete_model(session, "new"), {("model", "new")}),
        (
            "an alias",
            lambda: configure(session, "router_settings", {"model_group_alias": {"short": "solo"}, "num_retries": 1}),
            {("model", "short")},
        ),
        (
            "another setting",
            lambda: configure(session, "router_settings", {"model_group_alias": {"short": "solo"}, "num_retries": 2}),
            set(),
        ),
        (
            "personal keys",
            lambda: configure(session, "litellm_settings", {"personal_key_model_access_from_teams": True}),
            {("model_holders", "*")},
        ),
        ("a team's aliases", lambda: set_aliases(session, 7, {"x": "solo"}), {("alias_teams", "7")}),
    ]
    seen = {}
    for name, step, _expected in steps:
        step()
        seen[name] = changed(paused)
    assert seen == {name: expected for name, _step, expected in steps}
    assert paused.litellm_admin.value("SELECT is_called FROM user_bridge.trigger_faults") is False


def test_fan_outs_lead_to_whoever_depends_on_it(paused: Pair) -> None:
    set_aliases(paused.litellm, 7, {"x": "solo"})
    rows.change_team(paused.litellm, "t", access_group_ids=["ag"], model_id=7)
    changed(paused)
    examples = {
        ("budget_members", "b"): {("team_models", "t"), ("user_models", "u")},
        ("access_group_holders", "ag"): {("team_models", "t"), ("user_models", "v")},
        ("project_key_owners", "p"): {("user_models", "v")},
        ("team_people", "t"): {("user_models", "u"), ("user_models", "v")},
        ("alias_teams", "7"): {("team_models", "t"), ("user_models", "v")},
    }
    assert {each: fanned_out(paused, *each) for each in examples} == examples


def test_a_teams_edit_leads_to_owners_of_its_keys_who_have_something_by_them(paused: Pair) -> None:
    session, owner = paused.litellm, {("user_models", "v")}
    assert fanned_out(paused, "team_key_owners", "t") == set()
    rows.update(session, *_KEY, {"access_group_ids": ["ag"]})
    assert fanned_out(paused, "team_key_owners", "t") == owner
    rows.update(session, *_KEY, {"access_group_ids": [], "router_settings": Json({"num_retries": 1})})
    assert fanned_out(paused, "team_key_owners", "t") == owner
    rows.update(session, *_KEY, {"router_settings": Json({})})
    change_settings(paused, model_policy="keys")
    assert fanned_out(paused, "team_key_owners", "t") == owner
    change_settings(paused, model_policy="effective")
    assert fanned_out(paused, "team_key_owners", "t") == set()
    rows.change_team(session, "t", members_with_roles=members("u"))
    assert fanned_out(paused, "team_key_owners", "t") == owner


def fanned_out(pair: Pair, entity_type: str, entity_id: str) -> set[tuple[str, str]]:
    query = "SELECT * FROM user_bridge.fan_out(ARRAY[%s], ARRAY[%s], NULL)"
    found = pair.litellm_admin.rows(query, [entity_type, entity_id])
    return {(row["entity_type"], row["entity_id"]) for row in found}


def test_where_personal_keys_follow_the_teams_so_do_the_members(paused: Pair) -> None:
    session = paused.litellm
    rows.change_team(session, "t", access_group_ids=["ag"])
    configure(session, "litellm_settings", {"personal_key_model_access_from_teams": True})
    change_settings(paused, model_policy="user")
    changed(paused)
    rows.change_team(session, "t", models=["solo"])
    assert ("team_people", "t") in changed(paused)
    people = {("user_models", "u"), ("user_models", "v")}
    assert people <= fanned_out(paused, "access_group_holders", "ag")
    assert people <= fanned_out(paused, "model_holders", '{"names": ["x"], "groups": []}')


def test_a_model_that_comes_reaches_whoever_has_an_entry_for_it(models: Pair) -> None:
    session = models.litellm
    for team, entries in (
        ("exact", ["new"]),
        ("star", ["ne*"]),
        ("all", []),
        ("group", ["fresh"]),
        ("other", ["solo"]),
    ):
        rows.add_team(session, team, models=entries, members_with_roles=members("u"))
    rows.add_user(session, "named", "a@example.com", models=["new", "solo"])
    rows.add_user(session, "other", "b@example.com", models=["solo"])
    drain(models)
    add_model(session, "new", model_info={"access_groups": ["fresh"]})
    assert [entity_type for entity_type, _ in queued(models)] == ["model_holders"]
    (waiting,) = queued(models)
    rows_of = models.litellm_admin.rows(
        "SELECT * FROM user_bridge.fan_out(ARRAY['model_holders'], ARRAY[%s], NULL)", [waiting[1]]
    )
    found = {(row["entity_type"], row["entity_id"]) for row in rows_of}
    teams = {("team_models", team) for team in ("exact", "star", "all", "group")}
    assert {each for each in found if each[0] != "model_set"} == teams | {("user_models", "named")}
    drain(models)
    assert [team_models(models, team, "u") for team in ("exact", "star", "group", "other")] == [
        *({"new"}, {"new"}, {"new"}, {"solo"}),
    ]


def test_a_model_of_a_transaction_that_was_rolled_back_after_its_delivery_goes(models: Pair) -> None:
    writer = models.connect("litellm", autocommit=False)
    add_model(writer, "rolled-back")
    writer.run("SET CONSTRAINTS ALL IMMEDIATE")
    there = "SELECT count(*) FROM model WHERE id = 'rolled-back'"
    assert models.openwebui.value(there) == 1
    writer.rollback()
    drain(models)
    assert models.openwebui.value(there) == 0


def test_a_key_that_expires_takes_its_models_with_it(models: Pair) -> None:
    person(models)
    # What comes before has to be done by then.
    soon = datetime.datetime.now(datetime.UTC).replace(tzinfo=None) + datetime.timedelta(seconds=4)
    key(models, models=["solo"], expires=soon)
    assert own_models(models, "u") == {"solo"}
    models.litellm_admin.run("SELECT user_bridge.enqueue_expired()")
    assert queued(models) == set()
    models.litellm_admin.run("SELECT pg_sleep_until(%s AT TIME ZONE 'UTC')", [soon])
    models.litellm_admin.run("SELECT user_bridge.enqueue_expired()")
    assert ("user_models", "u") in queued(models) and own_models(models, "u") == set()
    drain(models)
    # Once is enough.
    models.litellm_admin.run("SELECT user_bridge.enqueue_expired()")
    assert queued(models) == set()


def test_without_model_access_nothing_is_queued_recorded_or_granted(quick: Pair) -> None:
    change_settings(quick, model_access=False)
    session = quick.litellm
    quick.litellm_admin.run("SELECT user_bridge.pause()")
    add_model(session, "solo")
    rows.add_user(session, "u", "u@example.com", models=["solo"])
    rows.add_team(session, "t", models=["solo"], members_with_roles=members("u"))
    rows.change_team(session, "t", models=[])
    add_scope(session, "t", "u", ["solo"])
    change_budget(session, "budget of u in t", allowed_models=[])
    add_access_group(session, "ag", ["solo"])
    rows.add_key(session, "k", "u", models=["solo"])
    configure(session, "router_settings", {"model_group_alias": {"short": "solo"}})
    rows.delete_team(session, "t")
    types = {entity_type for entity_type, _id in queued(quick)}
    assert types == {"user", "team", "team_name", "team_member", "api_key", "user_key"}
    own = (
        "model_catalog",
        "model_set",
        "set_holder",
        "listed_member",
        "member_budget",
        "lapsed_key",
        "recorded_rights",
    )
    for table in own:
        assert quick.litellm_admin.value(f"SELECT count(*) FROM user_bridge.{table}") == 0
    assert quick.litellm_admin.value("SELECT user_bridge.refresh_entities()") == 0
    entities = quick.litellm_admin.rows("SELECT * FROM user_bridge.all_entities() WHERE entity_type LIKE '%model%'")
    assert entities == []


def test_switched_off_it_leaves_nothing(models: Pair) -> None:
    person(models, models=["grp"])
    rows.add_user(models.litellm, "v", "v@example.com", models=["solo"])
    rows.add_team(models.litellm, "t", models=["solo"], members_with_roles=members("u", "v"))
    add_scope(models.litellm, "t", "u", ["solo"])
    drain(models)
    assert models.litellm_admin.value("SELECT user_bridge.backfill()") > 0
    drain(models)
    change_settings(models, model_access=False)
    assert models.litellm_admin.value("SELECT user_bridge.backfill()") > 0
    drain(models)
    models.litellm_admin.run("SELECT user_bridge.enqueue_expired()")
    drain(models)
    for table in ("model_catalog", "model_set", "set_holder", "listed_member", "member_budget", "recorded_rights"):
        assert models.litellm_admin.value(f"SELECT count(*) FROM user_bridge.{table}") == 0, table
    assert models.litellm_admin.rows("SELECT * FROM user_bridge.all_entities() WHERE entity_type LIKE '%model%'") == []
    assert models.openwebui_admin.value("SELECT count(*) FROM user_bridge.model_grant") == 0
    groups = models.openwebui_admin.rows('SELECT id FROM "group"')
    assert [row["id"] for row in groups] == ["grp_team_t"] and queued(models) == set()


def switch(pair: Pair, on: bool) -> None:
    """As bridge_install does, and nothing else."""
    for session in (pair.litellm_admin, pair.openwebui_admin):
        session.run("UPDATE user_bridge.settings SET model_access = %s", [on])


@pytest.mark.parametrize("by", ["backfill()", "follow_columns()"])
def test_nobody_sees_anything_until_all_that_litellm_had_is_recorded(quick: Pair, by: str) -> None:
    """Whose team, scope or key is not known yet must not be taken for somebody who has none."""
    session = quick.litellm
    add_model(session, "solo")
    add_model(session, "fake-a")
    person(quick)
    rows.add_user(session, "v", "v@example.com")
    rows.add_team(session, "t", models=["solo", "fake-a"], members_with_roles=members("u", "v"))
    add_scope(session, "t", "u", ["solo"])
    drain(quick)
    switch(quick, on=True)
    # They and their models are delivered before what they had is recorded.
    add_model(session, "new")
    rows.change_user(session, "u", user_role="internal_user")
    rows.change_team(session, "t", models=["solo", "new"])
    drain(quick)
    assert own_models(quick, "u") is None and desired(quick, "team_models", "t") is None
    grants = "SELECT count(*) FROM user_bridge.model_grant"
    assert quick.openwebui_admin.value(grants) == 0
    assert "not recorded yet" in quick.litellm_admin.value(
        "SELECT user_bridge.explain_model('u', 'solo') ->> 'problem'"
    )
    quick.litellm_admin.run(f"SELECT user_bridge.{by}")
    drain(quick)
    assert own_models(quick, "u") == set()
    assert (team_models(quick, "t", "u"), team_models(quick, "t", "v")) == ({"solo"}, {"solo", "new"})
    assert quick.openwebui_admin.value(grants) > 0
    # Switched off, nothing is recorded; and so again from the beginning.
    switch(quick, on=False)
    quick.litellm_admin.run("SELECT user_bridge.backfill()")
    drain(quick)
    switch(quick, on=True)
    rows.change_team(session, "t", models=["fake-a"])
    drain(quick)
    assert desired(quick, "team_models", "t") is None and quick.openwebui_admin.value(grants) == 0


def test_what_the_triggers_missed_is_found_and_put_right(models: Pair) -> None:
    person(models)
    models.litellm_admin.run("SET session_replication_role = replica")
    rows.add_team(models.litellm_admin, "t", models=["fake-a"], members_with_roles=members("u"))
    add_scope(models.litellm_admin, "t", "u", ["fake-b"])
    add_model(models.litellm_admin, "missed")
    models.litellm_admin.run("RESET session_replication_role")
    query = "SELECT entity_type, entity_id FROM user_bridge.reconcile(%s) WHERE field = 'missed'"
    found = {(row["entity_type"], row["entity_id"]) for row in models.litellm_admin.rows(query, [False])}
    assert found >= {("model", "missed"), ("team_models", "t"), ("user_models", "u")}
    models.litellm_admin.run("SELECT count(*) FROM user_bridge.reconcile(true)")
    drain(models)
    assert models.litellm_admin.rows(query, [False]) == []
    assert own_models(models, "u") == set() and team_models(models, "t", "u") == set()


# In words


def explained(pair: Pair, user_id: str, model: str) -> tuple[bool, dict[str, tuple[bool, str]]]:
    found = pair.litellm_admin.value("SELECT user_bridge.explain_model(%s, %s)", [user_id, model])
    return found["granted"], {way["way"]: (way["opens"], way["reason"]) for way in found["ways"]}


def test_each_way_is_explained(models: Pair) -> None:
    person(models, models=["no-default-models"])
    rows.add_team(models.litellm, "b", "Blue", models=["fake-*", "solo"], members_with_roles=members("u"))
    add_scope(models.litellm, "b", "u", ["fake-a", "fake-b"])
    rows.add_team(models.litellm, "r", "Red", models=["solo"], blocked=True, members_with_roles=members("u"))
    rows.add_team(models.litellm, "g", "Green", models=["fake.c"])
    rows.add_key(models.litellm, "k1", "u", key_alias="old", models=["solo"], blocked=True)
    rows.add_key(models.litellm, "k2", "u", key_alias="own", models=["solo"])
    rows.add_key(models.litellm, "k3", "u", key_alias="green", models=["solo"], team_id="g")
    assert explained(models, "u", "solo") == (
        False,
        {
            "team Blue": (False, "the team lists it, but the scope there is fake-a, fake-b"),
            "team Red": (False, "the team is blocked"),
            "personal list": (False, "it says no-default-models: only what teams give"),
            "key old": (False, "the key is blocked"),
            "key own": (False, "the personal list says no-default-models"),
            "key green": (False, "the team's list is fake.c"),
        },
    )
    granted, ways = explained(models, "U@Example.com", "fake-a")
    assert granted and ways["team Blue"] == (True, "the team's list is fake-*, solo")
    query = "SELECT user_bridge.explain_model('u', %s) -> 'openwebui'"
    assert models.litellm_admin.value(query, ["solo"])["reasons"] == ["no grant reaches the account"]
    drain(models)
    there = models.litellm_admin.value(query, ["fake-a"])
    assert there["sees"] and there["ways"] == ['a grant to the group "Blue: fake-a, fake-b"']


def test_an_empty_list_is_explained(models: Pair) -> None:
    person(models)
    assert explained(models, "u", "solo") == (True, {"personal list": (True, "the list is everything")})
    rows.add_team(models.litellm, "t", "Blue", models=["fake-a"], members_with_roles=members("u"))
    granted, ways = explained(models, "u", "solo")
    assert not granted and ways["team Blue"] == (False, "the team's list is fake-a")
    assert ways["personal list"][1].startswith("the list is empty, which counts only for somebody who is in no team")
    change_settings(models, model_policy="user")
    granted, ways = explained(models, "u", "fake-a")
    assert granted and ways["team Blue"] == (False, "it would, but by bridge_model_policy teams do not count")


def test_why_nobody_sees_a_model_is_explained(models: Pair) -> None:
    person(models)
    change_model(models.litellm, "solo", blocked=True)
    problem = "SELECT user_bridge.explain_model(%s, %s) ->> 'problem'"
    assert models.litellm_admin.value(problem, ["u", "solo"]) == "all deployments of the model are blocked in LiteLLM"
    assert "bridge_extra_models" in models.litellm_admin.value(problem, ["u", "other"])
    assert models.litellm_admin.value(problem, ["u", "fake-a"]) is None
    assert models.litellm_admin.value(problem, ["nobody", "solo"]) == "LiteLLM has no user with this id or email"


def test_the_explanation_is_what_the_rule_says(models: Pair) -> None:
    """For each policy and model: somebody is said to see what the groups and grants let him see."""
    configure(models.litellm, "router_settings", {"model_group_alias": {"short": "fake-a"}})
    set_aliases(models.litellm, 7, {"solo": "fake.c"})
    person(models, models=["grp"])
    rows.add_team(models.litellm, "t", models=["openai/*", "solo"], model_id=7, members_with_roles=members("u"))
    rows.add_team(models.litellm, "other", models=[])
    rows.add_key(models.litellm, "k1", "u", models=["fake-a"])
    rows.add_key(models.litellm, "k2", "u", models=["solo"], team_id="other")
    drain(models)
    for policy in ("assigned", "effective", "teams", "user", "keys"):
        change_settings(models, model_policy=policy)
        seen = (own_models(models, "u") or set()) | team_models(models, "t", "u")
        assert {model for model in ALL | {"short"} if explained(models, "u", model)[0]} == seen, policy


# Under a live bridge


@OLD
def test_columns_that_come_with_an_upgrade_count_from_then_on(quick: Pair) -> None:
    change_settings(quick, model_access=True)
    session = quick.litellm
    add_model(session, "solo")
    add_model(session, "fake-a")
    rows.add_team(session, "t", models=["solo"], members_with_roles=members("u"))
    add_budget(session, "b")
    add_membership(session, "t", "u", "b")
    rows.add_user(session, "u", "u@example.com", models=["no-default-models"])
    rows.add_key(session, "k", "u", team_id="t", models=["solo"])
    drain(quick)
    for table, column, kind in (
        ("TeamTable", "access_group_ids", "text[] DEFAULT '{}'"),
        ("BudgetTable", "allowed_models", "text[] DEFAULT '{}'"),
        ("VerificationToken", "access_group_ids", "text[] DEFAULT '{}'"),
        ("VerificationToken", "agent_id", "text"),
        ("ProxyModelTable", "blocked", "boolean NOT NULL DEFAULT false"),
        ("TeamTable", "router_settings", "jsonb DEFAULT '{}'"),
        ("VerificationToken", "router_settings", "jsonb DEFAULT '{}'"),
    ):
        session.run(f'ALTER TABLE "LiteLLM_{table}" ADD COLUMN {column} {kind}')
    quick.litellm_admin.run("SELECT user_bridge.follow_columns()")
    drain(quick)
    assert team_models(quick, "t", "u") == {"solo"}
    change_budget(session, "b", allowed_models=["fake-a"])
    assert team_models(quick, "t", "u") == set() and queued(quick) == set()
    quick.litellm_admin.run("SELECT user_bridge.pause()")
    rows.change_team(session, "t", access_group_ids=["ag"])
    assert ("team_models", "t") in changed(quick)
    rows.change_team(session, "t", router_settings=Json({"num_retries": 1}))
    assert ("team_models", "t") in changed(quick)
    for columns in ({"agent_id": "a"}, {"router_settings": Json({"num_retries": 1})}):
        rows.update(session, *_KEY, columns)
        assert ("user_models", "u") in changed(quick)
    change_model(session, "solo", blocked=True)
    assert ("model", "solo") in changed(quick)
    assert quick.litellm_admin.value("SELECT is_called FROM user_bridge.trigger_faults") is False


def test_rights_are_counted(models: Pair) -> None:
    rows.add_user(models.litellm, "a", "a@example.com")
    rows.add_user(models.litellm, "b", "b@example.com", user_role="proxy_admin")
    add_model(models.litellm, "model_name_t_1", model_info={"team_id": "t", "team_public_model_name": "own"})
    change_model(models.litellm, "solo", blocked=True)
    drain(models)
    rights = "SELECT user_bridge.model_rights()"
    counted = {"models": 4, "blocked": 1, "of_teams": 1, "sets": 1, "unassigned": 1, "unseen": []}
    assert models.litellm_admin.value(rights) == counted
    rows.delete_user(models.litellm, "b")
    rows.change_user(models.litellm, "a", models=["fake-a"])
    rows.add_team(models.litellm, "t", models=["openai/*"], members_with_roles=members("a"))
    drain(models)
    assert models.litellm_admin.value(rights) == {**counted, "sets": 0, "unassigned": 0, "unseen": ["fake-b", "fake.c"]}


def test_what_a_shorter_list_of_extra_models_takes_away_is_said(models: Pair) -> None:
    """With the names that only the list had, and those who see one of them by a grant."""
    change_settings(models, extra_models=[{"name": name} for name in ("extra", "other", "moved", "solo", "stays")])
    rows.add_user(models.litellm, "all", "all@example.com")
    rows.add_user(models.litellm, "one", "one@example.com", models=["extra"])
    rows.add_user(models.litellm, "none", "none@example.com", models=["stays"])
    rows.add_user(models.litellm, "admin", "admin@example.com", user_role="proxy_admin")
    add_model(models.litellm, "moved")
    models.litellm_admin.run("SELECT user_bridge.refresh_entities(), user_bridge.enqueue_everything()")
    drain(models)
    lost = "SELECT user_bridge.lost_models(%s)"
    assert models.litellm_admin.value(lost, ['[{"name": "stays"}]']) == {"models": ["extra", "other"], "people": 2}
    every = "SELECT s.extra_models::text FROM user_bridge.settings AS s"
    same = models.litellm_admin.value(every)
    assert models.litellm_admin.value(lost, [same]) == {"models": [], "people": None}
    # Whoever sees it otherwise goes on seeing it.
    models.openwebui.run("UPDATE model SET user_id = 'usr_one' WHERE id = 'extra'")
    assert models.litellm_admin.value(lost, ['[{"name": "stays"}, {"name": "other"}]'])["people"] == 1
    change_model(models.litellm, "moved", model_name="other")
    assert models.litellm_admin.value(lost, ['[{"name": "stays"}]'])["models"] == ["extra", "moved"]
