-- The latest loads, newest first.
SELECT environment, snapshot, identity, seed::text::numeric AS seed, scale, mode, tables, rows, version, role, loaded_at
  FROM snapseed.loads ORDER BY id DESC LIMIT %(limit)s
