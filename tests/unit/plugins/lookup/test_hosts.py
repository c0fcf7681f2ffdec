# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A pattern that matches nobody ends the run; tests/unit/test_ansible.py has it in a playbook."""

from __future__ import annotations

from typing import Any

import pytest
from ansible import context
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible_collections.llmops.user_bridge.plugins.lookup.hosts import LookupModule

GROUPS = {"all": ["one", "two"], "db": ["one"], "ungrouped": ["two"]}


def hosts(pattern: Any, limit: str | None = None) -> list[Any]:
    variables: dict[str, Any] = {"groups": GROUPS}
    if limit is not None:
        variables["ansible_limit"] = limit
    return LookupModule(loader=DataLoader()).run([pattern], variables)


@pytest.mark.parametrize(
    ("pattern", "limit"),
    [("localhost", None), ("localhost", "localhost"), ("db", None), ("all:!db", "two"), ("d*", "db"), (["one"], "db")],
)
def test_what_matches(pattern: Any, limit: str | None) -> None:
    assert hosts(pattern, limit) == [pattern]


def test_a_syntax_check_needs_no_inventory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "CLIARGS", {"syntax": True})
    assert hosts("nowhere") == ["nowhere"]


@pytest.mark.parametrize(
    ("pattern", "limit", "message"),
    [
        (
            "localhost",
            "db",
            "No host that --limit db leaves matches 'localhost'. Set bridge_hosts .*=db",
        ),
        ("dbs", None, "No host matches 'dbs'. Set bridge_hosts"),
        ("two", "db", "No host that --limit db leaves matches 'two'"),
    ],
)
def test_what_does_not(pattern: str, limit: str | None, message: str) -> None:
    with pytest.raises(AnsibleError, match=message):
        hosts(pattern, limit)
