"""A snapshot of somebody else reads no other file, deletes no other folder, takes little memory, and shows as it is."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from snapseed import generate_snapshot, open_snapshot
from snapseed.config import Store
from snapseed.errors import ManifestError, SnapshotError
from snapseed.generate.request import Request
from snapseed.generate.snapshot import check_snapshot
from snapseed.snapshot import store
from snapseed.snapshot.manifest import FILE_NAME, Manifest
from snapseed.verify.files import verify_files
from tests.forged import described, forge, forge_capture, write_file, write_manifest
from tests.generate.making import write_project
from tests.stress.files import findings, fuzz

TABLE = pa.table({"id": pa.array([1, 2, 3]), "note": ["a", None, "b"]})
TYPES = {"id": "bigint", "note": "text"}


def _replaced(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        path.unlink()
        make(path)

    return change


NO_FILES: dict[str, Callable[[Path], None]] = {
    "a link to a device": _replaced(lambda path: path.symlink_to("/dev/zero")),
    "a link to a file": _replaced(lambda path: path.symlink_to("/etc/hostname")),
    "a link to nothing": _replaced(lambda path: path.symlink_to("nowhere")),
    "a FIFO": _replaced(os.mkfifo),
    "a folder": _replaced(Path.mkdir),
}


@pytest.mark.parametrize("case", NO_FILES)
def test_only_regular_files_are_read(case: str, tmp_path: Path) -> None:
    """Neither as a part, whatever its length, nor as the manifest is anything else opened, or waited for."""
    folder = tmp_path / "dev"
    manifest = forge(folder, TABLE, TYPES)
    (file,) = manifest.entities[0].files
    changed = msgspec.structs.replace(manifest.entities[0], files=(msgspec.structs.replace(file, bytes=0),))
    write_manifest(folder, changed)
    NO_FILES[case](folder / "things.parquet")
    snapshot = open_snapshot(tmp_path, "dev")
    (finding,) = verify_files(snapshot, rows=True)
    assert finding.path == "things.parquet"
    assert finding.problem.startswith("cannot be read")
    with pytest.raises(SnapshotError):
        snapshot.first_rows(snapshot.manifest.entities[0], 1)
    NO_FILES[case](folder / FILE_NAME)
    with pytest.raises(ManifestError):
        open_snapshot(tmp_path, "dev")


def test_a_folder_of_parts_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    """Nor is it taken for a part of the snapshot: it is named as a file that does not belong there."""
    folder = tmp_path / "dev"
    manifest = forge(folder, TABLE, TYPES)
    (file,) = manifest.entities[0].files
    inside = msgspec.structs.replace(file, path="things/part-00000.parquet")
    write_manifest(folder, msgspec.structs.replace(manifest.entities[0], files=(inside,)))
    (tmp_path / "elsewhere").mkdir()
    (folder / "things.parquet").rename(tmp_path / "elsewhere/part-00000.parquet")
    (folder / "things").symlink_to(tmp_path / "elsewhere")
    findings = verify_files(open_snapshot(tmp_path, "dev"))
    assert [finding.path for finding in findings] == ["things/part-00000.parquet", "things"]


def test_no_more_is_read_than_the_manifest_says(tmp_path: Path) -> None:
    """A file of another length is not read at all."""
    forge(tmp_path / "dev", TABLE, TYPES)
    os.truncate(tmp_path / "dev/things.parquet", 1 << 40)
    (finding,) = verify_files(open_snapshot(tmp_path, "dev"))
    assert "has 1099511627776 bytes" in finding.problem


ALTERED: dict[str, Callable[[Path], object]] = {
    **NO_FILES,
    "other bytes": lambda path: path.write_bytes(b"DROP TABLE t;\n"),
    "more bytes": lambda path: path.write_bytes(path.read_bytes() + b"DROP TABLE t;\n"),
    "a terabyte": lambda path: os.truncate(path, 1 << 40),
    "missing": Path.unlink,
    "a pointer": lambda path: path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"),
}


@pytest.mark.parametrize("case", ALTERED)
def test_a_schema_that_was_altered_is_found_and_not_read(case: str, tmp_path: Path) -> None:
    """It is SQL that a load would run."""
    manifest = forge_capture(tmp_path / "dev", TABLE, TYPES, b"CREATE t (id);")
    assert manifest.schema_file
    snapshot = open_snapshot(tmp_path, "dev")
    assert verify_files(snapshot) == []
    assert snapshot.read_schema(manifest.schema_file) == b"CREATE t (id);"
    ALTERED[case](tmp_path / "dev/schema.sql")
    (finding,) = verify_files(snapshot)
    assert (finding.entity, finding.path) == (None, "schema.sql")
    with pytest.raises(SnapshotError):
        snapshot.read_schema(manifest.schema_file)


def test_a_manifest_of_another_folder_is_refused(tmp_path: Path) -> None:
    """Its name says where it belongs."""
    forge(tmp_path / "prod", TABLE, TYPES)
    (tmp_path / "prod").rename(tmp_path / "dev")
    with pytest.raises(ManifestError) as caught:
        open_snapshot(tmp_path, "dev")
    assert caught.value.observed == "name 'prod'"


THINGS = """
@entity(key="id", columns={"id": "bigint"})
def things(rows):
    return pl.DataFrame({"id": rows.key()})
