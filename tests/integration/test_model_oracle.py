# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may see which model, by the bridge's rule and by LiteLLM's own functions, in random databases of both versions.

USER_BRIDGE_WORLDS is how many databases there are for each version; `make worlds` takes many.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from conftest import missing
from kit import model_oracle
from kit.common import KitError, pinned_versions
from kit.model_oracle import Judge, Pairs
from kit.pairs import Pair

WORLDS = int(os.environ.get("USER_BRIDGE_WORLDS", "11"))
PEOPLE = 100
WAYS = {
    "effective": ("role", "team", "user", "key"),
    "teams": ("role", "team"),
    "user": ("role", "user"),
    "keys": ("role", "key"),
}


@pytest.fixture
def litellm(schema_versions: tuple[str, str]) -> Iterator[Judge]:
    """Its own functions, of the version whose tables the database has."""
    age = "old" if schema_versions[0] == pinned_versions("litellm")[0] else "new"
    try:
        with model_oracle.judge(age) as judge:
            yield judge
    except KitError as error:
        missing(str(error))


@pytest.mark.schemas(litellm="all")
def test_the_rule_is_litellms(quick: Pair, litellm: Judge) -> None:
    columns = model_oracle.columns(quick)
    for number in range(WORLDS):
        world = model_oracle.fitting(model_oracle.world(number, PEOPLE), columns)
        ways = litellm.ways(world)
        with model_oracle.written(quick, world) as session:
            assert model_oracle.catalogue(session) == world.names, number
            for policy, of in WAYS.items():
                expect(model_oracle.visible(session, world, policy), model_oracle.pairs(ways, *of), (number, policy))
            seen = model_oracle.visible(session, world, "assigned")
        expect(seen, model_oracle.assigned(world, ways), (number, "assigned"))
        assert seen <= model_oracle.pairs(ways, *WAYS["effective"])


def expect(seen: Pairs, right: Pairs, case: tuple[int, str]) -> None:
    """Both differences, and whose they are: what is too much is what must never be."""
    assert (case, sorted(seen - right), sorted(right - seen)) == (case, [], [])
