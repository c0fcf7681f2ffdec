# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults of rights on models in Open WebUI: name, file, what is there, the fault, and the test that catches it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import test_model_grants as grants
from kit.pairs import Pair

Row = tuple[str, str, str, str, Callable[[Pair], None]]

_MODEL = "entities/model/openwebui"
_ACCESS, _APPLY, _GRANTS = f"{_MODEL}/access.sql.j2", f"{_MODEL}/apply.sql.j2", f"{_MODEL}/grants.sql.j2"
_GROUPS, _HEAL, _PEOPLE = f"{_MODEL}/groups.sql.j2", f"{_MODEL}/heal.sql.j2", f"{_MODEL}/people.sql.j2"
_TAKEOVER = f"{_MODEL}/takeover.sql.j2"
_REPORT = f"{_MODEL}/report.sql.j2"
_TEAM = "entities/team_models/openwebui/apply.sql.j2"
_GROUP = "entities/group/openwebui/apply.sql.j2"
_USER = "entities/user/openwebui"


def _people(test: Callable[..., None], *more: Any) -> Callable[[Pair], None]:
    return lambda pair: test(grants.peopled(pair), *more)


MODEL_GRANTS: list[Row] = [
    (
        "a takeover takes what was granted by hand",
        _ACCESS,
        "PERFORM user_bridge.delete_model_grants(ARRAY[p_model], '{user}', '{*}');",
        "DELETE FROM public.access_grant AS g WHERE g.resource_type = 'model' AND g.resource_id = p_model;",
        _people(grants.test_what_was_granted_by_hand_outlives_a_takeover_that_comes_again),
    ),
    (
        "nobody is told whose a model is",
        _TAKEOVER,
        "m.id = ANY (p_models) AND u.role <> 'admin'",
        "m.id = ANY (p_models) AND u.role = 'admin'",
        _people(grants.test_who_owns_the_row_of_a_model_and_is_no_administrator_is_named),
    ),
    (
        "a preset with a model's id is taken for the model",
        _APPLY,
        "v_base := user_bridge.preset_base(c_id);",
        "",
        _people(grants.test_a_preset_with_a_models_id_is_not_the_model),
    ),
    (
        "a row that is built on itself is a preset",
        _APPLY,
        "nullif(nullif(m.base_model_id, ''), m.id)",
        "m.base_model_id",
        _people(grants.test_a_row_that_is_built_on_itself_is_the_model, "'fake-a'"),
    ),
    (
        "a row that becomes a preset is not found",
        _HEAL,
        "e.openwebui_id IS NOT NULL AND p.base IS NOT NULL OR ",
        "",
        _people(grants.test_a_row_that_becomes_a_preset_loses_the_grants),
    ),
    (
        "a row that is no preset any more is not found",
        _HEAL,
        " OR e.not_linked IS NOT NULL AND p.base IS NULL",
        "",
        _people(grants.test_a_preset_with_a_models_id_is_not_the_model),
    ),
    (
        "grants that outlived a row make the next one public",
        _APPLY,
        "PERFORM user_bridge.make_private(p_id);",
        "",
        _people(grants.test_a_new_row_is_private_though_grants_outlived_an_older_one),
    ),
    (
        "a row by hand is deleted",
        _APPLY,
        " AND p_link.origin = 'created' AND",
        " AND",
        _people(grants.test_a_row_by_hand_stays_though_it_looks_like_the_bridges),
    ),
    (
        "a row that somebody edited is deleted",
        _APPLY,
        " AND user_bridge.is_untouched(m.id)",
        "",
        _people(grants.test_a_row_goes_with_its_model_unless_somebody_touched_it, "name = 'Fine'"),
    ),
    (
        "a preset is deleted",
        _APPLY,
        "v_row ->> 'base_model_id' IS NULL AND ",
        "",
        _people(grants.test_a_row_goes_with_its_model_unless_somebody_touched_it, "base_model_id = 'b'"),
    ),
    (
        "a row with a grant by hand is deleted",
        _APPLY,
        "RETURN NOT v_is_granted\n           AND",
        "RETURN",
        _people(grants.test_a_row_with_a_grant_by_hand_stays),
    ),
    (
        "a model with another prefix keeps the old row",
        _APPLY,
        "PERFORM user_bridge.retire_model(p_link, p_options);",
        "",
        _people(grants.test_a_row_has_the_prefix_of_the_connection_and_moves_with_it),
    ),
    (
        "a blocked model keeps its grants",
        _APPLY,
        "PERFORM user_bridge.take_model(p_link.entity_id, p_link.openwebui_id);",
        "",
        _people(grants.test_a_blocked_model_is_taken_from_all_and_given_back),
    ),
    (
        "an unblocked model stays without grants",
        _HEAL,
        "PERFORM user_bridge.write_model_grants(p_model);",
        "",
        _people(grants.test_a_blocked_model_is_taken_from_all_and_given_back),
    ),
    (
        "what a page brings back of a blocked model stays",
        _APPLY,
        "      WHERE k.principal IS NOT NULL\n     HAVING count(*) > 0;",
        "      WHERE false HAVING count(*) > 0;\n    PERFORM user_bridge.delete_model_grants(ARRAY[p_model_id], "
        "ARRAY[user_bridge.principal_type(t)], ARRAY[user_bridge.principal_of(t, i)])\n"
        "       FROM unnest(v_holder_types, v_holder_ids) AS h(t, i);",
        _people(grants.test_what_a_stale_page_brings_back_of_a_blocked_model_is_taken_again),
    ),
    (
        "a list only grows",
        _GRANTS,
        "AND g.model NOT IN (SELECT unnest(p_models))",
        "AND false",
        _people(grants.test_a_team_holds_what_it_lists),
    ),
    (
        "what left a list is not taken away",
        _GRANTS,
        "    IF v_gone IS NOT NULL THEN",
        "    IF false THEN",
        _people(grants.test_a_team_holds_what_it_lists),
    ),
    (
        "a grant by hand is taken away",
        _GRANTS,
        "array_agg(r.model) FILTER (WHERE r.written)",
        "array_agg(r.model)",
        _people(grants.test_a_grant_by_hand_is_the_administrators),
    ),
    (
        "what LiteLLM gives again passes for made by hand",
        _GRANTS,
        "    SELECT a.* FROM wanted_again AS a;",
        "    SELECT a.* FROM wanted_again AS a WHERE false;",
        _people(grants.test_a_grant_that_litellm_gives_again_was_never_made_by_hand),
    ),
    (
        "a grant that was taken away is not remembered",
        _GRANTS,
        "           AS k(model_id, type, principal, entity_type, entity_id)\n    ON CONFLICT",
        "           AS k(model_id, type, principal, entity_type, entity_id) WHERE false\n    ON CONFLICT",
        _people(grants.test_what_a_stale_page_brings_back_is_taken_again),
    ),
    (
        "what is taken again is no warning",
        _HEAL,
        "CASE WHEN v_returned IS NULL THEN 'SUCCESS' ELSE 'WARNING' END",
        "'SUCCESS'",
        _people(grants.test_what_a_stale_page_brings_back_is_taken_again),
    ),
    (
        "the lookout finds no grant that came back",
        _HEAL,
        "SELECT w FROM user_bridge.withdrawn AS w WHERE w.kind IN ('group_grant', 'user_grant'))) AS b",
        "SELECT w FROM user_bridge.withdrawn AS w WHERE false)) AS b",
        _people(grants.test_what_a_stale_page_brings_back_is_taken_again),
    ),
    (
        "the lookout finds no grant that is missing",
        _HEAL,
        "SELECT DISTINCT g.holder_id FROM user_bridge.model_grant AS g WHERE g.holder_type = t.type",
        "SELECT DISTINCT g.holder_id FROM user_bridge.model_grant AS g WHERE false",
        _people(grants.test_what_a_page_drops_is_written_again),
    ),
    (
        "only the first group of several gets its grants again",
        _HEAL,
        "user_bridge.restore_grants(v_holder.holder_type, ARRAY[v_holder.holder_id])), '')",
        "CASE WHEN v_restored IS NULL THEN "
        "user_bridge.restore_grants(v_holder.holder_type, ARRAY[v_holder.holder_id]) END), '')",
        _people(grants.test_what_a_page_drops_is_written_again),
    ),
    (
        "what is written again passes for made by hand",
        _HEAL,
        "    PERFORM user_bridge.write_grants(p_holder_type, p_holder_ids);\n    RETURN",
        "    PERFORM user_bridge.write_grants(p_holder_type, p_holder_ids);\n"
        "    UPDATE user_bridge.model_grant SET written = false;\n    RETURN",
        _people(grants.test_what_a_page_drops_is_written_again),
    ),
    (
        "a person whose model's row was deleted waits for the lookout",
        "entities/user_models/openwebui/apply.sql.j2",
        "user_bridge.deleted_models(c_models)",
        "'[]'",
        _people(grants.test_who_needs_a_row_that_somebody_deleted_says_so),
    ),
    (
        "a team whose model's row was deleted waits for the lookout",
        _TEAM,
        "FROM jsonb_array_elements(c_holders) AS h)));",
        "FROM jsonb_array_elements('[]') AS h)));",
        _people(grants.test_who_needs_a_row_that_somebody_deleted_says_so),
    ),
    (
        "a set whose model's row was deleted waits for the lookout",
        "entities/model_set/openwebui/apply.sql.j2",
        "user_bridge.deleted_models(c_models)",
        "'[]'",
        _people(grants.test_who_needs_a_row_that_somebody_deleted_says_so),
    ),
    (
        "many whose model's row was deleted wait for the lookout",
        f"{_MODEL}/bulk.sql.j2",
        "WHERE w.models || w.sets ?| l.names)",
        "WHERE false)",
        _people(grants.test_many_new_ones_who_need_a_row_that_somebody_deleted_say_so),
    ),
    (
        "a model's delivery does not look at its grants",
        _HEAL,
        "AS a)) IS NOT TRUE;",
        "AS a)) IS NOT TRUE AND false;",
        _people(grants.test_what_a_page_drops_or_brings_back_is_put_right_by_any_change, "model"),
    ),
    (
        "a model's delivery leaves what a page brought back",
        _HEAL,
        "IN ('group_grant ' || p_model_id, 'user_grant ' || p_model_id)",
        "IN ('')",
        _people(grants.test_what_a_page_drops_or_brings_back_is_put_right_by_any_change, "model"),
    ),
    (
        "a delivery that changes something looks at no other grant",
        _HEAL,
        "    IF p_link.applied_at IS NULL OR p_changed AND NOT user_bridge.has_grant_table() THEN",
        "    IF p_changed THEN",
        _people(grants.test_what_a_page_drops_or_brings_back_is_put_right_by_any_change, "holder"),
    ),
    (
        "a member whom somebody took out stays out",
        _HEAL,
        "PERFORM user_bridge.restore_members(s.group_id, p_link.entity_id)",
        "PERFORM s.group_id",
        _people(grants.test_a_membership_that_somebody_drops_or_brings_back_is_put_right),
    ),
    (
        "a member whom somebody brought back stays in",
        _HEAL,
        "PERFORM user_bridge.take_again(c_withdrawn);",
        "",
        _people(grants.test_a_membership_that_somebody_drops_or_brings_back_is_put_right),
    ),
    (
        "a scoped team's own group keeps its grants",
        _TEAM,
        "WHERE h -> 'group' = 'null');",
        ");",
        _people(grants.test_a_scoped_team_gives_its_own_group_nothing),
    ),
    (
        "a scope that is gone keeps its group",
        _TEAM,
        "    v_changed := user_bridge.drop_scopes(p_link, c_holders);\n",
        "",
        _people(grants.test_a_scoped_team_gives_its_own_group_nothing),
    ),
    (
        "a request names any group as a scope's",
        _TEAM,
        "IF NOT starts_with(c_own_id, 'grp_scope_') THEN",
        "IF false THEN",
        _people(grants.test_no_request_reaches_a_group_that_is_not_the_bridges),
    ),
    (
        "two teams share the group of a scope",
        _GROUPS,
        "WHILE EXISTS (SELECT FROM user_bridge.model_group AS g WHERE g.group_id = v_id)",
        "WHILE false",
        _people(grants.test_no_request_reaches_a_group_that_is_not_the_bridges),
    ),
    (
        "an organization gets the group of a scope",
        "entities/group/openwebui/move.sql.j2",
        "OR EXISTS (SELECT FROM user_bridge.model_group AS g WHERE g.group_id = v_id)",
        "",
        _people(grants.test_an_organization_never_gets_the_group_of_a_set),
    ),
    (
        "what an older installation left in a group stays",
        _GROUPS,
        "IF NOT user_bridge.write_group(c_id, p_name) THEN",
        "IF NOT user_bridge.write_group(c_id, p_name) AND false THEN",
        _people(grants.test_what_an_older_installation_left_in_a_group_goes),
    ),
    (
        "who left a set stays in its group",
        _PEOPLE,
        "    IF v_groups <> '{}' THEN",
        "    IF false THEN",
        _people(grants.test_a_short_list_is_the_persons_and_a_wide_one_a_groups),
    ),
    (
        "a user who is gone keeps his rights",
        f"{_USER}/retire.sql.j2",
        "PERFORM user_bridge.leave_account(p_user, p_account);",
        "",
        _people(grants.test_a_user_who_is_gone_leaves_no_grant, "keep"),
    ),
    (
        "an account that comes later gets no rights",
        f"{_USER}/apply.sql.j2",
        "PERFORM user_bridge.write_account_rights(ARRAY[p_link.entity_id]);",
        "",
        grants.test_grants_follow_an_account_and_a_group_that_come_later,
    ),
    (
        "many accounts that come later get no rights",
        f"{_USER}/bulk.sql.j2",
        "PERFORM user_bridge.write_account_rights(v_users);",
        "",
        grants.test_grants_follow_many_accounts_that_come_later,
    ),
    (
        "a group that comes later gets no grants",
        _GROUP,
        "IF v_is_new OR p_link.openwebui_id IS NULL THEN",
        "IF false THEN",
        grants.test_grants_follow_an_account_and_a_group_that_come_later,
    ),
    (
        "a team that is made again has no grants",
        _GROUP,
        "PERFORM user_bridge.leave_principal(p_link.entity_type, p_link.entity_id, p_link.openwebui_id);\n    END IF;",
        "END IF;",
        _people(grants.test_a_deleted_group_of_a_team_gets_its_grants_back),
    ),
    (
        "grants do not follow a team to another id",
        _PEOPLE,
        "UPDATE user_bridge.model_grant AS g SET holder_id = p_new_id",
        "UPDATE user_bridge.model_grant AS g SET holder_id = p_old_id",
        _people(grants.test_grants_follow_a_team_and_a_user_to_other_ids),
    ),
    (
        "who was put into a group for rights by others is not told",
        _REPORT,
        "     WHERE wanted.account IS NULL\n",
        "     WHERE false\n",
        _people(grants.test_who_was_put_into_a_group_for_rights_by_others_is_counted),
    ),
    (
        "who is to be in a group for rights counts as put there by others",
        _REPORT,
        "AND wanted.account = m.user_id",
        "AND false",
        _people(grants.test_who_was_put_into_a_group_for_rights_by_others_is_counted),
    ),
    (
        "a blocked model is given back as if the bridge went",
        _APPLY,
        "IF p_options -> 'model_access' IS DISTINCT FROM 'true' THEN",
        "IF true THEN",
        _people(grants.test_a_takeover_takes_it_and_removal_gives_it_back),
    ),
    (
        "nothing is given back",
        _TAKEOVER,
        "PERFORM user_bridge.make_public(v_model);",
        "",
        _people(grants.test_a_takeover_takes_it_and_removal_gives_it_back),
    ),
    (
        "what LiteLLM no longer serves is not given back",
        _TAKEOVER,
        "            OR NOT EXISTS (SELECT FROM user_bridge.entity AS e",
        "            OR false AND EXISTS (SELECT FROM user_bridge.entity AS e",
        _people(grants.test_removal_gives_back_a_model_that_litellm_no_longer_serves),
    ),
    (
        "a public model is taken over unasked",
        _TAKEOVER,
        "IF p_options -> 'model_takeover' = 'true' THEN",
        "IF true THEN",
        _people(grants.test_a_public_model_stays_public_and_is_reported),
    ),
    (
        "a page that makes a model public again is not noticed",
        f"{_MODEL}/state.sql.j2",
        "NOT (c_takeover AND m.id = ANY (c_public))",
        "true",
        _people(grants.test_a_page_that_makes_a_taken_model_public_is_noticed),
    ),
    (
        "bulk gives rights without places in groups",
        "entities/user_models/openwebui/bulk.sql.j2",
        "PERFORM user_bridge.place_members(s.id, s.users)",
        "PERFORM s.id",
        grants.test_many_end_as_they_would_one_by_one,
    ),
    (
        "whoever has no account yet counts as put into a group",
        _GROUPS,
        "SELECT p_group, u.id, (u.id IN (",
        "SELECT p_group, u.id, true OR (u.id IN (",
        grants.test_many_end_as_they_would_one_by_one,
    ),
    (
        "whoever is put into a group at once is not noted as the bridge's",
        _GROUPS,
        "SELECT p_group, u.id, (u.id IN (",
        "SELECT p_group, u.id, false AND (u.id IN (",
        grants.test_many_end_as_they_would_one_by_one,
    ),
]

