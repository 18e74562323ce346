"""Let the tables' sequences go on behind the loaded keys."""

from __future__ import annotations

from psycopg import sql

from snapseed.load.plan import LoadPlan
from snapseed.load.request import Mode
from snapseed.postgres.catalog import SequenceFacts, TableName
from snapseed.postgres.connect import Connection


def restart_sequences(connection: Connection, plan: LoadPlan) -> None:
    """Set the sequences that this role may alter: ALTER SEQUENCE is undone by a rollback.

    setval is not (PostgreSQL manual, "ALTER SEQUENCE", Notes), so what needs it waits for `set_sequences`.
    """
    for first, uses in _sequences(plan, may_alter=True):
        identifier = sql.Identifier(first.schema, first.name)
        last = _last_key(connection, plan, uses)
        if last is not None:
            following = _within(last + first.increment, first)
            restart = sql.SQL("ALTER SEQUENCE {} RESTART WITH {}").format(identifier, sql.Literal(following))
            connection.execute(restart)
        elif plan.mode is Mode.REPLACE and any(sequence.owned for _, sequence in uses):
            connection.execute(sql.SQL("ALTER SEQUENCE {} RESTART").format(identifier))


def set_sequences(connection: Connection, plan: LoadPlan) -> None:
    """Set the others by setval, which takes effect at once: only when nothing but the commit is left to do."""
    for first, uses in _sequences(plan, may_alter=False):
        last = _last_key(connection, plan, uses)
        if last is not None:
            name = sql.Identifier(first.schema, first.name).as_string(connection)
            connection.execute("SELECT setval(%s::regclass, %s)", (name, _within(last, first)))


def _sequences(plan: LoadPlan, *, may_alter: bool) -> list[tuple[SequenceFacts, list[tuple[TableName, SequenceFacts]]]]:
    """Each sequence once, with the columns that it feeds."""
    uses: dict[tuple[str, str], list[tuple[TableName, SequenceFacts]]] = {}
    for table in plan.tables:
        for sequence in table.sequences:
            if sequence.may_alter is may_alter:
                uses.setdefault((sequence.schema, sequence.name), []).append((table.table, sequence))
    return [(columns[0][1], columns) for columns in uses.values()]


def _last_key(connection: Connection, plan: LoadPlan, uses: list[tuple[TableName, SequenceFacts]]) -> int | None:
    """The value that the sequence would have given last, had it given all the keys."""
    first = uses[0][1]
    keys = [key for table, sequence in uses for key in _furthest_key(connection, table, sequence)]
    if not any(sequence.owned for _, sequence in uses) or plan.mode is not Mode.REPLACE or not first.may_alter:
        # Others may draw from it as well, or rows of others stay, so it never goes back.
        keys += _last_value(connection, first)
    return (max if first.increment > 0 else min)(keys) if keys else None


def _furthest_key(connection: Connection, table: TableName, sequence: SequenceFacts) -> list[int]:
    query = sql.SQL("SELECT {}({}) FROM {}").format(
        sql.SQL("max" if sequence.increment > 0 else "min"), sql.Identifier(sequence.column), table.identifier()
    )
    row = connection.execute(query).fetchone()
    return [] if row is None or row[0] is None else [int(str(row[0]))]


def _last_value(connection: Connection, sequence: SequenceFacts) -> list[int]:
    name = sql.Identifier(sequence.schema, sequence.name).as_string(connection)
    row = connection.execute("SELECT pg_sequence_last_value(%s::regclass)", (name,)).fetchone()
    return [] if row is None or row[0] is None else [int(str(row[0]))]


def _within(value: int, sequence: SequenceFacts) -> int:
    return min(max(value, sequence.minimum), sequence.maximum)
