# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the installed SQL was made from what is here."""

from __future__ import annotations

DOCUMENTATION = r"""
name: sources
short_description: A digest of what the bridge's SQL is made from
version_added: 1.0.0
description:
  - Changes with each file of the collection that decides what M(llmops.user_bridge.bridge_install) makes of the same
    variables, that is the templates, and the code that renders, reads, records and compares them.
author:
  - llmops.user_bridge contributors (@llmops)
"""

EXAMPLES = r"""
- name: Say which SQL this collection has
  ansible.builtin.debug:
    msg: "{{ lookup('llmops.user_bridge.sources') }}"
"""

RETURN = r"""
_raw:
  description: A SHA-256 in hexadecimal.
  type: list
  elements: str
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ansible.plugins.lookup import LookupBase

_COLLECTION = Path(__file__).parents[2]
_SOURCES = (
    _COLLECTION / "roles" / "triggers" / "templates",
    _COLLECTION / "plugins" / "module_utils" / "_install",
    _COLLECTION / "plugins" / "module_utils" / "_catalog",
    _COLLECTION / "plugins" / "plugin_utils" / "_render",
)


class LookupModule(LookupBase):
    """Reads the files of the collection."""

    def run(self, terms: list[Any], variables: dict[str, Any] | None = None, **dummy: Any) -> list[Any]:
        return [digest(_SOURCES)]


def digest(folders: Iterable[Path]) -> str:
    """Of the names and contents of all files in these folders, without what Python has compiled."""
    found = hashlib.sha256()
    for folder in folders:
        for path in sorted(path for path in folder.rglob("*") if path.suffix != ".pyc" and path.is_file()):
            content = path.read_bytes()
            found.update(f"{path.relative_to(folder).as_posix()} {len(content)}\n".encode())
            found.update(content)
    return found.hexdigest()
