-- The server, and what this role may do in the database.
SELECT current_database() AS database, current_user AS role,
       has_database_privilege(current_database(), 'TEMPORARY') AS may_create_temporary,
       coalesce((SELECT enumvals FROM pg_settings WHERE name = 'default_toast_compression'), '{}')
         AS toast_compressions,
       coalesce((SELECT source = 'default' FROM pg_settings WHERE name = 'default_toast_compression'), false)
         AS toast_compression_is_default
