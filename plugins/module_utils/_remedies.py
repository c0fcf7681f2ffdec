# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is wrong when a server refuses something, and what to do about it: the one table for modules and roles.

A SQLSTATE decides where it stands for one cause only. Next come the words of the message: the bridge's own and libpq's
are English. The server that refuses a login answers before a client can choose lc_messages, and libpq hides its
SQLSTATE; what no word fits is told by the names that it quotes, which every language does, and by quoting none.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import re
from typing import NamedTuple

DEPLOY = "run the playbook llmops.user_bridge.deploy_bridge"
RECONCILE = "run the playbook llmops.user_bridge.reconcile_bridge"

# What refusal_text() makes of an error of Open WebUI's server, whose message is in any language.
_REFUSED = re.compile(r"the target refused \((\w{5})\)")
# What connect() adds to why it got no connection.
_CONNECTING_AS = re.compile(r" \(user (?P<user>.*), database (?P<database>.*)\)\Z", re.DOTALL)
# The server's own line has two blanks after its severity, in every language; libpq's lines have none.
_SERVER_SAYS = ":  "

# A connection could not be opened: libpq's own codes, the bridge's, and none at all from a driver without a connection.
CONNECTING = ("08000", "08001", "08004", "08006", "UB001")


class Remedy(NamedTuple):
    """A cause by the name that bridge_info groups by, and what to do about it.

    login is for whoever logs in to a server; {user}, {password}, {host}, {port}, {db}, {ssl_mode} and {ca_cert} are the
    names of the options or variables, {program} is whose database it is. target is for what LiteLLM's server does in
    Open WebUI's: {user} and {database} are the sync user and the database there.
    """

    name: str
    words: tuple[str, ...] = ()
    sqlstates: tuple[str, ...] = ()
    login: str = ""
    target: str = ""


# Also a delivery's, whose own remedy for what is denied would be found first.
_CONNECT = Remedy(
    "permission",
    ("permission denied for database",),
    login="grant the role of {user} CONNECT on the database",
    target="grant {user} CONNECT on {database}",
)

