"""Compare two sides, down to rows and columns. What their fingerprints say is equal is never read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from snapseed.config.settings import suggestion
from snapseed.diff.pairs import Pair
from snapseed.diff.rows import Difference, require_keys
from snapseed.diff.sides import Side, Tables
from snapseed.diff.tables import Table
from snapseed.errors import UsageError
from snapseed.events import Advanced, Listener, ignore, phase
from snapseed.postgres.copy_out import UnstorableError
from snapseed.postgres.rowhash import TextKey, text_key
from snapseed.snapshot.arrow import in_one_piece
from snapseed.snapshot.hashing import row_hashes
from snapseed.snapshot.keys import as_text
from snapseed.snapshot.manifest import Column, names_of
from snapseed.snapshot.types import Family

Bools = npt.NDArray[np.bool_]
_Values = Mapping[str, str | None]


@dataclass(frozen=True)
class DiffRequest:
    """What to compare, and how much to tell.

    `only` names entities and `columns` columns, all if empty. `keys` are keys or `FIRST..LAST`, the values of several
    columns with commas between them. Floats that differ by no more than `tolerance` are equal. The report names at most
    `limit` rows of each kind for each entity.
    """

    only: Sequence[str] = ()
    columns: Sequence[str] = ()
    keys: Sequence[str] = ()
    tolerance: float = 0.0
    limit: int = 20

    def __post_init__(self) -> None:
        for name in ("only", "columns", "keys"):
            object.__setattr__(self, name, names_of(getattr(self, name)))


@dataclass(frozen=True)
class SchemaDifference:
    """A table, a column or a key that is not the same on both sides: what each has, None for nothing."""

    entity: str
    what: str
    left: str | None
    right: str | None

    def __str__(self) -> str:
        if self.left and self.right:
            return f"{self.entity}: {self.what} is {self.left} on the left, {self.right} on the right"
        return (
            f"{self.entity}: {self.what} is only on the {'left' if self.left else 'right'} ({self.left or self.right})"
        )


@dataclass(frozen=True)
class SampleRow:
    """A row that only one side has. Without a key in its table, the key is empty."""

    key: TextKey
    values: _Values


@dataclass(frozen=True)
class ChangedRow:
    """A row that both sides have. For each column that differs: the value on the left, then that on the right."""

    key: TextKey
    columns: Mapping[str, tuple[str | None, str | None]]


@dataclass(frozen=True)
class EntityDiff:
    """How the rows of an entity differ: those that only the left has are removed, those of the right are added.

    `columns` counts the changed rows in which a column differs. The limit that was asked for cuts the lists, not the
    counts. `key` names the columns of the key, `masked` those that a capture has masked.
    """

    entity: str
    removed_count: int = 0
    added_count: int = 0
    changed_count: int = 0
    columns: Mapping[str, int] = field(default_factory=dict)
    removed: tuple[SampleRow, ...] = ()
    added: tuple[SampleRow, ...] = ()
    changed: tuple[ChangedRow, ...] = ()
    key: tuple[str, ...] = ()
    masked: frozenset[str] = frozenset()

    @property
    def agrees(self) -> bool:
        """Whether no row differs."""
        return not (self.removed_count or self.added_count or self.changed_count)

    @property
    def counts(self) -> str:
        """How many rows differ, as text."""
        return f"{self.removed_count:,} removed, {self.added_count:,} added, {self.changed_count:,} changed"

    @property
    def hidden(self) -> int:
        """How many rows differ that are not in the lists."""
        counted = self.removed_count + self.added_count + self.changed_count
        return counted - len(self.removed) - len(self.added) - len(self.changed)

    def cells(self) -> Iterator[tuple[str, str, str, str | None, str | None]]:
        """The kind, key, column and both values of each listed cell that differs: `•••` if a capture masked it."""
        for kind, key, name, *sides in self._cells():
            left, right = ("•••" if value is not None and name in self.masked else value for value in sides)
            yield kind, "•••" if self.masked.intersection(self.key) else key, name, left, right

    def _cells(self) -> Iterator[tuple[str, str, str, str | None, str | None]]:
        for row in self.removed:
            yield from (("removed", key_text(row.key), name, value, None) for name, value in row.values.items())
        for row in self.added:
            yield from (("added", key_text(row.key), name, None, value) for name, value in row.values.items())
        for changed in self.changed:
            yield from (("changed", key_text(changed.key), name, *values) for name, values in changed.columns.items())


def key_text(key: TextKey) -> str:
    """A key as one text; nothing where there is none."""
    return key if isinstance(key, str) else f"({', '.join(key)})" if key else ""


@dataclass(frozen=True)
class DiffReport:
    """The differences of two sides. Rows are compared by the columns that both have."""

    left: str
    right: str
    schema: tuple[SchemaDifference, ...]
    entities: tuple[EntityDiff, ...]

    @property
    def agrees(self) -> bool:
        """Whether nothing differs."""
        return not self.schema and all(entity.agrees for entity in self.entities)


def compare(left: Side, right: Side, request: DiffRequest = DiffRequest(), listener: Listener = ignore) -> DiffReport:
    """All differences of the two sides, each as of one moment. Changes nothing.

    Raises `UsageError` for an entity or a column that neither side has, and `SnapshotError` for damage where a snapshot
    has to be read.
    """
    with (
        phase(listener, "rows"),
        left.tables(right.records, listener) as mine,
        right.tables(left.records, listener) as yours,
    ):
        names = _chosen(mine, yours, request)
        schema: list[SchemaDifference] = []
        entities = list[EntityDiff]()
        pairs = {
            name: Pair.of(name, mine[name], yours[name], request.columns, request.keys)
            for name in names
            if name in mine and name in yours
        }
        require_keys(request.keys, [pair.key for pair in pairs.values()])
        for number, name in enumerate(names, 1):
            if name in pairs:
                schema += _schema_differences(name, mine[name], yours[name])
                entities += [_compare(pair.narrowed(), request) for pair in [pairs[name]] if pair.columns]
            else:
                has = ["a table" if name in side else None for side in (mine, yours)]
                schema.append(SchemaDifference(name, "it", *has))
            listener(Advanced("rows", number, len(names), unit="tables"))
    return DiffReport(str(left), str(right), tuple(schema), tuple(entities))


def _chosen(left: Tables, right: Tables, request: DiffRequest) -> list[str]:
    """The names of the entities to compare, those of the left first."""
    tables = {**right, **left}
    known = [*left, *(name for name in right if name not in left)]
    for wanted, names, what in (
        (request.only, known, "entity"),
        (request.columns, sorted({name for table in tables.values() for name in table.columns}), "column"),
    ):
        if unknown := [name for name in wanted if name not in names]:
            raise UsageError(
                f"no such {what} on either side",
                observed=", ".join(unknown),
                expected=f"one of: {', '.join(names)}",
                next_step=suggestion(unknown[0], names) or "check the spelling",
            )
    return [name for name in known if not request.only or name in request.only]


def _schema_differences(entity: str, left: Table, right: Table) -> Iterator[SchemaDifference]:
    """What only one side has of the columns and the key."""
    for name in {**left.columns, **right.columns}:
        types = [side.columns[name].type if name in side.columns else None for side in (left, right)]
        if types[0] != types[1]:
            yield SchemaDifference(entity, f"column {name}", *types)
    keys = [", ".join(column.name for column in side.key) or None for side in (left, right)]
    if keys[0] != keys[1]:
        yield SchemaDifference(entity, "the key", *keys)


def _compare(pair: Pair, request: DiffRequest) -> EntityDiff:
    """Compare the rows of an entity. A column with values that no snapshot holds is compared by their texts."""
    removed_count = added_count = changed_count = 0
    columns = Counter[str]()
    removed: list[SampleRow] = []
    added: list[SampleRow] = []
    changed: list[ChangedRow] = []
    try:
        with closing(pair.differences()) as found:
            for here in found:
                differs = differing_columns(here, pair.columns, request.tolerance)
                places = np.flatnonzero(np.any(list(differs.values()), axis=0))
                removed_count += here.removed.num_rows
                added_count += here.added.num_rows
                changed_count += len(places)
                columns.update({name: int(where.sum()) for name, where in differs.items() if where.any()})
                removed += _samples(here.removed, pair, request.limit - len(removed))
                added += _samples(here.added, pair, request.limit - len(added))
                changed += [_changed_row(here, pair, differs, int(at)) for at in places[: request.limit - len(changed)]]
    except UnstorableError as exc:
        return _compare(pair.with_texts(exc), request)
    in_order = {column.name: columns[column.name] for column in pair.columns if columns[column.name]}
    rows = tuple(removed), tuple(added), tuple(changed)
    key, masked = tuple(column.name for column in pair.key), pair.left.masked | pair.right.masked
    return EntityDiff(pair.entity, removed_count, added_count, changed_count, in_order, *rows, key, masked)


def differing_columns(found: Difference, columns: Sequence[Column], tolerance: float) -> dict[str, Bools]:
    """For each column, in which of the changed rows it differs."""
    differs = {}
    for column in columns:
        kind = column.kind()
        sides = [in_one_piece(rows.column(column.name)) for rows in (found.before, found.after)]
        before, after = (row_hashes([values], [kind]) for values in sides)
        differs[column.name] = before != after
        if tolerance and not kind.is_array and kind.family in {Family.REAL, Family.DOUBLE} and len(before):
            numbers = [values.cast(pa.float64()).to_numpy(zero_copy_only=False) for values in sides]
            with np.errstate(invalid="ignore", over="ignore"):
                differs[column.name] &= ~(np.abs(numbers[0] - numbers[1]) <= tolerance)
    return differs


def _samples(rows: pa.Table, pair: Pair, most: int) -> list[SampleRow]:
    found = [_values(rows, pair, at) for at in range(min(most, rows.num_rows))]
    return [SampleRow(text_key([values[column.name] for column in pair.key]), values) for values in found]


def _changed_row(found: Difference, pair: Pair, differs: Mapping[str, Bools], at: int) -> ChangedRow:
    before, after = (_values(rows, pair, at) for rows in (found.before, found.after))
    columns = {name: (before[name], after[name]) for name, where in differs.items() if where[at]}
    return ChangedRow(text_key([after[column.name] for column in pair.key]), columns)


def _values(rows: pa.Table, pair: Pair, at: int) -> _Values:
    return {column.name: as_text(rows.column(column.name)[at], column.kind()) for column in pair.columns}
