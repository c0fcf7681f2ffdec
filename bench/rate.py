# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Eight clients on two cores: how many users a second, by turns with and without the bridge (pgbench)."""

from __future__ import annotations

import os
import re
import subprocess

from bench.place import Place
from bench.table import Figure, median
from kit.common import KitError
from kit.pairs import PASSWORDS, Pair

CLIENTS = 8
TURNS = 5
_SCRIPT = """\\set n random(1, 1000000000000)
INSERT INTO "LiteLLM_UserTable" (user_id, user_email, user_alias, user_role)
VALUES ('r' || :client_id || '-' || :n, 'r' || :client_id || '-' || :n || '@example.com', 'R ' || :n, 'internal_user');
"""


def users(where: Place) -> list[Figure]:
    program = where.cluster.binaries.bindir / "pgbench"
    if not program.exists():
        raise KitError("pgbench is missing: apt-get install postgresql, or name in ONLY what to measure, without rate")
    script = where.scratch / "create-user.sql"
    script.write_text(_SCRIPT, encoding="utf-8")
    rates: dict[str, list[float]] = {"bare": [], "bridged": []}
    for turn in range(TURNS):
        for name in ("bare", "bridged") if turn % 2 else ("bridged", "bare"):
            rates[name].append(_rate(where, getattr(where, name), str(script), str(program)))
        where.drain()
    bare, bridged = median(rates["bare"]), median(rates["bridged"])
    note = f"{bare:.0f}/s -> {bridged:.0f}/s"
    return [Figure(f"{CLIENTS} clients creating users: with / without", bridged / bare, "", 0.45, ">=", note)]


def _rate(where: Place, target: Pair, script: str, program: str) -> float:
    """Transactions a second, without the time to connect."""
    command = [
        program,
        "-n",
        "-M",
        "prepared",
        "-c",
        str(CLIENTS),
        "-j",
        "2",
        "-T",
        str(where.size.seconds),
        "-f",
        script,
    ]
    login = target.login("litellm")
    env = {
        **os.environ,
        "PGHOST": login.host,
        "PGPORT": str(login.port),
        "PGDATABASE": login.database,
        "PGUSER": login.user,
        "PGPASSWORD": PASSWORDS["litellm"],
    }
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    found = re.search(r"^tps = ([0-9.]+)", done.stdout, re.MULTILINE)
    if done.returncode or not found:
        raise KitError(f"pgbench failed:\n{done.stdout}{done.stderr}")
    return float(found[1])
