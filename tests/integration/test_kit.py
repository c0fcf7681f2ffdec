# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kit itself: what every integration test takes for granted."""

from __future__ import annotations

from contextlib import closing

import psycopg2
import pytest

from kit import litellm
from kit.binaries import default_major, find
from kit.bridge import install_bridge
from kit.cluster import Cluster, running
from kit.pairs import SYNC_USER, Pair, Session
from kit.pairs import pair as make_pair
from kit.schemas import apply_litellm, migrate_openwebui


@pytest.mark.schemas(litellm="all", openwebui="all")
def test_pair_has_both_schemas_owned_by_their_programs(pair: Pair) -> None:
    owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'"
    assert [row["tableowner"] for row in pair.litellm.rows(owners)] == ["litellm"]
    assert [row["tableowner"] for row in pair.openwebui.rows(owners)] == ["openwebui"]
    assert pair.litellm.value('SELECT count(*) FROM "LiteLLM_UserTable"') == 0
    assert pair.openwebui.rows('SELECT email, role FROM "user"') == [{"email": pair.admin.email, "role": "admin"}]


def test_copies_are_independent_and_roles_are_not_superusers(server: Cluster) -> None:
    with make_pair(server) as one, make_pair(server) as two:
        litellm.new_user(one.litellm, "ann", "ann@example.com")
        assert one.litellm.value('SELECT count(*) FROM "LiteLLM_UserTable"') == 1
        assert two.litellm.value('SELECT count(*) FROM "LiteLLM_UserTable"') == 0
        assert one.litellm.value("SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is False
        dropped = one.litellm_db
    assert server_databases(server).isdisjoint({dropped})


def test_committed_rows_survive_kill_9() -> None:
    with running(find(default_major())) as server:
        server.execute("CREATE TABLE t (i int)", "INSERT INTO t VALUES (1)")
        server.kill()
        with pytest.raises(psycopg2.OperationalError):
            server.connect()
        server.start()
        with closing(server.connect()) as connection:
            assert Session(connection).value("SELECT count(*) FROM t") == 1


def test_a_frozen_backend_goes_on_afterwards(pair: Pair) -> None:
    session = pair.connect("litellm")
    with pair.cluster.frozen(session.pid):
        assert pair.litellm_admin.value("SELECT 1") == 1
    assert session.value("SELECT 2") == 2


# On every push in test_upgrades, under a live bridge.
@pytest.mark.weekly
@pytest.mark.schemas(litellm="old", openwebui="0.6.30")
def test_both_programs_upgrade_in_place(pair: Pair) -> None:
    assert "20261013000000_add_access_group_skill_names" in apply_litellm(pair.litellm.raw, "new", after="old")
    migrate_openwebui(pair.login("openwebui"), "new", revision="37f288994c47")
    assert pair.openwebui.value("SELECT to_regclass('group_member')") == "group_member"
    assert pair.openwebui.value("SELECT to_regclass('access_grant')") is None


def server_databases(server: Cluster) -> set[str]:
    with closing(server.connect()) as connection:
        return {row["datname"] for row in Session(connection).rows("SELECT datname FROM pg_database")}


def test_a_password_that_a_test_has_changed_is_put_back(server: Cluster) -> None:
    with make_pair(server) as one, make_pair(server) as two:
        install_bridge(one)
        for role in ("litellm", "openwebui", SYNC_USER):
            one.litellm_admin.run(f"ALTER ROLE {role} PASSWORD 'forgotten'")
        install_bridge(two)
        assert [session.value("SELECT 1") for session in (two.litellm, two.openwebui, two.sync_user)] == [1, 1, 1]
