"""A repair changes the rows that differ, and nothing else: afterwards the database holds its snapshot."""

from __future__ import annotations

import random
import shlex
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from snapseed import LoadRequest, load_snapshot, verify_snapshot
from snapseed.capture.request import CaptureRequest
from snapseed.capture.snapshot import capture_snapshot
from snapseed.diff.repair import RepairRequest, repair_snapshot
from snapseed.errors import LoadError, RefusedError, SchemaError, SnapseedError, UsageError, VerificationError
from snapseed.redaction import redacted
from snapseed.servers.postgres import EmbeddedPostgres
from tests.conftest import PROJECTS, Sandbox, copied, new_database
from tests.examples import FRESH
from tests.load.test_every_type import spelled
from tests.projects.moments import at_moments
from tests.projects.state import contents
from tests.projects.types.generators.types import KINDS

YES = RepairRequest(consent=True)
# Tables with their rows, and what is done to these.
SHAPES = [
    shape.split("-- changes\n")
    for shape in Path(__file__).with_name("shapes.sql").read_text(encoding="utf-8").split("-- shape:\n")[1:]
]


def execute(sandbox: Sandbox, statements: str) -> None:
    """Run statements in the database."""
    with sandbox.connect() as connection:
        connection.execute(statements.encode())


def repaired(sandbox: Sandbox, request: RepairRequest = YES, **overrides: object) -> dict[str, tuple[int, int, int]]:
    """The rows that were deleted, updated and inserted, by entity; afterwards the database holds the snapshot."""
    report = repair_snapshot(sandbox.project, sandbox.environment(None, **overrides), request)
    assert verify_snapshot(sandbox.project, sandbox.environment(None, **overrides)).agrees
    return {each.entity: (each.deleted, each.updated, each.inserted) for each in report.entities}


def by_psql(script: Path, url: str) -> None:
    """Run a script as a user does."""
    program = str(EmbeddedPostgres.find_program().with_name("psql"))
    subprocess.run([program, "-Xqf", str(script), url], check=True, capture_output=True, text=True)


@pytest.fixture(scope="module")
def shapes(
    server: str, generated_once: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sandbox]:
    """A database with the tables of all shapes, and a capture of it."""
    with new_database(server) as url:
        sandbox = Sandbox(copied(generated_once("shop"), tmp_path_factory.mktemp("repair")), url)
        for create, _ in SHAPES:
            execute(sandbox, create)
        environment = sandbox.environment(source=url, snapshot="shapes")
        capture_snapshot(sandbox.project, environment, CaptureRequest(unmasked=True, schema=False))
        yield sandbox


@pytest.mark.parametrize("by_script", [False, True])
def test_rows_become_those_of_the_snapshot_whatever_hangs_on_them(
    shapes: Sandbox, tmp_path: Path, *, by_script: bool
) -> None:
    """Unique values, foreign keys, triggers, partitions: at once, or by a script for psql."""
    with shapes.connect() as connection:
        before = contents(connection)
        for _, change in SHAPES:
            connection.execute(change.encode())
        connection.execute("SELECT pg_stat_force_next_flush()")
        environment = shapes.environment(snapshot="shapes")
        if by_script:
            repair_snapshot(shapes.project, environment, RepairRequest(script=tmp_path / "repair.sql"))
            by_psql(tmp_path / "repair.sql", shapes.url)
            assert verify_snapshot(shapes.project, environment).agrees
        else:
            repaired(shapes, snapshot="shapes")
        # Neither leaves the next load anything to ask or to do.
        assert load_snapshot(shapes.project, environment, LoadRequest(if_changed=True)).already_loaded
        after = contents(connection)
        # What records loads may be new, and sequences go on.
        assert set(before.pop("objects")) <= set(after["objects"])  # type: ignore[call-overload]
        assert {name: after[name] for name in before if not name.endswith(("_seq", ".loads"))} == {
            name: rows for name, rows in before.items() if not name.endswith(("_seq", ".loads"))
        }
        assert connection.execute("SELECT nextval('numbered_id_seq') > 9").fetchone() == (True,)


