# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SERIALIZABLE transactions that change different teams, keys or budgets do not fail each other by the bridge.

Who has had an address for how long is written down at once, whatever the level: afterwards nobody knows it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kit import rows
from kit.bridge import before_the_bridge, change_settings
from kit.cluster import SUPERUSER
from kit.drains import drain_all
from kit.model_rows import add_budget, add_membership, add_model, change_membership, members
from kit.oracle import differences
from kit.pairs import Pair, Session
from test_savepoints import own_models_of

# A write, by the first or second time: what a transaction has read is in the way of what the other writes later.
Write = Callable[[Session, str, int], object]
ONE, OTHER = "ann", "bob"
WRITES: dict[str, Write] = {
    "who is in a team": lambda session, name, turn: rows.change_team(
        session, f"of {name}", members_with_roles=members(*["eve", name][: turn + 1])
    ),
    "a key's list": lambda session, name, turn: rows.update(
        session, "LiteLLM_VerificationToken", {"token": f"of {name}"}, {"models": ["m1", "m2"][: turn + 1]}
    ),
    "a member's budget": lambda session, name, turn: change_membership(
        session, f"of {name}", name, budget_id=[None, "b2"][turn]
    ),
}


def peopled(pair: Pair) -> Pair:
    """Two people with a team, a key and a budget of their own each."""
    change_settings(pair, model_access=True)
    with before_the_bridge(pair):
        # Between these two, so that they share no page of LiteLLM's own index.
        pair.litellm.run(
            'INSERT INTO "LiteLLM_UserTable" (user_id) '
            "SELECT 'b' || n || encode(sha256(n::text::bytea), 'hex') FROM generate_series(1000, 1300) AS n"
        )
    for name in ("m1", "m2"):
        add_model(pair.litellm, name)
    for budget in ("b1", "b2"):
        add_budget(pair.litellm, budget)
    for name in (ONE, OTHER, "eve"):
        rows.add_user(pair.litellm, name, f"{name}@example.com", teams=["t1"])
        rows.add_team(pair.litellm, f"of {name}", f"Of {name}", models=["m1"], members_with_roles=members(name))
        rows.add_key(pair.litellm, f"of {name}", name, models=["m1"])
        add_membership(pair.litellm, f"of {name}", name, "b1")
    drain_all(pair)
    return pair


prepare = peopled


@pytest.fixture
def people(prepared: Pair) -> Pair:
    return prepared


def serializable(pair: Pair) -> Session:
    session = pair.connect("litellm", autocommit=False)
    # As in large tables: LiteLLM's own statements read no more than their row.
    session.run(
        "SET default_transaction_isolation = 'serializable'; SET enable_seqscan = off; SET enable_bitmapscan = off"
    )
    session.commit()
    return session


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_two_that_have_nothing_in_common_both_commit(people: Pair, write: Write) -> None:
    one, other = serializable(people), serializable(people)
    for turn in (0, 1):
        write(one, ONE, turn)
        write(other, OTHER, turn)
    one.commit()
    other.commit()
    drain_all(people)
    assert differences(people) == []
    assert people.litellm_admin.rows("SELECT * FROM user_bridge.stale_entities(NULL)") == []
    assert people.litellm_admin.value("SELECT count(*) FROM user_bridge.unrecorded") == 0


def test_what_such_a_transaction_changes_is_recorded_before_it_is_delivered(people: Pair) -> None:
    session = serializable(people)
    for write in ("who is in a team", "a key's list"):
        WRITES[write](session, ONE, 1)
    session.commit()
    assert own_models_of(people, ONE) == {"m1"}
    drain_all(people)
    assert own_models_of(people, ONE) == {"m1", "m2"}


def test_a_drain_leaves_what_another_is_recording(people: Pair) -> None:
    session = serializable(people)
    WRITES["a key's list"](session, ONE, 1)
    session.commit()
    holder = people.connect("litellm", SUPERUSER, autocommit=False)
    holder.run("SELECT FROM user_bridge.unrecorded FOR UPDATE")
    assert people.litellm_admin.rows("SELECT * FROM user_bridge.drain()") == []
    failed = "SELECT count(*) FROM user_bridge.sync_audit WHERE sync_result = 'FAILED'"
    assert people.litellm_admin.value(failed) == 0
    holder.rollback()
    drain_all(people)
    assert own_models_of(people, ONE) == {"m1", "m2"}


def test_what_another_changes_while_it_is_recorded_is_looked_at_again(people: Pair) -> None:
    session, other = serializable(people), people.connect("litellm", autocommit=False)
    WRITES["who is in a team"](session, ONE, 0)
    session.commit()
    # It finds her recorded still, and the drain does not see that she is back.
    WRITES["who is in a team"](other, ONE, 1)
    people.litellm_admin.rows("SELECT * FROM user_bridge.drain()")
    other.commit()
    drain_all(people)
    assert people.litellm_admin.rows("SELECT * FROM user_bridge.stale_entities(NULL)") == []
