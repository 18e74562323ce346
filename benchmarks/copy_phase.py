"""The COPY phase of a load against its lower bound: the server reads the same bytes from its own file.

Both sides load into a table without indexes or constraints, and neither time includes the commit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import msgspec
import psutil
import psycopg
from psycopg import sql

from benchmarks.measure import Comparison, Findings, Spread, Table, in_seconds, in_turns, seconds, spreads_in_turns
from benchmarks.workspace import Workspace, ensure_snapshot, project_of
from snapseed.load.copy import EntityLoad, copy_rows, encoded
from snapseed.load.encode import BINARY_HEADER, BINARY_TRAILER
from snapseed.load.outcome import LoadReport
from snapseed.load.plan import Prepared, TablePlan
from snapseed.load.plan.tables import plan_load
from snapseed.load.request import LoadRequest, LoadSettings
from snapseed.load.snapshot import load_snapshot
from snapseed.postgres.catalog import read_tables
from snapseed.postgres.connect import Connection
from snapseed.postgres.facts import TableName
from snapseed.snapshot.manifest import EntityRecord
from snapseed.snapshot.store import Snapshot
from snapseed.snapshot.writing import CHUNK_ROWS

_ROWS = 1_000_000
_TARGETS = {"ten_columns": 1.10, "shares": 1.12}
# A round of the ten columns takes about a second, so it can have more rounds than the other benchmarks.
_MORE_ROUNDS = 3
# Settings differ by little. With about this many users, there is time for enough rounds.
_USERS_FOR_SETTINGS = 40_000
_BATCH_MEGABYTES = (1, 4, 16)
_QUEUE_DEPTHS = (1, 4, 8)
_CHUNK_ROWS = (4_096, 8_192, 16_384, 65_536)

_LOWER_BOUND = "`COPY FROM 'file' (FORMAT binary, FREEZE)` by the server, the same bytes"
_NOISE = "The row with that same setting shows how much of the difference is noise."


@dataclass(frozen=True)
class CopyTime:
    """Seconds of one COPY: wall-clock, and CPU time of this process and of the server process."""

    total: float
    client: float
    server: float
    load: EntityLoad | None = None


@dataclass(frozen=True)
class BareTable:
    """A table without indexes or constraints, and the snapshot to copy into it."""

    connection: Connection
    snapshot: Snapshot
    plan: TablePlan

    def through_snapseed(self, settings: LoadSettings = LoadSettings()) -> CopyTime:
        """Copy as a load does."""
        with self._emptied():
            client, server = time.process_time(), self._server_seconds()
            into = self.plan.table.identifier()
            load = copy_rows(self.connection, self.snapshot, self.plan, into, settings=settings)
            return CopyTime(load.seconds, time.process_time() - client, self._server_seconds() - server, load)

    def by_the_server(self, file: Path) -> CopyTime:
        """Let the server read a file from `write_copy_file`."""
        with self._emptied():
            client, server = time.process_time(), self._server_seconds()
            total = seconds(partial(server_side_copy, self.connection, self.plan, file))
            return CopyTime(total, time.process_time() - client, self._server_seconds() - server)

    def _server_seconds(self) -> float:
        """CPU seconds that the server process of this connection has used so far."""
        used = psutil.Process(self.connection.info.backend_pid).cpu_times()
        return used.user + used.system

    @contextmanager
    def _emptied(self) -> Iterator[None]:
        """Truncate the table in a transaction; roll back at the end, so that no round syncs files to disk."""
        with self.connection.transaction(force_rollback=True):
            self.connection.execute(sql.SQL("TRUNCATE {}").format(self.plan.table.identifier()))
            yield


def server_side_copy(connection: Connection, plan: TablePlan, file: Path) -> None:
    """COPY from a file that the server itself reads."""
    statement = sql.SQL("COPY {} FROM {} WITH (FORMAT binary, FREEZE)")
    connection.execute(statement.format(plan.table.identifier(), sql.Literal(str(file))))


def write_copy_file(snapshot: Snapshot, plan: TablePlan, file: Path) -> Path:
    """Write the bytes that snapseed would send to a file that the server's account can read."""
    with file.open("wb") as target, encoded(snapshot, plan) as batches:
        target.write(BINARY_HEADER)
        for batch in batches:
            target.write(memoryview(batch.data))
        target.write(BINARY_TRAILER)
    file.chmod(0o644)
    return file


