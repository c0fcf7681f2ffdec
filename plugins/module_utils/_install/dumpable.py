# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lets the role that owns the program's tables dump its database.

pg_dump locks and reads every table and sequence that it finds, and ends at the first that it may not read. So that role
may read them all. What it must not know is in no table.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ansible_collections.llmops.user_bridge.plugins.module_utils._install.definitions import Definition
from ansible_collections.llmops.user_bridge.plugins.module_utils._install.sql import Statement, split_statements
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import SCHEMA, Subject, quote


def dumpable(definition: Definition, program_owner: str | None) -> Definition:
    """The same, with what its owner needs to dump it."""
    if not program_owner:
        return definition
    granted = "; ".join(f"GRANT {what} TO {quote(program_owner)}" for what in _needed(definition))
    return replace(definition, statements=(*definition.statements, *split_statements(granted)))


def _needed(definition: Definition) -> Iterator[str]:
    subject = definition.subject
    if subject.kind == "schema":
        yield f"USAGE ON SCHEMA {SCHEMA}"
    if subject.kind in ("table", "sequence"):
        yield f"SELECT ON {subject.kind.upper()} {subject.identity}"
    if subject.kind == "table":
        for column in _identity_columns(definition.statements[0]):
            sequence = Subject("sequence", subject.schema, f"{subject.name}_{column}_seq")
            yield f"SELECT ON SEQUENCE {sequence.identity}"


def _identity_columns(create: Statement) -> Iterator[str]:
    """The columns of a CREATE TABLE that have a sequence, whose name PostgreSQL makes of the table's and theirs."""
    depth, column, is_first = 0, "", False
    for token in create.tokens:
        if is_first:
            column, is_first = token.text, False
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        is_first = depth == 1 and token.text in ("(", ",")
        if depth == 1 and token.word == "identity":
            yield column
