# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the demo keeps its things, and how its server is stopped. Standard library only: `make demo-clean` needs it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import time
from pathlib import Path

from kit.common import REPO, KitError, is_running, say

HOME = REPO / ".demo"
_ELSEWHERE = HOME / "cluster-directory"
STOP_SECONDS = 30


def cluster_dir() -> Path:
    """The embedded cluster's folder: in .demo/, unless PostgreSQL's user cannot get there.

    As root the cluster runs as another user, to whom a clone in a closed folder (such as /root) is out of reach.
    """
    if _ELSEWHERE.exists():
        return Path(_ELSEWHERE.read_text(encoding="utf-8"))
    return HOME / "postgres"


def make() -> Path:
    """An empty place for a new cluster."""
    HOME.mkdir(mode=0o755)
    if os.geteuid() == 0 and not all(folder.stat().st_mode & 0o001 for folder in (HOME, *HOME.parents)):
        away = tempfile.mkdtemp(prefix="user-bridge-demo-", dir="/var/tmp")
        Path(away).chmod(0o755)
        _ELSEWHERE.write_text(f"{away}/postgres", encoding="utf-8")
    return cluster_dir()


def port() -> int:
    """The port that the running cluster wrote into its pid file."""
    return int(_pid_file().read_text(encoding="utf-8").splitlines()[3])


def superuser_password() -> str:
    return (cluster_dir() / "superuser_password").read_text(encoding="utf-8").strip()


def clean() -> None:
    """Stop the server and remove everything; a demo that never ran is clean already."""
    if not HOME.exists():
        return
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        _stop(int(_pid_file().read_text(encoding="utf-8").splitlines()[0]))
    if _ELSEWHERE.exists():
        shutil.rmtree(cluster_dir().parent)
    shutil.rmtree(HOME)


def _stop(pid: int) -> None:
    if Path(f"/proc/{pid}/cwd").resolve() != _pid_file().parent.resolve():
        return  # The pid file is older than the machine's last start, and the number is another program's now.
    say("Stopping the demo's PostgreSQL")
    os.kill(pid, signal.SIGINT)
    deadline = time.monotonic() + STOP_SECONDS
    while is_running(pid):
        if time.monotonic() > deadline:
            raise KitError(f"PostgreSQL (process {pid}) did not stop within {STOP_SECONDS} s")
        time.sleep(0.05)


def _pid_file() -> Path:
    return cluster_dir() / "data" / "postmaster.pid"
