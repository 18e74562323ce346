"""A snapshot is replaced as a whole or not at all, whatever goes wrong."""

from __future__ import annotations

import datetime as dt
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from snapseed import Project, find_project, open_snapshot
from snapseed.errors import ManifestError, SnapshotError, SpaceError, UsageError
from snapseed.events import Event, Note
from snapseed.generate.request import Request
from snapseed.generate.snapshot import generate_snapshot
from snapseed.snapshot import store
from snapseed.snapshot.manifest import PartFile
from snapseed.snapshot.store import python_value
from tests.conftest import copied, without_coverage
from tests.generate.making import copy_shop, files_of, make_snapshot, write_project

NO_MATCH = "no such step"
IS_ROOT = os.geteuid() == 0


@pytest.fixture(scope="module")
def small_shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample project with a snapshot of 20 customers, to be copied."""
    project = copy_shop(tmp_path_factory.mktemp("small") / "shop")
    make_snapshot(project, 20)
    return project.folder


@pytest.fixture
def shop(small_shop: Path, tmp_path: Path) -> Project:
    """The sample project with a snapshot of 20 customers."""
    return find_project(copied(small_shop, tmp_path))


def old_files(project: Project) -> dict[str, bytes]:
    """The files of the snapshot `dev`, after a repair."""
    return files_of(open_snapshot(project.snapshots, "dev"))


def litter(project: Project) -> list[str]:
    """What else is in the folder of snapshots."""
    return sorted(path.name for path in project.snapshots.folder.iterdir() if path.name != "dev")


def mount(*arguments: str) -> None:
    """Mount a file system; skip the test if that is not allowed."""
    result = subprocess.run(["/bin/mount", *arguments], check=False, capture_output=True, text=True)
    if result.returncode:
        pytest.skip(f"cannot mount: {result.stderr}")


def unmount(folder: Path) -> None:
    """Undo `mount`."""
    subprocess.run(["/bin/umount", "--lazy", str(folder)], check=True)


STEPS = {
    "writing the manifest": (Path, "write_bytes"),
    "flushing to disk": (os, "fsync"),
    "renaming the old one": (Path, "rename"),
    "making a folder": (Path, "mkdir"),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_failure_at_any_step_leaves_the_old_snapshot(
    step: str, shop: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full or broken disk is a SnapshotError, and nothing of the new snapshot is left."""
    before = old_files(shop)
    owner, name = STEPS[step]

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, fail)
        with pytest.raises(SnapshotError, match="no space left") as caught:
            make_snapshot(shop, 300)
    assert str(caught.value.observed).startswith("No space left on device")
    assert old_files(shop) == before
    assert litter(shop) == []


