# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What maps to what, rule by rule, on the oldest and the newest Open WebUI."""

from __future__ import annotations

import time
from typing import Any

import pytest

from kit import openwebui, rows
from kit.bridge import write_settings
from kit.drains import drain_all, drain_on
from kit.pairs import Pair

pytestmark = pytest.mark.schemas(openwebui="all")


def audit(pair: Pair, operation: str, record_id: str) -> tuple[str, str | None]:
    """Result and message of the last such operation."""
    (row,) = pair.litellm_admin.rows(
        "SELECT sync_result, error_message FROM user_bridge.sync_audit WHERE operation = %s AND record_id = %s "
        "ORDER BY id DESC LIMIT 1",
        [operation, record_id],
    )
    return row["sync_result"], row["error_message"]


def mapping(pair: Pair, litellm_type: str) -> dict[str, str]:
    found = pair.litellm_admin.rows(
        "SELECT litellm_id, openwebui_id FROM user_bridge.sync_mapping WHERE litellm_type = %s", [litellm_type]
    )
    return {row["litellm_id"]: row["openwebui_id"] for row in found}


def members(*user_ids: str) -> list[dict[str, Any]]:
    return [{"role": "user", "user_id": user_id, "user_email": None} for user_id in user_ids]


class TestTeams:
    def test_a_team_is_a_group(self, quick: Pair) -> None:
        rows.add_team(quick.litellm, "t1", "Rockets")
        assert openwebui.groups(quick) == {"grp_team_t1": ("Rockets", [])}
        rows.change_team(quick.litellm, "t1", team_alias="Ships")
        assert openwebui.groups(quick) == {"grp_team_t1": ("Ships", [])}
        rows.delete_team(quick.litellm, "t1")
        assert openwebui.groups(quick) == {}
        assert mapping(quick, "team") == {}

    def test_a_team_without_an_alias_is_called_by_its_id(self, quick: Pair) -> None:
        rows.add_team(quick.litellm, "t1")
        assert openwebui.groups(quick) == {"grp_team_t1": ("t1", [])}

    def test_members_come_and_go(self, quick: Pair) -> None:
        for name in ("ann", "bob", "cem"):
            rows.add_user(quick.litellm, name, f"{name}@example.com")
        rows.add_team(quick.litellm, "t1", "Rockets", members_with_roles=members("ann"))
        assert openwebui.groups(quick)["grp_team_t1"][1] == ["usr_ann"]
        rows.change_team(quick.litellm, "t1", members_with_roles=members("bob", "cem"))
        assert openwebui.groups(quick)["grp_team_t1"][1] == ["usr_bob", "usr_cem"]
        rows.change_team(quick.litellm, "t1", members_with_roles={})
        assert openwebui.groups(quick)["grp_team_t1"][1] == []

    def test_a_team_made_anew_unnoticed_has_its_new_members_only(self, quick: Pair) -> None:
        for name in ("ann", "bob"):
            rows.add_user(quick.litellm, name, f"{name}@example.com")
        rows.add_team(quick.litellm, "t1", "Rockets", members_with_roles=members("ann"))
        quick.litellm_admin.run("SELECT user_bridge.pause()")
        rows.delete_team(quick.litellm, "t1")
        rows.add_team(quick.litellm, "t1", "Ships", members_with_roles=members("bob"))
        quick.litellm_admin.run("SELECT user_bridge.resume()")
        drain_on(quick)
        assert openwebui.groups(quick) == {"grp_team_t1": ("Ships", ["usr_bob"])}

    @pytest.mark.parametrize(
        "listed",
        [
            {},
            {"user_id": "ann"},
            [{"role": "user", "user_email": "ann@example.com"}],
            [{"role": "user", "user_id": None}],
            [{"role": "user"}, "ann", 1, None, ["ann"]],
        ],
    )
    def test_odd_member_lists_make_no_members_and_no_errors(self, quick: Pair, listed: Any) -> None:
        from psycopg2.extras import Json

        rows.add_user(quick.litellm, "ann", "ann@example.com")
        rows.add_team(quick.litellm, "t1", "Rockets", members_with_roles=Json(listed))
        rows.change_team(quick.litellm, "t1", team_alias="Ships")
        assert openwebui.groups(quick) == {"grp_team_t1": ("Ships", [])}
        assert quick.litellm_admin.value("SELECT last_value FROM user_bridge.trigger_faults") == 1

    def test_a_member_joins_when_the_user_appears(self, quick: Pair) -> None:
        rows.add_team(quick.litellm, "t1", "Rockets", members_with_roles=members("ann"))
        rows.add_user(quick.litellm, "ann")
        assert openwebui.groups(quick)["grp_team_t1"][1] == []
        rows.change_user(quick.litellm, "ann", user_email="ann@example.com")
        assert openwebui.groups(quick)["grp_team_t1"][1] == ["usr_ann"]

    def test_a_recreated_team_does_not_inherit_members(self, quick: Pair) -> None:
        rows.add_user(quick.litellm, "ann", "ann@example.com")
        rows.add_team(quick.litellm, "t1", "Rockets", members_with_roles=members("ann"))
        rows.delete_team(quick.litellm, "t1")
        rows.add_team(quick.litellm, "t1", "Rockets")
        assert openwebui.groups(quick) == {"grp_team_t1": ("Rockets", [])}

    def test_parent_is_the_organizations_group(self, quick: Pair) -> None:
        if quick.openwebui_version == "0.6.30":
            pytest.skip("0.12.0 and newer have parent groups")
        parents = 'SELECT parent_group_id FROM "group" WHERE id = %s'
        rows.add_organization(quick.litellm, "o1", "Research")
        rows.add_organization(quick.litellm, "o2", "Sales")
        rows.add_team(quick.litellm, "t1", "Rockets", organization_id="o1")
        assert quick.openwebui.value(parents, ["grp_team_t1"]) == "grp_o1"
        rows.change_team(quick.litellm, "t1", organization_id="o2")
        assert quick.openwebui.value(parents, ["grp_team_t1"]) == "grp_o2"
        rows.change_team(quick.litellm, "t1", organization_id=None)
        assert quick.openwebui.value(parents, ["grp_team_t1"]) is None

    def test_a_parent_that_arrives_late_takes_its_teams(self, quick: Pair) -> None:
        if quick.openwebui_version == "0.6.30":
            pytest.skip("0.12.0 and newer have parent groups")
        quick.openwebui.run("ALTER TABLE \"group\" ADD CONSTRAINT no_research CHECK (name <> 'Research')")
        rows.add_organization(quick.litellm, "o1", "Research")
        rows.add_team(quick.litellm, "t1", "Rockets", organization_id="o1")
        quick.openwebui.run('ALTER TABLE "group" DROP CONSTRAINT no_research')
        drain_all(quick)
        assert quick.openwebui.value("SELECT parent_group_id FROM \"group\" WHERE id = 'grp_team_t1'") == "grp_o1"

    def test_without_team_groups_there_are_none(self, quick: Pair) -> None:
        write_settings(quick, {"initial_password": "none", "team_groups": False})
        rows.add_user(quick.litellm, "ann", "ann@example.com", user_alias="Ann", team_id="t1")
        rows.add_team(quick.litellm, "t1", "Rockets", members_with_roles=members("ann"))
        assert openwebui.groups(quick) == {}
        assert openwebui.accounts(quick) == {"ann@example.com": ("Rockets-Ann", "user")}

    def test_an_id_that_would_share_a_group_gets_one_of_its_own(self, quick: Pair) -> None:
        rows.add_team(quick.litellm, "x", "Rockets")
        rows.add_organization(quick.litellm, "team_x", "Not Rockets")
        assert openwebui.groups(quick) == {"grp_team_x": ("Rockets", []), "grp_team_x_2": ("Not Rockets", [])}
        rows.rename_organization(quick.litellm, "team_x", "Other")
        assert openwebui.groups(quick) == {"grp_team_x": ("Rockets", []), "grp_team_x_2": ("Other", [])}


