"""Every type loads, verifies, and holds the values that PostgreSQL itself reads from their text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from snapseed import LoadRequest, load_snapshot, verify_snapshot
from snapseed.errors import VerificationError
from snapseed.load.outcome import LoadReport, Outcome
from snapseed.load.request import Mode
from snapseed.postgres.connect import pin_settings
from snapseed.snapshot.types import parse_type
from tests.conftest import Connection, Sandbox, new_database
from tests.generate.making import write_project
from tests.projects.state import generated
from tests.projects.types.generators.types import BUILT_IN, KINDS, Kind

# Types of pg_catalog whose input functions take no value at all: the server uses them internally.
WITHOUT_INPUT = {
    "gtsvector",
    "pg_node_tree",
    "pg_ndistinct",
    "pg_dependencies",
    "pg_mcv_list",
    "pg_brin_bloom_summary",
    "pg_brin_minmax_multi_summary",
}
UUID_BYTES = 16
# Types without an equality operator, and one for each way in which values are sent.
UPSERTED = {"json", "xml", "point", "box", "integer", "interval", "pair", '"Odd Place"."Light"', "vector(3)", "hstore"}
# Base types, ranges and multiranges; an array type is one that another type names as its own.
_TYPES = """
SELECT t.typname
  FROM pg_type t
 WHERE t.typnamespace = 'pg_catalog'::regnamespace AND t.typtype IN ('b', 'r', 'm')
   AND NOT EXISTS (SELECT FROM pg_type e WHERE e.typarray = t.oid)
"""


@pytest.fixture(scope="module")
def types_once(server: str, generated_once: Callable[[str], Path]) -> Iterator[Sandbox]:
    """The project of all types with its snapshot, and a database that has the types but no tables.

    The database has settings that a load has to override.
    """
    with new_database(server) as url:
        sandbox = Sandbox(generated_once("types"), url)
        with sandbox.connect() as connection:
            connection.execute((sandbox.folder / "schema.sql").read_bytes())
            for setting in ("array_nulls = off", "xmloption = document"):
                alter = sql.SQL("ALTER DATABASE {} SET ").format(sql.Identifier(connection.info.dbname))
                connection.execute(alter + sql.SQL(setting))
        yield sandbox


@pytest.fixture
def types(types_once: Sandbox) -> Iterator[Sandbox]:
    """The same for one test, which drops its tables: a load reads the catalogs of all tables of its snapshot."""
    yield types_once
    with types_once.connect() as connection:
        for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall():
            connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(str(name))))


def require(connection: Connection, kind: Kind) -> None:
    """Skip the test if the server lacks what the type needs."""
    if " " in kind.needs:
        try:
            connection.execute(kind.needs.encode())
        except psycopg.Error as exc:
            pytest.skip(str(exc).splitlines()[0])
    elif kind.needs:
        found = connection.execute("SELECT FROM pg_available_extensions WHERE name = %s", [kind.needs]).fetchone()
        if found is None:
            pytest.skip(f"the server has no extension {kind.needs}")
        connection.execute(sql.SQL("CREATE EXTENSION IF NOT EXISTS {} CASCADE").format(sql.Identifier(kind.needs)))


def created(connection: Connection, kind: Kind) -> sql.Identifier:
    """Create the table of the type."""
    pin_settings(connection)
    connection.execute("SET search_path TO DEFAULT")
    require(connection, kind)
    table = sql.Identifier(kind.name)
    columns = sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(column)) for name, column in kind.columns.items()
    )
    connection.execute(
        sql.SQL("DROP TABLE IF EXISTS {0}; CREATE TABLE {0} ({1}, PRIMARY KEY (id))").format(table, columns)
    )
    return table


def load(types: Sandbox, kind: Kind, mode: Mode = Mode.REPLACE) -> LoadReport:
    """Load the entity of the type, and check that the database then agrees with the manifest."""
    report = load_snapshot(types.project, types.environment(), LoadRequest(only=[kind.name], mode=mode))
    assert verify_snapshot(types.project, types.environment(), only=[kind.name]).agrees
    return report


def scalar(value: object) -> str | None:
    """The text of a value, as PostgreSQL reads it."""
    match value:
        case None:
            return None
        case bytes():
            return value.hex() if len(value) == UUID_BYTES else f"\\x{value.hex()}"
    return str(value)


def spelled(value: object) -> object:
    """The same for the values in a list."""
    return [spelled(item) for item in value] if isinstance(value, list) else scalar(value)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_loads_and_verifies(types: Sandbox, kind: Kind) -> None:
    """Values, arrays and two-dimensional arrays are in the table as PostgreSQL reads them, also NULL and empty ones."""
    with types.connect() as connection:
        table = created(connection, kind)
        plan = load(types, kind).plan.tables[0]
        known: dict[str, Sequence[object]] = {"value": kind.rows, "flat": kind.flat, "box": kind.box}
        for name, column in kind.columns.items():
            if name == "id":
                continue
            query = sql.SQL("SELECT {}::text FROM {} ORDER BY id").format(sql.Identifier(name), table)
            observed = [row[0] for row in connection.execute(query).fetchall()]
            is_list = name != "value" or (kind.declared or kind.type).endswith("]")
            cast = sql.SQL("SELECT %s::{}::{}::text").format(sql.SQL("text[]" if is_list else "text"), sql.SQL(column))
            expected = [
                row[0]
                for value in known[name]
                for row in connection.execute(cast, [spelled(value) if is_list else scalar(value)]).fetchall()
            ]
            assert observed == expected
    declared = parse_type(kind.declared or kind.type)
    assert plan.binary == (declared.has_binary_form or kind.is_enum)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.type in UPSERTED], ids=lambda kind: kind.name)
def test_upsert(types: Sandbox, kind: Kind) -> None:
    """Rows are updated to what the snapshot says, also those of types that cannot be compared."""
    with types.connect() as connection:
        table = created(connection, kind)
        load(types, kind)
        connection.execute(sql.SQL("DELETE FROM {0} WHERE id = 1; UPDATE {0} SET value = NULL").format(table))
        assert load(types, kind, Mode.UPSERT).outcome is Outcome.COMMITTED


def test_another_spelling(tmp_path: Path, database: str) -> None:
    """A value that PostgreSQL prints differently does not agree, and the error names the columns to look at."""
    project = write_project(
        tmp_path / "project",
        """
