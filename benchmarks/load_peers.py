"""Load the four example tables with snapseed, pg_restore, ADBC and DuckDB, each as its users would.

Each starts from an empty database. The result is checked: the same rows by the manifest's fingerprints, and the same
indexes and constraints.
"""

from __future__ import annotations

import importlib.metadata
import os
import statistics
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import adbc_driver_postgresql.dbapi
import duckdb
import psycopg
import pyarrow as pa
import pyarrow.dataset
from psycopg import sql

from benchmarks.loads import VERIFICATION_TARGET
from benchmarks.measure import Findings, Spread, Table, in_seconds, seconds
from benchmarks.workspace import Workspace
from snapseed.config import Environment
from snapseed.load.outcome import LoadReport
from snapseed.load.request import LoadRequest
from snapseed.load.snapshot import load_snapshot
from snapseed.snapshot.manifest import EntityRecord
from snapseed.snapshot.store import Snapshot
from snapseed.verify.database import verify_snapshot

_EXTENSION = "duckdb-ext-postgres"
PACKAGES = ("adbc-driver-postgresql", "duckdb", _EXTENSION)
_USERS = 50_000
_MOST_ROUNDS = 3
# A peer that is this many times slower than the fastest one in the first round is not measured again.
_TOO_SLOW = 1.5
_UNVERIFIED, _VERIFIED = "snapseed, not verified", "snapseed"
# Phases that take less than this are not listed.
_SHORTEST_PHASE = 0.05

_DEFINITIONS = """
SELECT pg_get_indexdef(indexrelid) FROM pg_index JOIN pg_class ON oid = indexrelid
WHERE relnamespace = 'public'::regnamespace
UNION ALL
SELECT conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
WHERE connamespace = 'public'::regnamespace AND convalidated
ORDER BY 1
"""


@dataclass(frozen=True)
class Dump:
    """What the peers read (the snapshot's Parquet files, or a dump of the loaded database) and the database they fill.

    `before` and `after` are SQL scripts: the tables, and the indexes and constraints.
    """

    programs: Path
    url: str
    snapshot: Snapshot
    archive: Path
    before: Path
    after: Path

    def run(self, program: str, *arguments: str | Path) -> None:
        """Run one of the server's own programs."""
        subprocess.run([self.programs / program, *arguments], check=True)

    def script(self, file: Path) -> None:
        """Run an SQL script."""
        quiet = ("--no-psqlrc", "--quiet", "--output=/dev/null", "--set=ON_ERROR_STOP=1", "--single-transaction")
        self.run("psql", *quiet, "--dbname", self.url, "--file", file)

    def files(self, entity: EntityRecord) -> list[str]:
        """The Parquet files of an entity."""
        return [self.snapshot.path(file) for file in entity.files]

    @property
    def truncate(self) -> str:
        """TRUNCATE of all tables. In the transaction that fills them, it lets the server write no WAL for the rows."""
        tables = [sql.Identifier(entity.table) for entity in self.snapshot.manifest.entities]
        return sql.SQL("TRUNCATE {}").format(sql.SQL(", ").join(tables)).as_string()


def dump_database(programs: Path, url: str, snapshot: Snapshot, folder: Path) -> Dump:
    """Dump a loaded database without snapseed's own schema.

    The dump is not compressed. That is slightly faster to restore and much faster to write.
    """
    dump = Dump(programs, url, snapshot, folder / "all.dump", folder / "before.sql", folder / "after.sql")
    pg_dump = partial(dump.run, "pg_dump", "--exclude-schema=snapseed", "--dbname", url)
    pg_dump("--format=custom", "--compress=none", "--file", dump.archive)
    pg_dump("--section=pre-data", "--file", dump.before)
    pg_dump("--section=post-data", "--file", dump.after)
    return dump


def pg_restore(dump: Dump, *options: str) -> None:
    """Restore the whole dump: tables, then rows, then indexes, keys and foreign keys."""
    dump.run("pg_restore", *options, "--dbname", dump.url, dump.archive)


def adbc_ingest(dump: Dump) -> None:
    """Binary COPY straight into the tables; vectors through a temporary table of arrays and a cast.

    ADBC 1.13 supports uuid, timestamptz, numeric and arrays. It sends enums as strings, and jsonb as strings of the
    type `arrow.json`. It has no format for vectors that pgvector can read.
    """
    dump.script(dump.before)
    with adbc_driver_postgresql.dbapi.connect(dump.url) as connection, connection.cursor() as cursor:
        cursor.execute(dump.truncate)
        for entity in dump.snapshot.manifest.entities:
            if not _vectors(entity):
                cursor.adbc_ingest(entity.table, _adbc_batches(dump, entity), mode="append")
                continue
            cursor.adbc_ingest("arrays", _adbc_batches(dump, entity), mode="create", temporary=True)
            cursor.execute(_insert_from_arrays(entity))
            cursor.execute("DROP TABLE arrays")
        connection.commit()
    dump.script(dump.after)


