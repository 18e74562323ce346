-- The checks of the tables with their columns, those of domains aside: they are part of the columns' types. Not those
-- that call functions or operators of somebody's, which would then run as this role.
SELECT k.conrelid::int8 AS oid, k.conname AS name, pg_get_expr(k.conbin, k.conrelid) AS expression,
       ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey))
         AS columns
  FROM pg_constraint k
 WHERE k.contype = 'c' AND k.conrelid = ANY (%(oids)s)
   AND NOT EXISTS (SELECT FROM pg_depend d
                    WHERE d.classid = 'pg_constraint'::regclass AND d.objid = k.oid
                      AND d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass))
 ORDER BY k.conrelid, k.conname
