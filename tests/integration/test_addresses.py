# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which address is whose: letters that only look equal, users who take one from each other, and what that costs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from kit import openwebui, pairs, rows
from kit.bridge import install_bridge
from kit.cluster import Cluster, running
from kit.drains import drain_all
from kit.oracle import differences
from kit.pairs import Pair
from test_mapping import audit

pytestmark = pytest.mark.schemas(litellm="all", openwebui="all")

NOT_AN_ADDRESS = "the email is not an address"
CAPITALS = "the email has capital letters other than A to Z"
# As LiteLLM has it, as the account gets it, or why there is none.
EMAILS: list[tuple[str, str | None, str | None]] = [
    ("Ann@Example.COM", "ann@example.com", None),
    ("INFO@EXAMPLE.COM", "info@example.com", None),
    (" \t ann@example.com\r\n", "ann@example.com", None),
    ("it's\\odd+tag@example.com", "it's\\odd+tag@example.com", None),
    ("j\xfcrgen@example.com", "j\xfcrgen@example.com", None),
    ("stra\xdfe@example.com", "stra\xdfe@example.com", None),
    ("\u0131nfo@example.com", "\u0131nfo@example.com", None),
    ("i\u0307nfo@example.com", "i\u0307nfo@example.com", None),
    ("\u5f20@example.com", "\u5f20@example.com", None),
    ("J\xdcRGEN@example.com", None, CAPITALS),
    ("\u0130nfo@example.com", None, CAPITALS),
    ("\u212aim@example.com", None, CAPITALS),
    ("\u01c5@example.com", None, CAPITALS),
    ("\u24b6nn@example.com", None, CAPITALS),
    ("\U00010400@example.com", None, CAPITALS),
    ("\ua7dc@example.com", None, CAPITALS),
    ("ann@ex\u0391mple.com", None, CAPITALS),
    ("", None, "no email"),
    (" \t\r\n", None, "no email"),
    ("ann", None, NOT_AN_ADDRESS),
    ("@example.com", None, NOT_AN_ADDRESS),
    ("ann@", None, NOT_AN_ADDRESS),
    ("ann@bob@example.com", None, NOT_AN_ADDRESS),
    ("an n@example.com", None, NOT_AN_ADDRESS),
    ("ann\t@example.com", None, NOT_AN_ADDRESS),
    ("ann\n@example.com", None, NOT_AN_ADDRESS),
    ("ann\x01@example.com", None, NOT_AN_ADDRESS),
    ("ann\x7f@example.com", None, NOT_AN_ADDRESS),
    ("\xa0ann@example.com", None, NOT_AN_ADDRESS),
    ("ann\x85@example.com", None, NOT_AN_ADDRESS),
    ("ann@exa\u2003mple.com", None, NOT_AN_ADDRESS),
    ("ann@example.com\u2028", None, NOT_AN_ADDRESS),
    ("a" * 244 + "@example.com", None, "the email is longer than 255 characters"),
]


def added(pair: Pair) -> dict[str, str]:
    """Accounts by id, without Open WebUI's own first admin."""
    query = 'SELECT id, email FROM "user" WHERE email <> %s'
    return {row["id"]: row["email"] for row in pair.openwebui_admin.rows(query, [pair.admin.email])}


def by_hand(pair: Pair, account: str, email: str) -> None:
    pair.openwebui.run(
        'INSERT INTO "user" (id, name, email, role, profile_image_url, last_active_at, updated_at, created_at) '
        "VALUES (%(id)s, %(id)s, %(email)s, 'user', '/user.png', 1, 1, 1)",
        {"id": account, "email": email},
    )
    pair.openwebui.run("INSERT INTO auth (id, email, password, active) VALUES (%s, %s, 'x', true)", [account, email])


def recorded(pair: Pair) -> dict[str, str]:
    found = pair.litellm_admin.rows("SELECT user_id, email FROM user_bridge.address")
    return {row["user_id"]: row["email"] for row in found}


def since(pair: Pair, user_id: str) -> Any:
    return pair.litellm_admin.value("SELECT since FROM user_bridge.address WHERE user_id = %s", [user_id])


