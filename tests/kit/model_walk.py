# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A random walk of LiteLLM's writes under a live bridge: row by row from one random database to another.

Several databases of kit.model_oracle have the same users, teams, keys and so on, each with other rights. A step makes a
few rows what one of these has them to be, or deletes them, in two sessions at once. After each step Open WebUI shows to
each person what LiteLLM's own functions let them call.
"""

from __future__ import annotations

import contextlib
import datetime
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import psycopg2
from psycopg2.extras import Json

from kit import model_oracle, openwebui, rows
from kit.bridge import change_settings
from kit.drains import drain_on
from kit.model_oracle import PROVIDERS, TABLES, Judge, Pairs, Row, World
from kit.pairs import Pair, Session

POLICIES = ("assigned", "effective", "teams", "user", "keys")
PEOPLE = 10
_KEYS: Mapping[str, tuple[str, ...]] = {
    "LiteLLM_BudgetTable": ("budget_id",),
    "LiteLLM_ModelTable": ("id",),
    "LiteLLM_ProxyModelTable": ("model_id",),
    "LiteLLM_Config": ("param_name",),
    "LiteLLM_AccessGroupTable": ("access_group_id",),
    "LiteLLM_UserTable": ("user_id",),
    "LiteLLM_TeamTable": ("team_id",),
    "LiteLLM_ProjectTable": ("project_id",),
    "LiteLLM_TeamMembership": ("user_id", "team_id"),
    "LiteLLM_VerificationToken": ("token",),
}
_REFUSED = (psycopg2.IntegrityError, psycopg2.OperationalError, psycopg2.InternalError)


@dataclass
class Walk:
    """One walk; the bridge is installed, and LiteLLM's tables are empty."""

    pair: Pair
    judge: Judge
    number: int
    random: Random = field(init=False)
    policy: str = field(init=False)
    worlds: list[World] = field(init=False)
    extra: World = field(init=False)
    sessions: tuple[Session, Session] = field(init=False)
    done: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = Random(self.number)
        self.policy = POLICIES[self.number % len(POLICIES)]
        columns = model_oracle.columns(self.pair)
        self.worlds = [
            model_oracle.fitting(model_oracle.world(self.number * 10 + each, PEOPLE), columns) for each in range(3)
        ]
        # One thread plays both: whoever would wait for another's row gives up.
        one, other = (self.pair.connect("litellm", options="-c lock_timeout=30ms") for _ in range(2))
        self.sessions = one, other
        change_settings(self.pair, model_access=True, model_policy=self.policy)
        self.configure(self.worlds[0])

    def go(self, steps: int) -> None:
        for table in self.worlds[0].rows:
            for row in self.worlds[0].rows[table]:
                with contextlib.suppress(psycopg2.IntegrityError):
                    self.write(self.sessions[0], table, _key(table, row), row)
        self.compare()
        for _ in range(steps):
            self.done.clear()
            self.step()
            self.compare()

    def step(self) -> None:
        kind = self.random.choices(("alone", "beside", "savepoint", "expiry", "deploy"), (30, 45, 10, 8, 7))[0]
        self.done.append(kind)
        one, other = self.sessions if self.random.random() < 0.5 else self.sessions[::-1]
        if kind == "deploy":
            self.configure(self.random.choice(self.worlds))
        elif kind == "expiry":
            self.expire(one)
        elif kind == "alone":
            with _tried(one):
                self.some_writes(one)
        elif kind == "savepoint":
            with _tried(one):
                self.some_writes(one)
                one.run("SAVEPOINT s")
                self.some_writes(one)
                self.perhaps_deliver(one)
                one.run("ROLLBACK TO SAVEPOINT s")
        else:
            self.beside(one, other)

    def beside(self, one: Session, other: Session) -> None:
        """Two transactions that overlap; the first one may end last, or not at all."""
        with _tried(one):
            self.some_writes(one)
            self.perhaps_deliver(one)
            with _tried(other):
                self.some_writes(other)
                self.perhaps_deliver(other)
            if self.random.random() < 0.3:
                self.done.append("drain")
                self.pair.litellm_admin.rows("SELECT * FROM user_bridge.drain()")
            if self.random.random() < 0.2:
                self.done.append("rollback")
                raise psycopg2.InternalError

    def perhaps_deliver(self, session: Session) -> None:
        if self.random.random() < 0.6:
            self.done.append("deliver")
            session.run("SET CONSTRAINTS ALL IMMEDIATE")
            session.run("SET CONSTRAINTS ALL DEFERRED")

    def some_writes(self, session: Session) -> None:
        for _ in range(self.random.randint(1, 3)):
            world = self.random.choice(self.worlds)
            table = self.random.choice([each for each in TABLES if world.rows.get(each)])
            row = self.random.choice(world.rows[table])
            self.write(session, table, _key(table, row), None if self.random.random() < 0.2 else row)

    def write(self, session: Session, table: str, key: Row, row: Row | None) -> None:
        """As LiteLLM does, which writes only what has changed."""
        self.done.append(f"{table} {key} {row}")
        where = " AND ".join(f'"{name}" = %s' for name in key)
        found = session.rows(f'SELECT * FROM "{table}" WHERE {where}', list(key.values()))
        if row is None:
            rows.delete(session, table, key)
        elif found:
            values = {name: model_oracle.adapted(name, value) for name, value in row.items() if name not in key}
            if self.random.random() < 0.6:
                # A whole row that moves seldom shows by which of its columns.
                values = {name: values[name] for name in self.random.sample(list(values), min(1, len(values)))}
            if values:
                names = ", ".join(f'"{name}" = %s' for name in values)
                session.run(f'UPDATE "{table}" SET {names} WHERE {where}', [*values.values(), *key.values()])
        else:
            model_oracle.insert(session, table, row)

    def expire(self, session: Session) -> None:
        """The clock reaches the end of a key; the drainer finds it."""
        keys = [row["token"] for row in session.rows('SELECT token FROM "LiteLLM_VerificationToken" ORDER BY 1')]
        if keys:
            soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(milliseconds=100)
            token = self.random.choice(keys)
            self.done.append(token)
            columns = {"expires": soon.replace(tzinfo=None)}
            rows.update(session, "LiteLLM_VerificationToken", {"token": token}, columns)
            time.sleep(0.11)
            self.pair.litellm_admin.run("SELECT pg_sleep_until(%s), user_bridge.enqueue_expired()", [soon])

    def configure(self, world: World) -> None:
        """What only LiteLLM's configuration file has, and a deployment tells the bridge."""
        # Nobody tells the bridge the provider of a name that only the database has, which may come later.
        there = {row["model_name"] for row in world.config_models}
        names = [name for name in PROVIDERS if name not in there]
        config = [{"model_name": name, "model_info": {"access_groups": []}} for name in names]
        extra = [{"name": name, "access_groups": [], "provider": PROVIDERS[name]} for name in names]
        others = [row for row in world.extra_models if row["name"] not in names]
        self.extra = replace(world, config_models=[*world.config_models, *config], extra_models=[*others, *extra])
        self.pair.litellm_admin.run(
            "UPDATE user_bridge.settings SET extra_models = %s; SELECT user_bridge.refresh_entities()",
            [Json(self.extra.extra_models)],
        )

    def compare(self) -> None:
        drain_on(self.pair)
        world = self.world()
        ways = self.judge.ways(world)
        right = model_oracle.expected(world, ways, self.policy)
        seen: Pairs = frozenset(
            (account.removeprefix("usr_"), model)
            for account, models in openwebui.visible_models(self.pair).items()
            for model in models
        )
        admin = self.pair.litellm_admin
        found = {
            "too much": sorted(seen - right),
            "too little": sorted(right - seen),
            "queued": admin.rows("SELECT entity_type, entity_id, last_error FROM user_bridge.sync_queue"),
            "different": admin.rows("SELECT * FROM user_bridge.reconcile(false)"),
        }
        assert not any(found.values()), (self.number, self.policy, self.done, found)

    def world(self) -> World:
        """What LiteLLM's tables have now."""
        found: dict[str, list[Row]] = {}
        for table in self.worlds[0].rows:
            names = sorted({name for world in self.worlds for row in world.rows[table] for name in row})
            listed = ", ".join(f'"{name}"' for name in names)
            found[table] = [
                {name: _plain(value) for name, value in row.items()}
                for row in self.sessions[0].rows(f'SELECT {listed} FROM "{table}"')
            ]
        return World(found, self.extra.config_models, self.extra.extra_models)


def _key(table: str, row: Row) -> Row:
    return {name: row[name] for name in _KEYS[table]}


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime.datetime) else value


@contextlib.contextmanager
def _tried(session: Session) -> Iterator[None]:
    """A transaction, of which nothing is left where LiteLLM's tables refuse it."""
    session.run("BEGIN")
    try:
        yield
        session.run("COMMIT")
    except _REFUSED:
        session.run("ROLLBACK")
