# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real schemas: LiteLLM's own migration files, Open WebUI's own alembic run, each as the role that owns them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg2
import psycopg2.extensions

from kit.common import (
    REQUIREMENTS,
    KitError,
    cache_dir,
    install,
    locked,
    pick_version,
    required_lines,
    run_logged,
    say,
)
from kit.prepare import VENV

# Whoever asks: an environment of `make matrix` has no pip, and may have another Python than the pins are for.
_PYTHON = VENV / "bin" / "python"
_OPENWEBUI_TOOL = Path(__file__).with_name("openwebui_tool.py")


@dataclass(frozen=True)
class Admin:
    """The first Open WebUI account, as its sign-up page makes it."""

    email: str = "admin@example.com"
    name: str = "First Admin"
    password: str = "admin-password"


@dataclass(frozen=True)
class Login:
    """How a program reaches its database."""

    host: str
    port: int
    database: str
    user: str
    password: str

    @property
    def url(self) -> str:
        password = quote(self.password, safe="")
        return f"postgresql://{self.user}:{password}@{self.host}:{self.port}/{self.database}"


def litellm_migrations(wanted: str) -> list[tuple[str, str]]:
    """Name and SQL of each migration of a LiteLLM version, in the order in which Prisma applies them."""
    version = pick_version("litellm", wanted)
    (pin,) = required_lines(f"litellm-{version}.txt")
    home = cache_dir() / pin.replace("==", "-")
    with locked(cache_dir() / f"{home.name}.lock"):
        if not (home / "ready").exists():
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir()
            say(f"Fetching LiteLLM {version}'s migrations ({pin})")
            _unpack_wheel(pin, home)
            (home / "ready").touch()
    # Names are bytes to Prisma, so the order is that of LC_ALL=C; one of them contains spaces.
    files = sorted((home / "litellm_proxy_extras" / "migrations").glob("*/migration.sql"))
    return [(path.parent.name, path.read_text(encoding="utf-8")) for path in files]


def apply_litellm(
    connection: psycopg2.extensions.connection, wanted: str = "new", *, after: str | None = None
) -> list[str]:
    """Replay the migrations of a LiteLLM version over an autocommit connection, each as one batch.

    With `after`, only those that are not part of that older version: LiteLLM's upgrade.
    """
    done = {name for name, _sql in litellm_migrations(after)} if after else set()
    migrations = [(name, sql) for name, sql in litellm_migrations(wanted) if name not in done]
    with connection.cursor() as cursor:
        for name, sql in migrations:
            try:
                cursor.execute(sql)
            except psycopg2.Error as error:
                raise KitError(f"LiteLLM {wanted}, migration {name}: {error}") from error
    return [name for name, _sql in migrations]


def _unpack_wheel(pin: str, home: Path) -> None:
    command: list[str | Path] = [
        _PYTHON,
        "-m",
        "pip",
        "download",
        "--disable-pip-version-check",
        "--no-input",
        "--no-deps",
    ]
    run_logged([*command, "--only-binary=:all:", "-d", home, pin], home / "pip.log", f"downloading {pin}")
    (wheel,) = home.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(home)
    wheel.unlink()


def openwebui_python(wanted: str = "new", *, server: bool = False) -> Path:
    """The interpreter of a virtual environment that holds an Open WebUI version; made on first use.

    It can run migrations and write accounts; with `server`, it can also run the server.
    """
    version = pick_version("open-webui", wanted)
    lean = cache_dir() / f"open-webui-{version}"
    home = lean if server or (lean / "ready").exists() else cache_dir() / f"open-webui-{version}-schema"
    with locked(cache_dir() / f"{home.name}.lock"):
        if not (home / "ready").exists():
            shutil.rmtree(home, ignore_errors=True)
            say(f"Installing Open WebUI {version} in {home.name} (once, about {15 if server else 8} s)")
            _install_openwebui(home, version)
            (home / "ready").touch()
    return home / "bin" / "python"


