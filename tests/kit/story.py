# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random stories: what several LiteLLM connections could do, in transactions that overlap, with a target that fails.

A story is a list of steps made of small numbers and names, so that hypothesis can shorten a failing one.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psycopg2
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from kit import model_rows, openwebui, rows
from kit.oracle import ByHand, differences, forget_accounts, note_account, watch
from kit.pairs import Pair, Session

USERS = ["u1", "u2", "u3", "u4", "default_user_id"]
TEAMS = ["t1", "t2", "t3"]
ORGANIZATIONS = ["o1", "o2"]
# Users for whose addresses somebody may have made an account in Open WebUI; they keep them, for a change links nothing.
EXPECTED = {"h1": "hand1@example.com", "h2": "hand2@example.com"}
# Letters of no ASCII: a small one, its capital, and the Kelvin sign, which some locales take for a K.
EMAILS = [
    *("ann@example.com", "Ann@Example.com", " ann@example.com", "bob@example.com", "BOB@example.com"),
    *("kim@example.com", "\u212aim@example.com", "\xe4nn@example.com", "\xc4nn@example.com"),
    *("not an address", "", None),
]
ALIASES = ["Ann", "Bob 'B' \\ %s", "", " ", None]
ROLES = ["proxy_admin", "internal_user", "proxy_admin_viewer", None]
DAYS = ["2026-01-01", "2026-01-02", "2026-01-03"]
TOKENS = ["k1", "k2"]
MODELS = ["m1", "m2"]
ISOLATION = ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"]

Step = tuple[Any, ...]

_user, _team, _organization = st.sampled_from(USERS), st.sampled_from(TEAMS), st.sampled_from(ORGANIZATIONS)
_metadata = st.sampled_from([{}, {"scim_active": False}, {"scim_active": True}])
_listed = st.lists(st.sampled_from([*USERS, *EXPECTED]), max_size=3, unique=True)
_expected = st.sampled_from(list(EXPECTED))
_made_role = st.sampled_from(["user", "pending", "admin"])
_of_the_expected = st.one_of(
    # Twice, so that most stories have one.
    *[st.tuples(st.just("sign_up"), _expected, _made_role, *[st.booleans()] * 3)] * 2,
    *[_expected.map(lambda user: ("add_user", user, EXPECTED[user], DAYS[0]))] * 2,
    st.tuples(st.just("change"), _expected, st.just("user_role"), st.sampled_from(ROLES)),
    st.tuples(st.just("change"), _expected, st.just("user_alias"), st.sampled_from(["Ann", "Bob"])),
    st.tuples(st.just("change"), _expected, st.just("metadata"), _metadata),
    st.tuples(st.just("delete_user"), _expected),
)
_writes = st.one_of(
    st.tuples(st.just("add_user"), _user, st.sampled_from(EMAILS), st.sampled_from(DAYS)),
    st.tuples(st.just("change"), _user, st.just("user_email"), st.sampled_from(EMAILS)),
    st.tuples(st.just("swap_emails"), _user, _user),
    st.tuples(st.just("change"), _user, st.just("user_alias"), st.sampled_from(ALIASES)),
    st.tuples(st.just("change"), _user, st.just("user_role"), st.sampled_from(ROLES)),
    st.tuples(st.just("change"), _user, st.just("metadata"), _metadata),
    st.tuples(st.just("change"), _user, st.just("teams"), st.lists(_team, max_size=2, unique=True)),
    st.tuples(st.just("change"), _user, st.just("team_id"), st.one_of(st.none(), _team)),
    st.tuples(st.just("change"), _user, st.just("organization_id"), st.one_of(st.none(), _organization)),
    st.tuples(st.just("spend"), _user),
    st.tuples(st.just("delete_user"), _user),
    st.tuples(st.just("add_team"), _team, st.sampled_from(["Rockets", "Ships", None]), _listed),
    st.tuples(st.just("change_team"), _team, st.just("team_alias"), st.sampled_from(["Rockets", "Ships", "", None])),
    st.tuples(st.just("change_team"), _team, st.just("organization_id"), st.one_of(st.none(), _organization)),
    st.tuples(st.just("members"), _team, _listed),
    st.tuples(st.just("delete_team"), _team),
    st.tuples(st.just("add_organization"), _organization, st.sampled_from(["Research", "Sales"])),
    st.tuples(st.just("rename_organization"), _organization, st.sampled_from(["Research", "Sales"])),
    st.tuples(st.just("delete_organization"), _organization),
    st.tuples(st.just("join"), _organization, _user),
    st.tuples(st.just("leave"), _organization, _user),
)
_list = st.lists(st.sampled_from([*MODELS, "m*", "all-proxy-models", "no-default-models"]), max_size=2, unique=True)
_writes_of_models = st.one_of(
    st.tuples(st.just("change"), _user, st.just("models"), _list),
    st.tuples(st.just("change_team"), _team, st.just("models"), _list),
    st.tuples(st.just("add_key"), st.sampled_from(TOKENS), _user, st.one_of(st.none(), _team), _list),
    st.tuples(st.just("delete_key"), st.sampled_from(TOKENS)),
    st.tuples(st.just("add_model"), st.sampled_from(MODELS)),
    st.tuples(st.just("delete_model"), st.sampled_from(MODELS)),
)
_control = st.one_of(
    st.tuples(st.just("begin"), st.sampled_from(ISOLATION)),
    st.just(("commit",)),
    st.just(("rollback",)),
    st.just(("savepoint",)),
    st.just(("rollback_to",)),
    st.just(("constraints",)),
    st.just(("drain",)),
    st.just(("break",)),
    st.just(("mend",)),
)


