# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Initial passwords are hashed by the drainer while it lives, and else with the account."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from hard_support import until
from kit import openwebui, rows
from kit.bridge import change_settings, drainer, install_bridge
from kit.cluster import SUPERUSER
from kit.pairs import Pair

EVERY_PAIR = pytest.mark.schemas(litellm="all", openwebui="all")


def be_the_drainer(pair: Pair) -> None:
    """As if this session were the drainer."""
    assert pair.litellm_admin.value("SELECT user_bridge.begin_drainer()")


def password(pair: Pair, name: str = "u1") -> str:
    found = pair.openwebui.value("SELECT password FROM auth WHERE id = %s", [f"usr_{name}"])
    assert isinstance(found, str)
    return found


def has_password(pair: Pair) -> bool:
    """Of an account that a drainer may not have made yet."""
    return bool(pair.openwebui.value("SELECT password <> '' FROM auth WHERE id = 'usr_u1'"))


def opens(pair: Pair, word: str, name: str = "u1") -> bool:
    return bool(
        pair.openwebui_admin.value(
            "SELECT a.password = user_bridge.crypt(%s, a.password) FROM auth a WHERE a.id = %s", [word, f"usr_{name}"]
        )
    )


def link(pair: Pair, name: str = "u1") -> dict[str, Any]:
    return dict(pair.openwebui_admin.rows("SELECT * FROM user_bridge.entity WHERE entity_id = %s", [name])[0])


@pytest.fixture
def bridged(pair: Pair) -> Pair:
    install_bridge(pair, {"password_cost": 4})
    return pair


@pytest.fixture
def alive(bridged: Pair) -> Iterator[Pair]:
    """A drainer lives, and does nothing."""
    be_the_drainer(bridged)
    yield bridged
    bridged.litellm_admin.run("SELECT user_bridge.end_drainer()")


HASHING = "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND state = 'active' AND pid <> pg_backend_pid()"
SET = "SELECT done FROM user_bridge.maintain() WHERE task = 'initial passwords set'"


def set_passwords(pair: Pair) -> int:
    return int(pair.litellm_admin.value(SET))


def do_the_upkeep(pair: Pair) -> None:
    """As if nothing of it were due for long."""
    pair.litellm_admin.run(
        "SELECT user_bridge.note_upkeep(t.task, t.period, NULL) FROM user_bridge.upkeep_tasks() AS t"
    )


@EVERY_PAIR
@pytest.mark.parametrize("kind", ["email", "random", "none"])
def test_the_drainer_sets_it(pair: Pair, kind: str) -> None:
    install_bridge(pair, {"initial_password": kind, "password_cost": 5})
    with drainer(pair):
        rows.add_user(pair.litellm, "u1", "ann@example.com")
        if kind == "none":
            until(lambda: pair.openwebui.value("SELECT 1 FROM auth WHERE id = 'usr_u1'"))
            assert link(pair)["password_due"] is None
        else:
            until(lambda: has_password(pair))
            assert password(pair).startswith("$2a$05$") and opens(pair, "ann@example.com") is (kind == "email")
            found = link(pair)
            assert found["password_due"] is None and found["initial_password_at"] is not None
    assert kind != "none" or password(pair) == ""


@EVERY_PAIR
def test_without_a_drainer_it_comes_with_the_account(pair: Pair) -> None:
    install_bridge(pair, {"password_cost": 4})
    rows.add_user(pair.litellm, "u1", "ann@example.com")
    assert opens(pair, "ann@example.com")


def test_no_commit_hashes_while_a_drainer_lives(alive: Pair) -> None:
    rows.add_user(alive.litellm, "u1", "ann@example.com")
    assert password(alive) == "" and link(alive)["password_due"] is not None
    assert alive.litellm_admin.value("SELECT last_value FROM user_bridge.passwords_due") == 2
    assert set_passwords(alive) == 1
    assert opens(alive, "ann@example.com")
    assert set_passwords(alive) == 0


def test_without_a_drainer_a_commit_hashes_one_of_others(bridged: Pair) -> None:
    """What a deployment's backfill has queued would otherwise hold each COMMIT for twenty of them."""
    bridged.litellm_admin.run("SELECT user_bridge.pause()")
    rows.add_team(bridged.litellm, "t1", "Blue")
    for number in range(12):
        rows.add_user(bridged.litellm, f"u{number}", f"u{number}@example.com")
    bridged.litellm_admin.run("SELECT user_bridge.resume()")
    rows.add_organization(bridged.litellm, "o1", "Research")
    made = [address for address in openwebui.accounts(bridged) if address.startswith("u")]
    assert len(made) == 1 and opens(bridged, made[0], made[0].partition("@")[0])
    # What needs none goes as well, and the others are in nobody's way.
    assert set(openwebui.groups(bridged)) == {"grp_team_t1", "grp_o1"}
    be_the_drainer(bridged)
    bridged.litellm_admin.run("SELECT setval('user_bridge.backlog', 2), setval('user_bridge.waiting_since', 2)")
    rows.add_organization(bridged.litellm, "o2", "Sales")
    bridged.litellm_admin.run("SELECT user_bridge.end_drainer()")
    assert sum(password(bridged, f"u{number}") == "" for number in range(12)) == 11


