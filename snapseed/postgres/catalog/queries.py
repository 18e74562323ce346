"""The catalog queries, one for each kind of fact. PostgreSQL 14 – 18.

Each takes the table's oid, but for `TABLE` and `SERVER`; the names of their columns are those of the records' fields.
"""

from __future__ import annotations

SERVER = """
SELECT current_database() AS database, current_user AS role,
       has_database_privilege(current_database(), 'TEMPORARY') AS may_create_temporary,
       coalesce((SELECT enumvals FROM pg_settings WHERE name = 'default_toast_compression'), '{}')
         AS toast_compressions,
       coalesce((SELECT source = 'default' FROM pg_settings WHERE name = 'default_toast_compression'), false)
         AS toast_compression_is_default
"""

# Ordinary, partitioned and foreign tables and views; to_regclass follows the search path where no schema is given.
# With a schema it would raise where this role may not use it.
TABLE = """
SELECT c.oid::int8 AS oid, n.nspname AS schema, c.relname AS table, c.relkind::text AS kind,
       c.relpersistence::text AS persistence, pg_has_role(c.relowner, 'USAGE') AS owned,
       pg_has_role(c.relowner, 'USAGE') AND has_schema_privilege(n.oid, 'CREATE') AS may_index,
       ARRAY(SELECT p FROM unnest(ARRAY['DELETE', 'TRUNCATE']) p WHERE has_table_privilege(c.oid, p))
       || CASE WHEN has_any_column_privilege(c.oid, 'SELECT') THEN ARRAY['SELECT'] ELSE '{}' END
       || CASE WHEN has_schema_privilege(n.oid, 'USAGE') THEN ARRAY['USAGE'] ELSE '{}' END AS privileges,
       greatest(c.reltuples, 0)::int8 AS estimated_rows, row_security_active(c.oid) AS row_security,
       EXISTS (SELECT FROM pg_rewrite w WHERE w.ev_class = c.oid AND w.ev_type = '2') AS has_update_rule,
       EXISTS (SELECT FROM pg_publication) AS has_publications,
       EXISTS (SELECT FROM pg_publication_rel p WHERE p.prrelid = c.oid) AS is_published
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.oid = CASE WHEN %(schema)s::text IS NULL THEN to_regclass(quote_ident(%(table)s))
                    ELSE (SELECT o.oid FROM pg_class o JOIN pg_namespace s ON s.oid = o.relnamespace
                           WHERE o.relname = %(table)s AND s.nspname = %(schema)s) END
"""

# A domain may stand over another domain; `beneath` ends at the type under all of them.
COLUMNS = """
WITH RECURSIVE beneath AS (
  SELECT attnum, atttypid AS type, atttypmod AS modifier, atthasdef AS has_default, '{}'::text[] AS domains,
         false AS not_null
    FROM pg_attribute WHERE attrelid = %(oid)s AND attnum > 0 AND NOT attisdropped
  UNION ALL
  SELECT d.attnum, t.typbasetype, t.typtypmod, d.has_default OR t.typdefault IS NOT NULL,
         d.domains || format_type(d.type, NULL), d.not_null OR t.typnotnull
    FROM beneath d JOIN pg_type t ON t.oid = d.type WHERE t.typtype = 'd'
)
SELECT a.attname AS name, format_type(d.type, d.modifier) AS type, d.domains,
       b.typtype::text AS kind, b.typelem::int8 AS element_oid, e.typtype::text AS element_kind,
       a.attnotnull OR d.not_null AS not_null, d.not_null AS domain_not_null, d.has_default,
       a.attidentity::text AS identity, a.attgenerated::text AS generated,
       EXISTS (SELECT FROM pg_depend u
                LEFT JOIN pg_attrdef v ON u.classid = 'pg_attrdef'::regclass AND v.oid = u.objid
                WHERE u.refclassid = 'pg_class'::regclass AND u.refobjid = a.attrelid AND u.refobjsubid = a.attnum
                  AND (u.classid IN ('pg_rewrite'::regclass, 'pg_trigger'::regclass, 'pg_policy'::regclass)
                       OR v.adnum <> a.attnum)) AS is_used,
       ARRAY(SELECT l.enumlabel::text FROM pg_enum l
              WHERE l.enumtypid = CASE WHEN b.typtype = 'e' THEN b.oid WHEN e.typtype = 'e' THEN e.oid END
              ORDER BY l.enumsortorder) AS labels,
       has_column_privilege(a.attrelid, a.attnum, 'INSERT') AS may_insert,
       has_column_privilege(a.attrelid, a.attnum, 'SELECT') AS may_select,
       has_column_privilege(a.attrelid, a.attnum, 'UPDATE') AS may_update
  FROM beneath d
  JOIN pg_attribute a ON a.attrelid = %(oid)s AND a.attnum = d.attnum
  JOIN pg_type b ON b.oid = d.type AND b.typtype <> 'd'
  LEFT JOIN pg_type e ON e.oid = b.typelem AND b.typcategory = 'A'
 ORDER BY a.attnum
"""