"""


@pytest.mark.parametrize("name", [".dev.partial", ".dev.replaced", "dev"])
@pytest.mark.parametrize("before", [True, False])
def test_generating_touches_nothing_that_a_link_leads_to(name: str, before: bool, tmp_path: Path) -> None:  # noqa: FBT001
    """Links in the place of our folders are removed, or, in the place of the snapshot, refused; again and again."""
    project = write_project(tmp_path / "project", THINGS)
    request = Request("dev", 1, 5)
    if before:
        generate_snapshot(project, request)
    precious = tmp_path / "precious"
    (precious / "sub").mkdir(parents=True)
    (precious / "file").touch()
    link = project.snapshots.folder / name
    if before and name == "dev":
        link.rename(precious / "dev")
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(precious / "dev" if before and name == "dev" else precious)
    for _ in range(2):
        if name == "dev":
            with pytest.raises(SnapshotError, match="taken"):
                generate_snapshot(project, request)
            assert link.is_symlink()
        else:
            generate_snapshot(project, request)
            assert os.listdir(project.snapshots.folder) == ["dev"]  # noqa: PTH208 - names
    assert {path.name for path in precious.iterdir()} - {"dev"} == {"sub", "file"}
    if before:
        # A link is good enough to read from.
        assert open_snapshot(project.snapshots, "dev").manifest.rows == 5


def test_a_folder_that_is_no_snapshot_is_not_replaced(tmp_path: Path) -> None:
    """Somebody's own folder or file with the name of a snapshot; an empty folder is no loss."""
    project = write_project(tmp_path / "project", THINGS)
    own = project.snapshots.folder / "dev"
    own.mkdir(parents=True)
    (own / "mine").touch()
    with pytest.raises(SnapshotError, match="taken"):
        generate_snapshot(project, Request("dev", 1, 5))
    (own / "mine").rename(own.with_name("file"))
    generate_snapshot(project, Request("dev", 1, 5))
    with pytest.raises(SnapshotError, match="taken"):
        generate_snapshot(project, Request("file", 1, 5))


def test_a_check_notices_a_damaged_file(tmp_path: Path) -> None:
    """Although the manifest beside it is that of the same rows."""
    project = write_project(tmp_path / "project", THINGS)
    generate_snapshot(project, Request("dev", 1, 5))
    assert check_snapshot(project, Request("dev", 1, 5)).same_rows
    with (project.snapshots.folder / "dev/things.parquet").open("ab") as file:
        file.write(b"more")
    report = check_snapshot(project, Request("dev", 1, 5))
    assert not report.same_rows
    assert report.different[0].startswith("things.parquet: has ")


# ── Sizes ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def texts(count: int, size: int, *, dictionary: bool) -> pa.Table:
    """Equal texts, each stored in the file or all as one value of a dictionary."""
    values = pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, "i4")), pa.array(["a" * size]))
    return pa.table({"id": pa.array(range(count), pa.int64()), "x": values if dictionary else values.cast(pa.string())})


def lists(count: int, size: int) -> pa.Table:
    """Lists of zeros."""
    offsets = pa.array(np.arange(count + 1, dtype="i4") * size)
    zeros = pa.array(np.zeros(count * size, "i2"))
    return pa.table({"id": pa.array(range(count), pa.int64()), "x": pa.ListArray.from_arrays(offsets, zeros)})