def measure_copy(workspace: Workspace) -> Findings:
    """Copy a million rows of `shares`, and of a table with ten columns of common types."""
    comparisons: list[Comparison] = []
    times: list[tuple[str, ...]] = []
    with workspace.connection("copying") as connection:
        assert workspace.project.schema is not None
        connection.execute(workspace.project.schema.read_bytes())
        for entity, snapshot in (
            ("shares", workspace.snapshot(workspace.rows(200_000), "users", "shares")),
            ("ten_columns", workspace.ten_columns(workspace.rows(_ROWS))),
        ):
            table = _bare_table(connection, snapshot, entity)
            file = write_copy_file(snapshot, table.plan, workspace.project.folder / f"{entity}.copy")
            found, row = _against_the_server(workspace, table, file)
            comparisons += found
            times.append(row)
            file.unlink()
        settings = _settings(workspace, connection)
    text = (
        "Seconds of the COPY phase. One thread reads Parquet and encodes it ahead of the socket. The main thread sends,"
        " and waits when no encoded batch is ready. *Send* includes waiting for the server to accept the bytes. CPU"
        " seconds hardly change with other load on the machine, which slows down all the other figures. The baseline is"
        " the server's COPY from a file."
    )
    header = (
        *("table", "total", "read", "encode", "send", "wait", "client CPU", "server CPU"),
        *("baseline", "baseline CPU"),
    )
    return Findings(tuple(comparisons), (Table("Time in the COPY phase", text, header, times), *settings))


def _bare_table(connection: Connection, snapshot: Snapshot, entity: str) -> BareTable:
    """Create a table with the entity's columns, but without keys, checks or indexes."""
    record = _record(snapshot, entity)
    name = TableName("public", f"bare_{entity}")
    columns = sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(column.name), sql.SQL(column.type)) for column in record.columns
    )
    connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(name.identifier()))
    connection.execute(sql.SQL("CREATE TABLE {} ({})").format(name.identifier(), columns))
    record = msgspec.structs.replace(record, schema=name.schema, table=name.table)
    (plan,) = plan_load(Prepared([record], {entity: read_tables(connection, [name])[name]})).tables
    return BareTable(connection, snapshot, plan)


def _record(snapshot: Snapshot, entity: str) -> EntityRecord:
    record = snapshot.manifest.entity(entity)
    assert record is not None
    return record


def _against_the_server(workspace: Workspace, table: BareTable, file: Path) -> tuple[list[Comparison], tuple[str, ...]]:
    mine, least = in_turns(workspace.rounds, table.through_snapseed, partial(table.by_the_server, file))
    loads = [taken.load for taken in mine if taken.load]
    total, least_total = Spread(tuple(taken.total for taken in mine)), Spread(tuple(taken.total for taken in least))
    client, server = Spread(tuple(taken.client for taken in mine)), Spread(tuple(taken.server for taken in mine))
    least_server = Spread(tuple(taken.server for taken in least))
    name, size = table.plan.entity.name, loads[0].bytes
    comparisons = [
        Comparison(
            f"COPY phase of `{name}`: {loads[0].rows:,} rows, {size / 1e6:.0f} MB",
            _LOWER_BOUND,
            total / least_total,
            f"{total.median:.2f} s ÷ {least_total.median:.2f} s, {size / 1e6 / total.median:.0f} MB/s",
            _TARGETS[name],
        ),
        Comparison(
            "the same, CPU time of the server process only",
            "the same",
            server / least_server,
            f"{server.median:.2f} s ÷ {least_server.median:.2f} s; client {client.median:.2f} s",
        ),
    ]
    spreads = (
        total,
        Spread(tuple(load.read for load in loads)),
        Spread(tuple(load.encode for load in loads)),
        Spread(tuple(load.send + load.server for load in loads)),
        Spread(tuple(load.starved for load in loads)),
        client,
        server,
        least_total,
        least_server,
    )
    return comparisons, (f"`{name}`", *(f"{spread.median:.2f}" for spread in spreads))


