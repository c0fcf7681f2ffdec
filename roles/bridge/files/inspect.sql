-- One look at one database, in one row: what is there, what the bridge still lacks, and what the login may not do.
-- Reads the catalog only. A percent sign would have to be doubled: the driver fills in the named arguments.
WITH login AS (
    SELECT oid, rolname, rolsuper, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = current_user
), owner_role AS (
    SELECT oid, rolcanlogin OR rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls AS privileged
    FROM pg_roles WHERE rolname = %(owner_role)s
), sync_user AS (
    SELECT oid, rolcanlogin AND NOT (rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls) AS fits,
           rolsuper,
           EXISTS (SELECT FROM pg_auth_members WHERE member = pg_roles.oid) AS member_of_any
    FROM pg_roles WHERE rolname = %(sync_user)s
), timer_role AS (
    SELECT oid FROM pg_roles WHERE rolname = %(timer_role)s
), program_table AS (
    SELECT name, class.oid, class.relowner
    FROM unnest(string_to_array(%(tables)s, ',')) AS name
    LEFT JOIN pg_class AS class ON class.oid = to_regclass('public.' || quote_ident(name))
), optional_table AS (
    SELECT name, to_regclass('public.' || quote_ident(name)) AS oid
    FROM unnest(string_to_array(%(optional_tables)s, ',')) AS name
), extension AS (
    SELECT nspname AS schema FROM pg_extension JOIN pg_namespace AS namespace ON namespace.oid = extnamespace
    WHERE extname = %(extension)s
), bridge_schema AS (
    SELECT namespace.oid, nspowner, pg_get_userbyid(nspowner) AS owner FROM pg_namespace AS namespace
    WHERE nspname = 'user_bridge'
), wanted (type, "schema", objs, privs, "role", granted, state) AS (
    -- What an extension brings into the bridge's schema, PostgreSQL lets everybody execute; a superuser owns it.
    SELECT 'function', 'user_bridge', 'ALL_IN_SCHEMA', 'EXECUTE', "role",
           EXISTS (SELECT FROM extension WHERE schema <> 'user_bridge' OR NOT EXISTS (
               SELECT FROM pg_depend AS depend JOIN pg_proc AS function ON function.oid = depend.objid
               WHERE depend.deptype = 'e' AND depend.classid = 'pg_proc'::regclass
                 AND depend.refobjid = (SELECT oid FROM pg_extension WHERE extname = %(extension)s)
                 AND has_function_privilege('public', function.oid, 'EXECUTE'))), state
    FROM (VALUES (%(owner_role)s, 'present'), ('PUBLIC', 'absent')) AS either ("role", state), login
    WHERE login.rolsuper
    UNION ALL
    SELECT 'schema', NULL, nspname::text, 'USAGE', %(owner_role)s,
           has_schema_privilege(owner_role.oid, namespace.oid, 'USAGE'), 'present'
    FROM pg_namespace AS namespace LEFT JOIN owner_role ON true
    WHERE nspname = 'public' OR nspname IN (SELECT schema FROM extension WHERE schema <> 'user_bridge')
    UNION ALL
    SELECT 'table', 'public', name, %(table_privileges)s,
           %(owner_role)s, (SELECT bool_and(has_table_privilege(owner_role.oid, program.oid, privilege))
                            FROM unnest(string_to_array(%(table_privileges)s, ',')) AS privilege), 'present'
    FROM (SELECT name, oid FROM program_table UNION ALL SELECT name, oid FROM optional_table) AS program
    LEFT JOIN owner_role ON true
    WHERE program.oid IS NOT NULL
    UNION ALL
    SELECT 'default_privs', 'public', 'TABLES', %(table_privileges)s, %(owner_role)s,
           (SELECT count(DISTINCT privilege_type) = cardinality(string_to_array(%(table_privileges)s, ','))
            FROM pg_default_acl, aclexplode(defaclacl), owner_role
            WHERE defaclobjtype = 'r' AND defaclnamespace = to_regnamespace('public')
              AND pg_get_userbyid(defaclrole) = %(owner)s AND grantee = owner_role.oid
              AND privilege_type = ANY (string_to_array(%(table_privileges)s, ','))), 'present'
    WHERE %(side)s = 'openwebui'
    UNION ALL
    -- A superuser gives the foreign server to the owner role without this.
    SELECT 'foreign_data_wrapper', NULL, fdwname::text, 'USAGE', %(owner_role)s,
           has_foreign_data_wrapper_privilege(owner_role.oid, wrapper.oid, 'USAGE'), 'present'
    FROM login, pg_foreign_data_wrapper AS wrapper LEFT JOIN owner_role ON true
    WHERE fdwname = 'dblink_fdw' AND %(side)s = 'litellm' AND NOT login.rolsuper
    UNION ALL
    SELECT 'database', NULL, current_database()::text, 'CONNECT', %(sync_user)s,
           (SELECT EXISTS (SELECT FROM pg_database, aclexplode(datacl), sync_user
                           WHERE datname = current_database() AND grantee = sync_user.oid AND privilege_type = 'CONNECT')), 'present'
    WHERE %(side)s = 'openwebui'
    UNION ALL
    SELECT 'schema', NULL, 'user_bridge', 'USAGE', %(sync_user)s,
           (SELECT has_schema_privilege(sync_user.oid, bridge_schema.oid, 'USAGE') FROM sync_user, bridge_schema), 'present'
    WHERE %(side)s = 'openwebui'
    UNION ALL
    SELECT 'schema', NULL, 'user_bridge', 'USAGE', %(timer_role)s,
           (SELECT has_schema_privilege(timer_role.oid, bridge_schema.oid, 'USAGE') FROM timer_role, bridge_schema), 'present'
    WHERE %(side)s = 'litellm' AND %(timer_role)s <> ''
), lacking (needed) AS (
    SELECT 'CREATEROLE, to create the role ' || name
    FROM unnest(ARRAY[%(owner_role)s] || CASE %(side)s WHEN 'openwebui' THEN ARRAY[%(sync_user)s] ELSE ARRAY[%(timer_role)s] END) AS name, login
    WHERE name <> '' AND NOT rolcreaterole AND NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name)
    UNION ALL
    SELECT 'CREATE on the database ' || current_database()
    WHERE NOT EXISTS (SELECT FROM bridge_schema) AND NOT has_database_privilege(current_database(), 'CREATE')
    UNION ALL
    SELECT 'superuser, to create the extension ' || %(extension)s || ' (or have an administrator create it)'
    WHERE NOT EXISTS (SELECT FROM extension)
      AND NOT EXISTS (SELECT FROM pg_available_extension_versions AS offered
                      WHERE name = %(extension)s AND to_jsonb(offered) ->> 'trusted' = 'true' AND has_database_privilege(current_database(), 'CREATE'))
    UNION ALL
    SELECT DISTINCT 'membership in ' || pg_get_userbyid(relowner) || ', which owns the tables'
    FROM program_table, login
    WHERE program_table.oid IS NOT NULL AND NOT pg_has_role(login.oid, relowner, 'USAGE')
    UNION ALL
    SELECT 'USAGE on the foreign data wrapper ' || objs || ' WITH GRANT OPTION' FROM wanted
    WHERE CASE WHEN type = 'foreign_data_wrapper' AND granted IS NOT TRUE
               THEN NOT has_foreign_data_wrapper_privilege(objs, 'USAGE WITH GRANT OPTION') END
    UNION ALL
    SELECT 'membership in ' || %(owner_role)s || ', which exists'
    FROM owner_role, login WHERE NOT rolcreaterole AND NOT pg_has_role(login.oid, owner_role.oid, 'MEMBER')
)
SELECT
    current_setting('server_version_num')::integer AS version_num,
    current_setting('server_version') AS version,
    pg_is_in_recovery() AS is_standby,
    extract(epoch FROM pg_postmaster_start_time())::text AS started_at,
    EXISTS (SELECT FROM pg_database WHERE datname = %(db)s) AS database_exists,
    login.rolsuper OR login.rolcreatedb AS may_create_databases,
    login.rolsuper OR login.rolcreaterole OR EXISTS (SELECT FROM pg_roles WHERE rolname = %(owner)s) AS may_have_owner,
    login.rolsuper AS is_superuser,
    has_table_privilege('pg_authid', 'SELECT') AS reads_passwords,
    current_setting('cron.database_name', true) AS cron_database,
    CASE WHEN owner_role.oid IS NOT NULL THEN pg_has_role(
        login.oid, owner_role.oid, CASE WHEN current_setting('server_version_num')::integer < 160000 THEN 'MEMBER' ELSE 'SET' END)
    END AS is_owner_member,
    owner_role.oid IS NOT NULL AS owner_role_exists,
    coalesce(owner_role.privileged, false) AS owner_role_is_privileged,
    sync_user.oid IS NOT NULL AS sync_user_exists,
    coalesce(sync_user.fits, false) AS sync_user_fits,
    coalesce(sync_user.rolsuper OR sync_user.member_of_any, false) AS sync_user_is_privileged,
    (SELECT schema FROM extension) AS extension_schema,
    EXISTS (SELECT FROM pg_available_extensions WHERE name = %(extension)s) AS extension_is_available,
    (SELECT owner FROM bridge_schema) AS schema_owner,
    ARRAY(SELECT name FROM program_table WHERE oid IS NULL ORDER BY name) AS missing_tables,
    ARRAY(SELECT DISTINCT pg_get_userbyid(relowner)::text FROM program_table WHERE oid IS NOT NULL
          AND pg_get_userbyid(relowner) <> %(owner)s) AS other_owners,
    -- The probe names the program's tables, which may not be there or not be readable: a plain subquery would fail.
    CASE WHEN has_table_privilege(to_regclass(%(probe_table)s), 'SELECT')
         THEN substring(query_to_xml(%(probe)s, false, false, '')::text FROM '<count>(\d+)</count>')::integer
    END AS admins,
    (SELECT coalesce(jsonb_agg(jsonb_build_object('side', %(side)s, 'type', type, 'schema', "schema", 'objs', objs, 'privs', privs,
                                                  'role', "role", 'state', state)), '[]') FROM (
        SELECT type, "schema", string_agg(objs, ',' ORDER BY objs) AS objs, privs, "role", state
        FROM wanted WHERE granted IS NOT TRUE GROUP BY type, "schema", privs, "role", state
        ORDER BY state DESC, 1, 2, 4, 5) AS missing
    ) AS missing_grants,
    ARRAY(SELECT needed FROM lacking WHERE NOT login.rolsuper) AS missing_rights
FROM login LEFT JOIN owner_role ON true LEFT JOIN sync_user ON true
