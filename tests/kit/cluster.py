# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A throw-away PostgreSQL server: made in a second, reached over loopback with SCRAM, gone when the test run ends."""

from __future__ import annotations

import atexit
import base64
import contextlib
import ctypes
import hashlib
import hmac
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import psycopg2
import psycopg2.extensions

from kit.binaries import Binaries
from kit.common import KitError, is_running

SUPERUSER = "postgres"
SUPERUSER_PASSWORD = "superuser's \\ password"
START_SECONDS = 60
STOP_SECONDS = 60
MEMORY_BYTES = 4 << 30
_PR_SET_PDEATHSIG = 1
# Crashes of the server itself lose nothing without fsync: the operating system keeps what was written.
# Nothing runs often enough to be worth compiling: the bridge's own functions and modules switch that off, too.
_FAST = {"fsync": "off", "full_page_writes": "off", "max_wal_size": "256MB", "jit": "off"}
_COMMON = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "log_line_prefix": "%m [%p] %a %u@%d ",
    "timezone": "UTC",
}


@dataclass(eq=False)
class Cluster:
    """One server. Times are seconds; `durable` keeps fsync on, as a benchmark needs it."""

    binaries: Binaries
    home: Path
    data: Path
    port: int
    os_user: str | None
    process: subprocess.Popen[bytes] | None = None
    templates: dict[str, str] = field(default_factory=dict)
    passwords: dict[str, str] = field(default_factory=dict)
    counter: int = 0

    @property
    def log(self) -> Path:
        return self.home / "server.log"

    @property
    def major(self) -> int:
        return self.binaries.major

    @property
    def host(self) -> str:
        return "127.0.0.1"

    @property
    def socket_dir(self) -> Path:
        """Where the Unix socket is; anybody who can enter this folder is let in without a password."""
        return self.home

    def connect(
        self,
        database: str = "postgres",
        user: str = SUPERUSER,
        password: str = SUPERUSER_PASSWORD,
        **options: Any,
    ) -> psycopg2.extensions.connection:
        """A new autocommit connection over loopback TCP, with a password, as everybody else connects."""
        connection = psycopg2.connect(
            host=self.host, port=self.port, dbname=database, user=user, password=password, **options
        )
        connection.autocommit = True
        return connection

    def execute(self, *statements: str, database: str = "postgres") -> None:
        """Run statements as the superuser, each on its own (CREATE DATABASE wants that)."""
        with contextlib.closing(self.connect(database)) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def end_sessions(self, which: str) -> None:
        """End those that a condition on pg_stat_activity names, and wait until they are gone.

        PostgreSQL 13 cannot wait by itself, and a session that was only told to go may still answer.
        """
        self.execute(
            f"DO $$ BEGIN PERFORM pg_terminate_backend(pid) FROM pg_stat_activity WHERE {which}; "
            f"WHILE EXISTS (SELECT FROM pg_stat_activity WHERE {which}) LOOP "
            "PERFORM pg_sleep(0.01), pg_stat_clear_snapshot(); END LOOP; END $$"
        )

    def await_nobody(self, databases: Iterable[str]) -> None:
        """Until nobody is connected to these databases any more."""
        names, deadline = list(databases), time.monotonic() + STOP_SECONDS
        with contextlib.closing(self.connect()) as connection, connection.cursor() as cursor:
            while True:
                cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = ANY (%s)", [names])
                if cursor.fetchone() == (0,):
                    return
                if time.monotonic() > deadline:
                    raise KitError(f"somebody is still connected to {', '.join(names)}")
                time.sleep(0.02)

    def start(self) -> None:
        """Start the server as a child that dies with us, and wait until it answers."""
        if self.process is not None and self.process.poll() is None:
            raise KitError("the server is already running")
        with self.log.open("ab") as sink:
            self.process = spawn([self.binaries.bindir / "postgres", "-D", self.data], self.os_user, sink)
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self.connect(connect_timeout=5).close()
                return
            except psycopg2.OperationalError as error:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise KitError(f"PostgreSQL {self.major} did not start:\n{error}\n{self.log_tail()}") from error
            time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Fast shutdown by default (SIGINT); SIGTERM waits for clients, SIGQUIT recovers at the next start."""
        process, self.process = self.process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGCONT)
        process.send_signal(how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
            return
        self.process = process
        self.kill()

    def restart(self) -> None:
        self.stop()
        self.start()

    def kill(self) -> None:
        """kill -9 on the server and all its backends: what a power cut leaves of it, but for unwritten pages."""
        process, self.process = self.process, None
        if process is None or process.poll() is not None:
            return
        backends = _children(process.pid)
        process.kill()
        process.wait()
        for pid in backends:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + STOP_SECONDS
        while any(is_running(pid) for pid in backends) and time.monotonic() < deadline:
            time.sleep(0.02)

    @contextmanager
    def frozen(self, pid: int | None = None) -> Iterator[None]:
        """SIGSTOP for one backend, or, without a pid, for the whole server; SIGCONT afterwards."""
        assert self.process is not None
        pids = [pid] if pid is not None else [self.process.pid, *_children(self.process.pid)]
        for each in pids:
            os.kill(each, signal.SIGSTOP)
        try:
            yield
        finally:
            for each in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(each, signal.SIGCONT)

    def log_tail(self, lines: int = 20) -> str:
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])

    def fresh_name(self, stem: str) -> str:
        """A database name that this cluster has not used yet."""
        self.counter += 1
        return f"{stem}_{self.counter}"

    def destroy(self) -> None:
        self.stop(signal.SIGQUIT)
        for folder in (self.data.parent, self.home):
            shutil.rmtree(folder, ignore_errors=True)


def create(
    binaries: Binaries,
    *,
    durable: bool = False,
    settings: Mapping[str, str] | None = None,
    name: str = "pg",
    icu_locale: str | None = None,
) -> Cluster:
    """Make and start a server. The caller destroys it; should it die before that, the server dies with it."""
    os_user = _unprivileged_user()
    # In /tmp and not beside the checkout: a clone may lie in a folder that only root can enter.
    home = Path(tempfile.mkdtemp(prefix=f"user-bridge-{name}-", dir="/tmp"))
    memory = None if durable else _memory_dir()
    data = Path(tempfile.mkdtemp(prefix=f"user-bridge-{name}-", dir=memory)) if memory else home
    cluster = Cluster(_reachable(binaries, home, os_user), home, data / "data", free_port(), os_user)
    atexit.register(cluster.destroy)
    try:
        for folder in {home, data}:
            _own(folder, os_user)
        _initdb(cluster, icu_locale)
        chosen = {**_COMMON, **({} if durable else _FAST), **(settings or {})}
        configuration = {**chosen, "port": str(cluster.port), "unix_socket_directories": str(home)}
        with (cluster.data / "postgresql.conf").open("a", encoding="utf-8") as handle:
            handle.writelines(f"{key} = '{value}'\n" for key, value in configuration.items())
        cluster.start()
        if not durable:
            cluster.execute(f"ALTER ROLE {SUPERUSER} PASSWORD '{quick_verifier(SUPERUSER_PASSWORD)}'")
    except BaseException:
        cluster.destroy()
        raise
    return cluster


@contextmanager
def running(
    binaries: Binaries,
    *,
    durable: bool = False,
    settings: Mapping[str, str] | None = None,
    icu_locale: str | None = None,
) -> Iterator[Cluster]:
    """A server for the length of a with block; with a locale of ICU, from PostgreSQL 15 on, for all its databases."""
    cluster = create(binaries, durable=durable, settings=settings, icu_locale=icu_locale)
    try:
        yield cluster
    finally:
        atexit.unregister(cluster.destroy)
        cluster.destroy()


def _initdb(cluster: Cluster, icu_locale: str | None) -> None:
    password_file = cluster.home / "password"
    password_file.write_text(SUPERUSER_PASSWORD + "\n", encoding="utf-8")
    password_file.chmod(0o600)
    _own(password_file, cluster.os_user)
    command: list[str | Path] = [cluster.binaries.bindir / "initdb", "-D", cluster.data, "-U", SUPERUSER]
    # C.UTF-8 and not C: lower() must know more letters than A to Z, as it does on real servers.
    command += ["--encoding=UTF8", "--locale=C.UTF-8", "--auth-host=scram-sha-256", "--auth-local=trust", "--no-sync"]
    if icu_locale:
        command += ["--locale-provider=icu", f"--icu-locale={icu_locale}"]
    with cluster.log.open("ab") as sink:
        process = spawn([*command, f"--pwfile={password_file}"], cluster.os_user, sink)
        if process.wait():
            raise KitError(f"initdb of PostgreSQL {cluster.major} failed:\n{cluster.log_tail()}")
    password_file.unlink()


def quick_verifier(password: str) -> str:
    """What a server stores for a password, of one round: PostgreSQL's 4,096 are a third of what a connection costs."""
    salt = os.urandom(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, 1)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    parts = (salt, stored, hmac.digest(salted, b"Server Key", "sha256"))
    return "SCRAM-SHA-256$1:{}${}:{}".format(*(base64.b64encode(part).decode() for part in parts))