# With access_control and user_ids.
MODEL_GRANTS_BY_OLD: list[Row] = [
    (
        "what cannot be read stays when a right is taken",
        _ACCESS,
        "\n                            OR user_bridge.hides_readers(m.access_control))",
        ")",
        _people(grants.test_an_access_control_that_cannot_be_read_keeps_nobody_in, grants.UNREADABLE["a NUL"]),
    ),
    (
        "what cannot be read is public",
        _ACCESS,
        "EXCEPTION WHEN OTHERS THEN\n    RETURN user_bridge.no_access();",
        "EXCEPTION WHEN OTHERS THEN\n    RETURN NULL;",
        _people(grants.test_an_access_control_that_cannot_be_read_keeps_nobody_in, grants.UNREADABLE["a NUL"]),
    ),
    (
        "a model whose readers cannot be read is given back to all",
        _ACCESS,
        "AND NOT user_bridge.hides_readers(m.access_control)",
        "",
        _people(grants.test_a_taken_model_that_cannot_be_read_is_not_given_back),
    ),
    (
        "what was granted by hand is lost when a model is given back",
        _ACCESS,
        "WHERE m.id = $1 AND user_bridge.access_lists(m.access_control) = user_bridge.no_access()\n                AND",
        "WHERE m.id = $1 AND",
        _people(grants.test_what_was_granted_by_hand_outlives_a_takeover_that_comes_again),
    ),
    (
        "a row that cannot be read keeps its model",
        _APPLY,
        "EXCEPTION WHEN data_exception OR program_limit_exceeded THEN",
        "EXCEPTION WHEN division_by_zero THEN",
        _people(grants.test_a_row_that_cannot_be_read_stays_without_its_model),
    ),
    (
        "a public row is made private by its first grant",
        _ACCESS,
        "IF json_typeof(p_access) IS DISTINCT FROM 'object' THEN\n        RETURN NULL;",
        "IF json_typeof(p_access) IS DISTINCT FROM 'object' THEN\n        RETURN user_bridge.no_access();",
        _people(grants.test_a_public_model_stays_public_and_is_reported),
    ),
    (
        "other keys of access_control are lost",
        _ACCESS,
        "v_access jsonb := p_access;",
        "v_access jsonb := user_bridge.no_access();",
        _people(grants.test_other_keys_and_lists_of_access_control_stay),
    ),
    (
        "others' ids are lost",
        _ACCESS,
        "r.access #> '{read,group_ids}' || added.groups",
        "added.groups",
        _people(grants.test_other_keys_and_lists_of_access_control_stay),
    ),
    (
        "a JSON null is not seen as public",
        _ACCESS,
        "coalesce(json_typeof(m.access_control), ''null'') = ''null'''\n            USING p_models",
        "m.access_control IS NULL'\n            USING p_models",
        _people(grants.test_a_json_null_is_public_too),
    ),
    (
        "a set has one group, however large",
        _PEOPLE,
        "IF to_regclass('public.group_member') IS NOT NULL THEN",
        "IF true THEN",
        _people(grants.test_a_large_set_has_several_groups),
    ),
]
