-- What this role lacks to record a load, and the GRANT that would give it; no row if it lacks nothing.
SELECT CASE WHEN c.oid IS NOT NULL THEN 'INSERT and SELECT on snapseed.loads'
            WHEN n.oid IS NOT NULL THEN 'CREATE and USAGE on schema snapseed'
            ELSE format('CREATE on database %I', current_database()) END,
       CASE WHEN c.oid IS NOT NULL THEN format('GRANT USAGE ON SCHEMA snapseed TO %1$I; '
                                               'GRANT INSERT, SELECT ON snapseed.loads TO %1$I;', current_user)
            WHEN n.oid IS NOT NULL THEN format('GRANT USAGE, CREATE ON SCHEMA snapseed TO %I;', current_user)
            ELSE format('GRANT CREATE ON DATABASE %I TO %I;', current_database(), current_user) END
  FROM (SELECT) nothing
  LEFT JOIN pg_namespace n ON n.nspname = 'snapseed'
  LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = 'loads'
 WHERE NOT CASE WHEN c.oid IS NOT NULL THEN has_schema_privilege(n.oid, 'USAGE')
                                            AND has_table_privilege(c.oid, 'INSERT')
                                            AND has_table_privilege(c.oid, 'SELECT')
                WHEN n.oid IS NOT NULL THEN has_schema_privilege(n.oid, 'CREATE')
                                            AND has_schema_privilege(n.oid, 'USAGE')
                ELSE has_database_privilege(current_database(), 'CREATE') END
