# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A LiteLLM database and an Open WebUI database on one server, with everybody's logins."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import psycopg2.extensions
import psycopg2.extras

from kit.binaries import pg_dump_for
from kit.cluster import SUPERUSER, SUPERUSER_PASSWORD, Cluster, quick_verifier
from kit.common import pick_version
from kit.schemas import Admin, Login, apply_litellm, apply_openwebui

Side = Literal["litellm", "openwebui"]
SIDES: tuple[Side, ...] = ("litellm", "openwebui")
OWNER_ROLE = "user_bridge_owner"
# Who owns the functions that touch the program's tables.
PROGRAM_ROLES: Mapping[Side, str] = {"litellm": "user_bridge_reader", "openwebui": "user_bridge_writer"}
SYNC_USER = "sync_user"
# Without login.
OWN_ROLES = (OWNER_ROLE, *PROGRAM_ROLES.values())
MONITOR = "user_bridge_monitor"
# Awkward on purpose: whoever builds a connection string or an SQL literal by hand breaks on it.
PASSWORDS = {
    SUPERUSER: SUPERUSER_PASSWORD,
    "litellm": "litellm'pw",
    "openwebui": "openwebui@pw/%",
    SYNC_USER: 'sync\' \\ "user" = {pw} $$',
}


@dataclass(eq=False)
class Session:
    """One connection with the three questions that tests ask of it. Autocommit unless opened otherwise."""

    raw: psycopg2.extensions.connection

    def run(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] | None = None) -> int:
        """Execute, and return the number of rows that were touched."""
        with self.raw.cursor() as cursor:
            cursor.execute(sql, parameters)
            return cursor.rowcount

    def rows(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        with self.raw.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
            cursor.execute(sql, parameters)
            return [dict(row) for row in cursor.fetchall()]

    def value(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] | None = None) -> Any:
        """The first column of the first row; None when there is no row."""
        with self.raw.cursor() as cursor:
            cursor.execute(sql, parameters)
            row = cursor.fetchone()
            return row[0] if row else None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """BEGIN ... COMMIT on an autocommit session; ROLLBACK when the block raises."""
        self.run("BEGIN")
        try:
            yield
        except BaseException:
            self.run("ROLLBACK")
            raise
        self.run("COMMIT")

    def commit(self) -> None:
        self.raw.commit()

    def rollback(self) -> None:
        self.raw.rollback()

    @property
    def pid(self) -> int:
        return self.raw.info.backend_pid

    def close(self) -> None:
        self.raw.close()


class Pair:
    """The two databases. `litellm` and `openwebui` are the programs' own logins, `*_admin` the superuser's.

    Without names they are made when somebody first asks for one: until then they can become copies of anything.
    """

    def __init__(
        self,
        cluster: Cluster,
        litellm_db: str | None,
        openwebui_db: str | None,
        litellm_version: str,
        openwebui_version: str,
        admin: Admin,
    ) -> None:
        self.cluster = cluster
        self.litellm_version = litellm_version
        self.openwebui_version = openwebui_version
        self.admin = admin
        self.databases: dict[Side, str] = {}
        if litellm_db and openwebui_db:
            self.databases = {"litellm": litellm_db, "openwebui": openwebui_db}
        # What kit.bridge has installed: rendered SQL by side and path.
        self.installed: Mapping[Side, Mapping[str, str]] | None = None
        self.sessions: dict[str, Session] = {}
        self.opened: list[Session] = []

    def make(self, templates: Mapping[Side, str] | None = None) -> None:
        """Create both databases, as copies of both programs' schemas or of the templates given."""
        assert not self.databases
        source = templates or {
            "litellm": _litellm_template(self.cluster, self.litellm_version),
            "openwebui": _openwebui_template(self.cluster, self.openwebui_version, self.admin),
        }
        names: dict[Side, str] = {side: self.cluster.fresh_name(side) for side in SIDES}
        self.cluster.execute(
            *known_passwords(self.cluster, SIDES),
            *(
                f'CREATE DATABASE "{names[side]}" OWNER "{side}" TEMPLATE "{source[side]}" {_strategy(self.cluster)}'
                for side in SIDES
            ),
        )
        self.databases = names

    def database(self, side: Side) -> str:
        if not self.databases:
            self.make()
        return self.databases[side]

    @property
    def litellm_db(self) -> str:
        return self.database("litellm")

    @property
    def openwebui_db(self) -> str:
        return self.database("openwebui")

    def login(self, side: Side, user: str | None = None) -> Login:
        """How `user` (by default the program's own role) reaches a side."""
        name = user or side
        return Login(self.cluster.host, self.cluster.port, self.database(side), name, PASSWORDS[name])

    def connect(self, side: Side, user: str | None = None, *, autocommit: bool = True, **options: Any) -> Session:
        """A new session, closed with the pair. `user` is the program's own role by default."""
        login = self.login(side, user)
        raw = self.cluster.connect(login.database, login.user, login.password, **options)
        raw.autocommit = autocommit
        session = Session(raw)
        self.opened.append(session)
        return session

    def _kept(self, side: Side, user: str) -> Session:
        session = self.sessions.get(f"{side}:{user}")
        if session is None or session.raw.closed:
            session = self.sessions[f"{side}:{user}"] = self.connect(side, user)
        return session

    @property
    def litellm(self) -> Session:
        """LiteLLM's own role in LiteLLM's database."""
        return self._kept("litellm", "litellm")

    @property
    def openwebui(self) -> Session:
        """Open WebUI's own role in Open WebUI's database."""
        return self._kept("openwebui", "openwebui")

    @property
    def litellm_admin(self) -> Session:
        """The superuser in LiteLLM's database."""
        return self._kept("litellm", SUPERUSER)

    @property
    def openwebui_admin(self) -> Session:
        """The superuser in Open WebUI's database."""
        return self._kept("openwebui", SUPERUSER)

    def superuser(self, side: Side) -> Session:
        return self.litellm_admin if side == "litellm" else self.openwebui_admin

    @property
    def sync_user(self) -> Session:
        """The bridge's sync user in Open WebUI's database; exists once the bridge is installed."""
        return self._kept("openwebui", SYNC_USER)

    def close(self) -> None:
        for session in self.opened:
            session.close()

    def drop(self) -> None:
        self.close()
        drop_databases(self.cluster, self.databases.values())


