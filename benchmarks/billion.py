"""Simulate the generation of a billion users: 400,000 parts with empty payloads through a real Dask scheduler.

`python -m benchmarks.billion [--parts 20000]` plans, hands out and gathers all parts of the example, and commits their
manifest into a bucket, by the code of a real run. Only the workers make no rows: they return records of the size of
real ones. The bucket is one that keeps lists of files, and says of all files of parts that they are there.
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import distributed
import msgspec
import psutil

from snapseed import find_project
from snapseed.cluster.executor import ClusterExecutor
from snapseed.config import Project, Store
from snapseed.events import Advanced
from snapseed.generate.code import packed
from snapseed.generate.output import MOST_FILES
from snapseed.generate.part import PartResult, PartTask
from snapseed.generate.request import Request, Tasks
from snapseed.generate.snapshot import make_manifest
from snapseed.snapshot.manifest import Chunk, PartFile, encode
from snapseed.snapshot.store_bucket import Prefix, PrefixStaging
from snapseed.snapshot.writing import CHUNK_ROWS, WrittenFile
from snapseed.units import parse_scale

_REPOSITORY = Path(__file__).resolve().parents[1]
# As many parts at a time as for a cluster of so many cores.
_CORES = 1_000
# Rows per user, about as in the example.
_ROWS = {"users": 1, "shares": 5, "transcripts": 3, "embeddings": 7}


class _EmptyParts(Executor):
    """Hands out each part to an executor of a cluster, as a task that makes no rows."""

    width = _CORES

    def __init__(self, inner: Executor) -> None:
        self.inner = inner

    def submit(self, _function: Callable[..., Any], /, *args: Any, **_: Any) -> Future[Any]:  # noqa: ANN401 - as in the base
        """Queue a part."""
        # By its module's name: what is in `__main__` would go with each task as code.
        return self.inner.submit(import_module("benchmarks.billion").empty_part, args[0])


def empty_part(task: PartTask) -> PartResult:
    """What a part looks like to the client, without rows and files."""
    digest = hashlib.sha256(str(task.first).encode()).hexdigest()
    files = {}
    for name, path in task.paths.items():
        rows = _ROWS.get(name, 1) * (task.last - task.first)
        keys = [f"{task.first:012x}-{number:08x}-8000-000833b15b5f" for number in range(-(-rows // CHUNK_ROWS))]
        left = [min(CHUNK_ROWS, rows - number * CHUNK_ROWS) for number in range(len(keys))]
        chunks = tuple(Chunk(count, key, digest[:16]) for count, key in zip(left, keys, strict=True))
        files[name] = WrittenFile(PartFile(path, rows, 100 * rows, digest, chunks), keys[-1])
    return PartResult(files, {"given_names": digest, "family_names": digest})


@dataclass(frozen=True)
class _Bucket(Prefix):
    """The keys of a snapshot in a bucket without files of parts: what is put is in a folder."""

    folder: Path

    def put(self, key: str, data: bytes | Path, **_: Any) -> None:  # noqa: ANN401 - those of a real one
        """Keep a list of files, or the manifest."""
        path = self.folder / key
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(data.read_bytes() if isinstance(data, Path) else data)

    def read(self, key: str, options: Any = None) -> Any:  # noqa: ANN401, ARG002 - as in a real one
        """What was put."""
        return memoryview((self.folder / key).read_bytes()), {}, {}

    def listed(self) -> Iterator[Any]:
        """All lists, the files in them, and a record of each part, as a real one lists them."""
        known = {"last_modified": datetime.now(UTC), "e_tag": '"0123456789abcdef0123456789abcdef"', "version": None}
        records = 0
        for path in sorted(self.folder.glob("*/files-*.json")):
            yield {"path": path.relative_to(self.folder).as_posix(), "size": path.stat().st_size, **known}
            for file in msgspec.json.decode(path.read_bytes(), type=tuple[PartFile, ...]):
                records += path.parent.name == "users"
                yield {"path": self.key(file), "size": file.bytes, **known}
        for number in range(records):
            yield {"path": f".parts/0123456789abcdef/{number}.json", "size": 1_000, **known}

    def remove(self, keys: Collection[str]) -> None:
        """Nothing."""


@contextmanager
def _scheduler(workers: int) -> Iterator[tuple[distributed.Client, psutil.Process]]:
    """A scheduler in a process of its own with workers in theirs, a client, and the process of the scheduler."""
    with tempfile.TemporaryDirectory() as folder:
        file = ("--scheduler-file", f"{folder}/scheduler.json")
        dask = (sys.executable, "-m", "dask")
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        command = (*dask, "scheduler", *file, "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        worker = (*dask, "worker", *file, "--nworkers", str(workers), "--nthreads", "1", "--no-dashboard")
        with subprocess.Popen(command, **quiet) as scheduler, subprocess.Popen(worker, **quiet) as others:  # type: ignore[call-overload]
            try:
                with distributed.Client(scheduler_file=file[1], timeout="60s", set_as_default=False) as client:
                    client.wait_for_workers(workers)
                    yield client, psutil.Process(scheduler.pid)
            finally:
                others.terminate()
                scheduler.terminate()


@dataclass(frozen=True)
class _Run:
    """Where parts are made: by an executor, in these processes, the client first; and the CPU time of workers."""

    executor: Executor
    processes: tuple[psutil.Process, ...]
    workers_seconds: Callable[[], float]


class _Here(Executor):
    """Makes the records at once, in this process: for the memory of the client, in a tenth of the time."""

    width = _CORES

    def submit(self, function: Callable[..., Any], /, *args: Any, **_: Any) -> Future[Any]:  # noqa: ANN401 - as in the base
        """Make a part."""
        done = Future[Any]()
        done.set_result(function(*args))
        return done


@contextmanager
def _running(project: Project, workers: int) -> Iterator[_Run]:
    own = psutil.Process()
    if not workers:
        yield _Run(_Here(), (own,), float)
        return
    with _scheduler(workers) as (client, scheduler), ClusterExecutor(client, packed(project), _CORES) as executor:
        yield _Run(executor, (own, scheduler), lambda: sum(client.run(time.process_time).values()))


def main() -> None:
    """Run the simulation and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", type=int, default=400_000)
    parser.add_argument(
        "--workers", type=int, default=2, help="0: without a cluster, for the memory of the client alone"
    )
    options = parser.parse_args()
    project, began = find_project(_REPOSITORY), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="snapseed-billion-") as folder, _running(project, options.workers) as run:
        peaks = [0 for _ in run.processes]

        def measure(event: object) -> None:
            # Often enough for a peak, too rarely to take time.
            if isinstance(event, Advanced) and event.done % 2_500_000 == 0:
                peaks[:] = map(max, peaks, (process.memory_info().rss for process in run.processes))

        users = min(options.parts * project.part_rows, parse_scale("999m") + 10**6)
        request = Request("billion", project.seed, users, most_files=min(MOST_FILES, options.parts // 2))
        bucket = _Bucket(Store("s3://benchmark"), request.name, Path(folder) / "bucket")
        staging = PrefixStaging(bucket, secrets.token_hex(8), ())
        started, before = time.monotonic(), [_cpu(process) for process in run.processes]
        manifest = make_manifest(Tasks(project, request, staging), executor=_EmptyParts(run.executor), listener=measure)
        cpu = [_cpu(process) - earlier for process, earlier in zip(run.processes, before, strict=True)]
        gathered, cpu = time.monotonic() - started, [*cpu, run.workers_seconds()]
        committing = time.process_time()
        staging.commit(manifest)
        shutil.rmtree(staging.folder)
        listed = sum(each.bytes for each in manifest.lists)
        print(f"{options.parts:,} parts of {users:,} users, {manifest.rows:,} rows")
        print(f"gathered in {gathered:.0f} s, after {started - began:.0f} s to start")
        for name, seconds in zip(("client", "scheduler", "workers") if peaks[1:] else ("client",), cpu, strict=False):
            print(f"{name}: {seconds:.0f} s of CPU time, {1000 * seconds / options.parts:.2f} ms a part")
        for name, peak in zip(("client", "scheduler"), peaks, strict=False):
            print(f"{name}: {peak >> 20} MB at the peak")
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        print(f"commit: {time.process_time() - committing:.0f} s of CPU time, the client's peak then {most} MB")
        print(f"manifest {len(encode(manifest)):,} bytes, {len(manifest.lists):,} lists of {listed:,} bytes")


def _cpu(process: psutil.Process) -> float:
    return sum(process.cpu_times()[:2])


if __name__ == "__main__":
    main()
