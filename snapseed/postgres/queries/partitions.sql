-- The partitions of a table that hold rows, each with the SQL that creates the same table for new rows in another
-- schema, and what of it cannot be created there. Schemas and names come from the oids of table and schema, so the
-- other table has the names of the first, and moves into its place by SET SCHEMA. The check on it, which is the
-- partition's own constraint, spares ATTACH PARTITION the scan (PostgreSQL manual, "ALTER TABLE"). It is there already
-- if a crash of the server has emptied the record of what was staged.
WITH parts AS (
  SELECT t.relid::oid AS oid, t.parentrelid::oid AS parent,
         (SELECT count(*) FROM pg_partition_ancestors(t.relid) a JOIN pg_class d ON d.oid = a.relid
           WHERE pg_get_expr(d.relpartbound, d.oid) = 'DEFAULT') AS defaults
    FROM pg_partition_tree(%(oid)s::oid::regclass) t WHERE t.isleaf AND t.relid <> %(oid)s::oid::regclass
), leaf AS (
  SELECT p.parent, p.defaults, c.*, n.nspname,
         format('snapseed_%%s_%%s', %(oid)s::oid, n.oid) AS stage,
         format('%%I.%%I', format('snapseed_%%s_%%s', %(oid)s::oid, n.oid), c.relname) AS staged,
         format('%%I.%%I', n.nspname, c.relname) AS placed
    FROM parts p JOIN pg_class c ON c.oid = p.oid JOIN pg_namespace n ON n.oid = c.relnamespace
), own AS (
  -- What belongs to a partition, besides itself: its row types, indexes and constraints.
  SELECT oid AS leaf, 'pg_class'::regclass AS class, oid AS object FROM leaf
  UNION ALL SELECT oid, 'pg_type'::regclass, t.typ FROM leaf,
    LATERAL (SELECT reltype UNION ALL SELECT typarray FROM pg_type WHERE pg_type.oid = reltype) t(typ) WHERE t.typ <> 0
  UNION ALL SELECT oid, 'pg_class'::regclass, indexrelid FROM leaf JOIN pg_index ON indrelid = oid
  UNION ALL SELECT l.oid, 'pg_constraint'::regclass, k.oid FROM leaf l JOIN pg_constraint k ON k.conrelid = l.oid
), users AS (
  -- Objects of others that name a partition, or something of it. They would still name the old one.
  SELECT o.leaf, min(pg_describe_object(d.classid, d.objid, d.objsubid)) AS name
    FROM own o JOIN pg_depend d ON d.refclassid = o.class AND d.refobjid = o.object
    LEFT JOIN pg_trigger t ON d.classid = 'pg_trigger'::regclass AND t.oid = d.objid
    LEFT JOIN pg_constraint k ON d.classid = 'pg_constraint'::regclass AND k.oid = d.objid
    LEFT JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
    LEFT JOIN pg_attrdef v ON d.classid = 'pg_attrdef'::regclass AND v.oid = d.objid
   WHERE NOT EXISTS (SELECT FROM own i WHERE i.leaf = o.leaf AND i.class = d.classid AND i.object = d.objid)
     AND coalesce(NOT (t.tgisinternal OR t.tgparentid <> 0), true) AND coalesce(c.relkind <> 't', true)
     AND coalesce(v.adrelid <> o.leaf, true)
     AND coalesce(NOT (k.contype = 'f' AND k.confrelid = o.leaf AND k.conparentid <> 0), true)
   GROUP BY o.leaf
)
SELECT l.nspname AS schema, l.relname AS table, l.stage, pn.nspname AS parent_schema,
       p.relname AS parent_table, p.oid::int8 AS parent_oid, l.defaults::int AS defaults,
       pg_get_expr(l.relpartbound, l.oid) AS bound,
       -- LIKE copies whatever there is at that time. This is another one when its columns or constraints are changed.
       md5(concat((SELECT array_agg((attnum, xmin)::text ORDER BY attnum) FROM pg_attribute WHERE attrelid = l.oid),
                  (SELECT array_agg((oid, xmin)::text ORDER BY oid) FROM pg_constraint WHERE conrelid = l.oid),
                  (SELECT array_agg((oid, xmin)::text ORDER BY oid) FROM pg_attrdef WHERE adrelid = l.oid))) AS version,
       -- To drop it and to attach the new one: for both tables with their types and TOAST, and for all that belongs to
       -- them. A foreign key, from it or to it, has two triggers on it. Measured, and rounded up.
       (11 + 3 * (SELECT count(*) FROM pg_index WHERE indrelid = l.oid)
           + (SELECT coalesce(sum(CASE WHEN contype IN ('c', 'n') THEN 1 ELSE 2 END), 0) FROM pg_constraint WHERE conrelid = l.oid)
           + 2 * (SELECT count(*) FROM pg_trigger WHERE tgrelid = l.oid)
           + (SELECT count(*) FROM pg_attrdef WHERE adrelid = l.oid))::int AS locks,
       ARRAY[format('DROP TABLE IF EXISTS %%s; CREATE %%sTABLE %%s (LIKE %%s INCLUDING DEFAULTS INCLUDING GENERATED INCLUDING'
              ' STORAGE INCLUDING COMPRESSION INCLUDING CONSTRAINTS, CONSTRAINT snapseed_bounds CHECK (%%s))%%s%%s%%s',
              l.staged, CASE l.relpersistence WHEN 'u' THEN 'UNLOGGED ' ELSE '' END, l.staged, l.placed,
              coalesce(pg_get_partition_constraintdef(l.oid), 'true'),
              (SELECT format(' USING %%I', amname) FROM pg_am WHERE pg_am.oid = l.relam),
              (SELECT ' WITH (' || string_agg(o.kind || quote_ident(o.option_name) || '=' || quote_literal(o.option_value), ', ') || ')'
                 FROM (SELECT '' AS kind, option_name, option_value FROM pg_options_to_table(l.reloptions)
                       UNION ALL SELECT 'toast.', option_name, option_value
                                   FROM pg_class t, pg_options_to_table(t.reloptions) WHERE t.oid = l.reltoastrelid) o),
              (SELECT format(' TABLESPACE %%I', spcname) FROM pg_tablespace WHERE pg_tablespace.oid = l.reltablespace))]
       || ARRAY(SELECT format('ALTER TABLE %%s ALTER COLUMN %%I SET %%s', l.staged, a.attname, s.setting)
               FROM pg_attribute a CROSS JOIN LATERAL (
                 SELECT format('STATISTICS %%s', a.attstattarget) WHERE a.attstattarget >= 0
                 UNION ALL SELECT '(' || string_agg(quote_ident(option_name) || '=' || option_value, ', ') || ')'
                             FROM pg_options_to_table(a.attoptions) HAVING count(*) > 0) s(setting)
              WHERE a.attrelid = l.oid AND a.attnum > 0 AND NOT a.attisdropped)
       || ARRAY(SELECT format('COMMENT ON COLUMN %%s.%%I IS %%L', l.staged, a.attname, d.description)
                  FROM pg_description d JOIN pg_attribute a ON a.attrelid = l.oid AND a.attnum = d.objsubid
                 WHERE d.classoid = 'pg_class'::regclass AND d.objoid = l.oid AND d.objsubid > 0)
       || ARRAY(SELECT format('COMMENT ON CONSTRAINT %%I ON %%s IS %%L', k.conname, l.staged, d.description)
                  FROM pg_constraint k JOIN pg_description d ON d.classoid = 'pg_constraint'::regclass AND d.objoid = k.oid
                 WHERE k.conrelid = l.oid AND k.contype IN ('c', 'n'))
       || ARRAY(SELECT format('COMMENT ON TABLE %%s IS %%L', l.staged, d.description) FROM pg_description d
                 WHERE d.classoid = 'pg_class'::regclass AND d.objoid = l.oid AND d.objsubid = 0)
       || ARRAY(SELECT format('ALTER TABLE %%s %%s ROW LEVEL SECURITY', l.staged, s.setting)
                  FROM (VALUES ('ENABLE', l.relrowsecurity), ('FORCE', l.relforcerowsecurity)) s(setting, is_on) WHERE is_on)
       || CASE WHEN l.relreplident IN ('f', 'n') THEN
            ARRAY[format('ALTER TABLE %%s REPLICA IDENTITY %%s', l.staged, CASE l.relreplident WHEN 'f' THEN 'FULL' ELSE 'NOTHING' END)]
          ELSE '{}' END AS create,
       -- For each index where it is, how its definition begins here and there, and what follows.
       coalesce((SELECT jsonb_agg(jsonb_build_object(
               'oid', i.indexrelid::int8, 'tablespace', coalesce((SELECT spcname FROM pg_tablespace WHERE pg_tablespace.oid = x.reltablespace), ''),
               'old', format('CREATE %%sINDEX %%I ON %%s', CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END, x.relname, l.placed),
               'new', format('CREATE %%sINDEX %%I ON %%s', CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END, x.relname, l.staged),
               'after', array_remove(ARRAY[
                 CASE WHEN k.contype IS NOT NULL THEN
                   format('ALTER TABLE %%s ADD CONSTRAINT %%I %%s USING INDEX %%I%%s%%s', l.staged, k.conname,
                          CASE k.contype WHEN 'p' THEN 'PRIMARY KEY' ELSE 'UNIQUE' END, x.relname,
                          CASE WHEN k.condeferrable THEN ' DEFERRABLE' ELSE '' END,
                          CASE WHEN k.condeferred THEN ' INITIALLY DEFERRED' ELSE '' END) END,
                 (SELECT format('COMMENT ON CONSTRAINT %%I ON %%s IS %%L', k.conname, l.staged, d.description)
                    FROM pg_description d WHERE d.classoid = 'pg_constraint'::regclass AND d.objoid = k.oid),
                 (SELECT format('COMMENT ON INDEX %%I.%%I IS %%L', l.stage, x.relname, d.description)
                    FROM pg_description d WHERE d.classoid = 'pg_class'::regclass AND d.objoid = x.oid AND d.objsubid = 0),
                 CASE WHEN i.indisclustered THEN format('ALTER TABLE %%s CLUSTER ON %%I', l.staged, x.relname) END,
                 CASE WHEN i.indisreplident THEN format('ALTER TABLE %%s REPLICA IDENTITY USING INDEX %%I', l.staged, x.relname) END
               ], NULL) || ARRAY(
                 SELECT format('ALTER INDEX %%I.%%I ALTER COLUMN %%s SET STATISTICS %%s', l.stage, x.relname, a.attnum, a.attstattarget)
                   FROM pg_attribute a WHERE a.attrelid = x.oid AND a.attstattarget >= 0 ORDER BY a.attnum)) ORDER BY i.indexrelid)
               FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
               LEFT JOIN pg_constraint k ON k.conrelid = l.oid AND k.conindid = x.oid AND k.contype IN ('p', 'u', 'x')
              WHERE i.indrelid = l.oid), '[]') AS indexes,
       -- Once it is in its place: the owner, and then what it has granted, in the same order.
       CASE WHEN l.relowner <> current_user::regrole::oid
            THEN ARRAY[format('ALTER TABLE %%s OWNER TO %%I', l.placed, pg_get_userbyid(l.relowner))] ELSE '{}' END
       || ARRAY(SELECT format('REVOKE ALL ON %%s FROM %%s', l.placed, CASE g WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g)) END)
                  FROM (SELECT a.grantee FROM pg_default_acl f, aclexplode(f.defaclacl) a
                         WHERE f.defaclobjtype = 'r' AND f.defaclnamespace = 0 AND f.defaclrole = current_user::regrole
                        UNION SELECT l.relowner WHERE l.relacl IS NOT NULL) r(g))
       || ARRAY(SELECT format('GRANT %%s%%s ON %%s TO %%s%%s', string_agg(a.privilege_type, ', '), '', l.placed,
                              CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,
                              CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
                  FROM unnest(coalesce(l.relacl, acldefault('r', l.relowner))) WITH ORDINALITY u(item, place),
                       aclexplode(ARRAY[u.item]) a
                 WHERE l.relacl IS NOT NULL OR EXISTS (SELECT FROM pg_default_acl WHERE defaclobjtype = 'r')
                 GROUP BY u.place, a.grantee, a.is_grantable ORDER BY u.place, a.is_grantable)
       || ARRAY(SELECT format('GRANT %%s (%%I) ON %%s TO %%s%%s', a.privilege_type, c.attname, l.placed,
                              CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,
                              CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
                  FROM pg_attribute c, unnest(c.attacl) WITH ORDINALITY u(item, place), aclexplode(ARRAY[u.item]) a
                 WHERE c.attrelid = l.oid ORDER BY c.attnum, u.place) AS placed,
       CASE
         WHEN NOT pg_has_role(l.relowner, 'USAGE') OR NOT has_schema_privilege(l.relnamespace, 'CREATE')
           THEN 'the role does not own it, or may not create tables in its schema'
         WHEN NOT has_schema_privilege(l.relowner, l.relnamespace, 'CREATE')
           THEN 'its owner may not create tables in its schema'
         WHEN l.relkind = 'f' THEN 'it is a foreign table'
         WHEN u.name IS NOT NULL THEN u.name || ' depends on it'
         WHEN EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = l.oid AND NOT k.convalidated)
           THEN 'a constraint of it is not validated'
         WHEN EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = l.oid AND k.conparentid = 0 AND k.contype = 'f')
           THEN 'it has a foreign key of its own'
         WHEN EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = l.oid
                       AND (k.contype = 'x' OR coalesce((to_jsonb(k) ->> 'conperiod')::bool, false)))
           THEN 'it has an exclusion constraint'
         WHEN EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = l.oid AND k.conname = 'snapseed_bounds')
           THEN 'it has a constraint snapseed_bounds'
         WHEN EXISTS (SELECT FROM pg_trigger t JOIN pg_trigger o ON o.oid = t.tgparentid
                       WHERE t.tgrelid = l.oid AND t.tgenabled <> o.tgenabled)
           THEN 'a trigger of it is enabled in another way than that of its table'
         WHEN current_setting('server_version_num')::int < 170000
              AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = l.oid AND a.attidentity <> '')
           THEN 'it has an identity column of its own'
         WHEN l.reloftype <> 0 OR EXISTS (SELECT FROM pg_seclabel s WHERE s.objoid = l.oid AND s.classoid = 'pg_class'::regclass)
           THEN 'it has a type or a security label'
         WHEN EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = l.oid AND d.deptype IN ('e', 'x'))
           THEN 'it belongs to an extension'
         WHEN EXISTS (SELECT FROM pg_subscription_rel s WHERE s.srrelid = l.oid) THEN 'a subscription writes into it'
         WHEN EXISTS (SELECT FROM aclexplode(l.relacl) a WHERE a.grantor <> l.relowner)
              OR EXISTS (SELECT FROM pg_attribute c, aclexplode(c.attacl) a WHERE c.attrelid = l.oid AND a.grantor <> l.relowner)
           THEN 'somebody else than its owner has granted privileges on it'
       END AS obstacle
  FROM leaf l JOIN pg_class p ON p.oid = l.parent JOIN pg_namespace pn ON pn.oid = p.relnamespace
  LEFT JOIN users u ON u.leaf = l.oid
 ORDER BY l.defaults, l.nspname, l.relname
