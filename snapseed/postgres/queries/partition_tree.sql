-- A partitioned table and those of its partitions that are partitioned themselves: how their rows are divided, and why
-- new partitions cannot take the place of the old ones. Subscribers, which there are none of below wal_level = logical,
-- would not get rows that were written before their table became a partition.
WITH tree AS (SELECT relid::oid AS oid, parentrelid::oid AS parent FROM pg_partition_tree(%(oid)s::oid::regclass)),
     related AS (SELECT oid FROM tree UNION SELECT relid FROM pg_partition_ancestors(%(oid)s::oid::regclass)),
     own AS (
  SELECT array_agg(format('CREATE TABLE %%I.t%%s (LIKE %%I.%%I INCLUDING DEFAULTS INCLUDING GENERATED) PARTITION BY %%s',
                          format('snapseed_%%s', %(oid)s::oid), c.oid, n.nspname, c.relname, pg_get_partkeydef(c.oid))
                   ORDER BY c.oid) AS create_tables,
         array_agg(format('ALTER TABLE %%I.t%%s ATTACH PARTITION %%I.t%%s %%s', format('snapseed_%%s', %(oid)s::oid), t.parent,
                          format('snapseed_%%s', %(oid)s::oid), c.oid, pg_get_expr(c.relpartbound, c.oid)) ORDER BY c.oid)
           FILTER (WHERE c.oid <> %(oid)s::oid) AS attach_tables
    FROM tree t JOIN pg_class c ON c.oid = t.oid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'p')
SELECT format('DROP TABLE IF EXISTS %%I.t%%s', format('snapseed_%%s', %(oid)s::oid), %(oid)s::oid) || create_tables
         || attach_tables AS create, pg_get_partkeydef(%(oid)s::oid) AS divided_by,
       format('snapseed_%%s', %(oid)s::oid) AS stage,
       ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = %(oid)s::oid AND attidentity <> '' AND NOT attisdropped) AS identity,
       current_setting('max_locks_per_transaction')::int8
         * (current_setting('max_connections')::int8 + current_setting('max_prepared_transactions')::int8) AS lock_room,
       CASE
         WHEN (SELECT relispartition FROM pg_class WHERE oid = %(oid)s::oid) THEN 'it is a partition of another table'
         WHEN NOT has_database_privilege(current_database(), 'CREATE') THEN 'the role may not create schemas in this database'
         WHEN EXISTS (SELECT FROM pg_class c, tree t WHERE c.oid = t.oid AND NOT pg_has_role(c.relowner, 'USAGE'))
           THEN 'the role does not own all of it'
         WHEN EXISTS (SELECT FROM pg_index i, tree t WHERE i.indrelid = t.oid AND NOT i.indisvalid) THEN 'an index of it is not valid'
         WHEN EXISTS (SELECT FROM pg_constraint k, tree t WHERE k.contype = 'f' AND k.conrelid = t.oid
                       AND k.confrelid IN (SELECT oid FROM tree)) THEN 'a foreign key of it refers to it'
         WHEN current_setting('wal_level') = 'logical' AND EXISTS (SELECT FROM pg_publication) AND EXISTS (
                SELECT FROM pg_publication_tables p
                 WHERE to_regclass(format('%%I.%%I', p.schemaname, p.tablename)) IN (SELECT oid FROM related))
           THEN 'it is published, and subscribers would not get the rows'
         WHEN EXISTS (SELECT FROM pg_namespace WHERE (nspname = format('snapseed_%%s', %(oid)s::oid)
                       OR starts_with(nspname, format('snapseed_%%s_', %(oid)s::oid))) AND NOT (pg_has_role(nspowner, 'USAGE')
                            AND coalesce(obj_description(oid, 'pg_namespace') ~ '^snapseed staging [0-9a-f]{64}$', false)))
           THEN 'another role has a schema of the name that staging tables need'
       END AS obstacle
  FROM own