# By dictionary, by pages whose sizes the footer lies about, by the number of values; the last one is within the limit,
# and is read piece by piece. Each with how often its rows are in the file.
BOMBS: dict[str, tuple[Callable[[], pa.Table], int, str]] = {
    "dictionary": (lambda: texts(8_000, 500_000, dictionary=True), 1, "text"),
    "lying": (lambda: texts(50, 1_000_000, dictionary=False), 22, "text"),
    "lists": (lambda: lists(10, 2_700_000), 10, "smallint[]"),
    "large": (lambda: texts(2_000, 200_000, dictionary=True), 1, "text"),
}

PEAK = """
import json, resource, sys
from pathlib import Path
from snapseed import open_snapshot
from snapseed.errors import SnapshotError
from snapseed.verify.files import verify_files
found = {}
for name in sys.argv[2:]:
    snapshot = open_snapshot(Path(sys.argv[1]), name)
    problems = [finding.problem for finding in verify_files(snapshot, rows=True)]
    try:
        snapshot.first_rows(snapshot.manifest.entities[0], 1)
    except SnapshotError as exc:
        problems.append(exc.observed)
    found[name] = problems
print(json.dumps([found, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024]))
"""

FORGE = """
import sys
from pathlib import Path
from tests.snapshot.test_untrusted import BOMBS, forge_bomb
for name in sys.argv[2:]:
    forge_bomb(Path(sys.argv[1]) / name, name)
"""


def varint(number: int, length: int) -> bytes:
    """A positive number as Thrift's compact protocol has it, in so many bytes."""
    digits = [(number << 1 >> 7 * place) & 127 | 128 for place in range(length)]
    return bytes([*digits[:-1], digits[-1] & 127])