# Failures of a connection. The first whose words are in the message counts.
_CONNECTION = (
    Remedy(
        "password",
        ("password authentication failed",),
        ("28P01",),
        "check {user} and {password}",
        "the password of {user} in Open WebUI's server is not the one in the user mapping: set bridge_sync_password "
        "and run the playbook llmops.user_bridge.rotate_sync_password",
    ),
    Remedy("password", ("no password supplied",), login="set {password}"),
    Remedy(
        "pg_hba",
        ("credentials required", "password is required"),
        ("2F003",),
        target="put a line with scram-sha-256 for {user} before those with trust, peer or ident in pg_hba.conf of Open "
        "WebUI's server",
    ),
    Remedy(
        "pg_hba",
        ("pg_hba.conf",),
        login="allow this login in pg_hba.conf of the server, or check {host} and {ssl_mode}",
        target="allow {user} to log in to {database} with scram-sha-256 from LiteLLM's server in pg_hba.conf of Open "
        "WebUI's",
    ),
    Remedy(
        "peer",
        # As it is in other languages, too.
        ("Peer", "Ident"),
        login="run the task as the operating system user of {user} (become_user), or set {host} and {password}",
        target="allow {user} to log in to {database} with scram-sha-256 in pg_hba.conf of Open WebUI's server",
    ),
    Remedy(
        "pooler",
        ("connection pooler", "unsupported startup parameter"),
        login="name the server itself with {host} and {port}, not PgBouncer or another pooler",
        target="check bridge_target_host and bridge_target_port: they must lead to Open WebUI's server itself, not to "
        "PgBouncer or another pooler",
    ),
    Remedy(
        "role",
        ("not permitted to log in",),
        login="check {user}; the role must have LOGIN",
        target="check bridge_sync_user; it must have LOGIN",
    ),
    _CONNECT,
    Remedy(
        "unreachable",
        ("closed unexpectedly", "closed the connection"),
        login="look into the log of the server, and check {host} and {port}",
        target="look into the log of Open WebUI's server, and check bridge_target_host and bridge_target_port",
    ),
    Remedy(
        "TLS",
        ("SSL", "certificate"),
        login="check {ssl_mode} and {ca_cert}",
        target="check bridge_target_sslmode and bridge_target_sslrootcert (a file on LiteLLM's server)",
    ),
    Remedy(
        "too many connections",
        ("too many connections",),
        login="raise the connection limit of the role {user} or of {db}, or use fewer connections (parallel)",
        target="raise the connection limit of {user} or of {database} in Open WebUI's server",
    ),
    Remedy(
        "too many connections",
        # The last ones are in the text of every language.
        ("too many clients", "remaining connection slots", "SUPERUSER", "pg_use_reserved_connections"),
        ("53300",),
        "raise max_connections of the server or free connections",
        "raise max_connections of Open WebUI's server or free connections",
    ),
    Remedy(
        "read-only",
        ("is read-only", "hot standby"),
        ("25006",),
        "name the primary server with {host}",
        "check bridge_target_host: it must lead to the primary of Open WebUI's server, and its database must not be "
        "read-only; what waits is delivered as soon as it does",
    ),
    Remedy(
        "starting",
        ("starting up", "shutting down", "recovery mode"),
        ("57P03",),
        "wait until the server has started",
        "wait until Open WebUI's server has started",
    ),
    Remedy(
        "database",
        ("database ",),
        ("3D000",),
        "set {db} to the database that {program} uses",
        "check bridge_openwebui_db",
    ),
    Remedy("role", ("role ",), login="check {user}", target="check bridge_sync_user"),
    Remedy(
        "permission",
        sqlstates=("42501",),
        login="set {user} to a superuser, or let that role be a member of the bridge's owner role (bridge_owner_role)",
    ),
    Remedy(
        "driver",
        ("psycopg",),
        login="install the Python library psycopg2 for that interpreter, or set ansible_python_interpreter to one that "
        "has it",
    ),
)
_BY_NAME = {remedy.name: remedy for remedy in reversed(_CONNECTION)}
_LOGIN = Remedy(
    "login",
    login="check {user} and {password}, and that the role may log in and has connections left",
    target="check bridge_sync_user and bridge_sync_password, and that the role may log in and has connections left",
)
# What names nobody: there are no connections left for anybody, or the server is not ready.
_BUSY = Remedy(
    "busy",
    login="wait until the server has started; if it has, raise its max_connections or free connections",
    target="wait until Open WebUI's server has started; if it has, raise its max_connections or free connections",
)
_UNREACHABLE = Remedy(
    "unreachable",
    sqlstates=("UB001",),
    login="check {host} and {port}: the server must run, and be reachable from the host that the play runs on",
    target="check bridge_target_host and bridge_target_port: Open WebUI's server must run, and be reachable from "
    "LiteLLM's",
)

# Failures of a delivery. Those with words come before the codes that they share with others.
_DELIVERY = (
    Remedy(
        "email taken",
        ("email refused",),
        target="change the email of the Open WebUI account that has it, or delete that account",
    ),
    Remedy(
        "copy",
        ("this database is a copy",),
        target=f"nothing, or if this database takes the place of the original, {DEPLOY}",
    ),
    Remedy(
        "another installation",
        ("belongs to another installation",),
        target=f"Open WebUI follows another LiteLLM: if this one is to take its place, {DEPLOY} with "
        "bridge_take_ownership: true",
    ),
    Remedy("no owner", ("has no identity yet", "belongs to no installation yet", "is not signed by"), target=DEPLOY),
    Remedy("older bridge", ("side of the bridge is older",), target=DEPLOY),
    Remedy("not deployed", ("foreign server user_bridge_target does not exist",), target=DEPLOY),
    _CONNECT,
    Remedy(
        "permission",
        ("permission denied",),
        ("42501",),
        target=f"the sync user's or the owner role's rights are incomplete: {DEPLOY}",
    ),
    Remedy(
        "timeout",
        sqlstates=("UB002", "57014"),
        target="look for load and for long transactions on Open WebUI's server, or raise bridge_target_timeout_ms; "
        "what waits is delivered as soon as it answers",
    ),
    Remedy(
        "locked",
        sqlstates=("55P03", "40P01"),
        target="wait for the migration or long transaction that holds the table or the row, or end it with "
        "pg_terminate_backend if the message names a process that delivers nothing; it is delivered then",
    ),
    Remedy(
        "encoding",
        sqlstates=("22P05", "22021"),
        target="remove the character from the name in LiteLLM, or convert the database whose encoding lacks it to UTF8",
    ),
    Remedy("too long", sqlstates=("22001",), target="shorten the value in LiteLLM, or upgrade Open WebUI"),
    Remedy(
        "conflict",
        sqlstates=("23505",),
        target="another row of Open WebUI has this id or email: rename or delete that one",
    ),
    Remedy(
        "schema",
        sqlstates=("42P01", "42703", "42804", "23502"),
        target="Open WebUI's tables are not what the bridge knows: wait for its upgrade to end, otherwise upgrade the "
        f"collection and {DEPLOY}",
    ),
    Remedy(
        "not deployed",
        sqlstates=("42883", "3F000"),
        target=f"the bridge's schema or a function in it is missing: {DEPLOY}",
    ),
    _UNREACHABLE,
)
OTHER = Remedy("other", target="read the message; the entity is retried with growing pauses until it works")


