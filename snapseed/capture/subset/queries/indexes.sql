-- The columns of indexes that can look up rows of a table by equal values: of a partitioned one, those that each of its
-- partitions has.
WITH leaves AS (
  SELECT c.oid, c.oid AS leaf FROM pg_class c WHERE c.oid = ANY (%(oids)s) AND c.relkind = 'r'
  UNION ALL
  SELECT r.oid, p.relid FROM unnest(%(oids)s) r(oid), pg_partition_tree(r.oid::oid::regclass) p WHERE p.isleaf
), indexes AS (
  SELECT l.oid, l.leaf,
         ARRAY(SELECT a.attname::text
                 FROM unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) WITH ORDINALITY u(number, place)
                 JOIN pg_attribute a ON a.attrelid = l.leaf AND a.attnum = u.number ORDER BY u.place) AS columns
    FROM leaves l JOIN pg_index i ON i.indrelid = l.leaf AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
    JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam AND m.amname IN ('btree', 'hash')
)
SELECT oid::int8 AS oid, columns FROM indexes x GROUP BY oid, columns
HAVING count(DISTINCT leaf) = (SELECT count(*) FROM leaves l WHERE l.oid = x.oid)
