# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""States times playbooks: what a first run changes, and that a second one changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kit import litellm, pairs
from kit.cluster import Cluster
from kit.pairs import OWNER_ROLE, SYNC_USER, Pair
from playbooks_support import READ_ONLY, Run, forget_roles, play, snapshot, unchanged, variables

PLAYBOOKS = (
    "deploy_bridge",
    "bridge_status",
    "migrate_users",
    "rotate_sync_password",
    "pause_bridge",
    "resume_bridge",
    "remove_bridge",
)


def run(playbook: str, pair: Pair, tmp_path: Path, *arguments: str, **options: Any) -> Run:
    env = options.pop("env", None)
    return play(f"llmops.user_bridge.{playbook}", variables(pair, **options), tmp_path, *arguments, env=env)


def nothing(pair: Pair) -> None:
    pass


def pause(pair: Pair) -> None:
    pair.litellm_admin.run("SELECT user_bridge.pause()")


def drop_a_trigger(pair: Pair) -> None:
    pair.litellm_admin.run('DROP TRIGGER user_bridge_enqueue ON "LiteLLM_UserTable"')


def disable_a_trigger(pair: Pair) -> None:
    pair.litellm_admin.run('ALTER TABLE "LiteLLM_TeamTable" DISABLE TRIGGER user_bridge_enqueue')


def edit_a_function(pair: Pair) -> None:
    create = "CREATE OR REPLACE FUNCTION user_bridge.count_accounts() RETURNS bigint LANGUAGE sql STABLE"
    pair.openwebui_admin.run(f"{create} AS 'SELECT 1::bigint'")


def lose_a_grant(pair: Pair) -> None:
    pair.openwebui_admin.run(f'REVOKE EXECUTE ON FUNCTION user_bridge.apply(jsonb) FROM "{SYNC_USER}"')
    pair.litellm_admin.run(f'REVOKE SELECT ON "LiteLLM_UserTable" FROM "{OWNER_ROLE}"')


def recreate_a_table(pair: Pair) -> None:
    """As a migration does that copies a table: no trigger, no grant of ours."""
    pair.litellm_admin.run('CREATE TABLE copied (LIKE "LiteLLM_OrganizationMembership" INCLUDING ALL)')
    pair.litellm_admin.run('DROP TABLE "LiteLLM_OrganizationMembership" CASCADE')
    pair.litellm_admin.run('ALTER TABLE copied RENAME TO "LiteLLM_OrganizationMembership"')
    pair.litellm_admin.run('ALTER TABLE "LiteLLM_OrganizationMembership" OWNER TO litellm')


def record_version(version: str) -> Callable[[Pair], None]:
    def record(pair: Pair) -> None:
        for admin in (pair.litellm_admin, pair.openwebui_admin):
            admin.run("UPDATE user_bridge.installed_object SET version = %s WHERE kind = 'bridge'", [version])

    return record


# How a deployed bridge comes into the state; the playbook; what the first run does: "changes", "nothing" or "fails".
TABLE: list[tuple[str, Callable[[Pair], None], str, str]] = [
    ("deployed", nothing, "deploy_bridge", "nothing"),
    ("deployed", nothing, "bridge_status", "nothing"),
    ("deployed", nothing, "migrate_users", "nothing"),
    ("deployed", nothing, "rotate_sync_password", "nothing"),
    ("deployed", nothing, "resume_bridge", "nothing"),
    ("deployed", nothing, "pause_bridge", "changes"),
    ("paused", pause, "bridge_status", "fails"),
    ("paused", pause, "deploy_bridge", "nothing"),
    ("paused", pause, "pause_bridge", "nothing"),
    ("paused", pause, "resume_bridge", "changes"),
    ("trigger dropped", drop_a_trigger, "bridge_status", "fails"),
    ("trigger dropped", nothing, "deploy_bridge", "changes"),
    ("trigger disabled", disable_a_trigger, "deploy_bridge", "changes"),
    ("function edited", edit_a_function, "deploy_bridge", "changes"),
    ("grants lost", lose_a_grant, "deploy_bridge", "changes"),
    ("table recreated", recreate_a_table, "deploy_bridge", "changes"),
    ("older version", record_version("0.9.0"), "deploy_bridge", "changes"),
    ("newer version", record_version("9.0.0"), "deploy_bridge", "fails"),
    ("removed", record_version("1.0.0"), "remove_bridge", "changes"),
    ("removed", nothing, "remove_bridge", "nothing"),
    ("removed", nothing, "pause_bridge", "fails"),
    ("removed", nothing, "deploy_bridge", "changes"),
]


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_check_mode_on_a_pristine_host(pair: Pair, tmp_path: Path, playbook: str) -> None:
    forget_roles(pair)
    with unchanged(pair):
        done = run(playbook, pair, tmp_path, "--check", "--diff")
    assert done.failed == 0, done.output
    assert (done.changed > 0) == (playbook == "deploy_bridge"), done.output