def holder(pair: Pair, *users: str) -> str:
    """Whose account it is that ann@example.com opens; the others are skipped."""
    drain_all(pair)
    account = openwebui.account(pair, "ann@example.com")
    assert account is not None and account["active"]
    mapped = pair.litellm_admin.value(
        "SELECT litellm_id FROM user_bridge.sync_mapping WHERE litellm_type = 'user' AND openwebui_id = %s",
        [account["id"]],
    )
    assert mapped in users
    for user in set(users) - {mapped}:
        result, reason = audit(pair, "SYNC_USER", user)
        assert result == "SKIPPED" and reason is not None and mapped in reason, (user, result, reason)
    return mapped


def rules(pair: Pair) -> None:
    """Every row of EMAILS, by the functions that decide."""
    for email, wanted, reason in EMAILS:
        found = pair.litellm_admin.rows(
            "SELECT user_bridge.unusable_email(%(e)s) AS reason, user_bridge.claimed_email('u', %(e)s) AS email",
            {"e": email},
        )
        assert found == [{"reason": reason, "email": wanted}], ascii(email)


class TestLetters:
    @pytest.mark.schemas(litellm="new", openwebui="new")
    def test_the_rule(self, quick: Pair) -> None:
        rules(quick)

    @pytest.mark.schemas(litellm="new", openwebui="new")
    @pytest.mark.parametrize(
        "setting", ["standard_conforming_strings = off", "search_path = public", "client_encoding = LATIN1"]
    )
    def test_no_setting_changes_it(self, quick: Pair, setting: str) -> None:
        quick.litellm_admin.run(f"ALTER ROLE litellm SET {setting}")
        try:
            session = quick.connect("litellm")
            rows.add_user(session, "u1", " Sassy.Tess@Example.com")
            rows.add_user(session, "u2", "an s@example.com")
            drain_all(quick)
        finally:
            quick.litellm_admin.run("ALTER ROLE litellm RESET ALL")
        assert added(quick) == {"usr_u1": "sassy.tess@example.com"}
        assert audit(quick, "SYNC_USER", "u2") == ("SKIPPED", NOT_AN_ADDRESS)

    def test_a_letter_that_looks_equal_leads_to_nobodys_account(self, quick: Pair) -> None:
        for name in ("lidia", "kim"):
            by_hand(quick, name, f"{name}@example.com")
        rows.add_user(quick.litellm, "u1", "L\u0130D\u0130A@example.com")
        rows.add_user(quick.litellm, "u2", "\u212aim@example.com")
        drain_all(quick)
        assert added(quick) == {"lidia": "lidia@example.com", "kim": "kim@example.com"}
        assert audit(quick, "SYNC_USER", "u1") == audit(quick, "SYNC_USER", "u2") == ("SKIPPED", CAPITALS)

    def test_an_account_with_capitals_is_the_same(self, quick: Pair) -> None:
        by_hand(quick, "hand", "INFO@Example.com")
        rows.add_user(quick.litellm, "u1", "info@example.com")
        drain_all(quick)
        assert added(quick) == {"hand": "info@example.com"}


@pytest.fixture(scope="module")
def turkish(server: Cluster) -> Iterator[Cluster]:
    """A server in whose databases lower('I') is no i."""
    if server.major < 15:
        pytest.skip("databases with a locale of ICU are new in PostgreSQL 15")
    with running(server.binaries, icu_locale="tr-TR") as made:
        yield made


