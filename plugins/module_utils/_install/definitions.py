# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Groups SQL statements by the object that they define.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._catalog.records import BOOKKEEPING
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._install.sql import (
    Statement,
    Token,
    split_statements,
)
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import (
    ROUTINES,
    SCHEMA,
    Roles,
    Subject,
    display,
    quote,
)

_CREATABLE = ("table", "sequence", "index", *ROUTINES, "view", "materialized view", "trigger")
_ATTACHABLE = ("alter", "comment", "grant", "revoke", "insert")
_MODIFIERS = ("or", "replace", "unique", "unlogged", "constraint")

# Types as format_type() spells them; one that does not exist yet is left as it was written.
_CANONICAL = r"""
SELECT w.arguments AS written,
       string_agg(coalesce(format_type(to_regtype(t.name), NULL), t.name), ', ' ORDER BY t.place) AS canonical
  FROM unnest(%(arguments)s::text[]) AS w(arguments)
 CROSS JOIN regexp_split_to_table(w.arguments, ',\s*') WITH ORDINALITY AS t(name, place)
 GROUP BY 1"""


@dataclass(frozen=True)
class Definition:
    """One object with every statement that belongs to it, in order."""

    subject: Subject
    statements: tuple[Statement, ...]
    source: str
    # The role that owns it, where it is not the bridge's owner role.
    role: str = ""

    @property
    def text(self) -> str:
        """The statements as one script, as it is recorded."""
        role = [f"SET ROLE {quote(self.role)}"] if self.role else []
        return "".join(f"{text};\n\n" for text in role + [statement.text for statement in self.statements]).rstrip()


def parse_definitions(sql: str, source: str) -> list[Definition]:
    """Group the statements of one file by object: a CREATE opens one, what follows up to the next CREATE is its own.

    What stands before the first CREATE belongs to the schema. SET ROLE says who owns what is created after it. Errors
    name the file (source) and the line.
    """
    try:
        statements = split_statements(sql)
    except BridgeError as error:
        raise BridgeError(f"definitions: {source}: {error}") from None
    schema: list[Statement] = []
    objects: list[tuple[str, list[Statement]]] = []
    role, is_set = "", False
    for statement in statements:
        verb = statement.tokens[0].word
        if verb == "set":
            role, is_set = _role(statement, source), True
        elif verb == "create":
            objects.append((role, [statement]))
            is_set = False
        elif verb not in _ATTACHABLE or is_set:
            raise BridgeError(
                f"definitions: {source}, line {statement.line}: a statement that starts with "
                f"{statement.tokens[0].text!r} cannot be managed{' after SET ROLE' if is_set else ''}; "
                f"use {'CREATE' if is_set else ', '.join(word.upper() for word in ('create', *_ATTACHABLE))}"
            )
        else:
            (objects[-1][1] if objects else schema).append(statement)
    found = [Definition(Subject("schema", "", SCHEMA), tuple(schema), source)] if schema else []
    return found + [_definition(tuple(group), source, role) for role, group in objects]


def _role(statement: Statement, source: str) -> str:
    """The role in SET ROLE, which only the installer executes."""
    words = [token.word for token in statement.tokens[:2]]
    if words != ["set", "role"] or len(statement.tokens) != 3:
        raise BridgeError(
            f"definitions: {source}, line {statement.line}: of the SET statements only SET ROLE can be managed"
        )
    return _identifier(statement.tokens, 2)[0]


def _definition(statements: tuple[Statement, ...], source: str, role: str) -> Definition:
    try:
        subject = identify(statements[0])
        if subject.kind in ROUTINES:
            subject = replace(subject, arguments=_commented_arguments(subject, statements[1:]))
    except BridgeError as error:
        raise BridgeError(f"definitions: {source}, line {statements[0].line}: {error}") from None
    return Definition(subject, statements, source, role)


def identify(statement: Statement) -> Subject:
    """Name the object that a CREATE statement creates, a function without its arguments."""
    tokens = statement.tokens
    if any(a.word == "begin" and b.word == "atomic" for a, b in zip(tokens, tokens[1:])):
        raise BridgeError("BEGIN ATOMIC bodies need PostgreSQL 14; write the body as a dollar-quoted string")
    position = 1
    while position < len(tokens) and tokens[position].word in _MODIFIERS:
        position += 1
    kind = tokens[position].word if position < len(tokens) else ""
    if [token.word for token in tokens[position : position + 2]] == ["materialized", "view"]:
        kind, position = "materialized view", position + 1
    if kind not in _CREATABLE:
        what = tokens[position].text if position < len(tokens) else "nothing"
        raise BridgeError(f"CREATE {what} cannot be managed; use one of {', '.join(_CREATABLE)}")
    position += 1
    if [token.word for token in tokens[position : position + 3]] == ["if", "not", "exists"]:
        position += 3
    if kind not in ("index", "trigger"):
        schema, name, position = _qualified(tokens, position)
        _require_own_schema(kind, schema, name)
        return Subject(kind, schema, name)
    name, position = _identifier(tokens, position)
    position = next((n for n, token in enumerate(tokens) if n >= position and token.word == "on"), len(tokens)) + 1
    if position < len(tokens) and tokens[position].word == "only":
        position += 1
    schema, table, position = _qualified(tokens, position)
    if kind == "index":
        _require_own_schema(kind, schema, name)
    elif not name.startswith(f"{SCHEMA}_"):
        raise BridgeError(f"trigger {display(name)} must be named {SCHEMA}_*")
    return Subject(kind, schema, name, table=table)


