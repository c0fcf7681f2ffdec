# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What decisions about single rows of Open WebUI depend on.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import SCHEMA
from ansible_collections.llmops.user_bridge.plugins.module_utils._takeover.decide import (
    Surroundings,
    document_of,
    is_theirs,
)
from ansible_collections.llmops.user_bridge.plugins.module_utils._takeover.upstream import TOKEN

# Columns of some versions: 0.6.30-0.6.40 have the first two, newer ones the third.
_OPTIONAL_COLUMNS = ("oauth_sub", "api_key", "oauth")
_KEYS_OF = f"EXISTS (SELECT FROM public.api_key AS k WHERE k.user_id = u.id AND k.key ~ {TOKEN})"

# Emails as the bridge writes them, in lower case, as Open WebUI looks them up at sign-in.
_ACCOUNTS = """
SELECT u.id, u.email, {email} AS lower_email, u.role, u.created_at,
       u.settings::text AS settings, u.info::text AS info, {oauth_sub} AS oauth_sub, {oauth}::text AS oauth,
       {has_token} AS has_token, {placeholders},
       a.id IS NOT NULL AS has_auth, a.email AS auth_email, a.active,
       starts_with(a.password, '$2a$') AS has_initial_password
  FROM public."user" AS u LEFT JOIN public.auth AS a ON a.id = u.id
 WHERE u.id = ANY (%(ids)s::text[])
 ORDER BY u.id"""

_PROOFS = """
SELECT u.id, u.info::text AS info FROM public."user" AS u WHERE u.id = ANY (%(ids)s::text[])"""

_EVERYBODY = """
SELECT u.id, {email} AS email, {oauth_sub} AS oauth_sub, u.role = 'admin' AS is_admin, u.created_at,
       coalesce(a.active, false) AS active, extract(epoch FROM clock_timestamp())::bigint AS now
  FROM public."user" AS u LEFT JOIN public.auth AS a ON a.id = u.id
 ORDER BY u.created_at, u.id"""

_GROUPS = """
SELECT g.id, g.user_id, g.description, g.meta::text AS meta, {has_user_ids} AS has_user_ids
  FROM public."group" AS g WHERE g.id = ANY (%(ids)s::text[])
 ORDER BY g.id"""


@dataclass(frozen=True)
class Survey:
    """What was seen of Open WebUI's database as a whole, and the statements that read single rows of this version."""

    database: str
    accounts: str
    groups: str
    has_key_column: bool
    theirs: frozenset[str]
    around: Surroundings
    logins: tuple[str, ...]


def survey(cur: Any, entities: list[dict[str, Any]], logins: tuple[str, ...]) -> Survey:
    """Look around inside a transaction of C(_pg.transaction): what decisions about single rows depend on."""
    columns = {
        row["name"]
        for row in _pg.rows(
            cur,
            "SELECT attname::text AS name FROM pg_attribute"
            " WHERE attrelid = 'public.\"user\"'::regclass AND attnum > 0 AND NOT attisdropped",
        )
    }
    optional = {name: f"u.{name}" if name in columns else "NULL::text" for name in _OPTIONAL_COLUMNS}
    email = _email(cur)
    users = {entity["account"]: entity for entity in entities if entity["type"] == "user"}
    theirs = frozenset(
        row["id"]
        for row in _pg.rows(cur, _PROOFS, {"ids": list(users)})
        if is_theirs(users[row["id"]], document_of(row["info"]), "original_user_id")
    )
    return Survey(
        database=str(_pg.value(cur, "SELECT current_database()::text")),
        accounts=_ACCOUNTS.format(
            **optional, email=email, placeholders=_placeholders(cur), has_token=_has_token(cur, "api_key" in columns)
        ),
        groups=_GROUPS.format(has_user_ids=_has_user_ids(cur)),
        has_key_column="api_key" in columns,
        theirs=theirs,
        around=_surroundings(_pg.rows(cur, _EVERYBODY.format(**optional, email=email)), theirs),
        # Only names of existing roles: the pattern may match other text.
        logins=tuple(
            row["name"]
            for row in _pg.rows(
                cur,
                "SELECT rolname::text AS name FROM pg_roles WHERE rolname = ANY (%(names)s::text[]) ORDER BY 1",
                {"names": list(logins)},
            )
        ),
    )


def _has_token(cur: Any, is_column: bool) -> str:
    if is_column:
        return f"coalesce(u.api_key ~ {TOKEN}, false)"
    return _KEYS_OF if exists(cur, "public.api_key") else "false"


def _email(cur: Any) -> str:
    """An account's email as the bridge would write it; near enough in check mode, where the bridge may be missing."""
    if _pg.value(cur, f"SELECT to_regprocedure('{SCHEMA}.fold_email(text)') IS NOT NULL AS found"):
        return f"{SCHEMA}.fold_email(u.email)"
    return 'lower(u.email COLLATE "C")'


def _placeholders(cur: Any) -> str:
    """The emails that the bridge gives to accounts that cannot have their own; it may be missing in check mode."""
    if exists(cur, f"{SCHEMA}.entity"):
        return ", ".join(f"{SCHEMA}.placeholder_email('{why}', u.id) AS {why}_email" for why in ("none", "moved"))
    return "'(a placeholder)' AS none_email, '(a placeholder)' AS moved_email"


def _has_user_ids(cur: Any) -> str:
    """Whether a group has a list of members, null where members have a table of their own (0.6.37 and newer)."""
    if exists(cur, "public.group_member"):
        return "NULL::boolean"
    return "coalesce(json_typeof(g.user_ids) = 'array', false)"


def exists(cur: Any, table: str) -> bool:
    """Whether there is a table of this name, written with its schema."""
    return bool(_pg.value(cur, f"SELECT to_regclass('{table}') IS NOT NULL AS found"))


def _surroundings(everybody: list[dict[str, Any]], theirs: frozenset[str]) -> Surroundings:
    own = [row for row in everybody if row["id"] not in theirs]
    admins = [row for row in own if row["is_admin"]]
    return Surroundings(
        now=everybody[0]["now"] if everybody else 0,
        own_emails={row["email"]: row["id"] for row in reversed(own) if row["email"]},
        subjects={row["oauth_sub"]: row["id"] for row in everybody if row["oauth_sub"]},
        first_admin_at=min((row["created_at"] or 0 for row in admins), default=0),
        has_own_admin=any(row["active"] for row in admins),
    )
