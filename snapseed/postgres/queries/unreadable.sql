-- The grants that this role lacks to lock every table of the database for reading, partitions included, as pg_dump does.
-- Those of a parallel load that was killed are left out.
WITH others AS (
  SELECT oid, nspname FROM pg_namespace
   WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'snapseed')
     AND coalesce(obj_description(oid, 'pg_namespace') !~ '^snapseed staging [0-9a-f]{64}$', true)
)
SELECT format('GRANT USAGE ON SCHEMA %I TO %I;', n.nspname, current_user) AS fix
  FROM others n
 WHERE NOT has_schema_privilege(n.oid, 'USAGE')
   AND EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = n.oid AND c.relkind IN ('r', 'p'))
UNION ALL
SELECT format('GRANT SELECT ON %I.%I TO %I;', n.nspname, c.relname, current_user)
  FROM pg_class c JOIN others n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND NOT has_table_privilege(c.oid, 'SELECT')
