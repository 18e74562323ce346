-- The foreign keys between these tables, and the columns that refer. Those of a partition, and those that refer to one,
-- are those of its table. Looks at no table, so it waits for nobody's lock.
WITH keys AS (
  SELECT k.conname, k.conrelid, k.conkey, coalesce(pg_partition_root(k.conrelid), k.conrelid)::oid AS of_table,
         coalesce(pg_partition_root(k.confrelid), k.confrelid)::oid AS to_table
    FROM pg_constraint k WHERE k.contype = 'f' AND k.conparentid = 0
), names AS (
  SELECT c.oid, n.nspname || '.' || c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
)
SELECT DISTINCT r.name AS referring, t.name AS referred,
       ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY u(number, place)
               JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.number ORDER BY u.place) AS columns
  FROM keys k JOIN names r ON r.oid = k.of_table JOIN names t ON t.oid = k.to_table
 WHERE r.name = ANY (%(tables)s) AND t.name = ANY (%(tables)s)
 ORDER BY referring, columns, referred
