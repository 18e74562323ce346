-- Unique indexes and exclusion constraints of tables and of their partitions. A part of a key is a column or, in
-- parentheses, an expression; `is_equal` says that two rows conflict only if all parts are equal.
SELECT DISTINCT coalesce(pg_partition_root(i.indrelid)::oid, i.indrelid)::int8 AS oid,
       i.indisprimary AS is_primary,
       ARRAY(SELECT CASE WHEN u.number > 0 THEN (SELECT a.attname::text FROM pg_attribute a
                                                  WHERE a.attrelid = i.indrelid AND a.attnum = u.number)
                         ELSE '(' || pg_get_indexdef(i.indexrelid, u.place::int, true) || ')' END
               FROM unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) WITH ORDINALITY u(number, place)
              ORDER BY u.place) AS parts,
       coalesce(pg_get_expr(i.indpred, i.indrelid), '') AS predicate,
       coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::bool, false) AS nulls_are_equal,
       NOT i.indisexclusion OR NOT EXISTS (
         SELECT FROM pg_constraint k, unnest(k.conexclop) u(op) JOIN pg_operator o ON o.oid = u.op
          WHERE k.conindid = i.indexrelid AND k.contype = 'x' AND o.oprname <> '=') AS is_equal
  FROM pg_index i
 WHERE (i.indisunique OR i.indisexclusion)
   AND coalesce(pg_partition_root(i.indrelid)::oid, i.indrelid) = ANY (%(oids)s)
 ORDER BY 1, 2 DESC, 3
