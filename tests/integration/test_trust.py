# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which existing account a LiteLLM user gets, and whose password it has then. An address alone proves nothing."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any

import pytest

from kit import openwebui, rows
from kit.bridge import change_settings, install_bridge, write_settings
from kit.drains import drain_all
from kit.pairs import Pair
from test_mapping import audit, mapping

pytestmark = pytest.mark.schemas(openwebui="all")

BEFORE = 1760000000
THEIRS = "their own hash"
NEW_ID = "usr_ann"


def add_account(
    pair: Pair,
    key: str = "theirs",
    email: str = "ann@example.com",
    role: str = "user",
    password: str | None = THEIRS,
    **columns: Any,
) -> None:
    """An account that was made in Open WebUI; password None: without a row in auth."""
    openwebui.add_account(pair, key, email, role)
    for name, value in columns.items():
        pair.openwebui.run(f'UPDATE "user" SET "{name}" = %s WHERE id = %s', [value, key])
    if password is None:
        pair.openwebui.run("DELETE FROM auth WHERE id = %s", [key])
    else:
        pair.openwebui.run("UPDATE auth SET password = %s WHERE id = %s", [password, key])
    if has_stamp(pair):
        pair.openwebui.run("UPDATE auth SET session_stamp = 'a session' WHERE id = %s", [key])


def has_stamp(pair: Pair) -> bool:
    return pair.openwebui_version != "0.6.30"


def picture(pair: Pair, key: str = "theirs") -> dict[str, Any] | None:
    """The account and its sign-in, whole."""
    found = pair.openwebui.rows(
        'SELECT u::text AS account, a::text AS sign_in FROM "user" u LEFT JOIN auth a USING (id) WHERE id = %s',
        [key],
    )
    return found[0] if found else None


def password(pair: Pair, key: str = "theirs") -> str | None:
    found: str | None = pair.openwebui.value("SELECT password FROM auth WHERE id = %s", [key])
    return found


def sessions_ended(pair: Pair, key: str = "theirs") -> bool:
    return bool(pair.openwebui.value("SELECT session_stamp <> 'a session' FROM auth WHERE id = %s", [key]))


def make_key(pair: Pair, account: str = "theirs", key: str = "sk-their-own") -> None:
    """An API key of Open WebUI's own, which opens the account without a password or a session."""
    if pair.openwebui_version == "0.6.30":
        pair.openwebui.run('UPDATE "user" SET api_key = %s WHERE id = %s', [key, account])
        return
    pair.openwebui.run(
        "INSERT INTO api_key (id, user_id, key, created_at, updated_at) VALUES ('key_' || %(a)s, %(a)s, %(k)s, 1, 1)",
        {"a": account, "k": key},
    )


def keys(pair: Pair) -> list[str]:
    if pair.openwebui_version == "0.6.30":
        found = pair.openwebui.rows('SELECT api_key AS key FROM "user" WHERE api_key IS NOT NULL')
    else:
        found = pair.openwebui.rows("SELECT key FROM api_key")
    return [row["key"] for row in found]


def drain(pair: Pair) -> None:
    """Once, whatever stays in the queue."""
    pair.litellm_admin.rows("SELECT * FROM user_bridge.drain()")


def not_linked(pair: Pair) -> dict[str, str]:
    found = pair.openwebui_admin.rows(
        "SELECT entity_id, not_linked FROM user_bridge.entity WHERE not_linked IS NOT NULL"
    )
    return {row["entity_id"]: row["not_linked"] for row in found}


def expired(pair: Pair) -> list[str]:
    found = pair.litellm_admin.rows(
        "SELECT record_id FROM user_bridge.sync_audit WHERE operation = 'EXPIRE_PASSWORD' ORDER BY id"
    )
    return [row["record_id"] for row in found]


def sso(pair: Pair, proof: str) -> dict[str, str]:
    """The column in which this version remembers who has signed in by single sign-on."""
    if pair.openwebui_version == "0.6.30":
        return {"oauth_sub": "oidc@ann" if "ann" in proof else ""}
    return {"oauth": proof}


@dataclass(frozen=True)
class Case:
    """An account and a LiteLLM user with its address; what becomes of the account."""

    name: str
    becomes: str
    """linked: the password stays; expired: linked, with an unusable one; refused: untouched"""
    account: dict[str, Any] = field(default_factory=dict)
    user: dict[str, Any] = field(default_factory=dict)
    later: bool = False
    proof: str | None = None


PROOF = '{"oidc": {"sub": "ann"}}'
ADMIN = {"user_role": "proxy_admin"}
CASES = [
    Case("there before", "linked"),
    Case("there before, and LiteLLM says admin", "linked", user=ADMIN),
    Case("signed up later", "expired", later=True),
    Case("signed up later, and LiteLLM says admin", "expired", user=ADMIN, later=True),
    Case("of an unknown age", "expired", {"created_at": None}),
    Case("without a role", "expired", {"role": None}),
    Case("without a role, signed up later", "expired", {"role": None}, later=True),
    Case("pending", "expired", {"role": "pending"}),
    Case("pending, and LiteLLM says admin", "expired", {"role": "pending"}, ADMIN),
    Case("proved later by single sign-on", "linked", later=True, proof=PROOF),
    Case("pending, and proved by single sign-on", "linked", {"role": "pending"}, proof=PROOF),
    Case("proved, encoded twice", "linked", later=True, proof=json.dumps(PROOF)),
    Case("no proof: no identity", "expired", later=True, proof='{"oidc": {}}'),
    Case("no proof: an empty one", "expired", later=True, proof='{"oidc": {"sub": ""}}'),
    Case("no proof: cannot be read", "expired", later=True, proof='{"oidc": {"sub": "\\u0000"}}'),
    Case("an admin in both", "linked", {"role": "admin"}, ADMIN),
    Case("an admin in both, made later", "linked", {"role": "admin"}, ADMIN, later=True),
    Case("an admin, in LiteLLM a user", "refused", {"role": "admin"}, {"user_role": "internal_user"}),
    Case("an admin, in LiteLLM a viewer", "refused", {"role": "admin"}, {"user_role": "proxy_admin_viewer"}),
    Case("an admin, in LiteLLM without a role", "refused", {"role": "admin"}),
    Case("an admin, in LiteLLM disabled", "refused", {"role": "admin"}, {**ADMIN, "metadata": {"scim_active": False}}),
    Case("an admin proved by single sign-on, in LiteLLM a user", "refused", {"role": "admin"}, proof=PROOF),
    Case("without a row in auth", "expired", {"password": None}),
    Case("an admin without a row in auth", "expired", {"role": "admin", "password": None}, ADMIN),
    Case("another spelling", "linked", {"email": "Ann@Example.com"}),
    Case("another spelling, signed up later", "expired", {"email": "Ann@Example.com"}, later=True),
    Case("another spelling of an admin's", "refused", {"email": "ANN@example.com", "role": "admin"}),
]


