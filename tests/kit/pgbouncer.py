# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PgBouncer in transaction mode in front of a throw-away server, as Debian packages it."""

from __future__ import annotations

import contextlib
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2

from kit.cluster import Cluster, free_port, spawn
from kit.common import KitError
from kit.pairs import PASSWORDS
from kit.prepare import apt_install

_START_SECONDS = 60


@contextmanager
def pgbouncer(cluster: Cluster, **settings: str) -> Iterator[int]:
    """Its port, for the length of a with block."""
    apt_install("pgbouncer")
    home = Path(tempfile.mkdtemp(prefix="user-bridge-pgbouncer-", dir="/tmp"))
    port = free_port()
    chosen = {
        "listen_addr": "127.0.0.1",
        "listen_port": str(port),
        "unix_socket_dir": "",
        "auth_type": "scram-sha-256",
        "auth_file": str(home / "users"),
        "pool_mode": "transaction",
        "default_pool_size": "2",
        **settings,
    }
    users = "".join(f'"{name}" "{password.replace(chr(34), 2 * chr(34))}"\n' for name, password in PASSWORDS.items())
    (home / "users").write_text(users, encoding="utf-8")
    lines = "".join(f"{name} = {value}\n" for name, value in chosen.items())
    (home / "pgbouncer.ini").write_text(
        f"[databases]\n* = host={cluster.host} port={cluster.port}\n[pgbouncer]\n{lines}", encoding="utf-8"
    )
    if cluster.os_user is not None:
        for path in (home, *home.iterdir()):
            shutil.chown(path, cluster.os_user)
    program = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
    with (home / "log").open("ab") as sink:
        process = spawn([program, home / "pgbouncer.ini"], cluster.os_user, sink)
    try:
        give_up = time.monotonic() + _START_SECONDS
        while True:
            with contextlib.suppress(psycopg2.OperationalError):
                psycopg2.connect(
                    host="127.0.0.1", port=port, dbname="postgres", user="postgres", password=PASSWORDS["postgres"]
                ).close()
                break
            if time.monotonic() > give_up:
                raise KitError(f"PgBouncer did not start:\n{(home / 'log').read_text(encoding='utf-8')[-2000:]}")
            time.sleep(0.05)
        yield port
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()
        shutil.rmtree(home, ignore_errors=True)
