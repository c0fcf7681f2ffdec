# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Brings the bridge's SQL objects in one database to what is wanted.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._catalog.compare import lines_of
from ansible_collections.llmops.user_bridge.plugins.module_utils._catalog.foreign import (
    bookkeeping_is_ours,
    foreign_kinds,
    foreign_objects,
    trusted_owners,
)
from ansible_collections.llmops.user_bridge.plugins.module_utils._catalog.live import Live, live_objects
from ansible_collections.llmops.user_bridge.plugins.module_utils._catalog.records import (
    Record,
    missing_tables,
    read_records,
)
from ansible_collections.llmops.user_bridge.plugins.module_utils._catalog.restored import restored_by
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._install.definitions import Definition, canonical
from ansible_collections.llmops.user_bridge.plugins.module_utils._install.objects import (
    create,
    drop,
    drop_all,
    forbid_create,
    let_create,
)
from ansible_collections.llmops.user_bridge.plugins.module_utils._install.plan import Change, Plan, Wanted, plan_objects
from ansible_collections.llmops.user_bridge.plugins.module_utils._install.preflight import preflight, recorded_version
from ansible_collections.llmops.user_bridge.plugins.module_utils._install.restored import give_back
from ansible_collections.llmops.user_bridge.plugins.module_utils._install.stored import (
    write_records,
    write_settings,
    write_stamp,
)
from ansible_collections.llmops.user_bridge.plugins.module_utils._install.together import check_bodies, create_all
from ansible_collections.llmops.user_bridge.plugins.module_utils._lock import deploying, lock_tables, retry
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import ROUTINES, SCHEMA
from ansible_collections.llmops.user_bridge.plugins.module_utils._plain.prove import refuse
from ansible_collections.llmops.user_bridge.plugins.module_utils._settings.stored import (
    SETTINGS_NAME,
    changed_settings,
    read_settings,
)


def make_plan(cur: Any, wanted: Wanted, server_version: int) -> Plan:
    """Read the catalog and the bookkeeping inside a transaction of C(_pg.transaction), check, and compare."""
    database = preflight(cur, wanted, server_version)
    definitions = canonical(cur, _of_present_tables(cur, wanted))
    live = live_objects(cur, wanted.roles)
    is_restored = restored_by(cur, wanted.roles) is not None
    recorded = {} if is_restored else _own_records(cur, live, definitions, wanted, database)
    if is_restored:
        _refuse_foreign(foreign_kinds(cur), database)
    version_before = recorded_version(recorded, wanted, database)
    objects = plan_objects(definitions, live, recorded, wanted.roles, _pg.major_of(server_version))
    problems = [change.problem for change in objects if change.problem]
    if problems:
        raise BridgeError(
            f"database {database}: {'; '.join(problems)}. Tables hold data, so this is not repaired automatically: "
            "bring back what is missing by hand, or remove the bridge with state=absent and install it again; "
            "nothing was changed"
        )
    if version_before != wanted.version:
        action, reason = ("created", "new") if version_before is None else ("updated", "version changed")
        objects.append(Change("bridge", wanted.side, action, reason, version_before or "", wanted.version))
    else:
        objects.append(Change("bridge", wanted.side, "unchanged"))
    # Nothing in a restored table is read before it is the owner role's again.
    current = read_settings(cur, live) if wanted.settings and not is_restored else None
    return Plan(tuple(objects), changed_settings(current, wanted.settings), version_before, database)


def _of_present_tables(cur: Any, wanted: Wanted) -> tuple[Definition, ...]:
    """The definitions without the triggers on optional tables that this version of the program does not have."""
    if not wanted.optional_tables:
        return wanted.definitions
    names = missing_tables(cur, wanted.optional_tables)
    return tuple(
        each
        for each in wanted.definitions
        if not (each.subject.kind == "trigger" and each.subject.schema == "public" and each.subject.table in names)
    )


def _own_records(
    cur: Any,
    live: dict[tuple[str, str], Live],
    definitions: tuple[Definition, ...],
    wanted: Wanted,
    database: str,
) -> dict[tuple[str, str], Record]:
    """What an earlier run recorded; refuses what somebody else has put into the schema, before it is read."""
    trusted = trusted_owners(cur, wanted.roles)
    found = foreign_kinds(cur)
    recorded = read_records(cur, live) if not found and bookkeeping_is_ours(live, trusted) else {}
    keys = {(each.subject.kind, each.subject.label) for each in definitions}
    _refuse_foreign(found + foreign_objects(live, recorded, keys, wanted.roles, trusted), database)
    return recorded


