# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What backends compute, which is the same whatever else the machine does."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bench.place import Place
from kit.pairs import Session


def microseconds(pids: Iterable[int]) -> float:
    """On a core, by these processes since they began."""
    return sum(int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[0]) for pid in pids) / 1e3


def of_write(where: Place, session: Session) -> float:
    """By a session's backend and, if it has the bridge, by those that deliver."""
    bridged = session.raw.info.dbname == where.bridged.litellm_db
    return microseconds([session.pid, *(where.delivering if bridged else [])])
