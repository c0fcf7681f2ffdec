# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What LiteLLM itself refuses: rows of its table of end users, by whom and when they are written, and by whom never."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import closing
from functools import partial
from typing import Any

import psycopg2
import pytest

from hard_support import until
from kit import openwebui, rows, sentinel
from kit.background import Background
from kit.bridge import change_settings, copy_prepared, drainer, drainer_session, install_bridge
from kit.model_rows import (
    add_access_group,
    add_model,
    add_scope,
    change_model,
    delete_model,
    drain,
    members,
    set_aliases,
)
from kit.pairs import Pair, Session

NEW = pytest.mark.schemas(litellm="new")
OLD = pytest.mark.schemas(litellm="old")
NOTHING = ["no-default-models"]
ALL = ["all-proxy-models"]
TABLE = '"LiteLLM_EndUserTable"'


def stock(pair: Pair, **settings: Any) -> Pair:
    """LiteLLM serves five models, of which fake-a and fake-b are in an access group, and refuses what it must."""
    install_bridge(pair, {"initial_password": "none", "removal_accounts": 1000})
    for name in ("fake-a", "fake-b", "fake.c", "gpt-4o", "solo"):
        info = {"access_groups": ["grp"]} if name in ("fake-a", "fake-b") else {}
        add_model(pair.litellm, name, model_info=info)
    change_settings(pair, model_access=True, enforce_models=True, **settings)
    settle(pair)
    return pair


@pytest.fixture
def enforced(pair: Pair) -> Pair:
    copy_prepared(pair, stock)
    return pair


def settle(pair: Pair) -> None:
    """Everything delivered, and every row written that is free."""
    drain(pair)
    enforce(pair)


def enforce(pair: Pair) -> None:
    """The drainer's turns, until there is nothing left to do."""
    for _turn in range(100):
        if not pair.litellm_admin.value("SELECT user_bridge.enforce_rights(s) FROM user_bridge.settings AS s"):
            return
    raise AssertionError("there is no end to it")


def person(pair: Pair, name: str, **columns: Any) -> str:
    rows.add_user(pair.litellm, name, f"{name}@example.com", **columns)
    return f"{name}@example.com"


def end_users(pair: Pair) -> dict[str, list[str]]:
    found = pair.litellm_admin.rows(f"SELECT user_id, models FROM {TABLE} ORDER BY user_id")
    return {row["user_id"]: row["models"] for row in found}


def row_of(pair: Pair, customer: str) -> dict[str, Any]:
    (found,) = pair.litellm_admin.rows(f"SELECT * FROM {TABLE} WHERE user_id = %s", [customer])
    return found


def add_end_user(session: Session, customer: str, **columns: Any) -> None:
    rows.insert(session, "LiteLLM_EndUserTable", {"user_id": customer, **columns})


def change_end_user(session: Session, customer: str, **columns: Any) -> int:
    return rows.update(session, "LiteLLM_EndUserTable", {"user_id": customer}, columns)


# Who gets which models


@NEW
def test_a_row_has_the_entries_of_the_lists(enforced: Pair) -> None:
    lists: Mapping[str, tuple[list[str], list[str]]] = {
        "name": (["fake-a"], ["fake-a"]),
        "later": (["later"], ["later"]),
        "group": (["grp"], ["grp"]),
        "pattern": (["fake-*", "solo"], ["fake-*", "solo"]),
        "all": (["all-proxy-models"], ALL),
        "star": (["*"], ALL),
        "unassigned": ([], ALL),
        "closed": (["no-default-models"], NOTHING),
        "odd": (["no-default-models", "solo"], NOTHING),
        "word": (["all-team-models"], NOTHING),
        "many": ([f"m{n:02}" for n in range(20)], [f"m{n:02}" for n in range(20)]),
        # LiteLLM's request would fail at it for everything.
        "invalid": (["fake[*", "grp"], ["fake-a", "fake-b"]),
    }
    for name, (models, _wanted) in lists.items():
        person(enforced, name, models=models)
    person(enforced, "admin", models=["solo"], user_role="proxy_admin")
    settle(enforced)
    assert end_users(enforced) == {
        "admin@example.com": ALL,
        **{f"{name}@example.com": wanted for name, (_models, wanted) in lists.items()},
    }


