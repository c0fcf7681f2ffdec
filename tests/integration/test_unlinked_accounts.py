# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Accounts of Open WebUI that stand for no user of LiteLLM, where LiteLLM is to serve them: which, and until when."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hard_support import until
from kit import openwebui, rows
from kit.bridge import change_settings, copy_prepared, drainer
from kit.pairs import Pair
from modules_support import login_options, run_module
from test_enforcement import (
    ALL,
    NEW,
    NOTHING,
    TABLE,
    add_end_user,
    change_end_user,
    end_users,
    enforce,
    person,
    report,
    retry,
    row_of,
    settle,
    stock,
)

pytestmark = NEW
HAND = "hand@example.com"


def stock_of_all(pair: Pair, **settings: Any) -> Pair:
    """One account that an admin of Open WebUI made, beside the first admin's, and one person of LiteLLM's."""
    stock(pair, **{"enforce_unlinked": "allow", **settings})
    openwebui.add_account(pair, "hand", HAND)
    person(pair, "u1", models=["solo"])
    follow(pair)
    return pair


@pytest.fixture
def served(pair: Pair) -> Pair:
    copy_prepared(pair, stock_of_all)
    return pair


def follow(pair: Pair) -> int:
    """What the drainer does once a minute; returns how many rows came or went."""
    settle(pair)
    changed = pair.litellm_admin.value("SELECT user_bridge.follow_unlinked(s) FROM user_bridge.settings AS s")
    enforce(pair)
    return int(changed)


def unlinked(pair: Pair) -> dict[str, list[str]]:
    return {name: models for name, models in end_users(pair).items() if name != "u1@example.com"}


def test_who_is_nobodys_may_call_everything(served: Pair) -> None:
    pair = served
    admin = pair.admin.email
    assert end_users(pair) == {admin: ALL, HAND: ALL, "u1@example.com": ["solo"]}
    # A budget of their own, or the one for the unknown would let nothing through.
    assert {row_of(pair, name)["budget_id"] for name in (admin, HAND)} == {"user_bridge_known"}
    found = report(pair)
    assert {name: found[name] for name in ("unlinked", "unlinked_accounts", "unlinked_rows", "rows", "due")} == {
        "unlinked": "allow",
        "unlinked_accounts": 2,
        "unlinked_rows": 2,
        "rows": 3,
        "due": 0,
    }


def test_who_waits_for_an_admin_may_not(served: Pair) -> None:
    pair = served
    openwebui.add_account(pair, "waits", "waits@example.com", role="pending")
    follow(pair)
    assert "waits@example.com" not in end_users(pair)
    pair.openwebui.run("""UPDATE "user" SET role = 'user' WHERE id = 'waits'""")
    follow(pair)
    assert end_users(pair)["waits@example.com"] == ALL
    pair.openwebui.run("""UPDATE "user" SET role = 'pending' WHERE id = 'waits'""")
    follow(pair)
    assert "waits@example.com" not in end_users(pair)


def test_it_is_the_default_that_none_may(pair: Pair) -> None:
    stock_of_all(pair, enforce_unlinked="deny")
    assert end_users(pair) == {"u1@example.com": ["solo"]}
    assert (report(pair)["unlinked"], report(pair)["unlinked_accounts"]) == ("deny", 0)


def test_who_is_linked_may_call_what_litellm_says(served: Pair) -> None:
    pair = served
    rows.add_user(pair.litellm, "hand", HAND, models=["fake-a"])
    # With the delivery, and not with the next look at all accounts.
    settle(pair)
    assert end_users(pair).get(HAND) == ["fake-a"]
    follow(pair)
    assert end_users(pair).get(HAND) == ["fake-a"]
    change_settings(pair, enforce_unlinked="deny")
    enforce(pair)
    assert end_users(pair) == {HAND: ["fake-a"], "u1@example.com": ["solo"]}


