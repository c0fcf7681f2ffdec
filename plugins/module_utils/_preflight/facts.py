# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What one database, its server and its login have, read from the catalog.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg, _secret
from ansible_collections.llmops.user_bridge.plugins.module_utils._catalog.foreign import (
    foreign_kinds,
    foreign_to_an_installation,
)
from ansible_collections.llmops.user_bridge.plugins.module_utils._catalog.restored import restored_by
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import SCHEMA, Roles
from ansible_collections.llmops.user_bridge.plugins.module_utils._preflight.enforcement import read_enforcement

SIDES = ("litellm", "openwebui")
# LiteLLM's side calls Open WebUI's; Open WebUI's side hashes passwords.
EXTENSIONS = {"litellm": "dblink", "openwebui": "pgcrypto"}

# Whether somebody is admin in Open WebUI, or becomes it by what LiteLLM says: a table and a query.
_ADMINS = {
    "litellm": (
        "LiteLLM_UserTable",
        'SELECT count(*) FROM public."LiteLLM_UserTable"'
        # At least; which emails are usable is the SQL's to say.
        " WHERE user_role = 'proxy_admin' AND user_id <> 'default_user_id' AND btrim(user_email) LIKE '_%@_%'"
        " AND NOT metadata @> '{\"scim_active\": false}'",
    ),
    "openwebui": ("user", "SELECT count(*) FROM public.\"user\" WHERE role = 'admin'"),
}

_SERVER = f"""
SELECT current_setting('server_version_num')::integer AS version_num, current_setting('server_version') AS version,
       pg_is_in_recovery() AS is_standby, extract(epoch FROM pg_postmaster_start_time())::text AS started_at,
       -- Hidden from logins that may not read all settings.
       coalesce((SELECT s.setting FROM pg_settings AS s WHERE s.name = 'cron.database_name'),
                (SELECT current_database() FROM pg_extension WHERE extname = 'pg_cron'))::text AS cron_database,
       coalesce((SELECT s.setting = 'on' FROM pg_settings AS s WHERE s.name = 'cron.use_background_workers'), false)
         AS cron_workers,
       current_setting('max_connections')::integer AS max_connections,
       current_setting('superuser_reserved_connections')::integer
         + coalesce(current_setting('reserved_connections', true)::integer, 0) AS reserved_connections,
       (SELECT d.datconnlimit FROM pg_database AS d WHERE d.datname = current_database()) AS database_limit,
       current_database()::text AS database, r.rolname::text AS login, r.rolsuper AS is_superuser,
       r.rolsuper OR r.rolcreaterole AS may_create_roles, r.rolsuper OR r.rolcreatedb AS may_create_databases,
       has_database_privilege(current_database(), 'CREATE') AS may_create_schemas,
       has_database_privilege(current_database(), 'TEMPORARY') AS may_create_temporary,
       has_table_privilege('pg_authid', 'SELECT') AS reads_passwords,
       -- The default before PostgreSQL 15, and of what was upgraded from there.
       coalesce(has_schema_privilege('public', to_regnamespace('public')::oid, 'CREATE'), false)
         AS schema_public_is_open,
       EXISTS (SELECT FROM pg_database WHERE datname = %(db)s) AS database_exists,
       EXISTS (SELECT FROM pg_roles WHERE rolname = %(program_owner)s) AS program_owner_exists,
       (SELECT pg_get_userbyid(nspowner)::text FROM pg_namespace WHERE nspname = '{SCHEMA}') AS schema_owner
  FROM pg_roles AS r WHERE r.rolname = current_user"""

