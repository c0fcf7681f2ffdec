# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may see which model, by the bridge's rule and by LiteLLM's own functions, in random databases of both versions.

USER_BRIDGE_WORLDS is how many databases there are for each version; `make worlds` takes many. USER_BRIDGE_WALKS is how
many random walks between such databases there are weekly, under the live bridge.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import psycopg2
import pytest

from conftest import missing
from kit import model_oracle
from kit.bridge import change_settings
from kit.clear import Clearable
from kit.common import KitError, pinned_versions
from kit.model_oracle import Judge, Ways, World
from kit.model_walk import Walk
from kit.pairs import Pair, Session

WALKS = int(os.environ.get("USER_BRIDGE_WALKS", "5"))
WORLDS = int(os.environ.get("USER_BRIDGE_WORLDS", "12"))
# People times models that are compared by each policy on every push: more than 50,000 with both versions.
LEAST = {"newest": 39_800, "oldest": 10_400}
# In these the bridge once opened more than the newest LiteLLM.
DIFFERED = (5005, 5008)
PEOPLE = 120


@dataclass(frozen=True)
class Fault:
    """Planted into one function, it must show in one of the databases under this policy."""

    function: str
    old: str
    new: str
    policy: str
    needs_newest: bool = False


# One for each thing that a database has: a clause that no database touches would be compared with nothing.
FAULTS = [
    Fault("entry_models(text[])", "c.names || c.qualified", "c.names", "effective"),
    Fault("entry_models(text[])", "e.word IN ('all-proxy-models', '*')", "e.word = '*'", "effective"),
    Fault("entry_models(text[])", "UNION ALL SELECT unnest(c.groups), true", "", "effective"),
    Fault("entries_of(text[], boolean)", "v_list[:v_invalid - 1]", "v_list", "effective"),
    Fault("matches(text, text)", "|| '$)')", "|| ')$')", "effective"),
    Fault("route_groups(text, text[], jsonb)", "route_length(r.name) DESC", "route_length(r.name)", "effective"),
    Fault("deployed_names()", "bool_and(d.is_blocked)", "bool_or(d.is_blocked)", "effective", needs_newest=True),
    Fault("expands_team_word()", "RETURN EXISTS", "RETURN NOT EXISTS", "teams"),
    Fault("team_lists(text[])", "coalesce(t.blocked, false)", "false", "teams"),
    Fault("clause_models(jsonb[])", "AND r.alias = x.model", "AND false", "teams"),
    Fault("member_scopes(text[])", "AND b.allowed <> '{}'", "AND false", "teams", needs_newest=True),
    Fault("scoped_aliases(jsonb, jsonb)", "p_scope IS NULL", "true", "teams", needs_newest=True),
    Fault("with_groups(text[], text[], boolean)", "v_entries = '{}' OR", "", "teams", needs_newest=True),
    Fault("owners(text[])", "'no-default-models' = ANY (u.models)", "false", "user"),
    Fault("owners(text[])", "u.metadata -> 'scim_active' IS DISTINCT FROM 'false'::jsonb", "true", "user"),
    Fault("owners(text[])", "u.user_role = 'proxy_admin'", "false", "user"),
    Fault("unusable_key(text, boolean, timestamp)", "timezone('UTC', transaction_timestamp())", "'-infinity'", "keys"),
    Fault("allows_chat(text[])", "'llm_api_routes', ", "", "keys"),
    Fault("key_ways(text[], text)", "'all-team-models' = ANY (k.models)", "false", "keys"),
    Fault("closed_key(user_bridge.known_key)", "p_key.agent_id IS NOT NULL", "false", "keys", needs_newest=True),
    Fault("user_clauses(text[])", "k.scope, k.project]", "k.scope]", "keys", needs_newest=True),
    Fault(
        "granted_to_key(user_bridge.known_key)",
        "p_key.team_id = ANY (a.assigned_team_ids)",
        "false",
        "keys",
        needs_newest=True,
    ),
    Fault("without_names(jsonb, text[])", "NULL::text AS target", "n.name AS target", "keys"),
    Fault("without_names(jsonb, text[])", "a.value <> ALL (p_names)", "true", "teams", needs_newest=True),
    Fault("team_lists(text[])", "routed_names(router_settings)", "routed_names(NULL)", "teams", needs_newest=True),
    Fault("key_ways(text[], text)", "coalesce(k.routed, t.routed)", "k.routed", "keys", needs_newest=True),
    Fault("key_ways(text[], text)", "coalesce(k.routed, t.routed)", "t.routed", "keys", needs_newest=True),
    Fault("user_clauses(text[])", "t.scope, k.project], k.aliases)", "t.scope, k.project], '{}')", "keys"),
    Fault("team_aliases(integer)", "r.target IN (SELECT o.key FROM own AS o)", "false", "teams"),
    Fault("user_clauses(text[])", "AND NOT u.is_in_team", "", "assigned"),
    Fault("user_clauses(text[])", "AND NOT u.has_list", "", "assigned"),
]


