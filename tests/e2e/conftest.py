# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One bridged installation for each Open WebUI version that requirements/ pins, kept for the whole run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from e2e import site as sites
from e2e.site import Site
from kit.cluster import Cluster
from kit.common import cache_dir, pinned_versions


@pytest.fixture(scope="session", params=pinned_versions("open-webui"))
def site(request: pytest.FixtureRequest, server: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """What the servers logged and what the browser saw stays in .cache/e2e/VERSION."""
    version: str = request.param
    output = cache_dir() / "e2e" / version
    output.mkdir(parents=True, exist_ok=True)
    with sites.opened(server, version, tmp_path_factory.mktemp(f"open-webui-{version}"), output) as made:
        yield made
