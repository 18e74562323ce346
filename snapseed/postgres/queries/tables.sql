-- Ordinary, partitioned and foreign tables, and views. We may not look for rows with row-level security, as nothing is
-- loaded into such a table, and not in a partition on another server, which nobody has allowed.
SELECT t.*, NOT (t.row_security OR t.foreign_partitions <> '{}') AND t.privileges @> '{USAGE,SELECT}' AS may_look
  FROM (
    SELECT c.oid::int8 AS oid, n.nspname AS schema, c.relname AS table, c.relkind::text AS kind,
           c.relkind = 'r' AS alone, '{}'::text[] AS filled,
           c.relpersistence::text AS persistence, pg_has_role(c.relowner, 'USAGE') AS owned,
           pg_has_role(c.relowner, 'USAGE') AND has_schema_privilege(n.oid, 'CREATE') AS may_index,
           ARRAY(SELECT p FROM unnest(ARRAY['DELETE', 'TRUNCATE']) p WHERE has_table_privilege(c.oid, p))
           || CASE WHEN has_any_column_privilege(c.oid, 'SELECT') THEN ARRAY['SELECT'] ELSE '{}' END
           || CASE WHEN has_schema_privilege(n.oid, 'USAGE') THEN ARRAY['USAGE'] ELSE '{}' END AS privileges,
           greatest(c.reltuples, 0)::int8 AS estimated_rows, row_security_active(c.oid) AS row_security,
           EXISTS (SELECT FROM pg_rewrite w WHERE w.ev_class = c.oid AND w.ev_type = '2') AS has_update_rule,
           EXISTS (SELECT FROM pg_publication_rel p WHERE p.prrelid = c.oid) AS is_published,
           ARRAY(SELECT p.relid::regclass::text FROM pg_partition_tree(c.oid) p JOIN pg_class f ON f.oid = p.relid
                  WHERE f.relkind = 'f' AND f.relispartition ORDER BY 1) AS foreign_partitions,
           (SELECT e.extname FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
             WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e') AS extension
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      JOIN unnest(%(schemas)s::text[], %(tables)s::text[]) w(schema, name) ON w.schema = n.nspname AND w.name = c.relname
  ) t
