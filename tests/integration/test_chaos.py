# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything at once: writers of all kinds, while sessions end, rows and tables are locked, both servers are killed,
one of them fails over, a copy of LiteLLM's database appears, and Open WebUI's administrators work on pages that are out
of date.

USER_BRIDGE_CHAOS_SECONDS says for how long, and USER_BRIDGE_CHAOS_SEED with which dice.
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import psycopg2
import pytest

from hard_support import QUICK, threads, until
from kit import binaries, cluster, dumps, model_rows, openwebui, rows
from kit.bridge import drainer, install_bridge
from kit.cluster import Cluster
from kit.common import pick_version
from kit.oracle import differences
from kit.pairs import SUPERUSER, SYNC_USER, Pair, Session
from kit.schemas import Admin, Login
from kit.standby import SplitPair, caught_up, promote, standby_of
from test_hard_crashes import DEAD

WRITERS = 8
# As between two servers, and without what would let it write to a database where nothing may be written.
OPTIONS = (
    "-c statement_timeout=2000 -c lock_timeout=2000 -c idle_in_transaction_session_timeout=60000 "
    r"-c default_transaction_isolation=read\ committed -c search_path=pg_catalog"
)
SETTINGS = {**QUICK, "sync_connection_limit": 20, "api_keys": "mirror"}
LEVELS = ("READ COMMITTED", "READ COMMITTED", "READ UNCOMMITTED", "REPEATABLE READ", "SERIALIZABLE")
# Between a writer's transactions: eight without a pause take both cores and leave nothing for the drainer.
PAUSE_SECONDS = 0.02
# Not a count: asked for again and again, that of a million rows would take the drainer's time.
QUEUED = "SELECT EXISTS (SELECT FROM user_bridge.sync_queue)"
Write = Callable[[Session, int, random.Random], None]
Blow = Callable[["Chaos"], None]
# What a writer meets because of what is done here, and not because of the bridge: a connection that is gone, sessions
# and servers that were ended, and what it is told to expect above READ COMMITTED.
ENDED = (None, "57014", "57P01", "57P02", "57P03", "40001")


def long(name: str, default: str) -> int:
    return int(os.environ.get(f"USER_BRIDGE_CHAOS_{name}", default))


@dataclass
class Chaos:
    """Two servers, who writes, and what has been done so far."""

    pair: SplitPair
    rng: random.Random
    standby: Cluster
    is_new: bool = True
    """Both programs: the oldest know neither rights on models by budgets and access groups, nor a table of members."""
    ended: threading.Event = field(default_factory=threading.Event)
    committed: int = 0
    done: dict[str, int] = field(default_factory=dict)
    coming: list[Blow] = field(default_factory=list)

    def __post_init__(self) -> None:
        # Each once, in whatever order, however short the time is.
        self.coming = [each for each in BLOWS if self.is_new or each is not save_pages_of_models]
        self.rng.shuffle(self.coming)

    def write_on(self, writer: int, seed: int) -> None:
        """Transactions to rows that no other writer has; whatever else fails than what is ended here is raised."""
        mine, session = random.Random(seed), None
        while not self.ended.is_set():
            try:
                session = session or self.pair.connect("litellm", connect_timeout=5)
                write(session, writer, mine, WRITES if self.is_new else WRITES_TO_OLD)
                self.committed += 1
                time.sleep(PAUSE_SECONDS)
            except psycopg2.Error as error:
                if error.pgcode not in ENDED:
                    raise
                with contextlib.suppress(*DEAD):
                    if session is not None:
                        session.close()
                session = None
                time.sleep(0.05)

    def act(self) -> None:
        """One blow."""
        blow = self.coming.pop() if self.coming else self.rng.choices(*zip(*BLOWS.items(), strict=True))[0]
        if blow is save_pages_of_models and not self.is_new:
            return
        try:
            blow(self)
            self.done[blow.__name__] = self.done.get(blow.__name__, 0) + 1
        # A page that refers to what is gone by now is refused by Open WebUI's own database.
        except (*DEAD, psycopg2.IntegrityError):
            if blow.__name__ not in self.done:
                self.coming.insert(0, blow)

    def superuser(self, side: str) -> Session:
        server = self.pair.clusters["litellm" if side == "litellm" else "openwebui"]
        return Session(server.connect(self.pair.database("litellm" if side == "litellm" else "openwebui")))


