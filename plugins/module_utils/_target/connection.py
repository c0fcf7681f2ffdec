# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The connection from LiteLLM's server to Open WebUI's database, and why it fails.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import SCHEMA, literal, quote
from ansible_collections.llmops.user_bridge.plugins.module_utils._target.state import SERVER

_CONNECTION = "user_bridge_verify"
_PASSWORD_REQUIRED = "2F003"

# The cause as PostgreSQL or libpq words it, and what to look at. The first match wins.
_REMEDIES = (
    (
        "password authentication failed",
        "the password of {user} in Open WebUI's server is not the one in the user mapping: "
        "set bridge_sync_password and run the role llmops.user_bridge.sync_user",
    ),
    (
        "no pg_hba.conf entry",
        "allow {user} to log in to {database} with scram-sha-256 from LiteLLM's server in pg_hba.conf of Open WebUI's",
    ),
    ("permission denied for database", "GRANT CONNECT ON DATABASE {database} TO {user}"),
    ("not permitted to log in", "check bridge_sync_user; it must have LOGIN"),
    ("SSL", "check bridge_target_sslmode and bridge_target_sslrootcert (a file on LiteLLM's server)"),
    ("certificate", "check bridge_target_sslmode and bridge_target_sslrootcert (a file on LiteLLM's server)"),
    ("too many", "raise max_connections of Open WebUI's server or free connections"),
    ("database", "check bridge_openwebui_db"),
    ("role", "check bridge_sync_user"),
    ("", "check bridge_target_host and bridge_target_port: LiteLLM's server itself must reach Open WebUI's there"),
)


def ask_target(cur: Any, extension_schema: str) -> dict[str, Any]:
    """Connect through the foreign server as the current role; returns user, database, server_version and apply."""
    dblink = f"{quote(extension_schema)}.dblink"
    question = (
        "SELECT current_user::text, current_database()::text, current_setting('server_version'), EXISTS ("
        "SELECT FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace"
        f" WHERE n.nspname = '{SCHEMA}' AND p.proname = 'apply' AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')"
        " AND pg_catalog.has_function_privilege(p.oid, 'EXECUTE'))"
    )
    cur.execute(f"SELECT {dblink}_connect('{_CONNECTION}', '{SERVER}')")
    (row,) = _pg.rows(
        cur,
        f"SELECT * FROM {dblink}('{_CONNECTION}', {literal(question)})"
        ' AS t("user" text, "database" text, server_version text, apply boolean)',
    )
    cur.execute(f"SELECT {dblink}_disconnect('{_CONNECTION}')")
    return row


def connection_problem(error: BaseException, options: dict[str, str], user: str) -> tuple[str, str]:
    """Cause and remedy of a failed connection between the servers."""
    if _pg.sqlstate(error) == _PASSWORD_REQUIRED:
        return (
            "Open WebUI's server lets it in without asking for a password, which dblink refuses",
            f"put a line with scram-sha-256 for {user} before the lines with trust, peer or ident in its pg_hba.conf",
        )
    detail = getattr(getattr(error, "diag", None), "message_detail", None)
    lines = [line.strip() for line in (detail or _pg.describe(error)).splitlines() if line.strip()]
    reason = next((line for line in lines if "FATAL:" in line), lines[0]).rsplit("FATAL:", 1)[-1].strip()
    remedy = next(remedy for word, remedy in _REMEDIES if word in reason)
    return reason, remedy.format(user=user, database=options.get("dbname", ""))
