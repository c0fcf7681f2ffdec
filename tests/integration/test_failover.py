# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Standby servers that are promoted: of both programs at once, of either, with all that was committed and without."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from hard_support import QUICK, until
from kit import binaries, cluster, openwebui, rows
from kit.bridge import install_bridge
from kit.cluster import SUPERUSER_PASSWORD, Cluster
from kit.common import pick_version
from kit.drains import drain_all
from kit.oracle import differences
from kit.pairs import SIDES, Pair
from kit.schemas import Admin
from kit.standby import SplitPair, caught_up, promote, standby_of
from kit.symptoms import said
from modules_support import a_call, run_module


@pytest.fixture
def primary(pg_major: int) -> Iterator[Pair]:
    """A server that nobody else uses, with a bridged pair."""
    versions = pick_version("litellm", "new"), pick_version("open-webui", "new")
    with cluster.running(binaries.find(pg_major)) as made:
        pair = Pair(made, None, None, *versions, Admin())
        install_bridge(pair, QUICK)
        rows.add_organization(pair.litellm, "o1", "One")
        for number in range(3):
            rows.add_user(pair.litellm, f"u{number}", f"u{number}@example.com", organization_id="o1")
        drain_all(pair)
        yield pair
        pair.close()


def _leads_to(pair: Pair, *servers: Cluster) -> None:
    """Where the bridge finds Open WebUI's server."""
    found: dict[str, Any] = {"host": ",".join(s.host for s in servers), "port": ",".join(str(s.port) for s in servers)}
    options = ", ".join(f"SET {name} '{value}'" for name, value in found.items())
    pair.litellm_admin.run(f"ALTER SERVER user_bridge_target OPTIONS ({options})")


def _forget_sessions(pair: Pair) -> None:
    for session in pair.opened:
        session.close()
    pair.opened.clear()
    pair.sessions.clear()


def _write_in_all_ways(pair: Pair) -> None:
    """A change, a removal, a membership that goes and one that comes, and somebody new."""
    rows.change_user(pair.litellm, "u0", user_alias="Anna")
    rows.delete_user(pair.litellm, "u1")
    rows.change_user(pair.litellm, "u2", organization_id=None)
    rows.add_user(pair.litellm, "new", "new@example.com", organization_id="o1")


def _open_the_breaker(pair: Pair) -> None:
    pair.litellm_admin.run("SELECT setval('user_bridge.breaker_until', 1)")


def test_both_are_promoted_and_the_list_of_hosts_leads_to_the_primary(primary: Pair) -> None:
    with standby_of(primary.cluster) as standby:
        _forget_sessions(primary)
        # The standby first: it is not taken while it is one.
        _leads_to(primary, standby, primary.cluster)
        rows.add_user(primary.litellm, "before", "before@example.com")
        assert "before@example.com" in openwebui.accounts(primary)
        to_the_standby = {**a_call(primary, "bridge_preflight_info"), "login_port": standby.port}
        assert said("is a read-only standby", run_module("bridge_preflight_info", to_the_standby)["problems"])
        caught_up(primary.cluster, standby)
        primary.cluster.kill()
        promote(standby)
        both = SplitPair(primary, {"litellm": standby, "openwebui": standby})
        _write_in_all_ways(both)
        assert "new@example.com" in openwebui.accounts(both)
        drain_all(both)
        assert differences(both) == []
        both.close()


@contextmanager
def _standby_that_missed_it(primary: Pair) -> Iterator[Cluster]:
    """A promoted one, without what was written in all ways and is confirmed on both sides, so that neither queue nor
    journal names it.
    """
    with standby_of(primary.cluster) as standby:
        _forget_sessions(primary)
        drain_all(primary)
        caught_up(primary.cluster, standby)
        standby.stop()
        _write_in_all_ways(primary)
        drain_all(primary)
        standby.start()
        promote(standby)
        yield standby


@pytest.mark.weekly
def test_a_target_that_fell_back_gets_again_what_it_has_lost(primary: Pair) -> None:
    with _standby_that_missed_it(primary) as standby:
        _leads_to(primary, standby)
        split = SplitPair(primary, {"litellm": primary.cluster, "openwebui": standby})
        drain_all(split)
        drain_all(split)
        assert differences(split) == []
        split.close()


