# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Brings what existed before the bridge, in chunks that can be interrupted and gone on with at any point.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import cycle, groupby
from typing import Any, Callable

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._migration.batch import Found, TargetAway, Worker
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import SCHEMA
from ansible_collections.llmops.user_bridge.plugins.module_utils._session import Session

MAX_BATCH = 2000
MAX_PARALLEL = 16
_LOCK = f"hashtextextended('{SCHEMA} migration', 0)"
# The names that check_migration_status() gives its rows, for people who have known them for long.
_COUNTS = {
    "Total LiteLLM Users": "total",
    "Users with Email": "with_email",
    "Users without Email": "without_email",
    "Already Synced Users": "already_synced",
    "Open WebUI Users of the Bridge": "in_openwebui",
}

_SCOPE = f"{SCHEMA}.migration_scope(%(organizations)s::text[], %(teams)s::text[], %(email_pattern)s::text)"

_NAMED = (("organizations", "LiteLLM_OrganizationTable", "organization"), ("teams", "LiteLLM_TeamTable", "team"))
_UNKNOWN = """
SELECT n.name
  FROM unnest(%(names)s::text[]) AS n(name)
 WHERE NOT EXISTS (SELECT FROM public."{table}" AS t WHERE t.{id} = n.name OR t.{alias} = n.name) ORDER BY 1"""

_LOCK_TABLE = """
SELECT current_setting('max_locks_per_transaction')::integer
       * (current_setting('max_connections')::integer + current_setting('max_prepared_transactions')::integer)"""

_HOLDER = f"""
SELECT a.pid, extract(epoch FROM clock_timestamp() - a.backend_start)::bigint AS seconds
  FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
 WHERE l.locktype = 'advisory' AND l.granted
   AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
   AND l.objsubid = 1 AND (l.classid::bigint << 32) | l.objid::bigint = {_LOCK} LIMIT 1"""


@dataclass
class Position:
    """Where a run is: everything up to this entity, in the order of the phases, has been dealt with."""

    entity_type: str | None = None
    entity_id: str = ""
    total: int = 0
    users_total: int = 0
    done: int = 0
    users_done: int = 0
    delivered: int = 0

    @classmethod
    def parse(cls, text: str | None) -> Position:
        if text is None:
            return cls()
        try:
            return cls(**json.loads(text))
        except (TypeError, ValueError):
            raise BridgeError("resume_from is not what a run has returned as next; leave it out") from None

    def text(self) -> str:
        return json.dumps(asdict(self))


def like_pattern(glob: str | None) -> str | None:
    """A shell pattern (* and ?) as a pattern for LIKE on a lower-cased text."""
    if glob is None:
        return None
    translated = {"*": "%", "?": "_", "%": r"\%", "_": r"\_", "\\": r"\\"}
    return "".join(translated.get(character, character) for character in glob.lower())


def wanted_scope(params: dict[str, Any]) -> dict[str, Any]:
    for option in ("organizations", "teams"):
        if params[option] == []:
            raise BridgeError(f"{option} is empty, so nothing would be migrated; leave it out for no such limit")
    if params["email_pattern"] == "":
        raise BridgeError("email_pattern is empty; leave it out for no such limit, or give one like *@example.com")
    return {
        "organizations": params["organizations"],
        "teams": params["teams"],
        "email_pattern": like_pattern(params["email_pattern"]),
    }


def check(params: dict[str, Any]) -> None:
    if not 1 <= params["batch_size"] <= MAX_BATCH:
        raise BridgeError(f"batch_size must be between 1 and {MAX_BATCH}: each user takes two of the server's locks")
    if not 1 <= params["parallel"] <= MAX_PARALLEL:
        raise BridgeError(f"parallel must be between 1 and {MAX_PARALLEL}: each keeps one of the server's cores busy")
    if params["chunk_seconds"] < 0:
        raise BridgeError("chunk_seconds must not be negative")
    if params["wait_seconds"] < 0:
        raise BridgeError("wait_seconds must not be negative; 0 refuses at once while another migration runs")


