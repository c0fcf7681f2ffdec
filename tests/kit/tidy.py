# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What belongs to a whole server is as at its start after each file of tests: which ran before makes no difference.

Databases are dropped with their pairs. Roles, what is set for them, slots and ALTER SYSTEM are not, and a test that
fails leaves them.
"""

from __future__ import annotations

import contextlib

from psycopg2 import sql

from kit.bridge import DRAINER_ROLE
from kit.cluster import SUPERUSER, Cluster
from kit.pairs import OWN_ROLES, SIDES, SYNC_USER, Session, drop_databases

_LOGINS = (*SIDES, SYNC_USER, DRAINER_ROLE)
_KEPT = [SUPERUSER, *_LOGINS, *OWN_ROLES]
_OTHERS = "SELECT rolname AS name FROM pg_roles WHERE rolname !~ '^pg_' AND rolname <> ALL (%s)"
_OWNING = """
SELECT DISTINCT d.datname AS name FROM pg_shdepend AS s JOIN pg_database AS d ON d.oid = s.dbid OR s.dbid = 0
 WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = %s::regrole AND d.datallowconn
"""
_DATABASES = "SELECT datname AS name FROM pg_database WHERE datdba = %s::regrole"
_CHANGED = """
SELECT rolname AS name FROM pg_roles
 WHERE rolname = ANY (%s) AND (rolconnlimit <> -1 OR rolcanlogin <> (rolname = ANY (%s)) OR rolsuper OR rolcreatedb
                               OR rolcreaterole OR rolreplication OR rolbypassrls OR rolvaliduntil < 'infinity')
"""
_SET = "SELECT setrole::regrole::text AS name FROM pg_db_role_setting WHERE setrole <> 0 AND setdatabase = 0"
_MEMBERS = """
SELECT roleid::regrole::text AS role, member::regrole::text AS name FROM pg_auth_members
 WHERE member IN (SELECT oid FROM pg_roles WHERE rolname = ANY (%s))
"""
_SLOTS = "SELECT slot_name AS name FROM pg_replication_slots WHERE NOT active"
_SYSTEM = "SELECT 1 FROM pg_file_settings WHERE sourcefile LIKE '%%/postgresql.auto.conf'"


def tidy(cluster: Cluster) -> list[str]:
    """Put away what was left; says what."""
    with contextlib.closing(Session(cluster.connect())) as session:
        done = []
        for name in _names(session, _OTHERS, [_KEPT]):
            _drop_role(cluster, session, name)
            done.append(f"role {name}")
        for name in _names(session, _CHANGED, [_KEPT[1:], list(_LOGINS)]):
            _run(
                session,
                "ALTER ROLE {} NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS CONNECTION LIMIT -1 "
                f"VALID UNTIL 'infinity' {'LOGIN' if name in _LOGINS else 'NOLOGIN'}",
                name,
            )
            done.append(f"attributes of {name}")
        for name in _names(session, _SET):
            session.run(f"ALTER ROLE {name} RESET ALL")
            done.append(f"settings of {name}")
        for row in session.rows(_MEMBERS, [_KEPT[1:]]):
            session.run(f"REVOKE {row['role']} FROM {row['name']}")
            done.append(f"{row['name']} in {row['role']}")
        for name in _names(session, _SLOTS):
            session.run("SELECT pg_drop_replication_slot(%s)", [name])
            done.append(f"slot {name}")
        if session.value(_SYSTEM):
            session.run("ALTER SYSTEM RESET ALL")
            session.run("SELECT pg_reload_conf()")
            done.append("ALTER SYSTEM")
    return done


def _names(session: Session, query: str, parameters: list[object] | None = None) -> list[str]:
    return [row["name"] for row in session.rows(query, parameters or [])]


def _drop_role(cluster: Cluster, session: Session, name: str) -> None:
    """With its databases, and what it owns and may do in others."""
    drop_databases(cluster, _names(session, _DATABASES, [_quoted(session, name)]))
    for database in _names(session, _OWNING, [_quoted(session, name)]):
        with contextlib.closing(Session(cluster.connect(database))) as inside:
            _run(inside, "DROP OWNED BY {} CASCADE", name)
    _run(session, "DROP ROLE IF EXISTS {}", name)


def _run(session: Session, statement: str, name: str) -> None:
    session.run(sql.SQL(statement).format(sql.Identifier(name)).as_string(session.raw))


def _quoted(session: Session, name: str) -> str:
    return sql.Identifier(name).as_string(session.raw)