@NEW
def test_a_row_has_what_teams_and_everyone_have(enforced: Pair) -> None:
    pair = enforced
    add_access_group(pair.litellm, "g1", ["gpt-4o"])
    set_aliases(pair.litellm, 7, {"mine": "solo"})
    teams: Mapping[str, dict[str, Any]] = {
        "plain": {"models": ["grp"]},
        "blocked": {"models": ["solo"], "blocked": True},
        "scoped": {"models": ["fake-*"]},
        "unified": {"models": ["solo"], "access_group_ids": ["g1"]},
        "open": {"models": []},
        "aliased": {"models": ["mine", "fake-a"], "model_id": 7},
        "words": {"models": ["all-team-models"]},
    }
    for name, columns in teams.items():
        person(pair, name)
        rows.add_team(pair.litellm, f"t-{name}", name, members_with_roles=members(name), **columns)
    person(pair, "two", models=["fake.c"])
    rows.add_team(pair.litellm, "t-two", "two", members_with_roles=members("two"), models=["grp"])
    person(pair, "off", models=["solo"], metadata={"scim_active": False})
    add_scope(pair.litellm, "t-scoped", "scoped", ["grp"])
    change_settings(pair, models_for_everyone=["task"])
    pair.litellm_admin.run("SELECT user_bridge.enqueue_everything()")
    settle(pair)
    assert end_users(pair) == {
        "plain@example.com": ["grp", "task"],
        "blocked@example.com": ["task"],
        "scoped@example.com": ["fake-a", "fake-b", "task"],
        "unified@example.com": ["gpt-4o", "solo", "task"],
        "open@example.com": ALL,
        "aliased@example.com": ["fake-a", "solo", "task"],
        # Where teams have names of their own, these are none of what the word stands for.
        "words@example.com": ["fake-a", "fake-b", "fake.c", "gpt-4o", "solo", "task"],
        "two@example.com": ["fake.c", "grp", "task"],
        "off@example.com": NOTHING,
    }


@NEW
def test_what_lists_have_in_common_opens_nothing_else(enforced: Pair) -> None:
    """A model whose name is an access group, too, would as an entry open the whole group."""
    pair = enforced
    add_model(pair.litellm, "grp")
    person(pair, "u1")
    rows.add_team(pair.litellm, "t1", "T", members_with_roles=members("u1"), models=["fake-a", "grp"])
    add_scope(pair.litellm, "t1", "u1", ["solo", "fake-a", "grp"])
    settle(pair)
    assert end_users(pair) == {"u1@example.com": ["fake-a", "fake-b"]}


@NEW
def test_policies_decide_as_for_what_is_seen(enforced: Pair) -> None:
    pair = enforced
    person(pair, "u1", models=["solo"])
    rows.add_team(pair.litellm, "t1", "T", members_with_roles=members("u1"), models=["fake-a"])
    seen = {}
    for policy in ("assigned", "teams", "user"):
        change_settings(pair, model_policy=policy)
        pair.litellm_admin.run("SELECT user_bridge.enqueue_everything()")
        settle(pair)
        seen[policy] = end_users(pair)["u1@example.com"]
    assert seen == {"assigned": ["fake-a", "solo"], "teams": ["fake-a"], "user": ["solo"]}


# What changes


@NEW
def test_each_change_reaches_the_row(enforced: Pair) -> None:
    pair, session = enforced, enforced.litellm
    one = person(pair, "u1", models=["solo"])
    rows.add_team(session, "t1", "T", members_with_roles=[], models=["fake-a"])
    settle(pair)
    seen = []

    def see() -> None:
        # Without a drain: a right that is taken does not wait for Open WebUI.
        enforce(pair)
        seen.append(end_users(pair)[one])

    see()
    rows.change_user(session, "u1", models=["gpt-4o"])
    see()
    rows.change_team(session, "t1", members_with_roles=members("u1"))
    see()
    rows.change_team(session, "t1", models=["fake-b"])
    see()
    rows.change_team(session, "t1", blocked=True)
    see()
    rows.change_user(session, "u1", metadata={"scim_active": False})
    see()
    rows.change_user(session, "u1", metadata={}, user_role="proxy_admin")
    see()
    rows.delete_user(session, "u1")
    see()
    assert seen == [
        ["solo"],
        ["gpt-4o"],
        ["fake-a", "gpt-4o"],
        ["fake-b", "gpt-4o"],
        ["gpt-4o"],
        NOTHING,
        ALL,
        NOTHING,
    ]
    settle(pair)
    assert end_users(pair) == {one: NOTHING}


