# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one place that knows community.postgresql and psycopg: options, connections, transactions, errors.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import io
import locale
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, Callable

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.parameters import remove_values
from ansible.module_utils.common.text.converters import to_native
from ansible_collections.community.postgresql.plugins.module_utils import postgres
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import quote
from ansible_collections.llmops.user_bridge.plugins.module_utils._remedies import connection_remedy, server_reason

MIN_SERVER_VERSION = 130000
READ_ONLY_TRANSACTION = "25006"
INSUFFICIENT_PRIVILEGE = "42501"
UNDEFINED_FUNCTION = "42883"
UNDEFINED_TABLE = "42P01"
LOCK_NOT_AVAILABLE = "55P03"

# What no task decides by.
_FOR_PEOPLE = ("diff", "msg")

PgError: type[Exception] = getattr(postgres.psycopg, "Error", Exception)

# A database's owner can set another one for every login, and pg_temp is searched first unless it is named.
# Catalogs are read by many functions, of which each is thought to return a thousand rows: compiling takes far longer.
_SEARCH_PATH = "SET search_path = pg_catalog, pg_temp; SET jit = off"
_DATABASE_ROLE = """
SELECT true AS is_set
  FROM pg_db_role_setting AS s
  JOIN pg_database AS d ON d.oid = s.setdatabase AND d.datname = current_database()
 CROSS JOIN unnest(s.setconfig) AS c(setting)
 WHERE s.setrole = 0 AND starts_with(c.setting, 'role=')"""
# Catalog functions render names, dates and expressions by these, so they must not depend on the login's own settings.
_SESSION = (
    f"{_SEARCH_PATH}; SET LOCAL client_min_messages = error; SET LOCAL quote_all_identifiers = off; "
    "SET LOCAL DateStyle = 'ISO, YMD'; SET LOCAL IntervalStyle = postgres; SET LOCAL TimeZone = 'UTC'; "
    "SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = hex; SET LOCAL standard_conforming_strings = on"
)


def argument_spec(prefix: str = "") -> dict[str, Any]:
    """The login_* options, without the aliases that community.postgresql 5 has dropped."""
    spec = {}
    for name, option in postgres.postgres_common_argument_spec().items():
        kept = {key: value for key, value in option.items() if key not in ("aliases", "deprecated_aliases")}
        if prefix:
            # Without a default: an option that was not given is taken from the first login.
            kept.pop("default", None)
        spec[prefix + name] = kept
    spec[prefix + "login_db"] = {"type": "str"}
    return spec


def both_argument_specs() -> dict[str, Any]:
    """The options of the logins to both databases, of which the second is required."""
    spec = {**argument_spec(), **argument_spec("openwebui_")}
    spec["openwebui_login_db"]["required"] = True
    return spec


def run(module: AnsibleModule, action: Callable[[AnsibleModule], dict[str, Any]], needs_driver: bool = True) -> None:
    """Run a module's action and turn its outcome into the module's exit: the only place that does."""
    if needs_driver:
        postgres.ensure_required_libs(module)
    try:
        result = action(module)
    except BridgeError as error:
        module.fail_json(**_unmasked(module, {"msg": to_native(error), **error.facts}))
    except PgError as error:
        module.fail_json(**_unmasked(module, {"msg": describe(error)}))
    module.exit_json(**_unmasked(module, result))


def _unmasked(module: AnsibleModule, result: dict[str, Any]) -> dict[str, Any]:
    """A result from which Ansible takes nothing: it masks in names and numbers whatever a password is a part of.

    A login whose password is the name of a role or database would change what later tasks decide by. No result has a
    secret in it; what only people read, and the options, are masked here all the same.
    """
    masked = {name: remove_values(result[name], module.no_log_values) for name in _FOR_PEOPLE if name in result}
    invocation = {"module_args": remove_values(module.params, module.no_log_values)}
    module.no_log_values = set()
    return {**result, **masked, "invocation": invocation}


def second_login(params: dict[str, Any], prefix: str) -> dict[str, Any]:
    """The login options that begin with a prefix, each one that was not given taken from the first login."""
    return {name: params[name] if params[prefix + name] is None else params[prefix + name] for name in argument_spec()}


