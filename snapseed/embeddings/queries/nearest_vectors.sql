-- The nearest chunks by pgvector, whose `<=>` is one minus the cosine. Its indexes serve only an ORDER BY of that.
SELECT {parent} AS parent, {number} AS number,
       1 - ({vector} OPERATOR({extension}.<=>) %(question)s::{extension}.vector) AS similarity, {content} AS content
  FROM {target} WHERE {model} = %(name)s
 ORDER BY {vector} OPERATOR({extension}.<=>) %(question)s::{extension}.vector LIMIT %(limit)s