@NEW
def test_a_model_that_comes_changes_only_what_is_spelled_out(enforced: Pair) -> None:
    pair = enforced
    for name in ("u1", "u2"):
        person(pair, name)
        rows.add_team(pair.litellm, f"t-{name}", name, members_with_roles=members(name), models=["fake-*"])
    add_scope(pair.litellm, "t-u2", "u2", ["grp"])
    settle(pair)
    assert end_users(pair) == {"u1@example.com": ["fake-*"], "u2@example.com": ["fake-a", "fake-b"]}
    add_model(pair.litellm, "fake-d", model_info={"access_groups": ["grp"]})
    delete_model(pair.litellm, "fake-a")
    change_model(pair.litellm, "fake-b", model_info={})
    settle(pair)
    assert end_users(pair) == {"u1@example.com": ["fake-*"], "u2@example.com": ["fake-d"]}


@NEW
def test_another_address_is_another_row(enforced: Pair) -> None:
    pair = enforced
    person(pair, "u1", models=["solo"])
    person(pair, "u2", models=["fake-a"])
    settle(pair)
    rows.change_user(pair.litellm, "u1", user_email="New@Example.com")
    settle(pair)
    assert end_users(pair) == {
        "new@example.com": ["solo"],
        "u1@example.com": NOTHING,
        "u2@example.com": ["fake-a"],
    }
    # The old one is somebody else's now.
    rows.change_user(pair.litellm, "u2", user_email="u1@example.com")
    settle(pair)
    assert end_users(pair) == {"new@example.com": ["solo"], "u1@example.com": ["fake-a"], "u2@example.com": NOTHING}


@NEW
def test_the_address_is_the_one_that_open_webui_sends(enforced: Pair) -> None:
    pair = enforced
    openwebui.add_account(pair, "own", "Dave@Example.com")
    rows.add_user(pair.litellm, "dave", " DAVE@example.com ", models=["solo"])
    settle(pair)
    (account,) = openwebui.accounts(pair)
    assert end_users(pair) == {account: ["solo"]}
    # Of an adopted account the address moves only when somebody says so: until then the header has the old one.
    rows.change_user(pair.litellm, "dave", user_email="other@example.com")
    settle(pair)
    assert end_users(pair) == {account: ["solo"]}


@NEW
def test_who_is_held_back_may_call_nothing(enforced: Pair) -> None:
    """Whose account stays in Open WebUI until somebody approves: LiteLLM has no such user any more."""
    pair = enforced
    one = person(pair, "u1", models=["solo"])
    settle(pair)
    change_settings(pair, removal_accounts=0, removal_percent=0)
    rows.delete_user(pair.litellm, "u1")
    settle(pair)
    assert openwebui.account(pair, one) is not None
    assert end_users(pair) == {one: NOTHING}


@NEW
def test_by_id(enforced: Pair) -> None:
    pair = enforced
    person(pair, "u1", models=["solo"])
    settle(pair)
    change_settings(pair, enforce_key="id")
    settle(pair)
    assert end_users(pair) == {"usr_u1": ["solo"], "u1@example.com": NOTHING}


@NEW
def test_the_drainer_does_it_by_itself(enforced: Pair) -> None:
    pair = enforced
    one = person(pair, "u1", models=["solo"])
    with drainer(pair) as errors:
        # Long before its next check of all rows.
        until(lambda: end_users(pair) == {one: ["solo"]})
        rows.change_user(pair.litellm, "u1", models=["fake-a"])
        until(lambda: end_users(pair) == {one: ["fake-a"]})
        change_settings(pair, enforce_models=False)
        until(lambda: end_users(pair) == {})
    assert errors == []


