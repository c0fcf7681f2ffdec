# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which settings of a server show a nested statement."""

from __future__ import annotations

import pytest
from ansible_collections.llmops.user_bridge.plugins.module_utils._secret import explanation, showing

STATEMENTS = {"pg_stat_statements.track": "all", "pg_stat_statements.track_utility": "on"}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, []),
        (STATEMENTS, ["pg_stat_statements.track"]),
        ({**STATEMENTS, "pg_stat_statements.track": "top"}, []),
        ({**STATEMENTS, "pg_stat_statements.track_utility": "off"}, []),
        ({"pgaudit.log": "all"}, ["pgaudit.log"]),
        ({"pgaudit.log": "READ, Role"}, ["pgaudit.log"]),
        ({"pgaudit.log": "all, -ddl"}, ["pgaudit.log"]),
        ({"pgaudit.log": "all, -ddl, -role"}, []),
        ({"pgaudit.log": "read, write, misc"}, []),
        ({"pgaudit.log": "none"}, []),
        ({"log_min_messages": "debug1"}, ["log_min_messages"]),
        ({"log_min_messages": "warning", "log_parser_stats": "on"}, ["log_parser_stats"]),
    ],
)
def test_showing(values: dict[str, str], expected: list[str]) -> None:
    assert showing(values) == expected


def test_before_postgresql_15_nobody_can_be_granted_a_setting() -> None:
    text = explanation("me", 140000, "a password", ["log_min_messages = debug1"])
    assert text.endswith('have a superuser run ALTER ROLE "me" SET log_min_messages = warning')
