# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A bridge that came out of a dump without its owners: all of it belongs to whoever restored it.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._catalog.records import BOOKKEEPING_NAME
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import Roles

# An owner role of the bridge does not log in and has no table of a program: with another one somebody has renamed it.
_RESTORED_BY = f"""
SELECT r.rolname::text
  FROM pg_class AS c JOIN pg_roles AS r ON r.oid = c.relowner JOIN pg_namespace AS n ON n.oid = c.relnamespace
 -- Not by to_regclass(), which fails for a login that may not use the schema.
 WHERE n.nspname || '.' || c.relname = '{BOOKKEEPING_NAME}' AND c.relkind = 'r'
   AND r.rolname NOT IN (%(owner)s, %(program)s)
   AND (SELECT count(*) FROM pg_attribute AS a
         WHERE a.attrelid = c.oid AND NOT a.attisdropped AND a.attname::text = ANY (ARRAY[
               'kind', 'name', 'definition', 'fingerprint', 'server_major', 'version', 'applied_at'])) = 7
   AND (r.rolcanlogin OR r.rolsuper
        OR EXISTS (SELECT FROM pg_class AS p
                    WHERE p.relnamespace = to_regnamespace('public') AND p.relkind = 'r' AND p.relowner = r.oid))"""


def restored_by(cur: Any, roles: Roles) -> str | None:
    """Whose the bridge in this database is, where it was restored without its owners."""
    found = _pg.value(cur, _RESTORED_BY, {"owner": roles.owner, "program": roles.program})
    return None if found is None else str(found)
