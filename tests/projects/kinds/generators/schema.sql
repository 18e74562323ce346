CREATE SCHEMA "Odd Place";
CREATE TYPE "Odd Place"."Light" AS ENUM ('red', 'green', 'very "odd", \ light');
CREATE TABLE "Odd Place"."Kinds of things" (
    "Extra" text DEFAULT 'filled by its default',
    strict jsonb,
    gone integer NOT NULL,
    "Lights" "Odd Place"."Light"[],
    flag boolean,
    small smallint,
    whole integer,
    big bigint,
    single real,
    double double precision,
    amount numeric(12, 3),
    "select" text NOT NULL,
    label varchar(30),
    code char(5),
    bytes bytea,
    day date,
    hour time,
    local timestamp,
    moment timestamptz,
    loose json,
    numbers integer[],
    grid smallint[][],
    "Id" uuid PRIMARY KEY,
    serial_number bigint GENERATED ALWAYS AS IDENTITY
);
ALTER TABLE "Odd Place"."Kinds of things" DROP COLUMN gone;
CREATE TYPE "Odd Place".size AS (number integer, unit text);
CREATE TABLE spans (
    id bigint PRIMARY KEY,
    length interval NOT NULL,
    address inet,
    seasons daterange[],
    corners box[],
    size "Odd Place".size,
    price numeric
);
CREATE TABLE teams (id bigint PRIMARY KEY, captain bigint);
CREATE TABLE players (id bigint PRIMARY KEY, team bigint NOT NULL REFERENCES teams);
ALTER TABLE teams ADD CONSTRAINT teams_captain FOREIGN KEY (captain) REFERENCES players;

-- As the example project does it: with pgvector where the server has it, with a plain array where it has not.
CREATE TABLE points (id integer PRIMARY KEY);
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_available_extensions WHERE name = 'vector') THEN
        CREATE EXTENSION IF NOT EXISTS vector;
        ALTER TABLE points ADD COLUMN place vector(4) NOT NULL;
    ELSE
        ALTER TABLE points ADD COLUMN place real[] NOT NULL CHECK (cardinality(place) = 4);
    END IF;
END
$$;
