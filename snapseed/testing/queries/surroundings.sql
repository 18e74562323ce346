-- What a database is made from besides its schema and its rows, as one text: the server, the versions of extensions that
-- CREATE EXTENSION would install, the database's encoding and locale, and the settings of the role and the database.
SELECT jsonb_build_array(
           current_setting('server_version'),
           (SELECT jsonb_object_agg(name, default_version) FROM pg_available_extensions),
           to_jsonb(d) - '{oid, datname, datdba, datistemplate, datallowconn, dathasloginevt, datconnlimit, datfrozenxid,
                           datminmxid, dattablespace, datacl}'::text[],
           (SELECT jsonb_agg(jsonb_build_array(setrole = 0, setdatabase = 0, setconfig)
                             ORDER BY setrole = 0, setdatabase = 0)
              FROM pg_db_role_setting LEFT JOIN pg_roles r ON r.oid = setrole
             WHERE setdatabase IN (0, d.oid) AND (setrole = 0 OR r.rolname = current_user)))::text
  FROM pg_database d WHERE datname = %(database)s
