# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server with everything on that shows statements never sees one that carries a secret."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg, _role, _secret
from ansible_collections.llmops.user_bridge.plugins.module_utils._target import server as _server

from conftest import missing
from hard_support import replaced
from kit import binaries, pairs, upstream
from kit.bridge import Mutate, install_bridge
from kit.cluster import SUPERUSER, Cluster, running
from kit.common import KitError
from kit.pairs import OWNER_ROLE, PASSWORDS, SYNC_USER, Pair, Session, Side
from kit.rows import add_key, add_user, change_user, delete_user
from kit.symptoms import said
from modules_support import USUAL_DRIVER, ModuleFailed, a_call, login_options, run_module
from playbooks_support import READ_ONLY, Plays, forget_roles, play, role_play, variables

EVERYTHING = {
    "pg_stat_statements.track": "all",
    "pg_stat_statements.track_utility": "on",
    "pg_stat_statements.max": "20000",
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_nested_statements": "on",
    "auto_explain.log_verbose": "on",
    "log_statement": "all",
    "log_duration": "on",
    "log_min_duration_statement": "0",
    "log_min_messages": "debug5",
    "log_min_error_statement": "debug5",
    "log_error_verbosity": "verbose",
    "log_parameter_max_length": "-1",
    "log_parameter_max_length_on_error": "-1",
    "log_parser_stats": "on",
    "log_lock_waits": "on",
    "deadlock_timeout": "20ms",
    "debug_print_parse": "on",
    "debug_print_rewritten": "on",
    "debug_print_plan": "on",
    "debug_pretty_print": "off",
    "track_activity_query_size": "100kB",
}
# Since 16 and with the extension, respectively.
PARAMETERS = {"auto_explain.log_parameter_max_length": "-1"}
AUDIT = {"pgaudit.log": "all", "pgaudit.log_parameter": "on", "pgaudit.log_relation": "on", "pgaudit.log_rows": "on"}
# A session that a test prepares something in without being seen.
BLIND = (
    "-c pg_stat_statements.track=none -c auto_explain.log_min_duration=-1 -c log_statement=none -c log_duration=off "
    "-c log_min_duration_statement=-1 -c log_min_messages=panic -c debug_print_parse=off -c debug_print_rewritten=off "
    "-c debug_print_plan=off -c log_parser_stats=off -c application_name=blind"
)


@pytest.fixture(scope="module")
def watched(pg_major: int) -> Iterator[Cluster]:
    """A server of this module's own, because libraries are loaded at its start only."""
    try:
        programs = binaries.find(pg_major)
    except KitError as error:
        missing(str(error))
    settings = {**EVERYTHING, **(PARAMETERS if pg_major >= 16 else {})}
    libraries = ["pg_stat_statements", "auto_explain"]
    if not programs.from_npm:
        if not Path(f"/usr/share/postgresql/{pg_major}/extension/pgaudit.control").exists():
            missing(f"pgaudit is missing: apt-get install postgresql-{pg_major}-pgaudit")
        libraries.append("pgaudit")
        settings |= AUDIT
    with running(programs, settings={"shared_preload_libraries": ", ".join(libraries), **settings}) as cluster:
        cluster.execute("CREATE EXTENSION pg_stat_statements")
        yield cluster


@pytest.fixture
def pair(watched: Cluster) -> Iterator[Pair]:
    with pairs.pair(watched) as made:
        yield made


@pytest.fixture
def pristine(pair: Pair) -> Pair:
    """On a server without a role of the bridge's."""
    pair.database("litellm")
    forget_roles(pair)
    return pair


@pytest.fixture
def bridged(template: None, pair: Pair) -> Pair:
    """For tests that install the bridge, which are the last ones here: pristine servers have no template."""
    return pair


