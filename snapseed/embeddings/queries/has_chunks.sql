-- Whether any of these texts has a chunk.
SELECT EXISTS (SELECT FROM {target} WHERE {parent} = ANY (%(keys)s::text[]::{type}[]) AND {model} = %(model)s)
