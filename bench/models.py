# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rights on models, as they are by default: what they add to LiteLLM's writes and to a drain, and how long all take."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack

from bench.place import SETTINGS, Place
from bench.table import Figure, median
from kit.bridge import change_settings, drainer, install_bridge
from kit.cpu import microseconds
from kit.pairs import SIDES, Pair, Session, pair

USERS, TEAMS, MODELS = 10_000, 200, 222
QUEUED = 10_000
ROUNDS, WARM_UP = 200, 30
CPU = "of both backends and the drainer, whatever else the machine does"
Write = Callable[[Session, int], None]
_VALUES = {"users": USERS, "teams": TEAMS, "models": MODELS}
# Teams of some hundreds, lists of every form, some scopes, keys of all kinds.
_WORLD = (
    "SELECT setseed(0.42)",
    """INSERT INTO "LiteLLM_ProxyModelTable" (model_id, model_name, litellm_params, model_info, created_by, updated_by)
       SELECT 'm' || n, (ARRAY['openai/', 'azure/', 'bedrock/', ''])[1 + n %% 4] || 'model-' || n, '{}',
              jsonb_build_object('access_groups', CASE WHEN n %% 3 = 0 THEN ARRAY['ag' || n %% 25] ELSE '{}' END),
              'x', 'x'
         FROM generate_series(1, %(models)s) AS n""",
    """INSERT INTO "LiteLLM_AccessGroupTable" (access_group_id, access_group_name, access_model_names, updated_at)
       SELECT 'uag' || n, 'Unified ' || n, array(
              SELECT 'model-' || 3 + 4 * k FROM generate_series(n, n + 8) AS k), now()
         FROM generate_series(1, 40) AS n""",
    """INSERT INTO "LiteLLM_UserTable" (user_id, user_email, user_alias, user_role, models, teams)
       SELECT 'u' || n, 'u' || n || '@example.com', 'User ' || n,
              CASE WHEN n %% 500 = 0 THEN 'proxy_admin' ELSE 'internal_user' END,
              CASE WHEN n %% 100 < 40 THEN '{}' WHEN n %% 100 < 65 THEN ARRAY['no-default-models']
                   WHEN n %% 100 < 80 THEN ARRAY['model-3', 'openai/model-4']
                   WHEN n %% 100 < 88 THEN array(SELECT 'model-' || 3 + 4 * k
                                                       FROM generate_series(n %% 40, n %% 40 + 4) AS k)
                   WHEN n %% 100 < 94 THEN ARRAY['ag' || n %% 25] WHEN n %% 100 < 98 THEN ARRAY['azure/*']
                   ELSE ARRAY['all-proxy-models'] END,
              array(SELECT DISTINCT 't' || 1 + floor(random() * %(teams)s + n * 0)::integer
                      FROM generate_series(1, n %% 11) AS k)
         FROM generate_series(1, %(users)s) AS n""",
    """INSERT INTO "LiteLLM_TeamTable" (team_id, team_alias, members_with_roles, models, access_group_ids, blocked)
       SELECT 't' || n, 'Team ' || n, coalesce(m.list, '[]'),
              CASE n %% 10 WHEN 0 THEN '{}' WHEN 1 THEN ARRAY['all-proxy-models']
                   WHEN 2 THEN ARRAY['openai/*', 'azure/model-1']
                   WHEN 3 THEN ARRAY['ag' || n %% 25] WHEN 4 THEN ARRAY['no-default-models']
                   WHEN 5 THEN ARRAY['azure/*', 'all-team-models']
                   ELSE array(SELECT 'model-' || 3 + 4 * k FROM generate_series(n %% 10, n %% 10 + 40) AS k) END,
              CASE WHEN n %% 10 IN (4, 7) THEN ARRAY['uag' || 1 + n %% 40] ELSE '{}' END, n %% 50 = 0
         FROM generate_series(1, %(teams)s) AS n
         LEFT JOIN (SELECT t.id, jsonb_agg(jsonb_build_object('role', 'user', 'user_id', u.user_id)) AS list
                      FROM "LiteLLM_UserTable" AS u, unnest(u.teams) AS t(id) GROUP BY t.id) AS m ON m.id = 't' || n""",
    """INSERT INTO "LiteLLM_BudgetTable" (budget_id, allowed_models, created_by, updated_by)
       SELECT 's' || n, CASE n %% 3 WHEN 0 THEN ARRAY['openai/*'] WHEN 1 THEN ARRAY['model-3'] ELSE ARRAY['ag3'] END,
              'x', 'x'
         FROM generate_series(1, 300) AS n""",
    """INSERT INTO "LiteLLM_TeamMembership" (user_id, team_id, budget_id)
       SELECT u.user_id, t.id, CASE WHEN right(t.id, -1)::integer %% 8 = 0 AND random() < 0.2
                                    THEN 's' || 1 + floor(random() * 300)::integer END
         FROM "LiteLLM_UserTable" AS u, unnest(u.teams) AS t(id)""",
    """INSERT INTO "LiteLLM_VerificationToken" (token, user_id, team_id, key_alias, models, blocked, expires)
       SELECT 'token ' || n, 'u' || 1 + floor(random() * %(users)s)::integer,
              CASE WHEN n %% 4 = 0 THEN 't' || 1 + floor(random() * %(teams)s)::integer END, 'Key ' || n,
              CASE WHEN n %% 7 = 0 THEN ARRAY['model-3', 'bedrock/model-6'] ELSE '{}' END,
              CASE WHEN n %% 20 = 0 THEN true END, CASE WHEN n %% 20 = 1 THEN now() - interval '1 day' END
         FROM generate_series(1, %(users)s * 3 / 2) AS n""",
    "ANALYZE",
)
_USER = """INSERT INTO "LiteLLM_UserTable" (user_id, user_email, user_alias, user_role)
VALUES (%(id)s, %(id)s || '@example.com', 'New', 'internal_user')"""
_JOIN = """UPDATE "LiteLLM_TeamTable" SET members_with_roles = members_with_roles
 || jsonb_build_array(jsonb_build_object('role', 'user', 'user_id', %(id)s::text)) WHERE team_id = 't6'"""
