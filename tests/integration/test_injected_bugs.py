# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bug of our own in any function of the bridge: no write of LiteLLM's fails, and the bug is named.

The functions are enumerated from the catalog. Each is replaced by one that counts its calls and raises. A function that
nothing here calls fails the test: whoever adds one adds to PARTS what calls it.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg2
import pytest

from hard_support import QUICK, replaced
from kit import model_rows, openwebui, pairs, rows, weekly
from kit.bridge import Mutate, before_the_bridge, change_settings, install_bridge, own
from kit.cluster import SUPERUSER
from kit.drains import drain_all, drain_on
from kit.oracle import differences
from kit.pairs import Pair, Session, Side
from modules_support import ModuleFailed, admin, login_options, run_module
from test_model_grants import PUBLIC, readers, save_access

SIDES: tuple[Side, ...] = ("openwebui", "litellm")
Part = Callable[[Pair], None]
# No password hashing, but every other part of the bridge is in use.
SETTINGS = {**QUICK, "api_keys": "mirror", "team_groups": True}
_FUNCTIONS = """
SELECT p.oid AS number, p.proname AS name, p.oid::regprocedure::text AS signature, l.lanname AS language,
       pg_get_functiondef(p.oid) AS definition
  FROM pg_proc AS p JOIN pg_language AS l ON l.oid = p.prolang
 WHERE p.pronamespace = 'user_bridge'::regnamespace AND l.lanname IN ('sql', 'plpgsql')
   AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = p.oid AND d.deptype = 'e')
 ORDER BY p.oid::regprocedure::text"""
_WITHOUT_ARGUMENTS = """
SELECT p.oid::regprocedure::text FROM pg_proc AS p
 WHERE p.oid::regprocedure::text = %s AND p.prokind = 'f' AND p.pronargs = p.pronargdefaults
   AND p.prorettype <> 'trigger'::regtype"""


@dataclass(frozen=True)
class Function:
    side: Side
    number: int
    name: str
    signature: str
    language: str
    definition: str

    @property
    def key(self) -> tuple[str, int]:
        """What the server's log names it by."""
        return self.side, self.number

    @property
    def counting(self) -> str:
        """The function, telling of its calls."""
        call = f"public.hit({self.number})"
        if self.language == "plpgsql":
            return self._begin(f"PERFORM {call};")
        return re.sub(r"^AS \$function\$", f"AS $function$ SELECT {call};", self.definition, flags=re.MULTILINE)

    @property
    def broken(self) -> str:
        """The function with a bug before its first statement, and its handling of errors, if it has any."""
        bug = f"PERFORM public.hit({self.number}); RAISE 'injected into {self.name}';"
        if self.language == "plpgsql":
            return self._begin(bug)
        header = self.definition[: self.definition.index("AS $function$")]
        header = re.sub(r"^ LANGUAGE sql$", " LANGUAGE plpgsql", header, flags=re.MULTILINE)
        return f"{header}AS $function$BEGIN {bug} END$function$"

    def _begin(self, statements: str) -> str:
        changed, count = re.subn(r"^BEGIN$", f"BEGIN {statements}", self.definition, count=1, flags=re.MULTILINE)
        assert count == 1, self.definition
        return changed


def functions(pair: Pair, side: Side) -> list[Function]:
    return [Function(side=side, **row) for row in admin(pair, side).rows(_FUNCTIONS)]


@contextmanager
def injected(pair: Pair, function: Function) -> Iterator[None]:
    session = admin(pair, function.side)
    session.run(function.broken)
    try:
        yield
    finally:
        session.run(function.definition)


def world(pair: Pair, mutate: Mutate | None = None) -> None:
    install_bridge(pair, SETTINGS, mutate=mutate)
    rows.add_organization(pair.litellm, "o0", "O")
    rows.add_user(pair.litellm, "u0", "u0@example.com")
    rows.add_team(pair.litellm, "t0", "T", members_with_roles=[])


def write_everything(session: Session) -> None:
    """Each kind of write once; LiteLLM must not notice that the bridge is broken."""
    rows.add_user(session, "u1", "u1@example.com", teams=["t0"])
    rows.join_organization(session, "o0", "u1")
    rows.change_user(session, "u1", user_alias="Alias", user_email="u0@example.com")
    rows.change_team(session, "t0", team_alias="T 1", members_with_roles=[{"role": "user", "user_id": "u1"}])
    rows.add_key(session, "token1", "u1")
    rows.rename_organization(session, "o0", "O 1")
    rows.flush_spend(session, ["u0", "u1"], 0.25)
    session.run("""UPDATE "LiteLLM_VerificationToken" SET spend = spend + 0.25 WHERE token = %s""", ["token1"])
    session.run("""DELETE FROM "LiteLLM_VerificationToken" WHERE token = %s""", ["token1"])
    rows.delete_user(session, "u1")


class Writer(Session):
    """LiteLLM's own connection, whose every statement must succeed."""

    def run(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] | None = None) -> int:
        with _must_succeed():
            return super().run(sql, parameters)

    def commit(self) -> None:
        with _must_succeed():
            super().commit()


@contextmanager
def _must_succeed() -> Iterator[None]:
    try:
        yield
    except psycopg2.errors.QueryCanceled:
        raise
    except psycopg2.Error as error:
        raise AssertionError("a write of LiteLLM's has failed") from error


