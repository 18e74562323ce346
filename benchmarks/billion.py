"""Simulate the generation of a billion users: 400,000 parts with empty payloads through a real Dask scheduler.

`python -m benchmarks.billion [--parts 20000]` plans, hands out and gathers all parts of the example, and writes their
manifest, by the code of a real run. Only the workers make no rows: they return records of the size of real ones.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import distributed
import psutil

from snapseed import find_project, generate_snapshot
from snapseed.cluster.executor import ClusterExecutor
from snapseed.events import Advanced
from snapseed.generate.code import packed
from snapseed.generate.part import PartResult, PartTask
from snapseed.generate.request import Request
from snapseed.snapshot.manifest import Chunk, PartFile
from snapseed.snapshot.writing import CHUNK_ROWS, WrittenFile
from snapseed.units import parse_scale

_REPOSITORY = Path(__file__).resolve().parents[1]
# Rows per user, about as in the example.
_ROWS = {"users": 1, "shares": 5, "transcripts": 3, "embeddings": 7}


class _EmptyParts(Executor):
    """Hands out each part to an executor of a cluster, as a task that makes no rows."""

    def __init__(self, inner: ClusterExecutor) -> None:
        self.inner = inner
        self.width = inner.width

    def submit(self, _function: Callable[..., Any], /, *args: Any, **_: Any) -> Future[Any]:  # noqa: ANN401 - as in the base
        """Queue a part."""
        return self.inner.submit(empty_part, args[0])


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


def main() -> None:
    """Run the simulation and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", type=int, default=400_000)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    own, peaks, began = psutil.Process(), [0, 0], time.monotonic()
    with tempfile.TemporaryDirectory(prefix="snapseed-billion-") as folder, _scheduler(options.workers) as running:
        client, scheduler = running

        def measure(event: object) -> None:
            # Often enough for a peak, too rarely to take time.
            if isinstance(event, Advanced) and event.done % 2_500_000 == 0:
                peaks[:] = [max(peaks[0], own.memory_info().rss), max(peaks[1], scheduler.memory_info().rss)]
                seconds = time.monotonic() - began
                print(f"{event.done:,} users, {seconds:.0f} s, MB {[peak >> 20 for peak in peaks]}", file=sys.stderr)

        project = replace(find_project(_REPOSITORY), stored=folder)
        request = Request("billion", project.seed, min(options.parts * project.part_rows, parse_scale("999m") + 10**6))
        # As much at a time as for a cluster of 1,000 cores.
        with ClusterExecutor(client, packed(project), 1_000) as executor:
            report = generate_snapshot(project, request, executor=_EmptyParts(executor), listener=measure)
        seconds, manifest = time.monotonic() - began, Path(report.folder) / "manifest.json"
        listed = sum(each.bytes for each in report.manifest.lists)
        peaks[0] = max(peaks[0], own.memory_info().rss)
        cpu = (sum(process.cpu_times()[:2]) for process in (own, scheduler))
        print(f"{options.parts:,} parts of {request.scale:,} users, {report.manifest.rows:,} rows, in {seconds:.0f} s")
        print("CPU: client {:.0f} s, scheduler {:.0f} s".format(*cpu))
        print("memory at the peak: client {} MB, scheduler {} MB".format(*(peak >> 20 for peak in peaks)))
        print(f"manifest {manifest.stat().st_size:,} bytes, {len(report.manifest.lists):,} lists of {listed:,} bytes")


if __name__ == "__main__":
    main()
