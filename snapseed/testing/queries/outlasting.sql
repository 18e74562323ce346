-- What changes although nothing is committed in this database: where its sequences stand, after a rollback as well. Indexes
-- that do not find every row once there are dead ones in them: those of other access methods than the server's own, as
-- pgvector's. And what ALTER, GRANT and COMMENT ON DATABASE change from any other database.
SELECT (SELECT array_agg((seqrelid, state.*)::text ORDER BY seqrelid)
          FROM pg_sequence CROSS JOIN pg_get_sequence_data(seqrelid) AS state),
       (SELECT sum(pg_stat_get_tuples_inserted(indrelid) + pg_stat_get_tuples_updated(indrelid))
          FROM pg_index JOIN pg_class ON oid = indexrelid WHERE relam >= 16384),
       (SELECT array_agg((setrole, setconfig)::text ORDER BY setrole) FROM pg_db_role_setting WHERE setdatabase = d.oid),
       datdba, datconnlimit, datistemplate, dattablespace, datacl::text, shobj_description(d.oid, 'pg_database')
  FROM pg_database d WHERE datname = current_database()
