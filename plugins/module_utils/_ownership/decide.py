# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whose Open WebUI's database is to be. Nothing here reads or writes a database.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.llmops.user_bridge.plugins.module_utils._ownership.state import Identity, Place, Source, Target

_TAKE = (
    "to give Open WebUI to this one, after which it follows this one only and refuses the other, set "
    "bridge_take_ownership (take_ownership) to true"
)


@dataclass(frozen=True)
class Decision:
    """What is to be done: unchanged, taken, moved, renewed or refused; why; and whether the id stays."""

    action: str
    reason: str = ""
    keeps_id: bool = True

    @property
    def changed(self) -> bool:
        return self.action in ("taken", "moved", "renewed")


def decide(source: Source, target: Target, take: bool) -> Decision:
    """LiteLLM's side owns Open WebUI's unless another one does, which take overrules."""
    identity, owner = source.identity, target.owner
    at_home = identity is not None and identity.place == source.place
    if owner is None:
        return Decision("taken", "it had no owner", at_home)
    if identity is None or identity.id != owner.id:
        if take:
            return Decision("taken", f"it was owned by the installation {owner.id}", at_home)
        return Decision("refused", _another(source, target, owner))
    if owner.place != source.place:
        if _is_beside(source, owner.place):
            if take:
                return Decision("taken", f"it was owned by {_named(source, owner.place)}", False)
            return Decision("refused", _a_copy(source, target, owner))
        return Decision("moved", f"the installation was in {_named(source, owner.place)}")
    if not at_home:
        return Decision("moved", "LiteLLM's side named another database as the installation's")
    if identity.key_digest != owner.key_digest:
        return Decision("renewed", "the two sides had different keys")
    return Decision("unchanged")


def _is_beside(source: Source, place: Place) -> bool:
    """Whether another database of LiteLLM's server is this place."""
    return place.system == source.place.system and place.database in source.databases


def _named(source: Source, place: Place) -> str:
    if _is_beside(source, place):
        return f'the database "{source.databases[place.database]}" of the same server'
    return f"the database with oid {place.database} of the server with system identifier {place.system}"


def _another(source: Source, target: Target, owner: Identity) -> str:
    return (
        f'Open WebUI\'s database "{target.name}" (bridge_openwebui_db) is owned by another installation of the bridge, '
        f'{owner.id} in {_named(source, owner.place)}, and LiteLLM\'s database "{source.name}" '
        f"(bridge_litellm_db) is not it: name the databases that belong together; {_TAKE}"
    )


def _a_copy(source: Source, target: Target, owner: Identity) -> str:
    return (
        f'LiteLLM\'s database "{source.name}" (bridge_litellm_db) is a copy of a database that is still there: '
        f'Open WebUI\'s database "{target.name}" (bridge_openwebui_db) is owned by '
        f"{_named(source, owner.place)}: name that one, or another Open WebUI for the copy; {_TAKE}"
    )
