# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a migration did, or in check mode would do.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils._bridge import MAX_LISTED


@dataclass
class Found:
    """What was done, or in check mode would be."""

    results: dict[str, Counter[str]] = field(default_factory=dict)
    users: list[dict[str, Any]] = field(default_factory=list)
    differences: list[dict[str, Any]] = field(default_factory=list)
    delivered: int = 0
    changed: bool = False

    def count(self, entity_type: str, result: str) -> None:
        """Count one entity with its result."""
        self.results.setdefault(entity_type, Counter())[result] += 1

    def add(self, later: Found) -> None:
        """Add what a later batch found."""
        for kind, counts in later.results.items():
            self.results.setdefault(kind, Counter()).update(counts)
        self.users += later.users
        self.differences += later.differences[: MAX_LISTED - len(self.differences)]
        self.delivered += later.delivered
        self.changed = self.changed or later.changed

    def summary(self) -> dict[str, dict[str, int]]:
        """Numbers by type and result."""
        return {kind: dict(sorted(counts.items())) for kind, counts in sorted(self.results.items())}


def action_of(fields: list[dict[str, Any]]) -> str:
    """What the differing fields of an entity amount to."""
    names = {row["field"] for row in fields}
    if not names:
        return "none"
    if "exists" in names:
        return "create" if any(row["field"] == "exists" and row["after"] for row in fields) else "remove"
    return "link" if names == {"mapping"} else "update"
