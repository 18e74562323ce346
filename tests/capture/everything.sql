-- A database with one of everything that a capture brings back. `{{…}}` marks what only some servers have.
CREATE SCHEMA app;
CREATE SCHEMA "Odd ""Names""";
COMMENT ON SCHEMA app IS 'what the application uses';

-- Types.
CREATE TYPE app.mood AS ENUM ('sad', 'it''s ok', 'happy');
CREATE TYPE app.address AS (street text, number integer, codes text[]);
CREATE TYPE app.money_range AS RANGE (subtype = numeric);
CREATE DOMAIN app.percent AS numeric(5, 2) DEFAULT 0 CHECK (VALUE BETWEEN 0 AND 100);
CREATE DOMAIN app.code AS text NOT NULL CHECK (VALUE ~ '^[a-z]+$');
COMMENT ON TYPE app.mood IS 'how it is
\going';

-- Functions that defaults and checks use; one with lines that look like those of pg_dump.
CREATE FUNCTION app.is_even(n integer) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT n % 2 = 0';
CREATE FUNCTION app.next_label() RETURNS text LANGUAGE plpgsql AS $_$
BEGIN
    -- Dumped by pg_dump version 99
    RETURN 'label' || $$-
$$;
END
$_$;
CREATE FUNCTION app.noticed() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN NULL; END';
CREATE FUNCTION app.stamp() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.note := ''stamped''; RETURN NEW; END';
CREATE PROCEDURE app.tidy() LANGUAGE sql AS '';
CREATE AGGREGATE app.sum_of(integer) (SFUNC = int4pl, STYPE = integer, INITCOND = '0');
CREATE OPERATOR app.=%= (LEFTARG = integer, RIGHTARG = integer, FUNCTION = int4eq);
CREATE CAST (app.address AS text) WITH INOUT;
CREATE COLLATION app.plain (LOCALE = 'C', PROVIDER = libc);
CREATE TEXT SEARCH CONFIGURATION app.words (COPY = simple);

-- Values that are hard to bring back.
CREATE TABLE app.numbers (
    id integer PRIMARY KEY, small smallint, big bigint, r real, d double precision, n numeric, n2 numeric(12, 4),
    neg numeric(5, -2), m money, o oid, b boolean, share app.percent, c app.code
);
INSERT INTO app.numbers VALUES
    (1, -32768, -9223372036854775808, '-0', '-0', 'NaN', 1.5, 12345, '-12.34', 4294967295, true, 12.5, 'abc'),
    (2, 32767, 9223372036854775807, 'NaN', 'NaN', '1.5000', 0, -700, '0', 0, false, 0, 'z'),
    (3, 0, 0, 'Infinity', '-Infinity', 1e-30, -99999999.9999, 0, '99999999.99', 1, NULL, NULL, 'q'),
    (4, NULL, NULL, 1.1754944e-38, 5e-324, 123456789012345678901234567890.1234567890, NULL, NULL, NULL, NULL, NULL, NULL, 'y');
CREATE TABLE app.moments (
    at timestamptz PRIMARY KEY, plain timestamp, short timestamp(3), d date, t time, tz timetz, i interval
);
INSERT INTO app.moments VALUES
    ('-infinity', 'infinity', 'infinity', '-infinity', '24:00', '23:59:59.999999+15:59', '-1 mons +2 days -03:04:05.678'),
    ('infinity', '-infinity', '-infinity', 'infinity', '00:00', '00:00-15:59', '178000000 years'),
    ('4714-11-24 00:00:00+00 BC', '4714-11-24 00:00:00 BC', '0001-01-01 BC', '4714-11-24 BC', NULL, NULL, '0'),
    ('294246-12-31 23:59:59.999999+00', '2024-02-29 12:00:00.000001', NULL, '5874897-12-31', '12:00:00.5', NULL, NULL);
CREATE TABLE app.texts (
    id text COLLATE "C" PRIMARY KEY, padded char(6), short varchar(4), one "char", named name, raw bytea, bits bit(5),
    more varbit, doc json, docb jsonb, ts tsvector, q tsquery, mac macaddr, mac8 macaddr8, ip inet, net cidr,
    u uuid, jp jsonpath, label text DEFAULT app.next_label(), own text COLLATE app.plain
);
INSERT INTO app.texts VALUES
    ('', 'ab', '', 'x', 'n', '\x00ff', '10101', '1', '{"b":1, "a" :2,"b":3}', '{"b":1,"aa":2,"a":1.0}',
     'a:1A b:2', 'a & !b', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05', '10.0.0.1/8', '10.0.0.0/8',
     '00000000-0000-0000-0000-000000000000', '$.a[*]?(@ > 1)', 'given', 'o'),
    (E'tab\there\nline \\ back', '  lead', ' x ', NULL, NULL, '', NULL, '', 'null', 'null', '', NULL, NULL, NULL,
     '::1', '::/0', NULL, NULL, NULL, NULL),
    ('ünïcödé 💥', 'é', 'äöü', '', '', NULL, '00000', NULL, '"x"', '[]', '', NULL, NULL, NULL, NULL, NULL, NULL,
     NULL, '\N', '\.');
