# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults in what becomes of changes that could not be queued: as those in faults_of_trust.py."""

from __future__ import annotations

from collections.abc import Callable

import test_delivery as delivery
import test_locked_tables as tables
import test_missed_changes as missed
from hard_support import QUICK
from kit.bridge import install_bridge
from kit.pairs import Pair

Row = tuple[str, str, str, str, Callable[[Pair], None]]

_JOURNAL = "engine/litellm/journal.sql.j2"
_LOSSES = "engine/litellm/losses.sql.j2"
_USER = "entities/user/litellm/enqueue.sql.j2"


def _each(table: str) -> Callable[[Pair], None]:
    return lambda pair: tables.test_it_is_waited_for_once_and_not_by_each_row(pair, table)


def _who_left(pair: Pair) -> None:
    install_bridge(pair, QUICK)
    delivery.test_who_left_while_a_column_was_renamed_is_out_when_it_is_back(pair)


LOSSES: list[Row] = [
    (
        "a write waits for whoever rewrites the queue",
        _USER,
        "SET lock_timeout = '50ms' AS",
        "AS",
        tables.test_what_was_lost_is_found_also_where_its_transaction_ends_after_a_comparison,
    ),
    (
        "what a lock kept from the queue is lost",
        _LOSSES,
        "    PERFORM nextval('user_bridge.losses');\n",
        "",
        tables.test_what_was_lost_is_found_also_where_its_transaction_ends_after_a_comparison,
    ),
    (
        "what is not committed yet is not looked for again",
        _JOURNAL,
        "<> c_losses THEN nullif(c_writers, '{}')",
        "<> c_losses THEN NULL",
        tables.test_what_was_lost_is_found_also_where_its_transaction_ends_after_a_comparison,
    ),
    (
        "a locked queue is waited for by each row",
        _LOSSES,
        "current_setting('user_bridge.lost', true) IS NOT DISTINCT FROM pg_current_xact_id()::text",
        "false",
        _each("sync_queue"),
    ),
    (
        "a locked table of addresses is waited for by each row",
        _LOSSES,
        "current_setting('user_bridge.hurry', true) IS NOT DISTINCT FROM pg_current_xact_id()::text",
        "false",
        _each("address"),
    ),
    (
        "an id that is rewritten while the queue is locked is another user's",
        _LOSSES,
        "    IF p_old_id <> p_new_id THEN\n",
        "    IF false THEN\n",
        tables.test_an_id_that_is_rewritten_meanwhile_keeps_its_account,
    ),
    (
        "who was missed gets an account and is in no group",
        "engine/litellm/reconcile.sql.j2",
        "    IF repair THEN\n        PERFORM user_bridge.enqueue_dependants",
        "    IF false THEN\n        PERFORM user_bridge.enqueue_dependants",
        lambda pair: missed.test_one_comparison_puts_everything_right(pair, 0),
    ),
    (
        "a table that somebody emptied is no news",
        "engine/litellm/drain.sql.j2",
        "concat_ws(' ', v_reply ->> 'place', user_bridge.source_place())",
        "v_reply ->> 'place'",
        missed.test_an_emptied_table_is_noticed_by_the_next_drain,
    ),
    (
        "who left while a column was renamed stays",
        "engine/litellm/queue.sql.j2",
        "    PERFORM nextval('user_bridge.losses');\n    FOREACH",
        "    FOREACH",
        _who_left,
    ),
]