_KEY = """INSERT INTO "LiteLLM_VerificationToken" (token, user_id, key_alias, models)
VALUES ('token ' || %(id)s, %(id)s, 'Key', '{model-3}')"""
_LIST = "UPDATE \"LiteLLM_TeamTable\" SET models = %(models)s WHERE team_id = 't36'"
_MANY = """INSERT INTO "LiteLLM_UserTable" (user_id, user_email, user_alias, user_role)
SELECT 'queued' || n, 'queued' || n || '@example.com', 'Queued', 'internal_user'
  FROM generate_series(1, %(queued)s) AS n"""


def models(where: Place) -> list[Figure]:
    """Three LiteLLMs of the same people: without the bridge, with it, and with rights on models as well."""
    with ExitStack() as stack:
        pairs = {name: stack.enter_context(pair(where.cluster)) for name in ("bare", "off", "on")}
        for name, each in pairs.items():
            _fill(each, name != "bare")
        figures = [_everything(pairs["on"])]
        for each in pairs.values():
            each.litellm_admin.run("VACUUM ANALYZE")
            each.openwebui_admin.run("VACUUM ANALYZE")
        for name in ("off", "on"):
            stack.enter_context(drainer(pairs[name]))
        figures += [figure for what, write, bound in _writes() for figure in _added(pairs, what, write, bound)]
    return figures


def drains(where: Place) -> list[Figure]:
    """Users whom nobody has delivered yet, and then their rights."""
    figures = []
    for word, access in (("accounts", False), ("accounts and rights on models", True)):
        with pair(where.cluster) as each:
            _fill(each, True)
            if access:
                _everything(each)
            change_settings(each, delivery="queued")
            each.litellm.run(_MANY, {"queued": QUEUED})
            each.litellm_admin.run("VACUUM ANALYZE")
            session = each.litellm_admin
            before = microseconds([session.pid, *_delivering(each)])
            seconds = _drain(each)
            computed = (microseconds([session.pid, *_delivering(each)]) - before) / QUEUED
            what = f"drain of {QUEUED:,} queued users, {word}"
            figures += [
                Figure(what, QUEUED / seconds, "users/s", 5000, ">=", note="drain(1000), password none"),
                Figure(f"{what}: CPU of each", computed, "us", note="of both backends"),
            ]
    return figures


