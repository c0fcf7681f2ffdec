# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Brings the bridge's SQL objects in one database to what is wanted.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._catalog.live import Live, live_objects
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._install.plan import (
    BOOKKEEPING_NAME,
    Change,
    Plan,
    Record,
    lines_of,
    plan_objects,
)
from ansible_collections.llmops.user_bridge.plugins.module_utils._lock import (
    LOCK_ERRORS,
    begin_deploy,
    lock_tables,
    locked,
    retry,
)
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import SCHEMA, Subject, quote
from ansible_collections.llmops.user_bridge.plugins.module_utils._settings.check import changed_settings
from ansible_collections.llmops.user_bridge.plugins.module_utils._sql_split import Definition
from ansible_collections.llmops.user_bridge.plugins.module_utils._version import is_newer

# The tables without which a database is not the one meant, the program, and the variable that names the database.
SIDES: dict[str, tuple[tuple[str, ...], str, str]] = {
    "litellm": (
        (
            "LiteLLM_OrganizationTable",
            "LiteLLM_TeamTable",
            "LiteLLM_UserTable",
            "LiteLLM_OrganizationMembership",
            "LiteLLM_VerificationToken",
        ),
        "LiteLLM",
        "bridge_litellm_db",
    ),
    "openwebui": (("user", "auth", "group"), "Open WebUI", "bridge_openwebui_db"),
}

_SETTINGS_NAME = f"{SCHEMA}.settings"
_DEPENDENT_OBJECTS = "2BP01"
# A new result type, default or column name: CREATE OR REPLACE refuses it.
_NOT_REPLACEABLE = ("42P13", "42P16")


@dataclass(frozen=True)
class Wanted:
    """What a run of C(state=present) asks for."""

    side: str
    owner: str
    version: str
    definitions: tuple[Definition, ...]
    settings: dict[str, Any]
    lock_timeout_ms: int
    check_mode: bool


def make_plan(cur: Any, wanted: Wanted, server_version: int) -> Plan:
    """Read the catalog and the bookkeeping inside a transaction of C(_pg.transaction), check, and compare."""
    database = _preflight(cur, wanted, server_version)
    live = live_objects(cur, wanted.owner)
    recorded = read_records(cur, live)
    version_before = _recorded_version(recorded, wanted, database)
    objects = plan_objects(wanted.definitions, live, recorded, wanted.owner, _pg.major_of(server_version))
    problems = [change.problem for change in objects if change.problem]
    if problems:
        raise BridgeError(
            f"database {database}: {'; '.join(problems)}. Tables hold data, so this is not repaired automatically: "
            "bring back what is missing by hand, or remove the bridge with state=absent and install it again; "
            "nothing was changed"
        )
    if version_before != wanted.version:
        action, reason = ("created", "new") if version_before is None else ("updated", "version changed")
        objects.append(Change("bridge", wanted.side, action, reason, version_before or "", wanted.version))
    else:
        objects.append(Change("bridge", wanted.side, "unchanged"))
    current = read_settings(cur, live) if wanted.settings else None
    return Plan(tuple(objects), changed_settings(current, wanted.settings), version_before, database)


def _recorded_version(recorded: dict[tuple[str, str], Record], wanted: Wanted, database: str) -> str | None:
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


def read_records(cur: Any, live: dict[tuple[str, str], Live]) -> dict[tuple[str, str], Record]:
    if ("table", BOOKKEEPING_NAME) not in live:
        return {}
    return {
        (row["kind"], row["name"]): Record(row["definition"], row["fingerprint"], row["server_major"], row["version"])
        for row in _pg.rows(
            cur, f"SELECT kind, name, definition, fingerprint, server_major, version FROM {BOOKKEEPING_NAME}"
        )
    }


def read_settings(cur: Any, live: dict[tuple[str, str], Live]) -> dict[str, Any] | None:
    """The stored settings, None while there are none."""
    if ("table", _SETTINGS_NAME) not in live:
        return None
    stored = _pg.value(cur, f"SELECT to_jsonb(s)::text FROM {_SETTINGS_NAME} AS s")
    return dict(json.loads(stored)) if stored else None


