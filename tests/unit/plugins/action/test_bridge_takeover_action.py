# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which module is called with which options, and what is shown in between; test_takeover.py has it in a play."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible.plugins.action import ActionBase
from ansible_collections.llmops.user_bridge.plugins.action import bridge_sync, bridge_takeover

TAKEN: dict[str, Any] = {
    "changed": True,
    "database": "litellm",
    "linked": {"accounts": 3, "groups": 1},
    "repaired": {"user email": 2},
    "queued": 5,
    "delivered": None,
}
DRAINED = {
    "changed": True,
    "more": False,
    "drained": {"delivered": 4, "results": {"SUCCESS": 4, "PARKED": 1}, "by_type": {}},
    "queue": {"entities": 1},
}
LOGIN = {"login_db": "litellm", "owner": "user_bridge_owner"}
GIVEN: dict[str, Any] = {**LOGIN, "openwebui_login_db": "openwebui", "drop_tables": True, "lock_timeout_ms": 100}
SYNC, TAKEOVER = "llmops.user_bridge.bridge_sync", "llmops.user_bridge.bridge_takeover"


class Calls:
    """Stands for the modules."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **answers: Any) -> None:
        self.answers = {TAKEOVER: {**TAKEN, **answers.get("taken", {})}, SYNC: answers.get("drained", DRAINED)}
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.shown: list[str] = []
        monkeypatch.setattr(ActionBase, "run", lambda *arguments, **keywords: {})
        monkeypatch.setattr(bridge_sync.display, "display", self.shown.append)
        monkeypatch.setattr(bridge_sync._progress, "is_default_output", lambda: True)

    def run(self, check_mode: bool = False, async_val: int = 0, **arguments: Any) -> dict[str, Any]:
        plugin = bridge_takeover.ActionModule.__new__(bridge_takeover.ActionModule)
        plugin._task = SimpleNamespace(args=arguments, check_mode=check_mode, async_val=async_val)
        plugin._execute_module = self.module
        return plugin.run(task_vars={"inventory_hostname": "db1"})

    def module(self, module_name: str, module_args: dict[str, Any], **keywords: Any) -> dict[str, Any]:
        self.asked.append((module_name, dict(module_args)))
        return self.answers[module_name]


def test_it_delivers_by_bridge_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(monkeypatch)
    done = calls.run(**GIVEN)
    assert calls.asked == [
        (TAKEOVER, {**GIVEN, "deliver": False}),
        (SYNC, {**LOGIN, "while_paused": "queue", "max_seconds": 1}),
    ]
    assert done["delivered"] == {"SUCCESS": 4, "PARKED": 1}
    (warning,) = done["warnings"]
    assert "1 removal of what has gone from LiteLLM waits for approval" in warning and "database litellm" in warning
    taken, delivered = calls.shown
    assert taken == "db1: 3 accounts and 1 group taken over, 2 fields repaired, 5 entities to deliver"
    assert delivered.startswith("db1: 4 delivered, 1 queued, ")


def test_what_was_taken_over_is_a_change_also_when_delivery_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    done = Calls(monkeypatch, drained={"failed": True, "msg": "the server is gone"}).run(**GIVEN)
    assert (done["failed"], done["changed"], done["msg"]) == (True, True, "the server is gone")


@pytest.mark.parametrize(
    "given", [{"check_mode": True}, {"async_val": 60}, {"deliver": "no"}, {"deliver": False}, {"deliver": "perhaps"}]
)
def test_one_call_where_nothing_is_shown(monkeypatch: pytest.MonkeyPatch, given: dict[str, Any]) -> None:
    calls = Calls(monkeypatch)
    assert calls.run(**GIVEN, **given) == TAKEN
    options = {name: value for name, value in given.items() if name == "deliver"}
    assert calls.asked == [(TAKEOVER, {**GIVEN, **options})] and calls.shown == []


def test_nothing_to_deliver(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(monkeypatch, taken={"queued": 0})
    assert calls.run(**GIVEN)["delivered"] is None
    assert len(calls.asked) == 1 and calls.shown == []
