"""Generation against its lower bound (writing the same tables to Parquet and nothing else), and at large scales.

Times are CPU time of all threads of one process: polars uses several, and other load on the machine should not count.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.measure import Comparison, Findings, Spread, Stopwatch, Table, seconds, spreads_in_turns
from benchmarks.processes import PROGRAM, cpu_seconds, peak_memory
from benchmarks.workspace import Workspace
from snapseed.generate import part
from snapseed.generate.entity import Entity
from snapseed.generate.part import PartResult, make_part
from snapseed.generate.request import Request, Tasks, estimate
from snapseed.generate.snapshot import GenerateReport, generate_snapshot
from snapseed.snapshot import writing
from snapseed.snapshot.manifest import Column
from snapseed.snapshot.store_folder import FolderStaging

_STEPS = ("draw", "convert, check", "fingerprint", "write", "SHA-256")
# The functions to time: the module or class that they are looked up in, their name there, and the step they belong to.
_TIMED = (
    (Entity, "__call__", "draw"),
    (part, "checked_table", "convert, check"),
    (writing, "fingerprint", "fingerprint"),
    (pq.ParquetWriter, "__init__", "write"),
    (pq.ParquetWriter, "write_table", "write"),
    (pq.ParquetWriter, "close", "write"),
    (writing, "describe", "SHA-256"),
)
_BILLION = 10**9
_FAR_PART = 10_000
_MEMORY_TARGET = 400
_CUSTOMERS = 50_000


@dataclass
class WrittenFile:
    """What was written to one Parquet file: schema, options, and the tables in order."""

    schema: pa.Schema
    options: dict[str, Any]
    tables: list[tuple[pa.Table, dict[str, Any]]] = field(default_factory=list)


def measure_floor(workspace: Workspace) -> Findings:
    """Generate the example at scale 10k, and write the same tables again."""
    request = Request("generating", workspace.project.seed, workspace.rows(10_000))
    generate = partial(generate_snapshot, workspace.project, request)
    # This first run also imports modules and reads pools.
    files = list(_recorded(generate))
    tables = [table for file in files for table, _ in file.tables]
    size, rows = sum(table.nbytes for table in tables), sum(len(table) for table in tables)
    wall_times: list[float] = []
    whole, least = spreads_in_turns(
        workspace.rounds,
        lambda: seconds(lambda: wall_times.append(seconds(generate)), time.process_time),
        partial(seconds, partial(_write_again, files, workspace.project.folder / "again.parquet"), time.process_time),
    )
    wall = Spread(tuple(wall_times)).median
    comparison = Comparison(
        f"generating the example: {rows:,} rows, one process, CPU time",
        "writing the same tables to Parquet with the same options",
        whole / least,
        f"{whole.median:.2f} s ÷ {least.median:.2f} s; {wall:.2f} s wall-clock: {rows / wall:,.0f} rows/s,"
        f" {size / 1e6 / wall:.0f} MB/s of Arrow data",
        2.5,
    )
    _, table = _by_step("the example", generate, workspace.rounds)
    return Findings((comparison,), (table,))


def measure_business(workspace: Workspace) -> Findings:
    """The steps of generating a plain business schema, and how much of its CPU time the fingerprints take."""
    project = workspace.small_project("business")
    request = Request("by-step", project.seed, workspace.rows(_CUSTOMERS))
    runs, table = _by_step("a business schema", partial(generate_snapshot, project, request), workspace.rounds)
    command = ("generate", "dev", "--scale", str(request.scale), "--jobs", "1", "--quiet")
    whole = Spread(tuple(cpu_seconds(*PROGRAM, *command, "--project", str(project.folder)) for _ in runs))
    hashing = Spread(tuple(sum(run[name] for name in run if name.endswith("fingerprint")) for run in runs))
    comparison = Comparison(
        "fingerprints of a business schema, CPU time",
        "all of generating it, one process, start to exit",
        hashing / whole,
        f"{hashing.median:.2f} s ÷ {whole.median:.2f} s",
        0.1,
    )
    return Findings((comparison,), (table,))


def _recorded(generate: Callable[[], object]) -> Iterator[WrittenFile]:
    """Everything that one run writes."""
    found: list[WrittenFile] = []

    class Recorder(pq.ParquetWriter):  # type: ignore[misc]
        """Writes as usual, and keeps what it wrote."""

        def __init__(self, where: object, schema: pa.Schema, **options: object) -> None:
            self.written = WrittenFile(schema, options)
            found.append(self.written)
            super().__init__(where, schema, **options)

        def write_table(self, table: pa.Table, **options: object) -> None:
            self.written.tables.append((table, options))
            super().write_table(table, **options)

    with mock.patch.object(pq, "ParquetWriter", Recorder):
        generate()
    return iter(found)


def _write_again(files: list[WrittenFile], path: Path) -> None:
    for file in files:
        with pq.ParquetWriter(path, file.schema, **file.options) as target:
            for table, options in file.tables:
                target.write_table(table, **options)


def _by_step(what: str, generate: Callable[[], GenerateReport], rounds: int) -> tuple[list[dict[str, float]], Table]:
    """CPU seconds by entity and step of several runs with timers around the steps, and their medians as a table."""
    manifest, runs = generate().manifest, []
    for _ in range(rounds):
        with _timed() as watch:
            whole = seconds(generate, time.process_time)
        runs.append(watch.seconds | {"whole": whole})

    def median(*keys: str) -> float:
        return Spread(tuple(sum(run.get(key, 0.0) for key in keys) for run in runs)).median

    rows = []
    for entity in manifest.entities:
        cells = [median(f"{entity.name} {step}") for step in _STEPS]
        rows.append((f"`{entity.name}`", f"{entity.rows:,}", *(f"{cell:.2f}" for cell in cells), f"{sum(cells):.2f}"))
    names = [entity.name for entity in manifest.entities]
    sums = [median(*(f"{name} {step}" for name in names)) for step in _STEPS]
    rows.append(("all", f"{manifest.rows:,}", *(f"{cell:.2f}" for cell in sums), f"{sum(sums):.2f}"))
    others = median("whole") - sum(sums)
    return runs, Table(
        f"Time by step: {what}",
        "CPU seconds by entity and step. The rest of a run (row identities, planning, the manifest, syncing to disk)"
        f" takes {max(others, 0):.2f} s. SHA-256 includes reading the file back.",
        ("entity", "rows", *_STEPS, "sum"),
        rows,
    )


@contextmanager
def _timed() -> Iterator[Stopwatch]:
    """Time the steps of `make_part`. Fails if one of them was renamed."""
    watch, current = Stopwatch(time.process_time), [""]

    class NamedWriter(writing.PartWriter):
        """Notes whose rows it writes, because it holds rows back while those of other entities are drawn."""

        def __init__(
            self, columns: Sequence[Column], key: Sequence[Column], folder: Path, path: str, chunk_rows: int
        ) -> None:
            super().__init__(columns, key, folder, path, chunk_rows)
            self.name = path.partition("/")[0].removesuffix(".parquet")

        def add(self, rows: pa.Table) -> None:
            current[0] = self.name
            super().add(rows)

        def close(self, *, flush: bool = False) -> writing.WrittenFile | None:
            current[0] = self.name
            return super().close(flush=flush)

    def timer(step: str, function: Callable[..., object]) -> Callable[..., object]:
        def timed(*arguments: object, **options: object) -> object:
            if step == "draw":
                (current[0],) = (argument.name for argument in arguments if isinstance(argument, Entity))
            with watch.running(f"{current[0]} {step}"):
                return function(*arguments, **options)

        return timed

    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(part, "PartWriter", NamedWriter))
        for owner, name, step in _TIMED:
            stack.enter_context(mock.patch.object(owner, name, timer(step, getattr(owner, name))))
        yield watch


def measure_scales(workspace: Workspace) -> Findings:
    """From small to large: a part far out in a billion users, planning all of them, and peak memory."""
    return Findings((_far_part(workspace), _planning(workspace)), (_memory(workspace),))


def _far_part(workspace: Workspace) -> Comparison:
    """CPU time per row, because the number of rows varies by part."""
    folder = workspace.project.folder / "far"
    request = Request("far", workspace.project.seed, _BILLION)
    folder.mkdir()

    def per_row(number: int) -> float:
        made: list[PartResult] = []
        task = next(iter(Tasks(workspace.project, replace(request, part=number), FolderStaging(folder))))
        taken = seconds(lambda: made.append(make_part(task)), time.process_time)
        return taken / sum(written.file.rows for written in made[0].files.values())

    per_row(1)
    near, far = spreads_in_turns(2 * workspace.rounds, partial(per_row, 0), partial(per_row, _FAR_PART))
    return Comparison(
        f"CPU time per row in part {_FAR_PART:,} of a billion users",
        "per row in part 0",
        far / near,
        f"{1e6 * far.median:.1f} µs ÷ {1e6 * near.median:.1f} µs",
        1.1,
    )


def _planning(workspace: Workspace) -> Comparison:
    request = Request("planned", workspace.project.seed, _BILLION)
    expected = estimate(workspace.project, request)
    taken, second = spreads_in_turns(
        workspace.rounds, lambda: seconds(partial(estimate, workspace.project, request)), lambda: 1
    )
    return Comparison(
        f"planning `--scale 1b`: {expected.parts:,} parts, about {expected.rows:,} rows and"
        f" {expected.bytes / 1e12:.1f} TB",
        "one second",
        taken / second,
        f"{taken.median:.2f} s",
        1.0,
    )


def _memory(workspace: Workspace) -> Table:
    runs: list[tuple[str, tuple[str, ...]]]
    runs = [(f"{users:,} users", ("--scale", str(users))) for users in map(workspace.rows, (1_000, 10_000, 50_000))]
    runs.append((f"part {_FAR_PART:,} of a billion users", ("--scale", "1b", "--part", str(_FAR_PART))))
    rows = []
    for what, options in runs:
        command = ("generate", "dev", "--snapshot", "memory", "--jobs", "1", "--quiet", *options)
        rows.append((what, *peak_memory(*PROGRAM, *command, "--project", str(workspace.project.folder)).cells))
    text = (
        "Peak resident memory of one `snapseed generate` process. It should stay below"
        f" {_MEMORY_TARGET} MB at any scale. It includes pages of mapped files, that is, of libraries; the last column"
        " leaves them out."
    )
    return Table("Peak memory of generating", text, ("what", "peak", "without mapped files"), rows)
