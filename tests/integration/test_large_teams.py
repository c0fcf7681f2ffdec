# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Thousands join or leave a team in one write of LiteLLM's, which adds everybody at once if it is told so."""

from __future__ import annotations

import time

import pytest

from kit import openwebui, rows
from kit.bridge import change_settings
from kit.drains import drain_all
from kit.model_rows import add_model, members
from kit.oracle import differences
from kit.pairs import Pair

PEOPLE = [f"u{number}" for number in range(12)]
# What the team itself stands in the queue for, whoever is in it.
FEW = 8


def queued(pair: Pair) -> int:
    return int(pair.litellm_admin.value("SELECT count(*) FROM user_bridge.sync_queue"))


def list_members(pair: Pair, first: int, count: int) -> None:
    """One write; the names are of nobody whom LiteLLM has."""
    pair.litellm.run(
        'UPDATE "LiteLLM_TeamTable" SET members_with_roles = (SELECT coalesce(jsonb_agg(jsonb_build_object('
        "'role', 'user', 'user_id', 'n' || n)), '[]') FROM generate_series(%s, %s) AS n) WHERE team_id = 't1'",
        [first, first + count - 1],
    )


@pytest.mark.schemas(litellm="all", older="weekly")
@pytest.mark.parametrize("model_access", [True, False])
def test_a_write_does_not_queue_each_of_them(quick: Pair, model_access: bool) -> None:
    change_settings(quick, model_access=model_access)
    rows.add_team(quick.litellm, "t1", "Blue")
    quick.litellm_admin.run("SELECT user_bridge.pause()")
    for first, count in ((0, 3000), (3000, 3000), (0, 0)):
        list_members(quick, first, count)
        assert queued(quick) < FEW
    list_members(quick, 0, 3)
    assert queued(quick) >= 3


def make_few_many(pair: Pair) -> Pair:
    """Rights on models, a dozen people, and a bridge that takes three of them for many."""
    change_settings(pair, model_access=True)
    for name in ("m1", "m2"):
        add_model(pair.litellm, name)
    rows.add_team(pair.litellm, "t1", "Blue", models=["m1"])
    for user in PEOPLE:
        rows.add_user(pair.litellm, user, f"{user}@example.com")
    drain_all(pair)
    pair.litellm_admin.run(
        "CREATE OR REPLACE FUNCTION user_bridge.are_many(p_ids text[]) RETURNS boolean LANGUAGE sql IMMUTABLE AS "
        "'SELECT cardinality(p_ids) > 2'"
    )
    return pair


prepare = make_few_many


def is_equal(pair: Pair) -> bool:
    return differences(pair) == [] and pair.litellm_admin.rows("SELECT * FROM user_bridge.reconcile(false)") == []


def test_all_of_them_are_delivered(prepared: Pair) -> None:
    """Who came, who went, who stays, and who is known before there is an account."""
    for listed in (PEOPLE[:6], [*PEOPLE[4:10], "later"], PEOPLE[9:], []):
        rows.change_team(prepared.litellm, "t1", members_with_roles=members(*listed))
        drain_all(prepared)
        there = sorted(f"usr_{user}" for user in listed if user != "later")
        assert openwebui.groups(prepared)["grp_team_t1"] == ("Blue", there)
        assert is_equal(prepared)
        recorded = "SELECT array_agg(user_id) FROM user_bridge.listed_member WHERE team_id = 't1'"
        assert set(prepared.litellm_admin.value(recorded) or []) == set(listed)


def test_so_are_those_of_a_new_team_and_of_one_that_is_gone(prepared: Pair) -> None:
    rows.add_team(prepared.litellm, "t2", "Red", models=["m2"], members_with_roles=members(*PEOPLE[:6]))
    drain_all(prepared)
    assert len(openwebui.groups(prepared)["grp_team_t2"][1]) == 6 and is_equal(prepared)
    rows.delete_team(prepared.litellm, "t2")
    drain_all(prepared)
    assert "grp_team_t2" not in openwebui.groups(prepared) and is_equal(prepared)


def test_with_what_else_its_transaction_changes(prepared: Pair) -> None:
    """And with what is changed before the drainer has looked at the list."""
    prepared.litellm_admin.run("SELECT user_bridge.pause()")
    with prepared.litellm.transaction():
        rows.change_team(prepared.litellm, "t1", members_with_roles=members(*PEOPLE[:6]), models=["m2"])
        rows.delete_user(prepared.litellm, "u1")
    rows.change_team(prepared.litellm, "t1", members_with_roles=members(*PEOPLE[:5]))
    prepared.litellm_admin.run("SELECT user_bridge.resume()")
    drain_all(prepared)
    there = sorted(f"usr_{user}" for user in PEOPLE[:5] if user != "u1")
    assert openwebui.groups(prepared)["grp_team_t1"] == ("Blue", there) and is_equal(prepared)


def test_a_long_list_is_not_read_for_each_of_many(quick: Pair) -> None:
    """Ten times as many of them would take ten times as long, and take little longer than reading the list once."""
    change_settings(quick, model_access=True)
    rows.add_team(quick.litellm, "t1", "Blue")

    def seconds(count: int) -> float:
        found = []
        for _turn in range(3):
            started = time.monotonic()
            quick.litellm_admin.run(
                "SELECT user_bridge.write_listed_members('t1', array(SELECT 'x' || n FROM generate_series(1, %s) n), "
                "(SELECT jsonb_agg('n' || n) FROM generate_series(1, 100000) AS n))",
                [count],
            )
            found.append(time.monotonic() - started)
        return min(found)

    assert seconds(2000) < 4 * seconds(200)
