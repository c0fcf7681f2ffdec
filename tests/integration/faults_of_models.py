# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults of the rule for models, one for each clause: as those in faults_of_trust.py."""

from __future__ import annotations

from collections.abc import Callable

import test_model_misses as misses
import test_model_oracle as oracle
import test_model_races as races
import test_model_rule as rule
from kit.pairs import Pair

Row = tuple[str, str, str, str, Callable[[Pair], None]]
Test = Callable[[Pair], None]

_CATALOG = "entities/model/litellm/catalog.sql.j2"
_CLAUSES = "entities/user_models/litellm/clauses.sql.j2"
_HOLDERS = "entities/model/litellm/fan_out.sql.j2"
_KEYS = "entities/api_key/litellm/enqueue.sql.j2"
_LISTED = "entities/user_models/litellm/listed_member.sql.j2"
_LISTS = "entities/model/litellm/lists.sql.j2"
_LOSSES = "engine/litellm/losses.sql.j2"
_PATTERNS = "entities/model/litellm/patterns.sql.j2"
_TEAM = "entities/team_models/litellm/desired.sql.j2"
_TEAM_RULES = "entities/team_models/litellm/rules.sql.j2"


def _caught(test: Test) -> Test:
    return lambda pair: test(rule.stock(pair))


def _raced(name: str) -> Test:
    return lambda pair: races.look_at(pair, name)


def _with(test: Callable[[Pair, dict[str, object]], None], state: dict[str, object]) -> Test:
    return lambda pair: test(rule.stock(pair), state)


