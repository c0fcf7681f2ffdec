# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the roles, schemas, extensions and grants of one side lack, as statements and as rights that the login lacks.

Nothing here reads or writes a database.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils._names import PROGRAMS, SCHEMA, literal, quote
from ansible_collections.llmops.user_bridge.plugins.module_utils._preflight.enforcement import granting, revoking
from ansible_collections.llmops.user_bridge.plugins.module_utils._preflight.facts import EXTENSIONS, Asked

_OWNER_COMMENT = "Owns the schema user_bridge and all data in it; may do nothing with the programs' tables"
_PROGRAM_COMMENT = "Runs the functions of the user bridge that touch {program}'s tables; owns nothing else"


def statements(asked: Asked, facts: dict[str, Any]) -> list[str]:
    """What is missing, in the order of one transaction. Where both databases are on one server, whichever side comes
    first creates the owner role.
    """
    found = []
    if asked.owner_role not in facts["roles"]:
        found.append(_create_role(quote(asked.owner_role), _OWNER_COMMENT))
    if asked.program_role not in facts["roles"]:
        found.append(_create_role(quote(asked.program_role), _PROGRAM_COMMENT.format(program=PROGRAMS[asked.side])))
    for role in (asked.owner_role, asked.program_role):
        if not facts["is_superuser"] and not facts["roles"].get(role, {}).get("login_may_become"):
            # A superuser may become any role; everybody else has to be a member to hand objects to it.
            found.append(_unless_done(f"GRANT {quote(role)} TO {quote(facts['login'])}"))
    if facts["schema_owner"] is None:
        found.append(f"CREATE SCHEMA {SCHEMA} AUTHORIZATION {quote(asked.owner_role)}")
    elif facts["schema_owner"] != asked.owner_role:
        # Restored: an extension must not be created in a schema where somebody else can put things.
        found.append(f"ALTER SCHEMA {SCHEMA} OWNER TO {quote(asked.owner_role)}")
    if facts["extension_schema"] is None:
        found.append(f"CREATE EXTENSION {EXTENSIONS[asked.side]} SCHEMA {SCHEMA}")
    return found + _of_owner_role(asked, facts) + _of_program_role(asked, facts) + _of_logins(asked, facts)


def _create_role(role: str, comment: str) -> str:
    return _unless_done(f"CREATE ROLE {role} NOLOGIN; COMMENT ON ROLE {role} IS {literal(comment)}")


def _unless_done(statements: str) -> str:
    """Another host of the play may do the same to a role at the same time, for another bridge on this server."""
    body = f"BEGIN {statements}; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END"
    return f"DO {literal(body)}"


def revocations(asked: Asked, facts: dict[str, Any]) -> list[str]:
    """What takes rights back once functions are replaced: what the bridge's first version needed from the owner role,
    and what enforcement needed from the reader.
    """
    owner = quote(asked.owner_role)
    found = []
    if facts["held_by_owner"]:
        tables = ", ".join(f"public.{quote(name)}" for name in facts["held_by_owner"])
        found.append(f"REVOKE ALL ON TABLE {tables} FROM {owner} CASCADE")
    if facts["default_privileges"].get(asked.owner_role):
        found.append(
            f"ALTER DEFAULT PRIVILEGES FOR ROLE {quote(asked.program_owner)} IN SCHEMA public"
            f" REVOKE ALL ON TABLES FROM {owner}"
        )
    return found + revoking(asked.enforces, asked.program_role, facts["enforcement"])


def _of_owner_role(asked: Asked, facts: dict[str, Any]) -> list[str]:
    if not _lacks_wrapper(asked, facts):
        return []
    return [f"GRANT USAGE ON FOREIGN DATA WRAPPER dblink_fdw TO {quote(asked.owner_role)}"]


def _of_program_role(asked: Asked, facts: dict[str, Any]) -> list[str]:
    program = quote(asked.program_role)
    found = [f"GRANT USAGE ON SCHEMA {quote(schema)} TO {quote(role)}" for schema, role in facts["unused_schemas"]]
    lacking: dict[tuple[str, ...], list[str]] = {}
    for name, table in facts["tables"].items():
        privileges = tuple(name for name in asked.privileges if name not in table["held"])
        if privileges:
            lacking.setdefault(privileges, []).append(f"public.{quote(name)}")
    for privileges, tables in lacking.items():
        found.append(f"GRANT {', '.join(privileges)} ON TABLE {', '.join(sorted(tables))} TO {program}")
    found += granting(asked.enforces, asked.program_role, facts["enforcement"])
    held = facts["default_privileges"].get(asked.program_role, [])
    if asked.side == "openwebui" and not set(asked.privileges) <= set(held):
        # For the tables that an upgrade of Open WebUI creates.
        found.append(
            f"ALTER DEFAULT PRIVILEGES FOR ROLE {quote(asked.program_owner)} IN SCHEMA public"
            f" GRANT {', '.join(asked.privileges)} ON TABLES TO {program}"
        )
    is_new = facts["extension_schema"] is None
    if facts["is_superuser"] and (is_new or facts["extension_is_public"] or not facts["extension_is_granted"]):
        found.append(_let_execute(asked, is_new or facts["extension_is_public"]))
    return found