def writer(pair: Pair, *, autocommit: bool = True) -> Writer:
    return Writer(pair.connect("litellm", autocommit=autocommit).raw)


# What else there is to do, one part after the other, for whatever the writes above do not reach.


def _rare_writes(pair: Pair) -> None:
    session = writer(pair)
    rows.add_user(session, "boss", "boss@example.com", user_role="proxy_admin", user_alias="n" * 300)
    rows.change_user(session, "boss", user_email="elsewhere@example.com")
    rows.add_user(session, "twin", "elsewhere@example.com")
    rows.change_user(session, "boss", metadata={"scim_active": False})
    rows.delete_user(session, "boss")
    rows.add_team(session, "t1", "T1", organization_id="o0", members_with_roles=[{"role": "user", "user_id": "u0"}])
    rows.add_key(session, "5f" * 32, "u0")
    rows.change_user(session, "u0", user_role="internal_user")
    rows.delete_team(session, "t1")
    rows.add_organization(session, "o1", "O1")
    rows.delete_organization(session, "o1")


def _exchanged_addresses(pair: Pair) -> None:
    session = writer(pair, autocommit=False)
    rows.add_user(session, "a", "a@example.com")
    rows.add_user(session, "b", "b@example.com")
    session.commit()
    rows.change_user(session, "a", user_email="b@example.com")
    rows.change_user(session, "b", user_email="a@example.com")
    session.commit()


def _renamed_column(pair: Pair) -> None:
    pair.litellm.run('ALTER TABLE "LiteLLM_UserTable" RENAME COLUMN user_alias TO alias')
    try:
        rows.change_user(writer(pair), "u0", alias="Ann")
    finally:
        pair.litellm.run('ALTER TABLE "LiteLLM_UserTable" RENAME COLUMN alias TO user_alias')


def _made_anew(pair: Pair) -> None:
    """A team that comes back after it has gone unnoticed, as by a restored backup."""
    session = writer(pair)
    rows.add_team(session, "t1", "T1", members_with_roles=[{"role": "user", "user_id": "u0"}])
    pair.litellm_admin.run("SET session_replication_role = replica")
    rows.delete_team(pair.litellm_admin, "t1")
    pair.litellm_admin.run("RESET session_replication_role")
    rows.add_team(session, "t1", "T1", members_with_roles={})


def _refused(pair: Pair) -> None:
    """An entity that Open WebUI refuses, and deliveries of an unknown transaction."""
    pair.openwebui_admin.run("ALTER TABLE \"user\" ADD CONSTRAINT nobody CHECK (name <> 'nobody')")
    try:
        rows.change_user(writer(pair), "u0", user_alias="nobody")
        pair.litellm_admin.rows("SELECT * FROM user_bridge.drain()")
    finally:
        pair.openwebui_admin.run('ALTER TABLE "user" DROP CONSTRAINT nobody')
    pair.openwebui_admin.run("UPDATE user_bridge.entity SET source_txid = '900000000000'")
    pair.litellm_admin.rows("SELECT * FROM user_bridge.drain()")


def _poisoned(pair: Pair) -> None:
    """An entity that fails on LiteLLM's side, so that all are delivered one by one."""
    pair.litellm_admin.run(
        "INSERT INTO user_bridge.sync_queue (entity_type, entity_id) VALUES ('team_member', 'no JSON'), ('user', 'u0')"
    )
    try:
        pair.litellm_admin.rows("SELECT * FROM user_bridge.drain()")
    finally:
        pair.litellm_admin.run("DELETE FROM user_bridge.sync_queue WHERE entity_id = 'no JSON'")


def _waiting(pair: Pair) -> None:
    """Two transactions about one entity: the second waits for the first."""
    first, second = writer(pair, autocommit=False), writer(pair, autocommit=False)
    rows.change_team(first, "t0", team_alias="T held")
    first.run("SET CONSTRAINTS ALL IMMEDIATE")
    second.run("SET statement_timeout = '500ms'")
    rows.add_user(second, "member", "member@example.com", teams=["t0"])
    with contextlib.suppress(psycopg2.errors.QueryCanceled):
        second.run("SET CONSTRAINTS ALL IMMEDIATE")
    second.rollback()
    first.commit()


def _backlog(pair: Pair) -> None:
    session = writer(pair)
    pair.litellm_admin.run("SELECT user_bridge.pause_until(now() + interval '1 hour')")
    rows.change_user(session, "u0", user_alias="Later")
    rows.change_team(session, "t0", team_alias="T later")
    pair.litellm_admin.run("SELECT user_bridge.resume()")
    rows.rename_organization(session, "o0", "O now")


def _bulk(pair: Pair) -> None:
    session = writer(pair, autocommit=False)
    for number in range(25):
        rows.add_user(session, f"bulk{number}", f"bulk{number}@example.com")
        rows.join_organization(session, "o0", f"bulk{number}")
    session.commit()


def _guard(pair: Pair) -> None:
    """Removals over the limit: of somebody who is back, listed, and approved."""
    session = writer(pair)
    # As if the last time were long ago: what has been counted or is held would be decided already.
    for table in ("removal", "held", "incident"):
        pair.openwebui_admin.run(f"DELETE FROM user_bridge.{table}")
    change_settings(pair, removal_accounts=0, removal_percent=0)
    for name in ("gone", "back"):
        rows.add_user(session, name, f"{name}@example.com")
        rows.delete_user(session, name)
    rows.add_user(session, "back", "back@example.com")
    for call in ("maintain()", "pending_removals()", "approve_removals()", "drain()"):
        pair.litellm_admin.rows(f"SELECT * FROM user_bridge.{call}")


