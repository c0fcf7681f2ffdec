# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everybody is there once, or it is said why not."""

from __future__ import annotations

from pathlib import Path

from kit.hosts import Database, play

testinfra_hosts = ["docker://user-bridge-existing-users"]

# Whom litellm.sql makes, said once more: nobody for an older email that is not there either.
WITHOUT_EMAIL = {n for n in range(1, 3001) if n % 30 == 0}
REPEATED = {n for n in range(1, 3001) if n not in WITHOUT_EMAIL and 31 <= n % 100 <= 35}
# The older one of such a pair may be without an email; then the repetition is the only one.
DUPLICATES = {n for n in REPEATED if n - 20 not in WITHOUT_EMAIL}
SYNCED = set(range(1, 3001)) - WITHOUT_EMAIL - DUPLICATES
ADOPTED = {n for n in range(101, 141) if n not in WITHOUT_EMAIL and n not in REPEATED}


def test_everybody_with_an_email_of_their_own_is_there_once(openwebui: Database) -> None:
    accounts = openwebui.rows("SELECT id, email FROM \"user\" WHERE email LIKE 'person-%'")
    emails = [account["email"] for account in accounts]
    assert len(emails) == len(set(emails)) == len(SYNCED)
    assert {account["id"] for account in accounts} == {
        f"own-{n}" if n in ADOPTED else f"usr_person-{n}" for n in SYNCED
    }
    assert openwebui.value('SELECT count(*) FROM "user" AS u JOIN auth AS a USING (id, email)') == len(SYNCED) + 1


def test_everybody_else_is_skipped_with_the_reason(litellm: Database) -> None:
    skipped = litellm.rows(
        "SELECT DISTINCT ON (record_id) record_id, error_message FROM user_bridge.sync_audit"
        " WHERE operation = 'SYNC_USER' AND sync_result = 'SKIPPED' ORDER BY record_id, id DESC"
    )
    reasons = {int(row["record_id"].removeprefix("person-")): row["error_message"] for row in skipped}
    assert set(reasons) == WITHOUT_EMAIL | DUPLICATES
    assert all(reasons.values())


def test_an_account_that_was_there_keeps_what_is_its_own(openwebui: Database) -> None:
    kept = openwebui.rows(
        "SELECT u.id, u.settings ->> 'ui' IS NOT NULL AS settings, a.password = 'the hash of ' || a.email AS password,"
        " (SELECT count(*) FROM chat WHERE user_id = u.id) AS chats"
        " FROM \"user\" AS u JOIN auth AS a USING (id) WHERE u.id LIKE 'own-%'"
    )
    assert len(kept) == len(ADOPTED)
    assert all(row["settings"] and row["password"] and row["chats"] == 1 for row in kept)


def test_memberships(openwebui: Database) -> None:
    groups = openwebui.rows("SELECT group_id, count(*) FROM group_member GROUP BY group_id")
    counts = {row["group_id"]: row["count"] for row in groups}
    expected = {f"grp_org-{o}": sum(1 for n in SYNCED if n % 10 + 1 == o) for o in range(1, 11)}
    assert counts == {**expected, "grp_team_team-1": sum(1 for n in SYNCED if n <= 50)}


def test_roles(openwebui: Database) -> None:
    found = openwebui.rows("SELECT id FROM \"user\" WHERE role = 'admin' AND email LIKE 'person-%'")
    assert found == [{"id": "usr_person-1"}]


def test_nothing_waits_and_nobody_was_given_up(litellm: Database) -> None:
    """On a slow machine a batch may time out; then it is delivered again."""
    assert litellm.value("SELECT count(*) FROM user_bridge.sync_queue") == 0
    last = (
        "SELECT DISTINCT ON (operation, record_id) operation, record_id, sync_result, error_message"
        " FROM user_bridge.sync_audit ORDER BY operation, record_id, id DESC"
    )
    assert litellm.rows(f"SELECT * FROM ({last}) AS last WHERE sync_result = 'FAILED' LIMIT 5") == []


def test_a_second_migration_changes_nothing(openwebui: Database, tmp_path: Path) -> None:
    everything = "SELECT md5(string_agg(each::text, '' ORDER BY id)) FROM \"user\" AS each"
    before = openwebui.value(everything)
    again = play("migrate_users", "existing_users", tmp_path)
    assert (again.changed, again.failed) == (0, 0), again.output
    assert openwebui.value(everything) == before
