-- What ANALYZE found out about columns. Values are given only of columns that are `shown`, and those of texts only if
-- they are codes: up to 50 different ones of up to 32 characters, none of which looks personal. Each stands in a CHECK of
-- the column, or is a single word with at most six digits that does not look like a name, or one of these `places`. A code in fewer than five rows
-- is not given, and none is if the others are less than three quarters of the rows. What is not given never leaves the
-- server. `joint` are the most common combinations in extended statistics, of columns all of whose values are given; each
-- is in five rows or more. They are hidden from a role that is not the table's owner. `until` is the end of the day of the newest moment that is not in the future, or now if that is earlier.
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
), shown AS (
  SELECT oid, name, null_frac::float8 AS null_share, avg_width::int4 AS width,
         coalesce(correlation, 0)::float8 AS correlation, different::int8 AS distinct,
         shares::float8[] AS shares, (SELECT sum(f ^ 2) + coalesce(
             (1 - null_frac - sum(f)) ^ 2 / nullif(greatest(different - count(f), 0), 0), 0) FROM unnest(shares) AS f)
           / nullif((1 - null_frac) ^ 2, 0) AS squares, sizes::float8[] AS sizes, until,
         CASE WHEN shown = 'all'
                OR (different <= 50 AND 4 * (SELECT sum(f) FROM unnest(shares[:cardinality(common)]) AS f)
                                              >= 3 * (1 - null_frac)
                    AND NOT EXISTS (
                      SELECT FROM unnest(common) AS v WHERE length(v) > 32 OR v ~ %(personal)s
                          OR ((rtrim(v) !~ '^[[:alnum:]_.+-]*$' OR v ~ '[[:upper:]][[:lower:]]+[_.+-][[:upper:]][[:lower:]]'
                               OR length(regexp_replace(v, '[^0-9]', '', 'g')) > 6)
                              AND strpos(checks, quote_literal(rtrim(v))) = 0 AND lower(rtrim(v)) <> ALL (%(places)s))))
              THEN common END AS common,
         CASE WHEN shown = 'all' THEN bounds END AS bounds
    FROM found
), known AS (
  SELECT oid, name, unnest(common) AS value FROM shown WHERE cardinality(common) = "distinct" AND "distinct" <= 50
), extended AS (
  SELECT e.stxrelid::int8 AS oid, e.oid AS statistics, s.attnames, s.most_common_vals AS vals, s.most_common_freqs AS freqs,
         greatest(c.reltuples, 0) AS rows, s.statistics_name IS NULL AS is_hidden
    FROM pg_statistic_ext e JOIN pg_class c ON c.oid = e.stxrelid JOIN pg_namespace n ON n.oid = e.stxnamespace
    LEFT JOIN pg_stats_ext s ON s.statistics_schemaname = n.nspname AND s.statistics_name = e.stxname
   WHERE 'm' = ANY (e.stxkind) AND e.stxrelid IN (SELECT oid FROM known)
), combined AS (
  SELECT f.oid, f.statistics, array_agg(name.name ORDER BY name.place) AS names,
         array_agg(f.vals[row.number][name.place] ORDER BY name.place) AS values, f.freqs[row.number] AS share
    FROM extended f, generate_subscripts(f.vals, 1) AS row (number),
         unnest(f.attnames::text[]) WITH ORDINALITY AS name (name, place)
   WHERE f.freqs[row.number] * f.rows >= 5 AND EXISTS (SELECT FROM known k WHERE k.oid = f.oid AND k.name = name.name)
   GROUP BY f.oid, f.statistics, row.number, share
  HAVING count(*) > 1 AND bool_and(f.vals[row.number][name.place] IS NULL OR EXISTS (
           SELECT FROM known k WHERE (k.oid, k.name, k.value) = (f.oid, name.name, f.vals[row.number][name.place])))
), joint AS (
  SELECT oid, names, jsonb_build_array(names, jsonb_agg(jsonb_build_array(values, share) ORDER BY share DESC, values)) AS rows
    FROM (SELECT oid, statistics, names, values, sum(share) AS share FROM combined
           GROUP BY oid, statistics, names, values) AS summed
   GROUP BY oid, statistics, names
)
SELECT *, (SELECT jsonb_agg(j.rows ORDER BY j.rows) FROM joint j WHERE j.oid = s.oid AND s.name = ANY (j.names)) AS joint,
       EXISTS (SELECT FROM extended e WHERE e.oid = s.oid AND e.is_hidden) AS is_hidden
  FROM shown s
