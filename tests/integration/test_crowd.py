# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A COMMIT that is alone delivers; in a crowd it leaves its changes to a drainer that keeps up."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from hard_support import replaced, until
from kit import openwebui, pairs, rows
from kit.bridge import Mutate, change_settings, drainer, install_bridge
from kit.cluster import SUPERUSER
from kit.drains import drain_on
from kit.model_rows import add_model
from kit.pairs import Pair, Session
from kit.story import MODELS, tell_both
from test_delivery import queue
from test_model_grants import readers

STANDSTILL = 1.0  # Seconds after which a drainer does not come to it any more.


@pytest.fixture
def quick(pair: Pair) -> Pair:
    """No test sees the crowd of another."""
    install_bridge(pair, {"initial_password": "none"})
    return pair


@contextmanager
def another_delivers(pair: Pair) -> Iterator[None]:
    """A transaction that has delivered and has not ended."""
    session = pair.connect("litellm", autocommit=False)
    rows.add_user(session, "first", "first@example.com")
    session.run("SET CONSTRAINTS ALL IMMEDIATE")
    try:
        yield
    finally:
        session.commit()


@contextmanager
def idle_drainer(pair: Pair) -> Iterator[None]:
    """It lives, and delivers nothing."""
    assert pair.litellm_admin.value("SELECT user_bridge.begin_drainer()") is True
    try:
        yield
    finally:
        pair.litellm_admin.run("SELECT user_bridge.end_drainer()")


def arrived(pair: Pair, name: str) -> bool:
    return f"{name}@example.com" in openwebui.accounts(pair)


def arrives_at_once(pair: Pair, name: str = "u1") -> bool:
    rows.add_user(pair.litellm, name, f"{name}@example.com")
    return arrived(pair, name)


def counted(pair: Pair) -> tuple[int, int]:
    sql = "SELECT coalesce(pg_sequence_last_value(%s), 0)"
    delivered, queued = (
        pair.litellm_admin.value(sql, [f"user_bridge.commits_{name}"]) for name in ("delivered", "queued")
    )
    return delivered, queued


def set_clock(pair: Pair, sequence: str, milliseconds: int) -> None:
    """A sequence that holds a time, as from now."""
    pair.litellm_admin.run("SELECT setval('user_bridge.' || %s, user_bridge.now_ms() + %s)", [sequence, milliseconds])


@contextmanager
def stopped_clock(pair: Pair) -> Iterator[Callable[[int], None]]:
    """However long a busy machine takes, for the bridge it is still now, or so many milliseconds later."""
    admin = pair.litellm_admin
    shipped = admin.value("SELECT pg_get_functiondef('user_bridge.now_ms()'::regprocedure)")
    now = admin.value("SELECT user_bridge.now_ms()")

    def stop(later: int) -> None:
        body = f"AS 'SELECT {now + later}'"
        admin.run(f"CREATE OR REPLACE FUNCTION user_bridge.now_ms() RETURNS bigint LANGUAGE sql {body}")

    stop(0)
    try:
        yield stop
    finally:
        admin.run(shipped)


def test_alone_it_delivers(quick: Pair) -> None:
    with idle_drainer(quick):
        assert arrives_at_once(quick)
    assert counted(quick) == (1, 0)


def test_in_a_crowd_the_drainer_does(quick: Pair) -> None:
    with drainer(quick) as errors:
        with another_delivers(quick):
            rows.add_user(quick.litellm, "u1", "u1@example.com")
            assert counted(quick)[1] == 1
            until(lambda: arrived(quick, "u1"))
        until(lambda: queue(quick) == [])
    assert errors == []
    assert quick.litellm_admin.value("SELECT last_value FROM user_bridge.drain_delay") > 1


def test_a_crowd_is_remembered_for_a_moment(quick: Pair) -> None:
    with idle_drainer(quick):
        with stopped_clock(quick) as later:
            with another_delivers(quick):
                assert not arrives_at_once(quick, "u1")
            later(249)
            assert not arrives_at_once(quick, "u2")
            # Whom it met is no crowd any more.
            later(600)
            assert arrives_at_once(quick, "u3")
        # A clock that was set back prolongs it no further.
        set_clock(quick, "crowd_until", 3_600_000)
        quick.litellm_admin.run("SELECT setval('user_bridge.waiting_since', 1)")
        assert arrives_at_once(quick, "u4")


