# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Takes over in one call, and delivers as bridge_sync does, which shows how far it is."""

from __future__ import annotations

import time
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible_collections.llmops.user_bridge.plugins.action import bridge_sync
from ansible_collections.llmops.user_bridge.plugins.module_utils._sync.results import parked
from ansible_collections.llmops.user_bridge.plugins.plugin_utils import _progress

MODULE = "llmops.user_bridge.bridge_takeover"
# What bridge_sync has no option for.
_OF_TAKEOVER = ("drop_tables", "lock_timeout_ms", "deliver")


class ActionModule(bridge_sync.ActionModule):
    """Runs the module, then bridge_sync until everything has been tried."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        ActionBase.run(self, tmp, task_vars)
        arguments = dict(self._task.args)
        in_parts = not (self._task.check_mode or self._task.async_val)
        # What is no boolean is for the module to refuse.
        in_parts = in_parts and boolean(arguments.get("deliver", True), strict=False)
        done: dict[str, Any] = self._execute_module(
            module_name=MODULE,
            module_args={**arguments, "deliver": False} if in_parts else arguments,
            task_vars=task_vars,
            wrap_async=bool(self._task.async_val),
        )
        if not in_parts or not done.get("queued"):
            return done
        self.say(_progress.taken_over_line(done), task_vars)
        login = {
            name: value
            for name, value in arguments.items()
            if name not in _OF_TAKEOVER and not name.startswith("openwebui_")
        }
        started = time.monotonic()
        drained = self.drain({**login, "while_paused": "queue"}, None, task_vars)
        if drained.get("failed"):
            # The rest is done, and what is queued stays queued.
            return {**drained, "changed": True}
        results = drained["drained"]["results"]
        self.say(_progress.drained_line(drained["drained"], drained["queue"], time.monotonic() - started), task_vars)
        warnings = [*done.get("warnings", []), *parked(results, done["database"])]
        return {**done, "delivered": results, **({"warnings": warnings} if warnings else {})}
