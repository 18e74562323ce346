-- A table, if it exists and this role may lock it.
SELECT n.nspname, c.relname, c.relkind = 'r'
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND has_schema_privilege(n.oid, 'USAGE')
   AND has_table_privilege(c.oid, 'UPDATE, DELETE, TRUNCATE')
   AND c.oid = CASE WHEN %(schema)s::text IS NULL THEN to_regclass(quote_ident(%(table)s))
                    ELSE (SELECT o.oid FROM pg_class o JOIN pg_namespace s ON s.oid = o.relnamespace
                           WHERE o.relname = %(table)s AND s.nspname = %(schema)s) END
