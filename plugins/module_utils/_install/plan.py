# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compares what is wanted with what the catalog holds and with what was recorded at the last run.

Nothing here reads or writes a database. The plan is the same in check mode and outside of it, and all that a module
reports comes from it.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils._catalog.compare import Difference, compare
from ansible_collections.llmops.user_bridge.plugins.module_utils._catalog.live import Live, with_names
from ansible_collections.llmops.user_bridge.plugins.module_utils._catalog.records import Record
from ansible_collections.llmops.user_bridge.plugins.module_utils._install.definitions import Definition
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import Roles


@dataclass(frozen=True)
class Wanted:
    """What a run of C(state=present) asks for."""

    side: str
    roles: Roles
    version: str
    definitions: tuple[Definition, ...]
    # Tables of the program in schema public, besides those that triggers are on.
    required_tables: tuple[str, ...]
    # Of those that triggers are on, the ones that may be missing.
    optional_tables: tuple[str, ...]
    settings: dict[str, Any]
    lock_timeout_ms: int
    check_mode: bool
    # A digest of what the definitions were made from; empty where nobody has computed it.
    sources: str = ""

    @property
    def owner(self) -> str:
        return self.roles.owner


@dataclass(frozen=True)
class Change:
    """What to do about one object: created, updated, repaired, dropped or unchanged, and why."""

    kind: str
    name: str
    action: str
    reason: str = ""
    before: str = ""
    after: str = ""
    definition: Definition | None = None
    live: Live | None = None
    record: Record | None = None
    problem: str = ""
    warning: str = ""

    @property
    def changed(self) -> bool:
        return self.action != "unchanged"

    @property
    def result(self) -> dict[str, str]:
        """The change as the module returns it."""
        return {"kind": self.kind, "name": self.name, "action": self.action, "reason": self.reason}


@dataclass(frozen=True)
class Plan:
    """All changes to one database; settings are pairs of before and after."""

    objects: tuple[Change, ...]
    settings: dict[str, tuple[Any, Any]]
    version_before: str | None
    database: str

    @property
    def changed(self) -> bool:
        return bool(self.settings) or any(change.changed for change in self.objects)


def plan_objects(
    definitions: tuple[Definition, ...],
    live: dict[tuple[str, str], Live],
    recorded: dict[tuple[str, str], Record],
    roles: Roles,
    server_major: str,
) -> list[Change]:
    """What to do about each object that is wanted, and about each that is not any more."""
    changes = [
        _plan_schema(definition, live, recorded, roles)
        if definition.subject.kind == "schema"
        else _plan_object(definition, live, recorded, server_major)
        for definition in definitions
    ]
    wanted = {(change.kind, change.name) for change in changes}
    surplus = {key for key in recorded if key not in wanted and key[0] != "bridge"}
    # Also without a record: a trigger that is not wanted any more would call a function that is dropped.
    surplus |= {key for key in live if key[0] == "trigger" and key not in wanted}
    for key in sorted(surplus):
        found, record = live.get(key), recorded.get(key)
        before = record.definition if record else live[key].fingerprint
        changes.append(Change(*key, "dropped", "no longer part of the bridge", before, live=found, record=record))
    return changes


def _plan_schema(
    definition: Definition, live: dict[tuple[str, str], Live], recorded: dict[tuple[str, str], Record], roles: Roles
) -> Change:
    owner = roles.owner
    kind, name = definition.subject.kind, definition.subject.label
    found, record = live.get((kind, name)), recorded.get((kind, name))
    after = f"schema {name} owned by {owner};\n\n{definition.text}".strip()

    def change(action: str, reason: str, before: str) -> Change:
        return Change(kind, name, action, reason, before, after, definition, found, record)

    if found is None:
        return change("repaired" if record else "created", "missing" if record else "new", "")
    before = with_names(found.fingerprint, roles)
    if found.owner != owner:
        return change("repaired", f"owned by {found.owner}", before)
    if definition.statements and (record is None or record.definition != definition.text):
        return change("updated", "definition changed", record.definition if record else before)
    unchanged = change("unchanged", "", "")
    # Its fingerprint is the same in every version of the server.
    return _compared(unchanged, compare((kind, name), found, record, record.server_major)) if record else unchanged


def _plan_object(
    definition: Definition,
    live: dict[tuple[str, str], Live],
    recorded: dict[tuple[str, str], Record],
    server_major: str,
) -> Change:
    kind, name, text = definition.subject.kind, definition.subject.label, definition.text
    found, record = live.get((kind, name)), recorded.get((kind, name))
    change = Change(kind, name, "unchanged", "", "", text, definition, found, record)
    if record is None:
        if found is None:
            return replace(change, action="created", reason="new")
        return replace(change, action="repaired", reason="exists, but is not recorded", before=found.fingerprint)
    if found and record.definition != text:
        return replace(change, action="updated", reason="definition changed", before=record.definition)
    return _compared(change, compare((kind, name), found, record, server_major))


def _compared(change: Change, difference: Difference) -> Change:
    if difference.state == "ok":
        return replace(change, warning=difference.warning)
    change = replace(change, action="repaired", reason=difference.reason, problem=difference.problem)
    if change.live is None or change.record is None:
        return change
    return replace(change, before=change.live.fingerprint, after=change.record.fingerprint)