def arrange(pair: Pair, case: Case) -> None:
    columns = dict(case.account)
    if case.later:
        columns["created_at"] = int(time.time()) + 1
    if None in (columns.get("created_at", BEFORE), columns.get("role", "user")) and pair.openwebui_version == "0.6.30":
        pytest.skip("newer ones may have accounts without a time or a role")
    if case.proof is not None:
        columns.update(sso(pair, case.proof))
    add_account(pair, **columns)


def is_held(pair: Pair, case: Case) -> bool:
    """A stranger's account must not become an admin's while his session may go on."""
    is_strangers = case.becomes == "expired" and case.account.get("role") != "admin"
    return is_strangers and case.user == ADMIN and not has_stamp(pair)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_becomes_of_an_account(quick: Pair, case: Case) -> None:
    write_settings(quick, {"password_cost": 4})
    arrange(quick, case)
    before = picture(quick)
    rows.add_user(quick.litellm, "ann", "ann@example.com", **case.user)
    drain(quick)
    if is_held(quick, case):
        assert (role_of(quick), password(quick)) == ("user", "") and held(quick) == {"adoption": ["theirs"]}
        assert "cannot end" in str(audit(quick, "SYNC_USER", "ann")[1])
        approve_all(quick)
    drain_all(quick)
    if case.becomes == "refused":
        assert picture(quick) == before
        assert mapping(quick, "user") == {} and audit(quick, "SYNC_USER", "ann")[0] == "SKIPPED"
        assert "is an admin" in not_linked(quick)["ann"] and "proxy_admin" in not_linked(quick)["ann"]
        assert set(openwebui.accounts(quick)) == {case.account.get("email", "ann@example.com")}
        return
    assert mapping(quick, "user") == {"ann": "theirs"} and not_linked(quick) == {}
    role = "admin" if case.user.get("user_role") == "proxy_admin" else "user"
    assert openwebui.accounts(quick) == {"ann@example.com": ("By Hand", role)}
    assert password(quick) == (THEIRS if case.becomes == "linked" else "")
    had_password = case.account.get("password", THEIRS) is not None
    assert expired(quick) == (["ann"] if case.becomes == "expired" and had_password else [])
    if has_stamp(quick) and had_password:
        assert sessions_ended(quick) == (case.becomes == "expired")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_nothing_is_adopted_where_that_is_forbidden(quick: Pair, case: Case) -> None:
    write_settings(quick, {"initial_password": "none", "adopt_existing": False})
    arrange(quick, case)
    before = picture(quick)
    rows.add_user(quick.litellm, "ann", "ann@example.com", **case.user)
    drain_all(quick)
    assert picture(quick) == before
    assert mapping(quick, "user") == {} and "bridge_adopt_existing" in not_linked(quick)["ann"]


@pytest.mark.parametrize("role", ["user", "pending", "admin"])
@pytest.mark.parametrize("later", [False, True])
def test_an_account_of_an_earlier_installation_is_the_bridges_own(quick: Pair, role: str, later: bool) -> None:
    add_account(quick, NEW_ID, role=role, created_at=int(time.time()) + 1 if later else BEFORE)
    rows.add_user(quick.litellm, "ann", "ann@example.com")
    assert mapping(quick, "user") == {"ann": NEW_ID} and password(quick, NEW_ID) == THEIRS
    assert openwebui.accounts(quick) == {"ann@example.com": ("ann", "user")}
    rows.delete_user(quick.litellm, "ann")
    assert openwebui.accounts(quick) == {}


@pytest.mark.parametrize("role", ["user", "admin"])
def test_an_account_with_the_id_only_is_somebody_elses(quick: Pair, role: str) -> None:
    add_account(quick, NEW_ID, "else@example.com", role=role)
    before = picture(quick, NEW_ID)
    rows.add_user(quick.litellm, "ann", "ann@example.com")
    assert mapping(quick, "user") == {"ann": "usr_ann_2"}
    rows.delete_user(quick.litellm, "ann")
    assert picture(quick, NEW_ID) == before
    assert openwebui.accounts(quick) == {"else@example.com": ("By Hand", role)}


def role_of(pair: Pair, key: str = "theirs") -> str:
    found: str = pair.openwebui.value('SELECT role FROM "user" WHERE id = %s', [key])
    return found


def open_sessions(pair: Pair, user: str) -> bool:
    return bool(
        pair.openwebui_admin.value(
            "SELECT open_sessions FROM user_bridge.entity WHERE entity_type = 'user' AND entity_id = %s", [user]
        )
    )


