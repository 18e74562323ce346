"""What the rows of an entity are like, column by column, found while its files are read once.

Memory does not grow with the rows: of each column stay a count, two ends, a sketch, and a sample.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from snapseed.printable import printable
from snapseed.snapshot.arrow import in_one_piece, pc
from snapseed.snapshot.hashing import EMPTY, SEED, fingerprint
from snapseed.snapshot.keys import as_text
from snapseed.snapshot.manifest import Column, EntityRecord, names_of
from snapseed.snapshot.parquet import readable
from snapseed.snapshot.store import Snapshot
from snapseed.snapshot.types import INTEGERS, ColumnType, Family
from snapseed.snapshot.values import for_hash

# The sketch of a column holds this many distinct values: with fewer, the count is exact, else it errs by about 2 %.
_DISTINCT = 2048
# What fills a sketch is counted in pieces of this many values. A full one needs only those with small hashes.
_PIECE = 8192
# Rows that histograms, samples and the map are made of.
_SAMPLE = 4096
_BARS = 24
# Rows and values that are shown; no more of a text is.
_ROWS = 5
_VALUES = 6
CHARACTERS = 80
# A column whose commonest value makes up less has no frequent ones.
_FREQUENT = 0.02
_GATHERED_BYTES = 1 << 24
# Moments that PostgreSQL calls infinite are beyond this, in microseconds.
_ENDLESS = 9.2e18

_LENGTHS = {Family.TEXT, Family.CHARACTER, Family.BYTEA, Family.JSON, Family.JSONB, Family.TEXT_FORM}
_WITHOUT_ENDS = {Family.BOOLEAN, Family.UUID, Family.VECTOR}


@dataclass(frozen=True)
class ColumnProfile:
    """One column. `low` and `high` are the ends of its values, or with `unit` of their lengths in that unit.

    `distinct` is None for vectors and arrays; `exact` says whether it was counted, or estimated by a sketch. `values`
    are frequent ones with their share of the rows. Of a `hidden` column, no value is here.
    """

    column: Column
    hidden: bool
    nulls: int
    distinct: int | None = None
    exact: bool = True
    low: str = ""
    high: str = ""
    unit: str = ""
    values: tuple[tuple[str, float], ...] = ()
    histogram: tuple[int, ...] = ()


@dataclass(frozen=True)
class EntityProfile:
    """One entity. `sample` has some of its rows, long texts cut; `samples` a few as text, with None for NULL.

    `as_written`: all rows together have the fingerprint of the manifest.
    """

    entity: EntityRecord
    columns: tuple[ColumnProfile, ...]
    sample: pa.Table
    samples: tuple[tuple[str | None, ...], ...]
    as_written: bool


@dataclass(frozen=True)
class Sketch:
    """The distinct values with the smallest hashes, how often each occurs, and the beginnings of their texts.

    The k-th smallest hash says how many there are (k minimum values: Bar-Yossef et al., 2002). Up to k, all are known.
    """

    hashes: npt.NDArray[np.uint64]
    counts: npt.NDArray[np.int64]
    values: pa.Array

    @property
    def is_full(self) -> bool:
        """Whether there may be other values than these."""
        return len(self.hashes) == _DISTINCT

    @property
    def distinct(self) -> int:
        """How many distinct values there are; an estimate if it is full."""
        return round((_DISTINCT - 1) / (int(self.hashes[-1]) / 2**64)) if self.is_full else len(self.hashes)

    def plus(self, column: pa.Array, kind: ColumnType) -> Sketch:
        """The sketch of these values too, none of which is NULL."""
        sketch, start = self, 0
        while start < len(column):
            piece = column.slice(start) if sketch.is_full else column.slice(start, _PIECE)
            start += len(piece)
            if sketch.is_full:
                near = for_hash([piece], [kind]).hashes(SEED) <= sketch.hashes[-1]
                piece = piece.filter(pa.array(near))
            if len(piece):
                counted = pc.value_counts(piece)
                sketch = sketch._merged(counted.field("values"), counted.field("counts").to_numpy(), kind)
        return sketch

    def _merged(self, values: pa.Array, counts: npt.NDArray[np.int64], kind: ColumnType) -> Sketch:
        hashes = np.concatenate([self.hashes, for_hash([values], [kind]).hashes(SEED)])
        kept, first, place = np.unique(hashes, return_index=True, return_inverse=True)
        totals = np.bincount(place, weights=np.concatenate([self.counts, counts])).astype(np.int64)
        texts = pa.concat_arrays([self.values, _beginnings(values)]).take(pa.array(first[:_DISTINCT]))
        return Sketch(kept[:_DISTINCT], totals[:_DISTINCT], texts)


@dataclass(frozen=True)
class _Fold:
    """What stays of a column while its rows pass by: `ends` are its smallest and largest value, or length."""

    kind: ColumnType
    nulls: int = 0
    ends: pa.Array | None = None
    sketch: Sketch | None = None

    def plus(self, column: pa.Array) -> _Fold:
        """The same with these values."""
        present = column.drop_null() if column.null_count else column
        ends, sketch = self.ends, self.sketch
        if len(present) and (measured := _measured(present, self.kind)) is not None:
            found = [measured] if ends is None else [measured, ends]
            limits = [pc.min_max(values) for values in found]
            ends = pa.array([each[end] for each in limits for end in ("min", "max")], measured.type)
        if len(present) and not pa.types.is_nested(present.type):
            empty = Sketch(np.empty(0, np.uint64), np.empty(0, np.int64), _beginnings(present.slice(0, 0)))
            sketch = (sketch or empty).plus(present, self.kind)
        return replace(self, nulls=self.nulls + column.null_count, ends=ends, sketch=sketch)


def profile(
    snapshot: Snapshot, entity: EntityRecord, hidden: Container[str], advance: Callable[[int], None]
) -> EntityProfile:
    """Read all rows of an entity, and say what they are like. `advance` gets the number of rows of each batch.

    Of the `hidden` columns, only `sample` has values. Raises `SnapshotError` if the rows cannot be read.
    """
    names, kinds = [column.name for column in entity.columns], entity.kinds
    folds, done, seen = [_Fold(kind) for kind in kinds], 0, EMPTY
    # Of each batch: its sampled rows, and what is measured of them, column by column.
    samples, measures = list[pa.Table](), list[list[pa.Array | None]]()
    chosen = _sampled(entity.rows)
    with readable(f"{snapshot.place}, {entity.name}"):
        for batch in _gathered(snapshot.batches(entity, names)):
            seen += fingerprint(batch.columns, kinds)
            columns = [plain(column) for column in batch.columns]
            folds = [fold.plus(column) for fold, column in zip(folds, columns, strict=True)]
            begin, end = np.searchsorted(chosen, [done, done + len(batch)])
            taken = [column.take(pa.array(chosen[begin:end] - done)) for column in columns]
            samples.append(pa.table([_beginnings(column) for column in taken], names))
            measures.append([_measured(column, kind) for column, kind in zip(taken, kinds, strict=True)])
            done += len(batch)
            advance(len(batch))
            # Free these rows before the next are decoded.
            del batch, columns, taken
    sample = pa.concat_tables(samples) if samples else pa.table([pa.array([], pa.string())] * len(names), names)
    found = tuple(
        _column(entity, column, fold, sample.column(at), [each[at] for each in measures], hidden=column.name in hidden)
        for at, (column, fold) in enumerate(zip(entity.columns, folds, strict=True))
    )
    few = sample.take(pa.array(np.unique(np.arange(_ROWS) * len(sample) // _ROWS)[: len(sample)]))
    texts = [
        ["•••" if each.hidden else shown(value, kinds[at]) if value.is_valid else None for value in few.column(at)]
        for at, each in enumerate(found)
    ]
    return EntityProfile(entity, found, sample, tuple(zip(*texts, strict=True)), seen == entity.digest())


def shown(value: pa.Scalar, kind: ColumnType) -> str:
    """A value as PostgreSQL prints it, cut and harmless to show; NULL as an empty text."""
    is_uuid = isinstance(value, pa.FixedSizeBinaryScalar) and value.is_valid
    text = printable(str(UUID(bytes=value.as_py())) if is_uuid else as_text(value, kind) or "")
    return text if len(text) <= CHARACTERS else text[: CHARACTERS - 1] + "…"


def _gathered(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows in larger batches, which cost less per row: up to 16 MB."""
    waiting, size = list[pa.RecordBatch](), 0
    for batch in batches:
        if size + batch.nbytes > _GATHERED_BYTES and waiting:
            yield pa.concat_batches(waiting)
            waiting, size = [], 0
        waiting.append(batch)
        size += batch.nbytes
    if waiting:
        yield pa.concat_batches(waiting)