def _refuse_foreign(found: list[str], database: str) -> None:
    if found:
        raise BridgeError(
            f"database {database}: in schema {SCHEMA} is what the bridge has not made: {'; '.join(found)}. It could "
            "act with the bridge's rights: look at it, and drop it or give it to a superuser; nothing was changed"
        )


def present(connection: Any, wanted: Wanted) -> Plan:
    """Bring the database to what is wanted. Without a difference nothing is written and no transaction id is used."""
    cur, version = _pg.cursor(connection), _pg.server_version(connection)
    with _pg.transaction(cur, read_only=True):
        plan = make_plan(cur, wanted, version)
    if wanted.check_mode or not plan.changed:
        return plan
    return retry(cur, lambda: _apply_present(cur, wanted, version))


def _apply_present(cur: Any, wanted: Wanted, server_version: int) -> Plan:
    with deploying(cur, wanted.lock_timeout_ms):
        if restored_by(cur, wanted.roles) is not None:
            _refuse_foreign(foreign_kinds(cur), str(_pg.value(cur, "SELECT current_database()::text")))
            give_back(cur, wanted.roles)
        # Another run may have finished while this one waited.
        plan = make_plan(cur, wanted, server_version)
        changes = [change for change in plan.objects if change.changed]
        triggers = [change for change in changes if change.kind == "trigger"]
        objects = [(change.definition, change.live) for change in changes if change.definition]
        others = [(definition, live) for definition, live in objects if definition.subject.kind != "trigger"]
        # Functions call each other in any order, so their bodies are checked when all exist.
        cur.execute("SET LOCAL check_function_bodies = off")
        for definition, live in others:
            if definition.subject.kind == "schema":
                create(cur, definition, live, wanted.owner)
        creates = any(definition.role for definition, _live in others)
        if creates:
            let_create(cur, wanted.roles)
        create_all(cur, [each for each in others if each[0].subject.kind != "schema"], wanted.owner)
        cur.execute("SET LOCAL check_function_bodies = on")
        check_bodies(cur, [each for each, _live in others if each.subject.kind in ROUTINES], wanted.owner)
        if plan.settings or any(definition.subject.label == SETTINGS_NAME for definition, _live in others):
            write_settings(cur, plan.settings, wanted.owner)
        # Triggers last: LiteLLM waits from here to the commit. Dropping one locks out readers as well.
        mode = "ACCESS EXCLUSIVE" if any(change.live for change in triggers) else "SHARE ROW EXCLUSIVE"
        subjects = [source.subject for change in triggers for source in (change.live, change.definition) if source]
        lock_tables(cur, subjects, mode, wanted.lock_timeout_ms)
        refuse(cur, {subject.table for subject in subjects if subject.schema == "public"})
        for change in triggers:
            if change.live:
                drop(cur, change.live.subject, wanted.owner)
            if change.definition:
                create(cur, change.definition, None, wanted.owner)
        surplus = [c.live.subject for c in changes if c.action == "dropped" and c.live and c.kind != "trigger"]
        drop_all(cur, surplus, wanted.owner)
        if creates:
            forbid_create(cur, wanted.roles)
        after = live_objects(cur, wanted.roles)
        _verify(changes, after, _pg.major_of(server_version))
        write_records(cur, changes, after, wanted, _pg.major_of(server_version))
        write_stamp(cur, wanted)
    return plan


def _verify(changes: list[Change], after: dict[tuple[str, str], Live], server_major: str) -> None:
    for change in changes:
        if change.definition is None:
            continue
        found = after.get((change.kind, change.name))
        if found is None:
            raise BridgeError(
                f"{change.kind} {change.name} ({change.definition.source}) was applied, but the catalog does not have "
                "it under this name; spell its argument types as PostgreSQL shows them; nothing was changed"
            )
        record = change.record
        comparable = change.action == "repaired" and record and record.server_major == server_major
        if comparable and record and change.kind != "schema" and record.definition == change.definition.text:
            wrong = lines_of(record.fingerprint) ^ lines_of(found.fingerprint)
            if wrong:
                raise BridgeError(
                    f"{change.kind} {change.name} was re-applied, but still differs from what was recorded: "
                    f"{'; '.join(sorted(wrong)[:5])}; set it right by hand; nothing was changed"
                )
