# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Creates and drops single objects as the role that owns them.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._catalog.live import Live
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._install.definitions import Definition
from ansible_collections.llmops.user_bridge.plugins.module_utils._lock import explained
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import ROUTINES, SCHEMA, Roles, Subject, quote

_DEPENDENT_OBJECTS = "2BP01"
# CREATE OR REPLACE cannot change a result type, a default or the name of a column.
_NOT_REPLACEABLE = ("42P13", "42P16")


def become(cur: Any, subject: Subject, owner: str) -> None:
    """Act as the owner role, or as the login for a trigger on a program's table, which only its owner can create."""
    _pg.set_role(cur, None if subject.schema != SCHEMA else owner)


def let_create(cur: Any, roles: Roles) -> None:
    """Let the program role create functions until forbid_create(), which the same transaction executes."""
    _pg.set_role(cur, roles.owner)
    cur.execute(f"GRANT USAGE, CREATE ON SCHEMA {SCHEMA} TO {quote(roles.program)}")


def forbid_create(cur: Any, roles: Roles) -> None:
    """Takes CREATE on the schema back: code that runs as the program role must not replace a function."""
    _pg.set_role(cur, roles.owner)
    cur.execute(f"REVOKE CREATE ON SCHEMA {SCHEMA} FROM {quote(roles.program)}")


def create(cur: Any, definition: Definition, live: Live | None, owner: str) -> None:
    """Create or replace one object with all its statements; live is the object that is there."""
    subject = definition.subject
    owner = definition.role or owner
    with _installing(definition):
        if subject.kind == "schema":
            _create_schema(cur, live, owner)
            _pg.set_role(cur, owner)
            statements = definition.statements
        else:
            become(cur, subject, owner)
            _create_object(cur, definition, live, owner)
            statements = definition.statements[1:]
        for statement in statements:
            cur.execute(statement.text)


def _installing(definition: Definition) -> AbstractContextManager[None]:
    subject = definition.subject
    return explained(
        subject,
        f"{subject.kind} {subject.label} ({definition.source}) could not be installed",
        without_function="if an extension has it, run the role llmops.user_bridge.sync_user first",
    )


def check_body(cur: Any, definition: Definition, owner: str) -> None:
    """Check the body of a function, which CREATE did not: the functions use each other in any order."""
    subject = definition.subject
    become(cur, subject, definition.role or owner)
    with _installing(definition):
        found = _pg.rows(
            cur,
            "SELECT l.lanvalidator::regproc::text AS validator, p.oid::text AS oid"
            " FROM pg_proc AS p JOIN pg_language AS l ON l.oid = p.prolang"
            " WHERE p.oid = %(name)s::regprocedure AND l.lanvalidator <> 0",
            {"name": subject.identity},
        )
        for row in found:
            cur.execute(f"SELECT {row['validator']}({row['oid']})")


def _create_schema(cur: Any, live: Live | None, owner: str) -> None:
    _pg.set_role(cur, None)
    if live is None:
        cur.execute(f"CREATE SCHEMA {SCHEMA} AUTHORIZATION {quote(owner)}")
    elif live.owner != owner:
        cur.execute(f"ALTER SCHEMA {SCHEMA} OWNER TO {quote(owner)}")


def _create_object(cur: Any, definition: Definition, live: Live | None, owner: str) -> None:
    """Run the CREATE and reset privileges and comment to the defaults that the following statements expect."""
    subject, create = definition.subject, definition.statements[0].text
    if live and live.owner != owner:
        _pg.set_role(cur, None)
        cur.execute(f"ALTER {subject.kind} {subject.identity} OWNER TO {quote(owner)}")
        _pg.set_role(cur, owner)
    if live and subject.kind == "index":
        drop(cur, subject, owner)
    try:
        with _pg.savepoint(cur):
            cur.execute(create)
    except _pg.PgError as error:
        if live is None or _pg.sqlstate(error) not in _NOT_REPLACEABLE:
            raise
        cur.execute(f"DROP {subject.kind} {subject.identity}")
        cur.execute(create)
    if subject.kind not in ("index", "trigger"):
        _reset_privileges(cur, subject, owner)
    if live and "\ncomment: " in live.fingerprint:
        cur.execute(f"COMMENT ON {subject.kind} {subject.identity} IS NULL")


def _reset_privileges(cur: Any, subject: Subject, owner: str) -> None:
    """Undo every grant, those of ALTER DEFAULT PRIVILEGES included, so that only the definition's own remain."""
    if subject.kind in ROUTINES:
        target = f"{subject.kind} {subject.identity}"
        source = "SELECT proacl AS acl FROM pg_proc WHERE oid = %(name)s::regprocedure"
    else:
        target = f"{'sequence' if subject.kind == 'sequence' else 'table'} {subject.identity}"
        source = (
            "SELECT relacl AS acl FROM pg_class WHERE oid = %(name)s::regclass"
            " UNION ALL SELECT attacl FROM pg_attribute WHERE attrelid = %(name)s::regclass"
        )
    found = _pg.rows(
        cur,
        "SELECT DISTINCT CASE x.grantee WHEN 0 THEN 'PUBLIC'"
        " ELSE quote_ident(pg_get_userbyid(x.grantee)) END AS grantee"
        f" FROM ({source}) AS a, aclexplode(a.acl) AS x",
        {"name": subject.identity},
    )
    if subject.kind in ROUTINES:
        # By default PUBLIC may execute functions, so the sync user could, who has USAGE on the schema.
        cur.execute(f"REVOKE ALL ON {target} FROM PUBLIC")
    if found:
        cur.execute(f"REVOKE ALL ON {target} FROM {', '.join(row['grantee'] for row in found)} CASCADE")
        cur.execute(f"GRANT ALL ON {target} TO {quote(owner)}")


def drop(cur: Any, subject: Subject, owner: str) -> None:
    """Drop one object, which must be there and unused."""
    become(cur, subject, owner)
    cur.execute(f"DROP {subject.kind} {subject.identity}")


def drop_all(cur: Any, subjects: list[Subject], owner: str) -> None:
    """Drop without CASCADE, in whatever order the dependencies among them allow."""
    waiting = list(subjects)
    while waiting:
        left = [(subject, error) for subject in waiting if (error := _drop_if_unused(cur, subject, owner))]
        if len(left) == len(waiting):
            subject, error = left[0]
            raise BridgeError(
                f"{subject.kind} {subject.label} is no longer part of the bridge, but cannot be dropped: "
                f"{error}; drop what uses it first; nothing was changed"
            )
        waiting = [subject for subject, _error in left]


def _drop_if_unused(cur: Any, subject: Subject, owner: str) -> str:
    """Drop one object; returns what the server says where others depend on it."""
    become(cur, subject, owner)
    with explained(subject, f"{subject.kind} {subject.label} could not be dropped"):
        try:
            with _pg.savepoint(cur):
                cur.execute(f"DROP {subject.kind} IF EXISTS {subject.identity}")
        except _pg.PgError as error:
            if _pg.sqlstate(error) != _DEPENDENT_OBJECTS:
                raise
            return _pg.describe(error)
    return ""