class TestMemberships:
    def test_the_users_own_organization_counts(self, quick: Pair) -> None:
        rows.add_organization(quick.litellm, "o1", "Research")
        rows.add_user(quick.litellm, "ann", "ann@example.com", organization_id="o1")
        assert openwebui.groups(quick) == {"grp_o1": ("Research", ["usr_ann"])}
        rows.join_organization(quick.litellm, "o1", "ann")
        rows.leave_organization(quick.litellm, "o1", "ann")
        assert openwebui.groups(quick) == {"grp_o1": ("Research", ["usr_ann"])}
        rows.change_user(quick.litellm, "ann", organization_id=None)
        assert openwebui.groups(quick) == {"grp_o1": ("Research", [])}

    def test_what_an_admin_made_by_hand_stays(self, quick: Pair) -> None:
        openwebui.add_account(quick, "hand", "hand@example.com")
        rows.add_organization(quick.litellm, "o1", "Research")
        rows.add_user(quick.litellm, "ann", "ann@example.com")
        openwebui.add_member(quick, "grp_o1", "hand")
        openwebui.add_member(quick, "grp_o1", "usr_ann")
        rows.join_organization(quick.litellm, "o1", "ann")
        rows.leave_organization(quick.litellm, "o1", "ann")
        assert openwebui.groups(quick) == {"grp_o1": ("Research", ["hand", "usr_ann"])}

    def test_leaving_one_organization_leaves_the_other_alone(self, quick: Pair) -> None:
        rows.add_user(quick.litellm, "ann", "ann@example.com")
        for organization_id in ("o1", "o2"):
            rows.add_organization(quick.litellm, organization_id, organization_id)
            rows.join_organization(quick.litellm, organization_id, "ann")
        rows.leave_organization(quick.litellm, "o1", "ann")
        assert openwebui.groups(quick) == {"grp_o1": ("o1", []), "grp_o2": ("o2", ["usr_ann"])}

    def test_a_membership_waits_for_its_group(self, quick: Pair) -> None:
        quick.openwebui.run("ALTER TABLE \"group\" ADD CONSTRAINT no_research CHECK (name <> 'Research')")
        rows.add_user(quick.litellm, "ann", "ann@example.com")
        rows.add_organization(quick.litellm, "o1", "Research")
        rows.join_organization(quick.litellm, "o1", "ann")
        quick.openwebui.run('ALTER TABLE "group" DROP CONSTRAINT no_research')
        drain_all(quick)
        assert openwebui.groups(quick) == {"grp_o1": ("Research", ["usr_ann"])}

    def test_a_membership_is_written_once(self, quick: Pair) -> None:
        rows.add_organization(quick.litellm, "o1", "Research")
        rows.add_user(quick.litellm, "ann", "ann@example.com")
        rows.join_organization(quick.litellm, "o1", "ann")
        quick.litellm_admin.run("SELECT user_bridge.enqueue('organization_member', ARRAY['[\"o1\", \"ann\"]'])")
        drain_all(quick)
        assert openwebui.groups(quick) == {"grp_o1": ("Research", ["usr_ann"])}


