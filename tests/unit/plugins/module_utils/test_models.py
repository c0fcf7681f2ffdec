# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which of what LiteLLM lists only its configuration file knows, and what opens it."""

from __future__ import annotations

from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils._models import catalogue
from ansible_collections.llmops.user_bridge.plugins.module_utils._models.catalogue import Row


def row(name: str, id_: str, *groups: str, in_database: bool = False) -> Row:
    return Row(name, id_, in_database, frozenset(groups))


def found(*rows: Row, **own_names: str) -> dict[str, Any]:
    """By name, all names being listed: the groups, or None where the database decides about them."""
    entries = catalogue.unknown_to_the_database({each.name for each in rows}, rows, own_names)
    return {entry["name"]: entry.get("access_groups") for entry in entries}


def test_deployments_of_the_file() -> None:
    assert found(row("a", "1", "g"), row("a", "2", "f"), row("b", "3")) == {"a": ["f", "g"], "b": []}


def test_the_database_counts_for_its_own() -> None:
    assert found(row("a", "1", "g", in_database=True)) == {}
    # LiteLLM takes both for one model.
    assert found(row("a", "1", "g", in_database=True), row("a", "2", "f")) == {"a": ["f"]}


def test_only_what_is_listed() -> None:
    """With the key of Open WebUI's connection, that is all that Open WebUI can show."""
    rows = [row("a", "1"), row("hidden", "2")]
    assert catalogue.unknown_to_the_database(["a", "", "openai/*"], rows, {}) == [{"name": "a", "access_groups": []}]


def test_a_name_without_a_deployment() -> None:
    assert catalogue.unknown_to_the_database(["a"], [], {}) == [{"name": "a", "access_groups": []}]


def test_an_alias() -> None:
    rows = [row("house", "1", "g"), row("alias", "1", "g")]
    assert catalogue.shared_ids(rows) == ["1"]
    assert found(*rows, **{"1": "house"}) == {"alias": ["g"], "house": ["g"]}
    # What the database has of its target can change at any time.
    rows = [row("house", "1", "g", in_database=True), row("alias", "1", "g", in_database=True)]
    assert found(*rows, **{"1": "house"}) == {"alias": []}


class TestRoutes:
    def test_of_the_file(self) -> None:
        rows = [row("openai/a", "1", "g"), row("openai/b", "1", "g"), row("openai/b", "2", "own")]
        assert found(*rows, **{"1": "openai/*"}) == {"openai/a": ["g"], "openai/b": ["own"]}

    def test_of_the_database(self) -> None:
        rows = [row("openai/a", "1", "g", in_database=True), row("openai/b", "1", "g", in_database=True)]
        assert found(*rows, **{"1": "openai/*"}) == {"openai/a": None, "openai/b": None}
        # A deployment of the database is there: a route of the file adds nothing to it.
        assert found(row("openai/a", "1", "g"), row("openai/a", "2", in_database=True), **{"1": "openai/*"}) == {}

    def test_the_most_specific_counts(self) -> None:
        rows = [row("openai/a", "1", "all"), row("openai/a", "2", "one"), row("openai/a", "3", "one", "two")]
        assert found(*rows, **{"1": "*", "2": "openai/*", "3": "openai/*"}) == {"openai/a": ["one"]}

    def test_an_odd_one(self) -> None:
        """It serves what the same word in a list does not open."""
        assert found(row("a/b", "1", "g"), **{"1": "a*/b*"}) == {}
        assert found(row("a/b", "1", "g"), **{"1": "[a/*"}) == {}
        assert found(row("us.a", "1", "g"), **{"1": "us.*"}) == {"us.a": ["g"]}


def test_what_a_team_owns() -> None:
    def listed(**info: Any) -> dict[str, Any]:
        return {"model_name": "a", "model_info": info}

    rows = catalogue.rows_of([listed(id="1", team_id="t"), listed(id="2", access_groups=None), {"model_name": None}])
    assert rows == [row("a", "2")]


def test_providers() -> None:
    prices = {
        "gpt-4o": {"litellm_provider": "openai"},
        "nova": {"litellm_provider": "bedrock_converse"},
        "ft:gpt-4o": {"litellm_provider": "openai"},
        "openai/b": {"litellm_provider": "openai"},
        "deepseek-chat": {"litellm_provider": "deepseek"},
        "odd": None,
    }
    models = [{"name": name} for name in (*prices, "unknown")]
    assert {
        model["name"]: model["provider"] for model in catalogue.with_providers(models, prices) if "provider" in model
    } == {
        "gpt-4o": "openai",
        "nova": "bedrock",
    }
    assert catalogue.needs_provider([{"name": "a"}]) and not catalogue.needs_provider([{"name": "a", "provider": "b"}])
    assert not catalogue.needs_provider([{"name": "openai/b"}, {"name": "ft:gpt-4o"}])


def test_what_was_given_by_hand_wins() -> None:
    given: list[dict[str, Any]] = [
        {"name": "b", "access_groups": None, "provider": "mine"},
        {"name": "z", "access_groups": ["g"]},
    ]
    read: list[dict[str, Any]] = [{"name": "a"}, {"name": "b", "access_groups": ["f"], "provider": "theirs"}]
    assert catalogue.merged(given, read) == [
        {"name": "b", "access_groups": ["f"], "provider": "mine"},
        {"name": "z", "access_groups": ["g"]},
        {"name": "a"},
    ]
