"""Every difference between the database and the manifest is found, and named down to the chunk."""

from __future__ import annotations

import re
import shutil
from contextlib import suppress
from typing import LiteralString

import psycopg
import pytest
from psycopg import sql

from snapseed import LoadRequest, generate_snapshot, load_snapshot, resolve_request, verify_snapshot
from snapseed.diff.compare import DiffRequest
from snapseed.errors import LoadError, SchemaError, ServerError, SnapshotError, UsageError
from snapseed.events import Advanced, Event
from snapseed.snapshot.store import snapshot_of
from snapseed.verify.database import EntityResult
from tests.conftest import Connection, Sandbox
from tests.differences import diff_snapshot
from tests.loaded import CHUNK_ROWS
from tests.projects.state import contents


def differing(sandbox: Sandbox) -> list[EntityResult]:
    """The entities that differ. Verifying changes nothing."""
    with sandbox.connect() as connection:
        before = contents(connection)
        report = verify_snapshot(sandbox.project, sandbox.environment())
        assert contents(connection) == before
    assert not report.tables
    assert not report.files
    different = [entity for entity in report.entities if not entity.agrees]
    assert report.agrees == (not different)
    return different


def changed(sandbox: Sandbox, *statements: str) -> list[tuple[str, list[int]]]:
    """The entities that differ after the statements, each with the numbers of its chunks that do."""
    with sandbox.connect() as connection:
        for statement in statements:
            connection.execute(statement.encode())
    return [(entity.entity, [chunk.number for chunk in entity.chunks]) for entity in differing(sandbox)]


def test_what_was_loaded_agrees(loaded: Sandbox) -> None:
    """There are no findings if nothing was changed."""
    assert differing(loaded) == []


# For each column of the wide table: an expression that differs from the value by as little as the type can.
SMALLEST_CHANGES: dict[str, LiteralString] = {
    "Lights": 'ARRAY[NULL]::"Odd Place"."Light"[]',
    "flag": "NOT coalesce(flag, true)",
    "small": "small + 1",
    "whole": "whole - 1",
    "big": "big + 1",
    "single": "-single - '1e-45'::real",
    "double": "double + double precision '1e-12'",
    "amount": "amount + 0.001",
    "select": "\"select\" || ' '",
    "label": "coalesce(label || 'x', '')",
    "code": "'x' || substr(code, 2)",
    "bytes": "bytes || '\\x00'::bytea",
    "day": "coalesce(day + 1, 'infinity')",
    "hour": "hour + interval '1 microsecond'",
    "local": "local - interval '1 microsecond'",
    "moment": "moment + interval '1 microsecond'",
    "loose": "(loose::text || ' ')::json",
    "strict": "strict || '{\"more\": null}'",
    "numbers": "numbers || NULL::integer",
}


def test_the_smallest_change_of_one_value_is_found(kinds: Sandbox) -> None:
    """For every type: one value of one row differs, and the chunk of its entity that holds the row is named."""
    query = sql.SQL("UPDATE {0} SET {1} = {2} WHERE {3} = (SELECT max({3}::text)::uuid FROM {0})")
    table = sql.Identifier("Odd Place", "Kinds of things")
    for column, change in SMALLEST_CHANGES.items():
        statement = query.format(table, sql.Identifier(column), sql.SQL(change), sql.Identifier("Id")).as_string()
        assert changed(kinds, statement) == [("kinds", [1])], column
        load_snapshot(kinds.project, kinds.environment(), LoadRequest(only=["kinds"], consent=True))


def test_changes_of_types_without_an_encoder_are_found(kinds: Sandbox) -> None:
    """An interval of the same length in other units, and an address with another mask."""
    query = "UPDATE spans SET length = '24:00:00' WHERE id = (SELECT min(id) FROM spans WHERE length::text = '1 day')"
    assert changed(kinds, query) == [("spans", [0])]
    load_snapshot(kinds.project, kinds.environment(), LoadRequest(consent=True))
    query = (
        "UPDATE spans SET address = '10.1.0.0/17' WHERE id = (SELECT max(id) FROM spans WHERE masklen(address) = 16)"
    )
    assert changed(kinds, query) == [("spans", [1])]


def test_the_last_bit_of_a_vector_counts(kinds: Sandbox) -> None:
    """One element that differs by the smallest step of a real is found, in pgvector's type and in an array."""
    query = """UPDATE points SET place = (SELECT array_agg(e + '1e-7'::real) FROM unnest(place::real[]) e)
                WHERE id = (SELECT max(id) FROM points)"""
    assert changed(kinds, query) == [("points", [1])]