def _stories(*writes: st.SearchStrategy[Step]) -> st.SearchStrategy[list[tuple[int, Step]]]:
    step = st.one_of(*[_writes] * 6, *writes, _of_the_expected, _control)
    return st.lists(st.tuples(st.integers(0, 2), step), min_size=10, max_size=60)


steps = _stories()
steps_with_models = _stories(*[_writes_of_models] * 4)
steps_with_prefixes = _stories(st.tuples(st.just("prefix"), st.sampled_from(["usr_", ""])))
# Nothing much can happen in an empty LiteLLM.
_PROLOGUE: list[Step] = [
    ("add_organization", "o1", "Research"),
    ("add_organization", "o2", "Sales"),
    ("add_user", "u1", "ann@example.com", "2026-01-02"),
    ("add_user", "u2", "bob@example.com", "2026-01-01"),
    ("add_user", "u3", None, "2026-01-03"),
    ("change", "u1", "user_alias", "Ann"),
    ("add_team", "t1", "Rockets", ["u1", "u2"]),
    ("add_team", "t2", "Ships", ["u3"]),
    ("change", "u1", "teams", ["t1"]),
    ("join", "o1", "u1"),
    ("join", "o2", "u3"),
]


@dataclass
class Stage:
    """The connections that a story is played on. Each is in a transaction or on autocommit, as LiteLLM's are."""

    pair: Pair
    sessions: list[Session] = field(default_factory=list)
    open: set[int] = field(default_factory=set)
    broken: bool = False
    signed_up: int = 0
    taken: set[str] = field(default_factory=set)
    # What LiteLLM's own writes were refused for, by the number of the step.
    refused: list[tuple[int, str]] = field(default_factory=list)
    number: int = 0

    def __post_init__(self) -> None:
        for _ in range(3):
            # One thread plays them all: whoever would wait for another's row gives up.
            self.sessions.append(self.pair.connect("litellm", options="-c lock_timeout=30ms"))

    def play(self, story: list[tuple[int, Step]]) -> None:
        self.refused = []
        for step in _PROLOGUE:
            _write(self.sessions[0], step)
        for self.number, (session, step) in enumerate(story):
            self._step(session, step)
        self.finish()

    def close(self) -> None:
        for session in self.sessions:
            session.close()

    def finish(self) -> None:
        """End all transactions, mend the target, and let the drain do what is left."""
        for number in sorted(self.open):
            self._control(number, ("commit",))
        self._control(0, ("mend",))
        for _ in range(200):
            held = self._held()
            self.pair.litellm_admin.run("SELECT user_bridge.approve(%s)", [[row["id"] for row in held]])
            if not self.pair.litellm_admin.rows("SELECT * FROM user_bridge.drain()") and not held:
                break
        left = self.pair.litellm_admin.rows("SELECT * FROM user_bridge.sync_queue")
        assert left == [], left

    def _held(self) -> list[dict[str, Any]]:
        """What waits for a decision. There are too few users for the guard, unless its limit is lower than it comes."""
        held = self.pair.litellm_admin.rows("SELECT * FROM user_bridge.held_changes()")
        if self.pair.litellm_admin.value("SELECT removal_accounts FROM user_bridge.settings") > len(USERS):
            expected = [row for row in held if row["kind"] != "adoption"]
            assert all(row["reason"].startswith("LiteLLM has no users at all") for row in expected), held
        return held

    def clear(self) -> None:
        """An empty LiteLLM, reached by its own deletes."""
        session = self.sessions[0]
        for table in (
            *("ProxyModelTable", "VerificationToken"),
            *("OrganizationMembership", "UserTable", "TeamTable", "OrganizationTable", "BudgetTable"),
        ):
            session.run(f'DELETE FROM "LiteLLM_{table}"')
        self.finish()
        forget_accounts(self.pair)

    def _step(self, number: int, step: Step) -> None:
        session = self.sessions[number]
        if step[0] in (
            "begin",
            "commit",
            "rollback",
            "savepoint",
            "rollback_to",
            "constraints",
            "drain",
            "break",
            "mend",
            "prefix",
        ):
            self._control(number, step)
            return
        if step[0] == "sign_up":
            # No id is ever given twice. Some people make LiteLLM's users by the ids of Open WebUI's accounts.
            self.signed_up += 1
            key = f"hand-{self.signed_up}" if step[1] in self.taken else step[1]
            self.taken.add(step[1])
            _sign_up(self.pair, key, *step[1:])
            return
        try:
            _write(session, step)
        except (psycopg2.IntegrityError, psycopg2.OperationalError, psycopg2.InternalError) as error:
            self.refused.append((self.number, type(error).__name__))
            # A key that exists, a row that another transaction holds, a transaction that has failed already.
            if number in self.open:
                self._control(number, ("rollback",))

    def _control(self, number: int, step: Step) -> None:
        session, verb = self.sessions[number], step[0]
        if verb == "begin" and number not in self.open:
            session.run(f"BEGIN ISOLATION LEVEL {step[1]}")
            self.open.add(number)
        elif verb in ("commit", "rollback") and number in self.open:
            self.open.remove(number)
            try:
                session.run(verb)
            except psycopg2.errors.SerializationFailure as error:
                self.refused.append((self.number, type(error).__name__))
        elif verb == "savepoint" and number in self.open:
            session.run("SAVEPOINT s")
        elif verb == "rollback_to" and number in self.open:
            with contextlib.suppress(psycopg2.Error):
                session.run("ROLLBACK TO SAVEPOINT s")
                return
            self._control(number, ("rollback",))
        elif verb == "constraints" and number in self.open:
            session.run("SET CONSTRAINTS ALL IMMEDIATE")
        elif verb == "drain":
            self.pair.litellm_admin.rows("SELECT * FROM user_bridge.drain(5)")
        elif verb == "break" and not self.broken:
            self.pair.openwebui_admin.run("ALTER FUNCTION user_bridge.apply(jsonb) RENAME TO away")
            self.broken = True
        elif verb == "mend" and self.broken:
            self.pair.openwebui_admin.run("ALTER FUNCTION user_bridge.away(jsonb) RENAME TO apply")
            self.broken = False
        elif verb == "prefix":
            # As another deployment does: whoever has an account keeps it.
            for admin in (self.pair.litellm_admin, self.pair.openwebui_admin):
                admin.run("UPDATE user_bridge.settings SET user_id_prefix = %s", [step[1]])