def _preflight(cur: Any, wanted: Wanted, server_version: int) -> str:
    """Find out everything that would make the run fail, before it changes anything."""
    tables, program, variable = SIDES[wanted.side]
    login = _login(cur, wanted.owner, server_version)
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
    missing = [name for name in dict.fromkeys((*tables, *triggered)) if name not in present]
    if missing:
        raise BridgeError(
            f"database {database} (login_db, {variable}) has no {', '.join(quote(name) for name in missing)}: "
            f"start {program} once on this database so that it creates its tables, or correct {variable}; "
            "nothing was changed"
        )
    lacking = _lacking(login, wanted.owner, wanted.check_mode)
    owners = sorted({present[name]["owner"] for name in triggered if not present[name]["mine"]})
    lacking += [f"membership in role {owner}, who owns tables of {program} (GRANT {quote(owner)})" for owner in owners]
    _refuse(lacking, str(login["login"]), database)
    return database


def _login(cur: Any, owner: str, server_version: int) -> dict[str, Any]:
    # PostgreSQL 16 tells the right to inherit a role from the right to become it.
    become = "pg_has_role(r.oid, 'USAGE')" + (" AND pg_has_role(r.oid, 'SET')" if server_version >= 160000 else "")
    (login,) = _pg.rows(
        cur,
        "SELECT current_user::text AS login, current_database()::text AS database,"
        f" (SELECT {become} FROM pg_roles AS r WHERE r.rolname = %(owner)s) AS member,"
        " (SELECT u.rolsuper FROM pg_roles AS u WHERE u.rolname = current_user) AS superuser,"
        " has_database_privilege(current_database(), 'CREATE') AS may_create_schema,"
        " (SELECT pg_has_role(n.nspowner, 'USAGE') FROM pg_namespace AS n"
        f" WHERE n.nspname = '{SCHEMA}') AS owns_schema",
        {"owner": owner},
    )
    return login


def _lacking(login: dict[str, Any], owner: str, check_mode: bool) -> list[str]:
    if login["member"] is None:
        # In check mode the role that creates it has not done so either.
        missing = f"role {owner} (owner, bridge_owner_role) to exist: run the role llmops.user_bridge.sync_user first"
        return [] if check_mode else [missing]
    lacking = []
    if not login["member"]:
        lacking.append(f"membership in role {owner} (GRANT {quote(owner)} TO it)")
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


def present(connection: Any, wanted: Wanted) -> Plan:
    """Bring the database to what is wanted. Without a difference nothing is written and no transaction id is used."""
    cur, version = _pg.cursor(connection), _pg.server_version(connection)
    with _pg.transaction(cur, read_only=True):
        plan = make_plan(cur, wanted, version)
    if wanted.check_mode or not plan.changed:
        return plan
    return retry(cur, lambda: _apply_present(cur, wanted, version))


