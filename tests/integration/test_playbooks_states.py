# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""States times playbooks: what a first run changes, and that a second one changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kit import litellm, pairs, upstream
from kit.cluster import Cluster
from kit.pairs import OWNER_ROLE, SYNC_USER, Pair
from playbooks_support import READ_ONLY, Run, forget_roles, play, role_play, snapshot, unchanged, variables

PLAYBOOKS = (
    "deploy_bridge",
    "bridge_status",
    "migrate_users",
    "rotate_sync_password",
    "pause_bridge",
    "resume_bridge",
    "remove_bridge",
)


ROLES = ("bridge", "maintenance", "migration", "postgres", "sync_user", "triggers")
TAGS = tuple(f"bridge_{role}" for role in ROLES if role != "bridge")
# As sites have it that are strict, or ahead of the default.
FREE = {"ANSIBLE_INJECT_FACT_VARS": "false", "ANSIBLE_STRATEGY": "free"}


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


def change_the_password(pair: Pair) -> None:
    pair.openwebui_admin.run(f"ALTER ROLE \"{SYNC_USER}\" PASSWORD 'somebody else''s'")


def run_the_upstream_scripts(pair: Pair) -> None:
    # Their tables stay when their triggers and functions go, and their scripts do not bear that.
    pair.litellm.run("DROP TABLE IF EXISTS sync_audit, sync_mapping")
    upstream.install(pair)


def record_version(version: str) -> Callable[[Pair], None]:
    def record(pair: Pair) -> None:
        for admin in (pair.litellm_admin, pair.openwebui_admin):
            admin.run("UPDATE user_bridge.installed_object SET version = %s WHERE kind = 'bridge'", [version])

    return record


# How the bridge comes into the state; the playbook; what the first run does: "changes", "nothing" or "fails". A second
# run never changes anything.
TABLE: list[tuple[str, Callable[[Pair], None], str, str]] = [
    ("pristine", nothing, "bridge_status", "fails"),
    ("pristine", nothing, "migrate_users", "fails"),
    ("pristine", nothing, "rotate_sync_password", "fails"),
    ("pristine", nothing, "pause_bridge", "fails"),
    ("pristine", nothing, "resume_bridge", "fails"),
    ("pristine", nothing, "remove_bridge", "nothing"),
    ("pristine", nothing, "deploy_bridge", "changes"),
    ("deployed", nothing, "bridge_status", "nothing"),
    ("deployed", nothing, "migrate_users", "nothing"),
    ("deployed", nothing, "rotate_sync_password", "nothing"),
    ("deployed", nothing, "resume_bridge", "nothing"),
    ("deployed", nothing, "pause_bridge", "changes"),
    ("paused", pause, "bridge_status", "fails"),
    ("paused", pause, "deploy_bridge", "nothing"),
    ("paused", pause, "migrate_users", "fails"),
    ("paused", pause, "rotate_sync_password", "nothing"),
    ("paused", pause, "resume_bridge", "changes"),
    ("trigger dropped", drop_a_trigger, "bridge_status", "fails"),
    ("trigger dropped", nothing, "deploy_bridge", "changes"),
    ("trigger disabled", disable_a_trigger, "bridge_status", "fails"),
    ("trigger disabled", nothing, "deploy_bridge", "changes"),
    ("function edited", edit_a_function, "bridge_status", "fails"),
    ("function edited", nothing, "deploy_bridge", "changes"),
    ("grants lost", lose_a_grant, "bridge_status", "fails"),
    ("grants lost", nothing, "deploy_bridge", "changes"),
    ("table recreated", recreate_a_table, "bridge_status", "fails"),
    ("table recreated", nothing, "deploy_bridge", "changes"),
    ("password changed", change_the_password, "bridge_status", "fails"),
    ("password changed", nothing, "deploy_bridge", "changes"),
    ("older version", record_version("0.9.0"), "bridge_status", "fails"),
    ("older version", nothing, "deploy_bridge", "changes"),
    ("newer version", record_version("9.0.0"), "deploy_bridge", "fails"),
    ("drifted", drop_a_trigger, "remove_bridge", "changes"),
    ("removed", nothing, "bridge_status", "fails"),
    ("removed", nothing, "migrate_users", "fails"),
    ("removed", nothing, "rotate_sync_password", "fails"),
    ("removed", nothing, "pause_bridge", "fails"),
    ("removed", nothing, "resume_bridge", "fails"),
    ("removed", nothing, "remove_bridge", "nothing"),
    ("removed", nothing, "deploy_bridge", "changes"),
    ("upstream scripts", run_the_upstream_scripts, "bridge_status", "nothing"),
    ("upstream scripts", nothing, "deploy_bridge", "changes"),
    ("paused", pause, "remove_bridge", "changes"),
    ("upstream scripts alone", run_the_upstream_scripts, "remove_bridge", "nothing"),
    ("upstream scripts alone", nothing, "deploy_bridge", "changes"),
]


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_check_mode_on_a_pristine_host(pair: Pair, tmp_path: Path, playbook: str) -> None:
    forget_roles(pair)
    with unchanged(pair):
        done = run(playbook, pair, tmp_path, "--check", "--diff")
    assert done.failed == 0, done.output
    assert (done.changed > 0) == (playbook == "deploy_bridge"), done.output


