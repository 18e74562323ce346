"""Branches that changed different entities merge into a snapshot that verifies; for all others, git has a conflict."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapseed.errors import ManifestError
from snapseed.git.drivers import Merge, merge
from snapseed.snapshot.manifest import CaptureRecord, Column, EntityRecord, Manifest
from snapseed.snapshot.store import open_snapshot
from snapseed.verify.files import verify_files
from tests.examples import examples
from tests.forged import write_manifest
from tests.git.conftest import Parts, Repository, record_of

BASE = {"users": [["Ada", "Bruno"]], "orders": [["one"], ["two"]]}
# What this side and the other change: None removes the entity. Then the entities of the merged snapshot.
MERGES: dict[str, tuple[dict[str, Parts | None], dict[str, Parts | None]]] = {
    "a part more": ({"users": [["Chloé"]]}, {"orders": [["one"], ["two"], ["three"]]}),
    "a part less, a new entity each": ({"orders": [["one"]], "cities": [["Lagos"]]}, {"towns": [["Lyon"]]}),
    "one gone, one changed": ({"orders": None}, {"users": [["Lyon"]]}),
    "the same change": ({"users": [["Chloé"]], "cities": [["Lagos"]]}, {"users": [["Chloé"]]}),
}
CONFLICT: tuple[dict[str, Parts | None], ...] = ({"users": [["Chloé"]]}, {"users": [["Emeka"]], "orders": [["three"]]})


def changed(change: dict[str, Parts | None]) -> dict[str, Parts]:
    """The entities after a change."""
    return {name: parts for name, parts in {**BASE, **change}.items() if parts is not None}


def merged(repository: Repository, ours: dict[str, Parts | None], theirs: dict[str, Parts | None], code: int) -> str:
    """Let git merge two branches; what it and the driver say."""
    repository.git("checkout", "--quiet", "-b", "theirs")
    repository.write(**changed(theirs))
    repository.commit()
    repository.git("checkout", "--quiet", "main")
    repository.write(**changed(ours))
    repository.commit()
    done = repository.git("merge", "--no-edit", "theirs", code=code)
    return done.stdout + done.stderr


@pytest.mark.parametrize("name", MERGES)
def test_different_entities_merge(name: str, repository: Repository) -> None:
    """The merged snapshot has the entities of both, and its files are what its manifest says."""
    ours, theirs = MERGES[name]
    said = merged(repository, ours, theirs, 0)
    assert "snapseed generate test --check" in said
    snapshot = open_snapshot(repository.project / "snapshots", "ci")
    assert verify_files(snapshot, rows=True) == []
    folder = repository.root / "expected" / "ci"
    expected = {**changed(theirs), **changed(ours), **theirs, **{key: ours[key] for key in ours}}
    records = {key: record_of(folder, key, parts) for key, parts in expected.items() if parts is not None}
    assert {record.name: record for record in snapshot.manifest.entities} == records


def test_an_entity_that_both_changed_is_a_conflict(repository: Repository) -> None:
    """The manifest stays as it is on this side, and the message names the entity and the command."""
    ours, theirs = CONFLICT
    said = merged(repository, ours, theirs, 1)
    assert "both sides changed users" in said
    assert "snapseed generate test" in said
    assert "UU " in repository.git("status", "--short", "--", "*manifest.json").stdout
    manifest = open_snapshot(repository.project / "snapshots", "ci").manifest
    assert manifest == repository.write(**changed(ours))


def test_without_snapseed_it_is_a_conflict(repository: Repository) -> None:
    """Git says that the program is not there, and leaves the manifest as it is on this side."""
    repository.git("config", "merge.snapseed.driver", "/nowhere/python merge %O %A %B %P")
    assert "/nowhere/python" in merged(repository, {"users": [["Chloé"]]}, {"orders": None}, 1)
    assert open_snapshot(repository.project / "snapshots", "ci").manifest.entity("users")


ENTITIES = st.dictionaries(st.sampled_from("abcd"), st.integers(0, 2))


def manifest_of(entities: dict[str, int]) -> Manifest:
    """A manifest of empty entities, each in a version that its table is named after."""
    columns = (Column("id", "bigint"),)
    records = [
        EntityRecord(name, None, f"{name}{version}", "id", columns, None, 0, "0" * 16, ())
        for name, version in entities.items()
    ]
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    return Manifest(
        name="ci",
        seed=1,
        scale=1,
        now=moment,
        part_rows=1,
        chunk_rows=1,
        pools={},
        libraries={},
        entities=tuple(records),
    )


@given(base=ENTITIES, ours=ENTITIES, theirs=ENTITIES)
@examples(200)
def test_each_entity_comes_from_the_side_that_changed_it(
    base: dict[str, int], ours: dict[str, int], theirs: dict[str, int]
) -> None:
    """Whatever is there, new or gone on any side: a conflict exactly where both made different changes."""
    found = merge(*map(manifest_of, (base, ours, theirs)))
    versions = {name: (base.get(name), ours.get(name), theirs.get(name)) for name in "abcd"}
    conflicts = {name for name, (old, mine, yours) in versions.items() if len({old, mine, yours}) == 3}
    conflicts |= {name for name, (old, mine, yours) in versions.items() if old not in {mine, yours} and mine != yours}
    assert set(found.conflicts) == conflicts
    expected = {name: yours if mine == old else mine for name, (old, mine, yours) in versions.items()}
    wanted = ours if conflicts else {name: version for name, version in expected.items() if version is not None}
    assert {each.name: int(each.table[1:]) for each in found.manifest.entities} == wanted


def test_what_the_snapshot_was_made_with_must_be_the_same(tmp_path: Path) -> None:
    """No entity of one seed goes with those of another, and a capture is of one moment."""
    folder = tmp_path / "ci"
    records = {name: record_of(folder, name, [[name]]) for name in "abc"}
    base = write_manifest(folder, records["a"])
    ours, theirs = (write_manifest(folder, records["a"], records[name]) for name in "bc")
    assert [each.name for each in merge(base, ours, theirs).manifest.entities] == ["a", "c", "b"]
    for name, value in {"seed": 7, "scale": 9, "part_rows": 10, "pools": {"words": "x"}}.items():
        sides = [msgspec.structs.replace(side, **{name: value}) for side in (base, theirs)]
        found = merge(base, ours, sides[1])
        expected = () if name == "pools" else (name,)
        assert found.conflicts == expected
    both = [msgspec.structs.replace(side, libraries={"pyarrow": text}) for side, text in ((ours, "1"), (theirs, "2"))]
    assert merge(base, *both) == Merge(both[0], conflicts=("pyarrow",))
    capture = CaptureRecord(schema=None, subset=False, masked=(), server=18)
    source = {"capture": capture, "seed": msgspec.UNSET, "scale": msgspec.UNSET, "now": msgspec.UNSET}
    assert merge(base, *(msgspec.structs.replace(side, **source) for side in (ours, theirs))).conflicts == ("capture",)


def test_what_does_not_fit_together_is_an_error(tmp_path: Path) -> None:
    """A child that one branch added to an entity that the other removed."""
    folder = tmp_path / "ci"
    a, b, c = (record_of(folder, name, [[name]]) for name in "abc")
    child = msgspec.structs.replace(c, parent="a")
    base, ours, theirs = (write_manifest(folder, *entities) for entities in ([a, b], [b], [a, b, child]))
    with pytest.raises(ManifestError):
        merge(base, ours, theirs)