def _drift(pair: Pair) -> None:
    """Something different for each way of finding it."""
    session = writer(pair)
    rows.add_user(session, "drift", "drift@example.com", metadata={"scim_active": False}, teams=["t0"])
    rows.change_team(session, "t0", members_with_roles=[{"role": "user", "user_id": "u0"}])
    rows.add_key(session, "6a" * 32, "u0")
    pair.openwebui.run("UPDATE \"user\" SET name = 'x' WHERE id = 'usr_u0'")
    pair.openwebui.run("UPDATE \"group\" SET name = 'x'")
    if openwebui.has_member_table(pair):
        pair.openwebui.run("DELETE FROM group_member")
    # Something else is on its way meanwhile.
    pair.litellm_admin.run("UPDATE user_bridge.settings SET paused = true")
    rows.rename_organization(session, "o0", "O queued")
    pair.litellm_admin.rows("SELECT * FROM user_bridge.reconcile()")
    preview = "SELECT * FROM user_bridge.preview(ARRAY['user', 'team', 'user_key'], ARRAY['u0', 't0', 'u0'])"
    pair.litellm_admin.rows(preview)


def _passwords(pair: Pair) -> None:
    change_settings(pair, initial_password="email", password_cost=4)
    rows.add_user(writer(pair), "pw", "pw@example.com")
    rows.change_user(writer(pair), "pw", user_role="proxy_admin")
    # One that others left, in a COMMIT.
    pair.litellm_admin.run("SELECT user_bridge.pause_until(now() + interval '1 hour')")
    rows.add_user(writer(pair), "left", "left@example.com")
    pair.litellm_admin.run("SELECT user_bridge.resume()")
    rows.rename_organization(writer(pair), "o0", "O since")
    # One that is left to the drainer, which ends over it.
    try:
        pair.litellm_admin.run("SELECT user_bridge.begin_drainer()")
        rows.add_user(writer(pair), "later", "later@example.com")
    finally:
        pair.litellm_admin.run("SELECT pg_advisory_unlock_all()")
    pair.litellm_admin.rows("SELECT * FROM user_bridge.drain()")
    pair.openwebui_admin.run("UPDATE user_bridge.entity SET initial_password_at = now() - interval '1 year'")
    pair.litellm_admin.rows("SELECT * FROM user_bridge.maintain()")


def _strangers(pair: Pair) -> None:
    """Accounts that were made by hand have addresses that LiteLLM brings."""
    openwebui.add_account(pair, "boss", "boss@example.com", role="admin")
    openwebui.add_account(pair, "theirs", "theirs@example.com")
    session = writer(pair)
    rows.add_user(session, "eve", "Boss@example.com")
    rows.add_user(session, "mal", "theirs@example.com")
    rows.change_user(session, "mal", user_email="mal@example.com")
    rows.change_user(session, "mal", user_role="proxy_admin")
    rows.add_user(session, "umlaut", "\u00e4nne@example.com")
    rows.delete_user(session, "mal")
    pair.openwebui_admin.value("SELECT user_bridge.fold_email('Boss@example.com')")
    own(pair)


def _expired_key(pair: Pair) -> None:
    rows.add_key(writer(pair), "7b" * 32, "u0")
    pair.litellm_admin.run(
        'UPDATE user_bridge.sync_mapping SET sync_data = sync_data || \'{"expires": "2020-01-01"}\' '
        "WHERE litellm_type = 'api_key'"
    )
    pair.litellm_admin.rows("SELECT * FROM user_bridge.maintain()")


def _models(pair: Pair) -> None:
    """Rights on models by each clause of the rule, and what changes them."""
    session = writer(pair)
    extra = [{"name": "routed/m", "provider": "openai"}, {"name": "m3", "access_groups": ["g"], "provider": "openai"}]
    change_settings(pair, model_access=True, model_policy="assigned", models_for_everyone=["m1"], extra_models=extra)
    for name in ("m1", "m2", "routed/*"):
        model_rows.add_model(session, name, model_info={"access_groups": ["g"]})
    model_rows.configure(session, "router_settings", {"model_group_alias": {"short": "m1"}})
    model_rows.configure(session, "litellm_settings", {"model_alias_map": {"other": "m2"}})
    model_rows.set_aliases(session, 7, {"mine": "m2"})
    model_rows.add_access_group(session, "ag", ["m2"], assigned_team_ids=["t1"])
    member = [{"role": "user", "user_id": "u0"}]
    rows.add_team(
        session, "t1", "T1", models=["m*", "(*"], access_group_ids=["ag"], model_id=7, members_with_roles=member
    )
    rows.change_team(session, "t1", models=["m*", "all-team-models", "g"])
    model_rows.add_project(session, "p", ["m1", "m+*"], team_id="t1")
    model_rows.add_scope(session, "t1", "u0", ["m1", "min*"])
    rows.add_key(session, "9d" * 32, "u0", models=["m1"], allowed_routes=["/chat/*"])
    rows.add_key(session, "0e" * 32, "u0", models=["g"], team_id="t1", access_group_ids=["ag"], project_id="p")
    for models in (["m1", "m2"], ["m1", "no-default-models"], ["g"], []):
        rows.change_user(session, "u0", models=models)
    model_rows.drain(pair)
    model_rows.change_budget(session, "budget of u0 in t1", allowed_models=["m2"])
    model_rows.change_access_group(session, "ag", access_model_names=["m1"])
    model_rows.change_project(session, "p", models=["m2"])
    model_rows.set_aliases(session, 7, {"mine": "m1"})
    model_rows.change_model(session, "m2", blocked=True)
    model_rows.add_model(session, "m4")
    model_rows.configure(session, "litellm_settings", {"personal_key_model_access_from_teams": True})
    model_rows.drain(pair)
    for policy in ("keys", "effective"):
        change_settings(pair, model_policy=policy)
        for model in ("m1", "m2", "mine", "nothing"):
            pair.litellm_admin.value("SELECT user_bridge.explain_model('u0', %s)", [model])
    pair.litellm_admin.value("SELECT user_bridge.lost_models('[]')")
    rows.change_user(session, "u0", models=["m1"])
    pair.litellm_admin.run("UPDATE user_bridge.model_set SET unused_since = unused_since - interval '2 hours'")
    pair.litellm_admin.run("SELECT setval('user_bridge.litellm_columns', 64)")
    pair.litellm_admin.rows("SELECT * FROM user_bridge.maintain()")
    model_rows.drain(pair)


