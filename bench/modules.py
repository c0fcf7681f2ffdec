# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules over very many users: how fast they are brought, what that takes, and how long a look at them takes."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.place import SETTINGS, Place, fill
from bench.table import Figure, median
from kit.bridge import install_bridge, render_sql
from kit.cluster import Cluster
from kit.common import REPO, KitError
from kit.pairs import Pair, Side, pair
from modules_support import login_options, module_command, run_module

LOOKS = 5
VERSION = "1.0.0"
_ALONE = """INSERT INTO "LiteLLM_UserTable" (user_id, user_email, user_alias, user_role)
SELECT 'u' || n, 'u' || n || '@example.com', 'User ' || n, 'internal_user' FROM generate_series(1, %s) AS n"""
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Call:
    """One call of a module: its result, wall and CPU seconds, and the most megabytes that it held."""

    result: dict[str, Any]
    seconds: float
    computed: float
    memory: float


def modules(where: Place) -> list[Figure]:
    users = where.size.many
    with pair(where.cluster) as fresh:
        fresh.litellm.run(_ALONE, [users])
        _install(fresh)
        figures = _migration(where, fresh, f"migration of {users:,} users", users, 5000)
    with pair(where.cluster) as fresh:
        fill(fresh, users)
        _install(fresh)
        title = f"migration of {users:,} users with team and organization"
        figures += _migration(where, fresh, title, users)
        figures += _migration(where, fresh, f"{title}, again", 0)
        return [*figures, *_info(where, fresh)]


def _install(fresh: Pair) -> None:
    """As the role does it, so that there is a record of each object to compare with."""
    install_bridge(fresh, SETTINGS)
    sides: tuple[Side, ...] = ("openwebui", "litellm")
    for side in sides:
        definitions = [{"name": path, "sql": sql} for path, sql in render_sql(side).items()]
        options = {"side": side, "version": VERSION, "definitions": definitions}
        run_module("bridge_install", {**login_options(fresh, side), **options})
    # As some night between the deployment and the migration does it.
    fresh.litellm_admin.run("VACUUM ANALYZE")
    fresh.openwebui_admin.run("VACUUM ANALYZE")


def _migration(where: Place, fresh: Pair, name: str, expected: int, bound: float | None = None) -> list[Figure]:
    before = _computed(where.cluster)
    calls = _to_the_end(fresh)
    # Gone with the calls, and so counted by their parent: all backends that worked for them.
    server = _computed(where.cluster) - before
    seconds, module = sum(call.seconds for call in calls), sum(call.computed for call in calls)
    brought = sum(call.result["by_type"].get("user", {}).get("SUCCESS", 0) for call in calls)
    if brought != expected:
        raise KitError(f"{name}: {brought} of {expected} users were brought")
    users, entities = where.size.many, calls[-1].result["progress"]["total"]
    note = f"{seconds:.1f} s in {len(calls)} calls; {entities:,} entities; password none"
    alone = f"{users / (server + module):.0f} users/s with a core to itself"
    computed = f"module {module:.1f} s, server {server:.1f} s: {alone}"
    return [
        Figure(name, users / seconds, "users/s", bound, ">=", note),
        Figure(f"{name}: computed", server + module, "s", note=computed),
        Figure(f"{name}: memory of the module", max(call.memory for call in calls), "MB", 150),
    ]


def _to_the_end(fresh: Pair) -> list[Call]:
    """What the action plugin does: call after call, each with the default options."""
    calls = [_call("bridge_migration", login_options(fresh, "litellm"))]
    while (rest := calls[-1].result["next"]) is not None:
        calls.append(_call("bridge_migration", {**login_options(fresh, "litellm"), "resume_from": rest}))
    return calls


def _info(where: Place, fresh: Pair) -> list[Figure]:
    # What autovacuum does a minute after the migration.
    fresh.litellm_admin.run("VACUUM ANALYZE")
    fresh.openwebui_admin.run("VACUUM ANALYZE")
    options = {**login_options(fresh, "litellm"), "openwebui_login_db": fresh.openwebui_db, "version": VERSION}
    figures = []
    for what, drift, bound in (("without drift", False, 0.5), ("with drift", True, 5)):
        before = _computed(where.cluster)
        calls = [_call("bridge_info", {**options, "drift": drift}) for _ in range(LOOKS)]
        server = (_computed(where.cluster) - before) / LOOKS
        for call in calls:
            if call.result["health"]["status"] != "ok":
                raise KitError(f"bridge_info: {call.result['health']}")
        seconds, module = (median([getattr(call, name) for call in calls]) for name in ("seconds", "computed"))
        note = f"computed: module {module:.2f} s, server {server:.2f} s"
        figures.append(Figure(f"bridge_info {what}, {where.size.many:,} users", seconds, "s", bound, note=note))
    return figures


def _call(name: str, options: Mapping[str, Any]) -> Call:
    process = subprocess.Popen(
        module_command(name),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(REPO / ".collections")},
        text=True,
    )
    done = threading.Event()
    held = [0.0]
    watcher = threading.Thread(target=_watch, args=(process.pid, done, held))
    watcher.start()
    started, before = time.perf_counter(), os.times()
    try:
        out, _ = process.communicate(json.dumps({"ANSIBLE_MODULE_ARGS": options}))
    finally:
        seconds, after = time.perf_counter() - started, os.times()
        done.set()
        watcher.join()
    result: dict[str, Any] = json.loads(out)
    if result.get("failed"):
        raise KitError(f"{name}: {result['msg']}")
    computed = after.children_user + after.children_system - before.children_user - before.children_system
    return Call(result, seconds, computed, max(held))


def _watch(pid: int, done: threading.Event, held: list[float]) -> None:
    """Samples of the most that a process has held so far, in MB."""
    while not done.wait(0.01):
        try:
            status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
        except OSError:
            return
        held += [int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM")]


def _computed(cluster: Cluster) -> float:
    """Seconds on a core of the server's processes that are there no more, and of the postmaster."""
    assert cluster.process is not None
    stat = Path(f"/proc/{cluster.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return sum(int(ticks) for ticks in stat[11:15]) / _TICKS