class TestWhoElseIsIn:
    """Whoever made an account that is linked without proof may be in it: by a password, an API key or a session."""

    def stranger(self, pair: Pair, **columns: Any) -> None:
        write_settings(pair, {"password_cost": 4})
        add_account(pair, created_at=int(time.time()) + 1, **columns)

    def promote(self, pair: Pair, user: str = "ann") -> None:
        rows.change_user(pair.litellm, user, user_role="proxy_admin")
        drain(pair)

    @pytest.mark.parametrize("user", [{}, ADMIN], ids=["user", "admin"])
    def test_a_strangers_api_key_goes(self, quick: Pair, user: dict[str, Any]) -> None:
        self.stranger(quick)
        make_key(quick)
        rows.add_user(quick.litellm, "ann", "ann@example.com", **user)
        approve_all(quick)
        drain_all(quick)
        assert mapping(quick, "user") == {"ann": "theirs"} and keys(quick) == []
        assert "API keys" in str(audit(quick, "EXPIRE_PASSWORD", "ann")[1])

    def test_that_of_an_account_without_a_sign_in_goes_too(self, quick: Pair) -> None:
        self.stranger(quick, password=None)
        make_key(quick)
        rows.add_user(quick.litellm, "ann", "ann@example.com")
        assert mapping(quick, "user") == {"ann": "theirs"} and keys(quick) == []

    def test_the_owners_own_stays(self, quick: Pair) -> None:
        add_account(quick)
        make_key(quick)
        rows.add_user(quick.litellm, "ann", "ann@example.com")
        self.promote(quick)
        assert role_of(quick) == "admin" and keys(quick) == ["sk-their-own"] and password(quick) == THEIRS

    def test_a_promotion_later_waits_for_an_approval(self, quick: Pair) -> None:
        self.stranger(quick)
        rows.add_user(quick.litellm, "ann", "ann@example.com")
        assert open_sessions(quick, "ann") is not has_stamp(quick)
        rows.change_user(quick.litellm, "ann", user_role="proxy_admin", user_alias="Ann")
        drain(quick)
        if has_stamp(quick):
            assert role_of(quick) == "admin" and held(quick) == {}
            return
        # Everything else flows.
        assert openwebui.accounts(quick) == {"ann@example.com": ("Ann", "user")}
        assert held(quick) == {"adoption": ["theirs"]}
        make_key(quick)
        approve_all(quick)
        drain_all(quick)
        assert role_of(quick) == "admin" and keys(quick) == []
        # Once, and not again each time.
        rows.change_user(quick.litellm, "ann", user_role="internal_user")
        self.promote(quick)
        assert role_of(quick) == "admin" and held(quick) == {}

    def test_an_approval_is_good_for_one_address(self, quick: Pair) -> None:
        self.stranger(quick)
        rows.add_user(quick.litellm, "ann", "ann@example.com", **ADMIN)
        if has_stamp(quick):
            return
        approve_all(quick)
        quick.openwebui.run("DELETE FROM auth WHERE id = 'theirs'; DELETE FROM \"user\" WHERE id = 'theirs'")
        add_account(quick, "another", created_at=int(time.time()) + 1)
        drain(quick)
        assert role_of(quick, "another") == "user" and held(quick) == {"adoption": ["another"]}

    def test_it_is_linked_when_litellm_no_longer_says_admin(self, quick: Pair) -> None:
        self.stranger(quick)
        rows.add_user(quick.litellm, "ann", "ann@example.com", **ADMIN)
        rows.change_user(quick.litellm, "ann", user_role="internal_user")
        assert mapping(quick, "user") == {"ann": "theirs"} and held(quick) == {}
        assert role_of(quick) == "user" and not_linked(quick) == {}

    def test_an_upgrade_of_open_webui_ends_them(self, quick: Pair) -> None:
        self.stranger(quick)
        rows.add_user(quick.litellm, "ann", "ann@example.com")
        make_key(quick)
        if not has_stamp(quick):
            quick.openwebui.run("ALTER TABLE auth ADD COLUMN session_stamp text DEFAULT 'a session'")
            self.promote(quick)
            assert role_of(quick) == "admin" and sessions_ended(quick) and keys(quick) == []
        assert not open_sessions(quick, "ann")

    def test_an_account_made_anew_has_no_strangers(self, quick: Pair) -> None:
        self.stranger(quick)
        rows.add_user(quick.litellm, "ann", "ann@example.com")
        quick.openwebui.run("DELETE FROM auth WHERE id = 'theirs'; DELETE FROM \"user\" WHERE id = 'theirs'")
        self.promote(quick)
        assert role_of(quick, NEW_ID) == "admin" and held(quick) == {} and not open_sessions(quick, "ann")

    def test_another_account_of_the_address_has_none_either(self, quick: Pair) -> None:
        self.stranger(quick)
        rows.add_user(quick.litellm, "ann", "ann@example.com")
        quick.openwebui.run("DELETE FROM auth WHERE id = 'theirs'; DELETE FROM \"user\" WHERE id = 'theirs'")
        add_account(quick, "older")
        rows.change_user(quick.litellm, "ann", user_alias="Ann")
        assert mapping(quick, "user") == {"ann": "older"}
        self.promote(quick)
        assert role_of(quick, "older") == "admin" and held(quick) == {} and password(quick, "older") == THEIRS

    def test_it_waits_until_somebody_decides(self, quick: Pair) -> None:
        self.stranger(quick)
        rows.add_user(quick.litellm, "ann", "ann@example.com", **ADMIN)
        shown = quick.litellm_admin.rows("SELECT id FROM user_bridge.held_changes()")
        assert len(shown) == (0 if has_stamp(quick) else 1)
        quick.litellm_admin.rows("SELECT * FROM user_bridge.maintain()")
        assert quick.litellm_admin.rows("SELECT id FROM user_bridge.held_changes()") == shown

    def test_it_waits_too_when_the_user_has_been_away(self, quick: Pair) -> None:
        self.stranger(quick)
        rows.add_user(quick.litellm, "ann", "ann@example.com")
        rows.delete_user(quick.litellm, "ann")
        rows.add_user(quick.litellm, "ann", "ann@example.com", **ADMIN)
        drain(quick)
        assert mapping(quick, "user") == {"ann": "theirs"}
        assert role_of(quick) == ("admin" if has_stamp(quick) else "user")

    @pytest.mark.parametrize("word", ["initial", "their own"])
    def test_an_heirs_promotion_takes_what_the_first_one_had(self, quick: Pair, word: str) -> None:
        """Who writes an address into his own row before LiteLLM's admin comes, must not be that admin afterwards."""
        write_settings(quick, {"password_cost": 4})
        rows.add_user(quick.litellm, "mal", "mal@example.com", created_at="2026-01-01")
        if word == "their own":
            quick.openwebui.run("UPDATE auth SET password = %s WHERE id = 'usr_mal'", [THEIRS])
        if has_stamp(quick):
            quick.openwebui.run("UPDATE auth SET session_stamp = 'a session' WHERE id = 'usr_mal'")
        make_key(quick, "usr_mal")
        rows.change_user(quick.litellm, "mal", user_email="ann@example.com")
        rows.add_user(quick.litellm, "ann", "ann@example.com", **ADMIN)
        rows.delete_user(quick.litellm, "mal")
        drain(quick)
        assert mapping(quick, "user") == {"ann": "usr_mal"} and keys(quick) == []
        if not has_stamp(quick):
            assert role_of(quick, "usr_mal") == "user" and held(quick) == {"adoption": ["usr_mal"]}
            approve_all(quick)
            drain_all(quick)
        else:
            assert sessions_ended(quick, "usr_mal")
        assert role_of(quick, "usr_mal") == "admin" and password(quick, "usr_mal") == ""
        assert expired(quick) == ["ann"]

    def test_an_heir_who_is_no_admin_gets_the_password_and_no_keys(self, quick: Pair) -> None:
        rows.add_user(quick.litellm, "one", "ann@example.com", created_at="2026-01-01")
        quick.openwebui.run("UPDATE auth SET password = %s WHERE id = 'usr_one'", [THEIRS])
        make_key(quick, "usr_one")
        rows.add_user(quick.litellm, "two", "ann@example.com", created_at="2026-01-02")
        rows.delete_user(quick.litellm, "one")
        drain_all(quick)
        assert mapping(quick, "user") == {"two": "usr_one"} and password(quick, "usr_one") == THEIRS
        assert keys(quick) == []

    def test_an_admin_hands_on_everything(self, quick: Pair) -> None:
        write_settings(quick, {"password_cost": 4})
        rows.add_user(quick.litellm, "one", "ann@example.com", created_at="2026-01-01", **ADMIN)
        quick.openwebui.run("UPDATE auth SET password = %s WHERE id = 'usr_one'", [THEIRS])
        rows.add_user(quick.litellm, "two", "ann@example.com", created_at="2026-01-02", **ADMIN)
        rows.delete_user(quick.litellm, "one")
        drain_all(quick)
        assert role_of(quick, "usr_one") == "admin" and password(quick, "usr_one") == THEIRS and held(quick) == {}

    @pytest.mark.parametrize("expired", [False, True])
    def test_who_knew_the_initial_password_is_out_after_a_promotion(self, quick: Pair, expired: bool) -> None:
        write_settings(quick, {"password_cost": 4})
        rows.add_user(quick.litellm, "ann", "ann@example.com")
        make_key(quick, NEW_ID)
        if has_stamp(quick):
            quick.openwebui.run("UPDATE auth SET session_stamp = 'a session' WHERE id = %s", [NEW_ID])
        if expired:
            old = "UPDATE user_bridge.entity SET initial_password_at = now() - interval '73 hours'"
            quick.openwebui_admin.run(old)
            quick.litellm_admin.run("SELECT user_bridge.maintain()")
            assert password(quick, NEW_ID) == "" and keys(quick) == ["sk-their-own"]
        self.promote(quick)
        assert role_of(quick, NEW_ID) == "admin" and password(quick, NEW_ID) == "" and keys(quick) == []
        if has_stamp(quick):
            assert sessions_ended(quick, NEW_ID)


