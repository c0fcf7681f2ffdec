# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs inside LiteLLM's own environment and lets LiteLLM's own functions judge; see kit.model_oracle.

On stdin one world a line: {"rows": {table: [row]}, "config_models": [deployment], "names": [model]}. On stdout a line
for each: {user_id: {way: [model]}}. Ways are role, team, user, key and, of the keys, those with a list of their own.

What is written here is in which order the proxy asks for a request with a key (user_api_key_auth.py and common_checks()
in auth_checks.py), and what it reads from the database before; what a list opens is LiteLLM's to say.
"""

from __future__ import annotations

import functools
import inspect
import json
import sys
import types
from collections.abc import Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

# auth_checks asks it for the database and the cache, and gets access groups by them; it takes ten seconds to import.
_SERVER = types.ModuleType("litellm.proxy.proxy_server")
vars(_SERVER).update(prisma_client=object(), user_api_key_cache=object(), proxy_logging_obj=None)
sys.modules[_SERVER.__name__] = _SERVER

import litellm  # noqa: E402
from litellm import Router  # noqa: E402
from litellm.proxy import _types as kinds  # noqa: E402
from litellm.proxy.auth import auth_checks  # noqa: E402
from litellm.proxy.auth.route_checks import RouteChecks  # noqa: E402

Row = Mapping[str, Any]
# Raises when it refuses.
Check = Callable[[Any, str], Coroutine[None, None, None]]
CHAT_ROUTES = ("/chat/completions", "/v1/chat/completions")
_UPSTREAM = {"model": "openai/any", "api_key": "unused", "api_base": "http://127.0.0.1:9"}


@dataclass(frozen=True)
class World:
    """LiteLLM as it runs on these rows."""

    router: Router
    users: dict[str, Row]
    teams: dict[str, Row]
    keys: list[Row]
    groups: dict[str, Row]
    projects: dict[str, Row]
    scopes: dict[tuple[str, str], list[str]]
    aliases: dict[str, dict[str, str]]
    names: list[str]
    known: dict[tuple[Any, ...], list[str]] = field(default_factory=dict)
    """What has been asked before: many are in one team, and have one list."""

    def ways(self, user: Row) -> dict[str, list[str]]:
        """What each of somebody's ways opens."""
        user_id = user["user_id"]
        found: dict[str, list[str]] = {"role": [], "team": [], "user": [], "key": [], "listed key": []}
        if (user["metadata"] or {}).get("scim_active") is False:
            return found
        if user["user_role"] == "proxy_admin":
            return {**found, "role": self.names}
        teams = [team for team in self.teams.values() if user_id in _members(team)]
        found["team"] = [name for team in teams for name in self._as_member(team, user_id)]
        found["user"] = self._with_list(tuple(user["models"] or []))
        for key in self.keys:
            if key["user_id"] == user_id and _is_usable(key):
                opened = self._by_key(key, user)
                found["key"] += opened
                found["listed key"] += opened if key["models"] else []
        return found

    def _as_member(self, team: Row, user_id: str) -> list[str]:
        """The same for all members of one scope."""
        case = (team["team_id"], tuple(self.scopes.get((user_id, team["team_id"]), ())))
        if case not in self.known:
            self.known[case] = self._served(team, lambda team, name: self._by_team(team, user_id, name), _routes(team))
        return self.known[case]

    def _with_list(self, models: tuple[str, ...]) -> list[str]:
        if models not in self.known:
            self.known[models] = [name for name in self.names if _allows(self._by_user, models, name)]
        return self.known[models]

    def _served(
        self, team: Row | None, opens: Check, routes: Mapping[str, str], own: Collection[str] = ()
    ) -> list[str]:
        """The models behind the names that a key may call: an alias of the team's is another model's name.

        `routes`: what router_settings replace, before any list is asked and again behind aliases, which asks once more.
        `own`: the key's own aliases, behind which is nothing that counts.
        """
        aliases = self.aliases.get(team["team_id"], {}) if team else {}
        found = set()
        for name in {*self.names, *aliases, *routes}.difference(own):
            asked = routes.get(name, name)
            if asked in own or not _allows(opens, team, asked):
                continue
            behind = aliases.get(asked, asked)
            served = routes.get(behind, behind)
            if behind not in own and (served == behind or _allows(opens, team, served)):
                found.add(served)
        return sorted(found.difference(own) & set(self.names))

    async def _by_team(self, team: Row, user_id: str, name: str) -> None:
        if team["blocked"]:
            raise PermissionError
        held = self._team(team)
        await _done(
            auth_checks.can_team_access_model(
                model=name, team_object=held, llm_router=self.router, team_model_aliases=self._aliases(team)
            )
        )
        await self._by_scope(team, user_id, name)

    async def _by_scope(self, team: Row, user_id: str, name: str) -> None:
        # Not in 1.77.3.
        check = getattr(auth_checks, "check_team_member_model_access", None)
        if check is None:
            return
        scope = self.scopes.get((user_id, team["team_id"]))
        membership = None
        if scope is not None:
            budget = kinds.LiteLLM_BudgetTable(allowed_models=scope)
            membership = kinds.LiteLLM_TeamMembership(
                user_id=user_id, team_id=team["team_id"], budget_id="any", litellm_budget_table=budget
            )
        await check(
            model=name,
            team_object=self._team(team),
            valid_token=kinds.UserAPIKeyAuth(user_id=user_id, team_id=team["team_id"]),
            llm_router=self.router,
            prisma_client=None,
            user_api_key_cache=None,
            proxy_logging_obj=None,
            team_membership=membership,
            team_membership_loaded=True,
        )

    async def _by_user(self, models: tuple[str, ...], name: str) -> None:
        held = kinds.LiteLLM_UserTable(user_id="any", models=list(models))
        await auth_checks.can_user_call_model(model=name, llm_router=self.router, user_object=held)

    def _by_key(self, key: Row, user: Row) -> list[str]:
        own = _unwrapped(key["aliases"])
        if key["team_id"] is None:
            return self._served(None, lambda _none, name: self._by_personal_key(key, user, name), _routes(key), own)
        team = self.teams.get(key["team_id"])
        # Newer versions refuse the keys of a team that is gone, older ones go on with what the key's view has of it.
        if team is None:
            return []
        return self._served(team, lambda team, name: self._by_team_key(key, team, name), _routes(key, team), own)

    async def _by_personal_key(self, key: Row, user: Row, name: str) -> None:
        await self._by_keys_own_list(key, None, name)
        await self._by_user(tuple(user["models"] or []), name)
        self._by_project(key, name)

    async def _by_team_key(self, key: Row, team: Row, name: str) -> None:
        await self._by_keys_own_list(key, team, name)
        if team["blocked"]:
            raise PermissionError
        held, token = self._team(team), self._token(key, team)
        try:
            await _done(
                auth_checks.can_team_access_model(
                    model=name, team_object=held, llm_router=self.router, team_model_aliases=self._aliases(team)
                )
            )
        except kinds.ProxyException:
            grants = getattr(auth_checks, "key_access_group_grants_model", None)
            if grants is None or not await grants(
                model=name, valid_token=token, team_object=held, llm_router=self.router
            ):
                raise
        await self._by_scope(team, key["user_id"], name)
        self._by_project(key, name)

    async def _by_keys_own_list(self, key: Row, team: Row | None, name: str) -> None:
        if _unwrapped(key["config"]) or "all-team-models" in (key["models"] or []):
            return
        await auth_checks.can_key_call_model(
            model=name, llm_model_list=None, valid_token=self._token(key, team), llm_router=self.router
        )

    def _by_project(self, key: Row, name: str) -> None:
        project = self.projects.get(key.get("project_id") or "")
        if project is None:
            return
        if project["blocked"]:
            raise PermissionError
        if project["models"]:
            held = kinds.LiteLLM_ProjectTable(
                project_id=project["project_id"], team_id=project["team_id"], models=project["models"]
            )
            auth_checks.can_project_access_model(model=name, project_object=held, llm_router=self.router)

    def _team(self, team: Row) -> Any:
        groups = {"access_group_ids": team["access_group_ids"] or []} if "access_group_ids" in team else {}
        return kinds.LiteLLM_TeamTable(team_id=team["team_id"], models=team["models"] or [], **groups)

    def _aliases(self, team: Row | None) -> dict[str, str] | None:
        return self.aliases.get(team["team_id"]) if team else None

    def _token(self, key: Row, team: Row | None) -> Any:
        groups = {"access_group_ids": key["access_group_ids"] or []} if "access_group_ids" in key else {}
        return kinds.UserAPIKeyAuth(
            token=key["token"],
            user_id=key["user_id"],
            team_id=key["team_id"],
            models=key["models"] or [],
            team_models=(team["models"] or []) if team else [],
            team_model_aliases=self._aliases(team),
            aliases=_unwrapped(key["aliases"]),
            **groups,
        )


