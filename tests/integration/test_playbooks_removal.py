# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The last bridge of a server goes, with its roles and the rows that it made."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from kit import litellm
from kit.pairs import Pair
from playbooks_support import READ_ONLY, forget_roles, play, snapshot, variables, wait_until


def test_removal_with_the_data(pair: Pair, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """What the bridge made goes, what people made and whom it adopted stays, and nobody is delivered meanwhile."""
    forget_roles(pair)
    catalogs = snapshot(pair)
    people = pair.openwebui.rows('SELECT id, role, email FROM "user" ORDER BY id')
    run = "llmops.user_bridge.{}_bridge".format
    assert play(run("deploy"), variables(pair), tmp_path).failed == 0
    litellm.new_user(pair.litellm, "made", "made@example.com")
    litellm.new_user(pair.litellm, "adopted", people[0]["email"], role="proxy_admin")
    assert pair.openwebui.value('SELECT count(*) FROM "user"') == len(people) + 1
    changes_the_prefix(pair, people[0]["id"], tmp_path, pytestconfig)

    values = variables(pair, bridge_remove_data=True)
    runs = []
    removal = threading.Thread(target=lambda: runs.append(play(run("remove"), values, tmp_path)))
    holder = pair.connect("openwebui", autocommit=False)
    holder.run("SELECT FROM \"user\" WHERE id = 'usr_made' FOR UPDATE")
    removal.start()
    try:
        wait_until(lambda: pair.openwebui_admin.value(REMOVAL_WAITS, [pair.openwebui_db]))
        assert pair.litellm_admin.value("SELECT paused FROM user_bridge.settings")
    finally:
        holder.rollback()
        removal.join()
    (done,) = runs
    assert (done.changed > 0, done.failed) == (True, 0), done.output
    assert pair.openwebui.rows('SELECT id, role, email FROM "user" ORDER BY id') == people
    assert snapshot(pair) == catalogs
    again = play(run("remove"), values, tmp_path, env=READ_ONLY)
    assert (again.changed, again.failed) == (0, 0), again.output


def changes_the_prefix(pair: Pair, adopted: str, tmp_path: Path, config: pytest.Config) -> None:
    """Everybody keeps the account, and a deployment says whom LiteLLM cannot book on by it."""
    values = variables(pair, bridge_user_id_prefix="", bridge_attribution="user_id")
    done = play("llmops.user_bridge.deploy_bridge", values, tmp_path)
    assert (done.changed > 0, done.failed) == (True, 0), done.output
    assert "the id of 2 of 2 accounts is not that of their user in LiteLLM" in done.words, done.output
    assert "adopted, made" in done.words and "header_name: X-OpenWebUI-User-Id" in done.words, done.output
    if config.getoption("--weekly"):
        # On every push with the usual prefix, in test_playbooks_deploy.
        again = play("llmops.user_bridge.deploy_bridge", values, tmp_path, env=READ_ONLY)
        assert (again.changed, again.failed) == (0, 0), again.output
    litellm.new_user(pair.litellm, "later", "later@example.com")
    sql = "SELECT openwebui_id FROM user_bridge.sync_mapping WHERE litellm_type = 'user' ORDER BY litellm_id"
    assert [row["openwebui_id"] for row in pair.litellm_admin.rows(sql)] == [adopted, "later", "usr_made"]


REMOVAL_WAITS = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"
