-- The tables and sequences of users, not our records of loads: each table once, without its partitions, and why it is left out, NULL if it is
-- not. `attached`: a sequence belongs to a column, or a column's default draws from it.
SELECT n.nspname AS schema, c.relname AS name, c.relkind::text AS kind,
       CASE WHEN e.extname IS NOT NULL THEN format('it belongs to the extension %%I', e.extname)
            WHEN c.relkind = 'f' THEN 'it is a foreign table, whose rows are on another server'
            WHEN c.relpersistence = 'u' AND pg_is_in_recovery() THEN 'it is unlogged, so a standby has none of its rows'
       END AS reason,
       c.relpersistence = 'u' AS unlogged,
       c.relkind = 'S' AND EXISTS (
         SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i')
          UNION ALL
         SELECT FROM pg_depend d WHERE d.classid = 'pg_attrdef'::regclass
                                   AND d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid) AS attached,
       CASE WHEN c.relkind = 'S' THEN has_sequence_privilege(c.oid, 'SELECT')
            ELSE has_any_column_privilege(c.oid, 'SELECT') END AS readable
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_depend x ON x.classid = 'pg_class'::regclass AND x.objid = c.oid AND x.deptype = 'e'
  LEFT JOIN pg_extension e ON e.oid = x.refobjid
 WHERE c.relkind IN ('r', 'p', 'f', 'S') AND NOT c.relispartition AND c.relpersistence <> 't'
   AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'snapseed')
   -- Left by a parallel load that was killed.
   AND coalesce(obj_description(n.oid, 'pg_namespace') !~ '^snapseed staging [0-9a-f]{64}$', true)
 ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"
