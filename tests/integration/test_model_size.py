# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rights on models at the size of the design: what people see is right. How long it takes is in the bench."""

from __future__ import annotations

import pytest

from kit import model_oracle, openwebui
from kit.bridge import install_bridge
from kit.drains import drain_all
from kit.large_world import MODELS, USERS, fill
from kit.model_oracle import TABLES, Row, World
from kit.pairs import Pair, Session

SAMPLED = 250
SHIFT = USERS // SAMPLED


@pytest.mark.weekly
@pytest.mark.schemas(openwebui="all")
def test_people_of_ten_thousand_see_what_litellm_lets_them_call(pair: Pair) -> None:
    fill(pair.litellm)
    install_bridge(pair, {"initial_password": "none", "model_access": True})
    pair.litellm_admin.run("SELECT user_bridge.enqueue_everything()")
    drain_all(pair, seconds=600)
    # Of every kind that there is by number, in both.
    sample = {f"u{number * SHIFT + number % SHIFT}" for number in range(1, SAMPLED)}
    world = stored(pair.litellm, sample)
    with model_oracle.judge("new") as judge:
        right = model_oracle.expected(world, judge.ways(world), "assigned")
    shown = {
        account.removeprefix("usr_"): models
        for account, models in openwebui.visible_models(pair).items()
        if account.startswith("usr_")
    }
    seen = {(user, model) for user in sample for model in shown[user]}
    assert (sorted(seen - right), sorted(right - seen)) == ([], [])
    assert len(shown) == USERS and len(world.names) == MODELS
    # Each kind of person is among them: who sees nothing, something, and everything.
    assert {0, 2, MODELS} <= {len(shown[user]) for user in sample}
    assert pair.litellm_admin.rows("SELECT * FROM user_bridge.reconcile(false)") == []


def stored(session: Session, users: set[str]) -> World:
    """What decides about these users, as LiteLLM's tables have it."""

    def rows(table: str, of: str = "true") -> list[Row]:
        found = session.rows(f'SELECT to_jsonb(t) AS row FROM "{table}" AS t WHERE {of}', {"users": list(users)})
        return [each["row"] for each in found]

    whose = ("LiteLLM_UserTable", "LiteLLM_TeamMembership", "LiteLLM_VerificationToken")
    kept = {table: rows(table, "user_id = ANY (%(users)s)") for table in whose}
    return World({**{table: rows(table) for table in TABLES if table not in whose}, **kept}, [], [])