def _let_execute(asked: Asked, only: bool) -> str:
    """PostgreSQL lets everybody execute an extension's functions, and the schema's users include the sync user."""
    statements = (
        "EXECUTE 'GRANT EXECUTE ON FUNCTION ' || f || ' TO ' || quote_ident(" + literal(asked.extension_role) + ");"
    )
    if only:
        statements += " EXECUTE 'REVOKE EXECUTE ON FUNCTION ' || f || ' FROM PUBLIC';"
    body = (
        "DECLARE f regprocedure; BEGIN FOR f IN SELECT d.objid FROM pg_depend AS d JOIN pg_extension AS e"
        " ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid"
        f" WHERE e.extname = {literal(EXTENSIONS[asked.side])} AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e'"
        f" LOOP {statements} END LOOP; END"
    )
    return f"DO {literal(body)}"


def _of_logins(asked: Asked, facts: dict[str, Any]) -> list[str]:
    found = []
    if asked.side == "openwebui":
        if not _role(facts, asked.sync_user, "connects"):
            found.append(f"GRANT CONNECT ON DATABASE {quote(facts['database'])} TO {quote(asked.sync_user)}")
        if not _role(facts, asked.sync_user, "uses_schema"):
            found.append(f"GRANT USAGE ON SCHEMA {SCHEMA} TO {quote(asked.sync_user)}")
    if asked.side == "litellm" and asked.timer_user and not _role(facts, asked.timer_user, "uses_schema"):
        found.append(f"GRANT USAGE ON SCHEMA {SCHEMA} TO {quote(asked.timer_user)}")
    return found


def _role(facts: dict[str, Any], name: str, what: str) -> bool:
    return bool(facts["roles"].get(name, {}).get(what))


def _lacks_wrapper(asked: Asked, facts: dict[str, Any]) -> bool:
    """A superuser gives the foreign server to the owner role without USAGE on the wrapper."""
    wrapper = facts["wrapper"]
    return bool(asked.side == "litellm" and wrapper and not facts["is_superuser"] and not wrapper["used"])


def lacking_rights(asked: Asked, facts: dict[str, Any]) -> list[str]:
    """What the login would have to have for the statements and for the bridge's triggers."""
    if facts["is_superuser"]:
        return []
    extension = EXTENSIONS[asked.side]
    login_role = asked.sync_user if asked.side == "openwebui" else asked.timer_user
    found = [
        f"CREATEROLE, to create the role {name}"
        for name in (asked.owner_role, asked.program_role, login_role)
        if name and name not in facts["roles"] and not facts["may_create_roles"]
    ]
    if facts["schema_owner"] is None and not facts["may_create_schemas"]:
        found.append(f"CREATE on the database {facts['database']}")
    if facts["extension_schema"] is None and not (facts["extension_is_trusted"] and facts["may_create_schemas"]):
        found.append(f"superuser, to create the extension {extension} (or have an administrator create it)")
    owners = {
        table["owner"]
        for name, table in facts["tables"].items()
        if name in asked.required_tables and not table["is_mine"]
    }
    found += [f"membership in {owner}, which owns the tables" for owner in sorted(owners)]
    if _lacks_wrapper(asked, facts) and not facts["wrapper"]["may_grant"]:
        found.append("USAGE on the foreign data wrapper dblink_fdw WITH GRANT OPTION")
    for name in (asked.owner_role, asked.program_role):
        role = facts["roles"].get(name)
        if role and not role["login_is_member"] and not facts["may_create_roles"]:
            found.append(f"membership in {name}, which exists")
    return found


def sync_user_fits(facts: dict[str, Any], name: str) -> bool:
    """It may log in and has no attribute that would let it do more."""
    return _role(facts, name, "can_login") and not _role(facts, name, "has_attributes")
