"""The statements of a subset: the keys of roots, the keys that a step leads to, and the rows of some keys.

Keys travel in the statement, as arrays of texts: COPY takes no parameters, and nothing is created on the source.
Everything is qualified, because conditions of the user's are read with the role's search path.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import polars as pl
import pyarrow as pa
from psycopg import errors, sql
from psycopg.abc import AdaptContext

from snapseed.capture.request import Root
from snapseed.capture.subset.graph import Reference, Step, SubsetTable
from snapseed.errors import ConfigurationError, SnapseedError, UsageError
from snapseed.postgres import listed
from snapseed.postgres.connect import Connection
from snapseed.postgres.copy_out import copied_out
from snapseed.postgres.rowhash import row_hash, row_order
from snapseed.snapshot.decoding import arrow_schema
from snapseed.snapshot.manifest import Column

# The forms in which we keep the columns of keys.
_FORMS = {
    "bigint": sql.SQL("{}::pg_catalog.int8 AS {}"),
    "bytea": sql.SQL("pg_catalog.uuid_send({}) AS {}"),
    "text": sql.SQL("{}::pg_catalog.text AS {}"),
}


def read_roots(connection: Connection, table: SubsetTable, root: Root, sample: int | None) -> pl.DataFrame:
    """The keys of a root's rows: the first in key order, or, with the seed `sample`, in the order of a hash of both."""
    order = row_order(table.source.key, table.source.columns)
    if sample is not None:
        hashed = row_hash(table.ordered)
        order = sql.SQL("pg_catalog.hashint8extended({}, {}), {}").format(hashed, sample, order)
    condition = sql.SQL("true") if root.where is None else _raw(root.where)
    limit = sql.SQL("" if root.rows is None else "ORDER BY {} LIMIT {}").format(order, root.rows)
    query = sql.SQL("(SELECT {} FROM {} WHERE ({}) {}) AS found")
    with _naming(root.option, UsageError):
        return _read(connection, table, query.format(_keys(table), table.facts.name.rows(), condition, limit))


def read_step(connection: Connection, step: Step, keys: pl.DataFrame, *, repeat: bool = False) -> pl.DataFrame:
    """The keys of the rows that a step leads to from rows with these keys, and if it is repeated, from those again.

    With a limit, also the `place` of each row among its `siblings`, in key order, and how many there are.
    """
    joined, counts = _joined(step, _batch(keys)), []
    batch = [_in_keys(number) for number, _ in enumerate(step.start.identity, 1)]
    ends = [sql.Identifier("end", column.name) for column in step.end.identity]
    if repeat:
        query = sql.SQL(
            "(WITH RECURSIVE reached ({batch}) AS (SELECT {end} FROM {} UNION SELECT {end} FROM {})"
            " SELECT {} FROM reached) AS found"
        )
        again = _joined(step, sql.Identifier("reached"))
        source = query.format(joined, again, _keys(step.end, batch), batch=listed(batch), end=listed(ends))
    elif step.limit is None:
        query = sql.SQL("(SELECT {} FROM {}) AS found" if step.is_down else "(SELECT DISTINCT {} FROM {}) AS found")
        source = query.format(_keys(step.end, ends), joined)
    else:
        query = sql.SQL(
            "(SELECT * FROM (SELECT {}, pg_catalog.row_number() OVER (PARTITION BY {batch} ORDER BY {}) AS place,"
            " pg_catalog.count(*) OVER (PARTITION BY {batch}) AS siblings FROM (SELECT {}, {batch} FROM {}) AS child)"
            " AS ranked WHERE place OPERATOR(pg_catalog.<=) {}) AS found"
        )
        names = [column.name for column in step.end.identity] + [column.name for column in step.end.ordered]
        needed = listed([sql.Identifier("end", name) for name in dict.fromkeys(names)])
        order = row_order(step.end.source.key, step.end.source.columns)
        source = query.format(_keys(step.end), order, needed, joined, step.limit, batch=listed(batch))
        counts = [Column("place", "bigint"), Column("siblings", "bigint")]
    with _naming(step.reference.declared_in or str(step.reference), ConfigurationError):
        return _read(connection, step.end, source, counts)


