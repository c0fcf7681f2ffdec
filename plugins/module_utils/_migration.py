# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Brings what existed before the bridge, in chunks that can be interrupted and gone on with at any point.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import Any, Callable

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._causes import cause
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._session import Session
from ansible_collections.llmops.user_bridge.plugins.module_utils._sql_split import SCHEMA
from ansible_collections.llmops.user_bridge.plugins.module_utils._sync import MAX_LISTED, breaker_is_open

MAX_BATCH = 2000
# Types whose outcome preview() knows beforehand; what stands on an account that is not there yet it cannot know.
_PREVIEWED = ("user", "organization", "team")
_LOCK_NOT_AVAILABLE = "55P03"
_LOCKED_ATTEMPTS = 15
_AWAY_ATTEMPTS = 3
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


@dataclass
class Found:
    """What one chunk did, or in check mode would do."""

    results: dict[str, Counter[str]] = field(default_factory=dict)
    users: list[dict[str, Any]] = field(default_factory=list)
    differences: list[dict[str, Any]] = field(default_factory=list)
    changed: bool = False

    def count(self, entity_type: str, result: str) -> None:
        self.results.setdefault(entity_type, Counter())[result] += 1

    def summary(self) -> dict[str, dict[str, int]]:
        return {kind: dict(sorted(counts.items())) for kind, counts in sorted(self.results.items())}


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
    if params["chunk_seconds"] < 0:
        raise BridgeError("chunk_seconds must not be negative")
    if params["wait_seconds"] < 0:
        raise BridgeError("wait_seconds must not be negative; 0 refuses at once while another migration runs")


def action_of(fields: list[dict[str, Any]]) -> str:
    """What the differing fields of an entity amount to."""
    names = {row["field"] for row in fields}
    if not names:
        return "none"
    if "exists" in names:
        return "create" if any(row["field"] == "exists" and row["after"] for row in fields) else "remove"
    return "link" if names == {"mapping"} else "update"