@pytest.fixture(scope="module")
def template(watched: Cluster) -> None:
    """What they copy is made in silence: to log each statement of it takes longer than the statement."""
    with pairs.pair(watched) as programs:
        # Their schemas come first, made by roles that may not switch anything off.
        programs.database("litellm")
    with pytest.MonkeyPatch.context() as patch, pairs.pair(watched) as made:
        patch.setenv("PGOPTIONS", unseen(made))
        install_bridge(made)


class Watch:
    """What the server shows from now on."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.start = cluster.log.stat().st_size
        self.samples: set[str] = set()
        self.ended = threading.Event()
        cluster.execute("SELECT pg_stat_statements_reset()")
        self.thread = threading.Thread(target=self._sample, daemon=True)
        self.thread.start()

    def _sample(self) -> None:
        """Only what has begun or ended since shortly before the last look: the rest was seen then."""
        looked: object = "-infinity"
        with closing(self.cluster.connect(options=BLIND)) as connection, connection.cursor() as cursor:
            while not self.ended.is_set():
                cursor.execute(
                    "SELECT query, clock_timestamp() FROM pg_stat_activity"
                    " WHERE application_name <> 'blind' AND query <> ''"
                    " AND greatest(query_start, state_change) > %s::timestamptz - interval '0.1 s'",
                    [looked],
                )
                found = cursor.fetchall()
                self.samples |= {query for query, _ in found}
                looked = found[-1][1] if found else looked
                time.sleep(0.002)

    def end(self) -> dict[str, str]:
        """All that was shown, by where."""
        self.ended.set()
        self.thread.join()
        session = Session(self.cluster.connect())
        statements = session.rows("SELECT query FROM pg_stat_statements")
        session.close()
        return {
            "log": self.cluster.log.read_bytes()[self.start :].decode("utf-8", errors="replace"),
            "pg_stat_statements": "\n".join(row["query"] for row in statements),
            "pg_stat_activity": "\n".join(self.samples),
        }


def forms(secret: str) -> list[str]:
    """A secret as it is, as PostgreSQL prints the bytes of a constant, and in the usual encodings."""
    data = secret.encode("utf-8")
    return [secret, " ".join(map(str, data)), data.hex(), base64.b64encode(data).decode("ascii").rstrip("=")[:-1]]


def seen(shown: dict[str, str], *secrets: str) -> dict[str, str]:
    """Where a secret was shown, and which with what is around it."""
    return {
        where: f"{secret}: ... {text[max(0, text.find(form) - 300) : text.find(form) + 100]}"
        for where, text in shown.items()
        for secret in secrets
        for form in forms(secret)
        if form in text
    }


class Shown(AssertionError):
    """A secret that a server shows, by where."""

    def __init__(self, found: dict[str, str]) -> None:
        super().__init__("\n".join(f"{where} shows {text}" for where, text in found.items()))
        self.found = found


@contextmanager
def hidden(cluster: Cluster, *secrets: str) -> Iterator[list[str]]:
    """Whatever the block does, the server shows none of the secrets, to which the block can add, and no verifier."""
    wanted = [*secrets, "SCRAM-SHA-256$4096:"]
    watch = Watch(cluster)
    # What shows that the watch sees: a nested statement, made inside the server.
    cluster.execute("CREATE ROLE watched", "DO $$BEGIN EXECUTE 'COMMENT ON ROLE watched IS ''can' || 'ary''';END$$")
    try:
        yield wanted
    finally:
        cluster.execute("DROP ROLE watched")
        shown = watch.end()
    assert "'canary'" in shown["pg_stat_statements"] and "DROP ROLE watched" in shown["log"]
    assert "'canary'" in shown["log"] and shown["pg_stat_activity"]
    found = seen(shown, *wanted)
    if found:
        raise Shown(found)


# What no quoting changes, so that it is found in every form.
FIRST, SECOND, OWNER = "canary-of-the-first-day", "canary-of-the-second-day", "canary-of-the-owner"


def options(pair: Pair, user: str = SUPERUSER) -> dict[str, Any]:
    return {
        **login_options(pair, "litellm", user),
        "target_host": pair.cluster.host,
        "target_port": pair.cluster.port,
        "target_db": pair.openwebui_db,
        "sync_user": SYNC_USER,
    }


def prepare(pair: Pair) -> Pair:
    pair.litellm_admin.run(f'CREATE ROLE "{OWNER_ROLE}"; CREATE SCHEMA user_bridge AUTHORIZATION "{OWNER_ROLE}"')
    pair.litellm_admin.run("CREATE EXTENSION dblink SCHEMA user_bridge")
    pair.litellm_admin.run(f'GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA user_bridge TO "{OWNER_ROLE}"')
    return pair


@pytest.mark.parametrize("driver", USUAL_DRIVER)
def test_modules(pristine: Pair, driver: str) -> None:
    pair = prepare(pristine)
    with hidden(pair.cluster, FIRST, SECOND):
        for password in (FIRST, FIRST, SECOND):
            role = {**login_options(pair, "openwebui"), "name": SYNC_USER, "password": password, "restricted": True}
            mapping = {**options(pair), "sync_password": password}
            for module, given in (("bridge_role", role), ("bridge_target", {**mapping, "verify": "skip"})):
                assert password not in str(run_module(module, given, check=True, diff=True, driver=driver))
            run_module("bridge_role", role, driver=driver)
            result = run_module("bridge_target", {**mapping, "verify": "connection"}, driver=driver)
            assert result["verified"]["user"] == SYNC_USER
        assert not run_module("bridge_role", role, driver=driver)["changed"]
        # Forced to fail where the password is written, and after it.
        with pytest.raises(ModuleFailed, match="read-only"):
            run_module("bridge_role", {**role, "password": FIRST}, driver=driver, env=READ_ONLY)
        with pytest.raises(ModuleFailed, match="read-only"):
            run_module("bridge_target", {**mapping, "sync_password": FIRST}, driver=driver, env=READ_ONLY)
        with pytest.raises(ModuleFailed, match="nothing was changed"):
            run_module("bridge_target", {**mapping, "sync_password": FIRST, "verify": "connection"}, driver=driver)
        run_module("bridge_target", {**login_options(pair, "litellm"), "state": "absent"}, driver=driver)


FAULTS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "nothing switched off": lambda patch: patch.setattr(_secret, "_hide", lambda cur: None),
    "in the text of a statement": lambda patch: patch.setattr(_secret, "execute", spoken),
}


def spoken(cur: Any, secret: str, touch: str, statement: tuple[str, str], role: str | None = None) -> None:
    """What a fault puts in the place of C(execute)."""
    cur.execute(f"{statement[0]}'{secret}'{statement[1]}")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_secret_that_is_shown_is_found(pristine: Pair, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    pair = prepare(pristine)
    FAULTS[fault](monkeypatch)
    wanted = _server.Wanted(OWNER_ROLE, {"host": "none"}, SYNC_USER, FIRST, "skip", False)
    connection = _pg.connect(login_options(pair, "litellm"))
    with closing(connection), pytest.raises(Shown) as shown, hidden(pair.cluster, FIRST):
        _server.present(connection, wanted)
    assert set(shown.value.found) >= {"log", "pg_stat_statements"}
    connection = _pg.connect(login_options(pair, "openwebui"))
    with closing(connection), pytest.raises(Shown) as shown, hidden(pair.cluster):
        _role.ensure(connection, _role.Wanted(SYNC_USER, FIRST, True, True), False)
    assert set(shown.value.found) >= {"log", "pg_stat_statements"}


@pytest.fixture
def managed(pristine: Pair) -> Iterator[str]:
    """A login that is no superuser, as a managed PostgreSQL gives one."""
    pair = prepare(pristine)
    name = "managed"
    pair.litellm_admin.run(f"CREATE ROLE {name} LOGIN CREATEROLE PASSWORD %s", [PASSWORDS[SYNC_USER]])
    PASSWORDS[name] = PASSWORDS[SYNC_USER]
    pair.litellm_admin.run(
        f"GRANT {OWNER_ROLE} TO {name}; GRANT USAGE ON FOREIGN DATA WRAPPER dblink_fdw TO {OWNER_ROLE}"
    )
    yield name
    pair.litellm_admin.run(f"DROP OWNED BY {name}; DROP ROLE IF EXISTS {SYNC_USER}; DROP ROLE {name}")


def shown_settings(cluster: Cluster) -> dict[str, str]:
    """The settings that matter to such a login, with harmless values."""
    found = {"pg_stat_statements.track": "top", "log_min_messages": "warning", "log_parser_stats": "off"}
    return found if cluster.binaries.from_npm else {**found, "pgaudit.log": "read"}


def test_a_login_that_may_switch_nothing_off_is_refused(pair: Pair, managed: str) -> None:
    role = {**login_options(pair, "openwebui", managed), "name": SYNC_USER, "password": FIRST, "blind": False}
    mapping = {**options(pair, managed), "sync_password": FIRST}
    for module, arguments in (("bridge_role", role), ("bridge_target", mapping)):
        for check in (True, False):
            with pytest.raises(ModuleFailed, match="the server would show .*; nothing was changed") as refused:
                run_module(module, arguments, check=check)
            for name in shown_settings(pair.cluster):
                assert f'ALTER ROLE "{managed}" SET {name} = ' in str(refused.value)
            assert ("GRANT SET ON PARAMETER" in str(refused.value)) == (pair.cluster.major >= 15)
    # Before a run, so that nothing is changed on the other side either.
    look = {**a_call(pair, "bridge_preflight_info"), **login_options(pair, "litellm", managed)}
    problems = " ".join(run_module("bridge_preflight_info", look)["problems"])
    assert problems.count("the server would show passwords to whoever reads its log or statistics") == 2
    assert said("the server would show … to whoever reads its log or statistics", problems)
    assert pair.openwebui_admin.value("SELECT to_regrole(%s)", [SYNC_USER]) is None
    assert pair.litellm_admin.value("SELECT count(*) FROM pg_foreign_server") == 0


@pytest.mark.parametrize("granted", [False, True])
def test_a_login_that_is_no_superuser(pair: Pair, managed: str, granted: bool) -> None:
    if granted and pair.cluster.major < 15:
        granted_by_nobody = "PostgreSQL 13 and 14 cannot grant a setting"
        pytest.skip(granted_by_nobody)
    for name, value in shown_settings(pair.cluster).items():
        grant = f"GRANT SET ON PARAMETER {name} TO {managed}"
        pair.litellm_admin.run(grant if granted else f"ALTER ROLE {managed} SET {name} = '{value}'")
    with hidden(pair.cluster, FIRST, SECOND):
        for password in (FIRST, SECOND):
            role = {**login_options(pair, "openwebui", managed), "name": SYNC_USER, "password": password}
            run_module("bridge_role", {**role, "restricted": True})
            # It cannot be compared, and is left alone.
            assert not run_module("bridge_role", {**role, "blind": False, "restricted": True})["changed"]
            mapping = {**options(pair, managed), "sync_password": password, "verify": "connection"}
            assert run_module("bridge_target", mapping)["verified"]["user"] == SYNC_USER


def unseen(pair: Pair) -> str:
    return BLIND if pair.cluster.binaries.from_npm else f"{BLIND} -c pgaudit.log=none"


@contextmanager
def blind(pair: Pair, side: Side) -> Iterator[Session]:
    """A superuser whose statements the server does not show, nor those of triggers and functions within."""
    session = pair.connect(side, SUPERUSER, options=unseen(pair))
    try:
        yield session
    finally:
        session.close()


def hashes(pair: Pair) -> list[str]:
    with blind(pair, "openwebui") as session:
        return [row["password"] for row in session.rows("SELECT password FROM public.auth WHERE password LIKE '$2%'")]


def test_playbooks(pristine: Pair, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """Takeover, migration, owners, sync user, timer, rotation and removal, with all that Ansible can say."""
    pair = pristine
    upstream.install(pair)
    add_user(pair.litellm, "u1", "ann@example.com", user_role="proxy_admin")
    owners = {"bridge_litellm_owner_password": OWNER, "bridge_openwebui_owner_password": f"{OWNER}-there"}
    chosen = {"bridge_create_databases": True, "bridge_takeover_drop_tables": True, **owners}
    values = variables(pair, bridge_sync_password=FIRST, **chosen)
    rotated = {**values, "bridge_sync_password": SECOND}
    timer = {"bridge_maintenance": "systemd", "bridge_maintenance_password": "canary-of-the-timer"}
    name = "llmops.user_bridge."
    outputs = []
    upstreams = PASSWORDS["openwebui"]
    with hidden(pair.cluster, FIRST, SECOND, OWNER, timer["bridge_maintenance_password"], upstreams) as secrets:
        runs: list[tuple[str | Plays, dict[str, Any], str, Mapping[str, str]]] = [
            (f"{name}deploy_bridge", values, "--check", {}),
            (f"{name}deploy_bridge", values, "--diff", {}),
            (f"{name}deploy_bridge", values, "--diff", READ_ONLY),
            (f"{name}rotate_sync_password", rotated, "--diff", {}),
            (role_play("sync_user"), {**rotated, **timer}, "--diff", {}),
            (f"{name}remove_bridge", {**rotated, "bridge_remove_data": True}, "--diff", {}),
        ]
        if not pytestconfig.getoption("--weekly"):
            # On every push: test_modules, with check mode and a second run of the modules that are given a secret.
            runs = [each for each in runs if each[2] != "--check" and each[3] != READ_ONLY]
        for playbook, given, mode, env in runs:
            log = tmp_path / "ansible.log"
            run = play(playbook, given, tmp_path, "-vvv", "--diff", mode, env={"ANSIBLE_LOG_PATH": str(log), **env})
            assert run.failed == 0, run.output
            assert (run.changed > 0) is (env != READ_ONLY), run.output
            assert mode != "--check" or "CREATE ROLE" in run.output, run.output
            outputs += [run.output, log.read_text(encoding="utf-8")]
        secrets += hashes(pair)
    assert not seen({"output": "\n".join(outputs)}, *secrets, PASSWORDS[SUPERUSER])


@pytest.mark.parametrize("initial_password", ["random", "email"])
def test_initial_passwords(bridged: Pair, initial_password: str) -> None:
    pair = bridged
    install_bridge(pair, {"initial_password": initial_password})
    known = len(hashes(pair))
    with hidden(pair.cluster) as secrets:
        add_user(pair.litellm, "u1", "ann@example.com")
        with pair.litellm.transaction():
            for number in range(4):
                add_user(pair.litellm, f"many{number}", f"many{number}@example.com")
        pair.litellm_admin.run("SELECT user_bridge.drain(1000)")
        secrets += hashes(pair)
        assert len(hashes(pair)) == known + 5
        change_user(pair.litellm, "u1", user_email="anne@example.com")
        change_user(pair.litellm, "u1", user_role="proxy_admin")
        # Refused by a constraint whose error would quote the row.
        pair.openwebui_admin.run(
            "ALTER TABLE public.auth ADD CONSTRAINT planted CHECK (email NOT LIKE 'refused%' OR active IS NULL)"
        )
        add_user(pair.litellm, "u2", "refused@example.com")
        pair.litellm_admin.run("SELECT user_bridge.drain(1000)")
        assert pair.openwebui_admin.value("SELECT count(*) FROM public.auth WHERE email = 'refused@example.com'") == 0
        delete_user(pair.litellm, "u1")


REFUSES_DROPS = """
CREATE FUNCTION public.refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'forced'; END$$;
CREATE EVENT TRIGGER forced ON sql_drop EXECUTE FUNCTION public.refuse()"""
DROPS_AGAIN = "DROP EVENT TRIGGER forced; DROP FUNCTION public.refuse()"


def test_what_fails_on_the_way(bridged: Pair) -> None:
    """Takeover, migration and removal, each forced to fail in the middle, where an error could quote a secret."""
    pair = bridged
    install_bridge(pair, {"initial_password": "email"})
    upstream.install(pair)
    with blind(pair, "litellm") as session:
        session.run("SET session_replication_role = replica")
        for number in range(25):
            add_user(session, f"u{number}", f"user{number}@example.com")
    both = a_call(pair, "bridge_takeover")
    mapping = {**login_options(pair, "litellm"), "state": "absent"}
    schema = {**login_options(pair, "litellm"), "side": "litellm", "state": "absent"}
    known = hashes(pair)
    # A session that is idle shows its last statement, here the scripts with their password.
    pair.litellm.run("SELECT 1")
    with hidden(pair.cluster, PASSWORDS["openwebui"], PASSWORDS[SYNC_USER]) as secrets:
        pair.litellm_admin.run(REFUSES_DROPS)
        for module, arguments in (("bridge_takeover", both), ("bridge_target", mapping)):
            with pytest.raises(ModuleFailed, match="forced"):
                run_module(module, arguments)
        pair.litellm_admin.run(DROPS_AGAIN)
        # Some accounts cannot be written, among many and alone, for an error that quotes the row.
        pair.openwebui_admin.run(
            "ALTER TABLE public.auth ADD CONSTRAINT planted CHECK (email NOT LIKE 'user1%' OR active IS NULL) NOT VALID"
        )
        run_module("bridge_takeover", both)
        done = run_module("bridge_migration", a_call(pair, "bridge_migration"))
        secrets += [each for each in hashes(pair) if each not in known]
        assert len(secrets) > 10 and done["by_type"]["user"]["FAILED"] >= 10, done
        pair.openwebui_admin.run("ALTER TABLE public.auth DROP CONSTRAINT planted")
        pair.openwebui_admin.run(
            "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS "
            "$$BEGIN RAISE EXCEPTION 'forced'; END$$; "
            "CREATE TRIGGER forced BEFORE DELETE ON public.auth FOR EACH ROW EXECUTE FUNCTION public.refuse()"
        )
        with pytest.raises(psycopg2.Error, match="forced"):
            pair.openwebui_admin.run("SELECT * FROM user_bridge.remove_data()")
        run_module("bridge_target", mapping)
        pair.litellm_admin.run(REFUSES_DROPS)
        with pytest.raises(ModuleFailed, match="forced"):
            run_module("bridge_install", schema)


TOKENS = [f"canary{number}-{'0123456789abcdef' * 3}" for number in range(3)]


def keys(pair: Pair) -> None:
    """Keys that LiteLLM's own statements have not shown, nor any trigger seen."""
    with blind(pair, "litellm") as session:
        session.run("SET session_replication_role = replica")
        for number, token in enumerate(TOKENS):
            add_key(session, token, f"u{number}", key_alias=f"key {number}", models=["gpt"])


