# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is held names whom it concerns, an approval is good for that and no more, and it keeps nobody dismissed in."""

from __future__ import annotations

import json
from typing import Any

import psycopg2
import pytest

from kit import openwebui, rows
from kit.bridge import change_settings
from kit.drains import drain_on
from kit.pairs import Pair
from test_removal_counting import LIMIT, MANY, age_removals, delete, names, people
from test_removals import differences, drain_due, enabled, parked
from test_stale_pages import look_out

EVERY_OPEN_WEBUI = pytest.mark.schemas(openwebui="all")
HELD = "SELECT * FROM user_bridge.held_changes() ORDER BY id"


def held(pair: Pair) -> list[dict[str, Any]]:
    return pair.litellm_admin.rows(HELD)


def approve(pair: Pair, shown: list[dict[str, Any]]) -> int:
    return int(pair.litellm_admin.value("SELECT user_bridge.approve(%s)", [[row["id"] for row in shown]]))


def reject(pair: Pair, shown: list[dict[str, Any]]) -> int:
    return int(pair.litellm_admin.value("SELECT user_bridge.reject(%s)", [[row["id"] for row in shown]]))


def disable(pair: Pair, users: list[str]) -> None:
    for user in users:
        rows.change_user(pair.litellm, user, metadata={"scim_active": False})


def refusal(pair: Pair, call: str, ids: list[int]) -> str:
    """The error of a call that must not succeed; nothing if it does."""
    try:
        pair.litellm_admin.run(f"SELECT user_bridge.{call}(%s)", [ids])
    except psycopg2.Error as error:
        return str(error)
    return ""


def listed(users: list[str]) -> list[dict[str, str]]:
    return [{"user_id": user, "role": "user"} for user in users]


def at_once(pair: Pair, users: list[str]) -> None:
    """All deleted by one transaction."""
    with pair.litellm.transaction():
        delete(pair, users)


def disabled_at_once(pair: Pair, users: list[str]) -> None:
    with pair.litellm.transaction():
        disable(pair, users)


def boss(pair: Pair, name: str = "boss") -> None:
    rows.add_user(pair.litellm, name, f"{name}@example.com", user_role="proxy_admin")


# Whom the guard must not keep in.


@EVERY_OPEN_WEBUI
def test_people_who_leave_and_rejoin_a_team_keep_nobody_in(pair: Pair) -> None:
    people(pair)
    some = listed(names(0, LIMIT))
    rows.add_team(pair.litellm, "t", "T", members_with_roles=some)
    drain_due(pair)
    for _again in range(3):
        rows.change_team(pair.litellm, "t", members_with_roles=[])
        rows.change_team(pair.litellm, "t", members_with_roles=some)
    disable(pair, ["u10"])
    delete(pair, ["u11"])
    drain_due(pair)
    assert enabled(pair) == {f"{name}@example.com" for name in names(0, 10)}
    assert (held(pair), differences(pair)) == ([], [])


def test_each_kind_of_loss_has_a_limit_of_its_own(pair: Pair) -> None:
    people(pair, 3 * LIMIT)
    rows.add_team(pair.litellm, "t", "T", members_with_roles=listed(names(0, LIMIT)))
    drain_due(pair)
    rows.change_team(pair.litellm, "t", members_with_roles=[])
    disable(pair, names(LIMIT, 2 * LIMIT))
    delete(pair, names(2 * LIMIT, 3 * LIMIT))
    drain_due(pair)
    assert enabled(pair) == {f"{name}@example.com" for name in names(0, LIMIT)}
    assert (held(pair), differences(pair)) == ([], [])