def write(session: Session, writer: int, rng: random.Random, writes: list[Write]) -> None:
    """One to three writes, some in a savepoint that is rolled back, some delivered before it is."""
    session.run(f"BEGIN ISOLATION LEVEL {rng.choice(LEVELS)}")
    if rng.random() < 0.2:
        session.run("SET CONSTRAINTS ALL IMMEDIATE")
    for _ in range(rng.randint(1, 3)):
        undone = rng.random() < 0.2
        if undone:
            session.run("SAVEPOINT here")
        rng.choice(writes)(session, writer, rng)
        if undone:
            session.run("ROLLBACK TO SAVEPOINT here")
    session.run("COMMIT")


def _user(writer: int, rng: random.Random) -> str:
    return f"w{writer}u{rng.randint(1, 12)}"


def _team(writer: int, rng: random.Random) -> str:
    return f"w{writer}t{rng.randint(1, 3)}"


def _list(rng: random.Random) -> list[str]:
    """Of anybody's models: what opens them comes and goes, too."""
    names = [f"w{rng.randrange(WRITERS)}m{rng.randint(1, 2)}", f"group {rng.randrange(WRITERS)}"]
    return rng.choice([[], ["no-default-models"], ["all-proxy-models"], ["w1*"], names, names[:1], names[1:]])


def write_user(session: Session, writer: int, rng: random.Random) -> None:
    user = _user(writer, rng)
    session.run(
        'INSERT INTO "LiteLLM_UserTable" (user_id, user_email, user_alias, teams) VALUES (%s, %s, %s, %s) '
        "ON CONFLICT (user_id) DO UPDATE SET user_alias = excluded.user_alias, teams = excluded.teams",
        [user, f"{user}@example.com", f"Alias {rng.random()}", [_team(writer, rng)]],
    )


def delete_user(session: Session, writer: int, rng: random.Random) -> None:
    rows.delete_user(session, _user(writer, rng))


def write_team(session: Session, writer: int, rng: random.Random) -> None:
    team = _team(writer, rng)
    members = [{"role": "user", "user_id": f"w{writer}u{each}"} for each in rng.sample(range(1, 13), 3)]
    if not rows.change_team(session, team, members_with_roles=members, models=_list(rng)):
        rows.add_team(session, team, f"Team {team}", members_with_roles=members, models=_list(rng))


def delete_team(session: Session, writer: int, rng: random.Random) -> None:
    rows.delete_team(session, _team(writer, rng))


def change_role(session: Session, writer: int, rng: random.Random) -> None:
    role, metadata = rng.choice(["internal_user", "proxy_admin"]), {"scim_active": rng.random() < 0.7}
    rows.change_user(session, _user(writer, rng), user_role=role, metadata=metadata)


def change_organization(session: Session, writer: int, rng: random.Random) -> None:
    rows.change_user(session, _user(writer, rng), organization_id=rng.choice(["o1", None]))


def change_models(session: Session, writer: int, rng: random.Random) -> None:
    rows.change_user(session, _user(writer, rng), models=_list(rng))


def write_key(session: Session, writer: int, rng: random.Random) -> None:
    token = f"w{writer}k{rng.randint(1, 4)}"
    rows.delete(session, "LiteLLM_VerificationToken", {"token": token})
    if rng.random() < 0.7:
        team = rng.choice([None, _team(writer, rng)])
        rows.add_key(
            session, token, _user(writer, rng), models=_list(rng), team_id=team, blocked=rng.choice([None, True])
        )


def write_scope(session: Session, writer: int, rng: random.Random) -> None:
    budget, key = f"w{writer}b{rng.randint(1, 3)}", {"team_id": _team(writer, rng), "user_id": _user(writer, rng)}
    models = rng.choice([[], [f"w{writer}m1"]])
    if not model_rows.change_budget(session, budget, allowed_models=models):
        model_rows.add_budget(session, budget, allowed_models=models)
    rows.delete(session, "LiteLLM_TeamMembership", key)
    if rng.random() < 0.7:
        model_rows.add_membership(session, key["team_id"], key["user_id"], budget)


def write_model(session: Session, writer: int, rng: random.Random) -> None:
    name = f"w{writer}m{rng.randint(1, 2)}"
    model_rows.delete_model(session, name)
    if rng.random() < 0.8:
        groups = rng.choice([[], [f"group {writer}"]])
        model_rows.add_model(session, name, model_info={"access_groups": groups}, blocked=rng.random() < 0.2)


