# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What becomes of a row that the upstream SQL scripts have made."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.llmops.user_bridge.plugins.module_utils._takeover import decide

NOW = 1_800_000_000
AROUND = decide.Surroundings(
    now=NOW, own_emails={"own@x.test": "own"}, subjects={}, first_admin_at=NOW - 5000, has_own_admin=True
)
ENTITY = {"type": "user", "id": "u1", "account": "usr_u1", "mapped": True, "subject": None, "made_at": NOW - 1000}
RIGHT: dict[str, Any] = {
    "id": "usr_u1",
    "email": "ann@x.test",
    "none_email": "none+usr_u1@x.test",
    "moved_email": "moved+usr_u1@x.test",
    "role": "user",
    "created_at": NOW - 1000,
    "settings": None,
    "info": "{}",
    "oauth_sub": None,
    "oauth": None,
    "has_token": False,
    "has_key_column": True,
    "has_auth": True,
    "auth_email": "ann@x.test",
    "active": True,
    "has_initial_password": False,
}
BUDGET = dict.fromkeys(("max_budget", "spend", "models", "metadata", "model_spend", "model_max_budget"), 1)


def decided(row: dict[str, Any], around: dict[str, Any] | None = None, **entity: Any) -> dict[str, Any]:
    surroundings = decide.Surroundings(**{**AROUND.__dict__, **(around or {})})
    changed = {**RIGHT, **row}
    changed["lower_email"] = changed["email"] and changed["email"].lower()
    found = decide.decide_account({**ENTITY, **entity}, changed, surroundings)
    return {each.field: each.value for each in found}


@pytest.mark.parametrize(
    "text",
    [
        '{"x": "\\u0000"}',
        '{"\\u0000": 1}',
        '{"x": "\\ud800"}',
        '{"x": 1e999}',
        '{"x": NaN}',
        "[" * 10**6,
        "[1]",
        "1",
        "{",
        "",
    ],
)
def test_a_document_that_could_not_be_written_back_is_none(text: str) -> None:
    assert decide.document_of(text) == {}


def test_a_right_row_is_left_alone() -> None:
    assert decided({}) == {}


@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        ({"email": "Ann@X.test", "auth_email": "Ann@X.test"}, {"email": "ann@x.test", "auth email": "ann@x.test"}),
        ({"auth_email": "Ann@X.test"}, {"auth email": "ann@x.test"}),
        (
            {"email": None, "has_auth": False, "auth_email": None},
            {"email": "none+usr_u1@x.test", "auth id": "none+usr_u1@x.test"},
        ),
        (
            {"email": None, "auth_email": "old@x.test"},
            dict.fromkeys(("email", "auth email"), "none+usr_u1@x.test"),
        ),
        # A sign-in row that is only missing is the next delivery's to write, with an initial password.
        ({"has_auth": False, "auth_email": None}, {}),
        (
            {"email": "OWN@x.test", "auth_email": "OWN@x.test"},
            {
                **dict.fromkeys(("email", "auth email"), "moved+usr_u1@x.test"),
                "role": "pending",
                "auth active": False,
            },
        ),
        ({"has_token": True}, {"api_key": None}),
        ({"has_token": True, "has_key_column": False}, {"api_key api_key": None}),
        ({"has_initial_password": True}, {"password": None}),
        ({"settings": json.dumps(BUDGET)}, {"settings": None}),
        ({"settings": json.dumps({**BUDGET, "ui": {}})}, {"settings": {"ui": {}}}),
        # A person can have one of these names, the scripts write all of them.
        ({"settings": json.dumps({"models": []})}, {}),
        ({"settings": "no json"}, {}),
        ({"settings": "[1]"}, {}),
    ],
)
def test_fields(row: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert decided(row) == wanted


def test_the_only_admins_are_not_locked_out() -> None:
    alone = {"has_own_admin": False}
    assert decided({"role": "admin", "has_initial_password": True}, alone) == {}
    assert decided({"role": "admin", "has_initial_password": True}) == {"password": None}
    both = {"email": "own@x.test", "auth_email": "own@x.test", "role": "admin"}
    assert decided(both, alone).keys() == {"email", "auth email"}
    assert decided(both).keys() == {"email", "auth email", "role", "auth active"}


@pytest.mark.parametrize(
    ("row", "subject", "wanted"),
    [
        ({"oauth_sub": "123"}, "123", {"oauth_sub": "oidc@123"}),
        ({"oauth_sub": "123"}, None, {"oauth_sub": "oidc@123"}),
        ({"oauth_sub": "a@b"}, "a@b", {"oauth_sub": "oidc@a@b"}),
        ({"oauth_sub": "google@9"}, "123", {}),
        ({"oauth": '{"a": {"sub": "b"}}'}, "a@b", {"oauth": {"oidc": {"sub": "a@b"}}}),
        ({"oauth": '{"oidc": {"sub": "123"}}'}, "123", {}),
        ({"oauth": '{"google": {"sub": "9"}}'}, "a@b", {}),
    ],
)
def test_subjects(row: dict[str, Any], subject: str | None, wanted: dict[str, Any]) -> None:
    assert decided(row, subject=subject) == wanted


def test_a_subject_that_another_account_has_is_given_up() -> None:
    assert decided({"oauth_sub": "123"}, {"subjects": {"oidc@123": "own"}}) == {"oauth_sub": None}


@pytest.mark.parametrize(
    ("created_at", "made_at", "wanted"),
    [
        (NOW - 1000, NOW - 1000, None),
        (NOW - 1030, NOW - 1000, None),
        (NOW - 90000, NOW - 1000, NOW - 1000),
        (None, NOW - 1000, NOW - 1000),
        # Made before the first admin signed up.
        (NOW - 90000, NOW - 8000, NOW - 4999),
        (NOW - 5000, NOW - 5000, NOW - 4999),
        # Nobody knows any more when.
        (NOW - 90000, None, NOW),
    ],
)
def test_created_at(created_at: int | None, made_at: int | None, wanted: int | None) -> None:
    found = decided({"created_at": created_at}, made_at=made_at)
    assert found == ({} if wanted is None else {"created_at": wanted})


def test_groups() -> None:
    row = {"id": "grp_o1", "user_id": "", "description": "", "meta": None, "has_user_ids": True}
    assert decide.decide_group(row) == []
    assert decide.decide_group({**row, "has_user_ids": None}) == []
    names = ("budget_id", "metadata", "model_spend", "models", "organization_id", "spend")
    wrong = {"user_id": None, "description": None, "meta": json.dumps(dict.fromkeys((*names, "own"), 1))}
    found = {each.field: each.value for each in decide.decide_group({**row, **wrong, "has_user_ids": False})}
    assert found == {"user_id": "", "description": "", "user_ids": [], "meta": {"own": 1}}


def test_whose_a_row_is() -> None:
    assert decide.is_theirs({"mapped": True, "id": "u1"}, {}, "original_user_id")
    assert decide.is_theirs({"mapped": False, "id": "u1"}, {"original_user_id": "u1"}, "original_user_id")
    assert not decide.is_theirs({"mapped": False, "id": "u1"}, {"original_user_id": "u2"}, "original_user_id")
    assert not decide.is_theirs({"mapped": False, "id": "u1"}, {}, "original_user_id")
