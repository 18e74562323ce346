-- Of each partitioned table the conditions on the rows of each partition that holds rows.
-- A partition without a condition takes every row.
SELECT o.oid::int8 AS oid,
       ARRAY(SELECT coalesce(pg_get_partition_constraintdef(r.relid), 'true')
               FROM pg_partition_tree(o.oid::regclass) r WHERE r.isleaf AND r.relid <> o.oid
              ORDER BY r.relid::oid) AS conditions
  FROM unnest(%(oids)s::oid[]) o(oid) JOIN pg_class t ON t.oid = o.oid AND t.relkind = 'p'
 ORDER BY o.oid
