-- Lock texts until the end of the transaction, and read their versions.
SELECT key, version FROM (
       SELECT text.{key} AS key, text.xmin::text AS version FROM {texts} text
        WHERE text.{key} = ANY (%(keys)s::text[]::{type}[]) ORDER BY 1 FOR SHARE OF text
       ) locked
