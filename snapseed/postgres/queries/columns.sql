-- The columns of tables. A domain may be based on another domain; `beneath` ends at the type under all of them. The
-- names of types in schemas of the path are as the role's own sessions show them, without the schema; `full_type` has it.
WITH RECURSIVE beneath AS (
  SELECT attrelid, attnum, atttypid AS type, atttypmod AS modifier, atthasdef AS has_default, '{}'::text[] AS domains,
         false AS not_null
    FROM pg_attribute WHERE attrelid = ANY (%(oids)s::oid[]) AND attnum > 0 AND NOT attisdropped
  UNION ALL
  SELECT d.attrelid, d.attnum, t.typbasetype, t.typtypmod, d.has_default OR t.typdefault IS NOT NULL,
         d.domains || format_type(d.type, NULL), d.not_null OR t.typnotnull
    FROM beneath d JOIN pg_type t ON t.oid = d.type WHERE t.typtype = 'd'
)
SELECT d.attrelid::int8 AS of_table, a.attname AS name, d.domains, format_type(d.type, d.modifier) AS full_type,
       format('%%I.%%I', n.nspname, b.typname) AS catalog_name,
       replace(format_type(d.type, d.modifier),
               CASE WHEN n.nspname = ANY (%(path)s::text[]) THEN quote_ident(n.nspname) || '.' ELSE '' END, '') AS type,
       b.typtype::text AS kind, b.typelem::int8 AS element_oid, e.typtype::text AS element_kind,
       a.attnotnull OR d.not_null AS not_null, d.not_null AS domain_not_null, d.has_default,
       a.attstorage = 'x' AND b.typstorage = 'x' AND a.attcompression = '' AS compresses,
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
  JOIN pg_attribute a ON a.attrelid = d.attrelid AND a.attnum = d.attnum
  JOIN pg_type b ON b.oid = d.type AND b.typtype <> 'd'
  JOIN pg_namespace n ON n.oid = b.typnamespace
  LEFT JOIN pg_type e ON e.oid = b.typelem AND b.typcategory = 'A'
 ORDER BY d.attrelid, a.attnum
