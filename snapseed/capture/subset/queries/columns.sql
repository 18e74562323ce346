-- The columns of tables: the type of their values, beneath domains and without modifiers, and the operator by which its
-- indexes compare two values. Qualified, because a condition of the user's is read with the role's search path.
WITH RECURSIVE beneath AS (
  SELECT attrelid, attnum, attname, atttypid AS type
    FROM pg_attribute WHERE attrelid = ANY (%(oids)s) AND attnum > 0 AND NOT attisdropped
  UNION ALL
  SELECT d.attrelid, d.attnum, d.attname, t.typbasetype
    FROM beneath d JOIN pg_type t ON t.oid = d.type WHERE t.typtype = 'd'
)
SELECT d.attrelid::int8 AS oid, d.attname AS name, format('%%I.%%I', n.nspname, t.typname) AS type,
       coalesce((SELECT format('OPERATOR(%%I.%%s)', s.nspname, o.oprname)
                   FROM pg_opclass c JOIN pg_am m ON m.oid = c.opcmethod AND m.amname = 'btree'
                   JOIN pg_amop a ON a.amopfamily = c.opcfamily AND a.amopstrategy = 3
                                 AND a.amoplefttype = c.opcintype AND a.amoprighttype = c.opcintype
                   JOIN pg_operator o ON o.oid = a.amopopr JOIN pg_namespace s ON s.oid = o.oprnamespace
                  WHERE c.opcintype = t.oid AND c.opcdefault), 'OPERATOR(pg_catalog.=)') AS operator
  FROM beneath d
  JOIN pg_type t ON t.oid = d.type AND t.typtype <> 'd'
  JOIN pg_namespace n ON n.oid = t.typnamespace
 ORDER BY d.attrelid, d.attnum
