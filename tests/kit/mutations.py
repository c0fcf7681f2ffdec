# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small changes to SQL templates and Python code, of the kind that a slip of the hand makes."""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    """The text between two positions of a file replaced by another."""

    operator: str
    start: int
    end: int
    new: str

    def apply(self, text: str) -> str:
        return text[: self.start] + self.new + text[self.end :]

    def line(self, text: str) -> int:
        return text.count("\n", 0, self.start) + 1


# SQL: only function bodies, and never inside a string, a comment or a template's own expression.


@dataclass(frozen=True)
class Token:
    """A word of SQL. `depth` counts the brackets and CASEs around it."""

    kind: str
    text: str
    start: int
    end: int
    depth: int = 0

    @property
    def word(self) -> str:
        return self.text.upper() if self.kind == "word" else self.text


_TOKEN = re.compile(
    r"""
    (?P<template>\{\{.*?\}\}|\{%.*?%\}|\{\#.*?\#\})
  | (?P<comment>--[^\n]*|/\*.*?\*/)
  | (?P<string>'(?:[^']|'')*')
  | (?P<name>"(?:[^"]|"")*")
  | (?P<body>\$\w*\$)
  | (?P<parameter>\$\d+)
  | (?P<number>\b\d+(?:\.\d+)?\b)
  | (?P<word>[^\W\d]\w*)
  | (?P<operator>::|:=|\.\.|[-+*/<>=~!@\#%^&|`?]+)
  | (?P<mark>[()\[\],;.:])
""",
    re.VERBOSE | re.DOTALL,
)
# Where a condition or a list ends that began at the same depth.
_ENDS = frozenset(
    [
        "AND",
        "OR",
        "THEN",
        "WHEN",
        "ELSE",
        "LOOP",
        "WHERE",
        "GROUP",
        "ORDER",
        "HAVING",
        "LIMIT",
        "OFFSET",
        "FOR",
        "UNION",
        "EXCEPT",
        "INTERSECT",
        "RETURNING",
        "LEFT",
        "RIGHT",
        "FULL",
        "INNER",
        "CROSS",
        "JOIN",
        "ON",
        "USING",
        "INTO",
        "FROM",
        ",",
        ";",
    ]
)
_CLAUSES = frozenset(
    [
        "SELECT",
        "FROM",
        "WHERE",
        "SET",
        "VALUES",
        "ON",
        "HAVING",
        "RETURNING",
        "IF",
        "ELSIF",
        "WHEN",
        "THEN",
        "RETURN",
        "PERFORM",
        "BY",
        ";",
    ]
)
_BEFORE_STATEMENT = frozenset([";", "BEGIN", "THEN", "ELSE", "LOOP"])
_COMPARISONS = {"=": "<>", "<>": "=", "<": "<=", "<=": "<", ">": ">=", ">=": ">"}


def tokens(text: str) -> list[Token]:
    """The words of all function bodies of a template."""
    found: list[Token] = []
    open_brackets: list[str] = []
    inside = False
    matches = list(_TOKEN.finditer(text))
    for number, match in enumerate(matches):
        kind = str(match.lastgroup)
        if kind == "body":
            inside, open_brackets = not inside, []
        if not inside or kind in ("body", "comment", "template"):
            continue
        word = match[0].upper()
        after = matches[number + 1][0].upper() if number + 1 < len(matches) else ""
        closes_case = word == "END" and open_brackets[-1:] == ["CASE"] and after not in ("IF", "LOOP")
        if kind == "mark" and word in (")", "]") and open_brackets or kind == "word" and closes_case:
            open_brackets.pop()
        found.append(Token(kind, match[0], match.start(), match.end(), len(open_brackets)))
        follows_end = bool(found[:-1]) and found[-2].word == "END"
        if kind == "mark" and word in ("(", "[") or kind == "word" and word == "CASE" and not follows_end:
            open_brackets.append(word)
    return found


def sql_mutations(text: str) -> list[Mutation]:
    """Everything that may be changed in one template."""
    words = tokens(text)
    found = [
        mutation
        for generator in (_conditions, _conjuncts, _words, _operators, _statements, _constants, _orders, _calls)
        for mutation in generator(text, words)
    ]
    return sorted(set(found), key=lambda each: (each.start, each.end, each.new))


def _end(words: list[Token], first: int, ends: frozenset[str] = _ENDS) -> int:
    """The position of the word at which what begins with `first` has ended."""
    depth = words[first].depth
    for number in range(first, len(words)):
        if words[number].depth < depth or (words[number].depth == depth and words[number].word in ends):
            return number
    return len(words)


def _replaced(operator: str, words: list[Token], first: int, last: int, new: str) -> Mutation:
    """The words from `first` up to and with `last` replaced."""
    return Mutation(operator, words[first].start, words[last].end, new)


