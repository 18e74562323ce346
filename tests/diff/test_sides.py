"""Any two sides are compared: databases, and snapshots in a folder or in a commit."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from msgspec import UNSET
from psycopg import sql

from snapseed.capture.request import CaptureRequest
from snapseed.capture.snapshot import capture_snapshot
from snapseed.cli.differences import as_markdown
from snapseed.diff.compare import ChangedRow, DiffReport, DiffRequest, EntityDiff, SchemaDifference, compare
from snapseed.diff.sides import find_side
from snapseed.errors import SnapshotError, UsageError
from snapseed.snapshot.manifest import CaptureRecord, Column
from tests.conftest import Sandbox, copied, new_database
from tests.forged import CHUNK_ROWS, described, write_manifest
from tests.projects.state import generated


def compared(sandbox: Sandbox, left: str | Path, right: str | Path, request: DiffRequest | None = None) -> DiffReport:
    """The differences of two sides of a project."""
    sides = [find_side(sandbox.project, str(text)) for text in (left, right)]
    return compare(sides[0], sides[1], request or DiffRequest())


def different(report: DiffReport) -> EntityDiff:
    """The only entity that differs."""
    (found,) = (entity for entity in report.entities if not entity.agrees)
    return found


def with_other_notes(sandbox: Sandbox, number: str, chunk_rows: int = 40, part_rows: int = 100) -> Path:
    """Another snapshot, in which this expression gives the notes their number."""
    settings = sandbox.folder / "snapseed.toml"
    settings.write_text(settings.read_text().replace("part_rows = 100", f"part_rows = {part_rows}"))
    file, snapshots = sandbox.folder / "generators" / "shop.py", sandbox.folder / "snapshots"
    text = file.read_text()
    assert "rows.positions.cast(pl.Int32)" in text
    file.write_text(text.replace("rows.positions.cast(pl.Int32)", f"({number}).cast(pl.Int32)"))
    (snapshots / "dev").rename(snapshots / "kept")
    generated(sandbox, chunk_rows=chunk_rows)
    (snapshots / "dev").rename(snapshots / "other")
    (snapshots / "kept").rename(snapshots / "dev")
    return snapshots / "other"


@pytest.fixture
def offline(small_chunks: Path, tmp_path: Path) -> Sandbox:
    """The shop with its snapshot, without a database."""
    return Sandbox(copied(small_chunks, tmp_path), "")


def remove_rows(*snapshots: Path, kept: str = "-") -> None:
    """Remove the files of all entities but one."""
    for file in (file for snapshot in snapshots for file in snapshot.rglob("*.parquet")):
        if kept not in str(file):
            file.unlink()


def test_snapshots_with_other_chunks_agree_without_being_read(offline: Sandbox) -> None:
    """Where the sums of fingerprints agree, no file is opened."""
    other, dev = with_other_notes(offline, "rows.positions", chunk_rows=60), offline.folder / "snapshots" / "dev"
    remove_rows(other, dev)
    report = compared(offline, dev, other)
    assert report.agrees
    assert len(report.entities) == 6


@pytest.mark.parametrize(("chunk_rows", "part_rows"), [(40, 100), (60, 100), (40, 70)])
def test_only_files_with_differences_are_read(offline: Sandbox, chunk_rows: int, part_rows: int) -> None:
    """Also of snapshots with other chunks or parts: what lies between two keys at which chunks of both begin."""
    other = with_other_notes(offline, "rows.positions + (rows.key() == 333).cast(int) * 7", chunk_rows, part_rows)
    remove_rows(other, offline.folder / "snapshots" / "dev", kept="notes")
    found = different(compared(offline, offline.folder / "snapshots" / "dev", other))
    assert found.changed == (ChangedRow("333", {"number": ("0", "7")}),)
    assert found.columns == {"number": 1}


def commit(folder: Path) -> None:
    """Commit everything in a folder."""
    as_somebody = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "."], [*as_somebody, "commit", "-qm", "one"]):
        subprocess.run(["git", *command], cwd=folder, check=True)  # noqa: S607 - on every machine with a checkout


def test_a_snapshot_in_a_commit_is_a_side(offline: Sandbox) -> None:
    """Its files come out of git. A revision or a folder that git does not have is named."""
    commit(offline.folder)
    other = with_other_notes(offline, "rows.positions + (rows.key() == 5).cast(int) * 7")
    shutil.rmtree(offline.folder / "snapshots" / "dev")
    found = different(compared(offline, "HEAD:snapshots/dev", other))
    assert found.changed == (ChangedRow("5", {"number": ("0", "7")}),)
    wrong = {"HEAD:snapshots/none": UsageError, "HEAD~7:snapshots/dev": UsageError, "none": UsageError}
    for text, error in wrong.items():
        with pytest.raises(error):
            compared(offline, text, other)


def test_files_in_git_lfs_are_read_where_they_were_fetched(offline: Sandbox) -> None:
    """The commit has only pointers to them. A file that is not there is an error, not an empty one."""
    objects = offline.folder / ".git" / "lfs" / "objects"
    for file in (offline.folder / "snapshots" / "dev").rglob("*.parquet"):
        data = file.read_bytes()
        name = hashlib.sha256(data).hexdigest()
        stored = objects / name[:2] / name[2:4] / name
        stored.parent.mkdir(parents=True, exist_ok=True)
        stored.write_bytes(data)
        file.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{name}\nsize {len(data)}\n")
    commit(offline.folder)
    other = with_other_notes(offline, "rows.positions + (rows.key() == 5).cast(int) * 7")
    assert different(compared(offline, "HEAD:snapshots/dev", other)).changed_count == 1
    shutil.rmtree(objects)
    with pytest.raises(SnapshotError):
        compared(offline, "HEAD:snapshots/dev", other)


def test_nulls_in_several_pages_are_read(offline: Sandbox) -> None:
    """Statistics of a file count them page by page, or wrongly; a NULL that became a value is found all the same."""
    texts: list[str | None] = [None if number % 3 else "x" for number in range(9000)]
    for name, last in (("one", None), ("two", "y")):
        rows = pa.table({"id": pa.array(range(9001)), "x": pa.array([*texts, last])})
        folder, types = offline.folder / "snapshots" / name, {"id": "bigint", "x": "text"}
        folder.mkdir()
        pq.write_table(
            rows,
            folder / "things.parquet",
            compression="zstd",
            row_group_size=CHUNK_ROWS,
            data_page_size=1,
            version="2.6",
        )
        write_manifest(folder, described(folder, rows, types))
    found = different(compared(offline, "one", "two"))
    assert found.changed == (ChangedRow("9000", {"x": (None, "y")}),)


def test_without_a_common_column_the_schema_differs(offline: Sandbox) -> None:
    """There are no rows to compare then."""
    for name, columns in (("one", ["id"]), ("two", ["key"])):
        folder = offline.folder / "snapshots" / name
        folder.mkdir()
        pq.write_table(pa.table({columns[0]: pa.array([1, 2])}), folder / "things.parquet", compression="zstd")
        record = described(folder, pa.table({"id": pa.array([1, 2])}), {"id": "bigint"})
        write_manifest(folder, msgspec.structs.replace(record, columns=(Column(columns[0], "bigint"),), key=columns[0]))
    report = compared(offline, "one", "two")
    assert {each.what for each in report.schema} == {"column id", "column key", "the key"}
    assert (report.entities, report.agrees) == ((), False)


def test_what_may_be_published_has_no_values_of_masked_columns(offline: Sandbox) -> None:
    """Nor has it keys, if a rule masks them: the other side may be the database that the capture came from."""
    schema = pa.schema([("id", pa.int64()), ("x", pa.string()), ("y", pa.string())])
    for name, secret, masked in (("one", "made up", ("things.x",)), ("two", "secret", ())):
        folder = offline.folder / "snapshots" / name
        folder.mkdir()
        rows = pa.Table.from_pylist([{"id": 1, "x": secret, "y": name}, {"id": len(name + secret), "x": None}], schema)
        pq.write_table(rows, folder / "things.parquet", compression="zstd")
        record = described(folder, rows, {"id": "bigint", "x": "text", "y": "text"})
        capture = CaptureRecord(schema=None, subset=False, masked=masked, server=18)
        write_manifest(folder, record, capture=capture, seed=UNSET, scale=UNSET, now=UNSET)
    found = different(compared(offline, "one", "two"))
    cells = {(kind, column): (left, right) for kind, _, column, left, right in found.cells()}
    assert (cells["changed", "x"], cells["changed", "y"]) == (("•••", "•••"), ("one", "two"))
    assert cells["removed", "x"] == (None, None)
    assert "secret" not in as_markdown(compared(offline, "two", "one"))
    assert {key for _, key, *_ in replace(found, masked=frozenset(["id"])).cells()} == {"•••"}


@pytest.fixture
def second(server: str, loaded_once: str) -> Iterator[Sandbox]:
    """Another database with the same rows."""
    with new_database(server, template=loaded_once) as url:
        yield Sandbox(Path(), url)


TABLE = "CREATE TABLE t (a int, b text, v int{})"
KEYED = TABLE.format(", PRIMARY KEY (a, b)")
REORDERED = """
CREATE TABLE u (v int, b text, a int, PRIMARY KEY (a, b)); INSERT INTO u SELECT v, b, a FROM t WHERE a <> 7;
DROP TABLE t; ALTER TABLE u RENAME TO t
"""
# A table, what is done to it on the right, and how many rows are then removed, added and changed.
CHANGES = {
    "composite key": (KEYED, "UPDATE t SET v = 9 WHERE a = 3", (0, 0, 2)),
    "part of the key": (KEYED, "UPDATE t SET b = 'z' WHERE a = 3 AND b = 'x'", (1, 1, 0)),
    "NULL in a unique key": (
        TABLE.format(", UNIQUE (a, b)"),
        "UPDATE t SET b = NULL WHERE a = 3 AND b = 'x'; INSERT INTO t VALUES (NULL, 'x', 1), (NULL, 'x', 1)",
        (1, 3, 0),
    ),
    "no key": (
        TABLE.format(""),
        "UPDATE t SET v = 9 WHERE a = 3; INSERT INTO t SELECT * FROM t WHERE a = 4",
        (2, 4, 0),
    ),
    "columns in another order": (KEYED, REORDERED, (2, 0, 0)),
}
FILL = "INSERT INTO t SELECT a, b, a % 10 FROM generate_series(1, 10000) AS a, unnest(ARRAY['x', 'y']) AS b"


@pytest.mark.parametrize("name", CHANGES)
def test_databases_are_compared_by_their_own_keys(name: str, loaded: Sandbox, second: Sandbox) -> None:
    """The primary key, or a unique one that NULL may be in; otherwise each row counts by itself."""
    create, change, counts = CHANGES[name]
    for sandbox, statements in ((loaded, [create, FILL]), (second, [create, FILL, change])):
        with sandbox.connect() as connection:
            for statement in statements:
                connection.execute(statement.encode())
    report = compared(loaded, loaded.url, second.url)
    found = different(report)
    assert found.entity == "t"
    assert (found.removed_count, found.added_count, found.changed_count) == counts
    assert not report.schema


@pytest.mark.parametrize("key", [", PRIMARY KEY (a, b)", ""])
def test_captures_are_compared_by_rows_not_by_chunks(key: str, loaded: Sandbox) -> None:
    """A row in front moves all rows by one place, and still only it and the row that changed differ."""
    change = "INSERT INTO t VALUES (-1, 'x', 1); UPDATE t SET v = 99 WHERE a = 7 AND b = 'y'"
    with loaded.connect() as connection:
        connection.execute(TABLE.format(key).encode())
        for name, statement in (("before", FILL), ("after", change)):
            connection.execute(statement.encode())
            environment = loaded.environment(source=loaded.url, snapshot=name)
            capture_snapshot(loaded.project, environment, CaptureRequest(only=("t",), unmasked=True, schema=False))
    changed = different(compared(loaded, loaded.folder / "snapshots" / "before", loaded.folder / "snapshots" / "after"))
    counts = (changed.removed_count, changed.added_count, changed.changed_count)
    assert counts == ((0, 1, 1) if key else (1, 2, 0))
    assert changed.added[0].values == {"a": "-1", "b": "x", "v": "1"}


def test_the_schemas_of_databases_are_compared(loaded: Sandbox, second: Sandbox) -> None:
    """Tables, columns, types and keys that only one has; rows are compared nevertheless."""
    with second.connect() as connection:
        connection.execute("CREATE TABLE mine (id int PRIMARY KEY); DROP TABLE invoices")
        connection.execute("ALTER TABLE notes ADD text text, ALTER number TYPE bigint, DROP CONSTRAINT notes_pkey")
        connection.execute("UPDATE categories SET rank = 5 WHERE code = 'music'")
    report = compared(loaded, loaded.url, second.url)
    assert set(report.schema) == {
        SchemaDifference("mine", "it", None, "a table"),
        SchemaDifference("invoices", "it", "a table", None),
        SchemaDifference("notes", "column text", None, "text"),
        SchemaDifference("notes", "column number", "integer", "bigint"),
        SchemaDifference("notes", "the key", "id", None),
    }
    assert different(report).changed == (ChangedRow("music", {"rank": ("2", "5")}),)


def test_a_value_that_no_snapshot_holds_is_compared_as_text(kinds: Sandbox) -> None:
    """NaN in a numeric column with a precision."""
    with kinds.connect() as connection:
        change = sql.SQL("UPDATE {} SET amount = 'NaN' WHERE amount IS NOT NULL AND flag")
        connection.execute(change.format(sql.Identifier("Odd Place", "Kinds of things")))
    found = different(compared(kinds, kinds.folder / "snapshots" / "dev", kinds.url))
    assert found.columns.keys() == {"amount"}
    assert found.changed[0].columns["amount"][1] == "NaN"


# What is asked for, and in how many rows each column then differs.
REQUESTS: tuple[tuple[DiffRequest, dict[str, int]], ...] = (
    (DiffRequest(), {"f": 9, "r": 9, "n": 5}),
    (DiffRequest(tolerance=0.01), {"n": 5}),
    (DiffRequest(tolerance=0.01, columns=["f"]), {}),
    (DiffRequest(keys=["2..3"]), {"f": 2, "r": 2, "n": 1}),
)


def test_tolerance_columns_and_keys_narrow_what_differs(loaded: Sandbox, second: Sandbox) -> None:
    """Floats are compared exactly unless a tolerance is given; whole numbers always are."""
    for sandbox, step in ((loaded, 0.0), (second, 0.001)):
        with sandbox.connect() as connection:
            connection.execute("CREATE TABLE t (id int PRIMARY KEY, f float8, r real, n int)")
            rows = (
                "SELECT i, i + %(step)s, i + %(step)s, i + (%(step)s > 0)::int * mod(i, 2) FROM generate_series(1, 9) i"
            )
            connection.execute(f"INSERT INTO t {rows}".encode(), {"step": step})
    for wrong in ("abc", "1,2"):
        with pytest.raises(UsageError):
            compared(loaded, loaded.url, loaded.url, DiffRequest(only=["t"], keys=[wrong]))
    for request, expected in REQUESTS:
        (found,) = (each for each in compared(loaded, loaded.url, second.url, request).entities if each.entity == "t")
        assert found.columns == expected


def test_every_format_ends_with_1(loaded: Sandbox) -> None:
    """And names a row that differs, without letting its text mean something."""
    with loaded.connect() as connection:
        connection.execute("UPDATE categories SET label = '<b>|x\x1b' WHERE code = 'music'")
        connection.execute("DELETE FROM notes WHERE id > 490")
    for output, expected in {
        "text": r"+ '<b>|x\x1b'",
        "json": r"<b>|x\u001b",
        "github": r"<code>\<b\>\|x\\x1b</code>",
        "html": r"&lt;b&gt;|x\x1b",
        "csv": r'"<b>|x\x1b"',
    }.items():
        sides = ("snapshots/dev", loaded.url) if output == "html" else ("dev",)
        shown = loaded.run("diff", *sides, "--format", output, "--limit", "4")
        assert shown.returncode == 1
        assert expected in shown.stdout
        assert shown.stderr == ""
    assert json.loads(loaded.run("diff", "--summary", "--format", "json").stdout)["entities"][4]["removed"] == 10
    assert loaded.run("diff", "snapshots/dev", loaded.url, "--database", loaded.url).returncode == 2
    assert loaded.run("diff", "snapshots/dev", "snapshots/dev", "--format", "csv").returncode == 0
