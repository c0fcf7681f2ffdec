# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tests can fail: faults, planted one by one into the shipped SQL, are caught by the test meant for them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch

import psycopg2
import pytest
from hypothesis.errors import Flaky

import test_accounts
import test_addresses
import test_backups
import test_connections
import test_crowd
import test_delivery
import test_drainer
import test_flat_cost
import test_hard_ceiling
import test_held_changes
import test_initial_passwords
import test_installation
import test_locks
import test_mapping
import test_outage
import test_picking
import test_privileged_sessions
import test_queue_rules
import test_reconcile
import test_removal_counting
import test_removals
import test_settings_of_others
import test_stale_pages
import test_unreadable_json
import test_upkeep
from faults_of_enforcement import ENFORCEMENT
from faults_of_healing import HEALING
from faults_of_load import LOAD
from faults_of_losses import LOSSES
from faults_of_model_grants import MODEL_GRANTS, MODEL_GRANTS_BY_OLD
from faults_of_models import RULE
from faults_of_operating import OPERATING
from faults_of_passwords import INITIAL_PASSWORDS
from faults_of_prefix import PREFIX
from faults_of_surroundings import SURROUNDINGS
from faults_of_trust import ADOPTION, ADOPTION_BY_OLD
from kit import drains, openwebui, pairs, rows, weekly
from kit.bridge import install_bridge, planted, render_sql
from kit.pairs import Pair
from kit.story import tell

Catch = Callable[[Pair], None]
# A fault can also show as an error of the server, or as a story that ends otherwise when it is told again.
CAUGHT = (AssertionError, psycopg2.Error, Flaky, pytest.fail.Exception)


@dataclass(frozen=True)
class Fault:
    """`old` becomes `new` in one template, or in all that have it and whose path matches a pattern."""

    name: str
    path: str
    old: str
    new: str
    caught_by: Catch


def _flat(*names: str) -> Catch:
    return lambda pair: test_flat_cost.check(pair, *names)


def _plain(pair: Pair) -> Pair:
    install_bridge(pair, {"initial_password": "none"})
    return pair


def _late_delivery(pair: Pair) -> None:
    test_delivery.test_a_late_delivery_changes_nothing(pair)


def _planted_code(form: str) -> Catch:
    return lambda pair: test_privileged_sessions.none_runs_it(pair, form, [*test_privileged_sessions.CALLS.items()])


def _held_backlog(pair: Pair) -> None:
    # Without SKIP LOCKED it would wait for as long as somebody holds the row.
    pair.litellm.run("SET lock_timeout = '3s'")
    test_delivery.test_a_commit_waits_for_nobody_who_holds_the_backlog(pair)


def _queued_is_no_drift(pair: Pair) -> None:
    rows.add_user(pair.litellm, "u1", "ann@example.com")
    pair.litellm_admin.run("SELECT user_bridge.pause()")
    rows.change_user(pair.litellm, "u1", user_alias="Anna")
    assert test_reconcile.found(pair) == set()


def _page_of_somebody_gone(pair: Pair) -> None:
    test_stale_pages.test_that_of_somebody_who_is_gone_too_unless_its_sign_in_is_made_active(
        test_stale_pages.team(pair), test_stale_pages.look_out
    )


def _unreadable_list(kind: str) -> Catch:
    return lambda pair: test_unreadable_json.test_a_list_of_members_that_cannot_be_read_is_replaced(pair, kind)


def _rules(pair: Pair) -> None:
    test_addresses.rules(pair)


def _held(test: Callable[[test_addresses.TestWhoHasIt, Pair], None]) -> Catch:
    """A test of two users, who are there already."""

    def catch(pair: Pair) -> None:
        test_addresses.add_both(pair)
        test(test_addresses.TestWhoHasIt(), pair)

    return catch


def _drainer(test: Catch) -> Catch:
    """A test of the drainer, on a bridge without password hashing."""

    def catch(pair: Pair) -> None:
        install_bridge(pair, {"initial_password": "none"})
        test(pair)

    return catch


def _from_17(test: Catch) -> Catch:
    def catch(pair: Pair) -> None:
        usable = pair.cluster.major >= 17
        with test_hard_ceiling.server_of(pair.cluster, usable, 18) as server, pairs.pair(server) as made:
            test(made)

    return catch


def _queued(test: Catch) -> Catch:
    def catch(pair: Pair) -> None:
        install_bridge(pair, {"initial_password": "none"})
        pair.litellm_admin.run("SELECT user_bridge.pause()")
        test(pair)

    return catch


def _away(test: Catch) -> Catch:
    def catch(pair: Pair) -> None:
        install_bridge(pair, {"initial_password": "none", "backoff_seconds": 3600})
        rows.add_user(pair.litellm, "u0", "u0@example.com")
        test(pair)

    return catch


