# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One look at both databases before a run, over one connection to each.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any, Callable

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._bridge import PAUSED
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import SCHEMA, Roles
from ansible_collections.llmops.user_bridge.plugins.module_utils._ownership.decide import Decision, decide
from ansible_collections.llmops.user_bridge.plugins.module_utils._ownership.state import read_source, read_target
from ansible_collections.llmops.user_bridge.plugins.module_utils._plain.prove import NotPlain, looking, reading
from ansible_collections.llmops.user_bridge.plugins.module_utils._preflight.connections import Pools, budget
from ansible_collections.llmops.user_bridge.plugins.module_utils._preflight.enforcement import is_wanted
from ansible_collections.llmops.user_bridge.plugins.module_utils._preflight.facts import (
    SIDES,
    Asked,
    count_admins,
    is_supported,
    read_facts,
)
from ansible_collections.llmops.user_bridge.plugins.module_utils._preflight.grants import (
    revocations,
    statements,
    sync_user_fits,
)
from ansible_collections.llmops.user_bridge.plugins.module_utils._preflight.installed import (
    Installed,
    look_at_installed,
    unchanged_sources,
)
from ansible_collections.llmops.user_bridge.plugins.module_utils._preflight.lost import lost_notice, read_lost
from ansible_collections.llmops.user_bridge.plugins.module_utils._preflight.maintenance import (
    CRON_USABLE,
    Choice,
    choose,
    cron_of,
    look_at_host,
)
from ansible_collections.llmops.user_bridge.plugins.module_utils._preflight.problems import (
    Checks,
    Unreached,
    Variables,
    notices,
    problems,
)
from ansible_collections.llmops.user_bridge.plugins.module_utils._remedies import connection_remedy
from ansible_collections.llmops.user_bridge.plugins.module_utils._session import lacks_objects
from ansible_collections.llmops.user_bridge.plugins.module_utils._settings.check import checked
from ansible_collections.llmops.user_bridge.plugins.module_utils._settings.declared import SPEC
from ansible_collections.llmops.user_bridge.plugins.module_utils._takeover import source
from ansible_collections.llmops.user_bridge.plugins.module_utils._target import server
from ansible_collections.llmops.user_bridge.plugins.module_utils._target.options import server_options
from ansible_collections.llmops.user_bridge.plugins.module_utils._verifier import has_password

OTHER_PREFIX = "openwebui_"
_BACKFILL = f"SELECT {SCHEMA}.backfill_is_due()"
_WAITING = f"SELECT EXISTS (SELECT FROM {SCHEMA}.sync_queue WHERE parked_at IS NULL)"


def gather(params: dict[str, Any]) -> dict[str, Any]:
    """Facts, problems and plan. A side that cannot be reached has no facts, but a problem."""
    sides = {side: _variables(params, side) for side in SIDES}
    seen: dict[str, dict[str, Any]] = {}
    unreached: dict[str, Unreached] = {}
    plan: dict[str, Any] = {}
    owners: dict[str, Any] = {}
    installed: dict[str, Installed | None] = {}
    refused: list[str] = []
    # LiteLLM's side last: its connection also tests the way to the other one.
    for side in reversed(SIDES):
        try:
            seen[side] = _look(params, sides[side], seen, plan, owners, installed, refused)
        except _pg.ConnectionFailed as error:
            unreached[side] = Unreached(error.reason, error.remedy)
        except _pg.PgError as error:
            reason = _pg.describe(error)
            unreached[side] = Unreached(reason, connection_remedy(_pg.sqlstate(error), reason))
    complete = len(seen) == len(SIDES)
    one_server = _is_one_server(seen)
    choice = _maintenance(params, seen.get("litellm"))
    if params["maintenance"] == "auto" and choice.method == "none":
        # Nothing logs in as it, whatever its name.
        sides = {side: replace(each, asked=replace(each.asked, timer_user="")) for side, each in sides.items()}
        plan["timer_user"] = False
    if complete and params["depth"] == "bridge":
        plan["statements"] = {side: statements(sides[side].asked, seen[side]) for side in SIDES}
        if params["sync_connection_limit"] is not None:
            refused += _plan_connections(params, seen, one_server, plan)
        plan["installed"] = unchanged_sources(installed, _wanted_settings(params, plan))
        plan["revocations"] = {side: revocations(sides[side].asked, seen[side]) for side in SIDES}
    ownership = _ownership(owners, bool(params["take_ownership"]))
    owner_problem = f"{ownership.reason}." if ownership and ownership.action == "refused" else None
    if complete and params["depth"] == "bridge":
        plan["ownership"] = ownership is None or ownership.action != "unchanged"
    plan["timer"] = any(os.path.lexists(path) for path in params["timer_files"] or ())
    checks = Checks(
        params["depth"],
        params["maintenance"],
        params["maintenance_db"] or "",
        params["allow_no_admin"],
        writes_secrets(plan, seen),
        frozenset({"openwebui"} if plan.get("ownership") else ()),
    )
    return {
        "changed": False,
        "sides": {side: seen[side] for side in SIDES if side in seen},
        "one_server": one_server,
        "problems": _wrong_values(params)
        + problems(sides, seen, unreached, checks)
        + refused
        + ([owner_problem] if owner_problem and params["depth"] == "bridge" else []),
        "owner_problem": owner_problem,
        "maintenance": {"method": choice.method, "reason": choice.reason},
        "notices": notices(sides, seen) + lost_notice(seen.get("litellm", {}).get("lost_models"))
        if params["depth"] == "bridge"
        else [],
        "plan": plan,
    }


