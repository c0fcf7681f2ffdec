# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run cannot go on with, as sentences that name the variable, what is wrong with it, and the remedy.

Nothing here reads or writes a database.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils._names import PROGRAM_ROLE_VARIABLES, PROGRAMS, quote
from ansible_collections.llmops.user_bridge.plugins.module_utils._pg import MIN_SERVER_VERSION
from ansible_collections.llmops.user_bridge.plugins.module_utils._preflight.enforcement import refusal
from ansible_collections.llmops.user_bridge.plugins.module_utils._preflight.facts import EXTENSIONS, Asked
from ansible_collections.llmops.user_bridge.plugins.module_utils._preflight.grants import lacking_rights
from ansible_collections.llmops.user_bridge.plugins.module_utils._remedies import Remedy
from ansible_collections.llmops.user_bridge.plugins.module_utils._secret import explanation

# How far a run goes: whether the servers can be used at all, whether they can have the bridge, and the bridge itself.
DEPTHS = ("reach", "server", "bridge")


@dataclass(frozen=True)
class Variables:
    """The variables of one side, by what they hold, and the values that sentences quote."""

    side: str
    login_prefix: str
    login_host: str
    login_port: int
    login_user: str
    asked: Asked

    def __getitem__(self, name: str) -> str:
        """The name of a variable: db, owner and program_role are the side's, the others those of its login."""
        if name == "program_role":
            return PROGRAM_ROLE_VARIABLES[self.side]
        return f"bridge_{self.side}_{name}" if name in ("db", "owner") else f"{self.login_prefix}{name}"

    @property
    def program(self) -> str:
        return PROGRAMS[self.side]

    @property
    def where(self) -> str:
        return f'{self.program}\'s database "{self.asked.db}" ({self["db"]})'


@dataclass(frozen=True)
class Unreached:
    """A side that could not be looked at."""

    reason: str
    remedy: Remedy


@dataclass(frozen=True)
class Checks:
    depth: str
    maintenance: str
    maintenance_db: str
    allow_no_admin: bool
    # The sides where a password has to be set, and where the key of the installation has to be stored.
    secrets: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()


def problems(
    sides: dict[str, Variables], seen: dict[str, dict[str, Any]], unreached: dict[str, Unreached], checks: Checks
) -> list[str]:
    """All of them at once, LiteLLM's side first. None: the run can go on."""
    found = []
    for side, variables in sides.items():
        if side in unreached:
            found.append(_cannot_look(variables, unreached[side]))
        elif side in seen:
            found += _of_server(variables, seen[side], checks)
            if checks.depth == "bridge":
                found += _of_bridge(variables, seen[side])
            makes_owner = bool(checks.maintenance_db) and not seen[side]["database_exists"]
            if side in checks.secrets or makes_owner:
                found += _of_secrets(variables, seen[side])
            if side in checks.secrets | checks.keys or makes_owner:
                found += _of_temporary_tables(variables, seen[side])
    if checks.depth == "bridge" and not checks.allow_no_admin and _has_no_admin(seen):
        found.append(
            f"{sides['openwebui'].where} has no admin yet, and no LiteLLM proxy_admin with an email would become one. "
            "Users that exist before the first admin lock Open WebUI out of its first sign-up. Sign up the first admin "
            "in Open WebUI, or set bridge_allow_no_admin to true."
        )
    return found


def _has_no_admin(seen: dict[str, dict[str, Any]]) -> bool:
    """Known only where both sides were reached, and Open WebUI's users can be read."""
    return set(seen) == set(PROGRAMS) and seen["openwebui"]["admins"] == 0 and not seen["litellm"]["admins"]


def _cannot_look(variables: Variables, unreached: Unreached) -> str:
    names = {name: variables[name] for name in ("user", "password", "host", "port", "db", "ssl_mode", "ca_cert")}
    remedy = unreached.remedy.login.format(program=variables.program, **names)
    if unreached.remedy.name == "database":
        remedy += ", or bridge_create_databases to true to have it made"
    return (
        f"Cannot look into {variables.where} at {variables.login_host or 'the local socket'}, port "
        f'{variables.login_port}, as "{variables.login_user}": {unreached.reason}; {remedy}.'
    )


