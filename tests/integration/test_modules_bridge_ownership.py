# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""bridge_ownership against real servers: who owns Open WebUI's side, and how that changes hands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from conftest import missing
from hard_support import until
from kit import binaries, cluster, openwebui, rows
from kit.bridge import SERVER, install_bridge
from kit.drains import drain_all
from kit.pairs import OWNER_ROLE, PASSWORDS, SYNC_USER, Pair, Side
from kit.pairs import pair as new_pair
from modules_support import READ_ONLY, USUAL_DRIVER, ModuleFailed, login_options, run_module, without_a_write
from test_delivery import unanswered
from test_installation import a_copy, forget_sessions, from_dump, from_template, waiting

SETTINGS = {"initial_password": "none", "backoff_seconds": 1}
KEYS = """SELECT (SELECT encode(key, 'hex') FROM user_bridge.{}) AS key, id::text AS id, system_identifier,
                 database_oid::bigint AS database FROM user_bridge.{}"""


def options(pair: Pair, **others: Any) -> dict[str, Any]:
    return {**login_options(pair, "litellm"), "openwebui_login_db": pair.openwebui_db, **others}


def run(pair: Pair, take: bool = False, **arguments: Any) -> dict[str, Any]:
    return run_module("bridge_ownership", options(pair, take_ownership=take), **arguments)


def refusal(pair: Pair, **arguments: Any) -> str:
    with pytest.raises(ModuleFailed) as failed:
        run(pair, **arguments)
    return str(failed.value)


def both(pair: Pair) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    return (
        pair.litellm_admin.rows(KEYS.format("identity_key", "identity")),
        pair.openwebui_admin.rows(KEYS.format("owner_key", "owned_by")),
    )


def forget(pair: Pair) -> None:
    pair.litellm_admin.run("DELETE FROM user_bridge.identity")
    pair.openwebui_admin.run("DELETE FROM user_bridge.owned_by")


@contextmanager
def second_litellm(pair: Pair) -> Iterator[Pair]:
    """Another LiteLLM whose bridge has the first one's Open WebUI as its target."""
    with new_pair(pair.cluster) as other:
        install_bridge(other, SETTINGS)
        other.litellm_admin.run(f"ALTER SERVER {SERVER} OPTIONS (SET dbname '{pair.openwebui_db}')")
        yield Pair(
            pair.cluster, other.litellm_db, pair.openwebui_db, other.litellm_version, pair.openwebui_version, pair.admin
        )


@pytest.mark.parametrize("driver", USUAL_DRIVER)
def test_a_new_bridge_gets_an_owner_once(pair: Pair, driver: str) -> None:
    install_bridge(pair, SETTINGS)
    forget(pair)
    foreseen = run(pair, check=True, diff=True, driver=driver, env=READ_ONLY)
    assert foreseen["changed"] and foreseen["action"] == "taken" and foreseen["id"] is None
    assert both(pair) == ([], [])
    done = run(pair, diff=True, driver=driver)
    identity, owned_by = both(pair)
    assert identity == owned_by and done["id"] == identity[0]["id"] and done["previous_id"] is None
    assert len(bytes.fromhex(identity[0]["key"])) == 32
    assert done["diff"]["before"] == foreseen["diff"]["before"] == ""
    assert done["diff"]["after"] == foreseen["diff"]["after"].replace("(a new id)", done["id"])
    assert identity[0]["key"] not in str(done)
    rows.add_user(pair.litellm, "ann", "ann@example.com")
    assert "ann@example.com" in openwebui.accounts(pair)
    again = without_a_write(pair.litellm_admin, lambda: run(pair, driver=driver, env=READ_ONLY))
    assert not again["changed"] and again["action"] == "unchanged" and again["id"] == done["id"]
    assert both(pair) == (identity, owned_by)


def test_every_new_owner_has_a_key_of_its_own(pair: Pair) -> None:
    install_bridge(pair, SETTINGS)
    found = set()
    for _round in range(3):
        forget(pair)
        run(pair)
        found.add(both(pair)[0][0]["key"])
    assert len(found) == 3


def test_a_second_litellm_is_refused_until_it_is_to_take_over(pair: Pair) -> None:
    install_bridge(pair, SETTINGS)
    rows.add_user(pair.litellm, "ann", "ann@example.com")
    with second_litellm(pair) as second:
        before = both(second)
        message = refusal(second)
        assert "owned by another installation" in message and "bridge_take_ownership" in message
        assert f'the database "{pair.litellm_db}" of the same server' in message
        assert message.endswith("; nothing was changed")
        assert refusal(second, check=True) == message
        assert both(second) == before
        rows.add_user(second.litellm, "eve", "eve@example.com")
        assert "belongs to another installation" in waiting(second)
        assert set(openwebui.accounts(pair)) == {"ann@example.com"}
        # Now the second one takes the place of the first.
        done = run(second, take=True)
        assert done["action"] == "taken" and done["previous_id"] == before[1][0]["id"] != done["id"]
        assert not run(second, take=True, env=READ_ONLY)["changed"]
        drain_all(second)
        assert "eve@example.com" in openwebui.accounts(pair)
        rows.add_user(pair.litellm, "bob", "bob@example.com")
        assert "belongs to another installation" in waiting(pair)
        assert "bob@example.com" not in openwebui.accounts(pair)
        assert "bridge_take_ownership" in refusal(pair)