def test_what_is_gone_or_called_otherwise_is_given_back(served: Pair) -> None:
    pair = served
    openwebui.add_account(pair, "moves", "one@example.com")
    follow(pair)
    change_end_user(pair.litellm, "one@example.com", spend=0.5)
    for table in ("user", "auth"):
        pair.openwebui.run(f"""UPDATE "{table}" SET email = 'two@example.com' WHERE id = 'moves'""")
        pair.openwebui.run(f"""DELETE FROM "{table}" WHERE id = 'hand'""")
    follow(pair)
    assert HAND not in end_users(pair) and end_users(pair).get("two@example.com") == ALL
    # What was spent stays on record, and lets nobody in.
    left = row_of(pair, "one@example.com")
    assert (left["models"], left["budget_id"], left["spend"]) == ([], None, 0.5)
    assert not pair.litellm_admin.rows("SELECT FROM user_bridge.end_user WHERE customer_id = 'one@example.com'")


@pytest.mark.parametrize("settings", [{"enforce_unlinked": "deny"}, {"enforce_unknown": "allow"}])
def test_the_setting_goes_back(served: Pair, settings: dict[str, str]) -> None:
    pair = served
    add_end_user(pair.litellm, "empty@example.com", spend=1.5)
    openwebui.add_account(pair, "empty", "empty@example.com")
    follow(pair)
    assert end_users(pair)["empty@example.com"] == ALL
    change_settings(pair, **settings)
    # At once, without another look at Open WebUI.
    enforce(pair)
    assert end_users(pair) == {"empty@example.com": [], "u1@example.com": ["solo"]}
    assert pair.litellm_admin.value("SELECT count(*) FROM user_bridge.unlinked_account") == 0
    assert follow(pair) == 0 and len(end_users(pair)) == 2


def test_without_enforcement_all_are_given_back(served: Pair) -> None:
    change_settings(served, enforce_models=False)
    settle(served)
    assert end_users(served) == {}
    assert served.litellm_admin.value("SELECT count(*) FROM user_bridge.unlinked_account") == 0


def test_an_address_that_litellm_has_is_nobodys_to_use(served: Pair) -> None:
    """An account that could not be linked: LiteLLM says less of this person than everything."""
    pair = served
    admin = pair.admin.email
    rows.add_user(pair.litellm, "boss", admin.title(), models=["fake-a"])
    follow(pair)
    assert pair.litellm_admin.value("SELECT count(*) FROM user_bridge.sync_mapping WHERE litellm_id = 'boss'") == 0
    assert unlinked(pair) == {HAND: ALL}
    # Written otherwise, it is the same person's.
    openwebui.add_account(pair, "other", "U1@Example.com ")
    follow(pair)
    assert set(end_users(pair)) == {HAND, "u1@example.com"}
    rows.delete_user(pair.litellm, "boss")
    follow(pair)
    assert unlinked(pair)[admin] == ALL


def test_an_address_that_nobody_can_compare_is_not_served(served: Pair) -> None:
    """LiteLLM's user is skipped for the capital letter; in small letters Open WebUI's account is the same person's."""
    pair = served
    rows.add_user(pair.litellm, "ann", "\u00c4NN@example.com", models=["fake-a"])
    openwebui.add_account(pair, "ann", "\u00e4nn@example.com")
    follow(pair)
    assert set(unlinked(pair)) == {pair.admin.email, HAND}


def test_an_address_counts_though_no_trigger_has_recorded_it(served: Pair) -> None:
    pair = served
    with pair.litellm_admin.transaction():
        pair.litellm_admin.run("SET LOCAL session_replication_role = replica")
        rows.add_user(pair.litellm_admin, "hand", HAND.upper(), models=["fake-a"])
    follow(pair)
    assert set(unlinked(pair)) == {pair.admin.email}