def _settings(workspace: Workspace, connection: Connection) -> tuple[Table, ...]:
    """How much `LoadSettings` and the rows per chunk matter."""
    users = workspace.rows(_USERS_FOR_SETTINGS)
    table = _bare_table(connection, workspace.snapshot(users, "users", "shares"), "shares")
    batches = [
        (f"{megabytes} MB, queue of {depth}", partial(_with_batches, table, megabytes << 20, depth))
        for megabytes in _BATCH_MEGABYTES
        for depth in _QUEUE_DEPTHS
    ]
    # Each of these creates the same table again; only the files differ.
    chunks = [
        (f"{rows:,}", partial(_copy_seconds, _bare_table(connection, _with_chunks(workspace, users, rows), "shares")))
        for rows in _CHUNK_ROWS
    ]
    rows = table.plan.entity.rows
    return (
        Table(
            "Batch size and queue depth",
            f"COPY phase of {rows:,} rows of `shares` ÷ the same with the defaults of `LoadSettings`"
            f" ({LoadSettings().batch_bytes >> 20} MB, queue of {LoadSettings().queue_depth}). {_NOISE}",
            ("batch", "ratio", "spread"),
            _compared(workspace, batches, partial(_copy_seconds, table)),
        ),
        Table(
            "Rows per chunk",
            f"COPY phase of {rows:,} rows of `shares`, by rows per Parquet row group ÷ the same with"
            f" {CHUNK_ROWS:,}. {_NOISE}",
            ("rows", "ratio", "spread"),
            _compared(workspace, chunks, dict(chunks)[f"{CHUNK_ROWS:,}"]),
        ),
    )


def _compared(
    workspace: Workspace, actions: Sequence[tuple[str, Callable[[], float]]], usual: Callable[[], float]
) -> list[tuple[str, ...]]:
    """The time of each action as a ratio to the usual one, measured in turns."""
    reference, *results = spreads_in_turns(workspace.rounds, usual, *(action for _, action in actions))
    ratios = [result / reference for result in results]
    return [(name, f"{ratio.median:.2f}", ratio.range) for (name, _), ratio in zip(actions, ratios, strict=True)]


def _copy_seconds(table: BareTable) -> float:
    return table.through_snapseed().total


def _with_batches(table: BareTable, size: int, depth: int) -> float:
    return table.through_snapseed(LoadSettings(batch_bytes=size, queue_depth=depth)).total


def _with_chunks(workspace: Workspace, users: int, rows: int) -> Snapshot:
    # A part must be large enough for one of the largest chunks.
    project = replace(workspace.project, part_rows=20_000)
    return ensure_snapshot(project, f"users-{users}-chunks-{rows}", users, "users", "shares", chunk_rows=rows)


def measure_ten_columns(workspace: Workspace) -> Findings:
    """The COPY phase as `load_snapshot` reports it, for a million rows of ten common types."""
    snapshot = workspace.ten_columns(workspace.rows(_ROWS))
    project = project_of(snapshot)
    workspace.server.ensure_database("ten_columns")
    url = workspace.server.url("ten_columns")
    environment = replace(
        project.environment("dev"), name="ten", snapshot=snapshot.manifest.name, database=url, create_schema=False
    )
    # The server's account must be able to write here.
    file = workspace.server.data_directory / "ten_columns.copy"
    loads: list[LoadReport] = []

    def through_snapseed() -> float:
        loads.append(load_snapshot(project, environment, LoadRequest(consent=True, verify=False)))
        return loads[-1].phases["copying rows"]

    with closing(psycopg.connect(url, autocommit=True)) as connection:
        assert project.schema is not None
        connection.execute(project.schema.read_bytes())
        connection.execute("ALTER TABLE ten_columns DROP CONSTRAINT ten_columns_pkey")
        through_snapseed()
        copy = "COPY ten_columns {} {} WITH (FORMAT binary{})"
        connection.execute(sql.SQL(copy).format(sql.SQL("TO"), sql.Literal(str(file)), sql.SQL("")))
        read = sql.SQL(copy).format(sql.SQL("FROM"), sql.Literal(str(file)), sql.SQL(", FREEZE"))

        def by_the_server() -> float:
            with connection.transaction():
                connection.execute("TRUNCATE ten_columns")
                return seconds(lambda: connection.execute(read))

        mine, least = spreads_in_turns(_MORE_ROUNDS * workspace.rounds, through_snapseed, by_the_server)
    size = loads[-1].entities[0].bytes
    assert abs(file.stat().st_size - size) < 100, "the server wrote other bytes"
    file.unlink()
    what = f"COPY phase of `ten_columns`: {snapshot.manifest.rows:,} rows, {size / 1e6:.0f} MB"
    return Findings((in_seconds(what, _LOWER_BOUND, mine, least, _TARGETS["ten_columns"]),))