class TestChangedAddress:
    """LiteLLM users edit their own."""

    @pytest.mark.parametrize("role", ["user", "admin", "pending"])
    def test_a_linked_user_keeps_his_own_account(self, quick: Pair, role: str) -> None:
        rows.add_user(quick.litellm, "mal", "mal@example.com")
        add_account(quick, role=role)
        before = picture(quick)
        rows.change_user(quick.litellm, "mal", user_email="ann@example.com", user_alias="Mal")
        assert picture(quick) == before
        assert openwebui.accounts(quick)["mal@example.com"] == ("Mal", "user")
        assert audit(quick, "SYNC_USER", "mal")[0] == "WARNING"

    @pytest.mark.parametrize("role", ["user", "admin", "pending"])
    def test_a_refused_user_gets_no_other_account(self, quick: Pair, role: str) -> None:
        add_account(quick, "boss", "boss@example.com", role="admin")
        add_account(quick, role=role)
        before = picture(quick), picture(quick, "boss")
        rows.add_user(quick.litellm, "mal", "boss@example.com")
        rows.change_user(quick.litellm, "mal", user_email="ann@example.com")
        assert (picture(quick), picture(quick, "boss")) == before
        assert "no change of a LiteLLM user's email" in not_linked(quick)["mal"]
        # Neither is his, so he gets one of his own.
        rows.change_user(quick.litellm, "mal", user_email="mal@example.com")
        assert mapping(quick, "user") == {"mal": "usr_mal"} and not_linked(quick) == {}

    def test_who_came_with_the_address_may_come_back_to_it(self, quick: Pair) -> None:
        add_account(quick, role="admin")
        rows.add_user(quick.litellm, "ann", "ann@example.com")
        rows.change_user(quick.litellm, "ann", user_email=None)
        rows.change_user(quick.litellm, "ann", user_email="ann@example.com", user_role="proxy_admin")
        assert mapping(quick, "user") == {"ann": "theirs"} and not_linked(quick) == {}

    def test_the_first_address_that_a_user_has_counts(self, quick: Pair) -> None:
        add_account(quick)
        rows.add_user(quick.litellm, "ann")
        rows.change_user(quick.litellm, "ann", user_email="ann@example.com")
        assert mapping(quick, "user") == {"ann": "theirs"}

    @pytest.mark.parametrize("refused", [False, True])
    def test_a_user_who_was_deleted_comes_with_any(self, quick: Pair, refused: bool) -> None:
        if refused:
            add_account(quick, "boss", "old@example.com", role="admin")
        rows.add_user(quick.litellm, "ann", "old@example.com")
        rows.delete_user(quick.litellm, "ann")
        add_account(quick)
        rows.add_user(quick.litellm, "ann", "ann@example.com")
        assert mapping(quick, "user") == {"ann": "theirs"}


def serve(pair: Pair, *items: dict[str, Any]) -> list[dict[str, Any]]:
    """Apply items as the door does for a caller that it knows."""
    version = 1 + (pair.openwebui_admin.value("SELECT max(version) FROM user_bridge.entity") or 0)
    request = {"version": version, "txid": "1", "budget_ms": 10_000, "items": items}
    found: list[dict[str, Any]] = pair.openwebui_admin.value("SELECT user_bridge.serve(%s)", [json.dumps(request)])[
        "items"
    ]
    return found


def user_item(user: str, **fields: Any) -> dict[str, Any]:
    desired = {"email": f"{user}@example.com", "name": user, "role": "user", "disabled": False, "original_role": None}
    return {"type": "user", "id": user, "desired": {**desired, **fields}, "skipped": None}


