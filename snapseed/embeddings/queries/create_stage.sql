-- An empty temporary table for the columns of chunks that workers write.
CREATE TEMPORARY TABLE IF NOT EXISTS {stage} ON COMMIT DELETE ROWS AS SELECT {columns} FROM {target} WITH NO DATA
