-- Unique indexes, whether or not a constraint owns them, with the columns that their expressions use, and the condition
-- on the rows that they are about.
SELECT i.indrelid::int8 AS oid, i.indisprimary AS is_primary, pg_get_expr(i.indpred, i.indrelid) AS only_where,
       ARRAY(SELECT a.attname::text
               FROM unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) WITH ORDINALITY u(number, place)
               JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = u.number ORDER BY u.place)
       || ARRAY(SELECT DISTINCT a.attname::text
                  FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
                 WHERE i.indexprs IS NOT NULL AND d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid
                   AND d.refobjid = i.indrelid AND d.refobjsubid <> ALL (i.indkey::int2[])
                   AND position(a.attname IN pg_get_expr(i.indexprs, i.indrelid)) > 0) AS columns
  FROM pg_index i
 WHERE i.indisunique AND NOT i.indisexclusion AND i.indrelid = ANY (%(oids)s)
 ORDER BY i.indrelid, NOT i.indisprimary, i.indexrelid