@pytest.mark.schemas(litellm="new")
def test_in_a_turkish_locale(turkish: Cluster, schema_versions: tuple[str, str]) -> None:
    with pairs.pair(turkish, *schema_versions) as pair:
        for session in (pair.litellm_admin, pair.openwebui_admin):
            assert session.value("SELECT lower('I')") == "\u0131"
        by_hand(pair, "hand", "Big.Info@Example.com")
        install_bridge(pair, {"initial_password": "none"})
        rules(pair)
        rows.add_user(pair.litellm, "u1", "INFO@EXAMPLE.COM", user_role="proxy_admin")
        rows.add_user(pair.litellm, "u2", "BIG.INFO@EXAMPLE.COM")
        rows.add_user(pair.litellm, "u3", "info@example.com")
        rows.add_user(pair.litellm, "u4", "\u0130nfo@example.com")
        rows.add_user(pair.litellm, "u5", "\u0131nfo@example.com")
        drain_all(pair)
        assert added(pair) == {
            "usr_u1": "info@example.com",
            "hand": "big.info@example.com",
            "usr_u5": "\u0131nfo@example.com",
        }
        assert audit(pair, "SYNC_USER", "u3") == ("SKIPPED", "the email belongs to the older user u1")
        assert audit(pair, "SYNC_USER", "u4") == ("SKIPPED", CAPITALS)
        rows.change_user(pair.litellm, "u1", user_email="other@example.com")
        drain_all(pair)
        assert pair.openwebui_admin.value("SELECT count(*) FROM auth WHERE email = 'info@example.com' AND active") == 1
        pair.litellm_admin.run("SELECT user_bridge.enqueue_everything()")
        drain_all(pair)
        assert pair.litellm_admin.rows("SELECT * FROM user_bridge.reconcile()") == []


def add_both(pair: Pair) -> None:
    rows.add_user(pair.litellm, "u1", "old@example.com", user_alias="Old", created_at="2026-01-01")
    rows.add_user(
        pair.litellm, "u2", "ann@example.com", user_alias="Ann", user_role="proxy_admin", created_at="2026-01-02"
    )