def _sign_up(pair: Pair, key: str, user: str, role: str, is_older: bool, has_sign_in: bool, is_proved: bool) -> None:
    """Make an account in Open WebUI, which has one of an email."""
    email = EXPECTED[user]
    if openwebui.account(pair, email):
        return
    name = email.split("@", maxsplit=1)[0]
    openwebui.add_account(pair, key, email, role, name)
    if not is_older:
        pair.openwebui.run('UPDATE "user" SET created_at = %s WHERE id = %s', [int(time.time()) + 1, key])
    if is_proved:
        openwebui.prove_address(pair, key)
    if not has_sign_in:
        pair.openwebui.run("DELETE FROM auth WHERE id = %s", [key])
    password = "their own hash" if has_sign_in else None
    note_account(pair, ByHand(key, email, name, role, password, is_older, is_proved))


def _write(session: Session, step: Step) -> None:
    match step:
        case ("add_user", user_id, email, day):
            rows.add_user(session, user_id, email, created_at=day)
        case ("change", user_id, column, value):
            rows.change_user(session, user_id, **{column: value})
        case ("swap_emails", one, two):
            session.run(
                'UPDATE "LiteLLM_UserTable" AS u SET user_email = o.user_email FROM "LiteLLM_UserTable" AS o '
                "WHERE (u.user_id, o.user_id) IN ((%(one)s, %(two)s), (%(two)s, %(one)s))",
                {"one": one, "two": two},
            )
        case ("spend", user_id):
            rows.flush_spend(session, [user_id], 1)
        case ("delete_user", user_id):
            rows.delete_user(session, user_id)
        case ("add_team", team_id, alias, members):
            rows.add_team(session, team_id, alias, members_with_roles=_members(members))
        case ("change_team", team_id, column, value):
            rows.change_team(session, team_id, **{column: value})
        case ("members", team_id, members):
            rows.change_team(session, team_id, members_with_roles=_members(members))
        case ("delete_team", team_id):
            rows.delete_team(session, team_id)
        case ("add_organization", organization_id, alias):
            rows.add_organization(session, organization_id, alias)
        case ("rename_organization", organization_id, alias):
            rows.rename_organization(session, organization_id, alias)
        case ("delete_organization", organization_id):
            rows.delete_organization(session, organization_id)
        case ("join", organization_id, user_id):
            rows.join_organization(session, organization_id, user_id)
        case ("leave", organization_id, user_id):
            rows.leave_organization(session, organization_id, user_id)
        case ("add_key", token, user_id, team_id, models):
            rows.add_key(session, token, user_id, team_id=team_id, models=models)
        case ("delete_key", token):
            rows.delete(session, "LiteLLM_VerificationToken", {"token": token})
        case ("add_model", name):
            model_rows.add_model(session, name)
        case ("delete_model", name):
            model_rows.delete_model(session, name)
        case _:
            raise ValueError(step)


