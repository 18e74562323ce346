"""What a table would refuse in the snapshot's own values, looked up in the files before the database is touched."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from psycopg import sql

from snapseed.postgres.catalog import ColumnFacts, TableFacts
from snapseed.postgres.fit import Problem, problem, table_name, type_of
from snapseed.snapshot.manifest import EntityRecord
from snapseed.snapshot.store import Snapshot

_LENGTHS = {"character varying", "character"}


@dataclass
class _Watched:
    """A column whose values may not fit, and what was seen of them."""

    facts: ColumnFacts
    limit: int | None
    nulls: int = 0
    longest: int = 0
    labels: set[str] = field(default_factory=set)

    @property
    def is_read(self) -> bool:
        """Whether the values must be read; the number of nulls stands in the file's footer."""
        return self.limit is not None or bool(self.facts.labels)


def content_problems(snapshot: Snapshot, entity: EntityRecord, facts: TableFacts) -> Iterator[Problem]:
    """NULL where the table takes none, labels that its enums lack, texts longer than its columns.

    Reads the columns of enums, and of texts over a column with a length; of all others only the files' footers.
    """
    watched = {}
    for column in entity.columns:
        found = facts.column(column.name)
        if found is None:
            continue
        # A longer length that the snapshot declares is a disagreement of the types.
        limit = None if column.kind().modifiers else _limit(found)
        if found.not_null or found.labels or limit is not None:
            watched[column.name] = _Watched(found, limit)
    if not watched:
        return
    for file in entity.files:
        with snapshot.open_part(file) as part:
            _look(part, watched)
    for name, seen in watched.items():
        yield from _problems(entity, name, seen, in_key=name in facts.primary_key)


def _limit(facts: ColumnFacts) -> int | None:
    kind = type_of(facts)
    if kind is None or kind.base not in _LENGTHS or not kind.modifiers or kind.is_array:
        return None
    return kind.modifiers[0]


def _look(part: pq.ParquetFile, watched: dict[str, _Watched]) -> None:
    for number in range(part.num_row_groups):
        group = part.metadata.row_group(number)
        for place in range(group.num_columns):
            chunk = group.column(place)
            # The statistics of a list are those of its elements, whose path is longer.
            if (column := watched.get(chunk.path_in_schema)) and column.facts.not_null and chunk.is_stats_set:
                column.nulls += chunk.statistics.null_count or 0
    if names := [name for name, column in watched.items() if column.is_read and name in part.schema_arrow.names]:
        for batch in part.iter_batches(columns=names, use_threads=False):
            for name in names:
                _read(batch.column(name), watched[name])


def _read(values: pa.Array, column: _Watched) -> None:
    if column.limit is not None:
        column.longest = max(column.longest, pc.max(pc.utf8_length(values)).as_py() or 0)
    if column.facts.labels:
        values = pc.list_flatten(values, recursive=True) if pa.types.is_list(values.type) else values
        column.labels.update(pc.unique(values.drop_null()).to_pylist())


def _problems(entity: EntityRecord, name: str, column: _Watched, *, in_key: bool) -> Iterator[Problem]:
    table = table_name(entity)
    place, identifiers = f"{table}.{name}", (table.identifier(), sql.Identifier(name))
    if column.nulls:
        by_domain = column.facts.domain_not_null
        why = " by its domain" if by_domain else ""
        text = f"{place} is NOT NULL{why}, and NULL in {column.nulls:,} rows of the snapshot"
        mend = "ALTER TABLE {} ALTER COLUMN {} DROP NOT NULL"
        yield Problem(text) if in_key or by_domain else problem(text, mend, *identifiers)
    if column.limit is not None and column.longest > column.limit:
        text = f"{place} is {column.facts.type}, and the snapshot's longest value has {column.longest} characters"
        mend = f"ALTER TABLE {{}} ALTER COLUMN {{}} TYPE varchar({column.longest})"
        yield Problem(text) if column.facts.is_used else problem(text, mend, *identifiers)
    for label in sorted(column.labels.difference(column.facts.labels)) if column.facts.labels else ():
        kind = column.facts.type.removesuffix("[]")
        text = f"{place}: the type {kind} has no label {label!r}"
        yield problem(text, "ALTER TYPE {} ADD VALUE {}", kind, sql.Literal(label))
