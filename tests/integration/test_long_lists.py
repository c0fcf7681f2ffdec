# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists of thousands of models, which LiteLLM takes from whoever may edit one."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from psycopg2.extras import Json

from kit import model_rows, rows
from kit.bridge import install_bridge
from kit.drains import drain_all
from kit.pairs import Pair

LONG = 1000


def names(number: int) -> list[str]:
    return [f"model-{n}" for n in range(number)]


def installed(pair: Pair) -> Pair:
    install_bridge(pair, {"initial_password": "none", "model_access": True, "model_policy": "effective"})
    rows.add_user(pair.litellm, "u1", "u1@example.com")
    drain_all(pair)
    return pair


def serve(pair: Pair, models: list[str]) -> None:
    pair.litellm.run(
        'INSERT INTO "LiteLLM_ProxyModelTable" (model_id, model_name, litellm_params, created_by, updated_by) '
        "SELECT n, n, '{}', 'admin', 'admin' FROM unnest(%s) AS n",
        [models],
    )
    drain_all(pair)


def own(pair: Pair, models: list[str]) -> None:
    rows.change_user(pair.litellm, "u1", models=models)


def of_a_key(pair: Pair, models: list[str]) -> None:
    rows.add_key(pair.litellm, f"key {len(models)}", "u1", models=models)


def of_a_team(pair: Pair, models: list[str]) -> None:
    rows.add_team(pair.litellm, f"t{len(models)}", "Team", models=models)


def of_a_key_in_a_team(pair: Pair, models: list[str]) -> None:
    """Where only what both lists have is open."""
    rows.add_team(pair.litellm, "t1", "Team", models=[*models, "more"])
    rows.add_key(pair.litellm, "key", "u1", models=models, team_id="t1")


def _rights_in_queue(pair: Pair) -> list[str]:
    found = pair.litellm_admin.rows(
        "SELECT entity_type FROM user_bridge.sync_queue WHERE entity_type IN ('user_models', 'team_models')"
    )
    return [row["entity_type"] for row in found]


@pytest.mark.parametrize(
    ("write", "entity"), [(own, "user_models"), (of_a_key, "user_models"), (of_a_team, "team_models")]
)
def test_a_long_list_is_left_to_the_drainer(pair: Pair, write: Callable[[Pair, list[str]], None], entity: str) -> None:
    installed(pair)
    write(pair, names(LONG))
    assert _rights_in_queue(pair) == []
    write(pair, names(LONG + 1))
    assert _rights_in_queue(pair) == [entity]
    drain_all(pair)
    assert _rights_in_queue(pair) == []


def test_many_regular_expressions_are_left_to_the_drainer(pair: Pair) -> None:
    """Compiling one takes up to some hundredths of a second."""
    installed(pair)
    of_a_team(pair, [f"model-[{number}]*" for number in range(10)] + ["model-*"])
    assert _rights_in_queue(pair) == []
    of_a_team(pair, [f"model-[{number}]*" for number in range(11)] + ["model-*"])
    assert _rights_in_queue(pair) == ["team_models"]


# A dozen of them.
PATTERNS = [f"model-[{number}]*" for number in range(12)]


def by_a_group(pair: Pair, models: list[str]) -> None:
    model_rows.change_access_group(pair.litellm, "group", access_model_names=models)
    drain_all(pair)
    rows.change_team(pair.litellm, "t", access_group_ids=["group"], models=[f"model-{len(models)}"])


def by_a_scope(pair: Pair, models: list[str]) -> None:
    model_rows.change_budget(pair.litellm, "budget of u1 in t", allowed_models=models)


def by_the_team_of_a_key(pair: Pair, models: list[str]) -> None:
    rows.change_team(pair.litellm, "t", models=models)
    drain_all(pair)
    rows.add_key(pair.litellm, f"key {len(models)}", "u1", team_id="t", models=["model-1"])


def by_a_keys_group(pair: Pair, models: list[str]) -> None:
    model_rows.change_access_group(pair.litellm, "group", access_model_names=models)
    drain_all(pair)
    rows.add_key(pair.litellm, f"key {len(models)}", "u1", access_group_ids=["group"], models=["model-1"])


def by_a_project(pair: Pair, models: list[str]) -> None:
    model_rows.change_project(pair.litellm, "project", models=models)
    drain_all(pair)
    rows.add_key(pair.litellm, f"key {len(models)}", "u1", project_id="project", models=["model-1"])


def by_aliases(pair: Pair, models: list[str]) -> None:
    """Of which there are many where the patterns are."""
    model_rows.set_aliases(pair.litellm, 7, {f"alias {number}": "model-1" for number in range(10 * len(models))})
    rows.change_team(pair.litellm, "t", model_id=7)