def regenerate(pair: Pair) -> None:
    """New tokens, made by a statement of LiteLLM's that does not have them, nor does the check of a foreign key."""
    pair.litellm_admin.run('DROP TABLE "LiteLLM_JWTKeyMapping"')
    pair.litellm.run("""UPDATE "LiteLLM_VerificationToken" SET token = 'new-' || token""")


def test_keys_on_litellms_side(bridged: Pair) -> None:
    pair = bridged
    install_bridge(pair, {"initial_password": "none", "api_keys": "mapping"})
    keys(pair)
    with hidden(pair.cluster, *TOKENS):
        for number in range(len(TOKENS)):
            add_user(pair.litellm, f"u{number}", f"user{number}@example.com")
        for change in ("blocked = true", "blocked = false", "user_id = 'u0'", "expires = now()"):
            pair.litellm.run(f'UPDATE "LiteLLM_VerificationToken" SET {change}')
        regenerate(pair)
        pair.litellm_admin.run("SELECT user_bridge.enqueue_everything(); SELECT user_bridge.drain(1000)")
        pair.litellm_admin.run("SELECT user_bridge.maintain(); SELECT user_bridge.reconcile(true)")
        pair.litellm.run('DELETE FROM "LiteLLM_VerificationToken"')
        # The fallback of the trigger, which takes whole rows.
        keys(pair)
        pair.litellm_admin.run('ALTER TABLE "LiteLLM_VerificationToken" RENAME models TO models_of_another_version')
        pair.litellm.run("""UPDATE "LiteLLM_VerificationToken" SET key_alias = 'renamed'""")
        assert pair.litellm_admin.value("SELECT last_value FROM user_bridge.trigger_faults") > 0


