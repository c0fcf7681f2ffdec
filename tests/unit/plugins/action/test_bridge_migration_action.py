# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How soon bridge_migration says how far it is; test_modules_bridge_migration.py has it in a play and on a terminal."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible.plugins.action import ActionBase
from ansible_collections.llmops.user_bridge.plugins.action import bridge_migration


def answer(done: int) -> dict[str, Any]:
    """Of a hundred users, after so many."""
    return {
        "changed": True,
        "users": [],
        "by_type": {},
        "progress": {"done": done, "total": 100, "users_done": done, "users_total": 100},
        "next": None if done == 100 else {"done": done},
    }


@pytest.mark.parametrize(("terminal", "spoken"), [(True, [10, 40, 70]), (False, [10, 70])])
def test_the_first_line_comes_within_a_second(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, spoken: list[int]
) -> None:
    """In a log the others come half a minute apart; the calls before them are as long as the module's default."""
    clock, asked, shown = iter([0, 1, 11, 32]), list[dict[str, Any]](), list[str]()
    answers = [answer(done) for done in (10, 40, 70, 100)]

    def module(module_name: str, module_args: dict[str, Any], **keywords: Any) -> dict[str, Any]:
        asked.append(dict(module_args))
        return answers[len(asked) - 1]

    monkeypatch.setattr(ActionBase, "run", lambda *arguments, **keywords: {})
    monkeypatch.setattr(bridge_migration, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr(bridge_migration.display, "display", shown.append)
    monkeypatch.setattr(bridge_migration._progress, "is_default_output", lambda: True)
    monkeypatch.setattr(bridge_migration._progress, "TERMINAL", terminal)
    plugin = bridge_migration.ActionModule.__new__(bridge_migration.ActionModule)
    plugin._task = SimpleNamespace(args={"login_db": "litellm"}, check_mode=False, async_val=0)
    plugin._execute_module = module
    assert plugin.run(task_vars={"inventory_hostname": "db1"})["next"] is None
    assert [call.get("chunk_seconds") for call in asked] == [1, None, None, None]
    assert [line.split(" of ")[0] for line in shown] == [f"db1: {done}" for done in spoken]
