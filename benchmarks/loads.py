"""Whole loads: their phases, the cost of their guarantees, and start-up and memory of the process."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from psycopg import sql

from benchmarks.copy_phase import server_side_copy, write_copy_file
from benchmarks.measure import (
    Comparison,
    Findings,
    Spread,
    Table,
    in_milliseconds,
    in_seconds,
    in_turns,
    seconds,
    spreads_in_turns,
)
from benchmarks.processes import PROGRAM, PeakMemory, compile_package, peak_memory, process_seconds
from benchmarks.workspace import Workspace, project_of
from snapseed.config import Environment, Project
from snapseed.load import execute
from snapseed.load.outcome import LoadReport
from snapseed.load.plan import LoadPlan, Prepared
from snapseed.load.plan.tables import plan_load
from snapseed.load.prepare import read_facts
from snapseed.load.request import LoadRequest
from snapseed.load.snapshot import load_snapshot
from snapseed.postgres.connect import Connection
from snapseed.snapshot.store import Snapshot
from snapseed.verify.database import verify_snapshot

# Phases that take less than this are left out of the table.
_SHORTEST_PHASE = 0.005
# A whole load takes several seconds and syncs to disk.
_MOST_LOADS = 3
_START_UPS = 15
_LARGE_ROWS = 20_000_000
_MEMORY_TARGET = 300
_TEN_COLUMNS_MEMORY_TARGET = 127
_SMALL_LOAD_TARGET = 2.3
# Of the COPY phase.
VERIFICATION_TARGET = 0.4
_LIBRARIES = ("pyarrow.parquet", "polars, pyarrow.parquet")


def measure_start_up(workspace: Workspace) -> Findings:
    """`snapseed --help` against importing the library that parses its command line."""
    compile_package()
    snapseed = Path(sys.executable).with_name("snapseed")
    ours, imports = spreads_in_turns(
        max(1, round(_START_UPS * min(workspace.scale, 1))),
        partial(process_seconds, str(snapseed), "--help"),
        partial(process_seconds, sys.executable, "-c", "import typer"),
    )
    return Findings((in_milliseconds("`snapseed --help`", '`python -c "import typer"`', ours, imports),))


def measure_small_load(workspace: Workspace) -> Findings:
    """`snapseed load test` against the least that a Python program needs: its libraries and one query."""
    compile_package()
    workspace.copy_committed("test")
    load = (*PROGRAM, "load", "test", "--yes", "--quiet", "--project", str(workspace.project.folder))
    # The first load creates the database and the tables.
    process_seconds(*load)
    select = (str(workspace.server.psql()), "--no-psqlrc", "--command=select 1", workspace.server.url("postgres"))
    ours, query, imports = spreads_in_turns(
        max(1, round(_START_UPS * min(workspace.scale, 1))),
        partial(process_seconds, *load),
        partial(process_seconds, *select),
        partial(process_seconds, sys.executable, "-c", "import psycopg, pyarrow"),
    )
    what = "`snapseed load test`, start to exit, server running"
    least = '`psql -c "select 1"`, then `python -c "import psycopg, pyarrow"`'
    return Findings((in_milliseconds(what, least, ours, query + imports, _SMALL_LOAD_TARGET),))


def measure_memory(workspace: Workspace) -> Findings:
    """Peak memory of loading few and many rows: the example, and the table with ten columns."""
    large = [_LARGE_ROWS] if workspace.large else []
    snapshots = [
        *(workspace.snapshot(workspace.rows(users)) for users in (10_000, 50_000)),
        *(workspace.ten_columns(workspace.rows(rows)) for rows in (10_000, 100_000, 1_000_000, *large)),
    ]
    rows = []
    for snapshot in snapshots:
        project, manifest = project_of(snapshot), snapshot.manifest
        database = f"memory_{project.folder.name}".replace("-", "_")
        workspace.server.ensure_database(database)
        target = ("--snapshot", manifest.name, "--database", workspace.server.url(database), "--yes")
        what = f"`{manifest.entities[0].name}`" if len(manifest.entities) == 1 else "the four example tables"
        rows.append((what, f"{manifest.rows:,}", *_memory_of_load(project, *target).cells))
    bare = [
        f"`import {names}` {resident}, {anonymous} without mapped files"
        for names in _LIBRARIES
        for resident, anonymous in [peak_memory(sys.executable, "-c", f"import {names}").cells]
    ]
    text = (
        f"Peak resident memory of the `snapseed load` process. It should stay below {_MEMORY_TARGET} MB, that of"
        f" `ten_columns` at {_TEN_COLUMNS_MEMORY_TARGET} MB or less, and not grow with the rows. It includes pages of"
        " mapped files, that is, of libraries. The system can reclaim those at any time, and their number depends on"
        " the state of its cache, so the last column leaves them out."
        f" For comparison: {'; '.join(bare)}. Only `make bench-large` loads {_LARGE_ROWS:,} rows."
    )
    header = ("tables", "rows", "peak", "without mapped files")
    return Findings((), (Table("Peak memory of a load", text, header, rows),))


def _memory_of_load(project: Project, *arguments: str) -> PeakMemory:
    return peak_memory(*PROGRAM, "load", "dev", "--quiet", "--project", str(project.folder), *arguments)


def measure_load(workspace: Workspace) -> Findings:
    """Load users and a million `shares` with keys, indexes and checks; and all four entities at scale 10k."""
    rounds = min(_MOST_LOADS, workspace.rounds)
    large = workspace.snapshot(workspace.rows(200_000), "users", "shares")
    environment = workspace.environment(large, "large")
    loads: list[LoadReport] = []

    def through_snapseed() -> float:
        loads.append(load_snapshot(workspace.project, environment, LoadRequest(consent=True)))
        return loads[-1].seconds

    with workspace.connection("large") as connection:
        _apply_schema(workspace, connection)
        # They are not in this snapshot, and a table that others refer to cannot be truncated alone.
        connection.execute("DROP TABLE transcripts, embeddings")
        plan = _plan(connection, large)
        folder = workspace.project.folder
        files = [write_copy_file(large, table, folder / f"{table.entity.name}.copy") for table in plan.tables]
        whole, by_hand = spreads_in_turns(
            rounds, through_snapseed, partial(seconds, partial(_load_by_hand, connection, plan, files))
        )
        comparisons = [
            in_seconds(
                f"whole load of users and shares: {large.manifest.rows:,} rows, with keys, indexes, checks",
                "the same steps by hand with server-side COPY, without checking files or verifying rows",
                whole,
                by_hand,
                digits=1,
            ),
            *_verification(workspace, environment, "users and shares", loads),
        ]
    everything = workspace.snapshot(workspace.rows(10_000))
    environment_of_all = workspace.environment(everything, "everything")
    request = LoadRequest(consent=True)
    load_all = partial(load_snapshot, workspace.project, environment_of_all, request)
    (all_loads,) = in_turns(rounds, load_all)
    comparisons += _verification(workspace, environment_of_all, "all four entities at 10k", all_loads)
    return Findings(tuple(comparisons), (_phases(loads, all_loads), _entities(all_loads)))


def _load_by_hand(connection: Connection, plan: LoadPlan, files: Sequence[Path]) -> None:
    """The script that a careful engineer would write, with files that are already on the server."""
    with connection.transaction():
        execute.empty_tables(connection, plan)
        execute.drop_indexes_and_keys(connection, plan)
        for table, file in zip(plan.tables, files, strict=True):
            server_side_copy(connection, table, file)
        execute.build_indexes(connection, plan)
        execute.build_foreign_keys(connection, plan)
    for table in plan.tables:
        connection.execute(sql.SQL("ANALYZE {}").format(table.table.identifier()))


def _verification(
    workspace: Workspace, environment: Environment, what: str, loads: Sequence[LoadReport]
) -> list[Comparison]:
    """Verification as part of the load, and by `snapseed verify` after it; both against the COPY phase."""
    copying = _phase(loads, "copying rows")
    reports = [verify_snapshot(workspace.project, environment) for _ in loads]
    assert all(report.agrees for report in reports)
    later = Spread(tuple(report.phases["rows"] for report in reports))
    compared = (
        (f"verification during the load: {what}", "COPY phase of that load", _phase(loads, "verifying")),
        (f"database part of `snapseed verify`: {what}", "COPY phase of the load", later),
    )
    return [in_seconds(*measured, copying, VERIFICATION_TARGET) for measured in compared]


def _phase(loads: Sequence[LoadReport], name: str) -> Spread:
    return Spread(tuple(load.phases[name] for load in loads))


def _phases(large: Sequence[LoadReport], everything: Sequence[LoadReport]) -> Table:
    def cells(loads: Sequence[LoadReport], name: str) -> tuple[str, str]:
        middle, whole = _phase(loads, name).median, Spread(tuple(load.seconds for load in loads)).median
        return f"{middle:.2f}", f"{middle / whole:.0%}"

    # The first load into a database also creates the schema, so the phases are those of the last one.
    rows = [
        (name, *cells(large, name), *cells(everything, name))
        for name in everything[-1].phases
        if max(_phase(large, name).median, _phase(everything, name).median) >= _SHORTEST_PHASE
    ]
    return Table(
        "Phases of a load",
        f"Median seconds and share of the total, for users and shares ({large[0].plan.rows:,} rows) and for all four"
        f" entities ({everything[0].plan.rows:,} rows).",
        ("phase", "users, shares", "share", "all four", "share"),
        rows,
    )


def _entities(loads: Sequence[LoadReport]) -> Table:
    rows = []
    for index, entity in enumerate(loads[0].entities):
        mine = [load.entities[index] for load in loads]
        taken = Spread(tuple(load.seconds for load in mine)).median
        encoding = Spread(tuple(load.encode + load.read for load in mine)).median
        rows.append(
            (
                f"`{entity.entity}`",
                f"{entity.rows:,}",
                f"{entity.bytes / 1e6:.0f} MB",
                f"{taken:.2f} s",
                f"{encoding:.2f} s",
                f"{entity.bytes / 1e6 / taken:.0f} MB/s",
            )
        )
    return Table(
        "COPY phase by entity",
        "All four entities, into tables with their keys and checks. Reading and encoding run in parallel with sending;"
        " where they take much less than the total, the server is the bottleneck.",
        ("entity", "rows", "sent", "total", "read, encode", "speed"),
        rows,
    )


def _plan(connection: Connection, snapshot: Snapshot) -> LoadPlan:
    entities = snapshot.manifest.entities
    return plan_load(Prepared(entities, read_facts(connection, entities)))


def _apply_schema(workspace: Workspace, connection: Connection) -> None:
    assert workspace.project.schema is not None
    with connection.transaction():
        connection.execute(workspace.project.schema.read_bytes())
