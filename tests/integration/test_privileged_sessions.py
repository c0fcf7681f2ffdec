# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a program's role plants in its own tables never runs in a superuser's session (docs/security.md)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from kit import rows, sentinel, upstream
from kit.bridge import DRAINER_ROLE, REGISTRY, drainer_session, install_bridge
from kit.pairs import PASSWORDS, PROGRAM_ROLES, SYNC_USER, Pair, Side
from kit.recap import Run
from modules_support import ModuleFailed, a_call, ensure_roles, run_module
from playbooks_support import on, play, play_hosts, variables

REFUSED = (ModuleFailed, psycopg2.Error)
# What a session of any user may be asked to do with LiteLLM's tables.
CALLS = {
    "drain": "SELECT * FROM user_bridge.drain()",
    "tick": "SELECT user_bridge.tick()",
    "maintain": "SELECT * FROM user_bridge.maintain()",
    "reconcile": "SELECT * FROM user_bridge.reconcile()",
    "reconcile and repair": "SELECT * FROM user_bridge.reconcile(true)",
    "preview": "SELECT * FROM user_bridge.preview(ARRAY['user'], ARRAY['u1'])",
    "enqueue_everything": "SELECT user_bridge.enqueue_everything()",
    "migration_scope": "SELECT * FROM user_bridge.migration_scope(NULL, NULL, NULL)",
    "migration_states": "SELECT * FROM user_bridge.migration_states(ARRAY['user'], ARRAY['u1'])",
    "never_delivered": "SELECT user_bridge.never_delivered(ARRAY['u1'])",
    "migrate_entities": "SELECT * FROM user_bridge.migrate_entities(ARRAY['user'], ARRAY['u1'])",
    "migrate_existing_users": "SELECT * FROM user_bridge.migrate_existing_users()",
    "check_sync_status": "SELECT * FROM user_bridge.check_sync_status()",
    "check_real_sync_status": "SELECT * FROM user_bridge.check_real_sync_status()",
    "check_api_key_sync_status": "SELECT * FROM user_bridge.check_api_key_sync_status()",
    "check_migration_status": "SELECT * FROM user_bridge.check_migration_status()",
    "unknown_organizations": "SELECT user_bridge.unknown_organizations(ARRAY['o1'])",
    "unknown_teams": "SELECT user_bridge.unknown_teams(ARRAY['t1'])",
    "emails_of": "SELECT * FROM user_bridge.emails_of(ARRAY['u1'])",
}
# Modules that look at the tables of both sides, and how.
MODULES: dict[str, list[dict[str, Any]]] = {
    "bridge_preflight_info": [{"depth": "bridge"}],
    "bridge_info": [{"drift": True}],
    "bridge_sync": [{}, {"action": "reconcile"}, {"action": "reconcile", "repair": True}],
    "bridge_migration": [{}],
}


def refusal(act: Callable[[], object]) -> str:
    """The words in which it was refused, empty where it was not."""
    try:
        found = act()
    except REFUSED as error:
        return str(error)
    return " ".join(found.get("problems", [])) if isinstance(found, dict) else ""


def as_superuser(found: list[Any]) -> list[Any]:
    return [each for each in found if each["super"] == "t"]


def with_people(pair: Pair) -> None:
    """Two people, one of whom waits in the queue."""
    install_bridge(pair, {"initial_password": "none"})
    rows.add_user(pair.litellm, "u1", "ann@example.com")
    pair.litellm_admin.run("SELECT user_bridge.pause()")
    rows.add_user(pair.litellm, "u2", "bob@example.com")
    pair.litellm_admin.run("SELECT user_bridge.resume()")


def plant(pair: Pair, side: Side, form: str) -> list[str]:
    if form == "statistics" and pair.cluster.major < 14:
        pytest.skip("expressions in statistics objects are new in PostgreSQL 14")
    return sentinel.plant(pair, side, form)


def chosen(given: Sequence[Any], place: int, config: pytest.Config) -> Sequence[Any]:
    """On every push each call meets a form and each form a call or two; weekly each meets each."""
    if config.getoption("--weekly"):
        return given
    return given[place :: len(sentinel.READ)] or [given[place % len(given)]]