FAULTS = [
    Fault(
        "a late transaction is passed over",
        "engine/litellm/pick.sql.j2",
        "SELECT x.txid FROM pg_snapshot_xip(v_snapshot) AS x(txid) WHERE x.txid < v_txid",
        "SELECT x.txid FROM pg_snapshot_xip(v_snapshot) AS x(txid) WHERE false",
        _queued(lambda pair: test_picking.test_a_transaction_that_commits_late_is_not_passed_over(pair, 100)),
    ),
    Fault(
        "what a delivery queues itself is passed over",
        "engine/litellm/pick.sql.j2",
        "SELECT pg_current_xact_id_if_assigned() WHERE pg_current_xact_id_if_assigned() < v_txid",
        "SELECT pg_current_xact_id_if_assigned() WHERE false",
        _queued(test_picking.test_what_a_delivery_queues_itself_is_not_passed_over),
    ),
    Fault(
        "the queue is read from the beginning each time",
        "engine/litellm/pick.sql.j2",
        "coalesce(p_place #>> '{after,0}', '0')::xid8",
        "'0'::xid8",
        _queued(test_picking.test_deleted_and_failing_rows_are_not_read_again),
    ),
    Fault(
        "what fails waits for all that is new",
        "engine/litellm/pick.sql.j2",
        "coalesce((p_place ->> 'due_first')::boolean, false)",
        "false",
        _queued(test_picking.test_neither_what_is_new_nor_what_fails_starves_the_other),
    ),
    Fault(
        "the queue is rewritten in an outage",
        "engine/litellm/outcome.sql.j2",
        "PERFORM user_bridge.note_outage(c_code, p_error);\n        RETURN;",
        "PERFORM user_bridge.note_outage(c_code, p_error);",
        _away(test_outage.test_one_error_an_outage_and_no_row_is_rewritten),
    ),
    Fault(
        "pauses in an outage do not grow",
        "engine/litellm/outage.sql.j2",
        "least(60, 0.5 * 2.0 ^ least(p_attempts - 1, 12))",
        "0.5",
        _away(lambda pair: test_outage.test_an_hours_outage_costs_next_to_nothing(pair, 2000)),
    ),
    Fault(
        "the drainer does not wait in an outage",
        "engine/litellm/outage.sql.j2",
        "WHERE t.next_try_at - clock_timestamp() BETWEEN interval '0' AND interval '1 minute')",
        "WHERE false)",
        _away(test_outage.test_one_error_an_outage_and_no_row_is_rewritten),
    ),
    Fault(
        "a commit that succeeds does not end an outage",
        "engine/litellm/deliver.sql.j2",
        "PERFORM user_bridge.end_outage();",
        "NULL;",
        _away(lambda pair: test_outage.test_the_pause_ends_with_the_outage(pair, "a commit")),
    ),
    Fault(
        "an error ends the drainer",
        "engine/litellm/drainer.sql.j2",
        "        WHEN OTHERS THEN\n            v_error := SQLERRM;",
        "        WHEN division_by_zero THEN\n            v_error := SQLERRM;",
        _drainer(test_drainer.test_an_error_ends_a_round_and_not_the_drainer),
    ),
    Fault(
        "a cancelled drainer stays the drainer",
        "engine/litellm/drainer.sql.j2",
        "    PERFORM user_bridge.end_drainer();\n    COMMIT;\n    IF",
        "    IF",
        _drainer(test_drainer.test_one_that_is_cancelled_lets_another_be_it),
    ),
    Fault(
        "the upkeep waits for an empty queue",
        "engine/litellm/tick.sql.j2",
        "    PERFORM user_bridge.upkeep();\n",
        "    PERFORM user_bridge.upkeep() WHERE NOT EXISTS (SELECT FROM user_bridge.sync_queue);\n",
        test_upkeep.test_it_is_done_whatever_the_queue_does,
    ),
    Fault(
        "a task that fails ends the upkeep",
        "engine/litellm/upkeep.sql.j2",
        "PERFORM user_bridge.note_upkeep(v_task, v_period, v_error);\n",
        "PERFORM user_bridge.note_upkeep(v_task, v_period, v_error); EXIT;\n",
        test_upkeep.test_a_task_that_fails_keeps_no_other_from_being_done,
    ),
    Fault(
        "each task is due all the time",
        "engine/litellm/upkeep.sql.j2",
        "BETWEEN interval '0' AND t.period) IS NOT TRUE",
        "BETWEEN interval '0' AND t.period) IS NOT NULL",
        test_upkeep.test_each_task_has_its_own_clock,
    ),
    Fault(
        "for a new team all users are read",
        "entities/team/litellm/fan_out.sql.j2",
        "SELECT t.user_id FROM user_bridge.user_team AS t WHERE t.team_id = ANY (p_ids)",
        'SELECT u.user_id FROM public."LiteLLM_UserTable" AS u WHERE (u.team_id || u.teams) && p_ids',
        _flat("a team comes", "a team goes"),
    ),
    Fault(
        "with each deletion all that is held is read",
        "engine/litellm/outcome.sql.j2",
        "AND (p.entity_type = k.type AND p.entity_id = k.id\n",
        "AND (true OR p.entity_type = k.type AND p.entity_id = k.id\n",
        _flat("an organization comes", "an organization goes"),
    ),
    Fault(
        "with each new name all that have left are looked up",
        "entities/membership/openwebui/apply.sql.j2",
        "ORDER BY w.since DESC LIMIT c_last",
        "ORDER BY w.since DESC",
        _flat("a large organization is renamed"),
    ),
    Fault(
        "with each new name all teams of an organization are looked up",
        "entities/group/openwebui/apply.sql.j2",
        "CASE p_link.entity_type WHEN 'organization' THEN p_link.entity_id END",
        "CASE WHEN true THEN p_organization_id END",
        _flat("a team comes", "a team is renamed", "a team goes"),
    ),
    Fault(
        "whoever leaves is looked for among all members",
        "entities/membership/openwebui/withdrawn.sql.j2",
        "m.user_id = w.holder_id) IS NOT NULL;",
        "concat(m.user_id) = w.holder_id) IS NOT NULL;",
        _flat("a user comes", "joins a team", "leaves a team", "the user goes"),
    ),
    Fault(
        "a COMMIT counts all members of a renamed team",
        "engine/litellm/commit.sql.j2",
        "user_bridge.fan_out(v_queued.types, v_queued.ids, s.inline_limit + 1)",
        "user_bridge.fan_out(v_queued.types, v_queued.ids, NULL)",
        _flat("a large team is renamed"),
    ),
    Fault(
        "one who left is taken for one who joined",
        "entities/membership/litellm/enqueue.sql.j2",
        "RETURN CASE WHEN p_longer - v_low = p_shorter THEN p_longer -> v_low END;",
        "RETURN p_longer -> v_low;",
        lambda pair: test_flat_cost.test_who_joined_and_left_a_team(_plain(pair)),
    ),
    Fault(
        "an escape in a list of members is not seen",
        "entities/membership/openwebui/apply.sql.j2",
        "to_json(p_string)::text) > 0 OR strpos(p_list, chr(92)) > 0",
        "to_json(p_string)::text) > 0",
        lambda pair: test_flat_cost.test_lists_of_members_as_text(_plain(pair), '["\\u0061", "b"]'),
    ),
    Fault(
        "a comma between two members is taken for a member",
        "entities/membership/openwebui/apply.sql.j2",
        "AND strpos(v_text, chr(92)) = 0 AND strpos(v_one, ',') = 0 THEN",
        "AND strpos(v_text, chr(92)) = 0 THEN",
        lambda pair: test_flat_cost.test_lists_of_members_as_text(_plain(pair), '["x,",",b"]'),
    ),
    Fault(
        "a key that the trigger missed is not looked for",
        "engine/litellm/reconcile.sql.j2",
        "'missed', NULL, NULL FROM user_bridge.stale_entities(p_types) AS e",
        "'missed', NULL, NULL FROM user_bridge.stale_entities(p_types) AS e WHERE false",
        lambda pair: test_flat_cost.test_a_key_that_the_trigger_missed_is_found_and_repaired(_plain(pair)),
    ),
    Fault(
        "keys that the trigger missed are not repaired",
        "entities/api_key/litellm/known.sql.j2",
        "SELECT * FROM user_bridge.wrong_keys()\n    ), gone",
        "SELECT * FROM user_bridge.wrong_keys() WHERE false\n    ), gone",
        lambda pair: test_flat_cost.test_a_key_that_the_trigger_missed_is_found_and_repaired(_plain(pair)),
    ),
    Fault(
        "teams that the trigger missed are not repaired",
        "entities/user/litellm/address.sql.j2",
        " + user_bridge.correct_user_teams(v_ids);",
        ";",
        lambda pair: test_flat_cost.test_a_team_that_the_trigger_missed_renames_its_users_after_a_repair(_plain(pair)),
    ),
    Fault(
        "whoever leaves a team stays recorded",
        "entities/user/litellm/teams.sql.j2",
        "t.team_id <> ALL (p_new_teams));",
        "false);",
        lambda pair: test_flat_cost.test_who_leaves_a_team_is_no_longer_recorded(_plain(pair)),
    ),
    Fault(
        "the drainer takes the isolation that the database has as its default",
        "engine/litellm/drainer.sql.j2",
        "SET TRANSACTION ISOLATION LEVEL READ COMMITTED;",
        "NULL;",
        _drainer(lambda pair: test_drainer.test_it_is_read_committed_whatever_the_default_is(pair, "serializable")),
    ),
    Fault(
        "two drainers work at once",
        "engine/litellm/drainer.sql.j2",
        "RETURN '{\"pause\": 0.2}'::jsonb;",
        "NULL;",
        _drainer(test_drainer.test_only_one_delivers),
    ),
    Fault(
        "who holds the drainer's lock is taken for a drainer",
        "engine/litellm/drainer.sql.j2",
        "> c_silence THEN",
        "> 1e15 THEN",
        _drainer(test_drainer.test_a_foreign_lock_or_an_old_beat_is_no_drainer),
    ),
    Fault(
        "a drainer lives on for as long as its beat is young",
        "engine/litellm/drainer.sql.j2",
        "RETURN user_bridge.is_drainer();",
        "RETURN true;",
        _drainer(test_drainer.test_it_delivers_while_it_lives),
    ),
    Fault(
        "a superuser's session reads what LiteLLM's role has put in a table's place",
        "engine/litellm/proof.sql.j2",
        "IF NOT user_bridge.is_privileged_session() THEN",
        "IF true THEN",
        _planted_code("view"),
    ),
    Fault(
        "the predicate of an index is not looked at",
        "engine/litellm/registry.sql.j2",
        "FROM asked AS a JOIN pg_index AS i ON i.indrelid = a.oid",
        "FROM asked AS a JOIN pg_index AS i ON i.indrelid = a.oid AND i.indpred IS NULL",
        _planted_code("partial index"),
    ),
    Fault(
        "rows are removed without a proof",
        "engine/openwebui/remove_data.sql.j2",
        "PERFORM user_bridge.prove_target();",
        "NULL;",
        lambda pair: test_privileged_sessions.test_removing_rows_does_not_run_it(pair, "trigger"),
    ),
    Fault(
        "a built-in function that runs any SQL passes for harmless",
        "engine/openwebui/registry.sql.j2",
        "'now', 'pg_current_xact_id'",
        "'now', 'query_to_xml', 'pg_current_xact_id'",
        lambda pair: test_privileged_sessions.test_removing_rows_does_not_run_it(pair, "default of query_to_xml"),
    ),
    Fault(
        "an array of a type that runs code passes for harmless",
        "engine/openwebui/registry.sql.j2",
        "WHERE coalesce(i.typtype, t.typtype) <> 'b'",
        "WHERE t.typtype <> 'b'",
        test_privileged_sessions.test_no_type_hides_in_an_expression,
    ),
    Fault(
        "a table at the other end of a foreign key is not looked at",
        "engine/openwebui/proof.sql.j2",
        "k.contype = 'f' AND k.confrelid = a.oid",
        "k.contype = 'f' AND k.confrelid = a.oid AND false",
        lambda pair: test_privileged_sessions.test_a_cascade_does_not_run_it_either(pair),
    ),
    Fault(
        "role map ignored",
        "entities/user/litellm/desired.sql.j2",
        "coalesce(s.role_map ->> u.user_role, s.default_role)",
        "s.default_role",
        lambda pair: test_mapping.TestRoles().test_only_a_proxy_admin_is_an_admin(pair, "proxy_admin", "admin"),
    ),
    Fault(
        "a viewer becomes admin",
        "entities/user/litellm/desired.sql.j2",
        "s.role_map ->> u.user_role",
        "s.role_map ->> replace(u.user_role, '_viewer', '')",
        lambda pair: test_mapping.TestRoles().test_only_a_proxy_admin_is_an_admin(pair, "proxy_admin_viewer", "user"),
    ),
    Fault(
        "scim_active ignored",
        "entities/user/litellm/desired.sql.j2",
        "coalesce(u.metadata -> 'scim_active' = 'false'::jsonb, false)",
        "false",
        lambda pair: test_mapping.TestDisabling().test_scim_inactive_disables_and_active_enables(pair),
    ),
    Fault(
        "youngest wins an email",
        "entities/user/litellm/desired.sql.j2",
        "ORDER BY a.since",
        "ORDER BY a.since DESC",
        lambda pair: test_mapping.TestEqualEmails().test_the_oldest_has_the_account_and_the_next_takes_over(pair),
    ),
    Fault(
        "what others need again is done with their own transaction",
        "engine/litellm/outcome.sql.j2",
        "PERFORM user_bridge.delete_done(p_outcomes, p_txids);\n    PERFORM user_bridge.record_outcomes(p_outcomes);",
        "PERFORM user_bridge.record_outcomes(p_outcomes);\n    PERFORM user_bridge.delete_done(p_outcomes, p_txids);",
        lambda pair: test_mapping.TestKeys().test_a_key_that_comes_with_its_user_is_mapped(_plain(pair)),
    ),
    Fault(
        "email not lower-cased",
        "entities/user/litellm/desired.sql.j2",
        "'email', user_bridge.fold_email(u.user_email)",
        "'email', u.user_email",
        lambda pair: test_mapping.TestWhoIsSkipped().test_an_email_that_appears_creates_the_account(pair),
    ),
    Fault(
        "emails lower-cased by the locale",
        "entities/user/litellm/email.sql.j2",
        '|| chr(13)) COLLATE "C")',
        "|| chr(13)))",
        _rules,
    ),
    Fault(
        "other capitals allowed",
        "entities/user/litellm/email.sql.j2",
        "user_bridge.has_any_of(v_other, user_bridge.other_capitals())",
        "false",
        test_addresses.TestLetters().test_a_letter_that_looks_equal_leads_to_nobodys_account,
    ),
    Fault(
        "any address is an ordinary one",
        "entities/user/litellm/email.sql.j2",
        "'^[a-z0-9._+-]+@[a-z0-9.-]+$'",
        "'^[^@]+@[^@]+$'",
        test_addresses.TestLetters().test_a_letter_that_looks_equal_leads_to_nobodys_account,
    ),
    Fault(
        "control characters allowed",
        "entities/user/litellm/email.sql.j2",
        "user_bridge.has_any_of(v_other, user_bridge.blanks())",
        "false",
        _rules,
    ),
    Fault(
        "an email taken is held from the beginning",
        "entities/user/litellm/address.sql.j2",
        "ELSE clock_timestamp() END",
        "ELSE user_bridge.held_from_creation(p_created_at) END",
        _held(lambda who, pair: who.test_an_older_user_does_not_take_it(pair)),
    ),
    Fault(
        "an email written otherwise is held anew",
        "entities/user/litellm/enqueue.sql.j2",
        "p_old_id IS NOT DISTINCT FROM p_new_id AND p_old_email IS NOT DISTINCT FROM p_new_email",
        "false",
        lambda pair: test_addresses.TestTheRecord().test_what_moves_no_address_writes_nothing_here(pair),
    ),
    Fault(
        "an email that was left is kept for its former user",
        "entities/user/litellm/address.sql.j2",
        "DELETE FROM user_bridge.address AS a WHERE a.user_id = p_old_id\n        RETURNING a.email, a.since INTO v_",
        "SELECT a.email, a.since FROM user_bridge.address AS a WHERE a.user_id = p_old_id INTO v_",
        lambda pair: test_addresses.TestTheRecord().test_nothing_is_left_of_who_has_gone(pair),
    ),
    Fault(
        "a new id holds the email anew",
        "entities/user/litellm/address.sql.j2",
        "WHEN v_email = p_new_email THEN v_since",
        "",
        _held(lambda who, pair: who.test_a_new_id_does_not_make_it_older(pair)),
    ),
    Fault(
        "people from the future",
        "entities/user/litellm/address.sql.j2",
        "least(coalesce(p_created_at AT TIME ZONE 'UTC', '-infinity'), clock_timestamp())",
        "coalesce(p_created_at AT TIME ZONE 'UTC', '-infinity')",
        _held(lambda who, pair: who.test_nobody_is_from_the_future(pair)),
    ),
    Fault(
        "who claims an email is not looked up again",
        "entities/user/litellm/desired.sql.j2",
        "WHERE u.user_id = a.user_id AND user_bridge.fold_email(u.user_email) = a.email OFFSET 0",
        "WHERE u.user_id = a.user_id OFFSET 0",
        test_addresses.TestTheRecord().test_a_record_that_is_out_of_date_gives_nothing,
    ),
    Fault(
        "emails that no trigger saw are not recorded at a delivery",
        "entities/user/litellm/address.sql.j2",
        "IF v_wrong.addresses THEN",
        "IF false THEN",
        test_addresses.TestTheRecord().test_a_delivery_records_what_no_trigger_saw,
    ),
    Fault(
        "a new user has had his email since just now",
        "entities/user/litellm/enqueue.sql.j2",
        "VALUES (p_id, v_email, user_bridge.held_from_creation(p_created_at))",
        "VALUES (p_id, v_email, clock_timestamp())",
        test_addresses.TestTheRecord().test_a_new_user_is_recorded_at_once,
    ),
    Fault(
        "a new user's teams are not recorded at once",
        "entities/user/litellm/enqueue.sql.j2",
        "IF v_teams <> '{}' THEN",
        "IF false THEN",
        test_addresses.TestTheRecord().test_a_new_user_is_recorded_at_once,
    ),
    Fault(
        "a new user's organization is not queued",
        "entities/user/litellm/enqueue.sql.j2",
        "IF p_organization IS NOT NULL OR user_bridge",
        "IF user_bridge",
        test_crowd.test_the_short_cuts_write_what_the_rules_write,
    ),
    Fault(
        "a repair waits for a write",
        "entities/user/litellm/address.sql.j2",
        "LANGUAGE plpgsql SET lock_timeout = '50ms' AS $body$\nDECLARE\n    v_corrected",
        "LANGUAGE plpgsql AS $body$\nDECLARE\n    v_corrected",
        test_addresses.TestTheRecord().test_a_repair_does_not_wait_for_a_write,
    ),
    Fault(
        "a write waits for a repair",
        "entities/user/litellm/enqueue.sql.j2",
        " SET lock_timeout = '50ms' AS $body$\nDECLARE\n    v_old_teams",
        " AS $body$\nDECLARE\n    v_old_teams",
        test_addresses.TestTheRecord().test_a_write_does_not_wait_for_a_repair,
    ),
    Fault(
        "emails looked up without the index",
        "entities/user/litellm/fan_out.sql.j2",
        "SELECT c.user_id FROM unnest(p_ids) AS e(email) CROSS JOIN LATERAL user_bridge.claims(e.email, 1) AS c",
        'SELECT u.user_id FROM public."LiteLLM_UserTable" AS u '
        "WHERE user_bridge.fold_email(u.user_email) = ANY (p_ids)",
        test_flat_cost.check,
    ),
    Fault(
        "team alias left out of the name",
        "entities/user/litellm/desired.sql.j2",
        "THEN c_team_alias || '-' || c_user_alias",
        "THEN c_user_alias",
        lambda pair: test_mapping.TestNames().test_the_rule(pair, "Ann", "Rockets", "Rockets-Ann"),
    ),
    Fault(
        "default user synced",
        "entities/user/litellm/desired.sql.j2",
        "u.user_id = 'default_user_id' THEN",
        "false THEN",
        lambda pair: test_mapping.TestWhoIsSkipped().test_with_the_reason(
            pair, "default_user_id", "boss@example.com", "LiteLLM's own default user"
        ),
    ),
    Fault(
        "heirs of an email forgotten",
        "entities/user/litellm/enqueue.sql.j2",
        "PERFORM user_bridge.enqueue('email', ARRAY[p_old_email]);",
        "NULL;",
        lambda pair: test_mapping.TestEqualEmails().test_the_oldest_has_the_account_and_the_next_takes_over(pair),
    ),
    Fault(
        "names do not follow the team",
        "entities/team/litellm/enqueue.sql.j2",
        "user_bridge.enqueue('team_name', ARRAY[p_new_id, p_old_id]);",
        "NULL;",
        lambda pair: test_mapping.TestNames().test_the_name_follows_the_team(pair),
    ),
    Fault(
        "an older user who appears later does not take over",
        "entities/user/litellm/desired.sql.j2",
        "THEN user_bridge.passed_over(u.user_id, claim.email) END",
        "THEN NULL::text[] END",
        lambda pair: test_mapping.TestEqualEmails().test_an_older_user_who_appears_later_takes_the_account_over(pair),
    ),
    Fault(
        "membership of any organization",
        "entities/membership/litellm/desired.sql.j2",
        "ON m.organization_id = k.group_id AND m.user_id = k.user_id",
        "ON m.user_id = k.user_id",
        lambda pair: test_mapping.TestMemberships().test_leaving_one_organization_leaves_the_other_alone(pair),
    ),
    Fault(
        "the user's own organization forgotten",
        "entities/user/litellm/enqueue.sql.j2",
        "IF coalesce(p_old_organization, p_new_organization) IS NOT NULL THEN",
        "IF false THEN",
        lambda pair: test_mapping.TestMemberships().test_the_users_own_organization_counts(pair),
    ),
    Fault(
        "members who left stay",
        "entities/membership/litellm/enqueue.sql.j2",
        "v_old CONSTANT jsonb := user_bridge.member_ids(p_old);",
        "v_old CONSTANT jsonb := '[]';",
        lambda pair: test_mapping.TestTeams().test_members_come_and_go(pair),
    ),
    Fault(
        "a group's members by the group's own id",
        "entities/membership/openwebui/apply.sql.j2",
        "p_id::jsonb ->> 0, p_id::jsonb ->> 1, false",
        "p_id::jsonb ->> 1, p_id::jsonb ->> 0, false",
        lambda pair: test_mapping.TestTeams().test_members_come_and_go(pair),
    ),
    Fault(
        "memberships not written when the account comes",
        "entities/user/openwebui/apply.sql.j2",
        "RETURN user_bridge.write_user_memberships(p_link.entity_id, c_account);",
        "RETURN '[]'::jsonb;",
        lambda pair: test_mapping.TestTeams().test_a_member_joins_when_the_user_appears(pair),
    ),
    Fault(
        "memberships not written when the group comes",
        "entities/group/openwebui/apply.sql.j2",
        "|| user_bridge.write_group_memberships(p_link.entity_type, p_link.entity_id);",
        ";",
        lambda pair: test_mapping.TestMemberships().test_a_membership_waits_for_its_group(pair),
    ),
    Fault(
        "a deleted team's memberships remembered",
        "entities/group/openwebui/apply.sql.j2",
        "DELETE FROM user_bridge.membership AS m",
        "DELETE FROM user_bridge.membership AS m WHERE false AND",
        lambda pair: test_mapping.TestTeams().test_a_recreated_team_does_not_inherit_members(pair),
    ),
    Fault(
        "auth row not written",
        "entities/user/openwebui/sign_in.sql.j2",
        "INSERT INTO public.auth AS a (id, email, password, active)\n"
        "    VALUES (p_want ->> 'openwebui_id', p_want ->> 'email',\n"
        "            CASE WHEN c_now THEN user_bridge.initial_password(p_want, p_options) ELSE '' END,\n"
        "            NOT (p_want ->> 'disabled')::boolean)\n"
        "    RETURNING CASE WHEN a.password <> '' THEN user_bridge.secret_mark(a.password) END INTO v_mark;",
        "NULL;",
        # Of a plain user the row comes with the account: create_user().
        test_initial_passwords.test_without_a_drainer_it_comes_with_the_account,
    ),
    Fault(
        "auth not switched off",
        "entities/user/openwebui/sign_in.sql.j2",
        "SET email = p_want ->> 'email', active = v_active",
        "SET email = p_want ->> 'email'",
        lambda pair: test_mapping.TestDisabling().test_scim_inactive_disables_and_active_enables(pair),
    ),
    Fault(
        "name not refreshed",
        "entities/user/openwebui/apply.sql.j2",
        "SET name = p_want ->> 'name', email",
        "SET name = u.name, email",
        lambda pair: test_mapping.TestNames().test_the_name_follows_the_team(pair),
    ),
    Fault(
        "parent not written",
        "entities/group/openwebui/apply.sql.j2",
        "PERFORM user_bridge.write_parents(p_link, v_want ->> 'organization_id', v_is_new);",
        "NULL;",
        lambda pair: test_mapping.TestTeams().test_parent_is_the_organizations_group(pair),
    ),
    Fault(
        "a deleted user's account stays",
        "entities/user/openwebui/retire.sql.j2",
        "PERFORM user_bridge.delete_account(p_now.id);",
        "NULL;",
        lambda pair: test_mapping.TestDeletion().test_delete_keeps_the_chats_and_a_returning_user_has_them_again(pair),
    ),
    Fault(
        "adopted account's password overwritten",
        "entities/user/openwebui/sign_in.sql.j2",
        "UPDATE public.auth AS a SET email = p_want ->> 'email', active = v_active",
        "UPDATE public.auth AS a SET password = '', email = p_want ->> 'email', active = v_active",
        lambda pair: _adoption_of_a_disabled_account(pair),
    ),
    Fault(
        "adopted account deleted",
        "entities/user/openwebui/retire.sql.j2",
        "c_delete CONSTANT boolean := p_link.origin <> 'adopted' AND",
        "c_delete CONSTANT boolean :=",
        lambda pair: test_mapping.TestAdoption().test_an_existing_account_is_linked_and_stays_the_persons(pair),
    ),
    Fault(
        "info replaced",
        "entities/user/openwebui/apply.sql.j2",
        "THEN user_bridge.json_object(p_info) END",
        "THEN '{}'::jsonb END",
        lambda pair: test_mapping.TestEveryRow().test_info_is_merged_and_becomes_an_object(pair, '{"mine": {"a": 1}}'),
    ),
    Fault(
        "hand-made membership removed",
        "entities/membership/openwebui/apply.sql.j2",
        "IF v_had.written THEN",
        "IF true THEN",
        lambda pair: test_mapping.TestMemberships().test_what_an_admin_made_by_hand_stays(pair),
    ),
    Fault(
        "last admin demoted",
        "entities/user/openwebui/apply.sql.j2",
        "IF NOT EXISTS (SELECT FROM public.\"user\" AS u WHERE u.id = p_account AND u.role = 'admin') THEN",
        "IF true THEN",
        lambda pair: test_mapping.TestRoles().test_the_last_admin_is_never_demoted_disabled_or_deleted(pair),
    ),
    Fault(
        "created_at from long ago",
        "engine/openwebui/catalog.sql.j2",
        "extract(epoch FROM clock_timestamp())::bigint",
        "1",
        lambda pair: test_mapping.TestEveryRow().test_a_created_account_is_complete(pair),
    ),
    Fault(
        "no fence",
        "engine/openwebui/door.sql.j2",
        "WHERE e.version < excluded.version",
        "WHERE true",
        _late_delivery,
    ),
    Fault(
        "no journal",
        "engine/openwebui/door.sql.j2",
        "p_item ->> 'id', p_version, p_txid,",
        "p_item ->> 'id', p_version, NULL,",
        lambda pair: test_delivery.test_a_transaction_that_dies_after_its_delivery_leaves_no_phantom(pair),
    ),
    Fault(
        "inline above READ COMMITTED",
        "engine/litellm/commit.sql.j2",
        "OR current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted')",
        "",
        lambda pair: test_delivery.test_above_read_committed_a_transaction_only_queues(pair, "REPEATABLE READ"),
    ),
    Fault(
        "no breaker",
        "engine/litellm/commit.sql.j2",
        "OR user_bridge.breaker_is_open()",
        "",
        lambda pair: test_delivery.test_an_unreachable_target_costs_one_timeout_and_not_one_for_each_write(pair),
    ),
    Fault(
        "no exception block in the trigger",
        "entities/user/litellm/enqueue.sql.j2",
        "    BEGIN\n        PERFORM user_bridge.enqueue_whole_row('user'",
        "    RAISE; BEGIN\n        PERFORM user_bridge.enqueue_whole_row('user'",
        lambda pair: test_delivery.test_a_column_that_litellm_renamed_fails_no_write_and_spend_queues_nothing(pair),
    ),
    Fault(
        "a deleted admin whose account is kept stays one",
        "entities/user/openwebui/retire.sql.j2",
        "'message', user_bridge.demote_account(p_now.id)",
        "'message', NULL",
        lambda pair: test_mapping.TestDeletion().test_keep_takes_the_admin_role(pair),
    ),
    Fault(
        "a deleted admin whose account is kept loses the role though nobody else has it",
        "entities/user/openwebui/retire.sql.j2",
        "v_held := user_bridge.hold_last_admin(p_item, p_now,",
        "v_held := CASE WHEN NOT c_keep THEN user_bridge.hold_last_admin(p_item, p_now, NULL) END; PERFORM (",
        lambda pair: test_mapping.TestDeletion().test_keep_takes_the_admin_role(pair),
    ),
    Fault(
        "what the fallback cannot read fails the write",
        "entities/user/litellm/enqueue.sql.j2",
        "    EXCEPTION WHEN OTHERS THEN\n        -- Text or JSON",
        "    EXCEPTION WHEN undefined_table THEN\n        -- Text or JSON",
        lambda pair: test_delivery.test_a_row_that_cannot_become_json_fails_no_write_either(
            pair, "LiteLLM_UserTable", "user_alias"
        ),
    ),
    Fault(
        "no exception block at COMMIT",
        "engine/litellm/commit.sql.j2",
        "    GET STACKED DIAGNOSTICS v_state",
        "    RAISE; GET STACKED DIAGNOSTICS v_state",
        lambda pair: test_delivery.test_no_outage_fails_a_write_and_the_drain_makes_both_sides_equal(
            pair, test_delivery.ApplyGone
        ),
    ),
    Fault(
        "no savepoint for each item",
        "engine/openwebui/door.sql.j2",
        "    -- One entity that cannot be written must not hold up the others.",
        "    RAISE;",
        lambda pair: test_delivery.test_one_entity_that_cannot_be_written_holds_up_no_other(pair),
    ),
    Fault(
        "spend is not told apart",
        "entities/user/litellm/enqueue.sql.j2",
        "    IF ROW(NEW.user_id, NEW.user_email",
        "    IF false AND ROW(NEW.user_id, NEW.user_email",
        lambda pair: test_delivery.test_spend_enqueues_nothing(pair),
    ),
    Fault(
        "removal guard ignored",
        "engine/openwebui/guard.sql.j2",
        "CASE WHEN v_accounts <> '{}' AND user_bridge.exceeds_removal_limit(p_request, v_kind, v_accounts)",
        "CASE WHEN false",
        lambda pair: test_removals.test_rejected_removals_leave_open_webui_alone(pair),
    ),
    Fault(
        "each portion of a drain counted by itself",
        "entities/user/litellm/removals.sql.j2",
        "'removals_pending', CASE WHEN 'deletion' = ANY (p_kinds) OR",
        "'removals_pending', CASE WHEN",
        lambda pair: test_removals.test_what_a_drain_takes_in_portions_counts_as_a_whole(pair),
    ),
    Fault(
        "an empty source believed",
        "entities/user/litellm/removals.sql.j2",
        "v_is_empty := NOT EXISTS (",
        "v_is_empty := false AND NOT EXISTS (",
        lambda pair: test_removals.test_an_empty_source_removes_nobody_whatever_the_limit(pair),
    ),
    Fault(
        "hidden rows taken for deleted ones",
        "*/litellm/*",
        " SET row_security = off",
        "",
        lambda pair: test_removals.test_an_unreadable_source_is_an_error_and_no_empty_source(
            pair, test_removals.hide_rows
        ),
    ),
    Fault(
        "approval without effect",
        "engine/openwebui/held.sql.j2",
        "RETURN p_item ? 'approvals' AND",
        "RETURN false AND",
        lambda pair: test_removals.test_nobody_is_removed_without_approval(pair, test_removals.delete_everybody),
    ),
    Fault(
        "a membership guarded whose account is gone",
        "entities/membership/openwebui/apply.sql.j2",
        '(SELECT u.id FROM public."user" AS u\n'
        "                          WHERE u.id = user_bridge.linked_id('user', m.user_id) OFFSET 0) AS a",
        "(SELECT coalesce(user_bridge.linked_id('user', m.user_id), 'gone') AS id) AS a",
        lambda pair: test_removals.test_the_membership_of_an_account_that_is_gone_is_nobodys_loss(pair, "membership"),
    ),
    Fault(
        "a group guarded for accounts that are gone",
        "entities/group/openwebui/apply.sql.j2",
        '(SELECT u.id FROM public."user" AS u\n'
        "                          WHERE u.id = user_bridge.linked_id('user', m.user_id) OFFSET 0) AS a",
        "(SELECT coalesce(user_bridge.linked_id('user', m.user_id), 'gone') AS id) AS a",
        lambda pair: test_removals.test_the_membership_of_an_account_that_is_gone_is_nobodys_loss(pair, "group"),
    ),
    Fault(
        "backlog left to the drain",
        "engine/litellm/commit.sql.j2",
        "pg_sequence_last_value('user_bridge.backlog') > 1",
        "false",
        lambda pair: test_delivery.test_commits_empty_the_queue_little_by_little(pair),
    ),
    Fault(
        "commits wait for the backlog's rows",
        "engine/litellm/backlog.sql.j2",
        "FOR UPDATE OF q SKIP LOCKED",
        "FOR UPDATE OF q",
        _held_backlog,
    ),
    Fault(
        "everybody connects at once",
        "engine/litellm/target.sql.j2",
        "WHILE NOT pg_try_advisory_lock(c_gate) LOOP",
        "WHILE false LOOP",
        lambda pair: test_delivery.test_a_backend_does_not_wait_for_another_that_cannot_connect(pair),
    ),
    Fault(
        "a failing entity fails its whole drain",
        "engine/litellm/drain.sql.j2",
        "    ELSIF cardinality(p_ids) > 1 THEN",
        "    ELSIF false THEN",
        lambda pair: test_delivery.test_an_entity_that_fails_on_litellms_side_holds_up_no_other(pair),
    ),
    Fault(
        "a migrated target not noticed",
        "engine/litellm/drain.sql.j2",
        "    IF FOUND THEN\n        UPDATE user_bridge.sync_queue AS q SET next_attempt_at",
        "    IF false THEN\n        UPDATE user_bridge.sync_queue AS q SET next_attempt_at",
        lambda pair: test_delivery.test_what_failed_is_due_again_when_open_webui_has_been_migrated(pair),
    ),
    Fault(
        "members of a deleted team inherited",
        "entities/team/litellm/enqueue.sql.j2",
        "PERFORM user_bridge.enqueue_for_drain('team_roster', ARRAY[m.litellm_id])",
        "PERFORM 1",
        lambda pair: test_mapping.TestTeams().test_a_team_made_anew_unnoticed_has_its_new_members_only(pair),
    ),
    Fault(
        "what is queued reported as drift",
        "engine/litellm/reconcile.sql.j2",
        "WHERE NOT user_bridge.is_on_its_way(",
        "WHERE NOT false AND '' <> concat(",
        _queued_is_no_drift,
    ),
    Fault(
        "sums of both sides not compared",
        "engine/litellm/compare.sql.j2",
        "WHERE h.digest IS DISTINCT FROM t.digest",
        "WHERE h.digest IS NULL AND t.digest IS NULL",
        lambda pair: test_reconcile.test_without_repair_nothing_is_written_on_either_side(test_reconcile.sync(pair)),
    ),
    Fault(
        "accounts without a digest not told",
        "engine/openwebui/compare.sql.j2",
        "WHERE p.openwebui_id IS NOT NULL AND",
        "WHERE false AND",
        lambda pair: test_reconcile.test_disabled_accounts_are_compared_one_by_one(test_reconcile.sync(pair)),
    ),
    Fault(
        "rosters taken from the bridge's own books",
        "entities/membership/openwebui/state.sql.j2",
        "bool_and(f.is_there OR",
        "bool_and(true OR",
        lambda pair: test_reconcile.test_a_lost_membership_is_found_and_put_back(test_reconcile.sync(pair)),
    ),
]


