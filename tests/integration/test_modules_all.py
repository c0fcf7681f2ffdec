# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every module must do when the login, the server or the bridge is not as it should be.

Each must end with one clear line, without SQL, secrets or a traceback. A new module has no way round these tests.
"""

from __future__ import annotations

import json
import re
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from kit import upstream
from kit.bridge import copy_prepared
from kit.cluster import Cluster
from kit.pairs import PASSWORDS, SYNC_USER, Pair
from kit.pairs import pair as new_pair
from kit.rows import add_user
from modules_support import (
    MODULES,
    READ_ONLY,
    USUAL_DRIVER,
    ModuleFailed,
    a_call,
    ensure_roles,
    install,
    login_options,
    run_module,
)

# bridge_preflight_info returns problems instead of failing: test_modules_bridge_preflight_info.py has its tests.
FAILING = [module for module in MODULES if module != "bridge_preflight_info"]
every_module = pytest.mark.parametrize("module", FAILING)
# These ask the server, which needs no bridge.
OF_THE_SERVER = {"bridge_query_info", "bridge_role"}
every_module_of_the_bridge = pytest.mark.parametrize("module", sorted({*FAILING} - OF_THE_SERVER))


def with_both(pair: Pair) -> None:
    """The bridge, and the upstream scripts."""
    install(pair)
    add_user(pair.litellm, "u1", "ann@example.com")
    upstream.install(pair)


@pytest.fixture
def deployed(pair: Pair) -> Pair:
    copy_prepared(pair, with_both)
    return pair


@pytest.fixture(scope="module")
def looked_at(server: Cluster) -> Iterator[Pair]:
    """For tests in which nobody gets as far as changing anything."""
    with new_pair(server) as made:
        install(made)
        upstream.install(made)
        yield made


def failure(module: str, options: dict[str, Any], **arguments: Any) -> str:
    """The message of a call that fails as it should."""
    with pytest.raises(ModuleFailed) as failed:
        run_module(module, options, **arguments)
    return checked(str(failed.value))


def checked(message: str) -> str:
    assert "\n" not in message and "Traceback" not in message
    assert not re.search(r"\b(SELECT|INSERT INTO|DELETE FROM|BEGIN ISOLATION)\b|LINE \d", message), message
    for secret in (*PASSWORDS.values(), "wrong one"):
        assert secret not in message and json.dumps(secret)[1:-1] not in message
    return message


LOGINS: list[tuple[dict[str, Any], str]] = [
    ({"login_port": 1}, "; check login_host and login_port: the server must run, and be reachable"),
    ({"login_password": "wrong one"}, "password authentication failed .*; check login_user and login_password"),
    ({"login_db": "nowhere"}, "set login_db to the database that the program uses"),
    ({"connect_params": {"dbname": "nowhere"}}, "set login_db to the database that the program uses"),
    ({"ssl_mode": "require"}, "check ssl_mode and ca_cert"),
]


# All connect by the same function: on every push each module meets one mistake and each mistake two modules.
@pytest.mark.parametrize(
    ("module", "change", "message"),
    [
        pytest.param(module, change, message, marks=[] if number % len(LOGINS) == other else pytest.mark.weekly)
        for number, module in enumerate(FAILING)
        for other, (change, message) in enumerate(LOGINS)
    ],
)
@pytest.mark.parametrize("driver", USUAL_DRIVER)
def test_a_login_that_does_not_work(
    looked_at: Pair, module: str, driver: str, change: dict[str, Any], message: str
) -> None:
    found = failure(module, {**a_call(looked_at, module), **change}, driver=driver)
    assert found.startswith("cannot connect to ") and re.search(message, found), found


@pytest.mark.parametrize("module", ["bridge_info", "bridge_ownership", "bridge_takeover"])
def test_a_second_login_that_does_not_work(looked_at: Pair, module: str) -> None:
    options = {**a_call(looked_at, module), "openwebui_login_port": 1}
    if module == "bridge_info":
        (unseen,) = run_module(module, options)["unseen"]
        message = checked(unseen["reason"])
    else:
        message = failure(module, options)
    assert "check openwebui_login_host and openwebui_login_port" in message


@pytest.mark.parametrize("module", sorted({*FAILING} - OF_THE_SERVER - {"bridge_audit_info", "bridge_mapping_info"}))
def test_an_owner_that_is_not_there(looked_at: Pair, module: str) -> None:
    options = {**a_call(looked_at, module), "owner": "nobody"}
    if module == "bridge_info":
        assert 'role "nobody" does not exist' in str(run_module(module, options)["unseen"])
    else:
        assert "nobody" in failure(module, options)


# What is missing for a login that may only connect, and to whom it says so.
UNPRIVILEGED = {
    "bridge_audit_info": "login_user sync_user may not look into the bridge .*as a member of the bridge's owner role",
    "bridge_install": "login_user sync_user needs in database",
    "bridge_mapping_info": "login_user sync_user may not look into the bridge .*as a member of the bridge's owner role",
    "bridge_migration": "login_user sync_user cannot act as user_bridge_owner .*GRANT",
    "bridge_ownership": "login_user sync_user cannot act as user_bridge_owner .*GRANT",
    "bridge_role": 'login_user sync_user may not create or alter the role "other": .*CREATEROLE',
    "bridge_sync": "login_user sync_user cannot act as user_bridge_owner .*GRANT",
    "bridge_takeover": "login_user sync_user needs in database .*membership in role litellm",
    "bridge_target": "login_user sync_user",
}


@every_module
def test_a_login_without_rights(deployed: Pair, module: str) -> None:
    options = {**a_call(deployed, module), **login_options(deployed, "litellm", SYNC_USER)}
    if module == "bridge_role":
        options["name"] = "other"
    if module == "bridge_query_info":
        assert run_module(module, options)["rows"] == [{"number": 1}]
        return
    if module == "bridge_info":
        found = run_module(module, options)
        assert "could not see queue: permission denied" in " ".join(found["health"]["reasons"])
        return
    message = failure(module, options)
    assert re.search(UNPRIVILEGED[module], message), message


@every_module_of_the_bridge
def test_without_a_bridge(pair: Pair, module: str) -> None:
    ensure_roles(pair)
    options = a_call(pair, module)
    if module == "bridge_info":
        assert " has no bridge: run the playbook" in run_module(module, options)["health"]["reasons"][0]
    elif module == "bridge_install":
        assert run_module(module, options, check=True, env=READ_ONLY)["changed"] is True
    elif module == "bridge_target":
        assert "dblink" in failure(module, options)
    elif module == "bridge_takeover":
        assert run_module(module, options, env=READ_ONLY)["changed"] is False
        upstream.install(pair)
        assert "lacks LiteLLM's side of the bridge" in failure(module, options)
    else:
        assert re.match(r"the bridge is not installed in database \w+ \(login_db\): run", failure(module, options))


@every_module_of_the_bridge
def test_an_older_bridge(deployed: Pair, module: str) -> None:
    """Functions of today are missing, columns have other names, and the recorded version is another."""
    admin, options = deployed.litellm_admin, a_call(deployed, module)
    admin.run("UPDATE user_bridge.installation SET version = '0.9.0'")
    if module == "bridge_install":
        version = run_module(module, options, env=READ_ONLY, check=True)["version"]
        assert version == {"before": "0.9.0", "after": "1.0.0"}
        admin.run("UPDATE user_bridge.installation SET version = '9.0.0'")
        assert "9.0.0" in failure(module, options)
        return
    admin.run(
        "ALTER TABLE user_bridge.sync_audit RENAME sync_result TO outcome;"
        "ALTER TABLE user_bridge.sync_mapping RENAME sync_data TO data;"
        "ALTER TABLE user_bridge.sync_queue RENAME last_error TO error;"
        "ALTER TABLE user_bridge.settings RENAME paused TO stopped;"
        "ALTER TABLE user_bridge.identity RENAME id TO secret;"
        "DROP FUNCTION user_bridge.enqueue_everything()"
    )
    if module == "bridge_info":
        found = run_module(module, {**options, "version": "1.0.0"})
        assert found["version"]["matches"] is False and found["health"]["status"] == "broken"
        assert "function user_bridge.enqueue_everything() (litellm): missing" in " ".join(found["health"]["reasons"])
    elif module == "bridge_target":
        # It needs no more of the bridge than the schema that dblink is in.
        assert run_module(module, options)["verified"]["user"] == SYNC_USER
    else:
        message = failure(module, options)
        assert "of another version than this collection, or damaged" in message and "deploy_bridge" in message, message


class Cut:
    """Stands between a client and the server, and breaks each connection off after some of the server's answers."""

    def __init__(self, cluster: Cluster, answers: int) -> None:
        self.target, self.answers, self.did_cut = (cluster.host, cluster.port), answers, False
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listener.getsockname()[1])

    def serve(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return  # The test is over.
            server = socket.create_connection(self.target)
            for end in (client, server):
                # Else each answer of several messages waits for the client's delayed acknowledgement.
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for work, args in ((self.ask, (client, server)), (self.answer, (server, client))):
                threading.Thread(target=work, args=args, daemon=True).start()

    @staticmethod
    def ask(client: socket.socket, server: socket.socket) -> None:
        try:
            while data := client.recv(65536):
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)
        except OSError:
            return  # Broken off, by us or at the other end.

    def answer(self, server: socket.socket, client: socket.socket) -> None:
        seen = 0
        with closing(server), closing(client), server.makefile("rb") as stream:
            while kind := stream.read(1):
                size = stream.read(4)
                body = stream.read(struct.unpack("!I", size)[0] - 4)
                seen += kind == b"Z"  # Ready for the next query.
                if seen > self.answers:
                    self.did_cut = True
                    client.shutdown(socket.SHUT_RDWR)
                    return
                try:
                    client.sendall(kind + size + body)
                except OSError:
                    return  # The client has had enough.