def _apply_present(cur: Any, wanted: Wanted, server_version: int) -> Plan:
    with _pg.transaction(cur, read_only=False):
        begin_deploy(cur)
        cur.execute(f"SET LOCAL lock_timeout = {wanted.lock_timeout_ms}")
        # Another run may have finished while this one waited.
        plan = make_plan(cur, wanted, server_version)
        changes = [change for change in plan.objects if change.changed]
        triggers = [change for change in changes if change.kind == "trigger"]
        objects = [(change.definition, change.live) for change in changes if change.definition]
        others = [(definition, live) for definition, live in objects if definition.subject.kind != "trigger"]
        # The functions use each other in any order, so their bodies are checked when all of them are there.
        cur.execute("SET LOCAL check_function_bodies = off")
        for definition, live in others:
            _create(cur, definition, live, wanted.owner)
        cur.execute("SET LOCAL check_function_bodies = on")
        for definition, _live in others:
            if definition.subject.kind in ("function", "procedure"):
                _check_body(cur, definition, wanted.owner)
        if plan.settings or any(definition.subject.label == _SETTINGS_NAME for definition, _live in others):
            _write_settings(cur, plan.settings, wanted.owner)
        # Last, because LiteLLM waits from here to the commit. Only dropping a trigger locks out readers as well.
        mode = "ACCESS EXCLUSIVE" if any(change.live for change in triggers) else "SHARE ROW EXCLUSIVE"
        subjects = [source.subject for change in triggers for source in (change.live, change.definition) if source]
        lock_tables(cur, subjects, mode, wanted.lock_timeout_ms)
        for change in triggers:
            if change.live:
                _drop(cur, change.live.subject, wanted.owner)
            if change.definition:
                _create(cur, change.definition, None, wanted.owner)
        surplus = [c.live.subject for c in changes if c.action == "dropped" and c.live and c.kind != "trigger"]
        _drop_all(cur, surplus, wanted.owner)
        after = live_objects(cur, wanted.owner)
        _verify(changes, after, _pg.major_of(server_version))
        _write_records(cur, changes, after, wanted, _pg.major_of(server_version))
    return plan


def _become(cur: Any, subject: Subject, owner: str) -> None:
    """Our schema belongs to the owner role; a trigger on a table of LiteLLM is made by the login, who may."""
    _pg.set_role(cur, None if subject.schema != SCHEMA else owner)


def _create(cur: Any, definition: Definition, live: Live | None, owner: str) -> None:
    subject = definition.subject
    with _explained(subject, definition.source):
        if subject.kind == "schema":
            _create_schema(cur, live, owner)
            _pg.set_role(cur, owner)
            statements = definition.statements
        else:
            _become(cur, subject, owner)
            _create_object(cur, definition, live, owner)
            statements = definition.statements[1:]
        for statement in statements:
            cur.execute(statement.text)


@contextmanager
def _explained(subject: Subject, source: str) -> Iterator[None]:
    """Say which object a server error is about."""
    try:
        yield
    except _pg.PgError as error:
        if _pg.sqlstate(error) in LOCK_ERRORS:
            raise locked(subject) from None
        raise BridgeError(
            f"{subject.kind} {subject.label} ({source}) could not be installed: {_pg.describe(error)}; "
            "nothing was changed"
        ) from None


def _check_body(cur: Any, definition: Definition, owner: str) -> None:
    subject = definition.subject
    _become(cur, subject, owner)
    with _explained(subject, definition.source):
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
    """Run the CREATE and take the privileges and the comment back to the default, from which the statements go on."""
    subject, create = definition.subject, definition.statements[0].text
    if live and live.owner != owner:
        _pg.set_role(cur, None)
        cur.execute(f"ALTER {subject.kind} {subject.identity} OWNER TO {quote(owner)}")
        _pg.set_role(cur, owner)
    if live and subject.kind == "index":
        _drop(cur, subject, owner)
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
    if subject.kind in ("function", "procedure"):
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
    if subject.kind in ("function", "procedure"):
        # PostgreSQL's default lets everybody execute it, the sync user included, who has USAGE on the schema.
        cur.execute(f"REVOKE ALL ON {target} FROM PUBLIC")
    if found:
        cur.execute(f"REVOKE ALL ON {target} FROM {', '.join(row['grantee'] for row in found)} CASCADE")
        cur.execute(f"GRANT ALL ON {target} TO {quote(owner)}")


def _drop(cur: Any, subject: Subject, owner: str) -> None:
    _become(cur, subject, owner)
    cur.execute(f"DROP {subject.kind} {subject.identity}")


