-- Record a load. The columns of seed and scale take no NULL: a capture has 0 in both, and no other load has scale 0.
INSERT INTO snapseed.loads (environment, snapshot, identity, seed, scale, mode, tables, rows, state, version)
VALUES (%(environment)s, %(snapshot)s, %(identity)s, coalesce(%(seed)s, 0), coalesce(%(scale)s, 0), %(mode)s, %(tables)s,
        %(rows)s, %(state)s, %(version)s)
RETURNING id AS number, loaded_at