class TestNames:
    @pytest.mark.parametrize(
        ("alias", "team_alias", "name"),
        [
            ("Ann", "Rockets", "Rockets-Ann"),
            ("Ann", None, "Ann"),
            (None, "Rockets", "ann.b"),
            ("", "Rockets", "ann.b"),
            ("  ", None, "ann.b"),
            (None, None, "ann.b"),
        ],
    )
    def test_the_rule(self, quick: Pair, alias: str | None, team_alias: str | None, name: str) -> None:
        rows.add_team(quick.litellm, "t1", team_alias)
        rows.add_user(quick.litellm, "ann", "Ann.B@example.com", user_alias=alias, teams=["t1"])
        assert openwebui.accounts(quick) == {"ann.b@example.com": (name, "user")}

    def test_the_name_follows_the_team(self, quick: Pair) -> None:
        rows.add_team(quick.litellm, "t1", "Rockets")
        rows.add_team(quick.litellm, "t2", "Ships")
        rows.add_user(quick.litellm, "ann", "ann@example.com", user_alias="Ann", teams=["gone", "t1", "t2"])

        def name() -> str:
            return openwebui.accounts(quick)["ann@example.com"][0]

        assert name() == "Rockets-Ann"
        rows.change_team(quick.litellm, "t1", team_alias="Shuttles")
        assert name() == "Shuttles-Ann"
        rows.change_user(quick.litellm, "ann", teams=["t2", "t1"])
        assert name() == "Ships-Ann"
        rows.change_user(quick.litellm, "ann", team_id="t1")
        assert name() == "Shuttles-Ann"
        rows.delete_team(quick.litellm, "t1")
        assert name() == "Ships-Ann"
        rows.add_team(quick.litellm, "gone", "Back")
        rows.change_user(quick.litellm, "ann", teams=["gone"])
        assert name() == "Back-Ann"

    def test_renaming_a_large_team_renames_its_members(self, quick: Pair) -> None:
        rows.add_team(quick.litellm, "t1", "Rockets")
        quick.litellm.run(
            'INSERT INTO "LiteLLM_UserTable" (user_id, user_email, user_alias, teams) '
            "SELECT 'u' || n, 'u' || n || '@example.com', 'U', '{t1}' FROM generate_series(1, 1200) AS n"
        )
        drain_all(quick)
        rows.change_team(quick.litellm, "t1", team_alias="Ships")
        assert openwebui.groups(quick)["grp_team_t1"][0] == "Rockets"
        drain_all(quick)
        assert openwebui.groups(quick)["grp_team_t1"][0] == "Ships"
        assert set(openwebui.accounts(quick).values()) == {("Ships-U", "user")}


class TestRoles:
    @pytest.mark.parametrize(
        ("litellm_role", "role"),
        [
            ("proxy_admin", "admin"),
            ("proxy_admin_viewer", "user"),
            ("org_admin", "user"),
            ("internal_user", "user"),
            ("internal_user_viewer", "user"),
            ("team", "user"),
            ("customer", "user"),
            ("a role of tomorrow", "user"),
            ("admin", "user"),
            ("", "user"),
            (None, "user"),
        ],
    )
    def test_only_a_proxy_admin_is_an_admin(self, quick: Pair, litellm_role: str | None, role: str) -> None:
        rows.add_user(quick.litellm, "ann", "ann@example.com", user_role=litellm_role)
        assert openwebui.accounts(quick) == {"ann@example.com": ("ann", role)}
        # Not only because Open WebUI's side would refuse another.
        assert audit(quick, "SYNC_USER", "ann")[0] == "SUCCESS"

    def test_the_map_and_the_default_can_be_chosen(self, quick: Pair) -> None:
        write_settings(
            quick,
            {"initial_password": "none", "default_role": "pending", "role_map": {"internal_user": "user"}},
        )
        rows.add_user(quick.litellm, "ann", "ann@example.com", user_role="internal_user")
        rows.add_user(quick.litellm, "bob", "bob@example.com", user_role="proxy_admin")
        assert openwebui.accounts(quick) == {
            "ann@example.com": ("ann", "user"),
            "bob@example.com": ("bob", "pending"),
        }

    def test_the_last_admin_is_never_demoted_disabled_or_deleted(self, quick: Pair) -> None:
        rows.add_user(quick.litellm, "boss", "boss@example.com", user_role="proxy_admin")
        quick.openwebui.run('UPDATE "user" SET role = %s WHERE email = %s', ["user", quick.admin.email])

        def boss() -> tuple[str, bool]:
            account = openwebui.account(quick, "boss@example.com")
            assert account is not None
            return account["role"], account["active"]

        rows.change_user(quick.litellm, "boss", user_role="internal_user")
        assert boss() == ("admin", True)
        assert audit(quick, "SYNC_USER", "boss") == (
            "WARNING",
            "role refused: this is Open WebUI's last admin, or was when LiteLLM took the role away",
        )
        rows.change_user(quick.litellm, "boss", metadata={"scim_active": False})
        assert boss() == ("admin", True)
        rows.change_user(quick.litellm, "boss", user_email=None)
        assert boss() == ("admin", True)
        rows.delete_user(quick.litellm, "boss")
        assert boss() == ("admin", True)
        # Nor by itself as soon as somebody else can administer Open WebUI.
        quick.openwebui.run('UPDATE "user" SET role = %s WHERE email = %s', ["admin", quick.admin.email])
        quick.litellm_admin.rows("SELECT * FROM user_bridge.drain()")
        assert boss() == ("admin", True)

    def test_an_admin_who_cannot_sign_in_does_not_count(self, quick: Pair) -> None:
        rows.add_user(quick.litellm, "boss", "boss@example.com", user_role="proxy_admin")
        quick.openwebui.run("UPDATE auth SET active = false WHERE email = %s", [quick.admin.email])
        rows.delete_user(quick.litellm, "boss")
        assert openwebui.accounts(quick) == {"boss@example.com": ("boss", "admin")}


