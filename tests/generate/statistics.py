"""Whether counts fit a distribution: Pearson's chi-square, divided by a limit that chance hardly ever exceeds.

The seed fixes all draws, so a test gives the same result every time.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl


def chi_square(observed: Sequence[float] | npt.NDArray[np.int64], weights: Sequence[float]) -> float:
    """How far counts are from proportions; above 1 is too far. Categories with low expected counts are merged."""
    total, sum_of_weights = float(np.sum(observed)), float(sum(weights))
    merged = [[0.0, 0.0]]
    for count, weight in zip(observed, weights, strict=True):
        if merged[-1][1] >= 10:
            merged.append([0.0, 0.0])
        merged[-1][0] += count
        merged[-1][1] += total * weight / sum_of_weights
    if len(merged) > 1 and merged[-1][1] < 10:
        last = merged.pop()
        merged[-1] = [merged[-1][0] + last[0], merged[-1][1] + last[1]]
    degrees = len(merged) - 1
    found = sum((count - expected) ** 2 / expected for count, expected in merged)
    return found / limit(degrees) if degrees else 0.0


def limit(degrees: int) -> float:
    """What chi-square exceeds three times in 100,000 with this many degrees of freedom (Wilson and Hilferty, 1931)."""
    ninth = 2 / (9 * degrees)
    return float(degrees * (1 - ninth + 4 * ninth**0.5) ** 3)


def dependence(first: pl.Series, second: pl.Series, cells: int = 16) -> float:
    """How dependent two series are: chi-square over a square of cells, by the ranks of both values."""
    ranks = [(series.rank("ordinal").cast(pl.Int64) - 1) * cells // len(series) for series in (first, second)]
    counts = np.bincount((ranks[0] * cells + ranks[1]).to_numpy(), minlength=cells * cells)
    return chi_square(counts, [1.0] * cells * cells)