def mirrored(pair: Pair, mutate: Mutate | None = None) -> None:
    """Keys are written, compared, refused, late, and deleted."""
    install_bridge(pair, {"initial_password": "none", "api_keys": "mirror", "target_timeout_ms": 20000}, mutate)
    for number in range(len(TOKENS)):
        add_user(pair.litellm, f"u{number}", f"user{number}@example.com")
    keys(pair)
    with hidden(pair.cluster, *TOKENS):
        pair.litellm_admin.run("SELECT user_bridge.enqueue_everything(); SELECT user_bridge.drain(1000)")
        assert pair.openwebui_admin.value("SELECT count(*) FROM api_key") == len(TOKENS)
        pair.litellm_admin.run("SELECT user_bridge.reconcile(true)")
        # Refused, in vain waiting for a lock, and out of time.
        pair.openwebui_admin.run("ALTER TABLE api_key ADD CONSTRAINT refused CHECK (key NOT LIKE 'new-%') NOT VALID")
        regenerate(pair)
        pair.litellm_admin.run("SELECT user_bridge.drain(1000)")
        pair.openwebui_admin.run("ALTER TABLE api_key DROP CONSTRAINT refused")
        blocker = pair.connect("openwebui", autocommit=False)
        blocker.run("LOCK TABLE api_key IN ACCESS EXCLUSIVE MODE")
        # Writing all of this to the log takes far longer than what may delay a COMMIT elsewhere.
        pair.litellm_admin.run("UPDATE user_bridge.settings SET target_timeout_ms = 500")
        pair.litellm_admin.run("SELECT user_bridge.drain(1000)")
        blocker.rollback()
        pair.openwebui_admin.run("ALTER TABLE api_key ADD CONSTRAINT slow CHECK (pg_sleep(30)::text = '') NOT VALID")
        pair.litellm_admin.run("SELECT user_bridge.drain(1000)")
        pair.openwebui_admin.run("ALTER TABLE api_key DROP CONSTRAINT slow")
        pair.litellm_admin.run("UPDATE user_bridge.settings SET target_timeout_ms = 20000")
        errors = pair.litellm_admin.rows(
            "SELECT last_sqlstate AS state FROM user_bridge.sync_queue UNION SELECT sqlstate FROM user_bridge.outage()"
        )
        assert "UB002" in {row["state"] for row in errors}
        pair.litellm_admin.run("SELECT user_bridge.drain(1000)")
        pair.litellm.run('DELETE FROM "LiteLLM_VerificationToken"')
        pair.litellm_admin.run("SELECT user_bridge.drain(1000)")
        assert pair.openwebui_admin.value("SELECT count(*) FROM api_key") == 0


def test_mirrored_keys(bridged: Pair) -> None:
    mirrored(bridged)


@pytest.mark.weekly
def test_a_mirrored_key_that_is_a_parameter_is_found(bridged: Pair) -> None:
    write = "PERFORM user_bridge.write_key_slot("
    shown = replaced(
        "entities/api_key/openwebui/apply.sql.j2", write, write.replace("PERFORM ", "PERFORM length(v_now), ")
    )
    with pytest.raises(AssertionError):
        mirrored(bridged, shown)
