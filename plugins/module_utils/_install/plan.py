# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compares what is wanted with what the catalog holds and with what was recorded at the last run.

Nothing here reads or writes a database. The plan is the same in check mode and outside of it, and all that a module
reports comes from it.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils._catalog.live import OWNER, Live
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import SCHEMA, Subject
from ansible_collections.llmops.user_bridge.plugins.module_utils._sql_split import Definition, parse_definitions

BOOKKEEPING_NAME = f"{SCHEMA}.installed_object"
_BOOKKEEPING = f"""
CREATE TABLE IF NOT EXISTS {BOOKKEEPING_NAME} (
  kind text NOT NULL,
  name text NOT NULL,
  definition text NOT NULL,
  fingerprint text NOT NULL,
  server_major text NOT NULL,
  version text NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (kind, name)
);
COMMENT ON TABLE {BOOKKEEPING_NAME} IS
  'What the collection llmops.user_bridge has installed, and how the catalog looked right after. Written by '
  'bridge_install only.';
CREATE OR REPLACE VIEW {SCHEMA}.installation AS
  SELECT name AS side, version, applied_at FROM {BOOKKEEPING_NAME} WHERE kind = 'bridge';
COMMENT ON VIEW {SCHEMA}.installation IS
  'Which side of the bridge this database is, and the version of the collection that installed it.';
"""

_MISSING = "missing"
_DISABLED = "trigger is disabled"
_UPGRADED = "recorded on PostgreSQL"
# Lines of a fingerprint that re-running CREATE ... IF NOT EXISTS cannot bring back.
_STRUCTURE = ("column ", "constraint ", "sequence ")


@dataclass(frozen=True)
class Record:
    """What the bookkeeping table holds about one object."""

    definition: str
    fingerprint: str
    server_major: str
    version: str


@dataclass(frozen=True)
class Change:
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
        return {"kind": self.kind, "name": self.name, "action": self.action, "reason": self.reason}


@dataclass(frozen=True)
class Plan:
    objects: tuple[Change, ...]
    settings: dict[str, tuple[Any, Any]]
    version_before: str | None
    database: str

    @property
    def changed(self) -> bool:
        return bool(self.settings) or any(change.changed for change in self.objects)


def wanted_definitions(files: list[dict[str, str]] | None) -> tuple[Definition, ...]:
    """The schema, the bookkeeping and the objects of all files, each object once."""
    if not files:
        # Nothing wanted would mean to drop everything, data included.
        raise BridgeError("definitions is empty; give the SQL files, or use state=absent to remove the bridge")
    schema: list[Any] = []
    objects: dict[tuple[str, str], Definition] = {}
    for source, sql in [("bridge_install", _BOOKKEEPING)] + [(item["name"], item["sql"]) for item in files]:
        for definition in parse_definitions(sql, source):
            if definition.subject.kind == "schema":
                schema.extend(definition.statements)
                continue
            key = definition.subject.kind, definition.subject.label
            if key in objects:
                raise BridgeError(f"definitions: {key[0]} {key[1]} is in {objects[key].source} and in {source}")
            objects[key] = definition
    return (Definition(Subject("schema", "", SCHEMA), tuple(schema), "bridge_install"), *objects.values())


def plan_objects(
    definitions: tuple[Definition, ...],
    live: dict[tuple[str, str], Live],
    recorded: dict[tuple[str, str], Record],
    owner: str,
    server_major: str,
) -> list[Change]:
    """Compare; nothing is read or written here."""
    changes = [
        _plan_schema(definition, live, recorded, owner)
        if definition.subject.kind == "schema"
        else _plan_object(definition, live, recorded, server_major)
        for definition in definitions
    ]
    wanted = {(change.kind, change.name) for change in changes}
    surplus = {key for key in recorded if key not in wanted and key[0] != "bridge"}
    # Whatever became of the records: a trigger of ours that nobody wants any more would call a function that is gone.
    surplus |= {key for key in live if key[0] == "trigger" and key not in wanted}
    for key in sorted(surplus):
        found, record = live.get(key), recorded.get(key)
        before = record.definition if record else live[key].fingerprint
        changes.append(Change(*key, "dropped", "no longer part of the bridge", before, live=found, record=record))
    return changes


def _plan_schema(
    definition: Definition, live: dict[tuple[str, str], Live], recorded: dict[tuple[str, str], Record], owner: str
) -> Change:
    kind, name = definition.subject.kind, definition.subject.label
    found, record = live.get((kind, name)), recorded.get((kind, name))
    after = f"schema {name} owned by {owner};\n\n{definition.text}".strip()

    def change(action: str, reason: str, before: str) -> Change:
        return Change(kind, name, action, reason, before, after, definition, found, record)

    if found is None:
        return change("repaired" if record else "created", "missing" if record else "new", "")
    before = found.fingerprint.replace(OWNER, owner)
    if found.owner != owner:
        return change("repaired", f"owned by {found.owner}", before)
    if definition.statements and (record is None or record.definition != definition.text):
        return change("updated", "definition changed", record.definition if record else before)
    if record:
        compared = _compare((kind, name), found, record, record.server_major)
        return replace(compared, definition=definition, live=found, record=record)
    return Change(kind, name, "unchanged")