@NEW
def test_a_commit_writes_no_row(enforced: Pair) -> None:
    with enforced.litellm.transaction():
        person(enforced, "u1", models=["solo"])
    assert openwebui.accounts(enforced) and end_users(enforced) == {}


# Whose row it is


@NEW
def test_what_a_flush_has_made_is_adopted_and_given_back(enforced: Pair) -> None:
    pair = enforced
    add_end_user(pair.litellm, "adopted@example.com", spend=1.5)
    for name in ("adopted", "made", "spent", "named"):
        person(pair, name, models=["solo"])
    settle(pair)
    assert set(map(tuple, end_users(pair).values())) == {("solo",)}
    change_end_user(pair.litellm, "spent@example.com", spend=0.25)
    change_end_user(pair.litellm, "named@example.com", alias="Ann")
    change_settings(pair, enforce_models=False)
    settle(pair)
    found = pair.litellm_admin.rows(f"SELECT user_id, models, budget_id, spend, alias FROM {TABLE} ORDER BY user_id")
    assert found == [
        {"user_id": "adopted@example.com", "models": [], "budget_id": None, "spend": 1.5, "alias": None},
        {"user_id": "named@example.com", "models": [], "budget_id": None, "spend": 0, "alias": "Ann"},
        {"user_id": "spent@example.com", "models": [], "budget_id": None, "spend": 0.25, "alias": None},
    ]
    assert budgets(pair) == {}
    assert pair.litellm_admin.value("SELECT count(*) FROM user_bridge.end_user") == 0


def budgets(pair: Pair) -> dict[str, int | None]:
    found = pair.litellm_admin.rows(
        "SELECT budget_id, rpm_limit FROM \"LiteLLM_BudgetTable\" WHERE created_by = 'user_bridge'"
    )
    return {row["budget_id"]: row["rpm_limit"] for row in found}


@NEW
@pytest.mark.parametrize(
    "column", [{"models": ["fake-a"]}, {"alias": "x"}, {"blocked": True}, {"default_model": "m"}, {"budget_id": "b"}]
)
def test_somebody_elses_row_is_left(enforced: Pair, column: dict[str, Any]) -> None:
    pair = enforced
    rows.insert(pair.litellm, "LiteLLM_BudgetTable", {"budget_id": "b", "created_by": "a", "updated_by": "a"})
    add_end_user(pair.litellm, "u1@example.com", **column)
    person(pair, "u1", models=["solo"])
    before = row_of(pair, "u1@example.com")
    settle(pair)
    assert row_of(pair, "u1@example.com") == before
    assert report(pair)["foreign"] == ["u1@example.com"]
    change_settings(pair, enforce_models=False)
    settle(pair)
    assert row_of(pair, "u1@example.com") == before


def report(pair: Pair) -> dict[str, Any]:
    found: dict[str, Any] = pair.litellm_admin.value("SELECT user_bridge.enforcement()")
    return found


@NEW
def test_the_budget_that_somebody_gives_to_a_row_stays(enforced: Pair) -> None:
    pair = enforced
    one = person(pair, "u1", models=["solo"])
    settle(pair)
    rows.insert(pair.litellm, "LiteLLM_BudgetTable", {"budget_id": "b", "created_by": "a", "updated_by": "a"})
    change_end_user(pair.litellm, one, budget_id="b")
    rows.change_user(pair.litellm, "u1", models=["fake-a"])
    settle(pair)
    assert (row_of(pair, one)["budget_id"], row_of(pair, one)["models"]) == ("b", ["fake-a"])
    change_settings(pair, enforce_models=False)
    settle(pair)
    assert (row_of(pair, one)["budget_id"], row_of(pair, one)["models"]) == ("b", [])


@NEW
def test_who_is_known_has_a_budget_of_his_own_where_others_are_denied(enforced: Pair) -> None:
    pair = enforced
    one = person(pair, "u1", models=["solo"])
    settle(pair)
    assert budgets(pair) == {"user_bridge_known": None, "user_bridge_unknown": 0}
    assert row_of(pair, one)["budget_id"] == "user_bridge_known"
    change_settings(pair, enforce_unknown="allow")
    settle(pair)
    assert row_of(pair, one)["budget_id"] is None
    change_settings(pair, enforce_unknown="deny")
    settle(pair)
    assert row_of(pair, one)["budget_id"] == "user_bridge_known"


