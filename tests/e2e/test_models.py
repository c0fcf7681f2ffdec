# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which models people see and can ask in the real Open WebUI, at once after the real LiteLLM's HTTP API has changed it.

Open WebUI has one connection to LiteLLM, with one key for all. Which list opens what is proved in SQL; here each kind
of change is made once.
"""

from __future__ import annotations

from typing import Any

import pytest

from e2e import webui_api as api
from e2e.company import MODEL, OTHER_MODEL, Company
from e2e.provider import answer_to
from e2e.site import Person
from e2e.webui_api import Visitor
from kit.drains import drain_on

QUESTION = "Why is the grass green?"
BOTH = {MODEL, OTHER_MODEL}
NOBODYS = {"models": ["no-default-models"]}


@pytest.fixture
def somebody(company: Company) -> tuple[Person, Visitor]:
    """Whom LiteLLM allows nothing, but for teams and keys; with an open window."""
    person = company.hire("Ann Model", **NOBODYS)
    return person, company.site.sign_in(person)


def sees(visitor: Visitor) -> set[str]:
    """Of LiteLLM's models, in the menu; and whoever sees one can ask it, and no other."""
    seen = api.models(visitor) & BOTH
    for model in BOTH:
        answer = api.ask(visitor, model, QUESTION)
        if model in seen:
            assert answer.status == 200, answer
            assert answer.body["choices"][0]["message"]["content"] == answer_to(QUESTION)
        else:
            assert answer.status in (400, 403, 404), answer
    return seen


class TestAtOnce:
    def test_a_personal_list(self, company: Company) -> None:
        """Two people with different lists, as the README of the project before this one promises."""
        ann, bob = company.hire("Ann Model", models=[MODEL]), company.hire("Bob Model", models=[OTHER_MODEL])
        anns, bobs = company.site.sign_in(ann), company.site.sign_in(bob)
        assert (sees(anns), sees(bobs)) == ({MODEL}, {OTHER_MODEL})
        company.litellm.post("/user/update", user_id=ann.user_id, models=[MODEL, OTHER_MODEL])
        assert (sees(anns), sees(bobs)) == (BOTH, {OTHER_MODEL})
        company.litellm.post("/user/update", user_id=ann.user_id, models=[OTHER_MODEL])
        assert sees(anns) == {OTHER_MODEL}

    def test_a_role(self, company: Company) -> None:
        person = company.hire("Ann Model", **NOBODYS)
        # With a promotion the initial password goes, and the sessions that it has opened.
        api.change_password(company.site.sign_in(person), person.email, "a password of their own")
        live = company.site.sign_in(person, "a password of their own")
        assert sees(live) == set()
        company.litellm.post("/user/update", user_id=person.user_id, user_role="proxy_admin")
        assert sees(live) == BOTH
        company.litellm.post("/user/update", user_id=person.user_id, user_role="internal_user")
        assert sees(live) == set()

    def test_a_teams_list(self, company: Company, somebody: tuple[Person, Visitor]) -> None:
        person, live = somebody
        team = company.new_team("Vision", models=[MODEL])
        assert sees(live) == set()
        company.join(team, person)
        assert sees(live) == {MODEL}
        company.litellm.post("/team/update", team_id=team, models=[MODEL, OTHER_MODEL])
        assert sees(live) == BOTH
        company.litellm.post("/team/block", team_id=team)
        assert sees(live) == set()
        company.litellm.post("/team/unblock", team_id=team)
        assert sees(live) == BOTH
        company.litellm.post("/team/member_delete", team_id=team, user_id=person.user_id)
        assert sees(live) == set()

    def test_a_members_scope(self, company: Company, somebody: tuple[Person, Visitor]) -> None:
        if company.site.age == "old":
            pytest.skip("1.77.3 has no scopes")
        person, live = somebody
        colleague = company.hire("Bob Model", **NOBODYS)
        colleagues = company.site.sign_in(colleague)
        team = company.new_team("Vision", models=[MODEL, OTHER_MODEL])
        for each in (person, colleague):
            company.join(team, each)
        assert (sees(live), sees(colleagues)) == (BOTH, BOTH)
        scope = {"team_id": team, "user_id": person.user_id, "allowed_models": [OTHER_MODEL]}
        company.litellm.post("/team/member_update", **scope)
        drain_on(company.site.pair)
        assert (sees(live), sees(colleagues)) == ({OTHER_MODEL}, BOTH)

    def test_a_key(self, company: Company) -> None:
        person = company.hire("Ann Model")
        live = company.site.sign_in(person)
        # Nobody has said anything about this person, and to LiteLLM that means everything.
        assert sees(live) == BOTH
        company.join(company.new_team("Vision", models=["no-default-models"]), person)
        assert sees(live) == set()
        key = company.litellm.post("/key/generate", user_id=person.user_id, models=[MODEL])["key"]
        assert sees(live) == {MODEL}
        company.litellm.post("/key/block", key=key)
        assert sees(live) == set()
        company.litellm.post("/key/unblock", key=key)
        assert sees(live) == {MODEL}
        company.litellm.post("/key/delete", keys=[key])
        assert sees(live) == set()

    def test_a_unified_access_group(self, company: Company, somebody: tuple[Person, Visitor]) -> None:
        if company.site.age == "old":
            pytest.skip("1.77.3 has no such groups")
        person, live = somebody
        made: dict[str, Any] = {"access_group_name": f"Vision of {person.user_id}", "access_model_names": [MODEL]}
        answer = company.litellm.call("POST", "/v1/access_group", made)
        assert answer.status == 201, answer
        group = answer.body["access_group_id"]
        team = company.new_team("Vision", models=["no-default-models"], access_group_ids=[group])
        company.join(team, person)
        drain_on(company.site.pair)
        assert sees(live) == {MODEL}
        changed = {"access_model_names": [MODEL, OTHER_MODEL]}
        assert company.litellm.call("PUT", f"/v1/access_group/{group}", changed).status == 200
        drain_on(company.site.pair)
        assert sees(live) == BOTH


