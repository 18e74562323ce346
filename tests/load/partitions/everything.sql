-- What tables and partitions can have besides rows, added to a table `people` with three partitions.
CREATE FUNCTION fails() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'fired'; END $$;
-- Dropped columns, and another order of columns in a partition.
ALTER TABLE people ADD gone int; ALTER TABLE people DROP gone;
CREATE TABLE more (kept int DEFAULT 4, gone int, LIKE high); ALTER TABLE more DROP note, DROP kept;
ALTER TABLE more ADD note jsonb, ADD kept int DEFAULT 4;
ALTER TABLE people ADD kept int DEFAULT 3; ALTER TABLE more DROP gone;
ALTER TABLE people DETACH PARTITION high; DROP TABLE high;
ALTER TABLE more ALTER id SET NOT NULL;
ALTER TABLE people ATTACH PARTITION more FOR VALUES FROM (20) TO (MAXVALUE);
ALTER TABLE people ADD twice int GENERATED ALWAYS AS (score * 2) STORED, ALTER note SET COMPRESSION pglz;
CREATE SEQUENCE s OWNED BY people.id; ALTER TABLE people ALTER id SET DEFAULT nextval('s');
ALTER TABLE low ALTER name SET STORAGE EXTERNAL, ALTER name SET STATISTICS 7, ALTER seat SET (n_distinct = 9);
-- Indexes and constraints, of all and of one.
CREATE INDEX shared ON people (upper(name) DESC) INCLUDE (score) WHERE score > 3;
CREATE UNIQUE INDEX own ON low (seat); CREATE INDEX ON middle USING gin (note); COMMENT ON INDEX own IS 'o';
ALTER INDEX low_upper_score_idx ALTER COLUMN 1 SET STATISTICS 9; ALTER TABLE low CLUSTER ON low_pkey;
ALTER TABLE people ADD CONSTRAINT places UNIQUE (id, seat) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE people ADD CONSTRAINT sane CHECK (score >= 0); ALTER TABLE low ADD CONSTRAINT l CHECK (id < 50);
ALTER TABLE low ALTER score SET NOT NULL; COMMENT ON TABLE low IS 'l''t'; COMMENT ON COLUMN low.name IS 'n';
COMMENT ON CONSTRAINT l ON low IS 'c'; COMMENT ON CONSTRAINT low_pkey ON low IS 'k';
CREATE TABLE seats (id int PRIMARY KEY); INSERT INTO seats SELECT generate_series(1, 40);
ALTER TABLE people ADD FOREIGN KEY (seat) REFERENCES seats;
-- Everything else.
ALTER TABLE low SET (fillfactor = 70, toast.autovacuum_enabled = off);
ALTER TABLE low REPLICA IDENTITY FULL; ALTER TABLE middle REPLICA IDENTITY USING INDEX middle_pkey;
ALTER TABLE more REPLICA IDENTITY NOTHING; ALTER TABLE low ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
GRANT SELECT ON people TO PUBLIC; GRANT UPDATE ON low TO PUBLIC;
GRANT SELECT, INSERT ON low TO pg_monitor WITH GRANT OPTION; GRANT UPDATE (name) ON low TO pg_monitor;
REVOKE DELETE ON middle FROM CURRENT_USER; ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO pg_monitor;
GRANT CREATE, USAGE ON SCHEMA public TO pg_database_owner; ALTER TABLE more OWNER TO pg_database_owner;
CREATE TRIGGER each AFTER INSERT ON people FOR EACH ROW EXECUTE FUNCTION fails();
CREATE TRIGGER off BEFORE INSERT ON people FOR EACH ROW EXECUTE FUNCTION fails();
CREATE TRIGGER gone BEFORE TRUNCATE ON people EXECUTE FUNCTION fails();
ALTER TABLE people DISABLE TRIGGER off, ENABLE ALWAYS TRIGGER each;
CREATE VIEW v AS TABLE people; CREATE STATISTICS st ON team, name FROM people;
CREATE PUBLICATION p FOR TABLE people WITH (publish = 'insert, truncate');
