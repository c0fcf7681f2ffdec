# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Calls the module for a short while again and again, and shows in between how much has been delivered."""

from __future__ import annotations

import time
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.llmops.user_bridge.plugins.plugin_utils import _progress

MODULE = "llmops.user_bridge.bridge_sync"
# The first progress line comes early, so that a waiting user sees that it works.
FIRST_SECONDS, SECONDS = 1, 10
# Options that belong to what the first call does besides draining.
_ONCE = ("action", "backfill", "entity_types", "ids", "repair", "until")
display = Display()


class ActionModule(ActionBase):
    """Runs the module until everything has been tried, or its time is over."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        limit = arguments.get("max_seconds")
        # What the module would refuse is for the module to refuse.
        single = self._task.check_mode or self._task.async_val or "limit" in arguments
        if single or not (limit is None or str(limit).isdigit()) or str(limit) == "0":
            return self._call(arguments, task_vars)
        return self.drain(arguments, limit, task_vars)

    def drain(self, arguments: dict[str, Any], limit: Any, task_vars: dict[str, Any] | None) -> dict[str, Any]:
        """Call after call, with a line in between; one result of all."""
        started, merged, seconds, in_vain = time.monotonic(), None, FIRST_SECONDS, 0
        while True:
            left = seconds if limit is None else int(limit) - int(time.monotonic() - started)
            chunk = self._call({**arguments, "max_seconds": max(1, min(seconds, left))}, task_vars)
            if "more" not in chunk:
                return chunk if merged is None else {**chunk, "changed": merged["changed"]}
            merged = _progress.merge_drained(merged, chunk)
            passed = time.monotonic() - started
            # What never failed comes first, then what failed longest ago: after so many failures everything was tried.
            in_vain = 0 if chunk["drained"]["delivered"] else in_vain + sum(chunk["drained"]["results"].values())
            is_over = limit is not None and passed >= int(limit)
            if not chunk["more"] or is_over or in_vain >= chunk["queue"]["entities"]:
                return merged
            self.say(_progress.drained_line(merged["drained"], merged["queue"], passed), task_vars)
            arguments = {name: value for name, value in arguments.items() if name not in _ONCE}
            seconds = SECONDS

    def say(self, line: str, task_vars: dict[str, Any] | None) -> None:
        """Show a line while the task runs."""
        if _progress.is_default_output():
            display.display(f"{(task_vars or {}).get('inventory_hostname', 'sync')}: {line}")

    def _call(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        background = bool(self._task.async_val)
        result: dict[str, Any] = self._execute_module(
            module_name=MODULE, module_args=arguments, task_vars=task_vars, wrap_async=background
        )
        return result
