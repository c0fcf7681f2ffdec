# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The bridge's schema, and names as SQL wants them.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

SCHEMA = "user_bridge"
ROUTINES = ("function", "procedure")

PROGRAMS = {"litellm": "LiteLLM", "openwebui": "Open WebUI"}
# Who owns the functions that touch the program's tables, by side.
PROGRAM_ROLES = {"litellm": "user_bridge_reader", "openwebui": "user_bridge_writer"}
# The role variables that may call them otherwise.
PROGRAM_ROLE_VARIABLES = {"litellm": "bridge_reader_role", "openwebui": "bridge_writer_role"}

_BARE_IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]*\Z")


@dataclass(frozen=True)
class Roles:
    """The owner role has a side's data, the program role its functions that touch the program's tables."""

    owner: str
    program: str


@dataclass(frozen=True)
class Subject:
    """The object that a CREATE statement opens. For a trigger, schema and table are those of its table."""

    kind: str
    schema: str
    name: str
    # Of a function or procedure: the argument types, spelled and separated as oidvectortypes() does it.
    arguments: str = ""
    table: str = ""

    @property
    def label(self) -> str:
        """The readable name, equal for a declared object and the same object found in the catalog."""
        if self.kind == "trigger":
            return f"{display(self.name)} on {display(self.schema)}.{display(self.table)}"
        if self.kind == "schema":
            return display(self.name)
        name = f"{display(self.schema)}.{display(self.name)}"
        return f"{name}({self.arguments})" if self.kind in ROUTINES else name

    @property
    def identity(self) -> str:
        """The name as SQL wants it after DROP or ALTER and the kind."""
        if self.kind == "trigger":
            return f"{quote(self.name)} ON {quote(self.schema)}.{quote(self.table)}"
        if self.kind == "schema":
            return quote(self.name)
        name = f"{quote(self.schema)}.{quote(self.name)}"
        return f"{name}({self.arguments})" if self.kind in ROUTINES else name


def quote(name: str) -> str:
    """An identifier as SQL always takes it."""
    return '"' + name.replace('"', '""') + '"'


def display(name: str) -> str:
    """An identifier as PostgreSQL shows it, quoted only where it must be."""
    return name if _BARE_IDENTIFIER.match(name) else quote(name)


def literal(text: str) -> str:
    """A string literal, for the places where PostgreSQL takes no parameter."""
    escaped = text.replace("'", "''")
    doubled = escaped.replace("\\", "\\\\")
    return f"'{escaped}'" if doubled == escaped else f" E'{doubled}'"
