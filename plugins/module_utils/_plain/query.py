# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What could run code of a table's owner in whoever reads or writes the table.

Written by "make generate" from roles/triggers/templates/engine/both/not_plain.sql.j2.
This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

NOT_PLAIN = """
WITH asked AS MATERIALIZED (
    SELECT c.oid, c.relkind, c.relrowsecurity, c.oid::regclass::text AS name
      FROM unnest(%(tables)s::text[]) AS t(name) JOIN pg_class AS c ON c.oid = to_regclass(t.name)
), expressions AS MATERIALIZED (
    -- What the planner or a write evaluates. The planner folds calls of functions that claim to be immutable, also in
    -- the predicate of an index or the expression of a statistics object that no query needs.
    SELECT a.name, 'pg_class'::regclass AS classid, i.indexrelid AS objid,
           format('index %%s', i.indexrelid::regclass) AS what, concat(i.indexprs::text, i.indpred::text) AS tree
      FROM asked AS a JOIN pg_index AS i ON i.indrelid = a.oid
     UNION ALL
    SELECT a.name, 'pg_constraint'::regclass, k.oid, format('constraint %%I of %%s', k.conname, a.name), k.conbin::text
      FROM asked AS a JOIN pg_constraint AS k ON k.conrelid = a.oid
     UNION ALL
    SELECT a.name, 'pg_statistic_ext'::regclass, s.oid, format('statistics object %%I of %%s', s.stxname, a.name),
           to_jsonb(s) ->> 'stxexprs'
      FROM asked AS a JOIN pg_statistic_ext AS s ON s.stxrelid = a.oid
     UNION ALL
    SELECT a.name, 'pg_attrdef'::regclass, f.oid,
           format('%%s of column %%I of %%s', CASE t.attgenerated WHEN '' THEN 'default' ELSE 'generation' END,
                  t.attname, a.name), f.adbin::text
      FROM asked AS a
      JOIN pg_attrdef AS f ON f.adrelid = a.oid
      JOIN pg_attribute AS t ON t.attrelid = a.oid AND t.attnum = f.adnum
     WHERE %(writes)s::boolean OR t.attgenerated <> ''
), calls AS MATERIALIZED (
    -- A built-in function leaves no row in pg_depend, and query_to_xml() runs any SQL.
    SELECT e.what, f.id[1]::oid AS function
      FROM expressions AS e, regexp_matches(e.tree, ':(?:funcid|opfuncid) ([0-9]+)', 'g') AS f(id)
     UNION
    SELECT e.what, o.oprcode::oid
      FROM expressions AS e, regexp_matches(e.tree, ':opno ([0-9]+)', 'g') AS f(id)
      JOIN pg_operator AS o ON o.oid = f.id[1]::oid
     UNION
    SELECT e.what, coalesce(o.oprcode::oid, d.refobjid)
      FROM expressions AS e
      JOIN pg_depend AS d ON d.classid = e.classid AND d.objid = e.objid AND d.refobjid >= 16384
       AND d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass)
      LEFT JOIN pg_operator AS o ON d.refclassid = 'pg_operator'::regclass AND o.oid = d.refobjid
)
SELECT format('%%s %%s in the place of a table', CASE a.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view'
              WHEN 'f' THEN 'foreign table' WHEN 'p' THEN 'partitioned table' ELSE 'relation' END, a.name)
  FROM asked AS a WHERE a.relkind <> 'r'
 UNION
SELECT format('table %%s, which inherits from %%s', i.inhrelid::regclass, i.inhparent::regclass)
  FROM asked AS a JOIN pg_inherits AS i ON a.oid IN (i.inhrelid, i.inhparent)
 UNION
SELECT format('rule %%I on %%s', r.rulename, a.name)
  FROM asked AS a JOIN pg_rewrite AS r ON r.ev_class = a.oid WHERE a.relkind = 'r'
 UNION
SELECT format('policy %%I on %%s', p.polname, a.name) FROM asked AS a JOIN pg_policy AS p ON p.polrelid = a.oid
 UNION
SELECT format('row-level security of %%s', a.name) FROM asked AS a WHERE a.relrowsecurity
 UNION
SELECT format('trigger %%I on %%s', t.tgname, a.name)
  FROM asked AS a JOIN pg_trigger AS t ON t.tgrelid = a.oid WHERE %(writes)s::boolean AND NOT t.tgisinternal
 UNION
-- Only a superuser can make a base type of its own, as an extension does.
SELECT format('column %%I of %%s, of type %%s', c.attname, a.name, format_type(c.atttypid, NULL))
  FROM asked AS a
  JOIN pg_attribute AS c ON c.attrelid = a.oid AND c.attnum > 0 AND NOT c.attisdropped
  JOIN pg_type AS t ON t.oid = c.atttypid
  LEFT JOIN pg_type AS e ON e.oid = t.typelem AND t.typlen = -1
 WHERE t.typnamespace <> 'pg_catalog'::regnamespace AND coalesce(e.typtype, t.typtype) <> 'b'
 UNION
SELECT format('%%s, which calls %%s', c.what, c.function::regprocedure)
  FROM calls AS c
  LEFT JOIN pg_proc AS p ON p.oid = c.function
  LEFT JOIN pg_language AS l ON l.oid = p.prolang
 WHERE c.function <> 0
   -- Only superusers make functions in C. Of built-in ones that are not immutable: what a default may well call.
   AND NOT coalesce(l.lanname IN ('c', 'internal') AND (p.provolatile = 'i' OR p.oid < 16384 AND p.proname IN (
               'clock_timestamp', 'date', 'gen_random_uuid', 'nextval', 'now', 'pg_current_xact_id', 'random',
               'statement_timestamp', 'timestamp', 'timestamptz', 'timezone', 'to_timestamp', 'transaction_timestamp',
               'uuidv4', 'uuidv7')),
           false)
 UNION
SELECT format('%%s, which uses type %%s', u.what, format_type(t.oid, NULL))
  FROM (SELECT e.what, d.refobjid
          FROM expressions AS e
          JOIN pg_depend AS d ON d.classid = e.classid AND d.objid = e.objid AND d.refclassid = 'pg_type'::regclass
         UNION
        -- PostgreSQL 17 and 18 leave no row for the type that JSON_VALUE() returns.
        SELECT e.what, f.id[1]::oid
          FROM expressions AS e, regexp_matches(e.tree, ':[a-z_]*typ(?:e|id)[a-z_]* ([0-9]+)', 'g') AS f(id)
       ) AS u(what, type)
  JOIN pg_type AS t ON t.oid = u.type AND t.oid >= 16384
  -- An array of a domain is no domain, and checks it all the same.
  LEFT JOIN pg_type AS i ON i.oid = t.typelem AND t.typlen = -1
 WHERE coalesce(i.typtype, t.typtype) <> 'b'
 ORDER BY 1"""