def write_access_group(session: Session, writer: int, rng: random.Random) -> None:
    group, models = f"w{writer}a", [f"w{writer}m{rng.randint(1, 2)}"]
    if not model_rows.change_access_group(session, group, access_model_names=models):
        model_rows.add_access_group(session, group, models)
    rows.change_team(session, _team(writer, rng), access_group_ids=rng.choice([[], [group]]))


WRITES: list[Write] = [
    *[write_user] * 3,
    *[write_team] * 2,
    *(delete_user, delete_team, change_role, change_organization),
    *(change_models, write_key, write_scope, write_model, write_access_group),
]
WRITES_TO_OLD = [each for each in WRITES if each not in (write_scope, write_model, write_access_group)]


def end_sessions_of_litellm(chaos: Chaos) -> None:
    how = chaos.rng.choice(["pg_cancel_backend", "pg_cancel_backend", "pg_terminate_backend"])
    with contextlib.closing(chaos.superuser("litellm").raw) as raw:
        Session(raw).run(f"SELECT {how}(pid) FROM pg_stat_activity WHERE usename = 'litellm' AND random() < 0.3")


def end_sessions_of_the_bridge(chaos: Chaos) -> None:
    with contextlib.closing(chaos.superuser("openwebui").raw) as raw:
        Session(raw).run(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{SYNC_USER}' AND random() < 0.5"
        )


def lock_tables(chaos: Chaos) -> None:
    with contextlib.closing(chaos.superuser("openwebui").raw) as raw:
        table = chaos.rng.choice(['"user"', "auth", '"group"', "user_bridge.entity"])
        Session(raw).run(f"SET lock_timeout = '1s'; BEGIN; LOCK TABLE {table}")
        time.sleep(chaos.rng.uniform(0.1, 1))


def lock_tables_of_the_bridge(chaos: Chaos) -> None:
    """On LiteLLM's side: what cannot be queued meanwhile is found by a comparison."""
    with contextlib.closing(chaos.superuser("litellm").raw) as raw:
        table = chaos.rng.choice(["sync_queue", "sync_mapping", "settings", "listed_member"])
        Session(raw).run(f"SET lock_timeout = '1s'; BEGIN; LOCK TABLE user_bridge.{table}")
        time.sleep(chaos.rng.uniform(0.1, 0.5))


def lock_rows(chaos: Chaos) -> None:
    with contextlib.closing(chaos.superuser("openwebui").raw) as raw:
        Session(raw).run("SET lock_timeout = '1s'; BEGIN")
        Session(raw).run('SELECT FROM "user" WHERE random() < 0.2 FOR UPDATE')
        time.sleep(chaos.rng.uniform(0.1, 2))


def keep_the_bridge_out(chaos: Chaos) -> None:
    server = chaos.pair.clusters["openwebui"]
    server.execute(f"ALTER ROLE {SYNC_USER} NOLOGIN")
    try:
        end_sessions_of_the_bridge(chaos)
        time.sleep(chaos.rng.uniform(0.1, 1))
    finally:
        server.execute(f"ALTER ROLE {SYNC_USER} LOGIN")


def freeze_open_webuis_server(chaos: Chaos) -> None:
    with chaos.pair.clusters["openwebui"].frozen():
        time.sleep(chaos.rng.uniform(0.1, 1.5))


def set_the_clock_back(chaos: Chaos) -> None:
    """As if what is noted had been noted by a clock that was an hour ahead."""
    ahead = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint + 3600000"
    with contextlib.closing(chaos.superuser("litellm").raw) as raw:
        session = Session(raw)
        session.run("SET lock_timeout = '1s'")
        session.run("UPDATE user_bridge.target SET next_try_at = next_try_at + interval '1 hour'")
        session.run("UPDATE user_bridge.upkeep SET next_at = next_at + interval '1 hour'")
        session.run("UPDATE user_bridge.sync_queue SET next_attempt_at = next_attempt_at + interval '2 hours'")
        for sequence in (
            "breaker_until",
            "backlog",
            "crowd_until",
            "left_until",
            "impatient_until",
            "drainer_beat",
            "waiting_since",
        ):
            session.run(f"SELECT setval('user_bridge.{sequence}', {ahead})")


