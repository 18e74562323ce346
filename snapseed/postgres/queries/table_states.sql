-- The state that the last load left, for each table. A table that a later load has emptied,
-- or an upsert has left without the rows of its snapshot, has none.
WITH left_by_load AS (
  SELECT id, t.name, identity, state -> t.name AS state FROM snapseed.loads, jsonb_array_elements_text(tables) t(name)
   UNION ALL
  SELECT id, e.name, '', NULL FROM snapseed.loads, jsonb_object_keys(state -> 'emptied') e(name)
   UNION ALL
  SELECT id, e.name, '', NULL FROM snapseed.loads, jsonb_array_elements_text(state -> 'left') e(name)
)
SELECT DISTINCT ON (name) name, identity, state FROM left_by_load ORDER BY name, id DESC, state IS NULL