class TestWhoIsSkipped:
    @pytest.mark.parametrize(
        ("user_id", "email", "reason"),
        [
            ("u1", None, "no email"),
            ("u1", "", "no email"),
            ("u1", "ann", "the email is not an address"),
            ("u1", "ann @example.com", "the email is not an address"),
            ("u1", " \t", "no email"),
            ("u1", "a" * 250 + "@example.com", "the email is longer than 255 characters"),
            ("default_user_id", "boss@example.com", "LiteLLM's own default user"),
            ("u" * 252, "ann@example.com", "the user id is longer than Open WebUI's column"),
        ],
    )
    def test_with_the_reason(self, quick: Pair, user_id: str, email: str | None, reason: str) -> None:
        rows.add_user(quick.litellm, user_id, email)
        assert openwebui.accounts(quick) == {}
        assert audit(quick, "SYNC_USER", user_id) == ("SKIPPED", reason)
        assert mapping(quick, "user") == {}
        drain_all(quick)

    def test_an_email_that_appears_creates_the_account(self, quick: Pair) -> None:
        rows.add_user(quick.litellm, "u1", user_alias="Ann")
        rows.change_user(quick.litellm, "u1", user_email="Ann@Example.COM")
        assert openwebui.accounts(quick) == {"ann@example.com": ("Ann", "user")}

    def test_an_email_that_changes_moves_the_account(self, quick: Pair) -> None:
        rows.add_user(quick.litellm, "u1", "ann@example.com", user_alias="Ann")
        rows.change_user(quick.litellm, "u1", user_email="ANN@example.com")
        assert openwebui.accounts(quick) == {"ann@example.com": ("Ann", "user")}
        rows.change_user(quick.litellm, "u1", user_email="anna@example.com")
        account = openwebui.account(quick, "anna@example.com")
        assert account is not None
        assert (account["id"], account["auth_email"]) == ("usr_u1", "anna@example.com")
        assert len(openwebui.accounts(quick)) == 1

    def test_an_email_that_disappears_disables_the_account(self, quick: Pair) -> None:
        rows.add_user(quick.litellm, "u1", "ann@example.com")
        rows.change_user(quick.litellm, "u1", user_email=None)
        account = openwebui.account(quick, "ann@example.com")
        assert account is not None
        assert (account["role"], account["active"]) == ("pending", False)
        rows.change_user(quick.litellm, "u1", user_email="ann@example.com")
        account = openwebui.account(quick, "ann@example.com")
        assert account is not None
        assert (account["role"], account["active"]) == ("user", True)


class TestEqualEmails:
    def test_the_oldest_has_the_account_and_the_next_takes_over(self, quick: Pair) -> None:
        rows.add_user(quick.litellm, "u1", "ann@example.com", user_alias="First", created_at="2026-01-01")
        rows.add_user(quick.litellm, "u2", "ANN@example.com", user_alias="Second", created_at="2026-01-02")
        assert openwebui.accounts(quick) == {"ann@example.com": ("First", "user")}
        assert audit(quick, "SYNC_USER", "u2") == ("SKIPPED", "the email belongs to the older user u1")
        rows.delete_user(quick.litellm, "u1")
        assert openwebui.accounts(quick) == {"ann@example.com": ("Second", "user")}
        assert mapping(quick, "user") == {"u2": "usr_u1"}

    def test_an_older_user_who_appears_later_takes_the_account_over(self, quick: Pair) -> None:
        rows.add_user(quick.litellm, "u2", "ann@example.com", user_alias="Second", created_at="2026-01-02")
        rows.add_user(quick.litellm, "u1", "ann@example.com", user_alias="First", created_at="2026-01-01")
        drain_all(quick)
        account = openwebui.account(quick, "ann@example.com")
        assert account is not None
        assert (account["id"], account["name"], account["active"]) == ("usr_u1", "First", True)
        other = quick.openwebui.rows(
            'SELECT u.role, a.active FROM "user" u JOIN auth a USING (id) WHERE id = %s', ["usr_u2"]
        )
        assert other == [{"role": "pending", "active": False}]

    def test_two_at_once(self, quick: Pair) -> None:
        one, two = (quick.connect("litellm", autocommit=False) for _ in range(2))
        rows.add_user(one, "u1", "ann@example.com", created_at="2026-01-01")
        rows.add_user(two, "u2", "ann@example.com", created_at="2026-01-02")
        one.commit()
        two.commit()
        drain_all(quick)
        assert mapping(quick, "user") == {"u1": "usr_u1"}

    def test_a_swap(self, quick: Pair) -> None:
        rows.add_user(quick.litellm, "u1", "ann@example.com", user_alias="Ann")
        rows.add_user(quick.litellm, "u2", "bob@example.com", user_alias="Bob")
        writer = quick.connect("litellm", autocommit=False)
        rows.change_user(writer, "u1", user_email="bob@example.com")
        rows.change_user(writer, "u2", user_email="ann@example.com")
        writer.commit()
        drain_all(quick)
        assert openwebui.accounts(quick) == {"bob@example.com": ("Ann", "user"), "ann@example.com": ("Bob", "user")}


class TestDisabling:
    def test_scim_inactive_disables_and_active_enables(self, quick: Pair) -> None:
        rows.add_user(quick.litellm, "u1", "ann@example.com", user_role="proxy_admin")
        has_stamp = quick.openwebui_version != "0.6.30"
        rows.change_user(quick.litellm, "u1", metadata={"scim_active": False})
        account = openwebui.account(quick, "ann@example.com")
        assert account is not None
        assert (account["role"], account["active"]) == ("pending", False)
        if has_stamp:
            assert quick.openwebui.value("SELECT session_stamp FROM auth WHERE id = 'usr_u1'") is not None
        rows.change_user(quick.litellm, "u1", metadata={"scim_active": True})
        account = openwebui.account(quick, "ann@example.com")
        assert account is not None
        assert (account["role"], account["active"]) == ("admin", True)

    @pytest.mark.parametrize("metadata", [{}, {"scim_active": None}, {"scim_active": "false"}, {"scim_active": True}])
    def test_nothing_else_disables(self, quick: Pair, metadata: dict[str, Any]) -> None:
        rows.add_user(quick.litellm, "u1", "ann@example.com", metadata=metadata)
        assert openwebui.accounts(quick) == {"ann@example.com": ("ann", "user")}


