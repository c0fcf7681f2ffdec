# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What only LiteLLM's configuration file knows of models, from what LiteLLM lists over HTTP.

Nothing here asks anybody. LiteLLM's /v1/models has names; its /model/info has rows of deployments under the names by
which they can be called: their own, an alias, or what a deployment with a star in its name serves.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

# What LiteLLM's list of prices calls a provider, and what LiteLLM derives from a name that is in it. Of others it
# derives nothing from the bare name, or it depends on the model.
_PROVIDERS = {
    "anthropic": "anthropic",
    "bedrock": "bedrock",
    "bedrock_converse": "bedrock",
    "openai": "openai",
    "vertex_ai-language-models": "vertex_ai",
}
# A star at the end, and nothing before it that means something in a regular expression but a dot.
_PLAIN_ROUTE = re.compile(r"[^*\[\](){}+?|^$\\]*\*")


@dataclass(frozen=True)
class Row:
    """A deployment, under one of the names by which it can be called."""

    name: str
    id: str
    in_database: bool
    groups: frozenset[str]


def rows_of(data: Iterable[Any]) -> list[Row]:
    """Those that no team owns; nobody else can call those."""
    found = []
    for each in data:
        name, info = each.get("model_name"), each.get("model_info") or {}
        if isinstance(name, str) and not info.get("team_id"):
            groups = frozenset(str(group) for group in info.get("access_groups") or [])
            found.append(Row(name, str(info.get("id", "")), info.get("db_model") is True, groups))
    return found


def shared_ids(rows: Iterable[Row]) -> list[str]:
    """Deployments under several names, of which at most one can be their own."""
    names: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        names[row.id].add(row.name)
    return sorted(id_ for id_, known in names.items() if id_ and len(known) > 1)


def unknown_to_the_database(
    listed: Collection[str], rows: Iterable[Row], own_names: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Entries for bridge_extra_models. own_names: id to name, of deployments under several names."""
    by_name: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_name[row.name].append(row)
    found = []
    for name in sorted({*listed}):
        if name and "*" not in name:
            entry = _entry(name, by_name[name], own_names)
            found += [] if entry is None else [entry]
    return found


def _entry(name: str, rows: list[Row], own_names: Mapping[str, str]) -> dict[str, Any] | None:
    """None for what the database has, or where it is not sure what opens it."""
    origins = [(own_names.get(row.id, row.name), row) for row in rows]
    own = [row for origin, row in origins if origin == name]
    if own:
        of_file = [row for row in own if not row.in_database]
        return _with_groups(name, frozenset().union(*(row.groups for row in of_file))) if of_file else None
    routes = [(origin, row) for origin, row in origins if "*" in origin]
    if not routes:
        # An alias. Which groups deployments of the database have can change at any time.
        return _with_groups(name, frozenset().union(*(row.groups for origin, row in origins if not row.in_database)))
    longest = max(_length(origin) for origin, row in routes)
    best = [(origin, row) for origin, row in routes if _length(origin) == longest]
    if all(row.in_database for origin, row in best):
        return {"name": name}
    if not all(_PLAIN_ROUTE.fullmatch(origin) for origin, row in best):
        return None
    # Of equally specific ones LiteLLM takes the one that it has read first.
    return _with_groups(name, frozenset.intersection(*(row.groups for origin, row in best)))


def _with_groups(name: str, groups: frozenset[str]) -> dict[str, Any]:
    return {"name": name, "access_groups": sorted(groups)}


def _length(route: str) -> int:
    """How specific LiteLLM's router takes it for: the length of its regular expression."""
    return len(re.escape(route).replace(r"\*", "(.*)"))


def needs_provider(models: Iterable[Mapping[str, Any]]) -> bool:
    return any(_is_bare(model["name"]) and not model.get("provider") for model in models)


def with_providers(models: Iterable[Mapping[str, Any]], prices: Mapping[str, Any]) -> list[dict[str, Any]]:
    """With the provider of each bare name that LiteLLM's list of prices knows."""
    found = []
    for model in models:
        price = prices.get(model["name"]) if _is_bare(model["name"]) else None
        provider = _PROVIDERS.get(str(price.get("litellm_provider"))) if isinstance(price, Mapping) else None
        found.append({**model, **({"provider": provider} if provider else {})})
    return found


def _is_bare(name: str) -> bool:
    """LiteLLM derives nothing from the names of fine-tuned models."""
    return "/" not in name and not name.startswith("ft:")


def merged(given: Iterable[Mapping[str, Any]], read: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What was given by hand first, completed by what was read, then the rest of that."""
    by_name = {model["name"]: model for model in read}
    by_hand = [{name: value for name, value in model.items() if value is not None} for model in given]
    known = {model["name"] for model in by_hand}
    return [{**by_name.get(model["name"], {}), **model} for model in by_hand] + [
        dict(model) for name, model in by_name.items() if name not in known
    ]
