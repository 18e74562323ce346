-- Texts and their versions. A version is the transaction that wrote the row.
SELECT text.{key}, text.xmin::text, text.{text} FROM {texts} text
 WHERE text.{key} = ANY (%(keys)s::text[]::{type}[]) ORDER BY 1
