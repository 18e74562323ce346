"""Generating into a bucket: a run that was cut short goes on, and very many files are in lists."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from snapseed import Project, generate_snapshot, open_snapshot
from snapseed.config.store import Store, read_store
from snapseed.errors import GeneratorError, ManifestError, SnapshotError
from snapseed.generate.request import Request
from snapseed.snapshot.manifest import Manifest
from snapseed.snapshot.manifest_checks import with_lists
from snapseed.snapshot.store import Snapshot
from snapseed.snapshot.store_folder import Folder
from snapseed.verify.files import verify_files
from tests.generate.making import write_project

# Notes which parts are made, and fails at the fifth until there is a file `allowed`.
_NOTED = """
from pathlib import Path

@entity(key="id", columns={"id": "bigint"})
def things(rows):
    folder = Path(FOLDER)
    part = int(rows.roots[0]) // 10
    if part == 5 and not (folder / "allowed").exists():
        raise ValueError("not yet")
    with (folder / "made").open("a") as file:
        file.write(f"{part} ")
    return pl.DataFrame({"id": rows.key()})
"""


@dataclass(frozen=True)
class Run:
    """A project of 7 parts, too few to estimate its size first, a bucket for it, and which parts are made."""

    project: Project
    store: Store
    folder: Path

    def generate(self, **changes: object) -> list[str]:
        """Generate, and say which parts were made."""
        (self.folder / "made").write_text("")
        request = replace(Request("dev", 42, 70, alone=9e9, store=self.store), **changes)  # type: ignore[arg-type]
        generate_snapshot(self.project, request)
        return (self.folder / "made").read_text().split()

    def opened(self) -> Snapshot:
        """The snapshot that was made."""
        return open_snapshot(self.store, "dev")


@pytest.fixture
def run(endpoint: int, tmp_path: Path) -> Run:
    """A project whose run was cut short at its fifth part, and now may end."""
    url = f"s3://tests/{tmp_path.name}?endpoint=http://127.0.0.1:{endpoint}"
    project = write_project(tmp_path / "p", _NOTED.replace("FOLDER", repr(str(tmp_path))), part_rows=10)
    run = Run(project, read_store(url, tmp_path, where="test"), tmp_path)
    with pytest.raises(GeneratorError):
        run.generate()
    (tmp_path / "allowed").touch()
    return run


def test_a_run_goes_on(run: Run) -> None:
    """Only the parts that are missing are made, and the snapshot is that of a run that was never cut short."""
    assert run.generate() == ["5", "6"]
    there = run.opened()
    assert verify_files(there) == []
    assert run.generate(store=Store(run.folder / "here")) == [str(part) for part in range(7)]
    assert open_snapshot(run.folder / "here", "dev").manifest.identity == there.manifest.identity


@pytest.mark.parametrize("changes", [{"resume": False}, {"seed": 7}, {"chunk_rows": 5}], ids=str)
def test_a_run_of_another_kind_makes_all(run: Run, changes: dict[str, object]) -> None:
    """Parts of another seed are no parts of it; nor are any if it is told so."""
    assert len(run.generate(**changes)) == 7


def test_a_part_that_is_gone_is_made_again(run: Run) -> None:
    """A record alone is not enough: its file must be there."""
    from snapseed.snapshot.store_bucket import Prefix

    prefix = Prefix(run.store, "dev")
    prefix.remove([meta["path"] for meta in prefix.listed() if meta["path"].startswith("things/part-00002")])
    assert run.generate() == ["2", "5", "6"]


def test_very_many_files_are_in_lists(run: Run) -> None:
    """The manifest names the lists, and readers find the same files as in a manifest that names them itself."""
    run.generate(most_files=3)
    listed = run.opened()
    here = Store(run.folder / "here")
    run.generate(store=here)
    plain = open_snapshot(here, "dev")
    assert (listed.manifest.format, plain.manifest.format) == (4, 1)
    assert [each.files for each in listed.manifest.lists] == [3, 3, 1]
    assert verify_files(listed) == []
    assert _files(listed.manifest) == _files(plain.manifest)
    assert listed.manifest.entities[0].bytes == plain.manifest.entities[0].bytes
    assert listed.manifest.identity != plain.manifest.identity
    # The next snapshot removes the lists and the files of this one.
    run.generate(seed=7)
    assert verify_files(run.opened()) == []


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """A snapshot in a folder whose 7 files are in three lists."""
    folder = tmp_path_factory.mktemp("listed")
    things = (
        '@entity(key="id", columns={"id": "bigint"})\ndef things(rows):\n    return pl.DataFrame({"id": rows.key()})'
    )
    project = write_project(folder, things, part_rows=10)
    generate_snapshot(project, Request("dev", 42, 70, alone=9e9, most_files=3))
    return open_snapshot(project.snapshots, "dev")


def test_lists_are_read_when_they_are_asked_for(listed: Snapshot) -> None:
    """Their number is known without, and each is read again: memory does not grow with them."""
    (entity,) = listed.manifest.entities
    names = [f"things/part-{number:05d}.parquet" for number in range(7)]
    assert len(entity.files) == 7
    assert [file.path for file in entity.files] == names == [file.path for file in entity.files]
    assert entity.files[-1].path == names[-1]
    assert isinstance(listed.place, Folder)
    (listed.place.path / "things/files-00002.json").rename(listed.place.path / "aside")
    assert open_snapshot(listed.place.path.parent, "dev").manifest.identity == listed.manifest.identity
    with pytest.raises(SnapshotError):
        list(entity.files)
    (listed.place.path / "aside").rename(listed.place.path / "things/files-00002.json")


@pytest.mark.parametrize("altered", [b"[]", b"["])
def test_an_altered_list_is_found(listed: Snapshot, altered: bytes) -> None:
    """Also one that is valid: its SHA-256 is in the manifest."""
    with pytest.raises(ManifestError):
        list(with_lists(listed.manifest, lambda _: altered, where="test").entities[0].files)


@pytest.mark.parametrize(
    "forge",
    [
        lambda files: files[:-1],
        lambda files: [files[0], *files],
        lambda files: files[::-1],
        lambda files: [{**each, "path": each["path"].replace("things", "others")} for each in files],
        lambda files: [{**each, "rows": 9} for each in files],
        lambda files: [{**each, "bytes": 9} for each in files],
        lambda files: [{**each, "chunks": [{**each["chunks"][0], "first_key": [1, 2]}]} for each in files],
        lambda files: [{**each, "chunks": [{**each["chunks"][0], "fingerprint": "0" * 16}]} for each in files],
    ],
    ids=["missing", "twice", "order", "path", "rows", "bytes", "key", "fingerprint"],
)
def test_a_forged_list_is_found(listed: Snapshot, forge: Callable[[list[Any]], list[Any]]) -> None:
    """One whose SHA-256 the manifest has: nobody gets a file of it, or all of them without an error."""
    (entity,) = listed.manifest.entities
    assert entity.lists
    place = listed.place
    data = {
        each.path: msgspec.json.encode(list(entity.files[3 * n : 3 * n + 3])) for n, each in enumerate(entity.lists)
    }
    path = entity.lists[1].path
    data[path] = msgspec.json.encode(forge(msgspec.json.decode(data[path])))
    lists = tuple(
        msgspec.structs.replace(each, sha256=hashlib.sha256(data[each.path]).hexdigest()) for each in entity.lists
    )
    forged = msgspec.structs.replace(entity, files=(), lists=lists)
    manifest = msgspec.structs.replace(listed.manifest, entities=(forged,))
    with pytest.raises(ManifestError):
        list(with_lists(manifest, lambda each: data[each.path], where=str(place)).entities[0].files)


def _files(manifest: Manifest) -> object:
    return [(entity.rows, entity.fingerprint, tuple(entity.files)) for entity in manifest.entities]
