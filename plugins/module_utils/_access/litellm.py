# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""LiteLLM as Open WebUI uses it: with the key that all people share, and headers that say who asks.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils._access.openwebui import (
    CHAT_SECONDS,
    is_served,
    question,
)
from ansible_collections.llmops.user_bridge.plugins.module_utils._access.rights import Outcome, Person
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._http.client import Answer, Program, call

# By the type of the error: of this person, and of whatever else a key goes by, which is the same for everybody.
_OF_PERSON = "customer_model_access_denied"
_OF_ALL = "_model_access_denied"


def ask(program: Program, person: Person, model: str) -> Outcome:
    """As Open WebUI would, for this person."""
    told = {
        "X-OpenWebUI-User-Id": person.id,
        "X-OpenWebUI-User-Email": person.email,
        "X-OpenWebUI-User-Role": person.role,
    }
    asking = replace(program, headers={**program.headers, **told})
    answer = call(asking, "POST", "/v1/chat/completions", question(model), CHAT_SECONDS)
    outcome = Outcome(_kind(answer), answer.status)
    if outcome.kind == "error" and answer.status in (401, 403):
        raise BridgeError(
            f"{program.where} refuses the key (bridge_litellm_key) with HTTP {answer.status}: give the virtual key of "
            "Open WebUI's connection"
        )
    return outcome


def _kind(answer: Answer) -> str:
    if is_served(answer):
        return "served"
    denied = _error_type(answer.body)
    if denied == _OF_PERSON:
        return "refused"
    if denied.endswith(_OF_ALL):
        return "closed"
    # Of the budget for whom LiteLLM does not know, or any other.
    return "limited" if answer.status == 429 or denied == "budget_exceeded" else "error"


def _error_type(body: Any) -> str:
    error = body.get("error") if isinstance(body, dict) else None
    return str(error.get("type", "")) if isinstance(error, dict) else ""
