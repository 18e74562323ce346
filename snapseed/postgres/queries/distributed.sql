-- What Citus has made of tables (its manual, "Citus Tables and Views"): reference tables, copied to every node by two-phase
-- commits; tables distributed by a column; and tables without one, in one place.
SELECT logicalrelid::oid::int8 AS of_table,
       CASE WHEN repmodel = 't' THEN 'reference' WHEN partmethod = 'n' THEN 'single-shard' ELSE 'distributed' END AS citus
  FROM pg_dist_partition WHERE logicalrelid::oid = ANY (%(oids)s::oid[])
