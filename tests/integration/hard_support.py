# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the hard delivery tests share: drains, settings, mutants and threads that report what they see."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from kit.bridge import Mutate, hurried
from kit.drains import drain_all
from kit.pairs import SYNC_USER, Pair, Session, Side

# No password hashing, which would take longer than all else; no removal guard, which has tests of its own.
QUICK: Mapping[str, Any] = {"initial_password": "none", "backoff_seconds": 1, "removal_accounts": 1_000_000}


def until(condition: Callable[[], object], seconds: float = 25) -> None:
    """Wait for it, but not for ever: less than the half minute after which the upkeep does some things by itself."""
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, f"it has not come about in {seconds} seconds"
        time.sleep(0.01)


def log_lock_waits(pair: Pair, side: Side) -> None:
    """From the next session on, the server's log has each wait for a lock that is longer than a moment."""
    for setting in ("log_lock_waits = on", "deadlock_timeout = '20ms'"):
        pair.cluster.execute(f'ALTER DATABASE "{pair.database(side)}" SET {setting}')


def lock_waits(pair: Pair, side: Side) -> int:
    """How many: a number does not grow with what else the machine has to do, as seconds do."""
    log = pair.cluster.log.read_text(encoding="utf-8", errors="replace")
    return len(re.findall(f"@{pair.database(side)} LOG: .* still waiting for ", log))


@contextmanager
def silent_target(pair: Pair) -> Iterator[None]:
    """The backends that serve LiteLLM's sessions stand still, with their connections alive."""
    found = pair.openwebui_admin.rows("SELECT pid FROM pg_stat_activity WHERE usename = %s", [SYNC_USER])
    with ExitStack() as stack:
        for row in found:
            stack.enter_context(pair.cluster.frozen(row["pid"]))
        yield


def used_to_silence(pair: Pair, session: Session, user: str) -> None:
    """Have a session meet a target that does not answer: when it does so again, it has compiled what handles that."""

    def change(alias: str) -> None:
        session.run('UPDATE "LiteLLM_UserTable" SET user_alias = %s WHERE user_id = %s', [alias, user])

    change("With a connection")
    with hurried(pair, 200), silent_target(pair):
        change("Silence")
    drain_all(pair)
    change("With a new one")


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
