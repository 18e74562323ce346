-- Delete the chunks that belong to no text. Runs with the role's search path.
DELETE FROM {target} chunk
 WHERE {model} OPERATOR(pg_catalog.=) %(name)s
   AND NOT EXISTS (SELECT FROM {texts} text WHERE text.{key} OPERATOR(pg_catalog.=) chunk.{parent})
