# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The file of the page.

This plugin_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

# Names and addresses of people are in it.
MODE = 0o600


def located(path: str) -> Path:
    """Where a path leads, from the folder that Ansible was started in."""
    return Path(os.path.realpath(os.path.expanduser(path)))


def in_the_way(path: Path) -> str | None:
    """Why the page cannot be written there, and what to do about it; None if nothing is in the way."""
    folder = path.parent
    if not folder.is_dir():
        return f"the folder {folder} does not exist on the control node: create it"
    if path.is_dir():
        return "it is a folder: add the name of a file to it"
    if path.exists() and not path.is_file():
        return "it is not a regular file: name another"
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"whoever runs Ansible may not write in the folder {folder}: name another, or grant it"
    return None


def read(path: Path) -> str | None:
    """What is there, None if nothing."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def replace(path: Path, text: str) -> None:
    """All of it at once: nobody reads half a page, and nobody else any of it."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
        os.chmod(name, MODE)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