def removal(user: str, **facts: Any) -> dict[str, Any]:
    return {"type": "user", "id": user, "desired": None, "skipped": None, **facts}


def held(pair: Pair) -> dict[str, list[str]]:
    found = pair.openwebui_admin.rows("SELECT kind, accounts FROM user_bridge.held")
    return {row["kind"]: row["accounts"] for row in found}


def approve_all(pair: Pair) -> None:
    pair.litellm_admin.run("SELECT user_bridge.approve(array(SELECT h.id FROM user_bridge.held_changes() AS h))")


class TestAddressOfAnAdoptedAccount:
    def test_from_litellm_to_the_approval_and_back(self, quick: Pair) -> None:
        add_account(quick)
        rows.add_user(quick.litellm, "ann", "ann@example.com")
        rows.change_user(quick.litellm, "ann", user_email="new@example.com", user_alias="Anna")
        drain(quick)
        assert openwebui.accounts(quick) == {"ann@example.com": ("Anna", "user")}
        (entry,) = quick.litellm_admin.rows("SELECT * FROM user_bridge.held_changes()")
        assert (entry["kind"], entry["entity_id"], entry["openwebui_id"]) == ("email", "ann", "theirs")
        assert [each["email"] for each in entry["accounts"]] == ["ann@example.com"]
        approve_all(quick)
        drain_all(quick)
        assert openwebui.accounts(quick) == {"new@example.com": ("Anna", "user")} and password(quick) == THEIRS

    def test_it_is_forgotten_when_the_address_is_the_old_one_again(self, quick: Pair) -> None:
        add_account(quick)
        rows.add_user(quick.litellm, "ann", "ann@example.com")
        for email in ("new@example.com", "ann@example.com"):
            rows.change_user(quick.litellm, "ann", user_email=email)
        drain_all(quick)
        assert held(quick) == {}

    def test_it_moves_when_somebody_has_approved_just_that(self, quick: Pair) -> None:
        add_account(quick)
        rows.add_user(quick.litellm, "ann", "ann@example.com")
        (outcome,) = serve(quick, user_item("ann", email="new@example.com", name="Anna"))
        assert outcome["status"] == "WARNING" and "retry" not in outcome
        (entry,) = outcome["held"]
        assert entry["kind"] == "email" and [each["email"] for each in entry["accounts"]] == ["ann@example.com"]
        # Everything else flows.
        assert openwebui.accounts(quick) == {"ann@example.com": ("Anna", "user")}
        other = {**user_item("ann", email="other@example.com"), "approvals": [entry["id"]]}
        (outcome,) = serve(quick, other)
        assert set(openwebui.accounts(quick)) == {"ann@example.com"}
        approved = {**user_item("ann", email="other@example.com"), "approvals": [outcome["held"][0]["id"]]}
        (outcome,) = serve(quick, approved)
        assert outcome == {"status": "SUCCESS", "openwebui_id": "theirs", "before": {"email": "ann@example.com"}}
        account = openwebui.account(quick, "other@example.com")
        assert account is not None and account["auth_email"] == "other@example.com"
        assert held(quick) == {}
        # Once, not for ever.
        (outcome,) = serve(quick, {**approved, "desired": user_item("ann", email="third@example.com")["desired"]})
        assert outcome["held"]

    def test_that_of_an_account_that_the_bridge_made_moves(self, quick: Pair) -> None:
        rows.add_user(quick.litellm, "ann", "ann@example.com")
        rows.change_user(quick.litellm, "ann", user_email="new@example.com")
        assert set(openwebui.accounts(quick)) == {"new@example.com"} and held(quick) == {}

    @pytest.mark.parametrize("inherited", [False, True])
    def test_nobody_else_gets_it_meanwhile(self, quick: Pair, inherited: bool) -> None:
        if inherited:
            rows.add_user(quick.litellm, "one", "ann@example.com", created_at="2026-01-01")
        else:
            add_account(quick)
        rows.add_user(quick.litellm, "ann", "ann@example.com", created_at="2026-01-02")
        if inherited:
            rows.delete_user(quick.litellm, "one")
            drain_all(quick)
        rows.change_user(quick.litellm, "ann", user_email="new@example.com")
        rows.add_user(quick.litellm, "bob", "ann@example.com")
        drain(quick)
        assert mapping(quick, "user") == {"ann": "usr_one" if inherited else "theirs"}
        assert set(openwebui.accounts(quick)) == {"ann@example.com"}
        assert audit(quick, "SYNC_USER", "bob")[0] == "SKIPPED" and "bob" in not_linked(quick)


