# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random LiteLLM databases, and what LiteLLM's own functions say who may call which model there.

A world is small, so that its lists meet each other, and odd: names that are patterns to some list, groups that are
called like models, teams that are gone. Rows have all columns that any version has; `fitting` leaves out the others.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from random import Random
from typing import Any

from psycopg2.extras import Json

from kit import litellm_proxy
from kit.pairs import Pair, Session

Row = dict[str, Any]
# Who may call what, as (user, model).
Pairs = frozenset[tuple[str, str]]
# User to way to the models that it opens.
Ways = Mapping[str, Mapping[str, Sequence[str]]]

# What counts by each policy but `assigned`.
WAYS = {
    "effective": ("role", "team", "user", "key"),
    "teams": ("role", "team"),
    "user": ("role", "user"),
    "keys": ("role", "key"),
}
_TOOL = Path(__file__).with_name("model_oracle_tool.py")
_PAST, _FUTURE = "2020-01-01T00:00:00", "2100-01-01T00:00:00"
# In the order in which foreign keys want them.
TABLES = (
    "LiteLLM_BudgetTable",
    "LiteLLM_ModelTable",
    "LiteLLM_ProxyModelTable",
    "LiteLLM_Config",
    "LiteLLM_AccessGroupTable",
    "LiteLLM_UserTable",
    "LiteLLM_TeamTable",
    "LiteLLM_ProjectTable",
    "LiteLLM_TeamMembership",
    "LiteLLM_VerificationToken",
)
# What LiteLLM's cost map says of names without a provider in front.
PROVIDERS = {"gpt-4o": "openai", "gpt-4o-mini": "openai", "claude-sonnet-4-20250514": "anthropic"}
_MODELS = (
    *PROVIDERS,
    *(
        "openai/m1",
        "openai/m2",
        "azure/gpt.4",
        "azure/gptx4",
        "bedrock/a+b",
        "bedrock/aab",
        "mistral/large",
        "xai/grok",
    ),
    *(
        "m1",
        "m2",
        "m.1",
        "mx1",
        "m[12]",
        "a+b",
        "aab",
        "a|b",
        "(x)",
        "x",
        "m1$",
        "^m1",
        "unknown/m1",
        "grp-c",
        "M1",
        "mé",
    ),
)
# No two of them are equally specific for one name: which counts then depends on the order in which LiteLLM reads them.
_WILDCARDS = ("mistral/*", "mistral/l*", "mistral/*-2", "open*/m", "openai/*", "*")
_EXPANDED = ("mistral/large-2", "mistral/small", "openai/m3")
_GROUPS = ("grp-a", "grp-b", "grp-c")
_PATTERNS = (
    *(
        "*",
        "**",
        "m*",
        "*1",
        "*/m1",
        "openai/*",
        "openai/gpt-4o*",
        "openai/gpt-*",
        "anthropic/*",
        "gpt-*",
        "azure/gpt.4*",
    ),
    *(
        "bedrock/a+*",
        "m[12]*",
        "a|b*",
        "a|*",
        "(x)*",
        "m?*",
        "^m*",
        "m1$*",
        "m\\d*",
        "m{1}*",
        "unknown/*",
        "grp-*",
        "M*",
    ),
)
# These are no regular expressions, and fail the request.
_INVALID = ("m[1*", "(x*", "+*")
_WORDS = ("all-proxy-models", "all-team-models", "no-default-models")
_ROUTES = (
    *(["llm_api_routes"], ["openai_routes"], ["/chat/completions"], ["/v1/chat/completions"], ["/*"], ["/chat/*"]),
    *(["management_routes"], ["info_routes"], ["/embeddings"], ["/embeddings", "/chat/completions"]),
)


@dataclass(frozen=True)
class World:
    """`rows` by table; what LiteLLM's configuration file has besides, and what the bridge is told of it."""

    rows: Mapping[str, Sequence[Row]]
    config_models: Sequence[Row]
    extra_models: Sequence[Row]

    @property
    def names(self) -> list[str]:
        """What a key without a team can call, and so anybody could see: where not all deployments are blocked."""
        deployed: dict[str, list[bool]] = {}
        for row in self.rows["LiteLLM_ProxyModelTable"]:
            if "team_id" not in str(row["model_info"]):
                deployed.setdefault(row["model_name"], []).append(row.get("blocked") is True)
        states = {name: not all(blocked) for name, blocked in deployed.items()}
        for row in self.extra_models:
            states.setdefault(row["name"], True)
        routes = [name for name, is_open in states.items() if "*" in name and is_open]
        aliases = {
            alias: target
            for row in self.rows["LiteLLM_Config"]
            for alias, target in _aliases(row["param_value"]).items()
            if states.get(target, any(_is_route_of(target, each) for each in routes))
        }
        return sorted({*aliases, *(name for name, is_open in states.items() if is_open and "*" not in name)})


