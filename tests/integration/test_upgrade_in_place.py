# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""bridge_install makes what was installed before the first release as a fresh one, and every table keeps its rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kit import openwebui, product, rows
from kit.bridge import DEFAULTS, REGISTRY, install_bridge, optional_tables, render_sql
from kit.drains import drain_all
from kit.oracle import differences
from kit.pairs import OWNER_ROLE, Pair, Side
from kit.pairs import pair as new_pair
from modules_support import a_call, actions, admin, login_options, run_module

FIRST_VERSION = Path(__file__).parent / "first_version"
SIDES: tuple[Side, ...] = ("openwebui", "litellm")
# The second removal within ten minutes is held.
SETTINGS = {"initial_password": "none", "backoff_seconds": 1, "removal_accounts": 1, "removal_percent": 0}
# Tables by their name before the first release and their name now.
TABLES: dict[Side, dict[str, str]] = {
    "litellm": {
        "settings": "settings",
        "sync_queue": "sync_queue",
        "sync_mapping": "sync_mapping",
        "sync_audit": "sync_audit",
        "target": "target",
        "brought": "backfill",
        "uncrashed": "crash_sentinel",
    },
    "openwebui": {"entity": "entity", "membership": "membership", "removal": "removal"},
}
# Columns that the first version does not have, and one that only it has.
NEW_COLUMNS = {"removal": {"kind": "deletion"}, "sync_queue": {"held": None, "approvals": []}}
OLD_COLUMNS = {"sync_queue": "approved"}
SEQUENCES = ("delivery_version", "breaker_until", "backlog", "trigger_faults")


def first_version(pair: Pair) -> None:
    """The first version as the playbook left it."""

    def as_it_was(path: str, _sql: str) -> str:
        """All of a side in place of its first file, and nothing in place of the others."""
        side = path.split("/")[1]
        if path != f"engine/{side}/state.sql.j2":
            return "-- Not in the first version."
        return (FIRST_VERSION / f"{side}.sql").read_text(encoding="utf-8")

    # Not a copy of a pair that has today's bridge.
    pair.make()
    install_bridge(pair, SETTINGS, mutate=as_it_was)
    for side in SIDES:
        session, registered = pair.superuser(side), REGISTRY["sides"][side]
        rights = ", ".join(registered["privileges"])
        for table in registered["tables"]:
            if session.value("SELECT to_regclass(%s)", [f'public."{table}"']):
                session.run(f'GRANT {rights} ON public."{table}" TO "{OWNER_ROLE}"')
    pair.openwebui_admin.run(
        f'ALTER DEFAULT PRIVILEGES FOR ROLE openwebui IN SCHEMA public GRANT {rights} ON TABLES TO "{OWNER_ROLE}";'
        f'GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA user_bridge TO "{OWNER_ROLE}"'
    )


def take_away(pair: Pair) -> None:
    """What the role triggers does last: the owner role has functions no more that need the programs' tables."""
    plan = run_module("bridge_preflight_info", a_call(pair, "bridge_preflight_info"))["plan"]
    assert plan["statements"] == {"litellm": [], "openwebui": []}
    for side in SIDES:
        assert len(plan["revocations"][side]) == (1 if side == "litellm" else 2)
        for statement in plan["revocations"][side]:
            pair.superuser(side).run(statement)
    plan = run_module("bridge_preflight_info", a_call(pair, "bridge_preflight_info"))["plan"]
    assert plan["revocations"] == {"litellm": [], "openwebui": []}


def upgrade(pair: Pair, side: Side) -> dict[str, Any]:
    definitions = [{"name": path, "sql": sql} for path, sql in render_sql(side).items()]
    options = {
        **login_options(pair, side),
        "side": side,
        "version": "1.0.0",
        "definitions": definitions,
        "settings": {**SETTINGS, **DEFAULTS},
        "optional_tables": optional_tables(side),
    }
    return run_module("bridge_install", options)


def live_in(pair: Pair) -> None:
    """Rows in every table: delivered, skipped, held and only queued."""
    session = pair.litellm
    assert pair.litellm_admin.value("SELECT user_bridge.bring_existing()") == 0
    rows.add_organization(session, "o1", "Research")
    rows.add_team(session, "t1", "Blue", organization_id="o1", members_with_roles=[{"user_id": "u1", "role": "user"}])
    for user, email in (("u1", "ann@example.com"), ("u2", "bob@example.com"), ("u3", None), ("u6", "eve@example.com")):
        rows.add_user(session, user, email)
    rows.join_organization(session, "o1", "u2")
    rows.add_key(session, "hash-of-a-key", "u1", models=["gpt-4"])
    drain_all(pair)
    rows.delete_user(session, "u6")
    rows.leave_organization(session, "o1", "u2")
    rows.delete_user(session, "u2")
    pair.litellm_admin.run("UPDATE user_bridge.settings SET delivery = 'queued'")
    rows.change_team(session, "t1", team_alias="Red", members_with_roles=[])
    rows.change_user(session, "u1", user_alias="Ann")
    rows.add_user(session, "u4", "cem@example.com")
    assert pair.litellm_admin.value("SELECT count(*) FROM user_bridge.sync_queue WHERE parked_at IS NOT NULL") == 2


