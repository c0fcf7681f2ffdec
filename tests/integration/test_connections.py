# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many connections the bridge takes from Open WebUI's server, and what happens without one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2
import pytest

from hard_support import until
from kit import rows
from kit.bridge import change_settings, drainer, install_bridge
from kit.pairs import SYNC_USER, Pair, Session

QUICK = {"initial_password": "none", "backoff_seconds": 30}


@contextmanager
def limited(pair: Pair, limit: int) -> Iterator[None]:
    """The role belongs to the server, which other tests use as well."""
    pair.cluster.execute(f"ALTER ROLE {SYNC_USER} CONNECTION LIMIT {limit}")
    try:
        yield
    finally:
        pair.cluster.execute(f"ALTER ROLE {SYNC_USER} CONNECTION LIMIT -1")


def writers(pair: Pair, number: int) -> list[Session]:
    """Sessions of LiteLLM, each of which has created a user of its number."""
    found = [pair.connect("litellm") for _ in range(number)]
    for index, session in enumerate(found):
        rows.add_user(session, f"u{index}", f"u{index}@example.com")
    return found


def arrived(pair: Pair) -> list[str]:
    return [row["id"] for row in pair.openwebui.rows("SELECT id FROM \"user\" WHERE id LIKE 'usr_u%' ORDER BY 1")]


def breaker_is_open(pair: Pair) -> bool:
    return bool(pair.litellm_admin.value("SELECT user_bridge.breaker_is_open()"))


def connections(pair: Pair) -> int:
    count: int = pair.litellm_admin.value(
        "SELECT count(*) FROM pg_stat_activity WHERE usename = %s AND datname = %s", [SYNC_USER, pair.openwebui_db]
    )
    return count


def test_sessions_beyond_the_limit_leave_their_changes_to_the_drain(pair: Pair) -> None:
    """Of six connections two are for LiteLLM's sessions, however many there are; four are for others."""
    install_bridge(pair, {**QUICK, "sync_connection_limit": 6})
    with limited(pair, 6):
        sessions = writers(pair, 5)
        assert (arrived(pair), connections(pair)) == (["usr_u0", "usr_u1"], 2)
        errors = pair.litellm_admin.rows("SELECT last_error FROM user_bridge.sync_queue")
        assert (errors, breaker_is_open(pair)) == ([{"last_error": None}] * 3, False)
        # The first ones go on meanwhile.
        rows.add_user(sessions[0], "u9", "u9@example.com")
        assert "usr_u9" in arrived(pair)
        pair.litellm_admin.run("SELECT user_bridge.drain(500)")
        assert arrived(pair) == ["usr_u0", "usr_u1", "usr_u2", "usr_u3", "usr_u4", "usr_u9"]


def test_a_place_is_free_again_when_its_session_ends(pair: Pair) -> None:
    install_bridge(pair, {**QUICK, "sync_connection_limit": 5})
    first = pair.connect("litellm")
    rows.add_user(first, "u0", "u0@example.com")
    second = pair.connect("litellm")
    rows.add_user(second, "u1", "u1@example.com")
    assert arrived(pair) == ["usr_u0"]
    pid = first.pid
    first.close()
    pair.cluster.execute(
        f"DO $$ BEGIN WHILE EXISTS (SELECT FROM pg_stat_activity WHERE pid = {pid}) LOOP "
        "PERFORM pg_sleep(0.01), pg_stat_clear_snapshot(); END LOOP; END $$"
    )
    rows.add_user(second, "u2", "u2@example.com")
    assert "usr_u2" in arrived(pair)


def test_whoever_has_a_connection_uses_it(pair: Pair) -> None:
    """A session that drains is none of those that are counted."""
    install_bridge(pair, {**QUICK, "sync_connection_limit": 5})
    pair.litellm_admin.run("SELECT user_bridge.drain(1)")
    first = pair.connect("litellm")
    rows.add_user(first, "u0", "u0@example.com")
    rows.add_user(pair.litellm_admin, "u1", "u1@example.com")
    assert arrived(pair) == ["usr_u0", "usr_u1"]


def test_a_connection_without_a_place_is_given_back_to_the_drainer(pair: Pair) -> None:
    """A limit that is new, or lower than before, finds sessions with connections."""
    install_bridge(pair, QUICK)
    sessions = writers(pair, 3)
    assert connections(pair) == 3
    with drainer(pair):
        change_settings(pair, sync_connection_limit=5)
        for index, session in enumerate(sessions):
            rows.change_user(session, f"u{index}", user_alias="again")
        # The first one's and the drainer's.
        until(lambda: connections(pair) == 2)
        named = "SELECT count(*) FROM \"user\" WHERE name = 'again'"
        until(lambda: pair.openwebui.value(named) == 3)


