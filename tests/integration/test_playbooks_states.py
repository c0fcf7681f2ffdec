# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""States times playbooks: what a first run changes, and that a second one changes nothing.

Copies of one deployed bridge are brought into each state. A state is a host, so each playbook runs once for all states:
first what changes nothing, then what changes something, then that again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kit import access, litellm, pairs, upstream
from kit.answers import KEY, answering
from kit.cluster import Cluster
from kit.pairs import OWNER_ROLE, PROGRAM_ROLES, SYNC_USER, Pair
from playbooks_support import (
    READ_ONLY,
    Inventory,
    Run,
    clone,
    described,
    forget_roles,
    on,
    play_hosts,
    role_play,
    shipped,
    snapshot,
    variables,
)

PLAYBOOKS = (
    "deploy_bridge",
    "bridge_status",
    "migrate_users",
    "rotate_sync_password",
    "pause_bridge",
    "resume_bridge",
    "review_changes",
    "drain_bridge",
    "reconcile_bridge",
    "bridge_audit",
    "verify_access",
    "remove_bridge",
)
ROLES = ("bridge", "maintenance", "migration", "monitoring", "postgres", "sync_user", "triggers")
TAGS = tuple(f"bridge_{role}" for role in ROLES if role != "bridge")
SOME_TAGS = ("bridge_maintenance",)
# As sites have it that are strict, or ahead of the default.
FREE = {"ANSIBLE_INJECT_FACT_VARS": "false", "ANSIBLE_STRATEGY": "free"}
# Roles belong to the whole server: two hosts at once could change the same one.
ONE_BY_ONE = {"ANSIBLE_FORKS": "1"}
# Of a bridge whose login nobody else uses.
OWN_SYNC_USER = "sync_user_of_one"
# Its password is a part of every name that the bridge has, which Ansible would mask in results.
MASKING_LOGIN = {"bridge_login_user": "masking", "bridge_login_password": "user"}


def nothing(pair: Pair) -> None:
    pass


def pause(pair: Pair) -> None:
    pair.litellm_admin.run("SELECT user_bridge.pause()")


def pause_and_restore(pair: Pair) -> None:
    """A backfill is due, and only a comparison tells that the first user is gone."""
    pause(pair)
    litellm.new_user(pair.litellm, "waiting", "waiting@example.com")
    pair.litellm_admin.run("UPDATE user_bridge.identity SET database_oid = 1")
    pair.litellm_admin.run("SET session_replication_role = replica")
    litellm.delete_user(pair.litellm_admin, "first")
    pair.litellm_admin.run("RESET session_replication_role; DELETE FROM user_bridge.backfill")


def drop_a_trigger(pair: Pair) -> None:
    pair.litellm_admin.run('DROP TRIGGER user_bridge_enqueue ON "LiteLLM_UserTable"')


def disable_a_trigger(pair: Pair) -> None:
    pair.litellm_admin.run('ALTER TABLE "LiteLLM_TeamTable" DISABLE TRIGGER user_bridge_enqueue')


def edit_a_function(pair: Pair) -> None:
    create = "CREATE OR REPLACE FUNCTION user_bridge.count_accounts() RETURNS bigint LANGUAGE sql STABLE"
    pair.openwebui_admin.run(f"{create} AS 'SELECT 1::bigint'")


def lose_a_grant(pair: Pair) -> None:
    pair.openwebui_admin.run(f'REVOKE EXECUTE ON FUNCTION user_bridge.apply(jsonb) FROM "{SYNC_USER}"')
    pair.litellm_admin.run(f'REVOKE SELECT ON "LiteLLM_UserTable" FROM {PROGRAM_ROLES["litellm"]}')


def recreate_a_table(pair: Pair) -> None:
    """As a migration does that copies a table: no trigger, no grant of ours."""
    pair.litellm_admin.run('CREATE TABLE copied (LIKE "LiteLLM_OrganizationMembership" INCLUDING ALL)')
    pair.litellm_admin.run('DROP TABLE "LiteLLM_OrganizationMembership" CASCADE')
    pair.litellm_admin.run('ALTER TABLE copied RENAME TO "LiteLLM_OrganizationMembership"')
    pair.litellm_admin.run('ALTER TABLE "LiteLLM_OrganizationMembership" OWNER TO litellm')


