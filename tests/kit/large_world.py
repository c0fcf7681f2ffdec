# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A LiteLLM as large as the design has it, with rights on models of every form; for the newest LiteLLM."""

from __future__ import annotations

from kit.pairs import Session

USERS, TEAMS, MODELS = 10_000, 200, 222
_VALUES = {"users": USERS, "teams": TEAMS, "models": MODELS}
# Teams of some hundreds, lists of every form, some scopes, keys of all kinds.
_WORLD = (
    "SELECT setseed(0.42)",
    """INSERT INTO "LiteLLM_ProxyModelTable" (model_id, model_name, litellm_params, model_info, created_by, updated_by)
       SELECT 'm' || n, (ARRAY['openai/', 'azure/', 'bedrock/', ''])[1 + n %% 4] || 'model-' || n, '{}',
              jsonb_build_object('access_groups', CASE WHEN n %% 3 = 0 THEN ARRAY['ag' || n %% 25] ELSE '{}' END),
              'x', 'x'
         FROM generate_series(1, %(models)s) AS n""",
    """INSERT INTO "LiteLLM_AccessGroupTable" (access_group_id, access_group_name, access_model_names, updated_at)
       SELECT 'uag' || n, 'Unified ' || n, array(
              SELECT 'model-' || 3 + 4 * k FROM generate_series(n, n + 8) AS k), now()
         FROM generate_series(1, 40) AS n""",
    """INSERT INTO "LiteLLM_UserTable" (user_id, user_email, user_alias, user_role, models, teams)
       SELECT 'u' || n, 'u' || n || '@example.com', 'User ' || n,
              CASE WHEN n %% 500 = 0 THEN 'proxy_admin' ELSE 'internal_user' END,
              CASE WHEN n %% 100 < 40 THEN '{}' WHEN n %% 100 < 65 THEN ARRAY['no-default-models']
                   WHEN n %% 100 < 80 THEN ARRAY['model-3', 'openai/model-4']
                   WHEN n %% 100 < 88 THEN array(SELECT 'model-' || 3 + 4 * k
                                                       FROM generate_series(n %% 40, n %% 40 + 4) AS k)
                   WHEN n %% 100 < 94 THEN ARRAY['ag' || n %% 25] WHEN n %% 100 < 98 THEN ARRAY['azure/*']
                   ELSE ARRAY['all-proxy-models'] END,
              array(SELECT DISTINCT 't' || 1 + floor(random() * %(teams)s + n * 0)::integer
                      FROM generate_series(1, n %% 11) AS k)
         FROM generate_series(1, %(users)s) AS n""",
    """INSERT INTO "LiteLLM_TeamTable" (team_id, team_alias, members_with_roles, models, access_group_ids, blocked)
       SELECT 't' || n, 'Team ' || n, coalesce(m.list, '[]'),
              CASE n %% 10 WHEN 0 THEN '{}' WHEN 1 THEN ARRAY['all-proxy-models']
                   WHEN 2 THEN ARRAY['openai/*', 'azure/model-1']
                   WHEN 3 THEN ARRAY['ag' || n %% 25] WHEN 4 THEN ARRAY['no-default-models']
                   WHEN 5 THEN ARRAY['azure/*', 'all-team-models']
                   ELSE array(SELECT 'model-' || 3 + 4 * k FROM generate_series(n %% 10, n %% 10 + 40) AS k) END,
              CASE WHEN n %% 10 IN (4, 7) THEN ARRAY['uag' || 1 + n %% 40] ELSE '{}' END, n %% 50 = 0
         FROM generate_series(1, %(teams)s) AS n
         LEFT JOIN (SELECT t.id, jsonb_agg(jsonb_build_object('role', 'user', 'user_id', u.user_id)) AS list
                      FROM "LiteLLM_UserTable" AS u, unnest(u.teams) AS t(id) GROUP BY t.id) AS m ON m.id = 't' || n""",
    """INSERT INTO "LiteLLM_BudgetTable" (budget_id, allowed_models, created_by, updated_by)
       SELECT 's' || n, CASE n %% 3 WHEN 0 THEN ARRAY['openai/*'] WHEN 1 THEN ARRAY['model-3'] ELSE ARRAY['ag3'] END,
              'x', 'x'
         FROM generate_series(1, 300) AS n""",
    """INSERT INTO "LiteLLM_TeamMembership" (user_id, team_id, budget_id)
       SELECT u.user_id, t.id, CASE WHEN right(t.id, -1)::integer %% 8 = 0 AND random() < 0.2
                                    THEN 's' || 1 + floor(random() * 300)::integer END
         FROM "LiteLLM_UserTable" AS u, unnest(u.teams) AS t(id)""",
    """INSERT INTO "LiteLLM_VerificationToken" (token, user_id, team_id, key_alias, models, blocked, expires)
       SELECT 'token ' || n, 'u' || 1 + floor(random() * %(users)s)::integer,
              CASE WHEN n %% 4 = 0 THEN 't' || 1 + floor(random() * %(teams)s)::integer END, 'Key ' || n,
              CASE WHEN n %% 7 = 0 THEN ARRAY['model-3', 'bedrock/model-6'] ELSE '{}' END,
              CASE WHEN n %% 20 = 0 THEN true END, CASE WHEN n %% 20 = 1 THEN now() - interval '1 day' END
         FROM generate_series(1, %(users)s * 3 / 2) AS n""",
    "ANALYZE",
)


def fill(session: Session) -> None:
    """The same rows each time."""
    for statement in _WORLD:
        session.run(statement, _VALUES)
