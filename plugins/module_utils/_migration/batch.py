# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Migrates batches: what is not in sync is delivered or, in check mode, previewed.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import time
from typing import Any, Callable

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._bridge import MAX_LISTED, breaker_is_open
from ansible_collections.llmops.user_bridge.plugins.module_utils._causes import cause
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._migration.found import Found, action_of
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import SCHEMA
from ansible_collections.llmops.user_bridge.plugins.module_utils._session import Session

_LOCKED_ATTEMPTS = 15
_AWAY_ATTEMPTS = 3


class TargetAway(BridgeError):
    """Open WebUI's side does not answer; the batch was not delivered."""


class Worker:
    """Migrates one batch after the other, over a connection of its own."""

    def __init__(
        self,
        session: Session,
        check_mode: bool,
        previewed: frozenset[str],
        return_users: str,
        begin: Callable[[Session], None],
    ) -> None:
        """Begin is called before each delivery, so that a run that finds everything in sync is not audited.

        Previewed are the types of entities whose outcome preview() knows.
        """
        self.session = session
        self.cur = session.cur
        self.check_mode = check_mode
        self.previewed = previewed
        self.return_users = return_users
        self.begin = begin
        self.number = 0
        self.found = Found()

    def bring(self, batch: list[tuple[str, str]]) -> Found:
        """Entities of one type."""
        self.found = Found()
        self.number += 1
        if self.number & (self.number - 1) == 0:
            # Plans that were made for small tables would be kept: replan each time the tables have doubled.
            self.cur.execute("DISCARD PLANS")
        self._batch(batch)
        return self.found

    def _states(self, entities: list[tuple[str, str]]) -> list[dict[str, Any]]:
        """Whether each is in sync; for users without any trace in the bridge that needs no comparison."""
        new: set[str] = set()
        users = [entity_id for kind, entity_id in entities if kind == "user"]
        with self.session.transaction():
            if users and not self.check_mode:
                query = f"SELECT {SCHEMA}.never_delivered(%(ids)s::text[]) AS id"
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

    def _batch(self, batch: list[tuple[str, str]]) -> None:
        states = self._states(batch)
        previews = self._preview(states)
        pending = []
        known = []
        for row in states:
            entity = (row["entity_type"], row["entity_id"])
            preview = previews.get(entity, {"result": "SUCCESS", "message": None, "fields": []})
            if row["state"] == "pending" or preview["fields"]:
                pending.append(entity)
                continue
            # In sync, or refused as before: nothing to write.
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
        """What a delivery would change: for unclear states and, in check mode, for all types that preview() knows."""
        asked = [
            (row["entity_type"], row["entity_id"])
            for row in states
            if row["state"] == "unclear"
            or self.check_mode
            and row["state"] == "pending"
            and row["entity_type"] in self.previewed
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
            # Without a preview: skipped, or expected to be written.
            result = "SUCCESS" if reasons[entity] is None else "SKIPPED"
            preview = previews.get(entity, {"result": result, "message": reasons[entity], "fields": []})
            outcome = {"entity_type": entity[0], "entity_id": entity[1], "action": action_of(preview["fields"])}
            outcomes.append({**outcome, "result": preview["result"], "message": preview["message"] or reasons[entity]})
            self.found.differences += preview["fields"][: MAX_LISTED - len(self.found.differences)]
        return outcomes

    def _deliver(self, pending: list[tuple[str, str]]) -> list[dict[str, Any]]:
        if not pending:
            return []
        self.begin(self.session)
        outcomes: list[dict[str, Any]] = []
        left, size, in_vain = pending, len(pending), 0
        while left:
            portion, left = left[:size], left[size:]
            found = self._migrate(portion)
            kept = [row for row in found if row["result"] != "DEFERRED"]
            if not kept or all(row["result"] == "FAILED" for row in kept) and breaker_is_open(self.session):
                in_vain += 1
                if in_vain == _AWAY_ATTEMPTS:
                    raise TargetAway(self._away(found))
                # A slow target may manage a smaller batch within the timeout.
                left, size = portion + left, max(1, len(portion) // 4)
                time.sleep(in_vain)
                continue
            in_vain = 0
            outcomes += kept
            if len(kept) < len(found):
                # Hashing initial passwords takes so long that a delivery ends early with part of the batch.
                size = len(kept)
                left = [(row["entity_type"], row["entity_id"]) for row in found if row["result"] == "DEFERRED"] + left
        self.found.delivered += len(outcomes)
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
                if _pg.sqlstate(error) != _pg.LOCK_NOT_AVAILABLE or attempt == _LOCKED_ATTEMPTS - 1:
                    raise
            time.sleep(min(0.25 * 2**attempt, 2))
        raise AssertionError("unreachable")

    def _away(self, found: list[dict[str, Any]]) -> str:
        message = (found[0]["message"] or "it gave up before the first entity was done").splitlines()[0]
        return f"Open WebUI's side does not answer: {message}; {cause('UB001', message).remedy}"

    def _list_users(self, outcomes: list[dict[str, Any]]) -> None:
        hidden = {"all": (), "problems": ("SUCCESS",), "none": ("SUCCESS", "SKIPPED", "WARNING", "FAILED", "PARKED")}
        results = hidden[self.return_users]
        users = [row for row in outcomes if row["entity_type"] == "user" and row["result"] not in results]
        if not users:
            return
        with self.session.transaction():
            found = _pg.rows(
                self.cur,
                f"SELECT user_id, user_email FROM {SCHEMA}.emails_of(%(ids)s::text[])",
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
