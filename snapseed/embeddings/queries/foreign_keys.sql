-- The foreign keys among some tables: the table, the one that it refers to, and pairs of a column there and one here.
SELECT k.conrelid::int8, k.confrelid::int8,
       ARRAY(SELECT ARRAY[theirs.attname::text, ours.attname::text]
               FROM unnest(k.confkey, k.conkey) WITH ORDINALITY pair(their_number, our_number, place)
               JOIN pg_attribute theirs ON theirs.attrelid = k.confrelid AND theirs.attnum = their_number
               JOIN pg_attribute ours ON ours.attrelid = k.conrelid AND ours.attnum = our_number
              ORDER BY place)
  FROM pg_constraint k
 WHERE k.contype = 'f' AND k.conrelid = ANY (%(tables)s::oid[]) AND k.confrelid = ANY (%(tables)s::oid[])
 ORDER BY k.conname
