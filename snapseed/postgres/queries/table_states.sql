-- The state that the last load left, for each table.
SELECT DISTINCT ON (t.name) t.name, identity, state -> t.name
  FROM snapseed.loads, jsonb_array_elements_text(tables) t(name) ORDER BY t.name, id DESC
