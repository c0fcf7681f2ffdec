# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults in what keeps COMMITs cheap: as those in faults_of_trust.py."""

from __future__ import annotations

from collections.abc import Callable

import test_bulk as bulk
import test_crowd as crowd
import test_delivery as delivery
import test_flat_cost as flat_cost
import test_initial_passwords as initial_passwords
import test_large_teams as large_teams
import test_left_to_drain as left
import test_locks as locks
import test_long_lists as long_lists
import test_model_grants as grants
import test_picking as picking
import test_plain_users as plain_users
import test_queue_rules as queue_rules
import test_reconcile as reconcile
from kit.bridge import install_bridge
from kit.pairs import Pair

Row = tuple[str, str, str, str, Callable[[Pair], None]]

_FOLLOWS = "entities/user_models/litellm/follow.sql.j2"
_LISTS = "entities/model/litellm/lists.sql.j2"
_DESIRED = "entities/user/litellm/desired.sql.j2"
_CROWD = "engine/litellm/crowd.sql.j2"
_NEW = "entities/user/openwebui/new.sql.j2"


def _plain(test: Callable[[Pair], None]) -> Callable[[Pair], None]:
    def catch(pair: Pair) -> None:
        install_bridge(pair, {"initial_password": "none"})
        test(pair)

    return catch


def _hashing(test: Callable[[Pair], None]) -> Callable[[Pair], None]:
    def catch(pair: Pair) -> None:
        install_bridge(pair, {"password_cost": 4})
        test(pair)

    return catch


def _met(word: str) -> Callable[[Pair], None]:
    """What create_user() must leave to apply_user()."""
    return _plain(lambda pair: plain_users.check(pair, (word,)))


def _paused(test: Callable[[Pair], None]) -> Callable[[Pair], None]:
    return lambda pair: test(picking.paused(pair))


def _beside(write: Callable[[Pair, list[str]], None]) -> Callable[[Pair], None]:
    return lambda pair: long_lists.test_what_stands_beside_a_list_is_left_to_the_drainer_too(pair, write)


def _batch_of_few(pair: Pair) -> None:
    flat_cost.test_a_large_batch_reads_no_more_for_each_than_a_small_one(pair, again=False)


def _all_of_many(test: Callable[[Pair], None]) -> Callable[[Pair], None]:
    return _plain(lambda pair: test(large_teams.make_few_many(pair)))


def _many(pair: Pair) -> Pair:
    install_bridge(pair, {"initial_password": "none"})
    left.prepare(pair)
    left.begin_drainer(pair)
    return pair


def _left(name: str) -> Callable[[Pair], None]:
    return lambda pair: left.test_what_concerns_many(_many(pair), *left.CASES[name])


