# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The foreign server and the user mapping as they are.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg

SERVER = "user_bridge_target"


@dataclass(frozen=True)
class State:
    """What there is. Of the password only its digest is known here."""

    database: str
    extension_schema: str | None
    owner_exists: bool
    server_owner: str | None
    server_wrapper: str | None
    server_options: dict[str, str]
    mapped_roles: tuple[str, ...]
    mapping_options: dict[str, str] | None
    password_digest: str


def read_state(cur: Any, owner: str) -> State:
    """Read as the current role, which sees only the options that it may."""
    (row,) = _pg.rows(
        cur,
        "SELECT current_database()::text AS database,"
        " (SELECT n.nspname::text FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace"
        "   WHERE e.extname = 'dblink') AS extension_schema,"
        " EXISTS (SELECT FROM pg_roles WHERE rolname = %(owner)s) AS owner_exists",
        {"owner": owner},
    )
    servers = _pg.rows(
        cur,
        "SELECT pg_get_userbyid(s.srvowner)::text AS owner, w.fdwname::text AS wrapper"
        " FROM pg_foreign_server AS s JOIN pg_foreign_data_wrapper AS w ON w.oid = s.srvfdw"
        f" WHERE s.srvname = '{SERVER}'",
    )
    options = _pg.rows(
        cur,
        "SELECT o.option_name AS name, o.option_value AS value FROM pg_foreign_server AS s,"
        f" pg_options_to_table(s.srvoptions) AS o WHERE s.srvname = '{SERVER}'",
    )
    mappings = _pg.rows(cur, f"SELECT usename::text AS role FROM pg_user_mappings WHERE srvname = '{SERVER}'")
    secrets = _pg.rows(
        cur,
        "SELECT o.option_name AS name, CASE o.option_name WHEN 'password'"
        " THEN encode(sha256(convert_to(o.option_value, 'UTF8')), 'hex') ELSE o.option_value END AS value"
        f" FROM pg_user_mappings AS m, pg_options_to_table(m.umoptions) AS o WHERE m.srvname = '{SERVER}'"
        " AND m.usename = %(owner)s",
        {"owner": owner},
    )
    known = {item["name"]: item["value"] for item in secrets}
    digest = known.pop("password", "")
    roles = tuple(item["role"] for item in mappings)
    return State(
        database=row["database"],
        extension_schema=row["extension_schema"],
        owner_exists=row["owner_exists"],
        server_owner=servers[0]["owner"] if servers else None,
        server_wrapper=servers[0]["wrapper"] if servers else None,
        server_options={item["name"]: item["value"] for item in options},
        mapped_roles=roles,
        mapping_options=known if owner in roles else None,
        password_digest=digest,
    )
