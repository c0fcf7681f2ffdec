# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The messages that docs/operations.md quotes, for the tests that produce them.

`said` is how a test says which symptom it produces: a unit test wants one for each row of the page.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

from kit.causes import PAGE
from kit.common import REPO

REPORT, STOP = "The report says", "A run stops before it changes anything"
DELIVERY, LOGIN = "A delivery fails", "A run cannot log in"


@cache
def quoted(section: str) -> tuple[str, ...]:
    """What stands between backticks in the first column of a section's table; an ellipsis is any text."""
    rows = re.findall(r"(?m)^\| (`.+?`) \|", _section(section))
    return tuple(message for row in rows for message in re.findall(r"`([^`]+)`", row))


class Row(NamedTuple):
    """One of a table of causes: by what words or SQLSTATEs something is refused, and what to do."""

    cause: str
    signs: tuple[str, ...]
    remedy: str


@cache
def causes(section: str) -> tuple[Row, ...]:
    """The rows of a section's table of causes."""
    cells = re.findall(r"(?m)^\| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", _section(section))
    found = [Row(name, tuple(re.findall(r"[\"`]([^\"`]+)[\"`]", signs)) or (signs,), do) for name, signs, do in cells]
    return tuple(row for row in found if row.cause != "cause")


def row_of(sign: str, section: str) -> Row:
    """The first that names this sign."""
    return next(row for row in causes(section) if sign in row.signs)


def said(symptom: str, lines: str | Iterable[str]) -> bool:
    """Whether one of these lines is this symptom, as it stands on the page."""
    if not any(symptom in quoted(section) for section in (REPORT, STOP)):
        raise AssertionError(f"docs/operations.md does not quote: {symptom}")
    wanted = re.compile(".+?".join(re.escape(part) for part in symptom.split("…")), re.DOTALL)
    return any(wanted.search(line) for line in ([lines] if isinstance(lines, str) else lines))


def produced() -> set[str]:
    """Symptoms that an integration test asserts."""
    found = set()
    for path in (REPO / "tests" / "integration").glob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for called in ast.walk(node) if isinstance(node, ast.Assert) else ():
                if isinstance(called, ast.Call) and ast.unparse(called.func) == "said":
                    found.add(ast.literal_eval(called.args[0]))
    return found


def _section(title: str) -> str:
    (found,) = re.findall(rf"(?ms)^## {title}$(.*?)(?=^## |\Z)", PAGE.read_text(encoding="utf-8"))
    return str(found)
