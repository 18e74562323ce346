-- What Citus has made of tables (its manual, "Citus Tables and Views"): reference tables, copied to every node by two-phase
-- commits; local tables that it manages, which are in no group of co-located tables; tables in one place; distributed ones.
SELECT logicalrelid::oid::int8 AS of_table,
       CASE WHEN repmodel = 't' THEN 'reference' WHEN partmethod <> 'n' THEN 'distributed'
            WHEN colocationid = 0 THEN 'local' ELSE 'single-shard' END AS citus
  FROM pg_dist_partition WHERE logicalrelid::oid = ANY (%(oids)s::oid[])