@EVERY_OPEN_WEBUI
@pytest.mark.parametrize("emptied", [True, False], ids=["emptied", "deleted"])
def test_a_team_that_is_held_keeps_nobody_in(pair: Pair, emptied: bool) -> None:
    people(pair)
    rows.add_team(pair.litellm, "t", "T", members_with_roles=listed(names(0, MANY)))
    drain_due(pair)
    if emptied:
        rows.change_team(pair.litellm, "t", members_with_roles=[])
    else:
        rows.delete_team(pair.litellm, "t")
    disable(pair, ["u10"])
    delete(pair, ["u11"])
    drain_due(pair)
    assert enabled(pair) == {f"{name}@example.com" for name in names(0, 10)}
    assert {row["kind"] for row in held(pair)} == {"membership"}
    # Whoever has gone meanwhile is gone, with the memberships.
    approve(pair, held(pair))
    drain_due(pair)
    assert (held(pair), differences(pair)) == ([], [])


@pytest.mark.parametrize("batch", [1, 7, 500])
def test_what_is_held_does_not_count_against_who_goes_later(pair: Pair, batch: int) -> None:
    people(pair, 40)
    at_once(pair, names(0, 30))
    drain_due(pair)
    assert len(held(pair)) == 30
    pair.litellm_admin.run("UPDATE user_bridge.settings SET delivery = 'queued'")
    delete(pair, ["u30"])
    disable(pair, ["u31"])
    drain_on(pair, batch, due_only=True)
    assert enabled(pair) == {f"{name}@example.com" for name in [*names(0, 30), *names(32, 40)]}
    assert len(held(pair)) == 30


@pytest.mark.parametrize("lose", [at_once, disable], ids=["deleted", "disabled"])
def test_the_admin_role_goes_at_once(pair: Pair, lose: Any) -> None:
    people(pair)
    boss(pair)
    lose(pair, [*names(0, MANY), "boss"])
    assert openwebui.accounts(pair)["boss@example.com"][1] == "user"
    assert {row["entity_id"] for row in held(pair)} >= {"boss"}
    reason = pair.litellm_admin.value("SELECT last_error FROM user_bridge.sync_queue WHERE entity_id = 'boss'")
    assert "the admin role was taken away at once" in reason
    # Who is back is admin again.
    if lose is at_once:
        boss(pair)
    else:
        rows.change_user(pair.litellm, "boss", metadata={})
    assert openwebui.accounts(pair)["boss@example.com"][1] == "admin"


@pytest.mark.parametrize("lose", [at_once, disabled_at_once], ids=["deleted", "disabled"])
def test_the_admin_role_that_a_page_brings_back_goes_again(pair: Pair, lose: Any) -> None:
    people(pair)
    for name in ("boss", "other"):
        boss(pair, name)
    lose(pair, [*names(0, MANY), "boss"])
    shown = held(pair)
    assert len(shown) == MANY + 1
    for _page in range(2):
        pair.openwebui.run("UPDATE \"user\" SET role = 'admin' WHERE id = 'usr_boss'")
        age_removals(pair, 11)
        pair.litellm_admin.rows("SELECT * FROM user_bridge.maintain()")
        drain_due(pair)
        assert openwebui.accounts(pair)["boss@example.com"] == ("boss", "user")
        assert [row["id"] for row in held(pair)] == [row["id"] for row in shown]


def test_the_last_admins_role_does_not(pair: Pair) -> None:
    people(pair)
    boss(pair)
    pair.openwebui.run("UPDATE \"user\" SET role = 'user' WHERE email = %s", [pair.admin.email])
    at_once(pair, [*names(0, MANY), "boss"])
    assert openwebui.accounts(pair)["boss@example.com"][1] == "admin"


@EVERY_OPEN_WEBUI
def test_who_is_back_in_the_team_keeps_nobody_else_in_another(pair: Pair) -> None:
    people(pair)
    some = listed(names(0, LIMIT))
    rows.add_team(pair.litellm, "t", "T", members_with_roles=some)
    rows.add_team(pair.litellm, "secret", "Secret", members_with_roles=listed(["u10"]))
    drain_due(pair)
    rows.change_team(pair.litellm, "t", members_with_roles=[])
    rows.change_team(pair.litellm, "t", members_with_roles=some)
    rows.change_team(pair.litellm, "secret", members_with_roles=[])
    drain_due(pair)
    assert openwebui.groups(pair)["grp_team_secret"][1] == []
    assert (held(pair), differences(pair)) == ([], [])


