# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people and admins get from Open WebUI over HTTP, when something changes in LiteLLM."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from e2e import webui_api as api
from e2e.provider import answer_to
from e2e.site import MODEL, TEAM_MODEL, Person, Site, organization_group, team_group
from kit import litellm
from kit.drains import drain_on

QUESTION = "Why is the sky blue?"


@pytest.fixture(autouse=True)
def admin_pages_still_work(site: Site) -> Iterator[None]:
    """One bad row takes down a page for everybody, so whatever a test did, the pages must come up after it."""
    yield
    site.look()


class TestSignIn:
    def test_behind_single_sign_on(self, site: Site) -> None:
        """As the identity provider spells the email."""
        person = site.hire()
        visitor = site.try_sso(person.email.title())
        assert visitor is not None and visitor.id == person.account_id
        assert api.is_let_in(visitor) and not api.is_admin(visitor)

    def test_an_email_that_was_typed_in_capitals(self, site: Site) -> None:
        person = site.invent()
        litellm.new_user(site.pair.litellm, person.user_id, person.email.upper(), person.name)
        assert site.sign_in(person).id == person.account_id
        by_header = site.try_sso(person.email)
        assert by_header is not None and by_header.id == person.account_id

    def test_an_admins_initial_password_is_not_the_email(self, site: Site) -> None:
        person = site.hire(role="proxy_admin")
        assert site.try_password(person.email, person.email) is None
        by_header = site.try_sso(person.email)
        assert by_header is not None and api.is_admin(by_header)


class TestTheNextRequestOfALiveSession:
    def test_a_deleted_user_gets_nothing_by_single_sign_on(self, site: Site) -> None:
        """Open WebUI makes an account for whom it does not know, or refuses; the account is one without rights."""
        person = site.hire()
        litellm.delete_user(site.pair.litellm, person.user_id)
        stranger = site.try_sso(person.email)
        assert stranger is None or not api.is_let_in(stranger)
        litellm.new_user(site.pair.litellm, person.user_id, person.email, person.name)
        visitor = site.try_sso(person.email)
        assert visitor is not None and api.is_let_in(visitor)

    def test_a_model_that_is_for_one_team(self, site: Site) -> None:
        """An admin offers it to the team's group in Open WebUI; who is in there is LiteLLM's business."""
        person, team = site.hire(), site.new_team("Vision")
        api.offer_model(site.admin, TEAM_MODEL, group_id=team_group(team))
        live = site.sign_in(person)
        assert TEAM_MODEL not in api.models(live)
        litellm.add_team_member(site.pair.litellm, team, person.user_id)
        assert TEAM_MODEL in api.models(live)
        api.chat(live, TEAM_MODEL, QUESTION)
        litellm.delete_team_member(site.pair.litellm, team, person.user_id)
        refused = {"model": TEAM_MODEL, "messages": [{"role": "user", "content": QUESTION}]}
        assert live.post("/api/chat/completions", refused).status in (400, 403)
        assert TEAM_MODEL not in api.models(live)