def test_titles_are_made_as_the_person(company: Company, somebody: tuple[Person, Visitor]) -> None:
    """By the model that an administrator has chosen for them: whoever may not use it chats without titles."""
    person, live = somebody
    company.litellm.post("/user/update", user_id=person.user_id, models=[MODEL])
    before = api.change_tasks(company.site.admin, TASK_MODEL_EXTERNAL=OTHER_MODEL, ENABLE_TITLE_GENERATION=True)
    try:
        assert sees(live) == {MODEL}
        assert api.title(live, MODEL, QUESTION).status in (400, 403)
        company.litellm.post("/user/update", user_id=person.user_id, models=[MODEL, OTHER_MODEL])
        answer = api.title(live, MODEL, QUESTION)
        assert (answer.status, answer.body["model"]) == (200, OTHER_MODEL), answer
    finally:
        api.change_tasks(company.site.admin, **before)


def test_a_model_that_comes_and_goes(company: Company) -> None:
    """For whoever has all, or what a pattern or an access group names; and for the admin."""
    everything = company.site.sign_in(company.hire("Ann Model", models=["all-proxy-models"]))
    pattern = company.site.sign_in(company.hire("Bob Model", models=["brand-*"]))
    group = company.site.sign_in(company.hire("Carol Model", models=["brand-group"]))
    nothing = company.site.sign_in(company.hire("Dan Model", models=[MODEL]))
    model_id = company.new_model("brand-new", access_groups=["brand-group"])
    drain_on(company.site.pair)
    company.await_listed("brand-new")
    assert [("brand-new" in api.models(each)) for each in (everything, pattern, group, nothing)] == [True] * 3 + [False]
    assert api.ask(pattern, "brand-new", QUESTION).status == 200
    assert api.ask(nothing, "brand-new", QUESTION).status in (400, 403, 404)
    company.litellm.post("/model/delete", id=model_id)
    assert [each for each in (everything, pattern, group) if api.ask(each, "brand-new", QUESTION).status == 200] == []