def _models_missed(pair: Pair) -> None:
    """What no trigger saw, and a team that is gone with its members."""
    change_settings(pair, model_access=True)
    session = pair.litellm_admin
    member = [{"role": "user", "user_id": "u0"}]
    for team in ("t1", "t3"):
        rows.add_team(writer(pair), team, members_with_roles=member)
    rows.delete_team(writer(pair), "t3")
    model_rows.drain(pair)
    session.run("SET session_replication_role = replica")
    rows.add_team(session, "t2", "T2", members_with_roles=member)
    rows.delete_team(session, "t1")
    session.run("RESET session_replication_role")
    session.rows("SELECT * FROM user_bridge.reconcile()")
    session.rows("SELECT user_bridge.model_rights()")
    session.rows("SELECT * FROM user_bridge.reconcile(true)")


def _models_there(pair: Pair) -> None:
    """What administrators' pages do to rights on models in Open WebUI, and what becomes of it."""
    change_settings(pair, model_access=True)
    session = writer(pair)
    names = ("m1", "m2", "m3")
    for name in names:
        model_rows.add_model(session, name, model_info={"access_groups": ["g"]})
    rows.add_user(session, "u1", "u1@example.com", models=["m1", "m2"])
    rows.change_user(session, "u0", models=["g"])
    rows.add_team(session, "t1", "T1", models=["m*"], members_with_roles=model_rows.members("u0", "u1"))
    model_rows.drain(pair)
    loaded = {name: readers(pair, name) for name in names}
    pair.litellm_admin.value("SELECT user_bridge.explain_model('u1', 'm1')")
    rows.change_user(session, "u1", models=["m1"])
    rows.change_user(session, "u0", models=["g", "m4"])
    rows.change_team(session, "t1", models=["m1", "m3"])
    model_rows.add_scope(session, "t1", "u1", ["m1"])
    model_rows.drain(pair)
    for name in ("m1", "m2"):
        save_access(pair, name, loaded[name])
    save_access(pair, "m3", set())
    _without_members(pair)
    _looked_out(pair)
    pair.openwebui.run("DELETE FROM \"group\" WHERE id LIKE 'grp_scope_%' OR id LIKE 'grp_models_%'")
    pair.openwebui.run("DELETE FROM model WHERE id = 'm3'")
    _looked_out(pair)
    rows.change_user(session, "u0", models=["g"])
    save_access(pair, "m1", {PUBLIC})
    change_settings(pair, model_takeover=True)
    model_rows.change_model(session, "m1", model_info={})
    pair.openwebui_admin.value("SELECT user_bridge.model_report()")
    pair.litellm_admin.value("SELECT user_bridge.explain_model('u1', 'm1')")
    session.run("""UPDATE "LiteLLM_UserTable" SET user_id = 'u2' WHERE user_id = 'u1'""")
    session.run("""UPDATE "LiteLLM_TeamTable" SET team_id = 't2' WHERE team_id = 't1'""")
    for number in range(25):
        rows.add_user(session, f"bulk{number}", f"bulk{number}@example.com", models=["g" if number % 2 else "m1"])
        rows.add_team(session, f"bulk{number}", models=["m2"], members_with_roles=model_rows.members(f"bulk{number}"))
        model_rows.add_scope(session, f"bulk{number}", f"bulk{number}", ["m*"])
    model_rows.drain(pair)
    pair.litellm_admin.rows("SELECT * FROM user_bridge.reconcile()")
    with _rolled_back(pair.openwebui_admin):
        pair.openwebui_admin.rows("SELECT * FROM user_bridge.remove_data()")
    for name in names:
        model_rows.delete_model(session, name)
    model_rows.drain(pair)


def _without_members(pair: Pair) -> None:
    if openwebui.has_member_table(pair):
        pair.openwebui.run("DELETE FROM group_member")
    else:
        pair.openwebui.run("UPDATE \"group\" SET user_ids = '[]'")


