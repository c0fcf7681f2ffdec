# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups: each program's own role dumps its database with the bridge in it, and what is restored is harmless."""

from __future__ import annotations

from pathlib import Path

import psycopg2
import pytest

from hard_support import drain_all
from kit import binaries, dumps, rows
from kit.bridge import request
from kit.cluster import SUPERUSER
from kit.pairs import PASSWORDS, SIDES, SYNC_USER, Pair, Side

KEYS = {"litellm": "identity_key", "openwebui": "owner_key"}
WAYS = {
    "plain": (),
    "custom": ("-Fc",),
    "two jobs": ("-Fd", "-j2"),
    "definitions": ("--schema-only",),
    "rows": ("--data-only",),
    "its own schema": ("-n", "public"),
    "the bridge's schema": ("-n", "user_bridge"),
}


def pg_dump(pair: Pair) -> Path:
    """The installed one that can read this server, or the newest."""
    return binaries.pg_dump_for(pair.cluster.major) or binaries.newest_pg_dump()


def dumped(pair: Pair, side: Side, to: Path, *options: str, user: str | None = None, program: Path | None = None) -> Path:
    """The file or folder of a dump, which succeeded without a word about the bridge."""
    done = dumps.run(program or pg_dump(pair), pair.login(side, user), *options, "-f", to)
    assert done.returncode == 0 and "user_bridge" not in done.stderr, done.stderr
    return to


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("side", SIDES)
def test_a_program_dumps_its_database(quick: Pair, side: Side, way: str, tmp_path: Path) -> None:
    rows.add_user(quick.litellm, "ann", "ann@example.com")
    made = dumped(quick, side, tmp_path / "dump", *WAYS[way])
    if way in ("plain", "rows", "its own schema"):
        assert "ann@example.com" in made.read_text(encoding="utf-8")


@pytest.mark.parametrize("side", SIDES)
def test_a_newer_pg_dump_does_so_too(quick: Pair, side: Side, tmp_path: Path) -> None:
    dumped(quick, side, tmp_path / "dump", "-Fd", "-j2", program=binaries.newest_pg_dump())


@pytest.mark.parametrize("side", SIDES)
def test_a_program_reads_every_table_and_sequence_and_no_key(quick: Pair, side: Side) -> None:
    """Tables that a later version adds included."""
    found = quick.superuser(side).rows(
        "SELECT c.relname, c.relkind, has_table_privilege(%(who)s, c.oid, 'SELECT') AS reads, "
        "has_table_privilege(%(who)s, c.oid, 'INSERT') OR has_table_privilege(%(who)s, c.oid, 'UPDATE') "
        "OR has_table_privilege(%(who)s, c.oid, 'DELETE') OR has_table_privilege(%(who)s, c.oid, 'TRUNCATE') AS writes "
        "FROM pg_class AS c WHERE c.relnamespace = 'user_bridge'::regnamespace AND c.relkind IN ('r', 'p', 'S', 'm')",
        {"who": side},
    )
    assert {each["relname"] for each in found if each["relkind"] != "m" and not each["reads"]} == set()
    assert {each["relname"] for each in found if each["relkind"] == "m" and not each["reads"]} == {KEYS[side]}
    assert {each["relname"] for each in found if each["writes"]} == set()
    assert {"S", "r", "m"} == {each["relkind"] for each in found}


@pytest.mark.parametrize("user", ["", SUPERUSER], ids=["program", "superuser"])
@pytest.mark.parametrize("side", SIDES)
def test_no_dump_holds_the_key(quick: Pair, side: Side, user: str, tmp_path: Path) -> None:
    key = quick.superuser(side).value(f"SELECT encode(key, 'hex') FROM user_bridge.{KEYS[side]}")
    text = dumped(quick, side, tmp_path / "dump", user=user or side).read_text(encoding="utf-8").lower()
    assert len(key) == 64 and key not in text and f"refresh materialized view user_bridge.{KEYS[side]}" in text
    # The password is in a superuser's dump of LiteLLM's side, as docs/backups.md says.
    shown = PASSWORDS[SYNC_USER].replace("'", "''").replace("\\", "\\\\").lower() in text
    assert shown is (side == "litellm" and user == SUPERUSER)


@pytest.mark.parametrize("state", ["no key", "not populated"])
def test_without_a_key_nothing_is_served(bridged: Pair, state: str) -> None:
    """As after a restore of Open WebUI's database: a missing signature is not the signature of no key."""
    signed = request(bridged, {"count": True})
    unsigned = signed[: signed.rindex(', "mac"')] + "}"
    bridged.openwebui_admin.run(
        f"REFRESH MATERIALIZED VIEW user_bridge.owner_key WITH {'' if state == 'no key' else 'NO '}DATA"
    )
    for text in (signed, unsigned):
        with pytest.raises(psycopg2.Error) as refused:
            bridged.sync_user.run("SELECT user_bridge.apply(%s)", [text])
        assert refused.value.pgcode == ("UB007" if state == "no key" else "55000")


def test_a_dump_that_runs_for_long_keeps_nobody_waiting(bridged: Pair) -> None:
    """pg_dump keeps an ACCESS SHARE lock on every table until it ends."""
    reader = bridged.connect("litellm")
    tables = bridged.litellm_admin.rows(
        "SELECT c.oid::regclass::text AS name FROM pg_class AS c "
        "WHERE c.relnamespace IN ('public'::regnamespace, 'user_bridge'::regnamespace) AND c.relkind = 'r'"
    )
    with reader.transaction():
        reader.run(f"LOCK TABLE {', '.join(each['name'] for each in tables)} IN ACCESS SHARE MODE")
        bridged.litellm.run("SET lock_timeout = '1s'")
        rows.add_user(bridged.litellm, "ann", "ann@example.com")
        drain_all(bridged)
        bridged.litellm_admin.run("SELECT * FROM user_bridge.reconcile(true)")
    assert bridged.openwebui.value("SELECT count(*) FROM public.\"user\" WHERE email = 'ann@example.com'") == 1