class TestAdoption:
    def test_an_existing_account_is_linked_and_stays_the_persons(self, quick: Pair) -> None:
        openwebui.add_account(quick, "old-id", "ann@example.com", name="Annie")
        quick.openwebui.run('UPDATE "user" SET settings = \'{"ui": {"dark": true}}\', info = \'{"mine": 1}\'')
        rows.add_user(quick.litellm, "u1", "Ann@Example.com", user_alias="Ann", user_role="proxy_admin")
        account = openwebui.account(quick, "ann@example.com")
        assert account is not None
        assert (account["id"], account["name"], account["role"]) == ("old-id", "Ann", "admin")
        assert (account["password"], account["created_at"]) == ("their own hash", 1760000000)
        assert mapping(quick, "user") == {"u1": "old-id"}
        kept = quick.openwebui.rows("SELECT settings::jsonb AS s, info::jsonb AS i FROM \"user\" WHERE id = 'old-id'")
        assert kept[0]["s"] == {"ui": {"dark": True}}
        assert kept[0]["i"]["mine"] == 1
        rows.delete_user(quick.litellm, "u1")
        account = openwebui.account(quick, "ann@example.com")
        assert account is not None
        assert (account["role"], account["active"], account["password"]) == ("pending", False, "their own hash")
        assert mapping(quick, "user") == {}

    def test_a_mixed_case_account_is_found_and_made_lower_case(self, quick: Pair) -> None:
        openwebui.add_account(quick, "old-id", "Ann@Example.com")
        rows.add_user(quick.litellm, "u1", "ann@example.com")
        assert set(openwebui.accounts(quick)) == {"ann@example.com"}

    def test_it_can_be_forbidden(self, quick: Pair) -> None:
        write_settings(quick, {"initial_password": "none", "adopt_existing": False})
        openwebui.add_account(quick, "old-id", "ann@example.com", name="Annie")
        rows.add_user(quick.litellm, "u1", "ann@example.com", user_alias="Ann")
        assert openwebui.accounts(quick) == {"ann@example.com": ("Annie", "user")}
        assert audit(quick, "SYNC_USER", "u1")[0] == "SKIPPED"

    def test_an_account_of_nobodys_keeps_its_email(self, quick: Pair) -> None:
        rows.add_user(quick.litellm, "u1", "ann@example.com", user_alias="Ann")
        openwebui.add_account(quick, "hand", "hand@example.com")
        rows.change_user(quick.litellm, "u1", user_email="hand@example.com", user_alias="Anna")
        assert openwebui.accounts(quick) == {
            "ann@example.com": ("Anna", "user"),
            "hand@example.com": ("By Hand", "user"),
        }
        assert audit(quick, "SYNC_USER", "u1")[0] == "WARNING"


class TestDeletion:
    def add_chat(self, pair: Pair, account_id: str) -> None:
        pair.openwebui.run(
            "INSERT INTO chat (id, user_id, title, chat, created_at, updated_at, archived) "
            "VALUES ('chat', %s, 'Hello', '{}', 1760000000, 1760000000, false)",
            [account_id],
        )

    def test_delete_keeps_the_chats_and_a_returning_user_has_them_again(self, quick: Pair) -> None:
        rows.add_user(quick.litellm, "u1", "ann@example.com", user_alias="Ann")
        self.add_chat(quick, "usr_u1")
        rows.delete_user(quick.litellm, "u1")
        assert openwebui.accounts(quick) == {}
        assert quick.openwebui.value("SELECT count(*) FROM chat") == 1
        rows.add_user(quick.litellm, "u1", "ann@example.com", user_alias="Ann")
        assert quick.openwebui.value('SELECT count(*) FROM chat JOIN "user" u ON u.id = chat.user_id') == 1

    def test_disable(self, quick: Pair) -> None:
        write_settings(quick, {"initial_password": "none", "on_user_delete": "disable"})
        rows.add_organization(quick.litellm, "o1", "Research")
        rows.add_user(quick.litellm, "u1", "ann@example.com", user_alias="Ann")
        rows.join_organization(quick.litellm, "o1", "u1")
        rows.delete_user(quick.litellm, "u1")
        account = openwebui.account(quick, "ann@example.com")
        assert account is not None
        assert (account["role"], account["active"]) == ("pending", False)
        assert openwebui.groups(quick) == {"grp_o1": ("Research", [])}
        rows.add_user(quick.litellm, "u1", "ann@example.com", user_alias="Ann")
        account = openwebui.account(quick, "ann@example.com")
        assert account is not None
        assert (account["id"], account["role"], account["active"]) == ("usr_u1", "user", True)

    def test_keep(self, quick: Pair) -> None:
        write_settings(quick, {"initial_password": "none", "on_user_delete": "keep"})
        rows.add_user(quick.litellm, "u1", "ann@example.com", user_alias="Ann")
        rows.add_team(quick.litellm, "t1", "Rockets", members_with_roles=members("u1"))
        rows.delete_user(quick.litellm, "u1")
        assert openwebui.accounts(quick) == {"ann@example.com": ("Ann", "user")}
        # What LiteLLM granted goes all the same, although LiteLLM left the user in the team.
        assert openwebui.groups(quick) == {"grp_team_t1": ("Rockets", [])}

    def test_keep_takes_the_admin_role(self, quick: Pair) -> None:
        """In Open WebUI it opens every model, and LiteLLM gave it."""
        write_settings(quick, {"initial_password": "none", "on_user_delete": "keep"})
        rows.add_user(quick.litellm, "u1", "ann@example.com", user_alias="Ann", user_role="proxy_admin")
        rows.add_user(quick.litellm, "u2", "bob@example.com", user_alias="Bob", user_role="proxy_admin")
        rows.delete_user(quick.litellm, "u1")
        assert openwebui.accounts(quick)["ann@example.com"] == ("Ann", "user")
        # But never from the last admin.
        quick.openwebui.run("UPDATE \"user\" SET role = 'user' WHERE email = %s", [quick.admin.email])
        rows.delete_user(quick.litellm, "u2")
        assert openwebui.accounts(quick)["bob@example.com"] == ("Bob", "admin")
        held = quick.litellm_admin.rows("SELECT kind FROM user_bridge.held_changes()")
        assert [row["kind"] for row in held] == ["last_admin"]

    def test_a_user_deleted_in_open_webui_is_made_again_by_the_next_change(self, quick: Pair) -> None:
        rows.add_user(quick.litellm, "u1", "ann@example.com", user_alias="Ann")
        rows.add_team(quick.litellm, "t1", "Rockets", members_with_roles=members("u1"))
        quick.openwebui.run("DELETE FROM \"user\" WHERE id = 'usr_u1'")
        quick.openwebui.run("DELETE FROM auth WHERE id = 'usr_u1'")
        rows.change_user(quick.litellm, "u1", user_alias="Anna")
        assert openwebui.accounts(quick) == {"ann@example.com": ("Anna", "user")}
        assert openwebui.groups(quick) == {"grp_team_t1": ("Rockets", ["usr_u1"])}


