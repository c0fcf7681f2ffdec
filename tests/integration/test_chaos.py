# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything at once: writers of all kinds, while sessions end, rows are locked and both servers are killed.

USER_BRIDGE_CHAOS_SECONDS says for how long, and USER_BRIDGE_CHAOS_SEED with which dice.
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import psycopg2
import pytest

from hard_support import QUICK, threads, until
from kit import binaries, cluster, rows
from kit.bridge import drainer, install_bridge
from kit.common import pick_version
from kit.oracle import differences
from kit.pairs import SYNC_USER, Pair, Session
from kit.schemas import Admin
from kit.standby import SplitPair, caught_up, promote, standby_of
from test_hard_crashes import DEAD

WRITERS = 8
LEVELS = ("READ COMMITTED", "READ COMMITTED", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE")
# What a writer meets because of what is done here, and not because of the bridge: a connection that is gone, sessions
# and servers that were ended, and what it is told to expect above READ COMMITTED.
ENDED = (None, "57014", "57P01", "57P02", "57P03", "40001")


def long(name: str, default: str) -> int:
    return int(os.environ.get(f"USER_BRIDGE_CHAOS_{name}", default))


@dataclass
class Chaos:
    """Two servers, who writes, and what has been done so far."""

    pair: SplitPair
    rng: random.Random
    ended: threading.Event = field(default_factory=threading.Event)
    committed: int = 0
    done: dict[str, int] = field(default_factory=dict)
    restarting: threading.Lock = field(default_factory=threading.Lock)

    def write_on(self, writer: int, seed: int) -> None:
        """Transactions to rows that no other writer has; whatever else fails than what is ended here is raised."""
        mine, session = random.Random(seed), None
        while not self.ended.is_set():
            try:
                session = session or self.pair.connect("litellm", connect_timeout=5)
                write(session, writer, mine)
                self.committed += 1
            except psycopg2.Error as error:
                if error.pgcode not in ENDED:
                    raise
                with contextlib.suppress(*DEAD):
                    if session is not None:
                        session.close()
                session = None
                time.sleep(0.05)

    def act(self) -> None:
        """One blow."""
        blow = self.rng.choices(BLOWS, [weight for _, weight in BLOWS])[0][0]
        with contextlib.suppress(*DEAD):
            blow(self)
            self.done[blow.__name__] = self.done.get(blow.__name__, 0) + 1

    def superuser(self, side: str) -> Session:
        server = self.pair.clusters["litellm" if side == "litellm" else "openwebui"]
        return Session(server.connect(self.pair.database("litellm" if side == "litellm" else "openwebui")))


def write(session: Session, writer: int, rng: random.Random) -> None:
    """One to three writes, some in a savepoint that is rolled back."""
    session.run(f"BEGIN ISOLATION LEVEL {rng.choice(LEVELS)}")
    for _ in range(rng.randint(1, 3)):
        user, team = f"w{writer}u{rng.randint(1, 12)}", f"w{writer}t{rng.randint(1, 3)}"
        undone = rng.random() < 0.2
        if undone:
            session.run("SAVEPOINT here")
        match rng.choice(["user", "user", "user", "gone", "team", "disbanded", "role", "organization"]):
            case "user":
                session.run(
                    'INSERT INTO "LiteLLM_UserTable" (user_id, user_email, user_alias, teams) VALUES (%s, %s, %s, %s) '
                    "ON CONFLICT (user_id) DO UPDATE SET user_alias = excluded.user_alias, teams = excluded.teams",
                    [user, f"{user}@example.com", f"Alias {rng.random()}", [team]],
                )
            case "gone":
                rows.delete_user(session, user)
            case "team":
                members = [{"role": "user", "user_id": f"w{writer}u{each}"} for each in rng.sample(range(1, 13), 3)]
                if not rows.change_team(session, team, members_with_roles=members):
                    rows.add_team(session, team, f"Team {team}", members_with_roles=members)
            case "disbanded":
                rows.delete_team(session, team)
            case "role":
                role, metadata = rng.choice(["internal_user", "proxy_admin"]), {"scim_active": rng.random() < 0.7}
                rows.change_user(session, user, user_role=role, metadata=metadata)
            case "organization":
                rows.change_user(session, user, organization_id=rng.choice(["o1", None]))
        if undone:
            session.run("ROLLBACK TO SAVEPOINT here")
    session.run("COMMIT")


def end_sessions_of_litellm(chaos: Chaos) -> None:
    how = chaos.rng.choice(["pg_cancel_backend", "pg_cancel_backend", "pg_terminate_backend"])
    with contextlib.closing(chaos.superuser("litellm").raw) as raw:
        Session(raw).run(f"SELECT {how}(pid) FROM pg_stat_activity WHERE usename = 'litellm' AND random() < 0.3")


def end_sessions_of_the_bridge(chaos: Chaos) -> None:
    with contextlib.closing(chaos.superuser("openwebui").raw) as raw:
        Session(raw).run(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{SYNC_USER}' AND random() < 0.5"
        )


def lock_tables(chaos: Chaos) -> None:
    with contextlib.closing(chaos.superuser("openwebui").raw) as raw:
        table = chaos.rng.choice(['"user"', "auth", '"group"', "user_bridge.entity"])
        Session(raw).run(f"SET lock_timeout = '1s'; BEGIN; LOCK TABLE {table}")
        time.sleep(chaos.rng.uniform(0.1, 1))


def lock_rows(chaos: Chaos) -> None:
    with contextlib.closing(chaos.superuser("openwebui").raw) as raw:
        Session(raw).run("SET lock_timeout = '1s'; BEGIN")
        Session(raw).run('SELECT FROM "user" WHERE random() < 0.2 FOR UPDATE')
        time.sleep(chaos.rng.uniform(0.1, 2))


def keep_the_bridge_out(chaos: Chaos) -> None:
    server = chaos.pair.clusters["openwebui"]
    server.execute(f"ALTER ROLE {SYNC_USER} NOLOGIN")
    try:
        end_sessions_of_the_bridge(chaos)
        time.sleep(chaos.rng.uniform(0.1, 1))
    finally:
        server.execute(f"ALTER ROLE {SYNC_USER} LOGIN")


def freeze_open_webuis_server(chaos: Chaos) -> None:
    with chaos.pair.clusters["openwebui"].frozen():
        time.sleep(chaos.rng.uniform(0.1, 1.5))


def set_the_clock_back(chaos: Chaos) -> None:
    """As if what is noted had been noted by a clock that was an hour ahead."""
    with contextlib.closing(chaos.superuser("litellm").raw) as raw:
        Session(raw).run("UPDATE user_bridge.target SET next_try_at = next_try_at + interval '1 hour'")


def kill_open_webuis_server(chaos: Chaos) -> None:
    chaos.pair.clusters["openwebui"].kill()
    chaos.pair.clusters["openwebui"].start()


def kill_litellms_server(chaos: Chaos) -> None:
    chaos.pair.clusters["litellm"].kill()
    chaos.pair.clusters["litellm"].start()


BLOWS: list[tuple[Callable[[Chaos], None], int]] = [
    (end_sessions_of_litellm, 6),
    (end_sessions_of_the_bridge, 6),
    (lock_tables, 4),
    (lock_rows, 6),
    (keep_the_bridge_out, 2),
    (freeze_open_webuis_server, 2),
    (set_the_clock_back, 2),
    (kill_open_webuis_server, 1),
    (kill_litellms_server, 1),
]


@pytest.fixture
def split(pg_major: int) -> Iterator[SplitPair]:
    """A bridged pair whose databases are on two servers."""
    versions = pick_version("litellm", "new"), pick_version("open-webui", "new")
    with cluster.running(binaries.find(pg_major), settings={"max_connections": "60"}) as made:
        pair = Pair(made, None, None, *versions, Admin())
        install_bridge(pair, {**QUICK, "sync_connection_limit": 20})
        rows.add_organization(pair.litellm, "o1", "One")
        with standby_of(made) as other:
            for session in pair.opened:
                session.close()
            pair.sessions.clear()
            caught_up(made, other)
            promote(other)
            pair.litellm_admin.run(f"ALTER SERVER user_bridge_target OPTIONS (SET port '{other.port}')")
            both = SplitPair(pair, {"litellm": made, "openwebui": other})
            yield both
            both.close()
            pair.close()


@pytest.mark.weekly
def test_no_write_fails_and_both_sides_are_equal_afterwards(split: SplitPair) -> None:
    chaos = Chaos(split, random.Random(long("SEED", "2026")))
    end = time.monotonic() + long("SECONDS", "40")
    writers = [lambda n=number: chaos.write_on(n, chaos.rng.randint(0, 2**32)) for number in range(WRITERS)]
    with drainer(split), threads(*writers):
        while time.monotonic() < end:
            chaos.act()
            time.sleep(chaos.rng.uniform(0.05, 0.5))
        chaos.ended.set()
    for session in split.opened:
        session.close()
    split.sessions.clear()
    with drainer(split):
        empty = "SELECT count(*) = 0 FROM user_bridge.sync_queue"
        until(lambda: split.litellm_admin.value(empty), seconds=120)
    print(f"{chaos.committed} transactions, {chaos.done}")
    assert chaos.committed > 100 and differences(split) == []
