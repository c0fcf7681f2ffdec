# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What was installed, as it was right after.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import SCHEMA

BOOKKEEPING_NAME = f"{SCHEMA}.installed_object"
BOOKKEEPING = f"""
CREATE TABLE IF NOT EXISTS {BOOKKEEPING_NAME} (
  kind text NOT NULL,
  name text NOT NULL,
  definition text NOT NULL,
  fingerprint text NOT NULL,
  server_major text NOT NULL,
  version text NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (kind, name)
);
COMMENT ON TABLE {BOOKKEEPING_NAME} IS
  'What the collection llmops.user_bridge has installed, and how the catalog looked right after. Written by '
  'bridge_install only.';
CREATE OR REPLACE VIEW {SCHEMA}.installation AS
  SELECT name AS side, version, applied_at FROM {BOOKKEEPING_NAME} WHERE kind = 'bridge';
COMMENT ON VIEW {SCHEMA}.installation IS
  'Which side of the bridge this database is, and the version of the collection that installed it.';
"""


@dataclass(frozen=True)
class Record:
    """What the bookkeeping table holds about one object."""

    definition: str
    fingerprint: str
    server_major: str
    version: str


def stamp(sources: str, version: str, objects: int, missing: Iterable[str]) -> str:
    """What an installation was made from, as it is recorded: a digest of its definitions, the version, how many objects
    there are, and which of the program's tables were missing.
    """
    return " ".join([sources, version, str(objects), *sorted(missing)])


def missing_tables(cur: Any, names: Iterable[str]) -> set[str]:
    """Those of the program's tables that this version of it does not have."""
    missing = _pg.rows(
        cur,
        "SELECT t.name FROM unnest(%(tables)s::text[]) AS t(name)"
        " WHERE to_regclass('public.' || quote_ident(t.name)) IS NULL",
        {"tables": list(names)},
    )
    return {row["name"] for row in missing}


def read_records(cur: Any, live: Container[tuple[str, str]]) -> dict[tuple[str, str], Record]:
    """The records by kind and label, none before the first installation. live: what there is, by kind and label."""
    if ("table", BOOKKEEPING_NAME) not in live:
        return {}
    return {
        (row["kind"], row["name"]): Record(row["definition"], row["fingerprint"], row["server_major"], row["version"])
        for row in _pg.rows(
            cur, f"SELECT kind, name, definition, fingerprint, server_major, version FROM {BOOKKEEPING_NAME}"
        )
    }
