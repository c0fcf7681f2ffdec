# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a COMMIT reads does not depend on how many users, teams, members, keys, queue and audit rows there are.

Counted, not timed: each write among a few and among many, on one connection whose plans were made among the few.
"""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from kit import model_rows, openwebui, rows
from kit.bridge import install_bridge
from kit.drains import PATIENCE, drain_all, drain_on
from kit.pairs import Pair, Session
from kit.work import Meter, Work
from test_reconcile import found

FEW, MANY = 100, 1500
# Deeper indexes, rows that were deleted a moment ago, and the pages of a list of MANY members.
ROWS, BLOCKS = 800, 600
# Everybody is in this team, and in this organization, which all teams but this belong to.
TEAM, ORGANIZATION = "all", "o1"
# Fewer are delivered in a COMMIT than are in TEAM.
SETTINGS = {"initial_password": "none", "removal_accounts": 0, "inline_limit": 50}
TOO_MUCH = "a large team is renamed"
# Open WebUI's own: which of them is taken for a grant follows from its statistics.
GRANTS = ("idx_access_grant_resource", "idx_access_grant_principal", "uq_access_grant_grant")
Write = Callable[[Session], Any]

# Numbers %(first)s to %(last)s of everything: LiteLLM's rows, and what a delivery of each would have left.
_LITELLM = """
INSERT INTO "LiteLLM_UserTable" (user_id, user_email, user_alias, teams, models)
SELECT 'u' || n, 'u' || n || '@example.com', 'A' || n, ARRAY['all', 't' || n], '{}'
  FROM generate_series(%(first)s, %(last)s) AS n;
INSERT INTO "LiteLLM_BudgetTable" (budget_id, created_by, updated_by) VALUES ('b', 'x', 'x') ON CONFLICT DO NOTHING;
INSERT INTO "LiteLLM_OrganizationTable" (organization_id, organization_alias, budget_id, models, created_by, updated_by)
SELECT 'o' || n, 'O' || n, 'b', '{}', 'x', 'x' FROM generate_series(%(first)s, %(last)s) AS n;
INSERT INTO "LiteLLM_OrganizationMembership" (organization_id, user_id)
SELECT 'o1', 'u' || n FROM generate_series(%(first)s, %(last)s) AS n;
INSERT INTO "LiteLLM_TeamTable" (team_id, team_alias, organization_id, members_with_roles)
SELECT 't' || n, 'T' || n, 'o1', jsonb_build_array(jsonb_build_object('role', 'user', 'user_id', 'u' || n))
  FROM generate_series(%(first)s, %(last)s) AS n;
INSERT INTO "LiteLLM_TeamTable" (team_id, team_alias, members_with_roles) VALUES ('all', 'All', '[]')
ON CONFLICT DO NOTHING;
UPDATE "LiteLLM_TeamTable" SET members_with_roles = (
           SELECT jsonb_agg(jsonb_build_object('role', 'user', 'user_id', 'u' || n))
             FROM generate_series(1, %(last)s) AS n)
 WHERE team_id = 'all';
INSERT INTO "LiteLLM_VerificationToken" (token, user_id, key_alias, models)
SELECT 'token ' || n, 'u' || n, 'K' || n, '{}' FROM generate_series(%(first)s, %(last)s) AS n;
DELETE FROM user_bridge.sync_queue;
INSERT INTO user_bridge.sync_mapping (litellm_type, litellm_id, openwebui_type, openwebui_id)
SELECT t.type, t.id || n, t.kind, t.account || n FROM generate_series(%(first)s, %(last)s) AS n, (VALUES
       ('user', 'u', 'user', 'usr_u'), ('team', 't', 'group', 'grp_team_t'), ('organization', 'o', 'group', 'grp_o'))
       AS t(type, id, kind, account);
INSERT INTO user_bridge.sync_audit (operation, record_id, sync_result)
SELECT 'SYNC_USER', 'u' || n, 'SUCCESS' FROM generate_series(%(first)s, %(last)s) AS n;
-- What fails and waits, and what is held.
INSERT INTO user_bridge.sync_queue (txid, entity_type, entity_id, attempts, next_attempt_at)
SELECT '3', 'user', 'failing' || n, 3, 'infinity' FROM generate_series(1, %(last)s) AS n;
INSERT INTO user_bridge.sync_queue (txid, entity_type, entity_id, attempts, parked_at, held)
SELECT '4', 'organization_member', user_bridge.pair_id('o2', 'u' || n), 1, now(), '[{"id": 1, "kind": "membership"}]'
  FROM generate_series(1, %(last)s) AS n
"""
_OPENWEBUI = """
INSERT INTO "user" SELECT a.* FROM generate_series(%(first)s, %(last)s) AS n
 CROSS JOIN LATERAL user_bridge.new_account(jsonb_build_object(
       'openwebui_id', 'usr_u' || n, 'name', 'A' || n, 'email', 'u' || n || '@example.com', 'role', 'user')) AS a;
INSERT INTO auth (id, email, password, active)
SELECT 'usr_u' || n, 'u' || n || '@example.com', '', true FROM generate_series(%(first)s, %(last)s) AS n;
INSERT INTO "group" SELECT r.* FROM generate_series(%(first)s, %(last)s) AS n
 CROSS JOIN LATERAL (VALUES ('grp_o' || n), ('grp_team_t' || n)) AS g(id)
 CROSS JOIN LATERAL jsonb_populate_record(NULL::"group", jsonb_build_object(
       'id', g.id, 'user_id', '', 'name', g.id, 'description', '', 'user_ids', '[]'::jsonb,
       'created_at', 1, 'updated_at', 1)) AS r;
