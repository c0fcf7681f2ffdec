# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.llmops.user_bridge.plugins.plugin_utils import _progress


@pytest.mark.parametrize(
    ("progress", "default_output", "terminal", "expected"),
    [
        ("auto", True, True, 0),
        ("auto", True, False, 30),
        ("auto", False, True, None),
        ("auto", False, False, None),
        ("never", True, True, None),
        ("always", False, False, 0),
    ],
)
def test_seconds_between_lines(progress: str, default_output: bool, terminal: bool, expected: float | None) -> None:
    assert _progress.seconds_between_lines(progress, default_output, terminal) == expected


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.4, "59 s"), (60, "1 min 0 s"), (3599, "59 min 59 s"), (3660, "1 h 1 min")],
)
def test_duration(seconds: float, text: str) -> None:
    assert _progress.duration(seconds) == text


def test_line() -> None:
    progress = {"done": 30000, "total": 100000, "users_done": 25000, "users_total": 90000}
    assert _progress.line(progress, {"done": 0}, 6.0) == (
        "25,000 of 90,000 users, 30,000 of 100,000 entities (30 %), 5,000/s, 14 s left"
    )
    empty = dict.fromkeys(progress, 0)
    assert _progress.line(empty, {"done": 0}, 0.0).endswith("(100 %), 0/s, time left unknown")


def chunk(**changes: Any) -> dict[str, Any]:
    return {
        "changed": False,
        "users": [],
        "by_type": {},
        "counts": {},
        "next": None,
        "diff": {"before_header": "b", "after_header": "a", "before": "", "after": ""},
        **changes,
    }


def test_merge_adds_up() -> None:
    one = chunk(changed=True, users=[{"user_id": "a"}], by_type={"user": {"SUCCESS": 1}, "team": {"UNCHANGED": 1}})
    two = chunk(users=[{"user_id": "b"}], by_type={"user": {"SUCCESS": 2, "FAILED": 1}}, counts={"total": 3})
    merged = _progress.merge(_progress.merge(None, one, False), two, False)
    assert merged["changed"] is True and [user["user_id"] for user in merged["users"]] == ["a", "b"]
    assert merged["by_type"] == {"team": {"UNCHANGED": 1}, "user": {"FAILED": 1, "SUCCESS": 3}}
    assert merged["counts"] == {"total": 3} and merged["next"] is None
    assert merged["diff"]["after"] == "user: 3 delivered\n"


def test_merge_keeps_the_differences_of_check_mode() -> None:
    diffs = [{"before_header": "b", "after_header": "a", "before": f"b{n}\n", "after": f"a{n}\n"} for n in range(2)]
    merged = _progress.merge(_progress.merge(None, chunk(diff=diffs[0]), True), chunk(diff=diffs[1]), True)
    assert merged["diff"] == {"before_header": "b", "after_header": "a", "before": "b0\nb1\n", "after": "a0\na1\n"}
    without = {key: value for key, value in chunk().items() if key != "diff"}
    assert "diff" not in _progress.merge(None, without, False)


def test_delivered_lines() -> None:
    counts = {"team": {"UNCHANGED": 4, "SKIPPED": 1}, "user": {"SUCCESS": 2, "WARNING": 1, "FAILED": 7}}
    assert _progress.delivered_lines(counts) == "user: 3 delivered\n"


def drained(more: bool, **by_type: dict[str, int]) -> dict[str, Any]:
    results: dict[str, int] = {}
    for counts in by_type.values():
        for result, number in counts.items():
            results[result] = results.get(result, 0) + number
    delivered = sum(number for result, number in results.items() if result in ("SUCCESS", "SKIPPED", "WARNING"))
    return {
        "changed": delivered > 0,
        "more": more,
        "drained": {"delivered": delivered, "results": results, "by_type": by_type},
        "queue": {"entities": 7},
        "queued": 0,
        "decided": [],
        "removals": [],
    }


def test_several_drains_are_one() -> None:
    """What failed in the first was tried again in the second."""
    first = {**drained(True, user={"SUCCESS": 5, "FAILED": 2}), "queued": 9, "differences": ["d"]}
    merged = _progress.merge_drained(
        _progress.merge_drained(None, first), drained(False, user={"FAILED": 1, "SUCCESS": 1})
    )
    assert merged["drained"] == drained(False, user={"FAILED": 1, "SUCCESS": 6})["drained"]
    assert (merged["changed"], merged["more"], merged["queued"], merged["differences"]) == (True, False, 9, ["d"])
    last = _progress.merge_drained(merged, drained(False))
    assert last["changed"] and last["drained"]["by_type"] == {"user": {"SUCCESS": 6}}


def test_who_decided_gets_what_he_decided_about() -> None:
    first = {**drained(True, user={"SUCCESS": 5}), "decided": [1], "removals": [1]}
    assert _progress.merge_drained(first, drained(False))["removals"] == [1]


def test_drained_line() -> None:
    assert (
        _progress.drained_line({"delivered": 3000}, {"entities": 1200}, 2.0) == "3,000 delivered, 1,200 queued, 1,500/s"
    )


def test_taken_over_line() -> None:
    done = {"linked": {"accounts": 1200, "groups": 2}, "repaired": {"user email": 1200, "user_ids": 2}, "queued": 1210}
    assert _progress.taken_over_line(done) == (
        "1,200 accounts and 2 groups taken over, 1,202 fields repaired, 1,210 entities to deliver"
    )
