# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults that show where a server fails, moves or falls back: as those in faults_of_trust.py."""

from __future__ import annotations

from collections.abc import Callable

import test_connections as connections
import test_failover as failover
import test_list_races as races
import test_mapping as mapping
import test_outage as outages
import test_savepoints as savepoints
import test_serializable as serializable
import test_surroundings as surroundings
from kit.bridge import install_bridge
from kit.cluster import Cluster
from kit.pairs import Pair

Row = tuple[str, str, str, str, Callable[[Pair], None]]

_JOURNAL = "engine/litellm/journal.sql.j2"
_SEQUENCES = "    PERFORM user_bridge.advance_sequences();\n"


def _whole(test: Callable[[Cluster], None]) -> Callable[[Pair], None]:
    """A test that makes databases of its own on the server."""
    return lambda pair: test(pair.cluster)


def _quick(pair: Pair) -> Pair:
    install_bridge(pair, {"initial_password": "none"})
    return pair


def _away(test: Callable[..., None], *more: str) -> Callable[[Pair], None]:
    return lambda pair: test(outages.outaged(pair), *more)


def _side_by_side(write: str) -> Callable[[Pair], None]:
    return lambda pair: serializable.test_two_that_have_nothing_in_common_both_commit(
        serializable.peopled(_quick(pair)), serializable.WRITES[write]
    )


