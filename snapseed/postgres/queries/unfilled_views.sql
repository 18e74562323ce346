-- The materialized views without data that this role may fill, in the order in which they were created.
SELECT n.nspname AS schema, c.relname AS table
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'm' AND NOT c.relispopulated AND pg_has_role(c.relowner, 'USAGE')
 ORDER BY c.oid
