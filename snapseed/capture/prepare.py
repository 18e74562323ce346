"""What the source has: its tables with columns and key, its sequences, and what is left out and why.

All is read in the transaction whose snapshot the rows come from, and everything that stands in the way is told at once.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any

from psycopg import sql

from snapseed.capture.columns import ColumnName, stored_columns
from snapseed.capture.request import CaptureRequest
from snapseed.config.settings import suggestion
from snapseed.errors import RefusedError, SchemaError, UsageError
from snapseed.postgres import query
from snapseed.postgres.catalog import read_rows, read_tables
from snapseed.postgres.connect import Connection
from snapseed.postgres.facts import TableFacts, TableName
from snapseed.postgres.fit import Problem, problem, unreadable
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


def chosen_tables(connection: Connection, request: CaptureRequest) -> frozenset[TableName]:
    """The tables that the request asks for, by one query. Raises `UsageError` for a name that no table has."""
    relations = read_rows(connection, query("relations", QUERIES))
    return frozenset(_choose([row for row in relations if row["kind"] != "S"], request))


def prepare(connection: Connection, request: CaptureRequest, where: str, failed: Collection[ColumnName] = ()) -> Source:
    """Read what the source has. The columns that `failed` to be read as their types get another, as text if need be.

    Raises `UsageError` for a name that no table has and if no table is left, `RefusedError` if row-level security would
    hide rows or there are large objects, and `SchemaError` that lists everything else that cannot be captured.
    """
    identity = identify(connection)
    large_objects = _count_large_objects(connection, request, where)
    relations = read_rows(connection, query("relations", QUERIES))
    found = [row for row in relations if row["kind"] != "S"]
    chosen = _choose(found, request)
    facts = read_tables(connection, list(chosen))
    notes = [f"{large_objects:,} large objects are left out"] if large_objects else []
    notes += [f"{row['schema']}.{row['name']} is left out: {row['reason']}" for row in found if row["reason"]]
    notes += [
        f"{row['schema']}.{row['name']} is unlogged"
        for row in found
        if row["unlogged"] and TableName(row["schema"], row["name"]) in facts
    ]
    notes += [f"{name} has only the rows that this role may see" for name, table in facts.items() if table.row_security]
    notes += [
        f"{name} is left out: a partition is on another server" for name in facts if facts[name].foreign_partitions
    ]
    present = {name: table for name, table in facts.items() if not table.foreign_partitions}
    _require_visible(list(present.values()), request, where)
    problems = [found for table in present.values() for found in _problems(table, identity.role)]
    notes += _left_out_parents(present)
    free = _free_sequences([row for row in relations if row["kind"] == "S"], present, request)
    if unreadable := [row for row in free if not row["readable"]]:
        if not _is_partial(request):
            problems += [_unreadable_sequence(row, identity.role) for row in unreadable]
        free = [row for row in free if row["readable"]]
        notes += [f"{row['schema']}.{row['name']} is left out: this role may not read it" for row in unreadable]
    tables, samples = [], request.subset is None and not request.schema_only
    stored = stored_columns(connection, list(present.values()), failed, samples=samples)
    for (name, table), columns in zip(present.items(), stored, strict=True):
        problems += [found for found in columns if isinstance(found, Problem)]
        if own := tuple(column for column in columns if isinstance(column, Column)):
            tables.append(SourceTable(chosen[name], own, _key(table, own), table))
        else:
            notes.append(f"{name} is left out: it has no column whose values are stored")
    if problems:
        raise _not_capturable(problems, where)
    if not tables and not request.schema_only:
        raise UsageError(
            "there is no table to capture",
            where=where,
            observed=f"{len(found):,} tables, all of them left out" if found else "a database without tables",
            expected="a table with columns whose values are stored",
            next_step="check --only and --exclude" if found else "check the name of the database in the URL",
        )
    free_names = tuple(TableName(row["schema"], row["name"]) for row in free)
    return Source(identity, tuple(tables), free_names, tuple(notes))


def _count_large_objects(connection: Connection, request: CaptureRequest, where: str) -> int:
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


def _entity_names(tables: Sequence[dict[str, Any]]) -> dict[TableName, str]:
    """The name of each table's entity: its own if no other table has it, else with its schema; safe in a path."""
    plain = {TableName(row["schema"], row["name"]): _safe(row["name"]) for row in tables}
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


def _choose(tables: Sequence[dict[str, Any]], request: CaptureRequest) -> dict[TableName, str]:
    """The tables that the request asks for, with the names of their entities."""
    names = _entity_names([row for row in tables if row["reason"] is None])

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
            yield _unreadable_sequence({"schema": sequence.schema, "name": sequence.name}, role)


def _unreadable_sequence(row: dict[str, Any], role: str) -> Problem:
    text = f"the role lacks SELECT on sequence {row['schema']}.{row['name']}"
    name = sql.Identifier(row["schema"], row["name"])
    return problem(text, "GRANT SELECT ON SEQUENCE {} TO {}", name, sql.Identifier(role))


def _not_capturable(problems: Sequence[Problem], where: str) -> SchemaError:
    fixes = list(dict.fromkeys(found.fix for found in problems if found.fix))
    return SchemaError(
        "the database cannot be captured as it is",
        where=where,
        observed="; ".join(dict.fromkeys(found.text for found in problems)),
        next_step="\n".join(["this SQL would fix it:", *fixes] if fixes else ["leave these tables out with --exclude"]),
    )


def _free_sequences(
    sequences: Sequence[dict[str, Any]], tables: dict[TableName, TableFacts], request: CaptureRequest
) -> list[dict[str, Any]]:
    """The sequences that fill no integer column; if only some tables were asked for, those that belong to no table."""
    filling = {(found.schema, found.name) for table in tables.values() for found in table.sequences}
    return [
        row
        for row in sequences
        if row["reason"] is None
        and (row["schema"], row["name"]) not in filling
        and not (_is_partial(request) and row["attached"])
    ]


def _is_partial(request: CaptureRequest) -> bool:
    return bool(request.only or request.exclude)


def _left_out_parents(tables: Mapping[TableName, TableFacts]) -> Iterator[str]:
    """What a foreign key of these tables refers to without being one of them. A load would need its rows."""
    oids = {table.oid for table in tables.values()}
    for name, table in tables.items():
        for key in table.foreign_keys:
            if key.is_checked and not key.targets & oids:
                condition = f"a load needs a database where it has the rows that {', '.join(key.columns)} refers to"
                yield f"{name} refers to {key.references_name}, which is left out: {condition}"


def _key(table: TableFacts, stored: Sequence[Column]) -> tuple[Column, ...]:
    """The columns of the primary key, else of the first unique index without NULLs; none if there is neither."""
    usable = {column.name: column for column in stored if is_key_type(column.kind())}
    required = {column.name for column in table.columns if column.not_null}
    for index in sorted(table.indexes, key=lambda index: (index.constraint != "p", index.name)):
        if index.is_unique and index.key and usable.keys() & required >= set(index.key):
            return tuple(usable[name] for name in index.key)
    return ()
