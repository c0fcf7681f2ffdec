# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What only the configuration file of the real LiteLLM knows of models, read by a deployment over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import missing
from e2e import litellm_server
from e2e.litellm_server import Proxy
from kit import litellm_proxy, pairs
from kit.cluster import Cluster
from kit.common import KitError
from kit.pairs import Pair
from playbooks_support import READ_ONLY, deploy, play, variables

# What answers is not what these tests are about.
_UPSTREAM = {"api_base": "http://127.0.0.1:9", "api_key": "dummy"}


def _deployment(name: str, model: str, *groups: str) -> dict[str, Any]:
    return {
        "model_name": name,
        "litellm_params": {"model": model, **_UPSTREAM},
        "model_info": {"access_groups": list(groups)},
    }


CONFIG = {
    "model_list": [
        _deployment("gpt-4o", "openai/anything", "frontier"),
        _deployment("house-model", "openai/house-model"),
        _deployment("of-both", "openai/of-both", "of-the-file"),
        _deployment("openai/*", "openai/*", "routed"),
    ],
    "router_settings": {
        "model_group_alias": {"another-name": "house-model", "name-of-the-databases": "of-the-database"}
    },
}


@pytest.fixture(scope="module", params=["new", pytest.param("old", marks=pytest.mark.weekly)])
def proxy(
    request: pytest.FixtureRequest, server: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Proxy, Pair]]:
    """With models of either kind."""
    age: str = request.param
    try:
        litellm_proxy.proxy_python(age)
    except KitError as error:
        missing(str(error))
    home = tmp_path_factory.mktemp(f"{age}-litellm")
    with (
        pairs.pair(server, litellm=age, openwebui=age) as pair,
        litellm_server.running(age, pair.login("litellm"), home, home / "litellm.log", CONFIG) as made,
    ):
        for name, model, group in (
            ("of-the-database", "openai/of-the-database", "hers"),
            ("of-both", "openai/of-both", "hers"),
            ("anthropic/*", "anthropic/*", "hers"),
        ):
            made.post("/model/new", **_deployment(name, model, group))
        yield made, pair


def catalogue(pair: Pair) -> dict[str, dict[str, Any]]:
    rows = pair.litellm_admin.rows("SELECT model, names, groups, qualified, shown FROM user_bridge.model_catalog")
    return {row.pop("model"): row for row in rows}


def test_the_file_is_read(proxy: tuple[Proxy, Pair], tmp_path: Path) -> None:
    litellm, pair = proxy
    shared = litellm.post("/key/generate", key_alias="Open WebUI")["key"]
    listed = litellm.models(shared)
    given = {"bridge_litellm_url": litellm.url, "bridge_litellm_key": shared}
    deploy(pair, tmp_path, **given)
    found = catalogue(pair)
    # All that LiteLLM lists, and no more.
    assert {name for name in found if "*" not in name} == {name for name in listed if "*" not in name}
    assert all(row["shown"] for row in found.values())
    groups = {name: row["groups"] for name, row in found.items()}
    assert groups["gpt-4o"] == ["frontier"] and found["gpt-4o"]["qualified"] in ([], ["openai/gpt-4o"])
    assert groups["house-model"] == [] and groups["another-name"] == []
    assert groups["of-the-database"] == ["hers"] and groups["name-of-the-databases"] == []
    assert groups["of-both"] == ["hers", "of-the-file"]
    assert {tuple(row) for name, row in groups.items() if name.startswith("openai/")} == {("routed",)}
    assert {tuple(row) for name, row in groups.items() if name.startswith("anthropic/")} == {("hers",)}
    # A second deployment finds nothing to do.
    again = play("llmops.user_bridge.deploy_bridge", variables(pair, **given), tmp_path, env=READ_ONLY)
    assert (again.failed, again.changed) == (0, 0), again.output
    assert shared not in again.output
