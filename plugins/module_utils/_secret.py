# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Statements that carry a secret, which no log and no statistics of the server may show.

The secret travels as the data of COPY, which no setting records, into a temporary table. The statement is built from it
inside the server, so that nothing that looks at the statements of clients sees it: log_statement,
log_min_duration_statement, log_min_error_statement, pg_stat_activity. What looks at nested statements as well is
switched off for the transaction. Where the login may not do that, nothing is written.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import SCHEMA, literal, quote

_TABLE = f"pg_temp.{SCHEMA}_secret"

# What shows a nested statement, or writes a log line whose context is that statement. Extensions have theirs only where
# they are loaded. No lock is waited for, because a log line about a long wait has the statement, too.
_QUIET = {
    "pg_stat_statements.track": "none",
    "pg_stat_monitor.pgsm_track": "none",
    "pgaudit.log": "none",
    "log_min_messages": "panic",
    "log_parser_stats": "off",
    "debug_print_raw_parse": "off",
    "debug_print_parse": "off",
    "debug_print_rewritten": "off",
    "debug_print_plan": "off",
    "lock_timeout": "10ms",
    "statement_timeout": "0",
    "transaction_timeout": "0",
}
# What a superuser can give a login for all its sessions.
_HARMLESS = {"log_min_messages": "warning"}
# These decide with them whether a nested statement is shown.
_QUALIFIERS = ("pg_stat_statements.track_utility", "pg_stat_monitor.pgsm_track_utility")


def execute(cur: Any, secret: str, touch: str, statement: tuple[str, str], role: str | None = None) -> None:
    """Run a statement, given by what is before and after the secret, as a role or as the login.

    touch is a statement that locks the same object without the secret, so that the one with it does not have to wait.
    The caller has asked C(refuse_to_show), and its transaction ends soon: the settings stay until then.
    """
    _hide(cur)
    cur.execute(f"CREATE TEMPORARY TABLE {_TABLE} (value text) ON COMMIT DROP")
    # The context of an error in the text format would quote the data.
    _pg.copy_in(cur, f"COPY {_TABLE} FROM STDIN (FORMAT binary)", _binary_row(secret))
    become = f"PERFORM set_config('role', {literal(role)}, true);" if role else ""
    before, after = map(literal, statement)
    # The context of an error would be the statement.
    body = (
        f"DECLARE v_secret text; BEGIN SELECT t.value INTO STRICT v_secret FROM {_TABLE} AS t; {become}"
        f" EXECUTE {literal(touch)}; EXECUTE {before} || quote_literal(v_secret) || {after};"
        " EXCEPTION WHEN OTHERS OR query_canceled THEN"
        " RAISE EXCEPTION USING MESSAGE = SQLERRM, ERRCODE = SQLSTATE; END"
    )
    cur.execute(f"DO {literal(body)}")
    _pg.set_role(cur, None)


def _binary_row(text: str) -> bytes:
    """One row with one column, in COPY's binary format."""
    data = text.encode("utf-8")
    return b"PGCOPY\n\xff\r\n\x00" + struct.pack("!iihi", 0, 0, 1, len(data)) + data + struct.pack("!h", -1)


def _hide(cur: Any) -> None:
    """Switch off until the end of the transaction what the login may."""
    for name, setting in _settings(cur).items():
        if name in _QUIET and setting["may_set"]:
            cur.execute(f"SELECT set_config({literal(name)}, {literal(_QUIET[name])}, true)")


def _settings(cur: Any) -> dict[str, dict[str, Any]]:
    version = int(_pg.value(cur, "SELECT current_setting('server_version_num')"))
    granted = " OR has_parameter_privilege(s.name, 'SET')" if version >= 150000 else ""
    found = _pg.rows(
        cur,
        "SELECT s.name, s.setting, s.context = 'user'"
        f" OR (SELECT r.rolsuper FROM pg_roles AS r WHERE r.rolname = current_user){granted} AS may_set"
        " FROM pg_settings AS s WHERE s.name = ANY (%(names)s::text[])",
        {"names": [*_QUIET, *_QUALIFIERS]},
    )
    return {row["name"]: row for row in found}


def showing(values: Mapping[str, str]) -> list[str]:
    """The settings by which a nested statement that carries a secret would be seen."""
    found = []
    for name in ("pg_stat_statements.track", "pg_stat_monitor.pgsm_track"):
        if values.get(name) == "all" and values.get(f"{name}_utility") == "on":
            found.append(name)
    if _audited(values.get("pgaudit.log", "")) & {"ddl", "role"}:
        found.append("pgaudit.log")
    if values.get("log_min_messages", "").startswith("debug"):
        found.append("log_min_messages")
    if values.get("log_parser_stats") == "on":
        found.append("log_parser_stats")
    return found


def _audited(value: str) -> set[str]:
    """Of the classes of pgaudit.log those that matter here; a minus takes away what was named before."""
    found: set[str] = set()
    for each in value.lower().replace('"', "").split(","):
        name = each.strip()
        classes = {"ddl", "role"} if name.lstrip("-") == "all" else {name.lstrip("-")}
        found = found - classes if name.startswith("-") else found | classes
    return found


def shown_by(cur: Any) -> list[str]:
    """Settings that would show the statement and that the login may not change, each as C(name = value)."""
    settings = _settings(cur)
    quieted = {
        name: _QUIET[name] if name in _QUIET and setting["may_set"] else setting["setting"]
        for name, setting in settings.items()
    }
    return [f"{name} = {settings[name]['setting']}" for name in showing(quieted)]


def refuse_to_show(cur: Any, what: str) -> None:
    """Fail if a statement with a secret would be seen. To be asked before anything is changed."""
    shown = shown_by(cur)
    if shown:
        (row,) = _pg.rows(
            cur, "SELECT current_user::text AS login, current_setting('server_version_num')::integer AS version"
        )
        raise BridgeError(f"{explanation(row['login'], row['version'], what, shown)}; nothing was changed")


def explanation(login: str, version: int, what: str, shown: list[str]) -> str:
    """What is wrong, and what a superuser can do about it."""
    role = quote(login)
    names = [each.partition(" = ")[0] for each in shown]
    remedy = "; ".join(f"ALTER ROLE {role} SET {name} = {_HARMLESS.get(name, _QUIET[name])}" for name in names)
    if version >= 150000:
        remedy += f"; or GRANT SET ON PARAMETER {', '.join(names)} TO {role}"
    return (
        f"the server would show {what} to whoever reads its log or statistics, because of {', '.join(shown)}, which "
        f'"{login}" may not change for its own session; have a superuser run {remedy}'
    )