@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("process_dies", [False, True])
def test_a_failure_between_the_two_renames_is_healed(
    nth: int,
    process_dies: bool,  # noqa: FBT001 - a parameter of the test
    shop: Project,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The old snapshot is aside for a moment; the next command puts it back."""
    before, rename, calls = old_files(shop), Path.rename, 0

    class Killed(BaseException):
        pass

    def fail(path: Path, target: Path) -> Path:
        nonlocal calls
        calls += 1
        if calls == nth:
            raise Killed if process_dies else OSError(5, "Input/output error")
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", fail)
        if process_dies:  # a killed process cleans up nothing
            patch.setattr(shutil, "rmtree", lambda *_, **__: None)
        with pytest.raises((SnapshotError, Killed)):
            make_snapshot(shop, 300)
    assert old_files(shop) == before
    assert make_snapshot(shop, 300).manifest.scale == 300
    assert litter(shop) == []


SLOW = """
import time
@entity(key="id", columns={"id": "bigint"})
def things(rows):
    time.sleep(0.2)
    return pl.DataFrame({"id": rows.key()})
"""


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[tuple[Project, subprocess.Popen[bytes]]]:
    """A project with a snapshot of 5 rows, and a process that takes seconds to write one of 2,000."""
    project = write_project(tmp_path / "slow", SLOW)
    make_snapshot(project, 5)
    command = [
        sys.executable,
        "-m",
        "snapseed",
        "generate",
        "--project",
        str(project.folder),
        "--scale",
        "2k",
        "--jobs",
    ]
    process = subprocess.Popen([*command, "1"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    staging = project.snapshots.folder / ".dev.partial"
    deadline = time.monotonic() + 20
    while not list(staging.rglob("part-00001.parquet")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    try:
        yield project, process
    finally:
        process.kill()
        process.wait()


def test_a_killed_process_leaves_the_old_snapshot_and_the_next_run_clears_up(
    slow: tuple[Project, subprocess.Popen[bytes]],
) -> None:
    """SIGKILL in the middle: nobody sees what it wrote, and the next run removes it."""
    project, process = slow
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert open_snapshot(project.snapshots, "dev").manifest.scale == 5
    assert litter(project) == [".dev.partial"]
    assert make_snapshot(project, 7).manifest.scale == 7
    assert litter(project) == []


def test_a_second_process_is_refused_while_one_writes(slow: tuple[Project, subprocess.Popen[bytes]]) -> None:
    """With an error. The first process goes on, and the old snapshot can be read meanwhile."""
    project, process = slow
    with pytest.raises(SnapshotError, match="another process is writing the snapshot 'dev'") as caught:
        make_snapshot(project, 7)
    assert caught.value.next_step == "wait for it to end, then run this again"
    assert open_snapshot(project.snapshots, "dev").manifest.scale == 5
    assert process.poll() is None
    assert litter(project) == [".dev.partial"]


def test_an_interrupted_process_leaves_no_litter(slow: tuple[Project, subprocess.Popen[bytes]]) -> None:
    """Ctrl-C undoes what was in progress."""
    project, process = slow
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    assert open_snapshot(project.snapshots, "dev").manifest.scale == 5
    assert litter(project) == []


def test_leaving_after_a_commit_touches_no_folder_of_another_process(shop: Project) -> None:
    """The next writer may start before this one is done."""
    manifest = open_snapshot(shop.snapshots, "dev").manifest
    with store.replacing(shop.snapshots, "dev") as staging:
        for path, content in old_files(shop).items():
            (staging.folder / path).write_bytes(content)
        staging.commit(manifest)
        staging.folder.mkdir()
        (staging.folder / "theirs").touch()
    assert (staging.folder / "theirs").exists()


def test_a_lock_on_a_folder_that_was_renamed_is_no_lock(shop: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """If it was opened before another process's commit and locked afterwards, it is the snapshot itself."""
    flock = fcntl.flock

    def late(handle: int, operation: int) -> None:
        (shop.snapshots.folder / ".dev.partial").rename(shop.snapshots.folder / "gone")
        flock(handle, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(SnapshotError, match="another process"), store.replacing(shop.snapshots, "dev"):
        pytest.fail(NO_MATCH)


def test_a_snapshot_beyond_its_budget_is_not_written(shop: Project) -> None:
    """The previous one stays; the error has both sizes."""
    before = old_files(shop)
    with pytest.raises(SnapshotError) as caught:
        make_snapshot(shop, 300, max_size=20_000)
    assert caught.value.expected == "at most 20.0 kB (max_size)"
    assert old_files(shop) == before
    assert litter(shop) == []


@pytest.mark.skipif(not IS_ROOT, reason="mounts a file system")
def test_a_full_disk_is_an_error_that_says_so(shop: Project) -> None:
    """ENOSPC from the writer, with one job and with two."""
    small = shop.snapshots.folder.parent / "snapshots"
    shutil.rmtree(small)
    small.mkdir()
    mount("-t", "tmpfs", "-o", "size=160k", "tmpfs", str(small))
    try:
        make_snapshot(shop, 5)
        before = old_files(shop)
        for jobs in (1, 2):
            with pytest.raises(SnapshotError, match="no space left") as caught:
                make_snapshot(replace(shop, part_rows=2_500), 5_000, jobs=jobs)
            assert caught.value.next_step == "free some space, or make a smaller snapshot"
            assert caught.value.where == str(shop.snapshots.folder / "dev")
            (needed,) = re.findall(r"about ([\d.]+) kB", caught.value.expected or "")
            (free,) = re.findall(r"([\d.]+) kB are free", caught.value.observed or "")
            assert float(needed) > 160 > float(free) > 0
            assert old_files(shop) == before
            assert litter(shop) == []
        events: list[Event] = []
        with pytest.raises(SpaceError) as caught:
            generate_snapshot(shop, Request("dev", shop.seed, 5_000), listener=events.append)
        assert [type(event) for event in events] == [Note], "it stops before it makes a part"
        assert "are free" in str(caught.value.observed)
    finally:
        unmount(small)


def test_a_file_too_large_for_its_limit_is_an_error_that_says_so(shop: Project) -> None:
    """EFBIG under `ulimit -f`; the old snapshot stays."""
    before = old_files(shop)
    command = "ulimit -f 8; exec {} -m snapseed generate --project {} --scale 5k --jobs 1"
    result = subprocess.run(
        ["/bin/bash", "-c", command.format(sys.executable, shop.folder)],
        env=without_coverage(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 2, result.stderr
    assert "there is no space left for the snapshot" in result.stderr
    assert "Traceback" not in result.stderr
    assert old_files(shop) == before


def test_a_file_in_place_of_the_folder_is_an_error(shop: Project) -> None:
    """It names the path and what is expected there."""
    shutil.rmtree(shop.snapshots.folder)
    shop.snapshots.folder.touch()
    with pytest.raises(SnapshotError, match="cannot be written") as caught:
        make_snapshot(shop)
    assert caught.value.where == str(shop.snapshots)


def test_a_read_only_folder_is_an_error(shop: Project) -> None:
    """As root by a read-only mount, otherwise by its permissions."""
    before = old_files(shop)
    if IS_ROOT:
        mount("--bind", str(shop.snapshots), str(shop.snapshots))
        mount("-o", "remount,bind,ro", str(shop.snapshots))
    else:
        shop.snapshots.folder.chmod(0o500)
    try:
        with pytest.raises(SnapshotError, match="cannot be written") as caught:
            make_snapshot(shop)
        assert caught.value.next_step == "check its permissions"
        assert old_files(shop) == before
    finally:
        if IS_ROOT:
            unmount(shop.snapshots.folder)
        else:
            shop.snapshots.folder.chmod(0o700)


def test_only_makes_what_it_names_and_keeps_the_rest(shop: Project) -> None:
    """The result is the same as that of a full run, and the other files are kept."""
    whole = files_of(make_snapshot(shop, 250))
    for only in (("orders",), ("shops", "categories"), ("invoices",)):
        assert files_of(make_snapshot(shop, 250, only=only)) == whole


def test_only_refuses_what_would_not_fit_the_rest(shop: Project) -> None:
    """Another seed, scale, now or size of parts."""
    before = old_files(shop)
    other = Project(**{**vars(shop), "part_rows": 7, "now": shop.now.replace(year=2000)})
    for project, seed, scale, names in [
        (shop, 8, 20, ["seed"]),
        (shop, 7, 21, ["scale"]),
        (shop, 9, 22, ["seed", "scale"]),
        (other, 7, 20, ["now", "part_rows"]),
    ]:
        with pytest.raises(UsageError) as caught:
            make_snapshot(project, scale, seed=seed, only=("orders",))
        assert [part.split()[0] for part in (caught.value.observed or "").split(", ")] == names
    assert old_files(shop) == before


def test_only_refuses_to_keep_a_damaged_file(shop: Project) -> None:
    """It is found before anything is replaced."""
    part = shop.snapshots.folder / "dev" / "customers.parquet"
    part.write_bytes(part.read_bytes()[:-1])
    with pytest.raises(SnapshotError, match="a file that --only would keep is damaged") as caught:
        make_snapshot(shop, 20, only=("shops",))
    assert "truncated or altered" in (caught.value.observed or "")
    make_snapshot(shop, 20, only=("customers",))


def test_a_damaged_snapshot_can_be_generated_again(shop: Project) -> None:
    """As the error advises. Only --only needs the old snapshot."""
    before = old_files(shop)
    (shop.snapshots.folder / "dev" / "manifest.json").write_text("{")
    with pytest.raises(ManifestError, match="not a snapseed manifest"):
        make_snapshot(shop, 20, only=("shops",))
    assert files_of(make_snapshot(shop, 20)) == before


def test_a_snapshot_that_is_not_there_says_how_to_make_it(shop: Project) -> None:
    """The error has its name, its place and the command."""
    with pytest.raises(SnapshotError, match="no snapshot named 'ci'") as caught:
        open_snapshot(shop.snapshots, "ci")
    assert "snapseed generate" in (caught.value.next_step or "")


def test_a_manifest_that_is_a_folder_is_an_error(shop: Project) -> None:
    """Not a traceback."""
    (shop.snapshots.folder / "dev" / "manifest.json").unlink()
    (shop.snapshots.folder / "dev" / "manifest.json").mkdir()
    with pytest.raises(ManifestError, match="cannot be read"):
        open_snapshot(shop.snapshots, "dev")


def _into_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: path.unlink(), "missing"),
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-1]), "truncated or altered"),
    "longer": (lambda path: path.write_bytes(path.read_bytes() + b"\0"), "truncated or altered"),
    "altered": (lambda path: path.write_bytes(path.read_bytes()[:-1] + b"?"), "altered: SHA-256"),
    "pointer": (lambda path: path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n"), "git lfs pull"),
    "folder": (_into_a_folder, "cannot be read"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_to_a_file_is_named(case: str, shop: Project) -> None:
    """The problem is named; an intact file has none."""
    damage, words = DAMAGE[case]
    snapshot = open_snapshot(shop.snapshots, "dev")
    file: PartFile = snapshot.manifest.entities[1].files[0]
    assert store.file_problem(snapshot, file) is None
    damage(Path(snapshot.path(file)))
    assert words in (store.file_problem(snapshot, file) or "")


def test_files_that_no_manifest_names_are_found(shop: Project) -> None:
    """At any depth."""
    snapshot = open_snapshot(shop.snapshots, "dev")
    assert snapshot.place.present() == snapshot.named_files().keys()
    (Path(str(snapshot.place)) / "a/b").mkdir(parents=True)
    (Path(str(snapshot.place)) / "a/b/c.parquet").touch()
    (Path(str(snapshot.place)) / ".hidden").touch()
    assert snapshot.place.present() - snapshot.named_files().keys() == {".hidden", "a/b/c.parquet"}


def test_the_path_of_a_part_says_its_entity_and_number() -> None:
    """An only part has no number."""
    assert store.part_path("users") == "users.parquet"
    assert store.part_path("users", 7) == "users/part-00007.parquet"


def test_the_end_of_a_day_is_not_its_beginning() -> None:
    """PostgreSQL has 24:00, which Python lacks."""
    shown = [python_value(pa.scalar(number, pa.time64("us"))) for number in (86_400_000_000, 0)]
    assert shown == ["24:00:00", dt.time(0)]


def test_the_first_rows_are_those_of_the_first_file(shop: Project) -> None:
    """As Python values; an entity without rows has none."""
    snapshot = open_snapshot(shop.snapshots, "dev")
    record = snapshot.manifest.entity("categories")
    assert record is not None
    assert snapshot.first_rows(record, 2) == [
        {"code": "books", "label": "Books", "rank": 1},
        {"code": "music", "label": "Music", "rank": 2},
    ]
