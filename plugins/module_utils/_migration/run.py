# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Migrates what existed before the bridge, in chunks; a run that was interrupted resumes after the last one.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import cycle
from typing import Any, Callable

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._bridge import entity_types, is_paused
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._migration.batch import TargetAway, Worker
from ansible_collections.llmops.user_bridge.plugins.module_utils._migration.bounds import MAX_BATCH, MAX_PARALLEL
from ansible_collections.llmops.user_bridge.plugins.module_utils._migration.found import Found
from ansible_collections.llmops.user_bridge.plugins.module_utils._migration.lock import lock, most_entities_at_once
from ansible_collections.llmops.user_bridge.plugins.module_utils._migration.scope import (
    Position,
    batches,
    count,
    refuse_unknown,
    wanted_scope,
)
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import SCHEMA
from ansible_collections.llmops.user_bridge.plugins.module_utils._session import Session

# By the metric in check_migration_status(), whose names are public.
_COUNTS = {
    "Total LiteLLM Users": "total",
    "Users with Email": "with_email",
    "Users without Email": "without_email",
    "Already Synced Users": "already_synced",
    "Open WebUI Users of the Bridge": "in_openwebui",
}


def check(params: dict[str, Any]) -> None:
    """Refuse options out of bounds."""
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
        # Holds the advisory lock and the cursor; each worker has a connection of its own.
        self.session = Session(params, params["owner"])
        self.cur = self.session.cur
        self.found = Found()
        self.begun = threading.Lock()

    def run(self) -> str | None:
        """Work for a while; returns where to go on, None when everything is done."""
        self._refuse_while_paused()
        refuse_unknown(self.session, self.scope)
        if not self.check_mode:
            lock(self.session, self.params["wait_seconds"], self.clock)
        if self.position.entity_type is None:
            self.position.total, self.position.users_total = count(self.session, self.scope)
        if not self._bring(self.clock() + self.params["chunk_seconds"]):
            return self.position.text()
        if self.position.delivered and not self.check_mode:
            note(self.session, "MIGRATE_COMPLETE", {"entities": self.position.delivered})
        return None

    def _refuse_while_paused(self) -> None:
        if is_paused(self.session):
            raise BridgeError(
                f"the bridge in database {self.session.database} is paused, so nothing would be migrated: "
                "run the playbook llmops.user_bridge.resume_bridge first"
            )

    def _workers(self) -> list[Worker]:
        # Previews lock the entities: parallel ones would report each other's as busy.
        number = 1 if self.check_mode else self.params["parallel"]
        owner, users = self.params["owner"], self.params["return_users"]
        previewed = self._previewed() if self.check_mode else frozenset()
        return [
            Worker(Session(self.params, owner), self.check_mode, previewed, users, self._begin)
            for _each in range(number)
        ]

    def _previewed(self) -> frozenset[str]:
        """Types whose outcome is known beforehand: that of others depends on an account that is not there yet."""
        with self.session.transaction():
            return frozenset(row["entity_type"] for row in entity_types(self.cur) if row["stands_alone"])

    def _bring(self, stop: float) -> bool:
        """Hand out batches until the time is over; returns whether everything is done."""
        workers = self._workers()
        size = min(self.params["batch_size"], max(1, most_entities_at_once(self.session) // len(workers)))
        running: deque[tuple[list[tuple[str, str]], Future[Found]]] = deque()
        ended = True
        with ThreadPoolExecutor(len(workers)) as pool:
            for batch, worker in zip(batches(self.session, self.scope, self.position, size), cycle(workers)):
                # Memberships need their accounts: all batches of a type end before the next type begins.
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
        """Wait for a batch, in the order in which they were handed out: all up to the position is done."""
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
        """How many users there are, and how many of them have an account, in the end."""
        with self.session.transaction():
            found = _pg.rows(self.cur, f"SELECT metric, count FROM {SCHEMA}.check_migration_status()")
        return {_COUNTS[row["metric"]]: row["count"] for row in found if row["metric"] in _COUNTS}

    def progress(self) -> dict[str, int]:
        """How far the run is."""
        names = ("done", "total", "users_done", "users_total")
        return {name: getattr(self.position, name) for name in names}


def note(session: Session, operation: str, data: dict[str, Any]) -> None:
    """Audit that a migration began or ended."""
    with session.transaction(read_only=False):
        session.cur.execute(
            f"SELECT {SCHEMA}.note_migration(%(operation)s::text, %(data)s::jsonb)",
            {"operation": operation, "data": json.dumps(data)},
        )
