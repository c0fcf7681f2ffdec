# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An installation knows itself: a copy of LiteLLM's database only queues, and Open WebUI serves its owner only."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from conftest import missing
from kit import binaries, cluster, openwebui, rows
from kit.bridge import OWNER_ROLE, bring_key, install_bridge, own, request
from kit.cluster import Cluster
from kit.drains import drain_all
from kit.pairs import PASSWORDS, SYNC_USER, Pair
from kit.pairs import pair as new_pair
from test_delivery import unanswered

A_COPY = "this database is a copy of the one that the bridge was installed in"
CONTENTS = """SELECT jsonb_build_array(
    (SELECT jsonb_agg(to_jsonb(u) ORDER BY u.id) FROM public."user" AS u),
    (SELECT jsonb_agg(to_jsonb(a) ORDER BY a.id) FROM public.auth AS a),
    (SELECT jsonb_agg(to_jsonb(g) ORDER BY g.id) FROM public."group" AS g),
    (SELECT jsonb_agg(to_jsonb(e) ORDER BY e.entity_type, e.entity_id) FROM user_bridge.entity AS e),
    (SELECT jsonb_agg(to_jsonb(m) ORDER BY m.group_type, m.group_id, m.user_id) FROM user_bridge.membership AS m))"""


def queue(pair: Pair) -> list[dict[str, Any]]:
    return pair.litellm_admin.rows(
        "SELECT entity_type, entity_id, attempts, last_sqlstate, last_error FROM user_bridge.sync_queue ORDER BY 1, 2"
    )


def waiting(pair: Pair) -> str:
    """Why the only entity in the queue waits."""
    found = queue(pair)
    assert len(found) == 1, found
    return str(found[0]["last_error"] or (unanswered(pair) or {}).get("error"))


def refusal(pair: Pair, text: str | None) -> str | None:
    """The SQLSTATE with which Open WebUI's side refuses a request."""
    try:
        pair.sync_user.run("SELECT user_bridge.apply(%s)", [text])
    except psycopg2.Error as error:
        return error.pgcode
    return None


def beside(pair: Pair, litellm_db: str) -> Pair:
    """Another LiteLLM database that has the same Open WebUI as its target."""
    return Pair(pair.cluster, litellm_db, pair.openwebui_db, pair.litellm_version, pair.openwebui_version, pair.admin)


def forget_sessions(pair: Pair) -> None:
    """A database can be copied, renamed or dropped when nobody is connected."""
    pair.close()
    pair.opened.clear()
    pair.sessions.clear()
    pair.cluster.end_sessions(f"datname = '{pair.litellm_db}'")


def from_template(pair: Pair, name: str) -> None:
    forget_sessions(pair)
    pair.cluster.execute(f'CREATE DATABASE "{name}" OWNER litellm TEMPLATE "{pair.litellm_db}"')


def from_dump(*format_options: str) -> Callable[[Pair, str], None]:
    def restore(pair: Pair, name: str) -> None:
        pg_dump = binaries.pg_dump_for(pair.cluster.major)
        if pg_dump is None:
            missing("pg_dump is missing: apt-get install postgresql")
        assert pg_dump is not None
        where = ["-h", pair.cluster.host, "-p", str(pair.cluster.port), "-U", "postgres"]
        environment = {**os.environ, "PGPASSWORD": PASSWORDS["postgres"]}
        dump = [str(pg_dump), *where, *format_options, pair.litellm_db]
        data = subprocess.run(dump, check=True, capture_output=True, env=environment).stdout
        pair.cluster.execute(f'CREATE DATABASE "{name}" OWNER litellm')
        program = "pg_restore" if format_options else "psql"
        options = ["-d", name] if format_options else ["-q", "-v", "ON_ERROR_STOP=1", "-d", name]
        load = [str(Path(pg_dump).parent / program), *where, *options]
        done = subprocess.run(load, input=data, capture_output=True, env=environment)
        assert done.returncode == 0, done.stderr.decode()

    return restore


COPIES = {"template": from_template, "plain dump": from_dump(), "custom dump": from_dump("-Fc")}


@contextmanager
def a_copy(pair: Pair, make: Callable[[Pair, str], None]) -> Iterator[Pair]:
    name = pair.cluster.fresh_name("copy")
    make(pair, name)
    copy = beside(pair, name)
    try:
        yield copy
    finally:
        copy.close()
        pair.cluster.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def lived_in(pair: Pair) -> None:
    """Three delivered users, and one that waits."""
    install_bridge(pair, {"initial_password": "none", "backoff_seconds": 1})
    for name in ("ann", "bob", "cem"):
        rows.add_user(pair.litellm, name, f"{name}@example.com", user_alias="Real")
    pair.litellm_admin.run("SELECT user_bridge.pause()")
    rows.add_user(pair.litellm, "dee", "dee@example.com")
    pair.litellm_admin.run("SELECT user_bridge.resume()")


