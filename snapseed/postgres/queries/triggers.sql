-- The triggers that would fire. Each partition has a copy of its table's triggers, which is switched on and off
-- separately, and may have triggers of its own.
SELECT p.oid::int8 AS of_table, n.nspname AS schema, c.relname AS table, t.tgname AS name, t.tgenabled = 'A' AS always,
       pg_has_role(c.relowner, 'USAGE') AS owned
  FROM (SELECT oid, oid AS relid FROM unnest(%(oids)s::oid[]) w(oid)
        UNION SELECT w.oid, t.relid FROM unnest(%(oids)s::oid[]) w(oid), pg_partition_tree(w.oid::regclass) t) p
  JOIN pg_trigger t ON t.tgrelid = p.relid
  JOIN pg_class c ON c.oid = t.tgrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')
 ORDER BY t.tgrelid <> p.oid, n.nspname, c.relname, t.tgname
