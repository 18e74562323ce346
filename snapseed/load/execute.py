"""Carry out the plan inside the load's transaction. Each step does one thing to the database, as the plan says.

Steps that run triggers, defaults, checks and indexes of the tables use the role's search path.
"""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Mapping
from typing import LiteralString

import msgspec
from msgspec import UNSET
from psycopg import sql

from snapseed.load.copy import copy_rows, merge_rows, stage_table, staged_keys
from snapseed.load.outcome import CopyStarted, times_of
from snapseed.load.partitions.staging import StagedTable, attach_partitions, drop_partitions
from snapseed.load.plan import EmptiedTable, Emptying, LoadPlan, Prepared, TablePlan
from snapseed.load.prepare import LoadSession
from snapseed.load.request import Mode
from snapseed.load.restore import fill_views, restore_positions
from snapseed.load.unchanged import table_state
from snapseed.postgres import listed
from snapseed.postgres.connect import Connection, Statements, role_search_path
from snapseed.postgres.facts import SequenceFacts, TableName
from snapseed.postgres.locks import lock_tables
from snapseed.postgres.provenance import NewLoad, record_load
from snapseed.postgres.rowhash import table_fingerprint
from snapseed.snapshot.hashing import EMPTY, Fingerprint
from snapseed.verify.database import EntityResult, require_rows, verify_entity


def execute(session: LoadSession, prepared: Prepared, plan: LoadPlan, staged: Mapping[str, StagedTable]) -> None:
    """Do what the plan says, verify the rows and record the load. Only the commit is left to do.

    `staged` are the tables, by entity, whose new partitions are filled already.

    Raises `LoadError`, `ServerError` and `VerificationError`. The session's listener hears what was done.
    """
    connection, verify = session.connection, session.request.verify
    if session.environment.connections > 1 and plan.mode is Mode.REPLACE:
        # Readers were let in until now.
        with session.phase("waiting for the tables"):
            lock_tables(connection, [table.table for table in [*plan.tables, *plan.children]], exclusive=True)
    with session.phase("dropping indexes and keys"):
        for setting in plan.settings:
            _set(connection, setting.name, setting.value)
        drop_indexes_and_keys(connection, plan)
    with session.phase("emptying tables"):
        exchanged = [table.parallel for table in plan.tables if table.parallel]
        # A truncate makes each file of a partition again, which takes longer than all else: truncate only what must.
        for parallel in (parallel for parallel in exchanged if not parallel.referenced):
            drop_partitions(connection, parallel)
        with role_search_path(connection):
            empty_tables(connection, plan)
        for parallel in (parallel for parallel in exchanged if parallel.referenced):
            drop_partitions(connection, parallel)
        set_storage(connection, plan, "EXTERNAL")
    kept: dict[str, Fingerprint] = {}
    if verify and plan.mode is Mode.APPEND:
        with session.phase("fingerprinting the existing rows"):
            kept = {str(table.table): table_fingerprint(connection, table.entity, table.table) for table in plan.tables}
    for table in plan.tables:
        if table.parallel:
            with session.phase("attaching partitions", doing=f"attaching the partitions of {table.table}"):
                attach_partitions(connection, table.parallel)
        else:
            _fill(session, table)
    with session.phase("building indexes"), role_search_path(connection):
        build_indexes(connection, plan)
    with session.phase("checking foreign keys"):
        build_foreign_keys(connection, plan)
    with session.phase("setting sequences"):
        set_sequences(connection, plan, by_alter=True)
        restore_positions(connection, plan.restoration)
    if plan.restoration.unfilled:
        with session.phase("filling materialized views"):
            fill_views(connection, plan.restoration)
    if verify:
        held = {name: found.held for name, found in staged.items() if found.held is not None}
        verify_rows(session, plan, held, kept)
    record(session, prepared, plan, staged)
    with session.phase("setting sequences"):
        set_sequences(connection, plan, by_alter=False)