_EXTENSION = f"""
WITH f AS (
  SELECT p.oid, p.pronamespace
    FROM pg_extension AS e
    JOIN pg_depend AS d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
    JOIN pg_proc AS p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
   WHERE e.extname = %(extension)s AND d.deptype = 'e'
)
SELECT (SELECT n.nspname::text FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace
         WHERE e.extname = %(extension)s) AS extension_schema,
       -- The owner of a schema can replace it. From 15 on, the owner of the database owns public.
       (SELECT o.rolname::text
          FROM pg_extension AS e
          JOIN pg_namespace AS n ON n.oid = e.extnamespace AND n.nspname <> '{SCHEMA}'
          JOIN pg_database AS d ON d.datname = current_database()
          JOIN pg_roles AS o ON o.oid = CASE WHEN n.nspowner = to_regrole('pg_database_owner') THEN d.datdba
                                             ELSE n.nspowner END
         WHERE e.extname = %(extension)s AND NOT o.rolsuper
           AND o.rolname NOT IN (%(owner_role)s, current_user)) AS extension_schema_stranger,
       EXISTS (SELECT FROM pg_available_extensions WHERE name = %(extension)s) AS extension_is_available,
       EXISTS (SELECT FROM pg_available_extension_versions AS v
                WHERE v.name = %(extension)s AND to_jsonb(v) ->> 'trusted' = 'true') AS extension_is_trusted,
       EXISTS (SELECT FROM f WHERE f.pronamespace = to_regnamespace('{SCHEMA}')
                                AND has_function_privilege('public', f.oid, 'EXECUTE')) AS extension_is_public,
       ARRAY(SELECT r.rolname::text FROM pg_roles AS r
              WHERE r.rolname IN (%(program_owner)s, %(program_role)s) AND NOT r.rolsuper
                AND EXISTS (SELECT FROM f WHERE has_function_privilege(r.oid, f.oid, 'EXECUTE')
                                            AND has_schema_privilege(r.oid, f.pronamespace, 'USAGE'))
              ORDER BY 1) AS extension_users,
       (SELECT bool_and(has_function_privilege(r.oid, f.oid, 'EXECUTE'))
          FROM f JOIN pg_roles AS r ON r.rolname = %(extension_role)s) AS extension_is_granted"""

# PostgreSQL 16 tells the right to become a role from being a member of it.
_ROLES = f"""
SELECT r.rolname::text AS name, r.rolcanlogin AS can_login, r.rolsuper AS is_superuser,
       r.rolconnlimit AS connection_limit,
       r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication OR r.rolbypassrls AS has_attributes,
       EXISTS (SELECT FROM pg_auth_members AS m WHERE m.member = r.oid) AS is_member,
       pg_has_role(r.oid, 'MEMBER') AS login_is_member,
       pg_has_role(r.oid, CASE WHEN current_setting('server_version_num')::integer < 160000 THEN 'MEMBER'
                               ELSE 'SET' END) AS login_may_become,
       coalesce((SELECT has_schema_privilege(r.oid, n.oid, 'USAGE') FROM pg_namespace AS n
                  WHERE n.nspname = '{SCHEMA}'), false) AS uses_schema,
       EXISTS (SELECT FROM pg_database AS d, aclexplode(d.datacl) AS a
                WHERE d.datname = current_database() AND a.grantee = r.oid AND a.privilege_type = 'CONNECT') AS connects
  FROM pg_roles AS r WHERE r.rolname = ANY (%(names)s::text[])"""

_TABLES = """
SELECT t.name, pg_get_userbyid(c.relowner)::text AS owner, pg_has_role(c.relowner, 'USAGE') AS is_mine,
       ARRAY(SELECT p.name FROM unnest(%(privileges)s::text[]) AS p(name), pg_roles AS r
              WHERE r.rolname = %(program_role)s AND has_table_privilege(r.oid, c.oid, p.name)) AS held
  FROM unnest(%(tables)s::text[]) AS t(name)
  JOIN pg_class AS c ON c.oid = to_regclass('public.' || quote_ident(t.name))"""

# Of the program, which the program role uses, and of the extension; the bridge's own belongs to the owner role.
_SCHEMAS = f"""
SELECT n.nspname::text AS name, u.role,
       coalesce((SELECT has_schema_privilege(r.oid, n.oid, 'USAGE') FROM pg_roles AS r
                  WHERE r.rolname = u.role), false) AS used
  FROM pg_namespace AS n
  JOIN (VALUES ('public', %(program_role)s::text), (%(extension_schema)s::text, %(extension_role)s::text))
       AS u(schema, role) ON u.schema = n.nspname
 WHERE n.nspname <> '{SCHEMA}'"""

_DEFAULT_PRIVILEGES = """
SELECT pg_get_userbyid(a.grantee)::text AS role, array_agg(DISTINCT a.privilege_type::text) AS names
  FROM pg_default_acl AS d, aclexplode(d.defaclacl) AS a
 WHERE d.defaclobjtype = 'r' AND d.defaclnamespace = to_regnamespace('public')
   AND pg_get_userbyid(a.grantee) IN (%(owner_role)s, %(program_role)s)
   AND pg_get_userbyid(d.defaclrole) = %(program_owner)s
 GROUP BY 1"""

# What the owner role may do with tables of the program, which the first version of the bridge granted.
_HELD_BY_OWNER = """
SELECT DISTINCT c.relname::text AS name
  FROM pg_class AS c
  LEFT JOIN pg_attribute AS t ON t.attrelid = c.oid AND t.attacl IS NOT NULL
 CROSS JOIN LATERAL (SELECT * FROM aclexplode(c.relacl) UNION ALL SELECT * FROM aclexplode(t.attacl)) AS a
 WHERE c.relnamespace = to_regnamespace('public') AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
   AND pg_get_userbyid(a.grantee) = %(owner_role)s
 ORDER BY 1"""

