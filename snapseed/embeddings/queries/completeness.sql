-- How much is there, and what is wrong: texts that need a job, chunks that belong to no text, vectors of another length.
SELECT (SELECT count(*) FROM {texts}) AS texts, (SELECT count(*) FROM ({incomplete}) lacking) AS incomplete,
       count(*) AS rows,
       count(*) FILTER (WHERE NOT EXISTS (SELECT FROM {texts} text WHERE text.{key} = chunk.{parent})) AS orphans,
       count(*) FILTER (WHERE cardinality({vector}{to_array}) <> %(dimensions)s) AS wrong_dimension
  FROM {target} chunk WHERE {model} = %(name)s