class Migration:
    """One chunk of a migration, over one connection."""

    def __init__(self, params: dict[str, Any], check_mode: bool, clock: Callable[[], float] = time.monotonic) -> None:
        check(params)
        self.params = params
        self.check_mode = check_mode
        self.clock = clock
        self.scope = wanted_scope(params)
        self.position = Position.parse(params["resume_from"])
        self.session = Session(params, params["owner"])
        self.cur = self.session.cur
        self.found = Found()

    def run(self) -> str | None:
        """Work for a while; returns where to go on, None when everything is done."""
        self._refuse()
        if not self.check_mode:
            self._lock()
        if self.position.entity_type is None:
            self._count_scope()
        stop = self.clock() + self.params["chunk_seconds"]
        for number, batch in enumerate(self._batches(), 1):
            if number & (number - 1) == 0:
                # The server keeps the plans that it made when the tables were half as large, or empty.
                self.cur.execute("DISCARD PLANS")
            self._batch(batch)
            last = batch[-1]
            self.position.entity_type, self.position.entity_id = last["entity_type"], last["entity_id"]
            self.position.done += len(batch)
            self.position.users_done += sum(row["entity_type"] == "user" for row in batch)
            if self.clock() >= stop:
                return self.position.text()
        if self.position.delivered and not self.check_mode:
            self._note("MIGRATE_COMPLETE", {"entities": self.position.delivered})
        return None

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

    def _batches(self) -> Iterator[list[dict[str, Any]]]:
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
        size = min(self.params["batch_size"], self._most_at_once())
        while True:
            with self.session.transaction():
                batch = _pg.rows(self.cur, f"FETCH {size} FROM scope")
            if not batch:
                return
            # One type at a time: a key is mapped to what its user's delivery has left behind.
            for _kind, rows in groupby(batch, key=lambda row: str(row["entity_type"])):
                yield list(rows)

    def _most_at_once(self) -> int:
        """A third of the server's lock table, of which a user takes two places; programs need the rest."""
        with self.session.transaction():
            return max(1, int(_pg.value(self.cur, _LOCK_TABLE)) // 6)

    def _states(self, entities: list[tuple[str, str]]) -> list[dict[str, Any]]:
        """Whether each is in sync; an account that is plainly new is not worth more than a look."""
        new: set[str] = set()
        users = [entity_id for kind, entity_id in entities if kind == "user"]
        with self.session.transaction():
            if users and not self.check_mode:
                query = f"SELECT {SCHEMA}.never_brought(%(ids)s::text[]) AS id"
                new = {row["id"] for row in _pg.rows(self.cur, query, {"ids": users})}
            left = [entity for entity in entities if entity[0] != "user" or entity[1] not in new]
            states = [
                {"entity_type": "user", "entity_id": user, "state": "pending", "skipped": None}
                for user in users
                if user in new
            ]
            if left:
                query = f"SELECT * FROM {SCHEMA}.migration_states(%(types)s::text[], %(ids)s::text[])"
                states += _pg.rows(self.cur, query, _columns(left))
        return states

    def _batch(self, batch: list[dict[str, Any]]) -> None:
        states = self._states([(row["entity_type"], row["entity_id"]) for row in batch])
        previews = self._preview(states)
        pending = []
        known = []
        for row in states:
            entity = (row["entity_type"], row["entity_id"])
            preview = previews.get(entity, {"result": "SUCCESS", "message": None, "fields": []})
            if row["state"] == "pending" or preview["fields"]:
                pending.append(entity)
                continue
            # In sync, or as far as it can be: what was refused before still is, and nothing is written for it.
            result = "SKIPPED" if row["skipped"] is not None else preview["result"]
            self.found.count(entity[0], "UNCHANGED" if result == "SUCCESS" else result)
            if result != "SUCCESS":
                message = row["skipped"] or preview["message"]
                known.append({"entity_type": entity[0], "entity_id": entity[1], "result": result, "message": message})
        outcomes = self._foresee(pending, states, previews) if self.check_mode else self._deliver(pending)
        for row in outcomes:
            self.found.count(row["entity_type"], row["result"])
            self.found.changed = self.found.changed or row["result"] in ("SUCCESS", "WARNING")
        self._list_users(outcomes + known)

    def _preview(self, states: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
        """What a delivery would change: asked where nothing else tells, in check mode of everything that it knows."""
        asked = [
            (row["entity_type"], row["entity_id"])
            for row in states
            if row["state"] == "unclear"
            or self.check_mode and row["state"] == "pending" and row["entity_type"] in _PREVIEWED
        ]
        found: dict[tuple[str, str], dict[str, Any]] = {}
        if not asked:
            return found
        with self.session.transaction():
            rows = _pg.rows(
                self.cur,
                "SELECT p.entity_type, p.entity_id, p.field, p.openwebui AS before, p.litellm AS after,"
                f" p.result, p.message FROM {SCHEMA}.preview(%(types)s::text[], %(ids)s::text[]) AS p ORDER BY 1, 2, 3",
                _columns(asked),
            )
        for row in rows:
            entity = (row["entity_type"], row["entity_id"])
            preview = found.setdefault(entity, {"result": row["result"], "message": row["message"], "fields": []})
            if row["field"] is not None:
                preview["fields"].append(row)
        return found

    def _foresee(
        self,
        pending: list[tuple[str, str]],
        states: list[dict[str, Any]],
        previews: dict[tuple[str, str], dict[str, Any]],
    ) -> list[dict[str, Any]]:
        """The outcomes that delivering would have."""
        reasons = {(row["entity_type"], row["entity_id"]): row["skipped"] for row in states}
        outcomes = []
        for entity in pending:
            # A skipped one has nothing to preview, and what is not previewed is written unless Open WebUI refuses it.
            result = "SUCCESS" if reasons[entity] is None else "SKIPPED"
            preview = previews.get(entity, {"result": result, "message": reasons[entity], "fields": []})
            outcome = {"entity_type": entity[0], "entity_id": entity[1], "action": action_of(preview["fields"])}
            outcomes.append({**outcome, "result": preview["result"], "message": preview["message"] or reasons[entity]})
            self.found.differences += preview["fields"][: MAX_LISTED - len(self.found.differences)]
        return outcomes

    def _deliver(self, pending: list[tuple[str, str]]) -> list[dict[str, Any]]:
        if not pending:
            return []
        if not self.position.delivered:
            self._note("MIGRATE_START", {"entities": self.position.total})
        outcomes: list[dict[str, Any]] = []
        left, size, in_vain = pending, len(pending), 0
        while left:
            portion, left = left[:size], left[size:]
            found = self._migrate(portion)
            kept = [row for row in found if row["result"] != "DEFERRED"]
            if not kept or all(row["result"] == "FAILED" for row in kept) and breaker_is_open(self.session):
                in_vain += 1
                if in_vain == _AWAY_ATTEMPTS:
                    raise BridgeError(self._away(found))
                # A target that is only slow manages fewer.
                left, size = portion + left, max(1, len(portion) // 4)
                time.sleep(in_vain)
                continue
            in_vain = 0
            outcomes += kept
            if len(kept) < len(found):
                # Hashing initial passwords takes all the time that one delivery has.
                size = len(kept)
                left = [(row["entity_type"], row["entity_id"]) for row in found if row["result"] == "DEFERRED"] + left
        self.position.delivered += len(outcomes)
        return outcomes

    def _migrate(self, portion: list[tuple[str, str]]) -> list[dict[str, Any]]:
        for attempt in range(_LOCKED_ATTEMPTS):
            try:
                with self.session.transaction(read_only=False):
                    return _pg.rows(
                        self.cur,
                        f"SELECT * FROM {SCHEMA}.migrate_entities(%(types)s::text[], %(ids)s::text[])",
                        _columns(portion),
                    )
            except _pg.PgError as error:
                if _pg.sqlstate(error) != _LOCK_NOT_AVAILABLE or attempt == _LOCKED_ATTEMPTS - 1:
                    raise
            time.sleep(min(0.25 * 2**attempt, 2))
        raise AssertionError("unreachable")

    def _away(self, found: list[dict[str, Any]]) -> str:
        message = (found[0]["message"] or "it gave up before the first entity was done").splitlines()[0]
        return (
            f"Open WebUI's side does not answer: {message}; {cause('UB001', message).remedy}; "
            f"{self.position.done} of {self.position.total} entities were dealt with before, run again to go on"
        )

    def _note(self, operation: str, data: dict[str, Any]) -> None:
        with self.session.transaction(read_only=False):
            self.cur.execute(
                f"SELECT {SCHEMA}.note_migration(%(operation)s::text, %(data)s::jsonb)",
                {"operation": operation, "data": json.dumps(data)},
            )

    def _list_users(self, outcomes: list[dict[str, Any]]) -> None:
        hidden = {"all": (), "problems": ("SUCCESS",), "none": ("SUCCESS", "SKIPPED", "WARNING", "FAILED", "PARKED")}
        results = hidden[self.params["return_users"]]
        users = [row for row in outcomes if row["entity_type"] == "user" and row["result"] not in results]
        if not users:
            return
        with self.session.transaction():
            found = _pg.rows(
                self.cur,
                'SELECT user_id, user_email FROM public."LiteLLM_UserTable" WHERE user_id = ANY (%(ids)s::text[])',
                {"ids": [row["entity_id"] for row in users]},
            )
        emails = {row["user_id"]: row["user_email"] for row in found}
        for row in users:
            user = {"user_id": row["entity_id"], "email": emails.get(row["entity_id"])}
            user.update(result=row["result"], reason=row["message"])
            if self.check_mode:
                user["action"] = row.get("action", "none")
            self.found.users.append(user)


def _columns(entities: list[tuple[str, str]]) -> dict[str, list[str]]:
    return {"types": [kind for kind, _id in entities], "ids": [entity_id for _kind, entity_id in entities]}