def let_nobody_write(chaos: Chaos) -> None:
    """Open WebUI's database, as while it is moved."""
    server = chaos.pair.clusters["openwebui"]
    setting = f'ALTER ROLE {SYNC_USER} IN DATABASE "{chaos.pair.openwebui_db}"'
    server.execute(f"{setting} SET default_transaction_read_only = on")
    try:
        end_sessions_of_the_bridge(chaos)
        time.sleep(chaos.rng.uniform(0.1, 1))
    finally:
        server.execute(f"{setting} RESET default_transaction_read_only")


def kill_open_webuis_server(chaos: Chaos) -> None:
    chaos.pair.clusters["openwebui"].kill()
    chaos.pair.clusters["openwebui"].start()


def kill_litellms_server(chaos: Chaos) -> None:
    chaos.pair.clusters["litellm"].kill()
    chaos.pair.clusters["litellm"].start()


def fail_over(chaos: Chaos) -> None:
    """Open WebUI's server dies, and its standby, which may lack the last changes, takes its place."""
    chaos.pair.clusters["openwebui"].kill()
    promote(chaos.standby)
    chaos.pair.clusters = {**chaos.pair.clusters, "openwebui": chaos.standby}


def copy_litellms_database(chaos: Chaos) -> None:
    """A dump of it, restored beside it, in which somebody writes."""
    server = chaos.pair.clusters["litellm"]
    name, program = server.fresh_name("copy"), binaries.newest_pg_dump()
    login = chaos.pair.login("litellm", SUPERUSER)
    path = server.home / f"{name}.dump"
    done = dumps.run(program, login, "-Fc", "-f", path)
    if done.returncode:
        return  # The server was killed meanwhile.
    server.execute(f'CREATE DATABASE "{name}"')
    try:
        there = Login(login.host, login.port, name, login.user, login.password)
        dumps.run(program.with_name("pg_restore"), there, path)
        with contextlib.closing(server.connect(name)) as raw:
            copied = Session(raw)
            rows.add_user(copied, "copied", "copied@example.com")
            copied.run("UPDATE \"LiteLLM_UserTable\" SET user_alias = 'copied', user_role = 'proxy_admin'")
            copied.rows("SELECT * FROM user_bridge.drain()")
    finally:
        path.unlink(missing_ok=True)
        server.execute(f'DROP DATABASE IF EXISTS "{name}"')


# What administrators do in Open WebUI


def _at_work(chaos: Chaos, *statements: str) -> None:
    with contextlib.closing(chaos.superuser("openwebui").raw) as raw:
        session = Session(raw)
        session.run("SET lock_timeout = '1s'; BEGIN")
        for statement in statements:
            session.run(statement)
        session.run("COMMIT")


def save_pages_of_groups(chaos: Chaos) -> None:
    """Opened a while ago: who has left since is back, and who has come since is out."""
    _at_work(chaos, "CREATE SCHEMA IF NOT EXISTS page", "DROP TABLE IF EXISTS page.member")
    if not chaos.is_new:
        _at_work(chaos, 'CREATE TABLE page.member AS SELECT id, user_ids FROM "group"')
        time.sleep(chaos.rng.uniform(0.2, 1.5))
        _at_work(
            chaos,
            'UPDATE "group" AS g SET user_ids = m.user_ids FROM page.member AS m WHERE m.id = g.id AND random() < 0.3',
        )
        return
    _at_work(chaos, "CREATE TABLE page.member AS SELECT * FROM group_member")
    time.sleep(chaos.rng.uniform(0.2, 1.5))
    _at_work(
        chaos,
        'CREATE TEMP TABLE saved ON COMMIT DROP AS SELECT id FROM "group" WHERE random() < 0.3',
        "DELETE FROM group_member WHERE group_id IN (SELECT id FROM saved)",
        "INSERT INTO group_member SELECT * FROM page.member AS m WHERE group_id IN (SELECT id FROM saved) "
        'AND user_id IN (SELECT id FROM "user") ON CONFLICT DO NOTHING',
    )


def save_pages_of_models(chaos: Chaos) -> None:
    _at_work(chaos, "CREATE SCHEMA IF NOT EXISTS page", "DROP TABLE IF EXISTS page.grants")
    _at_work(chaos, "CREATE TABLE page.grants AS SELECT * FROM access_grant")
    time.sleep(chaos.rng.uniform(0.2, 1.5))
    _at_work(
        chaos,
        "CREATE TEMP TABLE saved ON COMMIT DROP AS SELECT id FROM model WHERE random() < 0.5",
        "DELETE FROM access_grant WHERE resource_id IN (SELECT id FROM saved)",
        "UPDATE page.grants SET id = gen_random_uuid()::text",
        "INSERT INTO access_grant SELECT * FROM page.grants WHERE resource_id IN (SELECT id FROM saved) "
        "ON CONFLICT DO NOTHING",
    )