def woke(pair: Pair, name: str) -> bool:
    """Whether a write of this user was looked at when it was committed. What is delivered was."""
    rows.add_user(pair.litellm, name, f"{name}@example.com")
    sql = "SELECT bool_and(NOT wakes) IS NOT TRUE FROM user_bridge.sync_queue WHERE entity_id = %s"
    return bool(pair.litellm_admin.value(sql, [name]))


def test_what_one_has_found_out_others_need_not(quick: Pair) -> None:
    """That a drainer lives and keeps up: they only queue, and look at nothing at their COMMIT."""
    with stopped_clock(quick), idle_drainer(quick), another_delivers(quick):
        assert woke(quick, "u1")
        assert not woke(quick, "u2") and counted(quick) == (1, 2)
        # One of two rows of a transaction is counted.
        rows.add_organization(quick.litellm, "o1", "O1")
        quick.litellm.run("UPDATE \"LiteLLM_UserTable\" SET user_alias = 'Other', organization_id = 'o1'")
        assert counted(quick) == (1, 4)
        quick.litellm_admin.run("SELECT setval('user_bridge.backlog', 1)")
        assert woke(quick, "u3"), "nobody would know that something is in the queue"
        for lag in (300, -300):
            set_clock(quick, "waiting_since", -lag)
            assert woke(quick, f"lag{lag}"), "nobody would give way, or find out that the drainer stands still"
        # Whoever gives way does not look whether it lives either, unless it may stand still.
        shipped = quick.litellm_admin.value("SELECT pg_get_functiondef('user_bridge.drainer_lives()'::regprocedure)")
        quick.litellm_admin.run(shipped.replace("BEGIN", "BEGIN RETURN false;", 1))
        for lag, is_left in ((300, True), (1500, False)):
            set_clock(quick, "waiting_since", -lag)
            set_clock(quick, "left_until", 50)
            assert arrives_at_once(quick, f"leftfor{lag}") is not is_left
        quick.litellm_admin.run(shipped)
        set_clock(quick, "waiting_since", -10)
        for left in (0, 3_600_000):
            set_clock(quick, "left_until", left)
            assert woke(quick, f"left{left}"), "nobody would look whether the drainer lives"


def test_without_a_drainer_everybody_delivers(quick: Pair) -> None:
    with another_delivers(quick):
        assert arrives_at_once(quick)


def test_so_everybody_does_where_its_lock_is_held_by_another(quick: Pair) -> None:
    with idle_drainer(quick), another_delivers(quick):
        set_clock(quick, "drainer_beat", -60_000)
        assert arrives_at_once(quick)


def test_a_drainer_that_is_behind_gets_no_more(quick: Pair) -> None:
    with idle_drainer(quick), another_delivers(quick):
        assert not arrives_at_once(quick, "u1")
        time.sleep(STANDSTILL)
        # And somebody takes what it has not come to.
        assert arrives_at_once(quick, "u2") and arrived(quick, "u1")
        # Nor where its mark is from before a clock was set back.
        set_clock(quick, "waiting_since", 3_600_000)
        assert arrives_at_once(quick, "u3")


def test_a_commit_gives_way_to_a_drainer_that_does_not_keep_up(quick: Pair) -> None:
    """For a moment that grows with what waits, and never beyond what a lock is waited for."""
    with idle_drainer(quick), another_delivers(quick), stopped_clock(quick):
        # Full at 450 ms, and behind from a second on.
        set_clock(quick, "waiting_since", -500)
        took = []
        for number in range(5):
            began = time.perf_counter()
            rows.add_user(quick.litellm, f"u{number}", f"u{number}@example.com")
            took.append(time.perf_counter() - began)
        assert not any(arrived(quick, f"u{number}") for number in range(5))
        # Each of them: one alone may be late because the machine is busy.
        assert min(took) >= 0.05
    pause = "SELECT user_bridge.pause_for_drainer(%s)"
    pauses = [quick.litellm_admin.value(pause, [lag]) for lag in range(0, 2000, 50)]
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[5], max(pauses)) == (0, 0, 50)


def test_a_batch_lasts_a_fifth_of_a_second(quick: Pair) -> None:
    """By its last size, what it delivered and in how many milliseconds. Of one that was not full nothing is learned."""
    cases = {(100, 100, 50): 400, (500, 500, 100): 500, (500, 500, 1000): 100, (100, 100, 5000): 50, (400, 7, 80): 400}
    found = {case: quick.litellm_admin.value("SELECT user_bridge.batch_size(%s, %s, %s)", case) for case in cases}
    assert found == cases