@pytest.mark.weekly
def test_what_litellm_lost_goes_from_open_webui(primary: Pair) -> None:
    with _standby_that_missed_it(primary) as standby:
        split = SplitPair(primary, {"litellm": standby, "openwebui": primary.cluster})
        # Older than what Open WebUI has, by its number.
        rows.change_user(split.litellm, "u0", user_alias="After")
        drain_all(split)
        drain_all(split)
        assert differences(split) == []
        split.close()


@pytest.mark.weekly
def test_a_backend_goes_on_when_only_open_webuis_server_is_promoted(primary: Pair) -> None:
    """LiteLLM's session, and what was connected from it, outlive the switch."""
    with standby_of(primary.cluster) as standby:
        _forget_sessions(primary)
        rows.add_user(primary.litellm, "u5", "u5@example.com")
        drain_all(primary)
        caught_up(primary.cluster, standby)
        _leads_to(primary, standby)
        rows.add_user(primary.litellm, "u6", "u6@example.com")
        (waits,) = primary.litellm_admin.rows("SELECT sqlstate, error FROM user_bridge.outage()")
        assert waits["sqlstate"] == "UB001" and "read-only" in waits["error"]
        promote(standby)
        _open_the_breaker(primary)
        rows.add_user(primary.litellm, "u7", "u7@example.com")
        split = SplitPair(primary, {"litellm": primary.cluster, "openwebui": standby})
        assert "u7@example.com" in openwebui.accounts(split)
        drain_all(split)
        assert differences(split) == []
        split.close()


# The same without a standby: what either database looks like after it.

_STATE = ('public."user"', "public.auth", 'public."group"', "public.group_member", "user_bridge.entity",
          "user_bridge.membership", "user_bridge.withdrawn", "user_bridge.removal")  # fmt: skip


def _to_an_older_state(pair: Pair, older: dict[str, str]) -> None:
    """Open WebUI's rows as they were, on a server that has started since."""
    with pair.openwebui_admin.transaction():
        pair.openwebui_admin.run("SET LOCAL session_replication_role = replica")
        for table in _STATE:
            pair.openwebui_admin.run(
                f"DELETE FROM {table}; INSERT INTO {table} SELECT * FROM jsonb_populate_recordset(NULL::{table}, %s)",
                [older[table]],
            )
    pair.litellm_admin.run("UPDATE user_bridge.target SET place = 'that of the primary'")


def _state(pair: Pair) -> dict[str, str]:
    each = "SELECT coalesce(jsonb_agg(t), '[]')::text FROM {} AS t"
    return {table: str(pair.openwebui_admin.value(each.format(table))) for table in _STATE}


def _fill(pair: Pair) -> None:
    rows.add_organization(pair.litellm, "o1", "One")
    for number in range(3):
        rows.add_user(pair.litellm, f"u{number}", f"u{number}@example.com", organization_id="o1")
    drain_all(pair)


def test_the_older_state_of_a_target_is_noticed(quick: Pair) -> None:
    _fill(quick)
    older = _state(quick)
    _write_in_all_ways(quick)
    drain_all(quick)
    _to_an_older_state(quick, older)
    assert differences(quick) != []
    drain_all(quick)
    drain_all(quick)
    assert differences(quick) == []
    said = quick.litellm_admin.rows("SELECT error_message FROM user_bridge.sync_audit WHERE operation = 'FIND_LOSSES'")
    assert len(said) == 1 and "may have fallen back to an older state" in said[0]["error_message"]


def _lose(pair: Pair) -> None:
    """LiteLLM's side without its last transaction, which added a user."""
    with pair.litellm_admin.transaction():
        pair.litellm_admin.run("SET LOCAL session_replication_role = replica")
        pair.litellm_admin.run("DELETE FROM \"LiteLLM_UserTable\" WHERE user_id = 'new'")
        pair.litellm_admin.run("DELETE FROM user_bridge.sync_mapping WHERE litellm_id = 'new'")
        pair.litellm_admin.run("DELETE FROM user_bridge.address WHERE user_id = 'new'")


def _source_lost(pair: Pair) -> None:
    _fill(pair)
    rows.add_user(pair.litellm, "new", "new@example.com")
    drain_all(pair)
    _lose(pair)


def test_what_a_promoted_source_does_not_have_goes(quick: Pair) -> None:
    _source_lost(quick)
    # As after each recovery.
    quick.litellm_admin.run("DELETE FROM user_bridge.crash_sentinel")
    drain_all(quick)
    drain_all(quick)
    assert "new@example.com" not in openwebui.accounts(quick) and differences(quick) == []


