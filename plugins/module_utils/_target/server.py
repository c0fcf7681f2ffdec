# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Creates, changes and drops the foreign server in LiteLLM's database, and the user mapping with the password.

The password is never part of a message or a result.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg, _secret
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._lock import deploying
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import SCHEMA, literal, quote
from ansible_collections.llmops.user_bridge.plugins.module_utils._target.connection import (
    ask_target,
    connection_problem,
)
from ansible_collections.llmops.user_bridge.plugins.module_utils._target.options import option_clause
from ansible_collections.llmops.user_bridge.plugins.module_utils._target.state import SERVER, State, read_state


@dataclass(frozen=True)
class Wanted:
    """What a run of C(state=present) asks for. verify: skip, connection or apply."""

    owner: str
    options: dict[str, str]
    user: str
    password: str
    verify: str
    check_mode: bool


@dataclass(frozen=True)
class Result:
    """What was done, or would be. Values hold no password."""

    database: str
    server: str
    user_mapping: str
    password: str
    options: dict[str, str]
    before: dict[str, str]
    after: dict[str, str]
    verified: dict[str, Any] | None = None

    @property
    def changed(self) -> bool:
        return self.server != "unchanged" or self.user_mapping != "unchanged"


def _digest(password: str) -> str:
    return hashlib.sha256(password.encode("utf-8")).hexdigest()


def plan(state: State, wanted: Wanted) -> Result:
    """Compare what there is with what is wanted."""
    if state.server_owner is None:
        server = "created"
    else:
        same = state.server_owner == wanted.owner and state.server_options == wanted.options
        server = "unchanged" if same else "updated"
    # A new mapping has a new password.
    if state.mapping_options is None:
        mapping, password = "created", "changed"
    else:
        same_password = hmac.compare_digest(state.password_digest, _digest(wanted.password))
        password = "unchanged" if same_password else "changed"
        mapping = "unchanged" if same_password and state.mapping_options == {"user": wanted.user} else "updated"
    before = {} if state.server_owner is None else {"owner": state.server_owner, **state.server_options}
    after = {"owner": wanted.owner, **wanted.options}
    if state.mapping_options is not None:
        before |= {"user": state.mapping_options.get("user", ""), "password": "(not shown)"}
    after |= {"user": wanted.user, "password": "(not shown)" if password == "unchanged" else "(not shown, a new one)"}
    return Result(state.database, server, mapping, password, wanted.options, before, after)


def present(connection: Any, wanted: Wanted) -> Result:
    """Create or change server and user mapping, and test the connection if asked to."""
    if not wanted.user:
        raise BridgeError("sync_user (bridge_sync_user) is empty; give the user that the bridge logs in as")
    if not wanted.password:
        raise BridgeError("sync_password (bridge_sync_password) is empty; give the password of the sync user")
    cur, version = _pg.cursor(connection), _pg.server_version(connection)
    with _pg.transaction(cur, read_only=True):
        role = _preflight(cur, wanted, version)
        state = _visible_state(cur, wanted.owner, role)
        result = plan(state, wanted)
        if result.password == "changed":
            _secret.refuse_to_show(cur, "the password of the sync user")
        if wanted.verify != "skip" and not result.changed:
            return replace(result, verified=verify(cur, state.extension_schema, wanted))
    if wanted.check_mode or not result.changed:
        return result
    with deploying(cur):
        state = _visible_state(cur, wanted.owner, role)
        result = plan(state, wanted)
        _apply(cur, state, wanted, role)
        if wanted.verify != "skip":
            # Before the commit: a connection that fails is rolled back.
            return replace(result, verified=verify(cur, state.extension_schema, wanted))
    return result


def _preflight(cur: Any, wanted: Wanted, server_version: int) -> str | None:
    """The role that may create and alter: the login itself as superuser, else the owner role."""
    become = _pg.may_become("r.oid", server_version)
    (row,) = _pg.rows(
        cur,
        "SELECT current_user::text AS login, current_database()::text AS database,"
        " (SELECT u.rolsuper FROM pg_roles AS u WHERE u.rolname = current_user) AS superuser,"
        f" (SELECT {become} FROM pg_roles AS r WHERE r.rolname = %(owner)s) AS member,"
        " (SELECT has_foreign_data_wrapper_privilege(r.oid, w.oid, 'USAGE')"
        "   FROM pg_roles AS r, pg_foreign_data_wrapper AS w"
        "   WHERE r.rolname = %(owner)s AND w.fdwname = 'dblink_fdw') AS may_use_wrapper,"
        " EXISTS (SELECT FROM pg_foreign_data_wrapper WHERE fdwname = 'dblink_fdw') AS has_wrapper,"
        " (SELECT pg_get_userbyid(s.srvowner)::text FROM pg_foreign_server AS s"
        f"   WHERE s.srvname = '{SERVER}') AS server_owner",
        {"owner": wanted.owner},
    )
    # In check mode the tasks before this one have created neither extension nor role.
    if not wanted.check_mode and not row["has_wrapper"]:
        raise BridgeError(
            f"database {row['database']} (login_db, bridge_litellm_db) lacks the extension dblink: "
            "run the role llmops.user_bridge.sync_user first; nothing was changed"
        )
    if not wanted.check_mode and row["member"] is None:
        raise BridgeError(
            f"role {wanted.owner} (owner, bridge_owner_role) does not exist: "
            "run the role llmops.user_bridge.sync_user first; nothing was changed"
        )
    if row["superuser"]:
        return None
    lacking = []
    if row["member"] is False:
        lacking.append(f"membership in role {wanted.owner} (GRANT {quote(wanted.owner)} TO it)")
    if row["server_owner"] is None and row["may_use_wrapper"] is False:
        lacking.append(f"GRANT USAGE ON FOREIGN DATA WRAPPER dblink_fdw TO {quote(wanted.owner)}")
    if row["server_owner"] not in (None, wanted.owner):
        lacking.append(f"server {SERVER} to belong to {wanted.owner} (it belongs to {row['server_owner']})")
    if lacking:
        raise BridgeError(
            f"login_user {row['login']} needs in database {row['database']}: {'; '.join(lacking)}; or use a superuser; "
            "nothing was changed"
        )
    return wanted.owner