def _looked_out(pair: Pair) -> None:
    pair.litellm_admin.run("DELETE FROM user_bridge.upkeep WHERE task = 'lookout'")
    pair.litellm_admin.rows("SELECT * FROM user_bridge.maintain()")
    model_rows.drain(pair)


def _removed_data(pair: Pair) -> None:
    rows.add_key(writer(pair), "8c" * 32, "u0")
    with _rolled_back(pair.openwebui_admin):
        pair.openwebui_admin.rows("SELECT * FROM user_bridge.remove_data()")


def _taken_over(pair: Pair) -> None:
    """What bridge_takeover calls beside what a delivery does."""
    with _rolled_back(pair.openwebui_admin):
        pair.openwebui_admin.rows("SELECT user_bridge.link_upstream_rows('[]')")
    with _rolled_back(pair.openwebui_admin):
        pair.openwebui_admin.rows("SELECT user_bridge.unlink_accounts('{}')")


def _migration(pair: Pair) -> None:
    pair.litellm_admin.run("DELETE FROM user_bridge.sync_mapping")
    run_module("bridge_migration", login_options(pair, "litellm"))


def _information(pair: Pair) -> None:
    options = {**login_options(pair, "litellm"), "openwebui_login_db": pair.openwebui_db}
    run_module("bridge_info", {**options, "drift": True})


def _writes(pair: Pair) -> None:
    spend = """SELECT spend FROM "LiteLLM_UserTable" WHERE user_id = 'u0'"""
    before = pair.litellm.value(spend)
    write_everything(writer(pair))
    assert pair.litellm.value(spend) == before + 0.25


def _rekeyed(pair: Pair) -> None:
    """A user's and a team's id that LiteLLM rewrites."""
    session = writer(pair)
    rows.add_user(session, "r1", "r1@example.com", teams=["t0"])
    session.run("""UPDATE "LiteLLM_UserTable" SET user_id = 'r2' WHERE user_id = 'r1'""")
    rows.add_team(session, "t9", "Nine", members_with_roles=[{"role": "user", "user_id": "r2"}])
    session.run("""UPDATE "LiteLLM_TeamTable" SET team_id = 't8' WHERE team_id = 't9'""")


def _awaited(pair: Pair) -> None:
    """A user who was listed in a team before."""
    listed = [{"role": "user", "user_id": "w1"}]
    rows.add_team(writer(pair), "tw", "Waiting", members_with_roles=listed)
    rows.add_user(writer(pair), "w1", "w1@example.com")


def _healed(pair: Pair) -> None:
    """What somebody deleted in Open WebUI, found by the lookout."""
    rows.add_user(writer(pair), "h1", "h1@example.com", teams=["t0"])
    pair.openwebui.run("""DELETE FROM "user" WHERE id = 'usr_h1'""")
    pair.openwebui.run("""DELETE FROM "group" WHERE id = 'grp_team_t0'""")
    rows.change_team(writer(pair), "t0", members_with_roles=[{"role": "user", "user_id": "h1"}])
    pair.litellm_admin.rows("SELECT * FROM user_bridge.maintain()")


def _drainer(pair: Pair) -> None:
    """One round of it."""
    pair.litellm_admin.run("UPDATE user_bridge.settings SET delivery = 'queued'")
    rows.add_user(writer(pair), "d1", "d1@example.com")
    pair.litellm_admin.run("UPDATE user_bridge.settings SET delivery = 'commit'")
    pair.litellm_admin.run("CALL user_bridge.drainer(0)")


def _outage(pair: Pair) -> None:
    """Open WebUI's server is away for a commit and for a drain."""
    session = writer(pair)
    pair.litellm_admin.run("ALTER SERVER user_bridge_target OPTIONS (SET port '1')")
    try:
        rows.add_user(session, "away", "away@example.com")
        pair.litellm_admin.rows("SELECT * FROM user_bridge.drain(100, true)")
        pair.litellm_admin.rows("SELECT * FROM user_bridge.outage()")
    finally:
        pair.litellm_admin.run(f"ALTER SERVER user_bridge_target OPTIONS (SET port '{pair.cluster.port}')")


def _enforced(pair: Pair) -> None:
    """LiteLLM itself refuses, is compared, and gets its rows back."""
    admin = pair.litellm_admin
    change_settings(pair, model_access=True, enforce_models=True, enforce_unknown="deny")
    rows.add_user(writer(pair), "e1", "e1@example.com", models=["gpt"])
    # What two lists have in common.
    model_rows.add_model(writer(pair), "gpt")
    rows.add_team(writer(pair), "t9", "T", members_with_roles=model_rows.members("e1"), models=["gpt", "other"])
    model_rows.add_scope(writer(pair), "t9", "e1", ["gpt", "another"])
    rows.insert(writer(pair), "LiteLLM_EndUserTable", {"user_id": "e2@example.com"})
    rows.add_user(writer(pair), "e2", "e2@example.com", models=[])
    unlinked = {"enforce_unlinked": "allow"}
    for settings in ({}, {"enforce_key": "id"}, unlinked, {"enforce_unlinked": "deny"}, {"enforce_models": False}):
        change_settings(pair, **settings)
        admin.rows("SELECT * FROM user_bridge.drain(100)")
        admin.rows("SELECT user_bridge.check_end_users(s) FROM user_bridge.settings AS s")
        admin.rows("SELECT user_bridge.follow_unlinked(s) FROM user_bridge.settings AS s")
        for _turn in range(5):
            admin.rows("SELECT user_bridge.enforce_rights(s) FROM user_bridge.settings AS s")
        admin.rows("SELECT user_bridge.enforcement()")
        admin.rows("SELECT * FROM user_bridge.reconcile()")


