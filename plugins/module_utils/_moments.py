# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Points in time as people write them.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import re
from datetime import datetime, timezone

from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError

NO_MOMENT = "neither a time in ISO 8601 like 2026-11-23T08:00:00Z nor an age like 90s, 30m, 24h, 7d or 2w"
_AGE = re.compile(r"(\d{1,6})([smhdw])\Z")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def instant(option: str, value: str | None) -> tuple[str | None, str | None]:
    """A point in time, or an age that the server is to count back from its own clock."""
    if value is None:
        return None, None
    age = _AGE.match(value)
    if age:
        return None, f"{age.group(1)} {_UNITS[age.group(2)]}"
    try:
        # Python 3.9 and 3.10 do not know the letter Z.
        found = datetime.fromisoformat(re.sub(r"[Zz]\Z", "+00:00", value.strip()))
    except ValueError:
        raise BridgeError(f"{option}: {value!r} is {NO_MOMENT}") from None
    return (found if found.tzinfo else found.replace(tzinfo=timezone.utc)).isoformat(), None
