"""Make a database equal to its snapshot: change exactly the rows that differ, in one transaction or by a script.

A repair is guarded, locked, verified and recorded as a load is, by the steps of `snapseed.load`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO

import numpy as np
import pyarrow as pa

from snapseed.config import Environment, Project
from snapseed.diff.compare import Bools, differing_columns
from snapseed.diff.pairs import Pair
from snapseed.diff.rows import Difference
from snapseed.diff.sides import entity_table
from snapseed.diff.statements import HASH, Rows, Script, Server, change_rows, is_keyed, stage, staged_columns
from snapseed.diff.tables import SnapshotTable
from snapseed.errors import SnapseedError, UsageError
from snapseed.events import Advanced, Listener, ignore, phase, recorded
from snapseed.load.encode import encode_text
from snapseed.load.execute import new_load, record, set_sequences, verify_rows
from snapseed.load.outcome import LoadReport, failed
from snapseed.load.plan import Prepared, RowChanges, TablePlan
from snapseed.load.plan.tables import plan_load, require_consent
from snapseed.load.prepare import LoadSession, prepare, read_facts
from snapseed.load.request import LoadRequest, LoadSettings, Mode
from snapseed.load.snapshot import over_connection, transaction, without_queued
from snapseed.load.unchanged import table_state
from snapseed.postgres import query
from snapseed.postgres.catalog import read_rows
from snapseed.postgres.copy_out import UnstorableError
from snapseed.postgres.facts import TableFacts
from snapseed.postgres.locks import reading
from snapseed.postgres.provenance import recorded_by_script
from snapseed.servers.targets import resolve_target
from snapseed.snapshot.arrow import in_one_piece
from snapseed.snapshot.hashing import row_hashes
from snapseed.snapshot.store import Snapshot, snapshot_of

# More bytes of staged rows than these wait in a file.
_SPOOLED_BYTES = 16 << 20


@dataclass(frozen=True)
class RepairRequest:
    """What to repair: `only` names entities, all if it is empty.

    `dry_run` only counts the rows. With a `script`, the statements go to this file instead. `consent` is the user's yes
    to losing rows that snapseed did not load.
    """

    only: Sequence[str] = ()
    dry_run: bool = False
    script: Path | None = None
    consent: bool = False


@dataclass(frozen=True)
class EntityRepair:
    """How many rows of a table were deleted, updated and inserted.

    A row that gets another value in a column of a unique index is deleted and inserted.
    """

    entity: str
    table: str
    deleted: int
    updated: int
    inserted: int


@dataclass(frozen=True)
class RepairReport:
    """What a repair changed; with `dry_run` or a `script`, what it would change. Tables that agree are left out.

    `load` tells of the target and of the phases, as after a load.
    """

    load: LoadReport
    script: Path | None
    entities: tuple[EntityRepair, ...]

    @property
    def rows(self) -> int:
        """How many rows are changed."""
        return sum(each.deleted + each.updated + each.inserted for each in self.entities)


def repair_snapshot(
    project: Project, environment: Environment, request: RepairRequest = RepairRequest(), listener: Listener = ignore
) -> RepairReport:
    """Make the database of an environment equal to its snapshot.

    Raises what `load_snapshot` raises. The error says how it left the database: unchanged, unless the answer to the
    commit was lost. `UsageError` if the script cannot be written.
    """
    target, snapshot = resolve_target(project, environment), snapshot_of(environment)
    is_dry = request.dry_run or request.script is not None
    asked = LoadRequest(only=request.only, mode=Mode.REPAIR, consent=request.consent, dry_run=is_dry)
    asked, queued = without_queued(asked, project, environment, snapshot.manifest)
    what = project, environment, snapshot, target, asked, LoadSettings(), queued
    events, tell = recorded(listener)
    report = LoadReport(environment.name, target.described, target.source, snapshot.manifest, request.dry_run)
    if is_dry:
        with _file(request.script) as file, phase(tell, "comparing"), reading(target, "comparing", tell) as connection:
            prepared = _write(LoadSession(*what, connection, tell, events), file)
    else:
        try:
            with over_connection(target, tell, "connecting") as (connection, heard):
                prepared = _repair(LoadSession(*what, connection, heard, events))
        except (SnapseedError, KeyboardInterrupt) as exc:
            error = failed(exc, report.after(events), only=())
            raise error from (exc.__cause__ if error is exc else exc)
    entities = tuple(
        EntityRepair(name, str(prepared.facts[name].name), each.deleted, each.updated, each.inserted)
        for name, each in prepared.changes.items()
        if each.commands
    )
    return RepairReport(report.after(events), request.script, entities)


def _write(session: LoadSession, file: IO[bytes]) -> Prepared:
    """Write a script that does later what `_repair` does. Returns what was found."""
    connection, request, manifest = session.connection, session.request, session.snapshot.manifest
    environment, facts = session.environment.name, read_facts(connection, manifest.entities)
    if not facts:
        none, where = "none of the snapshot's tables exists", session.target.described
        raise UsageError(none, where=where, next_step=f"run `snapseed load {environment}`")
    prepared = Prepared(manifest.chosen(request.only), facts, capture=manifest.capture, environment=environment)
    tables, script = plan_load(prepared, request).tables, Script(connection, file)
    script.begin(tables, f"make {session.target.described} equal to snapshot {manifest.name}")
    prepared, _ = _compared(script, session.snapshot, prepared, tables, session.listener)
    plan = plan_load(prepared, request)
    change_rows(script, plan, prepared)
    script.verify(plan.tables)
    for statement in recorded_by_script(connection, new_load(session, prepared, plan, {})):
        script.execute(statement)
    set_sequences(script, plan, by_alter=False)
    script.execute("COMMIT")
    return prepared


def _repair(session: LoadSession) -> Prepared:
    """The transaction. Returns what was found and changed."""
    connection, request, server = session.connection, session.request, Server(session.connection)
    with transaction(session):
        prepared = prepare(session)
        with session.phase("comparing"):
            tables = plan_load(prepared, request).tables
            prepared, pairs = _compared(server, session.snapshot, prepared, tables, session.listener)
        with session.phase("planning"):
            plan = plan_load(prepared, request)
            require_consent(prepared, request, session.environment, session.snapshot.manifest.identity)
        session.listener(plan)
        if not any(each.commands for each in prepared.changes.values()):
            return prepared
        before = {table.entity.name: table_state(connection, table.entity, table.table, []) for table in plan.tables}
        with session.phase("changing rows"):
            change_rows(server, plan, prepared)
        with session.phase("verifying changes"):
            proved = {}
            for table in plan.tables:
                # Nobody else writes: where the server counts our changes and no others, equal rows are equal still.
                # A TRUNCATE, which it does not count, leaves other files.
                name, after = table.entity.name, table_state(connection, table.entity, table.table, [])
                ours, count = prepared.changes[name].rows, before[name]["changes"]
                is_ours = count is not None and after == before[name] | {"changes": count + ours}
                if is_ours and (not ours or pairs[name].agrees):
                    proved[name] = table.entity.digest()
        verify_rows(session, plan, proved, {})
        record(session, prepared, plan, {})
        with session.phase("setting sequences"):
            set_sequences(connection, plan, by_alter=False)
    return prepared


def _compared(
    server: Server | Script, snapshot: Snapshot, prepared: Prepared, tables: Sequence[TablePlan], listener: Listener
) -> tuple[Prepared, dict[str, Pair]]:
    """Find the rows that differ, and bring them into temporary tables. Returns also where they are, by entity."""
    fixed: dict[int, set[str]] = {}
    oids = [prepared.facts[table.entity.name].oid for table in tables]
    for row in read_rows(server.connection, query("fixed_columns", Path(__file__).parent), oids=oids):
        fixed.setdefault(row["of_table"], set()).add(row["name"])
    changes, pairs = {}, {}
    for number, table in enumerate(tables, 1):
        facts = prepared.facts[table.entity.name]
        theirs = entity_table(server.connection, table.entity, facts)
        pair = Pair.of(table.entity.name, SnapshotTable(snapshot, table.entity), theirs).narrowed()
        changes[pair.entity] = _staged(server, pair, table, facts, fixed.get(facts.oid, set()))
        pairs[pair.entity] = pair
        listener(Advanced("comparing", number, len(tables), unit="tables"))
    return replace(prepared, changes=changes), pairs


def _staged(
    server: Server | Script, pair: Pair, table: TablePlan, facts: TableFacts, fixed: Collection[str]
) -> RowChanges:
    """Stage the rows of a table that differ. Those whose `fixed` columns differ are moved."""
    counts, columns, keyed = Counter[Rows](), set[str](), is_keyed(table, facts)
    # A column with values that no snapshot holds is compared, and so has, texts.
    texts = {column.name: column.kind() for column in pair.columns if column.type == "text"}
    columns_as_sent = (replace(column, kind=texts.get(column.name, column.kind)) for column in table.columns)
    table = replace(table, columns=tuple(columns_as_sent))
    with ExitStack() as stack:
        files = {rows: stack.enter_context(SpooledTemporaryFile(_SPOOLED_BYTES)) for rows in Rows}
        try:
            for found in stack.enter_context(closing(pair.differences())):
                differs = differing_columns(found, pair.columns, 0.0)
                moves = [where for name, where in differs.items() if name in fixed or not keyed]
                moved = np.any(moves, axis=0) if moves else np.zeros(found.before.num_rows, bool)
                columns.update(name for name, where in differs.items() if (where & ~moved).any())
                for rows, values in _sorted(found, moved, keyed=keyed).items():
                    counts[rows] += values.num_rows
                    arrays = {column.name: in_one_piece(values.column(column.name)) for column in pair.columns}
                    sent = staged_columns(table, facts, rows)
                    if sent == [HASH]:
                        hashes = row_hashes(list(arrays.values()), [column.kind() for column in pair.columns])
                        arrays[HASH.name] = pa.array(hashes.view(np.int64))
                    files[rows].write(encode_text([arrays[column.name] for column in sent], sent))
        except UnstorableError as exc:
            return _staged(server, pair.with_texts(exc), table, facts, fixed)
        for rows in counts:
            files[rows].seek(0)
            stage(server, table, facts, rows, files[rows])
    return RowChanges(
        deleted=counts[Rows.GONE] + counts[Rows.MOVED],
        updated=counts[Rows.CHANGED],
        inserted=counts[Rows.NEW] + counts[Rows.MOVED],
        moved=counts[Rows.MOVED],
        columns=frozenset(columns),
        as_text=frozenset(texts),
    )


def _sorted(found: Difference, moved: Bools, *, keyed: bool) -> dict[Rows, pa.Table]:
    """What is to be done with rows: the snapshot is on the left. Without a key, rows are told apart by their values."""
    joined = pa.concat_tables
    chosen = {
        Rows.GONE: found.added if keyed else joined([found.added, found.after]),
        Rows.NEW: found.removed if keyed else joined([found.removed, found.before]),
        Rows.MOVED: found.before.filter(moved & keyed),
        Rows.CHANGED: found.before.filter(~moved & keyed),
    }
    return {rows: values for rows, values in chosen.items() if values.num_rows}


@contextmanager
def _file(script: Path | None) -> Iterator[IO[bytes]]:
    """The file of a script, which is there once it is complete; without one, what is written goes nowhere."""
    path = script or Path(os.devnull)
    if path.is_file():
        next_step = "name another file, or remove this one"
        raise UsageError("the script would overwrite a file", where=str(script), next_step=next_step)
    is_device = path.exists()
    written = path if is_device else path.with_name(f".{path.name}.partial")
    try:
        # Others may not read the rows.
        file = open(written, "wb", opener=partial(os.open, mode=0o600))  # noqa: SIM115 - closed below
    except OSError as exc:
        observed = exc.strerror or str(exc)
        raise UsageError("the script cannot be written", where=str(script), observed=observed) from exc
    try:
        with file:
            yield file
        if not is_device:
            written.replace(path)
    finally:
        if not is_device:
            written.unlink(missing_ok=True)