def count_orphans(connection: Connection, reference: Reference, keys: pl.DataFrame) -> int:
    """How many of the children with these keys refer to a row that the source does not have."""
    step = Step(reference, is_down=True)
    filled = [sql.SQL("{} IS NOT NULL").format(sql.Identifier("end", name)) for name in reference.columns]
    statement = sql.SQL(
        "SELECT pg_catalog.count(*) FROM {} JOIN {} ON {} WHERE {} AND NOT EXISTS (SELECT 1 FROM {} WHERE {})"
    ).format(
        _batch(keys),
        _rows_of(reference.child, "end", reference),
        _in_batch(reference.child, "end"),
        sql.SQL(" AND ").join(filled),
        _rows_of(reference.parent, "start", None),
        _refers(step),
    )
    row = connection.execute(statement).fetchone()
    return int(str(row[0])) if row else 0


def rows_with(table: SubsetTable, keys: pl.DataFrame) -> sql.Composed:
    """What follows FROM to read the rows with these keys."""
    return sql.SQL("{} JOIN {} AS rows ON {}").format(_batch(keys), table.facts.name.rows(), _in_batch(table, "rows"))


def require_condition(
    connection: Connection, table: SubsetTable, condition: str, where: str, kind: type[SnapseedError]
) -> None:
    """Raise an error of this kind unless the server reads the text as one condition on rows of the table.

    No row is read. It is tried with and without parentheses: what closes ours, and opens another one, fits only with
    them, and what goes on after the condition only without.
    """
    for context in ("SELECT 1 FROM {1} WHERE ({0}) LIMIT 0", "SELECT 1 FROM {1} WHERE {0} LIMIT 0"):
        _try(connection, sql.SQL(context).format(_raw(condition), table.facts.name.rows()), where, kind)


def require_reference(connection: Connection, reference: Reference) -> None:
    """Raise `ConfigurationError` unless the server takes the condition and the columns of a declared reference."""
    if reference.declared_in is None:
        return
    if reference.where is not None:
        require_condition(connection, reference.child, reference.where, reference.declared_in, ConfigurationError)
    statement = sql.SQL("SELECT 1 FROM {} JOIN {} ON {} LIMIT 0").format(
        _rows_of(reference.child, "end", reference),
        _rows_of(reference.parent, "start", None),
        _refers(Step(reference, is_down=True)),
    )
    try:
        _try(connection, statement, reference.declared_in, ConfigurationError)
    except ConfigurationError as exc:
        types = [f"{table.name}.{name} ({table.column(name).type})" for table, name in reference.sides]
        exc.expected = f"types that = can compare: {', '.join(types)}"
        raise


def _try(connection: Connection, statement: sql.Composed, where: str, kind: type[SnapseedError]) -> None:
    """Let the server run a statement alone, so that SQL of the user's cannot end it and begin another one."""
    with _naming(where, kind):
        # Asking for binary results takes the extended protocol.
        connection.execute(statement, binary=True)


@contextmanager
def _naming(where: str, kind: type[SnapseedError]) -> Iterator[None]:
    """Say whose SQL it is that the server refuses. Failures of the server itself pass through."""
    try:
        yield
    except (errors.ProgrammingError, errors.DataError, errors.NotSupportedError) as exc:
        message = " ".join((exc.diag.message_primary or str(exc)).split())
        hint = exc.diag.message_hint
        raise kind("the server refuses to select these rows", where=where, observed=message, next_step=hint) from exc


def _read(
    connection: Connection, table: SubsetTable, source: sql.Composed, counts: Sequence[Column] = ()
) -> pl.DataFrame:
    """The keys of a table's rows out of `source`, and numbers next to them."""
    columns = [*(Column(str(number), column.form) for number, column in enumerate(table.identity, 1)), *counts]
    with copied_out(connection, columns, source, str(table.facts.name)) as batches:
        rows = pl.DataFrame(pa.Table.from_batches(batches, arrow_schema(columns)))
    # The bytes of UUIDs as numbers, which have the same order: half the memory.
    return rows.with_columns(pl.col(pl.Binary).bin.reinterpret(dtype=pl.UInt128, endianness="big"))


