# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups: each program's own role dumps its database with the bridge in it, and what is restored is harmless."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from hard_support import drain_all
from kit import binaries, dumps, openwebui, rows
from kit.bridge import install_bridge, request
from kit.cluster import SUPERUSER, Cluster
from kit.pairs import PASSWORDS, SIDES, SYNC_USER, Pair, Side
from kit.pairs import pair as new_pair
from modules_support import login_options, run_module
from playbooks_support import DEPLOY, READ_ONLY, on, play_hosts, variables

KEYS = {"litellm": "identity_key", "openwebui": "owner_key"}
WAYS = {
    "plain": (),
    "custom": ("-Fc",),
    "two jobs": ("-Fd", "-j2"),
    "definitions": ("--schema-only",),
    "rows": ("--data-only",),
    "its own schema": ("-n", "public"),
    "the bridge's schema": ("-n", "user_bridge"),
}


def pg_dump(pair: Pair) -> Path:
    """The installed one that can read this server, or the newest."""
    return binaries.pg_dump_for(pair.cluster.major) or binaries.newest_pg_dump()


def dumped(pair: Pair, side: Side, to: Path, *options: str, user: str | None = None, program: Path | None = None) -> Path:
    """The file or folder of a dump, which succeeded without a word about the bridge."""
    done = dumps.run(program or pg_dump(pair), pair.login(side, user), *options, "-f", to)
    assert done.returncode == 0 and "user_bridge" not in done.stderr, done.stderr
    return to


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("side", SIDES)
def test_a_program_dumps_its_database(quick: Pair, side: Side, way: str, tmp_path: Path) -> None:
    rows.add_user(quick.litellm, "ann", "ann@example.com")
    made = dumped(quick, side, tmp_path / "dump", *WAYS[way])
    if way in ("plain", "rows", "its own schema"):
        assert "ann@example.com" in made.read_text(encoding="utf-8")


@pytest.mark.parametrize("side", SIDES)
def test_a_newer_pg_dump_does_so_too(quick: Pair, side: Side, tmp_path: Path) -> None:
    dumped(quick, side, tmp_path / "dump", "-Fd", "-j2", program=binaries.newest_pg_dump())


@pytest.mark.parametrize("side", SIDES)
def test_a_program_reads_every_table_and_sequence_and_no_key(quick: Pair, side: Side) -> None:
    """Tables that a later version adds included."""
    found = quick.superuser(side).rows(
        "SELECT c.relname, c.relkind, has_table_privilege(%(who)s, c.oid, 'SELECT') AS reads, "
        "has_table_privilege(%(who)s, c.oid, 'INSERT') OR has_table_privilege(%(who)s, c.oid, 'UPDATE') "
        "OR has_table_privilege(%(who)s, c.oid, 'DELETE') OR has_table_privilege(%(who)s, c.oid, 'TRUNCATE') AS writes "
        "FROM pg_class AS c WHERE c.relnamespace = 'user_bridge'::regnamespace AND c.relkind IN ('r', 'p', 'S', 'm')",
        {"who": side},
    )
    assert {each["relname"] for each in found if each["relkind"] != "m" and not each["reads"]} == set()
    assert {each["relname"] for each in found if each["relkind"] == "m" and not each["reads"]} == {KEYS[side]}
    assert {each["relname"] for each in found if each["writes"]} == set()
    assert {"S", "r", "m"} == {each["relkind"] for each in found}


@pytest.mark.parametrize("user", ["", SUPERUSER], ids=["program", "superuser"])
@pytest.mark.parametrize("side", SIDES)
def test_no_dump_holds_the_key(quick: Pair, side: Side, user: str, tmp_path: Path) -> None:
    key = quick.superuser(side).value(f"SELECT encode(key, 'hex') FROM user_bridge.{KEYS[side]}")
    text = dumped(quick, side, tmp_path / "dump", user=user or side).read_text(encoding="utf-8").lower()
    assert len(key) == 64 and key not in text and f"refresh materialized view user_bridge.{KEYS[side]}" in text
    # The password is in a superuser's dump of LiteLLM's side, as docs/backups.md says.
    shown = PASSWORDS[SYNC_USER].replace("'", "''").replace("\\", "\\\\").lower() in text
    assert shown is (side == "litellm" and user == SUPERUSER)


