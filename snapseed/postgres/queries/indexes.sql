-- The indexes of tables. pg_get_indexdef says everything about an index except its tablespace; a constraint is
-- added on top of the index once that exists. Everything else about an index is in `restore`, or is a reason to keep
-- it.
SELECT i.indrelid::int8 AS of_table, c.oid::int8 AS oid, c.relname AS name, i.indisunique AS is_unique,
       NOT i.indimmediate AS is_deferrable,
       CASE WHEN i.indpred IS NULL AND i.indexprs IS NULL AND i.indisvalid
            THEN ARRAY(SELECT a.attname::text
                         FROM unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) WITH ORDINALITY u(number, place)
                         JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = u.number ORDER BY u.place)
            ELSE '{}' END AS key,
       k.contype::text AS constraint,
       coalesce((SELECT spcname FROM pg_tablespace WHERE pg_tablespace.oid = c.reltablespace), '') AS tablespace,
       array_remove(ARRAY[
         CASE WHEN k.contype IS NOT NULL THEN
           format('ALTER TABLE %%I.%%I ADD CONSTRAINT %%I %%s USING INDEX %%I%%s%%s', n.nspname, r.relname, k.conname,
                  CASE k.contype WHEN 'p' THEN 'PRIMARY KEY' ELSE 'UNIQUE' END, c.relname,
                  CASE WHEN k.condeferrable THEN ' DEFERRABLE' ELSE '' END,
                  CASE WHEN k.condeferred THEN ' INITIALLY DEFERRED' ELSE '' END) END,
         (SELECT format('COMMENT ON CONSTRAINT %%I ON %%I.%%I IS %%L', k.conname, n.nspname, r.relname, d.description)
            FROM pg_description d WHERE d.classoid = 'pg_constraint'::regclass AND d.objoid = k.oid),
         (SELECT format('COMMENT ON INDEX %%I.%%I IS %%L', n.nspname, c.relname, d.description)
            FROM pg_description d WHERE d.classoid = 'pg_class'::regclass AND d.objoid = c.oid AND d.objsubid = 0),
         CASE WHEN i.indisclustered THEN
           format('ALTER TABLE %%I.%%I CLUSTER ON %%I', n.nspname, r.relname, c.relname) END
       ], NULL) || ARRAY(
         SELECT format('ALTER INDEX %%I.%%I ALTER COLUMN %%s SET STATISTICS %%s', n.nspname, c.relname, a.attnum,
                       a.attstattarget)
           FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attstattarget >= 0 ORDER BY a.attnum) AS restore,
       CASE WHEN k.contype = 'x' THEN 'it belongs to an exclusion constraint'
            WHEN coalesce((to_jsonb(k) ->> 'conperiod')::bool, false) THEN 'its constraint is WITHOUT OVERLAPS'
            WHEN i.indisreplident THEN 'it is the replica identity'
            WHEN NOT i.indisvalid THEN 'it is not valid'
            WHEN c.relispartition OR c.relkind <> 'i' THEN 'it belongs to a partitioned index'
            WHEN k.coninhcount > 0 THEN 'its constraint is inherited'
            WHEN c.reltablespace <> 0 AND NOT has_tablespace_privilege(c.reltablespace, 'CREATE')
              THEN 'the role may not create anything in its tablespace'
            WHEN EXISTS (SELECT FROM pg_depend d LEFT JOIN pg_constraint f
                                  ON d.classid = 'pg_constraint'::regclass AND f.oid = d.objid
                          WHERE ((d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid)
                                 OR (d.refclassid = 'pg_constraint'::regclass AND d.refobjid = k.oid))
                            AND d.deptype <> 'i' AND f.contype IS DISTINCT FROM 'f')
              THEN 'something depends on it, perhaps a view'
            WHEN EXISTS (SELECT FROM pg_depend d
                          WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('e', 'x'))
              THEN 'it belongs to an extension'
       END AS keep_reason
  FROM pg_index i
  JOIN pg_class c ON c.oid = i.indexrelid
  JOIN pg_class r ON r.oid = i.indrelid
  JOIN pg_namespace n ON n.oid = r.relnamespace
  LEFT JOIN pg_constraint k ON k.conindid = c.oid AND k.contype IN ('p', 'u', 'x')
 WHERE i.indrelid = ANY (%(oids)s::oid[])
 ORDER BY c.relname
