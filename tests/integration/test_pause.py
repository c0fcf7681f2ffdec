# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A pause queues only, and a forgotten one ends: what waits is delivered, and the audit says so."""

from __future__ import annotations

from typing import Any

import psycopg2
import pytest

from hard_support import until
from kit import openwebui, rows
from kit.bridge import drainer, install_bridge
from kit.pairs import Pair


@pytest.fixture
def bridged(pair: Pair) -> Pair:
    install_bridge(pair, {"initial_password": "none"})
    return pair


def arrived(pair: Pair, name: str) -> bool:
    return f"{name}@example.com" in openwebui.accounts(pair)


def add(pair: Pair, name: str) -> None:
    rows.add_user(pair.litellm, name, f"{name}@example.com")


def let_it_pass(pair: Pair) -> None:
    """As if the end of the pause were over since a second."""
    pair.litellm_admin.run("UPDATE user_bridge.settings SET paused_until = clock_timestamp() - interval '1 second'")


def audited(pair: Pair) -> list[tuple[str, str, str]]:
    found = pair.litellm_admin.rows(
        "SELECT operation, record_id, sync_result FROM user_bridge.sync_audit"
        " WHERE operation IN ('PAUSE', 'RESUME') ORDER BY id"
    )
    return [(row["operation"], row["record_id"], row["sync_result"]) for row in found]


def paused(pair: Pair) -> dict[str, Any]:
    (row,) = pair.litellm_admin.rows("SELECT paused, paused_at, paused_until FROM user_bridge.settings")
    return row


def test_a_pause_that_is_over_holds_up_nothing_without_a_drainer(bridged: Pair) -> None:
    admin = bridged.litellm_admin
    admin.run("SELECT user_bridge.pause_until('2100-01-01Z')")
    add(bridged, "u1")
    assert not arrived(bridged, "u1")
    admin.run("SELECT user_bridge.drain()")
    assert not arrived(bridged, "u1")
    let_it_pass(bridged)
    admin.run("SELECT user_bridge.drain()")
    assert arrived(bridged, "u1")
    add(bridged, "u2")
    assert arrived(bridged, "u2")
    # Whoever pauses again begins a new pause.
    admin.run("SELECT user_bridge.pause()")
    add(bridged, "u3")
    assert not arrived(bridged, "u3") and paused(bridged)["paused_until"] is None


def test_the_drainer_ends_a_pause_that_is_over(bridged: Pair) -> None:
    bridged.litellm_admin.run("SELECT user_bridge.pause_until('2100-01-01Z')")
    add(bridged, "u1")
    with drainer(bridged):
        until(lambda: bridged.litellm_admin.value("SELECT user_bridge.drainer_lives()"))
        assert not arrived(bridged, "u1")
        let_it_pass(bridged)
        until(lambda: arrived(bridged, "u1"))
        # It commits after Open WebUI has.
        until(lambda: not paused(bridged)["paused"])
    assert paused(bridged) == {"paused": False, "paused_at": None, "paused_until": None}
    assert audited(bridged) == [("PAUSE", "postgres", "SUCCESS"), ("RESUME", "drainer", "WARNING")]


def test_the_end_can_be_moved_and_the_beginning_stays(bridged: Pair) -> None:
    admin = bridged.litellm_admin
    admin.run("SELECT user_bridge.pause()")
    began = paused(bridged)["paused_at"]
    for end in ("2100-01-01Z", "2100-01-01Z", "2101-01-01Z"):
        admin.run("SELECT user_bridge.pause_until(%s::timestamptz)", [end])
    admin.run("SELECT user_bridge.pause()")
    assert (paused(bridged)["paused_at"], str(paused(bridged)["paused_until"])[:4]) == (began, "2101")
    assert len(audited(bridged)) == 3
    admin.run("SELECT user_bridge.resume(), user_bridge.resume()")
    assert paused(bridged) == {"paused": False, "paused_at": None, "paused_until": None}
    assert audited(bridged)[3:] == [("RESUME", "postgres", "SUCCESS")]


@pytest.mark.parametrize("end", ["2020-01-01Z", "infinity", None])
def test_an_end_that_never_comes_is_refused(bridged: Pair, end: str | None) -> None:
    with pytest.raises(psycopg2.Error, match="the end of a pause must be in the future"):
        bridged.litellm_admin.run("SELECT user_bridge.pause_until(%s::timestamptz)", [end])
    assert paused(bridged)["paused"] is False