def test_null_and_the_empty_string_differ(loaded: Sandbox) -> None:
    """A NULL in place of '' is a difference, and so is '' in place of NULL."""
    assert (
        changed(loaded, "UPDATE invoices SET customer_name = '' WHERE order_id = (SELECT min(order_id) FROM invoices)")
        != []
    )
    first = differing(loaded)[0].observed
    assert changed(loaded, "UPDATE invoices SET customer_name = NULL WHERE customer_name = ''") == [("invoices", [0])]
    assert differing(loaded)[0].observed != first


def test_an_array_that_is_empty_and_one_that_is_null_differ(kinds: Sandbox) -> None:
    """The smallest differences between arrays count."""
    found = changed(kinds, 'UPDATE "Odd Place"."Kinds of things" SET numbers = NULL WHERE numbers = \'{}\'')
    assert found == [("kinds", [0, 1])]


def test_a_missing_row_is_found_in_its_chunk(loaded: Sandbox) -> None:
    """The chunk says how many rows it has and how many it should have."""
    assert changed(loaded, "DELETE FROM notes WHERE id = 250") == [("notes", [6])]
    chunk = differing(loaded)[0].chunks[0]
    assert (chunk.observed.rows, chunk.expected.rows) == (39, 40)
    assert "39 rows, expected 40" in str(chunk)


@pytest.mark.parametrize(
    ("key", "chunks"),
    [(0, [-1]), (-5, [-1]), (501, [12]), (2_000_000_000, [12])],
    ids=["zero", "before", "after", "far"],
)
def test_an_extra_row_is_found_wherever_its_key_lies(loaded: Sandbox, key: int, chunks: list[int]) -> None:
    """Also before the first chunk."""
    assert changed(loaded, f"INSERT INTO notes SELECT {key}, 1, 1") == [("notes", chunks)]


def test_a_row_that_is_there_twice_is_found(loaded: Sandbox) -> None:
    """The fingerprint is a sum, so a row that occurs twice does not cancel itself out."""
    found = changed(
        loaded,
        "ALTER TABLE notes DROP CONSTRAINT notes_pkey",
        "INSERT INTO notes SELECT * FROM notes WHERE id IN (1, 2)",
    )
    assert found == [("notes", [0])]


def test_one_row_missing_and_another_twice_is_found(loaded: Sandbox) -> None:
    """The number of rows is right, but the rows are not."""
    found = changed(
        loaded,
        "ALTER TABLE notes DROP CONSTRAINT notes_pkey",
        "UPDATE notes SET (id, customer_id, number) = (SELECT o.* FROM notes o WHERE id = 1) WHERE id = 2",
    )
    assert found == [("notes", [0])]
    assert "rows as expected, but their contents differ" in str(differing(loaded)[0].chunks[0])