def _adoption_of_a_disabled_account(pair: Pair) -> None:
    openwebui.add_account(pair, "old-id", "Ann@example.com")
    rows.add_user(pair.litellm, "u1", "ann@example.com")
    account = openwebui.account(pair, "ann@example.com")
    assert account is not None
    assert account["password"] == "their own hash"


def _on_the_oldest_open_webui(pair: Pair, test: Catch) -> None:
    with pairs.pair(pair.cluster, openwebui="old") as old:
        test(old)


def _in_the_west(pair: Pair) -> None:
    test_upkeep.move(pair, test_upkeep.WEST)
    pair.close()
    test_upkeep.test_a_key_expires_by_utc_whatever_the_servers_time_zone(pair)


def _a_copy(pair: Pair) -> None:
    test_installation.test_a_copy_only_queues_and_says_so(pair, test_installation.from_template)


def _from_another_place(pair: Pair, name: str) -> None:
    test_installation.test_only_the_owner_is_served(pair, test_installation.from_another_place(name), "UB006")


_which_of_several = test_accounts.TestWhichOfSeveral()


def _scarce(test: Catch) -> Catch:
    """A test of a server that has few locks."""

    def catch(pair: Pair) -> None:
        test_locks.make_scarce(pair)
        test(pair)

    return catch