def duckdb_insert(dump: Dump) -> None:
    """INSERT from `read_parquet` straight into the tables.

    The extension sends text, which enum, jsonb and vector accept; going through arrays takes longer.
    """
    dump.script(dump.before)
    with duckdb.connect() as connection:
        connection.execute(f"LOAD '{duckdb_extension()}'")
        connection.execute(f"ATTACH '{dump.url}' AS target (TYPE postgres)")
        connection.execute("BEGIN")
        connection.execute("CALL postgres_execute('target', ?)", [dump.truncate])
        for entity in dump.snapshot.manifest.entities:
            table = sql.Identifier("target", "public", entity.table).as_string()
            insert = f"INSERT INTO {table} BY NAME SELECT * FROM read_parquet(?)"  # noqa: S608 - quoted above
            connection.execute(insert, [dump.files(entity)])
        connection.execute("COMMIT")
    dump.script(dump.after)


def _vectors(entity: EntityRecord) -> set[str]:
    return {column.name for column in entity.columns if column.type.startswith("vector")}


def _adbc_batches(dump: Dump, entity: EntityRecord) -> pa.RecordBatchReader:
    """The rows in types that ADBC can send: jsonb marked as JSON, vectors (half floats) as lists of floats."""
    dataset = pyarrow.dataset.dataset(dump.files(entity))
    schema = dataset.schema
    for index, column in enumerate(entity.columns):
        if column.type == "jsonb":
            schema = schema.set(index, pa.field(column.name, pa.json_()))
        elif column.name in _vectors(entity):
            schema = schema.set(index, pa.field(column.name, pa.list_(pa.float32())))

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in dataset.to_batches():
            yield batch.cast(schema)

    return pa.RecordBatchReader.from_batches(schema, batches())


def _insert_from_arrays(entity: EntityRecord) -> str:
    names = [sql.Identifier(column.name) for column in entity.columns]
    values = [
        sql.SQL("{}::vector").format(name) if column.name in _vectors(entity) else name
        for column, name in zip(entity.columns, names, strict=True)
    ]
    statement = sql.SQL("INSERT INTO {} ({}) SELECT {} FROM arrays")
    comma = sql.SQL(", ")
    return statement.format(sql.Identifier(entity.table), comma.join(names), comma.join(values)).as_string()


def duckdb_extension() -> Path:
    """The extension's file. It comes in a wheel, so DuckDB downloads nothing."""
    files = importlib.metadata.files(_EXTENSION) or ()
    return next(Path(str(file.locate())) for file in files if file.suffix == ".duckdb_extension")


