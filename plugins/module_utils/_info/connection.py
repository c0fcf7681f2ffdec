# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The connection to Open WebUI's database, tried as the bridge does it.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._info.report import Report
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import SCHEMA
from ansible_collections.llmops.user_bridge.plugins.module_utils._remedies import DEPLOY
from ansible_collections.llmops.user_bridge.plugins.module_utils._target.connection import (
    ask_target,
    connection_problem,
)
from ansible_collections.llmops.user_bridge.plugins.module_utils._target.state import SERVER, read_state


def check_connection(cur: Any, report: Report, owner: str) -> dict[str, Any]:
    """State (ok, failed, missing or not tested), error, remedy, and what Open WebUI's server answered."""
    nothing = {"user": None, "database": None, "server_version": None, "apply": None}
    state = read_state(cur, owner)
    if state.server_owner is None:
        return {"state": "missing", "error": f"there is no server {SERVER}", "remedy": DEPLOY, **nothing}
    try:
        with _pg.savepoint(cur):
            _pg.set_role(cur, owner)
    except _pg.PgError as error:
        report.unseen.append({"what": "connection test", "reason": _pg.describe(error)})
        return {"state": "not tested", "error": None, "remedy": None, **nothing}
    try:
        with _pg.savepoint(cur):
            found = ask_target(cur, state.extension_schema or SCHEMA)
    except _pg.PgError as error:
        options = state.server_options
        user = (state.mapping_options or {}).get("user", "the sync user")
        reason, remedy, _cause = connection_problem(error, options, user)
        return {"state": "failed", "error": reason, "remedy": remedy, **nothing}
    finally:
        _pg.set_role(cur, None)
    return {"state": "ok", "error": None, "remedy": None, **found}
