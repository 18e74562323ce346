-- The table of generators/ten_columns.py.

CREATE TABLE ten_columns (
    id uuid PRIMARY KEY,
    other_id uuid NOT NULL,
    name text NOT NULL,
    address text NOT NULL,
    state text NOT NULL,
    remark text,
    amount integer NOT NULL,
    share double precision NOT NULL,
    active boolean NOT NULL,
    created_at timestamptz NOT NULL
);
