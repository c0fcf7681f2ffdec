# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Taking over from the upstream SQL scripts: what is imported, removed and repaired, and what is left alone."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kit import openwebui, pairs, rows, upstream
from kit.background import Background
from kit.bridge import copy_prepared, install_bridge
from kit.cluster import Cluster
from kit.drains import drain_on
from kit.oracle import differences
from kit.pairs import PASSWORDS, SYNC_USER, Pair
from kit.schemas import migrate_openwebui
from modules_support import DRIVERS, READ_ONLY, ModuleFailed, login_options, run_module, warnings
from playbooks_support import deploy, unchanged

SECRET = "MARKED-SECRET-7f3a"
TOKEN = hashlib.sha256(b"sk-marked").hexdigest()
LOST_TOKEN = hashlib.sha256(b"sk-lost").hexdigest()
BUDGET = {"max_budget": 1, "spend": 2, "models": [], "metadata": {}, "model_spend": {}, "model_max_budget": {}}
OWN_SETTINGS = {"ui": {"theme": "dark"}}
# Long before the first admin signed up.
LONG_AGO = "2025-01-01"


def options(pair: Pair, **more: Any) -> dict[str, Any]:
    return {**login_options(pair, "litellm"), "openwebui_login_db": pair.openwebui_db, **more}


