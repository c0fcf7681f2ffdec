# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Enforcement by LiteLLM as a deployment brings it, switches it off and takes it away: rights, rows and budgets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kit import rows
from kit.bridge import change_settings
from kit.drains import drain_on
from kit.pairs import Pair
from playbooks_support import READ_ONLY, forget_roles, play, refused, snapshot, variables

RUN = "llmops.user_bridge.{}_bridge".format
ROWS = 'SELECT user_id, models, budget_id FROM "LiteLLM_EndUserTable" ORDER BY user_id'
# Of the table of end users nothing is readable otherwise.
RIGHTS = (
    "SELECT a.privilege_type || coalesce(' ' || t.attname, '') AS right FROM pg_class c "
    "JOIN LATERAL (SELECT NULL::name AS attname, c.relacl AS acl UNION ALL "
    "SELECT n.attname, n.attacl FROM pg_attribute n WHERE n.attrelid = c.oid) AS t ON true, aclexplode(t.acl) a "
    "WHERE c.relname = 'LiteLLM_EndUserTable' AND pg_get_userbyid(a.grantee) = 'user_bridge_reader' ORDER BY 1"
)
ALL_RIGHTS = [
    "DELETE",
    *("INSERT budget_id", "INSERT models", "INSERT user_id"),
    "SELECT",
    *("UPDATE budget_id", "UPDATE models"),
]


def rights(pair: Pair) -> list[str]:
    return [row["right"] for row in pair.litellm_admin.rows(RIGHTS)]


def deployed(pair: Pair, tmp_path: Path, *, changes: bool = True, **settings: Any) -> None:
    values = variables(pair, bridge_maintenance="none", **settings)
    done = play(RUN("deploy"), values, tmp_path, env={} if changes else READ_ONLY)
    assert (done.changed > 0, done.failed) == (changes, 0), done.output


def work(pair: Pair) -> None:
    """As the drainer does."""
    drain_on(pair, 500, due_only=True)
    for _turn in range(3):
        pair.litellm_admin.run("SELECT user_bridge.enforce_rights(s) FROM user_bridge.settings AS s")


def test_switched_on_and_off_and_removed(pair: Pair, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    forget_roles(pair)
    catalogs = snapshot(pair)
    rows.add_user(pair.litellm, "u1", "u1@example.com", models=["solo"])
    rows.insert(pair.litellm, "LiteLLM_EndUserTable", {"user_id": "u2@example.com", "spend": 2})
    rows.add_user(pair.litellm, "u2", "u2@example.com", models=["solo"])
    before = pair.litellm_admin.rows(ROWS)
    deployed(pair, tmp_path, bridge_enforce_models="true")
    assert rights(pair) == ALL_RIGHTS
    work(pair)
    known = {"models": ["solo"], "budget_id": "user_bridge_known"}
    assert pair.litellm_admin.rows(ROWS) == [{"user_id": f"u{n}@example.com", **known} for n in (1, 2)]
    deployed(pair, tmp_path, changes=False, bridge_enforce_models=True)
    # The rights stay until the drainer has given everything back.
    deployed(pair, tmp_path)
    assert rights(pair) == ALL_RIGHTS
    work(pair)
    assert pair.litellm_admin.rows(ROWS) == before
    deployed(pair, tmp_path)
    assert rights(pair) == []
    if pytestconfig.getoption("--weekly"):
        # On every push with enforcement, above, and without it in test_playbooks_deploy.
        deployed(pair, tmp_path, changes=False)
    change_settings(pair, enforce_models=True)
    work(pair)
    assert len(pair.litellm_admin.rows(ROWS)) == 2
    done = play(RUN("remove"), variables(pair, bridge_maintenance="none"), tmp_path)
    assert (done.changed > 0, done.failed) == (True, 0), done.output
    assert pair.litellm_admin.rows(ROWS) == before
    assert snapshot(pair) == catalogs


@pytest.mark.schemas(litellm="old")
def test_an_older_litellm_is_refused_before_anything_is_changed(pair: Pair, tmp_path: Path) -> None:
    run = refused(pair, tmp_path, bridge_enforce_models=True)
    assert "bridge_enforce_models is true, but" in run.output
    assert "Upgrade LiteLLM to 1.106 or newer" in run.output


def test_it_needs_the_rights_that_are_seen(pair: Pair, tmp_path: Path) -> None:
    run = refused(pair, tmp_path, bridge_enforce_models=True, bridge_model_access=False)
    assert "bridge_enforce_models" in run.output and "bridge_model_access" in run.output