class TestWhoHasIt:
    """u1 is the older user, u2 the newer one."""

    @pytest.fixture
    def both(self, quick: Pair) -> Pair:
        add_both(quick)
        return quick

    def test_an_older_user_does_not_take_it(self, both: Pair) -> None:
        rows.change_user(both.litellm, "u1", user_email="ANN@example.com")
        assert holder(both, "u1", "u2") == "u2"
        assert audit(both, "SYNC_USER", "u1") == (
            "SKIPPED",
            "the email belongs to the user u2, who has held it longer",
        )
        account = openwebui.account(both, "ann@example.com")
        assert account is not None
        assert (account["id"], account["name"], account["role"]) == ("usr_u2", "Ann", "admin")
        assert differences(both) != []  # By created_at alone it would be u1's.

    @pytest.mark.parametrize("left", ["changed", "removed", "deleted", "capitals"])
    def test_the_next_has_it_when_the_holder_goes(self, both: Pair, left: str) -> None:
        rows.add_user(both.litellm, "u3", "ann@example.com", created_at="2026-01-03")
        rows.change_user(both.litellm, "u1", user_email="ann@example.com")
        assert holder(both, "u1", "u2", "u3") == "u2"
        if left == "deleted":
            rows.delete_user(both.litellm, "u2")
        else:
            new = {"changed": "new@example.com", "removed": None, "capitals": "\xc4nn@example.com"}[left]
            rows.change_user(both.litellm, "u2", user_email=new)
        # u3 has held it longer than u1.
        assert holder(both, "u1", "u3") == "u3"

    def test_who_had_it_first_takes_it_back_by_nothing(self, both: Pair) -> None:
        """Away and back, deleted and created again: he holds it anew."""
        rows.add_user(both.litellm, "u3", "ann@example.com", created_at="2026-01-03")
        rows.change_user(both.litellm, "u2", user_email="new@example.com")
        rows.change_user(both.litellm, "u2", user_email="ann@example.com")
        assert holder(both, "u2", "u3") == "u3"
        rows.delete_user(both.litellm, "u3")
        assert holder(both, "u2") == "u2"
        rows.add_user(both.litellm, "u3", "ann@example.com")
        assert holder(both, "u2", "u3") == "u2"

    @pytest.mark.parametrize("same", ["ANN@example.com", " ann@Example.com "])
    def test_the_same_address_written_otherwise_is_kept(self, both: Pair, same: str) -> None:
        rows.add_user(both.litellm, "u3", "ann@example.com", created_at="2026-01-03")
        before = since(both, "u2")
        rows.change_user(both.litellm, "u2", user_email=same)
        assert since(both, "u2") == before
        assert holder(both, "u2", "u3") == "u2"

    def test_a_new_id_keeps_it(self, both: Pair) -> None:
        rows.add_user(both.litellm, "u3", "ann@example.com", created_at="2026-01-03")
        before = since(both, "u2")
        both.litellm.run("UPDATE \"LiteLLM_UserTable\" SET user_id = 'u9' WHERE user_id = 'u2'")
        assert (since(both, "u9"), since(both, "u2")) == (before, None)
        assert holder(both, "u3", "u9") == "u9"

    def test_a_new_id_does_not_make_it_older(self, both: Pair) -> None:
        """u1 is older than u2 and has held the address for less long, by whatever id."""
        rows.change_user(both.litellm, "u1", user_email="ann@example.com")
        before = since(both, "u1")
        both.litellm.run("UPDATE \"LiteLLM_UserTable\" SET user_id = 'u9' WHERE user_id = 'u1'")
        assert since(both, "u9") == before > since(both, "u2")
        assert holder(both, "u2", "u9") == "u2"

    def test_what_a_savepoint_rolls_back_was_never_given_up(self, both: Pair) -> None:
        rows.add_user(both.litellm, "u3", "ann@example.com", created_at="2026-01-03")
        writer = both.connect("litellm", autocommit=False)
        rows.change_user(writer, "u2", user_alias="Anna")
        writer.run("SAVEPOINT s")
        rows.change_user(writer, "u2", user_email="new@example.com")
        writer.run("ROLLBACK TO SAVEPOINT s")
        writer.commit()
        assert holder(both, "u2", "u3") == "u2"

    def test_two_at_once(self, both: Pair) -> None:
        rows.delete_user(both.litellm, "u2")
        one, two = (both.connect("litellm", autocommit=False) for _ in range(2))
        rows.add_user(two, "u3", "ann@example.com")
        rows.change_user(one, "u1", user_email="ann@example.com")
        one.commit()
        two.commit()
        assert holder(both, "u1", "u3") == "u3"

    def test_a_user_who_was_never_there_by_time_is_the_oldest(self, both: Pair) -> None:
        """Rows of LiteLLM's first versions have no created_at."""
        rows.add_user(both.litellm, "u3", "ann@example.com", created_at=None)
        assert holder(both, "u2", "u3") == "u3"

    def test_nobody_is_from_the_future(self, both: Pair) -> None:
        rows.add_user(both.litellm, "u3", "cem@example.com", created_at="2226-01-01")
        rows.change_user(both.litellm, "u1", user_email="cem@example.com")
        drain_all(both)
        assert audit(both, "SYNC_USER", "u1")[0] == "SKIPPED"

    def test_the_default_user_has_none(self, both: Pair) -> None:
        rows.add_user(both.litellm, "default_user_id", "ann@example.com", created_at="2025-01-01")
        assert holder(both, "u2") == "u2"
        assert recorded(both) == {"u1": "old@example.com", "u2": "ann@example.com"}