@pytest.mark.parametrize("state", ["no key", "not populated"])
def test_without_a_key_nothing_is_served(bridged: Pair, state: str) -> None:
    """As after a restore of Open WebUI's database: a missing signature is not the signature of no key."""
    signed = request(bridged, {"count": True})
    unsigned = signed[: signed.rindex(', "mac"')] + "}"
    bridged.openwebui_admin.run(
        f"REFRESH MATERIALIZED VIEW user_bridge.owner_key WITH {'' if state == 'no key' else 'NO '}DATA"
    )
    for text in (signed, unsigned):
        with pytest.raises(psycopg2.Error) as refused:
            bridged.sync_user.run("SELECT user_bridge.apply(%s)", [text])
        assert refused.value.pgcode == ("UB007" if state == "no key" else "55000")


def test_a_dump_that_runs_for_long_keeps_nobody_waiting(bridged: Pair) -> None:
    """pg_dump keeps an ACCESS SHARE lock on every table until it ends."""
    reader = bridged.connect("litellm")
    tables = bridged.litellm_admin.rows(
        "SELECT c.oid::regclass::text AS name FROM pg_class AS c "
        "WHERE c.relnamespace IN ('public'::regnamespace, 'user_bridge'::regnamespace) AND c.relkind = 'r'"
    )
    with reader.transaction():
        reader.run(f"LOCK TABLE {', '.join(each['name'] for each in tables)} IN ACCESS SHARE MODE")
        bridged.litellm.run("SET lock_timeout = '1s'")
        rows.add_user(bridged.litellm, "ann", "ann@example.com")
        drain_all(bridged)
        bridged.litellm_admin.run("SELECT * FROM user_bridge.reconcile(true)")
    assert bridged.openwebui.value("SELECT count(*) FROM public.\"user\" WHERE email = 'ann@example.com'") == 1


# Restores. What was dumped is restored in the place of its original, which is gone.


@dataclass(frozen=True)
class Case:
    """Who dumped and restored which side, and how. An empty user is the program's own role."""

    side: Side
    dumped_by: str = ""
    dump: tuple[str, ...] = ()
    restored_by: str = ""
    restore: tuple[str, ...] = ("--no-owner", "--no-acl")
    # What status says.
    said: str = "restored from a dump, and all of it belongs to {owner}"
    variables: dict[str, Any] = field(default_factory=dict)


CASES = {
    "by LiteLLM's role": Case("litellm"),
    "by a superuser without owners": Case("litellm", SUPERUSER, (), SUPERUSER),
    "by a superuser": Case("litellm", SUPERUSER, (), SUPERUSER, (), "this database is a copy"),
    "of LiteLLM's own schema": Case(
        "litellm", dump=("-n", "public"), said="the bridge is not installed", variables={"bridge_take_ownership": True}
    ),
    "of the definitions": Case("litellm", dump=("--schema-only",), variables={"bridge_take_ownership": True}),
    "by Open WebUI's role": Case("openwebui"),
    "of Open WebUI by a superuser": Case(
        "openwebui", SUPERUSER, (), SUPERUSER, (), "Open WebUI's side refuses this installation"
    ),
}


