# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables of causes and remedies in docs/operations.md, from the table that modules and roles use."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable
from types import ModuleType
from typing import Any

from kit.common import REPO

PAGE = REPO / "docs" / "operations.md"
_SOURCE = REPO / "plugins" / "module_utils" / "_remedies.py"
_LOGIN = {
    **{name: f"`bridge_login_{name}`" for name in ("user", "password", "host", "port", "ssl_mode", "ca_cert")},
    "db": "`bridge_litellm_db` or `bridge_openwebui_db`",
    "program": "the program",
}
_TARGET = {"user": "the sync user", "database": "Open WebUI's database"}


def remedies() -> ModuleType:
    """The module, which imports nothing of Ansible's."""
    spec = importlib.util.spec_from_file_location("remedies", _SOURCE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def page() -> str:
    """docs/operations.md as it should be."""
    found = remedies()
    deliveries = dict.fromkeys((*found._DELIVERY, found.OTHER, *found._CONNECTION))
    logins = (*found._CONNECTION, found._UNREACHABLE)
    tables = {
        "causes": _table("the delivery", [(each, each.target.format(**_TARGET)) for each in deliveries]),
        "logins": _table("the login", [(each, each.login.format(**_LOGIN)) for each in logins]),
    }
    text = PAGE.read_text(encoding="utf-8")
    for name, table in tables.items():
        region = re.compile(rf"(?<=<!-- BEGIN {name} -->\n).*(?=<!-- END {name} -->)", re.DOTALL)
        text = region.sub(lambda _, table=table: table, text)  # type: ignore[misc]
    return text


def _table(what: str, rows: Iterable[tuple[Any, str]]) -> str:
    lines = [f"| cause | by what {what} is refused | do |", "|---|---|---|"]
    lines += [f"| {each.name} | {_signs(each)} | {remedy} |" for each, remedy in rows if remedy]
    return "\n".join(lines) + "\n"


def _signs(remedy: Any) -> str:
    words = [f'"{word.strip()}"' for word in remedy.words]
    return ", ".join([*words, *(f"`{code}`" for code in remedy.sqlstates)]) or "anything else"
