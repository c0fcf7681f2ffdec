# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Numbers in words.

This plugin_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import math

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"), (0.001, "ms"))


def unit(seconds: float) -> tuple[float, str]:
    """The largest unit that it has one of, as its length and name."""
    return next((each for each in _UNITS if seconds >= each[0]), _UNITS[-1])


def duration(seconds: float) -> str:
    length, name = unit(seconds)
    return f"{seconds / length:.3g} {name}"


def instant(text: str) -> str:
    """A time in ISO 8601 to the second, without the letters."""
    return text.replace("T", " ").replace("Z", "").partition(".")[0]


def share(part: int, whole: int) -> str:
    """In percent, never rounded up: 100 % is all."""
    return f"{math.floor(part * 1000 / whole) / 10:g} %" if whole else "-"
