# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Asks LiteLLM for its models.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._http.client import Answer, Program, call
from ansible_collections.llmops.user_bridge.plugins.module_utils._models import catalogue

_REFUSED = (401, 403)
# The older place wants a key that may read it.
_PRICES = ("/public/litellm_model_cost_map", "/get/litellm_model_cost_map")


# As the doc fragment _litellm has it.
OPTIONS: dict[str, dict[str, Any]] = {
    "litellm_url": {"type": "str", "required": True},
    "litellm_key": {"type": "str", "required": True, "no_log": True},
    "litellm_ca_path": {"type": "str", "default": ""},
}


def litellm(options: Mapping[str, Any]) -> Program:
    """The proxy that OPTIONS name."""
    headers = {"Authorization": f"Bearer {options['litellm_key']}"}
    url, ca_path = options["litellm_url"], options["litellm_ca_path"]
    return Program("LiteLLM", url, "bridge_litellm_url", ca_path, "bridge_litellm_ca_path", headers)


def read(program: Program, given: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What only the configuration file knows, for bridge_extra_models; what is given there needs no looking up."""
    listed = [str(each.get("id", "")) for each in _data(program, "/v1/models")]
    if not listed:
        raise BridgeError(
            f"{program.where} lists no models for the key (bridge_litellm_key): give one that may list all, or leave "
            "bridge_litellm_url out until LiteLLM has models"
        )
    rows = catalogue.rows_of(_data(program, "/model/info"))
    own_names = {id_: _own_name(program, id_) for id_ in catalogue.shared_ids(rows)}
    found = catalogue.unknown_to_the_database(listed, rows, own_names)
    by_hand = {model["name"]: model.get("provider") for model in given}
    if catalogue.needs_provider({**model, "provider": by_hand.get(model["name"])} for model in found):
        found = catalogue.with_providers(found, _prices(program))
    return found


def _own_name(program: Program, deployment_id: str) -> str:
    """The name under which a deployment was made; empty where it has gone since it was listed."""
    path = f"/model/info?litellm_model_id={quote(deployment_id, safe='')}"
    answer = call(program, "GET", path)
    if answer.status == 400:
        return ""
    rows = _listed(program, path, answer)
    return str(rows[0].get("model_name", "")) if rows else ""


def _prices(program: Program) -> Mapping[str, Any]:
    """LiteLLM's list of prices, by model; empty where this key may not read it."""
    for path in _PRICES:
        answer = call(program, "GET", path)
        if answer.status == 200 and isinstance(answer.body, dict):
            return answer.body
        if answer.status >= 500:
            _check(program, path, answer)
    return {}


def _data(program: Program, path: str) -> list[dict[str, Any]]:
    return _listed(program, path, call(program, "GET", path))


def _listed(program: Program, path: str, answer: Answer) -> list[dict[str, Any]]:
    """A list of objects, as LiteLLM wraps it."""
    _check(program, path, answer)
    data = answer.body.get("data") if isinstance(answer.body, dict) else None
    if not isinstance(data, list) or not all(isinstance(each, dict) for each in data):
        raise BridgeError(_not_litellm(program, path))
    return data


def _check(program: Program, path: str, answer: Answer) -> None:
    if answer.status in _REFUSED:
        raise BridgeError(
            f"{program.where} refuses the key (bridge_litellm_key) with HTTP {answer.status}: give a virtual key of "
            "LiteLLM's that may list all models, such as the one of Open WebUI's connection"
        )
    if answer.status == 404:
        raise BridgeError(_not_litellm(program, path))
    if answer.status != 200:
        raise BridgeError(
            f"{program.where} answers {path.partition('?')[0]} with HTTP {answer.status}: look into its log, and check "
            f"{program.url_variable}"
        )


def _not_litellm(program: Program, path: str) -> str:
    return (
        f"What answers at {program.url} ({program.url_variable}) is not LiteLLM: {path.partition('?')[0]} has no list "
        f"there. Set {program.url_variable} to LiteLLM's own address, without a path like /v1"
    )