@NEW
def test_what_somebody_changes_is_put_right(enforced: Pair) -> None:
    pair = enforced
    one, two, three = (person(pair, name, models=["solo"]) for name in ("u1", "u2", "u3"))
    settle(pair)
    change_end_user(pair.litellm, one, models=[])
    change_end_user(pair.litellm, two, budget_id=None)
    rows.delete(pair.litellm, "LiteLLM_EndUserTable", {"user_id": three})
    found = pair.litellm_admin.rows("SELECT entity_id, field FROM user_bridge.reconcile() ORDER BY entity_id")
    assert [(row["entity_id"], row["field"]) for row in found] == [(f"u{n}", "enforced") for n in (1, 2, 3)]
    pair.litellm_admin.run("SELECT user_bridge.check_end_users(s) FROM user_bridge.settings AS s")
    enforce(pair)
    assert end_users(pair) == {one: ["solo"], two: ["solo"], three: ["solo"]}
    assert row_of(pair, two)["budget_id"] == "user_bridge_known"
    assert pair.litellm_admin.rows("SELECT * FROM user_bridge.reconcile()") == []


@NEW
def test_reconcile_repairs_it(enforced: Pair) -> None:
    pair = enforced
    one = person(pair, "u1", models=["solo"])
    settle(pair)
    change_end_user(pair.litellm, one, models=[])
    pair.litellm_admin.run("SELECT user_bridge.reconcile(true)")
    settle(pair)
    assert end_users(pair) == {one: ["solo"]}


@NEW
def test_a_second_turn_writes_nothing(enforced: Pair) -> None:
    pair = enforced
    one = person(pair, "u1", models=["solo"])
    settle(pair)
    before = pair.litellm_admin.value(f"SELECT xmin::text FROM {TABLE} WHERE user_id = %s", [one])
    pair.litellm_admin.run("SELECT user_bridge.check_end_users(s) FROM user_bridge.settings AS s")
    enforce(pair)
    assert pair.litellm_admin.value(f"SELECT xmin::text FROM {TABLE} WHERE user_id = %s", [one]) == before


# Beside LiteLLM


@NEW
def test_a_spend_flush_is_neither_waited_for_nor_disturbed(enforced: Pair) -> None:
    pair = enforced
    with pair.litellm.transaction():
        for n in range(1000):
            person(pair, f"u{n:03}", models=["solo"])
    settle(pair)
    assert len(end_users(pair)) == 1000
    flush = pair.connect("litellm")
    flush.run("BEGIN")
    for n in range(0, 1000, 2):
        flush.run(f"UPDATE {TABLE} SET spend = spend + 0.07 WHERE user_id = %s", [f"u{n:03}@example.com"])
    # It makes rows as well, of whom nobody knows yet.
    flush.run(f"INSERT INTO {TABLE} (user_id, spend) VALUES ('later@example.com', 0.07)")
    person(pair, "later", models=["solo"])
    pair.litellm.run("UPDATE \"LiteLLM_UserTable\" SET models = '{fake-a}'")
    drain(pair)
    pair.litellm_admin.run("SET statement_timeout = '60s'")
    enforce(pair)
    changed = pair.litellm_admin.value(f"SELECT count(*) FROM {TABLE} WHERE models = '{{fake-a}}'")
    assert changed == 500
    assert report(pair)["busy"] == 501
    flush.run("COMMIT")
    retry(pair)
    found = pair.litellm_admin.rows(f"SELECT models, spend FROM {TABLE}")
    assert all(row["models"] == ["fake-a"] for row in found)
    assert sorted(round(row["spend"], 2) for row in found) == [0.0] * 500 + [0.07] * 501


FLUSH = f"""
DO $$
DECLARE
    v_id text;
BEGIN
    FOR v_id IN SELECT user_id FROM public.{TABLE} ORDER BY random() LOOP
        UPDATE public.{TABLE} SET spend = spend + 1 WHERE user_id = v_id;
    END LOOP;
END
$$"""


