# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""verify_access with a real bridge, and small programs that answer as either program could.

How each answer is judged is for test_modules_bridge_access_info; the real programs are in tests/e2e/test_access.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kit import pairs, rows
from kit.access import PASSWORD, TOKEN, litellm, openwebui
from kit.answers import KEY, Answering, answering
from kit.bridge import change_settings, install_bridge
from kit.cluster import Cluster
from kit.model_rows import add_model, drain
from kit.pairs import Pair
from playbooks_support import READ_ONLY, play, play_hosts, shipped, variables

EMAIL, ACCOUNT = "ann@example.com", "usr_ann"
PLAYBOOK = "llmops.user_bridge.verify_access"


@dataclass(frozen=True)
class Scene:
    pair: Pair
    well: Answering
    wide: Answering
    proxy: Answering

    def variables(self, **changed: Any) -> dict[str, Any]:
        given = {
            "bridge_openwebui_url": self.well.url,
            "bridge_openwebui_email": "Ann@example.com",
            "bridge_openwebui_password": PASSWORD,
            "bridge_litellm_url": self.proxy.url,
            "bridge_litellm_key": KEY,
        }
        return variables(self.pair, **{**given, **changed})


@pytest.fixture(scope="module")
def scene(server: Cluster) -> Iterator[Scene]:
    """Ann may call one model of the three that LiteLLM serves, and another that Open WebUI's administrator hides."""
    with ExitStack() as stack:
        pair = stack.enter_context(pairs.pair(server))
        install_bridge(pair, {"initial_password": "none", "openwebui_model_prefix": "x."})
        change_settings(pair, model_access=True, enforce_models=True)
        for name in ("a-hidden", "granted", "refused", "pattern/*"):
            add_model(pair.litellm, name)
        rows.add_user(pair.litellm, "ann", EMAIL, models=["a-hidden", "granted"])
        drain(pair)
        pair.openwebui.run("UPDATE model SET is_active = false WHERE id = 'x.a-hidden'")
        well, wide = (
            stack.enter_context(answering(openwebui(EMAIL, ACCOUNT, shown), None))
            for shown in (["x.granted"], ["x.granted", "x.refused"])
        )
        yield Scene(pair, well, wide, stack.enter_context(answering(litellm(EMAIL, ["granted"]))))


def test_each_line(scene: Scene, tmp_path: Path) -> None:
    for given in ({}, {"bridge_openwebui_password": None, "bridge_openwebui_token": TOKEN}):
        run = play(PLAYBOOK, scene.variables(**given), tmp_path, "-vvv", "--diff", env=READ_ONLY)
        assert (run.failed, run.changed) == (0, 0) and "canary" not in run.output, run.output
        for line in (
            f"ok: {EMAIL} is signed in to Open WebUI as user",
            f"ok: Open WebUI shows {EMAIL} the 1 models that LiteLLM grants, and none of the 1 others; an "
            "administrator has switched off 1 more",
            f"ok: Open WebUI lets {EMAIL} ask granted",
            f"ok: Open WebUI refuses {EMAIL} the model refused (HTTP 403)",
            f"ok: LiteLLM itself refuses refused when it is told that {EMAIL} asks (HTTP 403)",
            f"ok: LiteLLM serves granted when it is told that {EMAIL} asks",
        ):
            assert line in run.words, run.output


def test_check_mode_only_reads(scene: Scene, tmp_path: Path) -> None:
    before = len(scene.proxy.asked)
    run = play(PLAYBOOK, scene.variables(), tmp_path, "--check", env=READ_ONLY)
    assert (run.failed, run.changed) == (0, 0) and "ok: Open WebUI shows" in run.words, run.output
    assert run.words.count("skipped: check mode: no chat is tried") == 4 and len(scene.proxy.asked) == before


# What is given, and what the run says when it fails.
FAILURES: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": (
        {"bridge_openwebui_url": "", "bridge_openwebui_password": "", "bridge_litellm_url": ""},
        "Set bridge_openwebui_url, bridge_openwebui_password (or bridge_openwebui_token), bridge_litellm_url; what is",
    ),
    "nobody": ({"bridge_openwebui_email": "eve@example.com"}, "keeps no account with the address eve@example.com"),
    "password": ({"bridge_openwebui_password": "canary"}, "refuses the email and password (bridge_openwebui_email"),
    "dead": ({"bridge_openwebui_url": "http://127.0.0.1:1"}, "Connection refused. Check bridge_openwebui_url"),
    "model": ({"bridge_verify_refused_model": "granted"}, "bridge_verify_refused_model: 'granted' is one that LiteLLM"),
    "key": ({"bridge_litellm_key": "canary"}, "refuses the key (bridge_litellm_key) with HTTP 401"),
}


def test_what_is_wrong_is_said(scene: Scene, tmp_path: Path) -> None:
    hosts = {name: scene.variables(**given) for name, (given, _) in FAILURES.items()}
    hosts["shown"] = scene.variables(bridge_openwebui_url=scene.wide.url)
    named = {"bridge_verify_granted_model": "granted", "bridge_verify_refused_model": "refused"}
    hosts["well"] = scene.variables(**named)
    run = play_hosts(shipped("verify_access", "verify"), {"verify": hosts}, tmp_path, env=READ_ONLY)
    for name, (_, words) in FAILURES.items():
        host = run.hosts[name]
        assert (host.failed, host.changed) == (1, 0) and words in host.words, (name, host.output)
    assert "canary" not in run.output
    host = run.hosts["shown"]
    assert host.failed == 1 and f"shows {EMAIL} what LiteLLM does not grant: refused (personal list: the" in host.words
    assert "Run bridge_status with explain_user=ann@example.com" in host.words
    assert (run.hosts["well"].failed, run.hosts["well"].changed) == (0, 0), run.output


# Last: it changes the bridge.
def test_a_bridge_that_says_nothing_of_models(scene: Scene, tmp_path: Path) -> None:
    change_settings(scene.pair, enforce_models=False, model_access=False)
    run = play(PLAYBOOK, scene.variables(), tmp_path, env=READ_ONLY)
    assert run.failed == 1 and "bridge_model_access is false, so the bridge says nothing about models" in run.words
