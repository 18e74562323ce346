"""Tables that hold rows already: which are left out, and which keep those very rows, as lookups with a pool each."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from psycopg import sql

from snapseed.capture.mask.facts import read_facts
from snapseed.capture.mask.personal import may_be_personal, sampled_reasons
from snapseed.config.settings import suggestion
from snapseed.errors import SnapseedError, UsageError
from snapseed.generate.pools import NULL, values_of
from snapseed.postgres.connect import Connection
from snapseed.postgres.fit import type_of
from snapseed.postgres.rowhash import key_order
from snapseed.scaffold.names import kept_by, suggests
from snapseed.scaffold.schema import Table
from snapseed.snapshot.keys import is_key_type
from snapseed.snapshot.manifest import Column

_MOST_SMALL = 200  # Tables with more rows are not small: nobody reads them one by one
_MOST_KEPT = 50_000  # A pool is a text that git keeps, and that generators read whole
# No list has the words for all people: a first and a last name, if each begins with a capital letter.
_FULL_NAME = re.compile(r"[^\d\s]+ (?:\w[.]? )?[^\d\s]+")


@dataclass(frozen=True)
class KeptRows:
    """The rows of a table in the order of their key, as a pool: every value as PostgreSQL prints it."""

    key: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[str | None, ...], ...]

    @property
    def pool(self) -> str:
        """The text of the pool's file."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows([NULL if value is None else value for value in row] for row in self.rows)
        return text.getvalue()

    def refers(self, columns: Collection[str]) -> bool:
        """Whether a row has a value in all of these columns."""
        places = [self.columns.index(name) for name in columns]
        return any(all(row[place] is not None for place in places) for row in self.rows)


@dataclass(frozen=True)
class HeldRows:
    """What to do with tables that hold rows, by oid: their `kept` rows, or why they are left out.

    A tool fills them (`by_tools`), or nothing was asked for (`by_others`). `personal` are columns that look personal.
    """

    kept: Mapping[int, KeptRows] = field(default_factory=dict)
    by_tools: Mapping[int, str] = field(default_factory=dict)
    by_others: Mapping[int, str] = field(default_factory=dict)
    personal: tuple[str, ...] = ()


def read_held_rows(
    connection: Connection, tables: Sequence[Table], named: Sequence[str], *, small: bool, included: Collection[int]
) -> HeldRows:
    """Keep the rows of the tables that are `named`, and with `small` of all small ones that hold nothing personal.

    What is named like a log is none of those. Others that hold rows are left out, unless `included`; those that
    a tool fills always are. Raises `UsageError` for a named table without rows that can be kept.
    """
    asked = _named(tables, named)
    tools = {table.oid: f"{tool} fills it" for table in tables if (tool := kept_by(table.schema, table.name))}
    named_oids = {table.oid for table in asked}
    most = {table.oid: _MOST_KEPT if table.oid in named_oids else _MOST_SMALL for table in tables if table.has_rows}
    counts = {table.oid: _count(connection, table, most[table.oid]) for table in tables if table.has_rows}
    not_small = tools.keys() | {table.oid for table in tables if not small or suggests("records", table.name)}
    few = {oid for oid, count in counts.items() if count <= _MOST_SMALL} - not_small
    personal = _personal(connection, few | named_oids) if few | named_oids else {}
    wanted = named_oids | few - personal.keys()
    read = {table.oid: _read(connection, table, counts, named_oids) for table in tables if table.oid in wanted}
    reasons = {oid: found for oid, found in read.items() if isinstance(found, str)}
    kept = {oid: found for oid, found in read.items() if isinstance(found, KeptRows)}
    while dangling := _dangling(tables, kept):
        reasons |= dangling
        kept = {oid: rows for oid, rows in kept.items() if oid not in dangling}
    if lost := [table for table in asked if table.oid not in kept]:
        raise UsageError(
            "these rows cannot be kept",
            observed="; ".join(f"{table}: {reasons[table.oid]}" for table in lost),
            next_step=f"leave out --keep-rows {lost[0]}, or do what its reason says",
        )
    amounts = {oid: str(count) if count <= _MOST_SMALL else f"over {_MOST_SMALL}" for oid, count in counts.items()}
    left_out = {
        oid: "; ".join(filter(None, [f"it holds {amount} row{'s' * (amount != '1')}", reasons.get(oid)]))
        for oid, amount in amounts.items()
        if oid not in {*kept, *tools, *included}
    }
    exposed = tuple(f"{table}.{name}" for table in asked for name in personal.get(table.oid, ()))
    return HeldRows(kept, {oid: tool for oid, tool in tools.items() if oid not in kept}, left_out, exposed)


