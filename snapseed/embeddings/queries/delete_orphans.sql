-- Delete the chunks that belong to no text.
DELETE FROM {target} chunk
 WHERE {model} = %(name)s AND NOT EXISTS (SELECT FROM {texts} text WHERE text.{key} = chunk.{parent})
