"""Capturing a table of a million rows, from the start of the process to its exit, against its lower bound and others.

The lower bound is one thing after the other: the server reads the rows and drops them, and the same rows are written to
a Parquet file with the same options and flushed to disk. Like the lower bound, and all others but pg_dump, the capture
takes no schema along.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.load_peers import duckdb_extension
from benchmarks.measure import Comparison, Findings, Spread, Table, in_seconds, in_turns, seconds
from benchmarks.processes import PROGRAM, compile_package, peak_memory, process_seconds
from benchmarks.workspace import Workspace, project_of
from snapseed.capture.request import Sizes
from snapseed.load.snapshot import load_snapshot
from snapseed.snapshot.manifest import EntityRecord
from snapseed.snapshot.store import Snapshot

_ROWS = 1_000_000
_LOWER_BOUND = "`COPY TO '/dev/null' (FORMAT binary)` + writing the same Parquet file and flushing it to disk"
# Both read `sys.argv[1]`, the URL, and write `sys.argv[2]`, a Parquet file. Start and exit count for all.
_ADBC = """
import sys, adbc_driver_postgresql.dbapi as dbapi, pyarrow.parquet as pq
with dbapi.connect(sys.argv[1]) as connection, connection.cursor() as cursor:
    cursor.execute("SELECT * FROM ten_columns ORDER BY id")
    batches = cursor.fetch_record_batch()
    with pq.ParquetWriter(sys.argv[2], batches.schema, compression="zstd", compression_level=1) as writer:
        for batch in batches:
            writer.write_batch(batch)
"""
_DUCKDB = """
import sys, duckdb
with duckdb.connect() as connection:
    connection.execute(f"LOAD '{sys.argv[3]}'")
    connection.execute(f"ATTACH '{sys.argv[1]}' AS source (TYPE postgres, READ_ONLY)")
    query = "SELECT * FROM source.ten_columns ORDER BY id"
    connection.execute(f"COPY ({query}) TO '{sys.argv[2]}' (FORMAT parquet, COMPRESSION zstd)")