class Migration:
    """One chunk of a migration."""

    def __init__(self, params: dict[str, Any], check_mode: bool, clock: Callable[[], float] = time.monotonic) -> None:
        check(params)
        self.params = params
        self.check_mode = check_mode
        self.clock = clock
        self.scope = wanted_scope(params)
        self.position = Position.parse(params["resume_from"])
        # Holds the lock of the migration and goes through the scope; the workers have connections of their own.
        self.session = Session(params, params["owner"])
        self.cur = self.session.cur
        self.found = Found()
        self.begun = threading.Lock()

    def run(self) -> str | None:
        """Work for a while; returns where to go on, None when everything is done."""
        self._refuse()
        if not self.check_mode:
            self._lock()
        if self.position.entity_type is None:
            self._count_scope()
        if not self._bring(self.clock() + self.params["chunk_seconds"]):
            return self.position.text()
        if self.position.delivered and not self.check_mode:
            note(self.session, "MIGRATE_COMPLETE", {"entities": self.position.delivered})
        return None

    def _workers(self) -> list[Worker]:
        # Previews hold the entities' locks: side by side, they would take what the other looks at for busy.
        number = 1 if self.check_mode else self.params["parallel"]
        return [
            Worker(
                Session(self.params, self.params["owner"]), self.check_mode, self.params["return_users"], self._begin
            )
            for _each in range(number)
        ]

    def _bring(self, stop: float) -> bool:
        """Hand out batches until the clock says stop; returns whether there are no more."""
        workers = self._workers()
        running: deque[tuple[list[tuple[str, str]], Future[Found]]] = deque()
        ended = True
        with ThreadPoolExecutor(len(workers)) as pool:
            for batch, worker in zip(self._batches(len(workers)), cycle(workers)):
                # A membership stands on an account, and so on: one type ends before the next begins.
                while running and (len(running) == len(workers) or running[0][0][0][0] != batch[0][0]):
                    self._take(*running.popleft())
                running.append((batch, pool.submit(worker.bring, batch)))
                if self.clock() >= stop:
                    ended = False
                    break
            for each in running:
                self._take(*each)
        return ended

    def _take(self, batch: list[tuple[str, str]], future: Future[Found]) -> None:
        """In the order in which they were handed out, so that all up to the position is done."""
        try:
            found = future.result()
        except TargetAway as error:
            raise BridgeError(
                f"{error}; {self.position.done} of {self.position.total} entities were dealt with before, "
                "run again to go on"
            ) from None
        self.found.add(found)
        self.position.entity_type, self.position.entity_id = batch[-1]
        self.position.done += len(batch)
        self.position.users_done += len(batch) if batch[0][0] == "user" else 0
        self.position.delivered += found.delivered

    def _begin(self, session: Session) -> None:
        if self.begun.acquire(blocking=False) and not self.position.delivered:
            note(session, "MIGRATE_START", {"entities": self.position.total})

    def counts(self) -> dict[str, Any]:
        with self.session.transaction():
            found = _pg.rows(self.cur, f"SELECT metric, count FROM {SCHEMA}.check_migration_status()")
        return {_COUNTS[row["metric"]]: row["count"] for row in found if row["metric"] in _COUNTS}

    def progress(self) -> dict[str, int]:
        names = ("done", "total", "users_done", "users_total")
        return {name: getattr(self.position, name) for name in names}

    def _refuse(self) -> None:
        with self.session.transaction():
            if _pg.value(self.cur, f"SELECT paused FROM {SCHEMA}.settings"):
                raise BridgeError(
                    f"the bridge in database {self.session.database} is paused, so nothing would be migrated: "
                    "run the playbook llmops.user_bridge.resume_bridge first"
                )
            for option, table, key in _NAMED:
                query = _UNKNOWN.format(table=table, id=f"{key}_id", alias=f"{key}_alias")
                unknown = _pg.rows(self.cur, query, {"names": self.scope[option] or []})
                if unknown:
                    names = ", ".join(row["name"] for row in unknown)
                    raise BridgeError(f"{option}: LiteLLM has none with this id or alias: {names}; nothing was changed")

    def _lock(self) -> None:
        """One migration at a time: two would each deliver what the other is about to."""
        deadline = self.clock() + self.params["wait_seconds"]
        while True:
            with self.session.transaction():
                if _pg.value(self.cur, f"SELECT pg_try_advisory_lock({_LOCK})"):
                    return
                holders = _pg.rows(self.cur, _HOLDER)
            if self.clock() >= deadline:
                who = "".join(f" (process {row['pid']}, for {row['seconds']} seconds)" for row in holders)
                raise BridgeError(
                    f"another migration runs in database {self.session.database}{who}, and wait_seconds "
                    f"({self.params['wait_seconds']}) are over; wait until it has ended and run again"
                )
            time.sleep(0.25)

    def _count_scope(self) -> None:
        with self.session.transaction():
            (row,) = _pg.rows(
                self.cur,
                f"SELECT count(*) AS total, count(*) FILTER (WHERE entity_type = 'user') AS users FROM {_SCOPE}",
                self.scope,
            )
        self.position.total, self.position.users_total = row["total"], row["users"]

    def _batches(self, at_a_time: int) -> Iterator[list[tuple[str, str]]]:
        """The rest of the scope in portions. The server keeps it, whose memory is not ours to spend."""
        after = ""
        if self.position.entity_type is not None:
            after = (
                f" WHERE ({SCHEMA}.migration_phase(entity_type), entity_id COLLATE \"C\")"
                f" > ({SCHEMA}.migration_phase(%(entity_type)s::text), %(entity_id)s::text)"
            )
        with self.session.transaction():
            self.cur.execute("SET LOCAL jit = off")
            self.cur.execute(
                f"DECLARE scope NO SCROLL CURSOR WITH HOLD FOR SELECT entity_type, entity_id FROM {_SCOPE}{after}"
                f" ORDER BY {SCHEMA}.migration_phase(entity_type), entity_id COLLATE \"C\"",
                {**self.scope, "entity_type": self.position.entity_type, "entity_id": self.position.entity_id},
            )
        size = min(self.params["batch_size"], max(1, self._most_at_once() // at_a_time))
        while True:
            with self.session.transaction():
                batch = _pg.rows(self.cur, f"FETCH {size} FROM scope")
            if not batch:
                return
            # One type at a time: a key is mapped to what its user's delivery has left behind.
            for kind, rows in groupby(batch, key=lambda row: str(row["entity_type"])):
                yield [(kind, row["entity_id"]) for row in rows]

    def _most_at_once(self) -> int:
        """A third of the server's lock table, of which a user takes two places; programs need the rest."""
        with self.session.transaction():
            return int(_pg.value(self.cur, _LOCK_TABLE)) // 6


def note(session: Session, operation: str, data: dict[str, Any]) -> None:
    """Write down in the audit that a migration began or ended."""
    with session.transaction(read_only=False):
        session.cur.execute(
            f"SELECT {SCHEMA}.note_migration(%(operation)s::text, %(data)s::jsonb)",
            {"operation": operation, "data": json.dumps(data)},
        )
