# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a release needs: the commit before it, and the files of it.

Usage: python -m kit.release prepare VERSION | files TAG FOLDER
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import yaml

from kit import galaxy
from kit.common import REPO, KitError, as_program, say

_VERSION = re.compile(r"\d+\.\d+\.\d+")


def prepare(version: str) -> None:
    """The version into galaxy.yml, and the fragments into the changelog; committing and tagging is a person's."""
    if not _VERSION.fullmatch(version):
        raise KitError(f"{version} is no version like 1.2.3")
    for name, key in (("galaxy.yml", "version"), ("roles/bridge/vars/main.yml", "__bridge_version")):
        text = (REPO / name).read_text(encoding="utf-8")
        (REPO / name).write_text(re.sub(rf"(?m)^{key}: .*$", f"{key}: {version}", text), encoding="utf-8")
    _changelog("release", "--version", version)
    say(f"Read CHANGELOG.rst, then: git commit -am 'Release {version}' && git tag --sign v{version}")


def files(tag: str, folder: Path) -> list[Path]:
    """The archive, what is in it for signing, its notes, what it needs, and the checksums of all of these."""
    about: dict[str, Any] = yaml.safe_load((REPO / "galaxy.yml").read_text(encoding="utf-8"))
    wrong = problems(tag, about["version"], _released(), _fragments())
    if wrong:
        raise KitError("\n".join(wrong))
    folder.mkdir(parents=True)
    packed = galaxy.archive(folder)
    manifest, notes, needs = folder / "MANIFEST.json", folder / "NOTES.md", folder / "sbom.cdx.json"
    with tarfile.open(packed) as tar:
        found = tar.extractfile("MANIFEST.json")
        assert found is not None
        manifest.write_bytes(found.read())
    _changelog("generate", "--only-latest", "--output", str(notes), "--output-format", "md")
    lines = (REPO / "requirements.txt").read_text(encoding="utf-8").splitlines()
    needs.write_text(json.dumps(sbom(about, [line for line in lines if not line.startswith("#")]), indent=2), "utf-8")
    made = [packed, manifest, notes, needs]
    sums = folder / "SHA256SUMS"
    sums.write_text(
        "".join(f"{hashlib.sha256(each.read_bytes()).hexdigest()}  {each.name}\n" for each in made), "utf-8"
    )
    return [*made, sums]


def problems(tag: str, version: str, released: set[str], fragments: list[str]) -> list[str]:
    """Why this tag is none for a release."""
    found = []
    if tag != f"v{version}":
        found.append(f"the tag is {tag}, and galaxy.yml has version {version}")
    if version not in released:
        found.append(f"changelogs/changelog.yaml has no version {version}: make release VERSION={version}")
    if fragments:
        found.append(f"in no release yet: {', '.join(fragments)}")
    return found


def sbom(about: dict[str, Any], python: list[str]) -> dict[str, Any]:
    """CycloneDX: the collection, the collections it depends on, and what its modules import."""
    name = f"{about['namespace']}.{about['name']}"
    main = {"type": "application", "bom-ref": name, "name": name, "version": about["version"]}
    licensed = {**main, "licenses": [{"license": {"id": each}} for each in about["license"]]}
    needed = [_component("ansible-collection", each, wanted) for each, wanted in about["dependencies"].items()]
    needed += [_component("python", *re.fullmatch(r"([\w.-]+)(.*)", line).groups()) for line in python]  # type: ignore[union-attr]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": licensed},
        "components": needed,
        "dependencies": [{"ref": name, "dependsOn": [each["bom-ref"] for each in needed]}],
    }


def _component(kind: str, name: str, wanted: str) -> dict[str, Any]:
    """A range, not a version: which one is there is the installation's business."""
    wants = [{"name": f"{kind}:version-range", "value": wanted}]
    return {"type": "library", "bom-ref": f"{kind}:{name}", "name": name, "properties": wants}


def _released() -> set[str]:
    return set(yaml.safe_load((REPO / "changelogs" / "changelog.yaml").read_text(encoding="utf-8"))["releases"])


def _fragments() -> list[str]:
    return sorted(path.name for path in (REPO / "changelogs" / "fragments").glob("*.yml"))


def _changelog(*arguments: str) -> None:
    program = shutil.which("antsibull-changelog") or str(Path(sys.executable).parent / "antsibull-changelog")
    subprocess.run([program, *arguments], cwd=REPO, check=True)


def main(arguments: list[str]) -> None:
    match arguments:
        case ["prepare", version]:
            prepare(version)
        case ["files", tag, folder]:
            for path in files(tag, Path(folder)):
                say(f"  {path}")
        case _:
            raise KitError((__doc__ or "").strip())


if __name__ == "__main__":
    as_program(main)