def _taken_back(pair: Pair) -> None:
    """Another id for somebody, delivered and taken back by a savepoint."""
    session = writer(pair, autocommit=False)
    rows.change_user(session, "u0", user_alias="Before")
    session.run("SAVEPOINT here")
    session.run("""UPDATE "LiteLLM_UserTable" SET user_id = 'u9' WHERE user_id = 'u0'""")
    session.run("SET CONSTRAINTS ALL IMMEDIATE")
    session.run("ROLLBACK TO SAVEPOINT here")
    session.commit()
    pair.litellm_admin.rows("SELECT * FROM user_bridge.drain()")


def _unrecorded(pair: Pair) -> None:
    """Somebody leaves a team in which no trigger has recorded him."""
    change_settings(pair, model_access=True)
    session = writer(pair)
    rows.add_team(session, "t1", "T1", members_with_roles=model_rows.members("u0"))
    pair.litellm_admin.run("DELETE FROM user_bridge.listed_member")
    rows.change_team(session, "t1", members_with_roles=[])
    pair.litellm_admin.rows("SELECT * FROM user_bridge.drain()")


def _many_at_once(pair: Pair) -> None:
    """So many join a team that its list is queued."""
    session = writer(pair)
    rows.add_team(session, "many", "Many")
    session.run(
        'UPDATE "LiteLLM_TeamTable" SET members_with_roles = (SELECT jsonb_agg(jsonb_build_object('
        "'role', 'user', 'user_id', 'n' || n)) FROM generate_series(1, 2001) AS n) WHERE team_id = 'many'"
    )
    pair.litellm_admin.rows("SELECT * FROM user_bridge.drain()")


def _gave_way(pair: Pair) -> None:
    """A COMMIT beside another, while the drainer does not keep up."""
    other, session = writer(pair, autocommit=False), writer(pair)
    change_settings(pair, delivery="commit")
    pair.litellm_admin.run("SELECT user_bridge.begin_drainer()")
    try:
        rows.change_user(other, "u0", user_alias="First")
        other.run("SET CONSTRAINTS ALL IMMEDIATE")
        pair.litellm_admin.run("SELECT setval('user_bridge.waiting_since', user_bridge.now_ms() - 400)")
        rows.rename_organization(session, "o0", "O beside")
    finally:
        other.commit()
        pair.litellm_admin.run("SELECT user_bridge.end_drainer(), setval('user_bridge.waiting_since', 1)")


def _beside_a_drainer(pair: Pair) -> None:
    """COMMITs that ask Open WebUI's side whether what they bring concerns thousands."""
    change_settings(pair, model_access=True, model_policy="assigned", delivery="commit")
    session = writer(pair)
    model_rows.add_model(session, "w1")
    rows.add_user(session, "wide", "wide@example.com")
    model_rows.drain(pair)
    pair.litellm_admin.run("SELECT user_bridge.begin_drainer(), setval('user_bridge.waiting_since', 1)")
    try:
        rows.change_user(session, "wide", models=["w*"])
        rows.change_team(session, "t0", models=["w*"])
    finally:
        pair.litellm_admin.run("SELECT pg_advisory_unlock_all()")


def _bare_ids(pair: Pair) -> None:
    """LiteLLM's ids without a prefix."""
    change_settings(pair, user_id_prefix="")
    try:
        rows.add_user(writer(pair), "bare", "bare@example.com")
        pair.litellm_admin.rows("SELECT * FROM user_bridge.drain()")
    finally:
        change_settings(pair, user_id_prefix="usr_")


def _locked(pair: Pair) -> None:
    """Writes beside tables that somebody has locked, and the comparison after that."""
    holder = pair.connect("litellm", SUPERUSER, autocommit=False)
    try:
        for table in ("address", "sync_queue"):
            holder.run(f"LOCK TABLE user_bridge.{table} IN ACCESS EXCLUSIVE MODE")
            rows.change_user(writer(pair), "u0", user_email=f"{table}@example.com")
            holder.rollback()
    finally:
        holder.close()
    pair.litellm_admin.rows("SELECT * FROM user_bridge.drain()")


def _missed_account(pair: Pair) -> None:
    """Of somebody whom no trigger has seen, a comparison finds the account and the membership."""
    with before_the_bridge(pair):
        rows.add_user(writer(pair), "m1", "m1@example.com")
        rows.add_team(writer(pair), "tm", "Missed", members_with_roles=model_rows.members("m1"))
    pair.litellm_admin.rows("SELECT * FROM user_bridge.reconcile(true)")
    pair.litellm_admin.rows("SELECT * FROM user_bridge.drain()")


