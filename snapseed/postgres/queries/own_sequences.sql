-- Which of these sequences exist here and belong to this role.
SELECT w.number
  FROM unnest(%(schemas)s::text[], %(names)s::text[]) WITH ORDINALITY AS w (schema, name, number)
  JOIN pg_namespace n ON n.nspname = w.schema
  JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name AND c.relkind = 'S'
 WHERE pg_has_role(c.relowner, 'USAGE')
