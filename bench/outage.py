# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What LiteLLM pays while Open WebUI's database does not answer: the first write, and those after it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench.latency import create_users
from bench.place import Place
from bench.table import Figure, ends, median
from kit.bridge import change_settings
from kit.pairs import SYNC_USER

LATER = 200
CEILING = 2000


def outage(where: Place) -> list[Figure]:
    # Long enough that the writes after the first fall into it, whatever else the machine does.
    change_settings(where.bridged, backoff_seconds=60, target_timeout_ms=CEILING)
    bare = _writes(where, "bare")
    figures: list[Figure] = []
    for what, away, bound in (("refuses connections", _refused, 100.0), ("stands still", _frozen, CEILING + 100.0)):
        first, *later = _writes(where, "bridged", away)
        figures += [
            Figure(f"Open WebUI's database {what}: first write", first, "ms", bound),
            Figure(
                f"Open WebUI's database {what}: later writes, added",
                median(later) - median(bare),
                "ms",
                note=f"{median(bare):.3f} ms -> {median(later):.3f} ms",
                spread=ends([each - median(bare) for each in later]),
            ),
        ]
        where.bridged.litellm_admin.run("SELECT user_bridge.resume()")
        where.drain()
    return figures


def _writes(where: Place, name: str, away: object = None) -> list[float]:
    session = getattr(where, name).connect("litellm")
    _, create = create_users()
    # Its connection to the target exists, and its plans.
    for number in range(-20, 0):
        create(session, number)
    taken = []
    with away(where, session.pid) if callable(away) else _nothing():
        for number in range(LATER):
            started = time.perf_counter()
            create(session, number)
            taken.append((time.perf_counter() - started) * 1000)
    session.close()
    return taken


@contextmanager
def _nothing() -> Iterator[None]:
    yield


@contextmanager
def _refused(where: Place, _: int) -> Iterator[None]:
    admin = where.bridged.litellm_admin
    admin.run("ALTER SERVER user_bridge_target OPTIONS (SET port '1')")
    try:
        yield
    finally:
        admin.run(f"ALTER SERVER user_bridge_target OPTIONS (SET port '{where.cluster.port}')")


@contextmanager
def _frozen(where: Place, _: int) -> Iterator[None]:
    """The backend that serves the newest session of LiteLLM's."""
    sql = "SELECT pid FROM pg_stat_activity WHERE usename = %s AND datname = %s ORDER BY backend_start DESC LIMIT 1"
    pid = where.bridged.openwebui_admin.value(sql, [SYNC_USER, where.bridged.openwebui_db])
    with where.cluster.frozen(pid):
        yield
