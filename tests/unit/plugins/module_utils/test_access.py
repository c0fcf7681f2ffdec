# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What comes of what a person is shown and served, by what the bridge says."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.llmops.user_bridge.plugins.module_utils._access import litellm, rights, verdicts
from ansible_collections.llmops.user_bridge.plugins.module_utils._access.rights import Check, Model, Outcome, Person
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._http.client import Answer

ANN = Person("usr_ann", "ann@example.com", "user", "secret")
ADMIN = Person("usr_ann", "ann@example.com", "admin", "secret")
MINE, OTHER = Model("mine", "litellm.mine", True), Model("other", "litellm.other", False)
OFF = Model("off", "litellm.off", True, switched_off=True)
KNOWN = [MINE, OFF, OTHER]


def seen(*models: Model) -> frozenset[str]:
    """Beside what is not LiteLLM's."""
    return frozenset(["a preset", *(each.openwebui_id for each in models)])


def status(check: Check) -> str:
    """A failure says what to do: it has more than one part."""
    assert "\n" not in check.message and "secret" not in check.message
    assert check.status != "failed" or any(mark in check.message for mark in (":", ". ")), check.message
    return check.status


def test_a_persons_secrets_are_not_shown() -> None:
    assert "secret" not in repr(ANN)


class TestWhatIsShown:
    def test_as_it_should_be(self) -> None:
        check = verdicts.shown(KNOWN, seen(MINE), ANN)
        assert status(check) == "ok"
        assert "the 1 models that LiteLLM grants, and none of the 1 others; an administrator has" in check.message

    @pytest.mark.parametrize("found", [seen(), seen(MINE, OTHER), seen(OTHER)])
    def test_not_as_it_should_be(self, found: frozenset[str]) -> None:
        check = verdicts.shown(KNOWN, found, ANN)
        assert status(check) == "failed"
        assert ("does not show ann@example.com what LiteLLM grants: mine" in check.message) == (
            MINE.openwebui_id not in found
        )
        assert ("shows ann@example.com what LiteLLM does not grant: other" in check.message) == (
            OTHER.openwebui_id in found
        )

    def test_an_administrator_is_shown_everything(self) -> None:
        assert status(verdicts.shown(KNOWN, seen(MINE, OTHER), ADMIN)) == "ok"
        assert status(verdicts.shown(KNOWN, seen(OTHER), ADMIN)) == "failed"

    def test_many_are_counted(self) -> None:
        many = [Model(f"m{number}", f"m{number}", True, reason="why") for number in range(9)]
        assert "m4 (why) and 4 more" in verdicts.shown(many, seen(), ANN).message


class TestChoosing:
    def test_the_first_of_which_open_webui_shows_what_it_should(self) -> None:
        assert rights.choose(KNOWN, seen(MINE), True, "", "x") == MINE
        assert rights.choose(KNOWN, seen(MINE), False, "", "x") == OTHER
        assert rights.choose(KNOWN, seen(OTHER), True, "", "x") is None
        assert rights.choose(KNOWN, seen(OTHER), False, "", "x") is None

    def test_the_one_that_is_named(self) -> None:
        assert rights.choose(KNOWN, seen(MINE), True, "off", "x") == OFF

    @pytest.mark.parametrize(
        ("name", "granted", "words"),
        [
            ("nowhere", True, "bridge_x: 'nowhere' is no model"),
            ("other", True, "is one that LiteLLM does not grant to this person"),
            ("mine", False, "is one that LiteLLM grants to this person"),
        ],
    )
    def test_one_that_does_not_fit(self, name: str, granted: bool, words: str) -> None:
        with pytest.raises(BridgeError, match=words):
            rights.choose(KNOWN, seen(), granted, name, "bridge_x")

    def test_by_name(self) -> None:
        given = [{"model": name, "openwebui_id": name, "granted": True} for name in ("b", "a")]
        assert [each.name for each in rights.models(given)] == ["a", "b"]


def outcome(kind: str) -> Outcome:
    return Outcome(kind, 200 if kind == "served" else 403)


@pytest.mark.parametrize(
    ("kind", "granted", "refused", "enforced", "not_enforced", "granted_there"),
    [
        ("served", "ok", "failed", "failed", "ok", "ok"),
        ("refused", "failed", "ok", "ok", "ok", "failed"),
        ("limited", "failed", "failed", "ok", "ok", "failed"),
        ("closed", "failed", "failed", "skipped", "skipped", "failed"),
        ("error", "failed", "failed", "failed", "failed", "failed"),
    ],
)
def test_each_outcome(
    kind: str, granted: str, refused: str, enforced: str, not_enforced: str, granted_there: str
) -> None:
    found = outcome(kind)
    assert status(verdicts.granted_chat(MINE, ANN, found)) == granted
    assert status(verdicts.refused_chat(OTHER, ANN, found)) == refused
    assert status(verdicts.enforcement(OTHER, ANN, found, True)) == enforced
    assert status(verdicts.enforcement(OTHER, ANN, found, False)) == not_enforced
    assert status(verdicts.granted_by_litellm(MINE, ANN, found)) == granted_there


def test_who_alone_decides() -> None:
    assert "Open WebUI alone hides it" in verdicts.enforcement(OTHER, ANN, outcome("served"), False).message
    assert "LiteLLM itself refuses other" in verdicts.enforcement(OTHER, ANN, outcome("refused"), False).message


def test_what_cannot_be_tried_is_said() -> None:
    for model in (None, MINE):
        assert status(verdicts.granted_chat(model, ANN, None)) == "skipped"
        assert status(verdicts.refused_chat(model, ANN, None)) == "skipped"
        assert status(verdicts.enforcement(model, ANN, None, True)) == "skipped"
        assert status(verdicts.granted_by_litellm(model, ANN, None)) == "skipped"
    assert "administrator" in verdicts.refused_chat(OTHER, ADMIN, None).message


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(200, {"choices": [{}]}), "served"),
        (Answer(200, {"choices": []}), "error"),
        (Answer(200, None), "error"),
        (Answer(403, {"error": {"type": "customer_model_access_denied"}}), "refused"),
        (Answer(401, {"error": {"type": "key_model_access_denied"}}), "closed"),
        (Answer(429, None), "limited"),
        (Answer(400, {"error": {"type": "budget_exceeded"}}), "limited"),
        (Answer(500, {"error": "text"}), "error"),
        (Answer(401, {"error": {"type": None}}), "error"),
    ],
)
def test_what_litellm_answers(answer: Answer, kind: Any) -> None:
    assert litellm._kind(answer) == kind
