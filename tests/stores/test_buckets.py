"""A snapshot in a bucket is replaced as a whole or not at all, whatever the store and others do meanwhile."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pickle
import shutil
import tempfile
import uuid
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapseed import LoadRequest, find_project, generate_snapshot, load_snapshot, open_snapshot
from snapseed.config.store import Store, read_store
from snapseed.diff.compare import compare
from snapseed.diff.sides import find_side
from snapseed.errors import ConfigurationError, SnapshotError, StoreError
from snapseed.generate.request import Request
from snapseed.load.outcome import Outcome, report_of
from snapseed.load.request import LoadSettings
from snapseed.snapshot.store import Snapshot, prune_snapshot, replacing
from snapseed.snapshot.store_bucket import GRACE, Prefix
from snapseed.snapshot.store_copy import copy_snapshot
from snapseed.snapshot.store_stream import WholeReader
from snapseed.verify.database import verify_snapshot
from snapseed.verify.files import verify_files
from tests.conftest import Sandbox
from tests.generate.making import files_of
from tests.load.partitions.test_exchange import RANGES
from tests.load.partitions.test_faults import NEW, OLD, ROWS, STAGES, prepared
from tests.load.shapes import Shapes
from tests.stores.conftest import Stored
from tests.stores.endpoint import KEYS, Fault, FaultProxy


def generated(stored: Stored, scale: int) -> Snapshot:
    """Generate the snapshot `dev` in the store."""
    generate_snapshot(stored.project, Request("dev", stored.project.seed, scale, store=stored.store))
    return open_snapshot(stored.store, "dev")


def keys(stored: Stored) -> set[str]:
    """What is in the store."""
    return {meta["path"] for meta in Prefix(stored.store, "dev").listed()}


def test_a_snapshot_has_one_identity_wherever_it_is(stored: Stored) -> None:
    """Generated into a bucket or a folder. Other tools find all files of a table below its name."""
    made = generated(stored, 20)
    assert made.manifest == open_snapshot(stored.project.snapshots, "dev").manifest
    assert verify_files(made, rows=True) == []
    assert made.named_files().keys() == keys(stored)
    larger = generated(stored, 250)
    assert larger.named_files().keys() == keys(stored)
    assert sum(key.startswith("orders/part-0000") for key in keys(stored)) == 3


def test_one_entity_alone_keeps_the_files_of_the_others(stored: Stored) -> None:
    """They are in the bucket already."""
    before = generated(stored, 20)
    stored.proxy.seen.clear()
    generate_snapshot(stored.project, Request("dev", stored.project.seed, 20, ("notes",), store=stored.store))
    assert open_snapshot(stored.store, "dev").manifest == before.manifest
    put = [path.split("/dev/")[-1] for method, path, _ in stored.proxy.seen if method == "PUT"]
    assert [name[:6] for name in put if not name.startswith(".parts/")] == ["notes-", "manife"]


READ_FAULTS = {
    "answers 500": Fault("500", part="customers", times=3),
    "throttles": Fault("503", part="customers", times=3),
    "cuts the connection half-way": Fault("cut", part="customers", times=2),
    "is slow": Fault("slow", part="customers", times=100),
    "loses an answer": Fault("lost", part="customers"),
}


@pytest.mark.parametrize("fault", READ_FAULTS.values(), ids=READ_FAULTS)
def test_a_read_that_fails_is_tried_again(fault: Fault, stored: Stored) -> None:
    """All bytes are those of the manifest in the end."""
    made = generated(stored, 20)
    stored.proxy.faults.append(dataclasses.replace(fault))
    assert verify_files(made, rows=True) == []


def test_a_read_goes_on_where_it_was(stored: Stored) -> None:
    """The second request asks for what the first one did not deliver."""
    made = generated(stored, 20)
    file = made.manifest.entities[1].files[0]
    stored.proxy.faults.append(Fault("cut", part="customers"))
    stored.proxy.seen.clear()
    with made.place.open(file) as stream:
        stream.read()
    ranges = [asked.removeprefix("bytes=") for _, path, asked in stored.proxy.seen if "customers" in path]
    assert len(ranges) == 2
    assert int(ranges[1].split("-")[0]) == file.bytes // 2


WRITE_FAULTS = {
    "answers 500 to a part": Fault("500", "PUT", part="customers", times=2),
    "answers 500 to the manifest": Fault("500", "PUT", part="manifest", times=2),
    "loses the answer for a part": Fault("lost", "PUT", part="customers"),
    "loses the answer for the manifest": Fault("lost", "PUT", part="manifest"),
}


@pytest.mark.parametrize("fault", WRITE_FAULTS.values(), ids=WRITE_FAULTS)
def test_a_write_that_fails_is_tried_again(fault: Fault, stored: Stored) -> None:
    """Also if the store has done what it did not say."""
    generated(stored, 20)
    stored.proxy.faults.append(dataclasses.replace(fault))
    made = generated(stored, 30)
    assert made.manifest.scale == 30
    assert made.named_files().keys() == keys(stored)


def test_expired_credentials_say_so_and_show_nothing(stored: Stored) -> None:
    """The reason that the store gives, and neither key."""
    generated(stored, 20)
    stored.proxy.faults.append(Fault("expired", times=100))
    with pytest.raises(SnapshotError) as caught:
        open_snapshot(stored.store, "dev")
    assert str(caught.value.observed).startswith("ExpiredToken")
    assert not any(value in str(caught.value) for name, value in KEYS.items() if "KEY" in name)


def test_a_store_that_cannot_be_reached_may_be_there_again(stored: Stored) -> None:
    """So the exit code is that of a server that failed."""
    stored.proxy.faults.append(Fault("expired", times=0))
    away = read_store("s3://tests/x?endpoint=http://127.0.0.1:1", Path(), where="test")
    with pytest.raises(StoreError) as caught:
        Prefix(away, "dev").version()
    assert caught.value.exit_code == 4
    assert "127.0.0.1:1" in str(caught.value.observed)


WRITERS = {"a first snapshot": (None, 0), "one before": (20, 0), "a store without conditional writes": (20, 100)}


@pytest.mark.parametrize(("scale", "refused"), WRITERS.values(), ids=WRITERS)
def test_the_second_of_two_writers_loses_and_is_told_to_whom(stored: Stored, scale: int | None, refused: int) -> None:
    """The other one's snapshot is whole, whether there was one before or not."""
    if scale:
        generated(stored, scale)
    stored.proxy.faults.append(Fault("501", "PUT", part="manifest", times=refused))
    mine = open_snapshot(stored.project.snapshots, "dev")
    with replacing(stored.store, "dev") as staging:
        theirs = generated(stored, 30)
        for file in mine.manifest.files:
            target = staging.folder / file.path
            target.parent.mkdir(exist_ok=True)
            shutil.copy(mine.path(file), target)
            staging.put(file)
        with pytest.raises(SnapshotError, match="another process") as caught:
            staging.commit(mine.manifest)
    assert str(caught.value.observed).startswith(f"written by process {os.getpid()} on ")
    assert open_snapshot(stored.store, "dev").manifest == theirs.manifest
    assert verify_files(theirs) == []


