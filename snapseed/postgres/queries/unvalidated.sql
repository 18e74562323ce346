-- The checks and foreign keys of tables that some of their rows may break, and that this role may drop. Those of
-- partitions and of tables that inherit come and go with those of their parent.
SELECT k.conrelid::int8 AS table, k.conname AS name, pg_get_constraintdef(k.oid) AS definition,
       ARRAY(SELECT format('COMMENT ON CONSTRAINT %%I ON %%I.%%I IS %%L', k.conname, n.nspname, r.relname, d.description)
               FROM pg_description d WHERE d.classoid = 'pg_constraint'::regclass AND d.objoid = k.oid) AS restore
  FROM pg_constraint k
  JOIN pg_class r ON r.oid = k.conrelid
  JOIN pg_namespace n ON n.oid = r.relnamespace
 WHERE k.conrelid = ANY (%(tables)s) AND k.contype IN ('c', 'f') AND NOT k.convalidated
   AND k.conislocal AND k.coninhcount = 0 AND pg_has_role(r.relowner, 'USAGE')
 ORDER BY k.conrelid, k.conname
