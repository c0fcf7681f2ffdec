# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Removes the bridge from one database: its triggers and its schema, and nothing else.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import time
from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._catalog.live import Live, live_objects
from ansible_collections.llmops.user_bridge.plugins.module_utils._catalog.records import Record, read_records
from ansible_collections.llmops.user_bridge.plugins.module_utils._catalog.restored import restored_by
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._install.plan import Change, Plan
from ansible_collections.llmops.user_bridge.plugins.module_utils._lock import deploying, explained, lock_tables, retry
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import SCHEMA, Roles, Subject, quote
from ansible_collections.llmops.user_bridge.plugins.module_utils._target.state import SERVER

# LiteLLM's spend flush is rolled back after a minute.
_FLUSH_SECONDS = 70
_GIVES_BACK = f"{SCHEMA}.give_back_end_users(integer)"

# Objects outside of the schema and its extensions that use something in them, and would be dropped with it.
_DEPENDENTS = f"""
WITH ours AS (
  SELECT 'pg_class'::regclass::oid AS classid, oid AS objid FROM pg_class WHERE relnamespace = '{SCHEMA}'::regnamespace
  UNION ALL SELECT 'pg_proc'::regclass, oid FROM pg_proc WHERE pronamespace = '{SCHEMA}'::regnamespace
  UNION ALL SELECT 'pg_type'::regclass, oid FROM pg_type WHERE typnamespace = '{SCHEMA}'::regnamespace
  UNION ALL SELECT d.classid, d.objid FROM pg_depend AS d JOIN pg_extension AS e ON e.oid = d.refobjid
   WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extnamespace = '{SCHEMA}'::regnamespace
), users AS (
  SELECT DISTINCT d.classid, d.objid, d.objsubid,
         coalesce(r.ev_class, a.adrelid, t.tgrelid, nullif(k.conrelid, 0), p.polrelid) AS relation,
         NOT coalesce(starts_with(t.tgname, '{SCHEMA}_'), false) AS foreign_trigger
    FROM pg_depend AS d
    JOIN ours AS o ON o.classid = d.refclassid AND o.objid = d.refobjid
    LEFT JOIN pg_rewrite AS r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
    LEFT JOIN pg_attrdef AS a ON d.classid = 'pg_attrdef'::regclass AND a.oid = d.objid
    LEFT JOIN pg_trigger AS t ON d.classid = 'pg_trigger'::regclass AND t.oid = d.objid
    LEFT JOIN pg_constraint AS k ON d.classid = 'pg_constraint'::regclass AND k.oid = d.objid
    LEFT JOIN pg_policy AS p ON d.classid = 'pg_policy'::regclass AND p.oid = d.objid
   WHERE d.deptype = 'n'
)
SELECT pg_describe_object(u.classid, u.objid, u.objsubid) AS object
  FROM users AS u
 WHERE u.foreign_trigger
   AND NOT (%(check_mode)s AND u.classid = 'pg_foreign_server'::regclass
            AND u.objid IN (SELECT s.oid FROM pg_foreign_server AS s WHERE s.srvname = '{SERVER}'))
   AND NOT EXISTS (SELECT FROM ours AS o WHERE o.classid = u.classid AND o.objid = u.objid)
   AND NOT EXISTS (SELECT FROM ours AS o WHERE o.classid = 'pg_class'::regclass AND o.objid = u.relation)
 ORDER BY 1"""


def absent(connection: Any, side: str, roles: Roles, lock_timeout_ms: int, check_mode: bool) -> Plan:
    """Remove triggers and schema; refuses while others use what is in it. Returns what was, or would be, dropped."""
    cur = _pg.cursor(connection)
    with _pg.transaction(cur, read_only=True):
        plan = _make_plan(cur, side, roles, check_mode)
    if check_mode or not plan.changed:
        return plan
    if side == "litellm" and any(change.name == _GIVES_BACK for change in plan.objects if change.kind == "function"):
        _give_back_rows(cur, roles)
    return retry(cur, lambda: _apply(cur, side, roles, lock_timeout_ms))