def test_who_is_enabled_again_keeps_nobody_else_in(pair: Pair) -> None:
    people(pair)
    disable(pair, names(0, LIMIT))
    for name in names(0, LIMIT):
        rows.change_user(pair.litellm, name, metadata={})
    disable(pair, ["u10"])
    assert enabled(pair) == {f"{name}@example.com" for name in names(0, MANY) if name != "u10"}
    assert held(pair) == []


@EVERY_OPEN_WEBUI
@pytest.mark.parametrize("gone", ["user", "team"])
def test_a_held_membership_goes_with_its_user_or_team(pair: Pair, gone: str) -> None:
    people(pair)
    rows.add_team(pair.litellm, "t", "T", members_with_roles=listed(names(0, MANY)))
    drain_due(pair)
    rows.change_team(pair.litellm, "t", members_with_roles=[])
    drain_due(pair)
    assert len(held(pair)) == MANY
    if gone == "user":
        delete(pair, ["u0"])
    else:
        rows.delete_team(pair.litellm, "t")
        approve(pair, [row for row in held(pair) if row["entity_type"] == "team"])
    drain_due(pair)
    left = {json.loads(row["entity_id"])[1] for row in held(pair)}
    assert left == (set(names(1, MANY)) if gone == "user" else set())
    assert pair.openwebui_admin.value("SELECT count(*) FROM user_bridge.held") == len(left)


def test_a_membership_that_is_held_in_the_batch_that_deletes_its_user_is_not_listed(pair: Pair) -> None:
    people(pair)
    rows.add_team(pair.litellm, "t", "T", members_with_roles=listed(names(0, MANY)))
    pair.litellm_admin.run("UPDATE user_bridge.settings SET delivery = 'queued'")
    drain_due(pair)
    rows.change_team(pair.litellm, "t", members_with_roles=[])
    delete(pair, ["u0", "u1"])
    drain_due(pair)
    assert {json.loads(row["entity_id"])[1] for row in held(pair)} == set(names(2, MANY))


# What must not leak.


def test_only_what_is_back_no_longer_counts(pair: Pair) -> None:
    people(pair)
    rows.add_team(pair.litellm, "a", "A", members_with_roles=listed(names(0, LIMIT)))
    rows.add_team(pair.litellm, "b", "B", members_with_roles=listed(names(LIMIT, MANY)))
    drain_due(pair)
    rows.change_team(pair.litellm, "a", members_with_roles=[])
    rows.change_team(pair.litellm, "a", members_with_roles=listed(names(1, LIMIT)))
    # With the one that is not back, four more are at the limit.
    rows.change_team(pair.litellm, "b", members_with_roles=listed(names(LIMIT + 4, MANY)))
    drain_due(pair)
    assert (len(openwebui.groups(pair)["grp_team_b"][1]), held(pair)) == (MANY - LIMIT - 4, [])
    rows.change_team(pair.litellm, "b", members_with_roles=listed(names(LIMIT + 5, MANY)))
    drain_due(pair)
    assert len(openwebui.groups(pair)["grp_team_b"][1]) == MANY - LIMIT - 4


def test_another_team_is_not_what_was_lost(pair: Pair) -> None:
    people(pair)
    some = listed(names(0, LIMIT))
    rows.add_team(pair.litellm, "a", "A", members_with_roles=some)
    rows.add_team(pair.litellm, "b", "B", members_with_roles=listed(["u10"]))
    rows.add_team(pair.litellm, "c", "C")
    drain_due(pair)
    rows.change_team(pair.litellm, "a", members_with_roles=[])
    rows.change_team(pair.litellm, "c", members_with_roles=some)
    rows.change_team(pair.litellm, "b", members_with_roles=[])
    drain_due(pair)
    assert openwebui.groups(pair)["grp_team_b"][1] == ["usr_u10"]