def _install_openwebui(home: Path, version: str) -> None:
    log = home.with_name(f"{home.name}.log")
    log.unlink(missing_ok=True)
    what = f"installing {home.name}"
    run_logged([_PYTHON, "-m", "venv", "--without-pip", home], log, what)
    constraints = REQUIREMENTS / f"open-webui-{version}-constraints.txt"
    python = home / "bin" / "python"
    install(python, log, what, "-c", str(constraints), "-r", str(REQUIREMENTS / f"{home.name}.txt"))
    # Last and without its needs: torch and its like take gigabytes and are not imported for what we do.
    install(python, log, what, "--no-deps", f"open-webui=={version}")


def _run_openwebui_tool(login: Login, wanted: str, scratch: Path, *arguments: str) -> None:
    """Run openwebui_tool.py with Open WebUI's own code against a database, as the role that owns it."""
    python = openwebui_python(wanted)
    (package,) = python.parent.parent.glob("lib/python3*/site-packages/open_webui")
    environment = {
        "PATH": "/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
        "HOME": str(scratch),
        "DATA_DIR": str(scratch),
        "DATABASE_URL": login.url,
        "ENABLE_DB_MIGRATIONS": "false",
        "OFFLINE_MODE": "true",
        "PYTHONPATH": str(package.parent),
        "WEBUI_SECRET_KEY": "only-for-tests",
    }
    log = scratch / "open-webui.log"
    what = f"Open WebUI {wanted}: {arguments[0]}"
    run_logged([python, _OPENWEBUI_TOOL, *arguments], log, what, env=environment, cwd=package)


def migrate_openwebui(login: Login, wanted: str, *, revision: str = "head", admin: Admin | None = None) -> None:
    """Run Open WebUI's own migrations up to an alembic revision, and sign up the first admin when one is given."""
    account = json.dumps([admin.email, admin.name, admin.password]) if admin else "null"
    with tempfile.TemporaryDirectory(prefix="user-bridge-open-webui-") as scratch:
        _run_openwebui_tool(login, wanted, Path(scratch), "migrate", revision, account)


def apply_openwebui(
    connection: psycopg2.extensions.connection,
    login: Login,
    wanted: str,
    admin: Admin,
    pg_dump: Path | None,
) -> None:
    """Open WebUI's schema and first admin, from a dump of an earlier real migration where there is one.

    The real run takes some seconds for each server; its dump is keyed by everything that it depends on.
    """
    version = pick_version("open-webui", wanted)
    dump = cache_dir() / f"open-webui-{version}-{_fingerprint(version, admin)}.sql"
    if dump.exists():
        with connection.cursor() as cursor:
            cursor.execute(dump.read_text(encoding="utf-8"))
        return
    say(f"Running Open WebUI {version}'s migrations")
    started = time.monotonic()
    migrate_openwebui(login, version, admin=admin)
    say(f"  done in {time.monotonic() - started:.1f} s")
    if pg_dump is not None:
        partial = dump.with_suffix(f".{os.getpid()}")
        partial.write_text(plain_dump(pg_dump, login), encoding="utf-8")
        partial.rename(dump)


def plain_dump(pg_dump: Path, login: Login) -> str:
    """Plain SQL that any supported server and any driver can replay: no COPY, no psql commands."""
    options = ["--no-owner", "--no-privileges", "--inserts", f"--dbname={login.url}"]
    output = subprocess.run([pg_dump, *options], capture_output=True, text=True, check=True).stdout
    return "".join(line for line in output.splitlines(keepends=True) if not line.startswith("\\"))


def _fingerprint(version: str, admin: Admin) -> str:
    digest = hashlib.sha256(repr(admin).encode())
    names = (f"open-webui-{version}-schema.txt", f"open-webui-{version}-constraints.txt")
    for path in (_OPENWEBUI_TOOL, *(REQUIREMENTS / name for name in names)):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
