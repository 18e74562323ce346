-- The server, and what this role may do in the database.
SELECT current_database() AS database, current_user AS role,
       has_database_privilege(current_database(), 'TEMPORARY') AS may_create_temporary,
       coalesce((SELECT enumvals FROM pg_settings WHERE name = 'default_toast_compression'), '{}')
         AS toast_compressions,
       coalesce((SELECT source = 'default' FROM pg_settings WHERE name = 'default_toast_compression'), false)
         AS toast_compression_is_default,
       -- From PostgreSQL 16 on, some are reserved for others than superusers too.
       -- A superuser's own limit, and that of the database, do not count.
       (SELECT least(
                 current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
                   - coalesce(current_setting('reserved_connections', true)::int, 0)
                   - (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
                 CASE WHEN NOT r.rolsuper AND d.datconnlimit >= 0
                      THEN d.datconnlimit - (SELECT count(*) FROM pg_stat_activity WHERE datid = d.oid) END,
                 CASE WHEN NOT r.rolsuper AND r.rolconnlimit >= 0
                      THEN r.rolconnlimit - (SELECT count(*) FROM pg_stat_activity WHERE usesysid = r.oid) END)::int
          FROM pg_database d, pg_roles r WHERE d.datname = current_database() AND r.rolname = current_user) AS connection_room
