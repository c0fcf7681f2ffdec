# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""People whom both programs know before there is a bridge, and who must be bridged."""

from __future__ import annotations

from kit.pairs import Pair

COUNT = 300
# Several batches of a migration.
BATCH = 100
_EVERYBODY = range(1, COUNT + 1)
WITHOUT_EMAIL = {n for n in _EVERYBODY if n % 30 == 0}
# They have the email, in capitals, of whoever came twenty before them: a duplicate, unless that one has none.
REPEATED = {n for n in _EVERYBODY if n not in WITHOUT_EMAIL and 31 <= n % 100 <= 35}
DUPLICATES = {n for n in REPEATED if n - 20 not in WITHOUT_EMAIL}
SYNCED = set(_EVERYBODY) - WITHOUT_EMAIL - DUPLICATES
# They signed up in Open WebUI by themselves.
ADOPTED = {n for n in range(101, 141) if n not in WITHOUT_EMAIL and n not in REPEATED}
ORGANIZATIONS = range(10)
TEAM = range(1, 51)


def account_of(number: int) -> str:
    return f"own-{number}" if number in ADOPTED else f"usr_person-{number}"


def write(pair: Pair) -> None:
    """As LiteLLM and Open WebUI would have written them."""
    pair.litellm.run(_LITELLM, {"count": COUNT, "without": sorted(WITHOUT_EMAIL), "repeated": sorted(REPEATED)})
    pair.openwebui.run(_OPENWEBUI, {"adopted": sorted(ADOPTED)})


_LITELLM = """
INSERT INTO "LiteLLM_BudgetTable" (budget_id, created_by, updated_by)
SELECT 'budget-' || n, 'test', 'test' FROM generate_series(0, 9) AS n;

INSERT INTO "LiteLLM_OrganizationTable" (organization_id, organization_alias, budget_id, created_by, updated_by)
SELECT 'org-' || n, 'Organization ' || n, 'budget-' || n, 'test', 'test' FROM generate_series(0, 9) AS n;

INSERT INTO "LiteLLM_UserTable" (user_id, user_alias, user_email, user_role, created_at)
SELECT 'person-' || n, 'Person ' || n,
       CASE WHEN n = ANY (%(without)s) THEN NULL
            WHEN n = ANY (%(repeated)s) THEN 'PERSON-' || n - 20 || '@EXAMPLE.COM'
            ELSE 'person-' || n || '@example.com' END,
       CASE WHEN n = 1 THEN 'proxy_admin' ELSE 'internal_user' END,
       timestamp '2026-01-01' + n * interval '1 minute'
  FROM generate_series(1, %(count)s) AS n;

INSERT INTO "LiteLLM_OrganizationMembership" (user_id, organization_id)
SELECT 'person-' || n, 'org-' || n %% 10 FROM generate_series(1, %(count)s) AS n;

INSERT INTO "LiteLLM_TeamTable" (team_id, team_alias, members_with_roles)
SELECT 'team-1', 'The first fifty', jsonb_agg(jsonb_build_object('role', 'user', 'user_id', 'person-' || n))
  FROM generate_series(1, 50) AS n
"""

_OPENWEBUI = """
INSERT INTO "user" (id, name, email, role, profile_image_url, last_active_at, updated_at, created_at, settings)
SELECT 'own-' || n, 'Own name ' || n, 'person-' || n || '@example.com', 'user', '/user.png', 1, 1, 1,
       '{"ui": {"theme": "dark"}}'
  FROM unnest(%(adopted)s) AS n;

INSERT INTO auth (id, email, password, active)
SELECT id, email, 'the hash of ' || email, true FROM "user" WHERE id LIKE 'own-%%';

INSERT INTO chat (id, user_id, title, chat, created_at, updated_at, archived)
SELECT 'chat-of-' || id, id, 'A chat', '{}', 1, 1, false FROM "user" WHERE id LIKE 'own-%%'
"""