_row = test_locks.TestALockedRow()
_advisory = test_locks.TestAnAdvisoryLock()
_budget = test_locks.TestLocksByBudget()
_too_long = test_locks.TestWhatTakesTooLong()
_huge = test_locks.TestHugeTexts()

LOCKS = [
    Fault(
        "only the first change after SET CONSTRAINTS ... IMMEDIATE is delivered",
        "*/litellm/*queue.sql.j2",
        "    IF v_wakes AND NOT v_found THEN\n        PERFORM set_config('user_bridge.woken', '', true);",
        "    IF v_found THEN\n        PERFORM set_config('user_bridge.woken', pg_current_xact_id()::text, true);",
        test_delivery.test_changes_after_set_constraints_immediate_are_delivered_too,
    ),
    Fault(
        "an item waits for a row as long as the request may",
        "engine/openwebui/door.sql.j2",
        "SET lock_timeout = '50ms' AS $body$",
        "AS $body$",
        _row.test_fails_its_item_alone,
    ),
    Fault(
        "a COMMIT waits for a locked table as long as the request may",
        "engine/openwebui/door.sql.j2",
        "ELSE least(v_stop, clock_timestamp() + interval '50 milliseconds') END",
        "ELSE v_stop END",
        lambda pair: test_hard_ceiling.test_a_table_locked_for_a_minute_costs_a_moment_each_backoff(pair, "user"),
    ),
    Fault(
        "rights of whoever has no account differ",
        "engine/litellm/reconcile.sql.j2",
        "AND user_bridge.waits_for_followed(x.entity_type, x.entity_id)",
        "AND false",
        test_reconcile.test_rights_of_who_is_skipped_are_no_difference,
    ),
    Fault(
        "a limit for transactions ends the drainer",
        "engine/litellm/drainer.sql.j2",
        "set_config('transaction_timeout', '0', false)",
        "set_config('transaction_timeout', c_timeout, false)",
        _from_17(_drainer(test_drainer.test_a_limit_for_transactions_is_for_others)),
    ),
    Fault(
        "each item of a request waits anew",
        "engine/openwebui/locks.sql.j2",
        "PERFORM set_config('lock_timeout', '1ms', true);",
        "NULL;",
        _row.test_many_of_them_cost_hardly_more_than_one,
    ),
    Fault(
        "a locked row has the pause of an error",
        "engine/litellm/outcome.sql.j2",
        "CASE WHEN p_sqlstate IN ('55P03', '40P01')",
        "CASE WHEN false",
        _row.test_fails_its_item_alone,
    ),
    Fault(
        "one locked row of the journal keeps all of it",
        "engine/openwebui/journal.sql.j2",
        "FOR UPDATE SKIP LOCKED",
        "FOR UPDATE",
        _row.test_of_the_journal_is_confirmed_later,
    ),
    Fault(
        "each entry of the journal is looked for among all",
        "engine/openwebui/journal.sql.j2",
        "l.entity_type = c.type AND l.entity_id = c.id",
        "concat(l.entity_type) = c.type AND concat(l.entity_id) = c.id",
        test_delivery.test_a_journal_of_thousands_is_emptied,
    ),
    Fault(
        "one locked row keeps every password from expiring",
        "entities/user/openwebui/sign_in.sql.j2",
        "FOR UPDATE OF e, a SKIP LOCKED",
        "FOR UPDATE OF e, a",
        _row.test_does_not_keep_the_passwords_of_others_from_expiring,
    ),
    Fault(
        "one entity that is not free keeps its whole transaction",
        "engine/litellm/deliver.sql.j2",
        "WHERE k.ord <= v_locked.last AND k.ord <> ALL (v_locked.busy);",
        "WHERE k.ord <= v_locked.last AND v_locked.busy = '{}';",
        _advisory.test_of_an_open_drain_leaves_the_others_free,
    ),
    Fault(
        "what another session delivers is in the way of the rest",
        "engine/litellm/drain.sql.j2",
        "        v_place := v_batch.place;\n",
        "",
        _advisory.test_of_an_open_drain_leaves_the_others_free,
    ),
    Fault(
        "a pause for rows that another session keeps",
        "engine/litellm/outcome.sql.j2",
        "FOR UPDATE SKIP LOCKED) AS f\n",
        "FOR UPDATE) AS f\n",
        _advisory.test_of_an_open_drain_leaves_the_others_free,
    ),
    Fault(
        "what is locked with an entity is taken to be what it was",
        "engine/litellm/locks.sql.j2",
        "pg_current_snapshot()::text = v_snapshot THEN",
        "true THEN",
        _advisory.test_is_not_taken_for_what_has_changed_while_it_was_waited_for,
    ),
    Fault(
        "every write waits for a lock that nobody gives back",
        "engine/litellm/locks.sql.j2",
        "PERFORM user_bridge.lose_patience() WHERE v_waited;",
        "NULL;",
        _advisory.test_is_waited_for_once_and_not_by_each_write,
    ),
    *(
        Fault(
            f"locks that anybody can compute: {which}",
            path,
            old,
            "coalesce(NULL::bytea, '')",
            _advisory.test_cannot_be_computed_by_others,
        )
        for which, path, old in (
            ("of entities", "engine/litellm/locks.sql.j2", "coalesce(k.key, '')"),
            (
                "by a name",
                "engine/litellm/locks.sql.j2",
                "coalesce((SELECT k.key FROM user_bridge.identity_key AS k), '')",
            ),
            (
                "of Open WebUI",
                "engine/openwebui/ownership.sql.j2",
                "coalesce((SELECT k.key FROM user_bridge.owner_key AS k), '')",
            ),
        )
    ),
    Fault(
        "the removal guard's lock keeps everything",
        "engine/openwebui/door.sql.j2",
        "SET lock_timeout = '50ms' AS $body$",
        "AS $body$",
        _advisory.test_of_the_removal_guard_fails_removals_alone,
    ),
    Fault(
        "a COMMIT takes as many locks as it has entities",
        "engine/litellm/locks.sql.j2",
        "v_free := greatest(0, least(p_wanted, v_free));",
        "v_free := p_wanted;",
        _scarce(_budget.test_a_large_transaction_is_left_to_the_drain_in_batches),
    ),
    Fault(
        "a lock that many need counts for each of them",
        "engine/litellm/locks.sql.j2",
        "count(*) FILTER (WHERE k.is_first)",
        "count(*)",
        _scarce(_budget.test_a_lock_that_many_need_counts_once),
    ),
    Fault(
        "each delivery of a transaction has a budget of its own",
        "engine/litellm/locks.sql.j2",
        "IF v_state[1] IS DISTINCT FROM v_transaction THEN",
        "IF true THEN",
        _scarce(_budget.test_deliveries_within_one_transaction_count_together),
    ),
    Fault(
        "each transaction has a budget of its own",
        "engine/litellm/locks.sql.j2",
        "'slot ' || (pg_backend_pid() + v_state[4]::integer) % c_slots",
        "'slot ' || pg_backend_pid() || v_state[4]",
        _scarce(_budget.test_transactions_share_what_there_is),
    ),
    Fault(
        "a slow entity is taken for a target that does not answer",
        "engine/litellm/drain.sql.j2",
        "OR v_state = 'UB002' AND NOT user_bridge.target_answers(s) THEN",
        "OR v_state = 'UB002' THEN",
        _too_long.test_is_told_from_a_target_that_does_not_answer,
    ),
    Fault(
        "a drain reaches the timeout of its statement",
        "engine/litellm/commit.sql.j2",
        "user_bridge.session_timeout('statement_timeout', statement_timestamp())",
        "NULL::timestamptz",
        _too_long.test_a_statement_timeout_of_a_drain_is_not_reached,
    ),
    Fault(
        "a local delay opens the breaker",
        "engine/litellm/target.sql.j2",
        "USING ERRCODE = 'UB010', MESSAGE = 'no time was left",
        "USING ERRCODE = 'UB002', MESSAGE = 'no time was left",
        _too_long.test_nothing_is_sent_after_the_deadline,
    ),
    *(
        Fault(
            f"a huge {column} is sent whole",
            path,
            old,
            new,
            functools.partial(_huge.test_of_a_user_arrive_cut, column=column, value=value),
        )
        for column, value, path, old, new in (
            (
                "user_alias",
                f"repeat('x', {test_locks.HUGE})",
                "engine/litellm/texts.sql.j2",
                "left(p_text, 255)",
                "p_text",
            ),
            (
                "user_role",
                f"repeat('x', {test_locks.HUGE})",
                "entities/user/litellm/desired.sql.j2",
                "'original_role', user_bridge.shown(u.user_role)",
                "'original_role', u.user_role",
            ),
        )
    ),
    Fault(
        "a member whose id is too long keeps all others out",
        "entities/membership/litellm/enqueue.sql.j2",
        "WHERE length(c.user_id) <= 255",
        "WHERE true",
        _huge.test_of_members_keep_nobody_else_out,
    ),
    Fault(
        "the models of a key are mapped whole",
        "engine/litellm/texts.sql.j2",
        "IF pg_column_size(p_texts) < 10000 THEN",
        "IF true THEN",
        _huge.test_of_a_key_are_mapped_cut,
    ),
]

