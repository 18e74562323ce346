-- Where parallel loads fill new partitions: those that run, and those that were killed. A load holds the advisory lock.
SELECT n.nspname AS schema, obj_description(n.oid, 'pg_namespace') AS mark, pg_has_role(n.nspowner, 'USAGE') AS is_ours,
       (SELECT t.relnamespace::regnamespace || '.' || t.relname FROM pg_class t
         WHERE t.oid::text = split_part(n.nspname, '_', 2)) AS table,
       EXISTS (SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database AND d.datname = current_database()
                WHERE l.locktype = 'advisory' AND l.granted
                  AND (l.classid::int8 << 32) + l.objid::int8 = %(lock)s) AS is_used
  FROM pg_namespace n
 WHERE n.nspname ~ '^snapseed_[0-9]+(_[0-9]+)?$'
   AND obj_description(n.oid, 'pg_namespace') ~ '^snapseed staging [0-9a-f]{64}$'
 ORDER BY 1
