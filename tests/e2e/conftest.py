# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bridged installation of the oldest versions that requirements/ pins, and one of the newest, for the whole run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from conftest import missing
from e2e import browser as browsers
from e2e import company as companies
from e2e import site as sites
from e2e.company import Company
from e2e.site import Site
from kit import litellm_proxy
from kit.cluster import Cluster
from kit.common import KitError, cache_dir, pick_version


@pytest.fixture(scope="session", params=["old", "new"])
def site(request: pytest.FixtureRequest, server: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """What the servers logged and what the browser saw stays in .cache/e2e/VERSION, of Open WebUI."""
    age: str = request.param
    output = cache_dir() / "e2e" / pick_version("open-webui", age)
    output.mkdir(parents=True, exist_ok=True)
    with sites.opened(server, age, tmp_path_factory.mktemp(f"{age}-open-webui"), output) as made:
        yield made


@pytest.fixture(scope="session")
def company(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    """The same installation with LiteLLM's proxy, which starts when the first test wants it."""
    try:
        litellm_proxy.proxy_python(site.age)
    except KitError as error:
        missing(str(error))
    with companies.opened(site, tmp_path_factory.mktemp(f"{site.age}-litellm")) as made:
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    try:
        with browsers.running() as started:
            yield started
    except KitError as error:
        missing(str(error))