class Contest:
    """Times snapseed and its peers, round by round."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.snapshot = workspace.snapshot(workspace.rows(_USERS))
        self.loads: dict[str, list[LoadReport]] = {_UNVERIFIED: [], _VERIFIED: []}
        self.environment: Environment = workspace.environment(self.snapshot, "peers")
        self.database = f"snapseed_{self.environment.name}"
        self._recreate_database()
        load_snapshot(workspace.project, self.environment, LoadRequest(consent=True))
        self.definitions = self._definitions()
        server = workspace.server
        self.dump = dump_database(
            server.psql().parent, server.url(self.database), self.snapshot, workspace.project.folder
        )
        self.peers: dict[str, Callable[[], object]] = {
            "`pg_restore -1`": partial(pg_restore, self.dump, "--single-transaction"),
            "`pg_restore -j2`": partial(pg_restore, self.dump, "--jobs=2"),
            "`adbc_ingest`": partial(adbc_ingest, self.dump),
            "DuckDB, `INSERT … FROM read_parquet`": partial(duckdb_insert, self.dump),
        }

    def run(self, rounds: int) -> dict[str, list[float]]:
        """Seconds of each contender. Peers that are too slow in the first round are not measured again."""
        contenders: dict[str, Callable[[], object]] = {
            _UNVERIFIED: partial(self._load, _UNVERIFIED, verify=False),
            _VERIFIED: partial(self._load, _VERIFIED, verify=True),
            **self.peers,
        }
        times = {name: [self._timed(name, load)] for name, load in contenders.items()}
        fastest = min(times[name][0] for name in self.peers)
        for _ in range(rounds - 1):
            for name, load in contenders.items():
                if name not in self.peers or times[name][0] <= _TOO_SLOW * fastest:
                    times[name].append(self._timed(name, load, check=False))
        return times

    def _timed(self, name: str, load: Callable[[], object], *, check: bool = True) -> float:
        self._recreate_database()
        taken = seconds(load)
        if name in self.loads:
            # The peers do not run ANALYZE.
            taken -= self.loads[name][-1].phases.get("analyzing", 0.0)
        if check:
            assert verify_snapshot(self.workspace.project, self.environment).agrees, f"{name}: the rows differ"
            assert self._definitions() == self.definitions, f"{name}: the indexes or constraints differ"
        return taken

    def _load(self, name: str, *, verify: bool) -> None:
        report = load_snapshot(self.workspace.project, self.environment, LoadRequest(consent=True, verify=verify))
        self.loads[name].append(report)

    def _recreate_database(self) -> None:
        """Start with an empty database and with nothing from earlier rounds left to write to disk."""
        server = self.workspace.server
        with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(self.database)))
            server.ensure_database(self.database)
            connection.execute("CHECKPOINT")
        os.sync()

    def _definitions(self) -> list[tuple[object, ...]]:
        with psycopg.connect(self.workspace.server.url(self.database)) as connection:
            return connection.execute(_DEFINITIONS).fetchall()


def measure_peers(workspace: Workspace) -> Findings:
    """The example at scale 50k: loads with and without verification, against the fastest peer."""
    contest = Contest(workspace)
    times = contest.run(min(_MOST_ROUNDS, workspace.rounds))
    contest.dump.archive.unlink()
    fastest = min(contest.peers, key=lambda name: statistics.median(times[name]))
    loads = contest.loads[_VERIFIED]
    copying, verifying = (Spread(tuple(load.phases[name] for load in loads)) for name in ("copying rows", "verifying"))
    comparisons = [
        in_seconds(
            f"load of the four example tables, {what}: {contest.snapshot.manifest.rows:,} rows",
            f"the fastest of four peers: {fastest}",
            Spread(tuple(times[name])),
            Spread(tuple(times[fastest])),
            target,
            digits=1,
        )
        for what, name, target in (("not verified", _UNVERIFIED, 0.7), ("verified", _VERIFIED, 0.85))
    ]
    what = "verification during that load"
    comparisons.append(in_seconds(what, "its COPY phase", verifying, copying, VERIFICATION_TARGET))
    return Findings(tuple(comparisons), (_table(contest, times, loads),))


def _table(contest: Contest, times: Mapping[str, list[float]], loads: list[LoadReport]) -> Table:
    """Each contender as a ratio to snapseed with verification, and the phases of snapseed's loads."""
    ours = times[_VERIFIED]
    rows = []
    for name, taken in times.items():
        ratio = Spread(tuple(taken)) / Spread(tuple(ours[: len(taken)]))
        rows.append((name, f"{statistics.median(taken):.1f} s", f"{ratio.median:.2f}", ratio.range, str(len(taken))))
    text = (
        f"From an empty database to {contest.snapshot.manifest.rows:,} rows with all keys, foreign keys, checks and"
        " indexes of `generators/schema.sql`. Ratios are to snapseed with verification. The times exclude ANALYZE;"
        " snapseed's include checking the files (SHA-256) and verification. The first round also checks the peers' rows"
        " and constraints. `pg_restore` reads an uncompressed custom-format dump. ADBC and DuckDB read the snapshot's"
        " Parquet files, in one transaction each; the dump's pre-data section creates their tables, and its post-data"
        " section builds the rest. `benchmarks/load_peers.py` explains how each handles types that it does not"
        f" support. {_where_time_goes(loads)}"
    )
    return Table("Peers", text, ("way to load", "time", "÷ snapseed", "spread", "rounds"), rows)


def _where_time_goes(loads: list[LoadReport]) -> str:
    """Median seconds of the verified loads, by phase and by entity."""
    phases = {name: statistics.median(load.phases[name] for load in loads) for name in loads[0].phases}
    by_phase = ", ".join(f"{name} {taken:.2f}" for name, taken in phases.items() if taken >= _SHORTEST_PHASE)
    by_entity = ", ".join(
        f"{entity.entity} {statistics.median(load.entities[index].seconds for load in loads):.2f}"
        for index, entity in enumerate(loads[0].entities)
    )
    return f"Seconds of snapseed's phases: {by_phase}. Of copying rows: {by_entity}."