def _of_server(variables: Variables, facts: dict[str, Any], checks: Checks) -> list[str]:
    found = []
    where, side = variables.where, variables.side
    if facts["version_num"] < MIN_SERVER_VERSION:
        found.append(
            f"{variables['host']}, {variables['port']}: the server of {where} is PostgreSQL {facts['version']}; the "
            f"bridge needs PostgreSQL {MIN_SERVER_VERSION // 10000} or newer. Upgrade the server or name another one."
        )
    if facts["is_standby"]:
        found.append(f"{variables['host']}: the server of {where} is a read-only standby. Name the primary server.")
    may_create = facts["may_create_databases"] and (facts["may_create_roles"] or facts["program_owner_exists"])
    if checks.maintenance_db and not facts["database_exists"] and not may_create:
        found.append(
            f'{where} does not exist, and "{variables.login_user}" ({variables["user"]}) may not create it and its '
            "owner: it lacks CREATEDB or CREATEROLE. Grant them, have an administrator create the database, or name "
            "another login."
        )
    extension = EXTENSIONS[side]
    if checks.depth != "reach" and not facts["extension_is_available"] and facts["extension_schema"] is None:
        found.append(
            f"The server of {where} does not have the extension {extension}. Install PostgreSQL's contrib modules "
            f"there (package postgresql-contrib) or name another server with {variables['host']}."
        )
    if side == "litellm" and checks.maintenance == "pg_cron" and not facts["cron_database"]:
        found.append(
            f"bridge_maintenance is pg_cron, but the server of {where} has not loaded it. Add pg_cron to its "
            "shared_preload_libraries and restart it, or set bridge_maintenance to systemd or none."
        )
    return found


def notices(sides: dict[str, Variables], seen: dict[str, dict[str, Any]]) -> list[str]:
    """What the bridge works with, but would be better without."""
    found = [_of_schema_public(sides[side]) for side in sides if _has_open_schema(seen.get(side))]
    facts, where = seen.get("litellm"), sides["litellm"].where
    if not facts or facts["extension_schema"] is None or not facts["extension_users"]:
        return found
    schema, users = quote(facts["extension_schema"]), '" and "'.join(facts["extension_users"])
    return [
        *found,
        f'{where} has the extension dblink in schema {schema}, where "{users}" may execute its functions, and so use '
        "the connection that the bridge keeps in their sessions. It gives them no rights in Open WebUI's database, but "
        "unless something else needs it there, run as a superuser: ALTER EXTENSION dblink SET SCHEMA user_bridge, and "
        "deploy again; or revoke EXECUTE on its functions from PUBLIC.",
    ]


def _has_open_schema(facts: dict[str, Any] | None) -> bool:
    # Otherwise it is another database that was looked at.
    return facts is not None and facts["database_exists"] and facts["schema_public_is_open"]


def _of_schema_public(variables: Variables) -> str:
    return (
        f"In {variables.where} every login may create objects in schema public, as it was before PostgreSQL 15. A "
        f"function lower(varchar) there is called by {variables.program} in place of PostgreSQL's, with "
        f"{variables.program}'s rights: whoever learns the password of bridge_sync_user or of any other login could "
        "take it over. Run there: REVOKE CREATE ON SCHEMA public FROM PUBLIC; GRANT CREATE ON SCHEMA public TO "
        f"{quote(variables.asked.program_owner)}."
    )


