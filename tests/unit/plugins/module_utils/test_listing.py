# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.llmops.user_bridge.plugins.module_utils import _listing
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError

LISTING = _listing.Listing("t", "r.id", {"ids": "r.id = ANY (%(ids)s)", "text": "strpos(r.x, %(text)s) > 0"})


def test_where_takes_what_is_given() -> None:
    assert _listing.where(LISTING, {"ids": None, "text": None}) == "true"
    assert _listing.where(LISTING, {"ids": [], "text": None}) == "(r.id = ANY (%(ids)s))"
    assert _listing.where(LISTING, {"ids": ["a"], "text": ""}) == (
        "(r.id = ANY (%(ids)s)) AND (strpos(r.x, %(text)s) > 0)"
    )


@pytest.mark.parametrize("limit", [0, -1, 10001])
def test_limit(limit: int) -> None:
    with pytest.raises(BridgeError, match="limit must be between 1 and 10000"):
        _listing.check({"limit": limit})
