# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is found, as the lines of a report: pure functions of rights and outcomes.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from ansible_collections.llmops.user_bridge.plugins.module_utils._access import rights
from ansible_collections.llmops.user_bridge.plugins.module_utils._access.rights import (
    FAILED,
    OK,
    SKIPPED,
    Check,
    Model,
    Outcome,
    Person,
)

_NAMED = 5
_UNTRIED = "check mode: no chat is tried"
_SOMEBODY_ELSE = "take a person who may not call everything"


def shown(known: Sequence[Model], seen: frozenset[str], person: Person) -> Check:
    """Whether Open WebUI shows what LiteLLM grants, and no more."""
    lacks, exceeds = rights.missing(known, seen), rights.excess(known, seen, person)
    if not lacks and not exceeds:
        return Check("models", OK, _as_it_should_be(known, seen, person))
    found = [
        f"Open WebUI {does} {person.email} what LiteLLM {grants}: {_named(of_them)}"
        for does, grants, of_them in (
            ("shows", "does not grant", exceeds),
            ("does not show", "grants", lacks),
        )
        if of_them
    ]
    return Check(
        "models",
        FAILED,
        f"{'; '.join(found)}. Run bridge_status with explain_user={person.email} and explain_model, which says who has "
        "made a model public and what is in the way; and see whether Open WebUI's connection lists it, with the prefix "
        "of bridge_openwebui_model_prefix",
    )


def _as_it_should_be(known: Sequence[Model], seen: frozenset[str], person: Person) -> str:
    granted = [each for each in known if each.granted]
    off = [each for each in granted if each.openwebui_id not in seen]
    others = f"none of the {len(known) - len(granted)} others"
    return (
        f"Open WebUI shows {person.email} the {len(granted) - len(off)} models that LiteLLM grants, and "
        + ("may show the others, too, to an administrator" if person.is_admin else others)
        + (f"; an administrator has switched off {len(off)} more" if off else "")
    )


def _named(found: Sequence[Model]) -> str:
    named = ", ".join(each.name + (f" ({each.reason})" if each.reason else "") for each in found[:_NAMED])
    return named + (f" and {len(found) - _NAMED} more" if len(found) > _NAMED else "")


def granted_chat(model: Model | None, person: Person, outcome: Outcome | None) -> Check:
    """Whether Open WebUI lets the person ask what is granted."""
    check = partial(Check, "granted_chat")
    if model is None:
        return check(SKIPPED, f"no model is both granted and shown to {person.email}, so that none can be tried")
    if outcome is None:
        return check(SKIPPED, _UNTRIED)
    if outcome.kind == "served":
        return check(OK, f"Open WebUI lets {person.email} ask {model.name}")
    return check(
        FAILED,
        f"Open WebUI answers {person.email} for {model.name}, which is granted, with HTTP {outcome.status}. Look into "
        "LiteLLM's log; where it is no model for chats, name one in bridge_verify_granted_model",
    )


def refused_chat(model: Model | None, person: Person, outcome: Outcome | None) -> Check:
    """Whether Open WebUI refuses the person what it does not show."""
    check = partial(Check, "refused_chat")
    if person.is_admin:
        return check(SKIPPED, f"{person.email} is an administrator of Open WebUI, who may ask everything there")
    if model is None:
        return check(SKIPPED, f"no model is hidden from {person.email}: {_SOMEBODY_ELSE}")
    if outcome is None:
        return check(SKIPPED, _UNTRIED)
    if outcome.kind == "refused":
        return check(OK, f"Open WebUI refuses {person.email} the model {model.name} (HTTP {outcome.status})")
    if outcome.kind == "served":
        return check(
            FAILED,
            f"Open WebUI lets {person.email} ask {model.name}, which is not granted: take BYPASS_MODEL_ACCESS_CONTROL "
            "out of its environment, and run bridge_status with explain_user and explain_model",
        )
    return check(
        FAILED,
        f"Open WebUI answers {person.email} for {model.name}, which is not granted, with HTTP {outcome.status} and no "
        "refusal: look into its log",
    )


def enforcement(model: Model | None, person: Person, outcome: Outcome | None, enforced: bool) -> Check:
    """Whether LiteLLM itself refuses what is not granted."""
    check = partial(Check, "enforcement")
    if model is None:
        return check(SKIPPED, f"LiteLLM has no model to try that is not granted to {person.email}: {_SOMEBODY_ELSE}")
    if outcome is None:
        return check(SKIPPED, _UNTRIED)
    told = f"{model.name} when it is told that {person.email} asks"
    if outcome.kind in ("refused", "limited"):
        return check(OK, f"LiteLLM itself refuses {told} (HTTP {outcome.status})")
    if outcome.kind == "closed":
        return check(
            SKIPPED,
            f"LiteLLM refuses {model.name} to everybody who comes with bridge_litellm_key, which proves nothing about "
            f"{person.email}: name another one in bridge_verify_refused_model",
        )
    if outcome.kind == "served" and enforced:
        return check(
            FAILED,
            f"LiteLLM serves {told}, although bridge_enforce_models is true: set user_header_mappings in its "
            "configuration (docs/access.md), and wait a minute after a change of rights",
        )
    if outcome.kind == "served":
        return check(OK, f"LiteLLM serves {told}: Open WebUI alone hides it (bridge_enforce_models is false)")
    return check(FAILED, _unclear(model, outcome))


def granted_by_litellm(model: Model | None, person: Person, outcome: Outcome | None) -> Check:
    """Whether LiteLLM, where it refuses by itself, serves what is granted."""
    check = partial(Check, "granted_by_litellm")
    if model is None:
        return check(SKIPPED, f"no model is both granted and shown to {person.email}, so that LiteLLM is not asked")
    if outcome is None:
        return check(SKIPPED, _UNTRIED)
    told = f"{model.name} when it is told that {person.email} asks"
    if outcome.kind == "served":
        return check(OK, f"LiteLLM serves {told}")
    if outcome.kind in ("refused", "limited"):
        return check(
            FAILED,
            f"LiteLLM refuses {told} (HTTP {outcome.status}), although it is granted: wait a minute after a change of "
            "rights; see in bridge_status whether rows are due or somebody else's, and in LiteLLM whether a budget is "
            "used up",
        )
    if outcome.kind == "closed":
        return check(
            FAILED,
            f"LiteLLM refuses {model.name} to everybody who comes with bridge_litellm_key (HTTP {outcome.status}): "
            "give the key of Open WebUI's connection, and let it call all models",
        )
    return check(FAILED, _unclear(model, outcome))


def attribution(user: str, person: Person, by: str) -> Check:
    """Whether what Open WebUI sends is the id of the user on whom LiteLLM is to book. `by`: user_id or email."""
    header, sent = ("X-OpenWebUI-User-Id", person.id) if by == "user_id" else ("X-OpenWebUI-User-Email", person.email)
    if sent != user:
        return Check(
            "attribution",
            FAILED,
            f"bridge_attribution is {by}, but {header} of {person.email} is {sent}, and LiteLLM's user is {user}: it "
            "would book on an id that nobody has. bridge_status says of how many that is so, and what to do",
        )
    return Check(
        "attribution",
        OK,
        f"{header} of {person.email} is the id of LiteLLM's user {user}; whether LiteLLM books on it was not checked, "
        "for it writes spend later: look at the user's there",
    )


def _unclear(model: Model, outcome: Outcome) -> str:
    return (
        f"LiteLLM answers for {model.name} with HTTP {outcome.status}: look into its log, and whether the model's "
        "provider serves it"
    )