@pytest.fixture(scope="module")
def every_type(
    server: str, generated_once: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sandbox]:
    """A database with a column of each type that the server has, in a table with a key and in one without; captured."""
    with new_database(server) as url:
        sandbox = Sandbox(copied(generated_once("shop"), tmp_path_factory.mktemp("types")), url)
        execute(sandbox, (PROJECTS / "types" / "schema.sql").read_text(encoding="utf-8"))
        values: dict[str, Sequence[object]] = {"int4": [1, 2, 3, 4]}
        with sandbox.connect() as connection:
            for kind in KINDS:
                with suppress(psycopg.Error):
                    if kind.needs:
                        extension = f"CREATE EXTENSION IF NOT EXISTS {kind.needs} CASCADE"
                        connection.execute((kind.needs if " " in kind.needs else extension).encode())
                    connection.execute(f"SELECT NULL::{kind.type}[]".encode())
                    values |= {kind.type: kind.values} | ({f"{kind.type}[]": kind.flat} if kind.arrays else {})
            columns = ", ".join(f"c{number} {kind}" for number, kind in enumerate(values))
            connection.execute(f"CREATE TABLE keyed ({columns}, PRIMARY KEY (c0))".encode())
            forms = ", ".join(f"%s::{'text[]' if kind.endswith(']') else 'text'}::{kind}" for kind in values)
            for row in range(4):
                texts = [
                    str(found[row % len(found)]) if kind == "vector(3)" else spelled(found[row % len(found)])
                    for kind, found in values.items()
                ]
                connection.execute(f"INSERT INTO keyed VALUES ({forms})".encode(), texts)  # noqa: S608 - types of ours
            connection.execute("CREATE TABLE bare AS TABLE keyed")
        environment = sandbox.environment(source=url, snapshot="types")
        capture_snapshot(sandbox.project, environment, CaptureRequest(unmasked=True, schema=False))
        yield sandbox


@pytest.mark.parametrize("seed", range(50 if FRESH else 3))
def test_random_changes_of_values_of_every_type_are_undone(every_type: Sandbox, seed: int) -> None:
    """A hundred changes: values of other rows, NULL, rows that go, rows that come. With fresh examples, 50 times."""
    draw = random.Random(seed)  # noqa: S311 - a test that can be repeated
    changes = [
        "UPDATE {table} SET {column} = (SELECT {column} FROM {table} WHERE c0 = {other} LIMIT 1) WHERE c0 = {one}",
        "UPDATE {table} SET {column} = NULL WHERE c0 = {one}",
        "DELETE FROM {table} WHERE c0 = {one}",
        "INSERT INTO {table} SELECT -{other}, {others} FROM {table} WHERE c0 = {one}",
    ]
    with every_type.connect() as connection:
        (count,) = connection.execute(
            "SELECT count(*) FROM pg_attribute WHERE attrelid = 'keyed'::regclass AND attnum > 1"
        )
        names = [f"c{number}" for number in range(1, int(str(count[0])))]
        for kind in draw.choices(changes, [10, 10, 1, 1], k=100):
            rows, table = draw.sample(range(1, 5), 2), draw.choice(["keyed", "bare"])
            change = kind.format(
                table=table, column=draw.choice(names), others=", ".join(names), one=rows[0], other=rows[1]
            )
            with suppress(psycopg.errors.IntegrityError):
                connection.execute(change.encode())
    assert repaired(every_type, snapshot="types").keys() == {"keyed", "bare"}


OUTSIDE = """
CREATE TABLE outside (id int PRIMARY KEY, customer bigint REFERENCES customers ON DELETE CASCADE, code text);
INSERT INTO customers SELECT 9999, name, NULL, settings, balance, joined, birthday, tags, mood
  FROM customers WHERE id = 1;
INSERT INTO outside VALUES (1, 9999);
"""


def refused(sandbox: Sandbox, request: RepairRequest, **overrides: object) -> SnapseedError:
    """The error of a repair that changes nothing."""
    with sandbox.connect() as connection:
        before = contents(connection)
        with pytest.raises(SnapseedError) as caught:
            repair_snapshot(sandbox.project, sandbox.environment(None, **overrides), request)
        assert contents(connection) == before
    return caught.value


def test_rows_of_others_need_consent_and_missing_rows_do_not(loaded: Sandbox) -> None:
    """Nothing is lost where rows are only inserted. A record says that the database holds the snapshot again."""
    execute(loaded, "DELETE FROM notes WHERE id < 4")
    assert repaired(loaded, RepairRequest()) == {"notes": (0, 0, 3)}
    execute(loaded, "UPDATE notes SET number = 77 WHERE id = 5")
    assert isinstance(refused(loaded, RepairRequest()), RefusedError)
    assert repaired(loaded) == {"notes": (0, 1, 0)}
    assert repaired(loaded, RepairRequest()) == {}
    with loaded.connect() as connection:
        connection.execute("SELECT pg_stat_force_next_flush()")
    report = load_snapshot(loaded.project, loaded.environment(), LoadRequest(if_changed=True))
    assert report.already_loaded


def test_rows_outside_the_snapshot_never_go_with_others(loaded: Sandbox) -> None:
    """Those that CASCADE would delete are found after the fact; where none refer to a row that goes, it goes."""
    execute(loaded, OUTSIDE)
    assert isinstance(refused(loaded, YES), LoadError)
    execute(loaded, "UPDATE outside SET customer = 1")
    assert repaired(loaded) == {"customers": (1, 0, 0)}
    execute(
        loaded,
        "ALTER TABLE outside DROP CONSTRAINT outside_customer_fkey, ADD FOREIGN KEY (customer) REFERENCES customers",
    )
    execute(loaded, "DROP TABLE outside;" + OUTSIDE.replace("ON DELETE CASCADE", ""))
    error = refused(loaded, YES)
    assert isinstance(error, LoadError)
    assert "delete those first" in str(error.next_step)


