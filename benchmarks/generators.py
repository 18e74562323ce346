"""Generation against other generators: tpchgen-cli, which is in Rust, and Faker and Mimesis, which go row by row."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.measure import Findings, Headline, Spread, Table, in_turns, seconds, spreads_in_turns
from benchmarks.place import Place
from benchmarks.processes import PROGRAM
from benchmarks.row_by_row import by_faker, by_mimesis, embedding, random_numbers
from snapseed.generate.request import Request
from snapseed.generate.snapshot import generate_snapshot
from snapseed.snapshot.store import open_snapshot

PACKAGES = ("tpchgen-cli", "Faker", "mimesis")
_USERS = 50_000
_ROW_BY_ROW_USERS = 30
_LIBRARIES = ("Faker", "Mimesis")
_TPCHGEN = (
    str(Path(sys.executable).with_name("tpchgen-cli")),
    *("parquet", "--num-threads", "1", "--compression", "ZSTD(1)", "--overwrite"),
)


def measure(place: Place) -> Findings:
    """Whole processes that write about a gigabyte, then rows without files."""
    return Findings((*_against_tpchgen(place), *_against_rows(place)), (_table(place),))


def _against_tpchgen(place: Place) -> tuple[Headline, ...]:
    theirs, name = place.project.folder / "tpch", "throughput"
    scale = ("-s", f"{min(place.size, 1):g}", "--output-dir", str(theirs))
    ours = place.project.snapshots / name
    generate = _generate(place, name, place.rows(_USERS))
    first, second = spreads_in_turns(
        min(place.rounds, 3),
        partial(_cpu_seconds, *generate),
        partial(_cpu_seconds, *_TPCHGEN, *scale),
    )
    sizes = [sum(map(_arrow_bytes, folder.rglob("*.parquet"))) for folder in (ours, theirs)]
    speeds = [
        Spread(tuple(size / 1e6 / value for value in taken.values))
        for size, taken in zip(sizes, (first, second), strict=True)
    ]
    shutil.rmtree(theirs)
    return (
        Headline(
            f"`tpchgen-cli`, one thread, {sizes[1] / 1e6:,.0f} MB of Arrow data: MB a second of CPU time",
            f"`snapseed generate --jobs 1`, {sizes[0] / 1e6:,.0f} MB, start to exit, fingerprints included",
            speeds[1] / speeds[0],
            f"{speeds[1].median:.0f} MB/s ÷ {speeds[0].median:.0f} MB/s",
            1.0,
        ),
    )


def _against_rows(place: Place) -> tuple[Headline, ...]:
    request = Request("row-by-row", place.project.seed, place.rows(10_000))
    generate = partial(generate_snapshot, place.project, request)
    manifest = generate().manifest
    users = max(3, round(_ROW_BY_ROW_USERS * place.size))
    counts = [max(1, entity.rows * users // manifest.entities[0].rows) for entity in manifest.entities]
    words = _words(place, request.name)
    ours, *others = spreads_in_turns(
        min(place.rounds, 3),
        lambda: manifest.rows / seconds(generate, time.process_time),
        *(
            partial(_rate, partial(library, counts, words, embed))
            for embed in (embedding, random_numbers)
            for library in (by_faker, by_mimesis)
        ),
    )
    return tuple(
        Headline(
            f"{name}, not written: rows a second of CPU time",
            "`generate_snapshot`, one process",
            theirs / ours,
            f"{theirs.median:,.0f} rows/s ÷ {ours.median:,.0f} rows/s: {(ours / theirs).median:,.0f} times",
            bar,
        )
        for name, theirs, bar in zip(
            [f"{library} row by row{how}" for how in ("", ", random numbers for vectors") for library in _LIBRARIES],
            others,
            (0.01, 0.1, None, None),
            strict=True,
        )
    )


def _rate(make: Callable[[], int]) -> float:
    started = time.process_time()
    rows = make()
    return rows / (time.process_time() - started)


def _words(place: Place, name: str) -> int:
    """Words of a transcript, on average."""
    snapshot = open_snapshot(place.project.snapshots, name)
    record = snapshot.manifest.entity("transcripts")
    assert record is not None
    with snapshot.open_part(record.files[0]) as part:
        return round(float(pc.mean(part.read(columns=["word_count"]).column(0)).as_py()))


def _table(place: Place) -> Table:
    """One process and two, on the clock."""
    users = place.rows(_USERS // 2)
    results = in_turns(
        min(place.rounds, 3),
        *(
            partial(
                seconds,
                partial(subprocess.run, _generate(place, "jobs", users, jobs), check=True, stdout=subprocess.DEVNULL),
            )
            for jobs in (1, 2)
        ),
    )
    one, two = (Spread(tuple(values)) for values in results)
    ratio = two / one
    rows = [(f"{users:,} users", f"{one.median:.1f} s", f"{two.median:.1f} s", f"{ratio.median:.2f}", ratio.range)]
    text = (
        "Seconds on the clock, start to exit. Half is the best there can be, where nothing else runs on two cores and"
        " these do not share one processor's units."
    )
    return Table("One process and two", text, ("scale", "1", "2", "ratio", "spread"), rows)


def _generate(place: Place, name: str, users: int, jobs: int = 1) -> tuple[str, ...]:
    options = ("--snapshot", name, "--scale", str(users), "--jobs", str(jobs), "--quiet")
    return (*PROGRAM, "generate", "dev", *options, "--project", str(place.project.folder))


def _cpu_seconds(*command: str) -> float:
    """What a process and those that it waited for took of the processors."""
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0, f"{command} ended with {child.returncode}"
    return usage.ru_utime + usage.ru_stime


def _arrow_bytes(path: Path) -> int:
    """The size of a file's rows in Arrow, texts as one piece of data and offsets (not as views, which are larger)."""
    with pq.ParquetFile(path) as file:
        return sum(_plain_bytes(file.read_row_group(number)) for number in range(file.num_row_groups))


def _plain_bytes(table: pa.Table) -> int:
    columns = [
        column.cast(pa.large_string()).cast(pa.string()) if pa.types.is_string_view(column.type) else column
        for column in table.columns
    ]
    return sum(column.nbytes for column in columns)
