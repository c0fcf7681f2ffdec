# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the bridge's objects are as they were installed, so that nobody need render and compare their definitions.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._catalog.compare import drift
from ansible_collections.llmops.user_bridge.plugins.module_utils._catalog.foreign import (
    bookkeeping_is_ours,
    trusted_owners,
)
from ansible_collections.llmops.user_bridge.plugins.module_utils._catalog.live import live_objects
from ansible_collections.llmops.user_bridge.plugins.module_utils._catalog.records import read_records, stamp
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import Roles
from ansible_collections.llmops.user_bridge.plugins.module_utils._settings.declared import OPENWEBUI
from ansible_collections.llmops.user_bridge.plugins.module_utils._settings.stored import changed_settings, read_settings


@dataclass(frozen=True)
class Installed:
    """A digest of what everything was made from, and the settings as they are stored."""

    sources: str
    settings: dict[str, Any] | None


def look_at_installed(
    cur: Any, side: str, roles: Roles, server_version: int, missing: Collection[str]
) -> Installed | None:
    """None wherever bridge_install could have something to do or to say. Missing: tables that the program may lack."""
    try:
        with _pg.savepoint(cur):
            live = live_objects(cur, roles)
            if not bookkeeping_is_ours(live, trusted_owners(cur, roles)):
                return None
            recorded = read_records(cur, live)
            settings = read_settings(cur, live)
    except _pg.PgError:
        # Usually because rights are missing that this run is about to provide.
        return None
    bridge = recorded.get(("bridge", side))
    sources = bridge.fingerprint.partition(" ")[0] if bridge else ""
    objects = [kind for kind, _name in recorded if kind != "bridge"]
    if not bridge or not sources or bridge.fingerprint != stamp(sources, bridge.version, len(objects), missing):
        return None
    if not all(kind == "schema" or (kind, name) in recorded for kind, name in live):
        return None
    found = drift(live, recorded, roles.owner, _pg.major_of(server_version))
    return None if any(each["state"] != "ok" or each["reason"] for each in found) else Installed(sources, settings)


def unchanged_sources(installed: Mapping[str, Installed | None], settings: Mapping[str, Any] | None) -> dict[str, str]:
    """By side the digest, empty where bridge_install has something to do. The settings are those that are wanted."""
    return {
        side: found.sources
        if settings and found and not changed_settings(found.settings, _of_side(side, settings))
        else ""
        for side, found in installed.items()
    }


def _of_side(side: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if side == "litellm" or name in OPENWEBUI}
