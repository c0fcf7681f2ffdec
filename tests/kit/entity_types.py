# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The types of entities that modules know, from the registry, as text: modules run on hosts without the role."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence

from kit import bridge
from kit.settings import LICENCE

# Options of modules and variables of the role bridge that take types, and the list of each in _types.py.
_OPTIONS = {
    "entity_types": "ENTITY_TYPES",
    "litellm_types": "MAPPED_TYPES",
    "openwebui_types": "OPENWEBUI_TYPES",
    "bridge_reconcile_types": "ENTITY_TYPES",
    "bridge_audit_types": "ENTITY_TYPES",
}
_CHOICES = re.compile(
    rf"(?m)^(?P<before>(?P<indent> +)(?P<option>{'|'.join(_OPTIONS)}):.*\n(?:(?P=indent)  .*\n)*?"
    r"(?P=indent)  choices: )\[[^\]]*\]$"
)
Types = Mapping[str, Sequence[str]]


def of_registry() -> Types:
    entities = bridge.REGISTRY["entities"]
    mapped = {name: entity["mapping"] for name, entity in entities.items() if entity["mapping"]}
    return {
        "ENTITY_TYPES": sorted(entities),
        "MAPPED_TYPES": sorted(mapped),
        "OPENWEBUI_TYPES": sorted(set(mapped.values())),
    }


def module(types: Types) -> str:
    """plugins/module_utils/_types.py"""
    return f'''{LICENCE}
"""The types of entities.

Written by "make generate" from roles/triggers/templates/entities/registry.yml.
This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

ENTITY_TYPES = {_python(types["ENTITY_TYPES"])}
# Those that sync_mapping has rows of, and what they are mapped to in Open WebUI.
MAPPED_TYPES = {_python(types["MAPPED_TYPES"])}
OPENWEBUI_TYPES = {_python(types["OPENWEBUI_TYPES"])}
'''


def with_choices(text: str, types: Types) -> str | None:
    """Documentation with the choices of those options that take types; None where there is no such option."""
    written, count = _CHOICES.subn(
        lambda match: match["before"] + _yaml(types[_OPTIONS[match["option"]]], match["indent"]), text
    )
    return written if count else None


def _python(names: Sequence[str]) -> str:
    return "[\n" + "".join(f'    "{name}",\n' for name in names) + "]"


def _yaml(names: Sequence[str], indent: str) -> str:
    # Behind the bracket, as yamllint wants it.
    return textwrap.fill(f"[{', '.join(names)}]", 100, subsequent_indent=indent + " " * len("  choices: ["))
