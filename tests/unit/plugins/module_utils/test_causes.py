# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.llmops.user_bridge.plugins.module_utils._causes import cause, grouped

# How the server's own line begins, and what connect() adds.
FATAL = 'could not establish connection: connection to server at "127.0.0.1", port 5432 failed: FATAL:  '
TRIED = " (user sync, database webui)"


@pytest.mark.parametrize(
    ("sqlstate", "message", "name"),
    [
        ("UB001", "could not establish connection: FATAL: password authentication failed for user", "password"),
        ("UB001", "could not establish connection: Connection refused", "unreachable"),
        ("UB001", "could not establish connection: FATAL:  unsupported startup parameter: options", "pooler"),
        ("UB001", 'connection to server at "127.0.0.1", port 5432 failed: session is read-only', "read-only"),
        # What the server itself says is in any language.
        ("UB001", "the target refused (42501): keine Berechtigung für Funktion apply", "permission"),
        ("UB001", "the target refused (25006): Open WebUI's server is a read-only standby", "read-only"),
        ("UB001", "the target refused (57P03): das Datenbanksystem startet", "starting"),
        ("UB001", "the target refused (57P01): Verbindung wird abgebrochen", "unreachable"),
        ("UB002", "the target refused (57014): storniere Anfrage wegen Zeitüberschreitung", "timeout"),
        ("UB002", "the target refused (55P03): konnte Sperre nicht setzen", "locked"),
        ("22P05", "Open WebUI's database has an encoding ...: the target refused (22P05): Zeichen", "encoding"),
        ("UB001", f"{FATAL}Passwort-Authentifizierung für Benutzer »sync« fehlgeschlagen{TRIED}", "login"),
        ("UB001", f"{FATAL}zu viele Verbindungen von Rolle »sync«{TRIED}", "login"),
        ("UB001", f"{FATAL}zu viele Verbindungen für Datenbank »webui«{TRIED}", "database"),
        ("UB001", f"{FATAL}tut mir leid, schon zu viele Verbindungen{TRIED}", "busy"),
        ("UB001", f"{FATAL}le système de base de données s'arrête{TRIED}", "busy"),
        ("UB001", f"{FATAL}für Rollen mit dem SUPERUSER-Attribut reserviert{TRIED}", "too many connections"),
        ("UB001", f'{FATAL}database "webui" does not exist{TRIED}', "database"),
        ("UB001", f"failed: abgelehnt{TRIED}", "unreachable"),
        ("UB001", f"failed: abgelehnt\nfailed: session is read-only{TRIED}", "read-only"),
        ("UB001", 'Verbindung zum Server auf "127.0.0.1", Port 5432 fehlgeschlagen: abgelehnt', "unreachable"),
        ("UB001", "the foreign server user_bridge_target does not exist", "not deployed"),
        ("UB002", "the target did not answer in time", "timeout"),
        ("55P03", "canceling statement due to lock timeout", "locked"),
        ("22001", "value too long for type character varying(255)", "too long"),
        ("23505", "duplicate key value", "conflict"),
        ("42703", 'column "x" does not exist', "schema"),
        (None, "email refused: an Open WebUI account that is not LiteLLM's has it", "email taken"),
        ("XX000", "whatever", "other"),
        (None, None, "other"),
    ],
)
def test_cause(sqlstate: str | None, message: str | None, name: str) -> None:
    found = cause(sqlstate, message)
    assert found.name == name and len(found.remedy) > 10


def error(message: str, sqlstate: str, entities: int, attempts: int = 1, oldest: int = 1) -> dict[str, Any]:
    return {
        "sqlstate": sqlstate,
        "message": message,
        "entities": entities,
        "attempts": attempts,
        "oldest_seconds": oldest,
    }


def test_errors_of_one_cause_are_one_group_the_largest_first() -> None:
    found = grouped(
        [
            error("too late", "UB002", 2),
            error("a", "22001", 1, attempts=5),
            error("b", "22001", 1, oldest=9),
            error("c", "22001", 1),
            error("d", "22001", 1),
        ]
    )
    assert [(group["cause"], group["entities"]) for group in found] == [("too long", 4), ("timeout", 2)]
    assert found[0]["attempts"] == 5 and found[0]["oldest_seconds"] == 9 and found[0]["examples"] == ["a", "b", "c"]
    assert grouped([]) == []
