# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The settings in the database, and what differs from them.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import json
from collections.abc import Container
from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import SCHEMA

SETTINGS_NAME = f"{SCHEMA}.settings"


def read_settings(cur: Any, live: Container[tuple[str, str]]) -> dict[str, Any] | None:
    """The stored settings by name, None while there are none. live: what there is, by kind and label."""
    if ("table", SETTINGS_NAME) not in live:
        return None
    stored = _pg.value(cur, f"SELECT to_jsonb(s)::text FROM {SETTINGS_NAME} AS s")
    return dict(json.loads(stored)) if stored else None


def changed_settings(current: dict[str, Any] | None, given: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What differs, as (before, after). A setting that is not stored yet counts as changed."""
    before = current or {}
    return {
        name: (before.get(name), value)
        for name, value in sorted(given.items())
        if name not in before or not _equal(before[name], value)
    }


def _equal(stored: Any, value: Any) -> bool:
    if isinstance(stored, bool) or isinstance(value, bool):
        return stored is value
    return bool(stored == value)
