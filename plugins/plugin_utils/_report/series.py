# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The drainer's counts by the hour as the hours of a day and the days of a month.

This plugin_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

HOURS = 24
DAYS = 30
HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)


class Bucket(NamedTuple):
    """An hour or a day. None where nothing was counted."""

    begins: datetime
    delivered: int = 0
    skipped: int = 0
    failed: int = 0
    delay_seconds: float | None = None
    people: int | None = None
    groups: int | None = None


def last_day(history: Sequence[Mapping[str, Any]], now: datetime) -> list[Bucket]:
    """The hours up to this one."""
    this = now.astimezone(timezone.utc).replace(minute=0, second=0, microsecond=0)
    return _buckets(history, [this - (HOURS - 1 - place) * HOUR for place in range(HOURS)], HOUR)


def last_month(history: Sequence[Mapping[str, Any]], now: datetime) -> list[Bucket]:
    """The days up to today, in UTC."""
    this = now.astimezone(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
    return _buckets(history, [this - (DAYS - 1 - place) * _DAY for place in range(DAYS)], _DAY)


def _buckets(history: Sequence[Mapping[str, Any]], begins: Sequence[datetime], length: timedelta) -> list[Bucket]:
    counted = sorted((_instant(entry["hour"]), entry) for entry in history)
    return [_bucket(each, [entry for at, entry in counted if each <= at < each + length]) for each in begins]


def _bucket(begins: datetime, entries: Sequence[Mapping[str, Any]]) -> Bucket:
    delays = [entry["delay_ms"] for entry in entries if entry["delay_ms"] is not None]
    levels = [entry["mapped"] for entry in entries if entry["mapped"]]
    last = levels[-1] if levels else None
    return Bucket(
        begins,
        sum(entry["delivered"] for entry in entries),
        sum(entry["skipped"] for entry in entries),
        sum(entry["failed"] for entry in entries),
        max(delays) / 1000 if delays else None,
        None if last is None else last.get("user", 0),
        None if last is None else last.get("organization", 0) + last.get("team", 0),
    )


def _instant(text: str) -> datetime:
    # Before Python 3.11, fromisoformat() does not know the Z.
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
