-- Definitions of indexes that were dropped, until they are restored.
CREATE TABLE snapseed.dropped_indexes (
    table_oid oid NOT NULL,
    name text NOT NULL,
    tablespace text NOT NULL,
    statements text[] NOT NULL,
    dropped_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (table_oid, name)
);
COMMENT ON TABLE snapseed.dropped_indexes IS 'Indexes that come back once all embeddings are there';
