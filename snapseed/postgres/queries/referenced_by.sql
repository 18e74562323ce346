-- Foreign keys of other tables that refer to this one, with their columns and whether this role may read those. A
-- key that refers to a partition of this table, or to the table that this is a partition of, blocks TRUNCATE as
-- well. So does a key of the latter to itself, but we do not look up which of its rows refer to this partition.
WITH own AS (SELECT %(oid)s::oid AS relid UNION SELECT relid FROM pg_partition_tree(%(oid)s::oid::regclass)),
     related AS (SELECT relid FROM own UNION SELECT relid FROM pg_partition_ancestors(%(oid)s::oid::regclass))
SELECT k.conrelid::int8 AS oid,
       ARRAY(SELECT a.relid::oid::int8 FROM pg_partition_ancestors(k.conrelid::regclass) a) AS above,
       n.nspname AS schema, c.relname AS table, k.conindid::int8 AS index, k.confdeltype IN ('c', 'n', 'd') AS acts,
       ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey))
         AS columns,
       k.conrelid NOT IN (SELECT relid FROM related)
         AND has_schema_privilege(n.oid, 'USAGE') AND NOT row_security_active(c.oid)
         AND (SELECT bool_and(has_column_privilege(k.conrelid, u.number, 'SELECT')) FROM unnest(k.conkey) u(number))
         AS may_look,
       c.relkind = 'r' AS alone
  FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE k.confrelid IN (SELECT relid FROM related) AND k.conrelid NOT IN (SELECT relid FROM own)
   AND k.contype = 'f' AND k.conparentid = 0
 ORDER BY n.nspname, c.relname, k.conname
