# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation as a site: docs/, README and CONTRIBUTING, and what antsibull-docs makes of roles and modules.

Usage: python -m kit.site
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from kit.common import REPO, KitError, as_program, cache_dir, packages, say

# README.md begins the site; the order of the others is that of docs/index.md.
_FIRST = {"README.md": "readme.md", "CONTRIBUTING.md": "contributing.md"}
_CONF = """\
project = "llmops.user_bridge"
extensions = ["myst_parser", "sphinx_antsibull_ext"]
html_theme = "alabaster"
html_theme_options = {"description": "LiteLLM's people and teams in Open WebUI", "page_width": "70em"}
html_title = project
myst_heading_anchors = 3
# Pages of Ansible itself and of other collections are elsewhere.
nitpicky = False
"""
# Ansible's own labels, which its documentation site has, not this one.
ELSEWHERE = re.compile(r".*WARNING: undefined label: '(?!ansible_collections\.llmops)[\w.]+' \[ref\.ref\]\n")


def build(folder: Path) -> str:
    """Make the site in a folder below this one, html/; what was said against it, which is nothing when all is well."""
    source = folder / "source"
    shutil.rmtree(folder / "html", ignore_errors=True)
    shutil.rmtree(source, ignore_errors=True)
    # antsibull-docs refuses a folder that others may write to.
    for path in (source, source / "collection"):
        path.mkdir(mode=0o755, parents=True)
    how = ("--use-current", "--squash-hierarchy", "--fail-on-error", "--dest-dir", str(source / "collection"))
    _run("antsibull-docs", "collection", *how, "llmops.user_bridge")
    _write_pages(source)
    (source / "conf.py").write_text(_CONF, encoding="utf-8")
    said = _run("sphinx-build", "--no-color", "-q", "-b", "html", str(source), str(folder / "html"))
    return ELSEWHERE.sub("", said)


def _run(program: str, *arguments: str) -> str:
    env = {
        **os.environ,
        # For ansible-doc, which antsibull-docs asks: in `make matrix` that of another ansible-core.
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(packages("docs")),
        "ANSIBLE_COLLECTIONS_PATH": str(REPO / ".collections"),
        # Nobody is there: whoever wants the network fails at once.
        **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:1"),
    }
    command = [str(REPO / ".venv" / "bin" / program), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    if done.returncode:
        raise KitError(f"{program} failed:\n{done.stdout}{done.stderr}")
    return done.stderr


def _write_pages(source: Path) -> None:
    """Copies of the pages, whose links lead to pages of the site."""
    shutil.copytree(REPO / "docs" / "images", source / "images")
    for path in (REPO / "docs").glob("*.md"):
        (source / path.name).write_text(_moved(path), encoding="utf-8")
    for name, place in _FIRST.items():
        (source / place).write_text(_moved(REPO / name), encoding="utf-8")
    (source / "playbooks.md").write_text(_playbooks(), encoding="utf-8")
    pages = re.findall(r"\]\(([\w-]+)\.md\)", (source / "index.md").read_text(encoding="utf-8"))
    with (source / "index.md").open("a", encoding="utf-8") as index:
        index.write("\n```{toctree}\n:hidden:\n\n" + "\n".join([*pages, "playbooks", "collection/index"]) + "\n```\n")


def _moved(path: Path) -> str:
    """The text of a page with its links as they have to be in the site."""
    return re.sub(
        r"(?<=\]\()(?![a-z]+:|#)([^)\s]+)", lambda link: _target(path, link[1]), path.read_text(encoding="utf-8")
    )


def _target(page: Path, link: str) -> str:
    """A page of the site, or the file in the repository that there is no page of."""
    name, mark, anchor = link.partition("#")
    path = (page.parent / name).resolve().relative_to(REPO)
    role = re.fullmatch(r"roles/(\w+)/README\.md", path.as_posix())
    if role:
        return f"collection/{role[1]}_role.rst"
    if path.as_posix() in _FIRST:
        return _FIRST[path.as_posix()] + mark + anchor
    if path.parts[0] == "docs":
        return "/".join(path.parts[1:]) + mark + anchor
    repository = yaml.safe_load((REPO / "galaxy.yml").read_text(encoding="utf-8"))["repository"]
    return f"{repository}/blob/main/{path.as_posix()}"


def _playbooks() -> str:
    """What each playbook does, by the name of its first play."""
    lines = ["# Playbooks", "", "| playbook | does |", "|---|---|"]
    for path in sorted((REPO / "playbooks").glob("*.yml")):
        plays = yaml.safe_load(path.read_text(encoding="utf-8"))
        lines.append(f"| `llmops.user_bridge.{path.stem}` | {plays[0]['name']} |")
    return "\n".join([*lines, "", "Their variables are those of the role [bridge](collection/bridge_role.rst).", ""])


def main() -> None:
    folder = cache_dir() / "site"
    said = build(folder)
    if said:
        raise KitError(said)
    say(f"The site is in {folder / 'html' / 'index.html'}")


if __name__ == "__main__":
    as_program(lambda _: main())
