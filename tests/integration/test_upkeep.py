# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What maintain() does, on a server whose time zone is not UTC: audit retention, expired keys, nothing while paused."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kit import cluster, openwebui, pairs, rows
from kit.bridge import install_bridge
from kit.drains import drain_on
from kit.oracle import differences
from kit.pairs import Pair
from kit.story import tell
from test_removals import parked

# One zone on each side of UTC: a local time taken for UTC is too late in one of them, and too early in the other.
WEST, EAST = "America/St_Johns", "Asia/Kolkata"
TOKENS = {"over": "5f" * 32, "usable": "6a" * 32}
MAINTAIN = "SELECT * FROM user_bridge.maintain()"


@pytest.fixture(scope="module")
def server_in_the_west(server: cluster.Cluster) -> Iterator[cluster.Cluster]:
    """A server like the default one, in another time zone."""
    with cluster.running(server.binaries, settings={"timezone": WEST, "log_timezone": WEST}) as made:
        yield made


@pytest.fixture(params=[WEST, EAST])
def abroad(server_in_the_west: cluster.Cluster, request: pytest.FixtureRequest) -> Iterator[Pair]:
    with pairs.pair(server_in_the_west) as made:
        move(made, request.param)
        yield made


def move(pair: Pair, zone: str) -> None:
    """From now on every new session is in this zone, the bridge's own connection included."""
    for name in (pair.litellm_db, pair.openwebui_db):
        pair.cluster.execute(f"ALTER DATABASE \"{name}\" SET timezone TO '{zone}'")


def utc(hours: float) -> str:
    """LiteLLM's times are UTC without saying so."""
    return (datetime.now(UTC) + timedelta(hours=hours)).strftime("%Y-%m-%d %H:%M:%S")


def mapped_keys(pair: Pair) -> int:
    found = pair.litellm_admin.value("SELECT count(*) FROM user_bridge.sync_mapping WHERE litellm_type = 'api_key'")
    return int(found)


def queued(pair: Pair) -> int:
    return int(pair.litellm_admin.value("SELECT count(*) FROM user_bridge.sync_queue"))


def expire_unnoticed(pair: Pair, name: str, expires: str) -> None:
    """Time passes without a write that a trigger could see."""
    pair.litellm_admin.run("SET session_replication_role = replica")
    rows.update(pair.litellm_admin, "LiteLLM_VerificationToken", {"token": TOKENS[name]}, {"expires": expires})
    pair.litellm_admin.run("RESET session_replication_role")
    pair.litellm_admin.run("UPDATE user_bridge.known_key SET expires = %s WHERE key_alias = %s", [expires, name])
    pair.litellm_admin.run(
        "UPDATE user_bridge.sync_mapping SET sync_data = sync_data || jsonb_build_object('expires', %s::timestamp) "
        "WHERE litellm_type = 'api_key' AND sync_data ->> 'key_alias' = %s",
        [expires, name],
    )


def a_key_expires(pair: Pair) -> None:
    """One key's time is over for half an hour, another's will be in half an hour; both zones are further away."""
    install_bridge(pair, {"initial_password": "none"})
    rows.add_user(pair.litellm, "u1", "ann@example.com")
    for name, token in TOKENS.items():
        rows.add_key(pair.litellm, token, "u1", key_alias=name, expires=utc(100))
    assert mapped_keys(pair) == 2
    expire_unnoticed(pair, "over", utc(-0.5))
    expire_unnoticed(pair, "usable", utc(0.5))


def test_a_key_expires_by_utc_whatever_the_servers_time_zone(abroad: Pair) -> None:
    a_key_expires(abroad)
    abroad.litellm_admin.rows(MAINTAIN)
    # The key and its user's mirror; nothing for the key that is usable.
    assert queued(abroad) == 2
    drain_on(abroad)
    (left,) = abroad.litellm_admin.rows("SELECT * FROM user_bridge.sync_mapping WHERE litellm_type = 'api_key'")
    assert left["sync_data"]["key_alias"] == "usable"