def open_connection(login: dict[str, Any]) -> Any:
    """Open a connection in autocommit mode, so that every transaction in the code is a visible one."""
    if not postgres.HAS_PSYCOPG:
        raise ConnectionFailed(login, f"{sys.executable} has neither psycopg2 nor psycopg")
    quiet = SimpleNamespace(params={}, warn=lambda message: None, fail_json=_raise)
    conn_params = postgres.get_conn_params(quiet, login, warn_db_default=False)
    conn_params.setdefault("connect_timeout", 10)
    conn_params.setdefault("client_encoding", "UTF8")
    if "PGAPPNAME" not in os.environ:
        conn_params.setdefault("application_name", "llmops.user_bridge")
    # AnsibleModule takes the locale of the environment over; libpq's own messages are matched by their English words.
    locale.setlocale(locale.LC_MESSAGES, "C")
    connection = _open(quiet, conn_params)
    if connection.info.parameter_status("standard_conforming_strings") == "off":
        # psycopg2 quotes by what a session begins with, also when that is set to something else later.
        connection.close()
        before = conn_params.get("options") or os.environ.get("PGOPTIONS", "")
        connection = _open(quiet, {**conn_params, "options": f"{before} -c standard_conforming_strings=on".strip()})
    cur = cursor(connection)
    cur.execute(_SEARCH_PATH)
    if value(cur, "SELECT pg_backend_pid() AS pid") != connection.info.backend_pid:
        connection.close()
        # Locks, roles and settings of a session would be lost, or those of somebody else.
        raise ConnectionFailed(conn_params, "it is a connection pooler, whose sessions are not the server's own")
    _refuse_another_role(cur, connection.info.user)
    return connection


def _refuse_another_role(cur: Any, login: str) -> None:
    """A database's owner can set a role for every login (ALTER DATABASE ... SET role), for the deploying one too."""
    (now,) = rows(cur, "SELECT current_user::text AS role, current_database()::text AS database")
    if now["role"] != login and value(cur, _DATABASE_ROLE):
        raise BridgeError(
            f"every login to database {now['database']} acts as {now['role']}, because somebody has given the database "
            f"a setting for that: ALTER DATABASE {quote(now['database'])} RESET role"
        )


def _open(quiet: SimpleNamespace, conn_params: dict[str, Any]) -> Any:
    connection, error = postgres.connect_to_db(quiet, conn_params, autocommit=True, fail_on_conn=False)
    if connection is None:
        # Nothing else takes a secret out of the results that tell of this, see _unmasked().
        raise ConnectionFailed(conn_params, remove_values(str(error), {conn_params.get("password") or ""} - {""}))
    return connection


def connect(login: dict[str, Any], prefix: str = "") -> Any:
    """The same, with errors that name the options; the prefix is that of these options."""
    try:
        connection = open_connection(login)
    except ConnectionFailed as error:
        raise BridgeError(connection_message(error, prefix), cause=error.remedy.name) from None
    version = postgres.get_server_version(connection)
    if version < MIN_SERVER_VERSION:
        connection.close()
        raise BridgeError(
            f"the server of {login['login_host'] or 'the local socket'}:{login['login_port']}/{login['login_db']}"
            f" is PostgreSQL {major_of(version)}, the bridge needs {MIN_SERVER_VERSION // 10000} or newer; "
            f"upgrade the server or check {prefix}login_host and {prefix}login_port"
        )
    return connection


class ConnectionFailed(Exception):
    """A server did not let the login in, or did not answer."""

    def __init__(self, conn_params: dict[str, Any], text: str) -> None:
        super().__init__(text)
        self.reason = server_reason(text)
        host = str(conn_params.get("host") or os.environ.get("PGHOST") or "the local socket")
        port = conn_params.get("port") or os.environ.get("PGPORT") or 5432
        named = str(conn_params.get("dbname") or conn_params.get("database") or os.environ.get("PGDATABASE") or "")
        self.place = f"{host}:{port}/{named or '(default)'}"
        self.user = str(conn_params.get("user") or os.environ.get("PGUSER") or "")
        self.remedy = connection_remedy("", text, self.user, named or self.user)


def _raise(msg: str, **dummy: Any) -> None:
    raise BridgeError(msg)


