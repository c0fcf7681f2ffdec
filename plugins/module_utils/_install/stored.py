# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes down what was installed, and the settings.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._catalog.live import Live
from ansible_collections.llmops.user_bridge.plugins.module_utils._catalog.records import (
    BOOKKEEPING_NAME,
    missing_tables,
    stamp,
)
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._install.plan import Change, Wanted
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import quote
from ansible_collections.llmops.user_bridge.plugins.module_utils._settings.stored import SETTINGS_NAME


def write_settings(cur: Any, settings: dict[str, tuple[Any, Any]], owner: str) -> None:
    """Store the new values; a row with the defaults is there before anything reads it."""
    _pg.set_role(cur, owner)
    try:
        if not _pg.value(cur, f"SELECT true FROM {SETTINGS_NAME}"):
            cur.execute(f"INSERT INTO {SETTINGS_NAME} DEFAULT VALUES")
        if settings:
            columns = ", ".join(quote(name) for name in settings)
            cur.execute(
                f"UPDATE {SETTINGS_NAME} SET ({columns}) = (SELECT {columns}"
                f" FROM jsonb_populate_record(NULL::{SETTINGS_NAME}, %(values)s::jsonb))",
                {"values": json.dumps({name: after for name, (_before, after) in settings.items()})},
            )
    except _pg.PgError as error:
        raise BridgeError(f"the settings could not be stored: {_pg.describe(error)}; nothing was changed") from None


def write_records(
    cur: Any, changes: list[Change], after: dict[tuple[str, str], Live], wanted: Wanted, server_major: str
) -> None:
    """Record what was changed, as the catalog shows it now."""
    _pg.set_role(cur, wanted.owner)
    kept, gone = [], []
    for change in changes:
        if change.action == "dropped":
            gone.append({"kind": change.kind, "name": change.name})
        elif change.kind != "schema" or (change.definition and change.definition.statements):
            kept.append(
                {
                    "kind": change.kind,
                    "name": change.name,
                    "definition": change.definition.text if change.definition else "",
                    "fingerprint": after[change.kind, change.name].fingerprint if change.definition else "",
                    "server_major": server_major,
                    "version": wanted.version,
                }
            )
    cur.execute(
        f"DELETE FROM {BOOKKEEPING_NAME} AS o USING jsonb_to_recordset(%(gone)s::jsonb) AS g(kind text, name text)"
        " WHERE (o.kind, o.name) = (g.kind, g.name)",
        {"gone": json.dumps(gone)},
    )
    cur.execute(
        f"INSERT INTO {BOOKKEEPING_NAME} AS o (kind, name, definition, fingerprint, server_major, version)"
        " SELECT kind, name, definition, fingerprint, server_major, version FROM jsonb_to_recordset(%(kept)s::jsonb)"
        " AS k(kind text, name text, definition text, fingerprint text, server_major text, version text)"
        " ON CONFLICT (kind, name) DO UPDATE SET (definition, fingerprint, server_major, version, applied_at)"
        " = (excluded.definition, excluded.fingerprint, excluded.server_major, excluded.version, now())",
        {"kept": json.dumps(kept)},
    )


def write_stamp(cur: Any, wanted: Wanted) -> None:
    """Record what all of it was made from, after write_records()."""
    objects = _pg.value(cur, f"SELECT count(*) FROM {BOOKKEEPING_NAME} WHERE kind <> 'bridge'")
    missing = missing_tables(cur, wanted.optional_tables)
    made_from = stamp(wanted.sources, wanted.version, objects, missing) if wanted.sources else ""
    cur.execute(
        f"UPDATE {BOOKKEEPING_NAME} SET fingerprint = %(stamp)s WHERE kind = 'bridge' AND name = %(side)s",
        {"stamp": made_from, "side": wanted.side},
    )
