# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random stories end with Open WebUI as an independent oracle says it must be.

USER_BRIDGE_STORIES is how many are told for each pair of versions; `make stories` tells many.
"""

from __future__ import annotations

import os

import pytest

from kit.bridge import install_bridge
from kit.pairs import Pair
from kit.story import tell

STORIES = int(os.environ.get("USER_BRIDGE_STORIES", "20"))


@pytest.mark.schemas(litellm="all", openwebui="all")
def test_every_story_ends_as_the_oracle_says(pair: Pair) -> None:
    install_bridge(pair, {"initial_password": "none"})
    tell(pair, STORIES)


def test_with_a_guard_that_holds_nearly_everything_too(pair: Pair) -> None:
    """And with a prefix of accounts' ids that comes and goes: whoever has an account keeps it."""
    install_bridge(pair, {"initial_password": "none", "removal_accounts": 1, "removal_percent": 0})
    tell(pair, STORIES, with_prefixes=True)