def _plan_object(
    definition: Definition,
    live: dict[tuple[str, str], Live],
    recorded: dict[tuple[str, str], Record],
    server_major: str,
) -> Change:
    kind, name = definition.subject.kind, definition.subject.label
    found, record, text = live.get((kind, name)), recorded.get((kind, name)), definition.text
    if found is None and record is None:
        change = Change(kind, name, "created", "new", "", text)
    elif found and record is None:
        change = Change(kind, name, "repaired", "exists, but is not recorded", found.fingerprint, text)
    elif found and record and record.definition != text:
        change = Change(kind, name, "updated", "definition changed", record.definition, text)
    else:
        change = _compare((kind, name), found, record, server_major)
    return replace(change, definition=definition, live=found, record=record, after=change.after or text)


def _compare(key: tuple[str, str], found: Live | None, record: Record | None, server_major: str) -> Change:
    """Compare what is there with what was there right after it was installed."""
    if found is None or record is None:
        return Change(*key, "repaired", _MISSING)
    if record.fingerprint == found.fingerprint:
        return Change(*key, "unchanged")
    change = Change(*key, "repaired", before=found.fingerprint, after=record.fingerprint)
    if record.server_major != server_major:
        # The catalog words some things in another way after an upgrade of the server.
        return replace(change, reason=f"{_UPGRADED} {record.server_major}, the server is {server_major} now")
    lost = lines_of(record.fingerprint) - lines_of(found.fingerprint)
    extra = lines_of(found.fingerprint) - lines_of(record.fingerprint)
    if key[0] in ("table", "sequence"):
        broken = sorted(line for line in lost if line.startswith(_STRUCTURE))
        if broken:
            problem = f"{key[0]} {key[1]} has lost its {'; '.join(broken)}"
            return replace(change, reason="structure differs", problem=problem)
        if not lost and all(line.startswith(_STRUCTURE) for line in extra):
            warning = f"{key[0]} {key[1]} has additions of others: {'; '.join(sorted(extra))}"
            return Change(*key, "unchanged", warning=warning)
    if key[0] == "schema" and not lost:
        # Who else may use the schema is not the definitions' business.
        return Change(*key, "unchanged")
    return replace(change, reason=_explain(lost, extra))


def lines_of(fingerprint: str) -> set[str]:
    return set(fingerprint.splitlines())


def _explain(lost: set[str], extra: set[str]) -> str:
    """Which aspect of an object is not as it was left."""
    both = lost | extra
    if "disabled" in extra or "enabled on replicas" in extra:
        return _DISABLED
    aspects = {"owner: ": "owner differs", "grant ": "privileges differ", "comment: ": "comment differs"}
    found = [text for prefix, text in aspects.items() if any(line.startswith(prefix) for line in both)]
    if any(not line.startswith(tuple(aspects)) for line in both):
        found.insert(0, "definition was edited")
    return ", ".join(found) or "differs"


def _state(change: Change) -> str:
    if not change.changed:
        return "ok"
    if change.reason.startswith(_UPGRADED):
        return "unknown"
    return {_MISSING: "missing", _DISABLED: "disabled"}.get(change.reason, "changed")


def drift(
    live: dict[tuple[str, str], Live], recorded: dict[tuple[str, str], Record], owner: str, server_major: str
) -> list[dict[str, str]]:
    """The state of everything that was installed, without knowing what the collection would install now."""
    found = []
    for key, record in recorded.items():
        if key[0] == "bridge":
            continue
        change = _compare(key, live.get(key), record, server_major)
        found.append(
            {"kind": key[0], "name": key[1], "state": _state(change), "reason": change.reason or change.warning}
        )
    for key, item in live.items():
        if key[0] == "trigger" and key not in recorded:
            found.append({"kind": key[0], "name": key[1], "state": "unknown", "reason": "not installed by this bridge"})
        if key[0] == "schema" and item.owner != owner:
            found.append({"kind": key[0], "name": key[1], "state": "changed", "reason": f"owned by {item.owner}"})
    return found


def diff(plan: Plan, owner: str) -> list[dict[str, str]]:
    """What C(--diff) shows: each object that changes, and the settings."""
    shown = [
        {
            "before_header": f"{change.kind} {change.name} ({plan.database})",
            "after_header": f"{change.kind} {change.name} ({plan.database})",
            "before": _shown(change.before, owner),
            "after": _shown(change.after, owner),
        }
        for change in plan.objects
        if change.changed
    ]
    if plan.settings:
        header = f"settings ({plan.database})"
        before = {name: pair[0] for name, pair in plan.settings.items()}
        after = {name: pair[1] for name, pair in plan.settings.items()}
        shown.append(
            {"before_header": header, "after_header": header, "before": _listed(before), "after": _listed(after)}
        )
    return shown


def _shown(text: str, owner: str) -> str:
    return text.replace(OWNER, owner) + "\n" if text else ""


def _listed(settings: dict[str, Any]) -> str:
    return "".join(f"{name}: {json.dumps(value)}\n" for name, value in settings.items() if value is not None)
