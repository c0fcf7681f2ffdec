# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The roles' variables, and the tables of them in roles/*/README.md, from argument specs and defaults."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

ROLES = Path(__file__).resolve().parents[2] / "roles"
_TABLE = re.compile(r"(?<=<!-- BEGIN variables -->\n).*(?=<!-- END variables -->)", re.DOTALL)
_BY_REFERENCE = re.compile(r"\{\{ (bridge_\w+)(?: \| default\(''\))?(?: \| string)? \}\}")
_MARKUP = re.compile(r"[CVOMP]\(([^)#]+)(?:#\w+)?\)")


def load(role: str, part: str) -> dict[str, Any]:
    data = yaml.safe_load((ROLES / role / part / "main.yml").read_text(encoding="utf-8"))
    return dict(data or {})


def options(role: str, entry_point: str = "main") -> dict[str, Any]:
    path = ROLES / role / "meta" / "argument_specs.yml"
    specs = yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"]
    return dict(specs[entry_point].get("options", {}))


def reference(default: Any) -> str | None:
    """The bridge_* variable that a default is taken from; None for a default of its own."""
    match = _BY_REFERENCE.fullmatch(default) if isinstance(default, str) else None
    return match[1] if match else None


def table(role: str) -> str:
    """One line for each option, in the order of the spec."""
    defaults = load(role, "defaults")
    lines = ["| variable | type | default | |", "|---|---|---|---|"]
    for name, option in options(role).items():
        shown = _shown(defaults[name]) if name in defaults else "–"
        text = _MARKUP.sub(r"`\1`", " ".join(option["description"].split()))
        choices = ", ".join(f"`{choice}`" for choice in option.get("choices", []))
        lines.append(f"| `{name}` | {option['type']} | {shown} | {text}{f' One of {choices}.' if choices else ''} |")
    return "\n".join(lines) + "\n"


def readme(role: str) -> str:
    """The README as it should be."""
    text = (ROLES / role / "README.md").read_text(encoding="utf-8")
    return _TABLE.sub(lambda _: table(role), text)


def _shown(default: Any) -> str:
    text = default if isinstance(default, str) else json.dumps(default)
    return f"`{reference(default) or text}`" if text else "empty"
