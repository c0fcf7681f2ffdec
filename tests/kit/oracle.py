# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What maps to what once more, in Python and from LiteLLM's tables alone, to hold the bridge's SQL against.

It shares no line with the bridge. What it says is what must be so when the queue is empty, with the default settings,
whatever happened before; but of users with one address, the one who has held it longest has the account, and since when
is in no table of LiteLLM's: watch() writes down who had which. note_account() writes down what somebody made in Open
WebUI, as it was then.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any

from kit.openwebui import has_member_table
from kit.pairs import Pair


@dataclass(frozen=True)
class Account:
    name: str
    role: str


@dataclass(frozen=True)
class Group:
    name: str
    members: frozenset[str]
    parent: str | None


@dataclass(frozen=True)
class ByHand:
    """An account that somebody made in Open WebUI, as it was then; password None: without a row in auth."""

    id: str
    email: str
    name: str
    role: str
    password: str | None
    is_older: bool
    """than the bridge"""
    is_proved: bool
    """by single sign-on"""

    def keeps_password(self) -> bool:
        """Which account a user gets, as docs/security.md has it."""
        return self.is_proved or self.role == "admin" or (self.role == "user" and self.is_older)


@dataclass(frozen=True)
class Picture:
    """Accounts that let somebody in, by email; groups by id, with such accounts' emails as members."""

    accounts: dict[str, Account]
    groups: dict[str, Group]
    disabled: frozenset[str]


def expected(pair: Pair) -> Picture:
    """What Open WebUI must hold."""
    users = pair.litellm.rows('SELECT * FROM "LiteLLM_UserTable"')
    teams = {row["team_id"]: row for row in pair.litellm.rows('SELECT * FROM "LiteLLM_TeamTable"')}
    organizations = pair.litellm.rows('SELECT * FROM "LiteLLM_OrganizationTable"')
    joined = pair.litellm.rows('SELECT user_id, organization_id FROM "LiteLLM_OrganizationMembership"')

    email_of = _emails(users, _held_since(pair))
    unlinked = _unlinked(pair)
    # Whose account stays somebody else's.
    email_of = {user_id: email for user_id, email in email_of.items() if email not in unlinked}
    inactive = {row["user_id"] for row in users if _inactive(row)}
    accounts = {
        email_of[row["user_id"]]: Account(_name(row, teams), "admin" if row["user_role"] == "proxy_admin" else "user")
        for row in users
        if row["user_id"] in email_of and row["user_id"] not in inactive
    }
    accounts |= {
        email: Account(made.name, made.role)
        for email, made in unlinked.items()
        if made.role != "pending" and made.password is not None
    }

    def let_in(user_ids: set[str]) -> frozenset[str]:
        return frozenset(email_of[each] for each in user_ids if each in email_of and each not in inactive)

    groups: dict[str, Group] = {}
    for row in organizations:
        key = row["organization_id"]
        by_table = {each["user_id"] for each in joined if each["organization_id"] == key}
        by_column = {each["user_id"] for each in users if each["organization_id"] == key}
        groups[f"grp_{key}"] = Group(_shown(row["organization_alias"]), let_in(by_table | by_column), None)
    for key, row in teams.items():
        parent = f"grp_{row['organization_id']}" if row["organization_id"] else None
        alias = _shown(row["team_alias"]).strip(" ")
        groups[f"grp_team_{key}"] = Group(alias or key, let_in(_listed(row["members_with_roles"])), parent)
    return Picture(accounts, groups, frozenset(email_of[each] for each in inactive if each in email_of))


def _emails(users: list[dict[str, Any]], since: dict[tuple[str, str], datetime]) -> dict[str, str]:
    """Each user's address, for those who have one that nobody has held longer."""
    owner: dict[str, tuple[datetime, str]] = {}
    for row in users:
        email = _address(row["user_id"], row["user_email"])
        if email is not None:
            claim = since.get((row["user_id"], email), _utc(row["created_at"])), row["user_id"]
            owner[email] = min(claim, owner.get(email, claim))
    return {user_id: email for email, (_, user_id) in owner.items()}


def _address(user_id: str, email: str | None) -> str | None:
    """What somebody can sign in with; None where the user cannot have an account."""
    if len((email or "").encode()) > 4000 or len(f"usr_{user_id}") > 255:
        return None
    trimmed = (email or "").strip(" \t\n\v\f\r")
    folded = "".join(each.lower() if each.isascii() else each for each in trimmed)
    if user_id == "default_user_id" or len(folded) > 255 or folded.lower() != folded:
        return None
    if any(unicodedata.category(each) == "Cc" for each in folded) or not re.fullmatch(r"[^\s@]+@[^\s@]+", folded):
        return None
    return folded


def note_account(pair: Pair, made: ByHand) -> None:
    """Write down what somebody has just made in Open WebUI."""
    watch(pair)
    names = [each.name for each in fields(ByHand)]
    pair.openwebui_admin.run(
        f"INSERT INTO oracle.account ({', '.join(names)}) VALUES ({', '.join(['%s'] * len(names))})",
        [getattr(made, name) for name in names],
    )