def by_settings(pair: Pair, models: list[str]) -> None:
    sent = {f"alias {number}": "model-1" for number in range(10 * len(models))}
    rows.change_team(pair.litellm, "t", router_settings=Json({"model_group_alias": sent}))


BESIDE: dict[Callable[[Pair, list[str]], None], str] = {
    by_a_group: "team_models",
    by_a_scope: "team_models",
    by_aliases: "team_models",
    by_settings: "team_models",
    by_the_team_of_a_key: "user_models",
    by_a_keys_group: "user_models",
    by_a_project: "user_models",
}


@pytest.mark.parametrize("write", BESIDE)
def test_what_stands_beside_a_list_is_left_to_the_drainer_too(
    pair: Pair, write: Callable[[Pair, list[str]], None]
) -> None:
    """A COMMIT took three seconds with a group of 2,000 patterns."""
    installed(pair)
    rows.add_team(pair.litellm, "t", "Team", models=["model-1"], members_with_roles=model_rows.members("u1"))
    model_rows.add_scope(pair.litellm, "t", "u1", ["model-1"])
    model_rows.add_access_group(pair.litellm, "group", [])
    model_rows.add_project(pair.litellm, "project", [])
    drain_all(pair)
    write(pair, PATTERNS[:10])
    assert BESIDE[write] not in _rights_in_queue(pair)
    drain_all(pair)
    write(pair, PATTERNS)
    assert BESIDE[write] in _rights_in_queue(pair)
    drain_all(pair)
    assert _rights_in_queue(pair) == []


def test_scopes_among_many_members_are_left_to_the_drainer(pair: Pair) -> None:
    installed(pair)
    for team, number in (("few", LONG), ("many", LONG + 1)):
        listed = model_rows.members(*(f"m{member}" for member in range(number)))
        rows.add_team(pair.litellm, team, team, models=names(2), members_with_roles=listed)
    drain_all(pair)
    for team, left in (("few", False), ("many", True)):
        rows.change_team(pair.litellm, team, models=names(3))
        assert "team_models" not in _rights_in_queue(pair)
        model_rows.add_scope(pair.litellm, team, "m1", ["model-1"])
        assert ("team_models" in _rights_in_queue(pair)) == left
        drain_all(pair)
        assert _rights_in_queue(pair) == []


def test_names_are_compared_with_patterns_only_where_they_begin_alike(pair: Pair) -> None:
    installed(pair)
    serve(pair, names(100))
    admin = pair.litellm_admin
    admin.run("SET track_functions = 'all'; BEGIN")
    entries = [f"model-{number}*" for number in range(300)]
    # 10 begin with each of 1 to 9, and all are themselves.
    assert admin.value("SELECT count(*) FROM user_bridge.entry_models(%s)", [entries]) == 190
    calls = "SELECT calls FROM pg_stat_xact_user_functions WHERE funcname = 'matches'"
    assert admin.value(calls) == 190
    admin.run("ROLLBACK")


@pytest.mark.parametrize("write", [own, of_a_team, of_a_key_in_a_team])
def test_a_long_list_fills_no_disk(pair: Pair, write: Callable[[Pair, list[str]], None]) -> None:
    """Temporary files are on the disk of LiteLLM's server: a list of 4,000 took three gigabytes."""
    installed(pair)
    write(pair, names(4000))
    pair.litellm_admin.run("SET temp_file_limit = '16MB'")
    drain_all(pair)
    assert pair.litellm_admin.rows("SELECT entity_type, last_error FROM user_bridge.sync_queue") == []
    granted = pair.openwebui_admin.value("SELECT count(DISTINCT model) FROM user_bridge.model_grant")
    assert granted >= 4000


def test_entries_are_not_compared_with_each_name(pair: Pair) -> None:
    installed(pair)
    serve(pair, names(100))
    admin = pair.litellm_admin
    admin.run("LOAD 'auto_explain'")
    for setting in ("log_min_duration = 0", "log_analyze = on", "log_nested_statements = on", "log_format = json"):
        admin.run(f"SET auto_explain.{setting}")
    admin.run("SET auto_explain.log_level = notice")
    del admin.raw.notices[:]
    opened = admin.value("SELECT count(*) FROM user_bridge.entry_models(%s)", [names(3000)])
    assert opened == 3000
    plans = [json.loads(text[text.index("{") :]) for text in admin.raw.notices if "{" in text]
    # Each with each would be 300,000.
    assert plans and sum(_compared_in_vain(plan["Plan"]) for plan in plans) < 30000


def _compared_in_vain(plan: dict[str, Any]) -> int:
    here = sum(int(plan.get(f"Rows Removed by {kind}", 0)) for kind in ("Filter", "Join Filter"))
    return here * int(plan.get("Actual Loops", 1)) + sum(_compared_in_vain(part) for part in plan.get("Plans", []))