def test_stories_end_as_the_oracle_says_in_another_time_zone(abroad: Pair) -> None:
    install_bridge(abroad, {"initial_password": "none", "backoff_seconds": 1})
    tell(abroad, 6, shorten=False)
    rows.add_user(abroad.litellm, "older", "both@example.com", created_at=utc(-1))
    rows.add_user(abroad.litellm, "younger", "both@example.com", created_at=utc(-0.5))
    assert differences(abroad) == []
    for column in ("created_at", "updated_at", "last_active_at"):
        found = abroad.openwebui.value(f"SELECT {column} FROM \"user\" WHERE email = 'both@example.com'")
        assert abs(found - datetime.now().timestamp()) < 60, column


def test_the_audit_is_cut_at_its_retention(pair: Pair) -> None:
    install_bridge(pair, {"initial_password": "none", "audit_retention_days": 30})
    for number, days in enumerate((29, 31, 400)):
        rows.add_user(pair.litellm, f"u{number}", f"u{number}@example.com")
        pair.litellm_admin.run(
            "UPDATE user_bridge.sync_audit SET created_at = created_at - %s * interval '1 day' WHERE record_id = %s",
            [days, f"u{number}"],
        )
    assert {"task": "audit rows removed", "done": 2} in pair.litellm_admin.rows(MAINTAIN)
    assert {row["record_id"] for row in pair.litellm_admin.rows("SELECT * FROM user_bridge.sync_audit")} == {"u0"}


def test_while_paused_only_the_audit_is_cut_and_counted(pair: Pair) -> None:
    settings = {"password_cost": 4, "removal_accounts": 0, "removal_percent": 0, "audit_retention_days": 30}
    install_bridge(pair, settings)
    rows.add_user(pair.litellm, "u1", "ann@example.com")
    rows.add_user(pair.litellm, "u2", "bob@example.com")
    rows.add_key(pair.litellm, TOKENS["over"], "u1", key_alias="over")
    rows.change_user(pair.litellm, "u2", metadata={"scim_active": False})
    assert [row["entity_id"] for row in parked(pair)] == ["u2"]
    pair.litellm_admin.run("SELECT user_bridge.pause()")
    # Now there is something to do for each part.
    expire_unnoticed(pair, "over", utc(-0.5))
    rows.change_user(pair.litellm, "u2", metadata={})
    pair.openwebui_admin.run("UPDATE user_bridge.entity SET initial_password_at = now() - interval '73 hours'")
    pair.litellm_admin.run("UPDATE user_bridge.sync_audit SET created_at = created_at - interval '31 days'")
    before = queued(pair)
    paused = [row["task"] for row in pair.litellm_admin.rows(MAINTAIN)]
    assert paused == ["audit rows removed", "hourly counts removed"]
    assert pair.litellm_admin.value("SELECT count(*) FROM user_bridge.sync_audit") == 0
    assert queued(pair) == before
    assert [row["entity_id"] for row in parked(pair)] == ["u2"]
    assert pair.openwebui.value("SELECT count(*) FROM auth WHERE password = ''") == 0

    pair.litellm_admin.run("SELECT user_bridge.resume()")
    done = {row["task"]: row["done"] for row in pair.litellm_admin.rows(MAINTAIN)}
    assert done["parked removals of what is back"] == 1
    assert done["initial passwords expired"] == 2
    drain_on(pair)
    assert (mapped_keys(pair), parked(pair)) == (0, [])
    assert openwebui.accounts(pair)["bob@example.com"] == ("bob", "user")


def task(pair: Pair, name: str) -> dict[str, Any]:
    return dict(next(iter(pair.litellm_admin.rows("SELECT * FROM user_bridge.upkeep WHERE task = %s", [name])), {}))


def test_each_task_has_its_own_clock(pair: Pair) -> None:
    install_bridge(pair, {"initial_password": "none"})
    assert pair.litellm_admin.value("SELECT user_bridge.upkeep()") == 11
    assert pair.litellm_admin.value("SELECT user_bridge.upkeep()") == 0
    pair.litellm_admin.run("UPDATE user_bridge.upkeep SET next_at = now() WHERE task = 'lookout'")
    assert pair.litellm_admin.value("SELECT user_bridge.upkeep()") == 1
    # Whoever sets the clock back must not stop it for as long.
    pair.litellm_admin.run("UPDATE user_bridge.upkeep SET next_at = now() + interval '1 day' WHERE task = 'audit'")
    assert pair.litellm_admin.value("SELECT user_bridge.upkeep()") == 1


