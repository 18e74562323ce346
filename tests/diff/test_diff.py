"""diff names the rows and columns that differ, with the values of both sides."""

from __future__ import annotations

import pytest

from snapseed import LoadRequest, load_snapshot
from snapseed.cli.differences import as_text
from snapseed.diff.compare import ChangedRow, DiffReport, DiffRequest, EntityDiff, SchemaDifference
from snapseed.errors import SnapshotError, UsageError
from tests.conftest import Sandbox
from tests.differences import diff_snapshot
from tests.projects.state import contents


def differing(sandbox: Sandbox, statement: str, *, limit: int = 20) -> EntityDiff:
    """The one entity that differs after the statement; looking changes nothing."""
    with sandbox.connect() as connection:
        connection.execute(statement.encode())
        before = contents(connection)
        report = diff_snapshot(sandbox.project, sandbox.environment(), DiffRequest(limit=limit))
        assert contents(connection) == before
    assert not report.agrees
    assert not report.schema
    (different,) = (entity for entity in report.entities if not entity.agrees)
    return different


def test_what_was_loaded_does_not_differ(loaded: Sandbox) -> None:
    """No row of any entity."""
    report = diff_snapshot(loaded.project, loaded.environment())
    assert report.agrees
    assert len(report.entities) == 6


def test_a_changed_value_is_named_by_row_and_column(loaded: Sandbox) -> None:
    """With both values. Columns that agree are not named."""
    found = differing(loaded, "UPDATE notes SET number = 7 WHERE id = 333")
    assert (found.removed_count, found.added_count, found.changed_count) == (0, 0, 1)
    assert found.changed == (ChangedRow("333", {"number": ("0", "7")}),)


def test_values_are_spelled_as_postgresql_spells_them(kinds: Sandbox) -> None:
    """If every column of a row is set to NULL, the snapshot's values read as the database printed them before."""
    names = (
        "flag",
        "single",
        "double",
        "amount",
        "code",
        "bytes",
        "day",
        "hour",
        "local",
        "moment",
        "strict",
        "numbers",
    )
    with kinds.connect() as connection:
        columns = ", ".join(f"{name}::text" for name in names)
        whole = "flag AND label = '' AND day > '0001-01-01'"
        query = f'SELECT "Id"::text, {columns} FROM "Odd Place"."Kinds of things" WHERE {whole} LIMIT 1'  # noqa: S608
        row = connection.execute(query.encode()).fetchone()
        assert row is not None
    assignments = ", ".join(f"{name} = NULL" for name in ("label", *names))
    statement = f'UPDATE "Odd Place"."Kinds of things" SET {assignments} WHERE "Id" = \'{row[0]}\''  # noqa: S608
    (changed,) = differing(kinds, statement).changed
    assert {name: old for name, (old, _) in changed.columns.items()} == {
        "label": "",
        **dict(zip(names, row[1:], strict=True)),
    }
    assert all(new is None for _, new in changed.columns.values())


def test_missing_and_extra_rows_are_named_by_their_keys(loaded: Sandbox) -> None:
    """A key that only one side has is listed for that side."""
    found = differing(loaded, "UPDATE notes SET id = id + 1000 WHERE id IN (1, 100)")
    assert [[row.key for row in rows] for rows in (found.removed, found.added)] == [["1", "100"], ["1001", "1100"]]
    assert found.removed[0].values.keys() == {"id", "customer_id", "number"}
    assert not found.changed
    shown = [line for line in as_text(DiffReport("", "", (), (found,))) if "1001" in line]
    assert [line.count("1001") for line in shown] == [1]


def test_a_row_before_the_first_chunk_is_extra(loaded: Sandbox) -> None:
    """Also if its key sorts before all keys of the snapshot."""
    (row,) = differing(loaded, "INSERT INTO notes VALUES (-1, 1, 1)").added
    assert row.key == "-1"


def test_rows_that_are_there_twice_are_extra(loaded: Sandbox) -> None:
    """A table without a primary key may contain a row twice, or a key that is NULL; both are named."""
    found = differing(
        loaded,
        "ALTER TABLE notes DROP CONSTRAINT notes_pkey; ALTER TABLE notes ALTER id DROP NOT NULL;"
        "INSERT INTO notes SELECT * FROM notes WHERE id = 7; INSERT INTO notes VALUES (NULL, 1, 1)",
    )
    assert sorted(str(row.key) for row in found.added) == ["7", "NULL"]
    assert found.changed_count == 0


