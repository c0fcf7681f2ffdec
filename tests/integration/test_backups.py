# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups: each program's own role dumps its database with the bridge in it, and what is restored is harmless."""

from __future__ import annotations

import os
import shlex
import subprocess
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

import psycopg2
import pytest

from kit import binaries, dumps, openwebui, rows
from kit.bridge import install_bridge, request
from kit.cluster import SUPERUSER, Cluster, running
from kit.drains import drain_all
from kit.pages import commands
from kit.pairs import PASSWORDS, SIDES, SYNC_USER, Pair, Session, Side
from kit.pairs import pair as new_pair
from kit.schemas import Login
from modules_support import login_options, run_module
from playbooks_support import DEPLOY, READ_ONLY, on, play, play_hosts, variables

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


def dumped(
    pair: Pair, side: Side, to: Path, *options: str, user: str | None = None, program: Path | None = None
) -> Path:
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


def test_the_schemas_for_a_scenario_of_the_users_own(pair: Pair, tmp_path: Path) -> None:
    """As examples/molecule/README.md says."""
    (lines,) = commands("examples/molecule/README.md")
    for side, line in zip(SIDES, lines, strict=True):
        assert shell(pair, line.replace("$BRIDGE_SCHEMAS/", ""), tmp_path) == 0
        text = (tmp_path / f"{side}.sql").read_text(encoding="utf-8")
        assert "CREATE TABLE public." in text and "OWNER TO" not in text and "COPY " not in text


# Restores. What was dumped is restored in the place of its original, which is gone; the commands are those of the page.

DUMPS, BY_LITELLM, BY_SUPERUSER, STRICT, PUBLIC_ONLY, BY_OPENWEBUI = commands("docs/backups.md")
DEPLOYS = "ansible-playbook llmops.user_bridge.deploy_bridge -e @vars.yml"
HANDED_OVER = "DO $$ DECLARE t regclass; BEGIN FOR t IN SELECT c.oid FROM pg_class AS c WHERE c.relkind = 'r' " \
    "AND c.relnamespace = 'public'::regnamespace LOOP " \
    "EXECUTE format('ALTER TABLE %s OWNER TO litellm', t); END LOOP; END $$"  # fmt: skip
BY_ROLE, IS_COPY = "restored from a dump, and all of it belongs to {}", "this database is a copy"
REFUSES = "Open WebUI's side refuses this installation"


@dataclass(frozen=True)
class Case:
    """How a side is dumped and restored, the exit code of the restore, and what status says then."""

    restore: list[str]
    says: str
    dump: list[str] = field(default_factory=lambda: DUMPS)
    code: int = 0
    side: Side = "litellm"
    after: str = ""
    in_place: bool = False
    take: bool = False
    # Repeats what the others prove, in a rarer form.
    weekly: bool = False


CASES = {
    "litellm_by_its_role": Case(BY_LITELLM, BY_ROLE.format("litellm"), code=1),
    "litellm_by_a_superuser": Case(BY_SUPERUSER, IS_COPY, dump=["pg_dump -U postgres -Fc -f litellm.dump -d litellm"]),
    "litellm_by_a_superuser_without_owners": Case(
        ["pg_restore -U postgres --no-owner --no-acl -d litellm litellm.dump"],
        BY_ROLE.format("postgres"),
        after=HANDED_OVER,
        weekly=True,
    ),
    "litellm_in_place": Case(
        ["pg_restore -U postgres --clean --if-exists -d litellm litellm.dump"],
        REFUSES,
        dump=["pg_dump -U postgres -Fc -f litellm.dump -d litellm"],
        in_place=True,
        weekly=True,
    ),
    "litellm_without_the_bridge": Case(STRICT, "has no bridge", take=True),
    "litellm_public_only": Case(
        ["pg_restore -U litellm -d litellm litellm.dump"],
        "has no bridge",
        dump=PUBLIC_ONLY,
        code=1,
        take=True,
        weekly=True,
    ),
    "litellm_definitions_only": Case(
        ["pg_restore -U litellm --schema-only --no-owner --no-acl -d litellm litellm.dump"],
        BY_ROLE.format("litellm"),
        code=1,
        take=True,
        weekly=True,
    ),
    "openwebui_by_its_role": Case(BY_OPENWEBUI, BY_ROLE.format("openwebui"), side="openwebui"),
    "openwebui_by_a_superuser": Case(
        ["pg_restore -U postgres -d openwebui openwebui.dump"],
        REFUSES,
        dump=["pg_dump -U postgres -Fc -f openwebui.dump -d openwebui"],
        side="openwebui",
    ),
}
AGAIN = ("litellm_by_its_role",)


