-- The columns whose values an UPDATE may not exchange between rows: those of unique indexes and exclusion constraints,
-- also in their expressions and conditions, of tables and of their partitions. An identity may be GENERATED ALWAYS.
SELECT w.oid::int8 AS of_table, a.attname::text AS name
  FROM unnest(%(oids)s::oid[]) w(oid)
  CROSS JOIN LATERAL (SELECT w.oid AS relid UNION SELECT relid FROM pg_partition_tree(w.oid::regclass)) t
  JOIN pg_index i ON i.indrelid = t.relid AND (i.indisunique OR i.indisexclusion)
  LEFT JOIN pg_constraint k ON k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x')
  JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = i.indrelid AND d.refobjsubid > 0
                  AND (d.classid, d.objid) IN (('pg_class'::regclass, i.indexrelid), ('pg_constraint'::regclass, k.oid))
  JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = d.refobjsubid
UNION
SELECT attrelid::int8, attname::text FROM pg_attribute
 WHERE attrelid = ANY (%(oids)s::oid[]) AND attidentity = 'a' AND NOT attisdropped