@pytest.mark.parametrize("rule", ["keep", "disable"])
def test_who_is_gone_from_litellm_may_call_nothing(pair: Pair, rule: str) -> None:
    """Even where nothing was enforced as long as LiteLLM had the user, and an admin lets the account in again."""
    stock_of_all(pair, on_user_delete=rule)
    change_settings(pair, enforce_models=False)
    settle(pair)
    rows.delete_user(pair.litellm, "u1")
    settle(pair)
    pair.openwebui.run("""UPDATE "user" SET role = 'user' WHERE id = 'usr_u1'""")
    change_settings(pair, enforce_models=True)
    follow(pair)
    assert set(end_users(pair)) == {pair.admin.email, HAND}


def test_an_address_of_somebody_who_is_gone_stays_refused(served: Pair) -> None:
    pair = served
    rows.delete_user(pair.litellm, "u1")
    settle(pair)
    openwebui.add_account(pair, "new", "u1@example.com")
    follow(pair)
    assert end_users(pair)["u1@example.com"] == NOTHING


def test_by_id(served: Pair) -> None:
    pair = served
    change_settings(pair, enforce_key="id")
    follow(pair)
    found = end_users(pair)
    assert (found["hand"], found["usr_u1"]) == (ALL, ["solo"]) and HAND not in found


def test_somebody_elses_row_is_left(served: Pair) -> None:
    pair = served
    openwebui.add_account(pair, "mine", "mine@example.com")
    add_end_user(pair.litellm, "mine@example.com", models=["fake-a"])
    before = row_of(pair, "mine@example.com")
    follow(pair)
    assert row_of(pair, "mine@example.com") == before and report(pair)["foreign"] == ["mine@example.com"]
    change_settings(pair, enforce_unlinked="deny")
    enforce(pair)
    assert row_of(pair, "mine@example.com") == before and report(pair)["foreign"] == []


def test_what_somebody_changes_is_put_right(served: Pair) -> None:
    pair = served
    admin = pair.admin.email
    change_end_user(pair.litellm, HAND, models=["fake-a"])
    change_end_user(pair.litellm, admin, budget_id=None)
    follow(pair)
    assert (row_of(pair, HAND)["models"], row_of(pair, admin)["budget_id"]) == (ALL, "user_bridge_known")
    rows.delete(pair.litellm, "LiteLLM_EndUserTable", {"user_id": HAND})
    follow(pair)
    assert end_users(pair).get(HAND) == ALL
    assert pair.litellm_admin.rows("SELECT * FROM user_bridge.reconcile()") == []


def test_a_comparison_finds_and_repairs_it(served: Pair) -> None:
    pair = served
    openwebui.add_account(pair, "third", "third@example.com")
    openwebui.add_account(pair, "waits", "waits@example.com", role="pending")
    pair.openwebui.run("""DELETE FROM "user" WHERE id = 'hand'""")
    change_end_user(pair.litellm, pair.admin.email, models=["fake-a"])
    compared = "SELECT entity_id, field, openwebui, litellm FROM user_bridge.reconcile(%s) ORDER BY 1"
    wrong = [
        {"entity_id": pair.admin.email, "field": "unlinked", "openwebui": ["fake-a"], "litellm": ALL},
        {"entity_id": HAND, "field": "unlinked", "openwebui": ALL, "litellm": None},
        {"entity_id": "third@example.com", "field": "unlinked", "openwebui": None, "litellm": ALL},
    ]
    assert pair.litellm_admin.rows(compared, [False]) == wrong
    assert pair.litellm_admin.rows("SELECT * FROM user_bridge.reconcile(false, '{user}')") == []
    assert pair.litellm_admin.rows(compared, [True]) == wrong
    assert pair.litellm_admin.rows(compared, [False]) == []
    enforce(pair)
    assert unlinked(pair) == {pair.admin.email: ALL, "third@example.com": ALL}
    # No entity stands for them, so that nothing is queued or said of any.
    assert pair.litellm_admin.rows("SELECT FROM user_bridge.sync_queue") == []
    assert pair.litellm_admin.rows(compared, [False]) == []


