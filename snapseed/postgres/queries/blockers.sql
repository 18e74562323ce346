-- The sessions that a process waits for; no row if it does not wait for a lock. A prepared transaction has no
-- process, hence the outer join. A routine autovacuum gives way after a second, so it is named only if it does not, and
-- by the table that it is for.
SELECT blocking.pid, b.application_name AS application, b.usename::text AS role, b.client_addr::text AS address,
       b.state, b.xact_start AS since, extract(epoch FROM clock_timestamp() - b.xact_start)::float8 AS seconds, b.query,
       coalesce((SELECT CASE WHEN l.relation IS NOT NULL THEN 'a lock on ' || coalesce(toasted.oid, l.relation)::regclass
                             WHEN l.locktype = 'transactionid' THEN 'the end of another transaction'
                             WHEN l.locktype = 'advisory' THEN 'a lock of snapseed'
                             ELSE 'a lock of type ' || l.locktype END
                   FROM pg_locks l LEFT JOIN pg_class toasted ON toasted.reltoastrelid = l.relation
                  WHERE l.pid = w.pid AND NOT l.granted LIMIT 1), 'a lock') AS waits_for
  FROM pg_stat_activity w
 CROSS JOIN LATERAL (SELECT DISTINCT unnest(pg_blocking_pids(w.pid)) AS pid) blocking
  LEFT JOIN pg_stat_activity b ON b.pid = blocking.pid
 WHERE w.pid = %(pid)s AND w.datname = current_database() AND w.wait_event_type = 'Lock'
   AND (b.backend_type IS DISTINCT FROM 'autovacuum worker'
        OR clock_timestamp() - w.query_start > interval '5 s' OR b.query LIKE '%%wraparound%%')
 ORDER BY blocking.pid