# pg_get_indexdef gives all of an index but its tablespace; a constraint is put on top of the index once that stands.
# Whatever else can be said of an index is in `restore`, or is a reason to keep it.
INDEXES = """
SELECT c.oid::int8 AS oid, c.relname AS name, pg_get_indexdef(c.oid) AS definition, i.indisunique AS is_unique,
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
              THEN 'the role may create nothing in its tablespace'
            WHEN EXISTS (SELECT FROM pg_depend d LEFT JOIN pg_constraint f
                                  ON d.classid = 'pg_constraint'::regclass AND f.oid = d.objid
                          WHERE ((d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid)
                                 OR (d.refclassid = 'pg_constraint'::regclass AND d.refobjid = k.oid))
                            AND d.deptype <> 'i' AND f.contype IS DISTINCT FROM 'f')
              THEN 'something depends on it, a view perhaps'
            WHEN EXISTS (SELECT FROM pg_depend d
                          WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('e', 'x'))
              THEN 'it belongs to an extension'
       END AS keep_reason
  FROM pg_index i
  JOIN pg_class c ON c.oid = i.indexrelid
  JOIN pg_class r ON r.oid = i.indrelid
  JOIN pg_namespace n ON n.oid = r.relnamespace
  LEFT JOIN pg_constraint k ON k.conindid = c.oid AND k.contype IN ('p', 'u', 'x')
 WHERE i.indrelid = %(oid)s
 ORDER BY c.relname
"""

# A key that refers to a partitioned table has a copy for each partition there, which comes and goes with it; and
# partitions of this table may have keys of their own.
FOREIGN_KEYS = """
SELECT k.conname AS name, pg_get_constraintdef(k.oid) AS definition, k.confrelid::int8 AS references,
       k.confrelid::regclass::text AS references_name, k.conindid::int8 AS index,
       (SELECT bool_and(a.attnotnull) FROM pg_attribute a WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey))
         AS is_required,
       ARRAY(SELECT a.relid::oid::int8 FROM pg_partition_ancestors(k.confrelid::regclass) a) AS above,
       k.condeferrable AS deferrable,
       EXISTS (SELECT FROM pg_trigger t WHERE t.tgconstraint = k.oid AND t.tgrelid = k.conrelid
                                          AND t.tgenabled IN ('O', 'A')) AS is_checked,
       ARRAY(SELECT format('COMMENT ON CONSTRAINT %%I ON %%I.%%I IS %%L', k.conname, n.nspname, r.relname,
                           d.description)
               FROM pg_description d WHERE d.classoid = 'pg_constraint'::regclass AND d.objoid = k.oid) AS restore,
       CASE WHEN k.conparentid <> 0 OR NOT k.conislocal THEN 'it is inherited'
            WHEN k.conrelid <> %(oid)s THEN 'it belongs to a partition'
            WHEN NOT k.convalidated THEN 'it is not validated: made again, it would not check the new rows'
            WHEN EXISTS (SELECT FROM pg_trigger t WHERE t.tgconstraint = k.oid AND t.tgenabled <> 'O')
              THEN 'its triggers are not in their usual state'
            WHEN NOT (SELECT bool_and(has_column_privilege(k.confrelid, u.number, 'REFERENCES'))
                        FROM unnest(k.confkey) u(number))
                 OR NOT has_schema_privilege((SELECT c.relnamespace FROM pg_class c WHERE c.oid = k.confrelid), 'USAGE')
              THEN 'the role may make no reference to that table'
       END AS keep_reason
  FROM pg_constraint k
  JOIN pg_class r ON r.oid = k.conrelid
  JOIN pg_namespace n ON n.oid = r.relnamespace
 WHERE k.contype = 'f'
   AND CASE k.conrelid
         WHEN %(oid)s THEN NOT EXISTS (SELECT FROM pg_constraint p
                                        WHERE p.oid = k.conparentid AND p.conrelid = k.conrelid)
         ELSE k.conparentid = 0
              AND k.conrelid IN (SELECT relid FROM pg_partition_tree(%(oid)s::oid::regclass)) END
 ORDER BY k.conname
"""

# Each partition has a copy of its table's triggers, which is turned on and off by itself, and may have its own.
TRIGGERS = """
SELECT n.nspname AS schema, c.relname AS table, t.tgname AS name, t.tgenabled = 'A' AS always,
       pg_has_role(c.relowner, 'USAGE') AS owned
  FROM (SELECT %(oid)s::oid AS relid UNION SELECT relid FROM pg_partition_tree(%(oid)s::oid::regclass)) p
  JOIN pg_trigger t ON t.tgrelid = p.relid
  JOIN pg_class c ON c.oid = t.tgrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')
 ORDER BY t.tgrelid <> %(oid)s, n.nspname, c.relname, t.tgname
"""