def forget_accounts(pair: Pair) -> None:
    """Delete them, as an admin of Open WebUI can."""
    made = [each.id for each in _by_hand(pair)]
    if made:
        for table in ('"user"', "auth", "oracle.account"):
            pair.openwebui_admin.run(f"DELETE FROM {table} WHERE id = ANY (%s)", [made])


def _by_hand(pair: Pair) -> list[ByHand]:
    if not _is_watched(pair):
        return []
    return [ByHand(**row) for row in pair.openwebui_admin.rows("SELECT * FROM oracle.account")]


def _linked(pair: Pair) -> dict[str, str]:
    """Whom each account stands for, by the account's id."""
    found = pair.litellm_admin.rows(
        "SELECT openwebui_id, litellm_id FROM user_bridge.sync_mapping WHERE litellm_type = 'user'"
    )
    return {row["openwebui_id"]: row["litellm_id"] for row in found}


def _unlinked(pair: Pair) -> dict[str, ByHand]:
    """Accounts by email that stand for nobody and that nobody has changed."""
    linked = _linked(pair)
    return {made.email: made for made in _by_hand(pair) if made.id not in linked and _is_untouched(pair, made)}


def _is_untouched(pair: Pair, made: ByHand) -> bool:
    found = pair.openwebui.rows(
        'SELECT u.email, u.name, u.role, a.password, a.active FROM "user" u LEFT JOIN auth a USING (id) '
        "WHERE u.id = %s",
        [made.id],
    )
    active = None if made.password is None else True
    return found == [{**{k: getattr(made, k) for k in ("email", "name", "role", "password")}, "active": active}]


def _differences_by_hand(pair: Pair) -> list[str]:
    """What was done to accounts that somebody made in Open WebUI, and must not have been; or the other way round."""
    users = {
        _address(row["user_id"], row["user_email"]): row
        for row in pair.litellm.rows('SELECT * FROM "LiteLLM_UserTable"')
    }
    linked, found = _linked(pair), []
    for made in _by_hand(pair):
        user, holder = users.get(made.email), linked.get(made.id)
        is_admin = user is not None and user["user_role"] == "proxy_admin" and not _inactive(user)
        if holder != (user and user["user_id"]) and (holder is not None or made.role != "admin" or is_admin):
            found.append(f"account {made}: linked to {holder}, must be to {user and user['user_id']}")
        elif holder is None and user is not None and not _is_untouched(pair, made):
            found.append(f"account {made}: changed, though it is nobody's")
        password = pair.openwebui.value("SELECT password FROM auth WHERE id = %s", [made.id])
        if holder is not None and password != (made.password if made.keeps_password() and made.password else ""):
            found.append(f"account {made}: its password is {password!r}")
    return found


_A_MOMENT = timedelta(milliseconds=100)


def watch(pair: Pair) -> None:
    """Write down every email that LiteLLM writes from now on."""
    if _is_watched(pair):
        return
    pair.litellm_admin.run(
        """
        CREATE SCHEMA oracle;
        CREATE TABLE oracle.email (
            n bigint GENERATED ALWAYS AS IDENTITY, at timestamptz NOT NULL DEFAULT clock_timestamp(),
            old_id text, new_id text, email text, created_at timestamp);
        CREATE FUNCTION oracle.write_down() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
        BEGIN
            INSERT INTO oracle.email (old_id, new_id, email, created_at)
            VALUES (OLD.user_id, NEW.user_id, NEW.user_email, NEW.created_at);
            RETURN NULL;
        END $$;
        CREATE TRIGGER oracle AFTER INSERT OR DELETE OR UPDATE ON public."LiteLLM_UserTable"
            FOR EACH ROW EXECUTE FUNCTION oracle.write_down();
        """
    )
    pair.openwebui_admin.run(
        """
        CREATE SCHEMA oracle;
        CREATE TABLE oracle.account (id text, email text, name text, role text, password text, is_older boolean,
                                     is_proved boolean);
        """
    )


def _is_watched(pair: Pair) -> bool:
    return bool(pair.litellm_admin.value("SELECT to_regclass('oracle.email') IS NOT NULL"))


def _held_since(pair: Pair) -> dict[tuple[str, str], datetime]:
    """Since when each user has had an address, by user and address, as far as somebody has watched."""
    if not _is_watched(pair):
        return {}
    held: dict[str, tuple[str | None, datetime]] = {}
    for row in pair.litellm_admin.rows("SELECT * FROM oracle.email ORDER BY n"):
        before = held.pop(row["old_id"], None) if row["old_id"] else None
        if row["new_id"]:
            email = _address(row["new_id"], row["email"])
            # Somebody who was there before has had his address from the beginning.
            if row["old_id"] is None or before is None:
                since = min(_utc(row["created_at"]), row["at"])
            else:
                since = before[1] if before[0] == email else row["at"]
            held[row["new_id"]] = email, since
    watched = {(user_id, email): since for user_id, (email, since) in held.items() if email is not None}
    return {**watched, **_by_the_bridges_clock(pair, watched)}