def _allows(check: Check, holder: Any, name: str) -> bool:
    """Whether LiteLLM would go on with the request. A list with an invalid pattern fails it with another exception."""
    try:
        check(holder, name).send(None)
    except StopIteration:
        return True
    except Exception:
        return False
    raise AssertionError("a decision waits for something: give it what it would read from the database")


async def _done(result: Any) -> Any:
    """What was a plain function in 1.77.3 is a coroutine now."""
    return await result if inspect.isawaitable(result) else result


def _is_usable(key: Row) -> bool:
    """user_api_key_auth.py, and agents' keys, which are no person's."""
    expires = key["expires"] and datetime.fromisoformat(key["expires"]).replace(tzinfo=UTC)
    if key["blocked"] or (expires and expires < datetime.now(UTC)):
        return False
    if key["team_id"] == "litellm-dashboard" or key.get("agent_id"):
        return False
    return any(_may_call(route, key) for route in CHAT_ROUTES)


def _may_call(route: str, key: Row) -> bool:
    token = kinds.UserAPIKeyAuth(allowed_routes=key["allowed_routes"])
    try:
        return bool(RouteChecks.is_virtual_key_allowed_to_call_route(route=route, valid_token=token))
    except Exception:
        return False


def _routes(*holders: Row) -> dict[str, str]:
    """Name to what the first of these that has router_settings sends it to; not in 1.77.3."""
    settings = next(filter(None, (_unwrapped(each.get("router_settings")) for each in holders)), {})
    sent = settings.get("model_group_alias")
    if not sent:
        return {}
    from litellm.litellm_core_utils import routing_common_utils

    found = {name: routing_common_utils.resolve_model_group_alias(sent, name) for name in sent}
    return {name: target for name, target in found.items() if target}


