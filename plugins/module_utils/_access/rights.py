# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the bridge says about a person, and what a program answers to the person.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError

OK, FAILED, SKIPPED = "ok", "failed", "skipped"


@dataclass(frozen=True)
class Model:
    """A model that LiteLLM serves, for one person. An administrator of Open WebUI may have switched it off there."""

    name: str
    openwebui_id: str
    granted: bool
    switched_off: bool = False
    reason: str = ""


@dataclass(frozen=True)
class Person:
    """Somebody who is signed in to Open WebUI."""

    id: str
    email: str
    role: str
    token: str = field(repr=False)

    @property
    def is_admin(self) -> bool:
        return self.role == "admin"


@dataclass(frozen=True)
class Outcome:
    """What came of a chat: served, refused to this person, closed to the key for everybody, or neither."""

    kind: str
    status: int


@dataclass(frozen=True)
class Check:
    """One line of the report. Where it failed, the message ends with the remedy."""

    name: str
    status: str
    message: str


def models(given: Iterable[Mapping[str, Any]]) -> list[Model]:
    """In the order of their names."""
    found = [
        Model(
            str(each["model"]),
            str(each["openwebui_id"]),
            bool(each["granted"]),
            bool(each.get("switched_off")),
            str(each.get("reason") or ""),
        )
        for each in given
    ]
    return sorted(found, key=lambda model: model.name)


def missing(known: Iterable[Model], shown: frozenset[str]) -> list[Model]:
    """Granted by LiteLLM, and not shown by Open WebUI, without its administrator having it so."""
    return [each for each in known if each.granted and not each.switched_off and each.openwebui_id not in shown]


def excess(known: Iterable[Model], shown: frozenset[str], person: Person) -> list[Model]:
    """Shown, and not granted. Administrators are shown everything."""
    return [each for each in known if not each.granted and each.openwebui_id in shown and not person.is_admin]


def choose(known: Sequence[Model], shown: frozenset[str], granted: bool, wanted: str, variable: str) -> Model | None:
    """The model to try: the one that is wanted, or the first of which Open WebUI shows what LiteLLM says."""
    if wanted:
        named = [each for each in known if each.name == wanted]
        if not named or named[0].granted != granted:
            what = "is no model of LiteLLM's that the bridge knows" if not named else "is one that LiteLLM "
            what += "" if not named else "does not grant to this person" if granted else "grants to this person"
            raise BridgeError(f"{variable}: {wanted!r} {what}: name another one, or leave it empty")
        return named[0]
    fitting = (each for each in known if each.granted is granted and (each.openwebui_id in shown) is granted)
    return next(fitting, None)