def test_in_an_outage_nobody_relies_on_it(quick: Pair) -> None:
    with idle_drainer(quick), another_delivers(quick):
        set_clock(quick, "outage", -1000)
        assert arrives_at_once(quick)


def test_where_it_is_set_everybody_delivers(quick: Pair) -> None:
    change_settings(quick, delivery="inline")
    with idle_drainer(quick), another_delivers(quick):
        assert arrives_at_once(quick)


def waiting_since(pair: Pair) -> int:
    found: int = pair.litellm_admin.value("SELECT coalesce(pg_sequence_last_value('user_bridge.waiting_since'), 1)")
    return found


def test_one_at_a_time_delivers_in_its_place(quick: Pair) -> None:
    """All of them would leave it no core to catch up."""
    with idle_drainer(quick), another_delivers(quick):
        set_clock(quick, "waiting_since", -1500)
        passing = quick.connect("litellm", autocommit=False)
        rows.add_user(passing, "u1", "u1@example.com")
        passing.run("SET CONSTRAINTS ALL IMMEDIATE")
        assert not arrives_at_once(quick, "u2")
        passing.commit()
        assert arrives_at_once(quick, "u3")


def test_a_drainer_that_is_never_at_the_end_is_seen_to_get_on(quick: Pair) -> None:
    change_settings(quick, delivery="queued")
    for number in range(3):
        rows.add_user(quick.litellm, f"u{number}", f"u{number}@example.com")
    queued = quick.litellm_admin.rows(
        "SELECT entity_id, (extract(epoch FROM enqueued_at) * 1000)::bigint AS at FROM user_bridge.sync_queue "
        "WHERE entity_type = 'user'"
    )
    at = {row["entity_id"]: row["at"] for row in queued}
    quick.litellm_admin.run("SELECT setval('user_bridge.waiting_since', 2)")
    # A round that takes two, as if the round before had ended a moment ago.
    quick.litellm_admin.run(
        "SELECT user_bridge.drainer_round(jsonb_build_object('place', jsonb_build_object("
        "'size', 2, 'again_at', extract(epoch FROM clock_timestamp()) + 30)))"
    )
    assert at["u1"] <= waiting_since(quick) <= at["u2"]
    assert arrived(quick, "u1") and not arrived(quick, "u2")


def test_nobody_relies_on_a_drainer_that_fails(quick: Pair) -> None:
    change_settings(quick, delivery="queued")
    rows.add_user(quick.litellm, "u1", "u1@example.com")
    quick.litellm_admin.run("SELECT setval('user_bridge.waiting_since', 1)")
    pick = "user_bridge.pick(jsonb, integer, timestamptz)"
    shipped = quick.litellm_admin.value(f"SELECT pg_get_functiondef('{pick}'::regprocedure)")
    quick.litellm_admin.run(shipped.replace("BEGIN", "BEGIN RAISE 'broken';", 1))
    quick.litellm_admin.run("CALL user_bridge.drainer(0)")
    assert waiting_since(quick) == 2
    quick.litellm_admin.run(shipped)
    quick.litellm_admin.run("CALL user_bridge.drainer(0)")
    assert arrived(quick, "u1") and waiting_since(quick) > 2
    quick.litellm_admin.run("CALL user_bridge.drainer(0)")
    assert waiting_since(quick) == 1


def test_a_backlog_is_forgotten_only_when_nobody_may_add_to_it(quick: Pair) -> None:
    def forgotten() -> bool:
        quick.litellm_admin.run("SELECT user_bridge.drain()")
        return bool(quick.litellm_admin.value("SELECT pg_sequence_last_value('user_bridge.backlog') = 1"))

    writer = quick.connect("litellm", autocommit=False)
    rows.add_user(writer, "u1", "u1@example.com")
    quick.litellm_admin.run("SELECT user_bridge.note_backlog()")
    assert not forgotten()
    writer.rollback()
    until(forgotten)


def recorded(pair: Pair) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    mapped = "SELECT litellm_id, openwebui_id FROM user_bridge.sync_mapping ORDER BY 1"
    audited = "SELECT record_id, sync_result FROM user_bridge.sync_audit ORDER BY 1"
    return pair.litellm_admin.rows(mapped), pair.litellm_admin.rows(audited)