def spawn(command: list[str | Path], os_user: str | None, sink: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start a program as `os_user` in a session of its own (Ctrl-C is ours to handle), to die when we die."""
    identity: dict[str, Any] = {}
    if os_user is not None:
        entry = pwd.getpwnam(os_user)
        identity = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    return subprocess.Popen(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=sink,
        stderr=sink,
        cwd="/",
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
        start_new_session=True,
        preexec_fn=die_with_parent,
        **identity,
    )


def die_with_parent() -> None:
    """Even kill -9 of the test run must not leave servers behind."""
    # A shell starts background jobs with it ignored, and programs without a handler of their own would live on.
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)


def _unprivileged_user() -> str | None:
    """Whom PostgreSQL runs as when we are root, which it refuses; None: ourselves."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in ("postgres", "nobody") if name in names), "nobody")


def _own(path: Path, os_user: str | None) -> None:
    if os_user is not None:
        entry = pwd.getpwnam(os_user)
        os.chown(path, entry.pw_uid, entry.pw_gid)


def _reachable(binaries: Binaries, home: Path, os_user: str | None) -> Binaries:
    """Downloaded programs lie in the checkout, which another user may be unable to enter: link them into /tmp."""
    if os_user is None or not binaries.from_npm:
        return binaries
    target = home / "native"
    shutil.copytree(binaries.root, target, symlinks=True, copy_function=_link_or_copy)
    return Binaries(binaries.major, target / "bin")


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _memory_dir() -> Path | None:
    """A copy of the schemas makes 1,500 files; in memory that takes a fifth of the time. Containers have little."""
    path = Path("/dev/shm")
    usable = path.is_dir() and os.access(path, os.W_OK) and shutil.disk_usage(path).free > MEMORY_BYTES
    return path if usable else None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _children(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in path.read_text(encoding="ascii").split()] if path.exists() else []
