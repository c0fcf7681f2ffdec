# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""As test_faults.py, for the modules: faults, planted one by one into a copy of the collection, are caught."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import test_modules_bridge_access_info as access_info
import test_modules_bridge_install as bridge_install
import test_modules_bridge_query_info as query_info
import test_modules_bridge_sync as bridge_sync
import test_pgbouncer
import test_settings_of_others as settings_of_others
from kit import sentinel, weekly
from kit.answers import Reply
from kit.pairs import Pair
from modules_support import DRIVERS, a_call, planted_in_plugins, run_module
from test_faults import CAUGHT
from test_privileged_sessions import as_superuser, refusal, with_people


@dataclass(frozen=True)
class Fault:
    """`old` becomes `new` in one file of plugins/module_utils."""

    name: str
    path: str
    old: str
    new: str
    caught_by: Callable[[Pair], None]


def _planted(form: str) -> Callable[[Pair], None]:
    """What Open WebUI's role has planted in its accounts is named, and does not run."""

    def look(pair: Pair) -> None:
        with_people(pair)
        pair.openwebui.run(sentinel.functions())
        pair.openwebui.run(sentinel.statements("user")[form])
        call, words = a_call(pair, "bridge_info"), [""]
        found = sentinel.sprung(pair, lambda: words.append(refusal(lambda: run_module("bridge_info", call))))
        assert as_superuser(found) == [] and "drop it and run again" in words[-1]

    return look


def _restored(pair: Pair) -> None:
    bridge_install.ensure_roles(pair)
    options = bridge_install.litellm_options(pair)
    bridge_install.test_a_bridge_restored_without_owners_is_given_back_with_its_rows_only(pair, options)


def _published(pair: Pair) -> None:
    bridge_install.ensure_roles(pair)
    bridge_install.test_a_publication_of_the_whole_schema_only_reads(pair, bridge_install.litellm_options(pair))


def _masked(pair: Pair) -> None:
    with query_info.masking(pair, "litellm") as login:
        query_info.test_rows_are_as_the_server_has_them(login)


FAULTS = [
    Fault("nothing is refused", "_plain/prove.py", "    if found:\n", "    if False:\n", _planted("view")),
    Fault(
        "only the first table is looked at",
        "_plain/prove.py",
        "for name in tables]",
        "for name in list(tables)[:1]]",
        _planted("view"),
    ),
    Fault(
        "a role that a database gives every login is taken for the login's own",
        "_pg.py",
        'if now["role"] != login and value(cur, _DATABASE_ROLE):',
        "if False:",
        lambda pair: settings_of_others.test_a_role_that_a_database_gives_every_login_is_refused(pair, DRIVERS[0]),
    ),
    Fault(
        "predicates are not looked at",
        "_plain/query.py",
        "FROM asked AS a JOIN pg_index AS i ON i.indrelid = a.oid",
        "FROM asked AS a JOIN pg_index AS i ON i.indrelid = a.oid AND i.indpred IS NULL",
        _planted("partial index"),
    ),
    Fault(
        "calls are not looked at",
        "_plain/query.py",
        "WHERE c.function <> 0",
        "WHERE c.function = 0",
        _planted("check"),
    ),
    Fault(
        "parents are looked at only as children",
        "_plain/query.py",
        "a.oid IN (i.inhrelid, i.inhparent)",
        "a.oid = i.inhrelid",
        _planted("child"),
    ),
    Fault(
        "nobody has restored a bridge",
        "_catalog/restored.py",
        "return None if found is None else str(found)",
        "return None",
        _restored,
    ),
    Fault(
        "a restored bridge keeps its indexes",
        "_install/restored.py",
        '_of(found, "trigger", "index")',
        '_of(found, "trigger")',
        _restored,
    ),
    Fault(
        "whoever answers gets the password",
        "_access/openwebui.py",
        "    _prove(program)\n",
        "",
        lambda pair: access_info.TestRefusing().test_what_is_not_open_webui_gets_no_password({}),
    ),
    Fault(
        "check mode asks for chats",
        "_access/verify.py",
        "None if reads_only else (site, proxy)",
        "(site, proxy)",
        lambda pair: access_info.test_check_mode_asks_for_no_chat(),
    ),
    Fault(
        "what is refused to everybody counts for the person",
        "_access/litellm.py",
        "if denied == _OF_PERSON:",
        "if denied:",
        lambda pair: access_info.test_what_litellm_answers(
            Reply({"error": {"type": "key_model_access_denied"}}, status=401), ("skipped", "failed")
        ),
    ),
    Fault("results are masked", "_pg.py", "    module.no_log_values = set()\n", "", _masked),
    Fault(
        "an invocation is not masked",
        "_pg.py",
        '{"module_args": remove_values(module.params, module.no_log_values)}',
        '{"module_args": module.params}',
        _masked,
    ),
    Fault(
        "a paused bridge is refused whatever was asked for",
        "_sync/run.py",
        ' and params["while_paused"] == "refuse":',
        ":",
        lambda pair: bridge_sync.test_a_paused_bridge_only_queues_if_asked_to(
            bridge_sync.queues(pair), {"backfill": True}
        ),
    ),
    Fault(
        "a publication of the schema is taken for somebody's code",
        "_catalog/foreign.py",
        "     AND d.classid::regclass::text <> 'pg_publication_namespace'\n",
        "",
        _published,
    ),
    Fault(
        "a pooler passes for a server",
        "_pg.py",
        'AS pid") != connection.info.backend_pid:',
        'AS pid") is None:',
        test_pgbouncer.test_a_login_through_it_is_refused,
    ),
    Fault(
        "a pooler passes for a target",
        "_target/connection.py",
        'if row.pop("search_path") != "pg_catalog":',
        'if row.pop("search_path") is None:',
        lambda pair: test_pgbouncer.test_a_target_through_it_is_refused(
            pair, {"ignore_startup_parameters": "options"}, "do not reach"
        ),
    ),
]


# One of four on every push; all weekly.
@pytest.mark.parametrize(
    "fault", [pytest.param(fault, id=fault.name, marks=weekly.marks(fault.name, 4)) for fault in FAULTS]
)
def test_a_fault_in_a_module_is_caught(pair: Pair, tmp_path: Path, fault: Fault) -> None:
    with (
        planted_in_plugins(fault.path, fault.old, fault.new, tmp_path),
        pytest.raises((*CAUGHT, pytest.fail.Exception)),
    ):
        fault.caught_by(pair)