# Without a replica identity the server refuses to update or delete what a publication would have to tell of. Asked of
# the table and its partitions that hold rows; what publishes one of them may name a table that it is a partition of.
REFUSES = """
WITH parts AS (SELECT %(oid)s::oid AS relid UNION SELECT relid FROM pg_partition_tree(%(oid)s::oid::regclass))
SELECT DISTINCT o.command
  FROM parts JOIN pg_class c ON c.oid = parts.relid AND c.relkind = 'r' AND c.relpersistence = 'p'
  JOIN pg_publication p ON p.pubupdate OR p.pubdelete
 CROSS JOIN LATERAL (VALUES ('UPDATE', p.pubupdate), ('DELETE', p.pubdelete)) o(command, published)
 WHERE o.published
   AND (p.puballtables OR EXISTS (
     SELECT FROM pg_publication_tables t
      WHERE t.pubname = p.pubname
        AND to_regclass(format('%%I.%%I', t.schemaname, t.tablename)) IN (
              SELECT c.oid::regclass UNION SELECT a.relid FROM pg_partition_ancestors(c.oid::regclass) a)))
   AND NOT CASE c.relreplident
             WHEN 'f' THEN true
             WHEN 'n' THEN false
             ELSE EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisvalid
                           AND CASE c.relreplident WHEN 'i' THEN i.indisreplident
                                                   ELSE i.indisprimary AND i.indimmediate END)
           END
 ORDER BY 1
"""

RULES = """
SELECT w.rulename AS name, CASE w.ev_type WHEN '2' THEN 'UPDATE' WHEN '3' THEN 'INSERT' ELSE 'DELETE' END AS event,
       w.ev_enabled = 'A' AS always
  FROM pg_rewrite w
 WHERE w.ev_class = %(oid)s AND w.ev_type IN ('2', '3', '4') AND w.ev_enabled IN ('O', 'A')
 ORDER BY w.rulename
"""

# pg_get_serial_sequence raises on some columns and knows no defaults; pg_depend does not, and does.
SEQUENCES = """
SELECT n.nspname AS schema, c.relname AS name, a.attname AS column, s.seqincrement AS increment,
       s.seqmin AS minimum, s.seqmax AS maximum,
       bool_or(u.owned) AND NOT EXISTS (
         SELECT FROM pg_depend d JOIN pg_attrdef v ON d.classid = 'pg_attrdef'::regclass AND v.oid = d.objid
          WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid AND v.adrelid <> %(oid)s) AS owned,
       pg_has_role(c.relowner, 'USAGE') AS may_alter, has_sequence_privilege(c.oid, 'UPDATE') AS may_set,
       has_sequence_privilege(c.oid, 'USAGE, SELECT') AS may_look, has_schema_privilege(n.oid, 'USAGE') AS may_enter
  FROM (SELECT d.objid AS sequence, d.refobjsubid AS number, true AS owned
          FROM pg_depend d
         WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = %(oid)s
           AND d.deptype IN ('a', 'i')
        UNION ALL
        SELECT d.refobjid, v.adnum, false
          FROM pg_attrdef v
          JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = v.oid
                          AND d.refclassid = 'pg_class'::regclass
         WHERE v.adrelid = %(oid)s) u
  JOIN pg_class c ON c.oid = u.sequence AND c.relkind = 'S'
  JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_sequence s ON s.seqrelid = c.oid
  JOIN pg_attribute a ON a.attrelid = %(oid)s AND a.attnum = u.number
  JOIN pg_type t ON t.oid = a.atttypid
 WHERE coalesce(nullif(t.typbasetype, 0), t.oid) IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)
 GROUP BY c.oid, n.oid, n.nspname, c.relname, a.attname, s.seqincrement, s.seqmin, s.seqmax, c.relowner
 ORDER BY 1, 2, 3
"""

# Foreign keys of other tables, with the names of their columns and whether this role may read those. One that refers to
# a partition of this table, or to the table that this is a partition of, stands in the way of TRUNCATE just as well.
# So does that of the latter to itself, but which of its rows refer to this partition is not looked up.
REFERENCED_BY = """
WITH own AS (SELECT %(oid)s::oid AS relid UNION SELECT relid FROM pg_partition_tree(%(oid)s::oid::regclass)),
     related AS (SELECT relid FROM own UNION SELECT relid FROM pg_partition_ancestors(%(oid)s::oid::regclass))
SELECT k.conrelid::int8 AS oid,
       ARRAY(SELECT a.relid::oid::int8 FROM pg_partition_ancestors(k.conrelid::regclass) a) AS above,
       n.nspname AS schema, c.relname AS table, k.conindid::int8 AS index, k.confdeltype IN ('c', 'n', 'd') AS acts,
       ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey))
         AS columns,
       k.conrelid NOT IN (SELECT relid FROM related)
         AND has_schema_privilege(n.oid, 'USAGE') AND NOT row_security_active(c.oid)
         AND (SELECT bool_and(has_column_privilege(k.conrelid, u.number, 'SELECT')) FROM unnest(k.conkey) u(number))
         AS may_look,
       c.relkind = 'r' AS alone
  FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE k.confrelid IN (SELECT relid FROM related) AND k.conrelid NOT IN (SELECT relid FROM own)
   AND k.contype = 'f' AND k.conparentid = 0
 ORDER BY n.nspname, c.relname, k.conname
"""