@pytest.mark.parametrize("role", ROLES)
def test_each_role_alone_in_check_mode_on_a_pristine_host(pair: Pair, tmp_path: Path, role: str) -> None:
    forget_roles(pair)
    with unchanged(pair):
        done = play(role_play(role), variables(pair), tmp_path, "--check", "--diff", env=FREE)
    assert done.failed == 0, done.output
    assert (done.changed > 0) == (role in ("bridge", "sync_user", "triggers")), done.output


def test_each_role_and_each_tag_alone_changes_nothing_that_is_there(pair: Pair, tmp_path: Path) -> None:
    forget_roles(pair)
    assert run("deploy_bridge", pair, tmp_path).failed == 0
    runs = {role: play(role_play(role), variables(pair), tmp_path, env={**FREE, **READ_ONLY}) for role in ROLES}
    runs |= {tag: run("deploy_bridge", pair, tmp_path, "--tags", tag, env={**FREE, **READ_ONLY}) for tag in TAGS}
    for name, done in runs.items():
        assert (done.changed, done.failed) == (0, 0), f"{name}: {done.output}"


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
def bridge(server: Cluster) -> Iterator[Pair]:
    """One bridge that goes through all states, in the order of the table."""
    with pairs.pair(server) as pair:
        forget_roles(pair)
        litellm.new_user(pair.litellm, "first", "first@example.com")
        yield pair


@pytest.mark.parametrize(
    ("state", "playbook", "expected"),
    [pytest.param(row[1], row[2], row[3], id=f"{row[0]}-{row[2]}".replace(" ", "_")) for row in TABLE],
)
def test_state_and_playbook(
    bridge: Pair, tmp_path: Path, state: Callable[[Pair], None], playbook: str, expected: str
) -> None:
    state(bridge)
    if expected == "fails":
        with unchanged(bridge):
            refused = run(playbook, bridge, tmp_path)
        assert (refused.changed, refused.failed) == (0, 1), refused.output
        return
    first = run(playbook, bridge, tmp_path)
    assert first.failed == 0, first.output
    assert (first.changed > 0) == (expected == "changes"), first.output
    second = run(playbook, bridge, tmp_path, env=READ_ONLY) if expected == "changes" else first
    assert (second.changed, second.failed) == (0, 0), second.output
    if playbook == "deploy_bridge" and state is not pause:
        assert bridge.litellm_admin.value("SELECT count(*) FROM user_bridge.sync_queue") == 0
        assert bridge.openwebui.value("SELECT count(*) FROM \"user\" WHERE email = 'first@example.com'") == 1
