# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import jinja2
import pytest
import yaml
from ansible_collections.llmops.user_bridge.plugins.module_utils._remedies import (
    _CONNECTION,
    _DELIVERY,
    connection_remedy,
    delivery_remedy,
    server_reason,
)

from kit.common import REPO

# What libpq and PostgreSQL 15 say, the latter in the languages whose wording differs most.
REFUSED = 'connection to server at "127.0.0.1", port 5432 failed: '


@pytest.mark.parametrize(
    ("reason", "name"),
    [
        ('password authentication failed for user "me"', "password"),
        ("Passwort-Authentifizierung für Benutzer »me« fehlgeschlagen", "login"),
        ("authentification par mot de passe échouée pour l'utilisateur « me »", "login"),
        ('ユーザー"me"のパスワード認証に失敗しました', "login"),
        ("пользователь «me» не прошёл проверку подлинности (по паролю)", "login"),
        ("Rolle »me« existiert nicht", "login"),
        ('role "me" does not exist', "role"),
        ('database "mine" does not exist', "database"),
        ("Datenbank »mine« existiert nicht", "database"),
        ('数据库 "mine" 不存在', "database"),
        ('no pg_hba.conf entry for host "10.0.0.1", user "me", database "mine", no encryption', "pg_hba"),
        (
            "kein pg_hba.conf-Eintrag für Host »10.0.0.1«, Benutzer »me«, Datenbank »mine«, keine Verschlüsselung",
            "pg_hba",
        ),
        ("Peer-Authentifizierung für Benutzer »me« fehlgeschlagen", "peer"),
        ('role "me" is not permitted to log in', "role"),
        ("server does not support SSL, but SSL was required", "TLS"),
        ("SSL connection has been closed unexpectedly", "unreachable"),
        ("sorry, too many clients already", "too many connections"),
        ("the database system is starting up", "starting"),
        ("Connection refused", "unreachable"),
        ("Verbindungsaufbau abgelehnt", "unreachable"),
        (f"{REFUSED}SCHWERWIEGEND:  tut mir leid, schon zu viele Verbindungen", "busy"),
        (f"{REFUSED}SCHWERWIEGEND:  das Datenbanksystem startet", "busy"),
    ],
)
def test_connection_by_words_and_names(reason: str, name: str) -> None:
    assert connection_remedy("", reason, "me", "mine").name == name


@pytest.mark.parametrize(
    ("sqlstate", "name"),
    [
        ("28P01", "password"),
        ("3D000", "database"),
        ("53300", "too many connections"),
        ("57P03", "starting"),
        ("2F003", "pg_hba"),
        ("42501", "permission"),
    ],
)
def test_connection_by_sqlstate_in_any_language(sqlstate: str, name: str) -> None:
    assert connection_remedy(sqlstate, "etwas auf »mine«", "me", "mine").name == name


def test_a_password_that_the_server_refuses_in_german_is_set_anew() -> None:
    """By a login that cannot compare it: the role sync_user decides by the cause, which has no language."""
    path = REPO / "roles" / "sync_user" / "vars" / "main.yml"
    is_refused = jinja2.Template(yaml.safe_load(path.read_text(encoding="utf-8"))["__sync_user_is_refused"])
    for reason, refused in (
        ('password authentication failed for user "sync"', True),
        ("Passwort-Authentifizierung für Benutzer »sync« fehlgeschlagen", True),
        ("Datenbank »openwebui« existiert nicht", False),
    ):
        said = f"{REFUSED}FATAL:  {reason}"
        target = {"failed": True, "msg": said, "cause": connection_remedy("", said, "sync", "openwebui").name}
        for reads in (True, False):
            seen = {"openwebui": {"reads_passwords": reads}}
            done = is_refused.render(__bridge_seen=seen, __sync_user_target=target)
            assert done.strip() == str(refused and not reads), reason


def test_equal_names_leave_the_login_as_the_likelier_cause() -> None:
    assert connection_remedy("", "Datenbank »both« existiert nicht", "both", "both").name == "login"


def test_a_name_counts_only_between_quotation_marks() -> None:
    assert connection_remedy("", "some time is up", "me", "time").name == "unreachable"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f'{REFUSED}FATAL:  database "x" does not exist\n', 'database "x" does not exist'),
        (f'{REFUSED}ВАЖНО:  база данных "x" не существует\n', 'база данных "x" не существует'),
        (f"unable to connect to database: {REFUSED}Connection refused\n\tIs the server running?", "Connection refused"),
        (f"{REFUSED}Connection refused\n{REFUSED}FATAL:  no\n", "no"),
        ("", "unknown reason"),
    ],
)
def test_server_reason(text: str, reason: str) -> None:
    assert server_reason(text) == reason


def test_a_delivery_that_could_not_connect_has_the_remedy_of_the_connection() -> None:
    found = delivery_remedy("UB001", 'could not establish connection: FATAL:  database "openwebui" does not exist')
    assert found.name == "database" and "bridge_openwebui_db" in found.target
    # Outside of a connection the same words mean something else.
    assert delivery_remedy("XX000", "database is sad").name == "other"


@pytest.mark.parametrize("remedy", [*_CONNECTION, *_DELIVERY], ids=lambda each: "-".join(each.words) or each.name)
def test_every_remedy_can_be_filled_in(remedy: Any) -> None:
    names = ("user", "password", "host", "port", "db", "ssl_mode", "ca_cert", "program", "database")
    filled = [text.format(**dict.fromkeys(names, "x")) for text in (remedy.login, remedy.target)]
    assert any(filled) and not any("{" in text for text in filled)


def test_a_sqlstate_stands_for_one_cause() -> None:
    for table in (_CONNECTION, _DELIVERY):
        codes = [code for remedy in table for code in remedy.sqlstates]
        assert len(codes) == len(set(codes))
