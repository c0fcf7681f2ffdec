# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A second LiteLLM for an Open WebUI that has one: refused before anything is changed, unless it is to take over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kit import litellm, openwebui, pairs
from kit.bridge import install_bridge
from kit.pairs import Pair
from playbooks_support import READ_ONLY, deploy, play, refused, unchanged, variables

SETTINGS: dict[str, Any] = {"bridge_initial_password": "none"}


def test_open_webui_changes_hands_only_where_that_is_wanted(
    pair: Pair, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    install_bridge(pair, {"initial_password": "none"})
    litellm.new_user(pair.litellm, "ann", "ann@example.com")
    with pairs.pair(pair.cluster) as fresh:
        second = Pair(
            pair.cluster, fresh.litellm_db, pair.openwebui_db, pair.litellm_version, pair.openwebui_version, pair.admin
        )
        run = refused(second, tmp_path, **SETTINGS)
        assert "is owned by another installation of the bridge" in run.output
        assert "bridge_take_ownership" in run.output and pair.litellm_db in run.output
        for playbook in ("rotate_sync_password", "remove_bridge"):
            with unchanged(second):
                run = play(f"llmops.user_bridge.{playbook}", variables(second, **SETTINGS), tmp_path)
            assert (run.changed, run.failed) == (0, 1) and "is owned by another installation" in run.output, run.output
        litellm.new_user(pair.litellm, "bob", "bob@example.com")
        assert {"ann@example.com", "bob@example.com"} <= set(openwebui.accounts(pair))

        check = play("llmops.user_bridge.deploy_bridge", variables(second, **SETTINGS), tmp_path, "--check")
        assert check.failed == 1
        taken = deploy(second, tmp_path, bridge_take_ownership=True, **SETTINGS)
        assert taken.changed > 0
        if pytestconfig.getoption("--weekly"):
            # On every push of the first owner, in test_playbooks_deploy.
            again = deploy(second, tmp_path, env=READ_ONLY, **SETTINGS)
            assert again.changed == 0, again.output
        litellm.new_user(second.litellm, "eve", "eve@example.com")
        assert "eve@example.com" in openwebui.accounts(pair)
        litellm.new_user(pair.litellm, "fay", "fay@example.com")
        assert "fay@example.com" not in openwebui.accounts(pair)
        status = play("llmops.user_bridge.bridge_status", variables(pair, **SETTINGS), tmp_path)
        assert status.failed == 1 and "is owned by another installation of the bridge" in status.output
        second.close()
