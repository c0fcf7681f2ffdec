# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/operations.md quotes messages that there are, and has every reason that bridge_info can give."""

from __future__ import annotations

import ast
import re

import pytest

from kit import causes
from kit.common import REPO

TEXT = causes.PAGE.read_text(encoding="utf-8")
HEALTH = REPO / "plugins" / "module_utils" / "_info" / "health.py"
# What can be quoted: modules, roles and SQL, with texts that go on in the next line put together.
SOURCES = [
    *(REPO / "plugins").rglob("*.py"),
    *(REPO / "roles").glob("*/tasks/*.yml"),
    *(REPO / "roles" / "triggers" / "templates").rglob("*.j2"),
]


def seen(section: str) -> list[str]:
    """The messages of a section's table: what stands between backticks in its first column."""
    (found,) = re.findall(rf"(?ms)^## {section}$(.*?)(?=^## |\Z)", TEXT)
    rows = re.findall(r"(?m)^\| (`.+?`) \|", found)
    return [message for row in rows for message in re.findall(r"`([^`]+)`", row)]


def joined(text: str) -> str:
    """Without what separates the parts of a text in Python, SQL and YAML, and with one blank between words."""
    return " ".join(re.sub(r"[\"']\s*\n\s*f?[\"']", "", text).split())


CODE = "\n".join(joined(path.read_text(encoding="utf-8")) for path in SOURCES)
MESSAGES = [*seen("The report says"), *seen("A run stops before it changes anything")]


def parts(message: str) -> list[str]:
    return [part.strip(" ();:,") for part in message.split("…") if part.strip(" ();:,")]


@pytest.mark.parametrize("message", MESSAGES)
def test_every_message_is_one_of_ours(message: str) -> None:
    for part in parts(message):
        # The remedy that many end with is a constant, and the schema's name another.
        assert part.replace("user_bridge.apply", "{SCHEMA}.apply") in CODE or part in CODE, part


def reasons() -> list[str]:
    """Every text that health() appends, with nothing for the values in it."""
    found = []
    for node in ast.walk(ast.parse(HEALTH.read_text(encoding="utf-8"))):
        is_append = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "append"
        for value in ast.walk(node) if is_append else ():
            if isinstance(value, ast.JoinedStr) or (isinstance(value, ast.Constant) and isinstance(value.value, str)):
                pieces = value.values if isinstance(value, ast.JoinedStr) else [value]
                found.append("".join(str(each.value) for each in pieces if isinstance(each, ast.Constant)))
                break
    return found


def test_every_reason_is_on_the_page() -> None:
    known = [parts(message.replace("user_bridge.apply", ".apply")) for message in seen("The report says")]
    texts = [text for text in reasons() if len(text) > 12]
    assert len(texts) > 15
    for text in texts:
        assert any(message and all(part in text for part in message) for message in known), text
