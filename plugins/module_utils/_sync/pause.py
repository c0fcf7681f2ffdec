# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pauses the bridge, and resumes it.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._bridge import PAUSED
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._moments import instant
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import SCHEMA
from ansible_collections.llmops.user_bridge.plugins.module_utils._session import Session

# An end that is so many seconds from now is another one in each run; that of the last minute is as good.
_SLACK_SECONDS = 60

_END = "coalesce(%(at)s::timestamptz, date_trunc('second', clock_timestamp() + %(age)s::interval))"
_COMPARED = f"""
SELECT w.until <= clock_timestamp() AS over,
       coalesce(s.paused AND abs(extract(epoch FROM s.paused_until - w.until)) <= %(slack)s, false) AS same
  FROM {SCHEMA}.settings AS s CROSS JOIN (SELECT {_END} AS until) AS w"""


def current_pause(session: Session) -> dict[str, Any] | None:
    """Since when and until when the bridge is paused, None where it is not."""
    with session.transaction():
        found = _pg.rows(session.cur, PAUSED)
    return found[0] if found else None


def pause(session: Session, until: str | None, check_mode: bool) -> bool:
    """Pause, or move the end of a pause to until; returns whether there was anything to do."""
    if until is None:
        return current_pause(session) is None and _call(session, "pause()", {}, check_mode)
    at, age = instant("until", until)
    given = {"at": at, "age": age, "slack": 0 if age is None else _SLACK_SECONDS}
    with session.transaction():
        (found,) = _pg.rows(session.cur, _COMPARED, given)
    if found["over"]:
        raise BridgeError(
            f"until (bridge_pause_until): {until!r} is over: name a time to come, or an age such as 2h from now"
        )
    return not found["same"] and _call(session, f"pause_until({_END})", given, check_mode)


def resume(session: Session) -> None:
    """End a pause, and the pauses of an outage."""
    _call(session, "resume()", {}, check_mode=False)


def pause_line(paused: dict[str, Any] | None) -> str:
    """One line that says whether the bridge is paused, and until when."""
    return "delivers\n" if paused is None else f"paused until {paused['until'] or 'somebody resumes it'}\n"


def _call(session: Session, call: str, given: dict[str, Any], check_mode: bool) -> bool:
    if not check_mode:
        with session.transaction(read_only=False):
            _pg.rows(session.cur, f"SELECT {SCHEMA}.{call}", given)
    return True
