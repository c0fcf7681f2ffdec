# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where things are, what is pinned, and how other programs are run."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

REPO = Path(__file__).resolve().parents[2]
REQUIREMENTS = REPO / "requirements"


class KitError(RuntimeError):
    """Something that the kit needs is missing or failed; the message says what to do."""


def cache_dir() -> Path:
    """Downloads and virtual environments, kept between runs. USER_BRIDGE_CACHE moves them."""
    path = Path(os.environ.get("USER_BRIDGE_CACHE") or REPO / ".cache")
    path.mkdir(parents=True, exist_ok=True)
    return path.resolve()


def say(message: str) -> None:
    """Progress for a person: to stderr, at once, so that it is seen in a pipe too."""
    print(message, file=sys.stderr, flush=True)


def as_program(main: Callable[[list[str]], int | None]) -> NoReturn:
    """Run it with this program's arguments; of what the kit misses, the message alone is shown."""
    try:
        sys.exit(main(sys.argv[1:]))
    except KitError as error:
        sys.exit(str(error))


def required_lines(name: str) -> list[str]:
    """The entries of a file in requirements/, without comments."""
    lines = (REQUIREMENTS / name).read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def version_key(version: str) -> tuple[int, ...]:
    """Sorts 0.12.4 after 0.6.30."""
    return tuple(int(part) for part in re.findall(r"\d+", version))


def pinned_versions(program: str) -> list[str]:
    """Versions of `program` that requirements/ pins, oldest first."""
    found = (re.fullmatch(rf"{re.escape(program)}-([0-9.]+)\.txt", path.name) for path in REQUIREMENTS.iterdir())
    return sorted((match[1] for match in found if match), key=version_key)


def pick_version(program: str, wanted: str) -> str:
    """`old` and `new` are the oldest and the newest pinned version; anything else must be pinned."""
    versions = pinned_versions(program)
    version = {"old": versions[0], "new": versions[-1]}.get(wanted, wanted)
    if version not in versions:
        raise KitError(f"requirements/ pins no {program} {wanted}: there are {', '.join(versions)}")
    return version


def is_running(pid: int) -> bool:
    """Whether a process still does anything; in a container without an init, dead ones stay listed as zombies."""
    try:
        return (
            Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[0] != "Z"
        )
    except (FileNotFoundError, ProcessLookupError):
        return False


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time fills the cache; the others wait and then find it filled."""
    with path.open("w", encoding="utf-8") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def run_logged(
    command: Sequence[str | Path],
    log: Path,
    what: str,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> None:
    """Run a program with its output in a log; tick while it runs, and show the log's end when it fails.

    pip and alembic print scary blocks that mean nothing here, so they are only shown when they matter.
    """
    started = ticked = time.monotonic()
    with log.open("ab") as sink:
        process = subprocess.Popen(
            [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, env=env, cwd=cwd
        )
        try:
            while process.poll() is None:
                time.sleep(0.05)
                if time.monotonic() - ticked >= 5:
                    ticked = time.monotonic()
                    say(f"  ... {what}: {ticked - started:.0f} s")
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    if process.returncode:
        tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-30:])
        raise KitError(f"{what} failed with exit code {process.returncode}; the end of {log}:\n{tail}")


def install(into: Path, log: Path, what: str, *arguments: str, linked: bool = True) -> None:
    """Packages into the environment of this Python: by uv in an eighth of pip's time, by pip where uv cannot.

    uv does not read pip's configuration; it is told of an index that replaces PyPI, and pip knows the rest. `linked`:
    environments share files, which nothing may write then.
    """
    try:
        env = {**_uv_settings(), "UV_LINK_MODE": "hardlink" if linked else "copy"}
        run_logged([_uv(), "pip", "install", "--python", into, *arguments], log, what, env=env)
    except KitError as error:
        say(f"{error}\nOnce more with pip")
        run_logged([*_PIP, "--python", into, "install", *_PIP_OPTIONS, *arguments], log, what)


SYSTEM_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
# Environments other than .venv have no pip of their own.
_PIP: tuple[str | Path, ...] = (REPO / ".venv" / "bin" / "python", "-m", "pip")
# What is imported is compiled then; that is a third of it.
_PIP_OPTIONS = ("--disable-pip-version-check", "--no-input", "--progress-bar=off", "--no-compile")


def _uv() -> Path:
    (pin,) = required_lines("uv.txt")
    home = cache_dir() / pin.replace("==", "-")
    with locked(cache_dir() / f"{home.name}.lock"):
        if not (home / "bin" / "uv").exists():
            where = ("--no-deps", "--only-binary=:all:", "--target", home)
            log = cache_dir() / f"{home.name}.log"
            run_logged([*_PIP, "install", *_PIP_OPTIONS, *where, pin], log, f"installing {pin}")
    return home / "bin" / "uv"


def _uv_settings() -> dict[str, str]:
    asked = subprocess.run([*_PIP, "config", "get", "global.index-url"], capture_output=True, text=True, check=False)
    index = os.environ.get("PIP_INDEX_URL") or asked.stdout.strip()
    return {
        # Else it knows only its own, and none of a company's proxy that pip's configuration or the system names.
        **({"UV_SYSTEM_CERTS": "1"} if SYSTEM_CERTIFICATES.exists() else {}),
        **os.environ,
        **({"UV_DEFAULT_INDEX": index} if index else {}),
        "UV_CACHE_DIR": str(cache_dir() / "uv"),
        "UV_NO_PROGRESS": "1",
    }


def npm(folder: Path, log: Path, what: str, *arguments: str) -> None:
    """npm without its notices, in this folder."""
    if shutil.which("npm") is None:
        raise KitError(f"{what} needs npm: install it (apt-get install npm)")
    env = {**os.environ, "npm_config_update_notifier": "false", "npm_config_fund": "false", "npm_config_audit": "false"}
    run_logged(["npm", *arguments], log, what, env=env, cwd=folder)


def packages(name: str) -> Path:
    """The folder of what requirements/NAME.txt pins, for PYTHONPATH: without what it depends on, which .venv has."""
    home = cache_dir() / name
    wanted = "\n".join(required_lines(f"{name}.txt"))
    stamp = home / "ready"
    with locked(cache_dir() / f"{name}.lock"):
        if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
            shutil.rmtree(home, ignore_errors=True)
            options = ("--no-deps", "--target", str(home), "-r", str(REQUIREMENTS / f"{name}.txt"))
            install(REPO / ".venv" / "bin" / "python", cache_dir() / f"{name}.log", f"installing {name}", *options)
            stamp.write_text(wanted, encoding="utf-8")
    return home
