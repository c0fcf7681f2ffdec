# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Executes what the preflight has planned, such as grants, over the connection that a module has open anyway.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError

SPEC = {"type": "list", "elements": "str", "default": []}


def execute(connection: Any, statements: list[str]) -> None:
    """All of them in one transaction, or none."""
    if not statements:
        return
    cur = _pg.cursor(connection)
    with _pg.transaction(cur, read_only=False):
        for statement in statements:
            try:
                cur.execute(statement)
            except _pg.PgError as error:
                raise BridgeError(f"statements: {statement}: {_pg.describe(error)}; none was executed") from None
