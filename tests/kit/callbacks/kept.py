# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible loads it before the first task: runs of ansible-playbook share what they compile, see kit.compiled."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from ansible.plugins.callback import CallbackBase

sys.path.append(str(Path(__file__).parents[2]))
try:
    from kit.compiled import keep_packed, keep_templates
finally:
    sys.path.pop()


class CallbackModule(CallbackBase):
    """Says nothing. USER_BRIDGE_KEPT is the folder."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "kept"
    CALLBACK_NEEDS_ENABLED = True


_folder = Path(os.environ["USER_BRIDGE_KEPT"])
keep_packed(_folder / "packed")
# 2.18 compiles elsewhere.
with contextlib.suppress(ImportError):
    keep_templates(_folder / "templates")
