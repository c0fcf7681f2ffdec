# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Takes over from the upstream SQL scripts (github.com/pkusnail/open-webui-litellm-user-bridge).

The bridge's own triggers are there before theirs go, so no write is missed; what both have delivered is the same. In
three steps, each a transaction or more, and each one that a run which was cut off repeats:

1. their triggers go, and with them the last that writes to Open WebUI in their way;
2. Open WebUI's rows are repaired and become the bridge's, some at a time;
3. mapping and history are imported, their functions and (if wanted) tables go, and everything is queued.

Until the third step has committed, what is left of theirs shows that there is something to take over.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Callable

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._lock import retry
from ansible_collections.llmops.user_bridge.plugins.module_utils._takeover import repair as _repair
from ansible_collections.llmops.user_bridge.plugins.module_utils._takeover import source as _source

# Open WebUI's rows are locked for as long as one batch takes.
_BATCH = 500
# Most lines of one kind in a diff: Ansible compares them all with each other.
_MOST_LINES = 2000


@dataclass(frozen=True)
class Wanted:
    owner: str
    drop_tables: bool
    lock_timeout_ms: int
    check_mode: bool


@dataclass(frozen=True)
class Result:
    """What was, or would be, taken over. There is a repair plan only where there was something to repair."""

    found: _source.Found
    drop_tables: bool
    survey: _repair.Survey | None = None
    plan: _repair.Plan | None = None
    queued: int = 0
    delivered: dict[str, int] | None = None

    @property
    def changed(self) -> bool:
        return self.found.is_live or bool(self.drop_tables and self.found.tables)


def take_over(
    litellm: Any, connect_openwebui: Callable[[], Any], deliver: Callable[[], dict[str, int]], wanted: Wanted
) -> Result:
    """Find what there is of theirs and take it over. Without any, nothing is written and nobody else connected to."""
    cur = _pg.cursor(litellm)
    with _pg.transaction(cur, read_only=True):
        found = _source.look(cur, wanted.drop_tables)
        result = Result(found, wanted.drop_tables)
        if not result.changed:
            return result
        is_installed = _source.is_installed(cur)
        if not is_installed and not wanted.check_mode:
            raise BridgeError(
                f"database {found.database} (login_db, bridge_litellm_db) lacks LiteLLM's side of the bridge: "
                "run the role llmops.user_bridge.triggers first; nothing was changed"
            )
        mappings, audit = _source.count(cur, found, is_installed)
        result = replace(result, found=replace(found, mappings=mappings, audit=audit))
    if not found.is_live:
        if not wanted.check_mode:
            retry(cur, lambda: _source.finish(cur, wanted.owner, wanted.lock_timeout_ms, wanted.drop_tables))
        return result
    result = _take_over_all(cur, _pg.cursor(connect_openwebui()), result, wanted)
    return replace(result, delivered=deliver()) if result.queued else result


def _take_over_all(cur: Any, other: Any, result: Result, wanted: Wanted) -> Result:
    found, timeout, drop = result.found, wanted.lock_timeout_ms, wanted.drop_tables
    with _pg.transaction(other, read_only=True):
        _repair.check(other, wanted.check_mode)
    if found.triggers and not wanted.check_mode:
        retry(cur, lambda: _source.drop_triggers(cur, timeout, drop))
    with nullcontext() if wanted.check_mode else _under_way():
        # Only now does nobody add to them any more.
        with _pg.transaction(cur, read_only=True):
            entities = _source.entities(cur, _source.look(cur, drop))
        with _pg.transaction(other, read_only=True):
            seen = _repair.survey(other, entities, found.logins)
            plan = _repair.decide(other, seen, entities) if wanted.check_mode else _repair.Plan()
        result = replace(result, survey=seen, plan=plan)
        if wanted.check_mode:
            return result
        for start in range(0, len(entities), _BATCH):
            plan.add(_repair_batch(other, seen, entities[start : start + _BATCH], timeout))
        taken, queued = retry(cur, lambda: _source.finish(cur, wanted.owner, timeout, drop))
    return replace(result, found=replace(found, mappings=taken.mappings, audit=taken.audit), queued=queued)


def _repair_batch(
    other: Any, seen: _repair.Survey, entities: list[dict[str, Any]], lock_timeout_ms: int
) -> _repair.Plan:
    return retry(other, lambda: _repair.apply(other, seen, entities, lock_timeout_ms))


@contextmanager
def _under_way() -> Iterator[None]:
    """Say what a failure after the first step means."""
    try:
        yield
    except BridgeError as error:
        raise BridgeError(
            f"{str(error).removesuffix('; nothing was changed')}; the takeover is under way: the bridge delivers what "
            "LiteLLM writes, and the next run completes the rest"
        ) from None


def diff(result: Result) -> list[dict[str, str]]:
    """What goes, what is imported and what is set right, as Ansible shows differences."""
    found = result.found
    header = f"upstream SQL scripts ({found.database})"
    tables = [f"table {table.identity}" for table in found.tables]
    shown = [
        {
            "before_header": header,
            "after_header": header,
            "before": _lines(
                [f"trigger {trigger.label}" for trigger in found.triggers]
                + [f"function {function}" for function in found.functions]
                + tables
            ),
            "after": _lines([] if result.drop_tables else tables),
        }
    ]
    if result.survey and result.plan:
        header = f"mapping and history ({found.database})"
        lines = [f"{found.mappings} mappings", f"{found.audit} rows of history"]
        lines += [f"{link.type} {link.id} is {link.account}" for link in result.plan.links]
        shown.append({"before_header": header, "after_header": header, "before": "", "after": _lines(lines)})
        header = f"rows that the upstream SQL scripts have made ({result.survey.database})"
        repairs = result.plan.repairs
        before = [f"{r.kind} {r.id} {r.field}: {r.before} ({r.problem})" for r in repairs]
        after = [f"{r.kind} {r.id} {r.field}: {r.after}" for r in repairs]
        shown.append(
            {"before_header": header, "after_header": header, "before": _lines(before), "after": _lines(after)}
        )
    return shown if result.changed else []


def _lines(lines: list[str]) -> str:
    more = len(lines) - _MOST_LINES
    return "".join(f"{line}\n" for line in lines[:_MOST_LINES]) + (f"and {more} more\n" if more > 0 else "")


def warnings(result: Result) -> list[str]:
    """What an admin has to do by hand."""
    found, plan = result.found, result.plan
    texts = []
    if result.changed and found.functions:
        known = ", ".join(result.survey.logins) if result.survey else ""
        logins = known or "the role that they logged in to Open WebUI as"
        texts.append(
            f"the functions of the upstream SQL scripts in database {found.database} held the password of {logins}, "
            "readable by whoever could log in there, and backups of it still do: change that password"
        )
    if plan and plan.weak_admins:
        texts.append(
            f"Open WebUI has no other admin than those whom the upstream SQL scripts have made, and the password of "
            f"{', '.join(plan.weak_admins)} is still their email: have it changed"
        )
    parked = (result.delivered or {}).get("PARKED", 0)
    if parked:
        texts.append(
            f"{parked} removals of what has gone from LiteLLM wait for approval, see user_bridge.pending_removals() in "
            f"database {found.database}"
        )
    if result.changed and found.kept:
        texts.append(
            f"database {found.database} has objects named as those of the upstream SQL scripts which are not theirs; "
            f"they were left alone: {', '.join(found.kept)}"
        )
    return texts
