# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Calls the module chunk by chunk, and shows in between on the controller how far it is."""

from __future__ import annotations

import time
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.llmops.user_bridge.plugins.plugin_utils import _progress

MODULE = "llmops.user_bridge.bridge_migration"
display = Display()


class ActionModule(ActionBase):
    """Runs the module until it returns no next position."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        check_mode = bool(self._task.check_mode)
        merged: dict[str, Any] | None = None
        first: dict[str, int] = {"done": 0}
        arguments = dict(self._task.args)
        # The first progress line comes early, on a terminal and in a log.
        arguments.setdefault("chunk_seconds", 1)
        started = time.monotonic()
        spoken: float | None = None
        while True:
            chunk = self._execute_module(module_name=MODULE, module_args=arguments, task_vars=task_vars)
            if chunk.get("failed") or chunk.get("skipped") or "next" not in chunk:
                return self._ended_early(merged, chunk)
            merged = _progress.merge(merged, chunk, check_mode)
            if chunk["next"] is None:
                return merged
            now = time.monotonic()
            pause = _progress.seconds_between_lines(
                str(arguments.get("progress") or "auto"), _progress.is_default_output(), _progress.TERMINAL
            )
            if pause is not None and (spoken is None or now - spoken >= pause):
                text = _progress.line(chunk["progress"], first, now - started)
                display.display(f"{self._host(task_vars)}: {text}")
                spoken = now
            arguments["resume_from"] = chunk["next"]
            if "chunk_seconds" not in self._task.args:
                arguments.pop("chunk_seconds", None)

    def _ended_early(self, merged: dict[str, Any] | None, chunk: dict[str, Any]) -> dict[str, Any]:
        """What the chunks before have done is done, and is said beside the failure."""
        if merged is None:
            return chunk
        kept = {name: merged[name] for name in ("changed", "users", "by_type", "progress")}
        return {**chunk, **kept}

    def _host(self, task_vars: dict[str, Any] | None) -> str:
        return str((task_vars or {}).get("inventory_hostname") or "migration")