def change_the_password(pair: Pair) -> None:
    pair.openwebui_admin.run(f"ALTER ROLE \"{OWN_SYNC_USER}\" PASSWORD 'somebody else''s'")


def run_the_upstream_scripts(pair: Pair) -> None:
    upstream.install(pair)


def differ(pair: Pair) -> None:
    """Nothing that is installed or queued shows it."""
    pair.openwebui.run("UPDATE \"user\" SET name = 'Mallory' WHERE email = 'first@example.com'")


def record_version(pair: Pair, version: str) -> None:
    for admin in (pair.litellm_admin, pair.openwebui_admin):
        admin.run("UPDATE user_bridge.installed_object SET version = %s WHERE kind = 'bridge'", [version])


def become_newer(pair: Pair) -> None:
    record_version(pair, "9.0.0")


def become_older(pair: Pair) -> None:
    """Another version lacks objects, has others besides, and has left work in the queue."""
    admin = pair.litellm_admin
    admin.run("UPDATE user_bridge.settings SET delivery = 'queued'")
    litellm.new_user(pair.litellm, "waiting", "waiting@example.com")
    admin.run("CREATE FUNCTION user_bridge.of_version_0_9() RETURNS integer LANGUAGE sql AS 'SELECT 9'")
    admin.run(f'ALTER FUNCTION user_bridge.of_version_0_9() OWNER TO "{OWNER_ROLE}"')
    # Only objects in its own books are bridge_install's to drop.
    admin.run(
        "INSERT INTO user_bridge.installed_object (kind, name, definition, fingerprint, server_major, version)"
        " SELECT kind, 'user_bridge.of_version_0_9()', '', '', server_major, '0.9.0'"
        " FROM user_bridge.installed_object WHERE kind = 'function' LIMIT 1"
    )
    admin.run("DROP FUNCTION user_bridge.check_sync_status() CASCADE")
    admin.run("CREATE OR REPLACE FUNCTION user_bridge.version() RETURNS text LANGUAGE sql AS $$SELECT 'older'::text$$")
    drop_a_trigger(pair)
    record_version(pair, "0.9.0")


def drift(pair: Pair) -> None:
    """Each way by itself is for test_modules_bridge_info and test_modules_bridge_install."""
    for way in (drop_a_trigger, disable_a_trigger, edit_a_function, lose_a_grant, recreate_a_table):
        way(pair)


def pause_and_drift(pair: Pair) -> None:
    pause(pair)
    drift(pair)