@NEW
def test_a_thousand_rows_under_flushes_that_never_end(enforced: Pair) -> None:
    """One after the other, each in an order of its own: nobody is in a deadlock, and no cent is lost."""
    pair = enforced
    with pair.litellm.transaction():
        for n in range(1000):
            person(pair, f"u{n:03}", models=["solo"])
    settle(pair)
    flush = pair.connect("litellm", options="-c lock_timeout=5s")

    def book(_n: int) -> None:
        flush.run(FLUSH)

    # The drainer never waits for a row, whatever it is in the middle of.
    pair.litellm_admin.run("SET statement_timeout = '60s'")
    with Background(book, pause=0.005) as flushing:
        for n in range(3):
            pair.litellm.run(f"UPDATE \"LiteLLM_UserTable\" SET models = '{{m{n}}}'")
            flushing.await_steps(1)
            enforce(pair)
            flushing.await_steps(1)
    retry(pair)
    found = pair.litellm_admin.rows(f"SELECT DISTINCT models, spend FROM {TABLE}")
    assert found == [{"models": ["m2"], "spend": flushing.done}]
    sql = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    assert pair.litellm_admin.value(sql) == 0


@NEW
def test_what_a_flush_is_making_holds_up_nobody(enforced: Pair) -> None:
    """It inserts rows as well, which nobody sees before it ends."""
    pair = enforced
    names = [f"u{n:02}" for n in range(40)]
    flush = pair.connect("litellm")
    flush.run("BEGIN")
    flush.run(f"INSERT INTO {TABLE} (user_id, spend) VALUES ('u20@example.com', 0.07)")
    for name in names:
        person(pair, name, models=["solo"])
    settle(pair)
    assert len(end_users(pair)) == 39
    flush.run("COMMIT")
    retry(pair)
    assert end_users(pair) == {f"{name}@example.com": ["solo"] for name in names}
    assert row_of(pair, "u20@example.com")["spend"] == 0.07


def retry(pair: Pair) -> None:
    """The pause of what was locked is over."""
    pair.litellm_admin.run("UPDATE user_bridge.end_user SET tried_at = '-infinity'")
    enforce(pair)


@NEW
def test_nobody_is_let_in_between(enforced: Pair) -> None:
    """While rights change, a second reader never finds a row that is empty, or none."""
    pair = enforced
    one = person(pair, "u1", models=["solo"])
    settle(pair)
    seen: set[tuple[str, ...] | None] = set()
    reader = pair.connect("litellm")

    def look(_n: int) -> None:
        found = reader.rows(f"SELECT models FROM {TABLE} WHERE user_id = %s", [one])
        seen.add(tuple(found[0]["models"]) if found else None)

    with Background(look, pause=0.0005):
        for n in range(10):
            rows.change_user(pair.litellm, "u1", models=[["fake-a"], ["no-default-models"]][n % 2])
            settle(pair)
        rows.delete_user(pair.litellm, "u1")
        settle(pair)
        person(pair, "u1", models=["gpt-4o"])
        settle(pair)
    assert seen <= {("solo",), ("fake-a",), ("gpt-4o",), tuple(NOTHING)}
    assert end_users(pair) == {one: ["gpt-4o"]}


def may_call(pair: Pair, customer: str, model: str) -> bool:
    return end_users(pair)[customer] == [model]


@NEW
def test_a_flush_waits_for_no_longer_than_a_turn(enforced: Pair) -> None:
    """What the drainer has written is free again before it delivers anything, even to a target that does not answer."""
    pair = enforced
    one = person(pair, "u1", models=["solo"])
    settle(pair)
    holder = pair.connect("openwebui")
    with drainer(pair):
        holder.run("BEGIN")
        holder.run('LOCK TABLE "user" IN ACCESS EXCLUSIVE MODE')
        flush = pair.connect("litellm")
        # Half of what a target that does not answer is waited for.
        flush.run("SET lock_timeout = '1s'")

        def book(_n: int) -> None:
            flush.run(f"UPDATE {TABLE} SET spend = spend + 1 WHERE user_id = %s", [one])

        with Background(book, pause=0.001) as booking:
            for n in range(5):
                rows.change_user(pair.litellm, "u1", models=[f"m{n}"], user_alias=f"A {n}")
                until(partial(may_call, pair, one, f"m{n}"))
        holder.run("ROLLBACK")
    assert row_of(pair, one)["spend"] == booking.done


