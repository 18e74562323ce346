-- The checks of the tables with their columns. Those of domains are part of the columns' types.
SELECT k.conrelid::int8 AS oid, k.conname AS name, pg_get_expr(k.conbin, k.conrelid) AS expression,
       ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey))
         AS columns
  FROM pg_constraint k WHERE k.contype = 'c' AND k.conrelid = ANY (%(oids)s)
 ORDER BY k.conrelid, k.conname
