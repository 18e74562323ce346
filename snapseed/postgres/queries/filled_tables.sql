-- What loads have put into each table since it was last replaced: the snapshots, and the transactions, which are the
-- xmin of the rows; a load over several connections wrote them in more than one. The name alone proves nothing:
-- somebody may have dropped the table and created another one, or restored a dump that contains the record. So the
-- recorded oid must be the table's. The record of a table that workers fill has nothing else. A copy of a record, as in
-- a template, names the transaction of the original. After a repair, all rows are those of a snapshot, as after a load
-- that has replaced them; but earlier loads have written most of them.
WITH filled AS (
  SELECT t.name, l.id, l.mode, l.identity, l.state -> t.name AS state,
         coalesce(l.state ->> 'transaction', l.xmin::text) AS transaction,
         max(l.id) FILTER (WHERE l.mode = 'replace') OVER (PARTITION BY t.name) AS replaced
    FROM snapseed.loads l, jsonb_array_elements_text(l.tables) t(name)
)
SELECT f.name, bool_or(f.mode IN ('replace', 'repair')) AS replaced, bool_or(f.mode = 'upsert') AS upserted,
       bool_or(f.state = jsonb_build_object('oid', f.state -> 'oid')) AS by_workers,
       coalesce(bool_and(NOT f.state -> 'tree' @> (SELECT jsonb_agg(p.relid::oid::int8) FROM pg_partition_tree(c.oid) p)),
                false) AS has_grown,
       array_agg(DISTINCT f.identity) AS identities,
       ARRAY(SELECT unnest(array_agg(f.transaction)) UNION
             SELECT jsonb_array_elements_text(each) FROM unnest(array_agg(f.state -> 'transactions')) each) AS transactions,
       ARRAY(SELECT jsonb_array_elements_text(parts) FROM unnest(array_agg(DISTINCT f.state -> 'parts')) parts) AS parts
  FROM filled f
  JOIN pg_class c ON c.oid::text = f.state ->> 'oid'
  JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname || '.' || c.relname = f.name
 WHERE f.id >= coalesce(f.replaced, 0)
 GROUP BY f.name, c.oid