def _members(team: Row) -> set[str]:
    entries = team["members_with_roles"]
    return {each["user_id"] for each in entries if each.get("user_id")} if isinstance(entries, list) else set()


def _unwrapped(value: Any) -> dict[str, Any]:
    """LiteLLM's readers take a JSON column and a string of JSON in it alike."""
    found = json.loads(value) if isinstance(value, str) else value
    return found if isinstance(found, dict) else {}


def world(rows: Mapping[str, list[Row]], config_models: list[Row], names: list[str]) -> World:
    settings = {row["param_name"]: _unwrapped(row["param_value"]) for row in rows["LiteLLM_Config"]}
    deployments = [*config_models, *rows["LiteLLM_ProxyModelTable"]]
    router = Router(
        model_list=[
            {
                "model_name": row["model_name"],
                "litellm_params": _UPSTREAM,
                "model_info": {**_unwrapped(row["model_info"]), "id": str(number)},
            }
            for number, row in enumerate(deployments)
        ],
        model_group_alias=settings.get("router_settings", {}).get("model_group_alias") or {},
    )
    budgets = {row["budget_id"]: row.get("allowed_models") or [] for row in rows["LiteLLM_BudgetTable"]}
    maps = {row["id"]: _unwrapped(row["aliases"]) for row in rows["LiteLLM_ModelTable"]}
    groups = {row["access_group_id"]: row for row in rows.get("LiteLLM_AccessGroupTable", [])}
    _GROUPS.clear()
    _GROUPS.update(groups)
    return World(
        router,
        {row["user_id"]: row for row in rows["LiteLLM_UserTable"]},
        {row["team_id"]: row for row in rows["LiteLLM_TeamTable"]},
        rows["LiteLLM_VerificationToken"],
        groups,
        {row["project_id"]: row for row in rows.get("LiteLLM_ProjectTable", [])},
        {(row["user_id"], row["team_id"]): budgets.get(row["budget_id"], []) for row in rows["LiteLLM_TeamMembership"]},
        {row["team_id"]: maps.get(row["model_id"], {}) for row in rows["LiteLLM_TeamTable"]},
        names,
    )


_GROUPS: dict[str, Row] = {}


async def _access_group(access_group_id: str, **_more: Any) -> Any:
    """In place of the cache and the database; LiteLLM's caller takes an exception for a group that is not there."""
    return kinds.LiteLLM_AccessGroupTable(**_GROUPS[access_group_id])


def main() -> None:
    auth_checks.get_access_object = _access_group
    # The same name is looked up again for each list with a wildcard.
    auth_checks.get_llm_provider = functools.lru_cache(None)(auth_checks.get_llm_provider)
    litellm.suppress_debug_info = True
    for line in sys.stdin:
        found = world(**json.loads(line))
        print(json.dumps({user_id: found.ways(user) for user_id, user in found.users.items()}), flush=True)


if __name__ == "__main__":
    main()