def take_over(pair: Pair, check: bool = False, env: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    return run_module("bridge_takeover", options(pair, **more), check=check, diff=True, env=env)


def accounts(pair: Pair) -> dict[str, dict[str, Any]]:
    """Open WebUI's accounts by id, documents as objects whatever the column's type."""
    found = pair.openwebui.rows(
        "SELECT to_jsonb(u) AS u, to_jsonb(a) AS auth, u.settings::text AS settings, u.info::text AS info "
        'FROM "user" u LEFT JOIN auth a USING (id)'
    )
    return {
        row["u"]["id"]: {
            **row["u"],
            "auth": row["auth"],
            "settings": json.loads(row["settings"] or "null"),
            "info": json.loads(row["info"] or "null"),
        }
        for row in found
    }


def groups(pair: Pair) -> dict[str, dict[str, Any]]:
    return {row["g"]["id"]: row["g"] for row in pair.openwebui.rows('SELECT to_jsonb(g) AS g FROM "group" g')}


def keys(pair: Pair) -> dict[str, str]:
    """The API keys in Open WebUI by account."""
    if upstream.works(pair):
        found = pair.openwebui.rows('SELECT id, api_key AS key FROM "user" WHERE api_key IS NOT NULL')
    else:
        found = pair.openwebui.rows("SELECT user_id AS id, key FROM api_key")
    return {row["id"]: row["key"] for row in found}


def everything(pair: Pair) -> str:
    """Every row of both programs and of the bridge, for comparison and for searching."""
    found = []
    for session in (pair.litellm_admin, pair.openwebui_admin):
        for table in session.rows(
            "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables "
            "WHERE schemaname IN ('public', 'user_bridge') ORDER BY 1"
        ):
            found += [r["t"] for r in session.rows(f"SELECT t::text AS t FROM {table['name']} AS t ORDER BY 1")]
    return "\n".join(found)


def litellm_writes(pair: Pair) -> None:
    """People, an organization, a team and a key, while the scripts' triggers are there and the bridge is not."""
    session = pair.litellm
    rows.add_organization(session, "o1", "Research")
    rows.add_organization(session, "o3", "Nobody's")
    rows.update(session, "LiteLLM_OrganizationTable", {"organization_id": "o1"}, {"metadata": {"note": SECRET}})
    rows.add_team(
        session, "t1", "Rockets", organization_id="o1", members_with_roles=[{"user_id": "ann", "role": "user"}]
    )
    old: dict[str, Any] = {"created_at": LONG_AGO, "updated_at": LONG_AGO}
    rows.add_user(session, "ann", "Ann@Example.COM", user_alias="Ann", teams=["t1"], **old)
    rows.change_user(session, "ann", metadata={"note": SECRET}, password=SECRET, spend=3.5)
    rows.add_user(session, "bob", "bob@example.com", user_alias="Bob", sso_user_id="subject-of-bob", **old)
    rows.add_user(session, "cem", "cem@example.com", user_alias="Cem", sso_user_id="cem@idp.example", **old)
    rows.add_user(session, "hal", "hal@example.com", user_alias="Hal", user_role="proxy_admin_viewer", **old)
    rows.add_user(session, "pam", "pam@example.com", user_alias="Pam", user_role="proxy_admin", **old)
    rows.add_user(session, "new", "new@example.com", user_alias="New")
    rows.join_organization(session, "o1", "ann")
    rows.join_organization(session, "o1", "bob")
    rows.add_key(session, TOKEN, "ann", key_alias="ann's key", models=["m1"])


def without_trace(pair: Pair) -> None:
    """A user and an organization that have gone from LiteLLM while the scripts' triggers could not say so."""
    rows.add_user(pair.litellm, "fay", "fay@example.com", user_alias="Fay", created_at=LONG_AGO)
    rows.add_organization(pair.litellm, "o2", "Gone")
    rows.add_key(pair.litellm, LOST_TOKEN, "fay", key_alias="fay's key")


def forget(pair: Pair) -> None:
    admin = pair.litellm_admin
    admin.run("SET session_replication_role = replica")
    rows.delete(admin, "LiteLLM_VerificationToken", {"token": LOST_TOKEN})
    rows.delete_user(admin, "fay")
    rows.delete_organization(admin, "o2")
    admin.run("SET session_replication_role = origin")


def people_go_on(pair: Pair) -> None:
    """What people do in Open WebUI besides, and what the scripts have spoilt only now and then."""
    merged = {**BUDGET, **OWN_SETTINGS}
    pair.openwebui.run("UPDATE \"user\" SET settings = %s WHERE id = 'usr_bob'", [json.dumps(merged)])
    pair.openwebui.run("UPDATE auth SET password = '$2b$10$their.own' WHERE id = 'usr_bob'")
    pair.openwebui.run("UPDATE \"group\" SET description = NULL WHERE id = 'grp_o1'")
    # A person's own account that looks like those of the scripts in every way but two: no mapping, no id of LiteLLM's.
    for account in ("own-zoe", "usr_own"):
        openwebui.add_account(pair, account, f"{account}@Example.com")
        pair.openwebui.run(
            'UPDATE "user" SET settings = %s, created_at = 1600000000 WHERE id = %s', [json.dumps(BUDGET), account]
        )
    group = {"id": "grp_own", "name": "Own", "user_ids": [], "meta": {"spend": 1}, "created_at": 1, "updated_at": 1}
    pair.openwebui.run(
        'INSERT INTO "group" SELECT r.* FROM jsonb_populate_record(NULL::"group", %s) AS r', [json.dumps(group)]
    )


@dataclass(frozen=True)
class Scene:
    """One takeover with everything there is to it, for the tests that only look."""

    pair: Pair
    before: dict[str, dict[str, Any]]
    groups_before: dict[str, dict[str, Any]]
    keys_before: dict[str, str]
    rows_before_and_after_check: tuple[str, str]
    check: dict[str, Any]
    done: dict[str, Any]
    again: dict[str, Any]

    @property
    def after(self) -> dict[str, dict[str, Any]]:
        return accounts(self.pair)


@pytest.fixture(scope="module", params=["old", "new"])
def scene(request: pytest.FixtureRequest, server: Cluster) -> Iterator[Scene]:
    with pairs.pair(server, litellm=request.param, openwebui=request.param) as pair:
        upstream.install(pair)
        litellm_writes(pair)
        without_trace(pair)
        if request.param == "new":
            rows.add_user(pair.litellm, "dan", None, user_alias="Dan", created_at=LONG_AGO)
        upstream.write_as_upgraded(pair)
        # The scripts fail for a user without an email, and the account of that id is a person's own.
        rows.add_user(pair.litellm, "own", None, user_alias="Own")
        forget(pair)
        people_go_on(pair)
        if request.param == "old":
            # Up to 0.10 two accounts may have one email: the scripts have never looked for the other.
            rows.add_user(pair.litellm, "eve", "Eve@example.com", user_alias="Eve", created_at=LONG_AGO)
            openwebui.add_account(pair, "own-eve", "eve@example.com")
        pair.litellm.run(
            "INSERT INTO sync_audit (operation, record_id, sync_result, error_message) "
            "VALUES ('SYNC_USER', 'ann', 'FAILED', %s)",
            [f'missing "=" after "{PASSWORDS["openwebui"]}" in connection info string'],
        )
        install_bridge(pair)
        before = accounts(pair), groups(pair), keys(pair), everything(pair)
        check = take_over(pair, check=True, env=READ_ONLY)
        looked = everything(pair)
        done = take_over(pair)
        again = take_over(pair, env=READ_ONLY)
        yield Scene(pair, before[0], before[1], before[2], (before[3], looked), check, done, again)


def test_check_mode_lists_all_and_changes_nothing(scene: Scene) -> None:
    before, after = scene.rows_before_and_after_check
    assert before == after
    same = (
        "changed",
        "database",
        "triggers",
        "functions",
        "tables",
        "kept",
        "linked",
        "exposed_logins",
        "repaired",
        "repairs",
    )
    assert {name: scene.check[name] for name in same} == {name: scene.done[name] for name in same}
    assert scene.check["imported"] == scene.done["imported"]
    assert scene.check["diff"] == scene.done["diff"]
    shown = json.dumps(scene.check["diff"])
    for part in ("user_sync_trigger", "sync_user_to_openwebui", "public.sync_audit", "usr_ann", "created_at", "grp_o1"):
        assert part in shown, part


def test_the_second_run_changes_nothing(scene: Scene) -> None:
    assert scene.done["changed"] and not scene.again["changed"]
    assert scene.again["diff"] == [] and scene.again["repairs"] == [] and "warnings" not in scene.again


def test_triggers_and_functions_are_gone_and_tables_stay(scene: Scene) -> None:
    admin = scene.pair.litellm_admin
    assert sorted(name.split(" ")[0] for name in scene.done["triggers"]) == sorted(upstream.TRIGGERS)
    assert scene.done["functions"] == [f"public.{name}" for name in upstream.FUNCTIONS]
    assert admin.rows("SELECT tgname FROM pg_trigger WHERE tgname = ANY (%s)", [list(upstream.TRIGGERS)]) == []
    names = [name.split("(")[0] for name in upstream.FUNCTIONS]
    left = "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND proname = ANY (%s)"
    assert admin.rows(left, [names]) == []
    assert admin.value("SELECT count(*) FROM public.sync_audit") > 10
    assert "taken over by llmops.user_bridge" in admin.value("SELECT obj_description('public.sync_mapping'::regclass)")


def test_mapping_becomes_the_bridges(scene: Scene) -> None:
    mapped = scene.pair.litellm_admin.rows(
        "SELECT litellm_type, litellm_id, openwebui_id, created_at FROM user_bridge.sync_mapping"
    )
    found = {(row["litellm_type"], row["litellm_id"]): row["openwebui_id"] for row in mapped}
    assert found["user", "ann"] == "usr_ann" and found["organization", "o1"] == "grp_o1"
    (key,) = [key for kind, key in found if kind == "api_key"]
    assert json.loads(key)[0] == "ann" and TOKEN not in key
    assert ("user", "fay") not in found and ("organization", "o2") not in found
    # Kept from theirs: the takeover is younger.
    upstreams = scene.pair.litellm_admin.rows(
        "SELECT litellm_id, created_at AT TIME ZONE current_setting('TimeZone') AS at "
        "FROM public.sync_mapping WHERE litellm_type = 'user'"
    )
    times = {row["litellm_id"]: row["created_at"] for row in mapped if row["litellm_type"] == "user"}
    theirs = {row["litellm_id"]: row["at"] for row in upstreams}
    assert times["ann"] == theirs["ann"]


def test_history_becomes_the_bridges_and_is_older_than_ours(scene: Scene) -> None:
    admin = scene.pair.litellm_admin
    imported = admin.rows("SELECT * FROM user_bridge.sync_audit WHERE id <= 0 ORDER BY id")
    theirs = admin.rows("SELECT * FROM public.sync_audit ORDER BY id")
    assert scene.done["imported"]["audit"] == len(imported) == len(theirs)
    assert [row["operation"] for row in imported] == [row["operation"] for row in theirs]
    assert [row["sync_result"] for row in imported] == [row["sync_result"] for row in theirs]
    ann = next(row["new_data"] for row in imported if row["record_id"] == "ann" and row["new_data"])
    assert ann["user_email"] == "Ann@Example.COM" and not {"metadata", "password", "spend"} & ann.keys()
    recent = admin.rows("SELECT operation FROM user_bridge.get_recent_sync_activities(3)")
    assert all(row["operation"] != "INSTALL" for row in recent)
    # The bridge's own functions read what was imported.
    assert admin.rows("SELECT * FROM user_bridge.check_api_key_sync_status()")
    assert admin.value("SELECT count(*) FROM user_bridge.sync_audit WHERE operation = 'TAKEOVER'") == 1


def test_no_secret_is_imported_or_shown(scene: Scene) -> None:
    bridges = "\n".join(
        str(row)
        for session, tables in (
            (scene.pair.litellm_admin, ("sync_audit", "sync_mapping", "sync_queue", "installed_object")),
            (scene.pair.openwebui_admin, ("entity", "membership")),
        )
        for table in tables
        if session.value("SELECT to_regclass(%s)", [f"user_bridge.{table}"])
        for row in session.rows(f"SELECT * FROM user_bridge.{table}")
    )
    shown = json.dumps([scene.check, scene.done, scene.again])
    before, _after = scene.rows_before_and_after_check
    for secret in (SECRET, TOKEN, LOST_TOKEN, PASSWORDS["openwebui"]):
        assert secret in before, "the test has hidden no such secret"
        assert secret not in bridges, secret
        assert secret not in shown, secret


def test_the_exposed_password_is_to_be_changed(scene: Scene) -> None:
    assert scene.done["exposed_logins"] == ["openwebui"]
    assert "held the password of openwebui" in warnings(scene.done) and "change that password" in warnings(scene.check)


def test_accounts_and_groups_are_the_bridges(scene: Scene) -> None:
    linked = scene.pair.openwebui_admin.rows(
        "SELECT entity_type, entity_id, openwebui_id, origin FROM user_bridge.entity WHERE openwebui_id IS NOT NULL"
    )
    found = {(row["entity_type"], row["entity_id"]): (row["openwebui_id"], row["origin"]) for row in linked}
    assert found["user", "ann"] == ("usr_ann", "created") and found["organization", "o1"] == ("grp_o1", "created")
    # What had gone from LiteLLM unnoticed is deleted as the bridge's own is.
    assert {"usr_fay", "grp_o2"} <= scene.before.keys() | scene.groups_before.keys()
    assert not {"usr_fay", "grp_o2"} & (scene.after.keys() | groups(scene.pair).keys())


def test_groups_that_broke_pages_are_repaired(scene: Scene) -> None:
    before, after = scene.groups_before["grp_o1"], groups(scene.pair)["grp_o1"]
    assert before["user_id"] is None and before["description"] is None
    assert after["user_id"] == "" and after["description"] == "" and after["name"] == "Research"
    assert "spend" in before["meta"] and not after["meta"]
    if upstream.works(scene.pair):
        assert before["user_ids"] is None and sorted(after["user_ids"]) == ["usr_ann", "usr_bob"]
        # Without members no delivery would have written it.
        assert scene.groups_before["grp_o3"]["user_ids"] is None and groups(scene.pair)["grp_o3"]["user_ids"] == []


def test_a_missing_email_no_longer_breaks_the_list_of_users(scene: Scene) -> None:
    if upstream.works(scene.pair):
        # The column was NOT NULL: the scripts' write failed, and the user is skipped by the bridge.
        assert "usr_dan" not in scene.before
        return
    assert scene.before["usr_dan"]["email"] is None
    dan = scene.after["usr_dan"]
    assert dan["email"] == dan["auth"]["email"] == "none+usr_dan@user-bridge.invalid"
    assert dan["role"] == "pending" and dan["auth"]["active"] is False and dan["auth"]["password"] == ""


def test_budget_data_leaves_the_settings(scene: Scene) -> None:
    for account, left in (("usr_ann", None), ("usr_bob", OWN_SETTINGS)):
        assert set(BUDGET) <= set(scene.before[account]["settings"])
        assert scene.after[account]["settings"] == left
    assert scene.after["usr_ann"]["info"].keys() == {"user_bridge"}


def test_subjects_get_their_provider(scene: Scene) -> None:
    bob, cem = scene.after["usr_bob"], scene.after["usr_cem"]
    if upstream.works(scene.pair):
        assert scene.before["usr_bob"]["oauth_sub"] == "subject-of-bob"
        assert (bob["oauth_sub"], cem["oauth_sub"]) == ("oidc@subject-of-bob", "oidc@cem@idp.example")
    else:
        assert scene.before["usr_cem"]["oauth"] == {"cem": {"sub": "idp.example"}}
        assert (bob["oauth"], cem["oauth"]) == (
            {"oidc": {"sub": "subject-of-bob"}},
            {"oidc": {"sub": "cem@idp.example"}},
        )


def test_the_first_admin_is_the_primary_admin_again(scene: Scene) -> None:
    admin_at = next(a["created_at"] for a in scene.before.values() if a["email"] == scene.pair.admin.email)
    assert scene.before["usr_ann"]["created_at"] < admin_at
    theirs = [
        account for account in scene.after.values() if account["id"].startswith("usr_") and account["id"] != "usr_own"
    ]
    assert theirs and all(account["created_at"] > admin_at for account in theirs)
    assert all(account["created_at"] <= time.time() + 1 for account in theirs)
    # Right already, so not touched.
    assert ("usr_new", "created_at") not in {(r["id"], r["field"]) for r in scene.done["repairs"]}


def test_emails_are_in_lower_case(scene: Scene) -> None:
    assert scene.before["usr_ann"]["email"] == "Ann@Example.COM"
    assert scene.after["usr_ann"]["email"] == scene.after["usr_ann"]["auth"]["email"] == "ann@example.com"


def test_litellms_token_leaves_the_key_slot(scene: Scene) -> None:
    assert scene.keys_before["usr_ann"] == TOKEN
    assert "usr_ann" not in keys(scene.pair)


def test_memberships_and_roles_are_litellms(scene: Scene) -> None:
    found = openwebui.groups(scene.pair)
    assert found["grp_o1"][1] == ["usr_ann", "usr_bob"] and found["grp_team_t1"][1] == ["usr_ann"]
    assert scene.before["usr_hal"]["role"] == "admin" and scene.after["usr_hal"]["role"] == "user"


def test_passwords_that_are_the_email_end(scene: Scene) -> None:
    expires = scene.pair.openwebui_admin.rows(
        "SELECT openwebui_id FROM user_bridge.entity WHERE initial_password_at IS NOT NULL"
    )
    marked = {row["openwebui_id"] for row in expires}
    # Bob has one of his own.
    assert {"usr_ann", "usr_cem", "usr_hal"} <= marked and "usr_bob" not in marked
    assert scene.after["usr_ann"]["auth"]["password"] == scene.before["usr_ann"]["auth"]["password"]
    # There is another admin, who can give her a new one.
    assert scene.after["usr_pam"]["role"] == "admin" and scene.after["usr_pam"]["auth"]["password"] == ""


def test_what_people_have_made_is_left_alone(scene: Scene) -> None:
    for account in ("own-zoe", "usr_own"):
        assert scene.after[account] == scene.before[account]
    assert groups(scene.pair)["grp_own"] == scene.groups_before["grp_own"]
    assert not {"own-zoe", "usr_own", "grp_own"} & {repair["id"] for repair in scene.done["repairs"]}


def test_of_two_accounts_the_persons_own_is_kept(scene: Scene) -> None:
    if not upstream.works(scene.pair):
        assert "own-eve" not in scene.before
        return
    assert scene.before["usr_eve"]["email"].lower() == scene.before["own-eve"]["email"]
    moved, own = scene.after["usr_eve"], scene.after["own-eve"]
    assert (moved["email"], moved["role"]) == ("moved+usr_eve@user-bridge.invalid", "pending")
    assert moved["auth"]["email"] == moved["email"] and moved["auth"]["active"] is False
    assert (own["email"], own["name"], own["created_at"]) == ("eve@example.com", "Eve", 1760000000)
    mapped = "SELECT openwebui_id FROM user_bridge.sync_mapping WHERE litellm_type = 'user' AND litellm_id = 'eve'"
    assert scene.pair.litellm_admin.value(mapped) == "own-eve"


@pytest.mark.schemas(openwebui="old")
def test_the_bridge_has_taken_the_wrong_one_of_two_accounts(pair: Pair) -> None:
    upstream.install(pair)
    litellm_writes(pair)
    openwebui.add_account(pair, "own-bob", "bob@example.com")
    install_bridge(pair)
    # Both deliver for a while: the bridge takes the older account, and puts it into the group.
    rows.rename_organization(pair.litellm, "o1", "Labs")
    rows.change_user(pair.litellm, "bob", user_alias="Bobby")
    rows.leave_organization(pair.litellm, "o1", "bob")
    rows.join_organization(pair.litellm, "o1", "bob")
    assert "usr_bob" in openwebui.groups(pair)["grp_o1"][1]
    take_over(pair)
    assert openwebui.groups(pair)["grp_o1"] == ("Labs", ["own-bob", "usr_ann"])
    assert accounts(pair)["own-bob"]["name"] == "Bobby"
    assert pair.litellm_admin.rows("SELECT * FROM user_bridge.sync_queue") == []


def test_the_bridge_delivers_from_then_on(scene: Scene) -> None:
    rows.change_user(scene.pair.litellm, "ann", user_alias="Anne")
    assert scene.after["usr_ann"]["name"] == "Rockets-Anne"
    assert scene.pair.litellm_admin.rows("SELECT * FROM user_bridge.sync_queue") == []


def leave(pair: Pair) -> None:
    """The scripts with what they have written, and the bridge beside them."""
    upstream.install(pair)
    litellm_writes(pair)
    upstream.write_as_upgraded(pair)
    install_bridge(pair)


@pytest.fixture
def left(pair: Pair) -> Pair:
    copy_prepared(pair, leave)
    upstream.lead_here(pair)
    return pair


def settled(pair: Pair) -> bool:
    """Whatever the pauses of those that met a lock."""
    drain_on(pair, 500)
    return differences(pair) == [] and pair.litellm_admin.rows("SELECT * FROM user_bridge.sync_queue") == []


def theirs(pair: Pair) -> list[str]:
    """What is left of the scripts."""
    return [
        row["name"]
        for row in pair.litellm_admin.rows(
            "SELECT proname AS name FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND proname = ANY (%s) "
            "UNION ALL SELECT tgname FROM pg_trigger WHERE tgname = ANY (%s) "
            "UNION ALL SELECT relname FROM pg_class WHERE oid IN (to_regclass('public.sync_audit'), "
            "to_regclass('public.sync_mapping')) ORDER BY 1",
            [[name.split("(")[0] for name in upstream.FUNCTIONS], list(upstream.TRIGGERS)],
        )
    ]


TABLES = ["sync_audit", "sync_mapping"]


@pytest.mark.schemas(openwebui="old")
def test_deploy_takes_over(pair: Pair, tmp_path: Path) -> None:
    upstream.install(pair)
    litellm_writes(pair)
    # The scripts make an account for each; Open WebUI 0.11 refuses to start on two with one email.
    rows.add_user(pair.litellm, "bobby", "Bob@Example.com", user_alias="Bobby")
    before, all_of_theirs = everything(pair), theirs(pair)
    with unchanged(pair):
        check = deploy(pair, tmp_path, "--check", "--diff")
    assert everything(pair) == before
    for part in ("-trigger user_sync_trigger", "user usr_ann settings: max_budget", "+user usr_ann email: ann@example"):
        assert part in check.output, part
    # Only when it is wanted, and also when the bridge has been there before.
    install_bridge(pair)
    deploy(pair, tmp_path, bridge_takeover=False)
    assert theirs(pair) == all_of_theirs
    done = deploy(pair, tmp_path, bridge_takeover_drop_tables=True)
    assert done.changed == 1 and "held the password of openwebui" in done.words
    taken, delivered = (line for line in done.output.splitlines() if line.startswith("localhost: "))
    assert " accounts and 2 groups taken over, " in taken and taken.endswith(" entities to deliver")
    assert " delivered, 0 queued, " in delivered and delivered.endswith("/s")
    assert PASSWORDS["openwebui"] not in check.output + done.output
    assert theirs(pair) == [] and settled(pair)
    twice = 'SELECT lower(email) FROM "user" GROUP BY 1 HAVING count(*) > 1'
    assert pair.openwebui.rows(twice) == []
    assert deploy(pair, tmp_path, env=READ_ONLY, bridge_takeover_drop_tables=True).changed == 0


@pytest.mark.schemas(openwebui="old")
def test_after_a_real_upgrade_of_open_webui(pair: Pair) -> None:
    upstream.install(pair)
    litellm_writes(pair)
    migrate_openwebui(pair.login("openwebui"), "new")
    install_bridge(pair)
    done = take_over(pair, drop_tables=True)
    assert {"settings", "info", "created_at", "email", "api_key api_key", "oauth"} <= {
        r["field"] for r in done["repairs"]
    }
    assert theirs(pair) == [] and settled(pair)
    assert not take_over(pair, drop_tables=True, env=READ_ONLY)["changed"]


def test_what_only_has_their_names_is_left_alone(pair: Pair) -> None:
    upstream.install(pair)
    install_bridge(pair)
    own = pair.litellm
    own.run("DROP TABLE sync_audit")
    own.run("CREATE TABLE sync_audit (id serial, note text)")
    own.run("DROP FUNCTION check_sync_status()")
    own.run("CREATE FUNCTION check_sync_status() RETURNS TABLE (a text) LANGUAGE sql AS $$SELECT 'my sync_mapping'$$")
    own.run("CREATE FUNCTION get_recent_sync_activities(text) RETURNS text LANGUAGE sql AS $$SELECT 'limit_count'$$")
    own.run('DROP TRIGGER user_sync_trigger ON "LiteLLM_UserTable"')
    own.run("CREATE FUNCTION mine() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$")
    own.run('CREATE TRIGGER user_sync_trigger AFTER INSERT ON "LiteLLM_UserTable" FOR EACH ROW EXECUTE FUNCTION mine()')
    # Their function under a trigger name of somebody's.
    own.run(
        'CREATE TRIGGER renamed AFTER INSERT ON "LiteLLM_UserTable" '
        "FOR EACH ROW EXECUTE FUNCTION sync_user_to_openwebui()"
    )
    done = take_over(pair, drop_tables=True)
    assert theirs(pair) == ["check_sync_status", "get_recent_sync_activities", "sync_audit", "user_sync_trigger"]
    assert done["kept"] == [
        "function public.check_sync_status()",
        "function public.get_recent_sync_activities(text)",
        "trigger user_sync_trigger on LiteLLM_UserTable",
        "table public.sync_audit",
    ]
    assert "left alone" in warnings(done) and 'renamed on public."LiteLLM_UserTable"' in done["triggers"]
    assert not take_over(pair, drop_tables=True, env=READ_ONLY)["changed"]


def test_somebody_uses_their_objects(left: Pair) -> None:
    left.litellm.run("CREATE VIEW dashboard AS SELECT * FROM sync_audit")
    before = everything(left)
    with pytest.raises(ModuleFailed, match="others use it: .*dashboard.*bridge_takeover_drop_tables"), unchanged(left):
        take_over(left, drop_tables=True)
    assert everything(left) == before
    assert take_over(left)["changed"] and settled(left)


@pytest.mark.parametrize("driver", DRIVERS)
def test_both_drivers(left: Pair, driver: str) -> None:
    planned = run_module("bridge_takeover", options(left), check=True, driver=driver, env=READ_ONLY)
    done = run_module("bridge_takeover", options(left), driver=driver)
    assert done["repaired"] == planned["repaired"] != {} and done["imported"] == planned["imported"]
    assert settled(left) and theirs(left) == TABLES


def test_their_tables_are_gone(left: Pair) -> None:
    """LiteLLM's start-up diff has dropped them: the rows are known by what the scripts have written into them."""
    left.litellm.run("DROP TABLE sync_audit, sync_mapping")
    done = take_over(left)
    assert done["linked"]["accounts"] >= 5 and done["imported"] == {"mappings": 0, "audit": 0}
    assert theirs(left) == [] and settled(left)


def test_their_functions_are_gone(left: Pair) -> None:
    """Somebody has removed them by hand: the tables say what there is to repair."""
    for name in upstream.FUNCTIONS:
        left.litellm.run(f"DROP FUNCTION {name} CASCADE")
    done = take_over(left)
    assert done["repairs"] and done["imported"]["mappings"] >= 6 and done["functions"] == []
    assert settled(left) and not take_over(left, env=READ_ONLY)["changed"]


def test_the_scripts_are_run_again_later(left: Pair) -> None:
    take_over(left)
    first = left.litellm_admin.value("SELECT count(*) FROM user_bridge.sync_audit WHERE id <= 0")
    rows.delete_user(left.litellm, "bob")
    script = left.litellm_admin
    script.run(
        "INSERT INTO public.sync_audit (operation, record_id, sync_result) VALUES ('SYNC_USER', 'later', 'SUCCESS')"
    )
    done = take_over(left)
    assert done["imported"] == {"mappings": 0, "audit": 1}
    assert script.value("SELECT count(*) FROM user_bridge.sync_audit WHERE id <= 0") == first + 1
    # What has gone since is not brought back.
    assert script.value("SELECT count(*) FROM user_bridge.sync_mapping WHERE litellm_id = 'bob'") == 0
    assert not take_over(left, env=READ_ONLY)["changed"]


@pytest.mark.schemas(openwebui="all")
def test_nothing_is_lost_while_litellm_writes(left: Pair) -> None:
    session = left.connect("litellm")

    def write(number: int) -> None:
        rows.add_user(session, f"w{number}", f"W{number}@example.com", user_alias="W")
        rows.join_organization(session, "o1", f"w{number}")
        if number % 3 == 0:
            rows.delete_user(session, f"w{number}")

    # No write may fail.
    with Background(write) as writer:
        writer.await_steps(5)
        before = writer.done
        take_over(left)
        writer.await_steps(5)
    assert writer.done > before
    assert settled(left)
    assert theirs(left) == TABLES


def test_locks_are_waited_for_but_not_for_long(left: Pair) -> None:
    busy = left.connect("litellm", autocommit=False)
    busy.run('SELECT 1 FROM "LiteLLM_UserTable" LIMIT 1')
    before = theirs(left)
    with pytest.raises(
        ModuleFailed, match="could not lock .*LiteLLM_UserTable.*process [0-9]+ of litellm.*nothing was"
    ):
        take_over(left, lock_timeout_ms=50)
    assert theirs(left) == before
    busy.rollback()
    assert take_over(left)["changed"] and settled(left)


def test_a_run_that_was_cut_off_is_completed(left: Pair) -> None:
    busy = left.connect("openwebui", autocommit=False)
    busy.run("UPDATE \"user\" SET name = name WHERE id = 'usr_ann'")
    with pytest.raises(ModuleFailed, match="takeover is under way.*the next run completes the rest"):
        take_over(left, lock_timeout_ms=50)
    busy.rollback()
    assert not set(upstream.TRIGGERS) & set(theirs(left))
    rows.add_user(left.litellm, "later", "later@example.com")
    done = take_over(left)
    assert done["repairs"] and done["imported"]["mappings"] >= 6 and settled(left)


def test_the_delivery_is_left_to_the_drainer(left: Pair) -> None:
    done = take_over(left, deliver=False)
    assert done["queued"] == left.litellm_admin.value("SELECT count(*) FROM user_bridge.sync_queue") > 0
    assert done["delivered"] is None
    drain_on(left)
    assert settled(left)


def test_the_only_admins_are_theirs(pair: Pair) -> None:
    pair.openwebui.run("DELETE FROM auth")
    pair.openwebui.run('DELETE FROM "user"')
    upstream.install(pair)
    litellm_writes(pair)
    upstream.write_as_upgraded(pair)
    install_bridge(pair)
    done = take_over(pair)
    assert "usr_hal, usr_pam is still their email" in warnings(done)
    assert accounts(pair)["usr_pam"]["auth"]["password"] != ""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lock_timeout_ms": 0}, "lock_timeout_ms must be at least 1"),
        ({"openwebui_login_db": "nowhere"}, "openwebui_login_db"),
        ({"openwebui_login_password": "wrong"}, "check openwebui_login_user and openwebui_login_password"),
    ],
)
def test_bad_input(left: Pair, change: dict[str, Any], message: str) -> None:
    before = everything(left)
    with pytest.raises(ModuleFailed, match=message), unchanged(left):
        take_over(left, **change)
    assert everything(left) == before


def test_the_bridge_must_be_there_first(pair: Pair) -> None:
    upstream.install(pair)
    litellm_writes(pair)
    upstream.write_as_upgraded(pair)
    with pytest.raises(ModuleFailed, match="lacks LiteLLM's side of the bridge"), unchanged(pair):
        take_over(pair)
    check = take_over(pair, check=True, env=READ_ONLY)
    assert check["repairs"] and check["imported"]["mappings"] >= 6
    install_bridge(pair)
    pair.openwebui_admin.run("DROP SCHEMA user_bridge CASCADE")
    with pytest.raises(ModuleFailed, match="lacks Open WebUI's side of the bridge"), unchanged(pair):
        take_over(pair)


def test_a_login_without_rights(left: Pair) -> None:
    before = theirs(left)
    with pytest.raises(ModuleFailed, match="login_user sync_user needs in database .*membership in role litellm"):
        take_over(left, login_user=SYNC_USER, login_password=PASSWORDS[SYNC_USER])
    with pytest.raises(ModuleFailed, match="openwebui_login_user sync_user needs .*membership in the role that owns"):
        take_over(left, openwebui_login_user=SYNC_USER, openwebui_login_password=PASSWORDS[SYNC_USER])
    assert theirs(left) == before
