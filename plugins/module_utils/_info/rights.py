# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a deployment says at its end: who sees which models and why, and on whom LiteLLM books.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._catalog.live import Live, live_objects
from ansible_collections.llmops.user_bridge.plugins.module_utils._catalog.restored import restored_by
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._info.attribution import look_at_attribution
from ansible_collections.llmops.user_bridge.plugins.module_utils._info.delivery import look_at_settings
from ansible_collections.llmops.user_bridge.plugins.module_utils._info.models import (
    look_at_enforcement,
    look_at_models,
    with_extra,
)
from ansible_collections.llmops.user_bridge.plugins.module_utils._info.report import Report
from ansible_collections.llmops.user_bridge.plugins.module_utils._info.sides import COUNTED
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import Roles
from ansible_collections.llmops.user_bridge.plugins.module_utils._plain.prove import reading


def look_at_rights(params: dict[str, Any]) -> dict[str, Any]:
    """The part of gather() that models.txt.j2 shows."""
    report = Report()
    cur = _pg.cursor(_pg.connect(params))
    with reading(cur, COUNTED["litellm"]):
        live = _own_objects(cur, Roles(params["owner"], params["reader"]))
        settings = look_at_settings(cur, report, live, "litellm: settings")
        found = {
            "settings": settings,
            "enforcement": look_at_enforcement(cur, report, live),
            "attribution": look_at_attribution(cur, report, live, settings),
            "explanation": None,
        }
        here = with_extra(look_at_models(cur, report, live, "litellm"), settings)
    return {**found, "models": {"litellm": here, "openwebui": _look_at_openwebui(params, report)}}


def _look_at_openwebui(params: dict[str, Any], report: Report) -> dict[str, Any] | None:
    if not params["openwebui_login_db"]:
        return None
    try:
        connection = _pg.connect(_pg.second_login(params, "openwebui_"), "openwebui_")
    except BridgeError:
        return None
    cur = _pg.cursor(connection)
    with reading(cur, COUNTED["openwebui"]):
        live = _own_objects(cur, Roles(params["owner"], params["writer"]))
        return look_at_models(cur, report, live, "openwebui")


def _own_objects(cur: Any, roles: Roles) -> dict[tuple[str, str], Live]:
    """None in a restored bridge, where they could be anybody's."""
    return {} if restored_by(cur, roles) else live_objects(cur, roles)
