# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils._sync.differences import difference_lines
from ansible_collections.llmops.user_bridge.plugins.module_utils._sync.drain import Drained
from ansible_collections.llmops.user_bridge.plugins.module_utils._sync.held import held_lines


def row(entity_id: str, result: str, kind: str = "user") -> dict[str, Any]:
    return {"entity_type": kind, "entity_id": entity_id, "result": result, "error_message": None}


def test_a_batch_that_gets_anything_done_moves() -> None:
    drained = Drained()
    assert drained.add([row("a", "SUCCESS"), row("b", "FAILED")])
    assert drained.summary() == {
        "delivered": 1,
        "results": {"FAILED": 1, "SUCCESS": 1},
        "by_type": {"user": {"FAILED": 1, "SUCCESS": 1}},
    }


def test_trying_the_same_again_in_vain_does_not_move() -> None:
    drained = Drained()
    assert drained.add([row("a", "FAILED"), row("b", "DEFERRED")])
    assert drained.add([row("c", "FAILED")]), "c had not been tried before"
    assert not drained.add([row("a", "FAILED"), row("b", "FAILED"), row("c", "PARKED")])
    assert not drained.add([])
    assert drained.delivered == 0 and drained.tried == 3
    assert drained.summary()["results"] == {"FAILED": 2, "PARKED": 1}


def test_what_gets_through_in_the_end_counts_once() -> None:
    drained = Drained()
    drained.add([row("a", "DEFERRED"), row("a", "SUCCESS", "team")])
    assert drained.add([row("a", "WARNING")])
    assert drained.summary() == {
        "delivered": 2,
        "results": {"SUCCESS": 1, "WARNING": 1},
        "by_type": {"team": {"SUCCESS": 1}, "user": {"WARNING": 1}},
    }


def test_difference_lines() -> None:
    found: list[dict[str, Any]] = [
        {"entity_type": "user", "entity_id": "u1", "field": "name", "before": "Ann", "after": "Blue-Ann"},
        {"entity_type": "user", "entity_id": "u2", "field": "exists", "before": None, "after": True},
    ]
    assert difference_lines(found, "before") == 'user u1 name: "Ann"\n'
    assert difference_lines(found, "after") == 'user u1 name: "Blue-Ann"\nuser u2 exists: true\n'
    assert difference_lines([], "after") == ""


def test_a_line_names_every_account() -> None:
    found = {
        "id": 7,
        "kind": "membership",
        "entity_type": "team",
        "entity_id": "t",
        "openwebui_id": "grp_team_t",
        "reason": "too many",
        "accounts": [
            {"id": "usr_u1", "email": "ann@example.com", "name": "Ann"},
            {"id": "usr_u2", "email": None, "name": None},
        ],
    }
    assert held_lines([found]) == "7 membership team t (grp_team_t): too many: ann@example.com, usr_u2\n"