def _keys(table: SubsetTable, names: Sequence[sql.Identifier] = ()) -> sql.Composed:
    """The columns of the key, or others of the same types, in the form that we keep: as `1`, `2` and so on."""
    names = names or [sql.Identifier(column.name) for column in table.identity]
    return listed(
        [
            _FORMS[column.form].format(name, sql.Identifier(str(number)))
            for number, (column, name) in enumerate(zip(table.identity, names, strict=True), 1)
        ]
    )


def _batch(keys: pl.DataFrame) -> sql.Composed:
    """Keys as rows of a function, in columns whose names no table has."""
    arrays = [sql.SQL("pg_catalog.unnest({}::pg_catalog.text[])").format(_Array(column)) for column in keys]
    names = [_in_keys(number) for number, _ in enumerate(arrays, 1)]
    return sql.SQL("ROWS FROM ({}) AS batch ({})").format(listed(arrays), listed(names))


def _in_keys(number: int) -> sql.Identifier:
    """The name of a column of the batch, which no table has."""
    return sql.Identifier(f"snapseed key {number}")


def _in_batch(table: SubsetTable, alias: str) -> sql.Composed:
    """The condition for rows whose key is in the batch."""
    return sql.SQL(" AND ").join(
        sql.SQL("{} {} {}::{}").format(
            sql.Identifier(alias, column.name), _raw(column.operator), _in_keys(number), _raw(column.qualified_type)
        )
        for number, column in enumerate(table.identity, 1)
    )


def _joined(step: Step, origin: sql.Composable) -> sql.Composed:
    """The rows that a step begins and ends at, for keys in columns of `origin`."""
    return sql.SQL("{} JOIN {} ON {} JOIN {} ON {}").format(
        origin,
        _rows_of(step.start, "start", None if step.is_down else step.reference),
        _in_batch(step.start, "start"),
        _rows_of(step.end, "end", step.reference if step.is_down else None),
        _refers(step),
    )


def _rows_of(table: SubsetTable, alias: str, reference: Reference | None) -> sql.Composed:
    """The table, as the child of a reference without the rows that do not refer."""
    rows, name = table.facts.name.rows(), sql.Identifier(alias)
    if reference is None or reference.where is None:
        return sql.SQL("{} AS {}").format(rows, name)
    needed = dict.fromkeys((*(column.name for column in table.identity), *reference.columns))
    columns = [sql.Identifier(name) for name in needed]
    return sql.SQL("(SELECT {} FROM {} WHERE ({})) AS {}").format(listed(columns), rows, _raw(reference.where), name)


def _refers(step: Step) -> sql.Composed:
    """The condition by which a child refers to a parent, with any NULL to none."""
    reference = step.reference
    parent, child = ("start", "end") if step.is_down else ("end", "start")
    pairs = zip(reference.parent_columns, reference.operators, reference.columns, strict=True)
    return sql.SQL(" AND ").join(
        sql.SQL("{} {} {}").format(sql.Identifier(parent, to), _raw(operator), sql.Identifier(child, name))
        for to, operator, name in pairs
    )


def _raw(text: str) -> sql.SQL:
    """SQL from the catalog or from the user, on lines of its own: it may end in a comment."""
    return sql.SQL(f"\n{text}\n")


class _Array(sql.Composable):
    """Values, none of them NULL, as an array of texts (PostgreSQL manual, section 8.15.6), made when it is sent."""

    def as_bytes(self, context: AdaptContext | None = None) -> bytes:
        """The literal; UUIDs as 32 digits."""
        values: pl.Series = self._obj
        if values.dtype == pl.UInt128:
            halves = values.to_frame("uuid").select(high=pl.col("uuid") // 2**64, low=pl.col("uuid") % 2**64)
            quoted = halves.cast(pl.UInt64).to_numpy().astype(">u8").tobytes().hex(",", 16)
            return sql.Literal(f"{{{quoted}}}").as_bytes(context)
        quoted = values.cast(pl.String).str.replace_all(r'(["\\])', r"\$1").str.join('","').item()
        return sql.Literal(f'{{"{quoted}"}}').as_bytes(context)
