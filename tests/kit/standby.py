# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A physical standby of a throw-away server, and pairs whose databases are on two servers."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kit.cluster import SUPERUSER, SUPERUSER_PASSWORD, Cluster, free_port
from kit.common import KitError
from kit.pairs import Pair, Session, Side
from kit.schemas import Login

CATCH_UP_SECONDS = 60


@contextmanager
def standby_of(primary: Cluster) -> Iterator[Cluster]:
    """A hot standby that streams from `primary`, which is restarted for it: its files are copied while it is down."""
    with (primary.data / "pg_hba.conf").open("a", encoding="utf-8") as rules:
        rules.write("host replication all 127.0.0.1/32 scram-sha-256\n")
    primary.stop()
    home = Path(tempfile.mkdtemp(prefix="user-bridge-standby-", dir="/tmp"))
    data = Path(tempfile.mkdtemp(prefix="user-bridge-standby-", dir=primary.data.parent.parent))
    made = Cluster(primary.binaries, home, data / "data", free_port(), primary.os_user)
    try:
        shutil.copytree(primary.data, made.data)
        primary.start()
        password = SUPERUSER_PASSWORD.replace("\\", "\\\\").replace("'", "\\'")
        source = f"host={primary.host} port={primary.port} user={SUPERUSER} password='{password}'"
        (made.data / "standby.signal").touch()
        with (made.data / "postgresql.conf").open("a", encoding="utf-8") as settings:
            quoted = source.replace("\\", "\\\\").replace("'", "''")
            settings.write(f"port = {made.port}\nunix_socket_directories = '{home}'\nprimary_conninfo = '{quoted}'\n")
        _hand_over(made)
        made.start()
        yield made
    finally:
        made.destroy()


def _hand_over(made: Cluster) -> None:
    if made.os_user is None:
        return
    for folder in (made.home, made.data.parent):
        shutil.chown(folder, made.os_user)
        for path in folder.rglob("*"):
            shutil.chown(path, made.os_user)


def caught_up(primary: Cluster, standby: Cluster) -> None:
    """Wait until the standby has replayed everything that the primary has written."""
    with contextlib.closing(primary.connect()) as one, contextlib.closing(standby.connect()) as other:
        source, target = Session(one), Session(other)
        written = source.value("SELECT pg_current_wal_flush_lsn()")
        give_up = time.monotonic() + CATCH_UP_SECONDS
        while not target.value("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", [written]):
            if time.monotonic() > give_up:
                raise KitError(f"the standby does not catch up:\n{standby.log_tail()}")
            time.sleep(0.05)


def promote(standby: Cluster) -> None:
    standby.execute("SELECT pg_promote()")


class SplitPair(Pair):
    """The databases of a pair, each on a server of its own. The bridge in them is the one that the pair had."""

    def __init__(self, pair: Pair, clusters: Mapping[Side, Cluster]) -> None:
        super().__init__(
            clusters["litellm"],
            pair.litellm_db,
            pair.openwebui_db,
            pair.litellm_version,
            pair.openwebui_version,
            pair.admin,
        )
        self.clusters = clusters

    def login(self, side: Side, user: str | None = None) -> Login:
        found = super().login(side, user)
        return Login(found.host, self.clusters[side].port, found.database, found.user, found.password)

    def connect(self, side: Side, user: str | None = None, *, autocommit: bool = True, **options: Any) -> Session:
        login = self.login(side, user)
        raw = self.clusters[side].connect(login.database, login.user, login.password, **options)
        raw.autocommit = autocommit
        session = Session(raw)
        self.opened.append(session)
        return session
