# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which models a shorter list of extra models would take from people.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import json
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import SCHEMA

_SHOWN = 10


def read_lost(cur: Any, owner: str, settings: dict[str, Any] | None) -> dict[str, Any] | None:
    """Names and people; None where nobody asks, or the bridge that is there cannot say it."""
    is_followed = boolean((settings or {}).get("model_access", True), strict=False)
    if not settings or settings.get("extra_models") is None or not is_followed:
        return None
    try:
        with _pg.savepoint(cur):
            _pg.set_role(cur, owner)
            query = f"SELECT {SCHEMA}.lost_models(%(extra)s::jsonb)::text"
            found = dict(json.loads(_pg.value(cur, query, {"extra": json.dumps(settings["extra_models"])})))
            _pg.set_role(cur, None)
            return found
    except _pg.PgError:
        return None


def lost_notice(lost: dict[str, Any] | None) -> list[str]:
    """What to say of it before it happens."""
    if not lost or not lost["models"]:
        return []
    names, people = lost["models"], lost["people"]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    who = "nobody can tell how many people lose" if people is None else f"{people} people lose"
    return [
        f"bridge_extra_models and LiteLLM no longer name {', '.join(names[:_SHOWN])}{more}: {who} sight of what they "
        "see of these now. Where LiteLLM's list is too short, because the key may not list all models or a "
        "configuration file is incomplete, set that right before a deployment."
    ]