def test_many_at_once_get_theirs_as_well(alive: Pair) -> None:
    alive.litellm.run(
        'INSERT INTO "LiteLLM_UserTable" (user_id, user_email) '
        "SELECT 'u' || n, 'u' || n || '@example.com' FROM generate_series(1, 40) AS n"
    )
    assert alive.openwebui.value("SELECT count(*) FROM auth WHERE id LIKE 'usr_%%' AND password <> ''") == 0
    while set_passwords(alive):
        pass
    assert all(opens(alive, f"u{n}@example.com", f"u{n}") for n in (1, 40))
    assert alive.openwebui_admin.value("SELECT count(*) FROM user_bridge.entity WHERE initial_password_at IS NULL") == 0


@pytest.mark.parametrize("admins", [False, True])
def test_an_admins_is_never_the_email_unless_the_settings_say_so(alive: Pair, admins: bool) -> None:
    change_settings(alive, initial_password_admins=admins)
    rows.add_user(alive.litellm, "u1", "ann@example.com", user_role="proxy_admin")
    assert (link(alive)["password_due"] is not None) is admins
    set_passwords(alive)
    assert (password(alive) != "") is admins


def test_who_became_an_admin_meanwhile_gets_none(alive: Pair) -> None:
    rows.add_user(alive.litellm, "u1", "ann@example.com")
    rows.change_user(alive.litellm, "u1", user_role="proxy_admin")
    set_passwords(alive)
    assert password(alive) == "" and link(alive)["password_due"] is None


def test_a_change_while_it_is_hashed_neither_waits_nor_comes_too_late(alive: Pair) -> None:
    rows.add_user(alive.litellm, "u1", "ann@example.com")
    # For most of a second.
    change_settings(alive, password_cost=13)
    hashing = threading.Thread(target=set_passwords, args=[alive])
    hashing.start()
    until(lambda: alive.openwebui_admin.value(HASHING, [alive.openwebui_db]))
    time.sleep(0.05)
    rows.change_user(alive.litellm, "u1", user_role="proxy_admin")
    # It was delivered in its COMMIT.
    assert alive.openwebui.value("SELECT role FROM public.user WHERE id = 'usr_u1'") == "admin" and hashing.is_alive()
    hashing.join()
    assert password(alive) == ""
    set_passwords(alive)
    assert password(alive) == "" and link(alive)["password_due"] is None


@pytest.mark.parametrize("table", ["public.auth", "user_bridge.entity"])
def test_a_locked_row_keeps_nobody_elses_from_being_set(alive: Pair, table: str) -> None:
    rows.add_user(alive.litellm, "u1", "ann@example.com")
    rows.add_user(alive.litellm, "u2", "bob@example.com")
    column = "id" if table == "public.auth" else "openwebui_id"
    with alive.openwebui_admin.transaction():
        alive.openwebui_admin.run(f"SELECT FROM {table} WHERE {column} = 'usr_u1' FOR UPDATE")
        set_passwords(alive)
        assert [password(alive, "u1") != "", password(alive, "u2") != ""] == [False, True]
    set_passwords(alive)
    assert password(alive) != ""


def test_who_takes_the_account_over_gets_it(alive: Pair) -> None:
    rows.add_user(alive.litellm, "u1", "ann@example.com")
    rows.add_user(alive.litellm, "u2", "ann@example.com")
    alive.litellm.run("DELETE FROM \"LiteLLM_UserTable\" WHERE user_id = 'u1'")
    alive.litellm_admin.rows("SELECT * FROM user_bridge.drain()")
    set_passwords(alive)
    assert link(alive, "u2")["openwebui_id"] == "usr_u1" and opens(alive, "ann@example.com")


def test_one_that_was_set_meanwhile_stays(alive: Pair) -> None:
    rows.add_user(alive.litellm, "u1", "ann@example.com")
    alive.openwebui.run("UPDATE auth SET password = 'their own hash' WHERE id = 'usr_u1'")
    set_passwords(alive)
    assert password(alive) == "their own hash"
    found = link(alive)
    assert (found["password_due"], found["initial_password_mark"], found["initial_password_at"]) == (None, None, None)


def target_timeout(pair: Pair) -> str:
    """Of the bridge's connection in this session."""
    ask = "SELECT to_jsonb(current_setting(''statement_timeout''))"
    until = "clock_timestamp() + interval '2 s'"
    call = f"user_bridge.exchange_once(user_bridge.connection_name(), '{ask}', {until}, NULL)"
    return str(pair.litellm_admin.value(f"SELECT {call}"))