def connection_remedy(sqlstate: str, text: str, user: str = "", database: str = "") -> Remedy:
    """Why a connection could not be opened, by its code, its words, or the names that it quotes."""
    reason = server_reason(text)
    return (
        _by_code(_CONNECTION, sqlstate)
        or _by_words(_CONNECTION, reason)
        or _by_words(_CONNECTION, text)
        or _by_names(reason, user, database)
        or (_BUSY if _SERVER_SAYS in text else _UNREACHABLE)
    )


def delivery_remedy(sqlstate: str | None, message: str | None) -> Remedy:
    """Why a delivery failed, from what the queue has recorded."""
    text = message or ""
    refused = _REFUSED.search(text)
    code = refused[1] if refused else sqlstate or ""
    found = _by_words(_DELIVERY, text) or (None if code == "UB001" else _by_code(_DELIVERY, code))
    if found is None and refused:
        found = _by_code(_CONNECTION, code)
    if found is None and (sqlstate or "") in CONNECTING:
        tried = _CONNECTING_AS.search(text)
        return connection_remedy("", _CONNECTING_AS.sub("", text), **(tried.groupdict() if tried else {}))
    return found or OTHER


def server_reason(text: str) -> str:
    """The line of a failed connection that says most, without libpq's address and the server's severity.

    With several addresses for one host libpq reports each.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    reason = next((line for line in lines if _SERVER_SAYS in line), lines[0] if lines else "unknown reason")
    reason = reason.rsplit(_SERVER_SAYS, 1)[-1]
    return re.sub(r"^(unable to connect to database: )?(connection to server .*? failed: )?", "", reason).strip()


def _by_code(table: tuple[Remedy, ...], sqlstate: str) -> Remedy | None:
    return next((remedy for remedy in table if sqlstate in remedy.sqlstates), None)


def _by_words(table: tuple[Remedy, ...], text: str) -> Remedy | None:
    return next((remedy for remedy in table if any(word in text for word in remedy.words)), None)


def _by_names(reason: str, user: str, database: str) -> Remedy | None:
    """Which names of the login the server complains about; two that are equal leave it open which one is meant."""
    quotes_user, quotes_database = _quotes(reason, user), _quotes(reason, database)
    if quotes_user and not (quotes_database and user != database):
        return _LOGIN
    return _BY_NAME["database"] if quotes_database else None


# Quotation marks of any language: ASCII, guillemets, curly ones and corner brackets.
_QUOTATION_MARK = "[\"'\u00ab\u00bb\u2018-\u201e\u300c-\u300f]"


def _quotes(reason: str, name: str) -> bool:
    """Whether a name stands between quotation marks."""
    quoted = rf"{_QUOTATION_MARK}\s?{re.escape(name)}\s?{_QUOTATION_MARK}"
    return bool(name) and re.search(quoted, reason) is not None
