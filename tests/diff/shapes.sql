-- shape:
-- unique values swapped, in rows that others refer to with CASCADE
CREATE TABLE owners (id int PRIMARY KEY, email text UNIQUE, name text);
CREATE TABLE pets (
    id int PRIMARY KEY,
    owner int REFERENCES owners ON DELETE CASCADE,
    mail text REFERENCES owners (email)
);
INSERT INTO owners SELECT i, 'mail ' || i, 'a' FROM generate_series(1, 9) i;
INSERT INTO pets SELECT i, i, 'mail ' || i FROM generate_series(1, 9) i;
-- changes
ALTER TABLE pets DROP CONSTRAINT pets_mail_fkey;
UPDATE owners SET email = 'x' WHERE id = 1;
UPDATE owners SET email = 'mail 1', name = 'b' WHERE id = 2;
UPDATE owners SET email = 'mail 2' WHERE id = 1;
UPDATE owners SET name = 'c' WHERE id = 3;
ALTER TABLE pets ADD FOREIGN KEY (mail) REFERENCES owners (email);
-- shape:
-- unique by an expression, where a condition holds
CREATE TABLE labels (id int PRIMARY KEY, label text, active bool);
CREATE UNIQUE INDEX ON labels (lower(label)) WHERE active;
INSERT INTO labels SELECT i, chr(64 + i), true FROM generate_series(1, 9) i;
-- changes
UPDATE labels SET active = false;
UPDATE labels SET label = chr(65 + id % 9);
UPDATE labels SET active = true;
-- shape:
-- an exclusion constraint
CREATE TABLE bookings (id int PRIMARY KEY, during int4range, EXCLUDE USING gist (during WITH &&));
INSERT INTO bookings SELECT i, int4range(i, i + 1) FROM generate_series(1, 9) i;
-- changes
DELETE FROM bookings WHERE id < 4;
INSERT INTO bookings VALUES (1, '[2,4)'), (2, '[1,2)');
-- shape:
-- identities GENERATED ALWAYS, and a generated column
CREATE TABLE numbered (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    text text,
    twice int GENERATED ALWAYS AS (id * 2) STORED
);
INSERT INTO numbered (text) SELECT 'a' FROM generate_series(1, 9) i;
CREATE TABLE counted (id int PRIMARY KEY, number int GENERATED ALWAYS AS IDENTITY);
INSERT INTO counted VALUES (1), (2);
-- changes
DELETE FROM numbered WHERE id > 7;
ALTER TABLE numbered ALTER id RESTART WITH 8;
UPDATE numbered SET text = 'b' WHERE id = 1;
UPDATE counted SET number = DEFAULT WHERE id = 1;
-- shape:
-- rows without a key, several times
CREATE TABLE lines (a int, b json);
INSERT INTO lines SELECT i % 3, '{"x": 1}' FROM generate_series(1, 9) i;
INSERT INTO lines VALUES (NULL, NULL), (NULL, NULL);
-- changes
DELETE FROM lines WHERE ctid IN (SELECT ctid FROM lines WHERE a = 1 LIMIT 1);
INSERT INTO lines VALUES (2, '{"x": 1}'), (7, '[]');
DELETE FROM lines WHERE ctid IN (SELECT ctid FROM lines WHERE a IS NULL LIMIT 1);
-- shape:
-- a unique index that takes NULL
CREATE TABLE loose (a int, b text, c int, UNIQUE (a, b));
INSERT INTO loose SELECT i, nullif(chr(64 + i), 'C'), i FROM generate_series(1, 9) i;
INSERT INTO loose VALUES (3, NULL, 3);
-- changes
UPDATE loose SET c = 0 WHERE a IN (3, 4);
INSERT INTO loose VALUES (3, NULL, 5);
UPDATE loose SET b = NULL WHERE a = 5;
-- shape:
-- rows in another partition
CREATE TABLE parted (id int, area text, v int, PRIMARY KEY (id, area)) PARTITION BY LIST (area);
CREATE TABLE parted_a PARTITION OF parted FOR VALUES IN ('a');
CREATE TABLE parted_rest PARTITION OF parted DEFAULT;
INSERT INTO parted SELECT i, chr(97 + i % 3), i FROM generate_series(1, 9) i;
CREATE TABLE spread (id int, v int) PARTITION BY RANGE (id);
CREATE TABLE spread_1 PARTITION OF spread FOR VALUES FROM (0) TO (5);
CREATE TABLE spread_2 PARTITION OF spread FOR VALUES FROM (5) TO (10);
INSERT INTO spread SELECT i, 0 FROM generate_series(1, 9) i;
-- changes
UPDATE parted SET area = 'a' WHERE id = 4;
UPDATE parted SET v = 0 WHERE id = 5;
DELETE FROM parted WHERE id = 6;
UPDATE spread SET id = 9 WHERE id = 1;
UPDATE spread SET v = 1 WHERE id = 7;
DELETE FROM spread WHERE id = 2;
-- shape:
-- a tree
CREATE TABLE tree (id int PRIMARY KEY, parent int REFERENCES tree ON DELETE CASCADE, name text);
INSERT INTO tree SELECT i, nullif(i / 2, 0), 'a' FROM generate_series(1, 20) i;
-- changes
INSERT INTO tree VALUES (100, 1, 'x'), (101, 100, 'x');
UPDATE tree SET parent = 101 WHERE id = 4;
DELETE FROM tree WHERE id = 3;
UPDATE tree SET name = 'b' WHERE id = 1;
-- shape:
-- a cycle
CREATE TABLE crews (id int PRIMARY KEY, chief int);
CREATE TABLE sailors (id int PRIMARY KEY, crew int NOT NULL REFERENCES crews);
INSERT INTO crews SELECT i, i FROM generate_series(1, 9) i;
INSERT INTO sailors SELECT i, i FROM generate_series(1, 9) i;
ALTER TABLE crews ADD FOREIGN KEY (chief) REFERENCES sailors;
-- changes
UPDATE crews SET chief = NULL WHERE id < 3;
DELETE FROM sailors WHERE id < 3;
DELETE FROM crews WHERE id < 3;
INSERT INTO crews VALUES (50, 9);
INSERT INTO sailors VALUES (50, 50);
UPDATE crews SET chief = 50 WHERE id IN (8, 50);
-- shape:
-- children of a row that goes, and unique values that others take over
CREATE TABLE boxes (id int PRIMARY KEY, code text UNIQUE);
CREATE TABLE things (id int PRIMARY KEY, box int REFERENCES boxes ON DELETE SET NULL);
INSERT INTO boxes SELECT i, 'c' || i FROM generate_series(1, 9) i;
INSERT INTO things SELECT i, i FROM generate_series(1, 9) i;
-- changes
INSERT INTO boxes VALUES (90, 'new');
UPDATE things SET box = 90 WHERE id < 4;
DELETE FROM boxes WHERE id < 3;
UPDATE boxes SET code = 'c1' WHERE id = 90;
-- shape:
-- triggers and rules
CREATE TABLE watched (id int PRIMARY KEY, v int);
CREATE TABLE log (what text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO public.log VALUES (TG_OP); RETURN NULL; END $$;
CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON watched FOR EACH ROW EXECUTE FUNCTION note();
CREATE RULE keep AS ON DELETE TO watched WHERE OLD.id = 90 DO INSTEAD NOTHING;
INSERT INTO watched VALUES (1, 1), (2, 2), (3, 3);
-- changes
INSERT INTO watched VALUES (90, 0);
UPDATE watched SET v = 0 WHERE id = 1;
DELETE FROM watched WHERE id = 2;
-- shape:
-- a key of several types
CREATE TYPE size AS ENUM ('s', 'm', 'l');
CREATE TABLE sizes (size size, day date, code char(3), at interval, v text, PRIMARY KEY (size, day, code, at));
INSERT INTO sizes SELECT unnest(enum_range(NULL::size)), '2020-01-01', 'a', '1 day', 'x';
-- changes
UPDATE sizes SET v = 'y' WHERE size = 'm';
UPDATE sizes SET code = 'b' WHERE size = 's';
DELETE FROM sizes WHERE size = 'l';
-- shape:
-- a foreign key to a table without rows that differ
CREATE TABLE cities (id int PRIMARY KEY, name text);
CREATE TABLE streets (id int PRIMARY KEY, city int REFERENCES cities);
INSERT INTO cities VALUES (1, 'a'), (2, 'b');
INSERT INTO streets VALUES (1, 1), (2, 2), (3, NULL);
-- changes
UPDATE streets SET city = 2;
DELETE FROM streets WHERE id = 2;
