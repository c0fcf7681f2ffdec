# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PgBouncer in transaction mode: LiteLLM may be behind it; a login of the play and the bridge's own way may not."""

from __future__ import annotations

import psycopg2
import pytest

from hard_support import QUICK, threads
from kit import openwebui, rows
from kit.bridge import install_bridge
from kit.drains import drain_all
from kit.oracle import differences
from kit.pairs import OWNER_ROLE, PASSWORDS, SYNC_USER, Pair, Session
from kit.pgbouncer import pgbouncer
from modules_support import ModuleFailed, login_options, run_module


def test_litellm_behind_it(pair: Pair) -> None:
    """Each transaction is another server session's, and the connection to Open WebUI is one of the server session."""
    install_bridge(pair, QUICK)
    with pgbouncer(pair.cluster) as port:

        def writes(name: str) -> None:
            login = pair.login("litellm")
            raw = psycopg2.connect(
                host="127.0.0.1", port=port, dbname=login.database, user=login.user, password=login.password
            )
            raw.autocommit = True
            session = Session(raw)
            for number in range(10):
                rows.add_user(session, f"{name}{number}", f"{name}{number}@example.com")
                with session.transaction():
                    rows.change_user(session, f"{name}{number}", user_alias="Changed")
                    rows.add_user(session, f"{name}{number}b", f"{name}{number}b@example.com")
            session.close()

        with threads(lambda: writes("a"), lambda: writes("b"), lambda: writes("c")):
            pass
        assert len(openwebui.accounts(pair)) > 30
        drain_all(pair)
        assert differences(pair) == []


def test_a_login_through_it_is_refused(pair: Pair) -> None:
    with pgbouncer(pair.cluster) as port, pytest.raises(ModuleFailed) as failed:
        run_module("bridge_info", {**login_options(pair, "litellm"), "login_port": port})
    text = str(failed.value)
    assert "connection pooler" in text and "name the server itself with login_host and login_port" in text


@pytest.mark.parametrize(
    ("settings", "reason"),
    [({}, "unsupported startup parameter"), ({"ignore_startup_parameters": "options"}, "do not reach")],
)
def test_a_target_through_it_is_refused(pair: Pair, settings: dict[str, str], reason: str) -> None:
    install_bridge(pair, QUICK)
    with pgbouncer(pair.cluster, **settings) as port, pytest.raises(ModuleFailed) as failed:
        run_module(
            "bridge_target",
            {
                **login_options(pair, "litellm"),
                "owner": OWNER_ROLE,
                "target_host": "127.0.0.1",
                "target_port": port,
                "target_db": pair.openwebui_db,
                "sync_user": SYNC_USER,
                "sync_password": PASSWORDS[SYNC_USER],
                "verify": "connection",
            },
        )
    text = str(failed.value)
    assert reason in text and "they must lead to Open WebUI's server itself, not to PgBouncer" in text
