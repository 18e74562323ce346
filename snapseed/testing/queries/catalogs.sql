-- One query for each catalog of this database: its name, how many of the database's own objects it has, and the sum of
-- their hashes, without what loads, VACUUM and ANALYZE change although the schema stays the same.
--
-- OIDs below 16384 are the server's own objects, the same in every database (PostgreSQL manual, 67.2: transam.h). The
-- privileges of the schema "public" count too. Left out: statistics, the contents of large objects, what only superusers
-- may read, and indexes and constraints, which `definitions` has.
SELECT format(
           'SELECT %1$L, count(*), coalesce(sum(hashtextextended((to_jsonb(t) - %2$L::text[])::text, 0)), 0)::text'
           ' FROM pg_catalog.%1$I t WHERE %3$s%4$s',
           relname,
           '{indcheckxmin, relallfrozen, relallvisible, relfilenode, relfrozenxid, relhasindex, relhasrules,'
           ' relhastriggers, relminmxid, relpages, reltuples}',
           CASE relname
               WHEN 'pg_attribute' THEN format(no_index, 'attrelid')
               WHEN 'pg_class' THEN 'relkind NOT IN (''i'', ''I'')'
               -- Which objects belong to an extension, and which column a sequence belongs to.
               WHEN 'pg_depend' THEN
                   '(deptype = ''e'' OR deptype <> ''n'' AND objid IN (SELECT seqrelid FROM pg_catalog.pg_sequence))'
               WHEN 'pg_description' THEN
                   'classoid <> ''pg_constraint''::regclass AND ' || format(no_index, 'objoid')
               WHEN 'pg_inherits' THEN format(no_index, 'inhrelid')
               WHEN 'pg_trigger' THEN 'NOT tgisinternal'
               ELSE 'true'
           END,
           CASE WHEN relname <> 'pg_namespace' THEN format(' AND %I >= 16384', attname) END)
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid,
       (VALUES ('NOT EXISTS (SELECT FROM pg_catalog.pg_class i WHERE i.oid = %s AND i.relkind IN (''i'', ''I''))'))
           AS condition(no_index)
 WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind = 'r' AND NOT relisshared
   AND attnum = CASE WHEN relname = 'pg_depend' THEN 2 ELSE 1 END
   AND relname NOT IN ('pg_constraint', 'pg_index', 'pg_largeobject', 'pg_statistic', 'pg_statistic_ext_data',
                       'pg_user_mapping')
 ORDER BY relname
