CREATE TABLE teams (code text PRIMARY KEY, title text NOT NULL, captain bigint);
CREATE TABLE people (
    id bigint PRIMARY KEY,
    team text NOT NULL,
    boss bigint,
    name text NOT NULL,
    born date,
    score integer NOT NULL,
    seat integer,
    tags text[] NOT NULL,
    note jsonb,
    loose json,
    place real[] NOT NULL
);
CREATE TYPE grade AS ENUM ('low', 'high', 'It''s');
CREATE TABLE badges (id uuid PRIMARY KEY, person bigint NOT NULL, team text NOT NULL, mark text, grade grade);
