# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes what bridge_info found as a page, on the controller."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.llmops.user_bridge.plugins.plugin_utils._report import plots, write
from ansible_collections.llmops.user_bridge.plugins.plugin_utils._report.page import for_a_diff, is_same, page

_OPTIONS = {"path": {"type": "str", "required": True}, "info": {"type": "dict"}}


class ActionModule(ActionBase):
    """Connects to nothing."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        dummy, options = self.validate_argument_spec(_OPTIONS)
        path = write.located(options["path"])
        problem = write.in_the_way(path) or plots.lacking()
        if problem:
            return {**result, "failed": True, "msg": f"bridge_report_path is {options['path']}: {problem}."}
        result.update(changed=False, path=str(path))
        if options["info"] is None:
            return result
        # Plain, whatever Ansible adds to values.
        info = json.loads(json.dumps(options["info"]))
        host = str((task_vars or {}).get("inventory_hostname", ""))
        return {**result, **self._write(path, page(info, host, datetime.now(timezone.utc)))}

    def _write(self, path: Path, text: str) -> dict[str, Any]:
        before = write.read(path)
        if before is not None and is_same(before, text) and write.mode(path) == write.MODE:
            return {}
        if not self._task.check_mode:
            write.replace(path, text)
        done: dict[str, Any] = {"changed": True}
        if self._task.diff:
            done["diff"] = [
                {
                    "before_header": str(path),
                    "after_header": str(path),
                    "before": for_a_diff(before or ""),
                    "after": for_a_diff(text),
                }
            ]
        return done
