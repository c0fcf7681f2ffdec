# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tries both programs as a person would, and says what came of it.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils._access import litellm, openwebui, rights, verdicts
from ansible_collections.llmops.user_bridge.plugins.module_utils._access.rights import OK, Check, Model, Person
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._http.client import Program


def verify(
    site: Program, proxy: Program, person: Mapping[str, str], said: Mapping[str, Any], reads_only: bool
) -> dict[str, Any]:
    """The checks, and who was signed in. `person`: email and either password or token; `said`: what the bridge says."""
    with openwebui.signed_in(site, person["email"], person["password"], person["token"]) as who:
        if who.id != said["account"]:
            raise BridgeError(
                f"the account of {who.email} at {site.url} (bridge_openwebui_url) is not the one that the bridge has: "
                "set bridge_openwebui_url to the Open WebUI that uses the database bridge_openwebui_db"
            )
        checks = [
            Check("sign_in", OK, f"{who.email} is signed in to Open WebUI as {who.role}"),
            *_checks(site, proxy, who, said, reads_only),
        ]
    return {
        "account": {"id": who.id, "email": who.email, "role": who.role},
        "checks": [{"check": each.name, "status": each.status, "message": each.message} for each in checks],
    }


def _checks(site: Program, proxy: Program, who: Person, said: Mapping[str, Any], reads_only: bool) -> list[Check]:
    known = rights.models(said["models"])
    seen = openwebui.shown(site, who)
    granted = rights.choose(known, seen, True, said["granted_model"], "bridge_verify_granted_model")
    # A person who sees every model can still be refused by LiteLLM.
    hidden = frozenset() if who.is_admin else seen
    refused = rights.choose(known, hidden, False, said["refused_model"], "bridge_verify_refused_model")
    tried = None if reads_only else (site, proxy)
    return [
        verdicts.shown(known, seen, who),
        verdicts.granted_chat(granted, who, _ask_site(tried, who, granted)),
        verdicts.refused_chat(refused, who, None if who.is_admin else _ask_site(tried, who, refused)),
        verdicts.enforcement(refused, who, _ask_proxy(tried, who, refused), said["enforced"]),
        *([verdicts.granted_by_litellm(granted, who, _ask_proxy(tried, who, granted))] if said["enforced"] else []),
        *([verdicts.attribution(said["user"], who, said["attribution"])] if said["attribution"] != "none" else []),
    ]


def _ask_site(tried: tuple[Program, Program] | None, who: Person, model: Model | None) -> rights.Outcome | None:
    return openwebui.ask(tried[0], who, model.openwebui_id) if tried and model else None


def _ask_proxy(tried: tuple[Program, Program] | None, who: Person, model: Model | None) -> rights.Outcome | None:
    return litellm.ask(tried[1], who, model.name) if tried and model else None
