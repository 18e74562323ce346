-- Whether nothing was ever committed in a database: its sessions have committed the transaction that each begins with, and
-- no other. The server counts both when a session ends, however it ends, and `pg_stat_reset` leaves its time. What was
-- rolled back has left a thousand dead rows at most, so that no test is slower for those before it.
SELECT sessions = xact_commit AND stats_reset IS NULL AND tup_inserted + tup_updated <= 1000
       AND NOT EXISTS (SELECT FROM pg_prepared_xacts WHERE database = datname)
       AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.datname = d.datname)
  FROM pg_stat_database d WHERE datname = %(database)s
