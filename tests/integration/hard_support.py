# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the hard delivery tests share: drains, settings, mutants and threads that report what they see."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from kit.bridge import Mutate
from kit.pairs import SYNC_USER, Pair

# No password hashing, which would take longer than all else; no removal guard, which has tests of its own.
QUICK: Mapping[str, Any] = {"initial_password": "none", "backoff_seconds": 1, "removal_accounts": 1_000_000}


def until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Wait for it, but not for ever."""
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.01)


def calls_ended(pair: Pair) -> None:
    """Wait until the target is idle: a call outlives the COMMIT that was cancelled while it waited for it."""
    working = "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND usename = %s AND state = 'active'"
    until(lambda: not pair.openwebui_admin.value(working, [pair.openwebui_db, SYNC_USER]))


def deadlocks(pair: Pair) -> int:
    """Deadlocks that the server has resolved in LiteLLM's database, also those that the bridge swallowed.

    Closes every session of the pair: a backend publishes what it has counted up to ten seconds late, or when it ends.
    """
    for session in pair.opened:
        session.close()
    alive = "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid() AND backend_type = %s"
    until(lambda: not pair.litellm_admin.value(alive, [pair.litellm_db, "client backend"]))
    sql = "SELECT deadlocks FROM pg_stat_database WHERE datname = %s"
    return int(pair.litellm_admin.value(sql, [pair.litellm_db]))


def replaced(path: str, old: str, new: str) -> Mutate:
    """A mutant: `old` becomes `new` in one template."""

    def mutate(each: str, text: str) -> str:
        if each != path:
            return text
        assert old in text, f"{path} has changed: plant this mutant anew"
        return text.replace(old, new)

    return mutate


@contextmanager
def threads(*targets: Callable[[], object]) -> Iterator[None]:
    """Run functions beside the block, wait for them, and raise the first error that one of them met."""
    errors: list[BaseException] = []

    def guarded(target: Callable[[], object]) -> None:
        try:
            target()
        except BaseException as error:
            errors.append(error)

    running = [threading.Thread(target=guarded, args=[target], daemon=True) for target in targets]
    for each in running:
        each.start()
    try:
        yield
    finally:
        for each in running:
            each.join()
    if errors:
        raise errors[0]
