-- Statements that give one database the properties of another, in the order in which they are executed, each with the
-- setting that it makes. The names in a list, such as those of search_path, must not be quoted as one string.
WITH d AS (SELECT *, quote_ident(%(copy)s) AS copy FROM pg_database WHERE datname = %(database)s)
SELECT setting, statement FROM (
    SELECT 1, 0, NULL, format('ALTER DATABASE %%s CONNECTION LIMIT %%s IS_TEMPLATE %%s', copy, datconnlimit,
                              datistemplate::text) FROM d
    UNION ALL
    SELECT 2, 0, NULL, format('COMMENT ON DATABASE %%s IS %%L', copy, shobj_description(oid, 'pg_database')) FROM d
    UNION ALL
    SELECT 3, 0, NULL, format('REVOKE ALL ON DATABASE %%s FROM PUBLIC, %%I', copy, pg_get_userbyid(datdba))
      FROM d WHERE datacl IS NOT NULL
    UNION ALL
    SELECT 4, 0, NULL, format('GRANT %%s ON DATABASE %%s TO %%s%%s', privilege_type, copy,
                              CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END,
                              CASE WHEN bool_or(is_grantable) THEN ' WITH GRANT OPTION' END)
      FROM d, aclexplode(datacl) GROUP BY copy, grantee, privilege_type
    UNION ALL
    SELECT 5, row_number() OVER (ORDER BY setrole, place), name,
           format('ALTER %%s SET %%s = %%s',
                  CASE setrole WHEN 0 THEN '' ELSE format('ROLE %%I IN ', pg_get_userbyid(setrole)) END
                  || 'DATABASE ' || copy,
                  (SELECT string_agg(quote_ident(part), '.') FROM string_to_table(name, '.') part),
                  CASE WHEN name NOT IN ('search_path', 'temp_tablespaces', 'session_preload_libraries',
                                         'local_preload_libraries') THEN quote_literal(value)
                       ELSE coalesce((SELECT string_agg(quote_literal(coalesce(replace(part[1], '""', '"'), part[2])), ', ')
                                        FROM regexp_matches(value, '"((?:[^"]|"")*)"|([^,"\s]+)', 'g') part), '''''') END)
      FROM d JOIN pg_db_role_setting ON setdatabase = oid, unnest(setconfig) WITH ORDINALITY listed(pair, place),
           split_part(pair, '=', 1) name, substr(pair, strpos(pair, '=') + 1) value
    ) AS listed(step, place, setting, statement) ORDER BY step, place