def _give_back_rows(cur: Any, roles: Roles) -> None:
    """What enforcement has made in LiteLLM's tables, a hundred rows at once: its spend flush may wait for them, or have
    some for a minute.
    """
    give_up = time.monotonic() + _FLUSH_SECONDS
    while True:
        with _pg.transaction(cur, read_only=False):
            _pg.set_role(cur, roles.owner)
            cur.execute(f"UPDATE {SCHEMA}.settings SET enforce_models = false WHERE enforce_models")
            given = _pg.value(cur, f"SELECT {SCHEMA}.give_back_end_users(100)")
            left = _pg.value(cur, f"SELECT count(*) FROM {SCHEMA}.end_user")
        if not left and not given:
            return
        if not given and time.monotonic() > give_up:
            raise BridgeError(
                f"LiteLLM keeps {left} rows of LiteLLM_EndUserTable locked that have to be given back: run again when "
                "its transaction has ended; nothing was dropped"
            )
        time.sleep(0 if given else 1)


def _make_plan(cur: Any, side: str, roles: Roles, check_mode: bool) -> Plan:
    database = str(_pg.value(cur, "SELECT current_database()::text"))
    live = live_objects(cur, roles)
    if not live:
        return Plan((), {}, None, database)
    _preflight(cur, live, database, check_mode)
    # What was restored without its owners is not read: it could be anybody's.
    recorded = {} if restored_by(cur, roles) else read_records(cur, live)
    other = next((name for kind, name in recorded if kind == "bridge" and name != side), None)
    if other:
        raise BridgeError(
            f"database {database} holds the {other} side of the bridge, not {side}; check side and login_db; "
            "nothing was changed"
        )
    record = recorded.get(("bridge", side))
    return Plan(tuple(_changes(live, recorded) + _extensions(cur)), {}, record.version if record else None, database)


def _changes(live: dict[tuple[str, str], Live], recorded: dict[tuple[str, str], Record]) -> list[Change]:
    """Triggers first and the schema last, as they go."""
    place = {"trigger": 0, "schema": 2}
    ordered = sorted(live, key=lambda key: (place.get(key[0], 1), key))
    return [
        Change(
            *key,
            "dropped",
            "state is absent",
            recorded[key].definition if key in recorded else live[key].fingerprint,
            live=live[key],
        )
        for key in ordered
    ]


def _extensions(cur: Any) -> list[Change]:
    found = _pg.rows(
        cur,
        "SELECT e.extname::text AS name, e.extversion AS version FROM pg_extension AS e"
        f" JOIN pg_namespace AS n ON n.oid = e.extnamespace WHERE n.nspname = '{SCHEMA}' ORDER BY 1",
    )
    reason = f"lives in schema {SCHEMA}"
    return [
        Change("extension", row["name"], "dropped", reason, f"extension {row['name']} {row['version']}")
        for row in found
    ]


def _preflight(cur: Any, live: dict[tuple[str, str], Live], database: str, check_mode: bool) -> None:
    owners = sorted({item.owner for item in live.values() if item.subject.kind in ("trigger", "schema")})
    missing = [
        row["name"]
        for row in _pg.rows(
            cur,
            "SELECT r.rolname::text AS name FROM pg_roles AS r"
            " WHERE r.rolname = ANY (%(owners)s::text[]) AND NOT pg_has_role(r.oid, 'USAGE') ORDER BY 1",
            {"owners": owners},
        )
    ]
    if missing:
        login = _pg.value(cur, "SELECT current_user::text")
        raise BridgeError(
            f"login_user {login} needs in database {database}: membership in role {', '.join(missing)} "
            f"(GRANT {', '.join(quote(name) for name in missing)} TO it); or use a superuser; nothing was changed"
        )
    if ("schema", SCHEMA) not in live:
        return
    # In check mode the connection is still there, which goes before the schema.
    users = [row["object"] for row in _pg.rows(cur, _DEPENDENTS, {"check_mode": check_mode})]
    if users:
        raise BridgeError(
            f"schema {SCHEMA} in database {database} cannot be removed, because others use it: "
            f"{', '.join(users[:10])}; drop these first "
            f"(the server {SERVER} with bridge_target state=absent); nothing was changed"
        )


def _apply(cur: Any, side: str, roles: Roles, lock_timeout_ms: int) -> Plan:
    with deploying(cur, lock_timeout_ms):
        plan = _make_plan(cur, side, roles, False)
        triggers = [change.live.subject for change in plan.objects if change.kind == "trigger" and change.live]
        lock_tables(cur, triggers, "ACCESS EXCLUSIVE", lock_timeout_ms)
        for subject in triggers:
            with explained(subject, f"trigger {subject.label} could not be dropped"):
                cur.execute(f"DROP TRIGGER {subject.identity}")
        if any(change.kind == "schema" for change in plan.objects):
            with explained(Subject("schema", "", SCHEMA), f"schema {SCHEMA} could not be dropped"):
                cur.execute(f"DROP SCHEMA {SCHEMA} CASCADE")
    return plan
