# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Open WebUI and LiteLLM are upgraded under the live bridge, without a redeploy."""

from __future__ import annotations

import pytest

from kit import rows
from kit.background import Background
from kit.bridge import install_bridge
from kit.drains import drain_all
from kit.oracle import differences
from kit.pairs import Pair, Session
from kit.schemas import apply_litellm, migrate_openwebui
from kit.story import Stage, tell

# The alembic head of each Open WebUI release that changed the schema, 0.6.30's excluded (facts of its own releases).
HEADS = {
    "0.6.32": "a5c220713937",
    "0.6.37": "37f288994c47",
    "0.6.41": "3e0e00844bb0",
    "0.6.42": "c440947495f3",
    "0.8.0": "a1b2c3d4e5f6",
    "0.8.1": "b2c3d4e5f6a7",
    "0.9.0": "56359461a091",
    "0.9.3": "a0b1c2d3e4f5",
    "0.9.6": "461111b60977",
    "0.10.0": "42e2978c7933",
    "0.11.0": "f0bd01a18a3d",
    "0.11.1": "d4c1a8e37b62",
    "0.12.0": "b8f2c6d91a04",
    "0.12.1": "0bd252b206fb",
}


def writing(session: Session) -> Background:
    """LiteLLM goes on creating, moving and deleting users; every write must succeed."""

    def write(number: int) -> None:
        rows.add_user(session, f"w{number}", f"w{number}@example.com", user_alias=f"W{number}")
        rows.join_organization(session, "o1", f"w{number}")
        if number % 3 == 0:
            rows.change_user(session, f"w{number}", user_role="proxy_admin", teams=["t1"])
        if number % 5 == 0:
            rows.delete_user(session, f"w{number}")

    return Background(write, pause=0.02)


def assert_plain(pair: Pair) -> None:
    """No proof takes what Open WebUI's own migrations leave in its tables for somebody's code."""
    pair.openwebui_admin.run("SELECT user_bridge.prove_target()")


@pytest.mark.schemas(openwebui="0.6.30")
@pytest.mark.parametrize(
    "releases",
    [
        pytest.param(["0.12.1"], id="at once"),
        pytest.param(list(HEADS), id="release by release", marks=pytest.mark.weekly),
    ],
)
def test_open_webui_is_upgraded(pair: Pair, releases: list[str]) -> None:
    """Also the check of every column set in between: random stories are told on each."""
    install_bridge(pair, {"initial_password": "none", "removal_accounts": 1000})
    rows.add_organization(pair.litellm, "o1", "Research")
    rows.add_team(pair.litellm, "t1", "Rockets", organization_id="o1")
    assert differences(pair) == []
    for release in releases:
        with writing(pair.connect("litellm")) as writer:
            writer.await_steps(5)
            migrate_openwebui(pair.login("openwebui"), "new", revision=HEADS[release])
            writer.await_steps(5)
        drain_all(pair)
        # Parents appear with 0.12.0's column: for what is there already, with its next delivery.
        assert_plain(pair)
        if release in {"0.12.0", releases[0]}:
            pair.litellm_admin.run("SELECT user_bridge.enqueue_everything()")
            drain_all(pair)
        assert differences(pair) == [], release
        _clear(pair)
        tell(pair, 15, shorten=False)
        _clear(pair)
        rows.add_organization(pair.litellm, "o1", "Research")
        rows.add_team(pair.litellm, "t1", "Rockets", organization_id="o1")


def _clear(pair: Pair) -> None:
    stage = Stage(pair)
    stage.clear()
    stage.close()
    assert differences(pair) == []


@pytest.mark.schemas(litellm="old")
def test_litellm_is_upgraded(pair: Pair) -> None:
    install_bridge(pair, {"initial_password": "none", "removal_accounts": 1000})
    rows.add_organization(pair.litellm, "o1", "Research")
    rows.add_team(pair.litellm, "t1", "Rockets", organization_id="o1")
    rows.add_user(pair.litellm, "u1", "ann@example.com", user_alias="Ann")
    with writing(pair.connect("litellm")) as writer:
        # Another session than the writer's: Prisma's.
        writer.await_steps(1)
        applied = apply_litellm(pair.connect("litellm").raw, "new", after="old")
        writer.await_steps(1)
    assert len(applied) > 100
    drain_all(pair)
    assert differences(pair) == []
    assert pair.litellm_admin.value("SELECT last_value FROM user_bridge.trigger_faults") == 1
    tell(pair, 15, shorten=False)