def writes_secrets(plan: dict[str, Any], seen: dict[str, dict[str, Any]]) -> frozenset[str]:
    """The sides where a password may have to be set. Of one that cannot be compared the connection tells later."""
    blind = "openwebui" in seen and not seen["openwebui"]["reads_passwords"] and plan.get("connection")
    found = {"openwebui": plan.get("sync_user") or blind, "litellm": plan.get("timer_user") or plan.get("connection")}
    return frozenset(side for side, writes in found.items() if writes)


def _login(params: dict[str, Any], side: str) -> dict[str, Any]:
    """The login of one side; while the databases may not exist, to the maintenance database."""
    login = params if side == "litellm" else _pg.second_login(params, OTHER_PREFIX)
    return {**login, "login_db": params["maintenance_db"] or login["login_db"]}


def _variables(params: dict[str, Any], side: str) -> Variables:
    login = params if side == "litellm" else _pg.second_login(params, OTHER_PREFIX)
    first = {name: params[name] for name in _pg.argument_spec() if name != "login_db"}
    is_shared = all(login[name] == value for name, value in first.items())
    declared = params["registry"][side]
    return Variables(
        side=side,
        login_prefix="bridge_login_" if side == "litellm" or is_shared else "bridge_openwebui_login_",
        login_host=login["login_host"] or login["login_unix_socket"],
        login_port=login["login_port"],
        login_user=login["login_user"],
        asked=Asked(
            side=side,
            db=login["login_db"],
            program_owner=params[f"{side}_owner"],
            owner_role=params["owner"],
            program_role=params["reader" if side == "litellm" else "writer"],
            sync_user=params["sync_user"],
            timer_user=params["timer_user"] or "",
            monitor_user=params["monitor_user"] or "",
            tables=declared["tables"],
            privileges=tuple(declared["privileges"]),
            enforced=declared["enforced"] or {},
            enforces=is_wanted(params["settings"]),
        ),
    )


