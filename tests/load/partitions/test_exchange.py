"""Partitioned tables of many shapes are filled over two connections, and their schema stays exactly the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from snapseed.postgres import query
from snapseed.postgres.catalog import read_rows
from snapseed.postgres.partitions import read_partitions
from tests.load.shapes import Shapes, mentions, reasons
from tests.projects.state import schema_of

COLUMNS = "id bigint, team text, boss bigint, name text, born date, score int, seat int, tags text[], note jsonb"
PEOPLE = f"DROP TABLE people CASCADE; CREATE TABLE people ({COLUMNS}, loose json, place real[], PRIMARY KEY (%s))"
NO_KEY = PEOPLE.replace(", PRIMARY KEY (%s)", "")
RANGES = (
    PEOPLE % "id"
    + """ PARTITION BY RANGE (id);
    CREATE TABLE low PARTITION OF people FOR VALUES FROM (MINVALUE) TO (7);
    CREATE TABLE high PARTITION OF people FOR VALUES FROM (20) TO (MAXVALUE);
    CREATE TABLE middle PARTITION OF people FOR VALUES FROM (7) TO (20);
    """
)
FAILS = "CREATE FUNCTION fails() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'fired'; END $$;"
BY_BOUNDS, BY_SERVER = "people: … over 2 connections … by its bounds", "people: … over 2 connections … server finds"

# A schema, and how the plan says that its people get into their partitions.
CASES = {
    "all that a partition can have": (RANGES + Path(__file__).with_name("everything.sql").read_text(), BY_BOUNDS),
    "ranges with a default, which has keys to both sides": (
        PEOPLE % "id"
        + """ PARTITION BY RANGE (id);
        CREATE TABLE second PARTITION OF people FOR VALUES FROM (5) TO (8);
        CREATE TABLE third PARTITION OF people FOR VALUES FROM (8) TO (20);
        CREATE TABLE rest PARTITION OF people DEFAULT;
        ALTER TABLE people ADD FOREIGN KEY (team) REFERENCES teams;
        ALTER TABLE badges ADD FOREIGN KEY (person) REFERENCES people;
        """,
        BY_BOUNDS,
    ),
    "an unlogged default and an empty partition, in other schemas, with names like ours": (
        PEOPLE % "id"
        + """ PARTITION BY RANGE (id); CREATE SCHEMA "other %";
        CREATE TABLE "other %".parts PARTITION OF people DEFAULT;
        CREATE TABLE "parts" PARTITION OF people FOR VALUES FROM (500) TO (501);
        ALTER TABLE "other %".parts SET UNLOGGED;
        """,
        BY_BOUNDS,
    ),
    "hash with an identity column, and a key to it": (
        PEOPLE % "id"
        + """ PARTITION BY HASH (id); ALTER TABLE people ALTER id ADD GENERATED ALWAYS AS IDENTITY;
        CREATE TABLE even PARTITION OF people FOR VALUES WITH (MODULUS 2, REMAINDER 0);
        CREATE TABLE odd PARTITION OF people FOR VALUES WITH (MODULUS 2, REMAINDER 1);
        ALTER TABLE badges ADD FOREIGN KEY (person) REFERENCES people;
        """,
        BY_SERVER,
    ),
    "an expression, with a collation": (
        NO_KEY
        + """ PARTITION BY RANGE (lower(name) COLLATE "C", born);
        CREATE TABLE first PARTITION OF people FOR VALUES FROM (MINVALUE, MINVALUE) TO ('b', MINVALUE);
        CREATE TABLE second PARTITION OF people FOR VALUES FROM ('b', MINVALUE) TO (MAXVALUE, MAXVALUE);
        """,
        BY_SERVER,
    ),
    "lists with NULL, of several levels, and defaults of defaults": (
        NO_KEY
        + """ PARTITION BY LIST (seat);
        CREATE TABLE a PARTITION OF people FOR VALUES IN (1, NULL) PARTITION BY HASH (id, name);
        CREATE TABLE a0 PARTITION OF a FOR VALUES WITH (MODULUS 2, REMAINDER 0);
        CREATE TABLE a1 PARTITION OF a FOR VALUES WITH (MODULUS 2, REMAINDER 1); CREATE INDEX ON a (team);
        CREATE TABLE rest PARTITION OF people DEFAULT PARTITION BY LIST (name);
        CREATE TABLE rest_ada PARTITION OF rest FOR VALUES IN ('Ada'); CREATE TABLE rest_rest PARTITION OF rest DEFAULT;
        """,
        BY_SERVER,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_schema(shapes: Shapes, name: str) -> None:
    """It stays the same; the rows are those of the snapshot, and known to be ours; staging tables are gone."""
    ddl, says = CASES[name]
    shapes.create(ddl)
    before = schema_of(shapes.url)
    report = shapes.load(connections=2, agrees=True)
    assert mentions(reasons(report), says), reasons(report)
    assert schema_of(shapes.url) == before
    assert shapes.load(connections=2, if_changed=True).already_loaded
    # Over the rows of the first load, without consent, and with everything rebuilt.
    shapes.load(connections=2, rebuild_rows=0)
    assert shapes.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'snapseed\\__%'") == []


# What is done to the tables of `RANGES`, and what the obstacle has to name.
OBSTACLES = {
    "ALTER TABLE people ADD FOREIGN KEY (boss) REFERENCES people": "refers to it",
    "ALTER TABLE low ADD CONSTRAINT k FOREIGN KEY (team) REFERENCES teams": "foreign key of its own",
    "CREATE TABLE x (id bigint REFERENCES low)": "constraint x_id_fkey",
    "ALTER TABLE low ADD EXCLUDE USING btree (seat WITH =)": "exclusion",
    "ALTER TABLE low ADD CHECK (score < 1000) NOT VALID": "not validated",
    "CREATE INDEX i ON ONLY people (seat)": "index of it is not valid",
    "ALTER TABLE people DROP CONSTRAINT people_pkey; DROP TABLE high; CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s"
    " FOREIGN DATA WRAPPER w; CREATE FOREIGN TABLE f PARTITION OF people DEFAULT SERVER s": "foreign table",
    "CREATE POLICY p ON low USING (true)": "policy p",
    f"{FAILS} CREATE TRIGGER t AFTER INSERT ON low EXECUTE FUNCTION fails()": "trigger t",
    f"{FAILS} CREATE TRIGGER t AFTER INSERT ON people FOR EACH ROW EXECUTE FUNCTION fails();"
    " ALTER TABLE low DISABLE TRIGGER t": "a trigger of it",
    "CREATE VIEW v AS TABLE low": "view v",
    "CREATE RULE r AS ON DELETE TO low DO INSTEAD NOTHING": "rule r",
    "CREATE FUNCTION f(low) RETURNS int LANGUAGE sql AS 'SELECT 1'": "function",
    "CREATE STATISTICS st ON team, name FROM low": "statistics object",
    "CREATE SEQUENCE s OWNED BY low.id": "sequence s",
    "CREATE PUBLICATION p FOR TABLE middle": "publication of table middle",
    "CREATE TABLE a (LIKE people) PARTITION BY LIST (id); ALTER TABLE a ATTACH PARTITION people DEFAULT": "a partition",
    "GRANT USAGE ON SCHEMA public TO pg_monitor; GRANT SELECT ON low TO pg_monitor WITH GRANT OPTION;"
    " SET LOCAL ROLE pg_monitor; GRANT SELECT ON low TO PUBLIC; RESET ROLE": "granted privileges",
    "DO $$ BEGIN EXECUTE format('CREATE SCHEMA snapseed_%s', 'people'::regclass::oid); END $$": "a schema of the name",
}


def test_what_cannot_be_created_again_is_an_obstacle(shapes: Shapes) -> None:
    """Each is named, and found before anything is changed; without any of them there is no obstacle."""
    shapes.create(RANGES)
    oid = shapes.one("SELECT 'people'::regclass::oid::int8")
    assert isinstance(oid, int)
    with shapes.connect() as connection:
        for ddl, named in {"SELECT": "", **OBSTACLES}.items():
            with connection.transaction(force_rollback=True):
                connection.execute(ddl.encode())
                tree = read_partitions(connection, oid)
                found = filter(None, [tree.obstacle, *(part.obstacle for part in tree.partitions)])
                assert (named in " ".join(found)) if named else not any(found), ddl


@pytest.mark.parametrize("objects", ["ALL TABLES", "TABLE middle"])
def test_a_published_table_is_an_obstacle_where_there_can_be_subscribers(shapes: Shapes, objects: str) -> None:
    """They need wal_level = logical."""
    shapes.create(f"{RANGES} CREATE PUBLICATION p FOR {objects}")
    found, oid = query("partition_tree"), shapes.one("SELECT 'people'::regclass::oid::int8")
    with shapes.connect() as connection:
        for level, obstacle in {
            "replica": None,
            "logical": "it is published, and subscribers would not get the rows",
        }.items():
            at_level = found.replace(b"current_setting('wal_level')", f"'{level}'".encode())
            assert [row["obstacle"] for row in read_rows(connection, at_level, oid=oid)] == [obstacle]
