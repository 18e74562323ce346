-- The nearest chunks without pgvector: the cosine of each one.
SELECT {parent} AS parent, {number} AS number, similarity, {content} AS content
  FROM {target}, LATERAL (
       SELECT coalesce(sum(a * b) / nullif(sqrt(sum(a * a)) * sqrt(sum(b * b)), 0), 0) AS similarity
         FROM unnest({vector}, %(question)s::real[]) pair(a, b)
       ) pairs
 WHERE {model} = %(name)s ORDER BY similarity DESC LIMIT %(limit)s