INSERT INTO "group" SELECT r.* FROM jsonb_populate_record(NULL::"group", jsonb_build_object(
       'id', 'grp_team_all', 'user_id', '', 'name', 'All', 'description', '', 'user_ids', '[]'::jsonb,
       'created_at', 1, 'updated_at', 1)) AS r
ON CONFLICT DO NOTHING;
INSERT INTO user_bridge.entity (entity_type, entity_id, version, openwebui_id, origin, known_email, parent_id)
SELECT t.type, t.id || n, 1, t.account || n, 'created', 'u' || n || '@example.com', t.parent
  FROM generate_series(%(first)s, %(last)s) AS n, (VALUES
       ('user', 'u', 'usr_u', NULL), ('team', 't', 'grp_team_t', 'o1'), ('organization', 'o', 'grp_o', NULL))
       AS t(type, id, account, parent);
INSERT INTO user_bridge.entity (entity_type, entity_id, version, openwebui_id, origin)
VALUES ('team', 'all', 1, 'grp_team_all', 'created') ON CONFLICT DO NOTHING;
INSERT INTO user_bridge.membership (group_type, group_id, user_id, written)
SELECT g.type, g.id, 'u' || n, true
  FROM generate_series(%(first)s, %(last)s) AS n, (VALUES ('team', 'all'), ('organization', 'o1')) AS g(type, id);
-- As many have left both.
INSERT INTO user_bridge.withdrawn (kind, object_id, holder_id, entity_type, entity_id)
SELECT 'membership', g.target, 'usr_gone' || n, g.type, jsonb_build_array(g.id, 'gone' || n)::text
  FROM generate_series(%(first)s, %(last)s) AS n, (VALUES
       ('team_member', 'all', 'grp_team_all'), ('organization_member', 'o1', 'grp_o1')) AS g(type, id, target)
"""
_MEMBERS = """
INSERT INTO group_member (id, group_id, user_id, created_at, updated_at)
SELECT gen_random_uuid()::text, g, 'usr_u' || n, 1, 1
  FROM generate_series(%(first)s, %(last)s) AS n, (VALUES ('grp_team_all'), ('grp_o1')) AS v(g)
"""
_LISTED_MEMBERS = """
UPDATE "group" SET user_ids = (SELECT json_agg('usr_u' || n) FROM generate_series(1, %(last)s) AS n)
 WHERE id IN ('grp_team_all', 'grp_o1')
"""
_PARENTS = "UPDATE \"group\" SET parent_group_id = 'grp_o1' WHERE id LIKE 'grp_team_t%'"
# With rights on models, too.
RIGHTS = {**SETTINGS, "model_access": True}
_MODELS = """
INSERT INTO "LiteLLM_ProxyModelTable" (model_id, model_name, litellm_params, model_info, created_by, updated_by)
SELECT 'm' || n, 'm' || n, '{}', '{"access_groups": ["g"]}', 'x', 'x' FROM generate_series(1, 20) AS n
"""
# That of whoever is in no team and has no list.
_SET = hashlib.sha256(b"[[]]").hexdigest()[:32]
_SETS = """
INSERT INTO user_bridge.model_set (set_id, lists) VALUES (%(set)s, '[[]]') ON CONFLICT DO NOTHING;
INSERT INTO user_bridge.sync_mapping (litellm_type, litellm_id, openwebui_type, openwebui_id)
VALUES ('model_set', %(set)s, 'group', 'grp_models_' || %(set)s) ON CONFLICT DO NOTHING;
INSERT INTO user_bridge.set_holder (user_id, set_id)
SELECT 'u' || n, %(set)s FROM generate_series(%(first)s, %(last)s) AS n
"""
_GRANTS = """
INSERT INTO user_bridge.model_grant (holder_type, holder_id, model, written)
SELECT t.type, t.prefix || n, 'm1', true
  FROM generate_series(%(first)s, %(last)s) AS n, (VALUES ('team', 't'), ('user', 'u')) AS t(type, prefix);
INSERT INTO user_bridge.model_group (group_id, entity_type, entity_id, own_id)
VALUES ('grp_models_' || %(set)s, 'model_set', %(set)s, 'grp_models_' || %(set)s) ON CONFLICT DO NOTHING;
INSERT INTO "group" SELECT r.* FROM jsonb_populate_record(NULL::"group", jsonb_build_object(
       'id', 'grp_models_' || %(set)s, 'user_id', '', 'name', 'all', 'description', '', 'user_ids', '[]'::jsonb,
       'created_at', 1, 'updated_at', 1)) AS r