@pytest.mark.parametrize("make", [from_template, from_dump()], ids=["template", "dump"])
def test_a_copy_beside_its_original_is_refused_until_it_is_to_take_over(pair: Pair, make: Any) -> None:
    install_bridge(pair, SETTINGS)
    with a_copy(pair, make) as copy:
        before = both(copy)
        message = refusal(copy)
        assert f'"{copy.litellm_db}" (bridge_litellm_db) is a copy' in message and f'"{pair.litellm_db}"' in message
        assert both(copy) == before
        assert run(copy, take=True)["action"] == "taken"
        rows.add_user(copy.litellm, "ann", "ann@example.com")
        assert "ann@example.com" in openwebui.accounts(pair)
        rows.add_user(pair.litellm, "bob", "bob@example.com")
        assert "belongs to another installation" in waiting(pair)
        # Back again: who takes over is known, and the copy is refused.
        assert f'"{copy.litellm_db}"' in refusal(pair)
        assert run(pair, take=True)["action"] == "taken"
        drain_all(pair)
        assert "bob@example.com" in openwebui.accounts(pair)


def test_a_restored_database_in_the_place_of_its_original_becomes_the_installation(pair: Pair) -> None:
    install_bridge(pair, SETTINGS)
    rows.add_user(pair.litellm, "ann", "ann@example.com")
    original = pair.litellm_db
    installation = both(pair)[0][0]
    with a_copy(pair, from_dump("-Fc")) as copy:
        forget_sessions(pair)
        pair.cluster.execute(f'DROP DATABASE "{original}"')
        rows.add_user(copy.litellm, "bob", "bob@example.com")
        assert (unanswered(copy) or {}).get("sqlstate") == "UB005"
        done = run(copy)
        assert (done["action"], done["id"]) == ("moved", installation["id"])
        identity, owned_by = both(copy)
        assert identity == owned_by and identity[0]["key"] != installation["key"]
        drain_all(copy)
        assert set(openwebui.accounts(copy)) == {"ann@example.com", "bob@example.com"}
        assert not run(copy, env=READ_ONLY)["changed"]
        pair.databases["litellm"] = copy.litellm_db


def test_a_restore_on_another_server_leaves_the_original_refused(pg_major: int, pair: Pair) -> None:
    """Disaster recovery: the old server comes back later."""
    if binaries.pg_dump_for(pg_major) is None:
        missing("pg_dump is missing: apt-get install postgresql")
    install_bridge(pair, SETTINGS)
    with cluster.running(binaries.find(pg_major)) as spare, new_pair(spare) as there:
        install_bridge(there, SETTINGS)
        there.litellm_admin.run("DELETE FROM user_bridge.identity")
        there.litellm_admin.run(
            "INSERT INTO user_bridge.identity SELECT * FROM jsonb_populate_record(NULL::user_bridge.identity, %s)",
            [pair.litellm_admin.value("SELECT to_jsonb(i)::text FROM user_bridge.identity AS i")],
        )
        there.litellm_admin.run(
            f"ALTER SERVER {SERVER} OPTIONS (SET port '{pair.cluster.port}', SET dbname '{pair.openwebui_db}')"
        )
        other = {f"openwebui_{name}": value for name, value in login_options(pair, "openwebui").items()}
        restored = {**login_options(there, "litellm"), **other}
        rows.add_user(there.litellm, "ann", "ann@example.com")
        assert (unanswered(there) or {}).get("sqlstate") == "UB005"
        assert run_module("bridge_ownership", restored)["action"] == "moved"
        drain_all(there)
        assert "ann@example.com" in openwebui.accounts(pair)
        rows.add_user(pair.litellm, "bob", "bob@example.com")
        assert "belongs to another installation" in waiting(pair)
        assert openwebui.account(pair, "bob@example.com") is None


def test_a_run_that_was_cut_off_between_its_two_commits_is_completed(pair: Pair) -> None:
    install_bridge(pair, SETTINGS)
    pair.openwebui_admin.run("DELETE FROM user_bridge.owned_by")
    assert run(pair)["action"] == "taken"
    pair.litellm_admin.run("SELECT user_bridge.renew_identity(true)")
    assert run(pair)["action"] == "renewed"
    rows.add_user(pair.litellm, "ann", "ann@example.com")
    assert "ann@example.com" in openwebui.accounts(pair)