def _named(tables: Sequence[Table], names: Sequence[str]) -> list[Table]:
    by_name = {name: table for table in tables for name in (f"{table.schema}.{table.name}", str(table))}
    if unknown := [name for name in names if name not in by_name]:
        raise UsageError(
            "there is no table of this name",
            observed=", ".join(f"--keep-rows {name}" for name in unknown),
            expected=f"one of {', '.join(map(str, tables))}",
            next_step=suggestion(unknown[0], by_name) or None,
        )
    return [by_name[name] for name in dict.fromkeys(names)]


def _dangling(tables: Sequence[Table], kept: Mapping[int, KeptRows]) -> dict[int, str]:
    """The tables whose rows refer to rows that are not kept."""
    return {
        table.oid: f"its rows refer to those of {other}: add --keep-rows {other}"
        for table in tables
        if table.oid in kept
        for key in table.foreign_keys
        for other in tables
        if key.target == other.oid not in kept and kept[table.oid].refers(key.columns)
    }


def _count(connection: Connection, table: Table, most: int) -> int:
    """The rows of a table, counted up to one more than `most`."""
    rows = sql.SQL("SELECT count(*) FROM (SELECT 1 FROM {} LIMIT {}) few")
    (found,) = connection.execute(rows.format(sql.Identifier(table.schema, table.name), most + 1)).fetchone() or ()
    return int(str(found))


def _personal(connection: Connection, oids: Collection[int]) -> dict[int, list[str]]:
    """The columns that may be personal by their names, types or values, by table."""
    facts = read_facts(connection)
    columns = {place: column for place, column in facts.columns.items() if place[0] in oids}
    by_value = sampled_reasons(connection, facts, columns)
    found: dict[int, list[str]] = {}
    for place, column in columns.items():
        names = (column.name, *column.parts)
        if place in by_value or may_be_personal(column.table, names, column.base, is_enum=column.is_enum):
            found.setdefault(place[0], []).append(column.name)
    return found


def _read(connection: Connection, table: Table, counts: Mapping[int, int], named: Collection[int]) -> KeptRows | str:
    """All rows of a table, or why they are not kept. One that is `named` may hold names of people."""
    if not table.has_rows:
        return "it holds no rows"
    if counts[table.oid] > _MOST_KEPT:
        return f"it holds over {_MOST_KEPT:,} rows, too many for a pool; `snapseed capture` can copy them"
    kinds = {column.name: type_of(column) for column in table.columns if not column.generated}
    possible = {name for name, kind in kinds.items() if kind and is_key_type(kind) and table.column(name).not_null}
    keys = [table.primary_key] if table.primary_key else table.unique
    if (key := next((key for key in keys if possible.issuperset(key)), None)) is None:
        return "it has no key"
    # The elements of an array are texts in a list of JSON. ORDER BY must not take the text of a column for the column.
    texts = [
        sql.SQL('array_to_json({}::text[])::text AS " "' if kind and kind.is_array else '{}::text AS " "').format(
            sql.Identifier(name)
        )
        for name, kind in kinds.items()
    ]
    order = key_order([Column(name, table.kind(name).name) for name in key])
    query = sql.SQL("SELECT {} FROM {} ORDER BY {}")
    found = connection.execute(query.format(sql.SQL(", ").join(texts), sql.Identifier(table.schema, table.name), order))
    rows = tuple(tuple(None if value is None else str(value) for value in row) for row in found.fetchall())
    may_name = table.oid in named or suggests("lookup", table.name)
    for (name, kind), values in zip(kinds.items(), zip(*rows, strict=True), strict=True):
        full = sum(value is not None and value.istitle() and bool(_FULL_NAME.fullmatch(value)) for value in values)
        if not may_name and 2 * full > len(values):
            return (
                f"most values of its column {name} look like names of people: add --keep-rows {table} if they are not"
            )
        try:
            values_of(values, kind or table.kind(name))
        except (SnapseedError, TypeError, ValueError):
            odd = "infinity" if "infinity" in {str(value).lstrip("-") for value in values} else "a value"
            return f"its column {name} ({table.column(name).type}) holds {odd}, which a pool cannot store"
    return KeptRows(key, tuple(kinds), rows)
