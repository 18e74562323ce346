-- The latest loads, newest first.
SELECT environment, snapshot, identity, CASE WHEN scale > 0 THEN seed::text::numeric END AS seed,
       nullif(scale, 0) AS scale, mode, tables, rows, version, role, loaded_at
  FROM snapseed.loads ORDER BY id DESC LIMIT %(limit)s
