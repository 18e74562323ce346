-- The latest load that filled a table.
SELECT max(id) FROM snapseed.loads
 WHERE EXISTS (SELECT FROM jsonb_array_elements_text(tables) t(name) WHERE t.name = %(table)s)
HAVING max(id) IS NOT NULL
