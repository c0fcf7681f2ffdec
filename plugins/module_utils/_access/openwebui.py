# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Open WebUI as a person uses it: signs in, looks at the models, asks one. Nothing is saved.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from ansible_collections.llmops.user_bridge.plugins.module_utils._access.rights import Outcome, Person
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._http.client import Answer, Program, call

CHAT_SECONDS = 120
# Versions differ in how they say that somebody may not ask a model.
_REFUSED = (400, 401, 403, 404)


def openwebui(url: str, ca_path: str) -> Program:
    return Program("Open WebUI", url, "bridge_openwebui_url", ca_path, "bridge_openwebui_ca_path")


def question(model: str) -> dict[str, object]:
    """The cheapest one, without a chat that it would belong to."""
    return {"model": model, "stream": False, "max_tokens": 1, "messages": [{"role": "user", "content": "hi"}]}


@contextmanager
def signed_in(program: Program, email: str, password: str, token: str) -> Iterator[Person]:
    """For the length of a with block; a token that was given stays good."""
    _prove(program)
    person = _by_token(program, token) if token else _by_password(program, email, password)
    try:
        if person.email.lower() != email.strip().lower():
            raise BridgeError(
                "bridge_openwebui_token is of another account than bridge_openwebui_email: give both of one person"
            )
        if person.role not in ("user", "admin"):
            raise BridgeError(
                f"the account of {email} in {program.where} waits for an administrator, or is disabled: take a person "
                "who is active, or ask bridge_status why this one is not"
            )
        yield person
    finally:
        if not token:
            # Where it cannot be ended (up to 0.6), nobody has it all the same.
            with suppress(BridgeError):
                call(_as(program, person), "POST", "/api/v1/auths/signout", {})


def shown(program: Program, person: Person) -> frozenset[str]:
    """The ids of what the menu of models offers."""
    answer = call(_as(program, person), "GET", "/api/models")
    data = answer.body.get("data") if isinstance(answer.body, dict) else None
    if answer.status != 200 or not isinstance(data, list):
        raise BridgeError(
            f"{program.where} does not list its models for {person.email} (HTTP {answer.status}): look into its log"
        )
    return frozenset(str(each.get("id")) for each in data if isinstance(each, dict))


def ask(program: Program, person: Person, model_id: str) -> Outcome:
    answer = call(_as(program, person), "POST", "/api/chat/completions", question(model_id), CHAT_SECONDS)
    if is_served(answer):
        return Outcome("served", answer.status)
    return Outcome("refused" if answer.status in _REFUSED else "error", answer.status)


def is_served(answer: Answer) -> bool:
    return answer.status == 200 and isinstance(answer.body, dict) and bool(answer.body.get("choices"))


def _as(program: Program, person: Person) -> Program:
    return replace(program, headers={"Authorization": f"Bearer {person.token}"})


def _prove(program: Program) -> None:
    """Nobody else gets the password."""
    answer = call(program, "GET", "/api/config")
    if answer.status != 200 or not isinstance(answer.body, dict) or not {"version", "features"} <= set(answer.body):
        raise BridgeError(
            f"What answers at {program.url} (bridge_openwebui_url) is not Open WebUI: /api/config says nothing of it. "
            "Set bridge_openwebui_url to Open WebUI's own address, without a path like /api"
        )


def _by_password(program: Program, email: str, password: str) -> Person:
    answer = call(program, "POST", "/api/v1/auths/signin", {"email": email, "password": password})
    if answer.status in (400, 401):
        raise BridgeError(
            f"{program.where} refuses the email and password (bridge_openwebui_email, bridge_openwebui_password): "
            "check them, or give bridge_openwebui_token where people sign in by single sign-on"
        )
    if answer.status == 403:
        raise BridgeError(f"{program.where} lets nobody sign in with a password: give bridge_openwebui_token")
    if answer.status == 429:
        raise BridgeError(f"{program.where} has seen too many sign-ins of {email}: try again in three minutes")
    return _person(program, answer, None)


def _by_token(program: Program, token: str) -> Person:
    asking = replace(program, headers={"Authorization": f"Bearer {token}"})
    answer = call(asking, "GET", "/api/v1/auths/")
    if answer.status in (401, 403):
        raise BridgeError(
            f"{program.where} refuses the token (bridge_openwebui_token) with HTTP {answer.status}: give that of a "
            "live session, which the browser of somebody who is signed in has; a key to Open WebUI's API is none"
        )
    return _person(program, answer, token)


def _person(program: Program, answer: Answer, token: str | None) -> Person:
    body = answer.body if answer.status == 200 and isinstance(answer.body, dict) else {}
    found = {name: body.get(name) for name in ("id", "email", "role")}
    own = token or body.get("token")
    if own and all(isinstance(each, str) and each for each in found.values()):
        return Person(str(found["id"]), str(found["email"]), str(found["role"]), str(own))
    if answer.status == 200:
        raise BridgeError(
            f"{program.where} wants more than a password, such as a second factor: give bridge_openwebui_token"
        )
    raise BridgeError(f"{program.where} answers a sign-in with HTTP {answer.status}: look into its log")
