# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two servers, and a connection between them that nobody can listen to or stand in the middle of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import testinfra

from kit.hosts import VARIABLES, Database, Refused, play

LITELLM, OPENWEBUI = (testinfra.get_host(f"docker://user-bridge-{side}") for side in ("litellm", "openwebui"))
_TLS = "sslmode=verify-full sslrootcert=/etc/ssl/user-bridge-ca.crt"
_DEPLOYER = f"host=user-bridge-openwebui user=deployer dbname=openwebui {_TLS}"


@pytest.fixture
def litellm() -> Database:
    return Database(LITELLM, "litellm")


@pytest.fixture
def openwebui() -> Database:
    return Database(OPENWEBUI, "openwebui")


@pytest.fixture
def stopped() -> Iterator[None]:
    """Open WebUI's server is down for the length of a test."""
    OPENWEBUI.check_output("systemctl stop 'postgresql@*-main.service'")
    assert not OPENWEBUI.socket("tcp://0.0.0.0:5432").is_listening
    yield
    OPENWEBUI.check_output("systemctl start postgresql")


def test_a_write_crosses_over(litellm: Database, openwebui: Database) -> None:
    litellm.run("INSERT INTO \"LiteLLM_UserTable\" (user_id, user_email) VALUES ('ann', 'ann@example.com')")
    assert openwebui.value("SELECT email FROM \"user\" WHERE id = 'usr_ann'") == "ann@example.com"


def test_through_tls(litellm: Database) -> None:
    """Seen from the other end, while LiteLLM's session, and so its connection, is open; the drainer has another."""
    write = "UPDATE \"LiteLLM_UserTable\" SET user_alias = 'Ann' WHERE user_id = 'ann';"
    seen = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'sync_user'"
    look = f'\\! PGPASSWORD={VARIABLES["bridge_openwebui_login_password"]} psql -XAt -d "{_DEPLOYER}" -c "{seen}"'
    psql = "printf '%%s\\n%%s\\n' %s %s | runuser -u postgres -- psql -XqAt -d litellm"
    assert LITELLM.check_output(psql, write, look) == "t"


def test_the_server_knows_verify_full_and_has_no_password_in_sight(litellm: Database) -> None:
    options = litellm.value("SELECT srvoptions FROM pg_foreign_server WHERE srvname = 'user_bridge_target'")
    assert {"host=user-bridge-openwebui", "sslmode=verify-full"} <= set(options)
    assert "canary" not in str(options)
    visible = litellm.as_role("litellm").value("SELECT umoptions FROM pg_user_mappings")
    assert visible is None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("sslmode=disable", "no pg_hba.conf entry"),
        ("sslmode=verify-full sslrootcert=/etc/ssl/certs/ISRG_Root_X1.pem", "certificate verify failed"),
    ],
)
def test_neither_plain_nor_somebody_elses_authority(options: str, said: str) -> None:
    with pytest.raises(Refused, match=said):
        Database(LITELLM, "openwebui", "sync_user", "user-bridge-openwebui", options).value("SELECT 1")


def test_a_server_of_another_name_is_refused(tmp_path: Path, litellm: Database) -> None:
    address = OPENWEBUI.check_output("hostname -i").split()[0]
    run = play("deploy_bridge", "user-bridge-litellm", tmp_path, bridge_target_host=address)
    assert run.failed == 1, run.output
    assert "does not match host name" in run.words and "bridge_target_sslmode" in run.words, run.output
    options = litellm.value("SELECT srvoptions FROM pg_foreign_server WHERE srvname = 'user_bridge_target'")
    assert "host=user-bridge-openwebui" in options


def test_litellm_goes_on_without_the_other_host(stopped: None, litellm: Database) -> None:
    litellm.run("INSERT INTO \"LiteLLM_UserTable\" (user_id, user_email) VALUES ('late', 'late@example.com')")
    assert litellm.value("SELECT count(*) FROM user_bridge.sync_queue WHERE entity_id = 'late'") == 1


def test_what_waited_is_delivered_when_it_is_back(litellm: Database, openwebui: Database) -> None:
    litellm.run("UPDATE user_bridge.sync_queue SET next_attempt_at = clock_timestamp()")
    # The rights on models of somebody new follow.
    for _ in range(2):
        litellm.run("SELECT user_bridge.drain()")
    assert openwebui.value("SELECT count(*) FROM \"user\" WHERE email = 'late@example.com'") == 1
    assert litellm.value("SELECT count(*) FROM user_bridge.sync_queue") == 0
