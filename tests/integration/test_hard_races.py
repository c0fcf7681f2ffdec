# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Transactions that race for one entity through different rows: nothing is lost, and nobody deadlocks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any

import psycopg2.errors
import pytest

from hard_support import QUICK, deadlocks, replaced, threads, until
from kit import openwebui, rows
from kit.bridge import Mutate, install_bridge
from kit.drains import drain_all
from kit.oracle import differences, watch
from kit.pairs import OWNER_ROLE, Pair, Session

LEVELS = ("READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE")
PAIRS = 180
Write = Callable[[Session], Any]


def _members(*user_ids: str) -> list[dict[str, Any]]:
    return [{"role": "user", "user_id": each, "user_email": None} for each in user_ids]


def _join_team(team: str, user: str) -> Write:
    """As LiteLLM's endpoint: the list is read again under the row's lock, and rewritten whole."""

    def write(session: Session) -> None:
        sql = 'SELECT members_with_roles FROM "LiteLLM_TeamTable" WHERE team_id = %s FOR UPDATE'
        before = session.value(sql, [team])
        rows.change_team(session, team, members_with_roles=[*before, *_members(user)])

    return write


# Each makes two writes that change one entity of number n; the world before is made by _fill.
def _two_members_of_one_team(n: int) -> tuple[Write, Write]:
    return _join_team(f"t{n}", f"u{n}b"), _join_team(f"t{n}", f"u{n}c")


def _name_from_user_and_team(n: int) -> tuple[Write, Write]:
    return (
        lambda session: rows.change_user(session, f"u{n}a", user_alias="Renamed"),
        lambda session: rows.change_team(session, f"t{n}", team_alias=f"New {n}"),
    )


def _name_of_a_newcomer(n: int) -> tuple[Write, Write]:
    # The renaming cannot see the newcomer, who is not called after the team before the other's commit.
    return (
        lambda session: rows.change_user(session, f"u{n}c", teams=[f"t{n}"]),
        lambda session: rows.change_team(session, f"t{n}", team_alias=f"New {n}"),
    )


def _two_memberships_of_one_user(n: int) -> tuple[Write, Write]:
    # The same membership, once by the table and once by the user's own column.
    return (
        lambda session: rows.leave_organization(session, f"o{n}", f"u{n}a"),
        lambda session: rows.change_user(session, f"u{n}a", organization_id=None),
    )


def _team_deleted_beside_member_updates(n: int) -> tuple[Write, Write]:
    return (
        lambda session: rows.delete_team(session, f"t{n}"),
        lambda session: [rows.change_user(session, f"u{n}{each}", teams=[], user_alias="Left") for each in "ab"],
    )


def _two_users_with_one_email(n: int) -> tuple[Write, Write]:
    return (
        lambda session: rows.change_user(session, f"u{n}b", user_email=f"Shared{n}@example.com"),
        lambda session: rows.change_user(session, f"u{n}c", user_email=f"shared{n}@example.com"),
    )


RACES = (
    _two_members_of_one_team,
    _name_from_user_and_team,
    _name_of_a_newcomer,
    _two_memberships_of_one_user,
    _team_deleted_beside_member_updates,
    _two_users_with_one_email,
)


def _fill(pair: Pair, numbers: int) -> None:
    """For each number an organization, a team with one member who is in the organization twice, and two more users."""
    for statement in (
        """INSERT INTO "LiteLLM_BudgetTable" (budget_id, created_by, updated_by)
           SELECT 'b' || n, 'admin', 'admin' FROM generate_series(0, %(last)s) AS n""",
        """INSERT INTO "LiteLLM_OrganizationTable"
                  (organization_id, organization_alias, budget_id, created_by, updated_by)
           SELECT 'o' || n, 'O ' || n, 'b' || n, 'admin', 'admin' FROM generate_series(0, %(last)s) AS n""",
        """INSERT INTO "LiteLLM_UserTable" (user_id, user_email, user_alias, teams, organization_id)
           SELECT 'u' || n || x, 'u' || n || x || '@example.com', 'U',
                  CASE x WHEN 'c' THEN '{}' ELSE ARRAY['t' || n] END, CASE x WHEN 'a' THEN 'o' || n END
             FROM generate_series(0, %(last)s) AS n, unnest('{a,b,c}'::text[]) AS x""",
        """INSERT INTO "LiteLLM_OrganizationMembership" (user_id, organization_id)
           SELECT 'u' || n || 'a', 'o' || n FROM generate_series(0, %(last)s) AS n""",
        """INSERT INTO "LiteLLM_TeamTable" (team_id, team_alias, members_with_roles)
           SELECT 't' || n, 'T ' || n, jsonb_build_array(jsonb_build_object('role', 'user', 'user_id', 'u' || n || 'a'))
             FROM generate_series(0, %(last)s) AS n""",
    ):
        pair.litellm.run(statement, {"last": numbers - 1})
    drain_all(pair, 2000)