FAULTS += LOCKS + [
    Fault(
        "an approval lost between the queue and Open WebUI",
        "engine/litellm/deliver.sql.j2",
        "'approvals', jsonb_agg(DISTINCT a.id) FILTER (WHERE a.id IS NOT NULL)",
        "'approvals', NULL",
        test_removal_counting.test_a_commit_does_not_park_an_approved_removal_again,
    ),
    Fault(
        "the upkeep forgets the parked removal of a disabled person",
        "engine/litellm/held_changes.sql.j2",
        "AND d.desired IS NOT NULL AND d.desired -> 'disabled' IS DISTINCT FROM 'true'::jsonb",
        "AND d.desired IS NOT NULL",
        test_removal_counting.test_the_upkeep_keeps_the_parked_removal_of_a_disabled_person,
    ),
    Fault(
        "grants of a deleted account stay",
        "entities/user/openwebui/retire.sql.j2",
        "PERFORM user_bridge.delete_grants('user', p_account);",
        "NULL;",
        test_accounts.test_a_deleted_account_takes_its_grants_along_and_no_others,
    ),
    Fault(
        "grants of a group with the id of a deleted account go",
        "engine/openwebui/catalog.sql.j2",
        "WHERE a.principal_type = p_principal_type AND a.principal_id",
        "WHERE p_principal_type IS NOT NULL AND a.principal_id",
        test_accounts.test_a_deleted_account_takes_its_grants_along_and_no_others,
    ),
    Fault(
        "every session of LiteLLM opens a connection",
        "engine/litellm/commit.sql.j2",
        "OR NOT user_bridge.may_connect(s) THEN",
        "THEN",
        test_connections.test_sessions_beyond_the_limit_leave_their_changes_to_the_drain,
    ),
    Fault(
        "no connection is left for the drain",
        "engine/litellm/slots.sql.j2",
        "greatest(1, s.sync_connection_limit - c_others)",
        "s.sync_connection_limit",
        test_connections.test_sessions_beyond_the_limit_leave_their_changes_to_the_drain,
    ),
    Fault(
        "a session that drains may not deliver what it commits",
        "engine/litellm/slots.sql.j2",
        "ELSIF NOT user_bridge.is_connected() THEN",
        "ELSIF true THEN",
        test_connections.test_whoever_has_a_connection_uses_it,
    ),
    Fault(
        "a connection without a place is kept",
        "engine/litellm/slots.sql.j2",
        "PERFORM user_bridge.disconnect();",
        "NULL;",
        test_connections.test_a_connection_without_a_place_is_given_back_to_the_drainer,
    ),
    Fault(
        "a refused connection opens the breaker",
        "engine/litellm/outcome.sql.j2",
        "    ELSIF c_code IN ('UB001', 'UB002') THEN",
        "    END IF;\n    IF c_code IN ('UB001', 'UB002') THEN",
        test_connections.test_a_session_that_gets_no_connection_does_not_stop_the_others,
    ),
    Fault(
        "the audit is never cut",
        "engine/litellm/upkeep.sql.j2",
        "WHERE a.created_at < now() - make_interval",
        "WHERE false AND a.created_at < now() - make_interval",
        test_upkeep.test_the_audit_is_cut_at_its_retention,
    ),
    Fault(
        "the audit is cut too early",
        "engine/litellm/upkeep.sql.j2",
        "make_interval(days => s.audit_retention_days)",
        "make_interval(hours => s.audit_retention_days)",
        test_upkeep.test_the_audit_is_cut_at_its_retention,
    ),
    Fault(
        "upkeep while paused",
        "engine/litellm/maintenance.sql.j2",
        "NOT user_bridge.is_paused(s) AND",
        "true AND",
        test_upkeep.test_while_paused_only_the_audit_is_cut_and_counted,
    ),
    Fault(
        "keys expire in the session's time zone",
        "entities/api_key/litellm/follow.sql.j2",
        "timezone('UTC', clock_timestamp())",
        "clock_timestamp()",
        _in_the_west,
    ),
    Fault(
        "an address moved in user and not in auth",
        "entities/user/openwebui/apply.sql.j2",
        "UPDATE public.auth AS a SET email = user_bridge.placeholder_email('moved', a.id)",
        "UPDATE public.auth AS a SET email = a.email",
        test_accounts.test_an_address_given_to_somebody_else_is_nobody_elses_for_signing_in,
    ),
    Fault(
        "any of several accounts whatever its spelling",
        "entities/user/openwebui/adopt.sql.j2",
        "ORDER BY u.email = p_want ->> 'email' DESC, u.created_at, u.id",
        "ORDER BY u.created_at, u.id",
        lambda pair: _on_the_oldest_open_webui(pair, _which_of_several.test_the_one_that_is_spelled_alike),
    ),
    Fault(
        "any of several accounts whatever its age",
        "entities/user/openwebui/adopt.sql.j2",
        "ORDER BY u.email = p_want ->> 'email' DESC, u.created_at, u.id",
        "ORDER BY u.email = p_want ->> 'email' DESC, u.id",
        lambda pair: _on_the_oldest_open_webui(pair, _which_of_several.test_else_the_oldest),
    ),
    Fault(
        "any of several accounts of one age",
        "entities/user/openwebui/adopt.sql.j2",
        "ORDER BY u.email = p_want ->> 'email' DESC, u.created_at, u.id",
        "ORDER BY u.email = p_want ->> 'email' DESC, u.created_at, u.id DESC",
        lambda pair: _on_the_oldest_open_webui(pair, _which_of_several.test_else_by_id),
    ),
    Fault(
        "initial_password_admins ignored at promotion",
        "entities/user/openwebui/sign_in.sql.j2",
        "p_want ->> 'role' = 'admin' AND NOT (p_options ->> 'initial_password_admins')::boolean",
        "p_want ->> 'role' = 'admin'",
        test_accounts.test_an_admin_keeps_the_initial_password_where_admins_may_have_one,
    ),
    Fault(
        "an unknown transaction's deliveries not sent again",
        "engine/litellm/journal.sql.j2",
        "IN ('aborted', 'unknown')",
        "IN ('aborted')",
        test_queue_rules.test_what_an_unknown_transaction_delivered_is_sent_again,
    ),
    Fault(
        "time budget ignored",
        "engine/openwebui/door.sql.j2",
        "WHEN v_begun + v_longest < v_stop\n",
        "WHEN true\n",
        test_queue_rules.test_a_call_without_time_left_applies_nothing,
    ),
    Fault(
        "what was deferred counted as failed",
        "engine/litellm/deliver.sql.j2",
        "user_bridge.milliseconds_until(p_deadline) * 3 / 4",
        "user_bridge.milliseconds_until(p_deadline) * 4",
        test_queue_rules.test_what_there_is_no_time_for_stays_queued_and_is_no_failure,
    ),
    Fault(
        "the removal guard without its lock",
        "engine/openwebui/guard.sql.j2",
        "PERFORM pg_advisory_xact_lock(user_bridge.lock_key('removals'));",
        "NULL;",
        test_removal_counting.test_two_calls_at_once_count_together,
    ),
    Fault(
        "the removal guard forgets at once",
        "engine/openwebui/guard.sql.j2",
        "interval '10 minutes'",
        "interval '1 minute'",
        test_removal_counting.test_removals_of_the_last_nine_minutes_count,
    ),
    Fault(
        "the removal guard never forgets",
        "engine/openwebui/guard.sql.j2",
        "interval '10 minutes'",
        "interval '1 hour'",
        test_removal_counting.test_removals_of_eleven_minutes_ago_do_not_count,
    ),
    Fault(
        "pending accounts counted",
        "entities/user/openwebui/retire.sql.j2",
        "\n       AND u.role IS DISTINCT FROM 'pending'",
        "",
        test_removal_counting.test_accounts_that_nobody_can_use_yet_may_go_in_any_number,
    ),
    Fault(
        "hand-made memberships counted one by one",
        "entities/membership/openwebui/apply.sql.j2",
        "m.user_id = c_lost.user_id\n       AND m.written",
        "m.user_id = c_lost.user_id",
        lambda pair: test_removal_counting.test_memberships_that_an_admin_made_by_hand_are_not_counted(
            pair, test_removal_counting.leave
        ),
    ),
    Fault(
        "hand-made memberships counted with their group",
        "entities/group/openwebui/apply.sql.j2",
        "m.group_id = p_item ->> 'id' AND m.written",
        "m.group_id = p_item ->> 'id'",
        lambda pair: test_removal_counting.test_memberships_that_an_admin_made_by_hand_are_not_counted(
            pair, test_removal_counting.dissolve
        ),
    ),
    Fault(
        "memberships not counted with their group",
        "entities/group/openwebui/apply.sql.j2",
        "m.group_id = p_item ->> 'id' AND m.written",
        "m.group_id = p_item ->> 'id' AND NOT m.written",
        test_removal_counting.test_a_few_memberships_of_the_bridge_go_at_once_and_many_wait,
    ),
    Fault(
        "a membership reported as drift while its group is queued",
        "engine/litellm/dispatch.sql.j2",
        "('team', CASE p_type WHEN 'team_member' THEN p_id::jsonb ->> 0 END)",
        "('team', NULL)",
        lambda pair: test_queue_rules.test_a_membership_is_no_drift_while_what_it_depends_on_is_queued(
            pair, test_queue_rules.queue_the_group
        ),
    ),
    Fault(
        "a membership reported as drift while its user is queued",
        "engine/litellm/dispatch.sql.j2",
        "('user', CASE p_type WHEN 'team_member' THEN p_id::jsonb ->> 1 END)",
        "('user', NULL)",
        lambda pair: test_queue_rules.test_a_membership_is_no_drift_while_what_it_depends_on_is_queued(
            pair, test_queue_rules.queue_the_user
        ),
    ),
    Fault(
        "a partial repair starts the count of faults anew",
        "engine/litellm/reconcile.sql.j2",
        "IF repair AND p_types IS NULL AND v_faults",
        "IF repair AND v_faults",
        test_queue_rules.test_only_a_repair_of_everything_starts_the_count_of_faults_anew,
    ),
    Fault(
        "a fault during a repair forgotten",
        "engine/litellm/reconcile.sql.j2",
        "AND v_faults = (SELECT f.last_value FROM user_bridge.trigger_faults AS f)",
        "",
        test_queue_rules.test_a_fault_during_a_repair_counts_on,
    ),
    Fault(
        "a second fault fails the write",
        "engine/litellm/commit.sql.j2",
        "        NULL;  -- The rows stay queued, without a reason",
        "        RAISE;  -- The rows stay queued, without a reason",
        test_queue_rules.test_a_fault_in_the_handling_of_a_fault_fails_no_write,
    ),
    Fault(
        "a refusing target leaves the breaker closed",
        "engine/litellm/outcome.sql.j2",
        "ELSIF c_code IN ('UB001', 'UB002') THEN",
        "ELSIF c_code = 'UB002' THEN",
        test_queue_rules.test_a_target_that_refuses_is_left_alone_for_the_pause,
    ),
    Fault(
        "a new team delivers its new members twice",
        "engine/litellm/deliver.sql.j2",
        "WHERE NOT (cardinality(p_txids) = 1 AND",
        "WHERE NOT (cardinality(p_txids) = 0 AND",
        test_queue_rules.test_a_new_team_delivers_its_new_members_once,
    ),
    Fault(
        "each batch reads all that its transaction queued",
        "engine/litellm/pick.sql.j2",
        "    IF cardinality(p_txids) <= 8 THEN\n        RETURN QUERY",
        "    IF false THEN\n        RETURN QUERY",
        _queued(
            lambda pair: test_picking.test_rows_of_a_batch_are_found_without_all_that_its_transaction_queued(pair, True)
        ),
    ),
    Fault(
        "failing entities first",
        "engine/litellm/pick.sql.j2",
        "IF c_due_first = (v_turn = 1) THEN",
        "IF v_turn = 1 THEN",
        test_queue_rules.test_a_drain_takes_what_never_failed_first_and_of_that_the_oldest,
    ),
    Fault(
        "a pause without an end",
        "engine/litellm/outcome.sql.j2",
        "least(3600, p_backoff_seconds * 2.0 ^ least(p_attempts, 12))",
        "p_backoff_seconds * 2.0 ^ least(p_attempts, 12)",
        test_queue_rules.test_the_pause_after_a_failure_is_an_hour_at_most,
    ),
    Fault(
        "what a delivery finds out left to the drain",
        "engine/litellm/queue.sql.j2",
        "    IF FOUND THEN\n        PERFORM user_bridge.note_backlog();",
        "    IF false THEN\n        PERFORM user_bridge.note_backlog();",
        test_queue_rules.test_what_a_delivery_finds_out_is_left_to_the_next_commit,
    ),
    Fault(
        "many at once fails for a membership that waits",
        "entities/membership/openwebui/bulk.sql.j2",
        "coalesce((i.target, i.account) IN (SELECT a.target, a.account FROM added AS a), false)",
        "(i.target, i.account) IN (SELECT a.target, a.account FROM added AS a)",
        test_queue_rules.test_many_new_accounts_and_memberships_are_a_few_statements,
    ),
    Fault(
        "an account counted for each thing it loses",
        "engine/openwebui/guard.sql.j2",
        "EXCEPT SELECT unnest(v_gone)",
        "EXCEPT ALL SELECT unnest(v_gone)",
        test_removal_counting.test_a_few_memberships_of_the_bridge_go_at_once_and_many_wait,
    ),
    Fault(
        "the youngest first",
        "engine/litellm/pick.sql.j2",
        "ORDER BY q.txid, q.entity_type, q.entity_id",
        "ORDER BY q.txid DESC, q.entity_type DESC, q.entity_id DESC",
        test_queue_rules.test_a_drain_takes_what_never_failed_first_and_of_that_the_oldest,
    ),
    Fault(
        "the last admin deleted with the bridge's data",
        "entities/user/openwebui/retire.sql.j2",
        "p_link.origin = 'adopted' OR user_bridge.is_last_admin(p_link.openwebui_id)",
        "p_link.origin = 'adopted'",
        test_removal_counting.test_remove_data_keeps_the_last_admin_although_the_bridge_made_it,
    ),
    *(Fault(*row) for row in ADOPTION),
    *(Fault(*row) for row in PREFIX),
    *(Fault(*row) for row in HEALING),
    *(Fault(*row) for row in LOAD),
    *(Fault(*row) for row in LOSSES),
    *(Fault(*row) for row in INITIAL_PASSWORDS),
    *(Fault(*row) for row in SURROUNDINGS),
    Fault(
        "the guard counts all kinds together",
        "engine/openwebui/guard.sql.j2",
        "WHERE r.kind || ' ' = p_kind || ' ' AND r.removed_at >=",
        "WHERE r.removed_at >=",
        test_held_changes.test_each_kind_of_loss_has_a_limit_of_its_own,
    ),
    Fault(
        "a membership that is back still counts",
        "entities/membership/openwebui/apply.sql.j2",
        "PERFORM user_bridge.uncount_removals('membership', v_accounts, v_group);",
        "",
        test_held_changes.test_who_is_back_in_the_team_keeps_nobody_else_in_another,
    ),
    Fault(
        "any membership makes up for a lost one",
        "engine/openwebui/guard.sql.j2",
        "AND n.group_id = p_group",
        "",
        test_held_changes.test_another_team_is_not_what_was_lost,
    ),
    Fault(
        "one member who is back makes up for all",
        "engine/openwebui/guard.sql.j2",
        "AND n.account = ANY (p_accounts) AND",
        "AND",
        test_held_changes.test_only_what_is_back_no_longer_counts,
    ),
    Fault(
        "who is enabled again still counts as disabled",
        "entities/user/openwebui/apply.sql.j2",
        "PERFORM user_bridge.uncount_removals('disabling', ARRAY[p_account], '');",
        "",
        test_held_changes.test_who_is_enabled_again_keeps_nobody_else_in,
    ),
    Fault(
        "a held membership outlives its user",
        "engine/litellm/outcome.sql.j2",
        "    IF v_gone <> '[]' THEN\n        PERFORM user_bridge.release_orphaned(",
        "    IF false THEN\n        PERFORM user_bridge.release_orphaned(",
        lambda pair: test_held_changes.test_a_held_membership_goes_with_its_user_or_team(pair, "user"),
    ),
    Fault(
        "the last batch of a wave passes",
        "engine/openwebui/guard.sql.j2",
        "WHERE n.kind = p_kind AND n.last_at >= c_queued_at",
        "WHERE false",
        lambda pair: test_held_changes.test_the_last_batch_of_a_wave_is_held_with_the_others(pair, "nothing"),
    ),
    Fault(
        "an incident holds what comes after it",
        "engine/openwebui/guard.sql.j2",
        "n.last_at >= c_queued_at",
        "true",
        lambda pair: test_held_changes.test_what_is_held_does_not_count_against_who_goes_later(pair, 500),
    ),
    Fault(
        "what was queued before an incident counts against what comes after it",
        "engine/litellm/held_changes.sql.j2",
        "AND q.enqueued_at > p_since;",
        ";",
        test_held_changes.test_who_goes_later_is_no_part_of_a_wave_that_is_still_queued,
    ),
    Fault(
        "an admin whose removal is held stays admin",
        "engine/openwebui/guard.sql.j2",
        "v_flows := user_bridge.while_held(p_link);",
        "",
        lambda pair: test_held_changes.test_the_admin_role_goes_at_once(pair, test_held_changes.at_once),
    ),
    Fault(
        "the last admin is demoted while the removal is held",
        "entities/user/openwebui/retire.sql.j2",
        "    IF NOT user_bridge.is_last_admin(p_link.openwebui_id) THEN\n        -- Not to pending",
        "    IF true THEN\n        -- Not to pending",
        test_held_changes.test_the_last_admins_role_does_not,
    ),
    Fault(
        "an admin whose removal is held becomes one again by a page",
        "engine/litellm/lookout.sql.j2",
        "user_bridge.deliver_held_again(v_types, v_ids) + (",
        "(",
        lambda pair: test_held_changes.test_the_admin_role_that_a_page_brings_back_goes_again(
            pair, test_held_changes.at_once
        ),
    ),
    Fault(
        "what is rejected happens when a page has changed the account",
        "engine/openwebui/guard.sql.j2",
        "    SELECT user_bridge.is_removal(p_item) AND coalesce(p_item -> 'rejected' = 'true', false)",
        "    SELECT false",
        lambda pair: test_held_changes.test_a_page_does_not_undo_that_a_removal_was_rejected(
            pair, test_held_changes.disabled_at_once
        ),
    ),
    Fault(
        "what is rejected stays whatever LiteLLM says later",
        "engine/litellm/deliver.sql.j2",
        "bool_and(q.heals AND EXISTS (",
        "bool_and(EXISTS (",
        test_held_changes.test_a_rejected_disabling_is_asked_again_when_litellm_changes_the_user,
    ),
    Fault(
        "to reject another change keeps somebody in",
        "engine/litellm/held_changes.sql.j2",
        " AND h.kind IN ('deletion', 'disabling', 'membership', 'last_admin')",
        "",
        test_held_changes.test_to_reject_the_move_of_an_email_keeps_nobody_in,
    ),
    Fault(
        "a rejection outlasts a delivery of which something is held",
        "engine/litellm/held_changes.sql.j2",
        "o.status IN ('SUCCESS', 'SKIPPED', 'WARNING') AND o.rejected IS NOT TRUE",
        "o.status IN ('SUCCESS', 'SKIPPED') AND o.rejected IS NOT TRUE",
        test_held_changes.test_a_rejection_ends_with_the_next_delivery_whatever_is_held_of_that,
    ),
    Fault(
        "a rejection is forgotten with the first page that changes the account",
        "engine/litellm/held_changes.sql.j2",
        " AND o.rejected IS NOT TRUE",
        "",
        lambda pair: test_held_changes.test_a_page_does_not_undo_that_a_removal_was_rejected(
            pair, test_held_changes.at_once
        ),
    ),
    Fault(
        "what is rejected of an admin happens at the next lookout",
        "engine/litellm/outcome.sql.j2",
        "PERFORM user_bridge.record_parked(p_outcomes);",
        "NULL;",
        lambda pair: test_held_changes.test_what_is_rejected_of_an_admin_does_not_happen_by_itself(
            pair, test_held_changes.disabled_at_once
        ),
    ),
    Fault(
        "an error that is handled ends LiteLLM's session",
        "*/litellm/*",
        "SET exit_on_error = off",
        "",
        test_settings_of_others.test_an_error_that_is_handled_ends_no_session,
    ),
    Fault(
        "members leave a group that is held one by one",
        "engine/openwebui/guard.sql.j2",
        "IF c_group_type IS NOT NULL THEN",
        "IF false THEN",
        test_held_changes.test_members_of_a_group_that_is_held_do_not_leave_it_one_by_one,
    ),
    Fault(
        "an approval covers what has grown since",
        "engine/openwebui/held.sql.j2",
        " AND p_accounts <@ h.accounts AND p_details = h.details);",
        " AND p_details = h.details);",
        test_held_changes.test_what_has_grown_since_is_held_again,
    ),
    Fault(
        "an approval covers anything",
        "engine/openwebui/held.sql.j2",
        " AND p_details = h.details);",
        ");",
        test_held_changes.test_who_approved_that_accounts_are_disabled_did_not_approve_that_they_are_deleted,
    ),
    Fault(
        "any approval will do",
        "engine/openwebui/held.sql.j2",
        "p_item -> 'approvals' @> to_jsonb(h.id) AND",
        "",
        test_held_changes.test_a_held_row_is_approved_by_its_id_and_for_what_it_says,
    ),
    Fault(
        "what is approved waits for a minute",
        "engine/litellm/held_changes.sql.j2",
        "parked_at = NULL, next_attempt_at = clock_timestamp()",
        "parked_at = NULL, next_attempt_at = NULL",
        _queued(lambda pair: test_picking.test_what_is_made_due_is_not_passed_over(pair, "approved")),
    ),
    Fault(
        "what nothing holds any more waits for a minute",
        "engine/litellm/outcome.sql.j2",
        "SET parked_at = NULL, next_attempt_at = clock_timestamp()",
        "SET parked_at = NULL, next_attempt_at = NULL",
        _queued(lambda pair: test_picking.test_what_is_made_due_is_not_passed_over(pair, "group is gone")),
    ),
    Fault(
        "one approval approves all",
        "engine/litellm/held_changes.sql.j2",
        "h.parked_at IS NOT NULL AND (e ->> 'id')::bigint = ANY (v_ids)",
        "h.parked_at IS NOT NULL",
        test_held_changes.test_an_approval_names_what_it_approves,
    ),
    Fault(
        "an unknown id is passed over",
        "engine/litellm/held_changes.sql.j2",
        "IF v_unknown <> '{}' THEN",
        "IF false THEN",
        lambda pair: test_held_changes.test_an_unknown_id_is_refused_by_name_and_changes_nothing(pair, "approve"),
    ),
    Fault(
        "one rejection rejects all",
        "engine/litellm/held_changes.sql.j2",
        "(e ->> 'id')::bigint <> ALL (v_ids))",
        "false)",
        test_held_changes.test_what_is_rejected_stays_and_is_reported,
    ),
    Fault(
        "an approval does not outlive a failure",
        "engine/litellm/outcome.sql.j2",
        "approvals = CASE WHEN o.waits THEN '{}' ELSE q.approvals END,",
        "approvals = '{}',",
        test_held_changes.test_an_approval_outlives_a_failure,
    ),
    Fault(
        "what was held of who is back stays listed",
        "engine/litellm/outcome.sql.j2",
        "    PERFORM user_bridge.supersede_held(p_outcomes);\n",
        "",
        test_held_changes.test_a_newer_delivery_settles_what_was_held,
    ),
    Fault(
        "Open WebUI's side remembers what is no longer held",
        "engine/openwebui/door.sql.j2",
        "PERFORM user_bridge.forget_held(p_item, v_outcome -> 'held');",
        "NULL;",
        test_held_changes.test_a_newer_delivery_settles_what_was_held,
    ),
    Fault(
        "an info that jsonb cannot hold is an error",
        "engine/openwebui/catalog.sql.j2",
        "EXCEPTION WHEN OTHERS THEN",
        "EXCEPTION WHEN invalid_text_representation THEN",
        lambda pair: test_unreadable_json.test_nobody_escapes_by_the_own_info(pair, "NUL"),
    ),
    Fault(
        "an info is read however long it is",
        "engine/openwebui/catalog.sql.j2",
        "IF pg_column_size(p_value) > c_limit THEN",
        "IF false THEN",
        test_unreadable_json.test_an_info_that_takes_long_to_read_is_replaced_unread,
    ),
    Fault(
        "the whole row of a group read",
        "entities/group/openwebui/state.sql.j2",
        "CASE WHEN g.id IS NOT NULL THEN",
        "CASE WHEN to_jsonb(g) ->> 'id' IS NOT NULL THEN",
        lambda pair: test_unreadable_json.test_a_group_that_cannot_be_read_stops_nothing(pair, "NUL"),
    ),
    Fault(
        "one state that cannot be read fails a portion's sums",
        "engine/openwebui/compare.sql.j2",
        "RETURN jsonb_build_array(jsonb_build_object('odd', p_links[1].entity_id));",
        "RAISE;",
        test_unreadable_json.test_an_entity_whose_state_cannot_be_read_is_a_difference_of_its_own,
    ),
    Fault(
        "a preview that fails fails the others",
        "engine/openwebui/preview.sql.j2",
        "EXCEPTION WHEN OTHERS THEN\n    GET",
        "EXCEPTION WHEN too_many_rows THEN\n    GET",
        test_unreadable_json.test_an_entity_whose_state_cannot_be_read_is_a_difference_of_its_own,
    ),
    Fault(
        "a preview that fails is no difference",
        "engine/litellm/reconcile.sql.j2",
        "WHERE p_preview ->> 'status' = 'FAILED'",
        "WHERE false",
        test_unreadable_json.test_an_entity_whose_state_cannot_be_read_is_a_difference_of_its_own,
    ),
    Fault(
        "what cannot be deleted keeps all the bridge's data",
        "engine/openwebui/remove_data.sql.j2",
        "EXCEPTION WHEN OTHERS THEN",
        "EXCEPTION WHEN too_many_rows THEN",
        test_unreadable_json.test_remove_data_goes_past_what_cannot_be_deleted,
    ),
    Fault(
        "a mark of the bridge that a role has set is believed",
        "*/litellm/*queue.sql.j2",
        "current_setting('user_bridge.woken', true) IS DISTINCT FROM pg_current_xact_id()::text",
        "coalesce(current_setting('user_bridge.woken', true), '') = ''",
        lambda pair: test_settings_of_others.test_a_mark_of_the_bridge_that_a_role_has_set_delays_nothing(pair),
    ),
    Fault(
        "items are applied in an old snapshot",
        "engine/openwebui/door.sql.j2",
        "NOT IN ('read committed', 'read uncommitted')",
        "NOT IN ('read committed', 'read uncommitted', 'repeatable read')",
        lambda pair: test_settings_of_others.test_nothing_is_applied_in_a_snapshot_older_than_its_locks(pair),
    ),
    Fault(
        "what was taken away is not remembered",
        "entities/membership/openwebui/withdrawn.sql.j2",
        "PERFORM user_bridge.remember_withdrawn(",
        "PERFORM format('%s%s%s%s%s', ",
        lambda pair: test_stale_pages.test_a_membership_that_a_page_brings_back_is_taken_again(
            test_stale_pages.team(pair), test_stale_pages.look_out
        ),
    ),
    Fault(
        "the lookout misses what was brought back",
        "engine/litellm/lookout.sql.j2",
        "SELECT * FROM user_bridge.target_returned(s)\n             UNION\n",
        "",
        lambda pair: test_stale_pages.test_a_membership_that_a_page_brings_back_is_taken_again(
            test_stale_pages.team(pair), test_stale_pages.look_out
        ),
    ),
    Fault(
        "reconcile misses what was brought back",
        "engine/litellm/compare.sql.j2",
        "WHERE p_types IS NULL OR r.entity_type = ANY (p_types)",
        "WHERE false",
        lambda pair: test_stale_pages.test_a_membership_that_a_page_brings_back_is_taken_again(
            test_stale_pages.team(pair), test_stale_pages.repair
        ),
    ),
    Fault(
        "a group's delivery leaves what was brought back",
        "entities/membership/openwebui/apply.sql.j2",
        "w.kind || ' ' || w.object_id = 'membership ' || user_bridge.linked_id(p_group_type, p_group_id)",
        "false",
        lambda pair: test_stale_pages.test_a_membership_that_a_page_brings_back_is_taken_again(
            test_stale_pages.team(pair), test_stale_pages.next_delivery_of_the_group
        ),
    ),
    Fault(
        "a user's delivery leaves what was brought back",
        "entities/membership/openwebui/apply.sql.j2",
        "w.kind || ' ' || w.holder_id = 'membership ' || p_account",
        "false",
        lambda pair: test_stale_pages.test_a_membership_that_a_page_brings_back_is_taken_again(
            test_stale_pages.team(pair), test_stale_pages.next_delivery_of_the_user
        ),
    ),
    Fault(
        "a membership's delivery leaves what was brought back",
        "entities/membership/openwebui/apply.sql.j2",
        "w.entity_type = p_link.entity_type AND w.entity_id = p_link.entity_id",
        "false",
        lambda pair: test_stale_pages.test_a_membership_that_a_page_brings_back_is_taken_again(
            test_stale_pages.team(pair), test_stale_pages.next_delivery_of_the_membership
        ),
    ),
    Fault(
        "what LiteLLM wants again stays remembered",
        "entities/membership/openwebui/apply.sql.j2",
        "DELETE FROM user_bridge.withdrawn AS w WHERE w.ctid",
        "UPDATE user_bridge.withdrawn AS w SET since = w.since WHERE w.ctid",
        lambda pair: test_stale_pages.test_what_litellm_wants_again_is_no_longer_remembered(
            test_stale_pages.team(pair), page_first=False, in_bulk=False
        ),
    ),
    Fault(
        "what was brought back counts as made by hand",
        "entities/membership/openwebui/apply.sql.j2",
        "SELECT a.holder_id FROM wanted_again AS a;",
        "SELECT a.holder_id FROM wanted_again AS a WHERE false;",
        lambda pair: test_stale_pages.test_what_litellm_wants_again_is_no_longer_remembered(
            test_stale_pages.team(pair), page_first=True, in_bulk=True
        ),
    ),
    Fault(
        "memberships of a deleted account are not remembered",
        "entities/user/openwebui/retire.sql.j2",
        "PERFORM user_bridge.withdraw_member(w.member, w.target, p_account)",
        "PERFORM user_bridge.remove_members(w.target, ARRAY[p_account])",
        lambda pair: test_stale_pages.test_an_account_that_was_deleted_and_comes_back_is_in_no_group_of_before(
            test_stale_pages.team(pair)
        ),
    ),
    Fault(
        "a deleted member still listed keeps what was brought back",
        "entities/membership/openwebui/state.sql.j2",
        "AND NOT returned.is_true",
        "",
        lambda pair: test_stale_pages.test_an_account_that_stands_for_nobody_any_more_comes_back_into_no_group(
            pair, "keep"
        ),
    ),
    Fault(
        "nothing taken away is ever forgotten",
        "engine/openwebui/withdrawn.sql.j2",
        "interval '30 days'",
        "interval '30 years'",
        lambda pair: test_stale_pages.test_what_was_taken_away_is_forgotten_after_a_month(test_stale_pages.team(pair)),
    ),
    Fault(
        "the lookout misses members who were taken out",
        "entities/membership/openwebui/marks.sql.j2",
        "THEN 0 ELSE 1 END",
        "THEN 0 ELSE 0 END",
        lambda pair: test_stale_pages.test_a_membership_that_a_page_takes_out_is_written_again(
            test_stale_pages.team(pair), test_stale_pages.look_out
        ),
    ),
    Fault(
        "the lookout misses accounts that were enabled",
        "entities/user/openwebui/state.sql.j2",
        "WHEN NOT a.active AND u.role = 'pending' THEN 'closed'",
        "WHEN NOT a.active THEN 'closed'",
        lambda pair: test_stale_pages.test_a_disabled_account_that_a_page_enables_is_disabled_again(
            test_stale_pages.team(pair), {"metadata": {"scim_active": False}}, test_stale_pages.look_out
        ),
    ),
    Fault(
        "the lookout queues what is queued",
        "engine/litellm/lookout.sql.j2",
        "SELECT q.entity_type, q.entity_id FROM user_bridge.sync_queue AS q)",
        "SELECT q.entity_type, q.entity_id FROM user_bridge.sync_queue AS q WHERE false)",
        lambda pair: test_stale_pages.test_the_lookout_takes_members_in_portions_and_leaves_alone_what_is_queued(
            test_stale_pages.team(pair)
        ),
    ),
]

