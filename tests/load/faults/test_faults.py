"""If the database or the files object, everything stays as it was, no session is left, and the message says why."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path

import pytest

from snapseed import SnapseedError, open_snapshot
from snapseed.errors import LoadError, SchemaError, SnapshotError, VerificationError
from snapseed.events import Advanced, Event
from tests.conftest import Sandbox
from tests.load.faults.failing import fail


@dataclass(frozen=True)
class Fault:
    """A change to the database, the error that a load then raises, and words of its message."""

    statements: str
    error: type[SnapseedError]
    exit_code: int
    words: tuple[str, ...]


FAULTS = {
    "missing table": Fault("DROP TABLE notes", SchemaError, 2, ("table notes does not exist",)),
    "wrong type": Fault(
        "ALTER TABLE orders ALTER paid TYPE text", SchemaError, 2, ("orders.paid is text, expected boolean",)
    ),
    "unique violation in the last row": Fault(
        "DELETE FROM notes WHERE id = 500; CREATE UNIQUE INDEX last_two ON notes (least(id, 499))",
        LoadError,
        2,
        ("copying notes", "constraint 'last_two'", "(499)"),
    ),
    "check violation": Fault(
        "ALTER TABLE orders ADD CONSTRAINT free CHECK (total < 0) NOT VALID",
        LoadError,
        2,
        ("copying orders", "table 'orders'", "constraint 'free'"),
    ),
    "null in a required column": Fault(
        "UPDATE customers SET mood = 'glad'; ALTER TABLE customers ALTER mood SET NOT NULL",
        SchemaError,
        2,
        ("customers.mood is NOT NULL, and NULL in", "draw no NULL for customers.mood"),
    ),
    "label that an enum lacks": Fault(
        "UPDATE customers SET mood = NULL; ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'",
        SchemaError,
        2,
        ("customers.mood: the type mood has no label 'sad'", "ALTER TYPE mood ADD VALUE 'sad';"),
    ),
    "foreign key violation": Fault(
        "CREATE TABLE elsewhere (id bigint PRIMARY KEY); INSERT INTO elsewhere VALUES (-1);"
        "ALTER TABLE shops ADD CONSTRAINT away FOREIGN KEY (owner) REFERENCES elsewhere NOT VALID",
        LoadError,
        2,
        ("copying shops", "constraint 'away'", "elsewhere"),
    ),
    "generated column": Fault(
        "ALTER TABLE notes DROP number; ALTER TABLE notes ADD number integer GENERATED ALWAYS AS (1) STORED",
        SchemaError,
        2,
        ("notes.number",),
    ),
    "failure after the rows are in": Fault(
        "ALTER SEQUENCE snapseed.loads_id_seq MINVALUE 0 MAXVALUE 1",
        LoadError,
        2,
        ("recording", '"loads_id_seq"'),
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_refused_load_changes_nothing_and_names_the_obstacle(loaded: Sandbox, name: str) -> None:
    """The message names entity, table, column and constraint, and the exit code tells the kind of failure."""
    fault = FAULTS[name]
    with loaded.connect() as connection:
        connection.execute(fault.statements.encode())
    error = fail(loaded)
    assert (type(error), error.exit_code) == (fault.error, fault.exit_code)
    for word in fault.words:
        assert word in str(error)


def test_a_trigger_that_raises_stops_the_load(loaded: Sandbox, role: str) -> None:
    """The triggers of a table that the role does not own stay on, and one of them may object."""
    with loaded.connect() as connection:
        connection.execute("""
            CREATE FUNCTION objects() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'closed on Sundays'; END $$;
            CREATE TRIGGER sunday BEFORE INSERT ON notes FOR EACH ROW EXECUTE FUNCTION objects();
        """)
    error = fail(loaded, only=("notes",), database=f"{loaded.url} user={role}")
    assert isinstance(error, LoadError)
    assert "closed on Sundays" in str(error)
    assert "copying notes" in str(error)


def test_a_trigger_that_changes_rows_is_found_by_the_verification(loaded: Sandbox, role: str) -> None:
    """A single changed value ends the load with exit code 1 and the number of the chunk."""
    with loaded.connect() as connection:
        connection.execute("""
            CREATE FUNCTION meddles() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.number := 9; RETURN NEW; END $$;
            CREATE TRIGGER meddling BEFORE INSERT ON notes FOR EACH ROW WHEN (NEW.id = 500) EXECUTE FUNCTION meddles();
        """)
    error = fail(loaded, only=("notes",), database=f"{loaded.url} user={role}")
    assert (type(error), error.exit_code) == (VerificationError, 1)
    assert "notes chunk 2" in str(error)
    assert "notes chunk 1" not in str(error)


def last_part(sandbox: Sandbox) -> Path:
    """The last file of the last entity that has several files."""
    snapshot = open_snapshot(sandbox.project.snapshots, "dev")
    files = [entity.files for entity in snapshot.manifest.entities if len(entity.files) > 1][-1]
    return Path(snapshot.path(files[-1]))


def test_a_damaged_last_part_is_found_before_connecting(loaded: Sandbox) -> None:
    """The load fails on the file and does not connect to the server."""
    path = last_part(loaded)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0)
        url = f"postgresql://nobody@127.0.0.1:{listening.getsockname()[1]}/none"
        error = fail(loaded, database=url)
        with pytest.raises(BlockingIOError):
            listening.accept()
    assert (type(error), error.exit_code) == (SnapshotError, 2)
    assert path.name in str(error)
    assert "altered" in str(error)


@pytest.mark.parametrize("how", ["truncated", "removed"])
def test_a_part_that_is_damaged_during_the_load_ends_it(loaded: Sandbox, how: str) -> None:
    """It was intact when it was checked. The message names the file, and the rows before it are rolled back."""
    path = last_part(loaded)

    def damage(event: Event) -> None:
        if not isinstance(event, Advanced):
            return
        if how == "removed":
            path.unlink(missing_ok=True)
        else:
            path.write_bytes(b"PAR1, then nothing more")

    error = fail(loaded, listener=damage)
    assert (type(error), error.exit_code) == (SnapshotError, 2)
    assert path.parent.name in str(error)
