# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ends a run of bridge_status with the exit code of a monitoring plugin, which no task can do.

Ansible loads it with the playbooks beside it. It does nothing in a run in which no host has set such a code.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: user_bridge_exit_code
type: aggregate
short_description: Exit code of a monitoring plugin for bridge_status
version_added: 1.0.0
description:
  - Ends the run with the worst exit code that a host has set, if there is one.
author:
  - llmops.user_bridge contributors (@llmops)
"""

# What roles/bridge/tasks/status.yml sets.
STATISTIC = "__bridge_exit_code"
# Healthy, degraded, unknown, broken: what nobody could see may be broken.
_BY_SEVERITY = (0, 1, 3, 2)


def worst(codes: Iterable[int]) -> int:
    return max(codes, key=_BY_SEVERITY.index)


class CallbackModule(CallbackBase):
    """Sees what hosts have set when everything else has been printed."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "user_bridge_exit_code"

    def v2_playbook_on_stats(self, stats: Any) -> None:
        codes = [int(set_by_host[STATISTIC]) for set_by_host in stats.custom.values() if STATISTIC in set_by_host]
        if codes:
            sys.exit(worst(codes))
