-- The sequences that fill integer columns. pg_get_serial_sequence raises on some columns and does not know defaults;
-- pg_depend knows both.
SELECT u.relid::int8 AS of_table, n.nspname AS schema, c.relname AS name, a.attname AS column, s.seqincrement AS increment,
       s.seqmin AS minimum, s.seqmax AS maximum,
       bool_or(u.owned) AND NOT EXISTS (
         SELECT FROM pg_depend d JOIN pg_attrdef v ON d.classid = 'pg_attrdef'::regclass AND v.oid = d.objid
          WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid AND v.adrelid <> u.relid) AS owned,
       pg_has_role(c.relowner, 'USAGE') AS may_alter, has_sequence_privilege(c.oid, 'UPDATE') AS may_set,
       has_sequence_privilege(c.oid, 'USAGE, SELECT') AS may_look, has_schema_privilege(n.oid, 'USAGE') AS may_enter
  FROM (SELECT d.refobjid AS relid, d.objid AS sequence, d.refobjsubid AS number, true AS owned
          FROM pg_depend d
         WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = ANY (%(oids)s::oid[])
           AND d.deptype IN ('a', 'i')
        UNION ALL
        SELECT v.adrelid, d.refobjid, v.adnum, false
          FROM pg_attrdef v
          JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = v.oid
                          AND d.refclassid = 'pg_class'::regclass
         WHERE v.adrelid = ANY (%(oids)s::oid[])) u
  JOIN pg_class c ON c.oid = u.sequence AND c.relkind = 'S'
  JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_sequence s ON s.seqrelid = c.oid
  JOIN pg_attribute a ON a.attrelid = u.relid AND a.attnum = u.number
  JOIN pg_type t ON t.oid = a.atttypid
 WHERE coalesce(nullif(t.typbasetype, 0), t.oid) IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)
 GROUP BY u.relid, c.oid, n.oid, n.nspname, c.relname, a.attname, s.seqincrement, s.seqmin, s.seqmax, c.relowner
 ORDER BY 2, 3, 4