def major_of(version: int) -> str:
    """The major version of a server_version_num, as people say it."""
    return str(version // 10000) if version >= 100000 else f"{version // 10000}.{version // 100 % 100}"


def connection_message(failed: ConnectionFailed, prefix: str = "") -> str:
    """One line: where to, as whom, why not, and which option to look at."""
    names = {name: f"{prefix}login_{name}" for name in ("user", "password", "host", "port", "db")}
    names.update(ssl_mode=f"{prefix}ssl_mode", ca_cert=f"{prefix}ca_cert", program="the program")
    user = failed.user or "the default user"
    return f"cannot connect to {failed.place} as user {user}: {failed.reason}; {failed.remedy.login.format(**names)}"


def cursor(connection: Any) -> Any:
    """A cursor whose rows are dicts, whichever driver is below."""
    return connection.cursor(**postgres.pg_cursor_args)


def server_version(connection: Any) -> int:
    """The server_version_num, for example 150004."""
    return int(postgres.get_server_version(connection))


def rows(cur: Any, query: str, params: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """Fetch all rows as dicts, whichever driver is below. Without params a % in the query is just a %."""
    if params is None:
        cur.execute(query)
    else:
        cur.execute(query, params)
    return [dict(row) for row in cur.fetchall()]


def value(cur: Any, query: str, params: dict[str, Any] | None = None) -> Any:
    """The only column of the first row, None without a row."""
    for row in rows(cur, query, params):
        return next(iter(row.values()))
    return None


def copy_out(cur: Any, statement: str) -> bytes:
    """What COPY ... TO STDOUT sends."""
    if hasattr(cur, "copy_expert"):
        data = io.BytesIO()
        cur.copy_expert(statement, data)
        return data.getvalue()
    with cur.copy(statement) as copy:
        return b"".join(bytes(part) for part in copy)


def copy_in(cur: Any, statement: str, data: bytes) -> None:
    """Feed COPY ... FROM STDIN."""
    if hasattr(cur, "copy_expert"):
        cur.copy_expert(statement, io.BytesIO(data))
        return
    with cur.copy(statement) as copy:
        copy.write(data)


def verifier(connection: Any, role: str, password: str) -> str:
    """What a server stores instead of a password, made by libpq, by the server's own password_encryption."""
    if hasattr(connection, "pgconn"):
        return str(connection.pgconn.encrypt_password(password.encode("utf-8"), role.encode("utf-8")).decode("ascii"))
    return str(postgres.psycopg.extensions.encrypt_password(password, role, scope=connection))


@contextmanager
def transaction(cur: Any, read_only: bool, keep: bool | None = None) -> Iterator[None]:
    """Without keep, what has written commits and what has read rolls back.

    At COMMIT what code planted in a table has left behind would run with the rights of the login.
    """
    # READ COMMITTED by name: a login whose default is SERIALIZABLE must not see the world as of before the deploy lock.
    cur.execute("BEGIN ISOLATION LEVEL READ COMMITTED" + (", READ ONLY; " if read_only else "; ") + _SESSION)
    try:
        yield
    except BaseException:
        _roll_back(cur)
        raise
    cur.execute("COMMIT" if (not read_only if keep is None else keep) else "ROLLBACK")


def _roll_back(cur: Any) -> None:
    try:
        cur.execute("ROLLBACK")
    except PgError:
        # The connection is gone, and the transaction with it. Report the first error.
        return


@contextmanager
def with_timeout(cur: Any, name: str, milliseconds: int) -> Iterator[None]:
    """Another timeout for the statements of the block; an error of theirs ends the transaction, and the timeout."""
    before = value(cur, "SELECT current_setting(%(name)s)", {"name": name})
    cur.execute(f"SET LOCAL {name} = {milliseconds}")
    yield
    cur.execute(f"SET LOCAL {name} = '{before}'")


@contextmanager
def savepoint(cur: Any) -> Iterator[None]:
    """Undo what the block did when it fails; the transaction goes on."""
    cur.execute("SAVEPOINT bridge")
    try:
        yield
    except PgError:
        cur.execute("ROLLBACK TO SAVEPOINT bridge; RELEASE SAVEPOINT bridge")
        raise
    cur.execute("RELEASE SAVEPOINT bridge")


def set_role(cur: Any, role: str | None) -> None:
    """Act as a role until the transaction ends, or as the login again (None)."""
    if role is None:
        cur.execute("RESET ROLE")
    else:
        cur.execute("SET LOCAL ROLE " + quote(role))


def may_become(role: str, server_version: int) -> str:
    """SQL for whether the login may act as a role, given by its oid, and has its rights."""
    # PostgreSQL 16 tells the right to inherit a role from the right to become it.
    become = f" AND pg_has_role({role}, 'SET')" if server_version >= 160000 else ""
    return f"pg_has_role({role}, 'USAGE'){become}"


def sqlstate(error: BaseException) -> str:
    """The SQLSTATE of a driver's exception, empty where the server did not answer."""
    return getattr(error, "sqlstate", None) or getattr(error, "pgcode", None) or ""


def describe(error: BaseException) -> str:
    """What the server said, from its fields: the text of the exception would repeat the statement."""
    diag = getattr(error, "diag", None)
    message = getattr(diag, "message_primary", None)
    code = sqlstate(error)
    if not message or not code:
        lines = str(error).strip().splitlines()
        return f"no answer from the server: {lines[0] if lines else type(error).__name__}"
    if code == READ_ONLY_TRANSACTION:
        return (
            f"there is something to change, but the session is read-only (SQLSTATE {code}); "
            "connect to the primary server and leave default_transaction_read_only off"
        )
    return f"{message} (SQLSTATE {code})"