@pytest.mark.parametrize("make", COPIES.values(), ids=COPIES)
def test_a_copy_only_queues_and_says_so(pair: Pair, make: Callable[[Pair, str], None]) -> None:
    lived_in(pair)
    before = pair.openwebui_admin.value(CONTENTS)
    with a_copy(pair, make) as copy:
        rows.change_user(copy.litellm, "ann", user_email="anon@example.invalid", user_role="proxy_admin")
        rows.delete_user(copy.litellm, "bob")
        rows.add_user(copy.litellm, "eve", "eve@example.com")
        assert copy.litellm.value('SELECT count(*) FROM "LiteLLM_UserTable"') == 4
        assert copy.litellm_admin.rows("SELECT * FROM user_bridge.drain(10, true)") == []
        problem = unanswered(copy)
        assert problem is not None and problem["sqlstate"] == "UB005"
        assert A_COPY in problem["error"] and "deploy_bridge" in problem["error"]
        drained = copy.litellm_admin.rows("SELECT * FROM user_bridge.drain(10)")
        assert {row["result"] for row in drained} == {"FAILED"} and A_COPY in drained[0]["error_message"]
        left = queue(copy)
        # The restored backlog, too.
        assert {"ann", "bob", "dee", "eve"} <= {row["entity_id"] for row in left}
        assert not copy.litellm_admin.value("SELECT user_bridge.breaker_is_open()")
        # A timer in the copy writes nothing more.
        assert copy.litellm_admin.value("SELECT user_bridge.tick()") == 0
        copy.litellm_admin.run("SELECT user_bridge.drain(10)")
        assert queue(copy) == left and unanswered(copy) == problem
        (status,) = copy.litellm_admin.rows(
            "SELECT * FROM user_bridge.check_sync_status() WHERE metric = 'Installation'"
        )
        assert A_COPY in status["value"]
        for asks in ("reconcile(true)", "preview(ARRAY['user'], ARRAY['ann'])"):
            with pytest.raises(psycopg2.Error, match=A_COPY) as refused:
                copy.litellm_admin.run(f"SELECT * FROM user_bridge.{asks}")
            assert refused.value.pgcode == "UB005"
    assert pair.openwebui_admin.value(CONTENTS) == before
    rows.change_user(pair.litellm, "ann", user_alias="Still Real")
    drain_all(pair)
    assert openwebui.accounts(pair)["ann@example.com"] == ("Still Real", "user")
    assert "dee@example.com" in openwebui.accounts(pair)
    (status,) = pair.litellm_admin.rows("SELECT * FROM user_bridge.check_sync_status() WHERE metric = 'Installation'")
    assert status["value"] == "this database"


def test_an_upgraded_server_queues_until_the_next_deploy(bridged: Pair) -> None:
    """pg_upgrade makes a server with another system identifier."""
    bridged.litellm_admin.run("UPDATE user_bridge.identity SET system_identifier = system_identifier - 1")
    rows.add_user(bridged.litellm, "ann", "ann@example.com")
    assert (unanswered(bridged) or {}).get("sqlstate") == "UB005"
    own(bridged)
    drain_all(bridged)
    assert "ann@example.com" in openwebui.accounts(bridged)


def test_a_session_that_has_delivered_is_checked_too(bridged: Pair) -> None:
    rows.add_user(bridged.litellm, "ann", "ann@example.com")
    bridged.litellm_admin.run("UPDATE user_bridge.identity SET database_oid = 1")
    rows.add_user(bridged.litellm, "bob", "bob@example.com")
    assert set(openwebui.accounts(bridged)) == {"ann@example.com"}


