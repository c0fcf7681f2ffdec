# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds out everything that would make an installation fail, before it changes anything.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._catalog.records import Record
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._install.plan import Wanted
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import (
    PROGRAM_ROLE_VARIABLES,
    PROGRAMS,
    SCHEMA,
    Roles,
    quote,
)
from ansible_collections.llmops.user_bridge.plugins.module_utils._version import is_newer


def preflight(cur: Any, wanted: Wanted, server_version: int) -> str:
    """Refuse what the login or the database lacks; returns the name of the database."""
    program, variable = PROGRAMS[wanted.side], f"bridge_{wanted.side}_db"
    login = _login(cur, wanted.roles, server_version)
    database = str(login["database"])
    present = {
        row["name"]: row
        for row in _pg.rows(
            cur,
            "SELECT c.relname::text AS name, pg_get_userbyid(c.relowner)::text AS owner,"
            " pg_has_role(c.relowner, 'USAGE') AS mine"
            " FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
            " WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p')",
        )
    }
    subjects = [definition.subject for definition in wanted.definitions]
    triggered = [subject.table for subject in subjects if subject.kind == "trigger" and subject.schema != SCHEMA]
    needed = [name for name in (*wanted.required_tables, *triggered) if name not in wanted.optional_tables]
    missing = [name for name in dict.fromkeys(needed) if name not in present]
    if missing:
        raise BridgeError(
            f"database {database} (login_db, {variable}) has no {', '.join(quote(name) for name in missing)}: "
            f"start {program} once on this database so that it creates its tables, or correct {variable}; "
            "nothing was changed"
        )
    lacking = _lacking(login, wanted)
    owners = sorted({present[name]["owner"] for name in triggered if name in present and not present[name]["mine"]})
    lacking += [f"membership in role {owner}, who owns tables of {program} (GRANT {quote(owner)})" for owner in owners]
    _refuse(lacking, str(login["login"]), database)
    return database


def _login(cur: Any, roles: Roles, server_version: int) -> dict[str, Any]:
    become = _pg.may_become("r.oid", server_version)
    (login,) = _pg.rows(
        cur,
        "SELECT current_user::text AS login, current_database()::text AS database,"
        f" (SELECT {become} FROM pg_roles AS r WHERE r.rolname = %(owner)s) AS becomes_owner,"
        f" (SELECT {become} FROM pg_roles AS r WHERE r.rolname = %(program)s) AS becomes_program,"
        " has_database_privilege(current_database(), 'CREATE') AS may_create_schema,"
        " (SELECT pg_has_role(n.nspowner, 'USAGE') FROM pg_namespace AS n"
        f" WHERE n.nspname = '{SCHEMA}') AS owns_schema",
        {"owner": roles.owner, "program": roles.program},
    )
    return login


def _lacking(login: dict[str, Any], wanted: Wanted) -> list[str]:
    own = (
        (wanted.roles.owner, "owner, bridge_owner_role", login["becomes_owner"]),
        (wanted.roles.program, f"program_role, {PROGRAM_ROLE_VARIABLES[wanted.side]}", login["becomes_program"]),
    )
    missing = [f"role {role} ({option})" for role, option, becomes in own if becomes is None]
    if missing:
        # In check mode the role sync_user has not created it.
        remedy = f"{' and '.join(missing)} to exist: run the role llmops.user_bridge.sync_user first"
        return [] if wanted.check_mode else [remedy]
    lacking = [
        f"membership in role {role} (GRANT {quote(role)} TO it)" for role, _option, becomes in own if not becomes
    ]
    if login["owns_schema"] is None and not login["may_create_schema"]:
        lacking.append(f"CREATE on the database, or schema {SCHEMA} created beforehand")
    if login["owns_schema"] is False:
        lacking.append(f"ownership of schema {SCHEMA}")
    return lacking


def _refuse(lacking: list[str], login: str, database: str) -> None:
    if lacking:
        raise BridgeError(
            f"login_user {login} needs in database {database}: {'; '.join(lacking)}; or use a superuser; "
            "nothing was changed"
        )


def recorded_version(recorded: dict[tuple[str, str], Record], wanted: Wanted, database: str) -> str | None:
    """The version that is installed, None without one; refuses another side's database and a newer version."""
    for kind, side in recorded:
        if kind == "bridge" and side != wanted.side:
            raise BridgeError(
                f"database {database} holds the {side} side of the bridge already; the two sides need two databases: "
                "check bridge_litellm_db and bridge_openwebui_db (login_db); nothing was changed"
            )
    record = recorded.get(("bridge", wanted.side))
    if record and is_newer(record.version, than=wanted.version):
        raise BridgeError(
            f"database {database} has version {record.version} of the bridge, which is newer than {wanted.version} "
            "(version); update the collection llmops.user_bridge on the control node; nothing was changed"
        )
    return record.version if record else None