LOAD: list[Row] = [
    (
        "a drain whose own work takes long delivers nothing for ever",
        "engine/litellm/deliver.sql.j2",
        "THEN p_deadline ELSE user_bridge.delivery_deadline(s) END",
        "THEN p_deadline ELSE p_deadline END",
        locks.TestWhatTakesTooLong().test_on_litellms_side_keeps_no_drain_from_delivering,
    ),
    (
        "everybody who joins a team with thousands is queued by LiteLLM's write",
        "entities/membership/litellm/enqueue.sql.j2",
        "SELECT cardinality(p_ids) > 2000",
        "SELECT cardinality(p_ids) > 2000000",
        _plain(lambda pair: large_teams.test_a_write_does_not_queue_each_of_them(pair, model_access=False)),
    ),
    (
        "whose rights change with thousands is queued by LiteLLM's write",
        "entities/user_models/litellm/listed_member.sql.j2",
        "IF user_bridge.are_many(v_changed) THEN",
        "IF false THEN",
        _plain(lambda pair: large_teams.test_a_write_does_not_queue_each_of_them(pair, model_access=True)),
    ),
    (
        "of thousands who left at once nobody does",
        "entities/membership/litellm/fan_out.sql.j2",
        "(SELECT k.id FROM known AS k EXCEPT SELECT l.id FROM listed AS l);",
        "(SELECT k.id FROM known AS k WHERE false);",
        _all_of_many(large_teams.test_all_of_them_are_delivered),
    ),
    (
        "of thousands who joined at once nobody gets the rights of the team's members",
        "entities/user_models/litellm/listed_member.sql.j2",
        "        PERFORM user_bridge.record_again('user_models');\n    ELSE",
        "        NULL;\n    ELSE",
        _all_of_many(large_teams.test_all_of_them_are_delivered),
    ),
    (
        "a list is read for each of many who changed",
        "entities/user_models/litellm/listed_member.sql.j2",
        "CASE WHEN cardinality(p_changed) = 1 THEN",
        "CASE WHEN cardinality(p_changed) > 0 THEN",
        _plain(large_teams.test_a_long_list_is_not_read_for_each_of_many),
    ),
    (
        "a COMMIT queues everybody for whom another's change stands",
        "engine/litellm/backlog.sql.j2",
        "\n       AND NOT user_bridge.stands_for_many(q.entity_type, q.entity_id)",
        "",
        _plain(delivery.test_a_commit_takes_over_nothing_that_stands_for_many),
    ),
    (
        "a COMMIT hashes the passwords of all that others left",
        "engine/litellm/backlog.sql.j2",
        "(NOT q.hashed OR q.hashes = 1)",
        "true",
        _hashing(initial_passwords.test_without_a_drainer_a_commit_hashes_one_of_others),
    ),
    (
        "a COMMIT asks Open WebUI for whom another's change stands",
        "engine/litellm/backlog.sql.j2",
        "q.entity_type <> ALL (user_bridge.types_beyond_commits())",
        "true",
        _plain(delivery.test_a_commit_takes_over_nothing_that_stands_for_many),
    ),
    (
        "a COMMIT reads all keys of whoever has thousands",
        "engine/litellm/commit.sql.j2",
        "\n               AND NOT user_bridge.leave_heavy(entity_type, entity_id)",
        "",
        flat_cost.test_whoever_has_many_keys_gets_his_rights_from_the_drainer,
    ),
    (
        "a COMMIT looks for thousands of a team's models",
        _FOLLOWS,
        "SELECT cardinality(p_list) > 1000",
        "SELECT false",
        lambda pair: long_lists.test_a_long_list_is_left_to_the_drainer(pair, long_lists.of_a_team, "team_models"),
    ),
    (
        "a user's own long list is computed in a COMMIT",
        _FOLLOWS,
        "u.user_id = p_id AND user_bridge.is_long(u.models)",
        "false",
        lambda pair: long_lists.test_a_long_list_is_left_to_the_drainer(pair, long_lists.own, "user_models"),
    ),
    (
        "a key's long list is computed in a COMMIT",
        _FOLLOWS,
        "SELECT unnest(k.models) FROM unnest(v_keys) AS k\n                UNION ",
        "",
        lambda pair: long_lists.test_a_long_list_is_left_to_the_drainer(pair, long_lists.of_a_key, "user_models"),
    ),
    *(
        (f"{what} is looked for in a COMMIT", _FOLLOWS, old, new, _beside(write))
        for what, old, new, write in (
            (
                "an access group of any size",
                "unnest(g.access_group_ids) FROM user_bridge.team_group_ids(p_teams)",
                "NULL::text FROM user_bridge.team_group_ids(p_teams)",
                long_lists.by_a_group,
            ),
            ("a scope of any size", "SELECT unnest(b.allowed_models)", "SELECT NULL::text", long_lists.by_a_scope),
            ("any number of aliases", "WHERE m.id = t.model_id)", "WHERE false)", long_lists.by_aliases),
            ("any number of names that settings have", "cardinality(l.names)", "0", long_lists.by_settings),
            (
                "the long list of a key's team",
                "UNION SELECT unnest(user_bridge.entries_of_teams(v_teams, p_id))",
                "",
                long_lists.by_the_team_of_a_key,
            ),
            (
                "a key's access group of any size",
                "unnest(k.access_group_ids) FROM unnest(v_keys)",
                "NULL::text FROM unnest(v_keys)",
                long_lists.by_a_keys_group,
            ),
            ("a project of any size", "SELECT k.project_id FROM", "SELECT NULL::text FROM", long_lists.by_a_project),
        )
    ),
    (
        "a COMMIT compiles all regular expressions of a list",
        _FOLLOWS,
        "SELECT count(*) > 10 FROM",
        "SELECT count(*) > 1000 FROM",
        long_lists.test_many_regular_expressions_are_left_to_the_drainer,
    ),
    (
        "each name is compared with each pattern",
        _LISTS,
        "WHERE starts_with(x.name, s.start) AND (",
        "WHERE (",
        long_lists.test_names_are_compared_with_patterns_only_where_they_begin_alike,
    ),
    (
        "a list stands beside each of its entries",
        _LISTS,
        "SELECT u.list, row_number() OVER () AS number FROM",
        "SELECT u.list, u.list AS number FROM",
        lambda pair: long_lists.test_a_long_list_fills_no_disk(pair, long_lists.own),
    ),
    (
        "a clause stands beside each of its models",
        _LISTS,
        "SELECT u.clause, row_number() OVER () AS number,",
        "SELECT u.clause, u.clause AS number,",
        lambda pair: long_lists.test_a_long_list_fills_no_disk(pair, long_lists.of_a_key_in_a_team),
    ),
    (
        "each entry of a long list is compared with each name",
        _LISTS,
        "SET enable_seqscan = on\nSET enable_nestloop = off AS $body$",
        "SET enable_seqscan = on AS $body$",
        long_lists.test_entries_are_not_compared_with_each_name,
    ),
    (
        "what a COMMIT leaves is noticed by no other",
        "engine/litellm/dispatch.sql.j2",
        "        PERFORM user_bridge.note_backlog();\n        RETURN true;",
        "        RETURN true;",
        flat_cost.test_whoever_has_many_keys_gets_his_rights_from_the_drainer,
    ),
    (
        "a transaction_timeout of the target is an outage",
        "engine/litellm/target.sql.j2",
        "'57014', '25P04',",
        "'57014',",
        locks.TestWhatTakesTooLong().test_for_a_transaction_of_the_target_is_sent_in_parts,
    ),
    (
        "the drainer pauses in a backlog of few entities",
        "engine/litellm/drain.sql.j2",
        "done >= c_limit OR v_is_more;",
        "done >= c_limit;",
        picking.test_what_few_have_changed_again_and_again_is_drained_without_a_pause,
    ),
    (
        "a row is delivered for each change of an entity",
        "engine/litellm/pick.sql.j2",
        "c_rows CONSTANT integer := p_limit * c_ahead;",
        "c_rows CONSTANT integer := p_limit;",
        picking.test_one_delivery_settles_what_an_entity_has_further_ahead,
    ),
    (
        "what is behind the entities of a batch is passed over",
        "engine/litellm/pick.sql.j2",
        "v_last := coalesce(v_firsts[p_limit + 1] - 1, ",
        "v_last := coalesce(",
        _plain(picking.test_what_comes_after_one_entity_too_many_is_not_passed_over),
    ),
    (
        "a crowd is forgotten at once",
        _CROWD,
        "user_bridge.now_ms() + user_bridge.crowd_ms());",
        "user_bridge.now_ms());",
        _plain(crowd.test_a_crowd_is_remembered_for_a_moment),
    ),
    (
        "a clock that was set back makes a crowd",
        _CROWD,
        "BETWEEN 1 AND user_bridge.crowd_ms()",
        ">= 1",
        _plain(crowd.test_a_crowd_is_remembered_for_a_moment),
    ),
    (
        "everybody delivers in a crowd",
        _CROWD,
        "IF user_bridge.try_alone() OR s.delivery <> 'commit' THEN",
        "IF true THEN",
        _plain(crowd.test_in_a_crowd_the_drainer_does),
    ),
    (
        "a crowd relies on a drainer that does not live",
        _CROWD,
        " OR NOT user_bridge.drainer_lives() THEN",
        " THEN",
        _plain(crowd.test_without_a_drainer_everybody_delivers),
    ),
    (
        "a crowd relies on a drainer that is behind",
        _CROWD,
        "ELSIF user_bridge.is_behind() AND ",
        "ELSIF false AND ",
        _plain(crowd.test_a_drainer_that_is_behind_gets_no_more),
    ),
    (
        "nobody gives way to a drainer that does not keep up",
        _CROWD,
        "PERFORM pg_sleep(v_pause / 1000.0);",
        "NULL;",
        _plain(crowd.test_a_commit_gives_way_to_a_drainer_that_does_not_keep_up),
    ),
    *(
        (why, _CROWD, text, instead, _plain(crowd.test_what_one_has_found_out_others_need_not))
        for why, text, instead in (
            (
                "what is left to the drainer without a look may be forgotten",
                "       AND coalesce(pg_sequence_last_value('user_bridge.backlog'), 1) <> 1;",
                ";",
            ),
            (
                "nobody gives way once a drainer has been seen",
                "NOT user_bridge.is_left(250)",
                "NOT user_bridge.is_left(900)",
            ),
            (
                "a drainer that was seen is alive for ever",
                "1) - c_now BETWEEN 1 AND user_bridge.left_ms()",
                "1) > 1",
            ),
            ("everybody looks whether a drainer lives", "1) - c_now BETWEEN 1 AND user_bridge.left_ms()", "1) = 0"),
        )
    ),
    (
        "what changes is written down after Open WebUI's answer only",
        "engine/litellm/dispatch.sql.j2",
        "    IF v_told IS NULL THEN",
        "    IF true THEN",
        crowd.test_what_changes_is_written_down_while_open_webui_works,
    ),
    (
        "what Open WebUI will tell of a change is not foreseen",
        "engine/litellm/dispatch.sql.j2",
        "-> t.field IS DISTINCT FROM p_desired -> t.field",
        "-> t.field IS NULL",
        crowd.test_what_changes_is_written_down_while_open_webui_works,
    ),
    (
        "of several users alone the emails are not locked",
        "engine/litellm/dispatch.sql.j2",
        "WHEN 'organization', 'team',",
        "WHEN 'user', 'organization', 'team',",
        _plain(locks.test_what_is_locked_does_not_depend_on_what_else_is),
    ),
    (
        "a drainer takes ever larger batches",
        "engine/litellm/drain.sql.j2",
        "p_done * 200 / greatest(1, p_ms)",
        "p_done * 2",
        _plain(crowd.test_a_batch_lasts_a_fifth_of_a_second),
    ),
    (
        "a drainer that stands still is not behind",
        _CROWD,
        "PERFORM user_bridge.note_waiting(user_bridge.now_ms());",
        "NULL;",
        _plain(crowd.test_a_drainer_that_is_behind_gets_no_more),
    ),
    (
        "a drainer is never behind after a clock was set back",
        _CROWD,
        "NOT BETWEEN 0 AND 1000",
        "> 1000",
        _plain(crowd.test_a_drainer_that_is_behind_gets_no_more),
    ),
    (
        "a crowd relies on a drainer that waits for the target",
        _CROWD,
        "user_bridge.in_outage() OR NOT",
        "NOT",
        _plain(crowd.test_in_an_outage_nobody_relies_on_it),
    ),
    (
        "inline delivery is adaptive",
        _CROWD,
        " OR s.delivery <> 'commit'",
        "",
        _plain(crowd.test_where_it_is_set_everybody_delivers),
    ),
    (
        "a drainer that fails is relied on",
        "engine/litellm/drainer.sql.j2",
        ", user_bridge.note_waiting(2)\n",
        "\n",
        _plain(crowd.test_nobody_relies_on_a_drainer_that_fails),
    ),
    (
        "all of a crowd deliver in place of a drainer that is behind",
        _CROWD,
        "user_bridge.is_behind() AND pg_try_advisory_xact_lock(user_bridge.lock_key('in place of the drainer'))",
        "user_bridge.is_behind()",
        _plain(crowd.test_one_at_a_time_delivers_in_its_place),
    ),
    (
        "a drainer that has delivered everything stays behind",
        "engine/litellm/drain.sql.j2",
        "PERFORM user_bridge.note_waiting(c_begun);",
        "NULL;",
        _plain(crowd.test_nobody_relies_on_a_drainer_that_fails),
    ),
    (
        "a drainer that is never at the end stays behind",
        "engine/litellm/drain.sql.j2",
        "ELSIF v_last_at IS NOT NULL THEN",
        "ELSIF false THEN",
        _plain(crowd.test_a_drainer_that_is_never_at_the_end_is_seen_to_get_on),
    ),
    (
        "what is done is looked for in all of the queue",
        "engine/litellm/outcome.sql.j2",
        "WHERE l.txid = t.txid AND l.entity_type = o.type AND l.entity_id = o.id OFFSET 0",
        "WHERE l.txid = t.txid AND l.entity_type || '' = o.type AND l.entity_id || '' = o.id OFFSET 0",
        _batch_of_few,
    ),
    (
        "an index of accounts is read from end to end",
        "engine/openwebui/state.sql.j2",
        "(CASE WHEN entity_type IN ('user') THEN openwebui_id END))\n"
        " WHERE (CASE WHEN entity_type IN ('user') THEN openwebui_id END) IS NOT NULL;",
        "openwebui_id) WHERE entity_type IN ('user');",
        _batch_of_few,
    ),
    (
        "a drainer that has nothing to do stays behind",
        "engine/litellm/drain.sql.j2",
        "PERFORM user_bridge.note_waiting(1), user_bridge.forget_backlog(place);",
        "PERFORM user_bridge.forget_backlog(place);",
        _plain(crowd.test_nobody_relies_on_a_drainer_that_fails),
    ),
    (
        "a backlog is forgotten while somebody adds to it",
        "engine/litellm/backlog.sql.j2",
        "EXISTS (SELECT FROM pg_snapshot_xip(pg_current_snapshot())) OR ",
        "",
        _plain(crowd.test_a_backlog_is_forgotten_only_when_nobody_may_add_to_it),
    ),
    (
        "a COMMIT looks up a table's row type where no error is caught",
        "engine/litellm/commit.sql.j2",
        "    v_error text;\n    v_state text;\nBEGIN\n    -- After SET",
        "    v_error text;\n    v_state text;\n    s user_bridge.settings;\nBEGIN\n    -- After SET",
        locks.test_a_table_that_is_being_altered_fails_no_write,
    ),
    (
        "a COMMIT that cannot read the settings leaves no sign of what it leaves",
        "engine/litellm/commit.sql.j2",
        "        PERFORM user_bridge.note_backlog();\n        PERFORM user_bridge.note_failure",
        "        PERFORM user_bridge.note_failure",
        locks.test_a_table_that_is_being_altered_fails_no_write,
    ),
    (
        "what cannot be queued is lost",
        "engine/litellm/queue.sql.j2",
        "        PERFORM nextval('user_bridge.losses');\n",
        "        NULL;\n",
        lambda pair: queue_rules.test_what_could_not_even_be_queued_is_found_by_a_comparison(pair, "is_only_spend"),
    ),
    (
        "what was deleted is read whenever the queue is empty",
        "engine/litellm/drain.sql.j2",
        "user_bridge.forget_backlog(place);",
        "user_bridge.forget_backlog('{}');",
        _plain(picking.test_a_drainer_with_nothing_to_do_reads_nothing),
    ),
    (
        "a backlog is forgotten that waits for a pause",
        "engine/litellm/pick.sql.j2",
        "WHERE q.next_attempt_at >= c_from\n",
        "WHERE false\n",
        _paused(lambda pair: picking.test_what_is_left_is_known(pair, "waits for a pause")),
    ),
    (
        "a backlog is forgotten that commits late",
        "engine/litellm/pick.sql.j2",
        "SELECT FROM unnest(c_waiting) AS w(txid)\n                    CROSS",
        "SELECT FROM unnest(NULL::xid8[]) AS w(txid)\n                    CROSS",
        _paused(lambda pair: picking.test_what_is_left_is_known(pair, "commits late")),
    ),
    (
        "a backlog is forgotten that was not free",
        "engine/litellm/pick.sql.j2",
        "p_place ? 'left'\n        OR",
        "false\n        OR",
        _paused(lambda pair: picking.test_what_was_not_free_is_known(pair)),
    ),
    (
        "all that was deleted is read to delete what is done",
        "engine/litellm/outcome.sql.j2",
        "WHERE l.txid = t.txid AND l.entity_type = o.type AND l.entity_id = o.id OFFSET 0) AS f",
        "WHERE l.txid IS NOT NULL "
        "AND (l.txid::text, l.entity_type || '', l.entity_id || '') = (t.txid::text, o.type, o.id) OFFSET 0) AS f",
        _paused(picking.test_what_is_done_is_deleted_without_what_was_deleted),
    ),
    (
        "all that was deleted is read for the ids of a moved database",
        "engine/litellm/sequences.sql.j2",
        "user_bridge.sync_mapping AS x WHERE x.id >= s.last_value",
        "user_bridge.sync_mapping AS x",
        _paused(picking.test_sequences_are_compared_without_what_was_deleted),
    ),
    (
        "a drainer counts a delay in the table at once",
        "engine/litellm/drainer.sql.j2",
        "    -- At first in any case: the last drainer may have ended over it.",
        "    PERFORM user_bridge.store_delays(v_state -> 'delays');\n    v_state := v_state - 'delays';\n"
        "    -- At first in any case: the last drainer may have ended over it.",
        _plain(picking.test_delays_are_stored_now_and_then),
    ),
    (
        "what a drainer has counted is lost when it ends",
        "engine/litellm/drainer.sql.j2",
        "    PERFORM user_bridge.store_delays(v_state OPERATOR(pg_catalog.->) 'delays');\n",
        "",
        _plain(picking.test_delays_are_stored_when_it_ends),
    ),
    (
        "what was expected is written down whatever happened",
        "engine/litellm/target.sql.j2",
        "IF v_reply -> 'items' IS DISTINCT FROM p_meanwhile -> 'items' AND p_meanwhile IS NOT NULL THEN",
        "IF false THEN",
        _plain(crowd.test_what_was_expected_and_did_not_happen_leaves_no_trace),
    ),
    (
        "what a drain has written down meanwhile stays in the queue",
        "engine/litellm/target.sql.j2",
        "array(SELECT t::xid8 FROM jsonb_array_elements_text(p_meanwhile -> 'txids') AS t)",
        "ARRAY[pg_current_xact_id()]",
        _plain(lambda pair: crowd.test_so_it_is_in_a_drain(pair, None)),
    ),
    (
        "an account is made plainly though another has the email",
        _NEW,
        "user_bridge.takes_email(u.email, p_email) LIMIT 1) IS NULL",
        "false LIMIT 1) IS NULL",
        _plain(crowd.test_what_was_expected_and_did_not_happen_leaves_no_trace),
    ),
    (
        "an account is made plainly though memberships wait for it",
        _NEW,
        "(SELECT m.user_id FROM user_bridge.membership AS m WHERE m.user_id = p_user LIMIT 1) IS NULL",
        "true",
        _plain(crowd.test_a_new_user_gets_the_memberships_that_waited),
    ),
    (
        "an account is made plainly though grants wait for it",
        _NEW,
        "WHERE g.holder_type = 'user' AND g.holder_id = p_user LIMIT 1) IS NULL\n"
        "        AND (SELECT m.user_id FROM user_bridge.model_member AS m",
        "WHERE false LIMIT 1) IS NULL\n        AND (SELECT m.user_id FROM user_bridge.membership AS m",
        _plain(grants.test_grants_follow_an_account_and_a_group_that_come_later),
    ),
    (
        "whoever gets a set of models locks it",
        "entities/user_models/litellm/desired.sql.j2",
        "WHERE x.set_id = k.set_id AND x.unused_since IS NULL) IS NULL",
        "WHERE false) IS NULL",
        _plain(crowd.test_nobody_waits_for_who_gets_the_same_set_of_models),
    ),
    (
        "a set that nobody had stays unused",
        "entities/user_models/litellm/desired.sql.j2",
        "x.set_id = k.set_id AND x.unused_since IS NULL) IS NULL",
        "x.set_id = k.set_id) IS NULL",
        _plain(crowd.test_a_set_that_nobody_had_is_in_use_again),
    ),
    (
        "what a delivery leaves to the drainer has the next one search the queue",
        "engine/litellm/queue.sql.j2",
        "PERFORM user_bridge.note_backlog();",
        "PERFORM setval('user_bridge.backlog', 2);",
        _plain(crowd.test_the_rights_of_a_new_user_are_left_to_the_drainer),
    ),
    (
        "an account is made plainly with any role",
        _NEW,
        "IF user_bridge.exceeds_role(v_want, c_options)\n",
        "IF false\n",
        _plain(crowd.test_a_new_user_gets_no_role_that_open_webui_s_side_does_not_give),
    ),
    *(
        (f"an account is made plainly: {word}", _NEW, old, new, _met(word))
        for word, old, new in (
            ("nothing", "user_bridge.is_reserved_id(p_account)", "false"),
            ("held", "(SELECT h.id FROM user_bridge.held AS h", "(SELECT NULL FROM user_bridge.held AS h"),
            ("sign-in", "(SELECT a.id FROM public.auth AS a WHERE", "(SELECT NULL FROM public.auth AS a WHERE"),
            ("account", 'EXISTS (SELECT FROM public."user" AS u WHERE u.id = p_account)', "false"),
            ("an account of somebody gone", "WHERE e.made_id = p_account AND", "WHERE false AND"),
            (
                "set of models",
                "m.user_id FROM user_bridge.model_member AS m WHERE",
                "NULL FROM user_bridge.model_member AS m WHERE",
            ),
            ("password", "c_options -> 'passwords_later' IS DISTINCT FROM 'true' AND", "false AND"),
        )
    ),
    (
        "many whose set lost its group wait for the lookout",
        "entities/model/openwebui/bulk.sql.j2",
        "WHERE w.models || w.sets ?| l.names)",
        "WHERE w.models ?| l.names)",
        _plain(lambda pair: plain_users.check_rights(pair, ("a set's group that somebody deleted",))),
    ),
    (
        "new users are looked for among all that are there",
        "entities/user/openwebui/bulk.sql.j2",
        "e.entity_type = p_type AND e.entity_id = w.id) IS NULL",
        "e.entity_type = p_type AND e.entity_id || '' = w.id) IS NULL",
        bulk.test_nobody_is_compared_with_everybody,
    ),
    (
        "of a request with one bad item all are written one by one",
        "engine/openwebui/door.sql.j2",
        "v_last - v_first + 1 >= c_least",
        "false",
        bulk.test_one_bad_item_fails_alone,
    ),
    (
        "all who share an email are looked at for each of them",
        _DESIRED,
        "LIMIT p_number;",
        "LIMIT (SELECT count(*) FROM user_bridge.address);",
        flat_cost.test_those_who_share_an_email,
    ),
    (
        "whoever has an email's account tells the others at each change",
        _DESIRED,
        "m.sync_data ->> 'email' = p_email) THEN",
        "m.sync_data ->> 'email' = '') THEN",
        flat_cost.test_those_who_share_an_email,
    ),
    (
        "each who leaves an email has all others of it delivered",
        "entities/user/litellm/fan_out.sql.j2",
        "user_bridge.claims(e.email, 1)",
        "user_bridge.claims(e.email, 10000)",
        flat_cost.test_those_who_share_an_email,
    ),
    (
        "an account that goes is looked for among all users",
        "entities/user/openwebui/adopt.sql.j2",
        "WHERE e.made_id = p_link.openwebui_id AND",
        "WHERE e.entity_type = p_link.entity_type AND e.made_id = p_link.openwebui_id AND",
        flat_cost.test_those_who_share_an_email,
    ),
    (
        "a scope among any number of members is written in a COMMIT",
        _FOLLOWS,
        "AND (SELECT count(*) > 1000\n",
        "AND (SELECT count(*) > 1000000\n",
        long_lists.test_scopes_among_many_members_are_left_to_the_drainer,
    ),
    (
        "a busy server is never asked for fewer at once",
        "engine/litellm/compare.sql.j2",
        "program_limit_exceeded OR SQLSTATE 'UB002' THEN",
        "program_limit_exceeded THEN",
        _plain(reconcile.test_what_takes_too_long_at_once_is_compared_in_parts),
    ),
    (
        "nobody is told that a request was split",
        "engine/litellm/deliver.sql.j2",
        "IF v_reply ? 'split' THEN",
        "IF false THEN",
        bulk.test_one_bad_item_fails_alone,
    ),
    (
        "a last scope leaves any number of members behind in a COMMIT",
        "entities/team_models/openwebui/apply.sql.j2",
        "RETURN user_bridge.holds_many(p_item) OR",
        "RETURN false OR",
        _left("scope"),
    ),
    (
        "a long list leaves any number of models behind in a COMMIT",
        "entities/team_models/openwebui/apply.sql.j2",
        " OR user_bridge.grants_many('team', p_item ->> 'id')",
        "",
        _left("list"),
    ),
    (
        "without a drainer nobody deletes a group of thousands",
        "engine/litellm/deliver.sql.j2",
        "c_is_heavy AND (v_lives OR NOT p_is_own)",
        "c_is_heavy",
        lambda pair: left.test_without_a_drainer_a_commit_does_it_itself(_many(pair)),
    ),
    (
        "without a drainer a COMMIT takes over what concerns thousands",
        "engine/litellm/deliver.sql.j2",
        "c_is_heavy AND (v_lives OR NOT p_is_own)",
        "c_is_heavy AND v_lives",
        _left("gone"),
    ),
    (
        "a COMMIT makes a group of thousands again",
        "entities/group/openwebui/apply.sql.j2",
        "IF p_item -> 'desired' <> 'null' AND EXISTS",
        "IF p_item -> 'desired' <> 'null' OR EXISTS",
        _left("again"),
    ),
    (
        "a COMMIT deletes a group of thousands",
        "entities/group/openwebui/apply.sql.j2",
        "IF p_item -> 'desired' <> 'null' AND EXISTS",
        "IF EXISTS",
        _left("gone"),
    ),
    (
        "a COMMIT takes a model from thousands",
        "entities/model/openwebui/apply.sql.j2",
        "RETURN (SELECT count(*) > c_most",
        "RETURN (SELECT count(*) > 1000 * c_most",
        _left("model"),
    ),
    (
        "a COMMIT makes the group of a wide list again",
        "entities/model_set/openwebui/apply.sql.j2",
        "AND user_bridge.holds_many(p_item);",
        "AND false;",
        lambda pair: left.test_a_group_of_a_wide_list_that_somebody_has_deleted(_many(pair)),
    ),
    (
        "a group of thousands that moved is taken for gone",
        "engine/litellm/deliver.sql.j2",
        """ AND NOT v_outcomes @> '[{"moved": false}]'""",
        "",
        lambda pair: left.test_a_group_that_moves_keeps_its_members(_many(pair)),
    ),
    (
        "what is left to the drain takes the rest of its transaction with it",
        "engine/openwebui/door.sql.j2",
        "WHERE user_bridge.is_heavy(i.item));",
        "WHERE EXISTS (SELECT FROM jsonb_array_elements(p_request -> 'items') AS x WHERE user_bridge.is_heavy(x)));",
        lambda pair: left.test_the_rest_of_its_transaction_is_delivered(_many(pair)),
    ),
    (
        "outcomes of what is left to the drain are mistaken for others'",
        "engine/openwebui/door.sql.j2",
        "WHERE l.ord < k.ord",
        "WHERE false",
        lambda pair: left.test_the_rest_of_its_transaction_is_delivered(_many(pair)),
    ),
    (
        "a COMMIT asks Open WebUI who was in a team of the same id",
        "entities/team/litellm/enqueue.sql.j2",
        "PERFORM user_bridge.enqueue_for_drain('team_roster', ARRAY[m.litellm_id])",
        "PERFORM 1",
        lambda pair: left.test_who_was_in_a_team_of_the_same_id_is_asked_by_the_drain(_many(pair)),
    ),
    (
        "a COMMIT reads all keys of a team",
        _FOLLOWS,
        "AND length(x.team_id) <= 255 LIMIT 1001",
        "AND length(x.team_id) <= 255 LIMIT 1000",
        flat_cost.test_what_thousands_have_one_of,
    ),
    (
        "a COMMIT reads all members who have a budget",
        _FOLLOWS,
        "WHERE m.budget_id = p_id LIMIT 1001",
        "WHERE m.budget_id = p_id LIMIT 1000",
        flat_cost.test_what_thousands_have_one_of,
    ),
    (
        "a COMMIT writes all members of a team that has no group of its own",
        _FOLLOWS,
        "OR NOT (SELECT s.team_groups FROM user_bridge.settings AS s))",
        ")",
        flat_cost.test_what_thousands_have_one_of,
    ),
    (
        "a write reads all who were in a former team of the same id",
        "entities/user_models/litellm/listed_member.sql.j2",
        "c_enough CONSTANT integer := 2001;",
        "c_enough CONSTANT integer := 2000000;",
        flat_cost.test_what_thousands_have_one_of,
    ),
    (
        "what takes longer than a COMMIT may is never delivered",
        "engine/litellm/drain.sql.j2",
        "s.target_timeout_ms * 4 ^ (",
        "s.target_timeout_ms * 1 ^ (",
        locks.TestWhatTakesTooLong().test_gets_more_time_each_time_when_it_is_alone,
    ),
    (
        "what takes longer than a COMMIT may is cancelled by Open WebUI's server",
        "engine/litellm/drain.sql.j2",
        "PERFORM user_bridge.let_target_take(v_patient.target_timeout_ms,",
        "PERFORM user_bridge.let_target_take(s.target_timeout_ms,",
        locks.TestWhatTakesTooLong().test_gets_more_time_each_time_when_it_is_alone,
    ),
]
