-- The foreign keys of tables. A key that refers to a partitioned table has a copy for each partition there, which
-- comes and goes with it. Partitions of this table may have foreign keys of their own. `operators` compare a column of
-- the other table, on the left, with one of this table: with the period of a temporal key, whether they overlap.
WITH parts AS (SELECT oid, oid AS relid FROM unnest(%(oids)s::oid[]) w(oid)
               UNION SELECT w.oid, p.relid FROM unnest(%(oids)s::oid[]) w(oid), pg_partition_tree(w.oid::regclass) p)
SELECT p.oid::int8 AS of_table, k.conname AS name, pg_get_constraintdef(k.oid) AS definition, k.confrelid::int8 AS references,
       k.confrelid::regclass::text AS references_name, m.nspname AS schema, t.relname AS table, t.relkind = 'r' AS alone,
       '{}'::text[] AS filled, has_schema_privilege(m.oid, 'USAGE') AND has_any_column_privilege(t.oid, 'SELECT')
         AND NOT row_security_active(t.oid) AS may_look, k.conindid::int8 AS index,
       (SELECT bool_and(a.attnotnull) FROM pg_attribute a WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey))
         AS is_required,
       ARRAY(SELECT a.relid::oid::int8 FROM pg_partition_ancestors(k.confrelid::regclass) a) AS above,
       ARRAY(SELECT b.relid::oid::int8 FROM pg_partition_tree(k.confrelid::regclass) b) AS below,
       ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY u(number, place)
               JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.number ORDER BY u.place) AS columns,
       ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY u(number, place)
               JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.number ORDER BY u.place)
         AS target_columns,
       ARRAY(SELECT format('OPERATOR(%%I.%%s)', n.nspname, o.oprname)
               FROM unnest(k.conpfeqop) WITH ORDINALITY u(operator, place) JOIN pg_operator o ON o.oid = u.operator
               JOIN pg_namespace n ON n.oid = o.oprnamespace ORDER BY u.place) AS operators,
       k.condeferrable AS deferrable,
       EXISTS (SELECT FROM pg_trigger t WHERE t.tgconstraint = k.oid AND t.tgrelid = k.conrelid
                                          AND t.tgenabled IN ('O', 'A')) AS is_checked,
       ARRAY(SELECT format('COMMENT ON CONSTRAINT %%I ON %%I.%%I IS %%L', k.conname, n.nspname, r.relname,
                           d.description)
               FROM pg_description d WHERE d.classoid = 'pg_constraint'::regclass AND d.objoid = k.oid) AS restore,
       CASE WHEN k.conparentid <> 0 OR NOT k.conislocal THEN 'it is inherited'
            WHEN k.conrelid <> p.oid THEN 'it belongs to a partition'
            WHEN NOT k.convalidated THEN 'it is not validated: rebuilding it would not check the new rows'
            WHEN EXISTS (SELECT FROM pg_trigger t WHERE t.tgconstraint = k.oid AND t.tgenabled <> 'O')
              THEN 'its triggers are not in their usual state'
            WHEN NOT (SELECT bool_and(has_column_privilege(k.confrelid, u.number, 'REFERENCES'))
                        FROM unnest(k.confkey) u(number))
                 OR NOT has_schema_privilege((SELECT c.relnamespace FROM pg_class c WHERE c.oid = k.confrelid), 'USAGE')
              THEN 'the role may not refer to that table'
       END AS keep_reason
  FROM parts p
  JOIN pg_constraint k ON k.conrelid = p.relid
  JOIN pg_class r ON r.oid = k.conrelid
  JOIN pg_class t ON t.oid = k.confrelid
  JOIN pg_namespace m ON m.oid = t.relnamespace
  JOIN pg_namespace n ON n.oid = r.relnamespace
 WHERE k.contype = 'f'
   AND CASE k.conrelid
         WHEN p.oid THEN NOT EXISTS (SELECT FROM pg_constraint c WHERE c.oid = k.conparentid AND c.conrelid = k.conrelid)
         ELSE k.conparentid = 0 END
 ORDER BY k.conname
