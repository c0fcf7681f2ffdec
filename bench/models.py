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
from kit import large_world
from kit.bridge import change_settings, drainer, install_bridge
from kit.cpu import microseconds
from kit.large_world import MODELS, TEAMS, USERS
from kit.pairs import SIDES, Pair, Session, pair

QUEUED = 10_000
ROUNDS, WARM_UP = 200, 30
CPU = "of both backends and the drainer, whatever else the machine does"
Write = Callable[[Session, int], None]
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
    large_world.fill(each.litellm)
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
