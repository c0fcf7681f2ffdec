# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The archive that people install, and what Galaxy's importer and ansible-builder make of it.

Usage: python -m kit.galaxy [--lint]

With --lint the importer lints what is in the archive, too, which `make lint` has done with stricter rules.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

import yaml

from kit.common import REPO, KitError, as_program, packages, say

NAMESPACE, NAME = "llmops", "user_bridge"
# The file in the archive that says what an execution environment needs, by what ansible-builder calls it.
NEEDS = {"python": "requirements.txt", "system": "bindep.txt"}


def archive(folder: Path) -> Path:
    """The collection as `ansible-galaxy collection build` packs it."""
    # Of the interpreter, not of PATH: make matrix runs this with other versions.
    program = str(Path(sys.executable).parent / "ansible-galaxy")
    done = subprocess.run(
        [program, "collection", "build", "--output-path", str(folder), str(REPO)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise KitError(f"the collection cannot be packed:\n{done.stdout}{done.stderr}")
    (made,) = folder.glob(f"{NAMESPACE}-{NAME}-*.tar.gz")
    return made


def extract(packed: Path, folder: Path) -> Path:
    """Where the collection is then, in a folder as Ansible wants it."""
    home = folder / "ansible_collections" / NAMESPACE / NAME
    home.mkdir(parents=True)
    with tarfile.open(packed) as tar:
        tar.extractall(home)
    return home


def refusals(packed: Path, folder: Path, lint: bool) -> list[str]:
    """What Galaxy's importer says against the archive; it prints nothing else with these words."""
    settings = {
        "GALAXY_IMPORTER_ANSIBLE_LOCAL_TMP": str(folder / "importer"),
        "GALAXY_IMPORTER_CHECK_REQUIRED_TAGS": "true",
        "GALAXY_IMPORTER_RUN_ANSIBLE_LINT": str(lint).lower(),
        "GALAXY_IMPORTER_REQUIRE_V1_OR_GREATER": "true",
    }
    done = _run(folder, settings, "galaxy_importer.main", str(packed))
    said = [line for line in done.stdout.splitlines() if line.startswith(("WARNING", "ERROR", "CRITICAL"))]
    if not said and (done.returncode or "completed successfully" not in done.stdout):
        said = [*done.stdout.splitlines(), *done.stderr.splitlines()]
    return said


def needs(home: Path, folder: Path) -> dict[str, list[str]]:
    """What ansible-builder reads of an extracted archive, without where it has it from."""
    done = _run(folder, {}, "ansible_builder", "introspect", str(home.parents[2]))
    if done.returncode:
        raise KitError(f"ansible-builder introspect failed:\n{done.stdout}{done.stderr}")
    found = yaml.safe_load(done.stdout)
    return {kind: [line.partition("  #")[0] for line in found.get(kind, [])] for kind in NEEDS}


def declared(home: Path) -> dict[str, list[str]]:
    """The same, from the files themselves."""
    lines = {kind: (home / name).read_text(encoding="utf-8").splitlines() for kind, name in NEEDS.items()}
    return {kind: [line for line in found if line and not line.startswith("#")] for kind, found in lines.items()}


def _run(folder: Path, settings: Mapping[str, str], module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    environment |= {"ANSIBLE_HOME": str(folder / "ansible"), "PYTHONPATH": str(packages("galaxy")), **settings}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, check=False)


def main(arguments: list[str]) -> None:
    with tempfile.TemporaryDirectory(prefix="user-bridge-galaxy-") as name:
        folder = Path(name)
        packed = archive(folder)
        home = extract(packed, folder)
        found = needs(home, folder)
        if found != declared(home):
            raise KitError(f"ansible-builder reads other needs than {', '.join(NEEDS.values())} name: {found}")
        said = refusals(packed, folder, arguments == ["--lint"])
        if said:
            raise KitError("Galaxy's importer is not content:\n" + "\n".join(said))
        say(f"{packed.name}: Galaxy's importer and ansible-builder have nothing to say against it")


if __name__ == "__main__":
    as_program(main)
