-- The tables of some names: each in its schema or, without one, in the first schema of the path that has such a name.
SELECT DISTINCT ON (w.number) w.number::int8 AS number, n.nspname AS schema, c.relname AS table,
       c.relkind = 'r' AS alone
  FROM unnest(%(schemas)s::text[], %(tables)s::text[]) WITH ORDINALITY w(schema, name, number)
 CROSS JOIN unnest(%(path)s::text[]) WITH ORDINALITY p(schema, place)
  JOIN pg_namespace n ON n.nspname = coalesce(w.schema, p.schema)
  JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
 ORDER BY w.number, p.place
