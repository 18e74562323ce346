-- The keys of the texts that need a job. A text has at least one chunk, and another one after each 120 words between
-- single blanks (see `chunks`). Only texts that have chunks are read and counted, so those of a fresh load cost no more
-- than a look into an index.
SELECT text.{key}::text
  FROM {texts} text
 CROSS JOIN LATERAL (
       SELECT count(*) AS chunks, max(chunk.{number}) AS last,
              string_agg({content}::text, ' ' ORDER BY chunk.{number}) AS content
         FROM {target} chunk WHERE chunk.{parent} = text.{key} AND chunk.{model} = %(name)s
       ) held
 WHERE CASE held.chunks WHEN 0 THEN true
       ELSE held.last <> held.chunks - 1
         OR held.chunks
            <> greatest(1, (cardinality(string_to_array(coalesce(text.{text}, ''), ' ')) + {words} - 1) / {words})
         OR {changed} END
 ORDER BY text.{key}
