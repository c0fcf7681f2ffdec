# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The bridge's settings: their types and allowed values.

Written by "make generate" from roles/triggers/templates/settings.yml.
This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from typing import Any

# Suboptions of bridge_install's option settings.
SPEC: dict[str, dict[str, Any]] = {
    "delivery": {"type": "str", "choices": ["commit", "queued", "inline"]},
    "target_timeout_ms": {"type": "int"},
    "backoff_seconds": {"type": "int"},
    "inline_limit": {"type": "int"},
    "sync_connection_limit": {"type": "int"},
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
    "initial_password_ttl_hours": {"type": "int", "no_log": False},
    "password_cost": {"type": "int", "no_log": False},
    "api_keys": {"type": "str", "choices": ["mapping", "mirror", "off"]},
    "model_access": {"type": "bool"},
    "model_policy": {"type": "str", "choices": ["assigned", "effective", "teams", "user", "keys"]},
    "model_unassigned": {"type": "str", "choices": ["all", "none"]},
    "models_for_everyone": {"type": "list", "elements": "str"},
    "extra_models": {
        "type": "list",
        "elements": "dict",
        "options": {
            "name": {"type": "str", "required": True},
            "access_groups": {"type": "list", "elements": "str"},
            "provider": {"type": "str"},
        },
    },
    "openwebui_model_prefix": {"type": "str"},
    "model_takeover": {"type": "bool"},
    "enforce_models": {"type": "bool"},
    "enforce_key": {"type": "str", "choices": ["email", "id"]},
    "enforce_unknown": {"type": "str", "choices": ["deny", "allow"]},
    "enforce_unlinked": {"type": "str", "choices": ["deny", "allow"]},
    "attribution": {"type": "str", "choices": ["user_id", "email", "none"]},
}

# Smallest and largest value.
RANGES: dict[str, tuple[int, int]] = {
    "target_timeout_ms": (100, 60000),
    "backoff_seconds": (1, 3600),
    "inline_limit": (1, 10000),
    "sync_connection_limit": (0, 10000),
    "removal_accounts": (0, 2147483647),
    "removal_percent": (0, 100),
    "audit_retention_days": (1, 2147483647),
    "initial_password_ttl_hours": (1, 2147483647),
    "password_cost": (4, 16),
}

# Regular expression for the whole value, and what it says.
PATTERNS: dict[str, tuple[str, str]] = {
    "user_id_prefix": ("[A-Za-z0-9.:_-]{0,32}", "up to 32 letters, digits, dots, colons, underscores or hyphens"),
    "group_id_prefix": ("[A-Za-z0-9.:_-]{1,32}", "1 to 32 letters, digits, dots, colons, underscores or hyphens"),
    "team_group_id_prefix": ("[A-Za-z0-9.:_-]{1,32}", "1 to 32 letters, digits, dots, colons, underscores or hyphens"),
    "openwebui_model_prefix": (
        "([A-Za-z0-9._/:-]{1,63}[.])?",
        "the prefix of Open WebUI's connection with a dot at its end, or empty",
    ),
}

# Settings that must have another value than the one named.
UNEQUAL: dict[str, str] = {
    "team_group_id_prefix": "group_id_prefix",
}

# What Open WebUI's side stores, too.
OPENWEBUI: tuple[str, ...] = (
    "removal_accounts",
    "removal_percent",
    "user_id_prefix",
    "group_id_prefix",
    "team_group_id_prefix",
    "role_map",
    "default_role",
    "adopt_existing",
    "on_user_delete",
    "initial_password",
    "initial_password_admins",
    "initial_password_ttl_hours",
    "password_cost",
    "model_access",
    "openwebui_model_prefix",
    "model_takeover",
)

# The role variable that sets it.
VARIABLES: dict[str, str] = {
    "delivery": "bridge_delivery",
    "target_timeout_ms": "bridge_target_timeout_ms",
    "backoff_seconds": "bridge_backoff_seconds",
    "inline_limit": "bridge_inline_limit",
    "sync_connection_limit": "bridge_sync_connection_limit",
    "removal_accounts": "bridge_removal_limit.accounts",
    "removal_percent": "bridge_removal_limit.percent",
    "audit_retention_days": "bridge_audit_retention_days",
    "user_id_prefix": "bridge_user_id_prefix",
    "group_id_prefix": "bridge_group_id_prefix",
    "team_group_id_prefix": "bridge_team_group_id_prefix",
    "team_groups": "bridge_team_groups",
    "role_map": "bridge_role_map",
    "default_role": "bridge_default_role",
    "adopt_existing": "bridge_adopt_existing",
    "on_user_delete": "bridge_on_user_delete",
    "initial_password": "bridge_initial_password",
    "initial_password_admins": "bridge_initial_password_admins",
    "initial_password_ttl_hours": "bridge_initial_password_ttl_hours",
    "password_cost": "bridge_password_cost",
    "api_keys": "bridge_api_keys",
    "model_access": "bridge_model_access",
    "model_policy": "bridge_model_policy",
    "model_unassigned": "bridge_model_unassigned",
    "models_for_everyone": "bridge_models_for_everyone",
    "extra_models": "bridge_extra_models",
    "openwebui_model_prefix": "bridge_openwebui_model_prefix",
    "model_takeover": "bridge_model_takeover",
    "enforce_models": "bridge_enforce_models",
    "enforce_key": "bridge_enforce_key",
    "enforce_unknown": "bridge_enforce_unknown",
    "enforce_unlinked": "bridge_enforce_unlinked",
    "attribution": "bridge_attribution",
}