RULE: list[Row] = [
    (
        "a name that a team's settings send elsewhere is shown",
        _TEAM,
        "ARRAY[t.list], user_bridge.without_names(t.aliases, t.routed)",
        "ARRAY[t.list], t.aliases",
        _caught(rule.test_a_teams_router_settings_send_names_elsewhere),
    ),
    (
        "within a scope, a name that a team's settings send elsewhere is shown",
        _TEAM,
        "user_bridge.without_names(user_bridge.scoped_aliases(t.aliases, a.scope), t.routed)",
        "user_bridge.scoped_aliases(t.aliases, a.scope)",
        _caught(rule.test_a_teams_router_settings_send_names_elsewhere),
    ),
    (
        "settings that LiteLLM writes as text are none",
        "entities/api_key/litellm/known.sql.j2",
        "nullif(user_bridge.object_in(p_settings), '{}')",
        "CASE WHEN jsonb_typeof(p_settings) = 'object' THEN nullif(p_settings, '{}') END",
        _caught(rule.test_a_teams_router_settings_send_names_elsewhere),
    ),
    (
        "a key's settings and its team's are added up",
        _CLAUSES,
        "k.aliases || coalesce(k.routed, t.routed)",
        "k.aliases || k.routed || t.routed",
        _caught(rule.test_a_keys_router_settings_are_instead_of_its_teams),
    ),
    (
        "a member's key with settings of its own has only what the team's group has",
        _CLAUSES,
        " AND (k.routed IS NULL OR coalesce(t.routed, '{}') = '{}')",
        "",
        _caught(rule.test_a_keys_router_settings_are_instead_of_its_teams),
    ),
    (
        "no settings of a team are followed",
        "entities/team/litellm/enqueue.sql.j2",
        "v_new_settings := NEW.router_settings;",
        "v_new_settings := OLD.router_settings;",
        lambda pair: rule.test_each_change_queues_whom_it_concerns(rule.entangle(rule.stock(pair))),
    ),
    (
        "no settings of a key are followed",
        _KEYS,
        "v_new_settings := NEW.router_settings;",
        "v_new_settings := OLD.router_settings;",
        _caught(rule.test_a_keys_router_settings_are_instead_of_its_teams),
    ),
    (
        "nobody looks whether LiteLLM has settings of keys",
        "entities/api_key/litellm/columns.sql.j2",
        "(1024, 'LiteLLM_VerificationToken', 'router_settings')",
        "(0, 'LiteLLM_VerificationToken', 'router_settings')",
        _caught(rule.test_a_keys_router_settings_are_instead_of_its_teams),
    ),
    (
        "a model that moved into the database counts as lost",
        "entities/model/litellm/lost.sql.j2",
        "    SELECT d.name FROM user_bridge.deployed_names() AS d WHERE NOT d.is_blocked\n    EXCEPT\n",
        "",
        _caught(rule.test_what_a_shorter_list_of_extra_models_takes_away_is_said),
    ),
    (
        "whoever owns a model's row loses it with the grant",
        "entities/model/openwebui/report.sql.j2",
        "HAVING bool_and(r.grant_type IN ('user', 'group'))",
        "",
        _caught(rule.test_what_a_shorter_list_of_extra_models_takes_away_is_said),
    ),
    (
        "a text that is too deep stops all models",
        "entities/model/litellm/json.sql.j2",
        "data_exception OR program_limit_exceeded",
        "data_exception",
        _caught(rule.test_a_text_that_cannot_be_read_as_json_is_in_nobody_elses_way),
    ),
    (
        "a deep model_info stops all models",
        _CATALOG,
        "p.model_id IN (SELECT user_bridge.blocked_deployments()) AS",
        "coalesce(to_jsonb(p) -> 'blocked' = 'true', false) AS",
        _caught(rule.test_the_deepest_json_that_can_be_stored_is_in_nobody_elses_way),
    ),
    (
        "a key with too deep a text is not recorded",
        "entities/api_key/litellm/known.sql.j2",
        "data_exception OR program_limit_exceeded",
        "data_exception",
        _caught(rule.test_a_text_that_cannot_be_read_as_json_is_in_nobody_elses_way),
    ),
    (
        "a dot in a pattern is a dot",
        _PATTERNS,
        ", '.', '_') ESCAPE",
        ", '.', '.') ESCAPE",
        _caught(rule.test_a_list_opens_what_its_entries_open),
    ),
    (
        "the alternatives of a pattern are bound at both ends",
        _PATTERNS,
        "('^(?:^' || replace(p_entry, '*', '.*') || '$)')",
        "('^(?:' || replace(p_entry, '*', '.*') || ')$')",
        _caught(rule.test_a_list_opens_what_its_entries_open),
    ),
    (
        "an invalid pattern is passed over",
        _LISTS,
        "IF v_invalid IS NULL THEN",
        "IF true THEN",
        _caught(rule.test_an_invalid_pattern_fails_the_request),
    ),
    (
        "a scope is read for each who has it",
        _TEAM_RULES,
        "SELECT DISTINCT s.allowed FROM s",
        "SELECT s.allowed FROM s",
        _caught(rule.test_a_scope_that_many_have_is_read_once),
    ),
    (
        "what opens nothing may be an access group",
        _LISTS,
        "ELSE c_nothing END",
        "ELSE 'no-default-models' END",
        _caught(rule.test_what_opens_nothing_is_no_access_group),
    ),
    (
        "a model may have no name",
        _CATALOG,
        "length(s.name) BETWEEN 1 AND 255",
        "length(s.name) <= 255",
        _caught(rule.test_a_model_without_a_name_is_none),
    ),
    (
        "a class of PostgreSQL's is one of Python's",
        _PATTERNS,
        "^?]?[^]]*[[][.:=]'",
        "^?]?[^]]*[[][~]'",
        _caught(rule.test_an_invalid_pattern_fails_the_request),
    ),
    (
        "what Python repeats is a text",
        _PATTERNS,
        "strpos(p_entry, '{,') > 0",
        "false",
        _caught(rule.test_an_invalid_pattern_fails_the_request),
    ),
    (
        "a dot is a line break as well",
        _PATTERNS,
        "IF strpos(p_name, chr(10)) > 0 THEN",
        "IF false THEN",
        _caught(rule.test_a_pattern_opens_nothing_that_python_does_not_match),
    ),
    (
        "letters of other alphabets are none",
        _PATTERNS,
        "'[dDsSwW]')",
        "'[~]')",
        _caught(rule.test_a_pattern_opens_nothing_that_python_does_not_match),
    ),
    (
        "a group may be repeated",
        _PATTERNS,
        "'[)][+{]|[{,][0-9]{3}'",
        "'[{,][0-9]{3}'",
        lambda pair: rule.test_a_pattern_holds_no_commit(pair, rule.SLOW[0]),
    ),
    (
        "a dot that a pattern begins with is a dot",
        _LISTS,
        "FROM '^[^*.]*'",
        "FROM '^[^*]*'",
        _caught(rule.test_a_list_opens_what_its_entries_open),
    ),
    (
        "patterns behind an invalid one are looked at",
        _LISTS,
        "unnest(v_list[:v_invalid - 1])",
        "unnest(v_list[:v_invalid - 1] || v_list[v_invalid + 1:])",
        _caught(rule.test_an_invalid_pattern_fails_the_request),
    ),
    (
        "an entry that is NULL is passed over",
        _LISTS,
        "IF array_position(v_list, NULL) IS NOT NULL THEN",
        "IF false THEN",
        _caught(rule.test_a_list_opens_what_its_entries_open),
    ),
    (
        "a scope of NULL is none",
        _TEAM_RULES,
        "(SELECT allowed_models FROM",
        "(SELECT array_remove(allowed_models, NULL) FROM",
        _caught(rule.test_a_scope_cuts_what_the_team_gives),
    ),
    (
        "all-proxy-models is a name",
        _LISTS,
        "e.word IN ('all-proxy-models', '*') AND c.shown",
        "e.word = '*' AND c.shown",
        _caught(rule.test_a_list_opens_what_its_entries_open),
    ),
    (
        "access groups open nothing",
        _LISTS,
        "UNION ALL SELECT unnest(c.groups), true)",
        "UNION ALL SELECT unnest(c.groups), true WHERE false)",
        _caught(rule.test_a_list_opens_what_its_entries_open),
    ),
    (
        "a name that nobody serves yet opens nothing",
        _LISTS,
        "WHERE e.kind = '' AND strpos(e.word, '*') = 0",
        "WHERE false",
        _caught(rule.test_a_model_that_comes_moves_nobody_from_one_holder_to_another),
    ),
    (
        "patterns do not see the provider",
        _LISTS,
        "unnest(c.names || c.qualified)",
        "unnest(c.names)",
        _caught(rule.test_a_pattern_sees_the_provider_of_a_bare_name),
    ),
    (
        "a provider is put before a name with a namespace",
        _CATALOG,
        "CASE WHEN strpos(n.name, '/') = 0 THEN e.provider",
        "CASE WHEN true THEN e.provider",
        _caught(rule.test_a_pattern_sees_the_provider_of_a_bare_name),
    ),
    (
        "the widest deployment gives the access groups",
        _CATALOG,
        "ORDER BY user_bridge.route_length(r.name) DESC",
        "ORDER BY user_bridge.route_length(r.name)",
        _caught(rule.test_access_groups_come_from_the_most_specific_deployment),
    ),
    (
        "a route is compared to its end",
        _PATTERNS,
        "'*', '%') || '%' ESCAPE",
        "'*', '%') ESCAPE",
        _caught(rule.test_a_route_is_compared_as_litellms_router_does),
    ),
    (
        "a route is as specific as its name is long",
        _PATTERNS,
        "SELECT 2 * length(p_deployment) - length(translate(p_deployment,",
        "SELECT 2 * length(p_deployment) - length(p_deployment) + 0 * length(translate(p_deployment,",
        _caught(rule.test_a_route_is_compared_as_litellms_router_does),
    ),
    (
        "one of equally specific routes is enough",
        _CATALOG,
        "HAVING count(*) = (SELECT count(*) FROM best)",
        "HAVING true",
        _caught(rule.test_a_route_is_compared_as_litellms_router_does),
    ),
    (
        "an alias is opened by its own name only",
        _CATALOG,
        "array_remove(ARRAY[s.name, t.name], NULL)",
        "ARRAY[s.name]",
        _caught(rule.test_a_router_alias_is_opened_by_either_name),
    ),
    (
        "an alias of nothing is a model",
        _CATALOG,
        "a.alias IS NOT NULL AND (t.is_known OR t.is_routed)",
        "a.alias IS NOT NULL",
        _caught(rule.test_a_router_alias_is_opened_by_either_name),
    ),
    (
        "one blocked deployment blocks a model",
        _CATALOG,
        "bool_and(d.is_blocked)",
        "bool_or(d.is_blocked)",
        _caught(rule.test_a_model_is_gone_when_all_its_deployments_are_blocked),
    ),
    (
        "what model_info says blocks a model",
        _CATALOG,
        "(SELECT user_bridge.blocked_deployments()) AS",
        "(SELECT user_bridge.blocked_deployments()) OR coalesce(i.info -> 'blocked' = 'true', false) AS",
        _caught(rule.test_a_model_is_gone_when_all_its_deployments_are_blocked),
    ),
    (
        "an alias of a blocked model is shown",
        _CATALOG,
        "NOT s.is_blocked AND NOT coalesce(t.is_blocked, false)",
        "NOT s.is_blocked",
        _caught(rule.test_a_model_is_gone_when_all_its_deployments_are_blocked),
    ),
    (
        "a team's own deployment is in the catalogue",
        _CATALOG,
        "WHERE coalesce(i.info ->> 'team_id', '') = '') AS d",
        ") AS d",
        _caught(rule.test_a_teams_own_deployment_is_not_in_the_catalogue),
    ),
    (
        "a team's access groups fill an empty list",
        _TEAM_RULES,
        "IF v_entries = '{}' OR coalesce(",
        "IF coalesce(",
        _caught(rule.test_a_team_gives_what_its_list_opens),
    ),
    (
        "a blocked team gives its models",
        _TEAM_RULES,
        "coalesce(t.blocked, false)",
        "false",
        _caught(rule.test_a_team_gives_what_its_list_opens),
    ),
    (
        "a scope is ignored",
        _TEAM,
        "user_bridge.clause(ARRAY[t.list, a.scope],",
        "user_bridge.clause(ARRAY[t.list],",
        _caught(rule.test_a_scope_cuts_what_the_team_gives),
    ),
    (
        "a scoped team keeps its grants",
        _TEAM,
        """h.holders || '[{"group": null, "models": []}]'::jsonb""",
        "h.holders",
        _caught(rule.test_a_scope_cuts_what_the_team_gives),
    ),
    (
        "an alias gives the model of its name",
        _LISTS,
        "WHERE NOT EXISTS (SELECT FROM renamed AS r WHERE r.number = x.number AND r.alias = x.model)",
        "WHERE true",
        _caught(rule.test_a_teams_alias_gives_what_it_stands_for),
    ),
    (
        "a scope does not look at aliases",
        _TEAM_RULES,
        "CASE WHEN user_bridge.list_opens(p_scope, a.key) THEN a.value ELSE 'null' END",
        "a.value",
        _caught(rule.test_a_teams_alias_gives_what_it_stands_for),
    ),
    (
        "a team without rights has no list",
        _TEAM,
        """ELSE coalesce(h.holders, '[{"group": null, "models": []}]') END) END""",
        "ELSE h.holders END) END",
        _caught(rule.test_a_team_that_gives_nothing_any_more_has_an_empty_list_and_not_none),
    ),
    (
        "no-default-models is a name",
        _CLAUSES,
        "coalesce('no-default-models' = ANY (u.models), false)",
        "false",
        _caught(rule.test_no_default_models_closes_the_personal_list),
    ),
    (
        "an administrator is like everybody",
        _CLAUSES,
        "coalesce(u.user_role = 'proxy_admin', false)",
        "false",
        _caught(rule.test_an_administrator_sees_everything),
    ),
    (
        "whoever is disabled keeps the lists",
        _CLAUSES,
        "AND u.metadata -> 'scim_active' IS DISTINCT FROM 'false'::jsonb",
        "",
        _caught(rule.test_whoever_scim_has_disabled_sees_nothing),
    ),
    (
        "an empty list is everything for members, too",
        _CLAUSES,
        "v_unassigned AND NOT u.is_in_team AND NOT u.has_list",
        "v_unassigned AND NOT u.has_list",
        _with(rule.test_blocking_somebodys_only_team_never_widens, {"blocked": True}),
    ),
    (
        "an empty list is everything beside a key's list",
        _CLAUSES,
        "v_unassigned AND NOT u.is_in_team AND NOT u.has_list",
        "v_unassigned AND NOT u.is_in_team",
        _with(rule.test_a_key_that_can_no_longer_be_used_never_widens, {"blocked": True}),
    ),
    (
        "bridge_model_unassigned is ignored",
        _CLAUSES,
        "(SELECT s.model_unassigned = 'all' FROM user_bridge.settings AS s)",
        "true",
        _caught(rule.test_somebody_without_anything_sees_everything_or_nothing),
    ),
    (
        "a key passes the personal list",
        _CLAUSES,
        "user_bridge.clause(ARRAY[k.list, k.user_list, t.list, t.scope, k.project], k.aliases)",
        "user_bridge.clause(ARRAY[k.list, t.list, t.scope, k.project], k.aliases)",
        _caught(rule.test_a_key_without_a_team_lies_within_the_personal_list),
    ),
    (
        "a key passes the team's list",
        _CLAUSES,
        "user_bridge.clause(ARRAY[k.list, l.list, k.scope, k.project], k.aliases)",
        "user_bridge.clause(ARRAY[k.list, k.scope, k.project], k.aliases)",
        _caught(rule.test_a_key_with_a_team_lies_within_the_teams_list_and_scope),
    ),
    (
        "a key passes the scope",
        _CLAUSES,
        "user_bridge.clause(ARRAY[k.list, l.list, k.scope, k.project], k.aliases)",
        "user_bridge.clause(ARRAY[k.list, l.list, k.project], k.aliases)",
        _caught(rule.test_a_key_with_a_team_lies_within_the_teams_list_and_scope),
    ),
    (
        "a key of a blocked team opens models",
        _CLAUSES,
        "WHEN t.is_blocked THEN 'its team is blocked' END",
        "END",
        _caught(rule.test_a_key_with_a_team_lies_within_the_teams_list_and_scope),
    ),
    (
        "a team key without a list gives the team's models",
        _CLAUSES,
        "user_bridge.counts_as_key(p_policy, coalesce(k.models, '{}') <> '{}')",
        "true",
        _caught(rule.test_a_team_key_without_a_list_adds_nothing_of_its_own),
    ),
    (
        "the word for teams is a name in a key's list",
        _CLAUSES,
        "k.has_config OR 'all-team-models' = ANY (k.models)",
        "k.has_config",
        _caught(rule.test_the_word_for_teams_and_models_of_its_own_make_litellm_skip_a_keys_list),
    ),
    (
        "any route will do",
        _CLAUSES,
        "WHEN NOT user_bridge.allows_chat(p_key.allowed_routes) THEN",
        "WHEN false THEN",
        lambda pair: rule.test_a_key_that_may_not_chat_opens_nothing(rule.stock(pair), ["management_routes"]),
    ),
    (
        "an agent's key is a person's",
        _CLAUSES,
        "WHEN p_key.agent_id IS NOT NULL THEN",
        "WHEN false THEN",
        _caught(rule.test_an_agents_key_and_a_session_of_litellms_pages_open_nothing),
    ),
    (
        "an access group that is assigned to nobody passes the team's list",
        _CLAUSES,
        "WHERE p_key.team_id = ANY (a.assigned_team_ids)",
        "WHERE true",
        _caught(rule.test_an_access_group_assigned_to_the_team_or_the_key_passes_the_teams_list),
    ),
    (
        "an access group passes a team's list with an invalid pattern",
        _CLAUSES,
        "CASE WHEN NOT user_bridge.failing_list(user_bridge.json_texts(t.list)) THEN",
        "CASE WHEN true THEN",
        _caught(rule.test_an_access_group_assigned_to_the_team_or_the_key_passes_the_teams_list),
    ),
    (
        "an access group passes a team's groups with an invalid pattern, and what comes before it is opened",
        _TEAM_RULES,
        "CASE WHEN user_bridge.failing_list(v_entries)\n",
        "CASE WHEN false\n",
        _caught(rule.test_an_invalid_pattern_in_an_access_group_fails_the_request_by_chance),
    ),
    (
        "a key's groups are in order",
        _CLAUSES,
        "user_bridge.canonical(user_bridge.entries_of_groups(",
        "user_bridge.canonical(user_bridge.entries_of(",
        _caught(rule.test_an_invalid_pattern_in_an_access_group_fails_the_request_by_chance),
    ),
    (
        "the word for teams opens what only a team calls so",
        _LISTS,
        """OR EXISTS (SELECT FROM public."LiteLLM_ModelTable")""",
        "",
        _caught(rule.test_the_word_for_teams_opens_no_name_that_is_only_a_teams),
    ),
    (
        "the word for teams stands for names only",
        _LISTS,
        "THEN user_bridge.names_for_teams() ELSE",
        "THEN ARRAY['all-proxy-models'] ELSE",
        _caught(rule.test_the_word_for_teams_stands_for_the_names_of_deployments),
    ),
    (
        "the word for teams stands for aliases of what only a star serves",
        _LISTS,
        "WHERE a.target IN (SELECT d.name FROM d\n",
        "WHERE true OR a.target IN (SELECT d.name FROM d\n",
        _caught(rule.test_the_word_for_teams_stands_for_the_names_of_deployments),
    ),
    (
        "a router alias of a team's alias is closed",
        _TEAM_RULES,
        "WHERE r.target IN (SELECT o.key FROM own AS o) AND",
        "WHERE false AND",
        _caught(rule.test_a_router_alias_of_a_teams_alias_is_the_teams_too),
    ),
    (
        "a list with an invalid pattern does not fail at an alias of the router's",
        _TEAM_RULES,
        "WHEN a.value #>> '{}' <> a.key OR a.key",
        "WHEN true OR a.key",
        _caught(rule.test_a_router_alias_of_a_teams_alias_is_the_teams_too),
    ),
    (
        "a key's alias opens what another model is called",
        _TEAM_RULES,
        "SELECT n.name, NULL::text AS target",
        "SELECT n.name, n.name AS target",
        _caught(rule.test_what_a_key_calls_by_an_alias_of_its_own_is_not_opened_by_it),
    ),
    (
        "a team's alias of what a key's alias stands for is open",
        _TEAM_RULES,
        "CASE WHEN a.value <> ALL (p_names) THEN a.value END",
        "a.value",
        _caught(rule.test_what_a_key_calls_by_an_alias_of_its_own_is_not_opened_by_it),
    ),
    (
        "LiteLLM's aliases of what a key's alias stands for are open",
        _TEAM_RULES,
        "WHERE a.value = ANY (p_names));",
        "WHERE false);",
        _caught(rule.test_what_a_key_calls_by_an_alias_of_its_own_is_not_opened_by_it),
    ),
    (
        "a project does not cut",
        _CLAUSES,
        "SELECT user_bridge.canonical(user_bridge.entries_of(p.models, p.team_id IS NOT NULL)),",
        "SELECT NULL::jsonb,",
        _caught(rule.test_a_project_cuts_a_key),
    ),
    (
        "a project does not look at aliases",
        _CLAUSES,
        "user_bridge.scoped_aliases(user_bridge.scoped_aliases(t.aliases, s.scope), p.list)",
        "user_bridge.scoped_aliases(t.aliases, s.scope)",
        _caught(rule.test_a_project_cuts_the_aliases_of_the_keys_team),
    ),
    (
        "an alias has the access groups of its own route",
        _CATALOG,
        "CASE WHEN s.is_deployed OR t.is_deployed IS NOT TRUE THEN s.groups ELSE '{}' END",
        "s.groups",
        _caught(rule.test_an_alias_has_the_access_groups_of_what_it_stands_for),
    ),
    (
        "a blocked project is open",
        _CLAUSES,
        "CASE WHEN p.blocked THEN 'its project is blocked' END",
        "NULL::text",
        _caught(rule.test_a_project_cuts_a_key),
    ),
    (
        "personal keys do not follow the teams",
        _CLAUSES,
        "v_follow CONSTANT boolean := user_bridge.personal_keys_follow_teams();",
        "v_follow CONSTANT boolean := false;",
        _caught(rule.test_personal_keys_that_follow_the_teams_add_nothing_to_them),
    ),
    (
        "a short list is a group",
        _LISTS,
        "jsonb_array_length(u.list) NOT BETWEEN 1 AND 16",
        "true",
        _caught(rule.test_a_short_list_is_grants_and_a_wide_one_a_group),
    ),
    (
        "a set waits for the drainer",
        "entities/user_models/litellm/desired.sql.j2",
        "SELECT 'model_set', s.set_id\n",
        "SELECT 'model_set', s.set_id || 'x'\n",
        _caught(rule.test_a_new_set_is_there_when_its_first_member_is),
    ),
    (
        "the members of a former team are in the new one",
        _LISTED,
        "IF p_is_new THEN",
        "IF false THEN",
        _caught(rule.test_deleting_the_only_team_makes_somebody_unassigned_again),
    ),
    (
        "an edited list queues nobody",
        "entities/user/litellm/enqueue.sql.j2",
        "NEW.models, NEW.metadata OPERATOR(pg_catalog.->) 'scim_active')::pg_catalog.record OPERATOR(pg_catalog.*=)",
        "OLD.models, NEW.metadata OPERATOR(pg_catalog.->) 'scim_active')::pg_catalog.record OPERATOR(pg_catalog.*=)",
        lambda pair: rule.test_each_change_queues_whom_it_concerns(rule.entangle(rule.stock(pair))),
    ),
    (
        "a member's spend queues the team",
        "entities/team_models/litellm/enqueue.sql.j2",
        "IF TG_OP OPERATOR(pg_catalog.=) 'UPDATE' AND ROW(NEW.budget_id",
        "IF false AND ROW(NEW.budget_id",
        lambda pair: rule.test_each_change_queues_whom_it_concerns(rule.entangle(rule.stock(pair))),
    ),
    (
        "a key's routes do not matter",
        _KEYS,
        "NEW.blocked, NEW.expires, NEW.allowed_routes,\n",
        "NEW.blocked, NEW.expires, OLD.allowed_routes,\n",
        lambda pair: rule.test_each_change_queues_whom_it_concerns(rule.entangle(rule.stock(pair))),
    ),
    (
        "a new model reaches nobody",
        _CATALOG,
        "PERFORM user_bridge.enqueue_access('model_holders', v_holders) WHERE v_holders IS NOT NULL;",
        "",
        _caught(rule.test_a_model_that_comes_reaches_whoever_has_an_entry_for_it),
    ),
    (
        "patterns do not lead to a new model's teams",
        _HOLDERS,
        "EXISTS (SELECT FROM unnest(p_names) AS n(name) WHERE user_bridge.matches(n.name, e.entry))",
        "false",
        _caught(rule.test_a_model_that_comes_reaches_whoever_has_an_entry_for_it),
    ),
    (
        "an expired key stays",
        "entities/user_models/litellm/follow.sql.j2",
        "WHERE k.expires <= timezone('UTC', clock_timestamp())",
        "WHERE false",
        _caught(rule.test_a_key_that_expires_takes_its_models_with_it),
    ),
    (
        "switched off it still queues",
        "entities/model/litellm/enqueue.sql.j2",
        "IF (SELECT s.model_access FROM user_bridge.settings AS s) THEN",
        "IF true THEN",
        rule.test_without_model_access_nothing_is_queued_recorded_or_granted,
    ),
    (
        "rights count before all is recorded that they depend on",
        "entities/model/litellm/recorded.sql.j2",
        "s.model_access AND (SELECT count(*) FROM user_bridge.recorded_rights) = 4",
        "s.model_access",
        lambda pair: rule.test_nobody_sees_anything_until_all_that_litellm_had_is_recorded(pair, "backfill()"),
    ),
    (
        "what has been recorded once is for ever",
        "entities/model/litellm/recorded.sql.j2",
        "DELETE FROM user_bridge.recorded_rights AS r WHERE r.kind = p_kind;",
        "NULL;",
        lambda pair: rule.test_nobody_sees_anything_until_all_that_litellm_had_is_recorded(pair, "backfill()"),
    ),
    (
        "nobody records what LiteLLM had where nothing is migrated",
        "entities/api_key/litellm/columns.sql.j2",
        "v_is_as_before AND (user_bridge.knows_rights() OR",
        "v_is_as_before AND (true OR",
        lambda pair: rule.test_nobody_sees_anything_until_all_that_litellm_had_is_recorded(pair, "follow_columns()"),
    ),
    (
        "a list of nothing but long texts is empty",
        _LISTS,
        "ELSE c_nothing END",
        "ELSE NULL END",
        _caught(rule.test_a_list_opens_what_its_entries_open),
    ),
    (
        "personal keys that follow the teams do not follow their edits",
        _LISTED,
        "OR (SELECT s.model_policy IN ('user', 'keys') FROM user_bridge.settings AS s)",
        "",
        lambda pair: rule.test_where_personal_keys_follow_the_teams_so_do_the_members(rule.entangle(rule.stock(pair))),
    ),
    (
        "one budget that is too deep stops its team",
        _TEAM_RULES,
        "(SELECT allowed_models FROM",
        "(SELECT user_bridge.json_texts(to_jsonb(x) -> 'allowed_models') FROM",
        _caught(misses.test_a_deep_budget_is_in_nobodys_way),
    ),
    (
        "one budget that is too deep stops every model",
        _HOLDERS,
        "(SELECT x.budget_id, allowed_models FROM",
        "(SELECT x.budget_id, user_bridge.json_texts(to_jsonb(x) -> 'allowed_models') FROM",
        _caught(misses.test_a_deep_budget_is_in_nobodys_way),
    ),
    (
        "one key that is too deep stops all keys",
        "entities/api_key/litellm/known.sql.j2",
        "access_group_ids, project_id, agent_id,\n                  user_bridge.has_config",
        "access_group_ids, project_id, to_jsonb(t) ->> 'agent_id',\n                  user_bridge.has_config",
        _caught(misses.test_a_deep_key_is_in_nobody_elses_way),
    ),
    (
        "no change of a model that is too deep is followed",
        "entities/model/litellm/enqueue.sql.j2",
        "v_new_blocked := NEW.blocked;",
        "v_new_blocked := (to_jsonb(NEW) ->> 'blocked')::boolean;",
        _caught(misses.test_a_deep_deployment_is_followed),
    ),
    (
        "what a trigger for rights could not follow waits for a repair",
        _LOSSES,
        "is_only_spend(p_old, p_new) THEN\n        PERFORM nextval('user_bridge.losses');",
        "is_only_spend(p_old, p_new) THEN",
        _caught(misses.test_what_a_trigger_could_not_follow_is_found_at_once),
    ),
    (
        "each flush of spend is a reason to compare",
        _LOSSES,
        "AND NOT user_bridge.is_only_spend(p_old, p_new) THEN\n        PERFORM nextval('user_bridge.losses');",
        "THEN\n        PERFORM nextval('user_bridge.losses');",
        _caught(misses.test_spend_is_no_reason_to_compare_nor_is_anything_where_rights_are_not_followed),
    ),
    (
        "rights that are not followed are a reason to compare",
        _LOSSES,
        "IF (SELECT s.model_access FROM user_bridge.settings AS s) AND NOT user_bridge.is_only_spend",
        "IF NOT user_bridge.is_only_spend",
        _caught(misses.test_spend_is_no_reason_to_compare_nor_is_anything_where_rights_are_not_followed),
    ),
    (
        "what could not be recorded waits for a repair",
        _LOSSES,
        "SELECT nextval('user_bridge.trigger_faults'), nextval('user_bridge.losses')",
        "SELECT nextval('user_bridge.trigger_faults')",
        _caught(misses.test_what_could_not_be_recorded_is_found_at_once),
    ),
    (
        "where keys count a team's edit leads to no member's",
        "entities/user_models/litellm/fan_out.sql.j2",
        "c_policy = 'keys' OR k.access",
        "k.access",
        lambda pair: rule.test_a_teams_edit_leads_to_owners_of_its_keys_who_have_something_by_them(
            rule.entangle(rule.stock(pair))
        ),
    ),
    (
        "a team's edit leads to no member's key with access groups",
        "entities/user_models/litellm/fan_out.sql.j2",
        "OR k.access_group_ids <> '{}'",
        "",
        lambda pair: rule.test_a_teams_edit_leads_to_owners_of_its_keys_who_have_something_by_them(
            rule.entangle(rule.stock(pair))
        ),
    ),
    (
        "a team's edit leads to members only",
        "entities/user_models/litellm/fan_out.sql.j2",
        "AND m.team_id = k.team_id) IS NULL)",
        "AND m.team_id = k.team_id) IS NOT NULL)",
        lambda pair: rule.test_a_teams_edit_leads_to_owners_of_its_keys_who_have_something_by_them(
            rule.entangle(rule.stock(pair))
        ),
    ),
    (
        "a team's alias of nothing is the model of that name",
        _TEAM_RULES,
        "WHEN 'string' THEN a.value ELSE 'null' END AS value",
        "WHEN 'string' THEN a.value ELSE to_jsonb(a.key) END AS value",
        _caught(misses.test_odd_json_opens_nothing_and_is_in_nobodys_way),
    ),
    (
        "a team and a new model miss each other",
        _TEAM,
        "SELECT 'model_catalog', '', true",
        "SELECT 'model_catalog', NULL::text, true",
        _raced("a new model, and a team's pattern"),
    ),
    (
        "a team's edit misses a key that is just made",
        "entities/user_models/litellm/fan_out.sql.j2",
        "SELECT 'team_models', p_id, false",
        "SELECT 'team_models', NULL::text, false",
        _raced("a new key, and its team's list"),
    ),
    (
        "a key that is just made misses its team's edit",
        "entities/user_models/litellm/desired.sql.j2",
        "(SELECT DISTINCT 'team_models', k.team_id, true",
        "(SELECT DISTINCT 'team_models', NULL::text, true",
        _raced("a new key, and its team's list"),
    ),
    *(
        (
            f"nobody is locked: {name}",
            "engine/litellm/locks.sql.j2",
            "IF user_bridge.wait_for_lock(v_keys[v_number], v_shared[v_number], p_until) THEN",
            "IF true THEN",
            _raced(name),
        )
        for name in races.OF_ONE
    ),
    *(
        (
            f"what others depend on is not locked with the catalogue: {name}",
            "entities/team_models/litellm/fan_out.sql.j2",
            "SELECT 'model_catalog', '', false",
            "SELECT 'model_catalog', NULL::text, false",
            _raced(name),
        )
        for name in ("a scope, and a member whose it becomes", "a new key, and its access group")
    ),
    (
        "a team's edit changes nothing for its members",
        _LISTED,
        "PERFORM user_bridge.enqueue('team_models', ARRAY[p_new_id, p_old_id]),\n            user_bridge.enqueue(",
        "PERFORM user_bridge.enqueue(",
        oracle.walk_far,
    ),
]
