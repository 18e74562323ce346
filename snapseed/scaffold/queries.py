"""The catalog queries, each over all tables of a database. PostgreSQL 14 – 18.

Those behind `TABLES` take the oids of the tables. Expressions are in the server's own spelling.
"""

from __future__ import annotations

# Ordinary and partitioned tables that people made: no partitions, nothing of an extension, and not our own.
TABLES = r"""
SELECT c.oid::int8 AS oid, n.nspname AS schema, c.relname AS name, pg_table_is_visible(c.oid) AS is_visible,
       coalesce(obj_description(c.oid, 'pg_class'), '') AS comment
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
   AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'snapseed')
   AND has_schema_privilege(n.oid, 'USAGE')
   AND NOT EXISTS (SELECT FROM pg_depend d
                    WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
 ORDER BY n.nspname, c.relname
"""

# A key that refers to a partition is taken for one to its whole table.
FOREIGN_KEYS = """
SELECT k.conrelid::int8 AS oid, k.conname AS name,
       coalesce(pg_partition_root(k.confrelid), k.confrelid)::oid::int8 AS target,
       ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY u(number, place)
               JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.number ORDER BY u.place) AS columns,
       ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY u(number, place)
               JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.number ORDER BY u.place)
         AS target_columns,
       k.confdeltype = 'c' AS cascades
  FROM pg_constraint k
 WHERE k.contype = 'f' AND k.conparentid = 0 AND k.conrelid = ANY (%(oids)s)
 ORDER BY k.conrelid, k.conkey, k.conname
"""

# The checks of a table, and those of its columns' domains, from the outermost down to the type beneath them all.
CHECKS = """
WITH RECURSIVE domains AS (
  SELECT a.attrelid, a.attname, t.oid AS domain, t.typbasetype AS beneath
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
   WHERE a.attrelid = ANY (%(oids)s) AND a.attnum > 0 AND NOT a.attisdropped AND t.typtype = 'd'
  UNION ALL
  SELECT d.attrelid, d.attname, t.oid, t.typbasetype
    FROM domains d JOIN pg_type t ON t.oid = d.beneath WHERE t.typtype = 'd'
)
SELECT k.conrelid::int8 AS oid, k.conname AS name, pg_get_expr(k.conbin, k.conrelid) AS expression,
       NULL::text AS column,
       ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey))
         AS columns
  FROM pg_constraint k WHERE k.contype = 'c' AND k.conrelid = ANY (%(oids)s)
UNION ALL
SELECT d.attrelid::int8, k.conname, pg_get_expr(k.conbin, 0), d.attname::text, ARRAY[d.attname::text]
  FROM domains d JOIN pg_constraint k ON k.contypid = d.domain AND k.contype = 'c'
 ORDER BY 1, 4 NULLS FIRST, 2
"""

EXCLUSIONS = """
SELECT k.conrelid::int8 AS oid, k.conname AS name, pg_get_constraintdef(k.oid) AS definition,
       ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey)
              ORDER BY a.attnum) AS columns
  FROM pg_constraint k JOIN pg_index i ON i.indexrelid = k.conindid
 WHERE i.indisexclusion AND k.contype IN ('x', 'p', 'u') AND k.conrelid = ANY (%(oids)s)
 ORDER BY k.conrelid, k.conname
"""

# Unique indexes, whether or not a constraint stands behind them; `expressions` are those among its columns.
UNIQUE = """
SELECT i.indrelid::int8 AS oid, i.indisprimary AS is_primary,
       ARRAY(SELECT a.attname::text
               FROM unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) WITH ORDINALITY u(number, place)
               JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = u.number ORDER BY u.place) AS columns,
       pg_get_expr(i.indexprs, i.indrelid) AS expressions
  FROM pg_index i
 WHERE i.indisunique AND NOT i.indisexclusion AND i.indrelid = ANY (%(oids)s)
 ORDER BY i.indrelid, NOT i.indisprimary, i.indexrelid
"""

DEFAULTS = """
SELECT d.adrelid::int8 AS oid, a.attname AS name, pg_get_expr(d.adbin, d.adrelid) AS expression
  FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
 WHERE a.attgenerated = '' AND d.adrelid = ANY (%(oids)s)
 ORDER BY d.adrelid, d.adnum
"""

# Of each partitioned table, and of each of its partitions that is partitioned itself, by what, and into what.
PARTITIONS = """
SELECT o.oid::int8 AS oid, p.partrelid::int8 AS parent, p.partstrat::text AS strategy,
       CASE WHEN p.partexprs IS NULL
            THEN ARRAY(SELECT a.attname::text FROM unnest(p.partattrs::int2[]) WITH ORDINALITY u(number, place)
                         JOIN pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = u.number ORDER BY u.place)
            ELSE '{}' END AS columns,
       ARRAY(SELECT c.oid::int8 FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid
              WHERE h.inhparent = p.partrelid ORDER BY c.oid) AS partitions,
       ARRAY(SELECT pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid
              WHERE h.inhparent = p.partrelid ORDER BY c.oid) AS bounds
  FROM unnest(%(oids)s::oid[]) o(oid)
  JOIN pg_class t ON t.oid = o.oid AND t.relkind = 'p'
 CROSS JOIN LATERAL pg_partition_tree(o.oid::regclass) r
  JOIN pg_partitioned_table p ON p.partrelid = r.relid
 ORDER BY o.oid, r.level, p.partrelid
"""
