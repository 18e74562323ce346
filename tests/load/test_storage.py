"""How long values are stored on an embedded server, whose PostgreSQL has only pglz."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from snapseed import Project, find_project, load_snapshot
from snapseed.postgres.connect import connected
from snapseed.servers import EmbeddedPostgres
from snapseed.servers.targets import resolve_target
from tests.generate.making import make_snapshot, write_project

NOTES = '''
@entity(key="id", columns={"id": "bigint", "title": "text", "body": "text", "chosen": "text"})
def notes(rows: Rows) -> pl.DataFrame:
    """Long texts, each with some bytes of its own."""
    long = pl.repeat("a text that compresses well " * 100, len(rows), eager=True)
    for number in range(60):
        long = long + rows.code(f"letters {number}", 10)
    return pl.DataFrame({"id": rows.key(), "title": rows.code("title", 9), "body": long, "chosen": long})
'''
SCHEMA = """
CREATE TABLE notes (id bigint PRIMARY KEY, title text, body text, chosen text COMPRESSION pglz);
"""
# Of each column: how it is said to be stored, and how its values are.
STORED = """
SELECT a.attname, a.attstorage::text, a.attcompression::text,
       (SELECT string_agg(DISTINCT coalesce(pg_column_compression(v), 'plain'), ' ')
          FROM public.notes, LATERAL (VALUES ('title', title), ('body', body), ('chosen', chosen)) c (name, v)
         WHERE c.name = a.attname)
  FROM pg_attribute a WHERE a.attrelid = 'public.notes'::regclass AND a.attnum > 1 ORDER BY a.attnum
"""


@pytest.fixture
def notes(tmp_path: Path) -> Iterator[Project]:
    """A project with wide rows, and an embedded server of its own."""
    folder = tmp_path / "notes"
    write_project(folder, NOTES, part_rows=1000)
    (folder / "schema.sql").write_text(SCHEMA)
    settings = '[snapseed]\nschema = "schema.sql"\n[environments.dev]\ncreate_schema = true\n'
    (folder / "snapseed.toml").write_text(settings)
    project = find_project(folder)
    make_snapshot(project, 2000)
    yield project
    EmbeddedPostgres(project.folder).stop()


def stored(project: Project, **overrides: object) -> list[tuple[object, ...]]:
    """How the columns are stored after a load, which verifies their values."""
    environment = project.environment("dev", overrides)
    load_snapshot(project, environment)
    with connected(resolve_target(project, environment)) as connection:
        return connection.execute(STORED).fetchall()


def test_long_values_are_stored_uncompressed(notes: Project) -> None:
    """Only where nobody chose a compression; what the columns say of themselves is the same before and after."""
    assert stored(notes) == [("title", "x", "", "plain"), ("body", "x", "", "plain"), ("chosen", "x", "p", "pglz")]
    assert stored(notes, compression="keep") == [
        ("title", "x", "", "plain"),
        ("body", "x", "", "pglz"),
        ("chosen", "x", "p", "pglz"),
    ]
