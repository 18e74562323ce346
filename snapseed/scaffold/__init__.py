"""A project for the tables of a database, in four stages of frozen values; `project` runs them.

Facts: `schema`, `statistics` and `conditions` read the catalogs, `kept` the rows that stay. `arrange/`: which tables
have entities, whose rows are whose, and how many. `decide/`: where the columns of one table come from, what may be
drawn for the others (`draws`), and what the checks let through. Text: `plan` puts the code of all entities together,
`modules` writes it, and `update` adds it to a project that is there.
"""
