# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""review_changes lists what is held, and approves and rejects what is named."""

from __future__ import annotations

from pathlib import Path

from kit import rows
from kit.bridge import install_bridge
from kit.pairs import Pair
from playbooks_support import READ_ONLY, Run, play, variables
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

    def review(
        approve: list[int] | str, reject: list[int] | str, *arguments: str, env: dict[str, str] | None = None
    ) -> Run:
        values = variables(pair, bridge_approve_ids=approve, bridge_reject_ids=reject)
        return play(REVIEW, values, tmp_path, *arguments, env=env)

    listed = review([], [], env=READ_ONLY)
    assert (listed.changed, listed.failed) == (0, 0), listed.output
    for row in shown:
        assert f"id {row['id']}, incident {row['incident']}, deletion: user {row['entity_id']} " in listed.output
        assert row["accounts"][0]["email"] in listed.output
    # Whatever is wrong with one of the lists, nothing is changed.
    for approve, reject, message in (
        (ids[:2], [4711], "no held change has the id 4711"),
        ([4711], ids[:2], "no held change has the id 4711"),
        (ids[:2], ids[1:3], f"both name {ids[1]}"),
        ("first", [], "int"),
    ):
        refused = review(approve, reject)
        assert (refused.changed, refused.failed) == (0, 1) and message in refused.output, refused.output
    preview = review(ids[:2], ids[2:4], "--check", "--diff", env=READ_ONLY)
    assert (preview.changed, preview.failed) == (2, 0), preview.output
    assert held(pair) == shown
    done = review(",".join(map(str, ids[:2])), ids[2:4])
    assert (done.changed, done.failed) == (2, 0), done.output
    assert held(pair) == shown[4:]
    assert enabled(pair) == {f"{name}@example.com" for name in names(0, MANY)} - {
        row["accounts"][0]["email"] for row in shown[:2]
    }
    again = review(ids[:2], ids[2:4], env=READ_ONLY)
    assert (again.changed, again.failed) == (0, 0), again.output
