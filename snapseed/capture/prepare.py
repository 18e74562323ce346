"""What the source has: its tables with columns and key, its sequences, and what is left out and why.

All is read in the transaction whose snapshot the rows come from, and everything that stands in the way is told at once.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path

from psycopg import sql

from snapseed.capture.columns import ColumnName, stored_columns
from snapseed.capture.request import CaptureRequest
from snapseed.config.settings import suggestion
from snapseed.errors import RefusedError, UsageError
from snapseed.postgres import query
from snapseed.postgres.catalog import read_rows, read_tables
from snapseed.postgres.connect import Connection
from snapseed.postgres.facts import TableFacts, TableName
from snapseed.postgres.fit import Problem, misfit, problem, unreadable
from snapseed.postgres.guard import Identity, identify
from snapseed.snapshot.keys import is_key_type
from snapseed.snapshot.manifest import IDENTIFIER, Column, is_identifier

QUERIES = Path(__file__).parent / "queries"
_OTHER_CHARACTERS = re.compile(r"[^a-z0-9_-]")
_IDENTIFIER_BYTES = 63


@dataclass(frozen=True)
class SourceTable:
    """A table to capture, as an entity: the columns that are stored, and those of its key, none if it has no key."""

    entity: str
    columns: tuple[Column, ...]
    key: tuple[Column, ...]
    facts: TableFacts

    @property
    def name(self) -> TableName:
        """The table in full; it does not stand for tables that inherit from it."""
        return self.facts.name


@dataclass(frozen=True)
class Source:
    """The source as the capture sees it. `sequences` are those that fill no integer column of these tables.

    `notes` say what is left out, and what else the user should know, in words.
    """

    identity: Identity
    tables: tuple[SourceTable, ...]
    sequences: tuple[TableName, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Relation:
    """A table or a sequence (`S`) of the source. `reason` says why it is left out, if it is.

    `attached`: the sequence belongs to a column, or a column's default draws from it.
    """

    name: TableName
    kind: str
    reason: str | None
    unlogged: bool
    attached: bool
    readable: bool


def chosen_tables(connection: Connection, request: CaptureRequest) -> frozenset[TableName]:
    """The tables that the request asks for, by one query. Raises `UsageError` for a name that no table has."""
    return frozenset(_choose(_read_relations(connection), request))


def prepare(connection: Connection, request: CaptureRequest, where: str, failed: Collection[ColumnName] = ()) -> Source:
    """Read what the source has. The columns that `failed` to be read as their types get another, text if necessary.

    Raises `UsageError` for a name that no table has and if no table is left, `RefusedError` if row-level security would
    hide rows or there are large objects, and `SchemaError` that lists everything else that cannot be captured.
    """
    identity, large_objects = identify(connection), _count_large_objects(connection, request, where)
    relations = _read_relations(connection)
    chosen = _choose(relations, request)
    facts = read_tables(connection, list(chosen))
    present = {name: table for name, table in facts.items() if not table.foreign_partitions}
    _require_visible(list(present.values()), request, where)
    notes = [f"{large_objects:,} large objects are left out"] if large_objects else []
    notes += _notes(relations, facts)
    problems = [found for table in present.values() for found in _problems(table, identity.role)]
    free = _free_sequences(relations, present, request)
    for found in free:
        if not found.readable and request.is_partial:
            notes.append(f"{found.name} is left out: this role may not read it")
        elif not found.readable:
            problems.append(_unreadable_sequence(found.name, identity.role))
    tables, samples = [], request.subset is None and not request.schema_only
    stored = stored_columns(connection, list(present.values()), failed, samples=samples)
    for (name, table), columns in zip(present.items(), stored, strict=True):
        problems += [found for found in columns if isinstance(found, Problem)]
        if own := tuple(column for column in columns if isinstance(column, Column)):
            tables.append(SourceTable(chosen[name], own, _key(table, own), table))
        else:
            notes.append(f"{name} is left out: it has no column whose values are stored")
    if problems:
        advice = "leave these tables out with --exclude"
        raise misfit("the database cannot be captured as it is", where, problems, advice)
    if not tables and not request.schema_only:
        count = len([found for found in relations if found.kind != "S"])
        raise UsageError(
            "there is no table to capture",
            where=where,
            observed=f"{count:,} tables, all of them left out" if count else "a database without tables",
            expected="a table with columns whose values are stored",
            next_step="check --only and --exclude" if count else "check the name of the database in the URL",
        )
    return Source(identity, tuple(tables), tuple(found.name for found in free if found.readable), tuple(notes))


def _read_relations(connection: Connection) -> list[_Relation]:
    """The tables and sequences of users."""
    rows = read_rows(connection, query("relations", QUERIES))
    return [_Relation(TableName(row.pop("schema"), row.pop("name")), **row) for row in rows]


def _count_large_objects(connection: Connection, request: CaptureRequest, where: str) -> int:
    """How many there are. Raises `RefusedError` for any, unless the request leaves them out."""
    (count,) = connection.execute("SELECT count(*) FROM pg_largeobject_metadata").fetchone() or (0,)
    if count and request.large_objects and not request.only:
        raise RefusedError(
            "the database has large objects, which a snapshot cannot hold",
            where=where,
            observed=f"{count:,} in pg_largeobject",
            expected="values in columns of tables, such as bytea",
            next_step="add --without-large-objects to capture everything else",
        )
    return int(str(count))


def _entity_names(tables: Iterable[TableName]) -> dict[TableName, str]:
    """The name of each table's entity: its own if no other table has it, else with its schema; safe in a path."""
    plain = {name: _safe(name.table) for name in tables}
    counts, taken = Counter(plain.values()), set[str]()
    names = {}
    for table, name in plain.items():
        wanted = name if counts[name] == 1 else _safe(f"{table.schema}_{table.table}")
        numbered = (f"{wanted[: _IDENTIFIER_BYTES - 10]}_{number}" for number in count(2))
        unique = next(each for each in chain([wanted], numbered) if each not in taken)
        taken.add(unique)
        names[table] = unique
    return names