# Faults that show with an old Open WebUI only.
FAULTS += [
    Fault(
        "a copy delivers",
        "engine/litellm/identity.sql.j2",
        "ELSIF v_identity IS DISTINCT FROM v_here THEN",
        "ELSIF false THEN",
        _a_copy,
    ),
    Fault(
        "nobody says why a server's identity cannot be asked for",
        "engine/litellm/identity.sql.j2",
        "IF NOT has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE') THEN",
        "IF false THEN",
        lambda pair: test_installation.test_a_server_that_does_not_say_which_one_it_is(pair),
    ),
    Fault(
        "a page opens the account of somebody who is gone",
        "entities/user/openwebui/state.sql.j2",
        "u.id = e.made_id",
        "u.id = e.openwebui_id",
        _page_of_somebody_gone,
    ),
    Fault(
        "an account that somebody opened for good is closed",
        "entities/user/openwebui/state.sql.j2",
        "AND NOT a.active AND u.role IS DISTINCT FROM 'pending'",
        "AND u.role IS DISTINCT FROM 'pending'",
        _page_of_somebody_gone,
    ),
    Fault(
        "a copy is known by its server only",
        "engine/litellm/identity.sql.j2",
        "SELECT i.system_identifier, i.database_oid INTO v_identity",
        "SELECT i.system_identifier, v_here.database_oid INTO v_identity",
        _a_copy,
    ),
    Fault(
        "a copy is known by its database only",
        "engine/litellm/identity.sql.j2",
        "SELECT (i.system_identifier, i.database_oid) = (c.",
        "SELECT (c.system_identifier, i.database_oid) = (c.",
        test_installation.test_an_upgraded_server_queues_until_the_next_deploy,
    ),
    Fault(
        "a database without an identity delivers",
        "engine/litellm/identity.sql.j2",
        "IF NOT FOUND THEN\n        RETURN 'this installation",
        "IF NOT FOUND THEN\n        RETURN NULL; RETURN 'this installation",
        lambda pair: test_installation.test_half_an_installation_queues_until_it_is_whole(
            pair, "litellm", "identity", "has no identity yet"
        ),
    ),
    Fault(
        "a copy opens the breaker",
        "engine/litellm/outcome.sql.j2",
        "ELSIF c_code IN ('UB001', 'UB002') THEN",
        "ELSIF c_code IN ('UB001', 'UB002', 'UB005') THEN",
        _a_copy,
    ),
    Fault(
        "a copy counts attempts for ever",
        "engine/litellm/outage.sql.j2",
        "OR NOT c_in_commit AND p_sqlstate <> 'UB005'",
        "OR NOT c_in_commit",
        _a_copy,
    ),
    Fault(
        "a copy is no news in the status",
        "engine/litellm/status.sql.j2",
        "coalesce(user_bridge.identity_problem(), 'this database')",
        "'this database'",
        _a_copy,
    ),
    Fault(
        "a request without a signature is served",
        "engine/openwebui/ownership.sql.j2",
        "OR p_request ->> 'mac' IS DISTINCT FROM encode(",
        "OR p_request ->> 'mac' <> encode(",
        lambda pair: test_installation.test_only_the_owner_is_served(pair, test_installation.unsigned, "UB007"),
    ),
    Fault(
        "no signature is the signature of no key",
        "engine/openwebui/ownership.sql.j2",
        "IF v_owner.key IS NULL OR p_request",
        "IF p_request",
        lambda pair: test_backups.test_without_a_key_nothing_is_served(pair, "no key"),
    ),
    Fault(
        "a request with another's signature is served",
        "engine/openwebui/ownership.sql.j2",
        "OR p_request ->> 'mac' IS DISTINCT FROM encode(",
        "OR p_request ->> 'mac' IS NULL AND '' <> encode(",
        lambda pair: test_installation.test_only_the_owner_is_served(
            pair, test_installation.of_another_payload, "UB007"
        ),
    ),
    *(
        Fault(
            f"another installation is refused whatever its {name}",
            "engine/openwebui/ownership.sql.j2",
            f"v_caller ->> '{name}'",
            column,
            functools.partial(_from_another_place, name=name),
        )
        for name, column in (
            ("id", "v_owner.id::text"),
            ("system", "v_owner.system_identifier::text"),
            ("database", "v_owner.database_oid::text"),
        )
    ),
    Fault(
        "an Open WebUI without an owner serves everybody",
        "engine/openwebui/ownership.sql.j2",
        "IF v_owner.id IS NULL THEN\n",
        "IF v_owner.id IS NULL THEN\n        RETURN;\n",
        lambda pair: test_installation.test_half_an_installation_queues_until_it_is_whole(
            pair, "openwebui", "owned_by", "belongs to no installation yet"
        ),
    ),
    Fault(
        "a renewed identity keeps its key",
        "engine/litellm/identity.sql.j2",
        "REFRESH MATERIALIZED VIEW user_bridge.identity_key;",
        "",
        test_installation.test_another_key_opens_nothing,
    ),
    Fault(
        "what was restored is not compared",
        "engine/litellm/identity.sql.j2",
        "DELETE FROM user_bridge.backfill;",
        "",
        test_backups.test_a_restored_installation_is_compared_as_a_whole,
    ),
    Fault(
        "all secrets are sealed alike",
        "engine/litellm/identity.sql.j2",
        "v_nonce CONSTANT bytea := uuid_send(gen_random_uuid());",
        "v_nonce CONSTANT bytea := substr(sha256('nonce'), 1, 16);",
        lambda pair: test_installation.test_a_sealed_secret_is_read_on_the_other_side_only(pair, "x"),
    ),
    Fault(
        "each block of a secret is sealed alike",
        "engine/litellm/identity.sql.j2",
        "int4send(v_block)",
        "int4send(0)",
        lambda pair: test_installation.test_the_blocks_of_a_secret_are_sealed_apart(pair),
    ),
    *(Fault(*row) for row in OPERATING),
]

