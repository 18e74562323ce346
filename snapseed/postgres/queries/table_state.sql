-- What changes with the contents of a table and of its partitions: definition, data files and numbers of changed rows,
-- those of this transaction included.
SELECT %(table)s::regclass::oid::int8 AS oid,
       (SELECT to_jsonb(array_agg(attname || ' ' || format_type(atttypid, atttypmod) ORDER BY attnum))
          FROM pg_attribute WHERE attrelid = %(table)s::regclass AND attnum > 0 AND NOT attisdropped) AS columns,
       to_jsonb(array_agg(relid::oid::int8 ORDER BY relid)) AS tree,
       to_jsonb(array_agg(pg_relation_filenode(relid) ORDER BY relid)) AS files,
       CASE WHEN current_setting('track_counts')::bool
            THEN sum(pg_stat_get_tuples_inserted(relid) + pg_stat_get_tuples_updated(relid)
                     + pg_stat_get_tuples_deleted(relid)
                     + pg_stat_get_xact_tuples_inserted(relid) + pg_stat_get_xact_tuples_updated(relid)
                     + pg_stat_get_xact_tuples_deleted(relid))::int8 END AS changes,
       sum(pg_relation_size(relid) / current_setting('block_size')::int)::int8 AS blocks,
       bool_and(has_table_privilege(relid, 'SELECT')) AS may_select
  FROM (SELECT %(table)s::regclass AS relid UNION SELECT relid FROM pg_partition_tree(%(table)s::regclass)) parts