# How a copy of the bridge that stays "deployed" comes into the state. Besides there are "pristine"; "upstream_alone",
# which has the upstream scripts only; and "password_changed", a bridge with a login of its own.
STATES: Mapping[str, Callable[[Pair], None]] = {
    "drifted": drift,
    "unlike": differ,
    "to_be_paused": nothing,
    "paused": pause,
    "paused_and_restored": pause_and_restore,
    "to_be_removed": pause_and_drift,
    "older_version": become_older,
    "newer_version": become_newer,
    "upstream_scripts": run_the_upstream_scripts,
}
# Weekly, because a run of a playbook takes seconds: drift and a changed password are reported and repaired in
# test_playbooks_deploy, and the scripts are taken over in test_takeover, both where there is a bridge and where there
# is none.
ELSEWHERE = ("drifted", "password_changed", "upstream_scripts", "upstream_alone")
FAILS, NOTHING = (0, 1), (0, 0)
# Runs that change nothing; each playbook needs a host that does not fail, see play_hosts.
LOOKS: Mapping[str, Mapping[str, tuple[int, int]]] = {
    "bridge_status": {
        "pristine": FAILS,
        "deployed": NOTHING,
        "paused": FAILS,
        "drifted": FAILS,
        "password_changed": FAILS,
        "unlike": FAILS,
        "older_version": FAILS,
        "upstream_scripts": NOTHING,
    },
    "migrate_users": {"pristine": FAILS, "deployed": NOTHING, "paused": FAILS},
    "rotate_sync_password": {"pristine": FAILS, "deployed": NOTHING, "paused": NOTHING},
    "pause_bridge": {"pristine": FAILS, "paused": NOTHING},
    "resume_bridge": {"pristine": FAILS, "deployed": NOTHING},
    "review_changes": {"pristine": FAILS, "deployed": NOTHING, "paused": NOTHING},
    "drain_bridge": {"pristine": FAILS, "deployed": NOTHING, "paused": FAILS},
    "reconcile_bridge": {"pristine": FAILS, "deployed": NOTHING, "paused": FAILS},
    "bridge_audit": {"pristine": FAILS, "deployed": NOTHING},
    "verify_access": {"pristine": FAILS, "deployed": NOTHING},
    "remove_bridge": {"pristine": NOTHING, "upstream_alone": NOTHING},
    "deploy_bridge": {"deployed": NOTHING, "paused": NOTHING, "newer_version": FAILS},
}
# Weekly, too: what is wrong with a bridge is told by bridge_info, in test_modules_bridge_info, a login that is not the
# user's is rotated all the same, held changes are listed from one table, a paused bridge is deployed below, and second
# runs of what changes something find nothing to do there. Playbooks of maintenance refuse by the same tasks.
RARE_LOOKS = {
    *(("bridge_status", state) for state in ("paused", "unlike", "older_version")),
    *((playbook, "pristine") for playbook in ("resume_bridge", "review_changes", "reconcile_bridge", "bridge_audit")),
    ("migrate_users", "paused"),
    ("rotate_sync_password", "paused"),
    *(("pause_bridge", state) for state in ("pristine", "paused")),
    ("resume_bridge", "deployed"),
    ("review_changes", "paused"),
    *(("reconcile_bridge", state) for state in ("deployed", "paused")),
    ("deploy_bridge", "paused"),
}
# Runs that change something, and nothing when they are run again.
REPAIRED = ("drifted", "password_changed", "older_version", "upstream_scripts", "upstream_alone", "paused_and_restored")
CHANGES: Mapping[str, tuple[str, ...]] = {
    "pause_bridge": ("to_be_paused",),
    "resume_bridge": ("paused",),
    "reconcile_bridge": ("unlike",),
    "deploy_bridge": REPAIRED,
}
CHECKED = ("to_be_removed", "password_changed")
# With a line of what each shows.
CHECKS = {
    **{f"checks_remove_{state}": "-what it owns and was granted here" for state in CHECKED},
    "checks_absent": "-CREATE TRIGGER user_bridge_enqueue",
    "checks_deploy": "+CREATE TABLE",
    "checks_resume": "+delivers",
    "checks_pause": "+paused until 2100-01-01",
    "checks_rotate": "+password: (not shown, a new one)",
}
# A first deployment's check mode is in test_playbooks_deploy, a login of its own goes as any other, and remove_bridge
# is the role with another state.
RARE_CHECKS = ("checks_remove_password_changed", "checks_absent", "checks_deploy")
# Check mode on a pristine host: the other playbooks pass by the same tasks. deploy_bridge is in test_playbooks_deploy.
CHECKED_ON_A_PUSH = ("bridge_status", "migrate_users", "rotate_sync_password", "drain_bridge", "remove_bridge")
# The others are a part of a deployment, or alone in test_playbooks_deploy.
ROLES_ON_A_PUSH = ("maintenance", "migration", "monitoring", "sync_user")


def host_of(state: str, playbook: str) -> str:
    return f"{state}.{playbook}"


def marks(state: str) -> list[pytest.MarkDecorator]:
    return [pytest.mark.weekly] if state in ELSEWHERE else []


def on_a_push(runs: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, ...]]:
    """Without what is weekly."""
    return {
        playbook: tuple(state for state in states if (playbook, state) not in RARE_LOOKS)
        for playbook, states in runs.items()
    }


def by_state(states: Iterable[str]) -> list[Any]:
    """Parameters of a test."""
    return [pytest.param(state, marks=marks(state)) for state in states]


