# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whose Open WebUI's database is to be, by what both sides say."""

from __future__ import annotations

import pytest
from ansible_collections.llmops.user_bridge.plugins.module_utils._ownership.decide import decide
from ansible_collections.llmops.user_bridge.plugins.module_utils._ownership.state import (
    Identity,
    Place,
    Source,
    Target,
)

# A server with LiteLLM's database, one beside it, and another server.
HERE, BESIDE, GONE, ELSEWHERE = Place("7", 100), Place("7", 101), Place("7", 99), Place("8", 100)
DATABASES = {100: "litellm", 101: "original"}


def known(place: Place, installation: str = "a", key: str = "k") -> Identity:
    return Identity(installation, place, key)


@pytest.mark.parametrize(
    ("identity", "owner", "action", "keeps_id"),
    [
        (None, None, "taken", False),
        (known(HERE), None, "taken", True),
        (known(ELSEWHERE), None, "taken", False),
        (known(HERE), known(HERE), "unchanged", True),
        (known(HERE), known(HERE, key="other"), "renewed", True),
        (known(HERE), known(ELSEWHERE), "moved", True),
        (known(ELSEWHERE), known(ELSEWHERE), "moved", True),
        (known(ELSEWHERE), known(HERE), "moved", True),
        # The database that it was in has been dropped.
        (known(GONE), known(GONE), "moved", True),
        (known(BESIDE), known(BESIDE), "refused", True),
        # The copy has been made the installation, and its original is deployed again.
        (known(HERE), known(BESIDE), "refused", True),
        (None, known(HERE, "b"), "refused", True),
        (known(HERE), known(HERE, "b"), "refused", True),
        (known(HERE), known(ELSEWHERE, "b"), "refused", True),
    ],
)
def test_without_taking(identity: Identity | None, owner: Identity | None, action: str, keeps_id: bool) -> None:
    decision = decide(Source("litellm", HERE, True, identity, DATABASES), Target("openwebui", True, owner), False)
    assert (decision.action, decision.keeps_id) == (action, keeps_id)
    assert decision.changed is (action not in ("unchanged", "refused"))
    assert bool(decision.reason) is (action != "unchanged")
    assert ("bridge_take_ownership" in decision.reason) is (action == "refused")


@pytest.mark.parametrize(
    ("identity", "owner", "action", "keeps_id"),
    [
        (known(HERE), known(HERE), "unchanged", True),
        (known(ELSEWHERE), known(ELSEWHERE), "moved", True),
        # The original has the same id, and must not be served any longer.
        (known(BESIDE), known(BESIDE), "taken", False),
        (known(HERE), known(BESIDE), "taken", False),
        (None, known(HERE, "b"), "taken", False),
        (known(HERE), known(ELSEWHERE, "b"), "taken", True),
        (known(BESIDE), known(ELSEWHERE, "b"), "taken", False),
    ],
)
def test_with_taking(identity: Identity | None, owner: Identity | None, action: str, keeps_id: bool) -> None:
    decision = decide(Source("litellm", HERE, True, identity, DATABASES), Target("openwebui", True, owner), True)
    assert (decision.action, decision.keeps_id) == (action, keeps_id)


def test_a_refusal_names_both_databases_and_the_owner() -> None:
    source = Source("litellm", HERE, True, known(HERE), DATABASES)
    reason = decide(source, Target("openwebui", True, known(ELSEWHERE, "b")), False).reason
    for text in (
        '"openwebui" (bridge_openwebui_db)',
        '"litellm" (bridge_litellm_db)',
        "b in the database with oid 100",
    ):
        assert text in reason
    reason = decide(source, Target("openwebui", True, known(BESIDE)), False).reason
    assert 'the database "original" of the same server' in reason