def restored(pair: Pair, case: Case, dump: Path) -> str:
    """Put a dump in the place of the database that it is of; returns what pg_restore could not restore."""
    name = pair.databases[case.side]
    pair.close()
    pair.opened.clear()
    pair.sessions.clear()
    pair.cluster.execute(f'DROP DATABASE "{name}" WITH (FORCE)', f'CREATE DATABASE "{name}" OWNER {case.side}')
    program = pg_dump(pair).with_name("pg_restore")
    done = dumps.run(program, pair.login(case.side, case.restored_by or case.side), *case.restore, dump)
    if case.restored_by and case.restore:
        # Whoever restores as another user hands the program's tables over.
        pair.superuser(case.side).run(
            "DO $$ DECLARE t regclass; BEGIN FOR t IN SELECT c.oid FROM pg_class AS c WHERE c.relkind = 'r' "
            "AND c.relnamespace = 'public'::regnamespace LOOP "
            f"EXECUTE format('ALTER TABLE %s OWNER TO {case.side}', t); END LOOP; END $$"
        )
    return done.stderr


def use_litellm(pair: Pair) -> None:
    """What LiteLLM writes, each within a second."""
    pair.litellm.run("SET statement_timeout = '1s'; SET lock_timeout = '1s'")
    rows.add_user(pair.litellm, "new", "new@example.com")
    rows.add_team(pair.litellm, "t1", "Team", members_with_roles=[{"role": "user", "user_id": "new"}])
    rows.add_key(pair.litellm, "k-new", "new")
    with pair.litellm.transaction():
        rows.change_user(pair.litellm, "kept", user_alias="Later")
        pair.litellm.run('UPDATE "LiteLLM_UserTable" SET spend = spend + 1')
        pair.litellm.run("""DELETE FROM "LiteLLM_UserTable" WHERE user_id = 'leaver'""")
    pair.litellm.run("RESET statement_timeout; RESET lock_timeout")


def health(pair: Pair) -> str:
    options = {**login_options(pair, "litellm"), "openwebui_login_db": pair.openwebui_db}
    found = run_module("bridge_info", options)["health"]
    assert found["status"] == "broken", found
    return "\n".join(found["reasons"])


def test_a_restored_database_works_at_once_and_one_deploy_makes_it_whole(
    server: Cluster, tmp_path: Path
) -> None:
    """All cases in one run of the playbook."""
    with ExitStack() as stack:
        hosts: dict[str, Pair] = {}
        for name, case in CASES.items():
            pair = hosts[name] = stack.enter_context(new_pair(server))
            install_bridge(pair)
            for user in ("kept", "leaver"):
                rows.add_user(pair.litellm, user, f"{user}@example.com", user_alias="Before")
            dump = dumped(pair, case.side, tmp_path / "dump", "-Fc", *case.dump, user=case.dumped_by or None)
            rows.add_user(pair.litellm, "later", "later@example.com")
            restored(pair, case, dump)
            if "--schema-only" in case.dump:
                for user in ("kept", "leaver"):
                    rows.add_user(pair.litellm, user, f"{user}@example.com")
            use_litellm(pair)
            if case.side == "openwebui":
                pair.openwebui.run("""UPDATE public."user" SET last_active_at = 1""")
            said = health(pair)
            assert case.said.format(owner=case.restored_by or case.side) in said, (name, said)
            assert "deploy_bridge" in said, (name, said)
        inventory = {"all": {name: variables(hosts[name], **case.variables) for name, case in CASES.items()}}
        run = play_hosts([on("all", DEPLOY)], inventory, tmp_path)
        assert run.failed == 0, run.output
        for name, pair in hosts.items():
            drain_all(pair)
            # "later" is in a LiteLLM that was restored to an older state no more.
            later = {"later@example.com"} if CASES[name].side == "openwebui" else set()
            assert set(openwebui.accounts(pair)) == {"kept@example.com", "new@example.com", *later}, name
            kept, new = (openwebui.account(pair, f"{user}@example.com") for user in ("kept", "new"))
            assert kept and new and kept["name"] == "Later", name
            assert openwebui.groups(pair)["grp_team_t1"][1] == [new["id"]], name
            assert pair.litellm_admin.rows("SELECT * FROM user_bridge.reconcile(false)") == [], name
        again = play_hosts([on("all", DEPLOY)], inventory, tmp_path, env=READ_ONLY)
        assert (again.failed, again.changed) == (0, 0), again.output
