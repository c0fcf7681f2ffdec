# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rules that the values of settings obey.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Callable

from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._settings.declared import (
    PATTERNS,
    RANGES,
    UNEQUAL,
    VARIABLES,
)

LITELLM_ROLES = (
    "proxy_admin",
    "proxy_admin_viewer",
    "org_admin",
    "internal_user",
    "internal_user_viewer",
    "team",
    "customer",
)
# A bcrypt hash of cost 10 on a slow server; each step doubles it.
_HASH_MS = 140
_DEFAULT_COST = 10
_DEFAULT_TIMEOUT_MS = 2000
OPENWEBUI_ROLES = ("admin", "user", "pending")


def checked(settings: dict[str, Any] | None) -> dict[str, Any]:
    """The settings that were given, or an error that names the first one with a wrong value."""
    given = {name: value for name, value in (settings or {}).items() if value is not None}
    for problem in problems(given, _label):
        raise BridgeError(problem)
    # Shown in diffs as it was written: 5, not 5.0.
    return {n: int(v) if isinstance(v, float) and v.is_integer() else v for n, v in given.items()}


def problems(given: dict[str, Any], label: Callable[[str], str]) -> Iterator[str]:
    """What is wrong with values of the right type, each setting named by what the label makes of its name."""
    for name, (low, high) in RANGES.items():
        if name in given and not low <= given[name] <= high:
            yield f"{label(name)} must be from {low} to {high}, not {given[name]}"
    for name, (pattern, text) in PATTERNS.items():
        if name in given and not re.fullmatch(pattern, given[name]):
            yield f"{label(name)} must be {text}, not {given[name]!r}"
    for name, other in UNEQUAL.items():
        if name in given and given[name] == given.get(other):
            yield f"{label(name)} and {label(other)} must differ"
    if given.get("enforce_models") and given.get("model_access") is False:
        yield (
            f"{label('enforce_models')} is true, but {label('model_access')} is false: LiteLLM is to refuse by the "
            f"rights that the bridge follows; set {label('model_access')} to true or {label('enforce_models')} to false"
        )
    yield from _of_role_map(given.get("role_map", {}), label("role_map"))
    low, high = RANGES["password_cost"]
    if given.get("initial_password") != "none" and low <= given.get("password_cost", low) <= high:
        cost, timeout_ms = given.get("password_cost", 0), given.get("target_timeout_ms", _DEFAULT_TIMEOUT_MS)
        yield from _of_password_cost(cost, timeout_ms, label("password_cost"))


def _label(name: str) -> str:
    return f"settings.{name} ({VARIABLES[name]})"


def _of_password_cost(cost: int, timeout_ms: int, label: str) -> Iterator[str]:
    """A password is hashed within one call of Open WebUI's side, which ends at the timeout: it would fail for ever."""
    needed = _HASH_MS * 2 ** max(0, cost - _DEFAULT_COST)
    if cost > _DEFAULT_COST and needed > timeout_ms:
        fitting = _DEFAULT_COST + max(0, (timeout_ms // _HASH_MS).bit_length() - 1)
        yield (
            f"{label} is {cost}: hashing one initial password can take {needed} ms then, and a "
            f"delivery ends after {timeout_ms} ms; lower it to {fitting} or raise {VARIABLES['target_timeout_ms']} to "
            f"{needed}"
        )


def _of_role_map(role_map: dict[str, Any], label: str) -> Iterator[str]:
    for source, target in role_map.items():
        if source not in LITELLM_ROLES:
            yield f"{label}: {source!r} is no LiteLLM role; use one of {', '.join(LITELLM_ROLES)}"
        elif target not in OPENWEBUI_ROLES:
            yield f"{label}: {source} is mapped to {target!r}; use one of {', '.join(OPENWEBUI_ROLES)}"
        elif target == "admin" and source.endswith("_viewer"):
            yield f"{label}: {source} is read-only, so it cannot become admin"
