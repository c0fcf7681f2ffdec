-- 3,000 people: every 30th has no email, and every 31st to 35th of each hundred has the email of an older one in capitals.
SET SESSION AUTHORIZATION litellm;

INSERT INTO "LiteLLM_BudgetTable" (budget_id, created_by, updated_by)
SELECT 'budget-' || n, 'test', 'test' FROM generate_series(1, 10) AS n;

INSERT INTO "LiteLLM_OrganizationTable" (organization_id, organization_alias, budget_id, created_by, updated_by)
SELECT 'org-' || n, 'Organization ' || n, 'budget-' || n, 'test', 'test' FROM generate_series(1, 10) AS n;

INSERT INTO "LiteLLM_UserTable" (user_id, user_alias, user_email, user_role, created_at)
SELECT 'person-' || n, 'Person ' || n,
       CASE WHEN n % 30 = 0 THEN NULL
            WHEN n % 100 BETWEEN 31 AND 35 THEN 'PERSON-' || n - 20 || '@EXAMPLE.COM'
            ELSE 'person-' || n || '@example.com' END,
       CASE WHEN n = 1 THEN 'proxy_admin' ELSE 'internal_user' END,
       timestamp '2026-01-01' + n * interval '1 minute'
  FROM generate_series(1, 3000) AS n;

INSERT INTO "LiteLLM_OrganizationMembership" (user_id, organization_id)
SELECT 'person-' || n, 'org-' || n % 10 + 1 FROM generate_series(1, 3000) AS n;

INSERT INTO "LiteLLM_TeamTable" (team_id, team_alias, members_with_roles)
SELECT 'team-1', 'The first fifty', jsonb_agg(jsonb_build_object('role', 'user', 'user_id', 'person-' || n))
  FROM generate_series(1, 50) AS n;