ON CONFLICT DO NOTHING;
INSERT INTO user_bridge.entity (entity_type, entity_id, version, openwebui_id, origin)
VALUES ('model_set', %(set)s, 1, 'grp_models_' || %(set)s, 'created') ON CONFLICT DO NOTHING;
INSERT INTO user_bridge.model_member (group_id, user_id, written)
SELECT 'grp_models_' || %(set)s, 'u' || n, true FROM generate_series(%(first)s, %(last)s) AS n;
INSERT INTO user_bridge.withdrawn (kind, object_id, holder_id, entity_type, entity_id)
SELECT 'user_grant', 'm2', 'usr_u' || n, 'user_models', 'u' || n FROM generate_series(%(first)s, %(last)s) AS n
"""
# What a life of people, teams and keys queues, of numbers %(first)s to %(last)s.
_OF_USER = "substr(user_id, 2)::int BETWEEN %(first)s AND %(last)s"
_OF_TEAM = "substr(team_id, 2)::int BETWEEN %(first)s AND %(last)s"
_BUDGET = "INSERT INTO \"LiteLLM_BudgetTable\" (budget_id, created_by, updated_by) VALUES ('b', 'x', 'x')"
_NUMBERS = "FROM generate_series(%(first)s, %(last)s) AS n"
BATCHES = {
    "users": 'INSERT INTO "LiteLLM_UserTable" (user_id, user_email, user_alias, teams, models) '
    f"SELECT 'b' || n, 'b' || n || '@example.com', 'B' || n, '{{}}', '{{}}' {_NUMBERS}",
    "organizations": 'INSERT INTO "LiteLLM_OrganizationTable" '
    "(organization_id, organization_alias, budget_id, models, created_by, updated_by) "
    f"SELECT 'o' || n, 'O' || n, 'b', '{{}}', 'x', 'x' {_NUMBERS}",
    "members": 'INSERT INTO "LiteLLM_OrganizationMembership" (organization_id, user_id) '
    f"SELECT 'o1', 'b' || n {_NUMBERS}",
    "teams": 'INSERT INTO "LiteLLM_TeamTable" (team_id, team_alias, organization_id, members_with_roles) '
    "SELECT 't' || n, 'T' || n, 'o1', jsonb_build_array(jsonb_build_object('role', 'user', 'user_id', 'b' || n)) "
    f"{_NUMBERS}",
    "keys": 'INSERT INTO "LiteLLM_VerificationToken" (token, user_id, key_alias, models) '
    f"SELECT 'token ' || n, 'b' || n, 'K' || n, ARRAY['m' || 1 + n %% 20] {_NUMBERS}",
    "lists": f"UPDATE \"LiteLLM_UserTable\" SET models = ARRAY['m1'] WHERE {_OF_USER}",
    "names": f"UPDATE \"LiteLLM_UserTable\" SET user_alias = user_alias || '!' WHERE {_OF_USER}",
    "lists of teams": f"UPDATE \"LiteLLM_TeamTable\" SET models = ARRAY['m1', 'm2'] WHERE {_OF_TEAM}",
    "no keys": f'DELETE FROM "LiteLLM_VerificationToken" WHERE {_OF_USER}',
    "no members": f'DELETE FROM "LiteLLM_OrganizationMembership" WHERE {_OF_USER}',
    "no teams": f'DELETE FROM "LiteLLM_TeamTable" WHERE {_OF_TEAM}',
    "no users": f'DELETE FROM "LiteLLM_UserTable" WHERE {_OF_USER}',
}
_JOIN = """UPDATE "LiteLLM_TeamTable" SET members_with_roles = members_with_roles
 || '[{"role": "user", "user_id": "new"}]' WHERE team_id = 'all'"""
_LEAVE = """UPDATE "LiteLLM_TeamTable" SET members_with_roles = members_with_roles
 - (jsonb_array_length(members_with_roles) - 1) WHERE team_id = 'all'"""


def load(pair: Pair, first: int, last: int) -> None:
    """Users, teams, organizations and keys of these numbers, as they are after their delivery."""
    litellm, web = pair.litellm_admin, pair.openwebui_admin
    # In lists of members a set has several groups.
    numbers = {"first": first, "last": last, "set": _SET if openwebui.has_member_table(pair) else "s"}
    litellm.run("SELECT user_bridge.pause()")
    litellm.run(_LITELLM, numbers)
    litellm.run("SELECT user_bridge.resume(), setval('user_bridge.backlog', 1)")
    web.run(_OPENWEBUI, numbers)
    if openwebui.has_member_table(pair):
        web.run(_MEMBERS, numbers)
        web.run(_PARENTS)
    else:
        web.run(_LISTED_MEMBERS, numbers)
    if litellm.value("SELECT model_access FROM user_bridge.settings"):
        litellm.run(_SETS, numbers)
        web.run(_GRANTS, numbers)


def _user(**columns: Any) -> Write:
    return lambda session: rows.change_user(session, "new", **columns)


def _team(team_id: str, **columns: Any) -> Write:
    return lambda session: rows.change_team(session, team_id, **columns)


def _key(sql: str) -> Write:
    return lambda session: session.run(f"{sql} WHERE token IN ('new token', 'newer token')")


# Each kind of write in kit.story, and those about keys, in an order that ends where it began.
WRITES: dict[str, Write] = {
    "a user comes": lambda session: rows.add_user(session, "new", "new@example.com", teams=[TEAM]),
    "alias": _user(user_alias="New"),
    "email": _user(user_email="other@example.com"),
    "admin": _user(user_role="proxy_admin"),
    "no admin": _user(user_role="internal_user"),
    "disabled": _user(metadata={"scim_active": False}),
    "enabled": _user(metadata={}),
    "joins a team": lambda session: session.run(_JOIN),
    "leaves a team": lambda session: session.run(_LEAVE),
    "joins an organization": lambda session: rows.join_organization(session, ORGANIZATION, "new"),
    "leaves an organization": lambda session: rows.leave_organization(session, ORGANIZATION, "new"),
    "organization in the own row": _user(organization_id=ORGANIZATION),
    "no organization in the own row": _user(organization_id=None),
    "a team comes": lambda session: rows.add_team(session, "tnew", "New", organization_id=ORGANIZATION),
    "a team is renamed": _team("tnew", team_alias="Newer"),
    "a team changes its organization": _team("tnew", organization_id="o2"),
    "changes teams": _user(teams=["tnew"]),
    "main team": _user(team_id="t1"),
    "a personal list": _user(models=["m1", "m2"]),
    "a wide personal list": _user(models=["m*"]),
    "no personal list": _user(models=[]),
    "a team's list": _team("tnew", models=["m1", "m2"]),
    "a key comes": lambda session: rows.add_key(session, "new token", "new", key_alias="new key", models=[]),
    "a key changes": _key("UPDATE \"LiteLLM_VerificationToken\" SET models = ARRAY['m']"),
    "a key is regenerated": _key("UPDATE \"LiteLLM_VerificationToken\" SET token = 'newer token'"),
    "a key goes": _key('DELETE FROM "LiteLLM_VerificationToken"'),
    "an organization comes": lambda session: rows.add_organization(session, "onew", "New"),
    "an organization is renamed": lambda session: rows.rename_organization(session, "onew", "Newer"),
    "a large organization is renamed": lambda session: session.run(
        "UPDATE \"LiteLLM_OrganizationTable\" SET organization_alias = organization_alias || '!' "
        "WHERE organization_id = 'o1'"
    ),
    TOO_MUCH: lambda session: session.run(
        "UPDATE \"LiteLLM_TeamTable\" SET team_alias = team_alias || '!' WHERE team_id = 'all'"
    ),
    "spend": lambda session: rows.flush_spend(session, ["u1"], 1),
    "a team goes": lambda session: rows.delete_team(session, "tnew"),
    "an organization goes": lambda session: rows.delete_organization(session, "onew"),
    "the user goes": lambda session: rows.delete_user(session, "new"),
}
# Of numbers %(first)s to %(last)s all have one email.
_SHARERS = """
INSERT INTO "LiteLLM_UserTable" (user_id, user_email, models)
SELECT 'shared' || n, 'shared@example.com', '{}' FROM generate_series(%(first)s, %(last)s) AS n
"""
SHARERS_WRITES: dict[str, Write] = {
    "the last of them comes": lambda session: rows.add_user(session, "last", "shared@example.com"),
    "is renamed": lambda session: rows.change_user(session, "last", user_alias="Last"),
    "gets another address": lambda session: rows.change_user(session, "last", user_email="last@example.com"),
    "gets it back": lambda session: rows.change_user(session, "last", user_email="shared@example.com"),
    "goes": lambda session: rows.delete_user(session, "last"),
    "who has the account is renamed": lambda session: rows.change_user(session, "shared1", user_alias="First"),
}
# What numbers %(first)s to %(last)s all have one of, as the bridge's own tables have it. Of what goes there are two.
_SHARED = """
INSERT INTO user_bridge.known_key (user_id, fingerprint, team_id) SELECT 'u' || n, 'key ' || n, 'keys'
  FROM generate_series(%(first)s, %(last)s) AS n;