class TestInitialPassword:
    def matches(self, pair: Pair, email: str, password: str) -> bool:
        return bool(
            pair.openwebui_admin.value(
                "SELECT password = user_bridge.crypt(%s, password) FROM auth WHERE email = %s", [password, email]
            )
        )

    def test_email_is_the_password_of_a_user_and_not_of_an_admin(self, quick: Pair) -> None:
        write_settings(quick, {"password_cost": 4})
        rows.add_user(quick.litellm, "u1", "Ann@example.com")
        rows.add_user(quick.litellm, "u2", "boss@example.com", user_role="proxy_admin")
        assert self.matches(quick, "ann@example.com", "ann@example.com")
        assert quick.openwebui.value("SELECT password FROM auth WHERE id = 'usr_u1'").startswith("$2a$04$")
        assert quick.openwebui.value("SELECT password FROM auth WHERE id = 'usr_u2'") == ""

    def test_a_user_who_becomes_an_admin_loses_an_unchanged_initial_password(self, quick: Pair) -> None:
        write_settings(quick, {"password_cost": 4})
        for user_id in ("u1", "u2"):
            rows.add_user(quick.litellm, user_id, f"{user_id}@example.com")
        quick.openwebui.run("UPDATE auth SET password = 'their own hash' WHERE id = 'usr_u2'")
        for user_id in ("u1", "u2"):
            rows.change_user(quick.litellm, user_id, user_role="proxy_admin")
        assert quick.openwebui.value("SELECT password FROM auth WHERE id = 'usr_u1'") == ""
        assert quick.openwebui.value("SELECT password FROM auth WHERE id = 'usr_u2'") == "their own hash"

    def test_admins_may_be_included(self, quick: Pair) -> None:
        write_settings(quick, {"password_cost": 4, "initial_password_admins": True})
        rows.add_user(quick.litellm, "u2", "boss@example.com", user_role="proxy_admin")
        assert self.matches(quick, "boss@example.com", "boss@example.com")

    def test_random_is_nobodys(self, quick: Pair) -> None:
        write_settings(quick, {"password_cost": 4, "initial_password": "random"})
        rows.add_user(quick.litellm, "u1", "ann@example.com")
        assert quick.openwebui.value("SELECT password FROM auth WHERE id = 'usr_u1'").startswith("$2a$04$")
        assert not self.matches(quick, "ann@example.com", "ann@example.com")

    def test_it_is_hashed_once_and_never_touched_again(self, quick: Pair) -> None:
        write_settings(quick, {"password_cost": 4})
        password = "SELECT password FROM auth WHERE id = 'usr_u1'"
        rows.add_user(quick.litellm, "u1", "ann@example.com")
        before = quick.openwebui.value(password)
        rows.change_user(quick.litellm, "u1", user_email="anna@example.com", user_alias="Anna")
        assert quick.openwebui.value(password) == before


class TestEveryRow:
    """facts/openwebui.md 2: one bad row takes down a page or the sign-in for everybody."""

    def test_a_created_account_is_complete(self, quick: Pair) -> None:
        before = int(time.time())
        rows.add_user(quick.litellm, "u1", "ann@example.com", created_at="2020-01-01")
        account = openwebui.account(quick, "ann@example.com")
        assert account is not None
        for column in ("name", "email", "role", "profile_image_url", "auth_email", "password"):
            assert isinstance(account[column], str), column
        for column in ("created_at", "updated_at", "last_active_at"):
            # Seconds, and now: the oldest account is Open WebUI's primary admin.
            assert before <= account[column] <= time.time() + 1, column
        assert account["settings"] is None
        first = quick.openwebui.value("SELECT email FROM \"user\" ORDER BY created_at, role = 'admin' DESC LIMIT 1")
        assert first == quick.admin.email

    def test_a_created_group_is_complete(self, quick: Pair) -> None:
        rows.add_organization(quick.litellm, "o1", "Research")
        (group,) = quick.openwebui.rows('SELECT * FROM "group"')
        assert (group["user_id"], group["description"]) == ("", "")
        assert group["created_at"] is not None
        assert group["updated_at"] is not None
        assert group["permissions"] is None
        if not openwebui.has_member_table(quick):
            assert group["user_ids"] == []

    @pytest.mark.parametrize("info", ["null", "{}", '{"mine": {"a": 1}}', '"text"', "[1]", None])
    def test_info_is_merged_and_becomes_an_object(self, quick: Pair, info: str | None) -> None:
        rows.add_user(quick.litellm, "u1", "ann@example.com")
        quick.openwebui.run("UPDATE \"user\" SET info = %s WHERE id = 'usr_u1'", [info])
        rows.change_user(quick.litellm, "u1", user_alias="Ann", user_role="internal_user")
        found = quick.openwebui.value("SELECT info::jsonb FROM \"user\" WHERE id = 'usr_u1'")
        assert found["user_bridge"] == {"original_role": "internal_user"}
        assert found.get("mine") == ({"a": 1} if info and "mine" in info else None)

    def test_a_delivery_that_changes_nothing_writes_nothing(self, quick: Pair) -> None:
        rows.add_organization(quick.litellm, "o1", "Research")
        rows.add_user(quick.litellm, "u1", "ann@example.com")
        rows.join_organization(quick.litellm, "o1", "u1")
        tables = ['"user"', "auth", '"group"']
        before = [quick.openwebui.value(f"SELECT max(xmin::text::bigint) FROM {table}") for table in tables]
        quick.litellm_admin.run("SELECT user_bridge.enqueue('user', ARRAY['u1'])")
        quick.litellm_admin.run("SELECT user_bridge.enqueue('organization', ARRAY['o1'])")
        quick.litellm_admin.run("SELECT user_bridge.enqueue('organization_member', ARRAY['[\"o1\", \"u1\"]'])")
        drain_all(quick)
        assert [quick.openwebui.value(f"SELECT max(xmin::text::bigint) FROM {table}") for table in tables] == before