class TestAdminPages:
    def test_name_role_and_memberships(self, site: Site) -> None:
        organization = site.new_organization("Acme Research")
        team = site.new_team("Language", organization)
        alan, katherine = site.hire("Alan Turing"), site.hire("Katherine Johnson", role="proxy_admin")
        litellm.add_organization_member(site.pair.litellm, organization, alan.user_id)
        for person in (alan, katherine):
            litellm.add_team_member(site.pair.litellm, team, person.user_id)
        users, groups = site.look()
        assert (users[alan.email]["name"], users[alan.email]["role"]) == ("Language-Alan Turing", "user")
        assert (users[katherine.email]["name"], users[katherine.email]["role"]) == (
            "Language-Katherine Johnson",
            "admin",
        )
        of_team, of_organization = team_group(team), organization_group(organization)
        assert groups[of_team]["name"] == "Language" and groups[of_organization]["name"] == "Acme Research"
        if "parent_group_id" in groups[of_team]:
            assert groups[of_team]["parent_group_id"] == of_organization
        assert api.members(site.admin, of_team) == sorted([alan.account_id, katherine.account_id])
        assert api.members(site.admin, of_organization) == [alan.account_id]
        assert _groups_of(site, alan) == {of_team, of_organization}
        assert _groups_of(site, katherine) == {of_team}
        seen = site.sign_in(alan)
        assert {row["id"] for row in seen.ok(seen.get("/api/v1/groups/"))} == {of_team, of_organization}

    def test_who_leaves_and_what_goes(self, site: Site) -> None:
        organization = site.new_organization("Acme")
        team = site.new_team("Vision", organization)
        gone, moved = site.hire(), site.hire()
        for person in (gone, moved):
            litellm.add_organization_member(site.pair.litellm, organization, person.user_id)
            litellm.add_team_member(site.pair.litellm, team, person.user_id)
        litellm.delete_user(site.pair.litellm, gone.user_id)
        litellm.delete_team_member(site.pair.litellm, team, moved.user_id)
        assert gone.email not in site.look()[0]
        assert api.members(site.admin, organization_group(organization)) == [moved.account_id]
        assert api.members(site.admin, team_group(team)) == []
        litellm.delete_organization(site.pair.litellm, organization)
        assert not {organization_group(organization), team_group(team)} & set(site.look()[1])

    def test_the_other_pages_that_read_these_rows(self, site: Site) -> None:
        person = site.hire()
        for path in ("users/all", f"users/search?query={person.user_id}", f"users/{person.account_id}"):
            assert person.name in str(site.admin.ok(site.admin.get(f"/api/v1/{path}"))), path
        # What a pending person is shown: the oldest account, which must never become a synced one.
        contact = site.admin.ok(site.admin.get("/api/v1/auths/admin/details"))
        assert contact["email"] == site.pair.admin.email


Sync = Callable[[Site, Person], None]


def _in_and_out_of_a_team(site: Site, person: Person) -> None:
    team = site.new_team("Vision")
    litellm.add_team_member(site.pair.litellm, team, person.user_id)
    litellm.update_team(site.pair.litellm, team, team_alias="Perception")
    litellm.delete_team_member(site.pair.litellm, team, person.user_id)


def _in_and_out_of_an_organization(site: Site, person: Person) -> None:
    organization = site.new_organization("Acme")
    litellm.add_organization_member(site.pair.litellm, organization, person.user_id)
    litellm.delete_organization_member(site.pair.litellm, organization, person.user_id)


def _admin_and_back(site: Site, person: Person) -> None:
    for role in ("proxy_admin", "internal_user"):
        litellm.update_user(site.pair.litellm, person.user_id, user_role=role)


def _off_and_on(site: Site, person: Person) -> None:
    site.disable(person)
    site.enable(person)


def _another_email_and_back(site: Site, person: Person) -> None:
    for email in (site.invent().email, person.email):
        litellm.update_user(site.pair.litellm, person.user_id, user_email=email)


def _another_name(site: Site, person: Person) -> None:
    litellm.update_user(site.pair.litellm, person.user_id, user_alias="Somebody Else")


def _spend(site: Site, person: Person) -> None:
    litellm.flush_spend(site.pair.litellm, {person.user_id: 0.25})


def _migration(site: Site, person: Person) -> None:
    site.pair.litellm_admin.run("SELECT * FROM user_bridge.migrate_existing_users()")
    drain_on(site.pair)


def _drain_of_everything(site: Site, person: Person) -> None:
    site.pair.litellm_admin.run("SELECT user_bridge.enqueue_everything()")
    drain_on(site.pair)


def _repair(site: Site, person: Person) -> None:
    site.pair.litellm_admin.run("SELECT * FROM user_bridge.reconcile(true)")
    drain_on(site.pair)


SYNCS: list[Sync] = [
    _another_name,
    _in_and_out_of_a_team,
    _in_and_out_of_an_organization,
    _admin_and_back,
    _another_email_and_back,
    _off_and_on,
    _spend,
    _migration,
    _drain_of_everything,
    _repair,
]