def _require_own_schema(kind: str, schema: str, name: str) -> None:
    if schema != SCHEMA:
        raise BridgeError(f"{kind} {display(schema)}.{display(name)} must be in schema {SCHEMA}")


def _identifier(tokens: tuple[Token, ...], position: int) -> tuple[str, int]:
    if position < len(tokens):
        token = tokens[position]
        if token.kind == "quoted":
            return token.text[1:-1].replace('""', '"'), position + 1
        if token.kind == "word":
            return token.text.lower(), position + 1
    raise BridgeError("a name is expected")


def _qualified(tokens: tuple[Token, ...], position: int) -> tuple[str, str, int]:
    schema, position = _identifier(tokens, position)
    if position >= len(tokens) or tokens[position].text != ".":
        raise BridgeError(f"{display(schema)} must be written with its schema")
    name, position = _identifier(tokens, position + 1)
    return schema, name, position


def _commented_arguments(subject: Subject, statements: tuple[Statement, ...]) -> str:
    """The argument types that COMMENT ON FUNCTION names: only PostgreSQL can read those of CREATE FUNCTION for sure."""
    for statement in statements:
        words = [token.word for token in statement.tokens[:3]]
        if words == ["comment", "on", subject.kind]:
            schema, name, position = _qualified(statement.tokens, 3)
            if (schema, name) == (subject.schema, subject.name):
                return _types(statement.tokens[position:])
    raise BridgeError(
        f"{subject.kind} {display(subject.schema)}.{display(subject.name)} needs a COMMENT ON {subject.kind.upper()} "
        "with its argument types right after it"
    )


def _types(tokens: tuple[Token, ...]) -> str:
    """What is in the first parentheses, spaced as PostgreSQL does it, without the lengths of types."""
    text, depth, apart = "", 0, False
    for token in tokens:
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        if depth == 0:
            break
        if depth == 1 and token.text not in ("(", ")"):
            is_word = token.kind in ("word", "quoted")
            text += f" {token.text}" if apart and is_word else token.text
            apart = is_word or token.text == ","
    return text


def canonical(cur: Any, definitions: tuple[Definition, ...]) -> tuple[Definition, ...]:
    """The same definitions with the argument types of functions in the spelling of the server's catalog."""
    written = sorted({definition.subject.arguments for definition in definitions} - {""})
    try:
        found = {row["written"]: row["canonical"] for row in _pg.rows(cur, _CANONICAL, {"arguments": written})}
    except _pg.PgError as error:
        raise BridgeError(
            f"definitions: COMMENT ON FUNCTION must name argument types only: {_pg.describe(error)}"
        ) from None
    return each_once(
        replace(each, subject=replace(each.subject, arguments=found.get(each.subject.arguments, "")))
        for each in definitions
    )


def each_once(definitions: Iterable[Definition]) -> tuple[Definition, ...]:
    """The same definitions, or an error that names the object that two files define."""
    sources: dict[tuple[str, str], str] = {}
    found = tuple(definitions)
    for definition in found:
        key = definition.subject.kind, definition.subject.label
        if key in sources:
            raise BridgeError(f"definitions: {key[0]} {key[1]} is in {sources[key]} and in {definition.source}")
        sources[key] = definition.source
    return found


def wanted_definitions(files: list[dict[str, str]] | None, roles: Roles) -> tuple[Definition, ...]:
    """The schema, the bookkeeping and the objects of all files (name and sql), each object once."""
    if not files:
        # An empty list would drop every object, data included.
        raise BridgeError("definitions is empty; give the SQL files, or use state=absent to remove the bridge")
    sources = [("bridge_install", BOOKKEEPING)] + [(item["name"], item["sql"]) for item in files]
    found = [definition for name, sql in sources for definition in parse_definitions(sql, name)]
    schema = [statement for each in found if each.subject.kind == "schema" for statement in each.statements]
    objects = each_once(_owned(each, roles) for each in found if each.subject.kind != "schema")
    return (Definition(Subject("schema", "", SCHEMA), tuple(schema), "bridge_install"), *objects)


def _owned(definition: Definition, roles: Roles) -> Definition:
    """The same with no role for the owner role; a third one, or one that would own data, is refused."""
    if definition.role in ("", roles.owner):
        return replace(definition, role="")
    what = f"definitions: {definition.source}: {definition.subject.kind} {definition.subject.label}"
    if definition.role != roles.program:
        raise BridgeError(
            f"{what} is for role {definition.role}, which is neither owner ({roles.owner}) nor program_role "
            f"({roles.program})"
        )
    if definition.subject.kind not in ROUTINES:
        raise BridgeError(f"{what} cannot belong to {definition.role} (program_role), which owns functions only")
    return definition