OLD_FAULTS = [
    Fault(
        "a list of members that cannot be read is an error",
        "entities/membership/openwebui/apply.sql.j2",
        "EXCEPTION WHEN OTHERS THEN",
        "EXCEPTION WHEN invalid_text_representation THEN",
        _unreadable_list("NUL"),
    ),
    Fault(
        "a list of members keeps what is no id",
        "entities/membership/openwebui/apply.sql.j2",
        "WHERE jsonb_typeof(m.item) = 'string'",
        "WHERE true",
        _unreadable_list("not only texts"),
    ),
    Fault(
        "an id in a list of members hidden by escapes",
        "entities/membership/openwebui/apply.sql.j2",
        "OR strpos(g.user_ids::text, chr(92)) > 0",
        "OR false",
        lambda pair: test_unreadable_json.test_no_list_keeps_a_deleted_account_that_would_stop_open_webuis_upgrade(
            pair, "usr_b\u00f6b"
        ),
    ),
    Fault(
        "a list of members that are not all texts is extended as a text",
        "entities/membership/openwebui/apply.sql.j2",
        "CASE WHEN user_bridge.only_strings(p_list)",
        "CASE WHEN p_list IS NOT NULL",
        _unreadable_list("not only texts"),
    ),
    *(Fault(*row) for row in ADOPTION_BY_OLD),
]


