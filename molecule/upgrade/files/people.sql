INSERT INTO "LiteLLM_BudgetTable" (budget_id, created_by, updated_by) VALUES ('b1', 'test', 'test');
INSERT INTO "LiteLLM_OrganizationTable" (organization_id, organization_alias, budget_id, created_by, updated_by)
VALUES ('o1', 'Research', 'b1', 'test', 'test');
INSERT INTO "LiteLLM_UserTable" (user_id, user_alias, user_email, user_role, organization_id)
VALUES ('ann', 'Ann', 'ann@example.com', 'internal_user', 'o1');
INSERT INTO "LiteLLM_OrganizationMembership" (user_id, organization_id) VALUES ('ann', 'o1');