@pytest.fixture(scope="module")
def judges() -> Iterator[Callable[[str], Judge]]:
    """LiteLLM's own functions by the version of the tables; starting them takes long."""
    with ExitStack() as stack:

        @functools.cache
        def judge(version: str) -> Judge:
            age = "old" if version == pinned_versions("litellm")[0] else "new"
            try:
                return stack.enter_context(model_oracle.judge(age))
            except KitError as error:
                missing(str(error))
                raise

        yield judge


@pytest.fixture
def litellm(judges: Callable[[str], Judge], schema_versions: tuple[str, str]) -> Judge:
    """Those of the version whose tables the database has."""
    return judges(schema_versions[0])


@pytest.mark.schemas(litellm="all")
def test_the_rule_is_litellms(quick: Pair, litellm: Judge, pytestconfig: pytest.Config) -> None:
    columns = model_oracle.columns(quick)
    is_newest = "LiteLLM_ProjectTable" in columns
    # On every push the oldest version is told fewer, in which not each fault need show, and the newest shows a third.
    in_full = pytestconfig.getoption("--weekly") or "USER_BRIDGE_WORLDS" in os.environ
    at_length = is_newest or in_full
    faults = FAULTS if in_full else FAULTS[::3]
    unseen = [fault for fault in faults if at_length and (is_newest or not fault.needs_newest)]
    compared = 0
    for number in (*range(WORLDS if at_length else WORLDS // 3), *(DIFFERED if is_newest else ())):
        world = model_oracle.fitting(model_oracle.world(number, PEOPLE), columns)
        ways = litellm.ways(world)
        with model_oracle.written(quick, world) as session:
            assert model_oracle.catalogue(session) == world.names, number
            for policy in (*model_oracle.WAYS, "assigned"):
                seen = model_oracle.visible(session, world, policy)
                right = model_oracle.expected(world, ways, policy)
                # What is too much is what must never be.
                assert (number, policy, sorted(seen - right), sorted(right - seen)) == (number, policy, [], [])
            assert seen <= model_oracle.pairs(ways, *model_oracle.WAYS["effective"]), number
            compared += len(ways) * len(world.names)
            unseen = [fault for fault in unseen if not shows(session, world, ways, fault)]
    assert [(fault.function, fault.new) for fault in unseen] == []
    assert compared >= LEAST["newest" if is_newest else "oldest"] or "USER_BRIDGE_WORLDS" in os.environ


@pytest.mark.schemas(litellm="all", openwebui="all", older="weekly")
def test_a_walk_never_leaves_the_rule(quick: Pair, litellm: Judge, pytestconfig: pytest.Config) -> None:
    if not pytestconfig.getoption("--weekly"):
        walk(quick, litellm, 0, steps=8)
        return
    kept = Clearable(quick, {"initial_password": "none"})
    for number in range(WALKS):
        walk(quick, litellm, number, steps=30)
        assert kept.clear()


def walk(pair: Pair, judge: Judge, number: int, steps: int) -> None:
    # The guard has tests of its own.
    change_settings(pair, removal_accounts=1_000_000)
    Walk(pair, judge, number).go(steps)


def walk_far(pair: Pair) -> None:
    """For a fault that a walk must notice."""
    with model_oracle.judge("new") as judge:
        walk(pair, judge, 2, steps=30)


def shows(session: Session, world: World, ways: Ways, fault: Fault) -> bool:
    """Whether somebody would see other models in this database."""
    try:
        with planted(session, fault):
            seen = model_oracle.visible(session, world, fault.policy)
            return seen != model_oracle.expected(world, ways, fault.policy)
    except psycopg2.Error:
        return True


@contextmanager
def planted(session: Session, fault: Fault) -> Iterator[None]:
    """The function as it would be, and what the bridge keeps of LiteLLM's tables made with it."""
    sql = session.value("SELECT pg_get_functiondef(%s::regprocedure)", [f"user_bridge.{fault.function}"])
    assert sql.count(fault.old) == 1, f"{fault.function} has changed: plant {fault.new!r} anew"
    session.run("SAVEPOINT without_the_fault")
    try:
        session.run(sql.replace(fault.old, fault.new))
        session.run("SELECT user_bridge.refresh_entities()")
        yield
    finally:
        session.run("ROLLBACK TO SAVEPOINT without_the_fault")
