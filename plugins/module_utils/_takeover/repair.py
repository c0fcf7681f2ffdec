# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the upstream SQL scripts have left in Open WebUI's database, and what becomes of it.

The decisions are functions of rows; the statements around them only read and write.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._lock import LOCK_ERRORS, locked
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import SCHEMA, Subject, quote

# What the scripts write, always all of it, and what it is.
_SETTINGS = ("max_budget", "metadata", "model_max_budget", "model_spend", "models", "spend")
_INFO = ("organization_id", "original_user_id", "team_id", "user_role")
_META = ("budget_id", "metadata", "model_spend", "models", "organization_id", "spend")

# An account older than its mapping by more than this has LiteLLM's created_at.
_SLACK_SECONDS = 60

# Not in every version: 0.6.30-0.6.40 have the first two, newer ones the third.
_OPTIONAL_COLUMNS = ("oauth_sub", "api_key", "oauth")
# LiteLLM's tokens are SHA-256 sums; a key that Open WebUI has made begins with sk-.
_TOKEN = "'^[0-9a-f]{64}$'"
_KEYS_OF = f"EXISTS (SELECT FROM public.api_key AS k WHERE k.user_id = u.id AND k.key ~ {_TOKEN})"

_ACCOUNTS = """
SELECT u.id, u.email, lower(u.email) AS lower_email, u.role, u.created_at,
       u.settings::text AS settings, u.info::text AS info, {oauth_sub} AS oauth_sub, {oauth}::text AS oauth,
       {has_token} AS has_token,
       a.id IS NOT NULL AS has_auth, a.email AS auth_email, a.active,
       starts_with(a.password, '$2a$') AS has_initial_password
  FROM public."user" AS u LEFT JOIN public.auth AS a ON a.id = u.id
 WHERE u.id = ANY (%(ids)s::text[])
 ORDER BY u.id"""

_PROOFS = """
SELECT u.id, u.info::text AS info FROM public."user" AS u WHERE u.id = ANY (%(ids)s::text[])"""

_EVERYBODY = """
SELECT u.id, lower(u.email) AS email, {oauth_sub} AS oauth_sub, u.role = 'admin' AS is_admin, u.created_at,
       coalesce(a.active, false) AS active, extract(epoch FROM clock_timestamp())::bigint AS now
  FROM public."user" AS u LEFT JOIN public.auth AS a ON a.id = u.id
 ORDER BY u.created_at, u.id"""

_GROUPS = """
SELECT g.id, g.user_id, g.description, g.meta::text AS meta, {has_user_ids} AS has_user_ids
  FROM public."group" AS g WHERE g.id = ANY (%(ids)s::text[])
 ORDER BY g.id"""

# The bridge may have delivered to an account that turns out to be one too many.
_UNLINK = f"""
WITH surplus AS (
  SELECT e.entity_id, e.openwebui_id FROM {SCHEMA}.entity AS e
   WHERE e.entity_type = 'user' AND e.openwebui_id = ANY (%(accounts)s::text[])
), withdrawn AS MATERIALIZED (
  SELECT {SCHEMA}.withdraw_memberships(s.entity_id, s.openwebui_id) FROM surplus AS s
)
UPDATE {SCHEMA}.entity AS e SET openwebui_id = NULL, origin = NULL
  FROM surplus AS s
 WHERE e.entity_type = 'user' AND e.entity_id = s.entity_id AND (SELECT count(*) FROM withdrawn) >= 0"""

