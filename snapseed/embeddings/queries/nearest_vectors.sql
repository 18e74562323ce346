-- The nearest chunks by pgvector, whose `<=>` is one minus the cosine. Its indexes serve only an ORDER BY of that.
SELECT {parent} AS parent, {number} AS number, 1 - ({vector} <=> %(question)s::vector) AS similarity,
       {content} AS content
  FROM {target} WHERE {model} = %(name)s ORDER BY {vector} <=> %(question)s::vector LIMIT %(limit)s
