# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What one call of bridge_sync does: with the bridge's own functions, one step after the other.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import SCHEMA
from ansible_collections.llmops.user_bridge.plugins.module_utils._session import Session
from ansible_collections.llmops.user_bridge.plugins.module_utils._sync.differences import (
    compare,
    preview_waiting,
    trigger_faults,
)
from ansible_collections.llmops.user_bridge.plugins.module_utils._sync.drain import Drained, Limits, drain
from ansible_collections.llmops.user_bridge.plugins.module_utils._sync.held import (
    DECIDING,
    decide,
    held_changes,
    to_decide,
)
from ansible_collections.llmops.user_bridge.plugins.module_utils._sync.pause import current_pause, pause, resume
from ansible_collections.llmops.user_bridge.plugins.module_utils._sync.queue import deliverable

PAUSING = ("pause", "resume")


@dataclass(frozen=True)
class Outcome:
    """What a call did, or in check mode would do. Held is what waits for a decision, or waited when one was taken."""

    changed: bool = False
    queued: int = 0
    drained: Drained = field(default_factory=Drained)
    differences: tuple[dict[str, Any], ...] = ()
    differences_total: int = 0
    # The pause before the call, and after it.
    paused_before: dict[str, Any] | None = None
    pause: dict[str, Any] | None = None
    # What delivering would have changed when the call began, where somebody wants to see it.
    preview: tuple[dict[str, Any], ...] = ()
    held: tuple[dict[str, Any], ...] = ()
    decided: tuple[dict[str, Any], ...] = ()


def check(params: dict[str, Any]) -> None:
    """Refuse options that contradict each other or are out of bounds."""
    if params["action"] != "reconcile":
        for option in ("repair", "entity_types"):
            if params[option]:
                raise BridgeError(f"{option} goes with action=reconcile only; leave it out for {params['action']}")
    if params["backfill"] and params["action"] != "drain":
        raise BridgeError(f"backfill goes with action=drain only; leave it out for {params['action']}")
    if params["until"] is not None and params["action"] != "pause":
        raise BridgeError(f"until goes with action=pause only; leave it out for {params['action']}")
    if params["ids"] is not None and params["action"] not in DECIDING:
        raise BridgeError(f"ids goes with action={' or '.join(DECIDING)} only; leave it out for {params['action']}")
    for option in ("limit", "max_seconds"):
        if params[option] is not None and params[option] < 1:
            raise BridgeError(f"{option} must be at least 1; leave it out for no limit")


def execute(session: Session, params: dict[str, Any], check_mode: bool, diff: bool = False) -> Outcome:
    """Do what the options of the module ask for."""
    action, limits = params["action"], Limits(params["limit"], params["max_seconds"])
    before = current_pause(session)
    paused = before is not None
    delivers = action == "drain" or params["repair"] or (action == "approve_removals" and params["ids"] != [])
    if delivers and paused and params["while_paused"] == "refuse":
        raise BridgeError(
            f"the bridge in database {session.database} is paused, so nothing would be delivered: "
            "run the playbook llmops.user_bridge.resume_bridge first; nothing was changed"
        )
    held = held_changes(session)
    if params["backfill"]:
        outcome = _backfill(session, limits, paused, check_mode)
    elif action == "drain":
        preview = preview_waiting(session) if diff and not paused else []
        outcome = Outcome() if paused else _drain_what_waits(session, limits, check_mode)
        outcome = replace(outcome, preview=tuple(preview))
    elif action == "pause":
        outcome = Outcome(changed=pause(session, params["until"], check_mode))
    elif action == "resume":
        outcome = _resume(session, limits, paused, check_mode)
    elif action == "reconcile":
        outcome = _reconcile(session, params["entity_types"], params["repair"], limits, paused, check_mode)
    else:
        outcome = _decide(session, action, held, params["ids"], limits, paused, check_mode)
    # Who decides gets what he decided about; every other action may have come upon something new to hold.
    if action not in DECIDING and outcome.drained.tried:
        held = held_changes(session)
    if action in PAUSING and outcome.changed:
        planned = {"since": None, "until": params["until"]} if action == "pause" else None
        outcome = replace(outcome, pause=planned if check_mode else current_pause(session))
    else:
        outcome = replace(outcome, pause=before)
    return replace(outcome, paused_before=before, held=tuple(held))


def _resume(session: Session, limits: Limits, paused: bool, check_mode: bool) -> Outcome:
    """End a pause, and deliver what has been queued meanwhile."""
    if check_mode or not paused:
        return Outcome(changed=paused)
    resume(session)
    return Outcome(changed=True, drained=drain(session, limits))


def _drain_what_waits(session: Session, limits: Limits, check_mode: bool) -> Outcome:
    waits = deliverable(session)
    if check_mode:
        return Outcome(changed=waits > 0)
    # Also with an empty queue: a drain redelivers what a transaction delivered before it failed to commit.
    drained = drain(session, limits) if waits or not _is_read_only(session) else Drained()
    return Outcome(changed=drained.delivered > 0, drained=drained)


def _backfill(session: Session, limits: Limits, paused: bool, check_mode: bool) -> Outcome:
    """Queue everything that exists, once for each set of rules, and deliver it, unless the bridge is paused."""
    if check_mode:
        with session.transaction():
            is_due = bool(_pg.value(session.cur, f"SELECT {SCHEMA}.backfill_is_due()"))
        return Outcome(changed=is_due or (deliverable(session) > 0 and not paused))
    with session.transaction(read_only=False):
        queued = int(_pg.value(session.cur, f"SELECT {SCHEMA}.backfill()"))
    drained = drain(session, limits) if deliverable(session) and not paused else Drained()
    return Outcome(changed=queued > 0 or drained.delivered > 0, queued=queued, drained=drained)


def _is_read_only(session: Session) -> bool:
    with session.transaction():
        return str(_pg.value(session.cur, "SELECT current_setting('default_transaction_read_only')")) == "on"


def _reconcile(
    session: Session, types: list[str] | None, repair: bool, limits: Limits, paused: bool, check_mode: bool
) -> Outcome:
    differences, total = compare(session, types, repair=False)
    found = Outcome(differences=tuple(differences), differences_total=total)
    # A repair of everything also resets the count of the triggers' faults.
    faults = repair and types is None and trigger_faults(session) > 0
    if not repair or not (differences or faults):
        return found
    if check_mode:
        return replace(found, changed=True)
    compare(session, types, repair=True)
    drained = Drained() if paused else drain(session, limits)
    # Those rows are the drainer's to write; nothing is queued for them.
    unlinked = any(row["field"] == "unlinked" for row in differences)
    return replace(found, changed=faults or paused or unlinked or drained.delivered > 0, drained=drained)


def _decide(
    session: Session,
    action: str,
    held: list[dict[str, Any]],
    ids: list[int] | None,
    limits: Limits,
    paused: bool,
    check_mode: bool,
) -> Outcome:
    chosen = to_decide(session, action, held, ids)
    outcome = Outcome(changed=bool(chosen), decided=tuple(row for row in held if row["id"] in chosen))
    if check_mode or not chosen:
        return outcome
    decide(session, action, chosen)
    drains = action == "approve_removals" and not paused
    return replace(outcome, drained=drain(session, limits)) if drains else outcome
