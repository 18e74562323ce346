-- The tables that loads have filled. The name alone proves nothing: somebody may have dropped the table and created
-- another one, or restored a dump that contains the record. So the oid must be that of the latest load. A record
-- without an oid does not count.
SELECT latest.name
  FROM (SELECT DISTINCT ON (t.name) t.name, state -> t.name ->> 'oid' AS oid
          FROM snapseed.loads, jsonb_array_elements_text(tables) t(name)
         WHERE mode = 'replace' OR mode = 'upsert' AND NOT %(whole)s
         ORDER BY t.name, id DESC) latest
  JOIN pg_class c ON c.oid::text = latest.oid
  JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname || '.' || c.relname = latest.name
