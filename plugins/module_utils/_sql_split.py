# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Splits SQL into statements and finds out which object a statement is about.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import SCHEMA, Subject, display

# A word swallows "$" so that the dollar of foo$bar$ does not open a dollar quote, as in PostgreSQL's own scanner.
_TOKEN = re.compile(
    r"""
      (?P<space>\s+|--[^\r\n]*)
    | (?P<comment>/\*)
    | (?P<string>[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*')
    | (?P<quoted>"(?:[^"]|"")*")
    | (?P<unclosed>[eE]?'|")
    | (?P<dollar>\$(?:[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_\x80-\U0010ffff]*)?\$)
    | (?P<word>[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]*)
    | (?P<number>[0-9][0-9.]*)
    | (?P<semicolon>;)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_CREATABLE = ("table", "sequence", "index", "function", "procedure", "view", "trigger")
_ATTACHABLE = ("alter", "comment", "grant", "revoke", "insert")
_MODIFIERS = ("or", "replace", "unique", "unlogged", "constraint")
_ARGUMENT_MODES = ("in", "out", "inout", "variadic")
_TWO_WORD_TYPES = {
    "double": ("precision",),
    "character": ("varying",),
    "char": ("varying",),
    "bit": ("varying",),
    "time": ("with", "without"),
    "timestamp": ("with", "without"),
}
# Only the spellings that format_type() renders differently.
_TYPE_ALIASES = {
    "int": "integer",
    "int2": "smallint",
    "int4": "integer",
    "int8": "bigint",
    "bool": "boolean",
    "float4": "real",
    "float8": "double precision",
    "float": "double precision",
    "decimal": "numeric",
    "varchar": "character varying",
    "char": "character",
    "bpchar": "character",
    "char varying": "character varying",
    "varbit": "bit varying",
    "timestamp": "timestamp without time zone",
    "timestamptz": "timestamp with time zone",
    "time": "time without time zone",
    "timetz": "time with time zone",
}


@dataclass(frozen=True)
class Token:
    kind: str
    text: str

    @property
    def word(self) -> str:
        """The lower-cased keyword, or nothing where it is not one."""
        return self.text.lower() if self.kind == "word" else ""


@dataclass(frozen=True)
class Statement:
    text: str
    line: int
    tokens: tuple[Token, ...]


@dataclass(frozen=True)
class Definition:
    """One object with every statement that belongs to it, in order."""

    subject: Subject
    statements: tuple[Statement, ...]
    source: str

    @property
    def text(self) -> str:
        return ";\n\n".join(statement.text for statement in self.statements) + (";" if self.statements else "")


def split_statements(sql: str) -> list[Statement]:
    """Split at the semicolons outside of quotes, dollar quotes and comments; drop what is only comment."""
    statements: list[Statement] = []
    tokens: list[Token] = []
    start = end = position = 0

    def finish() -> None:
        if tokens:
            text = sql[start:end].replace("\r\n", "\n")
            statements.append(Statement(text, _line(sql, start), tuple(tokens)))
            tokens.clear()

    while position < len(sql):
        match = _TOKEN.match(sql, position)
        if match is None or match.lastgroup is None:  # pragma: no cover  (the last alternative takes any character)
            raise BridgeError(f"line {_line(sql, position)}: unreadable character")
        kind, token_start, position = match.lastgroup, match.start(), match.end()
        if kind == "space":
            continue
        if kind == "comment":
            position = _end_of_comment(sql, token_start)
            continue
        if kind == "semicolon":
            finish()
            continue
        if kind == "dollar":
            closing = sql.find(match.group(), position)
            if closing < 0:
                raise BridgeError(f"line {_line(sql, token_start)}: the dollar quote {match.group()} is never closed")
            position = closing + len(match.group())
        elif kind == "unclosed":
            raise BridgeError(f"line {_line(sql, token_start)}: the quote is never closed")
        if not tokens:
            start = token_start
        end = position
        tokens.append(Token(kind, sql[token_start:position]))
    finish()
    return statements


def _end_of_comment(sql: str, start: int) -> int:
    depth, position = 1, start + 2
    while depth:
        match = re.compile(r"/\*|\*/").search(sql, position)
        if match is None:
            raise BridgeError(f"line {_line(sql, start)}: the comment is never closed")
        depth += 1 if match.group() == "/*" else -1
        position = match.end()
    return position


def _line(sql: str, position: int) -> int:
    return sql.count("\n", 0, position) + 1


def parse_definitions(sql: str, source: str) -> list[Definition]:
    """Group the statements of one file by object: a CREATE opens one, what follows up to the next CREATE is its own.

    What stands before the first CREATE belongs to the schema.
    """
    try:
        statements = split_statements(sql)
    except BridgeError as error:
        raise BridgeError(f"definitions: {source}: {error}") from None
    groups: list[tuple[Subject, list[Statement]]] = []
    for statement in statements:
        verb = statement.tokens[0].word
        where = f"definitions: {source}, line {statement.line}"
        if verb == "create":
            try:
                groups.append((identify(statement), [statement]))
            except BridgeError as error:
                raise BridgeError(f"{where}: {error}") from None
        elif verb in _ATTACHABLE:
            if not groups:
                groups.append((Subject("schema", "", SCHEMA), []))
            groups[-1][1].append(statement)
        else:
            raise BridgeError(
                f"{where}: a statement that starts with {statement.tokens[0].text!r} cannot be managed; "
                f"use CREATE, {', '.join(word.upper() for word in _ATTACHABLE)}"
            )
    return [Definition(subject, tuple(group), source) for subject, group in groups]


def identify(statement: Statement) -> Subject:
    """Name the object that a CREATE statement creates."""
    tokens = statement.tokens
    if any(a.word == "begin" and b.word == "atomic" for a, b in zip(tokens, tokens[1:])):
        raise BridgeError("BEGIN ATOMIC bodies need PostgreSQL 14; write the body as a dollar-quoted string")
    position = 1
    while position < len(tokens) and tokens[position].word in _MODIFIERS:
        position += 1
    kind = tokens[position].word if position < len(tokens) else ""
    if kind not in _CREATABLE:
        what = tokens[position].text if position < len(tokens) else "nothing"
        raise BridgeError(f"CREATE {what} cannot be managed; use one of {', '.join(_CREATABLE)}")
    position += 1
    if [token.word for token in tokens[position:position + 3]] == ["if", "not", "exists"]:
        position += 3
    if kind in ("index", "trigger"):
        name, position = _identifier(tokens, position)
        while position < len(tokens) and tokens[position].word != "on":
            position += 1
        position += 1
        if position < len(tokens) and tokens[position].word == "only":
            position += 1
        schema, table, position = _qualified(tokens, position)
        if kind == "trigger" and not name.startswith(f"{SCHEMA}_"):
            raise BridgeError(f"trigger {display(name)} must be named {SCHEMA}_*")
        if kind == "index":
            _require_own_schema(kind, schema, name)
        return Subject(kind, schema, name, table=table)
    schema, name, position = _qualified(tokens, position)
    _require_own_schema(kind, schema, name)
    if kind in ("function", "procedure"):
        return Subject(kind, schema, name, _arguments(tokens, position))
    return Subject(kind, schema, name)


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


def _arguments(tokens: tuple[Token, ...], position: int) -> tuple[str, ...]:
    """The input argument types in the spelling of format_type(): what identifies a function."""
    if position >= len(tokens) or tokens[position].text != "(":
        raise BridgeError("an argument list is expected")
    depth = 1
    argument: list[Token] = []
    arguments: list[list[Token]] = []
    for token in tokens[position + 1:]:
        depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(token.text, 0)
        if depth == 0 or (depth == 1 and token.text == ","):
            arguments.append(argument)
            argument = []
            if depth == 0:
                break
        else:
            argument.append(token)
    if depth:
        raise BridgeError("the argument list is never closed")
    types = [_argument_type(argument) for argument in arguments if argument]
    return tuple(name for name in types if name)


def _argument_type(tokens: list[Token]) -> str:
    """The type of one argument, empty for OUT."""
    for number, token in enumerate(tokens):
        if token.word == "default" or token.text == "=":
            tokens = tokens[:number]
            break
    mode = tokens[0].word
    if mode in _ARGUMENT_MODES and len(tokens) > 1:
        tokens = tokens[1:]
        if mode == "out":
            return ""
    if _starts_with_name(tokens):
        tokens = tokens[1:]
    return _type_name(tokens)


def _starts_with_name(tokens: list[Token]) -> bool:
    if len(tokens) < 2 or tokens[1].kind not in ("word", "quoted") or tokens[1].word == "array":
        return False
    return tokens[1].word not in _TWO_WORD_TYPES.get(tokens[0].word, ())


def canonical_type(name: str) -> str:
    """The spelling that C(_arguments) gives a type, from what format_type() gives."""
    return _type_name(list(split_statements(name)[0].tokens))


def _type_name(tokens: list[Token]) -> str:
    if any(token.text == "%" for token in tokens):
        raise BridgeError("%TYPE in an argument list is not supported; write the type")
    parts: list[str] = []
    depth = array = 0
    for token in tokens:
        depth += {"(": 1, "[": 1}.get(token.text, 0)
        if token.text == "[" or token.word == "array":
            array = 1
        elif not depth:
            parts.append(token.text if token.text == "." else display(_identifier((token,), 0)[0]))
        depth -= {")": 1, "]": 1}.get(token.text, 0)
    name = " ".join(parts).replace(" . ", ".")
    name = name[len("pg_catalog."):] if name.startswith("pg_catalog.") else name
    return _TYPE_ALIASES.get(name, name) + ("[]" if array else "")