def _conditions(text: str, words: list[Token]) -> Iterator[Mutation]:
    """IF a AND b THEN: IF NOT (a AND b) THEN; the same for WHEN and WHILE."""
    ends = frozenset(("THEN", "LOOP"))
    for number, word in enumerate(words):
        starts = word.word in ("IF", "ELSIF", "WHILE") and word.kind == "word" and words[number - 1].word != "END"
        # In CASE x WHEN y, y is no condition.
        starts = starts or word.word == "WHEN" and words[number - 1].word in ("CASE", "EXIT")
        if not starts or number + 1 == len(words):
            continue
        last = _end(words, number + 1, ends | {";"}) - 1
        condition = text[words[number + 1].start : words[last].end]
        yield _replaced("negate a condition", words, number + 1, last, f"NOT ({condition})")


def _conjuncts(text: str, words: list[Token]) -> Iterator[Mutation]:
    """WHERE a AND b: WHERE a; WHERE b."""
    for number, word in enumerate(words[:-1]):
        if word.word == "AND" and not _is_range(words, number):
            last = _end(words, number + 1) - 1
            yield _replaced("drop a conjunct", words, number, last, "")
        elif word.word in ("WHERE", "ON", "HAVING"):
            last = _end(words, number + 1)
            if last < len(words) and words[last].word == "AND" and not _is_range(words, last):
                yield _replaced("drop a conjunct", words, number + 1, last, "")


def _is_range(words: list[Token], number: int) -> bool:
    """Whether an AND belongs to BETWEEN."""
    for before in reversed(words[:number]):
        if before.depth < words[number].depth:
            return False
        if before.depth == words[number].depth and before.word in _ENDS | {"BETWEEN"}:
            return before.word == "BETWEEN"
    return False


def _words(text: str, words: list[Token]) -> Iterator[Mutation]:
    swapped = {"TRUE": "false", "FALSE": "true", "AND": "OR", "OR": "AND", "DESC": "ASC"}
    for number, word in enumerate(words):
        before, after = words[number - 1].word, words[number + 1].word if number + 1 < len(words) else ""
        if word.word in swapped and not (word.word == "AND" and _is_range(words, number)):
            yield _replaced(f"{word.word} to {swapped[word.word].upper()}", words, number, number, swapped[word.word])
        elif word.word == "NOT" and after != "NULL" and before not in ("IF", "IS"):
            yield _replaced("drop NOT", words, number, number, "")
        elif word.word == "IS" and after == "NOT":
            yield _replaced("drop NOT", words, number, number + 1, "IS")
        elif word.word == "IS":
            yield _replaced("IS to IS NOT", words, number, number, "IS NOT")
        elif word.word == "EXISTS" and before not in ("NOT", "IF"):
            yield _replaced("EXISTS to NOT EXISTS", words, number, number, "NOT EXISTS")
        elif word.word == "DISTINCT" and before == "SELECT" and after != "ON":
            yield _replaced("drop DISTINCT", words, number, number, "")
        elif word.word == "FIRST" and before == "NULLS":
            yield _replaced("NULLS FIRST to LAST", words, number, number, "LAST")


def _operators(text: str, words: list[Token]) -> Iterator[Mutation]:
    for number, word in enumerate(words):
        if word.kind != "operator" or word.text not in _COMPARISONS:
            continue
        # An assignment in UPDATE ... SET is no comparison.
        clause = next(
            (each.word for each in reversed(words[:number]) if each.depth <= word.depth and each.word in _CLAUSES), ""
        )
        if clause != "SET":
            new = _COMPARISONS[word.text]
            yield _replaced(f"{word.text} to {new}", words, number, number, new)


def _statements(text: str, words: list[Token]) -> Iterator[Mutation]:
    for number, word in enumerate(words):
        before = words[number - 1].word if number else ""
        starts = word.word in ("PERFORM", "INSERT", "UPDATE", "DELETE", "EXECUTE") and before in _BEFORE_STATEMENT
        if not starts:
            continue
        last = _end(words, number, frozenset(";"))
        if last < len(words):
            yield _replaced("drop a statement", words, number, last, "NULL;")


def _constants(text: str, words: list[Token]) -> Iterator[Mutation]:
    for number, word in enumerate(words):
        if word.kind == "number" and "." not in word.text and words[number - 1].word != "DECIMAL":
            yield _replaced("change a number", words, number, number, str(int(word.text) + 1))
        elif (
            word.kind == "string"
            and len(word.text) > 2
            and words[number - 1].word not in ("MESSAGE", "RAISE", "FORMAT")
        ):
            yield _replaced("change a text", words, number, number, word.text[:-1] + " mutant'")


