# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sets right what the upstream SQL scripts have written into Open WebUI's database.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._lock import explained
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import SCHEMA, Subject, quote
from ansible_collections.llmops.user_bridge.plugins.module_utils._takeover.decide import (
    Repair,
    decide_account,
    decide_group,
    document_of,
    duplicate_of,
    expires,
    is_theirs,
)
from ansible_collections.llmops.user_bridge.plugins.module_utils._takeover.survey import Survey, exists
from ansible_collections.llmops.user_bridge.plugins.module_utils._takeover.upstream import TOKEN

# Of Open WebUI's tables those that are looked at or written to.
REPAIRED = ("api_key", "auth", "group", "group_member", "user")


@dataclass(frozen=True)
class Link:
    """A row of theirs that stands for a LiteLLM entity from now on, as if the bridge had made it."""

    type: str
    id: str
    account: str
    expires: bool = False


@dataclass
class Plan:
    """What there is to do in Open WebUI's database."""

    repairs: list[Repair] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)
    weak_admins: list[str] = field(default_factory=list)

    def add(self, other: Plan) -> None:
        """Add what there is to do about later rows."""
        self.repairs += other.repairs
        self.links += other.links
        self.duplicates += other.duplicates
        self.weak_admins += other.weak_admins


def decide(cur: Any, seen: Survey, entities: list[dict[str, Any]]) -> Plan:
    """What there is to do about these entities' rows."""
    plan = Plan()
    users = {e["account"]: e for e in entities if e["type"] == "user" and e["account"] in seen.theirs}
    for row in _pg.rows(cur, seen.accounts, {"ids": list(users)}):
        entity, row["has_key_column"] = users[row["id"]], seen.has_key_column
        plan.repairs += decide_account(entity, row, seen.around)
        if duplicate_of(row, seen.around):
            plan.duplicates.append(row["id"])
        else:
            plan.links.append(Link("user", entity["id"], row["id"], expires(row, seen.around)))
        if row["has_initial_password"] and not expires(row, seen.around):
            plan.weak_admins.append(row["id"])
    groups = {entity["account"]: entity for entity in entities if entity["type"] == "organization"}
    for row in _pg.rows(cur, seen.groups, {"ids": list(groups)}):
        entity = groups[row["id"]]
        if is_theirs(entity, document_of(row["meta"]), "organization_id"):
            plan.repairs += decide_group(row)
            plan.links.append(Link("organization", entity["id"], row["id"]))
    return plan


def check(cur: Any, check_mode: bool) -> None:
    """Find out what would make the repair fail, before anything is changed."""
    lacking = [
        row["name"]
        for row in _pg.rows(
            cur,
            "SELECT c.relname::text AS name FROM pg_class AS c WHERE c.relnamespace = 'public'::regnamespace"
            " AND c.relkind IN ('r', 'p') AND c.relname IN ('user', 'auth', 'group', 'api_key')"
            " AND NOT has_table_privilege(c.oid, 'SELECT,UPDATE') ORDER BY 1",
        )
    ]
    database = _pg.value(cur, "SELECT current_database()::text")
    if lacking:
        login = _pg.value(cur, "SELECT current_user::text")
        raise BridgeError(
            f"openwebui_login_user {login} needs in database {database}: membership in the role that owns "
            f"{', '.join(quote(name) for name in lacking)}; or use a superuser; nothing was changed"
        )
    if not check_mode and not exists(cur, f"{SCHEMA}.entity"):
        raise BridgeError(
            f"database {database} (openwebui_login_db, bridge_openwebui_db) lacks Open WebUI's side of the bridge: "
            "run the role llmops.user_bridge.triggers first; nothing was changed"
        )


def apply(cur: Any, seen: Survey, entities: list[dict[str, Any]], lock_timeout_ms: int) -> Plan:
    """Decide about some entities' rows with the rows locked, and write; one transaction."""
    problem = "what the upstream SQL scripts have left in Open WebUI's database could not be repaired"
    with _pg.transaction(cur, read_only=False), explained(Subject("table", "public", "user"), problem):
        cur.execute(f"SELECT {SCHEMA}.prove_target()")
        cur.execute(f"SET LOCAL lock_timeout = {lock_timeout_ms}")
        for table in ("user", "group"):
            ids = [entity["account"] for entity in entities if (entity["type"] == "user") == (table == "user")]
            cur.execute(
                f"SELECT 1 FROM public.{quote(table)} WHERE id = ANY (%(ids)s::text[]) ORDER BY id FOR UPDATE",
                {"ids": ids},
            )
        plan = decide(cur, seen, entities)
        for target in dict.fromkeys(repair.table for repair in plan.repairs):
            _write(cur, target, [repair for repair in plan.repairs if repair.table == target])
        if plan.duplicates:
            # The bridge may have delivered to a surplus account.
            cur.execute(f"SELECT {SCHEMA}.unlink_accounts(%(accounts)s::text[])", {"accounts": plan.duplicates})
        links = json.dumps([asdict(link) for link in plan.links])
        cur.execute(f"SELECT {SCHEMA}.link_upstream_rows(%(links)s::jsonb)", {"links": links})
    return plan


def _write(cur: Any, target: str, repairs: list[Repair]) -> None:
    table, column = target.split(".")
    values = json.dumps([{"id": repair.id, "value": repair.value} for repair in repairs])
    source = "FROM jsonb_to_recordset(%(values)s::jsonb) AS v(id text, value jsonb)"
    if target == "auth.id":
        cur.execute(
            "INSERT INTO public.auth (id, email, password, active)"
            f" SELECT v.id, v.value #>> '{{}}', '', false {source}",
            {"values": values},
        )
    elif table == "api_key":
        cur.execute(
            f"DELETE FROM public.api_key AS k USING jsonb_to_recordset(%(values)s::jsonb) AS v(id text, value jsonb)"
            f" WHERE k.user_id = v.id AND k.key ~ {TOKEN}",
            {"values": values},
        )
    elif table != "entity":
        # The type of the column depends on the version: text, json or bigint.
        cur.execute(
            f"UPDATE public.{quote(table)} AS t SET {quote(column)} = (jsonb_populate_record("
            f"NULL::public.{quote(table)}, jsonb_build_object('{column}', v.value))).{quote(column)} {source}"
            " WHERE t.id = v.id",
            {"values": values},
        )
