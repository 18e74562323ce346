-- Foreign keys of other tables that refer to this one, with their columns and whether this role may read those. A
-- key that refers to a partition of this table, or to the table that this is a partition of, blocks TRUNCATE as
-- well. So does a key of the latter to itself, but we do not look up which of its rows refer to this partition.
WITH wanted AS (SELECT oid FROM unnest(%(oids)s::oid[]) w(oid)),
     own AS (SELECT oid, oid AS relid FROM wanted
             UNION SELECT w.oid, t.relid FROM wanted w, pg_partition_tree(w.oid::regclass) t),
     related AS (SELECT oid, relid FROM own
                 UNION SELECT w.oid, a.relid FROM wanted w, pg_partition_ancestors(w.oid::regclass) a)
SELECT x.oid::int8 AS of_table, k.conrelid::int8 AS oid,
       ARRAY(SELECT a.relid::oid::int8 FROM pg_partition_ancestors(k.conrelid::regclass) a) AS above,
       n.nspname AS schema, c.relname AS table, k.conindid::int8 AS index, k.confdeltype IN ('c', 'n', 'd') AS acts,
       ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey))
         AS filled,
       NOT EXISTS (SELECT FROM related r WHERE (r.oid, r.relid) = (x.oid, k.conrelid))
         AND has_schema_privilege(n.oid, 'USAGE') AND NOT row_security_active(c.oid)
         AND (SELECT bool_and(has_column_privilege(k.conrelid, u.number, 'SELECT')) FROM unnest(k.conkey) u(number))
         AS may_look,
       c.relkind = 'r' AS alone
  FROM related x JOIN pg_constraint k ON k.confrelid = x.relid JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE NOT EXISTS (SELECT FROM own o WHERE (o.oid, o.relid) = (x.oid, k.conrelid))
   AND k.contype = 'f' AND k.conparentid = 0
 ORDER BY n.nspname, c.relname, k.conname
