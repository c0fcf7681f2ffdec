# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.llmops.user_bridge.plugins.module_utils._catalog.live import Live
from ansible_collections.llmops.user_bridge.plugins.module_utils._catalog.records import Record
from ansible_collections.llmops.user_bridge.plugins.module_utils._install.definitions import wanted_definitions
from ansible_collections.llmops.user_bridge.plugins.module_utils._install.diff import diff
from ansible_collections.llmops.user_bridge.plugins.module_utils._install.plan import Change, Plan, plan_objects
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import Roles

OWNER = "the_owner"
ROLES = Roles(OWNER, "the_reader")
Key = tuple[str, str]
TABLE = ("table", "user_bridge.t")
FUNCTION = ("function", "user_bridge.f(integer)")
SCHEMA = ("schema", "user_bridge")
F = """CREATE FUNCTION user_bridge.f(int) RETURNS int LANGUAGE sql AS 'SELECT 1';
COMMENT ON FUNCTION user_bridge.f(integer) IS 'one';"""
SQL = f"CREATE TABLE user_bridge.t (); {F}"
FINGERPRINT = "owner: <owner>\ncolumn a integer\ngrant <owner>: SELECT"


def definitions(sql: str = SQL) -> Any:
    return wanted_definitions([{"name": "a.sql", "sql": sql}], ROLES)


def installed(sql: str = SQL, fingerprint: str = FINGERPRINT) -> tuple[dict[Key, Live], dict[Key, Record]]:
    """What catalog and bookkeeping say right after a run."""
    live, recorded = {}, {}
    for definition in definitions(sql):
        key = definition.subject.kind, definition.subject.label
        live[key] = Live(definition.subject, OWNER, fingerprint)
        if definition.subject.kind != "schema" or definition.statements:
            recorded[key] = Record(definition.text, fingerprint, "15", "1.0.0")
    return live, recorded


def plan(live: dict[Key, Live], recorded: dict[Key, Record], sql: str = SQL, major: str = "15") -> dict[Key, Change]:
    return {(c.kind, c.name): c for c in plan_objects(definitions(sql), live, recorded, ROLES, major) if c.changed}


def actions(changes: dict[Key, Change]) -> dict[Key, tuple[str, str]]:
    return {key: (change.action, change.reason) for key, change in changes.items()}


def test_nothing_there() -> None:
    changes = plan({}, {})
    assert {change.action for change in changes.values()} == {"created"}
    assert list(changes)[:2] == [SCHEMA, ("table", "user_bridge.installed_object")]
    assert list(changes)[-2:] == [TABLE, FUNCTION]


def test_another_role_is_a_new_definition() -> None:
    live, recorded = installed()
    assert actions(plan(live, recorded, f'CREATE TABLE user_bridge.t (); SET ROLE "the_reader"; {F}')) == {
        FUNCTION: ("updated", "definition changed")
    }


def test_nothing_to_do() -> None:
    assert plan(*installed()) == {}


def test_missing_edited_and_unrecorded() -> None:
    live, recorded = installed()
    del live[TABLE]
    live[FUNCTION] = Live(live[FUNCTION].subject, OWNER, FINGERPRINT + "\nmore")
    assert actions(plan(live, recorded)) == {
        TABLE: ("repaired", "missing"),
        FUNCTION: ("repaired", "definition was edited"),
    }
    live, recorded = installed()
    del recorded[TABLE]
    assert actions(plan(live, recorded)) == {TABLE: ("repaired", "exists, but is not recorded")}


@pytest.mark.parametrize(
    ("fingerprint", "reason"),
    [
        ("owner: x\ncolumn a integer\ngrant <owner>: SELECT", "owner differs"),
        ("owner: <owner>\ncolumn a integer", "privileges differ"),
        (FINGERPRINT + "\ncomment: x", "comment differs"),
        (FINGERPRINT + "\nrow security", "definition was edited"),
        ("owner: x\ncolumn a integer\ncomment: y", "owner differs, privileges differ, comment differs"),
        (FINGERPRINT + "\ndisabled", "trigger is disabled"),
    ],
)
def test_reasons(fingerprint: str, reason: str) -> None:
    live, recorded = installed()
    live[TABLE] = Live(live[TABLE].subject, OWNER, fingerprint)
    (change,) = plan(live, recorded).values()
    assert (change.action, change.reason, change.problem) == ("repaired", reason, "")
    assert (change.before, change.after) == (fingerprint, FINGERPRINT)