def _of_bridge(variables: Variables, facts: dict[str, Any]) -> list[str]:
    asked, where = variables.asked, variables.where
    found = []
    missing = sorted(set(asked.required_tables) - set(facts["tables"]))
    owners = {facts["tables"][name]["owner"] for name in asked.required_tables if name in facts["tables"]}
    others = sorted(owners - {asked.program_owner})
    if missing:
        tables = ", ".join(f'"{name}"' for name in missing)
        found.append(
            f"{where} has no table {tables} in schema public. Start {variables.program} once on this database, so that "
            f"it creates its tables, or set {variables['db']} to the database that it uses."
        )
    elif others:
        belong = '", "'.join(others)
        found.append(
            f'{variables["owner"]} is "{asked.program_owner}", but the tables in {where} belong to "{belong}". Set '
            f"{variables['owner']} to the role that {variables.program} logs in as."
        )
    else:
        found += refusal(asked.enforces, where, facts["enforcement"])
    found += _of_roles(variables, facts)
    if facts["schema_owner"] not in (None, asked.owner_role, facts["restored_by"]):
        found.append(
            f'bridge_owner_role: the schema user_bridge in {where} exists and belongs to "{facts["schema_owner"]}", '
            f'not to "{asked.owner_role}". Set bridge_owner_role to its owner if an earlier bridge made it; otherwise '
            "remove or rename the schema."
        )
    elif facts["foreign_objects"]:
        found.append(
            f"{where} has in schema user_bridge what the bridge has not made: {'; '.join(facts['foreign_objects'])}. It"
            " could act with the bridge's rights: look at it, and drop it or give it to a superuser."
        )
    if variables.side == "litellm" and facts["extension_schema_stranger"]:
        found.append(_of_strangers_schema(variables, facts))
    rights = lacking_rights(asked, facts)
    if rights:
        found.append(
            f'{variables["user"]}: "{variables.login_user}" lacks rights in {where}: {"; ".join(rights)}. Grant them '
            f"or set {variables['user']} to a role that has them."
        )
    return found


def _of_strangers_schema(variables: Variables, facts: dict[str, Any]) -> str:
    schema, stranger = quote(facts["extension_schema"]), quote(facts["extension_schema_stranger"])
    return (
        f"{variables.where} has the extension dblink in schema {schema}, which belongs to {stranger}: functions that "
        "it puts in the place of dblink's would run with the bridge's rights. Run there, as a superuser, ALTER SCHEMA "
        f"{schema} OWNER TO CURRENT_USER and GRANT ALL ON SCHEMA {schema} TO {stranger}; or, unless something "
        "else needs dblink where it is, move it to a schema of a superuser's: ALTER EXTENSION dblink SET SCHEMA."
    )


def _of_secrets(variables: Variables, facts: dict[str, Any]) -> list[str]:
    """What keeps the login from setting a password out of everybody's sight."""
    found = []
    if facts["shows_secrets"]:
        text = explanation(variables.login_user, facts["version_num"], "passwords", facts["shows_secrets"])
        found.append(f"{variables['user']}: {text}.")
    return found


def _of_temporary_tables(variables: Variables, facts: dict[str, Any]) -> list[str]:
    if facts["may_create_temporary"]:
        return []
    return [
        f'{variables["user"]}: "{variables.login_user}" lacks TEMPORARY on the database "{facts["database"]}", by '
        "which a secret reaches the server without being part of a statement. Grant it or name another login."
    ]


def _of_roles(variables: Variables, facts: dict[str, Any]) -> list[str]:
    asked, found = variables.asked, []
    owner, sync_user = facts["roles"].get(asked.owner_role), facts["roles"].get(asked.sync_user)
    program = facts["roles"].get(asked.program_role)
    if program and (program["can_login"] or program["has_attributes"] or program["is_member"]):
        found.append(
            f'{variables["program_role"]}: "{asked.program_role}" exists in the server of {variables.where} and may log'
            " in, is a member of other roles or has other rights of its own. Name a role that the bridge may have to"
            " itself."
        )
    if owner and (owner["can_login"] or owner["has_attributes"]):
        found.append(
            f'bridge_owner_role: "{asked.owner_role}" exists in the server of {variables.where} and may log in or has '
            "other rights of its own. Name a role that the bridge may have to itself."
        )
    if variables.side == "openwebui" and sync_user and (sync_user["is_superuser"] or sync_user["is_member"]):
        found.append(
            f'bridge_sync_user: "{asked.sync_user}" exists and is a superuser or a member of other roles, which the '
            "bridge's login must not be. Name a role that the bridge may have to itself."
        )
    timer = facts["roles"].get(asked.timer_user)
    if variables.side == "litellm" and timer and (timer["is_superuser"] or timer["is_member"]):
        found.append(
            f'bridge_maintenance_user: "{asked.timer_user}" exists and is a superuser or a member of other roles, with '
            "whose rights code in LiteLLM's tables could run. Name a role that the bridge may have to itself."
        )
    return found
