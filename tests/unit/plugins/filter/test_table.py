# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.llmops.user_bridge.plugins.filter.table import FilterModule

table = FilterModule().filters()["table"]


def test_columns_are_as_wide_as_their_widest_value() -> None:
    rows = [{"id": 0, "name": "Ann\nSmith", "not shown": 1}, {"id": 1000, "name": None}, {"name": ""}]
    assert table(rows, ["id", "name"]) == ["id    name", "0     Ann Smith", "1000  -", "-     -"]


def test_nothing_is_no_table() -> None:
    assert table([], ["id"]) == []


@pytest.mark.parametrize("value", ["text", {"id": 1}, [1]])
def test_what_is_no_list_of_dictionaries(value: Any) -> None:
    with pytest.raises(AnsibleFilterError, match="not a list of dictionaries"):
        table(value, ["id"])
