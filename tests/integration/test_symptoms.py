# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a delivery or a login fails, on real servers: each row of the tables in docs/operations.md, with its remedy."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from ansible_collections.llmops.user_bridge.plugins.module_utils._causes import cause

from kit import rows, symptoms, weekly
from kit.bridge import install_bridge
from kit.cluster import running
from kit.pairs import PASSWORDS, SYNC_USER, Pair
from kit.pgbouncer import pgbouncer
from modules_support import READ_ONLY, a_call, run_module

# For as long as the block lasts; some of it is the server's, which other tests use as well.
Damage = Callable[[Pair], AbstractContextManager[Any]]
SETTINGS = {"initial_password": "none", "backoff_seconds": 1, "target_timeout_ms": 1000}


def sql(*statements: str, side: str = "openwebui", undo: str = "") -> Damage:
    """What somebody does in a database, mostly in Open WebUI's, as a superuser. {db}: its name."""

    @contextmanager
    def done(pair: Pair) -> Iterator[None]:
        session = pair.litellm_admin if side == "litellm" else pair.openwebui_admin
        session.run("; ".join(statements).replace("{db}", pair.openwebui_db))
        try:
            yield
        finally:
            if undo:
                session.run(undo)

    return done


def on_write(block: str) -> Damage:
    """A trigger of somebody else's does this with each new account and each change of one."""
    return sql(
        f"CREATE FUNCTION public.theirs() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN {block}; RETURN NEW; END $f$",
        'CREATE TRIGGER theirs BEFORE INSERT OR UPDATE ON "user" FOR EACH ROW EXECUTE FUNCTION public.theirs()',
    )


def server_option(*changes: str) -> Damage:
    return sql(f"ALTER SERVER user_bridge_target OPTIONS ({', '.join(changes)})", side="litellm")


def both(*damages: Damage) -> Damage:
    @contextmanager
    def all_of(pair: Pair) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for each in damages:
                stack.enter_context(each(pair))
            yield

    return all_of


def rule(method: str) -> Damage:
    """A line in pg_hba.conf before all others, for this database alone."""

    @contextmanager
    def ruled(pair: Pair) -> Iterator[None]:
        path = pair.cluster.data / "pg_hba.conf"
        before = path.read_text(encoding="utf-8")
        try:
            path.write_text(f"host {pair.openwebui_db} all 127.0.0.1/32 {method}\n{before}", encoding="utf-8")
            pair.cluster.execute("SELECT pg_reload_conf()")
            yield
        finally:
            path.write_text(before, encoding="utf-8")
            pair.cluster.execute("SELECT pg_reload_conf()")

    return ruled


@contextmanager
def nobody(_pair: Pair) -> Iterator[int]:
    yield 1


