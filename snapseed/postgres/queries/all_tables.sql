-- Every table that holds rows of its own or in partitions, without those of the server, of extensions, and ours.
SELECT n.nspname AS schema, c.relname AS table
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
   AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'snapseed')
   -- Left by a parallel load that was killed.
   AND coalesce(obj_description(n.oid, 'pg_namespace') !~ '^snapseed staging [0-9a-f]{64}$', true)
   AND NOT EXISTS (SELECT FROM pg_depend d
                    WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
 ORDER BY 1, 2