def _drop_all(cur: Any, subjects: list[Subject], owner: str) -> None:
    """Drop without CASCADE, in whatever order the dependencies among them allow."""
    waiting, error = list(subjects), None
    while waiting:
        left = []
        for subject in waiting:
            _become(cur, subject, owner)
            try:
                with _pg.savepoint(cur):
                    cur.execute(f"DROP {subject.kind} IF EXISTS {subject.identity}")
            except _pg.PgError as failure:
                if _pg.sqlstate(failure) in LOCK_ERRORS:
                    raise locked(subject) from None
                if _pg.sqlstate(failure) != _DEPENDENT_OBJECTS:
                    raise
                left.append(subject)
                error = failure
        if error and len(left) == len(waiting):
            raise BridgeError(
                f"{left[0].kind} {left[0].label} is no longer part of the bridge, but cannot be dropped: "
                f"{_pg.describe(error)}; drop what uses it first; nothing was changed"
            )
        waiting = left


def _verify(changes: list[Change], after: dict[tuple[str, str], Live], server_major: str) -> None:
    for change in changes:
        if change.definition is None:
            continue
        found = after.get((change.kind, change.name))
        if found is None:
            raise BridgeError(
                f"{change.kind} {change.name} ({change.definition.source}) was applied, but the catalog does not have "
                "it under this name; spell its argument types as PostgreSQL shows them; nothing was changed"
            )
        record = change.record
        comparable = change.action == "repaired" and record and record.server_major == server_major
        if comparable and record and change.kind != "schema" and record.definition == change.definition.text:
            wrong = lines_of(record.fingerprint) ^ lines_of(found.fingerprint)
            if wrong:
                raise BridgeError(
                    f"{change.kind} {change.name} was re-applied, but still differs from what was recorded: "
                    f"{'; '.join(sorted(wrong)[:5])}; set it right by hand; nothing was changed"
                )


def _write_settings(cur: Any, settings: dict[str, tuple[Any, Any]], owner: str) -> None:
    _pg.set_role(cur, owner)
    try:
        if not _pg.value(cur, f"SELECT true FROM {_SETTINGS_NAME}"):
            cur.execute(f"INSERT INTO {_SETTINGS_NAME} DEFAULT VALUES")
        if settings:
            columns = ", ".join(quote(name) for name in settings)
            cur.execute(
                f"UPDATE {_SETTINGS_NAME} SET ({columns}) = (SELECT {columns}"
                f" FROM jsonb_populate_record(NULL::{_SETTINGS_NAME}, %(values)s::jsonb))",
                {"values": json.dumps({name: after for name, (_before, after) in settings.items()})},
            )
    except _pg.PgError as error:
        raise BridgeError(f"the settings could not be stored: {_pg.describe(error)}; nothing was changed") from None


def _write_records(
    cur: Any, changes: list[Change], after: dict[tuple[str, str], Live], wanted: Wanted, server_major: str
) -> None:
    _pg.set_role(cur, wanted.owner)
    kept, gone = [], []
    for change in changes:
        if change.action == "dropped":
            gone.append({"kind": change.kind, "name": change.name})
        elif change.kind != "schema" or (change.definition and change.definition.statements):
            kept.append(
                {
                    "kind": change.kind,
                    "name": change.name,
                    "definition": change.definition.text if change.definition else "",
                    "fingerprint": after[change.kind, change.name].fingerprint if change.definition else "",
                    "server_major": server_major,
                    "version": wanted.version,
                }
            )
    cur.execute(
        f"DELETE FROM {BOOKKEEPING_NAME} AS o USING jsonb_to_recordset(%(gone)s::jsonb) AS g(kind text, name text)"
        " WHERE (o.kind, o.name) = (g.kind, g.name)",
        {"gone": json.dumps(gone)},
    )
    cur.execute(
        f"INSERT INTO {BOOKKEEPING_NAME} AS o (kind, name, definition, fingerprint, server_major, version)"
        " SELECT kind, name, definition, fingerprint, server_major, version FROM jsonb_to_recordset(%(kept)s::jsonb)"
        " AS k(kind text, name text, definition text, fingerprint text, server_major text, version text)"
        " ON CONFLICT (kind, name) DO UPDATE SET (definition, fingerprint, server_major, version, applied_at)"
        " = (excluded.definition, excluded.fingerprint, excluded.server_major, excluded.version, now())",
        {"kept": json.dumps(kept)},
    )