@contextmanager
def who_hangs_up(_pair: Pair) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            with contextlib.suppress(OSError):
                while True:
                    listener.accept()[0].close()

        threading.Thread(target=answer, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@contextmanager
def a_server_that_shuts_down(pair: Pair) -> Iterator[int]:
    """It waits for its last client."""
    with running(pair.cluster.binaries) as leaving, contextlib.closing(leaving.connect()):
        assert leaving.process is not None
        leaving.process.send_signal(signal.SIGTERM)
        yield leaving.port


def a_pooler(pair: Pair) -> AbstractContextManager[int]:
    return pgbouncer(pair.cluster)


def at(somewhere: Callable[[Pair], AbstractContextManager[int]]) -> Damage:
    """The bridge's connection leads to this port."""

    @contextmanager
    def led(pair: Pair) -> Iterator[None]:
        with somewhere(pair) as port, server_option(f"SET port '{port}'")(pair):
            yield

    return led


@contextmanager
def no_slots(pair: Pair) -> Iterator[None]:
    """Others hold all connections but those that are kept for superusers."""
    login = pair.login("openwebui")
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(psycopg2.OperationalError):
            while True:
                stack.enter_context(contextlib.closing(psycopg2.connect(login.url)))
        yield


@contextmanager
def locked(pair: Pair) -> Iterator[None]:
    session = pair.connect("openwebui", autocommit=False)
    session.run('LOCK TABLE "user"')
    yield
    session.rollback()


@contextmanager
def an_older_side(pair: Pair) -> Iterator[None]:
    """It does not know the type."""
    name = "user_bridge.apply_entity(jsonb, user_bridge.entity, jsonb)"
    source = pair.openwebui_admin.value(f"SELECT pg_get_functiondef('{name}'::regprocedure)")
    assert "WHEN 'user' THEN" in source
    pair.openwebui_admin.run(source.replace("WHEN 'user' THEN", "WHEN 'person' THEN"))
    yield


@contextmanager
def an_address_that_is_taken(pair: Pair) -> Iterator[None]:
    rows.change_user(pair.litellm, "u1", user_email=pair.admin.email)
    yield


QUOTED = PASSWORDS[SYNC_USER].replace("'", "''")
ANOTHER_PASSWORD = sql(f"ALTER ROLE {SYNC_USER} PASSWORD 'new'", undo=f"ALTER ROLE {SYNC_USER} PASSWORD '{QUOTED}'")
NO_LOGIN = sql(f"ALTER ROLE {SYNC_USER} NOLOGIN", undo=f"ALTER ROLE {SYNC_USER} LOGIN")
NO_CONNECT = sql(f'REVOKE CONNECT ON DATABASE "{{db}}" FROM PUBLIC, {SYNC_USER}')
NO_SCHEMA = sql(f"REVOKE USAGE ON SCHEMA user_bridge FROM {SYNC_USER}")
LIMIT = sql(f"ALTER ROLE {SYNC_USER} CONNECTION LIMIT 0", undo=f"ALTER ROLE {SYNC_USER} CONNECTION LIMIT -1")
# What docs/operations.md names, and how it comes about.
DELIVERIES: dict[str, Damage] = {
    "email refused": an_address_that_is_taken,
    "this database is a copy": sql("UPDATE user_bridge.identity SET database_oid = 1", side="litellm"),
    "belongs to another installation": sql("UPDATE user_bridge.owned_by SET id = gen_random_uuid()"),
    "has no identity yet": sql("DELETE FROM user_bridge.identity", side="litellm"),
    "belongs to no installation yet": sql("DELETE FROM user_bridge.owned_by"),
    "side of the bridge is older": an_older_side,
    "foreign server user_bridge_target does not exist": sql("DROP SERVER user_bridge_target CASCADE", side="litellm"),
    "42501": sql(f"REVOKE EXECUTE ON FUNCTION user_bridge.apply(jsonb) FROM {SYNC_USER}"),
    "UB002": on_write("PERFORM pg_sleep(5)"),
    "55P03": locked,
    "22021": on_write(r"PERFORM convert_from('\xff', 'UTF8')"),
    "22001": on_write("DECLARE short varchar(3); BEGIN short := 'longer'; END"),
    "23505": sql("""CREATE UNIQUE INDEX ON "user" (role) WHERE id LIKE 'usr_%'"""),
    "42P01": sql("ALTER TABLE auth RENAME TO moved"),
    "23502": sql(
        """ALTER TABLE "user" ADD COLUMN theirs text NOT NULL DEFAULT ''""",
        'ALTER TABLE "user" ALTER COLUMN theirs DROP DEFAULT',
    ),
    "42883": sql("DROP FUNCTION user_bridge.apply(jsonb)"),
    "3F000": sql("DROP SCHEMA user_bridge CASCADE"),
    "UB001": at(nobody),
    "anything else": on_write("PERFORM 1 / 0"),
    "password authentication failed": ANOTHER_PASSWORD,
    "password is required": rule("trust"),
    "pg_hba.conf": rule("reject"),
    "Ident": rule("ident"),
    "unsupported startup parameter": at(a_pooler),
    "not permitted to log in": NO_LOGIN,
    "permission denied for database": NO_CONNECT,
    "closed the connection": at(who_hangs_up),
    "SSL": server_option("SET sslmode 'require'"),
    "too many connections": LIMIT,
    "remaining connection slots": no_slots,
    "25006": both(
        sql('ALTER DATABASE "{db}" SET default_transaction_read_only = on'),
        server_option("SET options '-c search_path=pg_catalog'", "SET target_session_attrs 'any'"),
    ),
    "shutting down": at(a_server_that_shuts_down),
    "database": server_option("SET dbname 'nowhere'"),
    "role": both(
        rule("trust"),
        sql(
            "ALTER USER MAPPING FOR user_bridge_owner SERVER user_bridge_target OPTIONS (SET user 'nobody_there')",
            side="litellm",
        ),
    ),
}


def a_third(signs: Iterable[str]) -> list[Any]:
    """All of them weekly; what a sign leads to is a table's matter, of which tests/unit has each row."""
    return [pytest.param(sign, marks=weekly.marks(sign, 3)) for sign in signs]


@pytest.mark.parametrize("sign", a_third(DELIVERIES))
def test_a_delivery(pair: Pair, sign: str) -> None:
    row = symptoms.row_of(sign, symptoms.DELIVERY)
    install_bridge(pair, SETTINGS)
    rows.add_user(pair.litellm, "u1", "ann@example.com")
    writer = pair.connect("litellm")
    with DELIVERIES[sign](pair):
        rows.change_user(writer, "u1", user_alias="Ann")
        rows.add_user(writer, "u2", "bob@example.com")
        pair.litellm_admin.rows("SELECT * FROM user_bridge.drain()")
        # As bridge_info reads them.
        failed = pair.litellm_admin.rows(
            "SELECT sqlstate, error FROM user_bridge.outage() UNION ALL "
            "SELECT DISTINCT last_sqlstate, last_error FROM user_bridge.sync_queue WHERE last_error IS NOT NULL"
        )
    assert failed
    for each in failed:
        found = cause(each["sqlstate"], each["error"])
        assert (found.name, found.remedy) == (row.cause, row.remedy), each
        assert sign in each["error"] or sign in (each["sqlstate"], "anything else"), each


def options(**changes: Any) -> Callable[[Pair], AbstractContextManager[dict[str, Any]]]:
    """The login is another than it should be."""
    return lambda _pair: contextlib.nullcontext(changes)


def on_the_server(damage: Damage) -> Callable[[Pair], AbstractContextManager[dict[str, Any]]]:
    @contextmanager
    def unchanged(pair: Pair) -> Iterator[dict[str, Any]]:
        with damage(pair):
            yield {}

    return unchanged


def led_to(
    somewhere: Callable[[Pair], AbstractContextManager[int]],
) -> Callable[[Pair], AbstractContextManager[dict[str, Any]]]:
    @contextmanager
    def led(pair: Pair) -> Iterator[dict[str, Any]]:
        with somewhere(pair) as port:
            yield {"login_port": port}

    return led


LOGINS: dict[str, Callable[[Pair], AbstractContextManager[dict[str, Any]]]] = {
    "password authentication failed": options(login_password="wrong one"),
    "no password supplied": options(login_password=""),
    "pg_hba.conf": on_the_server(rule("reject")),
    "Ident": on_the_server(rule("ident")),
    "unsupported startup parameter": led_to(a_pooler),
    "not permitted to log in": on_the_server(NO_LOGIN),
    "permission denied for database": on_the_server(NO_CONNECT),
    "closed the connection": led_to(who_hangs_up),
    "SSL": options(ssl_mode="require"),
    "too many connections": on_the_server(LIMIT),
    "remaining connection slots": on_the_server(no_slots),
    "shutting down": led_to(a_server_that_shuts_down),
    "database": options(login_db="nowhere"),
    "role": on_the_server(rule("trust")),
    "42501": on_the_server(NO_SCHEMA),
    "UB001": led_to(nobody),
}


@pytest.mark.parametrize("sign", a_third(LOGINS))
def test_a_login(pair: Pair, sign: str) -> None:
    row = symptoms.row_of(sign, symptoms.LOGIN)
    install_bridge(pair, SETTINGS)
    login = {"login_user": SYNC_USER, "login_password": PASSWORDS[SYNC_USER], "login_db": pair.openwebui_db}
    if sign == "role":
        login["login_user"] = "nobody_there"
    with LOGINS[sign](pair) as changes:
        call = {**a_call(pair, "bridge_preflight_info"), **login, **changes}
        found = run_module("bridge_preflight_info", call, env=READ_ONLY)["problems"][0]
    assert found.startswith("Cannot look into LiteLLM's database") and (sign in found or sign == "UB001"), found
    remedy = row.remedy.replace("`", "").replace("the program", "LiteLLM")
    for either in (" or bridge_openwebui_db", "bridge_litellm_db or "):
        if remedy in found:
            break
        remedy = remedy.replace(either, "")
    assert f"; {remedy}" in found


# Rows about logins that other tests produce: one is no server's, the other a write's.
ELSEWHERE = {"psycopg": "test_playbooks_bad_input.py", "is read-only": "test_modules_bridge_sync.py"}


@pytest.mark.parametrize(("section", "produced"), [(symptoms.DELIVERY, DELIVERIES), (symptoms.LOGIN, LOGINS)])
def test_every_row_is_produced(section: str, produced: dict[str, Any]) -> None:
    known = {*produced}
    for sign, name in ELSEWHERE.items() if section == symptoms.LOGIN else ():
        assert sign in (Path(__file__).parent / name).read_text(encoding="utf-8")
        known.add(sign)
    assert [row.signs for row in symptoms.causes(section) if not known & {*row.signs}] == []
