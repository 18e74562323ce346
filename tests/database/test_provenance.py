"""snapseed.loads records each committed load, and nothing is made by looking."""

from __future__ import annotations

from snapseed.database.provenance import last_loads, loaded_tables, record_load
from tests.conftest import Connection

RECORD: dict[str, object] = {
    "environment": "dev",
    "snapshot": "dev",
    "identity": "0" * 64,
    "seed": 2**64 - 1,
    "scale": 2**47,
    "mode": "replace",
    "tables": ["public.users", 'Odd "Place".Kinds of things'],
    "rows": 5,
    "version": "0.1.0",
}


def test_an_empty_database_has_no_loads_and_gets_no_table(connection: Connection) -> None:
    """Asking changes nothing."""
    assert last_loads(connection) == []
    assert loaded_tables(connection) == set()
    assert connection.execute("SELECT to_regnamespace('snapseed')").fetchone() == (None,)


def test_what_is_recorded_is_read_back(connection: Connection) -> None:
    """Every field, the largest seed and scale included."""
    record_load(connection, RECORD)
    (found,) = last_loads(connection)
    assert (found.environment, found.seed, found.scale, found.rows) == ("dev", 2**64 - 1, 2**47, 5)
    assert found.tables == RECORD["tables"]
    assert found.role == connection.info.user
    assert found.loaded_at.tzinfo is not None


def test_the_newest_load_comes_first(connection: Connection) -> None:
    """At most as many as were asked for."""
    for rows in (1, 2, 3):
        record_load(connection, {**RECORD, "rows": rows})
    assert [load.rows for load in last_loads(connection, limit=2)] == [3, 2]


def test_tables_of_all_loads_are_ours(connection: Connection) -> None:
    """A table that an earlier load filled stays ours when a later one leaves it out."""
    record_load(connection, {**RECORD, "tables": ["public.a", "public.b"]})
    record_load(connection, {**RECORD, "tables": ["public.b"]})
    assert loaded_tables(connection) == {"public.a", "public.b"}


def test_a_record_is_part_of_the_transaction(connection: Connection) -> None:
    """A rollback takes the record with it, and the schema that was made for it."""
    with connection.transaction(force_rollback=True):
        record_load(connection, RECORD)
    assert connection.execute("SELECT to_regnamespace('snapseed')").fetchone() == (None,)