def _safe(name: str) -> str:
    """A name for a path. Other alphabets are lost in it, so that a hash tells such names apart."""
    safe = _OTHER_CHARACTERS.sub("_", name.lower())
    if name.isascii():
        return safe[:_IDENTIFIER_BYTES]
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{safe[: _IDENTIFIER_BYTES - 9]}_{digest}"


def _choose(relations: Sequence[_Relation], request: CaptureRequest) -> dict[TableName, str]:
    """The tables that the request asks for, with the names of their entities."""
    names = _entity_names(found.name for found in relations if found.kind != "S" and found.reason is None)

    def asked(wanted: Sequence[str]) -> set[TableName]:
        """The tables of these names."""
        tables = set[TableName]()
        for text in wanted:
            same = {table for table, name in names.items() if text in {name, table.table, str(table)}}
            if not same:
                raise UsageError(
                    "the database has no such table",
                    observed=text,
                    expected=f"one of: {', '.join(map(str, names))}" if names else "a table that can be captured",
                    next_step=suggestion(text, [*map(str, names), *names.values()])
                    or "check the spelling; a table may be named with its schema",
                )
            tables |= same
        return tables

    only, excluded = asked(request.only), asked(request.exclude)
    return {table: name for table, name in names.items() if (table in only or not only) and table not in excluded}


def _require_visible(tables: Sequence[TableFacts], request: CaptureRequest, where: str) -> None:
    """Raise `RefusedError` if policies may hide rows of these tables, unless the request takes what is visible."""
    hidden = [str(table.name) for table in tables if table.row_security]
    if hidden and not request.visible_rows:
        raise RefusedError(
            "row-level security may hide rows from this role",
            where=where,
            observed=f"policies apply to {', '.join(hidden)}",
            expected="all rows: capture as the owner of the tables, or as a role with BYPASSRLS",
            next_step="add --visible-rows to capture only the rows that this role may see",
        )


def _problems(table: TableFacts, role: str) -> Iterator[Problem]:
    """What the role may not read, and names that no snapshot can have."""
    yield from unreadable(table, {column.name for column in table.columns}, role)
    for name in (table.schema, table.table, *(column.name for column in table.columns)):
        if not is_identifier(name):
            yield Problem(f"{str(table.name)!r} has the name {name!r}, expected {IDENTIFIER}")
    for sequence in table.sequences:
        if not sequence.may_look:
            yield _unreadable_sequence(TableName(sequence.schema, sequence.name), role)


def _unreadable_sequence(name: TableName, role: str) -> Problem:
    """That the role may not read where a sequence stands, with the SQL that allows it."""
    text, fix = f"the role lacks SELECT on sequence {name}", "GRANT SELECT ON SEQUENCE {} TO {}"
    return problem(text, fix, name.identifier(), sql.Identifier(role))


def _free_sequences(
    relations: Sequence[_Relation], tables: Mapping[TableName, TableFacts], request: CaptureRequest
) -> list[_Relation]:
    """The sequences that fill no integer column; if only some tables were asked for, those that belong to no table."""
    filling = {TableName(found.schema, found.name) for table in tables.values() for found in table.sequences}
    return [
        found
        for found in relations
        if found.kind == "S"
        and found.reason is None
        and found.name not in filling
        and not (request.is_partial and found.attached)
    ]


def _notes(relations: Sequence[_Relation], tables: Mapping[TableName, TableFacts]) -> Iterator[str]:
    """What is left out of a capture of these tables, and what else the user should know."""
    for found in relations:
        if found.kind != "S" and found.reason:
            yield f"{found.name} is left out: {found.reason}"
        elif found.unlogged and found.name in tables:
            yield f"{found.name} is unlogged"
    oids = {table.oid for table in tables.values() if not table.foreign_partitions}
    for name, table in tables.items():
        if table.row_security:
            yield f"{name} has only the rows that this role may see"
        if table.foreign_partitions:
            yield f"{name} is left out: a partition is on another server"
            continue
        for key in table.foreign_keys:
            if key.is_checked and not key.targets & oids:
                condition = f"a load needs a database where it has the rows that {', '.join(key.columns)} refers to"
                yield f"{name} refers to {key.references_name}, which is left out: {condition}"


def _key(table: TableFacts, stored: Sequence[Column]) -> tuple[Column, ...]:
    """The columns of the primary key, or of the first unique index without NULLs; none if there is neither."""
    usable = {column.name: column for column in stored if is_key_type(column.kind())}
    required = {column.name for column in table.columns if column.not_null}
    for index in sorted(table.indexes, key=lambda index: (index.constraint != "p", index.name)):
        if index.is_unique and index.key and usable.keys() & required >= set(index.key):
            return tuple(usable[name] for name in index.key)
    return ()
