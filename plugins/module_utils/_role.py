# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Creates a role that logs in, gives one its attributes and its password, or takes one away.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import Any, Callable, TypeVar

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg, _secret
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import literal, quote
from ansible_collections.llmops.user_bridge.plugins.module_utils._verifier import has_password

_Result = TypeVar("_Result")
_ATTEMPTS = 8
# Roles belong to the whole server, and so to other hosts of the play: two sessions that alter one role at the same time
# meet "tuple concurrently updated" (an internal error), a unique key, a role that is gone, or the short lock timeout of
# what has a password.
_BY_OTHERS = ("XX000", "23505", "42704", _pg.LOCK_NOT_AVAILABLE)

# What a login of the bridge's must not have, by the column that says so.
_RESTRICTED = {
    "rolsuper": "NOSUPERUSER",
    "rolcreatedb": "NOCREATEDB",
    "rolcreaterole": "NOCREATEROLE",
    "rolreplication": "NOREPLICATION",
    "rolbypassrls": "NOBYPASSRLS",
}


@dataclass(frozen=True)
class Wanted:
    """What is asked for. restricted: without the attributes above. blind: set a password that cannot be compared.

    connection_limit: None leaves it as it is.
    """

    name: str
    password: str
    restricted: bool
    blind: bool
    connection_limit: int | None = None


@dataclass(frozen=True)
class Plan:
    """What there is to do: attributes as ALTER ROLE wants them."""

    exists: bool
    attributes: tuple[str, ...]
    sets_password: bool

    @property
    def changed(self) -> bool:
        return not self.exists or bool(self.attributes) or self.sets_password


def ensure(connection: Any, wanted: Wanted, check_mode: bool) -> Plan:
    """Make the role what is wanted; says what was done, or would be."""
    if not wanted.name:
        raise BridgeError("name is empty; give the role that is to log in")
    return _once_alone(lambda: _ensure(connection, wanted, check_mode))


def _once_alone(attempt: Callable[[], _Result]) -> _Result:
    """Repeat, from the look on, what another session has prevented; the pauses of two are not alike."""
    for number in range(1, _ATTEMPTS):
        try:
            return attempt()
        except _pg.PgError as error:
            if _pg.sqlstate(error) not in _BY_OTHERS:
                raise
        time.sleep(random.uniform(0.5, 1) * min(0.05 * 2**number, 1))
    return attempt()


def _ensure(connection: Any, wanted: Wanted, check_mode: bool) -> Plan:
    cur = _pg.cursor(connection)
    with _pg.transaction(cur, read_only=True):
        plan = _plan(cur, wanted)
        if plan.sets_password:
            _secret.refuse_to_show(cur, f'the password of "{wanted.name}"')
    if plan.changed and not check_mode:
        try:
            _write(connection, cur, wanted, plan)
        except _pg.PgError as error:
            if _pg.sqlstate(error) != _pg.INSUFFICIENT_PRIVILEGE:
                raise
            login = _pg.value(cur, "SELECT current_user")
            raise BridgeError(
                f'login_user {login} may not create or alter the role "{wanted.name}": {_pg.describe(error)}; it needs '
                "CREATEROLE and, for a role that exists, on PostgreSQL 16 and newer its ADMIN OPTION; "
                "nothing was changed"
            ) from None
        _end_surplus(cur, wanted)
    return plan


def _write(connection: Any, cur: Any, wanted: Wanted, plan: Plan) -> None:
    with _pg.transaction(cur, read_only=False):
        _create(cur, wanted, plan)
        if plan.sets_password:
            alter = f"ALTER ROLE {quote(wanted.name)}"
            stored = _pg.verifier(connection, wanted.name, wanted.password)
            _secret.execute(cur, stored, alter, (f"{alter} PASSWORD ", ""))


def _end_surplus(cur: Any, wanted: Wanted) -> None:
    """A limit counts for new sessions only. The bridge opens those that wait for work again when they have some."""
    if wanted.connection_limit is None or wanted.connection_limit < 0:
        return
    try:
        with _pg.transaction(cur, read_only=False):
            cur.execute(
                "SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity AS a WHERE a.usename = %(name)s"
                " AND a.state = 'idle'"
                " AND (SELECT count(*) FROM pg_stat_activity WHERE usename = %(name)s) > %(limit)s",
                {"name": wanted.name, "limit": wanted.connection_limit},
            )
    except _pg.PgError as error:
        # They end by themselves, only later.
        if _pg.sqlstate(error) != _pg.INSUFFICIENT_PRIVILEGE:
            raise


def shown(wanted: Wanted, plan: Plan) -> dict[str, str]:
    """What the role lacks and gets, as before and after of a diff. The password is not shown."""
    gets = ([] if plan.exists else ["LOGIN"]) + list(plan.attributes)
    if plan.sets_password:
        gets.append("password: (not shown, a new one)")
    return {"before": "", "after": "".join(f"{each}\n" for each in gets)}


def _plan(cur: Any, wanted: Wanted) -> Plan:
    found = _pg.rows(
        cur,
        f"SELECT rolcanlogin, rolconnlimit, {', '.join(_RESTRICTED)},"
        " has_table_privilege('pg_authid', 'SELECT') AS readable FROM pg_roles WHERE rolname = %(name)s",
        {"name": wanted.name},
    )
    if not found:
        return Plan(False, tuple(_limit(wanted, -1)), bool(wanted.password))
    (role,) = found
    attributes = [] if role["rolcanlogin"] else ["LOGIN"]
    if wanted.restricted:
        attributes += [attribute for column, attribute in _RESTRICTED.items() if role[column]]
    attributes += _limit(wanted, role["rolconnlimit"])
    return Plan(True, tuple(attributes), _sets_password(cur, wanted, role["readable"]))


