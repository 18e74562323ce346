-- The operators by which indexes compare two values of some types: qualified, because a condition of the user's is read with
-- the role's search path.
SELECT format('%%I.%%I', n.nspname, t.typname) AS type,
       coalesce((SELECT format('OPERATOR(%%I.%%s)', s.nspname, o.oprname)
                   FROM pg_opclass c JOIN pg_am m ON m.oid = c.opcmethod AND m.amname = 'btree'
                   JOIN pg_amop a ON a.amopfamily = c.opcfamily AND a.amopstrategy = 3
                                 AND a.amoplefttype = c.opcintype AND a.amoprighttype = c.opcintype
                   JOIN pg_operator o ON o.oid = a.amopopr JOIN pg_namespace s ON s.oid = o.oprnamespace
                  WHERE c.opcintype = t.oid AND c.opcdefault), 'OPERATOR(pg_catalog.=)') AS operator
  FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
 WHERE format('%%I.%%I', n.nspname, t.typname) = ANY (%(types)s::text[])