class Racers:
    """Two kept connections whose transactions commit at the same moment."""

    def __init__(self, pair: Pair) -> None:
        self.sessions = [pair.connect("litellm", autocommit=False) for _ in range(2)]
        self.start, self.commit = threading.Barrier(2, timeout=30), threading.Barrier(2, timeout=30)

    def race(self, plan: list[tuple[str, tuple[Write, Write]]]) -> None:
        with threads(lambda: self._run(0, plan), lambda: self._run(1, plan)):
            pass

    def _run(self, side: int, plan: list[tuple[str, tuple[Write, Write]]]) -> None:
        session = self.sessions[side]
        try:
            for level, writes in plan:
                self.start.wait()
                self._transaction(session, level, writes[side], self.commit)
        except BaseException:
            for barrier in (self.start, self.commit):
                barrier.abort()
            raise

    def _transaction(self, session: Session, level: str, write: Write, together: threading.Barrier) -> None:
        session.run(f"SET TRANSACTION ISOLATION LEVEL {level}")
        session.run("SELECT set_config('lock_timeout', '20ms', true)")
        try:
            write(session)
        except (psycopg2.errors.LockNotAvailable, psycopg2.errors.SerializationFailure):
            # Both want the same row of LiteLLM's, with or without a bridge: one goes first.
            session.rollback()
            together.wait()
            self._alone(session, level, write)
            return
        together.wait()
        try:
            session.commit()
        except psycopg2.errors.SerializationFailure:
            session.rollback()
            self._alone(session, level, write)

    def _alone(self, session: Session, level: str, write: Write) -> None:
        """As LiteLLM does: try again. A deadlock is never tried again: it fails the test."""
        for _ in range(50):
            try:
                session.run(f"SET TRANSACTION ISOLATION LEVEL {level}")
                write(session)
                session.commit()
                return
            except psycopg2.errors.SerializationFailure:
                session.rollback()
        raise AssertionError("50 serialization failures in a row")


def _plan(races: tuple[Callable[[int], tuple[Write, Write]], ...], levels: tuple[str, ...], count: int) -> Any:
    kinds = list(product(races, levels))
    return [(kinds[n % len(kinds)][1], kinds[n % len(kinds)][0](n)) for n in range(count)]


def _prepared(pair: Pair, count: int, mutate: Mutate | None = None) -> Racers:
    install_bridge(pair, QUICK, mutate=mutate)
    watch(pair)
    _fill(pair, count)
    return Racers(pair)


def test_hundreds_of_racing_pairs_lose_nothing_and_never_deadlock(pair: Pair) -> None:
    before = deadlocks(pair)
    _prepared(pair, PAIRS).race(_plan(RACES, LEVELS, PAIRS))
    drain_all(pair, 2000)
    assert differences(pair) == []
    assert deadlocks(pair) == before


_WITHOUT_LOCKS = replaced(
    "engine/litellm/locks.sql.j2",
    "IF user_bridge.wait_for_lock(v_keys[v_number], v_shared[v_number], p_until) THEN",
    "IF true THEN",
)
# So slow that two who begin at once surely meet.
_SLOW_EXCHANGE = replaced(
    "engine/litellm/target.sql.j2",
    "    -- The second one says that no other follows.",
    "    PERFORM pg_sleep(0.03);",
)


def no_entity_locks(path: str, text: str) -> str:
    return _SLOW_EXCHANGE(path, _WITHOUT_LOCKS(path, text))


INLINE_AT_ANY_LEVEL = replaced(
    "engine/litellm/commit.sql.j2",
    "OR current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted')",
    "",
)
NAMES_WITHOUT_THE_TEAMS_LOCK = replaced(
    "entities/user/litellm/locks.sql.j2", "SELECT 'team_name', t.id, true", "SELECT 'team_name', NULL, true"
)


