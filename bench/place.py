# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where it is measured: one durable server with two LiteLLMs of the same size, of which one has the bridge."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from kit.binaries import Binaries
from kit.bridge import install_bridge
from kit.cluster import Cluster, running
from kit.common import say
from kit.pairs import Pair, pair

CORES = 2
TEAMS = 50
# Durable as it comes; memory as a small real server has it, and no checkpoint in the middle.
_SETTINGS = {"shared_buffers": "512MB", "max_wal_size": "4GB", "checkpoint_timeout": "30min"}
SETTINGS = {"initial_password": "none", "removal_accounts": 1_000_000}


@dataclass(frozen=True)
class Size:
    """users: how many exist before; rounds: single writes of each kind; seconds: one slice of the rate; bulk: users in
    one transaction; many: users for the modules."""

    users: int
    rounds: int
    seconds: int
    bulk: int
    many: int


@dataclass(frozen=True)
class Place:
    cluster: Cluster
    bare: Pair
    bridged: Pair
    size: Size
    scratch: Path
    drains: bool = True

    @property
    def conditions(self) -> str:
        flush = self.bare.litellm_admin.value(
            "SELECT string_agg(name || '=' || setting, ' ') FROM pg_settings "
            "WHERE name IN ('fsync', 'synchronous_commit', 'full_page_writes')"
        )
        load = os.getloadavg()[0]
        return (
            f"PostgreSQL {self.cluster.major}, LiteLLM {self.bare.litellm_version}, Open WebUI "
            f"{self.bare.openwebui_version}, both on one server over loopback TCP; {flush}; "
            f"{len(os.sched_getaffinity(0))} cores, load {load:.1f}; {self.size.users} users in {TEAMS} teams before"
        )

    @property
    def delivering(self) -> list[int]:
        """The backends in Open WebUI's database that work for the bridge."""
        found = self.bridged.openwebui_admin.rows(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'user_bridge' AND datname = current_database()"
        )
        return [row["pid"] for row in found]

    def drain(self) -> None:
        """Delivers what is left, outside of what is timed."""
        while self.drains and self.bridged.litellm_admin.rows("SELECT * FROM user_bridge.drain(1000)"):
            pass


@contextmanager
def place(programs: Binaries, size: Size) -> Iterator[Place]:
    """A server on the first two cores, filled and analyzed; gone afterwards."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="user-bridge-bench-")))
        cluster = stack.enter_context(running(programs, durable=True, settings=_SETTINGS))
        say(f"Filling two databases with {size.users} users")
        bare, bridged = (stack.enter_context(pair(cluster)) for _ in range(2))
        made = Place(cluster, bare, bridged, size, scratch)
        for each in (bare, bridged):
            fill(each, size.users)
        install_bridge(bridged, SETTINGS)
        bridged.litellm_admin.run("SELECT user_bridge.enqueue_everything()")
        made.drain()
        settle(made)
        yield made


def fill(where: Pair, users: int) -> None:
    """An organization for every ten teams, and each user in one team."""
    for statement in _FILL:
        where.litellm.run(statement, {"users": users, "teams": TEAMS})


def settle(where: Place) -> None:
    """As after a day of autovacuum, so that no measurement begins with a backlog of it."""
    for each in (where.bare, where.bridged):
        each.litellm_admin.run("VACUUM ANALYZE")
        each.openwebui_admin.run("VACUUM ANALYZE")
    where.bare.litellm_admin.run("CHECKPOINT")


_FILL = (
    """INSERT INTO "LiteLLM_BudgetTable" (budget_id, created_by, updated_by)
       SELECT 'b' || n, 'admin', 'admin' FROM generate_series(1, %(teams)s / 10) AS n""",
    """INSERT INTO "LiteLLM_OrganizationTable" (organization_id, organization_alias, budget_id, created_by, updated_by)
       SELECT 'o' || n, 'Organization ' || n, 'b' || n, 'admin', 'admin'
         FROM generate_series(1, %(teams)s / 10) AS n""",
    """INSERT INTO "LiteLLM_UserTable" (user_id, user_email, user_alias, user_role, teams)
       SELECT 'u' || n, 'u' || n || '@example.com', 'User ' || n, 'internal_user', ARRAY['t' || 1 + n %% %(teams)s]
         FROM generate_series(1, %(users)s) AS n""",
    """INSERT INTO "LiteLLM_TeamTable" (team_id, team_alias, organization_id, members_with_roles)
       SELECT 't' || t, 'Team ' || t, 'o' || 1 + t / 10 %% (%(teams)s / 10), (
              SELECT jsonb_agg(jsonb_build_object('role', 'user', 'user_id', u.user_id, 'user_email', u.user_email))
                FROM "LiteLLM_UserTable" AS u WHERE u.teams = ARRAY['t' || t])
         FROM generate_series(1, %(teams)s) AS t
        WHERE EXISTS (SELECT FROM "LiteLLM_UserTable" AS u WHERE u.teams = ARRAY['t' || t])""",
    """INSERT INTO "LiteLLM_OrganizationMembership" (user_id, organization_id)
       SELECT u.user_id, t.organization_id FROM "LiteLLM_UserTable" AS u
         JOIN "LiteLLM_TeamTable" AS t ON t.team_id = u.teams[1]""",
)