def test_rows_of_text_and_uuid_keys_are_named(loaded: Sandbox) -> None:
    """Rows are found by keys of every type."""
    found = differing(loaded, "UPDATE categories SET rank = 5 WHERE code = 'music'")
    assert found.changed == (ChangedRow("music", {"rank": ("2", "5")}),)
    load_snapshot(loaded.project, loaded.environment(), LoadRequest(consent=True))
    with loaded.connect() as connection:
        row = connection.execute("SELECT id::text, customer_name FROM invoices ORDER BY id LIMIT 1").fetchone()
    assert row is not None
    found = differing(loaded, f"UPDATE invoices SET customer_name = 'x' WHERE id = '{row[0]}'")  # noqa: S608
    assert found.changed == (ChangedRow(str(row[0]), {"customer_name": (str(row[1]), "x")}),)


def test_the_limit_cuts_the_lists_and_not_the_counts(loaded: Sandbox) -> None:
    """All rows are counted; at most `limit` of each kind are named, over all chunks together."""
    found = differing(loaded, "DELETE FROM notes WHERE id <= 90; UPDATE notes SET number = 9 WHERE id > 400", limit=5)
    assert (found.removed_count, found.changed_count) == (90, 100)
    assert (len(found.removed), len(found.changed)) == (5, 5)


def test_rows_are_compared_by_the_columns_that_both_have(loaded: Sandbox) -> None:
    """A column that is missing, or has another type, is a difference of its own."""
    with loaded.connect() as connection:
        connection.execute("ALTER TABLE shops DROP COLUMN owner; ALTER TABLE notes ALTER number TYPE text")
        connection.execute("DELETE FROM shops WHERE id = 1; UPDATE notes SET number = 'one' WHERE id = 3")
    report = diff_snapshot(loaded.project, loaded.environment())
    assert report.schema == (
        SchemaDifference("shops", "column owner", "bigint", None),
        SchemaDifference("notes", "column number", "integer", "text"),
    )
    found = {entity.entity: entity for entity in report.entities if not entity.agrees}
    assert [row.key for row in found["shops"].removed] == ["1"]
    assert found["notes"].changed == (ChangedRow("3", {"number": ("0", "one")}),)
    assert found.keys() == {"shops", "notes"}


def test_a_table_that_does_not_exist_is_a_difference(loaded: Sandbox) -> None:
    """The others are compared."""
    with loaded.connect() as connection:
        connection.execute("DROP TABLE shops CASCADE")
    report = diff_snapshot(loaded.project, loaded.environment())
    assert report.schema == (SchemaDifference("shops", "it", "a table", None),)
    assert len(report.entities) == 5


def test_only_compares_the_named_entities(loaded: Sandbox) -> None:
    """An unknown name is an error."""
    with loaded.connect() as connection:
        connection.execute("DELETE FROM notes")
    assert diff_snapshot(loaded.project, loaded.environment(), DiffRequest(only=["orders"])).agrees
    with pytest.raises(UsageError, match="no such entity"):
        diff_snapshot(loaded.project, loaded.environment(), DiffRequest(only=["note"]))


def test_damage_is_found_where_a_snapshot_is_read(loaded: Sandbox) -> None:
    """A file whose rows agree by their fingerprints is not read. One that has to be read must be what it was."""
    (loaded.project.snapshots.folder / "dev" / "shops.parquet").write_bytes(b"")
    assert diff_snapshot(loaded.project, loaded.environment()).agrees
    with loaded.connect() as connection:
        connection.execute("DELETE FROM shops WHERE id = 1")
    with pytest.raises(SnapshotError, match="cannot be read"):
        diff_snapshot(loaded.project, loaded.environment())


def test_a_failure_in_the_middle_of_the_rows_ends_the_comparison(loaded: Sandbox) -> None:
    """A text that is the key of one table is none of the next, whose rows are on their way: an error, not a wait."""
    with loaded.connect() as connection:
        connection.execute("UPDATE notes SET number = 77 WHERE id = 1")
    with pytest.raises(UsageError):
        diff_snapshot(loaded.project, loaded.environment(), DiffRequest(keys=["music"]))
