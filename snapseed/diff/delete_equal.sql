-- Delete rows that no key finds: of those with the same hash as many as are staged.
DELETE FROM {table} AS held USING (
    SELECT place, number FROM (
        SELECT tableoid AS place, ctid AS number, hash, pg_catalog.row_number() OVER (PARTITION BY hash) AS time
          FROM (SELECT tableoid, ctid, {hash} AS hash FROM {table}) AS every) AS ranked
      JOIN (SELECT hash, pg_catalog.count(*) AS times FROM {staged} GROUP BY 1) AS gone
        ON ranked.hash OPERATOR(pg_catalog.=) gone.hash AND time OPERATOR(pg_catalog.<=) times) AS chosen
 WHERE held.tableoid OPERATOR(pg_catalog.=) place AND held.ctid OPERATOR(pg_catalog.=) number