FAULTS_OF_MODELS = [Fault(*row) for row in (*RULE, *MODEL_GRANTS, *ENFORCEMENT)]
OLD_FAULTS_OF_MODELS = [Fault(*row) for row in MODEL_GRANTS_BY_OLD]


# What the oracle must notice as well, with nobody pointing at it. The first few are found soon.
TOLD = (
    "auth row not written",
    "a deleted user's account stays",
    "role map ignored",
    "a viewer becomes admin",
    "scim_active ignored",
    "youngest wins an email",
    "email not lower-cased",
    "team alias left out of the name",
    "names do not follow the team",
    "an older user who appears later does not take over",
    "the user's own organization forgotten",
    "members who left stay",
    "a group's members by the group's own id",
    "memberships not written when the account comes",
    "auth not switched off",
    "name not refreshed",
    "parent not written",
)
SOON = 1


@contextmanager
def installed(pair: Pair, fault: Fault) -> Iterator[None]:
    """The bridge with this fault in it, however often the block installs it again."""
    planted_in: list[str] = []

    def plant(path: str, sql: str) -> str:
        if not fnmatch(path, fault.path) or fault.old not in sql:
            return sql
        planted_in.append(path)
        return sql.replace(fault.old, fault.new)

    with planted(plant):
        install_bridge(pair, {"initial_password": "none", "backoff_seconds": 1})
        assert planted_in, f"{fault.path} has changed: plant this fault anew"
        yield


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(drains.PATIENCE, "seconds", 8)


def test_every_fault_can_be_planted() -> None:
    """Also those that run weekly only. By its name a fault is asked for, and chosen for every push."""
    every = [*FAULTS, *FAULTS_OF_MODELS, *OLD_FAULTS, *OLD_FAULTS_OF_MODELS]
    names = sorted(fault.name for fault in every)
    assert names == sorted(set(names))
    texts = [*render_sql("litellm").items(), *render_sql("openwebui").items()]
    lost = [
        fault.name for fault in every if not any(fnmatch(path, fault.path) and fault.old in sql for path, sql in texts)
    ]
    assert lost == []


# All of them take ten minutes: one of ten on every push, of those about rights on models one of fourteen; all weekly.
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(fault, id=fault.name, marks=weekly.marks(fault.name, share))
        for faults, share in ((FAULTS, 10), (FAULTS_OF_MODELS, 14))
        for fault in faults
    ],
)
def test_a_planted_fault_is_caught(pair: Pair, fault: Fault) -> None:
    with installed(pair, fault), pytest.raises(CAUGHT):
        fault.caught_by(pair)


@pytest.mark.schemas(openwebui="old")
@pytest.mark.parametrize(
    "fault",
    [
        *(pytest.param(fault, id=fault.name, marks=weekly.marks(fault.name, 4)) for fault in OLD_FAULTS),
        *(pytest.param(fault, id=fault.name, marks=pytest.mark.weekly) for fault in OLD_FAULTS_OF_MODELS),
    ],
)
def test_a_fault_with_an_old_open_webui_is_caught(pair: Pair, fault: Fault) -> None:
    with installed(pair, fault), pytest.raises(CAUGHT):
        fault.caught_by(pair)


@pytest.mark.parametrize(
    "name", [*TOLD[:SOON], *(pytest.param(each, marks=pytest.mark.weekly) for each in TOLD[SOON:])]
)
def test_a_story_finds_it(pair: Pair, name: str) -> None:
    (fault,) = [each for each in FAULTS if each.name == name]
    with installed(pair, fault), pytest.raises(CAUGHT):
        tell(pair, 400, shorten=False)
