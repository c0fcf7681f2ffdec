# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What processes compute, which is the same whatever else the machine does."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def microseconds(pids: Iterable[int]) -> float:
    """On a core, by these processes since they began."""
    return sum(int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[0]) for pid in pids) / 1e3
