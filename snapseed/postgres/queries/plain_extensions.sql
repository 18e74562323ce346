-- The extensions that a schema can only use by name: of functions, tables, views, schemas and event triggers alone, with
-- the names of the first three. An operator or a type can be used unseen.
SELECT e.extname AS name, array_agg(DISTINCT coalesce(p.proname, c.relname)) AS members
  FROM pg_extension e
  JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
  LEFT JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
  LEFT JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
 GROUP BY e.extname
HAVING bool_and(d.classid IN ('pg_proc'::regclass, 'pg_class'::regclass, 'pg_namespace'::regclass, 'pg_event_trigger'::regclass))