SURROUNDINGS: list[Row] = [
    (
        "a team whose deletion is taken back has nobody in it",
        _JOURNAL,
        "SELECT m.entity_type, m.entity_id FROM user_bridge.members_of(v_types, v_ids) AS m",
        "SELECT NULL, NULL WHERE false",
        lambda pair: savepoints.test_what_a_savepoint_takes_back_does_not_stay(
            savepoints.peopled(_quick(pair)), savepoints.TAKEN_BACK["a team's deletion"], False
        ),
    ),
    (
        "what a savepoint takes back counts as committed",
        "engine/litellm/commit.sql.j2",
        "v_queued.journal_txid, ARRAY[v_txid], s",
        "v_txid, ARRAY[v_txid], s",
        lambda pair: savepoints.test_what_a_savepoint_takes_back_does_not_stay(
            savepoints.peopled(_quick(pair)), savepoints.TAKEN_BACK["a new user"], False
        ),
    ),
    (
        "a statement whose rows are delivered one by one is held by each of them",
        "engine/litellm/commit.sql.j2",
        "user_bridge.delivery_deadline(s) - user_bridge.time_spent();",
        "user_bridge.delivery_deadline(s);",
        savepoints.test_a_statement_is_held_no_longer_than_a_commit,
    ),
    (
        "a move of a transaction that did not commit is not taken back",
        "engine/litellm/journal.sql.j2",
        "IF v_move.outcome = 'in progress' THEN",
        "IF true THEN",
        lambda pair: savepoints.test_an_id_that_is_taken_back_leaves_the_account_and_its_password(
            savepoints.peopled(_quick(pair))
        ),
    ),
    (
        "a SERIALIZABLE transaction records members",
        "engine/litellm/unrecorded.sql.j2",
        "IF NOT user_bridge.is_serializable() THEN",
        "IF true THEN",
        _side_by_side("who is in a team"),
    ),
    (
        "nobody records what a SERIALIZABLE transaction has changed",
        "engine/litellm/drain.sql.j2",
        "        PERFORM user_bridge.record_rest();\n",
        "",
        lambda pair: serializable.test_what_such_a_transaction_changes_is_recorded_before_it_is_delivered(
            serializable.peopled(_quick(pair))
        ),
    ),
    (
        "what another changes while it is recorded stays wrong",
        "entities/user_models/litellm/listed_member.sql.j2",
        "WHERE v_left + v_joined < cardinality(p_changed)",
        "WHERE false",
        lambda pair: serializable.test_what_another_changes_while_it_is_recorded_is_looked_at_again(
            serializable.peopled(_quick(pair))
        ),
    ),
    (
        "a drain fails by what another is recording",
        "engine/litellm/unrecorded.sql.j2",
        "USING ERRCODE = 'UB010'",
        "USING ERRCODE = '55000'",
        lambda pair: serializable.test_a_drain_leaves_what_another_is_recording(serializable.peopled(_quick(pair))),
    ),
    (
        "a list that has changed meanwhile makes a group of nobody's",
        "entities/user_models/litellm/desired.sql.j2",
        "IF EXISTS (SELECT FROM unnest(v_new)",
        "IF false AND EXISTS (SELECT FROM unnest(v_new)",
        lambda pair: races.test_a_commit_meets_another_list(pair, True),
    ),
    (
        "an empty request is sent",
        "engine/litellm/identity.sql.j2",
        "IF p_payload IS NULL THEN",
        "IF false THEN",
        _away(outages.test_an_empty_request_is_no_outage),
    ),
    (
        "a mirrored key that only the journal names is nobody's",
        _JOURNAL,
        "WHERE k.type IN (",
        "WHERE k.type NOT IN (",
        lambda pair: mapping.TestKeys().test_mirror_is_cleared_of_what_was_taken_back(_quick(pair)),
    ),
    (
        "a clock that was set back keeps the breaker open",
        "engine/litellm/commit.sql.j2",
        " <= s.backoff_seconds * 1000",
        " IS NOT NULL",
        _away(outages.test_nor_does_it_keep_commits_from_delivering, "breaker_until"),
    ),
    (
        "a clock that was set back keeps commits from the backlog",
        "engine/litellm/backlog.sql.j2",
        "BETWEEN 1 AND 60000",
        ">= 1",
        _away(outages.test_nor_does_it_keep_commits_from_delivering, "backlog"),
    ),
    (
        "a clock that was set back prolongs the pauses of what has failed",
        "engine/litellm/drain.sql.j2",
        "interval '61 minutes'",
        "interval '61 days'",
        _away(outages.test_nor_does_what_has_failed_wait_for_longer),
    ),
    (
        "a server that is full is one that is away",
        "engine/litellm/slots.sql.j2",
        "OR p_error !~ 'the database system is' AND coalesce(",
        "OR false AND coalesce(",
        lambda pair: connections.test_what_a_lack_of_connections_is(pair, *connections.FULL),
    ),
    (
        "nobody knows as whom the connection was tried",
        "engine/litellm/target.sql.j2",
        "|| format(' (user %s, database %s)', ",
        "|| format('', ",
        connections.test_a_refusal_says_as_whom_and_to_what_it_was_tried,
    ),
    (
        "one that cannot be read has all others undone in a preview",
        "engine/litellm/reconcile.sql.j2",
        "IF c_half = 0 THEN",
        "IF true THEN",
        _whole(surroundings.test_a_name_that_the_target_cannot_hold_fails_alone),
    ),
    (
        "letters of no encoding make an address",
        "entities/user/litellm/email.sql.j2",
        "getdatabaseencoding() = 'SQL_ASCII'",
        "false",
        _whole(surroundings.test_a_source_that_holds_bytes_of_any_encoding),
    ),
    (
        "a migration takes a name that an account keeps for a difference",
        "engine/litellm/migrate.sql.j2",
        "THEN '{name}'",
        "THEN '{}'",
        surroundings.test_an_adopted_account_keeps_its_name_while_litellm_has_none,
    ),
    (
        "a fence that nobody can count to is believed",
        "engine/litellm/deliver.sql.j2",
        "OR (v_reply ->> 'fence')::numeric >= 2 ^ 62",
        "",
        surroundings.test_a_fence_that_nobody_can_count_to_is_none,
    ),
    (
        "a fence that nobody can count to holds",
        "engine/openwebui/door.sql.j2",
        "OR e.version >= 2 ^ 62",
        "",
        surroundings.test_a_fence_that_nobody_can_count_to_is_none,
    ),
    (
        "a nested list of teams keeps a user from being delivered",
        "*",
        "array_ndims(u.teams) OPERATOR(pg_catalog.>) 1",
        "array_ndims(u.teams) OPERATOR(pg_catalog.>) 9",
        surroundings.test_a_nested_list_of_teams_keeps_nobody_in,
    ),
    (
        "a read-only server refuses each item",
        "engine/openwebui/door.sql.j2",
        "    PERFORM user_bridge.refuse_read_only();\n",
        "",
        surroundings.test_a_read_only_server_is_one_outage_and_over_when_it_can_be_written_to,
    ),
    (
        "a name that the target cannot hold is an outage",
        "engine/litellm/target.sql.j2",
        "WHEN left(p_sqlstate, 2) IN ('22', '23', '54') OR",
        "WHEN",
        lambda pair: surroundings.test_a_name_that_the_target_cannot_hold_fails_alone(pair.cluster),
    ),
    (
        "the drain leaves sequences behind",
        "engine/litellm/drain.sql.j2",
        _SEQUENCES,
        "",
        surroundings.test_sequences_that_are_behind_are_moved_on_by_the_drain,
    ),
    (
        "without a drain sequences stay behind",
        "engine/litellm/outcome.sql.j2",
        "IF p_sqlstate = '23505' THEN",
        "IF false THEN",
        surroundings.test_without_a_drain_the_next_commit_gets_through,
    ),
    (
        "a migration leaves sequences behind",
        "engine/litellm/migrate.sql.j2",
        "    PERFORM user_bridge.advance_sequences();\n",
        "",
        lambda pair: surroundings.test_nothing_else_fails_by_it(pair, surroundings.CALLS[0]),
    ),
    (
        "a decision leaves sequences behind",
        "engine/litellm/held_changes.sql.j2",
        _SEQUENCES,
        "",
        lambda pair: surroundings.test_nothing_else_fails_by_it(pair, surroundings.CALLS[2]),
    ),
    (
        "Open WebUI's side leaves sequences behind",
        "engine/openwebui/journal.sql.j2",
        _SEQUENCES,
        "",
        surroundings.test_what_is_held_has_ids_of_its_own,
    ),
    (
        "an account that is missing leaves its id to others",
        "entities/user/openwebui/adopt.sql.j2",
        " = p_id AND e.entity_id <> p_user)",
        " = p_id AND false)",
        surroundings.test_an_id_that_returns_after_its_account_was_taken_over,
    ),
    (
        "a journal that cannot be settled says nothing",
        "engine/litellm/drain.sql.j2",
        "    PERFORM user_bridge.note_journal(SQLERRM);\n",
        "    NULL;\n",
        surroundings.test_a_journal_that_cannot_be_settled_says_so_once,
    ),
    (
        "an adopted account is named after its address",
        "entities/user/openwebui/apply.sql.j2",
        "    IF keeps_name THEN\n",
        "    IF false THEN\n",
        surroundings.test_an_adopted_account_keeps_its_name_while_litellm_has_none,
    ),
    (
        "a full server is asked by every commit",
        "engine/litellm/slots.sql.j2",
        "IF user_bridge.is_full(s) AND",
        "IF false AND",
        connections.test_nobody_asks_again_and_again_for_a_connection,
    ),
    (
        "a clock that was set back keeps everybody from connecting",
        "engine/litellm/slots.sql.j2",
        "BETWEEN 1 AND s.backoff_seconds * 1000",
        "> 0",
        connections.test_a_clock_that_was_set_back_keeps_nobody_from_connecting,
    ),
    (
        "without its extension each entity fails",
        "engine/litellm/outcome.sql.j2",
        "strpos(p_error, 'dblink_') > 0",
        "false",
        _away(outages.test_without_its_extension_nothing_is_delivered_and_nothing_rewritten),
    ),
    (
        "another server is no news",
        _JOURNAL,
        "(p_place, c_losses)\n",
        "(v_before.place, c_losses)\n",
        failover.test_the_older_state_of_a_target_is_noticed,
    ),
    (
        "a recovery is no news",
        "engine/litellm/drain.sql.j2",
        "        PERFORM nextval('user_bridge.losses') WHERE FOUND;\n",
        "",
        failover.test_what_a_promoted_source_does_not_have_goes,
    ),
    (
        "numbers that are behind are no news",
        "engine/litellm/deliver.sql.j2",
        "        PERFORM nextval('user_bridge.losses');\n",
        "",
        failover.test_what_a_restored_source_does_not_have_goes,
    ),
    (
        "a comparison that failed is not made again",
        _JOURNAL,
        "UPDATE user_bridge.target SET compare_at = clock_timestamp() + interval '1 minute';",
        "UPDATE user_bridge.target SET place = p_place, losses = c_losses;",
        lambda pair: failover.test_a_comparison_that_fails_is_tried_again_later(pair, "0"),
    ),
    (
        "a clock that was set back prolongs the pause of a comparison",
        _JOURNAL,
        "v_before.compare_at - clock_timestamp() BETWEEN interval '0' AND interval '1 minute'",
        "v_before.compare_at > clock_timestamp()",
        lambda pair: failover.test_a_comparison_that_fails_is_tried_again_later(pair, "1 hour"),
    ),
]