def _fill(each: Pair, bridged: bool) -> None:
    for statement in _WORLD:
        each.litellm.run(statement, _VALUES)
    if bridged:
        install_bridge(each, {**SETTINGS, "model_access": False})
        each.litellm_admin.run("SELECT user_bridge.enqueue_everything()")
        _drain(each)


def _drain(each: Pair) -> float:
    started = time.perf_counter()
    while each.litellm_admin.rows("SELECT FROM user_bridge.drain(1000)"):
        pass
    return time.perf_counter() - started


def _everything(each: Pair) -> Figure:
    """As a deployment queues it that switches rights on, without what is there already."""
    for side in SIDES:
        each.superuser(side).run("UPDATE user_bridge.settings SET model_access = true")
    started = time.perf_counter()
    each.litellm_admin.run(
        "SELECT user_bridge.enqueue_everything();"
        " DELETE FROM user_bridge.sync_queue"
        " WHERE entity_type IN ('user', 'team', 'team_member', 'api_key', 'user_key')"
    )
    _drain(each)
    note = f"{USERS:,} users, {TEAMS} teams, {MODELS} models"
    seconds = time.perf_counter() - started
    return Figure("rights on models of everybody: computed and written", seconds, "s", 10, note=note)


def _writes() -> list[tuple[str, Write, float | None]]:
    """With the bound, in milliseconds, of what the bridge adds with rights on models."""

    def write(sql: str) -> Write:
        def run(session: Session, number: int) -> None:
            models = ["model-3", "model-7"][: 1 + number % 2]
            session.run(sql, {"id": f"new{number}", "models": models, "all": [] if number % 2 else models})

        return run

    return [
        ("user created", write(_USER), 0.7),
        ("team joined", write(_JOIN), None),
        ("key created", write(_KEY), None),
        ("a team gets or loses one model", write(_LIST), 8),
        (f"a team gets or loses {MODELS - 2} models", write(_LIST.replace("(models)", "(all)")), 30),
    ]


def _added(pairs: dict[str, Pair], what: str, write: Write, bound: float | None) -> list[Figure]:
    """By turns, so that whatever disturbs the machine disturbs all; then until the drainer has done its part."""
    sessions = {name: each.connect("litellm") for name, each in pairs.items()}
    taken: dict[str, list[float]] = {name: [] for name in pairs}
    computed = dict.fromkeys(pairs, 0.0)
    for number in range(-WARM_UP, ROUNDS):
        if number == 0:
            computed = {name: -_computed(pairs[name], session) for name, session in sessions.items()}
        for name in list(pairs) if number % 2 else reversed(pairs):
            started = time.perf_counter()
            write(sessions[name], number + WARM_UP)
            if number >= 0:
                taken[name].append((time.perf_counter() - started) * 1000)
    for name, session in sessions.items():
        while name != "bare" and pairs[name].litellm_admin.value("SELECT count(*) FROM user_bridge.sync_queue"):
            time.sleep(0.05)
        computed[name] = (computed[name] + _computed(pairs[name], session)) / ROUNDS
        session.close()
    bare = median(taken["bare"])
    figures = []
    for name, words in (("off", "without rights on models"), ("on", "with rights on models")):
        limit = bound if name == "on" or what == "user created" else None
        note = f"{bare:.3f} ms -> {median(taken[name]):.3f} ms"
        figures += [
            Figure(f"{what}, {words}: added, median", median(taken[name]) - bare, "ms", limit, note=note),
            Figure(f"{what}, {words}: added CPU", computed[name] - computed["bare"], "us", note=CPU),
        ]
    return figures


def _computed(each: Pair, session: Session) -> float:
    return microseconds([session.pid, *_delivering(each)])


def _delivering(each: Pair) -> list[int]:
    """The backends in Open WebUI's database that work for the bridge, and the drainer."""
    found = each.openwebui_admin.rows(
        "SELECT pid FROM pg_stat_activity"
        " WHERE (application_name, datname) IN (('user_bridge', %s), ('user_bridge drainer', %s))",
        [each.openwebui_db, each.litellm_db],
    )
    return [row["pid"] for row in found]