@dataclass(frozen=True)
class Bridges:
    """A pair in each state, and what verify_access needs to try programs as the first user."""

    pairs: Mapping[str, Pair]
    programs: Mapping[str, Any]

    def inventory(self, runs: Mapping[str, Any]) -> Inventory:
        """A group for each playbook, with a host for each state that there is."""
        return {
            playbook: {
                host_of(state, playbook): {
                    **self.variables(state),
                    **(self.programs if playbook == "verify_access" else {}),
                }
                for state in states
                if state in self.pairs
            }
            for playbook, states in runs.items()
        }

    def variables(self, state: str) -> dict[str, Any]:
        own = {"bridge_sync_user": OWN_SYNC_USER} if state == "password_changed" else {}
        masking = MASKING_LOGIN if state in ("password_changed", "older_version") else {}
        drift = {"bridge_status_drift": "yes"} if state == "unlike" else {}
        end = {"bridge_pause_until": "2100-01-01T00:00:00Z"} if state == "to_be_paused" else {}
        return variables(self.pairs[state], bridge_monitoring="yes", **own, **masking, **drift, **end)

    def snapshots(self) -> dict[str, Any]:
        return {state: snapshot(pair) for state, pair in self.pairs.items()}


def plays(runs: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [on(playbook, f"llmops.user_bridge.{playbook}") for playbook in runs]


@pytest.fixture(scope="module")
def pristine(server: Cluster) -> Iterator[Pair]:
    with pairs.pair(server) as pair:
        forget_roles(pair)
        server.execute("DROP ROLE IF EXISTS masking", "CREATE ROLE masking SUPERUSER LOGIN PASSWORD 'user'")
        yield pair
        server.execute("DROP ROLE masking")


@dataclass(frozen=True)
class Checked:
    """Every playbook and every role in check mode on a host that has never seen a bridge."""

    run: Run
    before: dict[str, Any]
    after: dict[str, Any]


@pytest.fixture(scope="module")
def checked(pristine: Pair, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Checked:
    at_length = pytestconfig.getoption("--weekly")
    roles = ROLES if at_length else ()
    playbooks = PLAYBOOKS if at_length else CHECKED_ON_A_PUSH
    names = (*playbooks, *(f"role_{role}" for role in roles))
    of_roles = [play for role in roles for play in role_play(role, hosts=f"role_{role}")]
    before = snapshot(pristine)
    done = play_hosts(
        [*plays(dict.fromkeys(playbooks)), *of_roles],
        {name: {host_of("pristine", name): variables(pristine)} for name in names},
        tmp_path_factory.mktemp("check"),
        "--check",
        "--diff",
        env=FREE,
    )
    return Checked(done, before, snapshot(pristine))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in CHECKED_ON_A_PUSH else pytest.mark.weekly)
        for name in (*PLAYBOOKS, *(f"role_{role}" for role in ROLES))
    ],
)
def test_check_mode_on_a_pristine_host(checked: Checked, name: str) -> None:
    done = checked.run.hosts[host_of("pristine", name)]
    assert done.failed == 0, done.output
    makes = ("deploy_bridge", "role_bridge", "role_monitoring", "role_sync_user", "role_triggers")
    assert (done.changed > 0) == (name in makes), checked.run.output


def test_check_mode_changes_nothing(checked: Checked) -> None:
    assert checked.after == checked.before