CREATE TABLE app.shapes (
    id uuid PRIMARY KEY, p point, s lseg, b box, pa path, po polygon, ci circle, li line
);
INSERT INTO app.shapes VALUES
    ('10000000-0000-0000-0000-000000000000', '(1,2)', '[(0,0),(1,1)]', '(1,1),(0,0)', '[(0,0),(1,1)]', '((0,0),(1,1),(1,0))',
     '<(0,0),1>', '{1,2,3}'),
    ('20000000-0000-0000-0000-000000000000', '(-0,NaN)', NULL, NULL, '((0,0),(1,1))', NULL, NULL, NULL);
CREATE TABLE app.compound (
    id bigint PRIMARY KEY, ints integer[], deep text[], moods app.mood[], mood app.mood, home app.address,
    homes app.address[], r app.money_range, days daterange, many int4multirange, shares app.percent[],
    pairs numrange[], flags bit(3)[]
);
INSERT INTO app.compound VALUES
    (1, '{1,NULL,3}', '{{a,b},{c,"d,\"e"}}', '{sad,happy}', 'it''s ok', ROW('Main "St"', 1, '{x}'), ARRAY[ROW(NULL, 2, NULL)::app.address],
     '[1.50,2)', '[2024-01-01,2024-02-01)', '{[1,3),[5,7)}', '{1.5,99}', '{"[1,2]",empty}', '{101,000}'),
    (2, '{}', '{}', NULL, NULL, ROW(NULL, NULL, NULL), '{}', 'empty', '(,)', '{}', NULL, NULL, NULL);

-- Keys and columns that number themselves.
CREATE TABLE app.only_id (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY);
INSERT INTO app.only_id DEFAULT VALUES;
CREATE TABLE app.parent (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, x integer CHECK (app.is_even(x)),
    twice integer GENERATED ALWAYS AS (x * 2) STORED, note text
);
INSERT INTO app.parent (x) VALUES (2), (4), (6);
DELETE FROM app.parent WHERE id < 3;
CREATE TRIGGER stamp BEFORE INSERT ON app.parent FOR EACH ROW EXECUTE FUNCTION app.stamp();
CREATE TABLE app.child (
    id smallint GENERATED BY DEFAULT AS IDENTITY (START 10 INCREMENT 5) PRIMARY KEY,
    parent_id integer NOT NULL REFERENCES app.parent
);
INSERT INTO app.child (parent_id) VALUES (3), (3);
CREATE SEQUENCE app.high_seq MINVALUE 1000 START 1000;
CREATE TABLE app.high (id bigint PRIMARY KEY DEFAULT nextval('app.high_seq'));
ALTER SEQUENCE app.high_seq OWNED BY app.high.id;
CREATE SEQUENCE app.down_seq INCREMENT -3 MAXVALUE 100 START 100 CACHE 5 CYCLE;
SELECT nextval('app.down_seq');
CREATE SEQUENCE app.untouched AS smallint;
CREATE TABLE app.counted (id serial PRIMARY KEY, v text);
INSERT INTO app.counted (v) VALUES ('a'), ('b'), ('c');
SELECT setval('app.counted_id_seq', 40, false);

