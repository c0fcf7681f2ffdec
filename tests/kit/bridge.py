# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bridge between a pair's databases, without Ansible.

bridge_install runs once for each server and pair of versions: what it leaves becomes a template, of which every bridged
pair is a copy. A mutant is a copy in which only the functions that differ are replaced.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import psycopg2
import psycopg2.errors
import psycopg2.extras
from psycopg2 import sql

from kit import product
from kit.cluster import Cluster
from kit.common import REPO
from kit.pairs import (
    OWN_ROLES,
    OWNER_ROLE,
    PASSWORDS,
    PROGRAM_ROLES,
    SIDES,
    SYNC_USER,
    Pair,
    Session,
    Side,
    drop_databases,
    ensure_login,
    known_passwords,
)

TEMPLATES = REPO / "roles" / "triggers" / "templates"
SCHEMA = "user_bridge"
SERVER = "user_bridge_target"
# As the role `maintenance` makes its login, under a name that no deployment uses.
DRAINER_ROLE = "drainer_of_tests"


def _renderer() -> ModuleType:
    """The collection's own, by its file: who imports the kit need not have the collection among Python's packages."""
    path = REPO / "plugins" / "plugin_utils" / "_render" / "render.py"
    spec = importlib.util.spec_from_file_location("user_bridge_render", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


render = _renderer()
_DECLARED = render.declarations(TEMPLATES)
REGISTRY: dict[str, Any] = _DECLARED["registry"]
SETTINGS: dict[str, Any] = _DECLARED["settings"]
# Every user and team has rights on models, which would only add to what a test counts: those about them follow them.
# Without a drainer each new account costs 60 ms of hashing by default.
DEFAULTS: Mapping[str, Any] = {"model_access": False, "password_cost": 4}
EXTENSIONS: Mapping[Side, str] = {"litellm": "dblink", "openwebui": "pgcrypto"}
Mutate = Callable[[str, str], str]
# Rendered SQL of each file, by side and path.
Texts = Mapping[Side, Mapping[str, str]]


def render_sql(side: Side, **variables: Any) -> dict[str, str]:
    """Path below templates/ to SQL, in the order in which the files are applied.

    Once for the same variables: it takes a quarter of a second, and each call of a module asks for it.
    """
    key = side, repr((REGISTRY, SETTINGS, sorted(variables.items())))
    if key not in _rendered:
        _rendered[key] = _rendered_with(variables, side)
    return dict(_rendered[key])


_rendered: dict[tuple[Side, str], dict[str, str]] = {}


def _rendered_with(variables: Mapping[str, Any], side: Side) -> dict[str, str]:
    values = {
        "dblink_schema": SCHEMA,
        "pgcrypto_schema": SCHEMA,
        "owner_role": OWNER_ROLE,
        "reader_role": PROGRAM_ROLES["litellm"],
        "writer_role": PROGRAM_ROLES["openwebui"],
        "sync_user": SYNC_USER,
        "registry": REGISTRY,
        "settings": SETTINGS,
        **variables,
    }
    return render.render(TEMPLATES, side, values)


@functools.cache
def _shipped() -> Texts:
    """Both sides as they are shipped."""
    return {side: render_sql(side) for side in SIDES}


@functools.cache
def _digest_of_shipped() -> str:
    """It is a megabyte, and asked for by each test."""
    return hashlib.sha256(repr(_shipped()).encode()).hexdigest()


@contextlib.contextmanager
def templates_from(root: Path) -> Iterator[None]:
    """Every bridge installed inside the with block is rendered from this copy of the role's templates."""
    before = TEMPLATES
    _read_templates(root)
    try:
        yield
    finally:
        _read_templates(before)


def _read_templates(root: Path) -> None:
    global TEMPLATES, REGISTRY, SETTINGS
    TEMPLATES = root
    REGISTRY, SETTINGS = render.declarations(root).values()
    _rendered.clear()
    _shipped.cache_clear()
    _digest_of_shipped.cache_clear()


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
    wanted = _wanted(mutate or _planted[-1])
    # A mutant that differs in a table, too, is no copy of the template: its tables would be there already.
    if not pair.databases and _functions_between(_shipped(), wanted) is not None:
        pair.make(_bridged_template(pair))
        own(pair)
        pair.installed = _shipped()
    if not _replace_functions(pair, wanted):
        _install(pair, wanted)
        # The first version has no owner.
        if pair.litellm_admin.value(f"SELECT to_regclass('{SCHEMA}.identity')"):
            product.own(pair)
    pair.installed = wanted
    pair.cluster.execute(
        *known_passwords(pair.cluster, [SYNC_USER]), f'GRANT CONNECT ON DATABASE "{pair.openwebui_db}" TO "{SYNC_USER}"'
    )
    _connect_to_target(pair, int(chosen.get("target_timeout_ms", 2000)), server_options or {})
    write_settings(pair, chosen)


def copy_prepared(pair: Pair, prepare: Callable[[Pair], object]) -> None:
    """Make the pair a copy of what a function makes of one, once for each server, pair of versions and SQL.

    The function is known by its name; it installs the bridge itself.
    """
    if _planted[-1]:
        prepare(pair)
        return
    templates = _templates(pair, f"{prepare.__module__}.{prepare.__qualname__}", prepare)
    pair.make(templates)
    own(pair)
    pair.installed = _shipped()
    pair.cluster.execute(
        *known_passwords(pair.cluster, [SYNC_USER]), f'GRANT CONNECT ON DATABASE "{pair.openwebui_db}" TO "{SYNC_USER}"'
    )
    pair.litellm_admin.run(f"ALTER SERVER {SERVER} OPTIONS (SET dbname '{pair.openwebui_db}')")


def write_settings(pair: Pair, settings: Mapping[str, Any]) -> None:
    """The settings row of both sides: what is given; everything else gets the table's defaults, or those of tests."""
    for side in _sides_with_settings(pair):
        pair.superuser(side).run(f"DELETE FROM {SCHEMA}.settings; INSERT INTO {SCHEMA}.settings DEFAULT VALUES")
    # An older version has fewer.
    known = pair.litellm_admin.value(f"SELECT to_jsonb(s) FROM {SCHEMA}.settings AS s") or {}
    change_settings(pair, **{**{name: value for name, value in DEFAULTS.items() if name in known}, **settings})


def _sides_with_settings(pair: Pair) -> list[Side]:
    """In the first version only LiteLLM's side had any."""
    return [side for side in SIDES if pair.superuser(side).value(f"SELECT to_regclass('{SCHEMA}.settings')")]


def change_settings(pair: Pair, **settings: Any) -> None:
    """Change settings on each side that stores them."""
    for side in _sides_with_settings(pair):
        values = {
            name: psycopg2.extras.Json(value) if isinstance(value, (dict, list)) else value
            for name, value in settings.items()
            if side == "litellm" or SETTINGS[name].get("openwebui")
        }
        for name, value in values.items():
            pair.superuser(side).run(f'UPDATE {SCHEMA}.settings SET "{name}" = %s', [value])
    if settings.get("enforce_models"):
        for table, rights in REGISTRY["sides"]["litellm"]["enforced"].items():
            pair.litellm_admin.run(f'GRANT {", ".join(rights)} ON public."{table}" TO "{PROGRAM_ROLES["litellm"]}"')
    if settings.get("model_access"):
        # As the backfill of a deployment does.
        pair.litellm_admin.run(f"SELECT {SCHEMA}.refresh_entities()")


@contextlib.contextmanager
def hurried(pair: Pair, milliseconds: int) -> Iterator[None]:
    """Inside the block the target is waited for no longer than this.

    Only there: the first delivery of a session connects and compiles, for which a busy machine needs as long.
    """
    before = pair.litellm_admin.value(f"SELECT target_timeout_ms FROM {SCHEMA}.settings")
    change_settings(pair, target_timeout_ms=milliseconds)
    yield
    change_settings(pair, target_timeout_ms=before)


def optional_tables(side: Side) -> list[str]:
    """The tables that not every version of the program has."""
    return [name for name, table in REGISTRY["sides"][side]["tables"].items() if "since" in table]


@contextlib.contextmanager
def before_the_bridge(pair: Pair) -> Iterator[None]:
    """What LiteLLM writes inside the block was there first: so a bridge can be copied that had to be installed else."""
    triggers = pair.litellm_admin.rows(
        "SELECT tgrelid::regclass::text AS on_table, tgname FROM pg_trigger"
        " WHERE tgrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)"
        f" AND tgfoid IN (SELECT oid FROM pg_proc WHERE pronamespace = '{SCHEMA}'::regnamespace)"
    )
    assert triggers
    for verb in ("DISABLE", "ENABLE"):
        for row in triggers:
            pair.litellm_admin.run(f"ALTER TABLE {row['on_table']} {verb} TRIGGER {row['tgname']}")
        if verb == "DISABLE":
            yield


def own(pair: Pair) -> None:
    """Make these two databases an installation of their own, as bridge_ownership does: copies are none."""
    pair.litellm_admin.run(f"SELECT {SCHEMA}.renew_identity(false)")
    columns = "id, system_identifier, database_oid"
    (row,) = pair.litellm_admin.rows(f"SELECT {columns} FROM {SCHEMA}.identity")
    with pair.openwebui_admin.transaction():
        pair.openwebui_admin.run(
            f"DELETE FROM {SCHEMA}.owned_by; INSERT INTO {SCHEMA}.owned_by ({columns}) "
            "VALUES (%(id)s, %(system_identifier)s, %(database_oid)s)",
            row,
        )
        bring_key(
            pair.openwebui_admin, pair.litellm_admin.value(f"SELECT encode(key, 'hex') FROM {SCHEMA}.identity_key")
        )


def bring_key(openwebui: Session, key: str) -> None:
    """Make this the key that requests have to be signed with; inside a transaction."""
    openwebui.run(f"SELECT set_config('{SCHEMA}.owner_key', %s, true)", [key])
    openwebui.run(f"REFRESH MATERIALIZED VIEW {SCHEMA}.owner_key")


@contextlib.contextmanager
def drainer(pair: Pair) -> Iterator[list[str]]:
    """A drainer lives as long as the with block, as its service runs it; yields the errors that ended its sessions."""
    errors: list[str] = []
    stop = threading.Event()
    pids: list[int] = []

    def serve() -> None:
        while not stop.is_set():
            try:
                with contextlib.closing(drainer_session(pair)) as session:
                    pids[:] = [session.pid]
                    if not stop.is_set():
                        session.run(f"CALL {SCHEMA}.drainer()")
            except psycopg2.Error as error:
                if not stop.is_set():
                    errors.append(str(error).strip().split("\n")[0])
            # As RestartSec does.
            stop.wait(0.2)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        _await_drainer(pair, errors)
        yield errors
    finally:
        stop.set()
        while thread.is_alive():
            with contextlib.suppress(psycopg2.Error):
                pair.cluster.execute(*(f"SELECT pg_terminate_backend({pid})" for pid in pids))
            thread.join(0.1)


def _await_drainer(pair: Pair, errors: list[str]) -> None:
    """Until it lives, or an error says that it cannot."""
    end = time.monotonic() + 60
    with contextlib.closing(pair.cluster.connect(pair.litellm_db)) as raw:
        while not errors and not Session(raw).value(f"SELECT {SCHEMA}.drainer_lives()"):
            assert time.monotonic() < end, "no drainer lives"
            time.sleep(0.02)


def drainer_session(pair: Pair) -> Session:
    """A session of a role that is a member of nothing and may call the drainer, as the product grants it."""
    path = "engine/litellm/drainer.sql.j2"
    grants = [
        line
        for line in render_sql("litellm", maintenance_user=DRAINER_ROLE)[path].splitlines()
        if line.startswith("GRANT EXECUTE") and DRAINER_ROLE in line
    ]
    with contextlib.closing(pair.cluster.connect(pair.litellm_db)) as raw:
        admin = Session(raw)
        if not admin.value("SELECT 1 FROM pg_roles WHERE rolname = %s", [DRAINER_ROLE]):
            admin.run(f"CREATE ROLE {DRAINER_ROLE} LOGIN PASSWORD '{DRAINER_ROLE}'")
        admin.run(f"GRANT USAGE ON SCHEMA {SCHEMA} TO {DRAINER_ROLE}; {' '.join(grants)}")
    # As the service sets it. PostgreSQL forgets a signal barrier that comes with a lock timeout, and DROP DATABASE
    # waits for it until the session looks for something else.
    checks = "-c client_connection_check_interval=5000" if pair.cluster.major >= 14 else ""
    return Session(
        pair.cluster.connect(
            pair.litellm_db, DRAINER_ROLE, DRAINER_ROLE, application_name="user_bridge drainer", options=checks
        )
    )


def request(pair: Pair, payload: Mapping[str, Any]) -> str:
    """A request as this pair's LiteLLM sends it, for apply()."""
    signed = pair.litellm_admin.value(f"SELECT {SCHEMA}.signed_request(%s)", [json.dumps(payload)])
    assert isinstance(signed, str)
    return signed


# The template, and what differs from it


def _wanted(mutate: Mutate | None) -> Texts:
    """What is shipped, as `mutate` changes it, which sees each file once."""
    if mutate is None:
        return _shipped()
    return {side: {path: mutate(path, text) for path, text in files.items()} for side, files in _shipped().items()}


def _bridged_template(pair: Pair) -> dict[Side, str]:
    """The names of two databases with the bridge between them, for this server, these versions and this SQL."""
    return _templates(pair, "installed", lambda bridged: _install(bridged, _shipped()))


def _templates(pair: Pair, name: str, prepare: Callable[[Pair], object]) -> dict[Side, str]:
    """The names of two databases that are as `prepare` leaves them, for this server, these versions and this SQL."""
    recipe = repr((name, pair.litellm_version, pair.openwebui_version, pair.admin, _digest_of_shipped()))
    digest = hashlib.sha256(recipe.encode()).hexdigest()
    keys: dict[Side, str] = {side: f"bridged {side} {digest}" for side in SIDES}
    templates = pair.cluster.templates
    if keys["litellm"] not in templates:
        made = Pair(pair.cluster, None, None, pair.litellm_version, pair.openwebui_version, pair.admin)
        prepare(made)
        # Nobody may be connected to what is copied; a bridge's connection ends a moment after its session.
        made.close()
        pair.cluster.await_nobody(made.databases.values())
        templates.update({keys[side]: made.database(side) for side in SIDES})
    return {side: templates[key] for side, key in keys.items()}


def drop_bridged_templates(cluster: Cluster) -> None:
    """A role cannot be dropped while it owns something in any database of the server."""
    for key in [key for key in cluster.templates if key.startswith("bridged ")]:
        drop_databases(cluster, [cluster.templates.pop(key)])


# CREATE FUNCTION with its name and arguments; its properties; its body in dollar quotes.
_FUNCTION = re.compile(
    r"^(CREATE OR REPLACE (?:FUNCTION|PROCEDURE)\s+[^(]+\(.*?\)\s*(?:RETURNS|LANGUAGE)\b)(.*?AS (\$\w*\$).*?\3[^;]*);",
    re.DOTALL | re.MULTILINE,
)


def _functions(text: str) -> dict[str, str]:
    """Head of each function to its whole statement."""
    return {match[1]: match[0] for match in _FUNCTION.finditer(text)}


def _replacements(old: str, new: str) -> list[str] | None:
    """The statements that make the functions of one file those of another; None where that is not all that differs."""
    if old == new:
        return []
    if _FUNCTION.sub(r"\1", old) != _FUNCTION.sub(r"\1", new):
        return None
    before = _functions(old)
    return [statement for head, statement in _functions(new).items() if statement != before[head]]


def _replace_functions(pair: Pair, wanted: Texts) -> bool:
    """Make one mutant of the bridge another; False where only an installation can."""
    statements = None if pair.installed is None else _functions_between(pair.installed, wanted)
    if statements is None:
        return False
    return all(_replace(pair.superuser(side), found) for side, found in statements.items() if found)


def _functions_between(old: Texts, new: Texts) -> dict[Side, list[str]] | None:
    """The statements by side that make one bridge another; None where not only functions differ."""
    statements: dict[Side, list[str]] = {side: [] for side in new}
    for side, files in new.items():
        for path, text in files.items():
            found = _replacements(old[side].get(path, ""), text)
            if found is None:
                return None
            statements[side] += found
    return statements


def _replace(session: Session, statements: list[str]) -> bool:
    session.run("SET check_function_bodies = off")
    try:
        for statement in statements:
            session.run(statement)
    except psycopg2.errors.InvalidFunctionDefinition:
        # Another result type.
        return False
    finally:
        session.run("RESET check_function_bodies")
    return True


# The installation, as the roles do it


def _install(pair: Pair, wanted: Texts) -> None:
    """Roles, grants and extensions, then bridge_install."""
    _prepare(pair)
    elsewhere: Texts = {side: render_sql(side, **_extension_schemas(pair, side)) for side in SIDES}
    changed = {
        side: {path: text for path, text in files.items() if text != _shipped()[side][path]}
        for side, files in wanted.items()
    }
    product.install(pair, {side: {**files, **changed[side]} for side, files in elsewhere.items()})


def _prepare(pair: Pair) -> None:
    ensure_own_roles(pair.litellm_admin)
    ensure_login(pair.cluster, SYNC_USER)
    for side in SIDES:
        session, registered, role = pair.superuser(side), REGISTRY["sides"][side], PROGRAM_ROLES[side]
        session.run(f'CREATE SCHEMA IF NOT EXISTS {SCHEMA} AUTHORIZATION "{OWNER_ROLE}"')
        # Whoever touches the programs' tables may hash passwords, and not use the connection.
        _ensure_extension(session, EXTENSIONS[side], OWNER_ROLE if side == "litellm" else role)
        session.run(f'GRANT USAGE ON SCHEMA public TO "{role}"')
        rights = ", ".join(registered["privileges"])
        for table in registered["tables"]:
            if session.value("SELECT to_regclass(%s)", [f'public."{table}"']):
                session.run(f'GRANT {rights} ON public."{table}" TO "{role}"')
    pair.litellm_admin.run(f'GRANT USAGE ON FOREIGN DATA WRAPPER dblink_fdw TO "{OWNER_ROLE}"')
    pair.openwebui_admin.run(f'GRANT USAGE ON SCHEMA {SCHEMA} TO "{SYNC_USER}"')
    rights = ", ".join(REGISTRY["sides"]["openwebui"]["privileges"])
    pair.openwebui_admin.run(
        f"ALTER DEFAULT PRIVILEGES FOR ROLE openwebui IN SCHEMA public GRANT {rights} ON TABLES "
        f'TO "{PROGRAM_ROLES["openwebui"]}"'
    )


def ensure_own_roles(session: Session) -> None:
    for name in OWN_ROLES:
        if not session.value("SELECT 1 FROM pg_roles WHERE rolname = %s", [name]):
            session.run(f'CREATE ROLE "{name}" NOLOGIN')


def _ensure_extension(session: Session, name: str, role: str) -> None:
    """As the role sync_user leaves it. The bridge's own functions come later, and are bridge_install's to protect."""
    if session.value("SELECT 1 FROM pg_extension WHERE extname = %s", [name]):
        return
    session.run(f"CREATE EXTENSION {name} SCHEMA {SCHEMA}")
    members = session.rows(
        "SELECT objid::regprocedure::text AS name FROM pg_depend WHERE deptype = 'e' "
        "AND classid = 'pg_proc'::regclass AND refobjid = (SELECT oid FROM pg_extension WHERE extname = %s)",
        [name],
    )
    functions = ", ".join(row["name"] for row in members)
    session.run(f"REVOKE ALL ON FUNCTION {functions} FROM PUBLIC")
    session.run(f'GRANT EXECUTE ON FUNCTION {functions} TO "{role}"')


def _extension_schemas(pair: Pair, side: Side) -> dict[str, str]:
    """The extension may have been there before."""
    schema = pair.superuser(side).value(
        "SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = %s",
        [EXTENSIONS[side]],
    )
    return {f"{EXTENSIONS[side]}_schema": schema}


def _connect_to_target(pair: Pair, target_timeout_ms: int, overrides: Mapping[str, str]) -> None:
    """The foreign server and the sync user's credentials; a copy gets its own, as it has another target."""
    options = {
        "host": pair.cluster.host,
        "port": str(pair.cluster.port),
        "target_session_attrs": "read-write",
        "dbname": pair.openwebui_db,
        "sslmode": "prefer",
        "connect_timeout": "2",
        "tcp_user_timeout": str(target_timeout_ms),
        "application_name": "user_bridge",
        "options": f"-c statement_timeout={target_timeout_ms} -c lock_timeout={target_timeout_ms} "
        r"-c idle_in_transaction_session_timeout=60000 -c default_transaction_isolation=read\ committed "
        "-c default_transaction_read_only=off -c search_path=pg_catalog -c synchronous_commit=off",
        **overrides,
    }
    credentials = {"user": SYNC_USER, "password": PASSWORDS[SYNC_USER]}
    pair.litellm_admin.raw.cursor().execute(
        sql.SQL(
            "DROP SERVER IF EXISTS {server} CASCADE;"
            "CREATE SERVER {server} FOREIGN DATA WRAPPER dblink_fdw OPTIONS ({options});"
            "ALTER SERVER {server} OWNER TO {owner};"
            "CREATE USER MAPPING FOR {owner} SERVER {server} OPTIONS ({credentials})"
        ).format(
            server=sql.Identifier(SERVER),
            owner=sql.Identifier(OWNER_ROLE),
            options=_options(options),
            credentials=_options(credentials),
        )
    )


def _options(options: Mapping[str, str]) -> sql.Composable:
    return sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(key), sql.Literal(value)) for key, value in options.items()
    )
