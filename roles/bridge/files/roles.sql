-- The bridge's roles that are there, and whether this database or one that has nothing to do with this bridge uses them.
-- Usable: the login may take away what they own.
SELECT role.rolname AS name, pg_has_role(role.oid, 'USAGE') AS usable,
       coalesce(bool_or(depend.dbid = here.oid OR depend.classid = 'pg_database'::regclass AND depend.objid = here.oid), false) AS used_here,
       coalesce(bool_or(database.datname <> ALL (ARRAY(SELECT jsonb_array_elements_text(%(roles)s::jsonb -> 'databases')))), false)
       AS used_elsewhere
FROM jsonb_array_elements_text(%(roles)s::jsonb -> 'roles') AS wanted
JOIN pg_roles AS role ON role.rolname = wanted
JOIN pg_database AS here ON here.datname = current_database()
LEFT JOIN pg_shdepend AS depend ON depend.refclassid = 'pg_authid'::regclass AND depend.refobjid = role.oid
LEFT JOIN pg_database AS database
       ON database.oid = CASE WHEN depend.classid = 'pg_database'::regclass THEN depend.objid ELSE depend.dbid END
GROUP BY role.oid, role.rolname ORDER BY role.rolname
