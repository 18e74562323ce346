-- UPDATE and DELETE, if the server refuses them: without a replica identity it cannot publish them. Looks at
-- tables and those of their partitions that hold rows. A publication may name a table that one of them is a partition
-- of.
WITH parts AS (SELECT oid, oid AS relid FROM unnest(%(oids)s::oid[]) w(oid)
               UNION SELECT w.oid, t.relid FROM unnest(%(oids)s::oid[]) w(oid), pg_partition_tree(w.oid::regclass) t)
SELECT DISTINCT parts.oid::int8 AS of_table, o.command
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
 ORDER BY 1, 2