@contextmanager
def cut_off(cluster: Cluster, answers: int) -> Iterator[Cut]:
    cut = Cut(cluster, answers)
    server = threading.Thread(target=cut.serve, daemon=True)
    server.start()
    try:
        yield cut
    finally:
        # Only this wakes a thread that waits in accept().
        cut.listener.shutdown(socket.SHUT_RDWR)
        cut.listener.close()
        server.join(timeout=10)


# All have one way to the server. On every push one that installs, one that writes for long, one with a second login.
@pytest.mark.parametrize(
    "module",
    [
        pytest.param(
            module, marks=[] if module in ("bridge_info", "bridge_install", "bridge_migration") else pytest.mark.weekly
        )
        for module in FAILING
    ],
)
@pytest.mark.parametrize("driver", USUAL_DRIVER)
def test_the_server_goes_away_in_the_middle(deployed: Pair, module: str, driver: str) -> None:
    """At one answer after the other, until the module gets through; then all is as if nothing had happened."""
    options = a_call(deployed, module)
    cuts, answers = 0, 1
    while True:
        with cut_off(deployed.cluster, answers) as cut:
            # Not one byte is encrypted, so that answers can be told apart.
            through = {**options, "login_host": "127.0.0.1", "login_port": cut.port, "ssl_mode": "disable"}
            try:
                found = run_module(module, through, driver=driver)
            except ModuleFailed as failed:
                message = checked(str(failed))
                assert "no answer from the server: " in message or message.startswith("cannot connect to "), message
                assert "LiteLLM's server cannot" not in message  # It is LiteLLM's server that is gone.
            else:
                if not cut.did_cut:
                    break
                # Of the second login it says only that it could not look there.
                assert module == "bridge_info" and found["unseen"]
        cuts, answers = cuts + 1, answers * 2
    assert cuts >= 3
    run_module(module, options, driver=driver)
    if not module.endswith("_info"):
        assert run_module(module, options, driver=driver, env=READ_ONLY)["changed"] is False


@every_module
@pytest.mark.parametrize("driver", USUAL_DRIVER)
def test_pgoptions_of_the_target_are_honoured(looked_at: Pair, module: str, driver: str) -> None:
    """Proved by an option that the server refuses."""
    message = failure(module, a_call(looked_at, module), driver=driver, env={"PGOPTIONS": "-c no_such.thing"})
    assert message.startswith("cannot connect to ") and "no_such.thing" in message