def test_a_server_that_does_not_say_which_one_it_is(bridged: Pair) -> None:
    bridged.litellm_admin.run("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
    forget_sessions(bridged)
    rows.add_user(bridged.litellm, "u9", "late@example.com")
    assert "GRANT EXECUTE ON FUNCTION pg_catalog.pg_control_system()" in waiting(bridged)
    (remedy,) = re.findall("GRANT EXECUTE .*", waiting(bridged))
    bridged.litellm_admin.run(remedy)
    bridged.litellm_admin.rows("SELECT * FROM user_bridge.drain()")
    assert bridged.openwebui.value("SELECT count(*) FROM \"user\" WHERE email = 'late@example.com'") == 1


def test_a_renamed_database_is_no_copy(bridged: Pair) -> None:
    rows.add_user(bridged.litellm, "ann", "ann@example.com")
    before, after = bridged.litellm_db, bridged.cluster.fresh_name("renamed")
    forget_sessions(bridged)
    bridged.cluster.execute(f'ALTER DATABASE "{before}" RENAME TO "{after}"')
    bridged.databases["litellm"] = after
    rows.add_user(bridged.litellm, "bob", "bob@example.com")
    assert set(openwebui.accounts(bridged)) == {"ann@example.com", "bob@example.com"}


def test_a_promoted_standby_goes_on(pg_major: int) -> None:
    """In the primary's place, where a load balancer or an address that moves would put it. Its files are the same."""
    with cluster.running(binaries.find(pg_major)) as server, new_pair(server) as pair:
        install_bridge(pair, {"initial_password": "none"})
        rows.add_user(pair.litellm, "ann", "ann@example.com")
        pair.close()
        server.stop()
        (server.data / "standby.signal").touch()
        server.start()
        pair.sessions.clear()
        assert pair.litellm_admin.value("SELECT pg_is_in_recovery()")
        pair.litellm_admin.run("SELECT pg_promote()")
        rows.add_user(pair.litellm, "bob", "bob@example.com")
        assert queue(pair) == []
        assert set(openwebui.accounts(pair)) == {"ann@example.com", "bob@example.com"}


NEW_ADMIN = {
    "type": "user",
    "id": "eve",
    "skipped": None,
    "desired": {
        "openwebui_id": "usr_eve",
        "email": "eve@example.com",
        "name": "Eve",
        "role": "admin",
        "original_role": "proxy_admin",
        "disabled": False,
    },
}
PAYLOAD = {
    "version": 99,
    "budget_ms": 10_000,
    "items": [NEW_ADMIN],
}


def unsigned(pair: Pair, signed: dict[str, Any]) -> Any:
    return {key: value for key, value in signed.items() if key != "mac"}


def of_another_payload(pair: Pair, signed: dict[str, Any]) -> Any:
    return {**signed, "mac": json.loads(request(pair, {"count": True}))["mac"]}


def of_nobody(pair: Pair, signed: dict[str, Any]) -> Any:
    return PAYLOAD


def changed(**changes: Any) -> Callable[[Pair, dict[str, Any]], Any]:
    return lambda pair, signed: {**signed, **changes}


def from_another_place(name: str) -> Callable[[Pair, dict[str, Any]], Any]:
    return lambda pair, signed: {**signed, "installation": {**signed["installation"], name: "1"}}


def instead(value: Any) -> Callable[[Pair, dict[str, Any]], Any]:
    return lambda pair, signed: value


@pytest.mark.parametrize(
    ("tamper", "sqlstate"),
    [
        (unsigned, "UB007"),
        (of_another_payload, "UB007"),
        (changed(mac=None), "UB007"),
        (changed(mac=""), "UB007"),
        (changed(mac={}), "UB007"),
        (changed(version=100), "UB007"),
        (changed(items=[]), "UB007"),
        (changed(count=True), "UB007"),
        (from_another_place("id"), "UB006"),
        (from_another_place("system"), "UB006"),
        (from_another_place("database"), "UB006"),
        (of_nobody, "UB006"),
        (instead({}), "UB006"),
        (instead([]), "UB006"),
        (instead("apply"), "UB006"),
        (instead(None), "UB006"),
    ],
)
def test_only_the_owner_is_served(quick: Pair, tamper: Callable[[Pair, dict[str, Any]], Any], sqlstate: str) -> None:
    before = quick.openwebui_admin.value(CONTENTS)
    signed = json.loads(request(quick, PAYLOAD))
    assert refusal(quick, json.dumps(tamper(quick, signed))) == sqlstate
    assert quick.openwebui_admin.value(CONTENTS) == before
    # The request itself was fine.
    reply = quick.sync_user.value("SELECT user_bridge.apply(%s)", [json.dumps(signed)])
    assert reply["items"][0]["status"] == "SUCCESS"


def test_a_null_request_is_refused(quick: Pair) -> None:
    assert refusal(quick, None) == "UB006"


def test_another_key_opens_nothing(quick: Pair) -> None:
    quick.litellm_admin.run("SELECT user_bridge.renew_identity(true)")
    assert refusal(quick, request(quick, PAYLOAD)) == "UB007"
    rows.add_user(quick.litellm, "ann", "ann@example.com")
    assert "is not signed by the installation" in waiting(quick)
    own(quick)
    drain_all(quick)
    assert "ann@example.com" in openwebui.accounts(quick)


@pytest.mark.parametrize(
    ("side", "table", "message"),
    [("openwebui", "owned_by", "belongs to no installation yet"), ("litellm", "identity", "has no identity yet")],
)
def test_half_an_installation_queues_until_it_is_whole(bridged: Pair, side: str, table: str, message: str) -> None:
    admin = bridged.litellm_admin if side == "litellm" else bridged.openwebui_admin
    admin.run(f"DELETE FROM user_bridge.{table}")
    rows.add_user(bridged.litellm, "ann", "ann@example.com")
    assert message in waiting(bridged) and "deploy_bridge" in waiting(bridged)
    assert openwebui.accounts(bridged) == {}
    own(bridged)
    drain_all(bridged)
    assert "ann@example.com" in openwebui.accounts(bridged)


def test_the_place_of_the_original_is_refused_once_a_copy_has_taken_over(bridged: Pair) -> None:
    """The restored copy was deployed: it has the same id, another place and another key."""
    place = "SET system_identifier = system_identifier - 1"
    bridged.openwebui_admin.run(f"UPDATE user_bridge.owned_by {place}")
    rows.add_user(bridged.litellm, "ann", "ann@example.com")
    assert "belongs to another installation" in waiting(bridged)
    assert "bridge_take_ownership: true" in waiting(bridged)
    assert openwebui.accounts(bridged) == {}


def test_what_was_recorded_changes_nothing_when_it_is_sent_again(pair: Pair) -> None:
    """Somebody reads Open WebUI's log and has the sync user's password."""
    install_bridge(pair, {"initial_password": "email", "password_cost": 4, "removal_accounts": 1, "removal_percent": 0})
    pair.cluster.execute(f"ALTER ROLE {SYNC_USER} SET log_statement = 'all'")
    start = len(pair.cluster.log.read_bytes())
    try:
        session = pair.litellm
        rows.add_organization(session, "o1", "Research")
        rows.add_team(
            session, "t1", "Blue", organization_id="o1", members_with_roles=[{"user_id": "ann", "role": "user"}]
        )
        for name in ("ann", "bob", "cem"):
            rows.add_user(session, name, f"{name}@example.com", user_role="proxy_admin")
        rows.delete_user(session, "bob")
        rows.delete_user(session, "cem")
        pair.litellm_admin.run("SELECT user_bridge.approve_removals()")
        drain_all(pair)
        rows.change_user(session, "ann", user_role="internal_user", metadata={"scim_active": False})
        rows.change_team(session, "t1", team_alias="Red", members_with_roles=[])
        pair.litellm_admin.run("SELECT user_bridge.approve_removals()")
        drain_all(pair)
        pair.openwebui_admin.run("UPDATE public.\"user\" SET name = 'Odd' WHERE email = 'ann@example.com'")
        pair.litellm_admin.run("SELECT * FROM user_bridge.reconcile(true)")
        pair.litellm_admin.run("SELECT * FROM user_bridge.maintain()")
        drain_all(pair)
    finally:
        pair.cluster.execute(f"ALTER ROLE {SYNC_USER} RESET log_statement")
    logged = pair.cluster.log.read_bytes()[start:].decode()
    found = re.findall(r"statement: (SELECT user_bridge\.apply\(.*?jsonb\))(?=\n\d{4}-|\Z)", logged, re.DOTALL)
    kinds = {key for statement in found for key in re.findall(r'"(\w+)":', statement)}
    assert {"items", "unconfirmed", "confirm", "preview", "suspects", "sums_of", "expire_initial_passwords"} <= kinds
    before = pair.openwebui_admin.value(CONTENTS)
    for statement in found:
        pair.sync_user.run(statement.replace("%", "%%"))
    assert pair.openwebui_admin.value(CONTENTS) == before


AWKWARD = {
    "numbers": [1.10, 1e300, -0.0, 12345678901234567890, 0.1, 1e-7, 3],
    "texts": ["\u00fc\u4e2d\U0001f600", 'quote " and \\ back', "tab\tnew\nline", "\u007f\u0080\u2028", "", "</"],
    "nested": {"b": None, "a": [True, False, {}], "aa": {"z": [[]]}, "": 0},
}


def test_a_signature_holds_across_server_versions() -> None:
    with cluster.running(binaries.find(13)) as old, cluster.running(binaries.find(18)) as new:
        for first, second in ((old, new), (new, old)):
            with new_pair(first) as source, new_pair(second) as target:
                install_bridge(source)
                install_bridge(target)
                _hand_over(source, target)
                signed = request(source, {"count": True, "awkward": AWKWARD})
                assert "accounts" in target.sync_user.value("SELECT user_bridge.apply(%s)", [signed])
                sealed = source.litellm_admin.value("SELECT user_bridge.seal('secr\u00e9t')")
                assert target.openwebui_admin.value("SELECT user_bridge.unseal(%s)", [sealed]) == "secr\u00e9t"


def _hand_over(source: Pair, target: Pair) -> None:
    (row,) = source.litellm_admin.rows("SELECT id, system_identifier, database_oid FROM user_bridge.identity")
    with target.openwebui_admin.transaction():
        target.openwebui_admin.run(
            "UPDATE user_bridge.owned_by SET id = %(id)s, system_identifier = %(system_identifier)s, "
            "database_oid = %(database_oid)s",
            row,
        )
        key = source.litellm_admin.value("SELECT encode(key, 'hex') FROM user_bridge.identity_key")
        bring_key(target.openwebui_admin, key)


@pytest.mark.parametrize("secret", ["", "x", "\u00fc" * 16, "a" * 31, "a" * 32, "a" * 33, "0123456789abcdef" * 20])
def test_a_sealed_secret_is_read_on_the_other_side_only(quick: Pair, secret: str) -> None:
    seal = "SELECT user_bridge.seal(%s)"
    first, second = (quick.litellm_admin.value(seal, [secret]) for _ in range(2))
    assert first != second
    unseal = "SELECT user_bridge.unseal(%s)"
    assert [quick.openwebui_admin.value(unseal, [sealed]) for sealed in (first, second)] == [secret, secret]
    assert len(first) == 2 * (16 + len(secret.encode()))
    assert len(secret) < 2 or secret.encode().hex() not in first


def test_the_blocks_of_a_secret_are_sealed_apart(quick: Pair) -> None:
    sealed = bytes.fromhex(quick.litellm_admin.value("SELECT user_bridge.seal(repeat('a', 64))"))
    assert sealed[16:48] != sealed[48:]


@pytest.mark.parametrize("versions", [("old", "old"), ("new", "new")])
def test_a_mirrored_token_is_sent_sealed(server: Cluster, versions: tuple[str, str]) -> None:
    with new_pair(server, *versions) as pair:
        install_bridge(pair, {"initial_password": "none", "api_keys": "mirror"})
        server.execute(f"ALTER ROLE {SYNC_USER} SET log_statement = 'all'")
        start = len(server.log.read_bytes())
        try:
            rows.add_user(pair.litellm, "ann", "ann@example.com")
            rows.add_key(pair.litellm, "hash-of-a-key", "ann", models=[])
            drain_all(pair)
            assert pair.litellm_admin.rows("SELECT * FROM user_bridge.reconcile(false)") == []
        finally:
            server.execute(f"ALTER ROLE {SYNC_USER} RESET log_statement")
        logged = server.log.read_bytes()[start:].decode()
        assert '"token"' in logged and "hash-of-a-key" not in logged
        assert pair.openwebui_admin.value("SELECT user_bridge.key_slot('usr_ann')") == "hash-of-a-key"


@pytest.mark.parametrize("side", ["litellm", "openwebui"])
def test_the_key_is_the_owners_alone(quick: Pair, side: str) -> None:
    view = "identity_key" if side == "litellm" else "owner_key"
    if side == "litellm":
        functions = ["masked(bytea,bytea)", "signed_request(jsonb)", "renew_identity(boolean)"]
    else:
        functions = ["masked(bytea,bytea)", "check_caller(jsonb)"]
    admin = quick.litellm_admin if side == "litellm" else quick.openwebui_admin
    others = "SELECT rolname FROM pg_roles WHERE NOT rolsuper AND rolname <> %s AND rolname !~ '^pg_'"
    for role in (row["rolname"] for row in admin.rows(others, [OWNER_ROLE])):
        for privilege in ("SELECT", "UPDATE", "REFERENCES", "TRIGGER"):
            allowed = admin.value("SELECT has_table_privilege(%s, %s, %s)", [role, f"user_bridge.{view}", privilege])
            assert not allowed, (role, privilege)
        for function in functions:
            allowed = admin.value("SELECT has_function_privilege(%s, %s, 'EXECUTE')", [role, f"user_bridge.{function}"])
            assert not allowed, (role, function)