@entity(key="id", columns={"id": "bigint", "address": "inet", "spans": "interval[]", "mood": "mood"}, rows=1)
def things(rows):
    return pl.DataFrame({"id": rows.key(), "address": ["10.0.0.1"], "spans": [["36:00"]], "mood": ["ok"]})
""",
    )
    sandbox = generated(Sandbox(project.folder, database), scale=1)
    with sandbox.connect() as connection:
        connection.execute(
            "CREATE TYPE mood AS ENUM ('ok');"
            "CREATE TABLE things (id bigint PRIMARY KEY, address inet, spans interval[], mood mood)"
        )
    with pytest.raises(VerificationError) as caught:
        load_snapshot(sandbox.project, sandbox.environment())
    assert "things.address (inet, such as '10.0.0.1/32'), things.spans" in str(caught.value.next_step)
    assert "(interval[], such as '{36:00:00}')" in str(caught.value.next_step)
    assert "things.mood" not in str(caught.value.next_step)


def test_no_type_is_forgotten(connection: Connection) -> None:
    """Every type of pg_catalog that takes values is tested above."""
    names = {row[0] for row in connection.execute(_TYPES).fetchall()}
    query = "SELECT typname FROM pg_type WHERE oid = ANY (%s::regtype[])"
    covered = {row[0] for row in connection.execute(query, [[kind.type for kind in BUILT_IN]]).fetchall()}
    assert names - covered == names & WITHOUT_INPUT


@pytest.mark.parametrize("name", sorted(WITHOUT_INPUT))
def test_types_without_input(connection: Connection, name: str) -> None:
    """The types that are left out take no values."""
    with pytest.raises(psycopg.errors.FeatureNotSupported, match=r"cannot accept a value|not implemented"):
        connection.execute(sql.SQL("SELECT ''::{}").format(sql.Identifier(name)))
