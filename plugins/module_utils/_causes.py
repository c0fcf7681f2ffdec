# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Failed deliveries grouped by cause, each with what to do about it.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ansible_collections.llmops.user_bridge.plugins.module_utils._remedies import delivery_remedy


class Cause(NamedTuple):
    name: str
    remedy: str


def cause(sqlstate: str | None, message: str | None) -> Cause:
    """The cause of one failed delivery, by the names that bridge_info and bridge_sync report."""
    found = delivery_remedy(sqlstate, message)
    return Cause(found.name, found.target.format(user="the sync user", database="Open WebUI's database"))


def grouped(errors: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Errors of the queue (sqlstate, message, entities, attempts, oldest_seconds) with one entry for each cause."""
    groups: dict[Cause, dict[str, Any]] = {}
    for error in errors:
        found = cause(error["sqlstate"], error["message"])
        empty = {"entities": 0, "attempts": 0, "oldest_seconds": 0, "examples": []}
        group = groups.setdefault(found, {"cause": found.name, "remedy": found.remedy, **empty})
        group["entities"] += error["entities"]
        group["attempts"] = max(group["attempts"], error["attempts"])
        group["oldest_seconds"] = max(group["oldest_seconds"], error["oldest_seconds"])
        group["examples"] = (group["examples"] + [error["message"]])[:3]
    return sorted(groups.values(), key=lambda group: (-group["entities"], group["cause"]))