_WRAPPER = """
SELECT coalesce((SELECT has_foreign_data_wrapper_privilege(r.oid, w.oid, 'USAGE') FROM pg_roles AS r
                  WHERE r.rolname = %(owner_role)s), false) AS used,
       has_foreign_data_wrapper_privilege(w.oid, 'USAGE WITH GRANT OPTION') AS may_grant
  FROM pg_foreign_data_wrapper AS w WHERE w.fdwname = 'dblink_fdw'"""


_NO_SCHEMA: dict[str, Any] = {"restored_by": None, "foreign_objects": []}


@dataclass(frozen=True)
class Asked:
    """What the facts of one side are asked for. program_owner owns the program's tables, owner_role the bridge."""

    side: str
    db: str
    program_owner: str
    owner_role: str
    # Owns the functions that touch the program's tables.
    program_role: str
    sync_user: str
    timer_user: str
    tables: dict[str, dict[str, Any]]
    privileges: tuple[str, ...]
    # May read the metrics, where there is one.
    monitor_user: str = ""
    # What enforcement needs beyond that, and whether it is asked for; None: nobody says.
    enforced: dict[str, list[str]] = field(default_factory=dict)
    enforces: bool | None = None

    @property
    def extension_role(self) -> str:
        """Who uses the extension: the owner role connects, the program role hashes passwords."""
        return self.owner_role if self.side == "litellm" else self.program_role

    @property
    def required_tables(self) -> list[str]:
        """Those that every supported version of the program has."""
        return [name for name, table in self.tables.items() if "since" not in (table or {})]


def is_supported(facts: dict[str, Any]) -> bool:
    """Whether the server has the catalog that the bridge asks. An older one is refused by its version."""
    return int(facts["version_num"]) >= 130000


def read_facts(cur: Any, asked: Asked) -> dict[str, Any]:
    """The facts, inside a transaction of C(_pg.transaction). None of them is a secret."""
    names = {
        "owner_role": asked.owner_role,
        "program_role": asked.program_role,
        "program_owner": asked.program_owner,
        "extension": EXTENSIONS[asked.side],
        "extension_role": asked.extension_role,
        "db": asked.db,
    }
    (facts,) = _pg.rows(cur, _SERVER, names)
    facts.update(_pg.rows(cur, _EXTENSION, names)[0])
    names_of_roles = (asked.owner_role, asked.program_role, asked.sync_user, asked.timer_user, asked.monitor_user)
    roles = [name for name in names_of_roles if name]
    facts["roles"] = {row.pop("name"): row for row in _pg.rows(cur, _ROLES, {"names": roles})}
    tables = _pg.rows(cur, _TABLES, {**names, "tables": list(asked.tables), "privileges": list(asked.privileges)})
    facts["tables"] = {row.pop("name"): row for row in tables}
    schemas = _pg.rows(cur, _SCHEMAS, {**names, "extension_schema": facts["extension_schema"]})
    facts["unused_schemas"] = sorted((row["name"], row["role"]) for row in schemas if not row["used"])
    found = _pg.rows(cur, _DEFAULT_PRIVILEGES, names)
    facts["default_privileges"] = {row["role"]: row["names"] for row in found}
    facts["held_by_owner"] = [row["name"] for row in _pg.rows(cur, _HELD_BY_OWNER, names)]
    facts.update(_of_schema(cur, Roles(asked.owner_role, asked.program_role)) if is_supported(facts) else _NO_SCHEMA)
    facts["wrapper"] = next(iter(_pg.rows(cur, _WRAPPER, names)), None)
    facts["enforcement"] = read_enforcement(cur, asked.program_role, asked.enforced)
    facts["shows_secrets"] = _secret.shown_by(cur)
    facts["admins"] = None
    return facts


def _of_schema(cur: Any, roles: Roles) -> dict[str, Any]:
    """Whose a bridge is that was restored without its owners, and what else is in the schema."""
    restorer = restored_by(cur, roles)
    found = foreign_to_an_installation(cur, roles) if restorer is None else foreign_kinds(cur)
    return {"restored_by": restorer, "foreign_objects": found}


def count_admins(cur: Any, side: str, proved: frozenset[str]) -> int | None:
    """None where there is no table to count in, or the login may not."""
    table, query = _ADMINS[side]
    return int(_pg.value(cur, query)) if table in proved else None