_LINK = f"""
INSERT INTO {SCHEMA}.entity AS e
       (entity_type, entity_id, version, openwebui_id, origin, initial_password_mark, initial_password_at)
SELECT l.type, l.id, 0, l.account, 'created',
       CASE WHEN l.expires THEN {SCHEMA}.secret_mark(a.password) END, CASE WHEN l.expires THEN clock_timestamp() END
  FROM jsonb_to_recordset(%(links)s::jsonb) AS l(type text, id text, account text, expires boolean)
  LEFT JOIN public.auth AS a ON a.id = l.account AND l.type = 'user'
 WHERE NOT EXISTS (SELECT FROM {SCHEMA}.entity AS o
                    WHERE o.openwebui_id = l.account AND (o.entity_type = 'user') = (l.type = 'user')
                      AND (o.entity_type, o.entity_id) <> (l.type, l.id))
    ON CONFLICT (entity_type, entity_id) DO UPDATE
   SET openwebui_id = excluded.openwebui_id, origin = excluded.origin,
       initial_password_mark = coalesce(e.initial_password_mark, excluded.initial_password_mark),
       initial_password_at = coalesce(e.initial_password_at, excluded.initial_password_at)
 WHERE e.openwebui_id IS NULL OR e.openwebui_id = excluded.openwebui_id"""


@dataclass(frozen=True)
class Repair:
    """One field of one row that is set right. What is shown of values holds no secret."""

    kind: str
    id: str
    field: str
    problem: str
    before: str
    after: str
    value: Any = None
    table: str = ""

    @property
    def result(self) -> dict[str, str]:
        return {"kind": self.kind, "id": self.id, "field": self.field, "problem": self.problem}


@dataclass(frozen=True)
class Link:
    """A row of theirs that stands for a LiteLLM entity from now on, as if the bridge had made it."""

    type: str
    id: str
    account: str
    expires: bool = False


@dataclass(frozen=True)
class Surroundings:
    """What decisions about one account depend on besides its own row."""

    now: int
    own_emails: dict[str, str]
    subjects: dict[str, str]
    first_admin_at: int
    has_own_admin: bool


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


@dataclass
class Plan:
    """What there is to do in Open WebUI's database."""

    repairs: list[Repair] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)
    weak_admins: list[str] = field(default_factory=list)

    def add(self, other: Plan) -> None:
        self.repairs += other.repairs
        self.links += other.links
        self.duplicates += other.duplicates
        self.weak_admins += other.weak_admins


def document_of(text: str | None) -> dict[str, Any]:
    """A JSON object; anything else is not what the scripts write."""
    try:
        document = json.loads(text or "null")
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def without(document: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any] | None:
    """The rest of a document that holds all of these names, None for no rest."""
    return {name: value for name, value in document.items() if name not in names} or None


def decide_account(entity: dict[str, Any], row: dict[str, Any], around: Surroundings) -> list[Repair]:
    """What is wrong with an account of theirs."""
    return [
        *_decide_email(row, around),
        *_decide_documents(row),
        *_decide_subject(entity, row, around),
        *_decide_created_at(entity, row, around),
        *_decide_secrets(row, around),
    ]


def expires(row: dict[str, Any], around: Surroundings) -> bool:
    """Whether to end a password that is still the email. The bridge ends an admin's at once: not the only admin's."""
    return bool(row["has_initial_password"] and (row["role"] != "admin" or around.has_own_admin))


def duplicate_of(row: dict[str, Any], around: Surroundings) -> str | None:
    """The account that a person has made with the same email: that one is adopted, and this one is too many."""
    return around.own_emails.get(row["lower_email"] or "")


def _of(row: dict[str, Any], column: str, problem: str, before: Any, after: Any, value: Any, table: str) -> Repair:
    name = column if table in ("user", "entity") else f"{table} {column}"
    shown = ("missing" if before is None else str(before), "none" if after is None else str(after))
    return Repair("user", row["id"], name, problem, *shown, value=value, table=f"{table}.{column}")


