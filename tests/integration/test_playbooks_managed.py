# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A managed server: the maintenance login is no superuser, and cannot read passwords."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kit import litellm
from kit.pairs import OWNER_ROLE, SYNC_USER, Pair
from playbooks_support import READ_ONLY, Run, forget_roles, play, refused, unchanged, variables

DEPLOYER: dict[str, Any] = {"bridge_login_user": "deployer", "bridge_login_password": "deployer's password"}


def run(playbook: str, pair: Pair, tmp_path: Path, **options: Any) -> Run:
    env = options.pop("env", None)
    values = variables(pair, **{**DEPLOYER, **options})
    return play(f"llmops.user_bridge.{playbook}", values, tmp_path, env=env)


@pytest.fixture
def managed(pair: Pair) -> Iterator[Pair]:
    """A pair whose administrator has made a login, and given it nothing yet."""
    forget_roles(pair)
    pair.cluster.execute("DROP ROLE IF EXISTS deployer", "CREATE ROLE deployer LOGIN PASSWORD 'deployer''s password'")
    yield pair
    for session in (pair.litellm_admin, pair.openwebui_admin):
        for role in ("deployer", OWNER_ROLE, SYNC_USER):
            if session.value("SELECT to_regrole(%s)", [f'"{role}"']):
                session.run(f'DROP OWNED BY "{role}" CASCADE')
    forget_roles(pair)
    pair.cluster.execute("DROP ROLE deployer")


def test_a_login_that_is_no_superuser(managed: Pair, tmp_path: Path) -> None:
    """With exactly the rights that the refusal lists, every playbook works, twice without change."""
    pair = managed
    asked = refused(pair, tmp_path, **DEPLOYER).words
    for needed, grant in (
        (f"CREATEROLE, to create the role {OWNER_ROLE}", "ALTER ROLE deployer CREATEROLE"),
        (f"CREATE on the database {pair.litellm_db}", f"GRANT CREATE ON DATABASE {pair.litellm_db} TO deployer"),
        (f"CREATE on the database {pair.openwebui_db}", f"GRANT CREATE ON DATABASE {pair.openwebui_db} TO deployer"),
        ("membership in litellm, which owns the tables", "GRANT litellm TO deployer"),
        ("membership in openwebui, which owns the tables", "GRANT openwebui TO deployer"),
    ):
        assert needed in asked
        pair.cluster.execute(grant)
    assert "superuser, to create the extension dblink (or have an administrator create it)" in asked
    pair.litellm_admin.run("CREATE EXTENSION dblink")
    asked = refused(pair, tmp_path, **DEPLOYER).words
    assert "USAGE on the foreign data wrapper dblink_fdw WITH GRANT OPTION" in asked
    pair.litellm_admin.run("GRANT USAGE ON FOREIGN DATA WRAPPER dblink_fdw TO deployer WITH GRANT OPTION")

    first = run("deploy_bridge", pair, tmp_path)
    assert (first.changed > 0, first.failed) == (True, 0), first.output
    litellm.new_user(pair.litellm, "first", "first@example.com")
    assert pair.openwebui.value("SELECT count(*) FROM \"user\" WHERE email = 'first@example.com'") == 1
    for playbook in ("deploy_bridge", "bridge_status", "migrate_users"):
        with unchanged(pair):
            again = run(playbook, pair, tmp_path, env=READ_ONLY)
        assert (again.changed, again.failed) == (0, 0), again.output

    # Somebody changed it on the server; this login cannot compare, only try.
    pair.openwebui_admin.run(f"ALTER ROLE \"{SYNC_USER}\" PASSWORD 'somebody else''s'")
    repaired = run("deploy_bridge", pair, tmp_path)
    assert (repaired.changed > 0, repaired.failed) == (True, 0), repaired.output
    rotated = run("rotate_sync_password", pair, tmp_path, bridge_sync_password="another day")
    assert (rotated.changed > 0, rotated.failed) == (True, 0), rotated.output
    litellm.new_user(pair.litellm, "second", "second@example.com")
    assert pair.openwebui.value("SELECT count(*) FROM \"user\" WHERE email = 'second@example.com'") == 1
    again = run("rotate_sync_password", pair, tmp_path, bridge_sync_password="another day", env=READ_ONLY)
    assert (again.changed, again.failed) == (0, 0), again.output

    for playbook in ("pause_bridge", "resume_bridge", "remove_bridge"):
        once = run(playbook, pair, tmp_path)
        assert (once.changed > 0, once.failed) == (True, 0), once.output
        again = run(playbook, pair, tmp_path, env=READ_ONLY)
        assert (again.changed, again.failed) == (0, 0), again.output
    left = pair.litellm_admin.rows("SELECT rolname FROM pg_roles WHERE rolname IN (%s, %s)", [OWNER_ROLE, SYNC_USER])
    assert left == []
