# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""review_changes lists what is held, and approves and rejects what is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kit import rows
from kit.bridge import install_bridge
from kit.pairs import Pair
from playbooks_support import READ_ONLY, play, play_hosts, shipped, variables
from test_held_changes import at_once, held
from test_removal_counting import LIMIT, MANY, names
from test_removals import enabled

REVIEW = "llmops.user_bridge.review_changes"


def test_review(pair: Pair, tmp_path: Path) -> None:
    install_bridge(pair, {"initial_password": "none", "removal_accounts": LIMIT, "removal_percent": 0})
    for name in names(0, MANY):
        rows.add_user(pair.litellm, name, f"{name}@example.com")
    at_once(pair, names(0, MANY))
    shown = held(pair)
    ids = [row["id"] for row in shown]

    def lists(approve: list[int] | str, reject: list[int] | str) -> dict[str, Any]:
        return variables(pair, bridge_approve_ids=approve, bridge_reject_ids=reject)

    # Whatever is wrong with one of the lists, nothing is changed.
    refusals: dict[str, tuple[list[int] | str, list[int], str]] = {
        "unknown_rejected": (ids[:2], [4711], "no held change has the id 4711"),
        "unknown_approved": ([4711], ids[:2], "no held change has the id 4711"),
        "in_both": (ids[:2], ids[1:3], f"both name {ids[1]}"),
        "no_number": ("first", [], "not a whole number"),
    }
    hosts = {
        "listed": lists([], []),
        **{name: lists(approve, reject) for name, (approve, reject, _) in refusals.items()},
    }
    looked = play_hosts(shipped("review_changes", "looks"), {"looks": hosts}, tmp_path, env=READ_ONLY)
    listed = looked.hosts["listed"]
    assert (listed.changed, listed.failed) == (0, 0), looked.output
    for row in shown:
        assert f"id {row['id']}, incident {row['incident']}, deletion: user {row['entity_id']} " in looked.output
        assert row["accounts"][0]["email"] in looked.output
    for name, (_, _, message) in refusals.items():
        refused = looked.hosts[name]
        assert (refused.changed, refused.failed) == (0, 1) and message in refused.words, looked.output
    preview = play(REVIEW, lists(ids[:2], ids[2:4]), tmp_path, "--check", "--diff", env=READ_ONLY)
    assert (preview.changed, preview.failed) == (2, 0), preview.output
    assert held(pair) == shown
    done = play(REVIEW, lists(",".join(map(str, ids[:2])), ids[2:4]), tmp_path)
    assert (done.changed, done.failed) == (2, 0), done.output
    assert " delivered; queued now: " in done.words, done.output
    again = play(REVIEW, lists(ids[:2], ids[2:4]), tmp_path, env=READ_ONLY)
    assert (again.changed, again.failed) == (0, 0), again.output
    assert held(pair) == shown[4:]
    assert enabled(pair) == {f"{name}@example.com" for name in names(0, MANY)} - {
        row["accounts"][0]["email"] for row in shown[:2]
    }