def drop_indexes_and_keys(connection: Statements, plan: LoadPlan) -> None:
    """Drop what slows a bulk load, and turn off what acts on its rows."""
    for drop in plan.restoration.domain_drops:
        connection.execute(drop.encode())
    for table in plan.tables:
        for constraint in (*table.postponed, *table.drop_foreign_keys):
            _alter(connection, table, "DROP CONSTRAINT {}", sql.Identifier(constraint.name))
    for table in plan.tables:
        for index in table.drop_indexes:
            if index.constraint:
                _alter(connection, table, "DROP CONSTRAINT {}", sql.Identifier(index.name))
            else:
                # An index is in the schema of its table.
                name = sql.Identifier(*filter(None, (table.table.schema, index.name)))
                connection.execute(sql.SQL("DROP INDEX {}").format(name))
    _switch_triggers(connection, plan, on=False)
    if any(table.defers for table in plan.tables):
        connection.execute("SET CONSTRAINTS ALL DEFERRED")


def empty_tables(connection: Connection, plan: LoadPlan) -> None:
    """TRUNCATE what can be truncated, in one statement; DELETE from the others, tables that refer to others first."""
    # A truncated table may refer to one that is deleted from, never the other way round.
    tables = _referring_first(plan)
    if truncated := [table.table.rows() for table in tables if table.empty_by is Emptying.TRUNCATE]:
        connection.execute(sql.SQL("TRUNCATE {}").format(listed(truncated)))
    for table in tables:
        if table.empty_by is Emptying.DELETE:
            connection.execute(sql.SQL("DELETE FROM {}").format(table.table.rows()))
    # A logged table may not refer to an unlogged one, so this order holds here too.
    for planned in reversed(plan.tables):
        if planned.make_unlogged:
            _alter(connection, planned, "SET UNLOGGED")


def set_storage(connection: Connection, plan: LoadPlan, storage: LiteralString) -> None:
    """How the columns that the plan names store long values: `EXTERNAL`, uncompressed, or `EXTENDED`, as before.

    It applies to rows that are written from now on.
    """
    action = sql.SQL("ALTER COLUMN {} SET STORAGE " + storage)
    for table in plan.tables:
        if table.uncompressed:
            actions = (action.format(sql.Identifier(name)) for name in table.uncompressed)
            _alter(connection, table, "{}", listed(actions))


def build_indexes(connection: Connection, plan: LoadPlan) -> None:
    """Rebuild the dropped indexes, and the constraints on them, exactly as they were."""
    # Run deferred checks now: ALTER TABLE is refused while any are pending.
    connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
    set_storage(connection, plan, "EXTENDED")
    ((tablespace,),) = connection.execute("SHOW default_tablespace").fetchall()
    for table in plan.tables:
        for index in table.drop_indexes:
            # If it is empty, the database's own default decides, as it did for an index without a tablespace.
            _set(connection, "default_tablespace", index.tablespace)
            for statement in (index.definition, *index.restore):
                connection.execute(statement.encode())
    _set(connection, "default_tablespace", str(tablespace))


def build_foreign_keys(connection: Statements, plan: LoadPlan) -> None:
    """Rebuild the dropped foreign keys, which checks every row, and turn triggers and rules back on."""
    for add in plan.restoration.domain_adds:
        connection.execute(add.encode())
    for table in plan.tables:
        for constraint in (*table.postponed, *table.drop_foreign_keys):
            name, definition = sql.Identifier(constraint.name), constraint.definition.encode()
            statement = sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} ").format(table.table.identifier(), name)
            connection.execute(statement.as_bytes() + definition)
            for restore in constraint.restore:
                connection.execute(restore.encode())
    _switch_triggers(connection, plan, on=True)


def _fill(session: LoadSession, table: TablePlan) -> None:
    """COPY the rows, for an upsert through a temporary table."""
    name = table.entity.name
    session.listener(CopyStarted(name))
    with session.phase("copying rows", doing=f"copying {name}"), role_search_path(session.connection):
        into = stage_table(session.connection, table) if table.staged else table.table.identifier()
        copied = copy_rows(session.connection, session.snapshot, table, into, session.listener, session.settings)
    if table.staged:
        with session.phase("merging rows", doing=f"merging {name}"), role_search_path(session.connection):
            merge_rows(session.connection, table)
    session.listener(copied)


