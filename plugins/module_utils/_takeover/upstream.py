# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the upstream SQL scripts (github.com/pkusnail/open-webui-litellm-user-bridge) are and write: facts, no rules.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

# Name, argument types, result type, and words of the body: a function of this name may be somebody else's.
FUNCTIONS = (
    ("sync_organization_to_group", "", "trigger", ("dblink_exec", "sync_mapping", 'into "group"')),
    ("sync_user_to_openwebui", "", "trigger", ("dblink_exec", "sync_mapping", 'into "user"')),
    ("handle_organization_deletion", "", "trigger", ("dblink_exec", "sync_mapping", 'from "group"')),
    ("handle_user_deletion", "", "trigger", ("dblink_exec", "sync_mapping", 'from "user"')),
    ("sync_api_key_to_webui", "", "trigger", ("dblink_exec", "sync_mapping", "api_key")),
    ("sync_api_key_delete_to_webui", "", "trigger", ("dblink_exec", "sync_mapping", "api_key")),
    ("check_sync_status", "", "record", ("sync_mapping", "sync_audit", "litellm organizations")),
    ("check_real_sync_status", "", "record", ("sync_mapping", "sync_audit")),
    ("get_recent_sync_activities", "integer", "record", ("sync_audit", "limit_count")),
    ("check_api_key_sync_status", "", "record", ("dblink", "sync_audit")),
    ("get_api_key_sync_audit_log", "integer", "record", ("sync_audit", "sync_api_key")),
    ("test_api_key_sync_installation", "", "text", ("trigger_sync_api_key_to_webui",)),
    ("migrate_existing_users_to_openwebui", "", "record", ("dblink_exec", "sync_mapping", "migrate_user")),
    ("check_migration_status", "", "record", ("dblink", "sync_mapping", "sync_audit")),
    ("get_migration_audit_log", "integer", "record", ("sync_audit", "migrate_")),
)
TRIGGERS = (
    "organization_sync_trigger",
    "organization_delete_trigger",
    "user_sync_trigger",
    "user_delete_trigger",
    "trigger_sync_api_key_to_webui",
    "trigger_sync_api_key_delete_to_webui",
)
TABLES = {
    "sync_audit": (
        "id",
        "operation",
        "record_id",
        "sync_result",
        "old_data",
        "new_data",
        "error_message",
        "created_at",
    ),
    "sync_mapping": (
        "id",
        "litellm_type",
        "litellm_id",
        "openwebui_type",
        "openwebui_id",
        "sync_data",
        "created_at",
        "updated_at",
    ),
}

# The scripts' prefixes of Open WebUI's ids are constants; the bridge's own are settings.
USER_ID_PREFIX = "usr_"
GROUP_ID_PREFIX = "grp_"

# The types that the scripts map, and to what.
KNOWN_MAPPINGS = "('user', 'user'), ('organization', 'group'), ('api_key', 'user_api_key')"

# Fields of their data that can hold no secret.
MAPPING_FIELDS = (
    "display_name",
    "key_alias",
    "migrated_at",
    "migration_type",
    "models",
    "organization_alias",
    "original_role",
)
AUDIT_FIELDS = (
    *MAPPING_FIELDS,
    "completed_at",
    "created_at",
    "error_count",
    "installed_at",
    "mapped_id",
    "migrated_count",
    "organization_id",
    "skipped_count",
    "started_at",
    "team_id",
    "teams",
    "total_users",
    "type",
    "updated_at",
    "user_alias",
    "user_email",
    "user_id",
    "user_role",
    "version",
)

# Messages that may hold a secret: libpq quotes a connection string that it cannot parse; hashes have 32 digits or more.
SECRETIVE = r"password|passwd|connection info|token|secret|sk-|[0-9a-f]{32}|\$2[aby]\$|://"

# Keys of the documents that the scripts write, which are always all there.
SETTINGS = ("max_budget", "metadata", "model_max_budget", "model_spend", "models", "spend")
INFO = ("organization_id", "original_user_id", "team_id", "user_role")
META = ("budget_id", "metadata", "model_spend", "models", "organization_id", "spend")

# LiteLLM's tokens are SHA-256 sums; a key that Open WebUI has made begins with sk-.
TOKEN = "'^[0-9a-f]{64}$'"
