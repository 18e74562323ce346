-- Ordinary and partitioned tables: no partitions, no tables of extensions, not our own. One is visible if its name is found
-- in its schema first. A comment that looks personal is none.
SELECT c.oid::int8 AS oid, n.nspname AS schema, c.relname AS name,
       CASE WHEN obj_description(c.oid, 'pg_class') !~ %(personal)s THEN obj_description(c.oid, 'pg_class') ELSE '' END AS comment,
       n.oid IS NOT DISTINCT FROM
         (SELECT v.oid FROM unnest(%(path)s::text[]) WITH ORDINALITY AS p(name, place)
            JOIN pg_namespace v ON v.nspname = p.name JOIN pg_class o ON o.relnamespace = v.oid AND o.relname = c.relname
           ORDER BY p.place LIMIT 1) AS is_visible
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
   AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'snapseed')
   -- Left by a parallel load that was killed.
   AND coalesce(obj_description(n.oid, 'pg_namespace') !~ '^snapseed staging [0-9a-f]{64}$', true)
   AND has_schema_privilege(n.oid, 'USAGE')
   AND NOT EXISTS (SELECT FROM pg_depend d
                    WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
 ORDER BY n.nspname, c.relname