class TestOneAddressOfTwoUsers:
    def people(self, pair: Pair, **of_the_second: Any) -> None:
        write_settings(pair, {"password_cost": 4})
        rows.add_user(pair.litellm, "one", "ann@example.com", user_role="proxy_admin", created_at="2026-01-01")
        pair.openwebui.run("UPDATE auth SET password = %s WHERE id = 'usr_one'", [THEIRS])
        rows.add_user(pair.litellm, "two", "ann@example.com", created_at="2026-01-02", **of_the_second)

    def test_the_next_takes_over_the_account_and_not_the_role(self, quick: Pair) -> None:
        self.people(quick)
        rows.delete_user(quick.litellm, "one")
        drain_all(quick)
        assert mapping(quick, "user") == {"two": "usr_one"} and password(quick, "usr_one") == THEIRS
        assert openwebui.accounts(quick) == {"ann@example.com": ("ann", "user")}
        # It holds the first one's chats.
        rows.change_user(quick.litellm, "two", user_email="two@example.com")
        assert set(openwebui.accounts(quick)) == {"ann@example.com"} and set(held(quick)) == {"email"}
        rows.delete_user(quick.litellm, "two")
        drain_all(quick)
        assert openwebui.accounts(quick) == {}

    def test_an_adopted_one_stays_adopted(self, quick: Pair) -> None:
        add_account(quick)
        rows.add_user(quick.litellm, "one", "ann@example.com", created_at="2026-01-01")
        rows.add_user(quick.litellm, "two", "ann@example.com", created_at="2026-01-02")
        rows.delete_user(quick.litellm, "one")
        drain_all(quick)
        assert mapping(quick, "user") == {"two": "theirs"} and password(quick) == THEIRS
        rows.delete_user(quick.litellm, "two")
        drain_all(quick)
        assert openwebui.accounts(quick) == {"ann@example.com": ("By Hand", "pending")}

    def test_until_the_next_one_is_delivered_nobody_gets_in(self, quick: Pair) -> None:
        self.people(quick)
        (outcome,) = serve(quick, removal("one", heir={"id": "two", "email": "ann@example.com"}))
        assert outcome == {"status": "SUCCESS"}
        account = openwebui.account(quick, "ann@example.com")
        assert account is not None and (account["role"], account["active"]) == ("pending", False)

    def test_who_changed_his_address_to_it_does_not(self, quick: Pair) -> None:
        rows.add_user(quick.litellm, "mal", "mal@example.com", created_at="2026-01-02")
        quick.openwebui.run("DELETE FROM \"user\" WHERE id = 'usr_mal'")
        quick.openwebui.run("DELETE FROM auth WHERE id = 'usr_mal'")
        add_account(quick)
        rows.add_user(quick.litellm, "one", "ann@example.com", created_at="2026-01-01")
        rows.change_user(quick.litellm, "mal", user_email="ann@example.com")
        rows.delete_user(quick.litellm, "one")
        drain_all(quick)
        assert mapping(quick, "user") == {}
        assert openwebui.accounts(quick) == {"ann@example.com": ("By Hand", "pending")}

    @pytest.mark.parametrize("before", [None, "no address", "ann@example.com"])
    def test_nor_does_who_had_none_of_his_own(self, quick: Pair, before: str | None) -> None:
        rows.add_user(quick.litellm, "one", "ann@example.com", created_at="2026-01-02")
        rows.add_user(quick.litellm, "mal", before, created_at="2026-01-03")
        if before != "ann@example.com":
            rows.change_user(quick.litellm, "mal", user_email="ann@example.com")
        rows.delete_user(quick.litellm, "one")
        drain_all(quick)
        # Whoever came with it, instead, has it from the beginning.
        assert mapping(quick, "user") == {"mal": "usr_one" if before == "ann@example.com" else "usr_mal"}

    def test_who_was_deleted_gets_another_account_when_he_returns(self, quick: Pair) -> None:
        self.people(quick)
        rows.delete_user(quick.litellm, "one")
        rows.add_user(quick.litellm, "one", "one@example.com")
        drain_all(quick)
        assert mapping(quick, "user") == {"two": "usr_one", "one": "usr_one_2"}


class TestReturning:
    @pytest.mark.parametrize("rule", ["disable", "keep"])
    def test_with_the_password_that_the_account_had(self, quick: Pair, rule: str) -> None:
        write_settings(quick, {"password_cost": 4, "on_user_delete": rule})
        rows.add_user(quick.litellm, "ann", "ann@example.com")
        quick.openwebui.run("UPDATE auth SET password = %s WHERE id = %s", [THEIRS, NEW_ID])
        rows.delete_user(quick.litellm, "ann")
        rows.add_user(quick.litellm, "ann", "ann@example.com")
        assert mapping(quick, "user") == {"ann": NEW_ID} and password(quick, NEW_ID) == THEIRS
        account = openwebui.account(quick, "ann@example.com")
        assert account is not None and (account["role"], account["active"]) == ("user", True)

    def test_to_an_account_that_had_been_adopted(self, quick: Pair) -> None:
        add_account(quick)
        for _time in range(2):
            rows.add_user(quick.litellm, "ann", "ann@example.com")
            assert mapping(quick, "user") == {"ann": "theirs"} and password(quick) == THEIRS
            rows.delete_user(quick.litellm, "ann")
            account = openwebui.account(quick, "ann@example.com")
            assert account is not None and (account["role"], account["active"]) == ("pending", False)

    @pytest.mark.parametrize("account", ["made", "made for the first of two", "moved", "adopted", "adopted and proved"])
    def test_what_another_user_has_set_meanwhile_opens_nothing(self, quick: Pair, account: str) -> None:
        write_settings(quick, {"password_cost": 4, "on_user_delete": "disable"})
        if account.startswith("adopted"):
            add_account(quick, **(sso(quick, PROOF) if "proved" in account else {}))
        rows.add_user(quick.litellm, "ann", "ann@example.com", created_at="2026-01-01")
        if account == "made for the first of two":
            rows.add_user(quick.litellm, "bob", "ann@example.com", created_at="2026-01-02")
        if account == "moved":
            quick.litellm.run("UPDATE \"LiteLLM_UserTable\" SET user_id = 'bob' WHERE user_id = 'ann'")
        else:
            rows.delete_user(quick.litellm, "ann")
        if account not in ("made for the first of two", "moved"):
            rows.add_user(quick.litellm, "bob", "ann@example.com")
        drain_all(quick)
        key = "theirs" if account.startswith("adopted") else NEW_ID
        assert mapping(quick, "user") == {"bob": key}
        quick.openwebui.run("UPDATE auth SET password = 'his own hash' WHERE id = %s", [key])
        rows.delete_user(quick.litellm, "bob")
        rows.add_user(quick.litellm, "ann", "ann@example.com", **ADMIN)
        drain(quick)
        assert mapping(quick, "user") == {"ann": key} and password(quick, key) == ""
        assert role_of(quick, key) == ("admin" if has_stamp(quick) else "user")
        # With the chats of both it goes nowhere by itself.
        rows.change_user(quick.litellm, "ann", user_email="new@example.com")
        assert set(openwebui.accounts(quick)) == {"ann@example.com"}

    def test_another_user_with_the_address_does_not_get_the_password(self, quick: Pair) -> None:
        write_settings(quick, {"password_cost": 4, "on_user_delete": "disable"})
        rows.add_user(quick.litellm, "ann", "ann@example.com")
        rows.delete_user(quick.litellm, "ann")
        rows.add_user(quick.litellm, "bob", "ann@example.com")
        assert mapping(quick, "user") == {"bob": NEW_ID} and password(quick, NEW_ID) == ""
        assert expired(quick) == ["bob"]

    def test_with_another_address_the_password_is_nobodys(self, quick: Pair) -> None:
        write_settings(quick, {"password_cost": 4, "on_user_delete": "disable"})
        rows.add_user(quick.litellm, "ann", "ann@example.com")
        rows.delete_user(quick.litellm, "ann")
        rows.add_user(quick.litellm, "ann", "new@example.com")
        assert set(openwebui.accounts(quick)) == {"new@example.com"}
        assert mapping(quick, "user") == {"ann": NEW_ID} and password(quick, NEW_ID) == ""

    def test_an_admin_made_by_hand_meanwhile_is_not_taken(self, quick: Pair) -> None:
        add_account(quick)
        rows.add_user(quick.litellm, "ann", "ann@example.com")
        rows.delete_user(quick.litellm, "ann")
        quick.openwebui.run("UPDATE \"user\" SET role = 'admin' WHERE id = 'theirs'")
        before = picture(quick)
        rows.add_user(quick.litellm, "ann", "ann@example.com")
        assert picture(quick) == before and "ann" in not_linked(quick)


