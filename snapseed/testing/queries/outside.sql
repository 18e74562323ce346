-- One query for each table and sequence that the snapshot does not fill: its name, and a fingerprint of its contents.
-- `inside` has the OIDs of the tables that it fills.
WITH RECURSIVE inside AS (
    SELECT unnest(%(inside)s::oid[]) AS oid UNION SELECT inhrelid FROM pg_inherits JOIN inside ON inhparent = inside.oid
)
SELECT format(
           CASE
               WHEN NOT (has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'))
                    OR row_security_active(c.oid) THEN 'SELECT %%1$L, ''unreadable'''
               WHEN c.relkind = 'S' THEN 'SELECT %%1$L, last_value || '' '' || is_called FROM %%2$I.%%3$I'
               ELSE 'SELECT %%1$L, count(*) || '' '' || coalesce(sum(hashtextextended(t::text, 0)), 0)'
                    ' FROM ONLY %%2$I.%%3$I t'
           END,
           n.nspname || '.' || c.relname, n.nspname, c.relname)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE (c.relkind IN ('r', 'S') OR c.relkind = 'm' AND c.relispopulated) AND c.oid NOT IN (SELECT oid FROM inside)
   AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'snapseed') AND NOT starts_with(n.nspname, 'pg_')
   AND NOT EXISTS (SELECT FROM pg_depend d  -- the sequence of a table that is filled
                    WHERE d.objid = c.oid AND d.classid = 'pg_class'::regclass
                      AND d.refobjid IN (SELECT oid FROM inside))