def test_what_was_expected_and_did_not_happen_leaves_no_trace(quick: Pair) -> None:
    """The outcome is written down while Open WebUI's side works, and anew where it is another one."""
    openwebui.add_account(quick, "hand", "u1@example.com")
    rows.add_user(quick.litellm, "u1", "u1@example.com")
    assert recorded(quick) == (
        [{"litellm_id": "u1", "openwebui_id": "hand"}],
        [{"record_id": "u1", "sync_result": "SUCCESS"}],
    )
    assert queue(quick) == []


@pytest.mark.parametrize("account", ["hand", None])
def test_so_it_is_in_a_drain(quick: Pair, account: str | None) -> None:
    change_settings(quick, delivery="queued")
    if account:
        openwebui.add_account(quick, account, "u1@example.com")
    for user in ("u1", "u2"):
        rows.add_user(quick.litellm, user, f"{user}@example.com")
    assert len(quick.litellm_admin.rows("SELECT * FROM user_bridge.drain()")) == 2
    assert recorded(quick) == (
        [{"litellm_id": "u1", "openwebui_id": account or "usr_u1"}, {"litellm_id": "u2", "openwebui_id": "usr_u2"}],
        [{"record_id": user, "sync_result": "SUCCESS"} for user in ("u1", "u2")],
    )
    assert queue(quick) == []


def test_a_new_user_gets_the_memberships_that_waited(quick: Pair) -> None:
    rows.add_team(quick.litellm, "t1", "One", members_with_roles=[{"role": "user", "user_id": "u1"}])
    rows.add_user(quick.litellm, "u1", "u1@example.com")
    assert openwebui.groups(quick)["grp_team_t1"][1] == ["usr_u1"]


def test_the_rights_of_a_new_user_are_left_to_the_drainer(quick: Pair) -> None:
    """And do not have the next COMMIT deliver them, however many come: one in 200 ms takes some of what waits."""
    change_settings(quick, model_access=True)
    add_model(quick.litellm, "m1")
    drain_on(quick)
    quick.litellm_admin.run("SELECT setval('user_bridge.backlog', user_bridge.now_ms() + 60000)")
    for number in range(3):
        rows.add_user(quick.litellm, f"u{number}", f"u{number}@example.com")
    assert [row["entity_type"] for row in queue(quick)] == ["user_models"] * 3
    assert len(openwebui.accounts(quick)) == 3 and people(quick, "m1") == set()
    drain_on(quick)
    assert people(quick, "m1") == {f"usr_u{number}" for number in range(3)}


def test_nobody_waits_for_who_gets_the_same_set_of_models(quick: Pair) -> None:
    change_settings(quick, model_access=True)
    for number in range(3):
        rows.add_user(quick.litellm, f"u{number}", f"u{number}@example.com")
    recorded = (
        "SELECT user_bridge.record_user_models(array_agg(d.entity_id), array_agg(d.desired))"
        " FROM user_bridge.desired_states('{user_models}', ARRAY[%s]) AS d"
    )
    session = quick.connect("litellm", SUPERUSER, autocommit=False)
    session.run(recorded, ["u0"])
    session.commit()
    session.run(recorded, ["u1"])
    # It would raise after 50 ms.
    quick.litellm_admin.run(recorded, ["u2"])
    session.commit()
    assert quick.litellm_admin.value("SELECT count(*) FROM user_bridge.set_holder") == 3


def test_a_set_that_nobody_had_is_in_use_again(quick: Pair) -> None:
    change_settings(quick, model_access=True)
    rows.add_user(quick.litellm, "u1", "u1@example.com")
    drain_on(quick)
    rows.change_user(quick.litellm, "u1", models=["m1"])
    drain_on(quick)
    unused = "SELECT count(*) FROM user_bridge.model_set WHERE unused_since IS NOT NULL"
    assert quick.litellm_admin.value(unused) == 1
    rows.change_user(quick.litellm, "u1", models=[])
    drain_on(quick)
    assert quick.litellm_admin.value(unused) == 0


def test_a_new_user_gets_no_role_that_open_webui_s_side_does_not_give(quick: Pair) -> None:
    quick.openwebui_admin.run("UPDATE user_bridge.settings SET role_map = '{}'")
    rows.add_user(quick.litellm, "u1", "u1@example.com", user_role="proxy_admin")
    assert quick.openwebui.value("SELECT role FROM \"user\" WHERE id = 'usr_u1'") == "user"