class TestLastAdmin:
    def founder(self, pair: Pair) -> str:
        """LiteLLM's proxy_admin has the account of Open WebUI's first admin; its id."""
        rows.add_user(pair.litellm, "boss", pair.admin.email, user_role="proxy_admin")
        return mapping(pair, "user")["boss"]

    def test_what_was_refused_does_not_happen_days_later(self, quick: Pair) -> None:
        key = self.founder(quick)
        rows.delete_user(quick.litellm, "boss")
        before = picture(quick, key)
        assert held(quick) == {"last_admin": [key]}
        add_account(quick, "second", "second@example.com", role="admin")
        drain(quick)
        quick.litellm_admin.rows("SELECT * FROM user_bridge.maintain()")
        drain(quick)
        assert picture(quick, key) == before
        (outcome,) = serve(quick, removal("boss"))
        assert outcome["status"] == "PARKED" and outcome["openwebui_id"] == key
        serve(quick, removal("boss", approvals=[outcome["held"][0]["id"]]))
        account = openwebui.account(quick, quick.admin.email)
        assert account is not None and (account["role"], account["active"]) == ("pending", False)
        assert held(quick) == {}

    def test_no_approval_removes_the_last_one(self, quick: Pair) -> None:
        key = self.founder(quick)
        before = picture(quick, key)
        (outcome,) = serve(quick, removal("boss"))
        serve(quick, removal("boss", approvals=[outcome["held"][0]["id"]]))
        assert picture(quick, key) == before and held(quick) == {"last_admin": [key]}

    def test_a_demotion_waits_as_well_and_the_rest_flows(self, quick: Pair) -> None:
        self.founder(quick)
        rows.change_user(quick.litellm, "boss", user_role="internal_user", user_alias="Former")
        add_account(quick, "second", "second@example.com", role="admin")
        drain(quick)
        account = openwebui.account(quick, quick.admin.email)
        assert account is not None and (account["name"], account["role"]) == ("Former", "admin")
        approve_all(quick)
        drain_all(quick)
        account = openwebui.account(quick, quick.admin.email)
        assert account is not None and account["role"] == "user"

    def test_it_is_forgotten_when_litellm_says_admin_again(self, quick: Pair) -> None:
        self.founder(quick)
        rows.change_user(quick.litellm, "boss", user_role="internal_user")
        assert set(held(quick)) == {"last_admin"}
        rows.change_user(quick.litellm, "boss", user_role="proxy_admin")
        assert held(quick) == {}
        add_account(quick, "second", "second@example.com", role="admin")
        rows.change_user(quick.litellm, "boss", user_role="internal_user")
        account = openwebui.account(quick, quick.admin.email)
        assert account is not None and account["role"] == "user"

    def test_one_of_several_is_demoted_at_once(self, quick: Pair) -> None:
        self.founder(quick)
        add_account(quick, "second", "second@example.com", role="admin")
        rows.change_user(quick.litellm, "boss", user_role="internal_user")
        account = openwebui.account(quick, quick.admin.email)
        assert account is not None and account["role"] == "user" and held(quick) == {}


class TestPasswords:
    def hashed(self, pair: Pair, word: str) -> str:
        """As Open WebUI stores it, which names bcrypt otherwise than pgcrypto does."""
        made = pair.openwebui_admin.value("SELECT user_bridge.crypt(%s, user_bridge.gen_salt('bf', 4))", [word])
        return f"$2b${made[4:]}"

    @pytest.mark.parametrize("word", ["ann@example.com", "her own"])
    def test_no_admin_has_the_email_as_password(self, quick: Pair, word: str) -> None:
        add_account(quick, password=self.hashed(quick, word))
        rows.add_user(quick.litellm, "ann", "ann@example.com")
        before = password(quick)
        assert before
        rows.change_user(quick.litellm, "ann", user_role="proxy_admin")
        assert password(quick) == ("" if word == "ann@example.com" else before)
        assert expired(quick) == (["ann"] if word == "ann@example.com" else [])

    def test_a_promotion_that_takes_the_initial_password_is_audited(self, quick: Pair) -> None:
        write_settings(quick, {"password_cost": 4})
        rows.add_user(quick.litellm, "ann", "ann@example.com")
        rows.change_user(quick.litellm, "ann", user_role="proxy_admin")
        assert expired(quick) == ["ann"]
        assert "became an admin" in str(audit(quick, "EXPIRE_PASSWORD", "ann")[1])
        rows.change_user(quick.litellm, "ann", user_alias="Ann")
        assert expired(quick) == ["ann"]

    def test_a_sign_in_made_again_gets_no_known_password(self, quick: Pair) -> None:
        write_settings(quick, {"password_cost": 4})
        rows.add_user(quick.litellm, "ann", "ann@example.com")
        quick.openwebui.run("DELETE FROM auth WHERE id = %s", [NEW_ID])
        rows.change_user(quick.litellm, "ann", user_alias="Ann")
        assert password(quick, NEW_ID) == ""

    def test_who_cannot_sign_in_is_named(self, quick: Pair) -> None:
        write_settings(quick, {"initial_password": "none"})
        for user in ("ann", "bob", "cem", "dee"):
            rows.add_user(quick.litellm, user, f"{user}@example.com")
        quick.openwebui.run("UPDATE auth SET password = %s WHERE id = 'usr_bob'", [THEIRS])
        for name, value in sso(quick, PROOF).items():
            quick.openwebui.run(f"UPDATE \"user\" SET {name} = %s WHERE id = 'usr_cem'", [value])
        rows.change_user(quick.litellm, "dee", metadata={"scim_active": False})
        found = quick.openwebui_admin.rows("SELECT * FROM user_bridge.accounts_without_sign_in(10)")
        assert [dict(row) for row in found] == [
            {"user_id": "ann", "openwebui_id": "usr_ann", "email": "ann@example.com", "total": 1}
        ]

    def test_who_has_lost_the_address_is_named_too(self, quick: Pair) -> None:
        add_account(quick)
        for user in ("mal", "bob"):
            rows.add_user(quick.litellm, user, f"{user}@example.com")
            quick.openwebui.run("UPDATE auth SET password = %s WHERE id = %s", [THEIRS, f"usr_{user}"])
        # The new one is somebody else's, and the old one is given to another.
        rows.change_user(quick.litellm, "mal", user_email="ann@example.com")
        rows.change_user(quick.litellm, "bob", user_email="mal@example.com")
        drain(quick)
        found = quick.openwebui_admin.rows("SELECT * FROM user_bridge.accounts_without_sign_in(10)")
        assert [dict(row) for row in found] == [
            {"user_id": "mal", "openwebui_id": "usr_mal", "email": "moved+usr_mal@user-bridge.invalid", "total": 1}
        ]


