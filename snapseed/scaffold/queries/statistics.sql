-- What ANALYZE found out about columns. Values are given only of columns that are `shown`, and those of texts only if
-- they are codes: up to 50 different ones of up to 32 characters, none of which looks personal. Each stands in a CHECK of
-- the column, or is a single word with at most six digits that does not look like a name. A code in fewer than five rows
-- is not given, and none is if the others are less than three quarters of the rows. What is not given never leaves the
-- server. `until` is the end of the day of the newest moment that is not in the future, or now if that is earlier.
WITH wanted AS (SELECT * FROM unnest(%(oids)s::int8[], %(names)s::text[], %(shown)s::text[]) AS w (oid, name, shown)),
found AS (
  SELECT w.oid, w.name, w.shown, greatest(c.reltuples, 0) AS rows, s.null_frac, s.n_distinct, s.avg_width, s.correlation,
         CASE w.shown WHEN 'all' THEN s.most_common_vals::text::text[] WHEN 'codes' THEN
           (s.most_common_vals::text::text[])[:(SELECT count(*) FROM unnest(s.most_common_freqs) AS f
                                                 WHERE f * c.reltuples >= 5)] END AS common,
         s.most_common_freqs AS shares, CASE WHEN s.n_distinct < 0 THEN -s.n_distinct * c.reltuples ELSE s.n_distinct END
           AS different,
         s.histogram_bounds::text::text[] AS bounds, s.elem_count_histogram AS sizes,
         CASE WHEN w.shown = 'all' AND a.atttypid IN ('date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype) THEN
           (SELECT max(least(date_trunc('day', moment) + interval '1 day', date_trunc('minute', now())))
              FROM (SELECT CASE WHEN v ~ '^(19|20)[0-9]{2}-[^B]*$' THEN v::timestamptz END AS moment
                      FROM unnest(s.most_common_vals::text::text[] || s.histogram_bounds::text::text[]) AS v) AS moments
             WHERE moment <= now()) END AS until,
         coalesce((SELECT string_agg(pg_get_constraintdef(k.oid), ' ') FROM pg_constraint k WHERE k.contype = 'c'
                      AND ((k.conrelid = c.oid AND a.attnum = ANY (k.conkey)) OR k.contypid = a.atttypid)), '') AS checks
    FROM wanted w JOIN pg_class c ON c.oid = w.oid JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_stats s ON s.schemaname = n.nspname AND s.tablename = c.relname AND s.attname = w.name
     AND s.inherited = (c.relkind = 'p')
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = w.name
)
SELECT oid, name, null_frac::float8 AS null_share, avg_width::int4 AS width,
       coalesce(correlation, 0)::float8 AS correlation, different::int8 AS distinct,
       shares::float8[] AS shares, sizes::float8[] AS sizes, until,
       CASE WHEN shown = 'all'
              OR (different <= 50 AND 4 * (SELECT sum(f) FROM unnest(shares[:cardinality(common)]) AS f)
                                            >= 3 * (1 - null_frac)
                  AND NOT EXISTS (
                    SELECT FROM unnest(common) AS v WHERE length(v) > 32 OR v ~ %(personal)s
                        OR ((rtrim(v) !~ '^[[:alnum:]_.+-]*$' OR v ~ '[[:upper:]][[:lower:]]+[_.+-][[:upper:]][[:lower:]]'
                             OR length(regexp_replace(v, '[^0-9]', '', 'g')) > 6)
                            AND strpos(checks, quote_literal(rtrim(v))) = 0)))
            THEN common END AS common,
       CASE WHEN shown = 'all' THEN bounds END AS bounds
  FROM found