def _sampled(rows: int) -> npt.NDArray[np.int64]:
    """The numbers of the rows to sample, in order: one of each stretch, at a place that only depends on its number."""
    count = min(rows, _SAMPLE)
    bounds = np.arange(count + 1, dtype=np.int64) * rows // max(1, count)
    inside = np.random.Generator(np.random.PCG64(SEED)).integers(0, 2**32, count)
    return bounds[:-1] + (inside * (bounds[1:] - bounds[:-1]) >> 32)


def plain(column: pa.Array) -> pa.Array:
    """The column as Arrow's functions take it: a uuid as its bytes, half-precision floats as floats."""
    if isinstance(column, pa.ExtensionArray):
        return column.storage
    return column.cast(pa.float32()) if pa.types.is_float16(column.type) else column


def _beginnings(column: pa.Array) -> pa.Array:
    """The values as far as they are shown."""
    if pa.types.is_string(column.type):
        return pc.utf8_slice_codeunits(column, 0, CHARACTERS + 1)
    if pa.types.is_list(column.type):
        return pc.list_slice(column, 0, CHARACTERS)
    return pc.binary_slice(column, 0, CHARACTERS) if pa.types.is_binary(column.type) else column


def _measured(column: pa.Array, kind: ColumnType) -> pa.Array | None:
    """What of each value has a smallest and a largest: the value, or its length; None for what has neither."""
    if kind.is_array:
        return pc.list_value_length(column)
    if kind.family in _LENGTHS:
        return pc.binary_length(column)
    return None if kind.family in _WITHOUT_ENDS else column


