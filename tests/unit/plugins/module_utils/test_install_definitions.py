# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._install.definitions import (
    identify,
    parse_definitions,
    wanted_definitions,
)
from ansible_collections.llmops.user_bridge.plugins.module_utils._install.dumpable import dumpable
from ansible_collections.llmops.user_bridge.plugins.module_utils._install.sql import split_statements
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import (
    Roles,
    Subject,
    display,
    quote,
)

ROLES = Roles("the_owner", "my reader")


def label(sql: str) -> str:
    (statement,) = split_statements(sql)
    subject = identify(statement)
    return f"{subject.kind} {subject.label}"


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
        (
            "CREATE MATERIALIZED VIEW IF NOT EXISTS user_bridge.v AS SELECT 1",
            "materialized view user_bridge.v",
        ),
        ("CREATE FUNCTION user_bridge.f() RETURNS void", "function user_bridge.f()"),
        ("CREATE PROCEDURE user_bridge.f(IN a int)", "procedure user_bridge.f()"),
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
    ("sql", "message"),
    [
        ("CREATE TABLE a ()", "a must be written with its schema"),
        ("CREATE TABLE public.a ()", "table public.a must be in schema user_bridge"),
        ("CREATE INDEX i ON public.a (b)", "index public.i must be in schema user_bridge"),
        ("CREATE EXTENSION dblink", "CREATE EXTENSION cannot be managed"),
        ("CREATE MATERIALIZED TABLE user_bridge.a AS SELECT 1", "CREATE MATERIALIZED cannot be managed"),
        ("CREATE", "CREATE nothing cannot be managed"),
        ("CREATE TRIGGER mine AFTER INSERT ON public.a", r"trigger mine must be named user_bridge_\*"),
        ("CREATE FUNCTION user_bridge.f() RETURNS int BEGIN ATOMIC SELECT 1", "BEGIN ATOMIC"),
        ("CREATE TABLE 'x' ()", "a name is expected"),
    ],
)
def test_identify_refuses(sql: str, message: str) -> None:
    with pytest.raises(BridgeError, match=message):
        identify(split_statements(sql)[0])


@pytest.mark.parametrize(
    ("types", "arguments"),
    [
        ("", ""),
        ("int", "int"),
        ("text[],int", "text[], int"),
        ("text [ ] ,\n  timestamp  with time zone", "text[], timestamp with time zone"),
        ('public."user", user_bridge . entity', 'public."user", user_bridge.entity'),
        ("numeric(10, 2), timestamp(3) without time zone", "numeric, timestamp without time zone"),
    ],
)
def test_a_comment_names_a_functions_arguments(types: str, arguments: str) -> None:
    sql = f"""CREATE FUNCTION user_bridge.f(a int DEFAULT f(1, 2)) RETURNS int LANGUAGE sql AS $$ SELECT ')' $$;
        COMMENT ON FUNCTION user_bridge.other(text) IS 'of another one';
        GRANT EXECUTE ON FUNCTION user_bridge.f(int) TO x;
        COMMENT ON FUNCTION user_bridge.f({types}) IS '(text)'"""
    (definition,) = parse_definitions(sql, "x.sql")
    assert definition.subject == Subject("function", "user_bridge", "f", arguments) and len(definition.statements) == 4


@pytest.mark.parametrize(
    "comment", ["", "; COMMENT ON FUNCTION user_bridge.g() IS ''", "; COMMENT ON TABLE user_bridge.f IS ''"]
)
def test_a_function_without_a_comment_is_refused(comment: str) -> None:
    message = r"definitions: x.sql, line 2: function user_bridge.f needs a COMMENT ON FUNCTION with its argument types"
    with pytest.raises(BridgeError, match=message):
        parse_definitions(f"\nCREATE FUNCTION user_bridge.f() RETURNS void LANGUAGE sql AS ''{comment}", "x.sql")


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
    assert Subject("function", "user_bridge", "f", "integer, public.user").identity == (
        '"user_bridge"."f"(integer, public.user)'
    )
    assert Subject("schema", "", "user_bridge").identity == '"user_bridge"'