class TestTheRecord:
    def unnoticed(self, pair: Pair, *statements: str) -> None:
        session = pair.connect("litellm", "postgres")
        session.run("SET session_replication_role = replica")
        for statement in statements:
            session.run(statement)
        session.close()

    def test_only_users_with_a_usable_address(self, quick: Pair) -> None:
        for number, email in enumerate(["Ann@example.com", None, "", "ann", "\xc4nn@example.com", "a" * 4000 + "@x"]):
            rows.add_user(quick.litellm, f"u{number}", email)
        assert recorded(quick) == {"u0": "ann@example.com"}

    def test_nothing_is_left_of_who_has_gone(self, quick: Pair) -> None:
        for user in ("u1", "u2", "u3"):
            rows.add_user(quick.litellm, user, f"{user}@example.com")
        # At once: a delivery would find out.
        quick.litellm_admin.run("SELECT user_bridge.pause()")
        rows.delete_user(quick.litellm, "u1")
        rows.change_user(quick.litellm, "u2", user_email=None)
        rows.change_user(quick.litellm, "u3", user_email="\xc4nn@example.com")
        assert recorded(quick) == {}

    def test_a_new_user_is_recorded_at_once(self, quick: Pair) -> None:
        """Before a delivery could find out what is missing."""
        quick.litellm_admin.run("SELECT user_bridge.pause()")
        rows.add_user(quick.litellm, "u1", "ann@example.com", created_at="2026-01-01", teams=["t1", "t2"])
        assert recorded(quick) == {"u1": "ann@example.com"}
        assert str(since(quick, "u1")).startswith("2026-01-01 00:00")
        teams = quick.litellm_admin.rows("SELECT team_id FROM user_bridge.user_team WHERE user_id = 'u1'")
        assert sorted(row["team_id"] for row in teams) == ["t1", "t2"]

    def test_a_record_that_is_out_of_date_gives_nothing(self, quick: Pair) -> None:
        """Neither to the one whom it names, nor does it keep the address from another."""
        rows.add_user(quick.litellm, "u1", "ann@example.com")
        self.unnoticed(quick, "UPDATE \"LiteLLM_UserTable\" SET user_email = 'new@example.com' WHERE user_id = 'u1'")
        rows.add_user(quick.litellm, "u2", "ann@example.com")
        drain_all(quick)
        desired = quick.litellm_admin.rows("SELECT entity_id, skipped FROM user_bridge.desired_user(ARRAY['u1', 'u2'])")
        assert {row["entity_id"]: row["skipped"] for row in desired} == {"u1": None, "u2": None}

    def test_a_delivery_records_what_no_trigger_saw(self, quick: Pair) -> None:
        rows.add_user(quick.litellm, "u1", "ann@example.com")
        self.unnoticed(quick, "UPDATE \"LiteLLM_UserTable\" SET user_email = 'new@example.com' WHERE user_id = 'u1'")
        rows.change_user(quick.litellm, "u1", user_alias="Ann")
        assert recorded(quick) == {"u1": "new@example.com"}

    def test_what_moves_no_address_writes_nothing_here(self, quick: Pair) -> None:
        rows.add_user(quick.litellm, "u1", "ann@example.com")
        mark = "SELECT xmin::text FROM user_bridge.address"
        before = quick.litellm_admin.value(mark)
        rows.flush_spend(quick.litellm, ["u1"], 1)
        rows.change_user(quick.litellm, "u1", user_alias="Ann")
        rows.change_user(quick.litellm, "u1", user_email=" ANN@example.com")
        assert quick.litellm_admin.value(mark) == before

    def test_existing_users_are_recorded_by_a_backfill(self, pair: Pair) -> None:
        for number in range(3):
            rows.add_user(pair.litellm, f"u{number}", "ann@example.com", created_at=f"2026-01-0{3 - number}")
        install_bridge(pair, {"initial_password": "none"})
        assert recorded(pair) == {}
        assert pair.litellm_admin.value("SELECT user_bridge.backfill()") > 0
        assert list(recorded(pair)) == ["u0", "u1", "u2"]
        assert holder(pair, "u0", "u1", "u2") == "u2"
        assert pair.litellm_admin.value("SELECT user_bridge.refresh_user()") == 0

    def test_what_no_trigger_saw_is_recorded_by_a_reconcile(self, quick: Pair) -> None:
        for user in ("u1", "u2", "u3", "u4"):
            rows.add_user(quick.litellm, user, f"{user}@example.com")
        before = since(quick, "u1")
        self.unnoticed(
            quick,
            "UPDATE \"LiteLLM_UserTable\" SET user_email = 'u1@example.com' WHERE user_id = 'u2'",
            "UPDATE \"LiteLLM_UserTable\" SET user_email = NULL WHERE user_id = 'u3'",
            "DELETE FROM \"LiteLLM_UserTable\" WHERE user_id = 'u4'",
            "INSERT INTO \"LiteLLM_UserTable\" (user_id, user_email) VALUES ('u5', 'u5@example.com')",
        )
        quick.litellm_admin.rows("SELECT * FROM user_bridge.reconcile()")
        assert set(recorded(quick)) == {"u1", "u2", "u3", "u4"}
        quick.litellm_admin.rows("SELECT * FROM user_bridge.reconcile(true)")
        assert recorded(quick) == {"u1": "u1@example.com", "u2": "u1@example.com", "u5": "u5@example.com"}
        assert since(quick, "u2") > since(quick, "u1") == before
        drain_all(quick)
        assert audit(quick, "SYNC_USER", "u2")[0] == "SKIPPED"
        assert pair_is_reconciled(quick)

    def test_what_no_trigger_saw_gives_nobody_an_account(self, quick: Pair) -> None:
        """Two took the address unseen, and are seen one after the other."""
        rows.add_user(quick.litellm, "u1", "ann@example.com")
        self.unnoticed(
            quick,
            "DELETE FROM \"LiteLLM_UserTable\" WHERE user_id = 'u1'",
            'INSERT INTO "LiteLLM_UserTable" (user_id, user_email, created_at) VALUES '
            "('u2', 'ann@example.com', '2026-01-01'), ('u3', 'ann@example.com', '2026-01-02')",
        )
        rows.change_user(quick.litellm, "u3", user_alias="Cem")
        rows.change_user(quick.litellm, "u2", user_alias="Ann")
        drain_all(quick)
        quick.litellm_admin.rows("SELECT * FROM user_bridge.reconcile(true)")
        assert holder(quick, "u2", "u3") == "u2"
        assert pair_is_reconciled(quick)

    def test_a_write_does_not_wait_for_a_repair(self, quick: Pair) -> None:
        rows.add_user(quick.litellm, "u1", "ann@example.com")
        repair = quick.connect("litellm", "postgres", autocommit=False)
        repair.run("SELECT FROM user_bridge.address FOR UPDATE")
        # A write that waited would be cancelled.
        quick.litellm.run("SET statement_timeout = '30s'")
        rows.change_user(quick.litellm, "u1", user_email="new@example.com")
        repair.rollback()
        assert added(quick) == {"usr_u1": "new@example.com"}
        rows.change_user(quick.litellm, "u1", user_alias="Ann")
        assert recorded(quick) == {"u1": "new@example.com"}

    def test_a_repair_does_not_wait_for_a_write(self, quick: Pair) -> None:
        rows.add_user(quick.litellm, "u1", "ann@example.com")
        self.unnoticed(
            quick,
            "UPDATE \"LiteLLM_UserTable\" SET user_email = 'new@example.com' WHERE user_id = 'u1'",
            "INSERT INTO \"LiteLLM_UserTable\" (user_id, user_email) VALUES ('u2', 'bob@example.com')",
        )
        writer = quick.connect("litellm", autocommit=False)
        rows.change_user(writer, "u1", user_email="newer@example.com")
        rows.change_user(writer, "u2", user_email="newer@example.com")
        quick.litellm_admin.run("SET statement_timeout = '30s'")
        assert quick.litellm_admin.value("SELECT user_bridge.refresh_user()") == 0
        writer.commit()
        assert recorded(quick) == {"u1": "newer@example.com", "u2": "newer@example.com"}

    def test_without_the_table_a_write_succeeds(self, pair: Pair) -> None:
        install_bridge(pair, {"initial_password": "none"})
        pair.litellm_admin.run("ALTER TABLE user_bridge.address RENAME TO away")
        rows.add_user(pair.litellm, "u1", "ann@example.com")
        rows.change_user(pair.litellm, "u1", user_email="new@example.com")
        pair.litellm_admin.run("ALTER TABLE user_bridge.away RENAME TO address")
        drain_all(pair)
        assert added(pair) == {"usr_u1": "new@example.com"}


def pair_is_reconciled(pair: Pair) -> bool:
    return pair.litellm_admin.rows("SELECT * FROM user_bridge.reconcile()") == []
