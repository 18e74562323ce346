"""A project for the tables of a database, in three stages of frozen values.

Facts: `schema` reads the catalogs, `checks` parses conditions. Plan: `arrangement` places the tables, `references` and
`sources` decide where columns come from, `columns` proposes draws, `trial` lets the server choose among them, `plan`
puts all together. Text: `modules`. `project` runs the stages.
"""
