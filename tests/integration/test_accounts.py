# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Corners of the rules for accounts: which one is adopted, whose address it is meanwhile, grants, admins' passwords."""

from __future__ import annotations

import pytest

from kit import openwebui, rows
from kit.bridge import install_bridge
from kit.drains import drain_all
from kit.pairs import Pair
from test_mapping import mapping

QUICK = {"initial_password": "none", "backoff_seconds": 1}


def test_a_deleted_account_takes_its_grants_along_and_no_others(pair: Pair) -> None:
    install_bridge(pair, QUICK)
    for name in ("u1", "u2"):
        rows.add_user(pair.litellm, name, f"{name}@example.com")
    # A group may have the id of an account.
    grants = [("user", "usr_u1"), ("user", "usr_u2"), ("group", "usr_u1"), ("user", "*")]
    for number, (kind, principal) in enumerate(grants):
        pair.openwebui.run(
            "INSERT INTO access_grant (id, resource_type, resource_id, principal_type, principal_id, permission, "
            "created_at) VALUES (%s, 'model', 'gpt', %s, %s, 'read', 1760000000)",
            [f"grant {number}", kind, principal],
        )
    rows.delete_user(pair.litellm, "u1")
    left = pair.openwebui.rows("SELECT principal_type, principal_id FROM access_grant WHERE resource_id = 'gpt'")
    assert {(row["principal_type"], row["principal_id"]) for row in left} == set(grants[1:])


def test_an_address_given_to_somebody_else_is_nobody_elses_for_signing_in(pair: Pair) -> None:
    """Open WebUI signs in by auth.email: two rows with one address would let one person into the other's account."""
    install_bridge(pair, QUICK)
    rows.add_user(pair.litellm, "u1", "ann@example.com")
    pair.litellm_admin.run("SELECT user_bridge.pause()")
    rows.change_user(pair.litellm, "u1", user_email="moved@example.com")
    # Its delivery has failed, say, and is due later.
    pair.litellm_admin.run("UPDATE user_bridge.sync_queue SET next_attempt_at = now() + interval '1 hour'")
    pair.litellm_admin.run("SELECT user_bridge.resume()")
    rows.add_user(pair.litellm, "u2", "ann@example.com")

    def addresses() -> list[tuple[str, str, str]]:
        found = pair.openwebui.rows(
            'SELECT u.id, u.email, a.email AS sign_in FROM "user" u JOIN auth a USING (id) '
            "WHERE u.email <> %s ORDER BY u.id",
            [pair.admin.email],
        )
        return [(row["id"], row["email"], row["sign_in"]) for row in found]

    (mover, heir) = addresses()
    assert heir == ("usr_u2", "ann@example.com", "ann@example.com")
    assert mover[0] == "usr_u1"
    assert mover[1] == mover[2] != "ann@example.com"
    drain_all(pair)
    assert addresses() == [
        ("usr_u1", "moved@example.com", "moved@example.com"),
        ("usr_u2", "ann@example.com", "ann@example.com"),
    ]


# Open WebUI 0.11.0 and newer have an index that allows one account for an address, whatever its letters.
@pytest.mark.schemas(openwebui="old")
class TestWhichOfSeveral:
    def adopted(self, pair: Pair, *accounts: tuple[str, str, int]) -> str:
        """The id of the account that a user gets, out of some with id, address and time of creation."""
        install_bridge(pair, QUICK)
        for account, email, created_at in accounts:
            openwebui.add_account(pair, account, email)
            pair.openwebui.run('UPDATE "user" SET created_at = %s WHERE id = %s', [created_at, account])
        rows.add_user(pair.litellm, "u1", "ann@example.com")
        return mapping(pair, "user")["u1"]

    def test_the_one_that_is_spelled_alike(self, pair: Pair) -> None:
        assert self.adopted(pair, ("a", "Ann@example.com", 1), ("b", "ann@example.com", 2)) == "b"

    def test_else_the_oldest(self, pair: Pair) -> None:
        assert self.adopted(pair, ("a", "ANN@example.com", 2), ("b", "Ann@example.com", 1)) == "b"

    def test_else_by_id(self, pair: Pair) -> None:
        assert self.adopted(pair, ("b", "ANN@example.com", 1), ("a", "Ann@example.com", 1)) == "a"


def test_an_admin_keeps_the_initial_password_where_admins_may_have_one(pair: Pair) -> None:
    install_bridge(pair, {"password_cost": 4, "initial_password_admins": True})
    password = "SELECT password FROM auth WHERE id = 'usr_u1'"
    rows.add_user(pair.litellm, "u1", "ann@example.com")
    before = pair.openwebui.value(password)
    rows.change_user(pair.litellm, "u1", user_role="proxy_admin")
    assert openwebui.accounts(pair) == {"ann@example.com": ("ann", "admin")}
    assert pair.openwebui.value(password) == before != ""