def test_rows_that_triggers_change_are_found_where_nothing_differed(loaded: Sandbox, role: str) -> None:
    """Triggers of tables that the role does not own stay on. What they do in equal tables and chunks is no secret."""
    act = "CREATE OR REPLACE FUNCTION act() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN {}; RETURN NULL; END';"
    execute(loaded, act.format("NULL"))
    execute(loaded, "UPDATE notes SET number = 77 WHERE id = 1")
    execute(loaded, "CREATE TRIGGER act AFTER UPDATE ON notes WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION act()")
    for effect in ("TRUNCATE invoices", "UPDATE shops SET owner = 9", "UPDATE notes SET number = 9 WHERE id = 400"):
        execute(loaded, act.format(effect))
        error = refused(loaded, YES, database=f"{loaded.url} user={role}")
        assert isinstance(error, VerificationError)


def test_columns_of_the_database_alone_keep_their_values(loaded: Sandbox) -> None:
    """Also in rows that are deleted and inserted again. A column that the table lacks is an error."""
    execute(
        loaded,
        "ALTER TABLE invoices ADD mine text DEFAULT 'new'; UPDATE invoices SET mine = order_id::text;"
        "ALTER TABLE invoices DROP CONSTRAINT invoices_order_id_key;"
        "UPDATE invoices SET order_id = least + greatest - order_id FROM"
        " (SELECT min(order_id) AS least, max(order_id) AS greatest FROM invoices) AS ends"
        " WHERE order_id IN (least, greatest); ALTER TABLE invoices ADD UNIQUE (order_id)",
    )
    (deleted, updated, inserted) = repaired(loaded)["invoices"]
    assert (deleted, updated, inserted) == (2, 0, 2)
    with loaded.connect() as connection:
        assert connection.execute("SELECT count(*) FROM invoices WHERE mine <> order_id::text").fetchone() == (0,)
    execute(loaded, "ALTER TABLE shops DROP COLUMN owner")
    for request in (YES, RepairRequest(dry_run=True)):
        assert isinstance(refused(loaded, request), SchemaError)


def test_nobody_writes_from_the_comparison_to_the_commit(loaded: Sandbox) -> None:
    """So what was compared is what is changed; readers go on."""
    execute(loaded, "DELETE FROM notes WHERE id = 1")
    tried = []
    with loaded.connect() as connection:
        connection.execute("SET lock_timeout = '50ms'")

        def write(moment: str) -> None:
            if moment in {"comparing", "changing rows", "verifying changes"}:
                with pytest.raises(psycopg.errors.LockNotAvailable):
                    connection.execute("UPDATE notes SET number = 1 WHERE id = 9")
                tried.append(connection.execute("SELECT count(*) FROM notes").fetchone())

        repair_snapshot(loaded.project, loaded.environment(), YES, at_moments(write))
    assert tried == [(499,)] * 3


def test_a_script_fails_where_rows_have_changed_since(loaded: Sandbox, tmp_path: Path) -> None:
    """It changes nothing then. The command ends with 0 once the script is there; a dry run with differences with 1."""
    execute(loaded, "DELETE FROM notes WHERE id = 1")
    script = str(tmp_path / "repair.sql")
    with loaded.connect() as connection:
        before = contents(connection)
        assert loaded.run("diff", "--repair", "--dry-run").returncode == 1
        written = loaded.run("diff", "--repair", "--script", script, "--database", loaded.url)
        assert written.stdout.endswith(f"next: {shlex.join(['psql', '-X', '-f', script, redacted(loaded.url)])}\n")
        # What is next is for the same database.
        differs = loaded.run("verify", "--only", "notes", "--database", loaded.url, SNAPSEED_DATABASE="embedded").stdout
        _, *following = shlex.split(differs.splitlines()[-1].removeprefix("next: "))
        assert following[:4] == ["diff", "dev", "--summary", "--only"]
        assert loaded.run(*following, SNAPSEED_DATABASE="embedded").returncode == written.returncode + 1 == 1
        for taken in (Path(script), tmp_path / "none" / "x"):
            with pytest.raises(UsageError):
                repair_snapshot(loaded.project, loaded.environment(), RepairRequest(script=taken))
        assert contents(connection) == before
        connection.execute("DELETE FROM notes WHERE id = 2")
        with pytest.raises(subprocess.CalledProcessError) as caught:
            by_psql(tmp_path / "repair.sql", loaded.url)
        assert caught.value.returncode == 3
    assert not verify_snapshot(loaded.project, loaded.environment()).agrees
    assert repaired(loaded) == {"notes": (0, 0, 2)}
    wrong = ["dev", "--repair", "--columns", "number", "--limit", "3", "--dry-run", "--script", "x", "--format", "csv"]
    refusal = loaded.run("diff", "dev", *wrong)
    assert refusal.returncode == 2
    assert all(option in refusal.stderr for option in ("B,", *wrong[2::2]))
