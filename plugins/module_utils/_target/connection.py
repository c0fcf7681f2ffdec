# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The connection from LiteLLM's server to Open WebUI's database, and why it fails.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import SCHEMA, literal, quote
from ansible_collections.llmops.user_bridge.plugins.module_utils._remedies import connection_remedy, server_reason
from ansible_collections.llmops.user_bridge.plugins.module_utils._target.state import SERVER

_CONNECTION = "user_bridge_verify"
_PASSWORD_REQUIRED = "2F003"
_POOLED = (
    "the settings of the bridge's session do not reach Open WebUI's server, as with a connection pooler in between; "
    "check bridge_target_host and bridge_target_port: they must lead to Open WebUI's server itself, not to PgBouncer "
    "or another pooler; nothing was changed"
)


def ask_target(cur: Any, extension_schema: str) -> dict[str, Any]:
    """Connect through the foreign server as the current role; returns user, database, server_version and apply."""
    dblink = f"{quote(extension_schema)}.dblink"
    question = (
        "SELECT current_user::text, current_database()::text, current_setting('server_version'),"
        " current_setting('search_path'), EXISTS ("
        "SELECT FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace"
        f" WHERE n.nspname = '{SCHEMA}' AND p.proname = 'apply' AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')"
        " AND pg_catalog.has_function_privilege(p.oid, 'EXECUTE'))"
    )
    cur.execute(f"SELECT {dblink}_connect('{_CONNECTION}', '{SERVER}')")
    (row,) = _pg.rows(
        cur,
        f"SELECT * FROM {dblink}('{_CONNECTION}', {literal(question)})"
        ' AS t("user" text, "database" text, server_version text, search_path text, apply boolean)',
    )
    cur.execute(f"SELECT {dblink}_disconnect('{_CONNECTION}')")
    if row.pop("search_path") != "pg_catalog":
        # PgBouncer refuses the options of a session, or is told to ignore them.
        raise BridgeError(_POOLED)
    return row


def connection_problem(error: BaseException, options: dict[str, str], user: str) -> tuple[str, str, str]:
    """Reason, remedy and name of the cause of a failed connection between the servers."""
    detail = getattr(getattr(error, "diag", None), "message_detail", None)
    database = options.get("dbname", "")
    text = detail or _pg.describe(error)
    reason = server_reason(text)
    remedy = connection_remedy(_pg.sqlstate(error), text, user, database)
    if _pg.sqlstate(error) == _PASSWORD_REQUIRED:
        reason = "Open WebUI's server lets it in without asking for a password, which dblink refuses"
    return reason, remedy.target.format(user=user, database=database), remedy.name
