"""Which entities refer to which: by the SQL of a schema, and by the database that it makes."""

from __future__ import annotations

from pathlib import Path

import msgspec

from snapseed.report.graph import Reference, arranged, drawings, foreign_keys, references
from tests.conftest import Connection
from tests.report.snapshots import hostile_snapshot

_SQL = """
CREATE TABLE a (id int PRIMARY KEY, n numeric(6, 2), self int REFERENCES a -- , n int REFERENCES a
);
CREATE TABLE "B b" (id int PRIMARY KEY, "A id" int CONSTRAINT k REFERENCES public.a (id) ON DELETE CASCADE,
    m numeric(6, 2) CHECK (m > 0) /* REFERENCES a */, t text DEFAULT 'REFERENCES a, REFERENCES a');
CREATE TABLE IF NOT EXISTS c (x int CHECK (x > 0) REFERENCES a, b int, UNIQUE (x, b));
ALTER TABLE "B b" ADD COLUMN IF NOT EXISTS late int NOT NULL DEFAULT 1 REFERENCES a, ADD two int;
ALTER TABLE ONLY public."B b" ADD CONSTRAINT both_of_them FOREIGN KEY (late, two) REFERENCES c(x, b);
CREATE TABLE p (id int PRIMARY KEY, a int, b int, FOREIGN KEY (a) REFERENCES a) PARTITION BY RANGE (id);
CREATE TABLE p1 (id int NOT NULL, a int, b int);
ALTER TABLE ONLY public.p ATTACH PARTITION public.p1 FOR VALUES FROM (0) TO (9);
ALTER TABLE ONLY public.p1 ADD CONSTRAINT own FOREIGN KEY (b) REFERENCES "B b";
CREATE UNLOGGED TABLE q (p int, o int);
CREATE TABLE unknown (a int REFERENCES a);
CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $$ SELECT 'CREATE TABLE q (o int REFERENCES a)'; $$;
"""
_KEYS = {
    Reference("a", ("self",), "a"),
    Reference("B b", ("A id",), "a"),
    Reference("B b", ("late",), "a"),
    Reference("B b", ("late", "two"), "c"),
    Reference("c", ("x",), "a"),
    Reference("p", ("a",), "a"),
    Reference("p", ("b",), "B b"),
}


def test_the_sql_says_what_the_database_says(tmp_path: Path, connection: Connection) -> None:
    """In any spelling, none out of comments and texts, those of a partition as its table's, and once each."""
    (some, _) = hostile_snapshot(tmp_path).entities
    entities = [
        msgspec.structs.replace(some, name=name, table=name, schema=schema)
        for name, schema in (("a", None), ("B b", "public"), ("c", None), ("p", "public"), ("q", None), ("gone", None))
    ]
    assert set(references(entities, _SQL)) == _KEYS
    connection.execute(_SQL)
    found = foreign_keys(connection, entities)
    assert set(found) == _KEYS
    assert len(found) == len(_KEYS)
    assert set(references(entities, _SQL, found)) == _KEYS


def test_a_parent_is_a_reference_where_no_key_is(tmp_path: Path) -> None:
    """A generated entity has one before any table exists."""
    things, parts = hostile_snapshot(tmp_path).entities
    parts = msgspec.structs.replace(parts, parent="things")
    assert references([things, parts], "") == (Reference("parts", (), "things"),)
    key = Reference("parts", ("thing",), "things")
    assert references([things, parts], "", [key]) == (key,)


def test_what_refers_is_drawn_to_the_right_of_what_it_refers_to(tmp_path: Path) -> None:
    """A table that refers to itself has no line, and one without references stands below."""
    entities = hostile_snapshot(tmp_path).entities
    wide, _ = drawings(entities, [Reference("parts", ("thing",), "things"), Reference("things", ("id",), "things")])
    assert wide.boxes["things"][0] < wide.boxes["parts"][0]
    assert len(wide.lines) == 1


def test_the_narrow_drawing_has_each_table_under_those_that_it_refers_to(tmp_path: Path) -> None:
    """The one that refers last is the next below. Arrows share a lane if they come from one table or are apart."""
    (some, _) = hostile_snapshot(tmp_path).entities
    entities = [msgspec.structs.replace(some, name=name, table=name) for name in "abcdef"]
    links = [Reference(entity, (), to) for to, entity in ("ab", "ac", "bd", "cd", "ef")]
    wide, narrow = drawings(entities, links)
    assert sorted(narrow.boxes, key=lambda name: narrow.boxes[name][1]) == list("abcdef")
    lanes = {line.partition("H")[2].partition("V")[0] for line in narrow.lines}
    assert len(lanes) == 3
    assert len(narrow.lines) == len(wide.lines) == 5
    assert narrow.width < 350


def test_a_line_has_a_place_in_each_layer_that_it_crosses() -> None:
    """Shared by the lines from one entity; a circle is broken where most refer to."""
    layers, ways = arranged([("a", "b"), ("b", "c"), ("a", "c"), ("a", "d"), ("c", "d")])
    assert layers == [[("a", 0)], [("b", 1), ("a", 1)], [("c", 2), ("a", 2)], [("d", 3)]]
    assert ways[2] == [("a", 0), ("a", 1), ("c", 2)]
    assert ways[3] == [("a", 0), ("a", 1), ("a", 2), ("d", 3)]
    layers, ways = arranged([("a", "b"), ("b", "a"), ("b", "c"), ("b", "d"), ("c", "d")])
    assert layers[0] == [("b", 0)]
    assert ways[0] == ways[1] == [("b", 0), ("a", 1)]
