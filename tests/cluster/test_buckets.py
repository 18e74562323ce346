"""Generating into a bucket: a run that was cut short goes on, and very many files are in lists."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import pytest

from snapseed import Project, generate_snapshot, open_snapshot
from snapseed.config.store import Store, read_store
from snapseed.errors import GeneratorError, ManifestError
from snapseed.generate.request import Request
from snapseed.snapshot.manifest import Manifest
from snapseed.snapshot.store import Snapshot
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
    prefix.remove([key for key in prefix.listed() if key.startswith("things/part-00002")])
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


def test_an_altered_list_is_found(run: Run) -> None:
    """Also one that is valid: its SHA-256 is in the manifest."""
    here = Store(run.folder / "here")
    run.generate(store=here, most_files=3)
    path = run.folder / "here/dev/things/files-00001.json"
    files = msgspec.json.decode(path.read_bytes())
    for altered in (msgspec.json.encode(files[:-1]), b"[", b"[]"):
        path.write_bytes(altered)
        with pytest.raises(ManifestError):
            open_snapshot(here, "dev")


def _files(manifest: Manifest) -> object:
    return [(entity.rows, entity.fingerprint, entity.files) for entity in manifest.entities]