def shell(pair: Pair, command: str, folder: Path) -> int:
    """A command of the page, with the names of this pair's databases; the exit code."""
    program, *arguments = shlex.split(command)
    names = {"litellm": pair.litellm_db, "openwebui": pair.openwebui_db}
    user = arguments[arguments.index("-U") + 1] if "-U" in arguments else ""
    words = [
        names.get(word, word) if before == "-d" or (program == "createdb" and place == len(arguments) - 1) else word
        for place, (before, word) in enumerate(zip(["", *arguments], arguments, strict=False))
    ]
    here = {"PGHOST": pair.cluster.host, "PGPORT": str(pair.cluster.port), "PGPASSWORD": PASSWORDS.get(user, "")}
    path = f"{pg_dump(pair).parent}:{os.environ['PATH']}"
    env = {**os.environ, **here, "PATH": path}
    done = subprocess.run([program, *words], cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), (command, done.stderr)
    if done.returncode:
        assert "errors ignored on restore" in done.stderr, (command, done.stderr)
    return done.returncode


def restored(pair: Pair, case: Case, folder: Path) -> None:
    name = pair.databases[case.side]
    pair.close()
    pair.opened.clear()
    pair.sessions.clear()
    if not case.in_place:
        pair.cluster.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        if not any(command.startswith("createdb") for command in case.restore):
            shell(pair, f"createdb -U postgres -O {case.side} {case.side}", folder)
    codes = [shell(pair, command, folder) for command in case.restore if not command.startswith(DEPLOYS)]
    assert max(codes) == case.code
    if case.after:
        pair.superuser(case.side).run(case.after)


def use_litellm(pair: Pair) -> None:
    """What LiteLLM writes, each before a target that does not answer would be given up."""
    session = pair.litellm
    session.run("SET statement_timeout = '1900ms'; SET lock_timeout = '1900ms'")
    rows.add_user(session, "new", "new@example.com")
    rows.add_team(session, "t1", "Team", members_with_roles=[{"role": "user", "user_id": "new"}])
    rows.add_key(session, "k-new", "new")
    with session.transaction():
        rows.change_user(session, "kept", user_alias="Later")
        session.run('UPDATE "LiteLLM_UserTable" SET spend = spend + 1')
        rows.delete_user(session, "leaver")
    session.run("RESET statement_timeout; RESET lock_timeout")


def health(pair: Pair) -> str:
    options = {**login_options(pair, "litellm"), "openwebui_login_db": pair.openwebui_db}
    found = run_module("bridge_info", options)["health"]
    assert found["status"] == "broken", found
    return "\n".join(found["reasons"])


def in_an_emergency(pair: Pair, name: str, folder: Path) -> None:
    """Install, dump, lose the database, restore it, use it and ask for the status."""
    case = CASES[name]
    install_bridge(pair)
    for user in ("kept", "leaver"):
        rows.add_user(pair.litellm, user, f"{user}@example.com", user_alias="Before")
    for command in case.dump:
        assert shell(pair, command, folder) == 0
    rows.add_user(pair.litellm, "later", "later@example.com")
    restored(pair, case, folder)
    if name == "litellm_definitions_only":
        for user in ("kept", "leaver"):
            rows.add_user(pair.litellm, user, f"{user}@example.com")
    use_litellm(pair)
    if case.side == "openwebui":
        pair.openwebui.run("""UPDATE public."user" SET last_active_at = 1""")
    said = health(pair)
    assert case.says in said and "deploy_bridge" in said, (name, said)


def is_whole(pair: Pair, name: str) -> None:
    drain_all(pair)
    # "later" is in a LiteLLM that was restored to an older state no more.
    later = {"later@example.com"} if CASES[name].side == "openwebui" else set()
    assert set(openwebui.accounts(pair)) == {"kept@example.com", "new@example.com", *later}, name
    kept, new = (openwebui.account(pair, f"{user}@example.com") for user in ("kept", "new"))
    assert kept and new and kept["name"] == "Later", name
    assert openwebui.groups(pair)["grp_team_t1"][1] == [new["id"]], name
    assert pair.litellm_admin.rows("SELECT * FROM user_bridge.reconcile(false)") == [], name