def general_forms(path: str, text: str) -> str:
    """Without the short cuts: everything goes the way of what is rare."""
    for each in (
        replaced("entities/user/openwebui/new.sql.j2", "IF p_item -> 'desired' = 'null'", "IF true"),
        replaced("engine/litellm/dispatch.sql.j2", "IF p_type IN (", "IF true THEN RETURN NULL; ELSIF p_type IN ("),
        replaced("engine/litellm/queue.sql.j2", "IF v_ids[1] = ALL (v_ids) THEN", "IF false THEN"),
        replaced("engine/openwebui/settings.sql.j2", "IF jsonb_array_length(p_items) = 1 THEN", "IF false THEN"),
        replaced("entities/user/litellm/enqueue.sql.j2", "IF p_organization IS NOT NULL OR", "IF true OR"),
    ):
        text = each(path, text)
    return text


COMMON: list[Callable[[Session], object]] = [
    lambda session: rows.add_user(session, "u1", " Ann@Example.com", user_alias="Ann 'A' %s"),
    lambda session: rows.add_user(session, "u2", "bob@example.com", user_role="proxy_admin"),
    lambda session: rows.add_user(session, "u3", "cy@example.com", metadata={"scim_active": False}),
    lambda session: rows.add_user(session, "u4", "bob@example.com"),
    lambda session: rows.add_user(session, "u5", None),
    lambda session: rows.add_organization(session, "o1", "One"),
    lambda session: rows.join_organization(session, "o1", "u1"),
    lambda session: rows.add_team(session, "t1", "Red", members_with_roles=[{"role": "user", "user_id": "u6"}]),
    lambda session: rows.add_user(session, "u6", "di@example.com", user_alias="Di", teams=["t1"], organization_id="o1"),
    lambda session: rows.add_key(session, "token", "u1", key_alias="K", models=["m"]),
    lambda session: rows.change_user(session, "u1", user_email="ann@example.org"),
    lambda session: rows.change_team(session, "t1", team_alias="Blue", members_with_roles=[]),
    lambda session: rows.leave_organization(session, "o1", "u1"),
    lambda session: rows.delete_user(session, "u2"),
    lambda session: rows.add_user(session, "u2", "bob@example.com"),
]
WRITTEN = {
    'public."user"': ("openwebui", "id, name, email, role, profile_image_url, info::text"),
    "public.auth": ("openwebui", "id, email, active, password"),
    'public."group"': ("openwebui", "id, name"),
    "user_bridge.entity": (
        "openwebui",
        "entity_type, entity_id, openwebui_id, origin, made_id, known_email, not_linked",
    ),
    "user_bridge.membership": ("openwebui", "group_type, group_id, user_id, written"),
    "user_bridge.sync_mapping": ("litellm", "litellm_type, litellm_id, openwebui_type, openwebui_id, sync_data"),
    "user_bridge.sync_audit": ("litellm", "operation, record_id, sync_result, old_data, new_data, error_message"),
    "user_bridge.sync_queue": ("litellm", "entity_type, entity_id, last_error"),
    "user_bridge.address": ("litellm", "user_id, email"),
    "user_bridge.user_team": ("litellm", "user_id, team_id"),
}


def written(pair: Pair, mutate: Mutate | None) -> dict[str, Any]:
    """What both sides hold after the common writes, without times and numbers."""
    install_bridge(pair, {"initial_password": "none"}, mutate)
    for write in COMMON:
        write(pair.litellm)
    return held(pair)


def held(pair: Pair, tables: Mapping[str, tuple[str, str]] = WRITTEN) -> dict[str, Any]:
    sides = {"litellm": pair.litellm_admin, "openwebui": pair.openwebui_admin}
    return {
        table: sorted(sides[side].rows(f"SELECT {columns} FROM {table}"), key=repr)
        for table, (side, columns) in tables.items()
    }


def test_the_short_cuts_write_what_the_rules_write(pair: Pair) -> None:
    with pairs.pair(pair.cluster) as other:
        found, general = written(pair, None), written(other, general_forms)
    assert found == general
    assert found["user_bridge.sync_queue"] == [] and len(found["public.auth"]) > 4


