"""Keys of several columns in SQL: rows are sorted into the chunks that the manifest says, and named by all columns."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import psycopg
import pytest
from psycopg import sql

from snapseed import load_snapshot, verify_snapshot
from snapseed.diff.compare import ChangedRow, DiffRequest
from snapseed.postgres.rowhash import between, bucket, has_null
from snapseed.snapshot.manifest import EntityRecord
from snapseed.snapshot.store import open_snapshot
from tests.conftest import Sandbox
from tests.differences import diff_snapshot
from tests.projects.state import generated

NAMES = ("film_actor", "takes", "film_tag", "seats")


@pytest.fixture
def films(make_project: Callable[[str], Sandbox]) -> Sandbox:
    """Loaded from chunks that start in the middle of a film's rows, with texts that the table sorts differently."""
    sandbox = generated(make_project("films"), chunk_rows=7)
    load_snapshot(sandbox.project, sandbox.environment())
    with sandbox.connect() as connection, suppress(psycopg.errors.FeatureNotSupported):
        # The embedded server is built without ICU, and then orders by bytes anyway.
        connection.execute("CREATE COLLATION words (provider = icu, locale = 'und')")
        connection.execute("ALTER TABLE film_tag ALTER tag TYPE text COLLATE words")
    return sandbox


def record_of(sandbox: Sandbox, name: str) -> EntityRecord:
    """An entity of the manifest."""
    record = open_snapshot(sandbox.project.snapshots, "dev").manifest.entity(name)
    assert record is not None
    return record


def number_of(record: EntityRecord) -> sql.Composable:
    """The number of a row's chunk, in SQL."""
    return bucket(record.key_columns, [chunk.first_key for chunk in record.chunks])


def in_chunk(record: EntityRecord, number: int) -> sql.Composable:
    """The condition for the rows of a chunk; -1 is before all chunks, together with the rows that have a NULL."""
    bounds = [None, *(chunk.first_key for chunk in record.chunks), None]
    inside = between(record.key_columns, bounds[number + 1], bounds[number + 2])
    return sql.SQL("({}) AND NOT {}" if number >= 0 else "({}) OR {}").format(inside, has_null(record.key_columns))


def rows_by_chunk(sandbox: Sandbox, name: str) -> list[tuple[object, ...]]:
    """How many rows of a table each chunk has by its key."""
    query = sql.SQL("SELECT {} AS number, count(*) FROM {} GROUP BY 1 ORDER BY 1")
    with sandbox.connect() as connection:
        return connection.execute(query.format(number_of(record_of(sandbox, name)), sql.Identifier(name))).fetchall()


@pytest.mark.parametrize("name", NAMES)
def test_rows_belong_to_the_chunks_that_they_came_in(films: Sandbox, name: str) -> None:
    """For integers, uuids and texts (sorted by their bytes), each chunk has the rows that the manifest says."""
    record = record_of(films, name)
    assert len(record.chunks) > 10
    assert len(record.files) > 1
    assert rows_by_chunk(films, name) == [(number, chunk.rows) for number, chunk in enumerate(record.chunks)]


@pytest.mark.parametrize("name", NAMES)
def test_the_condition_for_a_chunk_holds_for_its_rows_alone(films: Sandbox, name: str) -> None:
    """Also for keys before all others, and with NULL in one of the columns."""
    record = record_of(films, name)
    first, *_, last = [column.name for column in record.key_columns]
    with films.connect() as connection:
        drop = "ALTER TABLE {} DROP CONSTRAINT {} CASCADE"
        table = sql.Identifier(name)
        connection.execute(sql.SQL(drop).format(table, sql.Identifier(f"{name}_pkey")))
        constraints = "SELECT conname FROM pg_constraint WHERE conrelid = %s::regclass AND contype = 'f'"
        for (foreign,) in connection.execute(constraints, [name]).fetchall():
            connection.execute(sql.SQL(drop).format(table, sql.Identifier(str(foreign))))
        for column in record.key_columns:
            connection.execute(
                sql.SQL("ALTER TABLE {} ALTER {} DROP NOT NULL").format(table, sql.Identifier(column.name))
            )
        columns = sql.SQL(", ").join(sql.Identifier(column.name) for column in record.columns)
        for change in (f"{first} = -99", f"{first} = NULL", f"{last} = NULL"):
            connection.execute(
                sql.SQL("CREATE TEMP TABLE kept AS SELECT {} FROM {} LIMIT 4; UPDATE kept SET {};").format(
                    columns,
                    table,
                    sql.SQL(change),
                )
            )
            connection.execute(sql.SQL("INSERT INTO {} ({}) TABLE kept; DROP TABLE kept").format(table, columns))
        count = sql.SQL("SELECT count(*) FROM {} WHERE {}")
        counted = [
            (number, rows)
            for number in range(-1, len(record.chunks))
            for (rows,) in connection.execute(count.format(table, in_chunk(record, number))).fetchall()
        ]
    assert counted == rows_by_chunk(films, name)
    assert counted[0] == (-1, 12)


def test_only_the_chunk_that_differs_is_named(films: Sandbox) -> None:
    """By its first key."""
    (film, actor, role), *_ = _rows(films, "SELECT film_id, actor_id, role FROM film_actor ORDER BY 1, 2 OFFSET 45")
    _rows(films, f"UPDATE film_actor SET role = '' WHERE film_id = {film} AND actor_id = '{actor}'")  # noqa: S608
    report = verify_snapshot(films.project, films.environment(), only=["film_actor"])
    (chunk,) = report.entities[0].chunks
    assert chunk.number == 6
    assert isinstance(chunk.first_key, tuple)
    assert f"from key ({chunk.first_key[0]}, {chunk.first_key[1]})): 7 rows as expected" in str(chunk)
    (found,) = diff_snapshot(films.project, films.environment(), DiffRequest(only=["film_actor"])).entities
    assert found.changed == (ChangedRow((str(film), str(actor)), {"role": (str(role), "")}),)


def test_missing_and_extra_rows_are_named_by_all_columns(films: Sandbox) -> None:
    """Also if only one column of the key differs, and if a value contains a comma."""
    _rows(films, "UPDATE seats SET hall = 7777 WHERE hall = -2 AND number = 4")
    _rows(films, "DELETE FROM film_tag WHERE film_id = (SELECT min(film_id) FROM film_tag WHERE tag = 'a, b')"
          " AND tag = 'a, b'")  # fmt: skip
    found = {entity.entity: entity for entity in diff_snapshot(films.project, films.environment()).entities}
    assert [row.key for row in (*found["seats"].removed, *found["seats"].added)] == [("-2", "4"), ("7777", "4")]
    assert [row.key[1] for row in found["film_tag"].removed] == ["a, b"]


def _rows(sandbox: Sandbox, statement: str) -> list[tuple[object, ...]]:
    with sandbox.connect() as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []
