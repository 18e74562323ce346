-- The tables of generators/notes.py.
CREATE EXTENSION IF NOT EXISTS vector;
CREATE TABLE notes (id uuid PRIMARY KEY, body text NOT NULL);
CREATE TABLE vectors (
    id uuid PRIMARY KEY,
    note_id uuid NOT NULL REFERENCES notes ON DELETE CASCADE,
    number integer NOT NULL,
    model text NOT NULL,
    embedding vector(384) NOT NULL,
    UNIQUE (note_id, number, model)
);
