"""Set sequences after a load: after the loaded keys or, for a capture, where they stood in the source."""

from __future__ import annotations

from psycopg import sql

from snapseed.load.plan import LoadPlan
from snapseed.load.request import Mode
from snapseed.postgres.catalog import SequenceFacts, TableName
from snapseed.postgres.connect import Connection
from snapseed.snapshot.manifest import SequencePosition


def set_sequences(connection: Connection, plan: LoadPlan, *, by_alter: bool) -> None:
    """Let sequences continue.

    `by_alter`: those that this role owns, by ALTER SEQUENCE, which a rollback undoes. Otherwise the others, by setval,
    which takes effect at once (PostgreSQL manual, "ALTER SEQUENCE", Notes), so only the commit may be left to do.
    """
    uses: dict[str, list[tuple[TableName | None, SequenceFacts]]] = {}
    used = [(table.table, sequence) for table in plan.tables for sequence in table.sequences]
    for table, sequence in [*used, *((None, sequence) for sequence in plan.restoration.sequences)]:
        if sequence.may_alter is by_alter:
            name = sql.Identifier(sequence.schema, sequence.name).as_string(connection)
            uses.setdefault(name, []).append((table, sequence))
    for name, columns in uses.items():
        # Otherwise others may draw from it too, or existing rows stay, so it never goes back.
        starts_over = by_alter and plan.mode is Mode.REPLACE and any(sequence.owned for _, sequence in columns)
        sequence = columns[0][1]
        if position := plan.restoration.positions.get((sequence.schema, sequence.name)):
            _restore(connection, name, sequence, position, starts_over=starts_over)
        else:
            _continue(connection, name, columns, starts_over=starts_over, by_alter=by_alter)


def _continue(
    connection: Connection,
    name: str,
    columns: list[tuple[TableName | None, SequenceFacts]],
    *,
    starts_over: bool,
    by_alter: bool,
) -> None:
    """Set it after the furthest key in its columns."""
    sequence = columns[0][1]
    extreme = sql.SQL("max" if sequence.increment > 0 else "min")
    query = sql.SQL("SELECT {}({}) FROM {}")
    keys = [query.format(extreme, sql.Identifier(used.column), table.identifier()) for table, used in columns if table]
    if not starts_over:
        keys.append(sql.SQL("SELECT pg_sequence_last_value({}::regclass)").format(sql.Literal(name)))
    query = sql.SQL("SELECT {}(key)::int8 FROM ({}) AS keys (key)")
    row = connection.execute(query.format(extreme, sql.SQL(" UNION ALL ").join(keys))).fetchone()
    if row is not None and row[0] is not None:
        # Where the sequence would be if it had produced these keys.
        following = int(str(row[0])) + (sequence.increment if by_alter else 0)
        value = sql.Literal(_inside(sequence, following))
        change = "ALTER SEQUENCE {name} RESTART WITH {value}" if by_alter else "SELECT setval({text}, {value})"
        connection.execute(sql.SQL(change).format(name=sql.SQL(name), text=sql.Literal(name), value=value))
    elif starts_over:
        connection.execute(sql.SQL("ALTER SEQUENCE {} RESTART").format(sql.SQL(name)))


def _restore(
    connection: Connection, name: str, sequence: SequenceFacts, position: SequencePosition, *, starts_over: bool
) -> None:
    """Set it to where it stood in the source, with whether that number was given out."""
    if starts_over:
        # This gives it a new file, so that a rollback undoes the setval too.
        connection.execute(sql.SQL("ALTER SEQUENCE {} RESTART").format(sql.SQL(name)))
    row = connection.execute("SELECT pg_sequence_last_value(%s::regclass)", [name]).fetchone()
    value, last = _inside(sequence, position.last_value), row[0] if row else None
    if last is None or (int(str(last)) < value if sequence.increment > 0 else int(str(last)) > value):
        connection.execute("SELECT setval(%s, %s, %s)", [name, value, position.is_called])


def _inside(sequence: SequenceFacts, value: int) -> int:
    return min(max(value, sequence.minimum), sequence.maximum)