def delete_accounts(chaos: Chaos) -> None:
    _at_work(
        chaos,
        "CREATE TEMP TABLE gone ON COMMIT DROP AS SELECT id FROM \"user\" WHERE id LIKE 'usr%%' AND random() < 0.1",
        *(["DELETE FROM group_member WHERE user_id IN (SELECT id FROM gone)"] if chaos.is_new else []),
        'DELETE FROM "user" WHERE id IN (SELECT id FROM gone)',
        "DELETE FROM auth WHERE id IN (SELECT id FROM gone)",
    )


def delete_groups(chaos: Chaos) -> None:
    _at_work(
        chaos,
        'CREATE TEMP TABLE gone ON COMMIT DROP AS SELECT id FROM "group" WHERE random() < 0.1',
        *(["DELETE FROM group_member WHERE group_id IN (SELECT id FROM gone)"] if chaos.is_new else []),
        'DELETE FROM "group" WHERE id IN (SELECT id FROM gone)',
    )


def delete_models(chaos: Chaos) -> None:
    _at_work(chaos, "DELETE FROM model WHERE random() < 0.2")


def edit_accounts(chaos: Chaos) -> None:
    role = chaos.rng.choice(["admin", "user", "pending"])
    _at_work(
        chaos,
        f"UPDATE \"user\" SET role = '{role}', name = 'edited' WHERE id LIKE 'usr%%' AND random() < 0.1",
        "UPDATE auth SET active = NOT active WHERE id LIKE 'usr%%' AND random() < 0.05",
    )


# How often each comes again, once all have been there.
BLOWS: dict[Blow, int] = {
    end_sessions_of_litellm: 6,
    end_sessions_of_the_bridge: 6,
    lock_tables: 4,
    lock_tables_of_the_bridge: 2,
    lock_rows: 6,
    keep_the_bridge_out: 2,
    freeze_open_webuis_server: 2,
    set_the_clock_back: 2,
    let_nobody_write: 2,
    kill_open_webuis_server: 1,
    kill_litellms_server: 1,
    fail_over: 0,
    copy_litellms_database: 1,
    save_pages_of_groups: 1,
    save_pages_of_models: 1,
    delete_accounts: 1,
    delete_groups: 1,
    delete_models: 1,
    edit_accounts: 1,
}


@dataclass
class Stage:
    pair: SplitPair
    standby: Cluster
    is_new: bool


@pytest.fixture(params=["new", pytest.param("old", marks=pytest.mark.weekly)])
def stage(pg_major: int, request: pytest.FixtureRequest) -> Iterator[Stage]:
    """A bridged pair whose databases are on two servers, the second of which has a standby."""
    is_new = request.param == "new"
    versions = pick_version("litellm", request.param), pick_version("open-webui", request.param)
    with cluster.running(binaries.find(pg_major), settings={"max_connections": "60"}) as made:
        pair = Pair(made, None, None, *versions, Admin())
        install_bridge(pair, {**SETTINGS, "model_access": is_new}, server_options={"options": OPTIONS})
        rows.add_organization(pair.litellm, "o1", "One")
        with standby_of(made) as other:
            _forget_sessions(pair)
            caught_up(made, other)
            promote(other)
            with standby_of(other) as third:
                hosts, ports = f"{other.host},{third.host}", f"{other.port},{third.port}"
                pair.litellm_admin.run(
                    f"ALTER SERVER user_bridge_target OPTIONS (SET host '{hosts}', SET port '{ports}')"
                )
                both = SplitPair(pair, {"litellm": made, "openwebui": other})
                yield Stage(both, third, is_new)
                both.close()
                pair.close()


def _forget_sessions(pair: Pair) -> None:
    for session in pair.opened:
        session.close()
    pair.sessions.clear()


def _active(pair: Pair) -> set[str]:
    """Accounts that let somebody in: the others see nothing, whatever they are members of."""
    found = pair.openwebui.rows(
        "SELECT u.id FROM \"user\" u JOIN auth a USING (id) WHERE a.active AND role <> 'pending'"
    )
    return {row["id"] for row in found}


