-- The most common combinations of values in extended statistics, and how often each is, of all rows. Only values that are
-- known already leave the server, and NULL; only combinations in five rows or more count. Statistics that this role may
-- not read have no combination.
WITH known AS (
  SELECT t.key::int8 AS oid, c.key AS name, v.value
    FROM jsonb_each(%(known)s::jsonb) t, jsonb_each(t.value) c, jsonb_array_elements_text(c.value) v
), found AS (
  SELECT e.stxrelid::int8 AS oid, e.oid AS statistics, s.attnames, s.most_common_vals AS vals, s.most_common_freqs AS freqs,
         greatest(c.reltuples, 0) AS rows, s.statistics_name IS NOT NULL AS is_readable
    FROM pg_statistic_ext e JOIN pg_class c ON c.oid = e.stxrelid JOIN pg_namespace n ON n.oid = e.stxnamespace
    LEFT JOIN pg_stats_ext s ON s.statistics_schemaname = n.nspname AND s.statistics_name = e.stxname
   WHERE 'm' = ANY (e.stxkind) AND e.stxrelid IN (SELECT oid FROM known)
), combined AS (
  SELECT f.oid, f.statistics, array_agg(name.name ORDER BY name.place) AS names,
         array_agg(f.vals[row.number][name.place] ORDER BY name.place) AS values, f.freqs[row.number] AS share
    FROM found f, generate_subscripts(f.vals, 1) AS row (number), unnest(f.attnames::text[]) WITH ORDINALITY AS name (name, place)
   WHERE f.freqs[row.number] * f.rows >= 5 AND EXISTS (SELECT FROM known k WHERE k.oid = f.oid AND k.name = name.name)
   GROUP BY f.oid, f.statistics, row.number, share
  HAVING bool_and(f.vals[row.number][name.place] IS NULL OR EXISTS (
           SELECT FROM known k
            WHERE (k.oid, k.name, k.value) = (f.oid, name.name, f.vals[row.number][name.place])))
), summed AS (
  SELECT oid, statistics, names, values, sum(share)::float8 AS share FROM combined
   WHERE cardinality(names) > 1 GROUP BY oid, statistics, names, values
)
SELECT oid, names, jsonb_agg(jsonb_build_array(to_jsonb(values), share) ORDER BY share DESC, values) AS shares
  FROM summed GROUP BY oid, statistics, names
UNION ALL
SELECT DISTINCT oid, NULL::text[], NULL::jsonb FROM found WHERE NOT is_readable
ORDER BY oid, names
