# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import Subject, display, quote
from ansible_collections.llmops.user_bridge.plugins.module_utils._sql_split import (
    canonical_type,
    identify,
    parse_definitions,
    split_statements,
)


def texts(sql: str) -> list[str]:
    return [statement.text for statement in split_statements(sql)]


def label(sql: str) -> str:
    (statement,) = split_statements(sql)
    subject = identify(statement)
    return f"{subject.kind} {subject.label}"


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


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("CREATE TABLE user_bridge.a ()", "table user_bridge.a"),
        ("create unlogged table if not exists USER_BRIDGE.A ()", "table user_bridge.a"),
        ('CREATE TABLE user_bridge."A ""b" ()', 'table user_bridge."A ""b"'),
        ("CREATE TABLE /* x */ user_bridge /* y */ . -- z\n a ()", "table user_bridge.a"),
        ("CREATE SEQUENCE IF NOT EXISTS user_bridge.s", "sequence user_bridge.s"),
        ("CREATE UNIQUE INDEX IF NOT EXISTS i ON user_bridge.a (b)", "index user_bridge.i"),
        ("CREATE INDEX i ON ONLY user_bridge.a (b)", "index user_bridge.i"),
        ("CREATE OR REPLACE VIEW user_bridge.v AS SELECT 1", "view user_bridge.v"),
        ("CREATE FUNCTION user_bridge.f() RETURNS void", "function user_bridge.f()"),
        ("CREATE PROCEDURE user_bridge.f(IN a int)", "procedure user_bridge.f(integer)"),
        (
            'CREATE TRIGGER user_bridge_x AFTER INSERT OR UPDATE ON public."LiteLLM_UserTable" FOR EACH ROW',
            'trigger user_bridge_x on public."LiteLLM_UserTable"',
        ),
        (
            "CREATE CONSTRAINT TRIGGER user_bridge_y AFTER INSERT ON user_bridge.q DEFERRABLE",
            "trigger user_bridge_y on user_bridge.q",
        ),
    ],
)
def test_identify(sql: str, expected: str) -> None:
    assert label(sql) == expected


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("", ""),
        ("int", "integer"),
        ("n int", "integer"),
        ("n int4 DEFAULT 1", "integer"),
        ("n int = f(1, 2), m text", "integer, text"),
        ("a text DEFAULT 'x, y', b text DEFAULT $$a, b$$", "text, text"),
        ("a numeric(10, 2), b varchar(5)", "numeric, character varying"),
        ("a text[], b int[3], c integer ARRAY, d int[][]", "text[], integer[], integer[], integer[]"),
        ("double precision", "double precision"),
        ("x double precision", "double precision"),
        ("timestamp", "timestamp without time zone"),
        ("at timestamptz", "timestamp with time zone"),
        ("at timestamp with time zone", "timestamp with time zone"),
        ("timestamp(3) without time zone", "timestamp without time zone"),
        ("timestamp timestamp", "timestamp without time zone"),
        ("a character varying", "character varying"),
        ("IN a int, OUT b int, INOUT c text", "integer, text"),
        ("VARIADIC a text[]", "text[]"),
        ('row public."LiteLLM_UserTable"', 'public."LiteLLM_UserTable"'),
        ('a public."user"', "public.user"),
        ('"in" int', "integer"),
        ("s user_bridge.settings", "user_bridge.settings"),
        ("pg_catalog.int4, pg_catalog.jsonb", "integer, jsonb"),
        ("a bool, b int8, c float8, d xid8, e jsonb", "boolean, bigint, double precision, xid8, jsonb"),
    ],
)
def test_arguments(arguments: str, expected: str) -> None:
    assert label(f"CREATE FUNCTION user_bridge.f({arguments}) RETURNS void") == f"function user_bridge.f({expected})"


@pytest.mark.parametrize("name", ['public."user"', "public.user", "PUBLIC.user"])
def test_keywords_need_no_list(name: str) -> None:
    """format_type() quotes keywords, people do as they like; both must mean the same."""
    assert canonical_type(name) == "public.user"


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("CREATE TABLE a ()", "a must be written with its schema"),
        ("CREATE TABLE public.a ()", "table public.a must be in schema user_bridge"),
        ("CREATE INDEX i ON public.a (b)", "index public.i must be in schema user_bridge"),
        ("CREATE EXTENSION dblink", "CREATE EXTENSION cannot be managed"),
        ("CREATE MATERIALIZED VIEW user_bridge.a AS SELECT 1", "CREATE MATERIALIZED cannot be managed"),
        ("CREATE", "CREATE nothing cannot be managed"),
        ("CREATE TRIGGER mine AFTER INSERT ON public.a", r"trigger mine must be named user_bridge_\*"),
        ("CREATE FUNCTION user_bridge.f", "an argument list is expected"),
        ("CREATE FUNCTION user_bridge.f(a int", "the argument list is never closed"),
        ("CREATE FUNCTION user_bridge.f(a public.t.c%TYPE)", "%TYPE in an argument list is not supported"),
        ("CREATE FUNCTION user_bridge.f() RETURNS int BEGIN ATOMIC SELECT 1", "BEGIN ATOMIC"),
        ("CREATE TABLE 'x' ()", "a name is expected"),
    ],
)
def test_identify_refuses(sql: str, message: str) -> None:
    with pytest.raises(BridgeError, match=message):
        identify(split_statements(sql)[0])


def test_definitions_collect_what_follows_a_create() -> None:
    definitions = parse_definitions(
        "GRANT USAGE ON SCHEMA user_bridge TO x; CREATE TABLE user_bridge.a (); COMMENT ON TABLE user_bridge.a IS 'a';"
        "INSERT INTO user_bridge.a DEFAULT VALUES; CREATE VIEW user_bridge.b AS SELECT 1;"
        "REVOKE ALL ON user_bridge.b FROM x; ALTER VIEW user_bridge.b SET (security_barrier)",
        "x.sql",
    )
    assert [(d.subject.kind, d.subject.label, len(d.statements)) for d in definitions] == [
        ("schema", "user_bridge", 1),
        ("table", "user_bridge.a", 3),
        ("view", "user_bridge.b", 3),
    ]
    assert definitions[1].text.endswith("INSERT INTO user_bridge.a DEFAULT VALUES;")


@pytest.mark.parametrize("verb", ["DROP TABLE x", "DO $$ $$", "SELECT 1", "BEGIN", "\\set x 1"])
def test_other_statements_are_refused_with_their_place(verb: str) -> None:
    with pytest.raises(BridgeError, match="definitions: x.sql, line 2: a statement that starts with"):
        parse_definitions(f"CREATE TABLE user_bridge.a ();\n{verb}", "x.sql")


def test_names_are_quoted_for_sql_and_readable_in_messages() -> None:
    assert quote('a"b') == '"a""b"'
    assert display("a_1") == "a_1" and display("A") == '"A"' and display("") == '""'
    trigger = Subject("trigger", "public", "user_bridge_x", table='T"')
    assert trigger.identity == '"user_bridge_x" ON "public"."T"""'
    assert Subject("function", "user_bridge", "f", ("integer", "public.user")).identity == (
        '"user_bridge"."f"(integer, public.user)'
    )
    assert Subject("schema", "", "user_bridge").identity == '"user_bridge"'
