# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every ansible-core that requirements/ pins, each in an environment of its own: unit tests and a deployment.

Usage: python -m kit.matrix [2.18 ...]
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from kit.common import (
    REPO,
    REQUIREMENTS,
    KitError,
    as_program,
    cache_dir,
    install,
    required_lines,
    run_logged,
    say,
    version_key,
)
from kit.prepare import VENV, pins_with

JOBS = 2
TAIL = 60
# What our collection depends on, see galaxy.yml, and what community.docker does.
COLLECTIONS = ("docker", "library_inventory_filtering_v1", "postgresql")
# Syntax, documentation, argument specs and plugins; then three deployments: in check mode, for real, and with sessions
# that cannot write.
_DEPLOY = "tests/integration/test_playbooks_deploy.py"
TESTS = (
    "tests/unit",
    f"{_DEPLOY}::test_check_mode_shows_what_it_would_make_and_makes_nothing",
    f"{_DEPLOY}::test_a_user_arrives",
    f"{_DEPLOY}::test_the_second_run_changes_nothing",
)
# The site, the examples and the kit are checked with the tools of .venv, whatever core plays use.
LEFT_OUT = (
    "--ignore=tests/unit/test_docs_pages.py",
    "--ignore=tests/unit/test_examples.py",
    "--ignore-glob=tests/unit/test_kit_*.py",
)
_PIN = re.compile(r'ansible-core==(?P<version>[\d.]+)(?:; python_version >= "(?P<python>[\d.]+)")?')
_OLDEST_PYTHON = (3, 11)


@dataclass(frozen=True)
class Core:
    """One ansible-core, the oldest Python that it runs on, and the file in requirements/ that pins it."""

    version: str
    python: tuple[int, ...]
    file: str

    @property
    def series(self) -> str:
        return self.version.rpartition(".")[0]


def pinned() -> list[Core]:
    """What requirements/ pins, oldest first."""
    names = ["dev-constraints.txt", *(path.name for path in REQUIREMENTS.glob("ansible-*.txt"))]
    found = [(name, match) for name in names for match in map(_PIN.fullmatch, required_lines(name)) if match]
    cores = [Core(pin["version"], version_key(pin["python"] or "") or _OLDEST_PYTHON, name) for name, pin in found]
    return sorted(cores, key=lambda core: version_key(core.version))


def choose(core: Core, pythons: Iterable[tuple[int, ...]]) -> tuple[int, ...] | None:
    """The oldest Python that is there and will do: the one that it is most likely to be run with."""
    return min((python for python in pythons if python >= core.python), default=None)


def interpreters() -> dict[tuple[int, ...], Path]:
    """Each Python from 3.11 on that really runs, on PATH or made by pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    minors = [(3, minor) for minor in range(11, 15)]
    found: dict[tuple[int, ...], Path] = {sys.version_info[:2]: Path(sys.executable)}
    for major, minor in minors:
        name = f"python{major}.{minor}"
        candidates = [shutil.which(name), *sorted(pyenv.glob(f"*/bin/{name}"))]
        # One of pyenv's shims is on PATH for versions, too, that are not chosen, and then only says so.
        usable = (Path(each) for each in candidates if each and _runs(each))
        for python in usable:
            found.setdefault((major, minor), python)
    return found


def _runs(python: str | Path) -> bool:
    return subprocess.run([python, "-c", "import venv"], capture_output=True, check=False).returncode == 0


def environment(core: Core, python: Path) -> Path:
    """The folder of programs of this core's own environment under .cache/, made when it is not there yet."""
    home = cache_dir() / "matrix" / core.version
    depends = _dependencies()
    constraints = pins_with(core.file)
    wanted = "\n".join([str(python), str(depends), *required_lines("matrix.txt"), *constraints, *COLLECTIONS])
    stamp = home / "ready"
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        home.parent.mkdir(exist_ok=True)
        log = home.with_suffix(".install.log")
        log.unlink(missing_ok=True)
        # Debian's Python comes without the pip that a new environment would get.
        run_logged([python, "-m", "venv", "--clear", "--without-pip", home], log, f"making {home}")
        pins = home / "constraints.txt"
        pins.write_text("\n".join(constraints) + "\n", encoding="utf-8")
        packages = ["-c", str(pins), "-r", str(REQUIREMENTS / "matrix.txt")]
        what = f"installing ansible-core {core.version}"
        install(home / "bin" / "python", log, what, *packages)
        (site,) = home.glob("lib/python*/site-packages")
        community = site / "ansible_collections" / "community"
        community.mkdir(parents=True)
        for name in COLLECTIONS:
            (community / name).symlink_to(depends / name)
        stamp.write_text(wanted, encoding="utf-8")
    return home / "bin"


def _dependencies() -> Path:
    (community,) = VENV.glob("lib/python*/site-packages/ansible_collections/community")
    return community


def passes(core: Core, python: Path) -> bool:
    """Run the tests with this core; what they printed is shown only when they fail."""
    started = time.monotonic()
    programs = environment(core, python)
    log = cache_dir() / "matrix" / f"{core.series}.log"
    env = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "ANSIBLE_HOME": str(programs.parent / "ansible")}
    command = [str(programs / "python"), "-m", "pytest", "-p", "no:cacheprovider", *LEFT_OUT, *TESTS]
    with log.open("w", encoding="utf-8") as sink:
        code = subprocess.run(command, cwd=REPO, env=env, stdout=sink, stderr=sink, check=False).returncode
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    if code:
        say("\n".join([*lines[-TAIL:], f"All of it is in {log}"]))
    ended = lines[-1].strip("= ") if lines else "nothing"
    say(f"    ansible-core {core.version}, {python}: {ended} ({time.monotonic() - started:.0f} s with its environment)")
    return code == 0


def run(names: Sequence[str]) -> None:
    # The one of .venv runs the same tests with `make unit` and `make integration`.
    cores = [core for core in pinned() if (core.series in names if names else core.version != version("ansible-core"))]
    if len(cores) < len(names):
        raise KitError(f"requirements/ pins ansible-core {', '.join(core.series for core in pinned())} only")
    there = interpreters()
    chosen = {core: choose(core, there) for core in cores}
    for core, python in chosen.items():
        if python is None:
            needs = ".".join(map(str, core.python))
            say(f"    ansible-core {core.version}: NOT RUN, needs Python {needs}; this machine has {_listed(there)}")
    ready = [(core, there[python]) for core, python in chosen.items() if python]
    with ThreadPoolExecutor(JOBS) as pool:
        passed = list(pool.map(lambda one: passes(*one), ready))
    failed = [core.series for (core, _), fine in zip(ready, passed, strict=True) if not fine]
    if failed:
        raise KitError(f"failed with ansible-core {', '.join(failed)}. Look again with: make matrix CORE={failed[0]}")


def _listed(versions: Iterable[tuple[int, ...]]) -> str:
    return ", ".join(".".join(map(str, each)) for each in sorted(versions))


if __name__ == "__main__":
    as_program(run)
