-- The latest loads, newest first. As JSON, a table of an older version without `state` has none either.
SELECT environment, snapshot, identity, CASE WHEN scale > 0 THEN seed::text::numeric END AS seed,
       nullif(scale, 0) AS scale, mode, tables, rows, version, role, loaded_at,
       to_jsonb(loads) #>> '{state,times}' AS times
  FROM snapseed.loads ORDER BY id DESC LIMIT %(limit)s
