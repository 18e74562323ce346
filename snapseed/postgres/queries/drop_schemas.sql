-- The statements that drop each schema with all that is in it, but those of the server, of extensions, and ours. The
-- schema public is created again with the same owner, comment and privileges: a schema file, as pg_dump writes it, expects it.
SELECT concat_ws(
         '; ', format('DROP SCHEMA %I CASCADE', n.nspname),
         CASE WHEN n.nspname = 'public' THEN
           format('CREATE SCHEMA public AUTHORIZATION %I', pg_get_userbyid(n.nspowner))
             || format('; COMMENT ON SCHEMA public IS %L', obj_description(n.oid, 'pg_namespace')) END,
         (SELECT string_agg(format('GRANT %s ON SCHEMA public TO %s', a.privilege_type,
                                   CASE a.grantee WHEN 0 THEN 'PUBLIC'
                                                  ELSE quote_ident(pg_get_userbyid(a.grantee)) END), '; ')
            FROM aclexplode(n.nspacl) a WHERE n.nspname = 'public')
       ) AS statements
  FROM pg_namespace n
 WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'snapseed')
   AND NOT EXISTS (SELECT FROM pg_depend d
                    WHERE d.classid = 'pg_namespace'::regclass AND d.objid = n.oid AND d.deptype = 'e')
 ORDER BY n.nspname