def _limit(wanted: Wanted, now: int) -> list[str]:
    differs = wanted.connection_limit is not None and wanted.connection_limit != now
    return [f"CONNECTION LIMIT {wanted.connection_limit}"] if differs else []


def _sets_password(cur: Any, wanted: Wanted, readable: bool) -> bool:
    if not wanted.password:
        return False
    return has_password(cur, wanted.name, wanted.password) is not True if readable else wanted.blind


def _create(cur: Any, wanted: Wanted, plan: Plan) -> None:
    role = quote(wanted.name)
    if not plan.exists:
        # Another host of the play may create it at the same time, for another bridge on this server.
        body = f"BEGIN CREATE ROLE {role} LOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END"
        cur.execute(f"DO {literal(body)}")
    if plan.attributes:
        cur.execute(f"ALTER ROLE {role} {' '.join(plan.attributes)}")


@dataclass(frozen=True)
class Removal:
    """What a role has in this database, and which other databases of the server use it."""

    exists: bool
    used_here: bool = False
    used_by: tuple[str, ...] = ()
    usable: bool = True

    @property
    def changed(self) -> bool:
        return self.exists and (self.used_here or not self.used_by)

    @property
    def done(self) -> str:
        return "unchanged" if not self.exists else "kept" if self.used_by else "dropped"


_USES = """
SELECT pg_has_role(r.oid, 'USAGE') AS usable,
       coalesce(bool_or(u.oid = here.oid), false) AS used_here,
       coalesce(array_agg(DISTINCT u.datname::text) FILTER (WHERE u.oid <> here.oid), '{}') AS used_by
  FROM pg_roles AS r
  JOIN pg_database AS here ON here.datname = current_database()
  LEFT JOIN pg_shdepend AS d ON d.refclassid = 'pg_authid'::regclass AND d.refobjid = r.oid
  LEFT JOIN pg_database AS u
         ON u.oid = CASE WHEN d.classid = 'pg_database'::regclass THEN d.objid ELSE d.dbid END
 WHERE r.rolname = %(name)s GROUP BY r.oid"""


# What DROP OWNED would take along: the role may be another bridge's, too, or somebody's own there.
_ELSEWHERE = """
SELECT d.datname::text AS database,
       bool_and(has_database_privilege(d.oid, a.privilege_type || ' WITH GRANT OPTION')) AS grantable,
       'GRANT ' || string_agg(a.privilege_type, ', ') || ' ON DATABASE ' || quote_ident(d.datname) || ' TO '
           || quote_ident(r.rolname) || CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END AS statement
  FROM pg_roles AS r, pg_database AS d, aclexplode(d.datacl) AS a
 WHERE r.rolname = %(name)s AND a.grantee = r.oid AND d.datdba <> r.oid AND d.datname <> current_database()
 GROUP BY d.datname, r.rolname, a.is_grantable ORDER BY 1"""


def _drop_owned(cur: Any, name: str) -> None:
    """In this database; rights on the others stay."""
    elsewhere = _pg.rows(cur, _ELSEWHERE, {"name": name})
    lacking = [row["database"] for row in elsewhere if not row["grantable"]]
    if lacking:
        login = _pg.value(cur, "SELECT current_user")
        raise BridgeError(
            f'login_user {login} cannot take from the role "{name}" what it has in this database alone: it may not '
            f"give back its rights on {', '.join(lacking)}; use a superuser or the owner of these databases, or revoke "
            "them first; nothing was changed"
        )
    cur.execute(f"DROP OWNED BY {quote(name)}")
    for row in elsewhere:
        cur.execute(row["statement"])


def absent(connection: Any, name: str, check_mode: bool) -> Removal:
    """Drop what a role owns and was granted in this database, and the role itself unless another database uses it."""
    return _once_alone(lambda: _absent(connection, name, check_mode))


def _absent(connection: Any, name: str, check_mode: bool) -> Removal:
    cur = _pg.cursor(connection)
    with _pg.transaction(cur, read_only=True):
        found = _uses(cur, name)
    if check_mode or not found.changed:
        return found
    with _pg.transaction(cur, read_only=False):
        _alone_with(cur, name)
        found = _uses(cur, name)
        role = quote(name)
        if found.used_here:
            if not found.usable:
                # A login that is no superuser has to be a member; that goes with the role.
                cur.execute(f"GRANT {role} TO CURRENT_USER")
            _drop_owned(cur, name)
        if not found.used_by:
            cur.execute(f"DROP ROLE {role}")
    return found


def _alone_with(cur: Any, name: str) -> None:
    """Until the transaction ends nobody else removes this role, from whichever database: each would see what the other
    has there still, and leave the role to him. COMMENT has a lock for that which the whole server knows.
    """
    role = {"name": name}
    comment = _pg.value(cur, "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = %(name)s", role)
    try:
        with _pg.savepoint(cur):
            cur.execute(f"COMMENT ON ROLE {quote(name)} IS {'NULL' if comment is None else literal(comment)}")
    except _pg.PgError as error:
        # Who may not comment on it may not drop it either.
        if _pg.sqlstate(error) != _pg.INSUFFICIENT_PRIVILEGE:
            raise


def _uses(cur: Any, name: str) -> Removal:
    for row in _pg.rows(cur, _USES, {"name": name}):
        return Removal(True, row["used_here"], tuple(row["used_by"]), row["usable"])
    return Removal(False)
