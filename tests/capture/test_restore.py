"""A capture in an empty database is the source again: its schema, its rows, and where its sequences stood."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from snapseed import load_snapshot
from snapseed.capture.request import CaptureRequest
from snapseed.errors import SchemaError, SnapshotError, UsageError
from snapseed.load.request import LoadRequest
from tests.capture.conftest import (
    SOURCE,
    Captured,
    contents_of,
    difference,
    filled,
    project_in,
    restored,
    state_of,
    tables_of,
)
from tests.conftest import Sandbox, new_database
from tests.projects.state import dumped_by_pg_dump, schema_of

EVERYTHING = Path(__file__).with_name("everything.sql").read_text(encoding="utf-8")


# Types of extensions, and of a server that was built with them: a table of each where there are any.
OF_EXTENSIONS = {
    "vector": "CREATE TABLE app.vectors (id integer PRIMARY KEY, v public.vector(3));"
    " INSERT INTO app.vectors VALUES (1, '[1,-0,1e-30]');"
    " CREATE INDEX ON app.vectors USING hnsw (v public.vector_l2_ops)",
    "hstore": "CREATE TABLE app.pairs (id integer PRIMARY KEY, h public.hstore, l public.hstore[]);"
    """ INSERT INTO app.pairs VALUES (1, '"b"=>NULL, "a"=>"x"', '{"a=>1"}')""",
    "citext": "CREATE TABLE app.folded (mail public.citext PRIMARY KEY); INSERT INTO app.folded VALUES ('A@x')",
    "ltree": "CREATE TABLE app.paths (path public.ltree PRIMARY KEY); INSERT INTO app.paths VALUES ('a.b'), ('')",
    "postgis": "CREATE TABLE app.places (id integer PRIMARY KEY, g public.geometry(Point, 4326), f public.geography,"
    " many public.geometry[]); INSERT INTO app.places VALUES (1, 'SRID=4326;POINT(1 -0)', 'LINESTRING(0 0,1e-9 1)',"
    " ARRAY['POINT EMPTY'::public.geometry]); CREATE INDEX ON app.places USING gist (g)",
    "pg_trgm": "CREATE INDEX ON app.texts USING gin (label public.gin_trgm_ops)",
    "btree_gist": "ALTER TABLE app.old ADD EXCLUDE USING gist (age WITH =)",
}


OF_XML = """BEGIN; CREATE TABLE app.documents (id integer PRIMARY KEY, x xml, l xml[]);
INSERT INTO app.documents VALUES (1, '<a b="c">d</a><!-- e -->', '{<f/>,NULL}'), (2, 'text <g/>', '{}'); COMMIT"""


@pytest.fixture(scope="module")
def everything(server: str) -> Iterator[str]:
    """A database with one of everything that this server can have."""
    with new_database(server) as url, psycopg.connect(url, autocommit=True) as connection:
        filled(url, SOURCE + EVERYTHING)
        for extension, statements in OF_EXTENSIONS.items():
            if connection.execute("SELECT FROM pg_available_extensions WHERE name = %s", [extension]).fetchone():
                filled(url, f"CREATE EXTENSION {extension}; {statements}")
        # Servers that were built without libxml have the type, but no values of it.
        with suppress(psycopg.errors.FeatureNotSupported):
            filled(url, OF_XML)
        yield url


def test_an_empty_database_becomes_the_source(everything: str, database: str, tmp_path: Path) -> None:
    """So it does after others have written to it, and by --recreate whatever was there."""
    captured, source = project_in(tmp_path, everything), state_of(everything)
    captured.capture()
    assert restored(captured, database).schema_created
    assert difference(source, database) == ""
    filled(database, "SELECT nextval('app.untouched'), nextval('app.counted_id_seq'); DELETE FROM app.texts")
    assert not restored(captured, database, replace_existing=True).schema_created
    assert difference(source, database) == ""
    filled(database, "DROP TABLE app.old; ALTER TABLE app.keyless DROP a; CREATE TABLE app.other (id integer)")
    environment = captured.project.environment("dev", {"database": database, "create_schema": True})
    load_snapshot(captured.project, environment, LoadRequest(recreate=True, consent=True))
    assert difference(source, database) == ""


@pytest.mark.parametrize("project", ["shop", "kinds", "names", "films", "letters", "shapes"])
def test_a_project_becomes_a_capture(
    project: str, make_generated: Callable[[str], Sandbox], server: str, tmp_path: Path
) -> None:
    """What was generated and loaded is captured, and restored into an empty database."""
    sandbox = make_generated(project)
    load_snapshot(sandbox.project, sandbox.environment(create_schema=True))
    (tmp_path / "copy").mkdir()
    captured = project_in(tmp_path / "copy", sandbox.url)
    captured.capture()
    with new_database(server) as url:
        restored(captured, url)
        assert difference(state_of(sandbox.url), url) == ""


def test_the_schema_alone(captured: Captured, source: str, database: str) -> None:
    """All tables are there, and empty; the sequences are at their beginning."""
    report = captured.capture(CaptureRequest(schema_only=True))
    assert report.manifest.rows == 0
    assert restored(captured, database).schema_created
    assert tables_of(database) == tables_of(source)
    contents = contents_of(database)
    assert not any(line.startswith("INSERT") for line in contents)
    assert "SELECT pg_catalog.setval('public.free', 7, false);" in contents
    assert not restored(captured, database).schema_created


def test_rows_alone_need_tables(captured: Captured, source: str, database: str) -> None:
    """Without a schema in the capture, migrations or the project's own file make the tables."""
    captured.capture(CaptureRequest(schema=False))
    assert [path.name for path in (captured.folder / "snapshots/dev").glob("*.sql")] == []
    with pytest.raises(SchemaError):
        restored(captured, database)
    captured.load(filled(database, "\n".join(tables_of(source))))
    assert contents_of(database) == contents_of(source)