def _decide_email(row: dict[str, Any], around: Surroundings) -> list[Repair]:
    other = duplicate_of(row, around)
    if not row["email"]:
        # Nobody receives mail there; deliveries of the bridge use the domain likewise.
        email, problem = f"none+{row['id']}@user-bridge.invalid", "missing, which breaks Open WebUI's list of users"
    elif other:
        email, problem = f"moved+{row['id']}@user-bridge.invalid", f"that of account {other}, which is a person's own"
    else:
        email, problem = row["lower_email"], "not in lower case, so that nobody can sign in with it"
    found = []
    if row["email"] != email:
        found.append(_of(row, "email", problem, row["email"], email, email, "user"))
    if row["has_auth"] and row["auth_email"] != email:
        found.append(_of(row, "email", "not that of the account", row["auth_email"], email, email, "auth"))
    if not row["has_auth"] and not row["email"]:
        found.append(
            _of(row, "id", "missing, which Open WebUI 0.12 does not expect", None, "without password", email, "auth")
        )
    if other and (around.has_own_admin or row["role"] != "admin"):
        if row["role"] != "pending":
            found.append(_of(row, "role", "an account too many", row["role"], "pending", "pending", "user"))
        if row["active"]:
            found.append(_of(row, "active", "an account too many", True, False, False, "auth"))
    return found


def _decide_documents(row: dict[str, Any]) -> list[Repair]:
    found = []
    for column, names, problem in (
        ("settings", _SETTINGS, "LiteLLM's budget in place of the person's own settings"),
        ("info", _INFO, "what LiteLLM knew when the scripts last wrote it"),
    ):
        document = document_of(row[column])
        if set(names) <= set(document):
            rest = without(document, names)
            after = ", ".join(sorted(rest)) if rest else None
            found.append(_of(row, column, problem, ", ".join(sorted(document)), after, rest, "user"))
    return found


def _decide_subject(entity: dict[str, Any], row: dict[str, Any], around: Surroundings) -> list[Repair]:
    subject, known = row["oauth_sub"], entity["subject"] or ""
    if subject and (subject == known or "@" not in subject):
        # Open WebUI's own migration to 0.6.41 takes one without a provider for OpenID Connect's, too.
        right = f"oidc@{subject}"
        taken = around.subjects.get(right, row["id"]) != row["id"]
        after, value = ("none, because another account has it", None) if taken else ("oidc@...", right)
        return [_of(row, "oauth_sub", "without its provider, so that it matches nobody", "...", after, value, "user")]
    provider, at, rest = known.partition("@")
    oauth = document_of(row["oauth"])
    if at and oauth.get(provider) == {"sub": rest}:
        right_one = {"oidc": {"sub": known}, **{name: value for name, value in oauth.items() if name != provider}}
        return [_of(row, "oauth", "a subject that was cut in two at its @", "...", "oidc: ...", right_one, "user")]
    return []


def _decide_created_at(entity: dict[str, Any], row: dict[str, Any], around: Surroundings) -> list[Repair]:
    made_at, had = entity["made_at"] or around.now, row["created_at"] or 0
    if had >= made_at - _SLACK_SECONDS and had > around.first_admin_at:
        return []
    right = max(made_at, around.first_admin_at + 1)
    problem = "LiteLLM's, and Open WebUI's oldest account is its primary admin"
    return [_of(row, "created_at", problem, row["created_at"], right, right, "user")]


def _decide_secrets(row: dict[str, Any], around: Surroundings) -> list[Repair]:
    found = []
    if row["has_token"]:
        # The row of the account up to 0.6.40, a table of its own from 0.6.41 on.
        table = "user" if row["has_key_column"] else "api_key"
        found.append(_of(row, "api_key", "LiteLLM's token, which opens nothing", "...", None, None, table))
    if expires(row, around):
        problem = "still the one that the scripts have set, the email"
        after = "ends as the bridge's initial passwords do, an admin's at once"
        found.append(_of(row, "password", problem, "...", after, None, "entity"))
    return found


def decide_group(row: dict[str, Any]) -> list[Repair]:
    """What is wrong with a group of theirs."""
    found = []

    def repair(column: str, problem: str, before: str, after: str, value: Any) -> None:
        found.append(Repair("group", row["id"], column, problem, before, after, value, f"group.{column}"))

    for column in ("user_id", "description"):
        if row[column] is None:
            repair(column, "missing, which breaks Open WebUI's groups and its members' sign-in", "missing", "empty", "")
    if row["has_user_ids"] is False:
        repair("user_ids", "no list, which breaks everybody's sign-in up to Open WebUI 0.6.36", "missing", "[]", [])
    document = document_of(row["meta"])
    if set(_META) <= set(document):
        rest = without(document, _META)
        problem = "LiteLLM's budget when the scripts last wrote it"
        repair("meta", problem, ", ".join(sorted(document)), ", ".join(sorted(rest or [])) or "none", rest)
    return found


