"""One task of a parallel load: rows that go into staging tables over a connection of their own, in one transaction.

A task is picklable and carries all that it needs, so it runs in a thread here or in a process elsewhere. It records its
result in the same transaction, so it takes effect once, however often it runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import msgspec
from psycopg import sql

from snapseed.events import Listener, ignore, phase, phase_seconds, recorded
from snapseed.load.copy import EntityLoad, copy_rows
from snapseed.load.plan import Setting, TablePlan
from snapseed.load.request import LoadSettings
from snapseed.postgres.connect import Session, Target, opened, role_search_path
from snapseed.postgres.facts import TableName
from snapseed.postgres.failures import translated
from snapseed.postgres.rowhash import table_fingerprint
from snapseed.snapshot.hashing import Fingerprint
from snapseed.snapshot.store import Snapshot


@dataclass(frozen=True)
class StagePart:
    """Create tables, copy rows into `into`, build indexes, compute the fingerprint: each only if it is asked for.

    `ledger` is the table of results, `name` the task's own name there, `doing` what messages say. `table` says which
    rows there are and how they are copied. With `fingerprint`, that of `into` is computed.
    """

    name: str
    doing: str
    target: Target
    snapshot: Snapshot
    table: TablePlan
    ledger: TableName
    into: TableName
    settings: tuple[Setting, ...]
    sizes: LoadSettings
    create: tuple[str, ...] = ()
    build: tuple[str, ...] = ()
    fingerprint: bool = False


@dataclass(frozen=True)
class StagedPart:
    """What a task did, or had done when it ran before: the COPY if it was one, the transaction that wrote the rows.

    `held` are the rows of its table, with their fingerprint if that was asked for. `seconds` are those of its phases
    that took time now.
    """

    name: str
    transaction: str
    copied: EntityLoad | None = None
    held: Fingerprint | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)


def stage_part(task: StagePart) -> StagedPart:
    """Carry out a task over a new connection. Raises `LoadError`, `ServerError` and `SnapshotError`."""
    with translated(task.doing, task.target.described), opened(task.target) as session:
        return stage_over(session, task)


def stage_over(session: Session, task: StagePart, listener: Listener = ignore) -> StagedPart:
    """Carry out a task over this connection. The driver's errors become ours."""
    with translated(task.doing, task.target.described), session.transaction():
        for setting in task.settings:
            session.execute("SELECT set_config(%s, %s, true)", (setting.name, setting.value))
        ledger = task.ledger.identifier()
        # Waits for a run of the same task that is still going on, and then finds its result.
        claim = sql.SQL("INSERT INTO {} (name) VALUES ({}) ON CONFLICT DO NOTHING")
        if not session.execute(claim.format(ledger, sql.Literal(task.name))).rowcount:
            look = sql.SQL("SELECT result FROM {} WHERE name = {}")
            (found,) = session.execute(look.format(ledger, sql.Literal(task.name))).fetchall()
            done = msgspec.convert(found[0], StagedPart)
            copied = done.copied and EntityLoad(done.copied.entity, done.copied.rows, done.copied.bytes)
            return replace(done, copied=copied, seconds={})
        done = _carry_out(session, task, listener)
        record = sql.SQL("UPDATE {} SET result = {} WHERE name = {}")
        session.execute(record.format(ledger, sql.Literal(msgspec.json.encode(done).decode()), sql.Literal(task.name)))
    return done


def _carry_out(session: Session, task: StagePart, listener: Listener) -> StagedPart:
    """Do what is asked for, in the order of the task's fields."""
    for statement in task.create:
        session.execute(statement.encode())
    copied = held = None
    events, tell = recorded(listener)
    with role_search_path(session):
        if task.table.slices:
            with phase(tell, "copying rows"):
                copied = copy_rows(session, task.snapshot, task.table, task.into.identifier(), listener, task.sizes)
        with phase(tell, "building indexes"):
            for statement in task.build:
                session.execute(statement.encode())
    if task.fingerprint:
        with phase(tell, "verifying"):
            held = table_fingerprint(session, task.table.entity, task.into)
    ((transaction,),) = session.execute("SELECT pg_current_xact_id()::xid::text").fetchall()
    return StagedPart(task.name, str(transaction), copied, held, phase_seconds(events))
