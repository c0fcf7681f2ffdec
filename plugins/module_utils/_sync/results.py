# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a drain says of an entity.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from collections.abc import Mapping

# The entity is still in the queue, and the next drain tries it again.
STAYS = ("FAILED", "DEFERRED", "PARKED")


def parked(results: Mapping[str, int], database: str) -> list[str]:
    """What the delivery that follows leaves to an admin."""
    number = results.get("PARKED", 0)
    if not number:
        return []
    noun, verb = ("removal", "waits") if number == 1 else ("removals", "wait")
    return [
        f"{number} {noun} of what has gone from LiteLLM {verb} for approval, see user_bridge.held_changes() in "
        f"database {database}"
    ]