@dataclass
class _Maker:
    """One world in the making."""

    random: Random
    people: int
    rows: dict[str, list[Row]] = field(default_factory=lambda: {table: [] for table in TABLES})
    config_models: list[Row] = field(default_factory=list)
    extra_models: list[Row] = field(default_factory=list)

    def one(self, *choices: Any) -> Any:
        return self.random.choice(choices)

    def often(self, share: float) -> bool:
        return self.random.random() < share

    def some(self, choices: Sequence[str], most: int) -> list[str]:
        return self.random.sample(choices, min(len(choices), self.random.randint(0, most)))

    def entry(self) -> str:
        pools = (
            _MODELS,
            _PATTERNS,
            _GROUPS,
            ("alias-1", "alias-2", "alias-3", "nobody-knows", *_EXPANDED),
            _WORDS,
            _INVALID,
        )
        (pool,) = self.random.choices(pools, (45, 21, 16, 11, 5, 2))
        return self.random.choice(pool)

    def list_(self, empty: float = 0.2) -> list[str]:
        """Entries of a list as administrators write them."""
        if self.often(empty):
            return []
        return list(dict.fromkeys(self.entry() for _ in range(self.random.randint(1, 4))))

    def teams_list(self) -> list[str]:
        """As list_(), without what the bridge opens less of than LiteLLM."""
        # Where a pattern fails, all-team-models opens nothing in the bridge; in LiteLLM, a group with a model's name.
        entries = self.list_()
        return [entry for entry in entries if entry not in _INVALID] if "all-team-models" in entries else entries

    def make(self) -> World:
        self.deployments()
        self.access_groups()
        users = [f"u{number}" for number in range(self.people)]
        teams = [f"t{number}" for number in range(max(3, self.people // 5))]
        self.budgets()
        for team in teams:
            # Somebody is in none.
            self.team(team, users[: len(users) * 5 // 6])
        for user in users:
            self.user(user, teams)
        self.projects(teams)
        for number in range(self.people * 3 // 2):
            self.key(f"key{number}", users, teams)
        self.routes()
        return World(self.rows, self.config_models, self.extra_models)

    def deployments(self) -> None:
        """Models, aliases and what only the configuration knows."""
        known = self.random.sample(_MODELS, len(_MODELS) * 4 // 5)
        for number, name in enumerate(known):
            for copy in range(self.one(1, 1, 1, 2)):
                self.deployment(f"d{number}-{copy}", name, self.often(0.15))
        routes = self.some(_WILDCARDS, 3)
        for number, name in enumerate(routes):
            self.deployment(f"w{number}", name, self.often(0.2))
        # A team's own: under its public name nobody else reaches it.
        info = {"team_id": "t0", "team_public_model_name": "private", "access_groups": ["grp-a"]}
        self.add(
            "LiteLLM_ProxyModelTable", model_id="own", model_name="model_name_t0_x", model_info=info, blocked=False
        )
        self.config(set(known), routes)
        self.router_aliases()

    def deployment(self, id_: str, name: str, blocked: bool) -> None:
        info: Any = self.one(
            {"access_groups": self.some(_GROUPS, 2)}, {"access_groups": self.some(_GROUPS, 2)}, {}, None
        )
        if info is not None and self.often(0.3):
            # LiteLLM also writes JSON as a string of JSON.
            info = json.dumps(info)
        self.add("LiteLLM_ProxyModelTable", model_id=id_, model_name=name, model_info=info, blocked=blocked)

    def config(self, known: set[str], routes: list[str]) -> None:
        """What only the configuration and wildcard deployments serve; and the providers of the database's names."""
        for name, provider in PROVIDERS.items():
            if name in known:
                self.extra_models.append({"name": name, "access_groups": [], "provider": provider})
        for name in _MODELS:
            if name not in known and self.often(0.5):
                groups = self.some(_GROUPS, 1)
                self.config_models.append({"model_name": name, "model_info": {"access_groups": groups}})
                self.extra_models.append({"name": name, "access_groups": groups, "provider": PROVIDERS.get(name)})
        expanded = [name for name in _EXPANDED if any(_is_route_of(name, route) for route in routes)]
        self.extra_models += [{"name": name} for name in self.some(expanded, 3)]

    def router_aliases(self) -> None:
        # Nobody tells the bridge the provider of a name that it does not know.
        unknown = set(PROVIDERS) - {row["name"] for row in self.extra_models}
        choices = [name for name in (*_MODELS, "nobody-knows") if name not in unknown]
        targets = {f"alias-{number}": self.one(*choices) for number in range(1, 4)}
        found: dict[str, Any] = {
            alias: {"model": target, "hidden": self.one(True, False)} if self.often(0.5) else target
            for alias, target in targets.items()
        }
        value: Any = {"model_group_alias": found}
        self.add("LiteLLM_Config", param_name="router_settings", param_value=self.one(value, json.dumps(value)))

    def access_groups(self) -> None:
        for number in range(3):
            self.add(
                "LiteLLM_AccessGroupTable",
                access_group_id=f"uag{number}",
                access_group_name=f"Group {number}",
                # In what order LiteLLM compares these is a matter of chance, and so is what fails.
                access_model_names=[entry for entry in self.list_() if entry not in _INVALID],
                assigned_team_ids=self.some([f"t{team}" for team in range(self.people // 5)], 12),
                assigned_key_ids=self.some([f"key{key}" for key in range(8)], 4),
            )

    def budgets(self) -> None:
        for number in range(5):
            self.add("LiteLLM_BudgetTable", budget_id=f"b{number}", allowed_models=self.list_(0.25))

    def is_only_routed(self, name: str) -> bool:
        """Whether nothing but a deployment with a star serves a name."""
        names = {row["model_name"] for row in self.rows["LiteLLM_ProxyModelTable"]}
        names |= {row["name"] for row in self.extra_models}
        return name not in names and any("*" in each and _is_route_of(name, each) for each in names)

    def team(self, id_: str, users: list[str]) -> None:
        members: Any = [{"role": "user", "user_id": user} for user in self.some(users, len(users) // 2)]
        if self.often(0.1):
            members += [{"role": "admin", "user_email": "x@example.com"}, {"role": "user", "user_id": "nobody"}]
        model_id = None
        if self.often(0.3):
            model_id = len(self.rows["LiteLLM_ModelTable"]) + 1
            # In the bridge, a name that is no model's has not the access groups of a deployment with a star.
            choices = [name for name in (*_MODELS, "public") if not self.is_only_routed(name)]
            aliases: Any = {self.one(*choices): self.one(*_MODELS, *_EXPANDED) for _ in range(2)}
            self.add("LiteLLM_ModelTable", id=model_id, aliases=self.one(aliases, json.dumps(aliases)))
        self.add(
            "LiteLLM_TeamTable",
            team_id=id_,
            members_with_roles=members or self.one([], {}),
            models=self.teams_list(),
            blocked=self.often(0.15),
            access_group_ids=self.some(("uag0", "uag1", "uag2", "gone"), 2),
            model_id=model_id,
            # A budget for members without their own scopes only those whose row names it.
            metadata={"team_member_budget_id": "b0"} if self.often(0.3) else {},
        )
        for member in members:
            if member.get("user_id") and self.often(0.5):
                budget = self.one(None, "b0", "b1", "b2", "b3", "b4")
                self.add("LiteLLM_TeamMembership", user_id=member["user_id"], team_id=id_, budget_id=budget)

    def user(self, id_: str, teams: list[str]) -> None:
        joined = [row["team_id"] for row in self.rows["LiteLLM_TeamTable"] if id_ in str(row["members_with_roles"])]
        metadata = self.one({}, {}, {}, {}, {"scim_active": True}, {"scim_active": False})
        self.add(
            "LiteLLM_UserTable",
            user_id=id_,
            user_email=f"{id_}@example.com",
            user_role=self.one(*["internal_user"] * 12, None, "proxy_admin_viewer", "proxy_admin"),
            models=["no-default-models"] if self.often(0.2) else self.list_(0.35),
            # A mirror of the teams' lists, and not always right.
            teams=joined if self.often(0.8) else self.some([*teams, "gone"], 2),
            metadata=metadata,
        )

    def projects(self, teams: list[str]) -> None:
        for number in range(3):
            self.add(
                "LiteLLM_ProjectTable",
                project_id=f"p{number}",
                team_id=self.one(None, *teams),
                models=self.list_(),
                blocked=self.often(0.2),
            )

    def key(self, token: str, users: list[str], teams: list[str]) -> None:
        aliases = {self.one(*_MODELS, "alias-1"): self.one(*_MODELS) for _ in range(self.one(*[0] * 5, 1, 2))}
        self.add(
            "LiteLLM_VerificationToken",
            token=token,
            user_id=self.one(*users, None),
            team_id=self.one(*[None] * len(teams), *teams, "gone", "litellm-dashboard"),
            models=self.list_(0.35),
            blocked=self.one(None, None, None, False, True),
            expires=self.one(None, None, None, _FUTURE, _PAST),
            allowed_routes=self.one(*_ROUTES) if self.often(0.25) else [],
            access_group_ids=self.some(("uag0", "uag1", "uag2", "gone"), 2) if self.often(0.4) else [],
            project_id=self.one("p0", "p1", "p2") if self.often(0.2) else None,
            agent_id="agent" if self.often(0.05) else None,
            config={},
            aliases=self.one(aliases, json.dumps(aliases)),
        )

    def routes(self) -> None:
        """Settings of teams and keys that send names elsewhere; never twice: by a detour the bridge opens nothing."""
        for row in (*self.rows["LiteLLM_TeamTable"], *self.rows["LiteLLM_VerificationToken"]):
            names = self.random.sample((*_MODELS, "alias-1", "public"), 6)
            pairs = zip(names[:3], names[3:], strict=True)
            sent = {name: {"model": target} if self.often(0.3) else target for name, target in pairs}
            settings: Any = self.one({}, {}, None, {"num_retries": 1}, {"model_group_alias": sent})
            row["router_settings"] = json.dumps(settings) if self.often(0.2) else settings

    def add(self, table: str, **row: Any) -> None:
        self.rows[table].append(row)


def world(number: int, people: int) -> World:
    """The same number makes the same world."""
    return _Maker(Random(number), people).make()


def fitting(world: World, columns: Mapping[str, set[str]]) -> World:
    """Without the tables and columns that LiteLLM's version has not got yet."""
    rows = {
        table: [{name: value for name, value in row.items() if name in columns[table]} for row in world.rows[table]]
        for table in TABLES
        if columns.get(table)
    }
    return replace(world, rows=rows)


def columns(pair: Pair) -> dict[str, set[str]]:
    """Of the tables that a world has rows of."""
    found = pair.litellm.rows(
        "SELECT table_name, array_agg(column_name::text) AS names FROM information_schema.columns "
        "WHERE table_schema = 'public' AND table_name = ANY (%s) GROUP BY 1",
        [list(TABLES)],
    )
    return {row["table_name"]: set(row["names"]) for row in found}


@contextmanager
def written(pair: Pair, world: World) -> Iterator[Session]:
    """A transaction in which LiteLLM's tables, empty before, hold a world; nothing of it is delivered or stays."""
    session = pair.litellm_admin
    session.run("BEGIN")
    # As whatever calls the bridge's functions has it.
    session.run("SET LOCAL jit = off")
    try:
        session.run(
            "UPDATE user_bridge.settings SET model_access = true, extra_models = %s", [Json(world.extra_models)]
        )
        for table, rows in world.rows.items():
            for row in rows:
                insert(session, table, row)
        session.run("SELECT user_bridge.refresh_entities()")
        yield session
    finally:
        session.run("ROLLBACK")


def insert(session: Session, table: str, row: Row) -> None:
    """Of a world."""
    values = {**_required(table), **{name: adapted(name, value) for name, value in row.items()}}
    names, marks = ", ".join(f'"{name}"' for name in values), ", ".join(["%s"] * len(values))
    session.run(f'INSERT INTO "{table}" ({names}) VALUES ({marks})', list(values.values()))


def catalogue(session: Session) -> list[str]:
    """The models that the bridge knows, and that are not blocked."""
    return sorted(row["model"] for row in session.rows("SELECT model FROM user_bridge.model_catalog WHERE shown"))


def visible(session: Session, world: World, policy: str) -> Pairs:
    """Who may see what in Open WebUI, when everything that the bridge wants is there."""
    session.run("UPDATE user_bridge.settings SET model_policy = %s", [policy])
    users = {row["user_id"]: row for row in world.rows["LiteLLM_UserTable"]}
    session.run(
        "SELECT user_bridge.record_user_models(array_agg(d.entity_id), array_agg(d.desired))"
        " FROM user_bridge.desired_states(%s, %s) AS d",
        [["user_models"] * len(users), list(users)],
    )
    own = _desired(session, "user_models", users)
    sets = _desired(session, "model_set", {each for wanted in own.values() for each in wanted["sets"]})
    seen = {(user, model) for user, wanted in own.items() for model in wanted["models"]}
    seen |= {(user, model) for user, wanted in own.items() for each in wanted["sets"] for model in sets[each]["models"]}
    members = {row["team_id"]: _members(row) for row in world.rows["LiteLLM_TeamTable"]}
    for team, wanted in _desired(session, "team_models", members).items():
        for holder in wanted["holders"]:
            within = members[team] if holder["group"] is None else holder["members"]
            # The account of somebody who is disabled sees nothing, whatever group it is in.
            seen |= {
                (user, model) for user in within if not _is_disabled(users.get(user)) for model in holder["models"]
            }
    names = set(world.names)
    return frozenset((user, model) for user, model in seen if model in names)


def _desired(session: Session, entity_type: str, ids: Iterable[str]) -> dict[str, Any]:
    rows = session.rows(f"SELECT entity_id, desired FROM user_bridge.desired_{entity_type}(%s)", [list(ids)])
    return {row["entity_id"]: row["desired"] for row in rows if row["desired"] is not None}


def _members(team: Row) -> set[str]:
    entries = team["members_with_roles"]
    return {each["user_id"] for each in entries if "user_id" in each} if isinstance(entries, list) else set()


def _is_route_of(name: str, deployment: str) -> bool:
    """LiteLLM's router compares the beginning only."""
    return fnmatchcase(name, f"{deployment}*")


def _is_disabled(user: Row | None) -> bool:
    return user is None or user["metadata"].get("scim_active") is False


def assigned(world: World, ways: Ways) -> Pairs:
    """What bridge_model_policy `assigned` means: of what LiteLLM lets people call, what somebody has said they may."""
    members = {user for row in world.rows["LiteLLM_TeamTable"] for user in _members(row)}
    keys = world.rows["LiteLLM_VerificationToken"]
    listed = {key["user_id"] for key in keys if key["models"] and key["team_id"] != "litellm-dashboard"}
    by_list = {
        row["user_id"]
        for row in world.rows["LiteLLM_UserTable"]
        if row["models"] or row["user_id"] not in members | listed
    }
    own = {pair for pair in pairs(ways, "user") if pair[0] in by_list}
    return pairs(ways, "role", "team", "listed key") | own


def expected(world: World, ways: Ways, policy: str) -> Pairs:
    """Who may see what by a policy."""
    return assigned(world, ways) if policy == "assigned" else pairs(ways, *WAYS[policy])


def _aliases(router_settings: Any) -> dict[str, str]:
    """Visible alias to what it stands for."""
    settings = json.loads(router_settings) if isinstance(router_settings, str) else router_settings
    found = {
        alias: target if isinstance(target, dict) else {"model": target, "hidden": False}
        for alias, target in settings["model_group_alias"].items()
    }
    return {alias: target["model"] for alias, target in found.items() if not target["hidden"]}


_JSON_COLUMNS = {"aliases", "config", "members_with_roles", "metadata", "model_info", "param_value", "router_settings"}


def adapted(name: str, value: Any) -> Any:
    """As a column takes it."""
    return Json(value) if name in _JSON_COLUMNS and value is not None else value


def _required(table: str) -> Row:
    """What the world has no use for and the table insists on."""
    if table in ("LiteLLM_Config", "LiteLLM_TeamMembership"):
        return {}
    now = {"updated_at": "2026-01-01"}
    if table in ("LiteLLM_UserTable", "LiteLLM_TeamTable", "LiteLLM_VerificationToken", "LiteLLM_AccessGroupTable"):
        return now
    by = {**now, "created_by": "tests", "updated_by": "tests"}
    return {**by, "litellm_params": Json({})} if table == "LiteLLM_ProxyModelTable" else by


@contextmanager
def judge(litellm: str) -> Iterator[Judge]:
    """LiteLLM's own functions, for the length of a with block."""
    python = litellm_proxy.litellm_python(litellm)
    process = subprocess.Popen(
        # -P: kit has a module litellm, too.
        [python, "-P", _TOOL],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"LC_ALL": "C.UTF-8", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"},
    )
    try:
        yield Judge(process)
    finally:
        process.kill()
        process.communicate()


@dataclass(frozen=True)
class Judge:
    """LiteLLM in a process of its own."""

    process: subprocess.Popen[str]

    def ways(self, world: World) -> Ways:
        """How each user of a world may call each of its models."""
        assert self.process.stdin is not None and self.process.stdout is not None
        asked = {"rows": world.rows, "config_models": world.config_models, "names": world.names}
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, "LiteLLM's process has ended; what it said is above"
        found: Ways = json.loads(answer)
        return found


def pairs(ways: Ways, *of: str) -> Pairs:
    """Who may call what by any of these ways."""
    return frozenset((user, model) for user, found in ways.items() for way in of for model in found[way])
