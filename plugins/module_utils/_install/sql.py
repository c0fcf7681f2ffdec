# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Splits SQL text into statements.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError

# A word may contain "$", as in PostgreSQL's scanner: foo$bar$ opens no dollar quote.
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


@dataclass(frozen=True)
class Token:
    """A piece of SQL as PostgreSQL reads it."""

    kind: str
    text: str

    @property
    def word(self) -> str:
        """The lower-cased keyword, or nothing where it is not one."""
        return self.text.lower() if self.kind == "word" else ""


@dataclass(frozen=True)
class Statement:
    """One statement without its semicolon, and the line that it begins on."""

    text: str
    line: int
    tokens: tuple[Token, ...]


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