-- References: a cycle, to oneself twice over, composite with NULL, to unique columns, not enforced yet.
CREATE TABLE app.a (id integer PRIMARY KEY, b_id integer);
CREATE TABLE app.b (id integer PRIMARY KEY, a_id integer REFERENCES app.a);
ALTER TABLE app.a ADD CONSTRAINT to_b FOREIGN KEY (b_id) REFERENCES app.b DEFERRABLE INITIALLY DEFERRED;
BEGIN;
INSERT INTO app.a VALUES (1, 1);
INSERT INTO app.b VALUES (1, 1);
COMMIT;
CREATE TABLE app.tree (
    id integer PRIMARY KEY, tenant text NOT NULL, slug text NOT NULL, up integer REFERENCES app.tree,
    root integer REFERENCES app.tree, UNIQUE (tenant, slug)
);
INSERT INTO app.tree VALUES (1, 't', 'z', NULL, 1), (2, 't', 'a', 3, 1), (3, 't', 'b', 1, 1);
CREATE TABLE app.remark (
    id integer PRIMARY KEY, tenant text, slug text, FOREIGN KEY (tenant, slug) REFERENCES app.tree (tenant, slug)
);
INSERT INTO app.remark VALUES (1, 't', 'a'), (2, 'nowhere', NULL);
CREATE TABLE app.old (id integer PRIMARY KEY, tree_id integer, age integer);
INSERT INTO app.old VALUES (1, 99, -1);
ALTER TABLE app.old ADD CONSTRAINT tree_fkey FOREIGN KEY (tree_id) REFERENCES app.tree NOT VALID;
ALTER TABLE app.old ADD CONSTRAINT grown CHECK (age >= 0) NOT VALID;
ALTER DOMAIN app.percent ADD CONSTRAINT "half ""or"" less" CHECK (VALUE <= 50) NOT VALID;
ALTER DOMAIN app.code ADD CONSTRAINT short CHECK (length(VALUE) < 3) NOT VALID;
COMMENT ON CONSTRAINT short ON DOMAIN app.code IS 'new codes are';

-- Partitions of two levels, inheritance, tables without a key, unlogged ones.
CREATE TABLE app.events (id integer, at date, kind text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE app.events_24 PARTITION OF app.events FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE app.events_rest PARTITION OF app.events DEFAULT PARTITION BY LIST (id);
CREATE TABLE app.events_rest_all PARTITION OF app.events_rest DEFAULT;
CREATE INDEX ON app.events (kind);
INSERT INTO app.events VALUES (1, '2024-05-05', 'a'), (2, '2025-05-05', 'b'), (3, '2024-06-06', NULL);
CREATE TABLE app.base (id integer PRIMARY KEY, v text);
CREATE TABLE app.derived (extra integer) INHERITS (app.base);
INSERT INTO app.base VALUES (1, 'base');
INSERT INTO app.derived VALUES (1, 'derived', 2);
CREATE TABLE app.keyless (a integer, b text);
INSERT INTO app.keyless VALUES (2, 'twice'), (2, 'twice'), (1, NULL), (NULL, NULL);
CREATE TABLE app.no_columns ();
CREATE UNLOGGED TABLE app.passing (id integer PRIMARY KEY);
INSERT INTO app.passing VALUES (7);
CREATE TABLE "Odd ""Names"""."Table %s" (
    "select" integer PRIMARY KEY, "with space" text, dropped integer, "Ümläut" text
);
ALTER TABLE "Odd ""Names"""."Table %s" DROP COLUMN dropped;
INSERT INTO "Odd ""Names"""."Table %s" VALUES (1, 'a', 'b');
CREATE TABLE public.settings (key text PRIMARY KEY, value text) WITH (fillfactor = 70);
INSERT INTO public.settings VALUES ('a', 'b');

-- What rests on tables.
CREATE VIEW app.totals AS SELECT tenant, count(*) AS n FROM app.tree GROUP BY tenant;
CREATE MATERIALIZED VIEW app.z_first AS SELECT * FROM app.totals;
CREATE MATERIALIZED VIEW app.a_second AS SELECT sum(n) AS n FROM app.z_first;
CREATE UNIQUE INDEX ON app.z_first (tenant);
CREATE MATERIALIZED VIEW "Odd ""Names"""."no data" AS SELECT 1 / n AS one FROM app.totals WITH NO DATA;
CREATE INDEX lower_label ON app.texts (lower(label)) WHERE label IS NOT NULL;
CREATE STATISTICS app.both (ndistinct) ON tenant, slug FROM app.tree;
ALTER TABLE app.moments ADD EXCLUDE USING gist (tsrange(plain, plain, '[]') WITH &&) WHERE (isfinite(plain));
CREATE RULE quiet AS ON DELETE TO app.keyless DO INSTEAD NOTHING;
ALTER TABLE app.tree ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON app.tree USING (tenant = current_setting('app.tenant', true));
COMMENT ON POLICY own ON app.tree IS 'who sees what';
COMMENT ON COLUMN app.tree.slug IS 'with a ''quote'' and
CREATE EXTENSION IF NOT EXISTS nothing;
-- two lines';
ALTER TABLE app.counted REPLICA IDENTITY FULL;
ALTER TABLE app.texts ALTER COLUMN doc SET STORAGE EXTERNAL, ALTER COLUMN padded SET STATISTICS 500;
