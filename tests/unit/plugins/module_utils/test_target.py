# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import literal
from ansible_collections.llmops.user_bridge.plugins.module_utils._target.connection import connection_problem
from ansible_collections.llmops.user_bridge.plugins.module_utils._target.options import option_clause, server_options
from ansible_collections.llmops.user_bridge.plugins.module_utils._target.server import Wanted, _digest, plan
from ansible_collections.llmops.user_bridge.plugins.module_utils._target.state import State

PARAMS: dict[str, Any] = {
    "target_host": "db",
    "target_port": "5432",
    "target_db": "openwebui",
    "target_sslmode": "prefer",
    "target_sslrootcert": None,
    "target_timeout_ms": 2000,
    "synchronous_commit_off": False,
}


def test_server_options() -> None:
    options = server_options(PARAMS)
    assert options["host"] == "db" and options["tcp_user_timeout"] == "2000" and "sslrootcert" not in options
    assert "synchronous_commit" not in options["options"]
    options = server_options({**PARAMS, "synchronous_commit_off": True, "target_sslrootcert": "/ca"})
    assert options["options"].endswith(" -c synchronous_commit=off") and options["sslrootcert"] == "/ca"
    assert not {"user", "password"} & set(options)


def test_several_hosts() -> None:
    options = server_options(
        {**PARAMS, "target_host": "a, b", "target_port": "5432, 5433", "synchronous_commit_off": True}
    )
    assert (options["host"], options["port"], options["target_session_attrs"]) == ("a,b", "5432,5433", "read-write")
    # They may be other servers than LiteLLM's.
    assert "synchronous_commit" not in options["options"]
    assert server_options({**PARAMS, "target_host": "a,b"})["port"] == "5432"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target_host": ""}, "bridge_target_host"),
        ({"target_db": None}, "bridge_openwebui_db"),
        ({"target_port": "0"}, "bridge_target_port"),
        ({"target_port": "x"}, "must be from 1 to 65535, not x"),
        ({"target_port": "5432,5433"}, "has 2 ports and target_host .bridge_target_host. 1 hosts"),
        ({"target_host": "a,"}, "empty host"),
        ({"target_timeout_ms": 99}, "bridge_target_timeout_ms"),
        ({"target_timeout_ms": 60001}, "bridge_target_timeout_ms"),
    ],
)
def test_server_options_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(BridgeError, match=message):
        server_options({**PARAMS, **change})


def test_option_clause() -> None:
    assert option_clause({"a": "1"}, {"a": "1"}) == ""
    assert option_clause({"a": "1", "b": "2"}, {"a": "3", "c": "it's"}) == """SET "a" '3', ADD "c" 'it''s', DROP "b\""""


@pytest.mark.parametrize(
    ("text", "expected"), [("a", "'a'"), ("a'b", "'a''b'"), ("a\\b", " E'a\\\\b'"), ("\\'", " E'\\\\'''"), ("", "''")]
)
def test_literal(text: str, expected: str) -> None:
    assert literal(text) == expected


def state(**changes: Any) -> State:
    found: dict[str, Any] = {
        "database": "litellm",
        "extension_schema": "public",
        "owner_exists": True,
        "server_owner": "own",
        "server_wrapper": "dblink_fdw",
        "server_options": {"host": "db"},
        "mapped_roles": ("own",),
        "mapping_options": {"user": "u"},
        "password_digest": _digest("secret"),
    }
    return State(**{**found, **changes})


WANTED = Wanted("own", {"host": "db"}, "u", "secret", "skip", False)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ("unchanged", "unchanged", "unchanged")),
        (
            {"server_owner": None, "server_options": {}, "mapping_options": None, "password_digest": ""},
            ("created", "created", "changed"),
        ),
        ({"server_owner": "other"}, ("updated", "unchanged", "unchanged")),
        ({"server_options": {"host": "x"}}, ("updated", "unchanged", "unchanged")),
        ({"mapping_options": None, "password_digest": ""}, ("unchanged", "created", "changed")),
        ({"mapping_options": {"user": "v"}}, ("unchanged", "updated", "unchanged")),
        ({"password_digest": ""}, ("unchanged", "updated", "changed")),
        ({"password_digest": _digest("old")}, ("unchanged", "updated", "changed")),
    ],
)
def test_plan(changes: dict[str, Any], expected: tuple[str, str, str]) -> None:
    result = plan(state(**changes), WANTED)
    assert (result.server, result.user_mapping, result.password) == expected
    assert result.changed == (expected != ("unchanged", "unchanged", "unchanged"))
    assert (result.before == result.after) == (not result.changed)
    assert "secret" not in str(result)


@pytest.mark.parametrize(
    ("sqlstate", "detail", "reason", "remedy"),
    [
        ("2F003", "Non-superuser cannot connect", "without asking for a password", "scram-sha-256"),
        (
            "08001",
            'connection to server at "db" (::1), port 1 failed: refused\nconnection to server at "db", port 1 failed: '
            'FATAL:  password authentication failed for user "u"',
            'password authentication failed for user "u"',
            "bridge_sync_password",
        ),
        ("08001", 'FATAL:  no pg_hba.conf entry for host "x"', "no pg_hba.conf", "allow u to log in to openwebui"),
        ("08001", 'FATAL:  database "openwebui" does not exist', "does not exist", "bridge_openwebui_db"),
        ("08001", 'FATAL:  role "u" is not permitted to log in', "not permitted", "bridge_sync_user"),
        ("08001", "server does not support SSL, but SSL was required", "SSL", "bridge_target_sslmode"),
        ("08001", "could not translate host name", "could not translate", "bridge_target_host"),
        ("42501", None, "permission denied for foreign server x (SQLSTATE 42501)", ""),
    ],
)
def test_connection_problem(sqlstate: str, detail: str | None, reason: str, remedy: str) -> None:
    error = Exception("SELECT secret")
    error.sqlstate = sqlstate  # type: ignore[attr-defined]
    error.diag = SimpleNamespace(  # type: ignore[attr-defined]
        message_primary="permission denied for foreign server x", message_detail=detail
    )
    found = connection_problem(error, {"dbname": "openwebui"}, "u")
    assert reason in found[0] and remedy in found[1]
    assert "SELECT" not in " ".join(found)