def is_theirs(entity: dict[str, Any], proof: dict[str, Any], name: str) -> bool:
    """Whether the scripts have made a row: they have mapped it, or have written LiteLLM's id into it."""
    return bool(entity["mapped"] or proof.get(name) == entity["id"])


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
    users = {entity["account"]: entity for entity in entities if entity["type"] == "user"}
    theirs = frozenset(
        row["id"]
        for row in _pg.rows(cur, _PROOFS, {"ids": list(users)})
        if is_theirs(users[row["id"]], document_of(row["info"]), "original_user_id")
    )
    return Survey(
        database=str(_pg.value(cur, "SELECT current_database()::text")),
        accounts=_ACCOUNTS.format(**optional, has_token=_has_token(cur, "api_key" in columns)),
        groups=_GROUPS.format(has_user_ids=_has_user_ids(cur)),
        has_key_column="api_key" in columns,
        theirs=theirs,
        around=_surroundings(_pg.rows(cur, _EVERYBODY.format(**optional)), theirs),
        # What only looks like a name of a role could be anything.
        logins=tuple(
            row["name"]
            for row in _pg.rows(
                cur,
                "SELECT rolname::text AS name FROM pg_roles WHERE rolname = ANY (%(names)s::text[]) ORDER BY 1",
                {"names": list(logins)},
            )
        ),
    )


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


def _has_token(cur: Any, is_column: bool) -> str:
    if is_column:
        return f"coalesce(u.api_key ~ {_TOKEN}, false)"
    return _KEYS_OF if _exists(cur, "public.api_key") else "false"


def _has_user_ids(cur: Any) -> str:
    """Whether a group has a list of members, null where members have a table of their own (0.6.37 and newer)."""
    if _exists(cur, "public.group_member"):
        return "NULL::boolean"
    return "coalesce(json_typeof(g.user_ids) = 'array', false)"


def _exists(cur: Any, table: str) -> bool:
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
    if not check_mode and not _exists(cur, f"{SCHEMA}.entity"):
        raise BridgeError(
            f"database {database} (openwebui_login_db, bridge_openwebui_db) lacks Open WebUI's side of the bridge: "
            "run the role llmops.user_bridge.triggers first; nothing was changed"
        )


def apply(cur: Any, seen: Survey, entities: list[dict[str, Any]], lock_timeout_ms: int) -> Plan:
    """Decide about some entities' rows with the rows locked, and write; one transaction."""
    with _pg.transaction(cur, read_only=False):
        cur.execute(f"SET LOCAL lock_timeout = {lock_timeout_ms}")
        try:
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
                cur.execute(_UNLINK, {"accounts": plan.duplicates})
            cur.execute(_LINK, {"links": json.dumps([link.__dict__ for link in plan.links])})
        except _pg.PgError as error:
            if _pg.sqlstate(error) in LOCK_ERRORS:
                raise locked(Subject("table", "public", "user")) from None
            raise BridgeError(
                f"what the upstream SQL scripts have left in Open WebUI's database could not be repaired: "
                f"{_pg.describe(error)}; nothing was changed"
            ) from None
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
            f" WHERE k.user_id = v.id AND k.key ~ {_TOKEN}",
            {"values": values},
        )
    elif table != "entity":
        # A value becomes what the column is in this version: text, json, bigint.
        cur.execute(
            f"UPDATE public.{quote(table)} AS t SET {quote(column)} = (jsonb_populate_record("
            f"NULL::public.{quote(table)}, jsonb_build_object('{column}', v.value))).{quote(column)} {source}"
            " WHERE t.id = v.id",
            {"values": values},
        )