def forge_bomb(folder: Path, name: str) -> Manifest:
    """Write the bomb, with a manifest whose fingerprint does not matter: nothing may be decoded to compute it."""
    make, times, kind = BOMBS[name]
    table = make()
    folder.mkdir(parents=True)
    path = folder / "things.parquet"
    # The same memory, again and again.
    repeated = pa.Table.from_batches(table.to_batches() * times)
    pq.write_table(
        repeated, path, compression="zstd", row_group_size=8_192, use_dictionary=times == 1, store_schema=False
    )
    if name == "lying":
        metadata = pq.read_metadata(path).row_group(0)
        data = path.read_bytes()
        start = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
        footer = data[start:]
        for number in (metadata.column(1).total_uncompressed_size, metadata.total_byte_size):
            true = varint(number, ((number << 1).bit_length() + 6) // 7)
            assert true in footer
            footer = footer.replace(true, varint(1_000, len(true)))
        path.write_bytes(data[:start] + footer)
    entity = described(folder, table.slice(0, 1), {"id": "bigint", "x": kind})
    rows = len(table) * times
    file = msgspec.structs.replace(
        entity.files[0], rows=rows, chunks=(msgspec.structs.replace(entity.chunks[0], rows=rows),)
    )
    return write_manifest(folder, msgspec.structs.replace(entity, rows=rows, files=(file,)))


def test_a_small_file_does_not_become_gigabytes_of_memory(tmp_path: Path) -> None:
    """Not by verifying its rows, nor by showing one of them; the footer is not believed."""
    for script in (FORGE, PEAK):
        command = [sys.executable, "-c", script, str(tmp_path), *BOMBS]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    problems, megabytes = json.loads(done.stdout)
    for name, found in problems.items():
        size = (tmp_path / name / "things.parquet").stat().st_size
        assert size < 10**6
        if name == "large":
            assert len(found) == 1, (name, found)
            assert "fingerprint" in found[0]
        else:
            assert len(found) == 2, (name, found)
            assert all("more than 1,074 MB of memory" in problem for problem in found), (name, found)
    # Without limits it is 4 GB.
    assert megabytes < 700


def test_rows_that_nobody_could_read_are_not_written(tmp_path: Path) -> None:
    """They are refused when the snapshot is finished, and the one before stays."""
    before = forge(tmp_path / "dev", TABLE, TYPES)
    made = forge_bomb(tmp_path / "bomb", "dictionary")
    with store.replacing(Store(tmp_path), "dev") as staging:
        (tmp_path / "bomb/things.parquet").rename(staging.folder / "things.parquet")
        with pytest.raises(SnapshotError, match="too large"):
            staging.put(made.entities[0].files[0])
    assert open_snapshot(tmp_path, "dev").manifest == before


# ── What is in the files ─────────────────────────────────────────────────────────────────────────────────────────────


def _bad_utf8(values: pa.Array) -> pa.Array:
    buffers = values.buffers()
    return pa.Array.from_buffers(pa.string(), len(values), [buffers[0], buffers[1], pa.py_buffer(b"\xff\xfe")])


OTHER_FILES: dict[str, tuple[pa.Table, Mapping[str, str], str]] = {
    "a column less": (TABLE.select(["id"]), TYPES, "no such column"),
    "a column of another type": (TABLE.set_column(1, "note", pa.array([1, 2, 3])), TYPES, "expected string"),
    "a text that is not UTF-8": (TABLE.set_column(1, "note", _bad_utf8(TABLE["note"].chunk(0))), TYPES, "UTF8"),
    "more rows": (pa.concat_tables([TABLE, TABLE]), TYPES, "chunks of 6 rows, expected 3"),
    "no rows": (TABLE.slice(0, 0), TYPES, "expected 3"),
    "other rows": (TABLE.set_column(1, "note", pa.array(["a", None, "c"])), TYPES, "fingerprint"),
    "rows in another order": (TABLE.take([2, 1, 0]), TYPES, "begins with the key 3, expected 1"),
}


@pytest.mark.parametrize("case", OTHER_FILES)
def test_verifying_rows_names_what_is_in_a_file(case: str, tmp_path: Path) -> None:
    """Although the SHA-256 of the file is that of the manifest: entity, file, chunk and difference."""
    table, types, words = OTHER_FILES[case]
    folder = tmp_path / "dev"
    forge(folder, TABLE, TYPES)
    expected = described(folder, TABLE, types)
    write_file(folder / "things.parquet", table)
    data = described(folder, TABLE, types).files[0]
    file = msgspec.structs.replace(expected.files[0], sha256=data.sha256, bytes=data.bytes)
    write_manifest(folder, msgspec.structs.replace(expected, files=(file,)))
    snapshot = open_snapshot(tmp_path, "dev")
    assert verify_files(snapshot) == []
    (finding,) = verify_files(snapshot, rows=True)
    assert (finding.entity, finding.path) == ("things", "things.parquet")
    assert words in finding.problem
    if case not in {"other rows", "rows in another order"}:
        with pytest.raises(SnapshotError) as caught:
            snapshot.first_rows(snapshot.manifest.entities[0], 5)
        assert (caught.value.where or "").endswith("things.parquet")
        assert caught.value.next_step


def test_verifying_rows_of_a_snapshot_finds_nothing(tmp_path: Path) -> None:
    """With dates and moments at infinity, which are shown by that name."""
    moments = pa.array([2**63 - 1, -(2**63), 0], pa.int64()).cast(pa.timestamp("us", "UTC"))
    days = pa.array([2**31 - 1, -(2**31), 0], pa.int32()).cast(pa.date32())
    table = TABLE.append_column("seen", moments).append_column("day", days)
    forge(tmp_path / "dev", table, {**TYPES, "seen": "timestamptz", "day": "date"})
    snapshot = open_snapshot(tmp_path, "dev")
    assert verify_files(snapshot, rows=True) == []
    rows = snapshot.first_rows(snapshot.manifest.entities[0], 9)
    assert [(row["seen"], row["day"]) for row in rows[:2]] == [("infinity",) * 2, ("-infinity",) * 2]
    assert len(rows) == 3


def test_damaged_and_forged_files_end_in_an_error_of_ours() -> None:
    """Forty of the mutations of `make fuzz-files`, others in each run with fresh examples."""
    first = 0 if os.environ.get("SNAPSEED_TEST_EXAMPLES") != "fresh" else random.SystemRandom().randrange(2**40)
    told: list[str] = []
    results = fuzz(first, 40, 1, told.append)
    assert told == []
    assert results.total() == 40
    assert findings(results) == 0
