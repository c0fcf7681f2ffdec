# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One migration at a time, of a size that the server's lock table can take.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import time
from typing import Callable

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import SCHEMA
from ansible_collections.llmops.user_bridge.plugins.module_utils._session import Session

# Made with the installation's key: nobody else can hold it.
_LOCK = f"{SCHEMA}.lock_key('migration')"

_HOLDER = f"""
SELECT a.pid, extract(epoch FROM clock_timestamp() - a.backend_start)::bigint AS seconds
  FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
 WHERE l.locktype = 'advisory' AND l.granted
   AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
   AND l.objsubid = 1 AND (l.classid::bigint << 32) | l.objid::bigint = {_LOCK} LIMIT 1"""


def lock(session: Session, wait_seconds: int, clock: Callable[[], float]) -> None:
    """Take the session's lock, because two migrations would each deliver what the other is about to."""
    deadline = clock() + wait_seconds
    while True:
        with session.transaction():
            if _pg.value(session.cur, f"SELECT pg_try_advisory_lock({_LOCK})"):
                return
            holders = _pg.rows(session.cur, _HOLDER)
        if clock() >= deadline:
            who = "".join(f" (process {row['pid']}, for {row['seconds']} seconds)" for row in holders)
            raise BridgeError(
                f"another migration runs in database {session.database}{who}, and wait_seconds "
                f"({wait_seconds}) are over; wait until it has ended and run again"
            )
        time.sleep(0.25)


def most_entities_at_once(session: Session) -> int:
    """A quarter of the server's lock table, which is all that a transaction gets; a user takes two places."""
    with session.transaction():
        return int(_pg.value(session.cur, f"SELECT {SCHEMA}.lock_places()")) // 8
