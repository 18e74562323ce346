"""A project for the tables of a database, in three stages of frozen values.

Facts: `schema` and `statistics` read the catalogs, `kept` the rows that stay, and `conditions` parses checks. Plan:
`guesses` adds foreign keys, `placing` gives each table its place in the `arrangement`, `references` and `sources` say
where columns come from, `columns` proposes draws, `trial` asks the server about them, `decision` chooses, and `plan`
puts all together. Text: `modules`, and `update` for a project that is there. `project` runs the stages.
"""