def _seen(pair: Pair) -> set[tuple[str, str]]:
    """Who may read which model, as Open WebUI's own tables say."""
    found = pair.openwebui.rows(
        "SELECT g.resource_id AS model, coalesce(m.user_id, g.principal_id) AS account FROM access_grant g "
        "LEFT JOIN group_member m ON g.principal_type = 'group' AND m.group_id = g.principal_id "
        "WHERE g.resource_type = 'model' AND g.permission = 'read' AND (g.principal_type = 'user' OR m.id IS NOT NULL)"
    )
    active = _active(pair)
    return {(row["account"], row["model"]) for row in found if row["account"] in active}


def _wanted(pair: Pair) -> set[tuple[str, str]]:
    """The same by the rule, which test_model_oracle.py compares with LiteLLM's, from LiteLLM's tables as they are."""
    # What the triggers keep is none of it: whatever they have missed would show.
    pair.litellm_admin.run("SELECT user_bridge.refresh_entities()")
    linked = {
        row["litellm_id"]: row["openwebui_id"]
        for row in pair.litellm_admin.rows("SELECT * FROM user_bridge.sync_mapping WHERE litellm_type = 'user'")
    }
    found = {(user, model) for user in linked for model in model_rows.own_models(pair, user) or ()}
    for team in pair.litellm.rows('SELECT team_id, members_with_roles FROM "LiteLLM_TeamTable"'):
        members = {each["user_id"] for each in team["members_with_roles"]}
        found |= {(user, model) for user in members for model in model_rows.team_models(pair, team["team_id"], user)}
    # Lists may name what there is not, and what opens nothing while it is blocked.
    shown = {row["model"] for row in pair.litellm_admin.rows("SELECT model FROM user_bridge.model_catalog WHERE shown")}
    active = _active(pair)
    return {(linked[user], model) for user, model in found if model in shown and linked.get(user) in active}


def _has_compared(pair: Pair) -> bool:
    """What a crash or a failover took from one side: a comparison that failed is due a minute later."""
    if pair.litellm_admin.value("SELECT journal_error IS NULL AND compare_at IS NULL FROM user_bridge.target"):
        return True
    pair.litellm_admin.run("UPDATE user_bridge.target SET compare_at = NULL")
    pair.litellm_admin.run("UPDATE user_bridge.upkeep SET next_at = clock_timestamp() WHERE task = 'journal'")
    return False


def _look_out_and_drain(pair: Pair) -> None:
    """What the drainer does every ten minutes, now; twice, for an account has to be there before its rights."""
    due = "SELECT count(*) FROM user_bridge.upkeep WHERE next_at <= clock_timestamp()"
    for _ in range(2):
        pair.litellm_admin.run("UPDATE user_bridge.upkeep SET next_at = clock_timestamp()")
        until(lambda: not pair.litellm_admin.value(due), seconds=60)
        until(lambda: _has_compared(pair), seconds=60)
        pair.litellm_admin.run("UPDATE user_bridge.sync_queue SET next_attempt_at = clock_timestamp()")
        until(lambda: not pair.litellm_admin.value(QUEUED), seconds=120)


def test_no_write_fails_and_both_sides_are_equal_afterwards(stage: Stage) -> None:
    pair, seed = stage.pair, long("SEED", "2026")
    chaos = Chaos(pair, random.Random(seed), stage.standby, stage.is_new)
    end = time.monotonic() + long("SECONDS", "40")
    writers = [lambda n=number: chaos.write_on(n, chaos.rng.randint(0, 2**32)) for number in range(WRITERS)]
    with drainer(pair), threads(*writers):
        try:
            while time.monotonic() < (end + 60 if chaos.coming else end):
                chaos.act()
                time.sleep(chaos.rng.uniform(0.05, 0.5))
        finally:
            chaos.ended.set()
            print(f"seed {seed}: {chaos.committed} transactions, {chaos.done}")
    _forget_sessions(pair)
    with drainer(pair):
        # Writers leave more than a drainer beside them delivers.
        until(lambda: not pair.litellm_admin.value(QUEUED), seconds=120 + long("SECONDS", "40"))
        _look_out_and_drain(pair)
    assert chaos.committed > 100 and chaos.coming == [] and differences(pair) == []
    if stage.is_new:
        wanted = _wanted(pair)
        assert _seen(pair) == wanted and len(wanted) > WRITERS
    assert openwebui.account(pair, "copied@example.com") is None
