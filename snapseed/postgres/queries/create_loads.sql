-- One row per load. `tables` lists schema.table of each table that it filled. seed may exceed 2^63, hence numeric.
CREATE TABLE snapseed.loads (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    environment text NOT NULL,
    snapshot text NOT NULL,
    identity text NOT NULL,
    seed numeric(20) NOT NULL,
    scale bigint NOT NULL,
    mode text NOT NULL,
    tables jsonb NOT NULL,
    rows bigint NOT NULL,
    state jsonb,
    version text NOT NULL,
    role text NOT NULL DEFAULT current_user,
    loaded_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE snapseed.loads IS 'Snapshots that snapseed has loaded into this database';
