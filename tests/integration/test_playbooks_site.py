# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""examples/site.yml: two bridges to different servers from one control node, as a platform team would have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from kit import binaries, litellm, pairs
from kit.cluster import SUPERUSER, Cluster, running
from kit.common import REPO
from kit.drains import drain_on
from kit.pairs import PASSWORDS, SYNC_USER, Pair
from playbooks_support import READ_ONLY, play

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


def test_two_servers_with_two_bridges(pair: Pair, server: Cluster, tmp_path: Path) -> None:
    hosts = tmp_path / "inventory.yml"
    with running(binaries.find(server.major)) as elsewhere, pairs.pair(elsewhere) as other, pairs.pair(server) as far:
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
        # Of somebody new the rights on models follow, by drainers that are not here.
        for each in (pair, other):
            drain_on(each)
        again = play(SITE, {}, tmp_path, "-i", str(hosts), env={**FREE, **READ_ONLY})
        assert (again.changed, again.failed) == (0, 0), again.output
        # One part of one bridge.
        pair.litellm_admin.run('DROP TRIGGER user_bridge_enqueue ON "LiteLLM_UserTable"')
        part = play(SITE, {}, tmp_path, "-i", str(hosts), "--limit", "staging", "--tags", "bridge_triggers", env=FREE)
        assert (part.changed, part.failed) == (1, 0), part.output


def session_options(pair: Pair) -> str:
    """What the bridge's sessions in Open WebUI's database are started with."""
    options = pair.litellm_admin.value(
        "SELECT option_value FROM pg_foreign_server, pg_options_to_table(srvoptions) WHERE option_name = 'options'"
    )
    return str(options)
