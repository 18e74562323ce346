-- For this transaction. An index knows nothing about models; since 0.8 pgvector searches on until it has enough rows of
-- the right one.
SELECT set_config('ivfflat.probes', %(probes)s, true), set_config('hnsw.ef_search', %(ef_search)s, true),
       (SELECT set_config('hnsw.iterative_scan', 'strict_order', true)
               || set_config('ivfflat.iterative_scan', 'relaxed_order', true)
          FROM pg_extension WHERE extname = 'vector' AND (string_to_array(extversion, '.')::int[])[:2] >= '{0,8}')