def test_without_a_limit_every_session_may_connect(pair: Pair) -> None:
    install_bridge(pair, QUICK)
    writers(pair, 5)
    assert len(arrived(pair)) == 5


def test_a_session_that_gets_no_connection_does_not_stop_the_others(pair: Pair) -> None:
    """Open WebUI's server is full, or its administrator has lowered the limit: the breaker is for one that is away."""
    install_bridge(pair, QUICK)
    with limited(pair, 1):
        first, second = writers(pair, 2)
        assert arrived(pair) == ["usr_u0"]
        (error,) = pair.litellm_admin.rows("SELECT DISTINCT last_error FROM user_bridge.sync_queue")
        assert "too many connections" in error["last_error"] and not breaker_is_open(pair)
        # Its own connection is as good as before, and takes what waits along.
        rows.add_user(first, "u3", "u3@example.com")
        assert arrived(pair) == ["usr_u0", "usr_u1", "usr_u3"]
        rows.add_user(second, "u4", "u4@example.com")
        assert pair.litellm.value("SELECT count(*) FROM \"LiteLLM_UserTable\" WHERE user_id LIKE 'u_'") == 4


FAILED = 'could not establish connection: connection to server at "::1", port 5432 failed: '
TRIED = " (user sync, database webui)"
FULL = ("SCHWERWIEGEND:  tut mir leid, schon zu viele Verbindungen", True)


@pytest.mark.parametrize(
    ("reason", "is_lack"),
    [
        ('FATAL:  too many connections for role "sync"', True),
        ("FATAL:  sorry, too many clients already", True),
        FULL,
        ("FATAL:  désolé, trop de clients sont déjà connectés", True),
        ("ВАЖНО:  оставшиеся слоты подключений зарезервированы для ролей с атрибутом SUPERUSER", True),
        ("FATAL:  the database system is starting up", False),
        ('FATAL:  password authentication failed for user "sync"', False),
        ("SCHWERWIEGEND:  Passwort-Authentifizierung für Benutzer »sync« fehlgeschlagen", False),
        ("SCHWERWIEGEND:  Datenbank »webui« existiert nicht", False),
        ("Connection refused", False),
    ],
)
def test_what_a_lack_of_connections_is(pair: Pair, reason: str, is_lack: bool) -> None:
    install_bridge(pair)
    asked = "SELECT user_bridge.is_lack_of_connections(%s)"
    assert pair.litellm_admin.value(asked, [FAILED + reason + TRIED]) is is_lack


def test_a_refusal_says_as_whom_and_to_what_it_was_tried(pair: Pair) -> None:
    install_bridge(pair, QUICK)
    pair.cluster.execute(f"ALTER ROLE {SYNC_USER} NOLOGIN")
    try:
        writers(pair, 1)
    finally:
        pair.cluster.execute(f"ALTER ROLE {SYNC_USER} LOGIN")
    error = pair.litellm_admin.value("SELECT error FROM user_bridge.outage()")
    assert error.endswith(f" (user {SYNC_USER}, database {pair.openwebui_db})")


def test_a_server_that_refuses_everybody_keeps_the_breaker(pair: Pair) -> None:
    install_bridge(pair, QUICK)
    pair.cluster.execute(f"ALTER ROLE {SYNC_USER} NOLOGIN")
    try:
        writers(pair, 1)
        assert breaker_is_open(pair)
    finally:
        pair.cluster.execute(f"ALTER ROLE {SYNC_USER} LOGIN")


@pytest.mark.parametrize("value", [-1, 10001])
def test_the_setting_has_bounds(pair: Pair, value: int) -> None:
    with pytest.raises(psycopg2.errors.CheckViolation):
        install_bridge(pair, {**QUICK, "sync_connection_limit": value})


def test_nobody_asks_again_and_again_for_a_connection(pair: Pair) -> None:
    """Each attempt is a process of Open WebUI's server and a line in its log; those that have a connection go on."""
    install_bridge(pair, QUICK)
    with limited(pair, 1):
        first, second = writers(pair, 2)
        refused = pair.cluster.log.read_text(encoding="utf-8", errors="replace").count("too many connections for role")
        for number in range(10):
            rows.change_user(second, "u1", user_alias=f"Ann {number}")
        asked = pair.cluster.log.read_text(encoding="utf-8", errors="replace").count("too many connections for role")
        assert asked == refused > 0
        rows.add_user(first, "u3", "u3@example.com")
        assert arrived(pair)[-1] == "usr_u3"


def test_a_clock_that_was_set_back_keeps_nobody_from_connecting(pair: Pair) -> None:
    install_bridge(pair, QUICK)
    pair.litellm_admin.run("SELECT setval('user_bridge.full_until', user_bridge.now_ms() + 31000)")
    writers(pair, 1)
    assert arrived(pair) == ["usr_u0"]
