# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""New functions go to the server many at a time."""

from __future__ import annotations

from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils._install import together
from ansible_collections.llmops.user_bridge.plugins.module_utils._install.definitions import parse_definitions

ONE = """
SET ROLE {role};
CREATE FUNCTION user_bridge.f{n}() RETURNS void LANGUAGE sql AS 'SELECT';
COMMENT ON FUNCTION user_bridge.f{n}() IS 'One';
GRANT EXECUTE ON FUNCTION user_bridge.f{n}() TO somebody;
"""


class Server:
    """Keeps what it was sent; every query returns the same rows."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self.sent: list[str] = []
        self.answers = answers

    def execute(self, text: str, parameters: object = None) -> None:
        self.sent.append(text)

    def fetchall(self) -> tuple[dict[str, Any], ...]:
        return self.answers


def created(number: int, *answers: dict[str, Any]) -> list[str]:
    sql = "".join(ONE.format(n=n, role="program" if n % 2 else "owner") for n in range(number))
    server = Server(*answers)
    together.create_all(server, [(each, None) for each in parse_definitions(sql, "test")], "owner")
    return server.sent


def test_a_hundred_take_as_many_messages_as_two() -> None:
    assert len(created(100)) == len(created(2))


def test_a_message_has_a_bound(monkeypatch: Any) -> None:
    monkeypatch.setattr(together, "_CHARACTERS", 1000)
    sent = created(100)
    assert len(created(2)) < len(sent) < 50
    assert max(len(text) for text in sent if text.startswith(("CREATE", "COMMENT"))) < 1200


def test_each_role_makes_its_own_and_grants_come_after_what_was_there_is_revoked() -> None:
    sent = created(2, {"name": "user_bridge.f0()", "grantees": "nosy"})
    begin = sent.index('SET LOCAL ROLE "owner"')
    create, query, reset, rest = sent[begin + 1 : begin + 5]
    assert "f0()" in create and "f1()" not in create
    assert "aclexplode" in query
    assert reset.splitlines() == [
        'REVOKE ALL ON ROUTINE "user_bridge"."f0"() FROM PUBLIC;',
        "REVOKE ALL ON ROUTINE user_bridge.f0() FROM nosy CASCADE;",
        'GRANT ALL ON ROUTINE user_bridge.f0() TO "owner"',
    ]
    assert rest.startswith("COMMENT") and "GRANT EXECUTE" in rest
    assert sent[begin + 5] == 'SET LOCAL ROLE "program"' and "f1()" in sent[begin + 6]