@pytest.mark.parametrize(
    ("mutate", "level", "race"),
    [
        pytest.param(no_entity_locks, "READ COMMITTED", _two_users_with_one_email, id="no entity locks"),
        pytest.param(
            INLINE_AT_ANY_LEVEL,
            "REPEATABLE READ",
            _two_memberships_of_one_user,
            id="inline at any level",
            marks=pytest.mark.weekly,
        ),
        pytest.param(
            NAMES_WITHOUT_THE_TEAMS_LOCK,
            "READ COMMITTED",
            _name_of_a_newcomer,
            id="no lock of a team's name",
            marks=pytest.mark.weekly,
        ),
    ],
)
def test_the_race_finds_what_is_lost_without_the_mechanism(
    pair: Pair, mutate: Mutate, level: str, race: Callable[[int], tuple[Write, Write]]
) -> None:
    count, at_once = 120, 20
    racers = _prepared(pair, count, mutate)
    plan = _plan((race,), (level,), count)
    # On a busy machine one of two may be done before the other begins.
    for start in range(0, count, at_once):
        racers.race(plan[start : start + at_once])
        drain_all(pair, 2000)
        if differences(pair):
            return
    pytest.fail("nothing is lost without it")


# A membership that comes while its account goes.


@contextmanager
def _account_that_cannot_go_yet(pair: Pair, user: str) -> Iterator[None]:
    """The delivery of whoever deletes the user lasts in Open WebUI's database until the block ends."""
    pair.openwebui_admin.run(
        "CREATE FUNCTION public.linger() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN "
        "WHILE NOT pg_try_advisory_xact_lock(1) LOOP PERFORM pg_sleep(0.01); END LOOP; RETURN NULL; END$$"
    )
    pair.openwebui_admin.run("CREATE TRIGGER linger AFTER UPDATE ON auth FOR EACH ROW EXECUTE FUNCTION public.linger()")
    lingers = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'user_bridge' AND wait_event = 'PgSleep'"
    holder = pair.connect("openwebui", autocommit=False)
    holder.run("SELECT pg_advisory_xact_lock(1)")
    with threads(lambda: rows.delete_user(pair.connect("litellm"), user)):
        until(lambda: pair.openwebui_admin.value(lingers))
        yield
        holder.rollback()


def _joined_while_deleted(pair: Pair, mutate: Mutate | None = None) -> list[str]:
    """Who is left in a team that nobody is a member of any more."""
    install_bridge(pair, {**QUICK, "on_user_delete": "disable", "target_timeout_ms": 10_000}, mutate=mutate)
    rows.add_user(pair.litellm, "ann", "ann@example.com")
    rows.add_team(pair.litellm, "t1", "Team", members_with_roles=[])
    session = pair.connect("litellm")
    joining = threading.Thread(
        target=lambda: rows.change_team(session, "t1", members_with_roles=_members("ann")), daemon=True
    )
    with _account_that_cannot_go_yet(pair, "ann"):
        joining.start()
        joining.join(30)
        assert not joining.is_alive()
    drain_all(pair)
    rows.change_team(pair.litellm, "t1", members_with_roles=[])
    drain_all(pair)
    return openwebui.groups(pair)["grp_team_t1"][1]


@pytest.mark.schemas(openwebui="all")
def test_nobody_joins_while_the_account_goes(pair: Pair) -> None:
    assert _joined_while_deleted(pair) == []


def test_without_the_users_lock_somebody_stays_in_a_team(pair: Pair) -> None:
    without = replaced("engine/litellm/dispatch.sql.j2", "e.id::jsonb ->> 1, true WHERE", "NULL, true WHERE")
    assert _joined_while_deleted(pair, without) == ["usr_ann"]


CROSSINGS = 40
CROSSING_USERS = 6


# So slow that two who take the same locks surely meet.
SLOW_LOCKS = replaced(
    "engine/litellm/locks.sql.j2",
    "    WHILE NOT user_bridge.try_lock(p_key, p_shared) LOOP",
    "    PERFORM pg_sleep(0.002);\n    WHILE NOT user_bridge.try_lock(p_key, p_shared) LOOP",
)
IN_THE_LOCKS_QUEUE = replaced(
    "engine/litellm/locks.sql.j2",
    "    PERFORM pg_sleep(0.002);\n    WHILE NOT",
    "    PERFORM pg_sleep(0.01);\n"
    "    PERFORM CASE WHEN p_shared THEN pg_advisory_xact_lock_shared(p_key) ELSE pg_advisory_xact_lock(p_key) END;"
    "\n    WHILE NOT",
)
UNORDERED_LOCKS = replaced(
    "engine/litellm/locks.sql.j2",
    "ORDER BY k.key, k.shared, k.entity)",
    "ORDER BY hashtext(pg_current_xact_id() || '.' || k.key), k.shared, k.entity)",
)


