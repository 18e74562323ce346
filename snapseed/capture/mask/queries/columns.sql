-- The columns of all tables, by their table; those of partitions belong to the whole table. A domain may be based on
-- another domain; `beneath` ends at the type under all of them. `full_type` is a domain only if its checks call nothing
-- of somebody's, which would then run as this role.
WITH RECURSIVE beneath AS (
  SELECT c.oid AS relid, n.nspname, c.relname, a.attnum, a.atttypid AS type, a.atttypmod AS modifier, a.attnotnull AS not_null,
         true AS is_harmless
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
   WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
     AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'snapseed')
     -- Left by a parallel load that was killed.
     AND coalesce(obj_description(n.oid, 'pg_namespace') !~ '^snapseed staging [0-9a-f]{64}$', true)
     AND has_schema_privilege(n.oid, 'USAGE')
     AND NOT EXISTS (SELECT FROM pg_depend d
                      WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
  UNION ALL
  SELECT d.relid, d.nspname, d.relname, d.attnum, t.typbasetype, t.typtypmod, d.not_null OR t.typnotnull,
         d.is_harmless AND NOT EXISTS (
           SELECT FROM pg_constraint k JOIN pg_depend u ON u.classid = 'pg_constraint'::regclass AND u.objid = k.oid
            WHERE k.contypid = t.oid AND u.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass))
    FROM beneath d JOIN pg_type t ON t.oid = d.type WHERE t.typtype = 'd'
)
SELECT d.relid::int8 AS oid, d.nspname AS schema, d.relname AS table, a.attname AS name,
       format_type(d.type, d.modifier) AS type,
       CASE WHEN d.is_harmless THEN format_type(a.atttypid, a.atttypmod) ELSE format_type(d.type, d.modifier) END
         AS full_type, d.not_null,
       a.attgenerated <> '' AS is_generated, pg_get_expr(v.adbin, v.adrelid) AS expression,
       coalesce(o.collisdeterministic, true) AS is_deterministic, coalesce(e.typtype, b.typtype) = 'e' AS is_enum,
       ARRAY(SELECT p.attname::text FROM pg_attribute p
              WHERE p.attrelid = coalesce(e.typrelid, b.typrelid) AND p.attnum > 0 AND NOT p.attisdropped) AS parts,
       has_column_privilege(d.relid, d.attnum, 'SELECT') AS may_select
  FROM beneath d
  JOIN pg_attribute a ON a.attrelid = d.relid AND a.attnum = d.attnum
  JOIN pg_type b ON b.oid = d.type AND b.typtype <> 'd'
  LEFT JOIN pg_type e ON e.oid = b.typelem AND b.typcategory = 'A'
  LEFT JOIN pg_attrdef v ON v.adrelid = d.relid AND v.adnum = d.attnum
  LEFT JOIN pg_collation o ON o.oid = a.attcollation
 ORDER BY d.nspname, d.relname, d.attnum
