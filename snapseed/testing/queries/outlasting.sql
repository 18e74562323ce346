-- What a rolled back transaction changes all the same: where the sequences of this database stand. And indexes that do not
-- find every row once there are dead ones in them: those of other access methods than the server's own, as pgvector's.
SELECT (SELECT array_agg((seqrelid, state.*)::text ORDER BY seqrelid)
          FROM pg_sequence CROSS JOIN pg_get_sequence_data(seqrelid) AS state),
       (SELECT sum(pg_stat_get_tuples_inserted(indrelid) + pg_stat_get_tuples_updated(indrelid))
          FROM pg_index JOIN pg_class ON oid = indexrelid WHERE relam >= 16384)
