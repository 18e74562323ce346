-- Tables of a name in schemas that this role may use, or that its search path names although it may not.
SELECT schema, usable, current_user
  FROM (SELECT n.nspname AS schema, has_schema_privilege(n.oid, 'USAGE') AS usable,
               quote_ident(n.nspname) = ANY (string_to_array(replace(
                 (SELECT reset_val FROM pg_settings WHERE name = 'search_path'), ' ', ''), ','))
               OR n.nspname = current_user AS named
          FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relname = %(table)s AND c.relkind IN ('r', 'p') AND NOT starts_with(n.nspname, 'pg_')) found
 WHERE usable OR named
 ORDER BY 1
