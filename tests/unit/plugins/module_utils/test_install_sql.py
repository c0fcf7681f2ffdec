# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._install.sql import split_statements


def texts(sql: str) -> list[str]:
    return [statement.text for statement in split_statements(sql)]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("", []),
        (" \n\t ", []),
        (";;; ;", []),
        ("-- only a comment; with a semicolon", []),
        ("/* only; /* nested; */ still; */", []),
        ("SELECT 1", ["SELECT 1"]),
        ("SELECT 1;", ["SELECT 1"]),
        ("SELECT 1; SELECT 2", ["SELECT 1", "SELECT 2"]),
        ("SELECT ';'; SELECT 2;", ["SELECT ';'", "SELECT 2"]),
        ("SELECT 'it''s; '; SELECT 2;", ["SELECT 'it''s; '", "SELECT 2"]),
        ("SELECT '\\'; SELECT 2", ["SELECT '\\'", "SELECT 2"]),
        (r"SELECT E'a\'; b'; SELECT 2", [r"SELECT E'a\'; b'", "SELECT 2"]),
        (r"SELECT e'a\\'; SELECT 2", [r"SELECT e'a\\'", "SELECT 2"]),
        (r"SELECT E'a''; b'; SELECT 2", [r"SELECT E'a''; b'", "SELECT 2"]),
        (r"SELECT nameE'a\'; SELECT 2", [r"SELECT nameE'a\'", "SELECT 2"]),
        (r"SELECT U&'\0041;'; SELECT 2", [r"SELECT U&'\0041;'", "SELECT 2"]),
        ('SELECT 1 AS "a;""b;"; SELECT 2', ['SELECT 1 AS "a;""b;"', "SELECT 2"]),
        ("SELECT $$a;b$$; SELECT 2", ["SELECT $$a;b$$", "SELECT 2"]),
        ("SELECT $a$ $$ ; $b$ ; $a$; SELECT 2", ["SELECT $a$ $$ ; $b$ ; $a$", "SELECT 2"]),
        ("SELECT $A$ ; $a$ ; $A$; SELECT 2", ["SELECT $A$ ; $a$ ; $A$", "SELECT 2"]),
        ("SELECT $ä1$ ; $ä1$; SELECT 2", ["SELECT $ä1$ ; $ä1$", "SELECT 2"]),
        ("SELECT foo$bar$; SELECT $bar$", None),
        ("SELECT foo$$; SELECT 2", ["SELECT foo$$", "SELECT 2"]),
        ("SELECT $1; SELECT $2", ["SELECT $1", "SELECT $2"]),
        ("SELECT 1 -- one; two\n; SELECT 2", ["SELECT 1", "SELECT 2"]),
        ("SELECT 1 /* ; /* ; */ ; */ + 1; SELECT 2", ["SELECT 1 /* ; /* ; */ ; */ + 1", "SELECT 2"]),
        ("SELECT '/*'; SELECT '*/'", ["SELECT '/*'", "SELECT '*/'"]),
        ("SELECT '--'; SELECT 2", ["SELECT '--'", "SELECT 2"]),
        ("SELECT $$--$$; SELECT $$/*$$", ["SELECT $$--$$", "SELECT $$/*$$"]),
        ("-- it's\nSELECT 1", ["SELECT 1"]),
        ("/* it's $$ \" */ SELECT 1", ["SELECT 1"]),
        ("SELECT 1 - -1; SELECT 4 / 2", ["SELECT 1 - -1", "SELECT 4 / 2"]),
        ("SELECT 'a'\n'b;'; SELECT 2", ["SELECT 'a'\n'b;'", "SELECT 2"]),
        ("SELECT $$\r\n;\r\n$$;\r\nSELECT 2", ["SELECT $$\n;\n$$", "SELECT 2"]),
        ("SELECT '🙂;'; SELECT '💥'", ["SELECT '🙂;'", "SELECT '💥'"]),
        ("SELECT '100%; %s %(a)s'; SELECT 2", ["SELECT '100%; %s %(a)s'", "SELECT 2"]),
    ],
)
def test_split(sql: str, expected: list[str] | None) -> None:
    if expected is None:
        with pytest.raises(BridgeError, match="never closed"):
            split_statements(sql)
    else:
        assert texts(sql) == expected


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT 1;\nSELECT 'a", "line 2: the quote is never closed"),
        ('\n\nSELECT "a', "line 3: the quote is never closed"),
        ("SELECT E'a\\'", "line 1: the quote is never closed"),
        ("SELECT $a$ $A$", r"line 1: the dollar quote \$a\$ is never closed"),
        ("SELECT 1 /* /* */", "line 1: the comment is never closed"),
    ],
)
def test_what_is_never_closed_is_located(sql: str, message: str) -> None:
    with pytest.raises(BridgeError, match=message):
        split_statements(sql)


def test_split_is_lossless_for_a_long_body() -> None:
    body = "$body$" + "BEGIN; END; '" * 2000 + "$body$"
    assert texts(f"CREATE FUNCTION a.b() AS {body};\n\n-- next\nSELECT 1;") == [
        f"CREATE FUNCTION a.b() AS {body}",
        "SELECT 1",
    ]
