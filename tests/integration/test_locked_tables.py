# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Somebody locks a table of the bridge's, to rewrite it or to deploy: LiteLLM's writes go on, and nothing is lost."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from hard_support import lock_waits, log_lock_waits
from kit import model_rows, openwebui, rows
from kit.bridge import install_bridge
from kit.cluster import SUPERUSER
from kit.drains import drain_all
from kit.oracle import differences
from kit.pairs import Pair, Session

SETTINGS = {"initial_password": "none", "model_access": True, "removal_accounts": 1000, "removal_percent": 100}
# One wait of 50 ms for each of a few locks; the bound is far below one wait for each of MANY rows.
FEW, MANY = 20, 60
# Else a write that waits would do so for ever.
PATIENT = "-c statement_timeout=20s"


@contextlib.contextmanager
def locked(pair: Pair, table: str) -> Iterator[None]:
    """As VACUUM FULL locks it."""
    holder = pair.connect("litellm", SUPERUSER, autocommit=False)
    holder.run(f"LOCK TABLE user_bridge.{table} IN ACCESS EXCLUSIVE MODE")
    yield
    holder.rollback()
    holder.close()


def compare(pair: Pair) -> None:
    """As the drainer does by itself, and what it finds is delivered."""
    pair.litellm_admin.run("UPDATE user_bridge.upkeep SET next_at = now(); SELECT user_bridge.upkeep()")
    drain_all(pair)


def write_everything(session: Session, name: str) -> None:
    """At least one write for each trigger, each of which queues something."""
    rows.add_organization(session, name, name)
    rows.add_team(session, name, name, organization_id=name, members_with_roles=model_rows.members("u1", "u2"))
    rows.add_user(session, name, f"{name}@example.com", teams=[name], team_id=name, organization_id=name)
    rows.join_organization(session, name, "u1")
    rows.add_key(session, f"token of {name}", "u1", team_id=name, models=["m1"])
    model_rows.add_scope(session, name, "u1", ["m1"])
    model_rows.add_model(session, f"model of {name}")
    model_rows.configure(session, "router_settings", {"model_group_alias": {f"alias of {name}": "m1"}})
    rows.change_team(session, "t1", models=[f"model of {name}"], members_with_roles=model_rows.members("u3", name))
    rows.change_user(session, "u1", user_alias=name, models=[f"model of {name}"])
    session.run('UPDATE "LiteLLM_UserTable" SET user_alias = %s, teams = ARRAY[%s]', [name, name])


def with_people(pair: Pair) -> None:
    install_bridge(pair, SETTINGS)
    log_lock_waits(pair, "litellm")
    with pair.litellm.transaction():
        rows.add_team(pair.litellm, "t1", "One", members_with_roles=model_rows.members("u1"))
        model_rows.add_model(pair.litellm, "m1")
        for number in range(MANY):
            rows.add_user(pair.litellm, f"u{number}", f"u{number}@example.com")
    drain_all(pair)


USED = {
    *("sync_queue", "sync_mapping", "settings", "address", "user_team", "moved"),
    *("known_key", "listed_member", "member_budget", "rights_due"),
}


def check(pair: Pair, tables: set[str]) -> None:
    waits = {}
    for number, table in enumerate(sorted(tables)):
        writer = pair.connect("litellm", autocommit=False, options=PATIENT)
        with locked(pair, table):
            before = lock_waits(pair, "litellm")
            write_everything(writer, f"n{number}")
            writer.commit()
            waits[table] = lock_waits(pair, "litellm") - before
        writer.close()
        compare(pair)
        assert differences(pair) == [], table
        assert pair.litellm_admin.rows("SELECT * FROM user_bridge.reconcile()") == [], table
    assert sum(waits.values()) > 0 and max(waits.values()) <= FEW, waits


def test_one_that_the_triggers_use_holds_no_write_and_loses_nothing(pair: Pair) -> None:
    with_people(pair)
    check(pair, USED)


@pytest.mark.weekly
def test_nor_does_any_other(pair: Pair) -> None:
    with_people(pair)
    every = pair.litellm_admin.rows(
        "SELECT relname AS name FROM pg_class WHERE relnamespace = 'user_bridge'::regnamespace AND relkind = 'r'"
    )
    check(pair, {row["name"] for row in every} - USED)


def test_what_was_lost_is_found_also_where_its_transaction_ends_after_a_comparison(pair: Pair) -> None:
    install_bridge(pair, SETTINGS)
    rows.add_user(pair.litellm, "u1", "u1@example.com")
    writer = pair.connect("litellm", autocommit=False, options=PATIENT)
    with locked(pair, "sync_queue"):
        rows.add_user(writer, "u2", "u2@example.com")
    compare(pair)
    writer.commit()
    compare(pair)
    assert set(openwebui.accounts(pair)) == {"u1@example.com", "u2@example.com"}
    # Once, and not with every round from then on.
    assert pair.litellm_admin.value("SELECT writers FROM user_bridge.target") is None


def test_an_id_that_is_rewritten_meanwhile_keeps_its_account(pair: Pair) -> None:
    install_bridge(pair, SETTINGS)
    rows.add_user(pair.litellm, "u1", "u1@example.com")
    with locked(pair, "sync_queue"):
        pair.litellm.run("SET statement_timeout = '20s'")
        pair.litellm.run("UPDATE \"LiteLLM_UserTable\" SET user_id = 'u2', user_email = 'u2@example.com'")
    compare(pair)
    assert pair.openwebui.value("SELECT id FROM \"user\" WHERE email = 'u2@example.com'") == "usr_u1"
    assert differences(pair) == []


@pytest.mark.parametrize("table", ["sync_queue", "settings", "address", "user_team"])
def test_it_is_waited_for_once_and_not_by_each_row(pair: Pair, table: str) -> None:
    with_people(pair)
    writer = pair.connect("litellm", autocommit=False, options=PATIENT)
    before = lock_waits(pair, "litellm")
    with locked(pair, table):
        writer.run("UPDATE \"LiteLLM_UserTable\" SET user_email = 'x' || user_email, teams = '{t1}', models = '{m1}'")
        writer.commit()
    assert 0 < lock_waits(pair, "litellm") - before <= FEW
    compare(pair)
    assert differences(pair) == []