def _crossing(pair: Pair, mutate: Mutate) -> int:
    """Deadlocks of transactions that need the same entities, in opposite orders, through rows that none shares."""
    pair.cluster.execute(f"ALTER DATABASE \"{pair.litellm_db}\" SET deadlock_timeout = '20ms'")
    install_bridge(pair, QUICK, mutate=mutate)
    rows.add_organization(pair.litellm, "o1", "One")
    for n in range(CROSSING_USERS):
        rows.add_user(pair.litellm, f"u{n}", f"u{n}@example.com")
    before = deadlocks(pair)

    def by_table(present: bool) -> Write:
        change = rows.join_organization if present else rows.leave_organization
        return lambda session: [change(session, "o1", f"u{n}") for n in range(CROSSING_USERS)]

    def by_column(present: bool) -> Write:
        wanted = "o1" if present else None
        users = list(reversed(range(CROSSING_USERS)))
        return lambda session: [rows.change_user(session, f"u{n}", organization_id=wanted) for n in users]

    plan = [("READ COMMITTED", (by_table(n % 2 == 0), by_column(n % 2 == 0))) for n in range(CROSSINGS)]
    Racers(pair).race(plan)
    drain_all(pair)
    assert differences(pair) == []
    return deadlocks(pair) - before


def test_transactions_that_cross_do_not_deadlock(pair: Pair) -> None:
    assert _crossing(pair, SLOW_LOCKS) == 0


@pytest.mark.weekly
def test_without_a_place_in_the_locks_queue_the_order_does_not_matter(pair: Pair) -> None:
    assert _crossing(pair, lambda path, text: UNORDERED_LOCKS(path, SLOW_LOCKS(path, text))) == 0


@pytest.mark.weekly
def test_with_such_a_place_they_would_deadlock_without_the_order(pair: Pair) -> None:
    def mutate(path: str, text: str) -> str:
        return UNORDERED_LOCKS(path, IN_THE_LOCKS_QUEUE(path, SLOW_LOCKS(path, text)))

    assert _crossing(pair, mutate) > 0


@contextmanager
def _delivered_but_not_committed(pair: Pair) -> Iterator[None]:
    """A transaction that has renamed the team t1 and delivered that, and whose locks are all still held."""
    writer = pair.connect("litellm", autocommit=False)
    rows.change_team(writer, "t1", team_alias="Renamed")
    writer.run("SET CONSTRAINTS ALL IMMEDIATE")
    yield
    writer.rollback()


def _rows_not_locked(pair: Pair) -> dict[str, int]:
    tables = ("OrganizationTable", "OrganizationMembership", "TeamTable", "UserTable")
    return {
        table: pair.litellm.value(
            f'SELECT count(*) FROM (SELECT FROM "LiteLLM_{table}" FOR UPDATE SKIP LOCKED) AS free'
        )
        for table in tables
    }


def _locks_beyond_reading(pair: Pair) -> list[str]:
    found = pair.litellm_admin.rows(
        "SELECT DISTINCT relation::regclass::text AS name FROM pg_locks JOIN pg_class AS c ON c.oid = relation "
        "WHERE c.relname LIKE 'LiteLLM%%' AND c.relkind = 'r' AND mode <> 'AccessShareLock' AND database = "
        "(SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY 1"
    )
    return [row["name"] for row in found]


def test_delivery_locks_no_row_and_no_table_of_litellms(pair: Pair) -> None:
    """LiteLLM's own order (its advisory lock, users, the team) stays what it is: nothing is added to it."""
    install_bridge(pair, QUICK)
    _fill(pair, 3)
    with _delivered_but_not_committed(pair):
        assert _rows_not_locked(pair) == {
            "OrganizationTable": 3,
            "OrganizationMembership": 3,
            "TeamTable": 2,
            "UserTable": 9,
        }
        assert _locks_beyond_reading(pair) == ['"LiteLLM_TeamTable"']


def test_a_delivery_that_locks_rows_is_noticed(pair: Pair) -> None:
    lock = 'PERFORM FROM public."LiteLLM_UserTable" AS u WHERE u.user_id = ANY (p_ids) FOR SHARE;'
    start = "    -- Removals first"
    install_bridge(pair, QUICK, mutate=replaced("engine/litellm/deliver.sql.j2", start, lock + "\n" + start))
    pair.litellm_admin.run(f'GRANT SELECT, UPDATE ON "LiteLLM_UserTable" TO "{OWNER_ROLE}"')
    _fill(pair, 3)
    with _delivered_but_not_committed(pair):
        assert _rows_not_locked(pair)["UserTable"] == 7
        assert '"LiteLLM_UserTable"' in _locks_beyond_reading(pair)
