-- Defaults of ordinary columns.
SELECT d.adrelid::int8 AS oid, a.attname AS name, pg_get_expr(d.adbin, d.adrelid) AS expression
  FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
 WHERE a.attgenerated = '' AND d.adrelid = ANY (%(oids)s)
 ORDER BY d.adrelid, d.adnum