@pytest.mark.parametrize("meanwhile", ["nothing", "approve", "reject"])
def test_the_last_batch_of_a_wave_is_held_with_the_others(pair: Pair, meanwhile: str) -> None:
    # One stays: the guard knows an empty LiteLLM by itself.
    people(pair, MANY + 1)
    pair.litellm_admin.run("UPDATE user_bridge.settings SET delivery = 'queued'")
    at_once(pair, names(0, MANY))
    while not held(pair):
        pair.litellm_admin.rows("SELECT * FROM user_bridge.drain(8)")
    first = held(pair)
    assert 0 < len(first) < MANY
    if meanwhile != "nothing":
        pair.litellm_admin.run(f"SELECT user_bridge.{meanwhile}(%s)", [[row["id"] for row in first]])
    # The last batch is within the limit by itself.
    drain_due(pair)
    gone = {row["accounts"][0]["email"] for row in first} if meanwhile == "approve" else set()
    assert enabled(pair) == {f"{name}@example.com" for name in names(0, MANY + 1)} - gone
    now = held(pair)
    assert len(now) == MANY - (0 if meanwhile == "nothing" else len(first))
    assert {row["incident"] for row in now} == {first[0]["incident"]}


def test_who_goes_later_is_no_part_of_a_wave_that_is_still_queued(pair: Pair) -> None:
    people(pair, 40)
    pair.litellm_admin.run("UPDATE user_bridge.settings SET delivery = 'queued'")
    at_once(pair, names(0, 30))
    while not held(pair):
        pair.litellm_admin.rows("SELECT * FROM user_bridge.drain(8)")
    delete(pair, ["u30"])
    pair.litellm_admin.rows("SELECT * FROM user_bridge.drain(500)")
    assert enabled(pair) == {f"{name}@example.com" for name in [*names(0, 30), *names(31, 40)]}
    assert len(held(pair)) == 30


def test_one_by_one_is_no_way_around_the_limit(pair: Pair) -> None:
    people(pair)
    delete(pair, names(0, MANY))
    assert enabled(pair) == {f"{name}@example.com" for name in names(LIMIT, MANY)}
    assert len({row["incident"] for row in held(pair)}) == 1


def test_members_of_a_group_that_is_held_do_not_leave_it_one_by_one(pair: Pair) -> None:
    people(pair)
    rows.add_team(pair.litellm, "t", "T", members_with_roles=listed(names(0, MANY)))
    drain_due(pair)
    rows.delete_team(pair.litellm, "t")
    pair.litellm_admin.rows("SELECT * FROM user_bridge.drain(1)")
    age_removals(pair, 11)
    pair.openwebui_admin.run("UPDATE user_bridge.incident SET last_at = last_at - interval '11 minutes'")
    for name in names(0, MANY):
        pair.litellm_admin.run(
            "SELECT user_bridge.enqueue_entities(ARRAY['team_member'], ARRAY[%s])", [json.dumps(["t", name])]
        )
        drain_due(pair)
    assert len(openwebui.groups(pair)["grp_team_t"][1]) == MANY


# What an approval is good for.


def test_an_approval_names_what_it_approves(pair: Pair) -> None:
    people(pair, 59)
    at_once(pair, names(0, 30))
    shown = held(pair)
    assert [sorted(row["accounts"][0]) for row in shown] == [["email", "id", "name"]] * 30
    at_once(pair, names(30, 59))
    assert approve(pair, shown) == 30
    drain_due(pair)
    assert enabled(pair) == {f"{name}@example.com" for name in names(30, 59)}
    assert len(held(pair)) == 29


@EVERY_OPEN_WEBUI
def test_a_deleted_group_names_every_member(pair: Pair) -> None:
    people(pair)
    rows.add_team(pair.litellm, "t", "T", members_with_roles=listed(names(0, MANY)))
    drain_due(pair)
    rows.delete_team(pair.litellm, "t")
    (group,) = [row for row in held(pair) if row["entity_type"] == "team"]
    assert (group["kind"], group["openwebui_id"]) == ("membership", "grp_team_t")
    assert group["accounts"] == [
        {"id": f"usr_{name}", "email": f"{name}@example.com", "name": name} for name in sorted(names(0, MANY))
    ]