def test_an_altered_schema_is_not_run(captured: Captured, database: str) -> None:
    """The load ends, and has changed nothing."""
    captured.capture()
    with (captured.folder / "snapshots/dev/schema.sql").open("a") as file:
        file.write("CREATE TABLE evil (id integer);\n")
    with pytest.raises(SnapshotError) as caught:
        restored(captured, database)
    assert "schema.sql" in (caught.value.where or "")
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT to_regclass('evil')").fetchone() == (None,)


def test_only_what_allows_it_creates_tables(captured: Captured, database: str) -> None:
    """A capture of somebody else is SQL of somebody else: without create_schema, none of it runs."""
    captured.capture()
    with pytest.raises(SchemaError) as caught:
        restored(captured, database, create_schema=False)
    assert "create_schema" in (caught.value.next_step or "")
    assert "moments" not in dumped_by_pg_dump(database, "--schema-only")


def test_the_copy_of_an_older_source_is_created_again(server: str, database: str, tmp_path: Path) -> None:
    """That is what the error says first: there are no generators to change."""
    captured = project_in(tmp_path, filled(database, "CREATE TABLE users(id int PRIMARY KEY)"))
    with new_database(server) as copy:
        filled(copy, "CREATE TABLE users(id int PRIMARY KEY)")
        filled(database, "ALTER TABLE users ADD name text; CREATE TABLE orders(id int)")
        captured.capture()
        with pytest.raises(SchemaError) as caught:
            restored(captured, copy)
    assert str(caught.value.next_step).partition("\n")[0].endswith("snapseed load dev --recreate")


# Tables with their rows, and whether one of these refers to a row of `parent`.
CHILDREN = {
    "CREATE TABLE c(p int NOT NULL REFERENCES parent (a)); INSERT INTO c VALUES (1)": True,
    "CREATE TABLE c(p int REFERENCES parent (a)); INSERT INTO c VALUES (NULL), (1)": True,
    "CREATE TABLE c(p int REFERENCES parent (a)); INSERT INTO c VALUES (NULL), (NULL)": False,
    "CREATE TABLE c(p int, q int, FOREIGN KEY (p, q) REFERENCES parent); INSERT INTO c VALUES (1, NULL)": False,
    "CREATE TABLE c(id int UNIQUE, p int REFERENCES c (id)); INSERT INTO c VALUES (1, NULL), (2, 1)": False,
}


def test_rows_without_their_parents_are_refused(server: str, database: str, tmp_path: Path) -> None:
    """Where the table of the parents is empty: before anything is created or changed. With those rows, they load."""
    captured = project_in(tmp_path, database)
    with new_database(server) as copy:
        for child, refers in CHILDREN.items():
            filled(database, "CREATE TABLE parent(a int UNIQUE, b int, PRIMARY KEY (a, b))")
            filled(database, "INSERT INTO parent VALUES (1, 1)")
            filled(database, child)
            captured.capture(CaptureRequest(only=("c",)))
            if refers:
                with pytest.raises(UsageError) as caught:
                    restored(captured, copy)
                assert "public.parent" in (caught.value.observed or ""), child
                assert "--with-parents" not in (caught.value.next_step or "")
                assert not any(line.startswith("CREATE") for line in tables_of(copy))
                filled(copy, schema_of(database))
                filled(copy, "INSERT INTO parent VALUES (1, 1)")
            assert restored(captured, copy).verified, child
            filled(copy, "DROP SCHEMA public, snapseed CASCADE; CREATE SCHEMA public")
            filled(database, "DROP TABLE c, parent")