INSERT INTO user_bridge.member_budget SELECT 'x', 'u' || n, 'shared' FROM generate_series(%(first)s, %(last)s) AS n;
INSERT INTO user_bridge.listed_member SELECT 'u' || n, t
  FROM generate_series(%(first)s, %(last)s) AS n, unnest('{big, former1, former2}'::text[]) AS t
"""
_SHARED_THERE = """
INSERT INTO user_bridge.membership (group_type, group_id, user_id) SELECT 'team', t, 'u' || n
  FROM generate_series(%(first)s, %(last)s) AS n, unnest('{deleted, goes1, goes2}'::text[]) AS t;
INSERT INTO user_bridge.model_member (group_id, user_id) SELECT 'grp_scope_x', 'u' || n
  FROM generate_series(%(first)s, %(last)s) AS n;
INSERT INTO user_bridge.model_grant (holder_type, holder_id, model) SELECT 'user', 'u' || n, m
  FROM generate_series(%(first)s, %(last)s) AS n, unnest('{goes1, goes2}'::text[]) AS m
"""


def _anew(table: str, column: str, value: str, where: str) -> Write:
    return lambda session: session.run(
        f'UPDATE "LiteLLM_{table}" SET {column} = {value} WHERE {where}', [str(random.random())]
    )


def _first_goes(table: str, column: str) -> Write:
    of = f'FROM "LiteLLM_{table}" WHERE {column}'
    return lambda session: session.run(f"DELETE {of} = (SELECT min({column}) {of} LIKE 'goes%%')")


# Each with what it leaves to the drain.
SHARED_WRITES: dict[str, tuple[Write, set[str]]] = {
    "a list of a team with keys": (_anew("TeamTable", "models", "ARRAY[%s]", "team_id = 'keys'"), {"team_key_owners"}),
    "its aliases": (_anew("ModelTable", "aliases", "jsonb_build_object('a', %s)", "id = 7"), {"alias_teams"}),
    "a budget": (_anew("BudgetTable", "allowed_models", "ARRAY[%s]", "budget_id = 'shared'"), {"budget_members"}),
    "a list without groups of teams": (_anew("TeamTable", "models", "ARRAY[%s]", "team_id = 'big'"), {"team_models"}),
    "a list beside scopes": (_anew("TeamTable", "models", "ARRAY[%s]", "team_id = 'scoped'"), {"team_models"}),
    "a deleted group": (_anew("TeamTable", "team_alias", "%s", "team_id = 'deleted'"), {"team"}),
    "a team goes": (_first_goes("TeamTable", "team_id"), {"team"}),
    "a model goes": (_first_goes("ProxyModelTable", "model_id"), {"model"}),
    "a team of a former one's id": (
        lambda session: session.run(
            "INSERT INTO \"LiteLLM_TeamTable\" (team_id, members_with_roles) SELECT 'former' || count(*) + 1, '[]' "
            "FROM \"LiteLLM_TeamTable\" WHERE team_id LIKE 'former%%'"
        ),
        {"team", "team_name", "team_models", "team_key_owners"},
    ),
}
# Where Open WebUI has no index: on the email before 0.11.0, on its lists of members up to 0.6.36.
UNINDEXED = {"a user comes": 'openwebui "user"', "email": 'openwebui "user"', "the user goes": 'openwebui "group"'}
# What LiteLLM's foreign keys read: many have no index, and PostgreSQL keeps its plans for the others, too.
FOREIGN_KEYS = {
    "an organization goes": 'litellm "LiteLLM_',
    "joins an organization": 'litellm "LiteLLM_OrganizationTable"',
    "organization in the own row": 'litellm "LiteLLM_OrganizationTable"',
    "the user goes": 'litellm "LiteLLM_OrganizationMembership"',
}
# What leaves something of rights to the drain has the queue searched, as one COMMIT in 200 ms does.
SEARCHES = {"a user comes", "a team goes"}


# Somebody new has no account yet that could have rights, and of a team that goes many may have been members.
_LEFT_TO_DRAIN = """
DELETE FROM user_bridge.sync_queue WHERE entity_type IN ('user_models', 'team_models', 'team_people')
"""
_LEFT = "DELETE FROM user_bridge.sync_queue WHERE next_attempt_at IS NULL AND held IS NULL"


def _work(meter: Meter, turns: int, names: Sequence[str], writes: Mapping[str, Write] = WRITES) -> dict[str, Work]:
    """What each write reads, the least of some turns: what the turn before has deleted may still be in the way."""
    least: dict[str, Work] = {}
    litellm = meter.pair.litellm_admin
    for _turn in range(turns):
        for name in names:
            work = meter.measure(writes[name])
            litellm.run(_LEFT_TO_DRAIN)
            left = litellm.run(_LEFT)
            litellm.run("SELECT setval('user_bridge.backlog', 1)")
            assert (left > 0) == (name == TOO_MUCH), name
            least[name] = min(work, least.get(name, work), key=lambda each: each.rows)
        litellm.run("DELETE FROM \"LiteLLM_BudgetTable\" WHERE budget_id <> 'b'")
    return least


@contextmanager
def without_autovacuum(pair: Pair) -> Iterator[None]:
    """What it reads is counted, too."""
    pair.cluster.execute("ALTER SYSTEM SET autovacuum = off", "SELECT pg_reload_conf()")
    try:
        yield
    finally:
        pair.cluster.execute("ALTER SYSTEM RESET autovacuum", "SELECT pg_reload_conf()")


def check(pair: Pair, *names: str, settings: Mapping[str, Any] = SETTINGS) -> None:
    """These writes, or all, read as little among many as among few."""
    with without_autovacuum(pair):
        _check(pair, *names, settings=settings)


def _check(pair: Pair, *names: str, settings: Mapping[str, Any]) -> None:
    install_bridge(pair, settings)
    if settings.get("model_access"):
        pair.litellm.run(_MODELS)
        drain_on(pair)
    meter = Meter(pair)
    load(pair, 1, FEW)
    # As autovacuum does at some time: a plan for tables that are known to be small is the one that ages worst.
    for session in (pair.litellm_admin, pair.openwebui_admin):
        session.run("ANALYZE")
    # So often that PostgreSQL keeps its plans.
    few = _work(meter, 7, names or list(WRITES))
    load(pair, FEW + 1, MANY)
    more = _work(meter, 2, names or list(WRITES))
    grown = _more(few, {name: work.without(partial(_is_exempt, pair, name)) for name, work in more.items()})
    assert grown == {}


def _more(few: Mapping[str, Work], many: Mapping[str, Work]) -> dict[str, str]:
    """What the same writes read beyond what they may."""
    more = {name: work.beyond(few[name]) for name, work in many.items()}
    return {name: str(work) for name, work in more.items() if work.rows > ROWS or work.blocks > BLOCKS}


def _drained(meter: Meter, turn: int) -> Work:
    """What a session that keeps its plans reads for a new user and a renamed team that wait in the queue."""
    litellm = meter.pair.litellm_admin
    litellm.run("UPDATE user_bridge.settings SET delivery = 'queued'")
    rows.add_user(meter.pair.litellm, f"new{turn}", f"new{turn}@example.com", teams=[TEAM])
    rows.change_team(meter.pair.litellm, "t2", team_alias=f"T {turn}")
    litellm.run("UPDATE user_bridge.settings SET delivery = 'commit'")

    def drain(session: Session) -> None:
        session.run("RESET SESSION AUTHORIZATION")
        assert session.rows("SELECT * FROM user_bridge.drain(10)")
        # Of somebody who is new the rights on models follow the account.
        session.rows("SELECT * FROM user_bridge.drain(10)")

    return meter.measure(drain)


def forget_queue(pair: Pair) -> None:
    for statement in ("DELETE FROM user_bridge.sync_queue", "VACUUM user_bridge.sync_queue"):
        pair.litellm_admin.run(statement)


@pytest.mark.schemas(litellm="new", openwebui="new")
@pytest.mark.parametrize("settings", [pytest.param(SETTINGS, marks=pytest.mark.weekly), RIGHTS])
def test_a_drain_reads_as_little_among_many_as_among_few(pair: Pair, settings: Mapping[str, Any]) -> None:
    with without_autovacuum(pair):
        install_bridge(pair, settings)
        meter = Meter(pair)
        load(pair, 1, FEW)
        for session in (pair.litellm_admin, pair.openwebui_admin):
            session.run("ANALYZE")
        # The first drain compares both sides, of which one is a copy, and queues what the load has left out.
        _drained(meter, 0)
        forget_queue(pair)
        few = min((_drained(meter, turn) for turn in range(1, 7)), key=lambda each: each.rows)
        load(pair, FEW + 1, MANY)
        forget_queue(pair)
        more = min((_drained(meter, turn) for turn in (7, 8)), key=lambda each: each.rows).beyond(few)
    assert more.rows <= ROWS and more.blocks <= BLOCKS, str(more)


def _batch(meter: Meter, sql: str, first: int, last: int, apart: bool = False) -> dict[str, float]:
    """Rows of each table that are read for each of a batch, which one transaction has queued, or one for each."""
    numbers = range(first, last + 1)
    for some in [[number] for number in numbers] if apart else [numbers]:
        meter.pair.litellm.run(sql, {"first": some[0], "last": some[-1]})

    def drain(session: Session) -> None:
        session.run("RESET SESSION AUTHORIZATION")
        give_up = time.monotonic() + 10 * PATIENCE["seconds"]
        while found := session.rows("SELECT * FROM user_bridge.drain(1000)"):
            assert time.monotonic() < give_up, f"the queue does not get empty: {found[:5]}"

    return {name: found / len(numbers) for name, (found, _) in meter.measure(drain).read.items()}


def _grown(small: Sequence[Mapping[str, float]], large: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """What a large batch reads more for each than both small ones."""
    least = {name: min(each.get(name, 0) for each in small) for name in large}
    return {name: (least[name], found) for name, found in large.items() if found > 1.5 * least[name] + 60}


@contextmanager
def _batches(pair: Pair) -> Iterator[Meter]:
    """Autovacuum has seen an empty queue, as it nearly always does, and no entities. The worst of all plans is kept."""
    with without_autovacuum(pair):
        # None of them ends before its time: what is left would be looked at once more.
        install_bridge(pair, {**RIGHTS, "target_timeout_ms": 30000})
        pair.litellm.run(_MODELS)
        pair.litellm.run(_BUDGET)
        drain_on(pair)
        for session in (pair.litellm_admin, pair.openwebui_admin):
            session.run("VACUUM ANALYZE")
        pair.litellm_admin.run("UPDATE user_bridge.settings SET delivery = 'queued'")
        yield Meter(pair)


@pytest.mark.schemas(litellm="new", openwebui="new")
@pytest.mark.parametrize("again", [False, pytest.param(True, marks=pytest.mark.weekly)])
def test_a_large_batch_reads_no_more_for_each_than_a_small_one(pair: Pair, again: bool) -> None:
    """Whether autovacuum has seen no entities, or few."""
    grown: dict[str, dict[str, tuple[float, float]]] = {}
    with _batches(pair) as meter:
        small = {name: [_batch(meter, sql, first, first + 24) for first in (1, 26)] for name, sql in BATCHES.items()}
        if again:
            for sql in list(BATCHES.values())[:5]:
                _batch(meter, sql, 51, 100)
            for session in (pair.litellm_admin, pair.openwebui_admin):
                session.run("VACUUM ANALYZE")
        for name, sql in BATCHES.items():
            grown[name] = _grown(small[name], _batch(meter, sql, 101, 300))
            for index in GRANTS:
                grown[name].pop(f"openwebui {index}", None)
    assert {name: more for name, more in grown.items() if more} == {}


@pytest.mark.schemas(litellm="new", openwebui="new")
def test_so_it_does_where_each_has_a_transaction_of_its_own(pair: Pair) -> None:
    with _batches(pair) as meter:
        small = [_batch(meter, BATCHES["users"], first, first + 24, apart=True) for first in (1, 26)]
        assert _grown(small, _batch(meter, BATCHES["users"], 101, 400, apart=True)) == {}


def _is_exempt(pair: Pair, name: str, place: str) -> bool:
    if not openwebui.has_member_table(pair) and place == UNINDEXED.get(name):
        return True
    if name in SEARCHES and place == "litellm user_bridge.sync_queue":
        return True
    if place.removeprefix("openwebui ") in GRANTS:
        return True
    return place.startswith(FOREIGN_KEYS.get(name, "none"))


# On every push without rights on models of old programs, and with them of new ones.
@pytest.mark.weekly
@pytest.mark.schemas(litellm="new", openwebui="new")
def test_a_commit_reads_as_little_among_many_as_among_few(pair: Pair) -> None:
    check(pair)


@pytest.mark.schemas(litellm="old", openwebui="old")
def test_so_it_does_where_the_programs_have_few_indexes(pair: Pair) -> None:
    check(pair)


@pytest.mark.schemas(litellm="new", openwebui="new")
def test_so_it_does_with_rights_on_models(pair: Pair) -> None:
    check(pair, settings=RIGHTS)


@pytest.mark.weekly
@pytest.mark.schemas(litellm="old", openwebui="old")
def test_so_it_does_with_rights_on_models_of_old_programs(pair: Pair) -> None:
    check(pair, settings=RIGHTS)


@pytest.mark.schemas(litellm="new", openwebui="new")
def test_those_who_share_an_email(pair: Pair) -> None:
    with without_autovacuum(pair):
        install_bridge(pair, {**RIGHTS, "removal_accounts": MANY})
        meter = Meter(pair)
        works = []
        for first, last, turns in ((1, FEW, 7), (FEW + 1, MANY, 2)):
            # By the meter, which waits until all that is counted of it is known.
            _batch(meter, _SHARERS, first, last)
            if first == 1:
                for session in (pair.litellm_admin, pair.openwebui_admin):
                    session.run("ANALYZE")
            works.append(_work(meter, turns, list(SHARERS_WRITES), SHARERS_WRITES))
    assert _more(*works) == {}


def _shared(meter: Meter, first: int, last: int) -> dict[str, Work]:
    pair, works = meter.pair, {}
    for session, sql in ((pair.litellm_admin, _SHARED), (pair.openwebui_admin, _SHARED_THERE)):
        session.run(sql, {"first": first, "last": last})
    for name, (write, left) in SHARED_WRITES.items():
        pair.litellm_admin.run("UPDATE user_bridge.settings SET team_groups = %s", ["without groups" not in name])
        works[name] = meter.measure(write)
        queued = {
            row["entity_type"] for row in pair.litellm_admin.rows("SELECT entity_type FROM user_bridge.sync_queue")
        }
        assert queued - {"team_people", "model_holders", "user_models"} == left, name
        pair.litellm_admin.run("DELETE FROM user_bridge.sync_queue")
        pair.litellm_admin.run("SELECT setval('user_bridge.backlog', 1)")
    return works


@pytest.mark.schemas(litellm="new", openwebui="new")
def test_what_thousands_have_one_of(pair: Pair) -> None:
    """A COMMIT counts them up to the number from which on it leaves them to the drain."""
    with without_autovacuum(pair):
        install_bridge(pair, RIGHTS)
        litellm, web = pair.litellm, pair.openwebui_admin
        model_rows.add_budget(litellm, "shared")
        model_rows.set_aliases(litellm, 7, {})
        for model in ("goes1", "goes2"):
            model_rows.add_model(litellm, model)
        for team in ("keys", "big", "scoped", "deleted", "goes1", "goes2"):
            rows.add_team(litellm, team, team, model_id=7 if team == "keys" else None)
        drain_all(pair)
        web.run("DELETE FROM \"group\" WHERE id = 'grp_team_deleted'")
        web.run("INSERT INTO user_bridge.model_group VALUES ('grp_scope_x', 'team_models', 'scoped', 'grp_scope_x')")
        # One that lives and does nothing.
        assert pair.litellm_admin.value("SELECT user_bridge.begin_drainer()")
        meter = Meter(pair)
        works = [_shared(meter, first, last) for first, last in ((1, 2100), (2101, 4200))]
    assert _more(*works) == {}


def test_who_joined_and_left_a_team(quick: Pair) -> None:
    """The shortcut for one who joined or left, and what is not that."""
    draw = random.Random(15)
    users = [f"u{number}" for number in range(8)]
    for _turn in range(200):
        old = draw.sample(users, draw.randint(0, 6))
        new = list(old)
        for _change in range(draw.choice([0, 1, 1, 1, 2])):
            if new and draw.random() < 0.5:
                new.remove(draw.choice(new))
            else:
                new.insert(draw.randint(0, len(new)), draw.choice(users))
        if draw.random() < 0.2:
            draw.shuffle(new)
        lists = [json.dumps([{"role": "user", "user_id": user} for user in each] or {}) for each in (old, new)]
        changed = quick.litellm_admin.value("SELECT user_bridge.changed_members(%s, %s)", lists)
        # Who is listed twice and then once may be named, too.
        assert set(old) ^ set(new) <= set(changed) <= (set(old) ^ set(new)) | {u for u in new if new.count(u) > 1}


@pytest.mark.parametrize(
    "listed",
    [
        "[]",
        " [ ] ",
        '["a"]',
        '["a", "b"]',
        '["x,",",b"]',
        '["b","a"]',
        '[ "a" , "b"\n]',
        '["b","a","c"]',
        '["c", "a"]',
        '["x,", "a"]',
        '["\\u0061", "b"]',
    ]
    + ['[","]', '["b", ",", "c"]', '["a", "a"]', '["ab", "b"]', "null", '{"a": 1}', '[1, "a"]', '["a", ["b"]]']
    + ['["\\\\", "b"]', '["\\"", "b"]', '["\\\\\\"", 1]', '[["a"]]', '["a"\n,\t"b"\r]'],
)
def test_lists_of_members_as_text(quick: Pair, listed: str) -> None:
    """Before 0.6.37: what the shortcuts write is what taking the list apart gives."""
    value = json.loads(listed)
    members = [each for each in value if isinstance(each, str)] if isinstance(value, list) else []
    for user in ("a", "b", ",", 'q"'):
        without = quick.openwebui_admin.value("SELECT user_bridge.without_strings(%s, %s)", [listed, [user]])
        assert [each for each in without if isinstance(each, str)] == [each for each in members if each != user]
        new = quick.openwebui_admin.value("SELECT user_bridge.not_in_list(%s, %s)", [listed, [user, user, "new"]])
        assert sorted(new) == sorted({user, "new"} - set(members))
        added = quick.openwebui_admin.value("SELECT user_bridge.with_strings(%s, %s)", [listed, ["new", user]])
        # Open WebUI's migration to 0.6.37 takes each for an id.
        assert added == [*members, "new", user]


def _unwatched(pair: Pair, table: str, write: Write) -> None:
    """A write of which no trigger hears."""
    pair.litellm_admin.run(f'ALTER TABLE "{table}" DISABLE TRIGGER user_bridge_enqueue')
    write(pair.litellm)
    pair.litellm_admin.run(f'ALTER TABLE "{table}" ENABLE TRIGGER user_bridge_enqueue')


def test_a_key_that_the_trigger_missed_is_found_and_repaired(quick: Pair) -> None:
    rows.add_user(quick.litellm, "u1", "u1@example.com")
    for token in ("one", "two"):
        rows.add_key(quick.litellm, token, "u1", models=["m"])

    def change(session: Session) -> None:
        rows.delete(session, "LiteLLM_VerificationToken", {"token": "one"})
        rows.update(session, "LiteLLM_VerificationToken", {"token": "two"}, {"blocked": True})
        rows.add_key(session, "three", "u1", models=["m"])

    assert found(quick) == set()
    _unwatched(quick, "LiteLLM_VerificationToken", change)
    ids = {
        name: quick.litellm_admin.value("SELECT user_bridge.key_id('u1', %s)", [name])
        for name in ("one", "two", "three")
    }
    assert {("api_key", each, "missed", None, None) for each in ids.values()} <= found(quick)
    found(quick, repair=True)
    drain_on(quick)
    mapped = quick.litellm_admin.rows("SELECT litellm_id FROM user_bridge.sync_mapping WHERE litellm_type = 'api_key'")
    assert [row["litellm_id"] for row in mapped] == [ids["three"]]
    assert found(quick) == set()


def test_a_team_that_the_trigger_missed_renames_its_users_after_a_repair(quick: Pair) -> None:
    # Nameless, so that no difference leads to its users.
    rows.add_team(quick.litellm, "t1")
    rows.add_user(quick.litellm, "u1", "u1@example.com", user_alias="Ann")
    rows.add_user(quick.litellm, "u2", "u2@example.com", user_alias="Bob")
    for user in ("u1", "u2"):
        _unwatched(quick, "LiteLLM_UserTable", partial(rows.change_user, user_id=user, teams=["t1"]))
    # One by the user's own next delivery, the other by a repair.
    rows.change_user(quick.litellm, "u1", user_alias="Anna")
    found(quick, repair=True)
    drain_on(quick)
    rows.change_team(quick.litellm, "t1", team_alias="Red")
    names = {account[0] for account in openwebui.accounts(quick).values()}
    assert {"Red-Anna", "Red-Bob"} <= names
    assert quick.litellm_admin.value("SELECT count(*) FROM user_bridge.user_team") == 2


def test_who_leaves_a_team_is_no_longer_recorded(quick: Pair) -> None:
    # Not by the delivery, which would put it right.
    quick.litellm_admin.run("SELECT user_bridge.pause()")
    rows.add_user(quick.litellm, "u1", "u1@example.com", teams=["t1", "t2"], team_id="t3")
    rows.change_user(quick.litellm, "u1", teams=["t2", "t2"])
    recorded = "SELECT array_agg(team_id || ' ' || user_id ORDER BY team_id) FROM user_bridge.user_team"
    assert quick.litellm_admin.value(recorded) == ["t2 u1", "t3 u1"]
    rows.update(quick.litellm, "LiteLLM_UserTable", {"user_id": "u1"}, {"user_id": "u9"})
    assert quick.litellm_admin.value(recorded) == ["t2 u9", "t3 u9"]
    rows.delete_user(quick.litellm, "u9")
    assert quick.litellm_admin.value(recorded) is None


def test_whoever_has_many_keys_gets_his_rights_from_the_drainer(pair: Pair) -> None:
    """A service for others has thousands, each of which decides about its rights on models."""
    install_bridge(pair, {"initial_password": "none", "model_access": True})
    for name in ("few", "many"):
        rows.add_user(pair.litellm, name, f"{name}@example.com")
    keys = (
        "INSERT INTO \"LiteLLM_VerificationToken\" (token, user_id) SELECT encode(sha256((%s || n)::bytea), 'hex'), %s "
        "FROM generate_series(1, %s) AS n"
    )
    for name, number in (("few", 100), ("many", 101)):
        pair.litellm.run(keys, [name, name, number])
    drain_all(pair)
    pair.litellm_admin.run("SELECT setval('user_bridge.backlog', 1)")
    for name in ("few", "many"):
        rows.change_user(pair.litellm, name, models=["m"], user_alias="Other")
    queued = pair.litellm_admin.rows("SELECT entity_type, entity_id FROM user_bridge.sync_queue")
    assert queued == [{"entity_type": "user_models", "entity_id": "many"}]
    assert {name for name, _role in openwebui.accounts(pair).values()} == {"Other"}
    # Without a drainer the next commits know that there is something to take along.
    assert pair.litellm_admin.value("SELECT pg_sequence_last_value('user_bridge.backlog') > 1")
