# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Eight clients on two cores: how many users a second, by turns without the bridge and with it (pgbench)."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench.latency import create_users
from bench.place import Place
from bench.table import Figure, ends, median, quantile
from kit.bridge import drainer
from kit.common import KitError
from kit.pairs import PASSWORDS, Pair

CLIENTS = 8
TURNS = 3
_SCRIPT = """\\set n random(1, 1000000000000)
INSERT INTO "LiteLLM_UserTable" (user_id, user_email, user_alias, user_role)
VALUES ('r' || :client_id || '-' || :n, 'r' || :client_id || '-' || :n || '@example.com', 'R ' || :n, 'internal_user');
"""
BOUNDS = {"with the drainer": 0.30, "without a drainer": 0.15}


def users(where: Place) -> list[Figure]:
    program = where.cluster.binaries.bindir / "pgbench"
    if not program.exists():
        raise KitError("pgbench is missing: apt-get install postgresql, or name in ONLY what to measure, without rate")
    script = where.scratch / "create-user.sql"
    script.write_text(_SCRIPT, encoding="utf-8")
    rates: dict[str, list[float]] = {"bare": [], **{name: [] for name in BOUNDS}}
    waited: dict[str, list[float]] = {name: [] for name in BOUNDS}
    for turn in range(TURNS):
        for name in sorted(rates, reverse=turn % 2 == 0):
            lives = drainer(where.bridged) if name == "with the drainer" else contextlib.nullcontext()
            reads = _reader(where, waited[name]) if name in waited else contextlib.nullcontext()
            with lives, reads:
                pair = where.bare if name == "bare" else where.bridged
                rates[name].append(_rate(where, pair, str(script), str(program)))
            where.drain()
    return [figure for name, bound in BOUNDS.items() for figure in _figures(name, bound, rates, waited[name])]


def _figures(name: str, bound: float, rates: dict[str, list[float]], waited: list[float]) -> list[Figure]:
    bare, bridged = median(rates["bare"]), median(rates[name])
    ratios = ends([b / a for a, b in zip(rates["bare"], rates[name], strict=True)])
    title = f"{CLIENTS} clients creating users, {name}"
    note = f"{bare:.0f}/s -> {bridged:.0f}/s"
    limits = (None, 500.0) if name == "with the drainer" else (None, None)
    return [
        Figure(f"{title}: with / without", bridged / bare, "", bound, ">=", note, ratios),
        *(
            Figure(f"{title}: visible in Open WebUI after, {word}", quantile(waited, share), "ms", limit)
            for (share, word), limit in zip(((0.5, "median"), (0.99, "p99")), limits, strict=True)
        ),
    ]


@contextmanager
def _reader(where: Place, waited: list[float]) -> Iterator[None]:
    """Somebody beside creates a user now and then: milliseconds from his COMMIT until Open WebUI has it."""
    stop, (name, create) = threading.Event(), create_users()
    writer, reader = where.bridged.connect("litellm"), where.bridged.connect("openwebui")

    def watch() -> None:
        for number in itertools.count():
            if stop.wait(0.05):
                return
            create(writer, number)
            began = time.perf_counter()
            while not reader.value('SELECT 1 FROM "user" WHERE id = %s', [f"usr_{name(number)}"]):
                time.sleep(0.002)
            waited.append((time.perf_counter() - began) * 1000)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        writer.close()
        reader.close()


def _rate(where: Place, target: Pair, script: str, program: str) -> float:
    """Transactions a second, without the time to connect."""
    options = ["-n", "-M", "prepared", "-c", str(CLIENTS), "-j", "2", "-T", str(where.size.seconds), "-f", script]
    login = target.login("litellm")
    env = {
        **os.environ,
        "PGHOST": login.host,
        "PGPORT": str(login.port),
        "PGDATABASE": login.database,
        "PGUSER": login.user,
        "PGPASSWORD": PASSWORDS["litellm"],
    }
    done = subprocess.run([program, *options], capture_output=True, text=True, env=env, check=False)
    found = re.search(r"^tps = ([0-9.]+)", done.stdout, re.MULTILINE)
    if done.returncode or not found:
        raise KitError(f"pgbench failed:\n{done.stdout}{done.stderr}")
    return float(found[1])
