"""New partitions of a load's tables: filled before its last transaction, and exchanged for the old ones inside it.

A load that was killed leaves its staging schemas. The next load of the same rows into the same tables takes them over;
any other load drops them. The load's advisory lock keeps two loads apart.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain

import msgspec
import psycopg
from psycopg import sql

from snapseed.errors import LoadError, SnapseedError
from snapseed.events import Advanced, Event, Note, PhaseShare
from snapseed.load.copy import COPY_TIMES, EntityLoad
from snapseed.load.outcome import CopyStarted
from snapseed.load.partitions.part import StagedPart, StagePart, stage_over, stage_part
from snapseed.load.plan import LoadPlan, ParallelPlan, Setting, Share, TablePlan
from snapseed.load.prepare import LoadSession
from snapseed.postgres import listed, locks, query
from snapseed.postgres.connect import Connection, Session, connected, opened
from snapseed.postgres.facts import TableName
from snapseed.postgres.failures import may_pass
from snapseed.postgres.locks import watching
from snapseed.postgres.partitions import PartitionFacts, read_stages
from snapseed.postgres.threads import shared_among, shared_elsewhere
from snapseed.snapshot.hashing import Fingerprint, combined

# In the comment on each schema, before what it is for.
_MARK = "snapseed staging "
# Several connections already use the cores.
_ONE_CORE = (Setting("max_parallel_workers_per_gather", "0", ""), Setting("max_parallel_maintenance_workers", "0", ""))


@dataclass(frozen=True)
class StagedTable:
    """The new partitions of a table: what they hold, if it was asked for, and the transactions that wrote the rows.

    `seconds` are those that passed in each phase of filling them.
    """

    copied: EntityLoad
    held: Fingerprint | None
    transactions: tuple[str, ...]
    seconds: Mapping[str, float]


def stage_tables(session: LoadSession, plan: LoadPlan) -> dict[str, StagedTable]:
    """Fill the new partitions of all tables that go parallel, by entity. What is staged and right is not done again."""
    tables = [(table, table.parallel) for table in plan.tables if table.parallel]
    if session.executor and not tables:
        session.listener(Note("the cluster has nothing to do: no table goes parallel, and --dry-run says why"))
    if tables or plan.stages:
        with session.phase("looking for staging tables"):
            _set_up(session, plan)
    staged: dict[str, StagedTable] = {}
    for table, parallel in tables:
        name = table.entity.name
        session.listener(CopyStarted(name))
        with session.phase("filling partitions", doing=f"filling the partitions of {table.table}"):
            parts = [part for step in _steps(session, plan, table, parallel) for part in _carried_out(session, step)]
            staged[name] = _together(table, parallel.connections, parts)
            for share, seconds in staged[name].seconds.items():
                session.listener(PhaseShare("filling partitions", share, seconds))
        session.listener(staged[name].copied)
    return staged


def _steps(session: LoadSession, plan: LoadPlan, table: TablePlan, parallel: ParallelPlan) -> Iterator[list[StagePart]]:
    """The tasks for one table: step after step, those of one step in any order."""
    tree, entity = parallel.tree, msgspec.structs.replace(table.entity, files=())
    bare = replace(table, entity=entity, parallel=None, drop_indexes=(), drop_foreign_keys=(), reasons=())
    plain = StagePart(
        name="tables",
        doing=f"creating staging tables of {table.table}",
        target=session.connection.anywhere(session.target),
        snapshot=replace(session.snapshot, manifest=msgspec.structs.replace(session.snapshot.manifest, entities=())),
        table=bare,
        ledger=TableName(tree.stage, "parts"),
        into=tree.routing(tree.oid),
        settings=(*plan.settings, *_ONE_CORE, Setting("statement_timeout", session.environment.statement_timeout, "")),
        sizes=session.settings,
    )

    def finishing(task: StagePart, found: PartitionFacts) -> StagePart:
        """The task, which also builds the indexes of a partition and computes its fingerprint."""
        named = replace(task, name=f"partition {found.name}", into=found.staged, build=found.build)
        return replace(named, fingerprint=session.request.verify)

    copies = [
        replace(
            plain,
            name=f"rows {number}",
            doing=f"copying {_files(share)} into {table.table}",
            table=replace(bare, slices=share.slices, freeze=not parallel.routed),
        )
        for number, share in enumerate(parallel.shares)
    ]
    if not parallel.routed:
        filling = "filling partition {} from {}"
        yield [
            replace(finishing(copy, found), doing=filling.format(found.name, _files(share)), create=found.create)
            for copy, share in zip(copies, parallel.shares, strict=True)
            if (found := share.partition)
        ]
        return

    def alter(found: PartitionFacts, action: str) -> str:
        """The statement that attaches or detaches a partition, in the tree that finds the partition of each row."""
        root = tree.routing(found.parent_oid).identifier().as_string()
        return f"ALTER TABLE {root} {action} PARTITION {found.staged.identifier().as_string()}"

    attached = ((*found.create, f"{alter(found, 'ATTACH')} {found.bound}") for found in tree.partitions)
    yield [replace(plain, create=(*tree.create, *chain.from_iterable(attached)))]
    yield copies
    building = "building the indexes of partition {}"
    yield [replace(finishing(plain, found), doing=building.format(found.name)) for found in tree.partitions]
    yield [replace(plain, name="detached", create=tuple(alter(found, "DETACH") for found in tree.partitions))]


def _carried_out(session: LoadSession, tasks: Sequence[StagePart]) -> list[StagedPart]:
    """The results of tasks that do not depend on each other. Raises the first failure."""
    entity, most = tasks[0].table.entity, session.environment.connections
    # The largest first, so that none is left for the end.
    ordered = sorted(tasks, key=lambda task: sum(part.rows for part in task.table.slices or ()), reverse=True)
    copied: dict[str, int] = {}

    def progress(task: str, rows: int) -> Advanced:
        """How many rows all tasks together have copied."""
        copied[task] = rows
        return Advanced(entity.name, sum(copied.values()), entity.rows)

    if session.executor is not None:

        def done(_number: int, part: StagedPart) -> None:
            """Tell the rows of a task that has ended."""
            if part.copied:
                session.listener(progress(part.name, part.copied.rows))

        return shared_elsewhere(session.executor, stage_part, ordered, most, done)
    with ExitStack() as stack:
        own = [stack.enter_context(connected(tasks[0].target)) for _ in ordered[:most]]
        watches = {each: stack.enter_context(watching(tasks[0].target, each, session.listener)) for each in own}

        def carry_out(task: StagePart, connection: Session, stop: threading.Event) -> StagedPart:
            """Carry out a task; another that fails stops it."""

            def tell(event: Event) -> None:
                """Tell the rows of all tasks in place of those of this one."""
                if stop.is_set():
                    raise CancelledError
                if isinstance(event, Advanced):
                    watches[connection].tell(progress(task.name, event.done))

            return stage_over(connection, task, tell)

        return shared_among(own, [partial(carry_out, task) for task in ordered])


@contextmanager
def cleared(session: LoadSession) -> Iterator[None]:
    """If the load fails for good, drop its staging tables. A load that may succeed on a retry takes them over."""
    try:
        yield
    except BaseException as exc:
        if session.environment.connections > 1 and not (isinstance(exc, SnapseedError) and may_pass(exc)):
            with suppress(psycopg.Error), session.connection.transaction():
                locks.lock(session.connection)
                _drop(session.connection, [stage.schema for stage in read_stages(session.connection) if stage.is_ours])
        raise


def _set_up(session: LoadSession, plan: LoadPlan) -> None:
    """Create the staging schemas that are missing, each table's with a table of results; drop all that are for others.

    Notes say what happens to those of a load that did not finish.
    """
    tables = [(table, table.parallel) for table in plan.tables if table.parallel]
    wanted = dict[str, str]()
    for table, parallel in tables:
        # What they are for: the same rows, shared out in the same way, into the same tables.
        kinds = [(column.name, str(column.kind)) for column in table.columns]
        parts = (session.snapshot.manifest.identity, session.request.verify, kinds, parallel.tree, parallel.shares)
        wanted |= dict.fromkeys(parallel.tree.schemas, _MARK + hashlib.sha256(repr(parts).encode()).hexdigest())
    stale = [stage for stage in plan.stages if wanted.get(stage.schema) != stage.mark]
    if stale:
        left = ", ".join(dict.fromkeys(map(str, stale)))
        session.listener(Note(f"dropping what a load that did not finish has left: {left}"))
    if not tables:
        _drop(session.connection, [stage.schema for stage in stale])
        return
    with opened(session.connection.anywhere(session.target)) as connection, connection.transaction():
        _drop(connection, [stage.schema for stage in stale])
        for schema, mark in wanted.items():
            new = sql.Identifier(schema)
            connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(new))
            connection.execute(sql.SQL("COMMENT ON SCHEMA {} IS {}").format(new, sql.Literal(mark)))
        for table, parallel in tables:
            stage_name, ledger = parallel.tree.stage, sql.Identifier(parallel.tree.stage, "parts")
            # A crash of the server empties it, as it does unlogged partitions: then all tasks run again.
            create = sql.SQL("CREATE UNLOGGED TABLE IF NOT EXISTS {} (name text PRIMARY KEY, result jsonb)")
            connection.execute(create.format(ledger))
            if any(stage.schema == stage_name and stage not in stale for stage in plan.stages):
                done = connection.execute(sql.SQL("SELECT FROM {}").format(ledger)).rowcount
                steps = len(list(chain(*_steps(session, plan, table, parallel))))
                text = f"{table.table}: taking over the staging tables of a load that did not finish"
                session.listener(Note(f"{text}, which had done {done} of {steps} steps"))


def _drop(connection: Connection, schemas: Sequence[str]) -> None:
    """Drop staging schemas, after the end of all sessions that still write into them."""
    if schemas:
        connection.execute(query("end_staging"), {"schemas": schemas})
    for name in schemas:
        connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(name)))


def _files(share: Share) -> str:
    """The files of a share, for a message."""
    paths = [part.file.path for part in share.slices]
    return "no file" if not paths else paths[0] if len(paths) == 1 else f"{paths[0]} to {paths[-1]}"


def _together(table: TablePlan, connections: int, parts: Sequence[StagedPart]) -> StagedTable:
    """The results of all parts. Raises `LoadError` if a row of the snapshot is in none of them."""
    copies = [part.copied for part in parts if part.copied]
    rows = sum(copied.rows for copied in copies)
    if rows != table.entity.rows:
        raise LoadError(
            "rows of the snapshot have no partition",
            where=str(table.table),
            observed=f"{rows:,} rows within the bounds of its partitions",
            expected=f"{table.entity.rows:,} rows",
            next_step="create the partitions that are missing, or a default partition",
        )
    # Connections work side by side, so the times of one of them are those that pass.
    times = {name: sum(getattr(copied, name) for copied in copies) / connections for name in COPY_TIMES}
    seconds = Counter[str]()
    for part in parts:
        seconds.update({name: spent / connections for name, spent in part.seconds.items()})
    fingerprints = [part.held for part in parts if part.held]
    return StagedTable(
        EntityLoad(entity=table.entity.name, rows=rows, bytes=sum(copied.bytes for copied in copies), **times),
        combined(fingerprints) if fingerprints else None,
        tuple(part.transaction for part in parts if part.copied),
        seconds,
    )


# ── Inside the load's transaction: the old partitions go, the filled ones take their place ───────────────────────────
# Statements that need no answer are sent together, since each round trip prolongs the lock.


def drop_partitions(connection: Connection, plan: ParallelPlan) -> None:
    """Drop the old partitions. Rows that others have in a table that refers to them have to be gone already."""
    if plan.referenced:
        # DROP TABLE would take the foreign keys of those tables with it, and refuses.
        detach = sql.SQL("ALTER TABLE {} DETACH PARTITION {}")
        _run(connection, (detach.format(p.parent.identifier(), p.name.identifier()) for p in plan.tree.partitions))
    names = listed(found.name.identifier() for found in plan.tree.partitions)
    connection.execute(sql.SQL("DROP TABLE {}").format(names))


def attach_partitions(connection: Connection, plan: ParallelPlan) -> None:
    """Attach the filled tables, default partitions last: PostgreSQL scans these for rows that a new partition takes.

    It scans no other table, because each has its bounds as a check, which goes afterwards. Foreign keys are checked.
    """
    partitions = plan.tree.partitions
    move = sql.SQL("ALTER TABLE {} SET SCHEMA {}")
    attach = "ALTER TABLE {} ATTACH PARTITION {} "
    drop = sql.SQL("ALTER TABLE {} DROP CONSTRAINT snapseed_bounds")
    # One kind of statement after the other: the server rebuilds what it remembers of the table less often.
    _run(connection, (move.format(p.staged.identifier(), sql.Identifier(str(p.name.schema))) for p in partitions))
    _run(
        connection,
        # The bounds are the server's own text.
        (sql.SQL(attach).format(p.parent.identifier(), p.name.identifier()) + sql.SQL(p.bound) for p in partitions),
    )
    _run(connection, (drop.format(p.name.identifier()) for p in partitions))
    _run(connection, (sql.Composed([sql.SQL(text)]) for p in partitions for text in p.placed))
    connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(listed(plan.tree.schemas)))


def _run(connection: Connection, statements: Iterable[sql.Composed]) -> None:
    """Send statements together."""
    connection.execute(sql.SQL("; ").join(statements))
