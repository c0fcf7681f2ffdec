# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An installation of the SQL scripts of github.com/pkusnail/open-webui-litellm-user-bridge; see upstream.sql."""

from __future__ import annotations

import json
import re
from functools import partial
from typing import Any

from psycopg2.extras import Json

from kit.common import REPO
from kit.pairs import PASSWORDS, Pair

FUNCTIONS = (
    "check_api_key_sync_status()",
    "check_migration_status()",
    "check_sync_status()",
    "get_api_key_sync_audit_log(integer)",
    "get_migration_audit_log(integer)",
    "get_recent_sync_activities(integer)",
    "handle_organization_deletion()",
    "handle_user_deletion()",
    "migrate_existing_users_to_openwebui()",
    "sync_api_key_delete_to_webui()",
    "sync_api_key_to_webui()",
    "sync_organization_to_group()",
    "sync_user_to_openwebui()",
    "test_api_key_sync_installation()",
)
TRIGGERS = (
    "organization_delete_trigger",
    "organization_sync_trigger",
    "trigger_sync_api_key_delete_to_webui",
    "trigger_sync_api_key_to_webui",
    "user_delete_trigger",
    "user_sync_trigger",
)


def install(pair: Pair) -> None:
    """The scripts as people run them, with their connection string filled in. They work up to Open WebUI 0.6.40."""
    connection = (
        f"host={pair.cluster.host} port={pair.cluster.port} dbname={pair.openwebui_db} "
        f"user=openwebui password={PASSWORDS['openwebui']}"
    )
    script = (REPO / "tests" / "kit" / "upstream.sql").read_text(encoding="utf-8")
    pair.litellm_admin.run("CREATE EXTENSION IF NOT EXISTS dblink SCHEMA public")
    # What the preflight asks for from PostgreSQL 15 on.
    pair.litellm_admin.run("ALTER SCHEMA public OWNER TO CURRENT_USER; GRANT ALL ON SCHEMA public TO litellm")
    pair.openwebui_admin.run("CREATE EXTENSION IF NOT EXISTS pgcrypto SCHEMA public")
    pair.litellm.run(script.replace(":connection", connection))


def lead_here(pair: Pair) -> None:
    """The scripts of a copy have the name of the database that they were installed for."""
    definition = "SELECT pg_get_functiondef(oid) AS sql FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
    for row in pair.litellm_admin.rows(f"{definition} AND prosrc ~ 'dbname='"):
        pair.litellm_admin.run(re.sub(r"dbname=\S+", f"dbname={pair.openwebui_db}", row["sql"]))


def works(pair: Pair) -> bool:
    """Whether this Open WebUI has the columns that the scripts write."""
    sql = "SELECT count(*) FROM information_schema.columns WHERE table_name = 'user' AND column_name = 'oauth_sub'"
    return bool(pair.openwebui.value(sql))


def write_as_upgraded(pair: Pair) -> None:
    """On a newer Open WebUI, where all of the scripts but groups fail: their rows as its own migrations leave them."""
    if works(pair):
        return
    for row in pair.litellm.rows('SELECT * FROM "LiteLLM_UserTable" ORDER BY 1'):
        _write_user(pair, row)
    for row in pair.litellm.rows('SELECT * FROM "LiteLLM_VerificationToken" WHERE user_id IS NOT NULL ORDER BY 1'):
        _write_key(pair, row)


def _write_user(pair: Pair, row: dict[str, Any]) -> None:
    account = f"usr_{row['user_id']}"
    budget = ("max_budget", "spend", "models", "metadata", "model_spend", "model_max_budget")
    provider, at, rest = (row["sso_user_id"] or "").partition("@")
    subject = {provider: {"sub": rest}} if at else {"oidc": {"sub": provider}} if provider else None
    _insert(
        pair,
        "user",
        id=account,
        email=row["user_email"],
        name=row["user_alias"] or "User",
        role="admin" if (row["user_role"] or "").startswith("proxy_admin") else "user",
        oauth=subject,
        settings={name: row[name] for name in budget},
        info={
            "organization_id": row["organization_id"],
            "team_id": row["team_id"],
            "original_user_id": row["user_id"],
            "user_role": row["user_role"],
        },
        profile_image_url="/static/profile-user.png",
        last_active_at=int(row["created_at"].timestamp()),
        created_at=int(row["created_at"].timestamp()),
        updated_at=int(row["updated_at"].timestamp()),
    )
    if row["user_email"]:
        pair.openwebui.run(
            "INSERT INTO auth (id, email, password, active) VALUES (%s, %s, crypt(%s, gen_salt('bf', 4)), true)",
            [account, row["user_email"], row["user_email"]],
        )
    _map(pair, "user", row["user_id"], "user", account, display_name=row["user_alias"], original_role=row["user_role"])
    _audit(pair, "SYNC_USER", row["user_id"], "LiteLLM_UserTable", "user_id")


def _write_key(pair: Pair, row: dict[str, Any]) -> None:
    account = f"usr_{row['user_id']}"
    pair.openwebui.run(
        "INSERT INTO api_key (id, user_id, key, created_at, updated_at) VALUES (%s, %s, %s, 1, 1)",
        [f"key_{account}", account, row["token"]],
    )
    _map(pair, "api_key", row["token"], "user_api_key", account, models=row["models"], key_alias=row["key_alias"])
    pair.litellm.run(
        "INSERT INTO sync_audit (operation, record_id, sync_result, new_data) "
        "VALUES ('SYNC_API_KEY', %s, 'SUCCESS', %s)",
        [row["user_id"], Json({"user_id": row["user_id"], "token": row["token"], "key_alias": row["key_alias"]})],
    )


def _insert(pair: Pair, table: str, **columns: Any) -> None:
    pair.openwebui.run(
        f'INSERT INTO "{table}" SELECT r.* FROM jsonb_populate_record(NULL::"{table}", %s) AS r',
        [Json(columns, dumps=partial(json.dumps, default=str))],
    )


def _map(pair: Pair, kind: str, id_: str, other: str, account: str, **data: Any) -> None:
    pair.litellm.run(
        "INSERT INTO sync_mapping (litellm_type, litellm_id, openwebui_type, openwebui_id, sync_data) "
        "VALUES (%s, %s, %s, %s, %s)",
        [kind, id_, other, account, Json(data)],
    )


def _audit(pair: Pair, operation: str, id_: str, table: str, key: str) -> None:
    pair.litellm.run(
        "INSERT INTO sync_audit (operation, record_id, sync_result, new_data) "
        f"SELECT %s, %s, 'SUCCESS', to_jsonb(t) FROM \"{table}\" AS t WHERE t.{key} = %s",
        [operation, id_, id_],
    )