def test_the_module_says_that_it_repairs_it(served: Pair) -> None:
    pair = served
    change_end_user(pair.litellm, HAND, models=["fake-a"])
    options = {**login_options(pair, "litellm"), "action": "reconcile", "repair": True}
    first = run_module("bridge_sync", options)
    assert first["changed"] and [row["field"] for row in first["differences"]] == ["unlinked"]
    assert not run_module("bridge_sync", options)["changed"]
    enforce(pair)
    assert end_users(pair)[HAND] == ALL and not run_module("bridge_sync", options)["changed"]


def test_a_second_look_writes_and_fetches_nothing(served: Pair) -> None:
    pair = served
    written = f"SELECT array_agg(xmin::text ORDER BY user_id) FROM {TABLE}"
    kept = "SELECT array_agg(xmin::text ORDER BY customer_id) FROM user_bridge.end_user"
    before = [pair.litellm_admin.value(sql) for sql in (written, kept)]
    assert follow(pair) == 0
    assert [pair.litellm_admin.value(sql) for sql in (written, kept)] == before
    buckets = "SELECT user_bridge.differing_unlinked_buckets(s) FROM user_bridge.settings AS s"
    assert pair.litellm_admin.value(buckets) == []
    openwebui.add_account(pair, "third", "third@example.com")
    assert len(pair.litellm_admin.value(buckets)) == 1


def test_a_row_that_somebody_has_locked_is_given_back_later(served: Pair) -> None:
    pair = served
    flush = pair.connect("litellm")
    flush.run("BEGIN")
    flush.run(f"UPDATE {TABLE} SET spend = spend + 1 WHERE user_id = %s", [HAND])
    pair.litellm_admin.run("SET statement_timeout = '60s'")
    change_settings(pair, enforce_unlinked="deny")
    enforce(pair)
    assert set(end_users(pair)) == {HAND, "u1@example.com"}
    flush.run("COMMIT")
    retry(pair)
    assert (end_users(pair)[HAND], row_of(pair, HAND)["spend"]) == ([], 1)


def test_accounts_come_in_portions(served: Pair) -> None:
    pair = served
    for n in range(5):
        openwebui.add_account(pair, f"more{n}", f"more{n}@example.com")

    def ask(**query: Any) -> dict[str, Any]:
        asked = json.dumps({"unlinked": True, "limit": 3, **query})
        sql = "SELECT user_bridge.dispatch_query(%s::jsonb)"
        found: dict[str, Any] = pair.openwebui_admin.value(sql, [asked])
        return found

    seen: list[str] = []
    reply: dict[str, Any] = {"next": []}
    while reply["next"] is not None:
        reply = ask(after=reply["next"], buckets=list(range(1024)))
        found = json.loads(pair.litellm_admin.value("SELECT user_bridge.unseal(%s)", [reply["sealed"]]))
        assert len(found) <= 3
        seen += [account for account, _email in found]
    admin = pair.openwebui.value('SELECT id FROM "user" WHERE email = %s', [pair.admin.email])
    assert sorted(seen) == sorted([admin, "hand", *(f"more{n}" for n in range(5))])
    assert sum(len(ask(after=at)["sums"]) for at in ([], ["more0"])) > 0


def test_a_question_that_was_recorded_shows_no_address(served: Pair) -> None:
    pair = served
    buckets = {"unlinked": True, "limit": 9, "buckets": list(range(1024))}
    request = pair.litellm_admin.value("SELECT user_bridge.signed_request(%s::jsonb)", [json.dumps(buckets)])
    reply = pair.sync_user.value("SELECT user_bridge.apply(%s::jsonb)", [request])
    assert set(reply) == {"next", "sealed"} and "@" not in str(reply)


def test_the_drainer_does_it(pair: Pair) -> None:
    stock_of_all(pair, enforce_unlinked="deny")
    with drainer(pair) as errors:
        change_settings(pair, enforce_unlinked="allow")
        until(lambda: end_users(pair).get(HAND) == ALL)
        change_settings(pair, enforce_unlinked="deny")
        until(lambda: HAND not in end_users(pair))
    assert errors == []
