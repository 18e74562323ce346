-- Whether rows of these tables, or of their partitions, were deleted or changed in this transaction, or nobody counts.
SELECT NOT current_setting('track_counts')::bool OR EXISTS (
    SELECT FROM unnest(ARRAY[{tables}]::regclass[]) AS outside (oid)
     CROSS JOIN LATERAL (SELECT outside.oid UNION SELECT relid FROM pg_partition_tree(outside.oid)) AS parts
     WHERE pg_stat_get_xact_tuples_deleted(parts.oid) + pg_stat_get_xact_tuples_updated(parts.oid) > 0)
