# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""On whom LiteLLM books what people spend in Open WebUI, and what both programs need for that and for enforcement.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils._catalog.live import Live
from ansible_collections.llmops.user_bridge.plugins.module_utils._info.delivery import has_function
from ansible_collections.llmops.user_bridge.plugins.module_utils._info.report import Report
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import SCHEMA

_BY_ID, _BY_EMAIL = "X-OpenWebUI-User-Id", "X-OpenWebUI-User-Email"
_BOOKED_BY = {"user_id": _BY_ID, "email": _BY_EMAIL}
_REFUSED_BY = {"id": _BY_ID, "email": _BY_EMAIL}


def look_at_attribution(
    cur: Any, report: Report, live: dict[tuple[str, str], Live], settings: Mapping[str, Any] | None
) -> dict[str, Any] | None:
    """None where it could not be seen, or an older bridge does not know."""
    if not has_function(live, "attribution"):
        return None
    rows = report.look(cur, "litellm: attribution", f"SELECT {SCHEMA}.attribution()::text AS found")
    if not rows:
        return None
    found = dict(json.loads(rows[0]["found"]))
    return {**found, "hints": hints(found, settings or {}), **snippets(settings or {})}


def hints(found: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    """Where the header can be seen to miss, with the remedy."""
    if not found["missed"]:
        return []
    people = f"{found['missed']} of {found['accounts']} accounts"
    if found["declared"] == "email":
        return [
            f"the email of {people} is not the id of their user in LiteLLM, letter by letter, so that LiteLLM books on "
            "ids that nobody has: add users to LiteLLM with their address, in small letters, as user_id, or set "
            "bridge_attribution to user_id or none"
        ]
    prefix = settings.get("user_id_prefix")
    remedy = (
        "those with another id were adopted, or made with a prefix, and keep it"
        if prefix == ""
        else f"new accounts have LiteLLM's ids with bridge_user_id_prefix: '' (it is {prefix!r}), others keep theirs"
    )
    return [
        f"the id of {people} is not that of their user in LiteLLM, so that LiteLLM books on ids that nobody has: "
        f"{remedy}; what these spend is on the shared key and, with the header mapped to customer, on the end user"
    ]


def snippets(settings: Mapping[str, Any]) -> dict[str, str]:
    """What has to be in LiteLLM's configuration file and in Open WebUI's environment; empty where nothing has."""
    mappings = []
    if settings.get("enforce_models"):
        mappings.append((_REFUSED_BY[settings.get("enforce_key") or "email"], "customer"))
    if settings.get("attribution") in _BOOKED_BY:
        mappings.append((_BOOKED_BY[settings["attribution"]], "internal_user"))
    if not mappings:
        return {"litellm_snippet": "", "openwebui_snippet": ""}
    lines = [f"    - header_name: {header}\n      litellm_user_role: {role}\n" for header, role in mappings]
    return {
        "litellm_snippet": "general_settings:\n  user_header_mappings:\n" + "".join(lines),
        "openwebui_snippet": "ENABLE_FORWARD_USER_INFO_HEADERS=true\n",
    }
