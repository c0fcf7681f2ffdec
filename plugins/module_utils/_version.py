# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compares the collection's version numbers.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError

_SEMVER = re.compile(r"(\d+)\.(\d+)\.(\d+)(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?\Z")


def version_key(version: str) -> tuple[Any, ...]:
    """A key that sorts as semantic versioning does: a pre-release comes before its release."""
    match = _SEMVER.match(version)
    if match is None:
        raise BridgeError(f"version: {version!r} is not a version number like 1.2.3")
    release = tuple(int(part) for part in match.groups()[:3])
    if match.group(4) is None:
        return release, (1,)
    # Semantic Versioning: numeric identifiers compare as numbers and are lower than others.
    parts = tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in match.group(4).split("."))
    return release, (0, parts)


def is_newer(version: str, than: str) -> bool:
    """Compare two versions; one that is none is an error."""
    return version_key(version) > version_key(than)
