"""Every kind of damage to the files of a snapshot is found, down to the damaged chunk."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from snapseed import SnapseedError, find_project, open_snapshot, verify_snapshot
from snapseed.errors import SnapshotError
from snapseed.events import Advanced, Event
from snapseed.snapshot.manifest import PartFile
from snapseed.snapshot.store import Snapshot
from snapseed.snapshot.types import parse_type
from snapseed.verify.files import FileFinding, require_none, verify_files
from tests.conftest import Sandbox, copied
from tests.forged import forge

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


@pytest.fixture
def snapshot(small_chunks: Path, tmp_path: Path) -> Snapshot:
    """A snapshot of the shop whose larger parts have several chunks."""
    return open_snapshot(find_project(copied(small_chunks, tmp_path)).snapshots, "dev")


@pytest.fixture
def part(snapshot: Snapshot) -> PartFile:
    """The second part of the customers: three chunks."""
    entity = snapshot.manifest.entity("customers")
    assert entity is not None
    file = entity.files[1]
    assert len(file.chunks) == 3
    return file


def only_finding(snapshot: Snapshot) -> FileFinding:
    """The only finding."""
    findings = verify_files(snapshot)
    assert len(findings) == 1
    with pytest.raises(SnapshotError, match="not what its manifest says") as caught:
        require_none(verify_files(snapshot), snapshot)
    assert str(findings[0]) in str(caught.value)
    return findings[0]


def test_a_snapshot_that_nobody_touched_has_no_findings(snapshot: Snapshot) -> None:
    """The listener hears of every file, up to the bytes of all of them."""
    heard: list[Event] = []
    assert verify_files(snapshot, listener=heard.append) == []
    size = snapshot.manifest.bytes
    assert len(heard) == sum(len(entity.files) for entity in snapshot.manifest.entities)
    assert heard[-1] == Advanced("files", size, size, unit="bytes")


def test_every_flipped_bit_is_found(snapshot: Snapshot, part: PartFile) -> None:
    """One bit at 20 places spread over a part, header and footer included."""
    path = Path(snapshot.path(part))
    data = path.read_bytes()
    bits = random.Random(1)  # noqa: S311 - the same places every time
    for place in [0, *(len(data) * number // 19 for number in range(1, 19)), len(data) - 1]:
        damaged = bytearray(data)
        damaged[place] ^= 1 << bits.randrange(8)
        path.write_bytes(damaged)
        finding = only_finding(snapshot)
        assert (finding.entity, finding.path) == ("customers", part.path)
        assert "altered: SHA-256" in finding.problem
        assert finding.chunks in {(), (0,), (1,), (2,)}


@pytest.mark.parametrize("number", [0, 1, 2])
def test_damaged_data_is_named_by_its_chunk(snapshot: Snapshot, part: PartFile, number: int) -> None:
    """A run of zeros in the data of a row group is found in that chunk only."""
    path = Path(snapshot.path(part))
    with pq.ParquetFile(path) as file:
        group = file.metadata.row_group(number)
        column = next(
            group.column(index) for index in range(group.num_columns) if group.column(index).path_in_schema == "name"
        )
        end = column.data_page_offset + column.total_compressed_size // 2
    data = bytearray(path.read_bytes())
    data[end - 40 : end] = bytes(40)
    path.write_bytes(data)
    finding = only_finding(snapshot)
    assert finding.chunks == (number,)
    assert f"{part.path} (chunk {number})" in str(finding)


def test_rows_that_changed_in_a_readable_file_are_named_by_their_chunk(snapshot: Snapshot, part: PartFile) -> None:
    """A file that was rewritten with one other value is found, although it is a valid file."""
    path = Path(snapshot.path(part))
    with pq.ParquetFile(path) as file:
        groups = [file.read_row_group(number) for number in range(file.num_row_groups)]
        names = groups[1].column("name").to_pylist()
        names[7] = "somebody else"
        index = groups[1].column_names.index("name")
        groups[1] = groups[1].set_column(index, groups[1].schema.field("name"), [names])
        with pq.ParquetWriter(path.with_suffix(".new"), file.schema_arrow) as writer:
            for group in groups:
                writer.write_table(group)
    path.with_suffix(".new").rename(path)
    assert only_finding(snapshot).chunks == (1,)


def test_a_truncated_file_says_how_much_is_there(snapshot: Snapshot, part: PartFile) -> None:
    """The length is compared before the hash: the finding has both sizes."""
    path = Path(snapshot.path(part))
    path.write_bytes(path.read_bytes()[:-1])
    assert only_finding(snapshot).problem == f"has {part.bytes - 1} bytes, expected {part.bytes}: truncated or altered"


def test_a_missing_file_is_found(snapshot: Snapshot, part: PartFile) -> None:
    """A part does not exist."""
    Path(snapshot.path(part)).unlink()
    assert str(only_finding(snapshot)) == f"{part.path}: missing"


def test_a_git_lfs_pointer_is_recognized(snapshot: Snapshot, part: PartFile) -> None:
    """The finding says so, with the command that fixes it."""
    Path(snapshot.path(part)).write_bytes(POINTER)
    assert "git lfs pull" in only_finding(snapshot).problem


def test_an_extra_file_is_found(snapshot: Snapshot) -> None:
    """A file that the manifest does not name, in the folder or below it."""
    (Path(str(snapshot.place)) / "orders" / "part-99999.parquet").write_bytes(b"PAR1")
    assert str(only_finding(snapshot)) == "orders/part-99999.parquet: not named by the manifest"


def test_a_part_that_was_swapped_for_another_is_found(snapshot: Snapshot, part: PartFile) -> None:
    """A valid file in the place of another one is not what the manifest says."""
    entity = snapshot.manifest.entity("customers")
    assert entity is not None
    Path(snapshot.path(part)).write_bytes(Path(snapshot.path(entity.files[0])).read_bytes())
    assert only_finding(snapshot).path == part.path


def test_only_looks_at_the_files_of_the_named_entities(snapshot: Snapshot, part: PartFile) -> None:
    """Damage elsewhere is not found."""
    Path(snapshot.path(part)).unlink()
    assert verify_files(snapshot, only=["orders", "notes"]) == []
    assert len(verify_files(snapshot, only=["customers"])) == 1


def test_several_damages_are_all_listed(snapshot: Snapshot, part: PartFile) -> None:
    """One run names every damaged file."""
    Path(snapshot.path(part)).unlink()
    (Path(str(snapshot.place)) / "stray").write_text("")
    with pytest.raises(SnapseedError) as caught:
        require_none(verify_files(snapshot), snapshot)
    assert part.path in str(caught.value)
    assert "stray" in str(caught.value)


def test_offline_verification_connects_to_nothing(shop: Sandbox) -> None:
    """With `offline`, the database does not have to be reachable, and a finding still makes the report disagree."""
    environment = shop.environment(database="postgresql://127.0.0.1:1/nowhere")
    report = verify_snapshot(shop.project, environment, offline=True)
    assert (report.agrees, report.target) == (True, None)
    (shop.project.snapshots.folder / "dev" / "stray").write_text("")
    assert not verify_snapshot(shop.project, environment, offline=True).agrees


@pytest.mark.parametrize(
    "kind", ["bigint", "uuid", "text", "char(3)", "bytea", "numeric(9,2)", "boolean", "date", "real"]
)
def test_a_null_in_a_key_is_a_finding(tmp_path: Path, kind: str) -> None:
    """Whatever the manifest says that the key is."""
    forge(tmp_path / "forged", pa.table({"id": pa.nulls(1, parse_type(kind).arrow)}), {"id": kind})
    (finding,) = verify_files(open_snapshot(tmp_path, "forged"), rows=True)
    assert (finding.entity, finding.chunks) == ("things", (0,))