def _orders(text: str, words: list[Token]) -> Iterator[Mutation]:
    for number, word in enumerate(words[:-2]):
        if word.word == "ORDER" and words[number + 1].word == "BY":
            last = _end(words, number + 2, (_ENDS - {",", "ORDER"})) - 1
            yield _replaced("drop ORDER BY", words, number, last, "")
        elif word.word in ("LIMIT",) and words[number + 1].kind in ("number", "word"):
            last = _end(words, number + 1) - 1
            yield _replaced("drop LIMIT", words, number, last, "")


def _calls(text: str, words: list[Token]) -> Iterator[Mutation]:
    """coalesce(a, b), nullif(a, b), greatest(a, b) and least(a, b): a; b."""
    for number, word in enumerate(words[:-2]):
        if word.word not in ("COALESCE", "NULLIF", "GREATEST", "LEAST") or words[number + 1].text != "(":
            continue
        comma = _end(words, number + 2, frozenset(","))
        closing = next((n for n in range(number + 2, len(words)) if words[n].depth == words[number + 1].depth), None)
        if closing is None or words[comma].text != ",":
            continue
        first = text[words[number + 2].start : words[comma - 1].end]
        second = text[words[comma + 1].start : words[closing - 1].end]
        yield _replaced(f"{word.text} to its first argument", words, number, closing, f"({first})")
        if word.word != "NULLIF" and not any(
            each.text == "," and each.depth == words[comma].depth for each in words[comma + 1 : closing]
        ):
            yield _replaced(f"{word.text} to its second argument", words, number, closing, f"({second})")


# Python: by the syntax tree, so that every mutant can be parsed.

_OPPOSITE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}


def python_mutations(source: str) -> list[Mutation]:
    """Everything that may be changed in one file."""
    tree = ast.parse(source)
    offsets = _line_offsets(source)
    found = [
        _spliced(operator, source, offsets, node, new) for node in _nodes(tree) for operator, new in _variants(node)
    ]
    return sorted(found, key=lambda each: (each.start, each.end, each.new))


def _nodes(tree: ast.AST) -> Iterator[ast.expr | ast.stmt]:
    """All but what is inside an f-string, where Python 3.11 gives wrong positions."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.JoinedStr):
            continue
        if isinstance(child, (ast.expr, ast.stmt)):
            yield child
        yield from _nodes(child)


def _variants(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    match node:
        case ast.Compare(ops=operators):
            for number, operator in enumerate(operators):
                new = copy.deepcopy(node)
                new.ops[number] = _OPPOSITE[type(operator)]()
                yield f"{type(operator).__name__} to {type(new.ops[number]).__name__}", new
        case ast.BoolOp(op=operator, values=values):
            other = ast.Or() if isinstance(operator, ast.And) else ast.And()
            yield f"{type(operator).__name__} to {type(other).__name__}", ast.BoolOp(other, values)
            for number in range(len(values)):
                left = values[:number] + values[number + 1 :]
                yield "drop an operand", left[0] if len(left) == 1 else ast.BoolOp(operator, left)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield "drop not", operand
        case ast.IfExp(test=test, body=body, orelse=orelse):
            yield "swap the branches", ast.IfExp(test, orelse, body)
        case ast.If(test=test) if not isinstance(test, (ast.Compare, ast.BoolOp, ast.UnaryOp)):
            # Compared and combined conditions have mutants of their own.
            yield "negate a condition", ast.UnaryOp(ast.Not(), test)
        case ast.Constant(value=bool(value)):
            yield f"{value} to {not value}", ast.Constant(not value)
        case ast.Constant(value=int(value)):
            yield "change a number", ast.Constant(value + 1)
        case ast.Return(value=value) if value is not None and not _is_none(value):
            yield "return None", ast.Return(ast.Constant(None))
        case ast.Expr(value=ast.Call()):
            yield "drop a call", ast.Pass()
        case ast.Raise():
            yield "drop a raise", ast.Pass()


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _line_offsets(source: str) -> list[int]:
    offsets = [0]
    for line in source.splitlines(keepends=True):
        offsets.append(offsets[-1] + len(line))
    return offsets


def _spliced(operator: str, source: str, offsets: list[int], node: ast.expr | ast.stmt, new: ast.AST) -> Mutation:
    place = node.test if isinstance(node, ast.If) else node
    lines = source.splitlines(keepends=True)

    def position(line: int, column: int) -> int:
        # Columns count bytes.
        return offsets[line - 1] + len(lines[line - 1].encode()[:column].decode())

    assert place.end_lineno is not None and place.end_col_offset is not None
    text = ast.unparse(ast.fix_missing_locations(new))
    return Mutation(
        operator,
        position(place.lineno, place.col_offset),
        position(place.end_lineno, place.end_col_offset),
        f"({text})" if isinstance(new, ast.expr) and not isinstance(new, ast.Constant) else text,
    )
