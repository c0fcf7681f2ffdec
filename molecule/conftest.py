# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Both databases of a scenario's host, for scenarios with one host; `host` itself is pytest-testinfra's."""

from __future__ import annotations

import pytest
from testinfra.host import Host

from kit.hosts import Database


@pytest.fixture
def litellm(host: Host) -> Database:
    """LiteLLM's database, as the superuser."""
    return Database(host, "litellm")


@pytest.fixture
def openwebui(host: Host) -> Database:
    """Open WebUI's database, as the superuser."""
    return Database(host, "openwebui")
