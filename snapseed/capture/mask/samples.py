"""Do masked values meet the checks and the types of their tables? The server tries it on a sample."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from contextlib import suppress

import psycopg
import pyarrow as pa
from psycopg import sql

from snapseed.capture.mask.facts import CheckFacts, Facts, MaskableColumn
from snapseed.capture.mask.masks import MaskedColumn, Masks
from snapseed.capture.mask.rules import kind_of
from snapseed.errors import SnapshotError
from snapseed.postgres.catalog import TableName
from snapseed.postgres.connect import Connection
from snapseed.postgres.copy_out import copied_out
from snapseed.snapshot.decoding import arrow_schema
from snapseed.snapshot.manifest import Column
from snapseed.snapshot.types import Family

# Rows of a table that are masked and tried.
_SAMPLE = 100


def unmet_checks(connection: Connection, facts: Facts, masks: Masks, *, is_check: bool) -> Iterator[str]:
    """Checks of tables, and of domains, that masked values do not meet: tried by the server on a sample."""
    by_table: dict[TableName, list[MaskableColumn]] = {}
    for column in facts.columns.values():
        by_table.setdefault(TableName(column.schema, column.table), []).append(column)
    for table, columns in by_table.items():
        masked = masks.masked(table)
        checks = [found for found in facts.checks if found.oid == columns[0].oid and masked & set(found.columns)]
        rules = masks.tables.get(table, ())
        is_domain = any(column.name in masked and column.full_type != column.type for column in columns)
        has_function = not is_check and any(rule.bound.function for rule in rules)
        if checks or is_domain or has_function:
            needed = masked.union(*(rule.by for rule in rules))
            read = [Column(column.name, column.type) for column in columns if column.name in needed]
            sample = _made_up(read, rules) if is_check else _sampled(connection, read, table)
            yield from _tried(connection, columns, masks.apply(table, sample).select(sorted(masked)), checks)


def _sampled(connection: Connection, columns: list[Column], table: TableName) -> pa.RecordBatch:
    """The first rows of a table; none if one of them has a value that its type in a snapshot cannot hold."""
    source = sql.SQL("(SELECT * FROM {} LIMIT {}) sample").format(table.identifier(), sql.Literal(_SAMPLE))
    rows = arrow_schema(columns).empty_table()
    with suppress(SnapshotError), connection.transaction():  # noqa: SIM117 - the COPY has ended before the transaction
        with copied_out(connection, columns, source, str(table)) as batches:
            rows = pa.Table.from_batches(batches, arrow_schema(columns)).combine_chunks()
    return next(iter(rows.to_batches()), pa.RecordBatch.from_pylist([], arrow_schema(columns)))


def _made_up(columns: list[Column], masked: Collection[MaskedColumn]) -> pa.RecordBatch:
    """Rows with a text wherever a rule treats all texts alike, and NULL elsewhere."""
    free = {found.name for found in masked if (kind := kind_of(found.bound.rule)) and kind.is_fixed}
    texts, schema = pa.array(f"sample {number}" for number in range(_SAMPLE)), arrow_schema(columns)
    return pa.RecordBatch.from_arrays(
        [
            texts if field.name in free and field.type == texts.type else pa.nulls(_SAMPLE, field.type)
            for field in schema
        ],
        schema=schema,
    )


def _tried(
    connection: Connection, columns: list[MaskableColumn], rows: pa.RecordBatch, checks: list[CheckFacts]
) -> Iterator[str]:
    """What the server says about masked rows: as values of the columns' types, their spelling, and in the checks."""
    try:
        # Infinities and NaN become texts: JSON has none.
        document = json.dumps(json.loads(json.dumps(rows.to_pylist(), default=_text), parse_constant=str))
    except (ValueError, OverflowError):
        return  # moments that Python does not have
    own = {column.name: column for column in columns if column.name in rows.schema.names}
    # Evaluated for each value, and never false.
    questions: list[tuple[tuple[str, ...], str, str]] = [
        ((name,), f"the type {column.full_type}", "t::text IS NOT NULL") for name, column in own.items()
    ]
    # Only what is spelled as the server does is the same after a load.
    questions += [
        ((name,), f"the spelling of {column.type}", '"as given" = ' + sql.Identifier(name).as_string() + "::text")
        for name, column in own.items()
        if column.kind.family in {Family.JSONB, Family.TEXT_FORM} and not column.type.endswith("[]")
    ]
    questions += [(check.columns, f"the check {check.name} {check.expression}", check.expression) for check in checks]
    query = sql.SQL("SELECT count(*) FROM (SELECT {} FROM jsonb_to_recordset({}) AS r ({})) AS t WHERE ({}) IS FALSE")
    for names, what, expression in questions:
        asked = [(column, sql.Identifier(column.name)) for column in columns if column.name in names]
        # From texts, since a text that is a document would become a string in a document.
        fields = [
            sql.SQL("{} {}").format(name, sql.SQL(column.full_type if column.type.endswith("[]") else "text"))
            for column, name in asked
        ]
        values = [sql.SQL("{0}::{1} AS {0}").format(name, sql.SQL(column.full_type)) for column, name in asked]
        values.append(sql.SQL('{} AS "as given"').format(asked[0][1]))
        try:
            with connection.transaction():
                parts = [sql.SQL(", ").join(values), sql.Literal(document), sql.SQL(", ").join(fields)]
                (unmet,) = connection.execute(query.format(*parts, sql.SQL(expression))).fetchone() or (0,)
                problem = "masked values do not meet " + what if unmet else None
        except (psycopg.DataError, psycopg.IntegrityError) as exc:
            problem = f"masked values do not fit {what}: {exc.diag.message_primary}"
        if problem:
            yield f"{columns[0].table}.{next(name for name in names if name in own)}: {problem}"
            return


def _text(value: object) -> str:
    return "\\x" + value.hex() if isinstance(value, bytes) else str(value)
