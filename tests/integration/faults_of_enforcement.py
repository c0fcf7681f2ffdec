# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults of what LiteLLM itself refuses: as those in faults_of_trust.py."""

from __future__ import annotations

from collections.abc import Callable

import test_enforcement as enforcement
import test_unlinked_accounts as unlinked
from kit.pairs import Pair

Row = tuple[str, str, str, str, Callable[[Pair], None]]
Test = Callable[[Pair], None]

_ENFORCE = "entities/end_user/litellm/enforce.sql.j2"
_LISTS = "entities/end_user/litellm/lists.sql.j2"
_ROWS = "entities/end_user/litellm/rows.sql.j2"
_UNLINKED = "entities/end_user/litellm/unlinked.sql.j2"
_ACCOUNTS = "entities/end_user/openwebui/unlinked.sql.j2"


def _caught(test: Test) -> Test:
    return lambda pair: test(enforcement.stock(pair))


def _noticed(test: Test) -> Test:
    return lambda pair: test(unlinked.stock_of_all(pair))


def _foreign(pair: Pair) -> None:
    enforcement.test_somebody_elses_row_is_left(enforcement.stock(pair), {"alias": "x"})


ENFORCEMENT: list[Row] = [
    (
        "names instead of a list's entries",
        _LISTS,
        "user_bridge.is_one_list(p.clause) AS is_plain",
        "false AS is_plain",
        _caught(enforcement.test_a_model_that_comes_changes_only_what_is_spelled_out),
    ),
    (
        "an end user by another spelling of the address",
        _LISTS,
        "btrim(m.sync_data ->> 'email')",
        "initcap(btrim(m.sync_data ->> 'email'))",
        _caught(enforcement.test_the_address_is_the_one_that_open_webui_sends),
    ),
    (
        "an end user without rights has an empty list",
        _LISTS,
        "= '{}' THEN '{no-default-models}'",
        "= '{}' THEN '{}'",
        _caught(enforcement.test_a_row_has_the_entries_of_the_lists),
    ),
    (
        "who has no rights is left to blocked",
        _ROWS,
        "SET models = d.models, budget_id = d.budget_id",
        "SET models = CASE d.models WHEN '{no-default-models}' THEN '{}' ELSE d.models END, budget_id = d.budget_id",
        _caught(enforcement.test_each_change_reaches_the_row),
    ),
    (
        "the row of somebody who is gone is emptied",
        _ENFORCE,
        "SET models = '{no-default-models}', state = 'due'",
        "SET models = '{}', state = 'due'",
        _caught(enforcement.test_nobody_is_let_in_between),
    ),
    (
        "the row of a former address keeps its rights",
        _ENFORCE,
        "AND e.customer_id NOT IN (SELECT w.customer_id FROM wanted AS w)",
        "AND false",
        _caught(enforcement.test_another_address_is_another_row),
    ),
    (
        "a blocked team gives what it may call",
        _LISTS,
        "WHERE NOT t.is_blocked",
        "WHERE true",
        _caught(enforcement.test_a_row_has_what_teams_and_everyone_have),
    ),
    (
        "who is disabled may call what everyone may",
        _LISTS,
        "array(SELECT o.user_id FROM user_bridge.owners(p_users) AS o)",
        "p_users",
        _caught(enforcement.test_a_row_has_what_teams_and_everyone_have),
    ),
    (
        "a model's name opens an access group of that name",
        _LISTS,
        "WHERE NOT c.is_plain AND NOT user_bridge.opens_more(m.name)",
        "WHERE NOT c.is_plain",
        _caught(enforcement.test_what_lists_have_in_common_opens_nothing_else),
    ),
    (
        "the drainer waits for a spend flush",
        _ROWS,
        "FOR NO KEY UPDATE SKIP LOCKED",
        "FOR NO KEY UPDATE",
        _caught(enforcement.test_a_spend_flush_is_neither_waited_for_nor_disturbed),
    ),
    (
        "a row that a flush is making stops the others",
        _ROWS,
        "RETURN CASE WHEN c_half = 0 OR clock_timestamp() >= p_until THEN",
        "RETURN CASE WHEN true THEN",
        _caught(enforcement.test_what_a_flush_is_making_holds_up_nobody),
    ),
    (
        "somebody else's row of an end user is taken",
        _ROWS,
        "AND w.is_made IS NULL AND NOT user_bridge.carries_nothing(to_jsonb(e))",
        "AND false",
        _foreign,
    ),
    (
        "who is known has no budget of his own",
        _ROWS,
        "WHEN s.enforce_unknown = 'deny' THEN",
        "WHEN false THEN",
        _caught(enforcement.test_who_is_known_has_a_budget_of_his_own_where_others_are_denied),
    ),
    (
        "a budget that somebody has given is taken away",
        _ROWS,
        "CASE WHEN e.user_id IS NOT NULL AND NOT user_bridge.is_own_budget(e.budget_id)",
        "CASE WHEN false",
        _caught(enforcement.test_the_budget_that_somebody_gives_to_a_row_stays),
    ),
    (
        "what was spent goes with the row",
        _ROWS,
        "AND e.spend = 0",
        "AND true",
        _caught(enforcement.test_what_a_flush_has_made_is_adopted_and_given_back),
    ),
    (
        "rows stay locked while the drainer delivers",
        "engine/litellm/drainer.sql.j2",
        "RETURN v_state || jsonb_build_object('enforced', v_enforced, 'pause', 0);",
        "v_state := v_state || jsonb_build_object('enforced', v_enforced);",
        _caught(enforcement.test_a_flush_waits_for_no_longer_than_a_turn),
    ),
    (
        "a change of the account's address makes no row due",
        "engine/litellm/outcome.sql.j2",
        "PERFORM user_bridge.note_rights('person', array_agg(o.id))",
        "PERFORM user_bridge.note_rights('person', array_agg(o.id) FILTER (WHERE false))",
        _caught(enforcement.test_another_address_is_another_row),
    ),
    (
        "a copy of the database enforces",
        _ENFORCE,
        "IF user_bridge.identity_problem() IS NOT NULL\n       OR NOT",
        "IF NOT",
        _caught(enforcement.test_a_copy_of_the_database_writes_nothing),
    ),
    (
        "what a budget takes along is not proved",
        _ROWS,
        "user_bridge.not_plain(array(SELECT user_bridge.tables_around()), true)",
        "user_bridge.not_plain(ARRAY['public.\"LiteLLM_EndUserTable\"', 'public.\"LiteLLM_BudgetTable\"'], true)",
        lambda pair: enforcement.test_what_a_budget_takes_along_runs_in_no_superusers_session(
            enforcement.stock(pair), "CASCADE"
        ),
    ),
    (
        "a comparison reads end users without a proof",
        "entities/end_user/litellm/report.sql.j2",
        "    PERFORM user_bridge.prove_end_users();\n    SELECT array_agg",
        "    SELECT array_agg",
        lambda pair: enforcement.test_nor_what_a_comparison_reads(enforcement.stock(pair), "deny"),
    ),
    (
        "a comparison goes by the accounts of the last look",
        _UNLINKED,
        "v_buckets := user_bridge.differing_unlinked_buckets(s);\n    RETURN QUERY",
        "v_buckets := '{}';\n    RETURN QUERY",
        _noticed(unlinked.test_a_comparison_finds_and_repairs_it),
    ),
    (
        "a repair leaves the rows of accounts that are nobody's",
        "engine/litellm/reconcile.sql.j2",
        "IF repair AND v_unlinked THEN",
        "IF false THEN",
        _noticed(unlinked.test_a_comparison_finds_and_repairs_it),
    ),
    (
        "whoever repeats a question learns addresses",
        _ACCOUNTS,
        "user_bridge.seal(\n                   coalesce(jsonb_agg(jsonb_build_array(a.id, a.email)), '[]')::text)",
        "jsonb_agg(jsonb_build_array(a.id, a.email))",
        _noticed(unlinked.test_a_question_that_was_recorded_shows_no_address),
    ),
    (
        "an account that waits for an admin may call everything",
        _ACCOUNTS,
        "AND coalesce(u.role, 'pending') <> 'pending'",
        "AND true",
        _noticed(unlinked.test_who_waits_for_an_admin_may_not),
    ),
    (
        "the account of somebody who is gone is nobody's",
        _ACCOUNTS,
        "AND NOT EXISTS (SELECT FROM user_bridge.entity AS e WHERE e.entity_type = 'user' AND e.made_id = u.id)",
        "",
        lambda pair: unlinked.test_who_is_gone_from_litellm_may_call_nothing(pair, "keep"),
    ),
    (
        "an account that could not be linked may call everything",
        _UNLINKED,
        "AND NOT EXISTS (SELECT FROM known AS k WHERE k.email = user_bridge.fold_email(u.email))",
        "",
        _noticed(unlinked.test_an_address_that_litellm_has_is_nobodys_to_use),
    ),
    (
        "an address with other letters is nobody's",
        _UNLINKED,
        "AND u.email COLLATE \"C\" !~ '[^ -~]'",
        "",
        _noticed(unlinked.test_an_address_that_nobody_can_compare_is_not_served),
    ),
    (
        "a person's row is an account's that is nobody's",
        _UNLINKED,
        "WHERE e.user_id IS NULL AND (e.is_over OR e.account_id <> excluded.account_id)",
        "WHERE true",
        _noticed(unlinked.test_a_second_look_writes_and_fetches_nothing),
    ),
    (
        "who is linked keeps the row of an account that is nobody's",
        _ENFORCE,
        "SET user_id = excluded.user_id, account_id = NULL, is_over = false, models = excluded.models, state = 'due',",
        "SET models = excluded.models, state = 'due',",
        _noticed(unlinked.test_who_is_linked_may_call_what_litellm_says),
    ),
    (
        "a row of an account that is gone stays",
        _UNLINKED,
        "AND NOT EXISTS (SELECT FROM wanted AS w WHERE w.customer_id = e.customer_id)",
        "AND false",
        _noticed(unlinked.test_what_is_gone_or_called_otherwise_is_given_back),
    ),
    (
        "rows of accounts that are nobody's stay when the setting goes back",
        _UNLINKED,
        "WHERE e.account_id IS NOT NULL AND NOT e.is_over;",
        "WHERE false;",
        lambda pair: unlinked.test_the_setting_goes_back(unlinked.stock_of_all(pair), {"enforce_unlinked": "deny"}),
    ),
    (
        "an account keeps the row of its former address",
        _UNLINKED,
        "ON CONFLICT (account_id) DO UPDATE SET email = excluded.email WHERE u.email <> excluded.email",
        "ON CONFLICT (account_id) DO NOTHING",
        _noticed(unlinked.test_what_is_gone_or_called_otherwise_is_given_back),
    ),
]
