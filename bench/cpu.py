# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the bench's backends compute."""

from __future__ import annotations

from bench.place import Place
from kit.cpu import microseconds
from kit.pairs import Session


def of_write(where: Place, session: Session) -> float:
    """By a session's backend and, if it has the bridge, by those that deliver."""
    bridged = session.raw.info.dbname == where.bridged.litellm_db
    return microseconds([session.pid, *(where.delivering if bridged else [])])
