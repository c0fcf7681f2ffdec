# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.llmops.user_bridge.plugins.module_utils._bridge import MAX_LISTED
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._migration.found import Found, action_of
from ansible_collections.llmops.user_bridge.plugins.module_utils._migration.run import check
from ansible_collections.llmops.user_bridge.plugins.module_utils._migration.scope import (
    Position,
    like_pattern,
    wanted_scope,
)

PARAMS: dict[str, Any] = {
    "organizations": None,
    "teams": None,
    "email_pattern": None,
    "batch_size": 500,
    "parallel": 2,
    "chunk_seconds": 5,
    "wait_seconds": 60,
}


@pytest.mark.parametrize(
    ("glob", "pattern"),
    [
        (None, None),
        ("*@Example.com", "%@Example.com"),
        ("a?b", "a_b"),
        ("100%_sure*", r"100\%\_sure%"),
        ("back\\slash", r"back\\slash"),
    ],
)
def test_like_pattern(glob: str | None, pattern: str | None) -> None:
    assert like_pattern(glob) == pattern


def test_wanted_scope() -> None:
    given = {**PARAMS, "teams": ["t"], "email_pattern": "*@x"}
    assert wanted_scope(given) == {"organizations": None, "teams": ["t"], "email_pattern": "%@x"}


@pytest.mark.parametrize("changes", [{"teams": []}, {"organizations": []}, {"email_pattern": ""}])
def test_an_empty_limit_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(BridgeError, match="is empty"):
        wanted_scope({**PARAMS, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"batch_size": 0},
        {"batch_size": 2001},
        {"parallel": 0},
        {"parallel": 17},
        {"chunk_seconds": -1},
        {"wait_seconds": -1},
    ],
)
def test_check(changes: dict[str, Any]) -> None:
    check(PARAMS)
    with pytest.raises(BridgeError, match=next(iter(changes))):
        check({**PARAMS, **changes})


def test_position_survives_its_text() -> None:
    position = Position("user", 'ü"1', 10, 5, 3, 2, 1)
    assert Position.parse(position.text()) == position
    assert Position.parse(None) == Position()


@pytest.mark.parametrize("text", ["", "x", "[1]", '{"other": 1}', "1"])
def test_position_of_something_else(text: str) -> None:
    with pytest.raises(BridgeError, match="resume_from is not what a run has returned"):
        Position.parse(text)


def field(name: str, before: Any, after: Any) -> dict[str, Any]:
    return {"field": name, "before": before, "after": after}


@pytest.mark.parametrize(
    ("fields", "action"),
    [
        ([], "none"),
        ([field("exists", False, True), field("mapping", None, "usr_u1")], "create"),
        ([field("exists", True, False)], "remove"),
        ([field("mapping", None, "mine")], "link"),
        ([field("mapping", None, "mine"), field("name", "a", "b")], "update"),
    ],
)
def test_action_of(fields: list[dict[str, Any]], action: str) -> None:
    assert action_of(fields) == action


def test_summary() -> None:
    found = Found()
    for result in ("SUCCESS", "FAILED", "SUCCESS"):
        found.count("user", result)
    found.count("team", "UNCHANGED")
    assert found.summary() == {"team": {"UNCHANGED": 1}, "user": {"FAILED": 1, "SUCCESS": 2}}


def test_what_workers_found_adds_up() -> None:
    one, other = Found(), Found()
    one.count("user", "SUCCESS")
    one.differences = [field("name", "a", str(number)) for number in range(MAX_LISTED - 1)]
    other.count("user", "SUCCESS")
    other.count("team", "FAILED")
    other.users, other.differences = [{"user_id": "u1"}], [field("name", "x", "y"), field("role", "x", "y")]
    other.delivered, other.changed = 2, True
    one.add(other)
    assert one.summary() == {"team": {"FAILED": 1}, "user": {"SUCCESS": 2}}
    assert one.users == other.users and one.delivered == 2 and one.changed
    assert len(one.differences) == MAX_LISTED and one.differences[-1] == field("name", "x", "y")
    one.add(Found())
    assert one.changed
