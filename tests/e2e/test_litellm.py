# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What administrators do with the real LiteLLM's HTTP API, and what Open WebUI then shows to the person and the admin.

The calls are those of the README of the project that this one takes over from, and those that undo them.
"""

from __future__ import annotations

import time

import pytest

from e2e import webui_api as api
from e2e.company import MODEL, OTHER_MODEL, Company
from e2e.provider import answer_to
from e2e.site import organization_group, team_group
from kit.drains import drain_all

QUESTION = "Hello, how are you?"
SPEND_SECONDS = 60


@pytest.fixture(scope="module")
def spender(company: Company) -> str:
    """The key of somebody who has chatted; LiteLLM books it some seconds later."""
    key = str(company.litellm.post("/key/generate", user_id=company.hire("Big Spender").user_id)["key"])
    answer = company.litellm.chat(key, MODEL, QUESTION)
    assert answer.body["choices"][0]["message"]["content"] == answer_to(QUESTION), answer
    return key


@pytest.mark.usefixtures("spender")
class TestModels:
    def test_they_are_listed_and_healthy(self, company: Company) -> None:
        assert {MODEL, OTHER_MODEL} <= company.litellm.models()
        health = company.litellm.get("/health")
        # It goes on for some seconds with what another test has deleted.
        assert {f"openai/{model}" for model in (MODEL, OTHER_MODEL)} <= {
            each["model"] for each in health["healthy_endpoints"]
        }
        assert health["unhealthy_count"] == 0


class TestOrganizations:
    def test_an_organization_with_a_team(self, company: Company) -> None:
        if not company.organizations_are_free:
            answer = company.litellm.call("POST", "/organization/new", {"organization_alias": "Tech Company"})
            assert answer.status in (401, 403) and "nterprise" in str(answer.body)
            assert "Tech Company" not in company.groups().values()
            return
        organization = company.new_organization("Tech Company")
        team = company.new_team("AI Development Team", organization_id=organization, models=[MODEL])
        person = company.hire("John Doe", team_id=team, models=[MODEL])
        member = {"role": "internal_user", "user_id": person.user_id}
        company.litellm.post("/organization/member_add", organization_id=organization, member=member)
        groups = company.groups()
        assert groups[organization_group(organization)] == "Tech Company"
        assert groups[team_group(team)] == "AI Development Team"
        assert company.members(organization_group(organization)) == [person.account_id]
        changed = {"organization_id": organization, "organization_alias": "Tech Holding"}
        assert company.litellm.call("PATCH", "/organization/update", changed).status == 200
        assert company.groups()[organization_group(organization)] == "Tech Holding"
        left = {"organization_id": organization, "user_id": person.user_id}
        assert company.litellm.call("DELETE", "/organization/member_delete", left).status == 200
        assert company.members(organization_group(organization)) == []
        deleted = {"organization_ids": [organization]}
        assert company.litellm.call("DELETE", "/organization/delete", deleted).status == 200
        assert not {organization_group(organization), team_group(team)} & set(company.groups())
        assert company.site.sign_in(person).id == person.account_id


class TestTeams:
    def test_joining_and_leaving(self, company: Company) -> None:
        team = company.new_team("QA Team", models=[MODEL])
        person = company.hire("Charlie")
        live = company.site.sign_in(person)
        assert company.groups()[team_group(team)] == "QA Team" and company.members(team_group(team)) == []
        company.join(team, person)
        assert company.members(team_group(team)) == [person.account_id]
        assert company.row(person)["name"] == "QA Team-Charlie"
        assert [row["id"] for row in live.ok(live.get("/api/v1/groups/"))] == [team_group(team)]
        company.litellm.post("/team/member_delete", team_id=team, user_id=person.user_id)
        assert company.members(team_group(team)) == []
        assert company.row(person)["name"] == "Charlie"
        # Whoever is in no team is in a group for all models, as LiteLLM has it.
        assert team_group(team) not in [row["id"] for row in live.ok(live.get("/api/v1/groups/"))]

    def test_new_models_a_new_name_and_the_end(self, company: Company) -> None:
        team = company.new_team("Dev Team", models=[MODEL])
        person = company.hire("Bob", team_id=team)
        company.litellm.post("/team/update", team_id=team, models=[MODEL, OTHER_MODEL])
        company.litellm.post("/team/update", team_id=team, team_alias="Development")
        assert company.groups()[team_group(team)] == "Development"
        assert company.row(person)["name"] == "Development-Bob"
        assert company.members(team_group(team)) == [person.account_id]
        company.litellm.post("/team/delete", team_ids=[team])
        assert team_group(team) not in company.groups()
        assert company.row(person)["name"] == "Bob"


class TestUsers:
    def test_a_new_user(self, company: Company) -> None:
        team = company.new_team("AI Development Team", models=[MODEL])
        person = company.hire("John Doe", team_id=team, models=[MODEL])
        row = company.row(person)
        assert (row["id"], row["name"], row["role"]) == (person.account_id, "AI Development Team-John Doe", "user")
        assert company.members(team_group(team)) == [person.account_id]
        live = company.site.sign_in(person)
        me = live.ok(live.get("/api/v1/auths/"))
        assert (me["name"], me["email"], me["role"]) == ("AI Development Team-John Doe", person.email, "user")
        assert company.site.try_password(person.email.upper(), person.email) is not None
        assert company.site.try_password(person.email, "a guess") is None
        known = company.litellm.get(f"/user/info?user_id={person.user_id}")
        assert known["user_info"]["user_email"] == person.email

    def test_more_models_and_another_role(self, company: Company) -> None:
        person = company.hire("John Doe", models=[MODEL])
        # With a promotion the initial password goes, and the sessions that it has opened.
        api.change_password(company.site.sign_in(person), person.email, "a password of their own")
        live = company.site.sign_in(person, "a password of their own")
        company.litellm.post("/user/update", user_id=person.user_id, models=[MODEL, OTHER_MODEL])
        assert api.is_let_in(live) and not api.is_admin(live)
        company.litellm.post("/user/update", user_id=person.user_id, user_role="proxy_admin")
        assert api.is_admin(live) and company.row(person)["role"] == "admin"
        company.litellm.post("/user/update", user_id=person.user_id, user_role="proxy_admin_viewer")
        assert api.is_let_in(live) and not api.is_admin(live)

    def test_a_new_name_and_email(self, company: Company) -> None:
        person, other = company.hire("Jane Smith"), company.site.invent("Jane Doe")
        company.litellm.post(
            "/user/update", user_id=person.user_id, user_alias="Jane Doe", user_email=other.email.title()
        )
        row = company.row(other)
        # 1.77.3 takes a new alias, and forgets it.
        name = company.litellm.get(f"/user/info?user_id={person.user_id}")["user_info"]["user_alias"]
        assert name == "Jane Doe" or company.site.age == "old"
        assert (row["id"], row["name"]) == (person.account_id, name)
        assert company.site.try_password(person.email, person.email) is None
        assert company.site.try_password(other.email, person.email) is not None

    def test_who_is_switched_off_and_on_again(self, company: Company) -> None:
        """What an identity provider does over SCIM, which is a matter of the enterprise licence."""
        person = company.hire("Jane Smith")
        live = company.site.sign_in(person)
        company.litellm.post("/user/update", user_id=person.user_id, metadata={"scim_active": False})
        assert not api.is_let_in(live) and company.row(person)["role"] == "pending"
        assert company.site.try_password(person.email, person.email) is None
        assert company.site.try_sso(person.email) is None
        company.litellm.post("/user/update", user_id=person.user_id, metadata={"scim_active": True})
        # Before 0.12.0 only the role kept the session out.
        assert api.is_let_in(live) == (not company.site.can_end_sessions)
        assert api.is_let_in(company.site.sign_in(person))

    def test_who_is_deleted(self, company: Company) -> None:
        team = company.new_team("QA Team")
        person = company.hire("Jane Smith", team_id=team)
        live = company.site.sign_in(person)
        company.litellm.post("/user/delete", user_ids=[person.user_id])
        assert not api.is_let_in(live)
        assert company.site.try_password(person.email, person.email) is None
        assert person.email not in company.site.look()[0] and company.members(team_group(team)) == []
        assert company.keys(person) == {}


class TestKeys:
    def test_a_key_and_its_end(self, company: Company) -> None:
        person = company.hire("John Doe", auto_create_key=False)
        assert company.keys(person) == {}
        alias = f"{person.user_id}_key"
        made = company.litellm.post(
            "/key/generate", user_id=person.user_id, key_alias=alias, models=[MODEL], duration=None
        )
        assert company.keys(person) == {alias: [MODEL]}
        assert company.litellm.models(made["key"]) == {MODEL}
        assert company.litellm.chat(made["key"], MODEL, QUESTION).status == 200
        assert company.litellm.chat(made["key"], OTHER_MODEL, QUESTION).status in (401, 403)
        company.litellm.post("/key/update", key=made["key"], models=[MODEL, OTHER_MODEL])
        assert company.keys(person) == {alias: [MODEL, OTHER_MODEL]}
        company.litellm.post("/key/delete", keys=[made["key"]])
        assert company.keys(person) == {}

    def test_a_limited_key(self, company: Company) -> None:
        person = company.hire("Jane Smith", auto_create_key=False)
        alias = f"{person.user_id}_limited"
        made = company.litellm.post(
            "/key/generate",
            **{"user_id": person.user_id, "key_alias": alias, "models": [OTHER_MODEL]},
            **{"max_budget": 100.0, "duration": "30d", "rpm_limit": 10},
        )
        assert company.keys(person) == {alias: [OTHER_MODEL]}
        company.litellm.post("/key/block", key=made["key"])
        assert company.keys(person) == {}
        company.litellm.post("/key/unblock", key=made["key"])
        assert company.keys(person) == {alias: [OTHER_MODEL]}

    def test_no_key_opens_open_webui(self, company: Company) -> None:
        """What the bridge knows of a key is its hash, and neither that nor the key is a way in."""
        person = company.hire("John Doe", auto_create_key=False)
        key = company.litellm.post("/key/generate", user_id=person.user_id)["key"]
        for secret in (key, company.litellm.get(f"/key/info?key={key}")["key"]):
            answer = api.call(
                "GET", f"{company.site.server.url}/api/models", headers={"Authorization": f"Bearer {secret}"}
            )
            assert answer.status in (401, 403), answer


def test_the_script_that_makes_many(company: Company) -> None:
    people = []
    for name in ("alice", "bob", "charlie"):
        person = company.hire(name, models=[MODEL])
        company.litellm.post("/key/generate", user_id=person.user_id, key_alias=f"{person.user_id}_key", models=[MODEL])
        people.append(person)
    users = company.site.look()[0]
    assert [users[each.email]["name"] for each in people] == ["alice", "bob", "charlie"]
    for person in people:
        live = company.site.sign_in(person)
        assert live.id == person.account_id
        assert api.models(live) & {MODEL, OTHER_MODEL} == {MODEL}
        # That of /user/new and the script's own.
        assert company.keys(person) == {None: [MODEL], f"{person.user_id}_key": [MODEL]}


def test_what_is_spent_is_booked(company: Company, spender: str) -> None:
    """Although the bridge's triggers are on the tables that LiteLLM books in."""
    deadline = time.monotonic() + SPEND_SECONDS
    while (spend := company.litellm.get(f"/key/info?key={spender}")["info"]["spend"]) == 0:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert spend == pytest.approx(0.002)
    owner = company.litellm.get(f"/key/info?key={spender}")["info"]["user_id"]
    assert owner in {row["user_id"] for row in company.litellm.get("/spend/users")}


def test_nothing_is_left_to_deliver_and_nothing_differs(company: Company) -> None:
    """Whatever LiteLLM has written in the meantime, by itself, too."""
    bridge = company.site.pair.litellm_admin
    # Of somebody new the rights on models wait for the drainer.
    drain_all(company.site.pair)
    assert bridge.rows("SELECT * FROM user_bridge.reconcile(false)") == []
