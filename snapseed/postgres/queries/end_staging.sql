-- End the sessions of this role that still write into these schemas: tasks of a load that has failed or was killed.
SELECT pg_terminate_backend(a.pid, 5000)
  FROM pg_stat_activity a
 WHERE a.usename = current_user AND a.pid <> pg_backend_pid() AND a.datname = current_database()
   AND a.pid IN (SELECT l.pid FROM pg_locks l
                   JOIN pg_class c ON l.locktype = 'relation' AND c.oid = l.relation
                   JOIN pg_namespace n ON n.oid = c.relnamespace
                  WHERE n.nspname = ANY (%(schemas)s::text[])
                    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()))