PARTS: list[Part] = [
    _writes,
    _awaited,
    _rare_writes,
    _exchanged_addresses,
    _backlog,
    _made_anew,
    _refused,
    _poisoned,
    _renamed_column,
    _guard,
    _drift,
    _passwords,
    _strangers,
    _expired_key,
    _bulk,
    _models,
    _models_missed,
    _models_there,
    _removed_data,
    _taken_over,
    _waiting,
    _migration,
    _rekeyed,
    _taken_back,
    _unrecorded,
    _many_at_once,
    _locked,
    _missed_account,
    _gave_way,
    _beside_a_drainer,
    _bare_ids,
    _healed,
    _drainer,
    _outage,
    _enforced,
    _information,
]


@contextmanager
def _rolled_back(session: Session) -> Iterator[None]:
    session.run("BEGIN")
    try:
        yield
    finally:
        session.run("ROLLBACK")


def _called_by_itself(function: Function) -> Callable[[Pair], None]:
    def call(pair: Pair) -> None:
        with _rolled_back(pair.litellm_admin):
            pair.litellm_admin.rows(f"SELECT * FROM user_bridge.{function.name}()")

    return call


class Hits:
    """Which of the functions have been called, by the server's log: it keeps what is rolled back, or read-only."""

    def __init__(self, pair: Pair) -> None:
        self._log = pair.cluster.log
        self._read = self._log.stat().st_size
        for side in SIDES:
            admin(pair, side).run(
                "CREATE FUNCTION public.hit(integer) RETURNS void LANGUAGE plpgsql AS "
                f"$$BEGIN RAISE LOG 'called function % of {side}', $1; END$$"
            )

    def since_the_last_look(self) -> set[tuple[str, int]]:
        with self._log.open("rb") as log:
            log.seek(self._read)
            text = log.read()
        self._read += len(text)
        found = re.findall(r"called function (\d+) of (\w+)", text.decode("utf-8", errors="replace"))
        return {(side, int(number)) for number, side in found}


def _problems(pair: Pair) -> list[str]:
    """What LiteLLM's side of the bridge says is wrong."""
    return [
        row["error"]
        for row in pair.litellm_admin.rows(
            """SELECT q.last_error AS error FROM user_bridge.sync_queue AS q WHERE q.last_error IS NOT NULL
                UNION SELECT t.outage_error FROM user_bridge.target AS t WHERE t.outage_error IS NOT NULL
                UNION SELECT u.last_error FROM user_bridge.upkeep AS u WHERE u.last_error IS NOT NULL"""
        )
    ]


def _faults(pair: Pair) -> int:
    return int(pair.litellm_admin.value("SELECT coalesce(pg_sequence_last_value('user_bridge.trigger_faults'), 0)"))


def _mended(pair: Pair, compare: bool = True) -> None:
    """The world as it was before a part, and both sides equal."""
    pair.litellm_admin.run("UPDATE user_bridge.settings SET paused = false")
    change_settings(pair, removal_accounts=1000000, removal_percent=5, initial_password="none", model_access=False)
    change_settings(pair, model_takeover=False, enforce_models=False, enforce_key="email")
    change_settings(pair, enforce_unlinked="deny")
    pair.litellm_admin.run("TRUNCATE user_bridge.end_user, user_bridge.rights_due, user_bridge.unlinked_account")
    for condition in (
        'VerificationToken"',
        'OrganizationMembership"',
        'TeamMembership"',
        'ProjectTable"',
        'AccessGroupTable"',
        'ProxyModelTable"',
        'Config"',
        'EndUserTable"',
        "UserTable\" WHERE user_id <> 'u0'",
        "TeamTable\" WHERE team_id <> 't0'",
        'ModelTable"',
        "OrganizationTable\" WHERE organization_id <> 'o0'",
        "BudgetTable\" WHERE budget_id <> 'budget of o0'",
    ):
        pair.litellm.run(f'DELETE FROM "LiteLLM_{condition}')
    rows.change_user(pair.litellm, "u0", user_email="u0@example.com", user_alias=None, user_role=None, models=[])
    rows.change_team(pair.litellm, "t0", team_alias="T", members_with_roles={})
    rows.rename_organization(pair.litellm, "o0", "O")
    # What rights on models have left, which are not followed any more.
    if pair.litellm_admin.value(
        "SELECT EXISTS (SELECT FROM user_bridge.model_catalog) OR user_bridge.has_granted_models()"
    ):
        pair.litellm_admin.run("SELECT user_bridge.enqueue_everything()")
    pair.litellm_admin.run("SELECT setval('user_bridge.breaker_until', 1)")
    # What was not held because of the bug joins its incident with the next drain.
    for _round in range(20):
        drain_on(pair)
        if not pair.litellm_admin.value("SELECT user_bridge.approve_removals()"):
            break
    drain_all(pair)
    for table in ("auth", "user"):
        pair.openwebui.run(f"DELETE FROM \"{table}\" WHERE id IN ('boss', 'theirs')")
    # Those of models that somebody had made public stay.
    pair.openwebui.run("DELETE FROM model")
    # What a broken row trigger could not queue is found by comparing both sides.
    while compare and pair.litellm_admin.rows("SELECT * FROM user_bridge.reconcile(true)"):
        drain_all(pair)


@contextmanager
def _closing_sessions(pair: Pair) -> Iterator[None]:
    kept = set(pair.sessions.values())
    yield
    for session in [each for each in pair.opened if each not in kept]:
        session.close()
        pair.opened.remove(session)


