# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._settings.check import checked
from ansible_collections.llmops.user_bridge.plugins.module_utils._settings.declared import RANGES, VARIABLES
from ansible_collections.llmops.user_bridge.plugins.module_utils._settings.stored import changed_settings


def test_only_what_was_given_counts() -> None:
    assert checked(None) == {} and checked({"delivery": None}) == {}
    assert checked({"delivery": "commit", "team_groups": False, "removal_percent": 5.0, "inline_limit": None}) == {
        "delivery": "commit",
        "team_groups": False,
        "removal_percent": 5,
    }


@pytest.mark.parametrize("name", RANGES)
def test_ranges(name: str) -> None:
    low, high = RANGES[name]
    # Without passwords their cost has no other bound.
    others = {"initial_password": "none"}
    for value in (low, high):
        assert checked({name: value, **others}) == {name: value, **others}
    for value in (low - 1, high + 1):
        with pytest.raises(BridgeError) as caught:
            checked({name: value})
        assert str(caught.value) == f"settings.{name} ({VARIABLES[name]}) must be from {low} to {high}, not {value}"


@pytest.mark.parametrize(("cost", "timeout"), [(10, 100), (12, 560), (13, 2000), (14, 2240), (16, 8960)])
def test_a_password_is_hashed_within_the_timeout(cost: int, timeout: int) -> None:
    given = {"password_cost": cost, "target_timeout_ms": timeout}
    assert checked(given) == given


@pytest.mark.parametrize(
    ("cost", "timeout", "remedy"),
    [
        (14, None, "lower it to 13 or raise bridge_target_timeout_ms to 2240"),
        (16, 5000, "lower it to 15 or raise bridge_target_timeout_ms to 8960"),
        (11, 100, "lower it to 10 or raise bridge_target_timeout_ms to 280"),
    ],
)
def test_a_password_that_takes_too_long(cost: int, timeout: int | None, remedy: str) -> None:
    with pytest.raises(BridgeError, match=rf"settings.password_cost \(bridge_password_cost\) is {cost}: .*{remedy}"):
        checked({"password_cost": cost, "target_timeout_ms": timeout})
    assert checked({"password_cost": cost, "target_timeout_ms": timeout, "initial_password": "none"})


@pytest.mark.parametrize("prefix", ["a b", "a'b", 'a"b', "a\\b", "a%b", "a/b", "x" * 33, "ü"])
def test_prefixes_that_break_ids(prefix: str) -> None:
    message = r"settings.user_id_prefix \(bridge_user_id_prefix\) must be up to 32 letters"
    with pytest.raises(BridgeError, match=message):
        checked({"user_id_prefix": prefix})
    with pytest.raises(BridgeError, match="must be 1 to 32 letters"):
        checked({"group_id_prefix": prefix})


def test_only_the_prefix_of_accounts_may_be_empty() -> None:
    assert checked({"user_id_prefix": ""}) == {"user_id_prefix": ""}
    for name in ("group_id_prefix", "team_group_id_prefix"):
        with pytest.raises(BridgeError, match="must be 1 to 32 letters"):
            checked({name: ""})


def test_group_prefixes_must_differ() -> None:
    with pytest.raises(BridgeError, match="must differ"):
        checked({"group_id_prefix": "g_", "team_group_id_prefix": "g_"})
    assert checked({"group_id_prefix": "g_", "team_group_id_prefix": "t_"})


@pytest.mark.parametrize(
    ("role_map", "message"),
    [
        ({"proxy_admin_viewer": "admin"}, "is read-only"),
        ({"internal_user_viewer": "admin"}, "is read-only"),
        ({"boss": "user"}, "no LiteLLM role"),
        ({"proxy_admin": "root"}, "is mapped to 'root'"),
        ({"proxy_admin": None}, "is mapped to None"),
    ],
)
def test_role_map(role_map: dict[str, Any], message: str) -> None:
    with pytest.raises(BridgeError, match=message):
        checked({"role_map": role_map})
    assert checked({"role_map": {"proxy_admin": "admin", "internal_user_viewer": "pending"}})


@pytest.mark.parametrize(
    ("stored", "given", "changed"),
    [
        ({"a": 5}, {"a": 5}, {}),
        ({"a": 5}, {"a": 6}, {"a": (5, 6)}),
        ({"a": 5}, {"a": 5.0}, {}),
        ({"a": 2.5}, {"a": 2.5}, {}),
        ({"a": True}, {"a": True}, {}),
        ({"a": 1}, {"a": True}, {"a": (1, True)}),
        ({"a": {"x": "y"}}, {"a": {"x": "y"}}, {}),
        ({"a": {"x": "y"}}, {"a": {}}, {"a": ({"x": "y"}, {})}),
        ({"a": 5, "b": 1}, {}, {}),
        ({}, {"a": 5}, {"a": (None, 5)}),
        (None, {"a": 5}, {"a": (None, 5)}),
    ],
)
def test_changed_settings(stored: dict[str, Any] | None, given: dict[str, Any], changed: dict[str, Any]) -> None:
    assert changed_settings(stored, given) == changed