@contextmanager
def pair(cluster: Cluster, litellm: str = "new", openwebui: str = "new", admin: Admin | None = None) -> Iterator[Pair]:
    """Fresh copies of both schemas, with Open WebUI's first admin; dropped afterwards."""
    versions = pick_version("litellm", litellm), pick_version("open-webui", openwebui)
    made = Pair(cluster, None, None, *versions, admin or Admin())
    try:
        yield made
    finally:
        made.drop()


@contextmanager
def pair_before_first_start(cluster: Cluster, litellm: str = "new", openwebui: str = "new") -> Iterator[Pair]:
    """As `pair`, but for an Open WebUI that is to be started: its database is empty, and nobody has signed up."""
    versions = pick_version("litellm", litellm), pick_version("open-webui", openwebui)
    ensure_login(cluster, "openwebui")
    made = Pair(cluster, None, None, *versions, Admin())
    made.make({"litellm": _litellm_template(cluster, versions[0]), "openwebui": "template0"})
    try:
        yield made
    finally:
        made.drop()


def _strategy(cluster: Cluster) -> str:
    """How a template is copied: files take half the time of the log, which is the default since PostgreSQL 15."""
    return "STRATEGY file_copy" if cluster.major >= 15 else ""


def drop_databases(cluster: Cluster, names: Iterable[str]) -> None:
    """Whoever is connected is thrown out."""
    cluster.execute(*(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)' for name in names))


def empty_database(cluster: Cluster, role: str, name: str | None = None) -> str:
    """A database without tables that belongs to `role`, which is made when it is missing."""
    database = name or cluster.fresh_name(role)
    ensure_login(cluster, role)
    cluster.execute(f'CREATE DATABASE "{database}" OWNER "{role}" TEMPLATE template0')
    return database


def ensure_login(cluster: Cluster, role: str) -> None:
    """The login role, with the password that the kit knows for it."""
    with contextlib.closing(cluster.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role])
        verb = "ALTER" if cursor.fetchone() else "CREATE"
        cursor.execute(f'{verb} ROLE "{role}" LOGIN PASSWORD %s', [quick_verifier(PASSWORDS[role])])
        cursor.execute("SELECT rolpassword FROM pg_authid WHERE rolname = %s", [role])
        (cluster.passwords[role],) = cursor.fetchone() or ("",)


def known_passwords(cluster: Cluster, roles: Iterable[str]) -> list[str]:
    """What puts back passwords that a test has left changed. As they were stored: hashing anew costs more."""
    return [f"ALTER ROLE \"{role}\" PASSWORD '{cluster.passwords[role]}'" for role in roles]


def _litellm_template(cluster: Cluster, version: str) -> str:
    key = f"litellm {version}"
    if key not in cluster.templates:
        name = empty_database(cluster, "litellm")
        with contextlib.closing(cluster.connect(name, "litellm", PASSWORDS["litellm"])) as connection:
            apply_litellm(connection, version)
        cluster.templates[key] = name
    return cluster.templates[key]


def _openwebui_template(cluster: Cluster, version: str, admin: Admin) -> str:
    key = f"open-webui {version} {admin!r}"
    if key not in cluster.templates:
        name = empty_database(cluster, "openwebui")
        login = Login(cluster.host, cluster.port, name, "openwebui", PASSWORDS["openwebui"])
        with contextlib.closing(cluster.connect(name, login.user, login.password)) as connection:
            apply_openwebui(connection, login, version, admin, pg_dump_for(cluster.major))
        cluster.templates[key] = name
    return cluster.templates[key]