@pytest.mark.parametrize("side", ["litellm", "openwebui"])
def test_a_side_without_the_bridge(pair: Pair, side: Side) -> None:
    install_bridge(pair, SETTINGS)
    admin = pair.litellm_admin if side == "litellm" else pair.openwebui_admin
    admin.run(f"DROP SERVER IF EXISTS {SERVER} CASCADE; DROP SCHEMA user_bridge CASCADE")
    option = "login_db" if side == "litellm" else "openwebui_login_db"
    assert f"the bridge is not installed in database {pair.databases[side]} ({option})" in refusal(pair, take=True)


@pytest.mark.parametrize("kind", ["view", "table", "schema"])
def test_what_a_program_has_planted_is_not_read(pair: Pair, kind: str) -> None:
    """Its code would run in the session of whoever runs the module."""
    install_bridge(pair, SETTINGS)
    admin = pair.litellm_admin
    admin.run(
        "CREATE FUNCTION public.planted() RETURNS bytea LANGUAGE plpgsql AS "
        "$$BEGIN RAISE EXCEPTION 'planted code ran'; END$$"
    )
    admin.run("DROP TABLE user_bridge.identity")
    if kind == "schema":
        admin.run(
            "CREATE TABLE user_bridge.identity AS SELECT * FROM pg_class; ALTER SCHEMA user_bridge OWNER TO litellm"
        )
        admin.run(f"ALTER TABLE user_bridge.identity OWNER TO {OWNER_ROLE}")
    else:
        as_what = "AS SELECT gen_random_uuid() AS id, 1 AS system_identifier, public.planted() AS database_oid"
        if kind == "view":
            admin.run(f"CREATE VIEW user_bridge.identity {as_what}")
        else:
            admin.run("CREATE TABLE user_bridge.identity (id uuid, system_identifier bigint, database_oid oid)")
        admin.run(f"ALTER TABLE user_bridge.identity OWNER TO {'litellm' if kind == 'table' else OWNER_ROLE}")
    assert "the bridge is not installed in database" in refusal(pair)


@pytest.mark.weekly
def test_who_reads_the_key_for_long_is_waited_for_in_short_turns(pair: Pair) -> None:
    """A reconcile() of many has read it, and LiteLLM's commits read it all the time."""
    install_bridge(pair, SETTINGS)
    pair.litellm_admin.run("UPDATE user_bridge.identity SET database_oid = 1")
    reader = pair.connect("litellm", "postgres")
    with reader.transaction():
        reader.value("SELECT count(*) FROM user_bridge.identity_key")
        assert "could not lock materialized view user_bridge.identity_key in 6 attempts" in refusal(pair)
    assert run(pair)["action"] == "moved"


def test_the_key_is_in_no_log(pg_major: int) -> None:
    """With everything switched on that shows statements, their parameters or those of the functions inside."""
    library = Path(binaries.find(pg_major).bindir).parent / "lib"
    if not any((folder / "auto_explain.so").exists() for folder in (library, library / "postgresql")):
        missing("auto_explain is missing: apt-get install postgresql")
    loud = {
        "shared_preload_libraries": "auto_explain,pg_stat_statements",
        "log_statement": "all",
        "log_min_duration_statement": "0",
        "log_min_messages": "debug1",
        "log_parameter_max_length_on_error": "-1",
        "log_error_verbosity": "verbose",
        "auto_explain.log_min_duration": "0",
        "auto_explain.log_nested_statements": "on",
        "auto_explain.log_analyze": "on",
        "auto_explain.log_verbose": "on",
        "pg_stat_statements.track": "all",
        "track_activity_query_size": "65536",
    }
    with cluster.running(binaries.find(pg_major), settings=loud) as made, new_pair(made) as pair:
        install_bridge(pair, {**SETTINGS, "api_keys": "mirror"})
        forget(pair)
        for database in (pair.litellm_admin, pair.openwebui_admin):
            database.run("CREATE EXTENSION pg_stat_statements")
        start = len(made.log.read_bytes())
        run(pair)
        rows.add_user(pair.litellm, "ann", "ann@example.com")
        rows.add_key(pair.litellm, "hash-of-a-key", "ann", models=[])
        drain_all(pair)
        calls = "SELECT 1 FROM pg_stat_statements WHERE query LIKE '%%owned_by%%'"
        until(lambda: pair.openwebui_admin.value(calls))
        logged = made.log.read_bytes()[start:].decode()
        statements = str(pair.litellm_admin.rows("SELECT query FROM pg_stat_statements"))
        key = both(pair)[0][0]["key"]
    assert "COPY user_bridge.owned_by" in logged and "renew_identity" in logged and "Query Text" in logged
    for text in (logged, statements):
        assert key not in text.lower()
        assert PASSWORDS[SYNC_USER] not in text
