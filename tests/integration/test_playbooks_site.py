# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""examples/site.yml: two bridges to different servers from one control node, as a platform team would have them."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from kit import binaries, litellm, pairs
from kit.cluster import SUPERUSER, Cluster, running
from kit.common import REPO
from kit.drains import drain_on
from kit.pairs import MONITOR, OWN_ROLES, PASSWORDS, SYNC_USER, Pair
from playbooks_support import READ_ONLY, Plays, described, forget_roles, play, play_hosts, shipped, variables

SITE = REPO / "examples" / "site.yml"
# One host after the other, task by task: both have roles on one of the servers.
FREE = {"ANSIBLE_INJECT_FACT_VARS": "false", "ANSIBLE_FORKS": "1"}


def inventory(**bridges: Pair) -> dict[str, Any]:
    """examples/inventory.yml with these pairs in place of its servers."""
    example: dict[str, Any] = yaml.safe_load((REPO / "examples" / "inventory.yml").read_text(encoding="utf-8"))
    for name, host in example["bridges"]["hosts"].items():
        pair = bridges[name]
        host.update(
            platform_db_host=pair.cluster.host,
            platform_db_port=pair.cluster.port,
            platform_db_password=PASSWORDS[SUPERUSER],
            platform_bridge_password=PASSWORDS[SYNC_USER],
            platform_litellm_db=pair.litellm_db,
            platform_openwebui_db=pair.openwebui_db,
        )
    return example


def on_another_server(openwebui: Pair) -> dict[str, Any]:
    """What a host sets besides whose Open WebUI is on another server than its LiteLLM."""
    cluster = openwebui.cluster
    return {
        "platform_openwebui_db": openwebui.openwebui_db,
        "bridge_openwebui_login_host": cluster.host,
        "bridge_openwebui_login_port": cluster.port,
        "bridge_target_host": cluster.host,
        "bridge_target_port": cluster.port,
    }


def test_two_servers_with_two_bridges(pair: Pair, server: Cluster, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """Of different versions, by the same tasks."""
    hosts = tmp_path / "inventory.yml"
    version = next(major for major in (18, 13) if major != server.major)
    with running(binaries.find(version)) as elsewhere, pairs.pair(elsewhere) as other, pairs.pair(server) as far:
        given = inventory(staging=pair, production=other)
        given["bridges"]["hosts"]["production"].update(on_another_server(far))
        hosts.write_text(yaml.safe_dump(given), encoding="utf-8")
        first = play(SITE, {}, tmp_path, "-i", str(hosts), env=FREE)
        assert (first.changed > 0, first.failed) == (True, 0), first.output
        for source, target, name in ((pair, pair, "here"), (other, far, "there")):
            litellm.new_user(source.litellm, name, f"{name}@example.com")
            emails = target.openwebui.rows('SELECT email FROM "user" WHERE email LIKE %s', ["%here@example.com"])
            assert [row["email"] for row in emails] == [f"{name}@example.com"]
        # A commit of LiteLLM's flushes what Open WebUI's session wrote on the same server only.
        assert session_options(pair).endswith(" -c synchronous_commit=off")
        assert "synchronous_commit" not in session_options(other)
        if pytestconfig.getoption("--weekly"):
            # On every push of each by itself, in test_playbooks_deploy, and of several hosts in test_playbooks_states.
            # Of somebody new the rights on models follow, by drainers that are not here.
            for each in (pair, other):
                drain_on(each)
            again = play(SITE, {}, tmp_path, "-i", str(hosts), env={**FREE, **READ_ONLY})
            assert (again.changed, again.failed) == (0, 0), again.output
        # One part of one bridge.
        pair.litellm_admin.run('DROP TRIGGER user_bridge_enqueue ON "LiteLLM_UserTable"')
        part = play(SITE, {}, tmp_path, "-i", str(hosts), "--limit", "staging", "--tags", "bridge_triggers", env=FREE)
        assert (part.changed, part.failed) == (1, 0), part.output


@pytest.mark.weekly
def test_two_bridges_of_one_host(pair: Pair, server: Cluster, tmp_path: Path) -> None:
    """Of a play that names the role twice, each has its own settings, and none of the other's (ansible#46493)."""
    own = {
        "bridge_default_role": "pending",
        "bridge_group_id_prefix": "own_",
        "bridge_team_groups": False,
        "bridge_monitoring": True,
        "bridge_migrate_existing": False,
        "bridge_delivery": "queued",
    }
    with pairs.pair(server) as usual:
        for each in (pair, usual):
            litellm.new_user(each.litellm, "ann", "ann@example.com")
        roles = [
            {"role": "llmops.user_bridge.bridge", "vars": variables(each, **more)}
            for each, more in ((pair, own), (usual, {}))
        ]
        plays: Plays = [{"hosts": "localhost", "gather_facts": False, "roles": roles}]
        first = play(plays, {}, tmp_path, env=FREE)
        assert (first.changed > 0, first.failed) == (True, 0), first.output
        assert settings(pair) == ["pending", "own_", False, "queued"]
        assert settings(usual) == ["user", "grp_", True, "commit"]
        assert [accounts(each) for each in (pair, usual)] == [0, 1]
        assert [is_monitored(each) for each in (pair, usual)] == [True, False]
        drain_on(usual)
        again = play(plays, {}, tmp_path, env={**FREE, **READ_ONLY})
        assert (again.changed, again.failed) == (0, 0), again.output


def settings(pair: Pair) -> list[Any]:
    (row,) = pair.litellm_admin.rows(
        "SELECT default_role, group_id_prefix, team_groups, delivery FROM user_bridge.settings"
    )
    return list(row.values())


def accounts(pair: Pair) -> int:
    return int(pair.openwebui.value("SELECT count(*) FROM \"user\" WHERE id = 'usr_ann'"))


def is_monitored(pair: Pair) -> bool:
    granted = "SELECT has_table_privilege('user_bridge_monitor', 'user_bridge.metrics', 'SELECT')"
    return bool(pair.litellm_admin.value(granted))


def session_options(pair: Pair) -> str:
    """What the bridge's sessions in Open WebUI's database are started with."""
    options = pair.litellm_admin.value(
        "SELECT option_value FROM pg_foreign_server, pg_options_to_table(srvoptions) WHERE option_name = 'options'"
    )
    return str(options)


@pytest.mark.weekly
def test_several_bridges_of_one_server_at_once(pair: Pair, server: Cluster, tmp_path: Path) -> None:
    """Each on a host of its own: what belongs to the whole server is made by one of them, and goes with the last.

    On every push: what two of them do to one role, in test_modules_bridge_role and test_playbooks_monitoring.
    """
    forget_roles(pair)
    with ExitStack() as stack:
        every = [pair, *(stack.enter_context(pairs.pair(server)) for _ in range(2))]
        before = [described(each) for each in every]
        values = {f"host{number}": variables(each, bridge_monitoring=True) for number, each in enumerate(every)}
        for playbook in ("deploy_bridge", "remove_bridge"):
            for env in ({}, READ_ONLY):
                done = play_hosts(shipped(playbook, "bridges"), {"bridges": values}, tmp_path, env=env)
                assert (done.failed, done.changed > 0) == (0, env != READ_ONLY), done.output
        assert [described(each) for each in every] == before
        own = [*OWN_ROLES, SYNC_USER, MONITOR]
        assert pair.litellm_admin.rows("SELECT rolname FROM pg_roles WHERE rolname = ANY (%s)", [own]) == []