def verify_rows(
    session: LoadSession, plan: LoadPlan, held: Mapping[str, Fingerprint], kept: Mapping[str, Fingerprint]
) -> None:
    """Raise `VerificationError` unless the tables hold the rows of the manifest, and those that were `kept`.

    `held` are fingerprints, by entity, that the server has computed already.
    """
    results = []
    with session.phase("verifying"):
        for table in plan.tables:
            known = held.get(table.entity.name)
            if known == table.entity.digest():
                results.append(EntityResult(table.entity.name, str(table.table), known, known, 0.0))
            else:
                results.append(_verify_table(session.connection, plan, table, kept))
            session.listener(results[-1])
        require_rows(results, session.target.described)


def _verify_table(
    connection: Connection, plan: LoadPlan, table: TablePlan, kept: Mapping[str, Fingerprint]
) -> EntityResult:
    """All rows of a replaced table; the upserted rows; or the rows that were kept and the new ones together."""
    if plan.mode in {Mode.REPLACE, Mode.REPAIR}:
        return verify_entity(connection, table.entity, table.table)
    started = time.monotonic()
    keys = staged_keys(table) if table.staged else None
    observed = table_fingerprint(connection, table.entity, table.table, keys)
    expected = table.entity.digest() + kept.get(str(table.table), EMPTY)
    return EntityResult(table.entity.name, str(table.table), expected, observed, time.monotonic() - started)


def record(session: LoadSession, prepared: Prepared, plan: LoadPlan, staged: Mapping[str, StagedTable]) -> None:
    """Write the row of `snapseed.loads`, with the state that `--if-changed` compares, and the times up to here."""
    with session.phase("recording"):
        mark = record_load(session.connection, new_load(session, prepared, plan, staged))
    session.listener(mark)


def new_load(session: LoadSession, prepared: Prepared, plan: LoadPlan, staged: Mapping[str, StagedTable]) -> NewLoad:
    """The record of a load. In a dry run nothing has changed yet, so nobody knows on which pages."""
    manifest, state = session.snapshot.manifest, dict[str, object]()
    is_ahead = session.request.dry_run
    for table in plan.tables:
        held = table_state(session.connection, table.entity, table.table, [] if is_ahead else None)
        # The server does not count rows that Citus keeps on other nodes.
        counted = held["changes"] if prepared.facts[table.entity.name].citus is None else None
        if is_ahead and counted is not None:
            counted += prepared.changes[table.entity.name].rows
        how = {"mode": str(plan.mode), "verified": session.request.verify, "parts": table.entity.part_digests()}
        if found := staged.get(table.entity.name):
            how["transactions"] = found.transactions
        state[str(table.table)] = {**held, **how, "changes": counted}
    if plan.mode is Mode.REPLACE and (queued := prepared.facts.get(session.queued or "")):
        # The table that workers fill was emptied, so the rows that they put there are ours to replace.
        state[str(queued.name)] = {"oid": queued.oid}
    emptied = {str(child.table): child.rows for child in plan.children}
    left = [str(table.table) for table in plan.left if not table.agrees]
    # As text, because jsonb does not keep the order of the phases.
    times = msgspec.json.encode(times_of(session.events)).decode()
    return NewLoad(
        environment=session.environment.name,
        snapshot=manifest.name,
        identity=manifest.identity,
        seed=None if manifest.seed is UNSET else manifest.seed,
        scale=manifest.scale or None,
        mode=str(plan.mode),
        tables=tuple(state),
        rows=plan.rows,
        state={**state, "emptied": emptied, "left": left, "times": times},
        version=importlib.metadata.version("snapseed"),
    )


