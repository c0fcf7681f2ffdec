# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError

LOGIN = {"host": "db", "port": 5433, "user": "me", "dbname": "litellm"}


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        (
            'connection to server at "db", port 5433 failed: FATAL:  password authentication failed for user "me"',
            'as user me: password authentication failed for user "me"; check login_user and login_password',
        ),
        (
            'connection to server at "db" (::1), port 5433 failed: Connection refused\n\tIs the server running?\n'
            'connection to server at "db" (127.0.0.1), port 5433 failed: FATAL:  database "x" does not exist\n',
            'database "x" does not exist; set login_db to the database that the program uses',
        ),
        ('FATAL:  role "me" does not exist', "check login_user"),
        ('FATAL:  too many connections for role "me"', "raise the connection limit of the role login_user"),
        ("fe_sendauth: no password supplied", "set login_password"),
        ('FATAL:  no pg_hba.conf entry for host "1.2.3.4"', "check login_host and ssl_mode"),
        ("SSL error: certificate verify failed", "check ssl_mode and ca_cert"),
        ("could not translate host name", "check login_host and login_port"),
        ("", "unknown reason; check login_host and login_port"),
    ],
)
def test_connection_message(reason: str, expected: str) -> None:
    message = _pg.connection_message(_pg.ConnectionFailed(LOGIN, reason))
    assert message.startswith("cannot connect to db:5433/litellm as user me: ")
    assert expected in message and "\n" not in message


def test_connection_message_names_the_options_of_the_second_login() -> None:
    message = _pg.connection_message(_pg.ConnectionFailed({}, "FATAL:  no pg_hba.conf entry"), "openwebui_")
    assert "openwebui_login_host and openwebui_ssl_mode" in message


def server_error(sqlstate: str | None, primary: str | None, text: str = "LINE 1: SELECT 'secret'") -> Exception:
    error = Exception(text)
    error.pgcode = sqlstate  # type: ignore[attr-defined]
    error.diag = SimpleNamespace(message_primary=primary)  # type: ignore[attr-defined]
    return error


def test_describe_never_quotes_the_statement() -> None:
    assert _pg.describe(server_error("42601", 'syntax error at or near "x"')) == (
        'syntax error at or near "x" (SQLSTATE 42601)'
    )
    assert "default_transaction_read_only" in _pg.describe(server_error("25006", "cannot execute INSERT"))
    assert _pg.describe(server_error(None, None, "server closed the connection\nmore")) == (
        "no answer from the server: server closed the connection"
    )
    assert _pg.describe(Exception()) == "no answer from the server: Exception"


def test_login_options_have_no_aliases() -> None:
    spec = _pg.argument_spec()
    assert set(spec) == {
        "login_host",
        "login_port",
        "login_user",
        "login_password",
        "login_unix_socket",
        "login_db",
        "ssl_mode",
        "ca_cert",
        "ssl_cert",
        "ssl_key",
        "connect_params",
    }
    assert not any("alias" in key for option in spec.values() for key in option)
    assert spec["login_password"]["no_log"] is True


def test_second_login_falls_back_option_by_option() -> None:
    spec = _pg.argument_spec("openwebui_")
    assert spec["openwebui_login_password"]["no_log"] is True
    assert not any("default" in option for option in spec.values())
    params: dict[str, Any] = {name: f"first {name}" for name in _pg.argument_spec()}
    params |= dict.fromkeys(spec)
    params |= {"openwebui_login_db": "second", "openwebui_login_password": ""}
    login = _pg.second_login(params, "openwebui_")
    assert login["login_host"] == "first login_host"
    assert login["login_db"] == "second" and login["login_password"] == ""


@pytest.mark.parametrize(("number", "text"), [(150018, "15"), (130000, "13"), (90624, "9.6")])
def test_major_of(number: int, text: str) -> None:
    assert _pg.major_of(number) == text


def _connection(closed: list[bool], said: list[str], server_process: int) -> SimpleNamespace:
    """A connection to the process 7; what it asks for is answered by the process server_process."""
    found = {"pid": server_process, "role": "boss", "database": "litellm"}
    cur = SimpleNamespace(execute=said.append, fetchall=lambda: [found])
    return SimpleNamespace(
        close=lambda: closed.append(True),
        cursor=lambda **options: cur,
        info=SimpleNamespace(backend_pid=7, user="boss", parameter_status=lambda name: "on"),
    )


def test_server_that_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[bool] = []
    said: list[str] = []
    connection = _connection(closed, said, 7)
    monkeypatch.setattr(_pg.postgres, "connect_to_db", lambda *args, **kwargs: (connection, None))
    monkeypatch.setattr(_pg.postgres, "get_server_version", lambda found: 120022)
    login = {"login_host": "db", "login_port": 1, "login_unix_socket": "", "login_db": "litellm"}
    with pytest.raises(BridgeError, match=r"the server of db:1/litellm is PostgreSQL 12, the bridge needs 13 or newer"):
        _pg.connect(login)
    assert closed
    # Before anything else, as a function of another name's schema would run with the rights of the login.
    assert said[0] == "SET search_path = pg_catalog, pg_temp; SET jit = off"


def test_a_pooler_is_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[bool] = []
    monkeypatch.setattr(_pg.postgres, "connect_to_db", lambda *args, **kwargs: (_connection(closed, [], 8), None))
    login = {"login_host": "db", "login_port": 1, "login_unix_socket": "", "login_db": "litellm"}
    with pytest.raises(BridgeError, match="connection pooler.*name the server itself with login_host and login_port"):
        _pg.connect(login)
    assert closed


def test_connection_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def connect(module: Any, conn_params: dict[str, Any], **kwargs: Any) -> tuple[None, str]:
        seen.update(conn_params)
        return None, "refused"

    monkeypatch.setattr(_pg.postgres, "connect_to_db", connect)
    login = {"login_host": "db", "login_unix_socket": "", "connect_params": {"connect_timeout": 3, "dbname": "x"}}
    with pytest.raises(BridgeError, match="refused"):
        _pg.connect(login)
    assert seen["connect_timeout"] == 3 and seen["application_name"] == "llmops.user_bridge" and seen["dbname"] == "x"
