"""Generation against the floor: writing the very same tables to Parquet with the same options, and nothing else.

One process; CPU time of all its threads, since polars uses several and other work on the machine should not count.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.measure import Findings, Headline, Spread, Stopwatch, Table, seconds, spreads_in_turns
from benchmarks.place import Place
from snapseed.generate import output, part
from snapseed.generate.entity import Entity
from snapseed.generate.output import WrittenFile
from snapseed.generate.request import Request
from snapseed.generate.snapshot import generate_snapshot
from snapseed.snapshot.manifest import Manifest

_STEPS = ("draw", "convert, check", "fingerprint", "write", "SHA-256")
# What is timed by itself: where the function is called by that name, and what it does.
_TIMED = (
    (Entity, "__call__", "draw"),
    (part, "checked_table", "convert, check"),
    (output, "fingerprint", "fingerprint"),
    (pq.ParquetWriter, "__init__", "write"),
    (pq.ParquetWriter, "write_table", "write"),
    (pq.ParquetWriter, "close", "write"),
    (output, "describe", "SHA-256"),
)


@dataclass
class Writing:
    """What one Parquet file was written from: schema and options, then one table after the other."""

    schema: pa.Schema
    options: dict[str, Any]
    tables: list[tuple[pa.Table, dict[str, Any]]] = field(default_factory=list)


def measure(place: Place) -> Findings:
    """The example at scale 10k."""
    request = Request("generating", place.project.seed, place.rows(10_000))
    generate = partial(generate_snapshot, place.project, request)
    # Also the first run of all, in which modules and pools are read.
    writings = list(_recorded(generate))
    tables = [table for writing in writings for table, _ in writing.tables]
    size, rows = sum(table.nbytes for table in tables), sum(len(table) for table in tables)
    walls: list[float] = []
    whole, floor = spreads_in_turns(
        place.rounds,
        lambda: seconds(lambda: walls.append(seconds(generate)), time.process_time),
        partial(seconds, partial(_write_again, writings, place.project.folder / "again.parquet"), time.process_time),
    )
    wall = Spread(tuple(walls)).median
    headline = Headline(
        f"generating the example: {rows:,} rows, one process, CPU time",
        "writing the same tables to Parquet with the same options",
        whole / floor,
        f"{whole.median:.2f} s ÷ {floor.median:.2f} s; {wall:.2f} s on the clock: {rows / wall:,.0f} rows/s,"
        f" {size / 1e6 / wall:.0f} MB/s of Arrow data",
        2.5,
    )
    return Findings((headline,), (_by_step(generate().manifest, generate, place.rounds),))


def _recorded(generate: Callable[[], object]) -> Iterator[Writing]:
    """Everything that one run writes."""
    found: list[Writing] = []

    class Recorder(pq.ParquetWriter):  # type: ignore[misc]
        """Writes as ever, and remembers."""

        def __init__(self, where: object, schema: pa.Schema, **options: object) -> None:
            self.writing = Writing(schema, options)
            found.append(self.writing)
            super().__init__(where, schema, **options)

        def write_table(self, table: pa.Table, **options: object) -> None:
            self.writing.tables.append((table, options))
            super().write_table(table, **options)

    with mock.patch.object(pq, "ParquetWriter", Recorder):
        generate()
    return iter(found)


def _write_again(writings: list[Writing], path: Path) -> None:
    for writing in writings:
        with pq.ParquetWriter(path, writing.schema, **writing.options) as writer:
            for table, options in writing.tables:
                writer.write_table(table, **options)


def _by_step(manifest: Manifest, generate: Callable[[], object], rounds: int) -> Table:
    """CPU seconds by entity and step, the median of some runs with a timer around each step."""
    runs = []
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
    return Table(
        "Where generation goes",
        "CPU seconds by entity and step. The rest of a run (identities of rows, planning, the manifest, syncing to"
        f" the disk) takes {max(others, 0):.2f} s. SHA-256 includes reading the file back.",
        ("entity", "rows", *_STEPS, "sum"),
        rows,
    )


@contextmanager
def _timed() -> Iterator[Stopwatch]:
    """Timers around the steps of `make_part`; a step that is renamed fails here, loudly."""
    watch, current = Stopwatch(time.process_time), [""]

    class NamedWriter(output.PartWriter):
        """A writer that says whose rows it is writing: it keeps some back until others were drawn."""

        def __init__(self, entity: Entity, folder: Path, path: str, chunk_rows: int) -> None:
            super().__init__(entity, folder, path, chunk_rows)
            self.name = entity.name

        def add(self, table: pa.Table) -> None:
            current[0] = self.name
            super().add(table)

        def close(self) -> WrittenFile:
            current[0] = self.name
            return super().close()

    def timer(step: str, function: Callable[..., object]) -> Callable[..., object]:
        def timed(*arguments: object, **options: object) -> object:
            if step == "draw":
                (current[0],) = (argument.name for argument in arguments if isinstance(argument, Entity))
            with watch.running(f"{current[0]} {step}"):
                return function(*arguments, **options)

        return timed

    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(part, "PartWriter", NamedWriter))
        for place, name, step in _TIMED:
            stack.enter_context(mock.patch.object(place, name, timer(step, getattr(place, name))))
        yield watch
