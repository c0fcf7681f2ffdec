# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long the playbook takes: the first run, and the second, which changes nothing."""

from __future__ import annotations

import time

from bench.place import Place
from bench.table import Figure
from kit.pairs import pair
from playbooks_support import READ_ONLY, deploy


def both_runs(where: Place) -> list[Figure]:
    with pair(where.cluster) as fresh:
        started = time.perf_counter()
        deploy(fresh, where.scratch, real=True)
        first = time.perf_counter() - started
        started = time.perf_counter()
        run = deploy(fresh, where.scratch, env=READ_ONLY, real=True)
        second = time.perf_counter() - started
    return [
        Figure("first run of deploy_bridge", first, "s", 12),
        Figure("second run of deploy_bridge", second, "s", 5),
        Figure("second run of deploy_bridge: changed", run.changed, "tasks", 0),
    ]
