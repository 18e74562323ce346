-- The grants that this role lacks to lock every table of the database for reading, partitions included, as pg_dump does.
SELECT format('GRANT USAGE ON SCHEMA %I TO %I;', n.nspname, current_user) AS fix
  FROM pg_namespace n
 WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'snapseed') AND NOT has_schema_privilege(n.oid, 'USAGE')
   AND EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = n.oid AND c.relkind IN ('r', 'p'))
UNION ALL
SELECT format('GRANT SELECT ON %I.%I TO %I;', n.nspname, c.relname, current_user)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'snapseed')
   AND c.relkind IN ('r', 'p') AND NOT has_table_privilege(c.oid, 'SELECT')
