# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bridge without Ansible, for tests of its SQL: the same templates, roles and grants, applied in plain SQL."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jinja2
import psycopg2.extras
import yaml
from psycopg2 import sql

from kit.common import REPO
from kit.pairs import OWNER_ROLE, PASSWORDS, SYNC_USER, Pair, Session, Side, ensure_login

TEMPLATES = REPO / "roles" / "triggers" / "templates"
SCHEMA = "user_bridge"
SERVER = "user_bridge_target"
REGISTRY: dict[str, Any] = yaml.safe_load((TEMPLATES / "entities" / "registry.yml").read_text(encoding="utf-8"))
SETTINGS: dict[str, Any] = yaml.safe_load((TEMPLATES / "settings.yml").read_text(encoding="utf-8"))["settings"]
Mutate = Callable[[str, str], str]


def environment() -> jinja2.Environment:
    """As Ansible renders: an unknown variable is an error."""
    loader = jinja2.FileSystemLoader(TEMPLATES)
    return jinja2.Environment(
        loader=loader, undefined=jinja2.StrictUndefined, keep_trailing_newline=True, trim_blocks=True
    )


def render_sql(side: Side, **variables: Any) -> dict[str, str]:
    """Path below templates/ to SQL, in the order in which the files are applied."""
    templates = environment()
    values = {
        "dblink_schema": SCHEMA,
        "pgcrypto_schema": SCHEMA,
        "owner_role": OWNER_ROLE,
        "sync_user": SYNC_USER,
        "registry": REGISTRY,
        "settings": SETTINGS,
        **variables,
    }
    return {path: templates.get_template(path).render(values) for path in template_paths(side)}


def template_paths(side: Side) -> list[str]:
    """As the role triggers orders them: tables and types first, triggers on the programs' tables last."""
    first, last = f"engine/{side}/state.sql.j2", f"engine/{side}/triggers.sql.j2"
    folders = [f"entities/{name}/{side}" for name, sides in REGISTRY["folders"].items() if side in sides]
    paths = [
        path.relative_to(TEMPLATES).as_posix()
        for folder in (f"engine/{side}", *folders)
        for path in (TEMPLATES / folder).glob("*.sql.j2")
    ]
    return sorted(paths, key=lambda path: (path != first, path == last, path))


_planted: list[Mutate | None] = [None]


@contextlib.contextmanager
def planted(mutate: Mutate) -> Iterator[None]:
    """Every bridge installed inside the with block is this mutant, whoever installs it."""
    _planted.append(mutate)
    try:
        yield
    finally:
        _planted.pop()


def install_bridge(
    pair: Pair,
    settings: Mapping[str, Any] | None = None,
    mutate: Mutate | None = None,
    server_options: Mapping[str, str] | None = None,
) -> None:
    """Install, or install again, on both sides. `mutate` may change each file's SQL before it is applied."""
    chosen = dict(settings or {})
    mutate = mutate or _planted[-1]
    _prepare_openwebui(pair)
    _apply(pair.openwebui_admin, "openwebui", mutate)
    _prepare_litellm(pair, int(chosen.get("target_timeout_ms", 2000)), server_options or {})
    _apply(pair.litellm_admin, "litellm", mutate)
    _write_settings(pair.litellm_admin, chosen)


def _prepare_openwebui(pair: Pair) -> None:
    session = pair.openwebui_admin
    _ensure_owner(session)
    ensure_login(pair.cluster, SYNC_USER)
    _ensure_schema(session, "pgcrypto")
    session.run(f'GRANT CONNECT ON DATABASE "{pair.openwebui_db}" TO "{SYNC_USER}"')
    session.run(f'GRANT USAGE ON SCHEMA {SCHEMA} TO "{SYNC_USER}"')
    session.run(f'GRANT USAGE ON SCHEMA public TO "{OWNER_ROLE}"')
    rights = ", ".join(REGISTRY["sides"]["openwebui"]["privileges"])
    for table in REGISTRY["sides"]["openwebui"]["tables"]:
        if session.value("SELECT to_regclass(%s)", [f'public."{table}"']):
            session.run(f'GRANT {rights} ON public."{table}" TO "{OWNER_ROLE}"')
    session.run(
        f'ALTER DEFAULT PRIVILEGES FOR ROLE openwebui IN SCHEMA public GRANT {rights} ON TABLES TO "{OWNER_ROLE}"'
    )


