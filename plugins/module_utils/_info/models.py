# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rights on models: what each side has of them, and why somebody sees a model or does not.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._catalog.live import Live
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._info.delivery import has_function
from ansible_collections.llmops.user_bridge.plugins.module_utils._info.report import INVISIBLE, Report
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import SCHEMA
from ansible_collections.llmops.user_bridge.plugins.module_utils._session import NO_SUCH_ROLE

_FUNCTIONS = {"litellm": "model_rights", "openwebui": "model_report"}


def look_at_models(cur: Any, report: Report, live: dict[tuple[str, str], Live], side: str) -> dict[str, Any] | None:
    """The counts of one side; None where they could not be seen, or an older bridge has none."""
    name = _FUNCTIONS[side]
    if not has_function(live, name):
        return None
    rows = report.look(cur, f"{side}: rights on models", f"SELECT {SCHEMA}.{name}()::text AS found")
    return dict(json.loads(rows[0]["found"])) if rows else None


def with_extra(counted: dict[str, Any] | None, settings: dict[str, Any] | None) -> dict[str, Any] | None:
    """The counts of LiteLLM's side, with how many models the bridge knows from its settings only."""
    return None if counted is None else {**counted, "extra": len((settings or {}).get("extra_models") or [])}


def look_at_enforcement(cur: Any, report: Report, live: dict[tuple[str, str], Live]) -> dict[str, Any] | None:
    """What LiteLLM itself refuses; None where that could not be seen, or an older bridge does not know."""
    if not has_function(live, "enforcement"):
        return None
    rows = report.look(cur, "litellm: enforcement", f"SELECT {SCHEMA}.enforcement()::text AS found")
    return dict(json.loads(rows[0]["found"])) if rows else None


def explain(params: dict[str, Any], report: Report) -> dict[str, Any] | None:
    """What explain_model() says, over a connection of its own; None where the login may not ask."""
    asked = params["explain"]
    try:
        cur = _pg.cursor(_pg.connect(params))
        with _pg.transaction(cur, read_only=True):
            _pg.set_role(cur, params["owner"])
            query = f"SELECT {SCHEMA}.explain_model(%(user)s, %(model)s)::text"
            found = _pg.value(cur, query, {"user": asked["user"], "model": asked["model"]})
    except BridgeError as error:
        report.unseen.append({"what": "explanation", "reason": str(error)})
        return None
    except _pg.PgError as error:
        if _pg.sqlstate(error) not in (*INVISIBLE, NO_SUCH_ROLE):
            raise
        report.unseen.append({"what": "explanation", "reason": _pg.describe(error)})
        return None
    return dict(json.loads(found))
