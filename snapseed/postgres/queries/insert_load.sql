-- Record a load.
INSERT INTO snapseed.loads (environment, snapshot, identity, seed, scale, mode, tables, rows, state, version)
VALUES (%(environment)s, %(snapshot)s, %(identity)s, %(seed)s, %(scale)s, %(mode)s, %(tables)s, %(rows)s, %(state)s,
        %(version)s)
RETURNING id AS number, loaded_at
