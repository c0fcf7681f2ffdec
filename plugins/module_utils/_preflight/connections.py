# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How many connections the sync user may have, so that both programs keep their pools.

Each backend of LiteLLM that delivers keeps a connection to Open WebUI's database: without a limit, LiteLLM's pool would
count twice there.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils._names import PROGRAMS

# For the drainer's own session, a run of this collection, monitoring, a backup and an administrator.
OTHERS = 5
# The drainer's connection, one for LiteLLM's commits, and one for bridge_info and administrators.
LEAST = 3
# Beyond one for each backend of LiteLLM: the drainer's, and those of a migration or comparison.
MORE = 4

_POOLS = {"litellm": "bridge_postgres_litellm_connections", "openwebui": "bridge_postgres_openwebui_connections"}


@dataclass(frozen=True)
class Pools:
    """The sizes of the programs' pools, and the limit that is asked for. 0: computed."""

    litellm: int
    openwebui: int
    limit: int

    def of(self, side: str) -> int:
        return self.litellm if side == "litellm" else self.openwebui


@dataclass(frozen=True)
class Budget:
    limit: int
    problems: tuple[str, ...] = ()


def budget(seen: dict[str, dict[str, Any]], one_server: bool, pools: Pools) -> Budget:
    """The limit of the sync user, and why it cannot be kept."""
    servers = [("litellm", "openwebui")] if one_server else [("litellm",), ("openwebui",)]
    rooms = {sides: _room(seen, sides, pools) for sides in servers}
    bridges = rooms[servers[-1]]
    in_database = _room_in_database(seen["openwebui"], pools.openwebui)
    limit = pools.limit or max(LEAST, min(pools.litellm + MORE, bridges, in_database))
    problems = [
        _of_server(seen, sides, pools, limit if "openwebui" in sides else 0, room) for sides, room in rooms.items()
    ]
    problems.append(_of_database(seen, "litellm", pools, 1))
    problems.append(_of_database(seen, "openwebui", pools, limit))
    if 0 < pools.limit < LEAST:
        problems.append(
            f"bridge_sync_connection_limit is {pools.limit}, but the bridge needs {LEAST} connections to Open WebUI's "
            "database at least. Set it to that or more, or to 0 to have it computed."
        )
    return Budget(limit, tuple(problem for problem in problems if problem))


def _room(seen: dict[str, dict[str, Any]], sides: tuple[str, ...], pools: Pools) -> int:
    """What a server has left for the sync user."""
    facts = seen[sides[-1]]
    return int(facts["max_connections"] - facts["reserved_connections"] - OTHERS - sum(map(pools.of, sides)))


def _room_in_database(facts: dict[str, Any], pool: int) -> int:
    limit = facts["database_limit"]
    return limit - pool if limit >= 0 else int(facts["max_connections"])


def _of_server(
    seen: dict[str, dict[str, Any]], sides: tuple[str, ...], pools: Pools, limit: int, room: int
) -> str | None:
    if room >= limit:
        return None
    facts = seen[sides[-1]]
    names = " and ".join(f'{PROGRAMS[side]}\'s database "{seen[side]["database"]}"' for side in sides)
    held = ", ".join(f"{_POOLS[side]} ({pools.of(side)})" for side in sides)
    asked = f", bridge_sync_connection_limit ({limit})" if limit else ""
    reserved = facts["reserved_connections"]
    needed = facts["max_connections"] - room + limit
    lower = " and ".join(_POOLS[side] for side in sides)
    return (
        f"max_connections of the server of {names} is {facts['max_connections']}, but {held}{asked}, {reserved} "
        f"reserved ones and {OTHERS} for the drainer, administration and backups need {needed}: a program would be "
        f"refused. Raise max_connections to {needed} and restart the server (bridge_postgres_max_connections where "
        f"this collection runs it), or set {lower} to what the pools have"
        + (", or lower bridge_sync_connection_limit." if pools.limit and limit else ".")
    )


def _of_database(seen: dict[str, dict[str, Any]], side: str, pools: Pools, needed: int) -> str | None:
    facts = seen[side]
    if facts["database_limit"] < 0 or facts["database_limit"] >= pools.of(side) + needed:
        return None
    whose = "the drainer's session" if side == "litellm" else f"bridge_sync_connection_limit ({needed})"
    return (
        f'The database "{facts["database"]}" of {PROGRAMS[side]} has CONNECTION LIMIT {facts["database_limit"]}, but '
        f"{_POOLS[side]} ({pools.of(side)}) and {whose} need {pools.of(side) + needed}. Raise it (ALTER DATABASE ... "
        f"CONNECTION LIMIT), or set {_POOLS[side]} to what the pool has."
    )