def _look(
    params: dict[str, Any],
    variables: Variables,
    seen: dict[str, dict[str, Any]],
    plan: dict[str, Any],
    owners: dict[str, Any],
    installed: dict[str, Installed | None],
    refused: list[str],
) -> dict[str, Any]:
    """The facts of one side, the parts of the plan that stand in its database, which installation it names, what is
    installed as it should be, and why its tables cannot be read.
    """
    side, asked = variables.side, variables.asked
    connection = _pg.open_connection(_login(params, side))
    cur = _pg.cursor(connection)
    try:
        with _pg.transaction(cur, read_only=True):
            facts = read_facts(cur, asked)
            facts["max_connections"] = max(facts["max_connections"], params["planned_max_connections"])
            # Of a restored bridge it is decided when it has been given back, whose it is and what is due.
            is_ours = not (facts["restored_by"] or facts["foreign_objects"])
            owners[side] = _owner_of(cur, side, asked.owner_role) if is_ours else None
            facts["paused"] = _is_paused(cur) if is_ours and facts["schema_owner"] and side == "litellm" else None
            facts["lost_models"] = None
            installed[side] = None
            if params["depth"] == "bridge":
                if is_ours and facts["schema_owner"]:
                    roles, version = Roles(asked.owner_role, asked.program_role), _pg.server_version(connection)
                    missing = _optional(asked) - facts["tables"].keys()
                    installed[side] = look_at_installed(cur, side, roles, version, missing)
                if side == "litellm" and is_ours and facts["schema_owner"]:
                    facts["lost_models"] = read_lost(cur, asked.owner_role, params["settings"])
                if side == "openwebui":
                    plan["sync_user"] = _user_differs(cur, facts, asked.sync_user, params["sync_password"])
                else:
                    plan["timer_user"] = bool(asked.timer_user) and _timer_user_differs(cur, facts, asked, params)
                    plan["backfill"] = not is_ours or _is_due(cur, _BACKFILL) or _is_due(cur, _WAITING)
        if params["depth"] != "bridge" or not is_supported(facts):
            return facts
        plan.setdefault("takeover", False)
        try:
            with reading(cur, asked.tables) as proved:
                facts["admins"] = count_admins(cur, side, proved)
            if side == "litellm":
                with looking(cur):
                    plan["takeover"] = _is_upstream(cur, params)
        except BridgeError as error:
            refused.append(f"{error}.")
        if side == "litellm" and "openwebui" in seen:
            plan["connection"] = _connection_differs(connection, params, _is_one_server({**seen, side: facts}))
        return facts
    finally:
        connection.close()


def _optional(asked: Asked) -> set[str]:
    """The tables that not every version of the program has."""
    return {name for name, declared in asked.tables.items() if "since" in declared}


def _wanted_settings(params: dict[str, Any], plan: dict[str, Any]) -> dict[str, Any] | None:
    """As bridge_install gets them; None where nobody has said, or they cannot be stored."""
    read = ArgumentSpecValidator(SPEC).validate(params["settings"] or {})
    if not params["settings"] or read.error_messages:
        return None
    computed = {"sync_connection_limit": plan["connection_limit"]} if "connection_limit" in plan else {}
    try:
        return {**checked(read.validated_parameters), **computed}
    except BridgeError:
        return None


def _is_one_server(seen: dict[str, dict[str, Any]]) -> bool:
    """Two names can be one server, and one name (a pooler's) two; the microsecond of its start tells."""
    return len(seen) == len(SIDES) and len({facts["started_at"] for facts in seen.values()}) == 1


def _maintenance(params: dict[str, Any], facts: dict[str, Any] | None) -> Choice:
    """What runs the drainer. Of a server that is still to be made only the host is known, which then gets psql, too."""
    host = look_at_host(bool(params["timer_peer"] or params["timer_password"]))
    if facts is None:
        return choose(params["maintenance"], None, replace(host, has_psql=True))
    usable = params["maintenance"] == "auto" and _cron_is_usable(params, facts)
    return choose(params["maintenance"], cron_of(facts, usable), host)


def _cron_is_usable(params: dict[str, Any], facts: dict[str, Any]) -> bool:
    """Whether the login may schedule jobs; a superuser creates the extension where it is missing."""
    if not facts["cron_database"] or facts["is_superuser"]:
        return bool(facts["cron_database"])
    try:
        connection = _pg.open_connection({**params, "login_db": facts["cron_database"]})
    except _pg.ConnectionFailed:
        return False
    try:
        cur = _pg.cursor(connection)
        with _pg.transaction(cur, read_only=True):
            return bool(_pg.value(cur, CRON_USABLE))
    finally:
        connection.close()


