# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What no trigger has seen is put right by one reconcile(true) and the drains after it, whatever it was."""

from __future__ import annotations

import contextlib
import random
from typing import Any

import psycopg2
import pytest

from kit import model_rows, openwebui, rows
from kit.bridge import before_the_bridge, install_bridge
from kit.drains import drain_all
from kit.oracle import differences
from kit.pairs import Pair, Session

SETTINGS = {"initial_password": "none", "removal_accounts": 1000, "removal_percent": 100}
USERS, TEAMS = [f"u{number}" for number in range(8)], [f"t{number}" for number in range(4)]
ORGANIZATIONS, MODELS, TOKENS = ["o1", "o2", "o3"], ["m1", "m2"], ["k1", "k2", "k3"]


def write(session: Session, chance: random.Random, number: int) -> None:
    """One of LiteLLM's writes. An address is one user's: who had it first is what only a trigger can see."""
    user, team, organization = chance.choice(USERS), chance.choice(TEAMS), chance.choice(ORGANIZATIONS)
    columns: dict[str, list[Any]] = {
        "user_alias": ["Ann", None],
        "user_role": ["proxy_admin", "internal_user"],
        "user_email": [None, f"{user}@example.com", f"{user}x@example.com"],
        "metadata": [{}, {"scim_active": False}],
        "teams": [[], [team], TEAMS],
        "team_id": [None, team],
        "organization_id": [None, organization],
        "models": [[], ["m1"]],
    }
    column = chance.choice(list(columns))
    members = model_rows.members(*chance.sample(USERS, 3))
    token, model = chance.choice(TOKENS), chance.choice(MODELS)
    match chance.choice("aaabbbccccddeffgghhijjkkl"):
        case "a":
            rows.add_user(session, user, f"{user}@example.com")
        case "b":
            rows.add_team(session, team, chance.choice(["Red", None]), members_with_roles=members)
        case "c":
            rows.change_user(session, user, **{column: chance.choice(columns[column])})
        case "d":
            rows.add_organization(session, organization, f"Name {number}")
        case "e":
            rows.delete_user(session, user)
        case "f":
            rows.change_team(session, team, members_with_roles=members, models=chance.choice([[], ["m2"]]))
        case "g":
            rows.change_team(session, team, team_alias=f"Name {number}", organization_id=organization)
        case "h":
            rows.join_organization(session, organization, user)
        case "i":
            chance.choice([rows.delete_team, rows.delete_organization])(session, chance.choice([team, organization]))
        case "j":
            rows.add_key(session, token, user, team_id=team, models=["m1"])
        case "k":
            model_rows.add_model(session, model, model)
        case _:
            rows.delete(session, "LiteLLM_VerificationToken", {"token": token})
            model_rows.delete_model(session, model)


def write_some(session: Session, chance: random.Random) -> None:
    for number in range(60):
        # A key that exists, or one that it refers to and that does not.
        with contextlib.suppress(psycopg2.IntegrityError):
            write(session, chance, number)


MORE = [pytest.param(number, marks=pytest.mark.weekly) for number in range(4, 40)]


@pytest.mark.parametrize("story", [*range(4), *MORE])
def test_one_comparison_puts_everything_right(pair: Pair, story: int) -> None:
    chance = random.Random(story)
    install_bridge(pair, {**SETTINGS, "model_access": story % 2 == 1})
    write_some(pair.litellm, chance)
    drain_all(pair)
    with before_the_bridge(pair):
        write_some(pair.litellm, chance)
    assert pair.litellm_admin.rows("SELECT * FROM user_bridge.reconcile(true)")
    drain_all(pair)
    assert differences(pair) == []
    assert pair.litellm_admin.rows("SELECT * FROM user_bridge.reconcile()") == []


def test_an_emptied_table_is_noticed_by_the_next_drain(pair: Pair) -> None:
    """No row trigger sees a TRUNCATE."""
    install_bridge(pair, SETTINGS)
    rows.add_user(pair.litellm, "u1", "ann@example.com")
    for team in ("t1", "t2"):
        rows.add_team(pair.litellm, team, team, members_with_roles=model_rows.members("u1"))
    drain_all(pair)
    pair.litellm.run('TRUNCATE "LiteLLM_TeamTable" CASCADE')
    rows.add_team(pair.litellm, "t2", "t2", members_with_roles=model_rows.members("u1"))
    drain_all(pair)
    assert differences(pair) == []
    assert set(openwebui.groups(pair)) == {"grp_team_t2"}
