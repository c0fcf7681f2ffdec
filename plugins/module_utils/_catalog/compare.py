# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compares the bridge's objects with what they were right after their installation.

Nothing here reads or writes a database, and nothing depends on what the collection would install now.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ansible_collections.llmops.user_bridge.plugins.module_utils._catalog.live import Live
from ansible_collections.llmops.user_bridge.plugins.module_utils._catalog.records import Record

_DISABLED = "trigger is disabled"
# Lines of a fingerprint that CREATE ... IF NOT EXISTS does not restore.
_STRUCTURE = ("column ", "constraint ", "sequence ")
# The line of somebody who may read, and no more.
_READS = re.compile(r"grant (?!PUBLIC:).+: SELECT")


@dataclass(frozen=True)
class Difference:
    """How an object differs. State: ok, missing, disabled, changed, or unknown where the server was upgraded since."""

    state: str = "ok"
    reason: str = ""
    # Why applying the definition again does not help.
    problem: str = ""
    # What others have added, which stays.
    warning: str = ""


def compare(key: tuple[str, str], found: Live | None, record: Record, server_major: str) -> Difference:
    """Compare what is there with what was there right after it was installed; key is kind and label."""
    if found is None:
        return Difference("missing", "missing")
    if record.fingerprint == found.fingerprint:
        return Difference()
    if record.server_major != server_major:
        # Another major version may print the same definition differently.
        return Difference("unknown", f"recorded on PostgreSQL {record.server_major}, the server is {server_major} now")
    kind, label = key
    lost = lines_of(record.fingerprint) - lines_of(found.fingerprint)
    extra = lines_of(found.fingerprint) - lines_of(record.fingerprint)
    if kind in ("table", "sequence"):
        broken = sorted(line for line in lost if line.startswith(_STRUCTURE))
        if broken:
            problem = f"{kind} {label} has lost its {'; '.join(broken)}"
            return Difference("changed", "structure differs", problem)
        if not lost and all(line.startswith(_STRUCTURE) for line in extra):
            return Difference(warning=f"{kind} {label} has additions of others: {'; '.join(sorted(extra))}")
    if kind == "schema" and not lost:
        # Additional grants on the schema are allowed.
        return Difference()
    if kind == "view" and not lost and all(_READS.fullmatch(line) for line in extra):
        # SELECT for a monitoring role is no drift.
        return Difference()
    reason = _explain(lost, extra)
    return Difference("disabled" if reason == _DISABLED else "changed", reason)


def lines_of(fingerprint: str) -> set[str]:
    """The lines of a fingerprint, whose order means nothing."""
    return set(fingerprint.splitlines())


def _explain(lost: set[str], extra: set[str]) -> str:
    """Which aspect of an object is not as it was left."""
    if "disabled" in extra or "enabled on replicas" in extra:
        return _DISABLED
    both = lost | extra
    aspects = {"owner: ": "owner differs", "grant ": "privileges differ", "comment: ": "comment differs"}
    found = [text for prefix, text in aspects.items() if any(line.startswith(prefix) for line in both)]
    if any(not line.startswith(tuple(aspects)) for line in both):
        found.insert(0, "definition was edited")
    return ", ".join(found) or "differs"


def drift(
    live: dict[tuple[str, str], Live], recorded: dict[tuple[str, str], Record], owner: str, server_major: str
) -> list[dict[str, str]]:
    """The state of everything that was installed: kind, name, state and reason of each object."""
    compared = {
        key: compare(key, live.get(key), record, server_major) for key, record in recorded.items() if key[0] != "bridge"
    }
    found = [
        {"kind": kind, "name": name, "state": item.state, "reason": item.reason or item.warning}
        for (kind, name), item in compared.items()
    ]
    for key, item in live.items():
        if key[0] == "trigger" and key not in recorded:
            found.append({"kind": key[0], "name": key[1], "state": "unknown", "reason": "not installed by this bridge"})
        if key[0] == "schema" and item.owner != owner:
            found.append({"kind": key[0], "name": key[1], "state": "changed", "reason": f"owned by {item.owner}"})
    return found
