# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes one result of many chunks, and says how far they are.

This plugin_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

from ansible import constants as C
from ansible_collections.llmops.user_bridge.plugins.module_utils._sync.results import STAYS

# Asked when a plugin is loaded, which the process with the terminal does: the worker that runs it has none of its own
# (ansible-core 2.19 and newer detach it).
TERMINAL = sys.stdout is not None and sys.stdout.isatty()

# Where nobody watches, a line now and then is enough to see in a log that it goes on.
SECONDS_BETWEEN_LOG_LINES = 30


def seconds_between_lines(progress: str, default_output: bool, terminal: bool) -> float | None:
    """How often to say something; None for never. Other outputs, JSON for one, must not have lines of ours in them."""
    if progress == "always":
        return 0
    if progress == "never" or not default_output:
        return None
    return 0 if terminal else SECONDS_BETWEEN_LOG_LINES


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def line(progress: dict[str, int], since: dict[str, int], seconds: float) -> str:
    """Done and total, the rate since the first chunk, and the time that is left at this rate."""
    done, total = progress["done"], progress["total"]
    rate = (done - since["done"]) / seconds if seconds > 0 else 0.0
    left = f"{duration((total - done) / rate)} left" if rate > 0 else "time left unknown"
    share = done * 100 // total if total else 100
    users = f"{progress['users_done']:,} of {progress['users_total']:,} users"
    return f"{users}, {done:,} of {total:,} entities ({share} %), {rate:,.0f}/s, {left}"


def merge(before: dict[str, Any] | None, chunk: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """The result of everything so far."""
    before = before or {"changed": False, "users": [], "by_type": {}, "diff": {"before": "", "after": ""}}
    results = {kind: Counter(counts) for kind, counts in before["by_type"].items()}
    for kind, counts in chunk["by_type"].items():
        results.setdefault(kind, Counter()).update(counts)
    merged = {
        **chunk,
        "changed": before["changed"] or chunk["changed"],
        "users": before["users"] + chunk["users"],
        "by_type": {kind: dict(sorted(counts.items())) for kind, counts in sorted(results.items())},
    }
    if "diff" in chunk:
        merged["diff"] = {name: chunk["diff"][name] for name in ("before_header", "after_header")}
        for name in ("before", "after"):
            merged["diff"][name] = before["diff"][name] + chunk["diff"][name]
        if not check_mode:
            merged["diff"]["after"] = delivered_lines(merged["by_type"])
    return merged


def delivered_lines(results: dict[str, dict[str, int]]) -> str:
    """One line for each type of entity of which something was delivered."""
    delivered = {
        kind: sum(number for result, number in counts.items() if result in ("SUCCESS", "WARNING"))
        for kind, counts in results.items()
    }
    return "".join(f"{kind}: {number} delivered\n" for kind, number in delivered.items() if number)


def is_default_output() -> bool:
    """Whether a line of ours does no harm in what Ansible prints."""
    return C.DEFAULT_STDOUT_CALLBACK in ("default", "ansible.builtin.default")


def drained_line(drained: dict[str, Any], queue: dict[str, Any], seconds: float) -> str:
    """How many were delivered, how many wait, and the rate."""
    rate = drained["delivered"] / seconds if seconds > 0 else 0.0
    return f"{drained['delivered']:,} delivered, {queue['entities']:,} queued, {rate:,.0f}/s"


def taken_over_line(done: dict[str, Any]) -> str:
    """What bridge_takeover did, and how much is left to deliver."""
    linked, repaired = done["linked"], sum(done["repaired"].values())
    taken = f"{_counted(linked['accounts'], 'account')} and {_counted(linked['groups'], 'group')} taken over"
    return (
        f"{taken}, {_counted(repaired, 'field')} repaired, {_counted(done['queued'], 'entity', 'entities')} to deliver"
    )


def _counted(count: int, noun: str, plural: str = "") -> str:
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


# What only the first call of several can say: the others only drain.
_OF_THE_FIRST = ("queued", "differences", "differences_total", "decided", "diff")


def merge_drained(before: dict[str, Any] | None, chunk: dict[str, Any]) -> dict[str, Any]:
    """The result of all calls of bridge_sync so far."""
    if before is None:
        return chunk
    by_type: dict[str, Counter[str]] = {}
    for kind, counts in before["drained"]["by_type"].items():
        by_type[kind] = Counter({name: number for name, number in counts.items() if name not in STAYS})
    for kind, counts in chunk["drained"]["by_type"].items():
        by_type.setdefault(kind, Counter()).update(counts)
    results = sum(by_type.values(), Counter[str]())
    drained = {
        "delivered": before["drained"]["delivered"] + chunk["drained"]["delivered"],
        "results": dict(sorted(results.items())),
        "by_type": {kind: dict(sorted(counts.items())) for kind, counts in sorted(by_type.items()) if counts},
    }
    kept = {name: before[name] for name in _OF_THE_FIRST if name in before}
    # Who decided gets what he decided about.
    removals = before["removals"] if before["decided"] else chunk["removals"]
    changed = before["changed"] or chunk["changed"]
    return {**chunk, **kept, "drained": drained, "removals": removals, "changed": changed}
