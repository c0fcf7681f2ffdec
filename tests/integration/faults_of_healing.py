# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults of healing: name, file, what is there, the fault, and the test that catches it."""

from __future__ import annotations

from collections.abc import Callable

import test_healing as healing
import test_moves as moves
import test_stale_pages as pages
from kit.pairs import Pair

Row = tuple[str, str, str, str, Callable[[Pair], None]]

_GONE = "entities/membership/openwebui/gone.sql.j2"
_LOOKOUT = "engine/litellm/lookout.sql.j2"
_OUTCOME = "engine/litellm/outcome.sql.j2"
_USER = "entities/user/openwebui/state.sql.j2"


def _group(group: str, change: Callable[[Pair], None]) -> Callable[[Pair], None]:
    return lambda pair: healing.test_a_deleted_group_comes_back_with_the_next_change(
        healing.people(pair), group, change
    )


def _account(change: Callable[[Pair], None]) -> Callable[[Pair], None]:
    return lambda pair: healing.test_a_deleted_account_comes_back_with_the_next_change(healing.people(pair), change)


def _edit(name: str) -> Callable[[Pair], None]:
    return lambda pair: healing.test_the_lookout_finds_what_somebody_did(healing.people(pair), healing.EDITS[name])


def _restore(side: str) -> Callable[[Pair], None]:
    return lambda pair: healing.test_the_lookout_finds_what_a_restore_took_back(healing.people(pair), side)


def _waiting(heal: Callable[[Pair], object]) -> Callable[[Pair], None]:
    return lambda pair: pages.test_what_waits_for_an_approval_keeps_nothing_else(
        pages.team(pair), {"user_alias": "Guest"}, heal
    )


def _lost(lose: Callable[[Pair], None]) -> Callable[[Pair], None]:
    return lambda pair: pages.test_who_leaves_while_account_or_group_is_not_there_is_in_it_no_more(
        pages.team(pair), lose
    )