def test_removal_leaves_no_trace(pair: Pair, tmp_path: Path) -> None:
    forget_roles(pair)
    before = snapshot(pair)
    assert run("deploy_bridge", pair, tmp_path).failed == 0
    litellm.new_user(pair.litellm, "stays", "stays@example.com")
    done = run("remove_bridge", pair, tmp_path)
    assert done.failed == 0, done.output
    assert snapshot(pair) == before
    assert pair.openwebui.value("SELECT count(*) FROM \"user\" WHERE email = 'stays@example.com'") == 1


def test_removal_with_the_data(pair: Pair, tmp_path: Path) -> None:
    """What the bridge made goes; what people made, and whom it adopted, stays."""
    forget_roles(pair)
    before = pair.openwebui.rows('SELECT id, role, email FROM "user" ORDER BY id')
    adopted = pair.openwebui.value('SELECT email FROM "user" ORDER BY id LIMIT 1')
    assert run("deploy_bridge", pair, tmp_path).failed == 0
    litellm.new_user(pair.litellm, "made", "made@example.com")
    litellm.new_user(pair.litellm, "adopted", adopted, role="proxy_admin")
    assert pair.openwebui.value('SELECT count(*) FROM "user"') == len(before) + 1
    done = run("remove_bridge", pair, tmp_path, bridge_remove_data=True)
    assert done.failed == 0, done.output
    assert pair.openwebui.rows('SELECT id, role, email FROM "user" ORDER BY id') == before
    again = run("remove_bridge", pair, tmp_path, bridge_remove_data=True, env=READ_ONLY)
    assert (again.changed, again.failed) == (0, 0), again.output


# Last, because roles belong to the whole server, and this bridge stays until the end.
@pytest.fixture(scope="module")
def deployed(server: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """One bridge that goes through all states, in the order of the table."""
    with pairs.pair(server) as pair:
        litellm.new_user(pair.litellm, "first", "first@example.com")
        done = run("deploy_bridge", pair, tmp_path_factory.mktemp("deployed"))
        assert done.failed == 0, done.output
        yield pair


@pytest.mark.parametrize(
    ("state", "playbook", "expected"),
    [pytest.param(row[1], row[2], row[3], id=f"{row[0]}-{row[2]}".replace(" ", "_")) for row in TABLE],
)
def test_state_and_playbook(
    deployed: Pair, tmp_path: Path, state: Callable[[Pair], None], playbook: str, expected: str
) -> None:
    state(deployed)
    if expected == "fails":
        with unchanged(deployed):
            refused = run(playbook, deployed, tmp_path)
        assert (refused.changed, refused.failed) == (0, 1), refused.output
        return
    first = run(playbook, deployed, tmp_path)
    assert first.failed == 0, first.output
    assert (first.changed > 0) == (expected == "changes"), first.output
    second = run(playbook, deployed, tmp_path, env=READ_ONLY) if expected == "changes" else first
    assert (second.changed, second.failed) == (0, 0), second.output
    if playbook == "deploy_bridge" and state is not pause:
        assert deployed.litellm_admin.value("SELECT count(*) FROM user_bridge.sync_queue") == 0
        assert deployed.openwebui.value("SELECT count(*) FROM \"user\" WHERE email = 'first@example.com'") == 1