def test_what_has_grown_since_is_held_again(pair: Pair) -> None:
    people(pair, MANY + 1)
    rows.add_team(pair.litellm, "t", "T", members_with_roles=listed(names(0, MANY)))
    drain_due(pair)
    rows.delete_team(pair.litellm, "t")
    (shown,) = [row for row in held(pair) if row["entity_type"] == "team"]
    pair.openwebui_admin.run("INSERT INTO user_bridge.membership VALUES ('team', 't', 'u12', true)")
    approve(pair, [shown])
    drain_due(pair)
    now = [row for row in held(pair) if row["entity_type"] == "team"]
    assert [len(row["accounts"]) for row in now] == [MANY + 1] and now[0]["id"] != shown["id"]
    # Fewer than were approved are covered.
    approve(pair, now)
    pair.openwebui_admin.run("DELETE FROM user_bridge.membership WHERE user_id = 'u12'")
    drain_due(pair)
    assert "grp_team_t" not in openwebui.groups(pair)


def test_who_approved_that_accounts_are_disabled_did_not_approve_that_they_are_deleted(pair: Pair) -> None:
    people(pair, on_user_delete="disable")
    at_once(pair, names(0, MANY))
    approve(pair, held(pair))
    change_settings(pair, on_user_delete="delete")
    drain_due(pair)
    assert (len(enabled(pair)), len(held(pair))) == (MANY, MANY)


@pytest.mark.parametrize("decide", ["approve", "reject"])
def test_an_unknown_id_is_refused_by_name_and_changes_nothing(pair: Pair, decide: str) -> None:
    people(pair)
    at_once(pair, names(0, MANY))
    shown = held(pair)
    ids = [shown[0]["id"], 4711, 4712]
    assert "no held change has the id 4711, 4712: " in refusal(pair, decide, ids)
    assert held(pair) == shown
    # What has been decided is not decided again.
    assert pair.litellm_admin.value(f"SELECT user_bridge.{decide}(%s)", [[shown[0]["id"]] * 2]) == 1
    assert f"no held change has the id {ids[0]}: " in refusal(pair, decide, ids[:1])
    assert pair.litellm_admin.value(f"SELECT user_bridge.{decide}('{{}}')") == 0


def test_what_is_rejected_stays_and_is_reported(pair: Pair) -> None:
    people(pair)
    at_once(pair, names(0, MANY))
    everything = held(pair)
    assert reject(pair, everything[:4]) == 4
    drain_due(pair)
    assert (held(pair), len(enabled(pair))) == (everything[4:], MANY)
    assert {row["entity_id"] for row in differences(pair)} == {row["entity_id"] for row in everything[:4]}


@pytest.mark.parametrize("lose", [at_once, disabled_at_once], ids=["deleted", "disabled"])
def test_what_is_rejected_of_an_admin_does_not_happen_by_itself(pair: Pair, lose: Any) -> None:
    """The admin role is gone at once, and the lookout takes no more."""
    people(pair)
    for name in ("boss", "other"):
        boss(pair, name)
    lose(pair, [*names(0, MANY), "boss"])
    # Nor is it delivered again and again while it waits.
    assert look_out(pair) == 0
    assert reject(pair, held(pair)) == MANY + 1
    age_removals(pair, 11)
    pair.openwebui_admin.run("UPDATE user_bridge.incident SET last_at = last_at - interval '11 minutes'")
    pair.litellm_admin.rows("SELECT * FROM user_bridge.maintain()")
    drain_due(pair)
    assert openwebui.accounts(pair)["boss@example.com"] == ("boss", "user")
    assert len(enabled(pair)) == MANY + 2


def forget_the_window(pair: Pair) -> None:
    """Ten minutes later nothing would hold one removal alone."""
    age_removals(pair, 11)
    pair.openwebui_admin.run("UPDATE user_bridge.incident SET last_at = last_at - interval '11 minutes'")


def looked_after(pair: Pair) -> None:
    pair.litellm_admin.rows("SELECT * FROM user_bridge.maintain()")
    drain_due(pair)


