-- The materialized views without data, but some, in the order in which they were created.
SELECT n.nspname AS schema, c.relname AS table, format('%%I.%%I', n.nspname, c.relname) AS name
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'm' AND NOT c.relispopulated
   AND NOT EXISTS (SELECT FROM unnest(%(but)s::text[]) b (name) WHERE to_regclass(b.name) = c.oid)
 ORDER BY c.oid
