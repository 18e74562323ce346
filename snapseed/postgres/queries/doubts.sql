-- A table of ours, if its schema exists: whether it exists, why it is not to be believed, NULL if it is, and who should
-- own both. Another role could have put SQL of its own there, which would run as us: in a trigger, rule, default, check
-- or index, or behind the name of a view.
WITH trusted AS (
  SELECT oid FROM pg_roles WHERE rolsuper OR rolname = current_user
  UNION SELECT datdba FROM pg_database WHERE datname = current_database()
)
SELECT c.oid IS NOT NULL AS found,
       CASE WHEN n.nspowner NOT IN (SELECT oid FROM trusted)
              THEN format('schema %%I belongs to role %%I', n.nspname, pg_get_userbyid(n.nspowner))
            WHEN c.oid IS NULL THEN NULL
            WHEN c.relowner NOT IN (SELECT oid FROM trusted)
              THEN format('it belongs to role %%I', pg_get_userbyid(c.relowner))
            WHEN c.relkind <> 'r' OR EXISTS (SELECT FROM pg_inherits WHERE c.oid IN (inhrelid, inhparent))
              THEN 'it is not an ordinary table'
            WHEN EXISTS (SELECT FROM pg_trigger WHERE tgrelid = c.oid AND NOT tgisinternal) THEN 'it has a trigger'
            WHEN EXISTS (SELECT FROM pg_rewrite WHERE ev_class = c.oid) THEN 'it has a rule'
            WHEN c.relrowsecurity THEN 'it has row-level security'
            WHEN EXISTS (SELECT FROM pg_constraint WHERE conrelid = c.oid AND contype NOT IN ('p', 'n'))
              THEN 'it has a constraint'
            WHEN EXISTS (SELECT FROM pg_index WHERE indrelid = c.oid AND coalesce(indexprs, indpred) IS NOT NULL)
              THEN 'it has an index on an expression'
            WHEN EXISTS (SELECT FROM pg_attrdef WHERE adrelid = c.oid AND pg_get_expr(adbin, adrelid)
                                                      NOT IN ('CURRENT_USER', 'clock_timestamp()'))
                 OR EXISTS (SELECT FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
                             WHERE a.attrelid = c.oid AND a.attnum > 0 AND t.typnamespace <> 'pg_catalog'::regnamespace)
              THEN 'it has other columns than ours'
       END AS doubt,
       (SELECT format('%%I', pg_get_userbyid(datdba)) FROM pg_database WHERE datname = current_database()) AS owner
  FROM pg_namespace n LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = %(table)s
 WHERE n.nspname = 'snapseed'
