-- The indexes for nearest neighbors of a table, and the column that each one serves: NULL if it is not valid.
SELECT c.relname::text, a.attname::text
  FROM pg_index i
  JOIN pg_class c ON c.oid = i.indexrelid
  JOIN pg_am m ON m.oid = c.relam
  LEFT JOIN pg_attribute a ON i.indisvalid AND a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
 WHERE i.indrelid = %(table)s AND m.amname IN ('hnsw', 'ivfflat')
 ORDER BY c.relname
