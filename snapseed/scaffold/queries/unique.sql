-- Unique indexes, whether or not a constraint owns them, with the columns that their expressions use, also those of
-- generated columns. Those on the same columns count as one: about all rows if any of them is, else about the rows of each.
WITH found AS (
  SELECT i.indrelid::int8 AS oid, i.indexrelid, i.indisprimary AS is_primary,
         pg_get_expr(i.indpred, i.indrelid) AS only_where,
         ARRAY(SELECT coalesce(b.attname, a.attname)::text
                 FROM unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) WITH ORDINALITY u(number, place)
                 JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = u.number
                 LEFT JOIN (pg_attrdef e
                       JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = e.oid
                                       AND d.refclassid = 'pg_class'::regclass AND d.deptype = 'n'
                       JOIN pg_attribute b ON b.attrelid = d.refobjid AND b.attnum = d.refobjsubid)
                   ON a.attgenerated <> '' AND e.adrelid = a.attrelid AND e.adnum = a.attnum AND d.refobjid = a.attrelid
                GROUP BY a.attnum, a.attname, b.attname ORDER BY min(u.place), b.attname)
         || ARRAY(SELECT DISTINCT a.attname::text
                    FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
                   WHERE i.indexprs IS NOT NULL AND d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid
                     AND d.refobjid = i.indrelid AND d.refobjsubid <> ALL (i.indkey::int2[])
                     AND position(a.attname IN pg_get_expr(i.indexprs, i.indrelid)) > 0) AS columns
    FROM pg_index i
   WHERE i.indisunique AND NOT i.indisexclusion AND i.indrelid = ANY (%(oids)s)
)
SELECT oid, columns, bool_or(is_primary) AS is_primary,
       CASE WHEN bool_and(only_where IS NOT NULL) THEN
         CASE WHEN count(DISTINCT only_where) = 1 THEN min(only_where)
              ELSE string_agg(DISTINCT '(' || only_where || ')', ' OR ') END END AS only_where
  FROM found GROUP BY oid, columns ORDER BY oid, bool_or(is_primary) DESC, min(indexrelid)
