-- Exclusion constraints, and primary keys and unique constraints without overlaps.
-- `equal` are the columns compared by `=`: if one of them is unique, the constraint holds.
SELECT k.conrelid::int8 AS oid, pg_get_constraintdef(k.oid) AS definition,
       ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey)
              ORDER BY a.attnum) AS columns,
       ARRAY(SELECT a.attname::text FROM unnest(k.conkey, k.conexclop) u(number, operator)
               JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.number
               JOIN pg_operator o ON o.oid = u.operator AND o.oprname = '='
              ORDER BY a.attnum) AS equal
  FROM pg_constraint k JOIN pg_index i ON i.indexrelid = k.conindid
 WHERE i.indisexclusion AND k.contype IN ('x', 'p', 'u') AND k.conrelid = ANY (%(oids)s)
 ORDER BY k.conrelid, k.conname
