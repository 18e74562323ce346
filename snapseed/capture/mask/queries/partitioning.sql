-- What decides which partition a row belongs to, where some rows may belong to none: by list or by range, without a
-- default partition. Also of partitions that are partitioned themselves.
SELECT coalesce(pg_partition_root(p.partrelid)::oid, p.partrelid)::int8 AS oid,
       pg_get_partkeydef(p.partrelid) AS expression
  FROM pg_partitioned_table p
 WHERE p.partstrat <> 'h' AND p.partdefid = 0
   AND coalesce(pg_partition_root(p.partrelid)::oid, p.partrelid) = ANY (%(oids)s)
 ORDER BY 1, 2