def none_runs_it(pair: Pair, form: str, calls: Sequence[tuple[str, str]]) -> None:
    """Planted in LiteLLM's tables, it runs in no superuser's session that calls one of these."""
    with_people(pair)
    (first, *_) = plant(pair, "litellm", form)
    for name, call in calls:
        words: list[str] = []
        found = sentinel.sprung(pair, lambda: words.append(refusal(lambda: pair.litellm_admin.rows(call))))  # noqa: B023
        assert first in words[0] and as_superuser(found) == [], (name, words)


@pytest.mark.parametrize(("place", "form"), [*enumerate(sentinel.READ)], ids=sentinel.READ)
def test_nothing_in_litellms_tables_runs_in_a_superusers_session(
    pair: Pair, place: int, form: str, pytestconfig: pytest.Config
) -> None:
    none_runs_it(pair, form, chosen([*CALLS.items()], place, pytestconfig))


@pytest.mark.parametrize(
    ("side", "form", "place"),
    [
        # Each form on one side on every push.
        pytest.param(side, form, place, marks=[pytest.mark.weekly] if (place + other) % 2 else [], id=f"{side}-{form}")
        for place, form in enumerate(sentinel.READ)
        for other, side in enumerate(("litellm", "openwebui"))
    ],
)
def test_no_module_runs_it(pair: Pair, side: Side, form: str, place: int, pytestconfig: pytest.Config) -> None:
    with_people(pair)
    plant(pair, side, form)
    # Those of one side are at every other place.
    calls = [(name, options) for name, given in MODULES.items() for options in given]
    for name, options in chosen(calls, (place + (side == "openwebui")) // 2, pytestconfig):
        words: list[str] = []
        call = {**a_call(pair, name), **options}
        found = sentinel.sprung(pair, lambda: words.append(refusal(lambda: run_module(name, call))))  # noqa: B023
        assert as_superuser(found) == [], (name, options)
        if side == "litellm" or name in ("bridge_preflight_info", "bridge_info"):
            assert "drop it and run again" in words[0], (name, options, words)


@pytest.mark.parametrize(
    "form", [sentinel.WRITTEN[0], *(pytest.param(form, marks=pytest.mark.weekly) for form in sentinel.WRITTEN[1:])]
)
def test_nothing_that_a_write_would_run_runs_on_litellms_side(pair: Pair, form: str) -> None:
    """Nobody writes there, so it need not be refused: not the functions, not a deployment, not its removal."""
    with_people(pair)
    plant(pair, "litellm", form)

    def run_all() -> None:
        for call in CALLS.values():
            pair.litellm_admin.rows(call)
        for name, given in MODULES.items():
            for options in given:
                run_module(name, {**a_call(pair, name), **options})
        run_module("bridge_install", a_call(pair, "bridge_install"))
        for name in ("bridge_target", "bridge_install"):
            run_module(name, {**a_call(pair, name), "state": "absent"})

    assert as_superuser(sentinel.sprung(pair, run_all)) == []


# The same proof, of the same tables, as for the modules, which meet every form that is read.
@pytest.mark.parametrize(
    "form",
    [
        *sentinel.READ[:2],
        *(pytest.param(form, marks=pytest.mark.weekly) for form in sentinel.READ[2:]),
        *sentinel.WRITTEN,
    ],
)
def test_removing_rows_does_not_run_it(pair: Pair, form: str) -> None:
    with_people(pair)
    plant(pair, "openwebui", form)
    before = pair.openwebui_admin.value("SELECT count(*) FROM user_bridge.entity")
    words: list[str] = []
    remove = "SELECT * FROM user_bridge.remove_data()"
    found = sentinel.sprung(pair, lambda: words.append(refusal(lambda: pair.openwebui_admin.rows(remove))))
    assert "drop it and run again" in words[0] and as_superuser(found) == []
    assert pair.openwebui_admin.value("SELECT count(*) FROM user_bridge.entity") == before


def test_a_cascade_does_not_run_it_either(pair: Pair) -> None:
    """A table of Open WebUI's role that refers to one of the registry's, with a trigger that fires at COMMIT."""
    with_people(pair)
    pair.openwebui.run('CREATE TABLE public.hanger (id text REFERENCES public."user" ON DELETE CASCADE)')
    pair.openwebui.run('INSERT INTO public.hanger SELECT id FROM public."user"')
    pair.openwebui.run(sentinel.functions())
    pair.openwebui.run(sentinel.statements("hanger")["trigger"])
    words: list[str] = []
    remove = "SELECT * FROM user_bridge.remove_data()"
    found = sentinel.sprung(pair, lambda: words.append(refusal(lambda: pair.openwebui_admin.rows(remove))))
    assert "trigger sentinel_at_commit on public.hanger" in words[0] and found == []


@pytest.mark.schemas(litellm="all", openwebui="all")
def test_the_programs_own_tables_are_plain(pair: Pair) -> None:
    install_bridge(pair)
    for side in ("litellm", "openwebui"):
        tables = [f'public."{name}"' for name in REGISTRY["sides"][side]["tables"]]
        session = getattr(pair, f"{side}_admin")
        assert session.rows("SELECT * FROM user_bridge.not_plain(%s, false)", [tables]) == []
    pair.openwebui_admin.run("SELECT user_bridge.prove_target()")


# Types that run code, where no column has them and pg_depend does not say so; from which version on.
DISGUISES = {
    "(('{x}'::text)::sentinel.watched[])::text": 13,
    "(('{(x)}'::text)::sentinel.pair[])::text": 13,
    "(('{}'::text)::sentinel.span[])::text": 13,
    "JSON_VALUE('\"x\"'::jsonb, '$' RETURNING sentinel.watched)::text": 17,
    "JSON_QUERY('[\"x\"]'::jsonb, '$' RETURNING sentinel.watched[])::text": 17,
}


def test_no_type_hides_in_an_expression(pair: Pair) -> None:
    install_bridge(pair)
    session, table = pair.openwebui, 'public."user"'
    session.run(sentinel.functions())
    session.run("CREATE TYPE sentinel.pair AS (a sentinel.watched)")
    session.run("CREATE TYPE sentinel.span AS RANGE (subtype = sentinel.watched)")
    planted = [expression for expression, since in DISGUISES.items() if pair.cluster.major >= since]
    for n, expression in enumerate(planted):
        session.run(f"ALTER TABLE {table} ADD COLUMN d{n} text, ADD CONSTRAINT c{n} CHECK ({expression} <> 'x')")
        session.run(f"ALTER TABLE {table} ALTER d{n} SET DEFAULT {expression}")
    found = pair.openwebui_admin.rows("SELECT user_bridge.not_plain(%s, true) AS found", [[table]])
    for n in range(len(planted)):
        for what in (f"default of column d{n}", f"constraint c{n}"):
            assert any(row["found"].startswith(f"{what} of") for row in found), (what, planted[n])


def test_litellms_own_session_needs_no_proof(pair: Pair) -> None:
    """Only its own code would run there, and its COMMIT must not pay for a proof."""
    install_bridge(pair)
    pair.litellm_admin.run(
        "CREATE ROLE outsider; GRANT USAGE ON SCHEMA user_bridge TO litellm, outsider;"
        " GRANT EXECUTE ON FUNCTION user_bridge.is_privileged_session() TO litellm, outsider"
    )
    for user, is_privileged in (("postgres", True), ("litellm", False), ("outsider", False)):
        pair.litellm_admin.run(f"SET SESSION AUTHORIZATION {user}")
        assert pair.litellm_admin.value("SELECT user_bridge.is_privileged_session()") is is_privileged
    pair.litellm_admin.run("RESET SESSION AUTHORIZATION; GRANT litellm TO outsider; SET SESSION AUTHORIZATION outsider")
    assert pair.litellm_admin.value("SELECT user_bridge.is_privileged_session()") is True
    pair.litellm_admin.run("RESET SESSION AUTHORIZATION; DROP OWNED BY outsider; DROP ROLE outsider")


@pytest.mark.parametrize("form", ["view", "partial index", "child"])
def test_a_powerless_session_delivers_all_the_same(pair: Pair, form: str) -> None:
    """LiteLLM's own COMMIT, and the timer's login: the code runs there as a role that has nothing, not as the owner."""
    with_people(pair)
    pair.litellm_admin.run(
        "CREATE ROLE some_timer; GRANT USAGE ON SCHEMA user_bridge TO some_timer;"
        " GRANT EXECUTE ON FUNCTION user_bridge.tick(integer) TO some_timer"
    )
    plant(pair, "litellm", form)

    def deliver() -> None:
        if form != "view":
            rows.add_user(pair.litellm, "u3", "eve@example.com")
        pair.litellm_admin.run("SET SESSION AUTHORIZATION some_timer")
        pair.litellm_admin.run("SELECT user_bridge.tick()")
        pair.litellm_admin.run("RESET SESSION AUTHORIZATION; DROP OWNED BY some_timer; DROP ROLE some_timer")

    found = sentinel.sprung(pair, deliver)
    ran = {(each["role"], each["user"]) for each in found}
    reader = PROGRAM_ROLES["litellm"]
    assert ran and ran <= {("litellm", "litellm"), (reader, "litellm"), (reader, "some_timer")}
    # Bob, who had to wait.
    assert pair.openwebui.value("SELECT count(*) FROM \"user\" WHERE email = 'bob@example.com'") == 1


@pytest.mark.parametrize("forms", [["view"], ["policy"], sentinel.TOGETHER, ["default of query_to_xml"]], ids=str)
def test_whoever_calls_the_drainer(pair: Pair, forms: Sequence[str]) -> None:
    """In a superuser's session it delivers nothing; in that of its login the code runs, as roles that have nothing."""
    with_people(pair)
    (first, *_) = sentinel.plant(pair, "litellm", *forms)
    sentinel.plant(pair, "openwebui", *forms)
    a_round = "CALL user_bridge.drainer(0)"
    assert as_superuser(sentinel.sprung(pair, lambda: pair.litellm_admin.run(a_round))) == []
    if set(forms) & set(sentinel.READ):
        assert first in pair.litellm_admin.value("SELECT last_error FROM user_bridge.upkeep WHERE task = 'drainer'")
        assert pair.litellm_admin.value("SELECT count(*) FROM user_bridge.sync_queue") == 1

    with closing(drainer_session(pair)) as session:
        ran = {(each["role"], each["user"]) for each in sentinel.sprung(pair, lambda: session.run(a_round))}
    reader, writer = PROGRAM_ROLES["litellm"], PROGRAM_ROLES["openwebui"]
    assert ran <= {(reader, DRAINER_ROLE), (writer, SYNC_USER), (SYNC_USER, SYNC_USER)}
    assert ran or forms is not sentinel.TOGETHER


def test_what_is_there_before_the_first_deploy(pair: Pair, tmp_path: Path) -> None:
    ensure_roles(pair)
    sentinel.plant(pair, "litellm", "view")
    words: list[str] = []
    found = sentinel.sprung(
        pair, lambda: words.append(play("llmops.user_bridge.deploy_bridge", variables(pair), tmp_path).words)
    )
    assert 'view public."LiteLLM_OrganizationTable" in the place of a table' in words[0]
    assert as_superuser(found) == []
    assert pair.litellm_admin.value("SELECT count(*) FROM pg_namespace WHERE nspname = 'user_bridge'") == 0


@pytest.mark.parametrize("name", ["bridge_info", "bridge_preflight_info"])
def test_what_a_module_reads_is_rolled_back(pair: Pair, name: str) -> None:
    with_people(pair)
    pair.cluster.execute(f"ALTER DATABASE \"{pair.litellm_db}\" SET log_statement = 'all'")
    start = pair.cluster.log.stat().st_size
    run_module(name, a_call(pair, name))
    text = pair.cluster.log.read_bytes()[start:].decode("utf-8", "replace")
    begun, ended = text.count("statement: BEGIN ISOLATION LEVEL"), text.count("statement: ROLLBACK\n")
    assert begun == ended > 0 and "statement: COMMIT" not in text


def set_search_path(pair: Pair) -> None:
    """Its owner may set one for every login, with functions and relations of the names that are asked for."""
    pair.litellm.run(sentinel.functions())
    pair.litellm.run(
        "CREATE FUNCTION sentinel.current_database() RETURNS name LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM sentinel.look('search_path'); RETURN 'x'; END $$;"
        "CREATE VIEW sentinel.pg_roles AS SELECT r.* FROM pg_catalog.pg_roles AS r, sentinel.look('search_path');"
        "CREATE VIEW sentinel.pg_authid AS SELECT r.* FROM pg_catalog.pg_roles AS r, sentinel.look('search_path');"
        f'ALTER DATABASE "{pair.litellm_db}" SET search_path = sentinel, pg_catalog'
    )


def test_a_database_cannot_give_a_module_its_search_path(pair: Pair) -> None:
    with_people(pair)
    set_search_path(pair)
    for name in ("bridge_preflight_info", "bridge_info", "bridge_sync", "bridge_migration", "bridge_target"):
        found = sentinel.sprung(pair, lambda: run_module(name, a_call(pair, name)))  # noqa: B023
        assert as_superuser(found) == [], name


def test_a_database_cannot_give_a_playbook_its_search_path(pair: Pair, tmp_path: Path) -> None:
    with_people(pair)
    set_search_path(pair)

    def run_all() -> None:
        # What the others call: each module, above.
        names = ("deploy_bridge", "remove_bridge")
        plays = [{"ansible.builtin.import_playbook": f"llmops.user_bridge.{name}"} for name in names]
        done = play(plays, variables(pair), tmp_path)
        assert done.failed == 0, done.output

    assert as_superuser(sentinel.sprung(pair, run_all)) == []


def test_no_playbook_runs_it(pair: Pair, tmp_path: Path) -> None:
    """Each table has something else planted in it; a host for each playbook, because most of them are refused."""
    with_people(pair)
    forms = [form for form in (*sentinel.READ, *sentinel.WRITTEN) if form != "statistics" or pair.cluster.major >= 14]
    for side in ("litellm", "openwebui"):
        session = getattr(pair, side)
        session.run(sentinel.functions())
        for table, form in zip(sentinel.tables(session, side), forms, strict=False):
            session.run(sentinel.statements(table)[form])
    names = ("rotate_sync_password", "bridge_status", "migrate_users", "deploy_bridge", "remove_bridge")
    given = variables(pair, bridge_sync_password="another day, another pass", bridge_maintenance="none")
    plays = [on(name, f"llmops.user_bridge.{name}") for name in names]
    done: list[Run] = []
    inventory = {name: {f"for_{name}": given} for name in names}
    try:
        found = sentinel.sprung(pair, lambda: done.append(play_hosts(plays, inventory, tmp_path)))
    finally:
        # The password belongs to the whole server, and so to other tests.
        pair.openwebui_admin.run(f'ALTER ROLE "{SYNC_USER}" PASSWORD %s', [PASSWORDS[SYNC_USER]])
    assert as_superuser(found) == []
    assert "drop it and run again" in done[0].output, done[0].output


@pytest.mark.parametrize(
    ("side", "form"),
    [
        ("litellm", "partial index"),
        ("openwebui", "statistics"),
        *(
            pytest.param(side, form, marks=pytest.mark.weekly)
            for side, forms in (("litellm", ("view", "statistics")), ("openwebui", ("view", "partial index")))
            for form in forms
        ),
    ],
)
def test_a_takeover_does_not_run_it(pair: Pair, side: Side, form: str) -> None:
    upstream.install(pair)
    with_people(pair)
    plant(pair, side, form)
    if side == "litellm":
        pair.litellm.run(sentinel.statements("sync_mapping")[form])
    words: list[str] = []
    call = a_call(pair, "bridge_takeover")
    found = sentinel.sprung(pair, lambda: words.append(refusal(lambda: run_module("bridge_takeover", call))))
    assert "drop it and run again" in words[0] and as_superuser(found) == []