def _visible_state(cur: Any, owner: str, role: str | None) -> State:
    """Read the state as the owner role, which sees the options of its user mapping."""
    exists = _pg.value(cur, "SELECT true FROM pg_roles WHERE rolname = %(owner)s", {"owner": owner})
    _pg.set_role(cur, role if exists else None)
    state = read_state(cur, owner)
    _pg.set_role(cur, None)
    if state.server_wrapper not in (None, "dblink_fdw"):
        raise BridgeError(
            f"server {SERVER} in database {state.database} is of the foreign data wrapper {state.server_wrapper}, "
            "so it is not the bridge's; rename or drop it; nothing was changed"
        )
    return state


def _apply(cur: Any, state: State, wanted: Wanted, role: str | None) -> None:
    _pg.set_role(cur, role)
    if state.server_owner is None:
        options = ", ".join(f"{quote(name)} {literal(value)}" for name, value in wanted.options.items())
        cur.execute(f"CREATE SERVER {SERVER} FOREIGN DATA WRAPPER dblink_fdw OPTIONS ({options})")
    else:
        clause = option_clause(state.server_options, wanted.options)
        if clause:
            cur.execute(f"ALTER SERVER {SERVER} OPTIONS ({clause})")
    if role is None and state.server_owner != wanted.owner:
        cur.execute(f"ALTER SERVER {SERVER} OWNER TO {quote(wanted.owner)}")
    _write_mapping(cur, state, wanted, role)


def _write_mapping(cur: Any, state: State, wanted: Wanted, role: str | None) -> None:
    mapping = f"USER MAPPING FOR {quote(wanted.owner)} SERVER {SERVER}"
    if state.mapping_options is None:
        cur.execute(f"CREATE {mapping} OPTIONS (user {literal(wanted.user)})")
    else:
        clause = option_clause(state.mapping_options, {"user": wanted.user})
        if clause:
            cur.execute(f"ALTER {mapping} OPTIONS ({clause})")
    if hmac.compare_digest(state.password_digest, _digest(wanted.password)):
        return
    verb = "SET" if state.password_digest else "ADD"
    _pg.set_role(cur, None)
    touch = f"ALTER {mapping} OPTIONS (SET user {literal(wanted.user)})"
    _secret.execute(cur, wanted.password, touch, (f"ALTER {mapping} OPTIONS ({verb} password ", ")"), role)


def absent(connection: Any, owner: str, check_mode: bool) -> Result:
    """Drop the server with all its user mappings; refuses while foreign tables use it."""
    cur, version = _pg.cursor(connection), _pg.server_version(connection)
    wanted = Wanted(owner, {}, "", "", "skip", True)
    with _pg.transaction(cur, read_only=True):
        state = _visible_state(cur, owner, None)
        if state.server_owner is None:
            return Result(state.database, "unchanged", "unchanged", "unchanged", {}, {}, {})
        role = _preflight(cur, wanted, version)
        _refuse_users(cur, state.database)
    before = {"owner": state.server_owner, **state.server_options, "user mappings": ", ".join(state.mapped_roles)}
    mapping, password = ("dropped", "changed") if state.mapped_roles else ("unchanged", "unchanged")
    if not check_mode:
        with deploying(cur):
            _pg.set_role(cur, role)
            for name in state.mapped_roles:
                cur.execute(f"DROP USER MAPPING FOR {'PUBLIC' if name == 'public' else quote(name)} SERVER {SERVER}")
            cur.execute(f"DROP SERVER {SERVER}")
    return Result(state.database, "dropped", mapping, password, {}, before, {})


def _refuse_users(cur: Any, database: str) -> None:
    tables = _pg.rows(
        cur,
        "SELECT t.ftrelid::regclass::text AS name FROM pg_foreign_table AS t JOIN pg_foreign_server AS s"
        f" ON s.oid = t.ftserver WHERE s.srvname = '{SERVER}' ORDER BY 1",
    )
    if tables:
        raise BridgeError(
            f"server {SERVER} in database {database} cannot be dropped, because foreign tables use it: "
            f"{', '.join(row['name'] for row in tables)}; drop these first; nothing was changed"
        )


def verify(cur: Any, extension_schema: str | None, wanted: Wanted) -> dict[str, Any]:
    """Connect as the bridge does, with the owner role's rights, and say what Open WebUI's server answers."""
    try:
        with _pg.savepoint(cur):
            _pg.set_role(cur, wanted.owner)
            found = ask_target(cur, extension_schema or SCHEMA)
            _pg.set_role(cur, None)
    except _pg.PgError as error:
        if not _pg.sqlstate(error):
            raise  # The connection to LiteLLM's server itself was lost.
        reason, remedy, cause = connection_problem(error, wanted.options, wanted.user)
        raise BridgeError(
            f"LiteLLM's server cannot connect to {wanted.options['host']}:{wanted.options['port']}"
            f"/{wanted.options['dbname']} as {wanted.user}: {reason}; {remedy}; nothing was changed",
            cause=cause,
        ) from None
    if wanted.verify == "apply" and not found["apply"]:
        raise BridgeError(
            f"{found['user']} cannot execute {SCHEMA}.apply in database {found['database']}: "
            "install Open WebUI's side of the bridge first (role llmops.user_bridge.triggers); nothing was changed"
        )
    return found
