"""How many children a parent row has. Every count is a pure function of the parent row, and has a known maximum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from snapseed.generate import draws

if TYPE_CHECKING:
    from snapseed.generate.entity import Entity
    from snapseed.generate.rows import Rows

Counts = npt.NDArray[np.int64]


class FanOut(Protocol):
    """What `per_parent` takes."""

    @property
    def maximum(self) -> int:
        """No parent has more children than this."""

    def counts(self, parents: Rows, frame: pl.DataFrame, child: str) -> Counts:
        """Children of each row in `frame`, for the entity named `child`."""


@dataclass(frozen=True)
class _Exactly:
    maximum: int

    def counts(self, parents: Rows, frame: pl.DataFrame, child: str) -> Counts:  # noqa: ARG002
        return np.full(len(parents), self.maximum, dtype=np.int64)


@dataclass(frozen=True)
class _Skewed:
    mean: float
    maximum: int

    @cached_property
    def _thresholds(self) -> draws.UInt64s:
        return draws.thresholds(_skewed_weights(self.mean, self.maximum))

    def counts(self, parents: Rows, frame: pl.DataFrame, child: str) -> Counts:  # noqa: ARG002
        return draws.categories(parents.bits(f"number of {child}"), self._thresholds).astype(np.int64)


@dataclass(frozen=True)
class _SkewedBy:
    column: str
    fan_outs: Mapping[object, _Skewed]
    maximum: int

    def counts(self, parents: Rows, frame: pl.DataFrame, child: str) -> Counts:
        values = frame[self.column]
        counts = np.full(len(parents), -1, dtype=np.int64)
        for value, fan_out in self.fan_outs.items():
            has_value = values.eq_missing(value).to_numpy()
            counts[has_value] = fan_out.counts(parents, frame, child)[has_value]
        unknown = values.filter(pl.Series(counts < 0))
        if len(unknown):
            raise ValueError(
                f"fan_out() of {child} has no mean for {self.column} = {unknown[0]!r}, only for {list(self.fan_outs)}"
            )
        return counts


@dataclass(frozen=True)
class _Counted:
    expression: pl.Expr
    maximum: int

    def counts(self, parents: Rows, frame: pl.DataFrame, child: str) -> Counts:  # noqa: ARG002
        series = frame.select(self.expression.cast(pl.Int64).alias("count"))["count"]
        counts = series.to_numpy()
        if series.null_count() or (len(counts) and (counts.min() < 0 or counts.max() > self.maximum)):
            raise ValueError(
                f"counted() of {child} gave {counts.min()} to {counts.max()} with {series.null_count()} nulls,"
                f" expected 0 to {self.maximum}"
            )
        return counts


@dataclass(frozen=True)
class _Among:
    """As many as another fan-out says, and no more than there are rows of a root entity to be distinct among."""

    wanted: FanOut
    entity: Entity

    @property
    def maximum(self) -> int:
        return self.wanted.maximum

    def counts(self, parents: Rows, frame: pl.DataFrame, child: str) -> Counts:
        most = self.entity.earlier_rows(parents.entity, parents.roots)
        return np.minimum(self.wanted.counts(parents, frame, child), most)


def exactly(children: int, *, among: Entity | None = None) -> FanOut:
    """The same number of children for every parent; `among` as for `fan_out`."""
    if children < 0:
        raise ValueError(f"a parent cannot have {children} children")
    return _among(_Exactly(children), among)


def fan_out(
    mean: float | Mapping[object, float], maximum: int, *, by: str | None = None, among: Entity | None = None
) -> FanOut:
    """Few parents have many children, many have few or none: weights fall with the square of the number.

    `mean` is met to within a hundredth. With `by`, a column of the parent, there is one for each of its values:
    `fan_out({"free": 2, "team": 30}, maximum=200, by="plan")`. With `among`, a root entity that the children refer to
    by `rows.reference(…, distinct=True)`, a parent has no more than there are rows to choose from: the first parents,
    at which that entity has just begun to grow, have fewer. Raises `ValueError` where a mean is not between 0 and half
    the maximum, beyond which a distribution that falls has no room, and for an `among` that is no root entity.
    """
    if isinstance(mean, Mapping) and by is not None:
        return _among(_SkewedBy(by, {value: _skewed(own, maximum) for value, own in mean.items()}, maximum), among)
    if isinstance(mean, Mapping) or by is not None:
        raise ValueError("fan_out needs one mean, or a mapping of means and the column that it goes by")
    return _among(_skewed(mean, maximum), among)


def counted(expression: pl.Expr, maximum: int) -> FanOut:
    """As many children as a polars expression over the parent's columns says; a boolean counts as 0 or 1."""
    return _Counted(expression, maximum)


def _skewed(mean: float, maximum: int) -> _Skewed:
    if not 0 < mean < maximum / 2:
        raise ValueError(f"fan_out needs 0 < mean < maximum / 2, got mean={mean}, maximum={maximum}")
    return _Skewed(mean, maximum)


def _among(wanted: FanOut, entity: Entity | None) -> FanOut:
    if entity is not None and entity.parent is not None:
        raise ValueError(f"among: {entity.name} is not a root entity")
    return wanted if entity is None else _Among(wanted, entity)


def _skewed_weights(mean: float, maximum: int) -> list[int]:
    """Weights 1 / (number + shift)^2 in integers, the shift found by bisection: the mean rises with it."""
    wanted = round(mean * 10**6)
    low, high = 1, 2**40

    def weights(shift: int) -> list[int]:
        return [2**120 // (number * 2**16 + shift) ** 2 for number in range(maximum + 1)]

    while low < high:
        shift = (low + high) // 2
        found = weights(shift)
        if sum(number * weight for number, weight in enumerate(found)) * 10**6 < wanted * sum(found):
            low = shift + 1
        else:
            high = shift
    return weights(low)