def _members(user_ids: list[str]) -> Any:
    return [{"role": "user", "user_id": each, "user_email": None} for each in user_ids] or {}


def tell(pair: Pair, stories: int, *, shorten: bool = True, with_prefixes: bool = False) -> None:
    """Play random stories; each must end as the oracle says. The bridge is installed already."""

    def check() -> None:
        left = differences(pair)
        assert left == [], left

    _tell([pair], stories, check, shorten, steps_with_prefixes if with_prefixes else steps)


def tell_both(
    one: Pair, other: Pair, stories: int, look: Callable[[Pair], object], *, with_models: bool = False
) -> None:
    """Play random stories on two installations; each must end with the same to be seen in both."""

    def check() -> None:
        assert look(one) == look(other)

    _tell([one, other], stories, check, plot=steps_with_models if with_models else steps)


def _is_by_chance(refused: list[list[tuple[int, str]]]) -> bool:
    """Whether the first refusal that not all of them met is one by which PostgreSQL keeps transactions serializable."""
    by_step = [dict(each) for each in refused]
    numbers = sorted({number for each in by_step for number in each})
    differing = (names for number in numbers for names in [{each.get(number) for each in by_step}] if len(names) > 1)
    return "SerializationFailure" in next(differing, set())


def _tell(
    pairs: list[Pair],
    stories: int,
    check: Callable[[], None],
    shorten: bool = True,
    plot: st.SearchStrategy[list[tuple[int, Step]]] = steps,
) -> None:
    for pair in pairs:
        watch(pair)
    stages = [Stage(pair) for pair in pairs]

    @settings(
        max_examples=stories,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink] if shorten else [Phase.generate],
    )
    @given(plot)
    def play(story: list[tuple[int, Step]]) -> None:
        for stage in stages:
            stage.clear()
            stage.play(story)
        # Which of two SERIALIZABLE transactions is refused depends on the pages that statements happened to read. Then
        # these are two stories, of which nobody says that they end the same.
        assume(not _is_by_chance([stage.refused for stage in stages]))
        check()

    try:
        play()
    finally:
        for stage in stages:
            stage.close()