@pytest.fixture(scope="module")
def bridges(
    server: Cluster,
    pristine: Pair,
    checked: Checked,
    tmp_path_factory: pytest.TempPathFactory,
    pytestconfig: pytest.Config,
) -> Iterator[Bridges]:
    left_out = () if pytestconfig.getoption("--weekly") else ELSEWHERE
    with ExitStack() as stack:
        names = [name for name in ("deployed", "password_changed", "upstream_alone") if name not in left_out]
        made = {name: stack.enter_context(pairs.pair(server)) for name in names}
        for pair in made.values():
            litellm.new_user(pair.litellm, "first", "first@example.com")
        email = "first@example.com"
        site = stack.enter_context(answering(access.openwebui(email, "usr_first", []), None))
        programs = {
            "bridge_openwebui_url": site.url,
            "bridge_openwebui_email": email,
            "bridge_openwebui_password": access.PASSWORD,
            "bridge_litellm_url": stack.enter_context(answering(access.litellm(email))).url,
            "bridge_litellm_key": KEY,
        }
        made["pristine"] = pristine
        runs = {"deploy_bridge": ("deployed", "password_changed")}
        folder = tmp_path_factory.mktemp("deployed")
        done = play_hosts(plays(runs), Bridges(made, programs).inventory(runs), folder, env=ONE_BY_ONE)
        assert all(host.changed > 0 and host.failed == 0 for host in done.hosts.values()), done.output
        copies = {state: stack.enter_context(clone(made["deployed"])) for state in STATES if state not in left_out}
        for state, pair in copies.items():
            STATES[state](pair)
        if "password_changed" in made:
            change_the_password(made["password_changed"])
        if "upstream_alone" in made:
            run_the_upstream_scripts(made["upstream_alone"])
        yield Bridges({**made, **copies}, programs)


@dataclass(frozen=True)
class Looked:
    """All of LOOKS in one process, with the catalogs around it."""

    run: Run
    before: dict[str, Any]
    after: dict[str, Any]


