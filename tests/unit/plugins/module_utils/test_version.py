# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._version import is_newer, version_key

IN_ORDER = ["0.9.9", "1.0.0-a", "1.0.0-a.1", "1.0.0-a.b", "1.0.0-b.2", "1.0.0-b.11", "1.0.0", "1.10.0"]


def test_order() -> None:
    assert sorted(reversed(IN_ORDER), key=version_key) == IN_ORDER
    assert is_newer("1.10.0", than="1.9.0") and not is_newer("1.0.0", than="1.0.0")
    assert not is_newer("1.0.0-rc.1", than="1.0.0") and not is_newer("1.0.0+build", than="1.0.0")


@pytest.mark.parametrize("version", ["", "1", "1.0", "v1.0.0", "1.0.0.0", "1.0.0 ", "1.0.x", "1.0.0-"])
def test_refused(version: str) -> None:
    with pytest.raises(BridgeError, match="is not a version number like 1.2.3"):
        version_key(version)
