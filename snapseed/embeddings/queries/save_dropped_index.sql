-- Save the definition of an index that is about to be dropped.
INSERT INTO snapseed.dropped_indexes (table_oid, name, tablespace, statements)
VALUES (%(table)s, %(name)s, %(tablespace)s, %(statements)s)
ON CONFLICT (table_oid, name) DO UPDATE SET tablespace = excluded.tablespace, statements = excluded.statements
