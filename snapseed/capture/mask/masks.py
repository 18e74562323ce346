"""The masks of a table: its rules, and how they replace the values in rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from traceback import walk_tb

import pyarrow as pa

from snapseed.capture.mask.values import BoundRule, RuleError, replaced, shifted
from snapseed.errors import SnapshotError
from snapseed.generate.draws.bits import mixed
from snapseed.postgres.facts import TableName


@dataclass(frozen=True)
class TableMasks:
    """The rules of a table's columns, by name, without those that keep values. Picklable."""

    table: TableName
    rules: Mapping[str, BoundRule]

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows with all rules applied.

        Raises `SnapshotError` for a rule that fails. It does not say why: the reason may quote a value.
        """
        for name, bound in self.rules.items():
            if (place := batch.schema.get_field_index(name)) >= 0:
                try:
                    made = _replaced(bound, batch.column(place), batch)
                except Exception as exc:  # noqa: BLE001 - whatever it is, its text may quote a value
                    raise _failed(f"{self.table}, column {name}", bound, exc) from None
                batch = batch.set_column(place, batch.schema.field(place), made)
        return batch


def _replaced(bound: BoundRule, values: pa.Array, rows: pa.RecordBatch) -> pa.Array:
    """The values of a column of these rows, replaced by what its rule says."""
    name, kind = bound.rule.rule, bound.kind
    # A value somewhere in the column does not fit its own type, so that all of them are stored as text.
    is_text_form = pa.types.is_string(values.type) and not pa.types.is_string(kind.arrow)
    fitting = {"null"} if kind.is_array else {"null", "number", "date"}
    if is_text_form and name not in fitting:
        raise RuleError(
            f"{kind.name} is stored as text, because of a value that Arrow cannot hold; use {' or '.join(fitting)}"
        )
    if name == "date":
        bits = [bound.key.bits(rows.column(by))[0] for by in bound.by]
        return shifted(bound, values, reduce(lambda word, more: mixed(word) ^ more, bits))
    if bound.other is not None:
        # With polars, which few rules need.
        from snapseed.capture.mask.documents import replaced_documents

        return replaced_documents(values, bound.paths, bound.other)
    return replaced(bound, values).cast(values.type)


def _failed(where: str, bound: BoundRule, exc: Exception) -> SnapshotError:
    """The error about a rule that has failed, without the text of an error that may quote a value."""
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