class TestOwnSettings:
    """A request says what LiteLLM has. What follows from it for Open WebUI, its side decides."""

    def test_what_a_request_says_about_settings_does_not_count(self, quick: Pair) -> None:
        write_settings(quick, {"initial_password": "none", "adopt_existing": False, "on_user_delete": "keep"})
        add_account(quick)
        wishes = {
            "adopt_existing": True,
            "on_user_delete": "delete",
            "user_id_prefix": "x_",
            "initial_password": "email",
        }
        request = {"version": 1, "budget_ms": 10_000, "options": wishes}
        items = [user_item("ann", openwebui_id="theirs"), user_item("bob", openwebui_id="theirs")]
        reply = quick.openwebui_admin.value("SELECT user_bridge.serve(%s)", [json.dumps({**request, "items": items})])
        assert [each.get("openwebui_id") for each in reply["items"]] == [None, "usr_bob"]
        assert password(quick, "usr_bob") == "" and password(quick) == THEIRS
        gone = {**request, "version": 2, "items": [removal("bob")]}
        quick.openwebui_admin.value("SELECT user_bridge.serve(%s)", [json.dumps(gone)])
        assert openwebui.accounts(quick)["bob@example.com"] == ("bob", "user")

    @pytest.mark.parametrize("many", [False, True], ids=["one", "many"])
    def test_no_role_that_they_do_not_give(self, quick: Pair, many: bool) -> None:
        others = [user_item(f"u{number}") for number in range(25 if many else 0)]
        wanted = user_item("ann", role="admin", original_role="internal_user")
        (outcome, *rest) = serve(quick, wanted, *others)
        assert outcome["status"] == "WARNING" and outcome["retry"] and "deploy_bridge" in outcome["message"]
        assert {each["status"] for each in rest} <= {"SUCCESS"}
        assert openwebui.accounts(quick)["ann@example.com"] == ("ann", "user")
        assert serve(quick, user_item("ann", role="admin", original_role="proxy_admin"))[0]["status"] == "SUCCESS"
        # Less than they give is never refused.
        assert serve(quick, user_item("ann", role="pending", original_role="proxy_admin"))[0]["status"] == "SUCCESS"

    def test_without_any_nothing_is_done(self, quick: Pair) -> None:
        quick.openwebui_admin.run("DELETE FROM user_bridge.settings")
        rows.add_user(quick.litellm, "ann", "ann@example.com")
        assert openwebui.accounts(quick) == {}
        assert "has no settings" in (quick.litellm_admin.value("SELECT outage_error FROM user_bridge.target") or "")

    def test_a_preview_hashes_no_password(self, quick: Pair) -> None:
        change_settings(quick, initial_password="email", password_cost=16)
        quick.litellm_admin.run("SELECT user_bridge.pause()")
        rows.add_user(quick.litellm, "ann", "ann@example.com")
        start = time.monotonic()
        quick.litellm_admin.rows("SELECT * FROM user_bridge.preview(ARRAY['user'], ARRAY['ann'])")
        # A hash of this cost takes several seconds.
        assert time.monotonic() - start < 3


def links(pair: Pair) -> list[dict[str, Any]]:
    return pair.openwebui_admin.rows(
        "SELECT entity_id, openwebui_id, origin, made_id, known_email, not_linked, initial_password_mark "
        "FROM user_bridge.entity WHERE entity_type = 'user' ORDER BY entity_id"
    )


def test_many_at_once_are_treated_as_one_by_one(pair: Pair) -> None:
    """Among forty users who come together each of these has an account with his address already."""
    install_bridge(pair, {"initial_password": "none"})
    found = []
    for together in (True, False):
        for table in ('"user"', "auth"):
            pair.openwebui.run(f"DELETE FROM {table} WHERE email <> %s", [pair.admin.email])
        pair.openwebui_admin.run("TRUNCATE user_bridge.entity, user_bridge.membership, user_bridge.held")
        add_account(pair, "before", "before@example.com")
        add_account(pair, "later", "later@example.com", created_at=int(time.time()) + 1)
        add_account(pair, "waits", "waits@example.com", role="pending")
        add_account(pair, "boss", "boss@example.com", role="admin")
        add_account(pair, "usr_id", "somebody@example.com")
        users = ["before", "later", "waits", "boss", "id", *(f"u{number}" for number in range(40))]
        items = [user_item(user) for user in users]
        items.append(user_item("liar", role="admin", original_role="internal_user"))
        outcomes = serve(pair, *items) if together else [serve(pair, item)[0] for item in items]
        accounts = pair.openwebui.rows(
            'SELECT u.id, u.email, u.name, u.role, a.email AS sign_in, a.password, a.active FROM "user" u '
            "LEFT JOIN auth a USING (id) ORDER BY u.id"
        )
        found.append((outcomes, accounts, links(pair)))
    assert found[0] == found[1]
    assert [each["status"] for each in found[0][0]] == ["SUCCESS"] * 3 + ["SKIPPED"] + ["SUCCESS"] * 41 + ["WARNING"]