def test_structure_of_a_table() -> None:
    live, recorded = installed()
    live[TABLE] = Live(live[TABLE].subject, OWNER, FINGERPRINT.replace("column a integer", "column a bigint"))
    assert plan(live, recorded)[TABLE].problem == "table user_bridge.t has lost its column a integer"
    live[TABLE] = Live(live[TABLE].subject, OWNER, FINGERPRINT + "\ncolumn b integer\nconstraint x CHECK (true)")
    assert plan(live, recorded) == {}
    warnings = [c.warning for c in plan_objects(definitions(), live, recorded, ROLES, "15") if c.warning]
    assert warnings == ["table user_bridge.t has additions of others: column b integer; constraint x CHECK (true)"]


def test_new_definition_and_new_server() -> None:
    live, recorded = installed()
    assert actions(plan(live, recorded, SQL.replace("SELECT 1", "SELECT 2"))) == {
        FUNCTION: ("updated", "definition changed")
    }
    # The same text after an upgrade of the server is no drift; another one is not taken for somebody's doing.
    assert plan(live, recorded, major="17") == {}
    live[TABLE] = Live(live[TABLE].subject, OWNER, FINGERPRINT.replace("column a integer", "column a int"))
    (change,) = plan(live, recorded, major="17").values()
    assert change.reason == "recorded on PostgreSQL 15, the server is 17 now" and not change.problem


def test_surplus_is_dropped() -> None:
    trigger = "CREATE TRIGGER user_bridge_x AFTER INSERT ON public.t EXECUTE FUNCTION user_bridge.f();"
    live, recorded = installed(SQL + trigger)
    key = ("trigger", "user_bridge_x on public.t")
    assert actions(plan(live, recorded)) == {key: ("dropped", "no longer part of the bridge")}
    del recorded[key]
    assert actions(plan(live, recorded)) == {key: ("dropped", "no longer part of the bridge")}
    live, recorded = installed()
    # A table that nobody recorded may be anybody's.
    del recorded[TABLE]
    assert plan(live, recorded, F) == {}


def test_schema_with_grants() -> None:
    sql = "GRANT USAGE ON SCHEMA user_bridge TO x; " + SQL
    live, recorded = installed(sql)
    assert plan(live, recorded, sql) == {}
    live[SCHEMA] = Live(live[SCHEMA].subject, OWNER, FINGERPRINT + "\ngrant somebody: USAGE")
    assert plan(live, recorded, sql) == {}
    live[SCHEMA] = Live(live[SCHEMA].subject, OWNER, "owner: <owner>\ncolumn a integer")
    assert actions(plan(live, recorded, sql)) == {SCHEMA: ("repaired", "privileges differ")}
    live[SCHEMA] = Live(live[SCHEMA].subject, "other", FINGERPRINT)
    assert actions(plan(live, recorded, sql)) == {SCHEMA: ("repaired", "owned by other")}
    live, recorded = installed()
    assert actions(plan(live, recorded, sql)) == {SCHEMA: ("updated", "definition changed")}


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ("grant somebody: SELECT", None),
        ("grant PUBLIC: SELECT", "privileges differ"),
        ("grant somebody: SELECT*", "privileges differ"),
        ("grant somebody: DELETE, SELECT", "privileges differ"),
        ("comment: x", "comment differs"),
    ],
)
def test_a_view_may_be_read_by_others(more: str, reason: str | None) -> None:
    sql = "CREATE VIEW user_bridge.v AS SELECT 1;"
    live, recorded = installed(sql)
    key = ("view", "user_bridge.v")
    live[key] = Live(live[key].subject, OWNER, f"{FINGERPRINT}\n{more}")
    assert actions(plan(live, recorded, sql)) == ({} if reason is None else {key: ("repaired", reason)})


def test_diff_shows_owner_by_name_and_only_changes() -> None:
    objects = (Change("table", "t", "repaired", "x", "owner: x", "owner: <owner>"), Change("table", "u", "unchanged"))
    shown = diff(Plan(objects, {"a": (None, 1), "b": ({"x": 1}, {})}, None, "db"), ROLES)
    assert [part["after_header"] for part in shown] == ["table t (db)", "settings (db)"]
    assert shown[0]["before"] == "owner: x\n" and shown[0]["after"] == "owner: the_owner\n"
    assert shown[1]["before"] == 'b: {"x": 1}\n' and shown[1]["after"] == "a: 1\nb: {}\n"
