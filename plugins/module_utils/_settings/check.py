# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rules that the values of settings obey.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._settings.declared import (
    LITELLM_ROLES,
    OPENWEBUI_ROLES,
    RANGES,
)

_PREFIX = re.compile(r"[A-Za-z0-9.:_-]{1,32}\Z")
_PREFIXES = ("user_id_prefix", "group_id_prefix", "team_group_id_prefix")


def checked(settings: dict[str, Any] | None) -> dict[str, Any]:
    """The settings that were given, or an error that names the first one with a wrong value."""
    given = {name: value for name, value in (settings or {}).items() if value is not None}
    for name, (low, high) in RANGES.items():
        if name in given and not low <= given[name] <= high:
            raise BridgeError(f"settings.{name} (bridge_{name}) must be from {low} to {high}, not {given[name]}")
    for name in _PREFIXES:
        # Open WebUI <= 0.6.36 looks memberships up by LIKE '%"id"%', where a quote or a backslash in an id breaks it.
        if name in given and not _PREFIX.match(given[name]):
            raise BridgeError(
                f"settings.{name} (bridge_{name}) must be 1 to 32 letters, digits and the characters . : _ -"
            )
    if "group_id_prefix" in given and given["group_id_prefix"] == given.get("team_group_id_prefix"):
        raise BridgeError("settings.team_group_id_prefix (bridge_team_group_id_prefix) and group_id_prefix must differ")
    if "role_map" in given:
        _check_role_map(given["role_map"])
    # Shown in diffs as it was written: 5, not 5.0.
    return {n: int(v) if isinstance(v, float) and v.is_integer() else v for n, v in given.items()}


def _check_role_map(role_map: dict[str, Any]) -> None:
    for source, target in role_map.items():
        if source not in LITELLM_ROLES:
            raise BridgeError(
                f"settings.role_map (bridge_role_map): {source!r} is no LiteLLM role; "
                f"use one of {', '.join(LITELLM_ROLES)}"
            )
        if target not in OPENWEBUI_ROLES:
            raise BridgeError(
                f"settings.role_map (bridge_role_map): {source} is mapped to {target!r}; "
                f"use one of {', '.join(OPENWEBUI_ROLES)}"
            )
        if target == "admin" and source.endswith("_viewer"):
            raise BridgeError(f"settings.role_map (bridge_role_map): {source} may only look, so it cannot become admin")