def contents(pair: Pair, side: Side, now: bool) -> dict[str, Any]:
    """All rows of all tables, by their names now."""
    found: dict[str, Any] = {}
    for before, after in TABLES[side].items():
        name = after if now else before
        query = f"SELECT to_jsonb(t) AS row FROM user_bridge.{name} AS t ORDER BY to_jsonb(t)::text"
        found[after] = [row["row"] for row in admin(pair, side).rows(query)]
        if not now:
            for row in found[after]:
                row.pop(OLD_COLUMNS.get(after), None)
                row.update(NEW_COLUMNS.get(after, {}))
    if side == "litellm":
        for sequence in SEQUENCES:
            query = f"SELECT CASE WHEN is_called THEN last_value END FROM user_bridge.{sequence}"
            found[sequence] = pair.litellm_admin.value(query)
    return found


def without_new_columns(after: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """The contents after an upgrade, in the columns that there were before."""
    columns = {
        name: {column for row in rows_before for column in row}
        for name, rows_before in before.items()
        if isinstance(rows_before, list)
    }
    return {
        name: [{column: value for column, value in row.items() if column in columns[name]} for row in found]
        if name in columns
        else found
        for name, found in after.items()
    }


def recorded(pair: Pair, side: Side) -> dict[tuple[str, str], tuple[str, list[str]]]:
    """The definition and the catalog's description of every object of the bridge."""
    query = "SELECT kind, name, definition, fingerprint FROM user_bridge.installed_object WHERE kind <> 'bridge'"
    return {
        (row["kind"], row["name"]): (row["definition"], _without_constraints(row["fingerprint"]))
        for row in admin(pair, side).rows(query)
    }


def _without_constraints(fingerprint: str) -> list[str]:
    """The first version had one constraint for all prefixes, where there is one for each now."""
    return [line for line in fingerprint.splitlines() if not line.startswith("constraint settings_")]


def in_the_catalog(pair: Pair, side: Side) -> list[str]:
    """What is in the schema, recorded or not."""
    return [
        row["name"]
        for row in admin(pair, side).rows(
            "SELECT pg_describe_object(d.classid, d.objid, 0) AS name FROM pg_depend AS d"
            " WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = 'user_bridge'::regnamespace"
            " AND d.deptype = 'n' ORDER BY 1"
        )
    ]


@pytest.mark.parametrize("crashed", [False, True], ids=["running", "crashed"])
def test_an_upgraded_installation_keeps_its_rows_and_is_as_a_fresh_one(pair: Pair, crashed: bool) -> None:
    first_version(pair)
    live_in(pair)
    if crashed:
        pair.litellm_admin.run("DELETE FROM user_bridge.uncrashed")
    for side in SIDES:
        before = contents(pair, side, now=False)
        assert all(before[table] for table in TABLES[side].values() if table != "crash_sentinel" or not crashed)
        upgrade(pair, side)
        assert without_new_columns(contents(pair, side, now=True), before) == before
        assert actions(upgrade(pair, side)) == {}
    take_away(pair)
    with new_pair(pair.cluster, pair.litellm_version, pair.openwebui_version) as fresh:
        install_bridge(fresh)
        for side in SIDES:
            upgrade(fresh, side)
            assert recorded(pair, side) == recorded(fresh, side)
            assert in_the_catalog(pair, side) == in_the_catalog(fresh, side)
    # The session from before the upgrade goes on, with its cached plans and its connection.
    pair.litellm_admin.run("UPDATE user_bridge.settings SET delivery = 'inline'")
    rows.add_user(pair.litellm, "u7", "fay@example.com")
    assert openwebui.account(pair, "fay@example.com") is None
    product.own(pair)
    rows.add_user(pair.litellm, "u5", "dee@example.com")
    assert openwebui.account(pair, "dee@example.com") is not None
    for _round in range(3):
        pair.litellm_admin.rows("SELECT * FROM user_bridge.drain()")
    # What the first version had parked is still held, now with an id and the name of whom it concerns.
    held = pair.litellm_admin.rows("SELECT * FROM user_bridge.held_changes()")
    assert {(row["entity_type"], row["kind"]) for row in held} == {
        ("user", "deletion"),
        ("organization_member", "membership"),
    }
    assert {account["email"] for row in held for account in row["accounts"]} == {"bob@example.com"}
    assert pair.litellm_admin.value("SELECT count(*) FROM user_bridge.sync_queue") == len(held)
    pair.litellm_admin.run("SELECT user_bridge.approve(%s)", [[row["id"] for row in held]])
    drain_all(pair)
    # As a deployment does.
    pair.litellm_admin.run("SELECT user_bridge.backfill()")
    drain_all(pair)
    assert differences(pair) == []
    assert pair.litellm_admin.value("SELECT user_bridge.tick()") == 0