def _column(
    entity: EntityRecord,
    column: Column,
    fold: _Fold,
    sample: pa.ChunkedArray,
    measures: Sequence[pa.Array],
    *,
    hidden: bool,
) -> ColumnProfile:
    kind, sketch, present = fold.kind, fold.sketch, entity.rows - fold.nulls
    found = ColumnProfile(column, hidden, fold.nulls)
    if fold.ends is not None:
        unit = "items" if kind.is_array else "bytes" if kind.family in _LENGTHS else ""
        found = replace(found, unit=unit, histogram=_histogram(kind, fold.ends, measures))
        if unit or not hidden:
            low, high = (str(end) if unit else shown(end, kind) for end in pc.min_max(fold.ends).values())
            days = 10 if pa.types.is_timestamp(fold.ends.type) and low[:10] != high[:10] else None
            found = replace(found, low=low[:days], high=high[:days])
    if sketch is None:
        return found
    exact, distinct = not sketch.is_full, min(sketch.distinct, present)
    if names_of(entity.key) == (column.name,):
        exact, distinct = True, entity.rows
    found = replace(found, distinct=distinct, exact=exact)
    values, shares = sketch.values, sketch.counts / entity.rows
    if sketch.is_full:
        counted = pc.value_counts(in_one_piece(sample).drop_null())
        values, shares = counted.field("values"), counted.field("counts").to_numpy() / len(sample)
        if kind.family in _LENGTHS:
            # Texts that were cut may only begin with the same characters.
            shares = shares * (pc.binary_length(values).to_numpy() < CHARACTERS)
    first = np.argsort(-shares, kind="stable")[:_VALUES]
    has_few = exact and distinct <= _VALUES
    if hidden or not len(first) or shares[first[0]] < _FREQUENT or not (has_few or found.unit or fold.ends is None):
        return found
    frequent = first[shares[first] >= _FREQUENT / 4].tolist()
    return replace(found, values=tuple((shown(values[at], kind), float(shares[at])) for at in frequent))


def _histogram(kind: ColumnType, ends: pa.Array, measures: Sequence[pa.Array]) -> tuple[int, ...]:
    """How many rows of the sample lie in each of some equal ranges from the smallest to the largest value."""
    numbers = np.concatenate([_floats(piece) for piece in measures])
    both = np.concatenate([numbers, _floats(ends)])
    if not len(both):
        return ()
    low, high = float(both.min()), float(both.max())
    if kind.is_array or kind.family in _LENGTHS | INTEGERS | {Family.DATE}:
        # As wide as a whole number, or some bars would stand for more numbers than others.
        width = -(-(high - low + 1) // _BARS)
        bars = int(-(-(high - low + 1) // width))
        high = low + bars * width
    else:
        bars = _BARS
    return tuple(np.histogram(numbers, bars, (low, high))[0].tolist()) if low < high and bars > 1 else ()


def _floats(values: pa.Array) -> npt.NDArray[np.float64]:
    """The values as numbers, without NULL and what is not finite."""
    if pa.types.is_temporal(values.type):
        values = values.cast(pa.int32() if pa.types.is_date32(values.type) else pa.int64())
    floats: npt.NDArray[np.float64] = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return floats[np.isfinite(floats) & (np.abs(floats) < _ENDLESS)]