class TestWhatIsThePersons:
    def test_settings_chats_and_password_survive_every_sync(self, site: Site, tmp_path: Path) -> None:
        person = site.hire()
        live = site.sign_in(person)
        api.change_password(live, person.email, "a password of their own")
        live = site.sign_in(person, "a password of their own")
        api.save_settings(live, theme="dark", fontSize=17)
        chat = api.chat(live, MODEL, QUESTION)
        for sync in [*SYNCS, lambda site, _: site.deploy(tmp_path)]:
            sync(site, person)
            live = site.sign_in(person, "a password of their own")
            assert live.id == person.account_id, sync
            assert api.settings(live) == {"theme": "dark", "fontSize": 17}, sync
            assert api.chats(live) == {chat: answer_to(QUESTION)}, sync

    def test_an_adopted_account_keeps_its_password_and_chats(self, site: Site) -> None:
        person = site.invent()
        account = site.add_account(person, "a password of their own", before_the_bridge=True)
        live = site.sign_in(person, "a password of their own")
        api.save_settings(live, theme="dark")
        chat = api.chat(live, MODEL, QUESTION)
        litellm.new_user(site.pair.litellm, person.user_id, person.email.upper(), person.name, "proxy_admin")
        assert api.is_admin(live)
        live = site.sign_in(person, "a password of their own")
        assert (live.id, api.settings(live), set(api.chats(live))) == (account, {"theme": "dark"}, {chat})
        row = site.look()[0][person.email]
        assert (row["id"], row["name"], row["role"]) == (account, person.name, "admin")
        # Not ours to delete: when LiteLLM's user goes, the account is only switched off.
        litellm.delete_user(site.pair.litellm, person.user_id)
        assert not api.is_let_in(live)
        assert site.try_password(person.email, "a password of their own") is None
        row = site.look()[0].get(person.email, {})
        assert (row.get("id"), row.get("role")) == (account, "pending")
        litellm.new_user(site.pair.litellm, person.user_id, person.email, person.name)
        live = site.sign_in(person, "a password of their own")
        assert (live.id, set(api.chats(live))) == (account, {chat})

    def test_an_account_made_later_is_the_persons_without_its_password(self, site: Site) -> None:
        """Nothing proves that whoever knows it has the address."""
        person = site.invent()
        account = site.add_account(person, "a password of a stranger's")
        live = site.sign_in(person, "a password of a stranger's")
        litellm.new_user(site.pair.litellm, person.user_id, person.email, person.name, "proxy_admin")
        assert site.try_password(person.email, "a password of a stranger's") is None
        assert site.try_password(person.email, person.email) is None
        if site.can_end_sessions:
            assert not api.is_let_in(live)
        visitor = site.try_sso(person.email)
        assert visitor is not None and visitor.id == account
        # Where the stranger's session lives on, the account becomes an admin's when somebody approves.
        assert api.is_admin(visitor) == site.can_end_sessions and not api.is_admin(live)

    def test_who_is_deleted_and_comes_back_finds_the_chats_again(self, site: Site) -> None:
        person = site.hire()
        chat = api.chat(site.sign_in(person), MODEL, QUESTION)
        litellm.delete_user(site.pair.litellm, person.user_id)
        assert site.try_password(person.email, person.email) is None
        litellm.new_user(site.pair.litellm, person.user_id, person.email, person.name)
        assert api.chats(site.sign_in(person)) == {chat: answer_to(QUESTION)}

    def test_the_provider_learns_who_asks(self, site: Site) -> None:
        """By these headers LiteLLM can book what a person spends on the connection that all share."""
        person = site.hire()
        api.chat(site.sign_in(person), MODEL, QUESTION)
        headers = {name.lower(): value for name, value in site.provider.asked[-1].items()}
        assert headers["x-openwebui-user-id"] == person.account_id
        assert headers["x-openwebui-user-email"] == person.email
        assert headers["x-openwebui-user-role"] == "user"


def _groups_of(site: Site, person: Person) -> set[str]:
    """As the admin's page of this person shows them, without those for models, which the drainer fills."""
    shown = {row["id"] for row in site.admin.ok(site.admin.get(f"/api/v1/users/{person.account_id}/groups"))}
    return {group_id for group_id in shown if not group_id.startswith("grp_models_")}