@pytest.mark.parametrize("lose", [at_once, disabled_at_once], ids=["deleted", "disabled"])
def test_a_page_does_not_undo_that_a_removal_was_rejected(pair: Pair, lose: Any) -> None:
    people(pair)
    rows.add_user(pair.litellm, "stays", "stays@example.com")
    lose(pair, names(0, MANY))
    shown = held(pair)
    assert reject(pair, [row for row in shown if row["entity_id"] == "u1"]) == 1
    approve(pair, [row for row in shown if row["entity_id"] != "u1"])
    drain_due(pair)
    forget_the_window(pair)
    for edit in ("name = 'Former'", "role = 'admin'", "email = 'former@example.com'"):
        assert pair.openwebui.run(f"UPDATE \"user\" SET {edit} WHERE id = 'usr_u1'") == 1
        pair.openwebui.run('UPDATE auth SET email = u.email FROM "user" AS u WHERE u.id = auth.id')
        looked_after(pair)
        assert held(pair) == []
        assert [row for row in openwebui.accounts(pair).values() if row[1] == "admin"] == []
        assert len(enabled(pair)) == 2
    assert look_out(pair) == 0
    # Whoever disables the account by hand does what LiteLLM wants, and nobody enables it then.
    pair.openwebui.run("UPDATE \"user\" SET role = 'pending' WHERE id = 'usr_u1'")
    looked_after(pair)
    assert enabled(pair) == {"stays@example.com"}
    pair.openwebui.run("UPDATE \"user\" SET role = 'user' WHERE id = 'usr_u1'")
    looked_after(pair)
    assert enabled(pair) == {"stays@example.com"}


def test_a_rejected_disabling_is_asked_again_when_litellm_changes_the_user(pair: Pair) -> None:
    people(pair)
    disabled_at_once(pair, names(0, MANY))
    assert reject(pair, held(pair)) == MANY
    forget_the_window(pair)
    rows.change_user(pair.litellm, "u1", user_alias="New name")
    drain_due(pair)
    assert "u1@example.com" not in enabled(pair)
    assert len(enabled(pair)) == MANY - 1
    # What the page that is open since then does to it is no reason to keep it.
    pair.openwebui.run("UPDATE \"user\" SET role = 'user' WHERE id = 'usr_u1'")
    looked_after(pair)
    assert len(enabled(pair)) == MANY - 1


def test_a_rejected_deletion_ends_when_litellm_has_the_user_again(pair: Pair) -> None:
    people(pair)
    at_once(pair, names(0, MANY))
    assert reject(pair, held(pair)) == MANY
    rows.add_user(pair.litellm, "u1", "u1@example.com", user_alias="Back")
    pair.openwebui.run("UPDATE \"user\" SET name = 'Former' WHERE id = 'usr_u1'")
    looked_after(pair)
    assert openwebui.accounts(pair)["u1@example.com"][0] == "Back"


def adopted_with_a_held_email(pair: Pair) -> None:
    people(pair)
    openwebui.add_account(pair, "guest", "guest@example.com")
    rows.add_user(pair.litellm, "g", "guest@example.com")
    rows.change_user(pair.litellm, "g", user_email="moved@example.com")


def a_page_enables_the_guest(pair: Pair) -> None:
    pair.openwebui.run("UPDATE \"user\" SET role = 'user' WHERE id = 'guest'")
    pair.openwebui.run("UPDATE auth SET active = true WHERE id = 'guest'")
    looked_after(pair)


def test_to_reject_the_move_of_an_email_keeps_nobody_in(pair: Pair) -> None:
    adopted_with_a_held_email(pair)
    disable(pair, ["g"])
    assert reject(pair, held(pair)) == 1
    a_page_enables_the_guest(pair)
    assert "guest@example.com" not in enabled(pair)


def test_a_rejection_ends_with_the_next_delivery_whatever_is_held_of_that(pair: Pair) -> None:
    adopted_with_a_held_email(pair)
    disabled_at_once(pair, [*names(0, MANY), "g"])
    assert reject(pair, [row for row in held(pair) if row["kind"] == "disabling"]) == MANY + 1
    forget_the_window(pair)
    rows.change_user(pair.litellm, "g", metadata={})
    assert "guest@example.com" in enabled(pair)
    disable(pair, ["g"])
    drain_due(pair)
    reject(pair, held(pair))
    a_page_enables_the_guest(pair)
    assert "guest@example.com" not in enabled(pair)