def _prepare_litellm(pair: Pair, target_timeout_ms: int, overrides: Mapping[str, str]) -> None:
    session = pair.litellm_admin
    _ensure_owner(session)
    _ensure_schema(session, "dblink")
    session.run(f'GRANT USAGE ON SCHEMA public TO "{OWNER_ROLE}"')
    for table in REGISTRY["sides"]["litellm"]["tables"]:
        session.run(f'GRANT SELECT ON public."{table}" TO "{OWNER_ROLE}"')
    session.run(f'GRANT USAGE ON FOREIGN DATA WRAPPER dblink_fdw TO "{OWNER_ROLE}"')
    options = {
        "host": pair.cluster.host,
        "port": str(pair.cluster.port),
        "dbname": pair.openwebui_db,
        "sslmode": "prefer",
        "connect_timeout": "2",
        "tcp_user_timeout": str(target_timeout_ms),
        "application_name": "user_bridge",
        "options": f"-c statement_timeout={target_timeout_ms} -c lock_timeout={target_timeout_ms} "
        "-c idle_in_transaction_session_timeout=60000 -c synchronous_commit=off",
        **overrides,
    }
    credentials = {"user": SYNC_USER, "password": PASSWORDS[SYNC_USER]}
    session.run(f"DROP SERVER IF EXISTS {SERVER} CASCADE")
    session.raw.cursor().execute(
        sql.SQL("CREATE SERVER {} FOREIGN DATA WRAPPER dblink_fdw OPTIONS ({})").format(
            sql.Identifier(SERVER), _options(options)
        )
    )
    session.run(f'ALTER SERVER {SERVER} OWNER TO "{OWNER_ROLE}"')
    session.raw.cursor().execute(
        sql.SQL("CREATE USER MAPPING FOR {} SERVER {} OPTIONS ({})").format(
            sql.Identifier(OWNER_ROLE), sql.Identifier(SERVER), _options(credentials)
        )
    )


def _options(options: Mapping[str, str]) -> sql.Composable:
    return sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(key), sql.Literal(value)) for key, value in options.items()
    )


def _ensure_owner(session: Session) -> None:
    if not session.value("SELECT 1 FROM pg_roles WHERE rolname = %s", [OWNER_ROLE]):
        session.run(f'CREATE ROLE "{OWNER_ROLE}" NOLOGIN')


def _ensure_schema(session: Session, extension: str) -> None:
    session.run(f'CREATE SCHEMA IF NOT EXISTS {SCHEMA} AUTHORIZATION "{OWNER_ROLE}"')
    session.run(f"CREATE EXTENSION IF NOT EXISTS {extension} SCHEMA {SCHEMA}")


def _apply(session: Session, side: Side, mutate: Mutate | None) -> None:
    """All files of a side, in one transaction, with everything in the schema handed to the owner role."""
    extension = "dblink" if side == "litellm" else "pgcrypto"
    schema = session.value(
        "SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = %s",
        [extension],
    )
    session.raw.autocommit = False
    try:
        # Functions may use each other in any order.
        session.run("SET LOCAL check_function_bodies = off")
        for row in session.rows(
            "SELECT tgname, tgrelid::regclass::text AS rel FROM pg_trigger WHERE tgname LIKE 'user\\_bridge\\_%'"
        ):
            session.run(f'DROP TRIGGER "{row["tgname"]}" ON {row["rel"]}')
        for path, text in render_sql(side, **{f"{extension}_schema": schema}).items():
            session.run(mutate(path, text) if mutate else text)
        for row in session.rows(_FOREIGN_OWNED, {"schema": SCHEMA, "owner": OWNER_ROLE}):
            session.run(f'ALTER {row["kind"]} {row["object"]} OWNER TO "{OWNER_ROLE}"')
        # As bridge_install leaves it: PostgreSQL lets everybody execute what is created.
        session.run(f"REVOKE ALL ON ALL FUNCTIONS IN SCHEMA {SCHEMA} FROM PUBLIC")
        session.run(f'GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA {SCHEMA} TO "{OWNER_ROLE}"')
        session.commit()
    finally:
        session.rollback()
        session.raw.autocommit = True


# Objects of the schema that the owner role does not own yet; an extension's and an identity column's are not ours.
_FOREIGN_OWNED = """
SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END AS kind,
       c.oid::regclass::text AS object
  FROM pg_class c
 WHERE c.relnamespace = %(schema)s::regnamespace AND c.relowner <> %(owner)s::regrole
   AND c.relkind IN ('r', 'p', 'v', 'S')
   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.classid = 'pg_class'::regclass
                   AND d.deptype IN ('e', 'i', 'a'))
UNION ALL
SELECT 'ROUTINE', p.oid::regprocedure::text
  FROM pg_proc p
 WHERE p.pronamespace = %(schema)s::regnamespace AND p.proowner <> %(owner)s::regrole
   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.classid = 'pg_proc'::regclass
                   AND d.deptype = 'e')
UNION ALL
SELECT 'TYPE', t.oid::regtype::text
  FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid
 WHERE t.typnamespace = %(schema)s::regnamespace AND t.typowner <> %(owner)s::regrole
   AND t.typelem = 0 AND (t.typtype <> 'c' OR c.relkind = 'c')
   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = t.oid AND d.classid = 'pg_type'::regclass
                   AND d.deptype = 'e')
"""


def _write_settings(session: Session, settings: Mapping[str, Any]) -> None:
    """The settings row: what is given; everything else keeps the table's defaults."""
    values = {key: psycopg2.extras.Json(value) if isinstance(value, dict) else value for key, value in settings.items()}
    session.run(f"DELETE FROM {SCHEMA}.settings")
    if not values:
        session.run(f"INSERT INTO {SCHEMA}.settings DEFAULT VALUES")
        return
    session.raw.cursor().execute(
        sql.SQL("INSERT INTO {}.settings ({}) VALUES ({})").format(
            sql.Identifier(SCHEMA),
            sql.SQL(", ").join(map(sql.Identifier, values)),
            sql.SQL(", ").join(map(sql.Literal, values.values())),
        )
    )