@pytest.mark.parametrize("files", [None, []])
def test_nothing_wanted_is_a_mistake(files: Any) -> None:
    with pytest.raises(BridgeError, match="definitions is empty"):
        wanted_definitions(files, ROLES)


def test_an_object_is_defined_once() -> None:
    one = {"name": "a.sql", "sql": "CREATE TABLE user_bridge.t ();"}
    with pytest.raises(BridgeError, match="table user_bridge.t is in a.sql and in b.sql"):
        wanted_definitions([one, {**one, "name": "b.sql"}], ROLES)


FUNCTION = """CREATE FUNCTION user_bridge.{0}() RETURNS int LANGUAGE sql AS 'SELECT 1';
COMMENT ON FUNCTION user_bridge.{0}() IS 'it';"""


def test_set_role_says_who_owns_what_follows_in_the_file() -> None:
    first, *others = (FUNCTION.format(name) for name in "abc")
    sql = f'{first} SET ROLE "my reader"; {" ".join(others)} SET ROLE the_owner;'
    files = [{"name": "1.sql", "sql": sql + FUNCTION.format("d")}, {"name": "2.sql", "sql": FUNCTION.format("e")}]
    found = {each.subject.name: each for each in wanted_definitions(files, ROLES) if each.subject.kind == "function"}
    assert {name: each.role for name, each in found.items()} == {
        "a": "", "b": "my reader", "c": "my reader", "d": "", "e": ""
    }  # fmt: skip
    assert found["b"].text.startswith('SET ROLE "my reader";\n\nCREATE') and found["d"].text.startswith("CREATE")


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        (f"SET ROLE stranger; {FUNCTION.format('a')}", "is for role stranger, which is neither owner"),
        ('SET ROLE "my reader"; CREATE TABLE user_bridge.t ();', "cannot belong to my reader"),
        ("SET search_path = public; CREATE TABLE user_bridge.t ();", "line 1: of the SET statements only SET ROLE"),
        (
            f"{FUNCTION.format('a')}\nSET ROLE the_owner; GRANT EXECUTE ON FUNCTION user_bridge.a() TO x;",
            "after SET ROLE",
        ),
    ],
)
def test_a_role_that_cannot_be(sql: str, message: str) -> None:
    with pytest.raises(BridgeError, match=message):
        wanted_definitions([{"name": "a.sql", "sql": sql}], ROLES)


@pytest.mark.parametrize(
    ("sql", "granted"),
    [
        (
            "CREATE TABLE user_bridge.t (a numeric(1, 0), b bigint GENERATED ALWAYS AS IDENTITY, "
            "UNIQUE (a, b)); COMMENT ON TABLE user_bridge.t IS 'x'",
            ['SELECT ON TABLE "user_bridge"."t"', 'SELECT ON SEQUENCE "user_bridge"."t_b_seq"'],
        ),
        ("CREATE SEQUENCE user_bridge.s", ['SELECT ON SEQUENCE "user_bridge"."s"']),
        ("CREATE VIEW user_bridge.v AS SELECT 1", []),
        ("CREATE MATERIALIZED VIEW user_bridge.m AS SELECT 1", []),
        ("CREATE INDEX i ON user_bridge.t (a)", []),
        (FUNCTION.format("f"), []),
    ],
)
def test_the_programs_owner_may_dump_what_holds_rows(sql: str, granted: list[str]) -> None:
    schema, each = (found for found in wanted_definitions([{"name": "a.sql", "sql": sql}], ROLES) if found.source in (
        "a.sql", "bridge_install"
    ) and found.subject.name in ("user_bridge", "t", "s", "v", "m", "i", "f"))  # fmt: skip
    assert dumpable(each, None) == each
    added = [statement.text for statement in dumpable(each, "a b").statements[len(each.statements) :]]
    assert added == [f'GRANT {what} TO "a b"' for what in granted]
    assert [statement.text for statement in dumpable(schema, "x").statements] == [
        'GRANT USAGE ON SCHEMA user_bridge TO "x"'
    ]