def test_the_page_names_how_to_deploy() -> None:
    """What the next test runs for all of them at once."""
    deploys = {block[-1]: block[-1].startswith(DEPLOYS) for block in (BY_LITELLM, BY_SUPERUSER, STRICT, BY_OPENWEBUI)}
    assert all(deploys.values()) and STRICT[-1] == f"{DEPLOYS} -e bridge_take_ownership=true"


def test_a_restored_database_works_at_once_and_one_deploy_makes_it_whole(
    server: Cluster, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    names = [name for name, case in CASES.items() if not case.weekly or pytestconfig.getoption("--weekly")]
    with ExitStack() as stack:
        hosts = {name: stack.enter_context(new_pair(server)) for name in names}
        for name, pair in hosts.items():
            folder = tmp_path / name
            folder.mkdir()
            in_an_emergency(pair, name, folder)
        values = {name: variables(pair) for name, pair in hosts.items()}
        taken = {
            name: {**each, "bridge_take_ownership": True} if CASES[name].take else each for name, each in values.items()
        }
        # Roles belong to the whole server: two hosts at once could change the same one.
        run = play_hosts([on("all", DEPLOY)], {"all": taken}, tmp_path, env={"ANSIBLE_FORKS": "1"})
        assert run.failed == 0 and "Both sides were compared" in run.words, run.output
        for name, pair in hosts.items():
            is_whole(pair, name)
        # The side with more to it, and weekly all of them.
        some = values if pytestconfig.getoption("--weekly") else {name: values[name] for name in AGAIN}
        again = play_hosts([on("all", DEPLOY)], {"all": some}, tmp_path, env=READ_ONLY)
        assert (again.failed, again.changed) == (0, 0), again.output


def test_by_another_user_on_a_newer_server(server: Cluster, tmp_path: Path) -> None:
    """Where none of the bridge's roles exist. Open WebUI stays where it was."""
    newest = binaries.find(max(binaries.SUPPORTED_MAJORS))
    with running(newest) as spare, new_pair(server) as pair:
        install_bridge(pair)
        rows.add_user(pair.litellm, "kept", "kept@example.com")
        dump = dumped(pair, "litellm", tmp_path / "dump", "-Fc")
        pair.close()
        pair.cluster.execute(f'DROP DATABASE "{pair.litellm_db}" WITH (FORCE)')
        spare.execute("CREATE ROLE other LOGIN PASSWORD 'other'", "CREATE DATABASE restored OWNER other")
        login = Login(spare.host, spare.port, "restored", "other", "other")
        done = dumps.run(binaries.newest_pg_dump().with_name("pg_restore"), login, "--no-owner", "--no-acl", dump)
        assert done.returncode == 1 and "errors ignored on restore" in done.stderr, done.stderr
        litellm = Session(spare.connect("restored", "other", "other"))
        litellm.raw.autocommit = True
        rows.add_user(litellm, "new", "new@example.com")
        values = variables(
            pair,
            bridge_login_host=spare.host,
            bridge_login_port=spare.port,
            bridge_litellm_db="restored",
            bridge_litellm_owner="other",
            bridge_openwebui_login_host=pair.cluster.host,
            bridge_openwebui_login_port=pair.cluster.port,
            bridge_target_host=pair.cluster.host,
        )
        run = play(DEPLOY, values, tmp_path)
        assert run.failed == 0, run.output
        rows.add_user(litellm, "newer", "newer@example.com")
        litellm.close()
        with closing(Session(pair.cluster.connect(pair.openwebui_db))) as there:
            found = there.rows("""SELECT email FROM public."user" WHERE email <> 'admin@example.com' ORDER BY 1""")
        assert [row["email"] for row in found] == ["kept@example.com", "new@example.com", "newer@example.com"]


def test_a_restored_installation_is_compared_as_a_whole(bridged: Pair) -> None:
    bridged.litellm_admin.run("SELECT user_bridge.backfill()")
    assert bridged.litellm_admin.value("SELECT user_bridge.backfill_is_due()") is False
    bridged.litellm_admin.run("SELECT user_bridge.renew_identity(true)")
    assert bridged.litellm_admin.value("SELECT user_bridge.backfill_is_due()") is True
