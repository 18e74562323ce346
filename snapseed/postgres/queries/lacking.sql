-- What a schema needs of the server and does not find: programs of extensions, and roles, each with the SQL that helps.
SELECT format('the server has no extension %%s', w.name) AS problem, NULL AS fix, w.name AS extension
  FROM unnest(%(extensions)s::text[]) AS w (name)
 WHERE NOT EXISTS (SELECT FROM pg_available_extensions a WHERE a.name = w.name)
UNION ALL
SELECT format('there is no role %%s, which the schema names', w.name), format('CREATE ROLE %%I;', w.name), NULL
  FROM (SELECT DISTINCT unnest(%(roles)s::text[])) AS w (name)
 WHERE NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = w.name)
 ORDER BY 2 NULLS FIRST, 1
