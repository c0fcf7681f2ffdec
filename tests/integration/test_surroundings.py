# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Databases and hosts that are set up in ways the bridge was not made on."""

from __future__ import annotations

import psycopg2.errors
import pytest

from hard_support import replaced
from kit import openwebui, rows
from kit.bridge import Mutate, install_bridge
from kit.pairs import Pair
from test_delivery import drain, queue, results

QUICK = {"initial_password": "none"}


def _published(pair: Pair, mutate: Mutate | None = None) -> None:
    """Everything that a deploy and the bridge itself write, where both databases publish all tables."""
    install_bridge(pair, QUICK, mutate=mutate)
    for session in (pair.litellm_admin, pair.openwebui_admin):
        session.run("CREATE PUBLICATION everything FOR ALL TABLES")
    rows.add_user(pair.litellm, "u1", "ann@example.com")
    pair.litellm_admin.run("SELECT user_bridge.backfill(); UPDATE user_bridge.settings SET default_role = 'pending'")
    pair.litellm_admin.run("SELECT user_bridge.backfill(); SELECT user_bridge.pause(); SELECT user_bridge.resume()")
    rows.delete_user(pair.litellm, "u1")
    while results(drain(pair)):
        pass
    pair.litellm_admin.run("SELECT FROM user_bridge.migrate_existing_users(); SELECT FROM user_bridge.maintain()")
    while results(drain(pair)):
        pass


def test_all_tables_are_published(pair: Pair) -> None:
    _published(pair)
    assert openwebui.accounts(pair) == {} and queue(pair) == []


def test_a_published_table_without_a_key_is_noticed(pair: Pair) -> None:
    def keyless(path: str, text: str) -> str:
        return text.replace("singleton boolean PRIMARY KEY", "singleton boolean") if "/backfill." in path else text

    with pytest.raises(psycopg2.errors.ObjectNotInPrerequisiteState):
        _published(pair, keyless)


def _moved_by_logical_replication(pair: Pair, mutate: Mutate | None = None) -> None:
    """The rows came with the move, and the sequences begin anew."""
    install_bridge(pair, QUICK, mutate=mutate)
    for number in range(3):
        rows.add_user(pair.litellm, f"u{number}", f"u{number}@example.com")
    for table in ("sync_audit", "sync_mapping"):
        pair.litellm_admin.run(f"SELECT setval('user_bridge.{table}_id_seq', 1, false)")
    rows.add_user(pair.litellm, "new", "new@example.com")
    assert [row["entity_id"] for row in queue(pair)] == ["new"]
    drain(pair)


def test_sequences_that_are_behind_are_moved_on(pair: Pair) -> None:
    _moved_by_logical_replication(pair)
    assert queue(pair) == [] and "new@example.com" in openwebui.accounts(pair)
    before = pair.litellm_admin.value("SELECT nextval('user_bridge.sync_audit_id_seq')")
    drain(pair)
    assert pair.litellm_admin.value("SELECT nextval('user_bridge.sync_audit_id_seq')") == before + 1


def test_a_sequence_that_stays_behind_is_noticed(pair: Pair) -> None:
    still = replaced("engine/litellm/drain.sql.j2", "    PERFORM user_bridge.advance_sequences();\n", "")
    with pytest.raises(psycopg2.errors.UniqueViolation):
        _moved_by_logical_replication(pair, still)


@pytest.mark.parametrize("side", ["litellm", "openwebui"])
def test_nothing_uses_md5(pair: Pair, side: str) -> None:
    """PostgreSQL refuses it where the host is in FIPS mode, which no test host is."""
    install_bridge(pair, QUICK)
    session = pair.litellm_admin if side == "litellm" else pair.openwebui_admin
    found = session.rows(
        "SELECT oid::regprocedure::text AS name FROM pg_proc "
        "WHERE pronamespace = 'user_bridge'::regnamespace AND prosrc ~ '[^_]md5\\('"
    )
    assert found == []
