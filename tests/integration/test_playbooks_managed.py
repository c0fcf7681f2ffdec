# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A managed server: the maintenance login is no superuser, and cannot read passwords."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from kit import litellm
from kit.drains import drain_on
from kit.pages import blocks
from kit.pairs import OWN_ROLES, OWNER_ROLE, SYNC_USER, Pair
from playbooks_support import READ_ONLY, forget_roles, play_hosts, refused, shipped, unchanged, variables

# What docs/managed-postgresql.md lists, statement by statement.
(MAKE, *GRANTS), EXTENSION = (
    [each.removesuffix(";") for each in block.splitlines()] for block in blocks("docs/managed-postgresql.md", "sql")
)
DEPLOYER: dict[str, Any] = {"bridge_login_user": "deployer", "bridge_login_password": "of your own"}

# The second run of a playbook, in sessions that cannot write.
AGAIN = "again"


def run(pair: Pair, tmp_path: Path, *steps: str, **overrides: Any) -> None:
    """Playbooks one after the other; each changes something, and nothing where the step says so.

    Those that follow each other run in one process, each on a host of its own.
    """
    values = variables(pair, **{**DEPLOYER, **overrides})
    for again, some in groupby(steps, lambda step: step.endswith(AGAIN)):
        playbooks = [step.partition(" ")[0] for step in some]
        plays = [play for playbook in playbooks for play in shipped(playbook, playbook)]
        hosts = {playbook: {playbook: values} for playbook in playbooks}
        done = play_hosts(plays, hosts, tmp_path, env=READ_ONLY if again else {})
        for playbook in playbooks:
            host = done.hosts[playbook]
            assert (host.changed > 0, host.failed) == (not again, 0), done.output


@pytest.fixture
def managed(pair: Pair) -> Iterator[Pair]:
    """A pair whose administrator has made a login, and given it nothing yet."""
    forget_roles(pair)
    pair.cluster.execute("DROP ROLE IF EXISTS deployer", MAKE)
    yield pair
    for session in (pair.litellm_admin, pair.openwebui_admin):
        for role in ("deployer", *OWN_ROLES, SYNC_USER):
            if session.value("SELECT to_regrole(%s)", [f'"{role}"']):
                session.run(f'DROP OWNED BY "{role}" CASCADE')
    forget_roles(pair)
    pair.cluster.execute("DROP ROLE deployer")


def test_a_login_that_is_no_superuser(managed: Pair, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """With exactly the rights that the refusal lists, every playbook works, twice without change."""
    pair = managed
    asked = refused(pair, tmp_path, **DEPLOYER).words
    listed = (
        f"CREATEROLE, to create the role {OWNER_ROLE}",
        f"CREATE on the database {pair.litellm_db}",
        f"CREATE on the database {pair.openwebui_db}",
        "membership in litellm, which owns the tables",
        "membership in openwebui, which owns the tables",
    )
    for needed, grant in zip(listed, GRANTS, strict=True):
        assert needed in asked
        for side, name in (("litellm", pair.litellm_db), ("openwebui", pair.openwebui_db)):
            grant = grant.replace(f"ON DATABASE {side} ", f"ON DATABASE {name} ")
        pair.cluster.execute(grant)
    assert "superuser, to create the extension dblink (or have an administrator create it)" in asked
    *create, wrapper = EXTENSION
    pair.litellm_admin.run("; ".join(create))
    asked = refused(pair, tmp_path, **DEPLOYER).words
    assert "USAGE on the foreign data wrapper dblink_fdw WITH GRANT OPTION" in asked
    pair.litellm_admin.run(wrapper)

    run(pair, tmp_path, "deploy_bridge")
    litellm.new_user(pair.litellm, "first", "first@example.com")
    assert pair.openwebui.value("SELECT count(*) FROM \"user\" WHERE email = 'first@example.com'") == 1
    drain_on(pair)
    with unchanged(pair):
        run(pair, tmp_path, "deploy_bridge again", "bridge_status again", "migrate_users again")

    # Somebody changed it on the server; this login cannot compare, only try.
    pair.openwebui_admin.run(f"ALTER ROLE \"{SYNC_USER}\" PASSWORD 'somebody else''s'")
    run(pair, tmp_path, "deploy_bridge")
    run(pair, tmp_path, "rotate_sync_password", "rotate_sync_password again", bridge_sync_password="another day")
    litellm.new_user(pair.litellm, "second", "second@example.com")
    assert pair.openwebui.value("SELECT count(*) FROM \"user\" WHERE email = 'second@example.com'") == 1
    ends = ("pause_bridge", "resume_bridge", "remove_bridge")
    if pytestconfig.getoption("--weekly"):
        run(pair, tmp_path, *(step for playbook in ends for step in (playbook, f"{playbook} {AGAIN}")))
    else:
        # A bridge that is paused, or not, already: by a superuser, in test_playbooks_states.
        run(pair, tmp_path, *ends, f"{ends[-1]} {AGAIN}")
    left = pair.litellm_admin.rows("SELECT rolname FROM pg_roles WHERE rolname = ANY (%s)", [[*OWN_ROLES, SYNC_USER]])
    assert left == []
