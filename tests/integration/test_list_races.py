# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists of models change while the group that is to stand for them is made (UB010)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from hard_support import QUICK, threads, until
from kit import openwebui, rows
from kit.bridge import change_settings, install_bridge
from kit.cluster import SUPERUSER
from kit.drains import drain_all
from kit.model_rows import add_model
from kit.pairs import Pair, Session

ASLEEP = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event = 'PgSleep'"
GATE = 4711


def _gate(pair: Pair) -> None:
    """Whoever has said so stays in the middle of it until somebody else has come in between."""
    made = "SELECT pg_get_functiondef('user_bridge.make_sets(text[],text[])'::regprocedure)"
    source, insert = pair.litellm_admin.value(made), "    INSERT INTO user_bridge.model_set "
    assert insert in source
    wait = (
        "    WHILE current_setting('test.waits', true) = 'on' AND NOT pg_try_advisory_xact_lock_shared("
        f"{GATE}) LOOP PERFORM pg_sleep(0.01); END LOOP;\n"
    )
    pair.litellm_admin.run(source.replace(insert, wait + insert))


def listed(pair: Pair, **settings: Any) -> Pair:
    """Ann, whose list is that of a group."""
    install_bridge(pair, {**QUICK, "model_access": True, "target_timeout_ms": 20_000, **settings})
    _gate(pair)
    for name in ("a1", "b1", "c1"):
        add_model(pair.litellm, name)
    rows.add_user(pair.litellm, "ann", "ann@example.com", models=["a*"])
    drain_all(pair)
    return pair


def lists(pair: Pair) -> set[frozenset[str]]:
    """Those of each group that Ann is in."""
    named = [name for name, members in openwebui.groups(pair).values() if "usr_ann" in members]
    return {frozenset(name.removeprefix("LiteLLM models: ").split(" and of ")) for name in named}


def delivered(pair: Pair) -> int:
    return int(pair.litellm_admin.value("SELECT count(*) FROM user_bridge.sync_audit WHERE operation ~ 'USER_MODELS'"))


def failures(pair: Pair) -> int:
    return int(pair.litellm_admin.value("SELECT count(*) FROM user_bridge.sync_audit WHERE sync_result = 'FAILED'"))


@contextmanager
def _while_it_makes_the_set(pair: Pair, session: Session, deliver: Any) -> Iterator[None]:
    session.run("SET test.waits = 'on'")
    gate = pair.connect("litellm")
    gate.run("SELECT pg_advisory_lock(%s)", [GATE])
    with threads(deliver), contextlib.closing(gate):
        until(lambda: pair.openwebui_admin.value(ASLEEP, [pair.litellm_db]))
        yield


@pytest.mark.parametrize("commits_first", [True, False])
def test_a_drain_meets_another_list(pair: Pair, commits_first: bool) -> None:
    listed(pair)
    change_settings(pair, delivery="queued")
    rows.change_user(pair.litellm, "ann", models=["b*"])
    other, before = pair.connect("litellm", autocommit=False), delivered(pair)
    drainer = pair.connect("litellm", SUPERUSER)
    with _while_it_makes_the_set(pair, drainer, lambda: drainer.rows("SELECT * FROM user_bridge.drain()")):
        rows.change_user(other, "ann", models=["c*"])
        if commits_first:
            other.commit()
    # Nothing was made of both lists: its next batch has the new one.
    assert lists(pair) == ({frozenset(["c*"])} if commits_first else {frozenset(["b*"])})
    assert delivered(pair) - before == 1
    other.commit()
    drain_all(pair)
    assert lists(pair) == {frozenset(["c*"])} and failures(pair) == 0
    assert pair.litellm_admin.rows("SELECT * FROM user_bridge.reconcile(false)") == []


@pytest.mark.parametrize("commits_first", [True, False])
def test_a_commit_meets_another_list(pair: Pair, commits_first: bool) -> None:
    """Of another row, for LiteLLM's own would wait: with this policy a key opens what its owner's list does, too."""
    listed(pair, model_policy="keys")
    other, writer = pair.connect("litellm", autocommit=False), pair.connect("litellm")
    with _while_it_makes_the_set(pair, writer, lambda: rows.add_key(writer, "k1", "ann", models=["b*"])):
        rows.change_user(other, "ann", models=["c*"])
        if commits_first:
            other.commit()
    assert pair.litellm.value('SELECT count(*) FROM "LiteLLM_VerificationToken"') == 1
    # Later, and no failure of anybody's.
    assert pair.litellm_admin.rows("SELECT * FROM user_bridge.sync_queue WHERE attempts > 0") == []
    other.commit()
    drain_all(pair)
    assert lists(pair) == {frozenset(["b*", "c*"])} and failures(pair) == 0
    assert pair.litellm_admin.rows("SELECT * FROM user_bridge.reconcile(false)") == []