def test_what_a_restored_source_does_not_have_goes(quick: Pair) -> None:
    """Without a recovery the numbers of the deliveries tell: they are behind."""
    _source_lost(quick)
    quick.litellm_admin.run("SELECT setval('user_bridge.delivery_version', 1, false)")
    rows.change_user(quick.litellm, "u0", user_alias="After")
    drain_all(quick)
    drain_all(quick)
    assert "new@example.com" not in openwebui.accounts(quick) and differences(quick) == []


def test_nothing_is_compared_while_nothing_has_happened(quick: Pair) -> None:
    _fill(quick)
    quick.openwebui.run("UPDATE \"user\" SET name = 'by hand' WHERE id = 'usr_u0'")
    drain_all(quick)
    assert openwebui.accounts(quick)["u0@example.com"][0] == "by hand"


# Also by a clock that was an hour ahead when it was noted.
@pytest.mark.parametrize("due", ["0", "1 hour"])
def test_a_comparison_that_fails_is_tried_again_later(quick: Pair, due: str) -> None:
    _source_lost(quick)
    quick.litellm_admin.run("DELETE FROM user_bridge.crash_sentinel")
    quick.litellm_admin.run("ALTER FUNCTION user_bridge.find_suspects(text[], user_bridge.settings) RENAME TO gone")
    try:
        for _ in range(2):
            drain_all(quick)
    finally:
        quick.litellm_admin.run("ALTER FUNCTION user_bridge.gone(text[], user_bridge.settings) RENAME TO find_suspects")
    (waits,) = quick.litellm_admin.rows("SELECT compare_at > now() AS later, journal_error FROM user_bridge.target")
    assert waits["later"] and "find_suspects" in waits["journal_error"]
    quick.litellm_admin.run(f"UPDATE user_bridge.target SET compare_at = now() + interval '{due}'")
    drain_all(quick)
    drain_all(quick)
    assert "new@example.com" not in openwebui.accounts(quick)
    assert quick.litellm_admin.value("SELECT journal_error FROM user_bridge.target") is None


@pytest.mark.weekly
def test_both_databases_are_moved_by_logical_replication(pg_major: int) -> None:
    """Every table of the bridge is published, and the rows come without the sequences."""
    versions = pick_version("litellm", "new"), pick_version("open-webui", "new")
    with cluster.running(binaries.find(pg_major), settings={"wal_level": "logical"}) as made:
        pair = Pair(made, None, None, *versions, Admin())
        install_bridge(pair, QUICK)
        _fill(pair)
        names = {side: made.fresh_name(side) for side in SIDES}
        for side in SIDES:
            pair.superuser(side).run("CREATE PUBLICATION move FOR ALL TABLES")
            pair.superuser(side).run("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [names[side]])
        _forget_sessions(pair)
        password = SUPERUSER_PASSWORD.replace("\\", "\\\\").replace("'", "\\'")
        for side in SIDES:
            database = pair.database(side)
            made.end_sessions(f"datname = '{database}'")
            made.execute(f'CREATE DATABASE "{names[side]}" OWNER "{side}" TEMPLATE "{database}"')
            source = f"host={made.host} port={made.port} user=postgres dbname={database} password='{password}'"
            made.execute(
                f"CREATE SUBSCRIPTION {side} CONNECTION $source${source}$source$ PUBLICATION move "
                f"WITH (copy_data = false, create_slot = false, slot_name = '{names[side]}')",
                database=names[side],
            )
        moved = Pair(made, names["litellm"], names["openwebui"], *versions, Admin())
        _write_in_all_ways(pair)
        drain_all(pair)
        audited = "SELECT count(*) FROM user_bridge.sync_audit"
        until(lambda: moved.litellm_admin.value(audited) == pair.litellm_admin.value(audited))
        until(lambda: openwebui.accounts(moved) == openwebui.accounts(pair))
        for side in SIDES:
            made.execute(f"DROP SUBSCRIPTION {side}", database=names[side])
        # What is still there beside its original is refused as a copy.
        pair.drop()
        install_bridge(moved, QUICK)
        rows.add_user(moved.litellm, "later", "later@example.com", organization_id="o1")
        drain_all(moved)
        assert "later@example.com" in openwebui.accounts(moved) and differences(moved) == []
        moved.close()
