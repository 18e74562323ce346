"""snapseed.loads records each committed load, and looking creates nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from snapseed.postgres.provenance import NewLoad, filled_tables, last_loads, loaded_tables, record_load
from tests.conftest import Connection

LOAD = NewLoad(
    environment="dev",
    snapshot="dev",
    identity="0" * 64,
    seed=2**64 - 1,
    scale=2**47,
    mode="replace",
    tables=("public.users", 'Odd "Place".Kinds of things'),
    rows=5,
    version="0.1.0",
)


def test_an_empty_database_has_no_loads_and_gets_no_table(connection: Connection) -> None:
    """Asking changes nothing."""
    assert last_loads(connection) == []
    assert loaded_tables(connection) == set()
    assert connection.execute("SELECT to_regnamespace('snapseed')").fetchone() == (None,)


def test_what_is_recorded_is_read_back(connection: Connection) -> None:
    """Every field, including the largest seed and scale."""
    record_load(connection, LOAD)
    (found,) = last_loads(connection)
    assert (found.environment, found.seed, found.scale, found.rows) == ("dev", 2**64 - 1, 2**47, 5)
    assert found.tables == LOAD.tables
    assert found.role == connection.info.user
    assert found.loaded_at.tzinfo is not None


def test_the_newest_load_comes_first(connection: Connection) -> None:
    """At most as many as were asked for."""
    for rows in (1, 2, 3):
        record_load(connection, replace(LOAD, rows=rows))
    assert [load.rows for load in last_loads(connection, limit=2)] == [3, 2]


def record(connection: Connection, *tables: str, mode: str = "replace") -> None:
    """Record a load of these tables, which are named as in SQL."""
    query = """SELECT nspname || '.' || relname, c.oid::int8
                 FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE c.oid = to_regclass(%s)"""
    found = [connection.execute(query, (table,)).fetchone() for table in tables]
    states = {str(name): {"oid": oid, "mode": mode} for name, oid in filter(None, found)}
    assert len(states) == len(tables)
    record_load(connection, replace(LOAD, mode=mode, tables=tuple(states), state=states))


def test_tables_of_all_loads_are_ours(connection: Connection) -> None:
    """A table that an earlier load filled stays ours if a later load leaves it out, whatever its name."""
    connection.execute("""CREATE TABLE a (); CREATE TABLE b (); CREATE SCHEMA "Odd ""Place";
                          CREATE TABLE "Odd ""Place"."Kinds of things" ()""")
    record(connection, "public.a", "public.b", '"Odd ""Place"."Kinds of things"')
    record(connection, "public.b")
    assert loaded_tables(connection) == {"public.a", "public.b", 'Odd "Place.Kinds of things'}


@pytest.mark.parametrize(
    ("mode", "whole", "some"), [("replace", True, True), ("upsert", False, True), ("append", False, False)]
)
def test_the_mode_of_the_load_says_whose_rows_there_are(
    connection: Connection, mode: str, *, whole: bool, some: bool
) -> None:
    """After an upsert, some rows may not be ours; after an append, all of them."""
    connection.execute("CREATE TABLE a ()")
    record(connection, "a", mode=mode)
    assert bool(loaded_tables(connection)) is whole
    (found,) = filled_tables(connection).values()
    assert (found.replaced or found.upserted) is some


@pytest.mark.parametrize(
    "remake",
    [
        "DROP TABLE a; CREATE TABLE a ()",
        "ALTER TABLE a RENAME TO b; CREATE TABLE a ()",
        "ALTER TABLE a RENAME TO b",
        "DROP TABLE a",
        "ALTER TABLE a SET SCHEMA elsewhere; CREATE TABLE a ()",
    ],
)
def test_another_table_of_the_same_name_is_not_ours(connection: Connection, remake: str) -> None:
    """Somebody created it again, or restored a dump that contains the record of loads."""
    connection.execute("CREATE SCHEMA elsewhere; CREATE TABLE a ()")
    record(connection, "a")
    assert loaded_tables(connection) == {"public.a"}
    connection.execute(remake.encode())
    assert filled_tables(connection) == {}
    connection.execute("CREATE TABLE IF NOT EXISTS a ()")
    record(connection, "a")
    assert loaded_tables(connection) == {"public.a"}


def test_the_latest_load_tells_which_table_it_was(connection: Connection) -> None:
    """The oid in an earlier record no longer counts."""
    connection.execute("CREATE TABLE a ()")
    record(connection, "a")
    record_load(connection, replace(LOAD, tables=("public.a",), state={"public.a": {"oid": 1}}))
    assert loaded_tables(connection) == set()


@pytest.mark.parametrize(
    "state", [None, {}, {"public.a": None}, {"public.a": {}}, {"public.a": {"oid": None}}, {"public.a": {"oid": "a"}}]
)
def test_a_record_without_an_oid_makes_no_table_ours(connection: Connection, state: dict[str, object] | None) -> None:
    """Older versions wrote such records."""
    connection.execute("CREATE TABLE a ()")
    record_load(connection, replace(LOAD, tables=("public.a",), state=state))
    assert filled_tables(connection) == {}


def test_a_table_of_records_without_states_makes_no_table_ours(connection: Connection) -> None:
    """An older version created the table. The next load adds the column."""
    connection.execute("CREATE TABLE a ()")
    record(connection, "a")
    connection.execute("ALTER TABLE snapseed.loads DROP COLUMN state")
    assert loaded_tables(connection) == set()
    record(connection, "a")
    assert loaded_tables(connection) == {"public.a"}


def test_a_record_is_part_of_the_transaction(connection: Connection) -> None:
    """A rollback removes the record, and the schema that was created for it."""
    with connection.transaction(force_rollback=True):
        record_load(connection, LOAD)
    assert connection.execute("SELECT to_regnamespace('snapseed')").fetchone() == (None,)