def test_a_crash_leaves_the_old_snapshot_and_its_litter_is_cleared(stored: Stored) -> None:
    """By `prune`, or by the next run: once nobody can be writing any more, and never what the manifest names."""
    before = generated(stored, 20)
    stored.proxy.faults.append(Fault("expired", "PUT", part="manifest"))
    with pytest.raises(SnapshotError):
        generated(stored, 30)
    assert open_snapshot(stored.store, "dev").manifest == before.manifest
    with replacing(stored.store, "dev") as staging:
        staging.record("run", "task", b"{}")
        assert staging.recorded("run", "task") == b"{}"
    litter = keys(stored) - before.named_files().keys()
    assert ".parts/run/task" in litter
    young = prune_snapshot(stored.store, "dev", GRACE.total_seconds())
    assert (young.removed, young.left) == ({}, len(litter))
    assert prune_snapshot(stored.store, "dev", -60, dry_run=True).removed.keys() == litter
    assert litter <= keys(stored)
    prune_snapshot(stored.store, "dev", -60)
    assert keys(stored) == before.named_files().keys()


def test_files_that_a_dead_writer_left_on_this_machine_are_cleared(
    stored: Stored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the next writer; those of a living one stay, and those that a worker has just written."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dead, worker = tmp_path / "snapseed-put-dead", tmp_path / "snapseed-work-other"
    for folder in (dead, worker):
        folder.mkdir()
        (folder / "rows.parquet").touch()
    with replacing(stored.store, "dev") as living, replacing(stored.store, "dev"):
        assert living.folder.is_dir()
        assert worker.is_dir()
        assert not dead.exists()
    assert sorted(path.name for path in tmp_path.glob("snapseed-*")) == [worker.name]


def test_a_reader_whose_snapshot_was_replaced_can_try_again(stored: Stored) -> None:
    """Nothing is damaged, and the error says so; a file that is missing otherwise is one of the snapshot."""
    before = generated(stored, 20)
    entity = before.manifest.entities[1]
    generated(stored, 30)
    with pytest.raises(StoreError, match="has replaced"), before.open_part(entity, entity.files[0]):
        pass
    after = open_snapshot(stored.store, "dev")
    entity = after.manifest.entities[1]
    Prefix(stored.store, "dev").remove({after.place.key(entity.files[0])})
    with pytest.raises(SnapshotError, match="cannot be read"), after.open_part(entity, entity.files[0]):
        pass


@pytest.mark.parametrize("data", [b"", b"x", bytes(10_000)], ids=["empty", "too short", "too long"])
def test_an_object_of_another_length_is_a_finding(stored: Stored, data: bytes) -> None:
    """Not a failure of the store."""
    made = generated(stored, 20)
    file = made.manifest.entities[1].files[0]
    Prefix(stored.store, "dev").put(made.place.key(file), data)
    (finding,) = verify_files(made)
    assert f"has {len(data)} bytes" in finding.problem
    with pytest.raises(SnapshotError), made.open_part(made.manifest.entities[1], file):
        pass


def test_records_go_when_the_run_is_complete(stored: Stored) -> None:
    """Those of earlier runs too."""
    generated(stored, 20)
    with replacing(stored.store, "dev") as staging:
        staging.record("run", "task", b"{}")
        staging.commit(open_snapshot(stored.store, "dev").manifest)
    assert not any(key.startswith(".parts") for key in keys(stored))


def test_files_that_another_process_removed_are_missed_at_the_commit(stored: Stored) -> None:
    """No manifest names a file that is not there."""
    before = generated(stored, 20)
    manifest = open_snapshot(stored.project.snapshots, "dev").manifest
    with replacing(stored.store, "dev") as staging:
        Prefix(stored.store, "dev").remove({before.place.key(next(manifest.files))})
        with pytest.raises(SnapshotError, match="are gone"):
            staging.commit(manifest)


def test_what_is_written_can_go_to_another_machine(stored: Stored) -> None:
    """Without a connection or a secret in it."""
    with replacing(stored.store, "dev") as staging:
        data = pickle.dumps(staging)
        assert pickle.loads(data) == staging  # noqa: S301 - our own bytes
    assert KEYS["AWS_SECRET_ACCESS_KEY"].encode() not in data


# ── Copies ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_copy_moves_what_is_not_there_and_comes_back_the_same(stored: Stored, tmp_path: Path) -> None:
    """Into the bucket and into another folder; the second time nothing is moved."""
    folder, back = stored.project.snapshots, Store(tmp_path / "back")
    first, second = (copy_snapshot(folder, stored.store, "dev") for _ in range(2))
    count = len(list(first.manifest.files))
    assert (first.copied_files, first.skipped_files, first.copied_bytes) == (count, 0, first.manifest.bytes)
    assert (second.copied_files, second.skipped_files, second.copied_bytes) == (0, count, 0)
    report = copy_snapshot(stored.store, back, "dev")
    assert (report.copied_files, report.target) == (count, str(tmp_path / "back/dev"))
    assert files_of(open_snapshot(back, "dev")) == files_of(open_snapshot(folder, "dev"))
    damaged = tmp_path / "back/dev/customers.parquet"
    damaged.write_bytes(damaged.read_bytes()[::-1])
    assert copy_snapshot(stored.store, back, "dev").copied_files == 1
    assert files_of(open_snapshot(back, "dev")) == files_of(open_snapshot(folder, "dev"))


@pytest.mark.parametrize("up", [True, False], ids=["push", "pull"])
def test_a_copy_that_was_cut_short_goes_on(up: bool, stored: Stored, tmp_path: Path) -> None:  # noqa: FBT001
    """With the files that are missing; until then, the target has no snapshot."""
    source, target = stored.project.snapshots, stored.store
    if not up:
        copy_snapshot(source, target, "dev")
        source, target = target, Store(tmp_path / "back")
    stored.proxy.faults.append(Fault("expired", "PUT" if up else "GET", part="orders"))
    with pytest.raises(SnapshotError):
        copy_snapshot(source, target, "dev")
    with pytest.raises(SnapshotError, match="no snapshot"):
        open_snapshot(target, "dev")
    rest = copy_snapshot(source, target, "dev")
    assert 0 < rest.copied_files < len(list(rest.manifest.files))
    assert verify_files(open_snapshot(target, "dev")) == []


def test_a_damaged_file_is_not_copied(stored: Stored) -> None:
    """The error names it, and the target has no snapshot."""
    part = stored.project.snapshots.folder / "dev/orders.parquet"
    part.write_bytes(part.read_bytes()[::-1])
    with pytest.raises(SnapshotError) as caught:
        copy_snapshot(stored.project.snapshots, stored.store, "dev")
    assert caught.value.where == str(part)
    assert "manifest.json" not in keys(stored)


# ── Reading ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(data=st.data(), size=st.integers(0, 1_000), tail=st.integers(0, 300))
def test_a_file_is_read_in_order_whatever_is_asked_for(data: st.DataObject, size: int, tail: int) -> None:
    """Forwards, and back to what was not dropped: the bytes and the SHA-256 of the file, in limited memory."""
    content, fetched = os.urandom(size), []

    def fetch(start: int, end: int) -> memoryview:
        fetched.append((start, end))
        return memoryview(content[start:end])

    tail = min(tail, size)
    with WholeReader(fetch, size, memoryview(content[size - tail :]), block_bytes=32) as reader:
        bounds = sorted(data.draw(st.lists(st.integers(0, size), max_size=6)))
        for begin, end in pairwise([0, *bounds, size]):
            for _ in range(2):
                reader.seek(begin)
                assert reader.read(end - begin) == content[begin:end]
            reader.drop_before(end)
            assert len(reader._blocks) <= 5
        assert reader.digest() == hashlib.sha256(content).hexdigest()
    assert len(fetched) == len(set(fetched))


def test_an_order_that_takes_memory_is_refused() -> None:
    """A forged file could have its first chunk at its end."""
    content = memoryview(bytes(10_000))
    with WholeReader(lambda start, end: content[start:end], 10_000, content[:0], block_bytes=32) as reader:
        for start in range(9_000, 9_000 - 8 * 32, -32):
            reader.seek(start)
            assert reader.read(1)
        reader.seek(5_000)
        with pytest.raises(ValueError, match="order"):
            reader.read(1)


def test_a_load_from_a_bucket_checks_every_byte_and_changes_nothing_if_one_differs(
    shop: Sandbox, proxy: FaultProxy
) -> None:
    """The same rows as from a folder; a byte that differs ends the load before its commit, even one of no column."""
    store = read_store(proxy.url(uuid.uuid4().hex), shop.folder, where="test")
    copy_snapshot(shop.project.snapshots, store, "dev")
    environment = shop.environment().changed(snapshots=store)
    report = load_snapshot(shop.project, environment, LoadRequest())
    assert report.outcome is Outcome.COMMITTED
    assert verify_snapshot(shop.project, environment).agrees
    # The first byte of a file is in its magic number, which no chunk needs.
    proxy.faults.append(Fault("altered", part="customers", times=100))
    with pytest.raises(SnapshotError, match="altered") as caught:
        load_snapshot(shop.project, environment, LoadRequest(consent=True))
    failed = report_of(caught.value)
    assert failed
    assert failed.outcome is Outcome.UNCHANGED


def test_a_parallel_load_from_a_bucket_checks_every_byte(
    generated_once: Callable[[str], Path], database: str, proxy: FaultProxy
) -> None:
    """Several connections read the same file. The old rows stay, and nothing is kept for the next load."""
    shapes = prepared(Shapes(generated_once("shapes"), database), RANGES)
    store = read_store(proxy.url(uuid.uuid4().hex), shapes.folder, where="test")
    copy_snapshot(shapes.project.snapshots, store, "dev")
    environment = shapes.environment(None, connections=2).changed(snapshots=store)
    load = partial(
        load_snapshot, shapes.project, environment, LoadRequest(consent=True), settings=LoadSettings(parallel_rows=0)
    )
    proxy.faults.append(Fault("altered", part="people", times=100))
    with pytest.raises(SnapshotError, match="altered"):
        load()
    assert (shapes.execute(ROWS), shapes.execute(STAGES)) == (OLD, [])
    proxy.faults.clear()
    load()
    assert shapes.execute(ROWS) == NEW


def test_commands_work_with_a_bucket(shop: Sandbox, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that read a snapshot. docs/stores.md runs those that copy and prune it."""
    url = proxy.url(uuid.uuid4().hex)
    shop.run("push", "--store", url, check=True)
    monkeypatch.setenv("SNAPSEED_SNAPSHOTS", url)
    shutil.rmtree(shop.folder / "snapshots")
    for command in ("load", "load --if-changed", "verify", "diff", "show", "status", "generate --check"):
        shop.run(*command.split(), check=True)
    assert "conditional writes" in shop.run("doctor", check=True).stdout
    denied = shop.run("doctor", AWS_SECRET_ACCESS_KEY="another-secret")
    assert denied.returncode
    assert "another-secret" not in denied.stdout + denied.stderr


# ── The setting ──────────────────────────────────────────────────────────────────────────────────────────────────────


GOOD = {
    "snapshots": "/project/snapshots",
    "/elsewhere": "/elsewhere",
    "file:///elsewhere/my%20files": "/elsewhere/my files",
    "s3://bucket/team/": "s3://bucket/team",
    "s3://bucket?region=eu-central-1&endpoint=https://minio:9000": "s3://bucket",
    "gs://bucket/team": "gs://bucket/team",
    "az://container/team?account=ours": "az://container/team",
}


@pytest.mark.parametrize("text", GOOD)
def test_a_store_is_a_folder_or_a_url(text: str) -> None:
    """Its text, which messages show, has no options."""
    assert str(read_store(text, Path("/project"), where="test")) == GOOD[text]


BAD = {
    "a password": "s3://key:secret@bucket/prefix",
    "no bucket": "s3:///prefix",
    "another service": "ftp://server/folder",
    "another machine": "file://server/folder",
    "an unknown option": "s3://bucket?profile=dev",
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_what_names_no_store_is_refused(text: str) -> None:
    """With the place of the setting, and no password."""
    with pytest.raises(ConfigurationError) as caught:
        read_store(text, Path("/project"), where="snapseed.toml [snapseed] snapshots")
    assert caught.value.where == "snapseed.toml [snapseed] snapshots"
    assert "secret" not in str(caught.value)


def test_each_environment_may_have_its_own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a variable too, which only its commands need; SNAPSEED_SNAPSHOTS overrides all."""
    (tmp_path / "snapseed.toml").write_text('[environments.dev]\n[environments.big]\nsnapshots = "${BUCKET}/big"\n')
    project = find_project(tmp_path)
    assert project.environment("dev").snapshots == project.snapshots == Store(tmp_path / "snapshots")
    with pytest.raises(ConfigurationError, match="BUCKET"):
        _ = project.environment("big").snapshots
    monkeypatch.setenv("BUCKET", "s3://bucket")
    assert str(project.environment("big").snapshots) == "s3://bucket/big"
    monkeypatch.setenv("SNAPSEED_SNAPSHOTS", "elsewhere")
    assert project.environment("big").snapshots == Store(tmp_path / "elsewhere")


def test_a_snapshot_in_a_bucket_is_a_side_of_a_diff(stored: Stored) -> None:
    """By its URL. What differs is read from there."""
    generated(stored, 20)
    address, folder = stored.url.partition("?"), str(stored.project.snapshots.folder / "dev")
    url = f"{address[0]}/dev?{address[2]}"
    assert compare(find_side(stored.project, url), find_side(stored.project, folder)).agrees
    # The endpoint of the project's own store is that of other places in the same service.
    project = dataclasses.replace(stored.project, stored=stored.url)
    assert compare(find_side(project, f"{address[0]}/dev"), find_side(stored.project, folder)).agrees
    generated(stored, 10)
    entities = compare(find_side(stored.project, url), find_side(stored.project, folder)).entities
    counts = {each.entity: (each.removed_count, each.added_count, each.changed_count) for each in entities}
    assert counts["notes"] == (0, 20, 0)
