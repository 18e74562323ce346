-- The checks of the tables and of their partitions, and those of their columns' domains, the outermost domain first.
-- A generated column asks for something, too: that its expression has a value of its type.
WITH RECURSIVE domains AS (
  SELECT a.attrelid, a.attname, t.oid AS domain, t.typbasetype AS base
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
   WHERE a.attrelid = ANY (%(oids)s) AND a.attnum > 0 AND NOT a.attisdropped AND t.typtype = 'd'
  UNION ALL
  SELECT d.attrelid, d.attname, t.oid, t.typbasetype
    FROM domains d JOIN pg_type t ON t.oid = d.base WHERE t.typtype = 'd'
), checks AS (
  SELECT coalesce(pg_partition_root(k.conrelid), k.conrelid)::oid::int8 AS oid, k.conname AS name,
         pg_get_expr(k.conbin, k.conrelid) AS expression,
         ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey))
           AS columns,
         false AS of_domain, NULL AS generated,
         EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_constraint'::regclass AND d.objid = k.oid
                    AND d.refclassid = 'pg_proc'::regclass) AS calls
    FROM pg_constraint k
   WHERE k.contype = 'c' AND (k.conrelid = ANY (%(oids)s) OR pg_partition_root(k.conrelid) = ANY (%(oids)s))
     AND (k.conislocal OR NOT (SELECT c.relispartition FROM pg_class c WHERE c.oid = k.conrelid))
  UNION ALL
  SELECT e.adrelid::int8, a.attname,
         format('((%%s)::%%s IS NULL) IS NOT NULL', pg_get_expr(e.adbin, e.adrelid), format_type(a.atttypid, a.atttypmod)),
         ARRAY[]::text[], false, a.attname::text, false
    FROM pg_attrdef e JOIN pg_attribute a ON a.attrelid = e.adrelid AND a.attnum = e.adnum
   WHERE a.attgenerated <> '' AND e.adrelid = ANY (%(oids)s)
  UNION ALL
  SELECT d.attrelid::int8, k.conname, pg_get_expr(k.conbin, 0), ARRAY[d.attname::text], true, NULL, false
    FROM domains d JOIN pg_constraint k ON k.contypid = d.domain AND k.contype = 'c'
)
SELECT oid, expression, columns, of_domain, generated, calls FROM checks ORDER BY oid, of_domain, columns, name
