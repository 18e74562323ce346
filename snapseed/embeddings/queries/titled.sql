-- The nearest chunks with the titles of their texts.
SELECT found.parent::text AS key, found.number, found.similarity, found.content::text, {title}::text AS title
  FROM ({nearest}) found {joins}
 ORDER BY found.similarity DESC, found.parent, found.number