def _reached(
    pair: Pair, hits: Hits, found: list[Function], every_part: bool, first: Part
) -> dict[tuple[str, int], list[Part]]:
    """For each function the parts that call it; or, where that is enough, some."""
    reached: dict[tuple[str, int], list[Part]] = {}
    by_themselves = [
        (function.key, _called_by_itself(function))
        for function in found
        if function.side == "litellm" and pair.litellm_admin.value(_WITHOUT_ARGUMENTS, [function.signature])
    ]

    def look(part: Part) -> None:
        hits.since_the_last_look()
        with _closing_sessions(pair):
            part(pair)
        for called in hits.since_the_last_look():
            reached.setdefault(called, []).append(part)

    for function in found:
        admin(pair, function.side).run(function.counting)
    # What only an old Open WebUI needs is mostly about rights on models.
    for part in PARTS if every_part else sorted(PARTS, key=lambda part: part is not first):
        if every_part or any(function.key not in reached for function in found):
            look(part)
            _mended(pair)
    # Each of them is rolled back.
    for key, part in by_themselves:
        if every_part or key not in reached:
            look(part)
    _mended(pair)
    for function in found:
        admin(pair, function.side).run(function.definition)
    return reached


def _is_harmless(pair: Pair, hits: Hits, function: Function, part: Part) -> bool:
    """A bug in the function harms no write of the part's, and is named. False: the function has not been called."""
    hits.since_the_last_look()
    faults = _faults(pair)
    with injected(pair, function), _closing_sessions(pair):
        try:
            part(pair)
        except (psycopg2.Error, ModuleFailed) as error:
            assert f"injected into {function.name}" in str(error), (function.name, error)
        called = bool(hits.since_the_last_look())
        named = any(function.name in problem for problem in _problems(pair))
        if called and part is _writes and not named and _faults(pair) == faults:
            # Then it did no harm at all: another way was taken.
            drain_all(pair)
            assert differences(pair) == [], function.name
    _mended(pair, compare=part is not _writes or _faults(pair) > faults)
    return called


def _each_function(pair: Pair, share: int, signatures: set[str] | None = None) -> set[str]:
    """Inject a bug into one of `share` functions (None: of all); returns those that no part calls."""
    world(pair)
    every = [function for side in SIDES for function in functions(pair, side)]
    found = [each for each in every if signatures is None or each.signature in signatures]
    hits = Hits(pair)
    reached = _reached(pair, hits, found, share == 1, _writes if signatures is None else _models_there)
    # A second part where a function is not called each time, as one that takes a little of the backlog now and then.
    left = {
        function.signature
        for function in found
        for parts in [reached.get(function.key, [])]
        if not parts
        or weekly.is_chosen(function.signature, share)
        and not any(_is_harmless(pair, hits, function, part) for part in parts)
    }
    assert differences(pair) == []
    return left


# What needs a shortage or a fault that other tests make, which write to LiteLLM meanwhile.
ELSEWHERE = {
    "user_bridge.last_within(bigint[],integer)",  # test_locks: no locks to spare
    "user_bridge.target_answers(user_bridge.settings)",  # test_locks: an item that hangs
    "user_bridge.drainer_failed(jsonb,text)",  # test_drainer: an error in a round
    "user_bridge.refusal_text(text,text)",  # test_surroundings: a name that the target's encoding lacks
    "user_bridge.refusal_code(text)",  # the same
    "user_bridge.is_in_hands(text)",  # test_upkeep: a task that is due
    "user_bridge.forget_principal(text,text)",  # test_model_grants: a group that an older installation left
    "user_bridge.miss_rights(jsonb,jsonb)",  # test_model_misses: a row that a trigger for rights cannot follow
    "user_bridge.many_entry_models(text[])",  # test_long_lists: lists of thousands
    "user_bridge.apply_without(jsonb,bigint[])",  # test_left_to_drain: a group of thousands
    "user_bridge.take_slot(integer)",  # test_connections: fewer connections than sessions
}


def test_a_bug_in_any_function_harms_no_write_and_is_named(pair: Pair, pytestconfig: pytest.Config) -> None:
    # All weekly; on every push it is known of all that something here calls them.
    share = 1 if pytestconfig.getoption("--weekly") else 64
    left = _each_function(pair, share) - ELSEWHERE
    if left:
        # What only an old Open WebUI needs.
        with pairs.pair(pair.cluster, openwebui="old") as old:
            left = _each_function(old, share, left)
    assert not left, sorted(left)


@pytest.mark.parametrize(
    ("mutate", "broken"),
    [
        pytest.param(
            replaced("engine/litellm/commit.sql.j2", "    GET STACKED DIAGNOSTICS v_state", "    RAISE; --"),
            "deliver",
            id="no exception block at COMMIT",
        ),
        pytest.param(
            replaced(
                "entities/user/litellm/enqueue.sql.j2",
                "    BEGIN\n        PERFORM user_bridge.enqueue_whole_row('user'",
                "    RAISE; BEGIN\n        PERFORM user_bridge.enqueue_whole_row('user'",
            ),
            "enqueue",
            id="no exception block in the row trigger",
        ),
    ],
)
def test_without_an_exception_block_a_bug_fails_a_write(pair: Pair, mutate: Mutate, broken: str) -> None:
    world(pair, mutate)
    (function,) = (each for each in functions(pair, "litellm") if each.name == broken)
    Hits(pair)
    with injected(pair, function), pytest.raises(psycopg2.Error):
        write_everything(pair.connect("litellm"))
