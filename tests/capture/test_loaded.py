"""What a load has brought is captured as what it was, whatever is between us and the server."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

import pytest

from snapseed import find_project, open_snapshot
from snapseed.capture.request import CaptureRequest
from snapseed.errors import ConfigurationError, SnapshotError
from snapseed.snapshot.manifest import Manifest
from tests.capture.conftest import Captured, filled, project_in, rows_of
from tests.projects.own_pooler import needs_pgbouncer, own_pooler
from tests.projects.state import schema_of
from tests.snapshot.test_store import IS_ROOT, mount, unmount

ROWS = CaptureRequest(schema=False, unmasked=True)


def fingerprints(manifest: Manifest) -> dict[str, tuple[int, str]]:
    """Rows and fingerprint by table."""
    return {entity.table: (entity.rows, entity.fingerprint) for entity in manifest.entities}


def test_every_type_comes_back(
    kinds_once: str, generated_once: Callable[[str], Path], database: str, tmp_path: Path
) -> None:
    """A column of each type that a snapshot has a form for, NULLs and extreme values included."""
    project = project_in(tmp_path, kinds_once)
    captured = project.capture(ROWS).manifest
    assert project.capture(CaptureRequest(schema=False, unmasked=True, jobs=3)).manifest == captured
    project.load(filled(database, schema_of(kinds_once)))
    assert rows_of(database) == rows_of(kinds_once)
    loaded = open_snapshot(find_project(generated_once("kinds")).snapshots, "dev").manifest
    same = {table for table in fingerprints(loaded) if fingerprints(loaded)[table] == fingerprints(captured)[table]}
    # This table has its columns in another order than its entity.
    assert fingerprints(loaded).keys() - same == {"Kinds of things"}


def test_keys_are_those_of_the_generators(loaded_once: str, small_chunks: Path, tmp_path: Path) -> None:
    """A shop: entities, keys and fingerprints are the same."""
    loaded = open_snapshot(find_project(small_chunks).snapshots, "dev").manifest
    captured = project_in(tmp_path, loaded_once).capture(ROWS).manifest
    assert fingerprints(captured) == fingerprints(loaded)
    assert {entity.table: entity.key for entity in captured.entities} == {
        entity.table: entity.key for entity in loaded.entities
    }


@needs_pgbouncer
def test_one_connection_through_a_pooler_is_enough(loaded_once: str, tmp_path: Path) -> None:
    """Several would have to be sessions of one server, which a pooler does not promise."""
    alone = project_in(tmp_path, loaded_once).capture(ROWS).manifest
    with own_pooler(loaded_once) as url:
        pooled = Captured(tmp_path, url)
        assert pooled.capture(ROWS).manifest == alone
        with pytest.raises(ConfigurationError):
            pooled.capture(CaptureRequest(schema=False, unmasked=True, jobs=2))


@pytest.mark.skipif(not IS_ROOT, reason="mounts a file system")
def test_a_full_disk_leaves_the_old_snapshot(database: str, tmp_path: Path) -> None:
    """And says so; nothing of the new one is left."""
    small = tmp_path / "snapshots"
    small.mkdir()
    mount("-t", "tmpfs", "-o", "size=100k", "tmpfs", str(small))
    try:
        project = project_in(tmp_path, filled(database, "CREATE TABLE small(id int); INSERT INTO small VALUES (1)"))
        before = project.capture(ROWS).manifest
        filled(database, "CREATE TABLE large AS SELECT g AS id, md5(g::text) AS v FROM generate_series(1, 9000) g")
        for jobs in (1, 3):
            with pytest.raises(SnapshotError, match="no space left"):
                project.capture(CaptureRequest(schema=False, unmasked=True, jobs=jobs))
            assert open_snapshot(project.project.snapshots, "dev").manifest == before
            assert [path.name for path in small.iterdir()] == ["dev"]
    finally:
        # A file that could not even be begun is closed with the last reference to its writer.
        gc.collect()
        unmount(small)
