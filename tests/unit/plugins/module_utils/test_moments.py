# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._moments import instant


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, (None, None)),
        ("2026-11-23T08:00:00Z", ("2026-11-23T08:00:00+00:00", None)),
        ("2026-11-23T08:00:00.5+02:00", ("2026-11-23T08:00:00.500000+02:00", None)),
        ("2026-11-23 08:00", ("2026-11-23T08:00:00+00:00", None)),
        ("2026-11-23", ("2026-11-23T00:00:00+00:00", None)),
        ("90s", (None, "90 seconds")),
        ("30m", (None, "30 minutes")),
        ("24h", (None, "24 hours")),
        ("7d", (None, "7 days")),
        ("2w", (None, "2 weeks")),
    ],
)
def test_instant(value: str | None, expected: tuple[str | None, str | None]) -> None:
    assert instant("since", value) == expected


@pytest.mark.parametrize("value", ["", "yesterday", "1x", "-1h", "1h 2m", "2026-13-01", "'; DROP TABLE x"])
def test_instant_refuses_anything_else(value: str) -> None:
    with pytest.raises(BridgeError, match="until: .* is neither a time in ISO 8601"):
        instant("until", value)