"""


@dataclass(frozen=True)
class CaptureTime:
    """Seconds of a capture from start to exit, and those of them that the proof took."""

    whole: float
    proof: float


@dataclass(frozen=True)
class Source:
    """A database with the table, the record of its rows, and the project that captures it."""

    url: str
    record: EntityRecord
    folder: Path

    def command(self, *options: str) -> tuple[str, ...]:
        """The capture as a command."""
        return (*PROGRAM, "capture", "dev", "--from", self.url, "--snapshot", "captured", "--quiet", *options)

    def capture(self, *options: str) -> CaptureTime:
        """Capture, and check that the rows are those that were loaded, or are not if they are masked."""
        found: list[Any] = []
        command = [*self.command("--without-schema", "--format", "json", *options), "--project", str(self.folder)]
        environment = {**os.environ, "SNAPSEED_MASK_SECRET": "of a benchmark, so it hides nothing"}

        def run() -> None:
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment)
            found.append(json.loads(done.stdout))

        whole = seconds(run)
        (fingerprint,) = (table["fingerprint"] for table in found[0]["tables"])
        assert (fingerprint == self.record.fingerprint) is ("--unmasked" in options)
        return CaptureTime(whole, found[0]["phases"]["verifying"])


def measure_capture(workspace: Workspace) -> Findings:
    """Capture a million rows of ten common types, in turns with the lower bound and other tools."""
    compile_package()
    snapshot = workspace.ten_columns(workspace.rows(_ROWS))
    source = _loaded(workspace, snapshot)
    rows = pa.Table.from_batches(
        batch for batch in snapshot.batches(source.record, [column.name for column in source.record.columns])
    )
    target = source.folder / "peer"
    with closing(psycopg.connect(source.url, autocommit=True)) as connection:
        ours, parallel, masked, floor, *peers = in_turns(
            workspace.rounds,
            partial(source.capture, "--unmasked"),
            partial(source.capture, "--unmasked", "--jobs", "2"),
            source.capture,
            lambda: CaptureTime(seconds(partial(_to_nowhere, connection)) + _written(source, rows), 0.0),
            *(partial(_peer, command, target) for command in _peers(workspace, source, target).values()),
        )
    names = list(_peers(workspace, source, target))
    return Findings(
        tuple(_comparisons(source, (ours, parallel, masked), floor, dict(zip(names, peers, strict=True)))),
        (_memory(source),),
    )


def _comparisons(
    source: Source,
    own: tuple[list[CaptureTime], list[CaptureTime], list[CaptureTime]],
    floor: list[CaptureTime],
    peers: dict[str, list[CaptureTime]],
) -> list[Comparison]:
    def whole(times: list[CaptureTime]) -> Spread:
        return Spread(tuple(time.whole - time.proof for time in times))

    ours, parallel, masked = own
    what = f"capturing {source.record.rows:,} rows of ten columns"
    proof = Spread(tuple(time.proof for time in ours))
    return [
        in_seconds(f"{what}, start to exit, without the proof", _LOWER_BOUND, whole(ours), whole(floor), 1.3),
        in_seconds(f"{what} over two connections", _LOWER_BOUND, whole(parallel), whole(floor)),
        *(in_seconds(what, name, whole(ours), whole(peer), 0.7) for name, peer in peers.items()),
        in_seconds(f"{what}, three of them masked", "the same without masks", whole(masked), whole(ours), 1.5),
        in_seconds("the proof of these rows", "the capture without it", proof, whole(ours), 0.3),
    ]


def _loaded(workspace: Workspace, snapshot: Snapshot) -> Source:
    project = project_of(snapshot)
    workspace.server.ensure_database("capturing")
    url = workspace.server.url("capturing")
    environment = replace(project.environment("dev"), database=url, snapshot=snapshot.manifest.name, create_schema=True)
    (record,) = load_snapshot(project, environment).manifest.entities
    return Source(url, record, project.folder)


def _to_nowhere(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    connection.execute("COPY (SELECT * FROM ten_columns ORDER BY id) TO '/dev/null' (FORMAT binary)")


def _written(source: Source, rows: pa.Table) -> float:
    """Seconds to write the rows in chunks of the same size, compressed as ours are, and to flush them to disk."""
    path = source.folder / "floor.parquet"

    def write() -> None:
        with path.open("wb") as stream:
            pq.write_table(
                rows,
                stream,
                compression="zstd",
                compression_level=1,
                use_dictionary=False,
                row_group_size=Sizes().chunk_rows,
            )
            stream.flush()
            os.fsync(stream.fileno())

    return seconds(write)


def _peers(workspace: Workspace, source: Source, target: Path) -> dict[str, tuple[str, ...]]:
    python = (sys.executable, "-c")
    pg_dump = str(workspace.server.psql().with_name("pg_dump"))
    return {
        "ADBC + pyarrow writing Parquet": (*python, _ADBC, source.url, str(target)),
        "`pg_dump -Fc`": (pg_dump, "-Fc", "--table=ten_columns", "--file", str(target), "--dbname", source.url),
        "DuckDB `COPY … TO` Parquet": (*python, _DUCKDB, source.url, str(target), str(duckdb_extension())),
    }


def _peer(command: tuple[str, ...], target: Path) -> CaptureTime:
    target.unlink(missing_ok=True)
    taken = process_seconds(*command)
    assert target.stat().st_size
    return CaptureTime(taken, 0.0)


def _memory(source: Source) -> Table:
    rows = []
    for jobs in ("1", "2", "4"):
        command = (*source.command("--unmasked", "--jobs", jobs), "--project", str(source.folder))
        rows.append((jobs, *peak_memory(*command).cells))
    return Table(
        "Memory of a capture", "The highest, by number of connections.", ("jobs", "resident", "anonymous"), rows
    )
