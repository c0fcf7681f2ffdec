# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How often bridge_sync is called, with which options, and what is shown in between."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible.plugins.action import ActionBase
from ansible_collections.llmops.user_bridge.plugins.action import bridge_sync


def answer(more: bool, delivered: int = 10, failed: int = 0) -> dict[str, Any]:
    counts = {"SUCCESS": delivered, "FAILED": failed}
    return {
        "changed": delivered > 0,
        "more": more,
        "drained": {"delivered": delivered, "results": counts, "by_type": {"user": counts}},
        "queue": {"entities": 5},
        "queued": 0,
        "decided": [],
        "removals": [],
    }


class Calls:
    """Stands for the module: gives one answer after the other, and keeps what it was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answers: list[dict[str, Any]]) -> None:
        self.answers = answers
        self.asked: list[dict[str, Any]] = []
        self.shown: list[str] = []
        monkeypatch.setattr(ActionBase, "run", lambda *arguments, **keywords: {})
        monkeypatch.setattr(bridge_sync.display, "display", self.shown.append)
        monkeypatch.setattr(bridge_sync._progress, "is_default_output", lambda: True)

    def run(self, check_mode: bool = False, **arguments: Any) -> dict[str, Any]:
        plugin = bridge_sync.ActionModule.__new__(bridge_sync.ActionModule)
        plugin._task = SimpleNamespace(args=arguments, check_mode=check_mode, async_val=0)
        plugin._execute_module = self.module
        return plugin.run(task_vars={"inventory_hostname": "db1"})

    def module(self, module_name: str, module_args: dict[str, Any], **keywords: Any) -> dict[str, Any]:
        self.asked.append(dict(module_args))
        return self.answers[len(self.asked) - 1]


def test_it_goes_on_until_everything_has_been_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(monkeypatch, [answer(True), answer(True), answer(False)])
    assert calls.run(login_db="litellm")["drained"]["delivered"] == 30
    assert [asked["max_seconds"] for asked in calls.asked] == [1, 10, 10]
    assert [line.split(",")[:2] for line in calls.shown] == [
        ["db1: 10 delivered", " 5 queued"],
        ["db1: 20 delivered", " 5 queued"],
    ]


def test_it_ends_when_everything_has_been_tried_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a round of failures takes: without max_seconds nothing else would end it."""
    in_vain = answer(True, 0, 3)
    calls = Calls(monkeypatch, [answer(True, failed=2), in_vain, answer(True, 1, 4), in_vain, in_vain, in_vain])
    calls.run()
    assert len(calls.asked) == 5


def test_what_is_done_once_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(monkeypatch, [answer(True), answer(False)])
    calls.run(login_db="litellm", action="approve_removals", ids=[3])
    assert calls.asked == [
        {"login_db": "litellm", "action": "approve_removals", "ids": [3], "max_seconds": 1},
        {"login_db": "litellm", "max_seconds": 10},
    ]


def test_its_time_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0, 0, 2, 2, 5])
    monkeypatch.setattr(bridge_sync, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    calls = Calls(monkeypatch, [answer(True), answer(True)])
    assert calls.run(max_seconds=5)["more"] is True
    assert [asked["max_seconds"] for asked in calls.asked] == [1, 3]


@pytest.mark.parametrize("options", [{"check_mode": True}, {"limit": 5}, {"max_seconds": "soon"}, {"max_seconds": 0}])
def test_one_call_as_it_was_asked(monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]) -> None:
    calls = Calls(monkeypatch, [answer(True)])
    calls.run(**options)
    assert calls.asked == [{name: value for name, value in options.items() if name != "check_mode"}]
    assert calls.shown == []


def test_a_failure_says_that_something_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(monkeypatch, [answer(True), {"failed": True, "msg": "gone"}])
    assert calls.run() == {"failed": True, "msg": "gone", "changed": True}