HEALING: list[Row] = [
    (
        "who leaves a group that somebody has deleted is brought back by a page",
        "entities/membership/openwebui/apply.sql.j2",
        "            PERFORM user_bridge.remember_lost(ARRAY[c_want]) WHERE FOUND;\n",
        "",
        _lost(pages.delete_the_group),
    ),
    (
        "who leaves a group that is there again while he has no account is brought back",
        "entities/group/openwebui/apply.sql.j2",
        "IF v_lost <> '{}' THEN",
        "IF false THEN",
        _lost(pages.make_the_group_without_the_account),
    ),
    (
        "whose account comes back while a group is not there is brought back into it",
        "entities/user/openwebui/apply.sql.j2",
        "m.user_id = p_link.entity_id AND m.written));\n        PERFORM user_bridge.leave_account",
        "false));\n        PERFORM user_bridge.leave_account",
        _lost(pages.delete_account_and_group),
    ),
    (
        "whoever is gone, and whose account somebody has deleted, is in his groups when he returns",
        "entities/user/openwebui/retire.sql.j2",
        "WHERE p_link.openwebui_id IS NOT NULL;\n",
        "WHERE false;\n",
        _lost(pages.delete_the_account_of_who_goes),
    ),
    (
        "whoever was in a deleted group to the end is brought back",
        "entities/group/openwebui/apply.sql.j2",
        "PERFORM user_bridge.remember_members(p_link.entity_type, p_link.entity_id, v_id);",
        "NULL;",
        lambda pair: pages.test_nor_whoever_was_in_it_to_the_end(pages.team(pair)),
    ),
    (
        "what waits for an approval keeps what a page brought back",
        _LOOKOUT,
        "user_bridge.deliver_held_again(v_types, v_ids) + (",
        "(",
        _waiting(pages.look_out),
    ),
    (
        "a repair passes over what waits for an approval",
        "engine/litellm/reconcile.sql.j2",
        "AND (q.parked_at IS NULL OR user_bridge.holds_removal(q.held))",
        "",
        _waiting(pages.repair),
    ),
    (
        "a recorded request moves somebody again",
        "engine/openwebui/moves.sql.j2",
        "    FOR v_move IN\n",
        "    DELETE FROM user_bridge.moved AS m WHERE m.moved_at < clock_timestamp() - interval '30 days';\n"
        "    FOR v_move IN\n",
        moves.test_a_recorded_request_moves_nobody_again,
    ),
    (
        "a deleted group comes back empty",
        "entities/group/openwebui/apply.sql.j2",
        "IF v_before -> 'exists' = 'false' THEN",
        "IF false THEN",
        _group("grp_team_t1", healing.rename_the_team),
    ),
    (
        "members of a deleted group fail for ever",
        "entities/membership/openwebui/apply.sql.j2",
        "THEN jsonb_build_array(jsonb_build_array(p_group_type, p_group_id)) ELSE",
        "THEN '[]'::jsonb ELSE",
        _group("grp_team_t1", healing.join_the_team),
    ),
    (
        "a team is made without its organization's group, which somebody has deleted",
        _GONE,
        "WHERE k.here IS NOT NULL\n",
        "WHERE false\n",
        _group("grp_o1", healing.add_a_team_below),
    ),
    (
        "what is due is not queued",
        _LOOKOUT,
        "IF p_outcomes @? '$[*].due[0]' THEN",
        "IF false THEN",
        _group("grp_team_t1", healing.join_the_team),
    ),
    (
        "a deleted organization's group is not missed by its teams",
        "entities/group/openwebui/apply.sql.j2",
        "user_bridge.deleted_here('{organization}', ARRAY[v_want ->> 'organization_id'])",
        "'[]'::jsonb",
        _group("grp_o1", healing.add_a_team_below),
    ),
    (
        "a deleted group is a parent",
        "entities/group/openwebui/apply.sql.j2",
        'LEFT JOIN public."group" AS here ON',
        "LEFT JOIN (SELECT x.openwebui_id AS id FROM user_bridge.entity AS x) AS here ON",
        _group("grp_o1", healing.add_a_team_below),
    ),
    (
        "a deleted account is not made for its key",
        "entities/api_key/openwebui/apply.sql.j2",
        "IF v_sealed IS NOT NULL AND user_bridge.deleted_here('{user}', ARRAY[p_link.entity_id]) <> '[]' THEN",
        "IF false THEN",
        _account(healing.change_the_key),
    ),
    (
        "the key of an account that comes back stays away",
        _OUTCOME,
        "WHERE o.before @> '{\"exists\": false}'",
        "WHERE false",
        _account(healing.change_the_user),
    ),
    (
        "who needs what was deleted is a success",
        _GONE,
        "'status', 'WARNING', 'due', p_due,",
        "'due', p_due,",
        lambda pair: healing.test_who_needs_what_was_deleted_is_no_success(healing.people(pair)),
    ),
    (
        "a repair is audited without what was there",
        _OUTCOME,
        "coalesce(gone.sync_data, o.before)",
        "gone.sync_data",
        lambda pair: healing.test_a_repair_is_audited_with_what_was_there(healing.people(pair)),
    ),
    (
        "the lookout misses accounts that are gone",
        _LOOKOUT,
        "coalesce(here.entity_id, there.entity_id)",
        "there.entity_id",
        _restore("openwebui"),
    ),
    ("the lookout misses roles", _USER, "concat_ws(chr(31), u.role, u.email, u.name)", "u.email", _edit("role")),
    (
        "the lookout misses emails of the sign-in",
        _USER,
        "WHEN a.active AND u.role <> 'pending' AND a.email = u.email",
        "WHEN a.active AND u.role <> 'pending'",
        _edit("email of the sign-in"),
    ),
    (
        "the lookout misses what LiteLLM no longer knows",
        _LOOKOUT,
        "WHERE here.mark IS DISTINCT FROM there.mark\n",
        "WHERE here.mark <> there.mark OR there.mark IS NULL\n",
        _restore("litellm"),
    ),
    (
        "the lookout compares no memberships",
        _LOOKOUT,
        " || user_bridge.types_compared_by('rosters')",
        "",
        _restore("openwebui"),
    ),
    (
        "what is held is looked for again and again",
        _OUTCOME,
        " || coalesce(o.kept, '{}')",
        "",
        lambda pair: healing.test_what_cannot_be_as_wanted_is_not_delivered_again_and_again(healing.people(pair)),
    ),
    (
        "the lookout does what somebody rejected",
        _LOOKOUT,
        "IF c_ids <> '{}' AND",
        "IF false AND",
        lambda pair: healing.test_the_lookout_leaves_rejected_removals_alone(healing.people(pair)),
    ),
    (
        "bridge_info takes what is deleted for there",
        _GONE,
        "FILTER (WHERE p.id IS NULL)",
        "FILTER (WHERE false)",
        lambda pair: healing.test_what_is_missing_is_counted(healing.people(pair)),
    ),
    (
        "a rewritten id is not written down",
        "engine/litellm/moves.sql.j2",
        "IF p_old_id <> p_new_id THEN",
        "IF false THEN",
        lambda pair: moves.test_a_user_who_moves_keeps_the_account(pair, False),
    ),
    (
        "a rewritten id is followed twice",
        "engine/openwebui/moves.sql.j2",
        "        IF FOUND THEN\n",
        "        IF true THEN\n",
        moves.test_a_move_is_followed_once,
    ),
    (
        "the members of a group that moves are forgotten",
        "entities/group/openwebui/move.sql.j2",
        "SELECT o.group_type, p_new_id, o.user_id, o.written",
        "SELECT o.group_type, p_new_id, o.user_id, false",
        lambda pair: moves.test_a_team_that_moves_keeps_the_group(pair, False),
    ),
]
