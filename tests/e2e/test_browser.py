# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person sees. The pictures stay in .cache/e2e/VERSION; `make screenshots` makes the README's of them."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, expect

from e2e import browser as browsers
from e2e.company import MODEL, OTHER_MODEL, Company
from e2e.provider import answer_to
from e2e.site import Person, Site
from kit import litellm

# The oldest serves the same people over HTTP in test_people.py.
BOTH = pytest.mark.parametrize("site", ["new", pytest.param("old", marks=pytest.mark.weekly)], indirect=True)
QUESTION = "Why is the sea salty?"
GRACE = Person("grace", "grace@acme.example", "Grace Hopper")
KATHERINE = Person("katherine", "katherine@acme.example", "Katherine Johnson")
ALAN = Person("alan", "alan@acme.example", "Alan Turing")


@pytest.fixture(scope="module")
def acme(site: Site) -> Site:
    """People whose names are in no other test; the first page of users shows thirty."""
    organization = site.new_organization("Acme Research")
    robotics, languages = site.new_team("Robotics", organization), site.new_team("Languages", organization)
    for person, team, role in (
        (GRACE, robotics, "internal_user"),
        (KATHERINE, robotics, "proxy_admin"),
        (ALAN, languages, "internal_user"),
    ):
        site.hire(person, role)
        litellm.add_organization_member(site.pair.litellm, organization, person.user_id)
        litellm.add_team_member(site.pair.litellm, team, person.user_id)
    return site


@BOTH
def test_a_synced_user_signs_in_and_chats(acme: Site, browser: Browser) -> None:
    with browsers.window(browser, acme.server) as page:
        browsers.sign_in(page, GRACE.email, GRACE.email)
        browsers.ask(page, QUESTION, answer_to(QUESTION))
        expect(page.get_by_text("Robotics-Grace Hopper").first).to_be_visible()
        browsers.take_picture(page, acme.output / "chat.png")


@BOTH
def test_the_admin_sees_users_and_groups(acme: Site, browser: Browser) -> None:
    admin = acme.pair.admin
    with browsers.window(browser, acme.server) as page:
        browsers.sign_in(page, admin.email, admin.password)
        browsers.dismiss_release_notes(page)
        page.goto("/admin/users")
        for email, name, role in (
            (admin.email, admin.name, "admin"),
            (GRACE.email, "Robotics-Grace Hopper", "user"),
            (KATHERINE.email, "Robotics-Katherine Johnson", "admin"),
            (ALAN.email, "Languages-Alan Turing", "user"),
        ):
            row = page.locator("tr", has_text=email)
            expect(row).to_contain_text(name)
            expect(row.get_by_text(re.compile(f"^{role}$", re.IGNORECASE))).to_be_visible()
        browsers.take_picture(page, acme.output / "users.png")
        page.goto("/admin/users/groups")
        for name, members in (("Acme Research", 3), ("Robotics", 2), ("Languages", 1)):
            expect(page.locator("body")).to_contain_text(re.compile(rf"{name}\s+{members}\b"), use_inner_text=True)
        browsers.take_picture(page, acme.output / "groups.png")


@pytest.mark.parametrize("site", ["new"], indirect=True, scope="session")
def test_both_programs_pages_show_the_same_people(acme: Site, company: Company, browser: Browser) -> None:
    """LiteLLM's own page of users, and Open WebUI's."""
    emails = [person.email for person in (GRACE, KATHERINE, ALAN)]
    halves = [acme.output / "people-litellm.png", acme.output / "people-openwebui.png"]
    with browsers.litellms_window(browser, company.litellm, width=900) as page:
        page.goto("/ui/users/")
        for email in emails:
            expect(page.get_by_text(email).first).to_be_visible()
        browsers.take_picture(page, halves[0])
    admin = acme.pair.admin
    with browsers.window(browser, acme.server, width=900) as page:
        browsers.dismiss_release_notes_if_any(page)
        browsers.sign_in(page, admin.email, admin.password)
        page.goto("/admin/users")
        for email in emails:
            expect(page.get_by_text(email).first).to_be_visible()
        browsers.take_picture(page, halves[1])
    browsers.put_side_by_side(browser, halves, acme.output / "people.png")


@BOTH
def test_two_people_choose_among_different_models(company: Company, browser: Browser) -> None:
    site = company.site
    marie = company.hire("Marie Curie", models=[MODEL, OTHER_MODEL])
    lise = company.hire("Lise Meitner", models=[OTHER_MODEL])
    halves = []
    for person, offered, hidden in ((marie, {MODEL, OTHER_MODEL}, set()), (lise, {OTHER_MODEL}, {MODEL})):
        with browsers.window(browser, site.server, width=840) as page:
            browsers.sign_in(page, person.email, person.email)
            browsers.open_model_menu(page)
            for model in offered:
                expect(page.get_by_text(model, exact=True).last).to_be_visible()
            for model in hidden:
                expect(page.get_by_text(model, exact=True)).to_have_count(0)
            name = person.name.split()[0].lower()
            halves.append(browsers.take_picture(page, site.output / f"models-{name}.png"))
    browsers.put_side_by_side(browser, halves, site.output / "models.png")


@BOTH
def test_who_is_disabled_is_shown_out_of_an_open_window_until_enabled_again(site: Site, browser: Browser) -> None:
    person = site.hire("Edsger Dijkstra")
    with browsers.window(browser, site.server) as page:
        browsers.sign_in(page, person.email, person.email)
        site.disable(person)
        page.reload()
        # 0.12.0 has two: the form, or this when it refuses the session's cookie before the page could drop it.
        out = page.locator("input[type=password]").or_(page.get_by_text("Open WebUI Backend Required"))
        expect(out.or_(page.get_by_text("Account Activation Pending")).first).to_be_visible()
        expect(page.locator("#chat-input")).to_be_hidden()
        browsers.take_picture(page, site.output / "disabled.png")
        site.enable(person)
        page.goto("/auth")
        if site.can_end_sessions:
            browsers.sign_in(page, person.email, person.email)
        expect(page.locator("#chat-input")).to_be_visible()
