# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The bridge's settings: their types, choices and bounds.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from typing import Any

LITELLM_ROLES = (
    "proxy_admin",
    "proxy_admin_viewer",
    "org_admin",
    "internal_user",
    "internal_user_viewer",
    "team",
    "customer",
)
OPENWEBUI_ROLES = ("admin", "user", "pending")

SPEC: dict[str, dict[str, Any]] = {
    "delivery": {"type": "str", "choices": ["commit", "queued"]},
    "target_timeout_ms": {"type": "int"},
    "backoff_seconds": {"type": "int"},
    "inline_limit": {"type": "int"},
    "removal_accounts": {"type": "int"},
    "removal_percent": {"type": "float"},
    "audit_retention_days": {"type": "int"},
    "user_id_prefix": {"type": "str"},
    "group_id_prefix": {"type": "str"},
    "team_group_id_prefix": {"type": "str"},
    "team_groups": {"type": "bool"},
    "role_map": {"type": "dict"},
    "default_role": {"type": "str", "choices": ["user", "pending"]},
    "adopt_existing": {"type": "bool"},
    "on_user_delete": {"type": "str", "choices": ["delete", "disable", "keep"]},
    "initial_password": {"type": "str", "choices": ["email", "random", "none"]},
    "initial_password_admins": {"type": "bool"},
    # no_log=False: a number is no password, whatever its name says.
    "initial_password_ttl_hours": {"type": "int", "no_log": False},
    "password_cost": {"type": "int", "no_log": False},
    "api_keys": {"type": "str", "choices": ["mapping", "mirror", "off"]},
}

# As the CHECK constraints of the table user_bridge.settings: here they stop a run before anything is changed.
RANGES: dict[str, tuple[int, int]] = {
    "target_timeout_ms": (100, 60000),
    "backoff_seconds": (1, 3600),
    "inline_limit": (1, 10000),
    "removal_accounts": (0, 2147483647),
    "removal_percent": (0, 100),
    "audit_retention_days": (1, 2147483647),
    "initial_password_ttl_hours": (1, 2147483647),
    "password_cost": (4, 16),
}
