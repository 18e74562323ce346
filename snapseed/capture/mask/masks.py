"""Masks: all rules of a capture, ready to replace values. `prepare.py` makes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from traceback import walk_tb
from typing import TYPE_CHECKING

import pyarrow as pa

from snapseed.errors import SnapshotError
from snapseed.generate.draws.bits import UInt64s, mixed
from snapseed.postgres.catalog import TableName
from snapseed.snapshot.manifest import Column
from snapseed.snapshot.types import ColumnType

if TYPE_CHECKING:
    from snapseed.capture.mask.values import BoundRule


@dataclass(frozen=True)
class MaskedColumn:
    """A column whose values are replaced. `by` are the columns that say how far the dates of a row move.

    `shown` is the name of the column in the configuration and the manifest.
    """

    name: str
    shown: str
    kind: ColumnType
    bound: BoundRule
    by: tuple[str, ...] = ()


@dataclass(frozen=True)
class Masks:
    """The columns of each table whose values are replaced."""

    tables: Mapping[TableName, tuple[MaskedColumn, ...]]

    @property
    def names(self) -> tuple[str, ...]:
        """The masked columns, as the manifest lists them."""
        return tuple(sorted(column.shown for found in self.tables.values() for column in found))

    def masked(self, table: TableName) -> frozenset[str]:
        """The masked columns of a table."""
        return frozenset(column.name for column in self.tables.get(table, ()))

    def reorders(self, table: TableName, key: Sequence[Column]) -> bool:
        """Whether the order of a table's rows changes: that of its key, or of the whole rows if it has none."""
        masked = self.masked(table)
        return any(column.name in masked for column in key) if key else bool(masked)

    def apply(self, table: TableName, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows with all rules applied.

        Raises `SnapshotError` for a rule that fails. It does not say why: the reason may quote a value.
        """
        for column in self.tables.get(table, ()):
            place = batch.schema.get_field_index(column.name)
            if place < 0:
                continue
            try:
                made = _replaced(column, batch)
            except Exception as exc:  # noqa: BLE001 - whatever it is, its text may quote a value
                raise _failed(f"{table}, column {column.name}", column.bound, exc) from None
            batch = batch.set_column(place, batch.schema.field(place), made)
        return batch


NO_MASKS = Masks({})


def _replaced(column: MaskedColumn, batch: pa.RecordBatch) -> pa.Array:
    # With polars, which a capture without masks does without.
    from snapseed.capture.mask.documents import replaced_documents
    from snapseed.capture.mask.values import RuleError, replaced, shifted

    values, kind = batch.column(column.name), column.kind
    # A value somewhere in the column does not fit its own type, so that all of them are stored as text.
    is_text_form = pa.types.is_string(values.type) and not pa.types.is_string(kind.arrow)
    fitting = {"null"} if kind.is_array else {"null", "number", "date"}
    if is_text_form and column.bound.rule.rule not in fitting:
        raise RuleError(
            f"{kind.name} is stored as text, because of a value that Arrow cannot hold; use {' or '.join(fitting)}"
        )
    if column.bound.rule.rule == "date":
        bits = [column.bound.key.bits(batch.column(name))[0] for name in column.by]
        return shifted(column.bound, values, reduce(_mixed_in, bits[1:], bits[0]))
    if column.bound.other is not None:
        return replaced_documents(values, column.bound.paths, column.bound.other)
    return replaced(column.bound, values, kind).cast(values.type)


def _mixed_in(bits: UInt64s, more: UInt64s) -> UInt64s:
    return mixed(bits) ^ more


def _failed(where: str, bound: BoundRule, exc: Exception) -> SnapshotError:
    from snapseed.capture.mask.values import RuleError

    observed = str(exc)
    if not isinstance(exc, RuleError):
        *_, (frame, line) = walk_tb(exc.__traceback__)
        place = f"{frame.f_code.co_filename}, line {line}"
        observed = f"{type(exc).__name__} in {place}; its text may quote a value, so it is not shown"
    return SnapshotError(
        f"the rule {bound.rule.rule} failed",
        where=where,
        observed=observed,
        next_step="fix the function" if bound.function else "use another rule",
    )
