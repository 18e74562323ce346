-- Those of some sequences that exist and that this role may set. They fill no column, so nothing else decides where
-- they stand.
SELECT n.nspname AS schema, c.relname AS name, '' AS column, s.seqincrement AS increment, s.seqmin AS minimum,
       s.seqmax AS maximum, true AS owned, pg_has_role(c.relowner, 'USAGE') AS may_alter
  FROM unnest(%(schemas)s::text[], %(names)s::text[]) w(schema, name)
  JOIN pg_namespace n ON n.nspname = w.schema
  JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name AND c.relkind = 'S'
  JOIN pg_sequence s ON s.seqrelid = c.oid
 WHERE has_schema_privilege(n.oid, 'USAGE') AND has_sequence_privilege(c.oid, 'UPDATE')
 ORDER BY 1, 2