def test_so_they_do_in_random_stories(pair: Pair) -> None:
    with pairs.pair(pair.cluster) as other:
        install_bridge(pair, {"initial_password": "none"})
        install_bridge(other, {"initial_password": "none"}, general_forms)
        tell_both(pair, other, int(os.environ.get("USER_BRIDGE_STORIES", "10")), held)


# Who has which rights in the end. Which sets have come and gone on the way, and what the audit says, depends on when
# somebody's rights were delivered.
RIGHTS = {
    "user_bridge.set_holder": ("litellm", "user_id, set_id"),
    "user_bridge.model_catalog": ("litellm", "model, shown"),
    "user_bridge.listed_member": ("litellm", "user_id, team_id"),
    "user_bridge.model_member": ("openwebui", "group_id, user_id, written"),
    "user_bridge.model_grant AS g WHERE g.holder_type <> 'group' "
    "OR EXISTS (SELECT FROM user_bridge.model_member AS m WHERE m.group_id = g.holder_id)": (
        "openwebui",
        "holder_type, holder_id, model, written",
    ),
    **{table: WRITTEN[table] for table in ('public."user"', "public.auth", "user_bridge.membership")},
    "user_bridge.sync_queue": WRITTEN["user_bridge.sync_queue"],
}


def held_rights(pair: Pair) -> dict[str, Any]:
    return {**held(pair, RIGHTS), "people": {model: people(pair, model) for model in MODELS}}


def people(pair: Pair, model: str) -> set[str]:
    """The accounts that may read a model, by themselves or by a group."""
    found = readers(pair, model)
    groups = openwebui.groups(pair)
    named = {name for kind, name in found if kind == "user"}
    holding = [name for kind, name in found if kind == "group" and name in groups]
    return named.union(*(groups[name][1] for name in holding))


def test_so_they_do_with_rights_on_models(pair: Pair) -> None:
    with pairs.pair(pair.cluster) as other:
        install_bridge(pair, {"initial_password": "none", "model_access": True})
        install_bridge(other, {"initial_password": "none", "model_access": True}, general_forms)
        stories = int(os.environ.get("USER_BRIDGE_STORIES", "6"))
        tell_both(pair, other, stories, held_rights, with_models=True)


def count_what_is_early(pair: Pair) -> None:
    """Number what is written down before Open WebUI's answer, and what that answer undoes."""
    definition = "SELECT pg_get_functiondef(p.oid) FROM pg_proc AS p WHERE p.proname = %s"
    admin = pair.superuser("litellm")
    for function, line, sequence in (
        ("deliver_locked", "RETURN v_meanwhile -> 'outcomes';", "drain_delay"),
        ("exchange_once", "RETURN v_reply;  -- What was written down meanwhile is undone.", "longest_delay"),
    ):
        body = admin.value(definition, [function])
        assert line in body
        admin.run(body.replace(line, f"PERFORM nextval('user_bridge.{sequence}'); {line}"))


def test_what_changes_is_written_down_while_open_webui_works(pair: Pair) -> None:
    """Only where Open WebUI has something else than the bridge knows of it is done after its answer."""
    install_bridge(pair, {"initial_password": "none", "team_groups": True})
    count_what_is_early(pair)
    counts = (
        "SELECT coalesce(pg_sequence_last_value('user_bridge.drain_delay'), 0) AS early, "
        "coalesce(pg_sequence_last_value('user_bridge.longest_delay'), 0) AS undone"
    )
    rows.add_user(pair.litellm, "u1", "ann@example.com", user_alias="Ann")
    rows.add_team(pair.litellm, "t1", "Red")
    for change in (
        {"user_alias": "Anna"},
        {"user_email": "anna@example.com"},
        {"user_role": "proxy_admin", "user_alias": "Ann"},
    ):
        rows.change_user(pair.litellm, "u1", **change)
    rows.change_team(pair.litellm, "t1", team_alias="Blue")
    assert pair.litellm_admin.rows(counts) == [{"early": 6, "undone": 0}]
    pair.openwebui.run("UPDATE \"user\" SET name = 'Annabel' WHERE id = 'usr_u1'")
    rows.change_user(pair.litellm, "u1", user_alias="Anne")
    assert pair.litellm_admin.rows(counts) == [{"early": 6, "undone": 1}]
    told = "SELECT old_data FROM user_bridge.sync_audit WHERE record_id = 'u1' ORDER BY id DESC LIMIT 1"
    assert pair.litellm_admin.value(told) == {"name": "Annabel"}