@pytest.mark.parametrize("other", [20, 490], ids=["in one chunk", "between chunks"])
def test_values_that_changed_places_are_found(loaded: Sandbox, other: int) -> None:
    """Two rows that swapped a value: the same values in different rows."""
    pairs = f"((10, {other}), ({other}, 10))"
    swap = "UPDATE notes SET customer_id = o.customer_id FROM notes o WHERE (notes.id, o.id) IN "
    found = changed(loaded, swap + pairs)
    assert found == [("notes", sorted({0, (other - 1) // CHUNK_ROWS}))]


def test_an_emptied_table_is_found(loaded: Sandbox) -> None:
    """Every chunk of it."""
    assert changed(loaded, "TRUNCATE notes") == [("notes", list(range(13)))]


def test_text_keys_find_their_chunk_whatever_the_collation(loaded: Sandbox) -> None:
    """Keys are sorted by their bytes, as in the manifest, whatever the collation of the column."""
    with loaded.connect() as connection, suppress(psycopg.errors.FeatureNotSupported):
        # The embedded server is built without ICU, and then orders by bytes anyway.
        connection.execute("CREATE COLLATION words (provider = icu, locale = 'und')")
        connection.execute("ALTER TABLE orders DROP CONSTRAINT orders_category_fkey")
        connection.execute("ALTER TABLE categories ALTER code TYPE text COLLATE words")
    found = changed(loaded, "INSERT INTO categories VALUES ('ZEBRA', '', 0)")
    assert found == [("categories", [-1])]


def test_tables_that_do_not_fit_are_findings(loaded: Sandbox) -> None:
    """A missing table, a missing column and another type are each a finding, not an error; the others are compared."""
    with loaded.connect() as connection:
        connection.execute(
            "DROP TABLE notes; ALTER TABLE shops DROP COLUMN owner; ALTER TABLE orders ALTER paid TYPE text"
        )
    report = verify_snapshot(loaded.project, loaded.environment())
    assert not report.agrees
    assert sorted(report.tables) == [
        "orders.paid is text, expected boolean",
        "shops.owner does not exist (expected bigint)",
        "table notes does not exist",
    ]
    assert {entity.entity for entity in report.entities} == {"categories", "customers", "invoices"}


def test_additional_columns_do_not_count(loaded: Sandbox) -> None:
    """Columns that the snapshot does not have are not compared."""
    assert changed(loaded, "ALTER TABLE notes ADD COLUMN mine text DEFAULT 'x'") == []


def test_only_compares_the_named_entities(loaded: Sandbox) -> None:
    """Differences elsewhere are not found; an unknown name is an error that lists the known ones."""
    changed(loaded, "TRUNCATE notes")
    assert verify_snapshot(loaded.project, loaded.environment(), only=["orders"]).agrees
    with pytest.raises(UsageError, match="no such entity") as caught:
        verify_snapshot(loaded.project, loaded.environment(), only=["ordres"])
    assert "orders" in str(caught.value)


def test_the_rows_of_an_entity_are_read_by_one_statement(loaded: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """If everything agrees, one statement per entity computes hashes; an entity that differs takes one more."""
    statements: list[str] = []
    execute = psycopg.Connection.execute

    def traced(self: Connection, query: sql.Composable | str, *arguments: object) -> object:
        statements.append(query if isinstance(query, str) else query.as_string(self))
        return execute(self, query, *arguments)  # type: ignore[call-overload]

    with loaded.connect() as connection:
        monkeypatch.setattr(psycopg.Connection, "execute", traced)
        assert verify_snapshot(loaded.project, loaded.environment()).agrees
        assert sum("hash_record_extended" in statement for statement in statements) == 6
        assert not any("width_bucket" in statement for statement in statements)
        connection.execute("DELETE FROM notes WHERE id = 1")
        statements.clear()
        assert not verify_snapshot(loaded.project, loaded.environment()).agrees
        assert sum("hash_record_extended" in statement for statement in statements) == 7


def test_all_tables_are_seen_at_one_moment(loaded: Sandbox) -> None:
    """Changes that others commit during the verification are not visible in it."""

    def meddle(event: Event) -> None:
        if isinstance(event, Advanced) and (event.what, event.done) == ("rows", 1):
            with loaded.connect() as connection:
                connection.execute("DELETE FROM invoices")

    assert verify_snapshot(loaded.project, loaded.environment(), listener=meddle).agrees
    assert [entity.entity for entity in differing(loaded)] == ["invoices"]


def test_a_role_that_may_not_read_is_told_so(loaded: Sandbox) -> None:
    """Missing privileges are an error with every GRANT, not a finding."""
    with loaded.connect() as connection:
        connection.execute("CREATE ROLE stranger LOGIN")
    try:
        environment = loaded.environment(database=f"{loaded.url} user=stranger")
        with pytest.raises(SchemaError) as caught:
            verify_snapshot(loaded.project, environment)
        granted = re.findall(r'GRANT SELECT ON "public"."(\w+)" TO "stranger";', str(caught.value.next_step))
        assert granted == [entity.table for entity in snapshot_of(environment).manifest.entities]
        with pytest.raises(LoadError) as refused:
            diff_snapshot(loaded.project, environment, DiffRequest())
        assert "GRANT" in str(refused.value.next_step)
    finally:
        with loaded.connect() as connection:
            connection.execute("DROP ROLE stranger")


def test_no_snapshot_and_no_server_are_errors(loaded: Sandbox) -> None:
    """Without one of the two there is nothing to compare; the error says which is missing."""
    with pytest.raises(ServerError, match="cannot be reached"):
        verify_snapshot(loaded.project, loaded.environment(database="postgresql://127.0.0.1:1/x"))
    shutil.rmtree(loaded.project.snapshots.folder / "dev")
    with pytest.raises(SnapshotError, match="no snapshot named 'dev'"):
        verify_snapshot(loaded.project, loaded.environment())


def test_the_snapshot_of_another_seed_does_not_agree(loaded: Sandbox) -> None:
    """A database with another snapshot differs in every entity that has drawn values."""
    request = resolve_request(loaded.project, loaded.environment(), scale=None, seed=8)
    generate_snapshot(loaded.project, request)
    assert {entity.entity for entity in differing(loaded)} >= {"customers", "orders", "invoices", "shops"}