def _by_the_bridges_clock(pair: Pair, watched: dict[tuple[str, str], datetime]) -> dict[tuple[str, str], datetime]:
    """Times that the bridge has written down a moment apart: it reads the clock in a trigger of its own, so where two
    transactions write one address together, either may be first by its clock and second by ours."""
    recorded = pair.litellm_admin.rows("SELECT user_id, email, since FROM user_bridge.address WHERE isfinite(since)")
    times = {(row["user_id"], row["email"]): row["since"] for row in recorded}
    return {key: times[key] for key in times.keys() & watched.keys() if abs(times[key] - watched[key]) < _A_MOMENT}


def _utc(created_at: datetime | None) -> datetime:
    return created_at.replace(tzinfo=UTC) if created_at else datetime.min.replace(tzinfo=UTC)


def _inactive(row: dict[str, Any]) -> bool:
    return (row["metadata"] or {}).get("scim_active") is False


def _shown(text: str | None) -> str:
    """LiteLLM takes texts of any length, Open WebUI's columns do not."""
    return (text or "")[:255]


def _name(row: dict[str, Any], teams: dict[str, dict[str, Any]]) -> str:
    alias = _shown(row["user_alias"])
    if not alias.strip(" "):
        return str(_address(row["user_id"], row["user_email"])).split("@")[0]
    for team_id in [row["team_id"], *(row["teams"] or [])][:100]:
        if team_id in teams:
            team_alias = _shown(teams[team_id]["team_alias"])
            return _shown(f"{team_alias}-{alias}") if team_alias.strip(" ") else alias
    return alias


def _listed(members: Any) -> set[str]:
    entries = members if isinstance(members, list) else []
    return {entry["user_id"] for entry in entries if isinstance(entry, dict) and entry.get("user_id")}


def actual(pair: Pair) -> Picture:
    """What Open WebUI does hold; the first admin and accounts that let nobody in are left out."""
    rows = pair.openwebui.rows(
        "SELECT u.id, u.email, u.name, u.role, a.active, a.email AS auth_email "
        'FROM "user" u LEFT JOIN auth a USING (id) WHERE u.email <> %s',
        [pair.admin.email],
    )
    let_in = {row["id"]: row for row in rows if row["active"] and row["role"] != "pending"}
    unlinked = {made.id for made in _unlinked(pair).values()}
    rows = [row for row in rows if row["id"] not in unlinked]
    assert all(row["auth_email"] == row["email"] for row in rows), rows
    # The two ways of keeping somebody out always go together.
    assert all(bool(row["active"]) == (row["role"] != "pending") for row in rows), rows
    return Picture(
        {row["email"]: Account(row["name"], row["role"]) for row in let_in.values()},
        _actual_groups(pair, {key: row["email"] for key, row in let_in.items()}),
        frozenset(row["email"] for row in rows if not row["active"]),
    )


def _actual_groups(pair: Pair, emails: dict[str, str]) -> dict[str, Group]:
    if has_member_table(pair):
        members = "array(SELECT m.user_id FROM group_member m WHERE m.group_id = g.id)"
    else:
        members = "array(SELECT json_array_elements_text(g.user_ids))"
    found = pair.openwebui.rows(f'SELECT to_jsonb(g) AS g, {members} AS members FROM "group" g')
    for_models = _groups_for_models(pair)
    return {
        row["g"]["id"]: Group(
            row["g"]["name"],
            frozenset(emails[each] for each in row["members"] if each in emails),
            row["g"].get("parent_group_id"),
        )
        for row in found
        if row["g"]["id"] not in for_models
    }


def _groups_for_models(pair: Pair) -> set[str]:
    """Groups that hold rights on models and nothing else: what is in them test_model_oracle compares."""
    if pair.openwebui_admin.value("SELECT to_regclass('user_bridge.model_group')") is None:
        return set()
    return {row["group_id"] for row in pair.openwebui_admin.rows("SELECT group_id FROM user_bridge.model_group")}


def differences(pair: Pair) -> list[str]:
    """What is not as it must be, in words; empty when both sides agree."""
    want, have = expected(pair), actual(pair)
    found = _compare("account", want.accounts, have.accounts)
    if not _knows_parents(pair):
        want = Picture(
            want.accounts, {k: Group(g.name, g.members, None) for k, g in want.groups.items()}, want.disabled
        )
    found += _compare("group", want.groups, have.groups)
    # Somebody who is disabled keeps the account; others may have left disabled accounts behind.
    found += [f"account {email}: missing, must be disabled" for email in want.disabled - have.disabled]
    return found + _differences_by_hand(pair)


def _knows_parents(pair: Pair) -> bool:
    sql = "SELECT 1 FROM information_schema.columns WHERE table_name = 'group' AND column_name = 'parent_group_id'"
    return pair.openwebui.value(sql) == 1


def _compare(what: str, want: dict[str, Any], have: dict[str, Any]) -> list[str]:
    keys = sorted(want.keys() | have.keys())
    return [f"{what} {key}: {have.get(key)}, must be {want.get(key)}" for key in keys if want.get(key) != have.get(key)]