def test_it_is_done_whatever_the_queue_does(pair: Pair) -> None:
    install_bridge(pair, {"password_cost": 4, "removal_accounts": 100})
    for name in ("u1", "u2", "u3"):
        rows.add_user(pair.litellm, name, f"{name}@example.com")
    pair.openwebui_admin.run("UPDATE user_bridge.entity SET initial_password_at = now() - interval '73 hours'")
    pair.litellm_admin.run("SELECT user_bridge.enqueue_everything()")
    assert pair.litellm_admin.value("SELECT user_bridge.tick(1)") == 1
    assert queued(pair) > 0
    assert pair.openwebui.value("SELECT count(*) FROM auth WHERE id LIKE 'usr_%%' AND password <> ''") == 0


def test_a_task_that_fails_keeps_no_other_from_being_done(pair: Pair) -> None:
    install_bridge(pair, {"initial_password": "none", "audit_retention_days": 30})
    rows.add_user(pair.litellm, "u1", "u1@example.com")
    pair.litellm_admin.run("UPDATE user_bridge.sync_audit SET created_at = created_at - interval '31 days'")
    pair.litellm_admin.run(
        "CREATE OR REPLACE FUNCTION user_bridge.enqueue_expired() RETURNS void LANGUAGE plpgsql AS "
        "$$BEGIN RAISE 'keys are broken'; END$$"
    )
    # In one round, as the first of them.
    pair.litellm_admin.run(
        "INSERT INTO user_bridge.upkeep (task, next_at) SELECT t.task, now() - interval '1 second' * "
        "CASE t.task WHEN 'expired keys' THEN 2 ELSE 1 END FROM user_bridge.upkeep_tasks() AS t"
    )
    pair.litellm_admin.run("SELECT user_bridge.upkeep()")
    failed = task(pair, "expired keys")
    assert (failed.get("failures"), failed.get("last_error")) == (1, "keys are broken")
    assert task(pair, "audit").get("failures") == 0
    assert pair.litellm_admin.value("SELECT count(*) FROM user_bridge.sync_audit") == 0


def test_what_needs_open_webui_waits_while_it_is_away(pair: Pair) -> None:
    install_bridge(pair, {"initial_password": "none"})
    pair.openwebui_admin.run(f"ALTER ROLE {pairs.SYNC_USER} NOLOGIN")
    try:
        pair.litellm_admin.run("SELECT user_bridge.upkeep()")
        assert pair.litellm_admin.value("SELECT attempts FROM user_bridge.outage()") == 1
        # Local tasks go on, the others wait for the pause.
        pair.litellm_admin.run("UPDATE user_bridge.target SET next_try_at = clock_timestamp() + interval '50 seconds'")
        pair.litellm_admin.run("UPDATE user_bridge.upkeep SET next_at = now()")
        pair.litellm_admin.run("SELECT user_bridge.upkeep()")
        assert pair.litellm_admin.value("SELECT attempts FROM user_bridge.outage()") == 1
    finally:
        pair.openwebui_admin.run(f"ALTER ROLE {pairs.SYNC_USER} LOGIN")
    pair.litellm_admin.run("UPDATE user_bridge.target SET next_try_at = clock_timestamp() - interval '1 second'")
    assert pair.litellm_admin.value("SELECT user_bridge.upkeep()") >= 4
    assert pair.litellm_admin.rows("SELECT * FROM user_bridge.outage()") == []


def test_nobody_waits_for_upkeep_that_somebody_left_open(pair: Pair) -> None:
    install_bridge(pair, {"initial_password": "none"})
    pair.litellm_admin.run("SELECT user_bridge.upkeep(); UPDATE user_bridge.upkeep SET next_at = now()")
    holder = pair.connect("litellm", cluster.SUPERUSER, autocommit=False)
    holder.run("SELECT * FROM user_bridge.maintain()")
    pair.litellm_admin.run("SET lock_timeout = '20s'")
    pair.litellm_admin.run("SELECT user_bridge.tick()")
    assert {row["last_error"] for row in pair.litellm_admin.rows("SELECT * FROM user_bridge.upkeep")} == {None}
    holder.rollback()
