-- Each column of a foreign key with the one that it refers to. Partitions count as the whole table.
SELECT DISTINCT coalesce(pg_partition_root(k.conrelid)::oid, k.conrelid)::int8 AS oid, a.attname AS name,
       coalesce(pg_partition_root(k.confrelid)::oid, k.confrelid)::int8 AS target, f.attname AS target_name
  FROM pg_constraint k CROSS JOIN unnest(k.conkey, k.confkey) u(own, other)
  JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.own
  JOIN pg_attribute f ON f.attrelid = k.confrelid AND f.attnum = u.other
 WHERE k.contype = 'f' AND coalesce(pg_partition_root(k.conrelid)::oid, k.conrelid) = ANY (%(oids)s)
 ORDER BY 1, 2, 3, 4