def test_an_initial_password_expires_unless_it_was_changed(quick: Pair) -> None:
    write_settings(quick, {"password_cost": 4, "initial_password_ttl_hours": 72})
    for user_id in ("u1", "u2", "u3"):
        rows.add_user(quick.litellm, user_id, f"{user_id}@example.com")
    quick.openwebui.run("UPDATE auth SET password = 'their own hash' WHERE id = 'usr_u2'")
    maintain = "SELECT * FROM user_bridge.maintain()"
    assert {"task": "initial passwords expired", "done": 0} in quick.litellm_admin.rows(maintain)
    quick.openwebui_admin.run(
        "UPDATE user_bridge.entity SET initial_password_at = now() - interval '73 hours' WHERE entity_id <> 'u3'"
    )
    assert {"task": "initial passwords expired", "done": 1} in quick.litellm_admin.rows(maintain)
    passwords = {row["id"]: row["password"] for row in quick.openwebui.rows("SELECT id, password FROM auth")}
    assert (passwords["usr_u1"], passwords["usr_u2"]) == ("", "their own hash")
    assert passwords["usr_u3"].startswith("$2a$")
    assert audit(quick, "EXPIRE_PASSWORD", "u1")[0] == "SUCCESS"


class TestKeys:
    TOKEN = "5f" * 32

    def keys(self, pair: Pair) -> list[Any]:
        found = pair.litellm_admin.rows(
            "SELECT litellm_id::jsonb ->> 0 AS user_id, openwebui_id, sync_data FROM user_bridge.sync_mapping "
            "WHERE litellm_type = 'api_key' ORDER BY 1"
        )
        return [(row["user_id"], row["openwebui_id"], row["sync_data"]["models"]) for row in found]

    def test_a_usable_key_is_mapped_with_its_models(self, quick: Pair) -> None:
        rows.add_user(quick.litellm, "u1", "ann@example.com")
        rows.add_key(quick.litellm, self.TOKEN, "u1", key_alias="laptop", models=["gpt"])
        assert self.keys(quick) == [("u1", "usr_u1", ["gpt"])]
        rows.update(quick.litellm, "LiteLLM_VerificationToken", {"token": self.TOKEN}, {"models": ["claude"]})
        assert self.keys(quick) == [("u1", "usr_u1", ["claude"])]

    @pytest.mark.parametrize(
        "columns", [{"blocked": True}, {"expires": "2020-01-01"}, {"team_id": "litellm-dashboard"}, {"user_id": None}]
    )
    def test_it_goes_when_it_is_no_longer_usable_and_returns(self, quick: Pair, columns: dict[str, Any]) -> None:
        rows.add_user(quick.litellm, "u1", "ann@example.com")
        rows.add_key(quick.litellm, self.TOKEN, "u1")
        key = {"token": self.TOKEN}
        rows.update(quick.litellm, "LiteLLM_VerificationToken", key, columns)
        assert self.keys(quick) == []
        back = {"blocked": None, "expires": None, "team_id": None, "user_id": "u1"}
        rows.update(quick.litellm, "LiteLLM_VerificationToken", key, back)
        assert len(self.keys(quick)) == 1
        rows.delete(quick.litellm, "LiteLLM_VerificationToken", key)
        assert self.keys(quick) == []
        drain_all(quick)

    def test_a_regenerated_key_replaces_the_old_one(self, quick: Pair) -> None:
        rows.add_user(quick.litellm, "u1", "ann@example.com")
        rows.add_key(quick.litellm, self.TOKEN, "u1")
        before = mapping(quick, "api_key")
        rows.update(quick.litellm, "LiteLLM_VerificationToken", {"token": self.TOKEN}, {"token": "6a" * 32})
        after = mapping(quick, "api_key")
        assert (len(before), len(after)) == (1, 1)
        assert before.keys() != after.keys()

    def test_spend_on_a_key_queues_nothing(self, quick: Pair) -> None:
        rows.add_user(quick.litellm, "u1", "ann@example.com")
        rows.add_key(quick.litellm, self.TOKEN, "u1")
        quick.litellm_admin.run("SELECT user_bridge.pause()")
        rows.update(quick.litellm, "LiteLLM_VerificationToken", {"token": self.TOKEN}, {"spend": 1.5})
        assert quick.litellm_admin.rows("SELECT * FROM user_bridge.sync_queue") == []

    def test_a_key_is_mapped_when_its_user_gets_an_account(self, quick: Pair) -> None:
        rows.add_user(quick.litellm, "u1")
        rows.add_key(quick.litellm, self.TOKEN, "u1")
        assert self.keys(quick) == []
        rows.change_user(quick.litellm, "u1", user_email="ann@example.com")
        drain_all(quick)
        assert len(self.keys(quick)) == 1

    def test_a_key_that_comes_with_its_user_is_mapped(self, quick: Pair) -> None:
        with quick.litellm.transaction():
            rows.add_key(quick.litellm, self.TOKEN, "u1", models=["gpt"])
            rows.add_user(quick.litellm, "u1", "ann@example.com")
        drain_all(quick)
        assert self.keys(quick) == [("u1", "usr_u1", ["gpt"])]

    def test_an_expired_key_goes_with_the_timer(self, quick: Pair) -> None:
        rows.add_user(quick.litellm, "u1", "ann@example.com")
        rows.add_key(quick.litellm, self.TOKEN, "u1", expires="2200-01-01")
        quick.litellm_admin.run(
            'UPDATE user_bridge.sync_mapping SET sync_data = sync_data || \'{"expires": "2020-01-01"}\''
        )
        # As if time had passed.
        quick.litellm_admin.run("UPDATE user_bridge.known_key SET expires = '2020-01-01'")
        quick.litellm_admin.rows("SELECT * FROM user_bridge.maintain()")
        drain_all(quick)
        assert self.keys(quick) == []

    def slot(self, pair: Pair) -> str | None:
        if pair.openwebui_version == "0.6.30":
            found = pair.openwebui.value("SELECT api_key FROM \"user\" WHERE id = 'usr_u1'")
        else:
            found = pair.openwebui.value("SELECT key FROM api_key WHERE user_id = 'usr_u1'")
        assert found is None or isinstance(found, str)
        return found

    def test_off_and_mapping_leave_the_slot_alone(self, quick: Pair) -> None:
        write_settings(quick, {"initial_password": "none", "api_keys": "off"})
        rows.add_user(quick.litellm, "u1", "ann@example.com")
        rows.add_key(quick.litellm, self.TOKEN, "u1")
        assert (self.keys(quick), self.slot(quick)) == ([], None)
        write_settings(quick, {"initial_password": "none", "api_keys": "mapping"})
        quick.litellm_admin.run("SELECT user_bridge.enqueue_everything()")
        drain_all(quick)
        assert (len(self.keys(quick)), self.slot(quick)) == (1, None)

    def test_mirror_writes_the_newest_usable_key_and_clears_it(self, quick: Pair) -> None:
        write_settings(quick, {"initial_password": "none", "api_keys": "mirror"})
        rows.add_user(quick.litellm, "u1", "ann@example.com")
        rows.add_key(quick.litellm, "1a" * 32, "u1", created_at="2026-01-01")
        assert self.slot(quick) == "1a" * 32
        rows.add_key(quick.litellm, "2b" * 32, "u1", created_at="2026-01-02")
        assert self.slot(quick) == "2b" * 32
        rows.update(quick.litellm, "LiteLLM_VerificationToken", {"token": "2b" * 32}, {"blocked": True})
        assert self.slot(quick) == "1a" * 32
        rows.delete(quick.litellm, "LiteLLM_VerificationToken", {"user_id": "u1"})
        assert self.slot(quick) is None
        drain_all(quick)

    def test_mirror_is_cleared_when_it_is_switched_off(self, quick: Pair) -> None:
        write_settings(quick, {"initial_password": "none", "api_keys": "mirror"})
        rows.add_user(quick.litellm, "u1", "ann@example.com")
        rows.add_key(quick.litellm, self.TOKEN, "u1")
        write_settings(quick, {"initial_password": "none", "api_keys": "mapping"})
        quick.litellm_admin.run("SELECT user_bridge.enqueue_everything()")
        drain_all(quick)
        assert self.slot(quick) is None

    def test_mirror_is_cleared_of_what_was_taken_back(self, quick: Pair) -> None:
        """No mapping says that it is there: only Open WebUI's side knows."""
        write_settings(quick, {"initial_password": "none", "api_keys": "mirror"})
        rows.add_user(quick.litellm, "u1", "ann@example.com")
        quick.litellm.run("BEGIN")
        rows.add_key(quick.litellm, self.TOKEN, "u1")
        quick.litellm.run("SET CONSTRAINTS ALL IMMEDIATE")
        assert self.slot(quick) == self.TOKEN
        quick.litellm.run("ROLLBACK")
        write_settings(quick, {"initial_password": "none", "api_keys": "mapping"})
        drain_all(quick)
        assert (self.slot(quick), self.keys(quick)) == (None, [])
        assert quick.openwebui_admin.value("SELECT count(*) FROM user_bridge.entity WHERE source_txid IS NOT NULL") == 0

    def test_mirror_never_touches_a_key_that_the_person_made(self, quick: Pair) -> None:
        write_settings(quick, {"initial_password": "none", "api_keys": "mirror"})
        rows.add_user(quick.litellm, "u1", "ann@example.com")
        if quick.openwebui_version == "0.6.30":
            quick.openwebui.run("UPDATE \"user\" SET api_key = 'sk-mine' WHERE id = 'usr_u1'")
        else:
            mine = "('key_usr_u1', 'usr_u1', 'sk-mine', NULL, NULL, NULL, 1, 1)"
            quick.openwebui.run(f"INSERT INTO api_key VALUES {mine}")
        rows.add_key(quick.litellm, self.TOKEN, "u1")
        rows.delete(quick.litellm, "LiteLLM_VerificationToken", {"user_id": "u1"})
        assert self.slot(quick) == "sk-mine"
        drain_all(quick)