def test_decisions_need_no_open_webui(pair: Pair) -> None:
    people(pair)
    at_once(pair, names(0, MANY))
    pair.openwebui_admin.run("ALTER FUNCTION user_bridge.apply(jsonb) RENAME TO gone")
    shown = held(pair)
    assert (approve(pair, shown[:2]), reject(pair, shown[2:4])) == (2, 2)
    pair.litellm_admin.rows("SELECT * FROM user_bridge.drain()")
    pair.openwebui_admin.run("ALTER FUNCTION user_bridge.gone(jsonb) RENAME TO apply")
    pair.litellm_admin.rows("SELECT * FROM user_bridge.drain()")
    assert enabled(pair) == {f"{name}@example.com" for name in names(0, MANY)} - {
        row["accounts"][0]["email"] for row in shown[:2]
    }
    assert held(pair) == shown[4:]


def test_an_approval_outlives_a_failure(pair: Pair) -> None:
    people(pair)
    at_once(pair, names(0, MANY))
    pair.openwebui_admin.run(
        "CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''not now''; END'"
    )
    pair.openwebui_admin.run('CREATE TRIGGER stop BEFORE DELETE ON "user" FOR EACH ROW EXECUTE FUNCTION stop()')
    approve(pair, held(pair))
    pair.litellm_admin.rows("SELECT * FROM user_bridge.drain()")
    assert (held(pair), len(enabled(pair))) == ([], MANY)
    pair.openwebui_admin.run('DROP TRIGGER stop ON "user"')
    pair.litellm_admin.rows("SELECT * FROM user_bridge.drain()")
    assert (held(pair), enabled(pair)) == ([], set())


def test_a_newer_delivery_settles_what_was_held(pair: Pair) -> None:
    people(pair)
    at_once(pair, names(0, MANY))
    rows.add_user(pair.litellm, "u1", "u1@example.com", user_alias="Back")
    assert "u1" not in {row["entity_id"] for row in parked(pair)}
    assert pair.openwebui_admin.value("SELECT count(*) FROM user_bridge.held WHERE entity_id = 'u1'") == 0


# hold(), which adoption uses for changes that cross a border of trust.


def _hold(pair: Pair, approvals: list[int], accounts: list[str], details: dict[str, Any]) -> dict[str, Any] | None:
    item = {"type": "user", "id": "u1", "queued_ms": 1, **({"approvals": approvals} if approvals else {})}
    found: dict[str, Any] | None = pair.openwebui_admin.value(
        "SELECT user_bridge.hold(%s, 'email', %s, %s, 'an adopted account')",
        [json.dumps(item), accounts, json.dumps(details)],
    )
    return found


def test_a_held_row_is_approved_by_its_id_and_for_what_it_says(pair: Pair) -> None:
    people(pair, 2)
    first = _hold(pair, [], ["usr_u1"], {"to": "new@example.com"})
    assert first is not None and first["accounts"] == [{"id": "usr_u1", "email": "u1@example.com", "name": "u1"}]
    assert (first["kind"], first["reason"]) == ("email", "an adopted account")
    assert _hold(pair, [], ["usr_u1"], {"to": "new@example.com"}) == first
    assert _hold(pair, [first["id"] + 1], ["usr_u1"], {"to": "new@example.com"}) == first
    other = _hold(pair, [first["id"]], ["usr_u1"], {"to": "other@example.com"})
    assert other is not None and other["id"] != first["id"]
    more = _hold(pair, [other["id"]], ["usr_u0", "usr_u1"], {"to": "other@example.com"})
    assert more is not None and more["id"] != other["id"]
    assert _hold(pair, [more["id"]], ["usr_u1"], {"to": "other@example.com"}) is None
    assert pair.openwebui_admin.value("SELECT count(*) FROM user_bridge.held") == 0