@pytest.fixture(scope="module")
def looked(bridges: Bridges, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Looked:
    before = bridges.snapshots()
    at_length = pytestconfig.getoption("--weekly")
    # A play in check mode is not one of an --check run.
    checks = [
        *shipped("remove_bridge", "checks_remove", check_mode=True),
        *shipped("deploy_bridge", "checks_absent", check_mode=True),
        *shipped("deploy_bridge", "checks_deploy", check_mode=True),
        *shipped("resume_bridge", "checks_resume", check_mode=True),
        *shipped("pause_bridge", "checks_pause", check_mode=True),
        *shipped("rotate_sync_password", "checks_rotate", check_mode=True),
    ]
    inventory = {
        **bridges.inventory(LOOKS if at_length else on_a_push(LOOKS)),
        "checks_remove": {
            f"checks_remove_{state}": {**bridges.variables(state), "bridge_remove_data": "true"}
            for state in CHECKED
            if state in bridges.pairs
        },
        "checks_absent": {"checks_absent": {**bridges.variables("deployed"), "bridge_state": "absent"}},
        "checks_deploy": {"checks_deploy": bridges.variables("pristine")},
        "checks_resume": {"checks_resume": bridges.variables("paused")},
        "checks_pause": {"checks_pause": bridges.variables("to_be_paused")},
        "checks_rotate": {"checks_rotate": {**bridges.variables("deployed"), "bridge_sync_password": "another day"}},
    }
    if not at_length:
        for group in inventory:
            inventory[group] = {name: host for name, host in inventory[group].items() if name not in RARE_CHECKS}
    looks = plays({playbook: states for playbook, states in LOOKS.items() if inventory[playbook]})
    hosts = play_hosts([*looks, *checks], inventory, tmp_path_factory.mktemp("looks"), "--diff")
    return Looked(hosts, before, bridges.snapshots())


@pytest.mark.parametrize(
    ("playbook", "state", "expected"),
    [
        pytest.param(
            playbook,
            state,
            expected,
            id=f"{state}-{playbook}",
            marks=[pytest.mark.weekly] if (playbook, state) in RARE_LOOKS else marks(state),
        )
        for playbook, states in LOOKS.items()
        for state, expected in states.items()
    ],
)
def test_a_run_that_changes_nothing(looked: Looked, playbook: str, state: str, expected: tuple[int, int]) -> None:
    done = looked.run.hosts[host_of(state, playbook)]
    assert (done.changed, done.failed) == expected, looked.run.output


@pytest.mark.parametrize(
    "host", [pytest.param(name, marks=[pytest.mark.weekly] if name in RARE_CHECKS else []) for name in CHECKS]
)
def test_a_play_in_check_mode(looked: Looked, host: str) -> None:
    done = looked.run.hosts[host]
    assert (done.changed > 0, done.failed) == (True, 0), looked.run.output
    assert CHECKS[host] in looked.run.output, looked.run.output


@pytest.mark.parametrize("state", by_state([*STATES, "pristine", "deployed", "password_changed", "upstream_alone"]))
def test_it_has_changed_nothing(looked: Looked, state: str) -> None:
    assert looked.after[state] == looked.before[state]


@dataclass(frozen=True)
class Changed:
    """All of CHANGES in one process, and again in another, whose sessions cannot write."""

    first: Run
    again: Run
    bridges: Bridges


@pytest.fixture(scope="module")
def changed(
    bridges: Bridges, looked: Looked, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Changed:
    folder = tmp_path_factory.mktemp("changes")
    roles = ROLES if pytestconfig.getoption("--weekly") else ROLES_ON_A_PUSH
    first = play_hosts(plays(CHANGES), bridges.inventory(CHANGES), folder, env=ONE_BY_ONE)
    alone = {f"role_{role}": {host_of("deployed", role): bridges.variables("deployed")} for role in roles}
    of_roles = [play for role in roles for play in role_play(role, hosts=f"role_{role}")]
    env = {**FREE, **READ_ONLY}
    again = play_hosts([*plays(CHANGES), *of_roles], {**bridges.inventory(CHANGES), **alone}, folder, env=env)
    return Changed(first, again, bridges)


@pytest.mark.parametrize(
    ("playbook", "state"),
    [
        pytest.param(playbook, state, id=f"{state}-{playbook}", marks=marks(state))
        for playbook, states in CHANGES.items()
        for state in states
    ],
)
def test_a_run_that_changes_something(changed: Changed, playbook: str, state: str) -> None:
    first = changed.first.hosts[host_of(state, playbook)]
    assert (first.changed > 0, first.failed) == (True, 0), changed.first.output
    again = changed.again.hosts[host_of(state, playbook)]
    assert (again.changed, again.failed) == NOTHING, changed.again.output
    if playbook == "pause_bridge":
        assert "The bridge is paused until 2100-01-01T00:00:00Z." in changed.first.words, changed.first.output
    if playbook == "resume_bridge":
        assert "delivered; queued now: 0, of these 0 failing and 0 held." in changed.first.words, changed.first.output
    pair = changed.bridges.pairs[state]
    emails = pair.openwebui.rows(
        "SELECT email FROM \"user\" WHERE email IN ('first@example.com', 'waiting@example.com')"
    )
    assert len(emails) == (2 if state == "older_version" else 1)
    if playbook == "deploy_bridge":
        waiting = pair.litellm_admin.value("SELECT count(*) FROM user_bridge.sync_queue")
        assert (waiting > 0) == (state == "paused_and_restored")


def test_a_paused_bridge_says_that_it_delivers_nothing(changed: Changed) -> None:
    host = host_of("paused_and_restored", "deploy_bridge")
    said = [line for line in changed.first.output.split("TASK [") if "Say that a paused bridge" in line]
    assert len(said) == 1 and f"ok: [{host}]" in said[0] and "resume_bridge" in said[0]
    litellm_admin = changed.bridges.pairs["paused_and_restored"].litellm_admin
    queued = litellm_admin.rows("SELECT DISTINCT entity_id FROM user_bridge.sync_queue WHERE entity_type = 'user'")
    assert {"first", "waiting"} <= {row["entity_id"] for row in queued}


@pytest.mark.parametrize("state", by_state(["drifted", "older_version"]))
def test_it_is_as_it_was_deployed(changed: Changed, state: str) -> None:
    assert described(changed.bridges.pairs[state]) == described(changed.bridges.pairs["deployed"])


@pytest.mark.parametrize(
    "role", [pytest.param(role, marks=[] if role in ROLES_ON_A_PUSH else pytest.mark.weekly) for role in ROLES]
)
def test_a_role_alone_changes_nothing_that_is_there(changed: Changed, role: str) -> None:
    done = changed.again.hosts[host_of("deployed", role)]
    assert (done.changed, done.failed) == NOTHING, changed.again.output


LACKS_THE_BRIDGE = {
    "bridge_triggers": "run the role llmops.user_bridge.sync_user first",
    "bridge_migration": "has no bridge, or one that was restored from a dump. Run llmops.user_bridge.deploy_bridge",
    "bridge_maintenance": "has no bridge, or one that was restored from a dump. Run llmops.user_bridge.deploy_bridge",
    "bridge_monitoring": "has no bridge, or one that was restored from a dump. Run llmops.user_bridge.deploy_bridge",
}


# On every push the others are as the roles by themselves.
@pytest.mark.parametrize(
    "tag", [pytest.param(tag, marks=[] if tag in SOME_TAGS else pytest.mark.weekly) for tag in TAGS]
)
def test_a_tag_alone_changes_nothing_that_is_there(bridges: Bridges, tmp_path: Path, tag: str) -> None:
    hosts = {"deployed": {"deployed": bridges.variables("deployed")}}
    done = play_hosts(shipped("deploy_bridge", "deployed"), hosts, tmp_path, "--tags", tag, env={**FREE, **READ_ONLY})
    there = done.hosts["deployed"]
    assert (there.changed, there.failed) == NOTHING, done.output
    if tag in LACKS_THE_BRIDGE:
        hosts = {"bare": {"bare": bridges.variables("pristine")}}
        done = play_hosts(shipped("deploy_bridge", "bare"), hosts, tmp_path, "--tags", tag, env=FREE)
        bare = done.hosts["bare"]
        assert (bare.changed, bare.failed) == FAILS and LACKS_THE_BRIDGE[tag] in bare.words, done.output


def test_a_part_that_is_left_out(bridges: Bridges, tmp_path: Path) -> None:
    """What it shares with other parts is not: they need it."""
    hosts = {"deployed": {"deployed": bridges.variables("deployed")}}
    leave = ("--skip-tags", "bridge_migration,bridge_monitoring")
    done = play_hosts(shipped("deploy_bridge", "deployed"), hosts, tmp_path, *leave, env={**FREE, **READ_ONLY})
    there = done.hosts["deployed"]
    assert (there.changed, there.failed) == NOTHING, done.output
    assert "Databases | Read both" in done.output and "monitoring :" not in done.output, done.output


def test_a_run_that_begins_in_the_middle(bridges: Bridges, tmp_path: Path) -> None:
    runs = {"deploy_bridge": ("pristine",)}
    begin = ("--start-at-task", "llmops.user_bridge.triggers : Install or drop the SQL objects")
    host = play_hosts(plays(runs), bridges.inventory(runs), tmp_path, *begin).hosts[
        host_of("pristine", "deploy_bridge")
    ]
    assert (host.changed, host.failed) == FAILS and "without --start-at-task" in host.words, host.output


def rights_on_database(pair: Pair) -> list[Any]:
    """What roles of the bridge's may on Open WebUI's database itself."""
    return pair.openwebui_admin.rows(
        "SELECT acl::text FROM pg_database, unnest(datacl) AS acl"
        " WHERE datname = current_database() AND acl::text LIKE %s",
        [f"{SYNC_USER}=%"],
    )


def test_a_paused_bridge_that_has_drifted_can_be_removed(bridges: Bridges, tmp_path: Path) -> None:
    pair = bridges.pairs["to_be_removed"]
    before = rights_on_database(bridges.pairs["deployed"])
    groups = {name: {name: bridges.variables("to_be_removed")} for name in ("remove", "again")}
    done = {
        # What a playbook decides is no variable of the user's.
        run: play_hosts(shipped("remove_bridge", run), groups, tmp_path, "-e", "bridge_state=present", env=env)
        for run, env in (("remove", ONE_BY_ONE), ("again", {**ONE_BY_ONE, **READ_ONLY}))
    }
    first, again = (done[run].hosts[run] for run in groups)
    assert (first.changed > 0, first.failed) == (True, 0), done["remove"].output
    assert (again.changed, again.failed) == NOTHING, done["again"].output
    assert described(pair) == described(bridges.pairs["pristine"])
    assert pair.openwebui.value("SELECT count(*) FROM \"user\" WHERE email = 'first@example.com'") == 1
    # That of another bridge on the server, whose roles have the same names, goes on.
    assert rights_on_database(bridges.pairs["deployed"]) == before != []
