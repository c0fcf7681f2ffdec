# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What becomes of a row that the upstream SQL scripts have made in Open WebUI: functions of rows only.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils._takeover.upstream import INFO, META, SETTINGS

# An account that is older than its mapping by more than this has LiteLLM's created_at.
_SLACK_SECONDS = 60


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
        """The repair as the module returns it, without values."""
        return {"kind": self.kind, "id": self.id, "field": self.field, "problem": self.problem}


@dataclass(frozen=True)
class Surroundings:
    """What decisions about one account depend on besides its own row."""

    now: int
    own_emails: dict[str, str]
    subjects: dict[str, str]
    first_admin_at: int
    has_own_admin: bool


def document_of(text: str | None) -> dict[str, Any]:
    """A JSON object; anything else is not what the scripts write, and what jsonb cannot hold could not be repaired."""
    try:
        document = json.loads(text or "null")
        # A lone surrogate is not UTF-8; NaN and what is out of a float's range are not JSON.
        stored = json.dumps(document, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) and rb"\u0000" not in stored else {}


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
        email, problem = row["none_email"], "missing, which breaks Open WebUI's list of users"
    elif other:
        email, problem = row["moved_email"], f"that of account {other}, which is a person's own"
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
        ("settings", SETTINGS, "LiteLLM's budget in place of the person's own settings"),
        ("info", INFO, "what LiteLLM knew when the scripts last wrote it"),
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
        # Open WebUI's own migration to 0.6.41 also takes a subject without a provider for OpenID Connect's.
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
        # Up to 0.6.40 a column of the account, from 0.6.41 on a table.
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
    if set(META) <= set(document):
        rest = without(document, META)
        problem = "LiteLLM's budget when the scripts last wrote it"
        repair("meta", problem, ", ".join(sorted(document)), ", ".join(sorted(rest or [])) or "none", rest)
    return found


def is_theirs(entity: dict[str, Any], proof: dict[str, Any], name: str) -> bool:
    """Whether the scripts have made a row: they have mapped it, or have written LiteLLM's id into it."""
    return bool(entity["mapped"] or proof.get(name) == entity["id"])
