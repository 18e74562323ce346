-- A key that refers to a partition counts as one that refers to the whole table, and a key of a partition as one of the
-- whole table.
WITH found AS (
  SELECT coalesce(pg_partition_root(k.conrelid), k.conrelid)::oid::int8 AS oid,
         coalesce(pg_partition_root(k.confrelid), k.confrelid)::oid::int8 AS target,
         ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY u(number, place)
                 JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.number ORDER BY u.place) AS columns,
         ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY u(number, place)
                 JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.number ORDER BY u.place)
           AS target_columns,
         k.confdeltype = 'c' AS cascades, k.conkey, k.conname
    FROM pg_constraint k
   WHERE k.contype = 'f' AND k.conparentid = 0
     AND (k.conrelid = ANY (%(oids)s) OR pg_partition_root(k.conrelid) = ANY (%(oids)s))
)
SELECT oid, target, columns, target_columns, bool_or(cascades) AS cascades FROM found
 GROUP BY oid, target, columns, target_columns ORDER BY oid, min(conkey), min(conname)
