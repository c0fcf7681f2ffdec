# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the real LiteLLM itself refuses people of the real Open WebUI, who all share one key, and on whom it books.

Which rows the drainer writes, and whose, is proved in SQL; here LiteLLM reads them. 1.77.3 refuses nothing by them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e import litellm_server
from e2e import webui_api as api
from e2e.company import EMAIL_HEADER, LITELLM_CACHE_SECONDS, MODEL, OTHER_MODEL, Company, config
from e2e.provider import answer_to
from e2e.site import Person
from e2e.webui_api import Answer, Visitor
from kit.bridge import change_settings, drainer
from kit.pairs import Pair
from modules_support import a_call, run_module

pytestmark = pytest.mark.parametrize("site", ["new"], indirect=True)

QUESTION = "Why is the sky blue?"
BOTH = {MODEL, OTHER_MODEL}
PRICE = 0.002
STRANGER = "stranger@example.com"
TITLES = "title-writer"
# The drainer looks once a second, on a machine that may have much else to do.
ROW_SECONDS = 15
SPEND_SECONDS = 60


@pytest.fixture(scope="module")
def enforced(company: Company, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    """As docs/access.md has it, step by step; afterwards without it."""
    pair = company.site.pair
    company.site.deploy(tmp_path_factory.mktemp("enforced"), real=False, bridge_enforce_models=True)
    with drainer(pair) as errors:
        try:
            until(lambda: "rpm_limit" not in str(missing(pair)))
            assert asked(company, STRANGER, MODEL).status == 200
            (lack,) = missing(pair)
            assert '"end_user_budget_id": "user_bridge_unknown"' in lack
            company.litellm.post("/key/update", key=company.key, end_user_budget_id="user_bridge_unknown")
            assert missing(pair) == []
            until(lambda: asked(company, STRANGER, MODEL).status == 429)
            yield company
        finally:
            switch_off(company)
    assert errors == []


def missing(pair: Pair) -> list[str]:
    """What bridge_info says that LiteLLM lacks."""
    found: list[str] = pair.litellm_admin.value("SELECT user_bridge.enforcement() -> 'missing'")
    return found


def switch_off(company: Company) -> None:
    """Until the drainer has given all rows back."""
    pair = company.site.pair
    change_settings(pair, enforce_models=False)
    company.litellm.post("/key/update", key=company.key, end_user_budget_id="")
    until(lambda: not pair.litellm_admin.rows("SELECT FROM user_bridge.end_user"))


def until(
    condition: Callable[..., object], *arguments: Any, seconds: float = ROW_SECONDS + LITELLM_CACHE_SECONDS
) -> None:
    deadline = time.monotonic() + seconds
    while not condition(*arguments):
        assert time.monotonic() < deadline
        time.sleep(0.3)


def asked(company: Company, email: str | None, model: str, **headers: str) -> Answer:
    """As Open WebUI asks for somebody whom it lets ask; None: for nobody."""
    named = {} if email is None else {EMAIL_HEADER: email}
    return company.litellm.chat(company.key, model, QUESTION, {**named, **headers})


def is_refused(answer: Answer) -> bool:
    """By LiteLLM, because of this person."""
    assert answer.status in (200, 403), answer
    if answer.status == 403:
        assert answer.body["error"]["type"] == "customer_model_access_denied", answer
    return answer.status == 403


def is_unknown(answer: Answer) -> bool:
    """To LiteLLM, and served nothing for that."""
    assert answer.status != 429 or "Rate limit exceeded for end_user" in str(answer.body), answer
    return answer.status == 429


def served(company: Company, email: str) -> set[str]:
    """Which models LiteLLM serves this person; what it refuses has not reached any provider."""
    before = len(company.site.provider.asked)
    found = {model for model in BOTH if not is_refused(asked(company, email, model))}
    assert len(company.site.provider.asked) == before + len(found)
    return found


def hired(company: Company, *lists: list[str]) -> list[Person]:
    """One person for each list of models, whom LiteLLM knows as end users."""
    people = [company.hire("Ann Enforced", models=models) for models in lists]
    for person in people:
        until(lambda each: row(company, each.email).get("models"), person)
    return people


def window(company: Company, person: Person, *models: str) -> Visitor:
    """Once the drainer has hashed the initial password, and these are offered."""
    hashed = "SELECT password <> '' FROM auth WHERE id = %s"
    until(lambda: company.site.pair.openwebui.value(hashed, [person.account_id]))
    visitor = company.site.sign_in(person)
    until(lambda: api.models(visitor) & BOTH == set(models))
    return visitor


def let_through(company: Company, model: str, account_id: str) -> None:
    """By the admin's page, which writes back all grants as it has read them."""
    until(lambda: not company.site.pair.litellm_admin.rows("SELECT FROM user_bridge.sync_queue"))
    api.grant_by_hand(company.site.admin, model, account_id)


def row(company: Company, email: str) -> dict[str, Any]:
    """Of the end user, as LiteLLM's administrator sees it; empty: there is none."""
    answer = company.litellm.call("GET", f"/customer/info?end_user_id={email}")
    assert answer.status in (200, 404), answer
    found: dict[str, Any] = answer.body if answer.status == 200 else {}
    return found


def user_spend(company: Company, user_id: str) -> float:
    return float(company.litellm.get(f"/user/info?user_id={user_id}")["user_info"]["spend"])


class TestWhatIsServed:
    def test_what_is_offered_and_no_more(self, enforced: Company) -> None:
        granted = [{MODEL}, {OTHER_MODEL}, BOTH, BOTH, set()]
        people = hired(enforced, [MODEL], ["gpt-*"], ["all-proxy-models"], [], ["no-default-models"])
        # In turns: nobody is taken for whoever asked before.
        for _round in range(2):
            assert [served(enforced, each.email) for each in people] == granted
        for person, models in zip(people, granted, strict=True):
            live = window(enforced, person, *models)
            assert {model for model in BOTH if api.ask(live, model, QUESTION).status == 200} == models

    def test_what_open_webui_lets_through_is_refused(self, enforced: Company) -> None:
        (person,) = hired(enforced, [MODEL])
        live = window(enforced, person, MODEL)
        let_through(enforced, OTHER_MODEL, person.account_id)
        assert api.models(live) >= BOTH
        assert is_refused(api.ask(live, OTHER_MODEL, QUESTION))
        answer = api.ask(live, MODEL, QUESTION)
        assert answer.body["choices"][0]["message"]["content"] == answer_to(QUESTION)

    def test_a_grant_and_its_end(self, enforced: Company) -> None:
        (person,) = hired(enforced, ["no-default-models"])
        team = enforced.new_team("Vision", models=[OTHER_MODEL])
        assert served(enforced, person.email) == set()
        enforced.join(team, person)
        until(lambda: served(enforced, person.email) == {OTHER_MODEL})
        enforced.litellm.post("/team/member_delete", team_id=team, user_id=person.user_id)
        until(lambda: served(enforced, person.email) == set())

    def test_whom_the_bridge_does_not_know_may_call_nothing(self, enforced: Company) -> None:
        site = enforced.site
        (person,) = hired(enforced, [MODEL])
        # To LiteLLM an address in capital letters is somebody else's.
        for email in (STRANGER, person.email.upper()):
            assert [is_unknown(asked(enforced, email, model)) for model in BOTH] == [True, True]
        other = site.invent("Zoe Unlinked")
        account = site.add_account(other, "a password")
        let_through(enforced, MODEL, account)
        visitor = site.sign_in(other, "a password")
        assert is_unknown(api.ask(visitor, MODEL, QUESTION))
        # The first admin is no user of LiteLLM's either.
        assert is_unknown(api.ask(site.admin, MODEL, QUESTION))
        assert not is_refused(asked(enforced, person.email, MODEL))
        # A row that somebody makes for such a person stays.
        enforced.litellm.post("/customer/new", user_id=other.email, budget_id="user_bridge_known", models=[MODEL])
        until(lambda: api.ask(visitor, MODEL, QUESTION).status == 200)
        assert is_refused(asked(enforced, other.email, OTHER_MODEL))
        enforced.litellm.post("/customer/delete", user_ids=[other.email])

    def test_accounts_that_are_no_users_of_litellms_are_served_where_that_is_wanted(self, enforced: Company) -> None:
        site, pair = enforced.site, enforced.site.pair
        (person,) = hired(enforced, [MODEL])
        other = site.invent("Una Unlinked")
        site.add_account(other, "a password")
        assert is_unknown(asked(enforced, other.email, MODEL))
        change_settings(pair, enforce_unlinked="allow")
        try:
            # As the first admin too, who is no user of LiteLLM's either.
            until(lambda: [asked(enforced, other.email, model).status for model in BOTH] == [200, 200])
            until(lambda: api.ask(site.admin, MODEL, QUESTION).status == 200)
            assert is_unknown(asked(enforced, STRANGER, MODEL)) and served(enforced, person.email) == {MODEL}
        finally:
            change_settings(pair, enforce_unlinked="deny")
        until(lambda: is_unknown(asked(enforced, other.email, MODEL)))
        until(lambda: is_unknown(api.ask(site.admin, MODEL, QUESTION)))
        assert served(enforced, person.email) == {MODEL}

    def test_the_limits_that_the_documentation_names(self, enforced: Company) -> None:
        person, other = hired(enforced, ["no-default-models"], [MODEL])
        assert [asked(enforced, None, model).status for model in BOTH] == [200, 200]
        for header in ("x-litellm-customer-id", "x-litellm-end-user-id"):
            assert not is_refused(asked(enforced, person.email, MODEL, **{header: other.email}))
        assert served(enforced, person.email) == set()


def give_everyone(pair: Pair, *models: str) -> None:
    """As a deployment does; one that meets this drainer would take its rights away."""
    change_settings(pair, models_for_everyone=list(models))
    pair.litellm_admin.run("SELECT user_bridge.enqueue_everything()")


@pytest.fixture
def titles(enforced: Company) -> Iterator[Company]:
    """A model of its own writes titles and tags."""
    before = api.change_tasks(
        enforced.site.admin,
        TASK_MODEL_EXTERNAL=TITLES,
        ENABLE_TITLE_GENERATION=True,
        ENABLE_TAGS_GENERATION=True,
    )
    model_id = enforced.new_model(TITLES)
    try:
        enforced.await_listed(TITLES)
        yield enforced
    finally:
        give_everyone(enforced.site.pair)
        enforced.litellm.post("/model/delete", id=model_id)
        api.change_tasks(enforced.site.admin, **before)


def test_titles_and_tags_of_whoever_may_call_one_model(titles: Company) -> None:
    site = titles.site
    (person,) = hired(titles, [MODEL])
    live = window(titles, person, MODEL)
    # They are asked for as the person.
    assert is_refused(asked(titles, person.email, TITLES)) and api.title(live, MODEL, QUESTION).status != 200
    give_everyone(site.pair, TITLES)
    until(lambda: not is_refused(asked(titles, person.email, TITLES)))
    for answer in (api.title(live, MODEL, QUESTION), api.tags(live, MODEL, QUESTION)):
        assert (answer.status, answer.body["model"]) == (200, TITLES), answer
    assert served(titles, person.email) == {MODEL}


def test_what_somebody_spends_is_booked_on_the_end_user(enforced: Company) -> None:
    """And on the user of LiteLLM's, if the id is the address (bridge_attribution: email), else on none."""
    (ann,) = hired(enforced, [MODEL])
    address = "bob.enforced@example.com"
    bob = replace(enforced.site.invent("Bob Enforced"), user_id=address, email=address)
    enforced.hire(bob, models=[MODEL])
    until(lambda: row(enforced, bob.email).get("models"))
    for person in (ann, bob):
        live = window(enforced, person, MODEL)
        for _time in range(3):
            assert api.ask(live, MODEL, QUESTION).status == 200
    booked = pytest.approx(3 * PRICE)
    for person in (ann, bob):
        until(lambda each: row(enforced, each.email)["spend"] == booked, person, seconds=SPEND_SECONDS)
    until(lambda: user_spend(enforced, bob.user_id) == booked, seconds=SPEND_SECONDS)
    assert user_spend(enforced, ann.user_id) == 0
    # What LiteLLM has written into the rows has taken no right away, and given none.
    assert [served(enforced, each.email) for each in (ann, bob)] == [{MODEL}, {MODEL}]


@pytest.fixture
def by_id(enforced: Company, tmp_path: Path) -> Iterator[Company]:
    """Open WebUI's connection leads to a LiteLLM with the configuration that bridge_info prints."""
    site, pair = enforced.site, enforced.site.pair
    change_settings(pair, attribution="user_id")
    told = run_module("bridge_info", a_call(pair, "bridge_info"))["attribution"]
    mappings = yaml.safe_load(told["litellm_snippet"])["general_settings"]["user_header_mappings"]
    log = site.output / "litellm-by-id.log"
    with litellm_server.running(site.age, pair.login("litellm"), tmp_path, log, config(mappings)) as proxy:
        one, other = f"{enforced.litellm.url}/v1", f"{proxy.url}/v1"
        api.move_connection(site.admin, one, other)
        try:
            yield replace(enforced, litellm=proxy)
        finally:
            api.move_connection(site.admin, other, one)
            change_settings(pair, attribution="none", user_id_prefix="usr_")


# Weekly: a second LiteLLM takes a minute to start.
@pytest.mark.weekly
def test_what_somebody_spends_is_booked_on_the_user_who_has_the_accounts_id(by_id: Company) -> None:
    (before,) = hired(by_id, [MODEL])
    change_settings(by_id.site.pair, user_id_prefix="")
    now = by_id.hire(replace(by_id.site.invent("Bea Enforced"), prefix=""), models=[MODEL])
    until(lambda: row(by_id, now.email).get("models"))
    for person in (before, now):
        live = window(by_id, person, MODEL)
        for _time in range(3):
            assert api.ask(live, MODEL, QUESTION).status == 200
    booked = pytest.approx(3 * PRICE)
    until(lambda: user_spend(by_id, now.user_id) == booked, seconds=SPEND_SECONDS)
    for person in (before, now):
        until(lambda each: row(by_id, each.email)["spend"] == booked, person, seconds=SPEND_SECONDS)
    # On an id that nobody has, as bridge_info says.
    assert user_spend(by_id, before.user_id) == 0
    missed = by_id.site.pair.litellm_admin.value("SELECT user_bridge.attribution() -> 'missed_users'")
    assert before.user_id in missed and now.user_id not in missed
    assert [served(by_id, each.email) for each in (before, now)] == [{MODEL}, {MODEL}]


def test_switched_off_it_leaves_what_was_spent(enforced: Company) -> None:
    """The last one: afterwards nobody is refused anything."""
    spender, other = hired(enforced, [MODEL], ["no-default-models"])
    assert [served(enforced, each.email) for each in (spender, other)] == [{MODEL}, set()]
    until(lambda: row(enforced, spender.email)["spend"] > 0, seconds=SPEND_SECONDS)
    switch_off(enforced)
    left = row(enforced, spender.email)
    assert (left["models"], left["litellm_budget_table"]) == ([], None) and left["spend"] == pytest.approx(PRICE)
    assert row(enforced, other.email) == {}
    for email in (spender.email, other.email, STRANGER):
        until(lambda name: all(asked(enforced, name, each).status == 200 for each in BOTH), email)
