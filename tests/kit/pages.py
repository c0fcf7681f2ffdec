# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the documentation shows: commands, files, links. Tests run the commands as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

from kit.common import REPO

# Those that somebody reads; what a generator writes has no commands.
FILES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/**/*.md", "examples/**/*.md", "roles/*/README.md")


def pages() -> list[str]:
    """Names of all pages, from the root of the checkout."""
    return sorted(path.relative_to(REPO).as_posix() for pattern in FILES for path in REPO.glob(pattern))


def blocks(page: str, language: str) -> list[str]:
    """The code blocks of a page that are in this language."""
    text = (REPO / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def commands(page: str) -> list[list[str]]:
    """The commands of each block of a page, without what a comment says about them."""
    return [
        [re.sub(r"\s+# .*", "", line.removeprefix("$ ")) for line in block.splitlines() if line.startswith("$ ")]
        for block in blocks(page, "console")
    ]


def links(path: Path) -> list[str]:
    """Where the links and pictures of a file lead, but for other sites."""
    found = re.findall(r"!?\[[^\]]*\]\(([^)\s]+)\)", path.read_text(encoding="utf-8"))
    return [link for link in found if not re.match(r"[a-z]+:", link)]
