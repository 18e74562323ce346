-- The server's version, and the settings that decide how fast it takes a bulk load (PostgreSQL manual, "Populating a
-- Database").
SELECT name, current_setting(name)
  FROM pg_settings
 WHERE name IN ('autovacuum', 'checkpoint_timeout', 'fsync', 'full_page_writes', 'maintenance_work_mem',
                'max_parallel_maintenance_workers', 'max_parallel_workers_per_gather', 'max_wal_size',
                'server_version', 'shared_buffers', 'synchronous_commit', 'wal_level')
 ORDER BY name
