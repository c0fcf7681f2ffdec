# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Waits for locks for so short a time that LiteLLM does not wait long behind it, and tries again.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Callable, TypeVar

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import Subject, quote

_Result = TypeVar("_Result")
_DEPLOY_LOCK = int.from_bytes(b"usrbrdge", "big")
_DEPLOY_WAIT_SECONDS = 60
_ATTEMPTS = 6
_DEADLOCK_DETECTED = "40P01"
_LOCK_ERRORS = (_pg.LOCK_NOT_AVAILABLE, _DEADLOCK_DETECTED)
_QUERY_CANCELED = "57014"


class _Locked(Exception):
    """A lock was not granted in time; the transaction was rolled back and may be tried again."""

    def __init__(self, what: str, tables: list[str]) -> None:
        super().__init__(what)
        self.tables = tables


def check_timeout(lock_timeout_ms: int) -> None:
    """Refuse a timeout that PostgreSQL takes for none (0) or does not take."""
    if lock_timeout_ms < 1:
        raise BridgeError("lock_timeout_ms must be at least 1: without a limit LiteLLM could wait for ever")


def _locked(subject: Subject) -> _Locked:
    tables = [subject.identity] if subject.kind in ("table", "view", "index", "sequence") else []
    return _Locked(f"{subject.kind} {subject.label}", tables)


@contextmanager
def explained(
    subject: Subject, problem: str, advice: str = "nothing was changed", without_function: str = ""
) -> Iterator[None]:
    """Turn a lock that was not granted into another attempt, and any other server error into problem and advice.

    without_function: advice where a function is missing.
    """
    try:
        yield
    except _pg.PgError as error:
        if _pg.sqlstate(error) in _LOCK_ERRORS:
            raise _locked(subject) from None
        if without_function and _pg.sqlstate(error) == _pg.UNDEFINED_FUNCTION:
            advice = f"{without_function}; {advice}"
        raise BridgeError(f"{problem}: {_pg.describe(error)}; {advice}") from None


def retry(cur: Any, attempt: Callable[[], _Result]) -> _Result:
    """Repeat a transaction until it gets its locks. Between attempts, of which there are six, nobody waits for us."""
    number = 0
    while True:
        number += 1
        try:
            return attempt()
        except _Locked as error:
            if number == _ATTEMPTS:
                holders = _holders(cur, error.tables)
                raise BridgeError(
                    f"could not lock {error} in {number} attempts, because other transactions hold it{holders}; "
                    "end them or run again at a quieter time (lock_timeout_ms bounds each attempt); nothing was changed"
                ) from None
        time.sleep(min(0.125 * 2**number, 2))


def _holders(cur: Any, tables: list[str]) -> str:
    with _pg.transaction(cur, read_only=True):
        found = _pg.rows(
            cur,
            "SELECT DISTINCT a.pid, a.usename::text AS username,"
            " coalesce(nullif(a.application_name, ''), '-') AS program,"
            " extract(epoch FROM clock_timestamp() - a.xact_start)::int AS seconds"
            " FROM pg_locks AS l JOIN pg_stat_activity AS a ON a.pid = l.pid AND a.datname = current_database()"
            " WHERE l.granted AND l.relation = ANY (%(tables)s::text[]::regclass[])"
            " ORDER BY seconds DESC NULLS LAST LIMIT 3",
            {"tables": tables},
        )
    texts = [f"process {row['pid']} of {row['username']} ({row['program']}, {row['seconds']} s)" for row in found]
    return f": {', '.join(texts)}" if texts else ""


@contextmanager
def deploying(cur: Any, lock_timeout_ms: int = _DEPLOY_WAIT_SECONDS * 1000) -> Iterator[None]:
    """A transaction that changes the bridge, of which there is one at a time in a database."""
    with _pg.transaction(cur, read_only=False):
        _begin_deploy(cur)
        cur.execute(f"SET LOCAL lock_timeout = {lock_timeout_ms}")
        yield


def _begin_deploy(cur: Any) -> None:
    cur.execute(f"SET LOCAL lock_timeout = '{_DEPLOY_WAIT_SECONDS}s'")
    try:
        cur.execute(f"SELECT pg_advisory_xact_lock({_DEPLOY_LOCK})")
    except _pg.PgError as error:
        if _pg.sqlstate(error) != _pg.LOCK_NOT_AVAILABLE:
            raise
        raise BridgeError(
            f"another run has been changing the bridge in this database for {_DEPLOY_WAIT_SECONDS} seconds; "
            "wait until it has ended and run again; nothing was changed"
        ) from None


def lock_tables(cur: Any, subjects: list[Subject], mode: str, lock_timeout_ms: int) -> None:
    """Lock all tables that get or lose a trigger at once, in one bounded wait for all of them together."""
    tables = sorted({f"{quote(subject.schema)}.{quote(subject.table)}" for subject in subjects})
    if not tables:
        return
    _pg.set_role(cur, None)
    try:
        # lock_timeout counts for each table anew, statement_timeout for the whole.
        with _pg.with_timeout(cur, "statement_timeout", lock_timeout_ms):
            cur.execute(f"LOCK TABLE ONLY {', ONLY '.join(tables)} IN {mode} MODE")
    except _pg.PgError as error:
        if _pg.sqlstate(error) in (*_LOCK_ERRORS, _QUERY_CANCELED):
            raise _Locked(", ".join(tables), tables) from None
        raise