@NEW
def test_a_copy_of_the_database_writes_nothing(enforced: Pair) -> None:
    pair = enforced
    person(pair, "u1", models=["solo"])
    pair.litellm_admin.run("UPDATE user_bridge.identity SET system_identifier = 1")
    enforce(pair)
    assert end_users(pair) == {}


# Code of LiteLLM's role that writing these tables would run, and which a superuser's session must not


@NEW
@pytest.mark.parametrize("rule", ["CASCADE", "SET NULL"])
def test_what_a_budget_takes_along_runs_in_no_superusers_session(enforced: Pair, rule: str) -> None:
    """A trigger of a table that refers to the budgets: up to PostgreSQL 17 it runs at COMMIT, as the session's user."""
    pair = enforced
    pair.litellm.run(f'CREATE TABLE hanger (id text REFERENCES "LiteLLM_BudgetTable" ON DELETE {rule})')
    pair.litellm.run("INSERT INTO hanger VALUES ('user_bridge_known')")
    pair.litellm.run(sentinel.functions() + sentinel.statements("hanger")["trigger"])
    change_settings(pair, enforce_models=False)
    assert refused_without_running(pair, "SELECT user_bridge.give_back_end_users(100)") == (
        "trigger sentinel_at_commit on public.hanger; trigger sentinel_before on public.hanger"
    )
    assert budgets(pair) != {}
    # In the drainer's session there is nothing to be had.
    with closing(drainer_session(pair)) as session:
        session.run("CALL user_bridge.drainer(2)")
    assert budgets(pair) == {}


def refused_without_running(pair: Pair, call: str) -> str:
    """What is named in the refusal."""
    words: list[str] = []

    def act() -> None:
        with pytest.raises(psycopg2.Error) as refusal:
            pair.litellm_admin.run(call)
        words.extend(re.findall("rights of postgres: (.*); drop it", str(refusal.value)))

    assert sentinel.sprung(pair, act) == []
    return words[0]


@NEW
def test_nor_does_what_a_row_refers_to(enforced: Pair) -> None:
    pair = enforced
    pair.litellm.run("CREATE TABLE partner (id text PRIMARY KEY); INSERT INTO partner VALUES ('user_bridge_known')")
    pair.litellm.run(f"ALTER TABLE {TABLE} ADD FOREIGN KEY (budget_id) REFERENCES partner")
    pair.litellm.run(sentinel.functions() + sentinel.statements("partner")["partial index"])
    person(pair, "u1", models=["solo"])
    call = "SELECT user_bridge.enforce_rights(s) FROM user_bridge.settings AS s"
    assert "which calls sentinel.look(text)" in refused_without_running(pair, call)


@NEW
@pytest.mark.parametrize("unlinked", ["deny", "allow"])
def test_nor_what_a_comparison_reads(enforced: Pair, unlinked: str) -> None:
    pair = enforced
    change_settings(pair, enforce_unlinked=unlinked)
    pair.litellm.run(sentinel.functions() + sentinel.statements("LiteLLM_EndUserTable")["view"])
    assert "LiteLLM_EndUserTable" in refused_without_running(pair, "SELECT * FROM user_bridge.reconcile()")


@OLD
def test_an_older_litellm_is_left_alone(pair: Pair) -> None:
    """Its table has no models: the preflight refuses it, and whoever gets past that breaks nothing."""
    install_bridge(pair, {"initial_password": "none"})
    pair.superuser("litellm").run("UPDATE user_bridge.settings SET enforce_models = true, model_access = true")
    pair.litellm_admin.run("SELECT user_bridge.refresh_entities()")
    person(pair, "u1", models=["solo"])
    settle(pair)
    assert pair.litellm_admin.value(f"SELECT count(*) FROM {TABLE}") == 0
    assert report(pair)["supported"] is False