def test_hashing_may_take_longer_than_anything_else(pair: Pair) -> None:
    install_bridge(pair, {"password_cost": 4, "target_timeout_ms": 400})
    be_the_drainer(pair)
    rows.add_user(pair.litellm, "u1", "ann@example.com")
    until(lambda: pair.litellm_admin.rows("SELECT FROM user_bridge.drain()") == [] and link(pair))
    # For a second, twice that on a busy machine.
    change_settings(pair, password_cost=14)
    assert set_passwords(pair) == 1
    assert opens(pair, "ann@example.com")
    assert target_timeout(pair) == "400ms"


def test_one_that_cannot_be_set_keeps_nobody_else_from_theirs(alive: Pair) -> None:
    for name in ("u1", "u2", "u3"):
        rows.add_user(alive.litellm, name, f"{name}@example.com")
    alive.openwebui.run("ALTER TABLE auth ADD CONSTRAINT no_u1 CHECK (id <> 'usr_u1' OR password = '')")
    for _ in range(2):
        alive.litellm_admin.run("SELECT user_bridge.drainer_round('{}')")
    assert opens(alive, "u2@example.com", "u2") and opens(alive, "u3@example.com", "u3")
    alive.litellm_admin.run("UPDATE user_bridge.upkeep SET next_at = now(); SELECT user_bridge.upkeep()")
    why = "SELECT last_error FROM user_bridge.upkeep WHERE task = 'initial passwords'"
    assert "account usr_u1" in alive.litellm_admin.value(why) and "no_u1" in alive.litellm_admin.value(why)
    alive.openwebui.run("ALTER TABLE auth DROP CONSTRAINT no_u1")
    set_passwords(alive)
    assert opens(alive, "u1@example.com")


def test_changes_do_not_wait_for_many(alive: Pair) -> None:
    names = [f"u{number}" for number in range(8)]
    for name in names:
        rows.add_user(alive.litellm, name, f"{name}@example.com")
    do_the_upkeep(alive)
    alive.litellm_admin.run("SELECT user_bridge.enqueue_entities('{user}', '{u1}')")
    state = alive.litellm_admin.value("SELECT user_bridge.drainer_round('{}')")
    assert [password(alive, name) != "" for name in names].count(True) == 1
    alive.litellm_admin.run("SELECT user_bridge.drainer_round(%s)", [json.dumps(state)])
    assert [password(alive, name) != "" for name in names].count(True) > 2


def test_a_drain_leaves_them_to_the_drainer_that_lives(alive: Pair) -> None:
    rows.add_user(alive.litellm, "u1", "ann@example.com")
    alive.connect("litellm", SUPERUSER).run("SELECT user_bridge.drain()")
    assert password(alive) == ""


def test_whoever_waits_for_one_is_not_called_locked_out(alive: Pair) -> None:
    rows.add_user(alive.litellm, "u1", "ann@example.com")
    locked_out = "SELECT count(*) FROM user_bridge.accounts_without_sign_in(10)"
    assert alive.openwebui_admin.value(locked_out) == 0
    alive.openwebui_admin.run("UPDATE user_bridge.entity SET password_due = password_due - interval '2 minutes'")
    assert alive.openwebui_admin.value(locked_out) == 1


def test_an_account_that_is_half_gone_waits_for_none(alive: Pair) -> None:
    rows.add_user(alive.litellm, "u1", "ann@example.com")
    alive.openwebui.run("DELETE FROM \"user\" WHERE id = 'usr_u1'")
    set_passwords(alive)
    assert alive.litellm_admin.value("SELECT last_value FROM user_bridge.passwords_due") == 1


def test_an_adopted_account_waits_for_none(alive: Pair) -> None:
    rows.add_user(alive.litellm, "u1", alive.admin.email, user_role="proxy_admin")
    assert link(alive)["password_due"] is None


@pytest.mark.parametrize("by", ["tick", "drain"])
def test_without_a_drainer_somebody_sets_what_the_last_one_has_left(alive: Pair, by: str) -> None:
    for name in ("u1", "u2"):
        rows.add_user(alive.litellm, name, f"{name}@example.com")
    change_settings(alive, password_cost=12)
    alive.litellm_admin.run("SELECT user_bridge.end_drainer()")
    alive.litellm_admin.rows(f"SELECT * FROM user_bridge.{by}()")
    assert opens(alive, "u1@example.com", "u1") and opens(alive, "u2@example.com", "u2")


def test_the_next_drainer_sets_what_the_last_one_ended_over(alive: Pair) -> None:
    rows.add_user(alive.litellm, "u1", "ann@example.com")
    # As if the last drainer had been killed in the middle of it.
    do_the_upkeep(alive)
    alive.litellm_admin.run("SELECT user_bridge.end_drainer(), setval('user_bridge.passwords_due', 1)")
    with drainer(alive):
        until(lambda: has_password(alive))


def test_it_expires_like_any_other(alive: Pair) -> None:
    rows.add_user(alive.litellm, "u1", "ann@example.com")
    set_passwords(alive)
    alive.openwebui_admin.run(
        "UPDATE user_bridge.entity SET initial_password_at = initial_password_at - interval '73 hours'"
    )
    alive.litellm_admin.rows("SELECT * FROM user_bridge.maintain()")
    assert password(alive) == ""