def _plan_connections(
    params: dict[str, Any], seen: dict[str, dict[str, Any]], one_server: bool, plan: dict[str, Any]
) -> tuple[str, ...]:
    pools = Pools(params["litellm_connections"], params["openwebui_connections"], params["sync_connection_limit"])
    found = budget(seen, one_server, pools)
    plan["connection_limit"] = found.limit
    plan["sync_user"] |= seen["openwebui"]["roles"].get(params["sync_user"], {}).get("connection_limit") != found.limit
    return found.problems


def _user_differs(cur: Any, facts: dict[str, Any], name: str, password: str | None) -> bool:
    """Whether a login has to be created or altered. Where its password cannot be read, the connection tells later."""
    if not sync_user_fits(facts, name) or not password:
        return True
    return bool(facts["reads_passwords"]) and has_password(cur, name, password) is not True


def _owner_of(cur: Any, side: str, owner_role: str) -> Any:
    """What a side says of the installation; None where the login may not see it, or the owner role is still missing."""
    try:
        with _pg.savepoint(cur):
            return (read_source if side == "litellm" else read_target)(cur, owner_role)
    except _pg.PgError:
        return None


def _is_paused(cur: Any) -> bool | None:
    """Whether delivery is paused, None where the login may not see it."""
    try:
        with _pg.savepoint(cur):
            return bool(_pg.rows(cur, PAUSED))
    except _pg.PgError:
        return None


def _ownership(owners: dict[str, Any], take: bool) -> Decision | None:
    """Whose Open WebUI is to be, None where not both sides could be looked at."""
    source, target = owners.get("litellm"), owners.get("openwebui")
    return None if source is None or target is None else decide(source, target, take)


def _timer_user_differs(cur: Any, facts: dict[str, Any], asked: Asked, params: dict[str, Any]) -> bool:
    """At the socket, and in pg_cron's own processes, it logs in without a password."""
    if not params["timer_password"]:
        return not sync_user_fits(facts, asked.timer_user)
    return _user_differs(cur, facts, asked.timer_user, params["timer_password"])


def _is_upstream(cur: Any, params: dict[str, Any]) -> bool:
    """Whether there is something to take over from the upstream SQL scripts."""
    if not params["takeover"]:
        return False
    try:
        with _pg.savepoint(cur):
            found = source.look(cur, params["takeover_drop_tables"])
    except NotPlain:
        raise
    except (BridgeError, _pg.PgError):
        # The takeover itself says what is wrong, when the bridge's own triggers are there.
        return True
    return bool(found.is_live or (params["takeover_drop_tables"] and found.tables))


def _is_due(cur: Any, query: str) -> bool:
    """What a query says; yes where functions, tables or rights are missing, which the run is about to provide."""
    try:
        with _pg.savepoint(cur):
            return bool(_pg.value(cur, query))
    except _pg.PgError as error:
        if not (lacks_objects(error) or _pg.sqlstate(error) == _pg.INSUFFICIENT_PRIVILEGE):
            raise
        return True


def _connection_differs(connection: Any, params: dict[str, Any], one_server: bool) -> bool:
    """Whether the foreign server or the user mapping has to be changed, or does not work as it is."""
    if not params["target_host"] or not params["sync_password"]:
        return True
    try:
        wanted = server.Wanted(
            owner=params["owner"],
            options=server_options({**params, "synchronous_commit_off": one_server}),
            user=params["sync_user"],
            password=params["sync_password"],
            verify="connection",
            check_mode=True,
        )
        return server.present(connection, wanted).changed
    except (BridgeError, _pg.PgError):
        # bridge_target says what is wrong, after what can be set right has been.
        return True


def _wrong_values(params: dict[str, Any]) -> list[str]:
    """Values that the modules of later tasks would refuse when something has been changed already."""
    read = ArgumentSpecValidator(SPEC).validate(params["settings"] or {})
    found = [f"settings: {message}." for message in read.error_messages]
    if not found:
        found += _refused(lambda: checked(read.validated_parameters))
    if params["target_host"] is not None:
        found += _refused(lambda: server_options({**params, "synchronous_commit_off": False}))
    return found


def _refused(check: Callable[[], object]) -> list[str]:
    try:
        check()
    except BridgeError as error:
        return [f"{error}."]
    return []