def set_sequences(connection: Statements, plan: LoadPlan, *, by_alter: bool) -> None:
    """Let sequences continue after the loaded keys.

    `by_alter`: those that this role owns, by ALTER SEQUENCE, which a rollback undoes. Otherwise the others, by setval,
    which takes effect at once (PostgreSQL manual, "ALTER SEQUENCE", Notes), so only the commit may be left to do.
    """
    uses: dict[str, list[tuple[TableName, SequenceFacts]]] = {}
    for table in plan.tables:
        for sequence in table.sequences:
            if sequence.may_alter is by_alter:
                name = sql.Identifier(sequence.schema, sequence.name).as_string()
                uses.setdefault(name, []).append((table.table, sequence))
    union = sql.SQL(" UNION ALL ")
    for name, columns in uses.items():
        sequence = columns[0][1]
        extreme = sql.SQL("max" if sequence.increment > 0 else "min")
        query = sql.SQL("SELECT {}({}) FROM {}")
        keys = [query.format(extreme, sql.Identifier(used.column), table.identifier()) for table, used in columns]
        starts_over = by_alter and plan.mode is Mode.REPLACE and any(used.owned for _, used in columns)
        if not starts_over:
            # Others may draw from it too, or existing rows stay, so it never goes back.
            keys.append(sql.SQL("SELECT pg_sequence_last_value({}::regclass)").format(sql.Literal(name)))
        # Where the sequence is, or would be by now, if it has produced these keys.
        step = sequence.increment if by_alter else 0
        bounds = map(sql.Literal, (sequence.minimum - step, sequence.maximum - step))
        last = sql.SQL(
            "SELECT least(greatest(key, {}), {}) + {} AS value"
            " FROM (SELECT {}(key)::int8 FROM ({}) AS keys (key)) AS last (key) WHERE key IS NOT NULL"
        ).format(*bounds, sql.Literal(step), extreme, union.join(keys))
        if not by_alter:
            # The catalog keeps the statement on this node: Citus would leave it to the node of the rows.
            setval = sql.SQL(
                "SELECT pg_catalog.setval(seqrelid::pg_catalog.regclass, value)"
                " FROM ({}) AS last, pg_catalog.pg_sequence WHERE seqrelid = {}::pg_catalog.regclass"
            )
            connection.execute(setval.format(last, sql.Literal(name)))
        elif row := connection.execute(last).fetchone():
            restart = sql.SQL("ALTER SEQUENCE {} RESTART WITH {}")
            connection.execute(restart.format(sql.SQL(name), sql.Literal(int(row[0]))))
        elif starts_over:
            connection.execute(sql.SQL("ALTER SEQUENCE {} RESTART").format(sql.SQL(name)))


def _switch_triggers(connection: Statements, plan: LoadPlan, *, on: bool) -> None:
    """Turn triggers and rules off, or back on as they were enabled before."""

    def switch(*, always: bool) -> sql.SQL:
        return sql.SQL("DISABLE" if not on else "ENABLE ALWAYS" if always else "ENABLE")

    # ONLY: the triggers of each partition are in the plan themselves.
    alter = sql.SQL("ALTER TABLE ONLY {} {} TRIGGER {}")
    for table in _referring_first(plan):
        for trigger in table.disable_triggers:
            owner, name = sql.Identifier(trigger.schema, trigger.table), sql.Identifier(trigger.name)
            connection.execute(alter.format(owner, switch(always=trigger.always), name))
        for rule in table.disable_rules:
            _alter(connection, table, "{} RULE {}", switch(always=rule.always), sql.Identifier(rule.name))


def _referring_first(plan: LoadPlan) -> list[EmptiedTable]:
    """All tables of the plan, those that refer to others before these."""
    return [*plan.children, *reversed(plan.tables)]


def _alter(connection: Statements, table: EmptiedTable, action: LiteralString, *parts: sql.Composable) -> None:
    """Alter the table by an action with these parts."""
    connection.execute(sql.SQL("ALTER TABLE {} ").format(table.table.identifier()) + sql.SQL(action).format(*parts))


def _set(connection: Connection, name: str, value: str) -> None:
    """Set a server setting for this transaction."""
    connection.execute("SELECT set_config(%s, %s, true)", (name, value))
