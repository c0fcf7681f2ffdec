# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which installation LiteLLM's database is, and which one Open WebUI's database belongs to, as far as both say so.

The key itself is never read here, only its digest.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import SCHEMA

IDENTITY = f"{SCHEMA}.identity"
OWNED_BY = f"{SCHEMA}.owned_by"
# The keys are apart from the tables, which the programs' roles read when they dump their databases.
IDENTITY_KEY = f"{SCHEMA}.identity_key"
OWNER_KEY = f"{SCHEMA}.owner_key"
COLUMNS = "id, system_identifier, database_oid"

_PLACE = """
SELECT c.system_identifier::text AS system, d.oid::bigint AS database
  FROM pg_control_system() AS c, pg_database AS d WHERE d.datname = current_database()"""


@dataclass(frozen=True)
class Place:
    """A server by its system identifier, and a database by its oid: both outlive a rename and a failover."""

    system: str
    database: int


@dataclass(frozen=True)
class Identity:
    """A row of identity or owned_by. The digest tells whether two keys are the same."""

    id: str
    place: Place
    key_digest: str


@dataclass(frozen=True)
class Source:
    """LiteLLM's side: databases are those of its server, by oid."""

    name: str
    place: Place
    installed: bool
    identity: Identity | None
    databases: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Target:
    """Open WebUI's side."""

    name: str
    installed: bool
    owner: Identity | None


def read_source(cur: Any, owner: str) -> Source:
    """LiteLLM's side, inside a transaction of C(_pg.transaction)."""
    (place,) = _pg.rows(cur, _PLACE)
    names = _pg.rows(cur, "SELECT oid::bigint AS oid, datname::text AS name FROM pg_database")
    databases = {row["oid"]: row["name"] for row in names}
    installed = _exists(cur, {IDENTITY: "r", IDENTITY_KEY: "m"}, owner)
    identity = _identity(cur, IDENTITY, IDENTITY_KEY, owner) if installed else None
    return Source(databases[place["database"]], Place(**place), installed, identity, databases)


def read_target(cur: Any, owner: str) -> Target:
    """Open WebUI's side, inside a transaction of C(_pg.transaction)."""
    installed = _exists(cur, {OWNED_BY: "r", OWNER_KEY: "m"}, owner)
    name = str(_pg.value(cur, "SELECT current_database()::text"))
    return Target(name, installed, _identity(cur, OWNED_BY, OWNER_KEY, owner) if installed else None)


def _exists(cur: Any, kinds: dict[str, str], owner: str) -> bool:
    """Whether these relations and the schema are the owner role's: reading anybody else's could run code of theirs."""
    return bool(
        _pg.value(
            cur,
            "SELECT count(*) = cardinality(%(names)s::text[])"
            "  FROM unnest(%(names)s::text[], %(kinds)s::text[]) AS k(name, kind)"
            '  JOIN pg_class AS c ON c.oid = to_regclass(k.name) AND c.relkind = k.kind::"char"'
            "  JOIN pg_namespace AS n ON n.oid = c.relnamespace"
            "  JOIN pg_roles AS r ON r.oid = c.relowner AND r.oid = n.nspowner AND r.rolname = %(owner)s",
            {"names": list(kinds), "kinds": list(kinds.values()), "owner": owner},
        )
    )


def _identity(cur: Any, table: str, key: str, owner: str) -> Identity | None:
    _pg.set_role(cur, owner)
    found = _pg.rows(
        cur,
        f"SELECT id::text AS id, system_identifier::text AS system, database_oid::bigint AS database FROM {table}",
    )
    # A restore without data leaves the view unpopulated, which to read is an error.
    populated = _pg.value(cur, "SELECT relispopulated FROM pg_class WHERE oid = to_regclass(%(key)s)", {"key": key})
    digest = _pg.value(cur, f"SELECT encode(sha256(key), 'hex') FROM {key}") if populated else None
    _pg.set_role(cur, None)
    return next((Identity(row["id"], Place(row["system"], row["database"]), digest or "") for row in found), None)
